/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: coordinates in which an order parameter cannot leave the positive matrices: the entries of log Q that it may have,
 * i <= j, those off the diagonal times sqrt 2, so that lengths are those of the matrix. Not collective.
 */

#include <finwidth/local_action.h>

/** Coordinates x, [n_unknown], of Q, [m, m], which is positive definite; and back. */
PetscErrorCode FwLocalToCoordinates(FwLocalAction action, const double order[], double x[]);
PetscErrorCode FwLocalFromCoordinates(FwLocalAction action, const double x[], double order[]);

/** From coordinates to Q, and the slope along Q of some function of it, [m, m] symmetric, to its gradient in x. */
PetscErrorCode FwLocalGradient(FwLocalAction action, const double x[], const double slope[], double gradient[]);
