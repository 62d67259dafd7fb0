/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A plain network on examples, as it is trained: its loss and the derivatives of it.
 *
 *     h_0 = x,   z_l = W_l h_{l-1} (+ b_l),   h_l = phi(z_l) for l < L,   f = z_L
 *
 *     loss       1/(2N) sum_n |f(x_n) - y_n|^2,   or   1/N sum_n -sum_k y_nk log softmax(f(x_n))_k
 *     objective  loss + mu/2 sum_l |W_l|^2 + mu_b/2 sum_l |b_l|^2
 *
 * There are no factors 1/sqrt(width), and L counts weight matrices: one more than there are hidden layers. All
 * parameters are one vector theta: for l = 1 .. L first W_l, n_l x n_{l-1} and stored by columns, then b_l where the
 * network has biases. Examples are columns.
 *
 * Notation: N examples, n_0 inputs, n_L = c outputs, n parameters.
 *
 * @source docs/theory/training.md
 */

#include <finwidth/activation.h>

/** Most weight matrices of a network. */
#define FW_LEARNER_LAYERS 64

typedef struct {
  PetscInt         n_layer;                      /**< L >= 1 weight matrices */
  PetscInt         width[FW_LEARNER_LAYERS + 1]; /**< n_0 .. n_L */
  FwActivationType activation;                   /**< of all hidden layers */
  PetscBool        has_bias;
} FwLearnerShape;

/** Index into the choices of the key `ansatz_loss`. */
typedef enum { FW_LOSS_MSE, FW_LOSS_CROSS_ENTROPY, FW_LOSS_COUNT } FwLoss;

/** Names of the losses, in the order of the enumeration. */
extern const char *const FwLossNames[FW_LOSS_COUNT];

/** Weight decay: mu of the weights, mu_b of the biases. */
typedef struct {
  double weight, bias;
} FwDecay;

/** Number of parameters; where W_l and b_l begin in theta, l = 1 .. L (without biases b_l is empty). Not collective. */
PetscInt FwLearnerShapeSize(const FwLearnerShape *shape);
PetscInt FwLearnerShapeWeight(const FwLearnerShape *shape, PetscInt l);
PetscInt FwLearnerShapeBias(const FwLearnerShape *shape, PetscInt l);

typedef struct FwLearnerImpl *FwLearner;

/** Put a network on examples.
 *
 * A linear network with squared error reads the examples only once where that is cheaper: its gradient needs no more of
 * them than x x^T and y x^T.
 *
 * @collective{comm}
 * @param[in]  comm     ranks that share the work of this network; each gives the same examples. Results have the same
 *                      bits on any number of them
 * @param[in]  x, y     [N][n_0] and [N][c]: one example after the other; borrowed, keep them while the learner lives
 * @param[out] learner  release with FwLearnerDestroy()
 * @error FW_ERR_INPUT  a width or the number of examples is not positive, too many layers; a target of the cross-entropy
 *                      is negative
 */
PetscErrorCode FwLearnerCreate(MPI_Comm comm, const FwLearnerShape *shape, FwLoss loss, PetscInt n_example,
                               const double x[], const double y[], FwLearner *learner);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwLearnerDestroy(FwLearner *learner);

/** Bytes of a learner at its work, the examples not counted. Not collective. */
double FwLearnerBytes(const FwLearnerShape *shape, FwLoss loss, PetscInt n_example, PetscBool is_single);

/** Have gradients through examples make their products in single precision, about twice as fast; or not again.
 *
 * Weights and sums stay double. Loss, second derivatives, sensitivities and what small networks do in lanes (training.h)
 * are double in any case, and linear networks with squared error do not go through examples. Not collective, but the same
 * on all ranks.
 */
PetscErrorCode FwLearnerSetSingle(FwLearner learner, PetscBool is_single);

