/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Action of several outputs and its minima: dense algebra, derivatives, limits solved by hand, symmetries.
 */

#include <finwidth/average.h>
#include <finwidth/matrix_average.h>
#include <finwidth/matrix_saddle.h>
#include <finwidth/random.h>
#include <petscblaslapack.h>
#include "../support/collective_assert.h"
#include "../support/small_kernel.h"

static FwGrid grid;

enum { P = 30, D = 3 };

static const PetscInt bandwidths[] = {0, 1, 64};

typedef struct {
  FwModel        model;
  double         width[3], prior[4], bias[4];
  double         kernel[P * P], label[D * P];
  FwSpectrum     spectrum;
  FwMatrixAction action;
} Problem;

/* A kernel without structure, and labels of order one */
static void make_problem(Problem *p, PetscInt bandwidth, int depth, double width, double temperature, double bias)
{
  FwMatrix matrix;

  *p = (Problem){
    .model = {.depth = depth, .temperature = temperature}
  };
  for (int l = 0; l < depth; l++) p->width[l] = width;
  p->bias[depth] = bias;
  p->model.width = p->width;
  p->model.prior = p->prior;
  p->model.bias  = p->bias;
  make_kernel(P, p->kernel);
  for (int d = 0; d < D; d++)
    for (int i = 0; i < P; i++) p->label[i + d * P] = hash(3 * i + 100 * d) * (1.0 + 0.5 * d);
  TestCall(FwMatrixCreateFromCopy(grid, P, P, p->kernel, &matrix));
  TestCall(FwSpectrumCreate(&matrix, bandwidth, &p->spectrum));
  TestCall(FwSpectrumSetLabels(p->spectrum, D, p->label, bias));
  TestCall(FwMatrixActionCreate(p->spectrum, 1.3, &p->model, D, &p->action));
}

static void free_problem(Problem *p)
{
  TestCall(FwMatrixActionDestroy(&p->action));
  TestCall(FwSpectrumDestroy(&p->spectrum));
}

static void make_direction(int key, double scale, double e[D * D])
{
  for (int a = 0; a < D; a++)
    for (int b = 0; b <= a; b++) e[a * D + b] = e[b * D + a] = scale * hash(key + 5 * a + 13 * b);
}

static double product(const double a[], const double b[])
{
  double sum = 0.0;

  for (int i = 0; i < D * D; i++) sum += a[i] * b[i];
  return sum;
}

static void add(const double h[], double step, const double e[], double out[])
{
  for (int i = 0; i < D * D; i++) out[i] = h[i] + step * e[i];
}

/* e^h by its series, from a small part of h squared again and again; and tr e^{h / depth} through it */
static void exponential(const double h[], double factor, double q[D * D])
{
  double term[D * D], next[D * D];

  for (int i = 0; i < D * D; i++) q[i] = term[i] = i % (D + 1) ? 0.0 : 1.0;
  for (int k = 1; k < 20; k++) {
    for (int a = 0; a < D; a++)
      for (int b = 0; b < D; b++) {
        next[a * D + b] = 0.0;
        for (int c = 0; c < D; c++) next[a * D + b] += term[a * D + c] * factor * h[c * D + b] / 1024.0 / k;
      }
    for (int i = 0; i < D * D; i++) q[i] += term[i] = next[i];
  }
  for (int s = 0; s < 10; s++) {
    for (int a = 0; a < D; a++)
      for (int b = 0; b < D; b++) {
        next[a * D + b] = 0.0;
        for (int c = 0; c < D; c++) next[a * D + b] += q[a * D + c] * q[c * D + b];
      }
    for (int i = 0; i < D * D; i++) q[i] = next[i];
  }
}

