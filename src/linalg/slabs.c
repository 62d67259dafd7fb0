/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Between slabs, where each rank has whole columns, and blocks.
 *
 * ScaLAPACK's pdgemr2d does the same, but keeps a copy of what it has moved (version 2.2 never frees its buffer) and
 * fails beyond 2 GiB. Here the blocks of a rank need no buffer: its columns come from, or go to, the slabs one after the
 * other, so that its part of the matrix is what is sent or received.
 */

#include "slabs.h"

static const int zero = 0, block_int = BLOCK;

/* Number of rows or columns below `limit` that a process has */
static PetscInt CountBelow(PetscInt limit, PetscMPIInt process, PetscMPIInt n_process)
{
  const int n = (int)limit;

  return numroc_(&n, &block_int, &process, &zero, &n_process);
}

/* Some columns of every slab: `width` of them from the column `begin` of each on */
typedef struct {
  FwGrid   grid;
  PetscInt m, n, block, begin, width;
  int     *block_count, *block_at, *slab_count, *slab_at; /* [size] numbers to or from each rank */
} Move;

/* Columns of rank r's slab that are moved: first and past the last */
static void Range(const Move *move, PetscMPIInt r, PetscInt *first, PetscInt *last)
{
  const PetscInt end = PetscMin(move->n, (r + 1) * move->block);

  *first = PetscMin(end, PetscMin(move->n, r * move->block) + move->begin);
  *last  = PetscMin(end, *first + move->width);
}

/* Sizes on the side of the blocks, where a column is `m_local` numbers, and on that of the slabs */
static void SetCounts(Move *move, PetscInt m_local)
{
  const FwGrid g  = move->grid;
  PetscInt     at = 0, first, last, own_first, own_last;

  Range(move, g->rank, &own_first, &own_last);
  for (PetscMPIInt r = 0; r < g->size; r++) {
    const PetscMPIInt row = r / g->n_col, column = r % g->n_col;

    Range(move, r, &first, &last);
    move->block_at[r] = (int)(CountBelow(first, g->my_col, g->n_col) * m_local);
    move->block_count[r] =
      (int)((CountBelow(last, g->my_col, g->n_col) - CountBelow(first, g->my_col, g->n_col)) * m_local);
    move->slab_count[r] = (int)((CountBelow(own_last, column, g->n_col) - CountBelow(own_first, column, g->n_col)) *
                                CountBelow(move->m, row, g->n_row));
    move->slab_at[r]    = (int)at;
    at += move->slab_count[r];
  }
}

/* This rank's columns, sorted by the rank that has their blocks, into the buffer or out of it */
static void Sort(const Move *move, PetscBool in, double *slab, PetscInt leading, double buffer[])
{
  const FwGrid g = move->grid;
  PetscInt     first, last;

  Range(move, g->rank, &first, &last);
  for (PetscMPIInt r = 0; r < g->size; r++)
    for (PetscInt j = first; j < last; j++) {
      if (j / BLOCK % g->n_col != r % g->n_col) continue;
      for (PetscInt i = r / g->n_col * BLOCK; i < move->m; i += g->n_row * BLOCK) {
        const PetscInt n     = PetscMin(BLOCK, move->m - i);
        double        *entry = slab + i + (size_t)(j - g->rank * move->block) * (size_t)leading;

        for (PetscInt l = 0; l < n; l++) *(in ? &buffer[l] : &entry[l]) = in ? entry[l] : buffer[l];
        buffer += n;
      }
    }
}

static PetscErrorCode MoveColumns(Move *move, PetscBool to_blocks, FwMatrix blocks, double *slab, PetscInt leading)
{
  double *buffer;

  PetscFunctionBegin;
  SetCounts(move, blocks->m_local);
  PetscCall(PetscMalloc1((size_t)move->m * (size_t)move->width, &buffer));
  if (to_blocks) {
    Sort(move, PETSC_TRUE, slab, leading, buffer);
    PetscCallMPI(MPI_Alltoallv(buffer, move->slab_count, move->slab_at, MPI_DOUBLE, blocks->value, move->block_count,
                               move->block_at, MPI_DOUBLE, move->grid->comm));
  } else {
    PetscCallMPI(MPI_Alltoallv(blocks->value, move->block_count, move->block_at, MPI_DOUBLE, buffer, move->slab_count,
                               move->slab_at, MPI_DOUBLE, move->grid->comm));
    Sort(move, PETSC_FALSE, slab, leading, buffer);
  }
  PetscCall(PetscFree(buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSlabsMove(PetscBool to_blocks, FwMatrix blocks, PetscInt block, double *slab, PetscInt leading)
{
  enum { AT_ONCE = 1 << 21 }; /* numbers in the buffer: 16 MiB */
  const FwGrid g    = blocks->grid;
  Move         move = {.grid = g, .m = blocks->m, .n = blocks->n, .block = block};

  PetscFunctionBegin;
  move.width = PetscMax(1, PetscMin(block, AT_ONCE / PetscMax(blocks->m, 1)));
  PetscCall(PetscMalloc4(g->size, &move.block_count, g->size, &move.block_at, g->size, &move.slab_count, g->size,
                         &move.slab_at));
  for (move.begin = 0; move.begin < block; move.begin += move.width)
    PetscCall(MoveColumns(&move, to_blocks, blocks, slab, leading));
  PetscCall(PetscFree4(move.block_count, move.block_at, move.slab_count, move.slab_at));
  PetscFunctionReturn(PETSC_SUCCESS);
}
