/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth mixture`: deep linear networks of finite width against their limit: a report, a result file and a picture.
 */

#include "command.h"
#include "mixture.h"
#include "mixture_print.h"

#include <stdio.h>

static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  const FwMixtureCommon *common = context;
  char(*name)[FW_TEST_NAME_SIZE];
  const char **text;
  PetscInt     n;

  PetscFunctionBegin;
  (void)request;
  PetscCall(FwMixtureTestNames(&common->report, &n, &name));
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
  PetscMPIInt            rank;
  PetscInt               n_wrong = 0;
  const FwMixtureCommon *common  = context;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!request->is_single) PetscCall(FwPrintMixtureScan(request->scan, all));
  if (!request->is_single && common->has_posterior) PetscCall(FwPosteriorPrintScan(request->scan, all));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++)
    n_wrong += (PetscInt)FwRecordIntegerAt(all, "test_unexpected", p) > 0;
  if (n_wrong)
    PetscCall(FwWarn("tests came out against expectation at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points: see test_name and test_p_value",
                     n_wrong, summary->n_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DryRun(const FwMixtureCommon *common)
{
  FwMixtureNeed all = {0}, *need;
  PetscInt      n_point, n_group, *group;
  char          line[160];

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(common->request->scan, NULL, &n_point, NULL));
  PetscCall(PetscMalloc1(n_point, &group));
  PetscCall(FwScanGetGroups(common->request->scan, common->shared, NULL, &n_group, group));
  PetscCall(PetscCalloc1(n_group, &need));
  PetscCall(FwMixtureFindNeeds(common, n_group, group, need));
  for (PetscInt i = 0; i < n_group; i++) {
    all.numbers += need[i].numbers;
    all.seconds += need[i].seconds;
    all.bytes = PetscMax(all.bytes, need[i].bytes);
  }
  snprintf(line, sizeof line, "samples %.3g random numbers, about %.2g s on one rank%s, %.2g GiB on rank 0",
           all.numbers, all.seconds, common->has_posterior ? " with the posterior" : "", all.bytes / 1073741824.0);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n%s\n", common->request->resolved, line));
  PetscCall(PetscFree(need));
  PetscCall(PetscFree(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureCost(const FwRequest *request, PetscInt n_group, const PetscInt group[], FwRequestCost *cost)
{
  FwMixtureCommon common;
  FwMixtureNeed  *need;

  PetscFunctionBegin;
  PetscCall(FwMixtureMakeLinear());
  PetscCall(FwMixtureSetUp(request, &common));
  PetscCall(PetscCalloc1(n_group, &need));
  PetscCall(FwMixtureFindNeeds(&common, n_group, group, need));
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
  FwMixtureCommon          common;

  PetscFunctionBegin;
  PetscCall(FwMixtureMakeLinear());
  PetscCall(FwRequestCreate(input, "mixture", FW_FOR_MIXTURE, &request));
  PetscCall(FwMixtureSetUp(&request, &common));
  if (request.is_dry) {
    PetscCall(DryRun(&common));
  } else {
    const FwRequestPlan plan = {.shared   = common.shared,
                                .groups   = groups,
                                .function = FwMixtureGroup,
                                .context  = &common,
                                .failure  = "numbers that cannot be trusted",
                                .report   = Conclude,
                                .describe = Describe};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
