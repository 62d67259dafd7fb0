/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The posterior of a finite network as a potential, U(theta) = -log p(theta | y) up to a constant, and its gradient.
 *
 * All parameters are scaled to a standard normal prior: a weight of layer l is theta / sqrt(lambda_l), a bias of it
 * s_l theta with s_l^2 its variance. A draw from the prior is n independent standard normal numbers.
 *
 *     full        theta all weights and biases,         U = |theta|^2 / 2 + 1/(2T) sum (y - f)^2
 *     collapsed   theta those of the hidden layers;     U = |theta|^2 / 2 + D/2 log det A + 1/2 sum_d y_d^T A^-1 y_d,
 *                 the readout is integrated out exactly: A = T + Phi Phi^T, Phi the scaled features of the readout,
 *                 phi_L / sqrt(lambda_L N_L) and, with a readout bias, a last column s_L
 *
 * so that f | theta is a Gaussian process under `collapsed`, and a number under `full`.
 *
 * Order of weights: layer after layer, each neuron's (channel's; for `lcn` patch by patch, each channel's) together,
 * followed by its bias where the layer has biases; in layers above patches, tap by tap, each the channels below. Weights of the readout: one output after the other; within it patch
 * after patch (`cnn`, `lcn`), each with its channels; then the bias.
 *
 * Theta is in that order too, but where a fully-connected network has more inputs than training examples: then first-layer
 * weights are in rotated coordinates, of which P per neuron come first and those that no training example sees come last,
 * after all else. FwPotentialGetWeights() turns them back.
 *
 * Sums over examples keep the order of examples.h: same bits on any number of ranks. An evaluation allocates nothing.
 *
 * Notation: P, P_t numbers of training and test examples (P_t counts the inputs without labels), D outputs.
 *
 * @source docs/theory/network.md
 */

#include <finwidth/examples.h>
#include <finwidth/model.h>
#include <finwidth/random.h>

typedef struct FwPotentialImpl *FwPotential;

typedef enum { FW_POTENTIAL_COLLAPSED, FW_POTENTIAL_FULL } FwPotentialKind;

/** Most paths between which Gram matrices are measured: with more, P N_1 n_path^2 operations are no longer few beside the
 *  gradients of a sample. */
enum { FW_POTENTIAL_PATHS_MOST = 256 };

/** What can be measured at one theta. Averages are over the readout given theta under `collapsed`. */
typedef enum {
  FW_MEASURE_TRAIN_MEAN,        /**< [P, D] mean of f; under `full` f itself */
  FW_MEASURE_TRAIN_VARIANCE,    /**< [P] variance of f, the same for each output; 0 under `full` */
  FW_MEASURE_TEST_MEAN,         /**< [P_t, D] */
  FW_MEASURE_TEST_VARIANCE,     /**< [P_t] */
  FW_MEASURE_READOUT_GRAM,      /**< [r, r] with r = D (fc, pool) or D n_patch (cnn, lcn: positions of the last layer;
                                    outputs outside): <lambda_L/N_L sum_a v_ra v_sa>, the order parameter Q */
  FW_MEASURE_HIDDEN_GRAM,       /**< [P, P] phi_L phi_L^T / N_L (over channels and patches: / (N n_patch)) */
  FW_MEASURE_HIDDEN_TRACE,      /**< [1] its trace / P, the mean squared activation */
  FW_MEASURE_WEIGHT_TRACE,      /**< [1] trace of the next */
  FW_MEASURE_WEIGHT_COVARIANCE, /**< [M, M] mean of w w^T over the neurons (channels, patches) of the first layer, M inputs
                                    each */
  FW_MEASURE_PATH_GRAM /**< cnn and pool of L > 1 layers and at most FW_POTENTIAL_PATHS_MOST paths, else no numbers: Q_1, .., Q_{L-1}, one after the other,
                                    Q_l = <1/N_l sum_a g^l_pa g^l_qa> between outputs and paths p = (t_{l+1}, .., t_L, u):
                                    g^l_(t,p),a = sum_b g^{l+1}_pb theta_bta / N_{l+1}^1/2 down from g^L = v of variance 1,
                                    what a linear network multiplies layer l by. t_{l+1} outermost, as in
                                    patch_kernel.h */
} FwMeasure;
enum { FW_MEASURE_COUNT = FW_MEASURE_PATH_GRAM + 1 };

