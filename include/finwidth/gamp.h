/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Generalised approximate message passing on a drawn design, with scalar variances, for several teachers at once.
 *
 * For labels y ~ P_out(. | eta S.x / sqrt(d) + sqrt(gamma) xi), S ~ N(0, 1), an iteration is
 *
 *     V = eta^2 v,   w_i = eta x_i . s / sqrt(d) - V g_i,   (g_i, g'_i) = output(y_i; w_i, V + gamma),
 *     Gamma = -eta^2 alpha mean g',   s <- (s Gamma + eta X^T g / sqrt(d)) / (1 + Gamma),   v <- 1 / (1 + Gamma),
 *
 * from s = 0, v = 1, g = 0. In the limit of large d the overlap s . S / d follows the state evolution
 *
 *     q <- qhat / (1 + qhat),   qhat = alpha eta^2 E g^2(eta^2 q, gamma + eta^2 (1 - q)),
 *
 * whose fixed point is the best that is known to be reached in polynomial time. Where the labels do not tell z from -z,
 * s = 0 is a fixed point: the iteration then starts from a small random s.
 *
 * At finite d it may swing about its fixed point instead of settling. After n free steps s, v and g therefore move by half of
 * each step, after 3 n by a quarter, after 7 n by an eighth. (With s and v alone the term -V g would no longer cancel what an
 * estimate does to itself, and the iteration would not leave s = 0.) Gamma is kept from being negative.
 *
 * @source Rangan 2011; docs/theory/optimal-experiments.md
 */

#include <finwidth/channel.h>
#include <finwidth/design.h>

typedef struct {
  FwChannel channel;
  double    eta, gamma;
  PetscInt  n_free;    /**< iterations before damping begins, at least 1 */
  double    start;     /**< the first s is this times standard normal numbers, and v is 1 - start^2 */
  FwStream  stream;    /**< of the start: number k d + i */
  double    tolerance; /**< on the root mean square change of s */
  PetscInt  most;      /**< iterations */
} FwGampPlan;

typedef struct {
  PetscInt   n_iteration;  /**< until the slowest teacher was done, or the last */
  PetscBool *is_converged; /**< [n_column] */
  double    *variance;     /**< [n_column] v at the end */
  double    *overlap;      /**< [n_iteration + 1, n_column] s . S / d, from the start on */
} FwGampState;

/** Iterate until every teacher has converged.
 *
 * Where numbers leave the range in which the channel can be evaluated the iteration ends as not converged.
 *
 * @collective{comm of the design}
 * @param[in]  design     without a constant; it adds up one scalar per column at least
 * @param[in]  y          [n_column, local rows]
 * @param[in]  direction  [n_column, d] S, which the overlap is with
 * @param[out] s          [n_column, d] on every rank
 * @param[out] state      release with FwGampStateDestroy()
 * @cost a pass over X per iteration, and an evaluation of the channel per label
 */
PetscErrorCode FwGampSolve(FwDesign design, const double y[], const double direction[], const FwGampPlan *plan,
                           double s[], FwGampState *state);

PetscErrorCode FwGampStateDestroy(FwGampState *state);
