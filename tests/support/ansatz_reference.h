/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The networks and examples of tests/reference/ansatz.json: everything comes from one closed formula,
 *
 *     qf(s, i, j) = (((i+1)(j+1)(s+3)(i+2j+5) + 11 i^3 + 23 j^2 + 37 s^2 + 5) mod 101) / 50 - 1.
 */

#include <finwidth/learner.h>
#include <finwidth/training.h>

#include "collective_assert.h"
#include "reference.h"

enum { CASE_PARAMETERS = 256, CASE_EXAMPLES = 64, CASE_WIDTH = 8 };

/** One row of the file: x and y by examples, theta at the start. */
typedef struct {
  Reference      row, spec;
  FwLearnerShape shape;
  FwDecay        decay;
  PetscInt       n_example, n_theta;
  double         x[CASE_EXAMPLES * CASE_WIDTH], y[CASE_EXAMPLES * CASE_WIDTH], theta[CASE_PARAMETERS];
} AnsatzCase;

static inline double qf(long s, long i, long j)
{
  const long h = (i + 1) * (j + 1) * (s + 3) * (i + 2 * j + 5) + 11 * i * i * i + 23 * j * j + 37 * s * s + 5;

  return (double)(h % 101) / 50.0 - 1.0;
}

static inline const char *reference_text(Reference from, const char *key, const char *otherwise)
{
  const Reference at = reference_get(from, key);

  return at.node ? (const char *)at.node->data.scalar.value : otherwise;
}

/** Numbers that may be missing. */
static inline double reference_or(Reference from, const char *key, double otherwise)
{
  return reference_get(from, key).node ? reference_value(from, key) : otherwise;
}

/** The activation under its name in the file. */
static inline FwActivationType case_activation(const char *name)
{
  if (!strcmp(name, "quad")) return FW_ACTIVATION_QUADRATIC;
  for (int a = 0; a < FW_ACTIVATION_COUNT; a++)
    if (!strcmp(name, FwActivationNames[a])) return (FwActivationType)a;
  abort();
}

static inline void case_examples(AnsatzCase *c)
{
  const Reference offset = reference_get(c->spec, "offset");
  const PetscInt  d = c->shape.width[0], n_output = c->shape.width[c->shape.n_layer];

  for (PetscInt n = 0; n < c->n_example; n++) {
    for (PetscInt i = 0; i < d; i++) c->x[n * d + i] = qf(1, i, n);
    for (PetscInt k = 0; k < n_output; k++) {
      double *y = &c->y[n * n_output + k];

      *y = 0.1 * qf(3, k, n) + (offset.node ? reference_number(reference_at(offset, (int)k)) : 0.0);
      for (PetscInt i = 0; i < d; i++) *y += qf(2, k, i) * c->x[n * d + i];
    }
  }
}

static inline void case_lecun(AnsatzCase *c)
{
  const double gain = reference_or(c->spec, "gain", 1.0);

  for (PetscInt l = 1; l <= c->shape.n_layer; l++) {
    const PetscInt n_out = c->shape.width[l], n_in = c->shape.width[l - 1];
    double        *w = c->theta + FwLearnerShapeWeight(&c->shape, l), *b = c->theta + FwLearnerShapeBias(&c->shape, l);

    for (PetscInt j = 0; j < n_in; j++)
      for (PetscInt i = 0; i < n_out; i++) w[i + j * n_out] = gain * sqrt(3.0 / (double)n_in) * qf(9 + l, i, j);
    for (PetscInt i = 0; c->shape.has_bias && i < n_out; i++) b[i] = 0.1 * qf(29 + l, i, 0);
  }
}

/** Entry (i, k) of Q_l, a Householder reflection of size n. */
static inline double case_reflection(PetscInt l, PetscInt n, PetscInt i, PetscInt k)
{
  double square = 0.0;

  for (PetscInt a = 0; a < n; a++) square += (1.25 + qf(20 + l, a, 0)) * (1.25 + qf(20 + l, a, 0));
  return (double)(i == k) - 2.0 * (1.25 + qf(20 + l, i, 0)) * (1.25 + qf(20 + l, k, 0)) / square;
}

