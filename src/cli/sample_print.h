/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What is sampled beside what is predicted: which prediction belongs to which measured quantity, z-scores, tables.
 */

#include <finwidth/record.h>
#include <finwidth/sampled.h>
#include <finwidth/scan.h>

/** Measure what only the prediction can ask for: variances of the first layer's weights along its eigenvectors. To be called
 *  before FwSampledRecord(). Not collective.
 * @param[in] record  of one point, with the predictions under /predict/
 */
PetscErrorCode FwSampleMeasureModes(FwSampled sampled, FwRecord record);

/** Add the z-scores of every measured quantity that is predicted: NAME_z_score against the saddle point (or the infinite
 *  network, where theory_model says so) and NAME_average_z_score against the exact average,
 *
 *      z = (sampled - predicted) / error bar.
 *
 * Not collective.
 * @param[in,out] record  of one point, with the predictions under /predict/
 */
PetscErrorCode FwSampleCompare(FwSampled sampled, FwRecord record);

/** Print the table of one point. Not collective: on the rank that holds it.
 * @param[in] record  as FwSampleCompare() left it */
PetscErrorCode FwPrintSampled(FwSampled sampled, FwRecord record);

/** A line for each point of a scan; `all` is looked at on rank 0. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPrintSampledScan(FwScan scan, FwRecord all);
