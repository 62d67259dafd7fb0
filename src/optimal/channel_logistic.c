/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * P(y | z) = 1 / (1 + exp(-beta y z)): Zc by quadrature.
 */

#include "channel_impl.h"
#include "normal_rule.h"

#include <math.h>

/* Where the sigmoid is this much steeper than the normal it is averaged with, it is the sign of z and a number of its own
   variance, pi^2 / (3 beta^2): of a normal one only the fourth cumulant differs, by 1e-16 */
static PetscBool IsSteep(const FwChannel *channel, double variance)
{
  return (PetscBool)(channel->beta * sqrt(variance) > 1e4);
}

static FwChannel Probit(const FwChannel *channel)
{
  return (FwChannel){.kind = FW_CHANNEL_PROBIT, .noise = M_PI * M_PI / 3.0 / channel->beta / channel->beta};
}

/* What the average over t adds up: the sigmoid, and its first two derivatives in its argument */
static FwSeen Average(const FwNormalRule *rule, double centre, double spread)
{
  FwSeen sum = {0};

  for (PetscInt i = 0; i < rule->n; i++) {
    const double a = centre + spread * rule->x[i], decay = exp(-fabs(a)), share = 1.0 / (1.0 + decay);
    const double below = a >= 0.0 ? share : decay * share, slope = decay * share * share;

    sum.log_z += rule->weight[i] * below;
    sum.g += rule->weight[i] * slope;
    sum.slope += rule->weight[i] * slope * (a >= 0.0 ? -1.0 : 1.0) * (1.0 - decay) * share;
  }
  return sum;
}

static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double beta = channel->beta, spread = beta * sqrt(variance);
  FwNormalRule rule = {0};

  PetscFunctionBegin;
  if (IsSteep(channel, variance)) {
    const FwChannel probit = Probit(channel);

    PetscCall(FwChannel_Probit.output(&probit, n, y, w, variance, seen));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < n; i++) {
    const double centre = beta * y[i] * w[i];

    PetscCall(FwNormalRuleAround(-centre / spread, M_PI / spread, &rule)); /* poles of the sigmoid */
    const FwSeen sum = Average(&rule, centre, spread);
    const double g   = beta * y[i] * sum.g / sum.log_z;

    seen[i] = (FwSeen){.log_z = log(sum.log_z), .g = g, .slope = beta * beta * sum.slope / sum.log_z - g * g};
  }
  PetscCall(FwNormalRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Draw(const FwChannel *channel, double z, double random)
{
  return random < 1.0 / (1.0 + exp(-channel->beta * z)) ? 1.0 : -1.0;
}

/* Both labels give the same by m -> -m. Zc changes over sqrt(V + 2.6 / beta^2) of m, and beyond `far` it is 0 or 1 */
static PetscErrorCode Moments(const FwChannel *channel, double Q, double variance, FwMoments *moments)
{
  const double beta = channel->beta, root = sqrt(Q), spread = beta * sqrt(variance);
  const double step = fmin(0.4, 0.32 * sqrt(variance + 2.6 / (beta * beta)) / root);
  const double far  = fmin(FW_NORMAL_REACH, (FW_NORMAL_REACH * sqrt(variance) + 40.0 / beta) / root);
  FwNormalRule rule = {0};

  PetscFunctionBegin;
  if (IsSteep(channel, variance)) {
    const FwChannel probit = Probit(channel);

    PetscCall(FwChannel_Probit.moments(&probit, Q, variance, moments));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *moments = (FwMoments){0};
  for (PetscInt i = -(PetscInt)ceil(far / step); i * step <= far; i++) {
    const double u = step * (double)i, centre = beta * root * u,
                 weight = 2.0 * step * FW_NORMAL_DENSITY * exp(-0.5 * u * u);

    PetscCall(FwNormalRuleAround(-centre / spread, M_PI / spread, &rule));
    const FwSeen sum = Average(&rule, centre, spread);

    if (sum.log_z < 1e-300) continue;
    moments->psi += weight * sum.log_z * log(sum.log_z);
    moments->square += weight * beta * beta * sum.g * sum.g / sum.log_z;
  }
  PetscCall(FwNormalRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* m given z is normal, so that P(y m < 0) = 2 E_z sigma(-beta z) Phi(a z), a^2 = Q / (R V) */
static PetscErrorCode Errors(const FwChannel *channel, double Q, double variance, FwErrors *errors)
{
  const double    R = Q + variance, beta = channel->beta * sqrt(R), a = sqrt(Q / variance);
  const FwFeature feature = {0.0, 1.0 / fmax(beta, a)};
  FwNormalRule    rule    = {0};

  PetscFunctionBegin;
  if (IsSteep(channel, variance)) {
    const FwChannel probit = Probit(channel);

    PetscCall(FwChannel_Probit.errors(&probit, Q, variance, errors));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *errors = (FwErrors){.clean = atan2(sqrt(variance), sqrt(Q)) / M_PI};
  PetscCall(FwNormalRuleMake(1, &feature, 0.5, &rule));
  for (PetscInt i = 0; i < rule.n; i++)
    errors->noisy += rule.weight[i] * erfc(-M_SQRT1_2 * a * rule.x[i]) / (1.0 + exp(beta * rule.x[i]));
  PetscCall(FwNormalRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const struct FwChannelImpl FwChannel_Logistic = {.is_discrete = PETSC_TRUE,
                                                 .has_uniform = PETSC_TRUE,
                                                 .output      = Output,
                                                 .draw        = Draw,
                                                 .guess       = FwChannelGuessSign,
                                                 .moments     = Moments,
                                                 .errors      = Errors};
