/** @file
 * ranks: 1
 * Every map against a quadrature that shares nothing with it, slopes against differences of the value, and the Mehler
 * series against a closed form.
 */

#include <finwidth/activation.h>
#include "../support/collective_assert.h"

static const double cases[][3] = {
  {1.0,  0.3,   1.0 },
  {1.0,  -0.9,  1.0 },
  {0.5,  0.4,   1.7 },
  {2.0,  -0.2,  0.1 },
  {0.01, 0.005, 0.02},
  {2.0,  1.999, 2.0 }
};

static FwActivation Activation(FwActivationType type)
{
  FwActivation activation;

  TestCall(FwActivationGet(type, &activation));
  return activation;
}

static double Map(FwActivationType type, FwMap map, double a, double b, double c)
{
  FwActivation activation = Activation(type);
  FwPoints     rows, columns;
  double       out;

  TestCall(FwPointsCreate(activation, 1, &a, &rows));
  TestCall(FwPointsCreate(activation, 1, &c, &columns));
  if (map != FW_MAP_VALUE) {
    TestCall(FwPointsAddSlopes(rows));
    TestCall(FwPointsAddSlopes(columns));
  }
  TestCall(FwActivationMap(activation, map, rows, 0, 1, columns, 0, &b, &out));
  TestCall(FwPointsDestroy(&rows));
  TestCall(FwPointsDestroy(&columns));
  return out;
}

/* phi, phi' or phi'' at z */
static double Phi(FwActivationType type, int order, double z)
{
  double jet[3];

  TestCall(FwActivationEvaluate(Activation(type), 1, &z, &jet[0], &jet[1], &jet[2]));
  return jet[order];
}

/* E[f(u) g(v)] by the trapezoid rule in two independent normal variables */
static double Plane(FwActivationType type, int first, int second, double a, double b, double c, double step)
{
  const double   rho = b / sqrt(a * c), rest = sqrt(1.0 - rho * rho);
  const PetscInt n   = (PetscInt)ceil(8.6 / step);
  double         sum = 0.0;

  for (PetscInt i = -n; i <= n; i++) {
    const double z1   = step * (double)i;
    double       line = 0.0;

    for (PetscInt j = -n; j <= n; j++) {
      const double z2 = step * (double)j;

      line += exp(-0.5 * z2 * z2) * Phi(type, second, sqrt(c) * (rho * z1 + rest * z2));
    }
    sum += exp(-0.5 * z1 * z1) * Phi(type, first, sqrt(a) * z1) * line;
  }
  return sum * step * step / (2.0 * M_PI);
}

static void smooth_maps_equal_plane_quadrature(void **state)
{
  static const FwActivationType types[] = {FW_ACTIVATION_ERF,      FW_ACTIVATION_TANH,     FW_ACTIVATION_SIN,
                                           FW_ACTIVATION_GELU,     FW_ACTIVATION_SOFTPLUS, FW_ACTIVATION_LINEAR,
                                           FW_ACTIVATION_QUADRATIC};

  (void)state;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(types); t++) {
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(cases); i++) {
      const double a = cases[i][0], b = cases[i][1], c = cases[i][2];

      assert_close(Map(types[t], FW_MAP_VALUE, a, b, c), Plane(types[t], 0, 0, a, b, c, 0.15), 1e-12);
      assert_close(Map(types[t], FW_MAP_COVARIANCE, a, b, c), Plane(types[t], 1, 1, a, b, c, 0.15), 2e-12);
      assert_close(Map(types[t], FW_MAP_ROW_VARIANCE, a, b, c), 0.5 * Plane(types[t], 2, 0, a, b, c, 0.15), 2e-12);
    }
  }
}

/* Functions that scale with their argument leave an integral over the angle of the plane, smooth between the kinks:
   E[f(u) g(v)] = moment / (2 pi) * int f(cos t) g(cos(t - theta)) dt, by Simpson's rule on each piece */
static double Circle(FwActivationType type, int order, double theta)
{
  const double kink[] = {-M_PI_2, theta - M_PI_2, M_PI_2, theta + M_PI_2, 1.5 * M_PI};
  const int    n      = 2000;
  double       sum    = 0.0;

  for (int piece = 0; piece < 4; piece++) {
    const double width = kink[piece + 1] - kink[piece];

    for (int i = 0; i <= n; i++) {
      /* the ends are taken from inside the piece, where a jump has the right side */
      const double inside = fmin(fmax((double)i / n, 1e-10), 1.0 - 1e-10), t = kink[piece] + width * inside;
      const double weight = i == 0 || i == n ? 1.0 : i % 2 ? 4.0 : 2.0;

      sum += weight * width / (3.0 * n) * Phi(type, order, cos(t)) * Phi(type, order, cos(t - theta));
    }
  }
  return sum / (2.0 * M_PI);
}

