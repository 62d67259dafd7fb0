/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tables that `finwidth mixture` prints.
 */

#include "mixture_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static PetscErrorCode PrintWidths(const FwMixtureLaw *law)
{
  PetscBool is_equal = PETSC_TRUE;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < law->n_width; l++)
    if (law->width[l] != law->width[0]) is_equal = PETSC_FALSE;
  if (is_equal && law->n_width) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "L = %" PetscInt_FMT ", N = %.6g", law->n_width, law->width[0]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt l = 0; l < PetscMin(law->n_width, 8); l++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%.6g", l ? " - " : "widths ", law->width[l]));
  if (law->n_width > 8) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " - ..."));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintMixtureHeader(const FwMixtureLaw *finite, const FwMixtureLaw *limit, PetscInt n_sample)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "network linear, "));
  PetscCall(PrintWidths(finite));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ", D = %" PetscInt_FMT ", a = sum 1/N = %.6g\nlimit   a = %.6g",
                        finite->n_output, FwMixtureLawA(finite), limit->a));
  if (limit->n_width) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " and "));
  if (limit->n_width) PetscCall(PrintWidths(limit));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\nsamples %" PetscInt_FMT " of each sampler\n\n", n_sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one point --------------------------------------------------------------------------------------------------- */

/* A number in 13 columns, or a dash where there is none */
static const char *Cell(double value, char cell[16])
{
  if (isnan(value))
    snprintf(cell, 16, "%13s", "-");
  else
    snprintf(cell, 16, "%13.6g", value);
  return cell;
}

/* The same without columns */
static const char *Short(double value, char cell[16])
{
  if (isnan(value))
    snprintf(cell, 16, "-");
  else
    snprintf(cell, 16, "%.4g", value);
  return cell;
}

