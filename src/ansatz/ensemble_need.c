/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What an ensemble will need: operations of a gradient, memory, and, from a trial, time.
 */

#include "ensemble_impl.h"

#include <math.h>
#include <time.h>

static double CountWeights(const FwLearnerShape *shape)
{
  double n = 0.0;

  for (PetscInt l = 1; l <= shape->n_layer; l++) n += (double)shape->width[l] * (double)shape->width[l - 1];
  return n;
}

PetscBool FwEnsembleNeedsMoments(const FwEnsemblePlan *plan)
{
  return (PetscBool)(!plan->plan.batch && FwLearnerHasMoments(&plan->shape, plan->loss, plan->n_example));
}

/* The basis of the moments, which spares d^2, is not counted on: adam has none */
double FwEnsembleGradientCost(const FwEnsemblePlan *plan)
{
  const double weights = CountWeights(&plan->shape);
  const double n       = plan->plan.batch ? (double)plan->plan.batch : (double)plan->n_example;

  if (!FwEnsembleNeedsMoments(plan)) return 6.0 * n * weights;
  return 2.0 * (double)plan->shape.width[plan->shape.n_layer] *
         ((double)plan->shape.width[0] * (double)plan->shape.width[0] + 3.0 * weights);
}

PetscInt FwEnsembleBatchSize(const FwEnsemblePlan *plan)
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
  const PetscInt        n_batch = PetscMin(FwEnsembleBatchSize(plan), plan->n_run);
  FwAlignmentRows       rows;
  double                work;

  (void)FwAlignmentLayout(shape, plan->n_alpha, plan->alpha, &rows);
  work = FwTrainingBytes(&plan->plan, shape, plan->loss, plan->n_example, n_batch) + MeasureBytes(shape);
  /* twice: the examples, of the data and by rows; rows of numbers, in the result and in the record; weights, at start and end */
  return 2.0 * 8.0 * (inputs + runs * ((double)plan->n_time * (double)rows.n + n_theta)) +
         FwLearnerBytes(shape, plan->loss, plan->n_example, plan->is_single) + work;
}

/* --- a trial ------------------------------------------------------------------------------------------------------------------ */

/* A batch that is trained for a while, and how far it came: where its slowest run is, 1 at the end. Seconds are the
   processor's: what else the machine does is no concern of the job's */
typedef struct {
  FwEnsembleWork work;
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
  const double          piece = FW_SHORT_FLOPS / (FwEnsembleGradientCost(plan) * (double)trial->work.size);
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
  PetscCall(FwEnsembleMeasureBatch(&trial->work, trial->training, 0));
  end      = CpuSeconds();
  *seconds = end - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TryBatch(Trial *trial, double budget, double *seconds)
{
  double         training = 0.0, measurement = 0.0;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwEnsembleCreateTraining(&trial->work, 0, &trial->training));
  code = TryTraining(trial, budget, &training);
  if (!code) code = TryMeasurement(trial, &measurement);
  PetscCall(FwTrainingDestroy(&trial->training));
  PetscCall(code);
  *seconds = training + measurement * (double)trial->plan.n_time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleTrial(const FwEnsemblePlan *plan, double budget, double *seconds)
{
  const PetscInt   size  = FwEnsembleBatchSize(plan);
  Trial            trial = {.plan = *plan};
  FwEnsembleRun    run[FW_LANES];
  FwEnsembleResult result;
  PetscInt         n_measured = 0;
  PetscErrorCode   code;

  PetscFunctionBegin;
  trial.plan.n_run = PetscMin(size, plan->n_run);
  trial.plan.run   = run;
  for (PetscInt r = 0; r < trial.plan.n_run; r++) run[r] = plan->run[r * plan->n_run / trial.plan.n_run];
  PetscCall(FwEnsembleCreate(&trial.plan, &result));
  trial.work = (FwEnsembleWork){.plan       = &trial.plan,
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
