/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ranks: 1 2 4 */
/** @file
 * The counter shared by ranks: every number is given once, whoever asks when, and a rank that fails ends it.
 */

#include <finwidth/counter.h>

#include "../support/collective_assert.h"

enum { NUMBERS = 50 };

/* How often each number was given, on all ranks; `quits` after three */
static void count(MPI_Comm comm, PetscBool quits, int given[NUMBERS])
{
  FwCounter counter;
  PetscInt  number = 0, n = 0;

  for (int i = 0; i < NUMBERS; i++) given[i] = 0;
  TestCall(FwCounterCreate(comm, NUMBERS, &counter));
  while (!(quits && n == 3)) {
    TestCall(FwCounterNext(counter, &number));
    if (number < 0) break;
    given[number]++;
    n++;
    TestCall(FwCounterLook(counter));
  }
  TestCall(FwCounterEnd(&counter, quits));
  assert_null(counter);
  MPI_Allreduce(MPI_IN_PLACE, given, NUMBERS, MPI_INT, MPI_SUM, comm);
}

static void every_number_is_given_once(void **state)
{
  int given[NUMBERS];

  (void)state;
  count(PETSC_COMM_WORLD, PETSC_FALSE, given);
  for (int i = 0; i < NUMBERS; i++) assert_int_equal(given[i], 1);
}

/* Two communicators at once, each with a counter of its own */
static void counters_do_not_disturb_each_other(void **state)
{
  PetscMPIInt rank;
  MPI_Comm    half;
  int         given[NUMBERS];

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_split(PETSC_COMM_WORLD, rank % 2, rank, &half);
  count(half, PETSC_FALSE, given);
  for (int i = 0; i < NUMBERS; i++) assert_int_equal(given[i], 1);
  MPI_Comm_free(&half);
}

/* Rank 0, and the last rank: the numbers that were given are the first ones, each once */
static void a_rank_that_fails_ends_it(void **state)
{
  PetscMPIInt rank, n_rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &n_rank);
  for (PetscMPIInt who = 0; who < n_rank; who += PetscMax(1, n_rank - 1)) {
    int given[NUMBERS], n = 0;

    count(PETSC_COMM_WORLD, (PetscBool)(rank == who), given);
    for (int i = 0; i < NUMBERS; i++) n += given[i];
    for (int i = 0; i < NUMBERS; i++) assert_int_equal(given[i], i < n);
    if (n_rank == 1) assert_int_equal(n, 3);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_number_is_given_once),
    cmocka_unit_test(counters_do_not_disturb_each_other),
    cmocka_unit_test(a_rank_that_fails_ends_it),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("counter", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
