/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * phi = sign(z), sign(0) = 0:
 *
 *     k = (2/pi) asin(rho),   k_b = (2/pi) / sqrt(a c - b^2),   k_a = -(b/a) k_b / 2.
 *
 * Both slopes are infinite at |rho| = 1. Where a variance is zero phi is zero, and so are k and its slopes.
 */

#include "activation_impl.h"
#include "arcsine.h"

static void Evaluate(double z, double jet[3])
{
  jet[0] = (double)((z > 0.0) - (z < 0.0));
  jet[1] = 0.0;
  jet[2] = 0.0;
}

FW_VECTOR static void Apply(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    value[i] = z[i] > 0.0 ? 1.0 : z[i] < 0.0 ? -1.0 : z[i];
    slope[i] = 0.0;
  }
}

static double Diagonal(double a)
{
  return a < FW_VARIANCE_TINY ? 0.0 : 1.0;
}

static double DiagonalCovariance(double a)
{
  return a < FW_VARIANCE_TINY ? 0.0 : INFINITY;
}

static double DiagonalRowVariance(double a)
{
  return a < FW_VARIANCE_TINY ? 0.0 : -INFINITY;
}

FW_VECTOR static void MapValue(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                               double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other           = column.scale[0];

  for (PetscInt i = 0; i < n; i++) out[i] = ArcsineFraction(Correlation(b[i], scale[i] * other));
}

FW_VECTOR static void MapCovariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                    double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other           = column.scale[0];

  for (PetscInt i = 0; i < n; i++) {
    const double rho = Correlation(b[i], scale[i] * other);

    out[i] = M_2_PI * (scale[i] * other) / sqrt((1.0 - rho) * (1.0 + rho));
  }
}

/* rho = 0 / 0 cannot occur: where rho = +-1 the numerator is not zero */
FW_VECTOR static void MapRowVariance(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                     double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other           = column.scale[0];

  for (PetscInt i = 0; i < n; i++) {
    const double rho = Correlation(b[i], scale[i] * other);

    out[i] = -M_1_PI * (scale[i] * scale[i]) * rho / sqrt((1.0 - rho) * (1.0 + rho));
  }
}

const struct FwActivationImpl FwActivation_Sign = {
  .name     = "sign",
  .is_odd   = PETSC_TRUE,
  .apply    = Apply,
  .evaluate = Evaluate,
  .diagonal = {Diagonal, DiagonalCovariance, DiagonalRowVariance},
  .map      = {MapValue, MapCovariance,      MapRowVariance     },
};
