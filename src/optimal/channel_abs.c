/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = |z + sqrt(noise) zeta|: Zc is the sum of two normal densities of variance v = V + noise.
 */

#include <finwidth/activation.h>

#include "channel_impl.h"
#include "normal_rule.h"

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

/* --- averages: with y = sqrt(v) |mu + t|, mu ~ N(0, Q / v), all depend on kappa^2 = Q / v alone ------------------- */

enum { T_MAX = 1024 };

/* Averages over t at one mu: log(1 + exp(-2 c)), a^2 and t^2 - a^2 with a = (mu + t) tanh c - mu, c = mu (mu + t) */
typedef struct {
  double entropy, square, lost;
} Sums;

/* The poles of tanh are pi / (2 mu) away, and what they add carries a weight of exp(-mu^2 / 2) */
static PetscErrorCode AverageAt(double mu, Sums *sums)
{
  const double   depth = 38.0 - 0.5 * mu * mu, step = fmin(0.4, depth > 0.0 ? M_PI * M_PI / (mu * depth) : 0.4);
  const PetscInt half = PetscMin(T_MAX / 2 - 1, (PetscInt)ceil(FW_NORMAL_REACH / step)), n = 2 * half + 1;
  FwActivation   softplus, tangent;
  double         tilt[T_MAX], log_sum[T_MAX], share[T_MAX], side[T_MAX];

  PetscFunctionBegin;
  PetscCall(FwActivationGet(FW_ACTIVATION_SOFTPLUS, &softplus));
  PetscCall(FwActivationGet(FW_ACTIVATION_TANH, &tangent));
  for (PetscInt i = 0; i < n; i++) {
    side[i] = mu * (mu + step * (double)(i - half));
    tilt[i] = -2.0 * side[i];
  }
  PetscCall(FwActivationEvaluate(softplus, n, tilt, log_sum, share, NULL)); /* share: (1 - tanh c) / 2 */
  PetscCall(FwActivationEvaluate(tangent, n, side, side, NULL, NULL));
  *sums = (Sums){0};
  for (PetscInt i = 0; i < n; i++) {
    const double t = step * (double)(i - half), weight = step * FW_NORMAL_DENSITY * exp(-0.5 * t * t);
    const double a = (mu + t) * side[i] - mu;

    sums->entropy += weight * log_sum[i];
    sums->square += weight * a * a;
    sums->lost += weight * 2.0 * (mu + t) * share[i] * (t + a);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Equal steps of mu, even in mu; where kappa is large the sign is mostly known, and v E g^2 is 1 less a part near mu = 0 */
static PetscErrorCode Moments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double v = variance + channel->noise, kappa = sqrt(Q / v), step = fmin(0.4 * kappa, 0.08);
  Sums         sums = {0}, at;

  PetscFunctionBegin;
  for (PetscInt i = 0; kappa > 0.0 && step * (double)i <= FW_NORMAL_REACH * fmin(kappa, 1.0); i++) {
    const double mu     = step * (double)i;
    const double weight = (i ? 2.0 : 1.0) * step / kappa * FW_NORMAL_DENSITY * exp(-0.5 * mu * mu / (kappa * kappa));

    PetscCall(AverageAt(mu, &at));
    sums.entropy += weight * at.entropy;
    sums.square += weight * at.square;
    sums.lost += weight * at.lost;
  }
  if (kappa == 0.0) sums.entropy = M_LN2;
  *moments = (FwMoments){.psi    = -0.5 * (log(2.0 * M_PI * v) + 1.0) + sums.entropy,
                         .square = (kappa > 1.0 ? 1.0 - sums.lost : sums.square) / v};
  if (v == 0.0) moments->psi = INFINITY;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E Var |m + sqrt(v) t| = v (1 - E [2 mu d + d^2]), d = E |mu + t| - mu for mu > 0: nothing cancels */
static double MeanVariance(double Q, double v)
{
  const double kappa = sqrt(Q / v), step = fmin(0.25 * kappa, 0.25);
  double       less = 0.0;

  if (v == 0.0) return 0.0;
  if (kappa == 0.0) return v * (1.0 - M_2_PI);
  for (int i = 0; step * i <= FW_NORMAL_REACH * fmin(kappa, 1.0); i++) {
    const double mu = step * i, d = 2.0 * (FW_NORMAL_DENSITY * exp(-0.5 * mu * mu) - 0.5 * mu * erfc(M_SQRT1_2 * mu));

    less +=
      (i ? 2.0 : 1.0) * step / kappa * FW_NORMAL_DENSITY * exp(-0.5 * mu * mu / (kappa * kappa)) * d * (2.0 * mu + d);
  }
  return v * (1.0 - less);
}

static PetscErrorCode Errors(const FwChannel *channel, double Q, double variance, FwErrors *errors)
{
  PetscFunctionBegin;
  *errors = (FwErrors){.noisy = MeanVariance(Q, variance + channel->noise), .clean = MeanVariance(Q, variance)};
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Abs = {
  .is_even = PETSC_TRUE, .output = Output, .draw = Draw, .guess = Guess, .moments = Moments, .errors = Errors};
