/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The gradient of a linear network with squared error, which sees the examples only through their second moments:
 *
 *     f = E x + e,   E = W_L .. W_1,   e = sum_l A_l b_l,   A_l = W_L .. W_{l+1},
 *     G = (E, e) <x~ x~^T> - <y x~^T>,   x~ = (x, 1),
 *     gradient in W_l: A_l^T G_l,   in b_l: A_l^T g_e,   G_1 = G without its last column g_e,   G_{l+1} = G_l W_l^T + g_e b_l^T.
 *
 * All products have c rows, which is what makes them cheap: outputs are few. A_l, G_l and E are kept transposed, and the
 * gradient is made piece by piece: where a piece may be used at once, W_l is read while it is in the cache, and written.
 */

#include "learner_impl.h"

static PetscInt Outputs(FwLearner learner)
{
  return learner->shape.width[learner->shape.n_layer];
}

/* By the multiplications of a gradient */
PetscBool FwLearnerHasMoments(const FwLearnerShape *shape, FwLoss loss, PetscInt n_example)
{
  const double c = shape->width[shape->n_layer], m = shape->width[0] + 1;
  double       weights = 0.0;

  if ((shape->activation != FW_ACTIVATION_LINEAR && shape->n_layer > 1) || loss != FW_LOSS_MSE) return PETSC_FALSE;
  for (PetscInt l = 1; l <= shape->n_layer; l++) weights += (double)shape->width[l] * shape->width[l - 1];
  return (PetscBool)(c * (m * m + 3.0 * weights) < 3.0 * n_example * weights);
}

static PetscErrorCode Allocate(FwLearner learner)
{
  FwLearnerMoments *moments = &learner->moments;
  const PetscInt    L = learner->shape.n_layer, c = Outputs(learner), m = moments->m;
  PetscInt          widest = 0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4((size_t)m * m, &moments->xx, c * m, &moments->yx, c * m, &moments->g, c, &moments->offset));
  PetscCall(PetscCalloc1(L, &moments->above));
  for (PetscInt l = 0; l < L; l++) {
    widest = PetscMax(widest, learner->shape.width[l]);
    PetscCall(PetscMalloc1(c * learner->shape.width[l], &moments->above[l]));
  }
  widest = PetscMax(widest, c);
  PetscCall(PetscMalloc3(c * widest, &moments->product, c * widest, &moments->chain,
                         PetscMax(c, FW_NARROW_COLUMNS) * widest, &moments->piece));
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
  if (!FwLearnerHasMoments(&learner->shape, learner->loss, learner->n_example)) PetscFunctionReturn(PETSC_SUCCESS);
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
  PetscCall(PetscFree4(moments->xx, moments->yx, moments->g, moments->offset));
  PetscCall(PetscFree3(moments->product, moments->chain, moments->piece));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- forward ---------------------------------------------------------------------------------------------------- */

/* to = from^T, n x m to m x n */
static void Transpose(PetscInt n, PetscInt m, const double from[], double to[])
{
  for (PetscInt j = 0; j < m; j++)
    for (PetscInt i = 0; i < n; i++) to[j + i * m] = from[i + j * n];
}

/* A_{L-1} = W_L, then A_{L-2} down to A_`last` */
static void FormAbove(FwLearner learner, const double theta[], PetscInt last)
{
  const PetscInt L = learner->shape.n_layer, c = Outputs(learner);
  double *const *above = learner->moments.above;

  Transpose(c, learner->shape.width[L - 1], theta + FwLearnerShapeWeight(&learner->shape, L), above[L - 1]);
  for (PetscInt l = L - 2; l >= last; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l + 1);

    FwNarrowProduct(layer.n_out, layer.n_in, c, above[l + 1], theta + layer.weight, layer.n_in, above[l]);
  }
}

/* e = sum_l A_l b_l, c numbers */
static void FormOffset(FwLearner learner, const double theta[])
{
  const PetscInt L = learner->shape.n_layer, c = Outputs(learner);
  double        *offset = learner->moments.offset;

  for (PetscInt k = 0; k < c; k++) offset[k] = theta[FwLearnerShapeBias(&learner->shape, L) + k];
  for (PetscInt l = 1; l < L; l++)
    for (PetscInt k = 0; k < c; k++)
      offset[k] += FwDot(learner->shape.width[l], learner->moments.above[l] + k * learner->shape.width[l],
                         theta + FwLearnerShapeBias(&learner->shape, l));
}

/* --- derivative in the product ------------------------------------------------------------------------------------ */

/* One way through the network and back */
typedef struct {
  FwLearner     learner;
  PetscBool     is_rotated;
  const double *theta;
  double       *gradient; /* the whole, or NULL where pieces are used at once */
  FwLearnerUse *use;
  void         *context;
} Pass;

