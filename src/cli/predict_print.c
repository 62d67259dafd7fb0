/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tables that `finwidth predict` prints.
 */

#include "predict_print.h"

#include <finwidth/activation.h>

#include <math.h>
#include <stdio.h>

static PetscErrorCode PrintType(const FwModel *model, const FwDataSizes *sizes)
{
  static const char *const name[] = {"fc", "cnn", "lcn", "pool"};
  FwPatches                p;

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "network %s, ", name[model->type]));
  if (model->type == FW_NETWORK_FC) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwModelGetPatches(model, sizes->channels, sizes->height, sizes->width, &p));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "%" PetscInt_FMT " x %" PetscInt_FMT " patches of %" PetscInt_FMT " x %" PetscInt_FMT
                        " every %" PetscInt_FMT " x %" PetscInt_FMT ", ",
                        p.n_row, p.n_col, p.mask[0], p.mask[1], p.stride[0], p.stride[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintHeader(const FwModel *model, FwDataset data)
{
  FwDataSizes sizes;
  const char *summary;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetSummary(data, &summary));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "data    %s\n        P = %" PetscInt_FMT ", %" PetscInt_FMT " test examples, ", summary,
                        sizes.n_train, sizes.n_test));
  if (sizes.n_validation)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%" PetscInt_FMT " for validation, ", sizes.n_validation));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "N_0 = %" PetscInt_FMT "\n", sizes.n_input));
  PetscCall(PrintType(model, &sizes));
  for (PetscInt l = 0; l < PetscMin(model->depth, 8); l++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s %.0f", l ? " - " : "", FwActivationNames[model->activation[l]],
                          model->width[l]));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s, T = %.6g\n", model->depth > 8 ? " - ..." : "", model->temperature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintStage(const char name[], double flops, double seconds)
{
  char line[128];

  PetscFunctionBegin;
  snprintf(line, sizeof line, "  %-15s %10.3g flops %10.3g s", name, flops, seconds);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *FwPrintCell(double value, char cell[16])
{
  if (isnan(value))
    snprintf(cell, 16, "%12s", "-");
  else
    snprintf(cell, 16, "%12.6g", value);
  return cell;
}

static PetscErrorCode PrintRow(const FwPrediction *p, const char name[], double finite, double averaged,
                               double infinite)
{
  char a[16], b[16], c[16];

  PetscFunctionBegin;
  if (p->request.theory != FW_THEORY_RENORMALISED)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s\n", name, FwPrintCell(infinite, c)));
  else if (FwPredictionHasAverage(p))
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s %s %s\n", name, FwPrintCell(finite, a),
                          FwPrintCell(averaged, b), FwPrintCell(infinite, c)));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s %s\n", name, FwPrintCell(finite, a), FwPrintCell(infinite, c)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double AverageOrder(const FwPrediction *p)
{
  double trace = 0.0;

  if (p->request.with_mean) return p->mean_average.mean_order;
  if (p->n_output == 1) return p->average.mean_order;
  for (PetscInt d = 0; d < p->n_output && p->outputs.is_available; d++)
    trace += p->outputs.mean_order[d * (p->n_output + 1)] / p->n_output;
  return trace;
}

PetscErrorCode FwPrintErrors(const FwPrediction *p, PetscBool is_exact, double order, double averaged_order)
{
  const FwErrors *f = &p->finite, *a = &p->averaged, *i = &p->infinite;
  const char     *average = is_exact ? " exact average" : "       average";

  PetscFunctionBegin;
  if (p->request.theory != FW_THEORY_RENORMALISED)
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD, "  %-18s %12s\n", "", p->request.theory == FW_THEORY_NTK ? "NTK" : "infinite"));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %12s%s %12s\n", "", "saddle point",
                          FwPredictionHasAverage(p) ? average : "",
                          p->request.theory == FW_THEORY_NTK ? "NTK" : "infinite"));
  PetscCall(PrintRow(p, "train error", f->train_error, a->train_error, i->train_error));
  PetscCall(PrintRow(p, "test error", f->test_error, a->test_error, i->test_error));
  PetscCall(PrintRow(p, "  bias", f->test_bias, a->test_bias, i->test_bias));
  PetscCall(PrintRow(p, "  variance", f->test_variance, a->test_variance, i->test_variance));
  if (!isnan(i->accuracy)) PetscCall(PrintRow(p, "test accuracy", f->accuracy, a->accuracy, i->accuracy));
  PetscCall(PrintRow(p, p->n_output > 1 ? "tr Q / D" : "order parameter", order, averaged_order, 1.0));
  PetscCall(PrintRow(p, "log evidence", p->log_evidence,
                     p->request.with_mean ? p->mean_average.log_evidence
                     : p->n_output > 1    ? p->outputs.log_evidence
                                          : p->average.log_evidence,
                     p->infinite_log_evidence));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- several outputs ---------------------------------------------------------------------------------------- */

