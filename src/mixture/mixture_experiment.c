/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Draws in rounds: each round is divided over the ranks, in order of the samples, and gathered on rank 0.
 */

#include "mixture_impl.h"

#include <finwidth/checkpoint.h>
#include <finwidth/mixture_experiment.h>
#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <math.h>

/* --- one row ---------------------------------------------------------------------------------------------------- */

PetscInt FwMixtureRowLength(const FwMixtureExperiment *experiment)
{
  return experiment->law.n_output + FW_COLUMN_COUNT;
}

/* log det (B B^T) of the D x P matrix B = S R^-T, the outputs of inputs made orthogonal: by Gram and Schmidt on its rows */
static double LogOutputDeterminant(PetscInt D, const FwMixtureInputs *in, const double s[], double b[])
{
  const PetscInt P   = in->n_input;
  double         sum = 0.0;

  if (P < D) return NAN;
  for (PetscInt i = 0; i < D; i++) {
    double *row = b + i * P, square = 0.0;

    for (PetscInt p = 0; p < P; p++) {
      row[p] = s[i * P + p];
      for (PetscInt k = 0; k < p; k++) row[p] -= in->root[p * P + k] * row[k];
      row[p] /= in->root[p * P + p];
    }
    for (PetscInt j = 0; j < 2 * i; j++) { /* twice: rows may be nearly parallel */
      const double *other = b + j % i * P;
      double        along = 0.0;

      for (PetscInt p = 0; p < P; p++) along += row[p] * other[p];
      for (PetscInt p = 0; p < P; p++) row[p] -= along * other[p];
    }
    for (PetscInt p = 0; p < P; p++) square += row[p] * row[p];
    for (PetscInt p = 0; p < P; p++) row[p] /= sqrt(square);
    sum += log(square);
  }
  return sum;
}

/* s is in units of e^log_unit */
static void FillRow(const FwMixtureExperiment *e, const double x[], const double s[], double log_unit, double room[],
                    double row[])
{
  const PetscInt D = e->law.n_output, P = e->inputs->n_input;
  double        *of = row + D;

  of[FW_COLUMN_LOG_Q]   = 2.0 * x[0];
  of[FW_COLUMN_LOG_DET] = 0.0;
  for (PetscInt i = 0; i < D; i++) of[FW_COLUMN_LOG_DET] += 2.0 * x[i];
  of[FW_COLUMN_LOG_OUTPUT2] = 2.0 * (log(fabs(s[0] / e->inputs->root[0])) + log_unit);
  for (PetscInt i = 0; i < 2; i++)
    for (PetscInt p = 0; p < 2; p++)
      of[FW_COLUMN_OUTPUT + 2 * i + p] = i < D && p < P ? s[i * P + p] * exp(log_unit) : NAN;
  of[FW_COLUMN_LOG_OUTPUT_DET] = LogOutputDeterminant(D, e->inputs, s, room) + 2.0 * (double)D * log_unit;
}

