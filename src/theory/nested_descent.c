/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Descent of the nested action by SNES.
 *
 * Newton's matrix is H = D + g r r^T + E: D = diag(N_l Q_l / N) is exact, g the exact second derivative along u_L, and
 * r_l = d log K / du_l taken from the diagonal of K, which makes the sum exact for homogeneous activations without
 * biases. E is the rank-one correction (SR1) that makes H, averaged over both ends of a step, reproduce the change of
 * the gradient: the average keeps the third derivatives out of E. H is made positive by the modulus of its eigenvalues,
 * so that every step descends on S, and a line search on S does the rest.
 */

#include "nested_impl.h"
#include "newton.h"

#include <math.h>
#include <petscblaslapack.h>

/* No order parameter changes by more than a factor e^2 in a step: Newton's steps are worth nothing that far out */
static const double longest_step = 2.0;

enum { STEP_MAX = 60, BACKTRACK_MAX = 14 };

typedef struct {
  FwNestedAction action;
  double        *correction;            /* [L][L] E */
  double        *before, *before_slope; /* [L] the last iterate and its gradient */
  double        *before_known;          /* [L][L] D + g r r^T there */
  PetscBool      has_before;
} Descent;

/* --- Newton's matrix ---------------------------------------------------------------------------------------- */

/* D + g r r^T at the point of the action, column-major */
static void KnownHessian(const Descent *d, double hessian[])
{
  const FwNestedAction a = d->action;
  const FwNestedPoint *p = &a->point;
  const PetscInt       n = a->model->depth;

  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < n; i++) {
      hessian[i + j * n] = p->curvature * p->growth[i] * p->growth[j];
      if (i == j) hessian[i + j * n] += a->model->width[i] / a->last * a->order[i];
    }
}

/* E <- E + v v^T / v.s with v = (change of the gradient) - H s, which makes H s that change; `known` is D + g r r^T at
   this end of the step */
