/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Draws of the mixing matrix against exact laws, and the two samplers against each other; fixed seed, 4 standard errors,
 * p > 1e-4, and laws that must be rejected.
 * ranks: 1
 */

#include "../support/mixture_reference.h"

#include <finwidth/goodness.h>
#include <finwidth/mixture_density.h>
#include <finwidth/mixture_moments.h>
#include <finwidth/moments.h>

typedef struct {
  PetscInt n, n_output;
  double  *x, *m, *log_q;
} Sample;

static Sample Draw(const FwMixtureLaw *law, FwMixtureSampler sampler, uint64_t seed, PetscInt n)
{
  const PetscInt D      = law->n_output;
  Sample         sample = {.n = n, .n_output = D};

  TestCall(PetscMalloc3(n * D, &sample.x, n * D * D, &sample.m, n * D, &sample.log_q));
  TestCall(FwMixtureDraw(law, sampler, seed, 0, n, sample.x, sample.m));
  TestCall(FwMixtureEigen(D, n, sample.x, sample.m, sample.log_q, NULL));
  return sample;
}

static void Release(Sample *sample)
{
  TestCall(PetscFree3(sample->x, sample->m, sample->log_q));
}

static double *Sorted(PetscInt n, PetscInt stride, const double value[])
{
  double *sorted;

  TestCall(PetscMalloc1(n, &sorted));
  for (PetscInt i = 0; i < n; i++) sorted[i] = value[i * stride];
  TestCall(PetscSortReal(n, sorted));
  return sorted;
}

static double TwoSampleP(PetscInt n, PetscInt stride, const double one[], PetscInt stride_two, const double two[])
{
  double *x = Sorted(n, stride, one), *y = Sorted(n, stride_two, two);
  double  p = fmin(FwKolmogorovTwo(n, x, n, y).p_value, FwCramerTwo(n, x, n, y).p_value);

  TestCall(PetscFree(x));
  TestCall(PetscFree(y));
  return p;
}

/* Against an exact distribution function, of `scale` times the numbers */
static double OneSampleP(const FwMixtureLaw *law, FwMixtureVariable variable, PetscInt n, PetscInt stride, double scale,
                         const double value[])
{
  FwMixtureDensity density;
  double          *x = Sorted(n, stride, value), p;

  TestCall(FwMixtureDensityCreate(law, variable, &density));
  for (PetscInt i = 0; i < n; i++) TestCall(FwMixtureDensityCumulative(density, scale * x[i], &x[i], NULL));
  p = fmin(FwKolmogorov(n, x).p_value, FwCramer(n, x).p_value);
  TestCall(FwMixtureDensityDestroy(&density));
  TestCall(PetscFree(x));
  return p;
}

static void assert_agrees(double p_value)
{
  assert_close(p_value > 1e-4, 1, 0.0);
}

static void assert_rejected(double p_value)
{
  assert_close(p_value < 1e-4, 1, 0.0);
}

static const double unequal[] = {12.0, 20.0, 16.0, 12.0, 24.0, 14.0};

static void pieces_equal_the_whole(void **state)
{
  FwMixtureLaw law[] = {make_law(3, 6, unequal, 0.0), make_law(3, 1, unequal, 0.3), make_law(2, 1, unequal, 0.3)};
  double       x[700][3], m[700][9], x_piece[3], m_piece[9];

  (void)state;
  for (int k = 0; k < 3; k++) {
    const PetscInt D = law[k].n_output;

    TestCall(FwMixtureDraw(&law[k], FW_MIXTURE_BARTLETT, 1, 100, 700, &x[0][0], &m[0][0]));
    for (PetscInt s = 0; s < 700; s += 83) {
      TestCall(FwMixtureDraw(&law[k], FW_MIXTURE_BARTLETT, 1, (uint64_t)(100 + s), 1, x_piece, m_piece));
      for (PetscInt i = 0; i < D; i++) assert_close(x_piece[i], (&x[0][0])[s * D + i], 0.0);
      for (PetscInt i = 0; i < D * D; i++) assert_close(m_piece[i], (&m[0][0])[s * D * D + i], 0.0);
    }
    TestCall(FwMixtureLawDestroy(&law[k]));
  }
}

