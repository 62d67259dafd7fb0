/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Samplers on densities that can be integrated by hand: a Gaussian of several widths and a banana.
 */

#include <finwidth/chains.h>
#include <finwidth/checkpoint.h>
#include <finwidth/diagnostics.h>
#include <finwidth/random.h>
#include "../support/collective_assert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 6 };

static int    n_evaluation, fail_at; /* of this rank; an evaluation that fails stands for a crash */
static double gradient_error;        /* the wrong gradient is this much too large */

static PetscErrorCode count_evaluation(void)
{
  PetscCheck(++n_evaluation != fail_at, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "a crash, for the test");
  return PETSC_SUCCESS;
}

/* Width of coordinate i: from 1 down to 0.1 */
static double width_of(int i)
{
  return pow(10.0, -(double)i / (N - 1));
}

static PetscErrorCode evaluate_gaussian(void *context, const double w[], double *energy, double gradient[])
{
  (void)context;
  PetscCall(count_evaluation());
  *energy = 0.0;
  for (int i = 0; i < N; i++) {
    const double stiffness = 1.0 / (width_of(i) * width_of(i));

    *energy += 0.5 * stiffness * w[i] * w[i];
    gradient[i] = (1.0 + gradient_error) * stiffness * w[i];
  }
  return PETSC_SUCCESS;
}

/* x ~ N(0, 1), y - x^2 / 2 ~ N(0, 1): E y = 1/2, E y^2 = 7/4; the others are N(0, 1) */
static PetscErrorCode evaluate_banana(void *context, const double w[], double *energy, double gradient[])
{
  const double off = w[1] - 0.5 * w[0] * w[0];

  (void)context;
  PetscCall(count_evaluation());
  *energy = 0.5 * off * off;
  for (int i = 0; i < N; i++) {
    gradient[i] = i == 1 ? 0.0 : w[i];
    if (i != 1) *energy += 0.5 * w[i] * w[i];
  }
  gradient[0] -= off * w[0];
  gradient[1] = off;
  return PETSC_SUCCESS;
}

/* Series: U, then all coordinates and their squares; the field holds the coordinates */
static PetscErrorCode measure(void *context, const double w[], double series[], double field[])
{
  (void)context;
  for (int i = 0; i < N; i++) {
    series[1 + i]     = w[i];
    series[1 + N + i] = w[i] * w[i];
    field[i]          = w[i];
  }
  return PETSC_SUCCESS;
}

static const FwTarget gaussian = {
  .n = N, .evaluate = evaluate_gaussian, .n_series = 1 + 2 * N, .n_field = N, .measure = measure};
static const FwTarget banana = {
  .n = N, .evaluate = evaluate_banana, .n_series = 1 + 2 * N, .n_field = N, .measure = measure};
static const FwChainCost cheap = {.flops = 100.0, .n_parameter = N, .n_rank_most = 1};

static FwChainsPlan plan_of(FwSamplerMethod method, PetscInt n_sample)
{
  return (FwChainsPlan){
    .sampler  = {.method = method, .seed = 5, .n_chain = 4, .n_burnin = 300, .n_sample = n_sample, .n_block = 10},
    .tag      = "test",
    .interval = 1e9
  };
}

/* Run on all ranks; the result is on rank 0 */
static PetscErrorCode try_run(MPI_Comm comm, const FwTarget *target, const FwChainsPlan *plan, FwChainsResult *result)
{
  FwChainRanks   ranks;
  PetscErrorCode code;

  TestCall(FwChainRanksCreate(comm, FwChainsSets(plan->sampler.method) * plan->sampler.n_chain, &cheap, &ranks));
  code = FwChainsRun(comm, &ranks, target, plan, result);
  TestCall(FwChainRanksDestroy(&ranks));
  return code;
}

static FwChainsResult run(const FwTarget *target, const FwChainsPlan *plan)
{
  FwChainsResult result;

  TestCall(try_run(PETSC_COMM_WORLD, target, plan, &result));
  return result;
}

/* Mean of a series of a set, and its distance from the truth in error bars; the truth itself on other ranks */
static void assert_mean(const FwChainsResult *a, PetscInt set, PetscInt series, double truth, double sigma)
{
  FwChainSummary s = {.mean = truth, .error_bar = 1.0, .rhat = 1.0};

  if (a->series)
    TestCall(FwChainSummarise(a->n_chain, a->n_sample,
                              a->series + (size_t)(set * a->n_series + series) * a->n_chain * a->n_sample, &s));
  assert_close((s.mean - truth) / s.error_bar, 0.0, sigma);
  assert_close(s.rhat < 1.02, 1, 0);
}

