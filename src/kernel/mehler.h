/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: Gaussian averages of smooth functions by the trapezoid rule, and the Mehler series of a set of points.
 *
 *     <f(u) g(v)> = sum_n f_n(a) g_n(c) rho^n,   f_n(a) = E[f(sqrt(a) z) he_n(z)],   z ~ N(0, 1),
 *
 * he_n the orthonormal Hermite polynomials. Parseval bounds what is cut off: at most sqrt(tail_f(a) tail_g(c)) with
 * tail_f = E[f^2] - sum of the f_n^2 taken.
 */

#include <finwidth/activation.h>

/** phi, phi' and phi'' at z. */
typedef void FwScalar(double z, double jet[3]);

typedef struct FwMehlerImpl *FwMehler;

/** E[f g] over u ~ N(0, a), f and g the derivatives of orders `first` and `second` of the activation's phi; second < 0
 *  leaves g out.
 *
 * @error FW_ERR_NUMERICAL  the rule does not settle
 */
PetscErrorCode FwMehlerAverage(FwActivation activation, double a, int first, int second, double *average);

/** Coefficients of n points for the value, [term][point]; one column where all variances are equal.
 *
 * A point's coefficients depend on its own variance alone: neighbours with longer series only add zeros above it.
 *
 * @error FW_ERR_NUMERICAL  more than 16384 terms are needed
 */
PetscErrorCode FwMehlerCreate(FwActivation activation, PetscInt n, const double variance[], FwMehler *series);
/** Those for the slopes also, of the same points. */
PetscErrorCode FwMehlerAddSlopes(FwMehler series, const double variance[]);
PetscErrorCode FwMehlerDestroy(FwMehler *series);

/** Sum the series for rows first .. first + n - 1 against one column; rho[i] are the correlations. */
PetscErrorCode FwMehlerMap(FwMehler rows, FwMap map, PetscInt first, PetscInt n, FwMehler columns, PetscInt column,
                           const double rho[], double out[]);
