/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A plain network on examples: its making, the way forward, and weight decay.
 */

#include "learner_impl.h"

#include <math.h>

enum { PIECE = 128 }; /* examples that go through the network together; BLAS sums as many in one go */

const char *const FwLossNames[FW_LOSS_COUNT] = {"mse", "cross-entropy"};

/* --- shape ------------------------------------------------------------------------------------------------------ */

FwLearnerLayer FwLearnerGetLayer(const FwLearnerShape *shape, PetscInt l)
{
  FwLearnerLayer layer = {.weight = 0};

  for (PetscInt k = 1; k <= l; k++) {
    if (k > 1) layer.weight = layer.bias + (shape->has_bias ? layer.n_out : 0);
    layer.n_in  = shape->width[k - 1];
    layer.n_out = shape->width[k];
    layer.bias  = layer.weight + layer.n_in * layer.n_out;
  }
  return layer;
}

PetscInt FwLearnerShapeWeight(const FwLearnerShape *shape, PetscInt l)
{
  return FwLearnerGetLayer(shape, l).weight;
}

PetscInt FwLearnerShapeBias(const FwLearnerShape *shape, PetscInt l)
{
  return FwLearnerGetLayer(shape, l).bias;
}

PetscInt FwLearnerShapeSize(const FwLearnerShape *shape)
{
  const FwLearnerLayer last = FwLearnerGetLayer(shape, shape->n_layer);

  return last.bias + (shape->has_bias ? last.n_out : 0);
}

static PetscInt WidestLayer(const FwLearnerShape *shape)
{
  PetscInt widest = 0;

  for (PetscInt l = 0; l <= shape->n_layer; l++) widest = PetscMax(widest, shape->width[l]);
  return widest;
}

