/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Ridge regression on a drawn design, by conjugate gradients, for several teachers at once:
 *
 *     w_k = argmin  sum_i (y_ki - x_i . w / sqrt(d))^2 + lambda |w|^2.
 *
 * With lambda = (gamma + Delta) / eta^2 this is the posterior mean of the equivalent linear model. A constant in the design
 * makes it fit an intercept.
 */

#include <finwidth/design.h>

typedef struct {
  double   penalty;   /**< lambda >= 0; infinite: w = 0 */
  double   tolerance; /**< of |X^T (y - X w) - lambda w| relative to |X^T y| */
  PetscInt most;      /**< iterations */
} FwRidgePlan;

typedef struct {
  PetscInt n_iteration; /**< until the slowest teacher was done */
  double   residual;    /**< the largest left */
} FwRidgeState;

/** Solve for all columns of the design.
 *
 * The matrix has condition number (lambda + s_1^2) / (lambda + s_d^2), s the singular values of X / sqrt(d): about
 * (1 +- sqrt(alpha))^2. An iteration is a pass over X. With lambda = 0 and fewer rows than inputs the shortest solution is
 * found.
 *
 * @collective{comm of the design}
 * @param[in]  y      [n_column, local rows]
 * @param[out] w      [n_column, width] on every rank
 * @param[out] state  a residual above the tolerance means that it has not converged
 */
PetscErrorCode FwRidgeSolve(FwDesign design, const double y[], const FwRidgePlan *plan, double w[],
                            FwRidgeState *state);
