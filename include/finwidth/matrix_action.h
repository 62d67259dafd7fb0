/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Effective action of a fully-connected network with D outputs, product composition, equal widths.
 *
 * The order parameter is a symmetric positive D x D matrix Q, and the outputs have the covariance Q (x) K:
 *
 *     S(Q) = L tr Q^{1/L} - log det Q + (1/N)[log det A + vec(Y)^T A^-1 vec(Y)],   A = T + s^2 1 (x) 1 1^T + Q (x) K,
 *
 * so that Z is proportional to the integral of exp(-N S / 2). The unknown is H = log Q, which may be any symmetric
 * matrix; with Q = V diag(q) V^T, q = e^h, and G = N dS/dQ in the basis V,
 *
 *     N dS/dH = V (Phi o G) V^T,   Phi_ab = (q_a - q_b) / (h_a - h_b)   (Daleckii and Krein),
 *
 * o the entry-wise product. Matrices are [D][D], symmetric. All calls are not collective: every rank evaluates the same
 * numbers.
 *
 * @source docs/theory/several-outputs.md
 */

#include <finwidth/model.h>
#include <finwidth/spectrum_outputs.h>

typedef struct FwMatrixActionImpl *FwMatrixAction;

/** The action at one point; arrays are its own. */
typedef struct {
  PetscInt           n;         /**< D */
  double            *log_order; /**< [D] h, ascending */
  double            *vector;    /**< [D][D] row a is the eigenvector of h_a */
  double            *force;     /**< [D][D] N dS/dH */
  double             value;     /**< S */
  FwOutputsResolvent resolvent; /**< at (T, q), of the decomposed kernel */
} FwMatrixPoint;

/** Create the action of a model on a decomposed kernel with D columns of labels; both are borrowed.
 *
 * @param[in]  scale   the model's kernel is `scale` times the decomposed one
 * @param[out] action  release with FwMatrixActionDestroy()
 * @error FW_ERR_INPUT  widths that differ
 */
PetscErrorCode FwMatrixActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, PetscInt n_output,
                                    FwMatrixAction *action);

PetscErrorCode FwMatrixPointCreate(PetscInt n_output, FwMatrixPoint *point);
PetscErrorCode FwMatrixPointDestroy(FwMatrixPoint *point);

/** Evaluate at H: the value, with FW_OUTPUTS_SLOPE the force, with FW_OUTPUTS_CURVE what FwMatrixActionCurve() needs.
 * @error FW_ERR_NUMERICAL  T = 0 and the kernel is singular
 * @cost  as FwSpectrumResolveOutputs(), and O(D^3) */
PetscErrorCode FwMatrixActionEvaluate(FwMatrixAction action, const double h[], FwOutputsLevel level,
                                      FwMatrixPoint *point);

/** Derivative of the force along a symmetric direction, N d2S/dH2 [direction], at a point with FW_OUTPUTS_CURVE.
 * Cost O(D^3): nothing here sees P. */
PetscErrorCode FwMatrixActionCurve(FwMatrixAction action, const FwMatrixPoint *point, const double direction[],
                                   double out[]);

/** One step of majorising and minimising from a point with FW_OUTPUTS_SLOPE: log Q of the minimum of a function that
 *  touches S at the point and lies above it elsewhere, so that S never rises. With Q^{1/L} and log det A replaced by
 *  their tangents and the quadratic form by its bound in Q^-1, it solves
 *
 *      Q B Q = Q + M,   B = Q_0^{1/L - 1} + (1/N) d log det A/dQ,   M = Q_0 (R^T K R / N) Q_0.
 */
PetscErrorCode FwMatrixActionDescend(FwMatrixAction action, const FwMatrixPoint *point, double h[]);

/** The minimum at T = 0, in closed form: Q and Y^T K^-1 Y / P have one basis, where each q solves the scalar equation.
 *  It is the only one.
 *
 * @param[out] h  log Q
 * @error FW_ERR_NUMERICAL  the kernel is singular; Q = 0 where labels vanish with P >= N
 */
PetscErrorCode FwMatrixActionCold(FwMatrixAction action, double h[]);

/** An interval outside which no eigenvalue of log Q of a stationary point lies. */
PetscErrorCode FwMatrixActionBracket(FwMatrixAction action, double *low, double *high);

/** Whether S is known to have one minimum: T = 0 without readout bias; or one hidden layer and rank K <= N, where S is
 *  convex in Q. */
PetscErrorCode FwMatrixActionIsUnique(FwMatrixAction action, PetscBool *is_unique);

/** Bounds of the decomposed kernel, and of the labels of all outputs together. */
PetscErrorCode FwMatrixActionBounds(FwMatrixAction action, FwSpectrumBounds *bounds);

PetscInt       FwMatrixActionSize(FwMatrixAction action);  /**< D */
const FwModel *FwMatrixActionModel(FwMatrixAction action); /**< Borrowed */

/** Round-off of the force at a point: |force| cannot be known better. */
double FwMatrixActionRoundOff(FwMatrixAction action, const FwMatrixPoint *point);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwMatrixActionDestroy(FwMatrixAction *action);

/** A symmetric matrix as its D (D + 1) / 2 numbers, those off the diagonal times sqrt 2, so that lengths and scalar
 *  products are those of matrices; and back. */
void FwMatrixPack(PetscInt n, const double matrix[], double x[]);
void FwMatrixUnpack(PetscInt n, const double x[], double matrix[]);
