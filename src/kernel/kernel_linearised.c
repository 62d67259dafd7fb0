/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The linearised composition of two layers: two fixed matrices x_2 and d = dx_2/dQ_1 at Q_1 = 1, with
 *
 *     d = (k_b b + k_a a + k_c c) / lambda_2,   a, b, c the entries of x_1,   K = Q_2 [x_2 + (Q_1 - 1) d].
 */

#include "kernel_layers_impl.h"

static const double unit[2] = {1.0, 1.0};

/* --- the two matrices --------------------------------------------------------------------------------------- */

typedef struct {
  FwLayerStep  *step;
  FwMatrix      value, slope; /* value: x_1 on entry, x_2 on return */
  FwTriangle    triangle;
  const double *rows, *columns; /* diagonals of x_1, by global index */
  double       *work;           /* [5][FW_TILE] */
} Linearise;

static PetscErrorCode LineariseTile(const FwTile *tile, void *context)
{
  const Linearise   *t = (const Linearise *)context;
  const FwLayerStep *s = t->step;
  const PetscInt     m = tile->n_row, n = m * tile->n_column;
  double            *x = t->work, *c = x + FW_TILE, *kb = c + FW_TILE, *ka = kb + FW_TILE, *kc = ka + FW_TILE;

  PetscFunctionBegin;
  FwTileRead(t->value, t->triangle, tile, x);
  for (PetscInt i = 0; i < n; i++) c[i] = x[i] + s->bias;
  PetscCall(FwTileMap(s, FW_MAP_COVARIANCE, tile, c, kb));
  PetscCall(FwTileMap(s, FW_MAP_ROW_VARIANCE, tile, c, ka));
  PetscCall(FwTileMapColumnVariance(s, tile, c, kc));
  PetscCall(FwTileMap(s, FW_MAP_VALUE, tile, c, c));
  for (PetscInt j = 0; j < tile->n_column; j++)
    for (PetscInt i = 0; i < m; i++) {
      const PetscInt at = i + j * m;
      const double   a  = t->rows[FwMatrixRow(t->value, tile->row + i)];
      const double   b = x[at], cc = t->columns[FwMatrixColumn(t->value, tile->column + j)];

      kb[at] = (kb[at] * b + ka[at] * a + kc[at] * cc) / s->prior;
      c[at] /= s->prior;
    }
  FwTileWrite(t->value, t->triangle, tile, c);
  FwTileWrite(t->slope, t->triangle, tile, kb);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Turn x_1 into x_2, and make d; the diagonal of a lower triangle is left to the caller */
static PetscErrorCode LineariseMatrix(FwKernelLayers k, FwPart part, FwMatrix value, FwMatrix *slope)
{
  const FwTriangle triangle = part == FW_TRAIN ? FW_LOWER : FW_WHOLE;
  Linearise        t        = {.value = value, .triangle = triangle};
  double          *rows, *columns;
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(2 * (size_t)k->n[FW_TRAIN], &rows, 2 * (size_t)k->n[part], &columns));
  PetscCall(FwLayersDiagonals(k, FW_TRAIN, unit, rows));
  PetscCall(FwLayersDiagonals(k, part, unit, columns));
  PetscCall(FwLayersMakeSteps(k, value, unit, rows, part, columns, &t.step));
  PetscCall(FwLayersAddSlopes(k, t.step));
  PetscCall(FwMatrixCreate(k->grid, k->n[FW_TRAIN], k->n[part], slope));
  PetscCall(PetscMalloc1(5 * FW_TILE, &t.work));
  t.slope   = *slope;
  t.rows    = rows;
  t.columns = columns;
  code      = FwTileVisit(value, triangle, LineariseTile, &t);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscCall(PetscFree(t.work));
  PetscCall(FwLayersFreeSteps(k, &t.step));
  PetscCall(PetscFree2(rows, columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- their diagonals ---------------------------------------------------------------------------------------- */

/* d of this rank's examples, from the diagonal of x_1 */
static PetscErrorCode DiagonalSlope(const FwModel *model, PetscInt n, const double x[], double slope[])
{
  FwActivation activation;
  double      *variance;

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[1], &activation));
  PetscCall(PetscMalloc1(n, &variance));
  for (PetscInt i = 0; i < n; i++) variance[i] = x[i] + model->bias[1];
  PetscCall(FwLayersDiagonalSlope(activation, n, variance, slope));
  for (PetscInt i = 0; i < n; i++) slope[i] *= x[i] / model->prior[2];
  PetscCall(PetscFree(variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeLine(FwKernelLayers k, FwPart part)
{
  const PetscInt n = k->n[part];
  PetscInt       begin, end;
  PetscMPIInt    count;
  double        *both;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(2 * (size_t)n, &both));
  PetscCall(PetscCalloc1(2 * (size_t)n, &k->line[part]));
  PetscCall(FwLayersDiagonals(k, part, unit, both));
  PetscCall(PetscArraycpy(k->line[part], both + n, n));
  FwLayersShare(k, n, &begin, &end);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid),
                            DiagonalSlope(k->model, end - begin, both + begin, k->line[part] + n + begin)));
  PetscCall(PetscMPIIntCast(n, &count));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, k->line[part] + n, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscCall(PetscFree(both));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetDiagonals(const FwStrip *strip, void *context)
{
  FwKernelLayers k = (FwKernelLayers)context;

  PetscFunctionBegin;
  if (FwMatrixRow(k->base, strip->first) != strip->column) PetscFunctionReturn(PETSC_SUCCESS);
  strip->value[0]                                               = k->line[FW_TRAIN][strip->column];
  FwMatrixStrip(k->slope, strip->first, strip->column_local)[0] = k->line[FW_TRAIN][k->n[FW_TRAIN] + strip->column];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLayersLinearise(FwKernelLayers k)
{
  PetscFunctionBegin;
  for (int part = 0; part < FW_PART_COUNT; part++) PetscCall(MakeLine(k, (FwPart)part));
  PetscCall(LineariseMatrix(k, FW_TRAIN, k->base, &k->slope));
  PetscCall(FwMatrixVisit(k->base, FW_LOWER, SetDiagonals, k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the composition ---------------------------------------------------------------------------------------- */

static double Combine(const double order[], double value, double slope)
{
  return order[1] * (value + (order[0] - 1.0) * slope);
}

typedef struct {
  FwMatrix      value, slope;
  const double *order;
} Sum;

static PetscErrorCode CombineStrip(const FwStrip *strip, void *context)
{
  const Sum    *sum   = (const Sum *)context;
  const double *value = FwMatrixStrip(sum->value, strip->first, strip->column_local);
  const double *slope = FwMatrixStrip(sum->slope, strip->first, strip->column_local);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) strip->value[i] = Combine(sum->order, value[i], slope[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train_Linearised(FwKernelLayers k, const double order[], FwMatrix *train)
{
  Sum sum = {.value = k->base, .slope = k->slope, .order = order};

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(k->grid, k->n[FW_TRAIN], k->n[FW_TRAIN], train));
  PetscCall(FwMatrixVisit(*train, FW_LOWER, CombineStrip, &sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Cross_Linearised(FwKernelLayers k, FwPart part, const double order[], FwMatrix cross)
{
  Sum sum = {.value = cross, .order = order};

  PetscFunctionBegin;
  PetscCall(LineariseMatrix(k, part, cross, &sum.slope));
  PetscCall(FwMatrixVisit(cross, FW_WHOLE, CombineStrip, &sum));
  PetscCall(FwMatrixDestroy(&sum.slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Diagonal_Linearised(FwKernelLayers k, FwPart part, const double order[], double diagonal[])
{
  const PetscInt n = k->n[part];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) diagonal[i] = Combine(order, k->line[part][i], k->line[part][n + i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- slopes ------------------------------------------------------------------------------------------------- */

typedef struct {
  FwKernelLayers k;
  double         total[2]; /* sum W x_2, sum W d */
} Totals;

static PetscErrorCode TotalStrip(const FwStrip *strip, void *context)
{
  Totals       *t     = (Totals *)context;
  const double *value = FwMatrixStrip(t->k->base, strip->first, strip->column_local);
  const double *slope = FwMatrixStrip(t->k->slope, strip->first, strip->column_local);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) {
    const PetscBool is_diagonal = i == 0 && FwMatrixRow(t->k->base, strip->first) == strip->column;
    const double    weight      = is_diagonal ? strip->value[i] : 2.0 * strip->value[i];

    t->total[0] += weight * value[i];
    t->total[1] += weight * slope[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SetSlopes(const double order[], const double total[], double slope[])
{
  slope[0] = order[1] * total[1];
  slope[1] = total[0] + (order[0] - 1.0) * total[1];
}

static PetscErrorCode PullBack_Linearised(FwKernelLayers k, const double order[], FwMatrix weight, double slope[])
{
  Totals t = {.k = k};

  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(weight, FW_LOWER, TotalStrip, &t));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t.total, 2, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  SetSlopes(order, t.total, slope);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PullBackDiagonal_Linearised(FwKernelLayers k, const double order[], const double weight[],
                                                  double slope[])
{
  const PetscInt n        = k->n[FW_TRAIN];
  double         total[2] = {0.0, 0.0};

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    total[0] += weight[i] * k->line[FW_TRAIN][i];
    total[1] += weight[i] * k->line[FW_TRAIN][n + i];
  }
  SetSlopes(order, total, slope);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwLayersOps FwLayers_Linearised = {
  .train              = Train_Linearised,
  .cross              = Cross_Linearised,
  .diagonal           = Diagonal_Linearised,
  .pull_back          = PullBack_Linearised,
  .pull_back_diagonal = PullBackDiagonal_Linearised,
};
