/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The action of the nested and the linearised composition: S from a Cholesky factor, its gradient from the inverse.
 *
 * Symbols: u_l = log Q_l, a = A^-1 y, B = A - K = T + s_L^2 1 1^T.
 */

#include "nested_impl.h"

#include <finwidth/stop.h>

#include <float.h>
#include <math.h>

/* --- life --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwNestedActionCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form,
                                    FwNestedAction *action)
{
  const PetscInt depth = model->depth;
  FwNestedAction a;
  FwDataSizes    sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCheck(sizes.n_output == 1, FwGridComm(grid), FW_ERR_INPUT,
             "theory_composition: nested and linearised are for one output, network_outputs is %" PetscInt_FMT,
             sizes.n_output);
  PetscCall(PetscNew(&a));
  a->grid  = grid;
  a->model = model;
  a->n     = sizes.n_train;
  a->bias  = model->bias[depth];
  a->last  = model->width[depth - 1];
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &a->y));
  PetscCall(FwKernelLayersCreate(grid, model, data, form, &a->layers));
  PetscCall(PetscMalloc3(depth, &a->point.log_order, depth, &a->point.gradient, depth, &a->point.growth));
  PetscCall(PetscMalloc2(depth, &a->order, 3 * (size_t)a->n, &a->solved));
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNestedActionDestroy(FwNestedAction *action)
{
  FwNestedAction a = *action;

  PetscFunctionBegin;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwCholeskyDestroy(&a->factor));
  PetscCall(FwKernelLayersDestroy(&a->layers));
  PetscCall(PetscFree3(a->point.log_order, a->point.gradient, a->point.growth));
  PetscCall(PetscFree2(a->order, a->solved));
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- value -------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddNoise(const FwStrip *strip, void *context)
{
  FwMatrix       matrix = ((void **)context)[0];
  FwNestedAction a      = ((void **)context)[1];

  PetscFunctionBegin;
  if (a->bias > 0.0)
    for (PetscInt i = 0; i < strip->n; i++) strip->value[i] += a->bias;
  if (FwMatrixRow(matrix, strip->first) == strip->column) strip->value[0] += a->model->temperature;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Assemble and factor A. *is_positive says whether that went; what went wrong otherwise is no error here */
