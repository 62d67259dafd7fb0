/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Measures of the Neural Feature Ansatz, and the starts: reference values, closed forms, identities.
 * ranks: 1
 */

#include <finwidth/alignment.h>
#include <finwidth/counterexample.h>
#include <finwidth/feature.h>
#include <finwidth/initial.h>
#include "../support/ansatz_reference.h"

#include <math.h>

static Reference reference;

/* --- reference values ---------------------------------------------------------------------------------------------- */

typedef struct {
  FwAlignmentRows rows;
  double          alpha[4], *row;
} Row;

static Row measure(const AnsatzCase *c, FwLearner learner, const double theta[])
{
  Row r = {
    .alpha = {1.0 / (double)c->shape.n_layer, 0.5, 1.0, 0.1}
  };

  TestCall(FwAlignmentLayout(&c->shape, 4, r.alpha, &r.rows));
  r.row = calloc((size_t)r.rows.n, sizeof *r.row);
  TestCall(FwAlignmentMeasure(&r.rows, learner, c->decay, c->theta, theta, r.row));
  return r;
}

static double at(const Row *r, FwAlignmentField field, PetscInt i)
{
  return r->row[r->rows.column[field].first + i];
}

/* A null of the file is a NaN of ours */
static void check(const Row *r, FwAlignmentField field, PetscInt i, Reference expected)
{
  const double value = reference_number(expected), actual = at(r, field, i);

  if (expected.node->type == YAML_SCALAR_NODE && !strcmp((const char *)expected.node->data.scalar.value, "null"))
    assert_close(isnan(actual), 1, 0.0);
  else
    assert_close(actual, value, 1e-8);
}

static void check_list(const Row *r, FwAlignmentField field, Reference expected)
{
  for (int i = 0; i < reference_size(expected); i++) check(r, field, i, reference_at(expected, i));
}

static void check_case(const AnsatzCase *c, FwLearner learner, const double theta[], Reference expected)
{
  Row r = measure(c, learner, theta);

  check(&r, FW_ALIGNMENT_LOSS, 0, reference_get(expected, "loss"));
  check(&r, FW_ALIGNMENT_OBJECTIVE, 0, reference_get(expected, "objective"));
  check(&r, FW_ALIGNMENT_GRADIENT_NORM, 0, reference_get(expected, "grad_norm"));
  check(&r, FW_ALIGNMENT_WEIGHT_NORM, 0, reference_get(expected, "param_norm"));
  check(&r, FW_ALIGNMENT_FEATURE_NORM, 0, reference_get(expected, "norm_M"));
  check(&r, FW_ALIGNMENT_AGOP_NORM, 0, reference_get(expected, "norm_AGOP"));
  check(&r, FW_ALIGNMENT_SIMILARITY, 0, reference_get(expected, "cos_1_over_L"));
  check(&r, FW_ALIGNMENT_SIMILARITY, 1, reference_get(expected, "cos_half"));
  check(&r, FW_ALIGNMENT_SIMILARITY, 2, reference_get(expected, "cos_one"));
  check(&r, FW_ALIGNMENT_BEST_ALPHA, 0, reference_get(expected, "best_alpha"));
  check(&r, FW_ALIGNMENT_BEST_SIMILARITY, 0, reference_get(expected, "best_cos"));
  check(&r, FW_ALIGNMENT_SLOPE_ALPHA, 0, reference_get(expected, "slope_alpha"));
  check(&r, FW_ALIGNMENT_RESIDUAL, 0, reference_get(expected, "resid"));
  check_list(&r, FW_ALIGNMENT_LAYER_SIMILARITY, reference_get(expected, "layer_cos"));
  check_list(&r, FW_ALIGNMENT_IMBALANCE, reference_get(expected, "imbalance"));
  check_list(&r, FW_ALIGNMENT_AGOP_EIGENVALUE, reference_get(expected, "agop_eig"));
  free(r.row);
}

