/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Between slabs, where rank r has the columns r * block and up to `block` of them, whole, and blocks.
 */

#include "matrix_impl.h"

/* Move all entries of a matrix. This rank's slab is column-major with the leading dimension `leading` >= m. Collective;
   16 MiB of memory, or one column of a slab where that is more */
PetscErrorCode FwSlabsMove(PetscBool to_blocks, FwMatrix blocks, PetscInt block, double *slab, PetscInt leading);
