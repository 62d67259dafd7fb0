/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Means of the last layer's activation.
 */

#include <finwidth/kernel_mean.h>
#include "kernel_impl.h"

PetscErrorCode FwKernelMean(FwKernel k, FwPart part, double mean[])
{
  const PetscInt last = k->model->depth - 1;
  FwActivation   activation;
  FwSlab         slab;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(k->data, part, &slab));
  PetscCall(FwActivationGet((FwActivationType)k->model->activation[last], &activation));
  code = FwActivationMean(activation, slab.n_local, k->variance[part][last] + slab.first, mean + slab.first);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code)); /* a variance may be bad on one rank only */
  PetscCall(FwKernelShareSlab(FwGridComm(k->grid), &slab, 1, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwMatrix      matrix;
  const double *row, *column; /* means */
  double        scale;        /* 1 / lambda_L */
} Centre;

static PetscErrorCode CentreStrip(const FwStrip *strip, void *context)
{
  const Centre *c = context;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++)
    strip->value[i] -= c->scale * c->row[FwMatrixRow(c->matrix, strip->first + i)] * c->column[strip->column];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelCentre(FwKernel k, FwPart columns, const double row_mean[], const double column_mean[],
                              FwMatrix matrix)
{
  Centre centre = {
    .matrix = matrix, .row = row_mean, .column = column_mean, .scale = 1.0 / k->model->prior[k->model->depth]};

  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(matrix, columns == FW_TRAIN ? FW_LOWER : FW_WHOLE, CentreStrip, &centre));
  PetscFunctionReturn(PETSC_SUCCESS);
}
