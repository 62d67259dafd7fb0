/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: eight networks of one shape at once, one in each lane of the vector unit. Every number of the network is eight
 * numbers side by side, and the arithmetic is by lane: what a lane computes does not depend on the others.
 *
 * Matrices are stored by columns, an example is a column; entries are FwLanes.
 */

#include "learner_impl.h"

#include <finwidth/vector.h>

/** Half of the lanes: what registers of most processors hold. Whole ones would be taken apart on those without AVX-512,
 *  and where they are not, two halves are as fast. */
typedef double FwHalfLanes __attribute__((vector_size(sizeof(FwLanes) / 2), may_alias));

typedef struct {
  FwLearner learner; /**< of lane 0: shape and loss are those of all */
  PetscInt  n_theta;
  PetscInt  n_most;    /**< examples that go through the networks together */
  PetscInt  n_example; /**< examples that are held in x and y: all, or a batch; 0 where gradients go through moments */
  PetscBool has_moments, is_rotated;
  void     *room; /**< all of the arrays below */
  FwLanes  *theta, *gradient;
  FwLanes  *x, *y;                                           /**< [n_example][n_0], [n_example][c] */
  FwLanes **h, **slope;                                      /**< [L - 1][n_most][n_l] */
  FwLanes  *f, *delta, *below;                               /**< of n_most examples */
  FwLanes  *xx, *yx, *g, **above, *product, *chain, *offset; /**< as in FwLearnerMoments */
  FwLanes  *lambda, *mean;                                   /**< as in FwLearnerBasis, in place of xx */
  FwLanes  *loss, *yy; /**< one each: the loss that came with the last gradient; as in FwLearnerMoments */
} FwLaneNet;

/** Whether networks are narrow enough for lanes. */
PetscBool FwLaneNetHasWidths(const FwLearnerShape *shape);

/** Whether networks are narrow enough that a matrix of eight fits the first cache, and the examples of eight into memory:
 *  64 MB at most. */
PetscBool FwLaneNetFits(FwLearner learner, PetscInt batch);

/** Room for the networks of learners like this one, with `batch` examples per step, or 0 for all; `is_rotated`: with theta
 *  in the basis of the moments. */
PetscErrorCode FwLaneNetCreate(FwLearner learner, PetscInt batch, PetscBool is_rotated, FwLaneNet *net);
PetscErrorCode FwLaneNetDestroy(FwLaneNet *net);

/** Take the moments, or all examples, of a learner into a lane. */
void FwLaneNetSetLearner(FwLaneNet *net, PetscInt lane, FwLearner learner);
/** Take a batch of a learner's examples into a lane. */
void FwLaneNetSetBatch(FwLaneNet *net, PetscInt lane, FwLearner learner, const PetscInt example[]);

/** n zeros in lanes; free `room`. */
PetscErrorCode FwLanesAllocate(size_t n, void **room, FwLanes **lanes);

/** Numbers of one run into a lane, and back. */
void FwLanesPut(PetscInt n, PetscInt lane, const double from[], FwLanes to[]);
void FwLanesGet(PetscInt n, PetscInt lane, const FwLanes from[], double to[]);

/** Gradients of the losses at theta, without decay: the mean over the examples held. The losses come along in net->loss,
 *  through moments to rounding of |y|^2. */
PetscErrorCode FwLaneNetGradient(FwLaneNet *net, const FwLanes theta[], FwLanes gradient[]);

/** A matrix to be read: entry (i, j) is at[i * row + j * column]. */
typedef struct {
  const FwLanes *at;
  PetscInt       row, column;
} FwLaneView;

/** C = A B, or C += A B: C m x n stored by columns, k the inner size. */
void FwLanesMultiply(PetscInt m, PetscInt n, PetscInt k, FwLaneView a, FwLaneView b, PetscBool is_added, FwLanes c[]);

/** |v|^2 of each lane. */
void FwLanesSumSquares(PetscInt n, const FwLanes v[], double sum[FW_LANES]);
