/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Laws of one variable of the mixing matrix, as interpolated inversions of their transforms.
 */

#include <finwidth/mixture_density.h>

#include "density_impl.h"

#include <math.h>

static const double log_nothing =
  -230.0; /* a tail of 1e-100: panels that far out take longest, and nobody needs them */

struct FwMixtureDensityImpl {
  FwGammaSum sum;
  double     mean, deviation;
  double     reach;      /* beyond, log f goes on along its tangent, which is above it, and the tail is zero */
  double     end[2];     /* beyond, the tails are nothing */
  FwPanels   density;    /* log f, its slope */
  FwPanels   cumulative; /* log P(X <= x) left of the mean, log P(X > x) right of it */
};

PetscErrorCode FwMixtureCheckDensity(const FwMixtureLaw *law, PetscInt lowest_width)
{
  PetscFunctionBegin;
  PetscCheck(!isinf(law->a), PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the mixing law has no density at mixture_a = infinity: set a finite mixture_a");
  PetscCheck(law->n_width || law->a > 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the mixing law has no density at mixture_a = 0: Q is the unit matrix");
  for (PetscInt l = 0; l < law->n_width; l++)
    PetscCheck(law->width[l] >= lowest_width, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_width %.6g is below the %" PetscInt_FMT
               " outputs: Q is singular and has no density, set a width of at least %" PetscInt_FMT,
               law->width[l], lowest_width, lowest_width);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one variable ------------------------------------------------------------------------------------------- */

static PetscErrorCode AddDiagonal(const FwMixtureLaw *law, FwGammaSum *sum)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < law->n_width; l++) FwGammaSumAdd(sum, law->width[l], 0.0, 1);
  sum->drift += -law->a;
  sum->variance += 2.0 * law->a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* det W of a Wishart matrix is a product of D independent gamma variables */
static PetscErrorCode AddDeterminant(const FwMixtureLaw *law, FwGammaSum *sum)
{
  const PetscInt d = law->n_output;

  PetscFunctionBegin;
  PetscCall(FwMixtureCheckDensity(law, d));
  for (PetscInt l = 0; l < law->n_width; l++)
    for (PetscInt i = 0; i < d; i++) FwGammaSumAdd(sum, law->width[l], 0.5 * (double)i, 1);
  sum->drift += -0.5 * law->a * (double)(d * (d + 1));
  sum->variance += 2.0 * law->a * (double)d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillSum(const FwMixtureLaw *law, FwMixtureVariable variable, FwGammaSum *sum)
{
  PetscFunctionBegin;
  switch (variable) {
    case FW_MIXTURE_LOG_Q:
      PetscCall(FwMixtureCheckDensity(law, 1));
      PetscCall(AddDiagonal(law, sum));
      break;
    case FW_MIXTURE_LOG_DET:
      PetscCall(AddDeterminant(law, sum));
      break;
    case FW_MIXTURE_LOG_OUTPUT2: /* S^2 = q chi^2 with one degree of freedom */
      PetscCheck(!isinf(law->a), PETSC_COMM_WORLD, FW_ERR_INPUT, "outputs have no law at mixture_a = infinity");
      PetscCall(AddDiagonal(law, sum));
      FwGammaSumAdd(sum, 1.0, 0.0, 1);
      break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillDensity(const double x[FW_PANEL_POINTS], double value[], void *context)
{
  PetscFunctionBegin;
  PetscCall(FwGammaSumDensity(&((FwMixtureDensity)context)->sum, FW_PANEL_POINTS, x, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillCumulative(const double x[FW_PANEL_POINTS], double value[], void *context)
{
  FwMixtureDensity density = context;

  PetscFunctionBegin;
  PetscCall(FwGammaSumTail(&density->sum, x[0] > density->mean ? PETSC_TRUE : PETSC_FALSE, FW_PANEL_POINTS, x, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityFromSum(FwGammaSum *sum, FwMixtureDensity *density)
{
  FwMixtureDensity d;
  double           variance;

  PetscFunctionBegin;
  PetscCall(PetscNew(&d));
  d->sum = *sum;
  *sum   = (FwGammaSum){0};
  FwGammaSumMoments(&d->sum, &d->mean, &variance);
  d->deviation = sqrt(variance);
  d->reach     = FwGammaSumReach(&d->sum);
  for (int upper = 0; upper < 2; upper++)
    d->end[upper] = FwGammaSumEnd(&d->sum, 0.0, upper ? PETSC_TRUE : PETSC_FALSE, log_nothing);
  PetscCall(FwPanelsCreate(d->mean, d->deviation, 2, FillDensity, d, &d->density));
  PetscCall(FwPanelsCreate(d->mean, d->deviation, 1, FillCumulative, d, &d->cumulative));
  *density = d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityCreate(const FwMixtureLaw *law, FwMixtureVariable variable, FwMixtureDensity *density)
{
  FwGammaSum sum;

  PetscFunctionBegin;
  PetscCall(FwGammaSumCreate(law->n_width * law->n_output + 1, &sum));
  PetscCall(FillSum(law, variable, &sum));
  PetscCall(FwMixtureDensityFromSum(&sum, density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityMoments(FwMixtureDensity density, double *mean, double *variance)
{
  PetscFunctionBegin;
  FwGammaSumMoments(&density->sum, mean, variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityEvaluate(FwMixtureDensity density, double x, double *log_density, double *slope)
{
  const double beyond = PetscMax(0.0, x - density->reach);
  double       value[2];

  PetscFunctionBegin;
  PetscCall(FwPanelsEvaluate(density->density, x - beyond, value));
  *log_density = value[0] + beyond * value[1];
  if (slope) *slope = value[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityCumulative(FwMixtureDensity density, double x, double *below, double *above)
{
  double tail = -INFINITY;

  PetscFunctionBegin;
  if (!(x < density->end[0] || x > density->end[1])) PetscCall(FwPanelsEvaluate(density->cumulative, x, &tail));
  tail = PetscMin(1.0, exp(tail));
  if (below) *below = x < density->mean ? tail : 1.0 - tail;
  if (above) *above = x < density->mean ? 1.0 - tail : tail;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityDestroy(FwMixtureDensity *density)
{
  PetscFunctionBegin;
  if (!*density) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPanelsDestroy(&(*density)->density));
  PetscCall(FwPanelsDestroy(&(*density)->cumulative));
  PetscCall(FwGammaSumDestroy(&(*density)->sum));
  PetscCall(PetscFree(*density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- distances ---------------------------------------------------------------------------------------------- */

/* Largest value within a bracket of a function with one maximum there, by golden sections */
static PetscErrorCode Refine(FwDifference *difference, void *context, double low, double high, double *largest)
{
  const double golden = 0.5 * (sqrt(5.0) - 1.0);

  PetscFunctionBegin;
  for (int i = 0; i < 40; i++) {
    const double left = high - golden * (high - low), right = low + golden * (high - low);
    double       at_left = 0.0, at_right = 0.0;

    PetscCall(difference(left, context, &at_left));
    PetscCall(difference(right, context, &at_right));
    *largest = PetscMax(*largest, PetscMax(fabs(at_left), fabs(at_right)));
    if (fabs(at_left) > fabs(at_right))
      high = right;
    else
      low = left;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLargestDifference(FwDifference *difference, void *context, double low, double high, double *largest)
{
  enum { STEPS = 400 };
  const double step = (high - low) / STEPS;
  double       at   = low;

  PetscFunctionBegin;
  *largest = 0.0;
  for (int i = 0; i <= STEPS; i++) {
    double value = 0.0;

    PetscCall(difference(low + i * step, context, &value));
    if (fabs(value) > *largest) {
      *largest = fabs(value);
      at       = low + i * step;
    }
  }
  PetscCall(Refine(difference, context, PetscMax(low, at - step), PetscMin(high, at + step), largest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DifferenceOfTwo(double x, void *context, double *difference)
{
  FwMixtureDensity *two = context;
  double            tail[2];
  const PetscBool   upper = x > two[0]->mean ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  for (int i = 0; i < 2; i++)
    PetscCall(FwMixtureDensityCumulative(two[i], x, upper ? NULL : &tail[i], upper ? &tail[i] : NULL));
  *difference = tail[1] - tail[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDensityDistance(FwMixtureDensity one, FwMixtureDensity two, double *distance)
{
  FwMixtureDensity both[2] = {one, two};
  const double     reach   = 8.0;

  PetscFunctionBegin;
  PetscCall(FwLargestDifference(
    DifferenceOfTwo, both, PetscMin(one->mean - reach * one->deviation, two->mean - reach * two->deviation),
    PetscMax(one->mean + reach * one->deviation, two->mean + reach * two->deviation), distance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
