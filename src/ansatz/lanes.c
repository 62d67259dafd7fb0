/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Products of matrices whose entries are lanes, and the way of single runs into lanes and out.
 */

#include "lanes.h"

#include <stdint.h>

PetscErrorCode FwLanesAllocate(size_t n, void **room, FwLanes **lanes)
{
  char *bytes;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((n + 1) * sizeof(FwLanes), &bytes)); /* one more, so that the first can be aligned */
  *room  = bytes;
  *lanes = (FwLanes *)(void *)(bytes + sizeof(FwLanes) - (uintptr_t)bytes % sizeof(FwLanes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwLanesPut(PetscInt n, PetscInt lane, const double from[], FwLanes to[])
{
  for (PetscInt i = 0; i < n; i++) to[i][lane] = from[i];
}

void FwLanesGet(PetscInt n, PetscInt lane, const FwLanes from[], double to[])
{
  for (PetscInt i = 0; i < n; i++) to[i] = from[i][lane];
}

/* A tile of C, rows x columns, of compile-time size: up to twelve sums side by side, so that none waits for its addition */
FW_VECTOR_HELPER void Tile(int rows, int columns, PetscInt m, PetscInt k, FwLaneView a, FwLaneView b,
                           PetscBool is_added, FwLanes *c)
{
  for (int half = 0; half < 2; half++) {
    const FwHalfLanes *pa = (const FwHalfLanes *)a.at + half, *pb = (const FwHalfLanes *)b.at + half;
    FwHalfLanes       *pc = (FwHalfLanes *)c + half, sum[12];

    for (int j = 0; j < columns; j++)
      for (int i = 0; i < rows; i++) sum[j * rows + i] = is_added ? pc[2 * (i + j * m)] : (FwHalfLanes){0.0};
    for (PetscInt p = 0; p < k; p++, pa += 2 * a.column, pb += 2 * b.row) {
      FwHalfLanes left[4];

      for (int i = 0; i < rows; i++) left[i] = pa[2 * (i * a.row)];
      for (int j = 0; j < columns; j++) {
        const FwHalfLanes right = pb[2 * (j * b.column)];

        for (int i = 0; i < rows; i++) sum[j * rows + i] += left[i] * right;
      }
    }
    for (int j = 0; j < columns; j++)
      for (int i = 0; i < rows; i++) pc[2 * (i + j * m)] = sum[j * rows + i];
  }
}

/* The next piece of what is left: no single rows are left over where they can be avoided, five are three and two */
FW_VECTOR_HELPER PetscInt Cut(PetscInt left, PetscInt most)
{
  return left <= most ? left : left == most + 1 ? (most + 2) / 2 : most;
}

/* Three rows of four columns, else four of up to three */
FW_VECTOR_HELPER void Strip(int columns, PetscInt m, PetscInt k, FwLaneView a, FwLaneView b, PetscBool is_added,
                            FwLanes *c)
{
  const PetscInt most = columns == 4 ? 3 : 4;

  for (PetscInt i = 0, rows; i < m; i += rows, a.at += rows * a.row) {
    rows = Cut(m - i, most);
    if (rows == 4 && columns < 4)
      Tile(4, columns, m, k, a, b, is_added, c + i);
    else if (rows == 3)
      Tile(3, columns, m, k, a, b, is_added, c + i);
    else if (rows == 2)
      Tile(2, columns, m, k, a, b, is_added, c + i);
    else
      Tile(1, columns, m, k, a, b, is_added, c + i);
  }
}

FW_VECTOR_FUSED void FwLanesMultiply(PetscInt m, PetscInt n, PetscInt k, FwLaneView a, FwLaneView b, PetscBool is_added,
                                     FwLanes c[])
{
  for (PetscInt j = 0, columns; j < n; j += columns, b.at += columns * b.column) {
    columns = Cut(n - j, 4);
    if (columns == 4)
      Strip(4, m, k, a, b, is_added, c + (size_t)j * m);
    else if (columns == 3)
      Strip(3, m, k, a, b, is_added, c + (size_t)j * m);
    else if (columns == 2)
      Strip(2, m, k, a, b, is_added, c + (size_t)j * m);
    else
      Strip(1, m, k, a, b, is_added, c + (size_t)j * m);
  }
}

FW_VECTOR void FwLanesSumSquares(PetscInt n, const FwLanes v[], double sum[FW_LANES])
{
  const FwHalfLanes *at      = (const FwHalfLanes *)v;
  FwHalfLanes        part[4] = {{0.0}, {0.0}, {0.0}, {0.0}}; /* two halves, of even and of odd numbers */

  for (PetscInt i = 0; i + 2 <= n; i += 2, at += 4)
    for (int p = 0; p < 4; p++) part[p] += at[p] * at[p];
  for (int p = 0; n % 2 && p < 2; p++) part[p] += at[p] * at[p];
  for (int lane = 0; lane < FW_LANES; lane++) sum[lane] = part[lane / 4][lane % 4] + part[2 + lane / 4][lane % 4];
}
