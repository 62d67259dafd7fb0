/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Training: the runs, their state, and the choice of the method.
 */

#include "lanes.h"
#include "training_impl.h"

#include <math.h>

const char *const FwTrainMethodNames[FW_TRAIN_COUNT] = {
  "flow", "flow-midpoint", "flow-strang", "gd", "momentum", "nesterov", "sgd", "adam", "adamw", "lmvm", "newton"};

static const struct {
  FwTrainAdvance      *advance;
  FwTrainAdvanceLanes *advance_lanes; /* of small networks; or NULL */
  PetscInt             n_moment;
  PetscBool            has_step, has_tolerance, has_batch;
  PetscBool            may_rotate; /* needs nothing but gradients, and no rotation of the inputs changes what it does */
} methods[FW_TRAIN_COUNT] = {
  [FW_TRAIN_FLOW]          = {FwTrainAdvance_Flow,          FwTrainAdvanceLanes_Flow,    0,                           .has_tolerance = 1,               .may_rotate = 1},
  [FW_TRAIN_FLOW_MIDPOINT] = {FwTrainAdvance_Midpoint,                            NULL,                                 0,                             .has_step = 1                           },
  [FW_TRAIN_FLOW_STRANG]   = {FwTrainAdvance_Midpoint,                            NULL,                                 0,                             .has_step = 1},
  [FW_TRAIN_GD]            = {FwTrainAdvance_Descent,                            FwTrainAdvanceLanes_Descent,                                  0,       .has_step = 1,     .may_rotate = 1},
  [FW_TRAIN_MOMENTUM]      = {FwTrainAdvance_Descent,             FwTrainAdvanceLanes_Descent,                                        1,                                              .has_step = 1,                                   .may_rotate = 1},
  [FW_TRAIN_NESTEROV]      = {FwTrainAdvance_Descent,               FwTrainAdvanceLanes_Descent,                           1,         .has_step = 1,.may_rotate = 1},
  [FW_TRAIN_SGD]           = {FwTrainAdvance_Descent,                           FwTrainAdvanceLanes_Descent,               1,                   .has_step = 1,                                                                  .has_batch = 1,
                              .may_rotate = 1},
  [FW_TRAIN_ADAM]          = {FwTrainAdvance_Descent,FwTrainAdvanceLanes_Descent,2,.has_step = 1,.has_batch = 1},
  [FW_TRAIN_ADAMW]         = {FwTrainAdvance_Descent,                            FwTrainAdvanceLanes_Descent,                                  2,                                                            .has_step = 1,                                                                                                         .has_batch = 1},
  [FW_TRAIN_LMVM]          = {FwTrainAdvance_Tao,              NULL,                                         0,                                               .has_tolerance = 1                                                                                         },
  [FW_TRAIN_NEWTON]        = {FwTrainAdvance_Tao,               NULL,                            0,.has_tolerance = 1},
};

PetscBool FwTrainMethodIsFlow(FwTrainMethod method)
{
  return (PetscBool)(method == FW_TRAIN_FLOW || method == FW_TRAIN_FLOW_MIDPOINT || method == FW_TRAIN_FLOW_STRANG);
}

PetscBool FwTrainMethodHasBatches(FwTrainMethod method)
{
  return methods[method].has_batch;
}

PetscBool FwTrainIsFinite(PetscInt n, const double theta[])
{
  return (PetscBool)isfinite(FwDot(n, theta, theta));
}

