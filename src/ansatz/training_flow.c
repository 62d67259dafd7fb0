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

/* A run, and how it is to go */
typedef struct {
  const FwTrainPlan *plan;
  FwTrainOne        *one;
} Way;

/* As many gradients as this call is to make are made, and another will go on; or it is over */
static PetscErrorCode StopInTime(TS ts)
{
  Way      *way;
  PetscReal end;

  PetscFunctionBegin;
  PetscCall(TSGetApplicationContext(ts, &way));
  PetscCall(TSGetTime(ts, &way->one->at.time));
  PetscCall(TSGetMaxTime(ts, &end));
  if (FwTrainIsOver(way->plan, way->one, way->one->loss, end) || way->one->at.n_gradient >= way->one->pause)
    PetscCall(TSSetConvergedReason(ts, TS_CONVERGED_USER));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpSolver(Way *way, double time, TS *ts)
{
  const double tolerance = way->plan->tolerance;
  FwTrainOne  *one       = way->one;
  TSAdapt      adapt;

  PetscFunctionBegin;
  PetscCall(TSCreate(PETSC_COMM_SELF, ts));
  PetscCall(TSSetOptionsPrefix(*ts, "ansatz_flow_"));
  PetscCall(TSSetProblemType(*ts, TS_NONLINEAR));
  PetscCall(TSSetType(*ts, TSRK));
  PetscCall(TSRKSetType(*ts, way->plan->is_low_order ? TSRK5DP : TSRK8VR));
  PetscCall(TSSetRHSFunction(*ts, NULL, RightHandSide, one));
  PetscCall(TSSetFunctionDomainError(*ts, IsInDomain));
  PetscCall(TSSetApplicationContext(*ts, way));
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
  Way               way = {&training->plan, one};
  TS                ts;
  Vec               v;
  TSConvergedReason reason;

  PetscFunctionBegin;
  one->pause = one->at.n_gradient + training->most;
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, training->n_theta, one->theta, &v));
  PetscCall(SetUpSolver(&way, time, &ts));
  PetscCall(TSSolve(ts, v));
  PetscCall(TSGetConvergedReason(ts, &reason));
  PetscCall(TSGetTime(ts, &one->at.time));
  PetscCall(TSGetTimeStep(ts, &one->at.step));
  if (reason < 0 || !FwTrainIsFinite(training->n_theta, one->theta)) one->at.is_diverged = 1.0;
  if (one->at.is_diverged == 0.0 && reason != TS_CONVERGED_USER) one->at.time = time;
  PetscCall(TSDestroy(&ts));
  PetscCall(VecDestroy(&v));
  PetscFunctionReturn(PETSC_SUCCESS);
}
