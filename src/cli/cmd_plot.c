/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth plot`: draw a figure of a result file.
 */

#include "command.h"

#include <finwidth/figure.h>
#include <finwidth/option.h>

#include <stdio.h>
#include <string.h>

PetscErrorCode FwCommandRun_Plot(const char *file)
{
  FwStore   store;
  char      output[PETSC_MAX_PATH_LEN], name[64];
  PetscBool has_output, has_name;

  PetscFunctionBegin;
  PetscCall(FwOptionText("output", sizeof output, output, &has_output));
  PetscCall(FwOptionText("figure", sizeof name, name, &has_name));
  PetscCheck(has_output, PETSC_COMM_WORLD, FW_ERR_INPUT, "usage: finwidth plot RESULT.h5 -output FIG.png");
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, file, &store));
  PetscCall(FwFigureDraw(store, has_name ? name : NULL, output));
  PetscCall(FwStoreDestroy(&store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandFigure(const char result[])
{
  FwStore        store;
  char           path[PETSC_MAX_PATH_LEN], name[64];
  const char    *end = strrchr(result, '.');
  PetscBool      has_name, is_part;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwOptionText("figure", sizeof name, name, &has_name));
  PetscCall(FwOptionIsSet("scan_index", &is_part));
  if (has_name ? !strcmp(name, "none") : is_part) PetscFunctionReturn(PETSC_SUCCESS); /* gather draws the whole */
  snprintf(path, sizeof path, "%.*s.png", end && !strcmp(end, ".h5") ? (int)(end - result) : (int)strlen(result),
           result);
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, result, &store));
  code = FwFigureDraw(store, has_name ? name : NULL, path);
  PetscCall(FwStoreDestroy(&store));
  if (!code) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "figure  %s\n", path));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* the numbers are safe: a picture can be drawn later, elsewhere */
  PetscCall(FwWarn("no figure: %s", FwErrorMessage()));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}
