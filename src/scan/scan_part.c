/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A part of a grid: the points that `scan_index` names.
 */

#include "scan_impl.h"

#include <stdio.h>
#include <string.h>

/* --- the list of points ------------------------------------------------------------------------------------- */

/* 7, or 0-9, or 0-90:10 */
static PetscErrorCode ParseWord(const char word[], PetscInt n_point, long range[3])
{
  int n = 0, n_read;

  PetscFunctionBegin;
  range[2] = 1;
  n_read   = sscanf(word, "%ld%n-%ld%n:%ld%n", &range[0], &n, &range[1], &n, &range[2], &n);
  if (n_read == 1) range[1] = range[0];
  PetscCheck(n_read >= 1 && !word[n] && range[0] >= 0 && range[0] <= range[1] && range[1] < n_point && range[2] > 0,
             PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'scan_index' is '%s', want points or ranges such as 7, 0-9 or 0-90:10, from 0 to %" PetscInt_FMT,
             word, n_point - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRange(const long range[3], PetscInt n_point, PetscInt *room, FwScanPart *part)
{
  PetscFunctionBegin;
  for (long p = range[0]; p <= range[1]; p += range[2]) {
    if (part->n_point == *room) {
      PetscCheck(*room < 2 * n_point + 64, PETSC_COMM_WORLD, FW_ERR_INPUT,
                 "key 'scan_index' names points more than twice");
      *room = 2 * *room + 16;
      PetscCall(PetscRealloc((size_t)*room * sizeof *part->point, &part->point));
    }
    part->point[part->n_point++] = (PetscInt)p;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoints(const char index[], PetscInt n_point, FwScanPart *part)
{
  char    *copy, *word;
  PetscInt room = 0;

  PetscFunctionBegin;
  PetscCall(PetscStrallocpy(index, &copy));
  word = copy;
  while (word) {
    char *comma = strchr(word, ',');
    long  range[3];

    if (comma) *comma = '\0';
    PetscCall(ParseWord(word, n_point, range));
    PetscCall(AddRange(range, n_point, &room, part));
    word = comma ? comma + 1 : NULL;
  }
  PetscCall(PetscFree(copy));
  PetscCall(PetscSortRemoveDupsInt(&part->n_point, part->point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Last of the points that go in equal steps from point i: two of them only where they are neighbours */
static PetscInt FindLast(PetscInt n, const PetscInt point[], PetscInt i, PetscInt *step)
{
  PetscInt last = i;

  *step = i + 1 < n ? point[i + 1] - point[i] : 0;
  while (last + 1 < n && point[last + 1] - point[last] == *step) last++;
  return last - i < 2 && *step != 1 ? i : last;
}

PetscErrorCode FwScanPrintIndex(PetscInt n, const PetscInt point[], size_t size, char text[], PetscBool *fits)
{
  size_t used = 0;

  PetscFunctionBegin;
  text[0] = '\0';
  *fits   = PETSC_TRUE;
  for (PetscInt i = 0, step; i < n && *fits; i++) {
    const PetscInt last = FindLast(n, point, i, &step);
    char           word[96];
    int            length = snprintf(word, sizeof word, "%s%" PetscInt_FMT, i ? "," : "", point[i]);

    if (last > i) length += snprintf(word + length, sizeof word - (size_t)length, "-%" PetscInt_FMT, point[last]);
    if (last > i && step > 1) length += snprintf(word + length, sizeof word - (size_t)length, ":%" PetscInt_FMT, step);
    *fits = used + (size_t)length < size ? PETSC_TRUE : PETSC_FALSE;
    if (*fits) strcpy(text + used, word);
    used += (size_t)length;
    i = last;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- its grid ----------------------------------------------------------------------------------------------- */

PetscErrorCode FwScanPartCreate(FwScan scan, const char index[], FwScanPart *part)
{
  PetscFunctionBegin;
  *part = (FwScanPart){.n_axis = scan->n_axis};
  PetscCall(ReadPoints(index, scan->n_point, part));
  for (PetscInt d = 0; d < scan->n_axis; d++) {
    PetscCall(PetscMalloc1(part->n_point, &part->kept[d]));
    part->n_kept[d] = part->n_point;
    for (PetscInt i = 0; i < part->n_point; i++) part->kept[d][i] = FwScanPosition(scan, part->point[i], d);
    PetscCall(PetscSortRemoveDupsInt(&part->n_kept[d], part->kept[d]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanPartDestroy(FwScanPart *part)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(part->point));
  for (PetscInt d = 0; d < part->n_axis; d++) PetscCall(PetscFree(part->kept[d]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanPartPlace(FwScan scan, const FwScanPart *part, PetscInt point, PetscInt *place)
{
  PetscFunctionBegin;
  *place = 0;
  for (PetscInt d = 0; d < scan->n_axis; d++) {
    PetscInt at;

    PetscCall(PetscFindInt(FwScanPosition(scan, point, d), part->n_kept[d], part->kept[d], &at));
    PetscAssert(at >= 0, PETSC_COMM_SELF, PETSC_ERR_PLIB, "point %" PetscInt_FMT " is not in the part", point);
    *place = *place * part->n_kept[d] + at;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KeepPositions(FwScanAxis *axis, PetscInt n, const PetscInt kept[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0, next = 0; i < axis->n; i++) {
    if (next < n && kept[next] == i) {
      axis->text[next]    = axis->text[i];
      axis->value[next++] = axis->value[i];
    } else {
      PetscCall(PetscFree(axis->text[i]));
    }
  }
  axis->n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanKeepPart(FwScan scan, const FwScanPart *part)
{
  PetscInt n_point = 1, place;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < scan->n_axis; d++) n_point *= part->n_kept[d];
  PetscCall(PetscCalloc1(n_point, &scan->is_chosen));
  for (PetscInt i = 0; i < part->n_point; i++) {
    PetscCall(FwScanPartPlace(scan, part, part->point[i], &place));
    scan->is_chosen[place] = PETSC_TRUE;
  }
  for (PetscInt d = 0; d < scan->n_axis; d++) PetscCall(KeepPositions(&scan->axis[d], part->n_kept[d], part->kept[d]));
  scan->n_point = n_point;
  PetscFunctionReturn(PETSC_SUCCESS);
}
