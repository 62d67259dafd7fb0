/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A list of named arrays in memory: filled, read out, and written into a file.
 */

#include "record_impl.h"

#include <math.h>
#include <string.h>

const char *FwRecordTextOf(const FwRecordEntry *e, PetscInt64 k)
{
  const char *text = e->text;

  while (k-- > 0) text += strlen(text) + 1;
  return text;
}

PetscErrorCode FwRecordCreate(FwRecord *record)
{
  PetscFunctionBegin;
  PetscCall(PetscNew(record));
  (*record)->last = &(*record)->first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwRecordIsEmpty(FwRecord record)
{
  return record && record->first ? PETSC_FALSE : PETSC_TRUE;
}

PetscErrorCode FwRecordSetPrefix(FwRecord record, const char path[])
{
  PetscFunctionBegin;
  PetscCall(PetscStrncpy(record->prefix, path, sizeof record->prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordSetSource(FwRecord record, PetscInt64 source)
{
  PetscFunctionBegin;
  record->source = source;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordDestroy(FwRecord *record)
{
  PetscFunctionBegin;
  if (!*record) PetscFunctionReturn(PETSC_SUCCESS);
  for (FwRecordEntry *e = (*record)->first, *next; e; e = next) {
    next = e->next;
    PetscCall(PetscFree2(e->size, e->text));
    PetscCall(PetscFree(e->value));
    PetscCall(PetscFree(e));
  }
  PetscCall(PetscFree((*record)->warnings));
  PetscCall(PetscFree(*record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- warnings ----------------------------------------------------------------------------------------------- */

PetscErrorCode FwRecordWarn(FwRecord record, const char lines[])
{
  PetscFunctionBegin;
  for (const char *line = lines; *line; line += strcspn(line, "\n"), line += *line ? 1 : 0) {
    const size_t n   = strcspn(line, "\n");
    size_t       old = record->warnings ? strlen(record->warnings) : 0;

    if (!n || FwHasLine(record->warnings, n, line)) continue;
    PetscCall(PetscRealloc(old + n + 2, &record->warnings));
    if (old) record->warnings[old++] = '\n';
    memcpy(record->warnings + old, line, n);
    record->warnings[old + n] = '\0';
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *FwRecordWarnings(FwRecord record)
{
  return record && record->warnings ? record->warnings : "";
}

/* --- adding and finding ------------------------------------------------------------------------------------- */

PetscErrorCode FwRecordAppend(FwRecord record, const FwRecordHead *head, FwRecordEntry **entry)
{
  FwRecordEntry *e;

  PetscFunctionBegin;
  PetscCall(PetscNew(&e));
  e->head = *head;
  PetscCall(PetscMalloc2(head->n_dim, &e->size, head->n_text, &e->text));
  PetscCall(PetscMalloc1(head->n, &e->value));
  *record->last = e;
  record->last  = &e->next;
  *entry        = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static char *AddText(char *end, const char text[])
{
  const size_t n = strlen(text) + 1;

  memcpy(end, text, n);
  return end + n;
}

PetscErrorCode FwRecordAdd(FwRecord record, const char name[], const FwShape *shape, FwStoreType type, const void *data,
                           const char units[], const char long_name[])
{
  const size_t   n_prefix = strlen(record->prefix);
  FwRecordHead   head     = {.type = type, .n_dim = shape->n_dim, .n = 1, .source = record->source};
  FwRecordEntry *e;
  char          *end;

  PetscFunctionBegin;
  head.n_text = (PetscInt64)(n_prefix + strlen(name) + strlen(units) + strlen(long_name) + 3);
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    head.n *= shape->size[d];
    head.n_text += (PetscInt64)strlen(shape->name[d]) + 1;
  }
  PetscCall(FwRecordAppend(record, &head, &e));
  memcpy(e->text, record->prefix, n_prefix);
  end = AddText(AddText(AddText(e->text + n_prefix, name), units), long_name);
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    end        = AddText(end, shape->name[d]);
    e->size[d] = shape->size[d];
  }
  PetscCall(PetscArraycpy(e->value, (const FwRecordValue *)data, head.n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordReals(FwRecord record, const char name[], const FwShape *shape, const double data[],
                             const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(FwRecordAdd(record, name, shape, FW_STORE_REAL, data, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordIntegers(FwRecord record, const char name[], const FwShape *shape, const PetscInt64 data[],
                                const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(FwRecordAdd(record, name, shape, FW_STORE_INTEGER, data, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordReal(FwRecord record, const char name[], double value, const char units[],
                            const char long_name[])
{
  const FwShape scalar = {0};

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, name, &scalar, &value, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordInteger(FwRecord record, const char name[], PetscInt64 value, const char units[],
                               const char long_name[])
{
  const FwShape scalar = {0};

  PetscFunctionBegin;
  PetscCall(FwRecordIntegers(record, name, &scalar, &value, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwRecordEntry *FwRecordFind(FwRecord record, const char name[])
{
  for (FwRecordEntry *e = record ? record->first : NULL; e; e = e->next)
    if (!strcmp(e->text, name)) return e;
  return NULL;
}

double FwRecordNumberAt(const FwRecordEntry *e, PetscInt64 i)
{
  return e->head.type == FW_STORE_REAL ? e->value[i].real : (double)e->value[i].integer;
}

double FwRecordAt(FwRecord record, const char name[], PetscInt64 i)
{
  const FwRecordEntry *e = FwRecordFind(record, name);

  return e && i >= 0 && i < e->head.n ? FwRecordNumberAt(e, i) : NAN;
}

double FwRecordPointMean(FwRecord record, const char name[], PetscInt64 n_point, PetscInt64 point)
{
  const FwRecordEntry *e      = FwRecordFind(record, name);
  const PetscInt64     n_each = e ? e->head.n / n_point : 0;
  double               sum    = 0.0;

  for (PetscInt64 i = 0; i < n_each; i++) sum += FwRecordAt(record, name, point * n_each + i);
  return n_each ? sum / (double)n_each : NAN;
}

PetscInt64 FwRecordIntegerAt(FwRecord record, const char name[], PetscInt64 i)
{
  const FwRecordEntry *e = FwRecordFind(record, name);

  return e && e->head.type == FW_STORE_INTEGER && i >= 0 && i < e->head.n ? e->value[i].integer : 0;
}

/* --- into a file -------------------------------------------------------------------------------------------- */

static PetscErrorCode WriteEntry(const FwRecordEntry *e, FwStore store, const char group[])
{
  char        path[PETSC_MAX_PATH_LEN];
  const char *name = FwRecordTextOf(e, FW_RECORD_NAME), *units = FwRecordTextOf(e, FW_RECORD_UNITS),
             *long_name = FwRecordTextOf(e, FW_RECORD_LONG_NAME);
  FwShape shape         = {.n_dim = (PetscInt)e->head.n_dim};

  PetscFunctionBegin;
  if (name[0] == '/')
    PetscCall(PetscStrncpy(path, name, sizeof path));
  else
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, name));
  for (PetscInt d = 0; d < shape.n_dim; d++) {
    shape.name[d] = FwRecordTextOf(e, FW_RECORD_AXES + d);
    shape.size[d] = e->size[d];
  }
  if (e->head.type == FW_STORE_REAL)
    PetscCall(FwStoreReals(store, path, &shape, (const double *)e->value, units, long_name));
  else
    PetscCall(FwStoreIntegers(store, path, &shape, (const PetscInt64 *)e->value, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank describes the array to the store; rank 0 alone has its values */
static PetscErrorCode WriteFromRoot(const FwRecordEntry *mine, FwStore store, const char group[])
{
  FwRecordEntry e = {0};

  PetscFunctionBegin;
  if (mine) e = *mine;
  PetscCallMPI(MPI_Bcast(&e.head, (int)sizeof e.head, MPI_BYTE, 0, PETSC_COMM_WORLD));
  if (!mine) PetscCall(PetscMalloc2(e.head.n_dim, &e.size, e.head.n_text, &e.text));
  PetscCallMPI(MPI_Bcast(e.size, (int)e.head.n_dim, MPIU_INT64, 0, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Bcast(e.text, (int)e.head.n_text, MPI_CHAR, 0, PETSC_COMM_WORLD));
  PetscCall(WriteEntry(&e, store, group));
  if (!mine) PetscCall(PetscFree2(e.size, e.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordWrite(FwRecord record, FwStore store, const char group[])
{
  const FwRecordEntry *e = NULL;
  PetscMPIInt          rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) e = record->first;
  for (;;) {
    int has_more = e != NULL;

    PetscCallMPI(MPI_Bcast(&has_more, 1, MPI_INT, 0, PETSC_COMM_WORLD));
    if (!has_more) break;
    PetscCall(WriteFromRoot(e, store, group));
    if (e) e = e->next;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
