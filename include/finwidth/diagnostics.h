/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Means of Markov chains with honest error bars: how far several chains agree, and how many independent samples they
 * are worth.
 *
 * Chains are split in halves, so that a drift within a chain counts as disagreement between chains. With W the mean
 * variance within the halves, B/n the variance of their means, and n their length,
 *
 *     var+ = (n-1)/n W + B/n,   rho_t = 1 - (W - mean autocovariance at lag t) / var+,
 *     ESS  = m n / (1 + 2 sum_t rho_t),   error bar = sqrt(var+ / ESS),
 *
 * the sum cut by Geyer's initial monotone positive sequence. R-hat = sqrt(var+ / W) is taken of the normal scores of the
 * ranks, of the values and of their distances from the median, whichever is larger: the first sees chains that differ in
 * place, the second chains that differ in width, and neither needs moments to exist.
 *
 * All calls are not collective.
 *
 * @source Vehtari, Gelman, Simpson, Carpenter, Buerkner, Bayesian Analysis 16 (2021) 667; Geyer, Stat. Sci. 7 (1992) 473
 */

#include <finwidth/base.h>

/** Mean of a series over all chains. */
typedef struct {
  double mean, error_bar;
  double ess;  /**< effective sample size of the mean, at most m n log10(m n) */
  double rhat; /**< 1 where all values are equal; infinite where chains stand still at different values */
} FwChainSummary;

/** Summarise a series.
 *
 * @param[in] n_chain   at least 1
 * @param[in] n_sample  per chain; below 8 there is no ESS: error bar, ESS and R-hat are NaN
 * @param[in] value     [n_chain, n_sample]
 * @cost O(n_chain n_sample (lags until the autocorrelation is gone)) and a sort
 */
PetscErrorCode FwChainSummarise(PetscInt n_chain, PetscInt n_sample, const double value[], FwChainSummary *summary);

/** Mean of means over blocks of samples, [n_chain, n_block], and its error bar. The blocks may still be correlated; they are
 *  never taken for worth more than independent ones, which so few of them cannot show. NaN for less than 8 blocks. */
PetscErrorCode FwChainBlocks(PetscInt n_chain, PetscInt n_block, const double value[], double *mean, double *error_bar);

/** Effective sample size alone, of the values as they are; NaN for less than 8 samples. */
PetscErrorCode FwChainEss(PetscInt n_chain, PetscInt n_sample, const double value[], double *ess, double *variance);

/** Split R-hat of ranks alone; NaN for less than 8 samples. */
PetscErrorCode FwChainRhat(PetscInt n_chain, PetscInt n_sample, const double value[], double *rhat);
