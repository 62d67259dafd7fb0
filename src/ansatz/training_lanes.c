/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Descent of eight small networks at once. Runs come into the lanes for each call and leave them again; lanes without a
 * run, or with one that has diverged, compute what nobody reads.
 */

#include "lanes.h"
#include "training_impl.h"

#include <math.h>

/* Room for eight runs */
typedef struct {
  FwLaneNet net;
  void     *room;
  FwLanes  *moment; /* [n_moment][n] */
} Group;

static PetscErrorCode GroupCreate(FwTraining training, PetscInt n, const FwTrainOne one[], Group *group)
{
  const PetscInt n_moment = training->n_moment * training->n_theta;

  PetscFunctionBegin;
  PetscCall(FwLaneNetCreate(one[0].run.learner, training->plan.batch, &group->net));
  PetscCall(FwLanesAllocate((size_t)n_moment, &group->room, &group->moment));
  for (PetscInt lane = 0; lane < FW_LANES; lane++) {
    const FwTrainOne *from = &one[lane < n ? lane : 0];

    if (training->plan.batch == 0) FwLaneNetSetLearner(&group->net, lane, from->run.learner);
    FwLanesPut(training->n_theta, lane, from->theta, group->net.theta);
    FwLanesPut(n_moment, lane, from->moment, group->moment);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The runs take their numbers back */
static PetscErrorCode GroupDestroy(FwTraining training, PetscInt n, FwTrainOne one[], Group *group)
{
  PetscFunctionBegin;
  for (PetscInt lane = 0; lane < n; lane++) {
    FwLanesGet(training->n_theta, lane, group->net.theta, one[lane].theta);
    FwLanesGet(training->n_moment * training->n_theta, lane, group->moment, one[lane].moment);
  }
  PetscCall(PetscFree(group->room));
  PetscCall(FwLaneNetDestroy(&group->net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether any run goes on */
static PetscBool CountStep(FwTraining training, const Group *group, PetscInt n, FwTrainOne one[])
{
  double    square[FW_LANES];
  PetscBool any = PETSC_FALSE;

  FwLanesSumSquares(training->n_theta, group->net.theta, square);
  for (PetscInt lane = 0; lane < n; lane++) {
    FwTrainNumbers *at = &one[lane].at;

    if (at->is_diverged != 0.0) continue;
    at->time += 1.0;
    at->n_gradient += 1.0;
    at->is_diverged = !isfinite(square[lane]);
    if (at->is_diverged == 0.0) any = PETSC_TRUE;
  }
  return any;
}

static PetscErrorCode MakeStep(FwTraining training, Group *group, double n_step, PetscInt n, FwTrainOne one[])
{
  FwTrainRates weight, bias;

  PetscFunctionBegin;
  for (PetscInt lane = 0; lane < FW_LANES; lane++) {
    FwTrainOne *of = &one[lane < n ? lane : 0];

    FwTrainSetRates(&training->plan, &of->run, n_step, lane, &weight, &bias);
    if (training->plan.batch == 0 || lane >= n) continue;
    PetscCall(FwTrainChooseBatch(training, of));
    FwLaneNetSetBatch(&group->net, lane, of->run.learner, training->batch);
  }
  PetscCall(FwLaneNetGradient(&group->net, group->net.theta, group->net.gradient));
  FwTrainUpdate(&training->plan, &group->net.learner->shape, FW_LANES, &weight, &bias,
                FwTrainAdamScale(&training->plan, n_step), (const double *)group->net.gradient, (double *)group->moment,
                (double *)group->net.theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Runs that have not diverged are at the same step */
static double GroupTime(PetscInt n, const FwTrainOne one[], double otherwise)
{
  for (PetscInt lane = 0; lane < n; lane++)
    if (one[lane].at.is_diverged == 0.0) return one[lane].at.time;
  return otherwise;
}

PetscErrorCode FwTrainAdvanceLanes_Descent(FwTraining training, PetscInt n, FwTrainOne one[], double time)
{
  double    now = GroupTime(n, one, time);
  PetscBool any = PETSC_TRUE;
  Group     group;

  PetscFunctionBegin;
  if (now >= time) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(GroupCreate(training, n, one, &group));
  for (; any && now < time; now += 1.0) {
    PetscCall(MakeStep(training, &group, now + 1.0, n, one));
    any = CountStep(training, &group, n, one);
  }
  PetscCall(GroupDestroy(training, n, one, &group));
  PetscFunctionReturn(PETSC_SUCCESS);
}
