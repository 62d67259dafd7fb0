/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sampled networks against quadrature of their posterior, and the joint distribution test of Geweke (2004).
 * ranks: 1 3
 */

#include <finwidth/activation.h>
#include <finwidth/diagnostics.h>
#include <finwidth/potential.h>
#include <finwidth/sampled.h>
#include "../support/dataset_fixture.h"

enum { P = 6, P_TEST = 4, INPUTS = 2 };

static double   width[] = {1.0}, prior[] = {1.2, 0.8}, bias[] = {0.0, 0.0};
static PetscInt activation[] = {FW_ACTIVATION_ERF};

static FwModel model_of(double n, double temperature)
{
  width[0] = n;
  return (FwModel){.type        = FW_NETWORK_FC,
                   .depth       = 1,
                   .width       = width,
                   .activation  = activation,
                   .prior       = prior,
                   .bias        = bias,
                   .temperature = temperature};
}

/* --- quadrature --------------------------------------------------------------------------------------------- */

enum { TRAIN, TEST, BIAS, ORDER, HIDDEN, WEIGHT, EIGENVALUE, ALONG, N_TRUTH };
static const char *const names[N_TRUTH]    = {"train_error",       "test_error",         "test_bias",
                                              "order_parameter",   "hidden_trace_after", "weight_trace_after",
                                              "weight_eigenvalue", "weight_variance"};
static const double      direction[INPUTS] = {0.6, -0.8};

/* Mean of (m - y)^2 + v */
static double error_of(int n, const double m[], const double v[], const double y[])
{
  double sum = 0.0;

  for (int i = 0; i < n; i++) sum += ((m[i] - y[i]) * (m[i] - y[i]) + v[i]) / n;
  return sum;
}

/* Averages over exp(-U), by a rule over the two weights of one hidden unit. U is even and smooth: the midpoint rule */
static void integrate(FwDataset data, const FwModel *model, double truth[N_TRUTH])
{
  enum { GRID = 160 };
  const double  end = 7.0;
  FwExamples    examples;
  FwPotential   potential;
  const double *y;
  double        norm = 0.0, mean[P_TEST] = {0.0}, m[P], v[P], mt[P_TEST], vt[P_TEST], gram, trace, weight;
  double        w2[INPUTS * INPUTS], covariance[INPUTS * INPUTS] = {0.0};
  double *const value[FW_MEASURE_COUNT] = {m, v, mt, vt, &gram, NULL, &trace, &weight, w2};

  TestCall(FwExamplesCreate(data, PETSC_COMM_SELF, &examples));
  TestCall(FwPotentialCreate(PETSC_COMM_SELF, model, &examples, FW_POTENTIAL_COLLAPSED, &potential));
  TestCall(FwDatasetGetTargets(data, FW_TEST, &y));
  for (int q = 0; q < N_TRUTH; q++) truth[q] = 0.0;
  for (int i = 0; i < GRID; i++)
    for (int j = 0; j < GRID; j++) {
      const double w[] = {end * (2.0 * (i + 0.5) / GRID - 1.0), end * (2.0 * (j + 0.5) / GRID - 1.0)};
      double       energy, p;

      TestCall(FwPotentialEvaluate(potential, w, &energy, NULL));
      TestCall(FwPotentialMeasure(potential, w, value));
      p = exp(-energy);
      norm += p;
      truth[TRAIN] += p * error_of(P, m, v, examples.y_train);
      truth[TEST] += p * error_of(P_TEST, mt, vt, y);
      truth[ORDER] += p * gram;
      truth[HIDDEN] += p * trace;
      truth[WEIGHT] += p * weight;
      for (int k = 0; k < INPUTS * INPUTS; k++) covariance[k] += p * w2[k];
      for (int t = 0; t < P_TEST; t++) mean[t] += p * mt[t];
    }
  truth[EIGENVALUE] = 0.5 * (covariance[0] + covariance[3] + hypot(covariance[0] - covariance[3], 2.0 * covariance[1]));
  for (int k = 0; k < INPUTS * INPUTS; k++)
    truth[ALONG] += direction[k / INPUTS] * direction[k % INPUTS] * covariance[k];
  for (int q = 0; q < N_TRUTH; q++) truth[q] /= norm;
  for (int t = 0; t < P_TEST; t++) truth[BIAS] += (mean[t] / norm - y[t]) * (mean[t] / norm - y[t]) / P_TEST;
  TestCall(FwPotentialDestroy(&potential));
  TestCall(FwExamplesDestroy(&examples));
}

/* Every quantity within five error bars of the truth; on rank 0 the numbers, elsewhere they pass */
static void assert_measured(FwSampled sampled, const double truth[N_TRUTH])
{
  for (int q = 0; q < N_TRUTH; q++) {
    double z = 0.0, relative = 0.0;

    if (sampled) {
      const FwMeasured *m = FwSampledFind(sampled, names[q]);

      z        = (m->value[0] - truth[q]) / m->error_bar[0];
      relative = m->error_bar[0] / truth[q];
    }
    assert_close(z, 0.0, 5.0);
    assert_close(relative, 0.0, 0.1); /* an error bar that says something */
  }
}

static FwDataset make_data(void)
{
  return open_data("-data_source teacher -teacher_kind single-index -teacher_inputs 2 -data_train 6 -data_test 4");
}

