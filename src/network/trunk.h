/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: the hidden layers of a network, from inputs to the features that the readout weighs, and back.
 *
 *     features of layer l:  phi_l(h_l) / sqrt(lambda_l N_l), then s_l where layer l + 1 has biases,
 *
 * so that with theta of unit variance h_{l+1} is a plain product of the features and theta. Matrices are row-major,
 * [row, column], a row per example or, of patches, per position of an example.
 *
 * Of patches, layer l has n_patch positions, and a neuron (channel) of layer l + 1 sees n_tap of them: features leave layer l
 * position by position of layer l + 1, and of each the taps, one after the other, so that they are to layer l + 1 what the
 * patches of an image are to the first. Where taps overlap a feature stands in several places. N_l becomes n_tap N_l, for the
 * readout n_patch N_l.
 */

#include <finwidth/activation.h>
#include <finwidth/examples.h>
#include <finwidth/model.h>

/** One hidden layer. */
typedef struct {
  FwActivation activation;
  PetscInt     n_in;      /**< numbers into a neuron, the constant of the bias included */
  PetscInt     n_out;     /**< neurons, or channels per position */
  PetscInt     n_patch;   /**< positions where it is evaluated; 1 for fc */
  PetscInt     n_tap;     /**< positions of the layer below that a neuron sees; 1 for the first layer and for fc */
  PetscInt     n_set;     /**< sets of weights: n_patch for lcn, else 1 */
  PetscInt     first;     /**< where its weights begin in theta: [n_set, n_out, n_in] */
  double       gain;      /**< 1 / sqrt(lambda N) of the features */
  double       bias;      /**< s, the constant beside the features; 0 for none */
  PetscInt     n_feature; /**< numbers per example that leave the layer, the constant included */
  PetscInt     n_piece; /**< values of an example leave in pieces of n_each: position by position, or all as they are */
  PetscInt     n_each;
  PetscInt    *begin;     /**< [n_piece + 1]; piece i stands in the places place[begin[i]] .. of n_each features each */
  PetscInt    *place;     /**< [begin[n_piece]] */
  PetscBool    is_summed; /**< all pieces stand in one place, added up: a pooled readout */
} FwLayer;

typedef struct {
  FwPatches patches;
  PetscInt  n_input;    /**< per example, as given */
  double    input_gain; /**< 1 / sqrt(lambda_0 M) */
  double    input_bias; /**< s_0 */
  PetscBool is_pooled, is_of_patches;
  PetscInt  depth;
  FwLayer  *layer;          /**< [depth] */
  PetscInt  n_theta;        /**< weights and biases of all hidden layers, without the rest of the first */
  PetscInt  n_feature;      /**< F, features of the last layer */
  PetscInt  n_input_scaled; /**< numbers that an example has as the first layer reads it, n_patch * (M + bias) */
  PetscInt  n_rest;         /**< of these, the last ones that are zero for all training examples: see rotation.h */
} FwTrunk;

/** Inputs as the first layer reads them: row-major. */
typedef struct {
  const double *z;        /**< [n_row, n_column] */
  PetscInt      n_column; /**< n_input_scaled, or n_rest less for training examples */
  const double *rest;     /**< [N_1, n_rest] weights of the last n_rest columns; NULL where they are not there */
} FwInputs;

/** What a forward pass leaves for the backward one, for a number of rows; owned. */
typedef struct {
  double **feature; /**< [depth - 1][n_row, n_feature of the layer] */
  double **slope;   /**< [depth][n_row, n_patch * n_out] pre-activations, then phi', then the gradient in h */
  double  *work;    /**< room for one block: its values of one layer, or gradients in its features */
} FwPass;

/** Lay the layers out.
 *  @error FW_ERR_INPUT  patches with biases; a mask larger than what it lies on */
PetscErrorCode FwTrunkCreate(const FwModel *model, const FwDataSizes *sizes, FwTrunk *trunk);
PetscErrorCode FwTrunkDestroy(FwTrunk *trunk);

/** Inputs of n examples as patches, scaled, with the constant of the bias: [n, n_input_scaled]. */
void FwTrunkScaleInputs(const FwTrunk *trunk, PetscInt n, const double x[], double scaled[]);

/** Room for n_row examples, in blocks of at most n_block_row. */
PetscErrorCode FwPassCreate(const FwTrunk *trunk, PetscInt n_row, PetscInt n_block_row, FwPass *pass);
PetscErrorCode FwPassDestroy(const FwTrunk *trunk, FwPass *pass);

/** Features of one block: rows first .. first + n - 1 of the inputs, of the pass and of `feature` [n_row, F]. */
PetscErrorCode FwTrunkForward(const FwTrunk *trunk, const double theta[], PetscInt first, PetscInt n,
                              const FwInputs *inputs, FwPass *pass, double feature[]);

/** Gradient in theta of one block of training examples, from that in its features, [n, F] at the beginning of the pass'
 *  work.
 *  @param[out] gradient  [n_theta], overwritten */
void FwTrunkBackward(const FwTrunk *trunk, const double theta[], PetscInt first, PetscInt n, const FwInputs *inputs,
                     FwPass *pass, double gradient[]);

/** Positions of the last layer among the features: n_patch, 1 where they are pooled. */
PetscInt FwTrunkReadoutPlaces(const FwTrunk *trunk);

/** Whether there are paths between which Gram matrices are measured: several layers whose filters all positions share, and not
 *  too many paths. */
PetscBool FwTrunkHasPaths(const FwTrunk *trunk);

/** Paths from the readout's places down to layer l: (t_{l+1}, .., t_L, u), the tap of the lowest layer first. */
PetscInt FwTrunkCountPaths(const FwTrunk *trunk, PetscInt l);
