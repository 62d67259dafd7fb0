#pragma once

/** @file
 * What one computation has found: an ordered list of named arrays with units, before it becomes a group of a file or
 * one point of a scan. Not collective; every rank holds the same record.
 */

#include <finwidth/store.h>

typedef struct FwRecordImpl *FwRecord;

/** Create an empty record; release with FwRecordDestroy(). */
PetscErrorCode FwRecordCreate(FwRecord *record);

/** Add an array; everything is copied. Names of axes and of the array are those of the file. */
PetscErrorCode FwRecordReals(FwRecord record, const char name[], const FwShape *shape, const double data[],
                             const char units[], const char long_name[]);
PetscErrorCode FwRecordIntegers(FwRecord record, const char name[], const FwShape *shape, const PetscInt64 data[],
                                const char units[], const char long_name[]);

/** Add a scalar. */
PetscErrorCode FwRecordReal(FwRecord record, const char name[], double value, const char units[],
                            const char long_name[]);
PetscErrorCode FwRecordInteger(FwRecord record, const char name[], PetscInt64 value, const char units[],
                               const char long_name[]);

/** Write all arrays into a group of a store, in the order in which they were added. Collective on the store. */
PetscErrorCode FwRecordWrite(FwRecord record, FwStore store, const char group[]);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwRecordDestroy(FwRecord *record);
