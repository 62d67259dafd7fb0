/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bandwidth 64: each (T, Q) is a Cholesky factorisation of a block tridiagonal matrix, on every rank.
 *
 * C = T + Q B = L L^T with diagonal blocks L_k and S_k below them. The derivatives of log det C in T are traces of
 * powers of the inverse; carried along the factorisation, with P_k = L_k^-1 S_{k-1},
 *
 *     N_k = L_k^-1 L_k^-T + P_k N_{k-1} P_k^T,             tr C^-1 = sum_k tr N_k,
 *     M_k = P_k (M_{k-1} + 2 N_{k-1}^2) P_k^T,             tr C^-2 = sum_k tr (N_k^2 + M_k).
 *
 * All terms are positive: nothing cancels at any T and Q.
 */

#include "band.h"
#include "spectrum_impl.h"

#include <float.h>
#include <math.h>
#include <petscblaslapack.h>
#include <string.h>

static const PetscBLASInt block_int = BLOCK;
static const PetscScalar  one = 1.0, zero = 0.0, minus_one = -1.0;

typedef struct {
  FwBand       band, factor; /* B; L_k and S_k of the last (T, Q) */
  FwReflectors rotation;
  double       temperature; /* of the last factorisation step by step */
} Form;

/* --- factorisation ------------------------------------------------------------------------------------------ */

/* L_k and S_k from what has been put there; `lowest` falls to the smallest diagonal entry of L; `info` > 0 when C is
   not positive definite */
