/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Loss and gradient through the examples: forward and backward by matrix products over pieces of them.
 */

#include "learner_impl.h"

#include <math.h>

/* --- loss ------------------------------------------------------------------------------------------------------- */

static double SquaredError(PetscInt n, const double f[], const double y[], double weight, double delta[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    const double r = f[i] - y[i];

    sum += r * r;
    if (delta) delta[i] = weight * r;
  }
  return 0.5 * sum;
}

/* -sum_k y_k log p_k of one example, p = softmax(f); its derivative is (sum y) p - y */
static double CrossEntropy(PetscInt c, const double f[], const double y[], double weight, double delta[])
{
  double largest = f[0], partition = 0.0, mass = 0.0, loss = 0.0;

  for (PetscInt k = 1; k < c; k++) largest = PetscMax(largest, f[k]);
  for (PetscInt k = 0; k < c; k++) partition += exp(f[k] - largest);
  for (PetscInt k = 0; k < c; k++) mass += y[k];
  for (PetscInt k = 0; k < c; k++) {
    loss += y[k] * (log(partition) - (f[k] - largest));
    if (delta) delta[k] = weight * (mass * exp(f[k] - largest) / partition - y[k]);
  }
  return loss;
}

double FwLearnerSumLoss(FwLearner learner, PetscInt n, const double f[], const double y[], double weight,
                        double delta[])
{
  const PetscInt c   = learner->shape.width[learner->shape.n_layer];
  double         sum = 0.0;

  if (learner->loss == FW_LOSS_MSE) return SquaredError(n * c, f, y, weight, delta);
  for (PetscInt i = 0; i < n; i++) sum += CrossEntropy(c, f + i * c, y + i * c, weight, delta ? delta + i * c : NULL);
  return sum;
}

/* --- backward --------------------------------------------------------------------------------------------------- */

void FwLearnerAddLayer(FwLearner learner, PetscInt l, PetscInt n, const double h[], const double delta[], double sum[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);

  FwGemm("N", "T", layer.n_out, layer.n_in, n, 1.0, delta, layer.n_out, h, layer.n_in, 1.0, sum + layer.weight,
         layer.n_out);
  for (PetscInt a = 0; learner->shape.has_bias && a < layer.n_out; a++) {
    double of_piece = 0.0;

    for (PetscInt i = 0; i < n; i++) of_piece += delta[a + (size_t)i * layer.n_out];
    sum[layer.bias + a] += of_piece;
  }
}

void FwLearnerBack(FwLearner learner, const double theta[], PetscInt l, PetscInt n, const double delta[],
                   double below[])
{
  const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l);
  const double        *slope = learner->pass.slope[l - 2];

  FwGemm("T", "N", layer.n_in, n, layer.n_out, 1.0, theta + layer.weight, layer.n_out, delta, layer.n_out, 0.0, below,
         layer.n_in);
  for (PetscInt i = 0; i < n * layer.n_in; i++) below[i] *= slope[i];
}

/* What a sum goes over: all examples, or some of them */
typedef struct {
  const double   *theta;
  PetscInt        n;       /* examples of the mean */
  const PetscInt *example; /* [n], NULL for all */
} Mean;

