/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bandwidth 1: each (T, Q) is a handful of recurrences along a tridiagonal matrix, on every rank.
 *
 * C = T + Q B = L D L^T with pivots d_i and multipliers l_i. With f_i the off-diagonal entries of C, the traces of
 * powers of the inverse follow from n_i and m_i, the derivatives of the pivots by T,
 *
 *     g = f_{i-1}^2 / d_{i-1},   d_i = c_i - g,   n_i = (1 + g n_{i-1}) / d_i,   m_i = g (m_{i-1} + 2 n_{i-1}^2) / d_i,
 *     tr C^-1 = sum_i n_i,       tr C^-2 = sum_i n_i^2 + m_i:
 *
 * the block recursion of spectrum_band.c with blocks of one. All terms are positive.
 */

#include "spectrum_impl.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const int one = 1;

typedef struct {
  double  *diagonal, *off;     /* [P] B; off[i] couples i and i + 1, the last one is zero */
  double  *pivot, *multiplier; /* [P] of the last (T, Q) */
  FwMatrix reflectors;         /* as pdsytrd leaves them */
  double  *tau;                /* [n_local] */
  double   temperature, order; /* of the last factorisation step by step */
} Form;

/* --- making it ---------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateData(FwSpectrum s)
{
  Form *form;

  PetscFunctionBegin;
  PetscCall(PetscNew(&form));
  s->data = form;
  PetscCall(PetscCalloc4(s->n, &form->diagonal, s->n, &form->off, s->n, &form->pivot, s->n, &form->multiplier));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* pdsytrd leaves the entries of a column on every process that holds a part of it: the first process row tells all */
