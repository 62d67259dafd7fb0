/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sums in the order of blocks: every rank gets one slice of all blocks, adds it up, and all gather the slices.
 */

#include <finwidth/block_sum.h>
#include <finwidth/dense.h>

enum { TAG_SLICE = 7103 }; /* of nobody else on the communicator */

/* First number of the slice that a rank adds up; `rank` may be n_rank */
static PetscInt SliceFirst(const FwBlockSum *sum, PetscMPIInt rank)
{
  return (PetscInt)((PetscInt64)sum->n * rank / sum->n_rank);
}

static PetscErrorCode SetUpExchange(FwBlockSum *sum)
{
  const PetscInt n_mine  = SliceFirst(sum, sum->rank + 1) - SliceFirst(sum, sum->rank);
  PetscMPIInt    n_block = (PetscMPIInt)sum->rows->n_local_block;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(sum->n_rank, &sum->n_block_of, sum->n_rank, &sum->n_slice, sum->n_rank, &sum->slice_first,
                         sum->rows->n_block + n_block * sum->n_rank, &sum->request));
  PetscCallMPI(MPI_Allgather(&n_block, 1, MPI_INT, sum->n_block_of, 1, MPI_INT, sum->comm));
  for (PetscMPIInt q = 0; q < sum->n_rank; q++) {
    sum->slice_first[q] = (PetscMPIInt)SliceFirst(sum, q);
    sum->n_slice[q]     = (PetscMPIInt)(SliceFirst(sum, q + 1) - SliceFirst(sum, q));
  }
  PetscCall(PetscMalloc2((size_t)n_block * (size_t)sum->n, &sum->block,
                         (size_t)(sum->rows->n_block - n_block) * (size_t)n_mine, &sum->slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBlockSumCreate(MPI_Comm comm, const FwRows *rows, PetscInt n, FwBlockSum *sum)
{
  PetscFunctionBegin;
  *sum = (FwBlockSum){.comm = comm, .rows = rows, .n = n};
  PetscCallMPI(MPI_Comm_size(comm, &sum->n_rank));
  PetscCallMPI(MPI_Comm_rank(comm, &sum->rank));
  PetscCheck((PetscInt64)rows->n_block * n <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_MEMORY,
             "%" PetscInt_FMT " blocks of examples with %" PetscInt_FMT
             " parameters each are more than one message can hold: fewer examples, or a narrower network",
             rows->n_block, n);
  if (sum->n_rank > 1)
    PetscCall(SetUpExchange(sum));
  else
    PetscCall(PetscMalloc1(rows->n_block > 1 ? n : 0, &sum->block));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double *FwBlockSumSlot(FwBlockSum *sum, PetscInt b, double total[])
{
  if (sum->n_rank > 1) return sum->block + (size_t)b * (size_t)sum->n;
  return b ? sum->block : total;
}

void FwBlockSumAdd(FwBlockSum *sum, PetscInt b, double total[])
{
  if (sum->n_rank == 1 && b) FwAxpy(sum->n, 1.0, sum->block, total);
}

/* Every rank gets its slice of each block of the others: from where it is to where it is added from. Messages between two
   ranks come in the order of the blocks */
static PetscErrorCode ExchangeSlices(FwBlockSum *sum)
{
  const PetscMPIInt n_mine    = sum->n_slice[sum->rank];
  PetscMPIInt       n_request = 0;
  double           *to        = sum->slice;

  PetscFunctionBegin;
  for (PetscMPIInt q = 0; q < sum->n_rank; q++)
    for (PetscMPIInt b = 0; q != sum->rank && b < sum->n_block_of[q]; b++, to += n_mine)
      PetscCallMPI(MPI_Irecv(to, n_mine, MPI_DOUBLE, q, TAG_SLICE, sum->comm, &sum->request[n_request++]));
  for (PetscMPIInt q = 0; q < sum->n_rank; q++)
    for (PetscInt b = 0; q != sum->rank && b < sum->rows->n_local_block; b++)
      PetscCallMPI(MPI_Isend(sum->block + (size_t)b * (size_t)sum->n + sum->slice_first[q], sum->n_slice[q], MPI_DOUBLE,
                             q, TAG_SLICE, sum->comm, &sum->request[n_request++]));
  PetscCallMPI(MPI_Waitall(n_request, sum->request, MPI_STATUSES_IGNORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Blocks in order, which is that of the ranks that have them */
static PetscErrorCode AddSlices(FwBlockSum *sum, double mine[])
{
  const PetscInt n_mine   = sum->n_slice[sum->rank];
  const double  *from     = sum->slice;
  PetscBool      is_first = PETSC_TRUE;

  PetscFunctionBegin;
  for (PetscMPIInt q = 0; q < sum->n_rank; q++)
    for (PetscMPIInt b = 0; b < sum->n_block_of[q]; b++) {
      const double *part = from;

      if (q == sum->rank)
        part = sum->block + (size_t)b * (size_t)sum->n + sum->slice_first[q];
      else
        from += n_mine;
      if (is_first)
        PetscCall(PetscArraycpy(mine, part, n_mine));
      else
        FwAxpy(n_mine, 1.0, part, mine);
      is_first = PETSC_FALSE;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBlockSumFinish(FwBlockSum *sum, double total[])
{
  PetscFunctionBegin;
  if (sum->n_rank == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ExchangeSlices(sum));
  PetscCall(AddSlices(sum, total + sum->slice_first[sum->rank]));
  PetscCallMPI(
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, total, sum->n_slice, sum->slice_first, MPI_DOUBLE, sum->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBlockSumDestroy(FwBlockSum *sum)
{
  PetscFunctionBegin;
  if (sum->n_rank > 1) {
    PetscCall(PetscFree4(sum->n_block_of, sum->n_slice, sum->slice_first, sum->request));
    PetscCall(PetscFree2(sum->block, sum->slice));
  } else {
    PetscCall(PetscFree(sum->block));
  }
  *sum = (FwBlockSum){.n = 0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
