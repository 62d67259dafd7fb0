/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Gradients of eight networks at once: the two ways of learner.c and learner_moments.c, each number in eight lanes.
 */

#include "lanes.h"

enum { PIECE = 32 }; /* examples: what is kept of them stays in the cache */

/* --- life ------------------------------------------------------------------------------------------------------- */

static PetscInt Outputs(const FwLaneNet *net)
{
  return net->learner->shape.width[net->learner->shape.n_layer];
}

PetscBool FwLaneNetHasWidths(const FwLearnerShape *shape)
{
  PetscInt widest = 0;

  for (PetscInt l = 0; l <= shape->n_layer; l++) widest = PetscMax(widest, shape->width[l]);
  return (PetscBool)(widest <= 32);
}

PetscBool FwLaneNetFits(FwLearner learner, PetscInt batch)
{
  const FwLearnerShape *shape     = &learner->shape;
  const double          n_example = batch ? batch : learner->moments.xx ? 0 : learner->n_example;

  return (PetscBool)(FwLaneNetHasWidths(shape) && n_example * (shape->width[0] + shape->width[shape->n_layer]) <= 1e6);
}

static FwLanes *Take(FwLanes *room, size_t *used, size_t n)
{
  FwLanes *taken = room ? room + *used : NULL;

  *used += n;
  return taken;
}

static void LayOutExamples(FwLaneNet *net, FwLanes *room, size_t *used)
{
  const FwLearnerShape *shape = &net->learner->shape;
  const size_t          n = (size_t)net->n_most, c = (size_t)Outputs(net);
  size_t                widest = 0;

  for (PetscInt l = 1; l < shape->n_layer; l++) {
    net->h[l - 1]     = Take(room, used, n * (size_t)shape->width[l]);
    net->slope[l - 1] = Take(room, used, n * (size_t)shape->width[l]);
  }
  for (PetscInt l = 1; l <= shape->n_layer; l++) widest = PetscMax(widest, (size_t)shape->width[l]);
  net->x     = Take(room, used, (size_t)net->n_example * (size_t)shape->width[0]);
  net->y     = Take(room, used, (size_t)net->n_example * c);
  net->f     = Take(room, used, n * c);
  net->delta = Take(room, used, n * widest);
  net->below = Take(room, used, n * widest);
}

static void LayOutMoments(FwLaneNet *net, FwLanes *room, size_t *used)
{
  const FwLearnerShape *shape = &net->learner->shape;
  const size_t          m = (size_t)net->learner->moments.m, c = (size_t)Outputs(net);
  size_t                widest = 0;

  for (PetscInt l = 0; l < shape->n_layer; l++) {
    widest = PetscMax(widest, (size_t)shape->width[l]);
    if (l < shape->n_layer - 1) net->above[l] = Take(room, used, c * (size_t)shape->width[l]);
  }
  net->xx      = Take(room, used, net->is_rotated ? 0 : m * m);
  net->lambda  = Take(room, used, net->is_rotated ? m : 0);
  net->mean    = Take(room, used, net->is_rotated ? m : 0);
  net->yx      = Take(room, used, c * m);
  net->g       = Take(room, used, c * m);
  net->product = Take(room, used, c * widest);
  net->chain   = Take(room, used, c * widest);
  net->offset  = Take(room, used, c);
}

/* The number of FwLanes that are needed; with `room` the arrays are put there */
static size_t LayOut(FwLaneNet *net, FwLanes *room)
{
  size_t used = 0;

  net->loss     = Take(room, &used, 1);
  net->yy       = Take(room, &used, 1);
  net->theta    = Take(room, &used, (size_t)net->n_theta);
  net->gradient = Take(room, &used, (size_t)net->n_theta);
  if (net->has_moments)
    LayOutMoments(net, room, &used);
  else
    LayOutExamples(net, room, &used);
  return used;
}

