/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Variances of first-layer weights whose covariance is known: 4 along e_0, 1.1 along e_1, 1 along the rest.
 * ranks: 1
 */

#include "../../src/sample/measured_impl.h" /* chains are made up here: no network has a covariance that is known */
#include <finwidth/random.h>
#include <petscblaslapack.h>
#include "../support/collective_assert.h"

enum { CHAINS = 4, BLOCKS = 16, NEURONS = 20, M = 40, FIELD = M * (M + 1) / 2, REPEATS = 30, MODES = 4 };

static const double truth[] = {4.0, 1.1, 1.0, 1.0};

static double block[CHAINS * BLOCKS * FIELD], chain_mean[CHAINS * FIELD], mean[FIELD], work[CHAINS * BLOCKS];
static struct FwSampledImpl sampled;

/* Chains of blocks, each the mean of w w^T over some neurons */
static FwSampledSet make_chains(uint64_t seed)
{
  double w[NEURONS * M];

  memset(chain_mean, 0, sizeof chain_mean);
  memset(mean, 0, sizeof mean);
  for (int b = 0; b < CHAINS * BLOCKS; b++) {
    FwStreamNormal(FwStreamCreate(seed, FW_RANDOM_MOMENTUM, (uint64_t)b, 0, 0), 0, NEURONS * M, w);
    memset(block + b * FIELD, 0, FIELD * sizeof *block);
    for (int a = 0; a < NEURONS; a++) {
      for (int k = 0; k < MODES; k++) w[a * M + k] *= sqrt(truth[k]);
      for (int i = 0; i < M; i++)
        for (int j = 0; j <= i; j++) block[b * FIELD + FwPackedPlace(i, j)] += w[a * M + i] * w[a * M + j] / NEURONS;
    }
    for (int i = 0; i < FIELD; i++) chain_mean[b / BLOCKS * FIELD + i] += block[b * FIELD + i] / BLOCKS;
  }
  for (int i = 0; i < CHAINS * FIELD; i++) mean[i % FIELD] += chain_mean[i] / CHAINS;
  sampled = (struct FwSampledImpl){
    .at     = {.n_weight = M,      .n_mode = MODES,  .n_field = FIELD},
    .chains = { .n_set = 1, .n_chain = CHAINS, .n_block = BLOCKS,   .n_field = FIELD, .block = block}
  };
  return (FwSampledSet){.s          = &sampled,
                        .n_chain    = CHAINS,
                        .n_block    = BLOCKS,
                        .n_field    = FIELD,
                        .chain_mean = chain_mean,
                        .mean       = mean,
                        .work       = work};
}

/* Eigenvectors of the mean of all chains, largest first */
static void own_vectors(double vector[])
{
  static double matrix[M * M], value[M], room[34 * M];
  PetscBLASInt  n = M, size = 34 * M, info;

  for (int i = 0; i < M; i++)
    for (int j = 0; j <= i; j++) matrix[j * M + i] = mean[FwPackedPlace(i, j)];
  LAPACKsyev_("V", "L", &n, matrix, &n, value, room, &size, &info);
  for (int k = 0; k < MODES; k++) memcpy(vector + k * M, matrix + (M - 1 - k) * M, M * sizeof *vector);
}

/* Over many repetitions: mean of z and of z^2 of each of the modes */
static void distances(PetscErrorCode measure(const FwSampledSet *, PetscInt, FwSetNumber *), PetscBool is_own,
                      double z[MODES], double z2[MODES])
{
  static double vector[MODES * M];

  memset(z, 0, MODES * sizeof *z);
  memset(z2, 0, MODES * sizeof *z);
  for (int r = 0; r < REPEATS; r++) {
    FwSampledSet set = make_chains((uint64_t)r);

    memset(vector, 0, sizeof vector);
    for (int k = 0; k < MODES; k++) vector[k * M + k] = 1.0;
    if (is_own) own_vectors(vector);
    set.direction = vector;
    TestCall(FwSetWeightVectors(&set));
    for (int k = 0; k < MODES; k++) {
      FwSetNumber number = {0};
      double      distance;

      TestCall(measure(&set, k, &number));
      distance = (number.value - truth[k]) / number.error_bar;
      z[k] += distance / REPEATS;
      z2[k] += distance * distance / REPEATS;
    }
    TestCall(PetscFree(set.weight_vector));
  }
}

static void variance_along_a_given_direction_is_unbiased(void **state)
{
  double z[MODES], z2[MODES];

  (void)state;
  distances(FwSetWeightVariance, PETSC_FALSE, z, z2);
  for (int k = 0; k < MODES; k++) {
    assert_close(z[k], 0.0, 4.0 / sqrt(REPEATS));
    assert_close(z2[k], 1.0, 4.0 * sqrt(2.0 / REPEATS));
  }
}

/* The negative control: what chains have along eigenvectors of their own is the edge of their noise */
static void variance_along_directions_of_the_same_chains_is_not(void **state)
{
  double z[MODES], z2[MODES];

  (void)state;
  distances(FwSetWeightVariance, PETSC_TRUE, z, z2);
  for (int k = 1; k < MODES; k++) assert_close(z[k] > 3.0, 1, 0);
}

/* An eigenvalue that stands apart, and the bulk; what lies within the noise of the bulk comes out as the bulk */
static void eigenvalues_along_the_vectors_of_other_chains_are_not_the_edge_of_noise(void **state)
{
  double z[MODES], z2[MODES];

  (void)state;
  distances(FwSetWeightEigenvalue, PETSC_FALSE, z, z2);
  assert_close(z[0], 0.0, 4.0 / sqrt(REPEATS));
  for (int k = 1; k < MODES; k++) assert_close(z[k] < 4.0 / sqrt(REPEATS), 1, 0);
  for (int k = 2; k < MODES; k++) assert_close(z[k], 0.0, 1.0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(variance_along_a_given_direction_is_unbiased),
    cmocka_unit_test(variance_along_directions_of_the_same_chains_is_not),
    cmocka_unit_test(eigenvalues_along_the_vectors_of_other_chains_are_not_the_edge_of_noise),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  n_failed = cmocka_run_group_tests_name("measured weight", tests, NULL, NULL);
  return FwFinish(0) || n_failed;
}
