/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gradient flow dv/dt = -(g + mu v) by PETSc's adaptive Runge-Kutta methods.
 */

#include "training_impl.h"

#include <math.h>
#include <petscts.h>

static PetscErrorCode RightHandSide(TS ts, PetscReal t, Vec v, Vec out, void *context)
{
  FwTrainOne   *one = context;
  const double *theta;
  double       *rate;

  PetscFunctionBegin;
  (void)ts;
  (void)t;
  PetscCall(VecGetArrayRead(v, &theta));
  PetscCall(VecGetArray(out, &rate));
  PetscCall(FwTrainGradient(one, one->run.decay, theta, NULL, rate));
  PetscCall(VecRestoreArray(out, &rate));
  PetscCall(VecRestoreArrayRead(v, &theta));
  PetscCall(VecScale(out, -1.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A stage that overflows means a step too large, not the end */
static PetscErrorCode IsInDomain(TS ts, PetscReal t, Vec v, PetscBool *accept)
{
  PetscReal norm;

  PetscFunctionBegin;
  (void)ts;
  (void)t;
  PetscCall(VecNorm(v, NORM_2, &norm));
  *accept = (PetscBool)isfinite(norm);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many gradients as this call is to make are made: the solver ends here, and another will go on */
static PetscErrorCode StopInTime(TS ts)
{
  FwTrainOne *one;

  PetscFunctionBegin;
  PetscCall(TSGetApplicationContext(ts, &one));
  if (one->at.n_gradient >= one->pause) PetscCall(TSSetConvergedReason(ts, TS_CONVERGED_USER));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpSolver(FwTraining training, FwTrainOne *one, double time, TS *ts)
{
  const double tolerance = training->plan.tolerance;
  TSAdapt      adapt;

  PetscFunctionBegin;
  PetscCall(TSCreate(PETSC_COMM_SELF, ts));
  PetscCall(TSSetOptionsPrefix(*ts, "ansatz_flow_"));
  PetscCall(TSSetProblemType(*ts, TS_NONLINEAR));
  PetscCall(TSSetType(*ts, TSRK));
  PetscCall(TSRKSetType(*ts, training->plan.is_low_order ? TSRK5DP : TSRK8VR));
  PetscCall(TSSetRHSFunction(*ts, NULL, RightHandSide, one));
  PetscCall(TSSetFunctionDomainError(*ts, IsInDomain));
  PetscCall(TSSetApplicationContext(*ts, one));
  PetscCall(TSSetPostStep(*ts, StopInTime));
  PetscCall(TSSetTolerances(*ts, tolerance, NULL, tolerance, NULL));
  PetscCall(TSSetTime(*ts, one->at.time));
  PetscCall(TSSetMaxTime(*ts, time));
  PetscCall(TSSetMaxSteps(*ts, PETSC_MAX_INT));
  PetscCall(TSSetTimeStep(*ts, one->at.step > 0.0 ? one->at.step : 1e-3 * (time - one->at.time)));
  PetscCall(TSSetExactFinalTime(*ts, TS_EXACTFINALTIME_MATCHSTEP));
  PetscCall(TSSetErrorIfStepFails(*ts, PETSC_FALSE));
  PetscCall(TSGetAdapt(*ts, &adapt));
  PetscCall(TSAdaptSetType(adapt, TSADAPTBASIC));
  PetscCall(TSSetFromOptions(*ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainAdvance_Flow(FwTraining training, FwTrainOne *one, double time)
{
  TS                ts;
  Vec               v;
  TSConvergedReason reason;

  PetscFunctionBegin;
  one->pause = one->at.n_gradient + training->most;
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, training->n_theta, one->theta, &v));
  PetscCall(SetUpSolver(training, one, time, &ts));
  PetscCall(TSSolve(ts, v));
  PetscCall(TSGetConvergedReason(ts, &reason));
  PetscCall(TSGetTime(ts, &one->at.time));
  PetscCall(TSGetTimeStep(ts, &one->at.step));
  one->at.is_diverged = reason < 0 || !FwTrainIsFinite(training->n_theta, one->theta);
  if (one->at.is_diverged == 0.0 && reason != TS_CONVERGED_USER) one->at.time = time;
  PetscCall(TSDestroy(&ts));
  PetscCall(VecDestroy(&v));
  PetscFunctionReturn(PETSC_SUCCESS);
}
