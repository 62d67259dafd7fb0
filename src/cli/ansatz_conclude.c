/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What is said at the end of `finwidth ansatz`: warnings about its runs, and why it ends with exit code 4.
 */

#include "ansatz.h"

#include <finwidth/feature.h>
#include <finwidth/option.h>

#include <stdio.h>

/* Runs of all points that ended as `name` says, and the first of them */
static PetscInt CountRuns(const FwAnsatz *ansatz, FwRecord all, PetscInt n_point, const char name[], PetscInt *first)
{
  PetscInt n = 0;

  for (PetscInt r = n_point * ansatz->n_seed - 1; r >= 0; r--)
    if (FwRecordIntegerAt(all, name, r) == 1) {
      *first = r;
      n++;
    }
  return n;
}

static PetscErrorCode WarnAboutFeatures(const FwAnsatz *ansatz, FwRecord all, PetscInt n_point)
{
  const PetscInt n_run = n_point * ansatz->n_seed;
  PetscInt       first = 0, n_beyond = 0, n;

  PetscFunctionBegin;
  n = CountRuns(ansatz, all, n_point, "collapsed", &first);
  if (n)
    PetscCall(
      FwWarn("the weights collapsed in %" PetscInt_FMT " of %" PetscInt_FMT
             " runs: there is no feature left to compare (beyond critical_decay they must; small starts do so before)",
             n, n_run));
  for (PetscInt p = 0; p < n_point && n == 0; p++)
    if (FwRecordAt(all, "weight_decay", p) > FwRecordAt(all, "critical_decay", p)) n_beyond++;
  if (n_beyond)
    PetscCall(FwWarn("ansatz_decay is beyond critical_decay in %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: trained longer, their weights may collapse",
                     n_beyond, n_point));
  n = CountRuns(ansatz, all, n_point, "best_alpha_bound", &first);
  if (n)
    PetscCall(FwWarn("best_alpha is an end of its interval, %g or %g, in %" PetscInt_FMT " of %" PetscInt_FMT
                     " runs: the cosine may rise on beyond it, and the means leave them out (final_best_alpha_runs)",
                     FW_FEATURE_ALPHA_LEAST, FW_FEATURE_ALPHA_MOST, n, n_run));
  n = CountRuns(ansatz, all, n_point, "undetermined", &first);
  if (n && ansatz->n_alpha > 1)
    PetscCall(FwWarn(
      "alpha is undetermined in %" PetscInt_FMT " of %" PetscInt_FMT
      " runs: their AGOP has no more than one direction, as with one output, and every alpha gives the same cosine",
      n, n_run));
  n = CountRuns(ansatz, all, n_point, "featureless", &first);
  if (n)
    PetscCall(FwWarn("the AGOP is zero in %" PetscInt_FMT " of %" PetscInt_FMT
                     " runs: their outputs are flat at all examples, and W1^T W1 has no cosine with it",
                     n, n_run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which run of which point, by which method, and where it ended: `ansatz_decay = 0.1, ansatz_step = 2, seed 5, at step 7` */
static PetscErrorCode NameRun(const FwAnsatz *ansatz, FwRecord all, PetscInt run, size_t size, char name[],
                              FwTrainMethod *of)
{
  const FwScan scan = ansatz->request->scan;
  PetscInt     n_axis, n_point, method;
  PetscInt64   seed;
  size_t       n = 0;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, &n_axis, &n_point, NULL));
  PetscCall(FwScanApply(scan, n_axis ? run / ansatz->n_seed : -1));
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwOptionChoice("ansatz_optimiser", &method, NULL));
  PetscCall(FwScanApply(scan, -1));
  *of = (FwTrainMethod)method;
  for (PetscInt d = 0; d < n_axis && n < size; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    n += (size_t)snprintf(name + n, size - n, "%s = %s, ", axis->key->name,
                          axis->text[FwScanPosition(scan, run / ansatz->n_seed, d)]);
  }
  if (n < size)
    (void)snprintf(name + n, size - n, "seed %" PetscInt64_FMT ", at %s%g", seed + run % ansatz->n_seed,
                   FwTrainMethodIsFlow(*of) ? "t = " : "step ", FwRecordAt(all, "stopped_at", run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A flow has a tolerance, that of a midpoint rule a step */
static const char *GivenUpCure(FwTrainMethod method)
{
  return method == FW_TRAIN_FLOW
           ? "a larger ansatz_tolerance, as 1e-5 with ansatz_order 5, more ansatz_gradients, or a descent"
           : "a larger ansatz_step, more ansatz_gradients, or flow";
}

/* What ends with exit code 4, the worst last */
static PetscErrorCode SayFailure(FwAnsatz *ansatz, FwRecord all, PetscInt n_point)
{
  const PetscInt n_run = n_point * ansatz->n_seed;
  PetscInt       first = 0, n;
  char           name[256];
  FwTrainMethod  method;

  PetscFunctionBegin;
  n = CountRuns(ansatz, all, n_point, "given_up", &first);
  if (n) {
    PetscCall(NameRun(ansatz, all, first, sizeof name, name, &method));
    (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                   "flows were given up in %" PetscInt_FMT " of %" PetscInt_FMT
                   " runs (first: %s) after %g gradients: want %s",
                   n, n_run, name, FwRecordAt(all, "gradients", first), GivenUpCure(method));
  }
  n = CountRuns(ansatz, all, n_point, "diverged", &first);
  if (n) {
    PetscCall(NameRun(ansatz, all, first, sizeof name, name, &method));
    (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                   "training diverged in %" PetscInt_FMT " of %" PetscInt_FMT
                   " runs (first: %s): want a smaller ansatz_step",
                   n, n_run, name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAnsatzConclude(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  FwAnsatz   *ansatz = context;
  PetscMPIInt rank;

  PetscFunctionBegin;
  (void)snprintf(ansatz->failure, sizeof ansatz->failure,
                 "the gradient did not come down to ansatz_tolerance within ansatz_steps");
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!request->is_single) PetscCall(FwPrintAnsatzScan(request->scan, all, ansatz->n_seed));
  if (rank == 0) {
    PetscCall(WarnAboutFeatures(ansatz, all, summary->n_point));
    PetscCall(SayFailure(ansatz, all, summary->n_point));
  }
  PetscCallMPI(MPI_Bcast(ansatz->failure, sizeof ansatz->failure, MPI_CHAR, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}
