/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Markov chains whose stationary law is exp(-U(w)) over n parameters w, for any U with a gradient.
 *
 * One move draws momenta p ~ N(0, 1), makes leapfrog steps of size e,
 *
 *     p <- p - e/2 grad U(w),   w <- w + e p,   p <- p - e/2 grad U(w),
 *
 * and accepts with probability min(1, exp(-dH)), H = U + |p|^2 / 2:
 *
 *     hmc       many leapfrog steps in a move, their number drawn anew each time, from half to three halves of the
 *               mean, so that no mode is in step with the trajectory; a sample is one move
 *     mala      one leapfrog step; a sample is several moves
 *     langevin  as mala, always accepted: w <- w - h grad U(w) + sqrt(2h) p with h = e^2 / 2, stationary only up to O(h)
 *
 * The step is tuned in burn-in by dual averaging of the acceptance, to 0.75 (hmc), 0.574 (mala) or, for langevin, to the
 * step at which mala would accept 0.95.
 *
 * Scaled so that the prior of w is N(0, 1), U is |w|^2/2 plus what the data say: the widest direction has width 1, and a
 * mean trajectory of length pi/2 crosses it.
 *
 * A chain is a function of (seed, its number) alone; ranks that work on one chain hold the same numbers.
 *
 * @source Duane et al. 1987; Roberts & Tweedie 1996; Hoffman & Gelman, JMLR 15 (2014) 1593, algorithm 5
 */

#include <finwidth/base.h>
#include <stdint.h>

typedef enum { FW_SAMPLER_HMC, FW_SAMPLER_MALA, FW_SAMPLER_LANGEVIN } FwSamplerMethod;

/** What is sampled and what is measured. The functions may be collective on the ranks of one chain, which then give and
 *  get the same numbers. */
typedef struct {
  void    *context;
  PetscInt n; /**< parameters; a chain starts at a draw from N(0, 1) */
  PetscErrorCode (*evaluate)(void *context, const double w[], double *energy, double gradient[]);
  PetscInt n_series; /**< numbers kept of every sample, [0] is U */
  PetscInt n_field;  /**< numbers of which only means over blocks of samples are kept */
  PetscErrorCode (*measure)(void *context, const double w[], double series[], double field[]);
} FwTarget;

/** How chains run. Numbers of samples are per chain. */
typedef struct {
  FwSamplerMethod method;
  uint64_t        seed;
  PetscInt        n_chain, n_burnin, n_sample;
  PetscInt        n_block; /**< blocks of samples, over which the field is averaged; at most n_sample */
  PetscInt leapfrog; /**< mean number of leapfrog steps (hmc, up to 680) or number of moves (others) in a sample; 0 to
                                 choose: pi/2 / e (hmc, at most 1024 steps), 1 / e^2 (others, at most 1000) */
  double   step;     /**< e; 0 to tune it */
} FwSamplerPlan;

typedef struct FwChainImpl *FwChain;

/** What a chain has found. Borrowed from the chain. */
typedef struct {
  PetscInt      n_done;      /**< samples, burn-in included */
  double       *series;      /**< [n_series, n_sample] */
  double       *block;       /**< [n_block, n_field] sums over the samples of each block */
  const double *w;           /**< [n] where it is now */
  double        step;        /**< e */
  double n_move, acceptance; /**< after burn-in: number of moves, and the sum of their acceptance probabilities */
  double n_divergent;        /**< after burn-in: moves that lost more than 1000 in H, or met a number that is none */
  double n_gradient;         /**< evaluations of the gradient since the start, burn-in included */
} FwChainState;

/** Start a chain, at a draw from N(0, 1).
 *
 * @param[in]  target, plan  copied
 * @param[in]  number        of the chain, from 0
 * @param[in]  step_scale    multiplies the step that is used after tuning
 * @param[out] chain         release with FwChainDestroy()
 */
PetscErrorCode FwChainCreate(const FwTarget *target, const FwSamplerPlan *plan, PetscInt number, double step_scale,
                             FwChain *chain);

/** One more sample, of burn-in or after.
 *
 * Collective as the target's functions are.
 */
PetscErrorCode FwChainAdvance(FwChain chain);

/** Number of samples of burn-in in which the step is tuned: all for hmc and mala; two thirds for langevin, so that what
 *  follows forgets where mala would go. */
PetscInt FwSamplerTuning(const FwSamplerPlan *plan);

/** Gradients that a sample is expected to take. Where the step is to be tuned it is not known yet: 0.05 is assumed, 32
 *  leapfrog steps or 400 moves. */
double FwSamplerGradients(const FwSamplerPlan *plan);

/** The logarithm of the tuned step (before the scale), and setting it: all chains get the mean of theirs when tuning is
 *  over, since chains of one step are one sampler. */
double         FwChainLogStep(FwChain chain);
PetscErrorCode FwChainFreezeStep(FwChain chain, double log_step);

PetscErrorCode FwChainGetState(FwChain chain, FwChainState *state);

/** All that a chain needs to go on with the same bits, as doubles; their number depends on target and plan alone. */
size_t         FwChainPackedSize(const FwTarget *target, const FwSamplerPlan *plan);
PetscErrorCode FwChainPack(FwChain chain, double packed[]);
PetscErrorCode FwChainUnpack(FwChain chain, const double packed[]);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwChainDestroy(FwChain *chain);

/** Leapfrog steps alone, for tests: w, p and the gradient at w are moved on in place; `energy` is U at the end. */
PetscErrorCode FwLeapfrog(const FwTarget *target, double step, PetscInt n_step, double w[], double p[],
                          double gradient[], double *energy);