/* Sizes are 32-bit: a network beyond that is refused before its size is computed */
static PetscErrorCode CheckShape(const FwLearnerShape *shape)
{
  double n_theta = 0.0;

  PetscFunctionBegin;
  PetscCheck(shape->n_layer >= 1 && shape->n_layer <= FW_LEARNER_LAYERS, PETSC_COMM_SELF, FW_ERR_INPUT,
             "a network of %" PetscInt_FMT " weight matrices: 1 to %d are possible", shape->n_layer, FW_LEARNER_LAYERS);
  for (PetscInt l = 0; l <= shape->n_layer; l++) {
    PetscCheck(shape->width[l] > 0, PETSC_COMM_SELF, FW_ERR_INPUT,
               "width %" PetscInt_FMT " of layer %" PetscInt_FMT " is not positive", shape->width[l], l);
    if (l) n_theta += (double)shape->width[l] * (double)(shape->width[l - 1] + 1);
  }
  PetscCheck(n_theta < (double)PETSC_MAX_INT, PETSC_COMM_SELF, FW_ERR_MEMORY,
             "a network of %.3g parameters is more than %" PetscInt_FMT ": smaller widths", n_theta, PETSC_MAX_INT);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static PetscErrorCode PassCreate(const FwLearnerShape *shape, PetscInt n_most, FwLearnerPass *pass)
{
  const PetscInt c = shape->width[shape->n_layer];
  const size_t   n = (size_t)n_most, widest = (size_t)PetscMax(n_most, c) * (size_t)WidestLayer(shape);

  PetscFunctionBegin;
  pass->n_most = n_most;
  PetscCall(PetscCalloc2(shape->n_layer, &pass->h, shape->n_layer, &pass->slope));
  for (PetscInt l = 1; l < shape->n_layer; l++)
    PetscCall(
      PetscMalloc2(n * (size_t)shape->width[l], &pass->h[l - 1], n * (size_t)shape->width[l], &pass->slope[l - 1]));
  PetscCall(PetscMalloc3(n * (size_t)c, &pass->f, widest, &pass->delta, widest, &pass->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PassDestroy(const FwLearnerShape *shape, FwLearnerPass *pass)
{
  PetscFunctionBegin;
  for (PetscInt l = 1; l < shape->n_layer; l++) PetscCall(PetscFree2(pass->h[l - 1], pass->slope[l - 1]));
  PetscCall(PetscFree2(pass->h, pass->slope));
  PetscCall(PetscFree3(pass->f, pass->delta, pass->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Probabilities of c classes, of which there are two at least: the softmax of one output is 1 whatever it is */
static PetscErrorCode CheckTargets(FwLoss loss, PetscInt n, PetscInt c, const double y[])
{
  PetscFunctionBegin;
  if (loss != FW_LOSS_CROSS_ENTROPY) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(c > 1, PETSC_COMM_SELF, FW_ERR_INPUT, "the cross-entropy needs two outputs at least, not %" PetscInt_FMT,
             c);
  for (PetscInt i = 0; i < n; i++) {
    double sum = 0.0;

    for (PetscInt k = 0; k < c; k++) {
      PetscCheck(y[i * c + k] >= 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
                 "the cross-entropy needs probabilities for targets, and %g is negative", y[i * c + k]);
      sum += y[i * c + k];
    }
    PetscCheck(fabs(sum - 1.0) < 1e-6, PETSC_COMM_SELF, FW_ERR_INPUT,
               "the cross-entropy needs probabilities for targets, and those of example %" PetscInt_FMT " add up to %g",
               i, sum);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double SumSquares(size_t n, const double y[])
{
  double sum = 0.0;

  for (size_t i = 0; i < n; i++) sum += y[i] * y[i];
  return sum;
}

PetscErrorCode FwLearnerCreate(MPI_Comm comm, const FwLearnerShape *shape, FwLoss loss, PetscInt n_example,
                               const double x[], const double y[], FwLearner *learner)
{
  FwLearner      made;
  const PetscInt c = shape->width[PetscMax(shape->n_layer, 0)];

  PetscFunctionBegin;
  PetscCall(CheckShape(shape));
  PetscCheck(n_example > 0, PETSC_COMM_SELF, FW_ERR_INPUT, "%" PetscInt_FMT " examples: at least one is needed",
             n_example);
  PetscCall(CheckTargets(loss, n_example, c, y));
  PetscCall(PetscNew(&made));
  made->shape     = *shape;
  made->loss      = loss;
  made->n_theta   = FwLearnerShapeSize(shape);
  made->n_example = n_example;
  made->x         = x;
  made->y         = y;
  made->zero_loss = loss == FW_LOSS_MSE ? 0.5 * SumSquares((size_t)n_example * (size_t)c, y) / n_example : log(c);
  PetscCallMPI(MPI_Comm_dup(comm, &made->comm));
  PetscCall(FwActivationGet(shape->activation, &made->activation));
  PetscCall(PassCreate(shape, PetscMin(PIECE, n_example), &made->pass));
  PetscCall(PetscMalloc2(made->pass.n_most * shape->width[0], &made->batch_x, made->pass.n_most * c, &made->batch_y));
  PetscCall(FwLearnerMomentsCreate(made));
  *learner = made;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double SumWidths(const FwLearnerShape *shape, PetscInt first, PetscInt last)
{
  double sum = 0.0;

  for (PetscInt l = first; l <= last; l++) sum += (double)shape->width[l];
  return sum;
}

/* Of dsyevd, beside the matrix and its eigenvectors */
static double MomentsBytes(const FwLearnerShape *shape)
{
  const double d = shape->width[0], c = shape->width[shape->n_layer];

  return 8.0 * (4.0 * d * d + c * (4.0 * d + SumWidths(shape, 0, shape->n_layer) + 6.0 * (double)WidestLayer(shape)));
}

double FwLearnerBytes(const FwLearnerShape *shape, FwLoss loss, PetscInt n_example, PetscBool is_single)
{
  const double n = PetscMin(PIECE, n_example), d = shape->width[0], c = shape->width[shape->n_layer];
  const double widest = (double)WidestLayer(shape), theta = (double)FwLearnerShapeSize(shape);
  double       numbers;

  numbers = n * (2.0 * SumWidths(shape, 1, shape->n_layer - 1) + d + 2.0 * c) + 2.0 * PetscMax(n, c) * widest;
  if (is_single)
    numbers += 0.5 * (n * (2.0 * SumWidths(shape, 1, shape->n_layer - 1) + d + 2.0 * widest) + 2.0 * theta);
  if (FwLearnerHasMoments(shape, loss, n_example)) return 8.0 * numbers + MomentsBytes(shape);
  return 8.0 * (numbers + 2.0 * theta); /* one block and the total; ranks that share it keep several blocks */
}

PetscErrorCode FwLearnerDestroy(FwLearner *learner)
{
  FwLearner l = *learner;

  PetscFunctionBegin;
  if (!l) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PassDestroy(&l->shape, &l->pass));
  PetscCall(FwLearnerMomentsDestroy(l));
  PetscCall(FwLearnerBasisDestroy(l));
  PetscCall(FwLearnerSharesDestroy(l));
  PetscCall(FwLearnerSingleDestroy(l));
  PetscCall(PetscFree2(l->batch_x, l->batch_y));
  PetscCallMPI(MPI_Comm_free(&l->comm));
  PetscCall(PetscFree(*learner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSetSingle(FwLearner learner, PetscBool is_single)
{
  PetscFunctionBegin;
  PetscCall(FwLearnerSharesDestroy(learner)); /* blocks are others */
  if (is_single && !learner->single.theta) PetscCall(FwLearnerSingleCreate(learner));
  if (!is_single) PetscCall(FwLearnerSingleDestroy(learner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerGetShape(FwLearner learner, const FwLearnerShape **shape)
{
  PetscFunctionBegin;
  *shape = &learner->shape;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerGetExamples(FwLearner learner, PetscInt *n_example, const double **x, const double **y)
{
  PetscFunctionBegin;
  *n_example = learner->n_example;
  *x         = learner->x;
  *y         = learner->y;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwLearnerIsLinear(FwLearner learner)
{
  return (PetscBool)(learner->shape.activation == FW_ACTIVATION_LINEAR || learner->shape.n_layer == 1);
}

/* --- forward -------------------------------------------------------------------------------------------------- */

void FwLearnerAffine(FwLearner learner, const double theta[], PetscInt l, PetscInt n, const double h[], double z[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
  const double         beta  = learner->shape.has_bias ? 1.0 : 0.0;

  for (PetscInt i = 0; learner->shape.has_bias && i < n; i++)
    (void)PetscArraycpy(z + (size_t)i * layer.n_out, theta + layer.bias, layer.n_out);
  FwGemm("N", "N", layer.n_out, n, layer.n_in, 1.0, theta + layer.weight, layer.n_out, h, layer.n_in, beta, z,
         layer.n_out);
}

PetscErrorCode FwLearnerPassForward(FwLearner learner, const double theta[], PetscInt n, const double x[])
{
  FwLearnerPass *pass = &learner->pass;
  const double  *h    = x;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < learner->shape.n_layer; l++) {
    double *slope = pass->slope[l - 1];

    FwLearnerAffine(learner, theta, l, n, h, slope);
    PetscCall(
      FwActivationEvaluate(learner->activation, n * learner->shape.width[l], slope, pass->h[l - 1], slope, NULL));
    h = pass->h[l - 1];
  }
  FwLearnerAffine(learner, theta, learner->shape.n_layer, n, h, pass->f);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerForward(FwLearner learner, const double theta[], PetscInt n, const double x[], double f[])
{
  const PetscInt d = learner->shape.width[0], c = learner->shape.width[learner->shape.n_layer];
  const PetscInt n_most = learner->pass.n_most;

  PetscFunctionBegin;
  for (PetscInt first = 0; first < n; first += n_most) {
    const PetscInt n_here = PetscMin(n_most, n - first);

    PetscCall(FwLearnerPassForward(learner, theta, n_here, x + (size_t)first * d));
    PetscCall(PetscArraycpy(f + (size_t)first * c, learner->pass.f, n_here * c));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- decay ------------------------------------------------------------------------------------------------------ */

double FwLearnerPenalty(FwLearner learner, FwDecay decay, const double theta[])
{
  double sum = 0.0;

  for (PetscInt l = 1; l <= learner->shape.n_layer; l++) {
    const FwLearnerLayer layer  = FwLearnerGetLayer(&learner->shape, l);
    const PetscInt       n_bias = learner->shape.has_bias ? layer.n_out : 0;

    if (decay.weight != 0.0)
      sum += 0.5 * decay.weight * FwDot(layer.n_in * layer.n_out, theta + layer.weight, theta + layer.weight);
    if (decay.bias != 0.0) sum += 0.5 * decay.bias * FwDot(n_bias, theta + layer.bias, theta + layer.bias);
  }
  return sum;
}

void FwLearnerAddDecay(FwLearner learner, FwDecay decay, const double theta[], double gradient[])
{
  for (PetscInt l = 1; l <= learner->shape.n_layer; l++) {
    const FwLearnerLayer layer  = FwLearnerGetLayer(&learner->shape, l);
    const PetscInt       n_bias = learner->shape.has_bias ? layer.n_out : 0;

    if (decay.weight != 0.0)
      FwAxpy(layer.n_in * layer.n_out, decay.weight, theta + layer.weight, gradient + layer.weight);
    if (decay.bias != 0.0) FwAxpy(n_bias, decay.bias, theta + layer.bias, gradient + layer.bias);
  }
}
