/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Two outputs: the posterior of Q = e^g O diag(e^r, e^-r) O^T by trapezoid rules over g, r and the angle of O.
 *
 * With F(q) the 2 x 2 forms of the labels, t, d, o its half trace, half difference and off-diagonal entry, and theta the
 * angle of O, the sum of the fits is t_1 + t_2 + cos(2 theta)(d_1 - d_2) + sin(2 theta)(o_1 - o_2): the average of the
 * likelihood over the angle is a Bessel function I_0. What is left is a density of (g, r). In t, r = log(1 + e^z) with
 * z = t - e^-t, it is analytic on the whole line and falls double exponentially towards r = 0, so that trapezoid rules
 * converge exponentially in both variables.
 */

#include <finwidth/mixture_density.h>

#include "posterior_impl.h"

#include <gsl/gsl_sf_bessel.h>
#include <math.h>

enum { COARSE = 25, ROUNDS_MAX = 60, NODES_FIRST = 40, NODES_MAX = 1280 };

static const double drop     = 44.0;
static const double lowest_t = -3.1; /* z = -25.3; the density falls like e^(2z) */

typedef struct {
  MPI_Comm        comm;
  FwMixtureRadial radial;
  FwLikelihood   *likelihood;
} Target;

typedef struct {
  double low[2], high[2]; /* of g and t */
} Box;

/* log of the density of (g, t), and the law of the angle, proportional to exp(concentration cos(2 theta - phase)) */
typedef struct {
  double log_q[2], value, concentration, phase;
} Point;

/* Half of the least sum of the fits over the angle. One example has forms of rank one, where that of the larger q is left
   without the other's round-off, however small its q */
static double LeastFit(const Target *target, double fit[2][3], double concentration)
{
  const double trace[2] = {fit[0][0] + fit[0][2], fit[1][0] + fit[1][2]};

  return target->likelihood->n_train == 1 ? 0.5 * PetscMin(trace[0], trace[1])
                                          : 0.25 * (trace[0] + trace[1]) - concentration;
}

