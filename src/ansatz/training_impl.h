/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what a training keeps of each run, and what a method provides.
 */

#include <finwidth/training.h>

/** What changes of a run and is not an array; eight bytes each, so that they pack as doubles. */
typedef struct {
  double time; /**< t, or steps made */
  double is_diverged, is_converged;
  double n_gradient;
  double step; /**< flow: the step that the error control would take next; 0 to choose one */
} FwTrainNumbers;

typedef struct {
  FwTrainRun     run;
  FwTrainNumbers at;
  double        *theta;    /**< [n] */
  double        *moment;   /**< [n_moment][n]: u of momentum; m and v of adam */
  double        *gradient; /**< [n] work */
} FwTrainOne;

struct FwTrainingImpl {
  FwTrainPlan plan;
  PetscInt    n_run, n_theta, n_example, n_moment;
  FwTrainOne *one;
  PetscInt   *batch, *order;          /**< examples of a step; the order of one epoch of one run */
  double      order_epoch, order_run; /**< whose that order is; -1 for none */
};

/** Bring one run, neither diverged nor converged, to a time beyond its own. */
typedef PetscErrorCode FwTrainAdvance(FwTraining training, FwTrainOne *one, double time);

FwTrainAdvance FwTrainAdvance_Descent, FwTrainAdvance_Flow, FwTrainAdvance_Midpoint, FwTrainAdvance_Tao;

/** Gradient of the objective at any theta; counted. */
PetscErrorCode FwTrainGradient(FwTrainOne *one, FwDecay decay, const double theta[], double *objective,
                               double gradient[]);

/** Whether all numbers are finite, and their squares too. */
PetscBool FwTrainIsFinite(PetscInt n, const double theta[]);
