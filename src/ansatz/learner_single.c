/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The gradient through examples with products in single precision, about twice as fast. Weights, loss, activations and all
 * sums over pieces of examples stay double: an error of 1e-7 of each piece, which does not add up.
 */

#include "learner_impl.h"

#include <finwidth/vector.h>

enum { BLOCK = 512 }; /* numbers that are double for a moment, for their activation */

/* PETSc has prototypes of one precision only */
extern void sgemm_(const char *op_a, const char *op_b, const PetscBLASInt *m, const PetscBLASInt *n,
                   const PetscBLASInt *k, const float *alpha, const float *a, const PetscBLASInt *lda, const float *b,
                   const PetscBLASInt *ldb, const float *beta, float *c, const PetscBLASInt *ldc);

static void Gemm(const char *op_a, const char *op_b, PetscInt m, PetscInt n, PetscInt k, const float a[], PetscInt lda,
                 const float b[], PetscInt ldb, float beta, float c[])
{
  const float one = 1.0F;

  sgemm_(op_a, op_b, &m, &n, &k, &one, a, &lda, b, &ldb, &beta, c, &m);
}

FW_VECTOR static void Round(PetscInt n, const double *restrict from, float *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = (float)from[i];
}

FW_VECTOR static void Widen(PetscInt n, const float *restrict from, double *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = (double)from[i];
}

FW_VECTOR static void Add(PetscInt n, const float *restrict from, double *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] += (double)from[i];
}

FW_VECTOR static void MultiplyBy(PetscInt n, const float *restrict by, float *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] *= by[i];
}

PetscErrorCode FwLearnerSingleCreate(FwLearner learner)
{
  const FwLearnerShape *shape  = &learner->shape;
  FwLearnerSingle      *single = &learner->single;
  const size_t          n      = (size_t)learner->pass.n_most;
  size_t                widest = 0, largest = 0;

  PetscFunctionBegin;
  for (PetscInt l = 0; l <= shape->n_layer; l++) {
    widest = PetscMax(widest, (size_t)shape->width[l]);
    if (l) largest = PetscMax(largest, (size_t)shape->width[l] * (size_t)shape->width[l - 1]);
  }
  PetscCall(PetscMalloc5(learner->n_theta, &single->theta, n * (size_t)shape->width[0], &single->x, n * widest,
                         &single->delta, n * widest, &single->below, largest, &single->product));
  PetscCall(PetscMalloc2(shape->n_layer, &single->h, shape->n_layer, &single->slope));
  for (PetscInt l = 1; l < shape->n_layer; l++)
    PetscCall(
      PetscMalloc2(n * (size_t)shape->width[l], &single->h[l - 1], n * (size_t)shape->width[l], &single->slope[l - 1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSingleDestroy(FwLearner learner)
{
  FwLearnerSingle *single = &learner->single;

  PetscFunctionBegin;
  if (!single->theta) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 1; l < learner->shape.n_layer; l++) PetscCall(PetscFree2(single->h[l - 1], single->slope[l - 1]));
  PetscCall(PetscFree2(single->h, single->slope));
  PetscCall(PetscFree5(single->theta, single->x, single->delta, single->below, single->product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwLearnerSingleSetWeights(FwLearner learner, const double theta[])
{
  Round(learner->n_theta, theta, learner->single.theta);
}

static void Affine(FwLearner learner, PetscInt l, PetscInt n, const float h[], float z[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
  const float         *theta = learner->single.theta;

  for (PetscInt i = 0; learner->shape.has_bias && i < n; i++)
    (void)PetscArraycpy(z + (size_t)i * layer.n_out, theta + layer.bias, layer.n_out);
  Gemm("N", "N", layer.n_out, n, layer.n_in, theta + layer.weight, layer.n_out, h, layer.n_in,
       learner->shape.has_bias ? 1.0F : 0.0F, z);
}

/* phi and phi' of `slope`, which holds pre-activations */
static PetscErrorCode Activate(FwLearner learner, PetscInt n, float h[], float slope[])
{
  double z[BLOCK], value[BLOCK];

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < n; begin += BLOCK) {
    const PetscInt n_here = PetscMin(BLOCK, n - begin);

    Widen(n_here, slope + begin, z);
    PetscCall(FwActivationEvaluate(learner->activation, n_here, z, value, z, NULL));
    Round(n_here, value, h + begin);
    Round(n_here, z, slope + begin);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* f to the pass, in double */
static PetscErrorCode Forward(FwLearner learner, PetscInt n)
{
  FwLearnerSingle *single = &learner->single;
  const PetscInt   L      = learner->shape.n_layer;
  const float     *h      = single->x;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < L; l++) {
    Affine(learner, l, n, h, single->slope[l - 1]);
    PetscCall(Activate(learner, n * learner->shape.width[l], single->h[l - 1], single->slope[l - 1]));
    h = single->h[l - 1];
  }
  Affine(learner, L, n, h, single->below);
  Widen(n * learner->shape.width[L], single->below, learner->pass.f);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void AddLayer(FwLearner learner, PetscInt l, PetscInt n, const float h[], const float delta[], double sum[])
{
  const FwLearnerLayer layer   = FwLearnerGetLayer(&learner->shape, l);
  float               *product = learner->single.product;

  Gemm("N", "T", layer.n_out, layer.n_in, n, delta, layer.n_out, h, layer.n_in, 0.0F, product);
  Add(layer.n_out * layer.n_in, product, sum + layer.weight);
  for (PetscInt i = 0; learner->shape.has_bias && i < n; i++)
    Add(layer.n_out, delta + (size_t)i * layer.n_out, sum + layer.bias);
}

PetscErrorCode FwLearnerSingleAddGradient(FwLearner learner, PetscInt n, const double x[], const double y[],
                                          double weight, double *loss, double sum[])
{
  FwLearnerSingle *single = &learner->single;
  const PetscInt   L = learner->shape.n_layer, c = learner->shape.width[L];
  float           *delta = single->delta, *below = single->below;

  PetscFunctionBegin;
  Round(n * learner->shape.width[0], x, single->x);
  PetscCall(Forward(learner, n));
  *loss += FwLearnerSumLoss(learner, n, learner->pass.f, y, weight, learner->pass.delta);
  Round(n * c, learner->pass.delta, delta);
  for (PetscInt l = L; l >= 1; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
    float               *swap  = delta;

    AddLayer(learner, l, n, l > 1 ? single->h[l - 2] : single->x, delta, sum);
    if (l == 1) break;
    Gemm("T", "N", layer.n_in, n, layer.n_out, single->theta + layer.weight, layer.n_out, delta, layer.n_out, 0.0F,
         below);
    MultiplyBy(n * layer.n_in, single->slope[l - 2], below);
    delta = below;
    below = swap;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
