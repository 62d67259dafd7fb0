/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One network on several ranks has the same bits as on one.
 * ranks: 1 2 3 4
 */

#include <finwidth/activation.h>
#include <finwidth/potential.h>
#include "../support/dataset_fixture.h"

static double   width[2] = {30, 40}, prior[3] = {1.0, 2.0, 0.5}, bias[3] = {0.1, 0.2, 0.3}, none[3] = {0.0, 0.0, 0.0};
static PetscInt activation[2] = {FW_ACTIVATION_ERF, FW_ACTIVATION_TANH};

static FwModel dense(double last)
{
  width[1] = last;
  return (FwModel){.type        = FW_NETWORK_FC,
                   .depth       = 2,
                   .width       = width,
                   .activation  = activation,
                   .prior       = prior,
                   .bias        = bias,
                   .temperature = 0.1};
}

static FwModel convolution(FwNetworkType type)
{
  return (FwModel){
    .type        = type,
    .depth       = 1,
    .width       = width,
    .activation  = activation,
    .prior       = prior,
    .bias        = none,
    .mask        = {1, 5},
    .stride      = {1, 5},
    .temperature = 0.1
  };
}

/* Everything that a potential says at a point, as one list of numbers */
typedef struct {
  size_t  n;
  double *value;
} Answer;

static Answer ask(MPI_Comm comm, const FwModel *model, FwDataset data, FwPotentialKind kind)
{
  FwExamples  examples;
  FwPotential potential;
  Answer      answer = {.n = 0};
  PetscInt    n, n_quantity[FW_MEASURE_COUNT];
  double     *theta, *value[FW_MEASURE_COUNT];

  TestCall(FwExamplesCreate(data, comm, &examples));
  TestCall(FwPotentialCreate(comm, model, &examples, kind, &potential));
  TestCall(FwPotentialGetSize(potential, &n));
  answer.n = 1 + (size_t)n;
  for (int q = 0; q < FW_MEASURE_COUNT; q++) {
    TestCall(FwPotentialMeasureSize(potential, (FwMeasure)q, &n_quantity[q]));
    answer.n += (size_t)n_quantity[q];
  }
  TestCall(PetscMalloc1(answer.n, &answer.value));
  value[0] = answer.value + 1 + n;
  for (int q = 1; q < FW_MEASURE_COUNT; q++) value[q] = value[q - 1] + n_quantity[q - 1];
  TestCall(PetscMalloc1(n, &theta));
  FwStreamNormal(FwStreamCreate(3, FW_RANDOM_TEACHER_WEIGHT, 0, 0, 0), 0, (size_t)n, theta);
  TestCall(FwPotentialEvaluate(potential, theta, answer.value, answer.value + 1));
  TestCall(FwPotentialMeasure(potential, theta, value));
  TestCall(PetscFree(theta));
  TestCall(FwPotentialDestroy(&potential));
  TestCall(FwExamplesDestroy(&examples));
  return answer;
}

static void assert_same_bits(const FwModel *model, const char options[], FwPotentialKind kind)
{
  FwDataset data = open_data(options);
  Answer    all = ask(PETSC_COMM_WORLD, model, data, kind), one = ask(PETSC_COMM_SELF, model, data, kind);

  assert_close(all.n == one.n, 1, 0.0);
  assert_close(memcmp(all.value, one.value, one.n * sizeof *one.value), 0, 0.0);
  TestCall(PetscFree(all.value));
  TestCall(PetscFree(one.value));
  TestCall(FwDatasetDestroy(&data));
}

static const char many[]    = "-data_source teacher -teacher_inputs 20 -data_train 700 -data_test 301",
                  few[]     = "-data_source teacher -teacher_inputs 20 -data_train 11 -data_test 1",
                  lengthy[] = "-data_source teacher -teacher_inputs 900 -data_train 700 -data_test 301";

static void bits_of_all_weights_do_not_depend_on_ranks(void **state)
{
  const FwModel model = dense(40);

  (void)state;
  assert_same_bits(&model, many, FW_POTENTIAL_FULL);
  assert_same_bits(&model, few, FW_POTENTIAL_FULL);
}

static void bits_of_few_features_do_not_depend_on_ranks(void **state)
{
  const FwModel model = dense(40);

  (void)state;
  assert_same_bits(&model, many, FW_POTENTIAL_COLLAPSED);
}

static void bits_of_many_features_do_not_depend_on_ranks(void **state)
{
  const FwModel model = dense(750);

  (void)state;
  assert_same_bits(&model, many, FW_POTENTIAL_COLLAPSED);
  assert_same_bits(&model, few, FW_POTENTIAL_COLLAPSED);
}

static void bits_of_rotated_inputs_do_not_depend_on_ranks(void **state)
{
  const FwModel model = dense(40);

  (void)state;
  assert_same_bits(&model, lengthy, FW_POTENTIAL_FULL);
  assert_same_bits(&model, lengthy, FW_POTENTIAL_COLLAPSED);
}

static void bits_of_patches_do_not_depend_on_ranks(void **state)
{
  (void)state;
  for (int type = FW_NETWORK_CNN; type <= FW_NETWORK_POOL; type++) {
    const FwModel model = convolution((FwNetworkType)type);

    assert_same_bits(&model, many, FW_POTENTIAL_COLLAPSED);
    assert_same_bits(&model, few, FW_POTENTIAL_FULL);
  }
}

static void bits_of_deep_patches_do_not_depend_on_ranks(void **state)
{
  PetscInt two[] = {2}, one[] = {1};

  (void)state;
  for (int type = FW_NETWORK_CNN; type <= FW_NETWORK_POOL; type++) {
    FwModel model = convolution((FwNetworkType)type);

    width[1]           = 12;
    model.depth        = 2;
    model.bias         = none;
    model.upper_mask   = two;
    model.upper_stride = one;
    assert_same_bits(&model, many, FW_POTENTIAL_COLLAPSED);
    assert_same_bits(&model, few, FW_POTENTIAL_FULL);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(bits_of_all_weights_do_not_depend_on_ranks),
    cmocka_unit_test(bits_of_few_features_do_not_depend_on_ranks),
    cmocka_unit_test(bits_of_many_features_do_not_depend_on_ranks),
    cmocka_unit_test(bits_of_rotated_inputs_do_not_depend_on_ranks),
    cmocka_unit_test(bits_of_patches_do_not_depend_on_ranks),
    cmocka_unit_test(bits_of_deep_patches_do_not_depend_on_ranks),
  };
  int failed;

  TestCall(FwStart(argc, argv, NULL));
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  return FwFinish(PETSC_SUCCESS) || failed;
}
