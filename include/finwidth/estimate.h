/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What a prediction will need, before anything is allocated: memory of each rank, operations, time; and with it the form
 * of the decomposition.
 *
 * Times come from constants that were measured once (docs/scaling.md), scaled by the rate of a matrix product measured
 * on this machine now; what is decided rests on the constants alone.
 */

#include <finwidth/grid.h>
#include <finwidth/memory.h>
#include <finwidth/spectrum.h>

/** Sizes that a prediction is made of. */
typedef struct {
  double   n_train, n_test, n_input, n_output, depth;
  double   n_point;            /**< points of a scan on this kernel */
  double   n_node;             /**< values of Q that the exact average takes at each; 0 without it */
  double   n_curve;            /**< points at which the action is drawn; 0 in a scan */
  double   temperature_lowest; /**< in units of tr K / P; 1 where it is not known */
  PetscInt bandwidth;          /**< 64, 1 or 0 as the user says; -1 to choose */
} FwWork;

typedef struct {
  PetscInt bandwidth; /**< of the decomposition: as asked for, or the fastest that fits */
  double   assembly_flops, decomposition_flops, use_flops;       /**< of all ranks together; use: all points */
  double   assembly_seconds, decomposition_seconds, use_seconds; /**< wall time */
  double   peak_bytes;                                           /**< of the rank that needs most */
} FwEstimate;

/** Estimate a prediction on the ranks of a grid, and choose the bandwidth.
 *
 * @collective{grid}
 * @error FW_ERR_MEMORY  it would not fit: names what is needed, what there is, and the largest P that would fit
 */
PetscErrorCode FwEstimatePredict(FwGrid grid, const FwWork *work, FwEstimate *estimate);

/** Operations per second of a matrix product in cache, all ranks together, measured now: a yardstick. Collective. */
PetscErrorCode FwEstimateRate(MPI_Comm comm, double *rate);

/** Name of a bandwidth for a person: "banded (64)", "tridiagonal", "eigenvectors". Borrowed. */
const char *FwEstimateName(PetscInt bandwidth);
