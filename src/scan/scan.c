/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The grid of a scan: axes from lists and ranges, points as settings of keys.
 */

#include "scan_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 100000, POINTS_MAX = 10000000, TEXT_MAX = 65536 };

/* Keys that say how to run, not what to compute */
static PetscBool IsScannable(const FwKey *key)
{
  static const char *const never[] = {
    "output",           "overwrite",  "resume",    "walltime",         "memory",
    "dry_run",          "scan_index", "figure",    "save_predictions", "theory_decomposition",
    "theory_bandwidth", "scan_farm",  "scan_ranks"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(never); i++)
    if (!strcmp(key->name, never[i])) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* --- values of one axis ------------------------------------------------------------------------------------- */

static PetscErrorCode AddValue(FwScanAxis *axis, const char text[])
{
  double number = 0.0;

  PetscFunctionBegin;
  PetscCheck(strlen(text) < FW_SCAN_TEXT || axis->key->type == FW_KEY_TEXT, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'scan_%s': value '%s' is too long", axis->key->name, text);
  PetscCall(FwKeyParse(axis->key, text, &number));
  PetscCheck(axis->n < VALUES_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT, "key 'scan_%s' has more than %d values",
             axis->key->name, VALUES_MAX);
  if (axis->n % 64 == 0) {
    PetscCall(PetscRealloc((size_t)(axis->n + 64) * sizeof *axis->text, &axis->text));
    PetscCall(PetscRealloc((size_t)(axis->n + 64) * sizeof *axis->value, &axis->value));
  }
  PetscCall(PetscStrallocpy(text, &axis->text[axis->n]));
  axis->value[axis->n] = axis->key->type == FW_KEY_CHOICE || axis->key->type == FW_KEY_TEXT ? (double)axis->n : number;
  axis->n++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* first:last:count or first:last:count:log */
static PetscErrorCode ParseRange(const FwScanAxis *axis, const char text[], double ends[2], long *count, int *is_log)
{
  const PetscBool is_number =
    (axis->key->type == FW_KEY_INTEGER || axis->key->type == FW_KEY_REAL) ? PETSC_TRUE : PETSC_FALSE;
  char word[8] = "";
  int  n_read  = 0, n_part, is_good;

  PetscFunctionBegin;
  n_part  = sscanf(text, "%lf:%lf:%ld%n:%7[a-z]%n", &ends[0], &ends[1], count, &n_read, word, &n_read);
  *is_log = n_part == 4 && !strcmp(word, "log");
  is_good = is_number && n_part >= 3 && (n_part == 3 || *is_log) && !text[n_read] && isfinite(ends[0]) &&
            isfinite(ends[1]) && *count >= 1;
  PetscCheck(is_good, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'scan_%s': '%s' is no range, want first:last:count or first:last:count:log of numbers",
             axis->key->name, text);
  PetscCheck(*count <= VALUES_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'scan_%s': '%s' has %ld values, want at most %d", axis->key->name, text, *count, VALUES_MAX);
  PetscCheck(!*is_log || (ends[0] > 0.0 && ends[1] > 0.0), PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'scan_%s': '%s' is logarithmic, both ends must be positive", axis->key->name, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRange(FwScanAxis *axis, const char text[])
{
  double ends[2] = {0.0, 0.0};
  long   count   = 0;
  int    is_log  = 0;

  PetscFunctionBegin;
  PetscCall(ParseRange(axis, text, ends, &count, &is_log));
  for (long i = 0; i < count; i++) {
    const double t     = count > 1 ? (double)i / (double)(count - 1) : 0.0;
    double       value = is_log ? ends[0] * pow(ends[1] / ends[0], t) : ends[0] + t * (ends[1] - ends[0]);
    char         word[FW_SCAN_TEXT];

    if (i == count - 1 && count > 1) value = ends[1]; /* exactly, not to round-off */
    if (axis->key->type == FW_KEY_INTEGER)
      snprintf(word, sizeof word, "%.0f", round(value));
    else
      snprintf(word, sizeof word, "%.17g", value);
    PetscCall(AddValue(axis, word));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillAxis(FwScanAxis *axis, const char all[])
{
  char *copy, *word;

  PetscFunctionBegin;
  PetscCall(PetscStrallocpy(all, &copy));
  word = copy;
  while (word) {
    char *comma = strchr(word, ',');

    if (comma) *comma = '\0';
    while (*word == ' ') word++;
    if (strchr(word, ':') && axis->key->type != FW_KEY_TEXT)
      PetscCall(AddRange(axis, word));
    else
      PetscCall(AddValue(axis, word));
    word = comma ? comma + 1 : NULL;
  }
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all axes ----------------------------------------------------------------------------------------------- */

static PetscErrorCode AddAxis(FwScan scan, const FwKey *key, const char values[])
{
  FwScanAxis *axis = &scan->axis[scan->n_axis];
  char        option[128], *given;
  PetscBool   is_set;

  PetscFunctionBegin;
  PetscCheck(IsScannable(key), PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' cannot be scanned", key->name);
  PetscCheck(scan->n_axis < FW_SCAN_AXES_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT, "a scan has at most %d axes",
             FW_SCAN_AXES_MAX);
  axis->key = key;
  PetscCall(FillAxis(axis, values));
  PetscCheck((double)scan->n_point * axis->n <= POINTS_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the scan has more than %d points", POINTS_MAX);
  scan->n_point *= axis->n;
  PetscCall(PetscMalloc1(TEXT_MAX, &given));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s", key->name));
  PetscCall(PetscOptionsGetString(NULL, NULL, option, given, TEXT_MAX, &is_set));
  if (is_set) PetscCall(PetscStrallocpy(given, &scan->before[scan->n_axis]));
  PetscCall(PetscFree(given));
  scan->n_axis++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAxes(FwScan scan)
{
  PetscInt     n_key;
  const FwKey *keys = FwKeyTable(&n_key);
  char        *values;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(TEXT_MAX, &values));
  for (PetscInt k = 0; k < n_key; k++) {
    char      option[128];
    PetscBool is_set;

    PetscCall(PetscSNPrintf(option, sizeof option, "-scan_%s", keys[k].name));
    if (!strcmp(option, "-scan_index")) continue;
    PetscCall(PetscOptionsGetString(NULL, NULL, option, values, TEXT_MAX, &is_set));
    if (is_set) PetscCall(AddAxis(scan, &keys[k], values));
  }
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanCreate(FwScan *scan)
{
  FwScan     s;
  FwScanPart part;
  char      *index;
  PetscBool  has_index;

  PetscFunctionBegin;
  PetscCall(PetscNew(&s));
  s->n_point = 1;
  PetscCall(ReadAxes(s));
  s->n_whole = s->n_point;
  PetscCall(PetscMalloc1(TEXT_MAX, &index));
  PetscCall(FwOptionText("scan_index", TEXT_MAX, index, &has_index));
  if (has_index) {
    PetscCall(FwScanPartCreate(s, index, &part));
    PetscCall(FwScanKeepPart(s, &part));
    PetscCall(FwScanPartDestroy(&part));
  } else {
    PetscCall(PetscMalloc1(s->n_point, &s->is_chosen));
    for (PetscInt p = 0; p < s->n_point; p++) s->is_chosen[p] = PETSC_TRUE;
  }
  PetscCall(PetscFree(index));
  *scan = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanDestroy(FwScan *scan)
{
  PetscFunctionBegin;
  if (!*scan) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt d = 0; d < (*scan)->n_axis; d++) {
    FwScanAxis *axis = &(*scan)->axis[d];

    for (PetscInt i = 0; i < axis->n; i++) PetscCall(PetscFree(axis->text[i]));
    PetscCall(PetscFree(axis->text));
    PetscCall(PetscFree(axis->value));
    PetscCall(PetscFree((*scan)->before[d]));
  }
  PetscCall(PetscFree((*scan)->is_chosen));
  PetscCall(PetscFree(*scan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- points ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwScanGetSize(FwScan scan, PetscInt *n_axis, PetscInt *n_point, PetscInt *n_chosen)
{
  PetscFunctionBegin;
  if (n_axis) *n_axis = scan->n_axis;
  if (n_point) *n_point = scan->n_point;
  if (n_chosen) {
    *n_chosen = 0;
    for (PetscInt p = 0; p < scan->n_point; p++) *n_chosen += scan->is_chosen[p];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanGetWhole(FwScan scan, PetscInt *n_whole)
{
  PetscFunctionBegin;
  *n_whole = scan->n_whole;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanGetAxis(FwScan scan, PetscInt axis, const FwScanAxis **values)
{
  PetscFunctionBegin;
  *values = &scan->axis[axis];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwScanPosition(FwScan scan, PetscInt point, PetscInt axis)
{
  for (PetscInt d = scan->n_axis - 1; d > axis; d--) point /= scan->axis[d].n;
  return point % scan->axis[axis].n;
}

PetscErrorCode FwScanApply(FwScan scan, PetscInt point)
{
  PetscFunctionBegin;
  for (PetscInt d = 0; d < scan->n_axis; d++) {
    const FwScanAxis *axis = &scan->axis[d];
    char              option[128];
    const char       *text = point < 0 ? scan->before[d] : axis->text[FwScanPosition(scan, point, d)];

    PetscCall(PetscSNPrintf(option, sizeof option, "-%s", axis->key->name));
    if (text)
      PetscCall(PetscOptionsSetValue(NULL, option, text));
    else
      PetscCall(PetscOptionsClearValue(NULL, option));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwScanWriteAxes(FwScan scan, FwStore store, const char group[])
{
  PetscFunctionBegin;
  for (PetscInt d = 0; d < scan->n_axis; d++) {
    const FwScanAxis *axis  = &scan->axis[d];
    const FwShape     shape = {.n_dim = 1, .name = {axis->key->name}, .size = {axis->n}};
    const char       *units = axis->key->unit ? axis->key->unit : "1";
    char              path[128];

    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, axis->key->name));
    if (axis->key->type == FW_KEY_CHOICE || axis->key->type == FW_KEY_TEXT)
      PetscCall(FwStoreTexts(store, path, &shape, (const char *const *)axis->text, units, axis->key->help));
    else
      PetscCall(FwStoreReals(store, path, &shape, axis->value, units, axis->key->help));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
