/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Many draws of one law, divided over the ranks: what is kept of each is a row of numbers.
 *
 * A row depends on seed and number of the sample alone, so that the whole is the same bits on any number of ranks and
 * after any number of interruptions.
 */

#include <finwidth/checkpoint.h>
#include <finwidth/mixture_outputs.h>

/** One law, one sampler. */
typedef struct {
  FwMixtureLaw           law;
  FwMixtureSampler       sampler;
  const FwMixtureInputs *inputs; /**< borrowed */
  uint64_t               seed;
} FwMixtureExperiment;

/** Columns of a row: log eigenvalues of Q, descending, in columns 0 .. D-1, then these from column D on. */
typedef enum {
  FW_COLUMN_LOG_Q,       /**< log Q_11 */
  FW_COLUMN_LOG_DET,     /**< log det Q */
  FW_COLUMN_LOG_OUTPUT2, /**< log S_11^2 / K_11 */
  FW_COLUMN_OUTPUT,      /**< S_11, then S_12, S_21, S_22 (output, input); NaN where there is no such one */
  FW_COLUMN_LOG_OUTPUT_DET = FW_COLUMN_OUTPUT + 4, /**< log det (S K^-1 S^T); NaN for P < D */
  FW_COLUMN_COUNT
} FwMixtureColumn;

/** Length of a row: D + FW_COLUMN_COUNT. */
PetscInt FwMixtureRowLength(const FwMixtureExperiment *experiment);

/** Rows of samples first .. first + n - 1. Not collective. @param[out] row  [n, row length]
 *  @error FW_ERR_STOPPED  this rank was asked to stop, and the layers are wide */
PetscErrorCode FwMixtureMeasure(const FwMixtureExperiment *experiment, uint64_t first, PetscInt n, double row[]);

/** Rows of `n_sample` samples of each of several experiments.
 *
 * @collective{comm}
 * @param[in]  experiment  [n_experiment]
 * @param[out] row         [n_experiment] on rank 0 arrays [n_sample, row length] to release with PetscFree(); NULL elsewhere
 * @error FW_ERR_STOPPED  asked to stop: the checkpoint is written
 * @error FW_ERR_INPUT    the checkpoint is another run's
 */
PetscErrorCode FwMixtureSample(MPI_Comm comm, PetscInt n_experiment, const FwMixtureExperiment experiment[],
                               PetscInt n_sample, const FwKeptRun *run, double *row[]);
