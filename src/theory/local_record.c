/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A prediction of a convolutional or locally-connected network as data sets of /predict.
 */

#include "local_prediction_impl.h"

#include <math.h>

/* A locally-connected network of one output has the diagonal alone */
static PetscBool IsVector(const FwLocalPrediction *q)
{
  return q->family.form == FW_PATCH_DIAGONAL && q->family.n_output == 1 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscInt RowsOf(const FwLocalPrediction *q)
{
  return q->family.n_patch * q->family.n_output;
}

static size_t OrderSize(const FwLocalPrediction *q)
{
  const size_t m = (size_t)RowsOf(q);

  return IsVector(q) ? m : m * m;
}

static void CopyOrder(const FwLocalPrediction *q, const double order[], double out[])
{
  const size_t step = IsVector(q) ? (size_t)RowsOf(q) + 1 : 1;

  for (size_t i = 0; i < OrderSize(q); i++) out[i] = order[i * step];
}

static void AddAxis(const char name[], PetscInt size, FwShape *shape)
{
  shape->name[shape->n_dim]   = name;
  shape->size[shape->n_dim++] = size;
}

/* Axes of an order parameter behind those that are there: outputs only where there are several */
static void SetOrderShape(const FwLocalPrediction *q, FwShape *shape)
{
  const PetscInt  n = q->family.n_patch, D = q->family.n_output;
  const PetscBool is_paths = q->tower.n_layer > 1 && q->family.closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;
  const char     *patch = is_paths ? "path" : "patch", *other = is_paths ? "other_path" : "other_patch";

  if (q->is_single) { /* as prediction.h has it */
    AddAxis(D > 1 ? "output" : "layer", D, shape);
    if (D > 1) AddAxis("output", D, shape);
    return;
  }
  if (D > 1) AddAxis("output", D, shape);
  AddAxis(patch, n, shape);
  if (D > 1) AddAxis("other_output", D, shape);
  if (!IsVector(q)) AddAxis(other, n, shape);
}

/* One row of NaN where there is no other minimum */
static PetscErrorCode RecordMetastable(const FwLocalPrediction *q, FwRecord record)
{
  const PetscInt n_other = q->saddle.n_minimum - 1, n_row = PetscMax(n_other, 1);
  const size_t   size    = OrderSize(q);
  FwShape        orders  = {.n_dim = 1, .name = {"minimum"}, .size = {n_row}};
  const FwShape  actions = {.n_dim = 1, .name = {"minimum"}, .size = {n_row}};
  double        *order, *action;

  PetscFunctionBegin;
  SetOrderShape(q, &orders);
  PetscCall(PetscMalloc2(n_row * size, &order, n_row, &action));
  for (size_t i = 0; i < n_row * size; i++) order[i] = NAN;
  action[0] = NAN;
  for (PetscInt i = 0; i < n_other; i++) {
    action[i] = q->saddle.minimum[i + 1].point.value;
    CopyOrder(q, q->saddle.minimum[i + 1].order, order + i * size);
  }
  PetscCall(FwRecordReals(record, "metastable_order_parameter", &orders, order, "1",
                          "order parameters of the metastable minima"));
  PetscCall(FwRecordReals(record, "metastable_action", &actions, action, "1", "action at the metastable minima"));
  PetscCall(FwRecordInteger(record, "metastable_count", n_other, "1", "number of metastable minima found"));
  PetscCall(PetscFree2(order, action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalOrderRecord(const FwLocalPrediction *q, const char name[], const char words[],
                                  const double order[], FwRecord record)
{
  FwShape shape = {0};
  double *value;

  PetscFunctionBegin;
  SetOrderShape(q, &shape);
  PetscCall(PetscMalloc1(OrderSize(q), &value));
  CopyOrder(q, order, value);
  PetscCall(FwRecordReals(record, name, &shape, value, "1", words));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordOrder(const FwLocalPrediction *q, const double order[], FwRecord record)
{
  const PetscInt n_row = RowsOf(q);
  double         trace = 0.0;

  PetscFunctionBegin;
  PetscCall(FwLocalOrderRecord(q, "order_parameter", "order parameter: Gram matrix of the readout between patches",
                               order, record));
  for (PetscInt i = 0; i < n_row; i++) trace += order[i * n_row + i];
  PetscCall(
    FwRecordReal(record, "total_order_parameter", trace / n_row, "1", "mean of the order parameter's diagonal"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordSaddle(const FwLocalPrediction *q, FwRecord record)
{
  const FwLocalMinimum *lowest = &q->saddle.minimum[0];

  PetscFunctionBegin;
  PetscCall(RecordOrder(q, lowest->order, record));
  PetscCall(FwRecordReal(record, "action", lowest->point.value, "1", "effective action at the saddle point"));
  PetscCall(RecordMetastable(q, record));
  PetscCall(FwRecordInteger(record, "converged", q->saddle.is_converged ? 1 : 0, "1", "1 if the solver converged"));
  PetscCall(FwRecordInteger(record, "complete", 0, "1", "1 if the search proved that there are no other minima"));
  PetscCall(FwRecordInteger(record, "starts", q->saddle.n_start, "1", "starts of the search for minima"));
  PetscCall(
    FwRecordInteger(record, "iterations", lowest->n_evaluation, "1", "evaluations from the start of the lowest"));
  PetscCall(FwRecordInteger(record, "evaluations", q->saddle.n_evaluation, "1", "evaluations of the action in all"));
  PetscCall(FwRecordReal(record, "residual", lowest->point.stationarity, "1", "max |Q dS/dQ| at the saddle point"));
  PetscCall(FwRecordReal(record, "sum_rule", lowest->point.sum_rule, "1",
                         "violation of the sum rule of the order parameter's trace"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordInfinite(const FwLocalPrediction *q, FwRecord record)
{
  const PetscInt n = RowsOf(q);
  double        *one;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)n * n, &one));
  for (PetscInt i = 0; i < n; i++) one[i * n + i] = 1.0;
  PetscCall(RecordOrder(q, one, record));
  PetscCall(FwRecordInteger(record, "converged", 1, "1", "1 if the solver converged"));
  PetscCall(FwRecordInteger(record, "iterations", 0, "1", "evaluations of the action"));
  PetscCall(FwRecordReal(record, "residual", 0.0, "1", "residual of the saddle-point equation"));
  PetscCall(PetscFree(one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordAverage(const FwLocalPrediction *q, FwRecord record)
{
  const FwLocalAverage *a     = &q->average;
  FwShape               shape = {0};
  double               *value;

  PetscFunctionBegin;
  SetOrderShape(q, &shape);
  PetscCall(PetscMalloc1(OrderSize(q), &value));
  CopyOrder(q, a->order, value);
  PetscCall(
    FwRecordReals(record, "average_order_parameter", &shape, value, "1", "posterior mean of the order parameter"));
  CopyOrder(q, a->order_bar, value);
  PetscCall(FwRecordReals(record, "average_order_parameter_error_bar", &shape, value, "1",
                          "standard error of the posterior mean of the order parameter"));
  PetscCall(PetscFree(value));
  PetscCall(
    FwAverageQualityRecord(q->common.n_output, a->error_bar, a->accuracy_bar, a->effective, a->is_converged, record));
  PetscCall(FwRecordReal(record, "average_rhat", a->rhat, "1", "split R-hat of the chains of the average"));
  PetscCall(FwRecordReal(record, "average_acceptance", a->acceptance, "1", "acceptance of the chains of the average"));
  PetscCall(FwRecordInteger(record, "average_draws", (PetscInt64)a->n_chain * a->n_draw, "1", "draws of all chains"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between positions of the last layer: of paths the mean over those with the same taps, of which positions are the last
   index; of the stacked closure its order parameter itself */
static PetscErrorCode RecordOnPositions(const FwLocalPrediction *q, const double order[], FwRecord record)
{
  const PetscInt n = q->tower.n_position[q->tower.n_layer - 1], m = q->family.n_patch, n_tap = m / n;
  const FwShape  shape = {
     .n_dim = 2, .name = {"position", "other_position"},
          .size = {n,          n               }
  };
  double *mean;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)n * n, &mean));
  for (PetscInt u = 0; u < n; u++)
    for (PetscInt v = 0; v < n; v++)
      for (PetscInt t = 0; t < n_tap; t++)
        mean[u * n + v] += order[(size_t)(t * n + u) * m + t * n + v] / (double)n_tap;
  PetscCall(FwRecordReals(record, "position_order_parameter", &shape, mean, "1",
                          "order parameter averaged over taps, between positions of the last layer"));
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which closure a deep network was predicted with, and the order parameters of its upper layers */
static PetscErrorCode RecordLayers(const FwLocalPrediction *q, FwRecord record)
{
  const FwTower *t     = &q->tower;
  const double  *upper = q->upper;

  PetscFunctionBegin;
  if (t->n_layer == 1) PetscFunctionReturn(PETSC_SUCCESS);
  if (q->saddle.n_minimum) PetscCall(RecordOnPositions(q, q->saddle.minimum[0].order, record));
  PetscCall(FwRecordInteger(record, "closure", (PetscInt)q->family.closure, "1",
                            "rows of the order parameter: 0 paths through the layers, 1 positions of the last layer"));
  PetscCall(FwRecordInteger(record, "exact_for_linear", q->family.closure == FW_DEEP_PATHS ? 1 : 0, "1",
                            "1 where the action is exact for linear networks; for others it is a closure"));
  for (PetscInt l = 1; l < t->n_layer && upper; l++) {
    char    name[64], axis[64], other[64];
    FwShape shape = {
      .n_dim = 2, .name = {axis,         other       },
           .size = {t->n_path[l], t->n_path[l]}
    };

    PetscCall(PetscSNPrintf(name, sizeof name, "order_parameter_%" PetscInt_FMT, l + 1));
    PetscCall(PetscSNPrintf(axis, sizeof axis, "path_%" PetscInt_FMT, l + 1));
    PetscCall(PetscSNPrintf(other, sizeof other, "other_path_%" PetscInt_FMT, l + 1));
    PetscCall(FwRecordReals(record, name, &shape, upper, "1", "order parameter between paths from this layer on"));
    upper += (size_t)t->n_path[l] * t->n_path[l];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of Q_pp over the paths that begin at each patch; NaN where none does */
static PetscErrorCode RecordOnPatches(const FwLocalPrediction *q, FwRecord record)
{
  const FwTower *t = &q->tower;
  const PetscInt n = t->n_position[0], m = q->family.n_patch;
  const FwShape  shape = {.n_dim = 1, .name = {"patch"}, .size = {n}};
  double        *sum, *count;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(n, &sum, n, &count));
  for (PetscInt p = 0; p < m; p++) {
    sum[t->position[0][p]] += q->saddle.minimum[0].order[p * m + p];
    count[t->position[0][p]] += 1.0;
  }
  for (PetscInt i = 0; i < n; i++) sum[i] /= count[i];
  PetscCall(FwRecordReals(record, "order_on_patches", &shape, sum, "1",
                          "mean of the order parameter's diagonal over the paths that begin at a patch"));
  PetscCall(PetscFree2(sum, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the layer that the order parameter belongs to */
static PetscErrorCode RecordPatches(const FwLocalPrediction *q, FwRecord record)
{
  const FwTower *t     = &q->tower;
  const PetscInt layer = q->family.closure == FW_DEEP_STACKED ? t->n_layer - 1 : 0;

  PetscFunctionBegin;
  PetscCall(FwRecordInteger(record, "patch_rows", t->n_row[layer], "1", "patches below each other"));
  PetscCall(FwRecordInteger(record, "patch_columns", t->n_col[layer], "1", "patches beside each other"));
  PetscCall(
    FwRecordInteger(record, "dropped_pixels", FwPatchesDropped(&q->patches), "1", "pixels of an image in no patch"));
  if (q->upper) PetscCall(RecordOnPatches(q, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalPredictionRecord(const FwLocalPrediction *q, const double targets[], FwRecord record)
{
  const FwPrediction *c         = &q->common;
  const PetscBool     is_finite = c->request.theory == FW_THEORY_RENORMALISED ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  if (c->failure) {
    PetscCall(FwRecordInteger(record, "converged", 0, "1", "1 if the solver converged"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwRecordInteger(record, "mean_terms", q->family.is_centred ? 1 : 0, "1",
                            "1 where the means of an activation that is not odd are not renormalised"));
  PetscCall(FwPredictionRecordErrors(c, q->average.is_available, targets, record));
  PetscCall(is_finite ? RecordSaddle(q, record) : RecordInfinite(q, record));
  PetscCall(FwRecordReal(record, "log_evidence", c->log_evidence, "1", "log evidence at the saddle point"));
  PetscCall(FwRecordReal(record, "free_energy", -c->temperature * c->log_evidence, "label^2",
                         "free energy -T log evidence at the saddle point"));
  if (is_finite) PetscCall(FwLocalObservablesRecord(&q->observables, record));
  if (q->average.is_available) PetscCall(RecordAverage(q, record));
  PetscCall(FwLocalLessonRecord(q, record));
  PetscCall(RecordLayers(q, record));
  PetscCall(RecordPatches(q, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
