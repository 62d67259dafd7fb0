#pragma once

/** @file
 * From a dataset and a network to predicted errors: infinite width, the saddle point, and the exact average over the
 * order parameter, side by side.
 *
 *     train error = 1/P <sum (y - f)^2>,   test error = bias + variance,
 *     bias = mean (m - y)^2,   variance = mean v  (of the latent f; add T for noisy targets),
 *
 * means over the examples of the posterior mean m and variance v.
 */

#include <finwidth/average.h>
#include <finwidth/dataset.h>
#include <finwidth/grid.h>
#include <finwidth/record.h>

/** Errors of one predictor; NaN where there are no test examples. Units of label^2. */
typedef struct {
  double  train_error, train_bias, train_variance;
  double  test_error, test_bias, test_variance;
  double  accuracy;         /**< share of right classes; NaN where labels are not classes */
  double *mean, *deviation; /**< [P_t] posterior mean and standard deviation */
} FwErrors;

typedef enum { FW_THEORY_RENORMALISED, FW_THEORY_INFINITE } FwTheoryModel;

typedef struct {
  PetscInt      n_train, n_test, depth;
  FwTheoryModel theory;
  double        temperature;
  FwErrors      finite, infinite, averaged;
  FwSaddle      saddle;  /**< empty for the infinite network */
  FwAverage     average; /**< not available where it was not asked for */
  double       *order;   /**< [n_minimum][L] order parameters, the lowest minimum first */
  double        log_evidence, log_evidence_laplace, infinite_log_evidence;
  PetscInt      n_curve;
  double       *curve_log_order, *curve_action; /**< [n_curve] the action around its minima */
} FwPrediction;

/** Predict.
 *
 * @collective{grid}
 * @param[in]  grid          where the matrices live
 * @param[in]  model         fully-connected
 * @param[in]  data          set up, one output
 * @param[in]  theory        renormalised, or infinite width alone
 * @param[in]  with_average  also the exact average
 * @param[out] prediction    release with FwPredictionDestroy()
 * @error FW_ERR_NUMERICAL  a kernel that is not positive, or T = 0 with a singular one. A solver that did not converge
 *                          is no error here: see saddle.is_converged
 */
PetscErrorCode FwPredictionCreate(FwGrid grid, const FwModel *model, FwDataset data, FwTheoryModel theory,
                                  PetscBool with_average, FwPrediction *prediction);

/** Put a prediction into a record, as the data sets of /predict.
 *
 * @param[in]     targets      [P_t] true test targets
 * @param[in]     with_means   also means and deviations of each test example
 * @param[in,out] record
 */
PetscErrorCode FwPredictionRecord(const FwPrediction *prediction, const double targets[], PetscBool with_means,
                                  FwRecord record);

/** Release the arrays. */
PetscErrorCode FwPredictionDestroy(FwPrediction *prediction);
