/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the densities share.
 */

#include <finwidth/mixture_density.h>

#include "gamma_sum.h"

/* The density of a sum, which is consumed */
PetscErrorCode FwMixtureDensityFromSum(FwGammaSum *sum, FwMixtureDensity *density);

/* Widths of at least `lowest_width`, finite a, and not Q = 1 */
PetscErrorCode FwMixtureCheckDensity(const FwMixtureLaw *law, PetscInt lowest_width);

/* sup |difference(x)| over an interval */
typedef PetscErrorCode FwDifference(double x, void *context, double *difference);
PetscErrorCode FwLargestDifference(FwDifference *difference, void *context, double low, double high, double *largest);
