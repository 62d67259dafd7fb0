/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = |z + sqrt(noise) zeta|: Zc is the sum of two normal densities of variance v = V + noise.
 */

#include "channel_impl.h"

#include <math.h>

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double v = variance + channel->noise;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double a = fabs(w[i]), tilt = y[i] * a / v, side = tanh(tilt), decay = exp(-2.0 * tilt);
    const double other = 4.0 * decay / ((1.0 + decay) * (1.0 + decay)); /* 1 - tanh^2 */

    seen[i] = (FwSeen){.log_z = -0.5 * (log(2.0 * M_PI * v) + (y[i] - a) * (y[i] - a) / v) + log1p(decay),
                       .g     = copysign((y[i] * side - a) / v, w[i] * (y[i] * side - a)),
                       .slope = (y[i] * y[i] / v * other - 1.0) / v};
    if (y[i] < 0.0) seen[i].log_z = -INFINITY;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Draw(const FwChannel *channel, double z, double random)
{
  return fabs(z + sqrt(channel->noise) * random);
}

/* E |w + sqrt(v) t| */
static PetscErrorCode Guess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  const double v = variance + channel->noise;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    y[i] = v > 0.0 ? sqrt(2.0 * v / M_PI) * exp(-0.5 * w[i] * w[i] / v) + w[i] * erf(w[i] / sqrt(2.0 * v)) : fabs(w[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Abs = {.is_even = PETSC_TRUE, .output = Output, .draw = Draw, .guess = Guess};