/* The experiment of the theory note: log-eigenvalues, log Q_11 and log det of the two samplers */
static void every_weight_and_triangular_factors_agree(void **state)
{
  enum { N = 20000 };
  FwMixtureLaw law   = make_law(3, 6, unequal, 0.0);
  Sample       brute = Draw(&law, FW_MIXTURE_BRUTE, 1, N), bartlett = Draw(&law, FW_MIXTURE_BARTLETT, 2, N);

  (void)state;
  for (int i = 0; i < 3; i++) assert_agrees(TwoSampleP(N, 3, brute.log_q + i, 3, bartlett.log_q + i));
  for (int i = 1; i < 3; i++)
    for (int j = 0; j < i; j++) assert_agrees(TwoSampleP(N, 9, brute.m + 3 * i + j, 9, bartlett.m + 3 * i + j));
  for (int i = 0; i < 3; i++)
    for (int s = 0; s < 2; s++) {
      const FwEstimated mean     = FwMean(N, 3, (s ? bartlett : brute).x + i),
                        variance = FwVariance(N, 3, (s ? bartlett : brute).x + i);
      double cumulant[3];

      FwMixtureLogCumulants(&law, i, cumulant);
      assert_close((mean.value - 0.5 * cumulant[0]) / mean.error_bar, 0.0, 4.0);
      assert_close((variance.value - 0.25 * cumulant[1]) / variance.error_bar, 0.0, 4.0);
    }
  assert_agrees(OneSampleP(&law, FW_MIXTURE_LOG_Q, N, 3, 2.0, brute.x));
  assert_agrees(OneSampleP(&law, FW_MIXTURE_LOG_Q, N, 3, 2.0, bartlett.x));
  assert_rejected(TwoSampleP(N, 3, brute.log_q, 3, bartlett.log_q + 1));
  Release(&brute);
  Release(&bartlett);
  TestCall(FwMixtureLawDestroy(&law));
}

/* E tr Q = D in whatever order the widths come, also where a narrow layer is not the first */
static void mean_trace_of_narrow_layers_is_the_number_of_outputs(void **state)
{
  enum { N = 4000, D = 8 };
  const double width[2][3] = {
    {30.0, 30.0, 4.0 },
    {4.0,  30.0, 30.0}
  };
  static double trace[N], x[N * D], m[N * D * D];

  (void)state;
  for (int order = 0; order < 2; order++) {
    FwMixtureLaw law = make_law(D, 3, width[order], 0.0);
    FwEstimated  mean;

    TestCall(FwMixtureDraw(&law, FW_MIXTURE_BARTLETT, 1, 0, N, x, m));
    for (int s = 0; s < N; s++) {
      trace[s] = 0.0;
      for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) trace[s] += pow(m[(s * D + i) * D + j] * exp(x[s * D + j]), 2.0);
    }
    mean = FwMean(N, 1, trace);
    assert_close((mean.value - D) / mean.error_bar, 0.0, 4.0);
    TestCall(FwMixtureLawDestroy(&law));
  }
}

