/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The gradient of a linear network with squared error, which sees the examples only through their second moments:
 *
 *     f = E x + e,   E = W_L .. W_1,   e = sum_l A_l b_l,   A_l = W_L .. W_{l+1},
 *     G = (E, e) <x~ x~^T> - <y x~^T>,   x~ = (x, 1),
 *     gradient in W_l: A_l^T G_l,   in b_l: A_l^T g_e,   G_1 = G without its last column g_e,   G_{l+1} = G_l W_l^T + g_e b_l^T.
 *
 * All products have c rows, which is what makes them cheap: outputs are few.
 */

#include "learner_impl.h"

static PetscInt Outputs(FwLearner learner)
{
  return learner->shape.width[learner->shape.n_layer];
}

/* Multiplications of a gradient through the moments, and through the examples */
static PetscBool MomentsAreCheaper(FwLearner learner)
{
  const double c = Outputs(learner), m = learner->shape.width[0] + 1;
  double       weights = 0.0;

  if (!FwLearnerIsLinear(learner) || learner->loss != FW_LOSS_MSE) return PETSC_FALSE;
  for (PetscInt l = 1; l <= learner->shape.n_layer; l++)
    weights += (double)learner->shape.width[l] * learner->shape.width[l - 1];
  return (PetscBool)(c * (m * m + 3.0 * weights) < 3.0 * learner->n_example * weights);
}

