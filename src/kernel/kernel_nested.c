/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The nested composition: forward through the steps, and the pull-back by reverse mode.
 *
 * Both are entry-wise but for the variances. The covariances of one tile go forward through all steps and back while
 * they are in cache; what they leave on the variances of their row and column is collected per layer and example, and
 * then goes back through the recursion of the diagonals.
 *
 * Symbols: x_l the kernel of layer l without Q_l, adjoint = d(sum W K) / d(entry).
 */

#include "kernel_layers_impl.h"

/* --- forward ------------------------------------------------------------------------------------------------ */

/* Pieces that stay in the first cache level through all steps */
enum { PIECE = 1024 };

typedef struct {
  FwKernelLayers     k;
  const FwLayerStep *step;
  double             last;     /* Q_L */
  FwMatrix           base;     /* x_1, or NULL where the visited matrix holds it */
  const double      *diagonal; /* [P] of x_L, or NULL */
} Forward;

static PetscErrorCode ForwardPiece(const Forward *f, PetscInt column, PetscInt first, PetscInt n, double value[])
{
  PetscFunctionBegin;
  for (PetscInt s = 0; s < f->k->model->depth - 1; s++) {
    const FwLayerStep *step = &f->step[s];

    for (PetscInt i = 0; i < n; i++) value[i] = step->order * value[i] + step->bias;
    PetscCall(
      FwActivationMap(step->activation, FW_MAP_VALUE, step->rows, first, n, step->columns, column, value, value));
    for (PetscInt i = 0; i < n; i++) value[i] /= step->prior;
  }
  for (PetscInt i = 0; i < n; i++) value[i] *= f->last;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardStrip(const FwStrip *strip, void *context)
{
  const Forward *f = (const Forward *)context;

  PetscFunctionBegin;
  if (f->base)
    PetscCall(PetscArraycpy(strip->value, FwMatrixStrip(f->base, strip->first, strip->column_local), strip->n));
  for (PetscInt begin = 0; begin < strip->n; begin += PIECE)
    PetscCall(ForwardPiece(f, strip->column_local, strip->first + begin, PetscMin(PIECE, strip->n - begin),
                           strip->value + begin));
  if (f->diagonal && FwMatrixRow(f->base, strip->first) == strip->column)
    strip->value[0] = f->last * f->diagonal[strip->column];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train_Nested(FwKernelLayers k, const double order[], FwMatrix *train)
{
  const PetscInt last = k->model->depth - 1;
  Forward        f    = {.k = k, .last = order[last], .base = k->base};

  PetscFunctionBegin;
  PetscCall(FwLayersPrepare(k, order));
  f.step     = k->step;
  f.diagonal = k->diagonal + (size_t)last * k->n[FW_TRAIN];
  PetscCall(FwMatrixCreate(k->grid, k->n[FW_TRAIN], k->n[FW_TRAIN], train));
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), FwMatrixVisit(*train, FW_LOWER, ForwardStrip, &f)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Cross_Nested(FwKernelLayers k, FwPart part, const double order[], FwMatrix cross)
{
  const PetscInt depth = k->model->depth;
  Forward        f     = {.k = k, .last = order[depth - 1]};
  FwLayerStep   *step  = NULL;
  double        *columns;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwLayersPrepare(k, order));
  PetscCall(PetscMalloc1((size_t)depth * k->n[part], &columns));
  code = FwLayersDiagonals(k, part, order, columns);
  if (!code) code = FwLayersMakeSteps(k, cross, order, k->diagonal, part, columns, &step);
  PetscCall(PetscFree(columns));
  PetscCall(code);
  f.step = step;
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), FwMatrixVisit(cross, FW_WHOLE, ForwardStrip, &f)));
  PetscCall(FwLayersFreeSteps(k, &step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Diagonal_Nested(FwKernelLayers k, FwPart part, const double order[], double diagonal[])
{
  const PetscInt depth = k->model->depth, n = k->n[part];
  double        *all;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)depth * n, &all));
  code = FwLayersDiagonals(k, part, order, all);
  for (PetscInt i = 0; i < n && !code; i++) diagonal[i] = order[depth - 1] * all[(size_t)(depth - 1) * n + i];
  PetscCall(PetscFree(all));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reverse: covariances ----------------------------------------------------------------------------------- */

typedef struct {
  FwKernelLayers k;
  const double  *order;
  FwMatrix       weight;
  double        *x;        /* [L][FW_TILE] */
  double        *adjoint;  /* [FW_TILE] of x_l, or of C_l */
  double        *work;     /* [2][FW_TILE] */
  double        *variance; /* [L-1][P] adjoints of the variances of C_1 .. C_{L-1} */
  double        *slope;    /* [L] */
} Reverse;