/* Widths below D: the rank is the smallest width */
static void narrow_layers_make_the_matrix_singular(void **state)
{
  enum { N = 4000 };
  const double width[] = {6.0, 2.0, 3.0};
  FwMixtureLaw law     = make_law(4, 3, width, 0.0);
  Sample       brute = Draw(&law, FW_MIXTURE_BRUTE, 1, N), bartlett = Draw(&law, FW_MIXTURE_BARTLETT, 2, N);
  double       vectors[16], sum                                     = 0.0;

  (void)state;
  for (int s = 0; s < N; s += 100)
    for (int i = 0; i < 4; i++) {
      assert_close(isinf(brute.log_q[4 * s + i]) != 0, i >= 2, 0.0);
      assert_close(isinf(bartlett.log_q[4 * s + i]) != 0, i >= 2, 0.0);
    }
  for (int i = 0; i < 2; i++) assert_agrees(TwoSampleP(N, 4, brute.log_q + i, 4, bartlett.log_q + i));
  assert_agrees(OneSampleP(&law, FW_MIXTURE_LOG_Q, N, 4, 2.0, bartlett.x));
  TestCall(FwMixtureEigen(4, 1, bartlett.x, bartlett.m, brute.log_q, vectors));
  for (int i = 0; i < 4; i++) sum += vectors[4 * i + 1] * vectors[4 * i + 3];
  assert_close(sum, 0.0, 1e-14);
  Release(&brute);
  Release(&bartlett);
  TestCall(FwMixtureLawDestroy(&law));
}

/* D = 1, 2 exactly, D = 3 by pairs: log Q_11 ~ N(-a, 2a), row i of the diagonal ~ N(-ia, 2a), log det, radial law */
static void limit_draws_follow_the_limit_law(void **state)
{
  enum { N = 40000 };

  (void)state;
  for (PetscInt D = 1; D <= 3; D++) {
    FwMixtureLaw law = make_law(D, 0, NULL, 0.8), other = make_law(D, 0, NULL, 0.85);
    Sample       sample = Draw(&law, FW_MIXTURE_BARTLETT, 3, N);

    assert_agrees(OneSampleP(&law, FW_MIXTURE_LOG_Q, N, D, 2.0, sample.x));
    assert_rejected(OneSampleP(&other, FW_MIXTURE_LOG_Q, N, D, 2.0, sample.x));
    for (PetscInt i = 0; i < D; i++) {
      double *x = Sorted(N, D, sample.x + i);

      for (int s = 0; s < N; s++) x[s] = 0.5 * erfc(-(2.0 * x[s] + 0.8 * (double)(i + 1)) / sqrt(2.0 * 1.6));
      assert_agrees(fmin(FwKolmogorov(N, x).p_value, FwCramer(N, x).p_value));
      TestCall(PetscFree(x));
    }
    Release(&sample);
    TestCall(FwMixtureLawDestroy(&law));
    TestCall(FwMixtureLawDestroy(&other));
  }
}

static double RadialP(const FwMixtureLaw *law, const Sample *sample)
{
  FwMixtureRadial radial;
  double         *r, p;

  TestCall(PetscMalloc1(sample->n, &r));
  for (PetscInt s = 0; s < sample->n; s++) r[s] = 0.5 * (sample->log_q[2 * s] - sample->log_q[2 * s + 1]);
  TestCall(PetscSortReal(sample->n, r));
  TestCall(FwMixtureRadialCreate(law, &radial));
  for (PetscInt s = 0; s < sample->n; s++) {
    TestCall(FwMixtureRadialSurvival(radial, r[s], &r[s]));
    r[s] = 1.0 - r[s];
  }
  p = fmin(FwKolmogorov(sample->n, r).p_value, FwCramer(sample->n, r).p_value);
  TestCall(FwMixtureRadialDestroy(&radial));
  TestCall(PetscFree(r));
  return p;
}

static void two_outputs_follow_the_exact_radial_law(void **state)
{
  FwMixtureLaw law[] = {make_law(2, 0, NULL, 0.8), make_law(2, 6, unequal, 0.0), make_law(2, 1, unequal, 0.4)};

  (void)state;
  for (int k = 0; k < 3; k++) {
    Sample sample = Draw(&law[k], FW_MIXTURE_BARTLETT, 5, 10000);

    assert_agrees(RadialP(&law[k], &sample));
    assert_rejected(RadialP(&law[(k + 1) % 3], &sample));
    Release(&sample);
  }
  for (int k = 0; k < 3; k++) TestCall(FwMixtureLawDestroy(&law[k]));
}

