/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Minima of the action of a convolutional or locally-connected network.
 *
 * The majorise-minimise step Q -> Q' of local_action.h is a fixed-point iteration that descends from any start. It is
 * accelerated by Anderson mixing (SNESANDERSON) of the residual log Q - log Q', in whose coordinates Q cannot leave the
 * positive matrices; where a mixed point lies higher than what is known, the plain step from the lowest point takes its
 * place. Several starts may end in several minima. That no other minimum exists is not proved.
 */

#include <finwidth/local_action.h>
#include <petscsnes.h>
#include <stdint.h>

/** One minimum. */
typedef struct {
  double             *order;        /**< [m, m] Q */
  FwLocalPoint        point;        /**< the action there */
  PetscInt            n_evaluation; /**< of the action */
  SNESConvergedReason reason;       /**< positive when converged */
} FwLocalMinimum;

/** All minima found, the lowest action first. Not converging is a result, not an error. */
typedef struct {
  PetscInt        n_row, n_minimum; /**< m rows of Q */
  FwLocalMinimum *minimum;
  PetscInt        n_start, n_evaluation; /**< of all starts */
  PetscBool       is_converged;          /**< the lowest is a minimum to the tolerance, and obeys the sum rule */
} FwLocalSaddle;

/** Descend from n_start points.
 *
 * Converged where max |Q dS/dQ| is below 1e-10, or below 1e-7 where round-off lets it fall no further.
 *
 * @collective{action}
 * @param[in]  start   [n_start][m, m] positive definite
 * @param[out] saddle  release with FwLocalSaddleDestroy()
 * @option -snes_(any SNES option)  monitors, limits, size of the mixing (-snes_anderson_m)
 * @error FW_ERR_NUMERICAL  A is not positive definite at any start
 * @error FW_ERR_STOPPED    asked to stop
 * @cost some 10 to 30 evaluations a start
 */
PetscErrorCode FwLocalSaddleFind(FwLocalAction action, PetscInt n_start, const double start[], FwLocalSaddle *saddle);

/** Starts for FwLocalSaddleFind(): the first is Q = 1, further ones are drawn, by their number, from matrices of few degrees
 *  of freedom over two decades of scale. Not collective.
 * @param[out] start  [n_start][m, m] */
PetscErrorCode FwLocalStarts(FwLocalAction action, uint64_t seed, PetscInt n_start, double start[]);

/** Release the list. */
PetscErrorCode FwLocalSaddleDestroy(FwLocalSaddle *saddle);
