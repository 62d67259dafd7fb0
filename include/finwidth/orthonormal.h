/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Orthonormal columns with the range of given ones.
 */

#include <finwidth/base.h>

/** Replace the columns of A (n x r by columns, r <= n, of full rank) by orthonormal ones of the same range (Householder's
 *  QR). Gaussian columns become a basis of a uniformly distributed subspace. Not collective. */
PetscErrorCode FwOrthonormalise(PetscInt n, PetscInt r, double a[]);
