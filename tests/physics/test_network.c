/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A finite network against the theory of it: kernels of infinite width by sampling, the readout's integral by quadrature,
 * and the law of targets that a network draws.
 * ranks: 1 2
 */

#include <finwidth/activation.h>
#include <finwidth/kernel.h>
#include <finwidth/potential.h>
#include "../support/dataset_fixture.h"

enum { P = 6, INPUTS = 12, SIGMAS = 5 };

static double       width[2], prior[3] = {1.1, 0.9, 1.4}, bias[3];
static PetscInt     activation[2];
static FwDataset    data;
static const double temperature = 0.2;

static FwModel model_of(FwNetworkType type, PetscInt depth)
{
  return (FwModel){
    .type        = type,
    .depth       = depth,
    .width       = width,
    .activation  = activation,
    .prior       = prior,
    .bias        = bias,
    .mask        = {1, 4},
    .stride      = {1, 3}, /* overlapping; 3 patches of 12 inputs, two pixels left out */
    .temperature = temperature
  };
}

typedef struct {
  FwExamples  examples;
  FwPotential potential;
  PetscInt    n;
  double     *theta;
} Network;

static Network network_create(const FwModel *model, FwPotentialKind kind)
{
  Network network;

  TestCall(FwExamplesCreate(data, PETSC_COMM_SELF, &network.examples));
  TestCall(FwPotentialCreate(PETSC_COMM_SELF, model, &network.examples, kind, &network.potential));
  TestCall(FwPotentialGetSize(network.potential, &network.n));
  TestCall(PetscMalloc1(network.n, &network.theta));
  return network;
}

static void network_destroy(Network *network)
{
  TestCall(PetscFree(network->theta));
  TestCall(FwPotentialDestroy(&network->potential));
  TestCall(FwExamplesDestroy(&network->examples));
}

static void draw_prior(Network *network, int draw)
{
  FwStreamNormal(FwStreamCreate(11, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)draw, 0, 0), 0, (size_t)network->n,
                 network->theta);
}

/* --- infinite width ------------------------------------------------------------------------------------------- */

/* Largest deviation of the mean hidden Gram matrix of networks drawn from the prior, in standard errors */
static double worst_deviation(const FwModel *model, int n_draw, double expected[P][P])
{
  Network network = network_create(model, FW_POTENTIAL_COLLAPSED);
  double  gram[P * P], sum[P * P] = {0}, square[P * P] = {0}, worst = 0.0;
  double *value[FW_MEASURE_COUNT] = {NULL};

  value[FW_MEASURE_HIDDEN_GRAM] = gram;
  for (int draw = 0; draw < n_draw; draw++) {
    draw_prior(&network, draw);
    TestCall(FwPotentialMeasure(network.potential, network.theta, value));
    for (int i = 0; i < P * P; i++) {
      sum[i] += gram[i] / n_draw;
      square[i] += gram[i] * gram[i] / n_draw;
    }
  }
  for (int i = 0; i < P * P; i++) {
    const double error =
      sqrt(fmax(square[i] - sum[i] * sum[i], 1e-24) / (n_draw - 1)); /* sign: a diagonal without spread */

    worst = fmax(worst, fabs(sum[i] - expected[i / P][i % P]) / error);
  }
  network_destroy(&network);
  return worst;
}

/* lambda_L K_L between the training examples */
static void infinite_kernel(const FwModel *model, double expected[P][P])
{
  FwGrid   grid;
  FwKernel kernel;
  FwMatrix train;
  double   copy[P * P];

  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  TestCall(FwKernelCreate(grid, model, data, &kernel));
  TestCall(FwKernelTrain(kernel, &train));
  TestCall(FwMatrixGather(train, copy));
  for (int j = 0; j < P; j++)
    for (int i = j; i < P; i++) expected[i][j] = expected[j][i] = prior[model->depth] * copy[j * P + i];
  TestCall(FwMatrixDestroy(&train));
  TestCall(FwKernelDestroy(&kernel));
  TestCall(FwGridDestroy(&grid));
}

