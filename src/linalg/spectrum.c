/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A spectrum: its life, and the readout bias on top of what a bandwidth's form computes.
 *
 * The bias enters through Sherman and Morrison: with A_0 = T + Q B, a = A_0^-1 h and sigma = s^2 / (1 + s^2 h.a),
 * A^-1 = A_0^-1 - sigma a a^T.
 */

#include "slabs.h"
#include "spectrum_impl.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { N_SUMS = 5, N_LABEL_FORMS = 6, N_FORM = N_SUMS + N_LABEL_FORMS }; /* matrices that one (T, Q) takes */

static const FwSpectrumForm *const all_forms[] = {&fw_spectrum_eigen, &fw_spectrum_tridiagonal, &fw_spectrum_band};

const FwSpectrumForm *FwSpectrumFindForm(PetscInt bandwidth)
{
  for (size_t i = 0; i < sizeof all_forms / sizeof *all_forms; i++)
    if (all_forms[i]->bandwidth == bandwidth) return all_forms[i];
  return NULL;
}

/* --- making it ---------------------------------------------------------------------------------------------- */

typedef struct {
  FwMatrix matrix;
  double   trace, square;
} Invariants;

static PetscErrorCode AddStrip(const FwStrip *strip, void *context)
{
  Invariants    *sum         = context;
  const PetscInt is_diagonal = FwMatrixRow(sum->matrix, strip->first) == strip->column;
  double         square      = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = is_diagonal; i < strip->n; i++) square += strip->value[i] * strip->value[i];
  sum->square += 2.0 * square;
  if (is_diagonal) {
    sum->trace += strip->value[0];
    sum->square += strip->value[0] * strip->value[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixInvariants(FwMatrix a, double *trace, double *square)
{
  Invariants sum = {.matrix = a};
  double     both[2];

  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(a, FW_LOWER, AddStrip, &sum));
  both[0] = sum.trace;
  both[1] = sum.square;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, both, 2, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  *trace  = both[0];
  *square = both[1];
  /* LAPACK hangs or returns garbage on a NaN: look first */
  PetscCheck(isfinite(*square), a->grid->comm, FW_ERR_NUMERICAL, "the kernel matrix holds a NaN or an infinite entry");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumMake(FwGrid grid, PetscInt n, const FwSpectrumForm *form, FwSpectrum *spectrum)
{
  FwSpectrum s;

  PetscFunctionBegin;
  PetscCall(PetscNew(&s));
  s->form   = form;
  s->grid   = grid;
  s->n      = n;
  s->factor = 1.0;
  PetscCall(FwSpectrumAllocateLabels(s, 1));
  *spectrum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ScaLAPACK can return garbage without an error: this is for free */
PetscErrorCode FwSpectrumCheckInvariants(FwSpectrum s, const double after[2])
{
  const double lost =
    PetscMax(fabs(after[0] - s->trace) / sqrt(s->square * s->n), fabs(after[1] - s->square) / s->square);

  PetscFunctionBegin;
  PetscCheck(s->square <= 0.0 || lost <= 1e-10, FwGridComm(s->grid), PETSC_ERR_LIB,
             "the decomposition of the kernel lost %.6g of its trace or norm", lost);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumCreateKept(FwMatrix *kernel, PetscInt bandwidth, const FwSpectrumKeep *keep,
                                    FwSpectrum *spectrum)
{
  const FwSpectrumForm *form = FwSpectrumFindForm(bandwidth);
  FwGrid                grid = FwMatrixGrid(*kernel);
  FwSpectrum            s;
  double                after[2];
  PetscErrorCode        code;

  PetscFunctionBegin;
  PetscCheck(form, FwGridComm(grid), PETSC_ERR_ARG_OUTOFRANGE,
             "there is no spectrum of bandwidth %" PetscInt_FMT ": 64, 1 or 0", bandwidth);
  PetscCall(FwSpectrumMake(grid, (*kernel)->n, form, &s));
  code = FwMatrixInvariants(*kernel, &s->trace, &s->square);
  if (code) { /* the caller may go on with other kernels */
    PetscCall(FwMatrixDestroy(kernel));
    PetscCall(FwSpectrumDestroy(&s));
    PetscFunctionReturn(code);
  }
  PetscCall(form->reduce(s, kernel, keep, after));
  PetscCall(FwSpectrumCheckInvariants(s, after));
  *spectrum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumCreate(FwMatrix *kernel, PetscInt bandwidth, FwSpectrum *spectrum)
{
  PetscFunctionBegin;
  PetscCall(FwSpectrumCreateKept(kernel, bandwidth, NULL, spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumGetBandwidth(FwSpectrum s, PetscInt *bandwidth)
{
  PetscFunctionBegin;
  *bandwidth = s->form->bandwidth;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumFreeze(FwSpectrum s)
{
  PetscFunctionBegin;
  if (!s->is_frozen && s->data) PetscCall(s->form->freeze(s));
  s->is_frozen = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumDestroy(FwSpectrum *spectrum)
{
  FwSpectrum s = *spectrum;

  PetscFunctionBegin;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumFreeze(s));
  if (s->data) PetscCall(s->form->destroy(s));
  free(s->test);
  PetscCall(PetscFree(s->test_kernel));
  PetscCall(PetscFree(s->outside));
  PetscCall(PetscFree3(s->w, s->work, s->unseen));
  PetscCall(PetscFree(*spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- labels ------------------------------------------------------------------------------------------------- */

static PetscErrorCode CheckNotFrozen(FwSpectrum s)
{
  PetscFunctionBegin;
  PetscCheck(!s->is_frozen, FwGridComm(s->grid), PETSC_ERR_ORDER,
             "labels and test examples have to be set before the spectrum is frozen");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumAllocateLabels(FwSpectrum s, PetscInt n_label)
{
  const size_t forms = (size_t)(n_label + 1) * (size_t)(n_label + 1);

  PetscFunctionBegin;
  PetscCall(PetscFree3(s->w, s->work, s->unseen));
  PetscCall(PetscCalloc3((size_t)(n_label + 1) * s->n, &s->w, N_FORM * forms, &s->work, forms, &s->unseen));
  s->h       = s->w + (size_t)n_label * s->n;
  s->n_label = n_label;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rotation keeps lengths */
static PetscErrorCode CheckRotation(FwSpectrum s, const double y[])
{
  double before = 0.0, after = 0.0, ones = 0.0;

  PetscFunctionBegin;
  for (size_t i = 0; i < (size_t)s->n_label * s->n; i++) {
    before += y[i] * y[i];
    after += s->w[i] * s->w[i];
  }
  for (PetscInt i = 0; i < s->n; i++) ones += s->h[i] * s->h[i];
  PetscCheck(isfinite(before), FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the labels are so large that their squares are beyond the range of doubles");
  PetscCheck(fabs(after - before) <= 1e-10 * before + DBL_MIN && fabs(ones - s->n) <= 1e-10 * s->n, FwGridComm(s->grid),
             PETSC_ERR_LIB, "ScaLAPACK returned a rotation that is not orthogonal (%.6g)", fabs(ones - s->n) / s->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels and ones that lie in the range of the kernel: what round-off leaves of them in modes that are zero would be
   divided by T */
static void ClearUnseen(FwSpectrum s)
{
  const PetscInt n_zero = s->n - s->rank;
  const double   least  = 8.0 * s->n * DBL_EPSILON;

  for (PetscInt v = 0; v <= s->n_label; v++) {
    double *x = s->w + (size_t)v * s->n, zero = 0.0, all = 0.0;

    for (PetscInt i = 0; i < n_zero; i++) zero += x[i] * x[i];
    for (PetscInt i = 0; i < s->n; i++) all += x[i] * x[i];
    for (PetscInt i = 0; i < n_zero && zero <= least * least * all; i++) x[i] = 0.0;
  }
}

void FwSpectrumSumUnseen(FwSpectrum s)
{
  for (PetscInt a = 0; a <= s->n_label; a++)
    for (PetscInt b = 0; b <= s->n_label; b++) {
      const double *left = s->w + (size_t)a * s->n, *right = s->w + (size_t)b * s->n;
      double        sum = 0.0;

      for (PetscInt i = 0; i < s->n - s->rank; i++) sum += left[i] * right[i];
      s->unseen[a * (s->n_label + 1) + b] = sum;
    }
}

PetscErrorCode FwSpectrumSetLabels(FwSpectrum s, PetscInt n_label, const double y[], double bias)
{
  FwMatrix x;

  PetscFunctionBegin;
  PetscCall(CheckNotFrozen(s));
  PetscCall(FwSpectrumAllocateLabels(s, n_label));
  PetscCall(PetscArraycpy(s->w, y, (size_t)n_label * s->n));
  for (PetscInt i = 0; i < s->n; i++) s->h[i] = 1.0;
  PetscCall(FwMatrixCreateFromCopy(s->grid, s->n, n_label + 1, s->w, &x));
  PetscCall(s->form->rotate(s, &x));
  PetscCall(FwMatrixGather(x, s->w)); /* each entry has one owner: the same bits on every rank */
  PetscCall(FwMatrixDestroy(&x));
  PetscCall(CheckRotation(s, y));
  ClearUnseen(s);
  s->label2 = 0.0;
  for (size_t i = 0; i < (size_t)n_label * s->n; i++) s->label2 += s->w[i] * s->w[i];
  FwSpectrumSumUnseen(s);
  PetscCall(s->form->inverse(s, &s->fit));
  PetscCall(FwSpectrumScaleLabels(s, 1.0, bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumScaleLabels(FwSpectrum s, double factor, double bias)
{
  PetscFunctionBegin;
  s->factor = factor;
  s->bias   = bias;
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwGrid FwSpectrumGrid(FwSpectrum s)
{
  return s->grid;
}

PetscErrorCode FwSpectrumGetBounds(FwSpectrum s, FwSpectrumBounds *bounds)
{
  const double f2 = s->factor * s->factor;

  PetscFunctionBegin;
  *bounds = (FwSpectrumBounds){.n_label = s->n_label,
                               .n_test  = s->n_test,
                               .n       = s->n,
                               .rank    = s->rank,
                               .trace   = s->trace,
                               .label2  = f2 * s->label2,
                               .inverse = f2 > 0.0 ? f2 * s->fit : 0.0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- test examples ------------------------------------------------------------------------------------------ */

void FwSpectrumShareTest(FwSpectrum s, PetscInt n_test)
{
  PetscInt first;

  s->n_test       = n_test;
  s->test_block   = (n_test + s->grid->size - 1) / s->grid->size;
  first           = PetscMin(s->grid->rank * s->test_block, n_test);
  s->n_test_local = PetscMin(s->test_block, n_test - first);
}

static PetscErrorCode CheckLengths(FwSpectrum s, PetscInt n, const double before[], const double after[])
{
  PetscFunctionBegin;
  for (PetscInt t = 0; t < n; t++)
    PetscCheck(fabs(after[t] - before[t]) <= 1e-10 * before[t], FwGridComm(s->grid), PETSC_ERR_LIB,
               "ScaLAPACK returned a rotation that is not orthogonal at test example %" PetscInt_FMT, t);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x <- U^T x */
static PetscErrorCode RotateTest(FwSpectrum s, FwMatrix *x)
{
  double *weight, *before, *after;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(s->n, &weight, s->n_test, &before, s->n_test, &after));
  for (PetscInt i = 0; i < s->n; i++) weight[i] = 1.0;
  PetscCall(FwMatrixColumnSums(*x, 2, 1, weight, before));
  PetscCall(s->form->rotate(s, x));
  PetscCall(FwMatrixColumnSums(*x, 2, 1, weight, after));
  PetscCall(CheckLengths(s, s->n_test, before, after));
  PetscCall(PetscFree3(weight, before, after));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumAllocateTest(FwSpectrum s)
{
  int ok;

  PetscFunctionBegin;
  s->test = malloc(PetscMax((size_t)s->n_test_local * (size_t)s->n, 1) * sizeof *s->test);
  ok      = s->test != NULL;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, s->grid->comm));
  PetscCheck(ok, s->grid->comm, FW_ERR_MEMORY, "no memory for %" PetscInt_FMT " test examples on each of %d ranks",
             s->test_block, s->grid->size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From blocks to whole columns; one rank has them already */
static PetscErrorCode MoveToColumns(FwSpectrum s, FwMatrix x)
{
  PetscFunctionBegin;
  if (s->grid->size == 1) {
    s->test  = x->value;
    x->value = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwSpectrumAllocateTest(s));
  PetscCall(FwSlabsMove(PETSC_FALSE, x, s->test_block, s->test, s->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A test example lies in the range of the kernel: what round-off leaves of it in modes without an eigenvalue, the first
   ones, would be divided by T */
static PetscErrorCode ClearNullModes(FwSpectrum s)
{
  PetscFunctionBegin;
  if (s->form->has_modes)
    for (PetscInt t = 0; t < s->n_test_local; t++)
      PetscCall(PetscArrayzero(s->test + (size_t)t * (size_t)s->n, s->n - s->rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumSplitTest(FwSpectrum s)
{
  PetscFunctionBegin;
  if (!s->form->split) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(s->outside));
  PetscCall(PetscMalloc1(s->n_test_local, &s->outside));
  s->form->split(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumSetTest(FwSpectrum s, FwMatrix *cross, const double diagonal[])
{
  PetscFunctionBegin;
  PetscCall(CheckNotFrozen(s));
  free(s->test);
  s->test = NULL;
  PetscCall(PetscFree(s->test_kernel));
  FwSpectrumShareTest(s, (*cross)->n);
  PetscCall(PetscMalloc1(s->n_test, &s->test_kernel));
  PetscCall(PetscArraycpy(s->test_kernel, diagonal, s->n_test));
  if (s->n_test) {
    PetscCall(RotateTest(s, cross));
    PetscCall(MoveToColumns(s, *cross));
    PetscCall(ClearNullModes(s));
  }
  PetscCall(FwSpectrumSplitTest(s));
  PetscCall(FwMatrixDestroy(cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one (T, Q) --------------------------------------------------------------------------------------------- */

PetscInt FwSpectrumVectors(FwSpectrum s)
{
  return s->bias > 0.0 ? s->n_label + 1 : s->n_label;
}

void FwSumPairs(PetscInt n, PetscInt n_vector, const double x[], const double y[], double pair[])
{
  for (PetscInt a = 0; a < n_vector; a++)
    for (PetscInt b = a; b < n_vector; b++) {
      const double *left = x + (size_t)a * n, *right = y + (size_t)b * n;
      double        sum = 0.0;

      for (PetscInt i = 0; i < n; i++) sum += left[i] * right[i];
      pair[a * n_vector + b] = pair[b * n_vector + a] = sum;
    }
}

PetscErrorCode FwSpectrumCheckSolvable(FwSpectrum s, double temperature)
{
  PetscFunctionBegin;
  PetscCheck(temperature > 0.0 || !s->is_singular, FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel is singular (rank %" PetscInt_FMT " of %" PetscInt_FMT
             "): there is no solution at T = 0, set a temperature > 0",
             s->rank, s->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x.x' / T in the modes that are zero: at T = 0 there are none */
static double Unseen(FwSpectrum s, double temperature, PetscInt a, PetscInt b)
{
  return s->rank < s->n ? s->unseen[a * (s->n_label + 1) + b] / temperature : 0.0;
}

/* Take the modes that are zero into the sums of all vectors; `above` is what fit was without them */
static void AddUnseen(FwSpectrum s, double temperature, FwSums *b, double above[])
{
  const PetscInt n_vector = FwSpectrumVectors(s);

  for (PetscInt i = 0; i < n_vector; i++)
    for (PetscInt j = 0; j < n_vector; j++) {
      const PetscInt at     = i * n_vector + j;
      const double   unseen = Unseen(s, temperature, i, j);

      above[at] = b->fit[at];
      if (s->rank == s->n) continue;
      b->fit[at] += unseen;
      b->square[at] += unseen / temperature;
    }
}

/* Forms of the labels without the readout bias, out of those of all vectors */
static void CopyForms(FwSpectrum s, double temperature, const FwSums *b, const double above[], FwLabelForms *forms)
{
  const PetscInt n = s->n_label, n_vector = FwSpectrumVectors(s);
  const double   f2 = s->factor * s->factor;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      const PetscInt from = i * n_vector + j, to = i * n + j;

      forms->fit[to]       = f2 * b->fit[from];
      forms->fit_slope[to] = f2 * b->slope[from];
      forms->fit_curve[to] = f2 * b->curve[from];
      forms->residual2[to] = f2 * b->square[from];
      forms->fit_least[to] = f2 * Unseen(s, temperature, i, j);
      forms->fit_above[to] = f2 * above[from];
    }
}

/* With X_i = 1.y_i / T in the modes that are zero, H = 1.1 / T there and f the forms of the others, c_i = sigma (X_i + f_ih):
   what the bias takes off y_i^T A^-1 y_j goes to s^2 X_i X_j / (1 + s^2 H) as Q -> infinity */
static void AddBiasToLimit(FwSpectrum s, double temperature, double sigma, const double above[], FwLabelForms *forms)
{
  const PetscInt n = s->n_label, h = n * (n + 1);
  const double   f2 = s->factor * s->factor, ones = above[h + n], share = 1.0 + s->bias * Unseen(s, temperature, n, n);

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      const double x = Unseen(s, temperature, n, i), y = Unseen(s, temperature, n, j);

      forms->fit_least[i * n + j] -= f2 * s->bias * x * y / share;
      forms->fit_above[i * n + j] -= f2 * sigma * (above[h + i] * above[h + j] + x * above[h + j] + y * above[h + i]);
      forms->fit_above[i * n + j] += f2 * sigma * x * y * s->bias * ones / share;
    }
}

/* alpha = alpha_0 - c a with c = sigma y.a; everything is that of A_0 plus the rank-one terms */
static void AddBias(FwSpectrum s, double temperature, const FwSums *b, const double above[], FwResolvent *r,
                    FwLabelForms *forms)
{
  const PetscInt n = s->n_label, h = n * (n + 1), hh = h + n; /* the row of the ones, and its last entry */
  const double   sigma = s->bias / (1.0 + s->bias * b->fit[hh]), f = s->factor;

  r->trace -= sigma * b->slope[hh];
  r->trace_slope += -sigma * b->slope[hh] + 2.0 * sigma * b->curve[hh] - PetscSqr(sigma * b->slope[hh]);
  r->trace_bias = sigma * b->fit[hh];
  r->log_det += log1p(s->bias * b->fit[hh]);
  AddBiasToLimit(s, temperature, sigma, above, forms);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      const double   c_i = sigma * f * b->fit[h + i], c_j = sigma * f * b->fit[h + j];
      const double   dot_i = f * b->slope[h + i] - c_i * b->slope[hh]; /* a.QB.alpha_i */
      const double   dot_j = f * b->slope[h + j] - c_j * b->slope[hh];
      const PetscInt to    = i * n + j;

      forms->fit[to] -= c_i * f * b->fit[h + j];
      forms->fit_slope[to] += -f * (c_i * b->slope[h + j] + c_j * b->slope[h + i]) + c_i * c_j * b->slope[hh];
      forms->fit_curve[to] +=
        -f * (c_i * b->curve[h + j] + c_j * b->curve[h + i]) + c_i * c_j * b->curve[hh] - sigma * dot_i * dot_j;
      forms->residual2[to] += -f * (c_i * b->square[h + j] + c_j * b->square[h + i]) + c_i * c_j * b->square[hh];
    }
}

PetscErrorCode FwSpectrumResolveForms(FwSpectrum s, double temperature, double order, PetscBool with_log_det,
                                      FwResolvent *r, FwLabelForms *forms)
{
  const size_t size  = (size_t)(s->n_label + 1) * (size_t)(s->n_label + 1);
  double      *above = s->work + 4 * size;
  FwSums sums = {.fit = s->work, .slope = s->work + size, .curve = s->work + 2 * size, .square = s->work + 3 * size};

  PetscFunctionBegin;
  PetscCall(FwSpectrumCheckSolvable(s, temperature));
  PetscCall(s->form->sum(s, temperature, order, with_log_det, &sums));
  *r = (FwResolvent){.trace = sums.trace, .trace_slope = sums.trace_slope, .log_det = sums.log_det};
  AddUnseen(s, temperature, &sums, above);
  CopyForms(s, temperature, &sums, above, forms);
  if (s->bias > 0.0) AddBias(s, temperature, &sums, above, r, forms);
  for (PetscInt i = 0; i < s->n_label * s->n_label; i += s->n_label + 1) {
    r->fit += forms->fit[i];
    r->fit_slope += forms->fit_slope[i];
    r->fit_curve += forms->fit_curve[i];
    r->residual2 += forms->residual2[i];
    r->fit_least += forms->fit_least[i];
    r->fit_above += forms->fit_above[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumResolve(FwSpectrum s, double temperature, double order, PetscBool with_log_det, FwResolvent *r)
{
  const size_t size  = (size_t)(s->n_label + 1) * (size_t)(s->n_label + 1);
  double      *room  = s->work + N_SUMS * size;
  FwLabelForms forms = {.fit       = room,
                        .fit_slope = room + size,
                        .fit_curve = room + 2 * size,
                        .residual2 = room + 3 * size,
                        .fit_least = room + 4 * size,
                        .fit_above = room + 5 * size};

  PetscFunctionBegin;
  PetscCall(FwSpectrumResolveForms(s, temperature, order, with_log_det, r, &forms));
  PetscFunctionReturn(PETSC_SUCCESS);
}
