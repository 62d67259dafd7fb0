/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Many trainings of one shape on the same examples, each measured at the same times.
 *
 * Runs go in batches, whose size depends on the shape and the method alone; each rank takes the next when it is done.
 * Where there are fewer runs than ranks and a gradient is work enough to share, all ranks work on every run instead. A
 * run's numbers do not depend on which of these happens.
 */

#include <finwidth/alignment.h>
#include <finwidth/training.h>

typedef struct {
  FwDecay       decay;
  double        step;
  uint64_t      seed;
  const double *start; /**< [n_theta] borrowed */
} FwEnsembleRun;

typedef struct {
  FwLearnerShape       shape;
  FwLoss               loss;
  PetscInt             n_example;
  const double        *x, *y; /**< [n_example][n_0], [n_example][c]; borrowed, the same on every rank */
  FwTrainPlan          plan;
  PetscBool            is_single; /**< products through examples in single precision */
  PetscInt             n_time, n_alpha;
  const double        *time;  /**< [n_time] ascending, from 0: t of flows, else steps */
  const double        *alpha; /**< [n_alpha] */
  PetscInt             n_run;
  const FwEnsembleRun *run;          /**< [n_run] */
  const char          *checkpoint;   /**< path to which the number of a batch is added */
  const char          *tag;          /**< what checkpoints belong to */
  PetscBool            resume;       /**< take up checkpoints that are there */
  double               interval;     /**< seconds between checkpoints */
  PetscBool            has_progress; /**< show progress, where the communicator is PETSC_COMM_WORLD */
} FwEnsemblePlan;

/** How a run has ended. */
typedef struct {
  double time;         /**< where: its last time, or where it diverged, or for lmvm and newton the iterations made */
  double is_diverged;  /**< 0 or 1; its later measurements and its weights are NaN */
  double is_given_up;  /**< 0 or 1, of flows: plan.n_gradient_most was not enough; its later measurements are NaN */
  double is_converged; /**< 0 or 1, of lmvm and newton */
  double n_gradient;   /**< gradients evaluated */
} FwEnsembleEnd;

typedef struct {
  FwAlignmentRows rows;
  PetscInt        n_theta;
  double         *row;   /**< [n_run][n_time][rows.n] */
  double         *theta; /**< [n_run][n_theta] at the end */
  FwEnsembleEnd  *end;   /**< [n_run] */
} FwEnsembleResult;

/** Train and measure.
 *
 * @collective{comm}
 * @param[out] result  the same on every rank; release with FwEnsembleDestroy()
 * @error FW_ERR_INPUT    as FwLearnerCreate() and FwTrainingCreate()
 * @error FW_ERR_STOPPED  asked to stop: checkpoints are written
 */
PetscErrorCode FwEnsembleTrain(MPI_Comm comm, const FwEnsemblePlan *plan, FwEnsembleResult *result);

/** Release. */
PetscErrorCode FwEnsembleDestroy(FwEnsembleResult *result);

/** Floating-point operations of one gradient, and bytes of the result with one rank's work, before anything is allocated. */
double FwEnsembleGradientCost(const FwEnsemblePlan *plan);
double FwEnsembleBytes(const FwEnsemblePlan *plan);

/** Time that all runs would take on one rank, from a trial: some of them, spread over all, are trained for `budget` seconds
 *  of the processor, and go on at the pace of the trial's second half. An upper bound for lmvm and newton, which may converge before the end.
 *  Flows whose steps shrink later take longer.
 *
 * Not collective.
 * @error as FwLearnerCreate() and FwTrainingCreate()
 */
PetscErrorCode FwEnsembleTrial(const FwEnsemblePlan *plan, double budget, double *seconds);

/** Times at which to measure: 0, then from end/1000 to end by equal factors; whole numbers where `is_whole`, each once.
 *
 * @param[in,out] n     room on entry, at least 2; number of times on return
 * @param[out]    time  [n]
 */
void FwEnsembleTimes(double end, PetscBool is_whole, PetscInt *n, double time[]);
