/** @file
 * Block Householder reduction of a symmetric block-cyclic matrix to bandwidth 64.
 *
 * For each block column, with A the trailing matrix below the band:
 *
 *     panel = V R (QR),  Q = 1 - V T V^T,  X = A V T,  W = X - V (T^T V^T X) / 2,  A <- Q^T A Q = A - V W^T - W V^T.
 *
 * V stays where the panel was, R goes into the band. T comes from the reflectors' lengths and V^T V, which every rank
 * gets, so that the products with T are local.
 */

#include "band.h"

#include <petscblaslapack.h>
#include <stdlib.h>
#include <string.h>

static const int         one_int = 1, zero_int = 0, block_int = BLOCK;
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

/* Sum over ranks, of which one at most has something else than zero: exact, so the same bits on all */
static PetscErrorCode ShareBand(MPI_Comm comm, FwBand *band)
{
  const PetscInt at_once = 1024; /* blocks in one message: 32 MiB */

  PetscFunctionBegin;
  for (PetscInt k = 0; k < band->n_block; k += at_once) {
    const int count = (int)(PetscMin(at_once, band->n_block - k) * BLOCK_SIZE);

    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, band->diagonal + (size_t)k * BLOCK_SIZE, count, MPI_DOUBLE, MPI_SUM, comm));
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, band->below + (size_t)k * BLOCK_SIZE, count, MPI_DOUBLE, MPI_SUM, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one panel ---------------------------------------------------------------------------------------------- */

typedef struct {
  FwMatrix a;
  FwBand  *band;
  double  *tau;  /* [n_local + 64] lengths of the reflectors, by local column of the panel */
  double  *x;    /* [64][m_local] X, then W */
  double  *work; /* of pdgeqrf */
  int      n_work;
  double  *product, *sum; /* [64 * 64 + 64] each */
} Reducer;

/* Where panel k is on this rank */
typedef struct {
  PetscInt  k;
  int       row, column;           /* global, from 1, of its first entry */
  int       m, n_reflector;        /* rows; reflectors: 64, or less in the last panel */
  PetscBool has_column, has_first; /* whether this rank holds rows of it; whether it holds its first block */
  int       m_local, leading;
  size_t    first, column_local; /* local row and column where its part begins */
} Panel;

/* Number of this process' blocks with index below `block` */
static PetscInt BlocksBelow(PetscInt block, PetscMPIInt me, PetscMPIInt n_process)
{
  return (block - me + n_process - 1) / n_process;
}

static Panel FindPanel(FwMatrix a, PetscInt k)
{
  const FwGrid g = a->grid;
  Panel p = {.k = k, .row = (int)(k + 1) * BLOCK + 1, .column = (int)k * BLOCK + 1, .m = (int)(a->n - (k + 1) * BLOCK)};

  p.n_reflector  = PetscMin(p.m, BLOCK);
  p.has_column   = k % g->n_col == g->my_col ? PETSC_TRUE : PETSC_FALSE;
  p.has_first    = p.has_column && (k + 1) % g->n_row == g->my_row ? PETSC_TRUE : PETSC_FALSE;
  p.first        = (size_t)PetscMin(a->m_local, BlocksBelow(k + 1, g->my_row, g->n_row) * BLOCK);
  p.column_local = (size_t)(k / g->n_col) * BLOCK;
  p.m_local      = a->m_local - (int)p.first;
  p.leading      = PetscMax(1, a->m_local);
  return p;
}

/* This rank's part of V */
static double *PanelValue(FwMatrix a, const Panel *p)
{
  return a->value + p->first + p->column_local * (size_t)a->m_local;
}

/* Diagonal block k from the matrix to the band */
static void KeepDiagonal(FwMatrix a, PetscInt k, FwBand *band)
{
  const FwGrid   g    = a->grid;
  const PetscInt rows = FwBandRows(band, k);
  const double  *from;

  if (k % g->n_row != g->my_row || k % g->n_col != g->my_col) return;
  from = a->value + (size_t)(k / g->n_row) * BLOCK + (size_t)(k / g->n_col) * BLOCK * (size_t)a->m_local;
  for (PetscInt j = 0; j < rows; j++)
    for (PetscInt i = j; i < rows; i++)
      band->diagonal[(size_t)k * BLOCK_SIZE + i + j * BLOCK] = from[i + (size_t)j * a->m_local];
}