/* The definition: the D P x D P matrix, factored */
static double dense_action(const Problem *p, const double h[])
{
  const PetscBLASInt n = D * P, one = 1;
  PetscBLASInt       info;
  double            *a, x[D * P], q[D * D], root[D * D], sum = 0.0;
  const double       depth = (double)p->model.depth;

  exponential(h, 1.0, q);
  exponential(h, 1.0 / depth, root);
  TestCall(PetscMalloc1(n * n, &a));
  for (int i = 0; i < D; i++)
    for (int j = 0; j < D; j++)
      for (int m = 0; m < P; m++)
        for (int k = 0; k < P; k++)
          a[(i * P + m) + (size_t)(j * P + k) * n] = 1.3 * q[i * D + j] * p->kernel[m + k * P] +
                                                     (i == j ? p->bias[p->model.depth] : 0.0) +
                                                     (i == j && m == k ? p->model.temperature : 0.0);
  for (int i = 0; i < n; i++) x[i] = p->label[i];
  LAPACKpotrf_("L", &n, a, &n, &info);
  assert_close(info, 0, 0.0);
  for (int i = 0; i < n; i++) sum += 2.0 * log(a[i + (size_t)i * n]);
  LAPACKpotrs_("L", &n, &one, a, &n, x, &n, &info);
  for (int i = 0; i < n; i++) sum += x[i] * p->label[i];
  sum /= p->model.width[0];
  for (int i = 0; i < D; i++) sum += depth * root[i * D + i] - h[i * D + i];
  TestCall(PetscFree(a));
  return sum;
}

static void value_is_that_of_the_whole_matrix(void **state)
{
  (void)state;
  for (int b = 0; b < 3; b++)
    for (int depth = 1; depth <= 2; depth++) {
      Problem       p;
      FwMatrixPoint point;
      double        h[D * D];

      make_problem(&p, bandwidths[b], depth, 25.0, 0.1, depth == 2 ? 0.6 : 0.0);
      make_direction(1, 0.4, h);
      TestCall(FwMatrixPointCreate(D, &point));
      TestCall(FwMatrixActionEvaluate(p.action, h, FW_OUTPUTS_VALUE, &point));
      assert_close(point.value, dense_action(&p, h), 1e-11);
      TestCall(FwMatrixPointDestroy(&point));
      free_problem(&p);
    }
}

/* Along two directions, at a matrix without structure, at a multiple of one, and where two eigenvalues nearly meet */
static void force_and_curve_are_derivatives(void **state)
{
  const double step = 1e-4;

  (void)state;
  for (int b = 0; b < 3; b++)
    for (int kind = 0; kind < 6; kind++) {
      Problem       p;
      FwMatrixPoint here, up, down;
      double        h[D * D], e[D * D], f[D * D], moved[D * D], curve[D * D];

      make_problem(&p, bandwidths[b], 1 + kind % 3, 25.0, 0.1, kind % 2 ? 0.6 : 0.0);
      make_direction(1, kind < 2 ? 0.5 : kind < 4 ? 0.0 : 3e-5, h);
      for (int a = 0; a < D; a++) h[a * D + a] += 0.3;
      make_direction(2, 1.0, e);
      make_direction(3, 1.0, f);
      TestCall(FwMatrixPointCreate(D, &here));
      TestCall(FwMatrixPointCreate(D, &up));
      TestCall(FwMatrixPointCreate(D, &down));
      TestCall(FwMatrixActionEvaluate(p.action, h, FW_OUTPUTS_CURVE, &here));
      add(h, step, e, moved);
      TestCall(FwMatrixActionEvaluate(p.action, moved, FW_OUTPUTS_SLOPE, &up));
      add(h, -step, e, moved);
      TestCall(FwMatrixActionEvaluate(p.action, moved, FW_OUTPUTS_SLOPE, &down));
      assert_close(product(here.force, e), 25.0 * (up.value - down.value) / (2.0 * step), 1e-6);
      TestCall(FwMatrixActionCurve(p.action, &here, e, curve));
      assert_close(product(curve, f), (product(up.force, f) - product(down.force, f)) / (2.0 * step), 1e-6);
      TestCall(FwMatrixPointDestroy(&here));
      TestCall(FwMatrixPointDestroy(&up));
      TestCall(FwMatrixPointDestroy(&down));
      free_problem(&p);
    }
}

static void descent_never_rises(void **state)
{
  Problem       p;
  FwMatrixPoint point;
  double        h[D * D], value = INFINITY;

  (void)state;
  make_problem(&p, 0, 3, 10.0, 0.1, 0.0);
  TestCall(FwMatrixPointCreate(D, &point));
  make_direction(1, 3.0, h);
  for (int step = 0; step < 40; step++) {
    TestCall(FwMatrixActionEvaluate(p.action, h, FW_OUTPUTS_SLOPE, &point));
    assert_close(point.value <= value + 1e-12, 1, 0.0);
    value = point.value;
    TestCall(FwMatrixActionDescend(p.action, &point, h));
  }
  TestCall(FwMatrixPointDestroy(&point));
  free_problem(&p);
}