static void train(AnsatzCase *c, FwLearner learner, double theta[])
{
  FwTrainPlan  plan;
  FwTrainRun   run = {.learner = learner, .seed = 1};
  FwTraining   training;
  FwTrainState end;
  const double time = case_plan(c, &plan, &run);

  TestCall(FwTrainingCreate(&plan, 1, &run, &training));
  TestCall(FwTrainingAdvance(training, time));
  TestCall(FwTrainingGetState(training, 0, &end));
  TestCall(PetscArraycpy(theta, end.theta, c->n_theta));
  TestCall(FwTrainingDestroy(&training));
}

static void reference_cases_are_measured_as_the_file_says_at_their_start_and_end(void **state)
{
  const Reference cases = reference_get(reference, "cases");

  (void)state;
  assert_close(reference_size(cases), 13, 0.0);
  for (int i = 0; i < reference_size(cases); i++) {
    AnsatzCase c;
    FwLearner  learner;
    double     theta[CASE_PARAMETERS];

    case_read(reference_at(cases, i), &c);
    learner = case_learner(&c);
    check_case(&c, learner, c.theta, reference_get(c.row, "initial"));
    train(&c, learner, theta);
    check_case(&c, learner, theta, reference_get(c.row, "result"));
    TestCall(FwLearnerDestroy(&learner));
  }
}

/* W^T (gram - mean^T mean) W and dW^T gram dW themselves, against W^T W and dW^T dW, at alpha = 1 */
static double cosine_through(PetscInt n, PetscInt d, const double w[], const double k[])
{
  double product = 0.0, square[2] = {0.0};

  for (PetscInt i = 0; i < d; i++)
    for (PetscInt j = 0; j < d; j++) {
      double m = 0.0, a = 0.0;

      for (PetscInt p = 0; p < n; p++) {
        m += w[i * n + p] * w[j * n + p];
        for (PetscInt q = 0; q < n; q++) a += w[i * n + p] * k[q * n + p] * w[j * n + q];
      }
      product += m * a;
      square[0] += m * m;
      square[1] += a * a;
    }
  return product / sqrt(square[0] * square[1]);
}

static void centred_and_updated_features_agree_with_the_matrices(void **state)
{
  const Reference cases = reference_get(reference, "cases");
  AnsatzCase      c;
  FwLearner       learner;
  double          theta[CASE_PARAMETERS], gram[64], mean[64], update[64], *grams[FW_LEARNER_LAYERS] = {gram},
                                                                 *means[FW_LEARNER_LAYERS] = {mean};

  (void)state;
  case_read(reference_at(cases, 5), &c); /* GELU, 6-8-3 */
  assert_close(c.shape.width[1], 8, 0.0);
  learner = case_learner(&c);
  for (PetscInt i = 0; i < c.n_theta; i++) theta[i] = c.theta[i] + 0.1 * qf(7, i % 90, 2);
  for (PetscInt i = 0; i < 48; i++) update[i] = theta[i] - c.theta[i];
  Row r = measure(&c, learner, theta);

  TestCall(FwLearnerSensitivity(learner, theta, grams, means));
  assert_close(at(&r, FW_ALIGNMENT_UPDATE, 0), cosine_through(8, 6, update, gram), 1e-12);
  for (PetscInt i = 0; i < 64; i++)
    for (PetscInt o = 0; o < 3; o++) gram[i] -= mean[i / 8 * 3 + o] * mean[i % 8 * 3 + o];
  assert_close(at(&r, FW_ALIGNMENT_CENTRED, 2), cosine_through(8, 6, theta, gram), 1e-10);
  TestCall(FwLearnerDestroy(&learner));
  free(r.row);
}

/* The invariant with biases: of a balanced start Delta = b b^T at all times */
static void imbalance_of_a_biased_network_is_that_of_its_biases(void **state)
{
  const Reference cases = reference_get(reference, "cases");
  AnsatzCase      c;
  FwLearner       learner;
  double          theta[CASE_PARAMETERS];

  (void)state;
  case_read(reference_at(cases, 4), &c); /* F7 */
  assert_close(c.shape.has_bias, 1, 0.0);
  learner = case_learner(&c);
  train(&c, learner, theta);
  Row r = measure(&c, learner, theta);

  for (PetscInt l = 0; l < 2; l++) {
    assert_close(at(&r, FW_ALIGNMENT_IMBALANCE, l) > 0.1, 1, 0.0);
    assert_close(at(&r, FW_ALIGNMENT_IMBALANCE_BIAS, l), 0.0, 1e-10);
  }
  TestCall(FwLearnerDestroy(&learner));
  free(r.row);
}

