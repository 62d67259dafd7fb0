/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * `finwidth predict` in pieces that other commands share: the keys of a point, the estimate, and the computation of a
 * group of points.
 */

#include "request.h"

#include <finwidth/estimate.h>
#include <finwidth/local_prediction.h>

/** One point: its network and what to predict of it. */
typedef struct {
  FwModel   model;
  FwTheory  theory;
  PetscBool with_observables;
  char      mean_words[240]; /**< which form was chosen for an activation with a mean, and why; "" for none */
} FwPredictPoint;

/** The context of FwPredictGroup(). */
typedef struct {
  const FwRequest   *request;
  const char *const *shared;    /**< keys within which points share a kernel; an empty list where none may */
  PetscBool          is_beside; /**< a sampled network: of its observables only what the theory has is predicted */
  PetscBool          is_quiet;  /**< no tables, no curve of the action */
  double             temperature_lowest; /**< of all points, where several share a kernel */
} FwPredict;

/** Read the keys of the point that stands in the options database.
 *
 * Not collective, the same on every rank. Release with FwPredictPointDestroy().
 * @error FW_ERR_INPUT  a network or a theory that cannot be predicted, named
 */
PetscErrorCode FwPredictPointRead(FwPredictPoint *point);
PetscErrorCode FwPredictPointDestroy(FwPredictPoint *point);

/** Fit a point to its data: what several outputs cannot have, and whether the mean of the activation is treated apart.
 *
 * Collective on PETSC_COMM_WORLD or on the ranks of one group, as `data` is.
 * @error FW_ERR_INPUT  a theory that does not go with the data, named
 */
PetscErrorCode FwPredictPointAdapt(FwDataset data, FwPredictPoint *point);

/** Warn of labels with a large mean that an odd network without biases cannot fit, with what to do: once of a scan, at its
 *  point of number 0, and wherever a part of it is computed. Collective on `comm`, whose are the data. */
PetscErrorCode FwPredictWarnAboutMean(MPI_Comm comm, FwDataset data, PetscInt number, const FwModel *model);

/** Leave out the observables that the theory does not have, with a warning: a sampled network has its own all the same.
 *  Collective as FwPredictPointAdapt(), before which it is called. */
PetscErrorCode FwPredictLeaveObservables(FwDataset data, FwPredictPoint *point);

/** Whether the product form is an approximation here even for linear networks: biases in hidden layers behind the first. */
PetscBool FwPredictHasInnerBias(const FwPredictPoint *point);

/** Whether a point is too narrow for mean terms that wider ones may have: they do not share a kernel then. */
PetscErrorCode FwPredictIsTooNarrow(const FwPredictPoint *point, PetscBool *is_narrow);

/** Refuse what does not go with the data, of every point and before anything is computed; print what the first one is.
 *
 * @collective{PETSC_COMM_WORLD}
 * @error FW_ERR_INPUT
 */
PetscErrorCode FwPredictPrepare(const FwRequest *request, void *context);

/** Print data and network of the first point. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPredictIntroduce(const FwRequest *request);

/** What FwPredictPointAdapt() refuses, of which only the sizes of the data need be known. */
PetscErrorCode FwPredictPointCheck(const FwDataSizes *sizes, FwPredictPoint *point);

/** Read every point once, before anything is computed, so that a bad value is found at once; warn about choices made.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]  request  borrowed by `predict`
 * @param[out] predict  nothing to release
 * @error FW_ERR_INPUT
 */
PetscErrorCode FwPredictSetUp(const FwRequest *request, FwPredict *predict);

/** Warn of keys of the theory and of patches that were given and that no point of the scan uses. Collective. */
PetscErrorCode FwPredictWarnAboutUnused(FwScan scan);

/** Refuse to keep one kernel in a file (theory_decomposition) where the points have several. Collective.
 * @error FW_ERR_INPUT */
PetscErrorCode FwPredictCheckFile(const FwPredict *predict);

