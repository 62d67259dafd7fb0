/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * ranks: 1
 * Every map against a quadrature that shares nothing with it, slopes against differences of the value, and the Mehler
 * series against a closed form.
 */

#include <finwidth/activation.h>
#include "../support/collective_assert.h"

#include <gsl/gsl_integration.h>

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

/* --- hardtanh: Gauss's rule on each piece of the plane that has no kink ---------------------------------------- */

enum {
  N_NODE      = 14,
  N_BREAK_MAX = 200,
#ifdef __SANITIZE_ADDRESS__
  SKIP = 3 /* the quadrature takes four times as long: the smallest and the largest variance alone */
#else
  SKIP = 1
#endif
};

/* Two normal variables: u = s z, v = t (rho z + rest z'), in long double since rho may be close to 1 */
typedef struct {
  long double s, t, rho, rest, z;
  int         map;
} NormalPair;

typedef long double Integrand(const NormalPair *plane, long double z);

static gsl_integration_glfixed_table *gauss;

static int before(const void *first, const void *second)
{
  const long double difference = *(const long double *)first - *(const long double *)second;

  return difference < 0.0L ? -1 : difference > 0.0L;
}

/* int f(z) times the normal density, from -9 to 9 and in pieces of at most 2 between the given points */
static long double Pieces(Integrand *f, const NormalPair *plane, int n, const long double point[])
{
  long double end[N_BREAK_MAX + 10], sum = 0.0L;
  int         m = 0;

  for (int i = 0; i < 10; i++) end[m++] = 2.0L * (long double)i - 9.0L;
  for (int i = 0; i < n; i++)
    if (fabsl(point[i]) < 9.0L) end[m++] = point[i];
  qsort(end, (size_t)m, sizeof *end, before);
  for (int i = 0; i + 1 < m; i++)
    for (size_t j = 0; j < N_NODE; j++) {
      double x, w;

      (void)gsl_integration_glfixed_point(-1.0, 1.0, j, &x, &w, gauss);
      const long double half = 0.5L * (end[i + 1] - end[i]), z = end[i] + half * (1.0L + x);

      sum += w * half * expl(-0.5L * z * z) * f(plane, z);
    }
  return sum / sqrtl(2.0L * (long double)M_PI);
}

static long double Clip(long double z)
{
  return fminl(fmaxl(z, -1.0L), 1.0L);
}

static long double SecondFactor(const NormalPair *plane, long double z)
{
  const long double v = plane->t * (plane->rho * plane->z + plane->rest * z);

  return plane->map == FW_MAP_COVARIANCE ? fabsl(v) < 1.0L : Clip(v);
}

/* phi(u), phi'(u), or u phi'(u), by which a <phi'' phi> = <u phi' phi> - b <phi' phi'>, times the average over z' */
static long double BothFactors(const NormalPair *plane, long double z)
{
  const long double u       = plane->s * z;
  const long double first[] = {Clip(u), fabsl(u) < 1.0L, fabsl(u) < 1.0L ? u : 0.0L};
  const long double far = 1.0L / (plane->t * plane->rest), shift = plane->rho * z / plane->rest;
  const long double kink[] = {far - shift, -far - shift};
  NormalPair        inner  = *plane;

  inner.z = z;
  return first[plane->map] == 0.0L ? 0.0L : first[plane->map] * Pieces(SecondFactor, &inner, 2, kink);
}

static double PlaneHardtanh(int map, double a, double b, double c)
{
  const long double rho = b / sqrtl((long double)a * c), rest = sqrtl((1.0L - rho) * (1.0L + rho));
  const NormalPair  plane = {sqrtl(a), sqrtl(c), rho, rest, 0.0L, map};
  long double       point[N_BREAK_MAX], kink[] = {1.0L / plane.s, -1.0L / plane.s, 0.0L, 0.0L};
  int               n = 0;

  if (rho != 0.0L) kink[2] = 1.0L / (plane.t * rho), kink[3] = -kink[2];
  for (int i = 0; i < 4; i++) {
    point[n++] = kink[i];
    for (long double width = 0.5L * rest; width < 4.0L; width *= 2.0L) { /* the average over z' turns within `rest` */
      point[n++] = kink[i] + width;
      point[n++] = kink[i] - width;
    }
  }
  return (double)Pieces(BothFactors, &plane, n, point);
}

