/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Weighted draws of the matrix of order parameters.
 *
 * H is packed, m = D (D + 1) / 2 numbers. Lebesgue's measure in these and that of the packed Q differ by the product over
 * a <= b of Phi_ab.
 *
 * Of L layers the innovations E_l = exp(h_l) are drawn, L m numbers, around h_l = H / L at the saddle point. Where all
 * commute H is their sum; with this the precision is
 *
 *     1_L x C + 11^T x (B - C / L),   B = N d2S/dH2 / 2,   C E = N Phi(H / L) o E / 2:
 *
 * C the curvature of one innovation's law, C / L what is in B of them. It need not be exact: weights make up for it.
 *
 * Where few draws count, hardly wider layers than outputs, the law is lopsided, and those that count most may not be among
 * them: then nothing shows that they are missing. Draws from there are pilots. Their weights, flattened until a quarter of
 * them counts, give mean and deviation along each direction, and the draws are made anew around these.
 */

#include <finwidth/matrix_average.h>
#include "symmetric.h"

#include <finwidth/random.h>

#include <float.h>
#include <math.h>

enum {
  FREEDOM_LEAST = 10, /* of Student's distribution; more where there are many numbers, or their length scatters */
  PILOTS        = 2,  /* rounds of them at most */
  ENOUGH        = 4   /* one draw of so many that counts needs no other round */
};

/* Where the draws come from */
typedef struct {
  FwMatrixAction action;
  PetscInt       n_output, n_layer, n_packed, n_number, freedom; /* m; L m */
  PetscInt       round;                                          /* of pilots behind it */
  double        *centre;                                         /* [D][D] H at the saddle point */
  double        *offset;                                         /* [L m] from there to the mean of the draws */
  double        *spread;  /* [L m][L m] row k: direction of the k-th normal number */
  double         log_det; /* of the precision */
  uint64_t       seed;
} Proposal;

/* --- proposal ----------------------------------------------------------------------------------------------- */

