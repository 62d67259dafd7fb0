/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Action with the mean of the activation, its saddle points and average: derivatives, dense algebra, limits, an
 * independent quadrature.
 */

#include <finwidth/action.h>
#include <finwidth/mean_action.h>
#include <petscblaslapack.h>
#include "../support/collective_assert.h"
#include "../support/small_kernel.h"

static FwGrid grid;

enum { P = 24 };

static const PetscInt bandwidths[] = {0, 1, 64};

typedef struct {
  FwModel      model;
  double       width[1], prior[2], bias[2];
  double       kernel[P * P], column[2 * P]; /* y, then m */
  FwSpectrum   spectrum;
  FwMeanAction action;
} Problem;

static void make_problem(Problem *p, PetscInt bandwidth, double width, double temperature, double bias,
                         double label_mean, double mean)
{
  FwMatrix matrix;

  *p = (Problem){
    .model = {.depth = 1, .temperature = temperature},
      .width = {width     },
      .prior = {1.0,       1.7                          }
  };
  p->bias[1]     = bias;
  p->model.width = p->width;
  p->model.prior = p->prior;
  p->model.bias  = p->bias;
  make_kernel(P, p->kernel);
  for (int i = 0; i < P; i++) {
    p->column[i]     = hash(3 * i) + label_mean;
    p->column[P + i] = mean * (1.0 + 0.1 * hash(5 * i));
  }
  TestCall(FwMatrixCreateFromCopy(grid, P, P, p->kernel, &matrix));
  TestCall(FwSpectrumCreate(&matrix, bandwidth, &p->spectrum));
  TestCall(FwSpectrumSetLabels(p->spectrum, 2, p->column, bias));
  TestCall(FwMeanActionCreate(p->spectrum, 1.3, &p->model, &p->action));
}

static void free_problem(Problem *p)
{
  TestCall(FwMeanActionDestroy(&p->action));
  TestCall(FwSpectrumDestroy(&p->spectrum));
}

/* log det A + (y - c)^T A^-1 (y - c) with A = T + s^2 1 1^T + Q K + b m m^T and c = shift m */
static double dense_form(const Problem *p, double Q, double b, double shift)
{
  const PetscBLASInt n = P, one = 1;
  PetscBLASInt       info;
  double             a[P * P], x[P], rest[P], sum = 0.0;
  const double      *m = p->column + P;

  for (int i = 0; i < P; i++) {
    rest[i] = x[i] = p->column[i] - shift * m[i];
    for (int j = 0; j < P; j++)
      a[i + j * P] =
        1.3 * Q * p->kernel[i + j * P] + p->bias[1] + b * m[i] * m[j] + (i == j ? p->model.temperature : 0.0);
  }
  LAPACKpotrf_("L", &n, a, &n, &info);
  assert_close(info, 0, 0.0);
  LAPACKpotrs_("L", &n, &one, a, &n, x, &n, &info);
  for (int i = 0; i < P; i++) sum += 2.0 * log(a[i + i * P]) + x[i] * rest[i];
  return sum;
}

static void value_is_that_of_the_whole_matrix(void **state)
{
  (void)state;
  for (int b = 0; b < 3; b++) {
    const double u = 0.4, v = -0.7, Q = exp(u), t = exp(v);
    Problem      p;
    FwMeanPoint  point;

    make_problem(&p, bandwidths[b], 20.0, 0.1, b ? 0.5 : 0.0, 2.0, 0.8);
    TestCall(FwMeanActionEvaluate(p.action, u, v, PETSC_TRUE, &point));
    assert_close(point.value, -Q * (t - 1.0) + v + dense_form(&p, Q, 1.0 / (t * 1.7), 0.0) / 20.0, 1e-11);
    free_problem(&p);
  }
}

