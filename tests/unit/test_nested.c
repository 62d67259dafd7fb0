/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Nested and linearised compositions: gradients against differences of S, limits in which they are the product
 * composition, and rows of the reference file (whose data are a closed formula, written to an HDF5 file here).
 *
 * ranks: 1 2 3 4
 */

#include <finwidth/activation.h>
#include <finwidth/nested.h>
#include "../support/dataset_fixture.h"

#include <hdf5.h>

enum { N_INPUT = 30, DEPTH_MAX = 4 };

static FwGrid    grid;
static FwDataset reference; /* P = 60, P_t = 40: that of the reference file */
static FwDataset odd;       /* P = 71, P_t = 9 */
static FwDataset large;     /* P = 331: several tiles on a rank */

/* --- data and networks -------------------------------------------------------------------------------------- */

/* x[mu, i] = sqrt 2 sin(0.7 mu + 1.3 i + 0.1 mu i), y = z + sin(3 z) / 2 + 0.1 sin(2.3 mu), z = x.w / sqrt N_0 */
static void fill_formula(int n, double x[], double y[])
{
  for (int mu = 1; mu <= n; mu++) {
    double z = 0.0;

    for (int i = 1; i <= N_INPUT; i++) {
      const double value = sqrt(2.0) * sin(0.7 * mu + 1.3 * i + 0.1 * mu * i);

      x[(mu - 1) * N_INPUT + i - 1] = value;
      z += value * cos(0.9 * i) / sqrt(N_INPUT);
    }
    y[mu - 1] = z + 0.5 * sin(3.0 * z) + 0.1 * sin(2.3 * mu);
  }
}

static void write_set(hid_t file, const char name[], int n_dimension, const hsize_t size[], const double value[])
{
  const hid_t space = H5Screate_simple(n_dimension, size, NULL);
  const hid_t set   = H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
  H5Dclose(set);
  H5Sclose(space);
}

