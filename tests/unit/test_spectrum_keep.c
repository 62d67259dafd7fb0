/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A decomposition that is left and taken up again: the same bits on the same ranks, the same numbers on others.
 *
 * ranks: 1 2 3 4
 */

#include <finwidth/spectrum.h>
#include <finwidth/stop.h>
#include "../support/collective_assert.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { P = 331, P_TEST = 5 }; /* six block columns, the last one ragged */

static const char digest[] = "examples 1a2b, kernel erf";

static FwGrid grid;
static int    rank;
static char   path[64];

static double kernel(int a, int b)
{
  return exp(-0.5 * (a - b) * (a - b) / 9.0) + 0.1 * cos(a) * cos(b);
}

static FwMatrix make_matrix(FwGrid on, int n_column, int first)
{
  FwMatrix k;
  double  *copy;

  TestCall(PetscMalloc1(P * n_column, &copy));
  for (int j = 0; j < n_column; j++)
    for (int i = 0; i < P; i++) copy[i + j * P] = kernel(i, first + j);
  TestCall(FwMatrixCreateFromCopy(on, P, n_column, copy, &k));
  TestCall(PetscFree(copy));
  return k;
}

static FwSpectrumKeep keep_every(double interval)
{
  return (FwSpectrumKeep){.path = path, .digest = digest, .interval = interval};
}

/* Everything that a spectrum says at one point: twelve numbers and the means and variances of the test examples */
typedef struct {
  FwResolvent      resolvent;
  FwSpectrumBounds bounds;
  double           mean[P_TEST], within[P_TEST], between[P_TEST];
} Answers;

static Answers ask(FwGrid on, FwSpectrum s)
{
  const double order = 0.7, weight = 1.0;
  Answers      answers;
  FwPosterior  posterior = {.mean = answers.mean, .within = answers.within, .between = answers.between};
  FwMatrix     cross     = make_matrix(on, P_TEST, P);
  double       y[P], diagonal[P_TEST];

  memset(&answers, 0, sizeof answers);
  for (int i = 0; i < P; i++) y[i] = sin(i) + 0.2;
  for (int t = 0; t < P_TEST; t++) diagonal[t] = kernel(P + t, P + t);
  TestCall(FwSpectrumSetLabels(s, 1, y, 0.4));
  TestCall(FwSpectrumSetTest(s, &cross, diagonal));
  TestCall(FwSpectrumResolve(s, 0.1, 1.3, PETSC_TRUE, &answers.resolvent));
  TestCall(FwSpectrumGetBounds(s, &answers.bounds));
  TestCall(FwSpectrumPredict(s, 0.1, 1, &(FwMixture){1, &order, &weight}, &posterior));
  return answers;
}

static Answers answers_of_one_go(void)
{
  FwMatrix   k = make_matrix(grid, P, 0);
  FwSpectrum s;
  Answers    answers;

  TestCall(FwSpectrumCreate(&k, 64, &s));
  answers = ask(grid, s);
  TestCall(FwSpectrumDestroy(&s));
  return answers;
}

static void assert_same(const Answers *a, const Answers *b)
{
  assert_close(memcmp(a, b, sizeof *a), 0, 0.0);
}

static void assert_near(const Answers *a, const Answers *b)
{
  assert_close(a->resolvent.trace, b->resolvent.trace, 1e-12);
  assert_close(a->resolvent.fit, b->resolvent.fit, 1e-12);
  assert_close(a->resolvent.log_det, b->resolvent.log_det, 1e-12);
  for (int t = 0; t < P_TEST; t++) assert_close(a->mean[t], b->mean[t], 1e-11);
}

/* The file is that after the first block column: the next write has to wait for twenty times as long as the first took */
static void write_file(double interval)
{
  const FwSpectrumKeep keep = keep_every(interval);
  FwMatrix             k    = make_matrix(grid, P, 0);
  FwSpectrum           s;

  TestCall(FwSpectrumCreateKept(&k, 64, &keep, &s));
  TestCall(FwSpectrumDestroy(&s));
}

static int file_exists(void)
{
  int exists = access(path, F_OK) == 0;

  MPI_Bcast(&exists, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  return exists;
}

static void remove_file(void)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) (void)remove(path);
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void reduction_that_was_kept_has_the_same_bits_and_goes_on_from_its_file(void **state)
{
  const FwSpectrumKeep keep = keep_every(1e9);
  const Answers        once = answers_of_one_go();
  Answers              again;
  FwSpectrum           s;
  FwGrid               alone;

  (void)state;
  write_file(-1.0);
  assert_close(file_exists(), 1, 0.0);
  TestCall(FwSpectrumResume(grid, &keep, &s));
  again = ask(grid, s);
  assert_same(&again, &once);
  TestCall(FwSpectrumDestroy(&s));
  TestCall(FwGridCreate(PETSC_COMM_SELF, &alone)); /* each rank all of it */
  TestCall(FwSpectrumResume(alone, &keep, &s));
  again = ask(alone, s);
  assert_near(&again, &once);
  TestCall(FwSpectrumDestroy(&s));
  TestCall(FwGridDestroy(&alone));
  remove_file();
}

