/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * `finwidth ansatz` in pieces: the keys of a point, the computation of a group of points, the tables.
 */

#include "request.h"

#include <finwidth/counterexample.h>
#include <finwidth/ensemble.h>
#include <finwidth/initial.h>
#include <finwidth/model.h>

enum { FW_ANSATZ_LIST_MAX = 1024 };

/** What holds for all points. */
typedef struct {
  const FwRequest *request;
  PetscInt         n_seed, n_alpha;
  double           alpha[FW_ANSATZ_LIST_MAX];
  PetscBool        with_weights;
  char             failure[512]; /**< message of exit 4 */
} FwAnsatz;

/** One point. */
typedef struct {
  FwLearnerShape shape; /**< its first and last width are those of the data: 0 before these are read */
  FwLoss         loss;
  PetscBool      is_single; /**< gradients in single precision */
  FwTrainPlan    plan;
  PetscBool      has_batch; /**< ansatz_batch was given */
  FwDecay        decay;
  double         step, end; /**< end: t of flows, else steps */
  PetscInt       n_time;
  uint64_t       seed;
  FwInitial      initial;
  PetscInt       n_singular;
  double         singular[FW_ANSATZ_LIST_MAX];
  char           weights[PETSC_MAX_PATH_LEN]; /**< "" where none are given */
  PetscBool      has_case;
  FwCase         counterexample;
} FwAnsatzPoint;

/** What other commands mean otherwise: their networks are erf and they look at test examples. Before FwRequestCreate(). */
PetscErrorCode FwAnsatzSetDefaults(void);

/** ansatz_check.c: read and check the keys of all points. Collective on PETSC_COMM_WORLD.
 * @error FW_ERR_INPUT  keys that contradict each other, or whose start no point has */
PetscErrorCode FwAnsatzSetUp(const FwRequest *request, FwAnsatz *ansatz);

/** Read the keys of the point that stands in the options database. Collective on PETSC_COMM_WORLD or on a group's ranks,
 *  all of which call it.
 * @error FW_ERR_INPUT  keys that contradict each other */
PetscErrorCode FwAnsatzPointRead(MPI_Comm comm, FwAnsatzPoint *point);

/** Flow time per unit of `time` of a point: 1 for flows, eta for steps, eta / (1 - beta) with momentum; 1 for iterations. */
double FwAnsatzTimeUnit(const FwAnsatzPoint *point);

/** Whether examples slide along kinks of the network, where flows can stall. */
PetscBool FwAnsatzHasKinks(const FwAnsatzPoint *point);

/** Keys within which points form a group. */
extern const char *const FwAnsatzSharedKeys[];

/** What a group of points will need. */
typedef struct {
  double rank_bytes, gradient_flops; /**< of each rank; operations of a gradient */
  double seconds;                    /**< of one rank, from a trial (FwEnsembleTrial()) */
} FwAnsatzNeed;

/** Reads the data and trains for about `budget` seconds. Collective on PETSC_COMM_WORLD.
 * @error FW_ERR_MEMORY  it would not fit; and as for the data and the start */
PetscErrorCode FwAnsatzEstimate(const FwAnsatz *ansatz, PetscInt n, const PetscInt point[], double budget,
                                FwAnsatzNeed *need);

/** Compute a group of points; `context` is an FwAnsatz. */
FwScanFunction FwAnsatzGroup;

/** Say what became of the runs, for FwRequestPlan; `context` is an FwAnsatz, whose `failure` is set. */
PetscErrorCode FwAnsatzConclude(const FwRequest *request, const FwRequestSummary *summary, FwRecord all, void *context);

/** Tables: of one point, with its times; of a scan, a line for each point. The record is looked at on rank 0. Collective. */
PetscErrorCode FwPrintAnsatz(FwRecord record, PetscInt n_seed);
PetscErrorCode FwPrintAnsatzScan(FwScan scan, FwRecord all, PetscInt n_seed);

/** What is trained, on what. Collective; printed by rank 0 of the world. */
PetscErrorCode FwPrintAnsatzHeader(const FwAnsatzPoint *point, const char data[], PetscInt n_example, PetscInt n_seed);
