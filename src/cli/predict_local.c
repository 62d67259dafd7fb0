/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Points of convolutional and locally-connected networks, which share a family of kernels between patches; and what other
 * networks learn on validation examples.
 */

#include "predict.h"

#include "predict_print.h"

#include <finwidth/activation.h>
#include <finwidth/local_prediction.h>
#include <finwidth/option.h>
#include <finwidth/progress.h>

#include <math.h>
#include <stdio.h>

/* --- choices ------------------------------------------------------------------------------------------------ */

static PetscErrorCode ReadPlan(FwDataset data, PetscInt n, const FwPredictPoint point[], FwLocalPlan *plan)
{
  PetscInt    closure;
  FwDataSizes sizes;
  PetscInt64  n_start = 1, seed = 1, n_draw = 0;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwOptionChoice("theory_closure", &closure, NULL));
  PetscCall(FwOptionInteger("theory_starts", &n_start, NULL));
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  for (PetscInt i = 0; i < n && !n_draw; i++)
    if (point[i].theory.with_average) PetscCall(FwOptionInteger("theory_draws", &n_draw, NULL));
  *plan = (FwLocalPlan){.closure      = (FwPatchClosure)closure,
                        .is_centred   = point->theory.with_mean,
                        .n_start      = (PetscInt)n_start,
                        .seed         = (uint64_t)seed,
                        .n_draw       = (PetscInt)n_draw,
                        .with_kernels = point->with_observables,
                        .form         = sizes.n_output > 1 ? FW_PATCH_ORDERED : FW_PATCH_PAIRS};
  /* at infinite width nothing is left of pairs */
  if (point->model.type == FW_NETWORK_LCN ||
      (point->model.type == FW_NETWORK_CNN && point->theory.theory == FW_THEORY_INFINITE))
    plan->form = FW_PATCH_DIAGONAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is known of the theory's validity with several layers */
