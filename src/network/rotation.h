/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: coordinates of the input space in which few training examples have few non-zero inputs.
 *
 * P training examples of n > P inputs span at most P directions. With X^T = Q [R; 0] (Householder) an example x becomes
 * Q^T x: training examples keep P numbers, the columns of R, and the other n - P are zero. Weights w become Q^T w, of the
 * same standard normal prior, and w.x is unchanged: the gradient needs products of size P instead of n, and the weights of
 * the other directions feel the prior alone.
 */

#include <finwidth/base.h>

typedef struct {
  PetscInt n, n_vector;
  double  *reflector, *tau; /**< LAPACK's, of n_vector columns of n; owned */
} FwRotation;

/** The rotation that leaves only the first n_vector < n components of the given vectors [n_vector, n]; they are copied. */
PetscErrorCode FwRotationCreate(PetscInt n, PetscInt n_vector, const double vectors[], FwRotation *rotation);

/** Rotated vector i of those given: its first n_vector components. */
void FwRotationVector(const FwRotation *rotation, PetscInt i, double out[]);

/** Rotate the n_row rows of x [n_row, n] in place: Q^T x, or Q x where `back`. */
PetscErrorCode FwRotationApply(const FwRotation *rotation, PetscBool back, PetscInt n_row, double x[]);

PetscErrorCode FwRotationDestroy(FwRotation *rotation);
