/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Second derivatives along a direction v = (V, u): forward and backward passes and their derivatives along v, by a dot,
 *
 *     z. = V h + u + W h.,   h. = phi'(z) z.,
 *     (delta below).  = phi' o (V^T delta + W^T delta.) + phi'' o z. o (W^T delta),
 *     gradient.       = delta. h^T + delta h.^T.
 *
 * @source Pearlmutter, Neural Computation 6 (1994) 147
 */

#include "learner_impl.h"

#include <math.h>

/* Room for one piece of the examples, beside what the pass holds */
typedef struct {
  const double *theta, *v;
  double      **curvature;      /* [L - 1] phi''(z) */
  double      **z_dot, **h_dot; /* [L - 1] */
  double       *f_dot, *delta_dot, *below_dot;
} Tangent;

static PetscErrorCode TangentCreate(FwLearner learner, Tangent *t)
{
  const PetscInt L      = learner->shape.n_layer;
  const size_t   n      = (size_t)learner->pass.n_most;
  size_t         widest = 0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc3(L, &t->curvature, L, &t->z_dot, L, &t->h_dot));
  for (PetscInt l = 0; l <= L; l++) widest = PetscMax(widest, (size_t)learner->shape.width[l]);
  for (PetscInt l = 1; l < L; l++) {
    const size_t size = n * (size_t)learner->shape.width[l];

    PetscCall(PetscMalloc3(size, &t->curvature[l - 1], size, &t->z_dot[l - 1], size, &t->h_dot[l - 1]));
  }
  PetscCall(PetscMalloc3(n * widest, &t->f_dot, n * widest, &t->delta_dot, n * widest, &t->below_dot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TangentDestroy(FwLearner learner, Tangent *t)
{
  PetscFunctionBegin;
  for (PetscInt l = 1; l < learner->shape.n_layer; l++)
    PetscCall(PetscFree3(t->curvature[l - 1], t->z_dot[l - 1], t->h_dot[l - 1]));
  PetscCall(PetscFree3(t->curvature, t->z_dot, t->h_dot));
  PetscCall(PetscFree3(t->f_dot, t->delta_dot, t->below_dot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* z. = V h + u + W h.; the inputs do not move */
static void AffineDot(FwLearner learner, const double theta[], const double v[], PetscInt l, PetscInt n,
                      const double h[], const double h_dot[], double z_dot[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);

  FwLearnerAffine(learner, v, l, n, h, z_dot);
  if (h_dot)
    FwGemm("N", "N", layer.n_out, n, layer.n_in, 1.0, theta + layer.weight, layer.n_out, h_dot, layer.n_in, 1.0, z_dot,
           layer.n_out);
}

static PetscErrorCode Forward(FwLearner learner, const double theta[], const double v[], PetscInt n, const double x[],
                              Tangent *t)
{
  FwLearnerPass *pass = &learner->pass;
  const double  *h = x, *h_dot = NULL;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < learner->shape.n_layer; l++) {
    const PetscInt size  = n * learner->shape.width[l];
    double        *slope = pass->slope[l - 1];

    FwLearnerAffine(learner, theta, l, n, h, slope);
    AffineDot(learner, theta, v, l, n, h, h_dot, t->z_dot[l - 1]);
    PetscCall(FwActivationEvaluate(learner->activation, size, slope, pass->h[l - 1], slope, t->curvature[l - 1]));
    for (PetscInt i = 0; i < size; i++) t->h_dot[l - 1][i] = slope[i] * t->z_dot[l - 1][i];
    h     = pass->h[l - 1];
    h_dot = t->h_dot[l - 1];
  }
  FwLearnerAffine(learner, theta, learner->shape.n_layer, n, h, pass->f);
  AffineDot(learner, theta, v, learner->shape.n_layer, n, h, h_dot, t->f_dot);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Second derivative of the loss in f along f., times the weight of an example: of the cross-entropy
   (sum y) (p o f. - p (p . f.)) */
static void LossDot(FwLearner learner, PetscInt n, const double y[], double weight, Tangent *t)
{
  const PetscInt c = learner->shape.width[learner->shape.n_layer];

  for (PetscInt i = 0; i < n * c; i++) t->delta_dot[i] = weight * t->f_dot[i];
  for (PetscInt i = 0; learner->loss == FW_LOSS_CROSS_ENTROPY && i < n; i++) {
    const double *delta = learner->pass.delta + i * c; /* weight (mass p - y) */
    double        mass = 0.0, dot = 0.0;

    for (PetscInt k = 0; k < c; k++) mass += y[i * c + k];
    if (mass == 0.0) {
      (void)PetscArrayzero(t->delta_dot + i * c, c);
      continue;
    }
    for (PetscInt k = 0; k < c; k++) dot += (delta[k] / weight + y[i * c + k]) / mass * t->f_dot[i * c + k];
    for (PetscInt k = 0; k < c; k++)
      t->delta_dot[i * c + k] = (delta[k] + weight * y[i * c + k]) * (t->f_dot[i * c + k] - dot);
  }
}

/* gradient. of layer l is added: delta. h^T + delta h.^T */
static void AddLayerDot(FwLearner learner, PetscInt l, PetscInt n, const double h[], const double h_dot[],
                        const double delta[], const double delta_dot[], double product[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);

  FwLearnerAddLayer(learner, l, n, h, delta_dot, product);
  if (h_dot)
    FwGemm("N", "T", layer.n_out, layer.n_in, n, 1.0, delta, layer.n_out, h_dot, layer.n_in, 1.0,
           product + layer.weight, layer.n_out);
}

/* delta and delta. of the layer below l; `below` is left as phi' o W^T delta */
static void BackDot(FwLearner learner, const double theta[], const double v[], PetscInt l, PetscInt n,
                    const double delta[], Tangent *t, double below[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
  const double        *slope = learner->pass.slope[l - 2], *z_dot = t->z_dot[l - 2], *curvature = t->curvature[l - 2];

  FwGemm("T", "N", layer.n_in, n, layer.n_out, 1.0, theta + layer.weight, layer.n_out, delta, layer.n_out, 0.0, below,
         layer.n_in);
  FwGemm("T", "N", layer.n_in, n, layer.n_out, 1.0, theta + layer.weight, layer.n_out, t->delta_dot, layer.n_out, 0.0,
         t->below_dot, layer.n_in);
  FwGemm("T", "N", layer.n_in, n, layer.n_out, 1.0, v + layer.weight, layer.n_out, delta, layer.n_out, 1.0,
         t->below_dot, layer.n_in);
  for (PetscInt i = 0; i < n * layer.n_in; i++) {
    t->below_dot[i] = slope[i] * t->below_dot[i] + curvature[i] * z_dot[i] * below[i];
    below[i] *= slope[i];
  }
}

static void Swap(double **a, double **b)
{
  double *swap = *a;

  *a = *b;
  *b = swap;
}

static PetscErrorCode AddProduct(FwLearner learner, void *context, PetscInt first, PetscInt n, double *scalar,
                                 double product[])
{
  Tangent       *t      = context;
  const PetscInt L      = learner->shape.n_layer;
  FwLearnerPass *pass   = &learner->pass;
  const double  *x      = learner->x + (size_t)first * learner->shape.width[0];
  const double  *y      = learner->y + (size_t)first * learner->shape.width[L];
  const double   weight = 1.0 / learner->n_example;
  double        *delta = pass->delta, *below = pass->below;

  PetscFunctionBegin;
  (void)scalar;
  PetscCall(Forward(learner, t->theta, t->v, n, x, t));
  (void)FwLearnerSumLoss(learner, n, pass->f, y, weight, delta);
  LossDot(learner, n, y, weight, t);
  for (PetscInt l = L; l >= 1; l--) {
    AddLayerDot(learner, l, n, l > 1 ? pass->h[l - 2] : x, l > 1 ? t->h_dot[l - 2] : NULL, delta, t->delta_dot,
                product);
    if (l == 1) break;
    BackDot(learner, t->theta, t->v, l, n, delta, t, below);
    Swap(&delta, &below);
    Swap(&t->delta_dot, &t->below_dot);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerHessianProduct(FwLearner learner, FwDecay decay, const double theta[], const double v[],
                                       double product[])
{
  Tangent t = {.theta = theta, .v = v};
  double  scalar;

  PetscFunctionBegin;
  PetscCall(TangentCreate(learner, &t));
  PetscCall(FwLearnerSum(learner, learner->n_example, learner->n_theta, PETSC_FALSE, AddProduct, &t, &scalar, product));
  FwLearnerAddDecay(learner, decay, v, product);
  PetscCall(TangentDestroy(learner, &t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
