/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = z + sqrt(noise) zeta.
 */

#include "channel_impl.h"

#include <math.h>
#include <string.h>

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double v = variance + channel->noise;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double g = (y[i] - w[i]) / v;

    seen[i] = (FwSeen){.log_z = -0.5 * (log(2.0 * M_PI * v) + (y[i] - w[i]) * g), .g = g, .slope = -1.0 / v};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Draw(const FwChannel *channel, double z, double random)
{
  return z + sqrt(channel->noise) * random;
}

static PetscErrorCode Guess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  (void)channel, (void)variance;
  PetscFunctionBegin;
  memmove(y, w, (size_t)n * sizeof *y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Moments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double v = variance + channel->noise;

  (void)Q;
  PetscFunctionBegin;
  *moments = (FwMoments){.psi = -0.5 * (log(2.0 * M_PI * v) + 1.0), .square = 1.0 / v};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Errors(const FwChannel *channel, double Q, double variance, FwErrors *errors)
{
  (void)Q;
  PetscFunctionBegin;
  *errors = (FwErrors){.noisy = variance + channel->noise, .clean = variance};
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Gaussian = {
  .output = Output, .draw = Draw, .guess = Guess, .moments = Moments, .errors = Errors};