static inline void case_balanced(AnsatzCase *c)
{
  const Reference sig = reference_get(c->spec, "sig");

  for (PetscInt l = 1; l <= c->shape.n_layer; l++) {
    const PetscInt n_out = c->shape.width[l], n_in = c->shape.width[l - 1];
    double        *w = c->theta + FwLearnerShapeWeight(&c->shape, l);

    for (PetscInt j = 0; j < n_in; j++)
      for (PetscInt i = 0; i < n_out; i++)
        for (int k = 0; k < reference_size(sig); k++)
          w[i + j * n_out] += case_reflection(l, n_out, i, k) *
                              pow(reference_number(reference_at(sig, k)), 1.0 / (double)c->shape.n_layer) *
                              case_reflection(l - 1, n_in, j, k);
  }
}

/** Read a row of `cases`. */
static inline void case_read(Reference row, AnsatzCase *c)
{
  const Reference spec = reference_get(row, "spec"), widths = reference_get(spec, "widths");

  memset(c, 0, sizeof *c);
  c->row           = row;
  c->spec          = spec;
  c->shape.n_layer = reference_size(widths) - 1;
  for (PetscInt l = 0; l <= c->shape.n_layer; l++)
    c->shape.width[l] = (PetscInt)reference_number(reference_at(widths, (int)l));
  c->shape.activation = case_activation(reference_text(spec, "act", "linear"));
  c->shape.has_bias   = (PetscBool)!strcmp(reference_text(spec, "bias", "false"), "true");
  c->decay            = (FwDecay){reference_value(spec, "mu"), reference_value(spec, "mu")};
  c->n_example        = (PetscInt)reference_value(spec, "N");
  c->n_theta          = FwLearnerShapeSize(&c->shape);
  if (c->n_theta > CASE_PARAMETERS || c->n_example > CASE_EXAMPLES) abort();
  case_examples(c);
  if (!strcmp(reference_text(spec, "init", ""), "balanced"))
    case_balanced(c);
  else
    case_lecun(c);
}

/** Its learner, with squared error. */
static inline FwLearner case_learner(const AnsatzCase *c)
{
  FwLearner learner;

  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &c->shape, FW_LOSS_MSE, c->n_example, c->x, c->y, &learner));
  return learner;
}

static inline FwTrainMethod case_method(Reference spec)
{
  const char *kind = reference_text(spec, "kind", "");

  if (!strcmp(kind, "midpoint")) return FW_TRAIN_FLOW_MIDPOINT;
  if (!strcmp(kind, "gd") && reference_get(spec, "nesterov").node) return FW_TRAIN_NESTEROV;
  for (int m = 0; m < FW_TRAIN_COUNT; m++)
    if (!strcmp(kind, FwTrainMethodNames[m])) return (FwTrainMethod)m;
  abort();
}

/** What a row of the file trains, and how long. */
static inline double case_plan(const AnsatzCase *c, FwTrainPlan *plan, FwTrainRun *run)
{
  const FwTrainMethod method = case_method(c->spec);

  *plan      = (FwTrainPlan){.method    = method,
                             .momentum  = reference_or(c->spec, "beta", 0.0),
                             .batch     = (PetscInt)reference_or(c->spec, "batch", 0.0),
                             .is_cyclic = PETSC_TRUE,
                             .tolerance = 1e-12};
  run->decay = c->decay;
  run->step  = reference_or(c->spec, method == FW_TRAIN_FLOW_MIDPOINT ? "h" : "eta", 0.0);
  run->theta = c->theta;
  if (method == FW_TRAIN_FLOW) return reference_value(c->spec, "T");
  return reference_value(c->spec, "steps") * (method == FW_TRAIN_FLOW_MIDPOINT ? run->step : 1.0);
}

/** |W_{l+1}^T W_{l+1} - W_l W_l^T| (Frobenius). */
static inline double case_imbalance(const FwLearnerShape *shape, const double theta[], PetscInt l)
{
  const PetscInt n = shape->width[l], n_in = shape->width[l - 1], n_out = shape->width[l + 1];
  const double  *w = theta + FwLearnerShapeWeight(shape, l), *next = theta + FwLearnerShapeWeight(shape, l + 1);
  double         square = 0.0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      double entry = 0.0;

      for (PetscInt k = 0; k < n_out; k++) entry += next[k + i * n_out] * next[k + j * n_out];
      for (PetscInt k = 0; k < n_in; k++) entry -= w[i + k * n] * w[j + k * n];
      square += entry * entry;
    }
  return sqrt(square);
}