/* With the exact moments of what is drawn; second moments at a small a, where the mean of squares has an error bar */
static void moments_of_pairs_are_those_in_closed_form(void **state)
{
  enum { N = 40000 };
  FwMixtureLaw law    = make_law(4, 1, unequal, 0.1);
  Sample       sample = Draw(&law, FW_MIXTURE_BARTLETT, 7, N);
  FwPartitions p;
  double       moment[3], *power;
  FwEstimated  mean;

  (void)state;
  TestCall(FwPartitionsCreate(2, &p));
  TestCall(FwMixtureMomentsDrawn(&law, &p, moment));
  TestCall(PetscMalloc1(N, &power));
  for (int k = 0; k < 3; k++) {
    for (int s = 0; s < N; s++) {
      double p1 = 0.0, p2 = 0.0;

      for (int i = 0; i < 4; i++) p1 += exp(sample.log_q[4 * s + i]), p2 += exp(2.0 * sample.log_q[4 * s + i]);
      power[s] = k == 0 ? p1 : k == 1 ? p2 : p1 * p1;
    }
    mean = FwMean(N, 1, power);
    assert_close((mean.value - moment[k]) / mean.error_bar, 0.0, 4.0);
  }
  TestCall(PetscFree(power));
  TestCall(FwPartitionsDestroy(&p));
  Release(&sample);
  TestCall(FwMixtureLawDestroy(&law));
}

/* The limit law is symmetric under e^((D+1) a / 2) Q -> inverse; at finite widths it is not, and the test sees it */
static void reflection_symmetry_holds_in_the_limit_only(void **state)
{
  enum { N = 20000 };
  FwMixtureLaw law[] = {make_law(3, 0, NULL, 0.5), make_deep_law(3, 12.0, 6)};

  (void)state;
  for (int k = 0; k < 2; k++) {
    Sample one = Draw(&law[k], FW_MIXTURE_BARTLETT, 8, N), two = Draw(&law[k], FW_MIXTURE_BARTLETT, 9, N);

    for (int s = 0; s < N; s++) two.log_q[3 * s + 2] = -two.log_q[3 * s + 2] - 4.0 * 0.5; /* of (e^(2a) Q)^-1 */
    (k ? assert_rejected : assert_agrees)(TwoSampleP(N, 3, one.log_q, 3, two.log_q + 2));
    Release(&one);
    Release(&two);
    TestCall(FwMixtureLawDestroy(&law[k]));
  }
}

/* E log q_i of the reference file, sampled there and here */
static void mean_log_eigenvalues_of_the_reference_file(void **state)
{
  const PetscInt N    = 40000;
  Reference      file = reference_open("mixture.json"), rows = reference_get(file, "monte_carlo");
  FwMixtureLaw   law[] = {make_deep_law(4, 20.0, 20), make_law(3, 0, NULL, 1.0)};

  (void)state;
  for (int k = 0; k < 2; k++) {
    const Reference value = reference_get(reference_at(rows, k), "value"),
                    bar   = reference_get(reference_at(rows, k), "se");
    Sample sample         = Draw(&law[k], FW_MIXTURE_BARTLETT, 10, N);

    for (PetscInt i = 0; i < law[k].n_output; i++) {
      const FwEstimated mean = FwMean(N, law[k].n_output, sample.log_q + i);

      assert_close((mean.value - reference_number(reference_at(value, (int)i))) /
                     hypot(mean.error_bar, reference_number(reference_at(bar, (int)i))),
                   0.0, 4.0);
    }
    Release(&sample);
    TestCall(FwMixtureLawDestroy(&law[k]));
  }
  reference_close(&file);
}

/* Kolmogorov's distance and the difference of means between widths and limit, four outputs at a = 1. The file's numbers
   come from 2e5 draws each, those here from 4e4 */
