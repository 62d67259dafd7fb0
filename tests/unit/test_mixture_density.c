/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Densities and distribution functions of the mixing law: closed forms, identities, and the reference table.
 *
 * ranks: 1 2
 */

#include <finwidth/mixture_density.h>

#include <gsl/gsl_sf_gamma.h>
#include "../support/mixture_reference.h"

static Reference reference;

static FwMixtureDensity make_density(FwMixtureLaw law, FwMixtureVariable variable)
{
  FwMixtureDensity density;

  TestCall(FwMixtureDensityCreate(&law, variable, &density));
  TestCall(FwMixtureLawDestroy(&law));
  return density;
}

static FwMixtureRadial make_radial(FwMixtureLaw law)
{
  FwMixtureRadial radial;

  TestCall(FwMixtureRadialCreate(&law, &radial));
  TestCall(FwMixtureLawDestroy(&law));
  return radial;
}

static void one_layer_is_a_log_gamma_variable_far_into_both_tails(void **state)
{
  const double widths[] = {1.0, 2.5, 10.0, 300.0, 1e6};

  (void)state;
  for (int i = 0; i < 5; i++) {
    const double     half = 0.5 * widths[i];
    FwMixtureDensity d    = make_density(make_deep_law(1, widths[i], 1), FW_MIXTURE_LOG_Q);

    for (double z = -30.0; z <= 12.0; z += 1.7) {
      const double x = z / sqrt(half), q = exp(x);
      double       log_density, slope, below, above;

      if (half * q > 600.0 + half) continue;
      TestCall(FwMixtureDensityEvaluate(d, x, &log_density, &slope));
      assert_close(log_density, half * log(half) - lgamma(half) + half * (x - q), half > 1e5 ? 1e-8 : 1e-12);
      assert_close(slope / sqrt(half), sqrt(half) * (1.0 - q), 1e-10);
      TestCall(FwMixtureDensityCumulative(d, x, &below, &above));
      if (half > 1e5) continue; /* GSL's incomplete gamma function is no better there */
      assert_close(log(below), log(gsl_sf_gamma_inc_P(half, half * q)), 1e-9);
      if (z < 5.0) assert_close(log(above), log(gsl_sf_gamma_inc_Q(half, half * q)), 1e-9);
    }
    TestCall(FwMixtureDensityDestroy(&d));
  }
}

static void limit_is_normal(void **state)
{
  const double     a = 0.7;
  FwMixtureDensity d = make_density(make_law(1, 0, NULL, a), FW_MIXTURE_LOG_Q);
  double           log_density, slope, below, above, mean, variance;

  (void)state;
  TestCall(FwMixtureDensityMoments(d, &mean, &variance));
  assert_close(mean, -a, 1e-15);
  assert_close(variance, 2.0 * a, 1e-15);
  for (double x = -9.0; x < 9.0; x += 0.7) {
    const double z = (x + a) / sqrt(2.0 * a);

    TestCall(FwMixtureDensityEvaluate(d, x, &log_density, &slope));
    assert_close(log_density, -0.5 * z * z - 0.5 * log(4.0 * M_PI * a), 1e-13);
    assert_close(slope, -z / sqrt(2.0 * a), 1e-12);
    TestCall(FwMixtureDensityCumulative(d, x, &below, &above));
    assert_close(log(below), log(0.5 * erfc(-z / sqrt(2.0))), 1e-11);
    assert_close(log(above), log(0.5 * erfc(z / sqrt(2.0))), 1e-11);
  }
  TestCall(FwMixtureDensityDestroy(&d));
}

static void densities_are_those_of_the_reference(void **state)
{
  const Reference rows = reference_get(reference, "d1_mixing");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference  row = reference_at(rows, i), x = reference_get(row, "x_logq");
    FwMixtureDensity d  = make_density(reference_law(row, 1), FW_MIXTURE_LOG_Q);
    FwMixtureDensity d3 = make_density(reference_law(row, 3), FW_MIXTURE_LOG_Q); /* an entry of a larger Q */

    for (int k = 0; k < reference_size(x); k++) {
      double log_density, log_density3, below;

      TestCall(FwMixtureDensityEvaluate(d, reference_number(reference_at(x, k)), &log_density, NULL));
      TestCall(FwMixtureDensityEvaluate(d3, reference_number(reference_at(x, k)), &log_density3, NULL));
      TestCall(FwMixtureDensityCumulative(d, reference_number(reference_at(x, k)), &below, NULL));
      assert_close(exp(log_density) / reference_number(reference_at(reference_get(row, "pdf"), k)), 1.0, 1e-11);
      assert_close(below / reference_number(reference_at(reference_get(row, "cdf"), k)), 1.0, 1e-11);
      assert_close(log_density, log_density3, 0.0);
    }
    TestCall(FwMixtureDensityDestroy(&d));
    TestCall(FwMixtureDensityDestroy(&d3));
  }
}