static void write_formula(int n)
{
  const hsize_t size[2] = {(hsize_t)n, N_INPUT};
  PetscMPIInt   rank;
  double       *x, *y;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  TestCall(PetscMalloc2(n * N_INPUT, &x, n, &y));
  fill_formula(n, x, y);
  if (rank == 0) {
    const hid_t file = H5Fcreate(file_path("d.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_set(file, "x", 2, size, x);
    write_set(file, "y", 1, size, y);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  TestCall(PetscFree2(x, y));
}

static FwDataset open_formula(int n_train, int n_test)
{
  char options[200];

  snprintf(options, sizeof options,
           "-data_source hdf5 -data_path %%s/d.h5 -data_normalise none -data_train %d -data_test %d", n_train, n_test);
  return open_data(options);
}

typedef struct {
  FwModel  model;
  double   width[DEPTH_MAX], prior[DEPTH_MAX + 1], bias[DEPTH_MAX + 1];
  PetscInt activation[DEPTH_MAX];
} Network;

/* A network of one activation and width, priors 1, no biases */
static void set_network(Network *n, int depth, FwActivationType activation, double width, double temperature)
{
  *n = (Network){
    .model = {.type = FW_NETWORK_FC, .depth = depth, .temperature = temperature}
  };
  n->model.width      = n->width;
  n->model.prior      = n->prior;
  n->model.bias       = n->bias;
  n->model.activation = n->activation;
  for (int l = 0; l < depth; l++) {
    n->width[l]      = width;
    n->activation[l] = (PetscInt)activation;
  }
  for (int l = 0; l <= depth; l++) n->prior[l] = 1.0;
}

/* Unequal everything, with biases and three activations; `last` is that of the last layer */
static void set_mixture(Network *n, int depth, FwActivationType last)
{
  const double   width[] = {40, 80, 30}, prior[] = {1.2, 0.8, 0.7, 1.3}, bias[] = {0.1, 0.2, 0.3, 0.4};
  const PetscInt activation[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU, FW_ACTIVATION_TANH};

  set_network(n, depth, last, 1.0, 0.05);
  for (int l = 0; l < depth; l++) n->width[l] = width[l];
  for (int l = 0; l < depth - 1; l++) n->activation[l] = activation[(l + 1) % 3];
  for (int l = 0; l <= depth; l++) n->prior[l] = prior[l];
  for (int l = 0; l <= depth; l++) n->bias[l] = bias[l];
}

/* --- derivatives -------------------------------------------------------------------------------------------- */

static void check_gradient(const Network *network, FwDataset data, FwNestedForm form)
{
  const double   u[DEPTH_MAX] = {0.3, -0.4, 0.2, 0.1}, step = 1e-4;
  const PetscInt depth = network->model.depth;
  FwNestedAction action;
  double         value, gradient[DEPTH_MAX];

  TestCall(FwNestedActionCreate(grid, &network->model, data, form, &action));
  TestCall(FwNestedActionEvaluate(action, u, &value, gradient));
  for (PetscInt l = 0; l < depth; l++) {
    double beside[DEPTH_MAX] = {0}, up, down;

    for (PetscInt i = 0; i < depth; i++) beside[i] = u[i];
    beside[l] = u[l] + step;
    TestCall(FwNestedActionEvaluate(action, beside, &up, NULL));
    beside[l] = u[l] - step;
    TestCall(FwNestedActionEvaluate(action, beside, &down, NULL));
    assert_close(gradient[l], (up - down) / (2.0 * step), 1e-7);
  }
  TestCall(FwNestedActionDestroy(&action));
}

static void gradient_is_derivative_of_action_at_every_depth(void **state)
{
  const FwActivationType last[]   = {FW_ACTIVATION_ERF, FW_ACTIVATION_SIGN, FW_ACTIVATION_TANH, FW_ACTIVATION_RELU,
                                     FW_ACTIVATION_QUADRATIC};
  const size_t           n_last[] = {1, 5, 2}; /* per depth; a series takes its time */
  Network                network;

  (void)state;
  for (int depth = 1; depth <= 3; depth++)
    for (size_t i = 0; i < n_last[depth - 1]; i++) {
      set_mixture(&network, depth, last[i]);
      check_gradient(&network, odd, FW_NESTED);
    }
}

static void gradient_of_linearised_form_is_derivative_of_its_action(void **state)
{
  const FwActivationType last[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU, FW_ACTIVATION_TANH};
  Network                network;

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(last); i++) {
    set_mixture(&network, 2, last[i]);
    check_gradient(&network, odd, FW_LINEARISED);
  }
}

static void gradient_holds_across_several_tiles(void **state)
{
  Network network;

  (void)state;
  set_mixture(&network, 3, FW_ACTIVATION_ERF);
  network.activation[1] = FW_ACTIVATION_RELU;
  check_gradient(&network, large, FW_NESTED);
}

/* --- kernels ------------------------------------------------------------------------------------------------ */

static double largest_difference(FwMatrix a, FwMatrix b)
{
  PetscInt m, n;
  double  *copy[2], largest = 0.0;

  TestCall(FwMatrixGetSize(a, &m, &n, NULL, NULL));
  TestCall(PetscMalloc2(m * n, &copy[0], m * n, &copy[1]));
  TestCall(FwMatrixGather(a, copy[0]));
  TestCall(FwMatrixGather(b, copy[1]));
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = m == n ? j : 0; i < m; i++)
      largest = PetscMax(largest, fabs(copy[0][i + j * m] - copy[1][i + j * m]));
  TestCall(PetscFree2(copy[0], copy[1]));
  return largest;
}

static void all_forms_are_the_plain_kernel_at_unit_order(void **state)
{
  const double one[] = {1.0, 1.0};
  Network      network;

  (void)state;
  set_mixture(&network, 2, FW_ACTIVATION_TANH);
  for (int form = 0; form < 2; form++) {
    FwKernelLayers layers;
    FwKernel       plain;
    FwMatrix       train, cross, plain_train, plain_cross;
    const double  *expected;
    double         diagonal[9];

    TestCall(FwKernelLayersCreate(grid, &network.model, odd, (FwNestedForm)form, &layers));
    TestCall(FwKernelLayersTrain(layers, one, &train));
    TestCall(FwKernelLayersCross(layers, FW_TEST, one, &cross));
    TestCall(FwKernelLayersDiagonal(layers, FW_TEST, one, diagonal));
    TestCall(FwKernelCreate(grid, &network.model, odd, &plain));
    TestCall(FwKernelTrain(plain, &plain_train));
    TestCall(FwKernelCross(plain, FW_TEST, &plain_cross));
    TestCall(FwKernelDiagonal(plain, FW_TEST, &expected));
    assert_close(largest_difference(train, plain_train), 0.0, 1e-13);
    assert_close(largest_difference(cross, plain_cross), 0.0, 1e-13);
    for (int t = 0; t < 9; t++) assert_close(diagonal[t], expected[t], 1e-13);
    TestCall(FwMatrixDestroy(&train));
    TestCall(FwMatrixDestroy(&cross));
    TestCall(FwMatrixDestroy(&plain_train));
    TestCall(FwMatrixDestroy(&plain_cross));
    TestCall(FwKernelDestroy(&plain));
    TestCall(FwKernelLayersDestroy(&layers));
  }
}

/* The linearised kernel is tangent to the nested one at Q = 1: its difference is of second order in Q_1 - 1 */
static void linearised_kernel_is_tangent_to_the_nested_one(void **state)
{
  double  difference[2];
  Network network;

  (void)state;
  set_mixture(&network, 2, FW_ACTIVATION_ERF);
  for (int i = 0; i < 2; i++) {
    const double   order[] = {1.0 + 2e-3 * (i + 1), 1.7};
    FwKernelLayers layers[2];
    FwMatrix       train[2], cross[2];

    for (int form = 0; form < 2; form++) {
      TestCall(FwKernelLayersCreate(grid, &network.model, odd, (FwNestedForm)form, &layers[form]));
      TestCall(FwKernelLayersTrain(layers[form], order, &train[form]));
      TestCall(FwKernelLayersCross(layers[form], FW_TEST, order, &cross[form]));
    }
    difference[i] = largest_difference(train[0], train[1]);
    assert_close(largest_difference(cross[0], cross[1]), 0.0, 1e-5);
    for (int form = 0; form < 2; form++) {
      TestCall(FwMatrixDestroy(&train[form]));
      TestCall(FwMatrixDestroy(&cross[form]));
      TestCall(FwKernelLayersDestroy(&layers[form]));
    }
  }
  assert_close(difference[1] / difference[0], 4.0, 0.02);
}

/* --- the product composition's rows that nested must reproduce ---------------------------------------------- */

static void solve(const Network *network, FwNestedForm form, int n_start, const double start[], FwNestedResult *r)
{
  TestCall(FwNestedCreate(grid, &network->model, reference, form, n_start, start, r));
}

/* Means over the test examples of (m - y)^2 and v */
static void test_errors(const FwNestedResult *r, double *bias, double *variance)
{
  const double *y;

  TestCall(FwDatasetGetTargets(reference, FW_TEST, &y));
  *bias = *variance = 0.0;
  for (int t = 0; t < 40; t++) {
    *bias += PetscSqr(r->mean[t] - y[t]) / 40.0;
    *variance += r->variance[t] / 40.0;
  }
}

static void one_layer_is_the_product_composition(void **state)
{
  Network        network;
  FwNestedResult r;
  double         bias, variance;

  (void)state;
  set_network(&network, 1, FW_ACTIVATION_ERF, 20.0, 0.001); /* R02 */
  solve(&network, FW_NESTED, 0, NULL, &r);
  assert_close(r.is_converged, 1, 0.0);
  assert_close(r.n_minimum, 1, 0.0);
  assert_close(r.order[0], 1.5563572629266234, 1e-9);
  assert_close(r.value[0], 0.6225453705939996, 1e-10);
  assert_close(r.log_evidence, -51.36176569822036, 1e-9);
  assert_close(r.train_bias / 1.1679868796148258e-05, 1.0, 1e-8);
  assert_close(r.train_variance / 0.0009889398234508742, 1.0, 1e-8);
  test_errors(&r, &bias, &variance);
  assert_close(bias / 0.011451403373089, 1.0, 1e-8);
  assert_close(variance / 0.03669203650321488, 1.0, 1e-8);
  TestCall(FwNestedDestroy(&r));
}

/* A <- its inverse, n x n, by Gauss and Jordan without pivots: A is positive definite. Returns log det A */
static double invert(int n, double a[])
{
  double log_det = 0.0;

  for (int k = 0; k < n; k++) {
    const double pivot = a[k + k * n];

    log_det += log(pivot);
    a[k + k * n] = 1.0;
    for (int j = 0; j < n; j++) a[k + j * n] /= pivot;
    for (int i = 0; i < n; i++) {
      const double factor = a[i + k * n];

      if (i == k) continue;
      a[i + k * n] = 0.0;
      for (int j = 0; j < n; j++) a[i + j * n] -= factor * a[k + j * n];
    }
  }
  return log_det;
}

/* With biases everywhere: a mixture of layers against dense algebra on the kernels at its minimum */
static void predictions_equal_dense_algebra_with_a_readout_bias(void **state)
{
  enum { P = 71, P_TEST = 9 };
  static double  a[P * P], x[P * P_TEST], solved[P];
  double         diagonal[P_TEST], fit = 0.0, trace = 0.0, square = 0.0, log_det, action;
  const double  *y;
  Network        network;
  FwNestedResult r;
  FwKernelLayers layers;
  FwMatrix       train, cross;

  (void)state;
  set_mixture(&network, 2, FW_ACTIVATION_RELU);
  TestCall(FwDatasetGetTargets(odd, FW_TRAIN, &y));
  TestCall(FwNestedCreate(grid, &network.model, odd, FW_NESTED, 0, NULL, &r));
  TestCall(FwKernelLayersCreate(grid, &network.model, odd, FW_NESTED, &layers));
  TestCall(FwKernelLayersTrain(layers, r.order, &train));
  TestCall(FwKernelLayersCross(layers, FW_TEST, r.order, &cross));
  TestCall(FwKernelLayersDiagonal(layers, FW_TEST, r.order, diagonal));
  TestCall(FwMatrixGather(train, a));
  TestCall(FwMatrixGather(cross, x));
  for (int j = 0; j < P; j++)
    for (int i = j; i < P; i++) a[j + i * P] = a[i + j * P] += network.bias[2] + (i == j ? 0.05 : 0.0);
  log_det = invert(P, a);
  for (int i = 0; i < P; i++) {
    solved[i] = 0.0;
    for (int j = 0; j < P; j++) solved[i] += a[i + j * P] * y[j];
    fit += solved[i] * y[i];
    square += PetscSqr(solved[i]);
    trace += a[i + i * P];
  }
  for (int t = 0; t < P_TEST; t++) {
    double mean = 0.0, variance = diagonal[t] + network.bias[2];

    for (int i = 0; i < P; i++) mean += (x[i + t * P] + network.bias[2]) * solved[i];
    for (int i = 0; i < P; i++)
      for (int j = 0; j < P; j++)
        variance -= (x[i + t * P] + network.bias[2]) * a[i + j * P] * (x[j + t * P] + network.bias[2]);
    assert_close(r.mean[t], mean, 1e-10);
    assert_close(r.variance[t], variance, 1e-10);
  }
  /* widths 40 and 80 */
  action = 0.5 * (r.order[0] - log(r.order[0])) + r.order[1] - log(r.order[1]) + (log_det + fit) / 80.0;
  assert_close(r.value[0], action, 1e-10);
  assert_close(r.train_bias, 0.05 * 0.05 * square / P, 1e-11);
  assert_close(r.train_variance, 0.05 * (P - 0.05 * trace) / P, 1e-11);
  assert_close(r.log_evidence, -40.0 * (action - 1.5) - 0.5 * P * log(2.0 * M_PI), 1e-8);
  TestCall(FwMatrixDestroy(&train));
  TestCall(FwMatrixDestroy(&cross));
  TestCall(FwKernelLayersDestroy(&layers));
  TestCall(FwNestedDestroy(&r));
}

/* One layer, and a readout bias: the matrix of Newton's steps is exact, and so are its steps */
static void one_layer_takes_few_steps(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 1, FW_ACTIVATION_ERF, 20.0, 0.01);
  network.bias[1] = 0.5;
  solve(&network, FW_NESTED, 0, NULL, &r);
  assert_close(r.is_converged, 1, 0.0);
  assert_close(r.n_evaluation <= 5, 1, 0.0);
  TestCall(FwNestedDestroy(&r));
}

