/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Samples divided over the ranks, interrupted and taken up again.
 */

#include "../support/mixture_reference.h"

#include <finwidth/checkpoint.h>
#include <finwidth/mixture_experiment.h>

#include <unistd.h>

enum { D = 2, P = 3, N = 3001, COUNT = 3 };

static const double widths[] = {20.0, 35.0, 28.0};

static FwMixtureInputs     inputs;
static FwMixtureExperiment experiment[COUNT];

/* Number of entries that differ from those that one rank draws alone; 0 where there are no rows */
static PetscInt CountWrong(const FwMixtureExperiment *e, const double row[])
{
  const PetscInt length  = FwMixtureRowLength(e);
  PetscInt       n_wrong = 0;
  double        *alone;

  if (!row) return 0;
  TestCall(PetscMalloc1(N * length, &alone));
  TestCall(FwMixtureMeasure(e, 0, N, alone));
  for (PetscInt i = 0; i < N * length; i++) n_wrong += memcmp(&row[i], &alone[i], sizeof(double)) != 0;
  TestCall(PetscFree(alone));
  return n_wrong;
}

static void rows_do_not_depend_on_the_ranks(void **state)
{
  const FwKeptRun run = {.checkpoint = NULL};
  double         *row[COUNT];

  (void)state;
  TestCall(FwMixtureSample(PETSC_COMM_WORLD, COUNT, experiment, N, &run, row));
  for (int k = 0; k < COUNT; k++) {
    assert_close(CountWrong(&experiment[k], row[k]), 0, 0.0);
    TestCall(PetscFree(row[k]));
  }
}

/* A checkpoint after each round is left behind by a run that ends; the last one lacks the last round, which a resumed run
   then draws. A changed number in it comes back: it was read */
static void rows_come_from_the_checkpoint(void **state)
{
  FwKeptRun run = {.checkpoint = "mixture_experiment.chk", .tag = "tag", .interval = 0.0};
  double   *row[COUNT], *again[COUNT];
  size_t    n;
  char     *bytes;

  (void)state;
  TestCall(FwMixtureSample(PETSC_COMM_WORLD, COUNT, experiment, N, &run, row));
  run.resume = PETSC_TRUE;
  TestCall(FwMixtureSample(PETSC_COMM_WORLD, COUNT, experiment, N, &run, again));
  for (int k = 0; k < COUNT; k++) {
    assert_close(CountWrong(&experiment[k], again[k]), 0, 0.0);
    TestCall(PetscFree(again[k]));
  }
  TestCall(FwCheckpointRead(PETSC_COMM_WORLD, run.checkpoint, run.tag, &n, &bytes));
  if (bytes) bytes[8 + 5 * 8] ^= 1;
  TestCall(FwCheckpointWrite(PETSC_COMM_WORLD, run.checkpoint, run.tag, n, bytes));
  TestCall(PetscFree(bytes));
  TestCall(FwMixtureSample(PETSC_COMM_WORLD, COUNT, experiment, N, &run, again));
  assert_close(!again[0] || CountWrong(&experiment[0], again[0]) == 1, 1, 0.0);
  for (int k = 0; k < COUNT; k++) {
    TestCall(PetscFree(row[k]));
    TestCall(PetscFree(again[k]));
  }
  TestCall(FwCheckpointRemove(PETSC_COMM_WORLD, run.checkpoint));
}

static void rows_of_a_part_are_all_in_the_checkpoint(void **state)
{
  const FwKeptRun run = {.checkpoint = "mixture_experiment.chk", .tag = "tag", .interval = 1e9};
  PetscInt        n_row = 0;
  PetscMPIInt     rank;
  double         *row[COUNT];
  size_t          n = 0;
  char           *bytes;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  TestCall(FwMixtureSample(PETSC_COMM_WORLD, COUNT, experiment, 100, &run, row));
  TestCall(FwCheckpointRead(PETSC_COMM_WORLD, run.checkpoint, run.tag, &n, &bytes));
  for (int k = 0; k < COUNT; k++) {
    n_row += 100 * FwMixtureRowLength(&experiment[k]);
    TestCall(PetscFree(row[k]));
  }
  assert_close(rank || n == sizeof(PetscInt64) + (size_t)n_row * sizeof(double), 1.0, 0.0);
  TestCall(PetscFree(bytes));
  TestCall(FwCheckpointRemove(PETSC_COMM_WORLD, run.checkpoint));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_do_not_depend_on_the_ranks),
    cmocka_unit_test(rows_come_from_the_checkpoint),
    cmocka_unit_test(rows_of_a_part_are_all_in_the_checkpoint),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwMixtureInputsOrthogonal(P, 1.0, 0, NULL, &inputs));
  experiment[0] = (FwMixtureExperiment){make_law(D, 3, widths, 0.0), FW_MIXTURE_BRUTE, &inputs, 5};
  experiment[1] = (FwMixtureExperiment){make_law(D, 3, widths, 0.0), FW_MIXTURE_BARTLETT, &inputs, 5};
  experiment[2] = (FwMixtureExperiment){make_law(D, 0, NULL, 0.3), FW_MIXTURE_BARTLETT, &inputs, 5};
  n_failed      = cmocka_run_group_tests_name("mixture experiment", tests, NULL, NULL);
  for (int k = 0; k < COUNT; k++) TestCall(FwMixtureLawDestroy(&experiment[k].law));
  TestCall(FwMixtureInputsDestroy(&inputs));
  return FwFinish(0) || n_failed;
}
