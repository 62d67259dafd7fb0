/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Points of a group that was never finished: what FwScanKeep() wrote is there in the next run, and only the rest is computed.
 *
 * ranks: 1 3
 */

#include <finwidth/scan.h>
#include "../support/collective_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_TEMPERATURE = 4, N_SEED = 3, N_POINT = N_TEMPERATURE * N_SEED, ALL = N_POINT };

static char folder[64], path[128];

/* A group breaks off, as if killed, after `limit` points */
typedef struct {
  PetscInt limit, n_computed, most_ranks, least_ranks;
} Count;

static PetscErrorCode run_group(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                                void *context)
{
  Count      *count = context;
  PetscMPIInt rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  count->most_ranks  = PetscMax(count->most_ranks, size);
  count->least_ranks = PetscMin(count->least_ranks, size);
  for (PetscInt i = 0; i < n; i++) {
    PetscCheck(i < count->limit, comm, FW_ERR_NUMERICAL, "broken off");
    PetscCall(FwRecordReal(record[i], "value", 10.0 + (double)point[i], "1", "its number"));
    count->n_computed += rank == 0;
    PetscCall(FwScanKeep(scan, comm, i + 1, point, record));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number of points that were computed by all ranks; -1 where the scan broke off. Each record is checked, and that groups
   have equally many ranks, so that their bits do not depend on whose turn it was. */
static PetscInt run_scan(PetscBool resume, PetscInt limit)
{
  static const char *const shared[] = {"temperature", NULL};
  FwScanPlan               plan     = {.shared = shared, .checkpoint = path, .tag = "input-1", .resume = resume};
  Count                    count    = {.limit = limit, .least_ranks = 1000};
  FwScan                   scan;
  FwRecord                 all;
  PetscErrorCode           code;
  PetscInt                 n_point;

  TestCall(FwScanCreate(&scan));
  code = FwScanRun(scan, &plan, run_group, &count, &all);
  FwErrorClear();
  TestCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point && !code && all; p++) assert_true(FwRecordAt(all, "value", p) == 10.0 + (double)p);
  if (!code) TestCall(FwRecordDestroy(&all));
  TestCall(FwScanDestroy(&scan));
  MPI_Allreduce(MPI_IN_PLACE, &count.most_ranks, 1, MPIU_INT, MPI_MAX, PETSC_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, &count.least_ranks, 1, MPIU_INT, MPI_MIN, PETSC_COMM_WORLD);
  assert_close(count.least_ranks, count.most_ranks, 0);
  MPI_Allreduce(MPI_IN_PLACE, &count.n_computed, 1, MPIU_INT, MPI_SUM, PETSC_COMM_WORLD);
  return code ? -1 : count.n_computed;
}

/* Files of groups, of the twelve that there could be */
static int count_parts(void)
{
  int n = 0;

  MPI_Barrier(PETSC_COMM_WORLD);
  for (int p = 0; p < N_POINT; p++) {
    char name[160];

    snprintf(name, sizeof name, "%s.group.%d", path, p);
    n += access(name, F_OK) == 0;
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  return n;
}

static int n_group_at_once(void)
{
  PetscMPIInt size;

  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  return size;
}

static void only_the_rest_of_an_unfinished_group_is_computed(void **state)
{
  (void)state;
  assert_close(run_scan(PETSC_FALSE, 3), -1, 0); /* the groups at work break off after three of their four points */
  assert_close(count_parts(), n_group_at_once(), 0);
  assert_close(run_scan(PETSC_TRUE, ALL), N_POINT - 3 * n_group_at_once(), 0);
}

static void a_group_may_break_off_again_and_again(void **state)
{
  (void)state;
  assert_close(run_scan(PETSC_FALSE, 1), -1, 0);
  assert_close(run_scan(PETSC_TRUE, 1), -1, 0);
  assert_close(run_scan(PETSC_TRUE, 1), -1, 0);
  assert_close(run_scan(PETSC_TRUE, ALL), N_POINT - 3 * n_group_at_once(), 0);
}

static void a_run_that_begins_anew_takes_nothing_up(void **state)
{
  (void)state;
  assert_close(run_scan(PETSC_FALSE, 2), -1, 0);
  assert_close(run_scan(PETSC_FALSE, ALL), N_POINT, 0);
}

static void what_the_checkpoint_holds_is_not_kept_twice(void **state)
{
  (void)state;
  assert_close(run_scan(PETSC_FALSE, ALL), N_POINT, 0);
  assert_close(count_parts(), n_group_at_once() == 1 ? 1 : N_SEED, 0); /* of the last round there is no checkpoint */
}

static void groups_that_do_not_divide_the_ranks_have_equally_many(void **state)
{
  (void)state;
  TestCall(PetscOptionsSetValue(NULL, "-scan_seed", "1,2"));
  assert_close(run_scan(PETSC_FALSE, ALL), 2 * N_TEMPERATURE, 0);
  TestCall(PetscOptionsSetValue(NULL, "-scan_seed", "1:3:3"));
}

static int remove_all(void **state)
{
  char        command[160];
  PetscMPIInt rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  snprintf(command, sizeof command, "rm -f %s/*", folder);
  if (rank == 0 && system(command)) return 1;
  MPI_Barrier(PETSC_COMM_WORLD);
  return 0;
}

static void points_are_printed_as_scan_index_takes_them(void **state)
{
  const PetscInt point[] = {0, 1, 4, 6, 9, 12, 15, 20};
  char           text[16];
  PetscBool      fits;

  (void)state;
  TestCall(FwScanPrintIndex(8, point, sizeof text, text, &fits));
  assert_string_equal(text, "0-1,4,6-15:3,20"); /* 15 characters and the end */
  assert_true(fits);
  TestCall(FwScanPrintIndex(8, point, sizeof text - 1, text, &fits));
  assert_string_equal(text, "0-1,4,6-15:3");
  assert_false(fits);
  TestCall(FwScanPrintIndex(0, point, sizeof text, text, &fits));
  assert_string_equal(text, "");
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(only_the_rest_of_an_unfinished_group_is_computed, remove_all),
    cmocka_unit_test_teardown(a_group_may_break_off_again_and_again, remove_all),
    cmocka_unit_test_teardown(a_run_that_begins_anew_takes_nothing_up, remove_all),
    cmocka_unit_test_teardown(groups_that_do_not_divide_the_ranks_have_equally_many, remove_all),
    cmocka_unit_test_teardown(what_the_checkpoint_holds_is_not_kept_twice, remove_all),
    cmocka_unit_test(points_are_printed_as_scan_index_takes_them),
  };
  PetscMPIInt rank;
  int         n_failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  TestCall(PetscOptionsSetValue(NULL, "-scan_temperature", "1:4:4"));
  TestCall(PetscOptionsSetValue(NULL, "-scan_seed", "1:3:3"));
  strcpy(folder, "/tmp/finwidth-scan-keep-XXXXXX");
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0 && !mkdtemp(folder)) return 1;
  MPI_Bcast(folder, (int)sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD);
  snprintf(path, sizeof path, "%s/run.chk", folder);
  n_failed = cmocka_run_group_tests_name("scan_keep", tests, NULL, NULL);
  if (rank == 0) rmdir(folder);
  return n_failed ? 1 : FwFinish(0);
}