static void forces_and_slopes_are_derivatives(void **state)
{
  const double step = 1e-4, at[][2] = {
                              {0.0,  0.0 },
                              {1.5,  -1.2},
                              {-0.8, 2.0 }
  };

  (void)state;
  for (int b = 0; b < 3; b++)
    for (size_t i = 0; i < 3; i++) {
      Problem     p;
      FwMeanPoint here, right, left, up, down;

      make_problem(&p, bandwidths[b], 20.0, 0.1, i ? 0.5 : 0.0, 2.0, 0.8);
      TestCall(FwMeanActionEvaluate(p.action, at[i][0], at[i][1], PETSC_TRUE, &here));
      TestCall(FwMeanActionEvaluate(p.action, at[i][0] + step, at[i][1], PETSC_TRUE, &right));
      TestCall(FwMeanActionEvaluate(p.action, at[i][0] - step, at[i][1], PETSC_TRUE, &left));
      TestCall(FwMeanActionEvaluate(p.action, at[i][0], at[i][1] + step, PETSC_TRUE, &up));
      TestCall(FwMeanActionEvaluate(p.action, at[i][0], at[i][1] - step, PETSC_TRUE, &down));
      assert_close(here.force[0], 20.0 * (right.value - left.value) / (2.0 * step), 1e-6);
      assert_close(here.force[1], 20.0 * (up.value - down.value) / (2.0 * step), 1e-6);
      assert_close(here.slope[0], (right.force[0] - left.force[0]) / (2.0 * step), 1e-6);
      assert_close(here.slope[1], (right.force[1] - left.force[1]) / (2.0 * step), 1e-6);
      assert_close(here.slope[1], (up.force[0] - down.force[0]) / (2.0 * step), 1e-6);
      assert_close(here.slope[2], (up.force[1] - down.force[1]) / (2.0 * step), 1e-6);
      free_problem(&p);
    }
}

static void elimination_is_the_largest_value_over_the_shift(void **state)
{
  (void)state;
  for (double u = -3.0; u < 4.0; u += 0.7) {
    Problem     p;
    FwMeanPoint best, other;

    make_problem(&p, 1, 20.0, 0.1, 0.0, 3.0, 0.8);
    TestCall(FwMeanActionEliminate(p.action, u, PETSC_TRUE, &best));
    assert_close(best.force[1], 0.0, 1e-9);
    for (double v = -6.0; v < 6.0; v += 0.5) {
      TestCall(FwMeanActionEvaluate(p.action, u, v, PETSC_TRUE, &other));
      assert_close(other.value <= best.value + 1e-12, 1, 0.0);
    }
    free_problem(&p);
  }
}

/* Without a mean s = 1/Q - 1 gives back the plain action, but for its constant 1 */
static void activation_without_mean_has_the_plain_theory(void **state)
{
  Problem    p;
  FwSpectrum plain;
  FwMatrix   matrix;
  FwAction   action;
  FwSaddle   here, there;
  double    *shift;

  (void)state;
  make_problem(&p, 64, 20.0, 0.1, 0.3, 0.5, 0.0);
  TestCall(FwMatrixCreateFromCopy(grid, P, P, p.kernel, &matrix));
  TestCall(FwSpectrumCreate(&matrix, 64, &plain));
  TestCall(FwSpectrumSetLabels(plain, 1, p.column, 0.3));
  TestCall(FwActionCreate(plain, 1.3, &p.model, &action));
  TestCall(FwSaddleFind(action, &there));
  TestCall(FwMeanSaddleFind(p.action, &here, &shift));
  assert_close(here.n_minimum, there.n_minimum, 0.0);
  assert_close(here.is_converged, 1, 0.0);
  assert_close(here.minimum[0].log_order, there.minimum[0].log_order, 1e-10);
  assert_close(here.minimum[0].value, there.minimum[0].value - 1.0, 1e-11);
  assert_close(1.0 + shift[0], exp(-there.minimum[0].log_order), 1e-10);
  TestCall(PetscFree(shift));
  TestCall(FwSaddleDestroy(&here));
  TestCall(FwSaddleDestroy(&there));
  TestCall(FwActionDestroy(&action));
  TestCall(FwSpectrumDestroy(&plain));
  free_problem(&p);
}

