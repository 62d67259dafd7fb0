/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What a convolutional or locally-connected network has learnt in its hidden layer, predicted at a saddle point Q of the
 * effective action.
 *
 * From Q alone: its eigenvalues, its distance |Q - 1|_F / n^1/2 from infinite width, how far the readout pools, 1.Q.1 /
 * (n tr Q) (1/n at infinite width, 1 for an average over patches), and over how many patches it is spread,
 * (tr Q)^2 / tr Q^2; with several outputs overlap and spread are those of Q summed over the diagonal in outputs.
 *
 * From kernels: the alignment y^T K y / (|K|_F |y|^2) of K_R(Q) with the labels, not centred, and the Gram matrix of the
 * hidden layer averaged over channels and patches,
 *
 *     M = (1/n) sum_i K_ii before, M - (1 / (N lambda_1 n^2)) sum_i sum_kl Q_kl K_ik (A^-1 - a a^T) K_li after learning,
 *
 * its alignment, trace and distance; these of one hidden layer. Of several only the alignments of K_R(1), which is that of the
 * last layer before learning, and of K_R(Q).
 *
 * @source Aiudi et al., arXiv:2307.11807; docs/theory/convolutional.md
 */

#include <finwidth/local_action.h>
#include <finwidth/record.h>

typedef struct {
  PetscInt  n_patch, n_row; /**< n_row = D n_patch, of Q */
  PetscBool is_diagonal;    /**< a locally-connected network */
  double   *eigenvalue;     /**< [n_row] of Q, descending */
  double    distance, pool_overlap, effective_patches;
  PetscBool has_kernels, has_hidden;                 /**< has_hidden: also of M; one hidden layer */
  PetscBool is_known;                                /**< with kernels: these could be computed */
  double    alignment_before;                        /**< of K_R(1), and of M before */
  double    kernel_alignment;                        /**< of K_R(Q) */
  double    alignment_after;                         /**< of M after, as in observables.h */
  double    hidden_trace_before, hidden_trace_after; /**< tr M / P: mean squared activation */
  double    hidden_distance;                         /**< |M_after - M_before|_F / |M_before|_F */
} FwLocalObservables;

/** Predict the observables.
 *
 * Second-moment kernels of the hidden layer are used: means of a non-odd activation are in them. Where A is not positive
 * definite what needs kernels is NaN, with a warning.
 *
 * @collective{action}
 * @param[in]  action       with its model set
 * @param[in]  y            [P] labels, on every rank
 * @param[in]  order        [m, m] Q
 * @param[in]  with_kernels  also what needs kernels; one output
 * @param[out] observables  release with FwLocalObservablesDestroy()
 * @cost with kernels of a convolutional network 4 n^2 P^3 flops and n^2 P^2 maps, of a locally-connected one 4 n P^3;
 *       memory of four kernels
 */
PetscErrorCode FwLocalObservablesCreate(FwLocalAction action, const double y[], const double order[],
                                        PetscBool with_kernels, FwLocalObservables *observables);

/** Put the observables into a record, as data sets of /predict. */
PetscErrorCode FwLocalObservablesRecord(const FwLocalObservables *observables, FwRecord record);

/** Release the array. */
PetscErrorCode FwLocalObservablesDestroy(FwLocalObservables *observables);
