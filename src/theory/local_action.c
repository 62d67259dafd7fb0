/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The action of convolutional and locally-connected networks: S from a Cholesky factor, its gradient from the inverse
 * and one pass over the features.
 *
 * Symbols: a = A^-1 y, G1_ij = tr A^-1 B_ij, G2_ij = a^T B_ij a.
 */

#include <finwidth/local_action.h>

#include "local_law.h"
#include "symmetric.h"

#include <math.h>

struct FwLocalActionImpl {
  FwPatchKernel kernel;
  FwGrid        grid;
  FwPatchFamily family;
  FwLocalLaw    law;
  PetscInt      n_row, n_label; /* of Q; D P */
  const double *y;
  double        width, temperature; /* width: N_1 of paths, else that of the last layer */
  double        share;              /* of one K_pp in the kernel: 1 / (n prod lambda) of paths, else 1 / (n lambda_L) */
  double        unit;               /* S over the value of the law: N_1 / N_L of paths, else 1 */
  double       *coefficient, *matrix_slope, *vector_slope; /* [D^2][n_feature] */
  double       *solved;                                    /* [D P] */
};

/* --- life --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwLocalActionCreate(FwPatchKernel kernel, const double y[], FwLocalAction *action)
{
  FwLocalAction a;
  size_t        n_slope;

  PetscFunctionBegin;
  PetscCall(PetscNew(&a));
  a->kernel = kernel;
  a->grid   = FwPatchKernelGrid(kernel);
  a->y      = y;
  PetscCall(FwPatchKernelGetFamily(kernel, &a->family));
  a->n_row   = a->family.n_output * a->family.n_patch;
  a->n_label = a->family.n_output * a->family.n_train;
  PetscCall(FwLocalLawCreate(a->n_row, a->family.closure, FwPatchImagesTower(FwPatchKernelImages(kernel)), &a->law));
  n_slope = (size_t)a->family.n_output * a->family.n_output * a->family.n_feature;
  PetscCall(PetscMalloc4(n_slope, &a->coefficient, n_slope, &a->matrix_slope, n_slope, &a->vector_slope, a->n_label,
                         &a->solved));
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionSetModel(FwLocalAction a, const FwModel *model)
{
  const PetscInt  L        = a->family.n_layer;
  const PetscBool is_paths = a->family.closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  a->width       = model->width[is_paths ? 0 : L - 1];
  a->unit        = a->width / model->width[L - 1];
  a->temperature = model->temperature;
  a->share       = 1.0 / (a->family.n_patch * model->prior[L]);
  for (PetscInt l = 1; l < L && is_paths; l++) a->share /= model->prior[l];
  PetscCall(FwLocalLawSetWidths(&a->law, model->width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionGetSize(FwLocalAction a, PetscInt *n_row, PetscInt *n_unknown)
{
  const PetscInt D = a->family.n_output, n = a->family.n_patch;

  PetscFunctionBegin;
  *n_row     = a->n_row;
  *n_unknown = a->family.form == FW_PATCH_DIAGONAL ? n * D * (D + 1) / 2 : a->n_row * (a->n_row + 1) / 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwLocalActionCouples(FwLocalAction a, PetscInt i, PetscInt j)
{
  return a->family.form != FW_PATCH_DIAGONAL || FwPatchOf(&a->family, i) == FwPatchOf(&a->family, j) ? PETSC_TRUE
                                                                                                     : PETSC_FALSE;
}

double FwLocalActionWidth(FwLocalAction action)
{
  return action->width;
}

MPI_Comm FwLocalActionComm(FwLocalAction action)
{
  return FwGridComm(action->grid);
}

FwPatchKernel FwLocalActionKernel(FwLocalAction action)
{
  return action->kernel;
}

PetscErrorCode FwLocalActionDestroy(FwLocalAction *action)
{
  FwLocalAction a = *action;

  PetscFunctionBegin;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalLawDestroy(&a->law));
  PetscCall(PetscFree4(a->coefficient, a->matrix_slope, a->vector_slope, a->solved));
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPointCreate(FwLocalAction a, FwLocalPoint *point)
{
  const size_t n2 = (size_t)a->n_row * (size_t)a->n_row;

  PetscFunctionBegin;
  *point = (FwLocalPoint){.value = INFINITY};
  PetscCall(PetscCalloc3(n2, &point->trace, n2, &point->quadratic, n2, &point->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPointDestroy(FwLocalPoint *point)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(point->trace, point->quadratic, point->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- between matrices and features -------------------------------------------------------------------------- */

/* Which feature patches i of the rows and j of the columns have, i <= j where they are pairs; -1 for none */
static PetscInt FeatureOf(FwLocalAction a, PetscInt i, PetscInt j)
{
  const PetscInt n = a->family.n_patch;

  if (a->family.form == FW_PATCH_ORDERED) return i * n + j;
  if (a->family.form == FW_PATCH_DIAGONAL) return i == j ? i : -1;
  return i <= j ? i * n - i * (i - 1) / 2 + j - i : -1;
}