static void kinked_maps_equal_integral_over_angle(void **state)
{
  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(cases); i++) {
    const double a = cases[i][0], b = cases[i][1], c = cases[i][2], r = sqrt(a * c), theta = acos(b / r);

    assert_close(Map(FW_ACTIVATION_RELU, FW_MAP_VALUE, a, b, c), 2.0 * r * Circle(FW_ACTIVATION_RELU, 0, theta), 1e-12);
    assert_close(Map(FW_ACTIVATION_LEAKY_RELU, FW_MAP_VALUE, a, b, c),
                 2.0 * r * Circle(FW_ACTIVATION_LEAKY_RELU, 0, theta), 1e-12);
    assert_close(Map(FW_ACTIVATION_RELU, FW_MAP_COVARIANCE, a, b, c), Circle(FW_ACTIVATION_RELU, 1, theta), 1e-12);
    assert_close(Map(FW_ACTIVATION_LEAKY_RELU, FW_MAP_COVARIANCE, a, b, c), Circle(FW_ACTIVATION_LEAKY_RELU, 1, theta),
                 1e-12);
    assert_close(Map(FW_ACTIVATION_SIGN, FW_MAP_VALUE, a, b, c), Circle(FW_ACTIVATION_SIGN, 0, theta), 1e-12);
  }
}

/* Richardson's extrapolation of central differences: error of fourth order in the step */
static double Slope(FwActivationType type, int argument, const double at[3])
{
  double difference[2];

  for (int level = 0; level < 2; level++) {
    const double step = (level ? 3e-4 : 6e-4) * at[0];
    double       up[3], down[3];

    for (int i = 0; i < 3; i++) up[i] = down[i] = at[i];
    up[argument] += step;
    down[argument] -= step;
    difference[level] =
      (Map(type, FW_MAP_VALUE, up[0], up[1], up[2]) - Map(type, FW_MAP_VALUE, down[0], down[1], down[2])) /
      (2.0 * step);
  }
  return (4.0 * difference[1] - difference[0]) / 3.0;
}

static void slopes_are_derivatives_of_the_value(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_HARDTANH; type++) {
    for (size_t i = 0; i + 1 < PETSC_STATIC_ARRAY_LENGTH(cases); i++) { /* the last is too near |rho| = 1 */
      const double          *at = cases[i];
      const FwActivationType t  = (FwActivationType)type;

      assert_close(Map(t, FW_MAP_COVARIANCE, at[0], at[1], at[2]), Slope(t, 1, at), 2e-9);
      assert_close(Map(t, FW_MAP_ROW_VARIANCE, at[0], at[1], at[2]), Slope(t, 0, at), 2e-9);
    }
  }
}

static void series_of_sin_equals_its_closed_form(void **state)
{
  static const double variances[] = {1e-6, 0.3, 1.0, 5.0, 20.0, 50.0};

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(variances); i++) {
    for (double rho = -1.0; rho <= 1.0; rho += 0.125) {
      const double a = variances[i], b = rho * a;
      const double k     = 0.5 * (exp(b - a) - exp(-b - a)); /* exp(-(a + c)/2) sinh b without overflow */
      const double slope = 0.5 * (exp(b - a) + exp(-b - a));

      assert_close(Map(FW_ACTIVATION_SIN, FW_MAP_VALUE, a, b, a), k, 1e-12);
      assert_close(Map(FW_ACTIVATION_SIN, FW_MAP_COVARIANCE, a, b, a), slope, 1e-12);
      assert_close(Map(FW_ACTIVATION_SIN, FW_MAP_ROW_VARIANCE, a, b, a), -0.5 * k, 1e-12);
    }
  }
}

/* The slopes at a = 50 need the longest series: total d/db at a = c against differences of the value */
static void slopes_hold_at_a_variance_of_fifty(void **state)
{
  const double at[3] = {50.0, 20.0, 45.0};

  (void)state;
  assert_close(Map(FW_ACTIVATION_TANH, FW_MAP_COVARIANCE, at[0], at[1], at[2]), Slope(FW_ACTIVATION_TANH, 1, at), 1e-9);
  assert_close(Map(FW_ACTIVATION_TANH, FW_MAP_ROW_VARIANCE, at[0], at[1], at[2]), Slope(FW_ACTIVATION_TANH, 0, at),
               1e-9);
}

