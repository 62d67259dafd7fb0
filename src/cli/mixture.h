/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * `finwidth mixture` in pieces: the keys of a point, what points will need, the computation of a group of them.
 */

#include "posterior_group.h"
#include "request.h"

#include <finwidth/mixture_report.h>

/** What holds for all points. */
typedef struct {
  const FwRequest   *request;
  const char *const *shared; /**< keys within which points form a group */
  FwMixtureRequest   report;
  PetscBool          has_data, is_depth_free; /**< no depth was given: a N where mixture_a and one width are */
  PetscBool          has_posterior;
  double             lowest_temperature; /**< of all points */
} FwMixtureCommon;

/** One point. */
typedef struct {
  FwModel      model;
  FwMixtureLaw finite, limit;
  PetscInt     n_output, n_sample, n_input, n_test;
  PetscInt     n_component; /**< of an input: 0 before the data are read */
  char         tag[64];     /**< of checkpoints: the input, and the data once they are read */
} FwMixturePoint;

/** The networks of this theory are linear: where the user says nothing, so does the resolved input. Before
 *  FwRequestCreate(). */
PetscErrorCode FwMixtureMakeLinear(void);

/** Read and check the keys of all points. Collective on PETSC_COMM_WORLD.
 * @error FW_ERR_INPUT   keys that contradict each other, or that this theory does not have
 * @error FW_ERR_MEMORY  as FwMixtureCheckMemory() */
PetscErrorCode FwMixtureSetUp(const FwRequest *request, FwMixtureCommon *common);

/** The point that stands in the options database. Release with FwMixturePointDestroy(). */
PetscErrorCode FwMixturePointRead(const FwMixtureCommon *common, FwMixturePoint *point);
PetscErrorCode FwMixturePointDestroy(FwMixturePoint *point);

/** Check what depends on the number of outputs, which may be known from the data alone. Collective.
 * @error FW_ERR_INPUT   as FwPosteriorCheckPoint()
 * @error FW_ERR_MEMORY  as FwMixtureCheckMemory() */
PetscErrorCode FwMixtureCheckOutputs(MPI_Comm comm, const FwMixtureCommon *common, const FwMixturePoint *point);

/** Of a point or of several: memory of rank 0, numbers to draw, seconds of one rank. */
typedef struct {
  double bytes, numbers, seconds;
} FwMixtureNeed;

/** Refuse a number of samples whose rows would not fit, before anything is drawn. Collective.
 * @error FW_ERR_MEMORY */
PetscErrorCode FwMixtureCheckMemory(MPI_Comm comm, const FwMixtureCommon *common, const FwMixturePoint *point);

/** What groups of points will need, each of the points of one together; of memory what the one takes that needs most.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]     group  [n_point] as FwScanGetGroups() gives them
 * @param[in,out] need   [n_group] zero on entry
 * @error FW_ERR_MEMORY  a kernel would not fit
 */
PetscErrorCode FwMixtureFindNeeds(const FwMixtureCommon *common, PetscInt n_group, const PetscInt group[],
                                  FwMixtureNeed need[]);

/** Compute a group of points; `context` is an FwMixtureCommon. */
FwScanFunction FwMixtureGroup;
