/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth sample`: the posterior of the finite network, sampled, beside its prediction.
 */

#include "command.h"
#include "predict.h"
#include "predict_print.h"
#include "sample.h"
#include "sample_print.h"

#include <finwidth/option.h>

#include <stdlib.h>
#include <string.h>

typedef struct {
  const FwRequest *request;
  FwPredict        predict;
} Sample;

/* --- keys --------------------------------------------------------------------------------------------------- */

/* 0 for a key that is not set; the table's largest values fit */
static PetscErrorCode ReadCount(const char key[], PetscInt *value)
{
  PetscInt64 number = 0;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger(key, &number, NULL));
  *value = (PetscInt)number;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSampler(FwSamplerPlan *sampler)
{
  PetscInt64 seed;
  PetscInt   method;
  PetscBool  is_set;

  PetscFunctionBegin;
  *sampler = (FwSamplerPlan){0};
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwOptionChoice("sampler_method", &method, NULL));
  sampler->seed   = (uint64_t)seed;
  sampler->method = (FwSamplerMethod)method;
  PetscCall(ReadCount("sampler_chains", &sampler->n_chain));
  PetscCall(ReadCount("sampler_samples", &sampler->n_sample));
  PetscCall(ReadCount("sampler_burnin", &sampler->n_burnin));
  PetscCall(FwOptionReal("sampler_step", &sampler->step, &is_set));
  if (!is_set) sampler->step = 0.0;
  PetscCheck(is_set || sampler->n_burnin > 0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "sampler_burnin is 0 and leaves no samples to tune the step: give sampler_step");
  PetscCall(ReadCount("sampler_leapfrog", &sampler->leapfrog));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPlan(FwSampledPlan *plan)
{
  PetscBool is_set;

  PetscFunctionBegin;
  *plan = (FwSampledPlan){0};
  PetscCall(ReadSampler(&plan->chains.sampler));
  PetscCall(FwOptionBoolean("sampler_collapsed", &plan->is_collapsed, &is_set));
  if (!is_set) plan->is_collapsed = plan->chains.sampler.method == FW_SAMPLER_HMC ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(FwOptionBoolean("theory_observables", &plan->with_hidden, NULL));
  PetscCall(FwOptionBoolean("save_predictions", &plan->with_means, NULL));
  PetscCall(FwOptionBoolean("save_weights", &plan->with_weights, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Also what the theory does not cover is sampled: paths of an lcn whose layers overlap, means of deep networks of patches */
static PetscErrorCode CheckNetwork(void)
{
  FwModel model;

  PetscFunctionBegin;
  PetscCall(FwModelFromOptions(&model));
  for (PetscInt l = 0; l <= model.depth && model.type != FW_NETWORK_FC; l++)
    PetscCheck(model.bias[l] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_bias: cnn, lcn and pool have no biases, want 0");
  PetscCall(FwModelDestroy(&model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what it will need -------------------------------------------------------------------------------------- */

static PetscErrorCode EstimateOn(MPI_Comm comm, const FwDataSizes *sizes, const FwModel *model, FwSampledCost *cost)
{
  FwSampledPlan plan;

  PetscFunctionBegin;
  PetscCall(ReadPlan(&plan));
  PetscCall(FwSampledEstimate(comm, model, sizes, &plan, cost));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampleEstimate(MPI_Comm comm, const FwDataSizes *sizes, FwSampledCost *cost)
{
  FwModel model;

  PetscFunctionBegin;
  PetscCall(FwModelFromOptions(&model));
  PetscCall(EstimateOn(comm, sizes, &model, cost));
  PetscCall(FwModelDestroy(&model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether an error of the prediction is one that the sampler can do without; if so it becomes a warning */
static PetscErrorCode ForgivePrediction(PetscErrorCode code, FwExit *outcome)
{
  PetscFunctionBegin;
  *outcome = FwExitOf(code);
  if (*outcome != FW_EXIT_INPUT && *outcome != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  PetscCall(FwWarn("no prediction: %s", FwErrorMessage()));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The prediction's, then the sampler's of the first point */
static PetscErrorCode DryRun(const FwRequest *request)
{
  FwSampledCost  cost;
  FwDataset      data;
  FwDataSizes    sizes;
  FwExit         outcome;
  PetscErrorCode code;

  PetscFunctionBegin;
  code = FwErrorAgreeAny(PETSC_COMM_WORLD, FwPredictDryRun(request));
  if (code) PetscCall(ForgivePrediction(code, &outcome));
  PetscCall(FwScanApply(request->scan, 0));
  PetscCall(FwPredictLoadData(PETSC_COMM_WORLD, &data));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwSampleEstimate(PETSC_COMM_WORLD, &sizes, &cost));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "\nsampler ranks of a chain: %" PetscInt_FMT ", %.2g GiB on the first rank\n\n",
                        cost.n_rank_chain, cost.peak_bytes / 1073741824.0));
  PetscCall(FwPrintStage("sampling", cost.flops, cost.seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every point is read once before anything is computed */
static PetscErrorCode CheckPoints(const FwRequest *request)
{
  PetscInt n_point;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    FwSampledPlan plan;
    double        temperature;

    PetscCall(FwScanApply(request->scan, p));
    PetscCall(ReadPlan(&plan));
    PetscCall(CheckNetwork());
    PetscCall(FwOptionReal("temperature", &temperature, NULL));
    PetscCheck(temperature > 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "temperature: a posterior is sampled at T > 0, not at %.6g", temperature);
  }
  PetscCall(FwScanApply(request->scan, -1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ---------------------------------------------------------------------------------------------- */

/* Chains that agree about the energy and about nothing else have each found a basin of their own */
static PetscErrorCode WarnAboutChains(FwSampled sampled, FwRecord record)
{
  const double   divergent_most = 1e-3, apart = 1.05, energy_rhat = FwRecordAt(record, "energy_rhat", 0);
  FwSampledState state;

  PetscFunctionBegin;
  PetscCall(FwSampledGetState(sampled, &state));
  if (!state.is_converged)
    PetscCall(
      FwWarn("the chains have R-hat %.4f (want at most %g) and %.0f effective samples (want %.0f): %s", state.rhat,
             FW_SAMPLED_RHAT_MOST, state.ess, state.ess_least,
             state.rhat > apart && energy_rhat <= FW_SAMPLED_RHAT_MOST
               ? "they agree about the energy, so each may be in a basin of its own, which more samples do not mend; a "
                 "larger temperature or network_width does"
               : "more sampler_samples, or a longer sampler_burnin"));
  if (state.n_divergent > divergent_most * state.n_move)
    PetscCall(
      FwWarn("%.3g %% of the moves diverged: there are places that the step is too large for; try half of "
             "sampler_step %g",
             100.0 * state.n_divergent / state.n_move, state.step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On rank 0 of the point's communicator, which holds the result */
static PetscErrorCode Report(const Sample *sample, FwSampled sampled, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(FwSampleMeasureModes(sampled, record));
  PetscCall(FwSampledRecord(sampled, record));
  PetscCall(FwSampleCompare(sampled, record));
  if (sample->request->is_single) PetscCall(FwPrintSampled(sampled, record));
  if (sample->request->is_single) PetscCall(WarnAboutChains(sampled, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SamplePoint(MPI_Comm comm, const Sample *sample, PetscInt point, FwDataset data,
                                  const FwModel *model, FwRecord record)
{
  FwSampledPlan plan;
  FwSampled     sampled;
  PetscMPIInt   rank;
  const char   *digest;
  char          path[PETSC_MAX_PATH_LEN], tag[96];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(ReadPlan(&plan));
  PetscCall(FwRequestPointCheckpoint(sample->request, point, sizeof path, path));
  PetscCall(FwDatasetGetDigest(data, &digest));
  snprintf(tag, sizeof tag, "%s-%s", sample->request->tag, digest); /* the file of the data may have changed */
  plan.chains.checkpoint = path;
  plan.chains.tag        = tag;
  plan.chains.resume     = sample->request->resume;
  plan.chains.interval   = FwRequestCheckpointSeconds();
  PetscCall(FwSampledRun(comm, data, model, &plan, &sampled));
  PetscCall(FwErrorAgree(comm, 0, rank == 0 ? Report(sample, sampled, record) : PETSC_SUCCESS));
  PetscCall(FwSampledDestroy(&sampled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Networks that the theory does not cover, or not at this point, are sampled all the same */
static PetscErrorCode AddPrediction(MPI_Comm comm, FwScan scan, Sample *sample, PetscInt point, FwRecord record)
{
  static const char *const source[] = {"the sampled point"};
  FwRecord                 prediction;
  PetscErrorCode           code;
  FwExit                   outcome;

  PetscFunctionBegin;
  PetscCall(FwRecordCreate(&prediction));
  PetscCall(FwRecordSetPrefix(prediction, "/predict/"));
  code = FwErrorAgreeAny(comm, FwPredictGroup(comm, scan, 1, &point, &prediction, &sample->predict));
  if (code) {
    PetscCall(ForgivePrediction(code, &outcome));
    if (outcome == FW_EXIT_NUMERICAL)
      PetscCall(FwRecordInteger(record, "/predict/converged", 0, "1", "1 if the solver converged"));
  } else {
    PetscCall(FwRecordJoin(record, prediction, source));
  }
  PetscCall(FwRecordDestroy(&prediction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The prediction first: it takes a moment, and whoever reads along has something to wait with */
static PetscErrorCode ComputePoint(MPI_Comm comm, FwScan scan, Sample *sample, PetscInt point, FwRecord record)
{
  FwModel       model;
  FwSampledCost cost;
  FwDataset     data;
  FwDataSizes   sizes;

  PetscFunctionBegin;
  PetscCall(FwScanApply(scan, point));
  PetscCall(FwModelFromOptions(&model));
  PetscCall(FwPredictLoadData(comm, &data));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(EstimateOn(comm, &sizes, &model, &cost)); /* what does not fit is refused before anything is computed */
  PetscCall(AddPrediction(comm, scan, sample, point, record));
  PetscCall(SamplePoint(comm, sample, point, data, &model, record));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwModelDestroy(&model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A stopped point hands back an empty record: it has a checkpoint of its own, and its prediction is quickly made again */
static PetscErrorCode SampleGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                                  void *context)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    FwRecord       whole;
    PetscErrorCode code;

    PetscCall(FwRecordCreate(&whole));
    code = ComputePoint(comm, scan, (Sample *)context, point[i], whole);
    PetscCall(FwRecordDestroy(code ? &whole : &record[i]));
    PetscCall(code);
    record[i] = whole;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the command -------------------------------------------------------------------------------------------- */

static PetscErrorCode WarnAboutPredictions(const FwRequestSummary *summary, FwRecord all)
{
  PetscInt n_failed = 0, n_several = 0;

  PetscFunctionBegin;
  for (PetscInt p = 0; p < summary->n_point; p++) {
    if (FwRecordAt(all, "/predict/converged", p) == 0.0) n_failed++;
    if (FwRecordAt(all, "/predict/metastable_count", p) > 0.0) n_several++;
  }
  if (n_failed)
    PetscCall(FwWarn("the solver of the prediction did not converge at %" PetscInt_FMT
                     " points: nothing is compared with it there",
                     n_failed));
  if (n_several)
    PetscCall(FwWarn("the prediction has several minima at %" PetscInt_FMT
                     " points: compared with the lowest, while chains may be in another",
                     n_several));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Only rank 0 has the record: on the others nothing is found in it */
static PetscErrorCode ReportScan(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  (void)context;
  PetscFunctionBegin;
  if (!request->is_single) PetscCall(FwPrintSampledScan(request->scan, all));
  PetscCall(WarnAboutPredictions(summary, all));
  PetscCall(FwPredictWarnAboutAverages("/predict/", summary->n_point, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Introduce(const FwRequest *request, void *context)
{
  (void)context;
  PetscFunctionBegin;
  PetscCall(FwPredictIntroduce(request));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const FwRequest *request)
{
  static const char *const no_keys[] = {NULL}, *const groups[] = {"/sample", "/predict", NULL};
  Sample sample = {
    .request = request,
    .predict = {.request = request, .shared = no_keys, .is_beside = PETSC_TRUE, .is_quiet = PETSC_TRUE}
  };
  const FwRequestPlan plan = {
    .shared   = no_keys,
    .groups   = groups,
    .prepare  = Introduce,
    .function = SampleGroup,
    .context  = &sample,
    .failure  = "the chains have not converged (R-hat above 1.01, or too few effective samples: more sampler_samples)",
    .report   = ReportScan};

  PetscFunctionBegin;
  PetscCall(FwPredictCheckFile(&sample.predict));
  PetscCall(FwRequestRun(request, &plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Sample(const char *input)
{
  FwRequest request;

  PetscFunctionBegin;
  PetscCall(FwRequestCreate(input, "sample", FW_FOR_SAMPLE, &request));
  PetscCall(CheckPoints(&request));
  PetscCall(FwPredictWarnAboutUnused(request.scan));
  PetscCall(request.is_dry ? DryRun(&request) : Run(&request));
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
