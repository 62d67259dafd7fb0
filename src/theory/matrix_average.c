/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Weighted draws of the matrix of order parameters.
 *
 * H is packed, m = D (D + 1) / 2 numbers. Lebesgue's measure in these and that of the packed Q differ by the product over
 * a <= b of Phi_ab.
 */

#include <finwidth/matrix_average.h>
#include "symmetric.h"

#include <finwidth/random.h>

#include <math.h>

enum {
  FREEDOM_LEAST = 10
}; /* of Student's distribution; more where there are many numbers, or their length scatters */

/* Where the draws come from */
typedef struct {
  FwMatrixAction action;
  PetscInt       n_output, n_packed, freedom;
  double        *centre;  /* [D][D] H at the saddle point */
  double        *spread;  /* [m][m] row k: direction of the k-th normal number */
  double         log_det; /* of the precision */
  uint64_t       seed;
} Proposal;

/* --- proposal ----------------------------------------------------------------------------------------------- */

/* Half of N d2S/dH2, packed */
static PetscErrorCode FillPrecision(FwMatrixAction action, const FwMatrixPoint *point, double precision[])
{
  const PetscInt n = FwMatrixActionSize(action), m = n * (n + 1) / 2;
  double        *unit, *direction, *curve;

  PetscFunctionBegin;
  PetscCall(PetscCalloc3(m, &unit, (size_t)n * n, &direction, (size_t)n * n, &curve));
  for (PetscInt k = 0; k < m; k++) {
    unit[k] = 0.5;
    FwMatrixUnpack(n, unit, direction);
    unit[k] = 0.0;
    PetscCall(FwMatrixActionCurve(action, point, direction, curve));
    FwMatrixPack(n, curve, precision + (size_t)k * m);
  }
  PetscCall(PetscFree3(unit, direction, curve));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Directions of unit variance: eigenvectors over the roots of the eigenvalues */
static PetscErrorCode FillSpread(FwMatrixAction action, Proposal *p)
{
  const PetscInt m = p->n_packed;
  FwMatrixPoint  point;
  double        *precision, *value;

  PetscFunctionBegin;
  PetscCall(FwMatrixPointCreate(p->n_output, &point));
  PetscCall(PetscMalloc2((size_t)m * m, &precision, m, &value));
  PetscCall(FwMatrixActionEvaluate(action, p->centre, FW_OUTPUTS_CURVE, &point));
  PetscCall(FillPrecision(action, &point, precision));
  PetscCall(FwSymmetricEigen(m, precision, value, p->spread));
  PetscCheck(value[0] > 0.0, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the average over order parameters starts from a point that is no minimum (curvature %.6g)", value[0]);
  p->log_det = 0.0;
  for (PetscInt k = 0; k < m; k++) {
    p->log_det += log(value[k]);
    for (PetscInt i = 0; i < m; i++) p->spread[k * m + i] /= sqrt(value[k]);
  }
  PetscCall(PetscFree2(precision, value));
  PetscCall(FwMatrixPointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateProposal(FwMatrixAction action, const double order[], uint64_t seed, Proposal *p)
{
  const PetscInt n = FwMatrixActionSize(action), m = n * (n + 1) / 2;

  PetscFunctionBegin;
  *p = (Proposal){.action = action, .n_output = n, .n_packed = m, .freedom = PetscMax(FREEDOM_LEAST, m), .seed = seed};
  PetscCall(PetscMalloc2((size_t)n * n, &p->centre, (size_t)m * m, &p->spread));
  PetscCall(FwSymmetricApply(n, order, log, p->centre));
  PetscCall(FillSpread(action, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyProposal(Proposal *p)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(p->centre, p->spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Draw r and the logarithm of its density. Student's numbers: normal ones over the root of a mean of squares of others */
static PetscErrorCode Draw(const Proposal *p, PetscInt r, double h[], double *log_density)
{
  const PetscInt m = p->n_packed, n = p->n_output;
  const FwStream stream = FwStreamCreate(p->seed, FW_RANDOM_THEORY_ORDER, (uint64_t)r, 0, 0);
  const double   nu     = (double)p->freedom;
  double        *number, *x, square = 0.0, length = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(m + p->freedom, &number, m, &x));
  FwStreamNormal(stream, 0, (size_t)(m + p->freedom), number);
  for (PetscInt k = 0; k < p->freedom; k++) square += number[m + k] * number[m + k] / nu;
  for (PetscInt k = 0; k < m; k++) {
    number[k] /= sqrt(square);
    length += number[k] * number[k];
    for (PetscInt i = 0; i < m; i++) x[i] += number[k] * p->spread[k * m + i];
  }
  FwMatrixUnpack(n, x, h);
  for (PetscInt i = 0; i < n * n; i++) h[i] += p->centre[i];
  *log_density = lgamma(0.5 * (nu + m)) - lgamma(0.5 * nu) - 0.5 * m * log(nu * M_PI) + 0.5 * p->log_det -
                 0.5 * (nu + m) * log1p(length / nu);
  PetscCall(PetscFree2(number, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- weights ------------------------------------------------------------------------------------------------ */

/* log of the Wishart density of Q times the Jacobian of Q by H, both packed: the factors sqrt 2 of the packing turn
   Lebesgue's measure of the entries into 2^{-D (D - 1) / 4} of it */
static double LogPrior(PetscInt n, double width, const double h[])
{
  const double half = 0.5 * width;
  double       sum  = half * n * log(half) - 0.25 * n * (n - 1) * (log(M_PI) + log(2.0));

  for (PetscInt a = 0; a < n; a++) {
    sum -= lgamma(half - 0.5 * a) + half * exp(h[a]);
    sum += (half - 0.5 * (n + 1)) * h[a];
    for (PetscInt b = 0; b <= a; b++) { /* Phi_ab */
      const double difference = 0.5 * (h[a] - h[b]);

      sum += 0.5 * (h[a] + h[b]) + (fabs(difference) > 1e-5 ? log(sinh(difference) / difference) : 0.0);
    }
  }
  return sum;
}

static PetscErrorCode Weigh(const Proposal *p, PetscInt r, FwMatrixPoint *point, double h[], double *log_weight)
{
  const FwModel *model   = FwMatrixActionModel(p->action);
  double         density = 0.0, sum = 0.0;

  PetscFunctionBegin;
  PetscCall(Draw(p, r, h, &density));
  PetscCall(FwMatrixActionEvaluate(p->action, h, FW_OUTPUTS_VALUE, point));
  for (PetscInt a = 0; a < p->n_output; a++) sum += point->resolvent.log_det[a] + point->resolvent.fit[a];
  *log_weight = LogPrior(p->n_output, model->width[0], point->log_order) - 0.5 * sum - density;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Draw r is weighed by rank r modulo their number; each number has one owner, so that sums over ranks are exact */
static PetscErrorCode WeighAll(MPI_Comm comm, const Proposal *p, FwMatrixAverage *average)
{
  const size_t   size = (size_t)p->n_output * p->n_output;
  FwMatrixPoint  point;
  PetscMPIInt    rank, n_rank, count;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  PetscCall(FwMatrixPointCreate(p->n_output, &point));
  for (PetscInt r = rank; r < average->n && !code; r += n_rank)
    code = Weigh(p, r, &point, average->log_order + r * size, &average->weight[r]);
  PetscCall(FwErrorAgreeAny(comm, code));
  PetscCall(PetscMPIIntCast((PetscInt)((size_t)average->n * size), &count));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, average->log_order, count, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, average->weight, average->n, MPI_DOUBLE, MPI_SUM, comm));
  PetscCall(FwMatrixPointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwWeightedError(PetscInt n, const double weight[], const double x[])
{
  double mean = 0.0, sum = 0.0;

  for (PetscInt r = 0; r < n; r++) mean += weight[r] * x[r];
  for (PetscInt r = 0; r < n; r++) sum += PetscSqr(weight[r] * (x[r] - mean));
  return sqrt(sum);
}

/* From logarithms to weights of sum one; log p(Y) is the logarithm of their mean */
static void Normalise(double n_train, FwMatrixAverage *average)
{
  double largest = -INFINITY, sum = 0.0, square = 0.0;

  for (PetscInt r = 0; r < average->n; r++) largest = PetscMax(largest, average->weight[r]);
  for (PetscInt r = 0; r < average->n; r++) sum += average->weight[r] = exp(average->weight[r] - largest);
  for (PetscInt r = 0; r < average->n; r++) {
    average->weight[r] /= sum;
    square += average->weight[r] * average->weight[r];
  }
  average->effective          = 1.0 / square;
  average->log_evidence       = largest + log(sum / average->n) - 0.5 * n_train * average->n_output * log(2.0 * M_PI);
  average->log_evidence_error = sqrt(PetscMax(0.0, square - 1.0 / average->n));
}

static PetscErrorCode AverageOrder(FwMatrixAverage *average)
{
  const size_t size = (size_t)average->n_output * average->n_output;
  double      *order, *entry;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(average->n * size, &order, average->n, &entry));
  for (PetscInt r = 0; r < average->n; r++)
    PetscCall(FwSymmetricApply(average->n_output, average->log_order + r * size, exp, order + r * size));
  for (size_t i = 0; i < size; i++) {
    average->mean_order[i] = 0.0;
    for (PetscInt r = 0; r < average->n; r++) {
      entry[r] = order[r * size + i];
      average->mean_order[i] += average->weight[r] * entry[r];
    }
    average->mean_order_error[i] = FwWeightedError(average->n, average->weight, entry);
  }
  PetscCall(PetscFree2(order, entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixAverageCreate(MPI_Comm comm, FwMatrixAction action, const double order[], PetscInt n,
                                     uint64_t seed, FwMatrixAverage *average)
{
  const FwModel   *model    = FwMatrixActionModel(action);
  const PetscInt   n_output = FwMatrixActionSize(action);
  const size_t     size     = (size_t)n_output * n_output;
  FwSpectrumBounds bounds;
  Proposal         proposal;

  PetscFunctionBegin;
  *average = (FwMatrixAverage){.n = n, .n_output = n_output};
  if (model->depth > 1 || model->width[0] < n_output) PetscFunctionReturn(PETSC_SUCCESS);
  average->is_available = PETSC_TRUE;
  PetscCall(PetscCalloc4(n * size, &average->log_order, n, &average->weight, size, &average->mean_order, size,
                         &average->mean_order_error));
  PetscCall(FwErrorAgreeAny(comm, CreateProposal(action, order, seed, &proposal)));
  PetscCall(WeighAll(comm, &proposal, average));
  PetscCall(DestroyProposal(&proposal));
  PetscCall(FwMatrixActionBounds(action, &bounds));
  Normalise((double)bounds.n, average);
  PetscCall(AverageOrder(average));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixAverageDestroy(FwMatrixAverage *average)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(average->log_order, average->weight, average->mean_order, average->mean_order_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}
