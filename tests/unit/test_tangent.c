/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Neural tangent kernels: limits solved by hand, a plain recursion, and gradients of one wide random network.
 */

#include <finwidth/activation.h>
#include <finwidth/kernel_tangent.h>
#include <finwidth/random.h>
#include "../support/csv_dataset.h"

enum { P = 71, P_TEST = 10, ALL = P + P_TEST, INPUTS = 23, DEPTH = 3, TWIN = 66, WIDTH = 4000 };

static FwGrid    grid;
static FwDataset data;
static double    x[ALL * INPUTS]; /* example TWIN is example 0 again */

static double width[DEPTH] = {40, 50, 60}, prior[DEPTH + 1] = {1.2, 0.7, 1.5, 2.0},
              bias[DEPTH + 1] = {0.1, 0.2, 0.3, 0.4}, none[DEPTH + 1] = {0};
static PetscInt mixed[DEPTH]  = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU, FW_ACTIVATION_TANH};
static PetscInt linear[DEPTH] = {FW_ACTIVATION_LINEAR, FW_ACTIVATION_LINEAR, FW_ACTIVATION_LINEAR};
static PetscInt relu[DEPTH]   = {FW_ACTIVATION_RELU, FW_ACTIVATION_RELU, FW_ACTIVATION_RELU};

static FwModel make_model(PetscInt depth, PetscInt activation[], double biases[])
{
  return (FwModel){.type        = FW_NETWORK_FC,
                   .depth       = depth,
                   .width       = width,
                   .activation  = activation,
                   .prior       = prior,
                   .bias        = biases,
                   .temperature = 0.1};
}

/* The kernels of a model, on every rank */
static struct {
  double train[P * P], cross[P * P_TEST], diagonal[P_TEST];
} tangent;

static void compute_tangent(const FwModel *model)
{
  FwKernel kernel;
  FwMatrix train, cross;

  TestCall(FwKernelCreate(grid, model, data, &kernel));
  TestCall(FwKernelTangentTrain(kernel, &train));
  TestCall(FwKernelTangentCross(kernel, FW_TEST, &cross));
  TestCall(FwKernelTangentDiagonal(kernel, FW_TEST, tangent.diagonal));
  TestCall(FwMatrixGather(train, tangent.train));
  TestCall(FwMatrixGather(cross, tangent.cross));
  TestCall(FwMatrixDestroy(&train));
  TestCall(FwMatrixDestroy(&cross));
  TestCall(FwKernelDestroy(&kernel));
}

static double covariance(int i, int j, double s2)
{
  double sum = 0.0;

  for (int k = 0; k < INPUTS; k++) sum += x[i * INPUTS + k] * x[j * INPUTS + k];
  return sum / (prior[0] * INPUTS) + s2;
}

/* Entries of the three blocks against a function of two examples */
static void check_blocks(double (*expected)(const FwModel *model, int i, int j), const FwModel *model, double tol)
{
  compute_tangent(model);
  for (int j = 0; j < P; j += 7)
    for (int i = j; i < P; i += 9) assert_close(tangent.train[i + j * P], expected(model, i, j), tol);
  for (int t = 0; t < P_TEST; t++) {
    for (int i = t; i < P; i += 17) assert_close(tangent.cross[i + t * P], expected(model, i, P + t), tol);
    assert_close(tangent.diagonal[t], expected(model, P + t, P + t), tol);
  }
}

/* Every layer gives the same kernel, C_0 / (lambda_1 .. lambda_L) */
static double linear_by_hand(const FwModel *model, int i, int j)
{
  double kernel = covariance(i, j, 0.0);

  for (int l = 0; l < model->depth; l++) kernel /= prior[l + 1];
  return (double)(model->depth + 1) * kernel;
}

static void linear_network_is_kernel_times_number_of_layers(void **state)
{
  (void)state;
  for (PetscInt depth = 1; depth <= DEPTH; depth++) {
    const FwModel model = make_model(depth, linear, none);

    check_blocks(linear_by_hand, &model, 1e-13);
  }
}

/* k = a/2 and k_b = 1/2: again (L+1) equal terms */
static void relu_at_identical_inputs_is_solved_by_hand(void **state)
{
  const FwModel model    = make_model(DEPTH, relu, none);
  const double  expected = (DEPTH + 1) * covariance(0, 0, 0.0) / (8.0 * prior[1] * prior[2] * prior[3]);

  (void)state;
  compute_tangent(&model);
  assert_close(tangent.train[0], expected, 1e-14);
  assert_close(tangent.train[TWIN + TWIN * P], expected, 1e-14);
  assert_close(tangent.train[TWIN], expected, 1e-7); /* acos(1 - 1e-16) = 1e-8 where products of inputs are rounded */
}

static double map_once(FwActivation phi, FwMap map, double a, double b, double c)
{
  FwPoints row, column;
  double   k;

  TestCall(FwPointsCreate(phi, 1, &a, &row));
  TestCall(FwPointsCreate(phi, 1, &c, &column));
  if (map != FW_MAP_VALUE) TestCall(FwPointsAddSlopes(row));
  if (map != FW_MAP_VALUE) TestCall(FwPointsAddSlopes(column));
  TestCall(FwActivationMap(phi, map, row, 0, 1, column, 0, &b, &k));
  TestCall(FwPointsDestroy(&row));
  TestCall(FwPointsDestroy(&column));
  return k;
}

