/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Goodness of fit and means: published quantiles, hand-made sets, coverage over many sets.
 * ranks: 1
 */

#include <finwidth/goodness.h>
#include <finwidth/moments.h>
#include <finwidth/random.h>
#include "../support/collective_assert.h"

#include <stdlib.h>

/* Quantiles: Smirnov 1948; Anderson and Darling 1952, table 1 */
static void survival_functions_give_the_published_quantiles(void **state)
{
  (void)state;
  assert_close(FwKolmogorovSurvival(1.2238478702), 0.10, 1e-9);
  assert_close(FwKolmogorovSurvival(1.3580986393), 0.05, 1e-9);
  assert_close(FwKolmogorovSurvival(1.6276236115), 0.01, 1e-9);
  assert_close(FwKolmogorovSurvival(0.8275735552), 0.50, 1e-9);
  assert_close(FwCramerSurvival(0.34730), 0.10, 1e-5);
  assert_close(FwCramerSurvival(0.46136), 0.05, 1e-5);
  assert_close(FwCramerSurvival(0.74346), 0.01, 1e-5);
  assert_close(FwCramerSurvival(0.11888), 0.50, 1e-5);
  assert_close(FwCramerSurvival(2.9999999) / FwCramerSurvival(3.0000001), 1.0, 2e-2); /* the tail form joins */
}

/* By hand: F = {.2, .3, .9}: distances .2, .7/..; W^2 = 1/36 + (.2-1/6)^2 + (.3-1/2)^2 + (.9-5/6)^2 */
static void statistics_of_three_numbers(void **state)
{
  const double f[] = {0.2, 0.3, 0.9}, x[] = {1.0, 2.0, 5.0}, y[] = {3.0, 4.0};

  (void)state;
  assert_close(FwKolmogorov(3, f).statistic, 2.0 / 3.0 - 0.3, 1e-15);
  assert_close(FwCramer(3, f).statistic, 1.0 / 36.0 + pow(0.2 - 1.0 / 6.0, 2) + 0.04 + pow(0.9 - 5.0 / 6.0, 2), 1e-15);
  assert_close(FwKolmogorovTwo(3, x, 2, y).statistic, 2.0 / 3.0, 1e-15);
  /* ranks 1, 2, 5 and 3, 4: U = 3 (0 + 0 + 4) + 2 (4 + 4) = 28, T = 28/30 - 23/30 */
  assert_close(FwCramerTwo(3, x, 2, y).statistic, 5.0 / 30.0, 1e-15);
}

/* Of 2000 sets of 100 numbers, p < 0.05 in five of a hundred: 4 standard errors */
static void p_values_are_uniform(void **state)
{
  enum { SETS = 2000, N = 100, M = 60 };
  double low[4] = {0};

  (void)state;
  for (int s = 0; s < SETS; s++) {
    double x[N], y[M];

    FwStreamUniform(FwStreamCreate(5, FW_RANDOM_GLYPH, 0, 0, 0), (uint64_t)s * N, N, x);
    FwStreamUniform(FwStreamCreate(5, FW_RANDOM_GLYPH, 1, 0, 0), (uint64_t)s * M, M, y);
    TestCall(PetscSortReal(N, x));
    TestCall(PetscSortReal(M, y));
    low[0] += FwKolmogorov(N, x).p_value < 0.05;
    low[1] += FwCramer(N, x).p_value < 0.05;
    low[2] += FwKolmogorovTwo(N, x, M, y).p_value < 0.05;
    low[3] += FwCramerTwo(N, x, M, y).p_value < 0.05;
  }
  for (int t = 0; t < 4; t++) assert_close((low[t] / SETS - 0.05) / sqrt(0.05 * 0.95 / SETS), 0.0, 4.0);
}

static void means_and_variances_of_a_few_numbers(void **state)
{
  const double value[] = {1.0, -9.0, 2.0, -9.0, 4.0, -9.0, 5.0, -9.0}; /* every second one */

  (void)state;
  assert_close(FwMean(4, 2, value).value, 3.0, 1e-15);
  assert_close(FwMean(4, 2, value).error_bar, sqrt(10.0 / 3.0 / 4.0), 1e-15);
  assert_close(FwVariance(4, 2, value).value, 10.0 / 3.0, 1e-15);
  assert_close(FwVariance(4, 2, value).error_bar, sqrt((34.0 / 4.0 - 6.25) / 4.0), 1e-15);
  assert_close(isnan(FwMean(1, 1, value).error_bar), 1, 0.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(survival_functions_give_the_published_quantiles),
    cmocka_unit_test(statistics_of_three_numbers),
    cmocka_unit_test(p_values_are_uniform),
    cmocka_unit_test(means_and_variances_of_a_few_numbers),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("goodness", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
