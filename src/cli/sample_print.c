/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tables that `finwidth sample` prints.
 */

#include "sample_print.h"

#include "predict_print.h"

#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Measured quantities that have a prediction; the order parameter of a fully-connected network is the readout's, that of the
   last hidden layer. Those of further layers of patches, order_parameter_2 and so on, stand for themselves. What the weights
   have along predicted eigenvectors is predicted by the eigenvalues; what they have along their own by nothing */
static const struct {
  const char *name, *saddle, *average, *infinite, *label;
} compared[] = {
  {"train_error",              "train_error",              "average_train_error",     "infinite_train_error",   "train error"     },
  {"test_error",               "test_error",               "average_test_error",      "infinite_test_error",    "test error"      },
  {"test_bias",                "test_bias",                "average_test_bias",       "infinite_test_bias",     "  bias"          },
  {"test_variance",            "test_variance",            "average_test_variance",   "infinite_test_variance", "  variance"      },
  {"accuracy",                 "accuracy",                 "average_accuracy",        "infinite_accuracy",      "test accuracy"   },
  {"order_parameter",          "order_parameter",          "average_order_parameter", NULL,                     "order parameter" },
  {"position_order_parameter", "position_order_parameter", NULL,                      NULL,                     "order, positions"},
  {"alignment_after",          "alignment_after",          NULL,                      "alignment_before",       "alignment"       },
  {"hidden_trace_after",       "hidden_trace_after",       NULL,                      "hidden_trace_before",    "hidden trace"    },
  {"weight_trace_after",       "weight_trace_after",       NULL,                      "weight_trace_before",    "weight trace"    },
  {"weight_variance",          "weight_eigenvalue",        NULL,                      NULL,                     "weight mode"     },
  {"weight_eigenvalue",        NULL,                       NULL,                      NULL,                     "own mode"        },
};
enum { N_COMPARED = (int)PETSC_STATIC_ARRAY_LENGTH(compared) };

/* Number i of a prediction; NaN where there is none */
static double Predicted(FwRecord record, const char name[], PetscInt i)
{
  char path[96];

  if (!name) return NAN;
  snprintf(path, sizeof path, "/predict/%s", name);
  return FwRecordAt(record, path, i);
}

static const char order_name[] = "order_parameter";

static PetscBool IsOrder(const FwMeasured *m)
{
  return strncmp(m->name, order_name, strlen(order_name)) ? PETSC_FALSE : PETSC_TRUE;
}

/* What was measured for row q of the table; of order parameters one for each layer from 0 on. NULL where there is no more */
static const FwMeasured *Measured(FwSampled sampled, int q, PetscInt layer)
{
  char name[40];

  if (!layer) return FwSampledFind(sampled, compared[q].name);
  if (strcmp(compared[q].name, order_name)) return NULL;
  snprintf(name, sizeof name, "%s_%d", order_name, (int)layer + 1);
  return FwSampledFind(sampled, name);
}

/* What belongs to entry i of a measured quantity; the mean over outputs where one number was measured for all */
static double PredictedFor(FwRecord record, const char name[], const FwMeasured *m, PetscInt i)
{
  char path[96];

  if (!name || m->n > 1 || IsOrder(m)) return Predicted(record, name, i);
  snprintf(path, sizeof path, "/predict/%s", name);
  return FwRecordPointMean(record, path, 1, 0);
}

/* Entry i of an r x r matrix of which the file has all entries, or the diagonal alone; NaN where it has nothing */
static double OfMatrix(FwRecord record, const char name[], PetscInt r, PetscInt i)
{
  if (!isnan(Predicted(record, name, r)) || isnan(Predicted(record, name, 0))) return Predicted(record, name, i);
  return i % (r + 1) == 0 ? Predicted(record, name, i / (r + 1)) : 0.0;
}

/* Of several outputs, and of the layers of a locally-connected network, the readout's is measured alone */
static const char readout[] = "readout_order_parameter";

static PetscBool HasReadout(FwRecord record)
{
  return isnan(Predicted(record, readout, 0)) ? PETSC_FALSE : PETSC_TRUE;
}

