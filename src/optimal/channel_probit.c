/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = sign(z + sqrt(noise) zeta): Zc = Phi(y w / sqrt v), v = V + noise.
 */

#include "channel_impl.h"
#include "normal_rule.h"

#include <gsl/gsl_sf_erf.h>
#include <math.h>

/* Density over Phi at s: GSL's takes over where both vanish, and would stop the program where it underflows itself */
static double Hazard(double s)
{
  return s > -5.0 ? FW_NORMAL_DENSITY * exp(-0.5 * s * s) / (0.5 * erfc(-M_SQRT1_2 * s)) : gsl_sf_hazard(-s);
}

static double LogPhi(double s)
{
  return s > 0.0 ? log1p(-0.5 * erfc(M_SQRT1_2 * s)) : gsl_sf_log_erfc(-M_SQRT1_2 * s) - M_LN2;
}

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double root = sqrt(variance + channel->noise);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double s = y[i] * w[i] / root, hazard = Hazard(s);

    seen[i] = (FwSeen){.log_z = LogPhi(s), .g = y[i] * hazard / root, .slope = -hazard * (s + hazard) / (root * root)};
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

/* Phi log Phi and density^2 / Phi, summed over t and -t. Phi(-t) does not underflow where the weight of t is not lost */
typedef struct {
  double entropy, square;
} Pair;

static Pair PairAt(double t)
{
  const double tail = 0.5 * erfc(M_SQRT1_2 * t), bell = FW_NORMAL_DENSITY * exp(-0.5 * t * t);

  return (Pair){tail * log(tail) + (1.0 - tail) * log1p(-tail), bell * bell / (tail * (1.0 - tail))};
}

/* E over v ~ N(0, 1) of half the pair at kappa v, in equal steps of v, or of t = kappa v where that is slower. Phi has no zero
   within 2.8 of the real axis: steps of t up to 0.4; of v up to 0.7, for the weight itself */
static Pair Average(double kappa)
{
  const double by_t = fmin(1.0, 1.0 / kappa), step = kappa > 1.0 ? 0.4 : fmin(0.7, 0.4 / kappa);
  Pair         sum = {0};

  for (int i = 0; step * i <= FW_NORMAL_REACH; i++) {
    const double v = by_t * step * i, weight = (i ? 1.0 : 0.5) * by_t * step * FW_NORMAL_DENSITY * exp(-0.5 * v * v);
    const Pair   at = PairAt(fmin(1.0, kappa) * step * i);

    sum.entropy += weight * at.entropy;
    sum.square += weight * at.square;
  }
  return sum;
}

static PetscErrorCode Moments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double v   = variance + channel->noise;
  const Pair   sum = Average(sqrt(Q / v));

  PetscFunctionBegin;
  *moments = (FwMoments){.psi = 2.0 * sum.entropy, .square = 2.0 * sum.square / v};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The angle between z and what is known of it; acos would lose digits */
static PetscErrorCode Errors(const FwChannel *channel, double Q, double variance, FwErrors *errors)
{
  PetscFunctionBegin;
  *errors = (FwErrors){.noisy = atan2(sqrt(variance + channel->noise), sqrt(Q)) / M_PI,
                       .clean = atan2(sqrt(variance), sqrt(Q)) / M_PI};
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Probit = {.is_discrete = PETSC_TRUE,
                                               .output      = Output,
                                               .draw        = Draw,
                                               .guess       = FwChannelGuessSign,
                                               .moments     = Moments,
                                               .errors      = Errors};
