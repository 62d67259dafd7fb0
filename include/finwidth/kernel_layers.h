/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The last layer's kernel as a function of one order parameter per layer, and its derivative.
 *
 * With x_1 = k_1(C_0) / lambda_1 the kernel of the first layer alone,
 *
 *     nested      C_l = Q_l x_l + s_l^2,   x_{l+1} = k_{l+1}(C_l) / lambda_{l+1},   K = Q_L x_L,
 *     linearised  K = Q_2 [x_2 + (Q_1 - 1) dx_2/dQ_1] with x_2 and its derivative at Q_1 = 1 (two layers only).
 *
 * At Q = 1 both are the kernel of kernel.h. Biases are not multiplied; that of the readout is not in K.
 *
 * @source Pacelli et al., arXiv:2209.04882; docs/theory/nested.md
 */

#include <finwidth/kernel.h>

typedef enum { FW_NESTED, FW_LINEARISED } FwNestedForm;

typedef struct FwKernelLayersImpl *FwKernelLayers;

/** Assemble what does not depend on the order parameters: one kernel (nested) or two (linearised) of memory, kept.
 *
 * @collective{grid}
 * @param[in]  grid, model, data  borrowed
 * @param[out] layers             release with FwKernelLayersDestroy()
 * @error FW_ERR_INPUT  linearised with other than two hidden layers
 */
PetscErrorCode FwKernelLayersCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form,
                                    FwKernelLayers *layers);

/** Assemble K between training examples at the order parameters `order`, [L]: P x P, lower triangle.
 *
 * @collective{layers}
 * @cost L - 1 maps per entry; none if linearised
 * @error FW_ERR_NUMERICAL  a variance that the maps cannot take (see FwPointsCreate())
 */
PetscErrorCode FwKernelLayersTrain(FwKernelLayers layers, const double order[], FwMatrix *train);

/** Assemble K between training examples (rows) and those of another part (columns). Collective. Errors as above. */
PetscErrorCode FwKernelLayersCross(FwKernelLayers layers, FwPart columns, const double order[], FwMatrix *cross);

/** K of each example of a part with itself: [n], on every rank. Collective. Errors as above. */
PetscErrorCode FwKernelLayersDiagonal(FwKernelLayers layers, FwPart part, const double order[], double diagonal[]);

/** Pull a weight on the entries of K back to the order parameters: slope[l] = sum_ij W_ij dK_ij / dQ_l, over both
 *  triangles of the symmetric W.
 *
 * Reverse mode: one pass over the entries for all layers together, and no derivative of K is ever stored.
 *
 * @collective{layers}
 * @param[in]  order   [L]
 * @param[in]  weight  P x P, lower triangle; unchanged
 * @param[out] slope   [L], on every rank
 * @cost four maps per entry and layer beyond the first; none if linearised
 */
PetscErrorCode FwKernelLayersPullBack(FwKernelLayers layers, const double order[], FwMatrix weight, double slope[]);

/** As above for the diagonal of the training kernel alone, with weights [P] that every rank holds. Collective. */
PetscErrorCode FwKernelLayersPullBackDiagonal(FwKernelLayers layers, const double order[], const double weight[],
                                              double slope[]);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwKernelLayersDestroy(FwKernelLayers *layers);
