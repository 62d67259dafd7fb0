/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What a prediction will need, and `-dry_run`.
 */

#include "predict.h"

#include "predict_print.h"

#include <finwidth/activation.h>
#include <finwidth/option.h>

#include <stdio.h>
#include <string.h>

PetscErrorCode FwPredictEstimateExamples(FwGrid grid)
{
  FwWork work = {
    .n_input = 1.0, .depth = 1.0, .n_output = 1.0, .n_point = 1.0, .temperature_lowest = 1.0, .bandwidth = 64};
  FwEstimate estimate;
  PetscInt64 n_train = 0, n_test = 0, n_validation = 0;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("data_train", &n_train, NULL));
  PetscCall(FwOptionInteger("data_test", &n_test, NULL));
  PetscCall(FwOptionInteger("data_validation", &n_validation, NULL));
  work.n_train = (double)n_train;
  work.n_test  = (double)n_test + (double)n_validation;
  PetscCall(FwEstimatePredict(grid, &work, &estimate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The kernel of a linear network has N_0 + 1 modes at most. Bands do not see that the others are zero, and labels there cost
   1/T: their round-off hides the slope of the action. */
static PetscBool NeedsModes(const FwDataSizes *sizes, const FwModel *model, double temperature)
{
  const double floor_of_bands = 1e-3; /* at 1e-5 they do not converge with P = 1000, N_0 = 256 */

  if (sizes->n_train <= sizes->n_input + 1 || temperature >= floor_of_bands) return PETSC_FALSE;
  for (PetscInt l = 0; l < model->depth; l++)
    if (model->activation[l] != FW_ACTIVATION_LINEAR) return PETSC_FALSE;
  return PETSC_TRUE;
}

PetscErrorCode FwPredictEstimate(FwGrid grid, const FwDataSizes *sizes, const FwPredictPoint *point,
                                 const FwPredictUse *use, FwEstimate *estimate)
{
  static const PetscInt bandwidths[]     = {-1, 64, 1, 0}; /* in the order of the key's choices */
  const double          nodes_of_average = 36.0, points_of_curve = 121.0;
  FwWork                work;
  PetscInt              choice;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_bandwidth", &choice, NULL));
  work = (FwWork){.n_train            = sizes->n_train,
                  .n_test             = sizes->n_test + sizes->n_new,
                  .n_input            = sizes->n_input,
                  .depth              = (double)point->model.depth,
                  .n_point            = use->n_point,
                  .n_output           = sizes->n_output,
                  .n_node             = !point->theory.with_average ? 0.0
                                        : sizes->n_output > 1       ? FW_MATRIX_AVERAGE_DRAWS
                                                                    : nodes_of_average,
                  .n_curve            = point->theory.with_curve ? points_of_curve : 0.0,
                  .temperature_lowest = PetscMin(1.0, use->temperature_lowest),
                  .bandwidth          = bandwidths[choice]};
  /* kernels are of order one: the choice only asks whether T is far below round-off */
  if (NeedsModes(sizes, &point->model, use->temperature_lowest)) work.temperature_lowest = 0.0;
  PetscCall(FwEstimatePredict(grid, &work, estimate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictPrintPlan(MPI_Comm comm, const FwEstimate *e, double seconds)
{
  char expected[64];

  PetscFunctionBegin;
  snprintf(expected, sizeof expected, "about %.2g s, %.2g GiB a rank", seconds, e->peak_bytes / 1073741824.0);
  PetscCall(PetscPrintf(comm, "kernel  %s, %s\n\n", FwEstimateName(e->bandwidth), expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EstimateKernel(FwGrid grid, FwDataset data, const FwPredictPoint *point)
{
  const FwPredictUse use = {.n_point = 1.0, .temperature_lowest = point->model.temperature};
  FwDataSizes        sizes;
  FwEstimate         e;
  double             flops, seconds, bytes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwPredictEstimate(grid, &sizes, point, &use, &e));
  PetscCall(FwPredictLearnCost(grid, data, 1, point, &flops, &seconds, &bytes));
  e.peak_bytes += bytes;
  PetscCall(
    FwPredictPrintPlan(FwGridComm(grid), &e, e.assembly_seconds + e.decomposition_seconds + e.use_seconds + seconds));
  PetscCall(FwPrintStage("assembly", e.assembly_flops, e.assembly_seconds));
  PetscCall(FwPrintStage("decomposition", e.decomposition_flops, e.decomposition_seconds));
  PetscCall(FwPrintStage("predictions", e.use_flops, e.use_seconds));
  if (flops > 0.0) PetscCall(FwPrintStage("learning", flops, seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictDryRun(const FwRequest *request)
{
  FwPredictPoint point;
  FwDataset      data;
  FwGrid         grid;
  PetscInt       n_point, n_chosen;

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", request->resolved));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, &n_chosen));
  PetscCall(FwScanApply(request->scan, 0));
  PetscCall(FwPredictPointRead(&point));
  point.theory.with_curve = request->is_single;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(FwPredictEstimateExamples(grid));
  PetscCall(FwPredictLoadData(PETSC_COMM_WORLD, &data));
  if (!request->is_single)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "scan    %" PetscInt_FMT " points, %" PetscInt_FMT " to compute; the first alone:\n", n_point,
                          n_chosen));
  if (!strcmp(request->command, "sample")) PetscCall(FwPredictLeaveObservables(data, &point));
  PetscCall(FwPredictPointAdapt(data, &point));
  PetscCall(FwPredictIsLocal(&point.model) ? FwPredictLocalEstimate(grid, data, 1, &point)
                                           : EstimateKernel(grid, data, &point));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwPredictPointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}
