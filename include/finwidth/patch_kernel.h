/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Kernels between patches of images, as a linear family of P x P matrices.
 *
 * With x_i the i-th of n patches of M pixels, C_ij(x, x') = x_i.x'_j / (lambda_0 M) and k the map of the activation,
 *
 *     K_ij(x, x') = k(C_ii(x, x), C_ij(x, x'), C_jj(x', x')).
 *
 * K_ij is not symmetric in its examples for i != j, but its sum with K_ji is. The family has a feature for each pair
 * d = (i, j), i <= j, of patches (or for each patch alone),
 *
 *     F_ii = K_ii,   F_ij = K_ij + K_ij^T   (i < j),
 *
 * so that a kernel sum_ij Q_ij K_ij with symmetric Q is sum_d Q_d F_d. With means taken out, m_i(x) = <phi> at C_ii(x, x),
 * K_ij becomes K_ij - m_i m_j^T, and a last feature is sum_i m_i m_i^T.
 *
 * For D outputs a kernel is a matrix of D P x D P entries, example by example and output by output within: entry
 * (a D + d, b D + e) is sum_ij Q_(di)(ej) K_ij(x_a, x_b). Q_(di)(ej) is not symmetric in (i, j) for d != e, and all n^2 K_ij
 * are features. Coefficients come in D^2 rows, one for each pair (d, e) of outputs.
 *
 * Several hidden layers: layer l sees n_tap[l] positions of layer l - 1 (l = 0 the patches of pixels), and
 *
 *     C^l_uv = sum_t K^{l-1}_{t(u) t(v)} / (n_tap[l] lambda_l),   K^l_uv = k(C^l_uu, C^l_uv, C^l_vv),   t(u) under tap t of u.
 *
 * Two families: FW_DEEP_STACKED has the kernels K^L_uv of the last layer in the place of K_ij. FW_DEEP_PATHS has a row of Q for
 * each path p = (t_2, .., t_L, u) through the layers,
 *
 *     K_pq = K^1_{p_1 q_1} prod_{l > 1} K^l_{p_l q_l} / C^l_{p_l q_l},   p_l the position of p in layer l,
 *
 * whose diagonal adds up to the kernel of infinite width; activations have to be odd for the ratio to exist where C^l = 0.
 * Of lcn only p = q is left, where no two positions of a layer share one below them.
 *
 * The readout of pool takes the mean over positions: with it K_pq is averaged over the last positions u and v of both paths, and a
 * row of Q is a sequence of taps (of one hidden layer, and of FW_DEEP_STACKED, there is one).
 *
 * Features are kept, as far as the memory granted goes, in chunks of some hundred entries with all features of these
 * together, so that assembly and pull-back are tall products that read the store once. What is not kept is computed
 * again, chunk by chunk, at each call.
 *
 * @source Aiudi et al., arXiv:2307.11807; docs/theory/convolutional.md
 */

#include <finwidth/dataset.h>
#include <finwidth/matrix.h>
#include <finwidth/model.h>

/** The images of all parts on every rank, with variances and means of their patches. */
typedef struct FwPatchImagesImpl *FwPatchImages;

/** A family on a grid. */
typedef struct FwPatchKernelImpl *FwPatchKernel;

/** The same family between training examples and those of another part. */
typedef struct FwPatchCrossImpl *FwPatchCross;

typedef enum {
  FW_PATCH_PAIRS,    /**< all pairs i <= j, in the order (0,0), (0,1), .. (0,n-1), (1,1), ..; one output */
  FW_PATCH_DIAGONAL, /**< i = j alone */
  FW_PATCH_ORDERED   /**< K_ij of all i and j, row-major, not summed with K_ji: several outputs */
} FwPatchForm;

/** What a row of Q belongs to in a network of several hidden layers. */
typedef enum { FW_DEEP_PATHS, FW_DEEP_STACKED } FwPatchClosure;

/** The layers of a network on patches. */
typedef struct {
  PetscInt   n_layer;
  PetscInt  *n_row, *n_col, *n_position; /**< [L] of positions, rows times columns */
  PetscInt  *n_tap;                      /**< [L]; 1 for the first */
  PetscInt **tap;                        /**< [L][n_position, n_tap] position below; NULL for the first */
  PetscInt   n_place; /**< positions of the last layer that the readout tells apart: all of them, or 1 where it pools */
  PetscInt
          *n_path; /**< [L] rows of Q for one output: n_path[l] = n_tap[l + 1] n_path[l + 1], n_path[L - 1] = n_place */
  PetscInt n_walk; /**< paths from the first layer to all positions of the last */
  PetscInt **position; /**< [L][n_walk] position of a path in each layer; path p of layer l is path
                                          p modulo n_walk / (n_tap[1] .. n_tap[l + 1]) from the next layer on */
} FwTower;

