/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sampled test errors of networks of patches, against those that another program found by Hamiltonian Monte Carlo in all
 * weights: 30 training and 400 test examples of teachers whose patches share a sign, differ in it, or of which one counts.
 *
 * Without FINWIDTH_TEST_DATA/teachers nothing is tested. By default every third row; all of them, with four times the
 * samples, where FINWIDTH_LONG is set.
 * ranks: 2
 */

#include <finwidth/activation.h>
#include <finwidth/sampled.h>
#include "../support/dataset_fixture.h"

enum { CHAINS = 4, SIGMAS = 4 };

typedef struct {
  const char   *teacher;
  FwNetworkType type;
  PetscInt      activation;
  double        width;
  PetscInt      stride;
  double        test_error, error; /* theirs, one chain: value and standard error over 20 blocks */
} Row;

static const Row rows[] = {
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    10, 4, .6377,  .0038},
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    20, 4, .7285,  .0038},
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    40, 4, .7744,  .0043},
  {"shared",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    10, 4, .9258,  .0045},
  {"shared",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    20, 4, .8958,  .0032},
  {"shared",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    40, 4, .8744,  .0042},
  {"signed",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    20, 4, .8015,  .0052},
  {"signed",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    20, 4, .9300,  .0035},
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_LINEAR, 20, 4, .9173,  .0068},
  {"shared",   FW_NETWORK_POOL, FW_ACTIVATION_LINEAR, 20, 4, .2148,  .0015},
  {"shared",   FW_NETWORK_POOL, FW_ACTIVATION_ERF,    20, 4, .2499,  .0013},
  {"onepatch", FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    20, 4, 1.0386, .0057},
  {"onepatch", FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    20, 4, 1.0261, .0048},
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    30, 2, .8461,  .0041},
  {"shared",   FW_NETWORK_CNN,  FW_ACTIVATION_ERF,    9,  2, .8089,  .0038},
  {"shared",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    30, 2, .8807,  .0056},
  {"shared",   FW_NETWORK_LCN,  FW_ACTIVATION_ERF,    9,  2, .9116,  .0057},
};
enum { N_ROW = sizeof rows / sizeof *rows };

/* On rank 0 the difference in combined standard errors; 0 elsewhere */
static double deviation(const Row *row, FwSampled sampled)
{
  static const char *names[] = {"fc", "cnn", "lcn", "pool"};
  const FwMeasured  *error;
  FwSampledState     state;

  if (!sampled) return 0.0;
  error = FwSampledFind(sampled, "test_error");
  TestCall(FwSampledGetState(sampled, &state));
  print_message(
    "%-9s %-4s %-6s %2g, stride %d: %.4f +- %.4f, theirs %.4f +- %.4f; R-hat %.3f, %.0f effective samples\n",
    row->teacher, names[row->type], FwActivationNames[row->activation], row->width, (int)row->stride, error->value[0],
    error->error_bar[0], row->test_error, row->error, state.rhat, state.ess);
  return (error->value[0] - row->test_error) / hypot(error->error_bar[0], row->error);
}

static void check_row(const Row *row, const char folder_of_data[])
{
  double        width = row->width, prior[] = {1.0, 1.0}, bias[] = {0.0, 0.0}, z;
  PetscInt      activation = row->activation;
  const FwModel model      = {
         .type        = row->type,
         .depth       = 1,
         .width       = &width,
         .activation  = &activation,
         .prior       = prior,
         .bias        = bias,
         .mask        = {4,           4          },
         .stride      = {row->stride, row->stride},
         .temperature = 0.1
  };
  const FwSampledPlan plan = {
    .chains.sampler  = {.method   = FW_SAMPLER_HMC,
                        .seed     = 1,
                        .n_chain  = CHAINS,
                        .n_burnin = 200,
                        .n_sample = getenv("FINWIDTH_LONG") ? 1600 : 250},
    .chains.interval = 1e9,
    .is_collapsed    = PETSC_TRUE
  };
  char      options[512];
  FwDataset data;
  FwSampled sampled;

  snprintf(options, sizeof options,
           "-data_source hdf5 -data_path %s/teachers/%s.h5 -data_train 30 -data_test 400 -data_normalise none",
           folder_of_data, row->teacher);
  data = open_data(options);
  TestCall(FwSampledRun(PETSC_COMM_WORLD, data, &model, &plan, &sampled));
  z = deviation(row, sampled);
  TestCall(FwSampledDestroy(&sampled));
  TestCall(FwDatasetDestroy(&data));
  assert_close(fabs(z) < SIGMAS, 1, 0.0);
}

static void sampled_errors_are_those_of_another_program(void **state)
{
  const char *place = getenv("FINWIDTH_TEST_DATA");

  (void)state;
  if (!place || !*place) skip();
  for (int r = 0; r < N_ROW; r += getenv("FINWIDTH_LONG") ? 1 : 3) check_row(&rows[r], place);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(sampled_errors_are_those_of_another_program),
  };
  int failed;

  TestCall(FwStart(argc, argv, NULL));
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  return FwFinish(PETSC_SUCCESS) || failed;
}
