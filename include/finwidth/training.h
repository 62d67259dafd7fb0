/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Training: theta followed from its start, by gradient flow or by steps of a descent method.
 *
 * With g the gradient of the loss, v the weights, mu v their decay (learner.h), eta the step:
 *
 *     flow           dv/dt = -(g + mu v), adaptive Runge-Kutta of PETSc (8(7) or 5(4))
 *     flow-midpoint  v+ = v - h (g + mu v)((v + v+)/2): keeps the balance of linear networks without decay exactly
 *     flow-strang    decay exactly for h/2, the midpoint rule on the loss, decay for h/2: Delta(t) = exp(-2 mu t) Delta(0)
 *     gd             v+ = v - eta (g + mu v)
 *     momentum       u+ = beta u + g + mu v,   v+ = v - eta u+
 *     nesterov       u+ = beta u + g + mu v,   v+ = v - eta (g + mu v + beta u+)
 *     sgd            momentum, g over a batch of examples
 *     adam           beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8 outside the root, bias-corrected, of g + mu v
 *     adamw          v <- (1 - eta mu) v, then adam's step with g at the weights before
 *     lmvm, newton   PETSc Tao on the objective, until |gradient| <= tolerance
 *
 * Many runs of one shape are one training: small networks go through the vector unit eight at a time. A run's numbers do
 * not depend on which other runs are beside it, nor on the number of ranks.
 *
 * Time is t for the flows and the number of steps (iterations) for all others.
 *
 * @source docs/theory/training.md
 */

#include <finwidth/learner.h>
#include <stdint.h>

/** Index into the choices of the key `ansatz_optimiser`. */
typedef enum {
  FW_TRAIN_FLOW,
  FW_TRAIN_FLOW_MIDPOINT,
  FW_TRAIN_FLOW_STRANG,
  FW_TRAIN_GD,
  FW_TRAIN_MOMENTUM,
  FW_TRAIN_NESTEROV,
  FW_TRAIN_SGD,
  FW_TRAIN_ADAM,
  FW_TRAIN_ADAMW,
  FW_TRAIN_LMVM,
  FW_TRAIN_NEWTON,
  FW_TRAIN_COUNT
} FwTrainMethod;

/** Names of the methods, in the order of the enumeration; the choices of `ansatz_optimiser`. */
extern const char *const FwTrainMethodNames[FW_TRAIN_COUNT];

/** Whether the time of a method is t, as for the three flows, and not a number of steps. */
PetscBool FwTrainMethodIsFlow(FwTrainMethod method);

/** Whether a method may go over batches of examples: sgd, adam, adamw. */
PetscBool FwTrainMethodHasBatches(FwTrainMethod method);

/** What the runs of a training share. */
typedef struct {
  FwTrainMethod method;
  double        momentum; /**< beta of momentum, nesterov and sgd, in [0, 1) */
  PetscInt      batch;    /**< examples per step: 1 .. N for sgd, adam and adamw; 0 for all */
  PetscBool is_cyclic; /**< batch k has the examples k batch .. modulo N; else each epoch's own order, keyed by seed */
  double    tolerance; /**< of flow, relative and absolute per step; of |gradient| for lmvm and newton */
  PetscBool is_low_order;    /**< flow by 5(4) and not by 8(7) */
  double    n_gradient_most; /**< of the flows: gradients after which a run is given up; 0 for no end */
} FwTrainPlan;

/** One run. */
typedef struct {
  FwLearner     learner; /**< borrowed; runs may share one */
  FwDecay       decay;
  double        step;  /**< eta; h of the midpoint flows; not used by flow, lmvm and newton */
  uint64_t      seed;  /**< of the order of examples */
  const double *theta; /**< [n] where it starts; copied */
} FwTrainRun;

typedef struct FwTrainingImpl *FwTraining;

/** Start runs, at time 0.
 *
 * Collective on the learners' communicator.
 * @param[in]  plan      copied
 * @param[in]  n_run     >= 1
 * @param[in]  run       [n_run], copied; all learners have the same shape, loss and number of examples
 * @param[out] training  release with FwTrainingDestroy()
 * @error FW_ERR_INPUT  a step or tolerance that is not positive, a momentum outside [0, 1), a batch larger than N
 */
PetscErrorCode FwTrainingCreate(const FwTrainPlan *plan, PetscInt n_run, const FwTrainRun run[], FwTraining *training);

/** Bytes of a training of n_run runs, without their learners. Not collective. */
double FwTrainingBytes(const FwTrainPlan *plan, const FwLearnerShape *shape, FwLoss loss, PetscInt n_example,
                       PetscInt n_run);

/** Bring all runs to a time, which the flows meet exactly; nothing happens where they are there already.
 *
 * A run diverges at the step from whose weights the loss, which its gradient gives along, is no longer finite or beyond
 * loss_most; it stops there and says so in its state, and the others go on.
 *
 * Collective as FwTrainingCreate().
 */
PetscErrorCode FwTrainingAdvance(FwTraining training, double time);

/** The same, but return once every run has made about `n_gradient` more gradients: call it again until it is there.
 *
 * Time for the caller to look at the clock: in pieces of any size a training makes the same bits. lmvm and newton go all the
 * way at once.
 *
 * @param[out] is_there  whether all runs are at that time, or will not come any further
 */
PetscErrorCode FwTrainingAdvanceSome(FwTraining training, double time, double n_gradient, PetscBool *is_there);

/** How a run is doing. */
typedef struct {
  const double *theta;        /**< [n], borrowed until the next call with this training; of no use once it diverged */
  double        time;         /**< where it is: t, or steps made (lmvm, newton: fewer where it has converged) */
  PetscBool     is_diverged;  /**< the loss grew beyond bounds, or the method could not go on, at `time` */
  PetscBool     is_given_up;  /**< a flow that was not at its time after plan.n_gradient_most gradients */
  PetscBool     is_converged; /**< lmvm, newton: |gradient| <= tolerance */
  double        n_gradient;   /**< gradients evaluated since the start */
  double        loss_most;    /**< 1e8 times the larger of the losses at the start and of zero outputs; infinite before
                                   the first gradient, and of lmvm and newton */
} FwTrainState;

PetscErrorCode FwTrainingGetState(FwTraining training, PetscInt run, FwTrainState *state);

/** Fail with FW_ERR_NUMERICAL where a run has diverged or was given up; the message names the run, the time and the step. */
PetscErrorCode FwTrainingCheck(FwTraining training);

/** All that is needed to go on with the same bits, as doubles; between calls of FwTrainingAdvance(). The training that is
 *  unpacked into was made from the same plan and runs. Not collective. */
size_t         FwTrainingPackedSize(FwTraining training);
PetscErrorCode FwTrainingPack(FwTraining training, double packed[]);
PetscErrorCode FwTrainingUnpack(FwTraining training, const double packed[]);

/** Release and set the handle to NULL; NULL is fine. Collective as FwTrainingCreate(). */
PetscErrorCode FwTrainingDestroy(FwTraining *training);
