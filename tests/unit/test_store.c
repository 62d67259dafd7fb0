/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Results survive: what is written is read back, what is damaged is refused, and what cannot be written leaves nothing.
 */

#include <finwidth/store.h>
#include "../support/collective_assert.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if __has_include(<hdf5.h>) /* the tests below that ask HDF5 itself are skipped where the build does not show it */
  #include <hdf5.h>
#endif

enum { PATH_SIZE = 4096 };

static char        folder[1024], result[PATH_SIZE];
static PetscMPIInt rank, n_rank;

/* --- support ------------------------------------------------------------------------------------------------ */

static void on_disk(const char name[], char path[PATH_SIZE])
{
  snprintf(path, PATH_SIZE, "%s/%s", folder, name);
}

static int make_folder(void **state)
{
  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &n_rank);
  strcpy(folder, "/tmp/finwidth-store-XXXXXX");
  if (rank == 0 && !mkdtemp(folder)) return 1;
  MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD);
  on_disk("result.h5", result);
  return 0;
}

static int count_files(void)
{
  char  command[PATH_SIZE + 64];
  int   n = -1;
  FILE *pipe;

  if (rank == 0) {
    snprintf(command, sizeof command, "find '%s' -type f | wc -l", folder);
    pipe = popen(command, "r");
    if (!pipe || fscanf(pipe, "%d", &n) != 1) n = -1;
    if (pipe) pclose(pipe);
  }
  MPI_Bcast(&n, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  return n;
}

static int empty_folder(void **state)
{
  char command[PATH_SIZE];

  (void)state;
  snprintf(command, sizeof command, "find '%s' -mindepth 1 -delete", folder);
  FwErrorClear();
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0 && system(command)) return 1;
  MPI_Barrier(PETSC_COMM_WORLD);
  return 0;
}

static int remove_folder(void **state)
{
  (void)state;
  if (rank == 0) rmdir(folder);
  return 0;
}

static void assert_refused(PetscErrorCode code, PetscErrorCode expected, const char text[])
{
  assert_close(code, expected, 0.0);
  if (!strstr(FwErrorMessage(), text)) print_error("message '%s' lacks '%s'\n", FwErrorMessage(), text);
  assert_close(strstr(FwErrorMessage(), text) != NULL, 1, 0.0);
  FwErrorClear();
}

/* The bytes of a file; on rank 0 */
static unsigned char *slurp(const char path[], size_t *n)
{
  FILE          *file = fopen(path, "rb");
  unsigned char *byte;

  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *n = (size_t)ftell(file);
  rewind(file);
  byte = malloc(*n);
  if (fread(byte, 1, *n, file) != *n) *n = 0;
  fclose(file);
  return byte;
}

static void spill(const char path[], const void *byte, size_t n)
{
  FILE *file = fopen(path, "wb");

  if (fwrite(byte, 1, n, file) != n) abort();
  fclose(file);
}

static const double     values[] = {1.5, NAN, -3e300, 0.1, INFINITY, 5e-324};
static const PetscInt64 counts[] = {1, -2, 9007199254740993};
static const char      *words[]  = {"erf", "", "naïve ∞"};
static const double     widths[] = {10.0, 20.0};

static void fill(FwStore store)
{
  const FwShape scalar =
                  {
                    0
  },
                axis = {1, {"width"}, {2}}, matrix = {2, {"width", "layer"}, {2, 3}};
  const FwShape layers = {1, {"layer"}, {3}};
  const double  error  = 0.25;

  TestCall(FwStoreReals(store, "/predict/width", &axis, widths, "1", "width"));
  TestCall(FwStoreReals(store, "/predict/values", &matrix, values, "label^2", "some values"));
  TestCall(FwStoreIntegers(store, "/predict/counts", &layers, counts, "1", "some counts"));
  TestCall(FwStoreTexts(store, "/predict/words", &layers, words, "1", "some words"));
  TestCall(FwStoreReals(store, "/predict/test_error", &scalar, &error, "label^2", "test error"));
}

static void write_result(MPI_Comm comm, const char path[], PetscBool overwrite)
{
  FwStore store;

  TestCall(FwStoreCreate(comm, path, overwrite, &store));
  fill(store);
  TestCall(FwStoreCommit(&store));
}

/* --- values ------------------------------------------------------------------------------------------------- */

