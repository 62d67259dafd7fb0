/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Built-in data: the same for any number of ranks, by example and not by place, and of the statistics they claim.
 */

#include <finwidth/examples.h>
#include "../support/dataset_fixture.h"

static void drawn_data_do_not_depend_on_ranks(void **state)
{
  (void)state;
  assert_digest_without_ranks("-data_train 11 -data_test 5");
  assert_digest_without_ranks("-data_train 3 -data_test 0 -data_classes 0,1,2,3 -data_normalise unit");
  assert_digest_without_ranks("-data_train 11 -data_test 5 -data_shuffle -data_skip 7");
  assert_digest_without_ranks(
    "-data_source teacher -data_train 11 -data_test 5 -teacher_kind one-layer -teacher_noise 1");
}

static void glyphs_cycle_through_the_classes(void **state)
{
  FwDataset       data = open_data("-data_classes 3,1,0 -data_train 7 -data_test 2");
  const PetscInt *index;
  FwDataSizes     sizes;
  const char     *summary;

  (void)state;
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.height, 16, 0);
  assert_close(sizes.n_output, 3, 0);
  TestCall(FwDatasetGetClasses(data, FW_TRAIN, &index));
  for (int i = 0; i < 7; i++) assert_close(index[i], i % 3, 0);
  TestCall(FwDatasetGetClasses(data, FW_TEST, &index));
  assert_close(index[0], 1, 0);
  TestCall(FwDatasetGetSummary(data, &summary));
  assert_close(strcmp(summary, "glyphs, classes 3, 1 and 0, 1 x 16 x 16, standard"), 0, 0);
  TestCall(FwDatasetDestroy(&data));
}

static void skipping_finds_the_same_example(void **state)
{
  FwDataset plain = open_data("-data_train 9 -data_test 1 -data_normalise none");
  FwDataset later = open_data("-data_train 2 -data_test 1 -data_normalise none -data_skip 6");

  (void)state;
  for (int j = 0; j < 256; j += 17) {
    assert_close(input_at(later, FW_TRAIN, 1, j), input_at(plain, FW_TRAIN, 7, j), 0);
    assert_close(input_at(later, FW_TEST, 0, j), input_at(plain, FW_TRAIN, 8, j), 0);
  }
  TestCall(FwDatasetDestroy(&plain));
  TestCall(FwDatasetDestroy(&later));
}

static void seeds_give_other_data(void **state)
{
  FwDataset   one = open_data("-data_train 4 -data_test 1"), two = open_data("-data_train 4 -data_test 1 -seed 2");
  const char *digest[2];

  (void)state;
  TestCall(FwDatasetGetDigest(one, &digest[0]));
  TestCall(FwDatasetGetDigest(two, &digest[1]));
  assert_close(strcmp(digest[0], digest[1]) != 0, 1, 0);
  TestCall(FwDatasetDestroy(&one));
  TestCall(FwDatasetDestroy(&two));
}

