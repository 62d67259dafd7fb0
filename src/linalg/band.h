#pragma once

/** @file
 * A symmetric matrix of bandwidth 64 in blocks, on every rank; the rotation that brings a block-cyclic matrix to it.
 *
 * Block row k has diagonal block D_k and, below it, E_k (upper triangular, or less in the last): block tridiagonal,
 * with row and column blocks of 64 but for the last.
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

/* --- what reduction and rotation share ---------------------------------------------------------------------- */

/* The ranks of this rank's row and column of the grid, in order */
typedef struct {
  MPI_Comm row, column;
} FwLines;

PetscErrorCode FwLinesCreate(FwGrid grid, FwLines *lines);
PetscErrorCode FwLinesDestroy(FwLines *lines);

/* Panel k: block column k below the band. The matrix to the right of it, from the panel's first row on, is called the
   trailing one. */
typedef struct {
  PetscInt    k;
  int         m, n_reflector;         /* rows; reflectors: 64, or less in the last panel */
  PetscMPIInt owner;                  /* process column that holds it */
  PetscBool   has_column, has_first;  /* whether this rank holds rows of it; whether it holds its first block */
  size_t      column;                 /* local column where it begins, on its owners */
  size_t      first, first_column;    /* local row and column where the trailing matrix begins */
  int         m_local, n_local;       /* size of this rank's part of the trailing matrix */
  int         leading, leading_panel; /* leading dimensions: of the matrix; of copies of panels, max(1, m_local) */
} FwPanel;

FwPanel FwPanelFind(FwMatrix a, PetscInt k);

/* Number of this process' blocks with index below `block` */
PetscInt FwBlocksBelow(PetscInt block, PetscMPIInt me, PetscMPIInt n_process);

/* This rank's rows of V, [n_reflector][m_local], from the process column that holds them; collective along the row */
PetscErrorCode FwPanelShare(FwMatrix a, const FwPanel *panel, const FwLines *lines, double v[]);

/* sum <- V^T C over this process column, [n_column][64]; both with m_local rows */
PetscErrorCode FwPanelMultiply(const FwPanel *panel, const FwLines *lines, const double v[], PetscInt n_column,
                               const double c[], int leading, double sum[]);
