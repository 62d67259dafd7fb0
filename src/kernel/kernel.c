/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Recursion of a kernel over layers and its assembly strip by strip.
 *
 * Diagonal entries follow from the variances alone, so they are computed once per example, by its owner, and known to
 * all; what is left per entry is the covariance, which goes through all layers while it is in cache.
 */

#include "kernel_impl.h"

/* --- variances ---------------------------------------------------------------------------------------------- */

static double SquaredNorm(PetscInt n, const double x[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] * x[i];
  return sum;
}

/* Own examples only: variance of layer l+1 from that of layer l */
static PetscErrorCode NextVariance(const FwModel *model, PetscInt layer, PetscInt n, const double before[],
                                   double after[])
{
  const double bias = layer + 1 < model->depth ? model->bias[layer + 1] : 0.0;
  FwActivation activation;

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[layer], &activation));
  PetscCall(FwActivationDiagonal(activation, n, before, after));
  for (PetscInt i = 0; i < n; i++) after[i] = after[i] / model->prior[layer + 1] + bias;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Slabs are consecutive in order of rank: gather them in place */
PetscErrorCode FwKernelShareSlab(MPI_Comm comm, const FwSlab *slab, PetscMPIInt width, double value[])
{
  PetscMPIInt  size, *count, *offset;
  MPI_Datatype example;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscMalloc2(size, &count, size, &offset));
  for (PetscMPIInt r = 0; r < size; r++) {
    offset[r] = PetscMin(r * slab->block, slab->n);
    count[r]  = PetscMin(slab->block, slab->n - offset[r]);
  }
  PetscCallMPI(MPI_Type_contiguous(width, MPI_DOUBLE, &example));
  PetscCallMPI(MPI_Type_commit(&example));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, value, count, offset, example, comm));
  PetscCallMPI(MPI_Type_free(&example));
  PetscCall(PetscFree2(count, offset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetVariances(FwKernel k, FwPart part)
{
  const FwModel *model = k->model;
  FwSlab         slab;
  double       **variance;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(k->data, part, &slab));
  k->n[part] = slab.n;
  PetscCall(PetscCalloc1(model->depth + 1, &variance));
  k->variance[part] = variance;
  for (PetscInt l = 0; l <= model->depth; l++) PetscCall(PetscMalloc1(PetscMax(slab.n, 1), &variance[l]));
  for (PetscInt i = 0; i < slab.n_local; i++)
    variance[0][slab.first + i] =
      SquaredNorm(slab.n_input, slab.x + (size_t)i * slab.n_input) / (model->prior[0] * slab.n_input) + model->bias[0];
  for (PetscInt l = 0; l < model->depth && !code; l++)
    code = NextVariance(model, l, slab.n_local, variance[l] + slab.first, variance[l + 1] + slab.first);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code)); /* a variance may be bad on one rank only */
  for (PetscInt l = 0; l <= model->depth; l++) PetscCall(FwKernelShareSlab(FwGridComm(k->grid), &slab, 1, variance[l]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelCreate(FwGrid grid, const FwModel *model, FwDataset data, FwKernel *kernel)
{
  FwKernel       k;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCheck(model->type == FW_NETWORK_FC || model->type == FW_NETWORK_POOL, FwGridComm(grid), FW_ERR_INPUT,
             "network_type: 'cnn' and 'lcn' have a family of kernels (patch_kernel.h), not one");
  PetscCall(PetscNew(&k));
  k->grid  = grid;
  k->model = model;
  k->data  = data;
  if (model->type == FW_NETWORK_POOL)
    PetscCall(FwKernelPoolSetUp(k));
  else
    for (int part = 0; part < FW_PART_COUNT && !code; part++) code = SetVariances(k, (FwPart)part);
  if (code) PetscCall(FwKernelDestroy(&k));
  *kernel = k;
  PetscFunctionReturn(code); /* the caller may go on with other kernels */
}

PetscErrorCode FwKernelDiagonal(FwKernel kernel, FwPart part, const double **diagonal)
{
  PetscFunctionBegin;
  *diagonal = kernel->variance[part][kernel->model->depth];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelDestroy(FwKernel *kernel)
{
  PetscFunctionBegin;
  if (!*kernel) PetscFunctionReturn(PETSC_SUCCESS);
  for (int part = 0; part < FW_PART_COUNT; part++) {
    for (PetscInt l = 0; l <= (*kernel)->model->depth && (*kernel)->variance[part]; l++)
      PetscCall(PetscFree((*kernel)->variance[part][l]));
    PetscCall(PetscFree((*kernel)->variance[part]));
  }
  PetscCall(FwPatchKernelDestroy(&(*kernel)->family));
  PetscCall(FwPatchImagesDestroy(&(*kernel)->images));
  PetscCall(PetscFree(*kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the entry-wise map over all layers --------------------------------------------------------------------- */

static PetscErrorCode MakePoints(FwActivation activation, FwMatrix matrix, PetscBool is_row, const double variance[],
                                 PetscBool with_slopes, FwPoints *points)
{
  PetscInt       m_local, n_local;
  double        *local;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(matrix, NULL, NULL, &m_local, &n_local));
  if (!is_row) m_local = n_local;
  PetscCall(PetscMalloc1(PetscMax(m_local, 1), &local));
  for (PetscInt i = 0; i < m_local; i++)
    local[i] = variance[is_row ? FwMatrixRow(matrix, i) : FwMatrixColumn(matrix, i)];
  code = FwPointsCreate(activation, m_local, local, points);
  if (!code && with_slopes) code = FwPointsAddSlopes(*points);
  PetscCall(PetscFree(local));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeLayers(FwKernel k, FwMatrix matrix, FwPart column_part, PetscBool with_slopes,
                                 FwKernelMapContext *context)
{
  const FwModel *model = k->model;
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  context->matrix = matrix;
  context->depth  = model->depth;
  context->bias   = model->bias[0];
  PetscCall(PetscCalloc1(model->depth, &context->layer));
  for (PetscInt l = 0; l < model->depth && !code; l++) {
    FwKernelLayer *layer  = &context->layer[l];
    const double  *row    = k->variance[FW_TRAIN][l];
    const double  *column = k->variance[column_part][l];

    layer->prior = model->prior[l + 1];
    layer->bias  = l + 1 < model->depth ? model->bias[l + 1] : 0.0;
    PetscCall(FwActivationGet((FwActivationType)model->activation[l], &layer->activation));
    code = MakePoints(layer->activation, matrix, PETSC_TRUE, row, with_slopes, &layer->rows);
    if (!code) code = MakePoints(layer->activation, matrix, PETSC_FALSE, column, with_slopes, &layer->columns);
  }
  PetscFunctionReturn(FwErrorAgreeAny(FwGridComm(k->grid), code)); /* a variance may be bad on one rank only */
}

static PetscErrorCode FreeLayers(FwKernelMapContext *context)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < context->depth; l++) {
    PetscCall(FwPointsDestroy(&context->layer[l].rows));
    PetscCall(FwPointsDestroy(&context->layer[l].columns));
  }
  PetscCall(PetscFree(context->layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapPiece(const FwKernelMapContext *context, PetscInt column, PetscInt first, PetscInt n,
                               double value[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) value[i] += context->bias;
  for (PetscInt l = 0; l < context->depth; l++) {
    const FwKernelLayer *layer = &context->layer[l];

    PetscCall(
      FwActivationMap(layer->activation, FW_MAP_VALUE, layer->rows, first, n, layer->columns, column, value, value));
    for (PetscInt i = 0; i < n; i++) value[i] = value[i] / layer->prior + layer->bias;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapStrip(const FwStrip *strip, void *user)
{
  const FwKernelMapContext *context = (const FwKernelMapContext *)user;

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += FW_KERNEL_PIECE)
    PetscCall(context->piece(context, strip->column_local, strip->first + begin,
                             PetscMin(FW_KERNEL_PIECE, strip->n - begin), strip->value + begin));
  if (context->diagonal && FwMatrixRow(context->matrix, strip->first) == strip->column)
    strip->value[0] = context->diagonal[strip->column];
  PetscCall(FwProgressStep(context->progress, strip->column_local + 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `diagonal` is that of the kernel between training examples, of which the lower triangle is mapped; NULL for other columns */
static PetscErrorCode ApplyMap(FwKernel k, FwKernelPiece *piece, PetscBool with_slopes, FwPart columns,
                               const double diagonal[], FwMatrix matrix)
{
  FwKernelMapContext context = {.piece = piece, .diagonal = diagonal};
  PetscInt           n_local;
  PetscErrorCode     code;

  PetscFunctionBegin;
  code = MakeLayers(k, matrix, columns, with_slopes, &context);
  if (!code) {
    PetscCall(FwMatrixGetSize(matrix, NULL, NULL, NULL, &n_local));
    PetscCall(FwProgressBegin("kernel map", n_local, &context.progress));
    code = FwMatrixVisit(matrix, diagonal ? FW_LOWER : FW_WHOLE, MapStrip, &context);
    PetscCall(FwProgressEnd(&context.progress));
    code = FwErrorAgreeAny(FwGridComm(k->grid), code);
  }
  PetscCall(FreeLayers(&context));
  PetscFunctionReturn(code);
}

/* --- assembly ----------------------------------------------------------------------------------------------- */

/* Inputs of a part as the columns of a matrix, and the factor that turns their products into covariances */
static PetscErrorCode FindInputs(FwKernel k, FwPart part, FwSlabs *inputs, double *scale)
{
  FwSlab slab;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(k->data, part, &slab));
  *inputs = (FwSlabs){.m = slab.n_input, .n = slab.n, .block = slab.block, .value = slab.x};
  *scale  = 1.0 / (k->model->prior[0] * slab.n_input);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelAssembleTrain(FwKernel k, FwKernelPiece *piece, PetscBool with_slopes, const double diagonal[],
                                     FwMatrix *train)
{
  FwSlabs        inputs;
  double         scale = 0.0;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FindInputs(k, FW_TRAIN, &inputs, &scale));
  PetscCall(FwMatrixCreate(k->grid, k->n[FW_TRAIN], k->n[FW_TRAIN], train));
  PetscCall(FwMatrixGramOfSlabs(scale, &inputs, *train));
  code = ApplyMap(k, piece, with_slopes, FW_TRAIN, diagonal, *train);
  if (code) PetscCall(FwMatrixDestroy(train));
  PetscFunctionReturn(code);
}

PetscErrorCode FwKernelAssembleCross(FwKernel k, FwKernelPiece *piece, PetscBool with_slopes, FwPart columns,
                                     FwMatrix *cross)
{
  FwSlabs        train, other;
  double         scale = 0.0;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FindInputs(k, FW_TRAIN, &train, &scale));
  PetscCall(FindInputs(k, columns, &other, &scale));
  PetscCall(FwMatrixCreate(k->grid, k->n[FW_TRAIN], k->n[columns], cross));
  PetscCall(FwMatrixProductOfSlabs(scale, &train, &other, *cross));
  code = ApplyMap(k, piece, with_slopes, columns, NULL, *cross);
  if (code) PetscCall(FwMatrixDestroy(cross));
  PetscFunctionReturn(code);
}

PetscErrorCode FwKernelTrain(FwKernel k, FwMatrix *train)
{
  PetscFunctionBegin;
  if (k->family)
    PetscCall(FwKernelPoolTrain(k, train));
  else
    PetscCall(FwKernelAssembleTrain(k, MapPiece, PETSC_FALSE, k->variance[FW_TRAIN][k->model->depth], train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelCross(FwKernel k, FwPart columns, FwMatrix *cross)
{
  PetscFunctionBegin;
  if (k->family)
    PetscCall(FwKernelPoolCross(k, columns, cross));
  else
    PetscCall(FwKernelAssembleCross(k, MapPiece, PETSC_FALSE, columns, cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}
