/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Minima of the action of several outputs: descent that never rises, then PETSc's SNES.
 *
 * From each start the action is first brought down by steps that cannot raise it (FwMatrixActionDescend()), then Newton's
 * method in H = log Q refines, with the exact second derivative as a matrix-free operator under GMRES.
 *
 * What is proved: for one hidden layer with rank K <= N the action is convex in Q, and at T = 0 every stationary point
 * commutes with Y^T K^-1 Y and solves a scalar equation with one positive root. There is one minimum then and
 * `is_complete` is set. Otherwise several starts are tried (Q = 1, both ends of the bracket, one output direction at a
 * time at the upper end); other minima are not excluded.
 */

#include <finwidth/matrix_action.h>
#include <finwidth/saddle.h>

/** Find minima.
 *
 * Every rank does the same work on the same numbers.
 *
 * @param[in]  action
 * @param[out] saddle  release with FwSaddleDestroy(); log_order of a minimum is log det Q / D
 * @param[out] order   [n_minimum][D][D] Q, the lowest action first; release with PetscFree()
 * @option -snes_(any SNES option), -ksp_(any KSP option)
 * @error FW_ERR_NUMERICAL  the action could not be evaluated (T = 0 with a singular kernel)
 */
PetscErrorCode FwMatrixSaddleFind(FwMatrixAction action, FwSaddle *saddle, double **order);
