/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Order parameters that are learnt: the kernel K_R(Q) of a network on patches (local_action.h) whose mean prediction errs
 * least on validation examples,
 *
 *     L(Q) = 1/(D P_v) sum_v |y_v - f_v|^2,   f_v = k_v^T a,   a = A^-1 y,   A = T + K_R(Q),
 *
 * k_v = K_R(Q) between the training examples and v. No theory of a network stands behind this Q: it says how well any Q could do,
 * so that the saddle point can be judged. It fits the validation examples, and is to be judged on a third set.
 *
 * With r_v = y_v - f_v and b = A^-1 sum_v k_v r_v the slope along a coefficient of a feature F is
 *
 *     dL = -2/(D P_v) [ sum_v a^T F_v r_v - b^T F a ].
 *
 * L depends on Q / T alone. Where labels have no noise it falls with the scale of Q for ever, and so it may with single
 * eigenvalues: what is minimised is L + w [tr Q - log det Q - m], the action without data, with w m = 1e-5 L(1). It ends the
 * search where L is a few thousandths above its limit. The variance that goes with such a Q has no meaning.
 *
 * @source docs/theory/convolutional.md
 */

#include <finwidth/local_action.h>

/** The end of the search. */
typedef struct {
  PetscInt  n_row;
  double   *order;                /**< [m, m] Q */
  double    value;                /**< L there, label^2 */
  double    slope;                /**< norm of the gradient in the coordinates of the search, over what is minimised */
  PetscInt  start;                /**< which start it came from */
  PetscInt  n_step, n_evaluation; /**< steps from there; evaluations from all starts */
  PetscBool is_converged;         /**< slope below 1e-4 */
} FwLocalLearnt;

/** L and its slope at Q.
 *
 * @collective{action}
 * @param[in]  cross  of the action's family and the validation examples
 * @param[in]  y      [P_v][D] their targets, on every rank
 * @param[in]  order  [m, m]
 * @param[out] value  infinity where A is not positive definite; `slope` is not set then
 * @param[out] slope  [m, m] symmetric: dL = sum_rs slope_rs dQ_rs; the same bits on every rank, as is `value`
 * @cost (D P)^3 / 3 flops, and two readings of either store
 */
PetscErrorCode FwLocalLearntEvaluate(FwLocalAction action, FwPatchCross cross, const double y[], const double order[],
                                     double *value, double slope[]);

/** Minimise from n_start points by a limited-memory quasi-Newton method (TAOBQNLS, 500 directions) in the entries of log Q, so that
 *  Q stays positive definite; the lowest end is kept. Other minima are not excluded.
 *
 * @collective{action}
 * @param[in]  start   [n_start][m, m] positive definite
 * @param[out] learnt  release with FwLocalLearntDestroy(); not converging is a result
 * @error FW_ERR_NUMERICAL  A is not positive definite at a start
 * @error FW_ERR_STOPPED    asked to stop
 */
PetscErrorCode FwLocalLearn(FwLocalAction action, FwPatchCross cross, const double y[], PetscInt n_start,
                            const double start[], FwLocalLearnt *learnt);

/** Release the arrays. */
PetscErrorCode FwLocalLearntDestroy(FwLocalLearnt *learnt);

/** Directions that the search keeps, three numbers of each for every one of the unknowns: what it holds on each rank. */
PetscInt FwLocalLearntHistory(double n_unknown);
