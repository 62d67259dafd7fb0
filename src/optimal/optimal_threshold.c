/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Special values of alpha: extrema of the curve, and where two maxima of the potential are equally high.
 */

#include "optimal_impl.h"

#include <math.h>

/* The first two extrema of the curve by rising q; an even channel may begin on its way down */
static void FindSpinodals(FwOptimal optimal, FwOptimalThresholds *thresholds)
{
  const double *height = optimal->log_alpha;
  double        high   = NAN;

  for (PetscInt k = 1; k + 1 < optimal->n_knot; k++) {
    if (isnan(high) && height[k] > height[k - 1] + 1e-12 && height[k] > height[k + 1] + 1e-12) high = exp(height[k]);
    if (height[k] < height[k - 1] - 1e-12 && height[k] < height[k + 1] - 1e-12) {
      thresholds->spinodal_high = isnan(high) ? optimal->alpha_zero : high;
      thresholds->spinodal_low  = exp(height[k]);
      return;
    }
  }
  if (!isnan(high) && optimal->is_exact) { /* down to q = 1 */
    thresholds->spinodal_high = high;
    thresholds->spinodal_low  = 1.0;
  }
}

/* f of the last stable fixed point less that of the first */
static PetscErrorCode Difference(FwOptimal optimal, double alpha, double *difference)
{
  FwOptimalPoint point;
  PetscInt       first = -1, last = -1;

  PetscFunctionBegin;
  PetscCall(FwOptimalFixedPoints(optimal, alpha, &point));
  for (PetscInt i = 0; i < point.n_fixed; i++) {
    if (!point.fixed[i].is_stable) continue;
    if (first < 0) first = i;
    last = i;
  }
  *difference = point.fixed[last].free_entropy - point.fixed[first].free_entropy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The difference rises with alpha; close to the ends, where a maximum is about to merge, its sign is known */
static PetscErrorCode Bisect(FwOptimal optimal, double low, double high, double *alpha)
{
  double difference;

  PetscFunctionBegin;
  for (int i = 0; i < 60 && high - low > 1e-14 * high; i++) {
    const double middle = 0.5 * (low + high);

    PetscCall(Difference(optimal, middle, &difference));
    if (difference > 0.0)
      high = middle;
    else
      low = middle;
  }
  *alpha = 0.5 * (low + high);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalGetThresholds(FwOptimal optimal, FwOptimalThresholds *thresholds)
{
  PetscFunctionBegin;
  *thresholds = (FwOptimalThresholds){
    .weak_recovery = optimal->alpha_zero, .spinodal_low = NAN, .spinodal_high = NAN, .information_theoretic = NAN};
  if (optimal->is_blind) thresholds->weak_recovery = INFINITY;
  if (optimal->panels) FindSpinodals(optimal, thresholds);
  if (isnan(thresholds->spinodal_low)) PetscFunctionReturn(PETSC_SUCCESS);
  if (optimal->is_exact)
    thresholds->information_theoretic = 1.0;
  else
    PetscCall(Bisect(optimal, thresholds->spinodal_low, thresholds->spinodal_high, &thresholds->information_theoretic));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalGetFloor(FwOptimal optimal, double *error)
{
  double clean;

  PetscFunctionBegin;
  PetscCall(FwChannelErrors(&optimal->channel, optimal->eta2, optimal->gamma, error, &clean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwOptimalIsProved(const FwReduction *reduction, const FwChannel *channel)
{
  const PetscBool is_smooth =
    (PetscBool)(channel->noise > 0.0 && (channel->kind == FW_CHANNEL_GAUSSIAN || channel->kind == FW_CHANNEL_TANH ||
                                         channel->kind == FW_CHANNEL_ERF));

  if (reduction->depth) return (PetscBool)(reduction->is_smooth && is_smooth);
  return (PetscBool)(is_smooth || FwChannelIsDiscrete(channel));
}
