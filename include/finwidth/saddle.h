/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Every minimum of an effective action, by interval bisection that proves where they are, and PETSc's SNES, which
 * finds them.
 */

#include <finwidth/action.h>
#include <petscsnes.h>

/** One minimum of the action. */
typedef struct {
  double              log_order;   /**< u = log prod_l Q_l */
  double              value;       /**< S */
  double              above;       /**< S less what is the same at all minima (action.h), which orders them */
  double              residual;    /**< |N dS/du| */
  PetscInt            n_iteration; /**< Newton steps */
  SNESConvergedReason reason;      /**< positive when converged */
} FwMinimum;

/** All minima, the lowest action first. Not converging is a result, not an error: the caller decides. */
typedef struct {
  PetscInt   n_minimum;
  FwMinimum *minimum;
  PetscInt   n_evaluation; /**< evaluations of the action in the search */
  PetscBool  is_converged; /**< SNES converged at every minimum */
  PetscBool  is_complete;  /**< every interval was proved to hold one minimum or none; false at a spinodal, where two
                                stationary points lie closer than 1e-7 in log Q */
} FwSaddle;

/** Find every minimum in the bracket of the action.
 *
 * The bracket is halved until in each piece the bounds on F, or on dF/du, exclude all but one stationary point; a piece
 * with one rising zero is a minimum, which SNES (Newton with the analytic slope, in u = log Q, inside the piece) then
 * refines. Every rank does the same work on the same numbers.
 *
 * @param[in]  action
 * @param[out] saddle  release with FwSaddleDestroy()
 * @option -snes_(any SNES option)  tolerances, line search, monitors
 * @error FW_ERR_NUMERICAL  the action could not be evaluated (T = 0 with a singular kernel)
 */
PetscErrorCode FwSaddleFind(FwAction action, FwSaddle *saddle);

/** Release the list. */
PetscErrorCode FwSaddleDestroy(FwSaddle *saddle);
