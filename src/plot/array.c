/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Arrays of a result file, as figures take them.
 */

#include "array.h"

PetscErrorCode FwArrayGet(FwStore store, const char group[], const char name[], FwArray *array)
{
  char      path[128];
  PetscBool has;

  PetscFunctionBegin;
  *array = (FwArray){0};
  PetscCall(PetscSNPrintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : group, name));
  PetscCall(FwStoreHas(store, path, &has));
  if (has) PetscCall(FwStoreGetReals(store, path, &array->n_dim, array->size, &array->n, &array->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
