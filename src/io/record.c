/** @file
 * A list of named arrays in memory.
 */

#include <finwidth/record.h>

enum { NAME_SIZE = 128 };

typedef struct Entry Entry;
struct Entry {
  char        name[NAME_SIZE], units[NAME_SIZE], long_name[2 * NAME_SIZE];
  char        axis[FW_STORE_MAX_DIM][NAME_SIZE];
  FwShape     shape;
  FwStoreType type;
  double     *real;
  PetscInt64 *integer;
  Entry      *next;
};

struct FwRecordImpl {
  Entry *first, **last;
};

PetscErrorCode FwRecordCreate(FwRecord *record)
{
  PetscFunctionBegin;
  PetscCall(PetscNew(record));
  (*record)->last = &(*record)->first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t CountOf(const FwShape *shape)
{
  size_t n = 1;

  for (PetscInt d = 0; d < shape->n_dim; d++) n *= (size_t)shape->size[d];
  return n;
}

static PetscErrorCode AddEntry(FwRecord record, const char name[], const FwShape *shape, const char units[],
                               const char long_name[], Entry **entry)
{
  Entry *e;

  PetscFunctionBegin;
  PetscCall(PetscNew(&e));
  PetscCall(PetscStrncpy(e->name, name, sizeof e->name));
  PetscCall(PetscStrncpy(e->units, units, sizeof e->units));
  PetscCall(PetscStrncpy(e->long_name, long_name, sizeof e->long_name));
  e->shape = *shape;
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    PetscCall(PetscStrncpy(e->axis[d], shape->name[d], NAME_SIZE));
    e->shape.name[d] = e->axis[d];
  }
  *record->last = e;
  record->last  = &e->next;
  *entry        = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordReals(FwRecord record, const char name[], const FwShape *shape, const double data[],
                             const char units[], const char long_name[])
{
  Entry *entry;

  PetscFunctionBegin;
  PetscCall(AddEntry(record, name, shape, units, long_name, &entry));
  entry->type = FW_STORE_REAL;
  PetscCall(PetscMalloc1(CountOf(shape), &entry->real));
  PetscCall(PetscArraycpy(entry->real, data, CountOf(shape)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordIntegers(FwRecord record, const char name[], const FwShape *shape, const PetscInt64 data[],
                                const char units[], const char long_name[])
{
  Entry *entry;

  PetscFunctionBegin;
  PetscCall(AddEntry(record, name, shape, units, long_name, &entry));
  entry->type = FW_STORE_INTEGER;
  PetscCall(PetscMalloc1(CountOf(shape), &entry->integer));
  PetscCall(PetscArraycpy(entry->integer, data, CountOf(shape)));
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

PetscErrorCode FwRecordWrite(FwRecord record, FwStore store, const char group[])
{
  PetscFunctionBegin;
  for (const Entry *e = record->first; e; e = e->next) {
    char path[2 * NAME_SIZE];

    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, e->name));
    if (e->type == FW_STORE_REAL)
      PetscCall(FwStoreReals(store, path, &e->shape, e->real, e->units, e->long_name));
    else
      PetscCall(FwStoreIntegers(store, path, &e->shape, e->integer, e->units, e->long_name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordDestroy(FwRecord *record)
{
  PetscFunctionBegin;
  if (!*record) PetscFunctionReturn(PETSC_SUCCESS);
  for (Entry *e = (*record)->first, *next; e; e = next) {
    next = e->next;
    PetscCall(PetscFree(e->real));
    PetscCall(PetscFree(e->integer));
    PetscCall(PetscFree(e));
  }
  PetscCall(PetscFree(*record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
