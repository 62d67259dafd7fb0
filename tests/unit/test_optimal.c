/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The replica potential: reference rows, published numbers, identities between what is observed, phase transitions.
 * ranks: 1
 */

#include <finwidth/optimal.h>
#include "../support/collective_assert.h"
#include "../support/optimal_reference.h"

enum { DEEP = 8 };

static FwReduction reduce(PetscInt depth, FwActivationType type, double gain)
{
  PetscInt    activation[DEEP];
  double      gains[DEEP];
  FwReduction r;

  for (PetscInt l = 0; l < depth; l++) {
    activation[l] = type;
    gains[l]      = gain;
  }
  TestCall(FwReductionCreate(&(FwDeepTarget){depth, activation, gains, 1.0, 1.0}, &r));
  return r;
}

static FwOptimal curve_of(PetscInt depth, FwActivationType type, double gain, FwChannel channel, double least,
                          double most)
{
  FwReduction r = reduce(depth, type, gain);
  FwOptimal   optimal;

  TestCall(FwOptimalCreate(&r, &channel, least, most, &optimal));
  TestCall(FwReductionDestroy(&r));
  return optimal;
}

static FwOptimalPoint solve(FwOptimal optimal, double alpha)
{
  FwOptimalPoint point;

  TestCall(FwOptimalSolve(optimal, alpha, &point));
  return point;
}

/* --- reference ---------------------------------------------------------------------------------------------------- */

/* Relative, where the row has the number */
static void agrees(Reference row, const char *key, double value)
{
  const double expected = reference_value(row, key);

  if (!isnan(expected)) assert_close(expected == 0.0 ? 1.0 + value : value / expected, 1.0, 1e-12);
}

static void reference_rows(void **state)
{
  Reference file = reference_open("optimal.json"), rows = reference_get(file, "rows");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    Reference              row = reference_at(rows, i), all = reference_get(row, "all_roots");
    const double           alpha   = reference_value(row, "alpha");
    const FwChannel        channel = reference_channel(row);
    const ReferenceNetwork n       = reference_network(row);
    FwReduction            r;
    FwOptimal              optimal;
    FwOptimalThresholds    thresholds;

    TestCall(FwReductionCreate(&(FwDeepTarget){n.depth, n.activation, n.gain, 1.0, 1.0}, &r));
    TestCall(FwOptimalCreate(&r, &channel, alpha, alpha, &optimal));
    TestCall(FwReductionDestroy(&r));
    const FwOptimalPoint p = solve(optimal, alpha);

    agrees(row, "q", p.fixed[p.best].overlap);
    agrees(row, "q_amp", p.fixed[p.amp].overlap);
    agrees(row, "mmse_weights", p.mmse_weights);
    agrees(row, "mmse_z", p.mmse);
    agrees(row, "eg", p.error);
    agrees(row, "eg_clean", p.error_clean);
    agrees(row, "i_nn", p.information_network);
    agrees(row, "i_lin", p.information_linear);
    agrees(row, "mmse_train", p.mmse_train);
    agrees(row, "lambda_ridge", p.ridge_penalty);
    agrees(row, "free_entropy_per_sample", p.free_entropy);
    TestCall(FwOptimalGetThresholds(optimal, &thresholds));
    agrees(row, "alpha_weak_recovery", thresholds.weak_recovery);
    if (reference_size(all)) assert_close(p.n_fixed, reference_size(all), 0.0);
    for (int k = 0; k < reference_size(all); k++)
      assert_close(p.fixed[k].overlap, reference_number(reference_at(all, k)), 1e-12);
    TestCall(FwOptimalDestroy(&optimal));
  }
  reference_close(&file);
}

/* Cui, Krzakala & Zdeborova 2023, stored output of their notebook: two layers of tanh(2x), no noise; and the values read
   off the figure for labels, below which no error of an estimator may lie */