static void distances_of_four_outputs_of_the_reference_file(void **state)
{
  enum { N = 40000 };
  const char  *name[] = {"log q1", "log q1/qD", "log det"};
  Reference    file   = reference_open("mixture.json");
  Reference    rows   = reference_get(reference_get(file, "convergence"), "d4");
  FwMixtureLaw limit  = make_law(4, 0, NULL, 1.0);
  Sample       there  = Draw(&limit, FW_MIXTURE_BARTLETT, 12, N);

  (void)state;
  assert_close(reference_size(rows), 4, 0.0);
  for (int k = 0; k < reference_size(rows); k++) {
    const Reference row  = reference_at(rows, k);
    const int       N_L  = (int)reference_value(row, "N");
    FwMixtureLaw    law  = make_deep_law(4, N_L, N_L);
    Sample          here = Draw(&law, FW_MIXTURE_BARTLETT, 11, N);

    for (int v = 0; v < 3; v++) {
      const Reference expected = reference_get(row, name[v]);
      const double    bar      = sqrt(2.0 / N + 2.0 / 2e5); /* of a distance, at most; half of it near the median */
      double         *x, *y, *both[2];

      for (int w = 0; w < 2; w++) {
        const double *q = w ? there.log_q : here.log_q;

        TestCall(PetscMalloc1(N, &both[w]));
        for (int s = 0; s < N; s++)
          both[w][s] = v == 0   ? q[4 * s]
                       : v == 1 ? q[4 * s] - q[4 * s + 3]
                                : q[4 * s] + q[4 * s + 1] + q[4 * s + 2] + q[4 * s + 3];
      }
      const FwEstimated one = FwMean(N, 1, both[0]), two = FwMean(N, 1, both[1]);
      const double mean_bar = hypot(hypot(one.error_bar, two.error_bar), reference_number(reference_at(expected, 2)));

      x = Sorted(N, 1, both[0]);
      y = Sorted(N, 1, both[1]);
      assert_close((FwKolmogorovTwo(N, x, N, y).statistic - reference_number(reference_at(expected, 0))) / (0.5 * bar),
                   0.0, 4.0);
      assert_close((one.value - two.value - reference_number(reference_at(expected, 1))) / mean_bar, 0.0, 4.0);
      TestCall(PetscFree(x));
      TestCall(PetscFree(y));
      for (int w = 0; w < 2; w++) TestCall(PetscFree(both[w]));
    }
    Release(&here);
    TestCall(FwMixtureLawDestroy(&law));
  }
  Release(&there);
  TestCall(FwMixtureLawDestroy(&limit));
  reference_close(&file);
}

/* Very deep: 20,000 layers of width 100, four outputs. The eigenvalues span e^-800 .. e^-200; row i of the diagonal has
   an exact mean and variance, and the eigenvalues keep within a few of it */
static void twenty_thousand_layers(void **state)
{
  enum { N = 256 };
  double      *width;
  FwMixtureLaw law;
  Sample       sample;

  (void)state;
  TestCall(PetscMalloc1(20000, &width));
  for (int l = 0; l < 20000; l++) width[l] = 100.0;
  law    = make_law(4, 20000, width, 0.0);
  sample = Draw(&law, FW_MIXTURE_BARTLETT, 1, N);
  for (int i = 0; i < 4; i++) {
    const FwEstimated mean = FwMean(N, 4, sample.x + i), eigen = FwMean(N, 4, sample.log_q + i);
    double            cumulant[3];

    FwMixtureLogCumulants(&law, i, cumulant);
    assert_close((2.0 * mean.value - cumulant[0]) / (2.0 * mean.error_bar), 0.0, 4.0);
    assert_close((eigen.value - cumulant[0]) / eigen.error_bar, 0.0, 6.0);
  }
  for (int s = 0; s < N; s++) {
    double log_det = 0.0;

    for (int i = 0; i < 4; i++) log_det += sample.log_q[4 * s + i] - 2.0 * sample.x[4 * s + i];
    assert_close(log_det, 0.0, 1e-8);
  }
  Release(&sample);
  TestCall(PetscFree(width));
  TestCall(FwMixtureLawDestroy(&law));
}

