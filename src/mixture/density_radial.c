/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Two outputs: the joint density of g = log det Q / 2 and r = log(q_1 / q_2) / 2, and the law of r.
 *
 * With f the density of sum_l log(Gamma(N_l/2 - 1/4) / (N_l/2)) and the normal N(-3a/2, 2a) of the limit factor, and A the
 * density of the difference of two such variables, (g, s) has the density 8 C sinh(s/2) [f'(g-s) f(g+s) - f(g-s) f'(g+s)],
 * s the marginal density -16 C sinh(s/2) A'(2s), and P(R > r | s) = sqrt((cosh s - cosh r) / (cosh s - 1)). In
 * s^2 = r^2 + w^2, where cosh s - cosh r = w^2 h(s, r) with h > 0 and smooth,
 *
 *     p(g, r)  = 2 sqrt(2) C sinh r int_0^inf [f'(g-s) f(g+s) - f(g-s) f'(g+s)] / (s sqrt(h)) dw,
 *     P(R > r) = 8 sqrt(2) C int_0^inf -A'(2s) / s  sqrt(h) w^2 dw:
 *
 * even and analytic in w, so that the trapezoid rule converges like the exponential of 1/step.
 */

#include "density_impl.h"

#include <math.h>

enum { HALVINGS_MAX = 12, NODE_MAX = 100000 };

static const double nothing = -5000.0; /* logarithm of a density */
static const double no_tail = -230.0;  /* logarithm of a probability */