static void infinite_width_leaves_the_kernel_unchanged(void **state)
{
  Problem  p;
  FwSaddle saddle;
  double  *shift;

  (void)state;
  make_problem(&p, 0, 1e9, 0.1, 0.0, 2.0, 0.8);
  TestCall(FwMeanSaddleFind(p.action, &saddle, &shift));
  assert_close(saddle.minimum[0].log_order, 0.0, 1e-6);
  assert_close(shift[0], 0.0, 1e-6);
  TestCall(PetscFree(shift));
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* Labels without a mean of their own: both theories agree to O(1/N), so that ten times the width is ten times as close */
static void balanced_labels_agree_with_the_plain_form(void **state)
{
  double difference[2];

  (void)state;
  for (int w = 0; w < 2; w++) {
    const double width = w ? 4000.0 : 400.0;
    Problem      p;
    FwMatrix     matrix;
    FwSpectrum   plain;
    FwAction     action;
    FwSaddle     here, there;
    double       full[P * P], *shift;

    make_problem(&p, 0, width, 0.1, 0.0, 0.0, 0.8);
    for (int i = 0; i < P; i++)
      for (int j = 0; j < P; j++) full[i + j * P] = 1.3 * p.kernel[i + j * P] + p.column[P + i] * p.column[P + j] / 1.7;
    TestCall(FwMatrixCreateFromCopy(grid, P, P, full, &matrix));
    TestCall(FwSpectrumCreate(&matrix, 0, &plain));
    TestCall(FwSpectrumSetLabels(plain, 1, p.column, 0.0));
    TestCall(FwActionCreate(plain, 1.0, &p.model, &action));
    TestCall(FwSaddleFind(action, &there));
    TestCall(FwMeanSaddleFind(p.action, &here, &shift));
    difference[w] = fabs(here.minimum[0].log_order - there.minimum[0].log_order);
    TestCall(PetscFree(shift));
    TestCall(FwSaddleDestroy(&here));
    TestCall(FwSaddleDestroy(&there));
    TestCall(FwActionDestroy(&action));
    TestCall(FwSpectrumDestroy(&plain));
    free_problem(&p);
  }
  assert_close(difference[0] < 0.02, 1, 0.0);
  assert_close(difference[1] < 0.15 * difference[0], 1, 0.0);
}

/* p(y) = int dr da Gamma(r) Normal(a) Normal(y; a m / sqrt(lambda), T + (r + a^2/N) K), r the rest of the readout norm */
static void average_is_the_double_integral(void **state)
{
  const double  N = 7.0, half = 0.5 * (N - 1.0), du = 0.08, da = 0.08;
  Problem       p;
  FwSaddle      saddle;
  FwMeanAverage average;
  double       *shift, total = 0.0, order = 0.0, largest = -60.0;

  (void)state;
  make_problem(&p, 1, N, 0.3, 0.0, 1.0, 0.8);
  TestCall(FwMeanSaddleFind(p.action, &saddle, &shift));
  TestCall(FwMeanAverageCreate(p.action, &saddle, &average));
  assert_close(average.is_available, 1, 0.0);
  for (double u = -5.0; u < 3.0; u += du)
    for (double a = -9.0; a < 9.0; a += da) {
      const double r = exp(u), Q = r + a * a / N;
      const double prior =
        half * log(0.5 * N) - lgamma(half) + half * u - 0.5 * N * r - 0.5 * a * a - 0.5 * log(2.0 * M_PI);
      const double term = exp(prior - 0.5 * dense_form(&p, Q, 0.0, a / sqrt(1.7)) - largest) * du * da;

      total += term;
      order += term * Q;
    }
  assert_close(average.log_evidence, log(total) + largest - 0.5 * P * log(2.0 * M_PI), 1e-8);
  assert_close(average.mean_order, order / total, 1e-8);
  TestCall(FwMeanAverageDestroy(&average));
  TestCall(PetscFree(shift));
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* A start so far up that the nodes, as dense as they are there, do not reach the weight */
static void average_that_runs_out_of_nodes_is_not_given(void **state)
{
  FwMinimum      far    = {.log_order = 13.0};
  const FwSaddle saddle = {.n_minimum = 1, .minimum = &far};
  Problem        p;
  FwMeanAverage  average;

  (void)state;
  make_problem(&p, 1, 7.0, 0.3, 0.0, 1.0, 0.8);
  TestCall(FwMeanAverageCreate(p.action, &saddle, &average));
  assert_close(average.is_available, 0, 0.0);
  TestCall(FwMeanAverageDestroy(&average));
  free_problem(&p);
}

/* Each example stands twice, with labels that differ, and so does the mean where it is to leave the range of the kernel */
static void make_twins(Problem *p, double temperature, PetscBool with_same_mean)
{
  const int half = P / 2;
  FwMatrix  matrix;

  make_problem(p, 0, 12.0, temperature, 0.0, 1.0, 0.8);
  free_problem(p);
  for (int i = 0; i < P; i++) {
    for (int j = 0; j < P; j++) p->kernel[i + j * P] = p->kernel[i % half + j % half * P];
    if (with_same_mean) p->column[P + i] = p->column[P + i % half];
  }
  TestCall(FwMatrixCreateFromCopy(grid, P, P, p->kernel, &matrix));
  TestCall(FwSpectrumCreate(&matrix, 0, &p->spectrum));
  TestCall(FwSpectrumSetLabels(p->spectrum, 2, p->column, 0.0));
  TestCall(FwMeanActionCreate(p->spectrum, 1.3, &p->model, &p->action));
}

static void tiny_temperatures_have_a_limit(void **state)
{
  (void)state;
  for (int with_same_mean = 0; with_same_mean < 2; with_same_mean++) {
    const double temperature[] = {1e-8, 1e-13, 1e-16};
    double       log_order[3], shift[3], mean_order[3];

    for (int i = 0; i < 3; i++) {
      Problem       p;
      FwSaddle      saddle;
      FwMeanAverage average;
      double       *s;

      make_twins(&p, temperature[i], with_same_mean ? PETSC_TRUE : PETSC_FALSE);
      TestCall(FwMeanSaddleFind(p.action, &saddle, &s));
      assert_close(saddle.is_converged, 1, 0.0);
      assert_close(saddle.minimum[0].residual, 0.0, 1e-7);
      log_order[i] = saddle.minimum[0].log_order;
      shift[i]     = s[0];
      if (with_same_mean) {
        TestCall(FwMeanAverageCreate(p.action, &saddle, &average));
        mean_order[i] = average.mean_order;
        TestCall(FwMeanAverageDestroy(&average));
        if (i) assert_close(mean_order[i], mean_order[0], 1e-5);
      }
      if (i) assert_close(log_order[i], log_order[0], 1e-5);
      if (i) assert_close(shift[i], shift[0], 1e-5);
      TestCall(PetscFree(s));
      TestCall(FwSaddleDestroy(&saddle));
      free_problem(&p);
    }
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(value_is_that_of_the_whole_matrix),
    cmocka_unit_test(forces_and_slopes_are_derivatives),
    cmocka_unit_test(elimination_is_the_largest_value_over_the_shift),
    cmocka_unit_test(activation_without_mean_has_the_plain_theory),
    cmocka_unit_test(infinite_width_leaves_the_kernel_unchanged),
    cmocka_unit_test(balanced_labels_agree_with_the_plain_form),
    cmocka_unit_test(average_is_the_double_integral),
    cmocka_unit_test(average_that_runs_out_of_nodes_is_not_given),
    cmocka_unit_test(tiny_temperatures_have_a_limit),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("mean_action", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
