/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Smooth activations without a closed form, and sin, which has one but not an elementary loop: phi and its first two
 * derivatives; the averages come from the Mehler series.
 *
 * The bandwidth is the frequency beyond which the Fourier transform of phi is below 1e-16 of its size: log(1e16) = 37
 * over the distance of the nearest singularity from the real axis, or from the spectrum itself. It only sets the first
 * guess of the quadrature's step, which checks itself.
 */

#include "activation_impl.h"
#include "elementary.h"
#include <math.h>

static void EvaluateTanh(double z, double jet[3])
{
  const double sech = 1.0 / cosh(z); /* rather than 1 - tanh^2, which cancels */

  jet[0] = tanh(z);
  jet[1] = sech * sech;
  jet[2] = -2.0 * jet[0] * jet[1];
}

FW_VECTOR static void ApplyTanh(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    double decay, share;

    value[i] = Tanh(z[i], &decay, &share);
    slope[i] = 4.0 * decay * share * share;
  }
}

const struct FwActivationImpl FwActivation_Tanh = {
  .name      = "tanh",
  .is_odd    = PETSC_TRUE,
  .apply     = ApplyTanh,
  .evaluate  = EvaluateTanh,
  .bandwidth = 37.0 / M_PI_2, /* poles at +- i pi/2 */
};

static void EvaluateSin(double z, double jet[3])
{
  jet[0] = sin(z);
  jet[1] = cos(z);
  jet[2] = -jet[0];
}

FW_VECTOR static void SineNear(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) value[i] = SineCosine(z[i], &slope[i]);
}

static void ApplySin(PetscInt n, const double *z, double *value, double *slope)
{
  SineNear(n, z, value, slope);
  for (PetscInt i = 0; i < n; i++) {
    if (fabs(z[i]) <= FW_SINE_MAX) continue;
    value[i] = sin(z[i]);
    slope[i] = cos(z[i]);
  }
}

const struct FwActivationImpl FwActivation_Sin = {
  .name      = "sin",
  .is_odd    = PETSC_TRUE,
  .apply     = ApplySin,
  .evaluate  = EvaluateSin,
  .bandwidth = 1.0,
};

static void EvaluateGelu(double z, double jet[3])
{
  const double below   = 0.5 * erfc(-M_SQRT1_2 * z); /* Phi(z), also where it is tiny */
  const double density = 0.5 * M_2_SQRTPI * M_SQRT1_2 * exp(-0.5 * z * z);

  jet[0] = z * below;
  jet[1] = below + z * density;
  jet[2] = (2.0 - z * z) * density;
}

FW_VECTOR static void ApplyGelu(PetscInt n, const double *restrict z, double *restrict value, double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    const double m = M_SQRT1_2 * fabs(z[i]), decay = ExpNegative(-m * m), half = 0.5 * ErfOrErfc(m, decay);
    const double tail = m < 1.0 ? 0.5 - half : half, below = z[i] > 0.0 ? 1.0 - tail : tail;

    value[i] = z[i] * below;
    slope[i] = below + z[i] * (0.5 * M_2_SQRTPI * M_SQRT1_2 * decay);
  }
}

const struct FwActivationImpl FwActivation_Gelu = {
  .name = "gelu", .apply = ApplyGelu, .evaluate = EvaluateGelu, .bandwidth = 9.0, /* spectrum exp(-k^2/2) */
};

static void EvaluateSoftplus(double z, double jet[3])
{
  const double decay = exp(-fabs(z)), share = 1.0 / (1.0 + decay);

  jet[0] = fmax(z, 0.0) + log1p(decay);
  jet[1] = z >= 0.0 ? share : decay * share;
  jet[2] = decay * share * share;
}

FW_VECTOR static void ApplySoftplus(PetscInt n, const double *restrict z, double *restrict value,
                                    double *restrict slope)
{
  for (PetscInt i = 0; i < n; i++) {
    const double decay = ExpNegative(-fabs(z[i])), share = 1.0 / (1.0 + decay);

    value[i] = (z[i] < 0.0 ? 0.0 : z[i]) + LogOnePlus(decay);
    slope[i] = z[i] >= 0.0 ? share : decay * share;
  }
}

const struct FwActivationImpl FwActivation_Softplus = {
  .name      = "softplus",
  .apply     = ApplySoftplus,
  .evaluate  = EvaluateSoftplus,
  .bandwidth = 37.0 / M_PI, /* branch points at +- i pi */
};
