/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Newton's method for a few unknowns, the same on every rank.
 */

#include <finwidth/base.h>
#include <petscsnes.h>

typedef PetscErrorCode FwNewtonResidual(SNES, Vec, Vec, void *);
typedef PetscErrorCode FwNewtonMatrix(SNES, Vec, Mat, Mat, void *);

/** A solver of `n` equations with a dense matrix, factored at every step; tolerances and options are the caller's to set.
 *
 * Not collective; collective where the residual is.
 * @param[in] matrix  NULL: by differences of the residual
 */
PetscErrorCode FwNewtonCreate(PetscInt n, FwNewtonResidual *residual, FwNewtonMatrix *matrix, void *context,
                              SNES *snes);
