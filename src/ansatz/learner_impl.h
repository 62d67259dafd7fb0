/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what a learner keeps, and its two ways to a gradient: through examples, and for linear networks with squared
 * error through their second moments.
 *
 * Matrices are stored by columns, an example is a column.
 */

#include <finwidth/block_sum.h>
#include <finwidth/dense.h>
#include <finwidth/learner.h>

/** Examples of one piece on their way through the network, and back. */
typedef struct {
  PetscInt n_most;        /**< examples in a piece */
  double **h;             /**< [L - 1] values of the hidden layers, n_l x n_most */
  double **slope;         /**< [L - 1] phi'(z) */
  double  *f;             /**< c x n_most */
  double  *delta, *below; /**< widest x max(n_most, c): derivatives in z of a layer, and of the one below */
} FwLearnerPass;

/** Second moments of the examples, with the constant 1 as a last input where there are biases: m = n_0 or n_0 + 1. */
typedef struct {
  PetscInt m;
  double  *xx;                /**< m x m: 1/N sum x x^T, both triangles; NULL where gradients go through the examples */
  double  *yx;                /**< c x m: 1/N sum y x^T */
  double   yy;                /**< 1/N sum |y|^2 */
  double  *target;            /**< <y x^T>^T, n_0 x c, narrow as all below: FwNarrowPack() */
  double  *g;                 /**< n_0 x c: derivative in the product of all weights, transposed */
  double  *g_offset;          /**< 1 x c: and in the offset */
  double **above;             /**< [L] A_l^T, A_l = W_L .. W_{l+1}: n_l x c */
  double  *offset;            /**< [c] what the outputs are at x = 0 */
  double  *product, *chain;   /**< widest x c each */
  double  *piece;             /**< of a gradient that is used at once */
  double  *plain_e, *plain_g; /**< c x m each: (E, e) and G as BLAS has matrices */
} FwLearnerMoments;

/** The same as the pass in single precision, with the weights; NULL arrays in double precision. */
typedef struct {
  float  *theta, *x, *delta, *below, *product; /**< product: n_l x n_{l-1} of the largest layer */
  float **h, **slope;
} FwLearnerSingle;

/** How sums over examples are shared by the ranks. */
typedef struct {
  FwRows     rows; /**< the examples of the last sum: all, or those of a batch */
  FwBlockSum sum;
  double    *total; /**< [numbers of the last sum + 1]; NULL before the first */
} FwLearnerShares;

/** Second moments in their own basis, x -> V^T x, where those of the inputs are diagonal; NULL arrays before it is asked for. */
typedef struct {
  double *basis;  /**< d x d: V */
  double *lambda; /**< [d] */
  double *mean;   /**< [d] V^T <x>; only read where there are biases */
  double *yx;     /**< c x m */
  double *target; /**< as that of the moments */
} FwLearnerBasis;

struct FwLearnerImpl {
  MPI_Comm         comm;
  FwLearnerShape   shape;
  FwLoss           loss;
  PetscInt         n_theta, n_example;
  const double    *x, *y;     /**< borrowed */
  double           zero_loss; /**< the loss where all outputs are zero */
  FwActivation     activation;
  FwLearnerPass    pass;
  FwLearnerMoments moments;
  FwLearnerBasis   rotated;
  FwLearnerShares  shares;
  FwLearnerSingle  single;
  double          *batch_x, *batch_y; /**< one piece of a batch, gathered */
};

/** Layers of a shape: n_l x n_{l-1} weights and n_l biases of layer l in theta. */
typedef struct {
  PetscInt n_in, n_out;
  PetscInt weight, bias; /**< where they begin */
} FwLearnerLayer;

FwLearnerLayer FwLearnerGetLayer(const FwLearnerShape *shape, PetscInt l);

/** Whether gradients over all examples go through moments: possible for linear networks with squared error, and cheaper. */
PetscBool FwLearnerHasMoments(const FwLearnerShape *shape, FwLoss loss, PetscInt n_example);

/** Whether phi(z) = z, or there is no hidden layer. */
PetscBool FwLearnerIsLinear(FwLearner learner);

/** z = W h + b for n examples. */
void FwLearnerAffine(FwLearner learner, const double theta[], PetscInt l, PetscInt n, const double h[], double z[]);

/** Values and slopes of all layers for n <= n_most examples; f is in the pass. */
PetscErrorCode FwLearnerPassForward(FwLearner learner, const double theta[], PetscInt n, const double x[]);

/** Sum of the losses of n examples from f, and, where wanted, its derivative in f times `weight`. */
double FwLearnerSumLoss(FwLearner learner, PetscInt n, const double f[], const double y[], double weight,
                        double delta[]);

/** Derivative in z of layer l - 1, from that in z of layer l >= 2, for n examples that went forward. */
void FwLearnerBack(FwLearner learner, const double theta[], PetscInt l, PetscInt n, const double delta[],
                   double below[]);