static PetscErrorCode FactorBlock(FwBand *l, PetscInt k, double *lowest, PetscBLASInt *info)
{
  const PetscBLASInt rows = FwBandRows(l, k), next = k + 1 < l->n_block ? FwBandRows(l, k + 1) : 0;
  double            *diagonal = l->diagonal + (size_t)k * BLOCK_SIZE, *below = l->below + (size_t)k * BLOCK_SIZE;

  PetscFunctionBegin;
  if (k)
    PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &rows, &block_int, &minus_one, below - BLOCK_SIZE, &block_int, &one,
                                        diagonal, &block_int));
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("L", &rows, diagonal, &block_int, info));
  if (*info) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < rows; i++) *lowest = PetscMin(*lowest, diagonal[i + i * BLOCK]);
  if (next)
    PetscCallBLAS("BLAStrsm",
                  BLAStrsm_("R", "L", "T", "N", &next, &rows, &one, diagonal, &block_int, below, &block_int));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Factor(Form *form, double temperature, double order, double *lowest, PetscBool *is_positive)
{
  const FwBand *b    = &form->band;
  FwBand       *l    = &form->factor;
  PetscBLASInt  info = 0;

  PetscFunctionBegin;
  *lowest = INFINITY;
  for (PetscInt k = 0; k < b->n_block && !info; k++) {
    const size_t offset = (size_t)k * BLOCK_SIZE;

    for (PetscInt i = 0; i < BLOCK_SIZE; i++) {
      l->diagonal[offset + i] = order * b->diagonal[offset + i];
      l->below[offset + i]    = order * b->below[offset + i];
    }
    for (PetscInt i = 0; i < FwBandRows(b, k); i++) l->diagonal[offset + i + i * BLOCK] += temperature;
    PetscCall(FactorBlock(l, k, lowest, &info));
  }
  *is_positive = info ? PETSC_FALSE : PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FactorOrFail(FwSpectrum s, double temperature, double order)
{
  double    lowest      = 0.0;
  PetscBool is_positive = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(Factor(s->data, temperature, order, &lowest, &is_positive));
  PetscCheck(
    is_positive, FwGridComm(s->grid), FW_ERR_NUMERICAL,
    "T + Q K is not positive definite at T = %.6g, Q = %.6g: set a larger temperature, or decompose with bandwidth 0",
    temperature, order);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double LogDeterminant(const FwBand *l)
{
  double mantissa = 1.0;
  long   exponent = 0;

  for (PetscInt i = 0; i < l->n; i++) {
    int shift;

    mantissa = frexp(mantissa * l->diagonal[(size_t)(i / BLOCK) * BLOCK_SIZE + (i % BLOCK) * (BLOCK + 1)], &shift);
    exponent += shift;
  }
  return 2.0 * (log(mantissa) + (double)exponent * M_LN2);
}

/* --- solves ------------------------------------------------------------------------------------------------- */

/* x <- L^-1 x, or L^-T x, for n_column columns of length n */
static PetscErrorCode SolveLower(const FwBand *l, PetscInt n_column, double x[])
{
  const PetscBLASInt n = l->n, count = n_column;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < l->n_block; k++) {
    const PetscBLASInt rows   = FwBandRows(l, k);
    const size_t       offset = (size_t)k * BLOCK_SIZE;
    double            *here   = x + (size_t)k * BLOCK;

    if (k)
      PetscCallBLAS("BLASgemm",
                    BLASgemm_("N", "N", &rows, &count, &block_int, &minus_one, l->below + offset - BLOCK_SIZE,
                              &block_int, here - BLOCK, &n, &one, here, &n));
    PetscCallBLAS("BLAStrsm",
                  BLAStrsm_("L", "L", "N", "N", &rows, &count, &one, l->diagonal + offset, &block_int, here, &n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveUpper(const FwBand *l, PetscInt n_column, double x[])
{
  const PetscBLASInt n = l->n, count = n_column;

  PetscFunctionBegin;
  for (PetscInt k = l->n_block - 1; k >= 0; k--) {
    const PetscBLASInt rows = FwBandRows(l, k), next = k + 1 < l->n_block ? FwBandRows(l, k + 1) : 0;
    const size_t       offset = (size_t)k * BLOCK_SIZE;
    double            *here   = x + (size_t)k * BLOCK;

    if (next)
      PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &rows, &count, &next, &minus_one, l->below + offset, &block_int,
                                          here + BLOCK, &n, &one, here, &n));
    PetscCallBLAS("BLAStrsm",
                  BLAStrsm_("L", "L", "T", "N", &rows, &count, &one, l->diagonal + offset, &block_int, here, &n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y <- Q B x */
static PetscErrorCode Multiply(const FwBand *b, double order, PetscInt n_column, const double x[], double y[])
{
  const PetscBLASInt n = b->n, count = n_column;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < b->n_block; k++) {
    const PetscBLASInt rows = FwBandRows(b, k), next = k + 1 < b->n_block ? FwBandRows(b, k + 1) : 0;
    const size_t       offset = (size_t)k * BLOCK_SIZE, row = (size_t)k * BLOCK;

    PetscCallBLAS("BLASsymm", BLASsymm_("L", "L", &rows, &count, &order, b->diagonal + offset, &block_int, x + row, &n,
                                        &zero, y + row, &n));
    if (k)
      PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &rows, &count, &block_int, &order, b->below + offset - BLOCK_SIZE,
                                          &block_int, x + row - BLOCK, &n, &one, y + row, &n));
    if (next)
      PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &rows, &count, &next, &order, b->below + offset, &block_int,
                                          x + row + BLOCK, &n, &one, y + row, &n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- traces ------------------------------------------------------------------------------------------------- */

/* Blocks of the recursion; all 64 x 64, `pair` and `both` two of them side by side */
typedef struct {
  double inverse[BLOCK_SIZE];  /* L_k^-1 */
  double step[BLOCK_SIZE];     /* P_k */
  double pair[2 * BLOCK_SIZE]; /* N, then M + 2 N^2 */
  double both[2 * BLOCK_SIZE]; /* P_k times them */
  double n[BLOCK_SIZE], m[BLOCK_SIZE];
} Recursion;

/* pair <- N, M + 2 N^2 of the block before; both <- P_k pair */
static PetscErrorCode Step(const FwBand *l, PetscInt k, PetscBLASInt rows, Recursion *r)
{
  const PetscScalar  two     = 2.0;
  const PetscBLASInt columns = 2 * BLOCK;
  double            *square  = r->pair + BLOCK_SIZE;
  const size_t       offset  = (size_t)k * BLOCK_SIZE;

  PetscFunctionBegin;
  PetscCall(PetscArraycpy(r->pair, r->n, BLOCK_SIZE));
  PetscCall(PetscArraycpy(square, r->m, BLOCK_SIZE));
  PetscCall(PetscArraycpy(r->step, l->below + offset - BLOCK_SIZE, BLOCK_SIZE));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &block_int, &block_int, &block_int, &two, r->n, &block_int, r->n,
                                      &block_int, &one, square, &block_int));
  PetscCallBLAS("dtrmm",
                dtrmm_("L", "L", "N", "N", &rows, &block_int, &one, r->inverse, &block_int, r->step, &block_int));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &rows, &columns, &block_int, &one, r->step, &block_int, r->pair,
                                      &block_int, &zero, r->both, &block_int));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* N_k and M_k from those of the block before */
static PetscErrorCode Advance(const FwBand *l, PetscInt k, Recursion *r)
{
  const PetscBLASInt rows = FwBandRows(l, k);
  PetscBLASInt       info;

  PetscFunctionBegin;
  PetscCall(PetscArraycpy(r->inverse, l->diagonal + (size_t)k * BLOCK_SIZE, BLOCK_SIZE));
  PetscCallBLAS("dtrtri", dtrtri_("L", "N", &rows, r->inverse, &block_int, &info));
  if (k) PetscCall(Step(l, k, rows, r));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &rows, &rows, &rows, &one, r->inverse, &block_int, r->inverse,
                                      &block_int, &zero, r->n, &block_int));
  if (!k) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &rows, &rows, &block_int, &one, r->both, &block_int, r->step,
                                      &block_int, &one, r->n, &block_int));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &rows, &rows, &block_int, &one, r->both + BLOCK_SIZE, &block_int,
                                      r->step, &block_int, &zero, r->m, &block_int));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr C^-1 and tr C^-2 */
