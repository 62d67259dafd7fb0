/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Sums over long arrays in eight lanes, in functions marked FW_VECTOR. The order of additions is part of the code: the
 * same bits on every processor.
 */

#include <finwidth/vector.h>

#include <string.h>

/* Eight numbers from an array that need not be aligned */
#define LOAD_LANES(lanes, array) memcpy(&(lanes), (array), sizeof(FwLanes))

/* Sum of the first `n` lanes */
static inline double SumLanes(const double lane[], int n)
{
  double sum = 0.0;

  for (int l = 0; l < n; l++) sum += lane[l];
  return sum;
}
