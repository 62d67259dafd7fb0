/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The posterior by sequential Monte Carlo: particles from the prior, whose likelihood is raised to powers beta from 0
 * to 1, each chosen so that half of the effective sample size is left; then they are resampled and moved.
 *
 * Particles live in the coordinates of the Bartlett form: gamma variables G and normal ones Z, which the moves
 *
 *     Z' = sqrt(rho) Z + sqrt(1 - rho) N(0, 1),   G' = G Beta(rho k, (1 - rho) k) + Gamma((1 - rho) k)
 *
 * leave invariant, k the shape: they are accepted by the ratio of the tempered likelihoods alone, at any width and
 * depth. The product of the mean weights is the evidence. Its relative variance is estimated twice, and the larger
 * taken: from how many of the first particles have descendants (Lee and Whiteley, Biometrika 105, 609, 2018), which
 * knows about moves that do not reach far, and as the sum over stages of the variance of the mean weight.
 *
 * Everything that decides is computed from all particles on every rank: the same bits on any number of ranks. Between
 * moves the run can stop: the checkpoint has the particles by index, and goes on with the same bits on other ranks.
 */

#include "posterior_sample.h"

#include <finwidth/checkpoint.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>
#include <math.h>
#include <petsctime.h>

enum { STAGES_MAX = 1000, MOVES_MIN = 4, MOVES_MAX = 100, PROGRESS_STEPS = 1000 };

static const double refreshments = 1.5; /* of the coordinates per stage: sum of acceptance times (1 - rho) */
static const double fresh_most = 0.99, fresh_least = 1e-6; /* bounds of 1 - rho */

/* How far the run is, beside the particles */
typedef struct {
  double     beta, fresh;        /* the power of the likelihood; 1 - rho */
  double     refreshed;          /* of the coordinates, by the moves of this stage */
  double     log_mean, variance; /* log of the product of mean weights; sum of their relative variances */
  PetscInt64 n_stage, n_move, n_stage_move;
  PetscInt64 n_unmixed; /* stages whose moves have not refreshed the coordinates */
} State;

