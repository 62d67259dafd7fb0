/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Many trainings, and who works on which.
 */

#include "ensemble_impl.h"

#include <finwidth/stop.h>

#include <math.h>
#include <petsctime.h>

static const double piece_flops = 2e9; /* between looks at the clock: a second or less */
/* Of a gradient through examples from which on ranks share it, where they have nothing better to do; and blocks of fewer
   examples are not shared (learner_sum.c) */
static const double share_flops = 1.5e8;

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

/* --- training a batch ------------------------------------------------------------------------------------------------------ */

/* A checkpoint where it is time for one; FW_ERR_STOPPED where the run is to end */
static PetscErrorCode Look(FwEnsembleWork *w, PetscInt batch, FwTraining training)
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
  if (is_due) PetscCall(FwEnsembleSave(w, batch, training));
  PetscCheck(!stop, PETSC_COMM_SELF, FW_ERR_STOPPED,
             "stopped early, checkpoints are written: run the same command with -resume");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In pieces, which change nothing */
static PetscErrorCode AdvanceTo(FwEnsembleWork *w, PetscInt batch, FwTraining training, double until)
{
  const double flops    = w->counter && w->size > 1 ? FW_SHORT_FLOPS : piece_flops;
  const double piece    = flops / (FwEnsembleGradientCost(w->plan) * (double)w->size);
  PetscBool    is_there = PETSC_FALSE;

  PetscFunctionBegin;
  while (!is_there) {
    PetscCall(FwTrainingAdvanceSome(training, until, piece, &is_there));
    if (!is_there) PetscCall(Look(w, batch, training));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainBatch(FwEnsembleWork *w, PetscInt batch)
{
  FwTraining     training;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  w->is_mine[batch] = PETSC_TRUE;
  PetscCall(FwEnsembleCreateTraining(w, batch, &training));
  PetscCall(FwEnsembleResume(w, batch, training));
  while (w->n_measured[batch] < w->plan->n_time && !code) {
    code = AdvanceTo(w, batch, training, w->plan->time[w->n_measured[batch]]);
    if (!code) code = FwEnsembleMeasureBatch(w, training, batch);
    if (!code) code = Look(w, batch, w->n_measured[batch] < w->plan->n_time ? training : NULL);
  }
  PetscCall(FwTrainingDestroy(&training));
  PetscFunctionReturn(code);
}

static PetscErrorCode TrainTogether(FwEnsembleWork *w)
{
  PetscFunctionBegin;
  for (PetscInt b = 0; b < w->n_batch; b++) PetscCall(TrainBatch(w, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rank that is done with a batch takes the next: flows of different decays and starts need different times */
static PetscErrorCode TrainCounted(FwEnsembleWork *w)
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

static PetscErrorCode TrainApart(MPI_Comm comm, FwEnsembleWork *w)
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

PetscErrorCode FwEnsembleCreate(const FwEnsemblePlan *plan, FwEnsembleResult *result)
{
  PetscFunctionBegin;
  *result = (FwEnsembleResult){.n_theta = FwLearnerShapeSize(&plan->shape)};
  PetscCall(FwAlignmentLayout(&plan->shape, plan->n_alpha, plan->alpha, &result->rows));
  PetscCall(PetscCalloc1((size_t)plan->n_run * (size_t)plan->n_time * (size_t)result->rows.n, &result->row));
  PetscCall(PetscCalloc1((size_t)plan->n_run * (size_t)result->n_theta, &result->theta));
  PetscCall(PetscCalloc1(plan->n_run, &result->end));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainAll(MPI_Comm comm, FwEnsembleWork *w, PetscBool is_together)
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
  FwEnsembleWork w = {.plan = plan, .result = result, .size = FwEnsembleBatchSize(plan)};
  PetscMPIInt    n_rank;
  PetscBool      is_together;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  w.n_batch = (plan->n_run + w.size - 1) / w.size;
  is_together =
    (PetscBool)(w.n_batch < n_rank && !FwEnsembleNeedsMoments(plan) && FwEnsembleGradientCost(plan) > share_flops);
  w.comm   = is_together ? comm : PETSC_COMM_SELF;
  w.n_rank = is_together ? 1 : n_rank;
  PetscCall(FwEnsembleCreate(plan, result));
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
