/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One output: the posterior of x = log q by the trapezoid rule, on a window outside of which nothing is left.
 *
 * The density of x given Y is f(x) exp(-(log det A + fit)/2), f the prior's. Outwards from the prior's mean, the window
 * ends where no point beyond can matter: to the right log f falls (it is concave), log det A rises, and fit falls by at
 * most itself; to the left fit rises, and log det A falls by at most log det A - P log T. At T = 0 the logarithm of the
 * density is concave as a whole.
 */

#include <finwidth/mixture_density.h>

#include "posterior_impl.h"

#include <math.h>

enum { STEPS_MAX = 1000000, NODES_FIRST = 64, NODES_MAX = 1 << 18, CURVE = 201 };

enum { LOG_Q_MOST = 700 }; /* exp() of more is no number */

static const double drop = 46.0; /* e^-46 = 1e-20: round-off of the sum */

typedef struct {
  FwMixtureDensity density; /* of log q; NULL at a = infinity, where it is q^-1/2 in the limit */
  FwLikelihood    *likelihood;
  double           start, step; /* somewhere in the prior, and a part of its deviation */
} Target;

/* log of the density up to a constant, log det A and fit */
typedef struct {
  double x, value, prior, log_det, fit;
} Point;

static PetscErrorCode Evaluate(const Target *target, double x, Point *point)
{
  PetscFunctionBegin;
  point->x     = x;
  point->prior = -0.5 * x;
  if (target->density) PetscCall(FwMixtureDensityEvaluate(target->density, x, &point->prior, NULL));
  PetscCall(FwLikelihoodForms(target->likelihood, x, &point->log_det, &point->fit));
  point->value = point->prior - 0.5 * (point->log_det + point->fit);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the window --------------------------------------------------------------------------------------------- */

/* What a point beyond this one may reach, in the density times max(1, q / q_best): the mean of q is wanted, too */
static double BoundRight(const Target *target, const Point *p, const Point *best)
{
  (void)target;
  return p->value + 0.5 * p->fit + PetscMax(0.0, p->x - best->x);
}

static double BoundLeft(const Target *target, const Point *p, const Point *best)
{
  const double t = target->likelihood->temperature;

  (void)best;
  if (t == 0.0) return p->value;
  return p->value + 0.5 * (p->log_det - target->likelihood->n_train * log(t));
}

static PetscErrorCode March(const Target *target, double                                          direction,
                            double (*bound)(const Target *, const Point *, const Point *), Point *best, double *end)
{
  Point p, before;

  PetscFunctionBegin;
  PetscCall(Evaluate(target, target->start, &p));
  if (p.value > best->value) *best = p;
  for (PetscInt i = 1;; i++) {
    before = p;
    PetscCheck(
      i < STEPS_MAX && p.x < LOG_Q_MOST, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
      "the posterior of log q has no end in sight at log q = %.6g: set a larger temperature, or smaller labels", p.x);
    PetscCall(Evaluate(target, target->start + direction * i * target->step, &p));
    if (p.value > best->value) *best = p;
    if ((p.prior < before.prior || !target->density) && p.value <= before.value &&
        bound(target, &p, best) < best->value - drop)
      break;
  }
  *end = p.x;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the quadrature ----------------------------------------------------------------------------------------- */

typedef struct {
  PetscInt n;
  double   step, total; /* log of the sum times the step */
  double   mean_q;
  Point   *point; /* [n] */
} Rule;

static PetscErrorCode Apply(const Target *target, double low, double high, PetscInt n, Rule *rule)
{
  double largest = -INFINITY, sum = 0.0, moment = 0.0;

  PetscFunctionBegin;
  rule->n    = n;
  rule->step = (high - low) / (double)(n - 1);
  PetscCall(PetscMalloc1(n, &rule->point));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(Evaluate(target, low + (double)i * rule->step, &rule->point[i]));
    largest = PetscMax(largest, rule->point[i].value);
  }
  for (PetscInt i = 0; i < n; i++) {
    const double weight = exp(rule->point[i].value - largest);

    sum += weight;
    moment += weight * exp(rule->point[i].x);
  }
  rule->total  = largest + log(sum * rule->step);
  rule->mean_q = moment / sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Halving the step squares the error of the trapezoid rule: 1e-8 between two of them leaves round-off */
static PetscErrorCode Converge(const Target *target, double low, double high, Rule *rule)
{
  PetscFunctionBegin;
  PetscCall(Apply(target, low, high, NODES_FIRST + 1, rule));
  for (PetscInt n = 2 * NODES_FIRST; n <= NODES_MAX; n *= 2) {
    const Rule before = *rule;

    PetscCall(PetscFree(rule->point));
    PetscCall(Apply(target, low, high, n + 1, rule));
    if (fabs(rule->total - before.total) < 1e-8 && fabs(rule->mean_q / before.mean_q - 1.0) < 1e-8)
      PetscFunctionReturn(PETSC_SUCCESS);
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL, "the quadrature over log q did not converge between %.6g and %.6g", low,
          high);
}

static PetscErrorCode FillNodes(const Rule *rule, FwNodeSet *nodes)
{
  PetscInt kept = 0;

  PetscFunctionBegin;
  PetscCall(FwNodeSetCreate(1, rule->n, rule->n, nodes));
  for (PetscInt i = 0; i < rule->n; i++) {
    const double weight = rule->step * exp(rule->point[i].value - rule->total);

    if (weight * (1.0 + exp(rule->point[i].x) / rule->mean_q) < 1e-18) continue;
    nodes->log_q[kept]    = rule->point[i].x;
    nodes->weight[kept]   = weight;
    nodes->rotation[kept] = 1.0;
    kept++;
    nodes->first[kept] = kept;
  }
  nodes->n_group = nodes->n_node = kept;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the curve ---------------------------------------------------------------------------------------------- */

static PetscErrorCode FillCurve(const Target *target, const Rule *rule, FwMixturePosterior *posterior)
{
  double mean, variance, low, high;

  PetscFunctionBegin;
  PetscCall(FwMixtureDensityMoments(target->density, &mean, &variance));
  low  = mean - 4.0 * sqrt(variance);
  high = mean + 3.5 * sqrt(variance);
  for (PetscInt i = 0; i < rule->n; i++)
    if (exp(rule->point[i].value - rule->total) * rule->step > 1e-6) {
      low  = PetscMin(low, rule->point[i].x);
      high = PetscMax(high, rule->point[i].x);
    }
  posterior->n_curve = CURVE;
  PetscCall(
    PetscMalloc3(CURVE, &posterior->curve_log_q, CURVE, &posterior->curve_prior, CURVE, &posterior->curve_posterior));
  for (PetscInt i = 0; i < CURVE; i++) {
    Point p;

    PetscCall(Evaluate(target, low + (high - low) * (double)i / (CURVE - 1), &p));
    posterior->curve_log_q[i]     = p.x;
    posterior->curve_prior[i]     = exp(p.prior);
    posterior->curve_posterior[i] = exp(p.value - rule->total);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateTarget(const FwMixtureLaw *law, FwLikelihood *likelihood, Target *target)
{
  FwSpectrumBounds bounds;
  double           mean, variance;

  PetscFunctionBegin;
  *target = (Target){.likelihood = likelihood};
  PetscCall(FwSpectrumGetBounds(likelihood->spectrum, &bounds));
  if (isinf(law->a)) {
    target->start = log(bounds.label2 / bounds.trace / likelihood->scale);
    target->step  = 0.25;
  } else {
    PetscCall(FwMixtureDensityCreate(law, FW_MIXTURE_LOG_Q, &target->density));
    PetscCall(FwMixtureDensityMoments(target->density, &mean, &variance));
    target->start = mean;
    target->step  = 0.25 * PetscMin(1.0, sqrt(variance));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorOneOutput(const FwMixtureLaw *law, FwLikelihood *likelihood, FwMixturePosterior *posterior,
                                    FwNodeSet *nodes)
{
  Target target;
  Rule   rule;
  Point  best = {.value = -INFINITY};
  double low, high;

  PetscFunctionBegin;
  PetscCall(CreateTarget(law, likelihood, &target));
  PetscCall(March(&target, 1.0, BoundRight, &best, &high));
  PetscCall(March(&target, -1.0, BoundLeft, &best, &low));
  PetscCall(Converge(&target, low, high, &rule));
  PetscCall(FillNodes(&rule, nodes));
  if (target.density) PetscCall(FillCurve(&target, &rule, posterior));
  posterior->method       = "quadrature";
  posterior->log_evidence = target.density ? rule.total - 0.5 * likelihood->n_train * log(2.0 * M_PI) : -INFINITY;
  PetscCall(PetscFree(rule.point));
  PetscCall(FwMixtureDensityDestroy(&target.density));
  PetscFunctionReturn(PETSC_SUCCESS);
}
