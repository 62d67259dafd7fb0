/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The finished points of groups that are still being computed: each group keeps its own, in a file beside the checkpoint
 * that is named by the group's first point. Its first rank writes it, which need not be rank 0 of the run; it is removed
 * when the checkpoint holds the group.
 */

#include "scan_impl.h"

#include <finwidth/checkpoint.h>
#include <finwidth/stop.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char part_name[] = ".group.";

static PetscErrorCode PartPath(const FwScanWork *w, PetscInt first, size_t size, char path[])
{
  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, size, "%s%s%" PetscInt_FMT, w->plan->checkpoint, part_name, first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- writing ------------------------------------------------------------------------------------------------- */

/* Whether the group has other points than these */
static PetscBool IsUnfinished(const FwScanWork *w, PetscInt n, PetscInt first)
{
  PetscInt n_group = 0;

  for (PetscInt p = first; p < w->scan->n_point; p++) n_group += w->group[p] == w->group[first];
  return n < n_group ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode IsDue(FwScanWork *w, MPI_Comm comm, PetscBool *is_due)
{
  PetscLogDouble now;
  PetscBool      is_asked;
  int            due;

  PetscFunctionBegin;
  PetscCall(FwCheckpointRequested(comm, &is_asked));
  if (is_asked) w->is_owed = PETSC_TRUE;
  PetscCall(PetscTime(&now));
  due = is_asked || now - w->last_kept > w->plan->interval;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, comm));
  *is_due = due ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanKeep(FwScan scan, MPI_Comm comm, PetscInt n, const PetscInt point[], FwRecord record[])
{
  FwScanWork *w      = scan->work;
  PetscBool   is_due = PETSC_FALSE;
  PetscMPIInt rank;
  char        path[PETSC_MAX_PATH_LEN], *bytes = NULL;
  size_t      size = 0;

  PetscFunctionBegin;
  if (!w || !IsUnfinished(w, n, point[0])) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(IsDue(w, comm, &is_due));
  if (!is_due) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwScanTakeWarnings(PETSC_TRUE, record[0]));
  PetscCall(PartPath(w, point[0], sizeof path, path));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : FwScanPack(n, point, record, &size, &bytes)));
  PetscCall(FwCheckpointWrite(comm, path, w->plan->tag, size, bytes));
  PetscCall(PetscFree(bytes));
  PetscCall(PetscTime(&w->last_kept));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reading and removing, on rank 0 ------------------------------------------------------------------------- */

static PetscErrorCode FindParts(FwScanWork *w)
{
  const char    *slash = strrchr(w->plan->checkpoint, '/'), *base = slash ? slash + 1 : w->plan->checkpoint;
  const size_t   n_base = strlen(base), n_name = strlen(part_name);
  char           folder[PETSC_MAX_PATH_LEN];
  DIR           *stream;
  struct dirent *entry;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(folder, sizeof folder, "%.*s.", (int)(base - w->plan->checkpoint), w->plan->checkpoint));
  stream = opendir(folder);
  while (stream && (entry = readdir(stream))) {
    const char *number = entry->d_name + n_base + n_name;
    long        p;

    if (strncmp(entry->d_name, base, n_base) || strncmp(entry->d_name + n_base, part_name, n_name)) continue;
    p = strtol(number, NULL, 10);
    if (p >= 0 && p < w->scan->n_point) w->has_part[p] = PETSC_TRUE;
  }
  if (stream) closedir(stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPart(FwScanWork *w, PetscInt first)
{
  char   path[PETSC_MAX_PATH_LEN], *bytes;
  size_t n;

  PetscFunctionBegin;
  PetscCall(PartPath(w, first, sizeof path, path));
  PetscCall(FwCheckpointRead(PETSC_COMM_SELF, path, w->plan->tag, &n, &bytes));
  PetscCall(FwScanUnpack(w, n, bytes));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RemovePart(FwScanWork *w, PetscInt first)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(PartPath(w, first, sizeof path, path));
  PetscCall(FwCheckpointRemove(PETSC_COMM_SELF, path));
  w->has_part[first] = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanReadParts(FwScanWork *w)
{
  PetscFunctionBegin;
  PetscCall(FindParts(w));
  for (PetscInt p = 0; p < w->scan->n_point; p++)
    if (w->has_part[p]) PetscCall(w->plan->resume ? ReadPart(w, p) : RemovePart(w, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanRemoveParts(FwScanWork *w)
{
  PetscFunctionBegin;
  for (PetscInt p = 0; p < w->scan->n_point; p++)
    if (w->has_part[p] && w->record[p]) PetscCall(RemovePart(w, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}
