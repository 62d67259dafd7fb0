/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Products of a tall matrix of few columns with a large one. BLAS would first copy the large matrix into an order of its
 * own, which costs as much as a product of ten columns; these read it where it is, and the way back reads it once for two
 * products.
 *
 * Matrices of few columns are stored by blocks of four rows (learner_impl.h): columns one after the other would be a power
 * of two apart for the usual widths, and push each other out of the cache.
 */

#include "learner_impl.h"

#include <finwidth/vector.h>

#include <stdint.h>

enum { WIDTH = FW_NARROW_ROWS, MOST = 3 }; /* numbers of a vector; columns of the narrow matrix at once */

typedef double  Vector __attribute__((vector_size(WIDTH * sizeof(double)), aligned(sizeof(double)), may_alias));
typedef int64_t Order __attribute__((vector_size(WIDTH * sizeof(int64_t))));

#define AT(p) (*(const Vector *)(const void *)(p))

/* Numbers of a and b, counted through; GCC has the one since 4.7 and the other since 12, Clang only the other */
#ifdef __clang__
  #define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
  #define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (const Order){__VA_ARGS__})
#endif

/* Of each of four vectors the sum of its numbers */
FW_VECTOR_HELPER void SumEach(const Vector s[WIDTH], Vector *sum)
{
  const Vector a = SHUFFLE(s[0], s[1], 0, 4, 2, 6) + SHUFFLE(s[0], s[1], 1, 5, 3, 7);
  const Vector b = SHUFFLE(s[2], s[3], 0, 4, 2, 6) + SHUFFLE(s[2], s[3], 1, 5, 3, 7);

  *sum = SHUFFLE(a, b, 0, 1, 4, 5) + SHUFFLE(a, b, 2, 3, 6, 7);
}

#define PUT(p, vector) (*(Vector *)(void *)(p) = (vector))

void FwNarrowPack(PetscInt n, PetscInt c, const double from[], double to[])
{
  (void)PetscArrayzero(to, FwNarrowSize(n, c));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt k = 0; k < c; k++) to[i / WIDTH * WIDTH * c + k * WIDTH + i % WIDTH] = from[k + i * c];
}

void FwNarrowUnpack(PetscInt n, PetscInt c, const double from[], double to[])
{
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt k = 0; k < c; k++) to[k + i * c] = from[i / WIDTH * WIDTH * c + k * WIDTH + i % WIDTH];
}

/* Dot products of `few` columns of a with `columns` columns of w, compile-time numbers of them: twelve sums side by side */
FW_VECTOR_HELPER void DotTile(int few, int columns, PetscInt n, PetscInt c, const double *a, const double *w, double *e)
{
  Vector   sum[MOST][FW_NARROW_ROWS];
  PetscInt i = 0;

  for (int k = 0; k < few; k++)
    for (int j = 0; j < FW_NARROW_ROWS; j++) sum[k][j] = (Vector){0.0};
  for (; i + WIDTH <= n; i += WIDTH, a += WIDTH * c) {
    Vector above[MOST];

    for (int k = 0; k < few; k++) above[k] = AT(a + k * WIDTH);
    for (int j = 0; j < columns; j++) {
      const Vector weight = AT(w + (size_t)j * n + i);

      for (int k = 0; k < few; k++) sum[k][j] += above[k] * weight;
    }
  }
  for (int k = 0; k < few; k++) {
    Vector total;

    SumEach(sum[k], &total);
    for (int j = 0; j < columns; j++)
      for (PetscInt left = i; left < n; left++) total[j] += a[k * WIDTH + left - i] * w[(size_t)j * n + left];
    PUT(e + k * WIDTH, total);
  }
}

/* All c columns of a with up to four of w */
FW_VECTOR_HELPER void DotStrip(int columns, PetscInt n, PetscInt c, const double *a, const double *w, double *e)
{
  for (PetscInt k = 0, few; k < c; k += few) {
    const PetscInt left = c - k;

    few = left <= MOST ? left : left == MOST + 1 ? 2 : MOST; /* four are two and two */
    if (few == 3)
      DotTile(3, columns, n, c, a + k * WIDTH, w, e + k * WIDTH);
    else if (few == 2)
      DotTile(2, columns, n, c, a + k * WIDTH, w, e + k * WIDTH);
    else
      DotTile(1, columns, n, c, a + k * WIDTH, w, e + k * WIDTH);
  }
}

FW_VECTOR_FUSED void FwNarrowProduct(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[], double e[])
{
  PetscInt j = 0;

  for (; j + WIDTH <= m; j += WIDTH) DotStrip(WIDTH, n, c, a, w + (size_t)j * n, e + j * c);
  if (m - j == 3)
    DotStrip(3, n, c, a, w + (size_t)j * n, e + j * c);
  else if (m - j == 2)
    DotStrip(2, n, c, a, w + (size_t)j * n, e + j * c);
  else if (m - j == 1)
    DotStrip(1, n, c, a, w + (size_t)j * n, e + j * c);
}

/* Some columns of w, a compile-time number of them */
FW_VECTOR_HELPER void BackStrip(int columns, PetscInt n, PetscInt c, const double *restrict a, const double *restrict w,
                                const double *restrict g, double *restrict chain, double *restrict gradient)
{
  PetscInt i = 0;

  for (; i + WIDTH <= n; i += WIDTH, a += WIDTH * c, chain += WIDTH * c) {
    Vector weight[FW_NARROW_ROWS], slope[FW_NARROW_ROWS];

    for (int j = 0; j < columns; j++) {
      weight[j] = AT(w + (size_t)j * n + i);
      slope[j]  = (Vector){0.0};
    }
    for (PetscInt k = 0; k < c; k++) {
      const Vector above = AT(a + k * WIDTH);
      Vector       sum   = AT(chain + k * WIDTH);

      for (int j = 0; j < columns; j++) {
        sum += weight[j] * g[k * WIDTH + j];
        slope[j] += above * g[k * WIDTH + j];
      }
      PUT(chain + k * WIDTH, sum);
    }
    for (int j = 0; j < columns; j++) PUT(gradient + (size_t)j * n + i, slope[j]);
  }
  for (PetscInt left = i; left < n; left++)
    for (int j = 0; j < columns; j++) {
      double slope = 0.0;

      for (PetscInt k = 0; k < c; k++) {
        chain[k * WIDTH + left - i] += w[(size_t)j * n + left] * g[k * WIDTH + j];
        slope += a[k * WIDTH + left - i] * g[k * WIDTH + j];
      }
      gradient[(size_t)j * n + left] = slope;
    }
}

FW_VECTOR_FUSED void FwNarrowBack(PetscInt n, PetscInt m, PetscInt c, const double a[], const double w[],
                                  const double g[], double chain[], double gradient[])
{
  PetscInt j = 0;

  for (; j + WIDTH <= m; j += WIDTH)
    BackStrip(WIDTH, n, c, a, w + (size_t)j * n, g + j * c, chain, gradient + (size_t)j * n);
  if (m - j == 3)
    BackStrip(3, n, c, a, w + (size_t)j * n, g + j * c, chain, gradient + (size_t)j * n);
  else if (m - j == 2)
    BackStrip(2, n, c, a, w + (size_t)j * n, g + j * c, chain, gradient + (size_t)j * n);
  else if (m - j == 1)
    BackStrip(1, n, c, a, w + (size_t)j * n, g + j * c, chain, gradient + (size_t)j * n);
}
