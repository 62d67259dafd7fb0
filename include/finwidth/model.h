/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * One description of a network, read by kernels, finite networks and actions alike.
 *
 *     h_1 = W_0 x / sqrt(N_0) + b_0,   h_{l+1} = W_l phi_l(h_l) / sqrt(N_l) + b_l,   f = h_{L+1}
 *
 * with entries of W_l of variance 1 / prior[l], entries of b_l of variance bias[l], l = 0 .. L, and the posterior
 * proportional to exp(-loss / temperature) times the prior, loss = 1/2 sum (y - f)^2.
 */

#include <finwidth/base.h>

typedef enum { FW_NETWORK_FC, FW_NETWORK_CNN, FW_NETWORK_LCN, FW_NETWORK_POOL } FwNetworkType;

typedef struct {
  FwNetworkType type;
  PetscInt      depth;       /**< hidden layers L */
  double       *width;       /**< [L] N_1 .. N_L */
  PetscInt     *activation;  /**< [L] index into the choices of `network_activation` */
  double       *prior;       /**< [L+1] lambda_0 .. lambda_L */
  double       *bias;        /**< [L+1] variances of the biases; the last is the readout's */
  PetscInt      mask[2];     /**< height and width of a patch, pixels; cnn, lcn, pool */
  PetscInt      stride[2];   /**< steps between patches, pixels */
  PetscInt     *upper_mask, *upper_stride; /**< [L-1] sides of the patches of positions that layers 2 .. L see; cnn, lcn, pool */
  double        temperature; /**< T, label^2 */
} FwModel;

/** The patches of an image, without padding: patch i, row-major over (n_row, n_col), starts at stride * (row, col).
 *  Remainder pixels are dropped. */
typedef struct {
  PetscInt channels, height, width; /**< of the image */
  PetscInt mask[2], stride[2];
  PetscInt n_row, n_col, n_patch;
  PetscInt n_pixel; /**< M, numbers per patch: channels * mask[0] * mask[1], flattened in that order */
} FwPatches;

/** Read the `network_*` keys and `temperature`.
 *
 * Not collective. Release with FwModelDestroy().
 * @error FW_ERR_INPUT  lists whose lengths do not fit the depth, a depth of 0
 */
PetscErrorCode FwModelFromOptions(FwModel *model);

/** The same where network_depth 0, a linear model without hidden layers, is legal. */
PetscErrorCode FwModelFromOptionsAnyDepth(FwModel *model);

/** Read `network_mask` and `network_stride` alone, rows and columns. Not collective.
 * @error FW_ERR_INPUT  more than a pair */
PetscErrorCode FwPatchSidesFromOptions(PetscInt mask[2], PetscInt stride[2]);

/** Cut an image of (channels, height, width) into the patches of a model; for `fc` the whole image is one patch.
 *
 * An image of height 1 is a line: only the second entries of mask and stride count.
 *
 * Not collective.
 * @error FW_ERR_INPUT  the mask is larger than the image
 */
PetscErrorCode FwModelGetPatches(const FwModel *model, PetscInt channels, PetscInt height, PetscInt width,
                                 FwPatches *patches);

/** Places of a square patch of positions, and the position under each of its taps: layer l of a deep network (l = 1 is the
 *  first above the patches of pixels) on n_row x n_col positions of the layer below. On a line of positions only columns
 *  count.
 *
 * Not collective.
 * @param[in,out] n_row, n_col  of the layer below, then of this one
 * @param[out]    n_tap         taps of each place
 * @param[out]    tap           [n_row * n_col][n_tap] position below; release with PetscFree()
 * @error FW_ERR_INPUT  the mask is larger than the layer below
 */
PetscErrorCode FwModelGetTaps(const FwModel *model, PetscInt l, PetscInt *n_row, PetscInt *n_col, PetscInt *n_tap,
                              PetscInt **tap);

/** Copy patch `patch` of an image, [channels][height][width], to `pixel`, [n_pixel]. Not collective. */
void FwPatchesExtract(const FwPatches *patches, PetscInt patch, const double image[], double pixel[]);

/** Pixels of an image, not counting channels, that are in no patch. Not collective. */
PetscInt FwPatchesDropped(const FwPatches *patches);

/** Release the arrays. */
PetscErrorCode FwModelDestroy(FwModel *model);