typedef struct {
  MPI_Comm                      comm;
  const FwMixtureLaw           *law;
  FwLikelihood                 *likelihood;
  const FwMixturePosteriorPlan *plan;
  FwParticles                   particles, proposed;
  PetscInt                      n_gamma, n_normal;
  double                       *shape;            /* [n_gamma] */
  double                       *coordinate;       /* [n_gamma + n_normal][n_local] of the particles, gamma first */
  double                       *proposal;         /* of the proposed ones */
  double                       *all, *log_weight; /* [n] a number of every particle; room */
  PetscInt                     *ancestor;         /* [n] index of each particle's first ancestor */
  State                         now;
  PetscLogDouble                last_checkpoint;
} Temper;

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode Create(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                             const FwMixturePosteriorPlan *plan, Temper *t)
{
  const PetscInt n = plan->n_particle;
  size_t         size;

  PetscFunctionBegin;
  *t = (Temper){.comm = comm, .law = law, .likelihood = likelihood, .plan = plan, .now = {.fresh = fresh_most}};
  PetscCall(FwParticlesCreate(comm, law->n_output, n, &t->particles));
  PetscCall(FwParticlesCreate(comm, law->n_output, n, &t->proposed));
  PetscCall(FwMixtureCoordinateCounts(law, &t->n_gamma, &t->n_normal));
  size = (size_t)(t->n_gamma + t->n_normal) * (size_t)t->particles.n_local;
  PetscCall(PetscMalloc3(t->n_gamma, &t->shape, size, &t->coordinate, size, &t->proposal));
  PetscCall(PetscMalloc3(n, &t->all, n, &t->log_weight, n, &t->ancestor));
  PetscCall(FwMixtureCoordinateShapes(law, t->shape));
  for (PetscInt i = 0; i < n; i++) t->ancestor[i] = i;
  PetscCall(PetscTime(&t->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(Temper *t)
{
  PetscFunctionBegin;
  PetscCall(FwParticlesDestroy(&t->particles));
  PetscCall(FwParticlesDestroy(&t->proposed));
  PetscCall(PetscFree3(t->shape, t->coordinate, t->proposal));
  PetscCall(PetscFree3(t->all, t->log_weight, t->ancestor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- coordinates -------------------------------------------------------------------------------------------- */

static FwStream GammaStream(const Temper *t, PetscInt coordinate, PetscInt part)
{
  return FwStreamCreate(t->plan->seed, FW_RANDOM_TEMPER_GAMMA, (uint64_t)coordinate, (uint64_t)t->now.n_move,
                        (uint64_t)part);
}

static FwStream NormalStream(const Temper *t, PetscInt coordinate)
{
  return FwStreamCreate(t->plan->seed, FW_RANDOM_TEMPER_NORMAL, (uint64_t)coordinate, (uint64_t)t->now.n_move, 0);
}

/* Coordinates from the prior */
static PetscErrorCode DrawPrior(Temper *t, double coordinate[])
{
  const uint64_t first = (uint64_t)t->particles.first;
  const size_t   n     = (size_t)t->particles.n_local;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < t->n_gamma; c++)
    FwStreamGammaBulk(GammaStream(t, c, 0), t->shape[c], 1.0, first, n, coordinate + c * n);
  for (PetscInt c = 0; c < t->n_normal; c++)
    FwStreamNormalBulk(NormalStream(t, c), first, n, coordinate + (t->n_gamma + c) * n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propose(Temper *t)
{
  const uint64_t first = (uint64_t)t->particles.first;
  const size_t   n     = (size_t)t->particles.n_local;
  const double   kept = sqrt(1.0 - t->now.fresh), added = sqrt(t->now.fresh);
  double        *part[3];

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &part[0], n, &part[1], n, &part[2]));
  for (PetscInt c = 0; c < t->n_gamma; c++) {
    const double *from = t->coordinate + c * n;
    double       *to   = t->proposal + c * n;

    for (int k = 0; k < 3; k++)
      FwStreamGammaBulk(GammaStream(t, c, k), (k ? t->now.fresh : 1.0 - t->now.fresh) * t->shape[c], 1.0, first, n,
                        part[k]);
    for (size_t i = 0; i < n; i++) to[i] = from[i] * part[0][i] / (part[0][i] + part[1][i]) + part[2][i];
  }
  for (PetscInt c = t->n_gamma; c < t->n_gamma + t->n_normal; c++) {
    FwStreamNormalBulk(NormalStream(t, c - t->n_gamma), first, n, part[0]);
    for (size_t i = 0; i < n; i++) t->proposal[c * n + i] = kept * t->coordinate[c * n + i] + added * part[0][i];
  }
  PetscCall(PetscFree3(part[0], part[1], part[2]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coordinates first .. first + n - 1 of particles at .. at + count - 1, particle by particle */
static void Transpose(const Temper *t, const double coordinate[], PetscInt first, PetscInt n, PetscInt at,
                      PetscInt count, double by_particle[])
{
  for (PetscInt i = 0; i < count; i++)
    for (PetscInt c = 0; c < n; c++)
      by_particle[i * n + c] = coordinate[(size_t)(first + c) * t->particles.n_local + at + i];
}

/* Eigenvalues and likelihoods from coordinates */
static PetscErrorCode Weigh(Temper *t, const double coordinate[], FwParticles *p)
{
  const PetscInt d = p->n_output;
  double        *gamma, *normal, *x, *m;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(FW_PARTICLE_BLOCK * (size_t)t->n_gamma, &gamma, FW_PARTICLE_BLOCK * (size_t)t->n_normal,
                         &normal, FW_PARTICLE_BLOCK * d, &x, FW_PARTICLE_BLOCK * d * d, &m));
  for (PetscInt at = 0; at < p->n_local; at += FW_PARTICLE_BLOCK) {
    const PetscInt count = PetscMin(FW_PARTICLE_BLOCK, p->n_local - at);

    Transpose(t, coordinate, 0, t->n_gamma, at, count, gamma);
    Transpose(t, coordinate, t->n_gamma, t->n_normal, at, count, normal);
    PetscCall(FwMixtureAssemble(t->law, count, gamma, normal, x, m));
    PetscCall(FwParticlesWeigh(p, t->likelihood, at, count, x, m));
  }
  PetscCall(PetscFree4(gamma, normal, x, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- moves -------------------------------------------------------------------------------------------------- */

static PetscErrorCode ProposeAndWeigh(Temper *t)
{
  PetscFunctionBegin;
  PetscCall(Propose(t));
  PetscCall(Weigh(t, t->proposal, &t->proposed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AcceptOne(Temper *t, PetscInt i)
{
  const size_t d = (size_t)t->particles.n_output, n = (size_t)t->particles.n_local;
  FwParticles *to = &t->particles, *from = &t->proposed;

  PetscFunctionBegin;
  for (size_t c = 0; c < (size_t)(t->n_gamma + t->n_normal); c++) t->coordinate[c * n + i] = t->proposal[c * n + i];
  to->log_likelihood[i] = from->log_likelihood[i];
  PetscCall(PetscArraycpy(to->log_q + i * d, from->log_q + i * d, d));
  PetscCall(PetscArraycpy(to->rotation + i * d * d, from->rotation + i * d * d, d * d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One move of every particle; the share that was accepted */
static PetscErrorCode Move(Temper *t, double *acceptance)
{
  const PetscInt n_local = t->particles.n_local;
  PetscInt       count   = 0;
  double        *u;

  PetscFunctionBegin;
  t->now.n_move++;
  PetscCall(FwErrorAgreeAny(t->comm, ProposeAndWeigh(t)));
  PetscCall(PetscMalloc1(n_local, &u));
  FwStreamUniformBulk(FwStreamCreate(t->plan->seed, FW_RANDOM_TEMPER_ACCEPT, (uint64_t)t->now.n_move, 0, 0),
                      (uint64_t)t->particles.first, (size_t)n_local, u);
  for (PetscInt i = 0; i < n_local; i++)
    if (log(u[i]) < t->now.beta * (t->proposed.log_likelihood[i] - t->particles.log_likelihood[i])) {
      PetscCall(AcceptOne(t, i));
      count++;
    }
  PetscCall(PetscFree(u));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &count, 1, MPIU_INT, MPI_SUM, t->comm));
  *acceptance = (double)count / (double)t->particles.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the moves of this stage have refreshed the coordinates; at beta = 0 they are fresh from the prior */
static PetscBool IsRefreshed(const Temper *t)
{
  const State *now = &t->now;

  return now->beta == 0.0 || (now->n_stage_move >= MOVES_MIN && now->refreshed >= refreshments) ? PETSC_TRUE
                                                                                                : PETSC_FALSE;
}

/* They have, or have moved for long enough: then the stage is counted as one that did not mix */
static PetscBool IsOver(const Temper *t)
{
  return IsRefreshed(t) || t->now.n_stage_move >= MOVES_MAX ? PETSC_TRUE : PETSC_FALSE;
}

/* The size of the moves follows the acceptance */
static PetscErrorCode MoveAndAdapt(Temper *t)
{
  double acceptance = 0.0;

  PetscFunctionBegin;
  PetscCall(Move(t, &acceptance));
  t->now.n_stage_move++;
  t->now.refreshed += acceptance * t->now.fresh;
  if (IsOver(t) && !IsRefreshed(t)) t->now.n_unmixed++;
  if (acceptance < 0.25) t->now.fresh = PetscMax(fresh_least, 0.6 * t->now.fresh);
  if (acceptance > 0.45) t->now.fresh = PetscMin(fresh_most, 1.4 * t->now.fresh);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsDone(const Temper *t)
{
  return t->now.beta >= 1.0 && IsOver(t) ? PETSC_TRUE : PETSC_FALSE;
}

/* --- numbers of the particles ------------------------------------------------------------------------------- */

/* A local array of n_row numbers of each particle: row r of particle i at [r * between + i * stride] */
typedef struct {
  double  *value;
  PetscInt n_row;
  size_t   between, stride;
} Rows;

enum { ROWS = 4 };

static void ListRows(const Temper *t, Rows rows[ROWS])
{
  const FwParticles *p = &t->particles;
  const PetscInt     d = p->n_output, n_coordinate = t->n_gamma + t->n_normal;

  rows[0] = (Rows){t->coordinate, n_coordinate, (size_t)p->n_local, 1};
  rows[1] = (Rows){p->log_q, d, 1, (size_t)d};
  rows[2] = (Rows){p->rotation, d * d, 1, (size_t)(d * d)};
  rows[3] = (Rows){p->log_likelihood, 1, 1, 1};
}

static double *Entry(const Rows *rows, PetscInt r, PetscInt i)
{
  return rows->value + r * rows->between + i * rows->stride;
}

/* Row r of all particles, on every rank: [n] */
static PetscErrorCode GatherRow(const FwParticles *p, const Rows *rows, PetscInt r, double all[])
{
  double *one;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(p->n_local, &one));
  for (PetscInt i = 0; i < p->n_local; i++) one[i] = *Entry(rows, r, i);
  PetscCall(FwParticlesGather(p, one, all));
  PetscCall(PetscFree(one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- stages ------------------------------------------------------------------------------------------------- */

static double SizeAfter(Temper *t, double step)
{
  for (PetscInt i = 0; i < t->particles.n; i++) t->log_weight[i] = step * t->all[i];
  return FwEffectiveSize(t->particles.n, t->log_weight);
}

/* The largest step of beta that leaves half of the effective sample size; log_weight is of that step */
static double ChooseStep(Temper *t, double left)
{
  double low = 0.0, high = left;

  if (SizeAfter(t, left) >= 0.5 * t->particles.n) return left;
  for (int i = 0; i < 60; i++) {
    const double middle = 0.5 * (low + high);

    if (SizeAfter(t, middle) >= 0.5 * t->particles.n)
      low = middle;
    else
      high = middle;
  }
  (void)SizeAfter(t, low);
  return low;
}

/* Systematic resampling: parents in ascending order */
static PetscErrorCode ChooseParents(Temper *t, PetscInt parent[])
{
  const PetscInt n    = t->particles.n;
  const double   mean = FwLogMeanExp(n, t->log_weight);
  double         u, sum = 0.0;
  PetscInt       at = 0;

  PetscFunctionBegin;
  FwStreamUniform(FwStreamCreate(t->plan->seed, FW_RANDOM_TEMPER_CHOOSE, (uint64_t)t->now.n_stage, 0, 0), 0, 1, &u);
  t->now.log_mean += mean;
  t->now.variance += 1.0 / FwEffectiveSize(n, t->log_weight) - 1.0 / (double)n;
  for (PetscInt i = 0; i < n; i++) {
    sum += exp(t->log_weight[i] - mean);
    while (at < n && at + u < sum) parent[at++] = i;
  }
  while (at < n) parent[at++] = n - 1; /* what round-off left over */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every particle becomes a copy of its parent. Collective */
static PetscErrorCode TakeOver(Temper *t, const PetscInt parent[])
{
  const FwParticles *p = &t->particles;
  Rows               rows[ROWS];

  PetscFunctionBegin;
  ListRows(t, rows);
  for (int k = 0; k < ROWS; k++)
    for (PetscInt r = 0; r < rows[k].n_row; r++) {
      PetscCall(GatherRow(p, &rows[k], r, t->all));
      for (PetscInt i = 0; i < p->n_local; i++) *Entry(&rows[k], r, i) = t->all[parent[p->first + i]];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Resample(Temper *t)
{
  const PetscInt n = t->particles.n;
  PetscInt      *parent, *ancestor;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &parent, n, &ancestor));
  PetscCall(ChooseParents(t, parent));
  for (PetscInt i = 0; i < n; i++) ancestor[i] = t->ancestor[parent[i]];
  PetscCall(PetscArraycpy(t->ancestor, ancestor, n));
  PetscCall(TakeOver(t, parent));
  PetscCall(PetscFree2(parent, ancestor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NextStage(Temper *t)
{
  PetscFunctionBegin;
  PetscCheck(t->now.n_stage++ < STAGES_MAX, t->comm, FW_ERR_NUMERICAL,
             "sequential Monte Carlo is not there after %d temperatures: beta = %.6g", STAGES_MAX, t->now.beta);
  PetscCall(FwParticlesGather(&t->particles, t->particles.log_likelihood, t->all));
  t->now.beta += ChooseStep(t, 1.0 - t->now.beta);
  t->now.n_stage_move = 0;
  t->now.refreshed    = 0.0;
  PetscCall(Resample(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checkpoint: the state, the ancestors, then every row of all particles ---------------------------------- */

enum { STATE_SIZE = sizeof(State) / sizeof(double) };

/* Numbers of a checkpoint */
static size_t SizeOf(const Temper *t)
{
  Rows   rows[ROWS];
  size_t n = 1;

  ListRows(t, rows);
  for (int k = 0; k < ROWS; k++) n += (size_t)rows[k].n_row;
  return STATE_SIZE + n * (size_t)t->particles.n;
}

static PetscErrorCode WriteCheckpoint(Temper *t)
{
  const PetscInt n = t->particles.n;
  PetscMPIInt    rank;
  Rows           rows[ROWS];
  double        *packed, *to;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(t->comm, &rank));
  PetscCall(PetscMalloc1(rank ? 0 : SizeOf(t), &packed));
  to = rank ? NULL : packed + STATE_SIZE;
  if (to) PetscCall(PetscMemcpy(packed, &t->now, sizeof t->now));
  for (PetscInt i = 0; i < n && to; i++) *to++ = (double)t->ancestor[i];
  ListRows(t, rows);
  for (int k = 0; k < ROWS; k++)
    for (PetscInt r = 0; r < rows[k].n_row; r++) {
      PetscCall(GatherRow(&t->particles, &rows[k], r, t->all));
      if (!to) continue;
      PetscCall(PetscArraycpy(to, t->all, n));
      to += n;
    }
  PetscCall(
    FwCheckpointWrite(t->comm, t->plan->checkpoint, t->plan->tag, SizeOf(t) * sizeof *packed, (const char *)packed));
  PetscCall(PetscFree(packed));
  PetscCall(PetscTime(&t->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From rank 0, where `from` is looked at, to the ranks that have the particles */
static PetscErrorCode Spread(Temper *t, const double from[])
{
  const FwParticles *p = &t->particles;
  PetscMPIInt        n;
  Rows               rows[ROWS];

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(p->n, &n));
  if (from) PetscCall(PetscMemcpy(&t->now, from, sizeof t->now));
  if (from) from += STATE_SIZE;
  for (PetscInt i = 0; i < n && from; i++) t->ancestor[i] = (PetscInt)*from++;
  PetscCallMPI(MPI_Bcast(&t->now, (int)sizeof t->now, MPI_BYTE, 0, t->comm));
  PetscCallMPI(MPI_Bcast(t->ancestor, n, MPIU_INT, 0, t->comm));
  ListRows(t, rows);
  for (int k = 0; k < ROWS; k++)
    for (PetscInt r = 0; r < rows[k].n_row; r++) {
      if (from) PetscCall(PetscArraycpy(t->all, from, n));
      if (from) from += n;
      PetscCallMPI(MPI_Bcast(t->all, n, MPI_DOUBLE, 0, t->comm));
      for (PetscInt i = 0; i < p->n_local; i++) *Entry(&rows[k], r, i) = t->all[p->first + i];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The particles of the checkpoint, if there is one to go on from */
static PetscErrorCode ReadCheckpoint(Temper *t, PetscBool *is_read)
{
  enum { NONE, RIGHT, WRONG };
  size_t n     = 0;
  char  *bytes = NULL;
  int    state = NONE;

  PetscFunctionBegin;
  *is_read = PETSC_FALSE;
  if (!t->plan->checkpoint || !t->plan->resume) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwCheckpointRead(t->comm, t->plan->checkpoint, t->plan->tag, &n, &bytes));
  if (bytes) state = n == SizeOf(t) * sizeof(double) ? RIGHT : WRONG;
  PetscCallMPI(MPI_Bcast(&state, 1, MPI_INT, 0, t->comm));
  PetscCheck(state != WRONG, t->comm, FW_ERR_FILE, "the checkpoint '%s' is not of these particles",
             t->plan->checkpoint);
  if (state == RIGHT) PetscCall(Spread(t, (const double *)bytes));
  *is_read = state == RIGHT ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AfterMove(Temper *t)
{
  PetscLogDouble now;
  PetscBool      stop, is_asked;
  int            is_due;

  PetscFunctionBegin;
  if (!t->plan->checkpoint || IsDone(t)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStopRequested(t->comm, &stop));
  PetscCall(FwCheckpointRequested(t->comm, &is_asked));
  PetscCall(PetscTime(&now));
  is_due = now - t->last_checkpoint > t->plan->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, t->comm));
  if (is_due || is_asked || stop) PetscCall(WriteCheckpoint(t));
  PetscCheck(!stop, t->comm, FW_ERR_STOPPED,
             "stopped early, checkpoint '%s' is written: run the same command with -resume", t->plan->checkpoint);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run ------------------------------------------------------------------------------------------------ */

static PetscErrorCode Run(Temper *t, FwProgress progress)
{
  PetscBool is_read;

  PetscFunctionBegin;
  PetscCall(ReadCheckpoint(t, &is_read));
  if (!is_read) {
    PetscCall(DrawPrior(t, t->coordinate));
    PetscCall(FwErrorAgreeAny(t->comm, Weigh(t, t->coordinate, &t->particles)));
  }
  while (!IsDone(t)) {
    if (IsOver(t)) PetscCall(NextStage(t));
    PetscCall(MoveAndAdapt(t));
    PetscCall(FwProgressStep(progress, (PetscInt64)(PROGRESS_STEPS * t->now.beta)));
    PetscCall(AfterMove(t));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over the first ancestors of the squared share of particles that descend from each */
static PetscErrorCode SquaredShares(const Temper *t, double *sum)
{
  const PetscInt n = t->particles.n;
  PetscInt      *count;

  PetscFunctionBegin;
  *sum = 0.0;
  PetscCall(PetscCalloc1(n, &count));
  for (PetscInt i = 0; i < n; i++) count[t->ancestor[i]]++;
  for (PetscInt i = 0; i < n; i++) *sum += PetscSqr((double)count[i] / (double)n);
  PetscCall(PetscFree(count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorSequential(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior,
                                     FwNodeSet *nodes)
{
  const double n = (double)plan->n_particle;
  Temper       t;
  FwProgress   progress;
  double       shares, lineages;

  PetscFunctionBegin;
  PetscCall(Create(comm, law, likelihood, plan, &t));
  PetscCall(FwProgressBegin("sequential Monte Carlo", PROGRESS_STEPS, &progress));
  PetscCall(Run(&t, progress));
  PetscCall(FwProgressEnd(&progress));
  PetscCall(SquaredShares(&t, &shares));
  for (PetscInt i = 0; i < plan->n_particle; i++) t.log_weight[i] = 1.0 / n;
  PetscCall(FwParticlesToNodes(&t.particles, t.log_weight, nodes));
  posterior->method       = "sequential Monte Carlo";
  posterior->log_evidence = t.now.log_mean - 0.5 * (double)(law->n_output * likelihood->n_train) * log(2.0 * M_PI);
  lineages                = 1.0 - exp((double)(t.now.n_stage + 1) * log(n / (n - 1.0))) * (1.0 - shares);
  posterior->log_evidence_error    = sqrt(PetscMax(t.now.variance, lineages));
  posterior->effective_sample_size = 1.0 / shares;
  posterior->n_stage               = (PetscInt)t.now.n_stage;
  posterior->n_unmixed             = (PetscInt)t.now.n_unmixed;
  PetscCall(Destroy(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
