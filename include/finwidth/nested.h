/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Effective action of a fully-connected network with one output in the nested and in the linearised composition, where
 * the order parameter of every layer is an unknown of its own.
 *
 *     S(Q_1 .. Q_L) = sum_l (N_l / N)(Q_l - log Q_l) + (1/N)[log det A + y^T A^-1 y],   A = T + s_L^2 1 1^T + K(Q),
 *
 * N = N_L and K(Q) that of kernel_layers.h, so that Z is proportional to the integral of exp(-N S / 2). The unknowns
 * are u_l = log Q_l, and
 *
 *     dS/du_l = (N_l / N)(Q_l - 1) + (Q_l / N) tr[(A^-1 - a a^T) dK/dQ_l],   a = A^-1 y.
 *
 * Every new point costs one distributed Cholesky factor, one inverse and O(L) maps of the kernel.
 *
 * @source Pacelli et al., arXiv:2209.04882; docs/theory/nested.md
 */

#include <finwidth/kernel_layers.h>
#include <petscsnes.h>

typedef struct FwNestedActionImpl *FwNestedAction;

/** Create the action; grid, model and data are borrowed. Collective.
 *
 * @param[out] action  release with FwNestedActionDestroy()
 * @error FW_ERR_INPUT  more than one output; else as FwKernelLayersCreate()
 * @cost two kernels of memory while it is evaluated, three if linearised
 */
PetscErrorCode FwNestedActionCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form,
                                    FwNestedAction *action);

/** Evaluate S and its gradient; the same bits on every rank. The last point is kept: asking for the gradient where S is
 *  known costs what the gradient adds.
 *
 * @collective{action}
 * @param[in]  log_order  [L] u
 * @param[out] value      S, or infinity where A is not positive definite or a variance is beyond what the maps can take
 * @param[out] gradient   [L] dS/du; may be NULL. NaN where S is infinite
 */
PetscErrorCode FwNestedActionEvaluate(FwNestedAction action, const double log_order[], double *value,
                                      double gradient[]);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwNestedActionDestroy(FwNestedAction *action);

/** Minima of the action, the lowest first, and what the network predicts at the lowest. */
typedef struct {
  PetscInt            n_minimum;
  double             *order;          /**< [n_minimum][L] Q_l */
  double             *value;          /**< [n_minimum] S */
  double              residual;       /**< |dS/du| at the lowest */
  PetscInt            n_iteration;    /**< quasi-Newton steps from all starts */
  PetscInt            n_evaluation;   /**< Cholesky factors */
  PetscBool           is_converged;   /**< the lowest is a minimum to the tolerance */
  SNESConvergedReason reason;         /**< of the lowest */
  double              train_bias;     /**< T^2 |a|^2 / P */
  double              train_variance; /**< T (P - T tr A^-1) / P */
  double              log_evidence;   /**< -(N/2)(S - sum_l N_l / N) - (P/2) log 2 pi */
  double             *mean;           /**< [P_t + n_new] posterior mean of the test examples, then of the inputs without
                                           labels */
  double             *variance;       /**< [P_t + n_new] posterior variance of the latent f */
} FwNestedResult;

/** Find minima of the action and predict at the lowest.
 *
 * From each start, and from Q = 1, SNES descends on S: Newton steps whose matrix is the exact part of the Hessian that
 * comes for free, corrected by what the gradients of earlier points say, and a line search on S. Points that end in one
 * place are one minimum. That no other minimum exists is not proved, as it is for the product composition. Not
 * converging is a result, not an error.
 *
 * @collective{grid}
 * @param[in]  start   [n_start][L] order parameters, all positive: the minima of the product composition serve well;
 *                     NULL when n_start is 0
 * @param[out] result  release with FwNestedDestroy()
 * @option -snes_(any SNES option)  tolerances, monitors
 * @error FW_ERR_NUMERICAL  A is not positive definite at any start (T = 0 with a singular kernel)
 * @error FW_ERR_INPUT      as FwNestedActionCreate()
 */
PetscErrorCode FwNestedCreate(FwGrid grid, const FwModel *model, FwDataset data, FwNestedForm form, PetscInt n_start,
                              const double start[], FwNestedResult *result);

/** Release the arrays. */
PetscErrorCode FwNestedDestroy(FwNestedResult *result);
