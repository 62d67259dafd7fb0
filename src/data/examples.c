/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bringing the examples of a dataset to the ranks that work on one network: every owner sends its slab to all, in turn,
 * and each rank keeps the rows of its blocks.
 */

#include <finwidth/examples.h>
#include "dataset_impl.h"

enum {
  BLOCK_ROWS = 256
}; /* large enough for products at full speed, small enough for several ranks to share 1000 rows */

PetscInt FwRowsBlock(const FwRows *rows, PetscInt b)
{
  return (PetscInt)((PetscInt64)rows->n * b / PetscMax(rows->n_block, 1));
}

PetscErrorCode FwRowsDivide(MPI_Comm comm, PetscInt n, FwRows *rows)
{
  PetscMPIInt rank, n_rank;
  PetscInt    end;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  *rows               = (FwRows){.n = n, .n_block = n ? PetscMax(1, (n + BLOCK_ROWS / 2) / BLOCK_ROWS) : 0};
  end                 = (PetscInt)((PetscInt64)rows->n_block * (rank + 1) / n_rank);
  rows->first_block   = (PetscInt)((PetscInt64)rows->n_block * rank / n_rank);
  rows->n_local_block = end - rows->first_block;
  rows->first         = FwRowsBlock(rows, rows->first_block);
  rows->n_local       = FwRowsBlock(rows, end) - rows->first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateRows(MPI_Comm comm, PetscInt n, PetscInt n_input, FwRows *rows)
{
  PetscFunctionBegin;
  PetscCall(FwRowsDivide(comm, n, rows));
  PetscCall(PetscMalloc1((size_t)rows->n_local * (size_t)n_input, &rows->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of n rows of a part from row `first` of `rows` on, keep those that this rank owns */
static PetscErrorCode Keep(const double x[], PetscInt first, PetscInt n, PetscInt n_input, FwRows *rows)
{
  const PetscInt begin = PetscMax(first, rows->first), end = PetscMin(first + n, rows->first + rows->n_local);

  PetscFunctionBegin;
  if (begin < end)
    PetscCall(PetscArraycpy(rows->x + (size_t)(begin - rows->first) * (size_t)n_input,
                            x + (size_t)(begin - first) * (size_t)n_input, (size_t)(end - begin) * (size_t)n_input));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One part of the dataset becomes the rows from `offset` on. Collective */
static PetscErrorCode Collect(FwDataset data, FwPart part, PetscInt offset, FwRows *rows)
{
  const PetscInt n_input = data->sizes.n_input;
  FwSlab         slab;
  double        *x;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(data, part, &slab));
  PetscCall(PetscMalloc1((size_t)slab.block * (size_t)n_input, &x));
  for (PetscMPIInt owner = 0; owner < data->n_rank; owner++) {
    PetscInt block, first, n;

    FwPartLayout(data, part, owner, &block, &first, &n);
    if (owner == data->rank) PetscCall(PetscArraycpy(x, slab.x, (size_t)n * (size_t)n_input));
    for (PetscInt i = 0; i < n; i++) /* row by row: a slab may exceed the largest count of MPI */
      PetscCallMPI(MPI_Bcast(x + (size_t)i * (size_t)n_input, (PetscMPIInt)n_input, MPI_DOUBLE, owner, data->comm));
    PetscCall(Keep(x, offset + first, n, n_input, rows));
  }
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExamplesCreate(FwDataset data, MPI_Comm comm, FwExamples *examples)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  *examples = (FwExamples){.sizes = sizes};
  PetscCall(CreateRows(comm, sizes.n_train, sizes.n_input, &examples->train));
  PetscCall(CreateRows(comm, sizes.n_test + sizes.n_new, sizes.n_input, &examples->test));
  PetscCall(Collect(data, FW_TRAIN, 0, &examples->train));
  PetscCall(Collect(data, FW_TEST, 0, &examples->test));
  if (sizes.n_new) PetscCall(Collect(data, FW_NEW, sizes.n_test, &examples->test));
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &examples->y_train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExamplesDestroy(FwExamples *examples)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(examples->train.x));
  PetscCall(PetscFree(examples->test.x));
  *examples = (FwExamples){.y_train = NULL};
  PetscFunctionReturn(PETSC_SUCCESS);
}
