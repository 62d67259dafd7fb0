/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Average over the matrix Q of order parameters of several outputs.
 *
 * Given Q the network is a Gaussian process of covariance Q (x) K, and Q has the law of a Wishart matrix of N degrees of
 * freedom and mean one; for linear networks that is exact at any width N >= D. The posterior of Q is sampled by weights:
 * H = log Q is drawn from Student's distribution around the saddle point, with the second derivative of the action there
 * as its precision, and each draw has the weight
 *
 *     w = Wishart(Q) |dQ/dH| p(Y | Q) / Student(H),   p(Y) = mean of w,
 *
 * so that nothing but the number of draws limits the accuracy; `effective` = (sum w)^2 / sum w^2 says how well the draws
 * suit. Draw r is that of stream r, whatever rank weighs it.
 *
 * Of several layers Q is the end of a chain: Q_L has that law, and Q_l = Q_{l+1}^1/2 E_l Q_{l+1}^1/2, Q = Q_1, with E_l of it
 * too. The logarithms of all E_l (E_L = Q_L) are drawn, around H / L, each with its Wishart density.
 */

#include <finwidth/matrix_action.h>

/** Draws that a prediction takes. */
enum { FW_MATRIX_AVERAGE_DRAWS = 512 };

typedef struct {
  PetscInt  n, n_output;
  double   *log_order; /**< [n][D][D] draws of H */
  double   *weight;    /**< [n] sum 1 */
  double    log_evidence, log_evidence_error;
  double    effective;                     /**< effective number of draws */
  double   *mean_order, *mean_order_error; /**< [D][D] E[Q | Y] and its statistical error, one deviation */
  PetscBool is_available; /**< false where there is no density (N < D): the rest is not set then */
} FwMatrixAverage;

/** Draw and weigh.
 *
 * @collective{comm}
 * @param[in]  comm     ranks that hold the same action; the draws are divided over them
 * @param[in]  order    [D][D] Q at the saddle point
 * @param[in]  n        number of draws
 * @param[in]  seed     key `seed`
 * @param[out] average  release with FwMatrixAverageDestroy()
 * @error as FwMatrixActionEvaluate(); FW_ERR_NUMERICAL  the point is no minimum
 */
PetscErrorCode FwMatrixAverageCreate(MPI_Comm comm, FwMatrixAction action, const double order[], PetscInt n,
                                     uint64_t seed, FwMatrixAverage *average);

/** Error of one standard deviation of a weighted mean sum_r w_r x_r of n values. */
double FwWeightedError(PetscInt n, const double weight[], const double x[]);

PetscErrorCode FwMatrixAverageDestroy(FwMatrixAverage *average);
