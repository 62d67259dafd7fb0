/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Chains over ranks: their division, the common clock, checkpoints.
 */

#include <finwidth/chains.h>
#include <finwidth/checkpoint.h>
#include <finwidth/diagnostics.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- division over ranks ------------------------------------------------------------------------------------ */

/* Orders of magnitude of a node of today; only their ratios to the work decide */
static const double flops_per_second = 1e10, message_seconds = 2e-5, bytes_per_second = 2e9;

static double GradientSeconds(const FwChainCost *cost, PetscInt n_rank)
{
  const double useful = (double)PetscMin(n_rank, PetscMax(cost->n_rank_most, 1));
  const double one    = message_seconds + 8.0 * (double)cost->n_parameter / bytes_per_second;

  return cost->flops / flops_per_second / useful + (n_rank > 1 ? ceil(log2((double)n_rank)) * one : 0.0);
}

PetscInt FwChainRanksChoose(PetscInt size, PetscInt n_chain, const FwChainCost *cost)
{
  PetscInt best  = 1;
  double   least = INFINITY;

  for (PetscInt n_part = PetscMin(size, n_chain); n_part >= 1; n_part--) {
    const double seconds = ceil((double)n_chain / (double)n_part) * GradientSeconds(cost, size / n_part);

    if (seconds < least) best = n_part;
    least = PetscMin(least, seconds);
  }
  return best;
}

