/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Requests to stop: signals, and the wall time given to the run.
 *
 * TERM or INT asks to stop at the next good step; one that comes a second later or more ends the program at once. USR2
 * asks to stop too, however often it comes: job scripts send it to mpirun, which passes it on. USR1 asks for a checkpoint,
 * and the run goes on.
 * A long computation asks FwStopRequested() and FwCheckpointRequested() between steps.
 */

#include <finwidth/base.h>

/** Install the handlers. Before FwStart(): a signal while MPI starts is then heard, and does not end the program. */
void FwStopCatch(void);

/** Read the key `walltime`, and install the handlers again where MPI or PETSc replaced them. Collective; call it once, after
 *  FwStart(). */
PetscErrorCode FwStopSetUp(void);

/** Whether any rank of `comm` was asked to stop, or the wall time is nearly over. Collective on `comm`. */
PetscErrorCode FwStopRequested(MPI_Comm comm, PetscBool *stop);

/** End here where any rank was asked to stop, and there is nothing of this step to keep: `where` is said, such as "within a
 *  sample". Collective on `comm`.
 * @error FW_ERR_STOPPED  as FwStopRequested() */
PetscErrorCode FwStopLeave(MPI_Comm comm, const char where[]);

/** As FwStopRequested(), or the wall time will be over within `seconds`, which the next step may take on this rank. Collective. */
PetscErrorCode FwStopRequestedWithin(MPI_Comm comm, double seconds, PetscBool *stop);

/** Seconds of the wall time that are left, without the margin in which a run leaves; INFINITY where there is no limit. */
double FwStopSecondsLeft(void);

/** Whether any rank of `comm` was asked for a checkpoint since the last call. Collective on `comm`. */
PetscErrorCode FwCheckpointRequested(MPI_Comm comm, PetscBool *wanted);
