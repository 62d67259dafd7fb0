/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The experiment of one point of `finwidth optimal`: its keys, its estimate, its run, its table.
 */

#include "optimal.h"

/** The group that records fill. */
#define FW_TRIAL_GROUP "/optimal/experiment"

/** What experiments need: memory of the rank that needs most, at one point; operations of all ranks and points. */
typedef struct {
  double rank_bytes, flops;
} FwTrialCost;

/** Refuse an experiment that cannot be done, before anything is computed.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]     setting  the point that stands in the options database
 * @param[in,out] cost     this point's is added
 * @error FW_ERR_INPUT  keys that do not fit each other
 */
PetscErrorCode FwTrialCheck(const FwOptimalSetting *setting, FwTrialCost *cost);

/** Do the experiment of a point, put it into its record, print it where there is no scan.
 *
 * @collective{comm}
 * @param[in]  point         its number, for the checkpoint
 * @param[in]  setting       its keys; of an experiment also those in the options database are read
 * @param[out] is_converged  every learner has
 * @error FW_ERR_STOPPED  asked to stop; a checkpoint is written
 * @error FW_ERR_MEMORY   it would not fit
 */
PetscErrorCode FwTrialRun(MPI_Comm comm, const FwRequest *request, PetscInt point, const FwOptimalSetting *setting,
                          const FwReduction *reduction, FwRecord record, PetscBool *is_converged);