static void published_numbers_of_two_layers(void **state)
{
  static const double alpha[]    = {0.10289855072463767, 1.0289855072463768, 2.057971014492754, 4.01304347826087, 7.1};
  static const double overlap[]  = {0.07337788532548392, 0.5581237364897884, 0.7748706226765788, 0.8932621631221874,
                                    0.9429102078746567};
  static const double ridge[][2] = {
    {0.1,    0.442536},
    {0.4632, 0.386484},
    {0.8263, 0.361930},
    {1.1895, 0.340603},
    {2.2789, 0.282122}
  };
  static const double logistic[][2] = {
    {0.1, 0.441938},
    {2.4, 0.267492},
    {4.7, 0.228159}
  };
  FwOptimal regression = curve_of(2, FW_ACTIVATION_TANH, 2.0,
                                  (FwChannel){FW_CHANNEL_GAUSSIAN, 0.0, 1.0, 1.0, PETSC_FALSE}, 0.1, 10.0),
            labels = curve_of(2, FW_ACTIVATION_TANH, 2.0, (FwChannel){FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE},
                              0.1, 10.0);

  (void)state;
  for (int i = 0; i < 5; i++) {
    const FwOptimalPoint p = solve(regression, alpha[i]);

    assert_close(p.fixed[0].overlap, overlap[i], 1e-8); /* alpha is printed with eight digits */
    assert_close(p.ridge_penalty, 0.37278944844792183, 1e-13);
    assert_close(isinf(p.information_network), 1, 0.0);
  }
  assert_close(solve(labels, 0.1).error, 0.441902, 1e-6);
  assert_close(solve(labels, 7.0).error, 0.211504, 1e-6);
  for (int i = 0; i < 3; i++) {
    const double least = solve(labels, logistic[i][0]).error;

    assert_close(least < logistic[i][1] && least > logistic[i][1] - 6e-4, 1, 0.0);
  }
  for (int i = 0; i < 5; i++) assert_close(solve(labels, ridge[i][0]).error < ridge[i][1], 1, 0.0);
  TestCall(FwOptimalDestroy(&regression));
  TestCall(FwOptimalDestroy(&labels));
}

/* --- identities --------------------------------------------------------------------------------------------------- */

static const FwChannel channels[] = {
  {FW_CHANNEL_GAUSSIAN, 0.2,  1.0, 1.0, PETSC_FALSE},
  {FW_CHANNEL_PROBIT,   0.1,  1.0, 1.0, PETSC_FALSE},
  {FW_CHANNEL_LOGISTIC, 0.0,  3.0, 1.0, PETSC_FALSE},
  {FW_CHANNEL_ABS,      0.05, 1.0, 1.0, PETSC_FALSE},
  {FW_CHANNEL_TANH,     0.1,  1.0, 2.0, PETSC_FALSE},
  {FW_CHANNEL_ERF,      0.3,  1.0, 1.0, PETSC_FALSE},
};

enum { CHANNELS = PETSC_STATIC_ARRAY_LENGTH(channels) };

/* 2 dpsi/dQ at fixed R is E g^2: the curve and the potential belong together */
static void the_potential_is_stationary_on_the_curve(void **state)
{
  const double R = 0.7, h = 1e-3;

  (void)state;
  for (int c = 0; c < CHANNELS; c++)
    for (double Q = 0.1; Q < 0.65; Q += 0.25) {
      double psi[5], square;

      for (int k = 0; k < 5; k++)
        TestCall(FwChannelMoments(&channels[c], Q + (k - 2) * h, R - Q - (k - 2) * h, &psi[k], &square));
      TestCall(FwChannelMoments(&channels[c], Q, R - Q, &psi[2], &square));
      assert_close((8.0 * (psi[3] - psi[1]) - psi[4] + psi[0]) / (6.0 * h) / square, 1.0, 1e-8);
    }
}

/* d(alpha i_nn)/d alpha = psi(R, 0) - psi(Q, V), which is what one more label tells */
static void information_grows_by_what_a_label_tells(void **state)
{
  const double alpha = 2.3, h = 1e-2;

  (void)state;
  for (int c = 0; c < CHANNELS; c++) {
    FwReduction  r = reduce(2, FW_ACTIVATION_TANH, 1.0);
    const double R = r.variance, eta2 = r.eta * r.eta;
    FwOptimal    optimal = curve_of(2, FW_ACTIVATION_TANH, 1.0, channels[c], 1.0, 3.0);
    double       total[5], known, given, square;

    for (int k = 0; k < 5; k++)
      total[k] = (alpha + (k - 2) * h) * solve(optimal, alpha + (k - 2) * h).information_network;
    const double q = solve(optimal, alpha).fixed[solve(optimal, alpha).best].overlap;

    TestCall(FwChannelMoments(&channels[c], R, 0.0, &known, &square));
    TestCall(FwChannelMoments(&channels[c], eta2 * q, R - eta2 * q, &given, &square));
    assert_close((8.0 * (total[3] - total[1]) - total[4] + total[0]) / (12.0 * h) / (known - given), 1.0, 1e-7);
    TestCall(FwOptimalDestroy(&optimal));
    TestCall(FwReductionDestroy(&r));
  }
}

