/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Digest of the data as used: one xxh3 per example by its owner, one over these in order.
 */

#include "dataset_impl.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Inputs, then targets, if it has any: they do not lie side by side, so the two hashes are hashed */
static uint64_t ExampleDigest(FwDataset data, const double x[], const double *y)
{
  uint64_t parts[2] = {XXH3_64bits(x, (size_t)data->sizes.n_input * sizeof *x)};

  if (!y) return parts[0];
  parts[1] = XXH3_64bits(y, (size_t)data->sizes.n_output * sizeof *y);
  return XXH3_64bits(parts, sizeof parts);
}

static PetscErrorCode PartDigest(FwDataset data, FwPart part, uint64_t *digest)
{
  const PetscInt n = FwPartSize(data, part), n_output = data->sizes.n_output;
  const double  *y = part == FW_NEW ? NULL : data->y + FwPartOffset(data, part) * n_output;
  PetscInt       block, first, n_local;
  uint64_t      *local, *all;

  PetscFunctionBegin;
  FwPartLayout(data, part, data->rank, &block, &first, &n_local);
  PetscCall(PetscMalloc2(n_local, &local, n, &all));
  for (PetscInt i = 0; i < n_local; i++)
    local[i] = ExampleDigest(data, data->x[part] + (PetscInt64)i * data->sizes.n_input,
                             y ? y + (PetscInt64)(first + i) * n_output : NULL);
  PetscCall(FwDatasetGather(data, part, MPI_UINT64_T, local, all));
  *digest = XXH3_64bits(n ? all : digest, (size_t)n * sizeof *all);
  PetscCall(PetscFree2(local, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetDigest(FwDataset data)
{
  const FwDataSizes *sizes = &data->sizes;
  uint64_t           parts[11];
  size_t             n = 8;

  PetscFunctionBegin;
  parts[0] = (uint64_t)sizes->n_train;
  parts[1] = (uint64_t)sizes->n_test;
  parts[2] = (uint64_t)sizes->channels;
  parts[3] = (uint64_t)sizes->height;
  parts[4] = (uint64_t)sizes->width;
  parts[5] = (uint64_t)sizes->n_output;
  PetscCall(PartDigest(data, FW_TRAIN, &parts[6]));
  PetscCall(PartDigest(data, FW_TEST, &parts[7]));
  if (sizes->n_new) PetscCall(PartDigest(data, FW_NEW, &parts[n++]));
  if (sizes->n_validation) {
    parts[n++] = (uint64_t)sizes->n_validation;
    PetscCall(PartDigest(data, FW_VALIDATION, &parts[n++]));
  }
  snprintf(data->digest, sizeof data->digest, "%016llx", (unsigned long long)XXH3_64bits(parts, n * sizeof *parts));
  PetscFunctionReturn(PETSC_SUCCESS);
}
