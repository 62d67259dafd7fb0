/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Running a scan: groups over sub-communicators, in rounds; after each round every rank agrees on errors, rank 0 has the
 * records, and a checkpoint is written when it is time. The farm is in scan_farm.c.
 */

#include "scan_impl.h"

#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <stdio.h>
#include <string.h>

/* --- groups ------------------------------------------------------------------------------------------------- */

static PetscBool IsShared(const char *const shared[], const FwKey *key)
{
  for (const char *const *name = shared; *name; name++)
    if (!strcmp(*name, key->name)) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Number of the group a point belongs to: its place in the grid of the axes that are not shared */
static PetscInt GroupOf(FwScan scan, const char *const shared[], PetscInt point)
{
  PetscInt group = 0;

  for (PetscInt d = 0; d < scan->n_axis; d++)
    if (!IsShared(shared, scan->axis[d].key)) group = group * scan->axis[d].n + FwScanPosition(scan, point, d);
  return group;
}

PetscErrorCode FwScanGetGroups(FwScan scan, const char *const shared[], const PetscBool is_wanted[], PetscInt *n_group,
                               PetscInt group[])
{
  const PetscInt n = scan->n_point;
  PetscInt      *number;

  PetscFunctionBegin;
  *n_group = 0;
  PetscCall(PetscMalloc1(n, &number));
  for (PetscInt p = 0; p < n; p++) number[p] = -1;
  for (PetscInt p = 0; p < n; p++) {
    const PetscInt g = GroupOf(scan, shared, p);

    group[p] = -1;
    if (!scan->is_chosen[p] || (is_wanted && !is_wanted[p])) continue;
    if (number[g] < 0) number[g] = (*n_group)++;
    group[p] = number[g];
  }
  PetscCall(PetscFree(number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanGetGroupSize(FwScan scan, const char *const shared[], PetscInt *n)
{
  PetscFunctionBegin;
  *n = 1;
  for (PetscInt d = 0; d < scan->n_axis; d++)
    if (IsShared(shared, scan->axis[d].key)) *n *= scan->axis[d].n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Groups that still have points to compute */
static PetscErrorCode MakeGroups(FwScanWork *w, PetscBool is_done[])
{
  PetscInt n_each;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(w->scan->n_point, &w->group));
  for (PetscInt p = 0; p < w->scan->n_point; p++) is_done[p] = is_done[p] ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(FwScanGetGroups(w->scan, w->plan->shared, NULL, &w->n_group_whole, w->group));
  PetscCall(FwScanGetGroups(w->scan, w->plan->shared, is_done, &w->n_group, w->group));
  PetscCall(FwScanGetGroupSize(w->scan, w->plan->shared, &n_each));
  for (PetscInt p = 0, next = 0; p < w->scan->n_point && n_each > 1; p++) {
    if (w->group[p] != next) continue; /* not the first of its group */
    w->has_part[p] = PETSC_TRUE;
    next++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many sub-communicators as there are groups, or as the ranks allow, all of one size: a group must be computed by as many
   ranks, to the same bits, whichever of them gets it, and whatever is left to a resumed run. Ranks that are over, which
   would not end a round earlier, are idle. In a farm rank 0 is alone: it hands out groups. */
static PetscErrorCode SplitRanks(FwScanWork *w)
{
  PetscMPIInt size, n_worker, worker;
  PetscInt    n_comm, n_each;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &w->rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  w->is_farm    = w->plan->is_farm && size > 1 && w->n_group_whole > 1 ? PETSC_TRUE : PETSC_FALSE;
  n_worker      = w->is_farm ? size - 1 : size;
  worker        = w->is_farm ? w->rank - 1 : w->rank;
  n_comm        = n_worker / PetscMax(1, w->plan->n_rank);
  w->n_comm     = PetscMax(1, PetscMin(n_comm, w->n_group_whole));
  n_each        = n_worker / w->n_comm;
  w->comm_index = worker < 0 ? w->n_comm : PetscMin(w->n_comm, worker / n_each);
  w->is_idle    = w->comm_index == w->n_comm ? PETSC_TRUE : PETSC_FALSE;
  PetscCallMPI(MPI_Comm_split(PETSC_COMM_WORLD, (int)w->comm_index, w->rank, &w->comm));
  PetscCallMPI(MPI_Comm_rank(w->comm, &w->comm_rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- rounds ------------------------------------------------------------------------------------------------- */

/* Rank 0 keeps what its own group made and takes what the first rank of each other one sends */
static PetscErrorCode CollectRecords(FwScanWork *w, PetscInt n, const PetscInt point[], FwRecord record[])
{
  const int is_sender = w->rank > 0 && w->comm_rank == 0;
  int       n_sent    = is_sender ? (int)n : 0, n_total;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&n_sent, &n_total, 1, MPI_INT, MPI_SUM, PETSC_COMM_WORLD));
  for (PetscInt i = 0; i < n; i++) {
    if (is_sender) PetscCall(FwScanSendRecord(point[i], record[i]));
    if (w->rank == 0) w->record[point[i]] = record[i];
    if (w->rank > 0) PetscCall(FwRecordDestroy(&record[i]));
  }
  for (int i = 0; i < n_total && w->rank == 0; i++) PetscCall(FwScanReceiveRecord(w, MPI_ANY_SOURCE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanTakeWarnings(PetscBool go_on, FwRecord record)
{
  char *held;

  PetscFunctionBegin;
  PetscCall(FwWarnTake(go_on, &held));
  if (record) PetscCall(FwRecordWarn(record, held));
  PetscCall(PetscFree(held));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From the groups before: a factor by which the machine is slower or faster, as far as estimates are wrong, and the same
   for every group, such as to read its data */
static double Correct(const FwScanWork *w, double seconds)
{
  const double most = 3.0, factor = PetscClipInterval(w->all_took / w->all_expected, 1.0 / most, most);
  const double constant = PetscMax(0.0, w->all_took - factor * w->all_expected) / (double)w->n_timed;

  return factor * seconds + constant;
}

PetscErrorCode FwScanExpect(FwScan scan, MPI_Comm comm, double seconds)
{
  FwScanWork *w = scan->work;
  PetscBool   stop;

  PetscFunctionBegin;
  if (!w) PetscFunctionReturn(PETSC_SUCCESS);
  w->expected = seconds;
  if (!(w->all_expected > 0.0)) PetscFunctionReturn(PETSC_SUCCESS); /* on all ranks: they have had the same groups */
  PetscCall(FwStopRequested(comm, &stop));
  PetscCheck(!stop, comm, FW_ERR_STOPPED, "stopped early: run the same command with -resume");
  seconds = Correct(w, seconds);
  PetscCall(FwStopRequestedWithin(comm, seconds, &stop));
  PetscCheck(!stop, comm, FW_ERR_STOPPED,
             "stopped early: what comes next takes about %.2g s, and there are %.2g s left: run the same command with "
             "-resume",
             seconds, FwStopSecondsLeft());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanRunGroup(FwScanWork *w, PetscInt group, PetscInt *n, PetscInt point[], FwRecord record[])
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt       kept = 0;
  PetscLogDouble begin, end;

  PetscFunctionBegin;
  PetscCall(PetscTime(&begin));
  w->expected = 0.0;
  *n          = 0;
  for (PetscInt p = 0; p < w->scan->n_point; p++)
    if (w->group[p] == group && group < w->n_group) point[(*n)++] = p;
  for (PetscInt i = 0; i < *n; i++) PetscCall(FwRecordCreate(&record[i]));
  FwWarnHold();
  if (*n) code = w->function(w->comm, w->scan, *n, point, record, w->context);
  PetscCall(PetscTime(&end));
  if (!code && w->expected > 0.0) {
    w->all_expected += w->expected;
    w->all_took += end - begin;
    w->n_timed++;
  }
  while (kept < *n && FwRecordIsEmpty(record[kept])) kept++; /* of a group that was left only some are kept */
  PetscCall(FwScanTakeWarnings(PETSC_FALSE, kept < *n ? record[kept] : NULL));
  PetscFunctionReturn(code);
}

/* Of a group that was left, the points that were finished: all others have empty records, and after an error other than
   a stop nothing is sure */
PetscErrorCode FwScanKeepFinished(PetscBool is_stopped, PetscInt *n, PetscInt point[], FwRecord record[])
{
  PetscInt n_kept = 0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < *n; i++) {
    if (!is_stopped || FwRecordIsEmpty(record[i])) {
      PetscCall(FwRecordDestroy(&record[i]));
      continue;
    }
    point[n_kept]    = point[i];
    record[n_kept++] = record[i];
  }
  *n = n_kept;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanStopped(const FwScanWork *w)
{
  PetscFunctionBegin;
  SETERRQ(PETSC_COMM_WORLD, FW_ERR_STOPPED,
          "stopped early, checkpoint '%s' is written: run the same command with -resume", w->plan->checkpoint);
}

/* An error ends the scan: what is done is kept, if anything is */
PetscErrorCode FwScanKeepBeforeLeaving(FwScanWork *w)
{
  int n_done = 0;

  PetscFunctionBegin;
  for (PetscInt p = 0; p < w->scan->n_point && w->rank == 0; p++) n_done += w->record[p] != NULL;
  PetscCallMPI(MPI_Bcast(&n_done, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  if (n_done) PetscCall(FwScanWriteCheckpoint(w, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AfterRound(FwScanWork *w, PetscBool is_last)
{
  PetscLogDouble now;
  PetscBool      stop, is_asked;
  int            is_due;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(PETSC_COMM_WORLD, &stop));
  PetscCall(FwCheckpointRequested(PETSC_COMM_WORLD, &is_asked));
  PetscCall(PetscTime(&now));
  is_due = is_asked || w->is_owed || now - w->last_checkpoint > w->plan->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  if (is_last) PetscFunctionReturn(PETSC_SUCCESS);
  if (is_due || stop) PetscCall(FwScanWriteCheckpoint(w, PETSC_COMM_WORLD));
  if (stop) PetscCall(FwScanStopped(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunRounds(FwScanWork *w)
{
  PetscInt  *point;
  FwRecord  *record;
  FwProgress progress;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(w->scan->n_point, &point, w->scan->n_point, &record));
  PetscCall(FwProgressBegin(w->scan->n_axis ? "scan" : "run", w->n_group, &progress));
  for (PetscInt first = 0; first < w->n_group; first += w->n_comm) {
    PetscInt       n    = 0;
    PetscErrorCode code = FwScanRunGroup(w, w->is_idle ? w->n_group : first + w->comm_index, &n, point, record), agreed;

    agreed = FwErrorAgreeAny(PETSC_COMM_WORLD, code);
    if (code)
      PetscCall(FwScanKeepFinished(FwExitOf(code) == FW_EXIT_STOPPED ? PETSC_TRUE : PETSC_FALSE, &n, point, record));
    PetscCall(CollectRecords(w, n, point, record));
    if (agreed) PetscCall(FwScanKeepBeforeLeaving(w));
    PetscCall(agreed);
    PetscCall(FwProgressStep(progress, PetscMin(first + w->n_comm, w->n_group)));
    PetscCall(AfterRound(w, first + w->n_comm >= w->n_group ? PETSC_TRUE : PETSC_FALSE));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(PetscFree2(point, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A single point has no axes; more have the grid's in front */
static PetscErrorCode StackAll(FwScanWork *w, FwRecord *all)
{
  FwShape axes = {.n_dim = w->scan->n_axis};

  PetscFunctionBegin;
  *all = NULL;
  for (PetscInt d = 0; d < axes.n_dim; d++) {
    axes.name[d] = w->scan->axis[d].key->name;
    axes.size[d] = w->scan->axis[d].n;
  }
  if (w->rank == 0) PetscCall(FwRecordStack(&axes, w->record, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanWarn(FwRecord all)
{
  char line[4096];

  PetscFunctionBegin;
  for (const char *at = FwRecordWarnings(all); *at; at += strcspn(at, "\n"), at += *at ? 1 : 0) {
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    PetscCall(FwWarn("%s", line));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is left to do, done */
static PetscErrorCode RunGroups(FwScanWork *w)
{
  PetscBool *is_done;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(w->scan->n_point, &is_done));
  PetscCall(FwScanReadCheckpoint(w, is_done));
  PetscCall(MakeGroups(w, is_done));
  PetscCall(PetscFree(is_done));
  PetscCall(SplitRanks(w));
  PetscCall(w->is_farm ? FwScanRunFarm(w) : RunRounds(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanRun(FwScan scan, const FwScanPlan *plan, FwScanFunction *function, void *context, FwRecord *all)
{
  FwScanWork     w = {.scan = scan, .plan = plan, .function = function, .context = context};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &w.rank));
  PetscCall(PetscCalloc2(scan->n_point, &w.record, scan->n_point, &w.has_part));
  PetscCall(PetscTime(&w.last_checkpoint));
  w.last_kept = w.last_checkpoint;
  scan->work  = &w;
  code        = RunGroups(&w);
  scan->work  = NULL;
  PetscCall(code);
  PetscCall(FwScanApply(scan, -1));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, StackAll(&w, all)));
  PetscCall(FwScanWarn(*all));
  for (PetscInt p = 0; p < scan->n_point; p++) PetscCall(FwRecordDestroy(&w.record[p]));
  PetscCallMPI(MPI_Comm_free(&w.comm));
  PetscCall(PetscFree(w.group));
  PetscCall(PetscFree2(w.record, w.has_part));
  PetscFunctionReturn(PETSC_SUCCESS);
}
