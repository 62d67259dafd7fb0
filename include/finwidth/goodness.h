/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Goodness of fit: whether numbers come from a law, or two sets of numbers from one and the same.
 *
 * Kolmogorov and Smirnov look at the largest distance between two distribution functions, Cramer and von Mises at the
 * mean square. P-values are those of the limit of many numbers with Stephens' (1970) corrections for few; right to about
 * 1e-3 from ten numbers on. Not collective.
 */

#include <finwidth/base.h>

typedef struct {
  double statistic; /**< Kolmogorov-Smirnov: the distance; Cramer-von Mises: W^2 or, of two sets, T */
  double p_value;   /**< probability of a larger statistic where the laws agree */
} FwGoodness;

/** Numbers against a law. @param[in] cumulative  [n] the law's distribution function at the numbers, ascending */
FwGoodness FwKolmogorov(PetscInt n, const double cumulative[]);
FwGoodness FwCramer(PetscInt n, const double cumulative[]);

/** Two sets of numbers against each other. @param[in] x, y  [n], [m], ascending */
FwGoodness FwKolmogorovTwo(PetscInt n, const double x[], PetscInt m, const double y[]);
FwGoodness FwCramerTwo(PetscInt n, const double x[], PetscInt m, const double y[]);

/** P(sup |Brownian bridge| > x), and P(integral of its square > x). */
double FwKolmogorovSurvival(double x);
double FwCramerSurvival(double x);
