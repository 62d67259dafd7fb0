/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The family of kernels between patches: assembly and pull-back, piece by piece (patch_store.c).
 */

#include "patch_impl.h"

#include <petscblaslapack.h>

enum { PIECE_FEW = 256, PIECE_MANY = 128, MANY_PATCHES = 16 }; /* rows: products long enough, workspace in cache */
enum { BLOCK_USUAL = 64 };                                     /* of matrices of one output, as elsewhere */

/* --- life --------------------------------------------------------------------------------------------------- */

/* D rows or columns of an example never part */
static PetscInt BlockSize(PetscInt n_output)
{
  return n_output * PetscMax(1, BLOCK_USUAL / n_output);
}

PetscErrorCode FwPatchMatrixCreate(FwPatchKernel k, PetscInt m, PetscInt n, FwMatrix *matrix)
{
  const PetscInt D = k->n_output;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreateInBlocks(k->grid, D * m, D * n, BlockSize(D), matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchMatrixSide(FwPatchKernel k, FwMatrix matrix, FwPart part, PetscBool is_row, FwPatchSide *side)
{
  const PetscInt D = k->n_output;
  PetscInt       m, n, *example;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(matrix, NULL, NULL, &m, &n));
  n = (is_row ? m : n) / D;
  PetscCall(PetscMalloc1(n, &example));
  for (PetscInt i = 0; i < n; i++)
    example[i] = (is_row ? FwMatrixRow(matrix, i * D) : FwMatrixColumn(matrix, i * D)) / D;
  code = FwPatchSideCreate(k->images, part, n, example, is_row, k->plan.is_centred, side);
  PetscCall(PetscFree(example));
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code)); /* a variance may be bad on one rank only */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sides of the training kernel, and its store; the matrix itself is only asked for its distribution */
static PetscErrorCode SetUpTrain(FwPatchKernel k, double store_bytes)
{
  const PetscInt n = k->images->n[FW_TRAIN];
  FwMatrix       matrix;

  PetscFunctionBegin;
  PetscCall(FwPatchMatrixCreate(k, n, n, &matrix));
  PetscCall(FwPatchMatrixSide(k, matrix, FW_TRAIN, PETSC_TRUE, &k->rows));
  PetscCall(FwPatchMatrixSide(k, matrix, FW_TRAIN, PETSC_FALSE, &k->columns));
  PetscCall(FwPatchStoreCreate(k, matrix, FW_LOWER, &k->columns, store_bytes, &k->train));
  PetscCall(FwMatrixDestroy(&matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt CountFeatures(FwPatchForm form, PetscInt n)
{
  switch (form) {
    case FW_PATCH_DIAGONAL:
      return n;
    case FW_PATCH_PAIRS:
      return n * (n + 1) / 2;
    default:
      return n * n;
  }
}

static PetscErrorCode CheckClosure(FwPatchKernel k)
{
  const FwTower  *t        = &k->images->tower;
  const PetscBool is_paths = t->n_layer > 1 && k->plan.closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  PetscCheck(!is_paths || k->images->model->type != FW_NETWORK_LCN || !FwTowerOverlaps(t), FwGridComm(k->grid),
             FW_ERR_INPUT,
             "network_upper_stride: 'paths' of lcn need upper layers whose positions do not overlap in this version: "
             "want at least network_upper_mask, or theory_closure 'stacked'");
  for (PetscInt l = 1; l < t->n_layer && is_paths; l++) {
    PetscBool is_odd;

    PetscCall(FwActivationIsOdd(k->images->activation[l], &is_odd));
    PetscCheck(is_odd, FwGridComm(k->grid), FW_ERR_INPUT,
               "theory_closure: 'paths' needs odd activations above the first layer, '%s' is not: choose 'stacked'",
               FwActivationNames[k->images->model->activation[l]]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Workspaces of one piece */
static PetscErrorCode CreateRoom(FwPatchKernel k)
{
  const FwTower *t    = &k->images->tower;
  size_t         most = 0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(t->n_layer, &k->covariance));
  for (PetscInt l = 0; l < t->n_layer; l++) {
    const size_t n = (size_t)t->n_position[l] * t->n_position[l] * k->n_piece;

    PetscCall(PetscMalloc1(n, &k->covariance[l]));
    if (l) most = PetscMax(most, n);
  }
  if (most) PetscCall(PetscMalloc2((size_t)k->n_walk * k->n_walk * k->n_piece, &k->site, most, &k->gain));
  PetscCall(PetscMalloc1((size_t)k->n_feature * k->n_piece, &k->feature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelCreate(FwGrid grid, FwPatchImages images, const FwPatchPlan *plan, FwPatchKernel *kernel)
{
  const FwTower *t = &images->tower;
  FwPatchKernel  k;

  PetscFunctionBegin;
  PetscAssert(plan->n_output == 1 || plan->form != FW_PATCH_PAIRS, FwGridComm(grid), PETSC_ERR_ARG_INCOMP,
              "pairs are features of one output");
  PetscCall(PetscNew(&k));
  k->grid      = grid;
  k->images    = images;
  k->plan      = *plan;
  k->n_output  = plan->n_output;
  k->n_site    = FwTowerSites(t, plan->closure);
  k->n_walk    = FwTowerWalks(t, plan->closure);
  k->n_feature = CountFeatures(plan->form, k->n_site) + (plan->is_centred ? 1 : 0);
  k->n_piece   = PetscMax(k->n_walk, t->n_position[0]) > MANY_PATCHES ? PIECE_MANY : PIECE_FEW;
  PetscCall(CheckClosure(k));
  PetscCall(CreateRoom(k));
  PetscCall(SetUpTrain(k, plan->store_bytes));
  *kernel = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwPatchImages FwPatchKernelImages(FwPatchKernel kernel)
{
  return kernel->images;
}

FwGrid FwPatchKernelGrid(FwPatchKernel kernel)
{
  return kernel->grid;
}

PetscErrorCode FwPatchKernelGetFamily(FwPatchKernel k, FwPatchFamily *family)
{
  PetscFunctionBegin;
  *family = (FwPatchFamily){.form        = k->plan.form,
                            .closure     = k->plan.closure,
                            .n_layer     = k->images->tower.n_layer,
                            .is_centred  = k->plan.is_centred,
                            .n_patch     = k->n_site,
                            .n_place     = k->images->tower.n_place,
                            .n_train     = k->images->n[FW_TRAIN],
                            .n_output    = k->n_output,
                            .n_feature   = k->n_feature,
                            .store_bytes = (double)(k->train.capacity * sizeof(double)),
                            .stored      = k->train.total ? (double)k->train.capacity / (double)k->train.total : 1.0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelDestroy(FwPatchKernel *kernel)
{
  PetscFunctionBegin;
  if (!*kernel) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPatchSideDestroy(&(*kernel)->rows));
  PetscCall(FwPatchSideDestroy(&(*kernel)->columns));
  for (PetscInt l = 0; l < (*kernel)->images->tower.n_layer; l++) PetscCall(PetscFree((*kernel)->covariance[l]));
  PetscCall(PetscFree((*kernel)->covariance));
  PetscCall(PetscFree2((*kernel)->site, (*kernel)->gain));
  PetscCall(PetscFree((*kernel)->feature));
  FwPatchStoreDestroy(&(*kernel)->train);
  PetscCall(PetscFree(*kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- assembly ----------------------------------------------------------------------------------------------- */

/* out[s][n] = sum_d coefficient[s][d] feature[d][n] */
static PetscErrorCode Assemble(PetscInt n_row, PetscInt n_feature, const double feature[], PetscInt n_set,
                               const double coefficient[], double out[])
{
  const PetscScalar  one = 1.0, zero = 0.0;
  const PetscBLASInt m = n_row, n = n_set, length = n_feature, step = 1;

  PetscFunctionBegin;
  if (n_set == 1)
    PetscCallBLAS("BLASgemv", BLASgemv_("N", &m, &length, &one, feature, &m, coefficient, &step, &zero, out, &step));
  else
    PetscCallBLAS("BLASgemm",
                  BLASgemm_("N", "N", &m, &n, &length, &one, feature, &m, coefficient, &length, &zero, out, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries of all outputs, value[d][e][n], to where they stand in a matrix */
static void Scatter(PetscInt D, const FwPatchPiece *piece, const double value[])
{
  for (PetscInt e = 0; e < D; e++) {
    double *column = FwMatrixStrip(piece->matrix, piece->first * D, piece->column * D + e);

    for (PetscInt d = 0; d < D; d++)
      for (PetscInt r = 0; r < piece->n; r++) column[r * D + d] = value[((size_t)d * D + e) * piece->n + r];
  }
}

typedef struct {
  PetscInt      n_set;
  const double *coefficient;
  FwMatrix     *matrix; /* [n_set] */
  double       *value;  /* [n_set][D^2][n_piece] */
} Assembly;

static PetscErrorCode AssemblePiece(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], void *context)
{
  const Assembly *a = (const Assembly *)context;
  const PetscInt  D = k->n_output;

  PetscFunctionBegin;
  PetscCall(Assemble(piece->n, k->n_feature, feature, a->n_set * D * D, a->coefficient, a->value));
  for (PetscInt s = 0; s < a->n_set; s++) {
    FwPatchPiece here = *piece;

    here.matrix = a->matrix[s];
    Scatter(D, &here, a->value + (size_t)s * D * D * piece->n);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchStoreAssemble(FwPatchStore *store, const char what[], PetscInt n_set, const double coefficient[],
                                    FwMatrix matrix[])
{
  FwPatchKernel  k = store->kernel;
  Assembly       a = {.n_set = n_set, .coefficient = coefficient, .matrix = matrix};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n_set * k->n_output * k->n_output * k->n_piece, &a.value));
  code = FwPatchStoreVisit(store, matrix[0], what, AssemblePiece, &a);
  PetscCall(PetscFree(a.value));
  PetscFunctionReturn(code);
}

PetscErrorCode FwPatchKernelTrain(FwPatchKernel k, const double coefficient[], FwMatrix *train)
{
  const PetscInt n = k->images->n[FW_TRAIN];

  PetscFunctionBegin;
  PetscCall(FwPatchMatrixCreate(k, n, n, train));
  PetscCall(FwPatchStoreAssemble(&k->train, "patch kernels", 1, coefficient, train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelColumn(FwPatchKernel k, FwPart part, const double value[], FwMatrix *column)
{
  const PetscInt D = k->n_output;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreateInBlocks(k->grid, D * k->images->n[part], 1, BlockSize(D), column));
  FwMatrixSet(*column, value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one patch of the rows ---------------------------------------------------------------------------------- */

typedef struct {
  FwPatchKernel kernel;
  FwMatrix      matrix;
  PetscInt      patch;
  const double *weight;
} Row;

/* Place of a column's own example among some rows, or -1 */
static PetscInt OwnRow(FwMatrix matrix, PetscInt column, PetscInt first, PetscInt n)
{
  for (PetscInt r = 0; r < n; r++)
    if (FwMatrixRow(matrix, first + r) == column) return r;
  return -1;
}

static PetscErrorCode RowStrip(const FwStrip *strip, void *context)
{
  const Row *w = (const Row *)context;

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += w->kernel->n_piece) {
    FwPatchPiece piece = {.matrix = w->matrix,
                          .column = strip->column_local,
                          .first  = strip->first + begin,
                          .n      = PetscMin(w->kernel->n_piece, strip->n - begin)};

    piece.diagonal = OwnRow(w->matrix, strip->column, piece.first, piece.n);
    PetscCall(FwPatchPieceRow(w->kernel, &piece, w->patch, w->weight, strip->value + begin));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelRow(FwPatchKernel k, PetscInt i, const double weight[], FwMatrix *row)
{
  const PetscInt n = k->images->n[FW_TRAIN];
  Row            w = {.kernel = k, .patch = i, .weight = weight};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(k->grid, n, n, row));
  w.matrix = *row;
  code     = FwMatrixVisit(*row, FW_WHOLE, RowStrip, &w);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- pull-back ---------------------------------------------------------------------------------------------- */

typedef struct {
  const double *vector;
  double       *weight; /* [2][D^2][n_piece]: of the matrix and of the vector */
  double       *slope;  /* [2][D^2][n_feature] */
} PullBack;

/* Weights of one pair (d, e) of outputs; of examples with themselves only d >= e are in the lower triangle */
static void GatherWeights(FwPatchKernel k, const FwPatchPiece *piece, const double vector[], PetscInt d, PetscInt e,
                          double matrix[], double square[])
{
  const PetscInt D      = k->n_output;
  const double  *column = FwMatrixStrip(piece->matrix, piece->first * D, piece->column * D + e);
  const double   other  = vector[FwMatrixColumn(piece->matrix, piece->column * D + e)];

  for (PetscInt r = 0; r < piece->n; r++) {
    matrix[r] = 2.0 * column[r * D + d];
    square[r] = 2.0 * vector[FwMatrixRow(piece->matrix, (piece->first + r) * D + d)] * other;
  }
  if (piece->diagonal < 0) return;
  if (d < e) column = FwMatrixStrip(piece->matrix, piece->first * D, piece->column * D + d);
  matrix[piece->diagonal] = column[piece->diagonal * D + PetscMax(d, e)];
  square[piece->diagonal] *= 0.5;
}

PetscErrorCode FwPatchContract(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], PetscInt n_weight,
                               const double weight[], double slope[])
{
  const PetscScalar  one = 1.0;
  const PetscBLASInt m = k->n_feature, n = piece->n, columns = n_weight, leading = k->n_piece;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &m, &columns, &n, &one, feature, &n, weight, &leading, &one, slope, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PullBackPiece(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], void *context)
{
  const PetscInt D = k->n_output, n_pair = D * D;
  PullBack      *p = (PullBack *)context;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < D; d++)
    for (PetscInt e = 0; e < D; e++)
      GatherWeights(k, piece, p->vector, d, e, p->weight + (size_t)(d * D + e) * k->n_piece,
                    p->weight + (size_t)(n_pair + d * D + e) * k->n_piece);
  PetscCall(FwPatchContract(k, piece, feature, 2 * n_pair, p->weight, p->slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelPullBack(FwPatchKernel k, FwMatrix weight, const double vector[], double matrix_slope[],
                                     double vector_slope[])
{
  const PetscInt n_pair = k->n_output * k->n_output, n = n_pair * k->n_feature;
  PullBack       p = {.vector = vector};
  PetscMPIInt    count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(2 * n, &count));
  PetscCall(PetscMalloc2(2 * (size_t)n_pair * k->n_piece, &p.weight, count, &p.slope));
  PetscCall(PetscArrayzero(p.slope, count));
  PetscCall(FwPatchStoreVisit(&k->train, weight, "patch kernels", PullBackPiece, &p));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, p.slope, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscCall(PetscArraycpy(matrix_slope, p.slope, n));
  PetscCall(PetscArraycpy(vector_slope, p.slope + n, n));
  PetscCall(PetscFree2(p.weight, p.slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- other examples ----------------------------------------------------------------------------------------- */

PetscErrorCode FwPatchKernelCross(FwPatchKernel k, FwPart columns, PetscInt n_set, const double coefficient[],
                                  FwMatrix cross[])
{
  FwPatchSide  side;
  FwPatchStore store;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < n_set; s++)
    PetscCall(FwPatchMatrixCreate(k, k->images->n[FW_TRAIN], k->images->n[columns], &cross[s]));
  PetscCall(FwPatchMatrixSide(k, cross[0], columns, PETSC_FALSE, &side));
  PetscCall(FwPatchStoreCreate(k, cross[0], FW_WHOLE, &side, 0.0, &store));
  PetscCall(FwPatchStoreAssemble(&store, "kernels of test examples", n_set, coefficient, cross));
  FwPatchStoreDestroy(&store);
  PetscCall(FwPatchSideDestroy(&side));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* k between all pairs of patches of one example, value[0][i][j], and what it is raised to */
static PetscErrorCode MapExample(FwPatchKernel k, const FwPatchSide *side, PetscInt example, double *const value[],
                                 double **site)
{
  const FwPatches   *patches = &k->images->patches;
  const PetscScalar  scale = 1.0 / (k->images->model->prior[0] * patches->n_pixel), zero = 0.0;
  const PetscBLASInt n = patches->n_patch, length = patches->n_pixel;
  const double      *pixel = side->pixel + (size_t)example * n * length;
  const PetscInt     first = example * n;
  const FwPatchRun   run   = {.side = side, .is_row = PETSC_FALSE, .first = example, .n = 1};

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &n, &n, &length, &scale, pixel, &length, pixel, &length, &zero, value[0], &n));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwActivationMap(k->images->activation[0], FW_MAP_VALUE, side->points[0], first, n, side->points[0],
                              first + i, value[0] + (size_t)i * n, value[0] + (size_t)i * n));
    value[0][i * n + i] = side->diagonal[0][first + i];
  }
  PetscCall(FwTowerRaise(k, &run, &run, 0, value, site));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One example needs no more room than a piece */
static PetscErrorCode DiagonalOf(FwPatchKernel k, const FwPatchSide *side, PetscInt n_set, const double coefficient[],
                                 double diagonal[])
{
  const PetscInt n = k->images->patches.n_patch, n_pair = k->n_output * k->n_output;
  double        *set, *site;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n_set * n_pair, &set));
  for (PetscInt a = 0; a < side->n; a++) {
    const double *mean = k->plan.is_centred ? side->mean + (size_t)a * n : NULL;

    PetscCall(MapExample(k, side, a, k->covariance, &site));
    FwPatchCombine(k->plan.form, k->n_site, 1, site, mean, 1, mean, k->feature);
    PetscCall(Assemble(1, k->n_feature, k->feature, n_set * n_pair, coefficient, set));
    for (PetscInt s = 0; s < n_set; s++)
      PetscCall(PetscArraycpy(diagonal + ((size_t)s * side->n + a) * n_pair, set + (size_t)s * n_pair, n_pair));
  }
  PetscCall(PetscFree(set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelDiagonal(FwPatchKernel k, FwPart part, PetscInt n_set, const double coefficient[],
                                     double diagonal[])
{
  const PetscInt n = k->images->n[part];
  FwPatchSide    side;
  PetscInt      *example;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &example));
  for (PetscInt a = 0; a < n; a++) example[a] = a;
  PetscCall(FwPatchSideCreate(k->images, part, n, example, PETSC_FALSE, k->plan.is_centred, &side));
  PetscCall(DiagonalOf(k, &side, n_set, coefficient, diagonal));
  PetscCall(FwPatchSideDestroy(&side));
  PetscCall(PetscFree(example));
  PetscFunctionReturn(PETSC_SUCCESS);
}