static void relu_without_biases_is_the_product_composition(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 2, FW_ACTIVATION_RELU, 40.0, 0.05); /* R11 */
  for (int l = 0; l <= 2; l++) network.prior[l] = 0.5;
  for (int form = 0; form < 2; form++) {
    solve(&network, (FwNestedForm)form, 0, NULL, &r);
    assert_close(r.order[0], 0.8151921548809848, 1e-9);
    assert_close(r.order[1], 0.8151921548809848, 1e-9);
    assert_close(r.value[0], 2.6381955071694643, 1e-10);
    assert_close(r.train_bias, 0.0025625825607110807, 1e-9);
    assert_close(r.train_variance, 0.045078215311733366, 1e-9);
    assert_close(r.log_evidence, -67.90022213566965, 1e-9);
    TestCall(FwNestedDestroy(&r));
  }
}

static void linear_network_is_the_product_composition(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 3, FW_ACTIVATION_LINEAR, 50.0, 0.02); /* R13 */
  solve(&network, FW_NESTED, 0, NULL, &r);
  for (int l = 0; l < 3; l++) assert_close(r.order[l], 0.9417517915264436, 1e-9);
  assert_close(r.value[0], 3.6532826746076728, 1e-10);
  TestCall(FwNestedDestroy(&r));
}

