/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The process grid.
 */

#include "grid_impl.h"
#include "scalapack.h"

/* Sums of three ranks and more in an order of their own, not that in which they come: the same bits every time */
static void MakeRepeatable(int context)
{
  enum { REPEATABLE = 15, COHERENT = 16 }; /* as blacs.h of ScaLAPACK numbers them */
  const int yes = 1;

  Cblacs_set(context, REPEATABLE, &yes);
  Cblacs_set(context, COHERENT, &yes);
}

PetscErrorCode FwGridCreate(MPI_Comm comm, FwGrid *grid)
{
  FwGrid g;

  PetscFunctionBegin;
  PetscCall(PetscNew(&g));
  PetscCall(PetscCommDuplicate(comm, &g->comm, NULL));
  PetscCallMPI(MPI_Comm_size(g->comm, &g->size));
  PetscCallMPI(MPI_Comm_rank(g->comm, &g->rank));
  for (g->n_row = (PetscMPIInt)PetscSqrtReal((PetscReal)g->size); g->size % g->n_row; g->n_row--) continue;
  g->n_col   = g->size / g->n_row;
  g->handle  = Csys2blacs_handle(g->comm);
  g->context = g->slab_context = g->handle;
  Cblacs_gridinit(&g->context, "Row", g->n_row, g->n_col);
  Cblacs_gridinit(&g->slab_context, "Row", 1, g->size);
  MakeRepeatable(g->context);
  MakeRepeatable(g->slab_context);
  Cblacs_gridinfo(g->context, &g->n_row, &g->n_col, &g->my_row, &g->my_col);
  *grid = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGridGetSize(FwGrid grid, PetscMPIInt *n_row, PetscMPIInt *n_col)
{
  PetscFunctionBegin;
  if (n_row) *n_row = grid->n_row;
  if (n_col) *n_col = grid->n_col;
  PetscFunctionReturn(PETSC_SUCCESS);
}

MPI_Comm FwGridComm(FwGrid grid)
{
  return grid->comm;
}

PetscErrorCode FwGridDestroy(FwGrid *grid)
{
  PetscFunctionBegin;
  if (!*grid) PetscFunctionReturn(PETSC_SUCCESS);
  Cblacs_gridexit((*grid)->slab_context);
  Cblacs_gridexit((*grid)->context);
  Cfree_blacs_system_handle((*grid)->handle);
  PetscCall(PetscCommDestroy(&(*grid)->comm));
  PetscCall(PetscFree(*grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}
