/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The kernel of a network that averages its activations over patches before the readout:
 *
 *     K = sum_ij K_ij / (lambda_1 n^2),
 *
 * the family of patch_kernel.h with all coefficients alike.
 */

#include "kernel_impl.h"

static PetscErrorCode MakeCoefficients(FwKernel k, double **coefficient)
{
  const double  n = FwPatchImagesPatches(k->images)->n_patch;
  FwPatchFamily family;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(k->family, &family));
  PetscCall(PetscMalloc1(family.n_feature, coefficient));
  for (PetscInt d = 0; d < family.n_feature; d++) (*coefficient)[d] = 1.0 / (k->model->prior[1] * n * n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelPoolSetUp(FwKernel k)
{
  const FwPatchPlan plan = {.form = FW_PATCH_PAIRS, .n_output = 1};
  double           *coefficient;

  PetscFunctionBegin;
  PetscCall(FwPatchImagesCreate(FwGridComm(k->grid), k->model, k->data, &k->images));
  PetscCall(FwPatchKernelCreate(k->grid, k->images, &plan, &k->family));
  PetscCall(MakeCoefficients(k, &coefficient));
  for (int part = 0; part < FW_PART_COUNT; part++) {
    FwSlab slab;

    PetscCall(FwDatasetGetSlab(k->data, (FwPart)part, &slab));
    k->n[part] = slab.n;
    PetscCall(PetscCalloc1(2, &k->variance[part])); /* K of each example with itself; the inputs have many variances */
    PetscCall(PetscMalloc1(PetscMax(slab.n, 1), &k->variance[part][1]));
    PetscCall(FwPatchKernelDiagonal(k->family, (FwPart)part, 1, coefficient, k->variance[part][1]));
  }
  PetscCall(PetscFree(coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelPoolTrain(FwKernel k, FwMatrix *train)
{
  double *coefficient;

  PetscFunctionBegin;
  PetscCall(MakeCoefficients(k, &coefficient));
  PetscCall(FwPatchKernelTrain(k->family, coefficient, train));
  PetscCall(PetscFree(coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelPoolCross(FwKernel k, FwPart columns, FwMatrix *cross)
{
  double *coefficient;

  PetscFunctionBegin;
  PetscCall(MakeCoefficients(k, &coefficient));
  PetscCall(FwPatchKernelCross(k->family, columns, 1, coefficient, cross));
  PetscCall(PetscFree(coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}
