/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Posteriors of deep linear networks on a data set, beside the saddle point of the effective action.
 */

#include "posterior_group.h"

#include "mixture_print.h"

#include <finwidth/activation.h>
#include <finwidth/checkpoint.h>
#include <finwidth/kernel.h>
#include <finwidth/matrix_saddle.h>
#include <finwidth/option.h>
#include <finwidth/progress.h>
#include <finwidth/saddle.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const FwPosteriorSharedKeys[] = {
  "temperature", "network_depth",  "network_width",   "network_prior",  "network_prior_readout", "network_bias",
  "mixture_a",   "mixture_method", "mixture_samples", "mixture_inputs", "mixture_bottleneck",    "mixture_moments",
  NULL};

enum { SADDLE = 3, PARTS, LEAST_SAMPLES = 1000, DRAWS_PER_PARTICLE = 25 };

static const double few_samples = 300.0; /* below, errors of means are above 6 % of a deviation */

/* The laws, and the saddle point beside them */
static const char *const part_prefix[PARTS] = {"/mixture/posterior/", "/mixture/posterior/limit_",
                                               "/mixture/posterior/infinite_", "/mixture/posterior/saddle_"};
static const char *const part_name[PARTS]   = {"network", "limit", "infinite", "saddle point"};

/* --- checks ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwPosteriorCheckPoint(const FwModel *model, const FwMixtureLaw *finite, const FwMixtureLaw *limit)
{
  PetscBool has_data;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("data_source", &has_data));
  PetscCheck(has_data, PETSC_COMM_WORLD, FW_ERR_INPUT, "mixture_posterior needs data: set data_source");
  for (PetscInt l = 0; l < model->depth; l++)
    PetscCheck(
      model->bias[l] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
      "network_bias: the posterior of a linear network is for a bias of the readout alone, that of layer %" PetscInt_FMT
      " is %.6g",
      l, model->bias[l]);
  PetscCall(FwMixturePosteriorCheck(finite, model->temperature));
  PetscCall(FwMixturePosteriorCheck(limit, model->temperature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- data and kernel ---------------------------------------------------------------------------------------- */

/* A linear network whose kernel is X^T X / N_0; the kernel borrows it */
static double        unit_width = 1.0, unit_prior[2] = {1.0, 1.0}, no_bias[2];
static PetscInt      linear     = FW_ACTIVATION_LINEAR;
static const FwModel unit_model = {
  .type = FW_NETWORK_FC, .depth = 1, .width = &unit_width, .activation = &linear, .prior = unit_prior, .bias = no_bias};

