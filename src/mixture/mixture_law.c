/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The law of Q: a list of widths and the parameter of the limit factor.
 */

#include <finwidth/mixture_law.h>

static PetscErrorCode Create(double a, PetscInt n_output, PetscInt n_width, const double width[], FwMixtureLaw *law)
{
  PetscFunctionBegin;
  PetscCheck(n_output >= 1, PETSC_COMM_WORLD, FW_ERR_INPUT, "network_outputs %" PetscInt_FMT " is not positive",
             n_output);
  for (PetscInt l = 0; l < n_width; l++)
    PetscCheck(width[l] >= 1.0, PETSC_COMM_WORLD, FW_ERR_INPUT, "network_width %.6g is below 1", width[l]);
  *law = (FwMixtureLaw){.n_output = n_output, .n_width = n_width, .a = a};
  PetscCall(PetscMalloc1(n_width, &law->width));
  PetscCall(PetscArraycpy(law->width, width, n_width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureLawFinite(const FwModel *model, PetscInt n_output, FwMixtureLaw *law)
{
  PetscFunctionBegin;
  PetscCall(Create(0.0, n_output, model->depth, model->width, law));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureLawLimit(double a, PetscInt n_output, PetscInt n_width, const double width[], FwMixtureLaw *law)
{
  PetscFunctionBegin;
  PetscCheck(a >= 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT, "mixture_a %.6g is negative: it is the limit of sum 1/N_l", a);
  PetscCall(Create(a, n_output, n_width, width, law));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureLawDestroy(FwMixtureLaw *law)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(law->width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwMixtureLawA(const FwMixtureLaw *law)
{
  double a = law->a;

  for (PetscInt l = 0; l < law->n_width; l++) a += 1.0 / law->width[l];
  return a;
}
