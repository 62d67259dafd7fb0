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
  double      square[N_LABEL * N_LABEL], sum = 0.0;

  fill_labels(y);
  spectrum = make_spectrum(bandwidth, N_LABEL, y[0], variance);
  TestCall(
    FwSpectrumResolveForms(spectrum, temperature, order, PETSC_TRUE, &all,
                           &(FwLabelForms){.fit = fit, .fit_slope = slope, .fit_curve = curve, .residual2 = square}));
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
  double      y[N_LABEL][P], fit[N_LABEL * N_LABEL], unused[3][N_LABEL * N_LABEL], first;
  char        path[64];
  FwSpectrum  spectrum;
  FwResolvent r;

  (void)state;
  TestCall(PetscSNPrintf(path, sizeof path, "spectrum-labels-%d.h5", (int)PetscGlobalSize));
  fill_labels(y);
  spectrum = make_spectrum(0, N_LABEL, y[0], bias);
  for (int round = 0; round < 2; round++) {
    TestCall(FwSpectrumResolveForms(
      spectrum, temperature, order, PETSC_FALSE, &r,
      &(FwLabelForms){.fit = fit, .fit_slope = unused[0], .fit_curve = unused[1], .residual2 = unused[2]}));
    if (round) break;
    first = fit[1];
    TestCall(FwSpectrumSave(spectrum, path, "labels"));
    TestCall(FwSpectrumDestroy(&spectrum));
    TestCall(FwSpectrumLoad(grid, path, "labels", &spectrum));
  }
  assert_close(fit[1], first, 0.0);
  TestCall(FwSpectrumDestroy(&spectrum));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(forms_of_several_columns_follow_from_single_ones),
    cmocka_unit_test(predictions_of_several_columns_are_those_of_each),
    cmocka_unit_test(saved_spectrum_keeps_its_columns),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("spectrum labels", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
