/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The largest eigenvalues of the sampled covariance of the first layer's weights.
 *
 * Noise of the mean C of n chains pushes its largest eigenvalues up, to second order. The jackknife over chains takes that
 * off: n lambda(C) - (n - 1) mean_c lambda(C without chain c). To first order lambda is v^T C v, which gives the error bar
 * block by block.
 */

#include "measured_impl.h"

#include <petscblaslapack.h>

/* Eigenvalues of a dense matrix [n, n], of which the lower triangle counts; its columns become the vectors, ascending */
static PetscErrorCode Decompose(PetscInt n, double matrix[], double value[])
{
  PetscBLASInt order, size, info;
  double      *work;

  PetscFunctionBegin;
  PetscCall(PetscBLASIntCast(n, &order));
  PetscCall(PetscBLASIntCast(34 * n, &size));
  PetscCall(PetscMalloc1(size, &work));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "L", &order, matrix, &order, value, work, &size, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dsyev: info %d", (int)info);
  PetscCall(PetscFree(work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean of all chains but `without` (none for -1) */
static void MeanCovariance(const FwSampledSet *a, PetscInt without, double matrix[])
{
  const FwSampledLayout *at = &a->s->at;
  const double           n  = (double)a->n_chain;

  for (PetscInt j = 0; j < at->n_weight; j++)
    for (PetscInt i = j; i < at->n_weight; i++) {
      const PetscInt64 place = at->field_weight + FwPackedPlace(i, j);
      const double     mean  = a->mean[place];
      const double     left  = without < 0 ? 0.0 : a->chain_mean[without * a->n_field + place];

      matrix[(size_t)j * at->n_weight + i] = without < 0 ? mean : (n * mean - left) / (n - 1.0);
    }
}

PetscErrorCode FwSetWeightSpectrum(FwSampledSet *a)
{
  const PetscInt n = a->s->at.n_weight, n_mode = a->s->at.n_mode;
  const double   n_chain = (double)a->n_chain;
  double        *matrix, *value;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(n_mode, &a->weight_eigenvalue, (size_t)n_mode * n, &a->weight_vector));
  PetscCall(PetscMalloc2((size_t)n * n, &matrix, n, &value));
  for (PetscInt without = -1; without < a->n_chain; without++) {
    MeanCovariance(a, without, matrix);
    PetscCall(Decompose(n, matrix, value));
    for (PetscInt k = 0; k < n_mode; k++) {
      a->weight_eigenvalue[k] += (without < 0 ? n_chain : -(n_chain - 1.0) / n_chain) * value[n - 1 - k];
      if (without < 0) PetscCall(PetscArraycpy(a->weight_vector + (size_t)k * n, matrix + (size_t)(n - 1 - k) * n, n));
    }
  }
  PetscCall(PetscFree2(matrix, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSetWeightEigenvalue(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  const PetscInt n = a->s->at.n_weight;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++)
      a->work[c * a->n_block + b] =
        FwPackedForm(n, FwSetBlock(a, c, b) + a->s->at.field_weight, a->weight_vector + (size_t)i * n);
  PetscCall(FwSetOfBlocks(a, number));
  number->value = a->weight_eigenvalue[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}
