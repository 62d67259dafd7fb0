/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tables that `finwidth ansatz` prints.
 */

#include "ansatz.h"
#include "mixture_print.h"

#include <finwidth/activation.h>
#include <finwidth/feature.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the header ------------------------------------------------------------------------------------------------------ */

static void DescribeWidths(const FwLearnerShape *shape, size_t size, char text[])
{
  size_t length = 0;

  text[0] = '\0';
  for (PetscInt l = 0; l <= shape->n_layer && length < size; l++)
    length += (size_t)snprintf(text + length, size - length, "%s%d", l ? "-" : "", (int)shape->width[l]);
}

static PetscErrorCode PrintTraining(const FwAnsatzPoint *p, PetscInt n_seed)
{
  const PetscBool is_flow = FwTrainMethodIsFlow(p->plan.method);
  char            text[256];
  size_t          n;

  PetscFunctionBegin;
  if (p->has_case && p->counterexample.is_static) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "train   nothing: the weights are those of the closed form\n"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  n = (size_t)snprintf(text, sizeof text, "%s to %s%g", FwTrainMethodNames[p->plan.method], is_flow ? "t = " : "step ",
                       p->end);
  if (p->plan.method != FW_TRAIN_FLOW && p->plan.method < FW_TRAIN_LMVM)
    n += (size_t)snprintf(text + n, sizeof text - n, ", %s = %g", is_flow ? "h" : "eta", p->step);
  (void)snprintf(text + n, sizeof text - n, ", mu = %g", p->decay.weight);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "train   %s; %d run%s from %s\n", text, (int)n_seed, n_seed > 1 ? "s" : "",
                        p->has_case     ? "the case's start"
                        : p->weights[0] ? p->weights
                                        : FwInitialNames[p->initial.scheme]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintAnsatzHeader(const FwAnsatzPoint *point, const char data[], PetscInt n_example, PetscInt n_seed)
{
  char widths[512];

  PetscFunctionBegin;
  DescribeWidths(&point->shape, sizeof widths, widths);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "data    %s, N = %d\n", data, (int)n_example));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "network %s, %s%s, L = %d weight matrices\n", widths,
                        FwActivationNames[point->shape.activation], point->shape.has_bias ? " with biases" : "",
                        (int)point->shape.n_layer));
  PetscCall(PrintTraining(point, n_seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ------------------------------------------------------------------------------------------------------- */

/* Arrays [run_seed][time][each]; each: 1 (a power, which may be a bound, too), or the layers, or one less */
typedef enum { SCALAR, POWER, LAYERS, HIDDEN } Extent;

static const struct {
  const char *name, *title;
  Extent      extent;
} columns[] = {
  {"loss",             "loss",       SCALAR},
  {"gradient_norm",    "|gradient|", SCALAR},
  {"layer_similarity", "cos 1/L",    LAYERS},
  {"best_alpha",       "best alpha", POWER },
  {"slope_alpha",      "slope",      SCALAR},
  {"residual",         "residual",   SCALAR},
  {"imbalance",        "imbalance",  HIDDEN},
};

static char *Cell(double value, char cell[16])
{
  if (isnan(value))
    (void)snprintf(cell, 16, "%12s", "-");
  else if (value != 0.0 && fabs(value) < 1e-3)
    (void)snprintf(cell, 16, "%12.4g", value);
  else if (fabs(value) >= 10.0)
    (void)snprintf(cell, 16, "%12.6g", value);
  else
    (void)snprintf(cell, 16, "%12.8f", value);
  return cell;
}

/* A best alpha, which may be a bound only */
static char *AlphaCell(double value, char cell[16])
{
  if (!FwFeatureIsBound(value)) return Cell(value, cell);
  if (value < 1.0)
    (void)snprintf(cell, 16, "%8s%.2f", "<", FW_FEATURE_ALPHA_LEAST);
  else
    (void)snprintf(cell, 16, "%8s%.2f", ">", FW_FEATURE_ALPHA_MOST);
  return cell;
}

/* Of a best alpha the mean over the runs in which it is a number and no bound; of one run its value, which may be a bound */
typedef struct {
  double   mean;
  PetscInt n, n_seed;
} AlphaMean;

static AlphaMean FindAlpha(FwRecord record, const char name[], PetscInt n_seed, PetscInt64 first, PetscInt64 stride)
{
  AlphaMean alpha = {.n_seed = n_seed};

  for (PetscInt s = 0; s < n_seed; s++) {
    const double value = FwRecordAt(record, name, first + s * stride);

    if (isnan(value) || (n_seed > 1 && FwFeatureIsBound(value))) continue;
    alpha.mean += value;
    alpha.n++;
  }
  alpha.mean = alpha.n ? alpha.mean / (double)alpha.n : NAN;
  return alpha;
}

/* With the number of runs where it is not that of all */
static char *MeanCell(AlphaMean alpha, char cell[32])
{
  char text[32];

  if (!alpha.n || alpha.n == alpha.n_seed) return AlphaCell(alpha.mean, cell);
  (void)snprintf(text, sizeof text, " %.3f of %" PetscInt_FMT, alpha.mean, alpha.n);
  (void)snprintf(cell, 32, "%12s", text);
  return cell;
}

/* The first entry of each run, averaged */
static double MeanAt(FwRecord record, size_t c, PetscInt n_seed, PetscInt n_time, PetscInt time)
{
  const PetscInt64 L    = FwRecordIntegerAt(record, "layers", 0);
  const PetscInt64 each = columns[c].extent <= POWER ? 1 : columns[c].extent == LAYERS ? L : L - 1;
  double           sum  = 0.0;

  for (PetscInt s = 0; s < n_seed; s++)
    sum += FwRecordAt(record, columns[c].name, ((PetscInt64)s * n_time + time) * each) / (double)n_seed;
  return sum;
}

static PetscInt CountTimes(FwRecord record)
{
  PetscInt n = 0;

  while (!isnan(FwRecordAt(record, "training_time", n))) n++;
  return n;
}

static PetscErrorCode PrintTimes(FwRecord record, PetscInt n_seed)
{
  enum { LINES = 8 };
  const PetscInt n_time = CountTimes(record);
  char           cell[32];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n%12s", "time"));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(columns); c++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "%12s", columns[c].title));
  for (PetscInt line = 0; line < PetscMin(LINES, n_time); line++) {
    const PetscInt t = n_time > LINES ? line * (n_time - 1) / (LINES - 1) : line;

    PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n%12.5g", FwRecordAt(record, "training_time", t)));
    for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(columns); c++)
      PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s",
                            columns[c].extent == POWER
                              ? MeanCell(FindAlpha(record, columns[c].name, n_seed, t, n_time), cell)
                              : Cell(MeanAt(record, c, n_seed, n_time, t), cell)));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of a counterexample, at the end */
static PetscErrorCode PrintClosedForm(FwRecord record)
{
  const PetscInt last = CountTimes(record) - 1;
  const double   loss = FwRecordAt(record, "exact_loss", last);

  PetscFunctionBegin;
  if (isnan(loss)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  closed form: loss %.8g, |W1^T W1| %.8g, |AGOP| %.8g\n", loss,
                        FwRecordAt(record, "exact_feature_norm", last), FwRecordAt(record, "exact_agop_norm", last)));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  measured:    loss %.8g, |W1^T W1| %.8g, |AGOP| %.8g\n",
                        FwRecordAt(record, "loss", last), FwRecordAt(record, "feature_norm", last),
                        FwRecordAt(record, "agop_norm", last)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static char *Six(AlphaMean alpha, char cell[32])
{
  if (!alpha.n || FwFeatureIsBound(alpha.mean))
    (void)AlphaCell(alpha.mean, cell);
  else if (alpha.n < alpha.n_seed)
    (void)snprintf(cell, 32, "%.6f of %" PetscInt_FMT, alpha.mean, alpha.n);
  else
    (void)snprintf(cell, 32, "%.6f", alpha.mean);
  return cell + strspn(cell, " ");
}

/* alpha by layer and the decay of the imbalance beside their theory */
static PetscErrorCode PrintTheory(FwRecord record, PetscInt n_seed)
{
  const PetscInt L = (PetscInt)FwRecordIntegerAt(record, "layers", 0), n_time = CountTimes(record);
  const double   rate     = FwRecordPointMean(record, "imbalance_rate", 1, 0);
  const double   critical = FwRecordAt(record, "critical_decay", 0);
  char           cell[32];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n  best alpha by layer "));
  for (PetscInt l = 0; l < L; l++) {
    const AlphaMean alpha = FindAlpha(record, "layer_best_alpha", n_seed, (n_time - 1) * L + l, (PetscInt64)n_time * L);

    PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %s (%.6f)", Six(alpha, cell), 1.0 / (double)(L - l)));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscCall(PrintClosedForm(record));
  if (!isnan(rate)) PetscCall(PetscPrintf(PETSC_COMM_SELF, "  imbalance decays at %.8f\n", rate));
  if (isfinite(critical)) PetscCall(PetscPrintf(PETSC_COMM_SELF, "  collapse beyond decay %.6g\n", critical));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintAnsatz(FwRecord record, PetscInt n_seed)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank != 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PrintTimes(record, n_seed));
  PetscCall(PrintTheory(record, n_seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan ------------------------------------------------------------------------------------------------------------ */

/* A mean at the end, of which the record has the number of runs */
static char *FinalCell(FwRecord all, const char name[], PetscInt n_seed, PetscInt point, char cell[32])
{
  const double value = FwRecordAt(all, name, point);

  if (strcmp(name, "final_best_alpha")) return Cell(value, cell);
  return MeanCell((AlphaMean){value, (PetscInt)FwRecordIntegerAt(all, "final_best_alpha_runs", point), n_seed}, cell);
}

static PetscErrorCode PrintAll(FwScan scan, FwRecord all, PetscInt n_seed)
{
  static const char *const cells[][2] = {
    {"final_loss",            "loss"      },
    {"final_similarity",      "cos 1/L"   },
    {"final_best_similarity", "best cos"  },
    {"final_best_alpha",      "best alpha"},
    {"final_slope_alpha",     "slope"     },
    {"final_residual",        "residual"  },
    {"final_imbalance",       "imbalance" },
    {"final_imbalance_rate",  "rate"      },
  };
  PetscInt n_axis, n_point;
  char     cell[32];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  PetscCall(FwPrintScanAxes(scan, n_axis, -1));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cells); c++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "%12s", cells[c][1]));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  for (PetscInt p = 0; p < n_point; p++) {
    if (!(FwRecordAt(all, "converged", p) >= 0.0)) continue;
    PetscCall(FwPrintScanAxes(scan, n_axis, p));
    for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cells); c++)
      PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s", FinalCell(all, cells[c][0], n_seed, p, cell)));
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintAnsatzScan(FwScan scan, FwRecord all, PetscInt n_seed)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PrintAll(scan, all, n_seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}