/** How a family is made. */
typedef struct {
  FwPatchForm    form;
  FwPatchClosure closure;     /**< of several hidden layers */
  PetscBool      is_centred;  /**< take the means out; one hidden layer */
  PetscInt       n_output;    /**< D; several not with FW_PATCH_PAIRS */
  double         store_bytes; /**< memory that each rank may spend on keeping features */
} FwPatchPlan;

/** What a family holds. */
typedef struct {
  FwPatchForm    form;
  FwPatchClosure closure;
  PetscInt       n_layer;
  PetscBool      is_centred;  /**< means taken out; the last feature is theirs */
  PetscInt       n_patch;     /**< n: patches, or what stands in their place in a deep network */
  PetscInt       n_place;     /**< as in FwTower: n where there is one hidden layer */
  PetscInt       n_train;     /**< P */
  PetscInt       n_output;    /**< D */
  PetscInt       n_feature;   /**< including that of the means */
  double         store_bytes; /**< of this rank's store */
  double         stored;      /**< share of this rank's entries that are kept */
} FwPatchFamily;

/** The row of Q of patch (or path) p of output d. The places of the readout come last, outputs before them, taps first: so that Q
 *  of a layer has a block for each tap, of which each is like Q of the layer above. One hidden layer: d n + p. */
static inline PetscInt FwPatchRow(const FwPatchFamily *f, PetscInt d, PetscInt p)
{
  return (p / f->n_place * f->n_output + d) * f->n_place + p % f->n_place;
}

/** The output and the patch of a row. */
static inline PetscInt FwPatchOutputOf(const FwPatchFamily *f, PetscInt row)
{
  return row / f->n_place % f->n_output;
}

static inline PetscInt FwPatchOf(const FwPatchFamily *f, PetscInt row)
{
  return row / (f->n_output * f->n_place) * f->n_place + row % f->n_place;
}

/** Whether a network of patches can be predicted: without biases. Not collective.
 *  @error FW_ERR_INPUT */
PetscErrorCode FwPatchNetworkCheck(MPI_Comm comm, const FwModel *model);

/** Rows of Q for one output, and paths (positions) between which kernels are computed: more where the readout pools. Not
 *  collective. @error FW_ERR_INPUT  an upper mask is larger than what it lies on */
PetscErrorCode FwPatchCountSites(const FwModel *model, const FwPatches *patches, FwPatchClosure closure,
                                 PetscInt *n_site, PetscInt *n_walk);

/** Bring the images of a dataset to every rank.
 *
 * @collective{comm}
 * @param[in]  comm    the ranks of the dataset
 * @param[in]  model   without biases; borrowed
 * @param[out] images  release with FwPatchImagesDestroy(), after every family on it
 * @error FW_ERR_INPUT  a mask is larger than what it lies on, a bias
 * @cost (P + P_t)(N_0 + 2n) doubles on every rank
 */
PetscErrorCode FwPatchImagesCreate(MPI_Comm comm, const FwModel *model, FwDataset data, FwPatchImages *images);

/** The patches, and the layers on them. Borrowed. Not collective. */
const FwPatches *FwPatchImagesPatches(FwPatchImages images);
const FwTower   *FwPatchImagesTower(FwPatchImages images);

/** Release and set the handle to NULL; NULL is fine. Not collective. */
PetscErrorCode FwPatchImagesDestroy(FwPatchImages *images);

/** Make a family; nothing is computed yet but tables of the patches.
 *
 * @collective{grid}
 * @param[in]  grid         where its matrices live: of all ranks, or of fewer
 * @param[in]  images       borrowed
 * @param[in]  plan         copied
 * @param[out] kernel       release with FwPatchKernelDestroy()
 * @error FW_ERR_NUMERICAL  a variance that the map cannot take
 * @error FW_ERR_INPUT      paths with an activation that is not odd above the first layer, or of an lcn whose layers overlap
 */
PetscErrorCode FwPatchKernelCreate(FwGrid grid, FwPatchImages images, const FwPatchPlan *plan, FwPatchKernel *kernel);

/** The grid, and the images. Borrowed. */
FwGrid        FwPatchKernelGrid(FwPatchKernel kernel);
FwPatchImages FwPatchKernelImages(FwPatchKernel kernel);

/** What a family holds. Not collective. */
PetscErrorCode FwPatchKernelGetFamily(FwPatchKernel kernel, FwPatchFamily *family);

/** Assemble sum_d c_d F_d between training examples: D P x D P, lower triangle.
 *
 * @collective{kernel}
 * @param[in]  coefficient  [D^2][n_feature]
 * @param[out] train        created here, in blocks that hold all outputs of an example
 * @cost P^2 D^2 n_feature flops over the ranks, and one reading of the store; where not kept, n^2 / 2 maps and n^2 M flops per
 *       entry also (n maps for FW_PATCH_DIAGONAL)
 */
