/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * phi = min(max(z, -1), 1), by Plackett's formula. With h = 1/sqrt(a), g = 1/sqrt(c), S(x) = erf(x / sqrt 2) the weight
 * between -x and x of a standard normal variable, and p the joint density of u and v,
 *
 *     dk_b/db = <phi''(u) phi''(v)> = 2 p(1, 1) - 2 p(1, -1),   k_b = S(h) S(g) at b = 0,   k = int_0^b k_b db',
 *
 * so that with b' = sqrt(a c) sin(theta), for 0 <= rho,
 *
 *     k_b = S(h) S(g) + (1/pi) int_0^{asin rho} f d theta,
 *     k   = b S(h) S(g) + (sqrt(a c)/pi) int_0^{asin rho} (rho - sin theta) f d theta,
 *     f   = exp(-(h - g)^2 / (2 cos^2 theta) - h g / (1 + sin theta)) [1 - exp(-2 h g sin theta / cos^2 theta)];
 *     k_a = -p_u(1) <phi(v) | u = 1>, which is elementary.
 *
 * f has layers of width |h - g| and sqrt(h g) at theta = pi/2. In y = atanh(sin theta) they are of width one, and
 * everything is analytic for |Im y| < pi/4 whatever h and g: Gauss's rule of 16 points on pieces of at most 1.5 leaves
 * 3e-15 of the largest k and k_b there are. All terms are positive, so that no digits cancel at any variance.
 */

#include "activation_impl.h"
#include "elementary.h"

#define SQRT_2_PI  0x1.40d931ff62706p1 /* sqrt(2 pi) */
#define PIECE      1.5
#define SATURATED  40.0 /* S there is 1, and the density 0 */
#define NARROW     9.0  /* where the density of a normal variable is below 1e-17 */
#define WIDE       1e3  /* a spread beyond which phi is a sign with a correction */
#define SPREAD_MIN 1e-150

enum { N_NODE = 16, N_SERIES = 14 };

/* Gauss and Legendre's rule on [0, 1] */
static const double node[N_NODE] = {
  5.29953250417503074e-03, 2.77124884633836999e-02, 6.71843988060841224e-02, 1.22297795822498501e-01,
  1.91061877798678115e-01, 2.70991611171386315e-01, 3.59198224610370542e-01, 4.52493745081181287e-01,
  5.47506254918818769e-01, 6.40801775389629458e-01, 7.29008388828613629e-01, 8.08938122201321885e-01,
  8.77702204177501555e-01, 9.32815601193915933e-01, 9.72287511536616300e-01, 9.94700467495824969e-01};
static const double weight[N_NODE] = {
  1.35762297058770187e-02, 3.11267619693238531e-02, 4.75792558412462957e-02, 6.23144856277670148e-02,
  7.47979944082883819e-02, 8.45782596975013096e-02, 9.13017075224618058e-02, 9.47253052275342927e-02,
  9.47253052275342927e-02, 9.13017075224618058e-02, 8.45782596975013096e-02, 7.47979944082883819e-02,
  6.23144856277670148e-02, 4.75792558412462957e-02, 3.11267619693238531e-02, 1.35762297058770187e-02};

static void Evaluate(double z, double jet[3])
{
  const double size = fabs(z);

  jet[0] = z > 1.0 ? 1.0 : z < -1.0 ? -1.0 : z;
  jet[1] = size < 1.0 ? 1.0 : size > 1.0 ? 0.0 : 0.5;
  jet[2] = 0.0;
}

FW_VECTOR static void Apply(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    const double size = fabs(z[i]);

    value[i] = z[i] > 1.0 ? 1.0 : z[i] < -1.0 ? -1.0 : z[i];
    slope[i] = size < 1.0 ? 1.0 : size > 1.0 ? 0.0 : 0.5;
  }
}

FW_VECTOR_HELPER double Density(double x)
{
  return ExpNegative(-0.5 * x * x) / SQRT_2_PI;
}

