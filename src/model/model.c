/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Reading the description of a network.
 */

#include <finwidth/model.h>
#include <finwidth/option.h>

enum { LAYER_MAX = 4096 }; /* entries of a list; equal layers may be more */

/* A single entry holds for all layers; otherwise there must be one for each */
static PetscErrorCode CheckLength(const char key[], PetscInt n_entry, PetscInt n_layer)
{
  PetscFunctionBegin;
  PetscCheck(n_entry == 1 || n_entry == n_layer, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s' has %" PetscInt_FMT " entries, the network wants one, or %" PetscInt_FMT " (see network_depth)",
             key, n_entry, n_layer);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadDepth(FwModel *model)
{
  PetscInt64 width[LAYER_MAX], depth;
  PetscInt   n_width = LAYER_MAX;
  PetscBool  is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers("network_width", &n_width, width));
  PetscCall(FwOptionInteger("network_depth", &depth, &is_set));
  model->depth = is_set ? (PetscInt)depth : n_width;
  PetscCall(CheckLength("network_width", n_width, model->depth));
  PetscCall(PetscMalloc4(model->depth, &model->width, model->depth, &model->activation, model->depth + 1, &model->prior,
                         model->depth + 1, &model->bias));
  for (PetscInt l = 0; l < model->depth; l++) model->width[l] = (double)width[n_width > 1 ? l : 0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadActivations(FwModel *model)
{
  PetscInt activation[LAYER_MAX], n = LAYER_MAX;

  PetscFunctionBegin;
  PetscCall(FwOptionChoices("network_activation", &n, activation));
  PetscCall(CheckLength("network_activation", n, model->depth));
  for (PetscInt l = 0; l < model->depth; l++) model->activation[l] = activation[n > 1 ? l : 0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPerLayer(const char key[], PetscInt n_layer, double value[])
{
  double   entry[LAYER_MAX];
  PetscInt n = LAYER_MAX;

  PetscFunctionBegin;
  PetscCall(FwOptionReals(key, &n, entry));
  PetscCall(CheckLength(key, n, n_layer));
  for (PetscInt l = 0; l < n_layer; l++) value[l] = entry[n > 1 ? l : 0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One number holds for both sides; `side` keeps what it holds where the key has neither value nor default */
static PetscErrorCode ReadSides(const char key[], PetscInt side[2])
{
  PetscInt64 entry[LAYER_MAX];
  PetscInt   n = LAYER_MAX;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers(key, &n, entry));
  PetscCheck(n <= 2, PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' has %" PetscInt_FMT " entries, it wants one or a pair",
             key, n);
  for (PetscInt d = 0; n > 0 && d < 2; d++) side[d] = (PetscInt)entry[n > 1 ? d : 0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchSidesFromOptions(PetscInt mask[2], PetscInt stride[2])
{
  PetscFunctionBegin;
  PetscCall(ReadSides("network_mask", mask));
  PetscCall(PetscArraycpy(stride, mask, 2));
  PetscCall(ReadSides("network_stride", stride));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadUpper(const char key[], PetscInt n_layer, PetscInt value[])
{
  PetscInt64 entry[LAYER_MAX];
  PetscInt   n = LAYER_MAX;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers(key, &n, entry));
  if (n) PetscCall(CheckLength(key, n, n_layer));
  for (PetscInt l = 0; l < n_layer && n; l++) value[l] = (PetscInt)entry[n > 1 ? l : 0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Masks and strides of several layers on patches above the first */
static PetscErrorCode ReadUpperLayers(FwModel *model)
{
  const PetscInt n = PetscMax(0, model->depth - 1);

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(n, &model->upper_mask, n, &model->upper_stride));
  if (model->type == FW_NETWORK_FC || !n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadUpper("network_upper_mask", n, model->upper_mask));
  PetscCall(PetscArraycpy(model->upper_stride, model->upper_mask, n));
  PetscCall(ReadUpper("network_upper_stride", n, model->upper_stride));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwModelFromOptionsAnyDepth(FwModel *model)
{
  PetscInt type;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("network_type", &type, NULL));
  model->type = (FwNetworkType)type;
  PetscCall(ReadDepth(model));
  PetscCall(ReadActivations(model));
  PetscCall(ReadPerLayer("network_prior", model->depth + 1, model->prior));
  PetscCall(ReadPerLayer("network_bias", model->depth + 1, model->bias));
  PetscCall(FwOptionReal("network_prior_readout", &model->prior[model->depth], NULL));
  PetscCall(FwPatchSidesFromOptions(model->mask, model->stride));
  PetscCall(ReadUpperLayers(model));
  PetscCall(FwOptionReal("temperature", &model->temperature, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwModelFromOptions(FwModel *model)
{
  PetscInt64 depth;
  PetscBool  is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("network_depth", &depth, &is_set));
  PetscCheck(!is_set || depth >= 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'network_depth' is 0, want an integer >= 1 (only 'optimal' takes 0)");
  PetscCall(FwModelFromOptionsAnyDepth(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Places of a patch along one side */
static PetscErrorCode CountPlaces(const char key[], const char side[], PetscInt length, PetscInt mask, PetscInt stride,
                                  PetscInt *n)
{
  PetscFunctionBegin;
  PetscCheck(mask <= length, PETSC_COMM_SELF, FW_ERR_INPUT,
             "%s: the %s %" PetscInt_FMT " of the patch is more than the %" PetscInt_FMT " of what it lies on", key,
             side, mask, length);
  *n = (length - mask) / stride + 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwModelGetPatches(const FwModel *model, PetscInt channels, PetscInt height, PetscInt width,
                                 FwPatches *patches)
{
  const PetscBool is_whole = (PetscBool)(model->type == FW_NETWORK_FC);

  PetscFunctionBegin;
  *patches           = (FwPatches){.channels = channels, .height = height, .width = width};
  patches->mask[0]   = is_whole || height == 1 ? height : model->mask[0];
  patches->mask[1]   = is_whole ? width : model->mask[1];
  patches->stride[0] = is_whole || height == 1 ? 1 : model->stride[0];
  patches->stride[1] = is_whole ? 1 : model->stride[1];
  PetscCall(CountPlaces("network_mask", "height", height, patches->mask[0], patches->stride[0], &patches->n_row));
  PetscCall(CountPlaces("network_mask", "width", width, patches->mask[1], patches->stride[1], &patches->n_col));
  patches->n_patch = patches->n_row * patches->n_col;
  patches->n_pixel = channels * patches->mask[0] * patches->mask[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwModelGetTaps(const FwModel *model, PetscInt l, PetscInt *n_row, PetscInt *n_col, PetscInt *n_tap,
                              PetscInt **tap)
{
  const PetscInt below = *n_col, stride = model->upper_stride[l - 1], width = model->upper_mask[l - 1];
  const PetscInt height = *n_row == 1 ? 1 : width;

  PetscFunctionBegin;
  PetscCall(CountPlaces("network_upper_mask", "height", *n_row, height, stride, n_row));
  PetscCall(CountPlaces("network_upper_mask", "width", *n_col, width, stride, n_col));
  *n_tap = height * width;
  PetscCall(PetscMalloc1((size_t)*n_row * *n_col * *n_tap, tap));
  for (PetscInt place = 0; place < *n_row * *n_col; place++)
    for (PetscInt t = 0; t < *n_tap; t++)
      (*tap)[place * *n_tap + t] = (place / *n_col * stride + t / width) * below + place % *n_col * stride + t % width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwPatchesExtract(const FwPatches *p, PetscInt patch, const double image[], double pixel[])
{
  const PetscInt top = patch / p->n_col * p->stride[0], left = patch % p->n_col * p->stride[1];

  for (PetscInt c = 0; c < p->channels; c++)
    for (PetscInt i = 0; i < p->mask[0]; i++)
      for (PetscInt j = 0; j < p->mask[1]; j++)
        *pixel++ = image[((size_t)c * p->height + top + i) * p->width + left + j];
}

/* Pixels along one side that some patch covers */
static PetscInt Covered(PetscInt mask, PetscInt stride, PetscInt n)
{
  return stride < mask ? (n - 1) * stride + mask : n * mask;
}

PetscInt FwPatchesDropped(const FwPatches *p)
{
  return p->height * p->width -
         Covered(p->mask[0], p->stride[0], p->n_row) * Covered(p->mask[1], p->stride[1], p->n_col);
}

PetscErrorCode FwModelDestroy(FwModel *model)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(model->width, model->activation, model->prior, model->bias));
  PetscCall(PetscFree2(model->upper_mask, model->upper_stride));
  PetscFunctionReturn(PETSC_SUCCESS);
}
