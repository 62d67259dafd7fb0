/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What a fully-connected network with one output has learnt in its hidden layer and in its first weights, predicted at a
 * saddle point of the effective action.
 *
 * With K the kernel K_1 between training examples, A = T + s_1^2 1 1^T + Q K, a = A^-1 y and G = a a^T - A^-1, for one
 * hidden layer of width N_1:
 *
 *     M = K_phi = lambda_1 K before learning,
 *     M = E[phi phi^T / N_1 | y] = K_phi + (Q / (lambda_1 N_1)) K_phi G K_phi after,
 *
 *     E[w w^T | y] = 1/lambda_0 + (Q / (lambda_0^2 lambda_1 N_0 N_1)) X^T [G o k_b + 2 diag((G o k_a) 1)] X,
 *
 * X the inputs (P x N_0), w a row of W_0, o the entry-wise product, k_a and k_b the slopes (activation.h) at C_0.
 *
 * Deeper networks have the alignment before learning and the distance from the kernel regime; all else is NaN.
 *
 * @source Pacelli et al., arXiv:2209.04882; docs/theory/observables.md
 */

#include <finwidth/dataset.h>
#include <finwidth/grid.h>
#include <finwidth/model.h>
#include <finwidth/record.h>

/** Above this many inputs the spectrum of E[w w^T] is left out: N_0 x N_0 matrices would cost more than the kernel. Of at
 *  most so many eigenvalues the eigenvectors are kept. */
enum { FW_OBSERVABLES_MAX_SPECTRUM = 4000, FW_OBSERVABLES_WEIGHT_MODES = 4 };

typedef struct {
  PetscBool is_known; /**< they could be computed */

  double   alignment_before, alignment_after;       /**< y^T M y / (|M|_F |y|^2), not centred; NaN where y = 0 */
  double   hidden_trace_before, hidden_trace_after; /**< tr M / P, mean squared activation */
  double   hidden_distance;                         /**< |M_after - M_before|_F / |M_before|_F */
  double   weight_trace_before, weight_trace_after; /**< tr E[w w^T]; N_0 / lambda_0 before */
  PetscInt n_weight;                                /**< N_0, or 0 where there is no spectrum */
  double  *weight_eigenvalue;                       /**< [n_weight] of E[w w^T | y], descending */
  PetscInt n_mode;                                  /**< those raised above 1/lambda_0, at most as many as are kept */
  double  *weight_eigenvector;                      /**< [n_mode, n_weight] of norm 1, the largest component positive */
  double   kernel_distance;                         /**< Q - 1 */
} FwObservables;

/** Predict the observables.
 *
 * The second-moment kernel is used throughout. An order parameter of the theory with mean terms (theory_mean) means
 * something else and does not belong into these formulas: with NaN only alignment_before is known, as for deeper networks.
 * For `sign`, whose slope is zero or infinite, what concerns the weights is NaN and there is no spectrum.
 *
 * Where A is not positive definite (T = 0, or too small, with a singular kernel) all but kernel_distance is NaN, with a
 * warning: `is_known` says so.
 *
 * @collective{grid}
 * @param[in]  grid         where the matrices live
 * @param[in]  model        fully-connected
 * @param[in]  data         set up, one output
 * @param[in]  order        total order parameter Q > 0, at the saddle point; NaN where it is another theory's
 * @param[out] observables  release with FwObservablesDestroy()
 * @error FW_ERR_INPUT  several outputs, or an activation without a kernel
 * @cost P^3 flops for the factor and the inverse of A, 4 P^2 N_0 + 2 P N_0^2 for products, about 9 N_0^3 for the
 *       spectrum, over the ranks; memory of two kernels, the inputs, and six N_0 x N_0 matrices
 */
PetscErrorCode FwObservablesCreate(FwGrid grid, const FwModel *model, FwDataset data, double order,
                                   FwObservables *observables);

/** Put the observables into a record, as data sets of /predict; the spectrum only where there is one. */
PetscErrorCode FwObservablesRecord(const FwObservables *observables, FwRecord record);

/** Release the arrays. */
PetscErrorCode FwObservablesDestroy(FwObservables *observables);
