/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Outputs of random deep linear networks.
 * ranks: 1
 */

#include "../support/mixture_reference.h"

#include <finwidth/goodness.h>
#include <finwidth/mixture_outputs.h>
#include <finwidth/mixture_moments.h>
#include <finwidth/moments.h>

enum { N = 20000, D = 2, P = 3 };

static const double inputs_of_three[] = {1.0, 2.0, 0.5, -1.0, 1.5, 0.5, 0.3, 0.2, 1.0, 1.0, 0.0, -2.0};
static const double biases[]          = {0.5, 0.2, 0.3, 0.1};
static const double widths[]          = {20.0, 35.0, 28.0};

static FwMixtureInputs MakeInputs(const double bias[])
{
  FwMixtureInputs inputs;

  TestCall(FwMixtureInputsCreate(P, 4, inputs_of_three, 1.3, 3, bias, &inputs));
  return inputs;
}

static double *DrawAll(const FwMixtureLaw *law, FwMixtureSampler sampler, const FwMixtureInputs *inputs)
{
  double *x, *m, *s, *log_unit;

  TestCall(PetscMalloc3(N * D, &x, N * D * D, &m, N, &log_unit));
  TestCall(PetscMalloc1(N * D * P, &s));
  TestCall(FwMixtureDrawOutputs(law, sampler, inputs, 3, 0, N, x, m, s, log_unit));
  for (int i = 0; i < N * D * P; i++) s[i] *= exp(log_unit[i / (D * P)]);
  TestCall(PetscFree3(x, m, log_unit));
  return s;
}

/* E S_ip S_jq = delta_ij (K_pq + sum s_l^2), E S^4 as 1.6 of the theory note has it, of both samplers; 4 standard errors */
static void biases_give_the_exact_second_and_fourth_moments(void **state)
{
  FwMixtureLaw    law    = make_law(D, 3, widths, 0.0);
  FwMixtureInputs inputs = MakeInputs(biases);

  (void)state;
  for (int sampler = 0; sampler < 2; sampler++) {
    double *s = DrawAll(&law, sampler ? FW_MIXTURE_BRUTE : FW_MIXTURE_BARTLETT, &inputs), *product;

    TestCall(PetscMalloc1(N, &product));
    for (int p = 0; p < P; p++) {
      double exact[2];

      FwMixtureOutputExact(&law, &inputs, p, exact);
      for (int power = 2; power <= 4; power += 2) {
        for (int k = 0; k < N; k++) product[k] = pow(s[(k * D + 1) * P + p], power);
        const FwEstimated mean = FwMean(N, 1, product);

        assert_close((mean.value - exact[power / 2 - 1]) / mean.error_bar, 0.0, 4.0);
      }
    }
    for (int k = 0; k < N; k++) product[k] = s[k * D * P] * s[k * D * P + 2];
    double kernel = 1.1; /* sum of the biases' variances */

    for (int c = 0; c < 4; c++) kernel += inputs_of_three[c] * inputs_of_three[8 + c] / (4.0 * 1.3);
    const FwEstimated along = FwMean(N, 1, product);

    assert_close((along.value - kernel) / along.error_bar, 0.0, 4.0);
    for (int k = 0; k < N; k++) product[k] = s[k * D * P] * s[k * D * P + P];
    const FwEstimated across = FwMean(N, 1, product);

    assert_close(across.value / across.error_bar, 0.0, 4.0);
    TestCall(PetscFree(product));
    TestCall(PetscFree(s));
  }
  TestCall(FwMixtureInputsDestroy(&inputs));
  TestCall(FwMixtureLawDestroy(&law));
}

