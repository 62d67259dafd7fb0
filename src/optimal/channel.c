/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The registry of channels, their checks and labels.
 */

#include "channel_impl.h"

#include <math.h>

enum { BLOCK = 256 };

const char *const FwChannelNames[FW_CHANNEL_COUNT] = {"gaussian", "probit", "logistic", "abs", "tanh", "erf"};

static const struct FwChannelImpl *const registry[FW_CHANNEL_COUNT] = {
  [FW_CHANNEL_GAUSSIAN] = &FwChannel_Gaussian, [FW_CHANNEL_PROBIT] = &FwChannel_Probit,
  [FW_CHANNEL_LOGISTIC] = &FwChannel_Logistic, [FW_CHANNEL_ABS] = &FwChannel_Abs,
  [FW_CHANNEL_TANH] = &FwChannel_Readout,      [FW_CHANNEL_ERF] = &FwChannel_Readout,
};

/* tanh and erf: below this the quadrature of their labels would be too long */
static const double least_noise = 1e-9;

/* logistic: its square is to be a number */
static const double least_beta = 1e-100, most_beta = 1e100;

static PetscBool IsReadout(FwChannelKind kind)
{
  return (PetscBool)(kind == FW_CHANNEL_TANH || kind == FW_CHANNEL_ERF);
}

PetscErrorCode FwChannelCheck(const FwChannel *channel)
{
  const FwChannelKind kind = channel->kind;

  PetscFunctionBegin;
  PetscCheck(kind >= 0 && kind < FW_CHANNEL_COUNT, PETSC_COMM_SELF, FW_ERR_INPUT, "there is no channel number %d",
             (int)kind);
  PetscCheck(kind == FW_CHANNEL_LOGISTIC || (channel->noise >= 0.0 && isfinite(channel->noise)), PETSC_COMM_SELF,
             FW_ERR_INPUT, "a noise of variance %g: it is to be 0 or more", channel->noise);
  PetscCheck(kind != FW_CHANNEL_LOGISTIC || (channel->beta >= least_beta && channel->beta <= most_beta),
             PETSC_COMM_SELF, FW_ERR_INPUT, "a logistic channel of beta %g: it is to be %g to %g", channel->beta,
             least_beta, most_beta);
  PetscCheck(!IsReadout(kind) || (channel->gain > 0.0 && isfinite(channel->gain)), PETSC_COMM_SELF, FW_ERR_INPUT,
             "a channel of gain %g: it is to be more than 0", channel->gain);
  PetscCheck(!IsReadout(kind) || channel->noise == 0.0 || channel->noise >= least_noise, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a noise of variance %g behind %s: it is to be 0, or %g or more", channel->noise, FwChannelNames[kind],
             least_noise);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwChannelIsDiscrete(const FwChannel *channel)
{
  return registry[channel->kind]->is_discrete;
}

const char *FwChannelErrorUnits(const FwChannel *channel)
{
  if (channel->is_mixed) return "label^2, or 1 of probit and logistic";
  return FwChannelIsDiscrete(channel) ? "1" : "label^2";
}

PetscBool FwChannelIsEven(const FwChannel *channel)
{
  return registry[channel->kind]->is_even;
}

PetscErrorCode FwChannelOutput(const FwChannel *channel, PetscInt n, const double y[], const double w[],
                               double variance, double log_z[], double g[], double slope[])
{
  FwSeen seen[BLOCK];

  PetscFunctionBegin;
  PetscCheck(variance > 0.0 && isfinite(variance), PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "a channel seen with a variance of %g", variance);
  for (PetscInt begin = 0; begin < n; begin += BLOCK) {
    const PetscInt n_here = PetscMin(BLOCK, n - begin);

    PetscCall(registry[channel->kind]->output(channel, n_here, y + begin, w + begin, variance, seen));
    for (PetscInt i = 0; i < n_here; i++) {
      PetscCheck(isfinite(seen[i].log_z + seen[i].g + seen[i].slope), PETSC_COMM_SELF, FW_ERR_NUMERICAL,
                 "the channel %s cannot give the label %g, or not within a double's range where z is %g +- %g",
                 FwChannelNames[channel->kind], y[begin + i], w[begin + i], sqrt(variance));
      if (log_z) log_z[begin + i] = seen[i].log_z;
      if (g) g[begin + i] = seen[i].g;
      if (slope) slope[begin + i] = seen[i].slope;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChannelSample(const FwChannel *channel, FwStream stream, uint64_t first, PetscInt n, const double z[],
                               double y[])
{
  const struct FwChannelImpl *impl = registry[channel->kind];
  double                      random[BLOCK];

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < n; begin += BLOCK) {
    const PetscInt n_here = PetscMin(BLOCK, n - begin);

    if (impl->has_uniform)
      FwStreamUniform(stream, first + (uint64_t)begin, (size_t)n_here, random);
    else
      FwStreamNormal(stream, first + (uint64_t)begin, (size_t)n_here, random);
    for (PetscInt i = 0; i < n_here; i++) y[begin + i] = impl->draw(channel, z[begin + i], random[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChannelGuess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  PetscFunctionBegin;
  PetscCheck(variance >= 0.0 && isfinite(variance), PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "a channel seen with a variance of %g", variance);
  PetscCall(registry[channel->kind]->guess(channel, n, w, variance, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChannelMoments(const FwChannel *channel, double Q, double variance, double *psi, double *square)
{
  FwMoments moments;

  PetscFunctionBegin;
  PetscCall(registry[channel->kind]->moments(channel, Q, variance, &moments));
  *psi    = moments.psi;
  *square = moments.square;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChannelErrors(const FwChannel *channel, double Q, double variance, double *error, double *clean)
{
  FwErrors errors;

  PetscFunctionBegin;
  PetscCall(registry[channel->kind]->errors(channel, Q, variance, &errors));
  *error = errors.noisy;
  *clean = errors.clean;
  PetscFunctionReturn(PETSC_SUCCESS);
}
