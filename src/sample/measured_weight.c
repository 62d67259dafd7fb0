/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Variances of the first layer's weights: the largest, and those along given directions.
 *
 * Along a direction that does not depend on the chains, v^T C v is an average like any other. The largest eigenvalues of C
 * itself are not: noise of C spreads equal eigenvalues up to (1 + sqrt(M / n))^2 times their value, M inputs, n independent
 * neurons seen. So the directions in which a chain is measured are the eigenvectors of the others' mean, and its noise is
 * independent of them.
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

/* The mean of all chains but one */
static void OthersCovariance(const FwSampledSet *a, PetscInt without, double matrix[])
{
  const FwSampledLayout *at = &a->s->at;
  const double           n  = (double)a->n_chain;

  for (PetscInt j = 0; j < at->n_weight; j++)
    for (PetscInt i = j; i < at->n_weight; i++) {
      const PetscInt64 place = at->field_weight + FwPackedPlace(i, j);

      matrix[(size_t)j * at->n_weight + i] =
        (n * a->mean[place] - a->chain_mean[(size_t)without * a->n_field + place]) / (n - 1.0);
    }
}

/* Where the eigenvectors of a chain are, [n_mode, n_weight] */
static double *ChainVectors(const FwSampledSet *a, PetscInt chain)
{
  return a->weight_vector + (size_t)chain * a->s->at.n_mode * a->s->at.n_weight;
}

PetscErrorCode FwSetWeightVectors(FwSampledSet *a)
{
  const PetscInt n = a->s->at.n_weight, n_mode = a->s->at.n_mode;
  double        *matrix, *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)a->n_chain * n_mode * n, &a->weight_vector));
  PetscCall(PetscMalloc2((size_t)n * n, &matrix, n, &value));
  for (PetscInt c = 0; c < a->n_chain; c++) {
    OthersCovariance(a, c, matrix);
    PetscCall(Decompose(n, matrix, value));
    for (PetscInt k = 0; k < n_mode; k++)
      PetscCall(PetscArraycpy(ChainVectors(a, c) + (size_t)k * n, matrix + (size_t)(n - 1 - k) * n, n));
  }
  PetscCall(PetscFree2(matrix, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* v^T C v of one block */
static double BlockVariance(const FwSampledSet *a, PetscInt chain, PetscInt block, const double v[])
{
  return FwPackedForm(a->s->at.n_weight, FwSetBlock(a, chain, block) + a->s->at.field_weight, v);
}

PetscErrorCode FwSetWeightEigenvalue(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++)
      a->work[c * a->n_block + b] = BlockVariance(a, c, b, ChainVectors(a, c) + (size_t)i * a->s->at.n_weight);
  PetscCall(FwSetOfBlocks(a, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSetWeightVariance(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++)
      a->work[c * a->n_block + b] = BlockVariance(a, c, b, a->direction + (size_t)i * a->s->at.n_weight);
  PetscCall(FwSetOfBlocks(a, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}
