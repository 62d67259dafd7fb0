/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A kernel and labels without structure, for tests against dense algebra.
 */

#include <math.h>

/** Numbers of order one without a pattern. */
static inline double hash(int i)
{
  return sin(12.9898 * i + 0.3 * i * i) - cos(4.1 * i);
}

/** A positive n x n matrix, column-major, with smallest eigenvalue above 0.05. */
static inline void make_kernel(int n, double kernel[])
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      kernel[i + j * n] = i == j ? 0.05 : 0.0;
      for (int k = 0; k < n + 5; k++) kernel[i + j * n] += hash(7 * i + 11 * k) * hash(7 * j + 11 * k) / (n + 5);
    }
}
