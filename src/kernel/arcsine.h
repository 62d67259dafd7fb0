/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * asin without a branch and without the mathematics library, so that loops vectorise and give the same bits at every
 * vector width.
 *
 * With m = |x|: z = m^2 up to m = 1/2 and z = (1 - m) / 2 above, where asin m = pi/2 - 2 asin(sqrt z);
 * asin s = s + s z p(z) for z = s^2 <= 1/4, p of degree 11 (relative error of the fit below 1e-17). Within 4 ulp as a fraction of pi/2.
 */

#include <finwidth/vector.h>

#include <math.h>

/* asin(sqrt z) for 0 <= z <= 1/4, s = sqrt z; p by Estrin's scheme, whose short chains the vector unit can overlap */
FW_VECTOR_HELPER double ArcsineReduced(double s, double z)
{
  const double z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
  const double p01 = 1.66666666666666491e-01 + 7.50000000002076367e-02 * z;
  const double p23 = 4.46428571034246727e-02 + 3.03819473670552953e-02 * z;
  const double p45 = 2.23720476327734230e-02 + 1.73552599402829674e-02 * z;
  const double p67 = 1.39296530568989736e-02 + 1.18754933482115247e-02 * z;
  const double p89 = 7.80295407957340339e-03 + 1.60355012759392651e-02 * z;
  const double pab = -1.07490288649557068e-02 + 2.81692025375310691e-02 * z;
  const double low = (p01 + p23 * z2) + (p45 + p67 * z2) * z4;

  return s + s * z * (low + (p89 + pab * z2) * z8);
}

/* asin of the reduced argument of x, -1 <= x <= 1; `*is_large` says which of the two reductions it was */
FW_VECTOR_HELPER double ArcsineHalf(double x, int *is_large)
{
  const double m = fabs(x), far = 0.5 * (1.0 - m), root = sqrt(far);

  *is_large = m > 0.5;
  return ArcsineReduced(*is_large ? root : m, *is_large ? far : m * m);
}

/** asin(x) / (pi/2), exactly -1 and 1 at the ends. */
FW_VECTOR_HELPER double ArcsineFraction(double x)
{
  int          is_large;
  const double half = ArcsineHalf(x, &is_large);

  return copysign(is_large ? 1.0 - 2.0 * M_2_PI * half : M_2_PI * half, x);
}

/** (pi - acos x) / (2 pi), exactly 0 and 1/2 at the ends: the share of directions on the positive side of both of two
 *  vectors of cosine x. */
FW_VECTOR_HELPER double PositiveShare(double x)
{
  int          is_large;
  const double half = ArcsineHalf(x, &is_large);
  const double end  = M_1_PI * half;

  return is_large ? (x > 0.0 ? 0.5 - end : end) : 0.25 + copysign(0.5 * end, x);
}
