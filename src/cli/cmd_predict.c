/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth predict`: the predicted errors of a finite network, as a table, a result file and a picture.
 */

#include "command.h"
#include "predict.h"
#include "predict_print.h"

#include <finwidth/option.h>

static PetscErrorCode WarnAboutMinima(const FwRequestSummary *summary, FwRecord all)
{
  PetscInt    n_several = 0;
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++)
    if (FwRecordAt(all, "metastable_count", p) > 0.0) n_several++;
  if (n_several)
    PetscCall(FwWarn("%" PetscInt_FMT " points have several minima; the result is the lowest, the others are in "
                     "metastable_order_parameter",
                     n_several));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutLearning(const FwRequestSummary *summary, FwRecord all)
{
  PetscInt    n_open = 0;
  double      worst  = 0.0;
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++) {
    if (FwRecordAt(all, "learnt_converged", p) != 0.0) continue;
    n_open++;
    worst = fmax(worst, FwRecordAt(all, "learnt_slope", p));
  }
  if (n_open)
    PetscCall(FwWarn("learning on validation examples has not converged at %" PetscInt_FMT " of %" PetscInt_FMT
                     " points (|gradient of log L| up to %.1e): the learnt order parameter there is not the best",
                     n_open, summary->n_point, worst));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context)
{
  (void)context;
  PetscFunctionBegin;
  PetscCall(FwPredictWarnAboutAverages("", summary->n_point, all));
  PetscCall(WarnAboutLearning(summary, all));
  if (request->is_single) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPrintScan(request->scan, all));
  PetscCall(WarnAboutMinima(summary, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Predict(const char *input)
{
  static const char *const groups[] = {"/predict", NULL};
  FwRequest                request;
  FwPredict                predict;

  PetscFunctionBegin;
  PetscCall(FwRequestCreate(input, "predict", FW_FOR_PREDICT, &request));
  PetscCall(FwPredictSetUp(&request, &predict));
  if (request.is_dry) {
    PetscCall(FwPredictDryRun(&request));
  } else {
    const FwRequestPlan plan = {.shared   = predict.shared,
                                .groups   = groups,
                                .prepare  = FwPredictPrepare,
                                .function = FwPredictGroup,
                                .context  = &predict,
                                .failure  = "there is no prediction, or its solver did not converge",
                                .report   = Report};

    PetscCall(FwRequestRun(&request, &plan));
  }
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
