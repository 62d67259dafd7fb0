/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gathering, on one rank: what one file holds.
 */

#include "gather_impl.h"

#include <stdlib.h>
#include <string.h>

/* --- head --------------------------------------------------------------------------------------------------- */

static PetscErrorCode ReadVersion(FwStore store, char **version)
{
  char  *number, *commit;
  size_t size;

  PetscFunctionBegin;
  PetscCall(FwStoreGetText(store, "/", "program_version", &number));
  PetscCall(FwStoreGetText(store, "/", "commit", &commit));
  size = strlen(number) + strlen(commit) + 16;
  PetscCall(PetscMalloc1(size, version));
  PetscCall(PetscSNPrintf(*version, size, "%s, commit %s", number, commit));
  PetscCall(PetscFree(number));
  PetscCall(PetscFree(commit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInput(FwStore store, char **input)
{
  char *resolved;

  PetscFunctionBegin;
  PetscCall(FwStoreGetText(store, "/", "input", &resolved));
  PetscCall(FwOptionsWhat(resolved, PETSC_TRUE, input));
  PetscCall(PetscFree(resolved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first array of a scan is one of its axes, in the group of its command */
static PetscErrorCode ReadCommand(FwStore store, char **command)
{
  PetscInt n;
  char   **path;

  PetscFunctionBegin;
  PetscCall(FwStoreGetArrays(store, &n, &path));
  PetscCheck(n && strchr(path[0] + 1, '/'), PETSC_COMM_SELF, FW_ERR_FILE, "it holds no group of results");
  PetscCall(PetscStrallocpy(path[0] + 1, command));
  *strchr(*command, '/') = '\0';
  PetscCall(PetscFree(path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherReadHead(const char path[], char **command, char **input, char **version)
{
  FwStore        store;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwStoreOpen(PETSC_COMM_SELF, path, &store));
  code = ReadInput(store, input);
  if (!code) code = ReadVersion(store, version);
  if (!code) code = ReadCommand(store, command);
  PetscCall(FwStoreDestroy(&store));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- kinds of arrays ---------------------------------------------------------------------------------------- */

PetscBool FwGatherIsScanAxis(FwScan scan, const char name[])
{
  for (PetscInt d = 0; d < scan->n_axis; d++)
    if (!strcmp(scan->axis[d].key->name, name)) return PETSC_TRUE;
  return PETSC_FALSE;
}

static void Classify(FwScan scan, FwGatherKind *kind)
{
  const char *name = strrchr(kind->path, '/') + 1;

  const PetscBool is_scale = kind->n_dim == 1 && !strcmp(kind->axis[0], name) ? PETSC_TRUE : PETSC_FALSE;

  kind->is_axis  = is_scale && FwGatherIsScanAxis(scan, name) ? PETSC_TRUE : PETSC_FALSE;
  kind->is_point = !is_scale && kind->n_dim >= scan->n_axis && kind->type != FW_STORE_TEXT ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt d = 0; d < scan->n_axis && kind->is_point; d++)
    if (strcmp(kind->axis[d], scan->axis[d].key->name)) kind->is_point = PETSC_FALSE;
}

static PetscErrorCode FindKind(FwGather g, FwStore store, const char path[], FwGatherKind **kind)
{
  FwGatherKind **last = &g->kind, *k;

  PetscFunctionBegin;
  for (k = g->kind; k; last = &k->next, k = k->next)
    if (!strcmp(k->path, path)) {
      *kind = k;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  PetscCall(PetscNew(&k));
  PetscCall(PetscStrallocpy(path, &k->path));
  *last = *kind = k; /* whatever happens now, the list owns it */
  PetscCall(FwStoreGetText(store, path, "units", &k->units));
  PetscCall(FwStoreGetText(store, path, "long_name", &k->long_name));
  PetscCall(FwStoreGetType(store, path, &k->type));
  PetscCall(FwStoreGetAxes(store, path, &k->n_dim, k->axis));
  Classify(g->scan, k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- points ------------------------------------------------------------------------------------------------- */

/* The points that a file says it has: a part where its input has scan_index, otherwise all */
static PetscErrorCode ReadPart(FwGather g, FwStore store, FwScanPart *part)
{
  static const char key[] = "\nscan_index: ";
  char             *resolved, *index, all[32];

  PetscFunctionBegin;
  PetscCall(FwStoreGetText(store, "/", "input", &resolved));
  index = strstr(resolved, key);
  if (index) {
    index += sizeof key - 1;
    index[strcspn(index, "\n")] = '\0';
    if (*index == '\'') {
      index++;
      index[strcspn(index, "'")] = '\0';
    }
  } else {
    PetscCall(PetscSNPrintf(all, sizeof all, "0-%" PetscInt_FMT, g->scan->n_point - 1));
    index = all;
  }
  PetscCall(FwScanPartCreate(g->scan, index, part));
  PetscCall(PetscFree(resolved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values of one array of a file; integers and doubles have eight bytes each */
typedef struct {
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n;
  void      *data;
} Values;

static PetscErrorCode ReadValues(FwStore store, const FwGatherKind *kind, Values *v)
{
  PetscFunctionBegin;
  *v = (Values){0};
  if (kind->type == FW_STORE_REAL)
    PetscCall(FwStoreGetReals(store, kind->path, &v->n_dim, v->size, &v->n, (double **)&v->data));
  else
    PetscCall(FwStoreGetIntegers(store, kind->path, &v->n_dim, v->size, &v->n, (PetscInt64 **)&v->data));
  PetscCheck(v->n_dim == kind->n_dim, PETSC_COMM_SELF, FW_ERR_FILE, "array '%s' has another number of axes",
             kind->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The array's own axes, behind the first `n_front` */
static FwShape ShapeBehind(const FwGatherKind *kind, const Values *v, PetscInt n_front, PetscInt64 *n)
{
  FwShape shape = {.n_dim = v->n_dim - n_front};

  *n = 1;
  for (PetscInt d = 0; d < shape.n_dim; d++) {
    shape.name[d] = kind->axis[n_front + d];
    shape.size[d] = v->size[n_front + d];
    *n *= shape.size[d];
  }
  return shape;
}

static PetscErrorCode AddArray(FwRecord record, const char name[], const FwGatherKind *kind, const FwShape *shape,
                               const void *data)
{
  PetscFunctionBegin;
  if (kind->type == FW_STORE_REAL)
    PetscCall(FwRecordReals(record, name, shape, (const double *)data, kind->units, kind->long_name));
  else
    PetscCall(FwRecordIntegers(record, name, shape, (const PetscInt64 *)data, kind->units, kind->long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrays of the command's own group have plain names in a record, those of others their paths */
static const char *NameOf(FwGather g, const FwGatherKind *kind)
{
  const size_t n = strlen(g->command);

  return !strncmp(kind->path + 1, g->command, n) && kind->path[1 + n] == '/' ? kind->path + n + 2 : kind->path;
}

/* Hand the values of each point of the file to its record */
static PetscErrorCode SplitArray(FwGather g, const FwScanPart *part, const FwGatherKind *kind, const Values *v,
                                 FwRecord record[])
{
  PetscInt64 n_each;
  FwShape    shape = ShapeBehind(kind, v, g->scan->n_axis, &n_each);

  PetscFunctionBegin;
  for (PetscInt d = 0; d < g->scan->n_axis; d++)
    PetscCheck(v->size[d] == part->n_kept[d], PETSC_COMM_SELF, FW_ERR_FILE,
               "array '%s' has %" PetscInt64_FMT " entries on axis '%s', its scan_index wants %" PetscInt_FMT,
               kind->path, v->size[d], kind->axis[d], part->n_kept[d]);
  for (PetscInt i = 0; i < part->n_point; i++) {
    PetscInt place;

    PetscCall(FwScanPartPlace(g->scan, part, part->point[i], &place));
    PetscCall(AddArray(record[i], NameOf(g, kind), kind, &shape, (const char *)v->data + 8 * place * n_each));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeArray(FwGather g, FwStore store, const FwScanPart *part, const char path[], FwRecord record[],
                                FwRecord common)
{
  FwGatherKind *kind = NULL;
  Values        v;
  FwShape       shape;
  PetscInt64    n;

  PetscFunctionBegin;
  PetscCall(FindKind(g, store, path, &kind));
  if (kind->is_axis || kind->type == FW_STORE_TEXT) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadValues(store, kind, &v));
  shape = ShapeBehind(kind, &v, 0, &n);
  if (kind->is_point)
    PetscCall(SplitArray(g, part, kind, &v, record));
  else
    PetscCall(AddArray(common, kind->path, kind, &shape, v.data));
  PetscCall(PetscFree(v.data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeArrays(FwGather g, FwStore store, const FwScanPart *part, FwRecord record[], FwRecord common)
{
  PetscInt       n;
  char         **path;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(FwStoreGetArrays(store, &n, &path));
  for (PetscInt i = 0; i < n && !code; i++)
    if (strncmp(path[i], "/gather/", 8)) code = TakeArray(g, store, part, path[i], record, common);
  PetscCall(PetscFree(path));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one file ----------------------------------------------------------------------------------------------- */

static PetscErrorCode AddPiece(FwGather g, PetscInt point, PetscInt file, FwRecord record)
{
  PetscFunctionBegin;
  if (g->n_piece == g->room_piece) {
    g->room_piece = 2 * g->room_piece + 64;
    PetscCall(PetscRealloc((size_t)g->room_piece * sizeof *g->piece, &g->piece));
  }
  g->piece[g->n_piece++] = (FwGatherPiece){.point = point, .file = file, .record = record};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the file warns about, without what an earlier gathering had to say of files and points */
static PetscErrorCode ReadWarnings(FwStore store, char **warnings)
{
  static const char *const of_gathering[] = {"/gather/", "points did not converge"};
  char                    *end;

  PetscFunctionBegin;
  PetscCall(FwStoreGetText(store, "/", "warnings", warnings));
  end = *warnings;
  for (char *line = *warnings, *next; *line; line = next) {
    const size_t n       = strcspn(line, "\n");
    PetscBool    is_kept = PETSC_TRUE;

    next    = line + n + (line[n] ? 1 : 0);
    line[n] = '\0';
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(of_gathering); i++)
      if (strstr(line, of_gathering[i])) is_kept = PETSC_FALSE;
    if (!is_kept) continue;
    if (end > *warnings) *end++ = '\n';
    memmove(end, line, n);
    end += n;
  }
  *end = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points that were computed have `converged` 0 or 1. Each bears what its file warns about: whose are the first in the grid
   comes first */
static PetscErrorCode KeepPieces(FwGather g, PetscInt file, FwStore store, const FwScanPart *part, FwRecord record[])
{
  char *warnings;

  PetscFunctionBegin;
  PetscCall(ReadWarnings(store, &warnings));
  for (PetscInt i = 0; i < part->n_point; i++) {
    if (!(FwRecordAt(record[i], "converged", 0) >= 0.0)) continue;
    PetscCall(FwRecordWarn(record[i], warnings));
    PetscCall(AddPiece(g, part->point[i], file, record[i]));
    record[i] = NULL;
  }
  PetscCall(PetscFree(warnings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoints(FwGather g, PetscInt file, FwStore store)
{
  FwScanPart     part;
  FwRecord      *record, common;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(ReadPart(g, store, &part));
  PetscCall(PetscCalloc1(part.n_point, &record));
  for (PetscInt i = 0; i < part.n_point; i++) PetscCall(FwRecordCreate(&record[i]));
  PetscCall(FwRecordCreate(&common));
  PetscCall(FwRecordSetSource(common, file));
  code = TakeArrays(g, store, &part, record, common);
  if (!code) code = KeepPieces(g, file, store, &part, record);
  if (!code) code = FwRecordJoin(g->common, common, (const char *const *)g->file);
  for (PetscInt i = 0; i < part.n_point; i++) PetscCall(FwRecordDestroy(&record[i]));
  PetscCall(FwRecordDestroy(&common));
  PetscCall(PetscFree(record));
  PetscCall(FwScanPartDestroy(&part));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode IsOfTheSameRun(FwGather g, FwStore store, PetscBool *is_same)
{
  char     *input, *version;
  PetscBool same_input;

  PetscFunctionBegin;
  PetscCall(ReadInput(store, &input));
  PetscCall(ReadVersion(store, &version));
  PetscCall(PetscStrcmp(input, g->input, &same_input));
  PetscCall(PetscStrcmp(version, g->version, is_same));
  if (!same_input) *is_same = PETSC_FALSE;
  PetscCall(PetscFree(input));
  PetscCall(PetscFree(version));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadDigest(FwStore store, uint64_t *digest)
{
  char *text;

  PetscFunctionBegin;
  PetscCall(FwStoreGetText(store, "/", "files_digest", &text));
  *digest = strtoull(text, NULL, 16);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherReadFile(FwGather g, PetscInt file)
{
  FwStore        store;
  PetscErrorCode code;
  PetscBool      is_same = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(FwStoreOpen(PETSC_COMM_SELF, g->file[file], &store));
  code = IsOfTheSameRun(g, store, &is_same);
  if (!code && is_same) code = ReadDigest(store, &g->digest[file]);
  if (!code && is_same) code = ReadPoints(g, file, store);
  if (!code && !is_same) g->mismatch = PetscMin(g->mismatch, file);
  PetscCall(FwStoreDestroy(&store));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
