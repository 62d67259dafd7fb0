/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A record as bytes, and back.
 */

#include "record_impl.h"

#include <string.h>

static size_t PackedSize(const FwRecordHead *head)
{
  return sizeof *head + (size_t)(head->n_dim + head->n) * sizeof(FwRecordValue) + (size_t)head->n_text;
}

/* PETSc gives NULL for no bytes, which memcpy() must not be given */
static char *Put(char *end, const void *data, size_t n)
{
  if (n) memcpy(end, data, n);
  return end + n;
}

PetscErrorCode FwRecordPack(FwRecord record, size_t *n, char **bytes)
{
  const char      *warnings = FwRecordWarnings(record);
  const PetscInt64 n_text   = (PetscInt64)strlen(warnings) + 1;
  char            *end;

  PetscFunctionBegin;
  *n = sizeof n_text + (size_t)n_text;
  for (const FwRecordEntry *e = record->first; e; e = e->next) *n += PackedSize(&e->head);
  PetscCall(PetscMalloc1(*n, bytes));
  end = Put(*bytes, &n_text, sizeof n_text);
  end = Put(end, warnings, (size_t)n_text);
  for (const FwRecordEntry *e = record->first; e; e = e->next) {
    end = Put(end, &e->head, sizeof e->head);
    end = Put(end, e->size, (size_t)e->head.n_dim * sizeof *e->size);
    end = Put(end, e->text, (size_t)e->head.n_text);
    end = Put(end, e->value, (size_t)e->head.n * sizeof(FwRecordValue));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lengths are believed only as far as the bytes go */
static PetscBool IsSoundHead(const FwRecordHead *head, size_t n_left)
{
  if (head->n_dim < 0 || head->n_dim > FW_STORE_MAX_DIM || head->n < 0 || head->n_text < 0) return PETSC_FALSE;
  if (head->type != FW_STORE_REAL && head->type != FW_STORE_INTEGER) return PETSC_FALSE;
  if ((size_t)head->n > n_left / sizeof(FwRecordValue) || (size_t)head->n_text > n_left) return PETSC_FALSE;
  return PackedSize(head) <= n_left ? PETSC_TRUE : PETSC_FALSE;
}

/* As many texts as there should be, and sizes that multiply to the number of values */
static PetscBool IsSoundEntry(const FwRecordEntry *e)
{
  PetscInt64 n_text = 0, n = 1;

  for (PetscInt64 i = 0; i < e->head.n_text; i++) n_text += !e->text[i];
  if (n_text != FW_RECORD_AXES + e->head.n_dim || e->text[e->head.n_text - 1]) return PETSC_FALSE;
  for (PetscInt64 d = 0; d < e->head.n_dim; d++) {
    if (e->size[d] < 0 || (e->size[d] && n > e->head.n / e->size[d])) return PETSC_FALSE;
    n *= e->size[d];
  }
  return n == e->head.n ? PETSC_TRUE : PETSC_FALSE;
}

static const char *Get(const char *from, void *data, size_t n)
{
  if (n) memcpy(data, from, n);
  return from + n;
}

/* The warnings stand in front */
static PetscErrorCode UnpackWarnings(size_t n, const char bytes[], FwRecord record, const char **rest)
{
  PetscInt64 n_text;

  PetscFunctionBegin;
  PetscCheck(n >= sizeof n_text, PETSC_COMM_SELF, FW_ERR_FILE, "a record is cut off");
  bytes = Get(bytes, &n_text, sizeof n_text);
  PetscCheck(n_text > 0 && (size_t)n_text <= n - sizeof n_text && !bytes[n_text - 1], PETSC_COMM_SELF, FW_ERR_FILE,
             "a record is damaged");
  PetscCall(FwRecordWarn(record, bytes));
  *rest = bytes + n_text;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordUnpack(size_t n, const char bytes[], FwRecord *record)
{
  const char *at = bytes, *end = bytes + n;

  PetscFunctionBegin;
  PetscCall(FwRecordCreate(record));
  PetscCall(UnpackWarnings(n, bytes, *record, &at));
  while (at < end) {
    FwRecordHead   head;
    FwRecordEntry *e;

    PetscCheck((size_t)(end - at) >= sizeof head, PETSC_COMM_SELF, FW_ERR_FILE, "a record is cut off");
    memcpy(&head, at, sizeof head);
    PetscCheck(IsSoundHead(&head, (size_t)(end - at)), PETSC_COMM_SELF, FW_ERR_FILE, "a record is damaged");
    at += sizeof head;
    PetscCall(FwRecordAppend(*record, &head, &e));
    at = Get(at, e->size, (size_t)head.n_dim * sizeof *e->size);
    at = Get(at, e->text, (size_t)head.n_text);
    at = Get(at, e->value, (size_t)head.n * sizeof(FwRecordValue));
    PetscCheck(IsSoundEntry(e), PETSC_COMM_SELF, FW_ERR_FILE, "a record is damaged");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
