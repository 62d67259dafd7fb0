/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Ridge regression, message passing, and experiments made of them: exact identities, and the same bits on any number of ranks
 * and after a stop.
 * ranks: 1 2 3 4
 */

#include <finwidth/gamp.h>
#include <finwidth/optimal_experiment.h>
#include <finwidth/ridge.h>
#include <finwidth/stop.h>
#include "../support/dataset_fixture.h"

#include <string.h>

enum { N = 600, D = 40, K = 2 };

static FwDesignPlan plan_of(PetscInt n, double constant)
{
  return (FwDesignPlan){.stream   = FwStreamCreate(3, FW_RANDOM_OPTIMAL_INPUT, 0, 0, 0),
                        .n        = n,
                        .d        = D,
                        .constant = constant,
                        .n_column = K,
                        .n_scalar = K,
                        .is_kept  = PETSC_TRUE};
}

/* Some labels for the local rows, of no particular law; Gaussian, or their signs */
static void draw_labels(FwDesign design, PetscBool is_sign, double y[])
{
  const FwRows *rows = FwDesignRows(design);

  for (PetscInt k = 0; k < K; k++) {
    double *of_k = y + k * rows->n_local;

    FwStreamNormal(FwStreamCreate(3, FW_RANDOM_OPTIMAL_LABEL, (uint64_t)k, 0, 0), (uint64_t)rows->first,
                   (size_t)rows->n_local, of_k);
    for (PetscInt i = 0; i < rows->n_local && is_sign; i++) of_k[i] = of_k[i] < 0.0 ? -1.0 : 1.0;
  }
}

typedef struct {
  const double *y;
  PetscInt      n_local;
} Residual;

static PetscErrorCode to_residual(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Residual *r = context;

  (void)scalar;
  for (PetscInt k = 0; k < K; k++)
    for (PetscInt i = 0; i < n; i++) u[k * n + i] = r->y[k * r->n_local + first + i] - u[k * n + i];
  return PETSC_SUCCESS;
}

/* --- ridge --------------------------------------------------------------------------------------------------------- */

static void check_ridge(PetscInt n, double constant, double penalty)
{
  const FwDesignPlan plan  = plan_of(n, constant);
  const FwRidgePlan  ridge = {.penalty = penalty, .tolerance = 1e-12, .most = 1000};
  FwRidgeState       state;
  FwDesign           design;
  double             y[K * N], w[K * (D + 1)], out[K * (D + 1)], scalar[K];

  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  draw_labels(design, PETSC_FALSE, y);
  TestCall(FwRidgeSolve(design, y, &ridge, w, &state));
  Residual residual = {.y = y, .n_local = FwDesignRows(design)->n_local};
  TestCall(FwDesignPass(design, w, to_residual, &residual, scalar, out));
  assert_close(state.residual <= 1e-12, 1, 0.0);
  for (PetscInt i = 0; i < K * FwDesignWidth(design); i++) assert_close(out[i], penalty * w[i], 1e-10);
  TestCall(FwDesignDestroy(&design));
}

static void ridge_makes_the_gradient_of_its_loss_vanish(void **state)
{
  (void)state;
  check_ridge(N, 0.0, 0.3);
  check_ridge(N, 2.0, 0.3); /* with an intercept */
  check_ridge(30, 0.0, 0.3);
  check_ridge(30, 0.0, 0.0); /* the labels are reached */
}

static void ridge_that_may_not_go_on_says_that_it_has_not_converged(void **state)
{
  const FwDesignPlan plan  = plan_of(N, 0.0);
  const FwRidgePlan  ridge = {.penalty = 0.3, .tolerance = 1e-12, .most = 2};
  FwRidgeState       found;
  FwDesign           design;
  double             y[K * N], w[K * D];

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  draw_labels(design, PETSC_FALSE, y);
  TestCall(FwRidgeSolve(design, y, &ridge, w, &found));
  assert_close(found.n_iteration, 2, 0.0);
  assert_close(found.residual > 1e-12, 1, 0.0);
  TestCall(FwDesignDestroy(&design));
}

static void an_infinite_penalty_learns_nothing(void **state)
{
  const FwDesignPlan plan  = plan_of(N, 0.0);
  const FwRidgePlan  ridge = {.penalty = INFINITY, .tolerance = 1e-12, .most = 10};
  FwRidgeState       found;
  FwDesign           design;
  double             y[K * N], w[K * D];

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  draw_labels(design, PETSC_FALSE, y);
  TestCall(FwRidgeSolve(design, y, &ridge, w, &found));
  for (PetscInt i = 0; i < K * D; i++) assert_close(w[i], 0.0, 0.0);
  TestCall(FwDesignDestroy(&design));
}

/* --- message passing ------------------------------------------------------------------------------------------------- */

static FwGampPlan gamp_of(FwChannelKind kind)
{
  return (FwGampPlan){
    .channel   = {.kind = kind, .noise = 0.2, .beta = 2.0, .gain = 1.0},
    .eta       = 0.8,
    .gamma     = 0.1,
    .n_free    = 100,
    .tolerance = 1e-12,
    .most      = 500
  };
}