struct FwMixtureRadialImpl {
  FwMixtureDensity f, difference; /* densities f and A */
  double           log_scale;     /* log C */
  double           mean_g, variance_g;
  double           step; /* of w, to begin with */
  double           end;  /* of r: no probability beyond */
};

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateSums(const FwMixtureLaw *law, FwMixtureRadial radial)
{
  FwGammaSum f, difference;
  double     mean, variance;

  PetscFunctionBegin;
  PetscCall(FwGammaSumCreate(law->n_width, &f));
  PetscCall(FwGammaSumCreate(2 * law->n_width, &difference));
  for (PetscInt l = 0; l < law->n_width; l++) {
    FwGammaSumAdd(&f, law->width[l], 0.25, 1);
    FwGammaSumAdd(&difference, law->width[l], 0.25, 1);
    FwGammaSumAdd(&difference, law->width[l], 0.25, -1);
  }
  f.drift += -1.5 * law->a;
  f.variance += 2.0 * law->a;
  difference.variance += 4.0 * law->a;
  FwGammaSumMoments(&f, &mean, &variance);
  radial->step = PetscMin(1.0, 0.5 * sqrt(variance));
  radial->end  = 0.5 * FwGammaSumEnd(&difference, 0.25, PETSC_TRUE, no_tail); /* sqrt(h) grows like e^(2s/4) */
  PetscCall(FwMixtureDensityFromSum(&f, &radial->f));
  PetscCall(FwMixtureDensityFromSum(&difference, &radial->difference));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* log C, C = prod_l Gamma(N_l/2 - 1/4)^2 / (Gamma(N_l/2) Gamma((N_l - 1)/2)) exp(-a/8) */
static double LogScale(const FwMixtureLaw *law)
{
  double sum = -law->a / 8.0;

  for (PetscInt l = 0; l < law->n_width; l++) {
    const double shape = 0.5 * law->width[l] - 0.25;

    sum -= FwLogGammaRatio(shape, 0.25) + FwLogGammaRatio(shape, -0.25);
  }
  return sum;
}

PetscErrorCode FwMixtureRadialCreate(const FwMixtureLaw *law, FwMixtureRadial *radial)
{
  FwMixtureDensity log_det;

  PetscFunctionBegin;
  PetscCheck(law->n_output == 2, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the law of the eigenvalues of Q is explicit for two outputs, not for %" PetscInt_FMT, law->n_output);
  PetscCall(FwMixtureDensityCreate(law, FW_MIXTURE_LOG_DET, &log_det)); /* checks the widths, too */
  PetscCall(PetscNew(radial));
  PetscCall(FwMixtureDensityMoments(log_det, &(*radial)->mean_g, &(*radial)->variance_g));
  (*radial)->mean_g *= 0.5;
  (*radial)->variance_g *= 0.25;
  PetscCall(FwMixtureDensityDestroy(&log_det));
  PetscCall(CreateSums(law, *radial));
  (*radial)->log_scale = LogScale(law);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureRadialMoments(FwMixtureRadial radial, double *mean_g, double *variance_g)
{
  PetscFunctionBegin;
  *mean_g     = radial->mean_g;
  *variance_g = radial->variance_g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureRadialDestroy(FwMixtureRadial *radial)
{
  PetscFunctionBegin;
  if (!*radial) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMixtureDensityDestroy(&(*radial)->f));
  PetscCall(FwMixtureDensityDestroy(&(*radial)->difference));
  PetscCall(PetscFree(*radial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- integrals over w --------------------------------------------------------------------------------------- */

/* log of the integrand at s, without the powers of w and h; `g` only for the joint density */
typedef PetscErrorCode Integrand(FwMixtureRadial radial, double g, double s, double *log_value);

typedef struct {
  FwMixtureRadial radial;
  Integrand      *integrand;
  double          g, r;
  double          power_w, power_h; /* the integrand carries w^power_w h^power_h */
  double          shift;            /* its logarithm is taken relative to this */
} Integral;

/* log(sinh x / x) */
static double LogSinhc(double x)
{
  return x < 1e-4 ? x * x / 6.0 : x + log(-expm1(-2.0 * x) / (2.0 * x));
}

static PetscErrorCode LogTerm(const Integral *integral, double w, double *log_value)
{
  const double s = hypot(integral->r, w), gap = s > 0.0 ? w * w / (s + integral->r) : 0.0; /* s - r */
  const double log_h = LogSinhc(0.5 * (s + integral->r)) + LogSinhc(0.5 * gap) - M_LN2;

  PetscFunctionBegin;
  PetscCall(integral->integrand(integral->radial, integral->g, s, log_value));
  *log_value += integral->power_h * log_h + (integral->power_w > 0.0 ? integral->power_w * log(w) : 0.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum of terms at w = first, first + step, ..., until they are below round-off and falling */
static PetscErrorCode SumTerms(const Integral *integral, double first, double step, double *sum)
{
  double value, before = 0.0;

  PetscFunctionBegin;
  *sum = 0.0;
  for (PetscInt k = 0;; k++) {
    PetscCheck(k < NODE_MAX, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "an integral over the mixing law does not end");
    PetscCall(LogTerm(integral, first + k * step, &value));
    value = exp(value - integral->shift);
    *sum += value;
    if (value < 1e-17 * *sum && value <= before) break;
    before = value;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* log of the integral. Halving the step squares the error: 1e-7 between two steps leaves round-off */
static PetscErrorCode Integrate(Integral *integral, double *log_value)
{
  double step = integral->radial->step, end = 0.0, total, middle, change;

  PetscFunctionBegin;
  PetscCall(LogTerm(integral, integral->power_w > 0.0 ? step : 0.0, &integral->shift));
  if (integral->shift < nothing) { /* no weight of a posterior is there; the integrand may be a spike */
    *log_value = integral->shift;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (integral->power_w == 0.0) end = 0.5;
  PetscCall(SumTerms(integral, step, step, &total));
  total = step * (total + end);
  for (int i = 0; i < HALVINGS_MAX; i++) {
    PetscCall(SumTerms(integral, 0.5 * step, step, &middle));
    change = 0.5 * (step * middle - total);
    total += change;
    step *= 0.5;
    if (fabs(change) < 1e-7 * total) {
      *log_value = log(total) + integral->shift;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL, "an integral over the mixing law did not converge at r = %.6g",
          integral->r);
}

/* [f'(g-s) f(g+s) - f(g-s) f'(g+s)] / s */
static PetscErrorCode JointIntegrand(FwMixtureRadial radial, double g, double s, double *log_value)
{
  const double least = 1e-4 * radial->step; /* the limit s -> 0, even in s */
  double       left, right, slope_left, slope_right;

  PetscFunctionBegin;
  s = PetscMax(s, least);
  PetscCall(FwMixtureDensityEvaluate(radial->f, g - s, &left, &slope_left));
  PetscCall(FwMixtureDensityEvaluate(radial->f, g + s, &right, &slope_right));
  *log_value = left + right + log(PetscMax(slope_left - slope_right, 0.0) / s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -A'(2s) / s */
static PetscErrorCode RadialIntegrand(FwMixtureRadial radial, double g, double s, double *log_value)
{
  double log_density, slope;

  (void)g;
  PetscFunctionBegin;
  s = PetscMax(s, 1e-4 * radial->step);
  PetscCall(FwMixtureDensityEvaluate(radial->difference, 2.0 * s, &log_density, &slope));
  *log_value = log_density + log(PetscMax(-slope, 0.0) / s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureRadialJoint(FwMixtureRadial radial, double g, double r, double *log_density)
{
  Integral integral = {.radial = radial, .integrand = JointIntegrand, .g = g, .r = r, .power_h = -0.5};

  PetscFunctionBegin;
  PetscCall(Integrate(&integral, log_density));
  *log_density += radial->log_scale + 1.5 * M_LN2 + log(sinh(r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureRadialSurvival(FwMixtureRadial radial, double r, double *above)
{
  Integral integral = {.radial = radial, .integrand = RadialIntegrand, .r = r, .power_w = 2.0, .power_h = 0.5};

  PetscFunctionBegin;
  *above = 0.0;
  if (r > radial->end) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Integrate(&integral, above));
  *above = PetscMin(1.0, exp(*above + radial->log_scale + 3.5 * M_LN2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- distance ----------------------------------------------------------------------------------------------- */

static PetscErrorCode DifferenceOfTwo(double r, void *context, double *difference)
{
  FwMixtureRadial *two = context;
  double           above[2];

  PetscFunctionBegin;
  for (int i = 0; i < 2; i++) PetscCall(FwMixtureRadialSurvival(two[i], r, &above[i]));
  *difference = above[1] - above[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* r drifts like a/2 and spreads like the square root of a, the variance of g */
PetscErrorCode FwMixtureRadialDistance(FwMixtureRadial one, FwMixtureRadial two, double *distance)
{
  FwMixtureRadial both[2] = {one, two};
  const double    a       = PetscMax(one->variance_g, two->variance_g);

  PetscFunctionBegin;
  PetscCall(FwLargestDifference(DifferenceOfTwo, both, 1e-6, a + 6.0 * sqrt(a), distance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
