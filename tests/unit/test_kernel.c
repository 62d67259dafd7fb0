/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Assembly of a kernel over several layers against a plain recursion, and its behaviour at awkward inputs.
 */

#include <finwidth/activation.h>
#include <finwidth/kernel.h>
#include "../support/collective_assert.h"

enum { P = 71, P_TEST = 10, INPUTS = 23, DEPTH = 3 };

static FwGrid    grid;
static FwDataset data;

static double width[DEPTH] = {40, 50, 60}, prior[DEPTH + 1] = {1.2, 0.7, 1.5, 2.0},
              bias[DEPTH + 1]          = {0.1, 0.2, 0.0, 0.4};
static PetscInt      activation[DEPTH] = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU, FW_ACTIVATION_TANH};
static const FwModel model             = {.type        = FW_NETWORK_FC,
                                          .depth       = DEPTH,
                                          .width       = width,
                                          .activation  = activation,
                                          .prior       = prior,
                                          .bias        = bias,
                                          .temperature = 0.1};

/* All examples on every rank, training first, [P + P_TEST][INPUTS] */
static double *gather_inputs(void)
{
  double *x;

  TestCall(PetscCalloc1((P + P_TEST) * INPUTS, &x));
  for (int part = 0; part < 2; part++) {
    FwSlab slab;

    TestCall(FwDatasetGetSlab(data, (FwPart)part, &slab));
    TestCall(PetscArraycpy(x + (part * P + slab.first) * INPUTS, slab.x, slab.n_local * INPUTS));
  }
  MPI_Allreduce(MPI_IN_PLACE, x, (P + P_TEST) * INPUTS, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  return x;
}

static double map_once(FwActivation phi, double a, double b, double c)
{
  FwPoints row, column;
  double   k;

  TestCall(FwPointsCreate(phi, 1, &a, &row));
  TestCall(FwPointsCreate(phi, 1, &c, &column));
  TestCall(FwActivationMap(phi, FW_MAP_VALUE, row, 0, 1, column, 0, &b, &k));
  TestCall(FwPointsDestroy(&row));
  TestCall(FwPointsDestroy(&column));
  return k;
}

static double plain_kernel(const double x[], const double z[])
{
  double a = 0.0, b = 0.0, c = 0.0;

  for (int i = 0; i < INPUTS; i++) {
    a += x[i] * x[i];
    b += x[i] * z[i];
    c += z[i] * z[i];
  }
  a = a / (prior[0] * INPUTS) + bias[0];
  b = b / (prior[0] * INPUTS) + bias[0];
  c = c / (prior[0] * INPUTS) + bias[0];
  for (int l = 0; l < DEPTH; l++) {
    const double s2 = l + 1 < DEPTH ? bias[l + 1] : 0.0;
    FwActivation phi;
    double       ka, kc;

    TestCall(FwActivationGet((FwActivationType)activation[l], &phi));
    TestCall(FwActivationDiagonal(phi, 1, &a, &ka));
    TestCall(FwActivationDiagonal(phi, 1, &c, &kc));
    b = map_once(phi, a, b, c) / prior[l + 1] + s2;
    a = ka / prior[l + 1] + s2;
    c = kc / prior[l + 1] + s2;
  }
  return b;
}

static void assembly_equals_plain_recursion(void **state)
{
  FwKernel      kernel;
  FwMatrix      train, cross;
  const double *diagonal;
  double       *x = gather_inputs(), *k, *k_cross;

  (void)state;
  TestCall(FwKernelCreate(grid, &model, data, &kernel));
  TestCall(FwKernelTrain(kernel, &train));
  TestCall(FwKernelCross(kernel, FW_TEST, &cross));
  TestCall(FwKernelDiagonal(kernel, FW_TEST, &diagonal));
  TestCall(PetscMalloc2(P * P, &k, P * P_TEST, &k_cross));
  TestCall(FwMatrixGather(train, k));
  TestCall(FwMatrixGather(cross, k_cross));
  for (int j = 0; j < P; j += 3)
    for (int i = j; i < P; i += 4) assert_close(k[i + j * P], plain_kernel(x + i * INPUTS, x + j * INPUTS), 1e-12);
  for (int t = 0; t < P_TEST; t++) {
    for (int i = 0; i < P; i += 5)
      assert_close(k_cross[i + t * P], plain_kernel(x + i * INPUTS, x + (P + t) * INPUTS), 1e-12);
    assert_close(diagonal[t], plain_kernel(x + (P + t) * INPUTS, x + (P + t) * INPUTS), 1e-12);
  }
  TestCall(PetscFree2(k, k_cross));
  TestCall(PetscFree(x));
  TestCall(FwMatrixDestroy(&train));
  TestCall(FwMatrixDestroy(&cross));
  TestCall(FwKernelDestroy(&kernel));
}

static void only_fully_connected_networks_have_a_kernel_yet(void **state)
{
  FwModel  other = model;
  FwKernel kernel;

  (void)state;
  other.type = FW_NETWORK_CNN;
  assert_close(FwKernelCreate(grid, &other, data, &kernel), FW_ERR_INPUT, 0.0);
}

/* The prior lets the first layer's variance pass what activations take, at the example of largest norm alone */
static void a_variance_that_one_rank_alone_meets_is_the_error_of_all(void **state)
{
  const double limit = 1e150;
  double      *x = gather_inputs(), largest = 0.0, second = 0.0, weak[DEPTH + 1] = {1.0, 1.0, 1.0, 1.0};
  FwModel      other = model;
  FwKernel     kernel;

  (void)state;
  for (int i = 0; i < P; i++) {
    double norm = 0.0;

    for (int j = 0; j < INPUTS; j++) norm += x[i * INPUTS + j] * x[i * INPUTS + j];
    second  = norm > largest ? largest : PetscMax(second, norm);
    largest = PetscMax(largest, norm);
  }
  weak[0]     = 0.5 * (largest + second) / (INPUTS * limit);
  other.prior = weak;
  assert_close(FwKernelCreate(grid, &other, data, &kernel), FW_ERR_NUMERICAL, 0.0);
  FwErrorClear();
  weak[0] = 1.1 * largest / (INPUTS * limit);
  TestCall(FwKernelCreate(grid, &other, data, &kernel));
  TestCall(FwKernelDestroy(&kernel));
  TestCall(PetscFree(x));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(assembly_equals_plain_recursion),
    cmocka_unit_test(only_fully_connected_networks_have_a_kernel_yet),
    cmocka_unit_test(a_variance_that_one_rank_alone_meets_is_the_error_of_all),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(PetscOptionsInsertString(NULL, "-data_source teacher -teacher_inputs 23 -data_train 71 -data_test 10"));
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  TestCall(FwDatasetCreate(PETSC_COMM_WORLD, &data));
  TestCall(FwDatasetSetFromOptions(data));
  TestCall(FwDatasetSetUp(data));
  n_failed = cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
  TestCall(FwDatasetDestroy(&data));
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
