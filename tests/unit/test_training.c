/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ranks: 1 2 */
/** @file
 * Training: reference values, exact laws of the balance W_{l+1}^T W_{l+1} - W_l W_l^T, flows solved by hand, restarts.
 */

#include "../support/ansatz_reference.h"

static double norm(PetscInt n, const double v[])
{
  double square = 0.0;

  for (PetscInt i = 0; i < n; i++) square += v[i] * v[i];
  return sqrt(square);
}

/* --- reference values ------------------------------------------------------------------------------------------- */

static void check_end(const AnsatzCase *c, FwLearner learner, const double theta[])
{
  const Reference end = reference_get(c->row, "result"), imbalance = reference_get(end, "imbalance");
  double          loss, objective, gradient[CASE_PARAMETERS], sum = 0.0;

  TestCall(FwLearnerLoss(learner, theta, &loss));
  TestCall(FwLearnerGradient(learner, c->decay, theta, &objective, gradient));
  for (PetscInt i = 0; i < c->n_theta; i++) sum += theta[i];
  assert_close(loss, reference_value(end, "loss"), 1e-8);
  assert_close(objective, reference_value(end, "objective"), 1e-8);
  assert_close(norm(c->n_theta, gradient), reference_value(end, "grad_norm"), 1e-8);
  assert_close(theta[0], reference_value(end, "W1_00"), 1e-8);
  assert_close(theta[FwLearnerShapeWeight(&c->shape, c->shape.n_layer)], reference_value(end, "WL_00"), 1e-8);
  assert_close(sum, reference_value(end, "param_sum"), 1e-8);
  assert_close(norm(c->n_theta, theta), reference_value(end, "param_norm"), 1e-8);
  for (int l = 0; l < reference_size(imbalance); l++)
    assert_close(case_imbalance(&c->shape, theta, l + 1), reference_number(reference_at(imbalance, l)), 1e-8);
}

static void reference_rows_end_where_they_should(void **state)
{
  Reference       file  = reference_open("ansatz.json");
  const Reference cases = reference_get(file, "cases");

  (void)state;
  for (int i = 0; i < reference_size(cases); i++) {
    AnsatzCase   c;
    FwTrainPlan  plan;
    FwTrainRun   run = {.seed = 1};
    FwTraining   training;
    FwTrainState end;
    double       time;

    case_read(reference_at(cases, i), &c);
    run.learner = case_learner(&c);
    time        = case_plan(&c, &plan, &run);
    TestCall(FwTrainingCreate(&plan, 1, &run, &training));
    TestCall(FwTrainingAdvance(training, 0.5 * time)); /* a stop on the way changes nothing */
    TestCall(FwTrainingAdvance(training, time));
    TestCall(FwTrainingGetState(training, 0, &end));
    check_end(&c, run.learner, end.theta);
    TestCall(FwTrainingDestroy(&training));
    TestCall(FwLearnerDestroy(&run.learner));
  }
  reference_close(&file);
}

/* --- exact laws ------------------------------------------------------------------------------------------------- */

/* Delta_l = W_{l+1}^T W_{l+1} - W_l W_l^T, n_l x n_l */
static void balance(const FwLearnerShape *shape, const double w[], PetscInt l, double delta[])
{
  const PetscInt n = shape->width[l], n_in = shape->width[l - 1], n_out = shape->width[l + 1];
  const double  *lower = w + FwLearnerShapeWeight(shape, l), *upper = w + FwLearnerShapeWeight(shape, l + 1);

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      delta[i + j * n] = 0.0;
      for (PetscInt k = 0; k < n_out; k++) delta[i + j * n] += upper[k + i * n_out] * upper[k + j * n_out];
      for (PetscInt k = 0; k < n_in; k++) delta[i + j * n] -= lower[i + k * n] * lower[j + k * n];
    }
}

/* Row `number` of the file */
static void read_case(int number, AnsatzCase *c)
{
  static Reference file;

  if (!file.node) file = reference_open("ansatz.json");
  case_read(reference_at(reference_get(file, "cases"), number), c);
}

enum { UNBALANCED = 3, BIASED = 7 }; /* F4: linear 6-5-4-3 from LeCun's start; F12: softplus 6-8-7-3 with biases */

static FwTraining start(const FwTrainPlan *plan, FwLearner learner, FwDecay decay, double step, const double theta[])
{
  const FwTrainRun run = {learner, decay, step, 5, theta};
  FwTraining       training;

  TestCall(FwTrainingCreate(plan, 1, &run, &training));
  return training;
}

