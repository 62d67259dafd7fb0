/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The best that any learner can do: replica potential of the equivalent linear model, its fixed points, what follows.
 *
 * With n = alpha d_0 examples of z = eta S.x / sqrt(r_0 d_0) + sqrt(gamma) xi seen through a channel, q = E (S.<S>) / d_0 of
 * the posterior mean maximises
 *
 *     f(q) = (q + log(1 - q)) / 2 + alpha psi(eta^2 q, gamma + eta^2 (1 - q)),
 *
 * whose stationary points all lie on one curve,
 *
 *     alpha(q) = q / (1 - q) / (eta^2 E g^2).
 *
 * The curve belongs to a network and a channel. It is found once, with its extrema; then each alpha costs a few steps on
 * an interpolation of it, and no fixed point can be missed by a bad start. Variances are carried as V = gamma +
 * eta^2 (1 - q), and q as t = log(q / (1 - q)), so that nothing cancels near q = 1.
 *
 * Not collective.
 *
 * @source docs/theory/optimal.md; Barbier et al. 2019; Camilli et al. 2025
 */

#include <finwidth/channel.h>
#include <finwidth/record.h>
#include <finwidth/reduction.h>

typedef struct FwOptimalImpl *FwOptimal;

enum { FW_FIXED_MAX = 12 };

/** A stationary point of the potential. */
typedef struct {
  double    overlap, remainder; /**< q, 1 - q */
  double    free_entropy;       /**< f(q) / alpha, nats per example; infinite where nothing is left to learn */
  PetscBool is_stable;          /**< a maximum of f */
} FwFixedPoint;

/** What holds at one alpha. NaN for what a channel does not have. */
typedef struct {
  PetscInt     n_fixed;
  FwFixedPoint fixed[FW_FIXED_MAX]; /**< by rising overlap */
  PetscInt     best, amp;           /**< the global maximum; where message passing from no information ends */

  double error, error_clean;  /**< of the best guess of a new label, and of the label without noise (channel.h) */
  double error_amp;           /**< the first, for message passing */
  double mmse, mmse_weights;  /**< of z at a new input, V; per weight of S, 1 - q */
  double mmse_train;          /**< gaussian: of z at a training input, V noise / (V + noise) */
  double information_network; /**< I(all weights of the network; data) / n, nats; infinite for noiseless regression */
  double information_linear;  /**< I(S; data) / n, of the linear part alone */
  double free_entropy;        /**< max f / alpha, nats per example */
  double ridge_penalty;       /**< gaussian: penalty with which ridge regression is optimal, (gamma + noise) / eta^2 */
} FwOptimalPoint;

/** Special values of alpha; NaN for those that there are not. */
typedef struct {
  double weak_recovery; /**< below it the best guess from no information is none: 0 unless the channel is even */
  double spinodal_low, spinodal_high; /**< several maxima of f are there between them; message passing goes on to the
                                           better one above spinodal_high */
  double information_theoretic;       /**< where the better maximum becomes the higher one */
} FwOptimalThresholds;

/** Find the curve for all alpha of a range.
 *
 * Cost: none for gaussian; else about 60 to 200 FwChannelMoments().
 *
 * @param[in]  reduction    only read here
 * @param[in]  least, most  0 < least <= most: the range of alpha
 * @param[out] optimal      release with FwOptimalDestroy()
 * @error FW_ERR_INPUT      the channel, the range, or a channel that is not gaussian behind a network that is not odd: labels
 *                          then depend on its bias b
 * @error FW_ERR_NUMERICAL  as FwChannelMoments()
 */
PetscErrorCode FwOptimalCreate(const FwReduction *reduction, const FwChannel *channel, double least, double most,
                               FwOptimal *optimal);

/** Everything at one alpha of the range. Cost: 0.2 us for gaussian, else 2 us and FwChannelErrors(), beside 16
 *  FwChannelMoments() where no other alpha was near.
 * @error FW_ERR_INPUT      alpha is out of the range
 * @error FW_ERR_NUMERICAL  more than FW_FIXED_MAX fixed points */
PetscErrorCode FwOptimalSolve(FwOptimal optimal, double alpha, FwOptimalPoint *point);

PetscErrorCode FwOptimalGetThresholds(FwOptimal optimal, FwOptimalThresholds *thresholds);

/** Error of the best guess with all of S known, alpha -> infinity: what is left is the nonlinear part, and noise. */
PetscErrorCode FwOptimalGetFloor(FwOptimal optimal, double *error);

/** Whether the answers are those of a theorem: with hidden layers that of Camilli et al. 2025 (odd activations and readout
 *  with two bounded derivatives, noise added to the label), without them that of Barbier et al. 2019 (such readouts with
 *  noise, or discrete labels). */
PetscBool FwOptimalIsProved(const FwReduction *reduction, const FwChannel *channel);

/** Put what is known of a point into a record, under the names of the group /optimal; the units of errors are the channel's. */
PetscErrorCode FwOptimalRecord(const FwReduction *reduction, const FwChannel *channel, const FwOptimalPoint *point,
                               const FwOptimalThresholds *thresholds, FwRecord record);

/** The curve and the potential at n overlaps: alpha(q), and f(q) at the given alpha. For pictures: each costs a
 *  FwChannelMoments().
 * @param[in] t  [n] log(q / (1 - q)) */
PetscErrorCode FwOptimalProfile(FwOptimal optimal, double alpha, PetscInt n, const double t[], double curve[],
                                double potential[]);

/** State evolution: the overlap after one step of message passing (or of the map whose fixed points are above). */
PetscErrorCode FwOptimalStep(FwOptimal optimal, double alpha, double overlap, double *next);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwOptimalDestroy(FwOptimal *optimal);
