/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The text of a value as a number, and what to say of one that is wrong.
 */

#include "option_impl.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *TypeName(const FwKey *key)
{
  switch (key->type) {
    case FW_KEY_INTEGER:
      return "an integer";
    case FW_KEY_REAL:
      return "a number";
    case FW_KEY_BOOLEAN:
      return "true or false";
    case FW_KEY_BYTES:
      return "a size such as 8G";
    case FW_KEY_DURATION:
      return "a time HH:MM:SS";
    default:
      return "a text";
  }
}

void FwKeyDescribe(const FwKey *key, PetscBool is_too_large, size_t size, char text[])
{
  text[0] = '\0';
  if (key->type == FW_KEY_CHOICE)
    snprintf(text, size, "one of %s", key->choices);
  else if (key->type == FW_KEY_INTEGER && (is_too_large || key->maximum < INT_MAX))
    snprintf(text, size, "an integer from %.0f to %.0f", key->minimum, key->maximum);
  else if ((key->type == FW_KEY_INTEGER || key->type == FW_KEY_REAL) && isfinite(key->minimum))
    snprintf(text, size, "%s %s %g", TypeName(key), key->is_open ? ">" : ">=", key->minimum);
  else
    snprintf(text, size, "%s", TypeName(key));
}

static PetscErrorCode Complain(const FwKey *key, const char text[])
{
  const PetscBool is_too_large = strtod(text, NULL) > key->maximum ? PETSC_TRUE : PETSC_FALSE;
  char            want[512];

  PetscFunctionBegin;
  FwKeyDescribe(key, is_too_large, sizeof want, want);
  SETERRQ(PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' is '%s', want %s%s", key->name, text, want,
          key->is_list ? ", or a list of these" : "");
}

static PetscBool ParseInteger(const char text[], double *value)
{
  char *end;

  errno  = 0;
  *value = (double)strtoll(text, &end, 10);
  return (!errno && end != text && !*end) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool ParseReal(const char text[], double *value)
{
  char *end;

  *value = strtod(text, &end);
  return (end != text && !*end && !isnan(*value)) ? PETSC_TRUE : PETSC_FALSE; /* infinity: where its row allows it */
}

static PetscBool ParseBytes(const char text[], double *value)
{
  static const char units[] = "KMGT";
  char             *end;

  *value = strtod(text, &end);
  if (end == text || !isfinite(*value) || *value <= 0.0) return PETSC_FALSE;
  for (int i = 0; units[i]; i++)
    if (toupper((unsigned char)*end) == units[i]) {
      *value *= ldexp(1.0, 10 * (i + 1));
      end++;
      break;
    }
  if (toupper((unsigned char)*end) == 'B') end++;
  return *end ? PETSC_FALSE : PETSC_TRUE;
}

static PetscBool ParseDuration(const char text[], double *value)
{
  unsigned hours, minutes, seconds;
  int      n = 0;

  if (text[strspn(text, "0123456789:")]) return PETSC_FALSE; /* %u takes signs and spaces, too */
  if (sscanf(text, "%5u:%2u:%2u%n", &hours, &minutes, &seconds, &n) != 3 || text[n]) return PETSC_FALSE;
  *value = 3600.0 * hours + 60.0 * minutes + seconds;
  return (minutes < 60 && seconds < 60) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool ParseBoolean(const char text[], double *value)
{
  static const char *const names[2][4] = {
    {"false", "no",  "off", "0"},
    {"true",  "yes", "on",  "1"}
  };

  for (int truth = 0; truth < 2; truth++)
    for (int i = 0; i < 4; i++)
      if (!strcasecmp(text, names[truth][i])) {
        *value = truth;
        return PETSC_TRUE;
      }
  return PETSC_FALSE;
}

static PetscBool ParseChoice(const FwKey *key, const char text[], double *value)
{
  const size_t length = strlen(text);
  const char  *name   = key->choices;

  for (int i = 0; name; i++) {
    if (!strncmp(name, text, length) && (name[length] == ',' || !name[length])) {
      *value = i;
      return length ? PETSC_TRUE : PETSC_FALSE;
    }
    name = strchr(name, ',');
    if (name) name++;
  }
  return PETSC_FALSE;
}

/* Numbers, truth values and choices all fit into a double: integers are at most 2^31 */
PetscErrorCode FwKeyParse(const FwKey *key, const char text[], double *value)
{
  PetscBool good = PETSC_TRUE;

  PetscFunctionBegin;
  *value = 0.0;
  switch (key->type) {
    case FW_KEY_INTEGER:
      good = ParseInteger(text, value);
      break;
    case FW_KEY_REAL:
      good = ParseReal(text, value);
      break;
    case FW_KEY_BYTES:
      good = ParseBytes(text, value);
      break;
    case FW_KEY_DURATION:
      good = ParseDuration(text, value);
      break;
    case FW_KEY_BOOLEAN:
      good = ParseBoolean(text, value);
      break;
    case FW_KEY_CHOICE:
      good = ParseChoice(key, text, value);
      break;
    case FW_KEY_TEXT:
      break;
  }
  if (key->type == FW_KEY_INTEGER || key->type == FW_KEY_REAL)
    good = (good && *value <= key->maximum && (key->is_open ? *value > key->minimum : *value >= key->minimum))
             ? PETSC_TRUE
             : PETSC_FALSE;
  if (!good) PetscCall(Complain(key, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwKeyParseList(const FwKey *key, const char text[], PetscInt room, PetscInt *n, double value[])
{
  char  copy[FW_KEY_TEXT_SIZE];
  char *entry = copy;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(copy, text, sizeof copy));
  for (*n = 0; entry; (*n)++) {
    char *comma = key->is_list ? strchr(entry, ',') : NULL;

    if (comma) *comma = '\0';
    while (*entry == ' ') entry++;
    PetscCheck(*entry, PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' is '%s': an entry between the commas is empty",
               key->name, text);
    PetscCheck(*n < room, PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' has more than %" PetscInt_FMT " entries", key->name,
               room);
    PetscCall(FwKeyParse(key, entry, &value[*n]));
    entry = comma ? comma + 1 : NULL;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