static void outputs_have_the_quantiles_of_the_reference(void **state)
{
  const Reference rows     = reference_get(reference, "d1_mixing");
  const char     *levels[] = {"0.75", "0.9", "0.99", "0.999"};

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference  row = reference_at(rows, i);
    FwMixtureDensity d   = make_density(reference_law(row, 1), FW_MIXTURE_LOG_OUTPUT2);

    for (int k = 0; k < 4; k++) {
      const double s = reference_value(reference_get(row, "S_quantiles"), levels[k]);
      double       above;

      if (isnan(s)) continue;
      TestCall(FwMixtureDensityCumulative(d, 2.0 * log(s), NULL, &above)); /* of S^2: both signs */
      assert_close(0.5 * above / (1.0 - atof(levels[k])), 1.0, 1e-8);
    }
    TestCall(FwMixtureDensityDestroy(&d));
  }
}

static void bottleneck_is_a_convolution(void **state)
{
  const double     width = 4.0, a = 0.3, step = 0.02;
  FwMixtureDensity both  = make_density(make_law(1, 1, &width, a), FW_MIXTURE_LOG_Q);
  FwMixtureDensity layer = make_density(make_law(1, 1, &width, 0.0), FW_MIXTURE_LOG_Q);
  FwMixtureDensity limit = make_density(make_law(1, 0, NULL, a), FW_MIXTURE_LOG_Q);

  (void)state;
  for (double x = -3.0; x <= 2.0; x += 1.25) {
    double sum = 0.0, expected;

    for (double y = -14.0; y < 6.0; y += step) {
      double p[2];

      TestCall(FwMixtureDensityEvaluate(limit, y, &p[0], NULL));
      TestCall(FwMixtureDensityEvaluate(layer, x - y, &p[1], NULL));
      sum += step * exp(p[0] + p[1]);
    }
    TestCall(FwMixtureDensityEvaluate(both, x, &expected, NULL));
    assert_close(log(sum), expected, 1e-12);
  }
  TestCall(FwMixtureDensityDestroy(&both));
  TestCall(FwMixtureDensityDestroy(&layer));
  TestCall(FwMixtureDensityDestroy(&limit));
}

/* The reference is the largest difference on a grid: below the supremum by what a parabola loses between two points */
static void assert_above_grid(double distance, double on_grid, double tolerance)
{
  const double excess = distance / on_grid - 1.0;

  assert_close(excess > -1e-9 && excess < tolerance, 1.0, 0.0);
}

static void distances_to_the_limit_are_those_of_the_reference(void **state)
{
  const Reference rows = reference_get(reference_get(reference, "convergence"), "d1");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference  row = reference_at(rows, i);
    FwMixtureDensity finite =
      make_density(make_deep_law(1, reference_value(row, "N"), (int)reference_value(row, "L")), FW_MIXTURE_LOG_Q);
    FwMixtureDensity limit = make_density(make_law(1, 0, NULL, reference_value(row, "a")), FW_MIXTURE_LOG_Q);
    double           distance;

    TestCall(FwMixtureDensityDistance(finite, limit, &distance));
    assert_above_grid(distance, reference_value(row, "KS"), 1e-5);
    TestCall(FwMixtureDensityDestroy(&finite));
    TestCall(FwMixtureDensityDestroy(&limit));
  }
}

static void two_outputs_have_the_radial_law_of_the_reference(void **state)
{
  const Reference rows = reference_get(reference, "d2_survival_r");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference row = reference_at(rows, i), r = reference_get(row, "r");
    FwMixtureRadial radial = make_radial(reference_law(row, 2));
    double          above;

    for (int k = 0; k < reference_size(r); k++) {
      TestCall(FwMixtureRadialSurvival(radial, reference_number(reference_at(r, k)), &above));
      assert_close(above, reference_number(reference_at(reference_get(row, "sf"), k)), 3e-11);
    }
    TestCall(FwMixtureRadialSurvival(radial, 0.0, &above));
    assert_close(above, 1.0, 1e-11);
    TestCall(FwMixtureRadialDestroy(&radial));
  }
}

