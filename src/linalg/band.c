/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Band matrices, panels of reflectors, and the rotation that they make up.
 */

#include "band.h"

#include <petscblaslapack.h>

static const int         block_int = BLOCK;
static const PetscScalar one = 1.0, zero = 0.0, minus_one = -1.0;

/* --- the band ----------------------------------------------------------------------------------------------- */

PetscErrorCode FwBandCreate(PetscInt n, FwBand *band)
{
  PetscFunctionBegin;
  band->n       = n;
  band->n_block = (n + BLOCK - 1) / BLOCK;
  PetscCall(PetscCalloc2((size_t)band->n_block * BLOCK_SIZE, &band->diagonal, (size_t)band->n_block * BLOCK_SIZE,
                         &band->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBandDestroy(FwBand *band)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(band->diagonal, band->below));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwBandRows(const FwBand *band, PetscInt k)
{
  return PetscMin(BLOCK, band->n - k * BLOCK);
}

/* --- panels ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwLinesCreate(FwGrid grid, FwLines *lines)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_split(grid->comm, grid->my_row, grid->my_col, &lines->row));
  PetscCallMPI(MPI_Comm_split(grid->comm, grid->my_col, grid->my_row, &lines->column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLinesDestroy(FwLines *lines)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_free(&lines->row));
  PetscCallMPI(MPI_Comm_free(&lines->column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwBlocksBelow(PetscInt block, PetscMPIInt me, PetscMPIInt n_process)
{
  return (block - me + n_process - 1) / n_process;
}

FwPanel FwPanelFind(FwMatrix a, PetscInt k)
{
  const FwGrid g = a->grid;
  FwPanel      p = {.k = k, .m = (int)(a->n - (k + 1) * BLOCK), .owner = (PetscMPIInt)(k % g->n_col)};

  p.n_reflector   = PetscMin(p.m, BLOCK);
  p.has_column    = p.owner == g->my_col ? PETSC_TRUE : PETSC_FALSE;
  p.has_first     = p.has_column && (k + 1) % g->n_row == g->my_row ? PETSC_TRUE : PETSC_FALSE;
  p.column        = (size_t)(k / g->n_col) * BLOCK;
  p.first         = (size_t)PetscMin(a->m_local, FwBlocksBelow(k + 1, g->my_row, g->n_row) * BLOCK);
  p.first_column  = (size_t)PetscMin(a->n_local, FwBlocksBelow(k + 1, g->my_col, g->n_col) * BLOCK);
  p.m_local       = a->m_local - (int)p.first;
  p.n_local       = a->n_local - (int)p.first_column;
  p.leading       = PetscMax(1, a->m_local);
  p.leading_panel = PetscMax(1, p.m_local);
  return p;
}

PetscErrorCode FwPanelShare(FwMatrix a, const FwPanel *p, const FwLines *lines, double v[])
{
  PetscFunctionBegin;
  for (int j = 0; j < p->n_reflector && p->has_column; j++)
    PetscCall(PetscArraycpy(v + (size_t)j * (size_t)p->m_local,
                            a->value + p->first + (p->column + (size_t)j) * (size_t)a->m_local, p->m_local));
  PetscCallMPI(MPI_Bcast(v, p->n_reflector * p->m_local, MPI_DOUBLE, p->owner, lines->row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelMultiply(const FwPanel *p, const FwLines *lines, const double v[], PetscInt n_column,
                               const double c[], int leading, double sum[])
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(n_column * BLOCK, &count));
  PetscCall(PetscArrayzero(sum, count));
  if (p->m_local && n_column)
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &p->n_reflector, &n_column, &p->m_local, &one, v, &p->leading_panel,
                                        c, &leading, &zero, sum, &block_int));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, count, MPI_DOUBLE, MPI_SUM, lines->column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the rotation ------------------------------------------------------------------------------------------- */

/* x <- x - V T^T V^T x for one panel; room for V in `v`, for V^T x in `y` */
static PetscErrorCode ApplyPanel(const FwReflectors *u, PetscInt k, const FwLines *lines, FwMatrix x, double v[],
                                 double y[])
{
  const FwPanel p       = FwPanelFind(u->v, k);
  const int     leading = PetscMax(1, x->m_local);
  double       *rows    = x->value + p.first;

  PetscFunctionBegin;
  PetscCall(FwPanelShare(u->v, &p, lines, v));
  PetscCall(FwPanelMultiply(&p, lines, v, x->n_local, rows, leading, y));
  if (!p.m_local || !x->n_local) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallBLAS("dtrmm", dtrmm_("L", "U", "T", "N", &p.n_reflector, &x->n_local, &one, u->t + (size_t)k * BLOCK_SIZE,
                                &block_int, y, &block_int));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &p.m_local, &x->n_local, &p.n_reflector, &minus_one, v,
                                      &p.leading_panel, y, &block_int, &one, rows, &leading));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReflectorsApply(const FwReflectors *u, FwMatrix x)
{
  FwLines lines;
  double *v, *y;

  PetscFunctionBegin;
  PetscCall(FwLinesCreate(x->grid, &lines));
  PetscCall(PetscMalloc2((size_t)x->m_local * BLOCK, &v, (size_t)x->n_local * BLOCK, &y));
  for (PetscInt k = 0; k < u->n_panel; k++) PetscCall(ApplyPanel(u, k, &lines, x, v, y));
  PetscCall(PetscFree2(v, y));
  PetscCall(FwLinesDestroy(&lines));
  PetscCall(PetscLogFlops(2.0 * (double)x->m * (double)x->m * (double)x->n / x->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReflectorsDestroy(FwReflectors *u)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixDestroy(&u->v));
  PetscCall(PetscFree(u->t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
