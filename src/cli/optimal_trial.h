/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The experiment of one point of `finwidth optimal`: its keys, its estimate, its run, its table.
 */

#include "request.h"

#include <finwidth/optimal_experiment.h>
#include <finwidth/reduction.h>

/** What a point is, from the keys that theory reads too; borrowed. */
typedef struct {
  const FwDeepTarget *target;
  const FwReduction  *reduction;
  const FwChannel    *channel;
  double              alpha;
} FwTrialTheory;

/** Whether the point in the options database has an experiment. */
PetscErrorCode FwTrialIsWanted(PetscBool *is_wanted);

/** Refuse an experiment that cannot be done, or would not fit, before anything is computed; print its estimate in a dry run.
 *
 * @collective{comm}
 * @error FW_ERR_INPUT   keys that do not fit each other
 * @error FW_ERR_MEMORY  says what is needed
 */
PetscErrorCode FwTrialCheck(MPI_Comm comm, const FwRequest *request, const FwTrialTheory *theory);

/** Do the experiment, and put it into a record under /optimal/experiment.
 *
 * @collective{comm}
 * @param[in]  point         its number, for the checkpoint
 * @param[out] is_converged  every learner has
 * @error FW_ERR_STOPPED  asked to stop; a checkpoint is written
 */
PetscErrorCode FwTrialRun(MPI_Comm comm, const FwRequest *request, PetscInt point, const FwTrialTheory *theory,
                          FwRecord record, PetscBool *is_converged);

/** The group that the records fill, for the request's plan. */
#define FW_TRIAL_GROUP "/optimal/experiment"
