/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Prototypes of the Fortran and C routines of BLACS, PBLAS and ScaLAPACK that we call: Debian ships no header.
 */

#include <mpi.h>

enum { DESC_SIZE = 9 };

int  Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int n_row, int n_col);
void Cblacs_gridinfo(int context, int *n_row, int *n_col, int *my_row, int *my_col);
void Cblacs_set(int context, int what, const int *value);
void Cblacs_gridexit(int context);

int  numroc_(const int *n, const int *nb, const int *process, const int *source, const int *n_process);
void descinit_(int desc[], const int *m, const int *n, const int *mb, const int *nb, const int *row_source,
               const int *column_source, const int *context, const int *leading, int *info);
void Cpdgemr2d(int m, int n, const double *a, int ia, int ja, const int *desc_a, double *b, int ib, int jb,
               const int *desc_b, int context);

void pdsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha, const double *a,
             const int *ia, const int *ja, const int *desc_a, const double *beta, double *c, const int *ic,
             const int *jc, const int *desc_c);
void pdgemm_(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k, const double *alpha,
             const double *a, const int *ia, const int *ja, const int *desc_a, const double *b, const int *ib,
             const int *jb, const int *desc_b, const double *beta, double *c, const int *ic, const int *jc,
             const int *desc_c);
void pdtran_(const int *m, const int *n, const double *alpha, const double *a, const int *ia, const int *ja,
             const int *desc_a, const double *beta, double *c, const int *ic, const int *jc, const int *desc_c);
void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc, int *info);
void pdpotri_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc, int *info);
void pdpotrs_(const char *uplo, const int *n, const int *n_rhs, const double *a, const int *ia, const int *ja,
              const int *desc_a, double *b, const int *ib, const int *jb, const int *desc_b, int *info);
void pdtrsm_(const char *side, const char *uplo, const char *trans, const char *diag, const int *m, const int *n,
             const double *alpha, const double *a, const int *ia, const int *ja, const int *desc_a, double *b,
             const int *ib, const int *jb, const int *desc_b);
void pdsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *ia, const int *ja,
              const int *desc_a, double *w, double *z, const int *iz, const int *jz, const int *desc_z, double *work,
              const int *lwork, int *iwork, const int *liwork, int *info);

void pdgeqrf_(const int *m, const int *n, double *a, const int *ia, const int *ja, const int *desc, double *tau,
              double *work, const int *lwork, int *info);
void pdsytrd_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc, double *d,
              double *e, double *tau, double *work, const int *lwork, int *info);
void pdormtr_(const char *side, const char *uplo, const char *trans, const int *m, const int *n, const double *a,
              const int *ia, const int *ja, const int *desc_a, const double *tau, double *c, const int *ic,
              const int *jc, const int *desc_c, double *work, const int *lwork, int *info);
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info);
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dgeqrt3_(const int *m, const int *n, double *a, const int *lda, double *t, const int *ldt, int *info);
void dtrmm_(const char *side, const char *uplo, const char *trans, const char *diag, const int *m, const int *n,
            const double *alpha, const double *a, const int *lda, double *b, const int *ldb);
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);
