/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Many trainings: batches, their measurements and checkpoints, and who works on which.
 */

#include "lanes.h"

#include <finwidth/checkpoint.h>
#include <finwidth/counter.h>
#include <finwidth/ensemble.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>
#include <finwidth/vector.h>

#include <math.h>
#include <petsctime.h>
#include <stdio.h>
#include <time.h>

static const double piece_flops = 2e9; /* between looks at the clock: a second or less */
static const double short_flops = 2e8; /* where other ranks may wait for the look: some hundredths */
/* Of a gradient through examples from which on ranks share it, where they have nothing better to do; and blocks of fewer
   examples are not shared (learner_sum.c) */
static const double share_flops = 1.5e8;

/* --- sizes ---------------------------------------------------------------------------------------------------------- */

static double CountWeights(const FwLearnerShape *shape)
{
  double n = 0.0;

  for (PetscInt l = 1; l <= shape->n_layer; l++) n += (double)shape->width[l] * (double)shape->width[l - 1];
  return n;
}

static PetscBool NeedsMoments(const FwEnsemblePlan *plan)
{
  return (PetscBool)(!plan->plan.batch && FwLearnerHasMoments(&plan->shape, plan->loss, plan->n_example));
}

/* The basis of the moments, which spares d^2, is not counted on: adam has none */
double FwEnsembleGradientCost(const FwEnsemblePlan *plan)
{
  const double weights = CountWeights(&plan->shape);
  const double n       = plan->plan.batch ? (double)plan->plan.batch : (double)plan->n_example;

  if (!NeedsMoments(plan)) return 6.0 * n * weights;
  return 2.0 * (double)plan->shape.width[plan->shape.n_layer] *
         ((double)plan->shape.width[0] * (double)plan->shape.width[0] + 3.0 * weights);
}

/* Small networks fill the lanes of the vector unit (training.h); others, and methods that solve equations, go one by one */
static PetscInt BatchSize(const FwEnsemblePlan *plan)
{
  const FwTrainMethod method = plan->plan.method;

  if (method == FW_TRAIN_FLOW_MIDPOINT || method == FW_TRAIN_FLOW_STRANG || method >= FW_TRAIN_LMVM) return 1;
  return FwLaneNetHasWidths(&plan->shape) ? FW_LANES : 1;
}

/* Copies of W_1 and of the AGOP's factor, their decompositions, and the sensitivity of each layer; of networks that are not
   linear with what a factor by QR takes, which they may need: eight blocks, and rows of 128 examples */
static double MeasureBytes(const FwLearnerShape *shape)
{
  const double c       = (double)shape->width[shape->n_layer];
  double       numbers = 6.0 * (double)shape->width[1] * (double)shape->width[0];

  for (PetscInt l = 1; l <= shape->n_layer; l++) {
    const double n = (double)shape->width[l];

    numbers += 4.0 * n * n;
    if (shape->activation != FW_ACTIVATION_LINEAR && l < shape->n_layer) numbers += 8.0 * n * n + (8.0 + 129.0) * c * n;
  }
  return 8.0 * numbers;
}

double FwEnsembleBytes(const FwEnsemblePlan *plan)
{
  const FwLearnerShape *shape   = &plan->shape;
  const double          n_theta = (double)FwLearnerShapeSize(shape), runs = (double)plan->n_run;
  const double          inputs  = (double)plan->n_example * (double)(shape->width[0] + shape->width[shape->n_layer]);
  const PetscInt        n_batch = PetscMin(BatchSize(plan), plan->n_run);
  FwAlignmentRows       rows;
  double                work;

  (void)FwAlignmentLayout(shape, plan->n_alpha, plan->alpha, &rows);
  work = FwTrainingBytes(&plan->plan, shape, plan->loss, plan->n_example, n_batch) + MeasureBytes(shape);
  /* twice: the examples, of the data and by rows; rows of numbers, in the result and in the record; weights, at start and end */
  return 2.0 * 8.0 * (inputs + runs * ((double)plan->n_time * (double)rows.n + n_theta)) +
         FwLearnerBytes(shape, plan->loss, plan->n_example, plan->is_single) + work;
}

void FwEnsembleTimes(double end, PetscBool is_whole, PetscInt *n, double time[])
{
  const PetscInt n_wanted = *n;

  time[0] = 0.0;
  *n      = 1;
  for (PetscInt i = 1; i < n_wanted; i++) {
    double at = end * (n_wanted > 2 ? pow(1000.0, (double)(i - n_wanted + 1) / (double)(n_wanted - 2)) : 1.0);

    if (i == n_wanted - 1) at = end;
    if (is_whole) at = rint(at);
    if (at > time[*n - 1]) time[(*n)++] = at;
  }
}

