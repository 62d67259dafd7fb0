/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The posterior of the readout given the hidden layers: Gaussian, so exact.
 */

#include "potential_impl.h"
#include <finwidth/dense.h>
#include <math.h>

FwBlock FwPotentialBlock(FwPotential p, PetscInt b)
{
  const FwRows  *rows  = &p->examples.train;
  const PetscInt first = FwRowsBlock(rows, rows->first_block + b), end = FwRowsBlock(rows, rows->first_block + b + 1);

  return (FwBlock){.first = first - rows->first, .n = end - first};
}

PetscErrorCode FwPotentialGatherRows(FwPotential p, const FwRows *rows, PetscInt width, double value[])
{
  MPI_Datatype row; /* counts are of rows: of numbers they need not fit an int */

  PetscFunctionBegin;
  if (p->n_rank == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Type_contiguous((int)width, MPI_DOUBLE, &row));
  PetscCallMPI(MPI_Type_commit(&row));
  for (PetscMPIInt q = 0; q < p->n_rank; q++) {
    const PetscInt first = FwRowsBlock(rows, (PetscInt)((PetscInt64)rows->n_block * q / p->n_rank));
    const PetscInt end   = FwRowsBlock(rows, (PetscInt)((PetscInt64)rows->n_block * (q + 1) / p->n_rank));

    p->count[q]  = (PetscMPIInt)(end - first);
    p->offset[q] = (PetscMPIInt)first;
  }
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, value, p->count, p->offset, row, p->comm));
  PetscCallMPI(MPI_Type_free(&row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialResiduals(FwPotential p, const double v[], double *square)
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt D = p->n_output, F = p->n_feature;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock  block = FwPotentialBlock(p, b);
    const PetscInt n     = block.n * D;
    const size_t   at    = (size_t)(rows->first + block.first) * (size_t)D;
    double        *r     = p->dual + at;

    PetscCall(PetscArraycpy(r, p->y + at, n));
    FwGemm("T", "N", D, block.n, F, -1.0, v, F, p->feature + (size_t)block.first * (size_t)F, F, 1.0, r, D);
    *FwBlockSumSlot(&p->scalar_sum, b, square) = FwDot(n, r, r);
    FwBlockSumAdd(&p->scalar_sum, b, square);
    for (PetscInt i = 0; i < n; i++) r[i] /= p->temperature;
  }
  PetscCall(FwBlockSumFinish(&p->scalar_sum, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cholesky factor of matrix + T in place; log det is not finite where there is none */
static PetscErrorCode Factor(PetscInt n, double temperature, double matrix[], double *log_det)
{
  PetscBLASInt info;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) matrix[(size_t)i * (size_t)(n + 1)] += temperature;
  LAPACKpotrf_("L", &n, matrix, &n, &info);
  *log_det = info ? INFINITY : 0.0;
  for (PetscInt i = 0; i < n; i++) *log_det += 2.0 * log(matrix[(size_t)i * (size_t)(n + 1)]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(PetscInt n, const double factor[], PetscInt n_column, double x[])
{
  PetscBLASInt info;

  PetscFunctionBegin;
  LAPACKpotrs_("L", &n, &n_column, factor, &n, x, &n, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dpotrs: argument %d", (int)-info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the F x F form ------------------------------------------------------------------------------------------- */

/* Phi^T Phi, lower triangle, and Phi^T y */
static PetscErrorCode Moments(FwPotential p)
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt D = p->n_output, F = p->n_feature;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);
    const double *phi   = p->feature + (size_t)block.first * (size_t)F;
    const double *y     = p->y + (size_t)(rows->first + block.first) * (size_t)D;
    double       *slot  = FwBlockSumSlot(&p->moment_sum, b, p->factor);

    FwSyrk("N", F, block.n, 1.0, phi, F, 0.0, slot, F);
    FwGemm("N", "T", F, D, block.n, 1.0, phi, F, y, D, 0.0, slot + (size_t)F * (size_t)F, F);
    FwBlockSumAdd(&p->moment_sum, b, p->factor);
  }
  PetscCall(FwBlockSumFinish(&p->moment_sum, p->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y^T A^-1 y = min over V of |y - Phi V|^2 / T + |V|^2: a sum of squares, where the difference of moments would cancel */
static PetscErrorCode ConditionPrimal(FwPotential p, double *log_det, double *square)
{
  const PetscInt n = p->n_output * p->n_feature;
  double         residual;

  PetscFunctionBegin;
  PetscCall(Moments(p));
  PetscCall(Factor(p->n_feature, p->temperature, p->factor, log_det));
  *log_det += (double)(p->examples.train.n - p->n_feature) * log(p->temperature);
  if (!isfinite(*log_det)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArraycpy(p->readout, p->factor + (size_t)p->n_feature * (size_t)p->n_feature, n));
  PetscCall(Solve(p->n_feature, p->factor, p->n_output, p->readout));
  PetscCall(FwPotentialResiduals(p, p->readout, &residual));
  *square = residual / p->temperature + FwDot(n, p->readout, p->readout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the P x P form ------------------------------------------------------------------------------------------- */

/* Lower triangle of Phi Phi^T by block columns, of which every rank makes its own */
static PetscErrorCode Gram(FwPotential p)
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt P = rows->n, F = p->n_feature;

  PetscFunctionBegin;
  PetscCall(FwPotentialGatherRows(p, rows, F, p->storage));
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock  block = FwPotentialBlock(p, b);
    const PetscInt first = rows->first + block.first, below = first + block.n;
    const double  *phi    = p->storage + (size_t)first * (size_t)F;
    double        *column = p->factor + (size_t)first * (size_t)P;

    FwSyrk("T", block.n, F, 1.0, phi, F, 0.0, column + first, P);
    FwGemm("T", "N", P - below, block.n, F, 1.0, p->storage + (size_t)below * (size_t)F, F, phi, F, 0.0, column + below,
           P);
  }
  PetscCall(FwPotentialGatherRows(p, rows, P, p->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Transpose(PetscInt n_row, PetscInt n_column, const double in[], double out[])
{
  for (PetscInt i = 0; i < n_row; i++)
    for (PetscInt j = 0; j < n_column; j++) out[(size_t)j * (size_t)n_row + i] = in[(size_t)i * (size_t)n_column + j];
}

/* A^-1, both triangles, from the factor, in place */
static PetscErrorCode Invert(PetscInt n, double a[])
{
  PetscBLASInt info;

  PetscFunctionBegin;
  LAPACKpotri_("L", &n, a, &n, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dpotri: %d", (int)info);
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < j; i++) a[(size_t)j * (size_t)n + i] = a[(size_t)i * (size_t)n + j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ConditionDual(FwPotential p, double *log_det, double *square)
{
  const PetscInt P = p->examples.train.n, D = p->n_output, F = p->n_feature;

  PetscFunctionBegin;
  PetscCall(Gram(p));
  PetscCall(Factor(P, p->temperature, p->factor, log_det));
  if (!isfinite(*log_det)) PetscFunctionReturn(PETSC_SUCCESS);
  Transpose(P, D, p->y, p->column);
  PetscCall(Solve(P, p->factor, D, p->column));
  Transpose(D, P, p->column, p->dual);
  *square = FwDot(P * D, p->y, p->dual);
  FwGemm("N", "T", F, D, P, 1.0, p->storage, F, p->dual, D, 0.0, p->readout, F);
  PetscCall(Invert(P, p->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- both ----------------------------------------------------------------------------------------------------- */

PetscErrorCode FwPotentialCondition(FwPotential p, double *energy)
{
  double log_det, square = INFINITY;

  PetscFunctionBegin;
  PetscCall((p->is_dual ? ConditionDual : ConditionPrimal)(p, &log_det, &square));
  *energy = 0.5 * ((double)p->n_output * log_det + square);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialSolveBlock(FwPotential p, FwBlock block, double scale)
{
  const PetscInt P = p->examples.train.n, F = p->n_feature;
  const size_t   n   = (size_t)block.n * (size_t)F;
  const double  *phi = p->feature + (size_t)block.first * (size_t)F;

  PetscFunctionBegin;
  if (p->is_dual) {
    FwGemm("N", "N", F, block.n, P, scale, p->storage, F,
           p->factor + (size_t)(p->examples.train.first + block.first) * (size_t)P, P, 0.0, p->pass.work, F);
  } else {
    for (size_t i = 0; i < n; i++) p->pass.work[i] = scale * phi[i];
    PetscCall(Solve(F, p->factor, block.n, p->pass.work));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
