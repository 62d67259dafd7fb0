/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Products of a tall matrix of few columns with a large one. BLAS would first copy the large matrix into an order of its
 * own, which costs as much as a product of ten columns; these read it where it is, and the way back reads it once for two
 * products.
 */

#include "learner_impl.h"

#include <finwidth/vector.h>

#include <stdint.h>

enum { WIDTH = 4, ROWS = 3 }; /* numbers of a vector; columns of the narrow matrix at once */

typedef double  Vector __attribute__((vector_size(WIDTH * sizeof(double)), aligned(sizeof(double)), may_alias));
typedef int64_t Order __attribute__((vector_size(WIDTH * sizeof(int64_t))));

#define AT(p) (*(const Vector *)(const void *)(p))

/* Of each of four vectors the sum of its numbers */
FW_VECTOR_HELPER void SumEach(const Vector s[WIDTH], Vector *sum)
{
  const Order  even = {0, 4, 2, 6}, odd = {1, 5, 3, 7}, low = {0, 1, 4, 5}, high = {2, 3, 6, 7};
  const Vector a = __builtin_shuffle(s[0], s[1], even) + __builtin_shuffle(s[0], s[1], odd);
  const Vector b = __builtin_shuffle(s[2], s[3], even) + __builtin_shuffle(s[2], s[3], odd);

  *sum = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

/* Dot products of `rows` columns of a with `columns` columns of w, compile-time numbers of them: twelve sums side by side */
FW_VECTOR_HELPER void DotTile(int rows, int columns, PetscInt n, const double *a, const double *w, PetscInt lde,
                              double *e)
{
  Vector   sum[ROWS][FW_NARROW_COLUMNS];
  PetscInt i = 0;

  for (int k = 0; k < rows; k++)
    for (int j = 0; j < FW_NARROW_COLUMNS; j++) sum[k][j] = (Vector){0.0};
  for (; i + WIDTH <= n; i += WIDTH) {
    Vector above[ROWS];

    for (int k = 0; k < rows; k++) above[k] = AT(a + (size_t)k * n + i);
    for (int j = 0; j < columns; j++) {
      const Vector weight = AT(w + (size_t)j * n + i);

      for (int k = 0; k < rows; k++) sum[k][j] += above[k] * weight;
    }
  }
  for (int k = 0; k < rows; k++) {
    Vector total;

    SumEach(sum[k], &total);
    for (int j = 0; j < columns; j++) {
      double one = total[j];

      for (PetscInt left = i; left < n; left++) one += a[(size_t)k * n + left] * w[(size_t)j * n + left];
      e[k * lde + j] = one;
    }
  }
}

/* All c columns of a with up to four of w */
FW_VECTOR_HELPER void DotStrip(int columns, PetscInt n, PetscInt c, const double *a, const double *w, PetscInt lde,
                               double *e)
{
  for (PetscInt k = 0, rows; k < c; k += rows) {
    const PetscInt left = c - k;

    rows = left <= ROWS ? left : left == ROWS + 1 ? 2 : ROWS; /* four are two and two */
    if (rows == 3)
      DotTile(3, columns, n, a + (size_t)k * n, w, lde, e + k * lde);
    else if (rows == 2)
      DotTile(2, columns, n, a + (size_t)k * n, w, lde, e + k * lde);
    else
      DotTile(1, columns, n, a + (size_t)k * n, w, lde, e + k * lde);
  }
}

FW_VECTOR_FUSED void FwNarrowProduct(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[], PetscInt lde,
                           double e[])
{
  PetscInt j = 0;

  for (; j + FW_NARROW_COLUMNS <= m; j += FW_NARROW_COLUMNS)
    DotStrip(FW_NARROW_COLUMNS, n, c, a, w + (size_t)j * n, lde, e + j);
  for (; j < m; j++) DotStrip(1, n, c, a, w + (size_t)j * n, lde, e + j);
}

/* Some columns of w, a compile-time number of them */
FW_VECTOR_HELPER void BackStrip(int columns, PetscInt n, PetscInt c, const double *a, const double *w, PetscInt ldg,
                                const double *g, double *restrict chain, double *restrict gradient)
{
  PetscInt i = 0;

  for (; i + WIDTH <= n; i += WIDTH) {
    Vector weight[FW_NARROW_COLUMNS], slope[FW_NARROW_COLUMNS];

    for (int j = 0; j < columns; j++) {
      weight[j] = AT(w + (size_t)j * n + i);
      slope[j]  = (Vector){0.0};
    }
    for (PetscInt k = 0; k < c; k++) {
      const Vector above = AT(a + (size_t)k * n + i);
      Vector       sum   = AT(chain + (size_t)k * n + i);

      for (int j = 0; j < columns; j++) {
        sum += weight[j] * g[k * ldg + j];
        slope[j] += above * g[k * ldg + j];
      }
      *(Vector *)(void *)(chain + (size_t)k * n + i) = sum;
    }
    for (int j = 0; j < columns; j++) *(Vector *)(void *)(gradient + (size_t)j * n + i) = slope[j];
  }
  for (; i < n; i++)
    for (int j = 0; j < columns; j++) {
      double slope = 0.0;

      for (PetscInt k = 0; k < c; k++) {
        chain[(size_t)k * n + i] += w[(size_t)j * n + i] * g[k * ldg + j];
        slope += a[(size_t)k * n + i] * g[k * ldg + j];
      }
      gradient[(size_t)j * n + i] = slope;
    }
}

FW_VECTOR_FUSED void FwNarrowBack(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[], PetscInt ldg,
                        const double g[], double chain[], double gradient[])
{
  PetscInt j = 0;

  for (; j + FW_NARROW_COLUMNS <= m; j += FW_NARROW_COLUMNS)
    BackStrip(FW_NARROW_COLUMNS, n, c, a, w + (size_t)j * n, ldg, g + j, chain, gradient + (size_t)j * n);
  for (; j < m; j++) BackStrip(1, n, c, a, w + (size_t)j * n, ldg, g + j, chain, gradient + (size_t)j * n);
}
