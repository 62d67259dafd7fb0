/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what a training keeps of each run, and what a method provides.
 */

#include <finwidth/training.h>
#include <finwidth/vector.h>

/** What changes of a run and is not an array; eight bytes each, so that they pack as doubles. */
typedef struct {
  double time; /**< t, or steps made */
  double is_diverged, is_converged, is_given_up;
  double loss_most; /**< beyond which a run has diverged; 0 before the first gradient */
  double n_gradient;
  double step; /**< of a flow that goes on: the next step; 0 to choose one */
} FwTrainNumbers;

typedef struct {
  FwTrainRun     run;
  FwTrainNumbers at;
  PetscBool      is_rotated;
  double         loss;     /**< that came with the last gradient */
  double         pause;    /**< number of gradients at which PETSc's flow pauses */
  double        *theta;    /**< [n] */
  double        *moment;   /**< [n_moment][n]: u of momentum; m and v of adam; NULL for none */
  double        *gradient; /**< [n] work */
} FwTrainOne;

struct FwTrainingImpl {
  FwTrainPlan plan;
  double      most; /**< gradients of a run in this call, about */
  PetscInt    n_run, n_theta, n_example, n_moment;
  PetscBool   is_in_lanes; /**< eight runs at once */
  PetscBool   is_rotated;  /**< theta is in the basis of the learner's moments (learner_impl.h) */
  double     *state;       /**< [n] of a rotated training: theta as others know it */
  FwTrainOne *one;
  PetscInt   *batch; /**< examples of a step */
  PetscInt64
        *order; /**< [FW_LANES][n_example] orders of the examples in an epoch of a run: run r has place r % FW_LANES */
  double order_epoch[FW_LANES], order_run[FW_LANES]; /**< whose these are; -1 for none */
};

/** Bring one run, neither diverged nor converged, to a time beyond its own, or as far as training->most allows. */
typedef PetscErrorCode FwTrainAdvance(FwTraining training, FwTrainOne *one, double time);

FwTrainAdvance FwTrainAdvance_Descent, FwTrainAdvance_Flow, FwTrainAdvance_Midpoint, FwTrainAdvance_Tao;

/** The same with up to FW_LANES runs of a small network; all of them, also those that have ended. */
typedef PetscErrorCode FwTrainAdvanceLanes(FwTraining training, PetscInt n, FwTrainOne one[], double time);

FwTrainAdvanceLanes FwTrainAdvanceLanes_Descent, FwTrainAdvanceLanes_Flow;

/** Gradient of the objective at any theta; counted. The loss that comes along is kept: where `objective` is NULL to
 *  rounding of |y|^2 only. */
PetscErrorCode FwTrainGradient(FwTrainOne *one, FwDecay decay, const double theta[], double *objective,
                               double gradient[]);

/** Whether the loss of a run has left all bounds: what it says at first sets them. */
PetscBool FwTrainHasGrown(FwTrainOne *one, double loss);

/** After a step of a flow: whether the run ends short of its time, grown or given up; told to its numbers. */
PetscBool FwTrainIsOver(const FwTrainPlan *plan, FwTrainOne *one, double loss, double time);

/** Whether all numbers are finite, and their squares too. */
PetscBool FwTrainIsFinite(PetscInt n, const double theta[]);

/** The examples of the next step of a run, to training->batch. */
PetscErrorCode FwTrainChooseBatch(FwTraining training, FwTrainOne *one);

/** What an update needs to know of each lane. */
typedef struct {
  double step[FW_LANES];  /**< eta */
  double decay[FW_LANES]; /**< mu, where it is part of the gradient; else 0 */
  double keep[FW_LANES];  /**< of adamw 1 - eta mu */
} FwTrainRates;

/** Set the rates of weights and biases in one lane. */
void FwTrainSetRates(const FwTrainPlan *plan, const FwTrainRun *run, PetscInt lane, FwTrainRates *weight,
                     FwTrainRates *bias);

/** What adam's step k, from 1, multiplies its moments with: 1 / (1 - beta_1^k) and 1 / sqrt(1 - beta_2^k); 1 of others. */
typedef struct {
  double first, second;
} FwTrainScale;

FwTrainScale FwTrainGetScale(const FwTrainPlan *plan, double n_step);

/** Make one step of a descent method from the gradient g of the loss, for one network (n_lane 1) or eight. */
void FwTrainUpdate(const FwTrainPlan *plan, const FwLearnerShape *shape, PetscInt n_lane, const FwTrainRates *weight,
                   const FwTrainRates *bias, FwTrainScale scale, const double g[], double moment[], double v[]);

/** The same for n numbers of one network, all weights or all biases; u, s: what the method remembers of them, or NULL. */
void FwTrainUpdatePiece(const FwTrainPlan *plan, PetscInt n, const FwTrainRates *rates, FwTrainScale scale,
                        const double g[], double u[], double s[], double v[]);
