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

/* Scale over which y tells values of z apart */
static double Resolution(const FwChannel *channel)
{
  const double steepest = channel->gain * (channel->kind == FW_CHANNEL_TANH ? 1.0 : M_2_SQRTPI);

  return 1.0 / (steepest * sqrt(1.0 + 1.0 / channel->noise));
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

/* E tanh(centre + spread t) and its variance */
typedef struct {
  double mean, variance;
} Spread;

static PetscErrorCode SpreadOfTanh(double centre, double spread, FwNormalRule *rule, Spread *s)
{
  PetscFunctionBegin;
  PetscCall(FwNormalRuleAround(-centre / spread, M_PI_2 / spread, rule));
  *s = (Spread){0};
  for (PetscInt k = 0; k < rule->n; k++) s->mean += rule->weight[k] * tanh(centre + spread * rule->x[k]);
  for (PetscInt k = 0; k < rule->n; k++)
    s->variance += rule->weight[k] * pow(tanh(centre + spread * rule->x[k]) - s->mean, 2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E f(gain (w + sqrt(V) t)) */
static PetscErrorCode Guess(const FwChannel *channel, PetscInt n, const double w[], double variance, double y[])
{
  const double spread = channel->gain * sqrt(variance);
  FwNormalRule rule   = {0};
  Spread       s;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double centre = channel->gain * w[i];

    if (channel->kind == FW_CHANNEL_ERF || spread == 0.0) {
      y[i] = Readout(channel, w[i] / sqrt(1.0 + 2.0 * spread * spread));
    } else {
      PetscCall(SpreadOfTanh(centre, spread, &rule, &s));
      y[i] = s.mean;
    }
  }
  PetscCall(FwNormalRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- averages ------------------------------------------------------------------------------------------------------- */

static const double steepest_step = 1e3; /* deviations of z over what y resolves: beyond, the quadrature is too long */

/* The noiseless label says z: psi is that of z, less the average of log dy/dz */
static PetscErrorCode InvertedMoments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double spread = channel->gain * sqrt(Q + variance);
  FwNormalRule rule   = {0};
  double       slope  = log(channel->gain * M_2_SQRTPI) - spread * spread; /* of erf */

  PetscFunctionBegin;
  if (channel->kind == FW_CHANNEL_TANH) {
    PetscCall(FwNormalRuleAround(0.0, M_PI_2 / spread, &rule));
    slope = 0.0;
    for (PetscInt i = 0; i < rule.n; i++)
      slope += rule.weight[i] * LogSlope(channel, rule.x[i] * spread / channel->gain);
    PetscCall(FwNormalRuleDestroy(&rule));
  }
  *moments = (FwMoments){.psi = -0.5 * (log(2.0 * M_PI * variance) + 1.0) - slope, .square = 1.0 / variance};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels in steps of 0.4 deviations of the noise, out to 9 beyond the ends of f; and the sums over t there: Zc, and
   sqrt(V) dZc/dm */
enum { FAR = 22 }; /* steps that one z adds to: 8.8 deviations */

typedef struct {
  double   step, first;
  PetscInt n;
  double  *z, *slope, bell[FAR + 1]; /* exp(-0.08 k^2) */
} Labels;

static PetscErrorCode CreateLabels(const FwChannel *channel, Labels *labels)
{
  const double step = 0.4 * sqrt(channel->noise), end = 1.0 + step * (FAR + 1);

  PetscFunctionBegin;
  *labels = (Labels){.step = step, .first = -end, .n = 2 + (PetscInt)ceil(2.0 * end / step)};
  PetscCall(PetscMalloc2(labels->n, &labels->z, labels->n, &labels->slope));
  for (int k = 0; k <= FAR; k++) labels->bell[k] = exp(-0.08 * k * k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One value of z, whose f lies d steps from a label: exp(-0.08 (k - d)^2) comes from powers of exp(0.16 d) */
static void AddOutput(const Labels *labels, double f, double weight, double t)
{
  const double place = (f - labels->first) / labels->step, nearest = rint(place), d = place - nearest;
  const double rise = exp(0.16 * d), fall = 1.0 / rise;
  double      *z = labels->z + (PetscInt)nearest, *slope = labels->slope + (PetscInt)nearest;
  double       up = weight * exp(-0.08 * d * d), down = up;

  z[0] += up;
  slope[0] += t * up;
  for (int k = 1; k <= FAR; k++) {
    up *= rise;
    down *= fall;
    z[k] += labels->bell[k] * up;
    slope[k] += t * (labels->bell[k] * up);
    z[-k] += labels->bell[k] * down;
    slope[-k] += t * (labels->bell[k] * down);
  }
}

/* What one m contributes */
static FwMoments AverageAt(const FwChannel *channel, const Labels *labels, double m, double variance)
{
  const double root = sqrt(variance), narrow = Resolution(channel);
  const double step = 0.5 * narrow / hypot(root, narrow), scale = FW_NORMAL_DENSITY / sqrt(channel->noise);
  FwMoments    sum = {0};

  for (PetscInt j = 0; j < labels->n; j++) labels->z[j] = labels->slope[j] = 0.0;
  for (PetscInt k = -(PetscInt)ceil(FW_NORMAL_REACH / step); k * step <= FW_NORMAL_REACH; k++) {
    const double t = step * (double)k, weight = scale * step * FW_NORMAL_DENSITY * exp(-0.5 * t * t);

    AddOutput(labels, Readout(channel, m + root * t), weight, t);
  }
  for (PetscInt j = 0; j < labels->n; j++) {
    if (labels->z[j] < 1e-300) continue;
    sum.psi += labels->step * labels->z[j] * log(labels->z[j]);
    sum.square += labels->step * labels->slope[j] * labels->slope[j] / (labels->z[j] * variance);
  }
  return sum;
}

/* Even in m, as f is odd */
static PetscErrorCode NoisyMoments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double root = sqrt(Q), step = fmin(0.4, 0.35 * hypot(sqrt(variance), Resolution(channel)) / root);
  Labels       labels;

  PetscFunctionBegin;
  PetscCall(CreateLabels(channel, &labels));
  *moments = (FwMoments){0};
  for (PetscInt i = 0; step * (double)i <= FW_NORMAL_REACH; i++) {
    const double    u = step * (double)i, weight = (i ? 2.0 : 1.0) * step * FW_NORMAL_DENSITY * exp(-0.5 * u * u);
    const FwMoments at = AverageAt(channel, &labels, root * u, variance);

    moments->psi += weight * at.psi;
    moments->square += weight * at.square;
  }
  PetscCall(PetscFree2(labels.z, labels.slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Moments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  PetscFunctionBegin;
  PetscCheck(
    channel->noise == 0.0 || sqrt(Q + variance) < steepest_step * Resolution(channel), PETSC_COMM_SELF,
    FW_ERR_NUMERICAL,
    "a noise of variance %g behind %s of gain %g is too small for the quadrature: want %.2g at least, or no noise",
    channel->noise, FwChannelNames[channel->kind], channel->gain,
    channel->noise * (Q + variance) / PetscSqr(steepest_step * Resolution(channel)));
  if (channel->noise == 0.0)
    PetscCall(InvertedMoments(channel, Q, variance, moments));
  else if (variance == 0.0)
    *moments = (FwMoments){.psi = -0.5 * (log(2.0 * M_PI * channel->noise) + 1.0), .square = NAN};
  else
    PetscCall(NoisyMoments(channel, Q, variance, moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E_m Var_t erf = (2 / pi) (asin a - asin b), a and b = 2 g^2 (R and Q) / (1 + 2 g^2 R), without the difference */
static double LostOfErf(double gain, double Q, double variance)
{
  const double square = 2.0 * gain * gain, whole = 1.0 + square * (Q + variance);
  const double a = square * (Q + variance) / whole, b = square * Q / whole;
  const double sum = a * sqrt((1.0 + b) * (1.0 + square * variance) / whole) + b * sqrt((1.0 + a) / whole);

  return sum > 0.0 ? M_2_PI * asin(square * variance / whole * (a + b) / sum) : 0.0;
}

/* E_m Var_t tanh; in m it changes over sqrt(V), or 1 / gain where that is more */
static PetscErrorCode LostOfTanh(double gain, double Q, double variance, double *lost)
{
  const double spread = gain * sqrt(variance);
  FwNormalRule over_m = {0}, over_t = {0};
  Spread       s;

  PetscFunctionBegin;
  *lost = 0.0;
  if (spread == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwNormalRuleAround(0.0, M_PI_2 / fmax(gain * sqrt(Q), 1e-300), &over_m));
  for (PetscInt i = 0; i < over_m.n; i++) {
    PetscCall(SpreadOfTanh(gain * sqrt(Q) * over_m.x[i], spread, &over_t, &s));
    *lost += over_m.weight[i] * s.variance;
  }
  PetscCall(FwNormalRuleDestroy(&over_m));
  PetscCall(FwNormalRuleDestroy(&over_t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Errors(const FwChannel *channel, double Q, double variance, FwErrors *errors)
{
  double lost = LostOfErf(channel->gain, Q, variance);

  PetscFunctionBegin;
  if (channel->kind == FW_CHANNEL_TANH) PetscCall(LostOfTanh(channel->gain, Q, variance, &lost));
  *errors = (FwErrors){.noisy = channel->noise + lost, .clean = lost};
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Readout = {
  .output = Output, .draw = Draw, .guess = Guess, .moments = Moments, .errors = Errors};
