/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Inside the room: a batch of triangular roots A = M diag(exp(x)) side by side, and the ways to multiply them.
 */

#include <finwidth/mixture_law.h>

enum { BATCH = 256 }; /* samples side by side: a group of the bulk generator */

/** Place of entry (i, j), j < i, below the diagonal. */
static inline PetscInt FwBelow(PetscInt i, PetscInt j)
{
  return i * (i - 1) / 2 + j;
}

/** A batch of roots. Arrays are [row][BATCH], [place below the diagonal][BATCH]. */
typedef struct {
  PetscInt n_output;
  PetscInt n_factor; /* multiplied into `square` since it was last put into x */
  double  *x;        /* [D] logarithms of the diagonal */
  double  *square;   /* [D] product of squared diagonals that is not in x yet */
  double  *m;        /* [D(D-1)/2] */
} FwRoots;

/** A batch of lower triangular factors; squares of the diagonal, for they are what is drawn. */
typedef struct {
  double *square;         /* [D] */
  double *below;          /* [D(D-1)/2] */
  double *root, *inverse; /* [D] the diagonal and its inverse, once they are needed */
} FwFactors;

PetscErrorCode FwRootsCreate(PetscInt n_output, FwRoots *roots);
PetscErrorCode FwRootsDestroy(FwRoots *roots);
PetscErrorCode FwFactorsCreate(PetscInt n_output, FwFactors *factors);
PetscErrorCode FwFactorsDestroy(FwFactors *factors);

/** All roots 1. */
void FwRootsReset(FwRoots *roots);

/** A <- F A for the whole batch. @param[in] n_safe  factors after which the product of diagonals must be put into x */
void FwRootsMultiply(FwRoots *roots, const FwFactors *factors, PetscInt n_safe);

/** F <- B^-1 F, the step of the pair scheme. */
void FwFactorsDivide(PetscInt n_output, const FwFactors *b, FwFactors *f);

/** Put the product of diagonals into x. */
void FwRootsFold(FwRoots *roots);

/** A <- A F for one root of row-major m [D, D], by a row-major lower triangular F [D, D] with diagonal >= 0: from the
 *  output side, where the products that are left belong to the tails of the network. */
void FwRootAppend(PetscInt n_output, double x[], double m[], const double f[]);

/** Exact draws of the limit law for D = 1 and 2: samples first .. first + BATCH - 1 as roots. */
void FwLimitDraw(const FwMixtureLaw *law, uint64_t seed, uint64_t first, FwRoots *roots);

/** One network of which every weight is drawn, from the output side. After the layers L .. layer + 1 their product is
 *  A V^T, A in the form of x and m, V [n, rank] orthonormal with columns first. */
typedef struct {
  const FwMixtureLaw *law;
  uint64_t            seed, sample;
  PetscInt            layer, n, rank;
  double             *x, *m;                 /* borrowed */
  double             *basis, *next, *factor; /* V; room; the last triangular factor */
} FwBrute;

/** Start with the identity at the outputs; x [D] and m [D, D] are those of FwMixtureDraw(). */
PetscErrorCode FwBruteCreate(const FwMixtureLaw *law, uint64_t seed, uint64_t sample, double x[], double m[],
                             FwBrute *brute);

/** Multiply the next layer of weights. */
PetscErrorCode FwBruteStep(FwBrute *brute);

/** V^T W_0, transposed: row [n_component, rank] with columns first. */
PetscErrorCode FwBruteFirstLayer(const FwBrute *brute, PetscInt n_component, double row[]);

PetscErrorCode FwBruteDestroy(FwBrute *brute);

/** All layers of one sample. */
PetscErrorCode FwBruteDraw(const FwMixtureLaw *law, uint64_t seed, uint64_t sample, double x[], double m[]);

/** One Bartlett factor of the widths (not of the limit) for samples first .. first + BATCH - 1. */
void FwFactorDraw(const FwMixtureLaw *law, uint64_t seed, PetscInt factor, uint64_t first, FwFactors *factors);

/** m with psi'(m) = h. */
double FwInverseTrigamma(double h);

/** Refuse what a sampler cannot draw. */
PetscErrorCode FwMixtureLawCheck(const FwMixtureLaw *law, FwMixtureSampler sampler);