PetscErrorCode FwLaneNetCreate(FwLearner learner, PetscInt batch, PetscBool is_rotated, FwLaneNet *net)
{
  const PetscInt L = learner->shape.n_layer;
  FwLanes       *room;

  PetscFunctionBegin;
  *net             = (FwLaneNet){.learner = learner, .n_theta = learner->n_theta, .is_rotated = is_rotated};
  net->has_moments = (PetscBool)(batch == 0 && learner->moments.xx);
  net->n_example   = batch ? batch : learner->n_example;
  net->n_most      = PetscMin(PIECE, net->n_example);
  PetscCall(PetscCalloc3(L, &net->h, L, &net->slope, L, &net->above));
  PetscCall(FwLanesAllocate(LayOut(net, NULL), &net->room, &room));
  (void)LayOut(net, room);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLaneNetDestroy(FwLaneNet *net)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(net->room));
  PetscCall(PetscFree3(net->h, net->slope, net->above));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwLaneNetSetLearner(FwLaneNet *net, PetscInt lane, FwLearner learner)
{
  const PetscInt d = learner->shape.width[0], c = Outputs(net), m = learner->moments.m;

  FwLanesPut(1, lane, &learner->moments.yy, net->yy);
  if (net->is_rotated) {
    FwLanesPut(d, lane, learner->rotated.lambda, net->lambda);
    if (m > d) FwLanesPut(d, lane, learner->rotated.mean, net->mean);
    FwLanesPut(c * m, lane, learner->rotated.yx, net->yx);
  } else if (net->has_moments) {
    FwLanesPut(m * m, lane, learner->moments.xx, net->xx);
    FwLanesPut(c * m, lane, learner->moments.yx, net->yx);
  } else {
    FwLanesPut(net->n_example * d, lane, learner->x, net->x);
    FwLanesPut(net->n_example * c, lane, learner->y, net->y);
  }
}

void FwLaneNetSetBatch(FwLaneNet *net, PetscInt lane, FwLearner learner, const PetscInt example[])
{
  const PetscInt d = learner->shape.width[0], c = Outputs(net);

  for (PetscInt i = 0; i < net->n_example; i++) {
    FwLanesPut(d, lane, learner->x + (size_t)example[i] * d, net->x + (size_t)i * d);
    FwLanesPut(c, lane, learner->y + (size_t)example[i] * c, net->y + (size_t)i * c);
  }
}

static FwLaneView Plain(PetscInt rows, const FwLanes *at)
{
  return (FwLaneView){at, 1, rows};
}

static FwLaneView Transposed(PetscInt rows, const FwLanes *at)
{
  return (FwLaneView){at, rows, 1};
}

/* --- through moments -------------------------------------------------------------------------------------------- */

/* A_l, l < L; A_{L-1} is W_L itself */
static const FwLanes *Above(const FwLaneNet *net, const FwLanes theta[], PetscInt l)
{
  const PetscInt L = net->learner->shape.n_layer;

  return l == L - 1 ? theta + FwLearnerShapeWeight(&net->learner->shape, L) : net->above[l];
}

static void FormAbove(FwLaneNet *net, const FwLanes theta[])
{
  const PetscInt c = Outputs(net);

  for (PetscInt l = net->learner->shape.n_layer - 2; l >= 0; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&net->learner->shape, l + 1);

    FwLanesMultiply(c, layer.n_in, layer.n_out, Plain(c, Above(net, theta, l + 1)),
                    Plain(layer.n_out, theta + layer.weight), PETSC_FALSE, net->above[l]);
  }
}

/* e = sum_l A_l b_l */
static void FormOffset(FwLaneNet *net, const FwLanes theta[])
{
  const FwLearnerShape *shape = &net->learner->shape;
  const PetscInt        L = shape->n_layer, c = Outputs(net);

  for (PetscInt k = 0; k < c; k++) net->offset[k] = theta[FwLearnerShapeBias(shape, L) + k];
  for (PetscInt l = 1; l < L; l++)
    FwLanesMultiply(c, 1, shape->width[l], Plain(c, Above(net, theta, l)),
                    Plain(shape->width[l], theta + FwLearnerShapeBias(shape, l)), PETSC_TRUE, net->offset);
}

