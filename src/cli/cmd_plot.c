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

/* What a file can give is known when it is there; here are all names that src/plot knows */
static const struct {
  const char *command, *names;
} figures[] = {
  {"predict",
   "action,order-parameter,order-sampled,patches,prediction,errors,learnt,order,outputs,best-prior,agreement,map,"
   "accuracy"                                                                                             },
  {"sample",
   "action,order-parameter,order-sampled,patches,prediction,errors,learnt,order,outputs,best-prior,agreement,map,"
   "accuracy"                                                                                             },
  {"mixture", "density,survival,distance,eigenvalues,outputs,posterior,band,evidence,scale,test"          },
  {"optimal", "potential,curve,trajectory,errors,experiment,information,learnable,transitions,map"        },
  {"ansatz",  "similarity,alpha,layers,directions,imbalance,bound,drift,collapse,update,case,map,matrices"},
};

static PetscBool IsListed(const char names[], const char name[])
{
  const size_t n = strlen(name);

  for (const char *at = names; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strcspn(at, ",") == n && !strncmp(at, name, n)) return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscErrorCode FwCommandFigureCheck(const char command[])
{
  char      name[64];
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionText("figure", sizeof name, name, &is_set));
  if (!is_set || IsListed("none,overview", name)) PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(figures); i++)
    PetscCheck(strcmp(command, figures[i].command) || IsListed(figures[i].names, name), PETSC_COMM_WORLD, FW_ERR_INPUT,
               "'%s' has no figure '%s': want none, overview, or one of %s", command, name, figures[i].names);
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