/* G = (E, e) <x~ x~^T> - <y x~^T>, once E is whole */
static void ProductGradient(Pass *pass)
{
  FwLearnerMoments *moments = &pass->learner->moments;
  const PetscInt    d = pass->learner->shape.width[0], c = Outputs(pass->learner), m = moments->m;

  Transpose(c, m, moments->yx, moments->g);
  FwGemm("N", "N", m, c, d, 1.0, moments->xx, m, moments->above[0], d, -1.0, moments->g, m);
  if (m > d) FwGemm("N", "N", m, c, 1, 1.0, moments->xx + (size_t)d * m, m, moments->offset, 1, 1.0, moments->g, m);
}

/* The same for columns first .. end - 1 where <x x^T> is diagonal; that of the offset is added up on the way */
static void RotatedProductGradient(Pass *pass, PetscInt first, PetscInt end)
{
  FwLearnerMoments     *moments = &pass->learner->moments;
  const FwLearnerBasis *rotated = &pass->learner->rotated;
  const PetscInt        d = pass->learner->shape.width[0], c = Outputs(pass->learner), m = moments->m;

  for (PetscInt k = 0; k < c; k++)
    for (PetscInt j = first; j < end; j++)
      moments->g[k * m + j] = moments->above[0][k * d + j] * rotated->lambda[j] - rotated->yx[k + j * c];
  for (PetscInt k = 0; m > d && k < c; k++)
    for (PetscInt j = first; j < end; j++) {
      moments->g[k * m + j] += moments->offset[k] * rotated->mean[j];
      moments->g[k * m + d] += moments->above[0][k * d + j] * rotated->mean[j];
    }
}

static void StartOffsetGradient(Pass *pass)
{
  FwLearnerMoments *moments = &pass->learner->moments;
  const PetscInt    d = pass->learner->shape.width[0], c = Outputs(pass->learner), m = moments->m;

  for (PetscInt k = 0; m > d && k < c; k++)
    moments->g[k * m + d] = moments->offset[k] - pass->learner->rotated.yx[k + d * c];
}

/* 1/2 <|E x + e - y|^2> = 1/2 ((E, e) . G - (E, e) . <y x~^T> + <|y|^2>) */
static double LossOf(const Pass *pass)
{
  const FwLearnerMoments *moments = &pass->learner->moments;
  const double           *yx      = pass->is_rotated ? pass->learner->rotated.yx : moments->yx;
  const PetscInt          d = pass->learner->shape.width[0], c = Outputs(pass->learner), m = moments->m;
  double                  sum = moments->yy;

  for (PetscInt k = 0; k < c; k++) {
    for (PetscInt j = 0; j < d; j++) sum += moments->above[0][k * d + j] * (moments->g[k * m + j] - yx[k + j * c]);
    if (m > d) sum += moments->offset[k] * (moments->g[k * m + d] - yx[k + d * c]);
  }
  return 0.5 * sum;
}

/* --- back --------------------------------------------------------------------------------------------------------- */

static double *PieceAt(const Pass *pass, PetscInt at)
{
  return pass->gradient ? pass->gradient + at : pass->learner->moments.piece;
}

static void UsePiece(const Pass *pass, PetscBool is_bias, PetscInt at, PetscInt n)
{
  if (pass->use) pass->use(pass->context, is_bias, at, n, PieceAt(pass, at));
}

/* G_{l+1} gets its part of columns first .. first + n - 1 of W_l, whose gradient is made */
static void BackColumns(const Pass *pass, const FwLearnerLayer *layer, PetscInt l, PetscInt first, PetscInt n,
                        PetscInt ldg, const double g[], double next[])
{
  const PetscInt at = layer->weight + first * layer->n_out;

  FwNarrowBack(layer->n_out, n, Outputs(pass->learner), pass->learner->moments.above[l], pass->theta + at, ldg,
               g + first, next, PieceAt(pass, at));
  UsePiece(pass, PETSC_FALSE, at, n * layer->n_out);
}

/* The bias of layer l < L: its part of G_{l+1}, and its gradient A_l^T g_e */
static void BackBias(const Pass *pass, const FwLearnerLayer *layer, PetscInt l, double next[])
{
  const FwLearnerMoments *moments = &pass->learner->moments;
  const PetscInt          d       = pass->learner->shape.width[0];

  if (!pass->learner->shape.has_bias) return;
  FwNarrowBack(layer->n_out, 1, Outputs(pass->learner), moments->above[l], pass->theta + layer->bias, moments->m,
               moments->g + d, next, PieceAt(pass, layer->bias));
  UsePiece(pass, PETSC_TRUE, layer->bias, layer->n_out);
}

