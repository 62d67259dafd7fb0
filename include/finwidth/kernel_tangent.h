/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Neural tangent kernels of a network between the examples of a dataset, as block-cyclic matrices.
 *
 * With weights W_l = theta_l / sqrt(lambda_l) and biases b_l = s_l beta_l of standard normal parameters theta and beta,
 * the kernel is the limit of infinite width of the sum over all parameters of df(x)/dp df(x')/dp. With the covariances
 * C_l and kernels K_l of kernel.h,
 *
 *     Theta_0 = C_0,   Theta_l = K_l + s_l^2 + Theta_{l-1} o k_b(C_{l-1}) / lambda_l,   l = 1 .. L,
 *
 * o the entry-wise product and k_b = <phi' phi'> (activation.h). The kernels below are Theta_L without s_L^2, as K_L in
 * kernel.h is: the variance of a readout bias enters as a matrix of rank one.
 *
 * @error FW_ERR_INPUT      `sign` has no such kernel: its slope is zero or infinite
 * @error FW_ERR_NUMERICAL  a variance too large for the series of a smooth activation (see FwPointsCreate())
 * @source Jacot, Gabriel and Hongler 2018; Lee et al. 2019; docs/theory/ntk.md
 */

#include <finwidth/kernel.h>

/** Assemble Theta_L between training examples: P x P, lower triangle. Collective. Cost P^2 N_0 flops and 2 L maps.
 * @error FW_ERR_INPUT  the activation is sign, whose slope is zero or infinite; the same for those below */
PetscErrorCode FwKernelTangentTrain(FwKernel kernel, FwMatrix *train);

/** Assemble Theta_L between training examples (rows) and those of another part (columns): P x P_t. Collective. */
PetscErrorCode FwKernelTangentCross(FwKernel kernel, FwPart columns, FwMatrix *cross);

/** Theta_L of each example of a part with itself, on every rank.
 *
 * @collective{kernel}
 * @param[out] diagonal  [number of examples], an array of the caller
 */
PetscErrorCode FwKernelTangentDiagonal(FwKernel kernel, FwPart part, double diagonal[]);