static PetscErrorCode ShareEntries(FwMatrix a, const double d[], const double e[], Form *form)
{
  PetscFunctionBegin;
  for (PetscInt j = 0; j < a->n_local && a->grid->my_row == 0; j++) {
    const PetscInt column = FwMatrixColumn(a, j);

    form->diagonal[column] = d[j];
    if (column < a->n - 1) form->off[column] = e[j];
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, form->diagonal, a->n, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, form->off, a->n, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The documented workspace, 64 (rows + 1), with room to spare: what ScaLAPACK asks for is too little for small sizes */
static PetscErrorCode Tridiagonalise(FwMatrix a, Form *form)
{
  const int n_work = BLOCK * (int)(a->m_local + a->n_local + 6 * BLOCK);
  double   *d, *e, *work;
  int       info;

  PetscFunctionBegin;
  PetscCall(PetscCalloc3(a->n_local + 1, &d, a->n_local + 1, &e, n_work, &work));
  PetscCall(PetscCalloc1(a->n_local + 1, &form->tau));
  pdsytrd_("L", &a->n, a->value, &one, &one, a->desc, d, e, form->tau, work, &n_work, &info);
  PetscCheck(!info, a->grid->comm, PETSC_ERR_PLIB, "pdsytrd: argument %d", -info);
  PetscCall(ShareEntries(a, d, e, form));
  PetscCall(PetscFree3(d, e, work));
  PetscCall(PetscLogFlops(4.0 / 3.0 * (double)a->n * (double)a->n * (double)a->n / a->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rotate(FwSpectrum s, FwMatrix *matrix)
{
  const Form *form = s->data;
  FwMatrix    a = form->reflectors, x = *matrix;
  const int   n_work = 2 * BLOCK * (int)(x->m_local + x->n_local + 4 * BLOCK);
  double     *work;
  int         info;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n_work, &work));
  pdormtr_("L", "L", "T", &x->m, &x->n, a->value, &one, &one, a->desc, form->tau, x->value, &one, &one, x->desc, work,
           &n_work, &info);
  PetscCheck(!info, a->grid->comm, PETSC_ERR_PLIB, "pdormtr: argument %d", -info);
  PetscCall(PetscFree(work));
  PetscCall(PetscLogFlops(2.0 * (double)x->m * (double)x->m * (double)x->n / x->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Freeze(FwSpectrum s)
{
  Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(FwMatrixDestroy(&form->reflectors));
  PetscCall(PetscFree(form->tau));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(FwSpectrum s)
{
  Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(PetscFree4(form->diagonal, form->off, form->pivot, form->multiplier));
  PetscCall(PetscFree(s->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(FwSpectrum s, PetscInt *n_array, double *array[2], size_t size[2])
{
  Form *form = s->data;

  PetscFunctionBegin;
  *n_array = 2;
  array[0] = form->diagonal;
  array[1] = form->off;
  size[0] = size[1] = (size_t)s->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- factorisation ------------------------------------------------------------------------------------------ */

/* Whether all pivots are positive, and the lowest of them */
static PetscBool Factor(PetscInt n, Form *form, double temperature, double order, double *lowest)
{
  double pivot = 1.0, before = 0.0; /* off-diagonal entry of the row before */

  *lowest = INFINITY;
  for (PetscInt i = 0; i < n; i++) {
    pivot = temperature + order * form->diagonal[i] - before * before / pivot;
    if (!(pivot > 0.0)) return PETSC_FALSE;
    before              = order * form->off[i];
    form->pivot[i]      = pivot;
    form->multiplier[i] = before / pivot;
    *lowest             = PetscMin(*lowest, pivot);
  }
  return PETSC_TRUE;
}

static PetscErrorCode FactorOrFail(FwSpectrum s, double temperature, double order)
{
  double lowest;

  PetscFunctionBegin;
  PetscCheck(
    Factor(s->n, s->data, temperature, order, &lowest), FwGridComm(s->grid), FW_ERR_NUMERICAL,
    "T + Q K is not positive definite at T = %.6g, Q = %.6g: set a larger temperature, or decompose with bandwidth 0",
    temperature, order);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A mode below the round-off of the others counts as zero, one far below it is an error. The smallest mode is at most
   the smallest pivot. */
static PetscErrorCode CheckModes(FwSpectrum s)
{
  Form  *form    = s->data;
  double largest = 0.0, before = 0.0, floor_value, lowest;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < s->n; i++) {
    largest = PetscMax(largest, fabs(form->diagonal[i]) + fabs(before) + fabs(form->off[i]));
    before  = form->off[i];
  }
  floor_value = 8.0 * s->n * DBL_EPSILON * largest;
  PetscCheck(Factor(s->n, form, 100.0 * floor_value + DBL_MIN, 1.0, &lowest), FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel has an eigenvalue below %.6g, and its largest is below %.6g", -100.0 * floor_value, largest);
  s->is_singular = Factor(s->n, form, 0.0, 1.0, &lowest) && lowest > floor_value ? PETSC_FALSE : PETSC_TRUE;
  s->rank        = s->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reduce(FwSpectrum s, FwMatrix *kernel, const FwSpectrumKeep *keep, double after[2])
{
  Form *form;

  PetscFunctionBegin;
  (void)keep;
  PetscCall(CreateData(s));
  form = s->data;
  PetscCall(Tridiagonalise(*kernel, form));
  form->reflectors = *kernel;
  *kernel          = NULL;
  after[0] = after[1] = 0.0;
  for (PetscInt i = 0; i < s->n; i++) {
    after[0] += form->diagonal[i];
    after[1] += form->diagonal[i] * form->diagonal[i] + 2.0 * form->off[i] * form->off[i];
  }
  PetscCall(CheckModes(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one (T, Q) --------------------------------------------------------------------------------------------- */

/* x <- L^-1 x, and x <- L^-T D^-1 x */
static void SolveLower(PetscInt n, const double multiplier[], double x[])
{
  for (PetscInt i = 1; i < n; i++) x[i] -= multiplier[i - 1] * x[i - 1];
}

static void SolveUpper(PetscInt n, const double pivot[], const double multiplier[], double x[])
{
  double after = 0.0;

  for (PetscInt i = n - 1; i >= 0; i--) x[i] = after = x[i] / pivot[i] - multiplier[i] * after;
}

static void Multiply(PetscInt n, const Form *form, double order, const double x[], double y[])
{
  for (PetscInt i = 0; i < n; i++) {
    double sum = form->diagonal[i] * x[i];

    if (i > 0) sum += form->off[i - 1] * x[i - 1];
    if (i < n - 1) sum += form->off[i] * x[i + 1];
    y[i] = order * sum;
  }
}

/* x.D^-1 x for each pair of w and h */
static void SumOverPivots(PetscInt n, PetscInt n_vector, const double pivot[], const double x[], double work[],
                          double pair[])
{
  for (PetscInt v = 0; v < n_vector; v++)
    for (PetscInt i = 0; i < n; i++) work[v * n + i] = x[v * n + i] / pivot[i];
  FwSumPairs(n, n_vector, work, x, pair);
}

static PetscErrorCode Inverse(FwSpectrum s, double *inverse)
{
  Form   *form = s->data;
  double *x, *work;

  PetscFunctionBegin;
  *inverse = INFINITY;
  if (s->is_singular) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FactorOrFail(s, 0.0, 1.0));
  PetscCall(PetscMalloc2(s->n, &x, s->n, &work));
  *inverse = 0.0;
  for (PetscInt c = 0; c < s->n_label; c++) {
    double square;

    PetscCall(PetscArraycpy(x, s->w + (size_t)c * s->n, s->n));
    SolveLower(s->n, form->multiplier, x);
    SumOverPivots(s->n, 1, form->pivot, x, work, &square);
    *inverse += square;
  }
  PetscCall(PetscFree2(x, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Quadratic forms in w, and in h where there is a readout bias */
static PetscErrorCode SumVectors(FwSpectrum s, double order, FwSums *sums)
{
  const Form    *form = s->data;
  const PetscInt n = s->n, n_vector = FwSpectrumVectors(s);
  const size_t   size = (size_t)n_vector * n;
  double        *x, *y, *work;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(size, &x, size, &y, size, &work));
  PetscCall(PetscArraycpy(x, s->w, size));
  for (PetscInt v = 0; v < n_vector; v++) SolveLower(n, form->multiplier, x + v * n);
  SumOverPivots(n, n_vector, form->pivot, x, work, sums->fit);
  for (PetscInt v = 0; v < n_vector; v++) {
    SolveUpper(n, form->pivot, form->multiplier, x + v * n);
    Multiply(n, form, order, x + v * n, y + v * n);
  }
  FwSumPairs(n, n_vector, x, x, sums->square);
  FwSumPairs(n, n_vector, x, y, sums->slope);
  for (PetscInt v = 0; v < n_vector; v++) SolveLower(n, form->multiplier, y + v * n);
  SumOverPivots(n, n_vector, form->pivot, y, work, sums->curve);
  PetscCall(PetscFree3(x, y, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void InverseTraces(PetscInt n, const Form *form, double order, double *trace, double *trace2)
{
  double first = 0.0, second = 0.0, g = 0.0; /* n_{i-1}, m_{i-1} */

  *trace = *trace2 = 0.0;
  for (PetscInt i = 0; i < n; i++) {
    const double inverse = 1.0 / form->pivot[i];

    second = g * (second + 2.0 * first * first) * inverse;
    first  = (1.0 + g * first) * inverse;
    g      = order * form->off[i] * form->multiplier[i];
    *trace += first;
    *trace2 += first * first + second;
  }
}

static double LogDeterminant(PetscInt n, const double pivot[])
{
  double mantissa = 1.0;
  long   exponent = 0;

  for (PetscInt i = 0; i < n; i++) {
    int shift;

    mantissa = frexp(mantissa * pivot[i], &shift);
    exponent += shift;
  }
  return log(mantissa) + (double)exponent * M_LN2;
}

static PetscErrorCode Sum(FwSpectrum s, double temperature, double order, PetscBool with_log_det, FwSums *sums)
{
  const Form *form = s->data;
  double      trace, trace2;

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, temperature, order));
  PetscCall(SumVectors(s, order, sums));
  InverseTraces(s->n, form, order, &trace, &trace2);
  /* QB = C - T; what is left by round-off where Q B is nothing beside T must not be negative */
  sums->trace       = PetscMax(0.0, s->n - temperature * trace);
  sums->trace_slope = PetscMax(0.0, temperature * (trace - temperature * trace2));
  if (with_log_det) sums->log_det = LogDeterminant(s->n, form->pivot);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- step by step ------------------------------------------------------------------------------------------- */

static PetscErrorCode StepFactor(FwSpectrum s, double temperature, double order, double *log_det)
{
  Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, temperature, order));
  form->temperature = temperature;
  form->order       = order;
  if (log_det) *log_det = LogDeterminant(s->n, form->pivot);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepTraces(FwSpectrum s, double *trace, double *trace_slope)
{
  const Form *form = s->data;
  double      first, second;

  PetscFunctionBegin;
  InverseTraces(s->n, form, form->order, &first, &second);
  *trace       = PetscMax(0.0, s->n - form->temperature * first); /* as in Sum() */
  *trace_slope = PetscMax(0.0, form->temperature * (first - form->temperature * second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepSolve(FwSpectrum s, PetscInt n, double x[])
{
  const Form *form = s->data;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < n; c++) {
    SolveLower(s->n, form->multiplier, x + (size_t)c * s->n);
    SolveUpper(s->n, form->pivot, form->multiplier, x + (size_t)c * s->n);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepMultiply(FwSpectrum s, PetscInt n, const double x[], double y[])
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < n; c++) Multiply(s->n, s->data, 1.0, x + (size_t)c * s->n, y + (size_t)c * s->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

enum { COLUMNS = 8 }; /* recurrences that run side by side: one alone waits for its own last result */

/* explained += scale z.C^-1 z for eight columns */
static void Explain(PetscInt n, const double multiplier[], const double inverse[], const double *z[COLUMNS],
                    double scale, double explained[COLUMNS])
{
  double x[COLUMNS] = {0.0}, sum[COLUMNS] = {0.0}, before = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    for (int t = 0; t < COLUMNS; t++) {
      x[t] = z[t][i] - before * x[t];
      sum[t] += x[t] * x[t] * inverse[i];
    }
    before = multiplier[i];
  }
  for (int t = 0; t < COLUMNS; t++) explained[t] += scale * sum[t];
}

static void ExplainAll(FwSpectrum s, const double inverse[], double scale, double explained[])
{
  const Form *form = s->data;

  for (PetscInt t = 0; t < s->n_test_local; t += COLUMNS) {
    const double *z[COLUMNS];
    double        sum[COLUMNS] = {0.0};

    /* beyond the last example: that one again */
    for (PetscInt c = 0; c < COLUMNS; c++) z[c] = s->test + (size_t)PetscMin(t + c, s->n_test_local - 1) * s->n;
    Explain(s->n, form->multiplier, inverse, z, scale, sum);
    for (PetscInt c = 0; c < PetscMin(COLUMNS, s->n_test_local - t); c++) explained[t + c] += sum[c];
  }
}

/* inverse [P]: room */
static PetscErrorCode PredictNode(FwSpectrum s, const FwNodes *nodes, PetscInt c, double inverse[])
{
  const Form  *form  = s->data;
  const double order = nodes->order[c];

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, nodes->temperature, order));
  for (PetscInt v = 0; v < s->n_label + (nodes->ones != NULL); v++) {
    double *x = v < s->n_label ? nodes->alpha + (size_t)(c * s->n_label + v) * s->n : nodes->ones + (size_t)c * s->n;

    PetscCall(PetscArraycpy(x, s->w + (size_t)v * s->n, s->n));
    SolveLower(s->n, form->multiplier, x);
    SolveUpper(s->n, form->pivot, form->multiplier, x);
  }
  if (!nodes->latent) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < s->n; i++) inverse[i] = 1.0 / form->pivot[i];
  FwSpectrumAddPrior(s, nodes->weight[c] * order, nodes->latent);
  ExplainAll(s, inverse, -nodes->weight[c] * order * order, nodes->latent);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Predict(FwSpectrum s, const FwNodes *nodes)
{
  double        *inverse;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(s->n, &inverse));
  for (PetscInt c = 0; c < nodes->n && !code; c++) code = PredictNode(s, nodes, c, inverse);
  PetscCall(PetscFree(inverse));
  PetscFunctionReturn(code);
}

const FwSpectrumForm fw_spectrum_tridiagonal = {.bandwidth = 1, .name = "tridiagonal", FW_SPECTRUM_FUNCTIONS};
