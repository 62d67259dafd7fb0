/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Block-cyclic matrices: life, access, products.
 */

#include "slabs.h"

#include <petscblaslapack.h>
#include <stdlib.h>
#include <string.h>

static const int one = 1, zero = 0;

/* PBLAS asks this Fortran function for its logical block; 32 where nobody answers. 64 suits factorisations. Products of
   long matrices go over the inner dimension in steps of this size, and are half as fast again in longer ones. The
   executable's definition goes before the library's. */
int pilaenv_(const int *context, const char *precision);

enum { BLOCK_OF_PRODUCTS = 512 };

static int logical_block = BLOCK;

int pilaenv_(const int *context, const char *precision)
{
  (void)context;
  (void)precision;
  return logical_block;
}

static PetscErrorCode CreateUntouched(FwGrid grid, PetscInt m, PetscInt n, PetscInt block, FwMatrix *matrix)
{
  FwMatrix a;
  int      info, leading, ok;
  double   share;

  PetscFunctionBegin;
  PetscCall(PetscNew(&a));
  a->grid    = grid;
  a->m       = m;
  a->n       = n;
  a->block   = block;
  a->m_local = numroc_(&m, &block, &grid->my_row, &zero, &grid->n_row);
  a->n_local = numroc_(&n, &block, &grid->my_col, &zero, &grid->n_col);
  share      = (double)a->m_local * (double)a->n_local;
  leading    = PetscMax(1, a->m_local);
  ok         = share < 2147483647.0;
  if (ok) {
    a->value = malloc(PetscMax((size_t)share, 1) * sizeof *a->value);
    ok       = a->value != NULL;
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, grid->comm));
  PetscCheck(ok, grid->comm, FW_ERR_MEMORY,
             "a %" PetscInt_FMT " x %" PetscInt_FMT " matrix needs %.1f GiB on each of %d ranks: use more ranks", m, n,
             share * 8.0 / 1073741824.0, grid->size);
  descinit_(a->desc, &m, &n, &block, &block, &zero, &zero, &grid->context, &leading, &info);
  PetscCheck(!info, grid->comm, PETSC_ERR_PLIB, "descinit: argument %d", -info);
  *matrix = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixCreateUninitialised(FwGrid grid, PetscInt m, PetscInt n, FwMatrix *matrix)
{
  PetscFunctionBegin;
  PetscCall(CreateUntouched(grid, m, n, BLOCK, matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixCreate(FwGrid grid, PetscInt m, PetscInt n, FwMatrix *matrix)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixCreateInBlocks(grid, m, n, BLOCK, matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixCreateInBlocks(FwGrid grid, PetscInt m, PetscInt n, PetscInt block, FwMatrix *matrix)
{
  PetscFunctionBegin;
  PetscCall(CreateUntouched(grid, m, n, block, matrix));
  memset((*matrix)->value, 0, (size_t)(*matrix)->m_local * (size_t)(*matrix)->n_local * sizeof(double));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows `first` to `first + m - 1` of what is spread in slabs */
static PetscErrorCode CreateFromRows(FwGrid grid, PetscInt first, PetscInt m, const FwSlabs *slabs, FwMatrix *matrix)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixCreateUninitialised(grid, m, slabs->n, matrix));
  PetscCall(FwSlabsMove(PETSC_TRUE, *matrix, slabs->block, (double *)(uintptr_t)(slabs->value + first), slabs->m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixCreateFromSlab(FwGrid grid, const FwSlabs *slabs, FwMatrix *matrix)
{
  PetscFunctionBegin;
  PetscCall(CreateFromRows(grid, 0, slabs->m, slabs, matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixCreateFromCopy(FwGrid grid, PetscInt m, PetscInt n, const double copy[], FwMatrix *matrix)
{
  FwMatrix a;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreateUninitialised(grid, m, n, &a));
  FwMatrixSet(a, copy);
  *matrix = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwMatrixSet(FwMatrix a, const double copy[])
{
  for (PetscInt j = 0; j < a->n_local; j++)
    for (PetscInt i = 0; i < a->m_local; i++)
      a->value[i + (size_t)j * a->m_local] = copy[FwMatrixRow(a, i) + (size_t)FwMatrixColumn(a, j) * a->m];
}

PetscErrorCode FwMatrixGather(FwMatrix a, double copy[])
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(a->m * a->n, &count));
  PetscCall(PetscArrayzero(copy, count));
  for (PetscInt j = 0; j < a->n_local; j++)
    for (PetscInt i = 0; i < a->m_local; i++)
      copy[FwMatrixRow(a, i) + (size_t)FwMatrixColumn(a, j) * a->m] = a->value[i + (size_t)j * a->m_local];
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, copy, count, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixGetSize(FwMatrix matrix, PetscInt *m, PetscInt *n, PetscInt *m_local, PetscInt *n_local)
{
  PetscFunctionBegin;
  if (m) *m = matrix->m;
  if (n) *n = matrix->n;
  if (m_local) *m_local = matrix->m_local;
  if (n_local) *n_local = matrix->n_local;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt ToGlobal(PetscInt local, PetscInt block, PetscMPIInt process, PetscMPIInt n_process)
{
  return (local / block * n_process + process) * block + local % block;
}

PetscInt FwMatrixRow(FwMatrix matrix, PetscInt local)
{
  return ToGlobal(local, matrix->block, matrix->grid->my_row, matrix->grid->n_row);
}

PetscInt FwMatrixColumn(FwMatrix matrix, PetscInt local)
{
  return ToGlobal(local, matrix->block, matrix->grid->my_col, matrix->grid->n_col);
}

double *FwMatrixStrip(FwMatrix matrix, PetscInt row_local, PetscInt column_local)
{
  return matrix->value + row_local + (size_t)column_local * matrix->m_local;
}

FwGrid FwMatrixGrid(FwMatrix matrix)
{
  return matrix->grid;
}

/* Local rows are ordered by global index: the first one at or below the diagonal, by the block it lies in */
static PetscInt FirstRowFrom(FwMatrix a, PetscInt global)
{
  const PetscInt block = global / a->block, n_row = a->grid->n_row, my_row = a->grid->my_row;
  const PetscInt below = (block - my_row + n_row - 1) / n_row; /* local blocks before the one that could hold it */
  const PetscInt first = block < my_row ? 0 : below * a->block;

  return PetscMin(a->m_local, first + (block >= my_row && (block - my_row) % n_row == 0 ? global % a->block : 0));
}

PetscErrorCode FwMatrixVisit(FwMatrix a, FwTriangle triangle, FwStripFunction *function, void *context)
{
  PetscFunctionBegin;
  for (PetscInt j = 0; j < a->n_local; j++) {
    const PetscInt column = FwMatrixColumn(a, j), first = triangle == FW_LOWER ? FirstRowFrom(a, column) : 0;
    const FwStrip  strip = {.column_local = j,
                            .column       = column,
                            .first        = first,
                            .n            = a->m_local - first,
                            .value        = a->value + first + (size_t)j * a->m_local};

    if (strip.n > 0) PetscCall(function(&strip, context));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On one rank BLAS itself is asked: PBLAS' blocks cost it a third of its speed */

/* C <- alpha A^T A + beta C */
static PetscErrorCode AddGram(double alpha, FwMatrix a, double beta, FwMatrix c)
{
  const int lda = PetscMax(1, a->m_local), ldc = PetscMax(1, c->m_local);

  PetscFunctionBegin;
  PetscAssert(c->m == a->n && c->n == a->n, a->grid->comm, PETSC_ERR_ARG_SIZ, "sizes do not fit");
  logical_block = BLOCK_OF_PRODUCTS;
  if (a->grid->size == 1)
    PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "T", &a->n, &a->m, &alpha, a->value, &lda, &beta, c->value, &ldc));
  else
    pdsyrk_("L", "T", &a->n, &a->m, &alpha, a->value, &one, &one, a->desc, &beta, c->value, &one, &one, c->desc);
  logical_block = BLOCK;
  PetscCall(PetscLogFlops((double)a->n * (double)a->n * (double)a->m / a->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixGram(double alpha, FwMatrix a, FwMatrix c)
{
  PetscFunctionBegin;
  PetscCall(AddGram(alpha, a, 0.0, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C <- alpha A^T B or alpha A B, + beta C */
static PetscErrorCode AddProduct(PetscBool transpose, double alpha, FwMatrix a, FwMatrix b, double beta, FwMatrix c)
{
  const char *form = transpose ? "T" : "N";
  const int   lda = PetscMax(1, a->m_local), ldb = PetscMax(1, b->m_local), ldc = PetscMax(1, c->m_local);

  PetscFunctionBegin;
  if (!c->m || !c->n) PetscFunctionReturn(PETSC_SUCCESS);
  logical_block = BLOCK_OF_PRODUCTS;
  if (a->grid->size == 1)
    PetscCallBLAS("BLASgemm", BLASgemm_(form, "N", &c->m, &c->n, &b->m, &alpha, a->value, &lda, b->value, &ldb, &beta,
                                        c->value, &ldc));
  else
    pdgemm_(form, "N", &c->m, &c->n, &b->m, &alpha, a->value, &one, &one, a->desc, b->value, &one, &one, b->desc, &beta,
            c->value, &one, &one, c->desc);
  logical_block = BLOCK;
  PetscCall(PetscLogFlops(2.0 * (double)c->m * (double)c->n * (double)b->m / a->grid->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixMultiply(PetscBool transpose, double alpha, FwMatrix a, FwMatrix b, FwMatrix c)
{
  PetscFunctionBegin;
  PetscCall(AddProduct(transpose, alpha, a, b, 0.0, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of slabs that are spread at a time: their copies, and those that PBLAS sends around, stay far below a rank's share
   of the product */
static PetscInt RowsAtOnce(PetscInt n)
{
  return PetscMax(BLOCK, PetscMin(BLOCK_OF_PRODUCTS, n / 8 / BLOCK * BLOCK));
}

PetscErrorCode FwMatrixGramOfSlabs(double alpha, const FwSlabs *slabs, FwMatrix c)
{
  const PetscInt at_once = RowsAtOnce(c->n);
  FwMatrix       a;

  PetscFunctionBegin;
  for (PetscInt row = 0; row < slabs->m; row += at_once) {
    PetscCall(CreateFromRows(c->grid, row, PetscMin(at_once, slabs->m - row), slabs, &a));
    PetscCall(AddGram(alpha, a, row ? 1.0 : 0.0, c));
    PetscCall(FwMatrixDestroy(&a));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixProductOfSlabs(double alpha, const FwSlabs *left, const FwSlabs *right, FwMatrix c)
{
  const PetscInt at_once = RowsAtOnce(c->m);
  FwMatrix       a, b;

  PetscFunctionBegin;
  for (PetscInt row = 0; row < left->m; row += at_once) {
    const PetscInt m = PetscMin(at_once, left->m - row);

    PetscCall(CreateFromRows(c->grid, row, m, left, &a));
    PetscCall(CreateFromRows(c->grid, row, m, right, &b));
    PetscCall(AddProduct(PETSC_TRUE, alpha, a, b, row ? 1.0 : 0.0, c));
    PetscCall(FwMatrixDestroy(&a));
    PetscCall(FwMatrixDestroy(&b));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CopyColumns(FwMatrix from, FwMatrix to, PetscInt first)
{
  /* bands of rows, as for slabs */
  const PetscInt band = PetscMax(BLOCK, (PetscInt)((1 << 26) / PetscMax(from->n, 1) / BLOCK * BLOCK));

  for (PetscInt row = 0; row < from->m && from->n > 0; row += band)
    Cpdgemr2d(PetscMin(band, from->m - row), from->n, from->value, (int)row + 1, 1, from->desc, to->value, (int)row + 1,
              (int)first + 1, to->desc, from->grid->context);
}

PetscErrorCode FwMatrixJoin(FwMatrix *a, FwMatrix *b, FwMatrix *joined)
{
  PetscFunctionBegin;
  PetscAssert((*a)->m == (*b)->m, (*a)->grid->comm, PETSC_ERR_ARG_SIZ, "sizes do not fit");
  PetscCall(FwMatrixCreateUninitialised((*a)->grid, (*a)->m, (*a)->n + (*b)->n, joined));
  CopyColumns(*a, *joined, 0);
  CopyColumns(*b, *joined, (*a)->n);
  PetscCall(FwMatrixDestroy(a));
  PetscCall(FwMatrixDestroy(b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rows of `weight` that this rank holds, [n_weight][m_local] */
static void LocalWeights(FwMatrix a, PetscInt n_weight, const double weight[], double local[])
{
  for (PetscInt c = 0; c < n_weight; c++)
    for (PetscInt i = 0; i < a->m_local; i++)
      local[i + (size_t)c * a->m_local] = weight[FwMatrixRow(a, i) + (size_t)c * a->m];
}

/* [n_column][n_weight]: products of the weights with some columns of numbers, [n_column][rows] */
static PetscErrorCode MultiplyColumns(PetscBLASInt rows, PetscBLASInt n_weight, const double weight[],
                                      PetscBLASInt n_column, const double value[], double product[])
{
  const PetscScalar  one_real = 1.0, zero_real = 0.0;
  const PetscBLASInt leading = PetscMax(1, rows);

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n_weight, &n_column, &rows, &one_real, weight, &leading, value,
                                      &leading, &zero_real, product, &n_weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixColumnSums(FwMatrix a, PetscInt power, PetscInt n_weight, const double weight[], double out[])
{
  enum { AT_ONCE = 64 }; /* columns: their squares stay in cache */
  const size_t rows = (size_t)a->m_local;
  double      *local, *square, *product;
  PetscMPIInt  n_sum;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(n_weight * a->n, &n_sum));
  PetscCall(PetscArrayzero(out, n_sum));
  PetscCall(PetscMalloc3(n_weight * rows, &local, AT_ONCE * rows, &square, n_weight * AT_ONCE, &product));
  LocalWeights(a, n_weight, weight, local);
  for (PetscInt j = 0; j < a->n_local && rows; j += AT_ONCE) {
    const PetscInt n_column = PetscMin(AT_ONCE, a->n_local - j);
    const double  *column   = a->value + (size_t)j * rows;

    for (size_t i = 0; i < n_column * rows && power == 2; i++) square[i] = column[i] * column[i];
    PetscCall(MultiplyColumns(a->m_local, n_weight, local, n_column, power == 2 ? square : column, product));
    for (PetscInt k = 0; k < n_column; k++)
      for (PetscInt c = 0; c < n_weight; c++)
        out[FwMatrixColumn(a, j + k) + (size_t)c * a->n] = product[c + (size_t)k * n_weight];
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, out, n_sum, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscCall(PetscFree3(local, square, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixGroupGram(FwMatrix a, PetscInt size, double out[])
{
  const PetscScalar  one_real = 1.0, zero_real = 0.0;
  const PetscBLASInt k = a->m_local, n = size, leading = PetscMax(1, a->m_local);
  PetscMPIInt        count;

  PetscFunctionBegin;
  PetscAssert(a->block % size == 0, a->grid->comm, PETSC_ERR_ARG_SIZ, "a group is divided over ranks");
  PetscCall(PetscMPIIntCast(a->n * size, &count));
  PetscCall(PetscArrayzero(out, count));
  for (PetscInt j = 0; j < a->n_local && k; j += size) {
    const double *column = a->value + (size_t)j * a->m_local;
    double       *square = out + (size_t)FwMatrixColumn(a, j) * size;

    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n, &n, &k, &one_real, column, &leading, column, &leading, &zero_real,
                                        square, &n));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, out, count, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwMatrix matrix;
  PetscInt n;
  double  *sum;
} Traces;

static PetscErrorCode AddToTrace(const FwStrip *strip, void *context)
{
  const Traces *t = (const Traces *)context;

  PetscFunctionBegin;
  if (FwMatrixRow(t->matrix, strip->first) == strip->column) t->sum[strip->column % t->n] += strip->value[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixTraces(FwMatrix a, PetscInt n, double trace[])
{
  Traces context = {.matrix = a, .n = n, .sum = trace};

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(trace, n));
  PetscCall(FwMatrixVisit(a, FW_LOWER, AddToTrace, &context));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, trace, n, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixTrace(FwMatrix a, double *trace)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixTraces(a, 1, trace));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixDestroy(FwMatrix *matrix)
{
  PetscFunctionBegin;
  if (!*matrix) PetscFunctionReturn(PETSC_SUCCESS);
  free((*matrix)->value);
  PetscCall(PetscFree(*matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}