static double Dot(PetscInt n, const double a[], const double b[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void Covariances(const FwLayerStep *step, PetscInt n, const double x[], double c[])
{
  for (PetscInt i = 0; i < n; i++) c[i] = step->order * x[i] + step->bias;
}

static PetscErrorCode ForwardTile(const Reverse *r, const FwTile *tile)
{
  const PetscInt n = tile->n_row * tile->n_column;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < r->k->model->depth - 1; s++) {
    const FwLayerStep *step = &r->k->step[s];
    double            *next = r->x + (size_t)(s + 1) * FW_TILE;

    Covariances(step, n, r->x + (size_t)s * FW_TILE, next);
    PetscCall(FwTileMap(step, FW_MAP_VALUE, tile, next, next));
    for (PetscInt i = 0; i < n; i++) next[i] /= step->prior;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a step leaves on the variances of rows and columns, from k_a and k_c */
static PetscErrorCode CollectVariances(const Reverse *r, PetscInt s, const FwTile *tile, const double c[], double map[])
{
  const FwLayerStep *step     = &r->k->step[s];
  double            *variance = r->variance + (size_t)s * r->k->n[FW_TRAIN];

  PetscFunctionBegin;
  PetscCall(FwTileMap(step, FW_MAP_ROW_VARIANCE, tile, c, map));
  for (PetscInt i = 0; i < tile->n_row; i++) {
    double sum = 0.0;

    for (PetscInt j = 0; j < tile->n_column; j++) sum += r->adjoint[i + j * tile->n_row] * map[i + j * tile->n_row];
    variance[FwMatrixRow(r->weight, tile->row + i)] += sum / step->prior;
  }
  PetscCall(FwTileMapColumnVariance(step, tile, c, map));
  for (PetscInt j = 0; j < tile->n_column; j++)
    variance[FwMatrixColumn(r->weight, tile->column + j)] +=
      Dot(tile->n_row, r->adjoint + j * tile->n_row, map + j * tile->n_row) / step->prior;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReverseStep(const Reverse *r, PetscInt s, const FwTile *tile)
{
  const FwLayerStep *step = &r->k->step[s];
  const PetscInt     n    = tile->n_row * tile->n_column;
  double            *x = r->x + (size_t)s * FW_TILE, *c = r->work, *map = r->work + FW_TILE;

  PetscFunctionBegin;
  Covariances(step, n, x, c);
  PetscCall(CollectVariances(r, s, tile, c, map));
  PetscCall(FwTileMap(step, FW_MAP_COVARIANCE, tile, c, map));
  for (PetscInt i = 0; i < n; i++) r->adjoint[i] *= map[i] / step->prior;
  r->slope[s] += Dot(n, r->adjoint, x);
  for (PetscInt i = 0; i < n; i++) r->adjoint[i] *= step->order;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReverseTile(const FwTile *tile, void *context)
{
  const Reverse *r    = (const Reverse *)context;
  const PetscInt last = r->k->model->depth - 1, n = tile->n_row * tile->n_column;

  PetscFunctionBegin;
  FwTileRead(r->k->base, FW_LOWER, tile, r->x);
  FwTileRead(r->weight, FW_LOWER, tile, r->adjoint);
  PetscCall(ForwardTile(r, tile));
  for (PetscInt i = 0; i < n; i++) r->adjoint[i] *= 2.0; /* both triangles */
  r->slope[last] += Dot(n, r->adjoint, r->x + (size_t)last * FW_TILE);
  for (PetscInt i = 0; i < n; i++) r->adjoint[i] *= r->order[last];
  for (PetscInt s = last - 1; s >= 0; s--) PetscCall(ReverseStep(r, s, tile));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reverse: diagonals ------------------------------------------------------------------------------------- */

/* One step of n examples from `begin` on: adjoint of x_{s+2} to that of x_{s+1}, with what the covariances left on the
   variance; adds to the slope of Q_{s+1} */
static PetscErrorCode ReverseDiagonalStep(FwKernelLayers k, PetscInt s, PetscInt begin, PetscInt n,
                                          const double extra[], double adjoint[], double *slope)
{
  const FwLayerStep *step = &k->step[s];
  const double      *x    = k->diagonal + (size_t)s * k->n[FW_TRAIN] + begin;
  double            *variance, *map;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &variance, n, &map));
  Covariances(step, n, x, variance);
  PetscCall(FwLayersDiagonalSlope(step->activation, n, variance, map));
  for (PetscInt i = 0; i < n; i++) {
    adjoint[i] *= map[i] / step->prior;
    if (extra) adjoint[i] += extra[i];
    *slope += adjoint[i] * x[i];
    adjoint[i] *= step->order;
  }
  PetscCall(PetscFree2(variance, map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds this rank's share to `slope`; `extra` is [L-1][P], or NULL */
static PetscErrorCode ReverseDiagonals(FwKernelLayers k, const double order[], const double weight[],
                                       const double extra[], double slope[])
{
  const PetscInt last = k->model->depth - 1, n_train = k->n[FW_TRAIN];
  const double  *x = k->diagonal + (size_t)last * n_train;
  PetscInt       begin, end;
  double        *adjoint;

  PetscFunctionBegin;
  FwLayersShare(k, n_train, &begin, &end);
  PetscCall(PetscMalloc1(end - begin, &adjoint));
  for (PetscInt i = begin; i < end; i++) {
    slope[last] += weight[i] * x[i];
    adjoint[i - begin] = weight[i] * order[last];
  }
  for (PetscInt s = last - 1; s >= 0; s--)
    PetscCall(ReverseDiagonalStep(k, s, begin, end - begin, extra ? extra + (size_t)s * n_train + begin : NULL, adjoint,
                                  &slope[s]));
  PetscCall(PetscFree(adjoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SumSlopes(FwKernelLayers k, PetscErrorCode code, double slope[])
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscCall(PetscMPIIntCast(k->model->depth, &count));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, slope, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PullBackDiagonal_Nested(FwKernelLayers k, const double order[], const double weight[],
                                              double slope[])
{
  PetscFunctionBegin;
  PetscCall(FwLayersPrepare(k, order));
  PetscCall(PetscArrayzero(slope, k->model->depth));
  PetscCall(SumSlopes(k, ReverseDiagonals(k, order, weight, NULL, slope), slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reverse: all ------------------------------------------------------------------------------------------- */

typedef struct {
  FwMatrix matrix;
  double  *diagonal;
} DiagonalContext;

static PetscErrorCode CopyDiagonal(const FwStrip *strip, void *context)
{
  const DiagonalContext *c = (const DiagonalContext *)context;

  PetscFunctionBegin;
  if (FwMatrixRow(c->matrix, strip->first) == strip->column) c->diagonal[strip->column] = strip->value[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over the ranks, one layer at a time: a message stays within 32-bit counts */
static PetscErrorCode SumPerExample(FwKernelLayers k, PetscInt n_row, double value[])
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(k->n[FW_TRAIN], &count));
  for (PetscInt s = 0; s < n_row; s++)
    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, value + (size_t)s * k->n[FW_TRAIN], count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PullBack_Nested(FwKernelLayers k, const double order[], FwMatrix weight, double slope[])
{
  const PetscInt  depth = k->model->depth, n = k->n[FW_TRAIN];
  Reverse         r        = {.k = k, .order = order, .weight = weight, .slope = slope};
  DiagonalContext diagonal = {.matrix = weight};
  PetscErrorCode  code;

  PetscFunctionBegin;
  PetscCall(FwLayersPrepare(k, order));
  PetscCall(FwLayersAddSlopes(k, k->step));
  PetscCall(PetscArrayzero(slope, depth));
  PetscCall(PetscMalloc3((size_t)depth * FW_TILE, &r.x, FW_TILE, &r.adjoint, 2 * FW_TILE, &r.work));
  PetscCall(PetscCalloc1((size_t)depth * n, &r.variance)); /* its last row: weights of the diagonal */
  diagonal.diagonal = r.variance + (size_t)(depth - 1) * n;
  PetscCall(FwMatrixVisit(weight, FW_LOWER, CopyDiagonal, &diagonal));
  code = FwTileVisit(weight, FW_LOWER, ReverseTile, &r);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscCall(SumPerExample(k, depth, r.variance));
  PetscCall(SumSlopes(k, ReverseDiagonals(k, order, diagonal.diagonal, r.variance, slope), slope));
  PetscCall(PetscFree3(r.x, r.adjoint, r.work));
  PetscCall(PetscFree(r.variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwLayersOps FwLayers_Nested = {
  .train              = Train_Nested,
  .cross              = Cross_Nested,
  .diagonal           = Diagonal_Nested,
  .pull_back          = PullBack_Nested,
  .pull_back_diagonal = PullBackDiagonal_Nested,
};