static void gaussian_moments_are_exact(void **state)
{
  const FwSamplerMethod method[] = {FW_SAMPLER_HMC, FW_SAMPLER_MALA};

  (void)state;
  for (int m = 0; m < 2; m++) {
    FwChainsPlan   plan = plan_of(method[m], 1000);
    FwChainsResult a    = run(&gaussian, &plan);

    assert_mean(&a, 0, 0, 0.5 * N, 5.0); /* equipartition */
    for (int i = 0; i < N; i++) {
      assert_mean(&a, 0, 1 + i, 0.0, 5.0);
      assert_mean(&a, 0, 1 + N + i, width_of(i) * width_of(i), 5.0);
    }
    if (a.series) assert_true(fabs(a.acceptance - (m ? 0.574 : 0.75)) < 0.15);
    TestCall(FwChainsResultDestroy(&a));
  }
}

static void banana_moments_are_exact(void **state)
{
  FwChainsPlan   plan = plan_of(FW_SAMPLER_HMC, 3000);
  FwChainsResult a    = run(&banana, &plan);

  (void)state;
  assert_mean(&a, 0, 1, 0.0, 5.0);
  assert_mean(&a, 0, 1 + N, 1.0, 5.0);
  assert_mean(&a, 0, 2, 0.5, 5.0);
  assert_mean(&a, 0, 2 + N, 1.75, 5.0);
  TestCall(FwChainsResultDestroy(&a));
}

/* The stationary variance of w <- (1 - h k) w + sqrt(2h) xi is 1 / (k (1 - h k / 2)), h = e^2 / 2 */
static void langevin_has_the_bias_of_its_step(void **state)
{
  const double   step = 0.12;
  FwChainsPlan   plan = plan_of(FW_SAMPLER_LANGEVIN, 2000);
  FwChainsResult a;

  (void)state;
  plan.sampler.step     = step;
  plan.sampler.leapfrog = 20;
  a                     = run(&gaussian, &plan);
  for (int set = 0; set < 2; set++)
    for (int i = N - 2; i < N; i++) {
      const double k = 1.0 / (width_of(i) * width_of(i)), h = 0.5 * step * step / (1 + set);

      assert_mean(&a, set, 1 + N + i, 1.0 / (k * (1.0 - 0.5 * h * k)), 5.0);
    }
  TestCall(FwChainsResultDestroy(&a));
}

static void leapfrog_retraces_its_path(void **state)
{
  double w[N], p[N], gradient[N], start[2 * N], energy = 0.0;

  (void)state;
  FwStreamNormal(FwStreamCreate(9, FW_RANDOM_MOMENTUM, 0, 0, 0), 0, 2 * N, start);
  memcpy(w, start, sizeof w);
  memcpy(p, start + N, sizeof p);
  for (int way = 0; way < 2; way++) {
    TestCall(evaluate_banana(NULL, w, &energy, gradient));
    TestCall(FwLeapfrog(&banana, 0.05, 20, w, p, gradient, &energy));
    for (int i = 0; i < N; i++) p[i] = -p[i];
  }
  for (int i = 0; i < N; i++) {
    assert_close(w[i], start[i], 1e-11);
    assert_close(p[i], start[N + i], 1e-11);
  }
}

/* Root mean square change of H over trajectories of length 1 from points of the stationary law */
static double loss_of(double step)
{
  enum { STARTS = 200 };
  double sum = 0.0;

  for (int s = 0; s < STARTS; s++) {
    double w[N], p[N], gradient[N], draw[2 * N], before, after = 0.0;

    FwStreamNormal(FwStreamCreate(10, FW_RANDOM_MOMENTUM, (uint64_t)s, 0, 0), 0, 2 * N, draw);
    for (int i = 0; i < N; i++) w[i] = width_of(i) * draw[i];
    memcpy(p, draw + N, sizeof p);
    TestCall(evaluate_gaussian(NULL, w, &before, gradient));
    TestCall(FwLeapfrog(&gaussian, step, (PetscInt)round(1.0 / step), w, p, gradient, &after));
    for (int i = 0; i < N; i++) {
      before += 0.5 * draw[N + i] * draw[N + i];
      after += 0.5 * p[i] * p[i];
    }
    sum += (after - before) * (after - before) / STARTS;
  }
  return sqrt(sum);
}

static void energy_is_lost_with_the_square_of_the_step(void **state)
{
  const double power = log2(loss_of(0.02) / loss_of(0.01));

  (void)state;
  assert_close(power, 2.0, 0.02);
}

/* Negative control: H is not conserved however small the step */
static void a_gradient_one_per_cent_wrong_is_caught(void **state)
{
  double power;

  (void)state;
  gradient_error = 0.01;
  power          = log2(loss_of(0.002) / loss_of(0.001));
  gradient_error = 0.0;
  assert_close(power < 1.0, 1, 0);
}

