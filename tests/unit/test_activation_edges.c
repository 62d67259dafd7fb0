/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * ranks: 1
 * Values by hand, inputs that sit on an edge (repeated, opposite, zero), bits that do not depend on how a column is cut,
 * and the arcsine in the loops against that of the mathematics library.
 */

#include <finwidth/activation.h>
#include "../support/collective_assert.h"

enum { N = 1003 };

static FwActivation Activation(int type)
{
  FwActivation activation;

  TestCall(FwActivationGet((FwActivationType)type, &activation));
  return activation;
}

static FwPoints Points(int type, PetscInt n, const double variance[])
{
  FwPoints points;

  TestCall(FwPointsCreate(Activation(type), n, variance, &points));
  TestCall(FwPointsAddSlopes(points));
  return points;
}

static double Map(int type, int map, double a, double b, double c)
{
  FwPoints rows, columns;
  double   out;

  TestCall(FwPointsCreate(Activation(type), 1, &a, &rows));
  TestCall(FwPointsCreate(Activation(type), 1, &c, &columns));
  if (map != FW_MAP_VALUE) {
    TestCall(FwPointsAddSlopes(rows));
    TestCall(FwPointsAddSlopes(columns));
  }
  TestCall(FwActivationMap(Activation(type), (FwMap)map, rows, 0, 1, columns, 0, &b, &out));
  TestCall(FwPointsDestroy(&rows));
  TestCall(FwPointsDestroy(&columns));
  return out;
}

static double Value(int type, double a, double b, double c)
{
  return Map(type, FW_MAP_VALUE, a, b, c);
}

static void values_by_hand(void **state)
{
  (void)state;
  assert_close(Value(FW_ACTIVATION_ERF, 0.5, 0.25, 0.5), 2.0 / M_PI * asin(0.25), 1e-15);
  assert_close(Value(FW_ACTIVATION_ERF, 0.5, 0.5, 0.5), 1.0 / 3.0, 1e-15); /* asin(1/2) = pi/6 */
  assert_close(Value(FW_ACTIVATION_RELU, 4.0, 0.0, 9.0), 3.0 / M_PI, 1e-15);
  assert_close(Value(FW_ACTIVATION_RELU, 1.0, -1.0, 1.0), 0.0, 1e-16);
  assert_close(Map(FW_ACTIVATION_RELU, FW_MAP_COVARIANCE, 1.0, 0.5, 1.0), 1.0 / 3.0, 1e-15);
  assert_close(Map(FW_ACTIVATION_RELU, FW_MAP_ROW_VARIANCE, 1.0, 0.0, 4.0), 0.5 / M_PI, 1e-15);
  assert_close(Value(FW_ACTIVATION_LEAKY_RELU, 1.0, -1.0, 1.0), -0.01, 1e-15);
  assert_close(Value(FW_ACTIVATION_SIGN, 4.0, 3.0, 9.0), 1.0 / 3.0, 1e-15);
  assert_close(Map(FW_ACTIVATION_SIGN, FW_MAP_COVARIANCE, 1.0, 0.6, 1.0), 2.0 / (0.8 * M_PI), 1e-15);
  assert_close(Map(FW_ACTIVATION_SIGN, FW_MAP_ROW_VARIANCE, 2.0, 0.6, 0.5), -0.3 / (0.8 * M_PI), 1e-15);
  assert_close(Value(FW_ACTIVATION_LINEAR, 1.0, 0.3, 2.0), 0.3, 0.0);
  assert_close(Value(FW_ACTIVATION_QUADRATIC, 2.0, 0.5, 3.0), 6.5, 0.0);
  assert_close(Value(FW_ACTIVATION_TANH, 1.3, 0.0, 0.7), 0.0, 0.0);
  assert_close(Value(FW_ACTIVATION_SOFTPLUS, 0.0, 0.0, 0.0), M_LN2 * M_LN2, 1e-15);
}

/* b as rounding leaves it: a little above and below +-sqrt(a c) */
static void repeated_points_give_exact_values(void **state)
{
  static const double variances[] = {1e-3, 0.1, 1.0 / 3.0, 1.0, 7.7, 14.0};

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(variances); i++) {
    const double a = variances[i];

    for (int ulp = -2; ulp <= 2; ulp++) {
      const double b = a * (1.0 + 0x1p-52 * ulp);

      assert_true(Value(FW_ACTIVATION_RELU, a, b, a) == 0.5 * a);
      assert_true(Map(FW_ACTIVATION_RELU, FW_MAP_COVARIANCE, a, b, a) == 0.5);
      assert_true(Map(FW_ACTIVATION_RELU, FW_MAP_ROW_VARIANCE, a, b, a) == 0.0);
      assert_true(Value(FW_ACTIVATION_SIGN, a, b, a) == 1.0);
      assert_true(Value(FW_ACTIVATION_SIGN, a, -b, a) == -1.0);
      assert_true(Map(FW_ACTIVATION_RELU, FW_MAP_COVARIANCE, a, -b, a) == 0.0);
      assert_true(Value(FW_ACTIVATION_TANH, a, b, a) == Value(FW_ACTIVATION_TANH, a, a, a));
      assert_true(Value(FW_ACTIVATION_TANH, a, -b, a) == -Value(FW_ACTIVATION_TANH, a, a, a));
    }
  }
}