/* --- closed forms -------------------------------------------------------------------------------------------------- */

/* M = I and A = diag(p), by hand */
static void cosine_of_a_diagonal_is_its_formula(void **state)
{
  const double w[] = {1.0, 0.0, 0.0, 1.0}, p[] = {0.9, 0.1}, t[] = {sqrt(0.9), 0.0, 0.0, sqrt(0.1)};
  FwFeature    feature;
  double       alpha, similarity;

  (void)state;
  TestCall(FwFeatureCreate(2, 2, w, 2, t, 1e-14, &feature));
  for (double a = 0.1; a < 2.1; a += 0.4)
    assert_close(FwFeatureSimilarity(feature, a),
                 (pow(p[0], a) + pow(p[1], a)) / sqrt(2.0 * (pow(p[0], 2 * a) + pow(p[1], 2 * a))), 1e-14);
  TestCall(FwFeatureBestAlpha(feature, &alpha, &similarity));
  assert_close(alpha, 0.01, 1e-14); /* the cosine falls: the end of the interval */
  assert_close(FwFeatureSlopeAlpha(feature), 0.0, 1e-14);
  TestCall(FwFeatureDestroy(&feature));
}

/* One output: A has rank one, its powers are proportional */
static void one_direction_leaves_alpha_undetermined(void **state)
{
  const double w[] = {1.0, 0.5, -0.3, 0.2, 0.7, 1.1}, t[] = {0.4, -0.8};
  FwFeature    feature;
  double       alpha, similarity;

  (void)state;
  TestCall(FwFeatureCreate(2, 3, w, 1, t, 1e-14, &feature));
  TestCall(FwFeatureBestAlpha(feature, &alpha, &similarity));
  assert_close(isnan(alpha), 1, 0.0);
  assert_close(isnan(FwFeatureSlopeAlpha(feature)), 1, 0.0);
  assert_close(FwFeatureSimilarity(feature, 0.1), FwFeatureSimilarity(feature, 1.0), 1e-14);
  assert_close(similarity, FwFeatureSimilarity(feature, 1.0), 1e-14);
  TestCall(FwFeatureDestroy(&feature));
}

/* Pearson, residual and matrices against the d x d objects themselves */
static void shortcuts_agree_with_the_matrices(void **state)
{
  enum { N = 3, D = 5, M = 4 };
  double    w[N * D], t[M * N], m[D * D], a[D * D], diagonal[2][D], mean[2] = {0.0}, product = 0.0, square[2] = {0.0};
  double    difference = 0.0, norm = 0.0, residual;
  FwFeature feature;

  (void)state;
  for (int i = 0; i < N * D; i++) w[i] = qf(1, i, 2);
  for (int i = 0; i < M * N; i++) t[i] = qf(2, i, 3);
  TestCall(FwFeatureCreate(N, D, w, M, t, 1e-14, &feature));
  TestCall(FwFeatureMatrices(feature, 0.7, m, a));
  TestCall(FwFeatureDiagonals(feature, 0.7, diagonal[0], diagonal[1]));
  for (int i = 0; i < D * D; i++) {
    mean[0] += m[i] / (D * D);
    mean[1] += a[i] / (D * D);
  }
  for (int i = 0; i < D * D; i++) {
    product += (m[i] - mean[0]) * (a[i] - mean[1]);
    square[0] += (m[i] - mean[0]) * (m[i] - mean[0]);
    square[1] += (a[i] - mean[1]) * (a[i] - mean[1]);
    difference += (m[i] - a[i]) * (m[i] - a[i]);
    norm += m[i] * m[i];
  }
  assert_close(FwFeaturePearson(feature, 0.7), product / sqrt(square[0] * square[1]), 1e-13);
  TestCall(FwFeatureResidual(feature, 0.7, &residual));
  assert_close(residual, sqrt(difference / norm), 1e-13);
  for (int i = 0; i < D; i++) {
    assert_close(diagonal[0][i], m[i * (D + 1)], 1e-13);
    assert_close(diagonal[1][i], a[i * (D + 1)], 1e-13);
  }
  TestCall(FwFeatureDestroy(&feature));
}

