/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Counter-based random numbers: one Philox block of four 64-bit words per counter.
 */

#include <finwidth/random.h>

#include <Random123/philox.h>
#include <math.h>

enum { WORDS = 4 };

static void DrawBlock(FwStream stream, uint64_t block, uint64_t word[WORDS])
{
  const philox4x64_ctr_t counter = {
    {block, stream.counter[0], stream.counter[1], stream.counter[2]}
  };
  const philox4x64_key_t key = {
    {stream.key[0], stream.key[1]}
  };
  const philox4x64_ctr_t drawn = philox4x64(counter, key);

  for (int w = 0; w < WORDS; w++) word[w] = drawn.v[w];
}

/* 53 bits, centred in their interval, so that neither 0 nor 1 occurs */
static double ToUniform(uint64_t word)
{
  return ((double)(word >> 11) + 0.5) * 0x1p-53;
}

static void UniformBlock(FwStream stream, uint64_t block, double value[WORDS])
{
  uint64_t word[WORDS];

  DrawBlock(stream, block, word);
  for (int w = 0; w < WORDS; w++) value[w] = ToUniform(word[w]);
}

static void NormalBlock(FwStream stream, uint64_t block, double value[WORDS])
{
  double u[WORDS];

  UniformBlock(stream, block, u);
  for (int w = 0; w < WORDS; w += 2) {
    const double radius = sqrt(-2.0 * log(u[w])), angle = 2.0 * M_PI * u[w + 1];

    value[w]     = radius * cos(angle);
    value[w + 1] = radius * sin(angle);
  }
}

static void Draw(FwStream stream, uint64_t first, size_t n, double value[],
                 void (*draw_block)(FwStream, uint64_t, double *))
{
  double   part[WORDS];
  uint64_t block = UINT64_MAX;

  for (size_t i = 0; i < n; i++) {
    const uint64_t number = first + i;

    if (number / WORDS != block) draw_block(stream, block = number / WORDS, part);
    value[i] = part[number % WORDS];
  }
}

FwStream FwStreamCreate(uint64_t seed, FwPurpose purpose, uint64_t i, uint64_t j, uint64_t k)
{
  return (FwStream){
    .key = {seed, (uint64_t)purpose},
      .counter = { i,   j,                 k}
  };
}

void FwStreamUniform(FwStream stream, uint64_t first, size_t n, double value[])
{
  Draw(stream, first, n, value, UniformBlock);
}

void FwStreamNormal(FwStream stream, uint64_t first, size_t n, double value[])
{
  Draw(stream, first, n, value, NormalBlock);
}

PetscErrorCode FwStreamOrder(FwStream stream, PetscInt64 n, PetscInt64 order[])
{
  double *draw;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &draw));
  FwStreamUniform(stream, 0, (size_t)n, draw);
  for (PetscInt64 i = 0; i < n; i++) order[i] = i;
  for (PetscInt64 i = n - 1; i > 0; i--) {
    const PetscInt64 other = PetscMin(i, (PetscInt64)(draw[i] * (double)(i + 1))), kept = order[i];

    order[i]     = order[other];
    order[other] = kept;
  }
  PetscCall(PetscFree(draw));
  PetscFunctionReturn(PETSC_SUCCESS);
}