FW_VECTOR static void Negate(PetscInt n, const double *restrict from, double *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = -from[i];
}

/* G = (E, e) <x~ x~^T> - <y x~^T> */
static void ProductGradient(FwLaneNet *net, const FwLanes theta[])
{
  const PetscInt d = net->learner->shape.width[0], c = Outputs(net), m = net->learner->moments.m;

  Negate(c * m * FW_LANES, (const double *)net->yx, (double *)net->g);
  FwLanesMultiply(c, m, d, Plain(c, Above(net, theta, 0)), Plain(m, net->xx), PETSC_TRUE, net->g);
  if (m == d) return;
  FormOffset(net, theta);
  FwLanesMultiply(c, m, 1, Plain(c, net->offset), Plain(m, net->xx + d), PETSC_TRUE, net->g);
}

/* Columns of E times those of lambda, less <y x^T> */
FW_VECTOR static void ScaleColumns(PetscInt d, PetscInt c, const FwLanes product[], const FwLanes lambda[],
                                   const FwLanes yx[], FwLanes g[])
{
  for (int half = 0; half < 2; half++) {
    const FwHalfLanes *e = (const FwHalfLanes *)product + half, *y = (const FwHalfLanes *)yx + half;
    const FwHalfLanes *of = (const FwHalfLanes *)lambda + half;
    FwHalfLanes       *to = (FwHalfLanes *)g + half;

    for (PetscInt j = 0; j < d; j++, of += 2)
      for (PetscInt k = 0; k < c; k++, e += 2, y += 2, to += 2) *to = *e * *of - *y;
  }
}

/* The same where <x x^T> is diagonal */
static void RotatedProductGradient(FwLaneNet *net, const FwLanes theta[])
{
  const PetscInt d = net->learner->shape.width[0], c = Outputs(net);
  const FwLanes *product = Above(net, theta, 0), *e = net->offset;
  FwLanes       *g = net->g, *g_e = g + c * d;

  ScaleColumns(d, c, product, net->lambda, net->yx, g);
  if (!net->learner->shape.has_bias) return;
  FormOffset(net, theta);
  for (PetscInt k = 0; k < c; k++) g_e[k] = e[k] - net->yx[k + c * d];
  for (PetscInt j = 0; j < d; j++)
    for (PetscInt k = 0; k < c; k++) {
      g_e[k] += product[k + j * c] * net->mean[j];
      g[k + j * c] += e[k] * net->mean[j];
    }
}

/* sum += E (G - <y x^T>): two halves, of even and of odd numbers */
FW_VECTOR static void AddLoss(PetscInt n, const FwLanes product[], const FwLanes g[], const FwLanes yx[], FwLanes *sum)
{
  const FwHalfLanes *e = (const FwHalfLanes *)product, *a = (const FwHalfLanes *)g, *b = (const FwHalfLanes *)yx;
  FwHalfLanes       *total = (FwHalfLanes *)sum, part[4] = {{0.0}, {0.0}, {0.0}, {0.0}};

  for (PetscInt i = 0; i + 2 <= n; i += 2, e += 4, a += 4, b += 4)
    for (int p = 0; p < 4; p++) part[p] += e[p] * (a[p] - b[p]);
  for (int p = 0; n % 2 && p < 2; p++) part[p] += e[p] * (a[p] - b[p]);
  for (int p = 0; p < 2; p++) total[p] += part[p] + part[2 + p];
}

