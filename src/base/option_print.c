/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What is made from the table: help, the page of keys, the resolved input of a run.
 */

#include "option_impl.h"

#include <stdio.h>
#include <string.h>

PetscErrorCode FwOptionsPrintHelp(unsigned command)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    if (!(keys[i].commands & command)) continue;
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  -%-22s %s", keys[i].name, keys[i].help));
    if (keys[i].choices) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " {%s}", keys[i].choices));
    if (keys[i].unit) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " [%s]", keys[i].unit));
    if (keys[i].default_value) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " (%s)", keys[i].default_value));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionsPrintMarkdown(void)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  PetscFunctionBegin;
  PetscCall(PetscPrintf(
    PETSC_COMM_WORLD,
    "# All keys\n\nMade by `finwidth help keys` from the one table in `src/base/option_table.c`; a "
    "test compares the two. Keys of numbers and choices can be scanned: `-scan_network_width 10,100,1000` or "
    "`10:1000:3:log`, in a file below `scan`.\n\n"
    "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"));
  for (PetscInt i = 0; i < n; i++) {
    char range[512];

    FwKeyDescribe(&keys[i], PETSC_FALSE, sizeof range, range);
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "| `%s` | %s%s%s%s | %s%s%s | %s |\n", keys[i].name, range,
                          keys[i].is_list ? ", or a list" : "", keys[i].unit ? ", " : "",
                          keys[i].unit ? keys[i].unit : "", keys[i].default_value ? "`" : "",
                          keys[i].default_value ? keys[i].default_value : "", keys[i].default_value ? "`" : "",
                          keys[i].help));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The resolved input is read back as YAML: what YAML could misread is quoted */
static int PrintQuoted(size_t room, char out[], const char name[], const char text[])
{
  const PetscBool is_plain = text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-")]
                               ? PETSC_FALSE
                               : PETSC_TRUE;
  int             n        = snprintf(out, room, "%s: %s", name, is_plain ? "" : "'");

  for (const char *c = text; *c; c++)
    n += snprintf(out + n, room - (size_t)n, *c == '\'' && !is_plain ? "''" : "%c", *c);
  return n + snprintf(out + n, room - (size_t)n, "%s\n", is_plain ? "" : "'");
}

/* Value of the axis that scans a key, as it was typed */
static PetscErrorCode GetScanValue(const FwKey *key, char text[FW_KEY_TEXT_SIZE], PetscBool *is_set)
{
  char option[FW_KEY_NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-scan_%s", key->name));
  PetscCall(PetscOptionsGetString(NULL, NULL, option, text, FW_KEY_TEXT_SIZE, is_set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionsResolved(unsigned command, char **text)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);
  size_t       size = 1;
  int          used = 0;
  char         value[FW_KEY_TEXT_SIZE], name[FW_KEY_NAME_SIZE];
  PetscBool    is_set;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwKeyGetText(&keys[i], value, &is_set));
    if (is_set) size += strlen(keys[i].name) + 2 * strlen(value) + 8;
    PetscCall(GetScanValue(&keys[i], value, &is_set));
    if (is_set) size += strlen(keys[i].name) + 2 * strlen(value) + 13;
  }
  PetscCall(PetscCalloc1(size, text));
  for (PetscInt i = 0; i < n; i++) {
    if (!(keys[i].commands & command)) continue;
    PetscCall(FwKeyGetText(&keys[i], value, &is_set));
    if (is_set) used += PrintQuoted(size - (size_t)used, *text + used, keys[i].name, value);
    PetscCall(GetScanValue(&keys[i], value, &is_set));
    PetscCall(PetscSNPrintf(name, sizeof name, "scan_%s", keys[i].name));
    if (is_set) used += PrintQuoted(size - (size_t)used, *text + used, name, value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that say how to compute, not what */
static PetscBool IsHow(const char line[])
{
  static const char *const how[] = {
    "output:",    "overwrite:",  "resume:", "walltime:", "memory:", "dry_run:", "theory_decomposition:",
    "scan_farm:", "scan_ranks:", "figure:"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(how); i++)
    if (!strncmp(line, how[i], strlen(how[i]))) return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscErrorCode FwOptionsWhat(const char resolved[], PetscBool of_scan, char **what)
{
  char *end;

  PetscFunctionBegin;
  PetscCall(PetscStrallocpy(resolved, what));
  end = *what;
  for (const char *line = resolved; *line;) {
    const size_t n = strcspn(line, "\n") + (line[strcspn(line, "\n")] ? 1 : 0);

    if (!IsHow(line) && !(of_scan && !strncmp(line, "scan_index:", 11))) {
      memcpy(end, line, n);
      end += n;
    }
    line += n;
  }
  *end = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}