/* Sums over the training inputs of this rank, then of all */
static void input_moments(FwDataset data, double *mean, double *variance)
{
  FwSlab slab;
  double mine[2] = {0.0, 0.0}, all[2];

  TestCall(FwDatasetGetSlab(data, FW_TRAIN, &slab));
  for (PetscInt i = 0; i < slab.n_local * slab.n_input; i++) {
    mine[0] += slab.x[i];
    mine[1] += slab.x[i] * slab.x[i];
  }
  MPI_Allreduce(mine, all, 2, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  *mean     = all[0] / ((double)slab.n * slab.n_input);
  *variance = all[1] / ((double)slab.n * slab.n_input) - *mean * *mean;
}

static void standard_glyphs_have_mean_zero_and_deviation_one(void **state)
{
  FwDataset data = open_data("-data_train 101 -data_test 3");
  double    mean, variance;

  (void)state;
  input_moments(data, &mean, &variance);
  assert_close(mean, 0.0, 1e-13);
  assert_close(variance, 1.0, 1e-13);
  TestCall(FwDatasetDestroy(&data));
}

/* For n independent labels of variance s the sample variance has deviation of about s sqrt(2 / n); five of them */
static void teachers_have_the_variance_they_claim(void **state)
{
  enum { N = 4000 };
  FwDataset clean = open_data("-data_source teacher -data_train 4000 -data_test 0 -teacher_inputs 50");
  FwDataset noisy =
    open_data("-data_source teacher -data_train 4000 -data_test 0 -teacher_inputs 50 -teacher_noise 0.5");
  const double *y[2];
  double        mean, variance, noise = 0.0;

  (void)state;
  input_moments(clean, &mean, &variance);
  assert_close(mean, 0.0, 5.0 / sqrt(50.0 * N));
  assert_close(variance, 1.0, 5.0 * sqrt(2.0 / (50.0 * N)));
  TestCall(FwDatasetGetTargets(clean, FW_TRAIN, &y[0]));
  TestCall(FwDatasetGetTargets(noisy, FW_TRAIN, &y[1]));
  for (int i = 0; i < N; i++) noise += (y[1][i] - y[0][i]) * (y[1][i] - y[0][i]) / N;
  assert_close(noise, 0.5, 5.0 * 0.5 * sqrt(2.0 / N));
  TestCall(FwDatasetDestroy(&clean));
  TestCall(FwDatasetDestroy(&noisy));
}

/* Inputs of a power law of variances are the white ones, scaled; an offset is in every label */
static void spectrum_and_offset_change_what_they_say(void **state)
{
  FwDataset white = open_data("-data_source teacher -data_train 9 -data_test 0 -teacher_inputs 6 -data_normalise none");
  FwDataset power = open_data(
    "-data_source teacher -data_train 9 -data_test 0 -teacher_inputs 6 -data_normalise none "
    "-teacher_spectrum 2");
  FwDataset offset = open_data(
    "-data_source teacher -data_train 9 -data_test 0 -teacher_inputs 6 -data_normalise none "
    "-teacher_offset -3");
  FwExamples a, b, c;

  (void)state;
  TestCall(FwExamplesCreate(white, PETSC_COMM_SELF, &a));
  TestCall(FwExamplesCreate(power, PETSC_COMM_SELF, &b));
  TestCall(FwExamplesCreate(offset, PETSC_COMM_SELF, &c));
  for (int i = 0; i < 9 * 6; i++) assert_close(b.train.x[i], a.train.x[i] / (1 + i % 6), 1e-14);
  for (int i = 0; i < 9; i++) assert_close(c.y_train[i], a.y_train[i] - 3.0, 1e-14);
  TestCall(FwExamplesDestroy(&a));
  TestCall(FwExamplesDestroy(&b));
  TestCall(FwExamplesDestroy(&c));
  TestCall(FwDatasetDestroy(&white));
  TestCall(FwDatasetDestroy(&power));
  TestCall(FwDatasetDestroy(&offset));
}

/* With the same weights and inputs, y of the single-index teacher is a function of the linear one's */
static void single_index_is_a_function_of_the_field(void **state)
{
  FwDataset     field = open_data("-data_source teacher -data_train 20 -data_test 3");
  FwDataset     index = open_data("-data_source teacher -data_train 20 -data_test 3 -teacher_kind single-index");
  const double *z, *y;

  (void)state;
  TestCall(FwDatasetGetTargets(field, FW_TRAIN, &z));
  TestCall(FwDatasetGetTargets(index, FW_TRAIN, &y));
  for (int i = 0; i < 20; i++) assert_close(y[i], z[i] + 0.5 * sin(3.0 * z[i]), 1e-15);
  TestCall(FwDatasetDestroy(&field));
  TestCall(FwDatasetDestroy(&index));
}

/* A one-layer teacher with one unit is v erf(w . x / sqrt(N_0)): the field follows from the linear teacher */
static void one_unit_is_an_error_function(void **state)
{
  FwDataset field = open_data("-data_source teacher -data_train 20 -data_test 3");
  FwDataset unit  = open_data(
     "-data_source teacher -data_train 20 -data_test 3 -teacher_kind one-layer "
      "-teacher_width 1");
  const double *z, *y;

  (void)state;
  TestCall(FwDatasetGetTargets(field, FW_TRAIN, &z));
  TestCall(FwDatasetGetTargets(unit, FW_TRAIN, &y));
  for (int i = 1; i < 20; i++) assert_close(y[i] * erf(z[0]), y[0] * erf(z[i]), 1e-14);
  TestCall(FwDatasetDestroy(&field));
  TestCall(FwDatasetDestroy(&unit));
}

/* y = U diag(s) V^T x with N(0, 1) inputs: the mean of |y|^2 is sum s^2, and its determinant shows rank two */
static void low_rank_teacher_has_its_singular_values(void **state)
{
  enum { N = 4000 };
  FwDataset data = open_data(
    "-data_source teacher -teacher_kind low-rank -teacher_inputs 7 -teacher_singular 3,0.5 "
    "-network_outputs 3 -data_train 4000 -data_test 1 -data_normalise none");
  const double *y;
  double        c[9] = {0.0};

  (void)state;
  TestCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  for (int n = 0; n < N; n++)
    for (int k = 0; k < 9; k++) c[k] += y[3 * n + k / 3] * y[3 * n + k % 3] / N;
  assert_close((c[0] + c[4] + c[8]) / 9.25, 1.0, 5.0 * sqrt(2.0 / N));
  assert_close(
    c[0] * (c[4] * c[8] - c[5] * c[7]) - c[1] * (c[3] * c[8] - c[5] * c[6]) + c[2] * (c[3] * c[7] - c[4] * c[6]), 0.0,
    1e-12);
  TestCall(FwDatasetDestroy(&data));
}

/* One place of each target is 1; without spread the inputs of a cluster are its centre */
static void clusters_have_a_target_each(void **state)
{
  FwDataset data = open_data(
    "-data_source teacher -teacher_kind clusters -teacher_inputs 6 -teacher_spread 0 "
    "-network_outputs 4 -data_train 101 -data_test 5 -data_normalise none");
  FwSlab        slab;
  const double *y;
  double        centre[4] = {NAN, NAN, NAN, NAN};

  (void)state;
  TestCall(FwDatasetGetSlab(data, FW_TRAIN, &slab));
  TestCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  for (int n = 0; n < 101; n++) assert_close(y[4 * n] + y[4 * n + 1] + y[4 * n + 2] + y[4 * n + 3], 1.0, 0.0);
  for (int n = 0; n < 101; n++) {
    const int own = n - (int)slab.first;
    int       k   = 0;

    while (y[4 * n + k] != 1.0) k++;
    if (own < 0 || own >= slab.n_local) continue;
    if (isnan(centre[k])) centre[k] = slab.x[6 * own];
    if (slab.x[6 * own] != centre[k]) fail();
  }
  TestCall(FwDatasetDestroy(&data));
}

static void bad_keys_are_refused(void **state)
{
  (void)state;
  assert_refused("-data_classes 0,4", FW_ERR_INPUT, "class 4");
  assert_refused("-data_classes 2", FW_ERR_INPUT, "only one class");
  assert_refused("-data_size 7", FW_ERR_INPUT, "at least 8");
  assert_refused("-data_split files", FW_ERR_INPUT, "data_split");
  assert_refused("-data_size 100000", FW_ERR_INPUT, "too large");
  assert_refused("-data_source teacher -data_classes 0,1", FW_ERR_INPUT, "data_classes");
  assert_refused("-data_source teacher -data_encoding sign", FW_ERR_INPUT, "data_encoding");
  assert_refused("-data_source teacher -network_outputs 2", FW_ERR_INPUT, "network_outputs");
  assert_refused("-data_source teacher -teacher_kind low-rank -network_outputs 2", FW_ERR_INPUT, "teacher_singular");
  assert_refused("-data_source nonsense", FW_ERR_INPUT, "nonsense");
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(drawn_data_do_not_depend_on_ranks),
                                     cmocka_unit_test(glyphs_cycle_through_the_classes),
                                     cmocka_unit_test(skipping_finds_the_same_example),
                                     cmocka_unit_test(seeds_give_other_data),
                                     cmocka_unit_test(standard_glyphs_have_mean_zero_and_deviation_one),
                                     cmocka_unit_test(teachers_have_the_variance_they_claim),
                                     cmocka_unit_test(single_index_is_a_function_of_the_field),
                                     cmocka_unit_test(one_unit_is_an_error_function),
                                     cmocka_unit_test(spectrum_and_offset_change_what_they_say),
                                     cmocka_unit_test(low_rank_teacher_has_its_singular_values),
                                     cmocka_unit_test(clusters_have_a_target_each),
                                     cmocka_unit_test(bad_keys_are_refused)};
  int                     n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_drawn", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