/* The closed form is stationary, and a search that does not know of it ends there */
static void zero_temperature_is_the_closed_form(void **state)
{
  const double width[] = {12.0, 80.0};

  (void)state;
  for (int w = 0; w < 2; w++)
    for (int depth = 1; depth <= 2; depth++) {
      Problem       p;
      FwMatrixPoint point;
      FwSaddle      saddle;
      double        h[D * D], *order;

      make_problem(&p, 0, depth, width[w], 0.0, 0.0);
      TestCall(FwMatrixPointCreate(D, &point));
      TestCall(FwMatrixActionCold(p.action, h));
      TestCall(FwMatrixActionEvaluate(p.action, h, FW_OUTPUTS_SLOPE, &point));
      assert_close(sqrt(product(point.force, point.force)), 0.0, 1e-8);
      TestCall(FwMatrixSaddleFind(p.action, &saddle, &order));
      assert_close(saddle.n_minimum, 1, 0.0);
      assert_close(saddle.is_complete, 1, 0.0);
      TestCall(PetscFree(order));
      TestCall(FwSaddleDestroy(&saddle));
      TestCall(FwMatrixPointDestroy(&point));
      free_problem(&p);
    }
}

/* One output: the scalar theory, at any depth, with all its minima */
static void one_output_is_the_scalar_theory(void **state)
{
  (void)state;
  for (int depth = 1; depth <= 3; depth++) {
    Problem        p;
    FwSaddle       scalar, matrix;
    FwAction       action;
    FwMatrixAction alone;
    double        *order;

    make_problem(&p, 1, depth, 20.0, 0.05, depth == 2 ? 0.4 : 0.0);
    TestCall(FwSpectrumSetLabels(p.spectrum, 1, p.label, p.bias[depth]));
    TestCall(FwActionCreate(p.spectrum, 1.3, &p.model, &action));
    TestCall(FwMatrixActionCreate(p.spectrum, 1.3, &p.model, 1, &alone));
    TestCall(FwSaddleFind(action, &scalar));
    TestCall(FwMatrixSaddleFind(alone, &matrix, &order));
    assert_close(matrix.is_converged, 1, 0.0);
    assert_close(matrix.n_minimum, scalar.n_minimum, 0.0);
    assert_close(order[0], exp(scalar.minimum[0].log_order), 1e-10);
    assert_close(matrix.minimum[0].value, scalar.minimum[0].value, 1e-11);
    TestCall(PetscFree(order));
    TestCall(FwSaddleDestroy(&scalar));
    TestCall(FwSaddleDestroy(&matrix));
    TestCall(FwActionDestroy(&action));
    TestCall(FwMatrixActionDestroy(&alone));
    free_problem(&p);
  }
}

/* Y -> Y R turns Q into R^T Q R, and leaves S */
static void rotated_outputs_have_a_rotated_order_parameter(void **state)
{
  const double turn[D][D] = {
    {0.8, -0.6, 0.0},
    {0.6, 0.8,  0.0},
    {0.0, 0.0,  1.0}
  };
  Problem  p;
  FwSaddle plain, turned;
  double  *q, *r, rotated[D * P];

  (void)state;
  make_problem(&p, 64, 1, 40.0, 0.05, 0.3);
  TestCall(FwMatrixSaddleFind(p.action, &plain, &q));
  for (int i = 0; i < P; i++)
    for (int d = 0; d < D; d++) {
      rotated[i + d * P] = 0.0;
      for (int c = 0; c < D; c++) rotated[i + d * P] += p.label[i + c * P] * turn[c][d];
    }
  TestCall(FwSpectrumSetLabels(p.spectrum, D, rotated, 0.3));
  TestCall(FwMatrixSaddleFind(p.action, &turned, &r));
  assert_close(plain.is_complete, 1, 0.0);
  assert_close(turned.minimum[0].value, plain.minimum[0].value, 1e-11);
  for (int a = 0; a < D; a++)
    for (int b = 0; b < D; b++) {
      double expected = 0.0;

      for (int c = 0; c < D; c++)
        for (int d = 0; d < D; d++) expected += turn[c][a] * q[c * D + d] * turn[d][b];
      assert_close(r[a * D + b], expected, 1e-9);
    }
  TestCall(PetscFree(q));
  TestCall(PetscFree(r));
  TestCall(FwSaddleDestroy(&plain));
  TestCall(FwSaddleDestroy(&turned));
  free_problem(&p);
}