/* S(x) for x >= 0, and 1 - S(x) */
FW_VECTOR_HELPER double Inside(double x, double *outside)
{
  const double m = M_SQRT1_2 * x, part = ErfOrErfc(m, ExpNegative(-0.5 * x * x));

  *outside = m < 1.0 ? 1.0 - part : part;
  return m < 1.0 ? part : 1.0 - part;
}

/* 1 - exp(-x) for x >= 0 */
FW_VECTOR_HELPER double Gap(double x)
{
  double       decay, share;
  const double t = Tanh(0.5 * x, &decay, &share);

  return t * (1.0 + decay);
}

/* --- one variable, or two that are parallel ------------------------------------------------------------------ */

/* <z^2; |z| < x> = S(x) - 2 x density(x), for x < 1 by the series of the incomplete gamma function */
FW_VECTOR_HELPER double SecondMomentInside(double x)
{
  double outside, sum = 1.0;

  if (x >= 1.0) return Inside(x, &outside) - 2.0 * x * Density(x);
  for (int n = N_SERIES; n > 0; n--) sum = 1.0 + x * x * sum / (2 * n + 3);
  return 2.0 / 3.0 * x * x * x * Density(x) * sum;
}

/* k of u = z / h and v = z / g */
FW_VECTOR_HELPER double ValueParallel(double h, double g)
{
  const double near = h < g ? h : g, far = h < g ? g : h;
  double       beyond;

  (void)Inside(far, &beyond);
  return SecondMomentInside(near) / (h * g) + 2.0 / far * Density(near) * Gap(0.5 * (far - near) * (far + near)) +
         beyond;
}

static double Diagonal(double a)
{
  const double h = 1.0 / sqrt(a);

  return a < FW_VARIANCE_TINY ? a : ValueParallel(h, h);
}

static double DiagonalCovariance(double a)
{
  double outside;

  return a < FW_VARIANCE_TINY ? 1.0 : Inside(1.0 / sqrt(a), &outside);
}

static double DiagonalRowVariance(double a)
{
  return a < FW_VARIANCE_TINY ? 0.0 : -Density(1.0 / sqrt(a)) / sqrt(a);
}

/* --- value and slope in b ------------------------------------------------------------------------------------ */

/* One pair of points, rho >= 0 */
typedef struct {
  double h, g, rho;
} Pair;

/* log x for 1 <= x < infinity */
FW_VECTOR_HELPER double Log(double x)
{
  const uint64_t bits = BitsOf(x), one = UINT64_C(1023) << 52, fraction = (UINT64_C(1) << 52) - 1;

  return M_LN2 * ((int)(bits >> 52) - 1023) + LogOnePlus(FromBits((bits & fraction) | one) - 1.0);
}

/* (1/pi) int f d theta, and *moment = (1/pi) int (rho - sin theta) f d theta. At y, with q = exp(-2y): sin theta is
   (1 - q) / (1 + q) and cos^2 theta is 4q / (1 + q)^2; `last` is q at rho. */
FW_VECTOR_HELPER double Integrate(Pair at, double *moment)
{
  const double last = (1.0 - at.rho) / (1.0 + at.rho), length = 0.5 * Log((1.0 + at.rho) / (1.0 - at.rho));
  const int    n_piece = 1 + (int)(length / PIECE);
  const double step = length / n_piece, product = at.h * at.g, apart = at.h - at.g;
  double       zeroth[N_NODE] = {0}, first[N_NODE] = {0}, sum[2] = {0};

  for (int piece = 0; piece < n_piece; piece++)
    for (int j = 0; j < N_NODE; j++) {
      const double root = ExpNegative(-step * (piece + node[j])), q = root * root, up = 1.0 + q, wide = up / q;
      const double bell = ExpNegative(-0.125 * apart * apart * up * wide - 0.5 * product * up);
      const double term = weight[j] * bell * Gap(0.5 * product * (1.0 - q) * wide) * root / up;

      zeroth[j] += term;
      first[j] += term * (q - last) / up;
    }
  for (int j = 0; j < N_NODE; j++) sum[0] += zeroth[j], sum[1] += first[j];
  *moment = 2.0 * M_2_PI * step * sum[1] / (1.0 + last);
  return M_2_PI * step * sum[0];
}

