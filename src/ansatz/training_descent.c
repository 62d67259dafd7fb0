/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Steps of the descent methods: a gradient, over all examples or a batch, and the update of the weights.
 */

#include "learner_impl.h"
#include "training_impl.h"

#include <finwidth/random.h>
#include <math.h>

/* The order of an epoch: that of (seed, epoch) */
static PetscErrorCode Shuffle(FwTraining training, FwTrainOne *one, double epoch, PetscInt64 **of_run)
{
  const FwStream stream = FwStreamCreate(one->run.seed, FW_RANDOM_ANSATZ_ORDER, (uint64_t)epoch, 0, 0);
  const double   number = (double)(one - training->one);
  const PetscInt n = training->n_example, lane = (PetscInt)(one - training->one) % FW_LANES;
  PetscInt64    *order = training->order + lane * n;

  PetscFunctionBegin;
  *of_run = order;
  if (training->order_run[lane] == number && training->order_epoch[lane] == epoch) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStreamOrder(stream, n, order));
  training->order_run[lane]   = number;
  training->order_epoch[lane] = epoch;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Batch k has the examples k batch .. (k+1) batch - 1 of the endless row of epochs */
PetscErrorCode FwTrainChooseBatch(FwTraining training, FwTrainOne *one)
{
  const PetscInt n     = training->n_example;
  PetscInt64    *order = NULL;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < training->plan.batch; i++) {
    const double   place = one->at.time * training->plan.batch + i, epoch = floor(place / n);
    const PetscInt at = (PetscInt)(place - epoch * n);

    if (!training->plan.is_cyclic) PetscCall(Shuffle(training, one, epoch, &order));
    training->batch[i] = training->plan.is_cyclic ? at : (PetscInt)order[at];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the loss, which comes along: the update adds the decay */
static PetscErrorCode StepGradient(FwTraining training, FwTrainOne *one)
{
  const FwDecay none = {0.0, 0.0};

  PetscFunctionBegin;
  if (training->plan.batch == 0) {
    PetscCall(FwTrainGradient(one, none, one->theta, NULL, one->gradient));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwTrainChooseBatch(training, one));
  one->at.n_gradient += 1.0;
  PetscCall(FwLearnerBatchGradient(one->run.learner, none, training->plan.batch, training->batch, one->theta,
                                   &one->loss, one->gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What all numbers of a step share */
typedef struct {
  FwTraining   training;
  FwTrainOne  *one;
  FwTrainRates weight, bias;
  FwTrainScale scale;
} Step;

static Step PrepareStep(FwTraining training, FwTrainOne *one)
{
  Step step = {.training = training, .one = one, .scale = FwTrainGetScale(&training->plan, one->at.time + 1.0)};

  for (PetscInt lane = 0; lane < FW_LANES; lane++)
    FwTrainSetRates(&training->plan, &one->run, lane, &step.weight, &step.bias);
  return step;
}

static void UpdatePiece(void *context, PetscBool is_bias, PetscInt at, PetscInt n, const double g[])
{
  const Step    *step    = context;
  const PetscInt n_theta = step->training->n_theta, n_moment = step->training->n_moment;
  double        *u = step->one->moment;

  FwTrainUpdatePiece(&step->training->plan, n, is_bias ? &step->bias : &step->weight, step->scale, g,
                     n_moment > 0 ? u + at : NULL, n_moment > 1 ? u + n_theta + at : NULL, step->one->theta + at);
}

/* Gradient and update in one go through the weights */
static void StepThroughMoments(Step *step)
{
  FwTrainOne *one = step->one;

  one->at.n_gradient += 1.0;
  one->loss = FwLearnerMomentsPieces(one->run.learner, one->is_rotated, one->theta, UpdatePiece, step);
}

static PetscErrorCode MakeStep(FwTraining training, FwTrainOne *one)
{
  const FwLearnerShape *shape = &one->run.learner->shape;
  Step                  step  = PrepareStep(training, one);

  PetscFunctionBegin;
  if (training->plan.batch == 0 && one->run.learner->moments.xx) {
    StepThroughMoments(&step);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(StepGradient(training, one));
  FwTrainUpdate(&training->plan, shape, 1, &step.weight, &step.bias, step.scale, one->gradient, one->moment,
                one->theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainAdvance_Descent(FwTraining training, FwTrainOne *one, double time)
{
  const double until = PetscMin(time, one->at.time + PetscMax(1.0, training->most));

  PetscFunctionBegin;
  while (one->at.time < until && one->at.is_diverged == 0.0) {
    PetscCall(MakeStep(training, one));
    if (FwTrainHasGrown(one, one->loss))
      one->at.is_diverged = 1.0;
    else
      one->at.time += 1.0;
  }
  if (one->at.time == time && !FwTrainIsFinite(training->n_theta, one->theta)) one->at.is_diverged = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
