/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: the curve alpha(q) of one network and channel.
 *
 * Symbols: t = log(q / (1 - q)), Q = eta^2 q and V = gamma + eta^2 (1 - q) the parts of the variance R of z that are known
 * and not.
 */

#include <finwidth/optimal.h>
#include <finwidth/panels.h>

struct FwOptimalImpl {
  FwChannel channel;
  double    eta2, gamma;
  double    noise; /* gaussian, as seen by a channel in closed form */
  double    least, most;
  double    psi_labels; /* psi(R, 0): minus the entropy of a label given z */
  double    psi_linear; /* psi(eta^2, gamma): given S */
  PetscBool is_closed;  /* gaussian, or a noiseless readout, which is as good */
  PetscBool is_blind;   /* eta = 0: there is nothing to learn */
  PetscBool is_exact;   /* z is linear and y says |z| or z: above alpha = 1 nothing is left to learn */
  PetscBool is_even;
  double    alpha_zero; /* alpha(q -> 0) */
  FwPanels  panels;     /* log alpha and psi over t; NULL in closed form */
  PetscInt  n_knot, room;
  double   *t, *log_alpha; /* [n_knot] the curve is monotone between its knots, extrema among them */
};

/* What lies at one t */
typedef struct {
  double overlap, remainder; /* q, 1 - q */
  double log_alpha, psi;
} FwCurvePoint;

/* By the channel's averages; and by interpolation */
PetscErrorCode FwCurveCompute(FwOptimal optimal, double t, FwCurvePoint *point);
PetscErrorCode FwCurveEvaluate(FwOptimal optimal, double t, FwCurvePoint *point);

/* optimal_curve.c: make panels and knots */
PetscErrorCode FwCurveFind(FwOptimal optimal);

/* The t between knots k and k + 1 at which the curve has log_alpha */
PetscErrorCode FwCurveInvert(FwOptimal optimal, PetscInt k, double log_alpha, double *t);

/* q of the gaussian channel, and 1 - q; s = (gamma + noise) / eta^2, infinity too */
double FwGaussianOverlap(double alpha, double s, double *remainder);

/* Of a FwOptimalPoint the fixed points alone, at any alpha */
PetscErrorCode FwOptimalFixedPoints(FwOptimal optimal, double alpha, FwOptimalPoint *point);
