/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The kernel of a network of one hidden layer that averages its activations over patches before the readout:
 *
 *     K = sum_ij K_ij / (lambda_1 n^2),
 *
 * lambda_1^-1 times the only feature of the family of patch_kernel.h.
 */

#include "kernel_impl.h"

PetscErrorCode FwKernelPoolSetUp(FwKernel k)
{
  const FwPatchPlan plan        = {.form = FW_PATCH_PAIRS, .n_output = 1};
  const double      coefficient = 1.0 / k->model->prior[1];

  PetscFunctionBegin;
  PetscCheck(k->model->depth == 1, FwGridComm(k->grid), PETSC_ERR_ARG_INCOMP,
             "several hidden layers of pool have a family of kernels, local_prediction.h, not one");
  PetscCall(FwPatchImagesCreate(FwGridComm(k->grid), k->model, k->data, &k->images));
  PetscCall(FwPatchKernelCreate(k->grid, k->images, &plan, &k->family));
  for (int part = 0; part < FW_PART_COUNT; part++) {
    FwSlab slab;

    PetscCall(FwDatasetGetSlab(k->data, (FwPart)part, &slab));
    k->n[part] = slab.n;
    PetscCall(PetscCalloc1(2, &k->variance[part])); /* K of each example with itself; the inputs have many variances */
    PetscCall(PetscMalloc1(PetscMax(slab.n, 1), &k->variance[part][1]));
    PetscCall(FwPatchKernelDiagonal(k->family, (FwPart)part, 1, &coefficient, k->variance[part][1]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelPoolTrain(FwKernel k, FwMatrix *train)
{
  const double coefficient = 1.0 / k->model->prior[1];

  PetscFunctionBegin;
  PetscCall(FwPatchKernelTrain(k->family, &coefficient, train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelPoolCross(FwKernel k, FwPart columns, FwMatrix *cross)
{
  const double coefficient = 1.0 / k->model->prior[1];

  PetscFunctionBegin;
  PetscCall(FwPatchKernelCross(k->family, columns, 1, &coefficient, cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}
