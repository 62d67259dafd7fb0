/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Effective action of a convolutional or locally-connected network.
 *
 * The readout of a convolutional network mixes its patches: given the Gram matrix of the readout weights,
 * Q_ij = (lambda_1 / N) sum_a v_ai v_aj over the N channels, the network is a Gaussian process with the kernel
 * K_R(Q) = sum_ij Q_ij B_ij, B_ij = K_ij / (lambda_1 n), K_ij the kernel between patches i and j of n (patch_kernel.h).
 * Before learning Q is a Wishart matrix with N degrees of freedom and mean 1, so that
 *
 *     S(Q) = tr Q - log det Q + (1/N)[log det A + y^T A^-1 y],   A = T + K_R(Q).
 *
 * In a locally-connected network every patch has weights of its own, and only the diagonal of Q is left: n numbers.
 *
 * With a = A^-1 y the gradient is 1 - Q^-1 + (G1 - G2) / N, G1_ij = tr A^-1 B_ij, G2_ij = a^T B_ij a, both of them positive
 * semidefinite: log det A is concave in Q and has a tangent above it, y^T A^-1 y is bounded above by the sum of what each
 * B_ij would give with the present a. The minimum of the sum of bounds,
 *
 *     Q' = C^-1/2 [1 + (1 + 4 C^1/2 D C^1/2)^1/2] C^-1/2 / 2,   C = 1 + G1 / N,   D = Q G2 Q / N,
 *
 * is positive definite, and S never rises from Q to Q'.
 *
 * Activations with a mean: the kernel of the means m_i, sum_i m_i m_i^T / (lambda_1 n), does not take part in the
 * renormalisation, and K_ij - m_i m_j^T stands in the place of K_ij.
 *
 * With D outputs the readout has a row for each output and patch, Q_(di)(ej) = (lambda_1 / N) sum_a v_dai v_eaj, and the
 * kernel between outputs d and e is sum_ij Q_(di)(ej) B_ij: A has D P rows, example by example and output by output within.
 * All of the above holds with r = (d, i) in the place of i and 1, tr, log det of m = D n rows.
 *
 * Several hidden layers: the law of Q before learning is another, and 1 in dS/dQ and in C becomes P. Both
 * families of patch_kernel.h have one.
 *
 * - Paths. Given the weights above it, the Gram matrix Q_1 of what multiplies the first layer is a Wishart matrix of N_1
 *   degrees of freedom and mean S_1 = 1 x Q_2 over the taps of the second layer, and so on up to Q_L of mean 1; exact for
 *   linear networks, a closure for others. Of a locally-connected network, whose layers do not overlap, Q_l has no entries
 *   between different paths.
 *
 *       S = sum_l (N_l / N_L) [tr S_l^-1 Q_l - log det S_l^-1 Q_l] + (1/N_L)[log det A + y^T A^-1 y],   P = S_1^-1,
 *
 *   at its minimum over Q_2 .. Q_L; kernel sum_pq Q_pq K_pq / (n prod_l lambda_l) over paths. N below is N_1.
 * - Stacked, all widths equal: S = L tr Q^{1/L} - log det Q + (1/N)[..], P = Q^{1/L - 1}, Q between positions of the last layer.
 *   A closure also for linear networks.
 *
 * tr Q^{1/L} lies below its tangent, and S below its value at fixed Q_2 .. Q_L: the step still never raises S.
 *
 * Matrices Q, G are m x m, symmetric, in full, in the rows of FwPatchRow(); those of a locally-connected network have no
 * entries between different patches.
 *
 * @source Aiudi et al., arXiv:2307.11807; arXiv:2605.29684; docs/theory/convolutional.md
 */

#include <finwidth/cholesky.h>
#include <finwidth/patch_kernel.h>

typedef struct FwLocalActionImpl *FwLocalAction;

/** What an action says at one Q; the same bits on every rank. */
typedef struct {
  double  value;         /**< S; infinity where A is not positive definite, all else is not set then */
  double  log_det;       /**< log det A */
  double  fit;           /**< y^T A^-1 y */
  double  residual2;     /**< |a|^2 */
  double  trace_inverse; /**< tr A^-1 */
  double  stationarity;  /**< max |Q dS/dQ|, in units of N_1 / N_L, over the entries that Q may have */
  double  sum_rule;      /**< tr P Q - m + (tr A^-1 K' - a^T K' a) / N with K' the renormalised part of A: zero at a
                              stationary point, from other numbers than the gradient's */
  double *trace;         /**< [m, m] G1 */
  double *quadratic;     /**< [m, m] G2 */
  double *prior;         /**< [m, m] P; 1 for one hidden layer */
} FwLocalPoint;

