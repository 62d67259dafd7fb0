/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Records of finished points: from one rank to another, and into the checkpoint and back.
 */

#include "scan_impl.h"

#include <finwidth/checkpoint.h>

#include <string.h>

/* --- records to rank 0 -------------------------------------------------------------------------------------- */

enum { TAG_HEAD = 71, TAG_BODY = 72 };

PetscErrorCode FwScanSendRecord(PetscInt point, FwRecord record)
{
  size_t     n;
  char      *bytes;
  PetscInt64 head[2];

  PetscFunctionBegin;
  PetscCall(FwRecordPack(record, &n, &bytes));
  PetscCheck(n < 2147483647, PETSC_COMM_SELF, FW_ERR_MEMORY, "the result of one point has more than 2 GiB");
  head[0] = point;
  head[1] = (PetscInt64)n;
  PetscCallMPI(MPI_Send(head, 2, MPIU_INT64, 0, TAG_HEAD, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Send(bytes, (int)n, MPI_BYTE, 0, TAG_BODY, PETSC_COMM_WORLD));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanReceiveRecord(FwScanWork *w, PetscMPIInt from)
{
  PetscInt64 head[2];
  char      *bytes;
  MPI_Status status;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(head, 2, MPIU_INT64, from, TAG_HEAD, PETSC_COMM_WORLD, &status));
  PetscCall(PetscMalloc1(head[1] + 1, &bytes));
  PetscCallMPI(MPI_Recv(bytes, (int)head[1], MPI_BYTE, status.MPI_SOURCE, TAG_BODY, PETSC_COMM_WORLD, &status));
  PetscCall(FwRecordUnpack((size_t)head[1], bytes, &w->record[head[0]]));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checkpoint --------------------------------------------------------------------------------------------- */

PetscErrorCode FwScanPack(PetscInt n_point, const PetscInt point[], FwRecord record[], size_t *n, char **bytes)
{
  size_t room = 0;

  PetscFunctionBegin;
  *n     = 0;
  *bytes = NULL;
  for (PetscInt p = 0; p < n_point; p++) {
    size_t     size;
    char      *packed;
    PetscInt64 head[2];

    if (!record[p]) continue;
    PetscCall(FwRecordPack(record[p], &size, &packed));
    head[0] = point ? point[p] : p;
    head[1] = (PetscInt64)size;
    if (*n + sizeof head + size > room) {
      room = 2 * (*n + sizeof head + size);
      PetscCall(PetscRealloc(room, bytes));
    }
    memcpy(*bytes + *n, head, sizeof head);
    memcpy(*bytes + *n + sizeof head, packed, size);
    *n += sizeof head + size;
    PetscCall(PetscFree(packed));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanUnpack(FwScanWork *w, size_t n, const char bytes[])
{
  PetscFunctionBegin;
  for (size_t at = 0; at < n;) {
    PetscInt64 head[2];

    PetscCheck(n - at >= sizeof head, PETSC_COMM_SELF, FW_ERR_FILE, "the checkpoint is cut off");
    memcpy(head, bytes + at, sizeof head);
    at += sizeof head;
    PetscCheck(head[0] >= 0 && head[0] < w->scan->n_point && head[1] >= 0 && (size_t)head[1] <= n - at, PETSC_COMM_SELF,
               FW_ERR_FILE, "the checkpoint is damaged");
    PetscCall(FwRecordDestroy(&w->record[head[0]])); /* a point of a group may be in the checkpoint as well */
    PetscCall(FwRecordUnpack((size_t)head[1], bytes + at, &w->record[head[0]]));
    at += (size_t)head[1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanWriteCheckpoint(FwScanWork *w, MPI_Comm comm)
{
  size_t n;
  char  *bytes;

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(comm, 0, FwScanPack(w->rank ? 0 : w->scan->n_point, NULL, w->record, &n, &bytes)));
  PetscCall(FwCheckpointWrite(comm, w->plan->checkpoint, w->plan->tag, n, bytes));
  PetscCall(PetscFree(bytes));
  if (w->rank == 0) PetscCall(FwScanRemoveParts(w));
  PetscCall(PetscTime(&w->last_checkpoint));
  w->is_owed = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanReadCheckpoint(FwScanWork *w, PetscBool is_done[])
{
  size_t n     = 0;
  char  *bytes = NULL;

  PetscFunctionBegin;
  if (w->plan->resume) {
    PetscCall(FwCheckpointRead(PETSC_COMM_WORLD, w->plan->checkpoint, w->plan->tag, &n, &bytes));
    PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, FwScanUnpack(w, n, bytes)));
    PetscCall(PetscFree(bytes));
  }
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, w->rank ? PETSC_SUCCESS : FwScanReadParts(w)));
  for (PetscInt p = 0; p < w->scan->n_point; p++) is_done[p] = w->rank == 0 && w->record[p] ? PETSC_TRUE : PETSC_FALSE;
  PetscCallMPI(MPI_Bcast(is_done, (int)w->scan->n_point, MPIU_BOOL, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}
