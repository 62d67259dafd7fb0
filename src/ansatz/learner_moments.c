/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The gradient of a linear network with squared error, which sees the examples only through their second moments:
 *
 *     f = E x + e,   E = W_L .. W_1,   e = sum_l A_l b_l,   A_l = W_L .. W_{l+1},
 *     G = (E, e) <x~ x~^T> - <y x~^T>,   x~ = (x, 1),
 *     gradient in W_l: A_l^T G_l,   in b_l: A_l^T g_e,   G_1 = G without its last column g_e,   G_{l+1} = G_l W_l^T + g_e b_l^T.
 *
 * All products have c rows, which is what makes them cheap: outputs are few. A_l, G_l and E are kept transposed, by blocks of
 * four rows (learner_narrow.c), and the gradient is made piece by piece: where a piece may be used at once, W_l is read while it is in the cache, and written.
 */

#include "learner_impl.h"

#include <finwidth/vector.h>

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
  PetscCall(PetscMalloc6((size_t)m * m, &moments->xx, c * m, &moments->yx, FwNarrowSize(m, c), &moments->target,
                         FwNarrowSize(m, c), &moments->g, FwNarrowSize(1, c), &moments->g_offset, c, &moments->offset));
  PetscCall(PetscArrayzero(moments->g_offset, FwNarrowSize(1, c)));
  PetscCall(PetscCalloc1(L, &moments->above));
  for (PetscInt l = 0; l < L; l++) {
    widest = PetscMax(widest, learner->shape.width[l]);
    PetscCall(PetscMalloc1(FwNarrowSize(learner->shape.width[l], c), &moments->above[l]));
  }
  widest = PetscMax(widest, c);
  PetscCall(PetscMalloc5(FwNarrowSize(widest, c), &moments->product, FwNarrowSize(widest, c), &moments->chain,
                         PetscMax(c, FW_NARROW_ROWS) * widest, &moments->piece, c * m, &moments->plain_e, c * m,
                         &moments->plain_g));
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
  FwNarrowPack(learner->shape.width[0], Outputs(learner), moments->yx, moments->target);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerMomentsDestroy(FwLearner learner)
{
  FwLearnerMoments *moments = &learner->moments;

  PetscFunctionBegin;
  if (!moments->xx) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; l < learner->shape.n_layer; l++) PetscCall(PetscFree(moments->above[l]));
  PetscCall(PetscFree(moments->above));
  PetscCall(PetscFree6(moments->xx, moments->yx, moments->target, moments->g, moments->g_offset, moments->offset));
  PetscCall(PetscFree5(moments->product, moments->chain, moments->piece, moments->plain_e, moments->plain_g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- forward ---------------------------------------------------------------------------------------------------- */

/* A_{L-1} = W_L, then A_{L-2} down to A_`last` */
static void FormAbove(FwLearner learner, const double theta[], PetscInt last)
{
  const PetscInt L = learner->shape.n_layer, c = Outputs(learner);
  double *const *above = learner->moments.above;

  FwNarrowPack(learner->shape.width[L - 1], c, theta + FwLearnerShapeWeight(&learner->shape, L), above[L - 1]);
  for (PetscInt l = L - 2; l >= last; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l + 1);

    FwNarrowProduct(layer.n_out, layer.n_in, c, above[l + 1], theta + layer.weight, above[l]);
  }
}

/* e = sum_l A_l b_l, c numbers */
static void FormOffset(FwLearner learner, const double theta[])
{
  const PetscInt L = learner->shape.n_layer, c = Outputs(learner);
  double        *offset = learner->moments.offset, *part = learner->moments.piece;

  for (PetscInt k = 0; k < c; k++) offset[k] = theta[FwLearnerShapeBias(&learner->shape, L) + k];
  for (PetscInt l = 1; l < L; l++) {
    FwNarrowProduct(learner->shape.width[l], 1, c, learner->moments.above[l],
                    theta + FwLearnerShapeBias(&learner->shape, l), part);
    for (PetscInt k = 0; k < c; k++) offset[k] += part[k * FW_NARROW_ROWS];
  }
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

  FwNarrowUnpack(d, c, moments->above[0], moments->plain_e);
  for (PetscInt k = 0; m > d && k < c; k++) moments->plain_e[k + d * c] = moments->offset[k];
  (void)PetscArraycpy(moments->plain_g, moments->yx, c * m);
  FwGemm("N", "N", c, m, m, 1.0, moments->plain_e, c, moments->xx, m, -1.0, moments->plain_g, c);
  FwNarrowPack(d, c, moments->plain_g, moments->g);
  for (PetscInt k = 0; m > d && k < c; k++) moments->g_offset[k * FW_NARROW_ROWS] = moments->plain_g[k + d * c];
}

/* Columns of E times those of lambda, less the target: n blocks */
FW_VECTOR static void ScaleBlocks(PetscInt n, PetscInt c, const double *restrict e, const double *restrict lambda,
                                  const double *restrict target, double *restrict g)
{
  for (PetscInt b = 0; b < n; b++, lambda += FW_NARROW_ROWS)
    for (PetscInt k = 0; k < c; k++, e += FW_NARROW_ROWS, target += FW_NARROW_ROWS, g += FW_NARROW_ROWS)
      for (int j = 0; j < FW_NARROW_ROWS; j++) g[j] = e[j] * lambda[j] - target[j];
}

/* What the mean of the inputs adds: that of the offset is added up on the way */
static void AddMean(Pass *pass, PetscInt first, PetscInt end)
{
  FwLearnerMoments *moments = &pass->learner->moments;
  const double     *mean    = pass->learner->rotated.mean;
  const PetscInt    c       = Outputs(pass->learner);

  for (PetscInt j = first; j < end; j++)
    for (PetscInt k = 0; k < c; k++) {
      const PetscInt at = j / FW_NARROW_ROWS * FW_NARROW_ROWS * c + k * FW_NARROW_ROWS + j % FW_NARROW_ROWS;

      moments->g[at] += moments->offset[k] * mean[j];
      moments->g_offset[k * FW_NARROW_ROWS] += moments->above[0][at] * mean[j];
    }
}

/* The same for columns first .. end - 1, whole blocks, where <x x^T> is diagonal */
static void RotatedProductGradient(Pass *pass, PetscInt first, PetscInt end)
{
  FwLearnerMoments     *moments = &pass->learner->moments;
  const FwLearnerBasis *rotated = &pass->learner->rotated;
  const PetscInt        c       = Outputs(pass->learner);

  ScaleBlocks((end - first + FW_NARROW_ROWS - 1) / FW_NARROW_ROWS, c, moments->above[0] + first * c,
              rotated->lambda + first, rotated->target + first * c, moments->g + first * c);
  if (pass->learner->shape.has_bias) AddMean(pass, first, end);
}

static void StartOffsetGradient(Pass *pass)
{
  FwLearnerMoments *moments = &pass->learner->moments;
  const PetscInt    d = pass->learner->shape.width[0], c = Outputs(pass->learner);

  for (PetscInt k = 0; pass->learner->shape.has_bias && k < c; k++)
    moments->g_offset[k * FW_NARROW_ROWS] = moments->offset[k] - pass->learner->rotated.yx[k + d * c];
}

/* 1/2 <|E x + e - y|^2> = 1/2 ((E, e) . G - (E, e) . <y x~^T> + <|y|^2>) */
static double LossOf(const Pass *pass)
{
  const FwLearnerMoments *moments = &pass->learner->moments;
  const PetscInt          d = pass->learner->shape.width[0], c = Outputs(pass->learner), n = FwNarrowSize(d, c);
  const double           *e   = moments->above[0];
  double                  sum = moments->yy;

  sum += FwDot(n, e, moments->g) - FwDot(n, e, pass->is_rotated ? pass->learner->rotated.target : moments->target);
  for (PetscInt k = 0; pass->learner->shape.has_bias && k < c; k++)
    sum +=
      moments->offset[k] * (moments->g_offset[k * FW_NARROW_ROWS] - moments->yx[k + d * c]); /* <y>: in any basis */
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
                        const double g[], double next[])
{
  const PetscInt at = layer->weight + first * layer->n_out, c = Outputs(pass->learner);

  FwNarrowBack(layer->n_out, n, c, pass->learner->moments.above[l], pass->theta + at, g + first * c, next,
               PieceAt(pass, at));
  UsePiece(pass, PETSC_FALSE, at, n * layer->n_out);
}

/* The bias of layer l < L: its part of G_{l+1}, and its gradient A_l^T g_e */
static void BackBias(const Pass *pass, const FwLearnerLayer *layer, PetscInt l, double next[])
{
  const FwLearnerMoments *moments = &pass->learner->moments;

  if (!pass->learner->shape.has_bias) return;
  FwNarrowBack(layer->n_out, 1, Outputs(pass->learner), moments->above[l], pass->theta + layer->bias, moments->g_offset,
               next, PieceAt(pass, layer->bias));
  UsePiece(pass, PETSC_TRUE, layer->bias, layer->n_out);
}

/* Layer l < L, whose columns of G are there, or are made as those of E are */
static void BackLayer(const Pass *pass, PetscInt l, const double g[], double next[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&pass->learner->shape, l);

  (void)PetscArrayzero(next, FwNarrowSize(layer.n_out, Outputs(pass->learner)));
  for (PetscInt first = 0; first < layer.n_in; first += FW_NARROW_ROWS)
    BackColumns(pass, &layer, l, first, PetscMin(FW_NARROW_ROWS, layer.n_in - first), g, next);
  BackBias(pass, &layer, l, next);
}

/* The first of several layers in the basis of the moments: E, G and the way back by columns of W_1, which is read once */
static void BackFirstRotated(Pass *pass, double next[])
{
  const FwLearnerMoments *moments = &pass->learner->moments;
  const FwLearnerLayer    layer   = FwLearnerGetLayer(&pass->learner->shape, 1);
  const PetscInt          c       = Outputs(pass->learner);

  (void)PetscArrayzero(next, FwNarrowSize(layer.n_out, c));
  for (PetscInt first = 0; first < layer.n_in; first += FW_NARROW_ROWS) {
    const PetscInt n = PetscMin(FW_NARROW_ROWS, layer.n_in - first);

    FwNarrowProduct(layer.n_out, n, c, moments->above[1], pass->theta + layer.weight + first * layer.n_out,
                    moments->above[0] + first * c);
    RotatedProductGradient(pass, first, first + n);
    BackColumns(pass, &layer, 1, first, n, moments->g, next);
  }
  BackBias(pass, &layer, 1, next);
}

/* Layer L: its gradient is G_L itself */
static void BackLast(const Pass *pass, const double g[])
{
  const PetscInt       L = pass->learner->shape.n_layer, c = Outputs(pass->learner);
  const FwLearnerLayer layer = FwLearnerGetLayer(&pass->learner->shape, L);
  double              *piece = PieceAt(pass, layer.weight);

  FwNarrowUnpack(layer.n_in, c, g, piece);
  UsePiece(pass, PETSC_FALSE, layer.weight, c * layer.n_in);
  if (!pass->learner->shape.has_bias) return;
  piece = PieceAt(pass, layer.bias);
  for (PetscInt k = 0; k < c; k++) piece[k] = pass->learner->moments.g_offset[k * FW_NARROW_ROWS];
  UsePiece(pass, PETSC_TRUE, layer.bias, c);
}

/* Layers from `l` on, G_l being there */
static void BackFrom(const Pass *pass, PetscInt l, const double *g, double *next, double *other)
{
  for (; l < pass->learner->shape.n_layer; l++) {
    double *swap = next;

    BackLayer(pass, l, g, next);
    g     = next;
    next  = other;
    other = swap;
  }
  BackLast(pass, g);
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
    BackFrom(pass, 2, moments->product, moments->chain, moments->product);
    return loss;
  }
  if (pass->is_rotated)
    RotatedProductGradient(pass, 0, pass->learner->shape.width[0]);
  else
    ProductGradient(pass);
  loss = LossOf(pass);
  BackFrom(pass, 1, moments->g, moments->product, moments->chain);
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
