/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Stages of a run (for `-log_view`) and a progress line with an estimated end, on rank 0, for anything over two
 * seconds.
 */

#include <finwidth/base.h>

typedef struct FwProgressImpl *FwProgress;

/** Begin a stage of work.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]  name    as the theory names it: "kernel", "decomposition", "saddle point"; becomes a log stage
 * @param[in]  n_step  number of steps that FwProgressStep() will report; 0 when unknown
 * @param[out] progress  release with FwProgressEnd()
 */
PetscErrorCode FwProgressBegin(const char name[], PetscInt64 n_step, FwProgress *progress);

/** Seconds from one line to the next, after `elapsed` seconds: one on a terminal, where it replaces the last; in a log a tenth of
 *  what has passed, from 1 to 600, so that a day is 200 lines. */
double FwProgressInterval(double elapsed, PetscBool is_terminal);

/** Report that `n_done` steps are done, on this rank. Not collective; cheap enough for a loop over tiles. */
PetscErrorCode FwProgressStep(FwProgress progress, PetscInt64 n_done);

/** Steps that were done before, such as those of a checkpoint: the time left is not reckoned from them. Not collective. */
PetscErrorCode FwProgressSkip(FwProgress progress, PetscInt64 n_skipped);

/** A few words to show behind the time left, such as how far a result has converged; copied. Not collective. */
PetscErrorCode FwProgressNote(FwProgress progress, const char note[]);

/** End the stage and set the handle to NULL. Collective. */
PetscErrorCode FwProgressEnd(FwProgress *progress);
