/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The tables that `finwidth predict` prints.
 */

#include <finwidth/prediction.h>
#include <finwidth/scan.h>

/** Data and network, above the table. Collective on PETSC_COMM_WORLD, as are the others. */
PetscErrorCode FwPrintHeader(const FwModel *model, FwDataset data);

/** The table of one point, whose average is called exact where `is_exact`: errors side by side, order parameters, metastable minima. */
PetscErrorCode FwPrintPrediction(const FwPrediction *prediction, PetscBool is_exact);

/** A line for each point of a scan; `all` is looked at on rank 0. */
PetscErrorCode FwPrintScan(FwScan scan, FwRecord all);

/** Print the errors of a prediction side by side, with a number for the order parameter at the saddle point and its average.
 *  Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPrintErrors(const FwPrediction *prediction, PetscBool is_exact, double order, double averaged_order);

/** Warn where an average that rests on draws has not converged. `all` is looked at on rank 0.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]  prefix  what comes before the names of the prediction: "" or "/predict/" */
PetscErrorCode FwPredictWarnAboutAverages(const char prefix[], PetscInt n_point, FwRecord all);

/** Print one line of an estimate. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPrintStage(const char name[], double flops, double seconds);

/** A number in 12 columns, or a dash where there is none. */
const char *FwPrintCell(double value, char cell[16]);

/** What a line of a scan's table says of a point, with the newline. */
typedef PetscErrorCode FwPrintScanRow(FwScan scan, PetscInt point, FwRecord all);

/** A line for each point, its place on the axes first; beyond 60 the others are counted. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPrintScanTable(FwScan scan, const char head[], FwPrintScanRow *row, FwRecord all);
