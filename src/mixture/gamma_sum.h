/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Sums of independent log-gamma variables and a normal one: their cumulant function, density and distribution function.
 *
 *     X = drift + sqrt(variance) Z + sum_j sign_j sum_{count_j} (log Gamma(shape_j) - log shape_j)
 */

#include <finwidth/mixture_law.h>
#include <finwidth/panels.h>

typedef struct {
  double shape;
  int    sign;  /* +1 or -1 */
  double count; /* an integer */
} FwGammaTerm;

typedef struct {
  PetscInt     n_term;
  FwGammaTerm *term;
  double       drift, variance;
} FwGammaSum;

/* Room for n_term terms, none there yet */
PetscErrorCode FwGammaSumCreate(PetscInt n_term, FwGammaSum *sum);
PetscErrorCode FwGammaSumDestroy(FwGammaSum *sum);

/* Add log(Gamma(width / 2 - shift) / (width / 2)), shift < width / 2; equal terms are counted together */
void FwGammaSumAdd(FwGammaSum *sum, double width, double shift, int sign);

/* Mean and variance */
void FwGammaSumMoments(const FwGammaSum *sum, double *mean, double *variance);

/* Where the density is of no use any more, some e^-10000: the saddle of the largest tilt whose transform has digits left;
   INFINITY where tails are exponential to the right, too */
double FwGammaSumReach(const FwGammaSum *sum);

/* Where a tail of the density tilted by `from`, e^(from x) f(x) / e^K(from), is below e^log_least by Chernoff's bound: right of
   it where `upper`, otherwise left of it */
double FwGammaSumEnd(const FwGammaSum *sum, double from, PetscBool upper, double log_least);

/* log f and its derivative at ascending points: value[2 i], value[2 i + 1] */
PetscErrorCode FwGammaSumDensity(const FwGammaSum *sum, PetscInt n, const double x[], double value[]);

/* log P(X > x) where `upper`, otherwise log P(X <= x), at such points */
PetscErrorCode FwGammaSumTail(const FwGammaSum *sum, PetscBool upper, PetscInt n, const double x[], double value[]);

/* log Gamma(shape + t) - log Gamma(shape) - t log(shape), t > -shape, without loss for large shapes */
double FwLogGammaRatio(double shape, double t);
