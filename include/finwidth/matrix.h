/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Block-cyclic matrices: a thin type of our own over ScaLAPACK descriptors, with access to the local entries, which
 * PETSc's MATSCALAPACK does not give.
 *
 * Entries are doubles; blocks are 64 x 64 unless asked for otherwise. The local part is column-major; its rows and columns are in increasing order
 * of their global index. Symmetric matrices keep the lower triangle only; what stands above is not looked at.
 */

#include <finwidth/grid.h>

typedef struct FwMatrixImpl *FwMatrix;

/** Which entries a map visits. */
typedef enum { FW_WHOLE, FW_LOWER } FwTriangle;

/** The rows of one column that a rank holds, from `first` on; contiguous in memory. */
typedef struct {
  PetscInt column_local, column; /**< index of the column on this rank, and in the matrix */
  PetscInt first;                /**< local index of the first row of the strip */
  PetscInt n;                    /**< number of rows */
  double  *value;                /**< [n], may be changed */
} FwStrip;

/** Work on one strip; not collective. */
typedef PetscErrorCode FwStripFunction(const FwStrip *strip, void *context);

/** Create an m x n matrix of zeros.
 *
 * @collective{grid}
 * @param[out] matrix  release with FwMatrixDestroy(), as those of all functions below
 * @error FW_ERR_MEMORY  a rank's share does not fit in memory, or passes what ScaLAPACK's 32-bit indices can count
 */
PetscErrorCode FwMatrixCreate(FwGrid grid, PetscInt m, PetscInt n, FwMatrix *matrix);

/** The same in blocks of another size, of which all matrices of one product or solve must be: rows and columns that belong
 *  together stay on one rank. Collective.
 * @error FW_ERR_MEMORY  likewise */
PetscErrorCode FwMatrixCreateInBlocks(FwGrid grid, PetscInt m, PetscInt n, PetscInt block, FwMatrix *matrix);

/** Set all entries from a copy, column-major, that every rank holds. Not collective. */
void FwMatrixSet(FwMatrix matrix, const double copy[]);

/** An m x n matrix whose columns are spread over the ranks in slabs, as a dataset holds its examples: rank r has columns
 *  r * block and up to `block` of them, column-major, in `value`. */
typedef struct {
  PetscInt      m, n, block;
  const double *value;
} FwSlabs;

/** Create such a matrix in blocks. Collective. */
PetscErrorCode FwMatrixCreateFromSlab(FwGrid grid, const FwSlabs *slabs, FwMatrix *matrix);

/** Create an m x n matrix from a copy, column-major, that every rank holds. Collective. */
PetscErrorCode FwMatrixCreateFromCopy(FwGrid grid, PetscInt m, PetscInt n, const double copy[], FwMatrix *matrix);

/** Give every rank a full copy, [m * n] column-major: for small matrices and tests. Collective. */
PetscErrorCode FwMatrixGather(FwMatrix matrix, double copy[]);

/** Sizes, in the matrix and on this rank; NULL for what is not wanted. Not collective. */
PetscErrorCode FwMatrixGetSize(FwMatrix matrix, PetscInt *m, PetscInt *n, PetscInt *m_local, PetscInt *n_local);

/** Global index of a local row or column. Not collective. */
PetscInt FwMatrixRow(FwMatrix matrix, PetscInt local);
PetscInt FwMatrixColumn(FwMatrix matrix, PetscInt local);

/** The entries of a local column from a local row on: the same strip of another matrix of the same size and grid while one
 *  is visited. Borrowed. */
double *FwMatrixStrip(FwMatrix matrix, PetscInt row_local, PetscInt column_local);

/** The grid a matrix lives on. Borrowed. */
FwGrid FwMatrixGrid(FwMatrix matrix);

/** Visit the local entries, one column after the other.
 *
 * Not collective, so that ranks with more entries hold up nobody; the first error ends the visit of its rank.
 *
 * @param[in] triangle  FW_LOWER: only rows with index >= that of the column
 */
PetscErrorCode FwMatrixVisit(FwMatrix matrix, FwTriangle triangle, FwStripFunction *function, void *context);

/** C <- alpha A^T A, the lower triangle of a symmetric matrix; A is k x n, C is n x n. Collective. Cost n^2 k flops. */
PetscErrorCode FwMatrixGram(double alpha, FwMatrix a, FwMatrix c);

/** C <- alpha A^T B (`transpose`) or alpha A B. Collective. */
PetscErrorCode FwMatrixMultiply(PetscBool transpose, double alpha, FwMatrix a, FwMatrix b, FwMatrix c);

/** C <- alpha A^T A, the lower triangle, and C <- alpha A^T B, for A and B in slabs. They go some rows at a time: never is
 *  there a second copy of either. Collective. */
PetscErrorCode FwMatrixGramOfSlabs(double alpha, const FwSlabs *a, FwMatrix c);
PetscErrorCode FwMatrixProductOfSlabs(double alpha, const FwSlabs *a, const FwSlabs *b, FwMatrix c);

/** The columns of a, then those of b, as one matrix; both are consumed, their handles set to NULL. Collective. */
PetscErrorCode FwMatrixJoin(FwMatrix *a, FwMatrix *b, FwMatrix *joined);

/** Sum over the rows, for each column j, of weight[i][c] * a_ij^power, for n_weight weights at once:
 *  out[c * n + j] = sum_i weight[c * m + i] a_ij^power, power 1 or 2; every rank holds `weight` and gets `out`.
 *
 * @collective{matrix}
 */
PetscErrorCode FwMatrixColumnSums(FwMatrix a, PetscInt power, PetscInt n_weight, const double weight[], double out[]);

/** For each group of `size` columns that follow each other, by which blocks are divisible, its Gram matrix A_g^T A_g:
 *  out[g][size][size], on every rank. Collective. */
PetscErrorCode FwMatrixGroupGram(FwMatrix a, PetscInt size, double out[]);

/** Sum of the diagonal entries of a square matrix, on every rank; and n sums, each over every n-th of them: trace[c] over
 *  those with index c modulo n. Collective. */
PetscErrorCode FwMatrixTrace(FwMatrix a, double *trace);
PetscErrorCode FwMatrixTraces(FwMatrix a, PetscInt n, double trace[]);

/** All eigenvalues (ascending, the same bits on every rank) and eigenvectors of a symmetric matrix.
 *
 * @collective{matrix}
 * @param[in,out] matrix   n x n, lower triangle; destroyed, the handle set to NULL
 * @param[out]    value    [n]
 * @param[out]    vectors  n x n, column j belongs to value[j]
 * @error FW_ERR_NUMERICAL  LAPACK did not converge, or the matrix holds a NaN
 */
PetscErrorCode FwMatrixEigen(FwMatrix *matrix, double value[], FwMatrix *vectors);

/** Release a matrix and set the handle to NULL; NULL is fine. Not collective. */
PetscErrorCode FwMatrixDestroy(FwMatrix *matrix);