/* R14: relu, three layers: prod Q = 1.666, the lowest, and 83.02 */
static void both_minima_are_found_from_their_starts(void **state)
{
  const double   start[] = {4.0, 4.0, 4.0, 1.2, 1.2, 1.2};
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 3, FW_ACTIVATION_RELU, 30.0, 0.1);
  network.prior[3] = 100.0;
  solve(&network, FW_NESTED, 2, start, &r);
  assert_close(r.n_minimum, 2, 0.0);
  assert_close(r.is_converged, 1, 0.0);
  assert_close(r.order[0] * r.order[1] * r.order[2], 1.6658719934929525, 1e-8);
  assert_close(r.order[3] * r.order[4] * r.order[5], 83.02094817268373, 1e-8);
  assert_close(r.value[0], 15.256639273556878, 1e-10);
  assert_close(r.value[0] < r.value[1], 1, 0.0);
  TestCall(FwNestedDestroy(&r));
}

/* R23: T = 0, positive definite kernel */
static void zero_temperature_with_a_regular_kernel(void **state)
{
  Network        network;
  FwNestedResult r;
  double         bias, variance;

  (void)state;
  set_network(&network, 1, FW_ACTIVATION_ERF, 20.0, 0.0);
  network.prior[1] = 2.0;
  solve(&network, FW_NESTED, 0, NULL, &r);
  assert_close(r.is_converged, 1, 0.0);
  assert_close(r.order[0], 2.49094887058213, 1e-8);
  assert_close(r.train_bias, 0.0, 0.0);
  test_errors(&r, &bias, &variance);
  assert_close(bias / 0.011289711846010074, 1.0, 1e-8);
  assert_close(variance / 0.028654838048387553, 1.0, 1e-8);
  TestCall(FwNestedDestroy(&r));
}

