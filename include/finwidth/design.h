/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The inputs of an experiment: a matrix X of n rows with d independent standard normal numbers each, and products with it.
 *
 * Rows are cut into blocks by their number (examples.h) and spread over the ranks; the numbers are those of a stream, and
 * sums over rows are added in the order of the blocks, so that every result has the same bits on any number of ranks.
 *
 * Least squares, conjugate gradients and message passing need the same thing: X W, something done to each row of it, and X^T
 * times the outcome. A pass does all three while some rows are in cache, so that X comes from memory once and not twice; with
 * several columns of W (several teachers on the same X) both halves are products of matrices.
 *
 * Where X is not kept it is drawn again at each pass, 3 ns a number, and takes the memory of 8 blocks.
 */

#include <finwidth/examples.h>
#include <finwidth/random.h>

typedef struct FwDesignImpl *FwDesign;

typedef struct {
  FwStream  stream;   /**< number i d + j is entry j of row i */
  PetscInt  n, d;     /**< rows >= 1, and inputs of each */
  double    constant; /**< a last entry of each row beside them, for an intercept; 0 for none */
  PetscInt  n_column; /**< columns of every W */
  PetscInt  n_scalar; /**< further numbers that a pass adds up */
  PetscBool is_kept;
} FwDesignPlan;

enum { FW_DESIGN_CHUNK = 8 }; /**< most blocks that FwDesignGetBlocks() gives at once */

/** Bytes that a design takes on a rank of n_rank. Not collective. */
double FwDesignBytes(const FwDesignPlan *plan, PetscInt n_rank);

/** Draw the inputs.
 *
 * @collective{comm}
 * @param[in]  comm    borrowed
 * @param[out] design  release with FwDesignDestroy()
 * @error FW_ERR_MEMORY  more columns and blocks than one message can hold
 */
PetscErrorCode FwDesignCreate(MPI_Comm comm, const FwDesignPlan *plan, FwDesign *design);

/** What it was made from; the division of its rows over the ranks (x is NULL); the numbers in a row, d or d + 1. Borrowed.
 *  Not collective. */
const FwDesignPlan *FwDesignGetPlan(FwDesign design);
const FwRows       *FwDesignRows(FwDesign design);
PetscInt            FwDesignWidth(FwDesign design);

/** Rows of local blocks b .. b + n - 1, n <= FW_DESIGN_CHUNK: [rows, width] row-major. Borrowed until the next call or pass.
 *  Not collective. */
PetscErrorCode FwDesignGetBlocks(FwDesign design, PetscInt b, PetscInt n, const double **x);

/** What a pass does to the products of some rows.
 *
 * @param[in]     first, n  of this rank's rows
 * @param[in,out] u         [n_column, n] X W / sqrt(d) of these rows (undefined where there is no W), to be replaced
 * @param[in,out] scalar    [n_scalar] to be added to
 */
typedef PetscErrorCode FwDesignMap(void *context, PetscInt first, PetscInt n, double u[], double scalar[]);

/** out = X^T map(X W / sqrt(d)) / sqrt(d).
 *
 * @collective{comm of the design}
 * @param[in]  w       [n_column, width], the same on every rank; NULL: the map makes up its products
 * @param[out] scalar  [n_scalar] sums over all rows, on every rank
 * @param[out] out     [n_column, width] on every rank, or NULL where only the map is wanted
 * @error whatever the map returns on any rank, on all
 * @cost 4 n d n_column operations; a chunk of X read once
 */
PetscErrorCode FwDesignPass(FwDesign design, const double w[], FwDesignMap *map, void *context, double scalar[],
                            double out[]);

/** Release and set the handle to NULL; NULL is fine. Collective. */
PetscErrorCode FwDesignDestroy(FwDesign *design);