static PetscErrorCode PrintRow(const char label[], double exact, double limit, double sampled, double error_bar)
{
  char a[16], b[16], c[16], d[16];

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %-22s%s%s%s%s\n", label, Cell(exact, a), Cell(limit, b), Cell(sampled, c),
                        Cell(error_bar, d)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* NAME, NAME_error_bar beside NAME_exact, NAME_limit */
static PetscErrorCode PrintQuantity(FwRecord record, const char label[], const char name[])
{
  char exact[64], limit[64], error_bar[64];

  PetscFunctionBegin;
  snprintf(exact, sizeof exact, "%s_exact_finite", name);
  snprintf(limit, sizeof limit, "%s_exact_limit", name);
  snprintf(error_bar, sizeof error_bar, "%s_error_bar", name);
  if (isnan(FwRecordAt(record, exact, 0))) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PrintRow(label, FwRecordAt(record, exact, 0), FwRecordAt(record, limit, 0), FwRecordAt(record, name, 0),
                     FwRecordAt(record, error_bar, 0)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E p3 p1 is E tr Q^3 tr Q; orders 1 to 4 */
static PetscErrorCode PrintMoments(FwRecord record, PetscInt order)
{
  PetscFunctionBegin;
  for (PetscInt64 k = 0;
       FwRecordIntegerAt(record, "moment_order", k) > 0 && FwRecordIntegerAt(record, "moment_order", k) <= 4; k++) {
    char label[32] = "E tr";
    int  n         = 4;

    for (PetscInt i = 0; i < order; i++) {
      const PetscInt64 part = FwRecordIntegerAt(record, "moment_partition", k * order + i);

      if (part > 0)
        n += snprintf(label + n, sizeof label - (size_t)n, part > 1 ? "%sQ^%d" : "%sQ", i ? " tr " : " ", (int)part);
    }
    PetscCall(PrintRow(label, FwRecordAt(record, "moment_exact_finite", k), FwRecordAt(record, "moment_exact_limit", k),
                       FwRecordAt(record, "moment_sampled", k), FwRecordAt(record, "moment_error_bar", k)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintEigenvalues(FwRecord record)
{
  PetscFunctionBegin;
  for (PetscInt64 i = 0; !isnan(FwRecordAt(record, "eigen_log_mean", i)) && i < 12; i++) {
    char label[32];

    snprintf(label, sizeof label, "E log q_%d", (int)i + 1);
    PetscCall(PrintRow(label, NAN, FwRecordAt(record, "eigen_log_mean_limit", i),
                       FwRecordAt(record, "eigen_log_mean", i), FwRecordAt(record, "eigen_log_mean_error_bar", i)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwMixtureTest TestOf(FwRecord record, PetscInt t)
{
  return (FwMixtureTest){.statistic = FwRecordAt(record, "test_statistic", t),
                         .p_value   = FwRecordAt(record, "test_p_value", t),
                         .expected  = (FwExpectation)FwRecordIntegerAt(record, "test_expected", t)};
}

/* A line for a test, or for the Kolmogorov-Smirnov and Cramer-von Mises tests of one question; the number of tests is
   returned */
static PetscInt PrintTest(FwRecord record, const char (*name)[FW_TEST_NAME_SIZE], PetscInt t, PetscInt n)
{
  static const char *const expectation[] = {"either", "rejected", "agree"};
  const FwMixtureTest      one           = TestOf(record, t);
  const PetscBool          is_pair =
    t + 1 < n && !strncmp(name[t], "ks ", 3) && !strncmp(name[t + 1], "cvm ", 4) ? PETSC_TRUE : PETSC_FALSE;
  const FwMixtureTest other = is_pair ? TestOf(record, t + 1) : one;
  const PetscBool     is_good =
    FwMixtureTestIsAsExpected(&one) && FwMixtureTestIsAsExpected(&other) ? PETSC_TRUE : PETSC_FALSE;
  char second[16] = "";

  if (isnan(one.p_value)) return is_pair ? 2 : 1;
  if (is_pair) snprintf(second, sizeof second, "%11.3g", other.p_value);
  (void)PetscPrintf(PETSC_COMM_SELF, "  %-34s%11.4g%11.3g%11s%10s%s\n", is_pair ? name[t] + 3 : name[t], one.statistic,
                    one.p_value, second, expectation[one.expected + 1], is_good ? "" : "  <-- not as expected");
  return is_pair ? 2 : 1;
}

static PetscErrorCode PrintTests(const FwMixtureRequest *request, FwRecord record)
{
  char(*name)[FW_TEST_NAME_SIZE];
  PetscInt n;

  PetscFunctionBegin;
  if (!FwRecordIntegerAt(record, "test_count", 0)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMixtureTestNames(request, &n, &name));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n  %-34s%11s%11s%11s%10s\n", "sampler, quantity, law", "KS or z", "p",
                        "CvM p", "expected"));
  for (PetscInt t = 0; t < n;) t += PrintTest(record, name, t, n);
  PetscCall(PetscFree(name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintVerdict(FwRecord record)
{
  const int n       = (int)FwRecordIntegerAt(record, "test_count", 0),
            n_wrong = (int)FwRecordIntegerAt(record, "test_unexpected", 0);

  PetscFunctionBegin;
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  if (n_wrong)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "\nverdict %d of %d tests against expectation\n\n", n_wrong, n));
  else
    PetscCall(
      PetscPrintf(PETSC_COMM_SELF,
                  "\nverdict all %d tests as expected (p > 1e-4 where laws agree, p < 1e-4 where they differ)\n\n", n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintDistances(FwRecord record)
{
  static const char *const name[] = {"distance_log_q", "distance_log_q_predicted", "distance_log_det",
                                     "distance_log_det_predicted"};
  char                     cell[4][16];

  PetscFunctionBegin;
  for (int i = 0; i < 4; i++) (void)Short(FwRecordAt(record, name[i], 0), cell[i]);
  PetscCall(PetscPrintf(PETSC_COMM_SELF,
                        "\n  distance from the limit  log Q_11 %s (predicted %s), log det Q %s (predicted %s)\n",
                        cell[0], cell[1], cell[2], cell[3]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintTable(const FwMixtureRequest *request, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %-22s%13s%13s%13s%13s\n", "", "exact", "limit", "sampled", "error bar"));
  PetscCall(PrintQuantity(record, "mean log Q_11", "log_q_mean"));
  PetscCall(PrintQuantity(record, "variance log Q_11", "log_q_variance"));
  PetscCall(PrintQuantity(record, "mean log det Q", "log_det_mean"));
  PetscCall(PrintQuantity(record, "variance log det Q", "log_det_variance"));
  PetscCall(PrintEigenvalues(record));
  PetscCall(PrintMoments(record, request->order));
  PetscCall(PrintQuantity(record, "kurtosis of an output", "output_kurtosis"));
  PetscCall(PrintQuantity(record, "squares, two outputs", "output_correlation_same"));
  PetscCall(PrintQuantity(record, "squares, two inputs", "output_correlation_inputs"));
  PetscCall(PrintQuantity(record, "squares, both differ", "output_correlation_different"));
  PetscCall(PrintDistances(record));
  PetscCall(PrintTests(request, record));
  PetscCall(PrintVerdict(record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintMixture(const FwMixtureRequest *request, FwRecord record)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PrintTable(request, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan ---------------------------------------------------------------------------------------------------------- */

PetscErrorCode FwPrintScanAxes(FwScan scan, PetscInt n_axis, PetscInt point)
{
  PetscFunctionBegin;
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;
    PetscInt          i;
    int               width;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    width = PetscMax(16, (int)strlen(axis->key->name) + 2);
    i     = point < 0 ? 0 : FwScanPosition(scan, point, d);
    if (point >= 0 && axis->key->type == FW_KEY_REAL) /* of a range its text has all digits */
      PetscCall(PetscPrintf(PETSC_COMM_SELF, "%*.8g", width, axis->value[i]));
    else
      PetscCall(PetscPrintf(PETSC_COMM_SELF, "%*s", width, point < 0 ? axis->key->name : axis->text[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintPoint(FwScan scan, FwRecord all, PetscInt point, PetscInt n_axis)
{
  static const char *const name[] = {
    "a", "log_q_mean", "log_q_mean_exact_finite", "log_det_mean", "log_det_mean_exact_finite", "distance_log_q"};
  const int n = (int)FwRecordIntegerAt(all, "test_count", point); /* negative: the point failed before its tests */
  char      cell[16];

  PetscFunctionBegin;
  PetscCall(FwPrintScanAxes(scan, n_axis, point));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(name); i++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s", Cell(FwRecordAt(all, name[i], point), cell)));
  if (n < 0)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "      failed\n"));
  else
    PetscCall(
      PetscPrintf(PETSC_COMM_SELF, "%6d of %d\n", n - (int)FwRecordIntegerAt(all, "test_unexpected", point), n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintAll(FwScan scan, FwRecord all)
{
  PetscInt n_axis, n_point;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  PetscCall(FwPrintScanAxes(scan, n_axis, -1));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "%13s%13s%13s%13s%13s%13s%12s\n", "a", "E log Q_11", "exact", "E log det",
                        "exact", "KS limit", "as expected"));
  for (PetscInt p = 0; p < n_point; p++)
    if (FwRecordAt(all, "converged", p) >= 0.0) PetscCall(PrintPoint(scan, all, p, n_axis));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintMixtureScan(FwScan scan, FwRecord all)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PrintAll(scan, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}
