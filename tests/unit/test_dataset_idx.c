/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * MNIST files: what is found and refused, class selection, order, resizing by hand, the real digits.
 */

#include "../support/dataset_fixture.h"

#include <zlib.h>

enum { N = 6, SIDE = 3 };

/* Image i has the pixels 10 i + 0..8; labels 3 8 1 8 3 1 */
static const unsigned char labels_of[N] = {3, 8, 1, 8, 3, 1};

static size_t fill_images(unsigned char b[16 + N * SIDE * SIDE])
{
  const unsigned char head[16] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, SIDE, 0, 0, 0, SIDE};

  memcpy(b, head, 16);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < SIDE * SIDE; j++) b[16 + i * SIDE * SIDE + j] = (unsigned char)(10 * i + j);
  return 16 + N * SIDE * SIDE;
}

static void write_pair(const char part[])
{
  unsigned char image[16 + N * SIDE * SIDE], label[8 + N] = {0, 0, 8, 1, 0, 0, 0, N};
  char          name[64];

  memcpy(label + 8, labels_of, N);
  snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
  write_bytes(name, fill_images(image), image);
  snprintf(name, sizeof name, "%s-labels.idx1-ubyte", part);
  write_bytes(name, sizeof label, label);
}

static void classes_are_kept_in_file_order(void **state)
{
  FwDataset       data;
  FwDataSizes     sizes;
  const PetscInt *index;
  const char     *summary;

  (void)state;
  folder_create();
  write_pair("train");
  data = open_data(
    "-data_source mnist -data_path %s -data_classes 8,3 -data_train 2 -data_test 1 -data_skip 1 "
    "-data_normalise none");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.n_input, 9, 0);
  assert_close(sizes.n_output, 1, 0);
  assert_close(sizes.n_class, 2, 0);
  /* kept: 0 (3), 1 (8), 3 (8), 4 (3); one passed over; 8 comes first in the list: -1 */
  assert_close(target_at(data, FW_TRAIN, 0), -1, 0);
  assert_close(target_at(data, FW_TRAIN, 1), -1, 0);
  assert_close(target_at(data, FW_TEST, 0), 1, 0);
  assert_close(input_at(data, FW_TRAIN, 0, 2), 12.0 / 255.0, 0);
  assert_close(input_at(data, FW_TRAIN, 1, 0), 30.0 / 255.0, 0);
  assert_close(input_at(data, FW_TEST, 0, 8), 48.0 / 255.0, 0);
  TestCall(FwDatasetGetClasses(data, FW_TEST, &index));
  assert_close(index[0], 1, 0);
  TestCall(FwDatasetGetSummary(data, &summary));
  assert_close(strcmp(summary, "mnist, classes 8 and 3, 1 x 3 x 3, none"), 0, 0);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void encodings_follow_the_classes(void **state)
{
  FwDataset       data;
  const double   *y;
  const PetscInt *index;

  (void)state;
  folder_create();
  write_pair("t10k"); /* serves where the training pair is absent */
  data = open_data("-data_source mnist -data_path %s -data_train 4 -data_test 2");
  TestCall(FwDatasetGetTargets(data, FW_TRAIN, &y)); /* found: 1, 3, 8; labels 3 8 1 8 */
  for (int i = 0; i < 12; i++) assert_close(y[i], i == 1 || i == 5 || i == 6 || i == 11, 0);
  TestCall(FwDatasetDestroy(&data));
  data = open_data("-data_source mnist -data_path %s -data_train 4 -data_test 2 -data_encoding value");
  assert_close(target_at(data, FW_TRAIN, 1), 8, 0);
  TestCall(FwDatasetGetClasses(data, FW_TRAIN, &index));
  assert_close(index == NULL, 1, 0);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void split_takes_test_examples_from_the_test_file(void **state)
{
  const char *options =
    "-data_source mnist -data_path %s -data_classes 3,8 -data_train 2 -data_test 1 -data_skip 1 "
    "-data_normalise none -data_split files";
  FwDataset data;

  (void)state;
  folder_create();
  write_pair("train");
  assert_refused(options, FW_ERR_INPUT, "no separate test file");
  write_pair("t10k");
  data = open_data(options); /* skip belongs to the training sequence only */
  assert_close(input_at(data, FW_TRAIN, 0, 0), 10.0 / 255.0, 0);
  assert_close(input_at(data, FW_TEST, 0, 0), 0, 0);
  assert_close(target_at(data, FW_TEST, 0), -1, 0);
  TestCall(FwDatasetDestroy(&data));
  data = open_data("-data_source mnist -data_path %s -data_train 8 -data_test 4 -data_normalise none");
  assert_close(input_at(data, FW_TRAIN, 7, 0), 10.0 / 255.0, 0); /* second image of the second file */
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void area_average_by_hand(void **state)
{
  FwDataset data;

  (void)state;
  folder_create();
  write_pair("train");
  /* 3 -> 2: a cell covers 1.5 x 1.5 pixels: (p0 + p1/2 + p3/2 + p4/4) / 2.25 = (0 + 0.5 + 1.5 + 1) / 2.25 */
  data = open_data(
    "-data_source mnist -data_path %s -data_train 1 -data_test 0 -data_normalise none -data_size 2 "
    "-data_encoding value");
  assert_close(input_at(data, FW_TRAIN, 0, 0), 3.0 / 2.25 / 255.0, 1e-16);
  assert_close(input_at(data, FW_TRAIN, 0, 3), (8 + 3.5 + 2.5 + 1.0) / 2.25 / 255.0, 1e-16);
  TestCall(FwDatasetDestroy(&data));
  /* 3 -> 4: cell 1 covers the last quarter of pixel 0 and the first half of pixel 1: a third and two thirds */
  data = open_data(
    "-data_source mnist -data_path %s -data_train 1 -data_test 0 -data_normalise none -data_size 4 "
    "-data_encoding value");
  assert_close(input_at(data, FW_TRAIN, 0, 0), 0.0, 0);
  assert_close(input_at(data, FW_TRAIN, 0, 1), 2.0 / 3.0 / 255.0, 1e-16);
  assert_close(input_at(data, FW_TRAIN, 0, 15), 8.0 / 255.0, 1e-16);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void shuffle_is_a_permutation_given_by_the_seed(void **state)
{
  FwDataset data;
  double    sum = 0.0, moved = 0.0;

  (void)state;
  folder_create();
  write_pair("train");
  data = open_data("-data_source mnist -data_path %s -data_train 4 -data_test 2 -data_shuffle -data_normalise none");
  for (int i = 0; i < N; i++) {
    const double first = 255.0 * input_at(data, i < 4 ? FW_TRAIN : FW_TEST, i < 4 ? i : i - 4, 0);

    sum += first * first;
    moved += fabs(first - 10.0 * i);
  }
  assert_close(sum, 5500.0, 1e-12);
  assert_close(moved > 0.0, 1, 0);
  TestCall(FwDatasetDestroy(&data));
  assert_digest_without_ranks("-data_source mnist -data_path %s -data_train 4 -data_test 2 -data_shuffle");
  folder_destroy();
}

static void damaged_files_are_refused(void **state)
{
  const char   *options = "-data_source mnist -data_path %s -data_images i -data_labels l -data_train 2 -data_test 1";
  unsigned char image[17 + N * SIDE * SIDE] = {0}, label[9 + N] = {0, 0, 8, 1, 0, 0, 0, N};
  const size_t  n = fill_images(image);

  (void)state;
  folder_create();
  assert_refused(options, FW_ERR_FILE, "/i'");
  memcpy(label + 8, labels_of, N);
  write_bytes("l", sizeof label - 1, label);
  write_bytes("i", n - 1, image);
  assert_refused(options, FW_ERR_INPUT, "do not fit");
  write_bytes("i", n + 1, image);
  assert_refused(options, FW_ERR_INPUT, "do not fit");
  image[4] = 255; /* four billion images */
  write_bytes("i", n, image);
  assert_refused(options, FW_ERR_INPUT, "do not fit");
  image[4] = 0;
  image[3] = 1;
  write_bytes("i", n, image);
  assert_refused(options, FW_ERR_INPUT, "0x00000801");
  image[3] = 3;
  write_bytes("i", n, image);
  write_bytes("i2", 3, image);
  write_bytes("l", sizeof label, label);
  assert_refused(options, FW_ERR_INPUT, "/l'");
  label[7] = N - 1;
  write_bytes("l", sizeof label - 2, label);
  assert_refused(options, FW_ERR_INPUT, "5 labels");
  label[7]  = N;
  label[10] = 77;
  write_bytes("l", sizeof label - 1, label);
  assert_refused(options, FW_ERR_INPUT, "label of example 2 is 77");
  assert_refused("-data_source mnist -data_path %s -data_images i2 -data_labels l", FW_ERR_INPUT, "/i2'");
  folder_destroy();
}

static void bad_keys_are_refused(void **state)
{
  (void)state;
  folder_create();
  assert_refused("-data_source mnist -data_path %s", FW_ERR_FILE, "no images in");
  assert_refused("-data_source mnist -data_path %s/none", FW_ERR_FILE, "/none");
  write_pair("train");
  assert_refused("-data_source mnist -data_path %s -data_images i", FW_ERR_INPUT, "data_labels");
  assert_refused("-data_source mnist -data_path %s -data_classes 3,12", FW_ERR_INPUT, "class 12");
  assert_refused("-data_source mnist -data_path %s -data_classes 3,3", FW_ERR_INPUT, "class 3 twice");
  assert_refused("-data_source mnist -data_path %s -data_classes 3,5", FW_ERR_INPUT, "class 5");
  assert_refused("-data_source mnist -data_path %s -data_classes 3", FW_ERR_INPUT, "only one class");
  assert_refused("-data_source mnist -data_path %s -data_encoding sign", FW_ERR_INPUT, "there are 3");
  assert_refused("-data_source mnist -data_path %s -data_train 5 -data_test 2", FW_ERR_INPUT, "has 6 examples");
  assert_refused("-data_source mnist -data_path %s -data_classes 3,8 -data_train 4 -data_test 1 -data_skip 1",
                 FW_ERR_INPUT, "has 4 examples");
  assert_refused("-data_source mnist -data_path %s -data_train 4 -data_test 1 -network_outputs 2", FW_ERR_INPUT,
                 "network_outputs");
  TestCall(PetscOptionsClear(NULL));
  unsetenv("FINWIDTH_DATA");
  assert_refused("-data_source mnist", FW_ERR_INPUT, "FINWIDTH_DATA");
  folder_destroy();
}

static void real_digits_are_read(void **state)
{
  char        options[512];
  FwDataset   data;
  const char *digest;
  double      sum = 0.0;
  FwSlab      slab;

  (void)state;
  need_real_data(real);
  snprintf(options, sizeof options,
           "-data_source mnist -data_path %s/mnist -data_classes 3,8 -data_train 1000 "
           "-data_test 984 -data_normalise none",
           real);
  data = open_data(options);
  /* of the file: its 3s and 8s begin 3 3 3 3 3 8 3 3 3 8, and the pixels of the first add up to 35433 */
  for (int i = 0; i < 10; i++) assert_close(target_at(data, FW_TRAIN, i), i == 5 || i == 9 ? 1 : -1, 0);
  TestCall(FwDatasetGetSlab(data, FW_TRAIN, &slab));
  if (slab.first == 0)
    for (int j = 0; j < slab.n_input; j++) sum += slab.x[j];
  assert_close(slab.first == 0 ? sum : 35433.0 / 255.0, 35433.0 / 255.0, 1e-12);
  TestCall(FwDatasetGetDigest(data, &digest));
  assert_close(strcmp(digest, "b87a0f4e64c3f36f"), 0, 0); /* of bytes / 255: the same on every machine */
  TestCall(FwDatasetDestroy(&data));
  snprintf(options, sizeof options,
           "-data_source mnist -data_path %s/mnist -data_classes 3,8 -data_train 1000 "
           "-data_test 985",
           real);
  assert_refused(options, FW_ERR_INPUT, "has 1984 examples");
}

static void write_gzip(const char name[], size_t n, const void *bytes)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    gzFile file = gzopen(file_path(name), "wb");

    if (!file || gzwrite(file, bytes, (unsigned)n) != (int)n || gzclose(file)) MPI_Abort(PETSC_COMM_WORLD, 1);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void gzip_has_exactly_the_declared_bytes(void **state)
{
  const char   *options = "-data_source mnist -data_path %s -data_train 5 -data_test 1 -data_normalise none";
  unsigned char image[17 + N * SIDE * SIDE] = {0}, label[9 + N] = {0, 0, 8, 1, 0, 0, 0, N};
  const size_t  n = fill_images(image);
  FwDataset     data;

  (void)state;
  folder_create();
  memcpy(label + 8, labels_of, N);
  write_gzip("train-labels-idx1-ubyte.gz", 8 + N, label);
  write_gzip("train-images.idx3-ubyte.gz", n, image);
  data = open_data(options);
  assert_close(input_at(data, FW_TEST, 0, 8), 58.0 / 255.0, 0);
  TestCall(FwDatasetDestroy(&data));
  write_gzip("train-images.idx3-ubyte.gz", n + 1, image);
  assert_refused(options, FW_ERR_INPUT, "images.idx3-ubyte.gz' is longer");
  write_gzip("train-images.idx3-ubyte.gz", n - 1, image);
  assert_refused(options, FW_ERR_INPUT, "images.idx3-ubyte.gz' is shorter");
  write_gzip("train-images.idx3-ubyte.gz", n, image);
  write_gzip("train-labels-idx1-ubyte.gz", 9 + N, label);
  assert_refused(options, FW_ERR_INPUT, "labels-idx1-ubyte.gz' is longer");
  folder_destroy();
}

/* Damage in the middle of a gzip file is found by its check sum, an end cut off by its length */
static void damaged_gzip_is_refused(void **state)
{
  enum { ROOM = 1 << 21 };
  const char *options = "-data_source mnist -data_path %s -data_images i.gz -data_labels l.gz";
  char        path[512];
  static char bytes[ROOM];
  size_t      n;
  FILE       *file;

  (void)state;
  need_real_data(real);
  folder_create();
  snprintf(path, sizeof path, "%s/mnist/t10k-labels-idx1-ubyte.gz", real);
  assert_non_null(file = fopen(path, "rb"));
  n = fread(bytes, 1, ROOM, file);
  fclose(file);
  write_bytes("l.gz", n, bytes);
  snprintf(path, sizeof path, "%s/mnist/t10k-images-idx3-ubyte.gz", real);
  assert_non_null(file = fopen(path, "rb"));
  n = fread(bytes, 1, ROOM, file);
  fclose(file);
  write_bytes("i.gz", n - 100, bytes);
  assert_refused(options, FW_ERR_INPUT, "/i.gz'");
  bytes[n / 2] = (char)(bytes[n / 2] ^ 0x10);
  write_bytes("i.gz", n, bytes);
  assert_refused(options, FW_ERR_INPUT, "/i.gz'");
  folder_destroy();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(classes_are_kept_in_file_order),
                                     cmocka_unit_test(encodings_follow_the_classes),
                                     cmocka_unit_test(split_takes_test_examples_from_the_test_file),
                                     cmocka_unit_test(area_average_by_hand),
                                     cmocka_unit_test(shuffle_is_a_permutation_given_by_the_seed),
                                     cmocka_unit_test(damaged_files_are_refused),
                                     cmocka_unit_test(gzip_has_exactly_the_declared_bytes),
                                     cmocka_unit_test(bad_keys_are_refused),
                                     cmocka_unit_test(real_digits_are_read),
                                     cmocka_unit_test(damaged_gzip_is_refused)};
  int                     n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_idx", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
