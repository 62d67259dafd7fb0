/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How outputs depend on pre-activations: one output after the other is propagated back through the network.
 */

#include "learner_impl.h"

/* Of the last layer, z_L = f: the unit matrix */
static void SetUnit(PetscInt n, double matrix[])
{
  for (PetscInt i = 0; i < n * n; i++) matrix[i] = i % (n + 1) ? 0.0 : 1.0;
}

static void MirrorLower(PetscInt n, double matrix[])
{
  for (PetscInt j = 1; j < n; j++)
    for (PetscInt i = 0; i < j; i++) matrix[i + (size_t)j * n] = matrix[j + (size_t)i * n];
}

/* Derivative of output k in z of layer L - 1, for n examples that went forward */
static void StartBack(FwLearner learner, const double theta[], PetscInt k, PetscInt n, double delta[])
{
  const FwLearnerLayer last  = FwLearnerGetLayer(&learner->shape, learner->shape.n_layer);
  const double        *slope = learner->pass.slope[learner->shape.n_layer - 2];

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt a = 0; a < last.n_in; a++)
      delta[a + (size_t)i * last.n_in] = theta[last.weight + k + a * last.n_out] * slope[a + (size_t)i * last.n_in];
}

/* D^T D of output k, and its mean, are added for layer l */
static void AddOutput(FwLearner learner, PetscInt l, PetscInt k, PetscInt n, const double delta[], double gram[],
                      double mean[])
{
  const PetscInt width  = learner->shape.width[l];
  const double   weight = 1.0 / learner->n_example;

  if (gram) FwSyrk("N", width, n, weight, delta, width, 1.0, gram, width);
  for (PetscInt a = 0; mean && a < width; a++)
    for (PetscInt i = 0; i < n; i++)
      mean[k + a * learner->shape.width[learner->shape.n_layer]] += weight * delta[a + (size_t)i * width];
}

static PetscInt LowestWanted(FwLearner learner, double *const gram[], double *const mean[])
{
  PetscInt l = 1;

  while (l < learner->shape.n_layer && !gram[l - 1] && !(mean && mean[l - 1])) l++;
  return l;
}

static PetscErrorCode AddPiece(FwLearner learner, const double theta[], PetscInt first, PetscInt n,
                               double *const gram[], double *const mean[])
{
  const PetscInt L = learner->shape.n_layer, lowest = LowestWanted(learner, gram, mean);
  FwLearnerPass *pass = &learner->pass;

  PetscFunctionBegin;
  PetscCall(FwLearnerPassForward(learner, theta, n, learner->x + (size_t)first * learner->shape.width[0]));
  for (PetscInt k = 0; k < learner->shape.width[L]; k++) {
    double *delta = pass->delta, *below = pass->below;

    StartBack(learner, theta, k, n, delta);
    for (PetscInt l = L - 1; l >= lowest; l--) {
      double *swap = delta;

      AddOutput(learner, l, k, n, delta, gram[l - 1], mean ? mean[l - 1] : NULL);
      if (l == lowest) break;
      FwLearnerBack(learner, theta, l, n, delta, below);
      delta = below;
      below = swap;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of a linear network: D = A_l = W_L .. W_{l+1} for every example */
static PetscErrorCode LinearSensitivity(FwLearner learner, const double theta[], double *const gram[],
                                        double *const mean[])
{
  const PetscInt L = learner->shape.n_layer, c = learner->shape.width[L];
  double        *above = learner->pass.delta, *next = learner->pass.below;

  PetscFunctionBegin;
  for (PetscInt l = L - 1; l >= 1; l--) {
    const FwLearnerLayer layer = FwLearnerGetLayer(&learner->shape, l + 1);
    double              *swap  = above;

    if (l == L - 1)
      PetscCall(PetscArraycpy(next, theta + layer.weight, c * layer.n_in));
    else
      FwGemm("N", "N", c, layer.n_in, layer.n_out, 1.0, above, c, theta + layer.weight, layer.n_out, 0.0, next, c);
    above = next;
    next  = swap;
    if (gram[l - 1]) FwSyrk("T", layer.n_in, c, 1.0, above, c, 0.0, gram[l - 1], layer.n_in);
    if (mean && mean[l - 1]) PetscCall(PetscArraycpy(mean[l - 1], above, c * layer.n_in));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SumExamples(FwLearner learner, const double theta[], double *const gram[], double *const mean[])
{
  const PetscInt L = learner->shape.n_layer;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < L; l++) {
    const PetscInt n = learner->shape.width[l];

    if (gram[l - 1]) PetscCall(PetscArrayzero(gram[l - 1], (size_t)n * n));
    if (mean && mean[l - 1]) PetscCall(PetscArrayzero(mean[l - 1], n * learner->shape.width[L]));
  }
  if (LowestWanted(learner, gram, mean) == L) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt first = 0; first < learner->n_example; first += learner->pass.n_most)
    PetscCall(AddPiece(learner, theta, first, PetscMin(learner->pass.n_most, learner->n_example - first), gram, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSensitivity(FwLearner learner, const double theta[], double *const gram[], double *const mean[])
{
  const PetscInt L = learner->shape.n_layer;

  PetscFunctionBegin;
  if (FwLearnerIsLinear(learner))
    PetscCall(LinearSensitivity(learner, theta, gram, mean));
  else
    PetscCall(SumExamples(learner, theta, gram, mean));
  for (PetscInt l = 1; l < L; l++)
    if (gram[l - 1]) MirrorLower(learner->shape.width[l], gram[l - 1]);
  if (gram[L - 1]) SetUnit(learner->shape.width[L], gram[L - 1]);
  if (mean && mean[L - 1]) SetUnit(learner->shape.width[L], mean[L - 1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
