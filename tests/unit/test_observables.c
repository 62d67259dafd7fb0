/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Observables of one hidden layer: one example by hand, plain loops over dense matrices, the derivative of the evidence
 * in the prior of the first weights, and values of the reference file.
 *
 * The dense routes below share nothing with the code but the scalar maps: K A^-1 K is multiplied out, and the
 * covariance of the weights comes from central differences.
 */

#include <finwidth/activation.h>
#include <finwidth/observables.h>
#include "../support/csv_dataset.h"

enum { MAX = 80 };

static FwGrid grid;

/* One problem: arrays on every rank */
static struct {
  int          n, n_input;
  double       x[MAX * MAX], y[MAX], width[2], prior[3], bias[3], order;
  PetscInt     activation[2];
  FwModel      model;
  FwActivation phi;
} p;

static void set_problem(int n, int n_input, FwActivationType activation)
{
  p.n       = n;
  p.n_input = n_input;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n_input; j++) p.x[i * n_input + j] = sin(1.0 + 2.3 * i * (j + 1) + 0.7 * j * j);
    p.y[i] = cos(0.9 * i) + p.x[i * n_input];
  }
  p.width[0] = p.width[1] = 20.0;
  p.order                 = 1.7;
  p.activation[0] = p.activation[1] = activation;
  p.prior[0]                        = 0.8;
  p.prior[1]                        = 1.4;
  p.bias[0]                         = 0.2;
  p.bias[1]                         = 0.3;
  p.prior[2] = p.bias[2] = 1.0;
  p.model                = (FwModel){.type        = FW_NETWORK_FC,
                                     .depth       = 1,
                                     .width       = p.width,
                                     .activation  = p.activation,
                                     .prior       = p.prior,
                                     .bias        = p.bias,
                                     .temperature = 0.05};
  TestCall(FwActivationGet(activation, &p.phi));
}

static FwObservables observe(void)
{
  FwDataset     data = dataset_from_arrays(p.n, 0, p.n_input, p.x, p.y);
  FwObservables o;

  TestCall(FwObservablesCreate(grid, &p.model, data, p.order, &o));
  TestCall(FwDatasetDestroy(&data));
  return o;
}

/* --- dense algebra, row-major, of order n ------------------------------------------------------------------- */

typedef double Dense[MAX * MAX];

static void multiply(int n, const double a[], const double b[], double c[])
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      c[i * n + j] = 0.0;
      for (int k = 0; k < n; k++) c[i * n + j] += a[i * n + k] * b[k * n + j];
    }
}

