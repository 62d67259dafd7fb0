/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A list of named arrays in memory.
 */

#include <finwidth/record.h>

#include <math.h>
#include <string.h>

/* The fixed part of an array. Its texts stand one after the other, each with its NUL: name, units, long name, axes. */
typedef struct {
  PetscInt64 type; /* FwStoreType */
  PetscInt64 n_dim, n, n_text;
  PetscInt64 source;
} Head;

enum { NAME, UNITS, LONG_NAME, AXES, PREFIX_SIZE = 128 };

/* Values are eight bytes wide whatever their type */
typedef union {
  double     real;
  PetscInt64 integer;
} Value;

typedef struct Entry Entry;
struct Entry {
  Head        head;
  PetscInt64 *size;  /* [n_dim] */
  char       *text;  /* [n_text] */
  Value      *value; /* [n] */
  Entry      *next;
};

struct FwRecordImpl {
  char       prefix[PREFIX_SIZE];
  PetscInt64 source;
  char      *warnings; /* joined by newlines; NULL for none */
  Entry     *first, **last;
};

/* PETSc gives NULL for no bytes, which memcpy() must not be given */
static void Copy(void *to, const void *from, size_t n)
{
  if (n) memcpy(to, from, n);
}

/* The k-th text of an array */
static const char *TextOf(const Entry *e, PetscInt64 k)
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
  return record->first ? PETSC_FALSE : PETSC_TRUE;
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
  for (Entry *e = (*record)->first, *next; e; e = next) {
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
    Copy(record->warnings + old, line, n);
    record->warnings[old + n] = '\0';
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *FwRecordWarnings(FwRecord record)
{
  return record && record->warnings ? record->warnings : "";
}

/* --- adding and finding ------------------------------------------------------------------------------------- */

/* An entry with room for what it holds, at the end of the list */
static PetscErrorCode Append(FwRecord record, const Head *head, Entry **entry)
{
  Entry *e;

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

  Copy(end, text, n);
  return end + n;
}

static PetscErrorCode Add(FwRecord record, const char name[], const FwShape *shape, FwStoreType type, const void *data,
                          const char units[], const char long_name[])
{
  const size_t n_prefix = strlen(record->prefix);
  Head         head     = {.type = type, .n_dim = shape->n_dim, .n = 1, .source = record->source};
  Entry       *e;
  char        *end;

  PetscFunctionBegin;
  head.n_text = (PetscInt64)(n_prefix + strlen(name) + strlen(units) + strlen(long_name) + 3);
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    head.n *= shape->size[d];
    head.n_text += (PetscInt64)strlen(shape->name[d]) + 1;
  }
  PetscCall(Append(record, &head, &e));
  Copy(e->text, record->prefix, n_prefix);
  end = AddText(AddText(AddText(e->text + n_prefix, name), units), long_name);
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    end        = AddText(end, shape->name[d]);
    e->size[d] = shape->size[d];
  }
  Copy(e->value, data, (size_t)head.n * sizeof *e->value);
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
    if (!strcmp(e->text, name)) return e;
  return NULL;
}

double FwRecordAt(FwRecord record, const char name[], PetscInt64 i)
{
  const Entry *e = Find(record, name);

  if (!e || i < 0 || i >= e->head.n) return NAN;
  return e->head.type == FW_STORE_REAL ? e->value[i].real : (double)e->value[i].integer;
}

double FwRecordPointMean(FwRecord record, const char name[], PetscInt64 n_point, PetscInt64 point)
{
  const Entry     *e      = Find(record, name);
  const PetscInt64 n_each = e ? e->head.n / n_point : 0;
  double           sum    = 0.0;

  for (PetscInt64 i = 0; i < n_each; i++) sum += FwRecordAt(record, name, point * n_each + i);
  return n_each ? sum / (double)n_each : NAN;
}

PetscInt64 FwRecordIntegerAt(FwRecord record, const char name[], PetscInt64 i)
{
  const Entry *e = Find(record, name);

  return e && e->head.type == FW_STORE_INTEGER && i >= 0 && i < e->head.n ? e->value[i].integer : 0;
}

