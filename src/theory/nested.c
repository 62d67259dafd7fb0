/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Minima of the nested or linearised action from several starts, and the predictions at the lowest.
 */

#include "nested_impl.h"

#include <math.h>

/* Ends of two descents closer than this in every log Q are one minimum; each is known to some 1e-9 */
static const double same_minimum = 1e-5;

/* --- descents ----------------------------------------------------------------------------------------------- */

/* Start i of n_start given ones, then Q = 1 */
static void SetStart(PetscInt i, PetscInt n_start, const double start[], PetscInt depth, double log_order[])
{
  for (PetscInt l = 0; l < depth; l++) log_order[l] = i < n_start ? log(start[(size_t)i * depth + l]) : 0.0;
}

static PetscErrorCode DescendFromAll(FwNestedAction action, PetscInt n_start, const double start[], FwNestedEnd end[])
{
  const PetscInt depth = action->model->depth;
  double        *correction;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)depth * depth, &correction));
  for (PetscInt i = 0; i <= n_start; i++) {
    PetscCall(PetscMalloc1(depth, &end[i].log_order));
    SetStart(i, n_start, start, depth, end[i].log_order);
    PetscCall(FwNestedDescend(action, correction, &end[i]));
  }
  PetscCall(PetscFree(correction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the list of minima ------------------------------------------------------------------------------------- */

static PetscBool IsSame(PetscInt depth, const FwNestedEnd *a, const FwNestedEnd *b)
{
  for (PetscInt l = 0; l < depth; l++)
    if (fabs(a->log_order[l] - b->log_order[l]) > same_minimum) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The lowest S first; stable, so that of equals a start that was given stays ahead */
static void SortEnds(PetscInt n, FwNestedEnd end[])
{
  for (PetscInt i = 1; i < n; i++)
    for (PetscInt j = i; j > 0 && end[j].value < end[j - 1].value; j--) {
      const FwNestedEnd other = end[j];

      end[j]     = end[j - 1];
      end[j - 1] = other;
    }
}

static PetscBool IsNew(PetscInt depth, const FwNestedEnd end[], PetscInt i)
{
  for (PetscInt j = 0; j < i; j++)
    if (IsSame(depth, &end[i], &end[j])) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The lowest end, converged or not, and every other that is a minimum */
static PetscErrorCode ListMinima(PetscInt depth, PetscInt n, FwNestedEnd end[], FwNestedResult *r)
{
  PetscFunctionBegin;
  SortEnds(n, end);
  PetscCall(PetscMalloc2((size_t)n * depth, &r->order, n, &r->value));
  for (PetscInt i = 0; i < n; i++) {
    double *order = r->order + (size_t)r->n_minimum * depth;

    r->n_iteration += end[i].n_iteration;
    if (i > 0 && (end[i].reason <= 0 || !IsNew(depth, end, i))) continue;
    for (PetscInt l = 0; l < depth; l++) order[l] = exp(end[i].log_order[l]);
    r->value[r->n_minimum++] = end[i].value;
  }
  r->residual     = end[0].residual;
  r->reason       = end[0].reason;
  r->is_converged = r->reason > 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

static PetscErrorCode AddBias(const FwStrip *strip, void *context)
{
  const double bias = *(const double *)context;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) strip->value[i] += bias;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* mean = K0X A^-1 y, variance = K00 - |L^-1 KX0|^2 with A = L L^T; the factor of A is the action's */
static PetscErrorCode PredictPart(FwNestedAction a, FwPart part, PetscInt n, double mean[], double variance[])
{
  FwMatrix cross;
  double  *ones, *explained;

  PetscFunctionBegin;
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwKernelLayersCross(a->layers, part, a->order, &cross));
  PetscCall(FwMatrixVisit(cross, FW_WHOLE, AddBias, &a->bias));
  PetscCall(FwMatrixColumnSums(cross, 1, 1, a->solved, mean));
  PetscCall(FwCholeskyHalfSolve(a->factor, cross));
  PetscCall(PetscMalloc2(a->n, &ones, n, &explained));
  for (PetscInt i = 0; i < a->n; i++) ones[i] = 1.0;
  PetscCall(FwMatrixColumnSums(cross, 2, 1, ones, explained));
  PetscCall(FwKernelLayersDiagonal(a->layers, part, a->order, variance));
  for (PetscInt t = 0; t < n; t++) variance[t] += a->bias - explained[t];
  PetscCall(PetscFree2(ones, explained));
  PetscCall(FwMatrixDestroy(&cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inputs without labels stand behind the test examples */
static PetscErrorCode PredictTest(FwNestedAction a, const FwDataSizes *sizes, FwNestedResult *r)
{
  const PetscInt n = sizes->n_test + sizes->n_new;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &r->mean, n, &r->variance));
  PetscCall(PredictPart(a, FW_TEST, sizes->n_test, r->mean, r->variance));
  PetscCall(PredictPart(a, FW_NEW, sizes->n_new, r->mean + sizes->n_test, r->variance + sizes->n_test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double LogEvidence(FwNestedAction a)
{
  double total = 0.0;

  for (PetscInt l = 0; l < a->model->depth; l++) total += a->model->width[l];
  return -0.5 * (a->last * a->point.value - total) - 0.5 * (double)a->n * log(2.0 * M_PI);
}

static PetscErrorCode Predict(FwNestedAction a, const double log_order[], const FwDataSizes *sizes, FwNestedResult *r)
{
  const double temperature = a->model->temperature, n = (double)a->n;

  PetscFunctionBegin;
  PetscCall(FwNestedFactor(a, log_order));
  PetscCall(PredictTest(a, sizes, r));
  PetscCall(FwNestedSlopes(a)); /* for tr A^-1 */
  r->train_bias     = PetscSqr(temperature) * a->point.residual2 / n;
  r->train_variance = temperature * (n - temperature * a->point.trace) / n;
  r->log_evidence   = LogEvidence(a);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static PetscErrorCode DescendAndPredict(FwNestedAction action, const FwDataSizes *sizes, PetscInt n_start,
                                        const double start[], FwNestedEnd end[], FwNestedResult *result)
{
  const FwModel *model = action->model;

  PetscFunctionBegin;
  PetscCall(DescendFromAll(action, n_start, start, end));
  PetscCall(ListMinima(model->depth, n_start + 1, end, result));
  PetscCheck(isfinite(end[0].value), FwGridComm(action->grid), FW_ERR_NUMERICAL,
             "the covariance of the labels is not positive definite at T = %.6g: set a larger temperature",
             model->temperature);
  result->n_evaluation = action->n_evaluation;
  PetscCall(Predict(action, end[0].log_order, sizes, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNestedCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form, PetscInt n_start,
                              const double start[], FwNestedResult *result)
{
  FwNestedAction action;
  FwNestedEnd   *end;
  FwDataSizes    sizes;
  PetscErrorCode code;

  PetscFunctionBegin;
  *result = (FwNestedResult){0};
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwNestedActionCreate(grid, model, data, form, &action));
  PetscCall(PetscCalloc1(n_start + 1, &end));
  code = DescendAndPredict(action, &sizes, n_start, start, end, result);
  if (code) PetscCall(FwNestedDestroy(result)); /* the caller may go on with other points */
  for (PetscInt i = 0; i <= n_start; i++) PetscCall(PetscFree(end[i].log_order));
  PetscCall(PetscFree(end));
  PetscCall(FwNestedActionDestroy(&action));
  PetscFunctionReturn(code);
}

PetscErrorCode FwNestedDestroy(FwNestedResult *result)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(result->order, result->value));
  PetscCall(PetscFree2(result->mean, result->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
