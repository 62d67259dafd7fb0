/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a grid: two BLACS contexts over the same ranks.
 */

#include <finwidth/grid.h>

struct FwGridImpl {
  MPI_Comm    comm; /* from PetscCommDuplicate() */
  int         handle;
  int         context;      /* n_row x n_col */
  int         slab_context; /* 1 x ranks, in order of rank */
  PetscMPIInt n_row, n_col, my_row, my_col, rank, size;
};
