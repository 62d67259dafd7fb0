/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The sampler of `finwidth sample` as a learner of `finwidth optimal`: the posterior of the very network that the teacher is
 * drawn from, its readout integrated out, by two independent chains.
 *
 * With m_1 and m_2 the means of two chains at a fresh input, (z - m_1)(z - m_2) has the squared error of the posterior mean
 * for expectation: the chains' own noise averages out. Likewise <f^2> - m_1 m_2 is the posterior variance.
 */

#include <finwidth/optimal_experiment.h>
#include <finwidth/sampler.h>

/** R-hat of U or of the error above this is not converged. Looser than for a single posterior: what is averaged over teachers
 *  has no bias from chains that are short, only noise, which its error bar shows. */
#define FW_OPTIMAL_RHAT_MOST 1.1

typedef struct {
  const FwDeepTeacher *teacher;          /**< architecture and prior */
  double               noise;            /**< Delta, the temperature */
  FwSamplerPlan        plan;             /**< seed, samples, burn-in, step, leapfrog */
  const char          *checkpoint, *tag; /**< of the point: each instance adds its number */
  PetscBool            resume;
  double               interval;
} FwOptimalSampler;

/** An FwExperimentSampler; the context is an FwOptimalSampler. */
PetscErrorCode FwOptimalSample(MPI_Comm comm, const FwExperimentData *data, void *context,
                               double number[FW_INSTANCE_COUNT]);

/** What a sampler needs on each rank, and operations of all instances together. Not collective. */
PetscErrorCode FwOptimalSampleEstimate(const FwExperiment *experiment, const FwOptimalSampler *sampler,
                                       double *rank_bytes, double *flops);
