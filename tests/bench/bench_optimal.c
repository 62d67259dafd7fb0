/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Message passing beside the memory it reads: bytes of X per second, over what plain sums of the same array reach in the same
 * run.
 *
 *     mpirun -n 2 bench_optimal [-size 10000] [-repeats 8]
 */

#include <finwidth/gamp.h>

#include <math.h>

/* Seconds to read n numbers of every rank once */
static double ReadSeconds(size_t n, const double x[])
{
  double sum[16] = {0.0}, sink = 0.0, seconds, begin;

  MPI_Barrier(PETSC_COMM_WORLD);
  begin = MPI_Wtime();
  for (size_t i = 0; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++) sum[j] += x[i + (size_t)j];
  seconds = MPI_Wtime() - begin;
  for (int j = 0; j < 16; j++) sink += sum[j];
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
  return sink == 1.5 ? NAN : seconds; /* the sum is looked at, so that it is made */
}

static PetscErrorCode Measure(PetscInt size, PetscInt n_repeat, PetscInt n_column)
{
  const FwDesignPlan plan = {.stream   = FwStreamCreate(1, FW_RANDOM_OPTIMAL_INPUT, 0, 0, 0),
                             .n        = size,
                             .d        = size,
                             .n_column = n_column,
                             .n_scalar = n_column,
                             .is_kept  = PETSC_TRUE};
  const FwGampPlan   gamp = {
      .channel = {.kind = FW_CHANNEL_PROBIT, .noise = 0.1},
        .eta = 0.8, .gamma = 0.1, .n_free = 100, .most = 2
  };
  FwDesign      design;
  FwGampState   state;
  const FwRows *rows;
  const double *x;
  double       *y, *s, *direction, begin, read = INFINITY, pass = INFINITY;

  PetscFunctionBegin;
  PetscCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  rows = FwDesignRows(design);
  PetscCall(PetscMalloc3(n_column * rows->n_local, &y, n_column * size, &s, n_column * size, &direction));
  for (PetscInt i = 0; i < n_column * rows->n_local; i++) y[i] = (rows->first + i) % 3 ? 1.0 : -1.0;
  for (PetscInt i = 0; i < n_column * size; i++) direction[i] = 1.0;
  PetscCall(FwDesignGetBlocks(design, 0, 1, &x));
  for (PetscInt repeat = 0; repeat < n_repeat; repeat++) { /* in turn, and the best of each: others may be at work */
    read  = fmin(read, ReadSeconds((size_t)rows->n_local * (size_t)size, x));
    begin = MPI_Wtime();
    PetscCall(FwGampSolve(design, y, direction, &gamp, s, &state));
    pass = fmin(pass, (MPI_Wtime() - begin) / (double)state.n_iteration);
    PetscCall(FwGampStateDestroy(&state));
  }
  PetscCall(
    PetscPrintf(PETSC_COMM_WORLD,
                "%6" PetscInt_FMT " x %-6" PetscInt_FMT " %2" PetscInt_FMT
                " teachers  %7.1f ms an iteration, X is read in %7.1f ms (%5.1f GB/s): %3.0f %%, %6.1f Gflop/s\n",
                size, size, n_column, 1e3 * pass, 1e3 * read, 8e-9 * size * (double)size / read, 100.0 * read / pass,
                4e-9 * size * (double)size * n_column / pass));
  PetscCall(PetscFree3(y, s, direction));
  PetscCall(FwDesignDestroy(&design));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(void)
{
  PetscInt size = 10000, n_repeat = 8;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-size", &size, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeats", &n_repeat, NULL));
  PetscCall(Measure(size, n_repeat, 1));
  PetscCall(Measure(size, n_repeat, 8));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = FwStart(argc, argv, NULL);

  if (!code) code = Run();
  return FwFinish(code);
}
