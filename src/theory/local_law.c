/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The order parameter of a network on patches before learning.
 *
 * Of paths, Q_l for l > 1 at fixed neighbours has one stationary point: with R the sum of the diagonal blocks of Q_{l-1} and m
 * their number,
 *
 *     Q S_l^-1 Q - beta Q - (N_{l-1} / N_l) R = 0,   beta = 1 - m N_{l-1} / N_l.
 *
 * Two layers are done then. With more, layers are visited in turn until nothing changes: each visit lowers the action.
 */

#include "local_law.h"
#include "symmetric.h"

#include <math.h>

enum { SWEEP_MAX = 2000 };

/* Relative change of an entry below which a sweep changes nothing */
static const double tolerance = 1e-14;

PetscErrorCode FwLocalLawCreate(PetscInt n_row, FwPatchClosure closure, const FwTower *tower, FwLocalLaw *law)
{
  const PetscInt L = tower->n_layer;

  PetscFunctionBegin;
  *law = (FwLocalLaw){.n_row = n_row, .n_layer = L, .closure = closure, .tower = tower};
  PetscCall(PetscCalloc3(L, &law->width, L, &law->order, L, &law->rows));
  for (PetscInt l = 0; l < L && closure == FW_DEEP_PATHS; l++) {
    law->rows[l] = n_row / tower->n_path[0] * tower->n_path[l];
    if (l) PetscCall(PetscMalloc1((size_t)law->rows[l] * law->rows[l], &law->order[l]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLawSetWidths(FwLocalLaw *law, const double width[])
{
  PetscFunctionBegin;
  PetscCall(PetscArraycpy(law->width, width, law->n_layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLawDestroy(FwLocalLaw *law)
{
  PetscFunctionBegin;
  for (PetscInt l = 1; l < law->n_layer; l++) PetscCall(PetscFree(law->order[l]));
  PetscCall(PetscFree3(law->width, law->order, law->rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsHierarchy(const FwLocalLaw *law)
{
  return law->n_layer > 1 && law->closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;
}

double FwLocalLawRest(const FwLocalLaw *law)
{
  double sum = 0.0;

  if (!IsHierarchy(law)) return (double)law->n_row * law->n_layer;
  for (PetscInt l = 0; l < law->n_layer; l++) sum += law->width[l] / law->width[0] * law->rows[l];
  return sum;
}

/* --- small matrices ----------------------------------------------------------------------------------------- */

static double Inverse(double x)
{
  return 1.0 / x;
}

static double LogDet(PetscInt n, const double value[])
{
  double sum = 0.0;

  for (PetscInt k = 0; k < n; k++) sum += log(PetscMax(value[k], 0.0));
  return sum;
}

static PetscErrorCode LogDetOf(PetscInt n, const double matrix[], double *log_det)
{
  double *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &value, (size_t)n * n, &vectors));
  PetscCall(FwSymmetricEigen(n, matrix, value, vectors));
  *log_det = LogDet(n, value);
  PetscCall(PetscFree2(value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum of the diagonal blocks of size n of a matrix of m n rows */
static void SumBlocks(PetscInt m, PetscInt n, const double matrix[], double sum[])
{
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      sum[i * n + j] = 0.0;
      for (PetscInt t = 0; t < m; t++) sum[i * n + j] += matrix[(size_t)(t * n + i) * (m * n) + t * n + j];
    }
}

/* The inverse of 1 x Q over m taps; Q = 1 of n rows where it is NULL */
static PetscErrorCode InverseOfBlocks(PetscInt m, PetscInt n, const double order[], double out[])
{
  double *inverse;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)n * n, &inverse));
  for (PetscInt i = 0; i < n; i++) inverse[i * n + i] = 1.0;
  if (order) PetscCall(FwSymmetricApply(n, order, Inverse, inverse));
  PetscCall(PetscArrayzero(out, (size_t)m * n * m * n));
  for (PetscInt t = 0; t < m; t++)
    for (PetscInt i = 0; i < n; i++)
      for (PetscInt j = 0; j < n; j++) out[(size_t)(t * n + i) * (m * n) + t * n + j] = inverse[i * n + j];
  PetscCall(PetscFree(inverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S_l^-1 of layer l */
static PetscErrorCode InversePrior(const FwLocalLaw *law, PetscInt l, double out[])
{
  PetscFunctionBegin;
  if (l + 1 < law->n_layer)
    PetscCall(InverseOfBlocks(law->tower->n_tap[l + 1], law->rows[l + 1], law->order[l + 1], out));
  else
    PetscCall(InverseOfBlocks(1, law->rows[l], NULL, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- paths -------------------------------------------------------------------------------------------------- */

static double LargestChange(PetscInt n, const double from[], const double to[])
{
  double change = 0.0, size = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    change = PetscMax(change, fabs(to[i] - from[i]));
    size   = PetscMax(size, fabs(to[i]));
  }
  return change / size;
}

/* Q_l, l > 1, from its neighbours */
static PetscErrorCode VisitLayer(FwLocalLaw *law, PetscInt l, const double below[], double *change)
{
  const PetscInt n = law->rows[l], m = law->tower->n_tap[l];
  const size_t   n2    = (size_t)n * n;
  const double   ratio = law->width[l - 1] / law->width[l];
  double        *prior, *sum, *next;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n2, &prior, n2, &sum, n2, &next));
  SumBlocks(m, n, below, sum);
  for (size_t i = 0; i < n2; i++) sum[i] *= ratio;
  PetscCall(InversePrior(law, l, prior));
  PetscCall(FwSymmetricRiccati(n, prior, 1.0 - m * ratio, sum, next));
  *change = PetscMax(*change, LargestChange(n * n, law->order[l], next));
  PetscCall(PetscArraycpy(law->order[l], next, n2));
  PetscCall(PetscFree3(prior, sum, next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q_2 .. Q_L at the minimum for Q_1; they begin at the mean of the blocks below them */
static PetscErrorCode Eliminate(FwLocalLaw *law, const double order[])
{
  const PetscInt *rows = law->rows, *n_tap = law->tower->n_tap;
  double          change = 1.0;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < law->n_layer; l++) {
    SumBlocks(n_tap[l], rows[l], l == 1 ? order : law->order[l - 1], law->order[l]);
    for (PetscInt i = 0; i < rows[l] * rows[l]; i++) law->order[l][i] /= n_tap[l];
  }
  for (int sweep = 0; sweep < SWEEP_MAX && change > tolerance; sweep++) {
    change = 0.0;
    for (PetscInt l = 1; l < law->n_layer; l++)
      PetscCall(VisitLayer(law, l, l == 1 ? order : law->order[l - 1], &change));
    if (law->n_layer == 2) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (N_l / N_1) [tr S^-1 Q - log det S^-1 Q] of one layer */
static PetscErrorCode RateOf(const FwLocalLaw *law, PetscInt l, const double order[], double *rate, double *trace)
{
  const PetscInt n = law->rows[l];
  double        *prior, log_det = 0.0, log_prior = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * n, &prior));
  PetscCall(InversePrior(law, l, prior));
  *trace = 0.0;
  for (PetscInt i = 0; i < n * n; i++) *trace += prior[i] * order[i];
  PetscCall(LogDetOf(n, order, &log_det));
  if (l + 1 < law->n_layer) PetscCall(LogDetOf(law->rows[l + 1], law->order[l + 1], &log_prior));
  if (l + 1 < law->n_layer) log_prior *= law->tower->n_tap[l + 1];
  *rate = law->width[l] / law->width[0] * (*trace - log_det + log_prior);
  PetscCall(PetscFree(prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EvaluateHierarchy(FwLocalLaw *law, const double order[], FwLocalLawPoint *point, double prior[])
{
  double rate = 0.0, trace;

  PetscFunctionBegin;
  PetscCall(Eliminate(law, order));
  PetscCall(RateOf(law, 0, order, &point->value, &point->trace));
  for (PetscInt l = 1; l < law->n_layer; l++) {
    PetscCall(RateOf(law, l, law->order[l], &rate, &trace));
    point->value += rate;
  }
  PetscCall(InversePrior(law, 0, prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

/* L tr Q^{1/L} - log det Q and P = Q^{1/L - 1}, from eigenvalues; L = 1 is one hidden layer */
static PetscErrorCode EvaluateStacked(const FwLocalLaw *law, const double value[], const double vectors[],
                                      FwLocalLawPoint *point, double prior[])
{
  const PetscInt n = law->n_row;
  const double   L = (double)law->n_layer;
  double        *power;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &power));
  point->trace = 0.0;
  for (PetscInt k = 0; k < n; k++) {
    power[k] = pow(value[k], 1.0 / L - 1.0);
    point->trace += power[k] * value[k];
  }
  point->value = L * point->trace - LogDet(n, value);
  PetscCall(FwSymmetricCompose(n, power, vectors, prior));
  PetscCall(PetscFree(power));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLawEvaluate(FwLocalLaw *law, const double order[], FwLocalLawPoint *point, double prior[])
{
  const PetscInt n = law->n_row;
  double        *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &value, (size_t)n * n, &vectors));
  PetscCall(FwSymmetricEigen(n, order, value, vectors));
  point->is_positive = value[0] > 0.0 ? PETSC_TRUE : PETSC_FALSE;
  if (point->is_positive)
    PetscCall(IsHierarchy(law) ? EvaluateHierarchy(law, order, point, prior)
                               : EvaluateStacked(law, value, vectors, point, prior));
  PetscCall(PetscFree2(value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}
