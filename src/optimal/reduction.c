/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The recursion over layers.
 *
 * Every moment is a sum of positive terms: with m = E_Z phi and l = E_Z Z phi at a given B, sigma - mean - rho^2 (r - c) is
 * the average of (phi - m - l Z)^2, which keeps its digits where the layer is almost linear. For the same reason the
 * layer hands on r - c, not r.
 */

#include <finwidth/activation.h>
#include <finwidth/reduction.h>

#include "normal_rule.h"

#include <gsl/gsl_sf_exp.h>
#include <math.h>
#include <string.h>

enum { KINKS_MAX = 2 };

static const double widest = 0.5; /* panel */

/* Where an activation is not smooth; without kinks its poles are at a distance of about 1 from 0 */
typedef struct {
  PetscInt n;
  double   at[KINKS_MAX];
} Kinks;

static Kinks KinksOf(FwActivationType type)
{
  switch (type) {
    case FW_ACTIVATION_RELU:
    case FW_ACTIVATION_LEAKY_RELU:
    case FW_ACTIVATION_SIGN:
      return (Kinks){1, {0.0}};
    case FW_ACTIVATION_HARDTANH:
      return (Kinks){
        2, {-1.0, 1.0}
      };
    default:
      return (Kinks){0};
  }
}

/* The theorem's condition: odd, with two bounded derivatives */
static PetscBool IsInTheorem(FwActivationType type)
{
  return (PetscBool)(type == FW_ACTIVATION_ERF || type == FW_ACTIVATION_TANH || type == FW_ACTIVATION_SIN ||
                     type == FW_ACTIVATION_LINEAR);
}

/* Second moment of a unit in its two parts: shared by all inputs, and the rest r - c */
typedef struct {
  double shared, rest;
} Moment;

/* One layer while it is being integrated */
typedef struct {
  FwActivationType type;
  FwActivation     phi;
  PetscBool        is_odd;
  double           gain; /* of phi(gain u) */
  Kinks            kinks;
  Moment           in;
  FwNormalRule     rule; /* over Z, for one B */
  double          *value;
  PetscInt         room;
} Layer;

/* E_Z phi, E_Z Z phi and the variance of what remains, at one value of sqrt(c) B */
typedef struct {
  double mean, slope, rest;
} Conditional;