/* Inputs and targets of a piece: where they are, or gathered */
static PetscErrorCode GetPiece(FwLearner learner, const Mean *mean, PetscInt first, PetscInt n, const double **x,
                               const double **y)
{
  const PetscInt d = learner->shape.width[0], c = learner->shape.width[learner->shape.n_layer];

  PetscFunctionBegin;
  *x = mean->example ? learner->batch_x : learner->x + (size_t)first * d;
  *y = mean->example ? learner->batch_y : learner->y + (size_t)first * c;
  for (PetscInt i = 0; mean->example && i < n; i++) {
    const size_t example = (size_t)mean->example[first + i];

    PetscCall(PetscArraycpy(learner->batch_x + (size_t)i * d, learner->x + example * d, d));
    PetscCall(PetscArraycpy(learner->batch_y + (size_t)i * c, learner->y + example * c, c));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddLoss(FwLearner learner, void *context, PetscInt first, PetscInt n, double *loss, double sum[])
{
  const Mean   *mean = context;
  const double *x, *y;

  PetscFunctionBegin;
  (void)sum;
  PetscCall(GetPiece(learner, mean, first, n, &x, &y));
  PetscCall(FwLearnerPassForward(learner, mean->theta, n, x));
  *loss += FwLearnerSumLoss(learner, n, learner->pass.f, y, 1.0, NULL);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddGradient(FwLearner learner, void *context, PetscInt first, PetscInt n, double *loss,
                                  double sum[])
{
  const Mean    *mean  = context;
  FwLearnerPass *pass  = &learner->pass;
  double        *delta = pass->delta, *below = pass->below;
  const double  *x, *y;

  PetscFunctionBegin;
  PetscCall(GetPiece(learner, mean, first, n, &x, &y));
  if (learner->single.theta) {
    PetscCall(FwLearnerSingleAddGradient(learner, n, x, y, 1.0 / mean->n, loss, sum));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwLearnerPassForward(learner, mean->theta, n, x));
  *loss += FwLearnerSumLoss(learner, n, pass->f, y, 1.0 / mean->n, delta);
  for (PetscInt l = learner->shape.n_layer; l >= 1; l--) {
    double *swap = delta;

    FwLearnerAddLayer(learner, l, n, l > 1 ? pass->h[l - 2] : x, delta, sum);
    if (l == 1) break;
    FwLearnerBack(learner, mean->theta, l, n, delta, below);
    delta = below;
    below = swap;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what is offered -------------------------------------------------------------------------------------------- */

PetscErrorCode FwLearnerLoss(FwLearner learner, const double theta[], double *loss)
{
  Mean   all = {.theta = theta, .n = learner->n_example};
  double none;

  PetscFunctionBegin;
  PetscCall(FwLearnerSum(learner, all.n, 0, PETSC_TRUE, AddLoss, &all, loss, &none));
  *loss /= all.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Decay joins the gradient of the loss */
static void Complete(FwLearner learner, FwDecay decay, const double theta[], double loss, double *objective,
                     double gradient[])
{
  FwLearnerAddDecay(learner, decay, theta, gradient);
  if (objective) *objective = loss + FwLearnerPenalty(learner, decay, theta);
}

PetscErrorCode FwLearnerBatchGradient(FwLearner learner, FwDecay decay, PetscInt n, const PetscInt example[],
                                      const double theta[], double *objective, double gradient[])
{
  Mean   some = {.theta = theta, .n = n, .example = example};
  double loss;

  PetscFunctionBegin;
  if (learner->single.theta) FwLearnerSingleSetWeights(learner, theta);
  PetscCall(FwLearnerSum(learner, n, learner->n_theta, PETSC_TRUE, AddGradient, &some, &loss, gradient));
  Complete(learner, decay, theta, loss / n, objective, gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where almost nothing is left of |y|^2 the loss is summed up again, example by example: then it has all its digits */
static PetscErrorCode RefineLoss(FwLearner learner, const double theta[], double *loss)
{
  const double share = 0.01; /* of |y|^2 / 2: two digits may be lost, as many as a long sum loses */

  PetscFunctionBegin;
  if (!(*loss > 0.5 * share * learner->moments.yy)) PetscCall(FwLearnerLoss(learner, theta, loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerGradient(FwLearner learner, FwDecay decay, const double theta[], double *objective,
                                 double gradient[])
{
  double loss;

  PetscFunctionBegin;
  if (!learner->moments.xx) {
    PetscCall(FwLearnerBatchGradient(learner, decay, learner->n_example, NULL, theta, objective, gradient));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  loss = FwLearnerMomentsGradient(learner, PETSC_FALSE, theta, gradient);
  if (objective) PetscCall(RefineLoss(learner, theta, &loss));
  Complete(learner, decay, theta, loss, objective, gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}
