/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Dual averaging.
 */

#include "tuning.h"

#include <math.h>

/* As in the paper: strength of the pull to the centre, weight of the first moves, forgetting */
static const double gain = 0.05, delay = 10.0, decay = 0.75;

void FwTuningStart(FwTuning *t, double step)
{
  *t = (FwTuning){.centre = log(10.0 * step), .trial = log(step), .mean = log(step)};
}

void FwTuningLearn(FwTuning *t, double probability, double target)
{
  double weight;

  t->n += 1.0;
  t->error += (target - probability - t->error) / (t->n + delay);
  t->trial = t->centre - sqrt(t->n) / gain * t->error;
  weight   = pow(t->n, -decay);
  t->mean  = weight * t->trial + (1.0 - weight) * t->mean;
}

double FwTuningTrial(const FwTuning *t)
{
  return exp(t->trial);
}

double FwTuningStep(const FwTuning *t)
{
  return exp(t->mean);
}
