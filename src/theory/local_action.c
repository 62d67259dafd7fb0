/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The action of convolutional and locally-connected networks: S from a Cholesky factor, its gradient from the inverse
 * and one pass over the features.
 *
 * Symbols: a = A^-1 y, G1_ij = tr A^-1 B_ij, G2_ij = a^T B_ij a.
 */

#include <finwidth/local_action.h>

#include "symmetric.h"

#include <math.h>

struct FwLocalActionImpl {
  FwPatchKernel kernel;
  FwGrid        grid;
  FwPatchFamily family;
  PetscInt      n_train;
  const double *y;
  double        width, temperature, prior;
  double       *coefficient, *matrix_slope, *vector_slope; /* [n_feature] */
  double       *solved;                                    /* [P] */
};

/* --- life --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwLocalActionCreate(FwPatchKernel kernel, const double y[], FwLocalAction *action)
{
  FwLocalAction a;

  PetscFunctionBegin;
  PetscCall(PetscNew(&a));
  a->kernel = kernel;
  a->grid   = FwPatchKernelGrid(kernel);
  a->y      = y;
  PetscCall(FwPatchKernelGetFamily(kernel, &a->family));
  a->n_train = a->family.n_train;
  PetscCall(PetscMalloc4(a->family.n_feature, &a->coefficient, a->family.n_feature, &a->matrix_slope,
                         a->family.n_feature, &a->vector_slope, a->n_train, &a->solved));
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionSetModel(FwLocalAction a, const FwModel *model)
{
  PetscFunctionBegin;
  a->width       = model->width[0];
  a->temperature = model->temperature;
  a->prior       = model->prior[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalActionGetSize(FwLocalAction a, PetscInt *n_patch, PetscInt *n_unknown)
{
  PetscFunctionBegin;
  *n_patch   = a->family.n_patch;
  *n_unknown = a->family.n_feature - (a->family.is_centred ? 1 : 0);
  PetscFunctionReturn(PETSC_SUCCESS);
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
  PetscCall(PetscFree4(a->coefficient, a->matrix_slope, a->vector_slope, a->solved));
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPointCreate(FwLocalAction a, FwLocalPoint *point)
{
  const size_t n2 = (size_t)a->family.n_patch * (size_t)a->family.n_patch;

  PetscFunctionBegin;
  *point = (FwLocalPoint){.value = INFINITY};
  PetscCall(PetscCalloc2(n2, &point->trace, n2, &point->quadratic));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPointDestroy(FwLocalPoint *point)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(point->trace, point->quadratic));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- between matrices and features -------------------------------------------------------------------------- */

/* The last patch that makes a feature with patch i */
static PetscInt LastPartner(FwLocalAction a, PetscInt i)
{
  return a->family.form == FW_PATCH_DIAGONAL ? i : a->family.n_patch - 1;
}

PetscErrorCode FwLocalActionCoefficients(FwLocalAction a, const double order[], double coefficient[])
{
  const PetscInt n     = a->family.n_patch;
  const double   scale = 1.0 / (a->prior * n);
  PetscInt       d     = 0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = i; j <= LastPartner(a, i); j++) coefficient[d++] = scale * order[i * n + j];
  if (a->family.is_centred) coefficient[d] = scale;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The slope along F_ij = K_ij + K_ji is twice that along K_ij */
