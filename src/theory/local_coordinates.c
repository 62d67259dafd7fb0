/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The logarithm of an order parameter as coordinates.
 */

#include "local_coordinates.h"
#include "symmetric.h"

#include <math.h>

static PetscInt CountRows(FwLocalAction action)
{
  PetscInt n, n_unknown;

  (void)FwLocalActionGetSize(action, &n, &n_unknown);
  return n;
}

/* Unknown entries of a symmetric matrix to a list, with a factor off the diagonal */
static void Pack(FwLocalAction action, const double matrix[], double factor, double x[])
{
  const PetscInt n = CountRows(action);
  PetscInt       k = 0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = i; j < n; j++)
      if (FwLocalActionCouples(action, i, j)) x[k++] = (i == j ? 1.0 : factor) * matrix[i * n + j];
}

static void Unpack(FwLocalAction action, const double x[], double factor, double matrix[])
{
  const PetscInt n = CountRows(action);
  PetscInt       k = 0;

  for (PetscInt i = 0; i < n * n; i++) matrix[i] = 0.0;
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = i; j < n; j++)
      if (FwLocalActionCouples(action, i, j)) matrix[i * n + j] = matrix[j * n + i] = x[k++] * (i == j ? 1.0 : factor);
}

PetscErrorCode FwLocalToCoordinates(FwLocalAction action, const double order[], double x[])
{
  const PetscInt n = CountRows(action);
  double        *logarithm;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * n, &logarithm));
  PetscCall(FwSymmetricApply(n, order, log, logarithm));
  Pack(action, logarithm, M_SQRT2, x);
  PetscCall(PetscFree(logarithm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalFromCoordinates(FwLocalAction action, const double x[], double order[])
{
  PetscFunctionBegin;
  Unpack(action, x, M_SQRT1_2, order);
  PetscCall(FwSymmetricApply(CountRows(action), order, exp, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (e^a - e^b) / (a - b) */
static double Quotient(double a, double b)
{
  const double half = 0.5 * (a - b);

  return exp(0.5 * (a + b)) * (fabs(half) < 1e-4 ? 1.0 + half * half / 6.0 : sinh(half) / half);
}

/* In the basis of eigenvectors of log Q, d exp = (quotients) times d log Q, entry by entry */
PetscErrorCode FwLocalGradient(FwLocalAction action, const double x[], const double slope[], double gradient[])
{
  const PetscInt n  = CountRows(action);
  const size_t   n2 = (size_t)n * n;
  double        *value, *vectors, *transposed, *middle, *half;

  PetscFunctionBegin;
  PetscCall(PetscMalloc5(n, &value, n2, &vectors, n2, &transposed, n2, &middle, n2, &half));
  Unpack(action, x, M_SQRT1_2, middle);
  PetscCall(FwSymmetricEigen(n, middle, value, vectors));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) transposed[j + i * n] = vectors[i + j * n];
  PetscCall(FwSymmetricMultiply(n, transposed, slope, half));
  PetscCall(FwSymmetricMultiply(n, half, vectors, middle));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) middle[i + j * n] *= Quotient(value[i], value[j]);
  PetscCall(FwSymmetricMultiply(n, vectors, middle, half));
  PetscCall(FwSymmetricMultiply(n, half, transposed, middle));
  Pack(action, middle, M_SQRT2, gradient); /* an entry stands twice in the matrix, over sqrt 2 each time */
  PetscCall(PetscFree5(value, vectors, transposed, middle, half));
  PetscFunctionReturn(PETSC_SUCCESS);
}