static void infinite_width_leaves_the_identity(void **state)
{
  Problem  p;
  FwSaddle saddle;
  double  *order;

  (void)state;
  make_problem(&p, 0, 1, 1e9, 0.1, 0.0);
  TestCall(FwMatrixSaddleFind(p.action, &saddle, &order));
  for (int i = 0; i < D * D; i++) assert_close(order[i], i % (D + 1) ? 0.0 : 1.0, 1e-6);
  TestCall(PetscFree(order));
  TestCall(FwSaddleDestroy(&saddle));
  free_problem(&p);
}

/* One output: draws agree with the quadrature of the scalar theory */
static void average_of_one_output_is_the_quadrature(void **state)
{
  Problem         p;
  FwSaddle        saddle;
  FwAction        action;
  FwMatrixAction  alone;
  FwAverage       exact;
  FwMatrixAverage drawn;
  double          order, at_saddle;

  (void)state;
  make_problem(&p, 1, 1, 9.0, 0.05, 0.4);
  TestCall(FwSpectrumSetLabels(p.spectrum, 1, p.label, 0.4));
  TestCall(FwActionCreate(p.spectrum, 1.3, &p.model, &action));
  TestCall(FwMatrixActionCreate(p.spectrum, 1.3, &p.model, 1, &alone));
  TestCall(FwSaddleFind(action, &saddle));
  TestCall(FwAverageCreate(action, &saddle, &exact));
  order = exp(saddle.minimum[0].log_order);
  TestCall(FwMatrixAverageCreate(PETSC_COMM_WORLD, alone, &order, 2000, 7, &drawn));
  assert_close(drawn.effective > 1000.0, 1, 0.0);
  assert_close(fabs(drawn.log_evidence - exact.log_evidence) < 5.0 * drawn.log_evidence_error, 1, 0.0);
  assert_close(fabs(drawn.mean_order[0] - exact.mean_order) < 5.0 * drawn.mean_order_error[0], 1, 0.0);
  assert_close(drawn.mean_order_error[0] < 0.03 * exact.mean_order, 1, 0.0);
  /* the value at the saddle point alone would not do */
  at_saddle = -4.5 * (saddle.minimum[0].value - 1.0) - 0.5 * P * log(2.0 * M_PI);
  assert_close(fabs(at_saddle - drawn.log_evidence) > 5.0 * drawn.log_evidence_error, 1, 0.0);
  TestCall(FwMatrixAverageDestroy(&drawn));
  TestCall(FwAverageDestroy(&exact));
  TestCall(FwSaddleDestroy(&saddle));
  TestCall(FwActionDestroy(&action));
  TestCall(FwMatrixActionDestroy(&alone));
  free_problem(&p);
}

/* Few examples at a large temperature: Wishart matrices drawn as they are, each with the likelihood as its weight. The
   draws of the average do not depend on the number of ranks. */
enum { WIDTH = 8, DRAWS = 4000 };

/* Readout of a linear network, seen through `depth` layers of weights: rows are the columns of v */
static void draw_readout(int r, int depth, int width, double v[WIDTH * D])
{
  double z[WIDTH * WIDTH], below[WIDTH * D];

  FwStreamNormal(FwStreamCreate(11, FW_RANDOM_THEORY_ORDER, (uint64_t)r, 0, 0), 0, (size_t)width * D, v);
  for (int l = 1; l < depth; l++) {
    FwStreamNormal(FwStreamCreate(11, FW_RANDOM_THEORY_ORDER, (uint64_t)r, (uint64_t)l, 0), 0, (size_t)width * width,
                   z);
    for (int i = 0; i < width * D; i++) {
      below[i] = 0.0;
      for (int k = 0; k < width; k++) below[i] += z[i / D * width + k] * v[k * D + i % D] / sqrt(width);
    }
    for (int i = 0; i < width * D; i++) v[i] = below[i];
  }
}

