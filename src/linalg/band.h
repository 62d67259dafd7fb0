/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A symmetric matrix of bandwidth 64 in blocks, on every rank; the rotation that brings a block-cyclic matrix to it.
 *
 * Block row k has diagonal block D_k and, below it, E_k (upper triangular, or less in the last): block tridiagonal,
 * with row and column blocks of 64 but for the last.
 */

#include <finwidth/spectrum.h>

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

/* A reduction under way, in place: block columns below n_done are in the band, on the ranks that own its blocks; the rest
   is still in the matrix, `reflectors.v` */
typedef struct {
  FwBand       band;
  FwReflectors reflectors;
  PetscInt     n_done;
  double       before[2]; /* trace and sum of squares of the kernel */
} FwReduction;

/* Begin with a matrix (lower triangle), which is consumed. Collective */
PetscErrorCode FwReductionBegin(FwMatrix *matrix, const double before[2], FwReduction *reduction);

/* Go on to the end; then every rank has the whole band. With `keep`, what is done goes into its file from time to time,
   and a request to stop is heard between block columns (FW_ERR_STOPPED). Collective. Cost 4/3 n^3 operations in all */
PetscErrorCode FwReductionRun(FwReduction *reduction, const FwSpectrumKeep *keep);

/* band_file.c: write what is done, and read it again, on any number of ranks. Collective. FW_ERR_FILE where a file cannot
   be written or read, is damaged, or belongs to another digest */
PetscErrorCode FwReductionSave(FwReduction *reduction, const char path[], const char digest[]);
PetscErrorCode FwReductionLoad(FwGrid grid, const char path[], const char digest[], FwReduction *reduction);

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