/* In one dimension all inputs are parallel: b = +-sqrt(a c) up to rounding */
static void no_edge_gives_nan(void **state)
{
  enum { N_LENGTH = 7 };
  static const double length[N_LENGTH] = {0.0, 1e-200, 1e-120, 1e-8, 0.7, 1.0, 3.0};
  double              variance[N_LENGTH], b[N_LENGTH], out[N_LENGTH];

  (void)state;
  for (int i = 0; i < N_LENGTH; i++) variance[i] = length[i] * length[i];
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    FwPoints points = Points(type, N_LENGTH, variance);

    for (int trial = 0; trial < 9 * N_LENGTH; trial++) {
      const int map = trial % 3, sign = trial / 3 % 3 - 1, column = trial / 9;

      for (int i = 0; i < N_LENGTH; i++) b[i] = sign * length[i] * length[column];
      TestCall(FwActivationMap(Activation(type), (FwMap)map, points, 0, N_LENGTH, points, column, b, out));
      for (int i = 0; i < N_LENGTH; i++) assert_false(isnan(out[i]));
    }
    TestCall(FwPointsDestroy(&points));
  }
}

static void a_point_at_zero_sees_phi_of_zero(void **state)
{
  const double c = 1.7;

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    const double zero = 0.0;
    double       mean, value, slope, curvature;

    TestCall(FwActivationMean(Activation(type), 1, &c, &mean));
    TestCall(FwActivationEvaluate(Activation(type), 1, &zero, &value, &slope, &curvature));
    assert_close(Value(type, 0.0, 0.0, c), value * mean, 1e-13);
    assert_close(Value(type, c, 0.0, 0.0), value * mean, 1e-13);
    assert_close(Value(type, 0.0, 0.0, 0.0), value * value, 1e-15);
    if (type == FW_ACTIVATION_SIGN) continue;
    assert_close(Map(type, FW_MAP_COVARIANCE, 0.0, 0.0, 0.0), slope * slope, 1e-15);
    assert_close(Map(type, FW_MAP_ROW_VARIANCE, 0.0, 0.0, c), 0.5 * curvature * mean, 1e-13);
  }
}

/* Variances and covariances of points that are all different, or all of equal variance; a few are zero or repeated */
static void MakeColumn(PetscBool is_equal, double variance[], double b[])
{
  for (int i = 0; i < N; i++) {
    variance[i] = is_equal ? 1.3 : 0.1 + 0.02 * (i % 90);
    b[i]        = sqrt(variance[i] * 1.3) * (i % 50 ? cos(0.1 * i) : 1.0);
    if (i % 97 == 0 && !is_equal) variance[i] = b[i] = 0.0;
  }
}

static void expect_same_bits_in_pieces(int type, int map, FwPoints rows, FwPoints columns, const double b[],
                                       const double variance[])
{
  static const int piece[] = {1, 7, 64, 255, 300, 513};
  static double    whole[N], cut[N];

  TestCall(FwActivationMap(Activation(type), (FwMap)map, rows, 0, N, columns, 0, b, whole));
  for (int first = 0, p = 0; first < N; p++) {
    const int n = PetscMin(piece[p % 6], N - first);

    TestCall(PetscArraycpy(cut + first, b + first, n)); /* in place */
    TestCall(FwActivationMap(Activation(type), (FwMap)map, rows, first, n, columns, 0, cut + first, cut + first));
    first += n;
  }
  assert_memory_equal(whole, cut, sizeof whole);
  for (int i = 0; i < N; i += 201) { /* alone, without the neighbours' longer series */
    FwPoints alone = Points(type, 1, &variance[i]);

    TestCall(FwActivationMap(Activation(type), (FwMap)map, alone, 0, 1, columns, 0, &b[i], cut));
    TestCall(FwPointsDestroy(&alone));
    assert_true(cut[0] == whole[i]);
  }
}

static void cutting_a_column_leaves_its_bits(void **state)
{
  static double variance[N], b[N];
  const double  c = 1.3;

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++)
    for (int equal = 0; equal < 2; equal++) {
      FwPoints columns = Points(type, 1, &c), rows;

      MakeColumn(equal ? PETSC_TRUE : PETSC_FALSE, variance, b);
      rows = Points(type, N, variance);
      for (int map = 0; map < 3; map++) expect_same_bits_in_pieces(type, map, rows, columns, b, variance);
      TestCall(FwPointsDestroy(&rows));
      TestCall(FwPointsDestroy(&columns));
    }
}

static void rows_and_columns_exchange_without_a_change_of_bits(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++)
    for (int map = 0; map < 2; map++)
      for (double b = -0.9; b < 1.0; b += 0.137)
        assert_true(Map(type, map, 0.7, b, 1.9) == Map(type, map, 1.9, b, 0.7));
}

