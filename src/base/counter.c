/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A shared counter, in an MPI window on rank 0.
 */

#include <finwidth/counter.h>

struct FwCounterImpl {
  MPI_Win   window;
  int      *count; /* on rank 0 */
  PetscInt  n_alone;
  PetscBool is_alone;
};

PetscErrorCode FwCounterCreate(MPI_Comm comm, FwCounter *counter)
{
  PetscMPIInt rank, n_rank;
  FwCounter   c;

  PetscFunctionBegin;
  PetscCall(PetscNew(&c));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  c->is_alone = n_rank == 1 ? PETSC_TRUE : PETSC_FALSE;
  *counter    = c;
  if (c->is_alone) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_allocate(rank == 0 ? sizeof(int) : 0, sizeof(int), MPI_INFO_NULL, comm, &c->count, &c->window));
  if (rank == 0) *c->count = 0;
  PetscCallMPI(MPI_Barrier(comm));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, c->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCounterNext(FwCounter counter, PetscInt *number)
{
  const int one = 1;
  int       drawn;

  PetscFunctionBegin;
  if (counter->is_alone) {
    *number = counter->n_alone++;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallMPI(MPI_Fetch_and_op(&one, &drawn, MPI_INT, 0, 0, MPI_SUM, counter->window));
  PetscCallMPI(MPI_Win_flush(0, counter->window));
  *number = drawn;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCounterDestroy(FwCounter *counter)
{
  PetscFunctionBegin;
  if (!*counter) PetscFunctionReturn(PETSC_SUCCESS);
  if (!(*counter)->is_alone) {
    PetscCallMPI(MPI_Win_unlock_all((*counter)->window));
    PetscCallMPI(MPI_Win_free(&(*counter)->window));
  }
  PetscCall(PetscFree(*counter));
  PetscFunctionReturn(PETSC_SUCCESS);
}
