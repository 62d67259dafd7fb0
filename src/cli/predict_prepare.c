/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What is found out about data and points before anything is computed.
 */

#include "predict.h"

#include "predict_print.h"

#include <finwidth/option.h>

#include <string.h>

/* Keys of the data that do not change their outputs or shape */
static PetscBool IsOfShape(const char name[])
{
  static const char *const others[] = {"data_train",   "data_test",     "data_validation", "data_skip",
                                       "data_shuffle", "data_scramble", "data_predict",    "data_normalise"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(others); i++)
    if (!strcmp(name, others[i])) return PETSC_FALSE;
  return !strncmp(name, "data_", 5) || !strncmp(name, "teacher_", 8) || !strcmp(name, "network_outputs") ? PETSC_TRUE
                                                                                                         : PETSC_FALSE;
}

static PetscErrorCode HasSameShape(FwScan scan, PetscInt a, PetscInt b, PetscBool *is_same)
{
  PetscInt n_axis;

  PetscFunctionBegin;
  *is_same = PETSC_TRUE;
  PetscCall(FwScanGetSize(scan, &n_axis, NULL, NULL));
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    if (IsOfShape(axis->key->name) && FwScanPosition(scan, a, d) != FwScanPosition(scan, b, d)) *is_same = PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictInspectData(FwDataset *data)
{
  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(PETSC_COMM_WORLD, data));
  PetscCall(FwDatasetSetFromOptions(*data));
  PetscCall(FwDatasetInspect(*data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of examples that would not fit are refused before there is a list of them */
static PetscErrorCode Inspect(FwDataset *data)
{
  FwGrid grid;

  PetscFunctionBegin;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(FwPredictEstimateExamples(grid));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwPredictInspectData(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What was printed so far is that of one point */
static PetscErrorCode PrintScan(const FwRequest *request)
{
  PetscInt n_axis, n_point, n_chosen;

  PetscFunctionBegin;
  if (request->is_single) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwScanGetSize(request->scan, &n_axis, &n_point, &n_chosen));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "scan    "));
  for (PetscInt d = 0; d < n_axis; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(request->scan, d, &axis));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%" PetscInt_FMT " %s", d ? " x " : "", axis->n, axis->key->name));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, ", "));
  if (n_chosen < n_point) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%" PetscInt_FMT " of ", n_chosen));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%" PetscInt_FMT " points; above is the first\n", n_point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictIntroduce(const FwRequest *request)
{
  FwDataset data;
  FwModel   model;

  PetscFunctionBegin;
  PetscCall(FwScanApply(request->scan, 0));
  PetscCall(Inspect(&data));
  PetscCall(FwModelFromOptions(&model));
  PetscCall(FwPrintHeader(&model, data));
  PetscCall(PrintScan(request));
  PetscCall(FwModelDestroy(&model));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwScanApply(request->scan, -1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Patches that would not fit are refused before examples are read or drawn */
static PetscErrorCode CheckLocal(const FwRequest *request, FwDataset data, const FwPredictPoint *point)
{
  double seconds, bytes;
  FwGrid grid;

  PetscFunctionBegin;
  if (!FwPredictIsLocal(&point->model) || strcmp(request->command, "predict")) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(FwPredictLocalCost(grid, data, 1, point, &seconds, &bytes));
  PetscCall(FwGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPoint(const FwRequest *request, PetscInt p, FwDataSizes *sizes)
{
  PetscBool      is_same = PETSC_FALSE;
  FwDataset      data    = NULL;
  FwPredictPoint point;

  PetscFunctionBegin;
  PetscCall(FwScanApply(request->scan, p));
  if (p) PetscCall(HasSameShape(request->scan, p - 1, p, &is_same));
  if (!is_same) {
    PetscCall(Inspect(&data));
    PetscCall(FwDatasetGetSizes(data, sizes));
  }
  PetscCall(FwPredictPointRead(&point));
  PetscCall(FwPredictPointCheck(sizes, &point));
  if (data) PetscCall(CheckLocal(request, data, &point));
  PetscCall(FwDatasetDestroy(&data));
  PetscCall(FwPredictPointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictPrepare(const FwRequest *request, void *context)
{
  PetscInt    n_point;
  FwDataSizes sizes;

  (void)context;
  PetscFunctionBegin;
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) PetscCall(CheckPoint(request, p, &sizes));
  PetscCall(FwPredictIntroduce(request));
  PetscFunctionReturn(PETSC_SUCCESS);
}
