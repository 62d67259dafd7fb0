/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Images on every rank, and their patches laid out for products and maps.
 */

#include "kernel_impl.h"
#include "patch_impl.h"

/* --- images ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwPatchNetworkCheck(MPI_Comm comm, const FwModel *model)
{
  PetscFunctionBegin;
  PetscCheck(model->depth == 1, comm, FW_ERR_INPUT,
             "network_type: cnn, lcn and pool have one hidden layer in this version, network_depth is %" PetscInt_FMT,
             model->depth);
  PetscCheck(model->bias[0] == 0.0 && model->bias[1] == 0.0, comm, FW_ERR_INPUT,
             "network_bias: cnn, lcn and pool have no biases, want 0");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GatherPart(MPI_Comm comm, FwDataset data, FwPart part, FwPatchImages p)
{
  const PetscInt n_patch = p->patches.n_patch, n_pixel = p->patches.n_pixel;
  FwSlab         slab;
  PetscMPIInt    width;
  double        *pixel;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(data, part, &slab));
  PetscCall(PetscMPIIntCast(p->n_input, &width));
  p->n[part] = slab.n;
  PetscCall(PetscMalloc2((size_t)slab.n * p->n_input, &p->x[part], (size_t)slab.n * n_patch, &p->variance[part]));
  PetscCall(PetscArraycpy(p->x[part] + (size_t)slab.first * p->n_input, slab.x, (size_t)slab.n_local * p->n_input));
  PetscCall(FwKernelShareSlab(comm, &slab, width, p->x[part]));
  PetscCall(PetscMalloc1(n_pixel, &pixel));
  for (PetscInt a = 0; a < slab.n; a++)
    for (PetscInt i = 0; i < n_patch; i++) {
      double sum = 0.0;

      FwPatchesExtract(&p->patches, i, p->x[part] + (size_t)a * p->n_input, pixel);
      for (PetscInt m = 0; m < n_pixel; m++) sum += pixel[m] * pixel[m];
      p->variance[part][(size_t)a * n_patch + i] = sum / (p->model->prior[0] * n_pixel);
    }
  PetscCall(PetscFree(pixel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchImagesCreate(MPI_Comm comm, const FwModel *model, FwDataset data, FwPatchImages *images)
{
  FwPatchImages p;
  FwDataSizes   sizes;

  PetscFunctionBegin;
  PetscCall(FwPatchNetworkCheck(comm, model));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(PetscNew(&p));
  p->model   = model;
  p->n_input = sizes.n_input;
  PetscCall(FwModelGetPatches(model, sizes.channels, sizes.height, sizes.width, &p->patches));
  PetscCall(FwActivationGet((FwActivationType)model->activation[0], &p->activation));
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(GatherPart(comm, data, (FwPart)part, p));
  *images = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwPatches *FwPatchImagesPatches(FwPatchImages images)
{
  return &images->patches;
}

PetscErrorCode FwPatchImagesDestroy(FwPatchImages *images)
{
  PetscFunctionBegin;
  if (!*images) PetscFunctionReturn(PETSC_SUCCESS);
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(PetscFree2((*images)->x[part], (*images)->variance[part]));
  PetscCall(PetscFree(*images));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- sides of a matrix -------------------------------------------------------------------------------------- */

static size_t Place(PetscBool is_row, PetscInt n, PetscInt n_patch, PetscInt example, PetscInt patch)
{
  return is_row ? (size_t)patch * n + example : (size_t)example * n_patch + patch;
}

static PetscErrorCode MakePoints(FwPatchImages p, size_t n, const double variance[], PetscBool with_mean,
                                 FwPatchSide *side)
{
  PetscInt count;

  PetscFunctionBegin;
  PetscCall(PetscIntCast((PetscInt64)n, &count));
  PetscCall(PetscMalloc1(n, &side->diagonal));
  PetscCall(FwActivationDiagonal(p->activation, count, variance, side->diagonal));
  if (with_mean) PetscCall(PetscMalloc1(n, &side->mean));
  if (with_mean) PetscCall(FwActivationMean(p->activation, count, variance, side->mean));
  PetscCall(FwPointsCreate(p->activation, count, variance, &side->points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchSideCreate(FwPatchImages p, FwPart part, PetscInt n, const PetscInt example[], PetscBool is_row,
                                 PetscBool with_mean, FwPatchSide *side)
{
  const PetscInt n_patch = p->patches.n_patch, n_pixel = p->patches.n_pixel;
  double        *variance;
  PetscErrorCode code;

  PetscFunctionBegin;
  *side = (FwPatchSide){.n = n};
  PetscCall(PetscMalloc1((size_t)n * n_patch * n_pixel, &side->pixel));
  PetscCall(PetscMalloc1((size_t)n * n_patch, &variance));
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt i = 0; i < n_patch; i++) {
      const size_t place = Place(is_row, n, n_patch, a, i);

      FwPatchesExtract(&p->patches, i, p->x[part] + (size_t)example[a] * p->n_input, side->pixel + place * n_pixel);
      variance[place] = p->variance[part][(size_t)example[a] * n_patch + i];
    }
  code = MakePoints(p, (size_t)n * n_patch, variance, with_mean, side);
  PetscCall(PetscFree(variance));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchSideDestroy(FwPatchSide *side)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(side->pixel));
  PetscCall(PetscFree(side->mean));
  PetscCall(PetscFree(side->diagonal));
  PetscCall(FwPointsDestroy(&side->points));
  PetscFunctionReturn(PETSC_SUCCESS);
}
