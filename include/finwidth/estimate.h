#pragma once

/** @file
 * What a prediction will need, before anything is allocated: memory of each rank, operations, time.
 */

#include <finwidth/grid.h>

/** Sizes that a prediction is made of. */
typedef struct {
  double n_train, n_test, n_input, depth;
} FwWork;

typedef struct {
  double assembly_flops, decomposition_flops, prediction_flops; /**< of all ranks together */
  double seconds;    /**< from the rate of a product measured on this machine, now */
  double peak_bytes; /**< of the rank that needs most: kernel, eigenvectors, workspace, inputs */
} FwEstimate;

/** Estimate a prediction on the ranks of a grid. Collective; measures a small product for some 20 ms. */
PetscErrorCode FwEstimatePredict(FwGrid grid, const FwWork *work, FwEstimate *estimate);

/** Memory that one rank may use: the key `memory`, or what the node has, divided by its ranks. Collective. */
PetscErrorCode FwEstimateMemory(MPI_Comm comm, double *bytes);

/** Refuse a run that would not fit. Collective.
 * @error FW_ERR_MEMORY  names what is needed, what there is, and the largest number of examples that would fit */
PetscErrorCode FwEstimateCheck(FwGrid grid, const FwWork *work, const FwEstimate *estimate);
