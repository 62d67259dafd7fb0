/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: images and their patches as kernels need them, and the family of kernels on a grid.
 */

#include <finwidth/activation.h>
#include <finwidth/patch_kernel.h>

struct FwPatchImagesImpl {
  const FwModel *model;
  FwActivation   activation;
  FwPatches      patches;
  PetscInt       n_input;
  PetscInt       n[FW_PART_COUNT];
  double        *x[FW_PART_COUNT];        /* [n][n_input] images */
  double        *variance[FW_PART_COUNT]; /* [n][n_patch] C_ii(x, x) */
};

/** The patches of some examples, copied side by side. Of rows: patch by patch, [n_patch][n][n_pixel], so that a run of
 *  rows is contiguous for each patch; of columns: [n][n_patch][n_pixel]. All arrays are in that order. */
typedef struct {
  PetscInt n;
  double  *pixel;
  double  *mean;     /* m_i, or NULL where they stay in */
  double  *diagonal; /* k(a, a, a) of each patch */
  FwPoints points;
} FwPatchSide;

struct FwPatchKernelImpl {
  FwGrid        grid;   /* borrowed */
  FwPatchImages images; /* borrowed */
  FwPatchForm   form;
  PetscBool     is_centred;
  PetscInt      n_output, n_feature;
  PetscInt      n_piece;                 /* rows of a piece at most */
  FwPatchSide   rows, columns;           /* of the matrix between training examples */
  double       *covariance;              /* workspace: [n_patch][n_patch][n_piece] */
  double       *feature;                 /* workspace: [n_feature][n_piece] */
  double       *store;                   /* pieces one after the other, each [n_feature][rows of the piece] */
  size_t        capacity, filled, total; /* numbers: room, those that are there, those of all pieces */
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

/** Turn k between the patches of n pairs of examples, value[i][j][n], into features, feature[d][n]. `row_mean` is [i][n]
 *  with `stride` between patches, `column_mean` [j]; NULL where means stay in. */
void FwPatchCombine(FwPatchForm form, PetscInt n_patch, PetscInt n, const double value[], const double row_mean[],
                    PetscInt stride, const double column_mean[], double feature[]);