static const double *advance(FwTraining training, double time)
{
  FwTrainState state;

  TestCall(FwTrainingAdvance(training, time));
  TestCall(FwTrainingCheck(training));
  TestCall(FwTrainingGetState(training, 0, &state));
  return state.theta;
}

/* Delta+ = (1 - eta mu)^2 Delta + eta^2 (g_{l+1}^T g_{l+1} - g_l g_l^T), with all examples or with a batch */
static void check_recursion(const FwTrainPlan *plan)
{
  const FwDecay decay = {0.1, 0.1}, none = {0.0, 0.0};
  const double  eta = 0.05, keep = (1.0 - eta * decay.weight) * (1.0 - eta * decay.weight);
  AnsatzCase    c;
  FwLearner     learner;
  FwTraining    training;
  double        g[CASE_PARAMETERS], before[2][64], drift[2][64], after[64];

  read_case(UNBALANCED, &c);
  learner  = case_learner(&c);
  training = start(plan, learner, decay, eta, c.theta);
  for (int k = 0; k < 20; k++) {
    const double *theta = advance(training, k);
    PetscInt      batch[CASE_EXAMPLES];

    for (PetscInt i = 0; i < plan->batch; i++) batch[i] = (k * plan->batch + i) % c.n_example;
    if (plan->batch)
      TestCall(FwLearnerBatchGradient(learner, none, plan->batch, batch, theta, NULL, g));
    else
      TestCall(FwLearnerGradient(learner, none, theta, NULL, g));
    for (PetscInt l = 1; l < c.shape.n_layer; l++) {
      balance(&c.shape, theta, l, before[l - 1]);
      balance(&c.shape, g, l, drift[l - 1]);
    }
    theta = advance(training, k + 1);
    for (PetscInt l = 1; l < c.shape.n_layer; l++) {
      balance(&c.shape, theta, l, after);
      for (PetscInt i = 0; i < c.shape.width[l] * c.shape.width[l]; i++)
        assert_close(after[i], keep * before[l - 1][i] + eta * eta * drift[l - 1][i], 2e-14);
    }
  }
  TestCall(FwTrainingDestroy(&training));
  TestCall(FwLearnerDestroy(&learner));
}

static void descent_obeys_the_recursion_of_the_balance(void **state)
{
  const FwTrainPlan gd = {.method = FW_TRAIN_GD}, sgd = {.method = FW_TRAIN_SGD, .batch = 7, .is_cyclic = PETSC_TRUE};

  (void)state;
  check_recursion(&gd);
  check_recursion(&sgd);
}

/* Largest |Delta(t) - exp(-2 mu t) Delta(0)| after training to t */
static double balance_error(const FwTrainPlan *plan, double mu, double step, double t)
{
  const FwDecay decay = {mu, mu};
  AnsatzCase    c;
  FwLearner     learner;
  FwTraining    training;
  const double *theta;
  double        before[64], after[64], worst = 0.0;

  read_case(UNBALANCED, &c);
  learner  = case_learner(&c);
  training = start(plan, learner, decay, step, c.theta);
  theta    = advance(training, t);
  for (PetscInt l = 1; l < c.shape.n_layer; l++) {
    balance(&c.shape, c.theta, l, before);
    balance(&c.shape, theta, l, after);
    for (PetscInt i = 0; i < c.shape.width[l] * c.shape.width[l]; i++)
      worst = fmax(worst, fabs(after[i] - exp(-2.0 * mu * t) * before[i]));
  }
  TestCall(FwTrainingDestroy(&training));
  TestCall(FwLearnerDestroy(&learner));
  return worst;
}

static void flows_keep_the_balance_and_decay_shrinks_it(void **state)
{
  const FwTrainPlan flow     = {.method = FW_TRAIN_FLOW, .tolerance = 1e-10};
  const FwTrainPlan low      = {.method = FW_TRAIN_FLOW, .tolerance = 1e-10, .is_low_order = PETSC_TRUE};
  const FwTrainPlan midpoint = {.method = FW_TRAIN_FLOW_MIDPOINT}, strang = {.method = FW_TRAIN_FLOW_STRANG};
  const FwTrainPlan adam = {.method = FW_TRAIN_ADAM};
  double            coarse, fine;

  (void)state;
  assert_close(balance_error(&flow, 0.1, 0.0, 4.0), 0.0, 1e-8);
  assert_close(balance_error(&low, 0.1, 0.0, 4.0), 0.0, 1e-8);
  assert_close(balance_error(&midpoint, 0.0, 0.5, 4.0), 0.0, 1e-12); /* a quadratic invariant, at any step */
  assert_close(balance_error(&strang, 0.1, 0.5, 4.0), 0.0, 1e-12);
  coarse = balance_error(&midpoint, 0.1, 0.2, 4.0); /* with decay only to second order in the step */
  fine   = balance_error(&midpoint, 0.1, 0.1, 4.0);
  assert_close(coarse / fine, 4.0, 0.05);
  assert_true(balance_error(&adam, 0.0, 0.01, 100.0) > 0.1); /* the control: no law for adam */
}

