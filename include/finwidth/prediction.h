/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * From a dataset and a network to predicted errors: infinite width, the saddle point, and the exact average over the
 * order parameter, side by side.
 *
 *     train error = 1/P <sum (y - f)^2>,   test error = bias + variance,
 *     bias = mean (m - y)^2,   variance = mean v  (of the latent f; add T for noisy targets),
 *
 * means over the examples of the posterior mean m and variance v.
 *
 * With D outputs Q is a D x D matrix (matrix_action.h), m a vector and v a covariance between outputs.
 *
 * A predictor holds one decomposed kernel; every temperature, list of widths and readout prior is a point on it.
 */

#include <finwidth/average.h>
#include <finwidth/dataset.h>
#include <finwidth/grid.h>
#include <finwidth/matrix_average.h>
#include <finwidth/mean_action.h>
#include <finwidth/record.h>

/** Errors of one kind of prediction; NaN where there are no test examples. Units of label^2. */
typedef struct {
  double  train_error, train_bias, train_variance; /**< mean over outputs of squared errors per example */
  double  test_error, test_bias, test_variance;
  double  accuracy; /**< share of right classes, by sign or by the largest mean; NaN where labels are not classes */
  double *mean,
    *deviation; /**< [P_t + n_new][D] posterior mean and standard deviation of the test examples, then of the
                                 inputs without labels; NULL unless asked for */

  /* several outputs, otherwise NULL */
  double *output;             /**< [FW_ERROR_COUNT][D] the six numbers above, for each output */
  double *error;              /**< [FW_ERROR_COUNT][D] of an average of weighted draws, one standard deviation */
  double *covariance;         /**< [D][D] between outputs, mean over the test examples */
  double *example_covariance; /**< [P_t][D][D] of each test example; NULL unless asked for */
} FwErrors;

/** Rows of `output`. */
enum {
  FW_TRAIN_ERROR,
  FW_TRAIN_BIAS,
  FW_TRAIN_VARIANCE,
  FW_TEST_ERROR,
  FW_TEST_BIAS,
  FW_TEST_VARIANCE,
  FW_ERROR_COUNT
};

/** An average that rests on draws has converged with so many effective ones, of chains with at most this R-hat. */
#define FW_AVERAGE_EFFECTIVE_LEAST 50.0
/** Of weighted draws more: fewer are a sign that those with the largest weights are missing. */
#define FW_AVERAGE_WEIGHTED_LEAST 128.0
#define FW_AVERAGE_RHAT_MOST      1.1

/** The choices of `theory_model` and `theory_composition`. */
typedef enum { FW_THEORY_RENORMALISED, FW_THEORY_INFINITE, FW_THEORY_NTK } FwTheoryModel;
typedef enum { FW_COMPOSITION_PRODUCT, FW_COMPOSITION_NESTED, FW_COMPOSITION_LINEARISED } FwComposition;

/** What is to be predicted at a point. */
typedef struct {
  FwTheoryModel theory;
  FwComposition composition;
  PetscBool     with_mean;    /**< mean terms of the activation (mean_action.h); one output, product composition */
  PetscBool     with_average; /**< also the exact average */
  PetscBool     with_curve;   /**< also the action as a curve */
  PetscBool     with_means;   /**< keep means and deviations of each test example */
} FwTheory;

typedef struct {
  PetscInt       n_train, n_test, n_new, n_output, depth;
  FwTheory       request;
  double         temperature;
  PetscErrorCode failure;             /**< a numerical error at this point: there are no numbers */
  char           reason[512];         /**< its message */
  char           average_reason[512]; /**< why the average that was asked for has no numbers; "" where it has */
  FwErrors       finite, infinite, averaged;
  FwSaddle       saddle;  /**< empty for the infinite network */
  FwAverage      average; /**< not available where it was not asked for */
  double *order; /**< [n_minimum][L] order parameters, the lowest minimum first; several outputs: [n_minimum][D][D] */
  FwMatrixAverage outputs;      /**< the average of several outputs; not available for one */
  double         *shift;        /**< [n_minimum][L] s of the mean terms; NULL without */
  FwMeanAverage   mean_average; /**< the average with mean terms; not available without */
  double          log_evidence, log_evidence_laplace, infinite_log_evidence;
  PetscInt        n_curve;
  double         *curve_log_order, *curve_action; /**< [n_curve] the action around its minima */
} FwPrediction;

