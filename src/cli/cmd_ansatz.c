/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth ansatz`: networks are trained and the Neural Feature Ansatz is measured on them.
 */

#include "ansatz.h"
#include "command.h"

#include <finwidth/option.h>

/* Of the trials from which the time of a training is estimated */
static const double trial_seconds = 2.0, all_trials_seconds = 10.0;

/* The scale of alpha; that of the runs' seeds where the seed is one */
static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  const FwAnsatz *ansatz = context;
  const FwShape   alpha = {1, {"alpha"}, {ansatz->n_alpha}}, run = {1, {"run_seed"}, {ansatz->n_seed}};
  PetscInt64     *seed, first;
  PetscBool       is_scanned;

  PetscFunctionBegin;
  (void)request;
  PetscCall(FwStoreReals(store, "/ansatz/alpha", &alpha, ansatz->alpha, "1", "power of the AGOP"));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_seed", &is_scanned));
  if (is_scanned) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptionInteger("seed", &first, NULL));
  PetscCall(PetscMalloc1(ansatz->n_seed, &seed));
  for (PetscInt s = 0; s < ansatz->n_seed; s++) seed[s] = first + s;
  PetscCall(FwStoreIntegers(store, "/ansatz/run_seed", &run, seed, "1", "seed of the start"));
  PetscCall(PetscFree(seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How long training takes is tried: how many gradients a flow needs, for one, is not known beforehand */
static PetscErrorCode DryRun(const FwAnsatz *ansatz)
{
  const PetscInt first = 0;
  FwAnsatzNeed   need;
  PetscInt       n_chosen;

  PetscFunctionBegin;
  PetscCall(FwAnsatzEstimate(ansatz, 1, &first, trial_seconds, &need));
  PetscCall(FwScanGetSize(ansatz->request->scan, NULL, NULL, &n_chosen));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "%s\nruns    %" PetscInt_FMT " of each of %" PetscInt_FMT
                        " points; the first: %.3g operations a gradient, %.2g GiB on each rank, about %.2g s of one "
                        "rank after a trial\n",
                        ansatz->request->resolved, ansatz->n_seed, n_chosen, need.gradient_flops,
                        need.rank_bytes / 1073741824.0, need.seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of many groups some are tried, evenly chosen */
PetscErrorCode FwAnsatzCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost)
{
  enum { TRIALS = 16 };
  const PetscInt n_trial = PetscMin(TRIALS, n_group);
  PetscInt      *point, n_point;
  FwAnsatz      *ansatz;

  PetscFunctionBegin;
  PetscCall(FwAnsatzSetDefaults());
  PetscCall(PetscNew(&ansatz));
  PetscCall(FwAnsatzSetUp(request, ansatz));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  PetscCall(PetscMalloc1(n_point, &point));
  for (PetscInt t = 0; t < n_trial; t++) {
    const PetscInt wanted = n_trial > 1 ? t * (n_group - 1) / (n_trial - 1) : 0;
    FwAnsatzNeed   need;
    PetscInt       n = 0;

    for (PetscInt p = 0; p < n_point; p++)
      if (group[p] == wanted) point[n++] = p;
    PetscCall(FwAnsatzEstimate(ansatz, n, point, PetscMin(trial_seconds, all_trials_seconds / (double)n_trial), &need));
    cost->seconds    = PetscMax(cost->seconds, need.seconds);
    cost->rank_bytes = PetscMax(cost->rank_bytes, need.rank_bytes);
  }
  PetscCall(PetscFree(point));
  PetscCall(PetscFree(ansatz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Ansatz(const char *input)
{
  static const char *const groups[] = {"/ansatz", NULL};
  FwRequest                request;
  FwAnsatz                *ansatz;

  PetscFunctionBegin;
  PetscCall(FwAnsatzSetDefaults());
  PetscCall(FwRequestCreate(input, "ansatz", FW_FOR_ANSATZ, &request));
  PetscCall(PetscNew(&ansatz));
  PetscCall(FwAnsatzSetUp(&request, ansatz));
  if (request.is_dry) {
    PetscCall(DryRun(ansatz));
  } else {
    const FwRequestPlan plan = {.shared   = FwAnsatzSharedKeys,
                                .groups   = groups,
                                .function = FwAnsatzGroup,
                                .context  = ansatz,
                                .failure  = ansatz->failure,
                                .report   = FwAnsatzConclude,
                                .describe = Describe};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(PetscFree(ansatz));
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