/* Cases of the file that are no training runs */
static void check_counterexample(FwCaseKind kind, PetscInt n, const double value[], double start, double time,
                                 Reference expected)
{
  FwCase     c;
  AnsatzCase data;
  FwLearner  learner;

  memset(&data, 0, sizeof data);
  TestCall(FwCaseCreate(kind, n, value, start, &c));
  data.shape = c.shape;
  double *x = calloc((size_t)(c.n_example * c.shape.width[0]), sizeof *x), *y = calloc((size_t)c.n_example, sizeof *y);

  TestCall(FwCaseExamples(&c, x, y));
  TestCall(FwCaseExact(&c, time, data.theta));
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &c.shape, FW_LOSS_MSE, c.n_example, x, y, &learner));
  check_case(&data, learner, data.theta, expected);
  TestCall(FwLearnerDestroy(&learner));
  free(x);
  free(y);
}

static void counterexamples_have_the_closed_forms_of_the_file(void **state)
{
  const Reference closed = reference_get(reference, "closed_form");
  const double    p[] = {0.9, 0.1}, s[] = {1.0, 4.0}, wide[] = {2.0, 0.03}, narrow[] = {4.0, 0.01};

  (void)state;
  check_counterexample(FW_CASE_RELU_CLUSTERS, 2, p, 0.3, 10.0,
                       reference_get(reference_get(closed, "relu_clusters_logistic"), "metrics"));
  check_counterexample(FW_CASE_QUADRATIC_AXES, 2, s, 0.5, 0.0,
                       reference_get(reference_get(closed, "quad_axes"), "metrics"));
  check_counterexample(FW_CASE_TANH_STATIC, 2, narrow, 1.0, 0.0, reference_get(closed, "tanh_static_w4_kappa0.01"));
  check_counterexample(FW_CASE_TANH_STATIC, 2, wide, 1.0, 0.0, reference_get(closed, "tanh_static_w2_kappa0.03"));
}

/* A case at the weights of its closed form */
static Row measure_case(FwCaseKind kind, PetscInt n, const double value[])
{
  FwCase     c;
  AnsatzCase data;
  FwLearner  learner;
  Row        r;
  double     x[64], y[32];

  memset(&data, 0, sizeof data);
  TestCall(FwCaseCreate(kind, n, value, 1.0, &c));
  data.shape = c.shape;
  TestCall(FwCaseExamples(&c, x, y));
  TestCall(FwCaseExact(&c, 0.0, data.theta));
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &c.shape, FW_LOSS_MSE, c.n_example, x, y, &learner));
  r = measure(&data, learner, data.theta);
  TestCall(FwLearnerDestroy(&learner));
  return r;
}

/* Eigenvalues 1 and 2.3e-22 of A: by hand det A = w^2 s^2 (2/9) tanh^4 kappa, tr A = w^2 s^2 + <t^2>. The smaller one makes
   the cosine at alpha = 0.1. Numbers of mpmath with 60 digits */
static void eigenvalues_that_are_far_apart_are_right(void **state)
{
  const double values[] = {8.0, 0.003},
               cosine[] = {1.40653246623659e-7, 1.40653246623659e-7, 1.40637968253477e-7, 0.00686774335381199};
  Row r                 = measure_case(FW_CASE_TANH_STATIC, 2, values);

  (void)state;
  assert_close(at(&r, FW_ALIGNMENT_AGOP_EIGENVALUE, 0), 0.999988000138967, 1e-14);
  assert_close(at(&r, FW_ALIGNMENT_AGOP_EIGENVALUE, 1) / 2.33425794316686e-22, 1.0, 1e-8);
  for (PetscInt a = 0; a < 4; a++) assert_close(at(&r, FW_ALIGNMENT_SIMILARITY, a) / cosine[a], 1.0, 1e-8);
  free(r.row);
}

