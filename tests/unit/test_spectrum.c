/** @file
 * Every number of a spectrum against dense algebra on A = T + s^2 1 1^T + Q K, with and without the readout bias.
 */

#include <finwidth/cholesky.h>
#include <finwidth/spectrum.h>
#include "../support/collective_assert.h"

enum { P = 83, P_TEST = 9, INPUTS = 120 };

static FwGrid grid;

static double input(int example, int i)
{
  return sin(0.7 * example + 1.3 * i + 0.1 * example * i);
}

static double kernel(int a, int b)
{
  double sum = 0.0;

  for (int i = 0; i < INPUTS; i++) sum += input(a, i) * input(b, i);
  return sum / INPUTS;
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
  double     y[P], diagonal[P_TEST];

  for (int i = 0; i < P; i++) y[i] = label(i);
  for (int t = 0; t < P_TEST; t++) diagonal[t] = kernel(P + t, P + t);
  TestCall(FwSpectrumCreate(&k, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, y, bias));
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
  check_resolvent(0.1, 1.7, 0.0);
  check_resolvent(0.01, 0.2, 0.0);
}

static void resolvent_with_readout_bias_equals_dense_algebra(void **state)
{
  (void)state;
  check_resolvent(0.1, 1.7, 0.6);
  check_resolvent(0.02, 0.3, 4.0);
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
  TestCall(FwSpectrumPredict(spectrum, temperature, 2, order, weight, &posterior));
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
  check_prediction(0.0);
  check_prediction(0.8);
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
  TestCall(FwMatrixCreateFromCopy(grid, 4, 4, copy, &k));
  TestCall(FwSpectrumCreate(&k, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, y, 0.0));
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
  TestCall(FwMatrixCreateFromCopy(grid, 2, 2, copy, &k));
  assert_close(FwSpectrumCreate(&k, &spectrum), FW_ERR_NUMERICAL, 0.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(resolvent_equals_dense_algebra),
    cmocka_unit_test(resolvent_with_readout_bias_equals_dense_algebra),
    cmocka_unit_test(predictions_equal_dense_algebra),
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