PetscErrorCode FwPatchKernelTrain(FwPatchKernel kernel, const double coefficient[], FwMatrix *train);

/** A column of D numbers for each example of a part, [example][D] on every rank, in the blocks of the family's matrices.
 *  Collective. */
PetscErrorCode FwPatchKernelColumn(FwPatchKernel kernel, FwPart part, const double value[], FwMatrix *column);

/** Of one hidden layer: assemble sum_j w_j K_ij between training examples, for one patch i of the rows: P x P, in full, since
 *  it is not symmetric; means stay in. Collective. Cost n maps per entry, or one for each w_j that is not zero.
 * @param[in] weight  [n] */
PetscErrorCode FwPatchKernelRow(FwPatchKernel kernel, PetscInt i, const double weight[], FwMatrix *row);

/** Contract two weights with every feature, over both triangles of these symmetric matrices: for one output
 *  matrix_slope[d] = sum_ab W_ab F_d,ab, and vector_slope[d] = v^T F_d v.
 *
 *  For several, slope[d D + e][f] is twice the sum over a > b, and once over a = b, of W_(aD+d)(bD+e) K_f,ab, whose mean with
 *  what stands at (e, d) for K_ji is the sum over all a and b.
 *
 * @collective{kernel}
 * @param[in]  weight  W, D P x D P, lower triangle, in the blocks of FwPatchKernelTrain(); unchanged
 * @param[in]  vector  [D P] v, on every rank
 * @param[out] matrix_slope, vector_slope  [D^2][n_feature], on every rank
 * @cost as FwPatchKernelTrain(), twice the flops
 */
PetscErrorCode FwPatchKernelPullBack(FwPatchKernel kernel, FwMatrix weight, const double vector[],
                                     double matrix_slope[], double vector_slope[]);

/** Contract the product of two columns with every feature, over both triangles: slope[d D + e][f] as the matrix_slope of
 *  FwPatchKernelPullBack() for W = (u v^T + v u^T) / 2; for one output u^T F_f v.
 *
 * @collective{kernel}
 * @param[in]  left, right  [D P] u and v, on every rank
 * @param[out] slope        [D^2][n_feature], on every rank
 * @cost one reading of the store, P^2 D^2 n_feature flops over the ranks
 */
PetscErrorCode FwPatchKernelPullBackProduct(FwPatchKernel kernel, const double left[], const double right[],
                                            double slope[]);

/** Make a family between training examples (rows) and those of a part (columns), which is not empty; nothing is computed yet.
 * Collective.
 * @param[in]  kernel       borrowed
 * @param[in]  store_bytes  memory that each rank may spend on keeping features
 * @param[out] cross        release with FwPatchCrossDestroy() before the kernel */
PetscErrorCode FwPatchCrossCreate(FwPatchKernel kernel, FwPart part, double store_bytes, FwPatchCross *cross);

/** The part, and the number of its examples. Not collective. */
FwPart   FwPatchCrossPart(FwPatchCross cross);
PetscInt FwPatchCrossCount(FwPatchCross cross);

/** Assemble sum_d c_d F_d: D P x D P_part. Collective. Cost as FwPatchKernelTrain().
 * @param[in]  coefficient  [D^2][n_feature]
 * @param[out] matrix       created here */
PetscErrorCode FwPatchCrossAssemble(FwPatchCross cross, const double coefficient[], FwMatrix *matrix);

/** slope[d D + e][f] = sum_ab left[a D + d] F_f,ab right[b D + e], on every rank. Collective; `matrix`, of
 *  FwPatchCrossAssemble(), is asked for its distribution alone. */
PetscErrorCode FwPatchCrossPullBack(FwPatchCross cross, FwMatrix matrix, const double left[], const double right[],
                                    double slope[]);

/** Release and set the handle to NULL; NULL is fine. Not collective. */
PetscErrorCode FwPatchCrossDestroy(FwPatchCross *cross);

/** Assemble n_set kernels, each of its own coefficients, between training examples (rows) and those of a part (columns):
 *  D P x D P_t. Nothing is kept, but all sets share one computation.
 *
 * @collective{kernel}
 * @param[in]  coefficient  [n_set][D^2][n_feature]
 * @param[out] cross        [n_set], created here
 */
PetscErrorCode FwPatchKernelCross(FwPatchKernel kernel, FwPart columns, PetscInt n_set, const double coefficient[],
                                  FwMatrix cross[]);

/** The same of each example of a part with itself: diagonal[n_set][n_example][D^2]. Not collective: every rank computes all.
 *  Cost n^2 M flops and n^2 maps per example. */
PetscErrorCode FwPatchKernelDiagonal(FwPatchKernel kernel, FwPart part, PetscInt n_set, const double coefficient[],
                                     double diagonal[]);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwPatchKernelDestroy(FwPatchKernel *kernel);
