/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory and time that `finwidth mixture` will need.
 */

#include "mixture.h"
#include "predict.h"

#include <finwidth/dataset.h>
#include <finwidth/estimate.h>

#include <math.h>

static PetscInt CountSamplers(const FwMixtureRequest *report)
{
  PetscInt n = 0;

  for (int s = 0; s < FW_DRAWN_COUNT; s++) n += report->is_drawn[s];
  return n;
}

/* Of a posterior, on every rank: draws with their eigenvectors, and predictions at the points of log q */
static double PosteriorBytes(const FwMixturePoint *p)
{
  const double points = 500.0; /* panels of one law */
  const double D = (double)p->n_output, draw = D < 3.0 ? 0.0 : 2.0 * D * D + 2.0 * D + 4.0;

  return sizeof(double) * ((double)p->n_sample * draw + points * (D + 1.0) * (double)p->n_test);
}

static const double batch = 256.0; /* samples side by side */

/* On every rank: the kernel's root, the inputs twice, a batch of outputs and of its normal factors */
static double InputBytes(const FwMixturePoint *p)
{
  const double P = (double)p->n_input;

  return sizeof(double) * P * (P + 2.0 * (double)p->n_component + (2.0 * batch + 1.0) * (double)p->n_output);
}

static FwMixtureNeed NeedOf(const FwMixtureCommon *common, const FwMixturePoint *p)
{
  const double D = (double)p->n_output, n = (double)p->n_sample, L = (double)p->model.depth,
               per_factor = 0.5 * D * (D + 1.0), P = (double)p->n_input,
               drawn = n * (double)CountSamplers(&common->report);
  const double row   = (D + FW_COLUMN_COUNT) * sizeof(double);
  /* measured on the shipped inputs: normals in bulk, those of factors with gamma variates, products with the kernel's root, the
     statistics of each sample of each sampler, and the laws themselves */
  const double per_normal = 4e-9, per_factor_number = 7e-9, per_product = 5e-10, per_row = 6e-6, per_point = 0.1;
  const double products = drawn * D * P * P + P * P * ((double)p->n_component + P / 3.0);
  double       brute    = P * p->model.width[0], normals, factors;

  for (PetscInt l = 0; l < p->model.depth; l++)
    brute += p->model.width[l] * (l + 1 < p->model.depth ? p->model.width[l + 1] : D);
  normals = drawn * D * P + n * (double)common->report.is_drawn[FW_DRAWN_BRUTE] * brute;
  factors = n * ((double)common->report.is_drawn[FW_DRAWN_BARTLETT] * L * per_factor +
                 (double)common->report.is_drawn[FW_DRAWN_LIMIT] * (D < 3.0 ? 6.0 : 64.0 * p->limit.a * per_factor));
  return (FwMixtureNeed){.bytes = 2.0 * drawn * row + 4.0 * n * sizeof(double) + 3e7 + InputBytes(p) +
                                  (common->has_posterior ? PosteriorBytes(p) : 0.0),
                         .numbers = normals + factors,
                         .seconds = per_point + normals * per_normal + factors * per_factor_number +
                                    products * per_product + drawn * per_row};
}

PetscErrorCode FwMixtureCheckMemory(MPI_Comm comm, const FwMixtureCommon *common, const FwMixturePoint *point)
{
  const FwMixtureNeed need    = NeedOf(common, point);
  const double        largest = 2147483647.0, D = (double)point->n_output, P = (double)point->n_input,
               most = largest / (D + FW_COLUMN_COUNT) / fmax(1.0, CountSamplers(&common->report));
  double bytes;

  PetscFunctionBegin;
  PetscCheck(batch * D < largest, comm, FW_ERR_MEMORY, "network_outputs %.0f: more than %.0f are not kept", D,
             floor(largest / batch));
  PetscCheck(P * fmax(P, fmax((double)point->n_component, batch * D)) < largest, comm, FW_ERR_MEMORY,
             "mixture_inputs %" PetscInt_FMT ": more than %.0f are not kept with network_outputs %.0f", point->n_input,
             floor(fmin(sqrt(largest), largest / fmax((double)point->n_component, batch * D))), D);
  PetscCheck((double)point->n_sample < most, comm, FW_ERR_MEMORY,
             "mixture_samples: more than %.0f are not kept with network_outputs %.0f", floor(most), D);
  PetscCall(FwEstimateMemory(comm, &bytes));
  PetscCheck(need.bytes <= bytes, comm, FW_ERR_MEMORY,
             "mixture_samples %" PetscInt_FMT " and mixture_inputs %" PetscInt_FMT
             " need %.3g GiB on rank 0, of %.3g GiB: fewer%s, or more (memory)",
             point->n_sample, point->n_input, need.bytes / 1073741824.0, bytes / 1073741824.0,
             common->has_posterior ? " or data_test" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The posteriors of a point, beside its kernel: of the network and of its limit, unless this has no width */
static double PosteriorSeconds(const FwMixturePoint *p, const FwDataSizes *sizes)
{
  const double n_law = p->limit.a > 0.0 || p->limit.n_width ? 2.0 : 1.0;

  return n_law * FwPosteriorLawSeconds(sizes->n_output, p->model.depth, sizes, p->n_sample);
}

/* Of the point that stands in the options database; n of them on one kernel, whose share it bears. No example is read */
static PetscErrorCode NeedOfPoint(const FwMixtureCommon *common, FwGrid grid, PetscInt n, FwMixtureNeed *need)
{
  FwDataSizes    sizes = {0};
  FwDataset      data;
  FwEstimate     kernel;
  FwMixturePoint point;

  PetscFunctionBegin;
  PetscCall(FwMixturePointRead(common, &point));
  if (common->has_data) {
    PetscCall(FwPredictInspectData(&data));
    PetscCall(FwDatasetGetSizes(data, &sizes));
    PetscCall(FwDatasetDestroy(&data));
    point.n_output    = sizes.n_output;
    point.n_component = sizes.n_input;
  }
  *need = NeedOf(common, &point);
  if (common->has_posterior) {
    PetscCall(FwPosteriorGroupEstimate(grid, &sizes, n, common->lowest_temperature, &kernel));
    need->seconds += (kernel.assembly_seconds + kernel.decomposition_seconds + kernel.use_seconds) / (double)n +
                     PosteriorSeconds(&point, &sizes);
    need->bytes += kernel.peak_bytes;
  }
  PetscCall(FwMixturePointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureFindNeeds(const FwMixtureCommon *common, PetscInt n_group, const PetscInt group[],
                                  FwMixtureNeed need[])
{
  FwScan    scan = common->request->scan;
  PetscInt *n, n_point;
  FwGrid    grid;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCall(PetscCalloc1(n_group, &n));
  for (PetscInt p = 0; p < n_point; p++)
    if (group[p] >= 0) n[group[p]]++;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  for (PetscInt p = 0; p < n_point; p++) {
    FwMixtureNeed one = {0};

    if (group[p] < 0) continue;
    PetscCall(FwScanApply(scan, p));
    PetscCall(NeedOfPoint(common, grid, n[group[p]], &one));
    need[group[p]].numbers += one.numbers;
    need[group[p]].seconds += one.seconds;
    need[group[p]].bytes = PetscMax(need[group[p]].bytes, one.bytes);
  }
  PetscCall(FwScanApply(scan, -1));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(PetscFree(n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
