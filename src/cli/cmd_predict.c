/** @file
 * `finwidth predict`: the predicted errors of a finite network, as a table, a result file and a picture.
 */

#include "command.h"
#include "predict_print.h"

#include <finwidth/activation.h>
#include <finwidth/checkpoint.h>
#include <finwidth/estimate.h>
#include <finwidth/observables.h>
#include <finwidth/option.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Between checkpoints; a test sets the variable */
static double CheckpointSeconds(void)
{
  const char *text = getenv("FINWIDTH_CHECKPOINT_SECONDS");

  return text ? strtod(text, NULL) : 60.0;
}

/* Points that differ in these alone have one kernel, in the product composition */
static const char *const shared_keys[] = {"temperature", "network_width", "network_prior_readout", "theory_average",
                                          NULL};
static const char *const no_keys[]     = {NULL};

/* What the run was asked for */
typedef struct {
  PetscBool overwrite, resume, is_dry, is_single, with_means;
  char      output[PETSC_MAX_PATH_LEN], checkpoint[PETSC_MAX_PATH_LEN];
  char     *resolved;
  char      tag[32];
  FwScan    scan;
  PetscBool is_shared; /* points may share a kernel */
} Request;

/* One point: its network and what to predict of it */
typedef struct {
  FwModel  model;
  FwTheory theory;
} Point;

PetscErrorCode FwCommandOutput(const char *input, const char command[], size_t size, char path[])
{
  const char *base, *end;
  PetscBool   is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionText("output", size, path, &is_set));
  if (is_set) PetscFunctionReturn(PETSC_SUCCESS);
  base = input ? strrchr(input, '/') : NULL;
  base = base ? base + 1 : input ? input : command;
  end  = strrchr(base, '.');
  snprintf(path, size, "%.*s.h5", end && end > base ? (int)(end - base) : (int)strlen(base), base);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point's keys --------------------------------------------------------------------------------------- */

