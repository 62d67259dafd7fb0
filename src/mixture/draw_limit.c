/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Exact draws of the limit law, O(1) numbers each.
 *
 * D = 1: log Q ~ N(-a, 2a). D = 2: Q = e^g [cosh r 1 + sinh r (cos 2t, sin 2t; sin 2t, -cos 2t)] with g ~ N(-3a/2, a), t
 * uniform on (0, pi), and r the radius of hyperbolic Brownian motion: cosh r = cosh s - V^2 (cosh s - 1), s the length of
 * a normal vector in space with mean (a/2, 0, 0) and variances a, V uniform.
 */

#include "mixture_impl.h"

#include <math.h>

static void Normal(uint64_t seed, uint64_t coordinate, uint64_t first, double value[])
{
  FwStreamNormalBulk(FwStreamCreate(seed, FW_RANDOM_MIXTURE_LIMIT, coordinate, 0, 0), first, BATCH, value);
}

static void Uniform(uint64_t seed, uint64_t coordinate, uint64_t first, double value[])
{
  FwStreamUniformBulk(FwStreamCreate(seed, FW_RANDOM_MIXTURE_LIMIT, coordinate, 0, 0), first, BATCH, value);
}

static void LimitOne(double a, uint64_t seed, uint64_t first, FwRoots *roots)
{
  Normal(seed, 0, first, roots->x);
  for (int b = 0; b < BATCH; b++) roots->x[b] = -0.5 * a + sqrt(0.5 * a) * roots->x[b];
}

/* 1 - V^2 = (cosh r - 1) / (cosh s - 1) = (sinh(r/2) / sinh(s/2))^2 */
static double Radius(double s, double v)
{
  return 2.0 * asinh(sqrt((1.0 - v) * (1.0 + v)) * sinh(0.5 * s));
}

/* Q_11 = e^(g+r) (cos^2 t + e^-2r sin^2 t), Q_12 = e^(g+r) (1 - e^-2r) sin t cos t, log det Q = 2g */
static void RootTwo(double g, double r, double angle, double *x1, double *x2, double *m21)
{
  const double c = cos(angle), s = sin(angle), ratio = exp(-2.0 * r), first = c * c + ratio * s * s;

  *x1  = 0.5 * (g + r + log(first));
  *x2  = g - *x1;
  *m21 = -expm1(-2.0 * r) * s * c / first;
}

static void LimitTwo(double a, uint64_t seed, uint64_t first, FwRoots *roots)
{
  double normal[4][BATCH], uniform[2][BATCH];

  for (uint64_t c = 0; c < 4; c++) Normal(seed, c, first, normal[c]);
  for (uint64_t c = 0; c < 2; c++) Uniform(seed, 4 + c, first, uniform[c]);
  for (int b = 0; b < BATCH; b++) {
    const double g = -1.5 * a + sqrt(a) * normal[0][b], e = 0.5 * a + sqrt(a) * normal[1][b];
    const double s = sqrt(e * e + a * (normal[2][b] * normal[2][b] + normal[3][b] * normal[3][b]));

    RootTwo(g, Radius(s, uniform[0][b]), M_PI * uniform[1][b], &roots->x[b], &roots->x[BATCH + b], &roots->m[b]);
  }
}

void FwLimitDraw(const FwMixtureLaw *law, uint64_t seed, uint64_t first, FwRoots *roots)
{
  (law->n_output == 1 ? LimitOne : LimitTwo)(law->a, seed, first, roots);
}
