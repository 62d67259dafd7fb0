/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Critical points of the objective by PETSc Tao: limited-memory quasi-Newton, and Newton with a trust region.
 */

#include "training_impl.h"

#include <math.h>
#include <petsctao.h>

static PetscErrorCode Evaluate(Tao tao, Vec v, PetscReal *objective, Vec gradient, void *context)
{
  FwTrainOne   *one = context;
  const double *theta;
  double       *g;

  PetscFunctionBegin;
  (void)tao;
  PetscCall(VecGetArrayRead(v, &theta));
  PetscCall(VecGetArray(gradient, &g));
  PetscCall(FwTrainGradient(one, one->run.decay, theta, objective, g));
  PetscCall(VecRestoreArray(gradient, &g));
  PetscCall(VecRestoreArrayRead(v, &theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The Hessian at one point, kept as that point */
typedef struct {
  FwTrainOne *one;
  Vec         at;
} Hessian;

static PetscErrorCode MultiplyHessian(Mat hessian, Vec x_vec, Vec out)
{
  Hessian      *at;
  const double *theta, *x;
  double       *y;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(hessian, &at));
  PetscCall(VecGetArrayRead(at->at, &theta));
  PetscCall(VecGetArrayRead(x_vec, &x));
  PetscCall(VecGetArray(out, &y));
  at->one->at.n_gradient += 2.0;
  PetscCall(FwLearnerHessianProduct(at->one->run.learner, at->one->run.decay, theta, x, y));
  PetscCall(VecRestoreArray(out, &y));
  PetscCall(VecRestoreArrayRead(x_vec, &x));
  PetscCall(VecRestoreArrayRead(at->at, &theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormHessian(Tao tao, Vec v, Mat hessian, Mat preconditioner, void *context)
{
  Hessian *at = context;

  PetscFunctionBegin;
  (void)tao;
  (void)preconditioner;
  PetscCall(VecCopy(v, at->at));
  PetscCall(MatAssemblyBegin(hessian, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(hessian, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Steihaug's conjugate gradients within the trust region, without a preconditioner: only products are there */
static PetscErrorCode SetUpNewton(Tao tao, Hessian *at, Mat hessian)
{
  KSP ksp;
  PC  pc;

  PetscFunctionBegin;
  PetscCall(TaoSetHessian(tao, hessian, hessian, FormHessian, at));
  PetscCall(TaoGetKSP(tao, &ksp));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tao is not asked to stop in between: it begins anew after every so many iterations, counted from the first, wherever a
   run is stopped and resumed. That is seldom enough not to be felt by a memory of a few steps. */
static PetscInt Iterations(const FwTraining training, double from, double to)
{
  const double piece = training->plan.method == FW_TRAIN_NEWTON ? 20.0 : 50.0;

  return (PetscInt)PetscMin(to - from, piece * (floor(from / piece) + 1.0) - from);
}

static PetscErrorCode SetUpTao(FwTraining training, Hessian *at, Mat hessian, double time, Tao *tao)
{
  const PetscBool is_newton = (PetscBool)(training->plan.method == FW_TRAIN_NEWTON);

  PetscFunctionBegin;
  PetscCall(TaoCreate(PETSC_COMM_SELF, tao));
  PetscCall(TaoSetOptionsPrefix(*tao, "ansatz_"));
  PetscCall(TaoSetType(*tao, is_newton ? TAONTR : TAOLMVM));
  PetscCall(TaoSetObjectiveAndGradient(*tao, NULL, Evaluate, at->one));
  if (is_newton) PetscCall(SetUpNewton(*tao, at, hessian));
  PetscCall(TaoSetTolerances(*tao, training->plan.tolerance, 0.0, 0.0));
  PetscCall(TaoSetMaximumIterations(*tao, Iterations(training, at->one->at.time, time)));
  PetscCall(TaoSetMaximumFunctionEvaluations(*tao, PETSC_MAX_INT));
  PetscCall(TaoSetFromOptions(*tao));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(FwTraining training, FwTrainOne *one, Tao tao)
{
  TaoConvergedReason reason;
  PetscInt           n_iteration;

  PetscFunctionBegin;
  PetscCall(TaoGetConvergedReason(tao, &reason));
  PetscCall(TaoGetIterationNumber(tao, &n_iteration));
  one->at.time += n_iteration;
  one->at.is_converged = reason > 0;
  one->at.is_diverged =
    (reason < 0 && reason != TAO_DIVERGED_MAXITS) || !FwTrainIsFinite(training->n_theta, one->theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainAdvance_Tao(FwTraining training, FwTrainOne *one, double time)
{
  const PetscInt n  = training->n_theta;
  Hessian        at = {.one = one};
  Vec            v;
  Mat            hessian;
  Tao            tao;

  PetscFunctionBegin;
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, n, one->theta, &v));
  PetscCall(VecDuplicate(v, &at.at));
  PetscCall(MatCreateShell(PETSC_COMM_SELF, n, n, n, n, &at, &hessian));
  PetscCall(MatShellSetOperation(hessian, MATOP_MULT, (void (*)(void))MultiplyHessian));
  PetscCall(SetUpTao(training, &at, hessian, time, &tao));
  PetscCall(TaoSetSolution(tao, v));
  PetscCall(TaoSolve(tao));
  PetscCall(Finish(training, one, tao));
  PetscCall(TaoDestroy(&tao));
  PetscCall(MatDestroy(&hessian));
  PetscCall(VecDestroy(&v));
  PetscCall(VecDestroy(&at.at));
  PetscFunctionReturn(PETSC_SUCCESS);
}
