/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Several chains of one sampler over the ranks of a communicator.
 *
 * The ranks are cut into equal parts, each of which works on some of the chains; with fewer ranks than chains a part is
 * one rank, for a large problem it may be several. Neither that nor a stop in between changes a bit of the result: every
 * chain is a function of its number, and a checkpoint holds chains, not ranks.
 *
 * All chains take the same number of samples between two looks at the clock; there they agree on errors, on stopping, and
 * on the next checkpoint.
 *
 * `langevin` runs two sets of chains, the second at half the Langevin step h (e / sqrt 2), so that its bias can be seen
 * and taken off: the bias is O(h), and 2 x(h/2) - x(h) is free of it up to O(h^2).
 */

#include <finwidth/sampler.h>

/** How the ranks of `comm` are cut into parts. */
typedef struct {
  MPI_Comm comm; /**< of this part */
  PetscInt n_part, part;
} FwChainRanks;

/** What a gradient costs, for the choice of parts. */
typedef struct {
  double   flops;
  PetscInt n_parameter;
  PetscInt n_rank_most; /**< more ranks than this do not help one chain */
} FwChainCost;

/** Cut the ranks.
 *
 * @collective{comm}
 * @param[in]  n_chain  of all sets together
 * @param[out] ranks    release with FwChainRanksDestroy()
 */
PetscErrorCode FwChainRanksCreate(MPI_Comm comm, PetscInt n_chain, const FwChainCost *cost, FwChainRanks *ranks);

PetscErrorCode FwChainRanksDestroy(FwChainRanks *ranks);

/** The number of parts that would be best for `size` ranks: each part works on its chains one after the other, and its
 *  ranks share a gradient. */
PetscInt FwChainRanksChoose(PetscInt size, PetscInt n_chain, const FwChainCost *cost);

typedef struct {
  FwSamplerPlan sampler;
  const char   *checkpoint; /**< path, or NULL for none */
  const char   *tag;        /**< what the checkpoint belongs to */
  PetscBool     resume;     /**< take up a checkpoint that is there */
  double        interval;   /**< seconds between checkpoints */
  PetscBool     is_end_kept; /**< one more at the end: for a caller who goes on before the numbers are safe */
} FwChainsPlan;

/** All chains at their end. */
typedef struct {
  PetscInt n_set, n_chain, n_sample, n_block, n_series, n_field; /**< n_chain in each set */
  double  *series;                                               /**< [n_set, n_series, n_chain, n_sample] */
  double  *block;                           /**< [n_set, n_chain, n_block, n_field] means over blocks of samples */
  double  *step;                            /**< [n_set] */
  double   acceptance;                      /**< mean probability after burn-in, of the first set */
  double   n_move, n_divergent, n_gradient; /**< of all chains */
  double  *w;                               /**< [n_set n_chain, n] where the chains ended */
} FwChainsResult;

/** Sets of chains of a method. */
PetscInt FwChainsSets(FwSamplerMethod method);

/** Run all chains to their end.
 *
 * @collective{comm}, the communicator that was cut
 * @param[in]  target  on ranks->comm
 * @param[out] result  on rank 0 of comm, zeros elsewhere; release with FwChainsResultDestroy() on every rank
 * @error FW_ERR_STOPPED  asked to stop: a checkpoint was written, where there is a path
 * @error FW_ERR_FILE     the checkpoint cannot be written, or is not of these chains
 */
PetscErrorCode FwChainsRun(MPI_Comm comm, const FwChainRanks *ranks, const FwTarget *target, const FwChainsPlan *plan,
                           FwChainsResult *result);

PetscErrorCode FwChainsResultDestroy(FwChainsResult *result);
