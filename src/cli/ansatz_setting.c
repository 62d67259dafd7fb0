/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Keys of a point of `finwidth ansatz`.
 */

#include "ansatz.h"

#include <finwidth/option.h>

PetscErrorCode FwAnsatzSetDefaults(void)
{
  static const char *const values[][2] = {
    {"network_activation", "linear"},
    {"data_test",          "0"     }
  };

  PetscFunctionBegin;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(values); i++) {
    char      option[64];
    PetscBool is_set;

    PetscCall(FwOptionIsSet(values[i][0], &is_set));
    PetscCall(PetscSNPrintf(option, sizeof option, "-%s", values[i][0]));
    if (!is_set) PetscCall(PetscOptionsSetValue(NULL, option, values[i][1]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys of networks and data that have no meaning here, or none beside a counterexample */
static PetscErrorCode RefuseKeys(PetscBool has_case)
{
  static const char *const never[]  = {"network_prior", "network_prior_readout", "network_bias", NULL};
  static const char *const beside[] = {
    "network_width",  "network_depth", "data_source", "data_train",      "ansatz_init",
    "ansatz_weights", "ansatz_biases", "ansatz_loss", "network_outputs", NULL};
  PetscBool is_set;

  PetscFunctionBegin;
  for (const char *const *key = never; *key; key++) {
    PetscCall(FwOptionIsSet(*key, &is_set));
    PetscCheck(!is_set, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "key '%s' has no meaning for ansatz, whose networks are trained from a start: see ansatz_init and "
               "ansatz_biases",
               *key);
  }
  for (const char *const *key = beside; *key && has_case; key++) {
    PetscCall(FwOptionIsSet(*key, &is_set));
    PetscCheck(!is_set, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "ansatz_case is given, which sets network, data and start: leave out '%s'", *key);
  }
  PetscCall(FwOptionIsSet("ansatz_case_values", &is_set));
  PetscCheck(has_case || !is_set, PETSC_COMM_WORLD, FW_ERR_INPUT, "ansatz_case_values is given without ansatz_case");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNetwork(MPI_Comm comm, FwAnsatzPoint *point)
{
  FwModel   model;
  PetscBool has_biases = PETSC_FALSE, is_given;

  PetscFunctionBegin;
  PetscCall(FwModelFromOptions(&model));
  PetscCheck(model.type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: ansatz is about 'fc' networks");
  PetscCheck(model.depth < FW_LEARNER_LAYERS, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_depth %" PetscInt_FMT ": ansatz trains at most %d hidden layers", model.depth,
             FW_LEARNER_LAYERS - 1);
  for (PetscInt l = 1; l < model.depth; l++)
    PetscCheck(model.activation[l] == model.activation[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_activation: ansatz trains networks of one activation in all hidden layers");
  PetscCheck(model.activation[0] != FW_ACTIVATION_SIGN, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_activation sign has no gradient to train with");
  point->shape = (FwLearnerShape){.n_layer = model.depth + 1, .activation = (FwActivationType)model.activation[0]};
  for (PetscInt l = 1; l <= model.depth; l++) point->shape.width[l] = (PetscInt)model.width[l - 1];
  PetscCall(FwModelDestroy(&model));
  PetscCall(FwOptionText("ansatz_weights", sizeof point->weights, point->weights, NULL));
  PetscCall(FwOptionBoolean("ansatz_biases", &point->shape.has_bias, NULL));
  PetscCall(FwOptionIsSet("ansatz_biases", &is_given));
  if (point->weights[0] && !is_given)
    PetscCall(FwInitialHasBiases(comm, point->weights, point->shape.n_layer, &has_biases));
  if (has_biases) point->shape.has_bias = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCase(FwAnsatzPoint *point)
{
  PetscInt kind, n                          = FW_CASE_VALUES + 1;
  double   value[FW_CASE_VALUES + 1], start = 0.3;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("ansatz_case", &kind, &point->has_case));
  PetscCall(RefuseKeys(point->has_case));
  if (!point->has_case) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptionReals("ansatz_case_values", &n, value));
  PetscCall(FwOptionReal("ansatz_init_scale", &start, NULL));
  PetscCall(FwCaseCreate((FwCaseKind)kind, n, value, start, &point->counterexample));
  point->shape = point->counterexample.shape;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInitial(FwAnsatzPoint *point)
{
  PetscInt   scheme;
  PetscInt64 seed;
  PetscBool  is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("ansatz_init", &scheme, NULL));
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  point->seed       = (uint64_t)seed;
  point->n_singular = FW_ANSATZ_LIST_MAX;
  PetscCall(FwOptionReals("ansatz_init_singular", &point->n_singular, point->singular));
  point->initial = (FwInitial){.scheme     = (FwInitialScheme)scheme,
                               .scale      = FwInitialDefaultScale((FwInitialScheme)scheme),
                               .n_singular = point->n_singular};
  PetscCall(FwOptionReal("ansatz_init_scale", &point->initial.scale, &is_set));
  if (!is_set) point->initial.scale = FwInitialDefaultScale(point->initial.scheme);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadEnd(FwAnsatzPoint *point)
{
  PetscInt64 steps, n_time;
  PetscBool  has_time, has_steps, is_scanned[2];

  PetscFunctionBegin;
  PetscCall(FwOptionReal("ansatz_time", &point->end, NULL));
  PetscCall(FwOptionInteger("ansatz_steps", &steps, NULL));
  PetscCall(FwOptionInteger("ansatz_measurements", &n_time, NULL));
  PetscCall(FwOptionIsSet("ansatz_time", &has_time));
  PetscCall(FwOptionIsSet("ansatz_steps", &has_steps));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_ansatz_optimiser", &is_scanned[0]));
  point->n_time = point->has_case && point->counterexample.is_static ? 1 : (PetscInt)n_time;
  if (FwTrainMethodIsFlow(point->plan.method)) {
    PetscCheck(!has_steps || has_time || is_scanned[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
               "ansatz_steps is given without ansatz_time, but '%s' runs for a time: want ansatz_time",
               FwTrainMethodNames[point->plan.method]);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(!has_time || has_steps || is_scanned[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_time is given without ansatz_steps, but '%s' makes steps: want ansatz_steps",
             FwTrainMethodNames[point->plan.method]);
  point->end = (double)steps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwAnsatzHasKinks(const FwAnsatzPoint *point)
{
  const FwActivationType type = point->shape.activation;

  return (PetscBool)(point->shape.n_layer > 1 && (type == FW_ACTIVATION_RELU || type == FW_ACTIVATION_LEAKY_RELU ||
                                                  type == FW_ACTIVATION_HARDTANH));
}

static PetscErrorCode ReadTraining(FwAnsatzPoint *point)
{
  PetscInt   method, loss, order;
  PetscInt64 batch = 0, n_gradient;
  PetscBool  is_shuffled, is_limited, has_momentum, has_bias_decay, is_scanned;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("ansatz_optimiser", &method, NULL));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_ansatz_optimiser", &is_scanned));
  PetscCall(FwOptionChoice("ansatz_loss", &loss, NULL));
  PetscCall(FwOptionChoice("ansatz_order", &order, NULL));
  PetscCall(FwOptionBoolean("ansatz_single", &point->is_single, NULL));
  PetscCall(FwOptionReal("ansatz_step", &point->step, NULL));
  PetscCall(FwOptionInteger("ansatz_batch", &batch, &point->has_batch));
  if (is_scanned && !FwTrainMethodHasBatches((FwTrainMethod)method)) batch = 0; /* it is there for the others */
  PetscCall(FwOptionBoolean("ansatz_shuffle", &is_shuffled, NULL));
  PetscCall(FwOptionInteger("ansatz_gradients", &n_gradient, &is_limited));
  if (!is_limited) n_gradient = FwAnsatzHasKinks(point) ? 1000000 : 100000000;
  point->loss = (FwLoss)loss;
  point->plan = (FwTrainPlan){.n_gradient_most = (double)n_gradient,
                              .method          = (FwTrainMethod)method,
                              .batch           = (PetscInt)batch,
                              .is_cyclic       = is_shuffled ? PETSC_FALSE : PETSC_TRUE,
                              .is_low_order    = order == 1 ? PETSC_TRUE : PETSC_FALSE};
  PetscCall(FwOptionReal("ansatz_tolerance", &point->plan.tolerance, NULL));
  PetscCall(FwOptionReal("ansatz_momentum", &point->plan.momentum, NULL));
  PetscCall(FwOptionIsSet("ansatz_momentum", &has_momentum));
  PetscCheck(point->plan.momentum < 1.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'ansatz_momentum' is %g, want a number < 1", point->plan.momentum);
  if (point->plan.method == FW_TRAIN_SGD && !has_momentum) point->plan.momentum = 0.0;
  PetscCall(FwOptionReal("ansatz_decay", &point->decay.weight, NULL));
  PetscCall(FwOptionReal("ansatz_bias_decay", &point->decay.bias, &has_bias_decay));
  if (!has_bias_decay) point->decay.bias = point->decay.weight;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAnsatzPointRead(MPI_Comm comm, FwAnsatzPoint *point)
{
  PetscFunctionBegin;
  *point = (FwAnsatzPoint){0};
  PetscCall(ReadCase(point));
  if (!point->has_case) PetscCall(ReadNetwork(comm, point));
  PetscCall(ReadInitial(point));
  PetscCall(ReadTraining(point));
  PetscCall(ReadEnd(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwAnsatzTimeUnit(const FwAnsatzPoint *point)
{
  switch (point->plan.method) {
    case FW_TRAIN_GD:
    case FW_TRAIN_ADAM:
    case FW_TRAIN_ADAMW:
      return point->step;
    case FW_TRAIN_MOMENTUM:
    case FW_TRAIN_NESTEROV:
    case FW_TRAIN_SGD:
      return point->step / (1.0 - point->plan.momentum);
    default:
      return 1.0;
  }
}
