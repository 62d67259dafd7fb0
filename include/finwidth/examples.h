/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Examples as the ranks that work on one network hold them.
 *
 * A dataset spreads its examples over all ranks of a run. A network is worked on by a smaller communicator, often of one
 * rank, on which the training examples are cut into blocks of about 256 rows. How many blocks there are depends on P
 * alone; each rank owns consecutive ones, and sums over examples are made block by block and added in the order of the
 * blocks. So the bits of a result do not depend on the number of ranks.
 */

#include <finwidth/dataset.h>

/** Rows of one part: this rank owns rows first .. first + n_local - 1 of n. */
typedef struct {
  PetscInt n, n_block; /**< rows and blocks on all ranks; block b is the rows b n / n_block .. (b+1) n / n_block - 1 */
  PetscInt first_block, n_local_block;
  PetscInt first, n_local;
  double  *x; /**< [n_local, n_input] row-major */
} FwRows;

typedef struct {
  FwDataSizes   sizes;
  FwRows        train;
  FwRows        test;    /**< test examples, then the inputs without labels: n = n_test + n_new */
  const double *y_train; /**< [n_train, n_output] row-major, all rows on every rank; borrowed from the dataset */
} FwExamples;

/** Cut n rows into blocks and divide them over the ranks of `comm`; without inputs, x is NULL. Not collective. */
PetscErrorCode FwRowsDivide(MPI_Comm comm, PetscInt n, FwRows *rows);

/** First row of block b of rows; b may be n_block. */
PetscInt FwRowsBlock(const FwRows *rows, PetscInt b);

/** Bring the examples of a dataset to the ranks of `comm`.
 *
 * Each owner sends its examples to all in turn; memory of one slab beside the result. Keep the dataset while the examples
 * are used.
 *
 * @collective{data}, on the communicator of the dataset; every rank of it is in one `comm`
 * @param[in]  comm      the ranks that work on one network
 * @param[out] examples  release with FwExamplesDestroy()
 */
PetscErrorCode FwExamplesCreate(FwDataset data, MPI_Comm comm, FwExamples *examples);

/** Release the arrays. Not collective. */
PetscErrorCode FwExamplesDestroy(FwExamples *examples);