/* Two layers on whitened inputs, balanced and aligned: s = sigma / (1 + (sigma / s_0 - 1) exp(-2 sigma t)) */
static void singular_values_of_two_layers_grow_logistically(void **state)
{
  const FwLearnerShape shape = {
    .n_layer = 2, .width = {3, 3, 3},
         .activation = FW_ACTIVATION_LINEAR
  };
  const FwTrainPlan plan     = {.method = FW_TRAIN_FLOW, .tolerance = 1e-11};
  const FwDecay     none     = {0.0, 0.0};
  const double      sigma[3] = {2.0, 1.0, 0.5}, s_0 = 0.2;
  double            x[9] = {0.0}, y[9] = {0.0}, theta[18] = {0.0};
  const double     *end;
  FwLearner         learner;
  FwTraining        training;

  (void)state;
  for (int i = 0; i < 3; i++) {
    x[4 * i]     = sqrt(3.0);
    y[4 * i]     = sigma[i] * sqrt(3.0);
    theta[4 * i] = theta[9 + 4 * i] = sqrt(s_0);
  }
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 3, x, y, &learner));
  training = start(&plan, learner, none, 0.0, theta);
  for (double t = 1.0; t <= 3.0; t += 1.0) {
    end = advance(training, t);
    for (int i = 0; i < 3; i++)
      assert_close(end[4 * i] * end[9 + 4 * i], sigma[i] / (1.0 + (sigma[i] / s_0 - 1.0) * exp(-2.0 * sigma[i] * t)),
                   1e-9);
  }
  TestCall(FwTrainingDestroy(&training));
  TestCall(FwLearnerDestroy(&learner));
}

/* Clusters on directions with u_1 u_2 < 0, a neuron for each: r^2 = 1 / (1 + (1/q_0 - 1) exp(-2 p t)) */
static void relu_neurons_of_clusters_grow_logistically(void **state)
{
  const FwLearnerShape shape = {
    .n_layer = 2, .width = {2, 2, 1},
         .activation = FW_ACTIVATION_RELU
  };
  const FwTrainPlan plan = {.method = FW_TRAIN_FLOW, .tolerance = 1e-11};
  const FwDecay     none = {0.0, 0.0};
  const double      eps = 0.1, q_0 = 0.09, size = sqrt(1.0 + eps * eps), p[2] = {0.9, 0.1}, t = 10.0;
  double            x[20], y[10], theta[6];
  const double     *end;
  FwLearner         learner;
  FwTraining        training;

  (void)state;
  for (int n = 0; n < 10; n++) {
    x[2 * n]     = (n < 9 ? 1.0 : -eps) / size;
    x[2 * n + 1] = (n < 9 ? -eps : 1.0) / size;
    y[n]         = 1.0;
  }
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < 2; j++) theta[i + 2 * j] = sqrt(q_0) * (i == j ? 1.0 : -eps) / size;
    theta[4 + i] = sqrt(q_0);
  }
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 10, x, y, &learner));
  training = start(&plan, learner, none, 0.0, theta);
  end      = advance(training, t);
  for (int i = 0; i < 2; i++)
    assert_close(end[4 + i] * end[4 + i], 1.0 / (1.0 + (1.0 / q_0 - 1.0) * exp(-2.0 * p[i] * t)), 1e-9);
  TestCall(FwTrainingDestroy(&training));
  TestCall(FwLearnerDestroy(&learner));
}

