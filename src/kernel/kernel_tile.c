/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Tiles of a block-cyclic matrix.
 */

#include "kernel_layers_impl.h"

#include <math.h>

PetscErrorCode FwTileVisit(FwMatrix matrix, FwTriangle triangle, FwTileFunction *function, void *context)
{
  PetscInt m, n;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(matrix, NULL, NULL, &m, &n));
  for (PetscInt column = 0; column < n; column += FW_TILE_COLUMNS)
    for (PetscInt row = 0; row < m; row += FW_TILE_ROWS) {
      const FwTile tile = {row, PetscMin(FW_TILE_ROWS, m - row), column, PetscMin(FW_TILE_COLUMNS, n - column)};

      /* local indices rise with the global ones */
      if (triangle == FW_LOWER && FwMatrixRow(matrix, row + tile.n_row - 1) <= FwMatrixColumn(matrix, column)) continue;
      PetscCall(function(&tile, context));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First row of a tile that lies below the diagonal in a column */
static PetscInt FirstBelow(FwMatrix matrix, FwTriangle triangle, const FwTile *tile, PetscInt j)
{
  const PetscInt column = FwMatrixColumn(matrix, tile->column + j);
  PetscInt       i      = 0;

  if (triangle == FW_WHOLE || FwMatrixRow(matrix, tile->row) > column) return 0;
  while (i < tile->n_row && FwMatrixRow(matrix, tile->row + i) <= column) i++;
  return i;
}

void FwTileRead(FwMatrix matrix, FwTriangle triangle, const FwTile *tile, double value[])
{
  for (PetscInt j = 0; j < tile->n_column; j++) {
    const double  *from  = FwMatrixStrip(matrix, tile->row, tile->column + j);
    double        *to    = value + j * tile->n_row;
    const PetscInt first = FirstBelow(matrix, triangle, tile, j);

    for (PetscInt i = 0; i < first; i++) to[i] = 0.0;
    for (PetscInt i = first; i < tile->n_row; i++) to[i] = from[i];
  }
}

void FwTileWrite(FwMatrix matrix, FwTriangle triangle, const FwTile *tile, const double value[])
{
  for (PetscInt j = 0; j < tile->n_column; j++) {
    const double *from = value + j * tile->n_row;
    double       *to   = FwMatrixStrip(matrix, tile->row, tile->column + j);

    for (PetscInt i = FirstBelow(matrix, triangle, tile, j); i < tile->n_row; i++) to[i] = from[i];
  }
}

static void ZeroInfinities(PetscInt n, double value[])
{
  for (PetscInt i = 0; i < n; i++) value[i] = isfinite(value[i]) ? value[i] : 0.0;
}

PetscErrorCode FwTileMap(const FwLayerStep *step, FwMap map, const FwTile *tile, const double b[], double out[])
{
  PetscFunctionBegin;
  for (PetscInt j = 0; j < tile->n_column; j++)
    PetscCall(FwActivationMap(step->activation, map, step->rows, tile->row, tile->n_row, step->columns,
                              tile->column + j, b + j * tile->n_row, out + j * tile->n_row));
  if (map != FW_MAP_VALUE) ZeroInfinities(tile->n_row * tile->n_column, out);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTileMapColumnVariance(const FwLayerStep *step, const FwTile *tile, const double b[], double out[])
{
  const PetscInt n = tile->n_row;
  double         line[FW_TILE_COLUMNS];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    for (PetscInt j = 0; j < tile->n_column; j++) line[j] = b[i + j * n];
    PetscCall(FwActivationMap(step->activation, FW_MAP_ROW_VARIANCE, step->columns, tile->column, tile->n_column,
                              step->rows, tile->row + i, line, line));
    for (PetscInt j = 0; j < tile->n_column; j++) out[i + j * n] = line[j];
  }
  ZeroInfinities(n * tile->n_column, out);
  PetscFunctionReturn(PETSC_SUCCESS);
}
