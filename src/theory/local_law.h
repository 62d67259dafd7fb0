/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: what the order parameter of a network on patches is before learning, to the leading order in the widths: the part
 * of the action without data, its slope, and the order parameters of upper layers, which are eliminated.
 *
 *     one hidden layer  tr Q - log det Q
 *     stacked           L tr Q^{1/L} - log det Q
 *     paths             sum_l (N_l / N_1) [tr S_l^-1 Q_l - log det S_l^-1 Q_l] at the minimum over Q_2 .. Q_L, Q_1 = Q,
 *                       S_l = 1 x Q_{l+1} over the taps of layer l + 1, S_L = 1
 *
 * in units of the width N (N_1 of paths) in which the data's part is [log det A + y^T A^-1 y] / N. Its slope is P - Q^-1, with
 * P^-1 the covariance S_1 of the readout that Q would have without data and without an entropy of its own. Not collective.
 */

#include <finwidth/model.h>
#include <finwidth/patch_kernel.h>

typedef struct {
  PetscInt       n_row, n_layer;
  PetscInt      *rows; /* [L] of Q_l, for paths: n_row for l = 1 */
  FwPatchClosure closure;
  const FwTower *tower; /* borrowed */
  double        *width; /* [L] */
  double       **order; /* [L][rows[l]^2] of layers 2 .. L at the last evaluation, for paths; the first is NULL */
} FwLocalLaw;

/** The law at one Q. */
typedef struct {
  PetscBool is_positive; /* Q is positive definite; else nothing is set */
  double    value;
  double    trace; /* tr P Q */
} FwLocalLawPoint;

/** Make a law of n_row rows, in the order of FwPatchRow(). Release with FwLocalLawDestroy(). */
PetscErrorCode FwLocalLawCreate(PetscInt n_row, FwPatchClosure closure, const FwTower *tower, FwLocalLaw *law);

/** Set the widths, [L]. */
PetscErrorCode FwLocalLawSetWidths(FwLocalLaw *law, const double width[]);

/** Evaluate at Q: value, and P, [n_row, n_row]. */
PetscErrorCode FwLocalLawEvaluate(FwLocalLaw *law, const double order[], FwLocalLawPoint *point, double prior[]);

/** The value at Q = 1, its minimum. */
double FwLocalLawRest(const FwLocalLaw *law);

PetscErrorCode FwLocalLawDestroy(FwLocalLaw *law);
