/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Numbers in bulk: known answers of the generator, pieces and the whole, laws by goodness of fit.
 * ranks: 1
 */

#include <finwidth/goodness.h>
#include <finwidth/random.h>
#include "../support/collective_assert.h"

#include <Random123/threefry.h>
#include <gsl/gsl_sf_gamma.h>
#include <stdlib.h>

/* Number 256 g + 64 w + b of a stream is word w of block 64 g + b */
static void words_are_those_of_random123(void **state)
{
  const FwStream           stream = FwStreamCreate(11, FW_RANDOM_MIXTURE_LIMIT, 5, 6, 7);
  const threefry4x64_key_t key    = {
       {11, FW_RANDOM_MIXTURE_LIMIT, 0, 0}
  };
  double value[600];

  (void)state;
  FwStreamUniformBulk(stream, 0, 600, value);
  for (int i = 0; i < 600; i++) {
    const threefry4x64_ctr_t counter = {
      {(uint64_t)(i / 256 * 64 + i % 64), 5, 6, 7}
    };
    const uint64_t word = threefry4x64(counter, key).v[i % 256 / 64];

    assert_close(value[i], ((double)(word >> 12) + 0.5) * 0x1p-52, 0.0);
  }
}

static void pieces_equal_the_whole(void **state)
{
  enum { N = 1500 };
  const FwStream stream = FwStreamCreate(7, FW_RANDOM_MIXTURE_GAMMA, 1, 2, 3);
  double         whole[2][N], piece[2][N];

  (void)state;
  FwStreamNormalBulk(stream, 100, N, whole[0]);
  FwStreamGammaBulk(stream, 2.5, 1.0, 100, N, whole[1]);
  for (uint64_t begin = 0; begin < N; begin += 397) {
    FwStreamNormalBulk(stream, 100 + begin, PetscMin(397, N - begin), piece[0] + begin);
    FwStreamGammaBulk(stream, 2.5, 1.0, 100 + begin, PetscMin(397, N - begin), piece[1] + begin);
  }
  for (int i = 0; i < 2 * N; i++) assert_close(piece[i / N][i % N], whole[i / N][i % N], 0.0);
}

enum { MANY = 400000 };

/* Largest of the two p-values' distances from trust: both must exceed 1e-4 */
static double WorstP(double *cumulative)
{
  TestCall(PetscSortReal(MANY, cumulative));
  return fmin(FwKolmogorov(MANY, cumulative).p_value, FwCramer(MANY, cumulative).p_value);
}

static void normal_numbers_follow_the_normal_law(void **state)
{
  double      *value, square = 0.0, fourth = 0.0, n_far = 0.0;
  const double far = 4.2, p_far = erfc(4.2 * M_SQRT1_2); /* beyond the ziggurat's last edge: the tail */

  (void)state;
  TestCall(PetscMalloc1(MANY, &value));
  for (int round = 0; round < 10; round++) {
    FwStreamNormalBulk(FwStreamCreate(3, FW_RANDOM_MIXTURE_NORMAL, 0, 0, 0), (uint64_t)round * MANY, MANY, value);
    for (int i = 0; i < MANY; i++) {
      square += value[i] * value[i] / (10.0 * MANY);
      fourth += pow(value[i], 4) / (10.0 * MANY);
      n_far += fabs(value[i]) > far;
    }
  }
  assert_close((square - 1.0) / sqrt(2.0 / (10.0 * MANY)), 0.0, 4.0);
  assert_close((fourth - 3.0) / sqrt(96.0 / (10.0 * MANY)), 0.0, 4.0);
  assert_close((n_far - 10.0 * MANY * p_far) / sqrt(10.0 * MANY * p_far), 0.0, 4.0);
  for (int i = 0; i < MANY; i++) value[i] = 0.5 * erfc(-value[i] * M_SQRT1_2);
  assert_close(WorstP(value) > 1e-4, 1, 0.0);
  for (int i = 0; i < MANY; i++) value[i] = pow(value[i], 1.01); /* a law that is off by one per cent is seen */
  assert_close(WorstP(value) < 1e-4, 1, 0.0);
  TestCall(PetscFree(value));
}

static void gamma_numbers_follow_the_gamma_law(void **state)
{
  const double shape[] = {0.3, 0.5, 1.0, 1.5, 4.0, 50.0, 1e5};
  double      *value;

  (void)state;
  TestCall(PetscMalloc1(MANY, &value));
  for (int s = 0; s < 7; s++) {
    FwStreamGammaBulk(FwStreamCreate(4, FW_RANDOM_MIXTURE_GAMMA, (uint64_t)s, 0, 0), shape[s], 0.5, 0, MANY, value);
    for (int i = 0; i < MANY; i++) value[i] = gsl_sf_gamma_inc_P(shape[s], 2.0 * value[i]);
    assert_close(WorstP(value) > 1e-4, 1, 0.0);
  }
  TestCall(PetscFree(value));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(words_are_those_of_random123),
    cmocka_unit_test(pieces_equal_the_whole),
    cmocka_unit_test(normal_numbers_follow_the_normal_law),
    cmocka_unit_test(gamma_numbers_follow_the_gamma_law),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("random_bulk", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
