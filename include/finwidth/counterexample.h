/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Networks that fit their data exactly and for which the Neural Feature Ansatz fails, each with its closed form.
 *
 *     relu-clusters   k clusters on unit vectors u_i with u_i . u_j < 0, fractions p_i, y = 1; f = sum a_i relu(w_i . x),
 *                     w_i = r_i u_i, a_i = r_i. By gradient flow r_i^2 = 1 / (1 + (1/r_0^2 - 1) exp(-2 p_i t))
 *     quadratic-axes  y = sum x_i^2 on the axes with E x_i^2 = s_i; f = sum a_i (w_i . x)^2. In the end
 *                     W_1^T W_1 = 2^(1/3) I and AGOP = 4 diag(s)
 *     tanh-static     f = tanh(w x_1) + tanh(kappa x_2) / kappa, y = x_1 + x_2, x_1 = +-1, x_2 = -1, 0, 1: the loss
 *                     vanishes and so does the cosine as w grows and kappa vanishes. W_1^T W_1 = diag(w^2, kappa^2), AGOP =
 *                     (w^2 s^2, w s <t>; w s <t>, <t^2>) with s = sech^2 w, t = sech^2(kappa x_2)
 *     relu-bias       f = relu(2 x_1 + 1) - relu(2 x_1 - 1) - 1, y = sign x_1, |x_1| >= 1: loss and AGOP are zero, and
 *                     |W_1^T W_1| = 8
 *
 * In the first two the cosine is sum p_i^alpha / sqrt(k sum p_i^(2 alpha)), with s for p in the second; it is no more than
 * near in the first since here u_i = e_i - 0.1 sum_{j != i} e_j, normalised: on e_i themselves the kinks would matter.
 * Not collective.
 *
 * @source docs/theory/ansatz.md, "Counterexamples"
 */

#include <finwidth/learner.h>

/** Index into the choices of the key `ansatz_case`. */
typedef enum {
  FW_CASE_RELU_CLUSTERS,
  FW_CASE_QUADRATIC_AXES,
  FW_CASE_TANH_STATIC,
  FW_CASE_RELU_BIAS,
  FW_CASE_COUNT
} FwCaseKind;

/** Names in the order of the enumeration. */
extern const char *const FwCaseNames[FW_CASE_COUNT];

enum { FW_CASE_VALUES = 16 };

typedef struct {
  FwCaseKind     kind;
  PetscInt       n_value;
  double         value[FW_CASE_VALUES]; /**< p_i of the data, s_i, or (w, kappa) */
  double         start;                 /**< r_0, or w_i at the start */
  PetscBool      is_static;             /**< nothing is trained */
  FwLearnerShape shape;
  PetscInt       n_example;
} FwCase;

/** Set up a case.
 *
 * @param[in] n_value  numbers given; 0: 0.9,0.1 / 1,4 / 4,0.01. A single one stands for (p, 1 - p), (1, s), or w with
 *                     kappa = 0.16/w^2
 * @param[in] start    > 0
 * @error FW_ERR_INPUT numbers that the case does not allow: says what would be right */
PetscErrorCode FwCaseCreate(FwCaseKind kind, PetscInt n_value, const double value[], double start, FwCase *c);

/** Inputs [n_example][n_0] and targets [n_example][c]. */
PetscErrorCode FwCaseExamples(const FwCase *c, double x[], double y[]);

/** Weights at the start, and those of the closed form at a time (the end, t -> infinity, of quadratic-axes). */
PetscErrorCode FwCaseStart(const FwCase *c, double theta[]);
PetscErrorCode FwCaseExact(const FwCase *c, double time, double theta[]);

/** The cosine by the formulas above, at the end; NaN where the AGOP is zero. */
double FwCaseFormula(const FwCase *c, double alpha);

/** Other numbers of the closed form, worked out by hand and not from its weights. */
typedef struct {
  double loss, feature_norm, agop_norm; /**< the norms are those of W_1^T W_1 and of the AGOP */
} FwCaseNumbers;

/** At a time, or at the end of quadratic-axes. */
FwCaseNumbers FwCaseExactNumbers(const FwCase *c, double time);
