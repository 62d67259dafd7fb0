/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Descent of the action by Anderson mixing of the majorise-minimise step, and the list of minima.
 *
 * Every rank runs the same SNES on numbers that the action has made equal to the last bit.
 */

#include <finwidth/local_saddle.h>
#include <finwidth/random.h>
#include <finwidth/stop.h>

#include "local_coordinates.h"
#include "symmetric.h"

#include <float.h>
#include <math.h>

/* max |Q dS/dQ|: what is asked for, and what passes where round-off lets it fall no further */
static const double tolerance = 1e-10, tolerance_stagnant = 1e-7;
/* Ends closer than this in every entry of log Q are one minimum */
static const double same_minimum = 1e-5;
/* How far the sum rule may be off, per patch */
static const double tolerance_sum_rule = 1e-6;

enum { EVALUATION_MAX = 600, ROUND_MAX = 40, STAGNANT = 12 };

typedef struct {
  FwLocalAction action;
  PetscInt      n, n_unknown;
  double       *order, *next; /* [n, n] at the last evaluation, and the step from there */
  FwLocalPoint  point;
  double       *best, *best_next; /* [n, n] the lowest so far */
  FwLocalPoint  best_point;
  PetscInt      n_evaluation, n_stagnant; /* evaluations; those since stationarity last fell */
  double        least;                    /* stationarity so far */
  PetscBool     has_risen;                /* the last evaluation lies above the lowest */
} Descent;

/* --- the residual ------------------------------------------------------------------------------------------- */