/* With a Gaussian channel its fixed point is ridge's, whatever the variances are: s = eta X^T (y - eta X s) / (gamma + Delta) */
static void message_passing_of_a_gaussian_channel_ends_in_ridge(void **state)
{
  const FwDesignPlan plan  = plan_of(N, 0.0);
  const FwGampPlan   gamp  = gamp_of(FW_CHANNEL_GAUSSIAN);
  const FwRidgePlan  ridge = {.penalty = 0.3 / 0.64, .tolerance = 1e-13, .most = 1000};
  FwRidgeState       ridge_state;
  FwGampState        gamp_state;
  FwDesign           design;
  double             y[K * N], w[K * D], s[K * D], direction[K * D] = {0};

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  draw_labels(design, PETSC_FALSE, y);
  TestCall(FwRidgeSolve(design, y, &ridge, w, &ridge_state));
  TestCall(FwGampSolve(design, y, direction, &gamp, s, &gamp_state));
  for (PetscInt k = 0; k < K; k++) assert_close(gamp_state.is_converged[k], 1, 0.0);
  for (PetscInt i = 0; i < K * D; i++) assert_close(0.8 * s[i], w[i], 1e-10);
  TestCall(FwGampStateDestroy(&gamp_state));
  TestCall(FwDesignDestroy(&design));
}

static void message_passing_has_the_same_bits_on_any_number_of_ranks(void **state)
{
  const FwDesignPlan plan = plan_of(N, 0.0);
  const FwGampPlan   gamp = gamp_of(FW_CHANNEL_PROBIT);
  double             s[2][K * D], y[K * N], direction[K * D] = {1.0};

  (void)state;
  for (int alone = 0; alone < 2; alone++) {
    FwDesign    design;
    FwGampState found;

    TestCall(FwDesignCreate(alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD, &plan, &design));
    draw_labels(design, PETSC_TRUE, y);
    TestCall(FwGampSolve(design, y, direction, &gamp, s[alone], &found));
    TestCall(FwGampStateDestroy(&found));
    TestCall(FwDesignDestroy(&design));
  }
  for (PetscInt i = 0; i < K * D; i++) assert_close(s[0][i], s[1][i], 0.0);
}

static void message_passing_that_may_not_go_on_keeps_its_trajectory(void **state)
{
  const FwDesignPlan plan = plan_of(N, 0.0);
  FwGampPlan         gamp = gamp_of(FW_CHANNEL_PROBIT);
  FwDesign           design;
  FwGampState        found;
  double             s[K * D], y[K * N], direction[K * D];

  (void)state;
  gamp.most = 3;
  for (PetscInt i = 0; i < K * D; i++) direction[i] = 1.0;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  draw_labels(design, PETSC_TRUE, y);
  TestCall(FwGampSolve(design, y, direction, &gamp, s, &found));
  assert_close(found.n_iteration, 3, 0.0);
  for (PetscInt k = 0; k < K; k++) {
    assert_close(found.is_converged[k], 0, 0.0);
    assert_close(found.overlap[k], 0.0, 0.0);
    assert_close(found.overlap[3 * K + k] != found.overlap[2 * K + k], 1, 0.0);
  }
  TestCall(FwGampStateDestroy(&found));
  TestCall(FwDesignDestroy(&design));
}

/* --- experiments --------------------------------------------------------------------------------------------------------- */

static const PetscInt widths[] = {30, 50}, activations[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_TANH};
static const double   gains[] = {1.0, 1.0};

/* In place of a sampler: numbers that depend on every label and answer, and on their order */
static PetscErrorCode add_up(MPI_Comm comm, const FwExperimentData *data, void *context,
                             double number[FW_INSTANCE_COUNT])
{
  (void)comm;
  (void)context;
  number[FW_INSTANCE_ERROR] = number[FW_INSTANCE_VARIANCE] = 0.0;
  for (PetscInt i = 0; i < data->n_train; i++) number[FW_INSTANCE_ERROR] += (double)(i + 1) * data->y[i];
  for (PetscInt i = 0; i < data->n_test; i++) number[FW_INSTANCE_VARIANCE] += (double)(i + 1) * data->z[i];
  number[FW_INSTANCE_CONVERGED] = 1.0;
  return PETSC_SUCCESS;
}

/* Blocks of 2 teachers: d / 25 */
static FwExperiment experiment_of(FwExperimentKind kind)
{
  return (FwExperiment){
    .kind = kind,
    .teacher =
      {.depth = 2,                 .d = 60,       .width = widths, .activation = activations, .gain = gains, .readout_gain = 1.0, .seed = 4},
    .channel     = {.kind = kind == FW_EXPERIMENT_GAMP ? FW_CHANNEL_PROBIT : FW_CHANNEL_GAUSSIAN, .noise = 0.1},
    .eta         = 0.7,
    .gamma       = 0.05,
    .sampler     = add_up,
    .n_train     = 700,
    .n_test      = 500,
    .n_iteration = 1000,
    .n_instance  = 5
  };
}

