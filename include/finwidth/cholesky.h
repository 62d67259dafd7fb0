/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Cholesky factor A = L L^T of a symmetric positive definite block-cyclic matrix.
 */

#include <finwidth/matrix.h>

typedef struct FwCholeskyImpl *FwCholesky;

/** Factor a matrix (lower triangle), which is consumed and its handle set to NULL; release with FwCholeskyDestroy().
 *  Collective. Cost n^3 / 3 flops.
 * @error FW_ERR_NUMERICAL  not positive definite: names the pivot */
PetscErrorCode FwCholeskyCreate(FwMatrix *matrix, FwCholesky *factor);

/** log det A, from the factor's diagonal. Collective. */
PetscErrorCode FwCholeskyLogDet(FwCholesky factor, double *log_det);

/** B <- A^-1 B. Collective. */
PetscErrorCode FwCholeskySolve(FwCholesky factor, FwMatrix b);

/** B <- L^-1 B, so that column sums of squares are diagonal entries of B^T A^-1 B. Collective. */
PetscErrorCode FwCholeskyHalfSolve(FwCholesky factor, FwMatrix b);

/** Turn the factor into A^-1 (lower triangle) and hand the matrix over; the factor is destroyed, its handle set to NULL.
 *  Collective. Cost 2 n^3 / 3 flops, in place.
 * @error FW_ERR_NUMERICAL  the factor is singular */
PetscErrorCode FwCholeskyInverse(FwCholesky *factor, FwMatrix *inverse);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwCholeskyDestroy(FwCholesky *factor);
