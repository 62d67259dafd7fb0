/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * From a dataset and a convolutional, locally-connected or (of several layers) pooling network to predicted errors: infinite
 * width, the saddle point, and on request the average over the Gram matrix of the readout, side by side. Where the dataset
 * has validation examples the order parameter is also learnt on them (local_learnt.h).
 *
 * A predictor holds one family of kernels between patches (patch_kernel.h); every temperature, width and readout prior is
 * a point on it. Networks that pool their patches, and fully-connected ones, have one order parameter: prediction.h predicts
 * them where they have one hidden layer, and only what is learnt comes from here.
 */

#include <finwidth/local_average.h>
#include <finwidth/local_learnt.h>
#include <finwidth/local_observables.h>
#include <finwidth/local_saddle.h>
#include <finwidth/prediction.h>

/** How a predictor works. */
typedef struct {
  FwPatchForm    form; /**< pairs for cnn, of several outputs ordered; the diagonal for lcn, and for infinite width */
  FwPatchClosure closure;      /**< of several hidden layers */
  PetscBool      is_centred;   /**< take the means of a non-odd activation out of what is renormalised */
  PetscInt       n_start;      /**< starts of the search for minima */
  uint64_t       seed;         /**< of the starts */
  double         store_bytes;  /**< memory of a rank for features that are kept */
  double         cross_bytes;  /**< the same between training and validation examples */
  PetscInt       n_set;        /**< kernels of test examples that are held at once */
  PetscInt       n_draw;       /**< draws of each of FW_LOCAL_CHAINS chains, where an average is asked for */
  PetscBool      with_kernels; /**< also observables that need kernels */
} FwLocalPlan;

/** What a predictor will need. */
typedef struct {
  double   store_bytes, stored; /**< of a rank: features that are kept, and their share of all */
  double   cross_bytes;         /**< kept of those of validation examples */
  PetscInt n_set;
  double   feature_flops, saddle_flops, test_flops, average_flops, learnt_flops;           /**< of all ranks together */
  double   feature_seconds, saddle_seconds, test_seconds, average_seconds, learnt_seconds; /**< wall time */
  double   peak_bytes; /**< of the rank that needs most */
} FwLocalEstimate;

/** The average over Q at one point, and what its finite number of draws leaves open: one standard deviation, from the scatter
 *  of the chains. Its errors are in FwPrediction. */
typedef struct {
  PetscBool is_available;
  PetscInt  n_chain, n_draw; /**< draws of each chain */
  double    acceptance;
  double    rhat, effective; /**< of the test errors of single draws (train errors where there are no test examples), as
                                    FwChainSummarise(): NaN for less than 8 draws of a chain */
  PetscBool is_converged;    /**< within FW_AVERAGE_RHAT_MOST and FW_AVERAGE_EFFECTIVE_LEAST */
  double   *order, *order_bar;            /**< [m, m] E[Q | y] */
  double   *error_bar;                    /**< [FW_ERROR_COUNT][D] */
  double    test_error_bar, accuracy_bar; /**< of the mean over outputs; NaN where labels are not classes */
} FwLocalAverage;

/** Mean squared error on validation examples, mean over outputs: of the predicted mean, and its variance. Label^2. */
typedef struct {
  double bias, variance;
} FwValidation;

/** What learning Q on validation examples gives at one point. */
typedef struct {
  PetscBool     is_available;
  FwLocalLearnt end;
  FwErrors      errors; /**< at its Q: train and test */
  FwValidation  learnt, saddle, infinite;
} FwLocalLesson;

/** The prediction at one point. In `common` the errors, means and evidences stand; not its saddle, average or order. */
typedef struct {
  FwPrediction       common;
  FwPatches          patches;
  FwPatchFamily      family;
  FwTower            tower;       /**< borrowed from the predictor */
  PetscBool          is_single;   /**< fc or pool: Q is one number */
  double             width, rest; /**< N_L, and S without data at Q = 1 */
  double            *upper;       /**< order parameters of layers 2 .. L of paths, one after the other; else NULL */
  FwLocalSaddle      saddle;
  FwLocalAverage     average;
  FwLocalLesson      lesson;
  FwLocalObservables observables; /**< at the saddle point */
} FwLocalPrediction;

typedef struct FwLocalPredictorImpl *FwLocalPredictor;

/** Estimate n points, and divide the memory: features are kept as far as it goes, else computed at each evaluation.
 *
 * Without the key `memory` half of what the node has may be filled.
 *
 * @collective{grid}
 * @param[in]  plan      form and starts; its memory is what is estimated
 * @error FW_ERR_MEMORY  not even without keeping features
 * @error FW_ERR_INPUT   the mask is larger than the image
 */
PetscErrorCode FwLocalPredictorEstimate(FwGrid grid, const FwModel *model, FwDataset data, const FwLocalPlan *plan,
                                        PetscInt n_point, FwLocalEstimate *estimate);

/** Bring the images to all ranks and prepare the kernels between patches.
 *
 * @collective{grid}
 * @param[in]  grid       of all ranks of the dataset; borrowed, as are model and data
 * @param[in]  model      of patches; its temperature, width and readout prior do not matter here
 * @param[in]  data       set up
 * @param[out] predictor  release with FwLocalPredictorDestroy()
 * @error FW_ERR_INPUT  as FwPatchImagesCreate()
 */
PetscErrorCode FwLocalPredictorCreate(FwGrid grid, const FwModel *model, FwDataset data, const FwLocalPlan *plan,
                                      FwLocalPredictor *predictor);

/** Predict at n points, which may differ in temperature, width and readout prior.
 *
 * With one start each search begins at the order parameter of the point before, the first at Q = 1.
 *
 * @collective{predictor}
 * @param[out] prediction  [n], release each with FwLocalPredictionDestroy(); a point without a solution says so in
 *                         `common.failure`
 * @error FW_ERR_STOPPED  asked to stop
 */
PetscErrorCode FwLocalPredictorRun(FwLocalPredictor predictor, PetscInt n, const FwModel model[],
                                   const FwTheory theory[], FwLocalPrediction prediction[]);

/** Put a prediction into a record, as data sets of /predict.
 * @param[in] targets  [P_t] true test targets */
PetscErrorCode FwLocalPredictionRecord(const FwLocalPrediction *prediction, const double targets[], FwRecord record);

/** Put alone what was learnt into a record: learnt_order_parameter (for fc and pool by layer), errors, validation errors. */
PetscErrorCode FwLocalLessonRecord(const FwLocalPrediction *prediction, FwRecord record);

/** Release the arrays. */
PetscErrorCode FwLocalPredictionDestroy(FwLocalPrediction *prediction);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwLocalPredictorDestroy(FwLocalPredictor *predictor);