static void random_networks_have_the_infinite_kernel_of_every_activation(void **state)
{
  const FwModel model = model_of(FW_NETWORK_FC, 1);
  double        expected[P][P];

  (void)state;
  width[0] = 300.0;
  bias[0]  = 0.3;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++) {
    activation[0] = type;
    infinite_kernel(&model, expected);
    assert_close(worst_deviation(&model, 60, expected) < SIGMAS, 1, 0.0);
  }
}

static void wide_deep_networks_have_the_infinite_kernel(void **state)
{
  const FwModel model = model_of(FW_NETWORK_FC, 2);
  double        expected[P][P];

  (void)state;
  width[0]      = 2000.0;
  width[1]      = 200.0;
  bias[0]       = 0.3;
  bias[1]       = 0.5;
  activation[0] = FW_ACTIVATION_RELU;
  activation[1] = FW_ACTIVATION_ERF;
  infinite_kernel(&model, expected);
  assert_close(worst_deviation(&model, 40, expected) < SIGMAS, 1, 0.0);
  prior[1] *= 1.5; /* and would not have that of another prior */
  infinite_kernel(&model, expected);
  prior[1] /= 1.5;
  assert_close(worst_deviation(&model, 40, expected) > SIGMAS, 1, 0.0);
  bias[0] = bias[1] = 0.0;
}

/* k of two patches of two examples: erf, with C_ij = x_i.x_j / (lambda_0 M) */
static double patch_kernel(const double x[], const double z[])
{
  double a = 0.0, b = 0.0, c = 0.0;

  for (int i = 0; i < 4; i++) {
    a += x[i] * x[i] / (prior[0] * 4.0);
    b += x[i] * z[i] / (prior[0] * 4.0);
    c += z[i] * z[i] / (prior[0] * 4.0);
  }
  return M_2_PI * asin(2.0 * b / sqrt((1.0 + 2.0 * a) * (1.0 + 2.0 * c)));
}

static void patches_average_to_their_local_kernels(void **state)
{
  FwExamples e;

  (void)state;
  width[0]      = 100.0;
  activation[0] = FW_ACTIVATION_ERF;
  TestCall(FwExamplesCreate(data, PETSC_COMM_SELF, &e));
  for (int type = FW_NETWORK_CNN; type <= FW_NETWORK_POOL; type++) {
    const FwModel model          = model_of((FwNetworkType)type, 1);
    double        expected[P][P] = {{0}};

    for (int mu = 0; mu < P; mu++)
      for (int nu = 0; nu < P; nu++)
        for (int i = 0; i < 3; i++)
          for (int j = 0; j < 3; j++) {
            const double k = patch_kernel(e.train.x + mu * INPUTS + 3 * i, e.train.x + nu * INPUTS + 3 * j);

            expected[mu][nu] += type == FW_NETWORK_POOL ? k / 9.0 : i == j ? k / 3.0 : 0.0;
          }
    assert_close(worst_deviation(&model, 60, expected) < SIGMAS, 1, 0.0);
  }
  TestCall(FwExamplesDestroy(&e));
}

/* --- the readout's integral ----------------------------------------------------------------------------------- */

/* One neuron: int dv exp(-U_full) by the trapezoid rule, and the mean and second moment of f at the test example */
static void integrate_readout(Network *full, double *log_integral, double *mean, double *variance)
{
  const double step = 0.01;
  double       f, sum = 0.0, first = 0.0, second = 0.0;
  double      *value[FW_MEASURE_COUNT] = {NULL};

  value[FW_MEASURE_TEST_MEAN] = &f;
  for (double v = -12.0; v <= 12.0; v += step) {
    double energy, weight;

    full->theta[P] = v; /* after the P rotated inputs that training examples have */
    TestCall(FwPotentialEvaluate(full->potential, full->theta, &energy, NULL));
    TestCall(FwPotentialMeasure(full->potential, full->theta, value));
    weight = exp(-energy) * step;
    sum += weight;
    first += weight * f;
    second += weight * f * f;
  }
  *log_integral = log(sum);
  *mean         = first / sum;
  *variance     = second / sum - *mean * *mean;
}