enum { OUTPUTS_MAX = 12 };

/* Q, and beside it the test error of each output */
static PetscErrorCode PrintOutputs(const FwPrediction *p)
{
  const PetscInt  D         = p->n_output;
  const PetscBool is_finite = p->saddle.n_minimum ? PETSC_TRUE : PETSC_FALSE;
  const FwErrors *e         = is_finite ? &p->finite : &p->infinite;
  char            cell[16];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n  output   test error%s\n", is_finite ? "   Q" : ""));
  for (PetscInt d = 0; d < PetscMin(D, OUTPUTS_MAX); d++) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %6" PetscInt_FMT " %s  ", d,
                          FwPrintCell(e->output[FW_TEST_ERROR * D + d], cell)));
    for (PetscInt c = 0; c < PetscMin(D, OUTPUTS_MAX) && is_finite; c++)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %8.4f", p->order[d * D + c]));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  }
  if (D > OUTPUTS_MAX)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  ... and %" PetscInt_FMT " more outputs in the file\n", D - OUTPUTS_MAX));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is known of the minima, in a line each */
static PetscErrorCode PrintOutputsMinima(const FwPrediction *p)
{
  PetscFunctionBegin;
  for (PetscInt m = 0; m < p->saddle.n_minimum; m++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s  S = %.10g  (%" PetscInt_FMT " Newton steps, residual %.1e)\n",
                          m ? "" : "\n", m ? "  metastable  " : "  saddle point", p->saddle.minimum[m].value,
                          p->saddle.minimum[m].n_iteration, p->saddle.minimum[m].residual));
  if (p->saddle.n_minimum)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n",
                          p->saddle.is_complete ? "                it is the only minimum"
                                                : "                other minima are searched for, not excluded"));
  if (p->outputs.is_available)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "  average         %.0f effective draws of %" PetscInt_FMT ", log evidence +- %.2g\n",
                          p->outputs.effective, p->outputs.n, p->outputs.log_evidence_error));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOrders(const FwPrediction *p)
{
  PetscFunctionBegin;
  for (PetscInt m = 0; m < p->saddle.n_minimum; m++) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s  Q =", m ? "" : "\n", m ? "  metastable  " : "  saddle point"));
    for (PetscInt l = 0; l < p->depth; l++)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %.8g", p->order[m * p->depth + l]));
    if (p->shift) PetscCall(PetscPrintf(PETSC_COMM_WORLD, ",  s ="));
    for (PetscInt l = 0; l < p->depth && p->shift; l++)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %.8g", p->shift[m * p->depth + l]));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, ",  S = %.10g  (%" PetscInt_FMT " Newton steps, residual %.1e)\n",
                          p->saddle.minimum[m].value, p->saddle.minimum[m].n_iteration, p->saddle.minimum[m].residual));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintPrediction(const FwPrediction *p, PetscBool is_exact)
{
  PetscFunctionBegin;
  PetscCall(FwPrintErrors(p, is_exact, FwPredictionTotalOrder(p), AverageOrder(p)));
  if (p->n_output > 1) {
    PetscCall(PrintOutputs(p));
    PetscCall(PrintOutputsMinima(p));
  } else {
    PetscCall(PrintOrders(p));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- scans -------------------------------------------------------------------------------------------------- */

static PetscBool IsNumber(const FwScanAxis *axis)
{
  return (PetscBool)(axis->key->type == FW_KEY_REAL || axis->key->type == FW_KEY_INTEGER);
}

/* Of the column: its name whole, and words as far as they are not very long */
static int WidthOf(const FwScanAxis *axis)
{
  const int least = 14, most = 40;
  int       width = PetscMax(least, (int)strlen(axis->key->name));

  for (PetscInt i = 0; i < axis->n && !IsNumber(axis); i++)
    width = PetscMax(width, PetscMin(most, (int)strlen(axis->text[i])));
  return width;
}

static PetscErrorCode PrintAxes(FwScan scan)
{
  PetscInt n_axis;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, NULL, NULL));
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %*s", WidthOf(axis), axis->key->name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintAxisValue(const FwScanAxis *axis, PetscInt i)
{
  const int width = WidthOf(axis);

  PetscFunctionBegin;
  if (IsNumber(axis))
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %*.6g", width, axis->value[i]));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %*.*s", width, width, axis->text[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintPoint(FwScan scan, PetscInt point)
{
  PetscInt n_axis;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, NULL, NULL));
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    PetscCall(PrintAxisValue(axis, FwScanPosition(scan, point, d)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintScanTable(FwScan scan, const char head[], FwPrintScanRow *row, FwRecord all)
{
  const PetscInt n_most = 60;
  PetscInt       n_point;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCall(PrintAxes(scan));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", head));
  for (PetscInt p = 0; p < PetscMin(n_point, n_most); p++) {
    PetscCall(PrintPoint(scan, p));
    PetscCall(row(scan, p, all));
  }
  if (n_point > n_most)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  ... and %" PetscInt_FMT " more points in the file\n", n_point - n_most));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char learnt[] = "learnt_test_bias";

/* Whether some point learns its order parameter on validation examples */
static PetscBool HasLearnt(FwRecord all, PetscInt n_point)
{
  for (PetscInt p = 0; p < n_point; p++)
    if (!isnan(FwRecordPointMean(all, learnt, n_point, p))) return PETSC_TRUE;
  return PETSC_FALSE;
}

static PetscErrorCode PrintScanRow(FwScan scan, PetscInt point, FwRecord all)
{
  static const char *const column[]  = {"total_order_parameter", "train_error", "test_error", "infinite_test_error",
                                        "log_evidence"};
  const double             converged = FwRecordAt(all, "converged", point);
  PetscInt                 n_point;
  char                     cell[16];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, " "));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(column); c++)
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD, " %s", FwPrintCell(FwRecordPointMean(all, column[c], n_point, point), cell)));
  if (HasLearnt(all, n_point))
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %s", FwPrintCell(FwRecordPointMean(all, learnt, n_point, point), cell)));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n",
                        converged == 1.0   ? ""
                        : converged == 0.0 ? "  not converged"
                                           : "  not computed"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintScan(FwScan scan, FwRecord all)
{
  char     head[128];
  PetscInt n_point;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  snprintf(head, sizeof head, "  %12s %12s %12s %12s %12s%s", "order par.", "train error", "test error", "infinite",
           "log evidence", HasLearnt(all, n_point) ? "  learnt bias" : "");
  PetscCall(FwPrintScanTable(scan, head, PrintScanRow, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- averages that rest on draws ---------------------------------------------------------------------------- */

/* Number of a point under a name of the prediction; NaN where there is none */
static double PredictionAt(const char prefix[], const char name[], FwRecord all, PetscInt point)
{
  char path[96];

  snprintf(path, sizeof path, "%s%s", prefix, name);
  return FwRecordAt(all, path, point);
}

PetscErrorCode FwPredictWarnAboutAverages(const char prefix[], PetscInt n_point, FwRecord all)
{
  PetscInt    n_failed = 0;
  double      fewest = INFINITY, worst = NAN;
  char        rhat[96] = "", path[96];
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt p = 0; p < n_point && rank == 0; p++) {
    if (PredictionAt(prefix, "average_converged", all, p) != 0.0) continue;
    snprintf(path, sizeof path, "%saverage_train_error", prefix);
    if (isnan(FwRecordPointMean(all, path, n_point, p))) continue; /* there is no average, which was said */
    n_failed++;
    fewest = fmin(fewest, PredictionAt(prefix, "average_effective_draws", all, p));
    worst  = fmax(worst, PredictionAt(prefix, "average_rhat", all, p));
  }
  if (!n_failed) PetscFunctionReturn(PETSC_SUCCESS);
  if (!isnan(worst)) snprintf(rhat, sizeof rhat, "R-hat up to %.2f, want at most %g; ", worst, FW_AVERAGE_RHAT_MOST);
  if (isfinite(fewest))
    PetscCall(FwWarn("the average has not converged at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points (%sas few as %.1f effective draws, want %g): do not trust it and its error bars there%s",
                     n_failed, n_point, rhat, fewest,
                     isnan(worst) ? FW_AVERAGE_WEIGHTED_LEAST : FW_AVERAGE_EFFECTIVE_LEAST,
                     isnan(worst) ? "" : ", raise theory_draws"));
  else
    PetscCall(FwWarn("the average has not converged at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: less than 8 draws of a chain say nothing, raise theory_draws",
                     n_failed, n_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}
