/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Products of triangular matrices in the form A = M diag(exp(x)), M unit lower triangular.
 *
 * Multiplied from the left, x <- x + log diag F and M <- F M diag(F)^-1: M stays of order one at any depth, because the
 * growth rates -1 > -2 > ... of the rows have the order of the columns.
 */

#include "mixture_impl.h"

#include <finwidth/vector.h>

#include <math.h>

PetscErrorCode FwRootsCreate(PetscInt n_output, FwRoots *roots)
{
  PetscFunctionBegin;
  roots->n_output = n_output;
  PetscCall(PetscMalloc3(n_output * BATCH, &roots->x, n_output * BATCH, &roots->square, FwBelow(n_output, 0) * BATCH,
                         &roots->m));
  FwRootsReset(roots);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRootsDestroy(FwRoots *roots)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(roots->x, roots->square, roots->m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFactorsCreate(PetscInt n_output, FwFactors *factors)
{
  const PetscInt n = n_output * BATCH;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(n, &factors->square, n, &factors->root, n, &factors->inverse, FwBelow(n_output, 0) * BATCH,
                         &factors->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFactorsDestroy(FwFactors *factors)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(factors->square, factors->root, factors->inverse, factors->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwRootsReset(FwRoots *roots)
{
  roots->n_factor = 0;
  for (PetscInt i = 0; i < roots->n_output * BATCH; i++) roots->x[i] = 0.0, roots->square[i] = 1.0;
  for (PetscInt i = 0; i < FwBelow(roots->n_output, 0) * BATCH; i++) roots->m[i] = 0.0;
}

void FwRootsFold(FwRoots *roots)
{
  roots->n_factor = 0;
  for (PetscInt i = 0; i < roots->n_output * BATCH; i++) {
    roots->x[i] += 0.5 * log(roots->square[i]);
    roots->square[i] = 1.0;
  }
}

FW_VECTOR static void Multiply(PetscInt n, double *restrict y, const double *restrict x)
{
  for (PetscInt i = 0; i < n; i++) y[i] *= x[i];
}

/* A column without a diagonal, of a width below D, contributes nothing */
FW_VECTOR static void Diagonals(PetscInt n, const double *restrict square, double *restrict root,
                                double *restrict inverse)
{
  for (PetscInt i = 0; i < n; i++) {
    const double r = sqrt(square[i]), one_over = 1.0 / r; /* divided first: the loop has no branch */

    root[i]    = r;
    inverse[i] = r > 0.0 ? one_over : 0.0;
  }
}

FW_VECTOR static void AddProduct(double *restrict sum, const double *restrict x, const double *restrict y)
{
  for (int b = 0; b < BATCH; b++) sum[b] += x[b] * y[b];
}

FW_VECTOR static void SubtractProduct(double *restrict sum, const double *restrict x, const double *restrict y)
{
  for (int b = 0; b < BATCH; b++) sum[b] -= x[b] * y[b];
}

FW_VECTOR static void MultiplyAndAdd(double *restrict y, const double *restrict x, const double *restrict term)
{
  for (int b = 0; b < BATCH; b++) y[b] = y[b] * x[b] + term[b];
}

/* Row i of F M diag(F)^-1 from the rows above, which are still the old ones */
static void MultiplyRow(FwRoots *roots, PetscInt i, const FwFactors *f)
{
  for (PetscInt j = 0; j < i; j++) {
    double *entry = roots->m + FwBelow(i, j) * BATCH;

    MultiplyAndAdd(entry, f->root + i * BATCH, f->below + FwBelow(i, j) * BATCH);
    for (PetscInt k = j + 1; k < i; k++)
      AddProduct(entry, f->below + FwBelow(i, k) * BATCH, roots->m + FwBelow(k, j) * BATCH);
    Multiply(BATCH, entry, f->inverse + j * BATCH);
  }
}

void FwRootsMultiply(FwRoots *roots, const FwFactors *f, PetscInt n_safe)
{
  const PetscInt n = roots->n_output;

  Multiply(n * BATCH, roots->square, f->square);
  if (++roots->n_factor >= n_safe) FwRootsFold(roots);
  if (n == 1) return;
  Diagonals(n * BATCH, f->square, f->root, f->inverse);
  for (PetscInt i = n - 1; i > 0; i--) MultiplyRow(roots, i, f);
}

/* T = B^-1 F column by column: T_ij = (F_ij - sum_{j <= k < i} B_ik T_kj) / B_ii */
void FwFactorsDivide(PetscInt n_output, const FwFactors *b, FwFactors *f)
{
  Diagonals(n_output * BATCH, b->square, b->root, b->inverse);
  Diagonals(n_output * BATCH, f->square, f->root, f->inverse);
  for (PetscInt i = 0; i < n_output; i++) {
    Multiply(BATCH, f->root + i * BATCH, b->inverse + i * BATCH);
    Multiply(BATCH, f->square + i * BATCH, b->inverse + i * BATCH);
    Multiply(BATCH, f->square + i * BATCH, b->inverse + i * BATCH);
  }
  for (PetscInt i = 1; i < n_output; i++) {
    for (PetscInt j = 0; j < i; j++) {
      double *entry = f->below + FwBelow(i, j) * BATCH;

      SubtractProduct(entry, b->below + FwBelow(i, j) * BATCH, f->root + j * BATCH);
      for (PetscInt k = j + 1; k < i; k++)
        SubtractProduct(entry, b->below + FwBelow(i, k) * BATCH, f->below + FwBelow(k, j) * BATCH);
      Multiply(BATCH, entry, b->inverse + i * BATCH);
    }
  }
}

/* M <- M (e^x F diag(F)^-1 e^-x): the factors in between die out with the depth, since x falls with the row */
void FwRootAppend(PetscInt n_output, double x[], double m[], const double f[])
{
  const PetscInt n = n_output;

  for (PetscInt j = 0; j < n; j++) {
    const double pivot = f[j * n + j];

    for (PetscInt i = n - 1; i > j; i--) { /* column j of M T, from the columns behind, which are still the old ones */
      double sum = m[i * n + j];

      for (PetscInt k = j + 1; k <= i && pivot > 0.0 && isfinite(x[j]); k++)
        sum += m[i * n + k] * (f[k * n + j] / pivot) * exp(x[k] - x[j]);
      m[i * n + j] = sum;
    }
  }
  for (PetscInt j = 0; j < n; j++) x[j] += log(f[j * n + j]);
}