static PetscErrorCode LearnFromStep(Descent *d, const double known[])
{
  const FwNestedPoint *p = &d->action->point;
  const PetscInt       n = d->action->model->depth;
  double              *step, *miss, product = 0.0, step2 = 0.0, miss2 = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &step, n, &miss));
  for (PetscInt i = 0; i < n; i++) step[i] = p->log_order[i] - d->before[i];
  for (PetscInt i = 0; i < n; i++) {
    miss[i] = p->gradient[i] - d->before_slope[i];
    for (PetscInt j = 0; j < n; j++)
      miss[i] -= (0.5 * (known[i + j * n] + d->before_known[i + j * n]) + d->correction[i + j * n]) * step[j];
    product += miss[i] * step[i];
    step2 += PetscSqr(step[i]);
    miss2 += PetscSqr(miss[i]);
  }
  /* the usual guard against a small denominator, and against a change of the gradient that is round-off */
  if (fabs(product) > 1e-6 * sqrt(step2 * miss2) && sqrt(miss2) > 100.0 * p->noise)
    for (PetscInt j = 0; j < n; j++)
      for (PetscInt i = 0; i < n; i++) d->correction[i + j * n] += miss[i] * miss[j] / product;
  PetscCall(PetscFree2(step, miss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H <- V max(|lambda|, floor) V^T */
static PetscErrorCode MakePositive(PetscInt n, double hessian[])
{
  PetscBLASInt order = (PetscBLASInt)n, size = 8 * order + 64, info = 0;
  double      *value, *vectors, *work, largest = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &value, n * n, &vectors, size, &work));
  PetscCall(PetscArraycpy(vectors, hessian, n * n));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "L", &order, vectors, &order, value, work, &size, &info));
  PetscCheck(!info, PETSC_COMM_WORLD, FW_ERR_NUMERICAL, "the Hessian of the action has no eigenvalues (info %d)",
             (int)info);
  for (PetscInt k = 0; k < n; k++) largest = PetscMax(largest, fabs(value[k]));
  PetscCall(PetscArrayzero(hessian, n * n));
  for (PetscInt k = 0; k < n; k++) {
    const double modulus =
      PetscMax(fabs(value[k]), 1e-8 * largest); /* a longer step is cut by the line search anyway */

    for (PetscInt j = 0; j < n; j++)
      for (PetscInt i = 0; i < n; i++) hessian[i + j * n] += modulus * vectors[i + k * n] * vectors[j + k * n];
  }
  PetscCall(PetscFree3(value, vectors, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what SNES calls ---------------------------------------------------------------------------------------- */

static PetscErrorCode FormGradient(SNES snes, Vec u, Vec gradient, void *context)
{
  Descent           *d = (Descent *)context;
  const PetscScalar *x;
  PetscScalar       *g;
  double             value;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(u, &x));
  PetscCall(VecGetArray(gradient, &g));
  PetscCall(FwNestedActionEvaluate(d->action, x, &value, g));
  PetscCall(VecRestoreArray(gradient, &g));
  PetscCall(VecRestoreArrayRead(u, &x));
  if (!isfinite(value)) PetscCall(SNESSetFunctionDomainError(snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Called once per iterate, whose gradient is known */
static PetscErrorCode FormHessian(SNES snes, Vec u, Mat hessian, Mat preconditioner, void *context)
{
  Descent           *d = (Descent *)context;
  const PetscInt     n = d->action->model->depth;
  const PetscScalar *x;
  PetscScalar       *entry;
  double             value;

  PetscFunctionBegin;
  (void)snes;
  (void)hessian;
  PetscCall(VecGetArrayRead(u, &x));
  PetscCall(MatDenseGetArrayWrite(preconditioner, &entry));
  PetscCall(FwNestedActionEvaluate(d->action, x, &value, entry)); /* makes it the action's point; it is already */
  KnownHessian(d, entry);
  if (d->has_before) PetscCall(LearnFromStep(d, entry));
  PetscCall(PetscArraycpy(d->before, d->action->point.log_order, n));
  PetscCall(PetscArraycpy(d->before_slope, d->action->point.gradient, n));
  PetscCall(PetscArraycpy(d->before_known, entry, n * n));
  d->has_before = PETSC_TRUE;
  for (PetscInt i = 0; i < n * n; i++) entry[i] += d->correction[i];
  PetscCall(MakePositive(n, entry));
  PetscCall(MatDenseRestoreArrayWrite(preconditioner, &entry));
  PetscCall(VecRestoreArrayRead(u, &x));
  PetscCall(MatAssemblyBegin(preconditioner, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(preconditioner, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First t <= 1 of the sequence at which S(x - t y) falls as Armijo asks, but for round-off in S; 0 if there is none */
static PetscErrorCode Backtrack(const Descent *d, Vec x, Vec y, Vec trial, double slope, double *t)
{
  const double       here = d->action->point.value, noise = d->action->point.noise;
  const PetscScalar *at;
  double             value, longest;

  PetscFunctionBegin;
  PetscCall(VecNorm(y, NORM_INFINITY, &longest));
  *t = longest > longest_step ? longest_step / longest : 1.0;
  for (int i = 0; i < BACKTRACK_MAX; i++) {
    PetscCall(VecWAXPY(trial, -*t, y, x));
    PetscCall(VecGetArrayRead(trial, &at));
    PetscCall(FwNestedActionEvaluate(d->action, at, &value, NULL));
    PetscCall(VecRestoreArrayRead(trial, &at));
    if (value <= here + 1e-4 * *t * slope + noise) PetscFunctionReturn(PETSC_SUCCESS);
    /* minimum of the parabola through both values and the slope, kept within [0.1, 0.5] t */
    *t *= isfinite(value) ? PetscMin(0.5, PetscMax(0.1, 0.5 * -*t * slope / (value - here - *t * slope))) : 0.25;
  }
  *t = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SearchLine(SNESLineSearch search, void *context)
{
  Descent *d = (Descent *)context;
  SNES     snes;
  Vec      x, f, y, w, g;
  double   slope, t = 0.0;

  PetscFunctionBegin;
  PetscCall(SNESLineSearchGetSNES(search, &snes));
  PetscCall(SNESLineSearchGetVecs(search, &x, &f, &y, &w, &g));
  PetscCall(SNESLineSearchSetReason(search, SNES_LINESEARCH_SUCCEEDED));
  PetscCall(VecDot(f, y, &slope));
  PetscCall(Backtrack(d, x, y, w, -slope, &t));
  if (t == 0.0) {
    PetscCall(SNESLineSearchSetReason(search, SNES_LINESEARCH_FAILED_REDUCT));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(VecCopy(w, x));
  PetscCall(VecScale(y, t));
  PetscCall(SNESComputeFunction(snes, x, f));
  PetscCall(SNESLineSearchSetLambda(search, t));
  PetscCall(SNESLineSearchComputeNorms(search));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the solver --------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateSolver(Descent *d, SNES *snes)
{
  SNESLineSearch search;

  PetscFunctionBegin;
  PetscCall(FwNewtonCreate(d->action->model->depth, FormGradient, FormHessian, d, snes));
  PetscCall(SNESGetLineSearch(*snes, &search));
  PetscCall(SNESLineSearchSetType(search, SNESLINESEARCHSHELL));
  PetscCall(SNESLineSearchShellSetUserFunc(search, SearchLine, d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSolver(SNES snes, Descent *d, FwNestedEnd *end)
{
  const PetscInt n = d->action->model->depth;
  Vec            u;
  double         value, *gradient;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &gradient));
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, n, end->log_order, &u));
  PetscCall(SNESSolve(snes, NULL, u));
  PetscCall(VecDestroy(&u));
  PetscCall(SNESGetConvergedReason(snes, &end->reason));
  PetscCall(SNESGetIterationNumber(snes, &end->n_iteration));
  PetscCall(FwNestedActionEvaluate(d->action, end->log_order, &value, gradient));
  end->value    = value;
  end->residual = 0.0;
  for (PetscInt l = 0; l < n; l++) end->residual = hypot(end->residual, gradient[l]);
  PetscCall(PetscFree(gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNestedDescend(FwNestedAction action, double correction[], FwNestedEnd *end)
{
  const PetscInt n = action->model->depth;
  Descent        d = {.action = action, .correction = correction};
  SNES           snes;
  double         value, *gradient;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(n, &d.before, n, &d.before_slope, n * n, &d.before_known, n, &gradient));
  PetscCall(FwNestedActionEvaluate(action, end->log_order, &value, gradient));
  end->value  = value;
  end->reason = SNES_DIVERGED_FUNCTION_DOMAIN;
  if (isfinite(value)) {
    PetscCall(CreateSolver(&d, &snes));
    /* |dS/du| to 1e-10, or to what round-off allows where T is tiny */
    PetscCall(SNESSetTolerances(snes, PetscMax(1e-10, 10.0 * action->point.noise), 0.0, 0.0, STEP_MAX, PETSC_DEFAULT));
    PetscCall(SNESSetFromOptions(snes));
    PetscCall(RunSolver(snes, &d, end));
    PetscCall(SNESDestroy(&snes));
  }
  PetscCall(PetscFree4(d.before, d.before_slope, d.before_known, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}