/* Coordinates that are drawn here give the law again: of the pair scheme too, for one output */
static void coordinates_assemble_to_the_law(void **state)
{
  enum { N = 5000 };
  FwMixtureLaw law[] = {make_law(3, 2, unequal, 0.0), make_law(1, 1, unequal, 0.2)};

  (void)state;
  for (int k = 0; k < 2; k++) {
    const PetscInt D = law[k].n_output;
    PetscInt       n_gamma, n_normal;
    double        *gamma, *normal, *shape, *x, *m, *column;

    TestCall(FwMixtureCoordinateCounts(&law[k], &n_gamma, &n_normal));
    TestCall(
      PetscMalloc6(N * n_gamma, &gamma, N * n_normal, &normal, n_gamma, &shape, N * D, &x, N * D * D, &m, N, &column));
    TestCall(FwMixtureCoordinateShapes(&law[k], shape));
    for (PetscInt c = 0; c < n_gamma; c++) {
      FwStreamGammaBulk(FwStreamCreate(1, FW_RANDOM_GLYPH, (uint64_t)c, 0, 0), shape[c], 1.0, 0, N, column);
      for (int s = 0; s < N; s++) gamma[s * n_gamma + c] = column[s];
    }
    for (PetscInt c = 0; c < n_normal; c++) {
      FwStreamNormalBulk(FwStreamCreate(2, FW_RANDOM_GLYPH, (uint64_t)c, 0, 0), 0, N, column);
      for (int s = 0; s < N; s++) normal[s * n_normal + c] = column[s];
    }
    TestCall(FwMixtureAssemble(&law[k], N, gamma, normal, x, m));
    assert_agrees(OneSampleP(&law[k], FW_MIXTURE_LOG_Q, N, D, 2.0, x));
    TestCall(PetscFree6(gamma, normal, shape, x, m, column));
    TestCall(FwMixtureLawDestroy(&law[k]));
  }
}

/* Q = M diag(e^2x) M^T = O diag(q) O^T, entry by entry, over sixty orders of magnitude */
static void eigenvectors_give_the_matrix_back(void **state)
{
  const double x[] = {3.0, -20.0, -1.0, -70.0}, m[] = {1, 0, 0, 0, 0.5, 1, 0, 0, -2.0, 300.0, 1, 0, 0.25, -1.0, 7.0, 1};
  double       log_q[4], o[16], log_det = 0.0;

  (void)state;
  TestCall(FwMixtureEigen(4, 1, x, m, log_q, o));
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      double direct = 0.0, back = 0.0;

      for (int k = 0; k < 4; k++) direct += m[4 * i + k] * m[4 * j + k] * exp(2.0 * x[k]);
      for (int k = 0; k < 4; k++) back += o[4 * i + k] * o[4 * j + k] * exp(log_q[k]);
      assert_close(back / exp(6.0), direct / exp(6.0), 1e-14);
    }
  for (int k = 0; k < 4; k++) log_det += log_q[k] - 2.0 * x[k];
  assert_close(log_det, 0.0, 1e-12);
  assert_close(log_q[0] > log_q[1] && log_q[1] > log_q[2] && log_q[2] > log_q[3], 1, 0.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_equal_the_whole),
    cmocka_unit_test(every_weight_and_triangular_factors_agree),
    cmocka_unit_test(mean_trace_of_narrow_layers_is_the_number_of_outputs),
    cmocka_unit_test(narrow_layers_make_the_matrix_singular),
    cmocka_unit_test(limit_draws_follow_the_limit_law),
    cmocka_unit_test(two_outputs_follow_the_exact_radial_law),
    cmocka_unit_test(moments_of_pairs_are_those_in_closed_form),
    cmocka_unit_test(reflection_symmetry_holds_in_the_limit_only),
    cmocka_unit_test(mean_log_eigenvalues_of_the_reference_file),
    cmocka_unit_test(distances_of_four_outputs_of_the_reference_file),
    cmocka_unit_test(twenty_thousand_layers),
    cmocka_unit_test(coordinates_assemble_to_the_law),
    cmocka_unit_test(eigenvectors_give_the_matrix_back),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("mixture law", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
