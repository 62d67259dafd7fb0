/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * All features of a piece of a column: one product per patch of the rows, one map per pair of patches, and sums.
 */

#include "patch_impl.h"

#include <petscblaslapack.h>

/* C_ij of the rows of a piece for one patch i of these and n_j patches of the column from j on: [n_j][piece->n] */
static PetscErrorCode Covariances(FwPatchKernel k, const FwPatchSide *columns, const FwPatchPiece *piece, PetscInt i,
                                  PetscInt j, PetscInt n_j, double out[])
{
  const FwPatches   *patches = &k->images->patches;
  const PetscScalar  scale = 1.0 / (k->images->model->prior[0] * patches->n_pixel), zero = 0.0;
  const PetscBLASInt m = piece->n, n = n_j, length = patches->n_pixel;
  const double      *row    = k->rows.pixel + ((size_t)i * k->rows.n + piece->first) * length;
  const double      *column = columns->pixel + ((size_t)piece->column * patches->n_patch + j) * length;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &m, &n, &length, &scale, row, &length, column, &length, &zero, out, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapPair(FwPatchKernel k, const FwPatchSide *columns, const FwPatchPiece *piece, PetscInt i,
                              PetscInt j, double value[])
{
  const PetscInt n_patch = k->images->patches.n_patch, row = i * k->rows.n + piece->first;

  PetscFunctionBegin;
  PetscCall(FwActivationMap(k->images->activation[0], FW_MAP_VALUE, k->rows.points[0], row, piece->n,
                            columns->points[0], piece->column * n_patch + j, value, value));
  if (i == j && piece->diagonal >= 0) value[piece->diagonal] = k->rows.diagonal[0][row + piece->diagonal];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchPieceMap(FwPatchKernel k, const FwPatchSide *columns, const FwPatchPiece *piece)
{
  const PetscInt  n_patch     = k->images->patches.n_patch;
  const PetscBool is_diagonal = k->plan.form == FW_PATCH_DIAGONAL ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n_patch; i++) {
    const PetscInt first = is_diagonal ? i : 0, n_j = is_diagonal ? 1 : n_patch;
    double        *value = k->covariance[0] + ((size_t)i * n_patch + first) * piece->n;

    PetscCall(Covariances(k, columns, piece, i, first, n_j, value));
    for (PetscInt j = 0; j < n_j; j++)
      PetscCall(MapPair(k, columns, piece, i, first + j, value + (size_t)j * piece->n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchPieceRow(FwPatchKernel k, const FwPatchPiece *piece, PetscInt i, const double weight[],
                               double out[])
{
  PetscFunctionBegin;
  for (PetscInt r = 0; r < piece->n; r++) out[r] = 0.0;
  for (PetscInt j = 0; j < k->images->patches.n_patch; j++) {
    if (weight[j] == 0.0) continue;
    PetscCall(Covariances(k, &k->columns, piece, i, j, 1, k->covariance[0]));
    PetscCall(MapPair(k, &k->columns, piece, i, j, k->covariance[0]));
    for (PetscInt r = 0; r < piece->n; r++) out[r] += weight[j] * k->covariance[0][r];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F_ij from k of (i, j) and, where they are summed, of (j, i) */
static void CombinePair(PetscInt n, PetscBool is_alone, const double *restrict forward, const double *restrict backward,
                        double *restrict out)
{
  if (is_alone)
    for (PetscInt r = 0; r < n; r++) out[r] = forward[r];
  else
    for (PetscInt r = 0; r < n; r++) out[r] = forward[r] + backward[r];
}

static void SubtractMeans(PetscInt n, double factor, const double *restrict mean, double *restrict out)
{
  for (PetscInt r = 0; r < n; r++) out[r] -= factor * mean[r];
}

void FwPatchCombine(FwPatchForm form, PetscInt n_patch, PetscInt n, const double value[], const double row_mean[],
                    PetscInt stride, const double column_mean[], double feature[])
{
  double *out = feature;

  for (PetscInt i = 0; i < n_patch; i++)
    for (PetscInt j = form == FW_PATCH_ORDERED ? 0 : i; j < (form == FW_PATCH_DIAGONAL ? i + 1 : n_patch); j++) {
      const PetscBool is_alone = i == j || form == FW_PATCH_ORDERED ? PETSC_TRUE : PETSC_FALSE;

      CombinePair(n, is_alone, value + ((size_t)i * n_patch + j) * n, value + ((size_t)j * n_patch + i) * n, out);
      if (row_mean) SubtractMeans(n, column_mean[j], row_mean + (size_t)i * stride, out);
      if (row_mean && !is_alone) SubtractMeans(n, column_mean[i], row_mean + (size_t)j * stride, out);
      out += n;
    }
  if (!row_mean) return;
  for (PetscInt r = 0; r < n; r++) out[r] = 0.0;
  for (PetscInt i = 0; i < n_patch; i++) SubtractMeans(n, -column_mean[i], row_mean + (size_t)i * stride, out);
}

PetscErrorCode FwPatchPieceFeatures(FwPatchKernel k, const FwPatchSide *columns, const FwPatchPiece *piece,
                                    double feature[])
{
  const PetscInt   n_patch    = k->images->patches.n_patch;
  const PetscBool  is_centred = k->plan.is_centred;
  const FwPatchRun rows       = {.side = &k->rows, .is_row = PETSC_TRUE, .first = piece->first, .n = piece->n};
  const FwPatchRun column     = {.side = columns, .is_row = PETSC_FALSE, .first = piece->column, .n = 1};
  double          *site;

  PetscFunctionBegin;
  PetscCall(FwPatchPieceMap(k, columns, piece));
  PetscCall(FwTowerRaise(k, &rows, &column, piece->diagonal, k->covariance, &site));
  FwPatchCombine(k->plan.form, k->n_site, piece->n, site, is_centred ? k->rows.mean + piece->first : NULL, k->rows.n,
                 is_centred ? columns->mean + (size_t)piece->column * n_patch : NULL, feature);
  PetscFunctionReturn(PETSC_SUCCESS);
}
