/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The singular value decomposition of a small matrix, by LAPACK.
 */

#include <finwidth/base.h>

/** A = U diag(s) V^T, k = min(m, n).
 *
 * Not collective. Matrices are by columns.
 * @param[in,out] a   m x n, destroyed
 * @param[out]    s   [k] descending
 * @param[out]    u   m x k, or NULL
 * @param[out]    vt  k x n
 * @error FW_ERR_NUMERICAL  it did not converge
 */
PetscErrorCode FwSingularDecompose(PetscInt m, PetscInt n, double a[], double s[], double u[], double vt[]);
