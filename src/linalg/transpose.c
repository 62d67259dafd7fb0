/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Transposes by PBLAS.
 */

#include <finwidth/transpose.h>

#include "matrix_impl.h"

static const int one = 1;

PetscErrorCode FwMatrixTranspose(FwMatrix a, FwMatrix *transpose)
{
  const double alpha = 1.0, beta = 0.0;
  FwMatrix     b;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(a->grid, a->n, a->m, &b));
  if (b->m && b->n) pdtran_(&b->m, &b->n, &alpha, a->value, &one, &one, a->desc, &beta, b->value, &one, &one, b->desc);
  *transpose = b;
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwMatrix matrix, transpose;
} CopyContext;

static PetscErrorCode CopyAboveDiagonal(const FwStrip *strip, void *user)
{
  const CopyContext *context = (const CopyContext *)user;
  const double      *source  = FwMatrixStrip(context->transpose, strip->first, strip->column_local);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n && FwMatrixRow(context->matrix, strip->first + i) < strip->column; i++)
    strip->value[i] = source[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixSymmetrise(FwMatrix a)
{
  CopyContext context = {.matrix = a};

  PetscFunctionBegin;
  PetscAssert(a->m == a->n, a->grid->comm, PETSC_ERR_ARG_SIZ, "the matrix is not square");
  PetscCall(FwMatrixTranspose(a, &context.transpose));
  PetscCall(FwMatrixVisit(a, FW_WHOLE, CopyAboveDiagonal, &context));
  PetscCall(FwMatrixDestroy(&context.transpose));
  PetscFunctionReturn(PETSC_SUCCESS);
}
