/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: one block of instances of an experiment.
 */

#include <finwidth/optimal_experiment.h>

enum { FW_BLOCK_MOST = 8 }; /* teachers on the same inputs */

/** Instances of block `block`: first .. first + n - 1. */
typedef struct {
  PetscInt block, first, n;
} FwInstances;

/** Do one block.
 *
 * @collective{comm}
 * @param[out] number   [n, FW_INSTANCE_COUNT]
 * @param[out] n_step   entries of a trajectory, at most FW_EXPERIMENT_STEP_MOST + 1
 * @param[out] overlap  [n_step, n]
 * @error FW_ERR_STOPPED  asked to stop: nothing of this block is kept
 */
PetscErrorCode FwExperimentBlock(MPI_Comm comm, const FwExperiment *experiment, FwInstances instances, double number[],
                                 PetscInt *n_step, double overlap[]);

/** Shapes of the designs of training and fresh inputs of a block. */
void FwExperimentDesigns(const FwExperiment *experiment, FwInstances instances, FwDesignPlan *train,
                         FwDesignPlan *test);
