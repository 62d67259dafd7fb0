/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The mean of the last layer's activation, and the kernel of what is left of it.
 *
 * With m(x) = <phi_L(h_L(x))> the NNGP kernel is K_L(x, x') = [C(x, x') + m(x) m(x')] / lambda_L, C the covariance of the
 * activation.
 */

#include <finwidth/kernel.h>

/** m at each example of a part, [n] on every rank. Collective on the kernel's grid. */
PetscErrorCode FwKernelMean(FwKernel kernel, FwPart part, double mean[]);

/** Subtract m m^T / lambda_L from a kernel made by FwKernelTrain() (`columns` FW_TRAIN: the lower triangle) or
 *  FwKernelCross(); the means are those of FwKernelMean(). Not collective. */
PetscErrorCode FwKernelCentre(FwKernel kernel, FwPart columns, const double row_mean[], const double column_mean[],
                              FwMatrix matrix);
