/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Updates of the weights by the descent methods, for one network and for eight in lanes alike: number i goes by the rates
 * of lane i modulo 8, which are the same for all lanes where there is one network only.
 */

#include "training_impl.h"

#include <math.h>

static const double beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8; /* adam's */

/* --- rates ------------------------------------------------------------------------------------------------------ */

static PetscBool IsAdam(FwTrainMethod method)
{
  return (PetscBool)(method == FW_TRAIN_ADAM || method == FW_TRAIN_ADAMW);
}

FwTrainScale FwTrainGetScale(const FwTrainPlan *plan, double n_step)
{
  if (!IsAdam(plan->method)) return (FwTrainScale){1.0, 1.0};
  return (FwTrainScale){1.0 / (1.0 - pow(beta_1, n_step)), 1.0 / sqrt(1.0 - pow(beta_2, n_step))};
}

static void SetRate(const FwTrainPlan *plan, double step, double decay, PetscInt lane, FwTrainRates *rates)
{
  rates->step[lane]  = step;
  rates->decay[lane] = plan->method == FW_TRAIN_ADAMW ? 0.0 : decay;
  rates->keep[lane]  = plan->method == FW_TRAIN_ADAMW ? 1.0 - step * decay : 1.0;
}

void FwTrainSetRates(const FwTrainPlan *plan, const FwTrainRun *run, PetscInt lane, FwTrainRates *weight,
                     FwTrainRates *bias)
{
  SetRate(plan, run->step, run->decay.weight, lane, weight);
  SetRate(plan, run->step, run->decay.bias, lane, bias);
}

/* --- updates of one number -------------------------------------------------------------------------------------- */

FW_VECTOR_HELPER void Descend(const FwTrainRates *rates, int l, double g, double *v)
{
  *v -= rates->step[l] * (g + rates->decay[l] * *v);
}

FW_VECTOR_HELPER void Roll(const FwTrainRates *rates, double beta, int l, double g, double *u, double *v)
{
  *u = beta * *u + (g + rates->decay[l] * *v);
  *v -= rates->step[l] * *u;
}

FW_VECTOR_HELPER void LookAhead(const FwTrainRates *rates, double beta, int l, double g, double *u, double *v)
{
  const double slope = g + rates->decay[l] * *v;

  *u = beta * *u + slope;
  *v -= rates->step[l] * (slope + beta * *u);
}

/* The direction is m over what is returned */
FW_VECTOR_HELPER double Adapt(const FwTrainRates *rates, double scale, int l, double g, double v, double *m, double *s)
{
  const double slope = g + rates->decay[l] * v;

  *m = beta_1 * *m + (1.0 - beta_1) * slope;
  *s = beta_2 * *s + (1.0 - beta_2) * slope * slope;
  return sqrt(*s) * scale + epsilon;
}

/* --- of n numbers: eights, and what is left --------------------------------------------------------------------- */

FW_VECTOR static void DescendAll(PetscInt n, const FwTrainRates *rates, const double *restrict g, double *restrict v)
{
  PetscInt i = 0;

  for (; i + FW_LANES <= n; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) Descend(rates, l, g[i + l], &v[i + l]);
  for (int l = 0; i < n; i++, l++) Descend(rates, l, g[i], &v[i]);
}

FW_VECTOR static void RollAll(PetscInt n, const FwTrainRates *rates, double beta, const double *restrict g,
                              double *restrict u, double *restrict v)
{
  PetscInt i = 0;

  for (; i + FW_LANES <= n; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) Roll(rates, beta, l, g[i + l], &u[i + l], &v[i + l]);
  for (int l = 0; i < n; i++, l++) Roll(rates, beta, l, g[i], &u[i], &v[i]);
}

FW_VECTOR static void LookAheadAll(PetscInt n, const FwTrainRates *rates, double beta, const double *restrict g,
                                   double *restrict u, double *restrict v)
{
  PetscInt i = 0;

  for (; i + FW_LANES <= n; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) LookAhead(rates, beta, l, g[i + l], &u[i + l], &v[i + l]);
  for (int l = 0; i < n; i++, l++) LookAhead(rates, beta, l, g[i], &u[i], &v[i]);
}

