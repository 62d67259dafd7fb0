/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The law of the mixing matrix Q of a deep linear network, and draws from it (docs/theory/mixture.md).
 *
 * The outputs S [D, P] of a random deep linear network are a Gaussian mixture, S | Q ~ N(0, Q (x) K), with K the kernel
 * X^T X / (N_0 lambda*) of the inputs and Q [D, D], E Q = 1, a product of independent Wishart matrices,
 *
 *     Q = F_L ... F_1 F_1^T ... F_L^T,   F_l F_l^T ~ Wishart_D(N_l, 1/N_l),
 *
 * or, when widths and depth grow with sum 1/N_l -> a, the limit of that product. One description serves both: explicit
 * factors of finite widths times a limit factor of parameter a. No explicit factor and a = 0 is the infinitely wide
 * network, Q = 1; one explicit factor beside a > 0 is a bottleneck in a network that is wide and deep elsewhere.
 *
 * A draw is kept as Q = M diag(exp(2 x)) M^T with M unit lower triangular: right at any depth, where the entries of Q
 * have lost the small eigenvalues or left the range of doubles.
 */

#include <finwidth/model.h>
#include <finwidth/random.h>

/** The law of Q. */
typedef struct {
  PetscInt n_output; /**< D, >= 1 */
  PetscInt n_width;  /**< explicit factors; 0 for none */
  double  *width;    /**< [n_width] their widths N_l >= 1, from the inputs to the outputs; they need not be integers */
  double   a;        /**< parameter of the limit factor, >= 0; 0 for none, infinity for the posterior only */
} FwMixtureLaw;

/** The law of a network: its widths, or the limit in their place.
 *
 * Not collective. Release with FwMixtureLawDestroy().
 * @param[in]  model     widths; the weights' priors and biases do not enter the law of Q
 * @param[in]  n_output  D
 * @param[out] law       a = 0
 * @error FW_ERR_INPUT  no output, a width below 1
 */
PetscErrorCode FwMixtureLawFinite(const FwModel *model, PetscInt n_output, FwMixtureLaw *law);

/** The limit law of parameter a, with `n_width` layers kept at finite widths (0 and NULL for none).
 * @error FW_ERR_INPUT  a < 0 */
PetscErrorCode FwMixtureLawLimit(double a, PetscInt n_output, PetscInt n_width, const double width[],
                                 FwMixtureLaw *law);

/** Release the widths. */
PetscErrorCode FwMixtureLawDestroy(FwMixtureLaw *law);

/** a + sum 1/N_l: variances and corrections grow with it. */
double FwMixtureLawA(const FwMixtureLaw *law);

/** How Q is drawn. */
typedef enum {
  FW_MIXTURE_BARTLETT, /**< triangular factors of the Wishart matrices, O(n_width D^2) numbers; the limit factor for
                            D = 1 log-normal, for D = 2 exactly, for D >= 3 by pairs of factors (FwMixturePairs()) */
  FW_MIXTURE_BRUTE     /**< every weight of every layer, O(sum N_l N_{l-1}) numbers; widths are integers, a = 0 */
} FwMixtureSampler;

/** Samples first .. first + n - 1 of Q, keyed by their index: the same bits however they are divided.
 *
 * Not collective.
 * @param[in]  law      finite a
 * @param[in]  seed     key `seed`
 * @param[out] x        [n, D] logarithms of the diagonal of the triangular root; -infinity where Q is singular (N_l < D)
 * @param[out] m        [n, D, D] row-major, unit lower triangular
 * @error FW_ERR_INPUT  a is infinite; brute: a > 0, or a width that is no integer
 */
PetscErrorCode FwMixtureDraw(const FwMixtureLaw *law, FwMixtureSampler sampler, uint64_t seed, uint64_t first,
                             PetscInt n, double x[], double m[]);

/** Steps of the pair scheme that stands for the limit factor where D >= 3: n with a / n <= 1/32; 0 where it is not used.
 *
 * Each step is exactly invariant under rotations from both sides, so that the moments of the scheme are known in closed
 * form: its error is a number, not a guess (mixture_moments.h).
 */
PetscInt FwMixturePairs(const FwMixtureLaw *law);

/* --- the coordinates that a draw is made of ------------------------------------------------------------------ */

/** Numbers of independent gamma and standard normal coordinates of one Q in the Bartlett form (limit factor: pairs for
 *  every D), for Markov chains that move in them. */
PetscErrorCode FwMixtureCoordinateCounts(const FwMixtureLaw *law, PetscInt *n_gamma, PetscInt *n_normal);

/** Shapes of the gamma coordinates, scale 1. @param[out] shape [n_gamma] */
PetscErrorCode FwMixtureCoordinateShapes(const FwMixtureLaw *law, double shape[]);

/** Q from its coordinates.
 *
 * @param[in]  gamma   [n, n_gamma] positive
 * @param[in]  normal  [n, n_normal]
 * @param[out] x, m    as of FwMixtureDraw()
 */
PetscErrorCode FwMixtureAssemble(const FwMixtureLaw *law, PetscInt n, const double gamma[], const double normal[],
                                 double x[], double m[]);

/* --- what is read off a draw --------------------------------------------------------------------------------- */

/** Logarithms of the eigenvalues of Q, descending, and its eigenvectors, by one-sided Jacobi rotations on columns with
 *  scales of their own: small ones to relative accuracy.
 *
 * @param[in]  n, x, m     draws
 * @param[out] log_q       [n, D]
 * @param[out] vectors     [n, D, D], column k belongs to log_q[k]; NULL when not wanted
 */
PetscErrorCode FwMixtureEigen(PetscInt n_output, PetscInt n, const double x[], const double m[], double log_q[],
                              double vectors[]);
