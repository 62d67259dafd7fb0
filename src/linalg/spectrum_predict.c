/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Means and variances at the test examples, for each value of Q by itself; what averages over Q share with them.
 *
 * With z a column of Z, k* = Q z + s^2 h the kernel between a test example and the training examples, c = sigma w.a,
 *
 *     mean     = Q z.alpha + s^2 h.alpha,                   alpha = alpha_0 - c a = A^-1 w,
 *     variance = Q k_** + s^2 - k*.A^-1 k* = [Q k_** - Q^2 z.A_0^-1 z] + s^2 (1 - Q z.a)^2 / (1 + s^2 h.a),
 *
 * where both terms are positive.
 */

#include "spectrum_impl.h"

#include <float.h>
#include <petscblaslapack.h>

static double Dot(PetscInt n, const double x[], const double y[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

void FwSpectrumAddBias(FwSpectrum s, double alpha[], const double ones[], FwBiasSums node[])
{
  const double ones_0 = ones ? Dot(s->n, s->h, ones) : 0.0, shrink = 1.0 / (1.0 + s->bias * ones_0);

  for (PetscInt c = 0; c < s->n_label; c++) {
    const size_t column  = (size_t)c * s->n;
    const double label_0 = ones ? s->factor * Dot(s->n, s->w + column, ones) : 0.0, sigma = s->bias * shrink * label_0;

    for (PetscInt i = 0; i < s->n; i++) alpha[column + i] *= s->factor;
    for (PetscInt i = 0; i < s->n && ones; i++) alpha[column + i] -= sigma * ones[i];
    node[c] = (FwBiasSums){.alpha_sum = label_0 * shrink, .shrink = shrink};
  }
}

/* sum[c][t] = z_t . column_c for this rank's test examples */
static PetscErrorCode MultiplyTest(FwSpectrum s, PetscInt n_column, const double column[], double sum[])
{
  const PetscBLASInt n = s->n, n_test = s->n_test_local, count = n_column, leading = PetscMax(1, n_test);
  const PetscScalar  one = 1.0, zero = 0.0;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &n_test, &count, &n, &one, s->test, &n, column, &n, &zero, sum, &leading));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FillMean(FwSpectrum s, double order, const FwBiasSums *node, const double z_alpha[], double mean[])
{
  for (PetscInt t = 0; t < s->n_test_local; t++) mean[t] = order * z_alpha[t] + s->bias * node->alpha_sum;
}

void FwSpectrumAddPrior(FwSpectrum s, double weight_order, double latent[])
{
  const PetscInt first = PetscMin(s->grid->rank * s->test_block, s->n_test);

  for (PetscInt t = 0; t < s->n_test_local; t++) latent[t] += weight_order * s->test_kernel[first + t];
}

PetscErrorCode FwSpectrumCheckVariance(FwSpectrum s, double order, const double variance[])
{
  const double least = 1000.0 * DBL_EPSILON;
  double       sum = 0.0, prior = 0.0;

  PetscFunctionBegin;
  for (PetscInt t = 0; t < s->n_test; t++) {
    sum += variance[t] / s->n_test;
    prior += order * s->test_kernel[t] / s->n_test;
  }
  PetscCheck(
    s->form->has_modes || sum >= least * prior, FwGridComm(s->grid), FW_ERR_NUMERICAL,
    "the variance of the test examples, %.6g, is round-off beside %.6g of the prior: set a larger temperature or "
    "theory_bandwidth 0",
    sum, prior);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every entry has one owner */
PetscErrorCode FwSpectrumShare(FwSpectrum s, const double local[], double all[])
{
  const PetscInt first = PetscMin(s->grid->rank * s->test_block, s->n_test);

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(all, s->n_test));
  PetscCall(PetscArraycpy(all + first, local, s->n_test_local));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, all, s->n_test, MPI_DOUBLE, MPI_SUM, s->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- each value of Q by itself ------------------------------------------------------------------------------ */

/* Room for one value of Q */
typedef struct {
  double *column, *product; /* [n_label + 1][P], [n_label + 1][n_test_local] of the labels' alpha, then of the ones */
  FwBiasSums *node;         /* [n_label] */
} Single;

/* Means [n_label][n_test_local] and variances of this rank's test examples at one value of Q */
static PetscErrorCode PredictOne(FwSpectrum s, double temperature, double order, Single *work, double mean[],
                                 double variance[])
{
  const double  weight = 1.0;
  const size_t  labels = (size_t)s->n_label * s->n, n_test = (size_t)s->n_test_local;
  const FwNodes nodes = {.temperature = temperature,
                         .n           = 1,
                         .order       = &order,
                         .weight      = &weight,
                         .alpha       = work->column,
                         .ones        = s->bias > 0.0 ? work->column + labels : NULL,
                         .latent      = variance};

  PetscFunctionBegin;
  if (variance) PetscCall(PetscArrayzero(variance, n_test));
  PetscCall(s->form->predict(s, &nodes));
  FwSpectrumAddBias(s, nodes.alpha, nodes.ones, work->node);
  PetscCall(MultiplyTest(s, FwSpectrumVectors(s), work->column, work->product));
  for (PetscInt c = 0; c < s->n_label; c++)
    FillMean(s, order, &work->node[c], work->product + c * n_test, mean + c * n_test);
  for (size_t t = 0; t < n_test && variance && s->bias > 0.0; t++)
    variance[t] +=
      s->bias * work->node[0].shrink * PetscSqr(1.0 - order * work->product[(size_t)s->n_label * n_test + t]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictEach(FwSpectrum s, double temperature, PetscInt n, const double order[], double mean[],
                                  double variance[])
{
  const size_t   n_test = (size_t)s->n_test_local, n_column = (size_t)s->n_label + 1;
  Single         work;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n_column * s->n, &work.column, n_column * n_test, &work.product, s->n_label, &work.node));
  for (PetscInt c = 0; c < n && !code; c++)
    code = PredictOne(s, temperature, order[c], &work, mean + c * s->n_label * n_test,
                      variance ? variance + c * n_test : NULL);
  PetscCall(PetscFree3(work.column, work.product, work.node));
  PetscFunctionReturn(code);
}

PetscErrorCode FwSpectrumPredictEach(FwSpectrum s, double temperature, PetscInt n, const double order[], double mean[],
                                     double variance[])
{
  const size_t   n_test = (size_t)s->n_test_local;
  double        *mean_local, *variance_local;
  PetscErrorCode code;

  PetscFunctionBegin;
  if (!s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumCheckSolvable(s, temperature));
  PetscCall(PetscMalloc2(n * s->n_label * n_test, &mean_local, n * n_test, &variance_local));
  code =
    FwErrorAgreeAny(s->grid->comm, PredictEach(s, temperature, n, order, mean_local, variance ? variance_local : NULL));
  for (PetscInt i = 0; i < n * s->n_label && !code; i++)
    PetscCall(FwSpectrumShare(s, mean_local + i * n_test, mean + (size_t)i * s->n_test));
  for (PetscInt i = 0; i < n && variance && !code; i++) {
    PetscCall(FwSpectrumShare(s, variance_local + i * n_test, variance + (size_t)i * s->n_test));
    code = FwSpectrumCheckVariance(s, order[i], variance + (size_t)i * s->n_test);
  }
  PetscCall(PetscFree2(mean_local, variance_local));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}
