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
  for (PetscInt l = 0; l <= model->depth; l++)
    PetscCheck(model->bias[l] == 0.0, comm, FW_ERR_INPUT, "network_bias: cnn, lcn and pool have no biases, want 0");
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
  PetscCall(FwTowerCreate(model, &p->patches, &p->tower));
  PetscCall(PetscMalloc1(model->depth, &p->activation));
  for (PetscInt l = 0; l < model->depth; l++)
    PetscCall(FwActivationGet((FwActivationType)model->activation[l], &p->activation[l]));
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(GatherPart(comm, data, (FwPart)part, p));
  *images = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwPatches *FwPatchImagesPatches(FwPatchImages images)
{
  return &images->patches;
}

const FwTower *FwPatchImagesTower(FwPatchImages images)
{
  return &images->tower;
}

PetscErrorCode FwPatchImagesDestroy(FwPatchImages *images)
{
  PetscFunctionBegin;
  if (!*images) PetscFunctionReturn(PETSC_SUCCESS);
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(PetscFree2((*images)->x[part], (*images)->variance[part]));
  PetscCall(FwTowerDestroy(&(*images)->tower));
  PetscCall(PetscFree((*images)->activation));
  PetscCall(PetscFree(*images));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- sides of a matrix -------------------------------------------------------------------------------------- */

size_t FwPatchPlace(PetscBool is_row, PetscInt n, PetscInt n_position, PetscInt example, PetscInt position)
{
  return is_row ? (size_t)position * n + example : (size_t)example * n_position + position;
}

/* Diagonals and points of one layer */
static PetscErrorCode MakePoints(FwPatchImages p, PetscInt l, size_t n, const double variance[], FwPatchSide *side)
{
  PetscInt count;

  PetscFunctionBegin;
  PetscCall(PetscIntCast((PetscInt64)n, &count));
  PetscCall(PetscMalloc1(n, &side->diagonal[l]));
  PetscCall(FwActivationDiagonal(p->activation[l], count, variance, side->diagonal[l]));
  PetscCall(FwPointsCreate(p->activation[l], count, variance, &side->points[l]));
  if (l) PetscCall(FwPointsAddSlopes(side->points[l]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All layers, from the variances of the patches, which are used up */
static PetscErrorCode MakeLayers(FwPatchImages p, PetscInt n, PetscBool is_row, PetscBool with_mean, double **variance,
                                 FwPatchSide *side)
{
  const FwTower *t    = &p->tower;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (with_mean) PetscCall(PetscMalloc1((size_t)n * t->n_position[0], &side->mean));
  if (with_mean) PetscCall(FwActivationMean(p->activation[0], n * t->n_position[0], *variance, side->mean));
  for (PetscInt l = 0; l < t->n_layer && !code; l++) {
    double *above = NULL;

    code = MakePoints(p, l, (size_t)n * t->n_position[l], *variance, side);
    if (code || l + 1 == t->n_layer) break;
    PetscCall(PetscMalloc1((size_t)n * t->n_position[l + 1], &above));
    code = FwTowerVariances(p, l + 1, n, is_row, *variance, above);
    PetscCall(PetscFree(*variance));
    *variance = above;
  }
  PetscFunctionReturn(code);
}

PetscErrorCode FwPatchSideCreate(FwPatchImages p, FwPart part, PetscInt n, const PetscInt example[], PetscBool is_row,
                                 PetscBool with_mean, FwPatchSide *side)
{
  const PetscInt n_patch = p->patches.n_patch, n_pixel = p->patches.n_pixel;
  double        *variance;
  PetscErrorCode code;

  PetscFunctionBegin;
  *side = (FwPatchSide){.n = n, .n_layer = p->tower.n_layer};
  PetscCall(PetscCalloc2(side->n_layer, &side->diagonal, side->n_layer, &side->points));
  PetscCall(PetscMalloc1((size_t)n * n_patch * n_pixel, &side->pixel));
  PetscCall(PetscMalloc1((size_t)n * n_patch, &variance));
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt i = 0; i < n_patch; i++) {
      const size_t place = FwPatchPlace(is_row, n, n_patch, a, i);

      FwPatchesExtract(&p->patches, i, p->x[part] + (size_t)example[a] * p->n_input, side->pixel + place * n_pixel);
      variance[place] = p->variance[part][(size_t)example[a] * n_patch + i];
    }
  code = MakeLayers(p, n, is_row, with_mean, &variance, side);
  PetscCall(PetscFree(variance));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchSideDestroy(FwPatchSide *side)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(side->pixel));
  PetscCall(PetscFree(side->mean));
  for (PetscInt l = 0; l < side->n_layer; l++) {
    PetscCall(PetscFree(side->diagonal[l]));
    PetscCall(FwPointsDestroy(&side->points[l]));
  }
  PetscCall(PetscFree2(side->diagonal, side->points));
  PetscFunctionReturn(PETSC_SUCCESS);
}
