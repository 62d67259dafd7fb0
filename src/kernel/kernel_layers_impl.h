/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a kernel with order parameters, and tiles: rectangles of entries small enough for the second cache
 * level that are mapped along columns or along rows.
 *
 * Step s = 0 .. L-2 leads from x_{s+1} to x_{s+2}: C = order[s] x + bias, x' = k(C) / prior.
 */

#include <finwidth/activation.h>
#include <finwidth/kernel_layers.h>

/** One step on this rank's rows and columns of a matrix. */
typedef struct {
  FwActivation activation;
  FwPoints     rows, columns;
  double       order, prior, bias;
} FwLayerStep;

/** The functions of a composition; shapes and errors as in the public header. */
typedef struct {
  PetscErrorCode (*train)(FwKernelLayers, const double order[], FwMatrix *train);
  PetscErrorCode (*cross)(FwKernelLayers, FwPart columns, const double order[],
                          FwMatrix cross); /**< in place, from x_1 */
  PetscErrorCode (*diagonal)(FwKernelLayers, FwPart, const double order[], double diagonal[]);
  PetscErrorCode (*pull_back)(FwKernelLayers, const double order[], FwMatrix weight, double slope[]);
  PetscErrorCode (*pull_back_diagonal)(FwKernelLayers, const double order[], const double weight[], double slope[]);
} FwLayersOps;

struct FwKernelLayersImpl {
  FwGrid             grid;
  const FwModel     *model;
  const FwLayersOps *ops;
  FwModel            first;               /**< the first layer alone */
  FwKernel           kernel;              /**< of `first` */
  PetscInt           n[FW_PART_COUNT];    /**< examples of each part */
  FwMatrix           base;                /**< P x P: x_1 (nested) or x_2 (linearised) */
  FwMatrix           slope;               /**< P x P: dx_2/dQ_1 (linearised) */
  double            *line[FW_PART_COUNT]; /**< linearised: [2][n] diagonals of base and slope, per part */
  double            *prepared;            /**< nested: [L] order parameters for which the next two hold */
  double            *diagonal;            /**< nested: [L][P] diagonals of x_1 .. x_L */
  FwLayerStep       *step;                /**< nested: [L-1] on the training kernel, or NULL */
};

extern const FwLayersOps FwLayers_Nested, FwLayers_Linearised;

/** Set up the two kept matrices of the linearised form. Collective. */
PetscErrorCode FwLayersLinearise(FwKernelLayers layers);

/* --- diagonals and steps ------------------------------------------------------------------------------------ */

/** The examples of a part whose diagonals this rank computes. */
void FwLayersShare(FwKernelLayers layers, PetscInt n, PetscInt *begin, PetscInt *end);

/** Diagonals of x_1 .. x_L, [L][n], at the order parameters, on every rank. Collective. */
PetscErrorCode FwLayersDiagonals(FwKernelLayers layers, FwPart part, const double order[], double diagonal[]);

/** Variance slope of a diagonal, d k(v, v, v) / dv = k_b + 2 k_a. Not collective. */
PetscErrorCode FwLayersDiagonalSlope(FwActivation activation, PetscInt n, const double variance[], double slope[]);

/** The steps on a matrix whose rows are training examples; diagonals [L][n] of rows and columns. Collective.
 * @param[out] step  [L-1], release with FwLayersFreeSteps() */
PetscErrorCode FwLayersMakeSteps(FwKernelLayers layers, FwMatrix matrix, const double order[], const double rows[],
                                 FwPart column_part, const double columns[], FwLayerStep **step);
PetscErrorCode FwLayersFreeSteps(FwKernelLayers layers, FwLayerStep **step);

/** Prepare both sides of all steps for slopes. Collective. */
PetscErrorCode FwLayersAddSlopes(FwKernelLayers layers, FwLayerStep step[]);

/** Make `diagonal` and `step` those of the training kernel at the order parameters; free when they are. Collective. */
PetscErrorCode FwLayersPrepare(FwKernelLayers layers, const double order[]);

/* --- tiles -------------------------------------------------------------------------------------------------- */

/* 240 rows rather than 256: a stride of a power of two would send the entries of a row to the same cache sets */
enum { FW_TILE_ROWS = 240, FW_TILE_COLUMNS = 64, FW_TILE = FW_TILE_ROWS * FW_TILE_COLUMNS };

/** Local rows and columns. In a buffer the entries stand column-major with leading dimension n_row. */
typedef struct {
  PetscInt row, n_row, column, n_column;
} FwTile;

typedef PetscErrorCode FwTileFunction(const FwTile *tile, void *context);

/** Visit the tiles; FW_LOWER: those with entries below the diagonal. Not collective. */
PetscErrorCode FwTileVisit(FwMatrix matrix, FwTriangle triangle, FwTileFunction *function, void *context);

/** Copy a tile out of a matrix; FW_LOWER: entries on and above the diagonal read as 0, where every map is finite. */
void FwTileRead(FwMatrix matrix, FwTriangle triangle, const FwTile *tile, double value[]);
/** Copy a tile into a matrix; FW_LOWER: entries below the diagonal only. */
void FwTileWrite(FwMatrix matrix, FwTriangle triangle, const FwTile *tile, const double value[]);

/** Apply a map; `out` may be `b`. Slopes that are infinite (sign, at a repeated example) come out as 0. */
PetscErrorCode FwTileMap(const FwLayerStep *step, FwMap map, const FwTile *tile, const double b[], double out[]);
/** As above for k_c, the slope in the variance of the column's point: k_a with rows and columns exchanged. */
PetscErrorCode FwTileMapColumnVariance(const FwLayerStep *step, const FwTile *tile, const double b[], double out[]);