/* Inverse of a positive definite matrix by Gauss-Jordan elimination; returns log det */
static double invert(int n, double a[])
{
  double log_det = 0.0;

  for (int k = 0; k < n; k++) {
    const double pivot = a[k * n + k];

    log_det += log(pivot);
    a[k * n + k] = 1.0;
    for (int j = 0; j < n; j++) a[k * n + j] /= pivot;
    for (int i = 0; i < n; i++) {
      const double factor = a[i * n + k];

      if (i == k) continue;
      a[i * n + k] = 0.0;
      for (int j = 0; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return log_det;
}

/* C_0 where the first weights have covariance sigma [n_input][n_input] */
static void covariances(const double sigma[], double c0[])
{
  const int    m = p.n_input;
  static Dense image; /* X sigma */

  for (int i = 0; i < p.n; i++)
    for (int k = 0; k < m; k++) {
      image[i * m + k] = 0.0;
      for (int l = 0; l < m; l++) image[i * m + k] += p.x[i * m + l] * sigma[l * m + k];
    }
  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < p.n; j++) {
      c0[i * p.n + j] = p.bias[0];
      for (int k = 0; k < m; k++) c0[i * p.n + j] += image[i * m + k] * p.x[j * m + k] / m;
    }
}

/* Row i of `map` has example i first: k_a is the slope in its variance */
static void map_all(FwMap map, const double c0[], double out[])
{
  double   variance[MAX], column[MAX];
  FwPoints points;

  for (int i = 0; i < p.n; i++) variance[i] = c0[i * p.n + i];
  TestCall(FwPointsCreate(p.phi, p.n, variance, &points));
  TestCall(FwPointsAddSlopes(points));
  for (int j = 0; j < p.n; j++) {
    for (int i = 0; i < p.n; i++) column[i] = c0[i * p.n + j];
    TestCall(FwActivationMap(p.phi, map, points, 0, p.n, points, j, column, column));
    for (int i = 0; i < p.n; i++) out[i * p.n + j] = column[i];
  }
  if (map == FW_MAP_VALUE) TestCall(FwActivationDiagonal(p.phi, p.n, variance, column));
  for (int i = 0; i < p.n && map == FW_MAP_VALUE; i++) out[i * p.n + i] = column[i];
  TestCall(FwPointsDestroy(&points));
}

static void identity(int n, double value, double a[])
{
  for (int i = 0; i < n * n; i++) a[i] = i % (n + 1) ? 0.0 : value;
}

/* A^-1 at the prior covariance sigma of the first weights; k, where wanted, is K. Returns log det A. */
static double resolvent(const double sigma[], double k[], double inverse[])
{
  static Dense c0;

  covariances(sigma, c0);
  map_all(FW_MAP_VALUE, c0, inverse);
  for (int i = 0; i < p.n * p.n; i++) {
    if (k) k[i] = inverse[i] / p.prior[1];
    inverse[i] = p.order * inverse[i] / p.prior[1] + p.bias[1] + (i % (p.n + 1) ? 0.0 : p.model.temperature);
  }
  return invert(p.n, inverse);
}

static double log_evidence(const double sigma[])
{
  static Dense inverse;
  double       value = resolvent(sigma, NULL, inverse);

  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < p.n; j++) value += p.y[i] * inverse[i * p.n + j] * p.y[j];
  return -0.5 * value;
}

static double trace(int n, const double a[])
{
  double sum = 0.0;

  for (int i = 0; i < n; i++) sum += a[i * n + i];
  return sum;
}

static double norm(int n, const double a[])
{
  double sum = 0.0;

  for (int i = 0; i < n * n; i++) sum += a[i] * a[i];
  return sqrt(sum);
}

static double alignment(int n, const double a[])
{
  double form = 0.0, label2 = 0.0;

  for (int i = 0; i < n; i++) {
    label2 += p.y[i] * p.y[i];
    for (int j = 0; j < n; j++) form += p.y[i] * a[i * n + j] * p.y[j];
  }
  return form / (norm(n, a) * label2);
}

/* a a^T - A^-1 at the prior, and K */
static void sensitivity(double k[], double g[])
{
  static Dense sigma;
  double       a[MAX] = {0};

  identity(p.n_input, 1.0 / p.prior[0], sigma);
  resolvent(sigma, k, g);
  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < p.n; j++) a[i] += g[i * p.n + j] * p.y[j];
  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < p.n; j++) g[i * p.n + j] = a[i] * a[j] - g[i * p.n + j];
}

/* --- checks --------------------------------------------------------------------------------------------------- */

static void check_hidden(const FwObservables *o, double tol)
{
  static Dense k, g, kg, change, after;

  sensitivity(k, g);
  multiply(p.n, k, g, kg);
  multiply(p.n, kg, k, change);
  for (int i = 0; i < p.n * p.n; i++) {
    k[i] *= p.prior[1];
    change[i] *= p.order * p.prior[1] / p.width[0];
    after[i] = k[i] + change[i];
  }
  assert_close(o->hidden_trace_before, trace(p.n, k) / p.n, tol);
  assert_close(o->hidden_trace_after, trace(p.n, after) / p.n, tol);
  assert_close(o->alignment_before, alignment(p.n, k), tol);
  assert_close(o->alignment_after, alignment(p.n, after), tol);
  assert_close(o->hidden_distance, norm(p.n, change) / norm(p.n, k), tol);
  assert_close(o->kernel_distance, p.order - 1.0, 0.0);
}

/* Traces of the first powers of a matrix fix its eigenvalues */
static void check_spectrum(const FwObservables *o, const double covariance[], int n_power, double tol)
{
  static Dense power, next;

  assert_close(o->n_weight, p.n_input, 0);
  assert_close(o->weight_trace_before, p.n_input / p.prior[0], 1e-15);
  assert_close(o->weight_trace_after, trace(p.n_input, covariance), tol);
  TestCall(PetscArraycpy(power, covariance, p.n_input * p.n_input));
  for (int k = 1; k <= n_power; k++) {
    double sum = 0.0;

    for (int i = 0; i < o->n_weight; i++) sum += pow(o->weight_eigenvalue[i], k);
    assert_close(sum, trace(p.n_input, power), tol);
    multiply(p.n_input, power, covariance, next);
    TestCall(PetscArraycpy(power, next, p.n_input * p.n_input));
  }
  for (int i = 1; i < o->n_weight; i++)
    assert_close(o->weight_eigenvalue[i] <= o->weight_eigenvalue[i - 1], PETSC_TRUE, 0);
}