static PetscErrorCode FactorCovariance(FwNestedAction a, PetscBool *is_positive)
{
  FwMatrix       matrix     = NULL;
  void          *context[2] = {NULL, a};
  PetscErrorCode code;

  PetscFunctionBegin;
  code = FwKernelLayersTrain(a->layers, a->order, &matrix);
  if (!code) {
    context[0] = matrix;
    PetscCall(FwMatrixVisit(matrix, FW_LOWER, AddNoise, context));
    code = FwCholeskyCreate(&matrix, &a->factor);
  }
  *is_positive = code ? PETSC_FALSE : PETSC_TRUE;
  if (code != FW_ERR_NUMERICAL) PetscCall(code);
  if (code) {
    FwErrorClear();
    PetscCall(FwMatrixDestroy(&matrix));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* out <- A^-1 in, n columns that every rank holds */
static PetscErrorCode Solve(FwNestedAction a, PetscInt n, const double in[], double out[])
{
  FwMatrix b;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreateFromCopy(a->grid, a->n, n, in, &b));
  PetscCall(FwCholeskySolve(a->factor, b));
  PetscCall(FwMatrixGather(b, out));
  PetscCall(FwMatrixDestroy(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveAll(FwNestedAction a)
{
  const PetscInt n = a->n;
  double        *right, sum = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(2 * (size_t)n, &right));
  for (PetscInt i = 0; i < n; i++) right[i] = a->y[i];
  for (PetscInt i = 0; i < n; i++) right[n + i] = 1.0;
  PetscCall(Solve(a, 2, right, a->solved));
  for (PetscInt i = 0; i < n; i++) sum += a->solved[i];
  for (PetscInt i = 0; i < n; i++) right[i] = a->model->temperature * a->solved[i] + a->bias * sum;
  PetscCall(Solve(a, 1, right, a->solved + 2 * (size_t)n));
  PetscCall(PetscFree(right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Dot(PetscInt n, const double a[], const double b[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* sum_l (N_l / N)(Q_l - u_l) */
static double Entropy(FwNestedAction a)
{
  double sum = 0.0;

  for (PetscInt l = 0; l < a->model->depth; l++)
    sum += a->model->width[l] / a->last * (a->order[l] - a->point.log_order[l]);
  return sum;
}

PetscErrorCode FwNestedFactor(FwNestedAction a, const double log_order[])
{
  const PetscInt depth   = a->model->depth;
  double         log_det = 0.0, value = INFINITY;
  PetscBool      is_positive = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(FwStopLeave(FwGridComm(a->grid), "in the descent of the action"));
  a->has_value = a->has_gradient = PETSC_FALSE;
  PetscCall(FwCholeskyDestroy(&a->factor));
  for (PetscInt l = 0; l < depth; l++) {
    a->point.log_order[l] = log_order[l];
    a->order[l]           = exp(log_order[l]);
  }
  a->n_evaluation++;
  PetscCall(FactorCovariance(a, &is_positive));
  if (is_positive) {
    PetscCall(FwCholeskyLogDet(a->factor, &log_det));
    PetscCall(SolveAll(a));
    value = Entropy(a) + (log_det + Dot(a->n, a->y, a->solved)) / a->last;
  }
  if (!isfinite(value)) value = INFINITY; /* a NaN too: a factor of one is not positive */
  PetscCallMPI(MPI_Bcast(&value, 1, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  a->point.value = value;
  a->has_value   = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- gradient ----------------------------------------------------------------------------------------------- */

typedef struct {
  FwMatrix      inverse; /* A^-1 on entry, (A^-1 - a a^T) / N on return */
  const double *solved;  /* a */
  double        last;
  double        trace, square; /* tr A^-1, tr A^-2: this rank's share */
} Weights;

static PetscErrorCode WeighStrip(const FwStrip *strip, void *context)
{
  Weights        *w        = (Weights *)context;
  const PetscBool is_first = FwMatrixRow(w->inverse, strip->first) == strip->column ? PETSC_TRUE : PETSC_FALSE;
  const double    other    = w->solved[strip->column];

  PetscFunctionBegin;
  w->square += 2.0 * Dot(strip->n, strip->value, strip->value);
  if (is_first) w->square -= PetscSqr(strip->value[0]);
  if (is_first) w->trace += strip->value[0];
  for (PetscInt i = 0; i < strip->n; i++)
    strip->value[i] = (strip->value[i] - w->solved[FwMatrixRow(w->inverse, strip->first + i)] * other) / w->last;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Second derivative along u_L, where K only grows: with M = A^-1 K = 1 - A^-1 B and z = A^-1 B a,
   tr M - tr M^2 - a^T K a + 2 (K a)^T A^-1 (K a), K a = y - B a. All from numbers at hand. */
static double Curvature(FwNestedAction a, double trace, double square)
{
  const PetscInt n = a->n;
  const double  *s = a->solved, *ones = s + n, *z = ones + n, temperature = a->model->temperature, bias = a->bias;
  double         sum = 0.0, one_one = 0.0, kk = 0.0, quadratic = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += s[i];
  for (PetscInt i = 0; i < n; i++) one_one += ones[i];
  for (PetscInt i = 0; i < n; i++) {
    const double k = a->y[i] - temperature * s[i] - bias * sum;

    quadratic += s[i] * k;
    kk += k * (s[i] - z[i]);
  }
  /* tr M - tr M^2 = tr A^-1 B - tr A^-1 B A^-1 B */
  return (temperature * trace + bias * one_one - PetscSqr(temperature) * square -
          2.0 * temperature * bias * Dot(n, ones, ones) - PetscSqr(bias * one_one) - quadratic + 2.0 * kk) /
         a->last;
}

/* r_l: how fast the diagonal grows with u_l. Stands for all of K in the model of the Hessian; also its largest entry */
static PetscErrorCode Growth(FwNestedAction a, double *largest)
{
  double *diagonal;

  PetscFunctionBegin;
  *largest = 0.0;
  PetscCall(PetscMalloc1(a->n, &diagonal));
  PetscCall(FwKernelLayersDiagonal(a->layers, FW_TRAIN, a->order, diagonal));
  for (PetscInt i = 0; i < a->n; i++) {
    *largest    = PetscMax(*largest, diagonal[i]);
    diagonal[i] = diagonal[i] > 0.0 ? 1.0 / (diagonal[i] * a->n) : 0.0;
  }
  PetscCall(FwKernelLayersPullBackDiagonal(a->layers, a->order, diagonal, a->point.growth));
  for (PetscInt l = 0; l < a->model->depth; l++) a->point.growth[l] *= a->order[l];
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cholesky is exact for a matrix A + E, |E| some eps max A_ii, which moves log det A by up to |E| tr A^-1 and
   y^T A^-1 y by |E| |a|^2; sums of P terms add their own */
static double Noise(FwNestedAction a, double largest)
{
  const FwNestedPoint *p     = &a->point;
  const double         scale = largest + a->bias + a->model->temperature;

  return 4.0 * DBL_EPSILON * (fabs(p->value) + ((double)a->n + scale * (p->trace + p->residual2)) / a->last);
}

/* The small solve must take the same branches on every rank */
static PetscErrorCode ShareSlopes(FwNestedAction a)
{
  PetscMPIInt count;
  double      number[4] = {a->point.curvature, a->point.noise, a->point.residual2, a->point.trace};

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(a->model->depth, &count));
  PetscCallMPI(MPI_Bcast(a->point.gradient, count, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  PetscCallMPI(MPI_Bcast(a->point.growth, count, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  PetscCallMPI(MPI_Bcast(number, 4, MPI_DOUBLE, 0, FwGridComm(a->grid)));
  a->point.curvature = number[0];
  a->point.noise     = number[1];
  a->point.residual2 = number[2];
  a->point.trace     = number[3];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNestedSlopes(FwNestedAction a)
{
  Weights        w = {.solved = a->solved, .last = a->last};
  FwNestedPoint *p = &a->point;
  double         sum[2], largest;
  FwMatrix       inverse;

  PetscFunctionBegin;
  PetscCall(FwCholeskyInverse(&a->factor, &inverse));
  w.inverse = inverse;
  PetscCall(FwMatrixVisit(inverse, FW_LOWER, WeighStrip, &w));
  sum[0] = w.trace;
  sum[1] = w.square;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, FwGridComm(a->grid)));
  PetscCall(FwKernelLayersPullBack(a->layers, a->order, inverse, p->gradient));
  PetscCall(FwMatrixDestroy(&inverse));
  for (PetscInt l = 0; l < a->model->depth; l++)
    p->gradient[l] = a->model->width[l] / a->last * (a->order[l] - 1.0) + a->order[l] * p->gradient[l];
  PetscCall(Growth(a, &largest));
  p->trace     = sum[0];
  p->residual2 = Dot(a->n, a->solved, a->solved);
  p->curvature = Curvature(a, sum[0], sum[1]);
  p->noise     = Noise(a, largest);
  PetscCall(ShareSlopes(a));
  a->has_gradient = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNestedActionEvaluate(FwNestedAction a, const double log_order[], double *value, double gradient[])
{
  const PetscInt depth   = a->model->depth;
  PetscBool      is_same = PETSC_FALSE;

  PetscFunctionBegin;
  if (a->has_value) PetscCall(PetscArraycmp(log_order, a->point.log_order, depth, &is_same));
  if (!is_same) PetscCall(FwNestedFactor(a, log_order));
  *value = a->point.value;
  if (!gradient) PetscFunctionReturn(PETSC_SUCCESS);
  if (isfinite(*value) && !a->has_gradient) PetscCall(FwNestedSlopes(a));
  for (PetscInt l = 0; l < depth; l++) gradient[l] = isfinite(*value) ? a->point.gradient[l] : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}