/* Layer l < L, whose columns of G are there, or are made as those of E are */
static void BackLayer(const Pass *pass, PetscInt l, PetscInt ldg, const double g[], double next[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&pass->learner->shape, l);

  (void)PetscArrayzero(next, Outputs(pass->learner) * layer.n_out);
  for (PetscInt first = 0; first < layer.n_in; first += FW_NARROW_COLUMNS)
    BackColumns(pass, &layer, l, first, PetscMin(FW_NARROW_COLUMNS, layer.n_in - first), ldg, g, next);
  BackBias(pass, &layer, l, next);
}

/* The first of several layers in the basis of the moments: E, G and the way back by columns of W_1, which is read once */
static void BackFirstRotated(Pass *pass, double next[])
{
  const FwLearnerMoments *moments = &pass->learner->moments;
  const FwLearnerLayer    layer   = FwLearnerGetLayer(&pass->learner->shape, 1);
  const PetscInt          c       = Outputs(pass->learner);

  (void)PetscArrayzero(next, c * layer.n_out);
  for (PetscInt first = 0; first < layer.n_in; first += FW_NARROW_COLUMNS) {
    const PetscInt n = PetscMin(FW_NARROW_COLUMNS, layer.n_in - first);

    FwNarrowProduct(layer.n_out, n, c, moments->above[1], pass->theta + layer.weight + first * layer.n_out, layer.n_in,
                    moments->above[0] + first);
    RotatedProductGradient(pass, first, first + n);
    BackColumns(pass, &layer, 1, first, n, moments->m, moments->g, next);
  }
  BackBias(pass, &layer, 1, next);
}

/* Layer L: its gradient is G_L itself */
static void BackLast(const Pass *pass, PetscInt ldg, const double g[])
{
  const PetscInt       L = pass->learner->shape.n_layer, c = Outputs(pass->learner), m = pass->learner->moments.m;
  const PetscInt       d     = pass->learner->shape.width[0];
  const FwLearnerLayer layer = FwLearnerGetLayer(&pass->learner->shape, L);
  double              *piece = PieceAt(pass, layer.weight);

  for (PetscInt j = 0; j < layer.n_in; j++)
    for (PetscInt k = 0; k < c; k++) piece[k + j * c] = g[k * ldg + j];
  UsePiece(pass, PETSC_FALSE, layer.weight, c * layer.n_in);
  if (!pass->learner->shape.has_bias) return;
  piece = PieceAt(pass, layer.bias);
  for (PetscInt k = 0; k < c; k++) piece[k] = pass->learner->moments.g[k * m + d];
  UsePiece(pass, PETSC_TRUE, layer.bias, c);
}

/* Layers from `l` on, G_l being there */
static void BackFrom(const Pass *pass, PetscInt l, PetscInt ldg, const double *g, double *next, double *other)
{
  for (; l < pass->learner->shape.n_layer; l++) {
    double *swap = next;

    BackLayer(pass, l, ldg, g, next);
    g     = next;
    ldg   = pass->learner->shape.width[l];
    next  = other;
    other = swap;
  }
  BackLast(pass, ldg, g);
}

static double Run(Pass *pass)
{
  FwLearnerMoments *moments  = &pass->learner->moments;
  const PetscInt    L        = pass->learner->shape.n_layer;
  const PetscBool   is_fused = (PetscBool)(pass->is_rotated && L > 1);
  double            loss;

  FormAbove(pass->learner, pass->theta, is_fused ? 1 : 0);
  if (pass->learner->shape.has_bias) FormOffset(pass->learner, pass->theta);
  if (pass->is_rotated) StartOffsetGradient(pass);
  if (is_fused) {
    BackFirstRotated(pass, moments->product);
    loss = LossOf(pass);
    BackFrom(pass, 2, pass->learner->shape.width[1], moments->product, moments->chain, moments->product);
    return loss;
  }
  if (pass->is_rotated)
    RotatedProductGradient(pass, 0, pass->learner->shape.width[0]);
  else
    ProductGradient(pass);
  loss = LossOf(pass);
  BackFrom(pass, 1, moments->m, moments->g, moments->product, moments->chain);
  return loss;
}

double FwLearnerMomentsGradient(FwLearner learner, PetscBool is_rotated, const double theta[], double gradient[])
{
  Pass pass = {.learner = learner, .is_rotated = is_rotated, .theta = theta, .gradient = gradient};

  return Run(&pass);
}

double FwLearnerMomentsPieces(FwLearner learner, PetscBool is_rotated, const double theta[], FwLearnerUse *use,
                              void *context)
{
  Pass pass = {.learner = learner, .is_rotated = is_rotated, .theta = theta, .use = use, .context = context};

  return Run(&pass);
}
