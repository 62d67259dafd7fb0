/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Further inputs without labels: read by rank 0 from an HDF5 file, sent to their owners, scaled and ordered as the
 * training inputs were.
 */

#include "dataset_impl.h"

#include <math.h>

enum { BLOCK_NUMBERS = 1 << 20 };

static PetscErrorCode OpenNew(FwDataset data, FwSource *source)
{
  const FwSourceInfo *info = &source->info;
  PetscInt64          n_input;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(source->path, data->keys.new_inputs, sizeof source->path));
  PetscCall(source->ops->open(source));
  n_input = (PetscInt64)info->channels * info->height * info->width;
  PetscCheck(n_input == data->sizes.n_input, PETSC_COMM_SELF, FW_ERR_INPUT,
             "key 'data_predict': '%s' has %" PetscInt64_FMT
             " inputs per example, the training data have %" PetscInt_FMT,
             source->path, n_input, data->sizes.n_input);
  PetscCheck(info->n_example <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' has too many examples",
             source->path);
  data->sizes.n_new = (PetscInt)info->n_example;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadBlock(FwSource *source, PetscInt first, PetscInt n, PetscInt n_input, double x[])
{
  PetscInt64 *example;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &example));
  for (PetscInt i = 0; i < n; i++) example[i] = first + i;
  PetscCall(source->ops->read(source, n, example, x, NULL));
  PetscCall(PetscFree(example));
  for (PetscInt64 i = 0; i < (PetscInt64)n * n_input; i++)
    PetscCheck(isfinite(x[i]), PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': input %" PetscInt64_FMT " of example %" PetscInt64_FMT " is %.6g, not a finite number",
               source->path, i % n_input, first + i / n_input, x[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SpreadNew(FwDataset data, FwSource *source)
{
  const PetscInt n_input = data->sizes.n_input, n_row = PetscMax(1, BLOCK_NUMBERS / n_input);
  double        *buffer;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((PetscInt64)n_row * n_input, &buffer));
  for (PetscMPIInt owner = 0; owner < data->n_rank; owner++) {
    PetscInt block, first, n_local, n;

    FwPartLayout(data, FW_NEW, owner, &block, &first, &n_local);
    for (PetscInt begin = 0; begin < n_local; begin += n) {
      double        *mine = data->rank == owner ? data->x[FW_NEW] + (PetscInt64)begin * n_input : buffer;
      PetscErrorCode code = PETSC_SUCCESS;

      n = PetscMin(n_row, n_local - begin);
      if (data->rank == 0) code = ReadBlock(source, first + begin, n, n_input, mine);
      PetscCall(FwErrorAgree(data->comm, 0, code));
      PetscCall(FwDatasetPassBlock(data, owner, n, buffer, mine));
    }
  }
  PetscCall(PetscFree(buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetCountNew(FwDataset data)
{
  FwSource source = {.ops = &FwSourceOps_Hdf5, .keys = &data->keys, .has_no_labels = PETSC_TRUE};

  PetscFunctionBegin;
  if (!data->keys.new_inputs[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwErrorAgree(data->comm, 0, data->rank ? PETSC_SUCCESS : OpenNew(data, &source)));
  PetscCallMPI(MPI_Bcast(&data->sizes.n_new, 1, MPIU_INT, 0, data->comm));
  if (data->rank == 0) PetscCall(source.ops->close(&source));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetLoadNew(FwDataset data)
{
  FwSource source = {.ops = &FwSourceOps_Hdf5, .keys = &data->keys, .has_no_labels = PETSC_TRUE};
  PetscInt block, first, n_local;

  PetscFunctionBegin;
  if (!data->keys.new_inputs[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwErrorAgree(data->comm, 0, data->rank ? PETSC_SUCCESS : OpenNew(data, &source)));
  PetscCallMPI(MPI_Bcast(&data->sizes.n_new, 1, MPIU_INT, 0, data->comm));
  FwPartLayout(data, FW_NEW, data->rank, &block, &first, &n_local);
  PetscCall(PetscMalloc1(PetscMax((PetscInt64)n_local * data->sizes.n_input, 1), &data->x[FW_NEW]));
  PetscCall(SpreadNew(data, &source));
  if (data->rank == 0) PetscCall(source.ops->close(&source));
  FwDatasetScalePart(data, FW_NEW);
  PetscCall(FwDatasetScramblePart(data, FW_NEW));
  PetscFunctionReturn(PETSC_SUCCESS);
}
