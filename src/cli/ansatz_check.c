/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What has to hold for the points of `finwidth ansatz` together, before anything is trained: keys that none of them uses,
 * axes, batches, kinks.
 */

#include "ansatz.h"

#include <finwidth/option.h>

#include <stdio.h>

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
      !FwAnsatzHasKinks(point))
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

PetscErrorCode FwAnsatzSetUp(const FwRequest *request, FwAnsatz *ansatz)
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
