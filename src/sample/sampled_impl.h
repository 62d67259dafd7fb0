/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the sources of a sampled network share: where each number stands in a chain's series and field.
 */

#include <finwidth/sampled.h>

enum { FW_MEASURED_MOST = 16 }; /* quantities, beside the order parameters of layers above the first */

/** Series: U, train and test error of each output, order parameter, two traces. Field: offsets of its parts. */
typedef struct {
  PetscInt  n_train, n_test, n_new, n_output;
  PetscInt  n_layer;  /* that have order parameters: FwPotentialGramSizes() */
  PetscInt *n_order;  /* [n_layer] rows of each; owned */
  PetscInt  n_hidden; /* P, or 0 */
  PetscInt  n_weight,
    n_mode; /* inputs of a neuron of the first layer, and eigenvalues wanted of their covariance, or 0 */
  PetscInt series_train, series_test, series_order, series_hidden, series_weight, n_series;
  PetscInt field_mean, field_second, field_order, field_hidden, field_weight, n_field;
} FwSampledLayout;

struct FwSampledImpl {
  FwSampledLayout at;
  FwSampledPlan   plan;
  FwChainsResult  chains;
  PetscInt        n_parameter;
  double         *y_train, *y_test; /* [P, D], [P_t, D] copies */
  PetscBool       has_classes;
  PetscInt        n_measured;
  FwMeasured     *measured; /* [n_measured] */
};

/** Place of (i, j), i >= j, in a packed lower triangle. */
static inline PetscInt64 FwPackedPlace(PetscInt i, PetscInt j)
{
  return (PetscInt64)i * (i + 1) / 2 + j;
}

/** y^T M y of a packed symmetric matrix. */
static inline double FwPackedForm(PetscInt n, const double packed[], const double y[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) sum += (i == j ? 1.0 : 2.0) * y[i] * y[j] * packed[FwPackedPlace(i, j)];
  return sum;
}

/** Where the order parameters of a layer begin among those of all layers; at n_layer their number. */
PetscInt FwSampledOrderPlace(const FwSampledLayout *at, PetscInt layer);

/** What a gradient costs, as the division of the ranks wants to know it. */
FwChainCost FwSampledChainCost(const FwModel *model, const FwDataSizes *sizes);

/** Inputs of a neuron whose weights' covariance is kept when observables are wanted; 0 where it would be too large. */
PetscInt FwSampledWeightInputs(PetscInt n_input, PetscBool with_observables);

/** Blocks of samples: as many as are worth having, or as 64 MiB of a chain hold. */
PetscInt FwSampledBlocks(PetscInt n_sample, double n_field);

/** Reduce the chains to measured quantities. */
PetscErrorCode FwSampledMeasure(FwSampled sampled);
