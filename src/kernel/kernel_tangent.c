/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Neural tangent kernel: the recursion of kernel.c with one more number per entry.
 */

#include <finwidth/kernel_tangent.h>

#include "kernel_impl.h"

static PetscErrorCode CheckActivations(FwKernel k)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < k->model->depth; l++)
    PetscCheck(k->model->activation[l] != FW_ACTIVATION_SIGN, FwGridComm(k->grid), FW_ERR_INPUT,
               "network_activation sign has no tangent kernel, its slope is zero or infinite: theory_model must be "
               "renormalised or infinite");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- diagonal ------------------------------------------------------------------------------------------------ */

/* Theta_{l+1} of own examples from Theta_l, in place; `after` is the variance of the layer above */
static PetscErrorCode NextDiagonal(const FwModel *model, PetscInt layer, PetscInt n, const double variance[],
                                   const double after[], double slope[], double tangent[])
{
  FwActivation activation;

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[layer], &activation));
  PetscCall(FwActivationDiagonalMap(activation, FW_MAP_COVARIANCE, n, variance, slope));
  for (PetscInt i = 0; i < n; i++) tangent[i] = after[i] + tangent[i] * slope[i] / model->prior[layer + 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OwnDiagonal(FwKernel k, FwPart part, const FwSlab *slab, double tangent[])
{
  double       **variance = k->variance[part], *slope;
  PetscErrorCode code     = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(PetscMax(slab->n_local, 1), &slope));
  PetscCall(PetscArraycpy(tangent, variance[0] + slab->first, slab->n_local));
  for (PetscInt l = 0; l < k->model->depth && !code; l++)
    code = NextDiagonal(k->model, l, slab->n_local, variance[l] + slab->first, variance[l + 1] + slab->first, slope,
                        tangent);
  PetscCall(PetscFree(slope));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelTangentDiagonal(FwKernel kernel, FwPart part, double diagonal[])
{
  MPI_Comm comm = FwGridComm(kernel->grid);
  FwSlab   slab;

  PetscFunctionBegin;
  PetscCall(CheckActivations(kernel));
  PetscCall(FwDatasetGetSlab(kernel->data, part, &slab));
  PetscCall(FwErrorAgreeAny(comm, OwnDiagonal(kernel, part, &slab, diagonal + slab.first)));
  PetscCall(FwKernelShareSlab(comm, &slab, 1, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the entry-wise map -------------------------------------------------------------------------------------- */

/* From (C_l, Theta_l) to (C_{l+1}, Theta_{l+1}); the slope is wanted before the covariance is overwritten */
static PetscErrorCode MapLayer(const FwKernelLayer *layer, PetscInt column, PetscInt first, PetscInt n,
                               double covariance[], double tangent[])
{
  double slope[FW_KERNEL_PIECE];

  PetscFunctionBegin;
  PetscCall(FwActivationMap(layer->activation, FW_MAP_COVARIANCE, layer->rows, first, n, layer->columns, column,
                            covariance, slope));
  PetscCall(FwActivationMap(layer->activation, FW_MAP_VALUE, layer->rows, first, n, layer->columns, column, covariance,
                            covariance));
  for (PetscInt i = 0; i < n; i++) {
    covariance[i] = covariance[i] / layer->prior + layer->bias;
    tangent[i]    = covariance[i] + tangent[i] * slope[i] / layer->prior;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapPiece(const FwKernelMapContext *context, PetscInt column, PetscInt first, PetscInt n,
                               double value[])
{
  double covariance[FW_KERNEL_PIECE];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) covariance[i] = value[i] = value[i] + context->bias;
  for (PetscInt l = 0; l < context->depth; l++)
    PetscCall(MapLayer(&context->layer[l], column, first, n, covariance, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- assembly ------------------------------------------------------------------------------------------------ */

PetscErrorCode FwKernelTangentTrain(FwKernel kernel, FwMatrix *train)
{
  double *diagonal;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(kernel->n[FW_TRAIN], &diagonal));
  PetscCall(FwKernelTangentDiagonal(kernel, FW_TRAIN, diagonal));
  PetscCall(FwKernelAssembleTrain(kernel, MapPiece, PETSC_TRUE, diagonal, train));
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKernelTangentCross(FwKernel kernel, FwPart columns, FwMatrix *cross)
{
  PetscFunctionBegin;
  PetscCall(CheckActivations(kernel));
  PetscCall(FwKernelAssembleCross(kernel, MapPiece, PETSC_TRUE, columns, cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}
