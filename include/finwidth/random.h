/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Counter-based random numbers (Philox 4x64-10, Random123), keyed by what is being drawn and never by who draws it.
 *
 * A stream is named by the seed of the run, a purpose, and up to three indices (example, chain, step, ...). Its n-th
 * number is a function of these alone, so that a result does not depend on the number of ranks and a checkpoint needs
 * no generator state. Not collective; no state is kept.
 */

#include <finwidth/base.h>
#include <stdint.h>

/** What a stream is for; the numbers are part of every published result, so rows are only ever added. */
typedef enum {
  FW_RANDOM_SHUFFLE        = 1,
  FW_RANDOM_GLYPH          = 2,
  FW_RANDOM_TEACHER_INPUT  = 3,
  FW_RANDOM_TEACHER_WEIGHT = 4,
  FW_RANDOM_TEACHER_NOISE  = 5,
  FW_RANDOM_SCRAMBLE       = 6, /* order (0, 0) of pixels, (1, patch) of the pixels of a patch, (2, part) of labels */
  FW_RANDOM_MIXTURE_GAMMA  = 10, /* gamma coordinate (factor, row), number = sample */
  FW_RANDOM_MIXTURE_NORMAL = 11, /* normal coordinate (factor, place) of a triangular factor, number = sample */
  FW_RANDOM_MIXTURE_LIMIT  = 12, /* exact draws of the limit for D <= 2 (coordinate), number = sample */
  FW_RANDOM_MIXTURE_WEIGHT = 13, /* every weight of layer (sample, layer) */
  FW_RANDOM_MIXTURE_OUTPUT = 14, /* normal factor of the outputs (output, input), number = sample */
  FW_RANDOM_TEMPER_GAMMA   = 20, /* gamma coordinate (coordinate, move, part), number = particle */
  FW_RANDOM_TEMPER_NORMAL  = 21, /* normal coordinate (coordinate, move), number = particle */
  FW_RANDOM_TEMPER_ACCEPT  = 22, /* acceptance of (move), number = particle */
  FW_RANDOM_TEMPER_CHOOSE  = 23, /* one, resampling of (stage) */
  FW_RANDOM_CHAIN_START    = 40, /* parameter, of chain */
  FW_RANDOM_MOMENTUM       = 41, /* parameter, of (chain, move) */
  FW_RANDOM_ACCEPT         = 42, /* one, of (chain, move) */
  FW_RANDOM_TRAJECTORY     = 43, /* one, of a sample: length of the trajectories of all chains */
  FW_RANDOM_THEORY_ORDER   = 50, /* order parameters of several outputs (draw) */
  FW_RANDOM_LOCAL_START    = 55, /* order parameters (start, 0: entries, 1: scale) */
  FW_RANDOM_LOCAL_CHAIN    = 56, /* average over Gram matrices (chain, step, 0: momenta, 1: acceptance) */
  FW_RANDOM_OPTIMAL_INPUT  = 60, /* inputs (block of teachers, 0: training, 1: fresh), number = row d + input */
  FW_RANDOM_OPTIMAL_WEIGHT = 61, /* weights (teacher, layer), the readout's is L + 1 */
  FW_RANDOM_OPTIMAL_LABEL  = 62, /* channel (teacher, 0: training, 1: fresh), number = row */
  FW_RANDOM_OPTIMAL_START  = 63, /* start of message passing (block of teachers), number = teacher d + input */
  FW_RANDOM_ANSATZ_WEIGHT  = 70, /* one, weight of (layer, row, column) */
  FW_RANDOM_ANSATZ_BIAS    = 71, /* one, bias of (layer, row, 0) */
  FW_RANDOM_ANSATZ_BASIS   = 72, /* one, of the matrix whose range is a balanced layer's (layer, row, column) */
  FW_RANDOM_ANSATZ_ORDER   = 75  /* order of the examples of (epoch) */
} FwPurpose;

/** Name of a stream; copy it freely. */
typedef struct {
  uint64_t key[2];
  uint64_t counter[3];
} FwStream;

/** The stream of a purpose with indices (i, j, k) under a seed. */
FwStream FwStreamCreate(uint64_t seed, FwPurpose purpose, uint64_t i, uint64_t j, uint64_t k);

/** Numbers `first` to `first + n - 1` of a stream, uniform in (0, 1), the ends excluded. */
void FwStreamUniform(FwStream stream, uint64_t first, size_t n, double value[]);

/** Numbers `first` to `first + n - 1` of a stream of standard normal numbers (Box and Muller). */
void FwStreamNormal(FwStream stream, uint64_t first, size_t n, double value[]);

/** A random order of 0 .. n - 1, by Fisher and Yates from the first n uniform numbers of a stream.
 * @error PETSC_ERR_MEM  no memory for n numbers */
PetscErrorCode FwStreamOrder(FwStream stream, PetscInt64 n, PetscInt64 order[]);

/* --- in bulk -------------------------------------------------------------------------------------------------------
 * For many numbers at once, about 3 ns each: Threefry 4x64-20 on all lanes of the vector unit. Other numbers than those
 * above of the same stream; numbers come in groups of 256, so that fewer cost as much.
 */

/** Numbers `first` to `first + n - 1`, uniform in (0, 1), the ends excluded. */
void FwStreamUniformBulk(FwStream stream, uint64_t first, size_t n, double value[]);

/** Standard normal numbers (the ziggurat of Marsaglia and Tsang). */
void FwStreamNormalBulk(FwStream stream, uint64_t first, size_t n, double value[]);

/** Gamma numbers of a shape > 0 and a scale, their mean over the shape (Marsaglia and Tsang). */
void FwStreamGammaBulk(FwStream stream, double shape, double scale, uint64_t first, size_t n, double value[]);
