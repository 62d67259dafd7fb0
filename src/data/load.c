/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Examples to their owners. Files pass through rank 0 in blocks of about a million numbers, so that no rank ever holds
 * more than its own examples and one block; drawn examples do not travel.
 */

#include "dataset_impl.h"

#include <math.h>

enum { BLOCK_NUMBERS = 1 << 20 };

/* Room for one block on the way from the source to an owner */
typedef struct {
  PetscInt n_row; /* examples per block; the same on every rank */
  double  *raw;   /* [n_row, n_raw] */
  double  *work;  /* one stored example */
  double  *x;     /* [n_row, N_0] */
} Block;

static PetscInt64 CountRaw(FwDataset data)
{
  const FwSourceInfo *info = &data->source.info;

  return (PetscInt64)info->channels * info->height * info->width;
}

static PetscErrorCode BlockCreate(FwDataset data, Block *block)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1(block->n_row * CountRaw(data), &block->raw));
  PetscCall(PetscMalloc1(CountRaw(data), &block->work));
  PetscCall(PetscMalloc1((PetscInt64)block->n_row * data->sizes.n_input, &block->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BlockDestroy(Block *block)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(block->raw));
  PetscCall(PetscFree(block->work));
  PetscCall(PetscFree(block->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckFinite(FwDataset data, PetscInt64 example, PetscInt64 n, const double value[],
                                  const char what[])
{
  const char *path = data->source.path[0] ? data->source.path : data->source.ops->name;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++)
    PetscCheck(isfinite(value[i]), PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': %s %" PetscInt64_FMT " of example %" PetscInt64_FMT " is %.6g, not a finite number", path, what,
               i, example, value[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `n` examples used, from `position` on, as inputs x and, of drawn ones, labels */
static PetscErrorCode ReadRows(FwDataset data, PetscInt64 position, PetscInt n, Block *block, double x[],
                               double label[])
{
  const PetscInt64 n_raw = CountRaw(data), n_input = data->sizes.n_input;

  PetscFunctionBegin;
  PetscCall(data->source.ops->read(&data->source, n, data->example + position, block->raw, label));
  for (PetscInt64 i = 0; i < n; i++) {
    PetscCall(CheckFinite(data, data->example[position + i], n_raw, block->raw + i * n_raw, "input"));
    FwPixelsConvert(&data->pixels, block->raw + i * n_raw, block->work, x + i * n_input);
    PetscCall(CheckFinite(data, data->example[position + i], n_input, x + i * n_input, "converted input"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- files -------------------------------------------------------------------------------------------------- */

PetscErrorCode FwDatasetPassBlock(FwDataset data, PetscMPIInt owner, PetscInt n, const double block[], double x[])
{
  const int count = (int)(n * data->sizes.n_input); /* a block, or one example: fits */

  PetscFunctionBegin;
  if (!owner) PetscFunctionReturn(PETSC_SUCCESS);
  if (data->rank == 0) PetscCallMPI(MPI_Send(block, count, MPI_DOUBLE, owner, data->tag, data->comm));
  if (data->rank == owner) PetscCallMPI(MPI_Recv(x, count, MPI_DOUBLE, 0, data->tag, data->comm, MPI_STATUS_IGNORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SpreadToOwner(FwDataset data, FwPart part, PetscMPIInt owner, Block *block)
{
  const PetscInt64 n_input = data->sizes.n_input;
  PetscInt         size, first, n_local, n;

  PetscFunctionBegin;
  FwPartLayout(data, part, owner, &size, &first, &n_local);
  for (PetscInt begin = 0; begin < n_local; begin += n) {
    double        *mine = data->rank == owner ? data->x[part] + begin * n_input : NULL;
    PetscErrorCode code = PETSC_SUCCESS;

    n = PetscMin(block->n_row, n_local - begin);
    if (data->is_reader)
      code = ReadRows(data, FwPartOffset(data, part) + first + begin, n, block, owner ? block->x : mine, NULL);
    PetscCall(FwErrorAgree(data->comm, 0, code));
    PetscCall(FwDatasetPassBlock(data, owner, n, block->x, mine));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PickLabels(FwDataset data)
{
  const PetscInt n_label = data->source.info.n_label;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < FwLabelled(&data->keys); i++) {
    double *label = data->label + i * n_label;

    PetscCall(PetscArraycpy(label, data->source.label + data->example[i] * n_label, n_label));
    PetscCall(CheckFinite(data, data->example[i], n_label, label, "target"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShareLabels(FwDataset data)
{
  const PetscInt64 n = FwLabelled(&data->keys) * data->source.info.n_label;

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(data->comm, 0, data->is_reader ? PickLabels(data) : PETSC_SUCCESS));
  PetscCall(PetscFree(data->source.label));
  for (PetscInt64 first = 0; first < n; first += BLOCK_NUMBERS) /* counts of MPI are ints */
    PetscCallMPI(MPI_Bcast(data->label + first, (int)PetscMin(BLOCK_NUMBERS, n - first), MPI_DOUBLE, 0, data->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareOnReader(FwDataset data, Block *block)
{
  const PetscInt64 n = FwLabelled(&data->keys);

  PetscFunctionBegin;
  PetscCall(BlockCreate(data, block));
  if (data->source.ops->prepare) PetscCall(data->source.ops->prepare(&data->source, n, data->example));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadFiles(FwDataset data, Block *block)
{
  PetscFunctionBegin;
  PetscCall(FwErrorAgree(data->comm, 0, data->is_reader ? PrepareOnReader(data, block) : PETSC_SUCCESS));
  PetscCall(ShareLabels(data));
  for (PetscMPIInt owner = 0; owner < data->n_rank; owner++) {
    for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) PetscCall(SpreadToOwner(data, (FwPart)part, owner, block));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- drawn -------------------------------------------------------------------------------------------------- */

static PetscErrorCode DrawOwn(FwDataset data, FwPart part, Block *block, double label[])
{
  const PetscInt64 n_input = data->sizes.n_input;
  PetscInt         size, first, n_local, n;

  PetscFunctionBegin;
  FwPartLayout(data, part, data->rank, &size, &first, &n_local);
  for (PetscInt begin = 0; begin < n_local; begin += n) {
    n = PetscMin(block->n_row, n_local - begin);
    PetscCall(ReadRows(data, FwPartOffset(data, part) + first + begin, n, block, data->x[part] + begin * n_input,
                       label + begin * data->source.info.n_label));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawAll(FwDataset data, Block *block, double *label[FW_VALIDATION + 1])
{
  PetscFunctionBegin;
  PetscCall(BlockCreate(data, block));
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) {
    PetscInt size, first, n_local;

    FwPartLayout(data, (FwPart)part, data->rank, &size, &first, &n_local);
    PetscCall(PetscMalloc1(n_local * data->source.info.n_label, &label[part]));
    PetscCall(DrawOwn(data, (FwPart)part, block, label[part]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetGather(FwDataset data, FwPart part, MPI_Datatype type, const void *local, void *all)
{
  PetscMPIInt *count, *offset;
  PetscInt     block, first, n_local;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(data->n_rank, &count, data->n_rank, &offset));
  for (PetscMPIInt rank = 0; rank < data->n_rank; rank++) {
    FwPartLayout(data, part, rank, &block, &first, &n_local);
    PetscCall(PetscMPIIntCast(n_local, &count[rank]));
    PetscCall(PetscMPIIntCast(first, &offset[rank]));
  }
  PetscCallMPI(MPI_Allgatherv(local, count[data->rank], type, all, count, offset, type, data->comm));
  PetscCall(PetscFree2(count, offset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The labels of an example are one thing to gather */
static PetscErrorCode GatherLabels(FwDataset data, FwPart part, const double local[])
{
  const PetscInt n_label = data->source.info.n_label;
  MPI_Datatype   type;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Type_contiguous((int)n_label, MPI_DOUBLE, &type));
  PetscCallMPI(MPI_Type_commit(&type));
  PetscCall(FwDatasetGather(data, part, type, local, data->label + FwPartOffset(data, part) * n_label));
  PetscCallMPI(MPI_Type_free(&type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadDrawn(FwDataset data, Block *block)
{
  double *label[FW_VALIDATION + 1] = {NULL};

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(data->comm, DrawAll(data, block, label)));
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) {
    PetscCall(GatherLabels(data, (FwPart)part, label[part]));
    PetscCall(PetscFree(label[part]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- both --------------------------------------------------------------------------------------------------- */

static PetscErrorCode Allocate(FwDataset data)
{
  PetscInt64 n;

  PetscFunctionBegin;
  for (int part = FW_TRAIN; part <= FW_VALIDATION; part++) {
    PetscInt block, first, n_local;

    FwPartLayout(data, (FwPart)part, data->rank, &block, &first, &n_local);
    PetscCall(FwCountProduct(n_local, data->sizes.n_input, "inputs of this rank", &n));
    PetscCall(PetscMalloc1(n, &data->x[part]));
  }
  PetscCall(FwCountProduct(FwLabelled(&data->keys), data->source.info.n_label, "targets", &n));
  PetscCall(PetscMalloc1(n, &data->label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetLoad(FwDataset data)
{
  const PetscInt64 n_largest = PetscMax(CountRaw(data), (PetscInt64)data->sizes.n_input);
  Block            block     = {.n_row = (PetscInt)PetscMax(1, BLOCK_NUMBERS / n_largest)};
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(data->comm, Allocate(data)));
  code = data->source.ops->is_drawn ? LoadDrawn(data, &block) : LoadFiles(data, &block);
  PetscCall(BlockDestroy(&block));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
