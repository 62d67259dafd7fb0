/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Resolvents of several outputs.
 *
 * The readout bias goes through Sherman and Morrison, for each q_a alone: with C = T + q K, o = C^-1 1 and
 * sigma = s^2 / (1 + s^2 1.o), A^-1 x = C^-1 x - sigma (o.x) o.
 */

#include <finwidth/spectrum_outputs.h>
#include "spectrum_impl.h"

#include <math.h>
#include <petscblaslapack.h>

static const PetscScalar one = 1.0, zero = 0.0;

PetscErrorCode FwOutputsResolventCreate(PetscInt n, FwOutputsResolvent *r)
{
  const size_t square = (size_t)n * n;

  PetscFunctionBegin;
  r->n = n;
  PetscCall(PetscCalloc5(n, &r->fit, n, &r->log_det, n, &r->trace, n, &r->trace_slope, n, &r->trace_bias));
  PetscCall(PetscCalloc3(square, &r->gram, square, &r->residual, square * n, &r->tensor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOutputsResolventDestroy(FwOutputsResolvent *r)
{
  PetscFunctionBegin;
  PetscCall(PetscFree5(r->fit, r->log_det, r->trace, r->trace_slope, r->trace_bias));
  PetscCall(PetscFree3(r->gram, r->residual, r->tensor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for the vectors of one evaluation */
typedef struct {
  double *label, *solved; /* [D][P] z_a, R_a */
  double *product;        /* [D][P] K R_a */
  double *column;         /* [D][P] */
  double *ones;           /* [D][P] o of each a; NULL without a readout bias */
  double *sigma;          /* [D] */
} Work;

static PetscErrorCode CreateWork(FwSpectrum s, PetscInt n, Work *w)
{
  const size_t size = (size_t)n * s->n;

  PetscFunctionBegin;
  w->ones = NULL;
  PetscCall(PetscMalloc5(size, &w->label, size, &w->solved, size, &w->product, size, &w->column, n, &w->sigma));
  if (s->bias > 0.0) PetscCall(PetscMalloc1(size, &w->ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWork(Work *w)
{
  PetscFunctionBegin;
  PetscCall(PetscFree5(w->label, w->solved, w->product, w->column, w->sigma));
  PetscCall(PetscFree(w->ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Dot(PetscInt n, const double x[], const double y[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

/* product <- x^T y for two blocks of D columns */
static PetscErrorCode MultiplyColumns(PetscInt n, PetscInt n_output, const double x[], const double y[],
                                      double product[])
{
  const PetscBLASInt rows = n, count = n_output;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &count, &count, &rows, &one, x, &rows, y, &rows, &zero, product, &count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* z <- factor W V */
static PetscErrorCode CombineLabels(FwSpectrum s, PetscInt n_output, const double vector[], double label[])
{
  const PetscBLASInt rows = s->n, count = n_output;
  const PetscScalar  factor = s->factor;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("N", "N", &rows, &count, &count, &factor, s->w, &rows, vector, &count, &zero, label, &rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* o and sigma of the last factorisation, and what they take from traces and add to log det A */
static PetscErrorCode AddOnes(FwSpectrum s, double order, PetscInt a, FwOutputsLevel level, Work *w,
                              FwOutputsResolvent *r)
{
  double *o = w->ones + (size_t)a * s->n, *x = w->column, *y, slope, sum;

  PetscFunctionBegin;
  PetscCall(PetscArraycpy(o, s->h, s->n));
  PetscCall(s->form->solve(s, 1, o));
  sum         = Dot(s->n, s->h, o);
  w->sigma[a] = s->bias / (1.0 + s->bias * sum);
  r->log_det[a] += log1p(s->bias * sum);
  if (level == FW_OUTPUTS_VALUE) PetscFunctionReturn(PETSC_SUCCESS);
  r->trace_bias[a] = w->sigma[a] * sum;
  PetscCall(s->form->multiply(s, 1, o, x));
  slope = order * Dot(s->n, o, x);
  r->trace[a] -= w->sigma[a] * slope;
  if (level == FW_OUTPUTS_SLOPE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(s->n, &y));
  PetscCall(PetscArraycpy(y, x, s->n));
  PetscCall(s->form->solve(s, 1, y));
  r->trace_slope[a] += w->sigma[a] * (2.0 * order * order * Dot(s->n, x, y) - slope) - PetscSqr(w->sigma[a] * slope);
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x <- A_a^-1 x with the last factorisation, n columns */
static PetscErrorCode Solve(FwSpectrum s, const Work *w, PetscInt a, PetscInt n, double x[])
{
  const double *o = w->ones ? w->ones + (size_t)a * s->n : NULL;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < n && o; c++) { /* before the solve: o.x needs the right-hand side */
    double      *column = x + (size_t)c * s->n;
    const double shift  = w->sigma[a] * Dot(s->n, o, column);

    for (PetscInt i = 0; i < s->n; i++) column[i] -= shift * s->h[i];
  }
  PetscCall(s->form->solve(s, n, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ResolveOne(FwSpectrum s, double temperature, double order, PetscInt a, FwOutputsLevel level,
                                 Work *w, FwOutputsResolvent *r)
{
  const double *z = w->label + (size_t)a * s->n;
  double       *x = w->solved + (size_t)a * s->n;

  PetscFunctionBegin;
  r->trace_bias[a] = 0.0;
  PetscCall(s->form->factor(s, temperature, order, &r->log_det[a]));
  if (level != FW_OUTPUTS_VALUE) PetscCall(s->form->traces(s, &r->trace[a], &r->trace_slope[a]));
  if (w->ones) PetscCall(AddOnes(s, order, a, level, w, r));
  PetscCall(PetscArraycpy(x, z, s->n));
  PetscCall(Solve(s, w, a, 1, x));
  r->fit[a] = Dot(s->n, z, x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillTensor(FwSpectrum s, double temperature, const double order[], Work *w, FwOutputsResolvent *r)
{
  const size_t size = (size_t)r->n * s->n, square = (size_t)r->n * r->n;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < r->n; b++) {
    PetscCall(s->form->factor(s, temperature, order[b], NULL));
    PetscCall(PetscArraycpy(w->column, w->product, size));
    PetscCall(Solve(s, w, b, r->n, w->column));
    PetscCall(MultiplyColumns(s->n, r->n, w->product, w->column, r->tensor + b * square));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumResolveOutputs(FwSpectrum s, double temperature, const double order[], const double vector[],
                                        FwOutputsLevel level, FwOutputsResolvent *r)
{
  Work w;

  PetscFunctionBegin;
  PetscCall(FwSpectrumCheckSolvable(s, temperature));
  PetscCall(CreateWork(s, r->n, &w));
  PetscCall(CombineLabels(s, r->n, vector, w.label));
  for (PetscInt a = 0; a < r->n; a++) PetscCall(ResolveOne(s, temperature, order[a], a, level, &w, r));
  if (level != FW_OUTPUTS_VALUE) {
    PetscCall(s->form->multiply(s, r->n, w.solved, w.product));
    PetscCall(MultiplyColumns(s->n, r->n, w.solved, w.product, r->gram));
    PetscCall(MultiplyColumns(s->n, r->n, w.solved, w.solved, r->residual));
  }
  if (level == FW_OUTPUTS_CURVE) PetscCall(FillTensor(s, temperature, order, &w, r));
  PetscCall(DestroyWork(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}
