/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: images and their patches as kernels need them, and the family of kernels on a grid.
 */

#include <finwidth/activation.h>
#include <finwidth/patch_kernel.h>

struct FwPatchImagesImpl {
  const FwModel *model;
  FwActivation  *activation; /* [L] */
  FwPatches      patches;
  FwTower        tower;
  PetscInt       n_input;
  PetscInt       n[FW_PART_COUNT];
  double        *x[FW_PART_COUNT];        /* [n][n_input] images */
  double        *variance[FW_PART_COUNT]; /* [n][n_patch] C_ii(x, x) */
};

/** The patches of some examples, copied side by side. Of rows: patch by patch, [n_patch][n][n_pixel], so that a run of
 *  rows is contiguous for each patch; of columns: [n][n_patch][n_pixel]. All arrays are in that order. */
typedef struct {
  PetscInt  n, n_layer;
  double   *pixel;
  double   *mean;     /* m_i, or NULL where they stay in */
  double  **diagonal; /* [L] k(a, a, a) of each position of a layer */
  FwPoints *points;   /* [L] */
} FwPatchSide;

/** Features of the pieces of one matrix, as many as there is room for, and how to come by the others. A piece is known by where
 *  it would begin in a store of all. */
typedef struct {
  FwPatchKernel      kernel; /* borrowed, as are the columns */
  const FwPatchSide *columns;
  FwTriangle         triangle;                /* FW_LOWER between training examples, whose columns are the rows */
  double            *room;                    /* pieces one after the other, each [n_feature][rows of the piece] */
  size_t             capacity, filled, total; /* numbers: room, those that are there, those of all pieces */
} FwPatchStore;

struct FwPatchKernelImpl {
  FwGrid        grid;   /* borrowed */
  FwPatchImages images; /* borrowed */
  FwPatchPlan   plan;
  PetscInt     n_output, n_site, n_walk, n_feature; /* n_site: rows of Q per output; n_walk: before the readout pools */
  PetscInt     n_piece;                             /* rows of a piece at most */
  FwPatchSide  rows, columns;                       /* of the matrix between training examples */
  double     **covariance;                          /* workspace: [L][n_position][n_position][n_piece] */
  double      *site, *gain; /* of several layers: [n_walk][n_walk][n_piece], [n_position]^2[n_piece] */
  double      *feature;     /* workspace: [n_feature][n_piece] */
  FwPatchStore train;
};

/** A run of rows of one column of a matrix, local indices of examples: with D outputs each is D rows and columns. */
typedef struct {
  FwMatrix matrix;
  PetscInt column, first, n;
  PetscInt diagonal; /* the row of the piece that is on the diagonal of a matrix between training examples, or -1 */
} FwPatchPiece;

/** Prepare the patches of n examples, `example[i]` of a part. */
PetscErrorCode FwPatchSideCreate(FwPatchImages images, FwPart part, PetscInt n, const PetscInt example[],
                                 PetscBool is_row, PetscBool with_mean, FwPatchSide *side);
PetscErrorCode FwPatchSideDestroy(FwPatchSide *side);

/** Compute all features of a piece, [n_feature][piece->n]. Not collective. */
PetscErrorCode FwPatchPieceFeatures(FwPatchKernel kernel, const FwPatchSide *columns, const FwPatchPiece *piece,
                                    double feature[]);

/** k of every pair of patches on one piece, [n_patch][n_patch][piece->n], before features are made of it; only i = j in
 *  the diagonal form. Not collective. */
PetscErrorCode FwPatchPieceMap(FwPatchKernel kernel, const FwPatchSide *columns, const FwPatchPiece *piece);

/** out = sum_j weight[j] k_ij on one piece, for one patch i of the rows. Not collective. */
PetscErrorCode FwPatchPieceRow(FwPatchKernel kernel, const FwPatchPiece *piece, PetscInt i, const double weight[],
                               double out[]);

/** patch_store.c: make an empty store for the pieces of a matrix like `matrix`, of at most `bytes`. Not collective. */
PetscErrorCode FwPatchStoreCreate(FwPatchKernel kernel, FwMatrix matrix, FwTriangle triangle,
                                  const FwPatchSide *columns, double bytes, FwPatchStore *store);
