/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Transposes of block-cyclic matrices. Cost: the entries cross the ranks once.
 */

#include <finwidth/matrix.h>

/** Create the n x m transpose of an m x n matrix. Collective.
 * @error FW_ERR_MEMORY  as FwMatrixCreate() */
PetscErrorCode FwMatrixTranspose(FwMatrix a, FwMatrix *transpose);

/** Set what stands above the diagonal of a square matrix from what stands below it. Collective; takes room for one more
 *  such matrix while it runs.
 * @error FW_ERR_MEMORY  as FwMatrixCreate() */
PetscErrorCode FwMatrixSymmetrise(FwMatrix a);
