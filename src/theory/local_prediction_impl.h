/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: the predictor of convolutional and locally-connected networks, and Gaussian processes at given Q.
 */

#include <finwidth/local_prediction.h>

#include "predictor_impl.h"

struct FwLocalPredictorImpl {
  FwGrid        grid;
  FwDataset     data;
  FwDataSizes   sizes;
  FwLocalPlan   plan;
  PetscInt      n_row; /* of Q */
  FwPatchImages images;
  PetscBool     is_alone; /* grid and images: own grid, borrowed images */
  FwPatchKernel kernel;
  FwPatchCross  cross; /* to the validation examples; NULL without */
  FwLocalAction action;
  PetscBool     is_single; /* fc or pool */
};

/** The posterior of the Gaussian process with kernel K_R(Q). */
typedef struct {
  const double  *order; /**< [m, m] Q; borrowed, as is the model */
  const FwModel *model;
  double        *train;          /**< [2][D] of each output T^2 |a|^2 / P and T - T^2 tr A^-1 / P */
  double         log_likelihood; /**< log p(y | Q) */
  double        *mean;           /**< [P_t + n_new + P_v][D] */
  double        *covariance;     /**< [P_t + n_new + P_v][D][D] latent */
  PetscErrorCode failure;        /**< A is not positive definite: nothing of the above is set */
  char           reason[512];    /**< its message */
} FwLocalProcess;

/** Compute n posteriors; the kernels of test examples of plan.n_set of them are assembled in one go.
 *
 * @collective{predictor}
 * @param[in,out] process  order and model set; release with FwLocalProcessDestroy(). What is wrong with one in numbers is
 *                         in its `failure`, and the others are computed
 */
PetscErrorCode FwLocalProcessRun(FwLocalPredictor predictor, PetscInt n, FwLocalProcess process[]);

/** Release the arrays. */
PetscErrorCode FwLocalProcessDestroy(FwLocalProcess *process);

/** local_prediction.c: errors of a process at a point. */
PetscErrorCode FwLocalProcessErrors(FwLocalPredictor predictor, const FwLocalProcess *process,
                                    const FwPrediction *common, FwErrors *errors);

/** local_mixture.c: average the predictions of a point, whose saddle is found, over draws of Q. Collective on the
 *  predictor.
 * @error FW_ERR_STOPPED, FW_ERR_NUMERICAL  as FwLocalChainCreate() */
PetscErrorCode FwLocalMixture(FwLocalPredictor predictor, const FwModel *model, FwLocalPrediction *prediction);

/** local_lesson.c: learn the order parameter of a point, whose saddle is found, from there and from Q = 1. Collective. */
PetscErrorCode FwLocalLessonLearn(FwLocalPredictor predictor, const FwModel *model, FwLocalPrediction *prediction);

/** local_lesson.c: the errors of a point's processes on validation examples, and those of the learnt one. */
PetscErrorCode FwLocalLessonErrors(FwLocalPredictor predictor, const FwLocalProcess *learnt,
                                   const FwLocalProcess *saddle, const FwLocalProcess *infinite,
                                   FwLocalPrediction *prediction);

/** local_record.c: an order parameter under a name. */
PetscErrorCode FwLocalOrderRecord(const FwLocalPrediction *prediction, const char name[], const char words[],
                                  const double order[], FwRecord record);

/** local_prediction.c: a predictor on the same data whose matrices live on this rank alone, without validation examples. Not
 *  collective. */
PetscErrorCode FwLocalPredictorAlone(FwLocalPredictor predictor, FwLocalPredictor *alone);
