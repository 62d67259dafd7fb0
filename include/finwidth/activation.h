/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Activation functions and the Gaussian averages that kernels are made of.
 *
 * For two pre-activations u, v, jointly Gaussian with mean zero and covariance
 *
 *     <u u> = a,   <u v> = b,   <v v> = c,
 *
 * the NNGP map of an activation phi is k(a, b, c) = <phi(u) phi(v)>. Its derivatives are
 *
 *     k_b = <phi'(u) phi'(v)>,   k_a = 1/2 <phi''(u) phi(v)>,   k_c = k_a with a and c exchanged,
 *
 * so that gradients and the NTK come from the same averages.
 *
 * erf, relu, leaky-relu, linear, quadratic and sign are in closed form, hardtanh is one integral; smooth activations go
 * through the Mehler series k = sum_n c_n(a) c_n(c) rho^n with rho = b / sqrt(a c) and c_n(a) = E[phi(sqrt(a) z) he_n(z)],
 * he_n orthonormal.
 *
 * The maps are entry-wise and give the same bits however a matrix is cut into pieces: no entry depends on its
 * neighbours. All calls are not collective.
 *
 * @source docs/theory/kernels.md; Williams 1997, Cho & Saul 2009, Daniely et al. 2016
 */

#include <finwidth/base.h>

typedef const struct FwActivationImpl *FwActivation;

/** Index into the choices of the key `network_activation`. */
typedef enum {
  FW_ACTIVATION_ERF,
  FW_ACTIVATION_RELU,
  FW_ACTIVATION_LINEAR,
  FW_ACTIVATION_TANH,
  FW_ACTIVATION_SIN,
  FW_ACTIVATION_GELU,
  FW_ACTIVATION_SIGN,
  FW_ACTIVATION_QUADRATIC,
  FW_ACTIVATION_SOFTPLUS,
  FW_ACTIVATION_LEAKY_RELU,
  FW_ACTIVATION_HARDTANH,
  FW_ACTIVATION_COUNT
} FwActivationType;

/** Which average a map computes. */
typedef enum {
  FW_MAP_VALUE,       /**< k */
  FW_MAP_COVARIANCE,  /**< k_b, the slope in b */
  FW_MAP_ROW_VARIANCE /**< k_a, the slope in the variance of the row's point */
} FwMap;

/** Names of the types, in the order of the enumeration; the choices of `network_activation`. */
extern const char *const FwActivationNames[FW_ACTIVATION_COUNT];

/** The activation of a type. Borrowed: there is one of each, never released. */
PetscErrorCode FwActivationGet(FwActivationType type, FwActivation *activation);

/** Whether phi(-z) = -phi(z): such an activation has no mean. */
PetscErrorCode FwActivationIsOdd(FwActivation activation, PetscBool *is_odd);

/** phi, phi' and phi'' at n points; NULL for what is not wanted. At a kink phi' is the mean of both sides.
 *
 * phi and phi' are vectorised, a few units in the last place from the mathematics library's; no entry depends on its
 * neighbours or on the processor. One output may be `z` itself.
 */
PetscErrorCode FwActivationEvaluate(FwActivation activation, PetscInt n, const double z[], double value[],
                                    double slope[], double curvature[]);

/** Mean m(a) = <phi(u)>, second moment k(a, a, a) = <phi(u)^2> (the kernel's diagonal), at n variances a >= 0.
 * @error FW_ERR_NUMERICAL  as FwPointsCreate() */
PetscErrorCode FwActivationMean(FwActivation activation, PetscInt n, const double a[], double mean[]);
PetscErrorCode FwActivationDiagonal(FwActivation activation, PetscInt n, const double a[], double k[]);
/** Slope of the diagonal's two arguments on the diagonal: k_b(a, a, a) = <phi'(u)^2> and k_a(a, a, a). */
PetscErrorCode FwActivationDiagonalMap(FwActivation activation, FwMap map, PetscInt n, const double a[], double k[]);

/** What the maps need about a set of points: their variances, and for the Mehler series their coefficients. */
typedef struct FwPointsImpl *FwPoints;

/** Prepare n points of given variances (copied) for the value map of one activation.
 *
 * Cost: a series takes 0.1 ms (tanh at variance 1) to 12 ms (at 50) per distinct variance; equal variances share it.
 *
 * @param[out] points  release with FwPointsDestroy(); memory O(n) in closed form, O(n * terms) for a series
 * @error FW_ERR_NUMERICAL  a variance is negative, not finite or above 1e150, or too large for the series (tanh beyond
 *                          about 200, or 90 with slopes, where 16384 terms would not do)
 */
PetscErrorCode FwPointsCreate(FwActivation activation, PetscInt n, const double variance[], FwPoints *points);

/** Prepare the points for the two slopes also: three more tables for a series, nothing in closed form.
 *
 * @error FW_ERR_NUMERICAL  as FwPointsCreate()
 */
PetscErrorCode FwPointsAddSlopes(FwPoints points);

/** Release; NULL is fine. */
PetscErrorCode FwPointsDestroy(FwPoints *points);

/** Apply a map along one column of a tile; the slopes need FwPointsAddSlopes() on both sets of points.
 *
 * out[i] = k(a_{first + i}, b[i], c_column), for i = 0 .. n-1, with a the variances of `rows` and c that of the point
 * `column` of `columns`. `out` may be `b`. Where rounding makes |b| exceed sqrt(a c) it counts as
 * sqrt(a c). No finite input gives NaN; the slopes of sign are infinite at |b| = sqrt(a c), and k_a of relu, which
 * diverges as a vanishes, is 0 at a = 0. Vectorised.
 */
PetscErrorCode FwActivationMap(FwActivation activation, FwMap map, FwPoints rows, PetscInt first, PetscInt n,
                               FwPoints columns, PetscInt column, const double b[], double out[]);
