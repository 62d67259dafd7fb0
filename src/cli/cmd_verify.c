/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth verify`: check a result file.
 */

#include "command.h"

#include <finwidth/store.h>

PetscErrorCode FwCommandRun_Verify(const char *file)
{
  char *report;

  PetscFunctionBegin;
  PetscCall(FwStoreVerify(PETSC_COMM_WORLD, file, &report));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: %s\n", file, report));
  PetscCall(PetscFree(report));
  PetscFunctionReturn(PETSC_SUCCESS);
}
