/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The posterior of a finite network, sampled: what is measured of it, each with an error bar.
 *
 * Let m(w) and v(w) be mean and variance of f at an example given the sampled weights w (v = 0 where the readout is
 * sampled too), and < > the average over samples. Then
 *
 *     train error     < (m - y)^2 + v >, mean over training examples,
 *     test error      the same over test examples,  test error = bias + variance,
 *     bias            mean over test examples of (<m> - y)^2,
 *     order parameter < lambda_L v^T v / N > of the readout; of cnn and pool with several layers between paths, for every
 *                     layer (FW_MEASURE_PATH_GRAM), and the first layer's, between paths of equal taps, averaged over these
 *                     between positions of the last layer,
 *     alignment       y^T M y / (|M|_F |y|^2),  M = < phi phi^T / N >,
 *     weight eigenvalues  the largest of < w w^T >, w the weights of a neuron of the first layer: along the eigenvectors
 *                         that the other chains have,
 *     weight variance     v^T < w w^T > v, v a direction that somebody else gives.
 *
 * Bias and |M|_F are squares of averages: the square of a noisy average is too large, so they are averages over pairs of
 * different chains, which are independent. Error bars of averages are those of diagnostics.h; of squares, the same of the
 * linearised quantity in means over blocks of samples, and the variance of the second-order term added.
 *
 * With `langevin` every value is 2 x(h/2) - x(h), free of the step's bias up to its square, and the bias that was taken
 * off is given with it.
 *
 * @source docs/theory/sampling.md
 */

#include <finwidth/chains.h>
#include <finwidth/dataset.h>
#include <finwidth/model.h>
#include <finwidth/record.h>

/** R-hat above the first, or an effective sample size below the second in each half of a chain, is not converged: chains
 *  that agree as little, or are worth as little, have no error bar to be trusted (Vehtari et al. 2021). */
#define FW_SAMPLED_RHAT_MOST 1.01
enum { FW_SAMPLED_ESS_LEAST = 50 };

/** Eigenvalues of the covariance of first-layer weights that are measured, and the most inputs of a neuron for which they
 *  are. */
enum { FW_SAMPLED_WEIGHT_MODES = 4, FW_SAMPLED_MAX_SPECTRUM = 1024 };

/** What is sampled and kept. */
typedef struct {
  FwChainsPlan chains;       /**< sampler.n_block is set here */
  PetscBool    is_collapsed; /**< the readout is integrated out */
  PetscBool    with_hidden;  /**< also the hidden Gram matrix and the covariance of first-layer weights: P^2/2 + N_0^2/2
                                  numbers per block of samples */
  PetscBool    with_means;   /**< keep means and deviations of each test example */
  PetscBool    with_weights; /**< keep the last weights of each chain */
} FwSampledPlan;

/** One measured quantity: n numbers. */
typedef struct {
  char        name[40], axis[2][32]; /**< axes of order parameters, to which `shape` points */
  const char *units, *long_name;
  PetscInt    n;
  FwShape     shape;             /**< a scalar, [output], a [..._mode], or [order_row, order_column] */
  double     *value, *error_bar; /**< [n] */
  double     *ess, *rhat;        /**< [n]; NaN where the quantity is not an average */
  double     *step_bias;         /**< [n] what the first step of langevin adds, x(h) - value; NaN for other methods */
} FwMeasured;

typedef struct FwSampledImpl *FwSampled;

/** What sampling will need. */
typedef struct {
  PetscInt n_rank_chain; /**< ranks that share a chain */
  double   flops;        /**< of all chains */
  double   seconds;      /**< wall time; with a step still to be tuned an order of magnitude (FwSamplerGradients()) */
  double   peak_bytes;   /**< of the rank that needs most, the first: it takes all chains in at a checkpoint */
} FwSampledCost;

/** Estimate the sampling of a network, before anything is allocated.
 *
 * @collective{comm}
 * @error FW_ERR_MEMORY  it would not fit: names what is needed, what there is, and the largest P that would fit
 * @error FW_ERR_INPUT   as FwPotentialCreate()
 */
PetscErrorCode FwSampledEstimate(MPI_Comm comm, const FwModel *model, const FwDataSizes *sizes,
                                 const FwSampledPlan *plan, FwSampledCost *cost);

/** Sample the posterior of a network on a dataset.
 *
 * @collective{comm}
 * @param[in]  comm     the ranks, those of `data`
 * @param[in]  data     set up; borrowed
 * @param[in]  model    temperature > 0
 * @param[in]  plan     at least two chains, eight samples
 * @param[out] sampled  on rank 0 what was found, NULL elsewhere; release with FwSampledDestroy()
 * @error FW_ERR_STOPPED  asked to stop, a checkpoint was written
 * @error FW_ERR_INPUT    as FwPotentialCreate(); fewer than two chains
 */
PetscErrorCode FwSampledRun(MPI_Comm comm, FwDataset data, const FwModel *model, const FwSampledPlan *plan,
                            FwSampled *sampled);

/** The rest is not collective, on rank 0. */

/** Measure the variance of the first layer's weights along directions, as one more quantity `weight_variance`. An average,
 *  with an error bar to be trusted, if they do not depend on the chains; nothing is added where no covariance of n_weight
 *  inputs was kept.
 *
 * @param[in] direction  [n_direction, n_weight], of norm 1
 */
PetscErrorCode FwSampledAddWeightVariance(FwSampled sampled, PetscInt n_direction, PetscInt n_weight,
                                          const double direction[]);

/** A measured quantity by its name; NULL when there is none of that name. Borrowed. */
const FwMeasured *FwSampledFind(FwSampled sampled, const char name[]);

/** Worst R-hat and least effective sample size of all averages, mean acceptance, moves that diverged, and whether the
 *  run can be trusted. */
typedef struct {
  double    rhat, ess, ess_least, acceptance, n_divergent, n_move, step, n_gradient;
  PetscBool is_converged;
} FwSampledState;
PetscErrorCode FwSampledGetState(FwSampled sampled, FwSampledState *state);

/** Put everything into a record, as data sets of /sample: NAME, NAME_error_bar, NAME_ess, NAME_rhat and the state. */
PetscErrorCode FwSampledRecord(FwSampled sampled, FwRecord record);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwSampledDestroy(FwSampled *sampled);