/* At any critical point with decay all Delta_l vanish, whoever found it */
static void critical_points_are_balanced(void **state)
{
  static const FwTrainMethod method[] = {FW_TRAIN_LMVM, FW_TRAIN_NEWTON};
  const FwDecay              decay    = {0.05, 0.05};
  AnsatzCase                 c;
  FwLearner                  learner;
  double                     g[CASE_PARAMETERS];

  (void)state;
  read_case(UNBALANCED, &c);
  learner = case_learner(&c);
  for (int m = 0; m < 2; m++) {
    const FwTrainPlan plan     = {.method = method[m], .tolerance = 1e-8};
    FwTraining        training = start(&plan, learner, decay, 0.0, c.theta);
    const double     *theta    = advance(training, 2000.0);
    FwTrainState      end;

    TestCall(FwTrainingGetState(training, 0, &end));
    assert_true(end.is_converged && end.time < 2000.0);
    TestCall(FwLearnerGradient(learner, decay, theta, NULL, g));
    assert_true(norm(c.n_theta, g) <= 1e-8);
    for (PetscInt l = 1; l < c.shape.n_layer; l++) assert_close(case_imbalance(&c.shape, theta, l), 0.0, 1e-6);
    assert_true(norm(c.n_theta, theta) > 1.0); /* not the collapse */
    TestCall(FwTrainingDestroy(&training));
  }
  TestCall(FwLearnerDestroy(&learner));
}

/* --- runs beside each other ------------------------------------------------------------------------------------- */

static FwTrainPlan plan_of(FwTrainMethod method)
{
  const PetscBool has_batch =
    (PetscBool)(method == FW_TRAIN_SGD || method == FW_TRAIN_ADAM || method == FW_TRAIN_ADAMW);

  return (FwTrainPlan){.method = method, .momentum = 0.8, .batch = has_batch ? 9 : 0, .tolerance = 1e-6};
}

static double end_of(FwTrainMethod method)
{
  return FwTrainMethodIsFlow(method) ? 0.6 : 12.0;
}

enum { RUNS = 11 };

/* Runs that differ in everything that runs may differ in */
static void make_runs(const AnsatzCase *c, FwLearner learner, double theta[RUNS][CASE_PARAMETERS], FwTrainRun run[])
{
  for (int r = 0; r < RUNS; r++) {
    for (PetscInt i = 0; i < c->n_theta; i++) theta[r][i] = c->theta[i] + 0.1 * qf(50 + r, i, 1);
    run[r] = (FwTrainRun){
      learner, {0.01 * r, 0.02 * r},
       0.01 * (1 + r % 3), (uint64_t)r, theta[r]
    };
  }
}

static void the_bits_of_a_run_do_not_depend_on_its_neighbours(void **state)
{
  static double theta[RUNS][CASE_PARAMETERS];
  AnsatzCase    c;
  FwLearner     learner;
  FwTrainRun    run[RUNS];

  (void)state;
  read_case(BIASED, &c);
  learner = case_learner(&c);
  make_runs(&c, learner, theta, run);
  for (int m = 0; m < FW_TRAIN_COUNT; m++) {
    const FwTrainPlan plan = plan_of((FwTrainMethod)m);
    FwTraining        all, alone;
    FwTrainState      in_all, in_alone;

    TestCall(FwTrainingCreate(&plan, RUNS, run, &all));
    TestCall(FwTrainingAdvance(all, end_of((FwTrainMethod)m)));
    for (int r = 0; r < RUNS; r += 5) {
      TestCall(FwTrainingCreate(&plan, 1, &run[r], &alone));
      TestCall(FwTrainingAdvance(alone, end_of((FwTrainMethod)m)));
      TestCall(FwTrainingGetState(all, r, &in_all));
      TestCall(FwTrainingGetState(alone, 0, &in_alone));
      assert_memory_equal(in_all.theta, in_alone.theta, (size_t)c.n_theta * sizeof(double));
      assert_true(in_all.n_gradient == in_alone.n_gradient && in_all.time == in_alone.time);
      TestCall(FwTrainingDestroy(&alone));
    }
    TestCall(FwTrainingDestroy(&all));
  }
  TestCall(FwLearnerDestroy(&learner));
}