static PetscErrorCode InverseTraces(const FwBand *l, double *trace, double *trace2)
{
  Recursion *r;

  PetscFunctionBegin;
  PetscCall(PetscNew(&r));
  *trace = *trace2 = 0.0;
  for (PetscInt k = 0; k < l->n_block; k++) {
    const PetscInt rows = FwBandRows(l, k);

    PetscCall(Advance(l, k, r));
    for (PetscInt j = 0; j < rows; j++) {
      double square = 0.0;

      for (PetscInt i = 0; i < rows; i++) square += r->n[i + j * BLOCK] * r->n[i + j * BLOCK];
      *trace += r->n[j + j * BLOCK];
      *trace2 += square + r->m[j + j * BLOCK];
    }
  }
  PetscCall(PetscFree(r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- making it ---------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateData(FwSpectrum s)
{
  Form *form;

  PetscFunctionBegin;
  PetscCall(PetscNew(&form));
  s->data = form;
  PetscCall(FwBandCreate(s->n, &form->band));
  PetscCall(FwBandCreate(s->n, &form->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Trace, sum of squares, and the largest sum of a row's absolute values, which no mode exceeds */
static PetscErrorCode Norms(const FwBand *b, double *trace, double *square, double *largest)
{
  double *row;

  PetscFunctionBegin;
  *trace = *square = *largest = 0.0;
  PetscCall(PetscCalloc1((size_t)b->n_block * BLOCK, &row));
  for (PetscInt k = 0; k < b->n_block; k++)
    for (PetscInt j = 0; j < BLOCK; j++)
      for (PetscInt i = 0; i < BLOCK; i++) {
        const double d = b->diagonal[(size_t)k * BLOCK_SIZE + i + j * BLOCK];
        const double e = b->below[(size_t)k * BLOCK_SIZE + i + j * BLOCK];

        *square += (i == j ? 1.0 : 2.0) * d * d + 2.0 * e * e;
        if (i == j) *trace += d;
        row[k * BLOCK + i] += fabs(d);
        if (i != j) row[k * BLOCK + j] += fabs(d);
        row[k * BLOCK + j] += fabs(e);
        if (e != 0.0) row[(k + 1) * BLOCK + i] += fabs(e);
      }
  for (PetscInt i = 0; i < b->n; i++) *largest = PetscMax(*largest, row[i]);
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A mode below the round-off of the others counts as zero, one far below it is an error. The smallest mode is at most
   the square of the smallest entry on the factor's diagonal. */
static PetscErrorCode CheckModes(FwSpectrum s, double largest)
{
  const double floor_value = 8.0 * s->n * DBL_EPSILON * largest;
  double       lowest      = 0.0;
  PetscBool    is_positive = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(Factor(s->data, 100.0 * floor_value + DBL_MIN, 1.0, &lowest, &is_positive));
  PetscCheck(is_positive, FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel has an eigenvalue below %.6g, and its largest is below %.6g", -100.0 * floor_value, largest);
  PetscCall(Factor(s->data, 0.0, 1.0, &lowest, &is_positive));
  s->is_singular = is_positive && lowest * lowest > floor_value ? PETSC_FALSE : PETSC_TRUE;
  s->rank        = s->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The reduction to its end, and what it has made into the spectrum */
static PetscErrorCode Finish(FwSpectrum s, FwReduction *reduction, const FwSpectrumKeep *keep, double after[2])
{
  Form  *form;
  double largest = 0.0;

  PetscFunctionBegin;
  PetscCall(FwReductionRun(reduction, keep));
  PetscCall(PetscNew(&form));
  s->data        = form;
  form->band     = reduction->band;
  form->rotation = reduction->reflectors;
  PetscCall(FwBandCreate(s->n, &form->factor));
  PetscCall(Norms(&form->band, &after[0], &after[1], &largest));
  PetscCall(CheckModes(s, largest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reduce(FwSpectrum s, FwMatrix *kernel, const FwSpectrumKeep *keep, double after[2])
{
  const double before[2] = {s->trace, s->square};
  FwReduction  reduction;

  PetscFunctionBegin;
  PetscCall(FwReductionBegin(kernel, before, &reduction));
  PetscCall(Finish(s, &reduction, keep, after));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumResume(FwGrid grid, const FwSpectrumKeep *keep, FwSpectrum *spectrum)
{
  FwReduction reduction;
  double      after[2];
  PetscBool   exists;

  PetscFunctionBegin;
  *spectrum = NULL;
  PetscCall(PetscTestFile(keep->path, '\0', &exists));
  PetscCallMPI(MPI_Bcast(&exists, 1, MPIU_BOOL, 0, FwGridComm(grid)));
  if (!exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwReductionLoad(grid, keep->path, keep->digest, &reduction));
  PetscCall(FwSpectrumMake(grid, reduction.band.n, &fw_spectrum_band, spectrum));
  (*spectrum)->trace  = reduction.before[0];
  (*spectrum)->square = reduction.before[1];
  PetscCall(Finish(*spectrum, &reduction, keep, after));
  PetscCall(FwSpectrumCheckInvariants(*spectrum, after));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rotate(FwSpectrum s, FwMatrix *x)
{
  PetscFunctionBegin;
  PetscCall(FwReflectorsApply(&((const Form *)s->data)->rotation, *x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Freeze(FwSpectrum s)
{
  PetscFunctionBegin;
  PetscCall(FwReflectorsDestroy(&((Form *)s->data)->rotation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(FwSpectrum s)
{
  Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(FwBandDestroy(&form->band));
  PetscCall(FwBandDestroy(&form->factor));
  PetscCall(PetscFree(s->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(FwSpectrum s, PetscInt *n_array, double *array[2], size_t size[2])
{
  Form *form = s->data;

  PetscFunctionBegin;
  *n_array = 2;
  array[0] = form->band.diagonal;
  array[1] = form->band.below;
  size[0] = size[1] = (size_t)form->band.n_block * BLOCK_SIZE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one (T, Q) --------------------------------------------------------------------------------------------- */

static PetscErrorCode Inverse(FwSpectrum s, double *inverse)
{
  Form   *form = s->data;
  double *x;

  PetscFunctionBegin;
  *inverse = INFINITY;
  if (s->is_singular) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FactorOrFail(s, 0.0, 1.0));
  PetscCall(PetscMalloc1(s->n, &x));
  *inverse = 0.0;
  for (PetscInt c = 0; c < s->n_label; c++) {
    double square;

    PetscCall(PetscArraycpy(x, s->w + (size_t)c * s->n, s->n));
    PetscCall(SolveLower(&form->factor, 1, x));
    FwSumPairs(s->n, 1, x, x, &square);
    *inverse += square;
  }
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Quadratic forms in w, and in h where there is a readout bias */
static PetscErrorCode SumVectors(FwSpectrum s, double order, FwSums *sums)
{
  const Form    *form = s->data;
  const PetscInt n = s->n, n_vector = FwSpectrumVectors(s);
  const size_t   size = (size_t)n_vector * n;
  double        *x, *y;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(size, &x, size, &y));
  PetscCall(PetscArraycpy(x, s->w, size));
  PetscCall(SolveLower(&form->factor, n_vector, x));
  FwSumPairs(n, n_vector, x, x, sums->fit);
  PetscCall(SolveUpper(&form->factor, n_vector, x));
  FwSumPairs(n, n_vector, x, x, sums->square);
  PetscCall(Multiply(&form->band, order, n_vector, x, y));
  FwSumPairs(n, n_vector, x, y, sums->slope);
  PetscCall(SolveLower(&form->factor, n_vector, y));
  FwSumPairs(n, n_vector, y, y, sums->curve);
  PetscCall(PetscFree2(x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sum(FwSpectrum s, double temperature, double order, PetscBool with_log_det, FwSums *sums)
{
  Form  *form  = s->data;
  double trace = 0.0, trace2 = 0.0;

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, temperature, order));
  PetscCall(SumVectors(s, order, sums));
  PetscCall(InverseTraces(&form->factor, &trace, &trace2));
  /* QB = C - T; what is left by round-off where Q B is nothing beside T must not be negative */
  sums->trace       = PetscMax(0.0, s->n - temperature * trace);
  sums->trace_slope = PetscMax(0.0, temperature * (trace - temperature * trace2));
  if (with_log_det) sums->log_det = LogDeterminant(&form->factor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- step by step ------------------------------------------------------------------------------------------- */

static PetscErrorCode StepFactor(FwSpectrum s, double temperature, double order, double *log_det)
{
  Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, temperature, order));
  form->temperature = temperature;
  if (log_det) *log_det = LogDeterminant(&form->factor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepTraces(FwSpectrum s, double *trace, double *trace_slope)
{
  const Form *form  = s->data;
  double      first = 0.0, second = 0.0;

  PetscFunctionBegin;
  PetscCall(InverseTraces(&form->factor, &first, &second));
  *trace       = PetscMax(0.0, s->n - form->temperature * first); /* as in Sum() */
  *trace_slope = PetscMax(0.0, form->temperature * (first - form->temperature * second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepSolve(FwSpectrum s, PetscInt n, double x[])
{
  const Form *form = s->data;

  PetscFunctionBegin;
  PetscCall(SolveLower(&form->factor, n, x));
  PetscCall(SolveUpper(&form->factor, n, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepMultiply(FwSpectrum s, PetscInt n, const double x[], double y[])
{
  PetscFunctionBegin;
  PetscCall(Multiply(&((const Form *)s->data)->band, 1.0, n, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

enum { COLUMNS = 128 }; /* test examples in one solve */

/* explained += scale |L^-1 z|^2 for up to 128 columns; only two block rows of the solution are kept */
static PetscErrorCode Explain(const FwBand *l, PetscInt n_column, const double z[], double scale, double work[],
                              double explained[])
{
  const PetscBLASInt count = n_column;
  double            *here = work, *before = work + BLOCK * COLUMNS;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < l->n_block; k++) {
    const PetscBLASInt rows   = FwBandRows(l, k);
    const size_t       offset = (size_t)k * BLOCK_SIZE;
    double            *swap   = here;

    for (PetscInt t = 0; t < n_column; t++)
      PetscCall(PetscArraycpy(here + (size_t)t * BLOCK, z + (size_t)k * BLOCK + (size_t)t * l->n, rows));
    if (k)
      PetscCallBLAS("BLASgemm",
                    BLASgemm_("N", "N", &rows, &count, &block_int, &minus_one, l->below + offset - BLOCK_SIZE,
                              &block_int, before, &block_int, &one, here, &block_int));
    PetscCallBLAS("BLAStrsm", BLAStrsm_("L", "L", "N", "N", &rows, &count, &one, l->diagonal + offset, &block_int, here,
                                        &block_int));
    for (PetscInt t = 0; t < n_column; t++) {
      double square = 0.0;

      for (PetscInt i = 0; i < rows; i++) square += PetscSqr(here[i + (size_t)t * BLOCK]);
      explained[t] += scale * square;
    }
    here   = before;
    before = swap;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictNode(FwSpectrum s, const FwNodes *nodes, PetscInt c, double work[])
{
  const Form  *form  = s->data;
  const double order = nodes->order[c];
  const size_t size  = (size_t)s->n_label * s->n;
  double      *alpha = nodes->alpha + c * size, *ones = nodes->ones ? nodes->ones + (size_t)c * s->n : NULL;

  PetscFunctionBegin;
  PetscCall(FactorOrFail(s, nodes->temperature, order));
  PetscCall(PetscArraycpy(alpha, s->w, size));
  PetscCall(SolveLower(&form->factor, s->n_label, alpha));
  PetscCall(SolveUpper(&form->factor, s->n_label, alpha));
  if (ones) {
    PetscCall(PetscArraycpy(ones, s->h, s->n));
    PetscCall(SolveLower(&form->factor, 1, ones));
    PetscCall(SolveUpper(&form->factor, 1, ones));
  }
  if (nodes->latent) FwSpectrumAddPrior(s, nodes->weight[c] * order, nodes->latent);
  for (PetscInt t = 0; t < s->n_test_local && nodes->latent; t += COLUMNS)
    PetscCall(Explain(&form->factor, PetscMin(COLUMNS, s->n_test_local - t), s->test + (size_t)t * s->n,
                      -nodes->weight[c] * order * order, work, nodes->latent + t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Predict(FwSpectrum s, const FwNodes *nodes)
{
  double        *work;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(2 * BLOCK * COLUMNS, &work));
  for (PetscInt c = 0; c < nodes->n && !code; c++) code = PredictNode(s, nodes, c, work);
  PetscCall(PetscFree(work));
  PetscFunctionReturn(code);
}

const FwSpectrumForm fw_spectrum_band = {.bandwidth = BLOCK, .name = "band", FW_SPECTRUM_FUNCTIONS};
