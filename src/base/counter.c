/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The shared counter: messages to rank 0 and back.
 */

#include <finwidth/counter.h>

#include <time.h>

enum { TAG_ASK = 1, TAG_ANSWER = 2 };

/* What a rank has to say to rank 0 */
enum { ASK, LEAVE, FAIL };

struct FwCounterImpl {
  MPI_Comm    comm;
  PetscMPIInt rank;
  PetscInt    next, n;   /* of rank 0 */
  PetscMPIInt n_present; /* of rank 0: the others that have not left */
};

PetscErrorCode FwCounterCreate(MPI_Comm comm, PetscInt n, FwCounter *counter)
{
  FwCounter made;

  PetscFunctionBegin;
  PetscCall(PetscNew(&made));
  made->n = n;
  PetscCallMPI(MPI_Comm_dup(comm, &made->comm));
  PetscCallMPI(MPI_Comm_rank(made->comm, &made->rank));
  PetscCallMPI(MPI_Comm_size(made->comm, &made->n_present));
  made->n_present--;
  *counter = made;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Take(FwCounter counter)
{
  return counter->next < counter->n ? counter->next++ : -1;
}

static PetscErrorCode Answer(FwCounter counter, PetscMPIInt from)
{
  int         word;
  PetscMPIInt number;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(&word, 1, MPI_INT, from, TAG_ASK, counter->comm, MPI_STATUS_IGNORE));
  if (word == FAIL) counter->next = counter->n;
  if (word != ASK) {
    counter->n_present--;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  number = (PetscMPIInt)Take(counter);
  PetscCallMPI(MPI_Send(&number, 1, MPI_INT, from, TAG_ANSWER, counter->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether anybody was answered */
static PetscErrorCode AnswerAll(FwCounter counter, PetscBool *any)
{
  MPI_Status status;
  int        is_there = 1;

  PetscFunctionBegin;
  *any = PETSC_FALSE;
  while (is_there && counter->n_present > 0) {
    PetscCallMPI(MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, counter->comm, &is_there, &status));
    if (!is_there) break;
    *any = PETSC_TRUE;
    PetscCall(Answer(counter, status.MPI_SOURCE));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCounterLook(FwCounter counter)
{
  PetscBool any;

  PetscFunctionBegin;
  if (counter->rank == 0) PetscCall(AnswerAll(counter, &any));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCounterNext(FwCounter counter, PetscInt *number)
{
  const int   word = ASK;
  PetscMPIInt given;

  PetscFunctionBegin;
  if (counter->rank == 0) {
    PetscCall(FwCounterLook(counter));
    *number = Take(counter);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallMPI(MPI_Send(&word, 1, MPI_INT, 0, TAG_ASK, counter->comm));
  PetscCallMPI(MPI_Recv(&given, 1, MPI_INT, 0, TAG_ANSWER, counter->comm, MPI_STATUS_IGNORE));
  *number = given;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Asleep between looks: the others may need the processor */
static PetscErrorCode AnswerUntilAllLeft(FwCounter counter)
{
  const struct timespec pause = {.tv_nsec = 500000};
  PetscBool             any;

  PetscFunctionBegin;
  while (counter->n_present > 0) {
    PetscCall(AnswerAll(counter, &any));
    if (!any) (void)nanosleep(&pause, NULL);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCounterEnd(FwCounter *counter, PetscBool has_failed)
{
  FwCounter c    = *counter;
  const int word = has_failed ? FAIL : LEAVE;

  PetscFunctionBegin;
  if (c->rank == 0) {
    if (has_failed) c->next = c->n;
    PetscCall(AnswerUntilAllLeft(c));
  } else {
    PetscCallMPI(MPI_Send(&word, 1, MPI_INT, 0, TAG_ASK, c->comm));
  }
  PetscCallMPI(MPI_Comm_free(&c->comm));
  PetscCall(PetscFree(*counter));
  PetscFunctionReturn(PETSC_SUCCESS);
}
