/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The tables that `finwidth mixture` prints.
 */

#include <finwidth/mixture_report.h>
#include <finwidth/scan.h>

/** Networks and laws, above the table. Collective on PETSC_COMM_WORLD, as are the others. */
PetscErrorCode FwPrintMixtureHeader(const FwMixtureLaw *finite, const FwMixtureLaw *limit, PetscInt n_sample);

/** The table of one point; `record` is looked at on rank 0. */
PetscErrorCode FwPrintMixture(const FwMixtureRequest *request, FwRecord record);

/** A line for each point of a scan; `all` is looked at on rank 0. */
PetscErrorCode FwPrintMixtureScan(FwScan scan, FwRecord all);

/** The values of the axes at a point of a scan, or their names where point < 0: 16 columns each, or two more than the name, without an end of line.
 *  Rank 0 only. */
PetscErrorCode FwPrintScanAxes(FwScan scan, PetscInt n_axis, PetscInt point);