/* R from the panel's first block to the band; in its place the ones and zeros of V */
static void KeepTriangle(FwMatrix a, const Panel *p, FwBand *band)
{
  double *value = PanelValue(a, p);

  if (!p->has_first) return;
  for (int j = 0; j < BLOCK; j++)
    for (int i = 0; i <= PetscMin(j, p->n_reflector - 1); i++) {
      double *entry = value + i + (size_t)j * a->m_local;

      band->below[(size_t)p->k * BLOCK_SIZE + i + j * BLOCK] = *entry;
      *entry                                                 = i == j ? 1.0 : 0.0;
    }
}

static PetscErrorCode FactorPanel(Reducer *r, const Panel *p)
{
  FwMatrix a = r->a;
  int      info;

  PetscFunctionBegin;
  pdgeqrf_(&p->m, &block_int, a->value, &p->row, &p->column, a->desc, r->tau, r->work, &r->n_work, &info);
  PetscCheck(!info, a->grid->comm, PETSC_ERR_PLIB, "pdgeqrf: argument %d", -info);
  KeepTriangle(a, p, r->band);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* sum <- V^T C over this process column, on every rank; C has the rows of V */
static PetscErrorCode MultiplyPanel(Reducer *r, const Panel *p, const double c[])
{
  const double *v = PanelValue(r->a, p);

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(r->product, BLOCK_SIZE));
  if (p->has_column && p->m_local)
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &p->n_reflector, &p->n_reflector, &p->m_local, &one, v, &p->leading,
                                        c, &p->leading, &zero, r->product, &block_int));
  PetscCallMPI(MPI_Allreduce(r->product, r->sum, BLOCK_SIZE + BLOCK, MPI_DOUBLE, MPI_SUM, r->a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T from V^T V and the lengths, column by column; a length of zero (the panel has lost rank) leaves its row and column
   zero */
static void FillTriangle(int n, const double gram[], const double tau[], double t[])
{
  for (int j = 0; j < n; j++) {
    for (int i = 0; i < j; i++) {
      double sum = 0.0;

      for (int l = i; l < j; l++) sum += t[i + l * BLOCK] * gram[l + j * BLOCK];
      t[i + j * BLOCK] = -tau[j] * sum;
    }
    t[j + j * BLOCK] = tau[j];
  }
}

static PetscErrorCode MakeTriangle(Reducer *r, const Panel *p, double t[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(r->product + BLOCK_SIZE, BLOCK));
  if (p->has_first) PetscCall(PetscArraycpy(r->product + BLOCK_SIZE, r->tau + p->column_local, p->n_reflector));
  PetscCall(MultiplyPanel(r, p, PanelValue(r->a, p)));
  FillTriangle(p->n_reflector, r->sum, r->sum + BLOCK_SIZE, t);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W on the process column of the panel, in r->x */
static PetscErrorCode MakeUpdate(Reducer *r, const Panel *p, const double t[], int desc_x[])
{
  const PetscScalar half = -0.5;
  FwMatrix          a    = r->a;
  double           *x    = r->x + p->first;

  PetscFunctionBegin;
  pdsymm_("L", "L", &p->m, &p->n_reflector, &one, a->value, &p->row, &p->row, a->desc, a->value, &p->row, &p->column,
          a->desc, &zero, r->x, &p->row, &one_int, desc_x);
  if (p->has_column && p->m_local)
    PetscCallBLAS("dtrmm",
                  dtrmm_("R", "U", "N", "N", &p->m_local, &p->n_reflector, &one, t, &block_int, x, &p->leading));
  PetscCall(MultiplyPanel(r, p, x));
  if (!p->has_column || !p->m_local) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallBLAS("dtrmm",
                dtrmm_("L", "U", "T", "N", &p->n_reflector, &p->n_reflector, &one, t, &block_int, r->sum, &block_int));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &p->m_local, &p->n_reflector, &p->n_reflector, &half, PanelValue(a, p),
                                      &p->leading, r->sum, &block_int, &one, x, &p->leading));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReducePanel(Reducer *r, PetscInt k, double t[])
{
  const Panel p     = FindPanel(r->a, k);
  FwMatrix    a     = r->a;
  const int   owner = (int)(k % a->grid->n_col);
  int         desc_x[DESC_SIZE], info;

  PetscFunctionBegin;
  descinit_(desc_x, &a->n, &block_int, &block_int, &block_int, &zero_int, &owner, &a->grid->context, &p.leading, &info);
  PetscCheck(!info, a->grid->comm, PETSC_ERR_PLIB, "descinit: argument %d", -info);
  PetscCall(FactorPanel(r, &p));
  PetscCall(MakeTriangle(r, &p, t));
  PetscCall(MakeUpdate(r, &p, t, desc_x));
  pdsyr2k_("L", "N", &p.m, &p.n_reflector, &minus_one, a->value, &p.row, &p.column, a->desc, r->x, &p.row, &one_int,
           desc_x, &one, a->value, &p.row, &p.row, a->desc);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all panels --------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateReducer(FwMatrix a, FwBand *band, Reducer *r)
{
  PetscFunctionBegin;
  *r        = (Reducer){.a = a, .band = band};
  r->n_work = BLOCK * (int)(a->m_local + 4 * BLOCK); /* documented: 64 (rows + columns + 64) */
  PetscCall(PetscCalloc5((size_t)a->n_local + BLOCK, &r->tau, (size_t)a->m_local * BLOCK, &r->x, r->n_work, &r->work,
                         BLOCK_SIZE + BLOCK, &r->product, BLOCK_SIZE + BLOCK, &r->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyReducer(Reducer *r)
{
  PetscFunctionBegin;
  PetscCall(PetscFree5(r->tau, r->x, r->work, r->product, r->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwBandReduce(FwMatrix *matrix, FwBand *band, FwReflectors *reflectors)
{
  FwMatrix a = *matrix;
  Reducer  r;

  PetscFunctionBegin;
  PetscCall(FwBandCreate(a->n, band));
  *reflectors = (FwReflectors){.v = a, .n_panel = band->n_block - 1};
  *matrix     = NULL;
  PetscCall(PetscCalloc1((size_t)reflectors->n_panel * BLOCK_SIZE, &reflectors->t));
  PetscCall(CreateReducer(a, band, &r));
  for (PetscInt k = 0; k < band->n_block; k++) {
    KeepDiagonal(a, k, band);
    if (k < reflectors->n_panel) PetscCall(ReducePanel(&r, k, reflectors->t + (size_t)k * BLOCK_SIZE));
  }
  PetscCall(DestroyReducer(&r));
  PetscCall(ShareBand(a->grid->comm, band));
  PetscCall(PetscLogFlops(4.0 / 3.0 * (double)a->n * (double)a->n * (double)a->n / a->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the rotation ------------------------------------------------------------------------------------------- */

/* x <- x - V T^T V^T x for one panel; y has 64 rows and as many columns as x */
static PetscErrorCode ApplyPanel(const FwReflectors *u, PetscInt k, FwMatrix x, FwMatrix y)
{
  const Panel p       = FindPanel(u->v, k);
  const int   n_local = y->n_local, leading = PetscMax(1, y->m_local);

  PetscFunctionBegin;
  pdgemm_("T", "N", &p.n_reflector, &x->n, &p.m, &one, u->v->value, &p.row, &p.column, u->v->desc, x->value, &p.row,
          &one_int, x->desc, &zero, y->value, &one_int, &one_int, y->desc);
  if (y->m_local && n_local)
    PetscCallBLAS("dtrmm", dtrmm_("L", "U", "T", "N", &p.n_reflector, &n_local, &one, u->t + (size_t)k * BLOCK_SIZE,
                                  &block_int, y->value, &leading));
  pdgemm_("N", "N", &p.m, &x->n, &p.n_reflector, &minus_one, u->v->value, &p.row, &p.column, u->v->desc, y->value,
          &one_int, &one_int, y->desc, &one, x->value, &p.row, &one_int, x->desc);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReflectorsApply(const FwReflectors *u, FwMatrix x)
{
  FwMatrix y;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(x->grid, BLOCK, x->n, &y));
  for (PetscInt k = 0; k < u->n_panel; k++) PetscCall(ApplyPanel(u, k, x, y));
  PetscCall(FwMatrixDestroy(&y));
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
