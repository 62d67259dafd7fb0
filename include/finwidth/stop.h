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

/** Whether any rank was asked to stop, or the wall time is nearly over. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwStopRequested(PetscBool *stop);

/** Stop here when that was asked for.
 *
 * @collective{PETSC_COMM_WORLD}
 * @error FW_ERR_STOPPED  with what to do next
 */
PetscErrorCode FwStopCheck(void);