/* d i_nn / d(1 / noise) = mmse_train / 2, and the penalty of ridge regression does not depend on alpha */
static void information_and_noise(void **state)
{
  const double s = 8.0, h     = 1e-2;
  double       i_nn[5], train = 0.0;

  (void)state;
  for (int k = 0; k < 5; k++) {
    const FwChannel channel = {FW_CHANNEL_GAUSSIAN, 1.0 / (s + (k - 2) * h), 1.0, 1.0, PETSC_FALSE};
    FwOptimal       optimal = curve_of(3, FW_ACTIVATION_ERF, 1.0, channel, 0.1, 9.0);

    i_nn[k] = solve(optimal, 1.7).information_network;
    if (k == 2) train = solve(optimal, 1.7).mmse_train;
    assert_close(solve(optimal, 0.1).ridge_penalty, solve(optimal, 9.0).ridge_penalty, 0.0);
    TestCall(FwOptimalDestroy(&optimal));
  }
  assert_close((8.0 * (i_nn[3] - i_nn[1]) - i_nn[4] + i_nn[0]) / (12.0 * h) / (0.5 * train), 1.0, 1e-8);
}

/* Interpolation on panels against the channel's own averages, and iteration to the same fixed point */
static void fixed_points_are_those_of_state_evolution(void **state)
{
  (void)state;
  for (int c = 0; c < CHANNELS; c++) {
    FwOptimal optimal = curve_of(1, FW_ACTIVATION_ERF, 1.0, channels[c], 0.05, 50.0);

    for (double alpha = 0.06; alpha < 50.0; alpha *= 4.7) {
      const FwOptimalPoint p = solve(optimal, alpha);
      double               q = 0.3, next;

      for (PetscInt i = 0; i < p.n_fixed; i++) {
        TestCall(FwOptimalStep(optimal, alpha, p.fixed[i].overlap, &next));
        assert_close(next, p.fixed[i].overlap, 1e-12);
      }
      if (FwChannelIsEven(&channels[c])) continue; /* slow where the overlap is just about to be more than 0 */
      for (int i = 0; i < 200; i++) TestCall(FwOptimalStep(optimal, alpha, q, &q));
      assert_close(q, p.fixed[p.amp].overlap, 1e-12);
    }
    TestCall(FwOptimalDestroy(&optimal));
  }
}

/* --- limits and transitions ----------------------------------------------------------------------------------------- */

static void a_linear_network_without_noise_is_solved_at_alpha_one(void **state)
{
  FwOptimal optimal =
    curve_of(3, FW_ACTIVATION_LINEAR, 1.0, (FwChannel){FW_CHANNEL_GAUSSIAN, 0.0, 1.0, 1.0, PETSC_FALSE}, 0.1, 10.0);

  (void)state;
  for (double alpha = 0.25; alpha < 4.0; alpha *= 2.0) {
    const FwOptimalPoint p = solve(optimal, alpha);

    assert_close(p.fixed[0].overlap, fmin(alpha, 1.0), 1e-15);
    assert_close(p.error, fmax(0.0, 1.0 - alpha), 1e-15);
    assert_close(isinf(p.information_network) && isinf(p.information_linear), 1, 0.0);
  }
  TestCall(FwOptimalDestroy(&optimal));
}

