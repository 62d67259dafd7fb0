/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Action, its minima and the exact average, on kernels that are diagonal: limits solved by hand, identities, and an
 * independent quadrature.
 */

#include <finwidth/average.h>
#include "../support/collective_assert.h"

static FwGrid grid;

/* A spectrum with given modes and labels */
static FwSpectrum make_spectrum(int n, const double k[], const double y[], double bias)
{
  FwMatrix   matrix;
  FwSpectrum spectrum;
  double    *copy;

  TestCall(PetscCalloc1(n * n, &copy));
  for (int i = 0; i < n; i++) copy[i + i * n] = k[i];
  TestCall(FwMatrixCreateFromCopy(grid, n, n, copy, &matrix));
  TestCall(FwSpectrumCreate(&matrix, 0, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 1, y, bias));
  TestCall(PetscFree(copy));
  return spectrum;
}

enum { P = 40, DEPTH_MAX = 3 };

/* 1/i^2 spectrum and labels of order one, under a network of up to three layers */
typedef struct {
  FwModel    model;
  double     width[DEPTH_MAX], prior[DEPTH_MAX + 1], bias[DEPTH_MAX + 1];
  FwSpectrum spectrum;
  FwAction   action;
} Problem;

static void make_problem(Problem *p, int depth, const double width[], double temperature, double amplitude, double bias)
{
  double k[P], y[P];

  for (int i = 0; i < P; i++) {
    k[i] = 3.0 / PetscSqr(1.0 + i);
    y[i] = amplitude * cos(3.0 * i) / sqrt(1.0 + i);
  }
  *p = (Problem){
    .model = {.depth = depth, .temperature = temperature}
  };
  for (int l = 0; l < depth; l++) p->width[l] = width[l];
  p->bias[depth] = bias;
  p->model.width = p->width;
  p->model.prior = p->prior;
  p->model.bias  = p->bias;
  p->spectrum    = make_spectrum(P, k, y, bias);
  TestCall(FwActionCreate(p->spectrum, 1.0, &p->model, &p->action));
}

static void free_problem(Problem *p)
{
  TestCall(FwActionDestroy(&p->action));
  TestCall(FwSpectrumDestroy(&p->spectrum));
}

static const double widths[DEPTH_MAX] = {40.0, 80.0, 30.0};

static void force_is_derivative_of_action_and_slope_of_force(void **state)
{
  const double at[] = {-3.0, -0.4, 0.0, 0.7, 4.0}, step = 1e-4;

  (void)state;
  for (int depth = 1; depth <= DEPTH_MAX; depth++)
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(at); i++) {
      Problem       p;
      FwActionPoint here, up, down;
      double        last = widths[depth - 1];

      make_problem(&p, depth, widths, 0.05, 1.5, i % 2 ? 0.4 : 0.0);
      TestCall(FwActionEvaluate(p.action, at[i], PETSC_TRUE, &here));
      TestCall(FwActionEvaluate(p.action, at[i] + step, PETSC_TRUE, &up));
      TestCall(FwActionEvaluate(p.action, at[i] - step, PETSC_TRUE, &down));
      assert_close(here.force, last * (up.value - down.value) / (2.0 * step), 1e-6);
      assert_close(here.slope, (up.force - down.force) / (2.0 * step), 1e-6);
      free_problem(&p);
    }
}

static void layers_share_one_shift_and_multiply_to_the_product(void **state)
{
  const double at[] = {-25.0, -2.0, 0.0, 3.0, 20.0};
  Problem      p;

  (void)state;
  make_problem(&p, 3, widths, 0.05, 1.5, 0.0);
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(at); i++) {
    double        q[DEPTH_MAX];
    FwActionPoint point;

    TestCall(FwActionEvaluate(p.action, at[i], PETSC_FALSE, &point));
    TestCall(FwActionLayers(p.action, at[i], q));
    assert_close(log(q[0]) + log(q[1]) + log(q[2]), at[i], 1e-13);
    for (int l = 0; l < 3; l++) assert_close(widths[l] * (q[l] - 1.0), point.shift, 1e-12);
  }
  free_problem(&p);
}

