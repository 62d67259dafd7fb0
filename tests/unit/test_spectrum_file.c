/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A spectrum through a file: the same numbers on any number of ranks, and nothing but an error from a damaged one.
 *
 * ranks: 1 2 3
 */

#include <finwidth/spectrum.h>
#include "../support/collective_assert.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { P = 150, P_TEST = 7 };

static const PetscInt bandwidths[] = {0, 1, 64};
static const char     digest[]     = "examples 1a2b, kernel erf";

static FwGrid grid;
static int    rank;
static char   path[64];

static double kernel(int a, int b)
{
  return exp(-0.5 * (a - b) * (a - b) / 9.0) + 0.1 * cos(a) * cos(b);
}

static FwSpectrum make_spectrum(PetscInt bandwidth, int n_test)
{
  FwMatrix   k, cross;
  FwSpectrum spectrum;
  double    *copy, y[P], diagonal[P_TEST];

  TestCall(PetscMalloc1(P * P, &copy));
  for (int j = 0; j < P; j++)
    for (int i = 0; i < P; i++) copy[i + j * P] = kernel(i, j);
  TestCall(FwMatrixCreateFromCopy(grid, P, P, copy, &k));
  for (int t = 0; t < P_TEST; t++) {
    for (int i = 0; i < P; i++) copy[i + t * P] = kernel(i, P + 3 * t);
    diagonal[t] = kernel(P + 3 * t, P + 3 * t);
  }
  TestCall(FwMatrixCreateFromCopy(grid, P, n_test, copy, &cross));
  for (int i = 0; i < P; i++) y[i] = sin(i) + 0.2;
  TestCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
  TestCall(FwSpectrumSetLabels(spectrum, 1, y, 0.4));
  TestCall(FwSpectrumSetTest(spectrum, &cross, diagonal));
  TestCall(FwSpectrumScaleLabels(spectrum, 1.5, 0.4));
  TestCall(PetscFree(copy));
  return spectrum;
}

static void compare(FwSpectrum spectrum, FwSpectrum loaded)
{
  const double     order[2] = {0.6, 1.9}, weight[2] = {0.3, 0.7};
  double           value[2][3][P_TEST] = {{{0}}};
  FwResolvent      r[2];
  FwSpectrumBounds bounds[2];

  for (int c = 0; c < 2; c++) {
    FwSpectrum  s         = c ? loaded : spectrum;
    FwPosterior posterior = {.mean = value[c][0], .within = value[c][1], .between = value[c][2]};

    TestCall(FwSpectrumResolve(s, 0.1, 1.3, PETSC_TRUE, &r[c]));
    TestCall(FwSpectrumGetBounds(s, &bounds[c]));
    TestCall(FwSpectrumPredict(s, 0.1, 1, &(FwMixture){2, order, weight}, &posterior));
  }
  assert_close(memcmp(&r[0], &r[1], sizeof r[0]), 0, 0.0);
  assert_close(bounds[1].n, bounds[0].n, 0.0);
  assert_close(bounds[1].rank, bounds[0].rank, 0.0);
  assert_close(bounds[1].trace, bounds[0].trace, 0.0);
  assert_close(bounds[1].label2, bounds[0].label2, 0.0);
  assert_close(isinf(bounds[1].inverse) ? 0.0 : bounds[1].inverse, isinf(bounds[0].inverse) ? 0.0 : bounds[0].inverse,
               0.0);
  for (int i = 0; i < 3; i++)
    for (int t = 0; t < P_TEST; t++) assert_close(value[1][i][t], value[0][i][t], 1e-13);
}

static void saved_and_loaded_spectrum_is_the_same_on_other_ranks(void **state)
{
  (void)state;
  for (int b = 0; b < 3; b++) {
    FwSpectrum spectrum = make_spectrum(bandwidths[b], P_TEST), loaded;
    FwGrid     alone;
    PetscInt   bandwidth;

    TestCall(FwSpectrumSave(spectrum, path, digest));
    TestCall(FwSpectrumLoad(grid, path, digest, &loaded));
    TestCall(FwSpectrumGetBandwidth(loaded, &bandwidth));
    assert_close(bandwidth, bandwidths[b], 0.0);
    compare(spectrum, loaded);
    TestCall(FwSpectrumDestroy(&loaded));
    TestCall(FwGridCreate(PETSC_COMM_SELF, &alone)); /* each rank all of it */
    TestCall(FwSpectrumLoad(alone, path, digest, &loaded));
    compare(spectrum, loaded);
    TestCall(FwSpectrumDestroy(&loaded));
    TestCall(FwGridDestroy(&alone));
    TestCall(FwSpectrumDestroy(&spectrum));
  }
}