static void integrating_the_readout_gives_the_collapsed_potential(void **state)
{
  const FwModel model = model_of(FW_NETWORK_FC, 1);
  Network       full, collapsed;
  double        energy, mean, variance, log_integral, expected_mean, expected_variance;
  double       *value[FW_MEASURE_COUNT] = {NULL};

  (void)state;
  width[0]                        = 1.0;
  activation[0]                   = FW_ACTIVATION_ERF;
  value[FW_MEASURE_TEST_MEAN]     = &mean;
  value[FW_MEASURE_TEST_VARIANCE] = &variance;
  full                            = network_create(&model, FW_POTENTIAL_FULL);
  collapsed                       = network_create(&model, FW_POTENTIAL_COLLAPSED);
  for (int draw = 0; draw < 5; draw++) {
    draw_prior(&full, draw);
    TestCall(PetscArraycpy(collapsed.theta, full.theta, P));
    TestCall(PetscArraycpy(collapsed.theta + P, full.theta + P + 1, INPUTS - P));
    integrate_readout(&full, &log_integral, &expected_mean, &expected_variance);
    TestCall(FwPotentialEvaluate(collapsed.potential, collapsed.theta, &energy, NULL));
    TestCall(FwPotentialMeasure(collapsed.potential, collapsed.theta, value));
    /* det A counts T once per example, and the integral once per 2 pi */
    assert_close(energy, 0.5 * log(2.0 * M_PI) + 0.5 * P * log(temperature) - log_integral, 1e-10);
    assert_close(mean, expected_mean, 1e-10);
    assert_close(variance, expected_variance, 1e-10);
  }
  network_destroy(&full);
  network_destroy(&collapsed);
}

/* --- targets -------------------------------------------------------------------------------------------------- */

static void drawn_targets_have_the_covariance_of_the_process(void **state)
{
  const FwModel model = model_of(FW_NETWORK_FC, 1);
  enum { DRAWS = 5000 };
  Network network;
  double  gram[P * P], sum[P * P] = {0}, y[P];
  double *value[FW_MEASURE_COUNT] = {NULL};

  (void)state;
  width[0]                      = 5.0;
  bias[1]                       = 0.4;
  value[FW_MEASURE_HIDDEN_GRAM] = gram;
  network                       = network_create(&model, FW_POTENTIAL_COLLAPSED);
  draw_prior(&network, 0);
  TestCall(FwPotentialMeasure(network.potential, network.theta, value));
  for (int i = 0; i < P * P; i++) gram[i] = gram[i] / prior[1] + bias[1] + (i / P == i % P ? temperature : 0.0);
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    TestCall(FwPotentialDrawTargets(network.potential, network.theta,
                                    FwStreamCreate(12, FW_RANDOM_TEACHER_NOISE, draw, 0, 0), y));
    for (int i = 0; i < P * P; i++) sum[i] += y[i / P] * y[i % P] / DRAWS;
  }
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) {
      const double error = sqrt((gram[i * P + i] * gram[j * P + j] + PetscSqr(gram[i * P + j])) / DRAWS);

      assert_close(fabs(sum[i * P + j] - gram[i * P + j]) < SIGMAS * error, 1, 0.0);
    }
  bias[1] = 0.0;
  network_destroy(&network);
}

static int set_up(void **state)
{
  (void)state;
  data = open_data("-data_source teacher -teacher_inputs 12 -data_train 6 -data_test 1");
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  TestCall(FwDatasetDestroy(&data));
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_networks_have_the_infinite_kernel_of_every_activation),
    cmocka_unit_test(wide_deep_networks_have_the_infinite_kernel),
    cmocka_unit_test(patches_average_to_their_local_kernels),
    cmocka_unit_test(integrating_the_readout_gives_the_collapsed_potential),
    cmocka_unit_test(drawn_targets_have_the_covariance_of_the_process),
  };
  int failed;

  TestCall(FwStart(argc, argv, NULL));
  failed = cmocka_run_group_tests(tests, set_up, tear_down);
  return FwFinish(PETSC_SUCCESS) || failed;
}
