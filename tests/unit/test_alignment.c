/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Measures of the Neural Feature Ansatz, and the starts: reference values, closed forms, identities.
 * ranks: 1 2
 */

#include <finwidth/alignment.h>
#include <finwidth/feature.h>
#include "../support/ansatz_reference.h"

#include <math.h>

static Reference reference;

/* --- reference values ---------------------------------------------------------------------------------------------- */

typedef struct {
  FwAlignmentRows rows;
  double          alpha[3], *row;
} Row;

static Row measure(const AnsatzCase *c, FwLearner learner, const double theta[])
{
  Row r = {
    .alpha = {1.0 / (double)c->shape.n_layer, 0.5, 1.0}
  };

  TestCall(FwAlignmentLayout(&c->shape, 3, r.alpha, &r.rows));
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

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reference_cases_are_measured_as_the_file_says_at_their_start_and_end),
  };
  int failed;

  if (FwStart(argc, argv, NULL)) return FwFinish(FW_ERR_INPUT);
  reference = reference_open("ansatz.json");
  failed    = cmocka_run_group_tests(tests, NULL, NULL);
  reference_close(&reference);
  return FwFinish(PETSC_SUCCESS) || failed;
}
