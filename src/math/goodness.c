/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Kolmogorov-Smirnov and Cramer-von Mises tests.
 */

#include <finwidth/goodness.h>

#include <gsl/gsl_sf_bessel.h>
#include <math.h>

/* --- laws of the statistics --------------------------------------------------------------------------------- */

/* Two forms of one theta function: each converges fast where the other does not */
double FwKolmogorovSurvival(double x)
{
  double sum = 0.0;

  if (x <= 0.0) return 1.0;
  if (x < 1.0) {
    for (int k = 1; k < 20; k += 2) sum += exp(-k * k * M_PI * M_PI / (8.0 * x * x));
    return 1.0 - sqrt(2.0 * M_PI) / x * sum;
  }
  for (int k = 1; k < 20; k++) sum += (k % 2 ? 2.0 : -2.0) * exp(-2.0 * k * k * x * x);
  return sum;
}

/* Anderson and Darling 1952, eq. 4.35 */
static double CramerCumulative(double x)
{
  double sum = 0.0, coefficient = 1.0; /* Gamma(k + 1/2) / (Gamma(1/2) k!) */

  for (int k = 0; k < 40; k++) {
    const double root = 4.0 * k + 1.0, z = root * root / (16.0 * x);

    if (z > 350.0) break; /* below the smallest double */
    sum += coefficient * sqrt(root) * exp(-2.0 * z) * gsl_sf_bessel_Knu_scaled(0.25, z);
    coefficient *= (k + 0.5) / (k + 1.0);
  }
  return sum / (M_PI * sqrt(x));
}

/* Far out, the first pole of the characteristic function prod (1 - 2it / (k pi)^2)^(-1/2): the chi-square of k = 1 with
   the others at its exponent, prod_{k >= 2} (1 - 1/k^2)^(-1/2) = sqrt 2 */
static double CramerTail(double x)
{
  return M_SQRT2 * erfc(M_PI * sqrt(0.5 * x));
}

double FwCramerSurvival(double x)
{
  const double far = 3.0; /* p = 8e-8: the tail form is right to 1 % from here on */

  if (x <= 0.0) return 1.0;
  return x < far ? 1.0 - CramerCumulative(x) : CramerTail(x);
}

/* --- one set ------------------------------------------------------------------------------------------------- */

static FwGoodness KolmogorovOf(double distance, double n)
{
  return (FwGoodness){.statistic = distance,
                      .p_value   = FwKolmogorovSurvival((sqrt(n) + 0.12 + 0.11 / sqrt(n)) * distance)};
}

FwGoodness FwKolmogorov(PetscInt n, const double cumulative[])
{
  double distance = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    const double below = cumulative[i] - (double)i / (double)n, above = (double)(i + 1) / (double)n - cumulative[i];

    distance = fmax(distance, fmax(below, above));
  }
  return KolmogorovOf(distance, (double)n);
}

FwGoodness FwCramer(PetscInt n, const double cumulative[])
{
  double w = 1.0 / (12.0 * (double)n);

  for (PetscInt i = 0; i < n; i++) w += pow(cumulative[i] - ((double)i + 0.5) / (double)n, 2);
  return (FwGoodness){
    .statistic = w,
    .p_value   = FwCramerSurvival((w - 0.4 / (double)n + 0.6 / (double)n / (double)n) * (1.0 + 1.0 / (double)n))};
}

/* --- two sets ------------------------------------------------------------------------------------------------ */

FwGoodness FwKolmogorovTwo(PetscInt n, const double x[], PetscInt m, const double y[])
{
  double distance = 0.0;

  for (PetscInt i = 0, j = 0; i < n && j < m;) {
    const double at = fmin(x[i], y[j]);

    while (i < n && x[i] <= at) i++;
    while (j < m && y[j] <= at) j++;
    distance = fmax(distance, fabs((double)i / (double)n - (double)j / (double)m));
  }
  return KolmogorovOf(distance, (double)n * (double)m / ((double)n + (double)m));
}

/* Anderson 1962, with the statistic shifted and scaled to the mean and variance of its limit */
FwGoodness FwCramerTwo(PetscInt n, const double x[], PetscInt m, const double y[])
{
  const double a = (double)n, b = (double)m, all = a + b;
  double       u = 0.0;
  PetscInt     i = 0, j = 0;

  while (i < n || j < m) {
    const PetscBool from_x = j >= m || (i < n && x[i] <= y[j]) ? PETSC_TRUE : PETSC_FALSE;
    const double    rank = (double)(i + j) + 1.0, own = from_x ? (double)i + 1.0 : (double)j + 1.0;

    u += (from_x ? a : b) * (rank - own) * (rank - own);
    if (from_x)
      i++;
    else
      j++;
  }
  const double t    = u / (a * b * all) - (4.0 * a * b - 1.0) / (6.0 * all);
  const double mean = (1.0 + 1.0 / all) / 6.0;
  const double variance =
    (all + 1.0) / (45.0 * all * all) * (4.0 * a * b * all - 3.0 * (a * a + b * b) - 2.0 * a * b) / (4.0 * a * b);

  return (FwGoodness){.statistic = t, .p_value = FwCramerSurvival((t - mean) / sqrt(45.0 * variance) + 1.0 / 6.0)};
}
