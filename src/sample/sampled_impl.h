/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the sources of a sampled network share: where each number stands in a chain's series and field.
 */

#include <finwidth/sampled.h>

enum { FW_MEASURED_MOST = 16 };

/** Series: U, train and test error of each output, order parameter, two traces. Field: offsets of its parts. */
typedef struct {
  PetscInt n_train, n_test, n_new, n_output, n_readout, n_hidden; /* n_hidden: P, or 0 */
  PetscInt series_train, series_test, series_order, series_hidden, series_weight, n_series;
  PetscInt field_mean, field_second, field_readout, field_hidden, n_field;
} FwSampledLayout;

struct FwSampledImpl {
  FwSampledLayout at;
  FwSampledPlan   plan;
  FwChainsResult  chains;
  PetscInt        n_parameter;
  double         *y_train, *y_test; /* [P, D], [P_t, D] copies */
  PetscBool       has_classes;
  PetscInt        n_measured;
  FwMeasured      measured[FW_MEASURED_MOST];
};

/** Place of (i, j), i >= j, in a packed lower triangle. */
static inline PetscInt64 FwPackedPlace(PetscInt i, PetscInt j)
{
  return (PetscInt64)i * (i + 1) / 2 + j;
}

/** What a gradient costs, as the division of the ranks wants to know it. */
FwChainCost FwSampledChainCost(const FwModel *model, const FwDataSizes *sizes);

/** Blocks of samples: as many as are worth having, or as 64 MiB of a chain hold. */
PetscInt FwSampledBlocks(PetscInt n_sample, double n_field);

/** Reduce the chains to measured quantities. */
PetscErrorCode FwSampledMeasure(FwSampled sampled);
