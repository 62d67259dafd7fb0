/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory, operations and time of a prediction.
 */

#include <finwidth/estimate.h>
#include <finwidth/option.h>

#include <math.h>
#include <petscblaslapack.h>

/* (T, Q) at which the search for the saddle point of one point evaluates the action */
static const double evaluations_per_search = 60.0;
/* Share of the rate of a product that the assembly reaches, and time of a map of one entry, measured at P = 4000 */
static const double assembly_share = 0.6, map_seconds = 2.6e-9;
/* Rate for which the constants of spectrum.h hold: they are scaled by what this machine gives now */
static const double calibration_rate = 45e9;

const char *FwEstimateName(PetscInt bandwidth)
{
  return bandwidth == 64 ? "banded (64)" : bandwidth == 1 ? "tridiagonal" : "eigenvectors";
}

/* --- memory ------------------------------------------------------------------------------------------------- */

/* Numbers per example that every rank holds: vectors; bands, their factors and panels of a reduction */
static const double vectors = 20.0, panels = 576.0;

/* The decomposition, or the reduced kernel with the test rows, which are moved to columns on several ranks and rotated into
   a copy where there are eigenvectors; beside it the inputs */
static double PeakBytes(const FwWork *w, double kernels, double n_rank)
{
  const double kernel = w->n_train * w->n_train, cross = w->n_train * w->n_test;
  const double inputs   = (w->n_train + w->n_test) * w->n_input;
  const double n_cross  = (n_rank > 1.0 ? 2.0 : 1.0) + (kernels > 1.0 ? 1.0 : 0.0);
  const double everyone = n_rank * ((w->depth + vectors) * (w->n_train + w->n_test) + panels * w->n_train);
  const double peak     = PetscMax(kernels * kernel, kernel + n_cross * cross) + inputs;

  return 8.0 * (peak + everyone) / n_rank + FW_ESTIMATE_BASE_BYTES;
}

static PetscErrorCode Refuse(FwGrid grid, const FwWork *work, double kernels, double n_rank, double bytes)
{
  FwWork smaller = *work;
  double low = 0.0, high = work->n_train;

  PetscFunctionBegin;
  while (high - low > 1.0) {
    smaller.n_train                                                 = floor(0.5 * (low + high));
    *(PeakBytes(&smaller, kernels, n_rank) <= bytes ? &low : &high) = smaller.n_train;
  }
  smaller.n_train = 1.0;
  smaller.n_test  = 0.0;
  PetscCheck(
    low >= 1.0 || PeakBytes(&smaller, kernels, n_rank) > bytes, FwGridComm(grid), FW_ERR_MEMORY,
    "%.0f examples of data_test (with data_validation and data_predict) need %.2f GiB on each of %.0f ranks and "
    "%.2f GiB may be used: use more ranks, or fewer of them",
    work->n_test, PeakBytes(work, kernels, n_rank) / 1073741824.0, n_rank, bytes / 1073741824.0);
  PetscCheck(low >= 1.0, FwGridComm(grid), FW_ERR_MEMORY,
             "%.2f GiB for each of %.0f ranks is less than any run needs: use more memory", bytes / 1073741824.0,
             n_rank);
  SETERRQ(FwGridComm(grid), FW_ERR_MEMORY,
          "%.0f training examples need %.2f GiB on each of %.0f ranks and %.2f GiB may be used: use more ranks, or "
          "data_train up to %.0f",
          work->n_train, PeakBytes(work, kernels, n_rank) / 1073741824.0, n_rank, bytes / 1073741824.0, low);
}

/* --- time --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwEstimateRate(MPI_Comm comm, double *rate)
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

/* The bandwidth asked for, or the fastest; where that does not fit, the banded form, which needs least */
static PetscErrorCode ChooseForm(FwGrid grid, const FwWork *w, const FwSpectrumUse *use, double n_rank, FwEstimate *e,
                                 FwSpectrumCost *cost)
{
  double bytes = 0.0;

  PetscFunctionBegin;
  PetscCall(FwEstimateMemory(FwGridComm(grid), &bytes));
  e->bandwidth = w->bandwidth;
  if (w->bandwidth >= 0)
    PetscCall(FwSpectrumEstimate(grid, use, w->bandwidth, cost));
  else
    PetscCall(FwSpectrumChoose(grid, use, &e->bandwidth, cost));
  if (PeakBytes(w, cost->kernels, n_rank) > bytes && w->bandwidth < 0) {
    e->bandwidth = 64;
    PetscCall(FwSpectrumEstimate(grid, use, 64, cost));
  }
  e->peak_bytes = PeakBytes(w, cost->kernels, n_rank);
  if (e->peak_bytes > bytes) PetscCall(Refuse(grid, w, cost->kernels, n_rank, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEstimatePredict(FwGrid grid, const FwWork *w, FwEstimate *e)
{
  const FwSpectrumUse use = {
    .n                  = w->n_train,
    .n_test             = w->n_test,
    .n_evaluation       = w->n_point * w->n_output * (evaluations_per_search + w->n_curve + 2.0 * w->n_node),
    .n_prediction       = w->n_point * w->n_output * (2.0 + w->n_node),
    .with_variance      = w->n_test > 0.0 ? PETSC_TRUE : PETSC_FALSE,
    .temperature_lowest = w->temperature_lowest};
  FwSpectrumCost cost = {0};
  PetscMPIInt    n_row, n_col;
  double         rate = 1.0, n_rank, entries, slower;

  PetscFunctionBegin;
  PetscCall(FwGridGetSize(grid, &n_row, &n_col));
  n_rank = (double)n_row * n_col;
  PetscCall(ChooseForm(grid, w, &use, n_rank, e, &cost));
  PetscCall(FwEstimateRate(FwGridComm(grid), &rate));
  slower                   = calibration_rate * n_rank / rate;
  entries                  = 0.5 * w->n_train * w->n_train + w->n_train * w->n_test;
  e->assembly_flops        = 2.0 * entries * w->n_input;
  e->decomposition_flops   = cost.flops;
  e->use_flops             = 2.0 * w->n_train * w->n_test * use.n_prediction;
  e->assembly_seconds      = e->assembly_flops / (assembly_share * rate) + map_seconds * entries * w->depth / n_rank;
  e->decomposition_seconds = cost.decomposition * slower;
  e->use_seconds           = cost.use * slower;
  PetscFunctionReturn(PETSC_SUCCESS);
}
