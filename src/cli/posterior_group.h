/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The posterior part of `finwidth mixture`: one decomposed kernel that serves every network, temperature and law of a
 * scan on the same data.
 *
 * Linear networks of any depth and any priors have kernels that differ by a factor, so that only the keys of the data
 * matter for the decomposition.
 */

#include <finwidth/dataset.h>
#include <finwidth/estimate.h>
#include <finwidth/mixture_posterior.h>
#include <finwidth/model.h>
#include <finwidth/scan.h>

/** Data and kernel of a group of points. */
typedef struct {
  MPI_Comm   comm;
  FwGrid     grid;
  FwDataset  data;
  FwSpectrum spectrum; /**< of X^T X / N_0, with labels and test examples */
  PetscInt   n_output;
  char       kept[PETSC_MAX_PATH_LEN]; /**< file of the decomposition, removed with the group */
} FwPosteriorGroup;

/** How the posteriors of a point are computed. */
typedef struct {
  PetscInt    n_sample;   /**< draws of the importance sampling */
  PetscBool   is_quiet;   /**< no table */
  const char *checkpoint; /**< path to which each law appends its own part */
  const char *tag;        /**< of the checkpoints */
  PetscBool   resume;
  double      interval; /**< seconds between checkpoints */
} FwPosteriorRun;

/** Keys within which points share a kernel, for FwRequestPlan. */
extern const char *const FwPosteriorSharedKeys[];

/** Refuse what has no posterior, before anything is computed. Not collective, the same on every rank.
 * @error FW_ERR_INPUT  no data; biases of hidden layers; laws without a posterior at this temperature */
PetscErrorCode FwPosteriorCheckPoint(const FwModel *model, const FwMixtureLaw *finite, const FwMixtureLaw *limit);

/** What the kernel of n points will need, with the resolvents that they take of it; and the seconds of one rank that a law
 *  takes beside it. The first is collective on `grid`.
 * @error FW_ERR_MEMORY  it would not fit */
PetscErrorCode FwPosteriorGroupEstimate(FwGrid grid, const FwDataSizes *sizes, PetscInt n_point, double temperature,
                                        FwEstimate *estimate);
double         FwPosteriorLawSeconds(PetscInt n_output, PetscInt depth, const FwDataSizes *sizes, PetscInt n_sample);

/** What a group is made for. */
typedef struct {
  PetscInt    n_point;
  double      temperature; /**< the lowest of the points */
  const char *checkpoint;  /**< of the first point: a long decomposition is kept beside it */
  PetscBool   resume;
  double      interval; /**< seconds between checkpoints */
} FwPosteriorGroupPlan;

/** Read the data and decompose the kernel.
 *
 * @collective{comm}
 * @param[out] group  release with FwPosteriorGroupDestroy()
 * @error FW_ERR_MEMORY   it would not fit
 * @error FW_ERR_STOPPED  asked to stop during the decomposition: what is done is kept
 * @error FW_ERR_FILE     what is kept is of another kernel, or damaged
 */
PetscErrorCode FwPosteriorGroupCreate(MPI_Comm comm, const FwPosteriorGroupPlan *plan, FwPosteriorGroup *group);

/** The posteriors at one point: of the network (names as in the issue of the file), of its limit (`limit_`), of the
 *  infinitely wide network (`infinite_`), and the saddle point beside them, into /mixture/posterior of the record.
 *
 * A law without trustworthy numbers, or the saddle point, is warned of with the reason; its `converged` is 0, the others stand.
 *
 * @collective{group->comm}
 * @param[in]     finite, limit  laws of Q with the data's number of outputs
 * @param[in,out] is_converged   PETSC_FALSE where one of them has not
 * @error FW_ERR_INPUT, FW_ERR_FILE, FW_ERR_STOPPED  as FwMixturePosteriorCreate()
 */
PetscErrorCode FwPosteriorPoint(const FwPosteriorGroup *group, const FwModel *model, const FwMixtureLaw *finite,
                                const FwMixtureLaw *limit, const FwPosteriorRun *run, FwRecord record,
                                PetscBool *is_converged);

PetscErrorCode FwPosteriorGroupDestroy(FwPosteriorGroup *group);

/** The digest of the data, as commands record it. */
PetscErrorCode FwPosteriorRecordDigest(const FwPosteriorGroup *group, FwRecord record);

/** The table of a finished scan; `all` is looked at on rank 0. Collective. */
PetscErrorCode FwPosteriorPrintScan(FwScan scan, FwRecord all);
