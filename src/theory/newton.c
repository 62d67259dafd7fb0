/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Newton's method for a few unknowns.
 */

#include "newton.h"

PetscErrorCode FwNewtonCreate(PetscInt n, FwNewtonResidual *residual, FwNewtonMatrix *matrix, void *context, SNES *snes)
{
  Vec value;
  Mat jacobian;
  KSP ksp;
  PC  pc;

  PetscFunctionBegin;
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, n, &value));
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, &jacobian));
  PetscCall(SNESCreate(PETSC_COMM_SELF, snes));
  PetscCall(SNESSetFunction(*snes, value, residual, context));
  PetscCall(
    SNESSetJacobian(*snes, jacobian, jacobian, matrix ? matrix : SNESComputeJacobianDefault, matrix ? context : NULL));
  PetscCall(SNESGetKSP(*snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPPREONLY));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCLU));
  PetscCall(VecDestroy(&value));
  PetscCall(MatDestroy(&jacobian));
  PetscFunctionReturn(PETSC_SUCCESS);
}
