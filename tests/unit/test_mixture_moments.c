/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Exact moments: every row of the reference file, orders beyond it by hand, predicted distances against exact ones.
 * ranks: 1
 */

#include "../support/mixture_reference.h"

#include <finwidth/mixture_density.h>
#include <finwidth/mixture_moments.h>

static Reference reference;

/* Within 1e-8 of a key of the row, where it has one */
static void assert_row(Reference row, const char key[], double actual)
{
  const double expected = reference_value(row, key);

  if (!isnan(expected)) assert_close(isinf(expected) ? actual == expected : actual / expected, 1.0, 1e-8);
}

/* As assert_row, of a number that may vanish */
static void assert_small(Reference row, const char key[], double actual)
{
  const double expected = reference_value(row, key);

  if (!isnan(expected)) assert_close(actual, expected, 1e-8);
}

/* "E_p211" and "mult_211" of the partition (2, 1, 1) */
static void KeyOf(const FwPartitions *p, PetscInt i, const char head[], char key[32])
{
  int n = snprintf(key, 32, "%s", head);

  for (PetscInt j = 0; j < p->order && p->part[i * p->order + j]; j++)
    n += snprintf(key + n, 32 - (size_t)n, "%d", (int)p->part[i * p->order + j]);
}

static PetscInt LengthOf(const FwPartitions *p, PetscInt i)
{
  PetscInt n = 0;

  while (n < p->order && p->part[i * p->order + n]) n++;
  return n;
}

static void CheckMoments(Reference row, const FwMixtureLaw *law)
{
  FwPartitions p;
  double       moment[11];
  char         key[32];

  TestCall(FwPartitionsCreate(4, &p));
  TestCall(FwMixtureMoments(law, &p, moment));
  for (PetscInt i = 0; i < p.n; i++) {
    KeyOf(&p, i, "E_p", key);
    assert_row(row, key, moment[i]);
    KeyOf(&p, i, "mult_", key);
    assert_row(row, key, FwMixtureMultiplier(law, LengthOf(&p, i), p.part + i * p.order));
  }
  TestCall(FwPartitionsDestroy(&p));
}

static void CheckOutputs(Reference row, const FwMixtureLaw *law)
{
  const FwMixtureOutputMoments o     = FwMixtureOutputs(law, 0.0);
  const PetscInt               two[] = {2}, one_one[] = {1, 1};
  const double                 m2 = FwMixtureMultiplier(law, 1, two), m11 = FwMixtureMultiplier(law, 2, one_one);

  assert_row(row, "E_S2", FwMixtureOutputMoment(law, 1));
  assert_row(row, "E_S4", FwMixtureOutputMoment(law, 2));
  assert_row(row, "E_S6", FwMixtureOutputMoment(law, 3));
  assert_row(row, "E_S8", FwMixtureOutputMoment(law, 4));
  assert_row(row, "kurtosis", o.kurtosis);
  assert_row(row, "mardia_kurtosis_single_input", o.mardia);
  assert_row(row, "EQ11sq", m2);
  assert_row(row, "EQ11Q22", (m2 + 2.0 * m11) / 3.0);
  assert_small(row, "EQ12sq", (m2 - m11) / 3.0);
  assert_small(row, "corr_sq_same_input", o.squares_same);
  assert_small(row, "corr_sq_orthogonal_inputs_same_output", o.squares_inputs);
  assert_small(row, "corr_sq_orthogonal_inputs_diff_output", o.squares_different);
}

static void CheckLogarithms(Reference row, const FwMixtureLaw *law)
{
  double mean = 0.0, variance = 0.0, determinant = 1.0;

  for (PetscInt i = 0; i < law->n_output; i++) {
    double cumulant[3];

    FwMixtureLogCumulants(law, i, cumulant);
    mean += cumulant[0];
    variance += cumulant[1];
  }
  assert_small(row, "E_logdet", mean);
  assert_small(row, "Var_logdet", variance);
  assert_row(row, "E_Qinv_coeff", FwMixtureInverse(law));
  PetscInt column[FW_MOMENT_ORDER_MAX];
  for (PetscInt i = 0; i < law->n_output; i++) column[i] = 1;
  determinant = FwMixtureMultiplier(law, law->n_output, column); /* C_(1..1) is proportional to the determinant */
  assert_row(row, "E_detQ", determinant);
}

static void CheckTable(const char table[], int n_least)
{
  const Reference rows = reference_get(reference, table);

  assert_close(reference_size(rows) >= n_least, 1, 0.0);
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference row = reference_at(rows, i);
    FwMixtureLaw    law = reference_law(row, (PetscInt)reference_value(row, "D"));

    CheckMoments(row, &law);
    CheckOutputs(row, &law);
    CheckLogarithms(row, &law);
    TestCall(FwMixtureLawDestroy(&law));
  }
}

static void finite_widths_give_the_reference_moments(void **state)
{
  (void)state;
  CheckTable("moments_finite", 8);
}