/* covariance v = value v, of norm 1, the largest component positive */
static void check_modes(const FwObservables *o, const double covariance[], double tol)
{
  const int n = o->n_weight;

  assert_close(o->n_mode > 0, 1, 0);
  for (int k = 0; k < 4 && k < n; k++) assert_close(o->weight_eigenvalue[k] > 1.001 / p.prior[0], k < o->n_mode, 0);
  for (int k = 0; k < o->n_mode; k++) {
    const double *v      = o->weight_eigenvector + k * n;
    double        square = 0.0, high = 0.0, low = 0.0;

    for (int i = 0; i < n; i++) {
      double image = 0.0;

      for (int j = 0; j < n; j++) image += covariance[i * n + j] * v[j];
      assert_close(image, o->weight_eigenvalue[k] * v[i], tol);
      square += v[i] * v[i];
      high = fmax(high, v[i]);
      low  = fmin(low, v[i]);
    }
    assert_close(square, 1.0, 1e-14);
    assert_close(high >= -low, 1, 0);
  }
}

/* Element (k, l) of E[w w^T] - 1/lambda_0: d log p / d eps = (N_1 / 2) lambda_0^2 tr D (E[w w^T] - 1/lambda_0) where the
   prior covariance is 1/lambda_0 + eps D, here with D symmetric and one at (k, l) and (l, k). The step balances the
   error of order h^4 with rounding. */
static double covariance_by_evidence(int k, int l)
{
  const double weight[2] = {8.0 / 12.0, -1.0 / 12.0}, h = 2e-3;
  const int    n = p.n_input;
  static Dense sigma;
  double       slope = 0.0;

  for (int step = -2; step <= 2; step++) {
    if (!step) continue;
    identity(n, 1.0 / p.prior[0], sigma);
    sigma[k * n + l] += h * step;
    if (k != l) sigma[l * n + k] += h * step;
    slope += (step > 0 ? 1.0 : -1.0) * weight[abs(step) - 1] * log_evidence(sigma) / h;
  }
  return slope / (0.5 * p.width[0] * p.prior[0] * p.prior[0] * (k == l ? 1.0 : 2.0));
}

static void weights_follow_the_derivative_of_the_evidence(void **state)
{
  const FwActivationType activations[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU, FW_ACTIVATION_TANH,
                                          FW_ACTIVATION_QUADRATIC};

  (void)state;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(activations); t++) {
    static Dense  covariance;
    FwObservables o;

    set_problem(12, 5, activations[t]);
    identity(5, 1.0 / p.prior[0], covariance);
    for (int k = 0; k < 5; k++)
      for (int l = 0; l <= k; l++) {
        covariance[k * 5 + l] += covariance_by_evidence(k, l);
        covariance[l * 5 + k] = covariance[k * 5 + l];
      }
    assert_close(fabs(covariance[3 * 5 + 1]) > 0.01, PETSC_TRUE, 0); /* far from the prior, where it is zero */
    o = observe();
    check_spectrum(&o, covariance, 5, 1e-9);
    check_modes(&o, covariance, 1e-9);
    check_hidden(&o, 1e-11);
    TestCall(FwObservablesDestroy(&o));
  }
}

/* The formula itself, at a size that is cut into blocks */
static void dense_covariance(double covariance[])
{
  static Dense k, g, c0, slope, h, sigma, hx;
  const int    n = p.n, m = p.n_input;

  sensitivity(k, g);
  identity(m, 1.0 / p.prior[0], sigma);
  covariances(sigma, c0);
  map_all(FW_MAP_COVARIANCE, c0, slope);
  for (int i = 0; i < n * n; i++) h[i] = g[i] * slope[i];
  map_all(FW_MAP_ROW_VARIANCE, c0, slope);
  for (int i = 0; i < n * n; i++) h[i / n * n + i / n] += 2.0 * g[i] * slope[i];
  for (int i = 0; i < n; i++)
    for (int l = 0; l < m; l++) {
      hx[i * m + l] = 0.0;
      for (int j = 0; j < n; j++) hx[i * m + l] += h[i * n + j] * p.x[j * m + l];
    }
  identity(m, 1.0 / p.prior[0], covariance);
  for (int q = 0; q < m; q++)
    for (int l = 0; l < m; l++)
      for (int i = 0; i < n; i++)
        covariance[q * m + l] +=
          p.order / (p.prior[0] * p.prior[0] * p.prior[1] * m * p.width[0]) * p.x[i * m + q] * hx[i * m + l];
}

