/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Inside the room: pieces of the report.
 */

#include <finwidth/mixture_report.h>

/** Name of a sampled data set: NAME for the first sampler of the run, NAME_SAMPLER for further ones. */
void FwReportName(const FwMixtureData *data, FwMixtureDrawn drawn, const char name[], char full[FW_STORE_NAME_SIZE]);

/** Curves for figures. */
PetscErrorCode FwReportCurves(const FwMixtureData *data, FwRecord record);
