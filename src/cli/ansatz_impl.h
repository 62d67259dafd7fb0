/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the files of `finwidth ansatz` share about a group of points.
 */

#include "ansatz.h"

#include <finwidth/examples.h>

/** A group of points with one shape, the same examples and method: their runs are one ensemble. */
typedef struct {
  MPI_Comm        comm;
  const FwAnsatz *ansatz;
  PetscInt        n_point;
  FwAnsatzPoint  *point; /* [n_point] */
  FwDataset       data;  /* NULL for a counterexample */
  FwDataSizes     sizes;
  FwExamples      examples;
  double         *x, *y; /* of a counterexample */
  FwEnsemblePlan  plan;
  FwEnsembleRun  *run;   /* [n_point * n_seed] point by point */
  double         *start; /* [n_run][n_theta] */
  double         *time;
} FwAnsatzGroupData;

/** Record every point of a trained group. On one rank alone: what it needs is there.
 * @param[out] record  [n_point] */
PetscErrorCode FwAnsatzRecord(const FwAnsatzGroupData *g, const FwEnsembleResult *result, FwRecord record[]);
