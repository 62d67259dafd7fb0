/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth gather`: the result files of a scan into one.
 */

#include "command.h"
#include "request.h"

#include <finwidth/gather.h>
#include <finwidth/option.h>

#include <string.h>

/* How a point was computed depends on its neighbours in the run: on ranks, and on what else shared the kernel; a difference
   over a small error bar shows the round-off of both */
static const char *const ignored[] = {"iterations", "residual", "evaluations", "bandwidth", "*_z_score", NULL};

static PetscErrorCode Describe(const FwRequest *request, FwStore store, void *context)
{
  (void)request;
  PetscFunctionBegin;
  PetscCall(FwGatherDescribe((FwGather)context, store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReportGaps(FwGather gather, const FwGatherSummary *s)
{
  const char *points, *file;

  PetscFunctionBegin;
  PetscCall(FwGatherGetGaps(gather, &points, &file));
  if (s->n_missing)
    PetscCall(FwWarn("%" PetscInt_FMT " points are missing (scan_index %s): their numbers are in /gather/missing_point",
                     s->n_missing, points));
  if (s->n_skipped)
    PetscCall(FwWarn("%" PetscInt_FMT " files were skipped (the first: %s): their names and the reasons are in "
                     "/gather/skipped_file and /gather/skipped_reason",
                     s->n_skipped, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(FwGather gather, const FwGatherSummary *s, const FwRequestSummary *points)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "gather  %" PetscInt_FMT " files, %" PetscInt_FMT " of %" PetscInt_FMT " points\n", s->n_file,
                        s->n_point - s->n_missing, s->n_point));
  if (s->n_repeated)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "        %" PetscInt_FMT " points are in several files, with the same numbers\n",
                          s->n_repeated));
  PetscCall(ReportGaps(gather, s));
  if (points->n_failed) PetscCall(FwWarn("%" PetscInt_FMT " points did not converge", points->n_failed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Save(FwRequest *request, FwGather gather, FwStore *store)
{
  FwRequestPlan    plan = {.describe = Describe, .context = gather};
  FwRequestSummary points;
  FwGatherSummary  summary;
  FwRecord         all;

  PetscFunctionBegin;
  PetscCall(FwGatherGetGroups(gather, &plan.groups));
  PetscCall(FwGatherGetRecord(gather, &all));
  PetscCall(FwGatherGetSummary(gather, &summary));
  PetscCall(FwRequestSummarise(request, all, &points));
  points.n_missing = summary.n_missing;
  PetscCall(Report(gather, &summary, &points));
  PetscCall(FwRequestSave(request, &plan, &points, all, store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `gather a.h5 b.h5 c.h5 -overwrite` would replace the first part by what the others hold. What cannot be read is no loss,
   or is refused where it is written. */
static PetscErrorCode CheckIsNoPart(const char path[])
{
  FwStore        store;
  char          *input;
  PetscBool      exists = PETSC_FALSE, is_part;
  PetscMPIInt    rank;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) PetscCall(PetscTestFile(path, '\0', &exists));
  PetscCallMPI(MPI_Bcast(&exists, 1, MPIU_BOOL, 0, PETSC_COMM_WORLD)); /* nodes may see a file at different times */
  if (!exists) PetscFunctionReturn(PETSC_SUCCESS);
  code = FwStoreOpen(PETSC_COMM_WORLD, path, &store);
  if (code) {
    FwErrorClear();
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwStoreGetText(store, "/", "input", &input));
  PetscCall(FwStoreDestroy(&store));
  is_part = strstr(input, "scan_index:") ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree(input));
  PetscCheck(!is_part, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the first file, '%s', is the one to write, but it is a part of a scan: give another name first", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Gather(PetscInt n, const char *const file[])
{
  FwRequest   request = {.command = "gather"};
  FwGather    gather;
  FwStore     store;
  const char *input, *files;
  size_t      n_name;
  PetscBool   has_output;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("output", &has_output));
  PetscCheck(!has_output, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "-output has no meaning here: gather writes the first file that it is given");
  PetscCall(FwOptionBoolean("overwrite", &request.overwrite, NULL));
  n_name = strlen(file[0]);
  PetscCheck(n >= 2, PETSC_COMM_WORLD, FW_ERR_INPUT, "usage: finwidth gather OUT.h5 IN.h5 ...");
  PetscCheck(n_name > 3 && n_name < sizeof request.output && !strcmp(file[0] + n_name - 3, ".h5"), PETSC_COMM_WORLD,
             FW_ERR_INPUT, "the first file, '%s', is the one to write: its name must end in .h5", file[0]);
  PetscCall(PetscStrncpy(request.output, file[0], sizeof request.output));
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, request.output, request.overwrite, &store));
  PetscCall(CheckIsNoPart(request.output));
  PetscCall(FwGatherCreate(n - 1, file + 1, request.output, ignored, &gather));
  PetscCall(FwGatherGetScan(gather, &request.command, &input, &request.scan));
  PetscCall(FwCommandFigureCheck(request.command));
  PetscCall(FwGatherGetFiles(gather, &files));
  PetscCall(PetscStrncpy(request.files, files, sizeof request.files));
  PetscCall(PetscStrallocpy(input, &request.resolved));
  PetscCall(Save(&request, gather, &store));
  PetscCall(FwCommandFigure(request.output));
  PetscCall(PetscFree(request.resolved));
  PetscCall(FwGatherDestroy(&gather)); /* owns the scan */
  PetscFunctionReturn(PETSC_SUCCESS);
}