static PetscErrorCode PrepareRule(Layer *layer, double shift)
{
  const double root = sqrt(layer->in.rest);
  FwFeature    feature[KINKS_MAX];
  PetscInt     n = 0;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < layer->kinks.n; k++)
    feature[n++] = (FwFeature){(layer->kinks.at[k] / layer->gain - shift) / root, 0.0};
  if (!n) feature[n++] = (FwFeature){-shift / root, 1.0 / (layer->gain * root)};
  PetscCall(FwNormalRuleMake(n, feature, widest, &layer->rule));
  if (layer->rule.n > layer->room) {
    layer->room = layer->rule.n;
    PetscCall(PetscRealloc(layer->room * sizeof *layer->value, &layer->value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AverageAt(Layer *layer, double shift, Conditional *c)
{
  const double  root = sqrt(layer->in.rest);
  const double *x, *w;

  PetscFunctionBegin;
  PetscCall(PrepareRule(layer, shift));
  x  = layer->rule.x;
  w  = layer->rule.weight;
  *c = (Conditional){0};
  for (PetscInt i = 0; i < layer->rule.n; i++) layer->value[i] = layer->gain * (shift + root * x[i]);
  PetscCall(FwActivationEvaluate(layer->phi, layer->rule.n, layer->value, layer->value, NULL, NULL));
  for (PetscInt i = 0; i < layer->rule.n; i++) {
    c->mean += w[i] * layer->value[i];
    c->slope += w[i] * x[i] * layer->value[i];
  }
  for (PetscInt i = 0; i < layer->rule.n; i++) c->rest += w[i] * pow(layer->value[i] - c->mean - c->slope * x[i], 2);
  if (c->slope * c->slope < 1e-28 * (c->mean * c->mean + c->rest))
    c->slope = 0.0; /* what has cancelled but for rounding */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a layer is made of */
typedef struct {
  Moment out;
  double linear, epsilon; /* rho^2 (r - c) with the sign of rho; the rest */
} LayerMoments;

/* An odd activation on units without a shared part: B does not matter, and the mean is zero, not 1e-17 */
static PetscErrorCode AverageOdd(Layer *layer, LayerMoments *moments)
{
  Conditional c;

  PetscFunctionBegin;
  PetscCall(AverageAt(layer, 0.0, &c));
  *moments = (LayerMoments){.linear = c.slope * fabs(c.slope), .epsilon = c.rest};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* E_Z smooths over sqrt(r - c), which is what is narrow for B */
static PetscErrorCode AverageBoth(Layer *layer, LayerMoments *moments)
{
  const double spread = sqrt(layer->in.shared), root = sqrt(layer->in.rest);
  FwNormalRule outer = {0};
  FwFeature    feature[KINKS_MAX];
  PetscInt     n = 0;
  Conditional  c;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < layer->kinks.n; k++)
    feature[n++] = (FwFeature){layer->kinks.at[k] / (layer->gain * spread), root / spread};
  if (!n) feature[n++] = (FwFeature){0.0, hypot(1.0 / layer->gain, root) / spread};
  PetscCall(FwNormalRuleMake(n, feature, widest, &outer));
  *moments = (LayerMoments){0};
  for (PetscInt i = 0; i < outer.n; i++) {
    PetscCall(AverageAt(layer, spread * outer.x[i], &c));
    moments->out.shared += outer.weight[i] * c.mean * c.mean;
    moments->linear += outer.weight[i] * c.slope * c.slope;
    moments->epsilon += outer.weight[i] * c.rest;
  }
  PetscCall(FwNormalRuleDestroy(&outer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A first layer that is not odd: all inputs share one mean, and B has nothing to act on */
static PetscErrorCode AverageFirst(Layer *layer, LayerMoments *moments)
{
  Conditional c;

  PetscFunctionBegin;
  PetscCall(AverageAt(layer, 0.0, &c));
  *moments = (LayerMoments){.out = {.shared = c.mean * c.mean}, .linear = c.slope * c.slope, .epsilon = c.rest};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A linear layer is exact, so that gamma is 0 and not 1e-33 */
static void Linear(const Layer *layer, LayerMoments *moments)
{
  const double square = layer->gain * layer->gain;

  *moments = (LayerMoments){.out = {.shared = square * layer->in.shared}, .linear = square * layer->in.rest};
}

/* The waves of sin are known in closed form, whatever the gain. With x = gain^2 (r - c), y = gain^2 c the rest is
 *
 *     (1 - (1 + x) e^-x + e^-2y (e^-x (1 - x) - e^-2x)) / 2,
 *
 * for small x written in positive terms */
static void Sine(const Layer *layer, LayerMoments *moments)
{
  const double square = layer->gain * layer->gain, x = square * layer->in.rest, y = square * layer->in.shared;
  const double damp = exp(-x), wave = exp(-2.0 * y), still = -expm1(-2.0 * y);

  *moments = (LayerMoments){.out = {.shared = 0.5 * damp * still}, .linear = 0.5 * x * damp * (1.0 + wave)};
  if (x > 1.0)
    moments->epsilon = 0.5 * (1.0 - (1.0 + x) * damp + wave * damp * (1.0 - x - damp));
  else
    moments->epsilon =
      0.25 * x * x * damp * (x / 3.0 * (gsl_sf_exprel_n(3, x) + gsl_sf_exprel_n(3, -x)) + still * gsl_sf_exprel_2(-x));
}

static PetscErrorCode AverageLayer(Layer *layer, LayerMoments *moments)
{
  PetscFunctionBegin;
  if (layer->type == FW_ACTIVATION_LINEAR)
    Linear(layer, moments);
  else if (layer->type == FW_ACTIVATION_SIN)
    Sine(layer, moments);
  else if (layer->in.shared > 0.0)
    PetscCall(AverageBoth(layer, moments));
  else if (layer->is_odd)
    PetscCall(AverageOdd(layer, moments));
  else
    PetscCall(AverageFirst(layer, moments));
  moments->out.rest = fabs(moments->linear) + moments->epsilon;
  PetscCall(PetscFree(layer->value));
  PetscCall(FwNormalRuleDestroy(&layer->rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckTarget(const FwDeepTarget *target)
{
  PetscFunctionBegin;
  PetscCheck(target->depth >= 0, PETSC_COMM_SELF, FW_ERR_INPUT, "a network of depth %" PetscInt_FMT, target->depth);
  PetscCheck(target->input_variance > 0.0 && isfinite(target->input_variance), PETSC_COMM_SELF, FW_ERR_INPUT,
             "the variance of the inputs, %g, is not positive", target->input_variance);
  PetscCheck(target->readout_variance > 0.0 && isfinite(target->readout_variance), PETSC_COMM_SELF, FW_ERR_INPUT,
             "the variance of the readout, %g, is not positive", target->readout_variance);
  for (PetscInt l = 0; l < target->depth; l++) {
    PetscCheck(target->activation[l] >= 0 && target->activation[l] < FW_ACTIVATION_COUNT, PETSC_COMM_SELF, FW_ERR_INPUT,
               "there is no activation number %" PetscInt_FMT, target->activation[l]);
    PetscCheck(target->gain[l] > 0.0 && isfinite(target->gain[l]), PETSC_COMM_SELF, FW_ERR_INPUT,
               "the gain of a layer, %g, is not positive", target->gain[l]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layer l from the one below it */
static PetscErrorCode Step(const FwDeepTarget *target, PetscInt l, Moment *moment, FwReduction *r)
{
  Layer        layer   = {.type  = (FwActivationType)target->activation[l],
                          .gain  = target->gain[l],
                          .in    = *moment,
                          .kinks = KinksOf((FwActivationType)target->activation[l])};
  LayerMoments moments = {0};
  double       ratio;

  PetscFunctionBegin;
  PetscCall(FwActivationGet(layer.type, &layer.phi));
  PetscCall(FwActivationIsOdd(layer.phi, &layer.is_odd));
  PetscCall(AverageLayer(&layer, &moments));
  PetscCheck(moments.out.rest > 0.0 && isfinite(moments.out.rest + moments.out.shared), PETSC_COMM_SELF,
             FW_ERR_NUMERICAL, "layer %" PetscInt_FMT " of the network: its variance over inputs is %g", l + 1,
             moments.out.rest);
  ratio           = moments.linear / moment->rest;
  r->rho[l]       = copysign(sqrt(fabs(ratio)), ratio);
  r->epsilon[l]   = moments.epsilon;
  r->gamma        = fabs(ratio) * r->gamma + moments.epsilon;
  r->mean[l + 1]  = moments.out.shared;
  r->sigma[l + 1] = moments.out.shared + moments.out.rest;
  r->eta *= r->rho[l];
  r->is_odd    = (PetscBool)(r->is_odd && layer.is_odd);
  r->is_smooth = (PetscBool)(r->is_smooth && IsInTheorem(layer.type));
  *moment      = moments.out;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReductionCreate(const FwDeepTarget *target, FwReduction *r)
{
  const PetscInt L      = target->depth;
  Moment         moment = {.rest = target->input_variance};
  PetscErrorCode code   = PETSC_SUCCESS;

  PetscFunctionBegin;
  memset(r, 0, sizeof *r);
  PetscCall(CheckTarget(target));
  *r = (FwReduction){.depth = L, .eta = sqrt(target->input_variance), .is_odd = PETSC_TRUE, .is_smooth = PETSC_TRUE};
  PetscCall(PetscCalloc4(L + 1, &r->sigma, L + 1, &r->mean, L, &r->rho, L, &r->epsilon));
  r->sigma[0] = target->input_variance;
  for (PetscInt l = 0; l < L && !code; l++) code = Step(target, l, &moment, r);
  if (code) PetscCall(FwReductionDestroy(r));
  PetscCall(code);
  r->eta *= sqrt(target->readout_variance);
  r->gamma *= target->readout_variance;
  r->bias     = target->readout_variance * moment.shared;
  r->variance = r->eta * r->eta + r->gamma;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReductionDestroy(FwReduction *r)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(r->sigma, r->mean, r->rho, r->epsilon));
  memset(r, 0, sizeof *r);
  PetscFunctionReturn(PETSC_SUCCESS);
}
