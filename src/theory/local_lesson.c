/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The learnt order parameter beside the others: its search, its errors and theirs on validation examples, its record.
 */

#include "local_prediction_impl.h"

#include <math.h>

PetscErrorCode FwLocalLessonLearn(FwLocalPredictor p, const FwModel *model, FwLocalPrediction *q)
{
  const size_t   n2 = (size_t)p->n_row * p->n_row;
  const double  *y;
  double        *start;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(p->data, FW_VALIDATION, &y));
  PetscCall(FwLocalActionSetModel(p->action, model));
  PetscCall(PetscMalloc1(2 * n2, &start));
  PetscCall(FwLocalStarts(p->action, p->plan.seed, 1, start)); /* Q = 1 */
  PetscCall(PetscArraycpy(start + n2, q->saddle.minimum[0].order, n2));
  code                   = FwLocalLearn(p->action, p->cross, y, 2, start, &q->lesson.end);
  q->lesson.is_available = code ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(PetscFree(start));
  PetscFunctionReturn(code);
}

static PetscErrorCode Validate(FwLocalPredictor p, const FwLocalProcess *process, FwValidation *v)
{
  const PetscInt D = p->sizes.n_output, n = p->sizes.n_validation;
  const size_t   first      = (size_t)p->sizes.n_test + p->sizes.n_new;
  const double  *mean       = process->mean + first * D;
  const double  *covariance = process->covariance + first * D * D, *y;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(p->data, FW_VALIDATION, &y));
  *v = (FwValidation){0.0, 0.0};
  for (PetscInt i = 0; i < n * D; i++) {
    v->bias += PetscSqr(mean[i] - y[i]) / (n * D);
    v->variance += covariance[(size_t)i * D + i % D] / (n * D);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLessonErrors(FwLocalPredictor p, const FwLocalProcess *learnt, const FwLocalProcess *saddle,
                                   const FwLocalProcess *infinite, FwLocalPrediction *q)
{
  FwLocalLesson *lesson = &q->lesson;

  PetscFunctionBegin;
  if (q->common.failure) PetscFunctionReturn(PETSC_SUCCESS);
  if (learnt->failure) { /* the others stand without it */
    PetscCall(FwWarn("no prediction from the learnt order parameter: %s", learnt->reason));
    lesson->is_available = PETSC_FALSE;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwLocalProcessErrors(p, learnt, &q->common, &lesson->errors));
  PetscCall(Validate(p, learnt, &lesson->learnt));
  PetscCall(Validate(p, saddle, &lesson->saddle));
  PetscCall(Validate(p, infinite, &lesson->infinite));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- record ------------------------------------------------------------------------------------------------- */

static PetscErrorCode RecordValidation(const FwValidation *v, const char prefix[], const char words[], FwRecord record)
{
  const char *const name[]  = {"error", "bias", "variance"};
  const double      value[] = {v->bias + v->variance, v->bias, v->variance};
  char              key[64], text[128];

  PetscFunctionBegin;
  for (int i = 0; i < 3; i++) {
    PetscCall(PetscSNPrintf(key, sizeof key, "%svalidation_%s", prefix, name[i]));
    PetscCall(PetscSNPrintf(text, sizeof text, "%s on validation examples, %s", name[i], words));
    PetscCall(FwRecordReal(record, key, value[i], "label^2", text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLessonRecord(const FwLocalPrediction *q, FwRecord record)
{
  const FwLocalLesson *lesson        = &q->lesson;
  const PetscBool      with_accuracy = isnan(q->common.infinite.accuracy) ? PETSC_FALSE : PETSC_TRUE;
  const char           words[]       = "order parameter learnt on validation examples";

  PetscFunctionBegin;
  if (!lesson->is_available) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwErrorsRecord(&lesson->errors, q->common.n_output, "learnt_", words, with_accuracy, record));
  PetscCall(FwLocalOrderRecord(q, "learnt_order_parameter", words, lesson->end.order, record));
  PetscCall(RecordValidation(&lesson->learnt, "learnt_", words, record));
  PetscCall(RecordValidation(&lesson->saddle, "", "finite width", record));
  PetscCall(RecordValidation(&lesson->infinite, "infinite_", "infinite width", record));
  PetscCall(FwRecordInteger(record, "learnt_converged", lesson->end.is_converged ? 1 : 0, "1",
                            "1 if the search for the learnt order parameter converged"));
  PetscCall(FwRecordInteger(record, "learnt_start", lesson->end.start, "1",
                            "start of the learnt order parameter: 0 is 1, 1 the saddle point"));
  PetscCall(FwRecordInteger(record, "learnt_evaluations", lesson->end.n_evaluation, "1",
                            "evaluations of the validation error from all starts"));
  PetscCall(FwRecordReal(record, "learnt_slope", lesson->end.slope, "1",
                         "norm of the gradient of log validation_bias at the learnt order parameter"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