/* Noise, or depth, in which a network drowns: q = alpha eta^2 / noise, and each label tells eta^2 / (2 noise) */
static void noise_without_end_leaves_everything_unknown(void **state)
{
  (void)state;
  for (double noise = 1e10; noise < 1e305; noise *= 1e50) {
    FwOptimal optimal = curve_of(1, FW_ACTIVATION_ERF, 1.0,
                                 (FwChannel){FW_CHANNEL_GAUSSIAN, noise, 1.0, 1.0, PETSC_FALSE}, 0.1, 10.0),
              labels = curve_of(1, FW_ACTIVATION_ERF, 1.0, (FwChannel){FW_CHANNEL_PROBIT, noise, 1.0, 1.0, PETSC_FALSE},
                                0.1, 10.0);
    FwReduction          r = reduce(1, FW_ACTIVATION_ERF, 1.0);
    const FwOptimalPoint p = solve(optimal, 2.0);

    assert_close(p.fixed[0].overlap / (2.0 * r.eta * r.eta / noise), 1.0, 1e-9);
    assert_close(p.mmse, r.variance, 1e-9);
    assert_close(p.mmse_train, r.variance, 1e-9);
    assert_close(p.information_network / (0.5 * r.variance / noise), 1.0, 1e-9);
    assert_close(p.information_linear / (0.5 * r.eta * r.eta / noise), 1.0, 1e-9);
    assert_close(solve(labels, 2.0).information_network >= 0.0, 1, 0.0);
    TestCall(FwReductionDestroy(&r));
    TestCall(FwOptimalDestroy(&optimal));
    TestCall(FwOptimalDestroy(&labels));
  }
  const FwReduction drowned = {.eta = 1e-80, .gamma = 1.0, .variance = 1.0}; /* 800 layers of sign */
  FwOptimal         deep;

  TestCall(FwOptimalCreate(&drowned, &(FwChannel){FW_CHANNEL_GAUSSIAN, 0.1, 1.0, 1.0, PETSC_FALSE}, 0.1, 10.0, &deep));
  assert_close(solve(deep, 2.0).mmse_weights, 1.0, 1e-15);
  assert_close(solve(deep, 2.0).information_linear, 0.0, 1e-150);
  TestCall(FwOptimalDestroy(&deep));
}

/* alpha error -> 0.4417 (Gyorgyi & Tishby 1990); with a nonlinear part the error ends at its angle */
static void noiseless_labels_at_many_examples(void **state)
{
  FwReduction r = reduce(2, FW_ACTIVATION_TANH, 1.0);
  FwOptimal   linear =
              curve_of(0, FW_ACTIVATION_ERF, 1.0, (FwChannel){FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE}, 1.0, 1e6),
            deep = curve_of(2, FW_ACTIVATION_TANH, 1.0, (FwChannel){FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE}, 1.0,
                            1e6);

  (void)state;
  assert_close(1e6 * solve(linear, 1e6).error, 0.44170, 1e-5);
  assert_close(solve(deep, 1e6).error, atan2(sqrt(r.gamma), r.eta) / M_PI, 1e-5);
  TestCall(FwOptimalDestroy(&linear));
  TestCall(FwOptimalDestroy(&deep));
  TestCall(FwReductionDestroy(&r));
}

/* Real phase retrieval (Barbier et al. 2019): 1/2, 1 and 1.128; a little noise keeps several maxima, 0.00198 does not */
static void phase_retrieval_has_its_transitions(void **state)
{
  static const double noise[] = {0.0, 0.0019, 0.0021};
  FwOptimalThresholds t[3];

  (void)state;
  for (int i = 0; i < 3; i++) {
    FwOptimal optimal =
      curve_of(0, FW_ACTIVATION_ERF, 1.0, (FwChannel){FW_CHANNEL_ABS, noise[i], 1.0, 1.0, PETSC_FALSE}, 0.3, 2.0);

    TestCall(FwOptimalGetThresholds(optimal, &t[i]));
    assert_close(t[i].weak_recovery, 0.5 * pow(1.0 + noise[i], 2), 1e-15);
    if (i == 0) {
      const FwOptimalPoint before = solve(optimal, 0.9), between = solve(optimal, 1.1), after = solve(optimal, 1.2);

      assert_close(before.error > 0.1 && before.error == before.error_amp, 1, 0.0);
      assert_close(between.error, 0.0, 0.0); /* the global maximum, which message passing does not reach */
      assert_close(between.error_amp > 0.1, 1, 0.0);
      assert_close(after.error_amp, 0.0, 0.0);
      assert_close(solve(optimal, 0.49).fixed[0].is_stable, 1, 0.0);
      assert_close(solve(optimal, 0.51).amp, 1, 0.0);
    }
    TestCall(FwOptimalDestroy(&optimal));
  }
  assert_close(t[0].spinodal_high, 1.1284, 5e-4);
  assert_close(t[0].information_theoretic, 1.0, 0.0);
  assert_close(t[1].spinodal_low < t[1].information_theoretic && t[1].information_theoretic < t[1].spinodal_high, 1,
               0.0);
  assert_close(isnan(t[2].spinodal_high), 1, 0.0);
}

