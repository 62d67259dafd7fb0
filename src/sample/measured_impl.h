/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the sources that reduce chains to measured quantities share.
 */

#include "sampled_impl.h"

/** One number of one set of chains, before sets are put together. */
typedef struct {
  double value, error_bar, ess, rhat;
} FwSetNumber;

/** The chains of one set. */
typedef struct {
  FwSampled s;
  PetscInt  set, n_chain, n_block, n_field;
  double   *chain_mean;  /**< [n_chain, n_field] */
  double   *mean;        /**< [n_field] */
  double   *work;        /**< [n_chain, n_block] */
  double *weight_vector; /**< [n_chain, n_mode, n_weight] eigenvectors of the other chains' covariance; NULL without */
  const double *direction; /**< [any number, n_weight] borrowed; NULL without */
} FwSampledSet;

/** Means over one block of samples of a chain: [n_field]. */
const double *FwSetBlock(const FwSampledSet *set, PetscInt chain, PetscInt block);

/** Mean and error bar of what stands in `work`, block by block. */
PetscErrorCode FwSetOfBlocks(const FwSampledSet *set, FwSetNumber *number);

/** Decompose the covariances of the first layer's weights, once. */
PetscErrorCode FwSetWeightVectors(FwSampledSet *set);

/** Variance along their eigenvector i, the largest first. */
PetscErrorCode FwSetWeightEigenvalue(const FwSampledSet *set, PetscInt i, FwSetNumber *number);

/** Variance along direction i. */
PetscErrorCode FwSetWeightVariance(const FwSampledSet *set, PetscInt i, FwSetNumber *number);