static void infinite_width_leaves_the_kernel_unchanged(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  for (int form = 0; form < 2; form++) {
    set_network(&network, 2, FW_ACTIVATION_ERF, 1e12, 0.05);
    solve(&network, (FwNestedForm)form, 0, NULL, &r);
    assert_close(r.is_converged, 1, 0.0);
    for (int l = 0; l < 2; l++) assert_close(r.order[l], 1.0, 1e-9);
    TestCall(FwNestedDestroy(&r));
  }
}

/* --- rows of the reference file ----------------------------------------------------------------------------- */

typedef struct {
  double order[2], bias, variance, mean[3];
} Row;

static void check_row(FwNestedForm form, const Row *row, FwNestedResult *r)
{
  Network network;
  double  bias, variance;

  set_network(&network, 2, FW_ACTIVATION_ERF, 40.0, 0.05);
  network.prior[0] = 1.2;
  network.prior[1] = network.prior[2] = 0.8;
  solve(&network, form, 0, NULL, r);
  assert_close(r->is_converged, 1, 0.0);
  for (int l = 0; l < 2; l++) assert_close(r->order[l], row->order[l], 1e-8);
  for (int t = 0; t < 3; t++) assert_close(r->mean[t] / row->mean[t], 1.0, 1e-8);
  test_errors(r, &bias, &variance);
  assert_close(bias / row->bias, 1.0, 1e-8);
  assert_close(variance / row->variance, 1.0, 1e-8);
}

static void nested_row_of_the_reference_file(void **state)
{
  const Row row = {
    {1.0480061761451716,  1.2085416846578445 },
    0.020410003543365186,
    0.07238848011172315,
    { -0.3756288060164018, 0.9517541814937933, 0.29313116750689433}
  };
  FwNestedResult r;

  (void)state;
  check_row(FW_NESTED, &row, &r);
  assert_close(r.value[0], 1.9181875728490092, 1e-10);
  TestCall(FwNestedDestroy(&r));
}

static void linearised_row_of_the_reference_file(void **state)
{
  const Row row = {
    {1.053663306052812,   1.2063436740786342 },
    0.02038653634813104,
    0.07252973403786067,
    { -0.37549340767856954, 0.9516964301880673, 0.29308954749770366}
  };
  FwNestedResult r;

  (void)state;
  check_row(FW_LINEARISED, &row, &r);
  TestCall(FwNestedDestroy(&r));
}