PetscErrorCode FwPosteriorGroupEstimate(FwGrid grid, const FwDataSizes *sizes, PetscInt n_point, double temperature,
                                        FwEstimate *estimate)
{
  const double resolvents = 1500.0; /* panels of log q, of three laws */
  const FwWork work       = {.n_train            = sizes->n_train,
                             .n_test             = sizes->n_test,
                             .n_input            = sizes->n_input,
                             .n_output           = sizes->n_output,
                             .depth              = 1.0,
                             .n_point            = (double)n_point,
                             .n_node             = resolvents,
                             .temperature_lowest = PetscMin(1.0, temperature),
                             .bandwidth          = -1};

  PetscFunctionBegin;
  PetscCall(FwEstimatePredict(grid, &work, estimate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ChooseBandwidth(const FwPosteriorGroup *group, PetscInt n, double temperature,
                                      PetscInt *bandwidth)
{
  FwDataSizes sizes;
  FwEstimate  estimate;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  PetscCall(FwPosteriorGroupEstimate(group->grid, &sizes, n, temperature, &estimate));
  *bandwidth = estimate.bandwidth;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Shares of the window of log q and of the test examples; moves of all particles through all stages, of which there are
   more the more the labels say (docs/scaling.md) */
double FwPosteriorLawSeconds(PetscInt n_output, PetscInt depth, const FwDataSizes *sizes, PetscInt n_sample)
{
  const double D = (double)n_output, P = (double)sizes->n_train, P_t = (double)sizes->n_test;
  const double particles = PetscMax((double)(n_sample / DRAWS_PER_PARTICLE), (double)LEAST_SAMPLES);
  const double stages = 2.0 * log(1.0 + P * D), moves = 60.0;
  const double per_move = 5e-8 * D * D * D + 2.5e-8 * (double)depth * D * D;

  if (n_output == 1) return 0.05;
  if (n_output == 2) return 0.5 + 0.004 * P_t;
  return particles * (stages * moves * per_move + 3e-7 * P_t * D * D) + (double)n_sample * per_move;
}

/* The spectrum has a column for each output, the data a row for each example */
static PetscErrorCode SetLabels(FwPosteriorGroup *group, PetscInt n_train)
{
  const double  *y;
  double        *column;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(group->data, FW_TRAIN, &y));
  PetscCall(PetscMalloc1((size_t)n_train * group->n_output, &column));
  for (PetscInt i = 0; i < n_train; i++)
    for (PetscInt d = 0; d < group->n_output; d++) column[(size_t)d * n_train + i] = y[(size_t)i * group->n_output + d];
  code = FwSpectrumSetLabels(group->spectrum, group->n_output, column, 0.0);
  PetscCall(PetscFree(column));
  PetscFunctionReturn(code);
}

/* From where the last run left it, or from the beginning */
static PetscErrorCode DecomposeTrain(FwPosteriorGroup *group, const FwPosteriorGroupPlan *plan, FwKernel kernel,
                                     PetscInt bandwidth)
{
  char                 text[128];
  const FwSpectrumKeep keep = {.path = group->kept, .digest = text, .interval = plan->interval};
  const char          *digest;
  FwMatrix             matrix;
  FwProgress           progress;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(group->data, &digest));
  PetscCall(PetscSNPrintf(text, sizeof text, "linear kernel-1 data %s", digest));
  PetscCall(FwProgressBegin("decomposition", 0, &progress));
  if (plan->resume)
    PetscCall(FwSpectrumResume(group->grid, &keep, &group->spectrum));
  else
    PetscCall(FwCheckpointRemove(group->comm, group->kept));
  if (!group->spectrum) {
    PetscCall(FwKernelTrain(kernel, &matrix));
    PetscCall(FwSpectrumCreateKept(&matrix, bandwidth, &keep, &group->spectrum));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetTest(FwPosteriorGroup *group, FwKernel kernel)
{
  FwMatrix      matrix;
  const double *diagonal;

  PetscFunctionBegin;
  PetscCall(FwKernelCross(kernel, FW_TEST, &matrix));
  PetscCall(FwKernelDiagonal(kernel, FW_TEST, &diagonal));
  PetscCall(FwSpectrumSetTest(group->spectrum, &matrix, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Decompose(FwPosteriorGroup *group, const FwPosteriorGroupPlan *plan, PetscInt bandwidth)
{
  FwDataSizes    sizes;
  FwKernel       kernel;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  PetscCall(FwKernelCreate(group->grid, &unit_model, group->data, &kernel));
  code = DecomposeTrain(group, plan, kernel, bandwidth);
  if (!code) code = SetLabels(group, sizes.n_train);
  if (!code && sizes.n_test) code = SetTest(group, kernel);
  if (!code) code = FwSpectrumFreeze(group->spectrum);
  PetscCall(FwKernelDestroy(&kernel));
  PetscFunctionReturn(code); /* the caller may go on without posteriors */
}

PetscErrorCode FwPosteriorGroupCreate(MPI_Comm comm, const FwPosteriorGroupPlan *plan, FwPosteriorGroup *group)
{
  FwDataSizes sizes;
  PetscInt    bandwidth = 0;

  PetscFunctionBegin;
  *group = (FwPosteriorGroup){.comm = comm};
  PetscCall(PetscSNPrintf(group->kept, sizeof group->kept, "%s.kernel", plan->checkpoint));
  PetscCall(FwGridCreate(comm, &group->grid));
  PetscCall(FwDatasetCreate(comm, &group->data));
  PetscCall(FwDatasetSetFromOptions(group->data));
  PetscCall(FwDatasetSetUp(group->data));
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  group->n_output = sizes.n_output;
  PetscCall(ChooseBandwidth(group, plan->n_point, plan->temperature, &bandwidth));
  PetscCall(Decompose(group, plan, bandwidth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorGroupDestroy(FwPosteriorGroup *group)
{
  PetscFunctionBegin;
  if (group->spectrum) PetscCall(FwCheckpointRemove(group->comm, group->kept));
  PetscCall(FwSpectrumDestroy(&group->spectrum));
  if (group->data) PetscCall(FwDatasetDestroy(&group->data));
  if (group->grid) PetscCall(FwGridDestroy(&group->grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

/* Means over test examples and outputs */
typedef struct {
  double bias, variance;
} Errors;

/* covariance [P_t, D, D] */
static Errors FindErrors(PetscInt n_test, PetscInt n_output, const double mean[], const double covariance[],
                         const double target[])
{
  Errors errors = {0.0, 0.0};

  for (PetscInt t = 0; t < n_test; t++)
    for (PetscInt d = 0; d < n_output; d++) {
      errors.bias += PetscSqr(mean[t * n_output + d] - target[t * n_output + d]);
      errors.variance += covariance[(t * n_output + d) * n_output + d];
    }
  errors.bias /= (double)(n_test * n_output);
  errors.variance /= (double)(n_test * n_output);
  return errors;
}

/* Of the laws alone that may be sampled */
static PetscErrorCode RecordErrorBars(const FwMixturePosterior *p, FwRecord record)
{
  static const char words[] = "statistical error; 0 where it is not sampled";

  PetscFunctionBegin;
  if (p->n_output == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReal(record, "test_error_error_bar", p->test_error_error, "label^2", words));
  PetscCall(FwRecordReal(record, "test_bias_error_bar", p->test_bias_error, "label^2", words));
  PetscCall(FwRecordReal(record, "test_variance_error_bar", p->test_variance_error, "label^2", words));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordErrors(const Errors *errors, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordReal(record, "test_error", errors->bias + errors->variance, "label^2",
                         "test error (bias + variance), mean over outputs"));
  PetscCall(FwRecordReal(record, "test_bias", errors->bias, "label^2", "test error of the mean predictor (bias)"));
  PetscCall(FwRecordReal(record, "test_variance", errors->variance, "label^2", "posterior variance at test examples"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the saddle point --------------------------------------------------------------------------------------- */

static PetscErrorCode FindSaddle(const FwPosteriorGroup *group, const FwModel *model, double scale, double order[])
{
  const PetscInt d = group->n_output;
  PetscBool      is_converged;
  FwSaddle       saddle;

  PetscFunctionBegin;
  if (d == 1) {
    FwAction action;

    PetscCall(FwActionCreate(group->spectrum, scale, model, &action));
    PetscCall(FwSaddleFind(action, &saddle));
    order[0] = exp(saddle.minimum[0].log_order);
    PetscCall(FwActionDestroy(&action));
  } else {
    FwMatrixAction action;
    double        *all;

    PetscCall(FwMatrixActionCreate(group->spectrum, scale, model, d, &action));
    PetscCall(FwMatrixSaddleFind(action, &saddle, &all));
    PetscCall(PetscArraycpy(order, all, d * d));
    PetscCall(PetscFree(all));
    PetscCall(FwMatrixActionDestroy(&action));
  }
  is_converged = saddle.is_converged;
  PetscCall(FwSaddleDestroy(&saddle));
  PetscCheck(is_converged, group->comm, FW_ERR_NUMERICAL, "the search for the saddle point did not converge");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Several outputs have an action where the widths are equal */
static PetscBool HasSaddle(const FwPosteriorGroup *group, const FwModel *model)
{
  for (PetscInt l = 1; l < model->depth; l++)
    if (group->n_output > 1 && model->width[l] != model->width[0]) return PETSC_FALSE;
  return PETSC_TRUE;
}

static PetscErrorCode RecordSaddle(const FwPosteriorGroup *group, const double order[], const double exact[],
                                   FwRecord record)
{
  const PetscInt d      = group->n_output;
  const FwShape  matrix = {
     .n_dim = 2, .name = {"output", "output_2"},
          .size = {d,        d         }
  };
  double *difference;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(d * d, &difference));
  for (PetscInt i = 0; i < d * d; i++) difference[i] = order[i] - exact[i];
  if (d == 1) {
    PetscCall(FwRecordReal(record, "saddle_q", order[0], "1", "q at the saddle point of the effective action"));
    PetscCall(FwRecordReal(record, "saddle_difference", difference[0], "1", "saddle_q - mean_q"));
  } else {
    PetscCall(FwRecordReals(record, "saddle_q", &matrix, order, "1", "Q at the saddle point of the effective action"));
    PetscCall(FwRecordReals(record, "saddle_difference", &matrix, difference, "1", "saddle_q - mean_q"));
  }
  PetscCall(PetscFree(difference));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ---------------------------------------------------------------------------------------------- */

/* What the parts of a point share */
typedef struct {
  const FwPosteriorGroup *group;
  const FwModel          *model;
  const double           *target; /* [P_t, D] */
  PetscInt                n_test;
  double                  scale; /* of the kernel: one over the product of the priors */
  const FwPosteriorRun   *run;
  FwMixturePosteriorPlan  plan;                /* of any law: without its checkpoint */
  char                    failure[PARTS][256]; /* why a part has no numbers that can be trusted; "" where it has */
} Point;

static PetscErrorCode PrintRow(const Point *point, const char name[], const FwMixturePosterior *p, const Errors *e)
{
  char sampled[64] = "";

  PetscFunctionBegin;
  if (point->run->is_quiet) PetscFunctionReturn(PETSC_SUCCESS);
  if (!isnan(p->effective_sample_size))
    snprintf(sampled, sizeof sampled, ", effective samples %.0f", p->effective_sample_size);
  PetscCall(PetscPrintf(point->group->comm, "  %-10s %14.8g %12.6g %12.6g %12.6g %12.6g   %s%s\n", name,
                        p->log_evidence, p->mean_q[0], p->mean_log_q[0], e->bias, e->variance, p->method, sampled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintHeader(const Point *point)
{
  PetscFunctionBegin;
  if (point->run->is_quiet) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(point->group->comm, "\nposterior  T = %.6g\n  %-10s %14s %12s %12s %12s %12s\n",
                        point->model->temperature, "law", "log evidence", "E Q_11", "E log q_1", "test bias",
                        "variance"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnOfSampling(const char law[], const FwMixturePosterior *p)
{
  PetscFunctionBegin;
  if (p->effective_sample_size < few_samples)
    PetscCall(
      FwWarn("the posterior of the law '%s' rests on %.0f effective samples: log evidence %.6g +- %.2g or twice "
             "that; set more mixture_samples",
             law, p->effective_sample_size, p->log_evidence, p->log_evidence_error));
  if (p->n_unmixed)
    PetscCall(FwWarn("the posterior of the law '%s' did not mix at %" PetscInt_FMT " of %" PetscInt_FMT
                     " temperatures: its error bars are too small, compare a few values of seed",
                     law, p->n_unmixed, p->n_stage));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One law; `mean_q` [D, D] is filled where it is not NULL */
static PetscErrorCode AddLaw(const Point *point, int which, const FwMixtureLaw *law, double mean_q[], FwRecord record)
{
  const FwPosteriorGroup *group = point->group;
  FwMixturePosteriorPlan  plan  = point->plan;
  FwMixturePosterior      p;
  Errors                  errors;
  char                    path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s.%s", point->run->checkpoint, part_name[which]));
  plan.checkpoint = path;
  PetscCall(FwMixturePosteriorCreate(law, group->spectrum, point->scale, point->model->temperature, &plan, &p));
  PetscCall(FwRecordSetPrefix(record, part_prefix[which]));
  PetscCall(FwMixturePosteriorRecord(&p, record));
  errors = FindErrors(point->n_test, group->n_output, p.mean, p.covariance, point->target);
  if (point->n_test) PetscCall(RecordErrors(&errors, record));
  if (point->n_test) PetscCall(RecordErrorBars(&p, record));
  if (mean_q) PetscCall(PetscArraycpy(mean_q, p.mean_q, group->n_output * group->n_output));
  PetscCall(PrintRow(point, part_name[which], &p, &errors));
  PetscCall(WarnOfSampling(part_name[which], &p));
  PetscCall(FwMixturePosteriorDestroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Errors of the prediction at the saddle point, for one output */
static PetscErrorCode AddSaddleErrors(const Point *point, double order, FwRecord record)
{
  const double   scaled = order * point->scale;
  double        *mean, *variance;
  Errors         errors;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(point->n_test, &mean, point->n_test, &variance));
  code = FwSpectrumPredictEach(point->group->spectrum, point->model->temperature, 1, &scaled, mean, variance);
  if (!code) errors = FindErrors(point->n_test, 1, mean, variance, point->target);
  PetscCall(PetscFree2(mean, variance));
  PetscCall(code);
  PetscCall(FwRecordSetPrefix(record, part_prefix[SADDLE]));
  PetscCall(RecordErrors(&errors, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintSaddle(const Point *point, double order, double mean_q)
{
  char beside[48] = "";

  PetscFunctionBegin;
  if (point->run->is_quiet) PetscFunctionReturn(PETSC_SUCCESS);
  if (!isnan(mean_q)) snprintf(beside, sizeof beside, ", %+.2g %% of E Q_11", 100.0 * (order / mean_q - 1.0));
  PetscCall(PetscPrintf(point->group->comm, "  saddle point of the action: Q_11 = %.8g%s\n", order, beside));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordAndPrintSaddle(const Point *point, const double order[], const double mean_q[],
                                           FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordSetPrefix(record, "/mixture/posterior/"));
  PetscCall(RecordSaddle(point->group, order, mean_q, record));
  if (point->group->n_output == 1 && point->n_test) PetscCall(AddSaddleErrors(point, order[0], record));
  PetscCall(PrintSaddle(point, order[0], mean_q[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddSaddle(const Point *point, const double mean_q[], FwRecord record)
{
  const PetscInt d = point->group->n_output;
  double        *order;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(d * d, &order));
  code = FindSaddle(point->group, point->model, point->scale, order);
  if (!code) code = RecordAndPrintSaddle(point, order, mean_q, record);
  PetscCall(PetscFree(order));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A numerical error is the end of its own part alone */
static PetscErrorCode Judge(Point *point, int which, PetscErrorCode code, FwRecord record)
{
  PetscFunctionBegin;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscCall(code);
  if (code) {
    PetscCall(PetscStrncpy(point->failure[which], FwErrorMessage(), sizeof point->failure[which]));
    FwErrorClear();
    if (!point->run->is_quiet) PetscCall(PetscPrintf(point->group->comm, "  %-10s failed\n", part_name[which]));
  }
  PetscCall(FwRecordSetPrefix(record, part_prefix[which]));
  PetscCall(FwRecordInteger(record, "converged", code ? 0 : 1, "1", "1: these numbers can be trusted"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Those that have failed for the same reason together */
static PetscErrorCode WarnOfFailures(const Point *point, PetscBool *is_converged)
{
  char names[96];

  PetscFunctionBegin;
  for (int i = 0; i < PARTS; i++) {
    int n = 0, n_before = 0;

    if (!point->failure[i][0]) continue;
    for (int j = 0; j < PARTS; j++) {
      if (strcmp(point->failure[i], point->failure[j])) continue;
      n_before += j < i;
      n += snprintf(names + n, sizeof names - (size_t)n, "%s'%s'", n ? ", " : "", part_name[j]);
    }
    if (!n_before) PetscCall(FwWarn("no posterior of %s: %s", names, point->failure[i]));
    *is_converged = PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddTargets(const Point *point, FwRecord record)
{
  const FwShape shape = {
    .n_dim = 2, .name = {"example",     "output"              },
         .size = {point->n_test, point->group->n_output}
  };

  PetscFunctionBegin;
  if (!point->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordSetPrefix(record, "/mixture/posterior/"));
  PetscCall(FwRecordReals(record, "test_target", &shape, point->target, "label", "targets of the test examples"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillPoint(const FwPosteriorGroup *group, const FwModel *model, const FwPosteriorRun *run,
                                Point *point)
{
  FwDataSizes sizes;
  PetscInt64  seed;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwDatasetGetSizes(group->data, &sizes));
  *point = (Point){
    .group  = group,
    .model  = model,
    .n_test = sizes.n_test,
    .scale  = 1.0,
    .run    = run,
    .plan   = {.n_sample   = PetscMax(run->n_sample, LEAST_SAMPLES),
               .n_particle = PetscMax(run->n_sample / DRAWS_PER_PARTICLE, LEAST_SAMPLES),
               .seed       = (uint64_t)seed,
               .tag        = run->tag,
               .resume     = run->resume,
               .interval   = run->interval}
  };
  if (sizes.n_test) PetscCall(FwDatasetGetTargets(group->data, FW_TEST, &point->target));
  point->plan.target = point->target;
  for (PetscInt l = 0; l <= model->depth; l++) point->scale /= model->prior[l];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorPoint(const FwPosteriorGroup *group, const FwModel *model, const FwMixtureLaw *finite,
                                const FwMixtureLaw *limit, const FwPosteriorRun *run, FwRecord record,
                                PetscBool *is_converged)
{
  const FwMixtureLaw        infinite = {.n_output = finite->n_output};
  const FwMixtureLaw *const law[]    = {finite, limit, &infinite};
  Point                     point;
  double                   *mean_q;

  PetscFunctionBegin;
  PetscCheck(finite->n_output == group->n_output, group->comm, FW_ERR_INPUT,
             "the data have %" PetscInt_FMT " outputs, network_outputs is %" PetscInt_FMT, group->n_output,
             finite->n_output);
  PetscCall(FillPoint(group, model, run, &point));
  PetscCall(FwSpectrumScaleLabels(group->spectrum, 1.0, model->bias[model->depth]));
  PetscCall(PetscMalloc1(group->n_output * group->n_output, &mean_q));
  for (PetscInt i = 0; i < group->n_output * group->n_output; i++)
    mean_q[i] = NAN; /* where the network has no posterior */
  PetscCall(PrintHeader(&point));
  for (int i = 0; i < SADDLE; i++)
    PetscCall(Judge(&point, i, AddLaw(&point, i, law[i], i ? NULL : mean_q, record), record));
  if (HasSaddle(group, model)) PetscCall(Judge(&point, SADDLE, AddSaddle(&point, mean_q, record), record));
  PetscCall(WarnOfFailures(&point, is_converged));
  PetscCall(AddTargets(&point, record));
  PetscCall(FwRecordSetPrefix(record, ""));
  PetscCall(PetscFree(mean_q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorRecordDigest(const FwPosteriorGroup *group, FwRecord record)
{
  const char *digest;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(group->data, &digest));
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan ------------------------------------------------------------------------------------------------- */

static PetscErrorCode PrintScan(FwScan scan, FwRecord all)
{
  static const char *const name[] = {"log_evidence", "limit_log_evidence", "infinite_log_evidence", "test_error",
                                     "infinite_test_error"};
  static const char *const head[] = {"log evidence", "limit", "infinite", "test error", "infinite"};
  PetscInt                 n_axis, n_point;
  char                     path[64];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  PetscCall(FwPrintScanAxes(scan, n_axis, -1));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(head); i++) PetscCall(PetscPrintf(PETSC_COMM_SELF, "%14s", head[i]));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  for (PetscInt p = 0; p < n_point; p++) {
    if (!(FwRecordAt(all, "converged", p) >= 0.0)) continue;
    PetscCall(FwPrintScanAxes(scan, n_axis, p));
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(name); i++) {
      double value;

      PetscCall(PetscSNPrintf(path, sizeof path, "/mixture/posterior/%s", name[i]));
      value = FwRecordAt(all, path, p);
      PetscCall(isnan(value) ? PetscPrintf(PETSC_COMM_SELF, "%14s", "-")
                             : PetscPrintf(PETSC_COMM_SELF, "%14.7g", value));
    }
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorPrintScan(FwScan scan, FwRecord all)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PrintScan(scan, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}
