/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sums by halves: the error grows with log n, the order depends on n alone.
 */

#include <finwidth/moments.h>

#include <math.h>

/* Sum of (value - centre)^power */
static double Sum(PetscInt n, PetscInt stride, const double value[], double centre, int power)
{
  const PetscInt few = 128, half = n / 2;
  double         sum = 0.0;

  if (n > few)
    return Sum(half, stride, value, centre, power) + Sum(n - half, stride, value + half * stride, centre, power);
  for (PetscInt i = 0; i < n; i++) {
    const double d = value[i * stride] - centre, square = d * d;

    sum += power == 1 ? d : power == 2 ? square : square * square;
  }
  return sum;
}

FwEstimated FwMean(PetscInt n, PetscInt stride, const double value[])
{
  const double mean = Sum(n, stride, value, 0.0, 1) / (double)n;
  const double rest = Sum(n, stride, value, mean, 2);

  return (FwEstimated){.value = mean, .error_bar = n > 1 ? sqrt(rest / ((double)n - 1.0) / (double)n) : NAN};
}

FwEstimated FwVariance(PetscInt n, PetscInt stride, const double value[])
{
  const double mean = Sum(n, stride, value, 0.0, 1) / (double)n;
  const double m2 = Sum(n, stride, value, mean, 2) / (double)n, m4 = Sum(n, stride, value, mean, 4) / (double)n;

  if (n < 2) return (FwEstimated){.value = NAN, .error_bar = NAN};
  return (FwEstimated){.value     = m2 * (double)n / ((double)n - 1.0),
                       .error_bar = sqrt(fmax(0.0, m4 - m2 * m2) / (double)n)};
}
