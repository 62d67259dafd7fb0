/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ranks: 1 2 4 */
/** @file
 * Loss, gradient, second derivative and sensitivity of plain networks: against differences, identities and the
 * reference values of tests/reference/ansatz.json.
 */

#include "../support/ansatz_reference.h"

enum { N_EXAMPLE = 11 };

static const double h = 1e-5; /* of central differences: error h^2 from the third derivative, 1e-16 / h from rounding */

/* A network 4-5-3-2 of one activation on examples of the closed formula */
static FwLearnerShape make_shape(FwActivationType activation, PetscBool has_bias)
{
  return (FwLearnerShape){
    .n_layer = 3, .width = {4, 5, 3, 2},
         .activation = activation, .has_bias = has_bias
  };
}

static double x[4 * N_EXAMPLE], y[2 * N_EXAMPLE];

static FwLearner make_learner(const FwLearnerShape *shape, FwLoss loss, PetscInt n_example)
{
  FwLearner learner;

  for (int n = 0; n < N_EXAMPLE; n++) {
    for (int i = 0; i < 4; i++) x[4 * n + i] = qf(1, i, n);
    for (int k = 0; k < 2; k++) y[2 * n + k] = loss == FW_LOSS_MSE ? qf(2, k, n) : (double)((n + k) % 2);
  }
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, shape, loss, n_example, x, y, &learner));
  return learner;
}

static void make_theta(const FwLearnerShape *shape, long s, double theta[])
{
  for (PetscInt i = 0; i < FwLearnerShapeSize(shape); i++) theta[i] = 0.9 * qf(s, i, 3);
}

/* Largest error of the gradient in differences of the objective, and of the product in differences of the gradient */
static void check_derivatives(FwActivationType activation, PetscBool has_bias, FwLoss loss)
{
  const FwLearnerShape shape   = make_shape(activation, has_bias);
  const FwDecay        decay   = {0.03, 0.2};
  const PetscInt       n       = FwLearnerShapeSize(&shape);
  FwLearner            learner = make_learner(&shape, loss, N_EXAMPLE);
  double               theta[64], v[64], gradient[64], above[64], below[64], product[64], objective, up, down;

  make_theta(&shape, 5, theta);
  make_theta(&shape, 6, v);
  TestCall(FwLearnerGradient(learner, decay, theta, &objective, gradient));
  for (PetscInt i = 0; i < n; i++) {
    const double at = theta[i];

    theta[i] = at + h;
    TestCall(FwLearnerGradient(learner, decay, theta, &up, above));
    theta[i] = at - h;
    TestCall(FwLearnerGradient(learner, decay, theta, &down, below));
    theta[i] = at;
    assert_close(gradient[i], (up - down) / (2.0 * h), 1e-8);
  }
  TestCall(FwLearnerHessianProduct(learner, decay, theta, v, product));
  for (PetscInt i = 0; i < n; i++) theta[i] += h * v[i];
  TestCall(FwLearnerGradient(learner, decay, theta, NULL, above));
  for (PetscInt i = 0; i < n; i++) theta[i] -= 2.0 * h * v[i];
  TestCall(FwLearnerGradient(learner, decay, theta, NULL, below));
  for (PetscInt i = 0; i < n; i++) assert_close(product[i], (above[i] - below[i]) / (2.0 * h), 3e-8);
  TestCall(FwLearnerDestroy(&learner));
}

static void gradient_and_hessian_product_are_differences(void **state)
{
  static const FwActivationType activation[] = {FW_ACTIVATION_LINEAR,    FW_ACTIVATION_TANH,     FW_ACTIVATION_GELU,
                                                FW_ACTIVATION_QUADRATIC, FW_ACTIVATION_SOFTPLUS, FW_ACTIVATION_RELU,
                                                FW_ACTIVATION_LEAKY_RELU};

  (void)state;
  for (size_t a = 0; a < sizeof activation / sizeof *activation; a++)
    for (int loss = 0; loss < FW_LOSS_COUNT; loss++) check_derivatives(activation[a], PETSC_TRUE, (FwLoss)loss);
  check_derivatives(FW_ACTIVATION_LINEAR, PETSC_FALSE, FW_LOSS_MSE);
  check_derivatives(FW_ACTIVATION_TANH, PETSC_FALSE, FW_LOSS_CROSS_ENTROPY);
}

