/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Effective action of a fully-connected network whose activation has a mean.
 *
 * With m_mu = <phi(h_mu)> the kernel is K_phi / lambda_1 = K + m m^T / lambda_1, K the covariance of the activation. A
 * finite network multiplies K by Q and the part of the mean by 1 / t, t = 1 + s:
 *
 *     S(Q, t) = -Q (t - 1) + log t + (1/N)[log det A + y^T A^-1 y],   A = T + s_1^2 1 1^T + Q K + m m^T / (t lambda_1),
 *
 * to be minimised over Q and maximised over t, so that log p(y) = -(N/2) S - (P/2) log 2 pi. Without the mean, t = 1 / Q
 * gives back Q - 1 - log Q. For given Q the maximum over t is the one root of a function that falls with t; what is left
 * is a function of u = log Q. Everything follows from one decomposition of K with the columns of labels y and m: with
 * A_0 = A without its last term,
 *
 *     log det A = log det A_0 + log(1 + g / t),   y^T A^-1 y = y^T A_0^-1 y - w / (t + g),
 *     g = m^T A_0^-1 m / lambda_1,   w = (m^T A_0^-1 y)^2 / lambda_1.
 *
 * Several hidden layers (preliminary in the literature, no proof and no bracket): with K_L, m those of the last layer,
 *
 *     S = sum_l (N_l / N_L)[-Q_l s_l + log(1 + s_l)] + (1/N_L)[log det A + y^T A^-1 y],
 *     A = T + s^2 1 1^T + Q K + b m m^T / lambda_L,   Q = prod Q_l,   b = 1 - sum_l (1 - 1/(1 + s_l)) prod_{r > l} Q_r.
 *
 * All calls are not collective: every rank evaluates the same numbers.
 *
 * @source docs/theory/mean.md
 */

#include <finwidth/model.h>
#include <finwidth/saddle.h>

typedef struct FwMeanActionImpl *FwMeanAction;

/** The action at one point. Pairs of labels: y with y, y with m, m with m. */
typedef struct {
  double      log_order;    /**< u = log Q */
  double      log_shift;    /**< v = log t */
  double      force[2];     /**< N dS/du, N dS/dv */
  double      slope[3];     /**< N times the second derivatives: uu, uv, vv */
  double      value;        /**< S; only where asked for */
  double      above;        /**< S less what is the same at all points (action.h); only where asked for */
  double      size;         /**< sum of the terms that the forces are differences of */
  FwResolvent resolvent;    /**< at (T, Q): traces and log det of A_0 */
  double      fit[3];       /**< y.A_0^-1 y, y.A_0^-1 m, m.A_0^-1 m */
  double      fit_above[3]; /**< the same less their limits for Q -> infinity */
  double      square[3];    /**< the same with A_0^-2 */
} FwMeanPoint;

/** Create the action of a model on a decomposed K with two columns of labels, y and m; both are borrowed.
 *
 * @param[in]  scale   the model's K is `scale` times the decomposed one
 * @param[out] action  release with FwMeanActionDestroy()
 * @error FW_ERR_INPUT  a width below 2
 */
PetscErrorCode FwMeanActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, FwMeanAction *action);

/** One hidden layer: evaluate at (u, v). Cost O(P).
 * @error FW_ERR_NUMERICAL  T = 0 and the kernel is singular */
PetscErrorCode FwMeanActionEvaluate(FwMeanAction action, double log_order, double log_shift, PetscBool with_value,
                                    FwMeanPoint *point);

/** Evaluate at u and at the v where S is largest. */
PetscErrorCode FwMeanActionEliminate(FwMeanAction action, double log_order, PetscBool with_value, FwMeanPoint *point);

/** The data's part E = log det A + y^T A^-1 y of the action at log Q and at the coefficient b of m m^T / lambda_L. */
typedef struct {
  double value;             /**< E; infinite where A is not positive definite, all else is not set then */
  double order_slope;       /**< dE / d log Q */
  double coefficient_slope; /**< dE / db */
} FwMeanData;

PetscErrorCode FwMeanActionData(FwMeanAction action, double log_order, double coefficient, FwMeanData *data);

/** Whether round-off in m, where it lies outside the range of K, is felt at a solution: divided by T it enters m^T A_0^-1 y.
 * @error FW_ERR_NUMERICAL  it is: the temperature is too small */
PetscErrorCode FwMeanActionCheckResolved(FwMeanAction action, double log_order, double coefficient);

/** Bounds of the decomposed kernel and of the labels y and m together. */
PetscErrorCode FwMeanActionBounds(FwMeanAction action, FwSpectrumBounds *bounds);

/** The model of an action. Borrowed. */
const FwModel *FwMeanActionModel(FwMeanAction action);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwMeanActionDestroy(FwMeanAction *action);

/** One hidden layer: find saddle points: u is scanned with v eliminated, in steps of 0.1 between bounds on Q, and Newton's method in (u, v)
 *  (PETSc's SNES) refines each rising zero of the force. Zeros closer than a step are not told apart, so that
 *  `is_complete` is never set.
 *
 * @param[out] saddle  release with FwSaddleDestroy()
 * @param[out] shift   [n_minimum] s = t - 1; release with PetscFree()
 * @option -snes_(any SNES option)
 * @error FW_ERR_NUMERICAL  the action could not be evaluated, or no saddle point was found
 */
PetscErrorCode FwMeanSaddleFind(FwMeanAction action, FwSaddle *saddle, double **shift);

/** Several hidden layers: the saddle point that infinite width goes over into as widths fall.
 *
 * @param[out] saddle  one point, of stationary S; release with FwSaddleDestroy()
 * @param[out] order, shift  [L] Q_l, s_l; release with PetscFree()
 * @option -snes_(any SNES option)
 */
PetscErrorCode FwMeanDeepFind(FwMeanAction action, FwSaddle *saddle, double **order, double **shift);

/** b of L layers. */
double FwMeanDeepCoefficient(PetscInt n_layer, const double order[], const double shift[]);

/** One hidden layer: exact average over the order parameters, on a grid in u.
 *
 * The readout weights v enter through Q = lambda_1 |v|^2 / N and a = sqrt(lambda_1 / N) sum v_i, whose law is
 * p(Q, a) proportional to (Q - a^2/N)^{(N-3)/2} exp(-N Q / 2). Given both, the network is a Gaussian process of mean
 * a m / sqrt(lambda_1) and kernel Q K. At each Q the integral over a is done by a trapezoid rule in an angle.
 */
typedef struct {
  PetscInt  n;
  double   *order, *weight; /**< [n] Q at the nodes; posterior weights, sum 1 */
  double   *first, *spread; /**< [n] E[a | Q, y], Var[a | Q, y] */
  double    log_evidence, mean_order;
  PetscBool is_available; /**< false where the weight is spread over too many nodes: the rest is of no use then */
} FwMeanAverage;

PetscErrorCode FwMeanAverageCreate(FwMeanAction action, const FwSaddle *saddle, FwMeanAverage *average);
PetscErrorCode FwMeanAverageDestroy(FwMeanAverage *average);
