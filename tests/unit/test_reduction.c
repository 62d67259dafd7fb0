/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Constants of the equivalent linear model: closed forms, reference values, limits.
 * ranks: 1
 */

#include <finwidth/reduction.h>
#include "../support/collective_assert.h"
#include "../support/optimal_reference.h"

enum { DEEP = 8 };

static FwReduction reduce(PetscInt depth, FwActivationType type, double gain, double input_variance)
{
  PetscInt    activation[DEEP];
  double      gains[DEEP];
  FwReduction r;

  for (PetscInt l = 0; l < DEEP; l++) {
    activation[l] = type;
    gains[l]      = gain;
  }
  const FwDeepTarget target = {depth, activation, gains, input_variance, 1.0};

  TestCall(FwReductionCreate(&target, &r));
  return r;
}

/* erf, sin, sign, relu, linear: s is the second moment of the units below */
static void one_layer_of_closed_forms(void **state)
{
  (void)state;
  for (double s = 0.1; s < 20.0; s *= 2.3) {
    FwReduction r = reduce(1, FW_ACTIVATION_ERF, 1.0, s);

    assert_close(r.sigma[1], M_2_PI * asin(2.0 * s / (1.0 + 2.0 * s)), 1e-14);
    assert_close(r.rho[0], 2.0 / sqrt(M_PI * (1.0 + 2.0 * s)), 1e-14);
    TestCall(FwReductionDestroy(&r));
    r = reduce(1, FW_ACTIVATION_SIN, 1.0, s);
    assert_close(r.sigma[1], 0.5 * (1.0 - exp(-2.0 * s)), 1e-14);
    assert_close(r.rho[0], exp(-0.5 * s), 1e-14);
    TestCall(FwReductionDestroy(&r));
    r = reduce(1, FW_ACTIVATION_SIGN, 1.0, s);
    assert_close(r.sigma[1], 1.0, 1e-14);
    assert_close(r.rho[0], sqrt(M_2_PI / s), 1e-14);
    TestCall(FwReductionDestroy(&r));
    r = reduce(1, FW_ACTIVATION_RELU, 1.0, s);
    assert_close(r.sigma[1], 0.5 * s, 1e-14 * s);
    assert_close(r.rho[0], 0.5, 1e-14);
    assert_close(r.mean[1], 0.5 * s / M_PI, 1e-14 * s);
    TestCall(FwReductionDestroy(&r));
    r = reduce(DEEP, FW_ACTIVATION_LINEAR, 1.0, s);
    assert_close(r.sigma[DEEP], s, 0.0);
    assert_close(r.eta, sqrt(s), 1e-15 * s);
    assert_close(r.gamma, 0.0, 0.0);
    TestCall(FwReductionDestroy(&r));
  }
}

/* relu has a kernel in closed form: mean_l = k(r, c, r) and rho_l^2 = its slope, (pi - acos(c / r)) / (2 pi) */
static void deep_relu_follows_the_arc_cosine_kernel(void **state)
{
  FwReduction r     = reduce(DEEP, FW_ACTIVATION_RELU, 1.3, 1.0);
  double      sigma = 1.0, mean = 0.0;

  (void)state;
  for (int l = 0; l < DEEP; l++) {
    const double angle = acos(mean / sigma);

    assert_close(r.rho[l] / (1.3 * sqrt((M_PI - angle) / (2.0 * M_PI))), 1.0, 1e-13);
    mean = 1.69 * sigma / (2.0 * M_PI) * (sin(angle) + (M_PI - angle) * cos(angle));
    sigma *= 0.5 * 1.69;
    assert_close(r.sigma[l + 1] / sigma, 1.0, 1e-14);
    assert_close(r.mean[l + 1] / mean, 1.0, 1e-13);
  }
  TestCall(FwReductionDestroy(&r));
}

/* phi_l(g u) with unit weights is phi_l(u) on units g^2 as strong; and tanh(g u) / g tends to u */
static void a_gain_scales_the_units_below(void **state)
{
  FwReduction wide = reduce(1, FW_ACTIVATION_TANH, 2.0, 1.0), same = reduce(1, FW_ACTIVATION_TANH, 1.0, 4.0),
              weak = reduce(1, FW_ACTIVATION_TANH, 1e-3, 1.0), hard = reduce(1, FW_ACTIVATION_TANH, 1e9, 1.0);

  (void)state;
  assert_close(wide.sigma[1], same.sigma[1], 1e-15);
  assert_close(wide.eta, same.eta, 1e-15);
  assert_close(wide.gamma / same.gamma, 1.0, 1e-13);
  /* tanh u = u - u^3/3: the rest is g^6 / 9 (E z^6 - 9) = 2/3 g^6, of a layer whose variance is g^2 */
  assert_close(weak.gamma / (2.0 / 3.0 * 1e-18), 1.0, 1e-4);
  assert_close(hard.sigma[1], 1.0, 2e-9); /* sign */
  assert_close(hard.eta, sqrt(M_2_PI), 1e-14);
  TestCall(FwReductionDestroy(&wide));
  TestCall(FwReductionDestroy(&same));
  TestCall(FwReductionDestroy(&weak));
  TestCall(FwReductionDestroy(&hard));
}

