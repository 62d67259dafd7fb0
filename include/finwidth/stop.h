#pragma once

/** @file
 * Requests to stop: signals, and the wall time given to the run.
 *
 * TERM or INT asks to stop at the next good step; a second one ends the program at once. USR1 asks for a checkpoint.
 * A long computation asks FwStopRequested() between steps.
 */

#include <finwidth/base.h>

/** Install the handlers and read the key `walltime`. Collective; call it once, after FwStart(). */
PetscErrorCode FwStopSetUp(void);

/** Whether any rank of `comm` was asked to stop, or the wall time is nearly over. Collective on `comm`. */
PetscErrorCode FwStopRequested(MPI_Comm comm, PetscBool *stop);

