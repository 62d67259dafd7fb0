/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Blocks of instances, as many at a time as there are parts of the ranks, and what is kept between them.
 */

#include "experiment_impl.h"

#include <finwidth/checkpoint.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <math.h>

/* --- what can be done, and what it takes ---------------------------------------------------------------------------- */

static PetscErrorCode CheckKind(const FwExperiment *e)
{
  const FwChannel *channel = &e->channel;

  PetscFunctionBegin;
  PetscCheck(e->kind == FW_EXPERIMENT_GAMP || channel->kind == FW_CHANNEL_GAUSSIAN, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_experiment: ridge and hmc learn from labels with gaussian noise, optimal_channel is %s: use gamp",
             FwChannelNames[channel->kind]);
  PetscCheck(e->kind != FW_EXPERIMENT_GAMP || e->bias == 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_experiment: gamp has no intercept, and the labels of activations that are not odd share one%s",
             channel->kind == FW_CHANNEL_GAUSSIAN ? ": use ridge" : "");
  PetscCheck(e->kind != FW_EXPERIMENT_GAMP || e->eta > 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_experiment: nothing of these networks is linear (eta = 0), gamp has nothing to learn");
  PetscCheck(e->kind != FW_EXPERIMENT_HMC || channel->noise > 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_noise is 0: the posterior of the network is sampled with noise only");
  PetscCheck(e->kind != FW_EXPERIMENT_HMC || e->teacher.depth > 0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "network_depth is 0: without hidden layers ridge is the posterior, there is nothing to sample");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExperimentCheck(const FwExperiment *e)
{
  PetscFunctionBegin;
  PetscCheck(e->n_train >= 1, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_alpha times optimal_dimension %" PetscInt_FMT " rounds to no training example", e->teacher.d);
  PetscCheck(e->n_test >= 2, PETSC_COMM_SELF, FW_ERR_INPUT, "optimal_test %" PetscInt_FMT ": want at least 2",
             e->n_test);
  PetscCheck(e->n_instance >= 2, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_instances %" PetscInt_FMT ": one instance has no error bar, want at least 2", e->n_instance);
  PetscCheck(e->n_iteration >= 1 && e->n_iteration <= FW_EXPERIMENT_STEP_MOST, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_iterations %" PetscInt_FMT ": want 1 to %d", e->n_iteration, (int)FW_EXPERIMENT_STEP_MOST);
  PetscCheck((double)e->n_instance * PetscMax(e->n_iteration + 1.0, (double)FW_INSTANCE_COUNT) < 2147483647.0 / 2.0,
             PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_instances %" PetscInt_FMT ": so many teachers do not fit one message", e->n_instance);
  PetscCall(CheckKind(e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Teachers of a block: what they share is of order 1/d and must not show beside 1/sqrt(d K) */
static PetscInt BlockSize(const FwExperiment *e)
{
  return PetscClipInterval(e->teacher.d / 25, 1, FW_BLOCK_MOST);
}

static PetscInt Blocks(const FwExperiment *e)
{
  const PetscInt K = BlockSize(e);

  return (e->n_instance + K - 1) / K;
}

/* Ranks that share a block: small inputs are not worth dividing, a sampler has two chains */
static PetscInt RanksOfBlock(const FwExperiment *e)
{
  const double bytes = 8.0 * (double)e->n_train * (double)e->teacher.d, worth = 67108864.0, rows = 256.0;

  if (e->kind == FW_EXPERIMENT_HMC) return 2;
  return (PetscInt)PetscClipInterval(ceil(bytes / worth), 1.0, ceil((double)e->n_train / rows));
}

/* Parts that the ranks are cut into */
static PetscInt Parts(const FwExperiment *e, PetscInt n_rank)
{
  return PetscClipInterval(n_rank / RanksOfBlock(e), 1, Blocks(e));
}

/* Room for a trajectory: only message passing has one */
static PetscInt StepsMost(const FwExperiment *e)
{
  return e->kind == FW_EXPERIMENT_GAMP ? e->n_iteration + 1 : 0;
}

void FwExperimentEstimate(const FwExperiment *e, PetscInt n_rank, FwExperimentCost *cost)
{
  const double      K = BlockSize(e), n = (double)e->n_train, m = (double)e->n_test, d = e->teacher.d, passes = 50.0;
  const FwInstances at     = {.n = BlockSize(e)};
  const PetscInt    share  = n_rank / Parts(e, n_rank); /* ranks of the smallest part */
  double            widest = d;
  FwDesignPlan      train, test;

  for (PetscInt l = 0; l < e->teacher.depth; l++) widest = PetscMax(widest, e->teacher.width[l]);
  FwExperimentDesigns(e, at, &train, &test);
  cost->rank_bytes = FwDesignBytes(&train, share) + FwDesignBytes(&test, share) +
                     8.0 * (2.0 * e->n_instance * (FW_INSTANCE_COUNT + (double)StepsMost(e)) +
                            K * (3.0 * n + 2.0 * m) / share + 8.0 * K * d + widest * (256.0 + 2.0 * 2048.0));
  cost->flops = e->n_instance * ((n + m) * FwDeepTeacherFlops(&e->teacher) + 4.0 * d * (passes * n + 2.0 * m));
}

/* --- the run ---------------------------------------------------------------------------------------------------------- */

/* The ranks are cut into parts, which work on different blocks at the same time; rows are divided over the ranks of a part.
   Instances that are not done yet have no FW_INSTANCE_CONVERGED. */
typedef struct {
  MPI_Comm            comm, part_comm;
  PetscMPIInt         rank, size;
  PetscInt            n_part, part;
  const FwExperiment *e;
  const FwKeptRun    *run;
  PetscInt            row;    /* StepsMost() */
  PetscInt            n_step; /* longest trajectory so far */
  double             *number; /* [n_instance, FW_INSTANCE_COUNT] */
  double             *path;   /* [n_instance, row] trajectories */
  PetscLogDouble      last_checkpoint;
  double              slowest; /* seconds of a round that would be lost */
} Work;

static FwInstances InstancesOf(const FwExperiment *e, PetscInt block)
{
  const PetscInt K = BlockSize(e);

  return (FwInstances){.block = block, .first = block * K, .n = PetscMin(K, e->n_instance - block * K)};
}

static PetscErrorCode CutRanks(Work *w)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(w->comm, &w->rank));
  PetscCallMPI(MPI_Comm_size(w->comm, &w->size));
  w->n_part = Parts(w->e, (PetscInt)w->size);
  w->part   = (PetscInt)((PetscInt64)w->rank * w->n_part / w->size);
  PetscCallMPI(MPI_Comm_split(w->comm, (int)w->part, w->rank, &w->part_comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsDone(const Work *w, PetscInt instance)
{
  return isnan(w->number[instance * FW_INSTANCE_COUNT + FW_INSTANCE_CONVERGED]) ? PETSC_FALSE : PETSC_TRUE;
}

static PetscInt CountDone(const Work *w)
{
  PetscInt n = 0;

  for (PetscInt i = 0; i < w->e->n_instance; i++) n += IsDone(w, i);
  return n;
}

/* The `nth` block that is not done yet; -1 where there are fewer */
static PetscInt OpenBlock(const Work *w, PetscInt nth)
{
  for (PetscInt b = 0; b < Blocks(w->e); b++)
    if (!IsDone(w, InstancesOf(w->e, b).first) && nth-- == 0) return b;
  return -1;
}

/* A trajectory goes on with its last entry */
static void KeepPaths(Work *w, FwInstances at, PetscInt n_step, const double overlap[])
{
  for (PetscInt k = 0; k < at.n && n_step; k++)
    for (PetscInt t = 0; t < w->row; t++)
      w->path[(at.first + k) * w->row + t] = overlap[PetscMin(t, n_step - 1) * at.n + k];
  w->n_step = PetscMax(w->n_step, n_step);
}

static PetscErrorCode DoBlock(Work *w, PetscInt block)
{
  double        *overlap;
  PetscInt       n_step = 0;
  PetscErrorCode code;

  PetscFunctionBegin;
  if (block < 0) PetscFunctionReturn(PETSC_SUCCESS);
  const FwInstances at = InstancesOf(w->e, block);

  PetscCall(PetscMalloc1(w->row * at.n, &overlap));
  code = FwExperimentBlock(w->part_comm, w->e, at, w->number + at.first * FW_INSTANCE_COUNT, &n_step, overlap);
  if (!code) KeepPaths(w, at, n_step, overlap);
  for (PetscInt k = 0; k < at.n && code; k++)
    w->number[(at.first + k) * FW_INSTANCE_COUNT + FW_INSTANCE_CONVERGED] = NAN;
  PetscCall(PetscFree(overlap));
  PetscFunctionReturn(code);
}

/* Every rank learns what a part has found */
static PetscErrorCode ShareBlock(Work *w, PetscInt part, PetscInt block)
{
  const FwInstances at = InstancesOf(w->e, block);
  const int root = (int)(((PetscInt64)part * w->size + w->n_part - 1) / w->n_part); /* the first rank of the part */

  PetscFunctionBegin;
  PetscCallMPI(
    MPI_Bcast(w->number + at.first * FW_INSTANCE_COUNT, (int)(at.n * FW_INSTANCE_COUNT), MPI_DOUBLE, root, w->comm));
  PetscCallMPI(MPI_Bcast(w->path + at.first * w->row, (int)(at.n * w->row), MPI_DOUBLE, root, w->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many open blocks as there are parts */
static PetscErrorCode Round(Work *w)
{
  PetscInt      *open;
  PetscLogDouble begin, end;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscTime(&begin));
  PetscCall(PetscMalloc1(w->n_part, &open));
  for (PetscInt p = 0; p < w->n_part; p++) open[p] = OpenBlock(w, p);
  code = DoBlock(w, open[w->part]);
  for (PetscInt p = 0; p < w->n_part; p++)
    if (open[p] >= 0) PetscCall(ShareBlock(w, p, open[p]));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &w->n_step, 1, MPIU_INT, MPI_MAX, w->comm));
  PetscCall(PetscFree(open));
  PetscCall(PetscTime(&end));
  if (w->e->kind != FW_EXPERIMENT_HMC)
    w->slowest = PetscMax(w->slowest, end - begin); /* a sampler keeps what it has done */
  PetscFunctionReturn(FwErrorAgreeAny(w->comm, code));
}

/* --- checkpoint: numbers and trajectories of all instances, done or not ------------------------------------------------- */

static size_t DoublesOf(const Work *w, PetscInt n_step)
{
  return (size_t)w->e->n_instance * (size_t)(FW_INSTANCE_COUNT + n_step);
}

static PetscErrorCode WriteCheckpoint(Work *w)
{
  const size_t n     = DoublesOf(w, w->n_step);
  double      *value = NULL;

  PetscFunctionBegin;
  if (!w->run->checkpoint) PetscFunctionReturn(PETSC_SUCCESS);
  if (w->rank == 0) {
    double *path;

    PetscCall(PetscMalloc1(n, &value));
    PetscCall(PetscArraycpy(value, w->number, w->e->n_instance * FW_INSTANCE_COUNT));
    path = value + w->e->n_instance * FW_INSTANCE_COUNT;
    for (PetscInt i = 0; i < w->e->n_instance; i++, path += w->n_step)
      PetscCall(PetscArraycpy(path, w->path + i * w->row, w->n_step));
  }
  PetscCall(FwCheckpointWrite(w->comm, w->run->checkpoint, w->run->tag, n * sizeof *value, (const char *)value));
  PetscCall(PetscFree(value));
  PetscCall(PetscTime(&w->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0 */
static PetscErrorCode TakeBytes(Work *w, size_t n, const char bytes[])
{
  const size_t   fixed = DoublesOf(w, 0) * sizeof(double), step = (size_t)w->e->n_instance * sizeof(double);
  const PetscInt n_step = n >= fixed ? (PetscInt)((n - fixed) / step) : w->row + 1;
  double        *path;

  PetscFunctionBegin;
  PetscCheck(n_step <= w->row && n == fixed + step * (size_t)n_step, PETSC_COMM_SELF, FW_ERR_FILE,
             "the checkpoint '%s' does not fit the instances of this run", w->run->checkpoint);
  PetscCall(PetscMemcpy(w->number, bytes, fixed));
  PetscCall(PetscMalloc1(n_step, &path));
  for (PetscInt i = 0; i < w->e->n_instance; i++) {
    PetscCall(
      PetscMemcpy(path, bytes + fixed + (size_t)i * (size_t)n_step * sizeof *path, (size_t)n_step * sizeof *path));
    KeepPaths(w, (FwInstances){.first = i, .n = 1}, n_step, path);
  }
  PetscCall(PetscFree(path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCheckpoint(Work *w)
{
  size_t         n     = 0;
  char          *bytes = NULL;
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (!w->run->checkpoint || !w->run->resume) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwCheckpointRead(w->comm, w->run->checkpoint, w->run->tag, &n, &bytes));
  if (w->rank == 0 && bytes) code = TakeBytes(w, n, bytes);
  PetscCall(FwErrorAgree(w->comm, 0, code));
  PetscCall(PetscFree(bytes));
  PetscCallMPI(MPI_Bcast(&w->n_step, 1, MPIU_INT, 0, w->comm));
  PetscCallMPI(MPI_Bcast(w->number, (int)(w->e->n_instance * FW_INSTANCE_COUNT), MPI_DOUBLE, 0, w->comm));
  PetscCallMPI(MPI_Bcast(w->path, (int)(w->e->n_instance * w->row), MPI_DOUBLE, 0, w->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AfterRound(Work *w, PetscBool *stop)
{
  PetscLogDouble now;
  PetscBool      is_asked;
  int            is_due;

  PetscFunctionBegin;
  PetscCall(FwStopRequestedWithin(w->comm, w->slowest, stop));
  PetscCall(FwCheckpointRequested(w->comm, &is_asked));
  PetscCall(PetscTime(&now));
  is_due = now - w->last_checkpoint > w->run->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, w->comm));
  if (is_due || is_asked) PetscCall(WriteCheckpoint(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block that is asked to stop is given up: what was finished before it is kept */
static PetscErrorCode Stop(Work *w)
{
  PetscFunctionBegin;
  FwErrorClear();
  PetscCall(WriteCheckpoint(w));
  PetscCheck(!w->run->checkpoint, w->comm, FW_ERR_STOPPED,
             "stopped early, checkpoint '%s' holds %" PetscInt_FMT " of %" PetscInt_FMT
             " instances: run the same command with -resume",
             w->run->checkpoint, CountDone(w), w->e->n_instance);
  SETERRQ(w->comm, FW_ERR_STOPPED, "stopped early");
}

static PetscErrorCode DoRounds(Work *w)
{
  FwProgress progress = NULL;
  PetscBool  stop     = PETSC_FALSE;

  PetscFunctionBegin;
  if (w->run->has_progress) PetscCall(FwProgressBegin("teachers", w->e->n_instance, &progress));
  if (progress) PetscCall(FwProgressSkip(progress, CountDone(w)));
  while (CountDone(w) < w->e->n_instance && !stop) {
    const PetscErrorCode code = Round(w);

    stop = code == FW_ERR_STOPPED ? PETSC_TRUE : PETSC_FALSE;
    if (!stop) PetscCall(code);
    if (progress) PetscCall(FwProgressStep(progress, CountDone(w)));
    if (!stop && CountDone(w) < w->e->n_instance) PetscCall(AfterRound(w, &stop));
  }
  if (progress) PetscCall(FwProgressEnd(&progress));
  if (stop) PetscCall(Stop(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode MakeResult(const Work *w, FwExperimentResult *result)
{
  PetscFunctionBegin;
  *result = (FwExperimentResult){.n_instance = w->e->n_instance, .n_step = w->n_step};
  PetscCall(PetscMalloc1(w->e->n_instance * FW_INSTANCE_COUNT, &result->number));
  PetscCall(PetscMalloc1(w->e->n_instance * w->n_step, &result->overlap));
  PetscCall(PetscArraycpy(result->number, w->number, w->e->n_instance * FW_INSTANCE_COUNT));
  for (PetscInt i = 0; i < w->e->n_instance; i++)
    PetscCall(PetscArraycpy(result->overlap + i * w->n_step, w->path + i * w->row, w->n_step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExperimentDo(MPI_Comm comm, const FwExperiment *experiment, const FwKeptRun *run,
                              FwExperimentResult *result)
{
  Work           w = {.comm = comm, .e = experiment, .run = run};
  PetscErrorCode code;

  PetscFunctionBegin;
  *result = (FwExperimentResult){0};
  PetscCall(FwErrorAgreeAny(comm, FwExperimentCheck(experiment)));
  PetscCall(CutRanks(&w));
  w.row = StepsMost(experiment);
  PetscCall(PetscMalloc2((size_t)experiment->n_instance * FW_INSTANCE_COUNT, &w.number,
                         (size_t)experiment->n_instance * (size_t)w.row, &w.path));
  for (PetscInt i = 0; i < experiment->n_instance * FW_INSTANCE_COUNT; i++) w.number[i] = NAN;
  for (PetscInt i = 0; i < experiment->n_instance * w.row; i++) w.path[i] = NAN;
  PetscCall(PetscTime(&w.last_checkpoint));
  PetscCall(ReadCheckpoint(&w));
  code = DoRounds(&w);
  if (!code) PetscCall(MakeResult(&w, result));
  PetscCall(PetscFree2(w.number, w.path));
  PetscCallMPI(MPI_Comm_free(&w.part_comm));
  PetscFunctionReturn(code);
}

PetscErrorCode FwExperimentResultDestroy(FwExperimentResult *result)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(result->number));
  PetscCall(PetscFree(result->overlap));
  *result = (FwExperimentResult){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