/* A layer of relu and one of tanh: exchanged they are another network, with a bias or none */
static void what_is_odd_above_a_layer_that_is_not_has_a_bias(void **state)
{
  const PetscInt first[] = {FW_ACTIVATION_RELU, FW_ACTIVATION_TANH}, last[] = {FW_ACTIVATION_TANH, FW_ACTIVATION_RELU};
  const double   gain[] = {1.0, 1.0};
  FwReduction    a, b;

  (void)state;
  TestCall(FwReductionCreate(&(FwDeepTarget){2, first, gain, 1.0, 1.0}, &a));
  TestCall(FwReductionCreate(&(FwDeepTarget){2, last, gain, 1.0, 3.0}, &b));
  assert_close(a.is_odd || b.is_odd, 0, 0.0);
  assert_close(a.mean[2] > 0.05, 1, 0.0);
  assert_close(b.mean[1], 0.0, 0.0);
  assert_close(b.bias, 3.0 * 0.39429449039784115 / (2.0 * M_PI), 1e-14);
  assert_close(b.eta * b.eta + b.gamma + b.bias, 3.0 * 0.5 * 0.39429449039784115, 1e-14);
  TestCall(FwReductionDestroy(&a));
  TestCall(FwReductionDestroy(&b));
}

/* A gain of 100 above units that share almost everything, c of c + r: only what they do not share damps,
   rho^2 = g^2 e^{-g^2 r} (1 + e^{-2 g^2 c}) / 2 */
static void sin_above_a_shared_part_keeps_its_waves(void **state)
{
  const PetscInt activation[] = {FW_ACTIVATION_SOFTPLUS, FW_ACTIVATION_SIN};
  const double   gain[] = {0.01, 100.0}, slow[] = {0.01, 0.003};
  FwReduction    r;

  (void)state;
  TestCall(FwReductionCreate(&(FwDeepTarget){2, activation, gain, 1.0, 1.0}, &r));
  const double shared = r.mean[1], rest = r.sigma[1] - r.mean[1];

  assert_close(r.rho[1] / (100.0 * exp(-0.5e4 * rest) * sqrt(0.5 * (1.0 + exp(-2e4 * shared)))), 1.0, 1e-10);
  assert_close(r.rho[1], 62.40, 0.01);
  assert_close(r.sigma[2], 0.5, 1e-15);
  TestCall(FwReductionDestroy(&r));
  /* sin u = u - u^3 / 6 of a shared part c with a rest r << c: the linear part is 1 - g^2 c, the rest (g^2 r)^2 g^2 c / 2 */
  TestCall(FwReductionCreate(&(FwDeepTarget){2, activation, slow, 1.0, 1.0}, &r));
  assert_close(r.epsilon[1] / (0.5 * 9e-6 * shared * pow(9e-6 * rest, 2)), 1.0, 1e-4);
  TestCall(FwReductionDestroy(&r));
}

static void reference_networks(void **state)
{
  Reference file = reference_open("optimal.json"), rows = reference_get(file, "rows");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    Reference              row = reference_at(rows, i), layers = reference_get(row, "layers");
    const ReferenceNetwork n = reference_network(row);
    FwReduction            r;

    TestCall(FwReductionCreate(&(FwDeepTarget){n.depth, n.activation, n.gain, 1.0, 1.0}, &r));
    for (int l = 0; l < n.depth; l++) {
      assert_close(r.sigma[l + 1], reference_number(reference_at(reference_get(layers, "sigma"), l + 1)), 1e-14);
      assert_close(r.mean[l + 1], reference_number(reference_at(reference_get(layers, "mean_kernel"), l + 1)), 1e-14);
      assert_close(r.rho[l], reference_number(reference_at(reference_get(layers, "rho"), l)), 1e-14);
      assert_close(r.epsilon[l], reference_number(reference_at(reference_get(layers, "eps"), l)), 1e-14);
    }
    assert_close(r.eta, reference_value(row, "eta"), 1e-14);
    assert_close(r.gamma, reference_value(row, "gamma"), 1e-14);
    assert_close(r.bias, reference_value(row, "bias_var"), 1e-14);
    assert_close(r.variance, reference_value(row, "R"), 1e-14);
    TestCall(FwReductionDestroy(&r));
  }
  reference_close(&file);
}

static void bad_targets_are_refused(void **state)
{
  const PetscInt activation[] = {FW_ACTIVATION_TANH}, none[] = {99};
  const double   gain[] = {1.0}, wrong[] = {-1.0};
  FwReduction    r;

  (void)state;
  assert_int_equal(FwReductionCreate(&(FwDeepTarget){1, activation, wrong, 1.0, 1.0}, &r), FW_ERR_INPUT);
  assert_int_equal(FwReductionCreate(&(FwDeepTarget){1, none, gain, 1.0, 1.0}, &r), FW_ERR_INPUT);
  assert_int_equal(FwReductionCreate(&(FwDeepTarget){1, activation, gain, 0.0, 1.0}, &r), FW_ERR_INPUT);
  assert_int_equal(FwReductionCreate(&(FwDeepTarget){1, activation, gain, 1.0, INFINITY}, &r), FW_ERR_INPUT);
  FwErrorClear();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_layer_of_closed_forms),
    cmocka_unit_test(deep_relu_follows_the_arc_cosine_kernel),
    cmocka_unit_test(a_gain_scales_the_units_below),
    cmocka_unit_test(what_is_odd_above_a_layer_that_is_not_has_a_bias),
    cmocka_unit_test(sin_above_a_shared_part_keeps_its_waves),
    cmocka_unit_test(reference_networks),
    cmocka_unit_test(bad_targets_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("reduction", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
