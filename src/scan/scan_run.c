/** @file
 * Running a scan: groups over sub-communicators, in rounds; after each round every rank agrees on errors, rank 0 has the
 * records, and a checkpoint is written when it is time.
 */

#include "scan_impl.h"

#include <finwidth/checkpoint.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <string.h>

typedef struct {
  FwScan            scan;
  const FwScanPlan *plan;
  FwScanFunction   *function;
  void             *context;
  MPI_Comm          comm; /* this rank's sub-communicator */
  PetscMPIInt       rank, comm_rank;
  PetscInt          n_comm, comm_index;
  PetscInt          n_group, *group; /* [n_point] group of each point still to compute, -1 for none */
  FwRecord         *record;          /* [n_point] on rank 0 */
  PetscLogDouble    last_checkpoint;
} Work;

/* --- groups ------------------------------------------------------------------------------------------------- */

static PetscBool IsShared(const FwScanPlan *plan, const FwKey *key)
{
  for (const char *const *name = plan->shared; *name; name++)
    if (!strcmp(*name, key->name)) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Number of the group a point belongs to: its place in the grid of the axes that are not shared */
static PetscInt GroupOf(FwScan scan, const FwScanPlan *plan, PetscInt point)
{
  PetscInt group = 0;

  for (PetscInt d = 0; d < scan->n_axis; d++)
    if (!IsShared(plan, scan->axis[d].key)) group = group * scan->axis[d].n + FwScanPosition(scan, point, d);
  return group;
}

/* Groups that still have points to compute are numbered without gaps */
static PetscErrorCode MakeGroups(Work *w, const PetscBool is_done[])
{
  const PetscInt n = w->scan->n_point;
  PetscInt      *number;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &w->group, n, &number));
  for (PetscInt p = 0; p < n; p++) number[p] = -1;
  for (PetscInt p = 0; p < n; p++) {
    const PetscInt g = GroupOf(w->scan, w->plan, p);

    w->group[p] = -1;
    if (is_done[p] || !w->scan->is_chosen[p]) continue;
    if (number[g] < 0) number[g] = w->n_group++;
    w->group[p] = number[g];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many sub-communicators as there are groups, or ranks */
static PetscErrorCode SplitRanks(Work *w)
{
  PetscMPIInt size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &w->rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  w->n_comm     = PetscMax(1, PetscMin(size, w->n_group));
  w->comm_index = (PetscInt)((PetscInt64)w->rank * w->n_comm / size);
  PetscCallMPI(MPI_Comm_split(PETSC_COMM_WORLD, (int)w->comm_index, w->rank, &w->comm));
  PetscCallMPI(MPI_Comm_rank(w->comm, &w->comm_rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- records to rank 0 -------------------------------------------------------------------------------------- */

enum { TAG_HEAD = 71, TAG_BODY = 72 };

static PetscErrorCode SendRecord(PetscInt point, FwRecord record)
{
  size_t     n;
  char      *bytes;
  PetscInt64 head[2];

  PetscFunctionBegin;
  PetscCall(FwRecordPack(record, &n, &bytes));
  PetscCheck(n < 2147483647, PETSC_COMM_SELF, FW_ERR_MEMORY, "the result of one point has more than 2 GiB");
  head[0] = point;
  head[1] = (PetscInt64)n;
  PetscCallMPI(MPI_Send(head, 2, MPIU_INT64, 0, TAG_HEAD, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Send(bytes, (int)n, MPI_BYTE, 0, TAG_BODY, PETSC_COMM_WORLD));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceiveRecord(Work *w)
{
  PetscInt64 head[2];
  char      *bytes;
  MPI_Status status;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Recv(head, 2, MPIU_INT64, MPI_ANY_SOURCE, TAG_HEAD, PETSC_COMM_WORLD, &status));
  PetscCall(PetscMalloc1(head[1] + 1, &bytes));
  PetscCallMPI(MPI_Recv(bytes, (int)head[1], MPI_BYTE, status.MPI_SOURCE, TAG_BODY, PETSC_COMM_WORLD, &status));
  PetscCall(FwRecordUnpack((size_t)head[1], bytes, &w->record[head[0]]));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0 keeps what its own group made and takes what the first rank of each other one sends */
static PetscErrorCode CollectRecords(Work *w, PetscInt n, const PetscInt point[], FwRecord record[])
{
  const int is_sender = w->rank > 0 && w->comm_rank == 0;
  int       n_sent    = is_sender ? (int)n : 0, n_total;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&n_sent, &n_total, 1, MPI_INT, MPI_SUM, PETSC_COMM_WORLD));
  for (PetscInt i = 0; i < n; i++) {
    if (is_sender) PetscCall(SendRecord(point[i], record[i]));
    if (w->rank == 0) w->record[point[i]] = record[i];
    if (w->rank > 0) PetscCall(FwRecordDestroy(&record[i]));
  }
  for (int i = 0; i < n_total && w->rank == 0; i++) PetscCall(ReceiveRecord(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checkpoint --------------------------------------------------------------------------------------------- */

/* All records, each behind its point and length */
static PetscErrorCode PackAll(Work *w, size_t *n, char **bytes)
{
  size_t room = 0;

  PetscFunctionBegin;
  *n     = 0;
  *bytes = NULL;
  for (PetscInt p = 0; p < w->scan->n_point && w->rank == 0; p++) {
    size_t     size;
    char      *packed;
    PetscInt64 head[2];

    if (!w->record[p]) continue;
    PetscCall(FwRecordPack(w->record[p], &size, &packed));
    head[0] = p;
    head[1] = (PetscInt64)size;
    if (*n + sizeof head + size > room) {
      room = 2 * (*n + sizeof head + size);
      PetscCall(PetscRealloc(room, bytes));
    }
    memcpy(*bytes + *n, head, sizeof head);
    memcpy(*bytes + *n + sizeof head, packed, size);
    *n += sizeof head + size;
    PetscCall(PetscFree(packed));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode UnpackAll(Work *w, size_t n, const char bytes[])
{
  PetscFunctionBegin;
  for (size_t at = 0; at < n;) {
    PetscInt64 head[2];

    PetscCheck(n - at >= sizeof head, PETSC_COMM_SELF, FW_ERR_FILE, "the checkpoint is cut off");
    memcpy(head, bytes + at, sizeof head);
    at += sizeof head;
    PetscCheck(head[0] >= 0 && head[0] < w->scan->n_point && head[1] >= 0 && (size_t)head[1] <= n - at, PETSC_COMM_SELF,
               FW_ERR_FILE, "the checkpoint is damaged");
    PetscCall(FwRecordUnpack((size_t)head[1], bytes + at, &w->record[head[0]]));
    at += (size_t)head[1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCheckpoint(Work *w)
{
  size_t n;
  char  *bytes;

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, PackAll(w, &n, &bytes)));
  PetscCall(FwCheckpointWrite(PETSC_COMM_WORLD, w->plan->checkpoint, w->plan->tag, n, bytes));
  PetscCall(PetscFree(bytes));
  PetscCall(PetscTime(&w->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCheckpoint(Work *w, PetscBool is_done[])
{
  size_t n     = 0;
  char  *bytes = NULL;

  PetscFunctionBegin;
  if (w->plan->resume) {
    PetscCall(FwCheckpointRead(PETSC_COMM_WORLD, w->plan->checkpoint, w->plan->tag, &n, &bytes));
    PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, UnpackAll(w, n, bytes)));
    PetscCall(PetscFree(bytes));
  }
  for (PetscInt p = 0; p < w->scan->n_point; p++) is_done[p] = w->rank == 0 && w->record[p] ? PETSC_TRUE : PETSC_FALSE;
  PetscCallMPI(MPI_Bcast(is_done, (int)w->scan->n_point, MPIU_BOOL, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- rounds ------------------------------------------------------------------------------------------------- */

static PetscErrorCode RunGroup(Work *w, PetscInt group, PetscInt *n, PetscInt point[], FwRecord record[])
{
  PetscFunctionBegin;
  *n = 0;
  for (PetscInt p = 0; p < w->scan->n_point; p++)
    if (w->group[p] == group && group < w->n_group) point[(*n)++] = p;
  for (PetscInt i = 0; i < *n; i++) PetscCall(FwRecordCreate(&record[i]));
  if (*n) PetscCall(w->function(w->comm, w->scan, *n, point, record, w->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DropRecords(PetscInt *n, FwRecord record[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < *n; i++) PetscCall(FwRecordDestroy(&record[i]));
  *n = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An error ends the scan: what is done is kept, if anything is */
static PetscErrorCode KeepBeforeLeaving(Work *w)
{
  int n_done = 0;

  PetscFunctionBegin;
  for (PetscInt p = 0; p < w->scan->n_point && w->rank == 0; p++) n_done += w->record[p] != NULL;
  PetscCallMPI(MPI_Bcast(&n_done, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  if (n_done) PetscCall(WriteCheckpoint(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AfterRound(Work *w, PetscBool is_last)
{
  PetscLogDouble now;
  PetscBool      stop;
  int            is_due;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(PETSC_COMM_WORLD, &stop));
  PetscCall(PetscTime(&now));
  is_due = now - w->last_checkpoint > w->plan->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  if (is_last) PetscFunctionReturn(PETSC_SUCCESS);
  if (is_due || stop) PetscCall(WriteCheckpoint(w));
  PetscCheck(!stop, PETSC_COMM_WORLD, FW_ERR_STOPPED,
             "stopped early, checkpoint '%s' is written: run the same command with -resume", w->plan->checkpoint);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunRounds(Work *w)
{
  PetscInt  *point;
  FwRecord  *record;
  FwProgress progress;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(w->scan->n_point, &point, w->scan->n_point, &record));
  PetscCall(FwProgressBegin("scan", w->n_group, &progress));
  for (PetscInt first = 0; first < w->n_group; first += w->n_comm) {
    PetscInt       n    = 0;
    PetscErrorCode code = RunGroup(w, first + w->comm_index, &n, point, record), agreed;

    agreed = FwErrorAgreeAny(PETSC_COMM_WORLD, code);
    if (code) PetscCall(DropRecords(&n, record));
    PetscCall(CollectRecords(w, n, point, record));
    if (agreed) PetscCall(KeepBeforeLeaving(w));
    PetscCall(agreed);
    PetscCall(FwProgressStep(progress, PetscMin(first + w->n_comm, w->n_group)));
    PetscCall(AfterRound(w, first + w->n_comm >= w->n_group ? PETSC_TRUE : PETSC_FALSE));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(PetscFree2(point, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A single point has no axes; more have the grid's in front */
static PetscErrorCode StackAll(Work *w, FwRecord *all)
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

PetscErrorCode FwScanRun(FwScan scan, const FwScanPlan *plan, FwScanFunction *function, void *context, FwRecord *all)
{
  Work       w = {.scan = scan, .plan = plan, .function = function, .context = context};
  PetscBool *is_done;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &w.rank));
  PetscCall(PetscCalloc2(scan->n_point, &w.record, scan->n_point, &is_done));
  PetscCall(PetscTime(&w.last_checkpoint));
  PetscCall(ReadCheckpoint(&w, is_done));
  PetscCall(MakeGroups(&w, is_done));
  PetscCall(SplitRanks(&w));
  PetscCall(RunRounds(&w));
  PetscCall(FwScanApply(scan, -1));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, StackAll(&w, all)));
  for (PetscInt p = 0; p < scan->n_point; p++) PetscCall(FwRecordDestroy(&w.record[p]));
  PetscCallMPI(MPI_Comm_free(&w.comm));
  PetscCall(PetscFree2(w.record, is_done));
  PetscFunctionReturn(PETSC_SUCCESS);
}
