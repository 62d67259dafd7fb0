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

void FwLearnerStartBack(FwLearner learner, const double theta[], PetscInt k, PetscInt n, double delta[])
{
  const FwLearnerLayer last  = FwLearnerGetLayer(&learner->shape, learner->shape.n_layer);
  const double        *slope = learner->pass.slope[learner->shape.n_layer - 2];

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt a = 0; a < last.n_in; a++)
      delta[a + (size_t)i * last.n_in] = theta[last.weight + k + a * last.n_out] * slope[a + (size_t)i * last.n_in];
}

/* Where gram and mean of each layer are in one row of numbers; -1 where they are not wanted */
typedef struct {
  const double *theta;
  PetscInt      n, lowest; /* numbers; the lowest layer that is wanted */
  PetscInt      gram[FW_LEARNER_LAYERS], mean[FW_LEARNER_LAYERS];
} Wanted;

static void LayOut(FwLearner learner, const double theta[], double *const gram[], double *const mean[], Wanted *wanted)
{
  const PetscInt L = learner->shape.n_layer, c = learner->shape.width[L];

  *wanted = (Wanted){.theta = theta, .lowest = L};
  for (PetscInt l = L - 1; l >= 1; l--) {
    const PetscInt  width    = learner->shape.width[l];
    const PetscBool has_gram = (PetscBool) !!gram[l - 1], has_mean = (PetscBool)(mean && mean[l - 1]);

    wanted->gram[l - 1] = has_gram ? wanted->n : -1;
    wanted->n += has_gram ? width * width : 0;
    wanted->mean[l - 1] = has_mean ? wanted->n : -1;
    wanted->n += has_mean ? c * width : 0;
    if (has_gram || has_mean) wanted->lowest = l;
  }
}

/* D^T D of output k, and its mean, are added for layer l */
static void AddOutput(FwLearner learner, const Wanted *wanted, PetscInt l, PetscInt k, PetscInt n, const double delta[],
                      double sum[])
{
  const PetscInt width = learner->shape.width[l], c = learner->shape.width[learner->shape.n_layer];
  const double   weight = 1.0 / learner->n_example;

  if (wanted->gram[l - 1] >= 0) FwSyrk("N", width, n, weight, delta, width, 1.0, sum + wanted->gram[l - 1], width);
  for (PetscInt a = 0; wanted->mean[l - 1] >= 0 && a < width; a++)
    for (PetscInt i = 0; i < n; i++) sum[wanted->mean[l - 1] + k + a * c] += weight * delta[a + (size_t)i * width];
}

static PetscErrorCode AddSensitivity(FwLearner learner, void *context, PetscInt first, PetscInt n, double *scalar,
                                     double sum[])
{
  const Wanted  *wanted = context;
  const PetscInt L      = learner->shape.n_layer;
  FwLearnerPass *pass   = &learner->pass;

  PetscFunctionBegin;
  (void)scalar;
  PetscCall(FwLearnerPassForward(learner, wanted->theta, n, learner->x + (size_t)first * learner->shape.width[0]));
  for (PetscInt k = 0; k < learner->shape.width[L]; k++) {
    double *delta = pass->delta, *below = pass->below;

    FwLearnerStartBack(learner, wanted->theta, k, n, delta);
    for (PetscInt l = L - 1; l >= wanted->lowest; l--) {
      double *swap = delta;

      AddOutput(learner, wanted, l, k, n, delta, sum);
      if (l == wanted->lowest) break;
      FwLearnerBack(learner, wanted->theta, l, n, delta, below);
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
  const PetscInt L = learner->shape.n_layer, c = learner->shape.width[L];
  Wanted         wanted;
  double        *sum, scalar;

  PetscFunctionBegin;
  LayOut(learner, theta, gram, mean, &wanted);
  if (wanted.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(wanted.n, &sum));
  PetscCall(FwLearnerSum(learner, learner->n_example, wanted.n, PETSC_FALSE, AddSensitivity, &wanted, &scalar, sum));
  for (PetscInt l = 1; l < L; l++) {
    const PetscInt width = learner->shape.width[l];

    if (wanted.gram[l - 1] >= 0) PetscCall(PetscArraycpy(gram[l - 1], sum + wanted.gram[l - 1], width * width));
    if (wanted.mean[l - 1] >= 0) PetscCall(PetscArraycpy(mean[l - 1], sum + wanted.mean[l - 1], c * width));
  }
  PetscCall(PetscFree(sum));
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
