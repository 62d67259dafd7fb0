/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The process grid: the ranks of a communicator as `n_row` x `n_col`, as square as their number allows.
 */

#include <finwidth/base.h>

typedef struct FwGridImpl *FwGrid;

/** Lay the ranks of `comm` out as a grid, row by row. Collective on `comm` (duplicated).
 * @param[out] grid  release with FwGridDestroy(), after every matrix on it */
PetscErrorCode FwGridCreate(MPI_Comm comm, FwGrid *grid);

/** Numbers of rows and columns of the grid; NULL for what is not wanted. Not collective. */
PetscErrorCode FwGridGetSize(FwGrid grid, PetscMPIInt *n_row, PetscMPIInt *n_col);

/** The grid's communicator. Borrowed. Not collective. */
MPI_Comm FwGridComm(FwGrid grid);

/** Release a grid and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwGridDestroy(FwGrid *grid);
