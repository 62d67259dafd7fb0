/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the files of `finwidth optimal` share: the setting of a point, its theory, and what is printed.
 */

#include "request.h"

#include <finwidth/model.h>
#include <finwidth/optimal.h>
#include <finwidth/optimal_experiment.h>

/** Keys within which points form a group. */
extern const char *const FwOptimalSharedKeys[];

/** The keys of one point. */
typedef struct {
  FwModel   model; /**< network_*; its activations; widths of an experiment */
  double   *gain;  /**< [L] with weights of variance 1: optimal_gain / sqrt(network_prior) */
  FwChannel channel;
  double    alpha, input_variance, readout_variance;
  PetscInt  experiment, dimension, n_instance; /**< an FwExperimentKind, optimal_dimension, optimal_instances */
  PetscBool is_odd;                            /**< every activation is */
} FwOptimalSetting;

/** Read and check the keys. Release with FwOptimalSettingDestroy().
 * @error FW_ERR_INPUT  a key that this command cannot heed, labels of a network that is not odd, ... */
PetscErrorCode FwOptimalSettingRead(FwOptimalSetting *setting);
PetscErrorCode FwOptimalSettingDestroy(FwOptimalSetting *setting);

/** The network to be reduced; borrows from the setting. */
FwDeepTarget FwOptimalTarget(const FwOptimalSetting *setting);

/** What the points of a group share. */
typedef struct {
  FwReduction         reduction;
  FwChannel           channel;
  FwOptimal           optimal;
  FwOptimalThresholds thresholds;
  double              floor; /**< of the error */
  PetscBool           is_proved;
} FwOptimalShared;

/** Examples beyond n = d_min^{3/2}, where the theorem ends; the sizes are those of an experiment, or were given. */
PetscErrorCode FwOptimalIsBeyond(const FwOptimalSetting *setting, PetscBool *is_beyond);

/** optimal_print.c: one point; a scan. Collective. */
PetscErrorCode FwPrintOptimal(const FwOptimalSetting *setting, const FwOptimalShared *shared, FwRecord record);
PetscErrorCode FwPrintOptimalScan(FwScan scan, FwRecord all);
