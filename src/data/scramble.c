/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Controls: data that have lost one thing and kept all others (`data_scramble`).
 *
 *   pixels   the pixels of every image in one other order: nothing is local any more, and every product of two images is
 *            what it was
 *   patches  the pixels inside each patch of the network in an order of its own: kernels between equal patches are what they
 *            were, those between different patches are not
 *   labels   the labels of the training examples dealt out anew among them, and those of the test and validation examples likewise
 *
 * Orders of pixels hold for all examples and channels. The order of the training labels does not depend on how many test
 * examples there are.
 */

#include "dataset_impl.h"

#include <finwidth/model.h>
#include <finwidth/random.h>

/* --- labels ------------------------------------------------------------------------------------------------- */

static PetscErrorCode DealLabels(FwDataset data, FwPart part)
{
  const PetscInt n = FwPartSize(data, part), n_label = data->source.info.n_label;
  const FwStream stream = FwStreamCreate(data->keys.seed, FW_RANDOM_SCRAMBLE, 2, (uint64_t)part, 0);
  double        *label  = data->label + FwPartOffset(data, part) * n_label, *copy;
  PetscInt64    *order;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &order, (size_t)n * n_label, &copy));
  PetscCall(PetscArraycpy(copy, label, (size_t)n * n_label));
  PetscCall(FwStreamOrder(stream, n, order));
  for (PetscInt64 i = 0; i < n; i++) PetscCall(PetscArraycpy(label + i * n_label, copy + order[i] * n_label, n_label));
  PetscCall(PetscFree2(order, copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetScrambleLabels(FwDataset data)
{
  PetscFunctionBegin;
  if (data->keys.scramble != FW_SCRAMBLE_LABELS) PetscFunctionReturn(PETSC_SUCCESS);
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) PetscCall(DealLabels(data, (FwPart)part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- pixels ------------------------------------------------------------------------------------------------- */

static PetscErrorCode OrderPixels(FwDataset data)
{
  const FwStream stream = FwStreamCreate(data->keys.seed, FW_RANDOM_SCRAMBLE, 0, 0, 0);

  PetscFunctionBegin;
  PetscCall(FwStreamOrder(stream, (PetscInt64)data->sizes.height * data->sizes.width, data->place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pixel k of a patch in the plane of the image */
static PetscInt64 PixelOf(const FwPatches *p, PetscInt patch, PetscInt64 k)
{
  const PetscInt64 row = patch / p->n_col * p->stride[0] + k / p->mask[1];

  return row * p->width + patch % p->n_col * p->stride[1] + k % p->mask[1];
}

/* Pixels in no patch stay */
static PetscErrorCode OrderPatches(FwDataset data, const FwPatches *p)
{
  const PetscInt n = p->mask[0] * p->mask[1];
  PetscInt64    *order;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < (PetscInt64)p->height * p->width; i++) data->place[i] = i;
  PetscCall(PetscMalloc1(n, &order));
  for (PetscInt patch = 0; patch < p->n_patch; patch++) {
    PetscCall(FwStreamOrder(FwStreamCreate(data->keys.seed, FW_RANDOM_SCRAMBLE, 1, (uint64_t)patch, 0), n, order));
    for (PetscInt64 k = 0; k < n; k++) data->place[PixelOf(p, patch, k)] = PixelOf(p, patch, order[k]);
  }
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The patches of cnn and lcn, also where the network at hand is another */
static PetscErrorCode FindPatches(FwDataset data, FwPatches *patches)
{
  const FwDataKeys *keys  = &data->keys;
  const FwModel     model = {
        .type = FW_NETWORK_CNN, .mask = {keys->mask[0],   keys->mask[1]  },
             .stride = {keys->stride[0], keys->stride[1]}
  };

  PetscFunctionBegin;
  PetscCall(FwModelGetPatches(&model, data->sizes.channels, data->sizes.height, data->sizes.width, patches));
  for (int d = patches->height == 1 ? 1 : 0; d < 2; d++)
    PetscCheck(patches->stride[d] >= patches->mask[d], data->comm, FW_ERR_INPUT,
               "data_scramble 'patches' wants patches that do not overlap: network_stride %" PetscInt_FMT
               " is less than network_mask %" PetscInt_FMT,
               patches->stride[d], patches->mask[d]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetScramblePart(FwDataset data, FwPart part)
{
  const PetscInt64 n_plane = (PetscInt64)data->sizes.height * data->sizes.width;
  PetscInt         block, first, n_local;
  double          *copy;

  PetscFunctionBegin;
  if (!data->place) PetscFunctionReturn(PETSC_SUCCESS);
  FwPartLayout(data, part, data->rank, &block, &first, &n_local);
  PetscCall(PetscMalloc1(n_plane, &copy));
  for (PetscInt64 plane = 0; plane < (PetscInt64)n_local * data->sizes.channels; plane++) {
    double *x = data->x[part] + plane * n_plane;

    PetscCall(PetscArraycpy(copy, x, n_plane));
    for (PetscInt64 i = 0; i < n_plane; i++) x[i] = copy[data->place[i]];
  }
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetScramble(FwDataset data)
{
  const FwScramble scramble = data->keys.scramble;
  FwPatches        patches;

  PetscFunctionBegin;
  if (scramble != FW_SCRAMBLE_PIXELS && scramble != FW_SCRAMBLE_PATCHES) PetscFunctionReturn(PETSC_SUCCESS);
  if (scramble == FW_SCRAMBLE_PATCHES) PetscCall(FindPatches(data, &patches));
  PetscCall(PetscMalloc1((PetscInt64)data->sizes.height * data->sizes.width, &data->place));
  PetscCall(scramble == FW_SCRAMBLE_PIXELS ? OrderPixels(data) : OrderPatches(data, &patches));
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) PetscCall(FwDatasetScramblePart(data, (FwPart)part));
  PetscFunctionReturn(PETSC_SUCCESS);
}
