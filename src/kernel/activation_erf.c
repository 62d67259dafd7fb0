/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * phi = erf: Williams 1997. With A = 1 + 2a, C = 1 + 2c and D^2 = A C - 4 b^2,
 *
 *     k = (2/pi) asin(2b / sqrt(A C)),   k_b = (4/pi) / D,   k_a = -(4/pi) b / (A D).
 */

#include "activation_impl.h"
#include "arcsine.h"
#include "elementary.h"

static void Evaluate(double z, double jet[3])
{
  jet[0] = erf(z);
  jet[1] = M_2_SQRTPI * exp(-z * z);
  jet[2] = -2.0 * z * jet[1];
}

FW_VECTOR static void Apply(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    const double m = fabs(z[i]), decay = ExpNegative(-m * m), part = ErfOrErfc(m, decay);

    value[i] = copysign(m < 1.0 ? part : 1.0 - part, z[i]);
    slope[i] = M_2_SQRTPI * decay;
  }
}

static double Scale(double a)
{
  return 1.0 / sqrt(1.0 + 2.0 * a);
}

static double Diagonal(double a)
{
  return M_2_PI * atan2(2.0 * a, sqrt(1.0 + 4.0 * a)); /* asin(2a / (1 + 2a)), without the cancellation at large a */
}

static double DiagonalCovariance(double a)
{
  return 2.0 * M_2_PI / sqrt(1.0 + 4.0 * a);
}

static double DiagonalRowVariance(double a)
{
  return -2.0 * M_2_PI * a / ((1.0 + 2.0 * a) * sqrt(1.0 + 4.0 * a));
}

FW_VECTOR static void MapValue(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                               double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other           = column.scale[0];

  for (PetscInt i = 0; i < n; i++) {
    const double x     = 2.0 * b[i] * (scale[i] * other);
    const double upper = x > 1.0 ? 1.0 : x;

    out[i] = ArcsineFraction(upper < -1.0 ? -1.0 : upper);
  }
}

/* D, as the sum of what is positive */
FW_VECTOR_HELPER double Root(double a, double b, double c)
{
  const double determinant = a * c - b * b;

  return sqrt(1.0 + 2.0 * (a + c) + 4.0 * (determinant > 0.0 ? determinant : 0.0));
}

FW_VECTOR static void MapCovariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                    double *restrict out)
{
  const double *restrict a = row.variance;
  const double c           = column.variance[0];

  for (PetscInt i = 0; i < n; i++) out[i] = 2.0 * M_2_PI / Root(a[i], b[i], c);
}

FW_VECTOR static void MapRowVariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                     double *restrict out)
{
  const double *restrict a = row.variance;
  const double c           = column.variance[0];

  for (PetscInt i = 0; i < n; i++) out[i] = -2.0 * M_2_PI * b[i] / ((1.0 + 2.0 * a[i]) * Root(a[i], b[i], c));
}

const struct FwActivationImpl FwActivation_Erf = {
  .name     = "erf",
  .is_odd   = PETSC_TRUE,
  .apply    = Apply,
  .evaluate = Evaluate,
  .scale    = Scale,
  .diagonal = {Diagonal, DiagonalCovariance, DiagonalRowVariance},
  .map      = {MapValue, MapCovariance,      MapRowVariance     },
};
