/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a record, and what its sources share.
 */

#include <finwidth/record.h>

/** The fixed part of an array. Its texts stand one after the other, each with its NUL: name, units, long name, axes. */
typedef struct {
  PetscInt64 type; /* FwStoreType */
  PetscInt64 n_dim, n, n_text;
  PetscInt64 source;
} FwRecordHead;

enum { FW_RECORD_NAME, FW_RECORD_UNITS, FW_RECORD_LONG_NAME, FW_RECORD_AXES };

/** Values are eight bytes wide whatever their type. */
typedef union {
  double     real;
  PetscInt64 integer;
} FwRecordValue;

typedef struct FwRecordEntry FwRecordEntry;
struct FwRecordEntry {
  FwRecordHead   head;
  PetscInt64    *size;  /* [n_dim] */
  char          *text;  /* [n_text], which begins with the name */
  FwRecordValue *value; /* [n] */
  FwRecordEntry *next;
};

enum { FW_RECORD_PREFIX_SIZE = 128 };

struct FwRecordImpl {
  char           prefix[FW_RECORD_PREFIX_SIZE];
  PetscInt64     source;
  char          *warnings; /* joined by newlines; NULL for none */
  FwRecordEntry *first, **last;
};

/** The k-th text of an array. Borrowed. */
const char *FwRecordTextOf(const FwRecordEntry *entry, PetscInt64 k);

/** Entry `i`, in range, of an array as a number. */
double FwRecordNumberAt(const FwRecordEntry *entry, PetscInt64 i);

/** The array of that name; NULL when there is none, or no record. Borrowed. */
FwRecordEntry *FwRecordFind(FwRecord record, const char name[]);

/** An entry with room for what it holds, yet to be filled, at the end of the list. Borrowed. */
PetscErrorCode FwRecordAppend(FwRecord record, const FwRecordHead *head, FwRecordEntry **entry);

/** Add an array of either type; see FwRecordReals(). */
PetscErrorCode FwRecordAdd(FwRecord record, const char name[], const FwShape *shape, FwStoreType type, const void *data,
                           const char units[], const char long_name[]);