/* The mean over all examples as a batch is the gradient: through examples here, through their moments there */
static void moments_of_the_examples_say_what_the_examples_say(void **state)
{
  const FwDecay none = {0.0, 0.0};

  (void)state;
  for (int has_bias = 0; has_bias < 2; has_bias++) {
    const FwLearnerShape shape   = make_shape(FW_ACTIVATION_LINEAR, (PetscBool)has_bias);
    FwLearner            learner = make_learner(&shape, FW_LOSS_MSE, N_EXAMPLE);
    PetscInt             all[N_EXAMPLE];
    double               theta[64], gradient[64], batch[64], objective, batch_objective;

    for (PetscInt i = 0; i < N_EXAMPLE; i++) all[i] = (3 * i) % N_EXAMPLE;
    make_theta(&shape, 5, theta);
    TestCall(FwLearnerGradient(learner, none, theta, &objective, gradient));
    TestCall(FwLearnerBatchGradient(learner, none, N_EXAMPLE, all, theta, &batch_objective, batch));
    assert_close(objective, batch_objective, 1e-14);
    for (PetscInt i = 0; i < FwLearnerShapeSize(&shape); i++) assert_close(gradient[i], batch[i], 1e-14);
    TestCall(FwLearnerDestroy(&learner));
  }
}

/* By differences of f in the bias of layer l, which moves z_l and nothing else */
static void sensitivity_is_the_derivative_of_the_outputs(void **state)
{
  (void)state;
  for (int is_tanh = 0; is_tanh < 2; is_tanh++) {
    const FwLearnerShape shape   = make_shape(is_tanh ? FW_ACTIVATION_TANH : FW_ACTIVATION_LINEAR, PETSC_TRUE);
    FwLearner            learner = make_learner(&shape, FW_LOSS_MSE, N_EXAMPLE);
    double               theta[64], gram[3][25], mean[3][10], up[2 * N_EXAMPLE], down[2 * N_EXAMPLE];
    double              *grams[3] = {gram[0], gram[1], gram[2]}, *means[3] = {mean[0], mean[1], mean[2]};

    make_theta(&shape, 5, theta);
    TestCall(FwLearnerSensitivity(learner, theta, grams, means));
    for (PetscInt l = 1; l <= 3; l++) {
      const PetscInt n_l = shape.width[l];
      double        *b   = theta + FwLearnerShapeBias(&shape, l), d[5][2 * N_EXAMPLE];

      for (PetscInt a = 0; a < n_l; a++) {
        const double at = b[a];

        b[a] = at + h;
        TestCall(FwLearnerForward(learner, theta, N_EXAMPLE, x, up));
        b[a] = at - h;
        TestCall(FwLearnerForward(learner, theta, N_EXAMPLE, x, down));
        b[a] = at;
        for (int i = 0; i < 2 * N_EXAMPLE; i++) d[a][i] = (up[i] - down[i]) / (2.0 * h);
      }
      for (PetscInt a = 0; a < n_l; a++) {
        double of_first = 0.0;

        for (int n = 0; n < N_EXAMPLE; n++) of_first += d[a][2 * n] / N_EXAMPLE;
        assert_close(mean[l - 1][2 * a], of_first, 1e-9);
        for (PetscInt e = 0; e < n_l; e++) {
          double sum = 0.0;

          for (int i = 0; i < 2 * N_EXAMPLE; i++) sum += d[a][i] * d[e][i] / N_EXAMPLE;
          assert_close(gram[l - 1][a + e * n_l], sum, 1e-9);
        }
      }
    }
    TestCall(FwLearnerDestroy(&learner));
  }
}

static double norm(PetscInt n, const double v[])
{
  double square = 0.0;

  for (PetscInt i = 0; i < n; i++) square += v[i] * v[i];
  return sqrt(square);
}

/* |W_1^T K W_1| with K the sensitivity of layer 1 */
static double agop_norm(const FwLearnerShape *shape, const double theta[], const double gram[])
{
  const PetscInt n = shape->width[1], d = shape->width[0];
  double         square = 0.0;

  for (PetscInt i = 0; i < d; i++)
    for (PetscInt j = 0; j < d; j++) {
      double entry = 0.0;

      for (PetscInt a = 0; a < n; a++)
        for (PetscInt b = 0; b < n; b++) entry += theta[a + i * n] * gram[a + b * n] * theta[b + j * n];
      square += entry * entry;
    }
  return sqrt(square);
}

