/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Exact average over the order parameter, beside the saddle point.
 *
 * Given Q the network is a Gaussian process with kernel Q K, and Q has the law of a product of independent
 * Gamma(N_l / 2, rate N_l / 2) variables, so that with u = log Q
 *
 *     p(y, u) = f(u) exp(-1/2 [log det A + y^T A^-1 y]) (2 pi)^{-P/2},
 *
 * f the density of the sum of the log Q_l. The average is exact for linear networks of any finite width, and what the
 * theory means for others. It is a one-dimensional trapezoid rule in u, whose nodes and weights stand here.
 */

#include <finwidth/saddle.h>

typedef struct {
  PetscInt  n;
  double   *order;        /**< [n] Q = e^u at the nodes */
  double   *weight;       /**< [n] posterior weights, sum 1 */
  double    log_evidence; /**< log p(y) */
  double    mean_order;   /**< E[Q | y] */
  PetscBool is_available; /**< false where it would be dear (widths above some 10^5 with minima far apart): the rest is
                               not set then */
} FwAverage;

/** Nodes and weights of the average. Not collective; every rank gets the same numbers.
 *
 * @param[in]  action
 * @param[in]  saddle   its minima: they say where the weight lies
 * @param[out] average  release with FwAverageDestroy()
 * @error FW_ERR_NUMERICAL  round-off decides the weights: a tiny temperature, and labels that the network hardly fits
 */
PetscErrorCode FwAverageCreate(FwAction action, const FwSaddle *saddle, FwAverage *average);

/** Release the arrays. */
PetscErrorCode FwAverageDestroy(FwAverage *average);
