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

/* Numbers that are recorded of an order parameter of n rows per output */
static size_t OrderSize(const FwLocalPrediction *q, PetscInt n)
{
  const size_t m = (size_t)n * (size_t)q->family.n_output;

  return IsVector(q) ? m : m * m;
}

/* From the rows of FwPatchRow() to outputs times patches */
static void CopyOrder(const FwLocalPrediction *q, PetscInt n, const double order[], double out[])
{
  const FwPatchFamily *f = &q->family;
  const PetscInt       m = n * f->n_output;

  for (PetscInt i = 0; i < m; i++)
    for (PetscInt j = 0; j < m; j++) {
      const double entry = order[(size_t)FwPatchRow(f, i / n, i % n) * m + FwPatchRow(f, j / n, j % n)];

      if (!IsVector(q)) out[(size_t)i * m + j] = entry;
      if (IsVector(q) && i == j) out[i] = entry;
    }
}

static void AddAxis(const char name[], PetscInt size, FwShape *shape)
{
  shape->name[shape->n_dim]   = name;
  shape->size[shape->n_dim++] = size;
}

/* Axes between outputs and rows of one output behind those that are there: outputs only where there are several */
static void SetAxes(const FwLocalPrediction *q, PetscInt n, const char name[], const char other[], FwShape *shape)
{
  const PetscInt D = q->family.n_output;

  if (D > 1) AddAxis("output", D, shape);
  AddAxis(name, n, shape);
  if (D > 1) AddAxis("other_output", D, shape);
  if (!IsVector(q)) AddAxis(other, n, shape);
}

static void SetOrderShape(const FwLocalPrediction *q, FwShape *shape)
{
  const PetscInt  n = q->family.n_patch, D = q->family.n_output;
  const PetscBool is_paths = q->tower.n_layer > 1 && q->family.closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;

  if (q->is_single) { /* as prediction.h has it */
    AddAxis(D > 1 ? "output" : "layer", D, shape);
    if (D > 1) AddAxis("output", D, shape);
    return;
  }
  SetAxes(q, n, is_paths ? "path" : "patch", is_paths ? "other_path" : "other_patch", shape);
}

