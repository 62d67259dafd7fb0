/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The posterior of a deep linear network: the reference table, identities, the same bits on any number of ranks.
 *
 * ranks: 1 2 4
 */

#include <finwidth/checkpoint.h>
#include <finwidth/mixture_posterior.h>
#include <finwidth/stop.h>

#include <gsl/gsl_sf_bessel.h>
#include <signal.h>
#include "../support/mixture_reference.h"

enum { INPUTS = 6, EXAMPLES = 4, OUTPUTS_MAX = 4 };

static const FwMixturePosteriorPlan plan = {.n_sample = 20000, .n_particle = 600, .seed = 7};

static Reference reference;
static FwGrid    grid;

/* --- the data set of the reference -------------------------------------------------------------------------- */

/* Input i = 1 .. 6 of example mu = 1 .. 4, or of the test example (mu = 0) */
static double input(int i, int mu)
{
  return sqrt(2.0) * (mu ? cos(i * mu + 0.5 * i * i) : cos(0.7 * i));
}

static double kernel(int mu, int nu)
{
  double sum = 0.0;

  for (int i = 1; i <= INPUTS; i++) sum += input(i, mu) * input(i, nu) / INPUTS;
  return sum;
}

/* Label d of example mu; rows of 4 */
static void fill_labels(int n_output, double y[])
{
  for (int d = 0; d < n_output; d++)
    for (int mu = 1; mu <= EXAMPLES; mu++) y[d * EXAMPLES + mu - 1] = sin(mu + 1.5 * d);
}

static FwSpectrum make_spectrum_of(int n_output, const double y[], double scale)
{
  double     train[EXAMPLES * EXAMPLES], cross[EXAMPLES], diagonal[1] = {scale * kernel(0, 0)};
  FwMatrix   k, k_cross;
  FwSpectrum spectrum;

  for (int mu = 0; mu < EXAMPLES; mu++) {
    cross[mu] = scale * kernel(mu + 1, 0);
    for (int nu = 0; nu < EXAMPLES; nu++) train[mu * EXAMPLES + nu] = scale * kernel(mu + 1, nu + 1);
  }
  TestCall(FwMatrixCreateFromCopy(grid, EXAMPLES, EXAMPLES, train, &k));
  TestCall(FwMatrixCreateFromCopy(grid, EXAMPLES, 1, cross, &k_cross));
  TestCall(FwSpectrumCreate(&k, 0, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, n_output, y, 0.0));
  TestCall(FwSpectrumSetTest(spectrum, &k_cross, diagonal));
  TestCall(FwSpectrumFreeze(spectrum));
  return spectrum;
}

static FwSpectrum make_spectrum(int n_output)
{
  double y[OUTPUTS_MAX * EXAMPLES];

  fill_labels(n_output, y);
  return make_spectrum_of(n_output, y, 1.0);
}

static FwMixturePosterior solve(FwMixtureLaw law, double temperature, FwPosteriorMethod method)
{
  FwSpectrum             spectrum = make_spectrum((int)law.n_output);
  FwMixturePosterior     posterior;
  FwMixturePosteriorPlan with = plan;

  with.method = method;
  TestCall(FwMixturePosteriorCreate(&law, spectrum, 1.0, temperature, &with, &posterior));
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
  return posterior;
}

/* Relative, where the reference has a value */
static void assert_relative(double actual, double expected, double tolerance)
{
  if (!isnan(expected)) assert_close((actual - expected) / PetscMax(fabs(expected), 1e-3), 0.0, tolerance);
}

/* --- the reference ------------------------------------------------------------------------------------------ */