static uint64_t digest_of(const FwChainsResult *a)
{
  const size_t n_all = (size_t)(a->n_set * a->n_chain);
  uint64_t     sum   = 0;
  const struct {
    const double *x;
    size_t        n;
  } part[] = {
    {a->series, n_all * a->n_series * a->n_sample},
    {a->block,  n_all * a->n_block * a->n_field  },
    {a->w,      n_all * N                        }
  };

  for (int k = 0; k < 3 && a->series; k++)
    for (size_t i = 0; i < part[k].n; i++) {
      uint64_t bits;

      memcpy(&bits, &part[k].x[i], sizeof bits);
      sum = sum * 6364136223846793005ULL + bits;
    }
  MPI_Bcast(&sum, 8, MPI_BYTE, 0, PETSC_COMM_WORLD);
  return sum;
}

static void bits_do_not_depend_on_the_number_of_ranks(void **state)
{
  const FwSamplerMethod method[] = {FW_SAMPLER_HMC, FW_SAMPLER_MALA, FW_SAMPLER_LANGEVIN};

  (void)state;
  for (int m = 0; m < 3; m++) {
    FwChainsPlan   plan = plan_of(method[m], 50);
    FwChainsResult all  = run(&banana, &plan), alone;

    TestCall(try_run(PETSC_COMM_SELF, &banana, &plan, &alone));
    assert_close(digest_of(&all) == digest_of(&alone), 1, 0);
    TestCall(FwChainsResultDestroy(&all));
    TestCall(FwChainsResultDestroy(&alone));
  }
}

/* Crash after some evaluations with a checkpoint after every batch, go on, and so on to the end */
static void a_run_that_crashes_goes_on_with_the_same_bits(void **state)
{
  FwChainsPlan   plan = plan_of(FW_SAMPLER_HMC, 60);
  FwChainsResult whole, pieces = {0};
  char           path[]  = "/tmp/finwidth-test-chains-XXXXXX";
  int            n_crash = 0;
  PetscMPIInt    rank, size;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  if (rank == 0) close(mkstemp(path));
  MPI_Bcast(path, sizeof path, MPI_CHAR, 0, PETSC_COMM_WORLD);
  if (rank == 0) unlink(path);
  plan.sampler.n_burnin = 50;
  whole                 = run(&gaussian, &plan);
  plan.checkpoint       = path;
  plan.interval         = -1.0;
  plan.resume           = PETSC_TRUE;
  for (; n_crash < 100; n_crash++) {
    n_evaluation = 0;
    fail_at      = rank == size - 1 ? 800 : 0;
    if (!try_run(PETSC_COMM_WORLD, &gaussian, &plan, &pieces)) break;
    FwErrorClear();
  }
  fail_at = 0;
  assert_close(n_crash > 0 && n_crash < 100, 1, 0);
  assert_close(digest_of(&whole) == digest_of(&pieces), 1, 0);
  TestCall(FwCheckpointRemove(PETSC_COMM_WORLD, path));
  TestCall(FwChainsResultDestroy(&whole));
  TestCall(FwChainsResultDestroy(&pieces));
}

/* Chains side by side where gradients are cheap; ranks together where there are more ranks than chains or a gradient is
   worth it */
static void ranks_are_divided_by_cost(void **state)
{
  const FwChainCost dear = {.flops = 1e10, .n_parameter = 400000, .n_rank_most = 8};

  (void)state;
  assert_close(FwChainRanksChoose(4, 4, &cheap), 4, 0);
  assert_close(FwChainRanksChoose(8, 4, &cheap), 4, 0);
  assert_close(FwChainRanksChoose(3, 4, &cheap), 3, 0);
  assert_close(FwChainRanksChoose(3, 4, &dear), 1, 0);
  assert_close(FwChainRanksChoose(4, 4, &dear), 4, 0);
  assert_close(FwChainRanksChoose(16, 4, &dear), 4, 0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(gaussian_moments_are_exact),
    cmocka_unit_test(banana_moments_are_exact),
    cmocka_unit_test(langevin_has_the_bias_of_its_step),
    cmocka_unit_test(leapfrog_retraces_its_path),
    cmocka_unit_test(energy_is_lost_with_the_square_of_the_step),
    cmocka_unit_test(a_gradient_one_per_cent_wrong_is_caught),
    cmocka_unit_test(bits_do_not_depend_on_the_number_of_ranks),
    cmocka_unit_test(a_run_that_crashes_goes_on_with_the_same_bits),
    cmocka_unit_test(ranks_are_divided_by_cost),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