/* --- what must be refused or reported ----------------------------------------------------------------------- */

static void solver_that_may_not_iterate_says_so(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 2, FW_ACTIVATION_ERF, 40.0, 0.05);
  TestCall(PetscOptionsSetValue(NULL, "-snes_max_it", "0"));
  solve(&network, FW_NESTED, 0, NULL, &r);
  TestCall(PetscOptionsClearValue(NULL, "-snes_max_it"));
  assert_close(r.is_converged, 0, 0.0);
  assert_close(r.reason < 0, 1, 0.0);
  TestCall(FwNestedDestroy(&r));
}

/* P = 60 examples of 30 inputs under a linear network: K has rank 30 */
static void singular_kernel_at_zero_temperature_is_refused(void **state)
{
  Network        network;
  FwNestedResult r;

  (void)state;
  set_network(&network, 2, FW_ACTIVATION_LINEAR, 40.0, 0.0);
  assert_close(FwNestedCreate(grid, &network.model, reference, FW_NESTED, 0, NULL, &r), FW_ERR_NUMERICAL, 0.0);
  assert_close(strstr(FwErrorMessage(), "temperature") != NULL, 1, 0.0);
  FwErrorClear();
}

static void linearised_form_needs_two_layers(void **state)
{
  Network        network;
  FwKernelLayers layers;

  (void)state;
  set_network(&network, 3, FW_ACTIVATION_ERF, 40.0, 0.05);
  assert_close(FwKernelLayersCreate(grid, &network.model, odd, FW_LINEARISED, &layers), FW_ERR_INPUT, 0.0);
  FwErrorClear();
}

static void action_is_infinite_where_variances_overflow(void **state)
{
  const double   far[] = {800.0, 0.0};
  Network        network;
  FwNestedAction action;
  double         value, gradient[2];

  (void)state;
  set_network(&network, 2, FW_ACTIVATION_ERF, 40.0, 0.05);
  TestCall(FwNestedActionCreate(grid, &network.model, odd, FW_NESTED, &action));
  TestCall(FwNestedActionEvaluate(action, far, &value, gradient));
  assert_close(isinf(value) && isnan(gradient[0]), 1, 0.0);
  assert_close(strlen(FwErrorMessage()), 0, 0.0);
  TestCall(FwNestedActionDestroy(&action));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_forms_are_the_plain_kernel_at_unit_order),
    cmocka_unit_test(linearised_kernel_is_tangent_to_the_nested_one),
    cmocka_unit_test(gradient_is_derivative_of_action_at_every_depth),
    cmocka_unit_test(gradient_of_linearised_form_is_derivative_of_its_action),
    cmocka_unit_test(gradient_holds_across_several_tiles),
    cmocka_unit_test(one_layer_is_the_product_composition),
    cmocka_unit_test(predictions_equal_dense_algebra_with_a_readout_bias),
    cmocka_unit_test(one_layer_takes_few_steps),
    cmocka_unit_test(relu_without_biases_is_the_product_composition),
    cmocka_unit_test(linear_network_is_the_product_composition),
    cmocka_unit_test(both_minima_are_found_from_their_starts),
    cmocka_unit_test(zero_temperature_with_a_regular_kernel),
    cmocka_unit_test(infinite_width_leaves_the_kernel_unchanged),
    cmocka_unit_test(nested_row_of_the_reference_file),
    cmocka_unit_test(linearised_row_of_the_reference_file),
    cmocka_unit_test(solver_that_may_not_iterate_says_so),
    cmocka_unit_test(singular_kernel_at_zero_temperature_is_refused),
    cmocka_unit_test(linearised_form_needs_two_layers),
    cmocka_unit_test(action_is_infinite_where_variances_overflow),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  folder_create();
  write_formula(331);
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  reference = open_formula(60, 40);
  odd       = open_formula(71, 9);
  large     = open_formula(331, 0);
  n_failed  = cmocka_run_group_tests_name("nested", tests, NULL, NULL);
  TestCall(FwDatasetDestroy(&reference));
  TestCall(FwDatasetDestroy(&odd));
  TestCall(FwDatasetDestroy(&large));
  TestCall(FwGridDestroy(&grid));
  folder_destroy();
  return FwFinish(0) || n_failed;
}
