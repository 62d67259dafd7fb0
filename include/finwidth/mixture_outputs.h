/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Outputs of a random deep linear network: S [D, P] at P inputs, drawn together with Q.
 *
 *     S = A Z R^T + sum_l s_l A_(l) z_l 1^T,   Q = A A^T,  K = R R^T,
 *
 * Z and z_l standard normal, s_l^2 the variance of the biases behind W_l and A_(l) A_(l)^T the product of the factors
 * L .. l+1, the part of the network behind them.
 */

#include <finwidth/mixture_law.h>

/** The inputs. */
typedef struct {
  PetscInt n_input, n_component; /**< P, N_0 */
  double  *x;                    /**< [P, N_0] */
  double  *root;                 /**< [P, P] lower triangular R of K = x x^T / (N_0 lambda*) */
  double   prior;                /**< lambda*, the product of the weights' priors */
  double  *bias;                 /**< [L + 1] variances of the biases behind W_0 .. W_L; NULL for none */
} FwMixtureInputs;

/** P orthogonal inputs with |x|^2 = N_0 = P. Otherwise as FwMixtureInputsCreate(). */
PetscErrorCode FwMixtureInputsOrthogonal(PetscInt n_input, double prior, PetscInt n_width, const double bias[],
                                         FwMixtureInputs *inputs);

/** Given inputs.
 *
 * Release with FwMixtureInputsDestroy().
 * @param[in] x      [P, N_0], copied
 * @param[in] prior  lambda*
 * @param[in] bias   [n_width + 1], copied; all zero, or NULL, is none
 * @error FW_ERR_INPUT   inputs whose kernel is singular
 * @error FW_ERR_MEMORY  P P or P N_0 is not an int
 */
PetscErrorCode FwMixtureInputsCreate(PetscInt n_input, PetscInt n_component, const double x[], double prior,
                                     PetscInt n_width, const double bias[], FwMixtureInputs *inputs);

PetscErrorCode FwMixtureInputsDestroy(FwMixtureInputs *inputs);

/** Samples first .. first + n - 1 of Q, those of FwMixtureDraw() where there are no biases, and of the outputs.
 *
 * Not collective.
 * @param[out] x, m      as of FwMixtureDraw()
 * Deep networks have outputs below the range of doubles: without biases, which hold them up, s is in units of e^(max x).
 * @param[out] s         [n, D, P] S exp(-log_unit)
 * @param[out] log_unit  [n] 0 with biases
 * @error FW_ERR_INPUT  as FwMixtureDraw(); biases in the limit
 */
PetscErrorCode FwMixtureDrawOutputs(const FwMixtureLaw *law, FwMixtureSampler sampler, const FwMixtureInputs *inputs,
                                    uint64_t seed, uint64_t first, PetscInt n, double x[], double m[], double s[],
                                    double log_unit[]);

/** E S_ip^2 S_jq^2, i = j or not: exact, with biases. */
double FwMixtureOutputProduct(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscBool is_same_output,
                              PetscInt p, PetscInt q);

/** Correlation of S_ip^2 and S_jq^2: exact, with biases. */
double FwMixtureOutputCorrelation(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscBool is_same_output,
                                  PetscInt p, PetscInt q);

/** E S^2 and E S^4 of one output at input `p`: exact, with biases. */
void FwMixtureOutputExact(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscInt p, double moment[2]);