/* From what ProductGradient() leaves, as in learner_moments.c */
static void LossOfProduct(FwLaneNet *net, const FwLanes theta[])
{
  const PetscInt d = net->learner->shape.width[0], c = Outputs(net);

  net->loss[0] = net->yy[0];
  AddLoss(c * d, Above(net, theta, 0), net->g, net->yx, net->loss);
  if (net->learner->shape.has_bias) AddLoss(c, net->offset, net->g + c * d, net->yx + c * d, net->loss);
  net->loss[0] *= 0.5;
}

static void MomentsLayer(FwLaneNet *net, const FwLanes theta[], PetscInt l, const FwLanes chain[], FwLanes gradient[])
{
  const FwLearnerShape *shape = &net->learner->shape;
  const FwLearnerLayer  layer = FwLearnerGetLayer(shape, l);
  const PetscInt        c     = Outputs(net);
  const FwLanes        *g_e   = net->g + c * shape->width[0];

  if (l == shape->n_layer) {
    (void)PetscArraycpy(gradient + layer.weight, chain, c * layer.n_in);
    for (PetscInt k = 0; shape->has_bias && k < c; k++) gradient[layer.bias + k] = g_e[k];
    return;
  }
  FwLanesMultiply(layer.n_out, layer.n_in, c, Transposed(c, Above(net, theta, l)), Plain(c, chain), PETSC_FALSE,
                  gradient + layer.weight);
  if (shape->has_bias)
    FwLanesMultiply(layer.n_out, 1, c, Transposed(c, Above(net, theta, l)), Plain(c, g_e), PETSC_FALSE,
                    gradient + layer.bias);
}

static void GradientThroughMoments(FwLaneNet *net, const FwLanes theta[], FwLanes gradient[])
{
  const FwLearnerShape *shape = &net->learner->shape;
  const PetscInt        c     = Outputs(net);
  const FwLanes        *chain = net->g;
  FwLanes              *next = net->product, *other = net->chain;

  FormAbove(net, theta);
  if (net->is_rotated)
    RotatedProductGradient(net, theta);
  else
    ProductGradient(net, theta);
  LossOfProduct(net, theta);
  for (PetscInt l = 1; l <= shape->n_layer; l++) {
    const FwLearnerLayer layer = FwLearnerGetLayer(shape, l);
    FwLanes             *swap  = next;

    MomentsLayer(net, theta, l, chain, gradient);
    if (l == shape->n_layer) break;
    FwLanesMultiply(c, layer.n_out, layer.n_in, Plain(c, chain), Transposed(layer.n_out, theta + layer.weight),
                    PETSC_FALSE, next);
    if (shape->has_bias)
      FwLanesMultiply(c, layer.n_out, 1, Plain(c, net->g + c * shape->width[0]), Plain(1, theta + layer.bias),
                      PETSC_TRUE, next);
    chain = next;
    next  = other;
    other = swap;
  }
}

/* --- through examples ------------------------------------------------------------------------------------------- */

static void Affine(const FwLaneNet *net, const FwLanes theta[], PetscInt l, PetscInt n, const FwLanes h[], FwLanes z[])
{
  const FwLearnerLayer layer    = FwLearnerGetLayer(&net->learner->shape, l);
  const PetscBool      has_bias = net->learner->shape.has_bias;

  for (PetscInt i = 0; has_bias && i < n * layer.n_out; i++) z[i] = theta[layer.bias + i % layer.n_out];
  FwLanesMultiply(layer.n_out, n, layer.n_in, Plain(layer.n_out, theta + layer.weight), Plain(layer.n_in, h), has_bias,
                  z);
}

static PetscErrorCode Forward(FwLaneNet *net, const FwLanes theta[], PetscInt n, const FwLanes x[])
{
  const FwLearnerShape *shape = &net->learner->shape;
  const FwLanes        *h     = x;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < shape->n_layer; l++) {
    double *slope = (double *)net->slope[l - 1];

    Affine(net, theta, l, n, h, net->slope[l - 1]);
    PetscCall(FwActivationEvaluate(net->learner->activation, n * shape->width[l] * FW_LANES, slope,
                                   (double *)net->h[l - 1], slope, NULL));
    h = net->h[l - 1];
  }
  Affine(net, theta, shape->n_layer, n, h, net->f);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Derivative of the mean loss in f; the loss is added up */
