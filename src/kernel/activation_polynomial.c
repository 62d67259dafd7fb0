/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * phi = z, with k = b, and phi = z^2, with k = a c + 2 b^2.
 */

#include "activation_impl.h"

static void EvaluateLinear(double z, double jet[3])
{
  jet[0] = z;
  jet[1] = 1.0;
  jet[2] = 0.0;
}

FW_VECTOR static void ApplyLinear(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    value[i] = z[i];
    slope[i] = 1.0;
  }
}

static double DiagonalLinear(double a)
{
  return a;
}

static double DiagonalCovarianceLinear(double a)
{
  (void)a;
  return 1.0;
}

static double DiagonalRowVarianceLinear(double a)
{
  (void)a;
  return 0.0;
}

static void MapValueLinear(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                           double *restrict out)
{
  (void)row;
  (void)column;
  for (PetscInt i = 0; i < n; i++) out[i] = b[i];
}

static void MapCovarianceLinear(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                double *restrict out)
{
  (void)row;
  (void)column;
  (void)b;
  for (PetscInt i = 0; i < n; i++) out[i] = 1.0;
}

static void MapRowVarianceLinear(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                 double *restrict out)
{
  (void)row;
  (void)column;
  (void)b;
  for (PetscInt i = 0; i < n; i++) out[i] = 0.0;
}

const struct FwActivationImpl FwActivation_Linear = {
  .name     = "linear",
  .is_odd   = PETSC_TRUE,
  .apply    = ApplyLinear,
  .evaluate = EvaluateLinear,
  .diagonal = {DiagonalLinear, DiagonalCovarianceLinear, DiagonalRowVarianceLinear},
  .map      = {MapValueLinear, MapCovarianceLinear,      MapRowVarianceLinear     },
};

static void EvaluateQuadratic(double z, double jet[3])
{
  jet[0] = z * z;
  jet[1] = 2.0 * z;
  jet[2] = 2.0;
}

FW_VECTOR static void ApplyQuadratic(PetscInt n, const double *restrict z, double *restrict value,
                                     double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    value[i] = z[i] * z[i];
    slope[i] = 2.0 * z[i];
  }
}

static double MeanQuadratic(double a)
{
  return a;
}

static double DiagonalQuadratic(double a)
{
  return 3.0 * a * a;
}

static double DiagonalCovarianceQuadratic(double a)
{
  return 4.0 * a;
}

static double DiagonalRowVarianceQuadratic(double a)
{
  return a;
}

FW_VECTOR static void MapValueQuadratic(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                        double *restrict out)
{
  const double *restrict a = row.variance;
  const double c           = column.variance[0];

  for (PetscInt i = 0; i < n; i++) out[i] = a[i] * c + 2.0 * b[i] * b[i];
}

static void MapCovarianceQuadratic(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                   double *restrict out)
{
  (void)row;
  (void)column;
  for (PetscInt i = 0; i < n; i++) out[i] = 4.0 * b[i];
}

static void MapRowVarianceQuadratic(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                    double *restrict out)
{
  (void)row;
  (void)b;
  for (PetscInt i = 0; i < n; i++) out[i] = column.variance[0];
}

const struct FwActivationImpl FwActivation_Quadratic = {
  .name     = "quadratic",
  .apply    = ApplyQuadratic,
  .evaluate = EvaluateQuadratic,
  .mean     = MeanQuadratic,
  .diagonal = {DiagonalQuadratic, DiagonalCovarianceQuadratic, DiagonalRowVarianceQuadratic},
  .map      = {MapValueQuadratic, MapCovarianceQuadratic,      MapRowVarianceQuadratic     },
};
