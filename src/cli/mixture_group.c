/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A group of points of `finwidth mixture`: the laws of each, drawn and reported, and its posteriors on one kernel.
 */

#include "mixture.h"
#include "mixture_print.h"
#include "predict.h"

#include <finwidth/checkpoint.h>
#include <finwidth/dataset.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double PriorProduct(const FwModel *model)
{
  double product = 1.0;

  for (PetscInt l = 0; l <= model->depth; l++) product *= model->prior[l];
  return product;
}

/* The first inputs of the data on every rank: each adds its own to zeros, which is exact */
static PetscErrorCode FirstInputs(MPI_Comm comm, FwDataset data, PetscInt n, PetscInt n_component, double x[])
{
  FwSlab slab;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(data, FW_TRAIN, &slab));
  for (PetscInt i = 0; i < slab.n_local && slab.first + i < n; i++)
    PetscCall(PetscArraycpy(x + (slab.first + i) * n_component, slab.x + i * n_component, n_component));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, x, (int)(n * n_component), MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D is that of the data's targets; where network_outputs is given, the data have refused another number */
static PetscErrorCode InputsOfData(MPI_Comm comm, const FwMixtureCommon *common, FwMixturePoint *point,
                                   FwMixtureInputs *inputs, FwRecord record)
{
  FwDataset   data;
  FwDataSizes sizes;
  const char *digest;
  double     *x;

  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(comm, &data));
  PetscCall(FwDatasetSetFromOptions(data));
  PetscCall(FwDatasetSetUp(data));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCheck(point->n_input <= sizes.n_train, comm, FW_ERR_INPUT,
             "mixture_inputs %" PetscInt_FMT " exceeds the number of training examples %" PetscInt_FMT, point->n_input,
             sizes.n_train);
  point->finite.n_output = point->limit.n_output = point->n_output = sizes.n_output;
  point->n_component                                               = sizes.n_input;
  PetscCall(FwMixtureCheckOutputs(comm, common, point));
  PetscCall(PetscCalloc1(point->n_input * sizes.n_input, &x));
  PetscCall(FirstInputs(comm, data, point->n_input, sizes.n_input, x));
  PetscCall(FwMixtureInputsCreate(point->n_input, sizes.n_input, x, PriorProduct(&point->model), point->model.depth,
                                  point->model.bias, inputs));
  PetscCall(FwDatasetGetDigest(data, &digest));
  snprintf(point->tag, sizeof point->tag, "%.46s %.16s", common->request->tag, digest);
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscCall(PetscFree(x));
  PetscCall(FwDatasetDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode InputsOfNone(const FwMixturePoint *point, FwMixtureInputs *inputs)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureInputsOrthogonal(point->n_input, PriorProduct(&point->model), point->model.depth,
                                      point->model.bias, inputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sample(MPI_Comm comm, const FwMixtureCommon *common, PetscInt number, const FwMixturePoint *point,
                             const FwMixtureInputs *inputs, double *row[FW_DRAWN_COUNT])
{
  FwMixtureExperiment experiment[FW_DRAWN_COUNT];
  double             *drawn[FW_DRAWN_COUNT];
  char                path[PETSC_MAX_PATH_LEN];
  PetscInt            n = 0;
  PetscInt64          seed;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwRequestPointCheckpoint(common->request, number, sizeof path, path));
  const FwKeptRun run = {.checkpoint   = path,
                         .tag          = point->tag,
                         .resume       = common->request->resume,
                         .interval     = FwRequestCheckpointSeconds(),
                         .has_progress = common->request->is_single};

  for (int s = 0; s < FW_DRAWN_COUNT; s++)
    if (common->report.is_drawn[s])
      experiment[n++] = (FwMixtureExperiment){.law     = s == FW_DRAWN_LIMIT ? point->limit : point->finite,
                                              .sampler = s == FW_DRAWN_BRUTE ? FW_MIXTURE_BRUTE : FW_MIXTURE_BARTLETT,
                                              .inputs  = inputs,
                                              .seed    = (uint64_t)seed};
  PetscCall(FwMixtureSample(comm, n, experiment, point->n_sample, &run, drawn));
  n = 0;
  for (int s = 0; s < FW_DRAWN_COUNT; s++) row[s] = common->report.is_drawn[s] ? drawn[n++] : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(const FwMixtureCommon *common, const FwMixturePoint *point, const FwMixtureInputs *inputs,
                             double *const row[], FwRecord record)
{
  FwMixtureData data = {.request  = common->report,
                        .finite   = point->finite,
                        .limit    = point->limit,
                        .inputs   = inputs,
                        .n_sample = point->n_sample};

  PetscFunctionBegin;
  for (int s = 0; s < FW_DRAWN_COUNT; s++) data.row[s] = row[s];
  PetscCall(FwMixtureRecord(&data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddReport(MPI_Comm comm, const FwMixtureCommon *common, PetscInt number, FwMixturePoint *point,
                                FwRecord record)
{
  FwMixtureInputs inputs;
  PetscMPIInt     rank;
  PetscErrorCode  code = PETSC_SUCCESS;
  double         *row[FW_DRAWN_COUNT];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(common->has_data ? InputsOfData(comm, common, point, &inputs, record) : InputsOfNone(point, &inputs));
  PetscCall(Sample(comm, common, number, point, &inputs, row));
  if (rank == 0) code = Report(common, point, &inputs, row, record);
  for (int s = 0; s < FW_DRAWN_COUNT; s++) PetscCall(PetscFree(row[s]));
  PetscCall(FwMixtureInputsDestroy(&inputs));
  PetscCall(FwErrorAgree(comm, 0, code));
  if (common->request->is_single) PetscCall(FwPrintMixture(&common->report, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddPosterior(const FwMixtureCommon *common, const FwPosteriorGroup *group, PetscInt number,
                                   const FwMixturePoint *point, FwRecord record, PetscBool *is_converged)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(FwRequestPointCheckpoint(common->request, number, sizeof path, path));
  const FwPosteriorRun run = {.n_sample   = point->n_sample,
                              .is_quiet   = common->request->is_single ? PETSC_FALSE : PETSC_TRUE,
                              .checkpoint = path,
                              .tag        = point->tag,
                              .resume     = common->request->resume,
                              .interval   = FwRequestCheckpointSeconds()};

  PetscCall(FwPosteriorPoint(group, &point->model, &point->finite, &point->limit, &run, record, is_converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A numerical error is the end of what was computed, said as a warning; the point is one that did not converge */
static PetscErrorCode Forgive(PetscErrorCode code, FwRecord record, PetscBool *is_converged)
{
  PetscFunctionBegin;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  PetscCall(FwWarn("%s", FwErrorMessage()));
  PetscCall(FwRecordSetPrefix(record, ""));
  FwErrorClear();
  *is_converged = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A scan would gather the samples of all its points; a single run keeps them until its result stands */
static PetscErrorCode ForgetSamples(MPI_Comm comm, const FwMixtureCommon *common, PetscInt number)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  if (common->request->is_single) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRequestPointCheckpoint(common->request, number, sizeof path, path));
  PetscCall(FwCheckpointRemove(comm, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At mixture_a infinity there is a posterior and no prior to report on. No `group`: it failed, and with it every posterior */
static PetscErrorCode RunPoint(MPI_Comm comm, const FwMixtureCommon *common, const FwPosteriorGroup *group,
                               PetscInt number, FwRecord record)
{
  const PetscBool has_posterior = common->has_posterior && group ? PETSC_TRUE : PETSC_FALSE;
  PetscBool       is_converged  = has_posterior == common->has_posterior ? PETSC_TRUE : PETSC_FALSE;
  FwMixturePoint  point;

  PetscFunctionBegin;
  PetscCall(FwMixturePointRead(common, &point));
  if (common->request->is_single) PetscCall(FwPrintMixtureHeader(&point.finite, &point.limit, point.n_sample));
  if (isfinite(point.limit.a))
    PetscCall(Forgive(AddReport(comm, common, number, &point, record), record, &is_converged));
  else if (has_posterior)
    PetscCall(FwPosteriorRecordDigest(group, record));
  if (has_posterior) PetscCall(FwPredictWarnAboutMean(comm, group->data, number, &point.model));
  if (has_posterior) PetscCall(AddPosterior(common, group, number, &point, record, &is_converged));
  PetscCall(FwRecordInteger(record, "converged", is_converged, "1", "1: every number can be trusted"));
  PetscCall(ForgetSamples(comm, common, number));
  PetscCall(FwMixturePointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateGroup(MPI_Comm comm, const FwMixtureCommon *common, PetscInt n, PetscInt first,
                                  FwPosteriorGroup *group)
{
  char                       path[PETSC_MAX_PATH_LEN];
  const FwPosteriorGroupPlan plan = {.n_point     = n,
                                     .temperature = common->lowest_temperature,
                                     .checkpoint  = path,
                                     .resume      = common->request->resume,
                                     .interval    = FwRequestCheckpointSeconds()};

  PetscFunctionBegin;
  PetscCall(FwRequestPointCheckpoint(common->request, first, sizeof path, path));
  PetscCall(FwPosteriorGroupCreate(comm, &plan, group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A record with anything in it would count as a finished point after a stop */
static PetscErrorCode EmptyRecord(FwRecord *record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordDestroy(record));
  PetscCall(FwRecordCreate(record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                              void *context)
{
  const FwMixtureCommon *common    = context;
  FwPosteriorGroup       group     = {0};
  PetscBool              has_group = PETSC_TRUE;
  PetscInt       n_whole; /* of the scan, not of what is left of it: a resumed run decomposes in the same form */
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwScanGetGroupSize(scan, FwPosteriorSharedKeys, &n_whole));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    if (common->has_posterior && i == 0)
      PetscCall(Forgive(CreateGroup(comm, common, n_whole, point[i], &group), record[i], &has_group));
    code = RunPoint(comm, common, has_group ? &group : NULL, point[i], record[i]);
    if (code) PetscCall(EmptyRecord(&record[i]));
    PetscCall(code);
    PetscCall(FwScanKeep(scan, comm, i + 1, point, record));
  }
  PetscCall(FwPosteriorGroupDestroy(&group));
  PetscFunctionReturn(PETSC_SUCCESS);
}