static void enclosure_holds_between_its_ends(void **state)
{
  Problem p;

  (void)state;
  make_problem(&p, 2, widths, 0.02, 3.0, 0.5);
  for (double left = -6.0; left < 6.0; left += 0.7)
    for (double size = 1e-3; size < 3.0; size *= 4.0) {
      FwActionPoint a, b, inside;
      double        force[2], slope[2];

      TestCall(FwActionEvaluate(p.action, left, PETSC_FALSE, &a));
      TestCall(FwActionEvaluate(p.action, left + size, PETSC_FALSE, &b));
      FwActionEnclose(&a, &b, force, slope);
      for (double t = 0.0; t <= 1.0; t += 0.125) {
        TestCall(FwActionEvaluate(p.action, left + t * size, PETSC_FALSE, &inside));
        assert_close(inside.force >= force[0] - 1e-9 && inside.force <= force[1] + 1e-9, 1, 0.0);
        assert_close(inside.slope >= slope[0] - 1e-9 && inside.slope <= slope[1] + 1e-9, 1, 0.0);
      }
    }
  free_problem(&p);
}

/* Q = [sqrt((alpha-1)^2 + 4 alpha g) - (alpha-1)] / 2 with alpha = P/N, g = y^T K^-1 y / P */
static void saddle_at_zero_temperature_is_the_closed_form(void **state)
{
  const double width[] = {20.0, 40.0, 300.0};

  (void)state;
  for (int i = 0; i < 3; i++) {
    Problem          p;
    FwSaddle         saddle;
    FwSpectrumBounds bounds;
    double           alpha = P / width[i], g, expected;

    make_problem(&p, 1, &width[i], 0.0, 1.5, 0.0);
    TestCall(FwSpectrumGetBounds(p.spectrum, &bounds));
    g        = bounds.inverse / P;
    expected = 0.5 * (sqrt(PetscSqr(alpha - 1.0) + 4.0 * alpha * g) - (alpha - 1.0));
    TestCall(FwSaddleFind(p.action, &saddle));
    assert_close(saddle.n_minimum, 1, 0.0);
    assert_close(saddle.is_converged && saddle.is_complete, 1, 0.0);
    assert_close(exp(saddle.minimum[0].log_order) / expected, 1.0, 1e-12);
    TestCall(FwSaddleDestroy(&saddle));
    free_problem(&p);
  }
}

