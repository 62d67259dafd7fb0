#pragma once

/** @file
 * Sums over long arrays in eight lanes, compiled for the vector units of several processors; the loader takes the
 * widest that is there.
 *
 * The order of additions is part of the code, and nothing is contracted to a fused multiply-add (-ffp-contract=off):
 * the same bits on every processor.
 */

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
  !defined(__SANITIZE_ADDRESS__) /* the sanitizer is not up yet when the loader chooses */
  #define FW_LANES_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
  #define FW_LANES_CLONES
#endif

enum { LANES = 8 };

typedef double Lanes __attribute__((vector_size(LANES * sizeof(double))));

/* Eight numbers from an array that need not be aligned */
#define LOAD_LANES(lanes, array) memcpy(&(lanes), (array), sizeof(Lanes))

/* Sum of the first `n` lanes */
static inline double SumLanes(const double lane[], int n)
{
  double sum = 0.0;

  for (int l = 0; l < n; l++) sum += lane[l];
  return sum;
}