PetscErrorCode FwLocalActionCoefficients(FwLocalAction a, const double order[], double coefficient[])
{
  const PetscInt n = a->family.n_patch, D = a->family.n_output, n_feature = a->family.n_feature;
  const double   scale = a->share;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < D; d++)
    for (PetscInt e = 0; e < D; e++) {
      double *row = coefficient + (size_t)(d * D + e) * n_feature;

      for (PetscInt i = 0; i < n; i++)
        for (PetscInt j = 0; j < n; j++) {
          const PetscInt f = FeatureOf(a, i, j);

          if (f >= 0)
            row[f] = scale * order[(size_t)FwPatchRow(&a->family, d, i) * a->n_row + FwPatchRow(&a->family, e, j)];
        }
      if (a->family.is_centred) row[n_feature - 1] = d == e ? scale : 0.0;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Slopes along Q: those along K_ij of outputs (d, e) and along K_ji of (e, d) are one. Pairs are summed already */
PetscErrorCode FwLocalActionSlope(FwLocalAction a, const double slope[], double matrix[])
{
  const PetscInt D = a->family.n_output, n_feature = a->family.n_feature;
  const double   scale = 0.5 * a->share;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < a->n_row; r++)
    for (PetscInt s = 0; s < a->n_row; s++) {
      const PetscInt d = FwPatchOutputOf(&a->family, r), i = FwPatchOf(&a->family, r);
      const PetscInt e = FwPatchOutputOf(&a->family, s), j = FwPatchOf(&a->family, s);
      const PetscInt f = FeatureOf(a, i, j), g = FeatureOf(a, j, i);
      double         sum = 0.0;

      if (f >= 0) sum += slope[(size_t)(d * D + e) * n_feature + f];
      if (g >= 0) sum += slope[(size_t)(e * D + d) * n_feature + g];
      matrix[(size_t)r * a->n_row + s] = scale * sum;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- evaluation --------------------------------------------------------------------------------------------- */

static PetscErrorCode AddTemperature(const FwStrip *strip, void *context)
{
  FwMatrix     matrix      = ((void **)context)[0];
  const double temperature = *(const double *)((void **)context)[1];

  PetscFunctionBegin;
  if (FwMatrixRow(matrix, strip->first) == strip->column) strip->value[0] += temperature;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionFactor(FwLocalAction a, const double order[], FwCholesky *factor, double solved[])
{
  void          *context[2] = {NULL, &a->temperature};
  FwMatrix       matrix, right;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwLocalActionCoefficients(a, order, a->coefficient));
  PetscCall(FwPatchKernelTrain(a->kernel, a->coefficient, &matrix));
  context[0] = matrix;
  PetscCall(FwMatrixVisit(matrix, FW_LOWER, AddTemperature, context));
  code = FwCholeskyCreate(&matrix, factor);
  PetscCall(FwMatrixDestroy(&matrix));
  PetscCall(code);
  PetscCall(FwPatchKernelColumn(a->kernel, FW_TRAIN, a->y, &right));
  PetscCall(FwCholeskySolve(*factor, right));
  PetscCall(FwMatrixGather(right, solved));
  PetscCall(FwMatrixDestroy(&right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* max |Q P - 1 + Q G / N| over the entries that Q may have */
static PetscErrorCode Stationarity(FwLocalAction a, const double order[], FwLocalPoint *point)
{
  const PetscInt n = a->n_row;
  double        *gradient, *product;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n * n, &gradient, (size_t)n * n, &product));
  for (PetscInt i = 0; i < n * n; i++)
    gradient[i] = point->prior[i] + (point->trace[i] - point->quadratic[i]) / a->width;
  PetscCall(FwSymmetricMultiply(n, order, gradient, product));
  point->stationarity = 0.0;
  for (PetscInt i = 0; i < n * n; i++)
    point->stationarity = PetscMax(point->stationarity, fabs(product[i] - (i % (n + 1) == 0 ? 1.0 : 0.0)));
  PetscCall(PetscFree2(gradient, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr A^-1 K' - a^T K' a from A - T = K', less what the means give */
static double Balance(FwLocalAction a, const FwLocalPoint *point)
{
  const PetscInt D = a->family.n_output, n_feature = a->family.n_feature;
  double         balance =
    (double)a->n_label - a->temperature * point->trace_inverse - point->fit + a->temperature * point->residual2;

  for (PetscInt d = 0; d < D && a->family.is_centred; d++) {
    const size_t last = (size_t)(d * D + d + 1) * n_feature - 1;

    balance -= (a->matrix_slope[last] - a->vector_slope[last]) * a->share;
  }
  return balance;
}

/* Sums of several ranks may differ in the last bit from one rank to another */
static PetscErrorCode Share(FwLocalAction a, FwLocalPoint *point)
{
  double      number[4] = {point->log_det, point->trace_inverse, point->fit, point->residual2};
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(a->family.n_output * a->family.n_output * a->family.n_feature, &count));
  PetscCallMPI(MPI_Bcast(number, 4, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  PetscCallMPI(MPI_Bcast(a->matrix_slope, count, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  PetscCallMPI(MPI_Bcast(a->vector_slope, count, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  point->log_det       = number[0];
  point->trace_inverse = number[1];
  point->fit           = number[2];
  point->residual2     = number[3];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything that the factor and the inverse give; the factor is used up */
static PetscErrorCode Slopes(FwLocalAction a, FwCholesky *factor, FwLocalPoint *point)
{
  FwMatrix inverse;

  PetscFunctionBegin;
  PetscCall(FwCholeskyLogDet(*factor, &point->log_det));
  PetscCall(FwCholeskyInverse(factor, &inverse));
  PetscCall(FwMatrixTrace(inverse, &point->trace_inverse));
  PetscCall(FwPatchKernelPullBack(a->kernel, inverse, a->solved, a->matrix_slope, a->vector_slope));
  PetscCall(FwMatrixDestroy(&inverse));
  point->fit = point->residual2 = 0.0;
  for (PetscInt i = 0; i < a->n_label; i++) point->fit += a->y[i] * a->solved[i];
  for (PetscInt i = 0; i < a->n_label; i++) point->residual2 += PetscSqr(a->solved[i]);
  PetscCall(Share(a, point));
  PetscCall(FwLocalActionSlope(a, a->matrix_slope, point->trace));
  PetscCall(FwLocalActionSlope(a, a->vector_slope, point->quadratic));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionEvaluateData(FwLocalAction a, const double order[], FwLocalPoint *point)
{
  FwCholesky     factor = NULL;
  PetscErrorCode code;

  PetscFunctionBegin;
  point->value = INFINITY;
  code         = FwLocalActionFactor(a, order, &factor, a->solved);
  if (code == FW_ERR_NUMERICAL) {
    FwErrorClear();
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(code);
  PetscCall(Slopes(a, &factor, point));
  if (isfinite(point->log_det) && isfinite(point->fit)) point->value = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionEvaluate(FwLocalAction a, const double order[], FwLocalPoint *point)
{
  FwLocalLawPoint law = {0};

  PetscFunctionBegin;
  point->value = INFINITY;
  PetscCall(FwLocalLawEvaluate(&a->law, order, &law, point->prior));
  if (!law.is_positive) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalActionEvaluateData(a, order, point));
  if (isinf(point->value)) PetscFunctionReturn(PETSC_SUCCESS);
  point->value    = a->unit * (law.value + (point->log_det + point->fit) / a->width);
  point->sum_rule = law.trace - a->n_row + Balance(a, point) / a->width;
  PetscCall(Stationarity(a, order, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwLocalActionRest(FwLocalAction a)
{
  return a->unit * FwLocalLawRest(&a->law);
}

PetscErrorCode FwLocalActionGetLayers(FwLocalAction a, PetscInt *n_layer)
{
  PetscFunctionBegin;
  *n_layer = a->family.closure == FW_DEEP_PATHS ? a->family.n_layer : 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwLocalActionGetLayer(FwLocalAction a, PetscInt l, PetscInt *n_row, double *width)
{
  *n_row = l ? a->law.rows[l] : a->n_row;
  *width = l ? a->law.width[l] : a->width;
}

PetscErrorCode FwLocalActionUpper(FwLocalAction a, const double order[], PetscInt l, double upper[])
{
  const PetscInt  n = a->law.rows[l];
  FwLocalLawPoint point;
  double         *prior;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)a->n_row * a->n_row, &prior));
  PetscCall(FwLocalLawEvaluate(&a->law, order, &point, prior));
  PetscCall(PetscArraycpy(upper, a->law.order[l], (size_t)n * n));
  PetscCall(PetscFree(prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the majorise-minimise step ----------------------------------------------------------------------------- */

PetscErrorCode FwLocalActionStep(FwLocalAction a, const double order[], const FwLocalPoint *point, double next[])
{
  const PetscInt n  = a->n_row;
  const size_t   n2 = (size_t)n * n;
  double        *c, *d;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n2, &c, n2, &d));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) c[i + j * n] = point->prior[i + j * n] + point->trace[i + j * n] / a->width;
  PetscCall(FwSymmetricSandwich(n, order, point->quadratic, d));
  for (size_t i = 0; i < n2; i++) d[i] /= a->width;
  PetscCall(FwSymmetricRiccati(n, c, 1.0, d, next));
  PetscCall(PetscFree2(c, d));
  PetscFunctionReturn(PETSC_SUCCESS);
}