static void spectrum_without_test_examples_is_saved(void **state)
{
  FwSpectrum  spectrum = make_spectrum(64, 0), loaded;
  FwResolvent r[2];

  (void)state;
  TestCall(FwSpectrumSave(spectrum, path, digest));
  TestCall(FwSpectrumLoad(grid, path, digest, &loaded));
  TestCall(FwSpectrumResolve(spectrum, 0.1, 1.3, PETSC_TRUE, &r[0]));
  TestCall(FwSpectrumResolve(loaded, 0.1, 1.3, PETSC_TRUE, &r[1]));
  assert_close(memcmp(&r[0], &r[1], sizeof r[0]), 0, 0.0);
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwSpectrumDestroy(&loaded));
}

static void expect_refusal(const char *file, const char *text, const char *message)
{
  FwSpectrum loaded;

  FwErrorClear();
  assert_close(FwSpectrumLoad(grid, file, text, &loaded), FW_ERR_FILE, 0.0);
  assert_close(strstr(FwErrorMessage(), message) != NULL, 1, 0.0);
  assert_close(loaded == NULL, 1, 0.0);
  FwErrorClear();
}

static void another_digest_is_refused(void **state)
{
  FwSpectrum spectrum = make_spectrum(1, P_TEST);

  (void)state;
  TestCall(FwSpectrumSave(spectrum, path, digest));
  TestCall(FwSpectrumDestroy(&spectrum));
  expect_refusal(path, "examples 1a2b, kernel relu", "another kernel");
}

static void what_another_run_writes_meanwhile_is_let_alone(void **state)
{
  FwSpectrum  spectrum = make_spectrum(1, P_TEST);
  char        other[300];
  struct stat status;

  (void)state;
  snprintf(other, sizeof other, "%s.tmp", path);
  if (!rank) (void)!mkdir(other, 0700);
  TestCall(FwSpectrumSave(spectrum, path, digest));
  assert_close(stat(other, &status), 0, 0.0);
  TestCall((PetscErrorCode)MPI_Barrier(PETSC_COMM_WORLD));
  if (!rank) (void)rmdir(other);
  TestCall(FwSpectrumDestroy(&spectrum));
}

static void missing_file_and_folder_are_refused(void **state)
{
  FwSpectrum spectrum = make_spectrum(1, P_TEST);

  (void)state;
  expect_refusal("/nowhere/at/all.h5", digest, "/nowhere/at/all.h5");
  assert_close(FwSpectrumSave(spectrum, "/nowhere/at/all.h5", digest), FW_ERR_FILE, 0.0);
  FwErrorClear();
  TestCall(FwSpectrumDestroy(&spectrum));
}

/* Change a byte of the file, on rank 0; the same call again changes it back */
static void flip(long at)
{
  FILE *file;
  int   byte;

  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) {
    file = fopen(path, "r+b");
    fseek(file, at, SEEK_SET);
    byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static long file_length(void)
{
  FILE *file = fopen(path, "rb");
  long  length;

  fseek(file, 0, SEEK_END);
  length = ftell(file);
  fclose(file);
  return length;
}

static void every_damaged_byte_is_noticed(void **state)
{
  FwSpectrum spectrum = make_spectrum(1, P_TEST), loaded;
  long       length;

  (void)state;
  TestCall(FwSpectrumSave(spectrum, path, digest));
  length = file_length();
  for (long at = 0; at < length; at += 149) {
    flip(at);
    expect_refusal(path, digest, path);
    flip(at);
  }
  TestCall(FwSpectrumLoad(grid, path, digest, &loaded));
  compare(spectrum, loaded);
  TestCall(FwSpectrumDestroy(&spectrum));
  TestCall(FwSpectrumDestroy(&loaded));
}

static void truncated_file_is_refused(void **state)
{
  FwSpectrum spectrum = make_spectrum(64, P_TEST);
  long       length;

  (void)state;
  TestCall(FwSpectrumSave(spectrum, path, digest));
  TestCall(FwSpectrumDestroy(&spectrum));
  length = file_length();
  MPI_Barrier(PETSC_COMM_WORLD);
  for (int i = 1; i >= 0; i--) {
    if (rank == 0) assert_int_equal(truncate(path, i * (length / 2)), 0);
    MPI_Barrier(PETSC_COMM_WORLD);
    expect_refusal(path, digest, path);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(saved_and_loaded_spectrum_is_the_same_on_other_ranks),
    cmocka_unit_test(spectrum_without_test_examples_is_saved),
    cmocka_unit_test(another_digest_is_refused),
    cmocka_unit_test(what_another_run_writes_meanwhile_is_let_alone),
    cmocka_unit_test(missing_file_and_folder_are_refused),
    cmocka_unit_test(every_damaged_byte_is_noticed),
    cmocka_unit_test(truncated_file_is_refused),
  };
  int n_failed, id = (int)getpid();

  if (FwStart(argc, argv, NULL)) return 1;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Bcast(&id, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  (void)snprintf(path, sizeof path, "test_spectrum_%d.h5", id);
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("spectrum_file", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  if (rank == 0) (void)remove(path);
  return FwFinish(0) || n_failed;
}
