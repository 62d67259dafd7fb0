/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * CSV files: inputs and targets, header, classes from targets, what is refused and where, and the three normalisations.
 */

#include "../support/dataset_fixture.h"

static const char *const table = "# a comment\na,b,c,y\n1,2,3,0.5\n\n4, 5 ,6e0,-1\r\n7,8,9,2\n-1,0,1,3";

static void numbers_are_taken_as_they_are(void **state)
{
  FwDataset   data;
  FwDataSizes sizes;

  (void)state;
  folder_create();
  write_text("t.csv", table);
  data = open_data("-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.n_input, 3, 0);
  assert_close(sizes.n_class, 0, 0);
  assert_close(input_at(data, FW_TRAIN, 1, 1), 5, 0);
  assert_close(input_at(data, FW_TEST, 0, 0), -1, 0);
  assert_close(target_at(data, FW_TRAIN, 2), 2, 0);
  TestCall(FwDatasetDestroy(&data));
  data = open_data(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1 -network_outputs 2");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.n_input, 2, 0);
  assert_close(target_at(data, FW_TRAIN, 2), 6, 0); /* first target of the second example */
  TestCall(FwDatasetDestroy(&data));
  assert_digest_without_ranks(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1 -data_shuffle");
  folder_destroy();
}

/* 1..9 again, in units whose squares are not normal numbers, or none at all */
static void standard_knows_no_unit(void **state)
{
  const int exponent[] = {-160, 160, -300};

  (void)state;
  for (size_t k = 0; k < sizeof exponent / sizeof *exponent; k++) {
    FwDataset data;
    char      text[256];

    snprintf(text, sizeof text, "a,b,c,y\n1e%d,2e%d,3e%d,0.5\n4e%d,5e%d,6e%d,-1\n7e%d,8e%d,9e%d,2\n-1e%d,0,1e%d,3\n",
             exponent[k], exponent[k], exponent[k], exponent[k], exponent[k], exponent[k], exponent[k], exponent[k],
             exponent[k], exponent[k], exponent[k]);
    folder_create();
    write_text("t.csv", text);
    data = open_data("-data_source csv -data_path %s/t.csv -data_train 3 -data_test 1 -data_normalise standard");
    for (int i = 0; i < 9; i++)
      assert_close(input_at(data, FW_TRAIN, i / 3, i % 3), (i - 4.0) / sqrt(60.0 / 9.0), 1e-14);
    assert_close(input_at(data, FW_TEST, 0, 0), -6.0 / sqrt(60.0 / 9.0), 1e-14);
    TestCall(FwDatasetDestroy(&data));
    folder_destroy();
  }
}

static void standard_has_mean_zero_and_deviation_one(void **state)
{
  FwDataset data;
  double    sum = 0.0, squares = 0.0;

  (void)state;
  folder_create();
  write_text("t.csv", table);
  data = open_data(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1 -data_normalise standard");
  for (int i = 0; i < 9; i++) {
    const double x = input_at(data, FW_TRAIN, i / 3, i % 3);

    sum += x;
    squares += x * x;
  }
  assert_close(sum / 9, 0.0, 1e-15);
  assert_close(squares / 9, 1.0, 1e-15);
  /* 1..9 have mean 5 and variance 60/9: the test example is scaled by these, not by its own */
  assert_close(input_at(data, FW_TEST, 0, 0), -6.0 / sqrt(60.0 / 9.0), 1e-15);
  TestCall(FwDatasetDestroy(&data));
  data = open_data(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1 -data_normalise unit");
  assert_close(input_at(data, FW_TRAIN, 0, 2), 3.0 * sqrt(3.0 / 14.0), 1e-15);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void columns_have_mean_zero_and_deviation_one_each(void **state)
{
  const double deviation = sqrt(2.0 / 3.0);
  FwDataset    data;

  (void)state;
  folder_create();
  write_text("t.csv", "1,2e8,5,7\n2,4e8,5,7\n3,6e8,5,7\n4,2e8,6,7\n");
  data = open_data("-data_source csv -data_path %s/t.csv -data_normalise columns -data_train 3 -data_test 1");
  for (int i = 0; i < 9; i++)
    assert_close(input_at(data, FW_TRAIN, i / 3, i % 3), i % 3 == 2 ? 0.0 : (i / 3 - 1) / deviation, 1e-15);
  /* by the training examples' means and deviations, and a column that never changed in them keeps its unit */
  assert_close(input_at(data, FW_TEST, 0, 0), 2.0 / deviation, 1e-15);
  assert_close(input_at(data, FW_TEST, 0, 1), -1.0 / deviation, 1e-15);
  assert_close(input_at(data, FW_TEST, 0, 2), 1.0, 0);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void whole_targets_may_be_classes(void **state)
{
  FwDataset data;

  (void)state;
  folder_create();
  write_text("t.csv", "1,2,7\n3,4,5\n5,6,9\n7,8,5\n");
  data = open_data(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 3 -data_test 1 -data_encoding onehot "
    "-network_outputs 3");
  for (int k = 0; k < 9; k++) assert_close(target_at(data, FW_TRAIN, k), k == 1 || k == 3 || k == 8, 0);
  TestCall(FwDatasetDestroy(&data));
  data = open_data(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 2 -data_test 1 -data_encoding sign "
    "-data_classes 7,5");
  assert_close(target_at(data, FW_TRAIN, 0), -1, 0);
  assert_close(target_at(data, FW_TRAIN, 1), 1, 0);
  assert_close(input_at(data, FW_TEST, 0, 0), 7, 0);
  TestCall(FwDatasetDestroy(&data));
  data =
    open_data("-data_source csv -data_path %s/t.csv -data_normalise none -data_train 2 -data_test 0 -data_classes 5");
  assert_close(target_at(data, FW_TRAIN, 1), 5, 0); /* value: the number itself, of the kept class */
  TestCall(FwDatasetDestroy(&data));
  assert_refused("-data_source csv -data_path %s/t.csv -data_normalise none -data_encoding sign", FW_ERR_INPUT,
                 "there are 3");
  write_text("t.csv", "1,2,0.5\n3,4,1\n");
  assert_refused("-data_source csv -data_path %s/t.csv -data_normalise none -data_encoding onehot", FW_ERR_INPUT,
                 "example 0 is 0.5");
  folder_destroy();
}

static void mistakes_are_named_by_line_and_column(void **state)
{
  const char *options = "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 1 -data_test 1";

  (void)state;
  folder_create();
  assert_refused(options, FW_ERR_FILE, "t.csv");
  write_text("t.csv", "a,b\n1,2\n3,x4\n");
  assert_refused(options, FW_ERR_INPUT, "line 3, column 2: 'x4'");
  write_text("t.csv", "1,2\n3,nan\n");
  assert_refused(options, FW_ERR_INPUT, "line 2, column 2: 'nan'");
  write_text("t.csv", "1,1e999\n3,4\n");
  assert_refused(options, FW_ERR_INPUT, "line 1, column 2");
  write_text("t.csv", "1,2\n3,\n");
  assert_refused(options, FW_ERR_INPUT, "line 2, column 2: ''");
  write_text("t.csv", "1,2\n3,4,5\n");
  assert_refused(options, FW_ERR_INPUT, "line 2 has 3 fields");
  write_text("t.csv", "0,1,2\n3,4,7\n5,6,9\n");
  assert_refused(options, FW_ERR_INPUT, "line 1 counts its columns");
  write_text("t.csv", "1;2\n3;4\n");
  assert_refused(options, FW_ERR_INPUT, "1 fields");
  write_text("t.csv", "");
  assert_refused(options, FW_ERR_INPUT, "no example");
  write_bytes("t.csv", 8, "1,2\n3\0,4");
  assert_refused(options, FW_ERR_INPUT, "zero byte");
  write_text("t.csv", "1,2\n1,3\n");
  assert_refused(
    "-data_source csv -data_path %s/t.csv -data_normalise none -data_train 1 -data_test 1 -data_normalise standard",
    FW_ERR_INPUT, "standard");
  assert_refused("-data_source csv -data_path %s/t.csv -data_normalise none -data_train 2 -data_test 1", FW_ERR_INPUT,
                 "has 2 examples");
  assert_refused("-data_source csv -data_path %s/t.csv -data_normalise none -data_size 4", FW_ERR_INPUT, "data_size");
  assert_refused("-data_source csv -data_path %s/t.csv -data_normalise none -data_split files", FW_ERR_INPUT,
                 "no separate test file: data_split 'files' needs both, use 'sequence', or a folder with 'train.csv'");
  folder_destroy();
}

static void a_folder_has_a_training_and_a_test_file(void **state)
{
  const char *const options =
    "-data_source csv -data_path %s -data_normalise none -data_split files -data_train 2 -data_test 2 -data_skip 1";
  FwDataset data;
  char     *list;
  uint64_t  digest[2] = {0};

  (void)state;
  folder_create();
  write_text("train.csv", "x,y\n1,10\n2,20\n3,30\n4,40\n");
  assert_refused(options, FW_ERR_FILE, "test.csv': data_path names a file, or for data_source 'csv' a folder with");
  write_text("test.csv", "5,50\n6,60\n");
  data = open_data(options);
  assert_close(input_at(data, FW_TRAIN, 1, 0), 3, 0); /* skips in the training file alone */
  assert_close(target_at(data, FW_TRAIN, 0), 20, 0);
  assert_close(input_at(data, FW_TEST, 1, 0), 6, 0);
  assert_close(target_at(data, FW_TEST, 0), 50, 0);
  TestCall(FwDatasetDestroy(&data));
  for (int i = 0; i < 2; i++) { /* the digest of a run's files is of both */
    TestCall(FwDataFiles(&list));
    TestCall(FwDataFilesDigest(list, &digest[i]));
    TestCall(PetscFree(list));
    MPI_Barrier(PETSC_COMM_WORLD); /* each rank has read the file for itself */
    write_text("test.csv", "5,50\n6,61\n");
  }
  assert_close(digest[0] == digest[1], 0, 0);
  data = open_data("-data_source csv -data_path %s -data_normalise none -data_train 3 -data_test 3");
  assert_close(target_at(data, FW_TEST, 0), 40, 0); /* one sequence, unless asked */
  assert_close(target_at(data, FW_TEST, 2), 61, 0);
  TestCall(FwDatasetDestroy(&data));
  assert_digest_without_ranks(
    "-data_source csv -data_path %s -data_normalise none -data_train 3 -data_test 3 -data_shuffle");
  assert_refused("-data_source csv -data_path %s -data_split files -data_train 2 -data_test 3", FW_ERR_INPUT,
                 "has 2 test examples");
  write_text("test.csv", "5,6,7\n");
  assert_refused(options, FW_ERR_INPUT, "has inputs of 1 x 1 x 2, those of");
  folder_destroy();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_taken_as_they_are),
                                     cmocka_unit_test(standard_has_mean_zero_and_deviation_one),
                                     cmocka_unit_test(standard_knows_no_unit),
                                     cmocka_unit_test(columns_have_mean_zero_and_deviation_one_each),
                                     cmocka_unit_test(whole_targets_may_be_classes),
                                     cmocka_unit_test(mistakes_are_named_by_line_and_column),
                                     cmocka_unit_test(a_folder_has_a_training_and_a_test_file)};
  int                     n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_csv", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