/* loss 0, AGOP exactly 0, |W_1^T W_1| = 8: no cosine exists */
static void biases_can_hide_all_features(void **state)
{
  Row r = measure_case(FW_CASE_RELU_BIAS, 0, NULL);

  (void)state;
  assert_close(at(&r, FW_ALIGNMENT_LOSS, 0), 0.0, 0.0);
  assert_close(at(&r, FW_ALIGNMENT_AGOP_NORM, 0), 0.0, 0.0);
  assert_close(at(&r, FW_ALIGNMENT_FEATURE_NORM, 0), 8.0, 1e-15);
  assert_close(isnan(at(&r, FW_ALIGNMENT_SIMILARITY, 0)), 1, 0.0);
  free(r.row);
}

/* --- starts ---------------------------------------------------------------------------------------------------------- */

static const FwLearnerShape deep = {
  .n_layer = 8, .width = {64, 9, 12, 7, 8, 6, 10, 9, 5},
       .activation = FW_ACTIVATION_LINEAR
};

static Row measure_start(const FwInitial *initial, const FwLearnerShape *shape)
{
  static double  alpha[3] = {0.5, 1.0, 2.0};
  Row            r;
  FwLearner      learner;
  const PetscInt d = shape->width[0], c = shape->width[shape->n_layer];
  double        *theta = calloc((size_t)FwLearnerShapeSize(shape), sizeof *theta);
  double        *x = calloc((size_t)(4 * d), sizeof *x), *y = calloc((size_t)(4 * c), sizeof *y);

  for (PetscInt i = 0; i < 4 * d; i++) x[i] = qf(1, i % 97, i);
  TestCall(FwInitialDraw(initial, shape, theta));
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, shape, FW_LOSS_MSE, 4, x, y, &learner));
  TestCall(FwAlignmentLayout(shape, 3, alpha, &r.rows));
  r.row = calloc((size_t)r.rows.n, sizeof *r.row);
  TestCall(FwAlignmentMeasure(&r.rows, learner, (FwDecay){0.0, 0.0}, theta, theta, r.row));
  TestCall(FwLearnerDestroy(&learner));
  free(theta);
  free(x);
  free(y);
  return r;
}

static void check_balance(const Row *r)
{
  const PetscInt L = r->rows.shape.n_layer;

  for (PetscInt l = 1; l < L; l++) assert_close(at(r, FW_ALIGNMENT_IMBALANCE, l - 1), 0.0, 1e-13);
  for (PetscInt l = 1; l <= L; l++) {
    assert_close(at(r, FW_ALIGNMENT_LAYER_SIMILARITY, l - 1), 1.0, 1e-14);
    assert_close(at(r, FW_ALIGNMENT_LAYER_BEST_ALPHA, l - 1), 1.0 / (double)(L - l + 1), 1e-10);
  }
  assert_close(at(r, FW_ALIGNMENT_RESIDUAL, 0), 0.0, 1e-13); /* the root of a Gram matrix would leave 1e-2 here */
  assert_close(at(r, FW_ALIGNMENT_TELESCOPING_DIFFERENCE, 0), 0.0, 1e-11);
}

static void balanced_starts_satisfy_the_ansatz_in_every_layer(void **state)
{
  const double         singular[] = {3.0, 2.0, 1.5, 0.8};
  const FwLearnerShape rising     = {
        .n_layer = 4, .width = {5, 4, 6, 7, 8},
             .activation = FW_ACTIVATION_LINEAR
  };
  FwInitial initial = {.scheme = FW_INITIAL_BALANCED, .scale = 1.0, .seed = 3};
  Row       r       = measure_start(&initial, &deep);

  (void)state;
  check_balance(&r);
  free(r.row);
  initial.n_singular = 4;
  initial.singular   = singular;
  for (int s = 0; s < 2; s++) {
    initial.scheme = s ? FW_INITIAL_HOUSEHOLDER : FW_INITIAL_BALANCED;
    r              = measure_start(&initial, &deep);
    check_balance(&r);
    for (PetscInt j = 0; j < 4; j++)
      assert_close(at(&r, FW_ALIGNMENT_AGOP_EIGENVALUE, j), singular[j] * singular[j], 1e-12);
    free(r.row);
  }
  initial = (FwInitial){.scheme = FW_INITIAL_BALANCED_FIRST, .scale = 1.0, .seed = 3};
  r       = measure_start(&initial, &rising);
  check_balance(&r);
  free(r.row);
}