/* Whether it is between the same paths: 'stacked' has another one, which is position_order_parameter, and of very many paths only
   the readout's is measured */
static PetscBool IsSameLayer(FwRecord record, const FwMeasured *m)
{
  if (isnan(Predicted(record, "closure", 0)) || HasReadout(record)) return PETSC_TRUE;
  return Predicted(record, "closure", 0) == 0.0 && !isnan(Predicted(record, m->name, m->n - 1)) &&
             isnan(Predicted(record, m->name, m->n))
           ? PETSC_TRUE
           : PETSC_FALSE;
}

/* A deep network has an order parameter per layer, of which the last is the readout's, or with several outputs one matrix
   for all layers, of which the readout has a part; `lcn` has one per patch, the diagonal of a matrix whose other entries
   vanish by the signs of its units */
static double PredictedOrder(FwRecord record, const FwMeasured *m, PetscInt i)
{
  const char *name = HasReadout(record) ? readout : m->name;
  PetscInt    last = 0;

  if (!IsSameLayer(record, m)) return NAN;
  if (m->n > 1) return OfMatrix(record, name, (PetscInt)m->shape.size[0], i);
  while (!isnan(Predicted(record, name, last + 1))) last++;
  return Predicted(record, name, last);
}

/* Whether the average rests on draws: of these alone it is recorded whether they suffice */
static PetscBool IsDrawn(FwRecord record)
{
  return isnan(Predicted(record, "average_converged", 0)) ? PETSC_FALSE : PETSC_TRUE;
}

/* A solver that has not converged predicts nothing */
static PetscBool HasFailed(FwRecord record)
{
  return FwRecordAt(record, "/predict/converged", 0) == 0.0 ? PETSC_TRUE : PETSC_FALSE;
}

static double PredictedAt(FwRecord record, int q, const FwMeasured *m, PetscInt i)
{
  if (HasFailed(record)) return NAN;
  return IsOrder(m) ? PredictedOrder(record, m, i) : PredictedFor(record, compared[q].saddle, m, i);
}

/* The average is over the product of the order parameters, the readout's alone only for one hidden layer */
static double AverageNumber(FwRecord record, int q, const FwMeasured *m, PetscInt i, const char suffix[])
{
  const PetscBool is_deep = (PetscBool)(HasReadout(record) || (m->n == 1 && !isnan(Predicted(record, order_name, 1))));
  char            name[64];

  if (!compared[q].average || HasFailed(record) || (IsOrder(m) && is_deep)) return NAN;
  if (Predicted(record, "average_converged", 0) == 0.0) return NAN;
  if (IsOrder(m) && (strcmp(m->name, order_name) || !IsSameLayer(record, m))) return NAN; /* none of upper layers */
  snprintf(name, sizeof name, "%s%s", compared[q].average, suffix);
  if (IsOrder(m) && m->n > 1) return OfMatrix(record, name, (PetscInt)m->shape.size[0], i);
  return PredictedFor(record, name, m, i);
}

static double AverageAt(FwRecord record, int q, const FwMeasured *m, PetscInt i)
{
  return AverageNumber(record, q, m, i, "");
}

/* Averages that rest on draws have a statistical error of their own, without which nothing is compared with them */
static double AverageBarAt(FwRecord record, int q, const FwMeasured *m, PetscInt i)
{
  return IsDrawn(record) ? AverageNumber(record, q, m, i, "_error_bar") : 0.0;
}

static double ExactBarAt(FwRecord record, int q, const FwMeasured *m, PetscInt i)
{
  (void)record, (void)q, (void)m, (void)i;
  return 0.0;
}

/* At infinite width the readout's Gram matrix stays that of the prior */
static double InfiniteAt(FwRecord record, int q, const FwMeasured *m, PetscInt i)
{
  if (!IsOrder(m) && strcmp(m->name, "position_order_parameter"))
    return PredictedFor(record, compared[q].infinite, m, i);
  return m->n == 1 || i % (m->shape.size[0] + 1) == 0 ? 1.0 : 0.0;
}

