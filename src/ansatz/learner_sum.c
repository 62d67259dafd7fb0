/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sums over examples, which give the same bits on any number of ranks: how the examples are cut into blocks depends on
 * their number alone, each rank has consecutive blocks, and blocks are added in their order.
 */

#include "learner_impl.h"

/* A step over 128 examples can be shared by two ranks, and one over 512 or more by eight: each block is a gradient to be
   kept, sent and added, which costs as much as some tens of examples do; in single precision half as many */
enum { BLOCK_ROWS = 64, BLOCK_ROWS_SINGLE = 128, BLOCKS_MOST = 8 };

PetscErrorCode FwLearnerDivideRows(FwLearner learner, PetscInt n_row, FwRows *rows)
{
  const PetscInt block_rows = learner->single.theta ? BLOCK_ROWS_SINGLE : BLOCK_ROWS;
  PetscMPIInt    rank, n_rank;
  PetscInt       end;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(learner->comm, &rank));
  PetscCallMPI(MPI_Comm_size(learner->comm, &n_rank));
  *rows               = (FwRows){.n = n_row, .n_block = PetscMax(1, PetscMin(n_row / block_rows, BLOCKS_MOST))};
  rows->first_block   = rows->n_block * rank / n_rank;
  end                 = rows->n_block * (rank + 1) / n_rank;
  rows->n_local_block = end - rows->first_block;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Prepare for sums of n numbers and a scalar; sums of the same kind follow each other */
static PetscErrorCode Prepare(FwLearner learner, PetscInt n_row, PetscInt n)
{
  FwLearnerShares *shares = &learner->shares;

  PetscFunctionBegin;
  if (shares->total && shares->rows.n == n_row && shares->sum.n == n + 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLearnerSharesDestroy(learner));
  PetscCall(FwLearnerDivideRows(learner, n_row, &shares->rows));
  PetscCall(FwBlockSumCreate(learner->comm, &shares->rows, n + 1, &shares->sum));
  PetscCall(PetscMalloc1(n + 1, &shares->total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSharesDestroy(FwLearner learner)
{
  PetscFunctionBegin;
  if (learner->shares.total) PetscCall(FwBlockSumDestroy(&learner->shares.sum));
  PetscCall(PetscFree(learner->shares.total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Add rows first .. end - 1 */
static PetscErrorCode AddRows(FwLearner learner, FwLearnerPiece *piece, void *context, PetscInt first, PetscInt end,
                              double *scalar, double sum[])
{
  const PetscInt n_most = learner->pass.n_most;

  PetscFunctionBegin;
  for (; first < end; first += n_most)
    PetscCall(piece(learner, context, first, PetscMin(n_most, end - first), scalar, sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One rank, or one block that each rank makes for itself; blocks that go through the network as one piece, and matrix
   products that add to the sum once per piece: then they may add to the total itself. BLAS makes a product of up to n_most
   terms first and adds it afterwards, so these are the same bits as by blocks */
static PetscBool MayAddDirectly(FwLearner learner, PetscBool adds_once)
{
  const FwLearnerShares *shares = &learner->shares;

  return (PetscBool)(adds_once && (shares->sum.n_rank == 1 || shares->rows.n_block == 1) &&
                     (shares->rows.n + shares->rows.n_block - 1) / shares->rows.n_block <= learner->pass.n_most);
}

static PetscErrorCode SumDirectly(FwLearner learner, PetscInt n, FwLearnerPiece *piece, void *context, double *scalar,
                                  double total[])
{
  const FwRows *rows = &learner->shares.rows;

  PetscFunctionBegin;
  *scalar = 0.0;
  PetscCall(PetscArrayzero(total, n));
  for (PetscInt b = 0; b < rows->n_block; b++)
    PetscCall(AddRows(learner, piece, context, FwRowsBlock(rows, b), FwRowsBlock(rows, b + 1), scalar, total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SumBlocks(FwLearner learner, PetscInt n, FwLearnerPiece *piece, void *context, double *scalar,
                                double total[])
{
  FwLearnerShares *shares = &learner->shares;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < shares->rows.n_local_block; b++) {
    const PetscInt first = FwRowsBlock(&shares->rows, shares->rows.first_block + b);
    const PetscInt end   = FwRowsBlock(&shares->rows, shares->rows.first_block + b + 1);
    double        *slot  = FwBlockSumSlot(&shares->sum, b, shares->total);

    PetscCall(PetscArrayzero(slot, n + 1));
    PetscCall(AddRows(learner, piece, context, first, end, &slot[n], slot));
    FwBlockSumAdd(&shares->sum, b, shares->total);
  }
  PetscCall(FwBlockSumFinish(&shares->sum, shares->total));
  PetscCall(PetscArraycpy(total, shares->total, n));
  *scalar = shares->total[n];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSum(FwLearner learner, PetscInt n_row, PetscInt n, PetscBool adds_once, FwLearnerPiece *piece,
                            void *context, double *scalar, double total[])
{
  PetscFunctionBegin;
  PetscCall(Prepare(learner, n_row, n));
  if (MayAddDirectly(learner, adds_once))
    PetscCall(SumDirectly(learner, n, piece, context, scalar, total));
  else
    PetscCall(SumBlocks(learner, n, piece, context, scalar, total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerShareBlocks(FwLearner learner, const FwRows *rows, PetscInt n, double number[])
{
  PetscMPIInt n_rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(learner->comm, &n_rank));
  for (PetscMPIInt r = 0; n_rank > 1 && r < n_rank; r++) {
    const PetscInt begin = rows->n_block * r / n_rank, end = rows->n_block * (r + 1) / n_rank;

    for (PetscInt b = begin; b < end; b++)
      PetscCallMPI(MPI_Bcast(number + (size_t)b * n, (PetscMPIInt)n, MPI_DOUBLE, r, learner->comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