static void joint_density_has_both_marginals(void **state)
{
  const double     step = 0.15, r = 0.8;
  FwMixtureRadial  radial   = make_radial(make_deep_law(2, 10.0, 5));
  FwMixtureDensity log_det  = make_density(make_deep_law(2, 10.0, 5), FW_MIXTURE_LOG_DET);
  double           marginal = 0.0, above[2], at_g = 0.0, log_density;

  (void)state;
  for (double g = -8.0; g < 4.0; g += step) {
    TestCall(FwMixtureRadialJoint(radial, g, r, &log_density));
    marginal += step * exp(log_density);
  }
  TestCall(FwMixtureRadialSurvival(radial, r - 1e-3, &above[0]));
  TestCall(FwMixtureRadialSurvival(radial, r + 1e-3, &above[1]));
  assert_close(marginal, (above[0] - above[1]) / 2e-3, 1e-6);
  for (double v = 0.02; v < 2.6; v += 0.04) { /* r = v^2 makes the integrand vanish at the end */
    TestCall(FwMixtureRadialJoint(radial, -0.6, v * v, &log_density));
    at_g += 0.04 * 2.0 * v * exp(log_density);
  }
  TestCall(FwMixtureDensityEvaluate(log_det, -1.2, &log_density, NULL));
  assert_close(at_g, 2.0 * exp(log_density), 1e-5);
  TestCall(FwMixtureRadialDestroy(&radial));
  TestCall(FwMixtureDensityDestroy(&log_det));
}

static void distances_of_two_outputs_are_those_of_the_reference(void **state)
{
  const Reference rows = reference_get(reference_get(reference, "convergence"), "d2");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference  row = reference_at(rows, i);
    const double     n = reference_value(row, "N"), a = reference_value(row, "a");
    const int        depth  = (int)reference_value(row, "L");
    FwMixtureRadial  finite = make_radial(make_deep_law(2, n, depth)), limit = make_radial(make_law(2, 0, NULL, a));
    FwMixtureDensity det  = make_density(make_deep_law(2, n, depth), FW_MIXTURE_LOG_DET);
    FwMixtureDensity det2 = make_density(make_law(2, 0, NULL, a), FW_MIXTURE_LOG_DET);
    double           distance;

    TestCall(FwMixtureRadialDistance(finite, limit, &distance));
    assert_above_grid(distance, reference_value(row, "KS_r"), 1e-3);
    TestCall(FwMixtureDensityDistance(det, det2, &distance));
    assert_above_grid(distance, reference_value(row, "KS_g"), 1e-4);
    TestCall(FwMixtureRadialDestroy(&finite));
    TestCall(FwMixtureRadialDestroy(&limit));
    TestCall(FwMixtureDensityDestroy(&det));
    TestCall(FwMixtureDensityDestroy(&det2));
  }
}

static void laws_without_a_density_are_refused(void **state)
{
  FwMixtureLaw     narrow = make_deep_law(3, 2.0, 2), unit = make_law(1, 0, NULL, 0.0), wide = make_deep_law(3, 8.0, 2);
  FwMixtureDensity d;
  FwMixtureRadial  radial;

  (void)state;
  assert_close(FwMixtureDensityCreate(&narrow, FW_MIXTURE_LOG_DET, &d), FW_ERR_INPUT, 0.0);
  assert_close(FwMixtureDensityCreate(&unit, FW_MIXTURE_LOG_Q, &d), FW_ERR_INPUT, 0.0);
  assert_close(FwMixtureRadialCreate(&wide, &radial), FW_ERR_INPUT, 0.0);
  unit.a = INFINITY;
  assert_close(FwMixtureDensityCreate(&unit, FW_MIXTURE_LOG_Q, &d), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwMixtureLawDestroy(&narrow));
  TestCall(FwMixtureLawDestroy(&unit));
  TestCall(FwMixtureLawDestroy(&wide));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_layer_is_a_log_gamma_variable_far_into_both_tails),
    cmocka_unit_test(limit_is_normal),
    cmocka_unit_test(densities_are_those_of_the_reference),
    cmocka_unit_test(outputs_have_the_quantiles_of_the_reference),
    cmocka_unit_test(bottleneck_is_a_convolution),
    cmocka_unit_test(distances_to_the_limit_are_those_of_the_reference),
    cmocka_unit_test(two_outputs_have_the_radial_law_of_the_reference),
    cmocka_unit_test(joint_density_has_both_marginals),
    cmocka_unit_test(distances_of_two_outputs_are_those_of_the_reference),
    cmocka_unit_test(laws_without_a_density_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  reference = reference_open("mixture.json");
  n_failed  = cmocka_run_group_tests_name("mixture density", tests, NULL, NULL);
  reference_close(&reference);
  return FwFinish(0) || n_failed;
}
