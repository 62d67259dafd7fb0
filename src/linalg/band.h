#pragma once

/** @file
 * A symmetric matrix of bandwidth 64 in blocks, on every rank, and the reduction of a block-cyclic matrix to it.
 *
 * Block row k has diagonal block D_k and, below it, E_k (upper triangular, or less in the last): block tridiagonal, with
 * row and column blocks of 64 but for the last.
 */

#include "matrix_impl.h"

enum { BLOCK_SIZE = BLOCK * BLOCK };

typedef struct {
  PetscInt n, n_block;
  double  *diagonal; /* [n_block][64 * 64] D_k, column-major, lower triangle; zero above */
  double  *below;    /* [n_block][64 * 64] E_k; the last one stands for nothing */
} FwBand;

/* The rotation U of K = U B U^T, as a product of block reflectors 1 - V T V^T */
typedef struct {
  FwMatrix v; /* V of panel k in columns 64 k .., from row 64 (k + 1) on: unit lower trapezoids, diagonal included */
  PetscInt n_panel;
  double  *t; /* [n_panel][64 * 64] T on every rank, upper triangular */
} FwReflectors;

PetscErrorCode FwBandCreate(PetscInt n, FwBand *band);
PetscErrorCode FwBandDestroy(FwBand *band);

/* Number of rows of block k */
PetscInt FwBandRows(const FwBand *band, PetscInt k);

/* Reduce a matrix (lower triangle), which is consumed. Collective. Cost 4/3 n^3 operations, in place */
PetscErrorCode FwBandReduce(FwMatrix *matrix, FwBand *band, FwReflectors *reflectors);

/* x <- U^T x, in place. Collective. Cost 2 n^2 operations a column */
PetscErrorCode FwReflectorsApply(const FwReflectors *reflectors, FwMatrix x);

PetscErrorCode FwReflectorsDestroy(FwReflectors *reflectors);