static void run_on(MPI_Comm comm, FwExperimentKind kind, const FwKeptRun *run, FwExperimentResult *result)
{
  const FwExperiment experiment = experiment_of(kind);

  TestCall(FwExperimentDo(comm, &experiment, run, result));
}

/* Bit by bit: what is not measured is NaN in both */
static void assert_same_result(const FwExperimentResult *a, const FwExperimentResult *b)
{
  const size_t n = (size_t)a->n_instance * FW_INSTANCE_COUNT * sizeof(double);
  const size_t m = (size_t)a->n_instance * (size_t)a->n_step * sizeof(double);

  assert_close(a->n_step, b->n_step, 0.0);
  assert_close(memcmp(a->number, b->number, n), 0, 0.0);
  assert_close(m ? memcmp(a->overlap, b->overlap, m) : 0, 0, 0.0);
}

static void an_experiment_has_the_same_bits_on_any_number_of_ranks(void **state)
{
  const FwKeptRun run = {0};

  (void)state;
  for (int kind = FW_EXPERIMENT_RIDGE; kind <= FW_EXPERIMENT_HMC; kind++) { /* of the last two ranks share the rows */
    FwExperimentResult together, alone;

    run_on(PETSC_COMM_WORLD, (FwExperimentKind)kind, &run, &together);
    run_on(PETSC_COMM_SELF, (FwExperimentKind)kind, &run, &alone);
    assert_same_result(&together, &alone);
    TestCall(FwExperimentResultDestroy(&together));
    TestCall(FwExperimentResultDestroy(&alone));
  }
}

/* A run that ends leaves the checkpoint of its last round but one (on many ranks there is one round, and none) */
static void an_experiment_that_goes_on_from_a_checkpoint_has_the_same_bits(void **state)
{
  FwExperiment       experiment = experiment_of(FW_EXPERIMENT_GAMP);
  FwKeptRun          run        = {.checkpoint = file_path("experiment.chk"), .tag = "a", .interval = 0.0};
  FwExperimentResult whole, resumed;
  char               path[256];

  (void)state;
  snprintf(path, sizeof path, "%s", run.checkpoint); /* the name lives in a buffer that is used again */
  run.checkpoint = path;
  TestCall(FwExperimentDo(PETSC_COMM_WORLD, &experiment, &run, &whole));
  run.resume = PETSC_TRUE;
  TestCall(FwExperimentDo(PETSC_COMM_WORLD, &experiment, &run, &resumed));
  assert_same_result(&whole, &resumed);
  TestCall(FwExperimentResultDestroy(&whole));
  TestCall(FwExperimentResultDestroy(&resumed));
}

static void assert_unfit(const FwExperiment *experiment, const char word[])
{
  assert_close(FwExperimentCheck(experiment) == FW_ERR_INPUT, 1, 0.0);
  assert_close(strstr(FwErrorMessage(), word) != NULL, 1, 0.0);
  FwErrorClear();
}

static void experiments_that_cannot_be_are_refused_by_name(void **state)
{
  FwExperiment experiment;

  (void)state;
  experiment              = experiment_of(FW_EXPERIMENT_RIDGE);
  experiment.channel.kind = FW_CHANNEL_PROBIT;
  assert_unfit(&experiment, "use gamp");
  experiment      = experiment_of(FW_EXPERIMENT_GAMP);
  experiment.bias = 0.1;
  assert_unfit(&experiment, "intercept");
  experiment               = experiment_of(FW_EXPERIMENT_HMC);
  experiment.channel.noise = 0.0;
  assert_unfit(&experiment, "optimal_noise");
  experiment               = experiment_of(FW_EXPERIMENT_HMC);
  experiment.teacher.depth = 0;
  assert_unfit(&experiment, "network_depth");
  experiment         = experiment_of(FW_EXPERIMENT_RIDGE);
  experiment.n_train = 0;
  assert_unfit(&experiment, "optimal_alpha");
  experiment            = experiment_of(FW_EXPERIMENT_RIDGE);
  experiment.n_instance = 1;
  assert_unfit(&experiment, "optimal_instances");
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(ridge_makes_the_gradient_of_its_loss_vanish),
    cmocka_unit_test(ridge_that_may_not_go_on_says_that_it_has_not_converged),
    cmocka_unit_test(an_infinite_penalty_learns_nothing),
    cmocka_unit_test(message_passing_of_a_gaussian_channel_ends_in_ridge),
    cmocka_unit_test(message_passing_has_the_same_bits_on_any_number_of_ranks),
    cmocka_unit_test(message_passing_that_may_not_go_on_keeps_its_trajectory),
    cmocka_unit_test(an_experiment_has_the_same_bits_on_any_number_of_ranks),
    cmocka_unit_test(an_experiment_that_goes_on_from_a_checkpoint_has_the_same_bits),
    cmocka_unit_test(experiments_that_cannot_be_are_refused_by_name),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwStopSetUp());
  folder_create();
  n_failed = cmocka_run_group_tests_name("learners", tests, NULL, NULL);
  folder_destroy();
  return FwFinish(0) || n_failed;
}