static PetscErrorCode IsOdd(const FwModel *model, PetscBool *is_odd)
{
  PetscFunctionBegin;
  *is_odd = PETSC_TRUE;
  for (PetscInt l = 0; l < model->depth && *is_odd; l++) {
    FwActivation activation;

    PetscCall(FwActivationGet((FwActivationType)model->activation[l], &activation));
    PetscCall(FwActivationIsOdd(activation, is_odd));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Theories that are not built are refused by name, not silently replaced */
static PetscErrorCode ReadTheory(const FwModel *model, FwTheory *theory)
{
  PetscInt  choice, composition, mean;
  PetscBool has_new;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_model", &choice, NULL));
  theory->theory = (FwTheoryModel)choice;
  PetscCall(FwOptionChoice("theory_composition", &composition, NULL));
  theory->composition = model->depth == 1 ? FW_COMPOSITION_PRODUCT : (FwComposition)composition;
  PetscCheck(theory->composition != FW_COMPOSITION_LINEARISED || model->depth == 2, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_composition: 'linearised' is for two hidden layers, the network has %" PetscInt_FMT, model->depth);
  PetscCall(FwOptionIsSet("data_predict", &has_new));
  PetscCheck(!has_new || theory->composition == FW_COMPOSITION_PRODUCT, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "data_predict needs theory_composition 'product' in this version");
  PetscCall(FwOptionChoice("theory_mean", &mean, NULL));
  PetscCheck(mean != 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_mean: 'on' is not in this version, want off (the plain second-moment kernel) or auto");
  PetscCall(FwOptionBoolean("theory_average", &theory->with_average, NULL));
  PetscCall(FwOptionBoolean("save_predictions", &theory->with_means, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoint(Point *point)
{
  PetscFunctionBegin;
  PetscCall(FwModelFromOptions(&point->model));
  PetscCheck(point->model.type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: only 'fc' is in this version");
  PetscCall(ReadTheory(&point->model, &point->theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the request -------------------------------------------------------------------------------------------- */

/* A scanned width holds for all layers: their number is that of the list it replaces */
static PetscErrorCode KeepDepth(void)
{
  enum { WIDTH_MAX = 4096 };
  PetscInt64 width[WIDTH_MAX];
  PetscInt   n = WIDTH_MAX;
  PetscBool  is_scanned, has_depth;
  char       text[32];

  PetscFunctionBegin;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_network_width", &is_scanned));
  PetscCall(FwOptionIsSet("network_depth", &has_depth));
  PetscCall(FwOptionIntegers("network_width", &n, width));
  if (!is_scanned || has_depth || n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT, n));
  PetscCall(PetscOptionsSetValue(NULL, "-network_depth", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One file holds one kernel */
static PetscErrorCode CheckDecompositionFile(const Request *request, PetscInt n_axis)
{
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("theory_decomposition", &is_set));
  for (PetscInt d = 0; d < n_axis && is_set; d++) {
    const FwScanAxis *axis;
    PetscBool         is_shared = PETSC_FALSE;

    PetscCall(FwScanGetAxis(request->scan, d, &axis));
    for (const char *const *key = shared_keys; *key; key++)
      if (!strcmp(*key, axis->key->name)) is_shared = request->is_shared;
    PetscCheck(is_shared || axis->n == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "theory_decomposition keeps one kernel, and the scan over '%s' needs several", axis->key->name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every point is read once before anything is computed: a bad value is found at once */
static PetscErrorCode CheckPoints(Request *request)
{
  PetscInt  n_axis, n_point;
  PetscBool is_odd = PETSC_TRUE, wants_hint = PETSC_FALSE;
  PetscInt  mean;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(request->scan, &n_axis, &n_point, NULL));
  request->is_single = n_axis == 0 ? PETSC_TRUE : PETSC_FALSE;
  request->is_shared = PETSC_TRUE;
  for (PetscInt p = 0; p < n_point; p++) {
    Point point;

    PetscCall(FwScanApply(request->scan, p));
    PetscCall(ReadPoint(&point));
    if (point.theory.composition != FW_COMPOSITION_PRODUCT) request->is_shared = PETSC_FALSE;
    PetscCall(IsOdd(&point.model, &is_odd));
    if (!is_odd && point.theory.theory == FW_THEORY_RENORMALISED) wants_hint = PETSC_TRUE;
    PetscCall(FwModelDestroy(&point.model));
  }
  PetscCall(FwScanApply(request->scan, -1));
  PetscCall(CheckDecompositionFile(request, n_axis));
  PetscCall(FwOptionChoice("theory_mean", &mean, NULL));
  if (mean == 0 && wants_hint)
    PetscCall(
      FwWarn("theory_mean: auto takes the plain second-moment kernel (off) for an activation that is not odd: "
             "good for balanced labels"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Digest of a resolved input without the keys that say how, not what, to compute */
static void MakeTag(const char resolved[], char tag[32])
{
  static const char *const how[] = {
    "output:", "overwrite:", "resume:", "walltime:", "memory:", "dry_run:", "theory_decomposition:"};
  XXH64_hash_t hash = 0;

  for (const char *line = resolved; *line;) {
    const size_t n    = strcspn(line, "\n") + 1;
    PetscBool    skip = PETSC_FALSE;

    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(how); i++)
      if (!strncmp(line, how[i], strlen(how[i]))) skip = PETSC_TRUE;
    if (!skip) hash = XXH3_64bits_withSeed(line, n, hash);
    line += n;
  }
  snprintf(tag, 32, "predict-1-%016" PRIx64, (uint64_t)hash);
}

static PetscErrorCode ReadRequest(const char *input, Request *request)
{
  PetscFunctionBegin;
  PetscCall(FwCommandOutput(input, "predict", sizeof request->output, request->output));
  snprintf(request->checkpoint, sizeof request->checkpoint, "%.*s.chk", PETSC_MAX_PATH_LEN - 8, request->output);
  PetscCall(FwOptionBoolean("overwrite", &request->overwrite, NULL));
  PetscCall(FwOptionBoolean("resume", &request->resume, NULL));
  PetscCall(FwOptionBoolean("dry_run", &request->is_dry, NULL));
  PetscCall(FwOptionBoolean("save_predictions", &request->with_means, NULL));
  PetscCall(FwOptionsResolved(FW_FOR_PREDICT, &request->resolved));
  PetscCall(KeepDepth());
  PetscCall(FwScanCreate(&request->scan));
  PetscCall(CheckPoints(request));
  MakeTag(request->resolved, request->tag);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyRequest(Request *request)
{
  PetscFunctionBegin;
  PetscCall(FwScanDestroy(&request->scan));
  PetscCall(PetscFree(request->resolved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a group of points on one kernel ------------------------------------------------------------------------ */

static PetscErrorCode LoadData(MPI_Comm comm, FwDataset *data)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(comm, data));
  PetscCall(FwDatasetSetFromOptions(*data));
  PetscCall(FwDatasetSetUp(*data));
  PetscCall(FwDatasetGetSizes(*data, &sizes));
  PetscCheck(sizes.n_output == 1, comm, FW_ERR_INPUT,
             "the data have %" PetscInt_FMT
             " outputs, this version predicts one: choose two classes "
             "(data_classes) with data_encoding sign",
             sizes.n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a group of points on one kernel will need */
static PetscErrorCode Estimate(FwGrid grid, FwDataset data, PetscInt n, const FwModel model[], const FwTheory theory[],
                               FwEstimate *estimate)
{
  static const PetscInt bandwidths[]     = {-1, 64, 1, 0}; /* in the order of the key's choices */
  const double          nodes_of_average = 36.0, points_of_curve = 121.0;
  FwDataSizes           sizes;
  FwWork                work;
  PetscInt              choice;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwOptionChoice("theory_bandwidth", &choice, NULL));
  work = (FwWork){.n_train            = sizes.n_train,
                  .n_test             = sizes.n_test + sizes.n_new,
                  .n_input            = sizes.n_input,
                  .depth              = (double)model[0].depth,
                  .n_point            = (double)n,
                  .n_node             = theory[0].with_average ? nodes_of_average : 0.0,
                  .n_curve            = theory[0].with_curve ? points_of_curve : 0.0,
                  .temperature_lowest = 1.0,
                  .bandwidth          = bandwidths[choice]};
  /* kernels are of order one: the choice only asks whether T is far below round-off */
  for (PetscInt i = 0; i < n; i++) work.temperature_lowest = PetscMin(work.temperature_lowest, model[i].temperature);
  PetscCall(FwEstimatePredict(grid, &work, estimate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Before the data are read: what the numbers of examples alone would need */
static PetscErrorCode EstimateExamples(FwGrid grid)
{
  FwWork     work = {.n_input = 1.0, .depth = 1.0, .n_point = 1.0, .temperature_lowest = 1.0, .bandwidth = 64};
  FwEstimate estimate;
  PetscInt64 n_train = 0, n_test = 0;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("data_train", &n_train, NULL));
  PetscCall(FwOptionInteger("data_test", &n_test, NULL));
  work.n_train = (double)n_train;
  work.n_test  = (double)n_test;
  PetscCall(FwEstimatePredict(grid, &work, &estimate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which form was chosen, and what is expected of it */
static PetscErrorCode PrintPlan(const FwEstimate *e)
{
  const double seconds = e->assembly_seconds + e->decomposition_seconds + e->use_seconds;
  char         expected[64];

  PetscFunctionBegin;
  snprintf(expected, sizeof expected, "about %.2g s, %.2g GiB a rank", seconds, e->peak_bytes / 1073741824.0);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "kernel  %s, %s\n\n", FwEstimateName(e->bandwidth), expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutSaddle(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->saddle.n_minimum > 1)
    PetscCall(FwWarn("the action has %" PetscInt_FMT " minima; the result is the lowest, S = %.6g; the next is "
                     "metastable, S = %.6g",
                     p->saddle.n_minimum, p->saddle.minimum[0].value, p->saddle.minimum[1].value));
  if (p->saddle.n_minimum && !p->saddle.is_complete && p->request.composition == FW_COMPOSITION_PRODUCT)
    PetscCall(
      FwWarn("two stationary points of the action lie closer than 1e-7 in log Q (a spinodal): one of them may "
             "be missing"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordDigest(FwDataset data, FwRecord record)
{
  const char *digest;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(data, &digest));
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordObservables(FwGrid grid, FwDataset data, const FwModel *model,
                                        const FwPrediction *prediction, FwRecord record)
{
  const double  order = prediction->saddle.n_minimum ? exp(prediction->saddle.minimum[0].log_order) : 1.0;
  FwObservables observables;
  PetscBool     is_wanted;

  PetscFunctionBegin;
  PetscCall(FwOptionBoolean("theory_observables", &is_wanted, NULL));
  if (!is_wanted || prediction->failure) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwObservablesCreate(grid, model, data, order, &observables));
  PetscCall(FwObservablesRecord(&observables, record));
  PetscCall(FwObservablesDestroy(&observables));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file of the decomposition is named by the data and by the keys that the kernel depends on */
static PetscErrorCode DescribeKernel(FwDataset data, const FwModel *model, const FwTheory *theory, size_t size,
                                     char text[])
{
  FwDataSizes sizes;
  const char *digest;
  int         n;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetDigest(data, &digest));
  n = snprintf(text, size, "kernel-1 data %s new %" PetscInt_FMT " %s", digest, sizes.n_new,
               theory->theory == FW_THEORY_NTK ? "ntk" : "nngp");
  for (PetscInt l = 0; l < model->depth && n < (int)size; l++)
    n += snprintf(text + n, size - (size_t)n, " | %.17g %.17g %s", model->prior[l], model->bias[l],
                  FwActivationNames[model->activation[l]]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreatePredictor(FwGrid grid, FwDataset data, const FwModel *model, const FwTheory *theory,
                                      PetscInt bandwidth, FwPredictor *predictor)
{
  enum { DIGEST_SIZE = 4096 };
  char            path[PETSC_MAX_PATH_LEN], digest[DIGEST_SIZE];
  PetscBool       has_file;
  FwPredictorPlan plan = {.bandwidth = bandwidth, .digest = digest};

  PetscFunctionBegin;
  PetscCall(FwOptionText("theory_decomposition", sizeof path, path, &has_file));
  if (has_file) plan.file = path;
  PetscCall(DescribeKernel(data, model, theory, sizeof digest, digest));
  PetscCall(FwPredictorCreate(grid, model, data, theory, &plan, predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictPoints(FwGrid grid, FwDataset data, const Request *request, PetscInt bandwidth, PetscInt n,
                                    const FwModel model[], const FwTheory theory[], FwRecord record[])
{
  FwPredictor   predictor;
  FwPrediction *prediction;
  const double *targets;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &prediction));
  PetscCall(CreatePredictor(grid, data, &model[0], &theory[0], bandwidth, &predictor));
  PetscCall(FwPredictorRun(predictor, n, model, theory, prediction));
  PetscCall(FwPredictorDestroy(&predictor));
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &targets));
  for (PetscInt i = 0; i < n; i++) {
    if (request->is_single) PetscCall(FwPrintPrediction(&prediction[i]));
    if (request->is_single) PetscCall(WarnAboutSaddle(&prediction[i]));
    PetscCall(FwPredictionRecord(&prediction[i], targets, record[i]));
    PetscCall(FwRecordInteger(record[i], "bandwidth", bandwidth, "1", "bandwidth of the decomposed kernel"));
    PetscCall(RecordObservables(grid, data, &model[i], &prediction[i], record[i]));
    PetscCall(RecordDigest(data, record[i]));
    PetscCall(FwPredictionDestroy(&prediction[i]));
  }
  PetscCall(PetscFree(prediction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoints(FwScan scan, PetscBool is_single, PetscInt n, const PetscInt point[], FwModel model[],
                                 FwTheory theory[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    Point here = {.theory = {.with_curve = is_single}};

    PetscCall(FwScanApply(scan, point[i]));
    PetscCall(ReadPoint(&here));
    model[i]  = here.model;
    theory[i] = here.theory;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                               void *context)
{
  const Request *request = (const Request *)context;
  FwModel       *model;
  FwTheory      *theory;
  FwDataset      data;
  FwGrid         grid;
  FwEstimate     estimate;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &model, n, &theory));
  PetscCall(ReadPoints(scan, request->is_single, n, point, model, theory));
  PetscCall(FwGridCreate(comm, &grid));
  PetscCall(EstimateExamples(grid));
  PetscCall(LoadData(comm, &data));
  PetscCall(Estimate(grid, data, n, model, theory, &estimate));
  if (request->is_single || point[0] == 0) {
    PetscCall(FwPrintHeader(&model[0], data));
    PetscCall(PrintPlan(&estimate));
  }
  PetscCall(PredictPoints(grid, data, request, estimate.bandwidth, n, model, theory, record));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwDatasetDestroy(&data));
  for (PetscInt i = 0; i < n; i++) PetscCall(FwModelDestroy(&model[i]));
  PetscCall(PetscFree2(model, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run ------------------------------------------------------------------------------------------------ */

static PetscErrorCode PrintStage(const char name[], double flops, double seconds)
{
  char line[128];

  PetscFunctionBegin;
  snprintf(line, sizeof line, "  %-15s %10.3g flops %10.3g s", name, flops, seconds);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintEstimate(const FwEstimate *e)
{
  PetscFunctionBegin;
  PetscCall(PrintPlan(e));
  PetscCall(PrintStage("assembly", e->assembly_flops, e->assembly_seconds));
  PetscCall(PrintStage("decomposition", e->decomposition_flops, e->decomposition_seconds));
  PetscCall(PrintStage("predictions", e->use_flops, e->use_seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first kernel of the scan, with as many points as share it */
static PetscErrorCode DryRun(Request *request)
{
  Point      point;
  FwDataset  data;
  FwGrid     grid;
  FwEstimate estimate;
  PetscInt   n_point, n_chosen;

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", request->resolved));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, &n_chosen));
  PetscCall(FwScanApply(request->scan, 0));
  PetscCall(ReadPoint(&point));
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(EstimateExamples(grid));
  PetscCall(LoadData(PETSC_COMM_WORLD, &data));
  PetscCall(Estimate(grid, data, 1, &point.model, &point.theory, &estimate));
  if (!request->is_single)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "scan    %" PetscInt_FMT " points, %" PetscInt_FMT " to compute; the first alone:\n", n_point,
                          n_chosen));
  PetscCall(PrintEstimate(&estimate));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwModelDestroy(&point.model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the records say of the whole: points that failed, points without a result, one digest or several */
typedef struct {
  PetscInt n_failed, n_missing, n_several;
  char     digest[64];
} Summary;

static PetscErrorCode Summarise(FwScan scan, FwRecord all, Summary *summary)
{
  PetscInt    n_point;
  PetscMPIInt rank;
  PetscInt64  first     = 0;
  PetscBool   has_first = PETSC_FALSE, is_one = PETSC_TRUE;

  PetscFunctionBegin;
  *summary = (Summary){0};
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt p = 0; p < n_point && rank == 0; p++) {
    const double     converged = FwRecordAt(all, "converged", p);
    const PetscInt64 digest    = FwRecordIntegerAt(all, "data_digest", p);

    if (converged == 0.0) summary->n_failed++;
    if (!(converged >= 0.0)) summary->n_missing++;
    if (FwRecordAt(all, "metastable_count", p) > 0.0) summary->n_several++;
    if (!(converged >= 0.0)) continue;
    if (has_first && digest != first) is_one = PETSC_FALSE;
    first     = digest;
    has_first = PETSC_TRUE;
  }
  if (is_one)
    snprintf(summary->digest, sizeof summary->digest, "%016" PRIx64, (uint64_t)first);
  else
    snprintf(summary->digest, sizeof summary->digest, "several: see /predict/data_digest");
  PetscCallMPI(MPI_Bcast(summary, (int)sizeof *summary, MPI_BYTE, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Save(const Request *request, const Summary *summary, FwRecord all, FwStore *store)
{
  const char *status = summary->n_failed ? "failed" : summary->n_missing ? "partial" : "complete";

  PetscFunctionBegin;
  PetscCall(FwScanWriteAxes(request->scan, *store, "/predict"));
  PetscCall(FwRecordWrite(all, *store, "/predict"));
  PetscCall(FwStoreProvenance(*store, request->resolved, summary->digest, status));
  PetscCall(FwStoreCommit(store));
  PetscCall(FwCheckpointRemove(PETSC_COMM_WORLD, request->checkpoint));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s\n", request->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutScan(const Request *request, const Summary *summary)
{
  PetscFunctionBegin;
  if (!request->is_single && summary->n_several)
    PetscCall(FwWarn("%" PetscInt_FMT " points have several minima; the result is the lowest, the others are in "
                     "metastable_order_parameter",
                     summary->n_several));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Compute(Request *request)
{
  const FwScanPlan plan = {.shared     = request->is_shared ? shared_keys : no_keys,
                           .checkpoint = request->checkpoint,
                           .tag        = request->tag,
                           .resume     = request->resume,
                           .interval   = CheckpointSeconds()};
  FwStore          store;
  FwRecord         all;
  Summary          summary;

  PetscFunctionBegin;
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, request->output, request->overwrite || request->resume, &store));
  PetscCall(FwScanRun(request->scan, &plan, RunGroup, request, &all));
  PetscCall(Summarise(request->scan, all, &summary));
  if (!request->is_single) PetscCall(FwPrintScan(request->scan, all));
  PetscCall(WarnAboutScan(request, &summary));
  PetscCall(Save(request, &summary, all, &store));
  PetscCall(FwRecordDestroy(&all));
  PetscCall(FwCommandFigure(request->output));
  PetscCheck(!summary.n_failed, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "the saddle-point solver did not converge%s: '%s' keeps what was computed, with status 'failed'",
             request->is_single ? "" : " at some points", request->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -resume: a complete result of the same input is left as it is */
static PetscErrorCode IsAlreadyDone(const Request *request, PetscBool *is_done)
{
  PetscBool exists, is_same;
  FwStore   store;
  char     *status, *input, tag[32];

  PetscFunctionBegin;
  *is_done = PETSC_FALSE;
  PetscCall(PetscTestFile(request->output, '\0', &exists));
  if (!request->resume || !exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, request->output, &store));
  PetscCall(FwStoreGetText(store, "/", "status", &status));
  PetscCall(FwStoreGetText(store, "/", "input", &input));
  PetscCall(FwStoreDestroy(&store));
  MakeTag(input, tag);
  PetscCall(PetscStrcmp(tag, request->tag, &is_same));
  PetscCall(PetscStrcmp(status, "complete", is_done));
  PetscCall(PetscFree(status));
  PetscCall(PetscFree(input));
  PetscCheck(is_same, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "'%s' is the result of another input: give -overwrite to replace it, or another -output", request->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Predict(const char *input)
{
  Request   request = {.scan = NULL};
  PetscBool is_done;

  PetscFunctionBegin;
  PetscCall(ReadRequest(input, &request));
  PetscCall(IsAlreadyDone(&request, &is_done));
  if (is_done)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s is complete: nothing to do\n", request.output));
  else
    PetscCall(request.is_dry ? DryRun(&request) : Compute(&request));
  PetscCall(DestroyRequest(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
