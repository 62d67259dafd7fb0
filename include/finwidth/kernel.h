/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * NNGP kernels of a network between the examples of a dataset, as block-cyclic matrices.
 *
 * With C_0 = x.x' / (lambda_0 N_0) + s_0^2 and C_l = K_l + s_l^2,
 *
 *     K_l(x, x') = k_l(C_{l-1}(x, x), C_{l-1}(x, x'), C_{l-1}(x', x')) / lambda_l,   l = 1 .. L,
 *
 * k_l the map of activation l (activation.h). The kernels below are K_L: the variance of a readout bias is not in them.
 *
 * @source Lee et al. 2018; Pacelli et al., arXiv:2209.04882; docs/theory/kernels.md
 */

#include <finwidth/dataset.h>
#include <finwidth/matrix.h>
#include <finwidth/model.h>

typedef struct FwKernelImpl *FwKernel;

/** Prepare the variances of every layer at every example.
 *
 * @collective{grid}
 * @param[in]  grid   where the matrices will live; borrowed, as are model and data
 * @param[in]  model  fully-connected, or of one layer that pools its patches: K = sum_ij K_ij / (lambda_1 n^2) then, with
 *                    K_ij of patch_kernel.h
 * @param[in]  data   set up
 * @param[out] kernel release with FwKernelDestroy()
 */
PetscErrorCode FwKernelCreate(FwGrid grid, const FwModel *model, FwDataset data, FwKernel *kernel);

/** Assemble K_L between training examples: P x P, lower triangle. Collective. Cost P^2 N_0 flops and L maps. */
PetscErrorCode FwKernelTrain(FwKernel kernel, FwMatrix *train);

/** Assemble K_L between training examples (rows) and those of another part (columns): P x P_t. Collective. */
PetscErrorCode FwKernelCross(FwKernel kernel, FwPart columns, FwMatrix *cross);

/** K_L of each example of a part with itself, on every rank. Borrowed. Not collective. */
PetscErrorCode FwKernelDiagonal(FwKernel kernel, FwPart part, const double **diagonal);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwKernelDestroy(FwKernel *kernel);
