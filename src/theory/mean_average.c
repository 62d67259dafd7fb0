/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Exact average over Q and the part of the readout along the mean.
 *
 * With a = sqrt(N Q) sin(theta) the integral over a at given Q is one over an angle,
 *
 *     int da (Q - a^2/N)^{(N-3)/2} f(a) = sqrt(N) Q^{(N-2)/2} int dtheta cos^{N-2}(theta) f(sqrt(N Q) sin(theta)),
 *
 * f(a) = exp(a F_ym / sqrt(lambda_1) - a^2 F_mm / (2 lambda_1)) what the labels say of a.
 */

#include <finwidth/mean_action.h>

#include <float.h>
#include <math.h>

static const double drop = 44.0; /* exp(-drop) is below round-off of the sum */

enum { NODE_MAX = 2000, ANGLE_MAX = 20000 };

/* Moments of a at one Q, and the logarithm of the integral over it */
typedef struct {
  double log_sum, mean, variance;
} Inner;

/* sin(theta) where the integrand in a is largest: it is log-concave for N >= 3 */
static double Centre(double N, double along, double across)
{
  double low = -1.0, high = 1.0;

  for (int i = 0; i < 60; i++) {
    const double x = 0.5 * (low + high);

    *(along - across * x - PetscMax(N - 3.0, 0.0) * x / (1.0 - x * x) > 0.0 ? &low : &high) = x;
  }
  return 0.5 * (low + high);
}

/* Trapezoid rule: steps of half the narrowest width, over nine times the widest on both sides of the centre */
static Inner IntegrateAngle(double N, double root, double along, double across)
{
  const double centre = asin(Centre(N, along, across)), wide = 9.0 / sqrt(N - 1.0);
  const double low = PetscMax(centre - wide, -0.5 * M_PI), high = PetscMin(centre + wide, 0.5 * M_PI);
  const double cosine  = PetscMax(cos(centre), 1e-8);
  const double narrow  = 0.5 / sqrt((N - 2.0) / (cosine * cosine) + fabs(across) + fabs(along) + 1.0);
  const int    n       = PetscMax(16, PetscMin(ANGLE_MAX, (int)ceil((high - low) / narrow)));
  const double step    = (high - low) / n;
  double       largest = -INFINITY, sum = 0.0;
  Inner        inner = {0};

  for (int pass = 0; pass < 3; pass++) /* the largest term; sum and mean; variance */
    for (int i = 0; i <= n; i++) {
      const double theta = low + i * step, x = sin(theta), c = cos(theta);
      const double f      = along * x - 0.5 * across * x * x + (N > 2.0 ? (N - 2.0) * log(PetscMax(c, DBL_MIN)) : 0.0);
      const double weight = (i == 0 || i == n ? 0.5 : 1.0) * exp(f - largest);

      if (pass == 0) largest = PetscMax(largest, f);
      if (pass == 1) sum += weight;
      if (pass == 1) inner.mean += weight * root * x;
      if (pass == 2) inner.variance += weight * PetscSqr(root * x - inner.mean / sum);
    }
  inner.log_sum = largest + log(sum * step);
  inner.mean /= sum;
  inner.variance /= sum;
  return inner;
}

