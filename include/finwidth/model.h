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
  double        temperature; /**< T, label^2 */
} FwModel;

/** Read the `network_*` keys and `temperature`.
 *
 * Not collective. Release with FwModelDestroy().
 * @error FW_ERR_INPUT  lists whose lengths do not fit the depth
 */
PetscErrorCode FwModelFromOptions(FwModel *model);

/** Release the arrays. */
PetscErrorCode FwModelDestroy(FwModel *model);