static PetscErrorCode PrintClosure(MPI_Comm comm, const FwLocalPlan *plan, const FwModel *model)
{
  PetscBool is_linear = PETSC_TRUE;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < model->depth; l++)
    if (model->activation[l] != FW_ACTIVATION_LINEAR) is_linear = PETSC_FALSE;
  if (plan->closure == FW_DEEP_STACKED)
    PetscCall(PetscPrintf(comm, "depth   stacked closure: cheap, not exact even for linear networks\n"));
  else
    PetscCall(PetscPrintf(comm, "depth   %s\n",
                          is_linear ? "Gram matrices between paths: exact for linear networks, here at the saddle point"
                                    : "path-gain closure: exact for linear networks, unproved for others"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Seconds(const FwLocalEstimate *e)
{
  return e->feature_seconds + e->saddle_seconds + e->test_seconds + e->average_seconds + e->learnt_seconds;
}

static PetscErrorCode PrintPlan(MPI_Comm comm, const FwLocalPlan *plan, const FwModel *model, const FwLocalEstimate *e)
{
  char line[160];

  PetscFunctionBegin;
  snprintf(line, sizeof line, "kernel  %s of patches, %.0f %% kept, about %.2g s, %.2g GiB a rank",
           plan->form == FW_PATCH_DIAGONAL ? "diagonal" : "pairs", 100.0 * e->stored, Seconds(e),
           e->peak_bytes / 1073741824.0);
  PetscCall(PetscPrintf(comm, "%s\n", line));
  if (model->depth > 1) PetscCall(PrintClosure(comm, plan, model));
  PetscCall(PetscPrintf(comm, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutNetwork(FwDataset data, PetscInt n, const FwPredictPoint point[])
{
  double       narrowest = INFINITY;
  PetscBool    is_odd    = PETSC_TRUE;
  FwActivation activation;
  FwDataSizes  sizes;
  FwPatches    patches;
  PetscInt     n_dropped, n_site, n_walk, closure;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwModelGetPatches(&point[0].model, sizes.channels, sizes.height, sizes.width, &patches));
  n_dropped = FwPatchesDropped(&patches);
  for (PetscInt i = 0; i < n; i++) narrowest = PetscMin(narrowest, point[i].model.width[0]);
  if (n_dropped)
    PetscCall(FwWarn("%" PetscInt_FMT " of %" PetscInt_FMT " pixels are in no patch and are not seen by the network",
                     n_dropped, sizes.height * sizes.width));
  if (point[0].theory.theory != FW_THEORY_RENORMALISED) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptionChoice("theory_closure", &closure, NULL));
  PetscCall(FwPatchCountSites(&point[0].model, &patches, (FwPatchClosure)closure, &n_site, &n_walk));
  if (n_site * sizes.n_output > narrowest)
    PetscCall(FwWarn("%" PetscInt_FMT
                     " %s%s are more than %.0f channels: the error of the saddle point is of the order "
                     "of their ratio",
                     n_site * sizes.n_output, n_site == patches.n_patch ? "patches" : "paths",
                     sizes.n_output > 1 ? " times outputs" : "", narrowest));
  PetscCall(FwActivationGet((FwActivationType)point[0].model.activation[0], &activation));
  PetscCall(FwActivationIsOdd(activation, &is_odd));
  if (!is_odd)
    PetscCall(
      FwWarn("network_activation %s is not odd: the theory of patches is an ansatz for it, good to some per cent",
             FwActivationNames[point[0].model.activation[0]]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what was learnt ---------------------------------------------------------------------------------------- */

static PetscErrorCode PrintLessonRow(const char name[], double saddle, double learnt, double infinite)
{
  char a[16], b[16], c[16];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s %s %s\n", name, FwPrintCell(saddle, a), FwPrintCell(learnt, b),
                        FwPrintCell(infinite, c)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Range and largest corner of an order parameter of n rows */
static void DescribeOrder(PetscInt n, const double order[], size_t size, char text[])
{
  double low = INFINITY, high = -INFINITY, corner = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    low  = PetscMin(low, order[i * n + i]);
    high = PetscMax(high, order[i * n + i]);
    for (PetscInt j = 0; j < i; j++)
      if (fabs(order[i * n + j]) > fabs(corner)) corner = order[i * n + j];
  }
  snprintf(text, size, "Q_ii from %.6g to %.6g, largest Q_ij %.6g", low, high, corner);
}

static PetscErrorCode PrintLesson(const FwLocalPrediction *p)
{
  const FwLocalLesson *l = &p->lesson;
  const FwErrors      *s = &p->common.finite, *e = &l->errors, *i = &p->common.infinite;
  char                 order[120], line[240];

  PetscFunctionBegin;
  if (!l->is_available) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n  %-18s %12s %12s %12s\n", "", "saddle point", "learnt", "infinite"));
  PetscCall(PrintLessonRow("validation bias", l->saddle.bias, l->learnt.bias, l->infinite.bias));
  PetscCall(PrintLessonRow("test bias", s->test_bias, e->test_bias, i->test_bias));
  PetscCall(PrintLessonRow("test variance", s->test_variance, e->test_variance, i->test_variance));
  if (!isnan(i->accuracy)) PetscCall(PrintLessonRow("test accuracy", s->accuracy, e->accuracy, i->accuracy));
  DescribeOrder(l->end.n_row, l->end.order, sizeof order, order);
  snprintf(line, sizeof line, "  learnt        %s  (%" PetscInt_FMT " evaluations, slope %.1e)", order,
           l->end.n_evaluation, l->end.slope);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n%s\n", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ---------------------------------------------------------------------------------------------- */

static PetscErrorCode PrintMinimum(const FwLocalPrediction *p, PetscInt m)
{
  const FwLocalMinimum *minimum = &p->saddle.minimum[m];
  char                  order[120], line[240];

  PetscFunctionBegin;
  DescribeOrder(p->saddle.n_row, minimum->order, sizeof order, order);
  snprintf(line, sizeof line, "%s,  S = %.10g  (%" PetscInt_FMT " evaluations, residual %.1e)", order,
           minimum->point.value, minimum->n_evaluation, minimum->point.stationarity);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s  %s\n", m ? "" : "\n", m ? "  metastable  " : "  saddle point", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintAverage(const FwLocalAverage *a)
{
  char line[200];

  PetscFunctionBegin;
  snprintf(line, sizeof line,
           "average       test error +- %.2g from %" PetscInt_FMT
           " draws, %.0f effective (acceptance %.2f, R-hat %.3f)",
           a->test_error_bar, a->n_chain * a->n_draw, a->effective, a->acceptance, a->rhat);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %s\n", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOutputs(const FwPrediction *p)
{
  const FwErrors *e = p->request.theory == FW_THEORY_RENORMALISED ? &p->finite : &p->infinite;
  const PetscInt  D = p->n_output, most = 12;
  char            cell[16];

  PetscFunctionBegin;
  if (D == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n  output   test error\n"));
  for (PetscInt d = 0; d < PetscMin(D, most); d++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %6" PetscInt_FMT " %s\n", d,
                          FwPrintCell(e->output[FW_TEST_ERROR * D + d], cell)));
  if (D > most) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  ... and %" PetscInt_FMT " more in the file\n", D - most));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintPoint(const FwLocalPrediction *p)
{
  const PetscInt n     = p->saddle.n_row;
  double         trace = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n && p->saddle.n_minimum; i++) trace += p->saddle.minimum[0].order[i * n + i];
  PetscCall(FwPrintErrors(&p->common, PETSC_TRUE, p->saddle.n_minimum ? trace / n : NAN,
                          p->average.is_available ? p->common.average.mean_order : NAN));
  PetscCall(PrintOutputs(&p->common));
  for (PetscInt m = 0; m < p->saddle.n_minimum; m++) PetscCall(PrintMinimum(p, m));
  if (p->average.is_available) PetscCall(PrintAverage(&p->average));
  PetscCall(PrintLesson(p));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  if (p->saddle.n_minimum > 1)
    PetscCall(FwWarn("%" PetscInt_FMT " minima were found from %" PetscInt_FMT " starts; the result is the lowest",
                     p->saddle.n_minimum, p->saddle.n_start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a group ------------------------------------------------------------------------------------------------ */

PetscErrorCode FwPredictLocalEstimate(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[])
{
  FwLocalPlan     plan;
  FwLocalEstimate e;

  PetscFunctionBegin;
  PetscCall(ReadPlan(data, n, point, &plan));
  PetscCall(FwLocalPredictorEstimate(grid, &point[0].model, data, &plan, n, &e));
  PetscCall(PrintPlan(FwGridComm(grid), &plan, &point[0].model, &e));
  PetscCall(FwPrintStage("pairs of patches", e.feature_flops, e.feature_seconds));
  PetscCall(FwPrintStage("saddle points", e.saddle_flops, e.saddle_seconds));
  PetscCall(FwPrintStage("predictions", e.test_flops, e.test_seconds));
  if (plan.n_draw) PetscCall(FwPrintStage("average", e.average_flops, e.average_seconds));
  if (e.learnt_flops > 0.0) PetscCall(FwPrintStage("learning", e.learnt_flops, e.learnt_seconds));
  PetscCall(WarnAboutNetwork(data, n, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictLocalCost(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[],
                                  double *seconds, double *bytes)
{
  FwLocalPlan     plan;
  FwLocalEstimate e;

  PetscFunctionBegin;
  PetscCall(ReadPlan(data, n, point, &plan));
  PetscCall(FwLocalPredictorEstimate(grid, &point[0].model, data, &plan, n, &e));
  *seconds = Seconds(&e);
  *bytes   = e.peak_bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordPoint(FwDataset data, const FwPredictPoint *point, const FwLocalPrediction *prediction,
                                  FwRecord record)
{
  const double *targets;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &targets));
  if (point->theory.with_curve && !prediction->common.failure) PetscCall(PrintPoint(prediction));
  PetscCall(FwPredictWarnAboutFailure(&prediction->common));
  PetscCall(FwLocalPredictionRecord(prediction, targets, record));
  PetscCall(FwPredictRecordDigest(data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictSome(FwLocalPredictor predictor, FwDataset data, PetscInt n, const FwPredictPoint point[],
                                  FwRecord record[])
{
  FwLocalPrediction *prediction;
  FwModel           *model;
  FwTheory          *theory;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &prediction, n, &model, n, &theory));
  for (PetscInt i = 0; i < n; i++) {
    model[i]  = point[i].model;
    theory[i] = point[i].theory;
  }
  PetscCall(FwLocalPredictorRun(predictor, n, model, theory, prediction));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(RecordPoint(data, &point[i], &prediction[i], record[i]));
    PetscCall(FwLocalPredictionDestroy(&prediction[i]));
  }
  PetscCall(PetscFree3(prediction, model, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many points at a time as there are kernels of test examples for, of finite and of infinite width; of averages, which
   are dear, one. What is finished outlives a stop, and a kill. Each turn begins at Q = 1, not at the point before, so that
   a run which is resumed at a turn has the same bits */
static PetscErrorCode PredictInTurns(FwGrid grid, FwDataset data, const FwLocalPlan *plan, const FwPredictPoints *p)
{
  const PetscInt   at_once = plan->n_draw ? 1 : PetscMax(1, plan->n_set / 2);
  FwLocalPredictor predictor;
  FwProgress       progress;

  PetscFunctionBegin;
  PetscCall(FwLocalPredictorCreate(grid, &p->point[0].model, data, plan, &predictor));
  PetscCall(FwProgressBegin("points", p->n, &progress));
  for (PetscInt first = 0; first < p->n; first += at_once) {
    const PetscInt n = PetscMin(at_once, p->n - first);

    PetscCall(PredictSome(predictor, data, n, p->point + first, p->record + first));
    PetscCall(FwProgressStep(progress, first + n));
    PetscCall(FwScanKeep(p->scan, p->comm, first + n, p->number, p->record));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(FwLocalPredictorDestroy(&predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictLocalPoints(FwGrid grid, FwDataset data, PetscBool is_quiet, const FwPredictPoints *points)
{
  const FwPredictPoint *point = points->point;

  FwLocalPlan     plan;
  FwLocalEstimate estimate;

  PetscFunctionBegin;
  PetscCall(ReadPlan(data, points->n, point, &plan));
  PetscCall(FwLocalPredictorEstimate(grid, &point[0].model, data, &plan, points->n_kernel, &estimate));
  plan.store_bytes = estimate.store_bytes;
  plan.cross_bytes = estimate.cross_bytes;
  plan.n_set       = estimate.n_set;
  if (!is_quiet) PetscCall(PrintPlan(FwGridComm(grid), &plan, &point[0].model, &estimate));
  if (!points->is_beside) PetscCall(FwScanExpect(points->scan, FwGridComm(grid), Seconds(&estimate)));
  PetscCall(WarnAboutNetwork(data, points->n, point));
  PetscCall(PredictInTurns(grid, data, &plan, points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one order parameter ------------------------------------------------------------------------------------ */

/* The plan of what is learnt alone, and what it needs */
static PetscErrorCode PlanLesson(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[],
                                 FwLocalPlan *plan, FwLocalEstimate *estimate)
{
  PetscFunctionBegin;
  PetscCall(ReadPlan(data, n, point, plan));
  plan->with_kernels = PETSC_FALSE;
  plan->n_draw       = 0;
  PetscCall(FwLocalPredictorEstimate(grid, &point[0].model, data, plan, n, estimate));
  plan->store_bytes = estimate->store_bytes;
  plan->cross_bytes = estimate->cross_bytes;
  plan->n_set       = estimate->n_set;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictLearnCost(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[], double *flops,
                                  double *seconds, double *bytes)
{
  FwLocalPlan     plan;
  FwLocalEstimate e;
  FwDataSizes     sizes;

  PetscFunctionBegin;
  *flops = *seconds = *bytes = 0.0;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  if (!sizes.n_validation) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PlanLesson(grid, data, n, point, &plan, &e));
  *flops   = e.feature_flops + e.saddle_flops + e.test_flops + e.learnt_flops;
  *seconds = Seconds(&e);
  *bytes   = e.peak_bytes - FW_ESTIMATE_BASE_BYTES;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictLearn(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[],
                              FwLocalPrediction prediction[])
{
  FwLocalPlan      plan;
  FwLocalEstimate  estimate;
  FwLocalPredictor predictor;
  FwModel         *model;
  FwTheory        *theory;

  PetscFunctionBegin;
  PetscCall(PlanLesson(grid, data, n, point, &plan, &estimate));
  PetscCall(PetscMalloc2(n, &model, n, &theory));
  for (PetscInt i = 0; i < n; i++) {
    model[i]               = point[i].model;
    theory[i]              = point[i].theory;
    theory[i].with_average = PETSC_FALSE;
  }
  PetscCall(FwLocalPredictorCreate(grid, &point[0].model, data, &plan, &predictor));
  PetscCall(FwLocalPredictorRun(predictor, n, model, theory, prediction));
  PetscCall(FwLocalPredictorDestroy(&predictor));
  PetscCall(PetscFree2(model, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictRecordLesson(const FwLocalPrediction *prediction, PetscBool with_table, FwRecord record)
{
  PetscFunctionBegin;
  if (prediction->common.failure) PetscFunctionReturn(PETSC_SUCCESS); /* so has the point, which says it */
  if (with_table) PetscCall(PrintLesson(prediction));
  if (with_table) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscCall(FwLocalLessonRecord(prediction, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