/* log of the weight of a node at u, and the moments of a there */
static PetscErrorCode WeighNode(FwMeanAction action, double u, double *log_weight, Inner *inner)
{
  const FwModel *model = FwMeanActionModel(action);
  const double   N = model->width[0], Q = exp(u), root = sqrt(N * Q), half = 0.5 * (N - 1.0);
  FwMeanPoint    p;

  PetscFunctionBegin;
  PetscCall(FwMeanActionEvaluate(action, u, 0.0, PETSC_TRUE, &p));
  *inner = IntegrateAngle(N, root, root * p.fit[1] / sqrt(model->prior[1]), root * root * p.fit[2] / model->prior[1]);
  *log_weight = half * log(0.5 * N) - lgamma(half) - 0.5 * log(2.0 * M_PI) + 0.5 * log(N) + 0.5 * N * u - 0.5 * N * Q +
                inner->log_sum - 0.5 * (p.resolvent.log_det + p.fit_above[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The interval of the minima that count, and a third of the narrowest width there */
static PetscErrorCode FindCore(FwMeanAction action, const FwSaddle *saddle, double *low, double *high, double *step)
{
  const double N = FwMeanActionModel(action)->width[0];

  PetscFunctionBegin;
  *low = *high = saddle->minimum[0].log_order;
  *step        = sqrt(2.0 / (N * PetscMax(exp(*low), 1.0))) / 3.0;
  for (PetscInt i = 0; i < saddle->n_minimum; i++) {
    FwMeanPoint p;

    if (0.5 * N * (saddle->minimum[i].above - saddle->minimum[0].above) > drop) continue;
    PetscCall(FwMeanActionEliminate(action, saddle->minimum[i].log_order, PETSC_FALSE, &p));
    *low  = PetscMin(*low, p.log_order);
    *high = PetscMax(*high, p.log_order);
    *step = PetscMin(*step, sqrt(2.0 / PetscMax(p.slope[0] - p.slope[1] * p.slope[1] / p.slope[2], 1e-6)) / 3.0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nodes from `start` on in steps, until the weight has dropped and `end` is passed; not complete where nodes ran out before */
static PetscErrorCode Walk(FwMeanAction action, double start, double step, double end, double *largest,
                           FwMeanAverage *average, PetscBool *is_complete)
{
  double    u = start, log_weight = 0.0;
  PetscBool is_core = PETSC_TRUE;

  PetscFunctionBegin;
  do {
    Inner inner = {0};

    PetscCall(WeighNode(action, u, &log_weight, &inner));
    average->order[average->n]    = exp(u);
    average->weight[average->n]   = log_weight;
    average->first[average->n]    = inner.mean;
    average->spread[average->n++] = inner.variance;
    *largest                      = PetscMax(*largest, log_weight);
    u += step;
    is_core = (step > 0.0 ? u < end : u > end) ? PETSC_TRUE : PETSC_FALSE;
  } while (average->n < NODE_MAX && (log_weight > *largest - drop || is_core));
  *is_complete = !is_core && log_weight <= *largest - drop ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Normalise(double n_train, double step, double largest, FwMeanAverage *average)
{
  double   sum  = 0.0;
  PetscInt kept = 0;

  for (PetscInt i = 0; i < average->n; i++) sum += average->weight[i] = exp(average->weight[i] - largest);
  average->log_evidence = largest + log(sum * step) - 0.5 * n_train * log(2.0 * M_PI);
  average->mean_order   = 0.0;
  for (PetscInt i = 0; i < average->n; i++) {
    average->weight[i] /= sum;
    average->mean_order += average->weight[i] * average->order[i];
    if (average->weight[i] < 1e-18) continue; /* would cost a prediction */
    average->order[kept]    = average->order[i];
    average->weight[kept]   = average->weight[i];
    average->first[kept]    = average->first[i];
    average->spread[kept++] = average->spread[i];
  }
  average->n = kept;
}

/* What no Q fits stands in front of the whole; the terms of the weights beside it must be known */
static PetscErrorCode TakeLeast(FwMeanAction action, const FwSaddle *saddle, double *least)
{
  FwMeanPoint p;
  Inner       inner      = {0};
  double      log_weight = 0.0;

  PetscFunctionBegin;
  PetscCall(FwMeanActionEvaluate(action, saddle->minimum[0].log_order, 0.0, PETSC_FALSE, &p));
  PetscCall(WeighNode(action, saddle->minimum[0].log_order, &log_weight, &inner));
  PetscCheck(0.5 * DBL_EPSILON * (fabs(p.fit_above[0]) + fabs(inner.log_sum)) <= 1e-4, PETSC_COMM_WORLD,
             FW_ERR_NUMERICAL,
             "theory_average: round-off decides the weights at temperature %.6g: set a larger temperature",
             FwMeanActionModel(action)->temperature);
  *least = p.fit[0] - p.fit_above[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMeanAverageCreate(FwMeanAction action, const FwSaddle *saddle, FwMeanAverage *average)
{
  FwSpectrumBounds bounds;
  double           low, high, step, least = 0.0, largest = -INFINITY;
  PetscBool        is_up_complete = PETSC_FALSE, is_down_complete = PETSC_FALSE;

  PetscFunctionBegin;
  *average = (FwMeanAverage){0};
  PetscCall(FindCore(action, saddle, &low, &high, &step));
  if ((high - low) / step > NODE_MAX / 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc4(NODE_MAX + 1, &average->order, NODE_MAX + 1, &average->weight, NODE_MAX + 1, &average->first,
                         NODE_MAX + 1, &average->spread));
  PetscCall(Walk(action, low, step, high, &largest, average, &is_up_complete));
  PetscCall(Walk(action, low - step, -step, low, &largest, average, &is_down_complete));
  if (!is_up_complete || !is_down_complete) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMeanActionBounds(action, &bounds));
  Normalise((double)bounds.n, step, largest, average);
  PetscCall(TakeLeast(action, saddle, &least));
  average->log_evidence -= 0.5 * least;
  average->is_available = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMeanAverageDestroy(FwMeanAverage *average)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(average->order, average->weight, average->first, average->spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}
