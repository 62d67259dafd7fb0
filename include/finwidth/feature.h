/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The comparison at the heart of the Neural Feature Ansatz: the feature matrix M = W^T W of a layer against powers of its
 * average gradient outer product A = W^T K W, where K = T^T T is the mean of (df/dz)(df/dz)^T over the examples, summed
 * over outputs.
 *
 * One singular value decomposition of the factor T W serves all powers: A = V diag(lambda) V^T with lambda = s^2. The
 * eigenvalues of A itself would not do: rounding leaves eps there, and eps^alpha in the power. Directions whose s is below
 * the rounding of T W are dropped: it depends on where T comes from.
 *
 * Not collective. Matrices are by columns.
 *
 * @source arXiv:2510.15563; arXiv:2212.13881; docs/theory/ansatz.md
 */

#include <finwidth/base.h>

typedef struct FwFeatureImpl *FwFeature;

/** Decompose.
 *
 * Cost: O(d (n + m)^2).
 *
 * @param[in]  n, d     W is n x d: units of the layer, its inputs
 * @param[in]  w        borrowed until FwFeatureDestroy()
 * @param[in]  m        rows of the factor
 * @param[in]  t        m x n with K = T^T T
 * @param[in]  rounding directions with s below this part of the largest are dropped, and all if the largest
 *                       is below this part of |T| |W|: about max(m, d) times the machine's precision
 * @param[out] feature  release with FwFeatureDestroy()
 * @error FW_ERR_NUMERICAL  a number is not finite
 */
PetscErrorCode FwFeatureCreate(PetscInt n, PetscInt d, const double w[], PetscInt m, const double t[], double rounding,
                               FwFeature *feature);

/** Cosine <M, A^alpha> / (|M| |A^alpha|) of Frobenius products. NaN where a matrix is zero. */
double FwFeatureSimilarity(FwFeature feature, double alpha);

/** The same after the mean entry of each matrix is subtracted (not invariant under rotations of the inputs). */
double FwFeaturePearson(FwFeature feature, double alpha);

/** The interval of the best alpha. */
#define FW_FEATURE_ALPHA_LEAST 0.01
#define FW_FEATURE_ALPHA_MOST  3.0

/** Whether a best alpha is an end of the interval, beyond which the cosine may rise on: a bound and not a number. */
static inline PetscBool FwFeatureIsBound(double alpha)
{
  return (PetscBool)(alpha <= FW_FEATURE_ALPHA_LEAST || alpha >= FW_FEATURE_ALPHA_MOST);
}

/** The alpha in [0.01, 3] of the largest cosine, and that cosine: the largest of a grid, then the root of the derivative.
 *  An end of the interval where the cosine is monotonic; NaN where A has one direction only, so that no alpha differs. */
PetscErrorCode FwFeatureBestAlpha(FwFeature feature, double *alpha, double *similarity);

/** Slope of log(v^T M v) over log lambda, by least squares over lambda > 1e-10 of the largest; NaN with fewer than two. */
double FwFeatureSlopeAlpha(FwFeature feature);

/** |M - A^alpha| / |M|: no scale is fitted. */
PetscErrorCode FwFeatureResidual(FwFeature feature, double alpha, double *residual);

/** Frobenius norms of M and of A. */
void FwFeatureNorms(FwFeature feature, double *norm_m, double *norm_a);

/** Number of directions kept, the eigenvalues of A, descending, and v^T M v along their eigenvectors v. Borrowed. */
void FwFeatureDirections(FwFeature feature, PetscInt *n, const double **lambda, const double **projection);

/** M and A^alpha themselves, or their diagonals: [d x d] or [d] each. */
PetscErrorCode FwFeatureMatrices(FwFeature feature, double alpha, double m[], double a[]);
PetscErrorCode FwFeatureDiagonals(FwFeature feature, double alpha, double m[], double a[]);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwFeatureDestroy(FwFeature *feature);

/** A factor T of a symmetric K without negative eigenvalues (n x n): T^T T = K, rows for eigenvalues above rounding only.
 *  K is scaled to a unit diagonal first, so that units of very different slopes keep their digits.
 *
 * @param[out] m        rows
 * @param[out] t        m x n; room for n x n
 * @param[out] is_good  whether all eigenvalues of the scaled K, but for units without any slope, are above 1e-6 of the
 *                       largest: rounding of K then is one of 1e-8 in every eigenvalue of W^T K W, whatever W is
 * @error FW_ERR_NUMERICAL  the eigenvalues did not converge */
PetscErrorCode FwFeatureFactor(PetscInt n, const double k[], PetscInt *m, double t[], PetscBool *is_good);

/** 2-norm of X^T P X - Y^T Q Y, where X is a x d, Y is b x d, P and Q symmetric (NULL: the identity). Cost O(d (a + b)^2). */
PetscErrorCode FwFeatureDifference(PetscInt d, PetscInt a, const double x[], const double p[], PetscInt b,
                                   const double y[], const double q[], double *norm);

/** Largest |eigenvalue| of a symmetric matrix, n x n.
 * @error FW_ERR_NUMERICAL  they did not converge */
PetscErrorCode FwFeatureSpectralNorm(PetscInt n, const double c[], double *norm);
