/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Steps of the descent methods: a gradient, over all examples or a batch, and the update of the weights.
 */

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

/* Of the loss: the update adds the decay */
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
  PetscCall(FwLearnerBatchGradient(one->run.learner, none, training->plan.batch, training->batch, one->theta, NULL,
                                   one->gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(FwTraining training, FwTrainOne *one)
{
  const FwLearnerShape *shape;
  const double          n_step = one->at.time + 1.0;
  FwTrainRates          weight, bias;

  PetscFunctionBegin;
  PetscCall(FwLearnerGetShape(one->run.learner, &shape));
  for (PetscInt lane = 0; lane < FW_LANES; lane++)
    FwTrainSetRates(&training->plan, &one->run, n_step, lane, &weight, &bias);
  FwTrainUpdate(&training->plan, shape, 1, &weight, &bias, FwTrainAdamScale(&training->plan, n_step), one->gradient,
                one->moment, one->theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainAdvance_Descent(FwTraining training, FwTrainOne *one, double time)
{
  const double until = PetscMin(time, one->at.time + PetscMax(1.0, training->most));

  PetscFunctionBegin;
  while (one->at.time < until && one->at.is_diverged == 0.0) {
    PetscCall(StepGradient(training, one));
    PetscCall(Update(training, one));
    one->at.time += 1.0;
    one->at.is_diverged = !FwTrainIsFinite(training->n_theta, one->theta);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