/* One row of NaN where there is no other minimum */
static PetscErrorCode RecordMetastable(const FwLocalPrediction *q, FwRecord record)
{
  const PetscInt n_other = q->saddle.n_minimum - 1, n_row = PetscMax(n_other, 1);
  const size_t   size    = OrderSize(q, q->family.n_patch);
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
    CopyOrder(q, q->family.n_patch, q->saddle.minimum[i + 1].order, order + i * size);
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
  PetscCall(PetscMalloc1(OrderSize(q, q->family.n_patch), &value));
  CopyOrder(q, q->family.n_patch, order, value);
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
  const FwLocalAverage *a = &q->average;

  PetscFunctionBegin;
  PetscCall(
    FwLocalOrderRecord(q, "average_order_parameter", "posterior mean of the order parameter", a->order, record));
  PetscCall(FwLocalOrderRecord(q, "average_order_parameter_error_bar",
                               "standard error of the posterior mean of the order parameter", a->order_bar, record));
  PetscCall(
    FwAverageQualityRecord(q->common.n_output, a->error_bar, a->accuracy_bar, a->effective, a->is_converged, record));
  PetscCall(FwRecordReal(record, "average_rhat", a->rhat, "1", "split R-hat of the chains of the average"));
  PetscCall(FwRecordReal(record, "average_acceptance", a->acceptance, "1", "acceptance of the chains of the average"));
  PetscCall(FwRecordInteger(record, "average_draws", (PetscInt64)a->n_chain * a->n_draw, "1", "draws of all chains"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between places of the readout: of paths the mean over those with the same taps, which is over the diagonal blocks; of the
   stacked closure its order parameter itself */
static PetscErrorCode RecordOnPositions(const FwLocalPrediction *q, const double order[], FwRecord record)
{
  const PetscInt n = q->family.n_place, n_tap = q->family.n_patch / n, block = n * q->family.n_output;
  FwShape        shape = {0};
  double        *mean, *value;

  PetscFunctionBegin;
  SetAxes(q, n, "position", "other_position", &shape);
  PetscCall(PetscCalloc2(block * block, &mean, block * block, &value));
  for (PetscInt r = 0; r < block; r++)
    for (PetscInt s = 0; s < block; s++)
      for (PetscInt t = 0; t < n_tap; t++)
        mean[r * block + s] += order[(size_t)(t * block + r) * (n_tap * block) + t * block + s] / (double)n_tap;
  CopyOrder(q, n, mean, value);
  PetscCall(FwRecordReals(record, "position_order_parameter", &shape, value, "1",
                          "order parameter averaged over taps, between positions of the last layer"));
  PetscCall(PetscFree2(mean, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of one layer above the first. That of the readout has a name of its own where it is the only one that is measured */
static PetscErrorCode RecordUpper(const FwLocalPrediction *q, PetscInt l, const double order[], FwRecord record)
{
  const PetscInt  n          = q->tower.n_path[l];
  const PetscBool is_readout = (PetscBool)(q->family.form == FW_PATCH_DIAGONAL && l == q->tower.n_layer - 1);
  char            name[64], axis[64], other[64];
  FwShape         shape = {0};
  double         *value;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(name, sizeof name, "order_parameter_%" PetscInt_FMT, l + 1));
  PetscCall(PetscSNPrintf(axis, sizeof axis, "path_%" PetscInt_FMT, l + 1));
  PetscCall(PetscSNPrintf(other, sizeof other, "other_path_%" PetscInt_FMT, l + 1));
  SetAxes(q, n, axis, other, &shape);
  PetscCall(PetscMalloc1(OrderSize(q, n), &value));
  CopyOrder(q, n, order, value);
  PetscCall(FwRecordReals(record, name, &shape, value, "1", "order parameter between paths from this layer on"));
  if (is_readout)
    PetscCall(
      FwRecordReals(record, "readout_order_parameter", &shape, value, "1", "order parameter of the readout alone"));
  PetscCall(PetscFree(value));
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
    PetscCall(RecordUpper(q, l, upper, record));
    upper += PetscSqr((size_t)q->family.n_output * t->n_path[l]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of the diagonal over the paths that begin at each patch; NaN where none does */
static PetscErrorCode RecordOnPatches(const FwLocalPrediction *q, FwRecord record)
{
  const FwTower *t = &q->tower;
  const PetscInt n = t->n_position[0], m = RowsOf(q);
  const FwShape  shape = {.n_dim = 1, .name = {"patch"}, .size = {n}};
  double        *sum, *count;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(n, &sum, n, &count));
  for (PetscInt r = 0; r < m; r++) {
    const PetscInt patch = t->position[0][FwPatchOf(&q->family, r)];

    sum[patch] += q->saddle.minimum[0].order[r * m + r];
    count[patch] += 1.0;
  }
  for (PetscInt i = 0; i < n; i++) sum[i] /= count[i];
  PetscCall(FwRecordReals(record, "order_on_patches", &shape, sum, "1",
                          "mean of the order parameter's diagonal over the paths that begin at a patch"));
  PetscCall(PetscFree2(sum, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The grid of the layer that the order parameter belongs to: it has none where the readout pools */
static PetscErrorCode RecordPatches(const FwLocalPrediction *q, FwRecord record)
{
  const FwTower  *t    = &q->tower;
  const PetscInt  last = t->n_layer - 1, layer = q->family.closure == FW_DEEP_STACKED ? last : 0;
  const PetscBool is_pool = t->n_place < t->n_position[last] ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(
    FwRecordInteger(record, "dropped_pixels", FwPatchesDropped(&q->patches), "1", "pixels of an image in no patch"));
  if (is_pool) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordInteger(record, "patch_rows", t->n_row[layer], "1", "patches below each other"));
  PetscCall(FwRecordInteger(record, "patch_columns", t->n_col[layer], "1", "patches beside each other"));
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
  PetscCall(FwAverageFailureRecord(c, record));
  PetscCall(FwLocalLessonRecord(q, record));
  PetscCall(RecordLayers(q, record));
  PetscCall(RecordPatches(q, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
