/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The registry of sources, and what sources that read files share.
 */

#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* in the order of the choices of data_source */
static const FwSourceOps *const registry[] = {&FwSourceOps_Glyphs,  &FwSourceOps_Teacher, &FwSourceOps_Mnist,
                                              &FwSourceOps_Cifar10, &FwSourceOps_Hdf5,    &FwSourceOps_Csv};

PetscErrorCode FwSourceOpsGet(PetscInt choice, const FwSourceOps **ops)
{
  PetscFunctionBegin;
  PetscCheck(choice >= 0 && choice < (PetscInt)PETSC_STATIC_ARRAY_LENGTH(registry), PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "no source for choice %" PetscInt_FMT " of data_source", choice);
  *ops = registry[choice];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwSourceHasPath(const FwSource *source)
{
  const char *folder = getenv("FINWIDTH_DATA");

  return source->keys->path[0] || (folder && folder[0]) ? PETSC_TRUE : PETSC_FALSE;
}

PetscErrorCode FwSourceSetPath(FwSource *source)
{
  const char *folder = getenv("FINWIDTH_DATA");

  PetscFunctionBegin;
  if (source->keys->path[0]) {
    PetscCall(PetscStrncpy(source->path, source->keys->path, sizeof source->path));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(FwSourceHasPath(source), PETSC_COMM_SELF, FW_ERR_INPUT,
             "data_source '%s' reads files: give the key 'data_path' or set the environment variable FINWIDTH_DATA",
             source->ops->name);
  PetscCall(FwPathJoin(folder, source->ops->name, source->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPathJoin(const char folder[], const char name[], char path[PETSC_MAX_PATH_LEN])
{
  const int n = snprintf(path, PETSC_MAX_PATH_LEN, "%s/%s", folder, name);

  PetscFunctionBegin;
  PetscCheck(n > 0 && n < PETSC_MAX_PATH_LEN, PETSC_COMM_SELF, FW_ERR_INPUT, "path too long: '%s/%s'", folder, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwPathExists(const char path[])
{
  return access(path, F_OK) ? PETSC_FALSE : PETSC_TRUE;
}

PetscErrorCode FwCountProduct(PetscInt64 a, PetscInt64 b, const char what[], PetscInt64 *product)
{
  PetscFunctionBegin;
  PetscCheck(!__builtin_mul_overflow(a, b, product) && *product <= INT64_MAX / (PetscInt64)sizeof(double),
             PETSC_COMM_SELF, FW_ERR_INPUT,
             "%s: %" PetscInt64_FMT " times %" PetscInt64_FMT " numbers are more than can be addressed", what, a, b);
  PetscFunctionReturn(PETSC_SUCCESS);
}
