/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * CIFAR-10 records: luminance in double, the order of colours, whole records only, the real pictures.
 */

#include "../support/dataset_fixture.h"

enum { N = 4, PIXELS = 3072, RECORD = 3073 };

static unsigned char record[N * RECORD + 1];

/* Record i: label i, red 10 + i, green 20 + i, blue 30 + i everywhere but in the first pixel, which is black */
static void fill_records(void)
{
  for (int i = 0; i < N; i++) {
    record[i * RECORD] = (unsigned char)i;
    for (int j = 0; j < PIXELS; j++)
      record[i * RECORD + 1 + j] = (unsigned char)(j % 1024 == 0 ? 0 : 10 * (1 + j / 1024) + i);
  }
}

static void colours_become_luminance_unrounded(void **state)
{
  FwDataset   data;
  FwDataSizes sizes;

  (void)state;
  folder_create();
  fill_records();
  write_bytes("data_batch_2.bin", N * RECORD, record);
  data = open_data("-data_source cifar10 -data_path %s -data_train 2 -data_test 1 -data_normalise none");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.channels, 1, 0);
  assert_close(sizes.n_input, 1024, 0);
  assert_close(sizes.n_output, 4, 0);
  assert_close(input_at(data, FW_TRAIN, 1, 5), (0.299 * 11 + 0.587 * 21 + 0.114 * 31) / 255.0, 1e-15);
  assert_close(input_at(data, FW_TRAIN, 1, 0), 0.0, 0);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void colours_stay_in_channel_row_column_order(void **state)
{
  FwDataset   data;
  FwDataSizes sizes;

  (void)state;
  folder_create();
  fill_records();
  write_bytes("data_batch_1.bin", N * RECORD, record);
  data = open_data(
    "-data_source cifar10 -data_path %s -data_train 2 -data_test 1 -data_normalise none "
    "-data_gray false -data_size 16");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.channels, 3, 0);
  assert_close(sizes.height, 16, 0);
  assert_close(sizes.n_input, 768, 0);
  assert_close(input_at(data, FW_TEST, 0, 256), 0.75 * 22.0 / 255.0, 1e-16); /* one black pixel in four */
  assert_close(input_at(data, FW_TEST, 0, 767), 32.0 / 255.0, 1e-16);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void bad_files_are_refused(void **state)
{
  (void)state;
  folder_create();
  fill_records();
  assert_refused("-data_source cifar10 -data_path %s", FW_ERR_FILE, "no images in");
  write_bytes("test_batch.bin", N * RECORD + 1, record);
  assert_refused("-data_source cifar10 -data_path %s", FW_ERR_INPUT, "whole records");
  record[2 * RECORD] = 10;
  write_bytes("test_batch.bin", N * RECORD, record);
  assert_refused("-data_source cifar10 -data_path %s", FW_ERR_INPUT, "label of record 2 is 10");
  fill_records();
  write_bytes("test_batch.bin", N * RECORD, record);
  assert_refused("-data_source cifar10 -data_path %s -data_split files", FW_ERR_INPUT, "no separate training file");
  folder_destroy();
}

static void real_pictures_are_read(void **state)
{
  char      options[512];
  FwDataset data;

  (void)state;
  need_real_data(real);
  snprintf(options, sizeof options,
           "-data_source cifar10 -data_path %s/cifar10 -data_classes 0,1 -data_train 20 -data_test 20 "
           "-data_split files -data_normalise none -data_gray false",
           real);
  data =
    open_data(options); /* the first record is of class 0 and begins 200 202 203 in red, 202 in green, 197 in blue */
  assert_close(target_at(data, FW_TRAIN, 0), -1, 0);
  assert_close(target_at(data, FW_TRAIN, 1), 1, 0);
  assert_close(input_at(data, FW_TRAIN, 0, 2), 203.0 / 255.0, 0);
  assert_close(input_at(data, FW_TRAIN, 0, 1024), 202.0 / 255.0, 0);
  assert_close(input_at(data, FW_TRAIN, 0, 2048), 197.0 / 255.0, 0);
  TestCall(FwDatasetDestroy(&data));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(colours_become_luminance_unrounded),
                                     cmocka_unit_test(colours_stay_in_channel_row_column_order),
                                     cmocka_unit_test(bad_files_are_refused), cmocka_unit_test(real_pictures_are_read)};
  int                     n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_cifar", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