PetscErrorCode FwMixtureMeasure(const FwMixtureExperiment *e, uint64_t first, PetscInt n, double row[])
{
  const PetscInt D = e->law.n_output, P = e->inputs->n_input, length = FwMixtureRowLength(e), piece = BATCH;
  double        *x, *m, *s, *unit, *room;

  PetscFunctionBegin;
  PetscCall(PetscMalloc5(piece * D, &x, piece * D * D, &m, piece * D * P, &s, piece, &unit, D * P, &room));
  for (PetscInt done = 0; done < n;) {
    const uint64_t at   = first + (uint64_t)done;
    const PetscInt many = PetscMin(n - done, piece - (PetscInt)(at % BATCH));

    PetscCall(FwMixtureDrawOutputs(&e->law, e->sampler, e->inputs, e->seed, at, many, x, m, s, unit));
    for (PetscInt k = 0; k < many; k++) {
      double *out = row + (done + k) * length;

      PetscCall(FwMixtureEigen(D, 1, x + k * D, m + k * D * D, out, NULL));
      FillRow(e, x + k * D, s + k * D * P, unit[k], room, out);
    }
    done += many;
  }
  PetscCall(PetscFree5(x, m, s, unit, room));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

typedef struct {
  MPI_Comm                   comm;
  PetscMPIInt                rank, size;
  PetscInt                   n_experiment, n_sample;
  const FwMixtureExperiment *experiment;
  const FwKeptRun           *run;
  double                   **row;    /* of the caller */
  PetscInt                   n_done; /* samples of all experiments together, in order */
  PetscInt                   n_next; /* samples of the next round */
  PetscLogDouble             last_checkpoint;
} Work;

/* The share of a rank in a round: consecutive samples, whole batches where there are enough */
static void Share(const Work *w, PetscMPIInt rank, PetscInt n, PetscInt *first, PetscInt *count)
{
  const PetscInt grain = n >= BATCH * w->size ? BATCH : 1;
  const PetscInt each  = ((n + grain - 1) / grain + w->size - 1) / w->size * grain;

  *first = PetscMin(n, each * rank);
  *count = PetscMin(n - *first, each);
}

static PetscErrorCode Gather(const Work *w, PetscInt n, PetscInt length, const double mine[], PetscInt n_mine,
                             double all[])
{
  PetscMPIInt *count, *place;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(w->size, &count, w->size, &place));
  for (PetscMPIInt r = 0; r < w->size; r++) {
    PetscInt first, many;

    Share(w, r, n, &first, &many);
    count[r] = (PetscMPIInt)(many * length);
    place[r] = (PetscMPIInt)(first * length);
  }
  PetscCallMPI(
    MPI_Gatherv(mine, (PetscMPIInt)(n_mine * length), MPI_DOUBLE, all, count, place, MPI_DOUBLE, 0, w->comm));
  PetscCall(PetscFree2(count, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rounds of about half a second: signals and progress are looked at in between */
static PetscErrorCode ChooseRound(Work *w, PetscInt n, PetscLogDouble seconds)
{
  const double aim = 0.5, most = 4e5 * w->size;
  PetscInt64   next;

  PetscFunctionBegin;
  next = (PetscInt64)PetscClipInterval((double)n * PetscMin(8.0, aim / PetscMax(seconds, 1e-6)), w->size, most);
  if (next > BATCH * w->size) next -= next % (BATCH * w->size);
  PetscCallMPI(MPI_Bcast(&next, 1, MPIU_INT64, 0, w->comm));
  w->n_next = (PetscInt)next;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checkpoint: the number of samples done, then their rows -------------------------------------------------------- */

static PetscInt DoneOf(const Work *w, PetscInt e)
{
  return PetscClipInterval(w->n_done - e * w->n_sample, 0, w->n_sample);
}

static size_t BytesOf(const Work *w)
{
  size_t n = sizeof(PetscInt64);

  for (PetscInt e = 0; e < w->n_experiment; e++)
    n += (size_t)DoneOf(w, e) * (size_t)FwMixtureRowLength(&w->experiment[e]) * sizeof(double);
  return n;
}

/* Between rows and bytes, one way or the other. Rank 0 */
static PetscErrorCode CopyRows(const Work *w, char *bytes, PetscBool to_bytes)
{
  PetscFunctionBegin;
  for (PetscInt e = 0; e < w->n_experiment; e++) {
    const size_t n = (size_t)DoneOf(w, e) * (size_t)FwMixtureRowLength(&w->experiment[e]) * sizeof(double);

    PetscCall(to_bytes ? PetscMemcpy(bytes, w->row[e], n) : PetscMemcpy(w->row[e], bytes, n));
    bytes += n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCheckpoint(Work *w)
{
  const PetscInt64 done  = w->n_done;
  const size_t     n     = BytesOf(w);
  char            *bytes = NULL;

  PetscFunctionBegin;
  if (w->rank == 0) {
    PetscCall(PetscMalloc1(n, &bytes));
    PetscCall(PetscMemcpy(bytes, &done, sizeof done));
    PetscCall(CopyRows(w, bytes + sizeof done, PETSC_TRUE));
  }
  PetscCall(FwCheckpointWrite(w->comm, w->run->checkpoint, w->run->tag, n, bytes));
  PetscCall(PetscFree(bytes));
  PetscCall(PetscTime(&w->last_checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeBytes(Work *w, size_t n, char *bytes, PetscInt64 *done)
{
  PetscFunctionBegin;
  *done = 0;
  if (!bytes) PetscFunctionReturn(PETSC_SUCCESS);
  if (n >= sizeof *done) PetscCall(PetscMemcpy(done, bytes, sizeof *done));
  w->n_done = (PetscInt)*done;
  PetscCheck(*done >= 0 && *done <= (PetscInt64)w->n_experiment * w->n_sample && n == BytesOf(w), PETSC_COMM_SELF,
             FW_ERR_FILE, "the checkpoint '%s' does not fit the samples of this run", w->run->checkpoint);
  PetscCall(CopyRows(w, bytes + sizeof *done, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCheckpoint(Work *w)
{
  size_t         n     = 0;
  char          *bytes = NULL;
  PetscInt64     done  = 0;
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (!w->run->checkpoint || !w->run->resume) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwCheckpointRead(w->comm, w->run->checkpoint, w->run->tag, &n, &bytes));
  if (w->rank == 0) code = TakeBytes(w, n, bytes, &done);
  PetscCall(FwErrorAgree(w->comm, 0, code));
  PetscCallMPI(MPI_Bcast(&done, 1, MPIU_INT64, 0, w->comm));
  w->n_done = (PetscInt)done;
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- rounds ------------------------------------------------------------------------------------------------- */

static PetscErrorCode Round(Work *w)
{
  const PetscInt             e = w->n_done / w->n_sample, begin = w->n_done % w->n_sample;
  const PetscInt             n      = PetscMin(w->n_next, w->n_sample - begin);
  const FwMixtureExperiment *what   = &w->experiment[e];
  const PetscInt             length = FwMixtureRowLength(what);
  PetscInt                   first, n_mine;
  PetscLogDouble             start, end;
  PetscErrorCode             code;
  double                    *mine;

  PetscFunctionBegin;
  PetscCall(PetscTime(&start));
  Share(w, w->rank, n, &first, &n_mine);
  PetscCall(PetscMalloc1(n_mine * length, &mine));
  code = FwMixtureMeasure(what, (uint64_t)(begin + first), n_mine, mine);
  code = FwErrorAgreeAny(w->comm, code);
  if (FwExitOf(code) == FW_EXIT_STOPPED && w->run->checkpoint) PetscCall(WriteCheckpoint(w)); /* of the rounds before */
  PetscCall(code);
  PetscCall(Gather(w, n, length, mine, n_mine, w->row[e] ? w->row[e] + begin * length : NULL));
  PetscCall(PetscFree(mine));
  w->n_done += n;
  PetscCall(PetscTime(&end));
  PetscCall(ChooseRound(w, n, end - start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AfterRound(Work *w)
{
  PetscLogDouble now;
  PetscBool      stop, is_asked;
  int            is_due;

  PetscFunctionBegin;
  if (!w->run->checkpoint || w->n_done == w->n_experiment * w->n_sample) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStopRequested(w->comm, &stop));
  PetscCall(FwCheckpointRequested(w->comm, &is_asked));
  PetscCall(PetscTime(&now));
  is_due = now - w->last_checkpoint > w->run->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, w->comm));
  if (is_due || is_asked || stop) PetscCall(WriteCheckpoint(w));
  PetscCheck(!stop, w->comm, FW_ERR_STOPPED,
             "stopped early, checkpoint '%s' is written: run the same command with -resume", w->run->checkpoint);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunRounds(Work *w)
{
  const PetscInt  n         = w->n_experiment * w->n_sample;
  const PetscBool has_drawn = w->n_done < n ? PETSC_TRUE : PETSC_FALSE;
  FwProgress      progress  = NULL;

  PetscFunctionBegin;
  if (w->run->has_progress) PetscCall(FwProgressBegin("samples", n, &progress));
  while (w->n_done < n) {
    if (w->n_done % w->n_sample == 0) w->n_next = w->size; /* another sampler: find out how fast it is */
    PetscCall(Round(w));
    if (progress) PetscCall(FwProgressStep(progress, w->n_done));
    PetscCall(AfterRound(w));
  }
  if (progress) PetscCall(FwProgressEnd(&progress));
  if (has_drawn && w->run->checkpoint) PetscCall(WriteCheckpoint(w)); /* what is made of them takes time, too */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureSample(MPI_Comm comm, PetscInt n_experiment, const FwMixtureExperiment experiment[],
                               PetscInt n_sample, const FwKeptRun *run, double *row[])
{
  Work w = {
    .comm = comm, .n_experiment = n_experiment, .n_sample = n_sample, .experiment = experiment, .run = run, .row = row};

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &w.rank));
  PetscCallMPI(MPI_Comm_size(comm, &w.size));
  w.n_next = w.size;
  for (PetscInt e = 0; e < n_experiment; e++) {
    row[e] = NULL;
    if (w.rank == 0) PetscCall(PetscMalloc1(n_sample * FwMixtureRowLength(&experiment[e]), &row[e]));
  }
  PetscCall(PetscTime(&w.last_checkpoint));
  PetscCall(ReadCheckpoint(&w));
  PetscCall(RunRounds(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}
