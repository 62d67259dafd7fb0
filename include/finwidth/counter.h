/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A counter shared by ranks: each number of 0 .. n - 1 goes to whoever asks first, so that those who are done early do more.
 *
 * Rank 0 keeps it and works as well: it answers when it looks, which it has to do often. A counter in an MPI window would
 * not need that, but Open MPI 4.1 cannot always make windows in two communicators at once, nor does it serve them between
 * nodes while their owner computes.
 */

#include <finwidth/base.h>

typedef struct FwCounterImpl *FwCounter;

/** Collective on `comm`, which is duplicated; release with FwCounterEnd(). */
PetscErrorCode FwCounterCreate(MPI_Comm comm, PetscInt n, FwCounter *counter);

/** The next number, or -1 where there are no more. Not collective: a rank other than 0 waits until rank 0 looks. */
PetscErrorCode FwCounterNext(FwCounter counter, PetscInt *number);

/** Rank 0 answers those who wait; others return at once. */
PetscErrorCode FwCounterLook(FwCounter counter);

/** Wait until all ranks have come here; rank 0 answers meanwhile. Then release and set the handle to NULL. Collective.
 * @param[in] has_failed  on any rank: the others get no more numbers */
PetscErrorCode FwCounterEnd(FwCounter *counter, PetscBool has_failed);
