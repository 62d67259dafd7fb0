/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * BLAS by value, for matrices of doubles stored by columns.
 */

#include <finwidth/base.h>
#include <petscblaslapack.h>

/** C = alpha op(A) op(B) + beta C, C m x n, k the inner size. */
static inline void FwGemm(const char *op_a, const char *op_b, PetscInt m, PetscInt n, PetscInt k, double alpha,
                          const double a[], PetscInt lda, const double b[], PetscInt ldb, double beta, double c[],
                          PetscInt ldc)
{
  if (m > 0 && n > 0) BLASgemm_(op_a, op_b, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
}

/** Lower triangle of C = alpha op(A) op(A)^T + beta C, C n x n, k the inner size. */
static inline void FwSyrk(const char *op, PetscInt n, PetscInt k, double alpha, const double a[], PetscInt lda,
                          double beta, double c[], PetscInt ldc)
{
  if (n > 0) BLASsyrk_("L", op, &n, &k, &alpha, a, &lda, &beta, c, &ldc);
}

static inline double FwDot(PetscInt n, const double x[], const double y[])
{
  const PetscBLASInt one = 1;

  return n > 0 ? BLASdot_(&n, x, &one, y, &one) : 0.0;
}

/** Place of the largest of n >= 1 numbers, the first of equal ones. */
static inline PetscInt FwArgMax(PetscInt n, const double x[])
{
  PetscInt best = 0;

  for (PetscInt i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

/** y += alpha x. */
static inline void FwAxpy(PetscInt n, double alpha, const double x[], double y[])
{
  const PetscBLASInt one = 1;

  if (n > 0) BLASaxpy_(&n, &alpha, x, &one, y, &one);
}
