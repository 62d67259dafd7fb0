/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The nested and linearised compositions as a prediction.
 */

#include "predictor_impl.h"

#include <finwidth/nested.h>

#include <math.h>

static PetscErrorCode TakeMinima(const FwNestedResult *r, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwSaddleDestroy(&p->saddle));
  PetscCall(PetscFree(p->order));
  p->saddle = (FwSaddle){.n_minimum    = r->n_minimum,
                         .n_evaluation = r->n_evaluation,
                         .is_converged = r->is_converged,
                         .is_complete  = PETSC_FALSE}; /* other minima are not excluded */
  PetscCall(PetscCalloc1(r->n_minimum, &p->saddle.minimum));
  PetscCall(PetscMalloc1((size_t)r->n_minimum * p->depth, &p->order));
  PetscCall(PetscArraycpy(p->order, r->order, (size_t)r->n_minimum * p->depth));
  for (PetscInt m = 0; m < r->n_minimum; m++) {
    FwMinimum *minimum = &p->saddle.minimum[m];

    *minimum =
      (FwMinimum){.value = r->value[m], .residual = r->residual, .n_iteration = r->n_iteration, .reason = r->reason};
    for (PetscInt l = 0; l < p->depth; l++) minimum->log_order += log(r->order[m * p->depth + l]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What belongs to the product composition alone */
static PetscErrorCode DropProduct(FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwAverageDestroy(&p->average));
  p->average = (FwAverage){0};
  PetscCall(PetscFree2(p->curve_log_order, p->curve_action));
  p->n_curve              = 0;
  p->log_evidence_laplace = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionNest(FwPredictor predictor, const FwModel *model, FwPrediction *p)
{
  const FwNestedForm form = p->request.composition == FW_COMPOSITION_NESTED ? FW_NESTED : FW_LINEARISED;
  FwNestedResult     result;

  PetscFunctionBegin;
  PetscCall(FwNestedCreate(predictor->grid, model, predictor->data, form, p->saddle.n_minimum, p->order, &result));
  PetscCall(TakeMinima(&result, p));
  PetscCall(DropProduct(p));
  p->log_evidence          = result.log_evidence;
  p->finite.train_bias     = result.train_bias;
  p->finite.train_variance = result.train_variance;
  p->finite.train_error    = result.train_bias + result.train_variance;
  PetscCall(FwPredictionTestErrors(predictor->data, result.mean, result.variance, &p->finite));
  if (!p->request.with_means && !p->n_new) PetscCall(PetscFree2(p->finite.mean, p->finite.deviation));
  PetscCall(FwNestedDestroy(&result));
  PetscFunctionReturn(PETSC_SUCCESS);
}