/* rho >= 0, and h = infinity for a variance of zero */
FW_VECTOR_HELPER Pair PairOf(double scale, double other, double rho)
{
  return (Pair){scale > 0.0 ? scale : HUGE_VAL, other > 0.0 ? other : HUGE_VAL, fabs(rho)};
}

FW_VECTOR_HELPER int HasIntegral(Pair at)
{
  return at.h < NARROW && at.g < NARROW;
}

FW_VECTOR static void MapValue(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                               double *restrict out)
{
  for (PetscInt i = 0; i < n; i++) {
    const double rho = Correlation(b[i], row.scale[i] * column.scale[0]);
    const Pair   at  = PairOf(row.scale[i], column.scale[0], rho);
    double       outside, moment;

    if (at.rho == 1.0) {
      out[i] = copysign(ValueParallel(at.h, at.g), b[i]);
      continue;
    }
    out[i] = b[i] * (Inside(at.h, &outside) * Inside(at.g, &outside));
    if (!HasIntegral(at)) continue;
    (void)Integrate(at, &moment);
    out[i] += copysign(row.root[i] * column.root[0] * moment, b[i]);
  }
}

FW_VECTOR static void MapCovariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                    double *restrict out)
{
  for (PetscInt i = 0; i < n; i++) {
    const Pair at = PairOf(row.scale[i], column.scale[0], Correlation(b[i], row.scale[i] * column.scale[0]));
    double     outside, moment;

    if (at.rho == 1.0) {
      out[i] = Inside(at.h < at.g ? at.h : at.g, &outside);
      continue;
    }
    out[i] = Inside(at.h, &outside) * Inside(at.g, &outside);
    if (HasIntegral(at)) out[i] += Integrate(at, &moment);
  }
}

/* --- slope in the row's variance ----------------------------------------------------------------------------- */

/* S(x) for any sign */
FW_VECTOR_HELPER double SignedInside(double x)
{
  double outside;

  return copysign(Inside(fabs(x), &outside), x);
}

FW_VECTOR_HELPER double Bounded(double x)
{
  const double upper = x > SATURATED ? SATURATED : x;

  return upper < -SATURATED ? -SATURATED : upper;
}

/* <phi(v)> of v with a mean >= 0: with alpha = (1 - mean) / spread and beta = (1 + mean) / spread the closed form, and
   S(mean / spread), averaged over a window of 2 / spread, where the closed form cancels */
FW_VECTOR_HELPER double MeanOf(double mean, double spread)
{
  const double alpha = Bounded((1.0 - mean) / spread), beta = Bounded((1.0 + mean) / spread);
  const double below = SignedInside(alpha), above = SignedInside(beta);
  const double closed = 0.5 * mean * (below + above) + 0.5 * (above - below) -
                        spread * Density(alpha) * Gap(2.0 * mean / (spread * spread));
  const double m      = Bounded(mean / spread);
  const double smooth = SignedInside(m) - m * Density(m) / (3.0 * spread * spread);

  return spread < WIDE ? closed : smooth;
}

FW_VECTOR static void MapRowVariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                     double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other = column.scale[0], root = column.root[0];

  for (PetscInt i = 0; i < n; i++) {
    const double rho    = Correlation(b[i], scale[i] * other);
    const double spread = root * sqrt((1.0 - rho) * (1.0 + rho));
    const double mean   = MeanOf(fabs(rho) * root * scale[i], spread > SPREAD_MIN ? spread : SPREAD_MIN);

    out[i] = -copysign(scale[i] * Density(scale[i]) * mean, rho);
  }
}

const struct FwActivationImpl FwActivation_Hardtanh = {
  .name     = "hardtanh",
  .is_odd   = PETSC_TRUE,
  .apply    = Apply,
  .evaluate = Evaluate,
  .diagonal = {Diagonal, DiagonalCovariance, DiagonalRowVariance},
  .map      = {MapValue, MapCovariance,      MapRowVariance     },
};
