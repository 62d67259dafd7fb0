/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Block Householder reduction of a symmetric block-cyclic matrix to bandwidth 64.
 *
 * For each block column, with A the trailing matrix:
 *
 *     panel = V R (QR),  Q = 1 - V T V^T,  X = A V T,  W = X - V (T^T V^T X) / 2,  A <- Q^T A Q = A - V W^T - W V^T.
 *
 * V stays where the panel was, R goes into the band. Tall thin matrices (V, X, W) are held twice: by the rows of the
 * trailing matrix that this rank holds (the same on all ranks of a process row), and by its columns (the same on all of
 * a process column). The products with A are then local, in blocks of 64 columns of the lower triangle, and run at the
 * rate of large products; PBLAS' symmetric ones reach two thirds of that.
 */

#include "band.h"

#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <math.h>
#include <petscblaslapack.h>

static const int         block_int = BLOCK;
static const PetscScalar one = 1.0, zero = 0.0, minus_one = -1.0;

typedef struct {
  FwMatrix a;
  FwBand  *band;
  FwLines  lines;
  double  *tau;  /* [n_local + 64] lengths of the reflectors, by local column of the panel */
  double  *work; /* of pdgeqrf */
  int      n_work;
  double  *rows, *columns; /* [128][m_local] V, W by rows, and [128][n_local] W, V by columns */
  double  *partial;        /* [64][n_local] part of A V, by columns */
  double  *diagonal, *sum; /* [64 * 64] each */
} Reducer;

/* --- the panel ---------------------------------------------------------------------------------------------- */

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
static void KeepTriangle(FwMatrix a, const FwPanel *p, FwBand *band)
{
  double *value = a->value + p->first + p->column * (size_t)a->m_local;

  if (!p->has_first) return;
  for (int j = 0; j < BLOCK; j++)
    for (int i = 0; i <= PetscMin(j, p->n_reflector - 1); i++) {
      double *entry = value + i + (size_t)j * a->m_local;

      band->below[(size_t)p->k * BLOCK_SIZE + i + j * BLOCK] = *entry;
      *entry                                                 = i == j ? 1.0 : 0.0;
    }
}

/* QR of the panel, by its process column. Where that is one rank, by LAPACK's recursive routine: level-3 products in
   place of 64 steps along the panel */
