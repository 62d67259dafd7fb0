/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * P(y | z) = 1 / (1 + exp(-beta y z)): Zc by quadrature.
 */

#include "channel_impl.h"
#include "normal_rule.h"

#include <math.h>

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

/* Poles lie at t = (i pi - centre) / spread: equal steps while they are far, else panels around them */
static PetscErrorCode Output(const FwChannel *channel, PetscInt n, const double y[], const double w[], double variance,
                             FwSeen seen[])
{
  const double    beta = channel->beta, spread = beta * sqrt(variance), distance = M_PI / spread;
  const PetscBool is_steep = (PetscBool)(distance < 0.3);
  FwNormalRule    rule     = {0};

  PetscFunctionBegin;
  if (!is_steep) PetscCall(FwNormalRuleSteps(distance, &rule));
  for (PetscInt i = 0; i < n; i++) {
    const double centre = beta * y[i] * w[i];

    if (is_steep) {
      const FwFeature feature = {-centre / spread, distance};

      PetscCall(FwNormalRuleMake(1, &feature, 0.5, &rule));
    }
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

const struct FwChannelImpl FwChannel_Logistic = {
  .is_discrete = PETSC_TRUE, .has_uniform = PETSC_TRUE, .output = Output, .draw = Draw, .guess = FwChannelGuessSign};
