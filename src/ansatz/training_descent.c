/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Steps of the descent methods: a gradient, over all examples or a batch, and the update of the weights.
 */

#include "training_impl.h"

#include <finwidth/random.h>
#include <finwidth/vector.h>
#include <math.h>

static const double beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8; /* adam's */

/* --- batches ---------------------------------------------------------------------------------------------------- */

/* The order of an epoch: a permutation by Fisher and Yates, whose numbers are those of (seed, epoch) */
static PetscErrorCode Shuffle(FwTraining training, FwTrainOne *one, double epoch)
{
  const FwStream stream = FwStreamCreate(one->run.seed, FW_RANDOM_ANSATZ_ORDER, (uint64_t)epoch, 0, 0);
  const double   number = (double)(one - training->one);
  const PetscInt n      = training->n_example;
  double        *u;

  PetscFunctionBegin;
  if (training->order_run == number && training->order_epoch == epoch) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(n, &u));
  FwStreamUniform(stream, 0, (size_t)n, u);
  for (PetscInt i = 0; i < n; i++) training->order[i] = i;
  for (PetscInt i = n - 1; i > 0; i--) {
    const PetscInt j = (PetscInt)(u[i] * (i + 1)), swap = training->order[i];

    training->order[i] = training->order[j];
    training->order[j] = swap;
  }
  training->order_run   = number;
  training->order_epoch = epoch;
  PetscCall(PetscFree(u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Batch k has the examples k batch .. (k+1) batch - 1 of the endless row of epochs */
static PetscErrorCode ChooseBatch(FwTraining training, FwTrainOne *one)
{
  const PetscInt n = training->n_example;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < training->plan.batch; i++) {
    const double   place = one->at.time * training->plan.batch + i, epoch = floor(place / n);
    const PetscInt at = (PetscInt)(place - epoch * n);

    if (!training->plan.is_cyclic) PetscCall(Shuffle(training, one, epoch));
    training->batch[i] = training->plan.is_cyclic ? at : training->order[at];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* adamw's decay is no part of its gradient */
static PetscErrorCode StepGradient(FwTraining training, FwTrainOne *one)
{
  const FwDecay none = {0.0, 0.0}, decay = training->plan.method == FW_TRAIN_ADAMW ? none : one->run.decay;

  PetscFunctionBegin;
  if (training->plan.batch == 0) {
    PetscCall(FwTrainGradient(one, decay, one->theta, NULL, one->gradient));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(ChooseBatch(training, one));
  one->at.n_gradient += 1.0;
  PetscCall(FwLearnerBatchGradient(one->run.learner, decay, training->plan.batch, training->batch, one->theta, NULL,
                                   one->gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- updates ---------------------------------------------------------------------------------------------------- */

FW_VECTOR static void Descend(PetscInt n, double step, const double *restrict g, double *restrict v)
{
  for (PetscInt i = 0; i < n; i++) v[i] -= step * g[i];
}

FW_VECTOR static void Roll(PetscInt n, double step, double beta, const double *restrict g, double *restrict u,
                           double *restrict v)
{
  for (PetscInt i = 0; i < n; i++) {
    u[i] = beta * u[i] + g[i];
    v[i] -= step * u[i];
  }
}

FW_VECTOR static void LookAhead(PetscInt n, double step, double beta, const double *restrict g, double *restrict u,
                                double *restrict v)
{
  for (PetscInt i = 0; i < n; i++) {
    u[i] = beta * u[i] + g[i];
    v[i] -= step * (g[i] + beta * u[i]);
  }
}

/* rate = eta / (1 - beta_1^k), scale = 1 / sqrt(1 - beta_2^k) */
FW_VECTOR static void Adapt(PetscInt n, double rate, double scale, const double *restrict g, double *restrict m,
                            double *restrict s, double *restrict v)
{
  for (PetscInt i = 0; i < n; i++) {
    m[i] = beta_1 * m[i] + (1.0 - beta_1) * g[i];
    s[i] = beta_2 * s[i] + (1.0 - beta_2) * g[i] * g[i];
    v[i] -= rate * m[i] / (sqrt(s[i]) * scale + epsilon);
  }
}

/* v <- (1 - eta mu) v, weights and biases with their own mu: v - eta d(penalty)/dv */
static void Shrink(FwTrainOne *one)
{
  const FwDecay decay = {-one->run.step * one->run.decay.weight, -one->run.step * one->run.decay.bias};

  FwLearnerAddDecay(one->run.learner, decay, one->theta, one->theta);
}

static void AdaptStep(FwTraining training, FwTrainOne *one)
{
  const PetscInt n = training->n_theta;
  const double   k = one->at.time + 1.0;

  if (training->plan.method == FW_TRAIN_ADAMW) Shrink(one);
  Adapt(n, one->run.step / (1.0 - pow(beta_1, k)), 1.0 / sqrt(1.0 - pow(beta_2, k)), one->gradient, one->moment,
        one->moment + n, one->theta);
}

static void Update(FwTraining training, FwTrainOne *one)
{
  const PetscInt n    = training->n_theta;
  const double   beta = training->plan.momentum, step = one->run.step;

  switch (training->plan.method) {
    case FW_TRAIN_GD:
      Descend(n, step, one->gradient, one->theta);
      break;
    case FW_TRAIN_NESTEROV:
      LookAhead(n, step, beta, one->gradient, one->moment, one->theta);
      break;
    case FW_TRAIN_ADAM:
    case FW_TRAIN_ADAMW:
      AdaptStep(training, one);
      break;
    default:
      Roll(n, step, beta, one->gradient, one->moment, one->theta);
  }
}

PetscErrorCode FwTrainAdvance_Descent(FwTraining training, FwTrainOne *one, double time)
{
  PetscFunctionBegin;
  while (one->at.time < time && one->at.is_diverged == 0.0) {
    PetscCall(StepGradient(training, one));
    Update(training, one);
    one->at.time += 1.0;
    one->at.is_diverged = !FwTrainIsFinite(training->n_theta, one->theta);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
