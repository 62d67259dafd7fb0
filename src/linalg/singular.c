/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Singular values and vectors, by LAPACK's QR iteration: the small values are as accurate as it gets.
 */

#include <finwidth/singular.h>

#include <petscblaslapack.h>

PetscErrorCode FwSingularDecompose(PetscInt m, PetscInt n, double a[], double s[], double u[], double vt[])
{
  const PetscInt k      = PetscMin(m, n);
  const char    *wanted = u ? "S" : "N";
  PetscInt       info = 0, n_work = -1;
  double         none, best, *work;

  PetscFunctionBegin;
  if (k == 0) PetscFunctionReturn(PETSC_SUCCESS);
  LAPACKgesvd_(wanted, "S", &m, &n, a, &m, s, u ? u : &none, &m, vt, &k, &best, &n_work, &info);
  n_work = (PetscInt)best;
  PetscCall(PetscMalloc1(n_work, &work));
  LAPACKgesvd_(wanted, "S", &m, &n, a, &m, s, u ? u : &none, &m, vt, &k, work, &n_work, &info);
  PetscCall(PetscFree(work));
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "singular values did not converge (dgesvd: %" PetscInt_FMT ")",
             info);
  PetscFunctionReturn(PETSC_SUCCESS);
}