/* The negative control of the above, and the bound of the difference by the imbalance */
static void unbalanced_starts_break_it_within_the_telescoping_bound(void **state)
{
  (void)state;
  for (int s = FW_INITIAL_SMALL; s < FW_INITIAL_COUNT; s++) {
    const FwInitial initial = {
      .scheme = (FwInitialScheme)s, .scale = FwInitialDefaultScale((FwInitialScheme)s), .seed = 5};
    Row r = measure_start(&initial, &deep);

    assert_close(at(&r, FW_ALIGNMENT_LAYER_SIMILARITY, 0) < 0.99, 1, 0.0);
    assert_close(at(&r, FW_ALIGNMENT_TELESCOPING_DIFFERENCE, 0) > 0.0, 1, 0.0);
    assert_close(at(&r, FW_ALIGNMENT_TELESCOPING_DIFFERENCE, 0) <= at(&r, FW_ALIGNMENT_TELESCOPING_BOUND, 0), 1, 0.0);
    free(r.row);
  }
}

static void impossible_balanced_starts_are_refused(void **state)
{
  const double singular[6] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
  FwInitial    initial     = {.scheme = FW_INITIAL_BALANCED_FIRST, .scale = 1.0};

  (void)state;
  assert_close(FwInitialCheck(&initial, &deep), FW_ERR_INPUT, 0.0);
  assert_close(strstr(FwErrorMessage(), "W_1 (9 x 64) has rank 9, but layer 8 has only width 5") != NULL, 1, 0.0);
  FwErrorClear();
  initial = (FwInitial){.scheme = FW_INITIAL_BALANCED, .scale = 1.0, .n_singular = 6, .singular = singular};
  assert_close(FwInitialCheck(&initial, &deep), FW_ERR_INPUT, 0.0);
  FwErrorClear();
}

/* A weight belongs to (seed, layer, row, column): a wider network has the same ones */
static void weights_do_not_depend_on_the_widths(void **state)
{
  const FwLearnerShape narrow = {
    .n_layer = 2, .width = {3, 4, 2},
         .has_bias = PETSC_TRUE
  };
  const FwLearnerShape wide = {
    .n_layer = 2, .width = {3, 6, 2},
         .has_bias = PETSC_TRUE
  };
  const FwInitial initial = {.scheme = FW_INITIAL_TORCH, .scale = 1.0, .seed = 8};
  double          a[26], b[38];

  (void)state;
  TestCall(FwInitialDraw(&initial, &narrow, a));
  TestCall(FwInitialDraw(&initial, &wide, b));
  for (int j = 0; j < 3; j++)
    for (int i = 0; i < 4; i++) assert_close(a[j * 4 + i], b[j * 6 + i], 0.0);
  for (int i = 0; i < 4; i++) assert_close(a[12 + i], b[18 + i], 0.0);
  for (int i = 0; i < 26; i++) assert_close(fabs(a[i]) < 1.0 / sqrt(i < 16 ? 3.0 : 4.0), 1, 0.0);
}

/* --- rates and collapse ------------------------------------------------------------------------------------------------ */

static void decay_rate_is_that_of_an_exponential(void **state)
{
  double time[30], imbalance[30];

  (void)state;
  for (int i = 0; i < 30; i++) {
    time[i]      = 2.0 * i;
    imbalance[i] = fmax(3.0 * exp(-0.4 * time[i]), 1e-9); /* the floor of an integrator */
  }
  assert_close(FwAlignmentRate(30, time, imbalance, 1.0), 0.4, 1e-12);
  assert_close(isnan(FwAlignmentRate(30, time, imbalance, 1e11)), 1, 0.0);
}