static void reals_come_back_bit_by_bit(void **state)
{
  FwStore    store;
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n;
  double    *data;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwStoreGetReals(store, "/predict/values", &n_dim, size, &n, &data));
  assert_close(n_dim, 2, 0.0);
  assert_close(size[0], 2, 0.0);
  assert_close(size[1], 3, 0.0);
  assert_close(n, 6, 0.0);
  assert_close(memcmp(data, values, sizeof values), 0, 0.0);
  TestCall(PetscFree(data));
  TestCall(FwStoreGetReals(store, "/predict/test_error", &n_dim, NULL, &n, &data));
  assert_close(n_dim, 0, 0.0);
  assert_close(n, 1, 0.0);
  assert_close(data[0], 0.25, 0.0);
  TestCall(PetscFree(data));
  TestCall(FwStoreDestroy(&store));
}

static void integers_are_read_as_reals(void **state)
{
  FwStore    store;
  PetscInt64 n;
  double    *data;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwStoreGetReals(store, "/predict/counts", NULL, NULL, &n, &data));
  assert_close(n, 3, 0.0);
  assert_close(data[1], -2.0, 0.0);
  TestCall(PetscFree(data));
  TestCall(FwStoreGetReals(store, "/predict/layer", NULL, NULL, &n, &data)); /* the scale made by itself */
  assert_close(data[2], 2.0, 0.0);
  TestCall(PetscFree(data));
  TestCall(FwStoreDestroy(&store));
}

static void missing_and_wrong_arrays_are_named(void **state)
{
  FwStore    store;
  PetscInt64 n;
  double    *data;
  PetscBool  has;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  assert_refused(FwStoreGetReals(store, "/predict/nothing", NULL, NULL, &n, &data), FW_ERR_FILE, "/predict/nothing");
  assert_refused(FwStoreGetReals(store, "/sample/nothing", NULL, NULL, &n, &data), FW_ERR_FILE, "/sample/nothing");
  assert_refused(FwStoreGetReals(store, "/predict/words", NULL, NULL, &n, &data), FW_ERR_FILE, "holds text");
  assert_refused(FwStoreGetReals(store, "/predict", NULL, NULL, &n, &data), FW_ERR_FILE, result);
  TestCall(FwStoreHas(store, "/predict", &has));
  assert_close(has, 1, 0.0);
  TestCall(FwStoreHas(store, "/predict/values", &has));
  assert_close(has, 1, 0.0);
  TestCall(FwStoreHas(store, "/sample/values", &has));
  assert_close(has, 0, 0.0);
  TestCall(FwStoreDestroy(&store));
}

static void texts_come_back_in_one_piece(void **state)
{
  FwStore     store;
  FwStoreType type;
  PetscInt64  n;
  char      **text;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwStoreGetTexts(store, "/predict/words", &n, &text));
  assert_close(n, 3, 0.0);
  for (int i = 0; i < 3; i++) assert_close(strcmp(text[i], words[i]), 0, 0.0);
  TestCall(PetscFree(text));
  TestCall(FwStoreGetType(store, "/predict/words", &type));
  assert_close(type, FW_STORE_TEXT, 0.0);
  TestCall(FwStoreGetType(store, "/predict/counts", &type));
  assert_close(type, FW_STORE_INTEGER, 0.0);
  assert_refused(FwStoreGetTexts(store, "/predict/values", &n, &text), FW_ERR_FILE, "holds numbers");
  assert_refused(FwStoreGetTexts(store, "/predict/nothing", &n, &text), FW_ERR_FILE, "/predict/nothing");
  assert_refused(FwStoreGetType(store, "/predict/nothing", &type), FW_ERR_FILE, "/predict/nothing");
  TestCall(FwStoreDestroy(&store));
}

static void axes_have_the_names_of_their_scales(void **state)
{
  FwStore  store;
  PetscInt n_dim;
  char     axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE];

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwStoreGetAxes(store, "/predict/values", &n_dim, axis));
  assert_close(n_dim, 2, 0.0);
  assert_close(strcmp(axis[0], "width"), 0, 0.0);
  assert_close(strcmp(axis[1], "layer"), 0, 0.0);
  TestCall(FwStoreGetAxes(store, "/predict/width", &n_dim, axis)); /* a scale itself */
  assert_close(n_dim, 1, 0.0);
  assert_close(strcmp(axis[0], "width"), 0, 0.0);
  TestCall(FwStoreGetAxes(store, "/predict/test_error", &n_dim, axis));
  assert_close(n_dim, 0, 0.0);
  assert_refused(FwStoreGetAxes(store, "/predict/nothing", &n_dim, axis), FW_ERR_FILE, "/predict/nothing");
  TestCall(FwStoreDestroy(&store));
}

