/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Computing a group of points that share a kernel.
 */

#include "predict.h"

#include "predict_print.h"

#include <finwidth/observables.h>
#include <finwidth/option.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

PetscErrorCode FwPredictLoadData(MPI_Comm comm, FwDataset *data)
{
  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(comm, data));
  PetscCall(FwDatasetSetFromOptions(*data));
  PetscCall(FwDatasetSetUp(*data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictWarnAboutFailure(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->failure) PetscCall(FwWarn("no prediction: %s", p->reason));
  if (p->average_reason[0]) PetscCall(FwWarn("no average: %s", p->average_reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutAverage(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->n_output == 1 || !p->request.with_average || !p->saddle.n_minimum) PetscFunctionReturn(PETSC_SUCCESS);
  if (!p->outputs.is_available && !p->average_reason[0])
    PetscCall(
      FwWarn("theory_average: no average: with several outputs it is for layers of at least as many units as outputs "
             "(%" PetscInt_FMT ")",
             p->n_output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutSaddle(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->saddle.n_minimum > 1)
    PetscCall(FwWarn("the action has %" PetscInt_FMT " minima; the result is the lowest, S = %.6g; the next is "
                     "metastable, S = %.6g",
                     p->saddle.n_minimum, p->saddle.minimum[0].value, p->saddle.minimum[1].value));
  if (p->saddle.n_minimum && !p->saddle.is_complete && p->request.composition == FW_COMPOSITION_PRODUCT &&
      p->n_output == 1 && !p->shift)
    PetscCall(
      FwWarn("two stationary points of the action lie closer than 1e-7 in log Q (a spinodal): one of them may "
             "be missing"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictRecordDigest(FwDataset data, FwRecord record)
{
  const char *digest;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(data, &digest));
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(FwGrid grid, FwDataset data, const FwPredictPoint *point, const FwPrediction *prediction,
                              FwRecord record)
{
  double        order = prediction->saddle.n_minimum ? exp(prediction->saddle.minimum[0].log_order) : 1.0;
  FwObservables observables;

  PetscFunctionBegin;
  if (!point->with_observables || prediction->failure) PetscFunctionReturn(PETSC_SUCCESS);
  if (prediction->shift) order = NAN; /* with mean terms: no formulas yet for what is learnt */
  PetscCall(FwObservablesCreate(grid, &point->model, data, order, &observables));
  PetscCall(FwObservablesRecord(&observables, record));
  PetscCall(FwObservablesDestroy(&observables));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the layers that the kernel depends on: without the prior of the readout */
static uint64_t LayersDigest(const FwModel *model)
{
  uint64_t digest = 0;

  for (PetscInt l = 0; l < model->depth; l++) {
    const double layer[] = {model->prior[l], model->bias[l], model->activation[l]};

    digest = XXH3_64bits_withSeed(layer, sizeof layer, digest);
  }
  return digest;
}

/* A file of the decomposition is named by the data and by the keys that the kernel depends on */
static PetscErrorCode DescribeKernel(FwDataset data, const FwModel *model, const FwTheory *theory, size_t size,
                                     char text[])
{
  const char *digest;
  int         n;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(data, &digest));
  n = snprintf(text, size, "kernel-2 data %s %s, %" PetscInt_FMT " layers %016" PRIx64, digest,
               theory->theory == FW_THEORY_NTK ? "ntk"
               : theory->with_mean             ? "centred"
                                               : "nngp",
               model->depth, LayersDigest(model));
  if (model->type == FW_NETWORK_POOL)
    snprintf(text + n, size - (size_t)n, ", pool %" PetscInt_FMT " %" PetscInt_FMT " %" PetscInt_FMT " %" PetscInt_FMT,
             model->mask[0], model->mask[1], model->stride[0], model->stride[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How a group is computed: its predictor, and what is the same for all its points */
typedef struct {
  MPI_Comm        comm;
  FwGrid          grid;
  FwDataset       data;
  FwPredictorPlan plan;
  FwPredictor     predictor;
  PetscBool       with_table;
  char            file[PETSC_MAX_PATH_LEN], digest[256];
} Group;

/* Lowest point on the kernel of this one, computed or not: a name for the kernel that a resumed scan finds again */
static PetscInt FirstOnKernel(const FwPredict *predict, FwScan scan, PetscInt point)
{
  PetscInt n_axis, first = 0;

  (void)FwScanGetSize(scan, &n_axis, NULL, NULL);
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;
    PetscInt          position = FwScanPosition(scan, point, d);

    (void)FwScanGetAxis(scan, d, &axis);
    for (const char *const *key = predict->shared; *key; key++)
      if (!strcmp(*key, axis->key->name)) position = 0;
    first = first * axis->n + position;
  }
  return first;
}

/* The file that the user wants to keep, or one beside the checkpoint while the group is computed */
static PetscErrorCode PlanPredictor(const FwPredict *predict, FwScan scan, PetscInt point, const FwPredictPoint *first,
                                    PetscInt bandwidth, Group *group)
{
  const FwRequest *request = predict->request;
  PetscBool        has_file;

  PetscFunctionBegin;
  PetscCall(FwOptionText("theory_decomposition", sizeof group->file, group->file, &has_file));
  if (!has_file)
    PetscCall(PetscSNPrintf(group->file, sizeof group->file, "%s.kernel-%" PetscInt_FMT, request->checkpoint,
                            FirstOnKernel(predict, scan, point)));
  PetscCall(DescribeKernel(group->data, &first->model, &first->theory, sizeof group->digest, group->digest));
  group->plan = (FwPredictorPlan){.bandwidth    = bandwidth,
                                  .file         = group->file,
                                  .digest       = group->digest,
                                  .is_temporary = has_file ? PETSC_FALSE : PETSC_TRUE,
                                  .interval     = FwRequestCheckpointSeconds()};
  if (!request->resume) PetscCall(FwPredictorForget(group->comm, &group->plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Once for all points */
static PetscErrorCode NoteInnerBias(const FwPredictPoint *point, FwRecord record)
{
  PetscFunctionBegin;
  if (!FwPredictHasInnerBias(point)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(
    FwWarn("network_bias: with biases in hidden layers behind the first the product form, its average too, is "
           "approximate also for linear networks"));
  PetscCall(
    FwRecordInteger(record, "exact_for_linear", 0, "1", "0 where the action is not exact even for linear networks"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordPoint(const Group *group, const FwPredictPoint *point, const FwPrediction *prediction,
                                  FwRecord record)
{
  const double *targets;
  PetscBool     with_table;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(group->data, FW_TEST, &targets));
  with_table = group->with_table && !prediction->failure ? PETSC_TRUE : PETSC_FALSE;
  if (with_table) PetscCall(FwPrintPrediction(prediction, FwPredictHasInnerBias(point) ? PETSC_FALSE : PETSC_TRUE));
  if (with_table) PetscCall(WarnAboutSaddle(prediction));
  if (with_table) PetscCall(WarnAboutAverage(prediction));
  PetscCall(FwPredictWarnAboutFailure(prediction));
  PetscCall(FwPredictionRecord(prediction, targets, record));
  PetscCall(NoteInnerBias(point, record));
  PetscCall(FwRecordInteger(record, "bandwidth", group->plan.bandwidth, "1", "bandwidth of the decomposed kernel"));
  PetscCall(Observe(group->grid, group->data, point, prediction, record));
  PetscCall(FwPredictRecordDigest(group->data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictSome(const Group *group, PetscInt n, const FwPredictPoint point[], FwRecord record[])
{
  FwPrediction      *prediction;
  FwLocalPrediction *lesson = NULL;
  FwModel           *model;
  FwTheory          *theory;
  FwDataSizes        sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  if (sizes.n_validation) PetscCall(PetscMalloc1(n, &lesson));
  if (lesson) PetscCall(FwPredictLearn(group->grid, group->data, n, point, lesson));
  PetscCall(PetscMalloc3(n, &prediction, n, &model, n, &theory));
  for (PetscInt i = 0; i < n; i++) {
    model[i]  = point[i].model;
    theory[i] = point[i].theory;
  }
  PetscCall(FwPredictorRun(group->predictor, n, model, theory, prediction));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(RecordPoint(group, &point[i], &prediction[i], record[i]));
    PetscCall(FwPredictionDestroy(&prediction[i]));
    if (lesson) PetscCall(FwPredictRecordLesson(&lesson[i], group->with_table, record[i]));
    if (lesson) PetscCall(FwLocalPredictionDestroy(&lesson[i]));
  }
  PetscCall(PetscFree(lesson));
  PetscCall(PetscFree3(prediction, model, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Or where the next step, of so many seconds, would not be finished in time */
static PetscErrorCode LeaveIfAsked(const Group *group, double seconds)
{
  PetscBool stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequestedWithin(group->comm, seconds, &stop));
  PetscCheck(!stop, group->comm, FW_ERR_STOPPED,
             "stopped early, the decomposition is in '%s': run the same command with -resume", group->file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A few points of each rank at a time: between them a request to stop is heard, and what is finished is kept */
static PetscErrorCode PredictInTurns(const Group *group, PetscInt at_once, const FwPredictPoints *p)
{
  FwProgress     progress;
  PetscLogDouble begin, now;
  double         slowest = 0.0;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("points", p->n, &progress));
  for (PetscInt first = 0; first < p->n; first += at_once) {
    const PetscInt n = PetscMin(at_once, p->n - first);

    PetscCall(LeaveIfAsked(group, slowest));
    PetscCall(PetscTime(&begin));
    PetscCall(PredictSome(group, n, p->point + first, p->record + first));
    PetscCall(PetscTime(&now));
    slowest = PetscMax(slowest, now - begin);
    PetscCall(FwProgressStep(progress, first + n));
    PetscCall(FwScanKeep(p->scan, p->comm, first + n, p->number, p->record));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictAll(const Group *group, const FwPredictPoints *p)
{
  enum { POINTS_PER_RANK = 8 };
  PetscMPIInt size;

  PetscFunctionBegin;
  PetscCall(LeaveIfAsked(group, 0.0));
  PetscCallMPI(MPI_Comm_size(group->comm, &size));
  if (p->n > POINTS_PER_RANK * size)
    PetscCall(PredictInTurns(group, POINTS_PER_RANK * size, p));
  else
    PetscCall(PredictSome(group, p->n, p->point, p->record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* No point has a prediction where the kernel is none */
static PetscErrorCode RecordFailure(const Group *group, const FwPredictPoints *p, PetscErrorCode code)
{
  FwPrediction failed = {0};

  PetscFunctionBegin;
  PetscCall(FwPredictionFail(&failed, code));
  for (PetscInt i = 0; i < p->n; i++) PetscCall(RecordPoint(group, &p->point[i], &failed, p->record[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictPoints(Group *group, const FwPredictPoints *p)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  code = FwErrorAgreeAny(group->comm, FwPredictorCreate(group->grid, &p->point->model, group->data, &p->point->theory,
                                                        &group->plan, &group->predictor));
  if (code) {
    PetscCall(RecordFailure(group, p, code));
    PetscCall(FwPredictorForget(group->comm, &group->plan));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  code = PredictAll(group, p);
  if (FwExitOf(code) == FW_EXIT_STOPPED) PetscCall(FwPredictorKeep(group->predictor, &group->plan));
  PetscCall(code);
  PetscCall(FwPredictorDestroy(&group->predictor));
  PetscCall(FwPredictorForget(group->comm, &group->plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All points on one decomposed kernel, in the form that the estimate says: it is of the whole scan, not of what is left of
   it, so that a resumed run computes in the same form */
static PetscErrorCode PredictOnKernel(const FwPredict *predict, const FwPredictPoints *p, PetscBool is_quiet,
                                      Group *group)
{
  const FwPredictUse use = {
    .n_point            = (double)p->n_kernel,
    .temperature_lowest = p->n_kernel > 1 ? predict->temperature_lowest : p->point->model.temperature};
  FwEstimate  estimate;
  FwDataSizes sizes;
  double      flops, seconds, bytes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  PetscCall(FwPredictEstimate(group->grid, &sizes, p->point, &use, &estimate));
  PetscCall(FwPredictLearnCost(group->grid, group->data, p->n, p->point, &flops, &seconds, &bytes));
  estimate.peak_bytes += bytes;
  seconds += estimate.assembly_seconds + estimate.decomposition_seconds + estimate.use_seconds;
  if (!is_quiet) PetscCall(FwPredictPrintPlan(group->comm, &estimate, seconds));
  if (!predict->is_beside) PetscCall(FwScanExpect(p->scan, group->comm, seconds));
  PetscCall(PlanPredictor(predict, p->scan, p->number[0], p->point, estimate.bandwidth, group));
  PetscCall(PredictPoints(group, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                              void *context)
{
  const FwPredict *predict    = (const FwPredict *)context;
  const PetscBool  with_table = predict->request->is_single && !predict->is_quiet ? PETSC_TRUE : PETSC_FALSE;
  const PetscBool  is_quiet   = !with_table && (point[0] || predict->is_quiet) ? PETSC_TRUE : PETSC_FALSE;
  Group            group      = {.comm = comm};
  FwPredictPoint  *here;
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &here));
  FwPredictPoints points = {.comm      = comm,
                            .scan      = scan,
                            .n         = n,
                            .number    = point,
                            .point     = here,
                            .record    = record,
                            .is_beside = predict->is_beside};

  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    PetscCall(FwPredictPointRead(&here[i]));
    here[i].theory.with_curve = with_table;
  }
  PetscCall(FwScanGetGroupSize(scan, predict->shared, &points.n_kernel));
  PetscCall(FwGridCreate(comm, &group.grid));
  PetscCall(FwPredictEstimateExamples(group.grid));
  PetscCall(FwPredictLoadData(comm, &group.data));
  group.with_table = with_table;
  for (PetscInt i = 0; i < n; i++) {
    if (predict->is_beside) PetscCall(FwPredictLeaveObservables(group.data, &here[i]));
    PetscCall(FwPredictPointAdapt(group.data, &here[i]));
  }
  PetscCall(FwPredictWarnAboutMean(comm, group.data, point[0], &here[0].model));
  if (!is_quiet && here[0].mean_words[0]) PetscCall(PetscPrintf(comm, "mean    terms %s\n", here[0].mean_words));
  code = FwPredictIsLocal(&here[0].model) ? FwPredictLocalPoints(group.grid, group.data, is_quiet, &points)
                                          : PredictOnKernel(predict, &points, is_quiet, &group);
  PetscCall(FwGridDestroy(&group.grid));
  PetscCall(FwDatasetDestroy(&group.data));
  for (PetscInt i = 0; i < n; i++) PetscCall(FwPredictPointDestroy(&here[i]));
  PetscCall(PetscFree(here));
  PetscFunctionReturn(code); /* a caller may go on without a prediction */
}
