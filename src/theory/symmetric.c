/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Functions of small symmetric matrices, by LAPACK.
 */

#include "symmetric.h"

#include <math.h>
#include <petscblaslapack.h>

PetscErrorCode FwSymmetricEigen(PetscInt n, const double matrix[], double value[], double vectors[])
{
  PetscBLASInt order = n, size = 34 * order + 64, info = 0;
  double      *work;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(size, &work));
  PetscCall(PetscArraycpy(vectors, matrix, (size_t)n * n));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "L", &order, vectors, &order, value, work, &size, &info));
  PetscCall(PetscFree(work));
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "a matrix of order parameters has no eigenvalues (info %d)",
             (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSymmetricCompose(PetscInt n, const double value[], const double vectors[], double out[])
{
  double *scaled;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * n, &scaled));
  for (PetscInt k = 0; k < n; k++)
    for (PetscInt i = 0; i < n; i++) scaled[i + k * n] = vectors[i + k * n] * value[k];
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) {
      double sum = 0.0;

      for (PetscInt k = 0; k < n; k++) sum += scaled[i + k * n] * vectors[j + k * n];
      out[i + j * n] = out[j + i * n] = sum;
    }
  PetscCall(PetscFree(scaled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSymmetricApply(PetscInt n, const double matrix[], double (*function)(double), double out[])
{
  double *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &value, (size_t)n * n, &vectors));
  PetscCall(FwSymmetricEigen(n, matrix, value, vectors));
  for (PetscInt k = 0; k < n; k++) value[k] = function(value[k]);
  PetscCall(FwSymmetricCompose(n, value, vectors, out));
  PetscCall(PetscFree2(value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSymmetricMultiply(PetscInt n, const double a[], const double b[], double c[])
{
  const PetscScalar  one = 1.0, zero = 0.0;
  const PetscBLASInt m = n;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &m, &m, &m, &one, a, &m, b, &m, &zero, c, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSymmetricSandwich(PetscInt n, const double a[], const double b[], double c[])
{
  double *half;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * n, &half));
  PetscCall(FwSymmetricMultiply(n, a, b, half));
  PetscCall(FwSymmetricMultiply(n, half, a, c));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < i; j++) c[i + j * n] = c[j + i * n] = 0.5 * (c[i + j * n] + c[j + i * n]);
  PetscCall(PetscFree(half));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Root(double x)
{
  return sqrt(PetscMax(x, 0.0));
}

static double InverseRoot(double x)
{
  return 1.0 / sqrt(x);
}

/* The positive root of x^2 - beta x - d = 0, without a difference of large numbers */
static double Quadratic(double beta, double d)
{
  const double root = sqrt(beta * beta + 4.0 * PetscMax(d, 0.0));

  return beta > 0.0 ? 0.5 * (beta + root) : 2.0 * PetscMax(d, 0.0) / PetscMax(root - beta, PETSC_SMALL);
}

PetscErrorCode FwSymmetricRiccati(PetscInt n, const double c[], double beta, const double d[], double out[])
{
  const size_t n2 = (size_t)n * n;
  double      *root, *middle, *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(n2, &root, n2, &middle, n, &value, n2, &vectors));
  PetscCall(FwSymmetricApply(n, c, Root, root));
  PetscCall(FwSymmetricSandwich(n, root, d, middle));
  PetscCall(FwSymmetricEigen(n, middle, value, vectors));
  for (PetscInt k = 0; k < n; k++) value[k] = Quadratic(beta, value[k]);
  PetscCall(FwSymmetricCompose(n, value, vectors, middle));
  PetscCall(FwSymmetricApply(n, c, InverseRoot, root));
  PetscCall(FwSymmetricSandwich(n, root, middle, out));
  PetscCall(PetscFree4(root, middle, value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}
