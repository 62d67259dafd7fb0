/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Eigenvalues and eigenvectors of a symmetric block-cyclic matrix, by divide and conquer: LAPACK's on one rank, ELPA's or
 * ScaLAPACK's on several.
 */

#include "eigen_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int      one               = 1;
static const PetscInt smallest_for_elpa = 1024;

static PetscErrorCode CallEigen(FwMatrix a, double value[], FwMatrix z, double *work, int n_work, int *iwork,
                                int n_iwork)
{
  int info;

  PetscFunctionBegin;
  pdsyevd_("V", "L", &a->n, a->value, &one, &one, a->desc, value, z->value, &one, &one, z->desc, work, &n_work, iwork,
           &n_iwork, &info);
  PetscCheck(!info, a->grid->comm, FW_ERR_NUMERICAL, "the eigenvalues of the kernel did not converge (pdsyevd: %d)",
             info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The documented workspace is too small for pdstedc in ScaLAPACK 2.2 (its issue 74): twice that is enough. For small
   matrices it is too small for pdormtr, which then leaves wrong vectors behind and no error: two blocks more. */
static PetscErrorCode Decompose(FwMatrix a, double value[], FwMatrix z)
{
  double size, *work;
  int    isize, *iwork, n_work, n_iwork, ok;

  PetscFunctionBegin;
  PetscCall(CallEigen(a, value, z, &size, -1, &isize, -1));
  size    = 2.0 * size + BLOCK * (2.0 * BLOCK + a->m_local + a->n_local);
  ok      = size < 2147483647.0;
  n_work  = ok ? (int)size : 0;
  n_iwork = 2 * isize + 64;
  work    = malloc((size_t)n_work * sizeof *work);
  iwork   = malloc((size_t)n_iwork * sizeof *iwork);
  ok      = ok && work && iwork;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, a->grid->comm));
  PetscCheck(ok, a->grid->comm, FW_ERR_MEMORY, "the eigenvectors need %.1f GiB of workspace a rank: use more ranks",
             size * 8.0 / 1073741824.0);
  PetscCall(CallEigen(a, value, z, work, n_work, iwork, n_iwork));
  free(work);
  free(iwork);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* LAPACK on the one rank that there is: faster, and the vectors take the matrix' place */
static PetscErrorCode DecomposeLocal(FwMatrix a, double value[])
{
  const double size    = 1.0 + 6.0 * a->n + 2.0 * (double)a->n * a->n;
  const int    n_iwork = 3 + 5 * a->n, n_work = size < 2147483647.0 ? (int)size : 0;
  double      *work  = malloc((size_t)n_work * sizeof *work);
  int         *iwork = malloc((size_t)n_iwork * sizeof *iwork), info;

  PetscFunctionBegin;
  PetscCheck(n_work && work && iwork, a->grid->comm, FW_ERR_MEMORY,
             "the eigenvectors need %.1f GiB of workspace: use more ranks", size * 8.0 / 1073741824.0);
  dsyevd_("V", "L", &a->n, a->value, &a->n, value, work, &n_work, iwork, &n_iwork, &info);
  PetscCheck(!info, a->grid->comm, FW_ERR_NUMERICAL, "the eigenvalues of the kernel did not converge (dsyevd: %d)",
             info);
  free(work);
  free(iwork);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ELPA or ScaLAPACK, on several ranks: measured, see docs/scaling.md. The environment overrides; but ELPA aborts where a
   rank has no part of the matrix. */
static PetscErrorCode WantsElpa(FwMatrix a, PetscBool *wants)
{
  const PetscInt n_block = (a->n + BLOCK - 1) / BLOCK, n_needed = PetscMax(a->grid->n_row, a->grid->n_col);
  const char    *name = getenv("FINWIDTH_EIGENSOLVER");

  PetscFunctionBegin;
  *wants = fw_has_elpa && a->n >= smallest_for_elpa ? PETSC_TRUE : PETSC_FALSE;
  if (name) {
    PetscCheck(!strcmp(name, "elpa") || !strcmp(name, "scalapack"), a->grid->comm, FW_ERR_INPUT,
               "FINWIDTH_EIGENSOLVER is '%s', want elpa or scalapack", name);
    *wants = strcmp(name, "elpa") ? PETSC_FALSE : PETSC_TRUE;
  }
  if (n_block < n_needed) *wants = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DecomposeSpread(FwMatrix a, double value[], FwMatrix z)
{
  PetscBool by_elpa = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(WantsElpa(a, &by_elpa));
  PetscCall(by_elpa ? FwEigenByElpa(a, value, z) : Decompose(a, value, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixEigen(FwMatrix *matrix, double value[], FwMatrix *vectors)
{
  FwMatrix    a = *matrix;
  PetscMPIInt n;
  double      trace, square;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(a->n, &n));
  PetscCall(FwMatrixInvariants(a, &trace, &square));
  if (a->grid->size == 1) {
    PetscCall(DecomposeLocal(a, value));
    *vectors = a;
    *matrix  = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwMatrixCreate(a->grid, a->n, a->n, vectors));
  PetscCall(DecomposeSpread(a, value, *vectors));
  /* decisions are taken on these numbers: every rank must have the same bits */
  PetscCallMPI(MPI_Bcast(value, n, MPI_DOUBLE, 0, a->grid->comm));
  PetscCall(FwMatrixDestroy(matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}
