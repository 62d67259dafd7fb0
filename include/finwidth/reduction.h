/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A deep random network seen as a linear one: the constants of the equivalent model.
 *
 * The target is x_0 = x with independent components of variance r_0, and
 *
 *     x_l = phi_l( g_l W_l x_{l-1} / sqrt(d_{l-1}) ),   l = 1 .. L,        z = sqrt(v_a) a . x_L / sqrt(d_L),
 *
 * with every entry of W_l and a a standard normal number. With all sizes large and their ratios fixed,
 *
 *     z = b + eta S.x / sqrt(r_0 d_0) + sqrt(gamma) xi,      S ~ N(0, 1), xi ~ N(0, 1), b ~ N(0, bias) one shared number,
 *
 * from a recursion over the layers: for independent standard normal B and Z, u = g_l ( sqrt(c) B + sqrt(r - c) Z ),
 * r = sigma_{l-1}, c = mean_{l-1},
 *
 *     sigma_l = E phi(u)^2,     mean_l = E_B (E_Z phi(u))^2,      rho_l^2 = E_B (E_Z Z phi(u))^2 / (r - c),
 *     epsilon_l = sigma_l - mean_l - rho_l^2 (r - c) >= 0,
 *     eta^2 = v_a r_0 prod rho_l^2,      gamma_l = rho_l^2 gamma_{l-1} + epsilon_l,      gamma = v_a gamma_L.
 *
 * For odd activations mean_l = 0 throughout. Widths do not enter. Not collective.
 *
 * @source docs/theory/optimal.md; Camilli, Tieplova, Bergamin, Barbier 2025 (odd activations)
 */

#include <finwidth/base.h>

/** What is to be reduced. The arrays are borrowed. */
typedef struct {
  PetscInt        depth;                            /**< L, 0 for a linear model */
  const PetscInt *activation;                       /**< [L] FwActivationType */
  const double   *gain;                             /**< [L] g_l > 0 */
  double          input_variance, readout_variance; /**< r_0 > 0, v_a > 0 */
} FwDeepTarget;

typedef struct {
  PetscInt depth;
  double  *sigma, *mean; /**< [L+1] second moment of a unit, and the part of it that all inputs share */
  double *rho, *epsilon; /**< [L] linear share of a layer (positive unless the activation is odd and falls), the rest */
  double  eta, gamma;    /**< signal eta S.x / sqrt(r_0 d_0), variance of the noise */
  double  bias, variance; /**< variance of b; of the rest of z: eta^2 + gamma */
  PetscBool is_odd;       /**< every activation is: b = 0 */
  PetscBool is_smooth;    /**< and has two bounded derivatives: the theorem holds */
} FwReduction;

/** Compute the constants, to 1e-14 of sigma; epsilon and gamma are sums of squares and keep their digits where small.
 *
 * Cost: 0.1 ms per layer, 20 ms where something below is not odd.
 *
 * @param[out] reduction  release with FwReductionDestroy()
 * @error FW_ERR_INPUT      a gain or a variance is not positive and finite, an activation is none
 * @error FW_ERR_NUMERICAL  a moment is not finite
 */
PetscErrorCode FwReductionCreate(const FwDeepTarget *target, FwReduction *reduction);

/** Release the arrays. */
PetscErrorCode FwReductionDestroy(FwReduction *reduction);
