/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tables that `finwidth optimal` prints.
 */

#include "optimal.h"

#include "mixture_print.h"
#include "predict_print.h"

#include <finwidth/activation.h>

#include <math.h>
#include <stdio.h>

/* --- one point ----------------------------------------------------------------------------------------------------------- */

static PetscErrorCode PrintNetwork(const FwOptimalSetting *s)
{
  const PetscInt n_shown = 8;

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "network L = %" PetscInt_FMT, s->model.depth));
  for (PetscInt l = 0; l < PetscMin(s->model.depth, n_shown); l++) {
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s%s", l ? " - " : ", ", FwActivationNames[s->model.activation[l]]));
    if (s->gain[l] != 1.0) PetscCall(PetscPrintf(PETSC_COMM_SELF, "(%.6g u)", s->gain[l]));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s\n", s->model.depth > n_shown ? " - ..." : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintChannel(const FwChannel *channel)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "channel %s", FwChannelNames[channel->kind]));
  if (channel->kind == FW_CHANNEL_LOGISTIC)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, ", beta %.6g\n", channel->beta));
  else if (channel->kind == FW_CHANNEL_TANH || channel->kind == FW_CHANNEL_ERF)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "(%.6g z), noise %.6g\n", channel->gain, channel->noise));
  else
    PetscCall(PetscPrintf(PETSC_COMM_SELF, ", noise %.6g\n", channel->noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintModel(const FwReduction *r)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "model   z = %.8g S.x/sqrt(d) + %.8g xi", r->eta, sqrt(r->gamma)));
  if (r->bias > 0.0) PetscCall(PetscPrintf(PETSC_COMM_SELF, " + %.8g b", sqrt(r->bias)));
  PetscCall(
    PetscPrintf(PETSC_COMM_SELF, ": %.4g %% of its variance can be learnt\n", 100.0 * r->eta * r->eta / r->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintNumber(const char label[], FwRecord record, const char name[], const char beside[])
{
  const double value = FwRecordAt(record, name, 0), other = beside ? FwRecordAt(record, beside, 0) : NAN;

  PetscFunctionBegin;
  if (isnan(value)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %-34s%14.8g", label, value));
  if (!isnan(other)) PetscCall(PetscPrintf(PETSC_COMM_SELF, "%18.8g", other));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintTable(const FwOptimalSetting *s, FwRecord record)
{
  const PetscBool is_label = FwChannelIsDiscrete(&s->channel);

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n  %-34s%14s%18s\n", "", "optimal", "message passing"));
  PetscCall(PrintNumber("overlap q", record, "overlap", "overlap_amp"));
  PetscCall(
    PrintNumber(is_label ? "probability of a wrong label" : "error of a new label", record, "error", "error_amp"));
  PetscCall(PrintNumber("  against the label without noise", record, "error_clean", NULL));
  PetscCall(PrintNumber("  at alpha = infinity", record, "error_floor", NULL));
  PetscCall(PrintNumber("error of z at a new input", record, "mmse", NULL));
  PetscCall(PrintNumber("error of z at a training input", record, "mmse_train", NULL));
  PetscCall(PrintNumber("information, network, nat/example", record, "information_network", NULL));
  PetscCall(PrintNumber("information, linear part", record, "information_linear", NULL));
  PetscCall(PrintNumber("free entropy", record, "free_entropy", NULL));
  PetscCall(PrintNumber("penalty of optimal ridge", record, "ridge_penalty", NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintTransitions(const FwOptimalThresholds *t, FwRecord record)
{
  PetscFunctionBegin;
  if (t->weak_recovery > 0.0)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "\nweak recovery from alpha %.8g\n", t->weak_recovery));
  if (!isnan(t->spinodal_high))
    PetscCall(PetscPrintf(
      PETSC_COMM_SELF, "two maxima of the potential for alpha from %.8g to %.8g; the better one is optimal from %.8g\n",
      t->spinodal_low, t->spinodal_high, t->information_theoretic));
  if (isnan(FwRecordAt(record, "all_overlaps", 1))) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "stationary points  q ="));
  for (PetscInt64 i = 0; !isnan(FwRecordAt(record, "all_overlaps", i)); i++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, " %.8g%s", FwRecordAt(record, "all_overlaps", i),
                          FwRecordIntegerAt(record, "all_stable", i) ? "" : " (unstable)"));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintOptimal(const FwOptimalSetting *s, const FwOptimalShared *shared, FwRecord record)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PrintNetwork(s));
  PetscCall(PrintModel(&shared->reduction));
  PetscCall(PrintChannel(&s->channel));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "alpha   %.8g\nstatus  %s\n", s->alpha,
                        !shared->is_proved ? "conjectured: outside the theorem"
                        : s->model.depth   ? "proved for n and all widths large, n << d^(3/2)"
                                           : "proved for n and d large"));
  PetscCall(PrintTable(s, record));
  PetscCall(PrintTransitions(&shared->thresholds, record));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan --------------------------------------------------------------------------------------------------------------- */

static const char *const trial[] = {"/optimal/experiment/error", "/optimal/experiment/error_bar",
                                    "/optimal/experiment/z_score"};
enum { TRIALS = PETSC_STATIC_ARRAY_LENGTH(trial) };

static PetscErrorCode PrintPoint(FwScan scan, FwRecord all, PetscInt point, PetscInt n_axis, PetscBool has_trial)
{
  static const char *const name[] = {"overlap", "error", "error_floor", "information_network", "information_linear"};
  char                     cell[16];

  PetscFunctionBegin;
  PetscCall(FwPrintScanAxes(scan, n_axis, point));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(name); i++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "%13.6g", FwRecordAt(all, name[i], point)));
  PetscCall(
    PetscPrintf(PETSC_COMM_SELF, "%13s", FwRecordIntegerAt(all, "status_of_proof", point) ? "proved" : "conjectured"));
  for (int i = 0; i < TRIALS && has_trial; i++)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, " %s", FwPrintCell(FwRecordAt(all, trial[i], point), cell)));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A learning curve has thousands of points: some of them, from end to end */
static PetscErrorCode PrintAll(FwScan scan, FwRecord all)
{
  const PetscInt n_row = 40;
  PetscInt       n_axis, n_point, n_shown, last = -1;
  PetscBool      has_trial = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  n_shown = PetscMin(n_row, n_point);
  for (PetscInt p = 0; p < n_point; p++)
    if (!isnan(FwRecordAt(all, trial[0], p))) has_trial = PETSC_TRUE;
  PetscCall(FwPrintScanAxes(scan, n_axis, -1));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "%13s%13s%13s%13s%13s%13s%s\n", "overlap", "error", "floor", "info network",
                        "info linear", "status", has_trial ? "     measured    error bar      z-score" : ""));
  for (PetscInt i = 0; i < n_shown; i++) {
    const PetscInt p = n_shown > 1 ? (PetscInt)((PetscInt64)i * (n_point - 1) / (n_shown - 1)) : 0;

    if (p != last && FwRecordAt(all, "converged", p) >= 0.0) PetscCall(PrintPoint(scan, all, p, n_axis, has_trial));
    last = p;
  }
  if (n_shown < n_point)
    PetscCall(PetscPrintf(PETSC_COMM_SELF, "(%" PetscInt_FMT " of %" PetscInt_FMT " points)\n", n_shown, n_point));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPrintOptimalScan(FwScan scan, FwRecord all)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PrintAll(scan, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}
