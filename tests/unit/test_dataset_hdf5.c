/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * HDF5 files: shapes, types, and everything in a file that must not be trusted.
 */

#include "../support/dataset_fixture.h"

#if __has_include(<hdf5.h>)
  #include <hdf5.h>

enum { N = 5 };

/* x of the given sizes with entries 0, 1, 2, ...; y = 0, 1, 2, ... */
static void write_file(int n_dimension, const hsize_t size[], hid_t type)
{
  PetscMPIInt rank;
  double      x[240], y[N] = {0, 1, 2, 3, 4};

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int i = 0; i < 240; i++) x[i] = i;
  if (rank == 0) {
    const hsize_t n     = N;
    const hid_t   file  = H5Fcreate(file_path("d.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   space = H5Screate_simple(n_dimension, size, NULL), line = H5Screate_simple(1, &n, NULL);
    const hid_t   a = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   b = H5Dcreate2(file, "y", H5T_NATIVE_DOUBLE, line, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    H5Dwrite(a, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
    H5Dwrite(b, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, y);
    H5Lcreate_soft("x", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "x", file, "external", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Dclose(a);
    H5Dclose(b);
    H5Sclose(space);
    H5Sclose(line);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* One more data set "z" of type and creation list, never written unless `value` is given */
static void add_set(hid_t type, hid_t list, int n_dimension, const hsize_t size[], const double *value)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    const hid_t file  = H5Fopen(file_path("d.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t space = H5Screate_simple(n_dimension, size, NULL);
    hid_t       set;

    if (H5Lexists(file, "z", H5P_DEFAULT) > 0) H5Ldelete(file, "z", H5P_DEFAULT);
    set = H5Dcreate2(file, "z", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (value) H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void check_shape(int n_dimension, const hsize_t size[], int channels, int height, int width)
{
  FwDataset   data;
  FwDataSizes sizes;

  write_file(n_dimension, size, H5T_NATIVE_FLOAT);
  data = open_data("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_train 3 -data_test 1 -data_skip 1");
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.channels, channels, 0);
  assert_close(sizes.height, height, 0);
  assert_close(sizes.width, width, 0);
  assert_close(input_at(data, FW_TRAIN, 1, 3), 2 * channels * height * width + 3, 0);
  assert_close(target_at(data, FW_TEST, 0), 4, 0);
  TestCall(FwDatasetDestroy(&data));
}

static void check_channels(const char more[], int channels)
{
  FwDataset   data;
  FwDataSizes sizes;
  char        options[256];

  TestCall(PetscSNPrintf(options, sizeof options, "-data_source hdf5 -data_path %%s/d.h5 -data_train 3 -data_test 1 %s",
                         more));
  data = open_data(options);
  TestCall(FwDatasetGetSizes(data, &sizes));
  assert_close(sizes.channels, channels, 0);
  TestCall(FwDatasetDestroy(&data));
}

static void shapes_are_understood(void **state)
{
  (void)state;
  folder_create();
  check_shape(2, (const hsize_t[]){N, 12}, 1, 1, 12);
  check_shape(3, (const hsize_t[]){N, 2, 6}, 2, 1, 6);
  check_shape(4, (const hsize_t[]){N, 2, 4, 4}, 2, 4, 4);
  write_file(4, (const hsize_t[]){N, 3, 4, 4}, H5T_NATIVE_FLOAT);
  check_channels("", 1); /* colour becomes gray as it does from any source */
  check_channels("-data_gray false", 3);
  assert_digest_without_ranks(
    "-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_train 3 -data_test 1 -data_shuffle");
  folder_destroy();
}

static void a_folder_has_a_training_and_a_test_file(void **state)
{
  const hsize_t     size[] = {N, 3};
  const char *const name[] = {"train.h5", "test.h5"};
  PetscMPIInt       rank;
  FwDataset         data;

  (void)state;
  folder_create();
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int i = 0; i < 2; i++) {
    char from[160];

    write_file(2, size, H5T_NATIVE_DOUBLE);
    snprintf(from, sizeof from, "%s", file_path("d.h5"));
    if (rank == 0 && rename(from, file_path(name[i]))) MPI_Abort(PETSC_COMM_WORLD, 1);
  }
  data = open_data("-data_source hdf5 -data_path %s -data_normalise none -data_split files -data_train 4 -data_test 3");
  assert_close(input_at(data, FW_TRAIN, 3, 2), 11, 0);
  assert_close(input_at(data, FW_TEST, 2, 1), 7, 0);
  assert_close(target_at(data, FW_TEST, 2), 2, 0);
  TestCall(FwDatasetDestroy(&data));
  folder_destroy();
}

static void files_that_lead_elsewhere_are_refused(void **state)
{
  const hsize_t size[] = {N, 12};
  hid_t         list;

  (void)state;
  folder_create();
  write_file(2, size, H5T_NATIVE_DOUBLE);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs soft", FW_ERR_INPUT,
                 "'soft' is a soft or external");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs external", FW_ERR_INPUT,
                 "'external' is a soft");
  list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(list, "/etc/hostname", 0, H5F_UNLIMITED);
  add_set(H5T_NATIVE_DOUBLE, list, 2, size, NULL);
  H5Pclose(list);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z", FW_ERR_INPUT,
                 "'z' are stored in other files");
  list = H5Pcreate(H5P_DATASET_CREATE);
  {
    const hid_t space = H5Screate_simple(2, size, NULL);

    H5Pset_virtual(list, space, "other.h5", "x", space);
    H5Sclose(space);
  }
  add_set(H5T_NATIVE_DOUBLE, list, 2, size, NULL);
  H5Pclose(list);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z", FW_ERR_INPUT,
                 "'z' are stored in other files");
  folder_destroy();
}

static void declared_sizes_are_not_believed(void **state)
{
  const hsize_t size[] = {N, 12}, huge[] = {2000000000, 2000000000}, chunk[] = {1, 12}, more[] = {N + 1, 12};
  double        x[(N + 1) * 12] = {0};
  hid_t         list;

  (void)state;
  folder_create();
  write_file(2, size, H5T_NATIVE_DOUBLE);
  list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(list, 2, chunk);
  add_set(H5T_NATIVE_DOUBLE, list, 2, huge, NULL);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z", FW_ERR_INPUT,
                 "only 0 are stored");
  add_set(H5T_NATIVE_DOUBLE, list, 2, more, x);
  H5Pclose(list);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z", FW_ERR_INPUT,
                 "'y' has 5 examples");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_targets z", FW_ERR_INPUT,
                 "'z' has 6 examples");
  folder_destroy();
}