/* Batches keep up a thousandth of the start: it ends the fit ten times above */
static void decay_rate_does_not_see_the_floor(void **state)
{
  double time[60], imbalance[60];

  (void)state;
  for (int i = 0; i < 60; i++) {
    time[i]      = 1.0 * i;
    imbalance[i] = hypot(3.0 * exp(-0.4 * time[i]), 3e-3);
  }
  assert_close(FwAlignmentRate(60, time, imbalance, 1.0), 0.4, 2e-3);
}

/* White inputs, one mode of strength 2 */
static void critical_decay_of_white_data_is_that_of_the_file(void **state)
{
  const Reference expected = reference_get(reference_get(reference, "closed_form"), "mu_crit_sigma2");
  const double    x[] = {1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0}, y[] = {2.0, 2.0, -2.0, -2.0};

  (void)state;
  for (int L = 2; L <= 5; L++) {
    FwLearnerShape shape = {
      .n_layer = L, .width = {2, 2, 2, 2, 2, 2},
           .activation = FW_ACTIVATION_LINEAR
    };
    FwLearner       learner;
    char            key[2] = {(char)('0' + L), 0};
    FwAlignmentMode mode;

    shape.width[L] = 1;
    TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 4, x, y, &learner));
    TestCall(FwAlignmentModes(learner, 1, &mode));
    assert_close(mode.variance, 1.0, 1e-12);
    assert_close(FwAlignmentCriticalDecay(L, &mode), reference_value(expected, key), 1e-12);
    TestCall(FwLearnerDestroy(&learner));
  }
}

/* The root of its equation, from the teacher's own strength without decay to where the mode goes out */
static void a_mode_is_held_at_the_larger_root(void **state)
{
  const FwAlignmentMode mode = {.strength = 2.0, .variance = 0.5};

  (void)state;
  assert_close(FwAlignmentModeProduct(1, &mode, 1.5), 1.0, 1e-15); /* ridge regression */
  assert_close(FwAlignmentModeProduct(2, &mode, 0.5), 3.0, 1e-14);
  for (int L = 2; L <= 6; L++) {
    const double critical = FwAlignmentCriticalDecay(L, &mode), last = (L - 2) * 2.0 / (L - 1); /* w^L there */

    assert_close(FwAlignmentModeProduct(L, &mode, 0.0), 4.0, 1e-14);
    assert_close(FwAlignmentModeProduct(L, &mode, 1.0001 * critical), 0.0, 0.0);
    for (double part = 0.1; part < 1.0; part += 0.1) {
      const double product = FwAlignmentModeProduct(L, &mode, part * critical), w = pow(product, 1.0 / L);

      assert_true(product > last);
      assert_close((2.0 - 0.5 * product) * pow(w, L - 2), part * critical, 1e-13);
    }
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reference_cases_are_measured_as_the_file_says_at_their_start_and_end),
    cmocka_unit_test(centred_and_updated_features_agree_with_the_matrices),
    cmocka_unit_test(imbalance_of_a_biased_network_is_that_of_its_biases),
    cmocka_unit_test(cosine_of_a_diagonal_is_its_formula),
    cmocka_unit_test(one_direction_leaves_alpha_undetermined),
    cmocka_unit_test(shortcuts_agree_with_the_matrices),
    cmocka_unit_test(counterexamples_have_the_closed_forms_of_the_file),
    cmocka_unit_test(eigenvalues_that_are_far_apart_are_right),
    cmocka_unit_test(biases_can_hide_all_features),
    cmocka_unit_test(balanced_starts_satisfy_the_ansatz_in_every_layer),
    cmocka_unit_test(unbalanced_starts_break_it_within_the_telescoping_bound),
    cmocka_unit_test(impossible_balanced_starts_are_refused),
    cmocka_unit_test(weights_do_not_depend_on_the_widths),
    cmocka_unit_test(decay_rate_is_that_of_an_exponential),
    cmocka_unit_test(decay_rate_does_not_see_the_floor),
    cmocka_unit_test(critical_decay_of_white_data_is_that_of_the_file),
    cmocka_unit_test(a_mode_is_held_at_the_larger_root),
  };
  int failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  reference = reference_open("ansatz.json");
  failed    = cmocka_run_group_tests_name("alignment", tests, NULL, NULL);
  reference_close(&reference);
  return FwFinish(PETSC_SUCCESS) || failed;
}
