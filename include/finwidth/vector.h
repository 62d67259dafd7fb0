/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * One loop, compiled for the vector units of several processors; the loader takes the widest that is there.
 *
 * A loop that keeps to + - * / sqrt and to choosing between two values gives the same bits on all of them, since
 * nothing is contracted to a fused multiply-add (-ffp-contract=off).
 */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
  !defined(__SANITIZE_ADDRESS__) /* the sanitizer is not up yet when the loader chooses */
  #define FW_VECTOR       __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
  #define FW_VECTOR_FUSED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
  #define FW_VECTOR
  #define FW_VECTOR_FUSED
#endif

/* FW_VECTOR_FUSED: products of matrices, in files that are compiled with -ffp-contract=fast. Their multiply-adds are fused
   where the processor has them, which is faster, and no less alike on different processors than BLAS is. */

/** A helper of such a loop has to melt into it, or it would be compiled once, for the oldest processor. */
#define FW_VECTOR_HELPER static inline __attribute__((always_inline))

/** Eight doubles that go through the vector unit together; arithmetic is by number, so none depends on its neighbours. */
enum { FW_LANES = 8 };

typedef double FwLanes __attribute__((vector_size(FW_LANES * sizeof(double)), may_alias));
