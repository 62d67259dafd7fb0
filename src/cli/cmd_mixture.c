/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth mixture`: deep linear networks of finite width against their limit: a report, a result file and a picture.
 */

#include "command.h"
#include "mixture_print.h"
#include "posterior_group.h"
#include "predict.h"
#include "request.h"

#include <finwidth/activation.h>
#include <finwidth/dataset.h>
#include <finwidth/estimate.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Of a prior, points share nothing */
static const char *const no_keys[] = {NULL};

/* What holds for all points */
typedef struct {
  const FwRequest *request;
  FwMixtureRequest report;
  PetscBool        has_data, is_depth_free; /* no depth was given: a N where mixture_a and one width are */
  PetscBool        has_posterior;
  double           lowest_temperature; /* of all points */
} Mixture;

/* One point */
typedef struct {
  FwModel      model;
  FwMixtureLaw finite, limit;
  PetscInt     n_output, n_sample, n_input, n_test;
  PetscInt     n_component; /* of an input: 0 before the data are read */
  char         tag[64];     /* of checkpoints: the input, and the data once they are read */
} Point;

/* --- keys ------------------------------------------------------------------------------------------------------------ */

/* The networks of this theory are linear: where the user says nothing, so does the resolved input */
static PetscErrorCode MakeLinear(void)
{
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("network_activation", &is_set));
  if (!is_set) PetscCall(PetscOptionsSetValue(NULL, "-network_activation", "linear"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With mixture_a and a single width the depth is the one that comes nearest to a: L = a N. That of another point is
   forgotten */
static PetscErrorCode ChooseDepth(const Mixture *mixture)
{
  enum { WIDTH_MAX = 4096 };
  const double depth_most = 1e5; /* of the key */
  PetscInt64   width[WIDTH_MAX];
  PetscInt     n = WIDTH_MAX;
  PetscBool    has_a;
  double       a, depth;
  char         text[32];

  PetscFunctionBegin;
  if (!mixture->is_depth_free) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsClearValue(NULL, "-network_depth"));
  PetscCall(FwOptionReal("mixture_a", &a, &has_a));
  PetscCall(FwOptionIntegers("network_width", &n, width));
  if (!has_a || !isfinite(a) || n != 1) PetscFunctionReturn(PETSC_SUCCESS);
  depth = fmax(1.0, rint(a * (double)width[0]));
  PetscCheck(depth <= depth_most, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_a %.6g with network_width %" PetscInt64_FMT " are %.0f layers, want at most %.0f", a, width[0],
             depth, depth_most);
  snprintf(text, sizeof text, "%.0f", depth);
  PetscCall(PetscOptionsSetValue(NULL, "-network_depth", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckModel(const FwModel *model)
{
  PetscFunctionBegin;
  PetscCheck(model->type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: mixture is about 'fc' networks");
  for (PetscInt l = 0; l < model->depth; l++)
    PetscCheck(model->activation[l] == FW_ACTIVATION_LINEAR, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_activation: mixture is about linear networks, want linear");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The limit: mixture_a, or what is left of sum 1/N_l beside the layers that stay finite */
static PetscErrorCode ReadLimit(const FwModel *model, PetscInt n_output, FwMixtureLaw *limit)
{
  enum { BOTTLENECK_MAX = 64 };
  PetscInt64 width[BOTTLENECK_MAX];
  PetscInt   n = BOTTLENECK_MAX;
  double     kept[BOTTLENECK_MAX], a = 0.0, given;
  PetscBool  has_a;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers("mixture_bottleneck", &n, width));
  PetscCall(FwOptionReal("mixture_a", &given, &has_a));
  for (PetscInt l = 0; l < model->depth; l++) a += 1.0 / model->width[l];
  for (PetscInt i = 0; i < n; i++) {
    kept[i] = (double)width[i];
    a -= 1.0 / kept[i];
  }
  PetscCheck(has_a || a > -1e-12, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_bottleneck: the layers kept finite have more 1/N than the network has");
  PetscCall(FwMixtureLawLimit(has_a ? given : fmax(a, 0.0), n_output, n, kept, limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoint(const Mixture *mixture, Point *point)
{
  PetscInt64 n_output = 1, n_sample, n_input, n_test;
  PetscBool  has_output;

  PetscFunctionBegin;
  PetscCall(ChooseDepth(mixture));
  PetscCall(FwModelFromOptions(&point->model));
  PetscCall(CheckModel(&point->model));
  PetscCall(FwOptionInteger("network_outputs", &n_output, &has_output));
  PetscCall(FwOptionInteger("mixture_samples", &n_sample, NULL));
  PetscCall(FwOptionInteger("mixture_inputs", &n_input, NULL));
  PetscCall(FwOptionInteger("data_test", &n_test, NULL));
  point->n_output    = has_output ? (PetscInt)n_output : 1;
  point->n_sample    = (PetscInt)n_sample;
  point->n_input     = (PetscInt)n_input;
  point->n_test      = (PetscInt)n_test;
  point->n_component = mixture->has_data ? 0 : point->n_input;
  snprintf(point->tag, sizeof point->tag, "%s", mixture->request->tag);
  PetscCall(FwMixtureLawFinite(&point->model, point->n_output, &point->finite));
  PetscCall(ReadLimit(&point->model, point->n_output, &point->limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyPoint(Point *point)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureLawDestroy(&point->finite));
  PetscCall(FwMixtureLawDestroy(&point->limit));
  PetscCall(FwModelDestroy(&point->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReport(FwMixtureRequest *report)
{
  enum { BRUTE, BARTLETT, EXACT, LIMIT, METHODS }; /* in the order of the key's choices */
  PetscInt   method[METHODS], n = METHODS;
  PetscInt64 order;

  PetscFunctionBegin;
  PetscCall(FwOptionChoices("mixture_method", &n, method));
  PetscCall(FwOptionInteger("mixture_moments", &order, NULL));
  *report = (FwMixtureRequest){.order = (PetscInt)order};
  for (PetscInt i = 0; i < n; i++) {
    if (method[i] == BRUTE) report->is_drawn[FW_DRAWN_BRUTE] = PETSC_TRUE;
    if (method[i] == BARTLETT) report->is_drawn[FW_DRAWN_BARTLETT] = PETSC_TRUE;
    if (method[i] == LIMIT) report->is_drawn[FW_DRAWN_LIMIT] = PETSC_TRUE;
    if (method[i] == EXACT) report->has_exact = PETSC_TRUE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what it needs ------------------------------------------------------------------------------------------------------ */

static PetscInt CountSamplers(const FwMixtureRequest *report)
{
  PetscInt n = 0;

  for (int s = 0; s < FW_DRAWN_COUNT; s++) n += report->is_drawn[s];
  return n;
}

/* Of a posterior, on every rank: draws with their eigenvectors, and predictions at the points of log q */
static double PosteriorBytes(const Point *p)
{
  const double points = 500.0; /* panels of one law */
  const double D = (double)p->n_output, draw = D < 3.0 ? 0.0 : 2.0 * D * D + 2.0 * D + 4.0;

  return sizeof(double) * ((double)p->n_sample * draw + points * (D + 1.0) * (double)p->n_test);
}

static const double batch = 256.0; /* samples side by side */

/* On every rank: the kernel's root, the inputs twice, a batch of outputs and of its normal factors */
static double InputBytes(const Point *p)
{
  const double P = (double)p->n_input;

  return sizeof(double) * P * (P + 2.0 * (double)p->n_component + (2.0 * batch + 1.0) * (double)p->n_output);
}

/* Rows on rank 0, a sorted column and a checkpoint beside them; numbers to draw; time on one rank */
typedef struct {
  double bytes, numbers, seconds;
} Need;

static Need NeedOf(const Mixture *mixture, const Point *p)
{
  const double D = (double)p->n_output, n = (double)p->n_sample, L = (double)p->model.depth,
               per_factor = 0.5 * D * (D + 1.0), P = (double)p->n_input,
               drawn = n * (double)CountSamplers(&mixture->report);
  const double row   = (D + FW_COLUMN_COUNT) * sizeof(double);
  /* measured on the shipped inputs: normals in bulk, those of factors with gamma variates, products with the kernel's root, the
     statistics of each sample of each sampler, and the laws themselves */
  const double per_normal = 4e-9, per_factor_number = 7e-9, per_product = 5e-10, per_row = 6e-6, per_point = 0.1;
  const double products = drawn * D * P * P + P * P * ((double)p->n_component + P / 3.0);
  double       brute    = P * p->model.width[0], normals, factors;

  for (PetscInt l = 0; l < p->model.depth; l++)
    brute += p->model.width[l] * (l + 1 < p->model.depth ? p->model.width[l + 1] : D);
  normals = drawn * D * P + n * (double)mixture->report.is_drawn[FW_DRAWN_BRUTE] * brute;
  factors = n * ((double)mixture->report.is_drawn[FW_DRAWN_BARTLETT] * L * per_factor +
                 (double)mixture->report.is_drawn[FW_DRAWN_LIMIT] * (D < 3.0 ? 6.0 : 64.0 * p->limit.a * per_factor));
  return (Need){.bytes = 2.0 * drawn * row + 4.0 * n * sizeof(double) + 3e7 + InputBytes(p) +
                         (mixture->has_posterior ? PosteriorBytes(p) : 0.0),
                .numbers = normals + factors,
                .seconds = per_point + normals * per_normal + factors * per_factor_number + products * per_product +
                           drawn * per_row};
}

/* The number of samples is refused where their rows would not fit, before anything is drawn */
static PetscErrorCode CheckMemory(MPI_Comm comm, const Mixture *mixture, const Point *point)
{
  const Need   need    = NeedOf(mixture, point);
  const double largest = 2147483647.0, D = (double)point->n_output, P = (double)point->n_input,
               most = largest / (D + FW_COLUMN_COUNT) / fmax(1.0, CountSamplers(&mixture->report));
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
             mixture->has_posterior ? " or data_test" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What depends on the number of outputs, which may be known from the data alone */
static PetscErrorCode CheckOutputs(MPI_Comm comm, const Mixture *mixture, const Point *point)
{
  PetscFunctionBegin;
  if (mixture->has_posterior) PetscCall(FwPosteriorCheckPoint(&point->model, &point->finite, &point->limit));
  PetscCall(CheckMemory(comm, mixture, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPoint(Mixture *mixture)
{
  Point point;

  PetscFunctionBegin;
  PetscCall(ReadPoint(mixture, &point));
  PetscCheck(isfinite(point.limit.a) || mixture->has_posterior, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_a infinity has no prior to draw from, and is for a posterior alone: set mixture_posterior");
  PetscCall(CheckOutputs(PETSC_COMM_WORLD, mixture, &point));
  mixture->lowest_temperature = fmin(mixture->lowest_temperature, point.model.temperature);
  for (PetscInt l = 0; l <= point.model.depth && mixture->report.is_drawn[FW_DRAWN_LIMIT]; l++)
    PetscCheck(point.model.bias[l] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_bias: the limit law has no biases in this version: leave 'limit' out of mixture_method");
  PetscCall(DestroyPoint(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(const FwRequest *request, Mixture *mixture)
{
  PetscBool has_depth, is_scanned;
  PetscInt  n_point;

  PetscFunctionBegin;
  *mixture = (Mixture){.request = request, .lowest_temperature = INFINITY};
  PetscCall(FwOptionBoolean("mixture_posterior", &mixture->has_posterior, NULL));
  PetscCall(FwOptionIsSet("data_source", &mixture->has_data));
  PetscCall(FwOptionIsSet("network_depth", &has_depth));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_network_depth", &is_scanned));
  mixture->is_depth_free = has_depth || is_scanned ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(ReadReport(&mixture->report));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    PetscCall(FwScanApply(request->scan, p));
    PetscCall(CheckPoint(mixture));
  }
  PetscCall(FwScanApply(request->scan, -1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ------------------------------------------------------------------------------------------------------------ */

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
static PetscErrorCode InputsOfData(MPI_Comm comm, const Mixture *mixture, Point *point, FwMixtureInputs *inputs,
                                   FwRecord record)
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
  PetscCall(CheckOutputs(comm, mixture, point));
  PetscCall(PetscCalloc1(point->n_input * sizes.n_input, &x));
  PetscCall(FirstInputs(comm, data, point->n_input, sizes.n_input, x));
  PetscCall(FwMixtureInputsCreate(point->n_input, sizes.n_input, x, PriorProduct(&point->model), point->model.depth,
                                  point->model.bias, inputs));
  PetscCall(FwDatasetGetDigest(data, &digest));
  snprintf(point->tag, sizeof point->tag, "%.46s %.16s", mixture->request->tag, digest);
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscCall(PetscFree(x));
  PetscCall(FwDatasetDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode InputsOfNone(const Point *point, FwMixtureInputs *inputs)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureInputsOrthogonal(point->n_input, PriorProduct(&point->model), point->model.depth,
                                      point->model.bias, inputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sample(MPI_Comm comm, const Mixture *mixture, PetscInt number, const Point *point,
                             const FwMixtureInputs *inputs, double *row[FW_DRAWN_COUNT])
{
  FwMixtureExperiment experiment[FW_DRAWN_COUNT];
  double             *drawn[FW_DRAWN_COUNT];
  char                path[PETSC_MAX_PATH_LEN];
  PetscInt            n = 0;
  PetscInt64          seed;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwRequestPointCheckpoint(mixture->request, number, sizeof path, path));
  const FwKeptRun run = {.checkpoint   = path,
                         .tag          = point->tag,
                         .resume       = mixture->request->resume,
                         .interval     = FwRequestCheckpointSeconds(),
                         .has_progress = mixture->request->is_single,
                         .is_part      = mixture->has_posterior && point->n_output > 2 ? PETSC_TRUE : PETSC_FALSE};

  for (int s = 0; s < FW_DRAWN_COUNT; s++)
    if (mixture->report.is_drawn[s])
      experiment[n++] = (FwMixtureExperiment){.law     = s == FW_DRAWN_LIMIT ? point->limit : point->finite,
                                              .sampler = s == FW_DRAWN_BRUTE ? FW_MIXTURE_BRUTE : FW_MIXTURE_BARTLETT,
                                              .inputs  = inputs,
                                              .seed    = (uint64_t)seed};
  PetscCall(FwMixtureSample(comm, n, experiment, point->n_sample, &run, drawn));
  n = 0;
  for (int s = 0; s < FW_DRAWN_COUNT; s++) row[s] = mixture->report.is_drawn[s] ? drawn[n++] : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(const Mixture *mixture, const Point *point, const FwMixtureInputs *inputs,
                             double *const row[], FwRecord record)
{
  FwMixtureData data = {.request  = mixture->report,
                        .finite   = point->finite,
                        .limit    = point->limit,
                        .inputs   = inputs,
                        .n_sample = point->n_sample};

  PetscFunctionBegin;
  for (int s = 0; s < FW_DRAWN_COUNT; s++) data.row[s] = row[s];
  PetscCall(FwMixtureRecord(&data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddReport(MPI_Comm comm, const Mixture *mixture, PetscInt number, Point *point, FwRecord record)
{
  FwMixtureInputs inputs;
  PetscMPIInt     rank;
  PetscErrorCode  code = PETSC_SUCCESS;
  double         *row[FW_DRAWN_COUNT];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(mixture->has_data ? InputsOfData(comm, mixture, point, &inputs, record) : InputsOfNone(point, &inputs));
  PetscCall(Sample(comm, mixture, number, point, &inputs, row));
  if (rank == 0) code = Report(mixture, point, &inputs, row, record);
  for (int s = 0; s < FW_DRAWN_COUNT; s++) PetscCall(PetscFree(row[s]));
  PetscCall(FwMixtureInputsDestroy(&inputs));
  PetscCall(FwErrorAgree(comm, 0, code));
  if (mixture->request->is_single) PetscCall(FwPrintMixture(&mixture->report, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddPosterior(const Mixture *mixture, const FwPosteriorGroup *group, PetscInt number,
                                   const Point *point, FwRecord record, PetscBool *is_converged)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(FwRequestPointCheckpoint(mixture->request, number, sizeof path, path));
  const FwPosteriorRun run = {.n_sample   = point->n_sample,
                              .is_quiet   = mixture->request->is_single ? PETSC_FALSE : PETSC_TRUE,
                              .checkpoint = path,
                              .tag        = point->tag,
                              .resume     = mixture->request->resume,
                              .interval   = FwRequestCheckpointSeconds()};

  PetscCall(FwPosteriorPoint(group, &point->model, &point->finite, &point->limit, &run, record, is_converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A numerical error is the end of what was computed, said as a warning; the point is one that did not converge */
static PetscErrorCode Forgive(PetscErrorCode code, FwRecord record, PetscBool *is_converged)
{
  PetscFunctionBegin;
  if (code != FW_ERR_NUMERICAL) PetscFunctionReturn(code);
  PetscCall(FwWarn("%s", FwErrorMessage()));
  PetscCall(FwRecordSetPrefix(record, ""));
  FwErrorClear();
  *is_converged = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At mixture_a infinity there is a posterior and no prior to report on. No `group`: it failed, and with it every posterior */
static PetscErrorCode RunPoint(MPI_Comm comm, const Mixture *mixture, const FwPosteriorGroup *group, PetscInt number,
                               FwRecord record)
{
  const PetscBool has_posterior = mixture->has_posterior && group ? PETSC_TRUE : PETSC_FALSE;
  PetscBool       is_converged  = has_posterior == mixture->has_posterior ? PETSC_TRUE : PETSC_FALSE;
  Point           point;

  PetscFunctionBegin;
  PetscCall(ReadPoint(mixture, &point));
  if (mixture->request->is_single) PetscCall(FwPrintMixtureHeader(&point.finite, &point.limit, point.n_sample));
  if (isfinite(point.limit.a))
    PetscCall(Forgive(AddReport(comm, mixture, number, &point, record), record, &is_converged));
  else if (has_posterior)
    PetscCall(FwPosteriorRecordDigest(group, record));
  if (has_posterior) PetscCall(AddPosterior(mixture, group, number, &point, record, &is_converged));
  PetscCall(FwRecordInteger(record, "converged", is_converged, "1", "1: every number can be trusted"));
  PetscCall(DestroyPoint(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateGroup(MPI_Comm comm, const Mixture *mixture, PetscInt n, PetscInt first,
                                  FwPosteriorGroup *group)
{
  char                       path[PETSC_MAX_PATH_LEN];
  const FwPosteriorGroupPlan plan = {.n_point     = n,
                                     .temperature = mixture->lowest_temperature,
                                     .checkpoint  = path,
                                     .resume      = mixture->request->resume,
                                     .interval    = FwRequestCheckpointSeconds()};

  PetscFunctionBegin;
  PetscCall(FwRequestPointCheckpoint(mixture->request, first, sizeof path, path));
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

static PetscErrorCode RunGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                               void *context)
{
  const Mixture   *mixture   = context;
  FwPosteriorGroup group     = {0};
  PetscBool        has_group = PETSC_TRUE;
  PetscInt         n_whole; /* of the scan, not of what is left of it: a resumed run decomposes in the same form */
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(FwScanGetGroupSize(scan, FwPosteriorSharedKeys, &n_whole));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    if (mixture->has_posterior && i == 0)
      PetscCall(Forgive(CreateGroup(comm, mixture, n_whole, point[i], &group), record[i], &has_group));
    code = RunPoint(comm, mixture, has_group ? &group : NULL, point[i], record[i]);
    if (code) PetscCall(EmptyRecord(&record[i]));
    PetscCall(code);
    PetscCall(FwScanKeep(scan, comm, i + 1, point, record));
  }
  PetscCall(FwPosteriorGroupDestroy(&group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run --------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  const Mixture *mixture = context;
  char(*name)[FW_TEST_NAME_SIZE];
  const char **text;
  PetscInt     n;

  PetscFunctionBegin;
  (void)request;
  PetscCall(FwMixtureTestNames(&mixture->report, &n, &name));
  PetscCall(PetscMalloc1(n, &text));
  for (PetscInt t = 0; t < n; t++) text[t] = name[t];
  const FwShape shape = {1, {"test_name"}, {n}};

  PetscCall(FwStoreTexts(store, "/mixture/test_name", &shape, text, "1", "statistic, sampler, quantity, law"));
  PetscCall(PetscFree(text));
  PetscCall(PetscFree(name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Conclude(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  PetscMPIInt    rank;
  PetscInt       n_wrong = 0;
  const Mixture *mixture = context;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!request->is_single) PetscCall(FwPrintMixtureScan(request->scan, all));
  if (!request->is_single && mixture->has_posterior) PetscCall(FwPosteriorPrintScan(request->scan, all));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++)
    n_wrong += (PetscInt)FwRecordIntegerAt(all, "test_unexpected", p) > 0;
  if (n_wrong)
    PetscCall(FwWarn("tests came out against expectation at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: see test_name and test_p_value",
                     n_wrong, summary->n_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The posteriors of a point, beside its kernel: of the network and of its limit, unless this has no width */
static double PosteriorSeconds(const Point *p, const FwDataSizes *sizes)
{
  const double n_law = p->limit.a > 0.0 || p->limit.n_width ? 2.0 : 1.0;

  return n_law * FwPosteriorLawSeconds(sizes->n_output, p->model.depth, sizes, p->n_sample);
}

/* Of the point that stands in the options database; n of them on one kernel, whose share it bears. No example is read */
static PetscErrorCode NeedOfPoint(const Mixture *mixture, FwGrid grid, PetscInt n, Need *need)
{
  FwDataSizes sizes = {0};
  FwDataset   data;
  FwEstimate  kernel;
  Point       point;

  PetscFunctionBegin;
  PetscCall(ReadPoint(mixture, &point));
  if (mixture->has_data) {
    PetscCall(FwPredictInspectData(&data));
    PetscCall(FwDatasetGetSizes(data, &sizes));
    PetscCall(FwDatasetDestroy(&data));
    point.n_output    = sizes.n_output;
    point.n_component = sizes.n_input;
  }
  *need = NeedOf(mixture, &point);
  if (mixture->has_posterior) {
    PetscCall(FwPosteriorGroupEstimate(grid, &sizes, n, mixture->lowest_temperature, &kernel));
    need->seconds += (kernel.assembly_seconds + kernel.decomposition_seconds + kernel.use_seconds) / (double)n +
                     PosteriorSeconds(&point, &sizes);
    need->bytes += kernel.peak_bytes;
  }
  PetscCall(DestroyPoint(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* need [n_group]: points together; memory is that of the one that needs most */
static PetscErrorCode FindNeeds(const Mixture *mixture, PetscInt n_group, const PetscInt group[], Need need[])
{
  FwScan    scan = mixture->request->scan;
  PetscInt *n, n_point;
  FwGrid    grid;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCall(PetscCalloc1(n_group, &n));
  for (PetscInt p = 0; p < n_point; p++)
    if (group[p] >= 0) n[group[p]]++;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  for (PetscInt p = 0; p < n_point; p++) {
    Need one = {0};

    if (group[p] < 0) continue;
    PetscCall(FwScanApply(scan, p));
    PetscCall(NeedOfPoint(mixture, grid, n[group[p]], &one));
    need[group[p]].numbers += one.numbers;
    need[group[p]].seconds += one.seconds;
    need[group[p]].bytes = PetscMax(need[group[p]].bytes, one.bytes);
  }
  PetscCall(FwScanApply(scan, -1));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(PetscFree(n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DryRun(const Mixture *mixture)
{
  const char *const *shared = mixture->has_posterior ? FwPosteriorSharedKeys : no_keys;
  Need               all    = {0}, *need;
  PetscInt           n_point, n_group, *group;
  char               line[160];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(mixture->request->scan, NULL, &n_point, NULL));
  PetscCall(PetscMalloc1(n_point, &group));
  PetscCall(FwScanGetGroups(mixture->request->scan, shared, NULL, &n_group, group));
  PetscCall(PetscCalloc1(n_group, &need));
  PetscCall(FindNeeds(mixture, n_group, group, need));
  for (PetscInt i = 0; i < n_group; i++) {
    all.numbers += need[i].numbers;
    all.seconds += need[i].seconds;
    all.bytes = PetscMax(all.bytes, need[i].bytes);
  }
  snprintf(line, sizeof line, "samples %.3g random numbers, about %.2g s on one rank%s, %.2g GiB on rank 0",
           all.numbers, all.seconds, mixture->has_posterior ? " with the posterior" : "", all.bytes / 1073741824.0);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n%s\n", mixture->request->resolved, line));
  PetscCall(PetscFree(need));
  PetscCall(PetscFree(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost)
{
  Mixture mixture;
  Need   *need;

  PetscFunctionBegin;
  PetscCall(MakeLinear());
  PetscCall(SetUp(request, &mixture));
  PetscCall(PetscCalloc1(n_group, &need));
  PetscCall(FindNeeds(&mixture, n_group, group, need));
  for (PetscInt i = 0; i < n_group; i++) {
    cost->seconds    = PetscMax(cost->seconds, need[i].seconds);
    cost->rank_bytes = PetscMax(cost->rank_bytes, need[i].bytes);
  }
  PetscCall(PetscFree(need));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Mixture(const char *input)
{
  static const char *const groups[] = {"/mixture", "/mixture/posterior", NULL};
  FwRequest                request;
  Mixture                  mixture;

  PetscFunctionBegin;
  PetscCall(MakeLinear());
  PetscCall(FwRequestCreate(input, "mixture", FW_FOR_MIXTURE, &request));
  PetscCall(SetUp(&request, &mixture));
  if (request.is_dry) {
    PetscCall(DryRun(&mixture));
  } else {
    const FwRequestPlan plan = {.shared   = mixture.has_posterior ? FwPosteriorSharedKeys : no_keys,
                                .groups   = groups,
                                .function = RunGroup,
                                .context  = &mixture,
                                .failure  = "numbers that cannot be trusted",
                                .report   = Conclude,
                                .describe = Describe};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