static void a_training_that_is_kept_goes_on_with_the_same_bits(void **state)
{
  static double theta[RUNS][CASE_PARAMETERS];
  AnsatzCase    c;
  FwLearner     learner;
  FwTrainRun    run[RUNS];

  (void)state;
  read_case(BIASED, &c);
  learner = case_learner(&c);
  make_runs(&c, learner, theta, run);
  for (int m = 0; m < FW_TRAIN_COUNT; m++) {
    const FwTrainPlan plan = plan_of((FwTrainMethod)m);
    const double      end  = end_of((FwTrainMethod)m);
    FwTraining        straight, again;
    FwTrainState      expected, found;
    double           *packed;

    TestCall(FwTrainingCreate(&plan, RUNS, run, &straight));
    TestCall(FwTrainingCreate(&plan, RUNS, run, &again));
    packed = malloc(FwTrainingPackedSize(straight) * sizeof *packed);
    TestCall(FwTrainingAdvance(straight, 0.5 * end));
    TestCall(FwTrainingPack(straight, packed));
    TestCall(FwTrainingUnpack(again, packed));
    TestCall(FwTrainingAdvance(straight, end));
    TestCall(FwTrainingAdvance(again, end));
    for (int r = 0; r < RUNS; r++) {
      TestCall(FwTrainingGetState(straight, r, &expected));
      TestCall(FwTrainingGetState(again, r, &found));
      assert_memory_equal(expected.theta, found.theta, (size_t)c.n_theta * sizeof(double));
      assert_true(expected.time == found.time && expected.n_gradient == found.n_gradient);
    }
    free(packed);
    TestCall(FwTrainingDestroy(&straight));
    TestCall(FwTrainingDestroy(&again));
  }
  TestCall(FwLearnerDestroy(&learner));
}

/* With a stop wherever the caller wants to look at the clock */
static void pieces_of_a_training_change_no_bits(void **state)
{
  static const PetscInt width[] = {8, 34}; /* in lanes, and one by one */
  AnsatzCase            c;
  double                theta[512];

  (void)state;
  read_case(UNBALANCED, &c);
  for (PetscInt i = 0; i < 512; i++) theta[i] = 0.5 * qf(7, i, 2);
  for (int w = 0; w < 2; w++) {
    const FwLearnerShape shape = {
      .n_layer = 2, .width = {6, width[w], 3},
           .activation = FW_ACTIVATION_TANH, .has_bias = PETSC_TRUE
    };
    FwLearner learner;

    TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, c.n_example, c.x, c.y, &learner));
    for (int m = 0; m < FW_TRAIN_LMVM; m++) {
      const FwTrainPlan plan = plan_of((FwTrainMethod)m);
      const double      end  = end_of((FwTrainMethod)m);
      FwTraining whole = start(&plan, learner, c.decay, 0.1, theta), some = start(&plan, learner, c.decay, 0.1, theta);
      const double *expected = advance(whole, end);
      PetscBool     is_there = PETSC_FALSE;
      int           n_piece  = 0;

      for (; !is_there; n_piece++) TestCall(FwTrainingAdvanceSome(some, end, 5.0, &is_there));
      assert_true(n_piece > 1);
      assert_memory_equal(expected, advance(some, end), (size_t)FwLearnerShapeSize(&shape) * sizeof(double));
      TestCall(FwTrainingDestroy(&whole));
      TestCall(FwTrainingDestroy(&some));
    }
    TestCall(FwLearnerDestroy(&learner));
  }
}

static void a_run_that_diverges_says_when_and_disturbs_no_other(void **state)
{
  static double     theta[RUNS][CASE_PARAMETERS];
  const FwTrainPlan plan = {.method = FW_TRAIN_GD};
  AnsatzCase        c;
  FwLearner         learner;
  FwTrainRun        run[RUNS];
  FwTraining        all, alone;
  FwTrainState      wild, calm, in_alone;

  (void)state;
  read_case(BIASED, &c);
  learner = case_learner(&c);
  make_runs(&c, learner, theta, run);
  run[2].step = 1e3;
  TestCall(FwTrainingCreate(&plan, RUNS, run, &all));
  TestCall(FwTrainingCreate(&plan, 1, &run[3], &alone));
  TestCall(FwTrainingAdvance(all, 1000.0));
  TestCall(FwTrainingAdvance(alone, 1000.0));
  TestCall(FwTrainingGetState(all, 2, &wild));
  TestCall(FwTrainingGetState(all, 3, &calm));
  TestCall(FwTrainingGetState(alone, 0, &in_alone));
  assert_true(wild.is_diverged && wild.time >= 1.0 && wild.time < 5.0);
  assert_true(!calm.is_diverged && calm.time == 1000.0);
  assert_memory_equal(calm.theta, in_alone.theta, (size_t)c.n_theta * sizeof(double));
  assert_int_equal(FwTrainingCheck(all), FW_ERR_NUMERICAL);
  assert_non_null(strstr(FwErrorMessage(), "diverged at step"));
  FwErrorClear();
  TestCall(FwTrainingCheck(alone));
  TestCall(FwTrainingDestroy(&all));
  TestCall(FwTrainingDestroy(&alone));
  TestCall(FwLearnerDestroy(&learner));
}

