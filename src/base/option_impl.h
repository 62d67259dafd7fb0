/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the sources that read, check and print keys share.
 */

#include <finwidth/option.h>

enum {
  FW_KEY_TEXT_SIZE = 8192, /* of a value, with its NUL */
  FW_KEY_LIST_MAX  = 4096, /* entries of a list */
  FW_KEY_NAME_SIZE = 128
};

/** Value of a key as it was typed, or its default. @error FW_ERR_INPUT  it is empty, or too long */
PetscErrorCode FwKeyGetText(const FwKey *key, char text[FW_KEY_TEXT_SIZE], PetscBool *is_set);

/** All entries of a list, as FwKeyParse() gives them; a single value is a list of one.
 * @param[in]  room  of `value`
 * @error FW_ERR_INPUT  an entry is wrong, or there are more than `room` */
PetscErrorCode FwKeyParseList(const FwKey *key, const char text[], PetscInt room, PetscInt *n, double value[]);

/** What a key takes, in words; the limit that all integers share is said only to those who passed it. */
void FwKeyDescribe(const FwKey *key, PetscBool is_too_large, size_t size, char text[]);
