/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Where training begins: weights drawn by the usual schemes, and balanced ones, W_{l+1}^T W_{l+1} = W_l W_l^T for all l.
 *
 * Balanced weights have one rank r and one set of singular values: W_l = Q_l S_l Q_{l-1}^T with orthonormal columns in
 * every Q_l (n_l x r), so that r is at most the smallest width.
 *
 *     balanced        the product W_L .. W_1 = U S V^T is prescribed: S_l = S^(1/L), Q_0 = V, Q_L = U, the others drawn.
 *                     It is a Gaussian matrix, entries of variance 1 / n_0, cut to rank r
 *     balanced-first  W_1 is prescribed, drawn as lecun; S_l = S of W_1: every later width must be its rank at least
 *     householder     balanced with nothing drawn: Q_l is the first columns of the reflection I - 2 w w^T / w^T w,
 *                     w_i = 1.25 + qf(20 + l, i, 0) (qf: FwInitialFormula())
 *     small           Gaussian, standard deviation `scale`
 *     torch           uniform in +-1/sqrt(n_{l-1}), biases too
 *     lecun, xavier, kaiming  Gaussian of variance 1/n_{l-1}, 2/(n_{l-1} + n_l), 2/n_{l-1}
 *     unbalanced      lecun with W_1 times and W_L divided by `scale`
 *
 * Biases are zero but for torch. Every number is its own stream, keyed by (seed, layer, row, column). Not collective.
 */

#include <finwidth/learner.h>
#include <stdint.h>

/** Index into the choices of the key `ansatz_init`. */
typedef enum {
  FW_INITIAL_BALANCED,
  FW_INITIAL_BALANCED_FIRST,
  FW_INITIAL_HOUSEHOLDER,
  FW_INITIAL_SMALL,
  FW_INITIAL_TORCH,
  FW_INITIAL_LECUN,
  FW_INITIAL_XAVIER,
  FW_INITIAL_KAIMING,
  FW_INITIAL_UNBALANCED,
  FW_INITIAL_COUNT
} FwInitialScheme;

/** Names of the schemes, in the order of the enumeration; the choices of `ansatz_init`. */
extern const char *const FwInitialNames[FW_INITIAL_COUNT];

typedef struct {
  FwInitialScheme scheme;
  double          scale;      /**< of small and unbalanced as above; of all others a factor of the weights */
  PetscInt        n_singular; /**< balanced, householder: singular values S prescribed; 0: those of the drawn product */
  const double   *singular;   /**< [n_singular], positive; borrowed */
  uint64_t        seed;
} FwInitial;

/** The factor where the user gives none: 0.01 for small, 3 for unbalanced, else 1. */
double FwInitialDefaultScale(FwInitialScheme scheme);

/** Whether a start exists for the widths.
 * @error FW_ERR_INPUT  a balanced start does not: names the layer and what it would need */
PetscErrorCode FwInitialCheck(const FwInitial *initial, const FwLearnerShape *shape);

/** The start.
 * @param[out] theta  [n], in the layout of learner.h
 * @error FW_ERR_INPUT  as FwInitialCheck() */
PetscErrorCode FwInitialDraw(const FwInitial *initial, const FwLearnerShape *shape, double theta[]);

/** qf(s, i, j) = h/50 - 1 with h = (i+1)(j+1)(s+3)(i+2j+5) + 11 i^3 + 23 j^2 + 37 s^2 + 5 mod 101: numbers in [-1, 1] that
 *  anybody can write down again. */
double FwInitialFormula(PetscInt s, PetscInt i, PetscInt j);

/** Read a start from an HDF5 file: W1, b1, W2, ..., [n_l, n_{l-1}] by rows and [n_l], in the root or in the group
 *  /ansatz, with further axes of length 1 in front; biases that are missing are zero.
 *
 * @collective{comm}  rank 0 reads
 * @param[out] theta  [n]
 * @error FW_ERR_INPUT  a data set is missing, not finite or of another shape: says which and what it should be
 * @error FW_ERR_FILE   the file cannot be read */
PetscErrorCode FwInitialRead(MPI_Comm comm, const char path[], const FwLearnerShape *shape, double theta[]);

/** Whether such a file has any of b1 .. b_{n_layer}. Collective on `comm`. */
PetscErrorCode FwInitialHasBiases(MPI_Comm comm, const char path[], PetscInt n_layer, PetscBool *has_bias);
