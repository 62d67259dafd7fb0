/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Arrays of a result file, as figures take them.
 */

#include "array.h"

#include <math.h>

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

void FwArrayFindRange(const FwArray *array, double *low, double *high)
{
  for (PetscInt64 i = 0; i < array->n; i++) {
    *low  = fmin(*low, array->value[i]);
    *high = fmax(*high, array->value[i]);
  }
}

static PetscInt64 CountZeros(const FwArray *array)
{
  PetscInt64 n = 0;

  for (PetscInt64 i = 0; i < array->n; i++) n += array->value[i] == 0.0;
  return n;
}

/* Of these alone that rest on draws it is recorded whether they suffice: a scan leaves out those that do not. One with biases
   inside is not exact. */
PetscErrorCode FwAverageName(FwStore store, size_t size, char text[])
{
  FwArray converged, exact;

  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, "/predict/", "average_converged", &converged));
  PetscCall(FwArrayGet(store, "/predict/", "exact_for_linear", &exact));
  if (converged.n)
    PetscCall(PetscSNPrintf(text, size, "average over draws%s",
                            converged.n == 1 && CountZeros(&converged) ? ", not converged" : ""));
  else
    PetscCall(PetscStrncpy(text, CountZeros(&exact) ? "average" : "exact average", size));
  PetscCall(PetscFree(converged.value));
  PetscCall(PetscFree(exact.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