static void axis_with_a_name_too_long_is_refused(void **state)
{
  char          name[FW_STORE_NAME_SIZE + 1];
  const FwShape shape = {1, {name}, {2}};
  FwStore       store;
  PetscInt      n_dim;
  char          axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE];

  (void)state;
  memset(name, 'a', FW_STORE_NAME_SIZE);
  name[FW_STORE_NAME_SIZE] = '\0';
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  TestCall(FwStoreReals(store, "/x", &shape, widths, "1", "x"));
  TestCall(FwStoreCommit(&store));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  assert_refused(FwStoreGetAxes(store, "/x", &n_dim, axis), FW_ERR_FILE, "no readable name");
  TestCall(FwStoreDestroy(&store));
}

static void provenance_can_be_read(void **state)
{
  static const char *const names[] = {"schema",  "program_version", "commit",   "command_line", "libraries",
                                      "created", "citation",        "warnings", "data_digest"};
  FwStore                  store;
  char                    *text, *report, *longest;

  (void)state;
  TestCall(PetscMalloc1(100001, &longest)); /* beyond the 64 KiB of an object header */
  memset(longest, 'x', 100000);
  longest[100000] = '\0';
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  TestCall(FwStoreProvenance(store, "width: 7\n", "0123", "partial"));
  TestCall(FwStoreSetText(store, "/", "status", "complete"));
  TestCall(FwStoreSetText(store, "/", "long", longest));
  TestCall(FwStoreCommit(&store));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names); i++) {
    TestCall(FwStoreGetText(store, "/", names[i], &text));
    TestCall(PetscFree(text));
  }
  TestCall(FwStoreGetText(store, "/", "input", &text));
  assert_close(strcmp(text, "width: 7\n"), 0, 0.0);
  TestCall(PetscFree(text));
  TestCall(FwStoreGetText(store, "/", "long", &text));
  assert_close(strcmp(text, longest), 0, 0.0);
  TestCall(PetscFree(text));
  assert_refused(FwStoreGetText(store, "/", "nothing", &text), FW_ERR_FILE, "nothing");
  TestCall(FwStoreDestroy(&store));
  TestCall(FwStoreVerify(PETSC_COMM_WORLD, result, &report));
  assert_close(strcmp(report, "complete, 0 arrays, schema 1"), 0, 0.0);
  TestCall(PetscFree(report));
  TestCall(PetscFree(longest));
}

#ifdef H5_VERS_MAJOR
/* Through HDF5 itself, as h5py and xarray would see it */
static void every_axis_has_its_scale_and_every_array_its_checksum(void **state)
{
  char  class_name[64] = "";
  int   n_filter = -1, has_list = 0;
  hid_t file, set, list, attribute, type;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  if (rank == 0) {
    file = H5Fopen(result, H5F_ACC_RDONLY, H5P_DEFAULT);
    set  = H5Dopen2(file, "/predict/values", H5P_DEFAULT);
    list = H5Dget_create_plist(set);
    if (H5Pget_filter_by_id2(list, H5Z_FILTER_FLETCHER32, &(unsigned){0}, &(size_t){0}, NULL, 0, NULL, NULL) >= 0)
      n_filter = H5Pget_nfilters(list);
    has_list = H5Aexists(set, "DIMENSION_LIST") > 0 && H5Aexists(set, "units") > 0 && H5Aexists(set, "long_name") > 0;
    H5Pclose(list);
    H5Dclose(set);
    set       = H5Dopen2(file, "/predict/layer", H5P_DEFAULT);
    attribute = H5Aopen(set, "CLASS", H5P_DEFAULT);
    type      = H5Aget_type(attribute);
    H5Aread(attribute, type, class_name);
    H5Tclose(type);
    H5Aclose(attribute);
    H5Dclose(set);
    H5Fclose(file);
  }
  assert_close(rank ? 1 : n_filter, 1, 0.0);
  assert_close(rank ? 1 : has_list, 1, 0.0);
  assert_close(rank ? 0 : strcmp(class_name, "DIMENSION_SCALE"), 0, 0.0);
}
#else
static void every_axis_has_its_scale_and_every_array_its_checksum(void **state)
{
  (void)state;
  skip();
}
#endif

