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

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reference_rows_end_where_they_should),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("training", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