/* Returns how many draws count */
static double check_average(int depth, int width, int draws, uint64_t seed)
{
  Problem         p;
  FwMatrixPoint   point;
  FwMatrixAverage drawn;
  FwSaddle        saddle;
  double         *order, effective, sum = 0.0, square = 0.0, first = 0.0, largest = -120.0;

  make_problem(&p, 0, depth, width, 30.0, 0.0);
  TestCall(FwMatrixSaddleFind(p.action, &saddle, &order));
  TestCall(FwMatrixAverageCreate(PETSC_COMM_WORLD, p.action, order, draws, seed, &drawn));
  TestCall(FwMatrixPointCreate(D, &point));
  for (int r = 0; r < DRAWS; r++) {
    double v[WIDTH * D], q[D * D], value[D], h[D * D] = {0.0}, weight = 0.0;

    draw_readout(r, depth, width, v);
    for (int a = 0; a < D; a++)
      for (int b = 0; b < D; b++) {
        q[a * D + b] = 0.0;
        for (int i = 0; i < width; i++) q[a * D + b] += v[i * D + a] * v[i * D + b] / width;
      }
    {
      const PetscBLASInt n = D, n_work = 64;
      PetscBLASInt       info;
      double             work[64], vector[D * D];

      for (int i = 0; i < D * D; i++) vector[i] = q[i];
      LAPACKsyev_("V", "L", &n, vector, &n, value, work, &n_work, &info);
      for (int a = 0; a < D * D; a++)
        for (int k = 0; k < D; k++) h[a] += vector[a / D + k * D] * log(value[k]) * vector[a % D + k * D];
    }
    TestCall(FwMatrixActionEvaluate(p.action, h, FW_OUTPUTS_VALUE, &point));
    for (int a = 0; a < D; a++) weight -= 0.5 * (point.resolvent.log_det[a] + point.resolvent.fit[a]);
    weight = exp(weight - largest);
    sum += weight / DRAWS;
    square += weight * weight / DRAWS;
    first += weight * q[0] / DRAWS;
  }
  {
    const double error = hypot(sqrt((square / (sum * sum) - 1.0) / DRAWS), drawn.log_evidence_error);
    const double brute = log(sum) + largest - 0.5 * P * D * log(2.0 * M_PI);

    assert_close(isfinite(brute), 1, 0.0);
    if (draws >= DRAWS) assert_close(error < 0.05, 1, 0.0);
    assert_close(fabs(brute - drawn.log_evidence) < 5.0 * error, 1, 0.0);
    assert_close(fabs(first / sum - drawn.mean_order[0]) < 5.0 * (error + drawn.mean_order_error[0]), 1, 0.0);
  }
  effective = drawn.effective;
  TestCall(FwMatrixPointDestroy(&point));
  TestCall(FwMatrixAverageDestroy(&drawn));
  TestCall(FwSaddleDestroy(&saddle));
  TestCall(PetscFree(order));
  free_problem(&p);
  return effective;
}

static void average_is_that_over_wishart_matrices(void **state)
{
  (void)state;
  check_average(1, WIDTH, DRAWS, 7);
}

static void average_of_several_layers_is_that_over_networks(void **state)
{
  (void)state;
  check_average(2, WIDTH, 2 * DRAWS, 7);
}

/* As many units as outputs, and as many draws as predictions have: without pilots 20 of them count, and often not those that
   should */
static void average_of_narrow_layers_has_draws_that_count(void **state)
{
  double effective = 0.0;

  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) effective += check_average(1, D, FW_MATRIX_AVERAGE_DRAWS, seed);
  assert_close(effective / 4.0 > 70.0, 1, 0.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(value_is_that_of_the_whole_matrix),
    cmocka_unit_test(force_and_curve_are_derivatives),
    cmocka_unit_test(descent_never_rises),
    cmocka_unit_test(zero_temperature_is_the_closed_form),
    cmocka_unit_test(one_output_is_the_scalar_theory),
    cmocka_unit_test(rotated_outputs_have_a_rotated_order_parameter),
    cmocka_unit_test(infinite_width_leaves_the_identity),
    cmocka_unit_test(average_of_one_output_is_the_quadrature),
    cmocka_unit_test(average_is_that_over_wishart_matrices),
    cmocka_unit_test(average_of_several_layers_is_that_over_networks),
    cmocka_unit_test(average_of_narrow_layers_has_draws_that_count),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("matrix_action", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