static void reference_rows_start_with_their_loss_gradient_and_agop(void **state)
{
  Reference       file  = reference_open("ansatz.json");
  const Reference cases = reference_get(file, "cases");

  (void)state;
  for (int i = 0; i < reference_size(cases); i++) {
    AnsatzCase c;
    FwLearner  learner;
    double     gradient[CASE_PARAMETERS], loss, objective, gram[CASE_WIDTH * CASE_WIDTH], *grams[8] = {gram};
    Reference  initial;

    case_read(reference_at(cases, i), &c);
    initial = reference_get(c.row, "initial");
    learner = case_learner(&c);
    TestCall(FwLearnerLoss(learner, c.theta, &loss));
    TestCall(FwLearnerGradient(learner, c.decay, c.theta, &objective, gradient));
    TestCall(FwLearnerSensitivity(learner, c.theta, grams, NULL));
    assert_close(loss, reference_value(initial, "loss"), 1e-11);
    assert_close(objective, reference_value(initial, "objective"), 1e-11);
    assert_close(norm(c.n_theta, gradient), reference_value(initial, "grad_norm"), 1e-11);
    assert_close(agop_norm(&c.shape, c.theta, gram), reference_value(initial, "norm_AGOP"), 1e-11);
    TestCall(FwLearnerDestroy(&learner));
  }
  reference_close(&file);
}

static double largest_difference_of_product(PetscInt n, const double factor[], const double gram[])
{
  double largest = 0.0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      double sum = 0.0;

      for (PetscInt k = 0; k < n; k++) sum += factor[k + i * n] * factor[k + j * n];
      largest = PetscMax(largest, PetscAbsReal(sum - gram[i + j * n]));
    }
  return largest;
}

/* Over several blocks and pieces, shared by all ranks or not: R^T R is the matrix, and S^T S the centred one; the same bits */
static void factors_of_the_sensitivity_are_those_of_its_matrices(void **state)
{
  enum { N = 700, D = 5, C = 3, N_1 = 34, N_2 = 7 };
  const FwLearnerShape shape = {
    .n_layer = 3, .width = {D, N_1, N_2, C},
         .activation = FW_ACTIVATION_TANH, .has_bias = PETSC_TRUE
  };
  const MPI_Comm comm[2] = {PETSC_COMM_SELF, PETSC_COMM_WORLD};
  static double  many_x[N * D], many_y[N * C], theta[512], factor[2][2][N_1 * N_1], centred[2][2][N_1 * N_1];
  static double  gram[2][N_1 * N_1], mean[2][N_1 * C];

  (void)state;
  for (int i = 0; i < N * D; i++) many_x[i] = qf(1, i % 97, i / 97);
  make_theta(&shape, 5, theta);
  for (int p = 0; p < 2; p++) {
    double   *grams[3] = {gram[0], gram[1]}, *means[3] = {mean[0], mean[1]};
    double   *factors[3] = {factor[p][0], factor[p][1]}, *of_centred[3] = {centred[p][0], centred[p][1]};
    FwLearner learner;

    TestCall(FwLearnerCreate(comm[p], &shape, FW_LOSS_MSE, N, many_x, many_y, &learner));
    TestCall(FwLearnerSensitivity(learner, theta, grams, means));
    TestCall(FwLearnerSensitivityFactors(learner, theta, factors, of_centred));
    TestCall(FwLearnerDestroy(&learner));
  }
  assert_memory_equal(factor[0], factor[1], sizeof factor[0]);
  assert_memory_equal(centred[0], centred[1], sizeof centred[0]);
  for (int l = 0; l < 2; l++) {
    const PetscInt n = l == 0 ? N_1 : N_2;

    assert_close(largest_difference_of_product(n, factor[0][l], gram[l]), 0.0, 1e-13);
    for (PetscInt i = 0; i < n * n; i++)
      for (PetscInt k = 0; k < C; k++) gram[l][i] -= mean[l][k + i / n * C] * mean[l][k + i % n * C];
    assert_close(largest_difference_of_product(n, centred[0][l], gram[l]), 0.0, 1e-13);
  }
}

