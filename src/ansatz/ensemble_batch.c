/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A batch of an ensemble: its training, and the measurement of each of its runs.
 */

#include "ensemble_impl.h"

#include <math.h>

PetscInt FwEnsembleFirstRun(const FwEnsembleWork *w, PetscInt batch)
{
  return batch * w->size;
}

PetscInt FwEnsembleCountRuns(const FwEnsembleWork *w, PetscInt batch)
{
  return PetscMin(w->size, w->plan->n_run - FwEnsembleFirstRun(w, batch));
}

double *FwEnsembleRow(const FwEnsembleWork *w, PetscInt run, PetscInt time)
{
  return w->result->row + ((size_t)run * (size_t)w->plan->n_time + (size_t)time) * (size_t)w->result->rows.n;
}

static void FillNaN(size_t n, double value[])
{
  for (size_t k = 0; k < n; k++) value[k] = NAN;
}

/* What there is to say of a run at a time: a row, or NaN and the reason. A solver for critical points that can go no
   further has weights that are fine; numbers that are too large to be measured have diverged */
static PetscErrorCode MeasureState(FwEnsembleWork *w, PetscInt r, const FwTrainState *state, PetscBool is_solve,
                                   double row[], PetscBool *is_diverged)
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

static PetscErrorCode MeasureRun(FwEnsembleWork *w, FwTraining training, PetscInt batch, PetscInt i, PetscInt time)
{
  const PetscInt r     = FwEnsembleFirstRun(w, batch) + i;
  const size_t   n     = (size_t)w->result->n_theta;
  double        *theta = w->result->theta + (size_t)r * n;
  PetscBool      is_diverged;
  FwTrainState   state;

  PetscFunctionBegin;
  PetscCall(FwTrainingGetState(training, i, &state));
  PetscCall(MeasureState(w, r, &state, (PetscBool)(w->plan->plan.method >= FW_TRAIN_LMVM), FwEnsembleRow(w, r, time),
                         &is_diverged));
  PetscCall(PetscArraycpy(theta, state.theta, n));
  if (is_diverged) FillNaN(n, theta);
  w->result->end[r] = (FwEnsembleEnd){.time         = state.time,
                                      .is_diverged  = is_diverged,
                                      .is_given_up  = state.is_given_up,
                                      .is_converged = state.is_converged,
                                      .n_gradient   = state.n_gradient};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleMeasureBatch(FwEnsembleWork *w, FwTraining training, PetscInt batch)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < FwEnsembleCountRuns(w, batch); i++)
    PetscCall(MeasureRun(w, training, batch, i, w->n_measured[batch]));
  w->n_measured[batch]++;
  w->n_done++;
  if (w->progress)
    PetscCall(FwProgressStep(w->progress, PetscMin(w->n_done * w->n_rank, w->n_batch * w->plan->n_time)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleCreateTraining(FwEnsembleWork *w, PetscInt batch, FwTraining *training)
{
  FwTrainRun run[FW_LANES];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < FwEnsembleCountRuns(w, batch); i++) {
    const FwEnsembleRun *from = &w->plan->run[FwEnsembleFirstRun(w, batch) + i];

    run[i] = (FwTrainRun){w->learner, from->decay, from->step, from->seed, from->start};
  }
  PetscCall(FwTrainingCreate(&w->plan->plan, FwEnsembleCountRuns(w, batch), run, training));
  PetscFunctionReturn(PETSC_SUCCESS);
}
