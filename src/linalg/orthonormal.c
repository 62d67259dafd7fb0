/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Orthonormal columns, by LAPACK.
 */

#include <finwidth/orthonormal.h>

#include <petscblaslapack.h>

PetscErrorCode FwOrthonormalise(PetscInt n, PetscInt r, double a[])
{
  const PetscInt block = 32;
  PetscInt       info, n_work = block * r;
  double        *tau, *work;

  PetscFunctionBegin;
  PetscCheck(r <= n, PETSC_COMM_SELF, PETSC_ERR_PLIB, "%" PetscInt_FMT " columns of length %" PetscInt_FMT, r, n);
  PetscCall(PetscMalloc2(r, &tau, n_work, &work));
  LAPACKgeqrf_(&n, &r, a, &n, tau, work, &n_work, &info);
  LAPACKorgqr_(&n, &r, &r, a, &n, tau, work, &n_work, &info);
  PetscCall(PetscFree2(tau, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}
