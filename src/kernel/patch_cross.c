/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The family between training examples and those of another part, with a store of its own, and the contraction of a product of
 * two columns with every feature.
 */

#include "patch_impl.h"

struct FwPatchCrossImpl {
  FwPatchKernel kernel;
  FwPart        part;
  FwPatchSide   side;
  FwPatchStore  store;
};

PetscErrorCode FwPatchCrossCreate(FwPatchKernel k, FwPart part, double store_bytes, FwPatchCross *cross)
{
  FwPatchCross c;
  FwMatrix     matrix;

  PetscFunctionBegin;
  PetscCall(PetscNew(&c));
  c->kernel = k;
  c->part   = part;
  PetscCall(FwPatchMatrixCreate(k, k->images->n[FW_TRAIN], k->images->n[part], &matrix));
  PetscCall(FwPatchMatrixSide(k, matrix, part, PETSC_FALSE, &c->side));
  PetscCall(FwPatchStoreCreate(k, matrix, FW_WHOLE, &c->side, store_bytes, &c->store));
  PetscCall(FwMatrixDestroy(&matrix));
  *cross = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwPart FwPatchCrossPart(FwPatchCross c)
{
  return c->part;
}

PetscInt FwPatchCrossCount(FwPatchCross c)
{
  return c->kernel->images->n[c->part];
}

PetscErrorCode FwPatchCrossAssemble(FwPatchCross c, const double coefficient[], FwMatrix *matrix)
{
  FwPatchKernel k = c->kernel;

  PetscFunctionBegin;
  PetscCall(FwPatchMatrixCreate(k, k->images->n[FW_TRAIN], k->images->n[c->part], matrix));
  PetscCall(FwPatchStoreAssemble(&c->store, "kernels of validation examples", 1, coefficient, matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchCrossDestroy(FwPatchCross *cross)
{
  PetscFunctionBegin;
  if (!*cross) PetscFunctionReturn(PETSC_SUCCESS);
  FwPatchStoreDestroy(&(*cross)->store);
  PetscCall(FwPatchSideDestroy(&(*cross)->side));
  PetscCall(PetscFree(*cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- contraction -------------------------------------------------------------------------------------------- */

typedef struct {
  const double *left, *right; /* of rows and columns */
  PetscBool     is_symmetric; /* both orders of every pair of examples, of which the lower triangle is visited */
  double       *weight;       /* [D^2][n_piece] */
  double       *slope;        /* [D^2][n_feature] */
} Product;

/* Weights of one pair (d, e) of outputs */
static void ProductWeights(const Product *p, const FwPatchPiece *piece, PetscInt D, PetscInt d, PetscInt e,
                           double weight[])
{
  const PetscInt column = FwMatrixColumn(piece->matrix, piece->column * D + e);

  for (PetscInt r = 0; r < piece->n; r++) {
    const PetscInt row = FwMatrixRow(piece->matrix, (piece->first + r) * D + d);

    weight[r] = p->left[row] * p->right[column];
    if (p->is_symmetric) weight[r] += p->right[row] * p->left[column];
  }
  if (piece->diagonal >= 0) weight[piece->diagonal] *= 0.5;
}

static PetscErrorCode ProductPiece(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], void *context)
{
  const Product *p = (const Product *)context;
  const PetscInt D = k->n_output;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < D; d++)
    for (PetscInt e = 0; e < D; e++) ProductWeights(p, piece, D, d, e, p->weight + (size_t)(d * D + e) * k->n_piece);
  PetscCall(FwPatchContract(k, piece, feature, D * D, p->weight, p->slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `matrix` is asked for its distribution alone */
static PetscErrorCode ContractProduct(FwPatchStore *store, FwMatrix matrix, const char what[], Product *p)
{
  FwPatchKernel  k = store->kernel;
  const PetscInt n = k->n_output * k->n_output * k->n_feature;
  PetscMPIInt    count;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(n, &count));
  PetscCall(PetscMalloc1((size_t)k->n_output * k->n_output * k->n_piece, &p->weight));
  PetscCall(PetscArrayzero(p->slope, n));
  code = FwPatchStoreVisit(store, matrix, what, ProductPiece, p);
  PetscCall(PetscFree(p->weight));
  PetscCall(code);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, p->slope, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchCrossPullBack(FwPatchCross c, FwMatrix matrix, const double left[], const double right[],
                                    double slope[])
{
  Product p = {.left = left, .right = right, .slope = slope};

  PetscFunctionBegin;
  PetscCall(ContractProduct(&c->store, matrix, "kernels of validation examples", &p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelPullBackProduct(FwPatchKernel k, const double left[], const double right[], double slope[])
{
  const PetscInt n = k->images->n[FW_TRAIN];
  Product        p = {.left = left, .right = right, .is_symmetric = PETSC_TRUE, .slope = slope};
  FwMatrix       matrix;

  PetscFunctionBegin;
  PetscCall(FwPatchMatrixCreate(k, n, n, &matrix));
  PetscCall(ContractProduct(&k->train, matrix, "patch kernels", &p));
  PetscCall(FwMatrixDestroy(&matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}
