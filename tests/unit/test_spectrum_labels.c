/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Several columns of labels on one spectrum: by linearity, everything follows from spectra with one column each, that
 * of a sum of two columns included.
 *
 * ranks: 1 2 4
 */

#include <finwidth/spectrum.h>
#include "../support/collective_assert.h"

enum { P = 83, N_TEST = 7, INPUTS = 120, N_LABEL = 3, N_NODE = 2 };

static const double temperature = 0.05, order = 1.7, bias = 0.4, factor = 1.3;

static FwGrid grid;

static double input(int example, int i)
{
  return sin(0.7 * example + 1.3 * i + 0.1 * example * i);
}

/* Between made-up examples */
static double kernel(int a, int b)
{
  static double value[P + N_TEST][P + N_TEST];

  if (value[0][0] == 0.0)
    for (int k = 0; k < INPUTS; k++)
      for (int i = 0; i < P + N_TEST; i++)
        for (int j = 0; j < P + N_TEST; j++) value[i][j] += input(i, k) * input(j, k) / INPUTS;
  return value[a][b];
}

static double label(int column, int example)
{
  return cos(2.3 * example + 0.8 * column * column) + 0.3 * column;
}

static FwMatrix make(int n, int first_column)
{
  FwMatrix a;
  double   copy[P * P];

  for (int j = 0; j < n; j++)
    for (int i = 0; i < P; i++) copy[i + j * P] = kernel(i, first_column + j);
  TestCall(FwMatrixCreateFromCopy(grid, P, n, copy, &a));
  return a;
}

static FwSpectrum make_spectrum(PetscInt bandwidth, PetscInt n_label, const double y[], double variance)
{
  FwMatrix   k = make(P, 0), cross = make(N_TEST, P);
  FwSpectrum spectrum;
  double     diagonal[N_TEST];

  for (int t = 0; t < N_TEST; t++) diagonal[t] = kernel(P + t, P + t);
  TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, n_label, y, variance));
  TestCall(FwSpectrumScaleLabels(spectrum, factor, variance));
  TestCall(FwSpectrumSetTest(spectrum, &cross, diagonal));
  TestCall(FwSpectrumFreeze(spectrum));
  return spectrum;
}

static FwResolvent resolve_one(PetscInt bandwidth, const double y[], double variance)
{
  FwSpectrum  spectrum = make_spectrum(bandwidth, 1, y, variance);
  FwResolvent r;

  TestCall(FwSpectrumResolve(spectrum, temperature, order, PETSC_TRUE, &r));
  TestCall(FwSpectrumDestroy(&spectrum));
  return r;
}

static void fill_labels(double y[N_LABEL][P])
{
  for (int c = 0; c < N_LABEL; c++)
    for (int i = 0; i < P; i++) y[c][i] = label(c, i);
}