static void blocks_over_ranks_equal_dense_algebra(void **state)
{
  (void)state;
  for (int wide = 0; wide < 2; wide++) {
    static Dense  covariance;
    FwObservables o;

    set_problem(wide ? 66 : 79, wide ? 77 : 30, FW_ACTIVATION_ERF);
    dense_covariance(covariance);
    o = observe();
    check_hidden(&o, 1e-10);
    check_spectrum(&o, covariance, 4, 1e-10);
    check_modes(&o, covariance, 1e-10);
    TestCall(FwObservablesDestroy(&o));
  }
}

/* x = 2, y = 3, lambda = 1, no biases: K = 4, A = T + 4 Q, G = 9/A^2 - 1/A */
static void one_linear_example_is_solved_by_hand(void **state)
{
  const double  t = 0.5, q = 1.25, resolved = t + 4.0 * q, g = 9.0 / (resolved * resolved) - 1.0 / resolved;
  FwObservables o;

  (void)state;
  set_problem(1, 1, FW_ACTIVATION_LINEAR);
  p.x[0]     = 2.0;
  p.y[0]     = 3.0;
  p.order    = q;
  p.prior[0] = p.prior[1] = 1.0;
  p.bias[0] = p.bias[1] = 0.0;
  p.model.temperature   = t;
  o                     = observe();
  assert_close(o.alignment_before, 1.0, 1e-15);
  assert_close(o.alignment_after, 1.0, 1e-15);
  assert_close(o.hidden_trace_before, 4.0, 1e-15);
  assert_close(o.hidden_trace_after, 4.0 + q / 20.0 * 16.0 * g, 1e-14);
  assert_close(o.weight_trace_before, 1.0, 0.0);
  assert_close(o.weight_trace_after, 1.0 + q / 20.0 * 4.0 * g, 1e-14);
  assert_close(o.weight_eigenvalue[0], o.weight_trace_after, 1e-15);
  assert_close(o.weight_eigenvector[0], 1.0, 0.0);
  assert_close(o.kernel_distance, 0.25, 0.0);
  TestCall(FwObservablesDestroy(&o));
}

static void infinite_width_learns_no_features(void **state)
{
  FwObservables o;

  (void)state;
  set_problem(70, 9, FW_ACTIVATION_RELU);
  p.width[0] = 1e15;
  p.order    = 1.0;
  o          = observe();
  assert_close(o.hidden_distance, 0.0, 1e-11);
  assert_close(o.alignment_after, o.alignment_before, 1e-11);
  assert_close(o.weight_eigenvalue[0], 1.0 / p.prior[0], 1e-11);
  assert_close(o.weight_eigenvalue[8], 1.0 / p.prior[0], 1e-11);
  assert_close(o.n_mode, 0, 0);
  TestCall(FwObservablesDestroy(&o));
}

/* --- the reference file: `mc`, key `cka` ----------------------------------------------------------------------- */

static double fraction(double t)
{
  return t - floor(t);
}

static void set_reference(FwActivationType activation, double amplitude, double width, double order)
{
  set_problem(40, 60, activation);
  p.width[0] = width;
  p.order    = order;
  p.prior[0] = p.prior[1] = 1.0;
  p.bias[0] = p.bias[1] = 0.0;
  p.model.temperature   = 0.02;
  for (int i = 0; i < p.n; i++) {
    const double mu = i + 1.0;
    double       z  = 0.0;

    for (int j = 0; j < p.n_input; j++) {
      const double k = j + 1.0, t = sqrt(2.0) * mu * mu * k + sqrt(3.0) * mu * k * k + sqrt(5.0) * mu * k;

      p.x[i * p.n_input + j] = sqrt(2.0) * sin(2.0 * M_PI * fraction(t));
      z += sqrt(2.0) * p.x[i * p.n_input + j] * cos(0.9 * k) / sqrt(p.n_input);
    }
    p.y[i] = amplitude * (z + 0.5 * sin(3.0 * z)) + 0.1 * sin(2.3 * mu);
  }
}