static void SlopesToMatrix(FwLocalAction a, const double slope[], double matrix[])
{
  const PetscInt n     = a->family.n_patch;
  const double   scale = 1.0 / (a->prior * n);
  PetscInt       d     = 0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = i; j <= LastPartner(a, i); j++)
      matrix[i * n + j] = matrix[j * n + i] = (i == j ? 1.0 : 0.5) * scale * slope[d++];
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
  PetscCall(FwMatrixCreateFromCopy(a->grid, a->n_train, 1, a->y, &right));
  PetscCall(FwCholeskySolve(*factor, right));
  PetscCall(FwMatrixGather(right, solved));
  PetscCall(FwMatrixDestroy(&right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr Q and log det Q; false where Q is not positive definite */
static PetscErrorCode Entropy(PetscInt n, const double order[], double *trace, double *log_det, PetscBool *is_positive)
{
  double *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &value, (size_t)n * n, &vectors));
  PetscCall(FwSymmetricEigen(n, order, value, vectors));
  *trace = *log_det = 0.0;
  for (PetscInt k = 0; k < n; k++) *trace += value[k];
  for (PetscInt k = 0; k < n; k++) *log_det += log(PetscMax(value[k], 0.0));
  *is_positive = value[0] > 0.0 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree2(value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* max |Q - 1 + Q G / N| over the entries that Q may have */
static PetscErrorCode Stationarity(FwLocalAction a, const double order[], FwLocalPoint *point)
{
  const PetscInt n = a->family.n_patch;
  double        *gradient, *product;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n * n, &gradient, (size_t)n * n, &product));
  for (PetscInt i = 0; i < n * n; i++) gradient[i] = (point->trace[i] - point->quadratic[i]) / a->width;
  PetscCall(FwSymmetricMultiply(n, order, gradient, product));
  point->stationarity = 0.0;
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++)
      point->stationarity =
        PetscMax(point->stationarity, fabs(order[i + j * n] - (i == j ? 1.0 : 0.0) + product[i + j * n]));
  PetscCall(PetscFree2(gradient, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr A^-1 K' - a^T K' a from A - T = K', less what the means give */
static double Balance(FwLocalAction a, const FwLocalPoint *point)
{
  const PetscInt last = a->family.n_feature - 1;
  const double   balance =
    (double)a->n_train - a->temperature * point->trace_inverse - point->fit + a->temperature * point->residual2;

  if (!a->family.is_centred) return balance;
  return balance - (a->matrix_slope[last] - a->vector_slope[last]) / (a->prior * a->family.n_patch);
}

/* Sums of several ranks may differ in the last bit from one rank to another */
static PetscErrorCode Share(FwLocalAction a, FwLocalPoint *point)
{
  double      number[4] = {point->log_det, point->trace_inverse, point->fit, point->residual2};
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(a->family.n_feature, &count));
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
  for (PetscInt i = 0; i < a->n_train; i++) point->fit += a->y[i] * a->solved[i];
  for (PetscInt i = 0; i < a->n_train; i++) point->residual2 += PetscSqr(a->solved[i]);
  PetscCall(Share(a, point));
  SlopesToMatrix(a, a->matrix_slope, point->trace);
  SlopesToMatrix(a, a->vector_slope, point->quadratic);
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
  const PetscInt n     = a->family.n_patch;
  double         trace = 0.0, log_det = 0.0;
  PetscBool      is_positive = PETSC_FALSE;

  PetscFunctionBegin;
  point->value = INFINITY;
  PetscCall(Entropy(n, order, &trace, &log_det, &is_positive));
  if (!is_positive) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalActionEvaluateData(a, order, point));
  if (isinf(point->value)) PetscFunctionReturn(PETSC_SUCCESS);
  point->value    = trace - log_det + (point->log_det + point->fit) / a->width;
  point->sum_rule = trace - n + Balance(a, point) / a->width;
  PetscCall(Stationarity(a, order, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the majorise-minimise step ----------------------------------------------------------------------------- */

static double InverseRoot(double x)
{
  return 1.0 / sqrt(x);
}

static double Root(double x)
{
  return sqrt(PetscMax(x, 0.0));
}

/* The positive root of x^2 - x - d = 0 */
static double Quadratic(double d)
{
  return 0.5 * (1.0 + sqrt(1.0 + 4.0 * PetscMax(d, 0.0)));
}

PetscErrorCode FwLocalActionStep(FwLocalAction a, const double order[], const FwLocalPoint *point, double next[])
{
  const PetscInt n  = a->family.n_patch;
  const size_t   n2 = (size_t)n * n;
  double        *c, *d, *root, *middle;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(n2, &c, n2, &d, n2, &root, n2, &middle));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) c[i + j * n] = (i == j ? 1.0 : 0.0) + point->trace[i + j * n] / a->width;
  PetscCall(FwSymmetricSandwich(n, order, point->quadratic, d));
  for (size_t i = 0; i < n2; i++) d[i] /= a->width;
  PetscCall(FwSymmetricApply(n, c, Root, root));
  PetscCall(FwSymmetricSandwich(n, root, d, middle));
  PetscCall(FwSymmetricApply(n, middle, Quadratic, middle));
  PetscCall(FwSymmetricApply(n, c, InverseRoot, root));
  PetscCall(FwSymmetricSandwich(n, root, middle, next));
  PetscCall(PetscFree4(c, d, root, middle));
  PetscFunctionReturn(PETSC_SUCCESS);
}
