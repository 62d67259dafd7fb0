/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what the observables of the hidden layer and of the first weights share.
 */

#include <finwidth/matrix.h>
#include <finwidth/observables.h>

/** One hidden layer, and A^-1 once it is known. */
typedef struct {
  FwGrid         grid;
  const FwModel *model;
  FwDataset      data;
  PetscInt       n;              /**< P */
  double         order;          /**< Q */
  const double  *y;              /**< [n] */
  double        *fit, *constant; /**< [n] a, u */
  double         sum_fit, sum_constant;
  FwMatrix       inverse; /**< A^-1, lower triangle; or NULL */
} FwObservablesLayer;

/** A numerical error leaves observables unknown, and becomes a warning; others are handed back. */
PetscErrorCode FwObservablesForgive(PetscErrorCode code, PetscBool *is_known);

/** Say in the record whether they are known. */
PetscErrorCode FwObservablesRecordState(PetscBool is_known, FwRecord record);

/** Trace and spectrum of the covariance of the first weights; A^-1 is destroyed. Collective. */
PetscErrorCode FwObservablesWeights(FwObservablesLayer *layer, FwObservables *observables);