/* V^T M V (`into` the eigenbasis) or V M V^T of a symmetric matrix; eigenvector a is row a */
static PetscErrorCode Rotate(PetscInt n, PetscBool into, const double vectors[], const double matrix[], double out[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      out[i * n + j] = 0.0;
      for (PetscInt k = 0; k < n; k++)
        for (PetscInt l = 0; l < n; l++)
          out[i * n + j] += (into ? vectors[i * n + k] * vectors[j * n + l] : vectors[k * n + i] * vectors[l * n + j]) *
                            matrix[k * n + l];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

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

/* (e^a - e^b) / (a - b) */
static double Divided(double a, double b)
{
  const double half = 0.5 * (a - b);

  return exp(0.5 * (a + b)) * (fabs(half) > 1e-5 ? sinh(half) / half : 1.0);
}

/* C, packed: Phi of H / L in its eigenbasis, times half the width */
static PetscErrorCode FillInnovation(const Proposal *p, double precision[])
{
  const PetscInt n = p->n_output, m = p->n_packed;
  const double   width = FwMatrixActionModel(p->action)->width[0];
  double        *unit, *direction, *rotated, *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscCalloc5(m, &unit, n * n, &direction, n * n, &rotated, n, &value, n * n, &vectors));
  PetscCall(FwSymmetricEigen(n, p->centre, value, vectors));
  for (PetscInt k = 0; k < m; k++) {
    unit[k] = 0.5 * width;
    FwMatrixUnpack(n, unit, direction);
    unit[k] = 0.0;
    PetscCall(Rotate(n, PETSC_TRUE, vectors, direction, rotated));
    for (PetscInt i = 0; i < n * n; i++) rotated[i] *= Divided(value[i / n] / p->n_layer, value[i % n] / p->n_layer);
    PetscCall(Rotate(n, PETSC_FALSE, vectors, rotated, direction));
    FwMatrixPack(n, direction, precision + (size_t)k * m);
  }
  PetscCall(PetscFree5(unit, direction, rotated, value, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The precision of all layers from B, [L m][L m] */
static PetscErrorCode FillLayers(const Proposal *p, const double whole[], double precision[])
{
  const PetscInt m = p->n_packed, L = p->n_layer, M = p->n_number;
  double        *innovation;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)m * m, &innovation));
  PetscCall(FillInnovation(p, innovation));
  for (PetscInt i = 0; i < M; i++)
    for (PetscInt j = 0; j < M; j++) {
      const double c = innovation[i % m * m + j % m];

      precision[(size_t)i * M + j] = whole[i % m * m + j % m] - c / L + (i / m == j / m ? c : 0.0);
    }
  PetscCall(PetscFree(innovation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Directions of unit variance: eigenvectors over the roots of the eigenvalues */
static PetscErrorCode FillSpread(FwMatrixAction action, Proposal *p)
{
  const PetscInt m = p->n_number;
  FwMatrixPoint  point;
  double        *whole, *precision, *value;

  PetscFunctionBegin;
  PetscCall(FwMatrixPointCreate(p->n_output, &point));
  PetscCall(PetscMalloc3((size_t)p->n_packed * p->n_packed, &whole, (size_t)m * m, &precision, m, &value));
  PetscCall(FwMatrixActionEvaluate(action, p->centre, FW_OUTPUTS_CURVE, &point));
  PetscCall(FillPrecision(action, &point, whole));
  if (p->n_layer > 1)
    PetscCall(FillLayers(p, whole, precision));
  else
    PetscCall(PetscArraycpy(precision, whole, (size_t)m * m));
  PetscCall(FwSymmetricEigen(m, precision, value, p->spread));
  PetscCheck(value[0] > 0.0, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the average over order parameters starts from a point that is no minimum (curvature %.6g)", value[0]);
  p->log_det = 0.0;
  for (PetscInt k = 0; k < m; k++) {
    p->log_det += log(value[k]);
    for (PetscInt i = 0; i < m; i++) p->spread[k * m + i] /= sqrt(value[k]);
  }
  PetscCall(PetscFree3(whole, precision, value));
  PetscCall(FwMatrixPointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateProposal(FwMatrixAction action, const double order[], uint64_t seed, Proposal *p)
{
  const PetscInt n = FwMatrixActionSize(action), L = FwMatrixActionModel(action)->depth, m = n * (n + 1) / 2;

  PetscFunctionBegin;
  *p = (Proposal){.action   = action,
                  .n_output = n,
                  .n_layer  = L,
                  .n_packed = m,
                  .n_number = L * m,
                  .freedom  = PetscMax(FREEDOM_LEAST, L * m),
                  .seed     = seed};
  PetscCall(PetscCalloc3((size_t)n * n, &p->centre, L * m, &p->offset, (size_t)L * m * L * m, &p->spread));
  PetscCall(FwSymmetricApply(n, order, log, p->centre));
  PetscCall(FillSpread(action, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyProposal(Proposal *p)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(p->centre, p->offset, p->spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The L m numbers of draw r, and the logarithm of its density. Student's numbers: normal ones over the root of a mean of
   squares of others */
static PetscErrorCode DrawNumbers(const Proposal *p, PetscInt r, double number[], double *log_density)
{
  const PetscInt m      = p->n_number;
  const FwStream stream = FwStreamCreate(p->seed, FW_RANDOM_THEORY_ORDER, (uint64_t)r, (uint64_t)p->round, 0);
  const double   nu     = (double)p->freedom;
  double        *normal, square = 0.0, length = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(m + p->freedom, &normal));
  FwStreamNormal(stream, 0, (size_t)(m + p->freedom), normal);
  for (PetscInt k = 0; k < p->freedom; k++) square += normal[m + k] * normal[m + k] / nu;
  for (PetscInt k = 0; k < m; k++) {
    number[k] = normal[k] / sqrt(square);
    length += number[k] * number[k];
  }
  *log_density = lgamma(0.5 * (nu + m)) - lgamma(0.5 * nu) - 0.5 * m * log(nu * M_PI) + 0.5 * p->log_det -
                 0.5 * (nu + m) * log1p(length / nu);
  PetscCall(PetscFree(normal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x += the directions times the numbers */
static void AddSpread(const Proposal *p, const double number[], double x[])
{
  for (PetscInt k = 0; k < p->n_number; k++)
    for (PetscInt i = 0; i < p->n_number; i++) x[i] += number[k] * p->spread[k * p->n_number + i];
}

/* Draw r, h of all layers */
static PetscErrorCode Draw(const Proposal *p, PetscInt r, double h[], double *log_density)
{
  const PetscInt n = p->n_output;
  double        *number, *x;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(p->n_number, &number, p->n_number, &x));
  PetscCall(DrawNumbers(p, r, number, log_density));
  PetscCall(PetscArraycpy(x, p->offset, p->n_number));
  AddSpread(p, number, x);
  for (PetscInt l = 0; l < p->n_layer; l++) {
    FwMatrixUnpack(n, x + l * p->n_packed, h + l * n * n);
    for (PetscInt i = 0; i < n * n; i++) h[l * n * n + i] += p->centre[i] / p->n_layer;
  }
  PetscCall(PetscFree2(number, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double HalfPower(double x)
{
  return exp(0.5 * x);
}

/* H of the product of innovations, Q_l = Q_{l+1}^1/2 E_l Q_{l+1}^1/2 */
static PetscErrorCode Compose(const Proposal *p, const double h[], double log_order[])
{
  const PetscInt n = p->n_output, n2 = n * n;
  double        *root, *innovation, *product;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n2, &root, n2, &innovation, n2, &product));
  PetscCall(PetscArraycpy(log_order, h + (p->n_layer - 1) * n2, n2));
  for (PetscInt l = p->n_layer - 2; l >= 0; l--) {
    PetscCall(FwSymmetricApply(n, log_order, HalfPower, root));
    PetscCall(FwSymmetricApply(n, h + l * n2, exp, innovation));
    PetscCall(FwSymmetricSandwich(n, root, innovation, product));
    PetscCall(FwSymmetricApply(n, product, log, log_order));
  }
  PetscCall(PetscFree3(root, innovation, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- weights ------------------------------------------------------------------------------------------------ */

/* log of the Wishart density of Q (of an innovation) times the Jacobian of Q by H, both packed: the factors sqrt 2 of the packing turn
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

static PetscErrorCode Weigh(const Proposal *p, PetscInt r, FwMatrixPoint *point, double log_order[], double *log_weight)
{
  const FwModel *model   = FwMatrixActionModel(p->action);
  const PetscInt n       = p->n_output;
  double         density = 0.0, sum = 0.0, *h, *value, *vectors;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3((size_t)p->n_layer * n * n, &h, n, &value, n * n, &vectors));
  PetscCall(Draw(p, r, h, &density));
  PetscCall(Compose(p, h, log_order));
  PetscCall(FwMatrixActionEvaluate(p->action, log_order, FW_OUTPUTS_VALUE, point));
  for (PetscInt a = 0; a < n; a++) sum += point->resolvent.log_det[a] + point->resolvent.fit[a];
  *log_weight = -0.5 * sum - density;
  for (PetscInt l = 0; l < p->n_layer; l++) {
    PetscCall(FwSymmetricEigen(n, h + l * n * n, value, vectors));
    *log_weight += LogPrior(n, model->width[l], value);
  }
  PetscCall(PetscFree3(h, value, vectors));
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

/* --- pilots ------------------------------------------------------------------------------------------------- */

/* Powers of the weights, of sum one; how many of them count: all where the power is small enough */
static double Flatten(const FwMatrixAverage *average, double power, double flat[])
{
  double sum = 0.0, square = 0.0;

  for (PetscInt r = 0; r < average->n; r++) sum += flat[r] = pow(PetscMax(average->weight[r], DBL_MIN), power);
  for (PetscInt r = 0; r < average->n; r++) {
    flat[r] /= sum;
    square += flat[r] * flat[r];
  }
  return 1.0 / square;
}

/* Mean and deviation of the pilots' numbers under flattened weights become those of the next draws: the same bits on all
   ranks. The deviation that is left is that of Student's numbers, a little wide, which is the safe side */
static PetscErrorCode Adapt(const FwMatrixAverage *pilots, Proposal *p)
{
  const PetscInt m     = p->n_number;
  double         power = 1.0, density, *flat, *number, *mean, *square;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(pilots->n, &flat, m, &number));
  PetscCall(PetscCalloc2(m, &mean, m, &square));
  while (Flatten(pilots, power, flat) * ENOUGH < pilots->n) power *= 0.8;
  for (PetscInt r = 0; r < pilots->n; r++) {
    PetscCall(DrawNumbers(p, r, number, &density));
    for (PetscInt k = 0; k < m; k++) mean[k] += flat[r] * number[k];
    for (PetscInt k = 0; k < m; k++) square[k] += flat[r] * number[k] * number[k];
  }
  AddSpread(p, mean, p->offset);
  for (PetscInt k = 0; k < m; k++) {
    const double deviation = sqrt(square[k] - mean[k] * mean[k]);

    for (PetscInt i = 0; i < m; i++) p->spread[k * m + i] *= deviation;
    p->log_det -= 2.0 * log(deviation);
  }
  p->round++;
  PetscCall(PetscFree2(flat, number));
  PetscCall(PetscFree2(mean, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weighted draws; those of a round of pilots are left behind */
static PetscErrorCode DrawAll(MPI_Comm comm, Proposal *p, double n_train, FwMatrixAverage *average)
{
  const size_t size = (size_t)average->n * p->n_output * p->n_output;

  PetscFunctionBegin;
  while (1) {
    PetscCall(PetscArrayzero(average->log_order, size));
    PetscCall(PetscArrayzero(average->weight, average->n));
    PetscCall(WeighAll(comm, p, average));
    Normalise(n_train, average);
    if (p->round == PILOTS || !(average->effective * ENOUGH < average->n)) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(Adapt(average, p));
  }
}

/* --- average ------------------------------------------------------------------------------------------------ */

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
  if (model->width[0] < n_output) PetscFunctionReturn(PETSC_SUCCESS);
  average->is_available = PETSC_TRUE;
  PetscCall(PetscCalloc4(n * size, &average->log_order, n, &average->weight, size, &average->mean_order, size,
                         &average->mean_order_error));
  PetscCall(FwErrorAgreeAny(comm, CreateProposal(action, order, seed, &proposal)));
  PetscCall(FwMatrixActionBounds(action, &bounds));
  PetscCall(DrawAll(comm, &proposal, (double)bounds.n, average));
  PetscCall(DestroyProposal(&proposal));
  PetscCheck(
    isfinite(average->log_evidence), comm, FW_ERR_NUMERICAL,
    "theory_average: the weights of the order parameters are not finite numbers: inputs or variances are too large");
  PetscCall(AverageOrder(average));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixAverageDestroy(FwMatrixAverage *average)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(average->log_order, average->weight, average->mean_order, average->mean_order_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}
