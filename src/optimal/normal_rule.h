/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Expectations over a standard normal number: composite Gauss-Legendre quadrature on [-13, 13], beyond which the weight
 * is below 1e-37.
 *
 * Gauss-Hermite rules are slow for tanh and wrong at a kink; here panels end at kinks and grow away from what is narrow.
 */

#include <finwidth/base.h>

/* Density of a standard normal number at 0, and where 1e-18 of its weight is left outside */
#define FW_NORMAL_DENSITY 0.39894228040143267794
#define FW_NORMAL_REACH   9.2

/* A place where the integrand changes within `scale`: a pole of an analytic function at that distance from the real axis,
   or with scale 0 a kink or jump, where a panel just ends */
typedef struct {
  double centre, scale;
} FwFeature;

typedef struct {
  PetscInt n;
  double  *x, *weight; /* [n] */
  PetscInt room;       /* private */
} FwNormalRule;

/* Points and weights (the normal density included) for an integrand with the given features and, elsewhere, nothing
   narrower than about `widest`. The rule may be zeros or one made before, whose memory is used again. */
PetscErrorCode FwNormalRuleMake(PetscInt n_feature, const FwFeature feature[], double widest, FwNormalRule *rule);
/* The same in equal steps, for an integrand that is analytic within `distance` of the real axis: spectrally exact, and
   short where the distance is 0.1 or more */
PetscErrorCode FwNormalRuleSteps(double distance, FwNormalRule *rule);

/* For an integrand whose nearest poles are at centre +- i distance: steps while they are far, which do not depend on the
   centre and are kept as they are in the rule, else panels around them */
PetscErrorCode FwNormalRuleAround(double centre, double distance, FwNormalRule *rule);

PetscErrorCode FwNormalRuleDestroy(FwNormalRule *rule);