static void large_arrays_are_cut_into_chunks(void **state)
{
  enum { ROWS = 3, COLUMNS = 200000 };
  const FwShape shape = {
    2, {"row", "column"},
     {ROWS,  COLUMNS }
  };
  FwStore    store;
  PetscInt64 n;
  double    *data, *back;

  (void)state;
  TestCall(PetscMalloc1(ROWS * COLUMNS, &data));
  for (int i = 0; i < ROWS * COLUMNS; i++) data[i] = i * 0.5;
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  TestCall(FwStoreReals(store, "/x", &shape, data, "1", "x"));
  TestCall(FwStoreReals(store, "/empty", &(FwShape){1, {"nothing"}, {0}}, data, "1", "no values"));
  TestCall(FwStoreCommit(&store));
  TestCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  TestCall(FwStoreGetReals(store, "/x", NULL, NULL, &n, &back));
  assert_close(n, ROWS * COLUMNS, 0.0);
  assert_close(memcmp(data, back, (size_t)n * sizeof *data), 0, 0.0);
  TestCall(PetscFree(back));
  TestCall(FwStoreGetReals(store, "/empty", NULL, NULL, &n, &back));
  assert_close(n, 0, 0.0);
  TestCall(PetscFree(back));
  TestCall(FwStoreDestroy(&store));
  TestCall(PetscFree(data));
}

static void same_values_give_same_bytes_on_any_number_of_ranks(void **state)
{
  char           alone[PATH_SIZE];
  int            is_same = 1;
  unsigned char *byte[2];
  size_t         n[2];

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  on_disk("alone.h5", alone);
  if (rank == 0) {
    mallopt(M_PERTURB, 0x5a); /* memory that nobody has set differs between the two */
    write_result(PETSC_COMM_SELF, alone, PETSC_FALSE);
    byte[0] = slurp(result, &n[0]);
    byte[1] = slurp(alone, &n[1]);
    is_same = n[0] == n[1] && !memcmp(byte[0], byte[1], n[0]);
    free(byte[0]);
    free(byte[1]);
  }
  assert_close(is_same, 1, 0.0);
}

/* --- what exists, and who holds it -------------------------------------------------------------------------- */

static void existing_result_is_replaced_only_on_request(void **state)
{
  FwStore store;

  (void)state;
  TestCall(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE));
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE), FW_ERR_EXISTS, "overwrite");
  assert_refused(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store), FW_ERR_EXISTS, result);
  assert_close(store == NULL, 1, 0.0);
  write_result(PETSC_COMM_WORLD, result, PETSC_TRUE);
  assert_close(count_files(), 1, 0.0);
}

static void missing_folder_is_refused(void **state)
{
  char path[PATH_SIZE];

  (void)state;
  on_disk("nowhere/result.h5", path);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, path, PETSC_FALSE), FW_ERR_FILE, "there is no folder");
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, folder, PETSC_TRUE), FW_ERR_FILE, "is not a file");
}

static void names_that_others_use_are_refused(void **state)
{
  char path[PATH_SIZE];

  (void)state;
  on_disk("result.h5.chk.h5", path); /* a run on result.h5 would remove it */
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, path, PETSC_TRUE), FW_ERR_FILE, "'.chk' is for checkpoints");
  on_disk("my.chkpoints.chk", path);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, path, PETSC_TRUE), FW_ERR_FILE, "'.chk' is for checkpoints");
  on_disk("my.chkpoints.h5", path);
  TestCall(FwStoreCheckOutput(PETSC_COMM_WORLD, path, PETSC_FALSE));
  on_disk("stdout", path);
  if (!rank) (void)!symlink("/proc/self/fd/1", path); /* as /dev/stdout, which rename() would replace */
  TestCall((PetscErrorCode)MPI_Barrier(PETSC_COMM_WORLD));
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, path, PETSC_TRUE), FW_ERR_FILE, "is not a file");
}

static void second_writer_is_refused_until_first_is_done(void **state)
{
  FwStore store, other;

  (void)state;
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  fill(store);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_TRUE), FW_ERR_EXISTS, "result.h5.lock");
  assert_refused(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &other), FW_ERR_EXISTS, "another run");
  TestCall(FwStoreCommit(&store));
  assert_close(count_files(), 1, 0.0); /* the lock is gone, and its holder was not robbed */
}

