/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What is measured of a network in training: how far the Neural Feature Ansatz holds, layer by layer, and the quantities
 * of its theory.
 *
 * With M_l = W_l^T W_l and A_l the average gradient outer product of layer l, the balanced linear network has
 * M_l = A_l^(1/(L-l+1)), so that the first layer's power is 1/L. Imbalance is Delta_l = W_{l+1}^T W_{l+1} - W_l W_l^T.
 *
 * A measurement is a row of numbers; the table of fields says what stands where. NaN is what is not defined: the centred
 * comparison of a linear network, whose Jacobian is constant; the telescoping bound of another; the best alpha where A
 * has rank one.
 *
 * @source docs/theory/ansatz.md
 */

#include <finwidth/learner.h>

/** The fields of a row, in its order. */
typedef enum {
  FW_ALIGNMENT_LOSS,
  FW_ALIGNMENT_OBJECTIVE,
  FW_ALIGNMENT_GRADIENT_NORM,
  FW_ALIGNMENT_WEIGHT_NORM,
  FW_ALIGNMENT_SIMILARITY,
  FW_ALIGNMENT_PEARSON,
  FW_ALIGNMENT_CENTRED,
  FW_ALIGNMENT_UPDATE,
  FW_ALIGNMENT_BEST_ALPHA,
  FW_ALIGNMENT_BEST_SIMILARITY,
  FW_ALIGNMENT_SLOPE_ALPHA,
  FW_ALIGNMENT_RESIDUAL,
  FW_ALIGNMENT_LAYER_SIMILARITY,
  FW_ALIGNMENT_LAYER_BEST_ALPHA,
  FW_ALIGNMENT_IMBALANCE,
  FW_ALIGNMENT_IMBALANCE_BIAS,
  FW_ALIGNMENT_FEATURE_NORM,
  FW_ALIGNMENT_AGOP_NORM,
  FW_ALIGNMENT_AGOP_EIGENVALUE,
  FW_ALIGNMENT_FEATURE_PROJECTION,
  FW_ALIGNMENT_TELESCOPING_DIFFERENCE,
  FW_ALIGNMENT_TELESCOPING_BOUND,
  FW_ALIGNMENT_COUNT
} FwAlignmentField;

/** Where a field stands in a row, and its name in a file; `axis` is NULL for a number. */
typedef struct {
  const char *name, *axis, *long_name;
  PetscInt    first, n;
} FwAlignmentColumn;

/** The rows of networks of one shape. */
typedef struct {
  FwLearnerShape    shape;
  PetscInt          n_alpha;
  const double     *alpha; /**< [n_alpha] powers for `similarity` and the like; borrowed */
  PetscInt          n;     /**< numbers of a row */
  FwAlignmentColumn column[FW_ALIGNMENT_COUNT];
} FwAlignmentRows;

/** Lay out the rows. Not collective. */
PetscErrorCode FwAlignmentLayout(const FwLearnerShape *shape, PetscInt n_alpha, const double alpha[],
                                 FwAlignmentRows *rows);

/** Measure a network.
 *
 * @collective{learner}
 * @param[in]  decay  for the objective
 * @param[in]  start  weights where training began, for the comparison of the updates
 * @param[out] row    [rows->n]
 * @cost one gradient, one sensitivity per layer, then O(sum_l n_l n_{l-1} (n_l + n_{l-1}))
 * @error FW_ERR_NUMERICAL  weights that are not finite
 */
PetscErrorCode FwAlignmentMeasure(const FwAlignmentRows *rows, FwLearner learner, FwDecay decay, const double start[],
                                  const double theta[], double row[]);

/** The first layer's M and A^(1/L), whole ([n_0 x n_0]) or only their diagonals ([n_0]). Collective as above. */
PetscErrorCode FwAlignmentMatrices(FwLearner learner, const double theta[], PetscBool only_diagonals, double m[],
                                   double a[]);

/** Rate r of an imbalance exp(-r t): least squares of the logarithm over the times at which it is above 1e-6 of its
 *  first value and, where less than a tenth of that is left, above ten times its last one, which may be a floor that steps
 *  keep up; NaN with fewer than two such times, or where it is only rounding, below 1e-10 of `scale`. */
double FwAlignmentRate(PetscInt n, const double time[], const double imbalance[], double scale);

/** <|y|^2> / <|x|^2>: about the AGOP of a function that follows its targets. Not collective. */
PetscErrorCode FwAlignmentTargetScale(FwLearner learner, double *scale);

/** Whether the weights have collapsed: less is left of the AGOP than a millionth of `scale` and than half of what it was at
 *  its largest. How large the start was does not matter, and a small one that has not grown yet has not collapsed.
 *
 * @param[in] agop_norm  [n] in time, each `stride` numbers after the one before */
PetscBool FwAlignmentHasCollapsed(double scale, PetscInt n, size_t stride, const double agop_norm[]);

/** What a linear network with squared error can learn: singular vectors of y x^T / N, each for itself. */
typedef struct {
  double strength; /**< sigma, the singular value */
  double variance; /**< s, of the inputs along it */
} FwAlignmentMode;

/** The modes of the examples, the strongest first. The learner is linear with squared error.
 *
 * @param[in]  n     of them, at most the smaller of inputs and outputs
 * @param[out] mode  [n]
 * @cost a singular value decomposition of y x^T / N and n passes over the examples
 */
PetscErrorCode FwAlignmentModes(FwLearner learner, PetscInt n, FwAlignmentMode mode[]);

/** The weight decay beyond which a network of L weight matrices cannot hold a mode,
 *
 *     L = 2:   mu = sigma
 *     L >= 3:  mu = sigma w^(L-2) L / (2 (L - 1)),   w = (sigma (L - 2) / (2 s (L - 1)))^(1/L)
 *
 * Exact for white inputs, and for the strongest mode of L = 2. L = 1: none (infinity). */
double FwAlignmentCriticalDecay(PetscInt n_layer, const FwAlignmentMode *mode);

/** The singular value w^L of W_L .. W_1 that a balanced network holds a mode with: the larger root w of
 *  (sigma - s w^L) w^(L-2) = mu; 0 beyond the critical decay. Exact for white inputs. */
double FwAlignmentModeProduct(PetscInt n_layer, const FwAlignmentMode *mode, double decay);
