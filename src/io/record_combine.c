/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Several records into one: the points of a scan side by side, or the arrays of one added to those of another.
 */

#include "record_impl.h"

#include <math.h>
#include <string.h>

/* --- many points into one ----------------------------------------------------------------------------------- */

/* Copy a point's values to their place in a box of the longest sizes; axes that the point lacks are at their first place */
static void CopyIntoBox(const FwRecordEntry *e, PetscInt64 n_dim, const PetscInt64 box[], FwRecordValue out[])
{
  PetscInt64 last = 1;

  for (PetscInt64 d = e->head.n_dim; d < n_dim; d++) last *= box[d];
  for (PetscInt64 i = 0; i < e->head.n; i++) {
    PetscInt64 rest = i, at = 0, stride = last;

    for (PetscInt64 d = e->head.n_dim - 1; d >= 0; d--) {
      at += rest % e->size[d] * stride;
      rest /= e->size[d];
      stride *= box[d];
    }
    out[at] = e->value[i];
  }
}

/* The array with the most axes */
static const FwRecordEntry *Deepest(PetscInt64 n_point, FwRecordEntry *const found[])
{
  const FwRecordEntry *deepest = NULL;

  for (PetscInt64 p = 0; p < n_point; p++)
    if (found[p] && (!deepest || found[p]->head.n_dim > deepest->head.n_dim)) deepest = found[p];
  return deepest;
}

/* Axes of the array over all points: the scan's, and behind them its own at their longest. `found` has the array of each
   point, or NULL. */
static PetscErrorCode JoinShapes(const FwShape *axes, PetscInt64 n_point, FwRecordEntry *const found[],
                                 const FwRecordEntry *first, FwShape *shape)
{
  PetscFunctionBegin;
  PetscCheck(axes->n_dim + first->head.n_dim <= FW_STORE_MAX_DIM, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a scan of %" PetscInt_FMT " axes has more than a file's %d axes with those of '%s'", axes->n_dim,
             FW_STORE_MAX_DIM, first->text);
  *shape = *axes;
  for (PetscInt64 d = 0; d < first->head.n_dim; d++) {
    PetscInt64 longest = 0;

    for (PetscInt64 p = 0; p < n_point; p++)
      if (found[p]) {
        PetscCheck(found[p]->head.type == first->head.type, PETSC_COMM_SELF, FW_ERR_FILE,
                   "the points of the scan differ in the kind of their '%s'", first->text);
        if (d < found[p]->head.n_dim) longest = PetscMax(longest, found[p]->size[d]);
      }
    shape->name[shape->n_dim]   = FwRecordTextOf(first, FW_RECORD_AXES + d);
    shape->size[shape->n_dim++] = longest;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StackEntry(const FwShape *axes, PetscInt64 n_point, FwRecordEntry *const found[],
                                 const FwRecordEntry *first, FwRecord all)
{
  FwShape        shape;
  FwRecordValue *value;
  PetscInt64     n_box = 1;

  PetscFunctionBegin;
  PetscCall(JoinShapes(axes, n_point, found, first, &shape));
  for (PetscInt d = axes->n_dim; d < shape.n_dim; d++) n_box *= shape.size[d];
  PetscCall(PetscMalloc1(n_point * n_box, &value));
  for (PetscInt64 i = 0; i < n_point * n_box; i++) {
    if (first->head.type == FW_STORE_REAL)
      value[i].real = NAN;
    else
      value[i].integer = -1;
  }
  for (PetscInt64 p = 0; p < n_point; p++)
    if (found[p]) CopyIntoBox(found[p], shape.n_dim - axes->n_dim, shape.size + axes->n_dim, value + p * n_box);
  PetscCall(FwRecordAdd(all, first->text, &shape, (FwStoreType)first->head.type, value,
                        FwRecordTextOf(first, FW_RECORD_UNITS), FwRecordTextOf(first, FW_RECORD_LONG_NAME)));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordStack(const FwShape *axes, const FwRecord point[], FwRecord *all)
{
  PetscInt64      n_point = 1;
  FwRecordEntry **found;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < axes->n_dim; d++) n_point *= axes->size[d];
  PetscCall(FwRecordCreate(all));
  PetscCall(PetscMalloc1(n_point, &found));
  for (PetscInt64 p = 0; p < n_point; p++)
    for (const FwRecordEntry *e = point[p] ? point[p]->first : NULL; e; e = e->next) {
      if (FwRecordFind(*all, e->text)) continue;
      for (PetscInt64 q = 0; q < n_point; q++) found[q] = FwRecordFind(point[q], e->text);
      PetscCall(StackEntry(axes, n_point, found, Deepest(n_point, found), *all));
    }
  PetscCall(PetscFree(found));
  for (PetscInt64 p = 0; p < n_point; p++) PetscCall(FwRecordWarn(*all, FwRecordWarnings(point[p])));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one record added to another ------------------------------------------------------------------------------ */

static PetscBool IsBeginning(const FwRecordEntry *shorter, const FwRecordEntry *longer)
{
  if (shorter->head.n_dim != longer->head.n_dim || shorter->head.type != longer->head.type) return PETSC_FALSE;
  for (PetscInt64 d = 0; d < shorter->head.n_dim; d++)
    if (shorter->size[d] != longer->size[d] && shorter->head.n_dim > 1) return PETSC_FALSE;
  return !shorter->head.n || !memcmp(shorter->value, longer->value, (size_t)shorter->head.n * sizeof(FwRecordValue))
           ? PETSC_TRUE
           : PETSC_FALSE;
}

static PetscErrorCode JoinEntry(FwRecord record, const FwRecordEntry *other, const char *const source[])
{
  FwRecordEntry *mine = FwRecordFind(record, other->text);

  PetscFunctionBegin;
  if (!mine) {
    PetscCall(FwRecordAppend(record, &other->head, &mine));
    PetscCall(PetscArraycpy(mine->text, other->text, other->head.n_text));
  } else {
    const PetscBool is_longer = other->head.n > mine->head.n ? PETSC_TRUE : PETSC_FALSE;

    PetscCheck(is_longer ? IsBeginning(mine, other) : IsBeginning(other, mine), PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s' and '%s' differ in array '%s', which does not depend on the point", source[mine->head.source],
               source[other->head.source], other->text);
    if (!is_longer) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(PetscFree(mine->value));
    PetscCall(PetscMalloc1(other->head.n, &mine->value));
    mine->head.n      = other->head.n;
    mine->head.source = other->head.source;
  }
  PetscCall(PetscArraycpy(mine->size, other->size, other->head.n_dim));
  PetscCall(PetscArraycpy(mine->value, other->value, other->head.n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordJoin(FwRecord record, FwRecord other, const char *const source[])
{
  PetscFunctionBegin;
  for (const FwRecordEntry *e = other->first; e; e = e->next) PetscCall(JoinEntry(record, e, source));
  PetscCall(FwRecordWarn(record, FwRecordWarnings(other)));
  PetscFunctionReturn(PETSC_SUCCESS);
}