static void limit_gives_the_reference_moments(void **state)
{
  (void)state;
  CheckTable("moments_limit", 10);
}

/* One output: E q^k = prod_l prod_{j < k} (1 + 2j/N_l) for every partition of k, orders 1 .. 12 */
static void one_output_of_any_order(void **state)
{
  const double width[] = {7.0, 30.0};
  FwMixtureLaw law     = make_law(1, 2, width, 0.2);
  FwPartitions p;
  double      *moment;

  (void)state;
  TestCall(FwPartitionsCreate(12, &p));
  assert_close(p.n, 1 + 2 + 3 + 5 + 7 + 11 + 15 + 22 + 30 + 42 + 56 + 77, 0.0);
  TestCall(PetscMalloc1(p.n, &moment));
  TestCall(FwMixtureMoments(&law, &p, moment));
  for (PetscInt i = 0; i < p.n; i++) {
    double k = 0.0, expected;

    for (PetscInt j = 0; j < p.order; j++) k += (double)p.part[i * p.order + j];
    expected = exp(0.2 * k * (k - 1.0));
    for (double j = 0.0; j < k; j += 1.0) expected *= (1.0 + 2.0 * j / 7.0) * (1.0 + 2.0 * j / 30.0);
    assert_close(moment[i] / expected, 1.0, 1e-12);
  }
  TestCall(PetscFree(moment));
  TestCall(FwPartitionsDestroy(&p));
  TestCall(FwMixtureLawDestroy(&law));
}

/* E tr (W^-1)-free check at high order: Q of a single factor has E (tr Q)^k = prod_{j < k} (D + 2j/N), tr Q being a
   chi-square with ND degrees of freedom over N */
static void trace_of_one_wishart_matrix_is_a_chi_square(void **state)
{
  const double width = 9.0;
  FwMixtureLaw law   = make_law(4, 1, &width, 0.0);
  FwPartitions p;
  double      *moment, expected = 1.0;
  PetscInt     at = 0;

  (void)state;
  TestCall(FwPartitionsCreate(12, &p));
  TestCall(PetscMalloc1(p.n, &moment));
  TestCall(FwMixtureMoments(&law, &p, moment));
  for (PetscInt k = 1; k <= 12; k++) {
    expected *= 4.0 + 2.0 * (double)(k - 1) / width;
    while (LengthOf(&p, at) < k) at++; /* (1, .., 1) is the last one of its order */
    assert_close(moment[at] / expected, 1.0, 1e-11);
  }
  TestCall(PetscFree(moment));
  TestCall(FwPartitionsDestroy(&p));
  TestCall(FwMixtureLawDestroy(&law));
}

/* Widths N and the limit of the same a: N times the exact distance against the first order, and the reference's */
static void predicted_distance_is_the_first_order_of_the_exact_one(void **state)
{
  const Reference rows = reference_get(reference_get(reference, "convergence"), "d1");

  (void)state;
  for (int i = 0; i < reference_size(rows); i++) {
    const Reference row = reference_at(rows, i);
    const double    N = reference_value(row, "N"), a = reference_value(row, "a");
    FwMixtureLaw    law = make_deep_law(1, N, (int)reference_value(row, "L")), limit = make_law(1, 0, NULL, a);
    double          distance;

    TestCall(FwMixtureDistanceFirstOrder(&law, &limit, FW_MIXTURE_LOG_Q, &distance));
    assert_close(N * distance / reference_value(row, "N_KS_theory"), 1.0, 1e-4);
    assert_close(distance / reference_value(row, "KS"), 1.0, 1.2 / N);
    assert_close(FwMixtureLawA(&law), a, 1e-12);
    TestCall(FwMixtureLawDestroy(&law));
    TestCall(FwMixtureLawDestroy(&limit));
  }
}

/* A layer that the limit keeps is no part of the difference, a sum 1/N that is off by half a layer is; of another law nothing
   is said */
static void predicted_distance_knows_the_limit_it_is_from(void **state)
{
  const double widths[] = {60.0, 60.0, 5.0, 60.0, 60.0}, inverse = 1.0 / 60.0;
  const struct {
    double kept, a, tolerance; /* NaN: not said */
  } cases[] = {
    {5.0, 4.0 * inverse, 0.02},
    {5.0, 3.5 * inverse, 0.02},
    {5.0, 0.5,           NAN },
    {6.0, 4.0 * inverse, NAN },
  };
  FwMixtureLaw law = make_law(2, 5, widths, 0.0);

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(cases); i++) {
    for (int det = 0; det < 2; det++) {
      const FwMixtureVariable variable = det ? FW_MIXTURE_LOG_DET : FW_MIXTURE_LOG_Q;
      FwMixtureLaw            limit    = make_law(2, 1, &cases[i].kept, cases[i].a);
      FwMixtureDensity        one, two;
      double                  distance, predicted;

      TestCall(FwMixtureDensityCreate(&law, variable, &one));
      TestCall(FwMixtureDensityCreate(&limit, variable, &two));
      TestCall(FwMixtureDensityDistance(one, two, &distance));
      TestCall(FwMixtureDistanceFirstOrder(&law, &limit, variable, &predicted));
      if (isnan(cases[i].tolerance))
        assert_true(isnan(predicted));
      else
        assert_close(predicted / distance, 1.0, cases[i].tolerance);
      TestCall(FwMixtureDensityDestroy(&one));
      TestCall(FwMixtureDensityDestroy(&two));
      TestCall(FwMixtureLawDestroy(&limit));
    }
  }
  TestCall(FwMixtureLawDestroy(&law));
}