/* The first step from whose weights the loss is beyond 1e8 times the larger of that of the start and of no outputs; by the
   loss itself, one step after the other */
static double step_of_growth(const FwTrainPlan *plan, FwLearner learner, double eta, const double theta[])
{
  const FwDecay none     = {0.0, 0.0};
  FwTraining    training = start(plan, learner, none, eta, theta);
  FwTrainState  state;
  PetscInt      n_example;
  const double *x, *y;
  double        bound = 0.0, loss;

  TestCall(FwLearnerGetExamples(learner, &n_example, &x, &y));
  for (PetscInt i = 0; i < n_example * 3; i++) bound += 0.5 * y[i] * y[i] / n_example;
  TestCall(FwLearnerLoss(learner, theta, &loss));
  bound = 1e8 * fmax(bound, loss);
  for (double k = 1.0; loss <= bound && k < 1000.0; k += 1.0) {
    TestCall(FwTrainingAdvance(training, k));
    TestCall(FwTrainingGetState(training, 0, &state));
    if (state.is_diverged) break; /* too early */
    TestCall(FwLearnerLoss(learner, state.theta, &loss));
    if (loss <= bound) continue;
    TestCall(FwTrainingDestroy(&training));
    return k;
  }
  TestCall(FwTrainingDestroy(&training));
  return -1.0;
}

static void divergence_is_seen_at_its_step(void **state)
{
  static const PetscInt         width[]      = {8, 40}; /* in lanes, and one by one */
  static const FwActivationType activation[] = {FW_ACTIVATION_LINEAR, FW_ACTIVATION_TANH, FW_ACTIVATION_QUADRATIC};
  AnsatzCase                    c;
  double                        v[512];

  (void)state;
  read_case(UNBALANCED, &c);
  for (PetscInt i = 0; i < 512; i++) v[i] = 0.5 * qf(7, i, 2);
  for (int w = 0; w < 2; w++)
    for (int a = 0; a < 3; a++)
      for (int m = 0; m < 2; m++) {
        const FwLearnerShape shape = {
          .n_layer = 3, .width = {6, width[w], 5, 3},
               .activation = activation[a]
        };
        const FwTrainPlan plan = {.method = m ? FW_TRAIN_MOMENTUM : FW_TRAIN_GD, .momentum = m ? 0.5 : 0.0};
        const double      eta  = activation[a] == FW_ACTIVATION_TANH ? 100.0 : 2.0;
        FwTraining        training;
        FwTrainState      end;
        FwLearner         learner;
        double            expected;

        TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, c.n_example, c.x, c.y, &learner));
        expected = step_of_growth(&plan, learner, eta, v);
        assert_true(expected > 0.0);
        training = start(&plan, learner, (FwDecay){0.0, 0.0}, eta, v);
        TestCall(FwTrainingAdvance(training, 1000.0));
        TestCall(FwTrainingGetState(training, 0, &end));
        assert_true(end.is_diverged && end.time == expected && end.n_gradient == expected + 1.0);
        TestCall(FwTrainingDestroy(&training));
        TestCall(FwLearnerDestroy(&learner));
      }
}

