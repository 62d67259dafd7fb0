/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Exact average over the product of the order parameters.
 *
 * The density of u = sum_l log Q_l is a convolution of L densities of log-Gamma variables, computed on one grid of step
 * h by the trapezoid rule. All terms are positive and kept as logarithms, so the far tails, where the posterior may
 * live, are as accurate as the middle.
 */

#include <finwidth/average.h>

#include <float.h>
#include <math.h>

/* exp(-drop) is below round-off of the sum */
static const double step_most =
  0.3; /* a flat top ends in walls like exp(-e^u): the rule's error there is exp(-pi^2 / step) */
static const double drop = 44.0;

/* What round-off may make of the logarithm of a weight */
static const double blur_most = 1e-4;

/* The trapezoid rule on a Gaussian of two steps per deviation is exact to exp(-8 pi^2) */
enum { NODE_MAX = 6000, STEPS_PER_DEVIATION = 2 };

/* A function on the points (first + i) h */
typedef struct {
  long     first;
  PetscInt n;
  double  *log_value;
} GridFunction;

static double LogSumExp(PetscInt n, const double x[])
{
  double largest = -INFINITY, sum = 0.0;

  for (PetscInt i = 0; i < n; i++) largest = PetscMax(largest, x[i]);
  if (largest == -INFINITY) return largest;
  for (PetscInt i = 0; i < n; i++) sum += exp(x[i] - largest);
  return largest + log(sum);
}

/* log density of v = log Q_l, Q_l ~ Gamma(N/2, rate N/2) */
static double LogGammaDensity(double width, double v)
{
  const double half = 0.5 * width;

  return half * log(half) - lgamma(half) + half * (v - exp(v));
}

/* --- where the weight lies ---------------------------------------------------------------------------------- */

