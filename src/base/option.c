/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Finding keys in the table, and reading their values.
 */

#include "option_impl.h"

#include <string.h>

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

PetscErrorCode FwKeyGetText(const FwKey *key, char text[FW_KEY_TEXT_SIZE], PetscBool *is_set)
{
  char      option[FW_KEY_NAME_SIZE];
  PetscBool is_given;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s", key->name));
  PetscCall(PetscOptionsGetString(NULL, NULL, option, text, FW_KEY_TEXT_SIZE, &is_given));
  if (is_given && !text[0] && key->type == FW_KEY_BOOLEAN) PetscCall(PetscStrncpy(text, "true", FW_KEY_TEXT_SIZE));
  PetscCheck(!is_given || text[0], PETSC_COMM_WORLD, FW_ERR_INPUT, "key '%s' has no value", key->name);
  PetscCheck(!is_given || strlen(text) < FW_KEY_TEXT_SIZE - 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s': value too long", key->name);
  if (!is_given && key->default_value) PetscCall(PetscStrncpy(text, key->default_value, FW_KEY_TEXT_SIZE));
  *is_set = (is_given || key->default_value) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetOne(const char name[], FwKeyType type, double *value, PetscBool *is_set)
{
  const FwKey *key;
  char         text[FW_KEY_TEXT_SIZE];
  PetscBool    has;

  PetscFunctionBegin;
  PetscCall(GetKey(name, type, &key));
  PetscCall(FwKeyGetText(key, text, &has));
  if (has) PetscCall(FwKeyParse(key, text, value));
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetList(const char name[], FwKeyType type, PetscInt *n, double value[FW_KEY_LIST_MAX])
{
  const FwKey   *key;
  char           text[FW_KEY_TEXT_SIZE];
  PetscBool      has;
  const PetscInt room = *n;

  PetscFunctionBegin;
  PetscCall(GetKey(name, type, &key));
  PetscCall(FwKeyGetText(key, text, &has));
  *n = 0;
  if (has) PetscCall(FwKeyParseList(key, text, PetscMin(room, FW_KEY_LIST_MAX), n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIsSet(const char key[], PetscBool *is_set)
{
  char option[FW_KEY_NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s", key));
  PetscCall(PetscOptionsHasName(NULL, NULL, option, is_set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIsChosen(const char name[], PetscBool *is_chosen)
{
  const FwKey *key = FwKeyFind(name);
  char         text[FW_KEY_TEXT_SIZE];
  PetscBool    has_value;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet(name, is_chosen));
  PetscCall(FwKeyGetText(key, text, &has_value));
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
  char         value[FW_KEY_TEXT_SIZE];
  PetscBool    has;

  PetscFunctionBegin;
  PetscCall(GetKey(name, FW_KEY_TEXT, &key));
  PetscCall(FwKeyGetText(key, value, &has));
  PetscCheck(!has || strlen(value) < size, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s': the value has more than %zu characters", name, size - 1);
  if (has) PetscCall(PetscStrncpy(text, value, size));
  if (is_set) *is_set = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionIntegers(const char key[], PetscInt *n_value, PetscInt64 value[])
{
  double number[FW_KEY_LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_INTEGER, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = (PetscInt64)number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionReals(const char key[], PetscInt *n_value, double value[])
{
  double number[FW_KEY_LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_REAL, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptionChoices(const char key[], PetscInt *n_value, PetscInt value[])
{
  double number[FW_KEY_LIST_MAX];

  PetscFunctionBegin;
  PetscCall(GetList(key, FW_KEY_CHOICE, n_value, number));
  for (PetscInt i = 0; i < *n_value; i++) value[i] = (PetscInt)number[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}
