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
             "key '%s' has %" PetscInt_FMT " entries, the network wants one, or %" PetscInt_FMT " (see network_depth)", key, n_entry, n_layer);
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

PetscErrorCode FwModelFromOptions(FwModel *model)
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
  PetscCall(FwOptionReal("temperature", &model->temperature, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwModelDestroy(FwModel *model)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(model->width, model->activation, model->prior, model->bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}