static PetscErrorCode FactorPanel(Reducer *r, const FwPanel *p)
{
  FwMatrix  a   = r->a;
  const int row = (int)(p->k + 1) * BLOCK + 1, column = (int)p->k * BLOCK + 1;
  int       info = 0;

  PetscFunctionBegin;
  if (a->grid->n_row > 1 || p->m < BLOCK) {
    pdgeqrf_(&p->m, &block_int, a->value, &row, &column, a->desc, r->tau, r->work, &r->n_work, &info);
  } else if (p->has_column) {
    dgeqrt3_(&p->m, &block_int, a->value + p->first + p->column * (size_t)a->m_local, &p->leading, r->sum, &block_int,
             &info);
    for (size_t j = 0; j < BLOCK; j++) r->tau[p->column + j] = r->sum[j * (BLOCK + 1)];
  }
  PetscCheck(!info, a->grid->comm, PETSC_ERR_PLIB, "QR of a panel: argument %d", -info);
  KeepTriangle(a, p, r->band);
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

/* V by rows, and T, on every rank */
static PetscErrorCode SharePanel(Reducer *r, const FwPanel *p, double t[])
{
  double tau[BLOCK] = {0.0};

  PetscFunctionBegin;
  if (p->has_column) PetscCall(PetscArraycpy(tau, r->tau + p->column, p->n_reflector));
  PetscCallMPI(MPI_Bcast(tau, BLOCK, MPI_DOUBLE, p->owner, r->lines.row));
  PetscCall(FwPanelShare(r->a, p, &r->lines, r->rows));
  PetscCall(FwPanelMultiply(p, &r->lines, r->rows, p->n_reflector, r->rows, p->leading_panel, r->sum));
  FillTriangle(p->n_reflector, r->sum, tau, t);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- from rows to columns and back -------------------------------------------------------------------------- */

/* Block row `block` of the matrix among this rank's rows of the trailing one; -1 where it is another rank's */
static int FindRows(FwMatrix a, const FwPanel *p, PetscInt block)
{
  const FwGrid g = a->grid;

  return block % g->n_row == g->my_row ? (int)((size_t)(block / g->n_row) * BLOCK - p->first) : -1;
}

/* Global index of the block that begins at local column `column` of the trailing matrix */
static PetscInt BlockOfColumn(FwMatrix a, const FwPanel *p, int column)
{
  return FwMatrixColumn(a, (PetscInt)p->first_column + column) / BLOCK;
}

/* A tall matrix that is held by rows, held by columns: each block by the rank that has it in both, then summed */
static PetscErrorCode ToColumns(Reducer *r, const FwPanel *p, const double rows[], double columns[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(columns, (size_t)p->n_reflector * (size_t)p->n_local));
  for (int c = 0; c < p->n_local; c += BLOCK) {
    const int row = FindRows(r->a, p, BlockOfColumn(r->a, p, c)), n = PetscMin(BLOCK, p->n_local - c);

    for (int j = 0; j < p->n_reflector && row >= 0; j++)
      PetscCall(
        PetscArraycpy(columns + c + (size_t)j * (size_t)p->n_local, rows + row + (size_t)j * (size_t)p->m_local, n));
  }
  if (r->a->grid->n_row > 1)
    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, columns, p->n_reflector * p->n_local, MPI_DOUBLE, MPI_SUM, r->lines.column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rows <- rows + columns: sums over the ranks of each, added up */
static PetscErrorCode SumParts(Reducer *r, const FwPanel *p, double rows[], double columns[])
{
  PetscFunctionBegin;
  if (r->a->grid->n_row > 1)
    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, columns, p->n_reflector * p->n_local, MPI_DOUBLE, MPI_SUM, r->lines.column));
  for (int c = 0; c < p->n_local; c += BLOCK) {
    const int row = FindRows(r->a, p, BlockOfColumn(r->a, p, c)), n = PetscMin(BLOCK, p->n_local - c);

    for (int j = 0; j < p->n_reflector && row >= 0; j++)
      for (int i = 0; i < n; i++)
        rows[row + i + (size_t)j * (size_t)p->m_local] += columns[c + i + (size_t)j * (size_t)p->n_local];
  }
  if (r->a->grid->n_col > 1)
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, rows, p->n_reflector * p->m_local, MPI_DOUBLE, MPI_SUM, r->lines.row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the trailing matrix ------------------------------------------------------------------------------------ */

/* Block column c of this rank's part of the trailing matrix */
typedef struct {
  double *value;        /* its entries from the diagonal block on */
  int     row, m, n;    /* local row where that is; rows below, with the diagonal block; columns */
  int     has_diagonal; /* whether its first block is the diagonal one */
} Column;

static Column FindColumn(Reducer *r, const FwPanel *p, int c)
{
  FwMatrix       a     = r->a;
  const PetscInt block = BlockOfColumn(a, p, c);
  Column         column;

  column.row =
    (int)(PetscMin((size_t)a->m_local, (size_t)FwBlocksBelow(block, a->grid->my_row, a->grid->n_row) * BLOCK) -
          p->first);
  column.m            = p->m_local - column.row;
  column.n            = PetscMin(BLOCK, p->n_local - c);
  column.has_diagonal = FindRows(a, p, block) >= 0;
  column.value        = a->value + p->first + column.row + (p->first_column + (size_t)c) * (size_t)a->m_local;
  return column;
}

/* rows += D V for the diagonal block, of which the lower triangle counts */
static PetscErrorCode MultiplyDiagonal(Reducer *r, const FwPanel *p, const Column *column, const double v[],
                                       double rows[])
{
  const int n = column->n;

  PetscFunctionBegin;
  for (int j = 0; j < n; j++)
    for (int i = j; i < n; i++)
      r->diagonal[i + j * BLOCK] = r->diagonal[j + i * BLOCK] = column->value[i + (size_t)j * (size_t)r->a->m_local];
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &n, &p->n_reflector, &n, &one, r->diagonal, &block_int, v + column->row,
                                      &p->leading_panel, &one, rows + column->row, &p->leading_panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rows + columns <- A V, block column by block column; what is below the diagonal stands for what is above, too */
static PetscErrorCode MultiplyTrailing(Reducer *r, const FwPanel *p, const double v[], const double v_columns[],
                                       double rows[], double columns[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(rows, (size_t)p->n_reflector * (size_t)p->m_local));
  PetscCall(PetscArrayzero(columns, (size_t)p->n_reflector * (size_t)p->n_local));
  for (int c = 0; c < p->n_local; c += BLOCK) {
    const Column  column = FindColumn(r, p, c);
    const int     skip = column.has_diagonal ? column.n : 0, m = column.m - skip, row = column.row + skip;
    const double *below = column.value + skip;

    if (column.has_diagonal) PetscCall(MultiplyDiagonal(r, p, &column, v, rows));
    if (m <= 0) continue;
    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &m, &p->n_reflector, &column.n, &one, below, &p->leading,
                                        v_columns + c, &p->n_local, &one, rows + row, &p->leading_panel));
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &column.n, &p->n_reflector, &m, &one, below, &p->leading, v + row,
                                        &p->leading_panel, &zero, columns + c, &p->n_local));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W by rows, behind V */
static PetscErrorCode MakeUpdate(Reducer *r, const FwPanel *p, const double t[])
{
  const PetscScalar half       = -0.5;
  const size_t      by_rows    = (size_t)p->n_reflector * (size_t)p->m_local;
  const size_t      by_columns = (size_t)p->n_reflector * (size_t)p->n_local;
  double           *v = r->rows, *w = r->rows + by_rows, *v_columns = r->columns + by_columns;

  PetscFunctionBegin;
  PetscCall(ToColumns(r, p, v, v_columns));
  PetscCall(MultiplyTrailing(r, p, v, v_columns, w, r->partial));
  PetscCall(SumParts(r, p, w, r->partial));
  if (p->m_local)
    PetscCallBLAS("dtrmm",
                  dtrmm_("R", "U", "N", "N", &p->m_local, &p->n_reflector, &one, t, &block_int, w, &p->leading_panel));
  PetscCall(FwPanelMultiply(p, &r->lines, v, p->n_reflector, w, p->leading_panel, r->sum));
  PetscCallBLAS("dtrmm",
                dtrmm_("L", "U", "T", "N", &p->n_reflector, &p->n_reflector, &one, t, &block_int, r->sum, &block_int));
  if (p->m_local)
    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &p->m_local, &p->n_reflector, &p->n_reflector, &half, v,
                                        &p->leading_panel, r->sum, &block_int, &one, w, &p->leading_panel));
  PetscCall(ToColumns(r, p, w, r->columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A <- A - (V, W) (W, V)^T; above the diagonal of the diagonal blocks stands nothing that anybody looks at */
static PetscErrorCode UpdateTrailing(Reducer *r, const FwPanel *p)
{
  const int both = 2 * p->n_reflector;

  PetscFunctionBegin;
  for (int c = 0; c < p->n_local; c += BLOCK) {
    const Column column = FindColumn(r, p, c);

    if (column.m > 0)
      PetscCallBLAS("BLASgemm",
                    BLASgemm_("N", "T", &column.m, &column.n, &both, &minus_one, r->rows + column.row,
                              &p->leading_panel, r->columns + c, &p->n_local, &one, column.value, &p->leading));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReducePanel(Reducer *r, PetscInt k, double t[])
{
  const FwPanel p = FwPanelFind(r->a, k);

  PetscFunctionBegin;
  PetscCall(FactorPanel(r, &p));
  PetscCall(SharePanel(r, &p, t));
  PetscCall(MakeUpdate(r, &p, t));
  PetscCall(UpdateTrailing(r, &p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all panels --------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateReducer(FwMatrix a, FwBand *band, Reducer *r)
{
  const size_t rows = (size_t)a->m_local, columns = (size_t)a->n_local;

  PetscFunctionBegin;
  *r        = (Reducer){.a = a, .band = band};
  r->n_work = BLOCK * (int)(a->m_local + 4 * BLOCK); /* documented: 64 (rows + columns + 64) */
  PetscCall(FwLinesCreate(a->grid, &r->lines));
  PetscCall(PetscCalloc2(columns + BLOCK, &r->tau, r->n_work, &r->work));
  PetscCall(PetscMalloc5(2 * BLOCK * rows, &r->rows, 2 * BLOCK * columns, &r->columns, BLOCK * columns, &r->partial,
                         BLOCK_SIZE, &r->diagonal, BLOCK_SIZE, &r->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyReducer(Reducer *r)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(r->tau, r->work));
  PetscCall(PetscFree5(r->rows, r->columns, r->partial, r->diagonal, r->sum));
  PetscCall(FwLinesDestroy(&r->lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over ranks, of which one at most has something else than zero: exact, so the same bits on all */
static PetscErrorCode ShareBand(MPI_Comm comm, FwBand *band)
{
  const PetscInt at_once = 1024; /* blocks in one message: 32 MiB */

  PetscFunctionBegin;
  for (PetscInt k = 0; k < band->n_block; k += at_once) {
    const int    count = (int)(PetscMin(at_once, band->n_block - k) * BLOCK_SIZE);
    const size_t first = (size_t)k * BLOCK_SIZE;

    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, band->diagonal + first, count, MPI_DOUBLE, MPI_SUM, comm));
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, band->below + first, count, MPI_DOUBLE, MPI_SUM, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReductionBegin(FwMatrix *matrix, const double before[2], FwReduction *reduction)
{
  FwMatrix a = *matrix;

  PetscFunctionBegin;
  *reduction = (FwReduction){
    .reflectors = {.v = a    },
      .before = { before[0], before[1]}
  };
  *matrix = NULL;
  PetscCall(FwBandCreate(a->n, &reduction->band));
  reduction->reflectors.n_panel = reduction->band.n_block - 1;
  PetscCall(PetscCalloc1((size_t)reduction->reflectors.n_panel * BLOCK_SIZE, &reduction->reflectors.t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A write may cost a twentieth of the time between two of them */
static const double intervals_per_write = 20.0;

typedef struct {
  const FwSpectrumKeep *keep;
  PetscLogDouble        last;     /* when the file was written */
  double                interval; /* until the next time */
} Clock;

/* A file that cannot be written ends a run that has been asked to stop; another goes on without */
static PetscErrorCode KeepNow(FwReduction *r, Clock *clock, PetscBool stop)
{
  PetscLogDouble begin;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscTime(&begin));
  code = FwReductionSave(r, clock->keep->path, clock->keep->digest);
  if (stop) PetscCall(code);
  PetscCheck(!stop, FwGridComm(r->reflectors.v->grid), FW_ERR_STOPPED,
             "stopped early after %" PetscInt_FMT " of %" PetscInt_FMT
             " block columns, which '%s' keeps: run the same command with -resume",
             r->n_done, r->band.n_block, clock->keep->path);
  if (code) PetscCall(FwWarn("the reduction goes on without a checkpoint: %s", FwErrorMessage()));
  if (code) FwErrorClear();
  PetscCall(PetscTime(&clock->last));
  clock->interval = PetscMax(clock->keep->interval, intervals_per_write * (clock->last - begin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KeepWhenDue(FwReduction *r, Clock *clock)
{
  const MPI_Comm comm = FwGridComm(r->reflectors.v->grid);
  PetscLogDouble now;
  PetscBool      stop = PETSC_FALSE;
  int            is_due;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(comm, &stop));
  PetscCall(PetscTime(&now));
  is_due = now - clock->last > clock->interval;
  PetscCallMPI(MPI_Bcast(&is_due, 1, MPI_INT, 0, comm));
  if (is_due || stop) PetscCall(KeepNow(r, clock, stop));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What remains, in units of the whole */
static double CostLeft(const FwReduction *r)
{
  return pow(1.0 - (double)r->n_done / (double)r->band.n_block, 3.0);
}

PetscErrorCode FwReductionRun(FwReduction *reduction, const FwSpectrumKeep *keep)
{
  enum { PER_MILLE = 1000 };
  const double cost  = CostLeft(reduction);
  FwMatrix     a     = reduction->reflectors.v;
  FwBand      *band  = &reduction->band;
  Clock        clock = {.keep = keep, .interval = keep ? keep->interval : 0.0};
  Reducer      r;
  FwProgress   progress;

  PetscFunctionBegin;
  PetscCall(CreateReducer(a, band, &r));
  PetscCall(PetscTime(&clock.last));
  PetscCall(FwProgressBegin("reduction", PER_MILLE, &progress));
  while (reduction->n_done < band->n_block) {
    const PetscInt k = reduction->n_done++;

    KeepDiagonal(a, k, band);
    if (k < reduction->reflectors.n_panel)
      PetscCall(ReducePanel(&r, k, reduction->reflectors.t + (size_t)k * BLOCK_SIZE));
    PetscCall(FwProgressStep(progress, (PetscInt64)(PER_MILLE * (1.0 - CostLeft(reduction) / cost))));
    if (keep && reduction->n_done < band->n_block) PetscCall(KeepWhenDue(reduction, &clock));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(DestroyReducer(&r));
  PetscCall(ShareBand(a->grid->comm, band));
  PetscCall(PetscLogFlops(4.0 / 3.0 * (double)a->n * (double)a->n * (double)a->n / a->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}
