/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Effective action of a fully-connected network with one output, product composition.
 *
 * The kernel of a network of finite widths N_1 .. N_L is that of the infinite one times Q = prod_l Q_l, and
 *
 *     S(Q_1 .. Q_L) = sum_l (N_l / N)(Q_l - log Q_l) + (1/N)[log det A + y^T A^-1 y],   A = T + s^2 1 1^T + Q K,
 *
 * N = N_L, so that Z is proportional to the integral of exp(-N S / 2) over d log Q_1 .. d log Q_L. The second part sees
 * only the product, so for a given u = log Q the first is smallest where N_l (Q_l - 1) = c for every layer: what is left
 * is a function of the one variable u, whose minima are those of S, with derivative
 *
 *     N dS/du = F(u) = c(u) + tr M - y^T M A^-1 y,   M = A^-1 Q K.
 *
 * All calls are not collective: every rank evaluates the same numbers.
 *
 * @source Pacelli et al., arXiv:2209.04882 (one hidden layer; depth in its supplement); docs/theory/fully-connected.md
 */

#include <finwidth/model.h>
#include <finwidth/spectrum.h>

typedef struct FwActionImpl *FwAction;

/** The action at one point. */
typedef struct {
  double      log_order;   /**< u = log prod_l Q_l */
  double      shift;       /**< c = N_l (Q_l - 1) */
  double      shift_slope; /**< dc / du */
  double      force;       /**< F = N dS/du */
  double      slope;       /**< dF / du */
  double      value;       /**< S; only where asked for */
  double      above;       /**< S less fit_least / N, which no u changes: differences of S, where labels that no Q fits
                                make S itself too large for them; only where asked for */
  FwResolvent resolvent;   /**< at (T, e^u) */
} FwActionPoint;

/** Create the action of a model on a decomposed kernel; both are borrowed.
 *
 * @param[in]  scale   the model's kernel is `scale` times the decomposed one: another readout prior, for instance
 * @param[out] action  release with FwActionDestroy()
 */
PetscErrorCode FwActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, FwAction *action);

/** Evaluate F, its slope, and where asked S, at u. Cost O(P).
 * @error FW_ERR_NUMERICAL  T = 0 and the kernel is singular */
PetscErrorCode FwActionEvaluate(FwAction action, double log_order, PetscBool with_value, FwActionPoint *point);

/** Bounds on F and dF/du between two points, from their values alone: rigorous but for round-off, because each term is a
 *  power of Q times a function that is monotone in Q. */
void FwActionEnclose(const FwActionPoint *left, const FwActionPoint *right, double force[2], double slope[2]);

/** An interval of u that holds every stationary point.
 * @error FW_ERR_NUMERICAL  T = 0, and the labels are zero: Q runs to zero */
PetscErrorCode FwActionBracket(FwAction action, double *low, double *high);

/** Order parameters Q_1 .. Q_L at u; shape [L]. */
PetscErrorCode FwActionLayers(FwAction action, double log_order, double order[]);

/** The model of an action. Borrowed. */
const FwModel *FwActionModel(FwAction action);

/** Traces and quadratic forms at Q, of the model's kernel. @error as FwActionEvaluate() */
PetscErrorCode FwActionResolve(FwAction action, double order, PetscBool with_log_det, FwResolvent *resolvent);

/** Bounds of the model's kernel. */
PetscErrorCode FwActionBounds(FwAction action, FwSpectrumBounds *bounds);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwActionDestroy(FwAction *action);