static void bad_contents_are_refused(void **state)
{
  const hsize_t size[]    = {N, 12};
  double        x[N * 12] = {0};
  hid_t         text;

  (void)state;
  folder_create();
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none", FW_ERR_FILE, "d.h5");
  write_text("d.h5", "not what it seems");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none", FW_ERR_INPUT, "not an HDF5 file");
  write_file(2, size, H5T_NATIVE_DOUBLE);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs nothing", FW_ERR_INPUT,
                 "no data set 'nothing'");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs group", FW_ERR_INPUT,
                 "'group' is not a data set");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs y", FW_ERR_INPUT,
                 "'y' has one dimension");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_size 4", FW_ERR_INPUT, "data_size");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none", FW_ERR_INPUT, "has 5 examples");
  assert_refused(
    "-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_train 3 -data_test 1 -network_outputs 4",
    FW_ERR_INPUT, "network_outputs");
  text = H5Tcopy(H5T_C_S1);
  add_set(text, H5P_DEFAULT, 2, size, NULL);
  H5Tclose(text);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z", FW_ERR_INPUT,
                 "'z' does not hold numbers");
  x[3 * 12 + 7] = NAN; /* read while the others wait for their blocks */
  add_set(H5T_NATIVE_DOUBLE, H5P_DEFAULT, 2, size, x);
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_inputs z -data_train 2 -data_test 2",
                 FW_ERR_INPUT, "input 7 of example 3");
  assert_refused("-data_source hdf5 -data_path %s/d.h5 -data_normalise none -data_targets z -data_train 2 -data_test 2",
                 FW_ERR_INPUT, "target 7 of example 3");
  folder_destroy();
}

static void real_teacher_is_read(void **state)
{
  char        options[512];
  FwDataset   data;
  const char *summary;

  (void)state;
  need_real_data(real);
  snprintf(options, sizeof options, "-data_source hdf5 -data_path %s/teachers/shared.h5 -data_train 30 -data_test 400",
           real);
  data = open_data(options);
  TestCall(FwDatasetGetSummary(data, &summary));
  assert_close(strcmp(summary, "hdf5, 1 output, 1 x 8 x 8, standard"), 0, 0);
  TestCall(FwDatasetDestroy(&data));
}

#else /* the build does not show the header of HDF5 to tests: say so */
static void needs_the_header_of_hdf5(void **state)
{
  (void)state;
  skip();
}
#endif

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
#if __has_include(<hdf5.h>)
    cmocka_unit_test(shapes_are_understood),
    cmocka_unit_test(a_folder_has_a_training_and_a_test_file),
    cmocka_unit_test(files_that_lead_elsewhere_are_refused),
    cmocka_unit_test(declared_sizes_are_not_believed),
    cmocka_unit_test(bad_contents_are_refused),
    cmocka_unit_test(real_teacher_is_read)
#else
    cmocka_unit_test(needs_the_header_of_hdf5)
#endif
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("dataset_hdf5", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