static PetscErrorCode CopyPoint(const Descent *d, const FwLocalPoint *from, FwLocalPoint *to)
{
  double *trace = to->trace, *quadratic = to->quadratic, *prior = to->prior;

  PetscFunctionBegin;
  *to           = *from;
  to->trace     = trace;
  to->quadratic = quadratic;
  to->prior     = prior;
  PetscCall(PetscArraycpy(trace, from->trace, (size_t)d->n * d->n));
  PetscCall(PetscArraycpy(quadratic, from->quadratic, (size_t)d->n * d->n));
  PetscCall(PetscArraycpy(prior, from->prior, (size_t)d->n * d->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Round-off of S, and a rise of S that is forgiven where the stationarity falls: close to a minimum S is flat */
static double Noise(const Descent *d, double relative)
{
  const FwLocalPoint *p = &d->best_point;

  return relative * (fabs(p->value) + (fabs(p->log_det) + fabs(p->fit)) / FwLocalActionWidth(d->action));
}

static void Compare(Descent *d, PetscBool *is_better)
{
  const FwLocalPoint *best = &d->best_point, *here = &d->point;
  const double        rise      = here->value - best->value;
  const PetscBool     is_calmer = here->stationarity < best->stationarity ? PETSC_TRUE : PETSC_FALSE;

  if (isinf(best->value)) {
    *is_better = isinf(here->value) ? PETSC_FALSE : PETSC_TRUE;
    return;
  }
  d->has_risen = rise <= Noise(d, is_calmer ? 1e-8 : 1e-12) ? PETSC_FALSE : PETSC_TRUE;
  *is_better   = !d->has_risen && (is_calmer || rise < -Noise(d, 1e-8)) ? PETSC_TRUE : PETSC_FALSE;
}

/* Evaluate at d->order; note whether S has risen above the lowest, and keep what is better */
static PetscErrorCode EvaluateHere(Descent *d)
{
  PetscBool is_better = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(FwStopLeave(FwLocalActionComm(d->action), "in the search for the saddle point"));
  PetscCall(FwLocalActionEvaluate(d->action, d->order, &d->point));
  d->n_evaluation++;
  d->n_stagnant++;
  d->has_risen = isinf(d->point.value) ? PETSC_TRUE : PETSC_FALSE;
  if (isinf(d->point.value)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalActionStep(d->action, d->order, &d->point, d->next));
  if (d->point.stationarity < 0.9 * d->least) {
    d->least      = d->point.stationarity;
    d->n_stagnant = 0;
  }
  Compare(d, &is_better);
  if (!is_better) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArraycpy(d->best, d->order, (size_t)d->n * d->n));
  PetscCall(PetscArraycpy(d->best_next, d->next, (size_t)d->n * d->n));
  PetscCall(CopyPoint(d, &d->point, &d->best_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F(x) = log Q - log Q' */
static PetscErrorCode FormResidual(SNES snes, Vec x, Vec f, void *context)
{
  Descent           *d = (Descent *)context;
  const PetscScalar *at;
  PetscScalar       *out;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(x, &at));
  PetscCall(FwLocalFromCoordinates(d->action, at, d->order));
  PetscCall(EvaluateHere(d));
  PetscCall(VecGetArray(f, &out));
  if (isinf(d->point.value)) {
    PetscCall(SNESSetFunctionDomainError(snes));
    PetscCall(PetscArrayzero(out, d->n_unknown));
  } else {
    PetscCall(FwLocalToCoordinates(d->action, d->next, out));
    for (PetscInt k = 0; k < d->n_unknown; k++) out[k] = at[k] - out[k];
  }
  PetscCall(VecRestoreArray(f, &out));
  PetscCall(VecRestoreArrayRead(x, &at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A point that lies higher ends the mixing: it begins anew from the plain step */
static PetscErrorCode TestConvergence(SNES snes, PetscInt it, PetscReal xnorm, PetscReal gnorm, PetscReal fnorm,
                                      SNESConvergedReason *reason, void *context)
{
  const Descent *d = (const Descent *)context;

  PetscFunctionBegin;
  (void)snes, (void)xnorm, (void)gnorm, (void)fnorm;
  *reason = SNES_CONVERGED_ITERATING;
  if (d->best_point.stationarity < tolerance)
    *reason = SNES_CONVERGED_FNORM_ABS;
  else if (d->n_stagnant >= STAGNANT && d->least < tolerance_stagnant)
    *reason = SNES_CONVERGED_SNORM_RELATIVE;
  else if (d->n_evaluation >= EVALUATION_MAX)
    *reason = SNES_DIVERGED_FUNCTION_COUNT;
  else if (it > 0 && d->has_risen)
    *reason = SNES_DIVERGED_LINE_SEARCH;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one descent -------------------------------------------------------------------------------------------- */

/* Ten directions: with PETSc's thirty the small least-squares problem loses its digits and the mixing slows down. The
   number has no other door than the options; those of the user are read after it */
static PetscErrorCode SetDirections(SNES snes)
{
  PetscOptions options;

  PetscFunctionBegin;
  PetscCall(PetscOptionsCreate(&options));
  PetscCall(PetscOptionsSetValue(options, "-snes_anderson_m", "10"));
  PetscCall(PetscObjectSetOptions((PetscObject)snes, options));
  PetscCall(SNESSetFromOptions(snes));
  PetscCall(PetscObjectSetOptions((PetscObject)snes, NULL));
  PetscCall(PetscOptionsDestroy(&options));
  PetscCall(SNESSetFromOptions(snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSolver(Descent *d, SNES *snes, Vec *x, Vec *f)
{
  PetscFunctionBegin;
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, d->n_unknown, x));
  PetscCall(VecDuplicate(*x, f));
  PetscCall(SNESCreate(PETSC_COMM_SELF, snes));
  PetscCall(SNESSetType(*snes, SNESANDERSON));
  PetscCall(SNESSetFunction(*snes, *f, FormResidual, d));
  PetscCall(SNESSetConvergenceTest(*snes, TestConvergence, d, NULL));
  PetscCall(SNESSetTolerances(*snes, 0.0, 0.0, 0.0, EVALUATION_MAX, EVALUATION_MAX));
  PetscCall(SetDirections(*snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mix until it converges, or until a point lies higher; then again from the plain step of the lowest */
static PetscErrorCode Mix(Descent *d, SNESConvergedReason *reason)
{
  SNES         snes;
  Vec          x, f;
  PetscScalar *at;

  PetscFunctionBegin;
  PetscCall(CreateSolver(d, &snes, &x, &f));
  for (int round = 0; round < ROUND_MAX; round++) {
    PetscCall(VecGetArray(x, &at));
    PetscCall(FwLocalToCoordinates(d->action, d->best_next, at));
    PetscCall(VecRestoreArray(x, &at));
    PetscCall(SNESSolve(snes, NULL, x));
    PetscCall(SNESGetConvergedReason(snes, reason));
    if (*reason != SNES_DIVERGED_LINE_SEARCH && *reason != SNES_DIVERGED_FUNCTION_DOMAIN) break;
  }
  if (*reason < 0 && d->best_point.stationarity < tolerance_stagnant) *reason = SNES_CONVERGED_SNORM_RELATIVE;
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&f));
  PetscCall(SNESDestroy(&snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateDescent(FwLocalAction action, Descent *d)
{
  size_t n2;

  PetscFunctionBegin;
  *d = (Descent){.action = action, .least = INFINITY};
  PetscCall(FwLocalActionGetSize(action, &d->n, &d->n_unknown));
  n2 = (size_t)d->n * d->n;
  PetscCall(PetscMalloc4(n2, &d->order, n2, &d->next, n2, &d->best, n2, &d->best_next));
  PetscCall(FwLocalPointCreate(action, &d->point));
  PetscCall(FwLocalPointCreate(action, &d->best_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyDescent(Descent *d)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(d->order, d->next, d->best, d->best_next));
  PetscCall(FwLocalPointDestroy(&d->point));
  PetscCall(FwLocalPointDestroy(&d->best_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Functions of matrices leave round-off where there is nothing */
static void Clean(const Descent *d, double order[])
{
  for (PetscInt i = 0; i < d->n; i++)
    for (PetscInt j = 0; j < d->n; j++)
      if (!FwLocalActionCouples(d->action, i, j)) order[i * d->n + j] = 0.0;
}

static PetscErrorCode Descend(FwLocalAction action, const double start[], FwLocalMinimum *end)
{
  Descent d;

  PetscFunctionBegin;
  PetscCall(CreateDescent(action, &d));
  PetscCall(PetscArraycpy(d.order, start, (size_t)d.n * d.n));
  PetscCall(EvaluateHere(&d));
  end->reason = SNES_DIVERGED_FUNCTION_DOMAIN;
  if (isfinite(d.best_point.value)) PetscCall(Mix(&d, &end->reason));
  if (end->reason > 0 && fabs(d.best_point.sum_rule) > tolerance_sum_rule * d.n) end->reason = SNES_DIVERGED_INNER;
  PetscCall(PetscMalloc1((size_t)d.n * d.n, &end->order));
  PetscCall(FwLocalPointCreate(action, &end->point));
  PetscCall(PetscArraycpy(end->order, isfinite(d.best_point.value) ? d.best : start, (size_t)d.n * d.n));
  Clean(&d, end->order);
  PetscCall(CopyPoint(&d, &d.best_point, &end->point));
  end->n_evaluation = d.n_evaluation;
  PetscCall(DestroyDescent(&d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the list of minima ------------------------------------------------------------------------------------- */

static PetscErrorCode IsSame(PetscInt n, const double a[], const double b[], PetscBool *is_same)
{
  double *log_a, *log_b;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n * n, &log_a, (size_t)n * n, &log_b));
  PetscCall(FwSymmetricApply(n, a, log, log_a));
  PetscCall(FwSymmetricApply(n, b, log, log_b));
  *is_same = PETSC_TRUE;
  for (PetscInt i = 0; i < n * n; i++)
    if (fabs(log_a[i] - log_b[i]) > same_minimum) *is_same = PETSC_FALSE;
  PetscCall(PetscFree2(log_a, log_b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lower in S; where that is round-off, converged */
static PetscBool IsBefore(const FwLocalMinimum *a, const FwLocalMinimum *b)
{
  const double    difference = a->point.value - b->point.value, noise = 1e-7 * (1.0 + fabs(b->point.value));
  const PetscBool is_alike = fabs(difference) < noise ? PETSC_TRUE : PETSC_FALSE;

  if (is_alike && (a->reason > 0) != (b->reason > 0)) return a->reason > 0 ? PETSC_TRUE : PETSC_FALSE;
  return difference < 0.0 ? PETSC_TRUE : PETSC_FALSE;
}

/* Stable */
static void Sort(PetscInt n, FwLocalMinimum end[])
{
  for (PetscInt i = 1; i < n; i++)
    for (PetscInt j = i; j > 0 && IsBefore(&end[j], &end[j - 1]); j--) {
      const FwLocalMinimum other = end[j];

      end[j]     = end[j - 1];
      end[j - 1] = other;
    }
}

static PetscErrorCode DestroyMinimum(FwLocalMinimum *minimum)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(minimum->order));
  PetscCall(FwLocalPointDestroy(&minimum->point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keep the lowest, converged or not, and every other that is a minimum not seen before */
static PetscErrorCode KeepDistinct(PetscInt n_end, FwLocalMinimum end[], FwLocalSaddle *s)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n_end; i++) {
    PetscBool is_same = i > 0 && end[i].reason <= 0 ? PETSC_TRUE : PETSC_FALSE;

    s->n_evaluation += end[i].n_evaluation;
    for (PetscInt j = 0; j < s->n_minimum && !is_same; j++)
      PetscCall(IsSame(s->n_row, end[i].order, end[j].order, &is_same));
    if (is_same)
      PetscCall(DestroyMinimum(&end[i]));
    else
      end[s->n_minimum++] = end[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalSaddleFind(FwLocalAction action, PetscInt n_start, const double start[], FwLocalSaddle *saddle)
{
  FwLocalSaddle s = {.n_start = n_start};
  PetscInt      n_unknown;

  PetscFunctionBegin;
  PetscCall(FwLocalActionGetSize(action, &s.n_row, &n_unknown));
  PetscCall(PetscCalloc1(n_start, &s.minimum));
  for (PetscInt i = 0; i < n_start; i++)
    PetscCall(Descend(action, start + (size_t)i * s.n_row * s.n_row, &s.minimum[i]));
  Sort(n_start, s.minimum);
  PetscCall(KeepDistinct(n_start, s.minimum, &s));
  s.is_converged = s.minimum[0].reason > 0 ? PETSC_TRUE : PETSC_FALSE;
  *saddle        = s;
  PetscCheck(isfinite(s.minimum[0].point.value), FwLocalActionComm(action), FW_ERR_NUMERICAL,
             "the covariance of the labels is not positive definite: set a larger temperature");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalSaddleDestroy(FwLocalSaddle *saddle)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < saddle->n_minimum; i++) PetscCall(DestroyMinimum(&saddle->minimum[i]));
  PetscCall(PetscFree(saddle->minimum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- starts ------------------------------------------------------------------------------------------------- */

/* scale * W W^T / (n + 1), W of n rows and n + 1 columns, without the entries that Q does not have */
static PetscErrorCode DrawStart(FwLocalAction action, uint64_t seed, PetscInt number, PetscInt n, double start[])
{
  const FwStream stream = FwStreamCreate(seed, FW_RANDOM_LOCAL_START, (uint64_t)number, 0, 0);
  double        *w, uniform, scale;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * (n + 1), &w));
  FwStreamNormal(stream, 0, (size_t)n * (n + 1), w);
  FwStreamUniform(FwStreamCreate(seed, FW_RANDOM_LOCAL_START, (uint64_t)number, 1, 0), 0, 1, &uniform);
  scale = pow(10.0, 2.0 * uniform - 1.0) / (n + 1);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      start[i * n + j] = 0.0;
      for (PetscInt k = 0; k <= n && FwLocalActionCouples(action, i, j); k++)
        start[i * n + j] += scale * w[i * (n + 1) + k] * w[j * (n + 1) + k];
    }
  PetscCall(PetscFree(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalStarts(FwLocalAction action, uint64_t seed, PetscInt n_start, double start[])
{
  PetscInt n, n_unknown;

  PetscFunctionBegin;
  PetscCall(FwLocalActionGetSize(action, &n, &n_unknown));
  PetscCall(PetscArrayzero(start, (size_t)n * n));
  for (PetscInt i = 0; i < n; i++) start[i * n + i] = 1.0;
  for (PetscInt s = 1; s < n_start; s++) PetscCall(DrawStart(action, seed, s, n, start + (size_t)s * n * n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
