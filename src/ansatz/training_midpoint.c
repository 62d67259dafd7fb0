/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The implicit midpoint rule, by Newton's method with Hessian-vector products: with m = (v + v+) / 2,
 *
 *     m - v + h/2 gradient(m) = 0,   v+ = 2 m - v.
 *
 * As a Gauss method it keeps quadratic invariants, so the balance of a linear network, to rounding. With decay the
 * balance decays: flow-strang takes the decay out of the equation and does it exactly, half before and half after.
 */

#include "training_impl.h"

#include <finwidth/dense.h>
#include <math.h>
#include <petscsnes.h>

/* One midpoint equation */
typedef struct {
  FwTrainOne   *one;
  FwDecay       decay; /* what of it is in the equation */
  double        h;
  const double *v, *m; /* start of the step, and where the Hessian is taken */
} Equation;

static PetscErrorCode Residual(SNES snes, Vec m_vec, Vec out, void *context)
{
  Equation     *equation = context;
  const double *m;
  double       *f;
  PetscInt      n;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(VecGetSize(m_vec, &n));
  PetscCall(VecGetArrayRead(m_vec, &m));
  PetscCall(VecGetArray(out, &f));
  PetscCall(FwTrainGradient(equation->one, equation->decay, m, NULL, f));
  for (PetscInt i = 0; i < n; i++) f[i] = m[i] - equation->v[i] + 0.5 * equation->h * f[i];
  PetscCall(VecRestoreArray(out, &f));
  PetscCall(VecRestoreArrayRead(m_vec, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (1 + h/2 Hessian) x; a product counts as two gradients */
static PetscErrorCode MultiplyJacobian(Mat jacobian, Vec x_vec, Vec out)
{
  Equation     *equation;
  const double *x;
  double       *y;
  PetscInt      n;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(jacobian, &equation));
  PetscCall(VecGetSize(x_vec, &n));
  PetscCall(VecGetArrayRead(x_vec, &x));
  PetscCall(VecGetArray(out, &y));
  equation->one->at.n_gradient += 2.0;
  PetscCall(FwLearnerHessianProduct(equation->one->run.learner, equation->decay, equation->m, x, y));
  for (PetscInt i = 0; i < n; i++) y[i] = x[i] + 0.5 * equation->h * y[i];
  PetscCall(VecRestoreArray(out, &y));
  PetscCall(VecRestoreArrayRead(x_vec, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The iterate is kept in one array all the time: nothing to assemble */
static PetscErrorCode FormJacobian(SNES snes, Vec m_vec, Mat jacobian, Mat preconditioner, void *context)
{
  PetscFunctionBegin;
  (void)snes;
  (void)m_vec;
  (void)preconditioner;
  (void)context;
  PetscCall(MatAssemblyBegin(jacobian, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(jacobian, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpLinearSolver(SNES snes, PetscInt n)
{
  KSP ksp;
  PC  pc;

  PetscFunctionBegin;
  PetscCall(SNESGetKSP(snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPGMRES));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetTolerances(ksp, 1e-6, PETSC_DEFAULT, PETSC_DEFAULT, PetscMin(n + 10, 1000)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolverCreate(Equation *equation, PetscInt n, Vec m, Mat *jacobian, SNES *snes)
{
  SNESLineSearch search;

  PetscFunctionBegin;
  PetscCall(MatCreateShell(PETSC_COMM_SELF, n, n, n, n, equation, jacobian));
  PetscCall(MatShellSetOperation(*jacobian, MATOP_MULT, (void (*)(void))MultiplyJacobian));
  PetscCall(SNESCreate(PETSC_COMM_SELF, snes));
  PetscCall(SNESSetOptionsPrefix(*snes, "ansatz_midpoint_"));
  PetscCall(SNESSetSolution(*snes, m));
  PetscCall(SNESSetFunction(*snes, NULL, Residual, equation));
  PetscCall(SNESSetJacobian(*snes, *jacobian, *jacobian, FormJacobian, NULL));
  PetscCall(SNESGetLineSearch(*snes, &search));
  PetscCall(SNESLineSearchSetType(search, SNESLINESEARCHBASIC));
  PetscCall(SetUpLinearSolver(*snes, n));
  PetscCall(SNESSetFromOptions(*snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One step; `m` starts at v and holds the solution. The residual can fall to rounding of what is in it, |v|. */
static PetscErrorCode MidpointStep(FwTrainOne *one, PetscInt n, SNES snes, Vec m_vec)
{
  SNESConvergedReason reason;
  const double        scale = sqrt(FwDot(n, one->theta, one->theta)), rounding = 1e-15;
  double             *m;

  PetscFunctionBegin;
  PetscCall(VecGetArray(m_vec, &m));
  PetscCall(PetscArraycpy(m, one->theta, n));
  PetscCall(VecRestoreArray(m_vec, &m));
  PetscCall(SNESSetTolerances(snes, 10.0 * rounding * scale, 0.0, rounding, 50, PETSC_MAX_INT));
  PetscCall(SNESSolve(snes, NULL, m_vec));
  PetscCall(SNESGetConvergedReason(snes, &reason));
  PetscCall(VecGetArray(m_vec, &m));
  for (PetscInt i = 0; i < n; i++) one->theta[i] = 2.0 * m[i] - one->theta[i];
  PetscCall(VecRestoreArray(m_vec, &m));
  one->at.is_diverged = reason < 0 || !FwTrainIsFinite(n, one->theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* v <- exp(-mu t) v */
static void Decay(FwTrainOne *one, double t)
{
  const FwDecay decay = {expm1(-one->run.decay.weight * t), expm1(-one->run.decay.bias * t)};

  FwLearnerAddDecay(one->run.learner, decay, one->theta, one->theta);
}

/* Equal steps of at most h, the last of which ends at `time`; a run that has paused on the way goes on with its own */
static PetscErrorCode MakeSteps(FwTraining training, Equation *equation, double time, SNES snes, Vec m_vec)
{
  FwTrainOne     *one  = equation->one;
  const double    rest = time - one->at.time, pause = one->at.n_gradient + training->most;
  const double    n_whole = ceil(rest / one->run.step * (1.0 - 1e-12)); /* rounding is no reason for one more */
  const double    h = one->at.step > 0.0 ? one->at.step : rest / n_whole, n_step = rint(rest / h);
  const PetscBool is_split = (PetscBool)(training->plan.method == FW_TRAIN_FLOW_STRANG);
  PetscBool       is_over  = PETSC_FALSE;

  PetscFunctionBegin;
  equation->h  = h;
  one->at.step = h;
  for (double k = 1.0; k <= n_step && !is_over && one->at.n_gradient < pause; k += 1.0) {
    if (is_split) Decay(one, 0.5 * h);
    PetscCall(MidpointStep(one, training->n_theta, snes, m_vec));
    if (is_split) Decay(one, 0.5 * h);
    one->at.time = k < n_step ? one->at.time + h : time;
    is_over      = FwTrainIsOver(&training->plan, one, one->loss, time);
  }
  if (one->at.time == time) one->at.step = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainAdvance_Midpoint(FwTraining training, FwTrainOne *one, double time)
{
  const FwDecay  none     = {0.0, 0.0};
  const PetscInt n        = training->n_theta;
  Equation       equation = {.one = one, .v = one->theta};
  double        *m;
  Vec            m_vec;
  Mat            jacobian;
  SNES           snes;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &m));
  equation.m     = m;
  equation.decay = training->plan.method == FW_TRAIN_FLOW_STRANG ? none : one->run.decay;
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, n, m, &m_vec));
  PetscCall(SolverCreate(&equation, n, m_vec, &jacobian, &snes));
  PetscCall(MakeSteps(training, &equation, time, snes, m_vec));
  PetscCall(SNESDestroy(&snes));
  PetscCall(MatDestroy(&jacobian));
  PetscCall(VecDestroy(&m_vec));
  PetscCall(PetscFree(m));
  PetscFunctionReturn(PETSC_SUCCESS);
}
