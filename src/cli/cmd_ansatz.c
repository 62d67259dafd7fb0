/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth ansatz`: networks are trained and the Neural Feature Ansatz is measured on them.
 */

#include "ansatz.h"
#include "command.h"

#include <finwidth/estimate.h>
#include <finwidth/feature.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>

/* Of the trials from which the time of a training is estimated */
static const double trial_seconds = 2.0, all_trials_seconds = 10.0;

/* --- keys ------------------------------------------------------------------------------------------------------------ */

/* What other commands mean otherwise: their networks are erf and they look at test examples */
static PetscErrorCode SetDefaults(void)
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

/* Flows of such networks can stall where examples slide along the kinks */
static PetscBool HasKinks(const FwAnsatzPoint *point)
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
  if (!is_limited) n_gradient = HasKinks(point) ? 1000000 : 100000000;
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

/* --- the run --------------------------------------------------------------------------------------------------------- */

/* --- keys that no point uses --------------------------------------------------------------------------------------- */

enum {
  USE_INIT,
  USE_SCALE,
  USE_SINGULAR,
  USE_STEP,
  USE_MOMENTUM,
  USE_SHUFFLE,
  USE_TOLERANCE,
  USE_ORDER,
  USE_GRADIENTS,
  USE_BIAS_DECAY,
  USE_SINGLE,
  USES
};

static const char *const use_keys[USES] = {"ansatz_init",       "ansatz_init_scale", "ansatz_init_singular",
                                           "ansatz_step",       "ansatz_momentum",   "ansatz_shuffle",
                                           "ansatz_tolerance",  "ansatz_order",      "ansatz_gradients",
                                           "ansatz_bias_decay", "ansatz_single"};

static void NoteStart(const FwAnsatzPoint *point, PetscBool use[USES])
{
  const FwInitialScheme scheme   = point->initial.scheme;
  const PetscBool       is_drawn = (PetscBool)(!point->weights[0] && !point->has_case);

  if (is_drawn) use[USE_INIT] = PETSC_TRUE;
  if (is_drawn || (point->has_case && !point->counterexample.is_static)) use[USE_SCALE] = PETSC_TRUE;
  if (is_drawn && (scheme == FW_INITIAL_BALANCED || scheme == FW_INITIAL_HOUSEHOLDER)) use[USE_SINGULAR] = PETSC_TRUE;
}

static void NoteTraining(const FwAnsatzPoint *point, PetscBool use[USES])
{
  const FwTrainMethod method    = point->plan.method;
  const PetscBool     is_solver = (PetscBool)(method == FW_TRAIN_LMVM || method == FW_TRAIN_NEWTON);
  const PetscBool     is_batched =
    (PetscBool)(FwTrainMethodHasBatches(method) && (point->has_batch || method == FW_TRAIN_SGD));
  const PetscBool is_linear = (PetscBool)(point->shape.activation == FW_ACTIVATION_LINEAR || point->shape.n_layer == 1);
  const PetscBool used[USES] = {
    [USE_STEP]      = (PetscBool)(method != FW_TRAIN_FLOW && !is_solver),
    [USE_MOMENTUM]  = (PetscBool)(method == FW_TRAIN_MOMENTUM || method == FW_TRAIN_NESTEROV || method == FW_TRAIN_SGD),
    [USE_SHUFFLE]   = is_batched,
    [USE_TOLERANCE] = (PetscBool)(method == FW_TRAIN_FLOW || is_solver),
    [USE_ORDER]     = (PetscBool)(method == FW_TRAIN_FLOW),
    [USE_GRADIENTS] = FwTrainMethodIsFlow(method),
    [USE_BIAS_DECAY] = point->shape.has_bias,
    [USE_SINGLE]     = (PetscBool)(!is_linear || point->loss != FW_LOSS_MSE || is_batched),
  };

  for (int u = 0; u < USES; u++)
    if (used[u]) use[u] = PETSC_TRUE;
}

/* Of the start: refused, since another start than the one meant would be trained */
static PetscErrorCode RefuseUnused(const PetscBool use[USES])
{
  PetscFunctionBegin;
  for (int u = USE_INIT; u <= USE_SINGULAR; u++) {
    PetscBool is_set;

    PetscCall(FwOptionIsChosen(use_keys[u], &is_set));
    PetscCheck(!is_set || use[u], PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' is given, but %s: leave it out",
               use_keys[u],
               u == USE_SINGULAR ? "the start has singular values for ansatz_init balanced and householder only"
                                 : "the start is that of ansatz_weights, or of a case that is not trained");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the training: an input may keep them for other optimisers */
static PetscErrorCode WarnAboutUnused(const PetscBool use[USES])
{
  char   names[256] = "";
  size_t n          = 0;

  PetscFunctionBegin;
  for (int u = USE_STEP; u < USES && n < sizeof names; u++) {
    PetscBool is_set;

    PetscCall(FwOptionIsChosen(use_keys[u], &is_set));
    if (is_set && !use[u]) n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", use_keys[u]);
  }
  if (n) PetscCall(FwWarn("no network or optimiser here has a use for %s", names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what is common to the points ------------------------------------------------------------------------------------- */

/* These are axes of the result already, or say what is stored */
static PetscErrorCode RefuseAxes(void)
{
  static const char *const keys[] = {"ansatz_alpha", "ansatz_seeds", "save_weights", NULL};

  PetscFunctionBegin;
  for (const char *const *key = keys; *key; key++) {
    char      option[64];
    PetscBool is_scanned;

    PetscCall(PetscSNPrintf(option, sizeof option, "-scan_%s", *key));
    PetscCall(PetscOptionsHasName(NULL, NULL, option, &is_scanned));
    PetscCheck(!is_scanned, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "scan: '%s' is the same for all points: give it outside the scan", *key);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Examples slide along the kinks of these activations, and the steps of the flow shrink with its tolerance */
static PetscErrorCode WarnAboutKinks(const FwAnsatzPoint *point, PetscBool *is_said)
{
  PetscFunctionBegin;
  if (*is_said || point->has_case || point->plan.method != FW_TRAIN_FLOW || point->plan.tolerance > 1e-6 ||
      !HasKinks(point))
    PetscFunctionReturn(PETSC_SUCCESS);
  *is_said = PETSC_TRUE;
  PetscCall(
    FwWarn("a flow of relu networks may take very long with ansatz_tolerance = %g, since examples slide along the "
           "kinks: try 1e-5 with ansatz_order 5",
           point->plan.tolerance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Batches beside a scan of optimisers are for those that can use them: there has to be one, which scan_index may have
   left to another run */
static PetscErrorCode CheckBatches(FwScan scan, const FwAnsatzPoint *last, PetscBool any_has_batches)
{
  PetscInt n_point, n_whole;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCall(FwScanGetWhole(scan, &n_whole));
  PetscCheck(!last->has_batch || any_has_batches || n_point < n_whole, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_batch is given, but no optimiser here goes over batches: sgd, adam and adamw do");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(const FwRequest *request, FwAnsatz *ansatz)
{
  PetscInt64    n_seed;
  PetscInt      n_point;
  PetscBool     is_said = PETSC_FALSE, has_batches = PETSC_FALSE, use[USES] = {PETSC_FALSE};
  FwAnsatzPoint point;

  PetscFunctionBegin;
  *ansatz = (FwAnsatz){.request = request, .n_alpha = FW_ANSATZ_LIST_MAX};
  PetscCall(RefuseAxes());
  PetscCall(FwOptionInteger("ansatz_seeds", &n_seed, NULL));
  PetscCall(FwOptionReals("ansatz_alpha", &ansatz->n_alpha, ansatz->alpha));
  PetscCall(FwOptionBoolean("save_weights", &ansatz->with_weights, NULL));
  ansatz->n_seed = (PetscInt)n_seed;
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    PetscCall(FwScanApply(request->scan, p));
    PetscCall(FwAnsatzPointRead(PETSC_COMM_WORLD, &point));
    PetscCall(WarnAboutKinks(&point, &is_said));
    if (FwTrainMethodHasBatches(point.plan.method)) has_batches = PETSC_TRUE;
    NoteStart(&point, use);
    NoteTraining(&point, use);
  }
  PetscCall(CheckBatches(request->scan, &point, has_batches));
  PetscCall(FwScanApply(request->scan, -1));
  PetscCall(RefuseUnused(use));
  PetscCall(WarnAboutUnused(use));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scale of alpha; that of the runs' seeds where the seed is one */
static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  const FwAnsatz *ansatz = context;
  const FwShape   alpha = {1, {"alpha"}, {ansatz->n_alpha}}, run = {1, {"run_seed"}, {ansatz->n_seed}};
  PetscInt64     *seed, first;
  PetscBool       is_scanned;

  PetscFunctionBegin;
  (void)request;
  PetscCall(FwStoreReals(store, "/ansatz/alpha", &alpha, ansatz->alpha, "1", "power of the AGOP"));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_seed", &is_scanned));
  if (is_scanned) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptionInteger("seed", &first, NULL));
  PetscCall(PetscMalloc1(ansatz->n_seed, &seed));
  for (PetscInt s = 0; s < ansatz->n_seed; s++) seed[s] = first + s;
  PetscCall(FwStoreIntegers(store, "/ansatz/run_seed", &run, seed, "1", "seed of the start"));
  PetscCall(PetscFree(seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Runs of all points that ended as `name` says, and the first of them */
static PetscInt CountRuns(const FwAnsatz *ansatz, FwRecord all, PetscInt n_point, const char name[], PetscInt *first)
{
  PetscInt n = 0;

  for (PetscInt r = n_point * ansatz->n_seed - 1; r >= 0; r--)
    if (FwRecordIntegerAt(all, name, r) == 1) {
      *first = r;
      n++;
    }
  return n;
}

static PetscErrorCode WarnAboutFeatures(const FwAnsatz *ansatz, FwRecord all, PetscInt n_point)
{
  const PetscInt n_run = n_point * ansatz->n_seed;
  PetscInt       first = 0, n_beyond = 0, n;

  PetscFunctionBegin;
  n = CountRuns(ansatz, all, n_point, "collapsed", &first);
  if (n)
    PetscCall(
      FwWarn("the weights collapsed in %" PetscInt_FMT " of %" PetscInt_FMT
             " runs: there is no feature left to compare (beyond critical_decay they must; small starts do so before)",
             n, n_run));
  for (PetscInt p = 0; p < n_point && n == 0; p++)
    if (FwRecordAt(all, "weight_decay", p) > FwRecordAt(all, "critical_decay", p)) n_beyond++;
  if (n_beyond)
    PetscCall(FwWarn("ansatz_decay is beyond critical_decay in %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: trained longer, their weights may collapse",
                     n_beyond, n_point));
  n = CountRuns(ansatz, all, n_point, "best_alpha_bound", &first);
  if (n)
    PetscCall(FwWarn("best_alpha is an end of its interval, %g or %g, in %" PetscInt_FMT " of %" PetscInt_FMT
                     " runs: the cosine may rise on beyond it, and the means leave them out (final_best_alpha_runs)",
                     FW_FEATURE_ALPHA_LEAST, FW_FEATURE_ALPHA_MOST, n, n_run));
  n = CountRuns(ansatz, all, n_point, "undetermined", &first);
  if (n && ansatz->n_alpha > 1)
    PetscCall(FwWarn(
      "alpha is undetermined in %" PetscInt_FMT " of %" PetscInt_FMT
      " runs: their AGOP has no more than one direction, as with one output, and every alpha gives the same cosine",
      n, n_run));
  n = CountRuns(ansatz, all, n_point, "featureless", &first);
  if (n)
    PetscCall(FwWarn("the AGOP is zero in %" PetscInt_FMT " of %" PetscInt_FMT
                     " runs: their outputs are flat at all examples, and W1^T W1 has no cosine with it",
                     n, n_run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which run of which point, by which method, and where it ended: `ansatz_decay = 0.1, ansatz_step = 2, seed 5, at step 7` */
static PetscErrorCode NameRun(const FwAnsatz *ansatz, FwRecord all, PetscInt run, size_t size, char name[],
                              FwTrainMethod *of)
{
  const FwScan scan = ansatz->request->scan;
  PetscInt     n_axis, n_point, method;
  PetscInt64   seed;
  size_t       n = 0;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  PetscCall(FwScanApply(scan, n_axis ? run / ansatz->n_seed : -1));
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwOptionChoice("ansatz_optimiser", &method, NULL));
  PetscCall(FwScanApply(scan, -1));
  *of = (FwTrainMethod)method;
  for (PetscInt d = 0; d < n_axis && n < size; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    n += (size_t)snprintf(name + n, size - n, "%s = %s, ", axis->key->name,
                          axis->text[FwScanPosition(scan, run / ansatz->n_seed, d)]);
  }
  if (n < size)
    (void)snprintf(name + n, size - n, "seed %" PetscInt64_FMT ", at %s%g", seed + run % ansatz->n_seed,
                   FwTrainMethodIsFlow(*of) ? "t = " : "step ", FwRecordAt(all, "stopped_at", run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A flow has a tolerance, that of a midpoint rule a step */
static const char *GivenUpCure(FwTrainMethod method)
{
  return method == FW_TRAIN_FLOW
           ? "a larger ansatz_tolerance, as 1e-5 with ansatz_order 5, more ansatz_gradients, or a descent"
           : "a larger ansatz_step, more ansatz_gradients, or flow";
}

/* What ends with exit code 4, the worst last */
static PetscErrorCode SayFailure(FwAnsatz *ansatz, FwRecord all, PetscInt n_point)
{
  const PetscInt n_run = n_point * ansatz->n_seed;
  PetscInt       first = 0, n;
  char           name[256];
  FwTrainMethod  method;

  PetscFunctionBegin;
  n = CountRuns(ansatz, all, n_point, "given_up", &first);
  if (n) {
    PetscCall(NameRun(ansatz, all, first, sizeof name, name, &method));
    (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                   "flows were given up in %" PetscInt_FMT " of %" PetscInt_FMT
                   " runs (first: %s) after %g gradients: want %s",
                   n, n_run, name, FwRecordAt(all, "gradients", first), GivenUpCure(method));
  }
  n = CountRuns(ansatz, all, n_point, "diverged", &first);
  if (n) {
    PetscCall(NameRun(ansatz, all, first, sizeof name, name, &method));
    (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                   "training diverged in %" PetscInt_FMT " of %" PetscInt_FMT
                   " runs (first: %s): want a smaller ansatz_step",
                   n, n_run, name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Conclude(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  FwAnsatz   *ansatz = context;
  PetscMPIInt rank;

  PetscFunctionBegin;
  (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                 "the gradient did not come down to ansatz_tolerance within ansatz_steps");
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!request->is_single) PetscCall(FwPrintAnsatzScan(request->scan, all));
  if (rank == 0) {
    PetscCall(WarnAboutFeatures(ansatz, all, summary->n_point));
    PetscCall(SayFailure(ansatz, all, summary->n_point));
  }
  PetscCallMPI(MPI_Bcast(ansatz->failure, sizeof ansatz->failure, MPI_CHAR, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How long training takes is tried: how many gradients a flow needs, for one, is not known beforehand */
static PetscErrorCode DryRun(const FwAnsatz *ansatz)
{
  const PetscInt first = 0;
  FwAnsatzNeed   need;
  PetscInt       n_chosen;

  PetscFunctionBegin;
  PetscCall(FwAnsatzEstimate(ansatz, 1, &first, trial_seconds, &need));
  PetscCall(FwScanGetSize(ansatz->request->scan, NULL, NULL, &n_chosen));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "%s\nruns    %" PetscInt_FMT " of each of %" PetscInt_FMT
                        " points; the first: %.3g operations a gradient, %.2g GiB on each rank, about %.2g s of one "
                        "rank after a trial\n",
                        ansatz->request->resolved, ansatz->n_seed, n_chosen, need.gradient_flops,
                        need.rank_bytes / 1073741824.0, need.seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of many groups some are tried, evenly chosen */
PetscErrorCode FwAnsatzCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost)
{
  enum { TRIALS = 16 };
  const PetscInt n_trial = PetscMin(TRIALS, n_group);
  PetscInt      *point, n_point;
  FwAnsatz      *ansatz;

  PetscFunctionBegin;
  PetscCall(SetDefaults());
  PetscCall(PetscNew(&ansatz));
  PetscCall(SetUp(request, ansatz));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  PetscCall(PetscMalloc1(n_point, &point));
  for (PetscInt t = 0; t < n_trial; t++) {
    const PetscInt wanted = n_trial > 1 ? t * (n_group - 1) / (n_trial - 1) : 0;
    FwAnsatzNeed   need;
    PetscInt       n = 0;

    for (PetscInt p = 0; p < n_point; p++)
      if (group[p] == wanted) point[n++] = p;
    PetscCall(FwAnsatzEstimate(ansatz, n, point, PetscMin(trial_seconds, all_trials_seconds / (double)n_trial), &need));
    cost->seconds    = PetscMax(cost->seconds, need.seconds);
    cost->rank_bytes = PetscMax(cost->rank_bytes, need.rank_bytes);
  }
  PetscCall(PetscFree(point));
  PetscCall(PetscFree(ansatz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Ansatz(const char *input)
{
  static const char *const groups[] = {"/ansatz", NULL};
  FwRequest                request;
  FwAnsatz                *ansatz;

  PetscFunctionBegin;
  PetscCall(SetDefaults());
  PetscCall(FwRequestCreate(input, "ansatz", FW_FOR_ANSATZ, &request));
  PetscCall(PetscNew(&ansatz));
  PetscCall(SetUp(&request, ansatz));
  if (request.is_dry) {
    PetscCall(DryRun(ansatz));
  } else {
    const FwRequestPlan plan = {.shared   = FwAnsatzSharedKeys,
                                .groups   = groups,
                                .function = FwAnsatzGroup,
                                .context  = ansatz,
                                .failure  = ansatz->failure,
                                .report   = Conclude,
                                .describe = Describe};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(PetscFree(ansatz));
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
