/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the parts of a prediction share: the predictor, the solution at a point, and the errors that follow from it.
 */

#include <finwidth/kernel.h>
#include <finwidth/prediction.h>

struct FwPredictorImpl {
  FwGrid     grid;
  FwDataset  data;
  FwSpectrum spectrum;               /* of the kernel with lambda_L = 1 */
  PetscBool  is_tangent;             /* the NTK */
  double    *train_mean, *test_mean; /* [P], [P_t + n_new] of the activation; NULL where the kernel holds the mean */
};

/* prediction.c: order parameters, evidences, nodes of the average; the same on every rank that calls it, alone */
PetscErrorCode FwPredictionSolve(FwSpectrum spectrum, double scale, const FwModel *model, FwPrediction *prediction);

/* prediction.c: errors that follow from a solution. Collective on the spectrum's grid. */
PetscErrorCode FwPredictionErrors(FwSpectrum spectrum, double scale, FwDataset data, FwPrediction *prediction);

/* prediction_outputs.c: the same two for several outputs, with the average over the order parameters in the second */
PetscErrorCode FwPredictionSolveOutputs(FwSpectrum spectrum, double scale, const FwModel *model,
                                        FwPrediction *prediction);
PetscErrorCode FwPredictionOutputsErrors(FwPredictor predictor, double scale, const FwModel *model,
                                         FwPrediction *prediction);

/* prediction_mean.c: the same two with mean terms; errors include the average over the order parameters */
PetscErrorCode FwPredictionSolveMean(FwSpectrum spectrum, double scale, const FwModel *model, FwPrediction *prediction);
PetscErrorCode FwPredictionMeanErrors(FwPredictor predictor, double scale, const FwModel *model,
                                      FwPrediction *prediction);

/* prediction.c: the action as a curve over log Q around its minima; `value` gives S of `action` there */
PetscErrorCode FwPredictionSetCurve(PetscErrorCode (*value)(void *action, double log_order, double *value),
                                    void *action, FwPrediction *prediction);

/* prediction.c: release the arrays */
PetscErrorCode FwErrorsDestroy(FwErrors *errors);

/* prediction.c: log p(Y) at a saddle point of an action of width N, normalised to be zero without data where Q = 1 */
double FwSaddleEvidence(double width, double n_label, double action, double action_at_rest);

/* prediction.c: bias, variance and accuracy from means and latent variances of all test examples; keeps both */
PetscErrorCode FwPredictionTestErrors(FwDataset data, const double mean[], const double variance[], FwErrors *errors);

/* prediction_outputs.c: errors of several outputs from their train bias and variance, [2][D], and from means [n][D] and
   covariances [n][D][D] at the test examples and the inputs without labels. Statistical errors are set to zero. */
PetscErrorCode FwPredictionFillOutputs(FwDataset data, const FwPrediction *prediction, const double train[],
                                       const double mean[], const double covariance[], FwErrors *errors);

/* prediction_nested.c: put the minima of the nested or linearised composition, and what follows from them, in the place
   of the product's, which serve as starts. Collective on the grid. */
PetscErrorCode FwPredictionNest(FwPredictor predictor, const FwModel *model, FwPrediction *prediction);

/* prediction.c: FW_ERR_NUMERICAL where an error is not finite or a variance is negative */
PetscErrorCode FwPredictionCheck(FwPrediction *prediction);

/* prediction.c: FW_ERR_NUMERICAL unless the errors of a network of this `kind` are finite and not negative */
PetscErrorCode FwErrorsCheck(const FwErrors *errors, PetscInt n_test, const char kind[]);

/* prediction_record.c: the errors of one kind of prediction, under names that begin with `prefix` */
PetscErrorCode FwErrorsRecord(const FwErrors *errors, PetscInt n_output, const char prefix[], const char words[],
                              PetscBool with_accuracy, FwRecord record);

/* prediction_record.c: how far an average that rests on draws can be trusted: average_NAME_error_bar of each output from
   `error`, [FW_ERROR_COUNT][D], and of the accuracy unless NaN; and the effective number of draws */
PetscErrorCode FwAverageQualityRecord(PetscInt n_output, const double error[], double accuracy_error, double effective,
                                      PetscBool is_converged, FwRecord record);

/* prediction_record.c: that there is no average, where it was asked for */
PetscErrorCode FwAverageFailureRecord(const FwPrediction *prediction, FwRecord record);

/* prediction_record.c: errors, means and deviations of finite (unless only the infinite is asked for), infinite and, where
   `is_averaged`, averaged networks */
PetscErrorCode FwPredictionRecordErrors(const FwPrediction *prediction, PetscBool is_averaged, const double targets[],
                                        FwRecord record);

/* prediction_share.c: what FwPredictionSolve() has set, from one rank to all of `comm` */
PetscErrorCode FwPredictionShare(MPI_Comm comm, PetscMPIInt owner, FwPrediction *prediction);
