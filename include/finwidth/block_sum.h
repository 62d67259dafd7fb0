/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Sums over blocks of examples that are spread over ranks, added in the order of the blocks, so that the bits of
 * the sum do not depend on the number of ranks.
 */

#include <finwidth/examples.h>

/** One rank adds each block to the total as it comes; several keep their blocks until the exchange. */
typedef struct {
  MPI_Comm      comm;
  PetscMPIInt   n_rank, rank;
  const FwRows *rows;
  PetscInt      n;                                  /**< numbers per block */
  double       *block;                              /**< [n], or [n_local_block, n] on several ranks */
  double       *slice;                              /**< [blocks of other ranks, n_slice of this rank] */
  PetscMPIInt  *n_block_of, *n_slice, *slice_first; /**< [n_rank] */
  MPI_Request  *request;
} FwBlockSum;

/** Prepare sums of n numbers per block of `rows` (borrowed, as is the communicator); release with FwBlockSumDestroy().
 *  Collective. */
PetscErrorCode FwBlockSumCreate(MPI_Comm comm, const FwRows *rows, PetscInt n, FwBlockSum *sum);

/** Where the numbers of local block b are to be written, before FwBlockSumAdd(). */
double *FwBlockSumSlot(FwBlockSum *sum, PetscInt b, double total[]);

/** Local block b is written: blocks come in order. */
void FwBlockSumAdd(FwBlockSum *sum, PetscInt b, double total[]);

/** All local blocks are added: the sum over all ranks is in `total`, shape [n], on every rank. Collective. */
PetscErrorCode FwBlockSumFinish(FwBlockSum *sum, double total[]);

PetscErrorCode FwBlockSumDestroy(FwBlockSum *sum);
