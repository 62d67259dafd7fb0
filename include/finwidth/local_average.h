/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Average over the Gram matrix of the readout of a convolutional or locally-connected network, beside the saddle point.
 *
 * Given Q the network is a Gaussian process with kernel K_R(Q) (local_action.h), and before learning N Q is a Wishart
 * matrix of N degrees of freedom: exact for linear networks of any width, fewer channels than patches included, and what
 * the theory means for others. With D outputs it is one of m = D n rows; of a locally-connected network one of D rows for each
 * patch. After learning
 *
 *     p(Q | y) ~ Wishart(Q) exp(-1/2 [log det A + y^T A^-1 y]),
 *
 * which is sampled by Hamiltonian Monte Carlo in Bartlett's coordinates, N Q = L L^T: the entries of L below the diagonal
 * are standard normal before learning, and L_jj^2 a chi-square of N - j degrees of freedom (j = 0, 1, ... within each Wishart
 * matrix). Of several hidden layers every Q_l is drawn, each a Wishart matrix given the one above. Chains are divided over the ranks, and what each
 * does depends on its number alone: the same bits on any number of ranks.
 *
 * @source Aiudi et al., arXiv:2307.11807; docs/theory/convolutional.md
 */

#include <finwidth/local_action.h>
#include <stdint.h>

enum { FW_LOCAL_CHAINS = 8 };

/** Draws of one chain. */
typedef struct {
  PetscInt n;          /**< draws that are kept */
  double  *order;      /**< [n][m, m] Q */
  double   acceptance; /**< share of accepted moves among them */
  double   step;       /**< leapfrog step that burn-in has found */
} FwLocalChain;

/** Draw a chain from the posterior of Q.
 *
 * @collective{action}: give each chain an action of its own rank
 * @param[in]  action  with its model set
 * @param[in]  seed, number  name of the chain
 * @param[in]  start   [m, m] positive definite: the saddle point (of several layers Q_1)
 * @param[in]  n_draw  draws to keep, after half as many of burn-in, which also finds the step
 * @param[out] chain   release with FwLocalChainDestroy()
 * @error FW_ERR_STOPPED    this rank was asked to stop
 * @error FW_ERR_NUMERICAL  A is not positive definite at the start
 * @cost six evaluations of the action a draw
 */
PetscErrorCode FwLocalChainCreate(FwLocalAction action, uint64_t seed, PetscInt number, const double start[],
                                  PetscInt n_draw, FwLocalChain *chain);

/** Release the array. */
PetscErrorCode FwLocalChainDestroy(FwLocalChain *chain);