static void every_sampler_finds_the_quadrature(void **state)
{
  static const struct {
    FwSamplerMethod method;
    PetscBool       is_collapsed;
    PetscInt        n_sample, leapfrog;
    double          step;
  } how[] = {
    {FW_SAMPLER_HMC,      PETSC_TRUE,  4000, 0,  0.0 },
    {FW_SAMPLER_HMC,      PETSC_FALSE, 4000, 0,  0.0 },
    {FW_SAMPLER_MALA,     PETSC_TRUE,  3000, 4,  0.0 },
    {FW_SAMPLER_LANGEVIN, PETSC_TRUE,  1000, 40, 0.14},
  };
  const FwModel model = model_of(1.0, 0.2);
  FwDataset     data  = make_data();
  double        truth[N_TRUTH];

  (void)state;
  integrate(data, &model, truth);
  for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
    const FwSampledPlan plan = {
      .chains       = {.sampler  = {.method   = how[i].method,
                                    .seed     = 3,
                                    .n_chain  = 4,
                                    .n_burnin = 300,
                                    .n_sample = how[i].n_sample,
                                    .step     = how[i].step,
                                    .leapfrog = how[i].leapfrog},
                       .interval = 1e9},
      .is_collapsed = how[i].is_collapsed,
      .with_hidden  = PETSC_TRUE
    };
    FwSampled sampled;

    TestCall(FwSampledRun(PETSC_COMM_WORLD, data, &model, &plan, &sampled));
    if (sampled) TestCall(FwSampledAddWeightVariance(sampled, 1, INPUTS, direction));
    assert_measured(sampled, truth);
    TestCall(FwSampledDestroy(&sampled));
  }
  TestCall(FwDatasetDestroy(&data));
}

/* --- Geweke ------------------------------------------------------------------------------------------------- */

enum { UNITS = 2, N_WEIGHT = UNITS * INPUTS };

static FwPotential joint;
static double      too_cold = 1.0; /* the wrong sampler takes U this many times */

static PetscErrorCode evaluate(void *context, const double w[], double *energy, double gradient[])
{
  (void)context;
  PetscCall(FwPotentialEvaluate(joint, w, energy, gradient));
  *energy *= too_cold;
  for (int i = 0; i < N_WEIGHT; i++) gradient[i] *= too_cold;
  return PETSC_SUCCESS;
}

static PetscErrorCode measure(void *context, const double w[], double series[], double field[])
{
  (void)context;
  (void)field;
  for (int i = 0; i < N_WEIGHT; i++) {
    series[1 + i]            = w[i];
    series[1 + N_WEIGHT + i] = w[i] * w[i];
  }
  return PETSC_SUCCESS;
}

/* Labels drawn given the weights and weights moved given the labels in turn: the weights must come out as the prior's, of
   mean 0 and mean square 1. Returns the largest distance in error bars */
static double joint_distance(void)
{
  enum { STEPS = 6000 };
  const FwTarget      target = {.n = N_WEIGHT, .evaluate = evaluate, .n_series = 1 + 2 * N_WEIGHT, .measure = measure};
  const FwSamplerPlan plan   = {.seed = 8, .n_chain = 1, .n_sample = STEPS, .n_block = 1, .step = 0.4, .leapfrog = 4};
  FwChain             chain;
  FwChainState        at;
  double             *packed, y[P], worst = 0.0;

  TestCall(FwChainCreate(&target, &plan, 0, 1.0, &chain));
  TestCall(FwChainFreezeStep(chain, 0.0));
  TestCall(PetscMalloc1(FwChainPackedSize(&target, &plan), &packed));
  for (int s = 0; s < STEPS; s++) {
    TestCall(FwChainGetState(chain, &at));
    TestCall(FwPotentialDrawTargets(joint, at.w, FwStreamCreate(9, FW_RANDOM_TEACHER_NOISE, (uint64_t)s, 0, 0), y));
    TestCall(FwPotentialSetTargets(joint, y));
    TestCall(FwChainPack(chain, packed)); /* U has changed: there and back makes the chain ask for it again */
    TestCall(FwChainUnpack(chain, packed));
    TestCall(FwChainAdvance(chain));
  }
  TestCall(FwChainGetState(chain, &at));
  for (int i = 0; i < 2 * N_WEIGHT; i++) {
    FwChainSummary summary;

    TestCall(FwChainSummarise(1, STEPS, at.series + (size_t)(1 + i) * STEPS, &summary));
    worst = fmax(worst, fabs(summary.mean - (i < N_WEIGHT ? 0.0 : 1.0)) / summary.error_bar);
  }
  TestCall(PetscFree(packed));
  TestCall(FwChainDestroy(&chain));
  return worst;
}

static void labels_and_weights_in_turn_leave_the_prior(void **state)
{
  const FwPotentialKind kind  = FW_POTENTIAL_COLLAPSED;
  const FwModel         model = model_of(UNITS, 0.3);
  FwDataset             data  = make_data();
  FwExamples            examples;

  (void)state;
  TestCall(FwExamplesCreate(data, PETSC_COMM_SELF, &examples));
  TestCall(FwPotentialCreate(PETSC_COMM_SELF, &model, &examples, kind, &joint));
  assert_close(joint_distance(), 0.0, 4.5);
  too_cold = 1.15; /* negative control */
  assert_close(joint_distance() > 6.0, 1, 0);
  too_cold = 1.0;
  TestCall(FwPotentialDestroy(&joint));
  TestCall(FwExamplesDestroy(&examples));
  TestCall(FwDatasetDestroy(&data));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_sampler_finds_the_quadrature),
    cmocka_unit_test(labels_and_weights_in_turn_leave_the_prior),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("sampled", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