static PetscErrorCode Allocate(FwLearner learner)
{
  FwLearnerMoments *moments = &learner->moments;
  const PetscInt    L = learner->shape.n_layer, c = Outputs(learner), m = moments->m;
  PetscInt          widest = 0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3((size_t)m * m, &moments->xx, c * m, &moments->yx, c * m, &moments->g));
  PetscCall(PetscCalloc1(L, &moments->above));
  for (PetscInt l = 0; l < L; l++) {
    widest = PetscMax(widest, learner->shape.width[l]);
    if (l < L - 1) PetscCall(PetscMalloc1(c * learner->shape.width[l], &moments->above[l]));
  }
  PetscCall(PetscMalloc2(c * widest, &moments->product, c * widest, &moments->chain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Add n examples, with their constant 1 where there are biases */
static PetscErrorCode AddExamples(FwLearner learner, PetscInt first, PetscInt n)
{
  FwLearnerMoments *moments = &learner->moments;
  const PetscInt    d = learner->shape.width[0], c = Outputs(learner), m = moments->m;
  const double      weight = 1.0 / learner->n_example, *y = learner->y + (size_t)first * c;
  double           *x;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * m, &x));
  for (PetscInt i = 0; i < n; i++) {
    x[(size_t)i * m + m - 1] = 1.0; /* the last input itself goes over it where there are no biases */
    PetscCall(PetscArraycpy(x + (size_t)i * m, learner->x + (size_t)(first + i) * d, d));
  }
  FwSyrk("N", m, n, weight, x, m, 1.0, moments->xx, m);
  FwGemm("N", "T", c, m, n, weight, y, c, x, m, 1.0, moments->yx, c);
  moments->yy += weight * FwDot(n * c, y, y);
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerMomentsCreate(FwLearner learner)
{
  FwLearnerMoments *moments = &learner->moments;

  PetscFunctionBegin;
  if (!MomentsAreCheaper(learner)) PetscFunctionReturn(PETSC_SUCCESS);
  moments->m = learner->shape.width[0] + (learner->shape.has_bias ? 1 : 0);
  PetscCall(Allocate(learner));
  PetscCall(PetscArrayzero(moments->xx, (size_t)moments->m * moments->m));
  PetscCall(PetscArrayzero(moments->yx, Outputs(learner) * moments->m));
  for (PetscInt first = 0; first < learner->n_example; first += learner->pass.n_most)
    PetscCall(AddExamples(learner, first, PetscMin(learner->pass.n_most, learner->n_example - first)));
  for (PetscInt j = 1; j < moments->m; j++)
    for (PetscInt i = 0; i < j; i++) moments->xx[i + (size_t)j * moments->m] = moments->xx[j + (size_t)i * moments->m];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerMomentsDestroy(FwLearner learner)
{
  FwLearnerMoments *moments = &learner->moments;

  PetscFunctionBegin;
  if (!moments->xx) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; l < learner->shape.n_layer; l++) PetscCall(PetscFree(moments->above[l]));
  PetscCall(PetscFree(moments->above));
  PetscCall(PetscFree3(moments->xx, moments->yx, moments->g));
  PetscCall(PetscFree2(moments->product, moments->chain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A_l, l < L; A_{L-1} is W_L itself */
static const double *Above(FwLearner learner, const double theta[], PetscInt l)
{
  const PetscInt L = learner->shape.n_layer;

  return l == L - 1 ? theta + FwLearnerShapeWeight(&learner->shape, L) : learner->moments.above[l];
}

/* A_{L-2} .. A_0 = E */
static void FormAbove(FwLearner learner, const double theta[])
{
  const PetscInt c = Outputs(learner);

  for (PetscInt l = learner->shape.n_layer - 2; l >= 0; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l + 1);

    FwGemm("N", "N", c, layer.n_in, layer.n_out, 1.0, Above(learner, theta, l + 1), c, theta + layer.weight,
           layer.n_out, 0.0, learner->moments.above[l], c);
  }
}

/* e = sum_l A_l b_l, c numbers */
static void OffsetOf(FwLearner learner, const double theta[], double offset[])
{
  const PetscInt L = learner->shape.n_layer, c = Outputs(learner);

  for (PetscInt k = 0; k < c; k++) offset[k] = theta[FwLearnerShapeBias(&learner->shape, L) + k];
  for (PetscInt l = 1; l < L; l++)
    FwGemm("N", "N", c, 1, learner->shape.width[l], 1.0, Above(learner, theta, l), c,
           theta + FwLearnerShapeBias(&learner->shape, l), learner->shape.width[l], 1.0, offset, c);
}

/* G = (E, e) <x~ x~^T> - <y x~^T> */
static void ProductGradient(FwLearner learner, const double theta[])
{
  FwLearnerMoments *moments = &learner->moments;
  const PetscInt    d = learner->shape.width[0], c = Outputs(learner), m = moments->m;

  (void)PetscArraycpy(moments->g, moments->yx, c * m);
  FwGemm("N", "N", c, m, d, 1.0, Above(learner, theta, 0), c, moments->xx, m, -1.0, moments->g, c);
  if (m == d) return;
  OffsetOf(learner, theta, moments->product);
  FwGemm("N", "N", c, m, 1, 1.0, moments->product, c, moments->xx + d, m, 1.0, moments->g, c);
}

/* 1/2 <|E x + e - y|^2> = 1/2 ((E, e) . G - (E, e) . <y x~^T> + <|y|^2>), from what ProductGradient() leaves */
static double LossOf(FwLearner learner, const double theta[])
{
  const FwLearnerMoments *moments = &learner->moments;
  const PetscInt          d = learner->shape.width[0], c = Outputs(learner), n_e = learner->shape.has_bias ? c : 0;
  const double           *product = Above(learner, theta, 0), *e = moments->product;

  return 0.5 * (FwDot(c * d, product, moments->g) - FwDot(c * d, product, moments->yx) +
                FwDot(n_e, e, moments->g + (size_t)c * d) - FwDot(n_e, e, moments->yx + (size_t)c * d) + moments->yy);
}

/* The same where <x x^T> is diagonal */
static void RotatedProductGradient(FwLearner learner, const double theta[])
{
  const FwLearnerBasis *rotated = &learner->rotated;
  const PetscInt        d = learner->shape.width[0], c = Outputs(learner);
  const double         *product = Above(learner, theta, 0), *e = learner->moments.product;
  double               *g = learner->moments.g, *g_e = g + (size_t)c * d;

  for (PetscInt j = 0; j < d; j++)
    for (PetscInt k = 0; k < c; k++) g[k + j * c] = product[k + j * c] * rotated->lambda[j] - rotated->yx[k + j * c];
  if (!learner->shape.has_bias) return;
  OffsetOf(learner, theta, learner->moments.product);
  for (PetscInt k = 0; k < c; k++) g_e[k] = e[k] - rotated->yx[k + c * d];
  for (PetscInt j = 0; j < d; j++)
    for (PetscInt k = 0; k < c; k++) {
      g_e[k] += product[k + j * c] * rotated->mean[j];
      g[k + j * c] += e[k] * rotated->mean[j];
    }
}

/* Gradient in layer l from G_l, c x n_{l-1} */
static void LayerGradient(FwLearner learner, const double theta[], PetscInt l, const double chain[], double gradient[])
{
  const FwLearnerMoments *moments = &learner->moments;
  const FwLearnerLayer    layer   = FwLearnerGetLayer(&learner->shape, l);
  const PetscInt          c       = Outputs(learner);
  const double           *g_e     = moments->g + (size_t)c * learner->shape.width[0];

  if (l == learner->shape.n_layer) {
    (void)PetscArraycpy(gradient + layer.weight, chain, c * layer.n_in);
    if (learner->shape.has_bias) (void)PetscArraycpy(gradient + layer.bias, g_e, c);
    return;
  }
  FwGemm("T", "N", layer.n_out, layer.n_in, c, 1.0, Above(learner, theta, l), c, chain, c, 0.0, gradient + layer.weight,
         layer.n_out);
  if (learner->shape.has_bias)
    FwGemm("T", "N", layer.n_out, 1, c, 1.0, Above(learner, theta, l), c, g_e, c, 0.0, gradient + layer.bias,
           layer.n_out);
}

void FwLearnerMomentsGradient(FwLearner learner, PetscBool is_rotated, const double theta[], double *loss,
                              double gradient[])
{
  FwLearnerMoments *moments = &learner->moments;
  const PetscInt    c       = Outputs(learner);
  const double     *chain   = moments->g;
  double           *next = moments->product, *other = moments->chain;

  FormAbove(learner, theta);
  if (is_rotated)
    RotatedProductGradient(learner, theta);
  else
    ProductGradient(learner, theta);
  if (loss) *loss = LossOf(learner, theta);
  for (PetscInt l = 1; l <= learner->shape.n_layer; l++) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
    double              *swap  = next;

    LayerGradient(learner, theta, l, chain, gradient);
    if (l == learner->shape.n_layer) break;
    FwGemm("N", "T", c, layer.n_out, layer.n_in, 1.0, chain, c, theta + layer.weight, layer.n_out, 0.0, next, c);
    if (learner->shape.has_bias)
      FwGemm("N", "T", c, layer.n_out, 1, 1.0, moments->g + (size_t)c * learner->shape.width[0], c, theta + layer.bias,
             layer.n_out, 1.0, next, c);
    chain = next;
    next  = other;
    other = swap;
  }
}