/* Rounding of b turns asin rho by 1e-16 / sqrt(1 - rho^2), which the slopes, unlike the value, show in full */
static void expect_plane_quadrature(double a, double rho, double c)
{
  const double b = rho * sqrt(a * c), rounding = 1e-12 + 5e-16 / sqrt((1.0 - rho) * (1.0 + rho));
  const double slope   = PlaneHardtanh(FW_MAP_COVARIANCE, a, b, c);
  const double u_slope = PlaneHardtanh(FW_MAP_ROW_VARIANCE, a, b, c);

  assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_VALUE, a, b, c), PlaneHardtanh(FW_MAP_VALUE, a, b, c), 1e-12);
  assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_COVARIANCE, a, b, c), slope, rounding);
  assert_close(a * Map(FW_ACTIVATION_HARDTANH, FW_MAP_ROW_VARIANCE, a, b, c), 0.5 * (u_slope - b * slope),
               rounding * fmax(1.0, fabs(b)));
}

static void hardtanh_equals_plane_quadrature(void **state)
{
  static const double variance[] = {1e-6, 0.3, 9.0, 1e4}, rho[] = {0.0, 0.4, -0.93, 1.0 - 1e-6, -1.0 + 1e-10};

  (void)state;
  gauss = gsl_integration_glfixed_table_alloc(N_NODE);
  for (size_t i = 0; i < 4; i += SKIP)
    for (size_t j = 0; j < 4; j += SKIP)
      for (size_t k = 0; k < 5; k++) expect_plane_quadrature(variance[i], rho[k], variance[j]);
  for (size_t k = 0; k < 5; k++) expect_plane_quadrature(2.0, rho[k], 2.0 * (1.0 + 1e-5)); /* a layer near rho = 1 */
  gsl_integration_glfixed_table_free(gauss);
}

static long double Parallel(const NormalPair *plane, long double z)
{
  return Clip(plane->s * z) * Clip(plane->t * z);
}

/* At |rho| = 1 one variable is left; a variance of 1e100 makes a sign of hardtanh, one of 1e-100 the identity */
static void hardtanh_of_parallel_points_equals_line_quadrature(void **state)
{
  static const double variance[] = {1e-6, 0.05, 1.0, 9.0, 1e4};

  (void)state;
  gauss = gsl_integration_glfixed_table_alloc(N_NODE);
  for (size_t i = 0; i < 5; i++)
    for (size_t j = 0; j < 5; j++) {
      const double      a = variance[i], c = variance[j], b = sqrt(a * c);
      const NormalPair  line    = {.s = sqrtl(a), .t = sqrtl(c)};
      const long double point[] = {1.0L / line.s, -1.0L / line.s, 1.0L / line.t, -1.0L / line.t};
      const double      k       = (double)Pieces(Parallel, &line, 4, point);

      assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_VALUE, a, b, c), k, 1e-12);
      assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_VALUE, a, -b, c), -k, 1e-12);
      assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_COVARIANCE, a, b, c), erf(M_SQRT1_2 / sqrt(fmax(a, c))), 1e-15);
    }
  gsl_integration_glfixed_table_free(gauss);
  for (double rho = -1.0; rho <= 1.0; rho += 0.125) {
    assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_VALUE, 1e100, rho * 1e100, 1e100), M_2_PI * asin(rho), 1e-14);
    assert_close(Map(FW_ACTIVATION_HARDTANH, FW_MAP_VALUE, 1e-100, rho * 1e-100, 1e-100) * 1e100, rho, 1e-14);
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
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
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
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
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

/* Total d/da E[phi^2] = k_b + 2 k_a */
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

/* phi and phi' by the mathematics library, in its long double */
static void library_jet(int type, double z, long double jet[2])
{
  const long double x = z, bell = expl(-0.5L * x * x) / sqrtl(2.0L * (long double)M_PI),
                    below = 0.5L * erfcl(-x / sqrtl(2.0L));

  switch (type) {
    case FW_ACTIVATION_ERF:
      jet[0] = erfl(x), jet[1] = (long double)M_2_SQRTPI * expl(-x * x);
      break;
    case FW_ACTIVATION_TANH:
      jet[0] = tanhl(x), jet[1] = 1.0L / (coshl(x) * coshl(x));
      break;
    case FW_ACTIVATION_SIN:
      jet[0] = sinl(x), jet[1] = cosl(x);
      break;
    case FW_ACTIVATION_GELU:
      jet[0] = x * below, jet[1] = below + x * bell;
      break;
    default:
      jet[0] = fmaxl(x, 0.0L) + log1pl(expl(-fabsl(x))), jet[1] = 1.0L / (1.0L + expl(-x));
  }
}

