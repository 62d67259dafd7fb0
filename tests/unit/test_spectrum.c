/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Every number of a spectrum, of every bandwidth, against dense algebra on A = T + s^2 1 1^T + Q K, with and without
 * the readout bias.
 *
 * ranks: 1 2 3 4
 */

#include <finwidth/cholesky.h>
#include <finwidth/spectrum.h>
#include "../support/collective_assert.h"

enum { P_TEST = 9, INPUTS = 240 };

static FwGrid   grid;
static PetscInt bandwidth;
static int      P; /* training examples */

static const PetscInt bandwidths[] = {0, 1, 64};
static const int      sizes[]      = {1, 2, 63, 64, 65, 83, 128, 193};

#define FOR_EACH_BANDWIDTH for (int b = 0; b < 3 && (bandwidth = bandwidths[b], 1); b++)
#define FOR_EACH_SIZE      for (int i_size = 0; i_size < 8 && (P = sizes[i_size], 1); i_size++)

/* Between 256 made-up examples */
static double kernel(int a, int b)
{
  static double value[256][256];

  if (value[0][0] == 0.0)
    for (int i = 0; i < 256; i++)
      for (int k = 0; k < INPUTS; k++) {
        const double x = sin(0.7 * i + 1.3 * k + 0.1 * i * k);

        for (int j = 0; j < 256; j++) value[i][j] += x * sin(0.7 * j + 1.3 * k + 0.1 * j * k) / INPUTS;
      }
  return value[a][b];
}

static double label(int example)
{
  return cos(2.3 * example) + 0.3;
}

static FwMatrix make(int m, int n, int first_column)
{
  FwMatrix a;
  double  *copy;

  TestCall(PetscMalloc1(m * n, &copy));
  for (int j = 0; j < n; j++)
    for (int i = 0; i < m; i++) copy[i + j * m] = kernel(i, first_column + j);
  TestCall(FwMatrixCreateFromCopy(grid, m, n, copy, &a));
  TestCall(PetscFree(copy));
  return a;
}

static FwSpectrum make_spectrum(double bias)
{
  FwMatrix   k = make(P, P, 0), cross = make(P, P_TEST, P);
  FwSpectrum spectrum;
  double     y[256], diagonal[P_TEST];

  for (int i = 0; i < P; i++) y[i] = label(i);
  for (int t = 0; t < P_TEST; t++) diagonal[t] = kernel(P + t, P + t);
  TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 1, y, bias));
  TestCall(FwSpectrumSetTest(spectrum, &cross, diagonal));
  return spectrum;
}

/* Cholesky factor of A, and the matrix [y, k*_1, ..] with k* = Q K_0X + s^2 */
static FwCholesky make_dense(double temperature, double order, double bias, FwMatrix *right)
{
  double    *a, *r;
  FwMatrix   matrix;
  FwCholesky factor;

  TestCall(PetscMalloc2(P * P, &a, P * (P_TEST + 1), &r));
  for (int j = 0; j < P; j++)
    for (int i = 0; i < P; i++) a[i + j * P] = (i == j) * temperature + bias + order * kernel(i, j);
  for (int i = 0; i < P; i++) {
    r[i] = label(i);
    for (int t = 0; t < P_TEST; t++) r[i + (t + 1) * P] = bias + order * kernel(i, P + t);
  }
  TestCall(FwMatrixCreateFromCopy(grid, P, P, a, &matrix));
  TestCall(FwMatrixCreateFromCopy(grid, P, P_TEST + 1, r, right));
  TestCall(FwCholeskyCreate(&matrix, &factor));
  TestCall(PetscFree2(a, r));
  return factor;
}

