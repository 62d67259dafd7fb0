/** @file
 * Means and variances at the test examples, averaged over values of Q.
 *
 * With z a column of Z, k* = Q z + s^2 h the kernel between a test example and the training examples, c = sigma w.a,
 *
 *     mean     = Q z.alpha + s^2 h.alpha,                   alpha = alpha_0 - c a = A^-1 w,
 *     variance = Q k_** + s^2 - k*.A^-1 k*.
 */

#include "spectrum_impl.h"

#include <petscblaslapack.h>

/* What one value of Q adds to a test example, beside z.A_0^-1 z */
typedef struct {
  double alpha_sum; /* h.A^-1 w, for a readout bias */
  double ones_sum;  /* h.A^-1 h */
} Node;

static double Dot(PetscInt n, const double x[], const double y[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

/* From A_0^-1 w and A_0^-1 h to A^-1 w and A^-1 h, in place */
static Node AddBias(FwSpectrum s, double alpha[], double ones[])
{
  const double ones_0 = Dot(s->n, s->h, ones), label_0 = s->factor * Dot(s->n, s->w, ones);
  const double shrink = 1.0 / (1.0 + s->bias * ones_0), c = s->bias * shrink * label_0;

  for (PetscInt i = 0; i < s->n; i++) {
    alpha[i] = s->factor * alpha[i] - c * ones[i];
    ones[i] *= shrink;
  }
  return (Node){.alpha_sum = label_0 - c * ones_0, .ones_sum = ones_0 * shrink};
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

/* Means at one node, and its part of the averages. k*.A^-1 k* = Q^2 z.A_0^-1 z [taken off elsewhere] - Q^2 sigma
   (z.a)^2 + 2 s^2 Q z.A^-1 h + s^4 h.A^-1 h, and sigma (z.a)^2 = (z.A^-1 h)^2 s^2 / (1 - s^2 h.A^-1 h). */
static void AddNode(FwSpectrum s, double order, double weight, const Node *node, const double z_alpha[],
                    const double z_ones[], double mean[], double average[], double within[])
{
  const PetscInt first = s->grid->rank * s->test_block;
  const double   bias = s->bias, gain = bias / (1.0 - bias * node->ones_sum);

  for (PetscInt t = 0; t < s->n_test_local; t++) {
    mean[t] = order * z_alpha[t] + bias * node->alpha_sum;
    average[t] += weight * mean[t];
    within[t] += weight * (order * s->test_kernel[first + t] + bias);
    if (bias > 0.0)
      within[t] -=
        weight * (2.0 * bias * order * z_ones[t] + bias * bias * node->ones_sum - gain * PetscSqr(order * z_ones[t]));
  }
}

/* Between-node variance in a second pass over the kept means: no cancellation of large squares */
static void AddBetween(PetscInt n_test, PetscInt n, const double weight[], const double mean[], const double average[],
                       double between[])
{
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt t = 0; t < n_test; t++) between[t] += weight[c] * PetscSqr(mean[t + (size_t)c * n_test] - average[t]);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

/* Room for all nodes; the averages of this rank's test examples come last */
typedef struct {
  PetscInt n_column;                               /* n, or twice that where there is a readout bias */
  double  *column;                                 /* [n_column][P] alpha of each node, then ones */
  double  *product, *mean;                         /* [n_column][n_test_local], [n][n_test_local] */
  double  *average, *within, *between, *explained; /* [n_test_local] each */
  Node    *node;                                   /* [n] */
} Work;

static PetscErrorCode CreateWork(FwSpectrum s, PetscInt n, Work *work)
{
  const size_t n_test = (size_t)s->n_test_local;

  PetscFunctionBegin;
  work->n_column = s->bias > 0.0 ? 2 * n : n;
  PetscCall(PetscCalloc4((size_t)work->n_column * s->n, &work->column, work->n_column * n_test, &work->product,
                         n * n_test, &work->mean, n, &work->node));
  PetscCall(
    PetscCalloc4(n_test, &work->average, n_test, &work->within, n_test, &work->between, n_test, &work->explained));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWork(Work *work)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(work->column, work->product, work->mean, work->node));
  PetscCall(PetscFree4(work->average, work->within, work->between, work->explained));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AverageLocal(FwSpectrum s, const FwNodes *nodes, Work *work)
{
  const PetscInt n      = nodes->n;
  const size_t   n_test = (size_t)s->n_test_local;

  PetscFunctionBegin;
  PetscCall(s->form->predict(s, nodes));
  for (PetscInt c = 0; c < n; c++) {
    double *alpha = nodes->alpha + (size_t)c * s->n, *ones = nodes->ones ? nodes->ones + (size_t)c * s->n : NULL;

    if (ones) work->node[c] = AddBias(s, alpha, ones);
    for (PetscInt i = 0; i < s->n && !ones; i++) alpha[i] *= s->factor;
  }
  PetscCall(MultiplyTest(s, work->n_column, work->column, work->product));
  for (PetscInt c = 0; c < n; c++)
    AddNode(s, nodes->order[c], nodes->weight[c], &work->node[c], work->product + c * n_test,
            nodes->ones ? work->product + (n + c) * n_test : NULL, work->mean + c * n_test, work->average,
            work->within);
  for (size_t t = 0; t < n_test; t++) work->within[t] -= work->explained[t];
  AddBetween(s->n_test_local, n, nodes->weight, work->mean, work->average, work->between);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank's share to all; every entry has one owner */
static PetscErrorCode Share(FwSpectrum s, const double local[], double all[])
{
  const PetscInt first = PetscMin(s->grid->rank * s->test_block, s->n_test);

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(all, s->n_test));
  PetscCall(PetscArraycpy(all + first, local, s->n_test_local));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, all, s->n_test, MPI_DOUBLE, MPI_SUM, s->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumPredict(FwSpectrum s, double temperature, PetscInt n, const double order[],
                                 const double weight[], FwPosterior *posterior)
{
  Work    work  = {0};
  FwNodes nodes = {.temperature = temperature, .n = n, .order = order, .weight = weight};

  PetscFunctionBegin;
  if (!s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumCheckSolvable(s, temperature));
  PetscCall(CreateWork(s, n, &work));
  nodes.alpha     = work.column;
  nodes.ones      = s->bias > 0.0 ? work.column + (size_t)n * s->n : NULL;
  nodes.explained = posterior->within ? work.explained : NULL;
  PetscCall(FwErrorAgreeAny(s->grid->comm, AverageLocal(s, &nodes, &work)));
  PetscCall(Share(s, work.average, posterior->mean));
  if (posterior->within) PetscCall(Share(s, work.within, posterior->within));
  if (posterior->between) PetscCall(Share(s, work.between, posterior->between));
  PetscCall(DestroyWork(&work));
  PetscFunctionReturn(PETSC_SUCCESS);
}