/** Read the data that the keys describe. Collective on `comm`; release with FwDatasetDestroy().
 * @error as FwDatasetSetUp() */
PetscErrorCode FwPredictLoadData(MPI_Comm comm, FwDataset *data);

/** Find out what they will be, as FwDatasetInspect(). Collective on PETSC_COMM_WORLD; release with FwDatasetDestroy(). */
PetscErrorCode FwPredictInspectData(FwDataset *data);

/** Refuse, before the data are read, numbers of examples that alone would not fit. Collective.
 * @error FW_ERR_MEMORY */
PetscErrorCode FwPredictEstimateExamples(FwGrid grid);

/** What one kernel is used for. */
typedef struct {
  double n_point, temperature_lowest;
} FwPredictUse;

/** What points like this one on one kernel will need. Collective on `grid`.
 * @error FW_ERR_MEMORY  it would not fit */
PetscErrorCode FwPredictEstimate(FwGrid grid, const FwDataSizes *sizes, const FwPredictPoint *point,
                                 const FwPredictUse *use, FwEstimate *estimate);

/** Print which form was chosen, and what is expected of it, from the first rank of `comm`: in a farm that of the world computes
 *  nothing. Collective on `comm`. */
PetscErrorCode FwPredictPrintPlan(MPI_Comm comm, const FwEstimate *estimate, double seconds);

/** Print the resolved input and the estimate of the first kernel of the scan. Collective on PETSC_COMM_WORLD. */
PetscErrorCode FwPredictDryRun(const FwRequest *request);

/** Of cnn and lcn: what n points on one family of kernels will need, and the computation of them. Collective on `grid`.
 * @error FW_ERR_MEMORY  it would not fit */
PetscErrorCode FwPredictLocalEstimate(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[]);
PetscErrorCode FwPredictLocalCost(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[],
                                  double *seconds, double *bytes); /**< the same, not printed; memory of a rank */

/** The points of one group. */
typedef struct {
  MPI_Comm        comm;
  FwScan          scan;
  PetscInt        n;
  const PetscInt *number;    /**< [n] in the scan */
  FwPredictPoint *point;     /**< [n] */
  FwRecord       *record;    /**< [n] */
  PetscBool       is_beside; /**< as in FwPredict */
  PetscInt        n_kernel;  /**< points on the same kernel, those computed in an earlier run included */
} FwPredictPoints;

/** Of cnn and lcn. Collective on `grid`. */
PetscErrorCode FwPredictLocalPoints(FwGrid grid, FwDataset data, PetscBool is_quiet, const FwPredictPoints *points);

/** Of fc and pool with validation examples: learn the order parameter at n points; and one of them into a record, printed where
 *  asked for. Release with FwLocalPredictionDestroy(). Collective on `grid`.
 * @error FW_ERR_MEMORY  it would not fit */
PetscErrorCode FwPredictLearn(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[],
                              FwLocalPrediction prediction[]);
PetscErrorCode FwPredictRecordLesson(const FwLocalPrediction *prediction, PetscBool with_table, FwRecord record);

/** What that adds to the estimate of a decomposed kernel, memory of a rank included; zeros without validation examples.
 *  Collective on `grid`. @error FW_ERR_MEMORY  it would not fit */
PetscErrorCode FwPredictLearnCost(FwGrid grid, FwDataset data, PetscInt n, const FwPredictPoint point[], double *flops,
                                  double *seconds, double *bytes);

/** Whether a network has a family of kernels, not one. */
PetscBool FwPredictIsLocal(const FwModel *model);

/** Say why a point has no prediction, if it has none. On every rank of its group. */
PetscErrorCode FwPredictWarnAboutFailure(const FwPrediction *prediction);

/** Add the digest of the data to a record. */
PetscErrorCode FwPredictRecordDigest(FwDataset data, FwRecord record);

/** Compute a group of points that share a kernel; `context` is an FwPredict. */
FwScanFunction FwPredictGroup;
