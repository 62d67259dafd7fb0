/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Cholesky factor of a block-cyclic matrix.
 */

#include <finwidth/cholesky.h>

#include "matrix_impl.h"

#include <math.h>

static const int one = 1;

struct FwCholeskyImpl {
  FwMatrix factor; /* lower triangle */
};

PetscErrorCode FwCholeskyCreate(FwMatrix *matrix, FwCholesky *factor)
{
  FwMatrix   a = *matrix;
  FwCholesky c;
  int        info;

  PetscFunctionBegin;
  if (a->grid->size == 1)
    dpotrf_("L", &a->n, a->value, &a->n, &info); /* twice as fast as ScaLAPACK's on one rank */
  else
    pdpotrf_("L", &a->n, a->value, &one, &one, a->desc, &info);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &info, 1, MPI_INT, MPI_MAX, a->grid->comm));
  PetscCheck(info <= 0, a->grid->comm, FW_ERR_NUMERICAL,
             "the matrix is not positive definite (pivot %d of %" PetscInt_FMT "): raise the temperature", info, a->n);
  PetscCall(PetscLogFlops(pow((double)a->n, 3.0) / 3.0 / a->grid->size));
  PetscCall(PetscNew(&c));
  c->factor = a;
  *matrix   = NULL;
  *factor   = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddLogDiagonal(const FwStrip *strip, void *context)
{
  FwCholesky factor = ((void **)context)[0];
  double    *sum    = ((void **)context)[1];

  PetscFunctionBegin;
  if (FwMatrixRow(factor->factor, strip->first) == strip->column) *sum += 2.0 * log(strip->value[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCholeskyLogDet(FwCholesky factor, double *log_det)
{
  void *context[2] = {factor, log_det};

  PetscFunctionBegin;
  *log_det = 0.0;
  PetscCall(FwMatrixVisit(factor->factor, FW_LOWER, AddLogDiagonal, context));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, log_det, 1, MPI_DOUBLE, MPI_SUM, factor->factor->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCholeskySolve(FwCholesky factor, FwMatrix b)
{
  FwMatrix l = factor->factor;
  int      info;

  PetscFunctionBegin;
  pdpotrs_("L", &l->n, &b->n, l->value, &one, &one, l->desc, b->value, &one, &one, b->desc, &info);
  PetscCheck(!info, l->grid->comm, PETSC_ERR_PLIB, "pdpotrs: argument %d", -info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCholeskyHalfSolve(FwCholesky factor, FwMatrix b)
{
  const double alpha = 1.0;
  FwMatrix     l     = factor->factor;

  PetscFunctionBegin;
  pdtrsm_("L", "L", "N", "N", &b->m, &b->n, &alpha, l->value, &one, &one, l->desc, b->value, &one, &one, b->desc);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCholeskyInverse(FwCholesky *factor, FwMatrix *inverse)
{
  FwMatrix l = (*factor)->factor;
  int      info;

  PetscFunctionBegin;
  if (l->grid->size == 1)
    dpotri_("L", &l->n, l->value, &l->n, &info);
  else
    pdpotri_("L", &l->n, l->value, &one, &one, l->desc, &info);
  PetscCheck(!info, l->grid->comm, FW_ERR_NUMERICAL, "the factor of the matrix is singular (pdpotri: %d)", info);
  PetscCall(PetscLogFlops(2.0 * pow((double)l->n, 3.0) / 3.0 / l->grid->size));
  *inverse          = l;
  (*factor)->factor = NULL;
  PetscCall(FwCholeskyDestroy(factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCholeskyDestroy(FwCholesky *factor)
{
  PetscFunctionBegin;
  if (!*factor) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMatrixDestroy(&(*factor)->factor));
  PetscCall(PetscFree(*factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}
