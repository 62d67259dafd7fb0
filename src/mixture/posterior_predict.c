/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Means and covariances of the predictions, from what they are given Q.
 *
 * Given Q = O diag(q) O^T the mean is sum_d O_d (O_d . m(q_d)), m_c(q) = q k*^T A^-1 y_c, and the covariance
 * sum_d v(q_d) O_d O_d^T. m and v are computed at points in log q once and interpolated to the nodes. Each rank has a
 * share of the test examples.
 */

#include "posterior_impl.h"

#include <math.h>

static const double panel_width = 1.0; /* as the likelihood's */

/* Points of the panels that the nodes visit, and the weights from there to each eigenvalue */
typedef struct {
  PetscInt  n_point;
  double   *order;  /* [n_point] order parameters of the decomposed kernel */
  PetscInt *start;  /* [n_group * D] the first of its 16 points */
  double   *weight; /* [n_group * D][16] */
} Interpolation;

static PetscErrorCode FillInterpolation(const FwLikelihood *likelihood, const FwNodeSet *nodes, Interpolation *at)
{
  const PetscInt n   = nodes->n_group * nodes->n_output;
  PetscInt       low = PETSC_MAX_INT, high = PETSC_MIN_INT, *first;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &at->start, (size_t)n * FW_PANEL_POINTS, &at->weight));
  for (PetscInt i = 0; i < n; i++) {
    const double place = FwLikelihoodPlace(likelihood, nodes->log_q[i]);

    at->start[i] = FwPanelsFind(0.0, panel_width, place);
    low          = PetscMin(low, at->start[i]);
    high         = PetscMax(high, at->start[i]);
    FwPanelsWeights(0.0, panel_width, place, at->weight + (size_t)i * FW_PANEL_POINTS);
  }
  PetscCall(PetscCalloc1(high - low + 1, &first));
  for (PetscInt i = 0; i < n; i++) first[at->start[i] - low] = 1;
  at->n_point = 0;
  PetscCall(PetscMalloc1((size_t)(high - low + 1) * FW_PANEL_POINTS, &at->order));
  for (PetscInt p = 0; p <= high - low; p++) {
    if (!first[p]) continue;
    FwPanelsPoints(0.0, panel_width, low + p, at->order + at->n_point);
    first[p] = at->n_point;
    at->n_point += FW_PANEL_POINTS;
  }
  for (PetscInt i = 0; i < n; i++) at->start[i] = first[at->start[i] - low];
  for (PetscInt k = 0; k < at->n_point; k++) at->order[k] = exp(at->order[k]);
  PetscCall(PetscFree(first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One test example: its means [n_point][D] and variances [n_point], and room for one group and one node */
typedef struct {
  double *mean, *variance;
  double *m, *v;      /* [D][D] m at each eigenvalue, [D] */
  double *prediction; /* [D] given a node */
} Example;

static void InterpolateGroup(const Interpolation *at, PetscInt n, PetscInt group, Example *e)
{
  for (PetscInt d = 0; d < n; d++) {
    const PetscInt start  = at->start[group * n + d];
    const double  *weight = at->weight + (size_t)(group * n + d) * FW_PANEL_POINTS;

    e->v[d] = 0.0;
    for (PetscInt c = 0; c < n; c++) e->m[d * n + c] = 0.0;
    for (PetscInt k = 0; k < FW_PANEL_POINTS; k++) {
      e->v[d] += weight[k] * e->variance[start + k];
      for (PetscInt c = 0; c < n; c++) e->m[d * n + c] += weight[k] * e->mean[(start + k) * n + c];
    }
  }
}

static void PredictNode(PetscInt n, const double rotation[], Example *e)
{
  for (PetscInt c = 0; c < n; c++) e->prediction[c] = 0.0;
  for (PetscInt d = 0; d < n; d++) {
    double along = 0.0;

    for (PetscInt c = 0; c < n; c++) along += rotation[c * n + d] * e->m[d * n + c];
    for (PetscInt c = 0; c < n; c++) e->prediction[c] += rotation[c * n + d] * along;
  }
}

static void AddNode(PetscInt n, double weight, const double rotation[], const double origin[], const Example *e,
                    double mean[], double between[], double within[])
{
  for (PetscInt c = 0; c < n; c++) {
    const double shifted = e->prediction[c] - origin[c];

    mean[c] += weight * shifted;
    for (PetscInt b = 0; b < n; b++) {
      between[c * n + b] += weight * shifted * (e->prediction[b] - origin[b]);
      for (PetscInt d = 0; d < n; d++)
        within[c * n + b] += weight * e->v[d] * rotation[c * n + d] * rotation[b * n + d];
    }
  }
}

/* Sums about the prediction at one node: what does not depend on Q leaves no round-off in the covariance */
static void AverageExample(const FwNodeSet *nodes, const Interpolation *at, Example *e, double origin[], double mean[],
                           double covariance[], double within[])
{
  const PetscInt n = nodes->n_output;

  InterpolateGroup(at, n, 0, e);
  PredictNode(n, nodes->rotation, e);
  for (PetscInt c = 0; c < n; c++) origin[c] = e->prediction[c];
  for (PetscInt group = 0; group < nodes->n_group; group++) {
    InterpolateGroup(at, n, group, e);
    for (PetscInt i = nodes->first[group]; i < nodes->first[group + 1]; i++) {
      const double *rotation = nodes->rotation + (size_t)i * n * n;

      PredictNode(n, rotation, e);
      AddNode(n, nodes->weight[i], rotation, origin, e, mean, covariance, within);
    }
  }
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt b = 0; b < n; b++) covariance[c * n + b] += within[c * n + b] - mean[c] * mean[b];
  for (PetscInt c = 0; c < n; c++) mean[c] += origin[c];
}

/* The predictions for test example t out of those for all, [n_point][D][P_t] and [n_point][P_t] */
static void TakeExample(const Interpolation *at, PetscInt n, PetscInt n_test, PetscInt t, const double mean[],
                        const double variance[], Example *e)
{
  for (PetscInt k = 0; k < at->n_point; k++) {
    e->variance[k] = variance[(size_t)k * n_test + t];
    for (PetscInt c = 0; c < n; c++) e->mean[k * n + c] = mean[(size_t)(k * n + c) * n_test + t];
  }
}

static PetscErrorCode CreateExample(const Interpolation *at, PetscInt n, Example *e)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc5((size_t)at->n_point * n, &e->mean, at->n_point, &e->variance, n * n, &e->m, n, &e->v, n,
                         &e->prediction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyExample(Example *e)
{
  PetscFunctionBegin;
  PetscCall(PetscFree5(e->mean, e->variance, e->m, e->v, e->prediction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Test examples first to last - 1 */
static PetscErrorCode AverageShare(const FwNodeSet *nodes, const Interpolation *at, PetscInt first, PetscInt last,
                                   const double mean[], const double variance[], FwMixturePosterior *posterior)
{
  const PetscInt n = nodes->n_output;
  double        *origin;
  Example        e;

  PetscFunctionBegin;
  PetscCall(CreateExample(at, n, &e));
  PetscCall(PetscMalloc1(n, &origin));
  for (PetscInt t = first; t < last; t++) {
    TakeExample(at, n, posterior->n_test, t, mean, variance, &e);
    AverageExample(nodes, at, &e, origin, posterior->mean + (size_t)t * n, posterior->covariance + (size_t)t * n * n,
                   posterior->within + (size_t)t * n * n);
  }
  PetscCall(PetscFree(origin));
  PetscCall(DestroyExample(&e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what sampling leaves open of test errors --------------------------------------------------------------- */

/* What the nodes of groups first to last - 1 add to the test error of an example, and to first order to its bias: the error
   E |f - y|^2 is a mean over the nodes, the bias |E f - y|^2 is not */
static void AddShares(const FwNodeSet *nodes, const Interpolation *at, PetscInt first, PetscInt last, Example *e,
                      const double mean[], const double target[], double error[], double bias[])
{
  const PetscInt n = nodes->n_output;

  for (PetscInt group = first; group < last; group++) {
    InterpolateGroup(at, n, group, e);
    for (PetscInt i = nodes->first[group]; i < nodes->first[group + 1]; i++) {
      PredictNode(n, nodes->rotation + (size_t)i * n * n, e);
      for (PetscInt c = 0; c < n; c++) {
        error[i] += PetscSqr(e->prediction[c] - target[c]) + e->v[c]; /* v: their sum is the trace of the covariance */
        bias[i] += 2.0 * (mean[c] - target[c]) * (e->prediction[c] - mean[c]);
      }
    }
  }
}

/* Deviation of a mean over nodes: of what they differ in, over the root of the effective samples */
static double Deviation(const FwNodeSet *nodes, const double value[], double effective)
{
  double mean = 0.0, square = 0.0;

  for (PetscInt i = 0; i < nodes->n_node; i++) mean += nodes->weight[i] * value[i];
  for (PetscInt i = 0; i < nodes->n_node; i++) square += nodes->weight[i] * PetscSqr(value[i] - mean);
  return sqrt(square / effective);
}

/* Each rank has a share of the nodes, so that the sums over test examples do not depend on the number of ranks */
static PetscErrorCode FindTestErrors(MPI_Comm comm, const FwNodeSet *nodes, const Interpolation *at,
                                     const double mean[], const double variance[], const double target[],
                                     FwMixturePosterior *p)
{
  const PetscInt n = nodes->n_output, n_group = nodes->n_group;
  const double   norm = (double)p->n_test * n, effective = p->effective_sample_size;
  PetscMPIInt    rank, size, n_sum;
  PetscInt       share;
  double        *error, *bias;
  Example        e;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscMPIIntCast(2 * nodes->n_node, &n_sum));
  PetscCall(PetscCalloc1(n_sum, &error));
  PetscCall(CreateExample(at, n, &e));
  bias  = error + nodes->n_node;
  share = (n_group + size - 1) / size;
  for (PetscInt t = 0; t < p->n_test; t++) {
    TakeExample(at, n, p->n_test, t, mean, variance, &e);
    AddShares(nodes, at, PetscMin(rank * share, n_group), PetscMin((rank + 1) * share, n_group), &e,
              p->mean + (size_t)t * n, target + (size_t)t * n, error, bias);
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, error, n_sum, MPI_DOUBLE, MPI_SUM, comm)); /* each entry is one rank's */
  p->test_error_error = Deviation(nodes, error, effective) / norm;
  p->test_bias_error  = Deviation(nodes, bias, effective) / norm;
  for (PetscInt i = 0; i < nodes->n_node; i++) error[i] -= bias[i];
  p->test_variance_error = Deviation(nodes, error, effective) / norm;
  PetscCall(DestroyExample(&e));
  PetscCall(PetscFree(error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

PetscErrorCode FwPosteriorPredict(MPI_Comm comm, const FwLikelihood *likelihood, const FwNodeSet *nodes,
                                  const double target[], FwMixturePosterior *posterior)
{
  const PetscInt n = nodes->n_output, n_test = posterior->n_test;
  PetscMPIInt    rank, size;
  PetscInt       share;
  Interpolation  at;
  double        *mean, *variance;

  PetscFunctionBegin;
  posterior->test_error_error = posterior->test_bias_error = posterior->test_variance_error = target ? 0.0 : NAN;
  if (!n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  share = (n_test + size - 1) / size;
  PetscCall(FillInterpolation(likelihood, nodes, &at));
  PetscCall(PetscMalloc2((size_t)at.n_point * n * n_test, &mean, (size_t)at.n_point * n_test, &variance));
  PetscCall(FwSpectrumPredictEach(likelihood->spectrum, likelihood->temperature, at.n_point, at.order, mean, variance));
  PetscCall(AverageShare(nodes, &at, PetscMin(rank * share, n_test), PetscMin((rank + 1) * share, n_test), mean,
                         variance, posterior));
  /* each entry is one rank's, zero elsewhere */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, posterior->mean, n_test * n, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, posterior->covariance, n_test * n * n, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, posterior->within, n_test * n * n, MPI_DOUBLE, MPI_SUM, comm));
  if (target && !isnan(posterior->effective_sample_size))
    PetscCall(FindTestErrors(comm, nodes, &at, mean, variance, target, posterior));
  PetscCall(PetscFree2(mean, variance));
  PetscCall(PetscFree2(at.start, at.weight));
  PetscCall(PetscFree(at.order));
  PetscFunctionReturn(PETSC_SUCCESS);
}