static void check_forms(PetscInt bandwidth, double variance)
{
  FwSpectrum  spectrum;
  FwResolvent all, one[N_LABEL];
  double      y[N_LABEL][P], fit[N_LABEL * N_LABEL], slope[N_LABEL * N_LABEL], curve[N_LABEL * N_LABEL];
  double      square[N_LABEL * N_LABEL], least[N_LABEL * N_LABEL], above[N_LABEL * N_LABEL], sum = 0.0;

  fill_labels(y);
  spectrum = make_spectrum(bandwidth, N_LABEL, y[0], variance);
  TestCall(FwSpectrumResolveForms(spectrum, temperature, order, PETSC_TRUE, &all,
                                  &(FwLabelForms){.fit       = fit,
                                                  .fit_slope = slope,
                                                  .fit_curve = curve,
                                                  .residual2 = square,
                                                  .fit_least = least,
                                                  .fit_above = above}));
  for (int c = 0; c < N_LABEL; c++) {
    one[c] = resolve_one(bandwidth, y[c], variance);
    sum += one[c].fit;
    assert_close(all.trace, one[c].trace, 1e-13);
    assert_close(all.trace_slope, one[c].trace_slope, 1e-13);
    assert_close(all.log_det, one[c].log_det, 1e-13);
    assert_close(all.trace_bias, one[c].trace_bias, 1e-13);
  }
  assert_close(all.fit, sum, 1e-12);
  for (int c = 0; c < N_LABEL; c++)
    for (int d = 0; d < N_LABEL; d++) {
      FwResolvent both;
      double      y_both[P];

      for (int i = 0; i < P; i++) y_both[i] = y[c][i] + y[d][i];
      both = resolve_one(bandwidth, y_both, variance);
      assert_close(fit[c * N_LABEL + d], 0.5 * (both.fit - one[c].fit - one[d].fit), 1e-11);
      assert_close(slope[c * N_LABEL + d], 0.5 * (both.fit_slope - one[c].fit_slope - one[d].fit_slope), 1e-11);
      assert_close(curve[c * N_LABEL + d], 0.5 * (both.fit_curve - one[c].fit_curve - one[d].fit_curve), 1e-11);
      assert_close(square[c * N_LABEL + d], 0.5 * (both.residual2 - one[c].residual2 - one[d].residual2), 1e-10);
    }
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void forms_of_several_columns_follow_from_single_ones(void **state)
{
  (void)state;
  for (int b = 0; b < 3; b++) {
    check_forms((const PetscInt[]){0, 1, 64}[b], 0.0);
    check_forms((const PetscInt[]){0, 1, 64}[b], bias);
  }
}

static void check_predictions(PetscInt bandwidth, double variance)
{
  const double at[N_NODE] = {0.6, order}, one_weight = 1.0;
  double       y[N_LABEL][P], mean[N_NODE][N_LABEL][N_TEST], var[N_NODE][N_TEST];
  FwSpectrum   spectrum;

  fill_labels(y);
  spectrum = make_spectrum(bandwidth, N_LABEL, y[0], variance);
  TestCall(FwSpectrumPredictEach(spectrum, temperature, N_NODE, at, mean[0][0], var[0]));
  TestCall(FwSpectrumDestroy(&spectrum));
  for (int c = 0; c < N_LABEL; c++) {
    FwSpectrum single = make_spectrum(bandwidth, 1, y[c], variance);

    for (int k = 0; k < N_NODE; k++) {
      double      m[N_TEST], within[N_TEST], between[N_TEST];
      FwPosterior posterior = {.mean = m, .within = within, .between = between};

      TestCall(FwSpectrumPredict(single, temperature, 1, &(FwMixture){1, &at[k], &one_weight}, &posterior));
      for (int t = 0; t < N_TEST; t++) {
        assert_close(mean[k][c][t], m[t], 1e-12);
        assert_close(var[k][t], within[t], 1e-12);
      }
    }
    TestCall(FwSpectrumDestroy(&single));
  }
}

static void predictions_of_several_columns_are_those_of_each(void **state)
{
  (void)state;
  for (int b = 0; b < 3; b++) {
    check_predictions((const PetscInt[]){0, 1, 64}[b], 0.0);
    check_predictions((const PetscInt[]){0, 1, 64}[b], bias);
  }
}

static void saved_spectrum_keeps_its_columns(void **state)
{
  double      y[N_LABEL][P], fit[N_LABEL * N_LABEL], unused[5][N_LABEL * N_LABEL], first;
  char        path[64];
  FwSpectrum  spectrum;
  FwResolvent r;

  (void)state;
  TestCall(PetscSNPrintf(path, sizeof path, "spectrum-labels-%d.h5", (int)PetscGlobalSize));
  fill_labels(y);
  spectrum = make_spectrum(0, N_LABEL, y[0], bias);
  for (int round = 0; round < 2; round++) {
    TestCall(FwSpectrumResolveForms(spectrum, temperature, order, PETSC_FALSE, &r,
                                    &(FwLabelForms){.fit       = fit,
                                                    .fit_slope = unused[0],
                                                    .fit_curve = unused[1],
                                                    .residual2 = unused[2],
                                                    .fit_least = unused[3],
                                                    .fit_above = unused[4]}));
    if (round) break;
    first = fit[1];
    TestCall(FwSpectrumSave(spectrum, path, "labels"));
    TestCall(FwSpectrumDestroy(&spectrum));
    TestCall(FwSpectrumLoad(grid, path, "labels", &spectrum));
  }
  assert_close(fit[1], first, 0.0);
  TestCall(FwSpectrumDestroy(&spectrum));
}

/* Four modes, two of them zero; the test example lies in the range of the others */
enum { N_MODE = 4 };
static const double mode[N_MODE] = {0.0, 0.0, 0.5, 1.0}, weight_in[N_MODE] = {0.0, 0.0, 0.2, 0.3};

static FwSpectrum make_singular(const double y[], double variance)
{
  double     k[N_MODE * N_MODE] = {0.0}, diagonal = 0.0;
  FwMatrix   matrix, cross;
  FwSpectrum spectrum;

  for (int i = 0; i < N_MODE; i++) {
    k[i * (N_MODE + 1)] = mode[i];
    diagonal += mode[i] > 0.0 ? weight_in[i] * weight_in[i] / mode[i] : 0.0;
  }
  TestCall(FwMatrixCreateFromCopy(grid, N_MODE, N_MODE, k, &matrix));
  TestCall(FwMatrixCreateFromCopy(grid, N_MODE, 1, weight_in, &cross));
  TestCall(FwSpectrumCreate(&matrix, 0, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 1, y, variance));
  TestCall(FwSpectrumSetTest(spectrum, &cross, &diagonal));
  return spectrum;
}

/* Every example is seen, so that variances are of the order of T; a bias has the prior variance s^2 and is measured with
   noise T by what the modes leave of it */
static void tiny_variance_is_not_left_to_round_off(void **state)
{
  const double y[N_MODE] = {1.0, -2.0, 0.3, 0.4}, q[2] = {0.7, 1.9}, half[2] = {0.5, 0.5};

  (void)state;
  for (int with_bias = 0; with_bias < 2; with_bias++)
    for (double T = 1e-6; T > 1e-25; T *= 1e-3) {
      const double s2       = with_bias ? bias : 0.0;
      FwSpectrum   spectrum = make_singular(y, s2);
      double       expected[2], mean[2], variance[2], average, within, between;

      for (int c = 0; c < 2; c++) {
        double missed = 1.0, ones = 0.0;

        expected[c] = 0.0;
        for (int i = 0; i < N_MODE; i++) {
          const double d = T + q[c] * mode[i];

          expected[c] += mode[i] > 0.0 ? weight_in[i] * weight_in[i] * q[c] * T / (mode[i] * d) : 0.0;
          missed -= q[c] * weight_in[i] / d;
          ones += 1.0 / d;
        }
        expected[c] += s2 * missed * missed / (1.0 + s2 * ones);
      }
      TestCall(FwSpectrumPredictEach(spectrum, T, 2, q, mean, variance));
      for (int c = 0; c < 2; c++) assert_close(variance[c] / expected[c], 1.0, 1e-9);
      TestCall(FwSpectrumPredict(spectrum, T, 1, &(FwMixture){2, q, half},
                                 &(FwPosterior){.mean = &average, .within = &within, .between = &between}));
      assert_close(within / (0.5 * (expected[0] + expected[1])), 1.0, 1e-9);
      assert_close(average, 0.5 * (mean[0] + mean[1]), 1e-12);
      assert_close(between, 0.25 * PetscSqr(mean[0] - mean[1]), 1e-12);
      TestCall(FwSpectrumDestroy(&spectrum));
    }
}

static void fit_is_what_no_order_fits_and_the_rest(void **state)
{
  const double y[N_MODE] = {1.0, -2.0, 0.3, 0.4};

  (void)state;
  for (int with_bias = 0; with_bias < 2; with_bias++) {
    FwSpectrum  spectrum = make_singular(y, with_bias ? bias : 0.0);
    FwResolvent here, far, tiny, small;

    TestCall(FwSpectrumResolve(spectrum, 0.01, 1.3, PETSC_FALSE, &here));
    TestCall(FwSpectrumResolve(spectrum, 0.01, 1e16, PETSC_FALSE, &far));
    assert_close(here.fit, here.fit_least + here.fit_above, 1e-12);
    assert_close(far.fit, here.fit_least, 1e-10);
    TestCall(FwSpectrumResolve(spectrum, 1e-9, 1.3, PETSC_FALSE, &small));
    TestCall(FwSpectrumResolve(spectrum, 1e-20, 1.3, PETSC_FALSE, &tiny));
    assert_close(tiny.fit_above, small.fit_above, 1e-7);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(forms_of_several_columns_follow_from_single_ones),
    cmocka_unit_test(predictions_of_several_columns_are_those_of_each),
    cmocka_unit_test(saved_spectrum_keeps_its_columns),
    cmocka_unit_test(tiny_variance_is_not_left_to_round_off),
    cmocka_unit_test(fit_is_what_no_order_fits_and_the_rest),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("spectrum labels", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