static double plain_recursion(const FwModel *model, int i, int j)
{
  double a = covariance(i, i, bias[0]), b = covariance(i, j, bias[0]), c = covariance(j, j, bias[0]), theta = b;

  for (int l = 0; l < model->depth; l++) {
    const double s2 = l + 1 < model->depth ? bias[l + 1] : 0.0;
    FwActivation phi;
    double       slope;

    TestCall(FwActivationGet((FwActivationType)model->activation[l], &phi));
    slope = map_once(phi, FW_MAP_COVARIANCE, a, b, c) / prior[l + 1];
    b     = map_once(phi, FW_MAP_VALUE, a, b, c) / prior[l + 1] + s2;
    TestCall(FwActivationDiagonal(phi, 1, &a, &a));
    TestCall(FwActivationDiagonal(phi, 1, &c, &c));
    a     = a / prior[l + 1] + s2;
    c     = c / prior[l + 1] + s2;
    theta = b + theta * slope;
  }
  return theta;
}

static void assembly_equals_plain_recursion(void **state)
{
  const FwModel model = make_model(DEPTH, mixed, bias);

  (void)state;
  check_blocks(plain_recursion, &model, 1e-12);
}

/* Hidden unit n of a random network: its pre-activation at example i from its weights and bias, standard normal */
static double pre_activation(const double theta[], int i)
{
  double sum = 0.0;

  for (int k = 0; k < INPUTS; k++) sum += theta[k] * x[i * INPUTS + k];
  return sum / sqrt(prior[0] * INPUTS) + sqrt(bias[0]) * theta[INPUTS];
}

/* What a unit adds to N df(x_i)/dp df(x_j)/dp, all its parameters together: readout, and weights and bias below */
static double unit_gradient(FwActivation phi, int unit, int i, int j)
{
  const FwStream stream = FwStreamCreate(3, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)unit, 0, 0);
  double         theta[INPUTS + 2], h[2], value[2], slope[2];

  FwStreamNormal(stream, 0, INPUTS + 2, theta);
  h[0] = pre_activation(theta, i);
  h[1] = pre_activation(theta, j);
  TestCall(FwActivationEvaluate(phi, 2, h, value, slope, NULL));
  return (value[0] * value[1] + PetscSqr(theta[INPUTS + 1]) * slope[0] * slope[1] * covariance(i, j, bias[0])) /
         prior[1];
}

static void wide_random_network_has_these_gradients(void **state)
{
  const FwModel model = make_model(1, mixed, bias);
  FwActivation  phi;

  (void)state;
  compute_tangent(&model);
  TestCall(FwActivationGet((FwActivationType)mixed[0], &phi));
  for (int i = 1; i < P; i += 23) {
    double sum = 0.0, sum2 = 0.0, mean, error;

    for (int unit = 0; unit < WIDTH; unit++) {
      const double g = unit_gradient(phi, unit, i, 1);

      sum += g;
      sum2 += g * g;
    }
    mean  = sum / WIDTH;
    error = sqrt((sum2 / WIDTH - mean * mean) / WIDTH);
    assert_close((mean - tangent.train[i + P]) / error, 0.0, 5.0);
    assert_close(error / fabs(mean), 0.0, 0.2); /* the comparison can tell something */
  }
}

static void sign_is_refused(void **state)
{
  PetscInt      sign[1] = {FW_ACTIVATION_SIGN};
  const FwModel model   = make_model(1, sign, none);
  FwKernel      kernel;
  FwMatrix      matrix;

  (void)state;
  TestCall(FwKernelCreate(grid, &model, data, &kernel));
  assert_close(FwKernelTangentTrain(kernel, &matrix), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  assert_close(FwKernelTangentCross(kernel, FW_TEST, &matrix), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwKernelDestroy(&kernel));
}

static void make_data(void)
{
  double y[ALL];

  for (int i = 0; i < ALL; i++) {
    FwStreamNormal(FwStreamCreate(1, FW_RANDOM_TEACHER_INPUT, (uint64_t)i, 0, 0), 0, INPUTS, x + i * INPUTS);
    y[i] = sin(i);
  }
  TestCall(PetscArraycpy(x + TWIN * INPUTS, x, INPUTS));
  data = dataset_from_arrays(P, P_TEST, INPUTS, x, y);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(linear_network_is_kernel_times_number_of_layers),
    cmocka_unit_test(relu_at_identical_inputs_is_solved_by_hand),
    cmocka_unit_test(assembly_equals_plain_recursion),
    cmocka_unit_test(wide_random_network_has_these_gradients),
    cmocka_unit_test(sign_is_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  folder_create();
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  make_data();
  n_failed = cmocka_run_group_tests_name("tangent", tests, NULL, NULL);
  TestCall(FwDatasetDestroy(&data));
  TestCall(FwGridDestroy(&grid));
  folder_destroy();
  return FwFinish(0) || n_failed;
}
