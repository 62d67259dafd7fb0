/** @file
 * Memory, operations and time of a prediction.
 */

#include <finwidth/estimate.h>
#include <finwidth/option.h>

#include <math.h>
#include <petscblaslapack.h>
#include <unistd.h>

/* Kernel, eigenvectors, and what pdsyevd touches of its workspace, in kernels */
static const double kernels_at_peak = 4.0;

static double PeakBytes(const FwWork *w, double n_rank)
{
  const double examples = w->n_train + w->n_test;
  const double matrices = kernels_at_peak * w->n_train * w->n_train + 2.0 * w->n_train * w->n_test;
  const double inputs   = 3.0 * examples * w->n_input;
  const double copies   = n_rank * (w->depth + 20.0) * examples; /* vectors that every rank holds */

  return 8.0 * (matrices + inputs + copies) / n_rank + 64e6;
}

/* Operations per second of a matrix product in cache, as a yardstick for what follows */
static PetscErrorCode MeasureRate(MPI_Comm comm, double *rate)
{
  enum { N = 256, TIMES = 5 };
  const PetscBLASInt n     = N;
  const PetscScalar  alpha = 1.0, beta = 0.0;
  PetscScalar       *a, *b, *c;
  PetscLogDouble     begin, end, best = INFINITY;

  PetscFunctionBegin;
  PetscCall(PetscCalloc3(N * N, &a, N * N, &b, N * N, &c));
  for (int i = 0; i < TIMES; i++) {
    PetscCall(PetscTime(&begin));
    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &n, &n, &n, &alpha, a, &n, b, &n, &beta, c, &n));
    PetscCall(PetscTime(&end));
    best = PetscMin(best, end - begin);
  }
  PetscCall(PetscFree3(a, b, c));
  *rate = 2.0 * pow(N, 3.0) / best;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, rate, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEstimatePredict(FwGrid grid, const FwWork *w, FwEstimate *e)
{
  /* share of the product's rate that each stage reaches, measured at P = 2000 on one and on two ranks */
  const double assembly_share = 0.5, decomposition_share = 0.3, map_nanoseconds = 3.0;
  PetscMPIInt  n_row, n_col;
  double       rate = 1.0, entries;

  PetscFunctionBegin;
  PetscCall(FwGridGetSize(grid, &n_row, &n_col));
  PetscCall(MeasureRate(FwGridComm(grid), &rate));
  entries                = 0.5 * w->n_train * w->n_train + w->n_train * w->n_test;
  e->assembly_flops      = 2.0 * entries * w->n_input;
  e->decomposition_flops = 9.0 * pow(w->n_train, 3.0);
  e->prediction_flops    = 2.0 * w->n_train * w->n_train * w->n_test;
  e->seconds = e->assembly_flops / (assembly_share * rate) + e->decomposition_flops / (decomposition_share * rate) +
               e->prediction_flops / (assembly_share * rate) +
               1e-9 * map_nanoseconds * entries * w->depth / (n_row * n_col);
  e->peak_bytes = PeakBytes(w, n_row * n_col);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEstimateMemory(MPI_Comm comm, double *bytes)
{
  PetscBool   is_set;
  MPI_Comm    node;
  PetscMPIInt n_rank;

  PetscFunctionBegin;
  PetscCall(FwOptionReal("memory", bytes, &is_set));
  if (!is_set) {
    PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    PetscCallMPI(MPI_Comm_size(node, &n_rank));
    PetscCallMPI(MPI_Comm_free(&node));
    *bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE) / n_rank;
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, bytes, 1, MPI_DOUBLE, MPI_MIN, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEstimateCheck(FwGrid grid, const FwWork *work, const FwEstimate *estimate)
{
  FwWork      smaller = *work;
  PetscMPIInt n_row, n_col;
  double      bytes = 0.0, low = 0.0, high = work->n_train;

  PetscFunctionBegin;
  PetscCall(FwGridGetSize(grid, &n_row, &n_col));
  PetscCall(FwEstimateMemory(FwGridComm(grid), &bytes));
  if (estimate->peak_bytes <= bytes) PetscFunctionReturn(PETSC_SUCCESS);
  while (high - low > 1.0) {
    smaller.n_train                                               = floor(0.5 * (low + high));
    *(PeakBytes(&smaller, n_row * n_col) <= bytes ? &low : &high) = smaller.n_train;
  }
  PetscCheck(low >= 1.0, FwGridComm(grid), FW_ERR_MEMORY,
             "%.2f GiB for each of %d ranks is less than any run needs: use more memory", bytes / 1073741824.0,
             n_row * n_col);
  SETERRQ(FwGridComm(grid), FW_ERR_MEMORY,
          "%.0f training examples need %.2f GiB on each of %d ranks and %.2f GiB may be used: use more ranks, or "
          "data_train up to %.0f",
          work->n_train, estimate->peak_bytes / 1073741824.0, n_row * n_col, bytes / 1073741824.0, low);
}