static PetscErrorCode ValueAt(FwAction action, double u, double *value)
{
  FwActionPoint point;

  PetscFunctionBegin;
  PetscCall(FwActionEvaluate(action, u, PETSC_TRUE, &point));
  *value = point.above;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Width of the narrowest structure: of the posterior at the minimum, and of each layer's own density there */
static PetscErrorCode NarrowestDeviation(FwAction action, double u, double *deviation)
{
  const FwModel *model = FwActionModel(action);
  FwActionPoint  point;
  double        *order;

  PetscFunctionBegin;
  PetscCall(FwActionEvaluate(action, u, PETSC_FALSE, &point));
  *deviation = sqrt(2.0 / PetscMax(point.slope, DBL_MIN));
  PetscCall(PetscMalloc1(model->depth, &order));
  PetscCall(FwActionLayers(action, u, order));
  for (PetscInt l = 0; l < model->depth; l++)
    *deviation = PetscMin(*deviation, sqrt(2.0 / (model->width[l] * order[l])));
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Outwards from the outermost minimum that counts, until the weight has fallen by `drop` */
static PetscErrorCode FindEnd(FwAction action, double start, double lowest, double direction, double *end)
{
  const FwModel *model = FwActionModel(action);
  const double   last  = model->width[model->depth - 1];
  double         step = 0.01 * direction, value = lowest;

  PetscFunctionBegin;
  *end = start;
  do {
    *end += step;
    step *= 1.2;
    PetscCall(ValueAt(action, *end, &value));
  } while (0.5 * last * (value - lowest) < drop && fabs(*end) < 600.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindWindow(FwAction action, const FwSaddle *saddle, double *low, double *high, double *step)
{
  const FwModel *model = FwActionModel(action);
  const double   last = model->width[model->depth - 1], lowest = saddle->minimum[0].above;

  PetscFunctionBegin;
  *low = *high = saddle->minimum[0].log_order;
  *step        = step_most;
  for (PetscInt i = 0; i < saddle->n_minimum; i++) {
    const double u         = saddle->minimum[i].log_order;
    double       deviation = INFINITY;

    if (0.5 * last * (saddle->minimum[i].above - lowest) > drop) continue;
    *low  = PetscMin(*low, u);
    *high = PetscMax(*high, u);
    PetscCall(NarrowestDeviation(action, u, &deviation));
    *step = PetscMin(*step, deviation / STEPS_PER_DEVIATION);
  }
  PetscCall(FindEnd(action, *low, lowest, -1.0, low));
  PetscCall(FindEnd(action, *high, lowest, 1.0, high));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- density of the product --------------------------------------------------------------------------------- */

/* Points where one layer's density, tilted to its value q at an end of the window, has not yet dropped: it is largest at
   v = log q, where it falls like (N/2)(e^v - q v) */
static double TiltedEnd(double width, double q, double direction)
{
  double v = log(q), step = 0.01 * direction;

  while (0.5 * width * (exp(v) - q * v - q + q * log(q)) < drop && fabs(v) < 700.0) v += step *= 1.2;
  return v;
}

static PetscErrorCode LayerDensity(double width, double q_low, double q_high, double step, GridFunction *g)
{
  const double low = TiltedEnd(width, q_low, -1.0), high = TiltedEnd(width, q_high, 1.0);

  PetscFunctionBegin;
  g->first = lround(floor(low / step));
  g->n     = (PetscInt)(lround(ceil(high / step)) - g->first + 1);
  PetscCall(PetscMalloc1(g->n, &g->log_value));
  for (PetscInt i = 0; i < g->n; i++) g->log_value[i] = LogGammaDensity(width, (double)(g->first + i) * step);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a <- a * b, the convolution */
static PetscErrorCode Convolve(GridFunction *a, const GridFunction *b, double step)
{
  GridFunction c = {.first = a->first + b->first, .n = a->n + b->n - 1};
  double      *term;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(c.n, &c.log_value));
  PetscCall(PetscMalloc1(b->n, &term));
  for (PetscInt k = 0; k < c.n; k++) {
    PetscInt n = 0;

    for (PetscInt j = PetscMax(0, k - a->n + 1); j < b->n && j <= k; j++)
      term[n++] = a->log_value[k - j] + b->log_value[j];
    c.log_value[k] = LogSumExp(n, term) + log(step);
  }
  PetscCall(PetscFree(term));
  PetscCall(PetscFree(a->log_value));
  *a = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ProductDensity(FwAction action, double low, double high, double step, GridFunction *density)
{
  const FwModel *model = FwActionModel(action);
  double        *q_low, *q_high;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(model->depth, &q_low, model->depth, &q_high));
  PetscCall(FwActionLayers(action, low, q_low));
  PetscCall(FwActionLayers(action, high, q_high));
  PetscCall(LayerDensity(model->width[0], q_low[0], q_high[0], step, density));
  for (PetscInt l = 1; l < model->depth; l++) {
    GridFunction layer;

    PetscCall(LayerDensity(model->width[l], q_low[l], q_high[l], step, &layer));
    PetscCall(Convolve(density, &layer, step));
    PetscCall(PetscFree(layer.log_value));
  }
  PetscCall(PetscFree2(q_low, q_high));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- nodes and weights -------------------------------------------------------------------------------------- */

static PetscErrorCode Weigh(FwAction action, const GridFunction *density, double low, double high, double step,
                            FwAverage *average)
{
  const long begin = lround(ceil(low / step)), end = lround(floor(high / step));
  double     total, least                          = 0.0;

  PetscFunctionBegin;
  average->n = (PetscInt)(end - begin + 1);
  PetscCall(PetscMalloc2(average->n, &average->order, average->n, &average->weight));
  for (PetscInt i = 0; i < average->n; i++) {
    const long  at = begin + i - density->first;
    FwResolvent r;

    average->order[i] = exp((double)(begin + i) * step);
    PetscCall(FwActionResolve(action, average->order[i], PETSC_TRUE, &r));
    least = r.fit_least;
    average->weight[i] =
      at >= 0 && at < density->n ? density->log_value[at] - 0.5 * (r.log_det + r.fit_above) : -INFINITY;
  }
  total                 = LogSumExp(average->n, average->weight);
  average->log_evidence = total + log(step) - 0.5 * least;
  for (PetscInt i = 0; i < average->n; i++) average->weight[i] = exp(average->weight[i] - total);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nodes that carry nothing would cost a prediction each */
static void DropEmptyNodes(FwAverage *average)
{
  PetscInt kept = 0;

  average->mean_order = 0.0;
  for (PetscInt i = 0; i < average->n; i++) {
    average->mean_order += average->weight[i] * average->order[i];
    if (average->weight[i] < 1e-18) continue;
    average->order[kept]    = average->order[i];
    average->weight[kept++] = average->weight[i];
  }
  average->n = kept;
}

/* Weights are known as well as the fit is that Q changes */
static PetscErrorCode CheckResolved(FwAction action, const FwSaddle *saddle)
{
  FwActionPoint point;

  PetscFunctionBegin;
  PetscCall(FwActionEvaluate(action, saddle->minimum[0].log_order, PETSC_FALSE, &point));
  PetscCheck(
    0.5 * DBL_EPSILON * point.resolvent.fit_above <= blur_most, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
    "theory_average: round-off decides the weights at temperature %.6g, where the labels cost %.6g: set a larger "
    "temperature or theory_bandwidth 0",
    FwActionModel(action)->temperature, point.resolvent.fit_above);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAverageCreate(FwAction action, const FwSaddle *saddle, FwAverage *average)
{
  GridFunction     density;
  FwSpectrumBounds bounds;
  double           low, high, step;

  PetscFunctionBegin;
  *average = (FwAverage){0};
  PetscCall(FindWindow(action, saddle, &low, &high, &step));
  if (!((high - low) / step < NODE_MAX)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CheckResolved(action, saddle));
  PetscCall(ProductDensity(action, low, high, step, &density));
  PetscCall(Weigh(action, &density, low, high, step, average));
  PetscCall(PetscFree(density.log_value));
  DropEmptyNodes(average);
  PetscCheck(
    average->n > 0 && isfinite(average->log_evidence), PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
    "theory_average: the weights of the order parameter are not finite numbers: inputs or variances are too large");
  PetscCall(FwActionBounds(action, &bounds));
  average->log_evidence -= 0.5 * (double)bounds.n * log(2.0 * M_PI);
  average->is_available = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAverageDestroy(FwAverage *average)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(average->order, average->weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}
