/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Exact moments of the mixing matrix Q and of the outputs S, at finite widths and in the limit. Not collective.
 *
 * Zonal polynomials C_kappa are eigenfunctions of a Wishart factor: with k = |kappa|,
 *
 *     E C_kappa(Q) = C_kappa(1) exp(a sum_i kappa_i (kappa_i - i)) prod_l prod_{(i, j) in kappa} (1 + (2 (j-1) - (i-1)) / N_l),
 *
 * and moments E prod_i tr Q^{kappa_i} follow by linear algebra on the partitions of k.
 */

#include <finwidth/mixture_law.h>

/** Partitions of 1 .. order: 2; 1,1; 3; ... within an order from (k) down to (1, .., 1). */
typedef struct {
  PetscInt  order, n; /**< n partitions in all */
  PetscInt *part;     /**< [n, order] parts, descending, padded with 0 */
} FwPartitions;

enum { FW_MOMENT_ORDER_MAX = 12 };

/** Release with FwPartitionsDestroy().
 * @param[in] order  1 .. FW_MOMENT_ORDER_MAX
 * @error FW_ERR_INPUT  another order */
PetscErrorCode FwPartitionsCreate(PetscInt order, FwPartitions *partitions);
PetscErrorCode FwPartitionsDestroy(FwPartitions *partitions);

/** E prod_i tr Q^{kappa_i} for every partition, under a law with finite a.
 *
 * @param[out] moment  [partitions.n]; infinity where it exceeds the range of doubles
 */
PetscErrorCode FwMixtureMoments(const FwMixtureLaw *law, const FwPartitions *partitions, double moment[]);

/** The same moments of what FwMixtureDraw() draws: another number only where FwMixturePairs() is positive. */
PetscErrorCode FwMixtureMomentsDrawn(const FwMixtureLaw *law, const FwPartitions *partitions, double moment[]);

/** Factor E C_kappa(Q) / C_kappa(1) of one partition. @param[in] part  [n] parts, descending */
double FwMixtureMultiplier(const FwMixtureLaw *law, PetscInt n, const PetscInt part[]);

/** Mean, variance and third cumulant of the logarithm of row i (0 .. D-1) of the squared diagonal of the triangular root.
 *
 * The rows are independent: log det Q is their sum; row 0 is log Q_11, for every D the law of log Q of one output. The
 * mean divided by a is the i-th Lyapunov exponent. -infinity and NaN where a width is at most i.
 */
void FwMixtureLogCumulants(const FwMixtureLaw *law, PetscInt row, double cumulant[3]);

/** The same cumulants of what FwMixtureDraw() draws: other numbers only where FwMixturePairs() is positive. */
void FwMixtureLogCumulantsDrawn(const FwMixtureLaw *law, PetscInt row, double cumulant[3]);

/** c in E Q^-1 = c 1; infinity where a width is D + 1 or less. */
double FwMixtureInverse(const FwMixtureLaw *law);

/** Moments of outputs of unit kernel, cosine `c` between two inputs. */
typedef struct {
  double kurtosis;          /**< E S^4 / (E S^2)^2 */
  double mardia;            /**< E (S^T S)^2 over the outputs at one input; D (D + 2) for a normal law */
  double squares_same;      /**< correlation of the squares of two outputs at one input */
  double squares_inputs;    /**< of the squares of one output at two inputs */
  double squares_different; /**< of the squares of two outputs at two inputs */
} FwMixtureOutputMoments;

FwMixtureOutputMoments FwMixtureOutputs(const FwMixtureLaw *law, double cosine);

/** E S^(2k) of one output of unit kernel; infinity beyond the range. */
double FwMixtureOutputMoment(const FwMixtureLaw *law, PetscInt k);