static PetscErrorCode Evaluate(Target *target, double g, double t, Point *p)
{
  const double z = t - exp(-t), r = z > 30.0 ? z : log1p(exp(z));
  double       log_det[2], fit[2][3], cosine, sine;

  PetscFunctionBegin;
  p->log_q[0] = g + r;
  p->log_q[1] = g - r;
  PetscCall(FwMixtureRadialJoint(target->radial, g, r, &p->value));
  for (int d = 0; d < 2; d++) PetscCall(FwLikelihoodForms(target->likelihood, p->log_q[d], &log_det[d], fit[d]));
  cosine           = -0.25 * (fit[0][0] - fit[0][2] - fit[1][0] + fit[1][2]);
  sine             = -0.5 * (fit[0][1] - fit[1][1]);
  p->concentration = hypot(cosine, sine);
  p->phase         = atan2(sine, cosine);
  p->value += log1p(exp(-t)) - log1p(exp(-z)); /* dr/dt */
  p->value -= 0.5 * (log_det[0] + log_det[1]) + LeastFit(target, fit, p->concentration);
  p->value += log(gsl_sf_bessel_I0_scaled(p->concentration));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the box ------------------------------------------------------------------------------------------------ */

/* Every `size`-th row of n x n points over a box, ends included */
static PetscErrorCode EvaluateRows(Target *target, const Box *box, PetscInt n, PetscMPIInt rank, PetscMPIInt size,
                                   Point point[])
{
  PetscFunctionBegin;
  for (PetscInt i = rank; i < n; i += size)
    for (PetscInt j = 0; j < n; j++)
      PetscCall(Evaluate(target, box->low[0] + (box->high[0] - box->low[0]) * (double)i / (double)(n - 1),
                         box->low[1] + (box->high[1] - box->low[1]) * (double)j / (double)(n - 1), &point[i * n + j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rows divided over the ranks; each point is one rank's, zero elsewhere, so that sums are exact */
static PetscErrorCode EvaluateGrid(Target *target, const Box *box, PetscInt n, Point point[])
{
  enum { NUMBERS = sizeof(Point) / sizeof(double) };
  PetscMPIInt rank, size, count;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(target->comm, &rank));
  PetscCallMPI(MPI_Comm_size(target->comm, &size));
  PetscCall(PetscMPIIntCast(n * n * NUMBERS, &count));
  PetscCall(PetscArrayzero(point, n * n));
  PetscCall(FwErrorAgreeAny(target->comm, EvaluateRows(target, box, n, rank, size, point)));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, point, count, MPI_DOUBLE, MPI_SUM, target->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First and last row (0) and column (1) of the coarse grid with a point that counts */
static void FindExtent(const Point point[], PetscInt first[2], PetscInt last[2])
{
  double best = -INFINITY;

  for (PetscInt i = 0; i < COARSE * COARSE; i++) best = PetscMax(best, point[i].value);
  for (int axis = 0; axis < 2; axis++) {
    first[axis] = COARSE;
    last[axis]  = -1;
  }
  for (PetscInt i = 0; i < COARSE * COARSE; i++) {
    const PetscInt at[2] = {i / COARSE, i % COARSE};

    for (int axis = 0; axis < 2 && point[i].value > best - drop; axis++) {
      first[axis] = PetscMin(first[axis], at[axis]);
      last[axis]  = PetscMax(last[axis], at[axis]);
    }
  }
}

/* Beyond an edge that counts by half, otherwise to one step beyond what counts. True where something changed much */
static PetscBool Adjust(const PetscInt first[2], const PetscInt last[2], Box *box)
{
  PetscBool is_changed = PETSC_FALSE;

  for (int axis = 0; axis < 2; axis++) {
    const double size = box->high[axis] - box->low[axis], step = size / (COARSE - 1);
    const Box    old = *box;

    box->low[axis] = first[axis] ? old.low[axis] + step * (double)(first[axis] - 1) : old.low[axis] - 0.5 * size;
    box->high[axis] =
      last[axis] < COARSE - 1 ? old.low[axis] + step * (double)(last[axis] + 1) : old.high[axis] + 0.5 * size;
    if (axis == 1) box->low[1] = PetscMax(box->low[1], lowest_t);
    if (box->high[axis] > old.high[axis] || box->low[axis] < old.low[axis] ||
        box->high[axis] - box->low[axis] < 0.75 * size)
      is_changed = PETSC_TRUE;
  }
  return is_changed;
}

static PetscErrorCode FindBox(Target *target, Box *box)
{
  double    mean, variance;
  PetscInt  first[2], last[2];
  PetscBool is_changed = PETSC_TRUE;
  Point    *point;

  PetscFunctionBegin;
  PetscCall(FwMixtureRadialMoments(target->radial, &mean, &variance));
  *box = (Box){
    .low  = {mean - 6.0 * sqrt(variance), lowest_t                       },
    .high = {mean + 6.0 * sqrt(variance), variance + 6.0 * sqrt(variance)}
  };
  PetscCall(PetscMalloc1(COARSE * COARSE, &point));
  for (int i = 0; i < ROUNDS_MAX && is_changed; i++) {
    PetscCall(EvaluateGrid(target, box, COARSE, point));
    FindExtent(point, first, last);
    is_changed = Adjust(first, last, box);
  }
  PetscCheck(!is_changed, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the posterior of the eigenvalues of Q has no end in sight: log q = %.6g", box->high[0] + box->high[1]);
  PetscCall(PetscFree(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the quadrature ----------------------------------------------------------------------------------------- */

typedef struct {
  PetscInt n;             /* points of each axis */
  double   total, mean_q; /* log of the integral, and E tr Q */
  Point   *point;         /* [n][n]; value becomes the logarithm of the weight */
} Rule;

static PetscErrorCode Apply(Target *target, const Box *box, PetscInt n, Rule *rule)
{
  const double cell    = (box->high[0] - box->low[0]) * (box->high[1] - box->low[1]) / (double)((n - 1) * (n - 1));
  double       largest = -INFINITY, sum = 0.0, moment = 0.0;

  PetscFunctionBegin;
  rule->n = n;
  PetscCall(PetscMalloc1((size_t)n * n, &rule->point));
  PetscCall(EvaluateGrid(target, box, n, rule->point));
  for (PetscInt i = 0; i < n * n; i++) largest = PetscMax(largest, rule->point[i].value);
  for (PetscInt i = 0; i < n * n; i++) {
    const double weight = exp(rule->point[i].value - largest);

    sum += weight;
    moment += weight * (exp(rule->point[i].log_q[0]) + exp(rule->point[i].log_q[1]));
  }
  rule->total  = largest + log(sum * cell);
  rule->mean_q = moment / sum;
  for (PetscInt i = 0; i < n * n; i++) rule->point[i].value -= largest + log(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels that are multiples of one column leave log q_2 a long tail, where the fits cancel */
static PetscErrorCode CheckRoundOff(const Target *target, const Rule *rule)
{
  double error = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < rule->n * rule->n; i++)
    error += exp(rule->point[i].value) * rule->point[i].concentration * PETSC_MACHINE_EPSILON;
  PetscCheck(
    target->likelihood->n_train == 1 || error < 1e-7, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
    "the posterior of Q reaches singular matrices, where its density is lost in round-off: the outputs' labels "
    "are multiples of each other; set a temperature > 0 or wider layers");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Halving the steps squares the error */
static PetscErrorCode Converge(Target *target, const Box *box, Rule *rule)
{
  PetscFunctionBegin;
  PetscCall(Apply(target, box, NODES_FIRST + 1, rule));
  for (PetscInt n = 2 * NODES_FIRST; n <= NODES_MAX; n *= 2) {
    const Rule before = *rule;

    PetscCall(PetscFree(rule->point));
    PetscCall(Apply(target, box, n + 1, rule));
    PetscCall(CheckRoundOff(target, rule));
    if (fabs(rule->total - before.total) < 1e-7 && fabs(rule->mean_q / before.mean_q - 1.0) < 1e-7)
      PetscFunctionReturn(PETSC_SUCCESS);
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL, "the quadrature over the eigenvalues of Q did not converge");
}

/* --- nodes -------------------------------------------------------------------------------------------------- */

static PetscBool Counts(const Point *p)
{
  return p->value > log(1e-18) ? PETSC_TRUE : PETSC_FALSE;
}

/* Angles on the whole circle that integrate exp(c cos 2 theta) to round-off */
static PetscInt AnglesOnCircle(double concentration)
{
  return 16 + (PetscInt)PetscMin(9.0 * sqrt(concentration), 1e9); /* beyond, one angle is all that counts */
}

/* Angles theta = phase / 2 + pi k / n that count, from k = -last to last, or 1 - n / 2 to n / 2 on the whole circle */
static void FindAngles(const Point *p, PetscInt *first, PetscInt *last)
{
  const PetscInt n = AnglesOnCircle(p->concentration);

  *last  = n / 2;
  *first = *last + 1 - n;
  if (p->concentration > 0.5 * drop) {
    const double reach = acos(1.0 - drop / p->concentration);

    *last  = PetscMin(*last, (PetscInt)(n * reach / (2.0 * M_PI)));
    *first = PetscMax(*first, -*last);
  }
}

static PetscInt CountAngles(const Point *p)
{
  PetscInt first, last;

  FindAngles(p, &first, &last);
  return last - first + 1;
}

static void FillAngles(const Point *p, double weight[], double rotation[])
{
  PetscInt first, last;
  double   sum = 0.0;

  FindAngles(p, &first, &last);
  for (PetscInt k = first; k <= last; k++) {
    const double turn  = M_PI * (double)k / (double)AnglesOnCircle(p->concentration);
    const double theta = 0.5 * p->phase + turn, c = cos(theta), s = sin(theta);

    weight[k - first] = exp(-2.0 * p->concentration * PetscSqr(sin(turn)));
    sum += weight[k - first];
    rotation[4 * (k - first)]     = c;
    rotation[4 * (k - first) + 1] = -s;
    rotation[4 * (k - first) + 2] = s;
    rotation[4 * (k - first) + 3] = c;
  }
  for (PetscInt k = 0; k <= last - first; k++) weight[k] *= exp(p->value) / sum;
}

static PetscErrorCode FillNodes(const Rule *rule, FwNodeSet *nodes)
{
  PetscInt n_group = 0, n_node = 0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < rule->n * rule->n; i++)
    if (Counts(&rule->point[i])) {
      n_group++;
      n_node += CountAngles(&rule->point[i]);
    }
  PetscCall(FwNodeSetCreate(2, n_group, n_node, nodes));
  n_group = n_node = 0;
  for (PetscInt i = 0; i < rule->n * rule->n; i++) {
    const Point *p = &rule->point[i];

    if (!Counts(p)) continue;
    nodes->log_q[2 * n_group]     = p->log_q[0];
    nodes->log_q[2 * n_group + 1] = p->log_q[1];
    FillAngles(p, nodes->weight + n_node, nodes->rotation + (size_t)4 * n_node);
    n_node += CountAngles(p);
    nodes->first[++n_group] = n_node;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorTwoOutputs(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     FwMixturePosterior *posterior, FwNodeSet *nodes)
{
  Target target = {.comm = comm, .likelihood = likelihood};
  Box    box    = {{0.0}, {0.0}};
  Rule   rule;

  PetscFunctionBegin;
  PetscCall(FwMixtureRadialCreate(law, &target.radial));
  PetscCall(FindBox(&target, &box));
  PetscCall(Converge(&target, &box, &rule));
  PetscCall(FillNodes(&rule, nodes));
  posterior->method       = "quadrature";
  posterior->log_evidence = rule.total - likelihood->n_train * log(2.0 * M_PI);
  PetscCall(PetscFree(rule.point));
  PetscCall(FwMixtureRadialDestroy(&target.radial));
  PetscFunctionReturn(PETSC_SUCCESS);
}
