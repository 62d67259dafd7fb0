/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The files that the keys name, and a digest of their contents.
 */

#include "source.h"

#include <finwidth/dataset.h>
#include <finwidth/option.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* The keys that name files; nothing is checked */
static PetscErrorCode ReadKeys(FwDataKeys *keys, const FwSourceOps **ops)
{
  PetscFunctionBegin;
  *keys = (FwDataKeys){0};
  PetscCall(FwOptionChoice("data_source", &keys->source, NULL));
  PetscCall(FwSourceOpsGet(keys->source, ops));
  PetscCall(FwOptionText("data_path", sizeof keys->path, keys->path, NULL));
  PetscCall(FwOptionText("data_images", sizeof keys->images, keys->images, NULL));
  PetscCall(FwOptionText("data_labels", sizeof keys->labels, keys->labels, NULL));
  PetscCall(FwOptionText("data_predict", sizeof keys->new_inputs, keys->new_inputs, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Only what can be read again: a pipe would be emptied */
static PetscErrorCode Add(const char path[], char **list)
{
  const size_t old = *list ? strlen(*list) : 0;
  struct stat  status;

  PetscFunctionBegin;
  if (stat(path, &status) || !S_ISREG(status.st_mode)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscRealloc(old + strlen(path) + 2, list));
  snprintf(*list + old, strlen(path) + 2, "%s\n", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDataFiles(char **list)
{
  FwDataKeys keys;
  FwSource   source = {.keys = &keys};
  char       path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  *list = NULL;
  PetscCall(ReadKeys(&keys, &source.ops));
  if (!source.ops->is_drawn && FwSourceHasPath(&source)) {
    PetscCall(FwSourceSetPath(&source));
    FwSourceChooseFolder(&source);
    if (!source.ops->file) PetscCall(Add(source.path, list));
    for (PetscInt i = 0; source.ops->file; i++) {
      PetscCall(source.ops->file(&source, i, path));
      if (!path[0]) break;
      PetscCall(Add(path, list));
    }
  }
  if (keys.new_inputs[0]) PetscCall(Add(keys.new_inputs, list));
  if (!*list) PetscCall(PetscStrallocpy("", list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What cannot be read is found by who reads it in earnest */
static void HashFile(const char path[], size_t size, char buffer[], XXH3_state_t *state)
{
  FILE    *file   = fopen(path, "rb");
  uint64_t length = 0;
  size_t   n;

  while (file && (n = fread(buffer, 1, size, file))) {
    XXH3_64bits_update(state, buffer, n);
    length += n;
  }
  XXH3_64bits_update(state, &length, sizeof length);
  if (file) (void)fclose(file);
}

PetscErrorCode FwDataFilesDigest(const char list[], uint64_t *digest)
{
  const size_t  size  = (size_t)1 << 20;
  XXH3_state_t *state = XXH3_createState();
  char         *buffer, path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCheck(state, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for a checksum");
  PetscCall(PetscMalloc1(size, &buffer));
  XXH3_64bits_reset_withSeed(state, *digest);
  for (const char *line = list; *line; line += strcspn(line, "\n") + 1) {
    snprintf(path, sizeof path, "%.*s", (int)strcspn(line, "\n"), line);
    HashFile(path, size, buffer, state);
  }
  *digest = XXH3_64bits_digest(state);
  PetscCall(PetscFree(buffer));
  XXH3_freeState(state);
  PetscFunctionReturn(PETSC_SUCCESS);
}