/* Flows that may not make as many gradients as they need, at once and in pieces; lanes, PETSc's solver, implicit midpoint */
static void a_flow_beyond_its_gradients_is_given_up(void **state)
{
  static const struct {
    PetscInt         width;
    FwTrainMethod    method;
    FwActivationType activation;
  } flows[] = {
    {8,  FW_TRAIN_FLOW,          FW_ACTIVATION_RELU},
    {40, FW_TRAIN_FLOW,          FW_ACTIVATION_RELU},
    {8,  FW_TRAIN_FLOW_MIDPOINT, FW_ACTIVATION_TANH}
  };
  const double most = 200.0, end = 1000.0;
  AnsatzCase   c;
  double       v[512];

  (void)state;
  read_case(UNBALANCED, &c);
  for (PetscInt i = 0; i < 512; i++) v[i] = 0.5 * qf(7, i, 2);
  for (size_t f = 0; f < sizeof flows / sizeof *flows; f++) {
    const FwLearnerShape shape = {
      .n_layer = 2, .width = {6, flows[f].width, 3},
           .activation = flows[f].activation
    };
    const FwTrainPlan plan = {.method = flows[f].method, .tolerance = 1e-10, .n_gradient_most = most};
    FwTraining        whole, some;
    FwTrainState      at, in_pieces;
    FwLearner         learner;
    PetscBool         is_there = PETSC_FALSE;

    TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, c.n_example, c.x, c.y, &learner));
    whole = start(&plan, learner, c.decay, 0.1, v);
    some  = start(&plan, learner, c.decay, 0.1, v);
    TestCall(FwTrainingAdvance(whole, end));
    while (!is_there) TestCall(FwTrainingAdvanceSome(some, end, 7.0, &is_there));
    TestCall(FwTrainingGetState(whole, 0, &at));
    TestCall(FwTrainingGetState(some, 0, &in_pieces));
    assert_true(at.is_given_up && !at.is_diverged && at.time > 0.0 && at.time < end);
    assert_true(at.n_gradient >= most && at.n_gradient < most + 100.0);
    assert_true(in_pieces.is_given_up && in_pieces.time == at.time && in_pieces.n_gradient == at.n_gradient);
    assert_memory_equal(at.theta, in_pieces.theta, (size_t)FwLearnerShapeSize(&shape) * sizeof(double));
    assert_int_equal(FwTrainingCheck(whole), FW_ERR_NUMERICAL);
    assert_non_null(strstr(FwErrorMessage(), "given up at t ="));
    FwErrorClear();
    TestCall(FwTrainingDestroy(&whole));
    TestCall(FwTrainingDestroy(&some));
    TestCall(FwLearnerDestroy(&learner));
  }
}

/* Networks too wide for lanes, by heavy ball and by hand: through examples, and through moments in their own basis */
static void wide_networks_take_the_same_steps(void **state)
{
  static const FwActivationType activation[] = {FW_ACTIVATION_TANH, FW_ACTIVATION_LINEAR};
  const FwTrainPlan             plan         = {.method = FW_TRAIN_MOMENTUM, .momentum = 0.9};
  const FwDecay                 decay        = {0.01, 0.2};
  const double                  eta          = 0.03;
  AnsatzCase                    c;

  (void)state;
  read_case(UNBALANCED, &c);
  for (int a = 0; a < 2; a++) {
    const FwLearnerShape shape = {
      .n_layer = 2, .width = {6, 40, 3},
           .activation = activation[a], .has_bias = PETSC_TRUE
    };
    const PetscInt n = FwLearnerShapeSize(&shape);
    FwLearner      learner;
    FwTraining     training;
    double         v[512], u[512] = {0.0}, g[512];
    const double  *end;

    for (PetscInt i = 0; i < n; i++) v[i] = 0.5 * qf(7, i, 2);
    TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, c.n_example, c.x, c.y, &learner));
    training = start(&plan, learner, decay, eta, v);
    end      = advance(training, 30.0);
    for (int k = 0; k < 30; k++) {
      TestCall(FwLearnerGradient(learner, decay, v, NULL, g));
      for (PetscInt i = 0; i < n; i++) {
        u[i] = plan.momentum * u[i] + g[i];
        v[i] -= eta * u[i];
      }
    }
    for (PetscInt i = 0; i < n; i++) assert_close(end[i], v[i], 1e-12);
    TestCall(FwTrainingDestroy(&training));
    TestCall(FwLearnerDestroy(&learner));
  }
}

/* The same law by PETSc's own solver: |Delta(t)| = exp(-2 mu t) |Delta(0)| */
static void wide_networks_flow_alike(void **state)
{
  const FwLearnerShape shape = {
    .n_layer = 2, .width = {6, 40, 3},
         .activation = FW_ACTIVATION_LINEAR
  };
  const FwDecay  decay = {0.1, 0.1};
  const PetscInt n     = FwLearnerShapeSize(&shape);
  AnsatzCase     c;
  FwLearner      learner;
  double         v[512];

  (void)state;
  read_case(UNBALANCED, &c);
  for (PetscInt i = 0; i < n; i++) v[i] = 0.5 * qf(7, i, 2);
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, c.n_example, c.x, c.y, &learner));
  for (int low = 0; low < 2; low++) {
    const FwTrainPlan plan     = {.method = FW_TRAIN_FLOW, .tolerance = 1e-10, .is_low_order = (PetscBool)low};
    FwTraining        training = start(&plan, learner, decay, 0.0, v);

    for (double t = 1.0; t <= 4.0; t *= 2.0)
      assert_close(case_imbalance(&shape, advance(training, t), 1),
                   exp(-2.0 * decay.weight * t) * case_imbalance(&shape, v, 1), 1e-8);
    TestCall(FwTrainingDestroy(&training));
  }
  TestCall(FwLearnerDestroy(&learner));
}

