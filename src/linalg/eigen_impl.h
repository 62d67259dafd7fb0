/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Solvers for all eigenvectors of a block-cyclic matrix that is spread over several ranks.
 */

#include <finwidth/transpose.h>

#include "spectrum_impl.h"

/* Whether ELPA was found when this was built */
extern const PetscBool fw_has_elpa;

/* Eigenvalues, ascending, and eigenvectors z of a, which is destroyed. Collective. FW_ERR_INPUT without ELPA */
PetscErrorCode FwEigenByElpa(FwMatrix a, double value[], FwMatrix z);