/** What a potential will need. Operations are those of one gradient, of all ranks together. */
typedef struct {
  double n_parameter, n_gram, n_feature; /**< n; numbers of FW_MEASURE_READOUT_GRAM and FW_MEASURE_PATH_GRAM; F */
  double rank_bytes;                     /**< of each of the ranks: P^2 numbers, under `collapsed` where P < F */
  double gradient_flops;
  double gram_flops;   /**< to measure FW_MEASURE_READOUT_GRAM and FW_MEASURE_PATH_GRAM, beside a gradient */
  double n_activation; /**< values of the activation in a gradient */
} FwPotentialCost;

/** Estimate, before anything is allocated, a potential on n_rank ranks.
 *
 * Not collective.
 * @error FW_ERR_INPUT  as FwPotentialCreate()
 */
PetscErrorCode FwPotentialEstimate(const FwModel *model, const FwDataSizes *sizes, FwPotentialKind kind,
                                   PetscInt n_rank, FwPotentialCost *cost);

/** Make the potential of a network on examples.
 *
 * @collective{comm}
 * @param[in]  comm       the ranks that work on this network, those of `examples`; duplicated
 * @param[in]  model      temperature > 0; copied, as are the examples, whose arrays are borrowed
 * @param[out] potential  release with FwPotentialDestroy()
 * @error FW_ERR_INPUT  T = 0; biases with patches; a mask larger than what it lies on
 */
PetscErrorCode FwPotentialCreate(MPI_Comm comm, const FwModel *model, const FwExamples *examples, FwPotentialKind kind,
                                 FwPotential *potential);

/** Number of parameters n. */
PetscErrorCode FwPotentialGetSize(FwPotential potential, PetscInt *n);

/** U and its gradient at theta; every rank gives the same theta and has the same result.
 *
 * Where numbers overflow U is infinite and the gradient is of no use: a sampler rejects such a step.
 *
 * @collective{potential}
 * @param[in]  theta     [n]
 * @param[out] energy    U
 * @param[out] gradient  [n], or NULL where only U is wanted
 * @cost one hidden layer: 4 P min(P, N_0) N flops; collapsed with F features and m = min(P, F): about 3 P F m + m^3 more
 */
PetscErrorCode FwPotentialEvaluate(FwPotential potential, const double theta[], double *energy, double gradient[]);

/** Weights and biases of a theta, scaled to a prior of variance 1 as theta is, in the order of the header.
 *  @param[out] weights  [n], not theta itself */
PetscErrorCode FwPotentialGetWeights(FwPotential potential, const double theta[], double weights[]);

/** Number of entries of a measured quantity. */
PetscErrorCode FwPotentialMeasureSize(FwPotential potential, FwMeasure quantity, PetscInt *n);

/** Layers that have a Gram matrix, and the rows of each, first layer first: all L where FW_MEASURE_PATH_GRAM has numbers, else
 *  the readout's alone.
 *  @param[out] n_row  [n_layer], or NULL where only their number is wanted */
PetscErrorCode FwPotentialGramSizes(FwPotential potential, PetscInt *n_layer, PetscInt n_row[]);

/** Measure at theta.
 *
 * @collective{potential}
 * @param[in]  theta  [n]
 * @param[out] value  for each FwMeasure an array of FwPotentialMeasureSize() entries, or NULL where it is not wanted
 *                    (the same ones on every rank)
 * @error FW_ERR_NUMERICAL  outputs that are not finite
 */
PetscErrorCode FwPotentialMeasure(FwPotential potential, const double theta[], double *const value[FW_MEASURE_COUNT]);

/** Replace the training targets, [P, D] row-major, copied; they start as those of the examples. Not collective. */
PetscErrorCode FwPotentialSetTargets(FwPotential potential, const double y[]);

/** Draw training targets from p(y | theta): f at theta plus noise of variance T; under `collapsed` the readout is drawn
 *  too. For tests of the joint distribution of theta and y.
 *
 * @collective{potential}
 * @param[in]  stream  numbers 0 .. P D - 1 are the noise, the readout follows
 * @param[out] y       [P, D]
 */
PetscErrorCode FwPotentialDrawTargets(FwPotential potential, const double theta[], FwStream stream, double y[]);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwPotentialDestroy(FwPotential *potential);
