/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The keys of a predicted point.
 */

#include "predict.h"

#include <finwidth/option.h>
#include <finwidth/patch_kernel.h>

#include <string.h>

/* Points that differ in these alone have one kernel, in the product composition */
static const char *const shared_keys[] = {"temperature", "network_width", "network_prior_readout", "theory_average",
                                          NULL};
static const char *const no_width[]    = {"temperature", "network_prior_readout", "theory_average", NULL};
static const char *const no_keys[]     = {NULL};

static PetscErrorCode ReadTheory(const FwModel *model, FwTheory *theory)
{
  PetscInt choice, composition;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_model", &choice, NULL));
  theory->theory = (FwTheoryModel)choice;
  PetscCall(FwOptionChoice("theory_composition", &composition, NULL));
  theory->composition = model->depth == 1 ? FW_COMPOSITION_PRODUCT : (FwComposition)composition;
  PetscCheck(theory->composition != FW_COMPOSITION_LINEARISED || model->depth == 2, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_composition: 'linearised' is for two hidden layers, the network has %" PetscInt_FMT, model->depth);
  theory->with_average = PETSC_TRUE;
  PetscCall(FwOptionBoolean("theory_average", &theory->with_average, NULL));
  PetscCall(FwOptionBoolean("save_predictions", &theory->with_means, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is not there for several hidden layers of patches */
static PetscErrorCode CheckDeep(const FwPredictPoint *point)
{
  const FwModel *model = &point->model;
  PetscInt       closure;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_closure", &closure, NULL));
  PetscCheck(!point->theory.with_average || closure == FW_DEEP_PATHS, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_average: the 'stacked' closure of several hidden layers has none");
  for (PetscInt l = 1; l < model->depth && closure == FW_DEEP_STACKED; l++)
    PetscCheck(model->width[l] == model->width[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
               "theory_closure: 'stacked' wants all widths equal");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is not there for networks of patches */
static PetscErrorCode CheckPatches(FwPredictPoint *point)
{
  const FwModel *model = &point->model;
  PetscBool      is_average_set, has_file;

  PetscFunctionBegin;
  PetscCall(FwPatchNetworkCheck(PETSC_COMM_WORLD, model));
  PetscCheck(point->theory.theory != FW_THEORY_NTK, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_model: 'ntk' is for fully-connected networks");
  PetscCheck(point->theory.composition == FW_COMPOSITION_PRODUCT, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_composition: 'nested' and 'linearised' are for fully-connected networks");
  if (!FwPredictIsLocal(model)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptionIsSet("theory_average", &is_average_set));
  if (!is_average_set) point->theory.with_average = PETSC_FALSE; /* it is dear: only where it is asked for */
  PetscCall(FwOptionIsSet("theory_decomposition", &has_file));
  PetscCheck(!has_file, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_decomposition keeps one kernel: cnn and lcn have a family of them");
  if (model->depth > 1) PetscCall(CheckDeep(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q is learnt where the kernel is linear in it */
static PetscErrorCode CheckValidation(const FwPredictPoint *point)
{
  const FwModel *model = &point->model;
  PetscInt64     n     = 0;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("data_validation", &n, NULL));
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(point->theory.theory == FW_THEORY_RENORMALISED, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "data_validation: order parameters are learnt with theory_model 'renormalised' only");
  if (model->type != FW_NETWORK_FC) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(
    model->depth == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
    "data_validation: of fully-connected networks those of one hidden layer learn, network_depth is %" PetscInt_FMT,
    model->depth);
  PetscCheck(model->bias[0] == 0.0 && model->bias[1] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "data_validation: fully-connected networks that learn have no biases, want network_bias 0");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwPredictIsLocal(const FwModel *model)
{
  return model->type == FW_NETWORK_CNN || model->type == FW_NETWORK_LCN ||
             (model->type == FW_NETWORK_POOL && model->depth > 1)
           ? PETSC_TRUE
           : PETSC_FALSE;
}

PetscErrorCode FwPredictPointRead(FwPredictPoint *point)
{
  enum { DEPTH_MAX = 4096 }; /* order parameters with a matrix of second derivatives */

  PetscFunctionBegin;
  PetscCall(FwModelFromOptions(&point->model));
  PetscCheck(point->model.depth <= DEPTH_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_depth is %" PetscInt_FMT ": want at most %d hidden layers here", point->model.depth, DEPTH_MAX);
  PetscCall(ReadTheory(&point->model, &point->theory));
  if (point->model.type != FW_NETWORK_FC) PetscCall(CheckPatches(point));
  PetscCall(FwOptionBoolean("theory_observables", &point->with_observables, NULL));
  PetscCall(CheckValidation(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictPointDestroy(FwPredictPoint *point)
{
  PetscFunctionBegin;
  PetscCall(FwModelDestroy(&point->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictCheckFile(const FwPredict *predict)
{
  PetscInt  n_axis;
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("theory_decomposition", &is_set));
  PetscCall(FwScanGetSize(predict->request->scan, &n_axis, NULL, NULL));
  for (PetscInt d = 0; d < n_axis && is_set; d++) {
    const FwScanAxis *axis;
    PetscBool         is_shared = PETSC_FALSE;

    PetscCall(FwScanGetAxis(predict->request->scan, d, &axis));
    for (const char *const *key = predict->shared; *key; key++)
      if (!strcmp(*key, axis->key->name)) is_shared = PETSC_TRUE;
    PetscCheck(is_shared || axis->n == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "theory_decomposition keeps one kernel, and each point of the scan over '%s' has its own",
               axis->key->name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- keys without a use ------------------------------------------------------------------------------------- */

/* Of all points together: what some of them have */
typedef struct {
  PetscBool has_local, has_patches, has_deep_patches;
} Uses;

static PetscErrorCode AddUses(const FwModel *model, Uses *uses)
{
  enum { SCRAMBLE_PATCHES = 2 };
  PetscInt scramble;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("data_scramble", &scramble, NULL));
  if (FwPredictIsLocal(model)) uses->has_local = PETSC_TRUE;
  if (model->type != FW_NETWORK_FC || scramble == SCRAMBLE_PATCHES) uses->has_patches = PETSC_TRUE;
  if (model->type != FW_NETWORK_FC && model->depth > 1) uses->has_deep_patches = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An input may keep them for another network */
static PetscErrorCode WarnAboutUses(const Uses *uses)
{
  const struct {
    const char *key, *network;
    PetscBool   is_used;
  } row[] = {
    {"theory_starts",        "cnn and lcn, and several layers of pool",         uses->has_local       },
    {"theory_draws",         "cnn and lcn, and several layers of pool",         uses->has_local       },
    {"theory_closure",       "several hidden layers of cnn, lcn and pool",      uses->has_deep_patches},
    {"network_mask",         "cnn, lcn and pool (and data_scramble 'patches')", uses->has_patches     },
    {"network_stride",       "cnn, lcn and pool (and data_scramble 'patches')", uses->has_patches     },
    {"network_upper_mask",   "several hidden layers of cnn, lcn and pool",      uses->has_deep_patches},
    {"network_upper_stride", "several hidden layers of cnn, lcn and pool",      uses->has_deep_patches},
  };

  PetscFunctionBegin;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++)
    PetscCall(FwRequestWarnUnused(row[i].key, row[i].is_used, row[i].network));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictWarnAboutUnused(FwScan scan)
{
  Uses     uses = {0};
  PetscInt n_point;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    FwModel model;

    PetscCall(FwScanApply(scan, p));
    PetscCall(FwModelFromOptions(&model));
    PetscCall(AddUses(&model, &uses));
    PetscCall(FwModelDestroy(&model));
  }
  PetscCall(FwScanApply(scan, -1));
  PetscCall(WarnAboutUses(&uses));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictSetUp(const FwRequest *request, FwPredict *predict)
{
  PetscInt  n_point;
  PetscBool is_narrow, has_narrow = PETSC_FALSE, is_product = PETSC_TRUE;

  PetscFunctionBegin;
  *predict = (FwPredict){.request = request, .shared = shared_keys, .temperature_lowest = PETSC_MAX_REAL};
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    FwPredictPoint point;

    PetscCall(FwScanApply(request->scan, p));
    PetscCall(FwPredictPointRead(&point));
    if (point.theory.composition != FW_COMPOSITION_PRODUCT) is_product = PETSC_FALSE;
    PetscCall(FwPredictIsTooNarrow(&point, &is_narrow));
    if (is_narrow) has_narrow = PETSC_TRUE;
    predict->temperature_lowest = PetscMin(predict->temperature_lowest, point.model.temperature);
    PetscCall(FwPredictPointDestroy(&point));
  }
  PetscCall(FwScanApply(request->scan, -1));
  if (has_narrow) predict->shared = no_width;
  if (!is_product) predict->shared = no_keys;
  PetscCall(FwPredictWarnAboutUnused(request->scan));
  PetscCall(FwPredictCheckFile(predict));
  PetscFunctionReturn(PETSC_SUCCESS);
}