PetscErrorCode FwTrainGradient(FwTrainOne *one, FwDecay decay, const double theta[], double *objective,
                               double gradient[])
{
  const FwDecay none = {0.0, 0.0};

  PetscFunctionBegin;
  one->at.n_gradient += 1.0;
  if (objective) {
    PetscCall(FwLearnerGradient(one->run.learner, decay, theta, objective, gradient));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (one->run.learner->moments.xx)
    one->loss = FwLearnerMomentsGradient(one->run.learner, one->is_rotated, theta, gradient);
  else
    PetscCall(FwLearnerGradient(one->run.learner, none, theta, &one->loss, gradient));
  FwLearnerAddDecay(one->run.learner, decay, theta, gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwTrainHasGrown(FwTrainOne *one, double loss)
{
  const double far = 1e8;

  if (one->at.loss_most == 0.0) one->at.loss_most = far * fmax(loss, one->run.learner->zero_loss);
  return (PetscBool) !(loss <= one->at.loss_most);
}

PetscBool FwTrainIsOver(const FwTrainPlan *plan, FwTrainOne *one, double loss, double time)
{
  if (FwTrainHasGrown(one, loss)) one->at.is_diverged = 1.0;
  if (plan->n_gradient_most > 0.0 && one->at.n_gradient >= plan->n_gradient_most && one->at.time < time)
    one->at.is_given_up = 1.0;
  return (PetscBool)(one->at.is_diverged != 0.0 || one->at.is_given_up != 0.0);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static PetscErrorCode CheckPlan(const FwTrainPlan *plan, PetscInt n_example)
{
  const char *name = FwTrainMethodNames[plan->method];

  PetscFunctionBegin;
  PetscCheck(!methods[plan->method].has_tolerance || plan->tolerance > 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "%s needs a tolerance above 0, not %g", name, plan->tolerance);
  PetscCheck(plan->method != FW_TRAIN_FLOW || plan->tolerance >= 1e-14, PETSC_COMM_SELF, FW_ERR_INPUT,
             "ansatz_tolerance %g of flow is below rounding: want 1e-14 at least", plan->tolerance);
  PetscCheck(plan->momentum >= 0.0 && plan->momentum < 1.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a momentum of %g is not in [0, 1)", plan->momentum);
  PetscCheck(plan->batch >= 0 && plan->batch <= n_example, PETSC_COMM_SELF, FW_ERR_INPUT,
             "batches of %" PetscInt_FMT " examples: there are %" PetscInt_FMT, plan->batch, n_example);
  PetscCheck(plan->batch == 0 || methods[plan->method].has_batch, PETSC_COMM_SELF, FW_ERR_INPUT,
             "%s goes over all examples: batches are for sgd, adam and adamw", name);
  PetscCheck(plan->n_gradient_most >= 0.0, PETSC_COMM_SELF, FW_ERR_INPUT, "at most %g gradients: want 0 or more",
             plan->n_gradient_most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool AreAlike(FwLearner a, FwLearner b)
{
  if (a->shape.n_layer != b->shape.n_layer || a->shape.activation != b->shape.activation ||
      a->shape.has_bias != b->shape.has_bias || a->loss != b->loss || a->n_example != b->n_example)
    return PETSC_FALSE;
  for (PetscInt l = 0; l <= a->shape.n_layer; l++)
    if (a->shape.width[l] != b->shape.width[l]) return PETSC_FALSE;
  return PETSC_TRUE;
}

static PetscErrorCode CheckRun(const FwTrainPlan *plan, const FwTrainRun *first, const FwTrainRun *run)
{
  PetscFunctionBegin;
  PetscCheck(!methods[plan->method].has_step || (run->step > 0.0 && isfinite(run->step)), PETSC_COMM_SELF, FW_ERR_INPUT,
             "%s needs a step above 0, not %g", FwTrainMethodNames[plan->method], run->step);
  PetscCheck(run->decay.weight >= 0.0 && run->decay.bias >= 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a decay of %g is negative", PetscMin(run->decay.weight, run->decay.bias));
  PetscCheck(AreAlike(first->learner, run->learner), PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP,
             "the runs of a training have one shape, one loss and the same number of examples");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StartRun(FwTraining training, const FwTrainRun *run, FwTrainOne *one)
{
  const PetscInt n = training->n_theta;

  PetscFunctionBegin;
  one->run = *run;
  PetscCall(PetscMalloc2(n, &one->theta, n, &one->gradient));
  PetscCall(PetscCalloc1(training->n_moment * n, &one->moment));
  if (training->is_rotated) {
    PetscCall(FwLearnerBasisCreate(run->learner));
    PetscCall(FwLearnerRotate(run->learner, PETSC_FALSE, run->theta, one->theta));
  } else {
    PetscCall(PetscArraycpy(one->theta, run->theta, n));
  }
  one->is_rotated = training->is_rotated;
  one->run.theta  = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingCreate(const FwTrainPlan *plan, PetscInt n_run, const FwTrainRun run[], FwTraining *training)
{
  FwTraining            t;
  const FwLearnerShape *shape;
  PetscInt              n_example;
  const double         *x, *y;

  PetscFunctionBegin;
  PetscCall(FwLearnerGetExamples(run[0].learner, &n_example, &x, &y));
  PetscCall(FwLearnerGetShape(run[0].learner, &shape));
  PetscCall(CheckPlan(plan, n_example));
  for (PetscInt r = 0; r < n_run; r++) PetscCall(CheckRun(plan, &run[0], &run[r]));
  PetscCall(PetscNew(&t));
  t->plan        = *plan;
  t->n_run       = n_run;
  t->n_theta     = FwLearnerShapeSize(shape);
  t->n_example   = n_example;
  t->n_moment    = methods[plan->method].n_moment;
  t->is_in_lanes = (PetscBool)(methods[plan->method].advance_lanes && FwLaneNetFits(run[0].learner, plan->batch));
  t->is_rotated  = (PetscBool)(methods[plan->method].may_rotate && plan->batch == 0 && run[0].learner->moments.xx);
  for (PetscInt lane = 0; lane < FW_LANES; lane++) t->order_run[lane] = t->order_epoch[lane] = -1.0;
  PetscCall(PetscMalloc2(plan->batch, &t->batch, plan->batch ? FW_LANES * n_example : 0, &t->order));
  PetscCall(PetscMalloc1(t->is_rotated ? t->n_theta : 0, &t->state));
  PetscCall(PetscCalloc1(n_run, &t->one));
  for (PetscInt r = 0; r < n_run; r++) PetscCall(StartRun(t, &run[r], &t->one[r]));
  *training = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors of n_theta that a method needs beside those of the run: stages of Runge-Kutta, Krylov's and Newton's vectors,
   what Tao remembers */
static double CountVectors(const FwTrainPlan *plan)
{
  if (plan->method == FW_TRAIN_FLOW) return plan->is_low_order ? 11.0 : 17.0;
  if (plan->method == FW_TRAIN_FLOW_MIDPOINT || plan->method == FW_TRAIN_FLOW_STRANG) return 40.0;
  return plan->method == FW_TRAIN_LMVM ? 25.0 : plan->method == FW_TRAIN_NEWTON ? 15.0 : 0.0;
}

/* Eight networks in lanes hold their examples, too, where they do not go through moments */
static double LanesBytes(const FwTrainPlan *plan, const FwLearnerShape *shape, FwLoss loss, PetscInt n_example)
{
  const PetscBool has_moments = (PetscBool)(!plan->batch && FwLearnerHasMoments(shape, loss, n_example));
  const double    n = plan->batch ? plan->batch : n_example, d = shape->width[0], c = shape->width[shape->n_layer];
  const double    vectors = 2.0 + (double)methods[plan->method].n_moment + CountVectors(plan);

  return 8.0 * FW_LANES * (vectors * (double)FwLearnerShapeSize(shape) + (has_moments ? d * d : n * (d + c)));
}

double FwTrainingBytes(const FwTrainPlan *plan, const FwLearnerShape *shape, FwLoss loss, PetscInt n_example,
                       PetscInt n_run)
{
  const double    n = (double)FwLearnerShapeSize(shape), runs = (double)n_run;
  const PetscBool in_lanes = (PetscBool)(methods[plan->method].advance_lanes && FwLaneNetHasWidths(shape));
  double          bytes    = 8.0 * runs * (2.0 + (double)methods[plan->method].n_moment) * n + 8.0 * n;

  if (plan->batch) bytes += (double)sizeof(PetscInt) * FW_LANES * n_example;
  return bytes + (in_lanes ? LanesBytes(plan, shape, loss, n_example) : 8.0 * CountVectors(plan) * n);
}

PetscErrorCode FwTrainingDestroy(FwTraining *training)
{
  FwTraining t = *training;

  PetscFunctionBegin;
  if (!t) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt r = 0; r < t->n_run; r++) {
    PetscCall(PetscFree2(t->one[r].theta, t->one[r].gradient));
    PetscCall(PetscFree(t->one[r].moment));
  }
  PetscCall(PetscFree(t->one));
  PetscCall(PetscFree(t->state));
  PetscCall(PetscFree2(t->batch, t->order));
  PetscCall(PetscFree(*training));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the way ------------------------------------------------------------------------------------------------------ */

static PetscBool GoesOn(const FwTrainOne *one, double time)
{
  return (PetscBool)(one->at.is_diverged == 0.0 && one->at.is_converged == 0.0 && one->at.is_given_up == 0.0 &&
                     time > one->at.time);
}

static PetscErrorCode AdvanceInLanes(FwTraining training, double time)
{
  PetscFunctionBegin;
  for (PetscInt r = 0; r < training->n_run; r += FW_LANES)
    PetscCall(methods[training->plan.method].advance_lanes(training, PetscMin(FW_LANES, training->n_run - r),
                                                           &training->one[r], time));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingAdvanceSome(FwTraining training, double time, double n_gradient, PetscBool *is_there)
{
  PetscFunctionBegin;
  training->most = n_gradient;
  if (training->is_in_lanes) PetscCall(AdvanceInLanes(training, time));
  for (PetscInt r = 0; !training->is_in_lanes && r < training->n_run; r++)
    if (GoesOn(&training->one[r], time))
      PetscCall(methods[training->plan.method].advance(training, &training->one[r], time));
  *is_there = PETSC_TRUE;
  for (PetscInt r = 0; r < training->n_run; r++)
    if (GoesOn(&training->one[r], time)) *is_there = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingAdvance(FwTraining training, double time)
{
  PetscBool is_there = PETSC_FALSE;

  PetscFunctionBegin;
  while (!is_there) PetscCall(FwTrainingAdvanceSome(training, time, INFINITY, &is_there));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingGetState(FwTraining training, PetscInt run, FwTrainState *state)
{
  const FwTrainOne *one = &training->one[run];

  PetscFunctionBegin;
  if (one->is_rotated) PetscCall(FwLearnerRotate(one->run.learner, PETSC_TRUE, one->theta, training->state));
  *state = (FwTrainState){.theta        = one->is_rotated ? training->state : one->theta,
                          .time         = one->at.time,
                          .is_diverged  = (PetscBool)(one->at.is_diverged != 0.0),
                          .is_converged = (PetscBool)(one->at.is_converged != 0.0),
                          .is_given_up  = (PetscBool)(one->at.is_given_up != 0.0),
                          .n_gradient   = one->at.n_gradient,
                          .loss_most    = one->at.loss_most > 0.0 ? one->at.loss_most : INFINITY};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingCheck(FwTraining training)
{
  const FwTrainMethod method = training->plan.method;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < training->n_run; r++) {
    const FwTrainOne *one = &training->one[r];

    PetscCheck(one->at.is_given_up == 0.0, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
               "training by %s was given up at t = %g after %g gradients (run %" PetscInt_FMT "): a larger %s",
               FwTrainMethodNames[method], one->at.time, one->at.n_gradient, r,
               methods[method].has_step ? "ansatz_step" : "tolerance");
    if (one->at.is_diverged == 0.0) continue;
    PetscCheck(methods[method].has_step, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
               "training by %s could not go on from %s %g (run %" PetscInt_FMT ")", FwTrainMethodNames[method],
               FwTrainMethodIsFlow(method) ? "t =" : "iteration", one->at.time, r);
    SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL,
            "training by %s diverged at %s %g with ansatz_step = %g (run %" PetscInt_FMT "): a smaller ansatz_step",
            FwTrainMethodNames[method], FwTrainMethodIsFlow(method) ? "t =" : "step", one->at.time, one->run.step, r);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- keeping ------------------------------------------------------------------------------------------------------ */

static const size_t n_numbers = sizeof(FwTrainNumbers) / sizeof(double);

size_t FwTrainingPackedSize(FwTraining training)
{
  return (size_t)training->n_run * (n_numbers + (size_t)(1 + training->n_moment) * (size_t)training->n_theta);
}

PetscErrorCode FwTrainingPack(FwTraining training, double packed[])
{
  const PetscInt n = training->n_theta, n_moment = training->n_moment * n;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < training->n_run; r++) {
    const FwTrainOne *one = &training->one[r];

    PetscCall(PetscMemcpy(packed, &one->at, sizeof one->at));
    PetscCall(PetscArraycpy(packed + n_numbers, one->theta, n));
    PetscCall(PetscArraycpy(packed + n_numbers + n, one->moment, n_moment));
    packed += n_numbers + n + n_moment;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainingUnpack(FwTraining training, const double packed[])
{
  const PetscInt n = training->n_theta, n_moment = training->n_moment * n;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < training->n_run; r++) {
    FwTrainOne *one = &training->one[r];

    PetscCall(PetscMemcpy(&one->at, packed, sizeof one->at));
    PetscCall(PetscArraycpy(one->theta, packed + n_numbers, n));
    PetscCall(PetscArraycpy(one->moment, packed + n_numbers + n, n_moment));
    packed += n_numbers + n + n_moment;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
