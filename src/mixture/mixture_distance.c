/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How far a law of finite widths is from its limit, to first order in 1/N: F_N - F = -d_1 f + d_2/2 f' - d_3/6 f'' with the
 * differences d of the cumulants and the density f of the limit.
 */

#include "density_impl.h"

#include <math.h>

/* What is left of the widths beside those that the limit keeps */
typedef struct {
  double inverse, inverse_squares; /* sums of 1/N and 1/N^2 */
  double largest;                  /* 1/N */
} Rest;

static PetscInt Count(const FwMixtureLaw *law, double width)
{
  PetscInt n = 0;

  for (PetscInt l = 0; l < law->n_width; l++) n += law->width[l] == width;
  return n;
}

/* False where the limit has a layer that the network lacks */
static PetscBool FindRest(const FwMixtureLaw *finite, const FwMixtureLaw *limit, Rest *rest)
{
  *rest = (Rest){.inverse = 0.0};
  for (PetscInt l = 0; l < limit->n_width; l++) {
    if (Count(limit, limit->width[l]) > Count(finite, limit->width[l])) return PETSC_FALSE;
    rest->inverse -= 1.0 / limit->width[l];
    rest->inverse_squares -= 1.0 / (limit->width[l] * limit->width[l]);
  }
  for (PetscInt l = 0; l < finite->n_width; l++) {
    const double width = finite->width[l];

    rest->inverse += 1.0 / width;
    rest->inverse_squares += 1.0 / (width * width);
    if (width * rest->largest < 1.0 && Count(finite, width) > Count(limit, width)) rest->largest = 1.0 / width;
  }
  return PETSC_TRUE;
}

/* Differences of the cumulants of rows 0 .. n_row - 1 together */
static void Differences(const Rest *rest, double a, PetscInt n_row, double d[3])
{
  const double excess = rest->inverse - a;

  d[0] = d[1] = d[2] = 0.0;
  for (PetscInt k = 0; k < n_row; k++) {
    const double i = (double)k;

    d[0] -= rest->inverse_squares * (0.5 * i * i + i + 1.0 / 3.0) + excess * (i + 1.0);
    d[1] += 2.0 * rest->inverse_squares * (i + 1.0) + 2.0 * excess;
    d[2] -= 4.0 * rest->inverse_squares;
  }
}

/* f and f' at x */
static PetscErrorCode Slope(FwMixtureDensity density, double x, double *f, double *slope)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureDensityEvaluate(density, x, f, slope));
  *f = exp(*f);
  *slope *= *f;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Largest(FwMixtureDensity density, const double d[3], double *largest)
{
  enum { POINTS = 400 };
  const double reach = 5.0, little = 1e-3; /* deviations */
  double       mean, variance;

  PetscFunctionBegin;
  PetscCall(FwMixtureDensityMoments(density, &mean, &variance));
  *largest = 0.0;
  for (int i = -POINTS; i <= POINTS; i++) {
    const double s = sqrt(variance), x = mean + s * reach * i / POINTS;
    double       f[3], slope[3];

    for (int k = 0; k < 3; k++) PetscCall(Slope(density, x + little * s * (k - 1), &f[k], &slope[k]));
    const double second = (slope[2] - slope[0]) / (2.0 * little * s);

    *largest = fmax(*largest, fabs(-d[0] * f[1] + 0.5 * d[1] * slope[1] - d[2] / 6.0 * second));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDistanceFirstOrder(const FwMixtureLaw *finite, const FwMixtureLaw *limit,
                                           FwMixtureVariable variable, double *distance)
{
  const PetscInt   n_row = variable == FW_MIXTURE_LOG_DET ? finite->n_output : 1;
  FwMixtureDensity density;
  Rest             rest;
  double           d[3];

  PetscFunctionBegin;
  *distance = NAN;
  if (!FindRest(finite, limit, &rest) || !(FwMixtureLawA(limit) > 0.0)) PetscFunctionReturn(PETSC_SUCCESS);
  if (fabs(rest.inverse - limit->a) > rest.largest) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; l < finite->n_width; l++)
    if (finite->width[l] < (double)n_row) PetscFunctionReturn(PETSC_SUCCESS);
  Differences(&rest, limit->a, n_row, d);
  PetscCall(FwMixtureDensityCreate(limit, variable, &density));
  PetscCall(Largest(density, d, distance));
  PetscCall(FwMixtureDensityDestroy(&density));
  PetscFunctionReturn(PETSC_SUCCESS);
}