/* Steps between neighbouring doubles at `exact` */
static double Ulps(double value, double exact)
{
  return fabs(value - exact) / (nextafter(fabs(exact), INFINITY) - fabs(exact));
}

/* At unit variances sign shows the loops' asin, and the slope of relu their acos; 8 rounding errors from +-1 count as 1 */
static void arcsine_in_the_loops_matches_the_library(void **state)
{
  enum { N_POINT = 200001 };
  const double one  = 1.0;
  FwPoints     sign = Points(FW_ACTIVATION_SIGN, 1, &one), relu = Points(FW_ACTIVATION_RELU, 1, &one);
  double       worst = 0.0, worst_share = 0.0;

  (void)state;
  for (int i = 0; i < N_POINT; i++) {
    const double s = (i - N_POINT / 2) / (0.5 * N_POINT), x = i % 2 ? s : copysign(1.0 - exp(-30.0 * fabs(s)), s);
    double       k, slope;

    if (x == 0.0) continue;
    TestCall(FwActivationMap(Activation(FW_ACTIVATION_SIGN), FW_MAP_VALUE, sign, 0, 1, sign, 0, &x, &k));
    TestCall(FwActivationMap(Activation(FW_ACTIVATION_RELU), FW_MAP_COVARIANCE, relu, 0, 1, relu, 0, &x, &slope));
    worst       = fmax(worst, Ulps(k, M_2_PI * asin(x)));
    worst_share = fmax(worst_share, fabs(slope - 0.5 * (1.0 - acos(x) / M_PI)));
  }
  TestCall(FwPointsDestroy(&sign));
  TestCall(FwPointsDestroy(&relu));
  print_message("2/pi asin: %.2f ulp; 1/2 - acos / (2 pi): %.1e\n", worst, worst_share);
  assert_close(worst <= 5.0, 1, 0.0); /* 4.0 here, and one for another library */
  assert_close(worst_share, 0.0, 2.5e-16);
}

/* phi' and phi'' of every activation against differences, away from kinks */
static void derivatives_of_phi_match_differences(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++)
    for (double z = -3.07; z < 3.0; z += 0.41) {
      const double h = 1e-4, at[3] = {z - h, z, z + h};
      double       value[3], slope[3], curvature[3];

      TestCall(FwActivationEvaluate(Activation(type), 3, at, value, slope, curvature));
      assert_close(slope[1], (value[2] - value[0]) / (2.0 * h), 1e-7);
      assert_close(curvature[1], (slope[2] - slope[0]) / (2.0 * h), 1e-7);
    }
}

static void oddness_is_what_phi_has(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    const double at[2] = {0.8, -0.8};
    double       value[2];
    PetscBool    is_odd;

    TestCall(FwActivationIsOdd(Activation(type), &is_odd));
    TestCall(FwActivationEvaluate(Activation(type), 2, at, value, NULL, NULL));
    assert_int_equal(is_odd, value[0] == -value[1]);
  }
}

static void wrong_use_is_refused(void **state)
{
  const double one = 1.0, wrong[] = {-1e-3, NAN, INFINITY};
  FwPoints     points;
  double       out;

  (void)state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(FwPointsCreate(Activation(FW_ACTIVATION_ERF), 1, &wrong[i], &points), FW_ERR_NUMERICAL);
    FwErrorClear();
    assert_int_equal(FwActivationDiagonal(Activation(FW_ACTIVATION_TANH), 1, &wrong[i], &out), FW_ERR_NUMERICAL);
    FwErrorClear();
  }
  TestCall(FwPointsCreate(Activation(FW_ACTIVATION_TANH), 1, &one, &points));
  assert_int_equal(
    FwActivationMap(Activation(FW_ACTIVATION_TANH), FW_MAP_COVARIANCE, points, 0, 1, points, 0, &one, &out),
    PETSC_ERR_ARG_WRONGSTATE);
  FwErrorClear();
  TestCall(FwPointsDestroy(&points));
  TestCall(FwPointsDestroy(&points));
}

static void no_points_are_fine(void **state)
{
  const double c = 1.0;

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    FwPoints rows = Points(type, 0, &c), columns = Points(type, 1, &c);

    TestCall(FwActivationMap(Activation(type), FW_MAP_VALUE, rows, 0, 0, columns, 0, NULL, NULL));
    TestCall(FwPointsDestroy(&rows));
    TestCall(FwPointsDestroy(&columns));
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_by_hand),
    cmocka_unit_test(repeated_points_give_exact_values),
    cmocka_unit_test(no_edge_gives_nan),
    cmocka_unit_test(a_point_at_zero_sees_phi_of_zero),
    cmocka_unit_test(cutting_a_column_leaves_its_bits),
    cmocka_unit_test(rows_and_columns_exchange_without_a_change_of_bits),
    cmocka_unit_test(arcsine_in_the_loops_matches_the_library),
    cmocka_unit_test(derivatives_of_phi_match_differences),
    cmocka_unit_test(oddness_is_what_phi_has),
    cmocka_unit_test(wrong_use_is_refused),
    cmocka_unit_test(no_points_are_fine),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("activation_edges", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