static double ZScore(const FwMeasured *m, PetscInt i, double predicted, double predicted_bar)
{
  return m->error_bar[i] > 0.0 ? (m->value[i] - predicted) / hypot(m->error_bar[i], predicted_bar) : NAN;
}

/* --- what only the prediction can ask for ------------------------------------------------------------------- */

static PetscInt CountPredicted(FwRecord record, const char name[])
{
  PetscInt n = 0;

  while (!isnan(Predicted(record, name, n))) n++;
  return n;
}

PetscErrorCode FwSampleMeasureModes(FwSampled sampled, FwRecord record)
{
  const PetscInt n_weight = CountPredicted(record, "weight_eigenvalue");
  const PetscInt n        = CountPredicted(record, "weight_eigenvector");
  double        *direction;

  PetscFunctionBegin;
  if (!n || HasFailed(record)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(n, &direction));
  for (PetscInt i = 0; i < n; i++) direction[i] = Predicted(record, "weight_eigenvector", i);
  PetscCall(FwSampledAddWeightVariance(sampled, n / n_weight, n_weight, direction));
  PetscCall(PetscFree(direction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- z-scores ----------------------------------------------------------------------------------------------- */

typedef double NumberAt(FwRecord record, int q, const FwMeasured *m, PetscInt i);

static PetscErrorCode AddScores(FwRecord record, int q, const FwMeasured *m, const char suffix[], const char words[],
                                NumberAt *predicted, NumberAt *predicted_bar)
{
  double *z;
  char    name[96], long_name[160];

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(m->n, &z));
  for (PetscInt i = 0; i < m->n; i++) z[i] = ZScore(m, i, predicted(record, q, m, i), predicted_bar(record, q, m, i));
  PetscCall(PetscSNPrintf(name, sizeof name, "%s%s", m->name, suffix));
  PetscCall(PetscSNPrintf(long_name, sizeof long_name, "(sampled - %s) / error bar, %s", words, compared[q].label));
  if (!isnan(z[0])) PetscCall(FwRecordReals(record, name, &m->shape, z, "1", long_name));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampleCompare(FwSampled sampled, FwRecord record)
{
  const FwMeasured *m;

  PetscFunctionBegin;
  for (int q = 0; q < N_COMPARED; q++)
    for (PetscInt layer = 0; (m = Measured(sampled, q, layer)); layer++) {
      PetscCall(AddScores(record, q, m, "_z_score", "predicted", PredictedAt, ExactBarAt));
      PetscCall(AddScores(record, q, m, "_average_z_score", "predicted by the exact average", AverageAt, AverageBarAt));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point ---------------------------------------------------------------------------------------------- */

/* A value with its error bar to two digits, the value to the same place: 0.3257(5) is written 0.3257 +- 0.0005 */
static const char *Bar(double value, double error_bar, char cell[40])
{
  const int place = error_bar > 0.0 ? 1 - (int)floor(log10(error_bar)) : 6;

  if (isnan(value))
    snprintf(cell, 40, "%11s    %-9s", "-", "");
  else
    snprintf(cell, 40, "%11.*f +- %-9.*f", PetscMax(0, PetscMin(place, 9)), value, PetscMax(0, PetscMin(place, 9)),
             error_bar);
  return cell;
}

static const char *Score(double z, char cell[16])
{
  if (isnan(z))
    snprintf(cell, 16, "%8s", "");
  else
    snprintf(cell, 16, " (%+5.1f)", PetscMax(-999.9, PetscMin(z, 999.9)));
  return cell;
}

static void PrintRow(FwRecord record, int q, PetscInt layer, const FwMeasured *m, PetscInt i)
{
  const double saddle = PredictedAt(record, q, m, i), average = AverageAt(record, q, m, i);
  const double infinite = InfiniteAt(record, q, m, i);
  char         label[32], bar[40], a[16], b[16], c[16], za[16], zb[16];

  if (layer)
    snprintf(label, sizeof label, m->n == 1 ? "order, layer %d" : "order, layer %d: %d", (int)layer + 1, (int)i);
  else
    snprintf(label, sizeof label, m->n == 1 ? "%s" : "%s %d", compared[q].label, (int)i);
  printf("  %-18s %s %s%s %s%s %s\n", label, Bar(m->value[i], m->error_bar[i], bar), FwPrintCell(saddle, a),
         Score(ZScore(m, i, saddle, 0.0), za), FwPrintCell(average, b),
         Score(ZScore(m, i, average, AverageBarAt(record, q, m, i)), zb), FwPrintCell(infinite, c));
}

static PetscErrorCode PrintState(FwSampled sampled)
{
  FwSampledState state;

  PetscFunctionBegin;
  PetscCall(FwSampledGetState(sampled, &state));
  printf("\n  R-hat %.4f, effective samples %.0f, acceptance %.2f, step %.3g, %.3g gradients%s\n\n", state.rhat,
         state.ess, state.acceptance, state.step, state.n_gradient, state.is_converged ? "" : "   NOT CONVERGED");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With langevin: what the first step adds to each value */
static void PrintStepBias(FwSampled sampled)
{
  for (int q = 0; q < N_COMPARED; q++) {
    const FwMeasured *m = FwSampledFind(sampled, compared[q].name);

    if (!m || isnan(m->step_bias[0])) continue;
    printf("%s  %-16s %+.3g (%+.1f error bars)\n", q ? "" : "\n  bias of the first step, taken off above\n",
           compared[q].label, m->step_bias[0], m->step_bias[0] / m->error_bar[0]);
  }
}

PetscErrorCode FwPrintSampled(FwSampled sampled, FwRecord record)
{
  static const char *const predicted[] = {"saddle point", "infinite", "NTK"}; /* by theory_model */
  const FwMeasured        *m;
  PetscInt                 theory;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_model", &theory, NULL));
  printf("  %-18s %24s %12s%8s %13s%7s %12s\n", "", "sampled       ", predicted[theory], " (z)",
         Predicted(record, "exact_for_linear", 0) == 0.0 ? "average" : "exact average", " (z)", "infinite");
  for (int q = 0; q < N_COMPARED; q++)
    for (PetscInt layer = 0; (m = Measured(sampled, q, layer)); layer++)
      for (PetscInt i = 0; i < PetscMin(m->n, 10); i++) PrintRow(record, q, layer, m, i);
  PrintStepBias(sampled);
  PetscCall(PrintState(sampled));
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- scans -------------------------------------------------------------------------------------------------- */

/* Of several outputs the means, also of the error bars: no larger than it says, if they are independent */
static PetscErrorCode PrintScanRow(FwScan scan, PetscInt point, FwRecord all)
{
  double   sampled, bar, predicted;
  PetscInt n_point;
  char     cell[40], predicted_cell[16], z[16];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  sampled   = FwRecordPointMean(all, "test_error", n_point, point);
  bar       = FwRecordPointMean(all, "test_error_error_bar", n_point, point);
  predicted = FwRecordPointMean(all, "/predict/test_error", n_point, point);
  if (FwRecordAt(all, "/predict/converged", point) == 0.0) predicted = NAN;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %s %s%s", Bar(sampled, bar, cell), FwPrintCell(predicted, predicted_cell),
                        Score((sampled - predicted) / bar, z)));
  snprintf(cell, sizeof cell, "%9.4f %7.0f", FwRecordAt(all, "rhat", point), FwRecordAt(all, "ess", point));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %s%s\n", cell,
                        FwRecordAt(all, "converged", point) == 1.0 ? "" : "  not converged"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintSampledScan(FwScan scan, FwRecord all)
{
  char head[128];

  PetscFunctionBegin;
  snprintf(head, sizeof head, " %24s %12s%8s %9s %7s", "test error, sampled ", "predicted", " (z)", "R-hat", "ESS");
  PetscCall(FwPrintScanTable(scan, head, PrintScanRow, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}