void           FwPatchStoreDestroy(FwPatchStore *store);

/** Work on the features of one piece, [n_feature][piece->n]. Not collective. */
typedef PetscErrorCode FwPatchPieceFunction(FwPatchKernel kernel, const FwPatchPiece *piece, const double feature[],
                                            void *context);

/** Visit all pieces of a matrix; `what` names the progress. Collective. */
PetscErrorCode FwPatchStoreVisit(FwPatchStore *store, FwMatrix matrix, const char what[],
                                 FwPatchPieceFunction *function, void *context);

/** patch_kernel.c: a matrix of the family between m and n examples, and the patches of its rows or columns. Collective. */
PetscErrorCode FwPatchMatrixCreate(FwPatchKernel kernel, PetscInt m, PetscInt n, FwMatrix *matrix);
PetscErrorCode FwPatchMatrixSide(FwPatchKernel kernel, FwMatrix matrix, FwPart part, PetscBool is_row,
                                 FwPatchSide *side);

/** patch_kernel.c: assemble n_set matrices of their own coefficients, [n_set][D^2][n_feature], piece by piece. */
PetscErrorCode FwPatchStoreAssemble(FwPatchStore *store, const char what[], PetscInt n_set, const double coefficient[],
                                    FwMatrix matrix[]);

/** patch_kernel.c: slope[c][f] += sum_r weight[c][r] feature[f][r] for n_weight weights of leading size n_piece. */
PetscErrorCode FwPatchContract(FwPatchKernel kernel, const FwPatchPiece *piece, const double feature[],
                               PetscInt n_weight, const double weight[], double slope[]);

/** Examples of a side: a run of rows, or one column (then n = 1). */
typedef struct {
  const FwPatchSide *side;
  PetscBool          is_row; /* the order of the side's arrays */
  PetscInt           first, n;
} FwPatchRun;

/** patch_tower.c: raise k of the first layer, value[0] of [n_patch][n_patch][rows.n], to what belongs to the entries of Q,
 *  (*site)[n_site][n_site][rows.n], borrowed: of paths or positions of the last layer, averaged over the latter where the readout
 *  does. `value` has room for each layer, and is changed. `diagonal`: the row that is the column's own example, or -1. In the
 *  diagonal form only i = j. */
PetscErrorCode FwTowerRaise(FwPatchKernel kernel, const FwPatchRun *rows, const FwPatchRun *column, PetscInt diagonal,
                            double *const value[], double **site);

/** patch_tower.c: the layers of a model on its patches, and their release. */
PetscErrorCode FwTowerCreate(const FwModel *model, const FwPatches *patches, FwTower *tower);
PetscErrorCode FwTowerDestroy(FwTower *tower);

/** patch_tower.c: rows of Q for one output; patches where there is one layer. */
PetscInt FwTowerSites(const FwTower *tower, FwPatchClosure closure);

/** patch_tower.c: the same before the readout pools. */
PetscInt FwTowerWalks(const FwTower *tower, FwPatchClosure closure);

/** patch_tower.c: whether two positions of a layer share one below them. */
PetscBool FwTowerOverlaps(const FwTower *tower);

/** patch_tower.c: variances C^l_uu of n examples in a layer from those below, in the order of rows or of columns. */
PetscErrorCode FwTowerVariances(FwPatchImages images, PetscInt l, PetscInt n, PetscBool is_row, const double below[],
                                double variance[]);

/** patch_images.c: where position `position` of `example` stands among n_position of n examples. */
size_t FwPatchPlace(PetscBool is_row, PetscInt n, PetscInt n_position, PetscInt example, PetscInt position);

/** Turn k between the patches of n pairs of examples, value[i][j][n], into features, feature[d][n]. `row_mean` is [i][n]
 *  with `stride` between patches, `column_mean` [j]; NULL where means stay in. */
void FwPatchCombine(FwPatchForm form, PetscInt n_patch, PetscInt n, const double value[], const double row_mean[],
                    PetscInt stride, const double column_mean[], double feature[]);
