/** @file
 * A list of named arrays in memory.
 */

#include <finwidth/record.h>

#include <math.h>
#include <string.h>

enum { NAME_SIZE = 128 };

/* Everything of an array but its values: plain bytes, so that it can be sent and kept as it is */
typedef struct {
  char       name[NAME_SIZE], units[NAME_SIZE], long_name[2 * NAME_SIZE];
  char       axis[FW_STORE_MAX_DIM][NAME_SIZE];
  PetscInt64 size[FW_STORE_MAX_DIM];
  PetscInt64 n_dim, n;
  PetscInt64 type; /* FwStoreType */
} Header;

/* Values are eight bytes wide whatever their type */
typedef union {
  double     real;
  PetscInt64 integer;
} Value;

typedef struct Entry Entry;
struct Entry {
  Header header;
  Value *value; /* [n] */
  Entry *next;
};

struct FwRecordImpl {
  char   prefix[NAME_SIZE];
  Entry *first, **last;
};

PetscErrorCode FwRecordCreate(FwRecord *record)
{
  PetscFunctionBegin;
  PetscCall(PetscNew(record));
  (*record)->last = &(*record)->first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordSetPrefix(FwRecord record, const char path[])
{
  PetscFunctionBegin;
  PetscCall(PetscStrncpy(record->prefix, path, sizeof record->prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordDestroy(FwRecord *record)
{
  PetscFunctionBegin;
  if (!*record) PetscFunctionReturn(PETSC_SUCCESS);
  for (Entry *e = (*record)->first, *next; e; e = next) {
    next = e->next;
    PetscCall(PetscFree(e->value));
    PetscCall(PetscFree(e));
  }
  PetscCall(PetscFree(*record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- adding and finding ------------------------------------------------------------------------------------- */

/* An entry with room for its values, at the end of the list */
static PetscErrorCode Append(FwRecord record, const Header *header, Entry **entry)
{
  Entry *e;

  PetscFunctionBegin;
  PetscCall(PetscNew(&e));
  e->header   = *header;
  e->header.n = 1;
  for (PetscInt64 d = 0; d < header->n_dim; d++) e->header.n *= header->size[d];
  PetscCall(PetscMalloc1(e->header.n, &e->value));
  *record->last = e;
  record->last  = &e->next;
  *entry        = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Add(FwRecord record, const char name[], const FwShape *shape, FwStoreType type, const void *data,
                          const char units[], const char long_name[])
{
  Header header = {.n_dim = shape->n_dim, .type = type};
  Entry *entry;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(header.name, record->prefix, sizeof header.name));
  PetscCall(PetscStrlcat(header.name, name, sizeof header.name));
  PetscCall(PetscStrncpy(header.units, units, sizeof header.units));
  PetscCall(PetscStrncpy(header.long_name, long_name, sizeof header.long_name));
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    PetscCall(PetscStrncpy(header.axis[d], shape->name[d], NAME_SIZE));
    header.size[d] = shape->size[d];
  }
  PetscCall(Append(record, &header, &entry));
  memcpy(entry->value, data, (size_t)entry->header.n * sizeof *entry->value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordReals(FwRecord record, const char name[], const FwShape *shape, const double data[],
                             const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(Add(record, name, shape, FW_STORE_REAL, data, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordIntegers(FwRecord record, const char name[], const FwShape *shape, const PetscInt64 data[],
                                const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(Add(record, name, shape, FW_STORE_INTEGER, data, units, long_name));
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

static Entry *Find(FwRecord record, const char name[])
{
  for (Entry *e = record ? record->first : NULL; e; e = e->next)
    if (!strcmp(e->header.name, name)) return e;
  return NULL;
}

double FwRecordAt(FwRecord record, const char name[], PetscInt64 i)
{
  const Entry *e = Find(record, name);

  if (!e || i < 0 || i >= e->header.n) return NAN;
  return e->header.type == FW_STORE_REAL ? e->value[i].real : (double)e->value[i].integer;
}

PetscInt64 FwRecordIntegerAt(FwRecord record, const char name[], PetscInt64 i)
{
  const Entry *e = Find(record, name);

  return e && e->header.type == FW_STORE_INTEGER && i >= 0 && i < e->header.n ? e->value[i].integer : 0;
}

PetscErrorCode FwRecordGet(FwRecord record, const char name[], double *value)
{
  const Entry *e = Find(record, name);

  PetscFunctionBegin;
  *value = e && e->header.n == 1 ? FwRecordAt(record, name, 0) : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- into a file -------------------------------------------------------------------------------------------- */

static PetscErrorCode WriteEntry(const Header *header, const Value value[], FwStore store, const char group[])
{
  char    path[2 * NAME_SIZE];
  FwShape shape = {.n_dim = (PetscInt)header->n_dim};

  PetscFunctionBegin;
  if (header->name[0] == '/')
    PetscCall(PetscStrncpy(path, header->name, sizeof path));
  else
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, header->name));
  for (PetscInt d = 0; d < shape.n_dim; d++) {
    shape.name[d] = header->axis[d];
    shape.size[d] = header->size[d];
  }
  if (header->type == FW_STORE_REAL)
    PetscCall(FwStoreReals(store, path, &shape, (const double *)value, header->units, header->long_name));
  else
    PetscCall(FwStoreIntegers(store, path, &shape, (const PetscInt64 *)value, header->units, header->long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordWrite(FwRecord record, FwStore store, const char group[])
{
  const Entry *e = NULL;
  PetscMPIInt  rank;
  int          has_more;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) e = record->first;
  for (;;) {
    Header header;

    has_more = e != NULL;
    if (e) header = e->header;
    PetscCallMPI(MPI_Bcast(&has_more, 1, MPI_INT, 0, PETSC_COMM_WORLD));
    if (!has_more) break;
    PetscCallMPI(MPI_Bcast(&header, (int)sizeof header, MPI_BYTE, 0, PETSC_COMM_WORLD));
    PetscCall(WriteEntry(&header, e ? e->value : NULL, store, group));
    if (e) e = e->next;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- many points into one ----------------------------------------------------------------------------------- */

/* The array's own axes at their longest over all points, behind the scan's */
static void JoinHeaders(const FwShape *axes, PetscInt64 n_point, const FwRecord point[], const Entry *first,
                        Header *all)
{
  *all       = first->header;
  all->n_dim = axes->n_dim + first->header.n_dim;
  for (PetscInt d = 0; d < axes->n_dim; d++) {
    strncpy(all->axis[d], axes->name[d], NAME_SIZE - 1);
    all->size[d] = axes->size[d];
  }
  for (PetscInt64 d = 0; d < first->header.n_dim; d++) {
    memcpy(all->axis[axes->n_dim + d], first->header.axis[d], NAME_SIZE);
    all->size[axes->n_dim + d] = 0;
    for (PetscInt64 p = 0; p < n_point; p++) {
      const Entry *e = Find(point[p], first->header.name);

      if (e) all->size[axes->n_dim + d] = PetscMax(all->size[axes->n_dim + d], e->header.size[d]);
    }
  }
}

/* Copy a point's values to their place in a box of the longest sizes */
static void CopyIntoBox(const Entry *e, const PetscInt64 box[], Value out[])
{
  for (PetscInt64 i = 0; i < e->header.n; i++) {
    PetscInt64 rest = i, at = 0, stride = 1;

    for (PetscInt64 d = e->header.n_dim - 1; d >= 0; d--) {
      at += rest % e->header.size[d] * stride;
      rest /= e->header.size[d];
      stride *= box[d];
    }
    out[at] = e->value[i];
  }
}

static PetscErrorCode StackEntry(const FwShape *axes, PetscInt64 n_point, const FwRecord point[], const Entry *first,
                                 FwRecord all)
{
  Header     header;
  Entry     *stacked;
  PetscInt64 n_box;

  PetscFunctionBegin;
  PetscCheck(axes->n_dim + first->header.n_dim <= FW_STORE_MAX_DIM, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a scan of %" PetscInt_FMT " axes has more than a file's %d axes with those of '%s'", axes->n_dim,
             FW_STORE_MAX_DIM, first->header.name);
  JoinHeaders(axes, n_point, point, first, &header);
  PetscCall(Append(all, &header, &stacked));
  n_box = stacked->header.n / PetscMax(n_point, 1);
  for (PetscInt64 i = 0; i < stacked->header.n; i++) {
    if (header.type == FW_STORE_REAL)
      stacked->value[i].real = NAN;
    else
      stacked->value[i].integer = -1;
  }
  for (PetscInt64 p = 0; p < n_point; p++) {
    const Entry *e = Find(point[p], first->header.name);

    if (e) CopyIntoBox(e, header.size + axes->n_dim, stacked->value + p * n_box);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordStack(const FwShape *axes, const FwRecord point[], FwRecord *all)
{
  PetscInt64 n_point = 1;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < axes->n_dim; d++) n_point *= axes->size[d];
  PetscCall(FwRecordCreate(all));
  for (PetscInt64 p = 0; p < n_point; p++)
    for (const Entry *e = point[p] ? point[p]->first : NULL; e; e = e->next)
      if (!Find(*all, e->header.name)) PetscCall(StackEntry(axes, n_point, point, e, *all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- as bytes ----------------------------------------------------------------------------------------------- */

PetscErrorCode FwRecordPack(FwRecord record, size_t *n, char **bytes)
{
  char *end;

  PetscFunctionBegin;
  *n = 0;
  for (const Entry *e = record->first; e; e = e->next) *n += sizeof e->header + (size_t)e->header.n * sizeof(Value);
  PetscCall(PetscMalloc1(PetscMax(*n, 1), bytes));
  end = *bytes;
  for (const Entry *e = record->first; e; e = e->next) {
    memcpy(end, &e->header, sizeof e->header);
    end += sizeof e->header;
    memcpy(end, e->value, (size_t)e->header.n * sizeof(Value));
    end += (size_t)e->header.n * sizeof(Value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes are believed only as far as the bytes go */
static PetscBool IsSound(const Header *header, size_t n_left)
{
  PetscInt64 n = 1;

  if (header->n_dim < 0 || header->n_dim > FW_STORE_MAX_DIM || header->type > FW_STORE_INTEGER) return PETSC_FALSE;
  for (PetscInt64 d = 0; d < header->n_dim; d++) {
    if (header->size[d] < 0 || (size_t)header->size[d] > n_left) return PETSC_FALSE;
    n *= header->size[d];
    if ((size_t)n > n_left / sizeof(Value)) return PETSC_FALSE;
  }
  return (size_t)n <= n_left / sizeof(Value) ? PETSC_TRUE : PETSC_FALSE;
}

PetscErrorCode FwRecordUnpack(size_t n, const char bytes[], FwRecord *record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordCreate(record));
  for (size_t at = 0; at < n;) {
    Header header;
    Entry *entry;

    PetscCheck(n - at >= sizeof header, PETSC_COMM_SELF, FW_ERR_FILE, "a record is cut off");
    memcpy(&header, bytes + at, sizeof header);
    at += sizeof header;
    PetscCheck(IsSound(&header, n - at), PETSC_COMM_SELF, FW_ERR_FILE, "a record is damaged");
    PetscCall(Append(*record, &header, &entry));
    memcpy(entry->value, bytes + at, (size_t)entry->header.n * sizeof(Value));
    at += (size_t)entry->header.n * sizeof(Value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
