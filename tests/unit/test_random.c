/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Streams: known answers of the generator, no dependence on how they are read, moments.
 * ranks: 1
 */

#include <finwidth/random.h>
#include "../support/collective_assert.h"

/* Philox4x64-10 of counter 0 and key 0 begins with 0x16554d9eca36314c, 0xdb20fe9d672d0fdc (Random123's kat_vectors) */
static void generator_gives_the_known_answers(void **state)
{
  const FwStream stream = {
    .key = {0,  0},
      .counter = { 0, 0, 0}
  };
  double value[2];

  (void)state;
  FwStreamUniform(stream, 0, 2, value);
  assert_close(value[0], ((double)(0x16554d9eca36314cULL >> 11) + 0.5) * 0x1p-53, 0.0);
  assert_close(value[1], ((double)(0xdb20fe9d672d0fdcULL >> 11) + 0.5) * 0x1p-53, 0.0);
}

static void pieces_equal_the_whole(void **state)
{
  const FwStream stream = FwStreamCreate(7, FW_RANDOM_GLYPH, 1, 2, 3);
  double         whole[101], piece[101];

  (void)state;
  FwStreamNormal(stream, 5, 101, whole);
  for (uint64_t begin = 0; begin < 101; begin += 7)
    FwStreamNormal(stream, 5 + begin, PetscMin(7, 101 - begin), piece + begin);
  for (int i = 0; i < 101; i++) assert_close(piece[i], whole[i], 0.0);
}

static void streams_of_other_names_differ(void **state)
{
  const FwStream name[] = {FwStreamCreate(1, FW_RANDOM_GLYPH, 0, 0, 0),   FwStreamCreate(2, FW_RANDOM_GLYPH, 0, 0, 0),
                           FwStreamCreate(1, FW_RANDOM_SHUFFLE, 0, 0, 0), FwStreamCreate(1, FW_RANDOM_GLYPH, 1, 0, 0),
                           FwStreamCreate(1, FW_RANDOM_GLYPH, 0, 1, 0),   FwStreamCreate(1, FW_RANDOM_GLYPH, 0, 0, 1)};
  double         value[6];

  (void)state;
  for (int i = 0; i < 6; i++) FwStreamUniform(name[i], 0, 1, &value[i]);
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < i; j++) assert_close(value[i] != value[j], 1, 0.0);
}

/* Mean 0, variance 1, fourth moment 3, within five standard errors */
static void normal_numbers_have_normal_moments(void **state)
{
  enum { N = 200000 };
  double *value, sum[3] = {0};

  (void)state;
  TestCall(PetscMalloc1(N, &value));
  FwStreamNormal(FwStreamCreate(3, FW_RANDOM_TEACHER_INPUT, 0, 0, 0), 0, N, value);
  for (int i = 0; i < N; i++) {
    const double square = value[i] * value[i];

    sum[0] += value[i] / N;
    sum[1] += square / N;
    sum[2] += square * square / N;
  }
  assert_close(sum[0], 0.0, 5.0 / sqrt(N));
  assert_close(sum[1] - 1.0, 0.0, 5.0 * sqrt(2.0 / N));
  assert_close(sum[2] - 3.0, 0.0, 5.0 * sqrt(96.0 / N));
  TestCall(PetscFree(value));
}

static void an_order_has_every_number_once(void **state)
{
  enum { N = 100 };
  PetscInt64 order[N], again[N];
  int        seen[N] = {0}, n_moved = 0;

  (void)state;
  TestCall(FwStreamOrder(FwStreamCreate(3, FW_RANDOM_SHUFFLE, 0, 0, 0), N, order));
  TestCall(FwStreamOrder(FwStreamCreate(3, FW_RANDOM_SHUFFLE, 0, 0, 0), N, again));
  for (int i = 0; i < N; i++) seen[order[i]]++;
  for (int i = 0; i < N; i++) {
    assert_close(seen[i], 1, 0.0);
    assert_close((double)again[i], (double)order[i], 0.0);
    n_moved += order[i] != i;
  }
  assert_close(n_moved > 80, 1, 0.0);
  TestCall(FwStreamOrder(FwStreamCreate(3, FW_RANDOM_SHUFFLE, 0, 0, 0), 0, order));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(generator_gives_the_known_answers), cmocka_unit_test(pieces_equal_the_whole),
    cmocka_unit_test(streams_of_other_names_differ),     cmocka_unit_test(normal_numbers_have_normal_moments),
    cmocka_unit_test(an_order_has_every_number_once),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("random", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
