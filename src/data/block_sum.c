/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sums in the order of blocks: every rank gets one slice of all blocks, adds it up, and all gather the slices.
 */

#include <finwidth/block_sum.h>
#include <finwidth/dense.h>

/* First number of the slice that a rank adds up; `rank` may be n_rank */
static PetscInt SliceFirst(const FwBlockSum *sum, PetscMPIInt rank)
{
  return (PetscInt)((PetscInt64)sum->n * rank / sum->n_rank);
}

static PetscErrorCode SetUpExchange(FwBlockSum *sum)
{
  PetscMPIInt       at_send = 0, at_receive = 0;
  const PetscMPIInt n_mine  = (PetscMPIInt)(SliceFirst(sum, sum->rank + 1) - SliceFirst(sum, sum->rank));
  PetscMPIInt       n_block = (PetscMPIInt)sum->rows->n_local_block;

  PetscFunctionBegin;
  PetscCall(PetscMalloc6(sum->n_rank, &sum->n_send, sum->n_rank, &sum->send, sum->n_rank, &sum->n_receive, sum->n_rank,
                         &sum->receive, sum->n_rank, &sum->n_slice, sum->n_rank, &sum->slice_first));
  PetscCallMPI(MPI_Allgather(&n_block, 1, MPI_INT, sum->n_receive, 1, MPI_INT, sum->comm));
  for (PetscMPIInt q = 0; q < sum->n_rank; q++) {
    sum->slice_first[q] = (PetscMPIInt)SliceFirst(sum, q);
    sum->n_slice[q]     = (PetscMPIInt)(SliceFirst(sum, q + 1) - SliceFirst(sum, q));
    sum->n_send[q]      = n_block * sum->n_slice[q];
    sum->n_receive[q] *= n_mine;
    sum->send[q]    = at_send;
    sum->receive[q] = at_receive;
    at_send += sum->n_send[q];
    at_receive += sum->n_receive[q];
  }
  PetscCall(
    PetscMalloc3(sum->rows->n_local_block * sum->n, &sum->block, at_send, &sum->packed, at_receive, &sum->slice));
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

/* [block, n] becomes [receiving rank, block, slice] */
static PetscErrorCode Pack(FwBlockSum *sum)
{
  PetscFunctionBegin;
  for (PetscMPIInt q = 0; q < sum->n_rank; q++)
    for (PetscInt b = 0; b < sum->rows->n_local_block; b++)
      PetscCall(PetscArraycpy(sum->packed + sum->send[q] + b * sum->n_slice[q],
                              sum->block + b * sum->n + sum->slice_first[q], sum->n_slice[q]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBlockSumFinish(FwBlockSum *sum, double total[])
{
  double *mine;

  PetscFunctionBegin;
  if (sum->n_rank == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Pack(sum));
  PetscCallMPI(MPI_Alltoallv(sum->packed, sum->n_send, sum->send, MPI_DOUBLE, sum->slice, sum->n_receive, sum->receive,
                             MPI_DOUBLE, sum->comm));
  mine = total + sum->slice_first[sum->rank];
  PetscCall(PetscArraycpy(mine, sum->slice, sum->n_slice[sum->rank]));
  for (PetscInt b = 1; b < sum->rows->n_block; b++) /* ranks, and so the blocks received, are in order */
    FwAxpy(sum->n_slice[sum->rank], 1.0, sum->slice + b * sum->n_slice[sum->rank], mine);
  PetscCallMPI(
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, total, sum->n_slice, sum->slice_first, MPI_DOUBLE, sum->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBlockSumDestroy(FwBlockSum *sum)
{
  PetscFunctionBegin;
  if (sum->n_rank > 1) {
    PetscCall(PetscFree6(sum->n_send, sum->send, sum->n_receive, sum->receive, sum->n_slice, sum->slice_first));
    PetscCall(PetscFree3(sum->block, sum->packed, sum->slice));
  } else {
    PetscCall(PetscFree(sum->block));
  }
  *sum = (FwBlockSum){.n = 0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