static void one_output_equals_the_reference(void **state)
{
  const Reference rows = reference_get(reference, "posterior_d1");

  (void)state;
  assert_close(reference_size(rows), 29, 0.0);
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference    row = reference_at(rows, i);
    FwMixturePosterior p   = solve(reference_law(row, 1), reference_value(row, "T"), FW_POSTERIOR_AUTO);

    assert_relative(p.log_evidence, reference_value(row, "log_evidence"), 1e-11);
    assert_relative(p.mean_q[0], reference_value(row, "E_q"), 1e-10);
    assert_relative(p.mean_log_q[0], reference_value(row, "E_log_q"), 1e-10);
    assert_relative(p.mean[0], reference_value(row, "pred_mean"), 1e-10);
    assert_relative(p.covariance[0], reference_value(row, "pred_var"), 1e-10);
    assert_relative(p.within[0], reference_value(row, "pred_var_within"), 1e-10);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

static void check_matrix(Reference rows, const double actual[], int n, double tolerance)
{
  for (int c = 0; c < n; c++)
    for (int d = 0; d < n; d++)
      assert_relative(actual[c * n + d], reference_number(reference_at(reference_at(rows, c), d)), tolerance);
}

static void two_outputs_equal_the_reference(void **state)
{
  const Reference rows = reference_get(reference, "posterior_d2");

  (void)state;
  assert_close(reference_size(rows), 3, 0.0);
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference    row = reference_at(rows, i);
    FwMixturePosterior p   = solve(reference_law(row, 2), reference_value(row, "T"), FW_POSTERIOR_AUTO);

    assert_relative(p.log_evidence, reference_value(row, "log_evidence"), 1e-10);
    assert_relative(p.mean_log_q[0] + p.mean_log_q[1], reference_value(row, "E_logdet"), 1e-9);
    for (int c = 0; c < 2; c++)
      assert_relative(p.mean[c], reference_number(reference_at(reference_get(row, "pred_mean"), c)), 1e-9);
    check_matrix(reference_get(row, "pred_cov"), p.covariance, 2, 1e-9);
    check_matrix(reference_get(row, "E_Q"), p.mean_q, 2, 1e-9);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

static void three_outputs_are_within_the_errors_of_the_reference(void **state)
{
  const Reference row      = reference_at(reference_get(reference, "monte_carlo"), 2);
  const double    width    = 10.0;
  const int       method[] = {FW_POSTERIOR_IMPORTANCE, FW_POSTERIOR_SEQUENTIAL};

  (void)state;
  for (int k = 0; k < 2; k++) {
    FwMixturePosterior p     = solve(make_deep_law(3, width, 5), 0.1, method[k]);
    const double       error = hypot(p.log_evidence_error, reference_value(row, "log_evidence_se"));

    assert_close(p.log_evidence_error < 0.15, 1.0, 0.0);
    assert_close((p.log_evidence - reference_value(row, "log_evidence")) / error, 0.0, 4.0);
    for (int c = 0; c < 3; c++) {
      /* a mean over so many samples, and that of the reference */
      const double spread = sqrt((p.covariance[4 * c] - p.within[4 * c]) / p.effective_sample_size);

      assert_close((p.mean[c] - reference_number(reference_at(reference_get(row, "pred_mean"), c))) /
                     hypot(spread, reference_number(reference_at(reference_get(row, "pred_mean_se"), c))),
                   0.0, 4.0);
      for (int d = 0; d < 3; d++)
        assert_close(
          p.covariance[3 * c + d] - reference_number(reference_at(reference_at(reference_get(row, "pred_cov"), c), d)),
          0.0, 0.08);
    }
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

/* --- closed forms and identities ---------------------------------------------------------------------------- */

/* A spectrum of the unit kernel with n examples, none to test */
static FwSpectrum make_unit(int n, int n_output, const double y[])
{
  double    *copy;
  FwMatrix   k;
  FwSpectrum spectrum;

  TestCall(PetscCalloc1(n * n, &copy));
  for (int i = 0; i < n; i++) copy[i * (n + 1)] = 1.0;
  TestCall(FwMatrixCreateFromCopy(grid, n, n, copy, &k));
  TestCall(PetscFree(copy));
  TestCall(FwSpectrumCreate(&k, 0, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, n_output, y, 0.0));
  return spectrum;
}

static FwMixturePosterior solve_unit(FwMixtureLaw law, int n, const double y[], double temperature,
                                     FwPosteriorMethod method)
{
  FwSpectrum             spectrum = make_unit(n, (int)law.n_output, y);
  FwMixturePosterior     posterior;
  FwMixturePosteriorPlan with = plan;

  with.method = method;
  TestCall(FwMixturePosteriorCreate(&law, spectrum, 1.0, temperature, &with, &posterior));
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
  return posterior;
}

/* n equal labels with |y|^2 = square */
static FwMixturePosterior solve_equal(FwMixtureLaw law, int n, double square)
{
  double y[1024];

  for (int i = 0; i < n; i++) y[i] = sqrt(square / n);
  return solve_unit(law, n, y, 0.0, FW_POSTERIOR_AUTO);
}

/* T = 0, one layer: the evidence and the moments of q are Bessel functions K */
static double log_bessel(double width, double power, double square)
{
  const double c = 0.5 * width, order = c - power, x = 2.0 * sqrt(0.5 * c * square);

  return M_LN2 + c * log(c) - lgamma(c) + 0.5 * order * log(0.5 * square / c) + gsl_sf_bessel_lnKnu(fabs(order), x);
}

static void one_layer_without_noise_is_a_bessel_function(void **state)
{
  (void)state;
  for (double square = 1e-2; square < 2e5; square *= 10.0)
    for (int n = 1; n <= 64; n *= 8) {
      const double       width = 10.0;
      FwMixturePosterior p     = solve_equal(make_deep_law(1, width, 1), n, square);
      const double       log_z = log_bessel(width, 0.5 * n, square);

      assert_relative(p.log_evidence, log_z - 0.5 * n * log(2.0 * M_PI), 1e-11);
      assert_relative(p.mean_q[0], exp(log_bessel(width, 0.5 * n - 1.0, square) - log_z), 1e-10);
      TestCall(FwMixturePosteriorDestroy(&p));
    }
}

static void evidence_and_moments_without_noise_are_those_of_the_reference(void **state)
{
  const Reference rows = reference_get(reference, "saddle_T0");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference    row = reference_at(rows, i);
    const double       n   = reference_value(row, "P");
    FwMixturePosterior p   = solve_equal(make_deep_law(1, reference_value(row, "N"), (int)reference_value(row, "L")),
                                         (int)n, n * reference_value(row, "r0"));

    assert_relative(p.log_evidence + 0.5 * n * log(2.0 * M_PI), reference_value(row, "exact_logI"), 1e-11);
    assert_relative(p.mean_q[0], reference_value(row, "E_q"), 1e-10);
    assert_relative(p.mean_log_q[0], reference_value(row, "E_log_q"), 1e-10);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

/* T = 0 and N_l = P: noise of the data and of the layers are exchangeable, E[log q | y] = L / (L + 1) log(|y|^2 / P) */
static void layers_as_wide_as_the_data_share_the_scale(void **state)
{
  (void)state;
  for (int depth = 1; depth <= 9; depth += 4) {
    const int          n = 12;
    FwMixturePosterior p = solve_equal(make_deep_law(1, n, depth), n, 30.0);

    assert_close(p.mean_log_q[0], depth / (depth + 1.0) * log(30.0 / n), 1e-11);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

/* a -> infinity: q | y is inverse gamma, of which a = 1e4 falls short by 7e-5 */
static void infinite_depth_is_the_student_limit(void **state)
{
  FwMixturePosterior limit = solve(make_law(1, 0, NULL, INFINITY), 0.0, FW_POSTERIOR_AUTO);
  FwMixturePosterior deep  = solve(make_law(1, 0, NULL, 1e4), 0.0, FW_POSTERIOR_AUTO);

  (void)state;
  assert_close(deep.mean_q[0], 5.10324, 5e-6);
  assert_close(limit.mean_q[0] / deep.mean_q[0], 1.0, 1e-4);
  assert_close(limit.mean[0], deep.mean[0], 1e-12);
  assert_close(limit.log_evidence < -1e300, 1.0, 0.0);
  TestCall(FwMixturePosteriorDestroy(&limit));
  TestCall(FwMixturePosteriorDestroy(&deep));
}

/* T = 0: the mean is that of the Gaussian process, the covariance E[Q | Y] times its variance */
static void without_noise_only_the_covariance_sees_the_depth(void **state)
{
  for (int n_output = 1; n_output <= 2; n_output++) {
    FwMixturePosterior p     = solve(make_deep_law(n_output, 9.0, 4), 0.0, FW_POSTERIOR_AUTO);
    FwMixturePosterior plain = solve(make_law(n_output, 0, NULL, 0.0), 0.0, FW_POSTERIOR_AUTO);

    (void)state;
    for (int c = 0; c < n_output; c++) {
      assert_close(p.mean[c], plain.mean[c], 1e-12);
      for (int d = 0; d < n_output; d++) {
        assert_close(p.covariance[c * n_output + d], p.mean_q[c * n_output + d] * plain.covariance[0], 1e-10);
        assert_close(p.covariance[c * n_output + d], p.within[c * n_output + d], 1e-13);
      }
    }
    TestCall(FwMixturePosteriorDestroy(&p));
    TestCall(FwMixturePosteriorDestroy(&plain));
  }
}

/* Outputs d of examples i, rows of n; or transposed */
static void fill_both(int n, int n_output, double y[], double transposed[])
{
  for (int d = 0; d < n_output; d++)
    for (int i = 0; i < n; i++)
      transposed[i * n_output + d] = y[d * n + i] = 1.4 * sin(1.0 + i + 2.5 * d + 0.3 * i * d) + 0.2;
}

/* With the unit kernel outputs and examples are exchangeable: n_output outputs of n examples have the law of n outputs
   of n_output examples. The one is solved by `method`, the other exactly. */
static void check_transposed(FwMixtureLaw law, FwMixtureLaw other, double temperature, FwPosteriorMethod method)
{
  const int          n = (int)other.n_output, n_output = (int)law.n_output;
  double             y[12], transposed[12];
  FwMixturePosterior p, exact;

  fill_both(n, n_output, y, transposed);
  p     = solve_unit(law, n, y, temperature, method);
  exact = solve_unit(other, n_output, transposed, temperature, FW_POSTERIOR_AUTO);
  assert_close(exact.log_evidence_error, 0.0, 0.0);
  if (p.log_evidence_error > 0.0)
    assert_close((p.log_evidence - exact.log_evidence) / p.log_evidence_error, 0.0, 4.0);
  else
    assert_close(p.log_evidence, exact.log_evidence, 1e-10);
  assert_close(p.log_evidence_error < 0.15, 1.0, 0.0);
  TestCall(FwMixturePosteriorDestroy(&p));
  TestCall(FwMixturePosteriorDestroy(&exact));
}

static void outputs_and_examples_are_exchangeable(void **state)
{
  const double temperatures[] = {0.0, 0.3};

  (void)state;
  for (int i = 0; i < 2; i++) {
    check_transposed(make_deep_law(2, 8.0, 4), make_deep_law(1, 8.0, 4), temperatures[i], FW_POSTERIOR_AUTO);
    check_transposed(make_law(2, 0, NULL, 0.8), make_law(1, 0, NULL, 0.8), temperatures[i], FW_POSTERIOR_AUTO);
    check_transposed(make_deep_law(3, 8.0, 4), make_deep_law(2, 8.0, 4), temperatures[i], FW_POSTERIOR_SEQUENTIAL);
    check_transposed(make_law(3, 0, NULL, 0.8), make_law(2, 0, NULL, 0.8), temperatures[i], FW_POSTERIOR_SEQUENTIAL);
  }
}

/* A layer of width 1 makes Q singular: two outputs are then one that is multiplied by a random direction */
static void singular_laws_are_sampled(void **state)
{
  const double       width[] = {1.0, 5.0}, y[2] = {60.0, 40.0};
  FwMixtureLaw       law      = make_law(2, 2, width, 0.0);
  FwSpectrum         spectrum = make_unit(1, 2, y);
  FwMixturePosterior p;

  (void)state;
  check_transposed(make_law(2, 2, width, 0.0), make_law(1, 2, width, 0.0), 0.5, FW_POSTERIOR_IMPORTANCE);
  assert_close(FwMixturePosteriorCreate(&law, spectrum, 1.0, 1e-3, &plan, &p), FW_ERR_NUMERICAL,
               0.0); /* too few draws */
  FwErrorClear();
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
}

/* A factor of the kernel may stand in the spectrum or beside it */
static void scale_of_the_kernel_may_stand_beside_it(void **state)
{
  const double scale = 0.3;

  (void)state;
  for (int n_output = 1; n_output <= 2; n_output++) {
    FwMixtureLaw       law = make_deep_law(n_output, 7.0, 3);
    double             y[2 * EXAMPLES];
    FwMixturePosterior p[2];

    fill_labels(n_output, y);
    for (int k = 0; k < 2; k++) {
      FwSpectrum spectrum = make_spectrum_of(n_output, y, k ? scale : 1.0);

      TestCall(FwMixturePosteriorCreate(&law, spectrum, k ? 1.0 : scale, 0.1, &plan, &p[k]));
      TestCall(FwSpectrumDestroy(&spectrum));
    }
    assert_close(p[0].log_evidence, p[1].log_evidence, 1e-11);
    assert_close(p[0].mean_q[0], p[1].mean_q[0], 1e-10);
    assert_close(p[0].mean[0], p[1].mean[0], 1e-11);
    assert_close(p[0].covariance[0], p[1].covariance[0], 1e-11);
    for (int k = 0; k < 2; k++) TestCall(FwMixturePosteriorDestroy(&p[k]));
    TestCall(FwMixtureLawDestroy(&law));
  }
}

/* Turned labels turn the predictions */
static void posterior_turns_with_the_labels(void **state)
{
  const double       c = cos(0.7), s = sin(0.7);
  double             y[2 * EXAMPLES], turned[2 * EXAMPLES];
  FwMixtureLaw       law = make_deep_law(2, 7.0, 3);
  FwSpectrum         spectrum;
  FwMixturePosterior p[2];

  (void)state;
  fill_labels(2, y);
  for (int i = 0; i < EXAMPLES; i++) {
    turned[i]            = c * y[i] - s * y[EXAMPLES + i];
    turned[EXAMPLES + i] = s * y[i] + c * y[EXAMPLES + i];
  }
  for (int k = 0; k < 2; k++) {
    spectrum = make_spectrum_of(2, k ? turned : y, 1.0);
    TestCall(FwMixturePosteriorCreate(&law, spectrum, 1.0, 0.1, &plan, &p[k]));
    TestCall(FwSpectrumDestroy(&spectrum));
  }
  assert_close(p[1].log_evidence, p[0].log_evidence, 1e-11);
  assert_close(p[1].mean[0], c * p[0].mean[0] - s * p[0].mean[1], 1e-10);
  assert_close(p[1].mean[1], s * p[0].mean[0] + c * p[0].mean[1], 1e-10);
  assert_close(p[1].covariance[0],
               c * c * p[0].covariance[0] - 2.0 * c * s * p[0].covariance[1] + s * s * p[0].covariance[3], 1e-10);
  for (int k = 0; k < 2; k++) TestCall(FwMixturePosteriorDestroy(&p[k]));
  TestCall(FwMixtureLawDestroy(&law));
}

/* Many examples: q is the scale of the labels, whatever the prior; the posterior is narrow and far from the prior */
static void many_examples_fix_the_scale(void **state)
{
  double y[2 * 600];

  (void)state;
  for (int i = 0; i < 600; i++) {
    y[i]       = 10.0 * sin(0.1 + i);
    y[600 + i] = 0.1 * cos(2.0 * i);
  }
  for (int n_output = 1; n_output <= 2; n_output++) {
    FwMixturePosterior p = solve_unit(make_deep_law(n_output, 4.0, 3), 600, y, 0.0, FW_POSTERIOR_AUTO);

    assert_close(p.mean_q[0] / 50.0, 1.0, 0.03); /* the prior still pulls by some 10 / P */
    if (n_output == 2) assert_close(p.mean_q[3] / 0.005, 1.0, 0.03);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
}

/* More examples than inputs: labels cost |y|^2 / T wherever the scale is, and nothing else depends on a small T */
static void labels_that_no_scale_fits_do_not_move_it(void **state)
{
  enum { N = 8 };
  const double       temperature[2] = {1e-4, 1e-12};
  FwMixturePosterior p[2];

  (void)state;
  for (int n_output = 1; n_output <= 2; n_output++) {
    for (int i = 0; i < 2; i++) {
      FwMixtureLaw law = make_deep_law(n_output, 10.0, 1);
      FwMatrix     k;
      FwSpectrum   spectrum;
      double       train[N * N] = {0.0}, y[2 * N];

      for (int m = 0; m < N / 2; m++) train[m * (N + 1)] = 1.0 + m;
      for (int m = 0; m < 2 * N; m++) y[m] = cos(2.0 * m);
      TestCall(FwMatrixCreateFromCopy(grid, N, N, train, &k));
      TestCall(FwSpectrumCreate(&k, 0, &spectrum));
      TestCall(FwSpectrumSetLabels(spectrum, n_output, y, 0.0));
      TestCall(FwMixturePosteriorCreate(&law, spectrum, 1.0, temperature[i], &plan, &p[i]));
      TestCall(FwSpectrumDestroy(&spectrum));
      TestCall(FwMixtureLawDestroy(&law));
    }
    assert_relative(p[1].mean_q[0], p[0].mean_q[0], 1e-3);
    assert_relative(p[1].mean_log_q[0], p[0].mean_log_q[0], 1e-3);
    for (int i = 0; i < 2; i++) TestCall(FwMixturePosteriorDestroy(&p[i]));
  }
}

static void curves_are_densities(void **state)
{
  FwMixturePosterior p        = solve(make_deep_law(1, 10.0, 5), 0.1, FW_POSTERIOR_AUTO);
  const double       step     = p.curve_log_q[1] - p.curve_log_q[0];
  double             total[2] = {0.0}, mean = 0.0;

  (void)state;
  for (PetscInt i = 0; i < p.n_curve; i++) {
    total[0] += step * p.curve_prior[i];
    total[1] += step * p.curve_posterior[i];
    mean += step * p.curve_posterior[i] * p.curve_log_q[i];
  }
  assert_close(total[0], 1.0, 1e-3);
  assert_close(total[1], 1.0, 1e-4);
  assert_close(mean, p.mean_log_q[0], 1e-3);
  TestCall(FwMixturePosteriorDestroy(&p));
}

/* --- sampled posteriors on ranks ---------------------------------------------------------------------------- */

/* By all ranks together and by each alone: with bandwidth 64 and few examples, the decomposition is the kernel itself */
static PetscErrorCode try_on(FwGrid where, const FwMixturePosteriorPlan *with, FwMixturePosterior *p)
{
  FwMixtureLaw   law = make_deep_law(3, 10.0, 5);
  double         train[EXAMPLES * EXAMPLES], cross[EXAMPLES], y[3 * EXAMPLES];
  const double   diagonal = kernel(0, 0);
  FwMatrix       k, k_cross;
  FwSpectrum     spectrum;
  PetscErrorCode code;

  fill_labels(3, y);
  for (int mu = 0; mu < EXAMPLES; mu++) {
    cross[mu] = kernel(mu + 1, 0);
    for (int nu = 0; nu < EXAMPLES; nu++) train[mu * EXAMPLES + nu] = kernel(mu + 1, nu + 1);
  }
  TestCall(FwMatrixCreateFromCopy(where, EXAMPLES, EXAMPLES, train, &k));
  TestCall(FwMatrixCreateFromCopy(where, EXAMPLES, 1, cross, &k_cross));
  TestCall(FwSpectrumCreate(&k, 64, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 3, y, 0.0));
  TestCall(FwSpectrumSetTest(spectrum, &k_cross, &diagonal));
  code = FwMixturePosteriorCreate(&law, spectrum, 1.0, 0.05, with, p);
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
  return code;
}

static const double test_target[] = {1.0, -0.5, 2.0};

static FwMixturePosterior solve_on(FwGrid where, FwPosteriorMethod method)
{
  const FwMixturePosteriorPlan with = {
    .method = method, .n_sample = 3000, .n_particle = 1100, .seed = 7, .target = test_target};
  FwMixturePosterior p;

  TestCall(try_on(where, &with, &p));
  return p;
}

static void assert_same_bits(const FwMixturePosterior *p, const FwMixturePosterior *q)
{
  assert_close(p->log_evidence, q->log_evidence, 0.0);
  assert_close(p->log_evidence_error, q->log_evidence_error, 0.0);
  assert_close(p->effective_sample_size, q->effective_sample_size, 0.0);
  assert_close(p->test_bias_error, q->test_bias_error, 0.0);
  for (int c = 0; c < 3; c++) assert_close(p->mean[c], q->mean[c], 0.0);
  for (int c = 0; c < 9; c++) {
    assert_close(p->covariance[c], q->covariance[c], 0.0);
    assert_close(p->mean_q[c], q->mean_q[c], 0.0);
  }
}

/* Means of two samples, within 4 standard errors, which are not zero */
static void assert_agree(int n, const double x[], const double dx[], const double y[], const double dy[])
{
  for (int i = 0; i < n; i++) {
    assert_true(dx[i] > 0.0 && dy[i] > 0.0);
    assert_close((x[i] - y[i]) / hypot(dx[i], dy[i]), 0.0, 4.0);
  }
}

static void sampled_posteriors_have_the_same_bits_on_any_ranks(void **state)
{
  FwMixturePosterior      p[2];
  const FwPosteriorMethod method[] = {FW_POSTERIOR_IMPORTANCE, FW_POSTERIOR_SEQUENTIAL};
  FwGrid                  alone;

  (void)state;
  TestCall(FwGridCreate(PETSC_COMM_SELF, &alone));
  for (int k = 0; k < 2; k++) {
    FwMixturePosterior single = solve_on(alone, method[k]);

    p[k] = solve_on(grid, method[k]);
    assert_same_bits(&p[k], &single);
    TestCall(FwMixturePosteriorDestroy(&single));
  }
  assert_agree(9, p[0].mean_q, p[0].mean_q_error, p[1].mean_q, p[1].mean_q_error);
  assert_agree(3, p[0].mean, p[0].mean_error, p[1].mean, p[1].mean_error);
  for (int k = 0; k < 2; k++) TestCall(FwMixturePosteriorDestroy(&p[k]));
  TestCall(FwGridDestroy(&alone));
}

enum { ERROR, BIAS, VARIANCE, N_ERROR };

static void test_errors(const FwMixturePosterior *p, const double target[3], double error[N_ERROR])
{
  error[BIAS] = error[VARIANCE] = 0.0;
  for (int c = 0; c < 3; c++) {
    error[BIAS] += PetscSqr(p->mean[c] - target[c]) / 3.0;
    error[VARIANCE] += p->covariance[4 * c] / 3.0;
  }
  error[ERROR] = error[BIAS] + error[VARIANCE];
}

/* 16 seeds: a scatter is known to 18 %, and half or twice the bar is three of that away */
static void error_bars_of_test_errors_are_their_scatter_over_seeds(void **state)
{
  enum { SEEDS = 16 };
  double sum[N_ERROR] = {0.0}, square[N_ERROR] = {0.0}, bar[N_ERROR] = {0.0};

  (void)state;
  for (int s = 0; s < SEEDS; s++) {
    const FwMixturePosteriorPlan with = {.method     = FW_POSTERIOR_IMPORTANCE,
                                         .n_sample   = 2000,
                                         .n_particle = 100,
                                         .seed       = (uint64_t)s,
                                         .target     = test_target};
    FwMixturePosterior           p;
    double                       error[N_ERROR];

    TestCall(try_on(grid, &with, &p));
    test_errors(&p, test_target, error);
    for (int e = 0; e < N_ERROR; e++) {
      sum[e] += error[e] / SEEDS;
      square[e] += error[e] * error[e] / SEEDS;
    }
    bar[ERROR] += p.test_error_error / SEEDS;
    bar[BIAS] += p.test_bias_error / SEEDS;
    bar[VARIANCE] += p.test_variance_error / SEEDS;
    TestCall(FwMixturePosteriorDestroy(&p));
  }
  for (int e = 0; e < N_ERROR; e++) {
    const double scatter = sqrt((square[e] - sum[e] * sum[e]) * SEEDS / (SEEDS - 1.0));

    assert_true(bar[e] > 0.0);
    assert_close(log(scatter / bar[e]), 0.0, log(2.0));
  }
}

/* Particles that the moves hardly displace: a narrow posterior of a deep network */
static void stages_that_do_not_mix_are_counted(void **state)
{
  const FwMixturePosteriorPlan few      = {.method = FW_POSTERIOR_SEQUENTIAL, .n_sample = 1000, .n_particle = 100};
  FwMixtureLaw                 law      = make_deep_law(3, 10.0, 10);
  FwSpectrum                   spectrum = make_spectrum(3);
  FwMixturePosterior           p;

  (void)state;
  TestCall(FwMixturePosteriorCreate(&law, spectrum, 1.0, 1e-8, &few, &p));
  assert_true(p.n_unmixed > 0 && p.n_unmixed <= p.n_stage);
  TestCall(FwMixturePosteriorDestroy(&p));
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
}

static void few_effective_samples_lead_to_sequential_monte_carlo(void **state)
{
  FwMixturePosterior many = solve(make_deep_law(3, 10.0, 5), 1.0, FW_POSTERIOR_AUTO);
  FwMixturePosterior few  = solve(make_deep_law(3, 10.0, 5), 1e-3, FW_POSTERIOR_AUTO);

  (void)state;
  assert_close(strcmp(many.method, "importance sampling"), 0.0, 0.0);
  assert_close(many.effective_sample_size >= 1000.0, 1.0, 0.0);
  assert_close(strcmp(few.method, "sequential Monte Carlo"), 0.0, 0.0);
  TestCall(FwMixturePosteriorDestroy(&many));
  TestCall(FwMixturePosteriorDestroy(&few));
}

/* --- stop and resume ---------------------------------------------------------------------------------------- */

/* One run that goes on from the checkpoint: by all ranks, or by the first one alone */
static PetscErrorCode go_on(PetscBool is_alone, const FwMixturePosteriorPlan *with, FwMixturePosterior *p)
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscMPIInt    rank;
  FwGrid         alone;

  if (!is_alone) return try_on(grid, with, p);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    TestCall(FwGridCreate(PETSC_COMM_SELF, &alone));
    code = try_on(alone, with, p);
    TestCall(FwGridDestroy(&alone));
  }
  MPI_Bcast(&code, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  return code;
}

/* A process that was asked to stop stops after every move: to the end, by turns on all ranks and on one. Nothing can
   take the request back: the last test */
static void stopped_after_every_move_it_comes_to_the_same_bits_on_other_ranks(void **state)
{
  FwMixturePosteriorPlan with  = {.method     = FW_POSTERIOR_SEQUENTIAL,
                                  .target     = test_target,
                                  .n_sample   = 3000,
                                  .n_particle = 1100,
                                  .seed       = 7,
                                  .checkpoint = "mixture_posterior.chk",
                                  .tag        = "tag",
                                  .resume     = PETSC_TRUE,
                                  .interval   = 1e9};
  FwMixturePosterior     whole = solve_on(grid, FW_POSTERIOR_SEQUENTIAL), p;
  PetscErrorCode         code  = FW_ERR_STOPPED;
  PetscMPIInt            rank;
  int                    n_stop = 0;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  TestCall(FwCheckpointRemove(PETSC_COMM_WORLD, with.checkpoint));
  TestCall(FwStopSetUp());
  raise(SIGUSR2);
  for (; code == FW_ERR_STOPPED && n_stop < 1000; n_stop++) {
    FwErrorClear();
    code = go_on(n_stop % 2 ? PETSC_TRUE : PETSC_FALSE, &with, &p);
  }
  assert_close(code, PETSC_SUCCESS, 0.0);
  assert_close(n_stop > 10, 1.0, 0.0);
  if (rank == 0 || n_stop % 2) { /* the last run was on all ranks */
    assert_same_bits(&p, &whole);
    TestCall(FwMixturePosteriorDestroy(&p));
  }
  with.n_particle = 1000;
  assert_close(go_on(PETSC_FALSE, &with, &p), FW_ERR_FILE, 0.0);
  FwErrorClear();
  with.tag = "other";
  assert_close(go_on(PETSC_FALSE, &with, &p), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwMixturePosteriorDestroy(&whole));
  TestCall(FwCheckpointRemove(PETSC_COMM_WORLD, with.checkpoint));
}

/* --- bad input ---------------------------------------------------------------------------------------------- */

static void expect_error(FwMixtureLaw law, int n_output, const double y[], double temperature, int error)
{
  FwSpectrum         spectrum = make_unit(3, n_output, y);
  FwMixturePosterior p;

  assert_close(FwMixturePosteriorCreate(&law, spectrum, 1.0, temperature, &plan, &p), error, 0.0);
  FwErrorClear();
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwMixtureLawDestroy(&law));
}

/* One example has |h|^2 = u, chi-square(N) / N for one layer, and y ~ N(0, u 1): p(y) = E exp(-|y|^2 / (2u)) / (2 pi u),
   at |y|^2 = 1.25 by a quadrature of 25 digits */
static void check_one_example_needs_width(void)
{
  const double       y[2] = {1.0, 0.5};
  FwMixtureLaw       law  = make_deep_law(2, 3.5, 1);
  FwSpectrum         one  = make_unit(1, 2, y);
  FwMixturePosterior p    = solve_unit(make_deep_law(2, 4.0, 1), 1, y, 0.0, FW_POSTERIOR_AUTO);

  assert_close(p.log_evidence, -2.61273260593722, 1e-9);
  TestCall(FwMixturePosteriorDestroy(&p));
  assert_close(FwMixturePosteriorCreate(&law, one, 1.0, 0.0, &plan, &p), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwSpectrumDestroy(&one));
  TestCall(FwMixtureLawDestroy(&law));
}

static void bad_input_is_refused(void **state)
{
  const double y[9] = {1.0, -0.5, 0.3, 0.2, 0.1, 0.7, 0.4, -0.2, 0.9}, zero[3] = {0.0},
               repeated[4] = {1.0, 1.0, 1.0, 1.0};
  FwMixtureLaw       law   = make_deep_law(1, 5.0, 2);
  FwMatrix           k;
  FwSpectrum         singular;
  FwMixturePosterior p;

  (void)state;
  expect_error(make_deep_law(2, 5.0, 2), 1, y, 0.1, FW_ERR_INPUT); /* outputs */
  expect_error(make_deep_law(3, 2.0, 2), 3, y, 0.0, FW_ERR_INPUT); /* narrow, and no noise */
  expect_error(make_law(1, 0, NULL, INFINITY), 1, y, 0.1, FW_ERR_INPUT);
  check_one_example_needs_width();
  expect_error(make_law(2, 0, NULL, INFINITY), 2, y, 0.0, FW_ERR_INPUT);
  expect_error(make_deep_law(1, 5.0, 2), 1, y, -1.0, FW_ERR_INPUT);
  expect_error(make_deep_law(1, 5.0, 2), 1, zero, 0.0, FW_ERR_NUMERICAL);
  TestCall(FwMatrixCreateFromCopy(grid, 2, 2, repeated, &k));
  TestCall(FwSpectrumCreate(&k, 0, &singular));
  TestCall(FwSpectrumSetLabels(singular, 1, y, 0.0));
  assert_close(FwMixturePosteriorCreate(&law, singular, 1.0, 0.0, &plan, &p), FW_ERR_NUMERICAL, 0.0);
  FwErrorClear();
  TestCall(FwSpectrumDestroy(&singular));
  TestCall(FwMixtureLawDestroy(&law));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_output_equals_the_reference),
    cmocka_unit_test(two_outputs_equal_the_reference),
    cmocka_unit_test(three_outputs_are_within_the_errors_of_the_reference),
    cmocka_unit_test(one_layer_without_noise_is_a_bessel_function),
    cmocka_unit_test(evidence_and_moments_without_noise_are_those_of_the_reference),
    cmocka_unit_test(layers_as_wide_as_the_data_share_the_scale),
    cmocka_unit_test(infinite_depth_is_the_student_limit),
    cmocka_unit_test(without_noise_only_the_covariance_sees_the_depth),
    cmocka_unit_test(outputs_and_examples_are_exchangeable),
    cmocka_unit_test(singular_laws_are_sampled),
    cmocka_unit_test(scale_of_the_kernel_may_stand_beside_it),
    cmocka_unit_test(posterior_turns_with_the_labels),
    cmocka_unit_test(many_examples_fix_the_scale),
    cmocka_unit_test(labels_that_no_scale_fits_do_not_move_it),
    cmocka_unit_test(curves_are_densities),
    cmocka_unit_test(sampled_posteriors_have_the_same_bits_on_any_ranks),
    cmocka_unit_test(error_bars_of_test_errors_are_their_scatter_over_seeds),
    cmocka_unit_test(few_effective_samples_lead_to_sequential_monte_carlo),
    cmocka_unit_test(stages_that_do_not_mix_are_counted),
    cmocka_unit_test(bad_input_is_refused),
    cmocka_unit_test(stopped_after_every_move_it_comes_to_the_same_bits_on_other_ranks),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  reference = reference_open("mixture.json");
  n_failed  = cmocka_run_group_tests_name("mixture posterior", tests, NULL, NULL);
  reference_close(&reference);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
