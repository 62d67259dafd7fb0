/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The frame of the commands that compute.
 */

#include "request.h"

#include "command.h"

#include <finwidth/dataset.h>
#include <finwidth/option.h>
#include <finwidth/provenance.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

double FwRequestCheckpointSeconds(void)
{
  const char *text = getenv("FINWIDTH_CHECKPOINT_SECONDS"); /* tests set it */

  return text ? strtod(text, NULL) : 60.0;
}

/* --- reading the request ------------------------------------------------------------------------------------ */

/* The key `output`, or the base name of the input (or the command) + ".h5" in the current folder */
static PetscErrorCode ReadOutput(const char *input, const char command[], size_t size, char path[], PetscBool *is_set)
{
  const char *base, *end;

  PetscFunctionBegin;
  PetscCall(FwOptionText("output", size, path, is_set));
  if (*is_set) PetscFunctionReturn(PETSC_SUCCESS);
  base = input ? strrchr(input, '/') : NULL;
  base = base ? base + 1 : input ? input : command;
  end  = strrchr(base, '.');
  snprintf(path, size, "%.*s.h5", end && end > base ? (int)(end - base) : (int)strlen(base), base);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A scanned width holds for all layers: their number is that of the list it replaces */
static PetscErrorCode KeepDepth(void)
{
  enum { WIDTH_MAX = 4096 };
  PetscInt64 width[WIDTH_MAX];
  PetscInt   n = WIDTH_MAX;
  PetscBool  is_scanned, has_depth;
  char       text[32];

  PetscFunctionBegin;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_network_width", &is_scanned));
  PetscCall(FwOptionIsSet("network_depth", &has_depth));
  PetscCall(FwOptionIntegers("network_width", &n, width));
  if (!is_scanned || has_depth || n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT, n));
  PetscCall(PetscOptionsSetValue(NULL, "-network_depth", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Digest of what is to be computed, and by which program: another one need not go on with the same bits */
static PetscErrorCode MakeTag(const char command[], const char resolved[], const char files[], char tag[64])
{
  char    *what, program[128];
  uint64_t digest;

  PetscFunctionBegin;
  PetscCall(FwOptionsWhat(resolved, PETSC_FALSE, &what));
  snprintf(program, sizeof program, "%s %s", FwVersion(), FwCommit());
  digest = XXH3_64bits_withSeed(what, strlen(what), XXH3_64bits(program, strlen(program)));
  snprintf(tag, 64, "%s-1-%016" PRIx64, command, (uint64_t)XXH3_64bits_withSeed(files, strlen(files), digest));
  PetscCall(PetscFree(what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsSameFile(const char a[], const char b[])
{
  struct stat of_a, of_b;

  if (!strcmp(a, b)) return PETSC_TRUE; /* it may not be there yet */
  return !stat(a, &of_a) && !stat(b, &of_b) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino ? PETSC_TRUE
                                                                                                        : PETSC_FALSE;
}

/* Whatever -overwrite says: a result must not take the place of what it is computed from */
static PetscErrorCode CheckApart(const char output[], PetscBool is_chosen, const char *read)
{
  PetscFunctionBegin;
  if (!read || !read[0] || !IsSameFile(output, read)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(is_chosen, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' is read by this run, whose result would have the same name: give -output", read);
  SETERRQ(PETSC_COMM_SELF, FW_ERR_INPUT, "output '%s' is read by this run: give another -output", read);
}

/* The files that are no data; looked at on one rank */
static PetscErrorCode CheckInputs(const char *input, const char output[], PetscBool is_chosen)
{
  static const char *const keys[] = {"theory_decomposition", "ansatz_weights"};
  char                     path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(CheckApart(output, is_chosen, input));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); i++) {
    path[0] = '\0';
    PetscCall(FwOptionText(keys[i], sizeof path, path, NULL));
    PetscCall(CheckApart(output, is_chosen, path));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckData(const char list[], const char output[], PetscBool is_chosen)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  for (const char *line = list; *line; line += strcspn(line, "\n") + 1) {
    snprintf(path, sizeof path, "%.*s", (int)strcspn(line, "\n"), line);
    PetscCall(CheckApart(output, is_chosen, path));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of all points together; points mostly share their files */
static PetscErrorCode DigestFiles(FwScan scan, const char output[], PetscBool is_chosen, uint64_t *digest)
{
  PetscInt n_point;
  char    *last = NULL;

  PetscFunctionBegin;
  PetscCall(FwScanGetSize(scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    char *list;

    PetscCall(FwScanApply(scan, p));
    PetscCall(FwDataFiles(&list));
    if (list[0] && (!last || strcmp(list, last))) {
      PetscCall(CheckData(list, output, is_chosen));
      PetscCall(FwDataFilesDigest(list, digest));
    }
    PetscCall(PetscFree(last));
    last = list;
  }
  PetscCall(FwScanApply(scan, -1));
  PetscCall(PetscFree(last));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadFiles(const char *input, PetscBool has_output, FwRequest *request)
{
  uint64_t       digest = 0;
  PetscMPIInt    rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) code = CheckInputs(input, request->output, has_output);
  if (rank == 0 && !code) code = DigestFiles(request->scan, request->output, has_output, &digest);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  PetscCallMPI(MPI_Bcast(&digest, 1, MPI_UINT64_T, 0, PETSC_COMM_WORLD));
  if (digest) snprintf(request->files, sizeof request->files, "%016" PRIx64, digest);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestCreate(const char *input, const char command[], unsigned keys, FwRequest *request)
{
  PetscInt  n_axis;
  PetscBool has_output;

  PetscFunctionBegin;
  *request = (FwRequest){.command = command};
  PetscCall(ReadOutput(input, command, sizeof request->output, request->output, &has_output));
  snprintf(request->checkpoint, sizeof request->checkpoint, "%.*s.chk", PETSC_MAX_PATH_LEN - 32, request->output);
  PetscCall(FwCommandFigureCheck(command));
  PetscCall(FwOptionBoolean("overwrite", &request->overwrite, NULL));
  PetscCall(FwOptionBoolean("resume", &request->resume, NULL));
  PetscCall(FwOptionBoolean("dry_run", &request->is_dry, NULL));
  PetscCall(FwOptionsResolved(keys, &request->resolved));
  PetscCall(KeepDepth());
  PetscCall(FwScanCreate(&request->scan));
  PetscCall(FwRequestWarnAboutData(request->scan, keys));
  PetscCall(ReadFiles(input, has_output, request));
  PetscCall(MakeTag(command, request->resolved, request->files, request->tag));
  PetscCall(FwScanGetSize(request->scan, &n_axis, NULL, NULL));
  request->is_single = n_axis == 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestDestroy(FwRequest *request)
{
  PetscFunctionBegin;
  PetscCall(FwScanDestroy(&request->scan));
  PetscCall(PetscFree(request->resolved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestPointCheckpoint(const FwRequest *request, PetscInt point, size_t size, char path[])
{
  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, size, "%s.%" PetscInt_FMT, request->checkpoint, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- running it --------------------------------------------------------------------------------------------- */

/* -resume: a result of the same input that has not failed is left as it is. One of another input makes room only for
   -overwrite: a run that was killed with it goes on by its own words and -resume. The words of *done are "complete" or
   "complete as a part of the scan", or NULL where there is something to do. */
static PetscErrorCode IsAlreadyDone(const FwRequest *request, const char **done)
{
  PetscBool exists, is_same, is_same_data, has_failed, is_part;
  FwStore   store;
  char     *status, *input, *files, tag[64];

  PetscFunctionBegin;
  *done = NULL;
  PetscCall(PetscTestFile(request->output, '\0', &exists));
  PetscCallMPI(MPI_Bcast(&exists, 1, MPIU_BOOL, 0, PETSC_COMM_WORLD)); /* nodes may see a file at different times */
  if (!request->resume || !exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, request->output, &store));
  PetscCall(FwStoreGetText(store, "/", "status", &status));
  PetscCall(FwStoreGetText(store, "/", "input", &input));
  PetscCall(FwStoreGetText(store, "/", "files_digest", &files));
  PetscCall(FwStoreDestroy(&store));
  PetscCall(MakeTag(request->command, input, request->files, tag));
  PetscCall(PetscStrcmp(tag, request->tag, &is_same));
  PetscCall(PetscStrcmp(files, request->files, &is_same_data));
  if (!files[0] || !request->files[0]) is_same_data = PETSC_TRUE; /* of a gathered result; the files are gone */
  PetscCall(PetscStrcmp(status, "failed", &has_failed));
  PetscCall(PetscStrcmp(status, "partial", &is_part));
  if (is_same && is_same_data && !has_failed) *done = is_part ? "complete as a part of the scan" : "complete";
  PetscCall(PetscFree(status));
  PetscCall(PetscFree(input));
  PetscCall(PetscFree(files));
  PetscCheck(is_same_data || !is_same || request->overwrite, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "'%s' is the result of other data: the files that they were read from have changed; give -overwrite to "
             "replace it, or another -output",
             request->output);
  PetscCheck(is_same || request->overwrite, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "'%s' is the result of another input: give -overwrite to replace it, or another -output", request->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bits of FwRequestSummary.failed, in the order in which they are said; a prediction may stand beside what was computed, and
   what was asked for besides in either */
static const struct {
  const char *name, *beside, *words; /* no words: the command's own */
} judged[] = {
  {"converged",             NULL,                             NULL                                         },
  {"/predict/converged",    NULL,                             "the prediction did not converge"            },
  {"average_converged",     "/predict/average_converged",     "the average did not converge"               },
  {"observables_converged", "/predict/observables_converged", "the predicted observables are not to be had"},
};

static unsigned WhatFailed(FwRecord all, PetscInt point)
{
  unsigned failed = 0;

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(judged); i++)
    if (FwRecordAt(all, judged[i].name, point) == 0.0 ||
        (judged[i].beside && FwRecordAt(all, judged[i].beside, point) == 0.0))
      failed |= 1u << i;
  return failed;
}

static void DescribeFailure(const FwRequestPlan *plan, unsigned failed, size_t size, char text[])
{
  text[0] = '\0';
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(judged); i++) {
    const size_t n = strlen(text);

    if (failed & 1u << i)
      snprintf(text + n, size - n, "%s%s", n ? ", " : "", judged[i].words ? judged[i].words : plan->failure);
  }
}

PetscErrorCode FwRequestSummarise(const FwRequest *request, FwRecord all, FwRequestSummary *summary)
{
  PetscMPIInt rank;
  PetscInt64  first     = 0;
  PetscBool   has_first = PETSC_FALSE, is_one = PETSC_TRUE;
  PetscInt    n_chosen, n_whole;

  PetscFunctionBegin;
  *summary = (FwRequestSummary){0};
  PetscCall(FwScanGetSize(request->scan, NULL, &summary->n_point, &n_chosen));
  PetscCall(FwScanGetWhole(request->scan, &n_whole));
  summary->n_missing = n_whole - n_chosen;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt p = 0; p < summary->n_point && rank == 0; p++) {
    const double     converged = FwRecordAt(all, "converged", p);
    const PetscInt64 digest    = FwRecordIntegerAt(all, "data_digest", p);
    const unsigned   failed    = WhatFailed(all, p);

    if (failed) summary->n_failed++;
    summary->failed |= failed;
    if (!(converged >= 0.0) || !digest) continue;
    if (has_first && digest != first) is_one = PETSC_FALSE;
    first     = digest;
    has_first = PETSC_TRUE;
  }
  if (has_first && is_one) snprintf(summary->digest, sizeof summary->digest, "%016" PRIx64, (uint64_t)first);
  if (!is_one) snprintf(summary->digest, sizeof summary->digest, "several: see /%.16s/data_digest", request->command);
  PetscCallMPI(MPI_Bcast(summary, (int)sizeof *summary, MPI_BYTE, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the family of a checkpoint: it, and what stands beside it with more behind its name, those before, of points and of
   kernels ------------------------------------------------------------------------------------------------------ */

typedef int FamilyFunction(const char path[], const char rest[], void *context); /* rest: what is behind the base */

/* The sum of what the function returns. On one rank */
static int VisitFamily(const char base[], FamilyFunction *function, void *context)
{
  const char    *slash = strrchr(base, '/'), *name = slash ? slash + 1 : base;
  const int      n_lead = (int)(name - base), n_name = (int)strlen(name);
  char           path[PETSC_MAX_PATH_LEN];
  int            sum = 0;
  DIR           *folder;
  struct dirent *entry;

  snprintf(path, sizeof path, "%.*s.", n_lead, base);
  folder = opendir(path);
  while (folder && (entry = readdir(folder))) {
    const char *rest = entry->d_name + n_name;

    if (strncmp(entry->d_name, name, (size_t)n_name) || (*rest && *rest != '.')) continue;
    if (snprintf(path, sizeof path, "%.*s%s", n_lead, base, entry->d_name) < (int)sizeof path)
      sum += function(path, rest, context);
  }
  if (folder) closedir(folder);
  return sum;
}

static int Remove(const char path[], const char rest[], void *context)
{
  (void)rest;
  (void)context;
  return unlink(path) ? 0 : 1;
}

static PetscErrorCode RemoveCheckpoints(const FwRequest *request)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) (void)VisitFamily(request->checkpoint, Remove, NULL);
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What was not yet whole when a run was killed is of no use */
static PetscBool IsScrap(const char rest[])
{
  const size_t n = strlen(rest);

  return n >= 4 && !strcmp(rest + n - 4, ".tmp") ? PETSC_TRUE : PETSC_FALSE;
}

static int Count(const char path[], const char rest[], void *context)
{
  (void)path;
  (void)context;
  return IsScrap(rest) ? 0 : 1;
}

/* The number that could not be moved */
static int SetAside(const char path[], const char rest[], void *context)
{
  char to[PETSC_MAX_PATH_LEN];

  snprintf(to, sizeof to, "%s%s", (const char *)context, rest);
  if (IsScrap(rest)) (void)unlink(path);
  return !IsScrap(rest) && rename(path, to) ? 1 : 0;
}

/* A run that begins anew must neither overwrite the checkpoints of one that was stopped, which may be of another input, nor
   leave them where -resume would look for its own */
static PetscErrorCode SetAsideOnRoot(const FwRequest *request)
{
  char aside[PETSC_MAX_PATH_LEN];
  int  n = 0;

  PetscFunctionBegin;
  if (!VisitFamily(request->checkpoint, Count, NULL)) PetscFunctionReturn(PETSC_SUCCESS);
  do snprintf(aside, sizeof aside, "%.*s.aside-%d", PETSC_MAX_PATH_LEN - 32, request->output, ++n);
  while (VisitFamily(aside, Count, NULL));
  PetscCheck(!VisitFamily(request->checkpoint, SetAside, aside), PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot rename checkpoint '%s' of a run that was not finished to '%s'", request->checkpoint, aside);
  PetscCall(PetscPrintf(
    PETSC_COMM_SELF, "aside   %s: checkpoint of a run that was not finished, which -resume would have gone on with\n",
    aside));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetCheckpointsAside(const FwRequest *request)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, rank ? PETSC_SUCCESS : SetAsideOnRoot(request)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestSave(const FwRequest *request, const FwRequestPlan *plan, const FwRequestSummary *summary,
                             FwRecord all, FwStore *store)
{
  const char *status = summary->n_failed ? "failed" : summary->n_missing ? "partial" : "complete";

  PetscFunctionBegin;
  for (const char *const *group = plan->groups; *group; group++)
    PetscCall(FwScanWriteAxes(request->scan, *store, *group));
  if (plan->describe) PetscCall(plan->describe(request, *store, plan->context));
  PetscCall(FwRecordWrite(all, *store, plan->groups[0]));
  PetscCall(FwStoreSetText(*store, "/", "files_digest", request->files));
  PetscCall(FwStoreProvenance(*store, request->resolved, summary->digest, status));
  PetscCall(FwStoreCommit(store));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s\n", request->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Compute(const FwRequest *request, const FwRequestPlan *plan)
{
  FwScanPlan       scan = {.shared     = plan->shared,
                           .checkpoint = request->checkpoint,
                           .tag        = request->tag,
                           .resume     = request->resume,
                           .interval   = FwRequestCheckpointSeconds()};
  FwStore          store;
  FwRecord         all;
  FwRequestSummary summary;
  PetscInt64       n_rank = 1;
  char             failure[320];

  PetscFunctionBegin;
  PetscCall(FwOptionBoolean("scan_farm", &scan.is_farm, NULL));
  PetscCall(FwOptionInteger("scan_ranks", &n_rank, NULL));
  scan.n_rank = (PetscInt)n_rank;
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, request->output, request->overwrite || request->resume, &store));
  if (!request->resume) PetscCall(SetCheckpointsAside(request));
  if (plan->prepare) PetscCall(plan->prepare(request, plan->context));
  PetscCall(FwScanRun(request->scan, &scan, plan->function, plan->context, &all));
  PetscCall(FwRequestSummarise(request, all, &summary));
  if (plan->report) PetscCall(plan->report(request, &summary, all, plan->context));
  PetscCall(FwRequestSave(request, plan, &summary, all, &store));
  PetscCall(RemoveCheckpoints(request));
  PetscCall(FwRecordDestroy(&all));
  PetscCall(FwCommandFigure(request->output));
  DescribeFailure(plan, summary.failed, sizeof failure, failure);
  PetscCheck(!summary.n_failed, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "%s%s: '%s' keeps what was computed, with status 'failed'", failure,
             request->is_single ? "" : " at some points", request->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRequestRun(const FwRequest *request, const FwRequestPlan *plan)
{
  const char *done;

  PetscFunctionBegin;
  PetscCall(IsAlreadyDone(request, &done));
  if (!done) {
    PetscCall(Compute(request, plan));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* of a run that was killed after it had written its result */
  PetscCall(RemoveCheckpoints(request));
  PetscCall(FwStoreRemoveDeadLock(PETSC_COMM_WORLD, request->output));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s is %s: nothing to do\n", request->output, done));
  PetscFunctionReturn(PETSC_SUCCESS);
}