/** Create an action on a family of kernels, which is borrowed, as are the labels y, [P][D] on every rank.
 * @param[out] action  release with FwLocalActionDestroy() */
PetscErrorCode FwLocalActionCreate(FwPatchKernel kernel, const double y[], FwLocalAction *action);

/** Set what differs between the points of a scan: width N, temperature and prior of the readout. Not collective. */
PetscErrorCode FwLocalActionSetModel(FwLocalAction action, const FwModel *model);

/** Number m of rows of Q, and of the entries that are unknown: m (m + 1) / 2, or n D (D + 1) / 2. Not collective. */
PetscErrorCode FwLocalActionGetSize(FwLocalAction action, PetscInt *n_row, PetscInt *n_unknown);

/** Whether Q, and Q_l of every layer, has an entry in row i and column j. Not collective. */
PetscBool FwLocalActionCouples(FwLocalAction action, PetscInt i, PetscInt j);

/** The width N of the data's part of the slope. Not collective. */
double FwLocalActionWidth(FwLocalAction action);

/** S without data at Q = 1: the evidence is exp(-N_L/2 (S - that)), up to (2 pi)^(-D P / 2). Not collective. */
double FwLocalActionRest(FwLocalAction action);

/** Number of order parameters that follow each other: L of paths, otherwise 1. Rows and width of one. Not collective. */
PetscErrorCode FwLocalActionGetLayers(FwLocalAction action, PetscInt *n_layer);
void           FwLocalActionGetLayer(FwLocalAction action, PetscInt l, PetscInt *n_row, double *width);

/** Q_{l+1} of the paths from layer l + 1 (l = 1 .. L - 1) at the minimum for Q: in the rows of the layer. Not collective. */
PetscErrorCode FwLocalActionUpper(FwLocalAction action, const double order[], PetscInt l, double upper[]);

/** The communicator that works on the action. Borrowed. */
MPI_Comm FwLocalActionComm(FwLocalAction action);

/** The family. Borrowed. */
FwPatchKernel FwLocalActionKernel(FwLocalAction action);

/** Coefficients of K_R(Q) in the features of the family: [D^2][n_feature]. Not collective. */
PetscErrorCode FwLocalActionCoefficients(FwLocalAction action, const double order[], double coefficient[]);

/** Slopes along the coefficients, [D^2][n_feature], become the slope along Q: [m, m], symmetric, so that the change is its
 *  product with that of Q, summed over all entries. Not collective. */
PetscErrorCode FwLocalActionSlope(FwLocalAction action, const double slope[], double matrix[]);

/** Evaluate everything at Q.
 *
 * @collective{action}
 * @param[in]     order  [m, m]
 * @param[in,out] point  from FwLocalPointCreate()
 * @cost (D P)^3 flops, and two passes over the features
 */
PetscErrorCode FwLocalActionEvaluate(FwLocalAction action, const double order[], FwLocalPoint *point);

/** As FwLocalActionEvaluate() for what comes from the data alone: log_det, fit, residual2, trace_inverse, trace and
 *  quadratic. Q may be singular; `value` is 0, or infinite as above. Collective. */
PetscErrorCode FwLocalActionEvaluateData(FwLocalAction action, const double order[], FwLocalPoint *point);

/** Factor A at Q, and solve for a, [P][D] on every rank.
 *
 * @collective{action}
 * @error FW_ERR_NUMERICAL  A is not positive definite
 */
PetscErrorCode FwLocalActionFactor(FwLocalAction action, const double order[], FwCholesky *factor, double solved[]);

/** The next Q of the majorise-minimise iteration from a point at Q: [m, m]. Not collective. */
PetscErrorCode FwLocalActionStep(FwLocalAction action, const double order[], const FwLocalPoint *point, double next[]);

/** Room for a point; not collective. */
PetscErrorCode FwLocalPointCreate(FwLocalAction action, FwLocalPoint *point);
PetscErrorCode FwLocalPointDestroy(FwLocalPoint *point);

/** Release and set the handle to NULL; NULL is fine. Not collective. */
PetscErrorCode FwLocalActionDestroy(FwLocalAction *action);
