/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Kernels with one order parameter per layer: life, diagonals, and the points of every step.
 *
 * The first layer's map does not see any order parameter, so that its kernel is assembled once.
 */

#include "kernel_layers_impl.h"

#include <math.h>

/* --- diagonals ---------------------------------------------------------------------------------------------- */

void FwLayersShare(FwKernelLayers k, PetscInt n, PetscInt *begin, PetscInt *end)
{
  PetscMPIInt rank, size;

  MPI_Comm_rank(FwGridComm(k->grid), &rank);
  MPI_Comm_size(FwGridComm(k->grid), &size);
  *begin = (PetscInt)((PetscInt64)n * rank / size);
  *end   = (PetscInt)((PetscInt64)n * (rank + 1) / size);
}

/* This rank's share of x_{s+2}, from that of x_{s+1} */
static PetscErrorCode NextDiagonal(const FwModel *model, PetscInt s, double order, PetscInt n, const double before[],
                                   double after[])
{
  FwActivation activation;

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[s + 1], &activation));
  for (PetscInt i = 0; i < n; i++) after[i] = order * before[i] + model->bias[s + 1];
  PetscCall(FwActivationDiagonal(activation, n, after, after));
  for (PetscInt i = 0; i < n; i++) after[i] /= model->prior[s + 2];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersDiagonals(FwKernelLayers k, FwPart part, const double order[], double diagonal[])
{
  const PetscInt n = k->n[part], depth = k->model->depth;
  const double  *first;
  PetscInt       begin, end;
  PetscMPIInt    count;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(FwKernelDiagonal(k->kernel, part, &first));
  PetscCall(PetscArraycpy(diagonal, first, n));
  PetscCall(PetscArrayzero(diagonal + n, (size_t)(depth - 1) * n));
  FwLayersShare(k, n, &begin, &end);
  for (PetscInt s = 0; s < depth - 1 && !code; s++)
    code = NextDiagonal(k->model, s, order[s], end - begin, diagonal + (size_t)s * n + begin,
                        diagonal + (size_t)(s + 1) * n + begin);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  for (PetscInt s = 1; s < depth; s++) {
    PetscCall(PetscMPIIntCast(n, &count));
    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, diagonal + (size_t)s * n, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersDiagonalSlope(FwActivation activation, PetscInt n, const double variance[], double slope[])
{
  double *row;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &row));
  PetscCall(FwActivationDiagonalMap(activation, FW_MAP_COVARIANCE, n, variance, slope));
  PetscCall(FwActivationDiagonalMap(activation, FW_MAP_ROW_VARIANCE, n, variance, row));
  for (PetscInt i = 0; i < n; i++) {
    slope[i] += 2.0 * row[i];
    if (!isfinite(slope[i])) slope[i] = 0.0; /* sign: two infinities, but <phi^2> = 1 whatever the variance */
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- steps -------------------------------------------------------------------------------------------------- */

static PetscErrorCode MakePoints(const FwLayerStep *step, FwMatrix matrix, PetscBool is_row, const double diagonal[],
                                 FwPoints *points)
{
  PetscInt       m_local, n_local, n;
  double        *variance;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(matrix, NULL, NULL, &m_local, &n_local));
  n = is_row ? m_local : n_local;
  PetscCall(PetscMalloc1(n, &variance));
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt global = is_row ? FwMatrixRow(matrix, i) : FwMatrixColumn(matrix, i);

    variance[i] = step->order * diagonal[global] + step->bias;
  }
  code = FwPointsCreate(step->activation, n, variance, points);
  PetscCall(PetscFree(variance));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersMakeSteps(FwKernelLayers k, FwMatrix matrix, const double order[], const double rows[],
                                 FwPart column_part, const double columns[], FwLayerStep **steps)
{
  const FwModel *model = k->model;
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(model->depth, steps));
  for (PetscInt s = 0; s < model->depth - 1 && !code; s++) {
    FwLayerStep *step = *steps + s;

    *step = (FwLayerStep){.order = order[s], .prior = model->prior[s + 2], .bias = model->bias[s + 1]};
    PetscCall(FwActivationGet((FwActivationType)model->activation[s + 1], &step->activation));
    code = MakePoints(step, matrix, PETSC_TRUE, rows + (size_t)s * k->n[FW_TRAIN], &step->rows);
    if (!code) code = MakePoints(step, matrix, PETSC_FALSE, columns + (size_t)s * k->n[column_part], &step->columns);
  }
  code = FwErrorAgreeAny(FwGridComm(k->grid), code); /* a variance may be bad on one rank only */
  if (code) PetscCall(FwLayersFreeSteps(k, steps));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersAddSlopes(FwKernelLayers k, FwLayerStep step[])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < k->model->depth - 1 && !code; s++) {
    code = FwPointsAddSlopes(step[s].rows);
    if (!code) code = FwPointsAddSlopes(step[s].columns);
  }
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersFreeSteps(FwKernelLayers k, FwLayerStep **step)
{
  PetscFunctionBegin;
  if (!*step) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt s = 0; s < k->model->depth - 1; s++) {
    PetscCall(FwPointsDestroy(&(*step)[s].rows));
    PetscCall(FwPointsDestroy(&(*step)[s].columns));
  }
  PetscCall(PetscFree(*step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersPrepare(FwKernelLayers k, const double order[])
{
  const PetscInt depth   = k->model->depth;
  PetscBool      is_same = PETSC_FALSE;

  PetscFunctionBegin;
  if (k->step) PetscCall(PetscArraycmp(order, k->prepared, depth, &is_same));
  if (is_same) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLayersFreeSteps(k, &k->step));
  PetscCall(FwLayersDiagonals(k, FW_TRAIN, order, k->diagonal));
  PetscCall(FwLayersMakeSteps(k, k->base, order, k->diagonal, FW_TRAIN, k->diagonal, &k->step));
  PetscCall(PetscArraycpy(k->prepared, order, depth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- life --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwKernelLayersCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form,
                                    FwKernelLayers *layers)
{
  FwKernelLayers k;
  FwDataSizes    sizes;

  PetscFunctionBegin;
  PetscCheck(form == FW_NESTED || model->depth == 2, FwGridComm(grid), FW_ERR_INPUT,
             "theory_composition: 'linearised' is for two hidden layers, network_depth is %" PetscInt_FMT,
             model->depth);
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(PetscNew(&k));
  k->grid             = grid;
  k->model            = model;
  k->ops              = form == FW_NESTED ? &FwLayers_Nested : &FwLayers_Linearised;
  k->first            = *model;
  k->first.depth      = 1;
  k->n[FW_TRAIN]      = sizes.n_train;
  k->n[FW_TEST]       = sizes.n_test;
  k->n[FW_NEW]        = sizes.n_new;
  k->n[FW_VALIDATION] = sizes.n_validation;
  PetscCall(FwKernelCreate(grid, &k->first, data, &k->kernel));
  PetscCall(FwKernelTrain(k->kernel, &k->base));
  PetscCall(PetscMalloc2(model->depth, &k->prepared, (size_t)model->depth * sizes.n_train, &k->diagonal));
  if (form == FW_LINEARISED) PetscCall(FwLayersLinearise(k));
  *layers = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersTrain(FwKernelLayers k, const double order[], FwMatrix *train)
{
  PetscFunctionBegin;
  PetscCall(k->ops->train(k, order, train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersCross(FwKernelLayers k, FwPart columns, const double order[], FwMatrix *cross)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwKernelCross(k->kernel, columns, cross));
  code = k->ops->cross(k, columns, order, *cross);
  if (code) PetscCall(FwMatrixDestroy(cross));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersDiagonal(FwKernelLayers k, FwPart part, const double order[], double diagonal[])
{
  PetscFunctionBegin;
  PetscCall(k->ops->diagonal(k, part, order, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersPullBack(FwKernelLayers k, const double order[], FwMatrix weight, double slope[])
{
  PetscFunctionBegin;
  PetscCall(k->ops->pull_back(k, order, weight, slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersPullBackDiagonal(FwKernelLayers k, const double order[], const double weight[],
                                              double slope[])
{
  PetscFunctionBegin;
  PetscCall(k->ops->pull_back_diagonal(k, order, weight, slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelLayersDestroy(FwKernelLayers *layers)
{
  FwKernelLayers k = *layers;

  PetscFunctionBegin;
  if (!k) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLayersFreeSteps(k, &k->step));
  PetscCall(FwKernelDestroy(&k->kernel));
  PetscCall(FwMatrixDestroy(&k->base));
  PetscCall(FwMatrixDestroy(&k->slope));
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(PetscFree(k->line[part]));
  PetscCall(PetscFree2(k->prepared, k->diagonal));
  PetscCall(PetscFree(*layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}