PetscErrorCode FwChainRanksCreate(MPI_Comm comm, PetscInt n_chain, const FwChainCost *cost, FwChainRanks *ranks)
{
  PetscMPIInt rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  ranks->n_part = FwChainRanksChoose(size, n_chain, cost);
  ranks->part   = (PetscInt)((PetscInt64)rank * ranks->n_part / size);
  PetscCallMPI(MPI_Comm_split(comm, (int)ranks->part, rank, &ranks->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainRanksDestroy(FwChainRanks *ranks)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_free(&ranks->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all chains of a run ------------------------------------------------------------------------------------ */

typedef struct {
  MPI_Comm            comm;
  PetscMPIInt         rank, part_rank;
  const FwChainRanks *ranks;
  const FwTarget     *target;
  const FwChainsPlan *plan;
  PetscInt            n_all;       /* chains of all sets */
  FwChain            *chain;       /* [n_all]; NULL where another part works on it */
  size_t              packed_size; /* doubles of a packed chain */
  FwProgress          progress;
  PetscLogDouble      last_checkpoint, last_note, note_cost;
  double              slowest; /* seconds of a sample of all chains of this rank, so far */
  PetscInt            batch;   /* samples until the next look at the clock */
} Run;

PetscInt FwChainsSets(FwSamplerMethod method)
{
  return method == FW_SAMPLER_LANGEVIN ? 2 : 1;
}

/* Chains 0, 1, .. n_part - 1 go to their part, then from the first part on again */
static PetscInt PartOf(const Run *r, PetscInt chain)
{
  return chain % r->ranks->n_part;
}

static PetscErrorCode CreateChains(Run *r)
{
  PetscFunctionBegin;
  PetscCall(PetscCalloc1(r->n_all, &r->chain));
  for (PetscInt c = 0; c < r->n_all; c++) {
    const double scale = c < r->plan->sampler.n_chain ? 1.0 : M_SQRT1_2;

    if (PartOf(r, c) == r->ranks->part) PetscCall(FwChainCreate(r->target, &r->plan->sampler, c, scale, &r->chain[c]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyChains(Run *r)
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < r->n_all; c++) PetscCall(FwChainDestroy(&r->chain[c]));
  PetscCall(PetscFree(r->chain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- chains to rank 0, and back ----------------------------------------------------------------------------- */

enum { TAG_CHAIN = 81 };

/* Rank of comm that is the first of a part; the parts are consecutive: rank * n_part / size == part */
static PetscErrorCode FirstRankOf(const Run *r, PetscInt part, PetscMPIInt *rank)
{
  PetscMPIInt size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(r->comm, &size));
  *rank = (PetscMPIInt)(((PetscInt64)part * size + r->ranks->n_part - 1) / r->ranks->n_part);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A chain as doubles on rank 0, wherever it is; in pieces that MPI can count */
static PetscErrorCode Gather(Run *r, PetscInt c, double packed[])
{
  enum { PIECE = 1 << 27 };
  PetscMPIInt owner = 0;

  PetscFunctionBegin;
  PetscCall(FirstRankOf(r, PartOf(r, c), &owner));
  if (r->rank == owner) PetscCall(FwChainPack(r->chain[c], packed));
  for (size_t at = 0; at < r->packed_size && owner != 0; at += PIECE) {
    const int n = (int)PetscMin((size_t)PIECE, r->packed_size - at);

    if (r->rank == owner) PetscCallMPI(MPI_Send(packed + at, n, MPI_DOUBLE, 0, TAG_CHAIN, r->comm));
    if (r->rank == 0) PetscCallMPI(MPI_Recv(packed + at, n, MPI_DOUBLE, owner, TAG_CHAIN, r->comm, MPI_STATUS_IGNORE));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCheckpoint(Run *r)
{
  double *packed;

  PetscFunctionBegin;
  if (!r->plan->checkpoint) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(r->packed_size * (size_t)(r->rank == 0 ? r->n_all : 1), &packed));
  for (PetscInt c = 0; c < r->n_all; c++)
    PetscCall(Gather(r, c, packed + (r->rank == 0 ? (size_t)c * r->packed_size : 0)));
  PetscCall(FwCheckpointWrite(r->comm, r->plan->checkpoint, r->plan->tag,
                              r->packed_size * (size_t)r->n_all * sizeof *packed, (const char *)packed));
  PetscCall(PetscFree(packed));
  PetscCall(PetscTime(&r->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(Run *r, const double all[])
{
  enum { PIECE = 1 << 27 };
  double *packed;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(r->packed_size, &packed));
  for (PetscInt c = 0; c < r->n_all; c++) {
    if (r->rank == 0) PetscCall(PetscArraycpy(packed, all + (size_t)c * r->packed_size, r->packed_size));
    for (size_t at = 0; at < r->packed_size; at += PIECE)
      PetscCallMPI(MPI_Bcast(packed + at, (int)PetscMin((size_t)PIECE, r->packed_size - at), MPI_DOUBLE, 0, r->comm));
    if (r->chain[c]) PetscCall(FwChainUnpack(r->chain[c], packed));
  }
  PetscCall(PetscFree(packed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCheckpoint(Run *r)
{
  size_t   n = 0, right = r->packed_size * (size_t)r->n_all * sizeof(double);
  char    *bytes = NULL;
  PetscInt state = 0; /* 0 none, 1 good, 2 of another size */

  PetscFunctionBegin;
  if (!r->plan->resume || !r->plan->checkpoint) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwCheckpointRead(r->comm, r->plan->checkpoint, r->plan->tag, &n, &bytes));
  if (bytes) state = n == right ? 1 : 2;
  PetscCallMPI(MPI_Bcast(&state, 1, MPIU_INT, 0, r->comm));
  PetscCheck(state < 2, r->comm, FW_ERR_FILE, "the checkpoint '%s' is not of these chains", r->plan->checkpoint);
  if (state) PetscCall(Spread(r, (const double *)bytes));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one batch of samples ----------------------------------------------------------------------------------- */

/* Samples of every chain so far: the chains of this rank agree with all others */
static PetscErrorCode Done(Run *r, PetscInt *n_done)
{
  FwChainState state;
  PetscInt     mine = 0;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < r->n_all; c++)
    if (r->chain[c]) {
      PetscCall(FwChainGetState(r->chain[c], &state));
      mine = state.n_done;
    }
  *n_done = mine;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AdvanceAll(Run *r, PetscInt n_sample)
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < r->n_all; c++)
    for (PetscInt s = 0; s < n_sample && r->chain[c]; s++) PetscCall(FwChainAdvance(r->chain[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean, over all chains in their order, of the tuned steps' logarithms */
static PetscErrorCode Freeze(Run *r)
{
  double *log_step, mean = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(r->n_all, &log_step));
  for (PetscInt c = 0; c < r->n_all; c++)
    if (r->chain[c] && r->part_rank == 0) log_step[c] = FwChainLogStep(r->chain[c]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, log_step, (int)r->n_all, MPI_DOUBLE, MPI_SUM, r->comm)); /* one term each */
  for (PetscInt c = 0; c < r->n_all; c++) mean += log_step[c] / (double)r->n_all;
  for (PetscInt c = 0; c < r->n_all; c++)
    if (r->chain[c]) PetscCall(FwChainFreezeStep(r->chain[c], mean));
  PetscCall(PetscFree(log_step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- between batches ---------------------------------------------------------------------------------------- */

/* n of the n_kept samples so far of one series, evenly, of the first set: [n_chain, n] on rank 0 */
static PetscErrorCode GatherSeries(Run *r, PetscInt series, PetscInt n_kept, PetscInt n, double value[])
{
  const PetscInt n_chain = r->plan->sampler.n_chain;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(value, (size_t)n_chain * n));
  for (PetscInt c = 0; c < n_chain; c++) {
    FwChainState  state;
    const double *of_chain;

    if (!r->chain[c] || r->part_rank > 0) continue;
    PetscCall(FwChainGetState(r->chain[c], &state));
    of_chain = state.series + (size_t)series * r->plan->sampler.n_sample;
    for (PetscInt i = 0; i < n; i++) value[(size_t)c * n + i] = of_chain[(PetscInt64)i * n_kept / n];
  }
  PetscCallMPI(MPI_Reduce(r->rank ? value : MPI_IN_PLACE, value, (int)(n_chain * n), MPI_DOUBLE, MPI_SUM, 0, r->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The progress line says how far the chains agree by now; it sorts, so of long chains not every sample is looked at */
static PetscErrorCode NoteRhat(Run *r, PetscInt n_kept)
{
  enum { MOST = 2000 };
  const PetscInt n_chain = r->plan->sampler.n_chain, n = PetscMin(n_kept, MOST);
  double        *value, worst                          = 0.0;
  char           note[64];

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n_chain * n, &value));
  for (PetscInt i = 0; i < r->target->n_series; i++) {
    double rhat = 0.0;

    PetscCall(GatherSeries(r, i, n_kept, n, value));
    if (r->rank == 0) PetscCall(FwChainRhat(n_chain, n, value, &rhat));
    worst = PetscMax(worst, rhat);
  }
  snprintf(note, sizeof note, "R-hat %.3f", worst);
  if (worst > 0.0) PetscCall(FwProgressNote(r->progress, note)); /* of too few samples there is none */
  PetscCall(PetscFree(value));
  PetscCall(PetscTime(&r->note_cost));
  r->note_cost -= r->last_note;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What rank 0 sees on its clock */
typedef struct {
  int is_checkpoint, is_note, batch;
} Clock;

static PetscErrorCode ReadClock(Run *r, double batch_seconds, Clock *clock)
{
  const double   look_seconds = 0.3, note_seconds = 5.0;
  PetscLogDouble now;

  PetscFunctionBegin;
  PetscCall(PetscTime(&now));
  clock->is_checkpoint = now - r->last_checkpoint > r->plan->interval;
  clock->is_note       = now - r->last_note > PetscMax(note_seconds, 20.0 * r->note_cost);
  clock->batch = (int)PetscMax(1.0, PetscMin(2.0, look_seconds / PetscMax(batch_seconds, 1e-9)) * (double)r->batch);
  PetscCallMPI(MPI_Bcast(clock, (int)sizeof *clock, MPI_BYTE, 0, r->comm));
  r->batch = clock->batch;
  if (clock->is_note) r->last_note = now;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LookAround(Run *r, PetscInt n_done, double batch_seconds)
{
  const double   next_at_most = 1.5; /* of the slowest: trajectories differ in length */
  const PetscInt n_kept       = n_done - r->plan->sampler.n_burnin;
  Clock          clock;
  PetscBool      stop, is_asked;

  PetscFunctionBegin;
  PetscCall(ReadClock(r, batch_seconds, &clock));
  if (clock.is_note && n_kept > 0) PetscCall(NoteRhat(r, n_kept));
  PetscCall(FwProgressStep(r->progress, n_done));
  PetscCall(FwStopRequestedWithin(r->comm, next_at_most * r->slowest * (double)r->batch, &stop));
  PetscCall(FwCheckpointRequested(r->comm, &is_asked));
  if (clock.is_checkpoint || is_asked || stop) PetscCall(WriteCheckpoint(r));
  PetscCheck(!stop, r->comm, FW_ERR_STOPPED, "stopped early: run the same command with -resume");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static PetscErrorCode CreateResult(const Run *r, FwChainsResult *result)
{
  const FwSamplerPlan *s = &r->plan->sampler;

  PetscFunctionBegin;
  *result = (FwChainsResult){.n_set    = FwChainsSets(s->method),
                             .n_chain  = s->n_chain,
                             .n_sample = s->n_sample,
                             .n_block  = s->n_block,
                             .n_series = r->target->n_series,
                             .n_field  = r->target->n_field};
  PetscCall(PetscMalloc4((size_t)r->n_all * result->n_series * s->n_sample, &result->series,
                         (size_t)r->n_all * s->n_block * result->n_field, &result->block, result->n_set, &result->step,
                         (size_t)r->n_all * r->target->n, &result->w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Samples in block b */
static PetscInt BlockLength(const FwChainsResult *a, PetscInt b)
{
  PetscInt n = 0;

  for (PetscInt s = 0; s < a->n_sample; s++) n += s * a->n_block / a->n_sample == b;
  return n;
}

static PetscErrorCode TakeChain(const Run *r, PetscInt c, const FwChainState *state, FwChainsResult *a)
{
  const PetscInt set = c / a->n_chain, chain = c % a->n_chain;
  double        *block = a->block + (size_t)c * a->n_block * a->n_field;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < a->n_series; i++)
    PetscCall(PetscArraycpy(a->series + (size_t)((set * a->n_series + i) * a->n_chain + chain) * a->n_sample,
                            state->series + (size_t)i * a->n_sample, a->n_sample));
  for (PetscInt b = 0; b < a->n_block; b++) {
    const double length = (double)BlockLength(a, b);
    const size_t first  = (size_t)b * a->n_field;

    for (PetscInt i = 0; i < a->n_field; i++) block[first + i] = state->block[first + i] / length;
  }
  PetscCall(PetscArraycpy(a->w + (size_t)c * r->target->n, state->w, r->target->n));
  a->step[set] = state->step;
  a->n_divergent += state->n_divergent;
  a->n_move += state->n_move;
  a->n_gradient += state->n_gradient;
  if (set == 0) a->acceptance += state->acceptance / state->n_move / (double)a->n_chain;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One chain after the other comes to rank 0, into a chain of its own there */
static PetscErrorCode Collect(Run *r, FwChainsResult *result)
{
  double      *packed;
  FwChain      here = NULL;
  FwChainState state;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(r->packed_size, &packed));
  if (r->rank == 0) PetscCall(CreateResult(r, result));
  if (r->rank == 0) PetscCall(FwChainCreate(r->target, &r->plan->sampler, 0, 1.0, &here));
  for (PetscInt c = 0; c < r->n_all; c++) {
    PetscCall(Gather(r, c, packed));
    if (r->rank > 0) continue;
    PetscCall(FwChainUnpack(here, packed));
    PetscCall(FwChainGetState(here, &state));
    PetscCall(TakeChain(r, c, &state, result));
  }
  PetscCall(FwChainDestroy(&here));
  PetscCall(PetscFree(packed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainsResultDestroy(FwChainsResult *result)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(result->series, result->block, result->step, result->w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run ------------------------------------------------------------------------------------------------ */

static PetscErrorCode RunBatches(Run *r)
{
  const PetscInt n_tuned = FwSamplerTuning(&r->plan->sampler),
                 n_all   = r->plan->sampler.n_burnin + r->plan->sampler.n_sample;
  PetscInt n_done        = 0;

  PetscFunctionBegin;
  PetscCall(Done(r, &n_done));
  while (n_done < n_all) {
    const PetscInt end = n_done < n_tuned ? n_tuned : n_all; /* steps are frozen between batches */
    const PetscInt n   = PetscMin(r->batch, end - n_done);
    PetscLogDouble begin, now;

    if (n_done == n_tuned) PetscCall(Freeze(r));
    PetscCall(PetscTime(&begin));
    PetscCall(FwErrorAgreeAny(r->comm, AdvanceAll(r, n)));
    PetscCall(PetscTime(&now));
    n_done += n;
    r->batch   = n;
    r->slowest = PetscMax(r->slowest, (now - begin) / (double)n);
    PetscCall(LookAround(r, n_done, now - begin));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainsRun(MPI_Comm comm, const FwChainRanks *ranks, const FwTarget *target, const FwChainsPlan *plan,
                           FwChainsResult *result)
{
  Run      r      = {.comm = comm, .ranks = ranks, .target = target, .plan = plan, .batch = 1};
  PetscInt n_done = 0;

  PetscFunctionBegin;
  *result       = (FwChainsResult){0};
  r.n_all       = FwChainsSets(plan->sampler.method) * plan->sampler.n_chain;
  r.packed_size = FwChainPackedSize(target, &plan->sampler);
  PetscCallMPI(MPI_Comm_rank(comm, &r.rank));
  PetscCallMPI(MPI_Comm_rank(ranks->comm, &r.part_rank));
  PetscCall(PetscTime(&r.last_checkpoint));
  r.last_note = r.last_checkpoint;
  PetscCall(CreateChains(&r));
  PetscCall(ReadCheckpoint(&r));
  PetscCall(FwProgressBegin("sampling", plan->sampler.n_burnin + plan->sampler.n_sample, &r.progress));
  PetscCall(Done(&r, &n_done));
  PetscCall(FwProgressSkip(r.progress, n_done));
  PetscCall(RunBatches(&r));
  if (plan->is_end_kept && n_done < plan->sampler.n_burnin + plan->sampler.n_sample) PetscCall(WriteCheckpoint(&r));
  PetscCall(FwProgressEnd(&r.progress));
  PetscCall(Collect(&r, result));
  PetscCall(DestroyChains(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}