static void check_resolvent(double temperature, double order, double bias)
{
  FwSpectrum   spectrum = make_spectrum(bias);
  FwMatrix     right;
  FwCholesky   factor = make_dense(temperature, order, bias, &right);
  FwResolvent  r, up, down;
  const double step = 1e-4;
  double       log_det, fit = 0.0, residual2 = 0.0, *x;

  TestCall(FwSpectrumResolve(spectrum, temperature, order, PETSC_TRUE, &r));
  TestCall(FwSpectrumResolve(spectrum, temperature, order * exp(step), PETSC_TRUE, &up));
  TestCall(FwSpectrumResolve(spectrum, temperature, order * exp(-step), PETSC_TRUE, &down));
  TestCall(FwCholeskyLogDet(factor, &log_det));
  TestCall(FwCholeskySolve(factor, right));
  TestCall(PetscMalloc1(P * (P_TEST + 1), &x));
  TestCall(FwMatrixGather(right, x));
  for (int i = 0; i < P; i++) {
    fit += label(i) * x[i];
    residual2 += x[i] * x[i];
  }
  assert_close(r.log_det, log_det, 1e-12);
  assert_close(r.fit, fit, 1e-11);
  assert_close(r.residual2, residual2, 1e-10);
  assert_close(r.trace, (up.log_det - down.log_det) / (2.0 * step), 1e-7);
  assert_close(r.trace_slope, (up.trace - down.trace) / (2.0 * step), 1e-7);
  assert_close(r.fit_slope, -(up.fit - down.fit) / (2.0 * step), 1e-6);
  assert_close(r.fit_slope - 2.0 * r.fit_curve, (up.fit_slope - down.fit_slope) / (2.0 * step), 1e-6);
  TestCall(PetscFree(x));
  TestCall(FwMatrixDestroy(&right));
  TestCall(FwCholeskyDestroy(&factor));
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void resolvent_equals_dense_algebra(void **state)
{
  (void)state;
  FOR_EACH_BANDWIDTH FOR_EACH_SIZE
  {
    check_resolvent(0.1, 1.7, 0.0);
    check_resolvent(0.01, 0.2, 0.0);
  }
}

static void resolvent_with_readout_bias_equals_dense_algebra(void **state)
{
  (void)state;
  FOR_EACH_BANDWIDTH FOR_EACH_SIZE
  {
    check_resolvent(0.1, 1.7, 0.6);
    check_resolvent(0.02, 0.3, 4.0);
  }
}

static void check_prediction(double bias)
{
  const double temperature = 0.1, order[2] = {0.6, 1.9}, weight[2] = {0.3, 0.7};
  FwSpectrum   spectrum = make_spectrum(bias);
  double       mean[P_TEST], within[P_TEST], between[P_TEST], m[2][P_TEST], v[2][P_TEST];
  FwPosterior  posterior = {.mean = mean, .within = within, .between = between};

  for (int c = 0; c < 2; c++) {
    FwMatrix   right;
    FwCholesky factor = make_dense(temperature, order[c], bias, &right);
    double    *x;

    TestCall(FwCholeskySolve(factor, right));
    TestCall(PetscMalloc1(P * (P_TEST + 1), &x));
    TestCall(FwMatrixGather(right, x));
    for (int t = 0; t < P_TEST; t++) {
      m[c][t] = 0.0;
      v[c][t] = order[c] * kernel(P + t, P + t) + bias;
      for (int i = 0; i < P; i++) {
        const double cross = bias + order[c] * kernel(i, P + t);

        m[c][t] += cross * x[i];
        v[c][t] -= cross * x[i + (t + 1) * P];
      }
    }
    TestCall(PetscFree(x));
    TestCall(FwMatrixDestroy(&right));
    TestCall(FwCholeskyDestroy(&factor));
  }
  TestCall(FwSpectrumPredict(spectrum, temperature, 1, &(FwMixture){2, order, weight}, &posterior));
  for (int t = 0; t < P_TEST; t++) {
    const double average = weight[0] * m[0][t] + weight[1] * m[1][t];

    assert_close(mean[t], average, 1e-11);
    assert_close(within[t], weight[0] * v[0][t] + weight[1] * v[1][t], 1e-11);
    assert_close(between[t], weight[0] * PetscSqr(m[0][t] - average) + weight[1] * PetscSqr(m[1][t] - average), 1e-11);
  }
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void predictions_equal_dense_algebra(void **state)
{
  (void)state;
  FOR_EACH_BANDWIDTH FOR_EACH_SIZE
  {
    check_prediction(0.0);
    check_prediction(0.8);
  }
}

/* The same numbers by each bandwidth, far from where dense algebra in doubles is of any help */
static void bandwidths_agree_at_small_temperatures(void **state)
{
  (void)state;
  P = 193;
  for (int c = 0; c < 3; c++) {
    const double temperature = (double[]){0.0, 1e-6, 1e-3}[c], order = (double[]){2.0, 1e-3, 1e6}[c];
    FwResolvent  r, expected                                         = {0};

    FOR_EACH_BANDWIDTH
    {
      FwSpectrum spectrum = make_spectrum(0.5);

      TestCall(FwSpectrumResolve(spectrum, temperature, order, PETSC_TRUE, &r));
      if (!bandwidth) expected = r;
      assert_close(r.trace, expected.trace, 1e-10);
      assert_close(r.trace_slope, expected.trace_slope, 1e-10);
      assert_close(r.fit, expected.fit, 1e-8);
      assert_close(r.fit_slope, expected.fit_slope, 1e-8);
      assert_close(r.fit_curve, expected.fit_curve, 1e-8);
      assert_close(r.residual2, expected.residual2, 1e-8);
      assert_close(r.trace_bias, expected.trace_bias, 1e-8);
      assert_close(r.log_det, expected.log_det, 1e-10);
      TestCall(FwSpectrumDestroy(&spectrum));
    }
  }
}

static void bounds_are_those_of_the_eigenvalues(void **state)
{
  FwSpectrumBounds expected = {0}, bounds;

  (void)state;
  P = 130;
  FOR_EACH_BANDWIDTH
  {
    FwSpectrum spectrum = make_spectrum(0.0);

    TestCall(FwSpectrumGetBounds(spectrum, &bounds));
    if (!bandwidth) expected = bounds;
    assert_close(bounds.n, P, 0.0);
    assert_close(bounds.rank, P, 0.0);
    assert_close(bounds.trace, expected.trace, 1e-13);
    assert_close(bounds.label2, expected.label2, 1e-12);
    assert_close(bounds.inverse, expected.inverse, 1e-8);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

/* Bits, not digits: ranks take decisions on these numbers without asking each other */
static void resolvents_have_the_same_bits_on_all_ranks(void **state)
{
  FwResolvent r, first;

  (void)state;
  P = 193;
  FOR_EACH_BANDWIDTH
  {
    FwSpectrum spectrum = make_spectrum(0.5);

    TestCall(FwSpectrumResolve(spectrum, 0.01, 1.3, PETSC_TRUE, &r));
    first = r;
    MPI_Bcast(&first, sizeof first, MPI_BYTE, 0, PETSC_COMM_WORLD);
    assert_close(memcmp(&r, &first, sizeof r), 0, 0.0);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

/* A diagonal kernel: every panel of the reduction is zero already, and everything can be said by hand */
static void panels_without_rank_leave_the_kernel_as_it_is(void **state)
{
  double *copy, y[200];

  (void)state;
  P = 200;
  TestCall(PetscCalloc1(P * P, &copy));
  for (int i = 0; i < P; i++) {
    copy[i + i * P] = 1.0 + i % 3;
    y[i]            = label(i);
  }
  FOR_EACH_BANDWIDTH
  {
    FwMatrix    k;
    FwSpectrum  spectrum;
    FwResolvent r, expected = {0};

    TestCall(FwMatrixCreateFromCopy(grid, P, P, copy, &k));
    TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
    TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.0));
    TestCall(FwSpectrumResolve(spectrum, 0.5, 2.0, PETSC_TRUE, &r));
    for (int i = 0; i < P; i++) {
      const double q = 2.0 * (1.0 + i % 3), a = 0.5 + q;

      expected.trace += q / a;
      expected.trace_slope += q * 0.5 / (a * a);
      expected.fit += y[i] * y[i] / a;
      expected.log_det += log(a);
    }
    assert_close(r.trace, expected.trace, 1e-13);
    assert_close(r.trace_slope, expected.trace_slope, 1e-13);
    assert_close(r.fit, expected.fit, 1e-13);
    assert_close(r.log_det, expected.log_det, 1e-13);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
  TestCall(PetscFree(copy));
}

/* Each example three times: panels of rank 50 at most, and two thirds of the modes are zero */
static void repeated_examples_in_long_panels(void **state)
{
  enum { DISTINCT = 50 };
  double     *copy, y[3 * DISTINCT];
  FwResolvent r, expected = {0};

  (void)state;
  P = 3 * DISTINCT;
  TestCall(PetscCalloc1(P * P, &copy));
  for (int j = 0; j < P; j++) {
    for (int i = 0; i < P; i++) copy[i + j * P] = kernel(i % DISTINCT, j % DISTINCT);
    y[j] = label(j);
  }
  FOR_EACH_BANDWIDTH
  {
    FwMatrix   k;
    FwSpectrum spectrum;

    TestCall(FwMatrixCreateFromCopy(grid, P, P, copy, &k));
    TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
    TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.3));
    TestCall(FwSpectrumResolve(spectrum, 0.01, 1.5, PETSC_TRUE, &r));
    if (!bandwidth) expected = r;
    assert_close(r.trace, expected.trace, 1e-11);
    assert_close(r.trace_slope, expected.trace_slope, 1e-11);
    assert_close(r.fit, expected.fit, 1e-11);
    assert_close(r.fit_curve, expected.fit_curve, 1e-11);
    assert_close(r.log_det, expected.log_det, 1e-11);
    assert_close(FwSpectrumResolve(spectrum, 0.0, 1.0, PETSC_TRUE, &r), FW_ERR_NUMERICAL, 0.0);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
  TestCall(PetscFree(copy));
}

static void scaled_labels_equal_labels_set_anew(void **state)
{
  (void)state;
  P = 70;
  FOR_EACH_BANDWIDTH
  {
    FwSpectrum   spectrum = make_spectrum(0.0);
    double       y[256], mean[P_TEST], within[P_TEST], between[P_TEST], expected_mean[P_TEST];
    const double order[2] = {0.6, 1.9}, weight[2] = {0.3, 0.7};
    FwPosterior  posterior = {.mean = expected_mean, .within = within, .between = between};
    FwResolvent  r, expected;

    for (int i = 0; i < P; i++) y[i] = 3.0 * label(i);
    TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.7));
    TestCall(FwSpectrumResolve(spectrum, 0.1, 1.3, PETSC_TRUE, &expected));
    TestCall(FwSpectrumPredict(spectrum, 0.1, 1, &(FwMixture){2, order, weight}, &posterior));
    for (int i = 0; i < P; i++) y[i] = label(i);
    TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.0));
    TestCall(FwSpectrumFreeze(spectrum));
    TestCall(FwSpectrumScaleLabels(spectrum, 5.0, 0.2));
    TestCall(FwSpectrumScaleLabels(spectrum, 3.0, 0.7));
    TestCall(FwSpectrumResolve(spectrum, 0.1, 1.3, PETSC_TRUE, &r));
    assert_close(r.fit, expected.fit, 1e-13);
    assert_close(r.fit_slope, expected.fit_slope, 1e-13);
    assert_close(r.fit_curve, expected.fit_curve, 1e-13);
    assert_close(r.residual2, expected.residual2, 1e-13);
    assert_close(r.trace_bias, expected.trace_bias, 1e-13);
    posterior = (FwPosterior){.mean = mean};
    TestCall(FwSpectrumPredict(spectrum, 0.1, 1, &(FwMixture){2, order, weight}, &posterior)); /* means alone */
    for (int t = 0; t < P_TEST; t++) assert_close(mean[t], expected_mean[t], 1e-13);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

static void frozen_spectrum_takes_no_labels(void **state)
{
  double y[256];

  (void)state;
  P = 70;
  for (int i = 0; i < P; i++) y[i] = label(i);
  FOR_EACH_BANDWIDTH
  {
    FwSpectrum spectrum = make_spectrum(0.0);

    TestCall(FwSpectrumFreeze(spectrum));
    assert_close(FwSpectrumSetLabels(spectrum, 1, y, 0.0), PETSC_ERR_ORDER, 0.0);
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

/* Two examples twice: rank P - 2, and no finite evidence without noise */
static void repeated_examples_are_zero_modes_and_need_noise(void **state)
{
  const double     y[4] = {1.0, 1.0, -1.0, -1.0}, copy[16] = {2, 2, 1, 1, 2, 2, 1, 1, 1, 1, 3, 3, 1, 1, 3, 3};
  FwMatrix         k;
  FwSpectrum       spectrum;
  FwSpectrumBounds bounds;
  FwResolvent      r;

  (void)state;
  bandwidth = 0;
  TestCall(FwMatrixCreateFromCopy(grid, 4, 4, copy, &k));
  TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.0));
  TestCall(FwSpectrumGetBounds(spectrum, &bounds));
  assert_close(bounds.rank, 2, 0.0);
  assert_close(bounds.trace, 10.0, 1e-14);
  assert_close(bounds.inverse, 1.4, 1e-12); /* y is in the range: (1, -1) K_2^-1 (1, -1) with K_2 = (2 1; 1 3) */
  assert_close(FwSpectrumResolve(spectrum, 0.0, 1.0, PETSC_TRUE, &r), FW_ERR_NUMERICAL, 0.0);
  TestCall(FwSpectrumResolve(spectrum, 1e-12, 1.0, PETSC_FALSE, &r));
  assert_close(r.trace, 2.0, 1e-9);
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void negative_kernel_is_refused(void **state)
{
  const double copy[4] = {1.0, 2.0, 2.0, 1.0};
  FwMatrix     k;
  FwSpectrum   spectrum;

  (void)state;
  FOR_EACH_BANDWIDTH
  {
    TestCall(FwMatrixCreateFromCopy(grid, 2, 2, copy, &k));
    assert_close(FwSpectrumCreate(&k, bandwidth, &spectrum), FW_ERR_NUMERICAL, 0.0);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(resolvent_equals_dense_algebra),
    cmocka_unit_test(resolvent_with_readout_bias_equals_dense_algebra),
    cmocka_unit_test(predictions_equal_dense_algebra),
    cmocka_unit_test(bandwidths_agree_at_small_temperatures),
    cmocka_unit_test(bounds_are_those_of_the_eigenvalues),
    cmocka_unit_test(resolvents_have_the_same_bits_on_all_ranks),
    cmocka_unit_test(panels_without_rank_leave_the_kernel_as_it_is),
    cmocka_unit_test(repeated_examples_in_long_panels),
    cmocka_unit_test(scaled_labels_equal_labels_set_anew),
    cmocka_unit_test(frozen_spectrum_takes_no_labels),
    cmocka_unit_test(repeated_examples_are_zero_modes_and_need_noise),
    cmocka_unit_test(negative_kernel_is_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("spectrum", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
