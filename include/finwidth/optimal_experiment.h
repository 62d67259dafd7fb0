/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What theory says about the best learner of deep random networks, tried: teachers are drawn, their labels learnt, and the
 * error measured on fresh inputs.
 *
 *     ridge   regression with the penalty lambda = (gamma + Delta) / eta^2 of the equivalent linear model, and an intercept
 *             where the activations are not odd; gaussian channel
 *     gamp    message passing on the equivalent linear model; any channel, odd activations
 *     hmc     the posterior of the network itself, sampled by the caller; gaussian channel with noise. Ridge on the same data
 *             is measured beside it
 *
 * Instances are independent teachers. Up to 8 of them share their inputs, which makes the work products of matrices: what
 * they then have in common is of order 1/d, against 1/sqrt(d) of each. A block of such instances is finished before the
 * next is begun, and all that is drawn depends on its number alone: neither the number of ranks nor a stop in between changes
 * a bit.
 *
 * @source docs/theory/optimal.md, docs/theory/optimal-experiments.md
 */

#include <finwidth/channel.h>
#include <finwidth/checkpoint.h>
#include <finwidth/deep_teacher.h>
#include <finwidth/record.h>
#include <finwidth/reduction.h>

/** In the order of the choices of `optimal_experiment`. */
typedef enum { FW_EXPERIMENT_NONE, FW_EXPERIMENT_RIDGE, FW_EXPERIMENT_GAMP, FW_EXPERIMENT_HMC } FwExperimentKind;

/** Numbers of one instance; NaN for what its kind does not measure. */
typedef enum {
  FW_INSTANCE_ERROR,       /**< error on a new label: mean square, or the probability of the wrong one of two */
  FW_INSTANCE_RIDGE,       /**< the same of ridge (gaussian channel) */
  FW_INSTANCE_TRAIN,       /**< mean square error of z at the training inputs, given their labels (ridge) */
  FW_INSTANCE_SIGNAL,      /**< |S|^2 / d times eta^2 of this teacher: its best linear fit */
  FW_INSTANCE_REST,        /**< variance that this fit leaves */
  FW_INSTANCE_CONDITIONAL, /**< error that theory predicts for such signal and rest (gaussian channel) */
  FW_INSTANCE_VARIANCE,    /**< posterior variance of a new label, noise included, as the learner believes it to be */
  FW_INSTANCE_OVERLAP,     /**< of weights with the best linear fit: s.S/d (gamp) */
  FW_INSTANCE_ITERATIONS,
  FW_INSTANCE_RHAT,      /**< of the two chains (hmc) */
  FW_INSTANCE_CONVERGED, /**< 1 or 0 */
  FW_INSTANCE_COUNT
} FwInstanceNumber;

/** One instance, as the caller needs it to sample its network. */
typedef struct {
  PetscInt      number, n_train, n_test, d;
  FwStream      train, test; /**< of the inputs: number row d + input */
  const double *y;           /**< [n_train] labels, on every rank */
  const double *z;           /**< [n_test] answers of the teacher to the fresh inputs, on every rank */
} FwExperimentData;

/** Sample the posterior of a network.
 *
 * Collective on comm.
 * @param[out] number  on every rank FW_INSTANCE_ERROR, without the noise of the label, FW_INSTANCE_VARIANCE likewise,
 *                     FW_INSTANCE_RHAT, FW_INSTANCE_ITERATIONS and FW_INSTANCE_CONVERGED
 */
typedef PetscErrorCode FwExperimentSampler(MPI_Comm comm, const FwExperimentData *data, void *context,
                                           double number[FW_INSTANCE_COUNT]);

enum { FW_EXPERIMENT_STEP_MOST = 1500 };

typedef struct {
  FwExperimentKind     kind;
  FwDeepTeacher        teacher; /**< its seed is the seed of all that is drawn */
  FwChannel            channel;
  double               eta, gamma, bias; /**< of the reduction of the teacher */
  PetscInt             n_train, n_test, n_instance;
  PetscInt             n_iteration; /**< of ridge and gamp at most; up to FW_EXPERIMENT_STEP_MOST */
  FwExperimentSampler *sampler;     /**< for hmc */
  void                *context;     /**< of the sampler */
} FwExperiment;

/** What was measured, on every rank. */
typedef struct {
  PetscInt n_instance, n_step;
  double  *number; /**< [n_instance, FW_INSTANCE_COUNT] */
  double
    *overlap; /**< [n_instance, n_step] overlap after each iteration of gamp, from the start on; the last one goes on
                         where an instance was done earlier */
} FwExperimentResult;

/** What an experiment will need. */
typedef struct {
  double rank_bytes; /**< of each of the ranks, without the sampler's */
  double flops;      /**< of all ranks together, without the sampler's; 50 passes are assumed for a solution */
} FwExperimentCost;

/** Check that an experiment is one that can be done.
 * @error FW_ERR_INPUT  the kind does not fit channel or activations: says which does */
PetscErrorCode FwExperimentCheck(const FwExperiment *experiment);

/** Not collective. */
void FwExperimentEstimate(const FwExperiment *experiment, PetscInt n_rank, FwExperimentCost *cost);

/** Do an experiment.
 *
 * @collective{comm}
 * @param[out] result  release with FwExperimentResultDestroy()
 * @error FW_ERR_STOPPED  asked to stop: a checkpoint of the finished blocks is written
 * @error FW_ERR_INPUT    as FwExperimentCheck(), or the checkpoint is another run's
 */
PetscErrorCode FwExperimentDo(MPI_Comm comm, const FwExperiment *experiment, const FwKeptRun *run,
                              FwExperimentResult *result);

/** Put into a record what was measured, beside theory at alpha = n / d. Not collective.
 *
 * Names, each with NAME_error_bar over instances and, where theory has one, NAME_predicted and NAME_z_score:
 *
 *     error               the learner's; for gamp theory is that of message passing
 *     conditional_ratio   error over that predicted for the teacher's own signal and rest, 1 in theory (ridge)
 *     train_error         of z at the training inputs (ridge)
 *     ridge_error, gain   ridge on the same data, and how much lower the learner's error is, teacher by teacher (hmc)
 *     posterior_variance  of a new label, as the learner believes it to be (hmc; gamp with gaussian channel)
 *     overlap             s.S / d (gamp)
 *     signal, rest        eta^2 and gamma of the teachers, by a linear fit
 *
 * `overlap_trajectory` [iteration] has `overlap_state_evolution` beside it; `instance_*` [instance] are the numbers of each
 * teacher; `z_score` is that of the error. `converged` is 1 where all instances have converged.
 *
 * @param[out] is_converged  every instance has
 */
PetscErrorCode FwExperimentRecord(const FwExperiment *experiment, const FwReduction *reduction,
                                  const FwExperimentResult *result, FwRecord record, PetscBool *is_converged);

PetscErrorCode FwExperimentResultDestroy(FwExperimentResult *result);
