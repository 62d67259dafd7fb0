/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A counter that the ranks of a communicator share: whoever is idle draws the next number, so that pieces of work of
 * unequal cost are spread evenly.
 */

#include <finwidth/base.h>

typedef struct FwCounterImpl *FwCounter;

/** A counter at 0. Collective on `comm`; release with FwCounterDestroy(). */
PetscErrorCode FwCounterCreate(MPI_Comm comm, FwCounter *counter);

/** Draw the next number: 0, 1, 2, ..., each once. Not collective. */
PetscErrorCode FwCounterNext(FwCounter counter, PetscInt *number);

/** Release and set the handle to NULL. Collective. */
PetscErrorCode FwCounterDestroy(FwCounter *counter);
