/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Exact densities and distribution functions of the law of the mixing matrix (docs/theory/mixture-posterior.md).
 *
 * One variable. log q for one output, log det Q for any D and the logarithm of a squared output are sums of independent
 * logarithms of gamma variables and a normal one (the limit factor). With K(t) = log E exp(t x), a sum of log-gamma
 * functions,
 *
 *     f(x) = e^{K(h) - h x} / (2 pi) int exp(K(h + iu) - K(h) - iux) du,
 *
 * by the trapezoid rule, with the tilt h at the saddle K'(h) = x: relative accuracy some 1e-13 in the far tails too,
 * where posteriors live. Values are interpolated between points that are computed when they are first asked for, so an
 * object answers many questions at little cost (the first one in a region takes 0.1 to 10 ms).
 *
 * Two outputs. Q = e^g O diag(e^r, e^-r) O^T with O uniform on the circle; the joint density of (g, r) and the law of r
 * are integrals over the hyperbolic distance s of a density that is explicit in the f of one variable.
 *
 * Not collective; every rank computes the same bits.
 *
 * @source docs/theory/mixture-posterior.md; the limit for two outputs is McKean's formula on the hyperbolic plane
 */

#include <finwidth/mixture_law.h>

typedef struct FwMixtureDensityImpl *FwMixtureDensity;
typedef struct FwMixtureRadialImpl  *FwMixtureRadial;

/** Which variable. */
typedef enum {
  FW_MIXTURE_LOG_Q,      /**< log Q_ii, any D: for one output log q */
  FW_MIXTURE_LOG_DET,    /**< log det Q; widths >= D */
  FW_MIXTURE_LOG_OUTPUT2 /**< log(S^2 / kappa), S one output at one input whose kernel is kappa */
} FwMixtureVariable;

/** Create the density of a variable.
 *
 * @param[in]  law      borrowed for this call; not Q = 1 (no explicit factor and a = 0) unless the output's square is
 *                      asked for, and finite a
 * @param[out] density  release with FwMixtureDensityDestroy()
 * @error FW_ERR_INPUT  a width below D where log det Q is asked for (Q is singular then), no density (Q = 1), infinite a
 */
PetscErrorCode FwMixtureDensityCreate(const FwMixtureLaw *law, FwMixtureVariable variable, FwMixtureDensity *density);

/** Mean and variance, exact. */
PetscErrorCode FwMixtureDensityMoments(FwMixtureDensity density, double *mean, double *variance);

/** log f(x), and its derivative (NULL where it is not wanted).
 * @error FW_ERR_NUMERICAL  x is more than some 1e4 deviations away */
PetscErrorCode FwMixtureDensityEvaluate(FwMixtureDensity density, double x, double *log_density, double *slope);

/** P(X <= x) and P(X > x), each to relative accuracy where it is the smaller one, and 0 where that is below
 *  1e-100. Either may be NULL. */
PetscErrorCode FwMixtureDensityCumulative(FwMixtureDensity density, double x, double *below, double *above);

/** Kolmogorov's distance sup |F_1 - F_2| of two laws, to about 1e-10. */
PetscErrorCode FwMixtureDensityDistance(FwMixtureDensity one, FwMixtureDensity two, double *distance);

/** The distance of log Q_11 or log det Q of the widths from a limit, to first order in 1/N (docs/theory/mixture.md). Widths
 *  that the limit keeps cancel; a sum 1/N_l of the others that is off by less than one of their layers counts.
 *
 * @param[out] distance  NaN where the limit is another law altogether, or has no density
 */
PetscErrorCode FwMixtureDistanceFirstOrder(const FwMixtureLaw *finite, const FwMixtureLaw *limit,
                                           FwMixtureVariable variable, double *distance);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwMixtureDensityDestroy(FwMixtureDensity *density);

/** Create the law of the eigenvalues for two outputs.
 *
 * @param[in]  law     n_output = 2, widths >= 2, finite a, not Q = 1
 * @param[out] radial  release with FwMixtureRadialDestroy()
 * @error FW_ERR_INPUT  otherwise
 */
PetscErrorCode FwMixtureRadialCreate(const FwMixtureLaw *law, FwMixtureRadial *radial);

/** Mean and variance of g = log det Q / 2, exact. */
PetscErrorCode FwMixtureRadialMoments(FwMixtureRadial radial, double *mean_g, double *variance_g);

/** log of the joint density of g and r > 0, with respect to dg dr. Cost some 50 interpolations.
 * @error FW_ERR_NUMERICAL  the integral does not end within its nodes; the same for the next */
PetscErrorCode FwMixtureRadialJoint(FwMixtureRadial radial, double g, double r, double *log_density);

/** P(R > r), r = log(q_1 / q_2) / 2 >= 0; 0 where it is below 1e-100. */
PetscErrorCode FwMixtureRadialSurvival(FwMixtureRadial radial, double r, double *above);

/** Kolmogorov's distance of two laws of r, to about 1e-10. */
PetscErrorCode FwMixtureRadialDistance(FwMixtureRadial one, FwMixtureRadial two, double *distance);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwMixtureRadialDestroy(FwMixtureRadial *radial);