/* E S_ip^2 S_jq^2 with biases against samples of every weight; without biases the correlations are those of the closed form */
static void products_of_squares_are_exact_with_biases(void **state)
{
  FwMixtureLaw    law  = make_law(D, 3, widths, 0.0);
  FwMixtureInputs with = MakeInputs(biases), without = MakeInputs(NULL);
  double         *s = DrawAll(&law, FW_MIXTURE_BRUTE, &with), *product, along = 0.0, square[2] = {0.0};

  (void)state;
  TestCall(PetscMalloc1(N, &product));
  for (int other = 0; other < 2; other++) {
    for (int k = 0; k < N; k++) product[k] = pow(s[k * D * P] * s[k * D * P + other * P + 2], 2.0);
    const FwEstimated mean = FwMean(N, 1, product);

    assert_close(
      (mean.value - FwMixtureOutputProduct(&law, &with, other ? PETSC_FALSE : PETSC_TRUE, 0, 2)) / mean.error_bar, 0.0,
      4.0);
  }
  for (int c = 0; c < 4; c++) {
    along += inputs_of_three[c] * inputs_of_three[8 + c];
    square[0] += inputs_of_three[c] * inputs_of_three[c];
    square[1] += inputs_of_three[8 + c] * inputs_of_three[8 + c];
  }
  const FwMixtureOutputMoments closed = FwMixtureOutputs(&law, along / sqrt(square[0] * square[1]));

  assert_close(FwMixtureOutputCorrelation(&law, &without, PETSC_TRUE, 0, 2), closed.squares_inputs, 1e-13);
  assert_close(FwMixtureOutputCorrelation(&law, &without, PETSC_FALSE, 0, 2), closed.squares_different, 1e-13);
  assert_close(FwMixtureOutputCorrelation(&law, &without, PETSC_FALSE, 0, 0), closed.squares_same, 1e-13);
  TestCall(PetscFree(product));
  TestCall(PetscFree(s));
  TestCall(FwMixtureInputsDestroy(&with));
  TestCall(FwMixtureInputsDestroy(&without));
  TestCall(FwMixtureLawDestroy(&law));
}

/* log det of the D x D block of outputs at inputs 0 and 1: sees matrix law and kernel at once */
static double *SortedDeterminants(const double s[])
{
  double *value;

  TestCall(PetscMalloc1(N, &value));
  for (int k = 0; k < N; k++) {
    const double *b = s + k * D * P;

    value[k] = log(fabs(b[0] * b[P + 1] - b[1] * b[P]));
  }
  TestCall(PetscSortReal(N, value));
  return value;
}

static void samplers_agree_on_determinants_of_outputs(void **state)
{
  const double narrow[] = {20.0, 35.0, 8.0};
  FwMixtureLaw law = make_law(D, 3, widths, 0.0), wrong = make_law(D, 3, narrow, 0.0);

  (void)state;
  for (int with_bias = 0; with_bias < 2; with_bias++) {
    FwMixtureInputs inputs = MakeInputs(with_bias ? biases : NULL);
    double         *s[3]   = {DrawAll(&law, FW_MIXTURE_BRUTE, &inputs), DrawAll(&law, FW_MIXTURE_BARTLETT, &inputs),
                              DrawAll(&wrong, FW_MIXTURE_BARTLETT, &inputs)};
    double         *value[3];

    for (int k = 0; k < 3; k++) value[k] = SortedDeterminants(s[k]);
    assert_close(FwKolmogorovTwo(N, value[0], N, value[1]).p_value > 1e-4, 1, 0.0);
    assert_close(FwCramerTwo(N, value[0], N, value[1]).p_value > 1e-4, 1, 0.0);
    assert_close(FwKolmogorovTwo(N, value[0], N, value[2]).p_value < 1e-4, 1, 0.0); /* one layer of another width */
    for (int k = 0; k < 3; k++) {
      TestCall(PetscFree(s[k]));
      TestCall(PetscFree(value[k]));
    }
    TestCall(FwMixtureInputsDestroy(&inputs));
  }
  TestCall(FwMixtureLawDestroy(&law));
  TestCall(FwMixtureLawDestroy(&wrong));
}

static void limit_refuses_biases_and_dependent_inputs_are_refused(void **state)
{
  const double    twice[] = {1.0, 2.0, 2.0, 4.0};
  FwMixtureLaw    law     = make_law(D, 0, NULL, 0.5);
  FwMixtureInputs inputs  = MakeInputs(biases), bad;
  double          x[D], m[D * D], s[D * P], log_unit;

  (void)state;
  assert_close(FwMixtureDrawOutputs(&law, FW_MIXTURE_BARTLETT, &inputs, 1, 0, 1, x, m, s, &log_unit), FW_ERR_INPUT,
               0.0);
  FwErrorClear();
  assert_close(FwMixtureDrawOutputs(&law, FW_MIXTURE_BRUTE, &inputs, 1, 0, 1, x, m, s, &log_unit), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  assert_close(FwMixtureInputsCreate(2, 2, twice, 1.0, 0, NULL, &bad), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwMixtureInputsDestroy(&bad));
  TestCall(FwMixtureInputsDestroy(&inputs));
  TestCall(FwMixtureLawDestroy(&law));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(products_of_squares_are_exact_with_biases),
    cmocka_unit_test(biases_give_the_exact_second_and_fourth_moments),
    cmocka_unit_test(samplers_agree_on_determinants_of_outputs),
    cmocka_unit_test(limit_refuses_biases_and_dependent_inputs_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("mixture outputs", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
