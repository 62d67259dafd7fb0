/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Predicted errors of convolutional and locally-connected networks: all points on one family of kernels.
 */

#include "local_prediction_impl.h"

#include <finwidth/progress.h>

#include <math.h>

/* --- life --------------------------------------------------------------------------------------------------- */

/* The family and its action on the predictor's grid */
static PetscErrorCode SetUpAction(FwLocalPredictor p)
{
  const FwPatchPlan plan = {.form        = p->plan.form,
                            .closure     = p->plan.closure,
                            .is_centred  = p->plan.is_centred,
                            .n_output    = p->sizes.n_output,
                            .store_bytes = p->plan.store_bytes};
  const double     *y;
  PetscInt          n_unknown;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelCreate(p->grid, p->images, &plan, &p->kernel));
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  PetscCall(FwLocalActionCreate(p->kernel, y, &p->action));
  PetscCall(FwLocalActionGetSize(p->action, &p->n_row, &n_unknown));
  if (p->sizes.n_validation) PetscCall(FwPatchCrossCreate(p->kernel, FW_VALIDATION, p->plan.cross_bytes, &p->cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictorCreate(FwGrid grid, const FwModel *model, FwDataset data, const FwLocalPlan *plan,
                                      FwLocalPredictor *predictor)
{
  FwLocalPredictor p;

  PetscFunctionBegin;
  PetscCall(PetscNew(&p));
  p->grid      = grid;
  p->data      = data;
  p->plan      = *plan;
  p->is_single = (PetscBool)(model->type == FW_NETWORK_FC || (model->type == FW_NETWORK_POOL && model->depth == 1));
  PetscCall(FwDatasetGetSizes(data, &p->sizes));
  PetscCall(FwPatchImagesCreate(FwGridComm(grid), model, data, &p->images));
  PetscCall(SetUpAction(p));
  *predictor = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictorAlone(FwLocalPredictor p, FwLocalPredictor *alone)
{
  FwLocalPredictor a;

  PetscFunctionBegin;
  PetscCall(PetscNew(&a));
  *a                    = *p;
  a->is_alone           = PETSC_TRUE;
  a->cross              = NULL;
  a->sizes.n_validation = 0;
  PetscCall(FwGridCreate(PETSC_COMM_SELF, &a->grid));
  PetscCall(SetUpAction(a));
  *alone = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictorDestroy(FwLocalPredictor *predictor)
{
  FwLocalPredictor p = *predictor;

  PetscFunctionBegin;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalActionDestroy(&p->action));
  PetscCall(FwPatchCrossDestroy(&p->cross));
  PetscCall(FwPatchKernelDestroy(&p->kernel));
  if (p->is_alone)
    PetscCall(FwGridDestroy(&p->grid));
  else
    PetscCall(FwPatchImagesDestroy(&p->images));
  PetscCall(PetscFree(*predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictionDestroy(FwLocalPrediction *prediction)
{
  PetscFunctionBegin;
  PetscCall(FwLocalSaddleDestroy(&prediction->saddle));
  PetscCall(FwLocalObservablesDestroy(&prediction->observables));
  PetscCall(PetscFree3(prediction->average.order, prediction->average.order_bar, prediction->average.error_bar));
  PetscCall(FwLocalLearntDestroy(&prediction->lesson.end));
  PetscCall(FwErrorsDestroy(&prediction->lesson.errors));
  PetscCall(PetscFree(prediction->upper));
  PetscCall(FwPredictionDestroy(&prediction->common));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- saddle points ------------------------------------------------------------------------------------------ */

/* Where the search at a point begins: with one start at the last solution, if there is one */
static PetscErrorCode FindSaddle(FwLocalPredictor p, const FwModel *model, const FwLocalSaddle *before,
                                 FwLocalSaddle *saddle)
{
  const PetscInt n_start = p->plan.n_start;
  const size_t   n2      = (size_t)p->n_row * p->n_row;
  double        *start;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n_start * n2, &start));
  PetscCall(FwLocalActionSetModel(p->action, model));
  PetscCall(FwLocalStarts(p->action, p->plan.seed, n_start, start));
  if (n_start == 1 && before) PetscCall(PetscArraycpy(start, before->minimum[0].order, n2));
  code = FwLocalSaddleFind(p->action, n_start, start, saddle);
  PetscCall(PetscFree(start));
  PetscFunctionReturn(code);
}

/* Order parameters of the upper layers of paths */
static PetscErrorCode KeepUpper(FwLocalPredictor p, FwLocalPrediction *q)
{
  const FwTower *t    = &q->tower;
  const PetscInt D    = q->family.n_output;
  size_t         size = 0, place = 0;

  PetscFunctionBegin;
  q->rest = FwLocalActionRest(p->action);
  if (t->n_layer == 1 || q->family.closure != FW_DEEP_PATHS || !q->saddle.n_minimum) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 1; l < t->n_layer; l++) size += PetscSqr((size_t)D * t->n_path[l]);
  PetscCall(PetscMalloc1(size, &q->upper));
  for (PetscInt l = 1; l < t->n_layer; l++) {
    PetscCall(FwLocalActionUpper(p->action, q->saddle.minimum[0].order, l, q->upper + place));
    place += PetscSqr((size_t)D * t->n_path[l]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindSaddles(FwLocalPredictor p, PetscInt n, const FwModel model[], FwLocalPrediction prediction[])
{
  const FwLocalSaddle *before = NULL;
  FwProgress           progress;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("saddle points", n, &progress));
  for (PetscInt i = 0; i < n; i++) {
    FwPrediction *common = &prediction[i].common;

    if (common->request.theory != FW_THEORY_RENORMALISED) continue;
    PetscCall(FwPredictionFail(common, FindSaddle(p, &model[i], before, &prediction[i].saddle)));
    if (!common->failure) PetscCall(KeepUpper(p, &prediction[i]));
    if (!common->failure && prediction[i].saddle.is_converged) before = &prediction[i].saddle;
    PetscCall(FwProgressStep(progress, i + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Learn(FwLocalPredictor p, PetscInt n, const FwModel model[], FwLocalPrediction prediction[])
{
  FwProgress progress;

  PetscFunctionBegin;
  if (!p->cross) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwProgressBegin("learning on validation examples", n, &progress));
  for (PetscInt i = 0; i < n; i++) {
    if (!prediction[i].common.failure && prediction[i].saddle.n_minimum)
      PetscCall(FwPredictionFail(&prediction[i].common, FwLocalLessonLearn(p, &model[i], &prediction[i])));
    PetscCall(FwProgressStep(progress, i + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwLocalProcessErrors(FwLocalPredictor p, const FwLocalProcess *process, const FwPrediction *common,
                                    FwErrors *errors)
{
  PetscFunctionBegin;
  if (common->n_output > 1) {
    PetscCall(FwPredictionFillOutputs(p->data, common, process->train, process->mean, process->covariance, errors));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwPredictionTestErrors(p->data, process->mean, process->covariance, errors));
  errors->train_bias     = process->train[0];
  errors->train_variance = process->train[1];
  errors->train_error    = errors->train_bias + errors->train_variance;
  if (!common->request.with_means && !common->n_new) PetscCall(PetscFree2(errors->mean, errors->deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double LogEvidence(const FwLocalPrediction *q)
{
  return FwSaddleEvidence(q->width, (double)q->common.n_train * q->common.n_output, q->saddle.minimum[0].point.value,
                          q->rest);
}

/* Infinite networks of the same temperature and readout prior are the same */
static PetscInt FindInfinite(PetscInt n, const FwLocalProcess process[], const FwModel *model)
{
  for (PetscInt i = 0; i < n; i++)
    if (process[i].model->temperature == model->temperature &&
        process[i].model->prior[model->depth] == model->prior[model->depth])
      return i;
  return n;
}

/* A point without one of its processes has no prediction */
static PetscErrorCode TakeFailure(const FwLocalProcess *process, FwPrediction *common)
{
  PetscFunctionBegin;
  if (!process->failure || common->failure) PetscFunctionReturn(PETSC_SUCCESS);
  common->failure = process->failure;
  PetscCall(PetscStrncpy(common->reason, process->reason, sizeof common->reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetPrediction(FwLocalPredictor p, const FwLocalProcess *finite, const FwLocalProcess *infinite,
                                    FwLocalPrediction *q)
{
  FwPrediction *c = &q->common;

  PetscFunctionBegin;
  PetscCall(TakeFailure(infinite, c));
  if (finite) PetscCall(TakeFailure(finite, c));
  if (c->failure) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalProcessErrors(p, infinite, c, &c->infinite));
  c->infinite_log_evidence = infinite->log_likelihood;
  c->log_evidence          = infinite->log_likelihood;
  PetscCall(FwPredictionFail(c, FwErrorsCheck(&c->infinite, c->n_test, "infinite")));
  if (c->failure || !finite) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwLocalProcessErrors(p, finite, c, &c->finite));
  c->log_evidence = LogEvidence(q);
  PetscCall(FwPredictionFail(c, FwErrorsCheck(&c->finite, c->n_test, "finite")));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which processes belong to a point; -1 where there is none */
typedef struct {
  PetscInt finite, infinite, learnt;
} Places;

/* The processes of all points that have a solution: infinite networks first, each once */
static PetscErrorCode ListProcesses(PetscInt n, const FwModel model[], const double one[],
                                    const FwLocalPrediction prediction[], FwLocalProcess process[], Places place[],
                                    PetscInt *n_process)
{
  PetscInt n_infinite = 0, count;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    place[i] = (Places){-1, -1, -1};
    if (prediction[i].common.failure) continue;
    place[i].infinite = FindInfinite(n_infinite, process, &model[i]);
    if (place[i].infinite == n_infinite) process[n_infinite++] = (FwLocalProcess){.order = one, .model = &model[i]};
  }
  count = n_infinite;
  for (PetscInt i = 0; i < n; i++) {
    if (place[i].infinite < 0 || !prediction[i].saddle.n_minimum) continue;
    place[i].finite  = count;
    process[count++] = (FwLocalProcess){.order = prediction[i].saddle.minimum[0].order, .model = &model[i]};
    if (!prediction[i].lesson.is_available) continue;
    place[i].learnt  = count;
    process[count++] = (FwLocalProcess){.order = prediction[i].lesson.end.order, .model = &model[i]};
  }
  *n_process = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictErrors(FwLocalPredictor p, PetscInt n, const FwModel model[],
                                    FwLocalPrediction prediction[])
{
  const PetscInt  n_row = p->n_row;
  FwLocalProcess *process;
  Places         *place;
  double         *one;
  PetscInt        n_process;
  FwProgress      progress;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)n_row * n_row, &one));
  for (PetscInt i = 0; i < n_row; i++) one[i * n_row + i] = 1.0;
  PetscCall(PetscCalloc2(3 * n, &process, n, &place));
  PetscCall(ListProcesses(n, model, one, prediction, process, place, &n_process));
  PetscCall(FwProgressBegin("predictions", 0, &progress));
  PetscCall(FwLocalProcessRun(p, n_process, process));
  PetscCall(FwProgressEnd(&progress));
  for (PetscInt i = 0; i < n; i++) {
    if (place[i].infinite < 0) continue;
    PetscCall(SetPrediction(p, place[i].finite < 0 ? NULL : &process[place[i].finite], &process[place[i].infinite],
                            &prediction[i]));
    if (place[i].learnt >= 0)
      PetscCall(FwLocalLessonErrors(p, &process[place[i].learnt], &process[place[i].finite],
                                    &process[place[i].infinite], &prediction[i]));
  }
  for (PetscInt i = 0; i < n_process; i++) PetscCall(FwLocalProcessDestroy(&process[i]));
  PetscCall(PetscFree2(process, place));
  PetscCall(PetscFree(one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(FwLocalPredictor p, PetscInt n, const FwModel model[], FwLocalPrediction prediction[])
{
  const double *y;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  for (PetscInt i = 0; i < n; i++) {
    if (prediction[i].common.failure || !prediction[i].saddle.n_minimum) continue;
    PetscCall(FwLocalActionSetModel(p->action, &model[i]));
    PetscCall(FwPredictionFail(&prediction[i].common,
                               FwLocalObservablesCreate(p->action, y, prediction[i].saddle.minimum[0].order,
                                                        p->plan.with_kernels, &prediction[i].observables)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeAverage(FwLocalPredictor p, const FwModel *model, FwLocalPrediction *q)
{
  FwLocalAverage *a = &q->average;

  PetscFunctionBegin;
  PetscCall(FwPredictionFailAverage(&q->common, FwLocalMixture(p, model, q)));
  if (!q->common.average_reason[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree3(a->order, a->order_bar, a->error_bar));
  *a = (FwLocalAverage){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictorRun(FwLocalPredictor p, PetscInt n, const FwModel model[], const FwTheory theory[],
                                   FwLocalPrediction prediction[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    prediction[i] = (FwLocalPrediction){
      .common    = {.n_train     = p->sizes.n_train,
                    .n_output    = p->sizes.n_output,
                    .n_test      = p->sizes.n_test,
                    .n_new       = p->sizes.n_new,
                    .depth       = 1,
                    .request     = theory[i],
                    .temperature = model[i].temperature},
      .patches   = *FwPatchImagesPatches(p->images),
      .tower     = *FwPatchImagesTower(p->images),
      .is_single = p->is_single,
      .width     = model[i].width[model[i].depth - 1]
    };
    prediction[i].common.request.with_mean = PETSC_FALSE; /* that of one hidden layer as a whole; here the family's */
    PetscCall(FwPatchKernelGetFamily(p->kernel, &prediction[i].family));
  }
  PetscCall(FindSaddles(p, n, model, prediction));
  PetscCall(Learn(p, n, model, prediction));
  PetscCall(PredictErrors(p, n, model, prediction));
  PetscCall(Observe(p, n, model, prediction));
  for (PetscInt i = 0; i < n; i++)
    if (theory[i].with_average && !prediction[i].common.failure && prediction[i].saddle.n_minimum)
      PetscCall(TakeAverage(p, &model[i], &prediction[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
