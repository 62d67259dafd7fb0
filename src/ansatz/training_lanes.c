/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Small networks, eight at once: the way into lanes and back, and descent. Runs come into the lanes for each call and
 * leave them again; lanes without a run, or with one that has diverged, compute what nobody reads.
 */

#include "training_lanes.h"

#include <math.h>

PetscErrorCode FwTrainLanesLoad(FwTraining training, PetscInt n, const FwTrainOne one[], FwLaneNet *net)
{
  PetscFunctionBegin;
  PetscCall(FwLaneNetCreate(one[0].run.learner, training->plan.batch, training->is_rotated, net));
  for (PetscInt lane = 0; lane < FW_LANES; lane++) {
    const FwTrainOne *from = &one[lane < n ? lane : 0];

    if (training->plan.batch == 0) FwLaneNetSetLearner(net, lane, from->run.learner);
    FwLanesPut(net->n_theta, lane, from->theta, net->theta);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainLanesStore(PetscInt n, FwTrainOne one[], FwLaneNet *net)
{
  PetscFunctionBegin;
  for (PetscInt lane = 0; lane < n; lane++) FwLanesGet(net->n_theta, lane, net->theta, one[lane].theta);
  PetscCall(FwLaneNetDestroy(net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- descent ---------------------------------------------------------------------------------------------------- */

/* Eight runs with what the method remembers of each */
typedef struct {
  FwLaneNet    net;
  void        *room;
  FwLanes     *moment; /* [n_moment][n] */
  FwTrainRates weight, bias;
} Group;

static PetscErrorCode GroupLoad(FwTraining training, PetscInt n, const FwTrainOne one[], Group *group)
{
  const PetscInt n_moment = training->n_moment * training->n_theta;

  PetscFunctionBegin;
  PetscCall(FwTrainLanesLoad(training, n, one, &group->net));
  PetscCall(FwLanesAllocate((size_t)n_moment, &group->room, &group->moment));
  for (PetscInt lane = 0; lane < n; lane++) FwLanesPut(n_moment, lane, one[lane].moment, group->moment);
  for (PetscInt lane = 0; lane < FW_LANES; lane++)
    FwTrainSetRates(&training->plan, &one[lane < n ? lane : 0].run, lane, &group->weight, &group->bias);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GroupStore(FwTraining training, PetscInt n, FwTrainOne one[], Group *group)
{
  const PetscInt n_moment = training->n_moment * training->n_theta;

  PetscFunctionBegin;
  for (PetscInt lane = 0; lane < n; lane++) FwLanesGet(n_moment, lane, group->moment, one[lane].moment);
  PetscCall(PetscFree(group->room));
  PetscCall(FwTrainLanesStore(n, one, &group->net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Runs whose loss has grown beyond bounds stay where they are. Whether any goes on */
static PetscBool CountStep(const Group *group, PetscInt n, FwTrainOne one[])
{
  PetscBool any = PETSC_FALSE;

  for (PetscInt lane = 0; lane < n; lane++) {
    FwTrainNumbers *at = &one[lane].at;

    if (at->is_diverged != 0.0) continue;
    at->n_gradient += 1.0;
    if (FwTrainHasGrown(&one[lane], group->net.loss[0][lane])) {
      at->is_diverged = 1.0;
    } else {
      at->time += 1.0;
      any = PETSC_TRUE;
    }
  }
  return any;
}

/* The weights of the last step have no gradient to tell */
static void CheckEnd(FwTraining training, const Group *group, PetscInt n, FwTrainOne one[], double time)
{
  double square[FW_LANES];

  FwLanesSumSquares(training->n_theta, group->net.theta, square);
  for (PetscInt lane = 0; lane < n; lane++)
    if (one[lane].at.time == time && !isfinite(square[lane])) one[lane].at.is_diverged = 1.0;
}

static PetscErrorCode MakeStep(FwTraining training, Group *group, double n_step, PetscInt n, FwTrainOne one[])
{
  PetscFunctionBegin;
  for (PetscInt lane = 0; training->plan.batch && lane < n; lane++) {
    PetscCall(FwTrainChooseBatch(training, &one[lane]));
    FwLaneNetSetBatch(&group->net, lane, one[lane].run.learner, training->batch);
  }
  PetscCall(FwLaneNetGradient(&group->net, group->net.theta, group->net.gradient));
  FwTrainUpdate(&training->plan, &group->net.learner->shape, FW_LANES, &group->weight, &group->bias,
                FwTrainGetScale(&training->plan, n_step), (const double *)group->net.gradient, (double *)group->moment,
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
  double       now   = GroupTime(n, one, time);
  const double until = PetscMin(time, now + PetscMax(1.0, training->most));
  PetscBool    any   = PETSC_TRUE;
  Group        group;

  PetscFunctionBegin;
  if (now >= time) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(GroupLoad(training, n, one, &group));
  for (; any && now < until; now += 1.0) {
    PetscCall(MakeStep(training, &group, now + 1.0, n, one));
    any = CountStep(&group, n, one);
  }
  CheckEnd(training, &group, n, one, time);
  PetscCall(GroupStore(training, n, one, &group));
  PetscFunctionReturn(PETSC_SUCCESS);
}
