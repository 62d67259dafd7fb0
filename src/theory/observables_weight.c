/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Covariance of the first layer's weights after learning: its trace and its spectrum.
 *
 * Symbols of the paper: G = a a^T - A^-1, X the inputs (P x N_0), H = G o k_b + 2 diag((G o k_a) 1) what stands between
 * X^T and X. C_0 is assembled whole, because k_a is not symmetric, and becomes H in place, so that its own entries give
 * the trace on the way: tr X^T H X is the sum over H o X X^T.
 */

#include <finwidth/activation.h>
#include <finwidth/transpose.h>

#include "observables_impl.h"

#include <math.h>

enum { PIECE = 512 }; /* entries whose slopes are kept aside */

typedef struct {
  const FwObservablesLayer *layer;
  FwMatrix                  matrix; /* C_0, which becomes G o k_b column by column */
  FwActivation              activation;
  FwPoints                  rows, columns;
  double                   *row_sum; /* [n] (G o k_a) 1 */
  double                   *input2;  /* [n] |x|^2 / (lambda_0 N_0) */
  double                    trace;   /* sum over (G o k_b)_ij x_i.x_j / (lambda_0 N_0) */
} SlopeContext;

static PetscErrorCode SlopePiece(SlopeContext *c, PetscInt column_local, PetscInt column, PetscInt first, PetscInt n,
                                 double value[])
{
  const FwObservablesLayer *layer   = c->layer;
  const double              bias    = layer->model->bias[0];
  const double             *inverse = FwMatrixStrip(layer->inverse, first, column_local);
  double                    by_covariance[PIECE], by_variance[PIECE];

  PetscFunctionBegin;
  PetscCall(FwActivationMap(c->activation, FW_MAP_COVARIANCE, c->rows, first, n, c->columns, column_local, value,
                            by_covariance));
  PetscCall(FwActivationMap(c->activation, FW_MAP_ROW_VARIANCE, c->rows, first, n, c->columns, column_local, value,
                            by_variance));
  for (PetscInt r = 0; r < n; r++) {
    const PetscInt row = FwMatrixRow(c->matrix, first + r);
    const double   g   = layer->fit[row] * layer->fit[column] - inverse[r];

    c->row_sum[row] += g * by_variance[r];
    c->trace += g * by_covariance[r] * (value[r] - bias);
    value[r] = g * by_covariance[r];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SlopeStrip(const FwStrip *strip, void *user)
{
  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += PIECE)
    PetscCall(SlopePiece((SlopeContext *)user, strip->column_local, strip->column, strip->first + begin,
                         PetscMin(PIECE, strip->n - begin), strip->value + begin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Diagonal entries of C_0, which visitors of the diagonal turn into |x|^2 / (lambda_0 N_0) or add to */
static PetscErrorCode ReadDiagonal(const FwStrip *strip, void *user)
{
  SlopeContext *c = (SlopeContext *)user;

  PetscFunctionBegin;
  if (FwMatrixRow(c->matrix, strip->first) == strip->column) c->input2[strip->column] = strip->value[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRowSums(const FwStrip *strip, void *user)
{
  SlopeContext *c = (SlopeContext *)user;

  PetscFunctionBegin;
  if (FwMatrixRow(c->matrix, strip->first) == strip->column) strip->value[0] += 2.0 * c->row_sum[strip->column];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddBias(const FwStrip *strip, void *user)
{
  const double bias = ((SlopeContext *)user)->layer->model->bias[0];

  PetscFunctionBegin;
  for (PetscInt r = 0; r < strip->n; r++) strip->value[r] += bias;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakePoints(SlopeContext *c, PetscBool is_row, FwPoints *points)
{
  PetscInt       m_local, n_local;
  double        *variance;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(c->matrix, NULL, NULL, &m_local, &n_local));
  if (!is_row) m_local = n_local;
  PetscCall(PetscMalloc1(PetscMax(m_local, 1), &variance));
  for (PetscInt i = 0; i < m_local; i++)
    variance[i] =
      c->input2[is_row ? FwMatrixRow(c->matrix, i) : FwMatrixColumn(c->matrix, i)] + c->layer->model->bias[0];
  code = FwPointsCreate(c->activation, m_local, variance, points);
  if (!code) code = FwPointsAddSlopes(*points);
  PetscCall(PetscFree(variance));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over the ranks, for every rank */
static PetscErrorCode SumOver(FwGrid grid, PetscInt n, double value[])
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(n, &count));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, value, count, MPI_DOUBLE, MPI_SUM, FwGridComm(grid)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C_0 between training examples, both triangles, and the points of its rows and columns */
static PetscErrorCode SlopesBegin(const FwObservablesLayer *layer, FwMatrix inputs, SlopeContext *c)
{
  PetscInt       n_input;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(inputs, &n_input, NULL, NULL, NULL));
  PetscCall(PetscCalloc2(layer->n, &c->row_sum, layer->n, &c->input2));
  PetscCall(FwMatrixCreate(layer->grid, layer->n, layer->n, &c->matrix));
  PetscCall(FwMatrixMultiply(PETSC_TRUE, 1.0 / (layer->model->prior[0] * n_input), inputs, inputs, c->matrix));
  PetscCall(FwMatrixVisit(c->matrix, FW_LOWER, ReadDiagonal, c));
  PetscCall(SumOver(layer->grid, layer->n, c->input2));
  PetscCall(FwMatrixVisit(c->matrix, FW_WHOLE, AddBias, c));
  PetscCall(FwActivationGet((FwActivationType)layer->model->activation[0], &c->activation));
  code = MakePoints(c, PETSC_TRUE, &c->rows);
  if (!code) code = MakePoints(c, PETSC_FALSE, &c->columns);
  PetscCall(FwErrorAgreeAny(FwGridComm(layer->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H in place of C_0; *trace = tr X^T H X / (lambda_0 N_0) */
static PetscErrorCode SlopesApply(const FwObservablesLayer *layer, SlopeContext *c, double *trace)
{
  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(FwGridComm(layer->grid), FwMatrixVisit(c->matrix, FW_WHOLE, SlopeStrip, c)));
  PetscCall(SumOver(layer->grid, layer->n, c->row_sum));
  PetscCall(SumOver(layer->grid, 1, &c->trace));
  for (PetscInt i = 0; i < layer->n; i++) c->trace += 2.0 * c->row_sum[i] * c->input2[i];
  PetscCall(FwMatrixVisit(c->matrix, FW_LOWER, AddRowSums, c));
  *trace = c->trace;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SlopesEnd(SlopeContext *c)
{
  PetscFunctionBegin;
  PetscCall(FwPointsDestroy(&c->rows));
  PetscCall(FwPointsDestroy(&c->columns));
  PetscCall(FwMatrixDestroy(&c->matrix));
  PetscCall(PetscFree2(c->row_sum, c->input2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwMatrix matrix;
  double   value;
} DiagonalContext;

static PetscErrorCode AddToDiagonal(const FwStrip *strip, void *user)
{
  const DiagonalContext *c = (const DiagonalContext *)user;

  PetscFunctionBegin;
  if (FwMatrixRow(c->matrix, strip->first) == strip->column) strip->value[0] += c->value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 1/lambda_0 + scale * X^T H X; `inputs` holds examples as columns */
static PetscErrorCode WeightCovariance(FwMatrix inputs, FwMatrix h, double scale, double prior, FwMatrix *covariance)
{
  FwGrid          grid = FwMatrixGrid(inputs);
  DiagonalContext context;
  FwMatrix        x, hx;
  PetscInt        n, n_input;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(inputs, &n_input, &n, NULL, NULL));
  PetscCall(FwMatrixTranspose(inputs, &x));
  PetscCall(FwMatrixCreate(grid, n, n_input, &hx));
  PetscCall(FwMatrixMultiply(PETSC_FALSE, 1.0, h, x, hx));
  PetscCall(FwMatrixCreate(grid, n_input, n_input, covariance));
  PetscCall(FwMatrixMultiply(PETSC_TRUE, scale, x, hx, *covariance));
  PetscCall(FwMatrixDestroy(&x));
  PetscCall(FwMatrixDestroy(&hx));
  context = (DiagonalContext){.matrix = *covariance, .value = 1.0 / prior};
  PetscCall(FwMatrixVisit(*covariance, FW_LOWER, AddToDiagonal, &context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwMatrix       vectors;
  FwObservables *o;
} ModesContext;

/* The last columns are those of the largest eigenvalues */
static PetscErrorCode ReadMode(const FwStrip *strip, void *user)
{
  const ModesContext *c    = (const ModesContext *)user;
  const PetscInt      n    = c->o->n_weight;
  const PetscInt      mode = n - 1 - strip->column;

  PetscFunctionBegin;
  for (PetscInt r = 0; mode < c->o->n_mode && r < strip->n; r++)
    c->o->weight_eigenvector[mode * n + FwMatrixRow(c->vectors, strip->first + r)] = strip->value[r];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sign of an eigenvector is LAPACK's choice */
static void FixSign(PetscInt n, double vector[])
{
  PetscInt largest = 0;

  for (PetscInt i = 1; i < n; i++)
    if (fabs(vector[i]) > fabs(vector[largest])) largest = i;
  for (PetscInt i = 0, negative = vector[largest] < 0.0; negative && i < n; i++) vector[i] = -vector[i];
}

/* The eigenvectors of `value`, ascending. Inputs that no example has leave many at 1/lambda_0, of which no vector is better
   than another: rounding would choose */
static PetscErrorCode WeightModes(FwMatrix vectors, const double value[], double prior, FwObservables *o)
{
  const double apart   = 1e-6;
  ModesContext context = {.vectors = vectors, .o = o};

  PetscFunctionBegin;
  while (o->n_mode < PetscMin(FW_OBSERVABLES_WEIGHT_MODES, o->n_weight) &&
         value[o->n_weight - 1 - o->n_mode] * prior > 1.0 + apart)
    o->n_mode++;
  PetscCall(PetscCalloc1(o->n_mode * o->n_weight, &o->weight_eigenvector));
  PetscCall(FwMatrixVisit(vectors, FW_WHOLE, ReadMode, &context));
  PetscCall(SumOver(FwMatrixGrid(vectors), o->n_mode * o->n_weight, o->weight_eigenvector));
  for (PetscInt k = 0; k < o->n_mode; k++) FixSign(o->n_weight, o->weight_eigenvector + (size_t)k * o->n_weight);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WeightSpectrum(FwMatrix *covariance, double prior, FwObservables *o)
{
  FwMatrix vectors;
  PetscInt n;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(*covariance, &n, NULL, NULL, NULL));
  PetscCall(PetscMalloc1(n, &o->weight_eigenvalue));
  o->n_weight = n;
  PetscCall(FwMatrixEigen(covariance, o->weight_eigenvalue, &vectors));
  PetscCall(WeightModes(vectors, o->weight_eigenvalue, prior, o));
  PetscCall(FwMatrixDestroy(&vectors));
  for (PetscInt i = 0; i < n / 2; i++) {
    const double smaller = o->weight_eigenvalue[i];

    o->weight_eigenvalue[i]         = o->weight_eigenvalue[n - 1 - i];
    o->weight_eigenvalue[n - 1 - i] = smaller;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwObservablesWeights(FwObservablesLayer *layer, FwObservables *o)
{
  const FwModel *model = layer->model;
  SlopeContext   c     = {.layer = layer};
  FwSlab         slab;
  FwSlabs        slabs;
  FwMatrix       inputs, covariance;
  double         scale, trace = 0.0;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(layer->data, FW_TRAIN, &slab));
  slabs = (FwSlabs){.m = slab.n_input, .n = slab.n, .block = slab.block, .value = slab.x};
  PetscCall(FwMatrixCreateFromSlab(layer->grid, &slabs, &inputs));
  PetscCall(FwMatrixSymmetrise(layer->inverse)); /* k_a is not symmetric: row sums need both triangles */
  PetscCall(SlopesBegin(layer, inputs, &c));
  PetscCall(SlopesApply(layer, &c, &trace));
  PetscCall(FwMatrixDestroy(&layer->inverse));
  scale                 = layer->order / (model->prior[0] * model->prior[1] * model->width[0]);
  o->weight_trace_after = slab.n_input / model->prior[0] + scale * trace;
  if (slab.n_input <= FW_OBSERVABLES_MAX_SPECTRUM) {
    scale /= model->prior[0] * slab.n_input;
    PetscCall(WeightCovariance(inputs, c.matrix, scale, model->prior[0], &covariance));
    PetscCall(WeightSpectrum(&covariance, model->prior[0], o));
  }
  PetscCall(SlopesEnd(&c));
  PetscCall(FwMatrixDestroy(&inputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}
