/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: the last point of an action, and its descent.
 */

#include <finwidth/cholesky.h>
#include <finwidth/nested.h>

/** What is known at one point; the same bits on every rank. */
typedef struct {
  double *log_order; /**< [L] u */
  double  value;     /**< S, or infinity */
  double *gradient;  /**< [L] dS/du */
  double *growth;    /**< [L] r_l, mean of d log K_ii / du_l; r_L = 1 */
  double  curvature; /**< second derivative in u_L of (1/N)[log det A + y^T A^-1 y], exact */
  double  noise;     /**< round-off to be expected in S and its gradient */
  double  residual2; /**< |a|^2 */
  double  trace;     /**< tr A^-1 */
} FwNestedPoint;

struct FwNestedActionImpl {
  FwGrid         grid;
  const FwModel *model;
  FwKernelLayers layers;
  PetscInt       n;      /* P */
  const double  *y;      /* [P] */
  double         bias;   /* s_L^2 */
  double         last;   /* N */
  double        *order;  /* [L] Q at the point */
  double        *solved; /* [3][P] A^-1 y, A^-1 1, A^-1 (A - K) A^-1 y */
  FwNestedPoint  point;
  FwCholesky     factor; /* at the point; NULL once the gradient is known */
  PetscBool      has_value, has_gradient;
  PetscInt       n_evaluation;
};

/** Make the point's value that of u, and keep the factor. Collective. */
PetscErrorCode FwNestedFactor(FwNestedAction action, const double log_order[]);

/** Add what the inverse gives: gradient, curvature, noise. Collective; after FwNestedFactor() left a finite value. */
PetscErrorCode FwNestedSlopes(FwNestedAction action);

/** Where a descent ended. */
typedef struct {
  double             *log_order; /**< [L] */
  double              value, residual;
  PetscInt            n_iteration;
  SNESConvergedReason reason;
} FwNestedEnd;

/** Descend from u, [L] in end->log_order, to a minimum.
 *
 * @param[in,out] correction  [L][L] what earlier descents learnt about the Hessian; zero at first
 */
PetscErrorCode FwNestedDescend(FwNestedAction action, double correction[], FwNestedEnd *end);