/* f = w on targets 2^n by tiny steps: a step moves w by the target of its example, which tells which one it was */
static void epochs_have_every_example_once_each_in_its_own_order(void **state)
{
  const FwLearnerShape shape = {
    .n_layer = 1, .width = {1, 1},
         .activation = FW_ACTIVATION_LINEAR
  };
  const FwTrainPlan plan = {.method = FW_TRAIN_SGD, .batch = 1};
  const FwDecay     none = {0.0, 0.0};
  const double      eta  = 1e-7;
  double            x[10], y[10], w = 0.0, before = 0.0;
  int               order[20], seen[2] = {0, 0}, n_same = 0, n_sorted = 0;
  FwLearner         learner;
  FwTraining        training;

  (void)state;
  for (int n = 0; n < 10; n++) {
    x[n] = 1.0;
    y[n] = pow(2.0, n);
  }
  TestCall(FwLearnerCreate(PETSC_COMM_SELF, &shape, FW_LOSS_MSE, 10, x, y, &learner));
  training = start(&plan, learner, none, eta, &w);
  for (int k = 0; k < 20; k++) {
    const double now = advance(training, k + 1)[0];

    order[k] = (int)lround(log2((now - before) / eta));
    seen[k / 10] |= 1 << order[k];
    before = now;
  }
  for (int k = 0; k < 10; k++) {
    n_same += order[k] == order[10 + k];
    n_sorted += order[k] == k;
  }
  assert_int_equal(seen[0], (1 << 10) - 1);
  assert_int_equal(seen[1], (1 << 10) - 1);
  assert_true(n_same < 10 && n_sorted < 10);
  TestCall(FwTrainingDestroy(&training));
  TestCall(FwLearnerDestroy(&learner));
}

static void plans_that_cannot_be_are_refused(void **state)
{
  static const struct {
    FwTrainPlan plan;
    double      step;
  } bad[] = {
    {{.method = FW_TRAIN_GD},                        0.0 },
    {{.method = FW_TRAIN_FLOW, .tolerance = 0.0},    0.1 },
    {{.method = FW_TRAIN_MOMENTUM, .momentum = 1.0}, 0.1 },
    {{.method = FW_TRAIN_SGD, .batch = 1000},        0.1 },
    {{.method = FW_TRAIN_GD, .batch = 3},            0.1 },
    {{.method = FW_TRAIN_GD},                        -0.1},
    {{.method = FW_TRAIN_GD},                        NAN },
  };
  AnsatzCase c;
  FwLearner  learner;

  (void)state;
  read_case(UNBALANCED, &c);
  learner = case_learner(&c);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const FwTrainRun run = {
      learner, {0.0, 0.0},
       bad[i].step, 1, c.theta
    };
    FwTraining training;

    assert_int_equal(FwTrainingCreate(&bad[i].plan, 1, &run, &training), FW_ERR_INPUT);
    FwErrorClear();
  }
  TestCall(FwLearnerDestroy(&learner));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reference_rows_end_where_they_should),
    cmocka_unit_test(descent_obeys_the_recursion_of_the_balance),
    cmocka_unit_test(flows_keep_the_balance_and_decay_shrinks_it),
    cmocka_unit_test(singular_values_of_two_layers_grow_logistically),
    cmocka_unit_test(relu_neurons_of_clusters_grow_logistically),
    cmocka_unit_test(critical_points_are_balanced),
    cmocka_unit_test(the_bits_of_a_run_do_not_depend_on_its_neighbours),
    cmocka_unit_test(a_training_that_is_kept_goes_on_with_the_same_bits),
    cmocka_unit_test(pieces_of_a_training_change_no_bits),
    cmocka_unit_test(a_run_that_diverges_says_when_and_disturbs_no_other),
    cmocka_unit_test(divergence_is_seen_at_its_step),
    cmocka_unit_test(a_flow_beyond_its_gradients_is_given_up),
    cmocka_unit_test(wide_networks_take_the_same_steps),
    cmocka_unit_test(wide_networks_flow_alike),
    cmocka_unit_test(epochs_have_every_example_once_each_in_its_own_order),
    cmocka_unit_test(plans_that_cannot_be_are_refused),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("training", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
