/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * y = f(gain z) + sqrt(noise) zeta with f = tanh or erf: Zc by quadrature, in equal steps over the z that can have given y.
 *
 * Without noise f is inverted: the label says z.
 */

#include "channel_impl.h"
#include "normal_rule.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

static double Readout(const FwChannel *channel, double z)
{
  return channel->kind == FW_CHANNEL_TANH ? tanh(channel->gain * z) : erf(channel->gain * z);
}

/* The z that gives f = y; infinite beyond the ends */
static double Inverse(const FwChannel *channel, double y)
{
  const double size = fabs(y);

  if (size >= 1.0) return copysign(INFINITY, y);
  return copysign(
           channel->kind == FW_CHANNEL_TANH ? atanh(size) : -M_SQRT1_2 * gsl_cdf_ugaussian_Pinv(0.5 * (1.0 - size)),
           y) /
         channel->gain;
}

/* log of df(gain z)/dz */
static double LogSlope(const FwChannel *channel, double z)
{
  const double u = fabs(channel->gain * z);

  return log(channel->gain) +
         (channel->kind == FW_CHANNEL_TANH ? 2.0 * (M_LN2 - u - log1p(exp(-2.0 * u))) : log(M_2_SQRTPI) - u * u);
}

static FwSeen Inverted(const FwChannel *channel, double y, double w, double variance)
{
  const double z = Inverse(channel, y), g = (z - w) / variance;

  return (FwSeen){.log_z = -0.5 * (log(2.0 * M_PI * variance) + (z - w) * g) - LogSlope(channel, z),
                  .g     = g,
                  .slope = -1.0 / variance};
}

/* Steps of t in [first, last] that resolve the narrower of the belief about z and what y says about it */
typedef struct {
  double   first, step;
  PetscInt n;
} Steps;

static const double reach = 13.0; /* deviations */

static Steps StepsFor(const FwChannel *channel, double y, double w, double variance)
{
  const double steepest = channel->gain * (channel->kind == FW_CHANNEL_TANH ? 1.0 : M_2_SQRTPI);
  const double root = sqrt(variance), far = reach * sqrt(channel->noise);
  const double step  = 0.5 / sqrt(1.0 + variance * steepest * steepest * (1.0 + 1.0 / channel->noise));
  const double low   = fmin((Inverse(channel, y - far) - w) / root, reach - 2.0 * step);
  const double high  = fmax((Inverse(channel, y + far) - w) / root, 2.0 * step - reach);
  const double first = fmax(-reach, low), last = fmin(reach, high);

  return (Steps){first, step, 1 + (PetscInt)ceil(fmax(0.0, last - first) / step)};
}

/* Sums relative to the largest term, found first, so that an unlikely label is not 0 / 0 */
static FwSeen Averaged(const FwChannel *channel, double y, double w, double variance)
{
  const Steps  steps = StepsFor(channel, y, w, variance);
  const double root  = sqrt(variance);
  double       top = -INFINITY, sum = 0.0, first = 0.0, second = 0.0;

  for (PetscInt i = 0; i < steps.n; i++) {
    const double t = steps.first + steps.step * (double)i, miss = y - Readout(channel, w + root * t);
    const double power = -0.5 * (t * t + miss * miss / channel->noise);

    if (power > top) { /* what is there shrinks */
      const double shrink = exp(top - power);

      sum *= shrink;
      first *= shrink;
      second *= shrink;
      top = power;
    }
    const double term = exp(power - top);

    sum += term;
    first += term * t;
    second += term * (t * t - 1.0);
  }
  const double g = first / sum / root;

  return (FwSeen){.log_z = top + log(sum * steps.step) - log(2.0 * M_PI) - 0.5 * log(channel->noise),
                  .g     = g,
                  .slope = second / sum / variance - g * g};
}

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    seen[i] = channel->noise > 0.0 ? Averaged(channel, y[i], w[i], variance) : Inverted(channel, y[i], w[i], variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Draw(const FwChannel *channel, double z, double random)
{
  return Readout(channel, z) + sqrt(channel->noise) * random;
}

/* E f(gain (w + sqrt(V) t)) */
static PetscErrorCode Guess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  const double spread = channel->gain * sqrt(variance);
  FwNormalRule rule   = {0};

  PetscFunctionBegin;
  if (channel->kind == FW_CHANNEL_TANH) PetscCall(FwNormalRuleSteps(M_PI_2 / fmax(spread, 1e-300), &rule));
  for (PetscInt i = 0; i < n; i++) {
    const double centre = channel->gain * w[i];

    if (channel->kind == FW_CHANNEL_ERF) y[i] = erf(centre / sqrt(1.0 + 2.0 * spread * spread));
    for (PetscInt k = 0; k < rule.n; k++) y[i] = (k ? y[i] : 0.0) + rule.weight[k] * tanh(centre + spread * rule.x[k]);
  }
  PetscCall(FwNormalRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Readout = {.output = Output, .draw = Draw, .guess = Guess};