/* At the information-theoretic threshold both maxima are equally high */
static void two_maxima_change_places(void **state)
{
  FwOptimal optimal =
    curve_of(0, FW_ACTIVATION_ERF, 1.0, (FwChannel){FW_CHANNEL_ABS, 3e-4, 1.0, 1.0, PETSC_FALSE}, 0.3, 2.0);
  FwOptimalThresholds t;

  (void)state;
  TestCall(FwOptimalGetThresholds(optimal, &t));
  const FwOptimalPoint at    = solve(optimal, t.information_theoretic),
                       below = solve(optimal, t.information_theoretic - 1e-3),
                       above = solve(optimal, t.information_theoretic + 1e-3);

  assert_close(at.n_fixed, 4, 0.0);
  assert_close(at.fixed[3].free_entropy - at.fixed[1].free_entropy, 0.0, 1e-12);
  assert_close(below.best, 1, 0.0);
  assert_close(above.best, 3, 0.0);
  assert_close(above.amp, 1, 0.0);
  TestCall(FwOptimalDestroy(&optimal));
}

/* A layer that is even keeps nothing linear: no alpha helps */
static void what_is_even_cannot_be_learnt(void **state)
{
  FwOptimal optimal =
    curve_of(1, FW_ACTIVATION_QUADRATIC, 1.0, (FwChannel){FW_CHANNEL_GAUSSIAN, 0.1, 1.0, 1.0, PETSC_FALSE}, 1.0, 1e3);

  (void)state;
  assert_close(solve(optimal, 1e3).fixed[0].overlap, 0.0, 0.0);
  assert_close(solve(optimal, 1e3).error, 2.1, 1e-13); /* Var z^2 = 2 */
  TestCall(FwOptimalDestroy(&optimal));
}

static void bad_requests_are_refused(void **state)
{
  FwReduction     relu = reduce(1, FW_ACTIVATION_RELU, 1.0), erf_layer = reduce(1, FW_ACTIVATION_ERF, 1.0);
  const FwChannel sign  = {FW_CHANNEL_PROBIT, 0.0, 1.0, 1.0, PETSC_FALSE},
                  wrong = {FW_CHANNEL_GAUSSIAN, -1.0, 1.0, 1.0, PETSC_FALSE},
                  faint = {FW_CHANNEL_TANH, 1e-12, 1.0, 1.0, PETSC_FALSE};
  FwOptimal      optimal;
  FwOptimalPoint point;

  (void)state;
  assert_int_equal(FwOptimalCreate(&relu, &sign, 1.0, 2.0, &optimal), FW_ERR_INPUT);
  assert_int_equal(FwOptimalCreate(&erf_layer, &wrong, 1.0, 2.0, &optimal), FW_ERR_INPUT);
  assert_int_equal(FwOptimalCreate(&erf_layer, &faint, 1.0, 2.0, &optimal), FW_ERR_INPUT);
  assert_int_equal(FwOptimalCreate(&erf_layer, &sign, 0.0, 2.0, &optimal), FW_ERR_INPUT);
  TestCall(FwOptimalCreate(&erf_layer, &sign, 1.0, 2.0, &optimal));
  assert_int_equal(FwOptimalSolve(optimal, 3.0, &point), FW_ERR_INPUT);
  FwErrorClear();
  TestCall(FwOptimalDestroy(&optimal));
  TestCall(FwReductionDestroy(&relu));
  TestCall(FwReductionDestroy(&erf_layer));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reference_rows),
    cmocka_unit_test(published_numbers_of_two_layers),
    cmocka_unit_test(the_potential_is_stationary_on_the_curve),
    cmocka_unit_test(information_grows_by_what_a_label_tells),
    cmocka_unit_test(information_and_noise),
    cmocka_unit_test(fixed_points_are_those_of_state_evolution),
    cmocka_unit_test(a_linear_network_without_noise_is_solved_at_alpha_one),
    cmocka_unit_test(noise_without_end_leaves_everything_unknown),
    cmocka_unit_test(noiseless_labels_at_many_examples),
    cmocka_unit_test(phase_retrieval_has_its_transitions),
    cmocka_unit_test(two_maxima_change_places),
    cmocka_unit_test(what_is_even_cannot_be_learnt),
    cmocka_unit_test(bad_requests_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("optimal", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
