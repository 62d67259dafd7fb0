/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * An ensemble in training, as its sources share it: runs go in batches, whose networks stand side by side in the lanes of
 * the vector unit.
 */

#include "lanes.h"

#include <finwidth/counter.h>
#include <finwidth/ensemble.h>
#include <finwidth/progress.h>
#include <finwidth/vector.h>

/** Between looks at the clock where somebody may wait for the look: some hundredths of a second. */
#define FW_SHORT_FLOPS 2e8

typedef struct {
  const FwEnsemblePlan *plan;
  FwEnsembleResult     *result;
  MPI_Comm              comm; /**< of the ranks that share a run: self, or all */
  FwLearner             learner;
  PetscInt              n_batch, size;      /**< runs of a batch */
  PetscInt             *n_measured;         /**< [n_batch] times done */
  PetscBool            *is_mine, *is_saved; /**< [n_batch] */
  PetscLogDouble        last_save;
  FwCounter             counter; /**< of batches, where ranks work apart; else NULL */
  FwProgress            progress;
  PetscInt              n_rank, n_done; /**< ranks that work apart, measurements on this one: for the progress */
} FwEnsembleWork;

/** Runs of a full batch. Small networks fill the lanes of the vector unit (training.h); others, and methods that solve
 *  equations, go one by one. */
PetscInt FwEnsembleBatchSize(const FwEnsemblePlan *plan);

/** Whether the training needs no examples beyond their second moments. */
PetscBool FwEnsembleNeedsMoments(const FwEnsemblePlan *plan);

/** A result of zeros; release with FwEnsembleDestroy(). */
PetscErrorCode FwEnsembleCreate(const FwEnsemblePlan *plan, FwEnsembleResult *result);

/** Of a batch: its first run, how many it has; the numbers of a run at a time. */
PetscInt FwEnsembleFirstRun(const FwEnsembleWork *work, PetscInt batch);
PetscInt FwEnsembleCountRuns(const FwEnsembleWork *work, PetscInt batch);
double  *FwEnsembleRow(const FwEnsembleWork *work, PetscInt run, PetscInt time);

/** ensemble_batch.c: the training of a batch from its start; and what there is to say of its runs at the next of the times.
 *  Collective on the ranks that share a run. */
PetscErrorCode FwEnsembleCreateTraining(FwEnsembleWork *work, PetscInt batch, FwTraining *training);
PetscErrorCode FwEnsembleMeasureBatch(FwEnsembleWork *work, FwTraining training, PetscInt batch);

/** ensemble_keep.c: the batches that are through, and the one in work, NULL where that is through; and a batch where its
 *  checkpoint left it. Collective on the ranks that share a run.
 * @error FW_ERR_FILE  cannot be written; is of another input */
PetscErrorCode FwEnsembleSave(FwEnsembleWork *work, PetscInt batch, FwTraining training);
PetscErrorCode FwEnsembleResume(FwEnsembleWork *work, PetscInt batch, FwTraining training);
