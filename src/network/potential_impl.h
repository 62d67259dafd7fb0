/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private: a potential's state, and the posterior of the readout given the hidden layers.
 *
 * Symbols, as in the header of the class: Phi [P, F] features, V [F, D] readout, T temperature; and with A = T + Phi Phi^T
 *
 *     a = A^-1 y  (collapsed)  or  (y - Phi V) / T  (full),   B = A^-1 Phi,   Z = Phi^T a = E[V | y],
 *
 * so that the gradient of U in Phi is D B - a Z^T (collapsed), - a V^T (full).
 *
 * Where P < F ("dual") A itself is factored, else the F x F matrix T + Phi^T Phi: B = Phi (T + Phi^T Phi)^-1.
 */

#include <finwidth/potential.h>
#include <finwidth/block_sum.h>
#include "rotation.h"
#include "trunk.h"

struct FwPotentialImpl {
  MPI_Comm        comm;
  PetscMPIInt     n_rank, *count, *offset; /* of a gathering of rows, [n_rank] */
  FwPotentialKind kind;
  FwExamples      examples; /* its arrays are borrowed */
  FwTrunk         trunk;
  FwRotation      rotation; /* of the inputs, where trunk.n_rest > 0 */
  PetscBool       is_dual;
  PetscBool       has_readout_bias;
  PetscInt        n_active; /* parameters that the training data see, the first of theta */
  PetscInt        n_theta, n_output, n_feature, n_block_row;
  double          temperature, width, prior_first, prior_readout; /* N and lambda of the first and last weights */
  double         *scaled;      /* [n_local, n_input_scaled - n_rest] training inputs as the first layer reads them */
  double         *scaled_test; /* [n_local, n_input_scaled] test inputs */
  double         *y;           /* [P, D] */
  FwPass          pass;
  double         *storage; /* of features: [P, F] where dual, else the local rows */
  double         *feature; /* the local rows in it */
  double         *dual;    /* [P, D], a; where not dual only the local rows are set */
  double         *readout; /* [D, F], Z */
  double         *column;  /* [D, P], right-hand sides of the dual form */
  double         *factor;  /* dual: [P, P] A^-1; else: [F, F] Cholesky factor, lower by columns, then [D, F] Phi^T y */
  FwBlockSum      gradient_sum, moment_sum, scalar_sum;
};

/** One block of local examples, by local row. */
typedef struct {
  PetscInt first, n;
} FwBlock;
FwBlock FwPotentialBlock(FwPotential p, PetscInt b);

/** Training inputs, as a pass reads them. */
FwInputs FwPotentialInputs(FwPotential p);

/** Features of all local examples. */
PetscErrorCode FwPotentialForward(FwPotential p, const double theta[]);

/** a of all local examples from V [D, F], and |y - Phi V|^2 over all. Collective. */
PetscErrorCode FwPotentialResiduals(FwPotential p, const double v[], double *square);

/** Posterior of the readout given the features: a, Z and the factor.
 *
 * @collective{p}
 * @param[out] energy  D/2 log det A + 1/2 sum y^T A^-1 y, infinite where A is not positive in floating point
 */
PetscErrorCode FwPotentialCondition(FwPotential p, double *energy);

/** scale * B of one block, after FwPotentialCondition(), at the beginning of the pass' work: [n, F]. */
PetscErrorCode FwPotentialSolveBlock(FwPotential p, FwBlock block, double scale);

/** Gram matrix between the paths from the readout down to layer l, after FwPotentialCondition() or, under `full`, of theta
 *  itself: FW_MEASURE_READOUT_GRAM for the last layer, a part of FW_MEASURE_PATH_GRAM for others.
 *
 * @collective{p}
 * @param[out] gram  [r, r], r = D FwTrunkCountPaths(l), outputs outside */
PetscErrorCode FwPotentialGram(FwPotential p, const double theta[], PetscInt l, double gram[]);

/** Numbers that FwPotentialGram() of the first layer holds for a while. */
double FwPotentialGramRoom(const FwTrunk *trunk, PetscInt n_output);

/** Every rank's rows, `width` numbers each, become all rows on every rank, in place. Collective. */
PetscErrorCode FwPotentialGatherRows(FwPotential p, const FwRows *rows, PetscInt width, double value[]);