static void large_variances_keep_their_digits(void **state)
{
  (void)state;
  assert_close(Map(FW_ACTIVATION_TANH, FW_MAP_VALUE, 30.0, 12.0, 30.0),
               Plane(FW_ACTIVATION_TANH, 0, 0, 30.0, 12.0, 30.0, 0.02), 1e-12);
  assert_close(Map(FW_ACTIVATION_TANH, FW_MAP_VALUE, 50.0, 4.0, 0.5),
               Plane(FW_ACTIVATION_TANH, 0, 0, 50.0, 4.0, 0.5, 0.02), 1e-12);
  assert_close(Map(FW_ACTIVATION_SOFTPLUS, FW_MAP_VALUE, 30.0, -12.0, 20.0) / 30.0,
               Plane(FW_ACTIVATION_SOFTPLUS, 0, 0, 30.0, -12.0, 20.0, 0.04) / 30.0, 1e-12);
  assert_close(Map(FW_ACTIVATION_GELU, FW_MAP_VALUE, 30.0, 12.0, 20.0) / 30.0,
               Plane(FW_ACTIVATION_GELU, 0, 0, 30.0, 12.0, 20.0, 0.03) / 30.0, 1e-12);
}

/* Where the series is summed at rho = 1 it has to give E[phi^2], which the diagonal computes without it */
static void diagonal_equals_map_at_equal_points(void **state)
{
  static const double variances[] = {1e-8, 0.1, 1.0, 7.0, 30.0};

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_HARDTANH; type++) {
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(variances); i++) {
      const double a = variances[i];

      for (int map = 0; map < 3; map++) {
        double diagonal;

        if (type == FW_ACTIVATION_SIGN && map) continue; /* infinite */
        TestCall(FwActivationDiagonalMap(Activation((FwActivationType)type), (FwMap)map, 1, &a, &diagonal));
        assert_close(Map((FwActivationType)type, (FwMap)map, a, a, a), diagonal, 1e-12);
      }
    }
  }
}

/* hardtanh has no map, but total d/da E[phi^2] = k_b + 2 k_a still ties its diagonal averages together */
static void diagonal_slopes_are_derivative_of_the_diagonal(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    const FwActivation activation = Activation((FwActivationType)type);
    const double       step = 1e-4, a[3] = {0.8 - step, 0.8, 0.8 + step};
    double             value[3], slope[2];

    if (type == FW_ACTIVATION_SIGN) continue;
    TestCall(FwActivationDiagonal(activation, 3, a, value));
    TestCall(FwActivationDiagonalMap(activation, FW_MAP_COVARIANCE, 1, &a[1], &slope[0]));
    TestCall(FwActivationDiagonalMap(activation, FW_MAP_ROW_VARIANCE, 1, &a[1], &slope[1]));
    assert_close(slope[0] + 2.0 * slope[1], (value[2] - value[0]) / (2.0 * step), 1e-8);
  }
}

/* For v = 0, phi(v) = phi(0): k = m(a) phi(0); and m against the plane rule with g = 1 by phi' of linear */
static void mean_is_average_of_phi(void **state)
{
  static const FwActivationType types[] = {FW_ACTIVATION_GELU,       FW_ACTIVATION_SOFTPLUS,  FW_ACTIVATION_RELU,
                                           FW_ACTIVATION_LEAKY_RELU, FW_ACTIVATION_QUADRATIC, FW_ACTIVATION_TANH};

  (void)state;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(types); t++) {
    const double a = 1.3, step = t == 2 || t == 3 ? 1e-4 : 0.1;
    double       sum = 0.0, mean;

    for (double z = -0.5 * step - 9.0; z < 9.0; z += step)
      sum += step * exp(-0.5 * z * z) / sqrt(2.0 * M_PI) * Phi(types[t], 0, sqrt(a) * z);
    TestCall(FwActivationMean(Activation(types[t]), 1, &a, &mean));
    assert_close(mean, sum, t == 2 || t == 3 ? 1e-8 : 1e-12);
  }
}

static void too_large_a_variance_is_refused(void **state)
{
  const double a = 1e4;
  FwPoints     points;

  (void)state;
  assert_int_equal(FwPointsCreate(Activation(FW_ACTIVATION_TANH), 1, &a, &points), FW_ERR_NUMERICAL);
  assert_non_null(strstr(FwErrorMessage(), "tanh"));
  FwErrorClear();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(smooth_maps_equal_plane_quadrature),
    cmocka_unit_test(kinked_maps_equal_integral_over_angle),
    cmocka_unit_test(slopes_are_derivatives_of_the_value),
    cmocka_unit_test(series_of_sin_equals_its_closed_form),
    cmocka_unit_test(large_variances_keep_their_digits),
    cmocka_unit_test(slopes_hold_at_a_variance_of_fifty),
    cmocka_unit_test(diagonal_equals_map_at_equal_points),
    cmocka_unit_test(diagonal_slopes_are_derivative_of_the_diagonal),
    cmocka_unit_test(mean_is_average_of_phi),
    cmocka_unit_test(too_large_a_variance_is_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("activation_accuracy", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
