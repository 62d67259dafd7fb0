/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Names that nobody knows, with the nearest key, and values that their row does not allow.
 */

#include "option_impl.h"

#include <finwidth/input.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <petscsnes.h>

/* Levenshtein distance, cut off at the length of a name */
static int Distance(const char a[], const char b[])
{
  int          row[FW_KEY_NAME_SIZE];
  const size_t n = PetscMin(strlen(b), (size_t)FW_KEY_NAME_SIZE - 1);

  for (size_t j = 0; j <= n; j++) row[j] = (int)j;
  for (size_t i = 1; a[i - 1]; i++) {
    int diagonal = row[0];

    row[0] = (int)i;
    for (size_t j = 1; j <= n; j++) {
      const int change = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

      diagonal = row[j];
      row[j]   = PetscMin(change, PetscMin(row[j], row[j - 1]) + 1);
    }
  }
  return row[n];
}

/* `width` is near to network_width: the last words of a key count, too */
static int DistanceToKey(const char name[], const char key[])
{
  int least = Distance(name, key);

  for (const char *word = strchr(key, '_'); word; word = strchr(word + 1, '_'))
    least = PetscMin(least, Distance(name, word + 1));
  return least;
}

/* Of two keys as near, the one that the command reads is meant */
static int DistanceToRow(const char name[], const FwKey *key, unsigned command)
{
  return 2 * DistanceToKey(name, key->name) + (key->commands & command ? 0 : 1);
}

/* The nearest keys, up to three, behind a prefix; how many: none where more than a third of the letters differ */
static PetscInt SuggestKeys(const char prefix[], const char name[], unsigned command, size_t size, char text[])
{
  enum { MOST = 3 };
  PetscInt     n, n_named = 0;
  const FwKey *keys  = FwKeyTable(&n);
  int          least = 2 * ((int)strlen(name) / 3) + 1;
  size_t       used;

  snprintf(text, size, "'finwidth help keys' lists all");
  for (PetscInt i = 0; i < n; i++) least = PetscMin(least, DistanceToRow(name, &keys[i], command));
  for (PetscInt i = 0; i < n && n_named < MOST; i++) {
    if (DistanceToRow(name, &keys[i], command) != least) continue;
    used = n_named ? strlen(text) : 0;
    snprintf(text + used, size - used, "%s'%s%s'", n_named ? " or " : "the nearest known key is ", prefix,
             keys[i].name);
    n_named++;
  }
  return n_named;
}

/* Options that PETSc reads late, when it prints: not yet looked at when we check */
static PetscBool IsLatePetscOption(const char name[])
{
  static const char *const prefixes[] = {"snes_", "ksp_", "pc_", "mat_", "vec_", "saddle_"};
  static const char *const names[]    = {"options_left",   "options_view", "malloc_dump",       "malloc_view",
                                         "memory_view",    "objects_dump", "objects_view",      "log_all",
                                         "log_view",       "log_trace",    "options_file_yaml", "skip_petscrc",
                                         "options_monitor"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names); i++)
    if (!strcmp(name, names[i])) return PETSC_TRUE;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(prefixes); i++)
    if (!strncmp(name, prefixes[i], strlen(prefixes[i])) && (strstr(name, "view") || strstr(name, "converged_reason")))
      return PETSC_TRUE;
  return PETSC_FALSE;
}

/* A solver like one of those we use looks at its options here, so that those it knows count as read */
static PetscErrorCode LetSolverReadItsOptions(SNESType type)
{
  SNES           snes;
  Vec            x;
  Mat            jacobian;
  PetscErrorCode code;
  char           message[512];

  PetscFunctionBegin;
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, 1, &x));
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, 1, 1, NULL, &jacobian));
  PetscCall(SNESCreate(PETSC_COMM_SELF, &snes));
  PetscCall(SNESSetJacobian(snes, jacobian, jacobian, NULL, NULL));
  PetscCall(SNESSetSolution(snes, x));
  PetscCall(SNESSetType(snes, type));
  code = SNESSetFromOptions(snes);
  if (code) { /* its message says which option, then much that only a programmer wants */
    PetscCall(PetscStrncpy(message, FwErrorMessage(), sizeof message));
    message[strcspn(message, "\n")] = '\0';
    SETERRQ(PETSC_COMM_WORLD, FW_ERR_INPUT, "an option of PETSc is wrong: %s", message);
  }
  PetscCall(SNESDestroy(&snes));
  PetscCall(MatDestroy(&jacobian));
  PetscCall(VecDestroy(&x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `scan: {temperature: ...}` is the option scan_temperature */
static PetscBool IsScanKey(const char name[])
{
  return (!strncmp(name, "scan_", 5) && FwKeyFind(name + 5)) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode CheckNames(unsigned command)
{
  static const char scan[] = "scan_";
  PetscInt          n;
  char            **names, **values;
  char              unknown[FW_KEY_NAME_SIZE] = "", nearest[4 * FW_KEY_NAME_SIZE], place[1024];

  PetscFunctionBegin;
  PetscCall(LetSolverReadItsOptions(SNESNEWTONLS));
  PetscCall(LetSolverReadItsOptions(SNESANDERSON));
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n && !unknown[0]; i++)
    if (!FwKeyFind(names[i]) && !IsScanKey(names[i]) && !IsLatePetscOption(names[i]))
      PetscCall(PetscStrncpy(unknown, names[i], sizeof unknown));
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  if (!unknown[0]) PetscFunctionReturn(PETSC_SUCCESS);
  if (!SuggestKeys("", unknown, command, sizeof nearest, nearest) && !strncmp(unknown, scan, strlen(scan)))
    SuggestKeys(scan, unknown + strlen(scan), command, sizeof nearest, nearest);
  FwInputPlace(unknown, sizeof place, place);
  SETERRQ(PETSC_COMM_WORLD, FW_ERR_INPUT, "%sunknown key '%s': %s", place, unknown, nearest);
}

PetscErrorCode FwOptionsCheck(unsigned command)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);
  double       number[FW_KEY_LIST_MAX];

  PetscFunctionBegin;
  PetscCall(CheckNames(command));
  for (PetscInt i = 0; i < n; i++) {
    char      text[FW_KEY_TEXT_SIZE];
    PetscBool is_set;
    PetscInt  n_entry;

    PetscCall(FwKeyGetText(&keys[i], text, &is_set));
    if (is_set && keys[i].type != FW_KEY_TEXT)
      PetscCall(FwKeyParseList(&keys[i], text, FW_KEY_LIST_MAX, &n_entry, number));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
