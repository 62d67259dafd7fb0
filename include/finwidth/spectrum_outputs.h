/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Resolvents of a network with several outputs, on one decomposed kernel (spectrum.h).
 *
 * The D outputs share the kernel K and have the covariance Q (x) K with Q = V diag(q) V^T a D x D matrix. In the basis of
 * its eigenvectors v_a the posterior falls into D problems with one output each, of order parameters q_a and labels
 *
 *     z_a = Y v_a,   A_a = T + s^2 1 1^T + q_a K,   R_a = A_a^-1 z_a,
 *
 * so that nothing larger than P x P is ever needed. What couples them, in derivatives by Q, are products of the R_a.
 */

#include <finwidth/spectrum.h>

/** What is to be computed: each includes those above it. */
typedef enum {
  FW_OUTPUTS_VALUE, /**< fit, log_det */
  FW_OUTPUTS_SLOPE, /**< what first derivatives by Q need: trace, gram; and residual, trace_bias */
  FW_OUTPUTS_CURVE  /**< what second ones need: trace_slope, tensor */
} FwOutputsLevel;

/** At one (T, Q); indices a, b, c count eigenvectors. */
typedef struct {
  PetscInt n;           /**< D */
  double  *fit;         /**< [D] z_a^T A_a^-1 z_a */
  double  *log_det;     /**< [D] log det A_a */
  double  *trace;       /**< [D] tr A_a^-1 q_a K */
  double  *trace_slope; /**< [D] its derivative in log q_a */
  double  *trace_bias;  /**< [D] s^2 1^T A_a^-1 1 */
  double  *gram;        /**< [D][D] R_a^T K R_b */
  double  *residual;    /**< [D][D] R_a^T R_b */
  double  *tensor;      /**< [D][D][D] at [b][c][a]: R_c^T K A_b^-1 K R_a */
} FwOutputsResolvent;

/** Room for D outputs; release with FwOutputsResolventDestroy(). */
PetscErrorCode FwOutputsResolventCreate(PetscInt n, FwOutputsResolvent *resolvent);
PetscErrorCode FwOutputsResolventDestroy(FwOutputsResolvent *resolvent);

/** Evaluate; the same bits on every rank. Not collective.
 *
 * @param[in]  spectrum   with D columns of labels
 * @param[in]  order      [D] q_a > 0
 * @param[in]  vector     [D][D], row a is v_a
 * @param[out] resolvent  of D outputs
 * @error as FwSpectrumResolve()
 * @cost beside D factorisations: value and slope 4 P D^2 flops and D solves; curve D^2 solves and 2 P D^3 flops
 */
PetscErrorCode FwSpectrumResolveOutputs(FwSpectrum spectrum, double temperature, const double order[],
                                        const double vector[], FwOutputsLevel level, FwOutputsResolvent *resolvent);
