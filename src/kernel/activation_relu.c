/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * phi = max(z, 0) and its leaky form max(z, s z): Cho & Saul 2009. With cos(theta) = rho and r = sqrt(a c),
 *
 *     k = r [sin(theta) + (pi - theta) cos(theta)] / (2 pi),   k_b = (pi - theta) / (2 pi),
 *     k_a = sqrt(c/a) sin(theta) / (4 pi).
 *
 * Since max(z, s z) = s z + (1 - s) max(z, 0), the leaky form has k -> s b + (1 - s)^2 k and likewise its slopes.
 */

#include "activation_impl.h"
#include "arcsine.h"

#define LEAK 0.01

static double Step(double z)
{
  return z > 0.0 ? 1.0 : z < 0.0 ? 0.0 : 0.5;
}

static void EvaluateWith(double s, double z, double jet[3])
{
  jet[0] = z > 0.0 ? z : s * z;
  jet[1] = s + (1.0 - s) * Step(z);
  jet[2] = 0.0;
}

FW_VECTOR_HELPER void ApplyWith(double s, PetscInt n, const double *restrict z, double *restrict value,
                                double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    value[i] = z[i] > 0.0 ? z[i] : s * z[i];
    slope[i] = z[i] > 0.0 ? 1.0 : z[i] < 0.0 ? s : 0.5 * (1.0 + s);
  }
}

FW_VECTOR_HELPER void ValueWith(double s, PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                double *restrict out)
{
  const double *restrict a = row.variance, *restrict root = row.root, *restrict scale = row.scale;
  const double c = column.variance[0], other_root = column.root[0], other_scale = column.scale[0];

  for (PetscInt i = 0; i < n; i++) {
    const double rho  = Correlation(b[i], scale[i] * other_scale);
    const double mean = root[i] * other_root;
    const double r    = a[i] == c ? c : mean; /* so that a repeated point gives a/2 to the last bit */
    const double sine = sqrt((1.0 - rho) * (1.0 + rho));
    const double k    = r * (0.5 * M_1_PI * sine + PositiveShare(rho) * rho);

    out[i] = s * b[i] + (1.0 - s) * (1.0 - s) * k;
  }
}

FW_VECTOR_HELPER void CovarianceWith(double s, PetscInt n, FwPointView row, FwPointView column,
                                     const double *restrict b, double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other           = column.scale[0];

  for (PetscInt i = 0; i < n; i++)
    out[i] = s + (1.0 - s) * (1.0 - s) * PositiveShare(Correlation(b[i], scale[i] * other));
}

/* Diverges like 1/sqrt(a) as a vanishes; 0 at a = 0, where only a da, which vanishes, can meet it */
FW_VECTOR_HELPER void RowVarianceWith(double s, PetscInt n, FwPointView row, FwPointView column,
                                      const double *restrict b, double *restrict out)
{
  const double *restrict scale = row.scale;
  const double other = column.scale[0], other_root = column.root[0];

  for (PetscInt i = 0; i < n; i++) {
    const double rho = Correlation(b[i], scale[i] * other);

    out[i] = (1.0 - s) * (1.0 - s) * 0.25 * M_1_PI * (other_root * scale[i]) * sqrt((1.0 - rho) * (1.0 + rho));
  }
}

static double DiagonalRowVariance(double a)
{
  (void)a;
  return 0.0;
}

static void EvaluateRelu(double z, double jet[3])
{
  EvaluateWith(0.0, z, jet);
}

FW_VECTOR static void ApplyRelu(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  ApplyWith(0.0, n, z, value, slope);
}

static double MeanRelu(double a)
{
  return sqrt(0.5 * M_1_PI * a);
}

static double DiagonalRelu(double a)
{
  return 0.5 * a;
}

static double DiagonalCovarianceRelu(double a)
{
  return a < FW_VARIANCE_TINY ? 0.25 : 0.5;
}

FW_VECTOR static void MapValueRelu(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                   double *restrict out)
{
  ValueWith(0.0, n, row, column, b, out);
}

FW_VECTOR static void MapCovarianceRelu(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                        double *restrict out)
{
  CovarianceWith(0.0, n, row, column, b, out);
}

FW_VECTOR static void MapRowVarianceRelu(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                         double *restrict out)
{
  RowVarianceWith(0.0, n, row, column, b, out);
}

const struct FwActivationImpl FwActivation_Relu = {
  .name     = "relu",
  .apply    = ApplyRelu,
  .evaluate = EvaluateRelu,
  .mean     = MeanRelu,
  .diagonal = {DiagonalRelu, DiagonalCovarianceRelu, DiagonalRowVariance},
  .map      = {MapValueRelu, MapCovarianceRelu,      MapRowVarianceRelu },
};

static void EvaluateLeaky(double z, double jet[3])
{
  EvaluateWith(LEAK, z, jet);
}

FW_VECTOR static void ApplyLeaky(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  ApplyWith(LEAK, n, z, value, slope);
}

static double MeanLeaky(double a)
{
  return (1.0 - LEAK) * MeanRelu(a);
}

static double DiagonalLeaky(double a)
{
  return LEAK * a + (1.0 - LEAK) * (1.0 - LEAK) * DiagonalRelu(a);
}

static double DiagonalCovarianceLeaky(double a)
{
  return LEAK + (1.0 - LEAK) * (1.0 - LEAK) * DiagonalCovarianceRelu(a);
}

FW_VECTOR static void MapValueLeaky(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                    double *restrict out)
{
  ValueWith(LEAK, n, row, column, b, out);
}

FW_VECTOR static void MapCovarianceLeaky(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                         double *restrict out)
{
  CovarianceWith(LEAK, n, row, column, b, out);
}

FW_VECTOR static void MapRowVarianceLeaky(PetscInt n, FwPointView row, FwPointView column, const double *restrict b,
                                          double *restrict out)
{
  RowVarianceWith(LEAK, n, row, column, b, out);
}

const struct FwActivationImpl FwActivation_LeakyRelu = {
  .name     = "leaky-relu",
  .apply    = ApplyLeaky,
  .evaluate = EvaluateLeaky,
  .mean     = MeanLeaky,
  .diagonal = {DiagonalLeaky, DiagonalCovarianceLeaky, DiagonalRowVariance},
  .map      = {MapValueLeaky, MapCovarianceLeaky,      MapRowVarianceLeaky},
};
