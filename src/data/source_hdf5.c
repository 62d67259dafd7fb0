/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Examples from two data sets of an HDF5 file, read in blocks of rows.
 */

#include "source.h"

/* --- targets ------------------------------------------------------------------------------------------------ */

static PetscErrorCode ReadTargets(FwSource *source, FwForeign set)
{
  const FwDataKeys *keys = source->keys;
  FwSourceInfo     *info = &source->info;
  PetscInt64        size[FW_FOREIGN_MAX_DIM], n;
  PetscInt          n_dimension;

  PetscFunctionBegin;
  PetscCall(FwForeignGetSizes(set, &n_dimension, size));
  PetscCheck(n_dimension <= 2, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' has %d dimensions, want [n] or [n, D]",
             source->path, keys->targets, (int)n_dimension);
  PetscCheck(size[0] == info->n_example, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' has %" PetscInt64_FMT " examples, '%s' has %" PetscInt64_FMT, source->path, keys->targets,
             size[0], keys->inputs, info->n_example);
  info->n_label = (PetscInt)size[1];
  PetscCall(FwCountProduct(info->n_example, info->n_label, source->path, &n));
  PetscCall(PetscMalloc1(n, &source->label));
  PetscCall(FwForeignRead(set, 0, info->n_example, source->label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [n, N_0], [n, C, L] or [n, C, H, W] */
static PetscErrorCode SettleInputs(FwSource *source)
{
  FwSourceInfo *info = &source->info;
  PetscInt64    size[FW_FOREIGN_MAX_DIM];
  PetscInt      n_dimension;

  PetscFunctionBegin;
  PetscCall(FwForeignGetSizes(source->context, &n_dimension, size));
  PetscCheck(n_dimension >= 2, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' has one dimension, want [n, N_0], [n, C, L] or [n, C, H, W]", source->path,
             source->keys->inputs);
  *info = (FwSourceInfo){.n_example  = size[0],
                         .n_training = size[0],
                         .channels   = n_dimension > 2 ? (PetscInt)size[1] : 1,
                         .height     = n_dimension > 3 ? (PetscInt)size[2] : 1,
                         .width      = (PetscInt)size[n_dimension - 1],
                         .is_image   = n_dimension > 3 ? PETSC_TRUE : PETSC_FALSE};
  PetscCheck((double)info->channels * info->height * info->width <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': an example of '%s' is too large", source->path, source->keys->inputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenHdf5(FwSource *source)
{
  FwForeign      x, y;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwForeignOpen(source->path, source->keys->inputs, &x));
  source->context = x;
  PetscCall(SettleInputs(source));
  if (source->has_no_labels) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwForeignOpen(source->path, source->keys->targets, &y));
  code = ReadTargets(source, y);
  PetscCall(FwForeignClose(&y));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- inputs ------------------------------------------------------------------------------------------------- */

/* Neighbouring rows in one go */
static PetscErrorCode ReadHdf5(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const PetscInt64 n_raw = (PetscInt64)source->info.channels * source->info.height * source->info.width;
  PetscInt         run;

  PetscFunctionBegin;
  (void)label;
  for (PetscInt i = 0; i < n; i += run) {
    run = 1;
    while (i + run < n && example[i + run] == example[i] + run) run++;
    PetscCall(FwForeignRead(source->context, example[i], run, raw + i * n_raw));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseHdf5(FwSource *source)
{
  FwForeign x = source->context;

  PetscFunctionBegin;
  PetscCall(FwForeignClose(&x));
  source->context = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Hdf5 = {
  .name = "hdf5", .divisor = 1.0, .open = OpenHdf5, .read = ReadHdf5, .close = CloseHdf5};