typedef struct FwPredictorImpl *FwPredictor;

/** How a predictor is made. */
typedef struct {
  PetscInt    bandwidth;  /**< of the decomposition: 64, 1 or 0 (spectrum.h) */
  const char *file;       /**< keeps the decomposition: read where it exists, else written; NULL for none. While the
                                 decomposition is made, FILE.part keeps what is done */
  const char *digest;     /**< names data and kernel for `file` */
  PetscBool is_temporary; /**< `file` is a checkpoint: written only if the decomposition took longer than `interval` */
  double    interval;     /**< [s] between writes of FILE.part */
} FwPredictorPlan;

/** Assemble and decompose the kernel of a model on a dataset.
 *
 * @collective{grid}
 * @param[in]  grid       where the matrices live; borrowed, as are model and data
 * @param[in]  model      fully-connected; its temperature and, for the product composition, widths do not matter here
 * @param[in]  data       set up
 * @param[in]  theory     which kernel: NNGP or NTK
 * @param[in]  plan       form and file of the decomposition
 * @param[out] predictor  release with FwPredictorDestroy()
 * @error FW_ERR_NUMERICAL  a kernel that is not positive
 * @error FW_ERR_FILE       a file belongs to another kernel, is damaged, or cannot be written
 * @error FW_ERR_STOPPED    asked to stop; FILE.part is written
 */
PetscErrorCode FwPredictorCreate(FwGrid grid, const FwModel *model, FwDataset data, const FwTheory *theory,
                                 const FwPredictorPlan *plan, FwPredictor *predictor);

/** Write the file of a plan if it is not there: the decomposition outlives a run that is asked to stop. Collective. */
PetscErrorCode FwPredictorKeep(FwPredictor predictor, const FwPredictorPlan *plan);

/** Remove the files of a temporary plan, where there are any. Collective on `comm`. */
PetscErrorCode FwPredictorForget(MPI_Comm comm, const FwPredictorPlan *plan);

/** Predict at n points.
 *
 * The models may differ from that of the predictor in temperature, widths and the readout's prior. The saddle points are
 * divided over the ranks; the predictions are made by all together. A point without a solution (T = 0 with a singular
 * kernel, say) is no error: see `failure`; nor is a solver that did not converge: see saddle.is_converged.
 *
 * @collective{predictor}
 * @param[out] prediction  [n], release each with FwPredictionDestroy()
 * @error FW_ERR_STOPPED  asked to stop in the descent of a nested or linearised action
 */
PetscErrorCode FwPredictorRun(FwPredictor predictor, PetscInt n, const FwModel model[], const FwTheory theory[],
                              FwPrediction prediction[]);

/** A numerical error, met by all ranks of a point or by the one that solves it alone, becomes the point's `failure` and is
 *  dealt with; any other is handed back. Not collective. */
PetscErrorCode FwPredictionFail(FwPrediction *prediction, PetscErrorCode code);

/** The same for an error of the average alone, which has no numbers then: the rest stands. Not collective. */
PetscErrorCode FwPredictionFailAverage(FwPrediction *prediction, PetscErrorCode code);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwPredictorDestroy(FwPredictor *predictor);

/** Put a prediction into a record, as the data sets of /predict.
 *
 * @param[in]     targets  [P_t] true test targets
 * @param[in,out] record
 */
PetscErrorCode FwPredictionRecord(const FwPrediction *prediction, const double targets[], FwRecord record);

/** Numbers in the order parameter of one minimum: L, or D^2 with several outputs. */
PetscInt FwPredictionOrderSize(const FwPrediction *prediction);

/** The order parameter as one number, at the lowest minimum: the product over layers, or tr Q / D; NaN without any. */
double FwPredictionTotalOrder(const FwPrediction *prediction);

/** Whether an average over the order parameters is there, of whatever form. */
PetscBool FwPredictionHasAverage(const FwPrediction *prediction);

/** Release the arrays. */
PetscErrorCode FwPredictionDestroy(FwPrediction *prediction);