static void file_is_only_written_when_it_is_time(void **state)
{
  const FwSpectrumKeep keep = keep_every(1e9);
  FwSpectrum           s    = NULL;

  (void)state;
  write_file(1e9);
  assert_close(file_exists(), 0, 0.0);
  TestCall(FwSpectrumResume(grid, &keep, &s));
  assert_close(s == NULL, 1, 0.0);
}

static void expect_refusal(const char *text, const char *message)
{
  const FwSpectrumKeep keep = {.path = path, .digest = text, .interval = 1e9};
  FwSpectrum           s;

  FwErrorClear();
  assert_close(FwSpectrumResume(grid, &keep, &s), FW_ERR_FILE, 0.0);
  assert_close(strstr(FwErrorMessage(), message) != NULL, 1, 0.0);
  FwErrorClear();
}

/* Change a byte of the file, on rank 0; the same call again changes it back */
static void flip(long at)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) {
    FILE *file = fopen(path, "r+b");
    int   byte;

    fseek(file, at, SEEK_SET);
    byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* Head, first and last tile, T, band and checksums */
static void another_kernel_and_damage_are_refused(void **state)
{
  const long tiles = 4096, tile = 8 * 64 * 64, tail = tiles + 21 * tile;
  const long place[] = {
    3, 8, 20, 45, tiles + 9, tail - tile, tail + 17, tail + tile, tail + 2 * tile, tail + 3 * tile + 8};

  (void)state;
  write_file(-1.0);
  expect_refusal("examples 1a2b, kernel relu", "another kernel");
  for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
    flip(place[i]);
    expect_refusal(digest, path);
    flip(place[i]);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) assert_int_equal(truncate(path, tail), 0);
  MPI_Barrier(PETSC_COMM_WORLD);
  expect_refusal(digest, "ends too early");
  remove_file();
}

static void folder_that_is_not_there_costs_the_file_only(void **state)
{
  const FwSpectrumKeep keep = {.path = "/nowhere/at/all", .digest = digest, .interval = -1.0};
  const Answers        once = answers_of_one_go();
  FwMatrix             k    = make_matrix(grid, P, 0);
  FwSpectrum           s;
  Answers              answers;

  (void)state;
  TestCall(FwSpectrumCreateKept(&k, 64, &keep, &s));
  answers = ask(grid, s);
  assert_same(&answers, &once);
  if (rank == 0) assert_non_null(strstr(FwWarnings(), "/nowhere/at/all"));
  TestCall(FwSpectrumDestroy(&s));
}

/* The last test: from here on the program is asked to stop, so that every call leaves after one block column */
static void reduction_left_after_every_block_column_has_the_same_bits(void **state)
{
  const FwSpectrumKeep keep = keep_every(1e9);
  const Answers        once = answers_of_one_go();
  FwMatrix             k    = make_matrix(grid, P, 0);
  FwSpectrum           s    = NULL;
  PetscErrorCode       code;
  Answers              answers;
  int                  n_left = 0;

  (void)state;
  TestCall(FwStopSetUp());
  if (rank == 0) raise(SIGTERM); /* one rank is enough */
  for (code = FwSpectrumCreateKept(&k, 64, &keep, &s); code == FW_ERR_STOPPED && n_left < 10;
       code = FwSpectrumResume(grid, &keep, &s)) {
    n_left++;
    FwErrorClear();
  }
  assert_close(code, PETSC_SUCCESS, 0.0);
  assert_close(n_left, 5, 0.0);
  answers = ask(grid, s);
  assert_same(&answers, &once);
  TestCall(FwSpectrumDestroy(&s));
  remove_file();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reduction_that_was_kept_has_the_same_bits_and_goes_on_from_its_file),
    cmocka_unit_test(file_is_only_written_when_it_is_time),
    cmocka_unit_test(another_kernel_and_damage_are_refused),
    cmocka_unit_test(folder_that_is_not_there_costs_the_file_only),
    cmocka_unit_test(reduction_left_after_every_block_column_has_the_same_bits),
  };
  int n_failed, id = (int)getpid();

  if (FwStart(argc, argv, NULL)) return 1;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Bcast(&id, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  (void)snprintf(path, sizeof path, "test_keep_%d.part", id);
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("spectrum_keep", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