static void write_lock(const char host[], long pid)
{
  char  path[PATH_SIZE];
  FILE *file;

  on_disk("result.h5.lock", path);
  if (rank == 0) {
    file = fopen(path, "w");
    fprintf(file, "host %s\npid %ld\ntime 2020-01-01T00:00:00Z\n", host, pid);
    fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void lock_of_dead_process_is_taken_over(void **state)
{
  char host[256] = "";
  long dead      = 0;

  (void)state;
  gethostname(host, sizeof host - 1);
  if (rank == 0) {
    const pid_t child = fork();

    if (!child) _exit(0);
    waitpid(child, NULL, 0);
    dead = (long)child;
  }
  write_lock(host, dead);
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  assert_close(count_files(), 1, 0.0);
}

static void lock_of_other_host_is_respected(void **state)
{
  (void)state;
  write_lock("elsewhere.example", 4711);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE), FW_ERR_EXISTS, "elsewhere.example");
  write_lock("elsewhere.example", 4711);
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE), FW_ERR_EXISTS, "4711");
}

/* Slurm's environment, and a lock that another run of job 77 has left on another node */
static void set_restarts(const char *job, const char *restarts)
{
  FILE *file;
  char  path[PATH_SIZE];

  setenv("SLURM_JOB_ID", job, 1);
  setenv("SLURM_CLUSTER_NAME", "alpha", 1);
  setenv("SLURM_RESTART_COUNT", restarts, 1);
  write_lock("elsewhere.example", 4711);
  on_disk("result.h5.lock", path);
  if (rank == 0) {
    file = fopen(path, "a");
    fprintf(file, "start 5\njob 77@alpha\nrestart 1\n");
    fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void lock_of_an_earlier_run_of_this_job_is_taken_over(void **state)
{
  (void)state;
  set_restarts("77", "1"); /* this run itself may hold it, on another node */
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE), FW_ERR_EXISTS, "elsewhere.example");
  set_restarts("78", "2");
  assert_refused(FwStoreCheckOutput(PETSC_COMM_WORLD, result, PETSC_FALSE), FW_ERR_EXISTS, "elsewhere.example");
  set_restarts("77", "2");
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  assert_close(count_files(), 1, 0.0);
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_CLUSTER_NAME");
  unsetenv("SLURM_RESTART_COUNT");
}

static void dropped_store_leaves_nothing(void **state)
{
  FwStore store;

  (void)state;
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  fill(store);
  assert_close(count_files(), 1, 0.0); /* its lock */
  TestCall(FwStoreDestroy(&store));
  assert_close(count_files(), 0, 0.0);
  TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_FALSE, &store));
  FwStoreAbandonAll();
  assert_close(count_files(), 0, 0.0);
  TestCall(FwStoreDestroy(&store));
}

static void umask_decides_who_may_read(void **state)
{
  struct stat status = {.st_mode = 0640};
  mode_t      before = umask(0027);

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  umask(before);
  if (rank == 0) stat(result, &status);
  assert_close(status.st_mode & 0777, 0640, 0.0);
}

/* --- disk and damage ---------------------------------------------------------------------------------------- */

