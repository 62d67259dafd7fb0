/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Diagnostics of chains: series whose autocorrelation is known, chains that disagree.
 * ranks: 1
 */

#include <finwidth/diagnostics.h>
#include <finwidth/random.h>
#include "../support/collective_assert.h"

enum { CHAINS = 4, SAMPLES = 5000, ALL = CHAINS * SAMPLES };

static double value[ALL];

/* x_{t+1} = r x_t + sqrt(1 - r^2) noise: variance 1, autocorrelation r^t, ESS = n (1 - r) / (1 + r) */
static void make_autoregressive(double r, uint64_t seed)
{
  for (int c = 0; c < CHAINS; c++) {
    double *x = value + c * SAMPLES;

    FwStreamNormal(FwStreamCreate(seed, FW_RANDOM_MOMENTUM, (uint64_t)c, 0, 0), 0, SAMPLES, x);
    for (int t = 1; t < SAMPLES; t++) x[t] = r * x[t - 1] + sqrt(1.0 - r * r) * x[t];
  }
}

static void independent_samples_count_in_full(void **state)
{
  FwChainSummary s;

  (void)state;
  make_autoregressive(0.0, 1);
  TestCall(FwChainSummarise(CHAINS, SAMPLES, value, &s));
  assert_close(s.ess / ALL, 1.0, 0.1);
  assert_close(s.error_bar * sqrt(ALL), 1.0, 0.06);
  assert_close(s.rhat, 1.0, 0.002);
  assert_close(s.mean, 0.0, 5.0 / sqrt(ALL));
}

static void autocorrelation_time_is_that_of_the_process(void **state)
{
  const double r[] = {0.5, 0.9, -0.5};

  (void)state;
  for (int i = 0; i < 3; i++) {
    FwChainSummary s;

    make_autoregressive(r[i], 2);
    TestCall(FwChainSummarise(CHAINS, SAMPLES, value, &s));
    assert_close(s.ess / ALL * (1.0 + r[i]) / (1.0 - r[i]), 1.0, 0.15);
  }
}

/* The error bar of a mean covers the truth as a Gaussian one does: z^2 averages 1 over many series */
static void error_bars_cover_the_truth(void **state)
{
  enum { SERIES = 200, SHORT = 400 };
  double sum = 0.0;

  (void)state;
  for (int i = 0; i < SERIES; i++) {
    FwChainSummary s;

    make_autoregressive(0.8, 100 + (uint64_t)i);
    for (int c = 1; c < CHAINS; c++)
      for (int t = 0; t < SHORT; t++) value[c * SHORT + t] = value[c * SAMPLES + t];
    TestCall(FwChainSummarise(CHAINS, SHORT, value, &s));
    sum += s.mean * s.mean / (s.error_bar * s.error_bar) / SERIES;
  }
  assert_close(sum, 1.0, 5.0 * sqrt(2.0 / SERIES) * 1.2);
}

/* So few blocks show a correlation time below 1 by chance; without the bound z^2 averages 1.2 and 1.4 */
static void error_bars_of_few_blocks_cover_the_truth(void **state)
{
  enum { SERIES = 2000 };
  const PetscInt n_block[] = {32, 8};

  (void)state;
  for (int k = 0; k < 2; k++) {
    double sum = 0.0;

    for (int i = 0; i < SERIES; i++) {
      double mean, error_bar;

      FwStreamNormal(FwStreamCreate(7, FW_RANDOM_MOMENTUM, (uint64_t)i, (uint64_t)k, 0), 0,
                     (size_t)(CHAINS * n_block[k]), value);
      TestCall(FwChainBlocks(CHAINS, n_block[k], value, &mean, &error_bar));
      sum += mean * mean / (error_bar * error_bar) / SERIES;
    }
    assert_close(sum, 1.0, 4.0 * sqrt(2.0 / SERIES));
  }
}

static void chains_in_different_places_are_seen(void **state)
{
  double rhat;

  (void)state;
  make_autoregressive(0.3, 3);
  for (int t = 0; t < SAMPLES; t++) value[t] += 1.0;
  TestCall(FwChainRhat(CHAINS, SAMPLES, value, &rhat));
  assert_close(rhat > 1.05, 1, 0);
}

/* Equal means hide it from the plain R-hat; the distances from the median show it */
static void chains_of_different_width_are_seen(void **state)
{
  double rhat;

  (void)state;
  make_autoregressive(0.3, 4);
  for (int t = 0; t < SAMPLES; t++) value[t] *= 3.0;
  TestCall(FwChainRhat(CHAINS, SAMPLES, value, &rhat));
  assert_close(rhat > 1.05, 1, 0);
}

static void a_drift_common_to_all_chains_is_seen(void **state)
{
  double rhat;

  (void)state;
  make_autoregressive(0.3, 5);
  for (int i = 0; i < ALL; i++) value[i] += 1.5 * (double)(i % SAMPLES) / SAMPLES;
  TestCall(FwChainRhat(CHAINS, SAMPLES, value, &rhat));
  assert_close(rhat > 1.03, 1, 0);
}

static void constant_and_short_series_are_said_so(void **state)
{
  FwChainSummary s;

  (void)state;
  for (int i = 0; i < ALL; i++) value[i] = 0.1;
  TestCall(FwChainSummarise(CHAINS, 100, value, &s));
  assert_close(s.rhat, 1.0, 0.0);
  assert_close(s.error_bar, 0.0, 1e-15);
  TestCall(FwChainSummarise(CHAINS, 7, value, &s));
  assert_close(isnan(s.rhat) && isnan(s.error_bar), 1, 0);
  for (int i = 0; i < 100; i++) value[i] = 0.2; /* one chain stands still elsewhere */
  TestCall(FwChainSummarise(CHAINS, 100, value, &s));
  assert_close(s.rhat > 1e3, 1, 0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(independent_samples_count_in_full),
    cmocka_unit_test(autocorrelation_time_is_that_of_the_process),
    cmocka_unit_test(error_bars_cover_the_truth),
    cmocka_unit_test(error_bars_of_few_blocks_cover_the_truth),
    cmocka_unit_test(chains_in_different_places_are_seen),
    cmocka_unit_test(chains_of_different_width_are_seen),
    cmocka_unit_test(a_drift_common_to_all_chains_is_seen),
    cmocka_unit_test(constant_and_short_series_are_said_so),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("diagnostics", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