static void infinite_width_leaves_the_kernel_unchanged(void **state)
{
  const double width[3] = {1e12, 1e12, 1e12};
  Problem      p;
  FwSaddle     saddle;

  (void)state;
  make_problem(&p, 3, width, 0.05, 1.5, 0.0);
  TestCall(FwSaddleFind(p.action, &saddle));
  assert_close(saddle.n_minimum, 1, 0.0);
  assert_close(saddle.minimum[0].log_order, 0.0, 1e-9);
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* A large readout bias takes nearly constant labels for free: Q falls far below what y^T K^-1 y would allow */
static void saddle_at_zero_temperature_with_a_readout_bias_is_found(void **state)
{
  enum { N_MODE = 50 };
  double     k[N_MODE], y[N_MODE], width = 10.0, prior[2] = {1.0, 1.0}, bias[2] = {0.0, 100.0};
  FwModel    model = {.depth = 1, .width = &width, .prior = prior, .bias = bias, .temperature = 0.0};
  FwSpectrum spectrum;
  FwAction   action;
  FwSaddle   saddle;

  (void)state;
  for (int i = 0; i < N_MODE; i++) {
    k[i] = 0.5 + 0.01 * i;
    y[i] = 1.0 + 0.01 * cos(7.0 * i);
  }
  spectrum = make_spectrum(N_MODE, k, y, bias[1]);
  TestCall(FwActionCreate(spectrum, 1.0, &model, &action));
  TestCall(FwSaddleFind(action, &saddle));
  assert_close(saddle.n_minimum, 1, 0.0);
  assert_close(saddle.is_converged, 1, 0.0);
  assert_close(exp(saddle.minimum[0].log_order) < 0.01, 1, 0.0);
  TestCall(FwSaddleDestroy(&saddle));
  TestCall(FwActionDestroy(&action));
  TestCall(FwSpectrumDestroy(&spectrum));
}

/* N = 10, thirty modes k = 1 with small labels and one mode k = 1e-4: minima at 0.00601 and 55.3 */
static void both_minima_of_a_bistable_action_are_found(void **state)
{
  enum { N_MODE = 31 };
  double     k[N_MODE], y[N_MODE], width = 10.0, prior[2] = {1.0, 1.0}, bias[2] = {0.0, 0.0};
  FwModel    model = {.depth = 1, .width = &width, .prior = prior, .bias = bias, .temperature = 0.01};
  FwSpectrum spectrum;
  FwAction   action;
  FwSaddle   saddle;

  (void)state;
  for (int i = 0; i < N_MODE; i++) {
    k[i] = i ? 1.0 : 1e-4;
    y[i] = i ? 0.04 : 5.0;
  }
  spectrum = make_spectrum(N_MODE, k, y, 0.0);
  TestCall(FwActionCreate(spectrum, 1.0, &model, &action));
  TestCall(FwSaddleFind(action, &saddle));
  assert_close(saddle.n_minimum, 2, 0.0);
  assert_close(saddle.minimum[0].value < saddle.minimum[1].value, 1, 0.0);
  assert_close(exp(PetscMin(saddle.minimum[0].log_order, saddle.minimum[1].log_order)), 0.006, 5e-4);
  assert_close(exp(PetscMax(saddle.minimum[0].log_order, saddle.minimum[1].log_order)) / 55.3, 1.0, 5e-3);
  TestCall(FwSaddleDestroy(&saddle));
  TestCall(FwActionDestroy(&action));
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void solver_that_may_not_iterate_says_so(void **state)
{
  Problem  p;
  FwSaddle saddle;

  (void)state;
  make_problem(&p, 2, widths, 0.05, 1.5, 0.0);
  TestCall(PetscOptionsSetValue(NULL, "-snes_max_it", "0"));
  TestCall(FwSaddleFind(p.action, &saddle));
  TestCall(PetscOptionsClearValue(NULL, "-snes_max_it"));
  assert_close(saddle.is_converged, 0, 0.0);
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* Two layers: log evidence and E[Q] from a plain double integral over (log Q_1, log Q_2) */
static void average_over_two_layers_equals_a_double_integral(void **state)
{
  const double step = 0.05, half[2] = {6.0, 10.0}, width[2] = {12.0, 20.0};
  double       total = 0.0, order = 0.0, shift = 0.0;
  Problem      p;
  FwSaddle     saddle;
  FwAverage    average;

  (void)state;
  make_problem(&p, 2, width, 0.05, 2.0, 0.3);
  for (double u = -8.0; u < 5.0; u += step)
    for (double v = -8.0; v < 5.0; v += step) {
      FwResolvent r;
      double      log_weight = -0.5 * P * log(2.0 * M_PI);

      TestCall(FwSpectrumResolve(p.spectrum, 0.05, exp(u + v), PETSC_TRUE, &r));
      log_weight += half[0] * log(half[0]) - lgamma(half[0]) + half[0] * (u - exp(u));
      log_weight += half[1] * log(half[1]) - lgamma(half[1]) + half[1] * (v - exp(v)) - 0.5 * (r.log_det + r.fit);
      if (total == 0.0) shift = log_weight + 200.0;
      total += exp(log_weight - shift);
      order += exp(log_weight - shift + u + v);
    }
  TestCall(FwSaddleFind(p.action, &saddle));
  TestCall(FwAverageCreate(p.action, &saddle, &average));
  assert_close(average.is_available, 1, 0.0);
  assert_close(average.log_evidence, log(total * step * step) + shift, 1e-10);
  assert_close(average.mean_order, order / total, 1e-10);
  TestCall(FwAverageDestroy(&average));
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* As many examples as units and labels that are small beside the kernel: the action is flat at its minimum, and its density
   ends in walls */
static void average_over_a_flat_action_sees_its_walls(void **state)
{
  enum { N = 3 };
  const double step = 0.02, half = 0.5 * N, width[1] = {N}, k[N] = {1.0, 1.0, 1.0}, y[N] = {1e-4, -1e-4, 1e-4};
  double       total = 0.0, order = 0.0;
  Problem      p;
  FwSaddle     saddle;
  FwAverage    average;

  (void)state;
  make_problem(&p, 1, width, 1e-13, 1.0, 0.0);
  TestCall(FwActionDestroy(&p.action));
  TestCall(FwSpectrumDestroy(&p.spectrum));
  p.spectrum = make_spectrum(N, k, y, 0.0);
  TestCall(FwActionCreate(p.spectrum, 1.0, &p.model, &p.action));
  for (double u = -40.0; u < 5.0; u += step) {
    const double a      = exp(u) + 1e-13;
    const double weight = exp(half * (u - exp(u)) - half * log(a) - 0.5 * N * 1e-8 / a);

    total += weight;
    order += weight * exp(u);
  }
  TestCall(FwSaddleFind(p.action, &saddle));
  TestCall(FwAverageCreate(p.action, &saddle, &average));
  assert_close(average.mean_order, order / total, 1e-9);
  assert_close(average.log_evidence, log(total * step) + half * log(half / (2.0 * M_PI)) - lgamma(half), 1e-9);
  TestCall(FwAverageDestroy(&average));
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* Half of the modes are zero: what the labels have there costs |y|^2 / T whatever Q is, and must not be felt beside the
   rest of the action, of order one */
static void average_does_not_feel_labels_that_no_order_parameter_fits(void **state)
{
  const double width[2] = {12.0, 20.0}, temperature[2] = {1e-9, 1e-18};

  (void)state;
  for (int depth = 1; depth <= 2; depth++)
    for (int with_bias = 0; with_bias < 2; with_bias++) {
      double mean_order[2], least[2];

      for (int i = 0; i < 2; i++) {
        Problem   p;
        FwSaddle  saddle;
        FwAverage average;
        double    k[P], y[P];

        make_problem(&p, depth, width, temperature[i], 1.0, with_bias ? 0.3 : 0.0);
        TestCall(FwActionDestroy(&p.action));
        TestCall(FwSpectrumDestroy(&p.spectrum));
        for (int m = 0; m < P; m++) {
          k[m] = m % 2 ? 1.0 / (1.0 + m) : 0.0;
          y[m] = cos(3.0 * m);
        }
        p.spectrum = make_spectrum(P, k, y, with_bias ? 0.3 : 0.0);
        TestCall(FwActionCreate(p.spectrum, 1.0, &p.model, &p.action));
        TestCall(FwSaddleFind(p.action, &saddle));
        TestCall(FwAverageCreate(p.action, &saddle, &average));
        mean_order[i] = average.mean_order;
        least[i]      = temperature[i] * (saddle.minimum[0].value - saddle.minimum[0].above);
        TestCall(FwAverageDestroy(&average));
        TestCall(FwSaddleDestroy(&saddle));
        free_problem(&p);
      }
      assert_close(mean_order[1], mean_order[0], 1e-7);
      assert_close(least[1], least[0], 1e-7);
    }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(force_is_derivative_of_action_and_slope_of_force),
    cmocka_unit_test(layers_share_one_shift_and_multiply_to_the_product),
    cmocka_unit_test(enclosure_holds_between_its_ends),
    cmocka_unit_test(saddle_at_zero_temperature_is_the_closed_form),
    cmocka_unit_test(saddle_at_zero_temperature_with_a_readout_bias_is_found),
    cmocka_unit_test(infinite_width_leaves_the_kernel_unchanged),
    cmocka_unit_test(both_minima_of_a_bistable_action_are_found),
    cmocka_unit_test(solver_that_may_not_iterate_says_so),
    cmocka_unit_test(average_over_two_layers_equals_a_double_integral),
    cmocka_unit_test(average_over_a_flat_action_sees_its_walls),
    cmocka_unit_test(average_does_not_feel_labels_that_no_order_parameter_fits),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("action", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
