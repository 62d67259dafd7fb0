/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gathering, all ranks together: what they have read to rank 0, and one record a point.
 */

#include "gather_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_SIZE = 81, TAG_BYTES = 82 };

/* Numbers agree to about 1e-12 on another number of ranks */
static const double tolerance = 1e-9;

/* --- bytes of any length to rank 0 -------------------------------------------------------------------------- */

static const size_t largest_message = (size_t)1 << 30;

static PetscErrorCode SendBytes(size_t n, const char bytes[])
{
  const PetscInt64 size = (PetscInt64)n;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Send(&size, 1, MPIU_INT64, 0, TAG_SIZE, PETSC_COMM_WORLD));
  for (size_t done = 0; done < n; done += largest_message)
    PetscCallMPI(
      MPI_Send(bytes + done, (int)PetscMin(largest_message, n - done), MPI_BYTE, 0, TAG_BYTES, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceiveBytes(PetscMPIInt from, size_t *n, char **bytes)
{
  PetscInt64 size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(&size, 1, MPIU_INT64, from, TAG_SIZE, PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  *n = (size_t)size;
  PetscCall(PetscMalloc1(*n + 1, bytes));
  for (size_t done = 0; done < *n; done += largest_message)
    PetscCallMPI(MPI_Recv(*bytes + done, (int)PetscMin(largest_message, *n - done), MPI_BYTE, from, TAG_BYTES,
                          PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- pieces -------------------------------------------------------------------------------------------------- */

static PetscErrorCode SendPiece(FwGatherPiece *piece)
{
  const PetscInt64 head[2] = {piece->point, piece->file};
  size_t           n;
  char            *bytes;

  PetscFunctionBegin;
  PetscCall(FwRecordPack(piece->record, &n, &bytes));
  PetscCallMPI(MPI_Send(head, 2, MPIU_INT64, 0, TAG_SIZE, PETSC_COMM_WORLD));
  PetscCall(SendBytes(n, bytes));
  PetscCall(PetscFree(bytes));
  PetscCall(FwRecordDestroy(&piece->record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceivePiece(PetscMPIInt from, FwGatherPiece *piece)
{
  PetscInt64 head[2];
  size_t     n;
  char      *bytes;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(head, 2, MPIU_INT64, from, TAG_SIZE, PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  PetscCall(ReceiveBytes(from, &n, &bytes));
  *piece = (FwGatherPiece){.point = (PetscInt)head[0], .file = (PetscInt)head[1]};
  PetscCall(FwRecordUnpack(n, bytes, &piece->record));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SendAll(FwGather g)
{
  const PetscInt64 count[2] = {g->n_piece, g->n_skip};
  size_t           n;
  char            *bytes;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Send(count, 2, MPIU_INT64, 0, TAG_SIZE, PETSC_COMM_WORLD));
  for (PetscInt i = 0; i < g->n_piece; i++) PetscCall(SendPiece(&g->piece[i]));
  PetscCall(SendBytes((size_t)g->n_skip * sizeof *g->skip, (const char *)g->skip));
  PetscCall(FwRecordPack(g->common, &n, &bytes));
  PetscCall(SendBytes(n, bytes));
  PetscCall(PetscFree(bytes));
  g->n_piece = g->n_skip = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceiveCommon(FwGather g, PetscMPIInt from)
{
  size_t   n;
  char    *bytes;
  FwRecord common;

  PetscFunctionBegin;
  PetscCall(ReceiveBytes(from, &n, &bytes));
  PetscCall(FwRecordUnpack(n, bytes, &common));
  PetscCall(PetscFree(bytes));
  PetscCall(FwRecordJoin(g->common, common, (const char *const *)g->file));
  PetscCall(FwRecordDestroy(&common));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceiveAll(FwGather g, PetscMPIInt from)
{
  PetscInt64 count[2];
  size_t     n;
  char      *skips;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(count, 2, MPIU_INT64, from, TAG_SIZE, PETSC_COMM_WORLD, MPI_STATUS_IGNORE));
  PetscCall(PetscRealloc((size_t)(g->n_piece + count[0] + 1) * sizeof *g->piece, &g->piece));
  for (PetscInt64 i = 0; i < count[0]; i++) PetscCall(ReceivePiece(from, &g->piece[g->n_piece++]));
  PetscCall(ReceiveBytes(from, &n, &skips));
  PetscCall(PetscRealloc((size_t)(g->n_skip + count[1] + 1) * sizeof *g->skip, &g->skip));
  memcpy(g->skip + g->n_skip, skips, n);
  g->n_skip += (PetscInt)count[1];
  PetscCall(PetscFree(skips));
  PetscCall(ReceiveCommon(g, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int CompareSkips(const void *a, const void *b)
{
  const FwGatherSkip *x = a, *y = b;

  return (x->file > y->file) - (x->file < y->file);
}

PetscErrorCode FwGatherCollect(FwGather g)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &g->mismatch, 1, MPIU_INT, MPI_MIN, PETSC_COMM_WORLD));
  if (g->rank) PetscCall(SendAll(g));
  for (PetscMPIInt r = 1; r < g->n_rank && g->rank == 0 && !code; r++) code = ReceiveAll(g, r);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  qsort(g->skip, (size_t)g->n_skip, sizeof *g->skip, CompareSkips);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one record a point -------------------------------------------------------------------------------------- */

static int ComparePieces(const void *a, const void *b)
{
  const FwGatherPiece *x = a, *y = b;

  if (x->point != y->point) return x->point < y->point ? -1 : 1;
  return (x->file > y->file) - (x->file < y->file);
}

/* Say where a point lies: "point 7 (temperature 0.1, network_width 50)" */
static void DescribePoint(FwScan scan, PetscInt point, size_t size, char text[])
{
  int n = snprintf(text, size, "point %" PetscInt_FMT, point);

  for (PetscInt d = 0; d < scan->n_axis && n < (int)size; d++) {
    const FwScanAxis *axis = &scan->axis[d];

    n += snprintf(text + n, size - (size_t)n, "%s%s %s", d ? ", " : " (", axis->key->name,
                  axis->text[FwScanPosition(scan, point, d)]);
  }
  if (scan->n_axis && n < (int)size) snprintf(text + n, size - (size_t)n, ")");
}

static PetscErrorCode CheckRepeated(FwGather g, const FwGatherPiece *kept, const FwGatherPiece *other,
                                    const char *const ignored[])
{
  char                 place[FW_GATHER_TEXT];
  FwRecordDifference   difference;
  const PetscErrorCode code = FwRecordCompare(kept->record, other->record, ignored, tolerance, &difference);

  PetscFunctionBegin;
  PetscCall(code);
  if (!difference.name) PetscFunctionReturn(PETSC_SUCCESS);
  DescribePoint(g->scan, kept->point, sizeof place, place);
  SETERRQ(PETSC_COMM_SELF, FW_ERR_INPUT,
          "'%s' and '%s' hold different numbers for %s: %s is %.17g and %.17g; remove the one that is wrong",
          g->file[kept->file], g->file[other->file], place, difference.name, difference.value[0], difference.value[1]);
}

static PetscErrorCode MergeOnRoot(FwGather g, const char *const ignored[])
{
  FwShape axes = {.n_dim = g->scan->n_axis};

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(g->scan->n_point, &g->point));
  qsort(g->piece, (size_t)g->n_piece, sizeof *g->piece, ComparePieces);
  for (PetscInt i = 0, kept = 0; i < g->n_piece; i++) {
    if (g->piece[i].point != g->piece[kept].point) kept = i;
    if (i > kept) PetscCall(CheckRepeated(g, &g->piece[kept], &g->piece[i], ignored));
    if (i > kept) g->n_repeated += i == kept + 1;
    if (i == kept) g->point[g->piece[i].point] = g->piece[i].record; /* borrowed */
  }
  for (PetscInt p = 0; p < g->scan->n_point; p++) g->n_missing += !g->point[p];
  for (PetscInt d = 0; d < axes.n_dim; d++) {
    axes.name[d] = g->scan->axis[d].key->name;
    axes.size[d] = g->scan->axis[d].n;
  }
  PetscCall(FwRecordStack(&axes, g->point, &g->all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherMerge(FwGather g, const char *const ignored[])
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt       count[3];

  PetscFunctionBegin;
  if (g->rank == 0) code = MergeOnRoot(g, ignored);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  count[0] = g->n_repeated;
  count[1] = g->n_missing;
  count[2] = g->n_skip;
  PetscCallMPI(MPI_Bcast(count, 3, MPIU_INT, 0, PETSC_COMM_WORLD));
  g->n_repeated = count[0];
  g->n_missing  = count[1];
  g->n_skip     = count[2];
  PetscFunctionReturn(PETSC_SUCCESS);
}