/* Odd values keep their relative accuracy near zero; slopes, which pass through zero, and tails their absolute one */
static void vectorised_phi_agrees_with_the_library(void **state)
{
  const int smooth[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_TANH, FW_ACTIVATION_SIN, FW_ACTIVATION_GELU,
                        FW_ACTIVATION_SOFTPLUS};

  (void)state;
  for (int s = 0; s < 5; s++) {
    const long double floor = smooth[s] == FW_ACTIVATION_GELU || smooth[s] == FW_ACTIVATION_SOFTPLUS ? 1.0L : 1e-9L;
    double            worst = 0.0, worst_slope = 0.0;

    for (int i = 0; i < 40000; i++) {
      const double z = i < 20000 ? 8e-4 * (i - 10000) + 1e-7 : pow(10.0, -8.0 + 10e-4 * (i - 20000) * 0.9);
      double       value, slope;
      long double  jet[2];

      TestCall(FwActivationEvaluate(Activation((FwActivationType)smooth[s]), 1, &z, &value, &slope, NULL));
      library_jet(smooth[s], z, jet);
      worst       = fmax(worst, (double)(fabsl(value - jet[0]) / fmaxl(fabsl(jet[0]), floor)));
      worst_slope = fmax(worst_slope, (double)fabsl(slope - jet[1]));
    }
    print_message("%s: %.1e, slope %.1e\n", FwActivationNames[smooth[s]], worst, worst_slope);
    assert_close(worst, 0.0, 2e-15);
    assert_close(worst_slope, 0.0, 1e-15);
  }
}

static void phi_keeps_nan_and_limits(void **state)
{
  const double at[] = {NAN, INFINITY, 1e300};

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    double value[3], slope[3];

    TestCall(FwActivationEvaluate(Activation((FwActivationType)type), 3, at, value, slope, NULL));
    assert_true(isnan(value[0]));
    assert_true(type == FW_ACTIVATION_SIN || value[1] > 0.99);
    assert_true(!isnan(value[2]) && !isnan(slope[2]));
  }
}

/* No entry depends on its neighbours, on where a vector begins, or on being written over its input */
static void phi_is_the_same_wherever_it_stands(void **state)
{
  enum { N = 1100 };
  double z[N], value[N], slope[N], alone[2];

  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    for (int i = 0; i < N; i++) z[i] = 6.0 * sin(1.7 * i);
    TestCall(FwActivationEvaluate(Activation((FwActivationType)type), N - 3, z + 3, value + 3, slope + 3, NULL));
    for (int i = 3; i < N; i += 13) {
      TestCall(FwActivationEvaluate(Activation((FwActivationType)type), 1, &z[i], &alone[0], &alone[1], NULL));
      assert_true(alone[0] == value[i] && alone[1] == slope[i]);
    }
    TestCall(FwActivationEvaluate(Activation((FwActivationType)type), N, z, NULL, z, NULL));
    assert_memory_equal(z + 3, slope + 3, (N - 3) * sizeof *z);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(smooth_maps_equal_plane_quadrature),
    cmocka_unit_test(kinked_maps_equal_integral_over_angle),
    cmocka_unit_test(hardtanh_equals_plane_quadrature),
    cmocka_unit_test(hardtanh_of_parallel_points_equals_line_quadrature),
    cmocka_unit_test(slopes_are_derivatives_of_the_value),
    cmocka_unit_test(series_of_sin_equals_its_closed_form),
    cmocka_unit_test(large_variances_keep_their_digits),
    cmocka_unit_test(slopes_hold_at_a_variance_of_fifty),
    cmocka_unit_test(diagonal_equals_map_at_equal_points),
    cmocka_unit_test(diagonal_slopes_are_derivative_of_the_diagonal),
    cmocka_unit_test(mean_is_average_of_phi),
    cmocka_unit_test(too_large_a_variance_is_refused),
    cmocka_unit_test(vectorised_phi_agrees_with_the_library),
    cmocka_unit_test(phi_keeps_nan_and_limits),
    cmocka_unit_test(phi_is_the_same_wherever_it_stands),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("activation_accuracy", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
