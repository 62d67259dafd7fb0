/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The keys of a point of `finwidth optimal`.
 */

#include "optimal.h"

#include <finwidth/activation.h>
#include <finwidth/option.h>

#include <math.h>
#include <string.h>

/* Keys of other commands that would change the answer if they were heeded */
static PetscErrorCode CheckForeign(const FwModel *model)
{
  PetscBool  is_set;
  PetscInt64 n_output = 1;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("temperature", &is_set));
  PetscCheck(!is_set, PETSC_COMM_WORLD, FW_ERR_INPUT, "temperature: the noise of 'optimal' is optimal_noise");
  PetscCheck(model->type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: optimal is about 'fc' networks");
  PetscCall(FwOptionInteger("network_outputs", &n_output, NULL));
  PetscCheck(n_output == 1, PETSC_COMM_WORLD, FW_ERR_INPUT, "network_outputs: optimal is about one output");
  for (PetscInt l = 0; l <= model->depth; l++)
    PetscCheck(model->bias[l] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_bias: optimal is about networks without biases");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadGains(FwOptimalSetting *s)
{
  enum { GAIN_MAX = 4096 };
  const PetscInt L = s->model.depth;
  double         entry[GAIN_MAX];
  PetscInt       n = GAIN_MAX;

  PetscFunctionBegin;
  PetscCall(FwOptionReals("optimal_gain", &n, entry));
  PetscCheck(n == 1 || n == L, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'optimal_gain' has %" PetscInt_FMT " entries, the network wants one, or %" PetscInt_FMT, n, L);
  PetscCall(PetscMalloc1(L, &s->gain));
  for (PetscInt l = 0; l < L; l++) s->gain[l] = entry[n > 1 ? l : 0] / sqrt(s->model.prior[l]);
  s->readout_variance = 1.0 / s->model.prior[L];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* By the words of the whole scan, of which scan_index may leave one kind alone */
static PetscErrorCode IsMixed(PetscBool *is_mixed)
{
  PetscBool has[2]    = {PETSC_FALSE, PETSC_FALSE};
  char      list[256] = "";

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-scan_optimal_channel", list, sizeof list, NULL));
  for (int k = 0; k < FW_CHANNEL_COUNT; k++)
    if (strstr(list, FwChannelNames[k])) has[FwChannelIsDiscrete(&(FwChannel){.kind = (FwChannelKind)k})] = PETSC_TRUE;
  *is_mixed = has[0] && has[1] ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadChannel(FwChannel *channel)
{
  PetscInt kind;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("optimal_channel", &kind, NULL));
  channel->kind = (FwChannelKind)kind;
  PetscCall(FwOptionReal("optimal_noise", &channel->noise, NULL));
  PetscCall(FwOptionReal("optimal_beta", &channel->beta, NULL));
  PetscCall(FwOptionReal("optimal_channel_gain", &channel->gain, NULL));
  PetscCall(FwChannelCheck(channel));
  PetscCall(IsMixed(&channel->is_mixed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether a key is set, or an axis of the scan */
static PetscErrorCode IsGiven(const char key[], PetscBool *is_given)
{
  char axis[64];

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet(key, is_given));
  if (*is_given) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(axis, sizeof axis, "-scan_%s", key));
  PetscCall(PetscOptionsHasName(NULL, NULL, axis, is_given));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadExperiment(FwOptimalSetting *s)
{
  PetscInt64 dimension, n_instance;
  PetscBool  has_width;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("optimal_experiment", &s->experiment, NULL));
  PetscCall(FwOptionInteger("optimal_dimension", &dimension, NULL));
  PetscCall(FwOptionInteger("optimal_instances", &n_instance, NULL));
  s->dimension  = (PetscInt)dimension;
  s->n_instance = (PetscInt)n_instance;
  PetscCall(IsGiven("network_width", &has_width));
  for (PetscInt l = 0; l < s->model.depth && !has_width; l++) s->model.width[l] = (double)dimension;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOdd(FwOptimalSetting *s)
{
  PetscFunctionBegin;
  s->is_odd = PETSC_TRUE;
  for (PetscInt l = 0; l < s->model.depth && s->is_odd; l++) {
    FwActivation activation;

    PetscCall(FwActivationGet((FwActivationType)s->model.activation[l], &activation));
    PetscCall(FwActivationIsOdd(activation, &s->is_odd));
    PetscCheck(s->is_odd || s->channel.kind == FW_CHANNEL_GAUSSIAN, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_activation: above '%s', which is not odd, z has a bias that is drawn once, and the labels of "
               "optimal_channel '%s' depend on it: want odd activations, or 'gaussian'",
               FwActivationNames[s->model.activation[l]], FwChannelNames[s->channel.kind]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalSettingRead(FwOptimalSetting *s)
{
  PetscFunctionBegin;
  *s = (FwOptimalSetting){0};
  PetscCall(FwModelFromOptionsAnyDepth(&s->model));
  PetscCall(CheckForeign(&s->model));
  PetscCall(ReadGains(s));
  PetscCall(ReadChannel(&s->channel));
  PetscCall(FwOptionReal("optimal_alpha", &s->alpha, NULL));
  PetscCall(FwOptionReal("optimal_input_variance", &s->input_variance, NULL));
  PetscCall(ReadExperiment(s));
  PetscCall(CheckOdd(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalSettingDestroy(FwOptimalSetting *s)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(s->gain));
  PetscCall(FwModelDestroy(&s->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwDeepTarget FwOptimalTarget(const FwOptimalSetting *s)
{
  return (FwDeepTarget){s->model.depth, s->model.activation, s->gain, s->input_variance, s->readout_variance};
}

PetscErrorCode FwOptimalIsBeyond(const FwOptimalSetting *s, PetscBool *is_beyond)
{
  double    least = INFINITY, d = (double)s->dimension;
  PetscBool has_dimension, has_width;

  PetscFunctionBegin;
  PetscCall(IsGiven("optimal_dimension", &has_dimension));
  PetscCall(IsGiven("network_width", &has_width));
  for (PetscInt l = 0; l < s->model.depth; l++) least = fmin(least, s->model.width[l]);
  if (!has_dimension && s->experiment == FW_EXPERIMENT_NONE) d = least; /* widths alone: inputs are of their size */
  least      = fmin(least, d);
  *is_beyond = (PetscBool)((has_dimension || has_width || s->experiment != FW_EXPERIMENT_NONE) && s->model.depth > 0 &&
                           s->alpha * d > pow(least, 1.5));
  PetscFunctionReturn(PETSC_SUCCESS);
}