static void LossSlope(FwLaneNet *net, PetscInt n, const FwLanes y[])
{
  const PetscInt c      = Outputs(net);
  const double   weight = 1.0 / net->n_example;

  if (net->learner->loss == FW_LOSS_MSE) {
    for (PetscInt i = 0; i < n * c; i++) {
      const FwLanes error = net->f[i] - y[i];

      net->loss[0] += 0.5 * weight * error * error;
      net->delta[i] = weight * error;
    }
    return;
  }
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt lane = 0; lane < FW_LANES; lane++) {
      double f_lane[FW_LEARNER_LAYERS], y_lane[FW_LEARNER_LAYERS], delta_lane[FW_LEARNER_LAYERS]; /* c <= 32 */

      FwLanesGet(c, lane, net->f + i * c, f_lane);
      FwLanesGet(c, lane, y + i * c, y_lane);
      net->loss[0][lane] += weight * FwLearnerSumLoss(net->learner, 1, f_lane, y_lane, weight, delta_lane);
      FwLanesPut(c, lane, delta_lane, net->delta + i * c);
    }
}

static void AddLayer(FwLaneNet *net, PetscInt l, PetscInt n, const FwLanes h[], const FwLanes delta[],
                     FwLanes gradient[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&net->learner->shape, l);
  const FwLanes        one   = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0};

  FwLanesMultiply(layer.n_out, layer.n_in, n, Plain(layer.n_out, delta), Transposed(layer.n_in, h), PETSC_TRUE,
                  gradient + layer.weight);
  if (net->learner->shape.has_bias)
    FwLanesMultiply(layer.n_out, 1, n, Plain(layer.n_out, delta), (FwLaneView){&one, 0, 0}, PETSC_TRUE,
                    gradient + layer.bias);
}

static void Back(FwLaneNet *net, const FwLanes theta[], PetscInt l, PetscInt n, const FwLanes delta[], FwLanes below[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&net->learner->shape, l);
  const FwLanes       *slope = net->slope[l - 2];

  FwLanesMultiply(layer.n_in, n, layer.n_out, Transposed(layer.n_out, theta + layer.weight), Plain(layer.n_out, delta),
                  PETSC_FALSE, below);
  for (PetscInt i = 0; i < n * layer.n_in; i++) below[i] *= slope[i];
}

static PetscErrorCode AddPiece(FwLaneNet *net, const FwLanes theta[], PetscInt first, PetscInt n, FwLanes gradient[])
{
  const FwLanes *x     = net->x + (size_t)first * net->learner->shape.width[0];
  FwLanes       *delta = net->delta, *below = net->below;

  PetscFunctionBegin;
  PetscCall(Forward(net, theta, n, x));
  LossSlope(net, n, net->y + (size_t)first * Outputs(net));
  for (PetscInt l = net->learner->shape.n_layer; l >= 1; l--) {
    FwLanes *swap = delta;

    AddLayer(net, l, n, l > 1 ? net->h[l - 2] : x, delta, gradient);
    if (l == 1) break;
    Back(net, theta, l, n, delta, below);
    delta = below;
    below = swap;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLaneNetGradient(FwLaneNet *net, const FwLanes theta[], FwLanes gradient[])
{
  PetscFunctionBegin;
  if (net->has_moments) {
    GradientThroughMoments(net, theta, gradient);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  net->loss[0] = (FwLanes){0.0};
  for (PetscInt i = 0; i < net->n_theta; i++) gradient[i] = (FwLanes){0.0};
  for (PetscInt first = 0; first < net->n_example; first += net->n_most)
    PetscCall(AddPiece(net, theta, first, PetscMin(net->n_most, net->n_example - first), gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}
