/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a block-cyclic matrix.
 */

#include <finwidth/matrix.h>

#include "grid_impl.h"
#include "scalapack.h"

enum { BLOCK = 64 }; /* measured best for Cholesky, products and reductions alike on one core and on two */

struct FwMatrixImpl {
  FwGrid   grid; /* borrowed */
  int      desc[DESC_SIZE];
  PetscInt m, n, m_local, n_local, block;
  double  *value; /* [n_local][m_local], column-major, leading dimension max(1, m_local) */
};

/* Make the local part of a matrix in blocks of BLOCK without touching it */
PetscErrorCode FwMatrixCreateUninitialised(FwGrid grid, PetscInt m, PetscInt n, FwMatrix *matrix);