/* Two outputs, N = 128, a = 1: N times the distance of log det is .478 (theory note), that of the first order .475 */
static void predicted_distance_of_the_determinant(void **state)
{
  FwMixtureLaw     law = make_deep_law(2, 128.0, 128), limit = make_law(2, 0, NULL, 1.0);
  FwMixtureDensity one, two;
  double           distance, predicted;

  (void)state;
  TestCall(FwMixtureDensityCreate(&law, FW_MIXTURE_LOG_DET, &one));
  TestCall(FwMixtureDensityCreate(&limit, FW_MIXTURE_LOG_DET, &two));
  TestCall(FwMixtureDensityDistance(one, two, &distance));
  TestCall(FwMixtureDistanceFirstOrder(&law, &limit, FW_MIXTURE_LOG_DET, &predicted));
  assert_close(predicted / distance, 1.0, 0.02);
  TestCall(FwMixtureDensityDestroy(&one));
  TestCall(FwMixtureDensityDestroy(&two));
  TestCall(FwMixtureLawDestroy(&law));
  TestCall(FwMixtureLawDestroy(&limit));
}

/* The pair scheme's own moments: E C_(2) of D = 3 at a = 1 is off by .08 % at n = 32 steps; E Q = 1 exactly */
static void moments_of_the_pair_scheme_show_its_bias(void **state)
{
  FwMixtureLaw law = make_law(3, 0, NULL, 1.0);
  FwPartitions p;
  double       exact[3], drawn[3];

  (void)state;
  assert_close(FwMixturePairs(&law), 32, 0.0);
  TestCall(FwPartitionsCreate(2, &p));
  TestCall(FwMixtureMoments(&law, &p, exact));
  TestCall(FwMixtureMomentsDrawn(&law, &p, drawn));
  assert_close(drawn[0], 3.0, 1e-10);
  assert_close(fabs(drawn[1] / exact[1] - 1.0) < 1.2e-3, 1, 0.0);
  assert_close(fabs(drawn[1] / exact[1] - 1.0) > 3e-4, 1, 0.0);
  TestCall(FwPartitionsDestroy(&p));
  TestCall(FwMixtureLawDestroy(&law));
}

/* Ten outputs at a = 1 in 40 pairs: E log det is -55 of the limit and sum i n (psi(m - i/2) - psi(m + i/2)) of the scheme */
static void log_determinant_of_the_pair_scheme_is_below_that_of_the_limit(void **state)
{
  FwMixtureLaw law = make_law(10, 0, NULL, 1.0), few = make_law(2, 0, NULL, 1.0);
  double       exact = 0.0, drawn = 0.0, cumulant[3];

  (void)state;
  assert_close(FwMixturePairs(&law), 40, 0.0);
  for (PetscInt i = 0; i < 10; i++) {
    FwMixtureLogCumulants(&law, i, cumulant);
    exact += cumulant[0];
    FwMixtureLogCumulantsDrawn(&law, i, cumulant);
    drawn += cumulant[0];
  }
  assert_close(exact, -55.0, 1e-12);
  assert_close(drawn, -55.15861511327406, 1e-8);
  FwMixtureLogCumulantsDrawn(&few, 1, cumulant); /* two outputs are drawn from the limit itself */
  assert_close(cumulant[0], -2.0, 1e-12);
  TestCall(FwMixtureLawDestroy(&law));
  TestCall(FwMixtureLawDestroy(&few));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(finite_widths_give_the_reference_moments),
    cmocka_unit_test(limit_gives_the_reference_moments),
    cmocka_unit_test(one_output_of_any_order),
    cmocka_unit_test(trace_of_one_wishart_matrix_is_a_chi_square),
    cmocka_unit_test(predicted_distance_is_the_first_order_of_the_exact_one),
    cmocka_unit_test(predicted_distance_knows_the_limit_it_is_from),
    cmocka_unit_test(predicted_distance_of_the_determinant),
    cmocka_unit_test(moments_of_the_pair_scheme_show_its_bias),
    cmocka_unit_test(log_determinant_of_the_pair_scheme_is_below_that_of_the_limit),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  reference = reference_open("mixture.json");
  n_failed  = cmocka_run_group_tests_name("mixture moments", tests, NULL, NULL);
  reference_close(&reference);
  return FwFinish(0) || n_failed;
}