/* A network wide enough for several blocks, alone and shared by all ranks: loss, gradient, batch, product, sensitivity */
static void ranks_that_share_a_network_give_the_same_bits(void **state)
{
  enum { N = 300, D = 5, C = 3, BATCH = 280, SMALL = 100 };
  const FwLearnerShape shape = {
    .n_layer = 3, .width = {D, 34, 7, C},
         .activation = FW_ACTIVATION_TANH, .has_bias = PETSC_TRUE
  };
  const FwDecay  decay   = {0.01, 0.0};
  const PetscInt n       = FwLearnerShapeSize(&shape);
  const MPI_Comm comm[2] = {PETSC_COMM_SELF, PETSC_COMM_WORLD};
  static double  many_x[N * D], many_y[N * C], theta[512], v[512], gram[2][34 * 34], mean[2][34 * C];
  static double  gradient[2][512], batch[2][512], small[2][512], product[2][512], single[2][512];
  PetscInt       example[BATCH];
  double         objective[2], loss[2];

  (void)state;
  for (int i = 0; i < N * D; i++) many_x[i] = qf(1, i % 97, i / 97);
  for (int i = 0; i < N * C; i++) many_y[i] = qf(2, i % 97, i / 97);
  for (int i = 0; i < BATCH; i++) example[i] = (7 * i) % N;
  make_theta(&shape, 5, theta);
  make_theta(&shape, 6, v);
  for (int p = 0; p < 2; p++) {
    double   *grams[3] = {gram[p]}, *means[3] = {mean[p]};
    FwLearner learner;

    TestCall(FwLearnerCreate(comm[p], &shape, FW_LOSS_MSE, N, many_x, many_y, &learner));
    TestCall(FwLearnerLoss(learner, theta, &loss[p]));
    TestCall(FwLearnerGradient(learner, decay, theta, &objective[p], gradient[p]));
    TestCall(FwLearnerBatchGradient(learner, decay, BATCH, example, theta, NULL, batch[p]));
    TestCall(FwLearnerBatchGradient(learner, decay, SMALL, example, theta, NULL, small[p]));
    TestCall(FwLearnerHessianProduct(learner, decay, theta, v, product[p]));
    TestCall(FwLearnerSensitivity(learner, theta, grams, means));
    TestCall(FwLearnerSetSingle(learner, PETSC_TRUE));
    TestCall(FwLearnerBatchGradient(learner, decay, BATCH, example, theta, NULL, single[p]));
    TestCall(FwLearnerDestroy(&learner));
  }
  assert_true(loss[0] == loss[1] && objective[0] == objective[1]);
  assert_memory_equal(gradient[0], gradient[1], (size_t)n * sizeof(double));
  assert_memory_equal(batch[0], batch[1], (size_t)n * sizeof(double));
  assert_memory_equal(small[0], small[1], (size_t)n * sizeof(double));
  assert_memory_equal(product[0], product[1], (size_t)n * sizeof(double));
  assert_memory_equal(single[0], single[1], (size_t)n * sizeof(double));
  assert_memory_equal(gram[0], gram[1], sizeof gram[0]);
  assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
}

/* To rounding of single precision, and back to the very same numbers */
static void single_precision_is_close_and_can_be_left(void **state)
{
  const FwLearnerShape shape   = make_shape(FW_ACTIVATION_GELU, PETSC_TRUE);
  const FwDecay        decay   = {0.03, 0.2};
  const PetscInt       n       = FwLearnerShapeSize(&shape);
  FwLearner            learner = make_learner(&shape, FW_LOSS_MSE, N_EXAMPLE);
  double               theta[64], gradient[64], single[64], again[64], objective[2], largest = 0.0;

  (void)state;
  make_theta(&shape, 5, theta);
  TestCall(FwLearnerGradient(learner, decay, theta, &objective[0], gradient));
  TestCall(FwLearnerSetSingle(learner, PETSC_TRUE));
  TestCall(FwLearnerGradient(learner, decay, theta, &objective[1], single));
  TestCall(FwLearnerSetSingle(learner, PETSC_FALSE));
  TestCall(FwLearnerGradient(learner, decay, theta, NULL, again));
  assert_close(objective[1], objective[0], 1e-6);
  for (PetscInt i = 0; i < n; i++) {
    assert_close(single[i], gradient[i], 1e-6);
    largest = fmax(largest, fabs(single[i] - gradient[i]));
  }
  assert_true(largest > 1e-12); /* it was another precision */
  assert_memory_equal(gradient, again, (size_t)n * sizeof(double));
  TestCall(FwLearnerDestroy(&learner));
}

static void shapes_that_cannot_be_are_refused(void **state)
{
  FwLearnerShape shape = make_shape(FW_ACTIVATION_TANH, PETSC_FALSE);
  FwLearner      learner;

  (void)state;
  shape.width[1] = 0;
  assert_int_equal(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 1, x, y, &learner), FW_ERR_INPUT);
  FwErrorClear();
  shape = make_shape(FW_ACTIVATION_TANH, PETSC_FALSE);
  assert_int_equal(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 0, x, y, &learner), FW_ERR_INPUT);
  FwErrorClear();
  y[0] = -1.0;
  assert_int_equal(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_CROSS_ENTROPY, 1, x, y, &learner), FW_ERR_INPUT);
  FwErrorClear();
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(gradient_and_hessian_product_are_differences),
    cmocka_unit_test(moments_of_the_examples_say_what_the_examples_say),
    cmocka_unit_test(sensitivity_is_the_derivative_of_the_outputs),
    cmocka_unit_test(reference_rows_start_with_their_loss_gradient_and_agop),
    cmocka_unit_test(factors_of_the_sensitivity_are_those_of_its_matrices),
    cmocka_unit_test(ranks_that_share_a_network_give_the_same_bits),
    cmocka_unit_test(single_precision_is_close_and_can_be_left),
    cmocka_unit_test(shapes_that_cannot_be_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("learner", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