/* Moments, and what the steps of n eights are divided by */
FW_VECTOR_HELPER void AdaptMoments(PetscInt n, const FwTrainRates *rates, double scale, const double *restrict g,
                                   const double *restrict v, double *restrict m, double *restrict s,
                                   double *restrict size)
{
  for (PetscInt i = 0; i < n * FW_LANES; i += FW_LANES)
    for (int l = 0; l < FW_LANES; l++) size[i + l] = Adapt(rates, scale, l, g[i + l], v[i + l], &m[i + l], &s[i + l]);
}

/* Two eights share their divisions, of which the processor makes few at a time: a / b = a d / (b d), c / d = c b / (b d) */
FW_VECTOR_HELPER void AdaptPair(const FwTrainRates *rates, const double *restrict step, const double *restrict size,
                                const double *restrict m, double *restrict v)
{
  double both[FW_LANES];

  for (int l = 0; l < FW_LANES; l++) both[l] = step[l] / (size[l] * size[FW_LANES + l]);
  for (int l = 0; l < FW_LANES; l++) v[l] = rates->keep[l] * v[l] - both[l] * size[FW_LANES + l] * m[l];
  for (int l = 0; l < FW_LANES; l++)
    v[FW_LANES + l] = rates->keep[l] * v[FW_LANES + l] - both[l] * size[l] * m[FW_LANES + l];
}

FW_VECTOR static void AdaptAll(PetscInt n, const FwTrainRates *rates, FwTrainScale scale, const double *restrict g,
                               double *restrict m, double *restrict s, double *restrict v)
{
  enum { PAIR = 2 * FW_LANES, MOST = 16 * PAIR };
  double   step[FW_LANES], size[MOST];
  PetscInt i = 0, n_here;

  for (int l = 0; l < FW_LANES; l++) step[l] = rates->step[l] * scale.first;
  for (; i + PAIR <= n; i += n_here) {
    n_here = PetscMin(MOST, (n - i) / PAIR * PAIR);
    AdaptMoments(n_here / FW_LANES, rates, scale.second, g + i, v + i, m + i, s + i, size);
    for (PetscInt j = 0; j < n_here; j += PAIR) AdaptPair(rates, step, size + j, m + i + j, v + i + j);
  }
  for (int l = 0; i < n; i++, l = (l + 1) % FW_LANES) {
    size[0] = Adapt(rates, scale.second, l, g[i], v[i], &m[i], &s[i]);
    v[i]    = rates->keep[l] * v[i] - step[l] / size[0] * m[i];
  }
}

void FwTrainUpdatePiece(const FwTrainPlan *plan, PetscInt n, const FwTrainRates *rates, FwTrainScale scale,
                        const double g[], double u[], double s[], double v[])
{
  switch (plan->method) {
    case FW_TRAIN_GD:
      DescendAll(n, rates, g, v);
      break;
    case FW_TRAIN_NESTEROV:
      LookAheadAll(n, rates, plan->momentum, g, u, v);
      break;
    case FW_TRAIN_ADAM:
    case FW_TRAIN_ADAMW:
      AdaptAll(n, rates, scale, g, u, s, v);
      break;
    default:
      RollAll(n, rates, plan->momentum, g, u, v);
  }
}

void FwTrainUpdate(const FwTrainPlan *plan, const FwLearnerShape *shape, PetscInt n_lane, const FwTrainRates *weight,
                   const FwTrainRates *bias, FwTrainScale scale, const double g[], double moment[], double v[])
{
  double *u = moment, *s = moment ? moment + (size_t)n_lane * FwLearnerShapeSize(shape) : NULL;

  for (PetscInt l = 1; l <= shape->n_layer; l++) {
    const PetscInt n_weight = n_lane * shape->width[l] * shape->width[l - 1];
    const PetscInt n_bias   = shape->has_bias ? n_lane * shape->width[l] : 0;

    FwTrainUpdatePiece(plan, n_weight, weight, scale, g, u, s, v);
    g += n_weight, v += n_weight;
    if (u) u += n_weight, s += n_weight;
    FwTrainUpdatePiece(plan, n_bias, bias, scale, g, u, s, v);
    g += n_bias, v += n_bias;
    if (u) u += n_bias, s += n_bias;
  }
}
