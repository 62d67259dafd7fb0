/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Reading and checking keys.
 */

#include <finwidth/input.h>
#include <finwidth/option.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <petscsnes.h>

enum { TEXT_SIZE = 8192, LIST_MAX = 4096, NAME_SIZE = 128 };

/* --- the table ---------------------------------------------------------------------------------------------- */

const FwKey *FwKeyFind(const char name[])
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);

  for (PetscInt i = 0; i < n; i++)
    if (!strcmp(keys[i].name, name)) return &keys[i];
  return NULL;
}

static PetscErrorCode GetKey(const char name[], FwKeyType type, const FwKey **key)
{
  PetscFunctionBegin;
  *key = FwKeyFind(name);
  PetscCheck(*key && ((*key)->type == type || (type == FW_KEY_REAL && (*key)->type >= FW_KEY_BYTES)), PETSC_COMM_SELF,
             PETSC_ERR_PLIB, "key '%s' is not in the table with this type", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- text of a value ---------------------------------------------------------------------------------------- */

static PetscErrorCode GetValue(const FwKey *key, char text[TEXT_SIZE], PetscBool *is_set)
{
  char      option[NAME_SIZE];
  PetscBool is_given;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s", key->name));
  PetscCall(PetscOptionsGetString(NULL, NULL, option, text, TEXT_SIZE, &is_given));
  if (is_given && !text[0] && key->type == FW_KEY_BOOLEAN) PetscCall(PetscStrncpy(text, "true", TEXT_SIZE));
  PetscCheck(!is_given || text[0], PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' has no value", key->name);
  PetscCheck(!is_given || strlen(text) < TEXT_SIZE - 1, PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s': value too long",
             key->name);
  if (!is_given && key->default_value) PetscCall(PetscStrncpy(text, key->default_value, TEXT_SIZE));
  *is_set = (is_given || key->default_value) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

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

/* The limit that all integers share is said only to those who passed it */
static void DescribeRange(const FwKey *key, PetscBool is_too_large, size_t size, char text[])
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
  DescribeRange(key, is_too_large, sizeof want, want);
  SETERRQ(PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' is '%s', want %s%s", key->name, text, want,
          key->is_list ? ", or a list of these" : "");
}

/* --- one value ---------------------------------------------------------------------------------------------- */

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
static PetscErrorCode Parse(const FwKey *key, const char text[], double *value)
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

PetscErrorCode FwKeyParse(const FwKey *key, const char text[], double *number)
{
  PetscFunctionBegin;
  PetscCall(Parse(key, text, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All entries of a list; a single value is a list of one */
static PetscErrorCode ParseList(const FwKey *key, const char text[], PetscInt room, PetscInt *n, double value[])
{
  char  copy[TEXT_SIZE];
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
    PetscCall(Parse(key, entry, &value[*n]));
    entry = comma ? comma + 1 : NULL;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetOne(const char name[], FwKeyType type, double *value, PetscBool *is_set)
{
  const FwKey *key;
  char         text[TEXT_SIZE];
  PetscBool    has;

  PetscFunctionBegin;
  PetscCall(GetKey(name, type, &key));
  PetscCall(GetValue(key, text, &has));
  if (has) PetscCall(Parse(key, text, value));
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetList(const char name[], FwKeyType type, PetscInt *n, double value[LIST_MAX])
{
  const FwKey   *key;
  char           text[TEXT_SIZE];
  PetscBool      has;
  const PetscInt room = *n;

  PetscFunctionBegin;
  PetscCall(GetKey(name, type, &key));
  PetscCall(GetValue(key, text, &has));
  *n = 0;
  if (has) PetscCall(ParseList(key, text, PetscMin(room, LIST_MAX), n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIsSet(const char key[], PetscBool *is_set)
{
  char option[NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s", key));
  PetscCall(PetscOptionsHasName(NULL, NULL, option, is_set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIsChosen(const char name[], PetscBool *is_chosen)
{
  const FwKey *key = FwKeyFind(name);
  char         text[TEXT_SIZE];
  PetscBool    has_value;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet(name, is_chosen));
  PetscCall(GetValue(key, text, &has_value));
  if (*is_chosen && key->default_value && !strcmp(text, key->default_value)) *is_chosen = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionInteger(const char key[], PetscInt64 *value, PetscBool *is_set)
{
  double    number;
  PetscBool has;

  PetscFunctionBegin;
  PetscCall(GetOne(key, FW_KEY_INTEGER, &number, &has));
  if (has) *value = (PetscInt64)number;
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionReal(const char key[], double *value, PetscBool *is_set)
{
  PetscFunctionBegin;
  PetscCall(GetOne(key, FW_KEY_REAL, value, is_set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionBoolean(const char key[], PetscBool *value, PetscBool *is_set)
{
  double    number;
  PetscBool has;

  PetscFunctionBegin;
  PetscCall(GetOne(key, FW_KEY_BOOLEAN, &number, &has));
  if (has) *value = number > 0.0 ? PETSC_TRUE : PETSC_FALSE;
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionChoice(const char key[], PetscInt *value, PetscBool *is_set)
{
  double    number;
  PetscBool has;

  PetscFunctionBegin;
  PetscCall(GetOne(key, FW_KEY_CHOICE, &number, &has));
  if (has) *value = (PetscInt)number;
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionText(const char name[], size_t size, char text[], PetscBool *is_set)
{
  const FwKey *key;
  char         value[TEXT_SIZE];
  PetscBool    has;

  PetscFunctionBegin;
  PetscCall(GetKey(name, FW_KEY_TEXT, &key));
  PetscCall(GetValue(key, value, &has));
  PetscCheck(!has || strlen(value) < size, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s': the value has more than %zu characters", name, size - 1);
  if (has) PetscCall(PetscStrncpy(text, value, size));
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIntegers(const char key[], PetscInt *n_value, PetscInt64 value[])
{
  double number[LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_INTEGER, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = (PetscInt64)number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionReals(const char key[], PetscInt *n_value, double value[])
{
  double number[LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_REAL, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionChoices(const char key[], PetscInt *n_value, PetscInt value[])
{
  double number[LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_CHOICE, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = (PetscInt)number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- checks ------------------------------------------------------------------------------------------------- */

/* Levenshtein distance, cut off at the length of a name */
static int Distance(const char a[], const char b[])
{
  int          row[NAME_SIZE];
  const size_t n = PetscMin(strlen(b), (size_t)NAME_SIZE - 1);

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

/* The nearest keys, up to three; none where more than a third of the letters differ */
static void SuggestKeys(const char name[], size_t size, char text[])
{
  enum { MOST = 3 };
  PetscInt     n, n_named = 0;
  const FwKey *keys  = FwKeyTable(&n);
  int          least = (int)strlen(name) / 3;
  size_t       used;

  snprintf(text, size, "'finwidth help keys' lists all");
  for (PetscInt i = 0; i < n; i++) least = PetscMin(least, DistanceToKey(name, keys[i].name));
  for (PetscInt i = 0; i < n && n_named < MOST; i++) {
    if (DistanceToKey(name, keys[i].name) != least) continue;
    used = n_named ? strlen(text) : 0;
    snprintf(text + used, size - used, "%s'%s'", n_named ? " or " : "the nearest known key is ", keys[i].name);
    n_named++;
  }
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

static PetscErrorCode CheckNames(void)
{
  PetscInt n;
  char   **names, **values;
  char     unknown[NAME_SIZE] = "", nearest[4 * NAME_SIZE], place[1024];

  PetscFunctionBegin;
  PetscCall(LetSolverReadItsOptions(SNESNEWTONLS));
  PetscCall(LetSolverReadItsOptions(SNESANDERSON));
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n && !unknown[0]; i++)
    if (!FwKeyFind(names[i]) && !IsScanKey(names[i]) && !IsLatePetscOption(names[i]))
      PetscCall(PetscStrncpy(unknown, names[i], sizeof unknown));
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  if (!unknown[0]) PetscFunctionReturn(PETSC_SUCCESS);
  SuggestKeys(unknown, sizeof nearest, nearest);
  FwInputPlace(unknown, sizeof place, place);
  SETERRQ(PETSC_COMM_WORLD, FW_ERR_INPUT, "%sunknown key '%s': %s", place, unknown, nearest);
}

PetscErrorCode FwOptionsCheck(void)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);
  double       number[LIST_MAX];

  PetscFunctionBegin;
  PetscCall(CheckNames());
  for (PetscInt i = 0; i < n; i++) {
    char      text[TEXT_SIZE];
    PetscBool is_set;
    PetscInt  n_entry;

    PetscCall(GetValue(&keys[i], text, &is_set));
    if (is_set && keys[i].type != FW_KEY_TEXT) PetscCall(ParseList(&keys[i], text, LIST_MAX, &n_entry, number));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what is made from the table ---------------------------------------------------------------------------- */

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
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "# All keys\n\nMade by `finwidth help keys` from the one table in `src/base/option_table.c`; a "
                        "test compares the two.\n\n"
                        "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"));
  for (PetscInt i = 0; i < n; i++) {
    char range[512];

    DescribeRange(&keys[i], PETSC_FALSE, sizeof range, range);
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
static PetscErrorCode GetScanValue(const FwKey *key, char text[TEXT_SIZE], PetscBool *is_set)
{
  char option[NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-scan_%s", key->name));
  PetscCall(PetscOptionsGetString(NULL, NULL, option, text, TEXT_SIZE, is_set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionsResolved(unsigned command, char **text)
{
  PetscInt     n;
  const FwKey *keys = FwKeyTable(&n);
  size_t       size = 1;
  int          used = 0;
  char         value[TEXT_SIZE], name[NAME_SIZE];
  PetscBool    is_set;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(GetValue(&keys[i], value, &is_set));
    if (is_set) size += strlen(keys[i].name) + 2 * strlen(value) + 8;
    PetscCall(GetScanValue(&keys[i], value, &is_set));
    if (is_set) size += strlen(keys[i].name) + 2 * strlen(value) + 13;
  }
  PetscCall(PetscCalloc1(size, text));
  for (PetscInt i = 0; i < n; i++) {
    if (!(keys[i].commands & command)) continue;
    PetscCall(GetValue(&keys[i], value, &is_set));
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