PetscErrorCode FwRecordGet(FwRecord record, const char name[], double *value)
{
  const Entry *e = Find(record, name);

  PetscFunctionBegin;
  *value = e && e->head.n == 1 ? FwRecordAt(record, name, 0) : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- into a file -------------------------------------------------------------------------------------------- */

static PetscErrorCode WriteEntry(const Entry *e, FwStore store, const char group[])
{
  char        path[PETSC_MAX_PATH_LEN];
  const char *name = TextOf(e, NAME), *units = TextOf(e, UNITS), *long_name = TextOf(e, LONG_NAME);
  FwShape     shape = {.n_dim = (PetscInt)e->head.n_dim};

  PetscFunctionBegin;
  if (name[0] == '/')
    PetscCall(PetscStrncpy(path, name, sizeof path));
  else
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, name));
  for (PetscInt d = 0; d < shape.n_dim; d++) {
    shape.name[d] = TextOf(e, AXES + d);
    shape.size[d] = e->size[d];
  }
  if (e->head.type == FW_STORE_REAL)
    PetscCall(FwStoreReals(store, path, &shape, (const double *)e->value, units, long_name));
  else
    PetscCall(FwStoreIntegers(store, path, &shape, (const PetscInt64 *)e->value, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank describes the array to the store; rank 0 alone has its values */
static PetscErrorCode WriteFromRoot(const Entry *mine, FwStore store, const char group[])
{
  Entry e = {0};

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
  const Entry *e = NULL;
  PetscMPIInt  rank;

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

/* --- many points into one ----------------------------------------------------------------------------------- */

/* Copy a point's values to their place in a box of the longest sizes; axes that the point lacks are at their first place */
static void CopyIntoBox(const Entry *e, PetscInt64 n_dim, const PetscInt64 box[], Value out[])
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
static const Entry *Deepest(PetscInt64 n_point, Entry *const found[])
{
  const Entry *deepest = NULL;

  for (PetscInt64 p = 0; p < n_point; p++)
    if (found[p] && (!deepest || found[p]->head.n_dim > deepest->head.n_dim)) deepest = found[p];
  return deepest;
}

/* Axes of the array over all points: the scan's, and behind them its own at their longest. `found` has the array of each
   point, or NULL. */
static PetscErrorCode JoinShapes(const FwShape *axes, PetscInt64 n_point, Entry *const found[], const Entry *first,
                                 FwShape *shape)
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
    shape->name[shape->n_dim]   = TextOf(first, AXES + d);
    shape->size[shape->n_dim++] = longest;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StackEntry(const FwShape *axes, PetscInt64 n_point, Entry *const found[], const Entry *first,
                                 FwRecord all)
{
  FwShape    shape;
  Value     *value;
  PetscInt64 n_box = 1;

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
  PetscCall(Add(all, first->text, &shape, (FwStoreType)first->head.type, value, TextOf(first, UNITS),
                TextOf(first, LONG_NAME)));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordStack(const FwShape *axes, const FwRecord point[], FwRecord *all)
{
  PetscInt64 n_point = 1;
  Entry    **found;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < axes->n_dim; d++) n_point *= axes->size[d];
  PetscCall(FwRecordCreate(all));
  PetscCall(PetscMalloc1(n_point, &found));
  for (PetscInt64 p = 0; p < n_point; p++)
    for (const Entry *e = point[p] ? point[p]->first : NULL; e; e = e->next) {
      if (Find(*all, e->text)) continue;
      for (PetscInt64 q = 0; q < n_point; q++) found[q] = Find(point[q], e->text);
      PetscCall(StackEntry(axes, n_point, found, Deepest(n_point, found), *all));
    }
  PetscCall(PetscFree(found));
  for (PetscInt64 p = 0; p < n_point; p++) PetscCall(FwRecordWarn(*all, FwRecordWarnings(point[p])));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- comparing ---------------------------------------------------------------------------------------------- */

static double NumberAt(const Entry *e, PetscInt64 i)
{
  return e->head.type == FW_STORE_REAL ? e->value[i].real : (double)e->value[i].integer;
}

static double Largest(const Entry *e)
{
  double largest = 0.0;

  for (PetscInt64 i = 0; i < e->head.n; i++)
    if (fabs(NumberAt(e, i)) > largest) largest = fabs(NumberAt(e, i));
  return largest;
}

/* What stands in `e`, which may be NULL, at the place of entry i of `box`; padding outside */
static double NumberBehind(const Entry *e, const Entry *box, PetscInt64 i)
{
  PetscInt64 at = 0, stride = 1;

  for (PetscInt64 d = box->head.n_dim - 1; d >= 0 && e; d--) {
    const PetscInt64 place = i % box->size[d];

    if (place >= e->size[d]) e = NULL;
    if (e) at += place * stride;
    if (e) stride *= e->size[d];
    i /= box->size[d];
  }
  return e ? NumberAt(e, at) : box->head.type == FW_STORE_REAL ? NAN : -1.0;
}

/* Every number of `a` against that of `b` */
static PetscBool FindDifference(const Entry *a, const Entry *b, double tolerance, double value[2])
{
  const double scale = a->head.type == FW_STORE_REAL ? tolerance * Largest(a) : 0.0;

  if (b && (b->head.n_dim != a->head.n_dim || b->head.type != a->head.type)) b = NULL;
  for (PetscInt64 i = 0; i < a->head.n; i++) {
    value[0] = NumberAt(a, i);
    value[1] = NumberBehind(b, a, i);
    if (!(isnan(value[0]) && isnan(value[1])) && value[0] != value[1] && !(fabs(value[0] - value[1]) <= scale))
      return PETSC_TRUE;
    if (a->head.type == FW_STORE_INTEGER && b && value[0] == value[1] && a->head.n == b->head.n &&
        a->value[i].integer != b->value[i].integer)
      return PETSC_TRUE; /* more digits than a double has */
  }
  return PETSC_FALSE;
}

/* By the last part of the path, or by its end: "*_z_score" */
static PetscBool IsIgnored(const char path[], const char *const ignored[])
{
  const char  *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  const size_t n = strlen(name);

  for (; *ignored; ignored++) {
    const char  *word   = *ignored + (**ignored == '*');
    const size_t n_word = strlen(word);

    if (n_word <= n && !strcmp(word, **ignored == '*' ? name + n - n_word : name)) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

PetscErrorCode FwRecordCompare(FwRecord a, FwRecord b, const char *const ignored[], double tolerance,
                               FwRecordDifference *difference)
{
  const FwRecord record[2] = {a, b};

  PetscFunctionBegin;
  *difference = (FwRecordDifference){0};
  for (int k = 0; k < 2; k++)
    for (const Entry *e = record[k]->first; e; e = e->next) {
      double value[2];

      if (IsIgnored(e->text, ignored) || !FindDifference(e, Find(record[1 - k], e->text), tolerance, value)) continue;
      *difference = (FwRecordDifference){
        .name = e->text, .value = {value[k], value[1 - k]}
      };
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsBeginning(const Entry *shorter, const Entry *longer)
{
  if (shorter->head.n_dim != longer->head.n_dim || shorter->head.type != longer->head.type) return PETSC_FALSE;
  for (PetscInt64 d = 0; d < shorter->head.n_dim; d++)
    if (shorter->size[d] != longer->size[d] && shorter->head.n_dim > 1) return PETSC_FALSE;
  return !shorter->head.n || !memcmp(shorter->value, longer->value, (size_t)shorter->head.n * sizeof(Value))
           ? PETSC_TRUE
           : PETSC_FALSE;
}

static PetscErrorCode JoinEntry(FwRecord record, const Entry *other, const char *const source[])
{
  Entry *mine = Find(record, other->text);

  PetscFunctionBegin;
  if (!mine) {
    PetscCall(Append(record, &other->head, &mine));
    Copy(mine->text, other->text, (size_t)other->head.n_text);
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
  Copy(mine->size, other->size, (size_t)other->head.n_dim * sizeof *mine->size);
  Copy(mine->value, other->value, (size_t)other->head.n * sizeof *mine->value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRecordJoin(FwRecord record, FwRecord other, const char *const source[])
{
  PetscFunctionBegin;
  for (const Entry *e = other->first; e; e = e->next) PetscCall(JoinEntry(record, e, source));
  PetscCall(FwRecordWarn(record, FwRecordWarnings(other)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- as bytes ----------------------------------------------------------------------------------------------- */

static size_t PackedSize(const Head *head)
{
  return sizeof *head + (size_t)(head->n_dim + head->n) * sizeof(Value) + (size_t)head->n_text;
}

static char *Put(char *end, const void *data, size_t n)
{
  Copy(end, data, n);
  return end + n;
}

PetscErrorCode FwRecordPack(FwRecord record, size_t *n, char **bytes)
{
  const char      *warnings = FwRecordWarnings(record);
  const PetscInt64 n_text   = (PetscInt64)strlen(warnings) + 1;
  char            *end;

  PetscFunctionBegin;
  *n = sizeof n_text + (size_t)n_text;
  for (const Entry *e = record->first; e; e = e->next) *n += PackedSize(&e->head);
  PetscCall(PetscMalloc1(*n, bytes));
  end = Put(*bytes, &n_text, sizeof n_text);
  end = Put(end, warnings, (size_t)n_text);
  for (const Entry *e = record->first; e; e = e->next) {
    end = Put(end, &e->head, sizeof e->head);
    end = Put(end, e->size, (size_t)e->head.n_dim * sizeof *e->size);
    end = Put(end, e->text, (size_t)e->head.n_text);
    end = Put(end, e->value, (size_t)e->head.n * sizeof(Value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lengths are believed only as far as the bytes go */
static PetscBool IsSoundHead(const Head *head, size_t n_left)
{
  if (head->n_dim < 0 || head->n_dim > FW_STORE_MAX_DIM || head->n < 0 || head->n_text < 0) return PETSC_FALSE;
  if (head->type != FW_STORE_REAL && head->type != FW_STORE_INTEGER) return PETSC_FALSE;
  if ((size_t)head->n > n_left / sizeof(Value) || (size_t)head->n_text > n_left) return PETSC_FALSE;
  return PackedSize(head) <= n_left ? PETSC_TRUE : PETSC_FALSE;
}

/* As many texts as there should be, and sizes that multiply to the number of values */
static PetscBool IsSoundEntry(const Entry *e)
{
  PetscInt64 n_text = 0, n = 1;

  for (PetscInt64 i = 0; i < e->head.n_text; i++) n_text += !e->text[i];
  if (n_text != AXES + e->head.n_dim || e->text[e->head.n_text - 1]) return PETSC_FALSE;
  for (PetscInt64 d = 0; d < e->head.n_dim; d++) {
    if (e->size[d] < 0 || (e->size[d] && n > e->head.n / e->size[d])) return PETSC_FALSE;
    n *= e->size[d];
  }
  return n == e->head.n ? PETSC_TRUE : PETSC_FALSE;
}

static const char *Get(const char *from, void *data, size_t n)
{
  Copy(data, from, n);
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
    Head   head;
    Entry *e;

    PetscCheck((size_t)(end - at) >= sizeof head, PETSC_COMM_SELF, FW_ERR_FILE, "a record is cut off");
    Copy(&head, at, sizeof head);
    PetscCheck(IsSoundHead(&head, (size_t)(end - at)), PETSC_COMM_SELF, FW_ERR_FILE, "a record is damaged");
    at += sizeof head;
    PetscCall(Append(*record, &head, &e));
    at = Get(at, e->size, (size_t)head.n_dim * sizeof *e->size);
    at = Get(at, e->text, (size_t)head.n_text);
    at = Get(at, e->value, (size_t)head.n * sizeof(Value));
    PetscCheck(IsSoundEntry(e), PETSC_COMM_SELF, FW_ERR_FILE, "a record is damaged");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
