/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Rotation of the input space by Householder reflectors.
 */

#include "rotation.h"
#include <petscblaslapack.h>

PetscErrorCode FwRotationCreate(PetscInt n, PetscInt n_vector, const double vectors[], FwRotation *rotation)
{
  const size_t size = (size_t)n * (size_t)n_vector;
  PetscBLASInt info, n_work = -1;
  double       best, *work;

  PetscFunctionBegin;
  *rotation = (FwRotation){.n = n, .n_vector = n_vector};
  PetscCall(PetscMalloc2(size, &rotation->reflector, n_vector, &rotation->tau));
  PetscCall(PetscArraycpy(rotation->reflector, vectors, size));
  LAPACKgeqrf_(&n, &n_vector, rotation->reflector, &n, rotation->tau, &best, &n_work, &info);
  n_work = (PetscBLASInt)best;
  PetscCall(PetscMalloc1(n_work, &work));
  LAPACKgeqrf_(&n, &n_vector, rotation->reflector, &n, rotation->tau, work, &n_work, &info);
  PetscCall(PetscFree(work));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrf: argument %d", (int)-info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwRotationVector(const FwRotation *rotation, PetscInt i, double out[])
{
  for (PetscInt k = 0; k < rotation->n_vector; k++)
    out[k] = k <= i ? rotation->reflector[(size_t)i * (size_t)rotation->n + k] : 0.0;
}

PetscErrorCode FwRotationApply(const FwRotation *rotation, PetscBool back, PetscInt n_row, double x[])
{
  PetscBLASInt n = rotation->n, k = rotation->n_vector; /* not const: PETSc declares LAPACK so */
  PetscBLASInt info, n_work       = -1;
  double       best, *work;

  PetscFunctionBegin;
  if (n_row == 0) PetscFunctionReturn(PETSC_SUCCESS);
  LAPACKormqr_("L", back ? "N" : "T", &n, &n_row, &k, rotation->reflector, &n, rotation->tau, x, &n, &best, &n_work,
               &info);
  n_work = (PetscBLASInt)best;
  PetscCall(PetscMalloc1(n_work, &work));
  LAPACKormqr_("L", back ? "N" : "T", &n, &n_row, &k, rotation->reflector, &n, rotation->tau, x, &n, work, &n_work,
               &info);
  PetscCall(PetscFree(work));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dormqr: argument %d", (int)-info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRotationDestroy(FwRotation *rotation)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(rotation->reflector, rotation->tau));
  PetscFunctionReturn(PETSC_SUCCESS);
}
