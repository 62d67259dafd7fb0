/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: functions of small symmetric matrices, [n, n] in full. Not collective.
 */

#include <finwidth/base.h>

/** Eigenvalues, ascending, and eigenvectors, vector j at vectors[j * n]. @error FW_ERR_NUMERICAL  a NaN */
PetscErrorCode FwSymmetricEigen(PetscInt n, const double matrix[], double value[], double vectors[]);

/** out = V f(w) V^T for matrix = V w V^T; `out` may be `matrix`. */
PetscErrorCode FwSymmetricApply(PetscInt n, const double matrix[], double (*function)(double), double out[]);

/** c = a b; c is neither. */
PetscErrorCode FwSymmetricMultiply(PetscInt n, const double a[], const double b[], double c[]);

/** c = a b a, symmetric to the last bit; c is neither. */
PetscErrorCode FwSymmetricSandwich(PetscInt n, const double a[], const double b[], double c[]);

/** out = V diag(value) V^T, from eigenvectors as FwSymmetricEigen() gives them; `out` is not `vectors`. */
PetscErrorCode FwSymmetricCompose(PetscInt n, const double value[], const double vectors[], double out[]);

/** The positive definite solution of Q C Q - beta Q - D = 0 for positive definite C and positive semidefinite D,
 *  Q = C^-1/2 [beta + (beta^2 + 4 C^1/2 D C^1/2)^1/2] C^-1/2 / 2; singular where D is and beta is not positive. */
PetscErrorCode FwSymmetricRiccati(PetscInt n, const double c[], double beta, const double d[], double out[]);