/* --- one batch -------------------------------------------------------------------------------------------------------- */

typedef struct {
  const FwEnsemblePlan *plan;
  FwEnsembleResult     *result;
  MPI_Comm              comm; /* of the ranks that share a run: self, or all */
  FwLearner             learner;
  PetscInt              n_batch, size;      /* runs of a batch */
  PetscInt             *n_measured;         /* [n_batch] times done */
  PetscBool            *is_mine, *is_saved; /* [n_batch] */
  PetscLogDouble        last_save;
  FwCounter             counter; /* of batches, where ranks work apart; else NULL */
  FwProgress            progress;
  PetscInt              n_rank, n_done; /* ranks that work apart, measurements on this one: for the progress */
} Work;

static PetscInt FirstRun(const Work *w, PetscInt batch)
{
  return batch * w->size;
}

static PetscInt CountRuns(const Work *w, PetscInt batch)
{
  return PetscMin(w->size, w->plan->n_run - FirstRun(w, batch));
}

static double *RowOf(const Work *w, PetscInt run, PetscInt time)
{
  return w->result->row + ((size_t)run * (size_t)w->plan->n_time + (size_t)time) * (size_t)w->result->rows.n;
}

static void FillNaN(size_t n, double value[])
{
  for (size_t k = 0; k < n; k++) value[k] = NAN;
}

/* What there is to say of a run at a time: a row, or NaN and the reason. A solver for critical points that can go no
   further has weights that are fine; numbers that are too large to be measured have diverged */
static PetscErrorCode MeasureState(Work *w, PetscInt r, const FwTrainState *state, PetscBool is_solve, double row[],
                                   PetscBool *is_diverged)
{
  const FwEnsembleRun *run  = &w->plan->run[r];
  const PetscInt       loss = w->result->rows.column[FW_ALIGNMENT_LOSS].first;
  PetscErrorCode       code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *is_diverged = (PetscBool)(state->is_diverged && !is_solve);
  if (!*is_diverged && !state->is_given_up) {
    code = FwAlignmentMeasure(&w->result->rows, w->learner, run->decay, run->start, state->theta, row);
    if (code == FW_ERR_NUMERICAL || (!code && !is_solve && !(row[loss] <= state->loss_most))) *is_diverged = PETSC_TRUE;
  }
  if (*is_diverged || state->is_given_up) FillNaN((size_t)w->result->rows.n, row);
  if (code == FW_ERR_NUMERICAL) FwErrorClear();
  PetscFunctionReturn(code == FW_ERR_NUMERICAL ? PETSC_SUCCESS : code);
}

