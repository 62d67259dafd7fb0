/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = sign(z + sqrt(noise) zeta): Zc = Phi(y w / sqrt v), v = V + noise.
 */

#include "channel_impl.h"

#include <gsl/gsl_sf_erf.h>
#include <math.h>

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double root = sqrt(variance + channel->noise);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double s = y[i] * w[i] / root, hazard = gsl_sf_hazard(-s); /* density / Phi, also where both vanish */

    seen[i] = (FwSeen){.log_z = gsl_sf_log_erfc(-M_SQRT1_2 * s) - M_LN2,
                       .g     = y[i] * hazard / root,
                       .slope = -hazard * (s + hazard) / (root * root)};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Draw(const FwChannel *channel, double z, double random)
{
  return z + sqrt(channel->noise) * random >= 0.0 ? 1.0 : -1.0;
}

PetscErrorCode FwChannelGuessSign(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  (void)channel, (void)variance;
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) y[i] = w[i] >= 0.0 ? 1.0 : -1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Probit = {
  .is_discrete = PETSC_TRUE, .output = Output, .draw = Draw, .guess = FwChannelGuessSign};