/* Every limit from almost nothing to almost enough; the previous result stays as it was */
static void full_disk_is_an_error_and_leaves_previous_result(void **state)
{
  struct rlimit  before, limit;
  FwStore        store;
  size_t         n = 0;
  long           size;
  char          *report;
  PetscErrorCode code;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  if (rank == 0) free(slurp(result, &n));
  size = (long)n;
  MPI_Bcast(&size, 1, MPI_LONG, 0, PETSC_COMM_WORLD);
  getrlimit(RLIMIT_FSIZE, &before);
  for (long room = 512; room < size; room += size / 13) {
    TestCall(FwStoreCreate(PETSC_COMM_WORLD, result, PETSC_TRUE, &store));
    fill(store);
    limit = (struct rlimit){.rlim_cur = rank ? before.rlim_cur : (rlim_t)room, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    code = FwStoreCommit(&store);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_refused(code, FW_ERR_FILE, "File too large");
    assert_close(count_files(), 1, 0.0);
  }
  TestCall(FwStoreVerify(PETSC_COMM_WORLD, result, &report));
  TestCall(PetscFree(report));
}

/* Bits spread over the whole file, all eight positions in turn */
static void every_flipped_bit_is_found(void **state)
{
  enum { N_FLIP = 2000 };
  int            n_missed = 0;
  unsigned char *byte;
  size_t         n;
  char          *report;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  if (rank == 0) {
    byte = slurp(result, &n);
    for (size_t i = 0; i < N_FLIP; i++) {
      const size_t position = i * (n - 1) / (N_FLIP - 1);

      byte[position] ^= (unsigned char)(1u << (i % 8));
      spill(result, byte, n);
      byte[position] ^= (unsigned char)(1u << (i % 8));
      if (FwStoreVerify(PETSC_COMM_SELF, result, &report)) continue;
      n_missed++;
      TestCall(PetscFree(report));
    }
    spill(result, byte, n);
    free(byte);
  }
  assert_close(n_missed, 0, 0.0);
  FwErrorClear();
  TestCall(FwStoreVerify(PETSC_COMM_WORLD, result, &report)); /* undamaged, it passes: the flips were the reason */
  assert_close(strcmp(report, "no status, 6 arrays, schema 1"), 0, 0.0);
  TestCall(PetscFree(report));
}

static void truncated_file_is_refused(void **state)
{
  unsigned char *byte;
  size_t         n;
  int            n_missed = 0;
  FwStore        store;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  if (rank == 0) {
    byte = slurp(result, &n);
    for (size_t left = 0; left < n; left += 97) {
      spill(result, byte, left);
      if (!FwStoreOpen(PETSC_COMM_SELF, result, &store)) {
        n_missed++;
        TestCall(FwStoreDestroy(&store));
      }
    }
    spill(result, byte, n - 1);
    free(byte);
  }
  assert_close(n_missed, 0, 0.0);
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(FwStoreOpen(PETSC_COMM_WORLD, result, &store), FW_ERR_FILE, "cut off");
}

static void foreign_files_are_refused(void **state)
{
  FwStore store;
  char   *report;

  (void)state;
  assert_refused(FwStoreOpen(PETSC_COMM_WORLD, result, &store), FW_ERR_FILE, "No such file");
  if (rank == 0) spill(result, "temperature,error\n0.1,0.2\n", 26);
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(FwStoreOpen(PETSC_COMM_WORLD, result, &store), FW_ERR_FILE, "not an HDF5 file");
  assert_refused(FwStoreVerify(PETSC_COMM_WORLD, folder, &report), FW_ERR_FILE, "is not a file");
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) spill(result, "\x89HDF\r\n\x1a\n and then the bytes of somebody else's data", 50);
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(FwStoreVerify(PETSC_COMM_WORLD, result, &report), FW_ERR_FILE, result);
}

/* A program that edits a result in place cuts the file where HDF5 sees its end, before our trailer */
static void edited_file_is_refused(void **state)
{
  enum { TRAILER = 32 };
  unsigned char *byte;
  size_t         n;
  char          *report;

  (void)state;
  write_result(PETSC_COMM_WORLD, result, PETSC_FALSE);
  if (rank == 0) {
    byte = slurp(result, &n);
    spill(result, byte, n - TRAILER);
    free(byte);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(FwStoreVerify(PETSC_COMM_WORLD, result, &report), FW_ERR_FILE, "changed after finwidth wrote it");
}

int main(int argc, char **argv)
{
#define each(test) cmocka_unit_test_teardown(test, empty_folder)
  const struct CMUnitTest tests[] = {
    each(reals_come_back_bit_by_bit),
    each(integers_are_read_as_reals),
    each(missing_and_wrong_arrays_are_named),
    each(texts_come_back_in_one_piece),
    each(axes_have_the_names_of_their_scales),
    each(axis_with_a_name_too_long_is_refused),
    each(provenance_can_be_read),
    each(every_axis_has_its_scale_and_every_array_its_checksum),
    each(large_arrays_are_cut_into_chunks),
    each(same_values_give_same_bytes_on_any_number_of_ranks),
    each(existing_result_is_replaced_only_on_request),
    each(missing_folder_is_refused),
    each(names_that_others_use_are_refused),
    each(second_writer_is_refused_until_first_is_done),
    each(lock_of_dead_process_is_taken_over),
    each(lock_of_other_host_is_respected),
    each(lock_of_an_earlier_run_of_this_job_is_taken_over),
    each(dropped_store_leaves_nothing),
    each(umask_decides_who_may_read),
    each(full_disk_is_an_error_and_leaves_previous_result),
    each(every_flipped_bit_is_found),
    each(truncated_file_is_refused),
    each(foreign_files_are_refused),
    each(edited_file_is_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  n_failed = cmocka_run_group_tests_name("store", tests, make_folder, remove_folder);
  return n_failed ? 1 : FwFinish(0);
}