static PetscErrorCode MeasureRun(Work *w, FwTraining training, PetscInt batch, PetscInt i, PetscInt time)
{
  const PetscInt r     = FirstRun(w, batch) + i;
  const size_t   n     = (size_t)w->result->n_theta;
  double        *theta = w->result->theta + (size_t)r * n;
  PetscBool      is_diverged;
  FwTrainState   state;

  PetscFunctionBegin;
  PetscCall(FwTrainingGetState(training, i, &state));
  PetscCall(
    MeasureState(w, r, &state, (PetscBool)(w->plan->plan.method >= FW_TRAIN_LMVM), RowOf(w, r, time), &is_diverged));
  PetscCall(PetscArraycpy(theta, state.theta, n));
  if (is_diverged) FillNaN(n, theta);
  w->result->end[r] = (FwEnsembleEnd){.time         = state.time,
                                      .is_diverged  = is_diverged,
                                      .is_given_up  = state.is_given_up,
                                      .is_converged = state.is_converged,
                                      .n_gradient   = state.n_gradient};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MeasureBatch(Work *w, FwTraining training, PetscInt batch)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < CountRuns(w, batch); i++) PetscCall(MeasureRun(w, training, batch, i, w->n_measured[batch]));
  w->n_measured[batch]++;
  w->n_done++;
  if (w->progress)
    PetscCall(FwProgressStep(w->progress, PetscMin(w->n_done * w->n_rank, w->n_batch * w->plan->n_time)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateTraining(Work *w, PetscInt batch, FwTraining *training)
{
  FwTrainRun run[FW_LANES];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < CountRuns(w, batch); i++) {
    const FwEnsembleRun *from = &w->plan->run[FirstRun(w, batch) + i];

    run[i] = (FwTrainRun){w->learner, from->decay, from->step, from->seed, from->start};
  }
  PetscCall(FwTrainingCreate(&w->plan->plan, CountRuns(w, batch), run, training));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checkpoints of a batch ---------------------------------------------------------------------------------------------- */

static void PathOf(const Work *w, PetscInt batch, char path[PETSC_MAX_PATH_LEN])
{
  (void)snprintf(path, PETSC_MAX_PATH_LEN, "%s.%d", w->plan->checkpoint, (int)batch);
}

/* Times measured; where it stands in between; rows, weights and ends of its runs; the state of its training, which a
   batch that is through no longer has */
static size_t CountSaved(const Work *w, PetscInt batch, FwTraining training)
{
  const size_t n_run = (size_t)CountRuns(w, batch);
  const size_t each  = (size_t)w->plan->n_time * (size_t)w->result->rows.n + (size_t)w->result->n_theta +
                      sizeof(FwEnsembleEnd) / sizeof(double);

  return 2 + n_run * each + (training ? FwTrainingPackedSize(training) : 0);
}

/* The parts of a checkpoint that are arrays of the result, written to `packed` or read from it */
static PetscErrorCode CopySaved(const Work *w, PetscInt batch, PetscBool is_reading, double *packed)
{
  const PetscInt r = FirstRun(w, batch), n_run = CountRuns(w, batch);
  double        *part[] = {RowOf(w, r, 0), w->result->theta + (size_t)r * (size_t)w->result->n_theta,
                           (double *)&w->result->end[r]};
  const size_t   n[]    = {(size_t)n_run * (size_t)w->plan->n_time * (size_t)w->result->rows.n,
                           (size_t)n_run * (size_t)w->result->n_theta,
                           (size_t)n_run * sizeof(FwEnsembleEnd) / sizeof(double)};

  PetscFunctionBegin;
  for (int p = 0; p < 3; p++) {
    PetscCall(is_reading ? PetscArraycpy(part[p], packed, n[p]) : PetscArraycpy(packed, part[p], n[p]));
    packed += n[p];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SaveBatch(Work *w, PetscInt batch, FwTraining training)
{
  const size_t n = CountSaved(w, batch, training), n_state = training ? FwTrainingPackedSize(training) : 0;
  char         path[PETSC_MAX_PATH_LEN];
  double      *packed;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &packed));
  packed[0] = (double)w->n_measured[batch];
  packed[1] = (double)n_state;
  PetscCall(CopySaved(w, batch, PETSC_FALSE, packed + 2));
  if (training) PetscCall(FwTrainingPack(training, packed + n - n_state));
  PathOf(w, batch, path);
  PetscCall(FwCheckpointWrite(w->comm, path, w->plan->tag, n * sizeof(double), (const char *)packed));
  PetscCall(PetscFree(packed));
  w->is_saved[batch] = w->n_measured[batch] == w->plan->n_time ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The batches that are through, and the one in work */
static PetscErrorCode SaveAll(Work *w, PetscInt batch, FwTraining training)
{
  PetscFunctionBegin;
  for (PetscInt b = 0; b < w->n_batch; b++)
    if (w->is_mine[b] && !w->is_saved[b] && w->n_measured[b] == w->plan->n_time) PetscCall(SaveBatch(w, b, NULL));
  if (training) PetscCall(SaveBatch(w, batch, training));
  PetscCall(PetscTime(&w->last_save));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank of the batch gets the bytes that its first one has read */
static PetscErrorCode ReadBytes(const Work *w, PetscInt batch, size_t *n, double **packed)
{
  char        path[PETSC_MAX_PATH_LEN], *bytes;
  PetscMPIInt rank;
  uint64_t    size;

  PetscFunctionBegin;
  PathOf(w, batch, path);
  PetscCall(FwCheckpointRead(w->comm, path, w->plan->tag, n, &bytes));
  PetscCallMPI(MPI_Comm_rank(w->comm, &rank));
  size = rank == 0 && bytes ? *n / sizeof(double) : 0;
  PetscCallMPI(MPI_Bcast(&size, 1, MPI_UINT64_T, 0, w->comm));
  PetscCall(PetscMalloc1(size, packed));
  if (rank == 0) PetscCall(PetscMemcpy(*packed, bytes, size * sizeof(double)));
  PetscCallMPI(MPI_Bcast(*packed, (int)size, MPI_DOUBLE, 0, w->comm));
  *n = (size_t)size;
  if (rank == 0) PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ResumeBatch(Work *w, PetscInt batch, FwTraining training)
{
  size_t  n, n_state;
  double *packed;

  PetscFunctionBegin;
  if (!w->plan->resume) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadBytes(w, batch, &n, &packed));
  if (n > 2) {
    n_state = (size_t)packed[1];
    PetscCheck(n == CountSaved(w, batch, NULL) + n_state && (!n_state || n_state == FwTrainingPackedSize(training)),
               w->comm, FW_ERR_FILE, "the checkpoint of batch %" PetscInt_FMT " does not fit this input", batch);
    w->n_measured[batch] = (PetscInt)packed[0];
    PetscCall(CopySaved(w, batch, PETSC_TRUE, packed + 2));
    if (n_state) PetscCall(FwTrainingUnpack(training, packed + n - n_state));
  }
  PetscCall(PetscFree(packed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- training a batch ------------------------------------------------------------------------------------------------------ */

/* A checkpoint where it is time for one; FW_ERR_STOPPED where the run is to end */
static PetscErrorCode Look(Work *w, PetscInt batch, FwTraining training)
{
  PetscLogDouble now;
  PetscBool      stop, is_asked;
  int            is_due;

  PetscFunctionBegin;
  if (w->counter) PetscCall(FwCounterLook(w->counter));
  PetscCall(FwStopRequested(w->comm, &stop));
  PetscCall(FwCheckpointRequested(w->comm, &is_asked));
  PetscCall(PetscTime(&now));
  is_due = stop || is_asked || now - w->last_save > w->plan->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, w->comm));
  if (is_due) PetscCall(SaveAll(w, batch, training));
  PetscCheck(!stop, PETSC_COMM_SELF, FW_ERR_STOPPED,
             "stopped early, checkpoints are written: run the same command with -resume");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In pieces, which change nothing */
static PetscErrorCode AdvanceTo(Work *w, PetscInt batch, FwTraining training, double until)
{
  const double flops    = w->counter && w->size > 1 ? short_flops : piece_flops;
  const double piece    = flops / (FwEnsembleGradientCost(w->plan) * (double)w->size);
  PetscBool    is_there = PETSC_FALSE;

  PetscFunctionBegin;
  while (!is_there) {
    PetscCall(FwTrainingAdvanceSome(training, until, piece, &is_there));
    if (!is_there) PetscCall(Look(w, batch, training));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainBatch(Work *w, PetscInt batch)
{
  FwTraining     training;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  w->is_mine[batch] = PETSC_TRUE;
  PetscCall(CreateTraining(w, batch, &training));
  PetscCall(ResumeBatch(w, batch, training));
  while (w->n_measured[batch] < w->plan->n_time && !code) {
    code = AdvanceTo(w, batch, training, w->plan->time[w->n_measured[batch]]);
    if (!code) code = MeasureBatch(w, training, batch);
    if (!code) code = Look(w, batch, w->n_measured[batch] < w->plan->n_time ? training : NULL);
  }
  PetscCall(FwTrainingDestroy(&training));
  PetscFunctionReturn(code);
}

static PetscErrorCode TrainTogether(Work *w)
{
  PetscFunctionBegin;
  for (PetscInt b = 0; b < w->n_batch; b++) PetscCall(TrainBatch(w, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rank that is done with a batch takes the next: flows of different decays and starts need different times */
static PetscErrorCode TrainCounted(Work *w)
{
  PetscInt       b    = 0;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  while (!code && b >= 0) {
    PetscCall(FwCounterNext(w->counter, &b));
    if (b >= 0) code = TrainBatch(w, b);
  }
  PetscFunctionReturn(code);
}

static PetscErrorCode TrainApart(MPI_Comm comm, Work *w)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwCounterCreate(comm, w->n_batch, &w->counter));
  code = TrainCounted(w);
  PetscCall(FwCounterEnd(&w->counter, (PetscBool)(code != PETSC_SUCCESS)));
  PetscFunctionReturn(FwErrorAgreeAny(comm, code));
}

/* --- all of them ------------------------------------------------------------------------------------------------------------- */

/* What a rank has not computed is zero there: the sum is exact */
static PetscErrorCode ShareResult(MPI_Comm comm, const FwEnsemblePlan *plan, FwEnsembleResult *result)
{
  double      *part[] = {result->row, result->theta, (double *)result->end};
  const size_t n[]    = {(size_t)plan->n_run * (size_t)plan->n_time * (size_t)result->rows.n,
                         (size_t)plan->n_run * (size_t)result->n_theta,
                         (size_t)plan->n_run * sizeof(FwEnsembleEnd) / sizeof(double)};
  const size_t block  = 1 << 24;

  PetscFunctionBegin;
  for (int p = 0; p < 3; p++)
    for (size_t i = 0; i < n[p]; i += block)
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, part[p] + i, (int)PetscMin(block, n[p] - i), MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AllocateResult(const FwEnsemblePlan *plan, FwEnsembleResult *result)
{
  PetscFunctionBegin;
  *result = (FwEnsembleResult){.n_theta = FwLearnerShapeSize(&plan->shape)};
  PetscCall(FwAlignmentLayout(&plan->shape, plan->n_alpha, plan->alpha, &result->rows));
  PetscCall(PetscCalloc1((size_t)plan->n_run * (size_t)plan->n_time * (size_t)result->rows.n, &result->row));
  PetscCall(PetscCalloc1((size_t)plan->n_run * (size_t)result->n_theta, &result->theta));
  PetscCall(PetscCalloc1(plan->n_run, &result->end));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainAll(MPI_Comm comm, Work *w, PetscBool is_together)
{
  const FwEnsemblePlan *plan = w->plan;
  PetscErrorCode        code;

  PetscFunctionBegin;
  PetscCall(PetscTime(&w->last_save));
  PetscCall(PetscCalloc3(w->n_batch, &w->n_measured, w->n_batch, &w->is_mine, w->n_batch, &w->is_saved));
  PetscCall(FwLearnerCreate(w->comm, &plan->shape, plan->loss, plan->n_example, plan->x, plan->y, &w->learner));
  PetscCall(FwLearnerSetSingle(w->learner, plan->is_single));
  if (plan->has_progress) PetscCall(FwProgressBegin("training", w->n_batch * plan->n_time, &w->progress));
  code = is_together ? TrainTogether(w) : TrainApart(comm, w);
  if (plan->has_progress) PetscCall(FwProgressEnd(&w->progress));
  PetscCall(FwLearnerDestroy(&w->learner));
  PetscCall(PetscFree3(w->n_measured, w->is_mine, w->is_saved));
  PetscFunctionReturn(code);
}

PetscErrorCode FwEnsembleTrain(MPI_Comm comm, const FwEnsemblePlan *plan, FwEnsembleResult *result)
{
  Work           w = {.plan = plan, .result = result, .size = BatchSize(plan)};
  PetscMPIInt    n_rank;
  PetscBool      is_together;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  w.n_batch   = (plan->n_run + w.size - 1) / w.size;
  is_together = (PetscBool)(w.n_batch < n_rank && !NeedsMoments(plan) && FwEnsembleGradientCost(plan) > share_flops);
  w.comm      = is_together ? comm : PETSC_COMM_SELF;
  w.n_rank    = is_together ? 1 : n_rank;
  PetscCall(AllocateResult(plan, result));
  code = TrainAll(comm, &w, is_together);
  if (!code && !is_together) code = ShareResult(comm, plan, result);
  if (code) PetscCall(FwEnsembleDestroy(result));
  PetscFunctionReturn(code);
}

PetscErrorCode FwEnsembleDestroy(FwEnsembleResult *result)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(result->row));
  PetscCall(PetscFree(result->theta));
  PetscCall(PetscFree(result->end));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a trial ------------------------------------------------------------------------------------------------------------------ */

/* A batch that is trained for a while, and how far it came: where its slowest run is, 1 at the end. Seconds are the
   processor's: what else the machine does is no concern of the job's */
typedef struct {
  Work           work;
  FwEnsemblePlan plan;
  FwTraining     training;
  double         begin, until, seconds, done;
} Trial;

static double CpuSeconds(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* fails for no clock that there is */
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static PetscErrorCode LookAtTrial(Trial *trial)
{
  const FwEnsemblePlan *plan = &trial->plan;
  const double          end  = plan->time[plan->n_time - 1];

  PetscFunctionBegin;
  trial->done = 1.0;
  for (PetscInt r = 0; r < plan->n_run; r++) {
    FwTrainState state;
    double       done;

    PetscCall(FwTrainingGetState(trial->training, r, &state));
    done = end > 0.0 ? state.time / end : 1.0;
    if (FwTrainMethodIsFlow(plan->plan.method) && plan->plan.n_gradient_most > 0.0)
      done = PetscMax(done, state.n_gradient / plan->plan.n_gradient_most); /* it is given up there */
    if (state.is_diverged || state.is_given_up || state.is_converged) done = 1.0;
    trial->done = PetscMin(trial->done, done);
  }
  trial->seconds = CpuSeconds() - trial->begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Methods that go all the way at once are sent twice as far each time */
static PetscErrorCode GoOn(Trial *trial, double budget)
{
  const FwEnsemblePlan *plan  = &trial->plan;
  const double          end   = plan->time[plan->n_time - 1];
  const double          piece = short_flops / (FwEnsembleGradientCost(plan) * (double)trial->work.size);
  PetscBool             is_there;

  PetscFunctionBegin;
  while (trial->done < 1.0 && trial->seconds < budget) {
    PetscCall(FwTrainingAdvanceSome(trial->training, PetscMin(trial->until, end), piece, &is_there));
    if (is_there) trial->until *= 2.0;
    PetscCall(LookAtTrial(trial));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Training of the batch to the end: what was done in the second half of the trial says how long the rest takes */
static PetscErrorCode TryTraining(Trial *trial, double budget, double *seconds)
{
  const FwTrainMethod method = trial->plan.plan.method;
  double              half_seconds, half_done, pace;

  PetscFunctionBegin;
  trial->until = method >= FW_TRAIN_LMVM ? 1.0 : trial->plan.time[trial->plan.n_time - 1];
  trial->begin = CpuSeconds();
  PetscCall(LookAtTrial(trial));
  PetscCall(GoOn(trial, 0.5 * budget));
  half_seconds = trial->seconds;
  half_done    = trial->done;
  PetscCall(GoOn(trial, budget));
  pace = (trial->done - half_done) / PetscMax(trial->seconds - half_seconds, 1e-9);
  if (!(pace > 0.0)) pace = trial->done / PetscMax(trial->seconds, 1e-9);
  *seconds = trial->seconds + (trial->done < 1.0 ? (1.0 - trial->done) / PetscMax(pace, 1e-12) : 0.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A measurement of the batch, at the weights where it is */
static PetscErrorCode TryMeasurement(Trial *trial, double *seconds)
{
  double begin, end;

  PetscFunctionBegin;
  begin = CpuSeconds();
  PetscCall(MeasureBatch(&trial->work, trial->training, 0));
  end      = CpuSeconds();
  *seconds = end - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TryBatch(Trial *trial, double budget, double *seconds)
{
  double         training = 0.0, measurement = 0.0;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CreateTraining(&trial->work, 0, &trial->training));
  code = TryTraining(trial, budget, &training);
  if (!code) code = TryMeasurement(trial, &measurement);
  PetscCall(FwTrainingDestroy(&trial->training));
  PetscCall(code);
  *seconds = training + measurement * (double)trial->plan.n_time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleTrial(const FwEnsemblePlan *plan, double budget, double *seconds)
{
  const PetscInt   size  = BatchSize(plan);
  Trial            trial = {.plan = *plan};
  FwEnsembleRun    run[FW_LANES];
  FwEnsembleResult result;
  PetscInt         n_measured = 0;
  PetscErrorCode   code;

  PetscFunctionBegin;
  trial.plan.n_run = PetscMin(size, plan->n_run);
  trial.plan.run   = run;
  for (PetscInt r = 0; r < trial.plan.n_run; r++) run[r] = plan->run[r * plan->n_run / trial.plan.n_run];
  PetscCall(AllocateResult(&trial.plan, &result));
  trial.work = (Work){.plan       = &trial.plan,
                      .result     = &result,
                      .comm       = PETSC_COMM_SELF,
                      .size       = size,
                      .n_batch    = 1,
                      .n_measured = &n_measured};
  PetscCall(
    FwLearnerCreate(PETSC_COMM_SELF, &plan->shape, plan->loss, plan->n_example, plan->x, plan->y, &trial.work.learner));
  PetscCall(FwLearnerSetSingle(trial.work.learner, plan->is_single));
  code = TryBatch(&trial, budget, seconds);
  PetscCall(FwLearnerDestroy(&trial.work.learner));
  PetscCall(FwEnsembleDestroy(&result));
  PetscCall(code);
  *seconds *= ceil((double)plan->n_run / (double)size);
  PetscFunctionReturn(PETSC_SUCCESS);
}