/** Derivative of output k in z of layer L - 1, for n examples that went forward. */
void FwLearnerStartBack(FwLearner learner, const double theta[], PetscInt k, PetscInt n, double delta[]);

/** Add delta h^T to the weights of layer l in `sum`, and the sum of delta to its biases. */
void FwLearnerAddLayer(FwLearner learner, PetscInt l, PetscInt n, const double h[], const double delta[], double sum[]);

/** Add what n <= n_most examples from `first` on give to a scalar and to numbers. */
typedef PetscErrorCode FwLearnerPiece(FwLearner learner, void *context, PetscInt first, PetscInt n, double *scalar,
                                      double sum[]);

/** Sum n numbers and a scalar over n_row examples, shared by the ranks; the same bits on any number of them.
 *
 * @collective{learner}
 * @param[in]  adds_once  the piece adds to each number once, by a matrix product or after a sum of its own
 * @param[out] total      [n]
 */
PetscErrorCode FwLearnerSum(FwLearner learner, PetscInt n_row, PetscInt n, PetscBool adds_once, FwLearnerPiece *piece,
                            void *context, double *scalar, double total[]);
/** How the examples of such a sum are cut, and shared. */
PetscErrorCode FwLearnerDivideRows(FwLearner learner, PetscInt n_row, FwRows *rows);
/** Numbers of all blocks to all ranks. Collective. @param[in,out] number  [n_block][n], of this rank's blocks at first */
PetscErrorCode FwLearnerShareBlocks(FwLearner learner, const FwRows *rows, PetscInt n, double number[]);
PetscErrorCode FwLearnerSharesDestroy(FwLearner learner);

PetscErrorCode FwLearnerSingleCreate(FwLearner learner);
PetscErrorCode FwLearnerSingleDestroy(FwLearner learner);
/** Round the weights, before gradients at them. */
void FwLearnerSingleSetWeights(FwLearner learner, const double theta[]);
/** Add the loss and `weight` times its gradient of n <= n_most examples. */
PetscErrorCode FwLearnerSingleAddGradient(FwLearner learner, PetscInt n, const double x[], const double y[],
                                          double weight, double *loss, double sum[]);

/** Matrices of few columns are stored by blocks of four rows, n x c: entry (i, k) is at (i / 4) 4 c + 4 k + i % 4. Rows
 *  beyond n are zero. */
enum { FW_NARROW_ROWS = 4 };

static inline PetscInt FwNarrowSize(PetscInt n, PetscInt c)
{
  return (n + FW_NARROW_ROWS - 1) / FW_NARROW_ROWS * FW_NARROW_ROWS * c;
}

/** Such a matrix from its transpose, c x n stored by columns, and back. */
void FwNarrowPack(PetscInt n, PetscInt c, const double from[], double to[]);
void FwNarrowUnpack(PetscInt n, PetscInt c, const double from[], double to[]);

/** E = W^T A for W n x m and A n x c, few columns. @param[out] e  m x c */
void FwNarrowProduct(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[], double e[]);
/** chain += W G and gradient = A G^T, for G m x c: the way back through a layer of weights W, n x m.
 *  @param[in,out] chain  n x c */
void FwNarrowBack(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[], const double g[],
                  double chain[], double gradient[]);

/** Make the moments, where gradients through them are cheaper. Collective. */
PetscErrorCode FwLearnerMomentsCreate(FwLearner learner);
PetscErrorCode FwLearnerMomentsDestroy(FwLearner learner);
/** Gradient of the loss through the moments; `is_rotated`: theta and gradient are in the basis of the moments.
 *  @return the loss, to rounding of |y|^2 and not of itself */
double FwLearnerMomentsGradient(FwLearner learner, PetscBool is_rotated, const double theta[], double gradient[]);

/** What to do with a piece of a gradient, of n numbers of theta from `at` on: they are not looked at again. */
typedef void FwLearnerUse(void *context, PetscBool is_bias, PetscInt at, PetscInt n, const double gradient[]);
/** The same gradient piece by piece: each can change its part of theta while that is in the cache. */
double FwLearnerMomentsPieces(FwLearner learner, PetscBool is_rotated, const double theta[], FwLearnerUse *use,
                              void *context);

/** Find the basis of the moments, once. What is invariant under rotations of the inputs can then be done in it, at a cost
 *  of c d instead of c d^2 multiplications: gradient flow and descent, but not adam. */
PetscErrorCode FwLearnerBasisCreate(FwLearner learner);
PetscErrorCode FwLearnerBasisDestroy(FwLearner learner);
/** Bring weights into the basis, W_1 -> W_1 V, and back; `out` is not `theta`. */
PetscErrorCode FwLearnerRotate(FwLearner learner, PetscBool is_back, const double theta[], double out[]);
