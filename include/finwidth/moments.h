/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Means with error bars, summed in a fixed order. Not collective.
 */

#include <finwidth/base.h>

typedef struct {
  double value, error_bar; /**< an estimate and its standard error; NaN without enough numbers */
} FwEstimated;

/** Mean of independent numbers value[0], value[stride], ...: n of them. */
FwEstimated FwMean(PetscInt n, PetscInt stride, const double value[]);

/** Their variance, with 1/(n-1); the error bar from the fourth central moment. */
FwEstimated FwVariance(PetscInt n, PetscInt stride, const double value[]);
