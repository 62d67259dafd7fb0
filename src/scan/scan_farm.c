/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A farm: rank 0 keeps the counter of groups and the finished records, the other ranks, in sub-communicators, ask it for
 * the next group whenever they are idle.
 *
 * A server rather than a counter in an MPI window: the records must reach rank 0 as they are made, or a job that is
 * killed loses them, and Open MPI moves one-sided traffic between nodes only while the target is inside MPI, which a rank
 * that computes is not. One rank of many does not compute; it sleeps between requests.
 */

#include "scan_impl.h"

#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <time.h>

enum { TAG_ASK = 73, TAG_GROUP = 74, NO_GROUP = -1 };

/* What the first rank of a sub-communicator sends: it is followed by the records of the group before, if it had one */
typedef struct {
  int n_record, has_group, has_failed, is_stopping;
} Request;

/* --- rank 0 ------------------------------------------------------------------------------------------------- */

typedef struct {
  PetscInt       next, n_done, n_active;
  PetscBool      is_ending, is_stopping;
  PetscErrorCode code; /* of a checkpoint that could not be written: the farm ends in order, then it is passed on */
} Counter;

static PetscErrorCode Serve(FwScanWork *w, Counter *c, PetscMPIInt from)
{
  Request request;
  int     group;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(&request, (int)sizeof request, MPI_BYTE, from, TAG_ASK, PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  for (int i = 0; i < request.n_record; i++) PetscCall(FwScanReceiveRecord(w, from));
  c->n_done += request.has_group;
  if (request.has_failed) c->is_ending = PETSC_TRUE;
  if (request.is_stopping) c->is_stopping = PETSC_TRUE;
  group = c->is_ending || c->is_stopping || c->next >= w->n_group ? NO_GROUP : (int)c->next++;
  if (group == NO_GROUP) c->n_active--;
  PetscCallMPI(MPI_Send(&group, 1, MPI_INT, from, TAG_GROUP, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteIfDue(FwScanWork *w, Counter *c)
{
  PetscLogDouble now;
  PetscBool      is_asked, stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(PETSC_COMM_SELF, &stop));
  PetscCall(FwCheckpointRequested(PETSC_COMM_SELF, &is_asked));
  if (stop) c->is_stopping = PETSC_TRUE;
  PetscCall(PetscTime(&now));
  if (c->code || !(is_asked || now - w->last_checkpoint > w->plan->interval)) PetscFunctionReturn(PETSC_SUCCESS);
  c->code = FwScanWriteCheckpoint(w, PETSC_COMM_SELF);
  if (c->code) c->is_ending = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunServer(FwScanWork *w, FwProgress progress, Counter *c)
{
  const struct timespec pause = {.tv_nsec = 500000};

  PetscFunctionBegin;
  while (c->n_active) {
    MPI_Status status;
    int        is_there;

    PetscCallMPI(MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, PETSC_COMM_WORLD, &is_there, &status));
    if (!is_there) {
      (void)nanosleep(&pause, NULL);
    } else {
      PetscCall(Serve(w, c, status.MPI_SOURCE));
      PetscCall(FwProgressStep(progress, c->n_done));
    }
    PetscCall(WriteIfDue(w, c));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the others --------------------------------------------------------------------------------------------- */

/* Hand in the records of the last group, if there was one, and learn the next one */
static PetscErrorCode Ask(FwScanWork *w, PetscErrorCode code, PetscInt n, const PetscInt point[], FwRecord record[],
                          int *group)
{
  Request   request = {.n_record = (int)n, .has_group = *group != NO_GROUP, .has_failed = code != PETSC_SUCCESS};
  PetscBool stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(w->comm, &stop));
  request.is_stopping = stop;
  if (w->comm_rank == 0) {
    PetscCallMPI(MPI_Send(&request, (int)sizeof request, MPI_BYTE, 0, TAG_ASK, PETSC_COMM_WORLD));
    for (PetscInt i = 0; i < n; i++) PetscCall(FwScanSendRecord(point[i], record[i]));
    PetscCallMPI(MPI_Recv(group, 1, MPI_INT, 0, TAG_GROUP, PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  }
  for (PetscInt i = 0; i < n; i++) PetscCall(FwRecordDestroy(&record[i]));
  PetscCallMPI(MPI_Bcast(group, 1, MPI_INT, 0, w->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An error of one rank is that of its sub-communicator; it is returned in `code`, after the server has heard of it */
static PetscErrorCode RunWorker(FwScanWork *w, PetscErrorCode *code)
{
  PetscInt  n = 0, *point;
  FwRecord *record;
  int       group = NO_GROUP;

  PetscFunctionBegin;
  *code = PETSC_SUCCESS;
  PetscCall(PetscCalloc2(w->scan->n_point, &point, w->scan->n_point, &record));
  for (;;) {
    PetscCall(Ask(w, *code, n, point, record, &group));
    if (group == NO_GROUP) break;
    *code = FwErrorAgreeAny(w->comm, FwScanRunGroup(w, group, &n, point, record));
    if (*code)
      PetscCall(FwScanKeepFinished(FwExitOf(*code) == FW_EXIT_STOPPED ? PETSC_TRUE : PETSC_FALSE, &n, point, record));
  }
  PetscCall(PetscFree2(point, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- together ----------------------------------------------------------------------------------------------- */

PetscErrorCode FwScanRunFarm(FwScanWork *w)
{
  Counter        counter = {.n_active = w->n_comm};
  PetscErrorCode code    = PETSC_SUCCESS;
  FwProgress     progress;
  int            is_incomplete;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("scan", w->n_group, &progress));
  if (w->rank == 0)
    PetscCall(RunServer(w, progress, &counter));
  else if (!w->is_idle)
    PetscCall(RunWorker(w, &code));
  code = FwErrorAgreeAny(PETSC_COMM_WORLD, w->rank == 0 ? counter.code : code);
  if (code) PetscCall(FwScanKeepBeforeLeaving(w));
  PetscCall(code);
  PetscCall(FwProgressEnd(&progress));
  is_incomplete = counter.next < w->n_group;
  PetscCallMPI(MPI_Bcast(&is_incomplete, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  if (is_incomplete) {
    PetscCall(FwScanWriteCheckpoint(w, PETSC_COMM_WORLD));
    PetscCall(FwScanStopped(w));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