static void alignments_are_those_of_the_reference_file(void **state)
{
  const struct {
    FwActivationType activation;
    double           amplitude, width, order, before, after, sampled;
  } row[] = {
    {FW_ACTIVATION_ERF,    1.0, 60.0, 1.4172518733230361, 0.17495003377352009, 0.3025554517577461,  0.30225962232139125},
    {FW_ACTIVATION_ERF,    1.0, 20.0, 1.7243492315019555, 0.17495003377352009, 0.47359661544857057, 0.47784407709965115},
    {FW_ACTIVATION_LINEAR, 2.0, 20.0, 2.7714615452235765, 0.17627733721225283, 0.5094992838308776,  0.5109087163091988 },
  };

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++) {
    FwObservables o;

    set_reference(row[i].activation, row[i].amplitude, row[i].width, row[i].order);
    o = observe();
    assert_close(o.alignment_before, row[i].before, 1e-8);
    assert_close(o.alignment_after, row[i].after, 1e-8);
    assert_close(o.alignment_after, row[i].sampled, 5e-3); /* no error bar is given: 1/N_1 effects at N_1 = 20 */
    TestCall(FwObservablesDestroy(&o));
  }
}

/* --- what is not known ----------------------------------------------------------------------------------------- */

static void deeper_networks_have_only_what_the_theory_gives(void **state)
{
  FwObservables shallow, deep;

  (void)state;
  set_problem(70, 9, FW_ACTIVATION_LINEAR);
  p.bias[0] = p.bias[1] = 0.0;
  shallow               = observe();
  p.model.depth         = 2; /* linear layers only rescale the kernel */
  deep                  = observe();
  assert_close(deep.alignment_before, shallow.alignment_before, 1e-13);
  assert_close(deep.kernel_distance, p.order - 1.0, 0.0);
  assert_close(isnan(deep.alignment_after) && isnan(deep.hidden_trace_before) && isnan(deep.weight_trace_after), 1, 0);
  assert_close(deep.n_weight, 0, 0);
  TestCall(FwObservablesDestroy(&shallow));
  TestCall(FwObservablesDestroy(&deep));
}

static void weights_below_sign_are_unknown(void **state)
{
  FwObservables o;

  (void)state;
  set_problem(12, 5, FW_ACTIVATION_SIGN);
  o = observe();
  check_hidden(&o, 1e-11);
  assert_close(o.hidden_trace_before, 1.0, 1e-15);
  assert_close(isnan(o.weight_trace_after) && !o.n_weight, 1, 0);
  TestCall(FwObservablesDestroy(&o));
}

static void several_outputs_are_refused(void **state)
{
  FwDataset     data;
  FwObservables o;

  (void)state;
  set_problem(9, 5, FW_ACTIVATION_ERF);
  data = open_data("-data_source glyphs -data_encoding onehot -data_train 9 -data_test 0");
  assert_close(FwObservablesCreate(grid, &p.model, data, p.order, &o), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  TestCall(FwDatasetDestroy(&data));
}

static void record_holds_every_observable(void **state)
{
  FwObservables o;
  FwRecord      record;

  (void)state;
  set_problem(12, 5, FW_ACTIVATION_ERF);
  o = observe();
  TestCall(FwRecordCreate(&record));
  TestCall(FwObservablesRecord(&o, record));
  assert_close(FwRecordAt(record, "alignment_after", 0), o.alignment_after, 0.0);
  assert_close(FwRecordAt(record, "kernel_distance", 0), o.kernel_distance, 0.0);
  TestCall(FwRecordDestroy(&record));
  TestCall(FwObservablesDestroy(&o));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_linear_example_is_solved_by_hand),
    cmocka_unit_test(infinite_width_learns_no_features),
    cmocka_unit_test(weights_follow_the_derivative_of_the_evidence),
    cmocka_unit_test(blocks_over_ranks_equal_dense_algebra),
    cmocka_unit_test(alignments_are_those_of_the_reference_file),
    cmocka_unit_test(deeper_networks_have_only_what_the_theory_gives),
    cmocka_unit_test(weights_below_sign_are_unknown),
    cmocka_unit_test(several_outputs_are_refused),
    cmocka_unit_test(record_holds_every_observable),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  folder_create();
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("observables", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  folder_destroy();
  return FwFinish(0) || n_failed;
}
