/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gathering the files of a scan: which files, what they have in common, and what comes out.
 */

#include "gather_impl.h"

#include <finwidth/progress.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- the list of files --------------------------------------------------------------------------------------- */

typedef struct {
  PetscInt n, room;
  char   **path;
} List;

static PetscErrorCode AddPath(List *list, const char path[])
{
  PetscFunctionBegin;
  if (list->n == list->room) {
    list->room = 2 * list->room + 64;
    PetscCall(PetscRealloc((size_t)list->room * sizeof *list->path, &list->path));
  }
  PetscCall(PetscStrallocpy(path, &list->path[list->n++]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddFolder(List *list, const char folder[])
{
  DIR           *stream = opendir(folder);
  struct dirent *entry;
  char           path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCheck(stream, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read folder '%s': %s", folder, strerror(errno));
  while ((entry = readdir(stream))) {
    const char *end = strrchr(entry->d_name, '.');

    if (entry->d_name[0] == '.' || !end || strcmp(end, ".h5")) continue;
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, entry->d_name));
    PetscCall(AddPath(list, path));
  }
  closedir(stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ComparePaths(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static PetscBool IsSameFile(const char path[], const struct stat *output)
{
  struct stat status;

  return output->st_ino && !stat(path, &status) && status.st_ino == output->st_ino && status.st_dev == output->st_dev
           ? PETSC_TRUE
           : PETSC_FALSE;
}

/* Sorted, each once, without the output */
static PetscErrorCode TidyList(List *list, const char output[])
{
  struct stat written = {0};
  PetscInt    n       = 0;

  PetscFunctionBegin;
  if (output && stat(output, &written)) written = (struct stat){0};
  if (list->n) qsort(list->path, (size_t)list->n, sizeof *list->path, ComparePaths);
  for (PetscInt i = 0; i < list->n; i++) {
    if ((n && !strcmp(list->path[i], list->path[n - 1])) || IsSameFile(list->path[i], &written))
      PetscCall(PetscFree(list->path[i]));
    else
      list->path[n++] = list->path[i];
  }
  list->n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeList(PetscInt n, const char *const path[], const char output[], List *list)
{
  struct stat status;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCheck(!stat(path[i], &status), PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': %s", path[i], strerror(errno));
    if (S_ISDIR(status.st_mode))
      PetscCall(AddFolder(list, path[i]));
    else
      PetscCall(AddPath(list, path[i]));
  }
  PetscCall(TidyList(list, output));
  PetscCheck(list->n, PETSC_COMM_SELF, FW_ERR_FILE, "there is no result file among what is to be gathered");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShareText(char **text)
{
  PetscMPIInt rank;
  PetscInt64  n = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) n = (PetscInt64)strlen(*text) + 1;
  PetscCallMPI(MPI_Bcast(&n, 1, MPIU_INT64, 0, PETSC_COMM_WORLD));
  if (rank) PetscCall(PetscMalloc1(n, text));
  PetscCallMPI(MPI_Bcast(*text, (int)n, MPI_CHAR, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShareList(FwGather g, const List *list)
{
  PetscFunctionBegin;
  g->n_file = list->n;
  PetscCallMPI(MPI_Bcast(&g->n_file, 1, MPIU_INT, 0, PETSC_COMM_WORLD));
  PetscCall(PetscCalloc1(g->n_file, &g->file));
  for (PetscInt i = 0; i < g->n_file; i++) {
    if (g->rank == 0) g->file[i] = list->path[i];
    PetscCall(ShareText(&g->file[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what the files have in common --------------------------------------------------------------------------- */

/* The first file that can be read says what all must be */
static PetscErrorCode FindReference(FwGather g)
{
  char first[FW_GATHER_TEXT] = "";

  PetscFunctionBegin;
  for (g->reference = 0; g->reference < g->n_file; g->reference++) {
    PetscErrorCode code = FwGatherReadHead(g->file[g->reference], &g->command, &g->input, &g->version);

    if (!code) PetscFunctionReturn(PETSC_SUCCESS);
    if (FwExitOf(code) != FW_EXIT_FILE) PetscCall(code);
    if (!first[0]) PetscCall(PetscStrncpy(first, FwErrorMessage(), sizeof first));
    FwErrorClear();
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_FILE, "none of %" PetscInt_FMT " files can be used; the first: %s", g->n_file, first);
}

static PetscErrorCode ReadReference(FwGather g)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (g->rank == 0) code = FindReference(g);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  PetscCallMPI(MPI_Bcast(&g->reference, 1, MPIU_INT, 0, PETSC_COMM_WORLD));
  PetscCall(ShareText(&g->command));
  PetscCall(ShareText(&g->input));
  PetscCall(ShareText(&g->version));
  PetscCall(PetscOptionsInsertStringYAML(NULL, g->input));
  PetscCall(FwOptionsCheck(FW_FOR_ALL));
  PetscCall(FwScanCreate(&g->scan));
  PetscCheck(g->scan->n_axis, PETSC_COMM_WORLD, FW_ERR_INPUT, "'%s' is not of a scan: there is nothing to gather",
             g->file[g->reference]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reading ------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddSkip(FwGather g, PetscInt file)
{
  PetscFunctionBegin;
  if (g->n_skip == g->room_skip) {
    g->room_skip = 2 * g->room_skip + 16;
    PetscCall(PetscRealloc((size_t)g->room_skip * sizeof *g->skip, &g->skip));
  }
  memset(&g->skip[g->n_skip], 0, sizeof *g->skip);
  g->skip[g->n_skip].file = file;
  PetscCall(PetscStrncpy(g->skip[g->n_skip++].reason, FwErrorMessage(), FW_GATHER_TEXT));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every n_rank-th file is this rank's */
static PetscErrorCode ReadMine(FwGather g, FwProgress progress)
{
  PetscFunctionBegin;
  for (PetscInt i = g->rank; i < g->n_file; i += g->n_rank) {
    PetscErrorCode code = FwGatherReadFile(g, i);

    if (FwExitOf(code) == FW_EXIT_FILE)
      PetscCall(AddSkip(g, i));
    else
      PetscCall(code);
    PetscCall(FwProgressStep(progress, PetscMin(i + g->n_rank, g->n_file)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAll(FwGather g)
{
  FwProgress progress;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("gather", g->n_file, &progress));
  PetscCall(FwErrorAgreeAny(PETSC_COMM_WORLD, ReadMine(g, progress)));
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First line in which two inputs differ, or NULL */
static const char *DifferentLine(const char a[], const char b[])
{
  size_t line = 0;

  for (size_t i = 0; a[i] == b[i]; i++) {
    if (!a[i]) return NULL;
    if (a[i] == '\n') line = i + 1;
  }
  return b + line;
}

static PetscErrorCode RefuseMismatch(FwGather g)
{
  char       *command, *input, *version;
  const char *line;

  PetscFunctionBegin;
  PetscCall(FwGatherReadHead(g->file[g->mismatch], &command, &input, &version));
  PetscCheck(!strcmp(version, g->version), PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' and '%s' come from different versions of the program: %s and %s", g->file[g->reference],
             g->file[g->mismatch], g->version, version);
  line = DifferentLine(g->input, input);
  PetscCheck(!line, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' and '%s' come from different inputs: the second has '%.*s'",
             g->file[g->reference], g->file[g->mismatch], (int)strcspn(line, "\n"), line);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- data ---------------------------------------------------------------------------------------------------- */

/* Keys that say which files the data come from: points that differ in them come from different ones */
static PetscBool HasOneSource(FwScan scan)
{
  static const char *const key[] = {"data_source", "data_path", "data_images", "data_labels", "data_predict"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(key); i++)
    if (FwGatherIsScanAxis(scan, key[i])) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The same name may have stood for other contents. A result without a digest says nothing about them */
static PetscErrorCode CompareData(FwGather g)
{
  PetscInt first = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, g->digest, g->n_file, MPI_UINT64_T, MPI_MAX, PETSC_COMM_WORLD));
  if (!HasOneSource(g->scan)) PetscFunctionReturn(PETSC_SUCCESS);
  while (first < g->n_file && !g->digest[first]) first++;
  for (PetscInt i = first; i < g->n_file; i++)
    PetscCheck(!g->digest[i] || g->digest[i] == g->digest[first], PETSC_COMM_WORLD, FW_ERR_INPUT,
               "'%s' and '%s' come from different data: the files that these were read from had changed (files_digest "
               "%016" PRIx64 " and %016" PRIx64 ")",
               g->file[first], g->file[i], g->digest[first], g->digest[i]);
  if (first < g->n_file) (void)snprintf(g->files, sizeof g->files, "%016" PRIx64, g->digest[first]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static PetscErrorCode NameGroups(FwGather g)
{
  char        seen[FW_GATHER_GROUPS * FW_STORE_NAME_SIZE];
  PetscMPIInt n = 0;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(seen, sizeof seen, "/%s", g->command));
  PetscCall(PetscStrallocpy(seen, &g->group_text[n++]));
  for (const FwGatherKind *k = g->kind; k && g->rank == 0; k = k->next) {
    PetscBool is_known = PETSC_FALSE;

    if (!k->is_axis) continue;
    PetscCall(PetscSNPrintf(seen, sizeof seen, "%.*s", (int)(strrchr(k->path, '/') - k->path), k->path));
    for (int i = 0; i < n; i++) is_known = is_known || !strcmp(seen, g->group_text[i]) ? PETSC_TRUE : PETSC_FALSE;
    if (!is_known && n < FW_GATHER_GROUPS) PetscCall(PetscStrallocpy(seen, &g->group_text[n++]));
  }
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  for (int i = 1; i < n; i++) PetscCall(ShareText(&g->group_text[i]));
  g->n_group = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherCreate(PetscInt n, const char *const path[], const char output[], const char *const ignored[],
                              FwGather *gather)
{
  FwGather       g;
  List           list = {0};
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscNew(&g));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &g->rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &g->n_rank));
  PetscCall(FwRecordCreate(&g->common));
  if (g->rank == 0) code = MakeList(n, path, output, &list);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  PetscCall(ShareList(g, &list));
  PetscCall(PetscFree(list.path));
  PetscCall(PetscCalloc1(g->n_file, &g->digest));
  g->mismatch = g->n_file;
  PetscCall(ReadReference(g));
  PetscCall(ReadAll(g));
  PetscCall(FwGatherCollect(g));
  if (g->mismatch < g->n_file)
    PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, g->rank ? PETSC_SUCCESS : RefuseMismatch(g)));
  PetscCall(CompareData(g));
  PetscCall(FwGatherMerge(g, ignored));
  PetscCall(FwScanWarn(g->all));
  PetscCall(NameGroups(g));
  *gather = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherDestroy(FwGather *gather)
{
  FwGather g = *gather;

  PetscFunctionBegin;
  *gather = NULL;
  if (!g) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < g->n_file; i++) PetscCall(PetscFree(g->file[i]));
  for (PetscInt i = 0; i < g->n_piece; i++) PetscCall(FwRecordDestroy(&g->piece[i].record));
  for (int i = 0; i < g->n_group; i++) PetscCall(PetscFree(g->group_text[i]));
  for (FwGatherKind *k = g->kind, *next; k; k = next) {
    next = k->next;
    PetscCall(PetscFree(k->path));
    PetscCall(PetscFree(k->units));
    PetscCall(PetscFree(k->long_name));
    PetscCall(PetscFree(k));
  }
  PetscCall(FwRecordDestroy(&g->all));
  PetscCall(FwRecordDestroy(&g->common));
  PetscCall(FwScanDestroy(&g->scan));
  PetscCall(PetscFree3(g->command, g->input, g->version));
  PetscCall(PetscFree(g->file));
  PetscCall(PetscFree(g->digest));
  PetscCall(PetscFree(g->piece));
  PetscCall(PetscFree(g->skip));
  PetscCall(PetscFree(g->point));
  PetscCall(PetscFree(g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what comes out ------------------------------------------------------------------------------------------ */

PetscErrorCode FwGatherGetSummary(FwGather g, FwGatherSummary *summary)
{
  PetscFunctionBegin;
  *summary = (FwGatherSummary){.n_file     = g->n_file,
                               .n_skipped  = g->n_skip,
                               .n_point    = g->scan->n_point,
                               .n_missing  = g->n_missing,
                               .n_repeated = g->n_repeated};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The numbers of the points in no file; on rank 0 */
static PetscErrorCode FindMissing(FwGather g, PetscInt missing[])
{
  PetscInt n = 0;

  PetscFunctionBegin;
  for (PetscInt p = 0; p < g->scan->n_point; p++)
    if (!g->point[p]) missing[n++] = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherGetGaps(FwGather g, const char **points, const char **file)
{
  PetscInt *missing;
  PetscBool fits;

  PetscFunctionBegin;
  *points = "";
  *file   = g->rank == 0 && g->n_skip ? g->skip[0].reason : "";
  if (g->rank || !g->n_missing) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(g->n_missing, &missing));
  PetscCall(FindMissing(g, missing));
  PetscCall(FwScanPrintIndex(g->n_missing, missing, sizeof g->missing_text - 4, g->missing_text, &fits));
  if (!fits) strcat(g->missing_text, ",...");
  PetscCall(PetscFree(missing));
  *points = g->missing_text;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherGetScan(FwGather g, const char **command, const char **input, FwScan *scan)
{
  PetscFunctionBegin;
  *command = g->command;
  *input   = g->input;
  *scan    = g->scan;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherGetFiles(FwGather g, const char **digest)
{
  PetscFunctionBegin;
  *digest = g->files;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherGetGroups(FwGather g, const char *const **group)
{
  PetscFunctionBegin;
  *group = (const char *const *)g->group_text;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherGetRecord(FwGather g, FwRecord *all)
{
  PetscFunctionBegin;
  *all = g->all;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteMissing(FwGather g, FwStore store)
{
  const FwShape shape = {.n_dim = 1, .name = {"missing"}, .size = {g->n_missing}};
  PetscInt64   *missing;
  PetscInt     *point;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(g->n_missing, &missing, g->n_missing, &point));
  if (g->rank == 0) PetscCall(FindMissing(g, point));
  for (PetscInt i = 0; i < g->n_missing && g->rank == 0; i++) missing[i] = point[i];
  PetscCall(FwStoreIntegers(store, "/gather/missing_point", &shape, missing, "1",
                            "points without a result, by their number in the grid: scan_index computes them"));
  PetscCall(PetscFree2(missing, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSkipped(FwGather g, FwStore store)
{
  const FwShape shape = {.n_dim = 1, .name = {"skipped"}, .size = {g->n_skip}};
  const char  **file, **reason;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(g->n_skip, &file, g->n_skip, &reason));
  for (PetscInt i = 0; i < g->n_skip && g->rank == 0; i++) {
    file[i]   = g->file[g->skip[i].file];
    reason[i] = g->skip[i].reason;
  }
  PetscCall(FwStoreTexts(store, "/gather/skipped_file", &shape, file, "1", "files that could not be used"));
  PetscCall(FwStoreTexts(store, "/gather/skipped_reason", &shape, reason, "1", "why"));
  PetscCall(PetscFree2(file, reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CopyText(FwStore from, const char path[], FwStore store)
{
  char       axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE], **text, *units, *long_name;
  FwShape    shape = {.n_dim = 1, .name = {axis[0]}};
  PetscInt   n_dim;
  PetscInt64 n;

  PetscFunctionBegin;
  PetscCall(FwStoreGetTexts(from, path, &n, &text));
  PetscCall(FwStoreGetAxes(from, path, &n_dim, axis));
  PetscCall(FwStoreGetText(from, path, "units", &units));
  PetscCall(FwStoreGetText(from, path, "long_name", &long_name));
  PetscCheck(n_dim == 1, PETSC_COMM_WORLD, FW_ERR_FILE, "text array '%s' has %" PetscInt_FMT " axes", path, n_dim);
  shape.size[0] = n;
  PetscCall(FwStoreTexts(store, path, &shape, (const char *const *)text, units, long_name));
  PetscCall(PetscFree(units));
  PetscCall(PetscFree(long_name));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Texts that are not a scan's axis do not depend on the point: they are those of the reference */
static PetscErrorCode CopyTexts(FwGather g, FwStore store)
{
  FwStore  from;
  PetscInt n;
  char   **path;

  PetscFunctionBegin;
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, g->file[g->reference], &from));
  PetscCall(FwStoreGetArrays(from, &n, &path));
  for (PetscInt i = 0; i < n; i++) {
    FwStoreType type;

    if (!strncmp(path[i], "/gather/", 8) || FwGatherIsScanAxis(g->scan, strrchr(path[i], '/') + 1)) continue;
    PetscCall(FwStoreGetType(from, path[i], &type));
    if (type == FW_STORE_TEXT) PetscCall(CopyText(from, path[i], store));
  }
  PetscCall(PetscFree(path));
  PetscCall(FwStoreDestroy(&from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGatherDescribe(FwGather g, FwStore store)
{
  PetscFunctionBegin;
  PetscCall(FwRecordWrite(g->common, store, "/"));
  PetscCall(CopyTexts(g, store));
  PetscCall(WriteMissing(g, store));
  if (g->n_skip) PetscCall(WriteSkipped(g, store));
  PetscFunctionReturn(PETSC_SUCCESS);
}
