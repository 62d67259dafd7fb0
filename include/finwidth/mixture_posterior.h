/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The posterior of a deep linear network of finite width, or of its limit, given data: exact, or by Monte Carlo with a
 * stated error (docs/theory/mixture-posterior.md).
 *
 * Given the mixing matrix Q = O diag(q) O^T [D, D] the network is a Gaussian process: with the labels rotated into the
 * eigenbasis of Q, Y O [P, D], output d has the resolvent A_d = T + s^2 1 1^T + q_d K (spectrum.h) and
 *
 *     log p(Y | Q) = -1/2 sum_d [log det A_d + (Y O)_d^T A_d^-1 (Y O)_d] - (P D / 2) log 2 pi,
 *
 * which are the weights of the law of Q in the posterior; means and covariances of predictions follow from those given
 * Q by total expectation and variance. At T = 0 the mean does not depend on Q; only the covariance sees the depth.
 *
 * | D    | law of Q                | method                                                                         |
 * | ---- | ----------------------- | ------------------------------------------------------------------------------ |
 * | any  | Q = 1 (no factor, a = 0) | the Gaussian process itself                                                   |
 * | 1    | any                     | quadrature over log q; some 12 digits                                          |
 * | 2    | widths >= 2             | quadrature over log det Q, log(q_1 / q_2) and the angle of O; some 10 digits   |
 * | else | widths >= D where T = 0 | importance sampling from the prior where its effective sample size reaches 1000, |
 * |      |                         | otherwise sequential Monte Carlo: the likelihood is tempered, particles move by pCN |
 *
 * Predictions are of the latent outputs; add T on the diagonal for noisy targets. Units: labels^2 for covariances.
 */

#include <finwidth/mixture_law.h>
#include <finwidth/record.h>
#include <finwidth/spectrum.h>

/** How the posterior is computed where there is a choice. */
typedef enum {
  FW_POSTERIOR_AUTO,       /**< as in the table above */
  FW_POSTERIOR_IMPORTANCE, /**< importance sampling, whatever its effective sample size: for tests */
  FW_POSTERIOR_SEQUENTIAL  /**< sequential Monte Carlo: for tests */
} FwPosteriorMethod;

typedef struct {
  FwPosteriorMethod method;
  PetscInt          n_sample;   /**< draws of the importance sampling, >= 1000 */
  PetscInt          n_particle; /**< of the sequential Monte Carlo, >= 100 */
  uint64_t          seed;       /**< key `seed` */
  const char       *checkpoint; /**< path of the sequential Monte Carlo's checkpoint, or NULL: then no stop is heard */
  const char       *tag;        /**< what the checkpoint belongs to (checkpoint.h) */
  PetscBool         resume;     /**< go on from the checkpoint if there is one, with the same bits on any ranks */
  double            interval;   /**< seconds between checkpoints */
  const double     *target;     /**< [P_t, D] labels of the test examples, for error bars of test errors; or NULL */
} FwMixturePosteriorPlan;

/** A posterior. The same bits on every rank; on any number of ranks, given the same bits of the spectrum. */
typedef struct {
  PetscInt    n_output, n_test;
  const char *method;       /**< "Gaussian process", "quadrature", "importance sampling" or "sequential Monte Carlo" */
  double      log_evidence; /**< log p(Y); -INFINITY for the improper law a = infinity */
  double      log_evidence_error;    /**< standard error; 0 where it is not sampled */
  double      effective_sample_size; /**< of the weights, or of the particles' ancestors; NaN where it is not sampled */
  PetscInt    n_stage, n_unmixed;    /**< temperatures of the sequential Monte Carlo; those of which moves have not
                                          refreshed the particles, where errors are larger than stated */
  double     *mean_q;                /**< [D, D] E[Q | Y] */
  double     *mean_q_error; /**< [D, D] deviation of Q over the root of the effective samples; 0 if not sampled */
  double     *mean_log_q;   /**< [D] E[log q_d | Y], q descending; -INFINITY where Q is singular */
  double     *mean;         /**< [P_t, D] */
  double     *mean_error;   /**< [P_t, D] as mean_q_error */
  double      test_error_error, test_bias_error, test_variance_error; /**< of means over test examples and outputs, as
                                          mean_q_error; 0 if not sampled, NaN without targets */
  double     *covariance;                                             /**< [P_t, D, D] */
  double     *within;                                                 /**< [P_t, D, D] the part E[Cov(f | Q)] of it */
  PetscInt    n_curve;         /**< one output: points of the curves, otherwise 0 */
  double     *curve_log_q;     /**< [n_curve] ascending, equally spaced */
  double     *curve_prior;     /**< [n_curve] density of log q */
  double     *curve_posterior; /**< [n_curve] density of log q given Y */
} FwMixturePosterior;

/** Refuse a law that has no posterior at a temperature, before there are data. Not collective, the same on every rank.
 * @error FW_ERR_INPUT  T < 0; T = 0 and a width below D; an infinite `a` unless D = 1, T = 0 and there are no widths; more
 *                      outputs than 32 */
PetscErrorCode FwMixturePosteriorCheck(const FwMixtureLaw *law, double temperature);

/** Compute a posterior.
 *
 * @collective{spectrum}
 * @param[in]  law          its n_output columns of labels are those of the spectrum
 * @param[in]  spectrum     of the kernel K, with labels, test examples (optional) and readout bias
 * @param[in]  scale        the network's kernel is `scale` times the decomposed one: other priors of the weights
 * @param[in]  temperature  T >= 0
 * @param[in]  plan         how
 * @param[out] posterior    release with FwMixturePosteriorDestroy()
 * @error FW_ERR_INPUT      as FwMixturePosteriorCheck(); numbers of columns that differ; an infinite `a` and P = 1; two outputs, T = 0, P = 1, a width < 4; a plan
 *                          out of its range
 * @error FW_ERR_STOPPED    asked to stop: the checkpoint is written; importance sampling starts again
 * @error FW_ERR_FILE       the checkpoint is of other particles, or damaged
 * @error FW_ERR_NUMERICAL  T = 0 and K is singular; labels of zero at T = 0; a quadrature that does not converge
 * @cost D <= 2: 10^3 resolvents and 10^5 nodes at each test example; otherwise n_sample draws, or some 100 moves of
 *       n_particle particles, divided over the ranks; then D^2 operations per sample at each test example
 */
PetscErrorCode FwMixturePosteriorCreate(const FwMixtureLaw *law, FwSpectrum spectrum, double scale, double temperature,
                                        const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior);

/** Put a posterior into a record, as the data sets of /mixture/posterior. */
PetscErrorCode FwMixturePosteriorRecord(const FwMixturePosterior *posterior, FwRecord record);

/** Release the arrays. */
PetscErrorCode FwMixturePosteriorDestroy(FwMixturePosterior *posterior);