/** The shape, borrowed, and the number of examples. Not collective. */
PetscErrorCode FwLearnerGetShape(FwLearner learner, const FwLearnerShape **shape);
PetscErrorCode FwLearnerGetExamples(FwLearner learner, PetscInt *n_example, const double **x, const double **y);

/** f at any n inputs, x: [n][n_0], f: [n][c]. Not collective. */
PetscErrorCode FwLearnerForward(FwLearner learner, const double theta[], PetscInt n, const double x[], double f[]);

/** The loss of all examples, from f itself: exact also where it is tiny. Collective. */
PetscErrorCode FwLearnerLoss(FwLearner learner, const double theta[], double *loss);

/** mu/2 sum |W_l|^2 + mu_b/2 sum |b_l|^2. Not collective. */
double FwLearnerPenalty(FwLearner learner, FwDecay decay, const double theta[]);

/** Add its gradient, mu W_l and mu_b b_l, to `gradient`, which may be theta itself. Not collective. */
void FwLearnerAddDecay(FwLearner learner, FwDecay decay, const double theta[], double gradient[]);

/** The gradient of the objective, and the objective where it is wanted.
 *
 * @collective{learner}
 * @param[out] objective  or NULL
 * @param[out] gradient   [n]
 * @cost of linear networks with squared error about 2 c (n_0^2 + 3 sum_l n_l n_{l-1}) flops, else 6 N sum_l n_l n_{l-1}
 */
PetscErrorCode FwLearnerGradient(FwLearner learner, FwDecay decay, const double theta[], double *objective,
                                 double gradient[]);

/** The same over some examples only, the mean over n of them, by index; an index may come more than once. Collective. */
PetscErrorCode FwLearnerBatchGradient(FwLearner learner, FwDecay decay, PetscInt n, const PetscInt example[],
                                      const double theta[], double *objective, double gradient[]);

/** The second derivative of the objective along a direction: hessian(theta) v, about twice a gradient.
 *
 * @collective{learner}
 * @param[in]  v        [n]
 * @param[out] product  [n]
 */
PetscErrorCode FwLearnerHessianProduct(FwLearner learner, FwDecay decay, const double theta[], const double v[],
                                       double product[]);

/** How the outputs depend on the pre-activations of each layer: with D_n = df(x_n) / dz_l, c x n_l,
 *
 *     gram_l = 1/N sum_n D_n^T D_n,   mean_l = 1/N sum_n D_n,
 *
 * so that the average gradient outer product of layer l is W_l^T gram_l W_l, and the centred one
 * W_l^T (gram_l - mean_l^T mean_l) W_l: no object of n_{l-1} x n_{l-1} is needed.
 *
 * @collective{learner}
 * @param[out] gram  [L] arrays [n_l][n_l], symmetric, entry l - 1 is layer l; NULL entries for layers not wanted
 * @param[out] mean  [L] arrays [n_l][c], c x n_l stored by columns, NULL entries likewise; or NULL
 * @cost N c sum_{k > l} n_k (2 n_{k-1} + ...) flops; linear networks need no examples
 */
PetscErrorCode FwLearnerSensitivity(FwLearner learner, const double theta[], double *const gram[],
                                    double *const mean[]);

/** Factors of these matrices, by QR of all D_n: factor_l^T factor_l = gram_l, centred_l^T centred_l = gram_l - mean_l^T mean_l.
 *  Their singular values are right to rounding of the largest, those of a root of gram_l only to the root of rounding.
 *
 * Only of networks that are not linear. The same bits on any number of ranks.
 *
 * @collective{learner}
 * @param[out] factor, centred  [L] arrays [n_l][n_l], upper triangles by columns, for l < L; NULL for those not wanted
 * @error FW_ERR_MEMORY  a layer is too wide for its factors: more than 2^31 - 1 numbers
 * @cost about four times that of the matrices
 */
PetscErrorCode FwLearnerSensitivityFactors(FwLearner learner, const double theta[], double *const factor[],
                                           double *const centred[]);
