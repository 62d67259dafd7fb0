/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What one computation has found: an ordered list of named arrays with units, before it becomes a group of a file or
 * one point of a scan. Not collective; every rank holds the same record.
 */

#include <finwidth/store.h>

typedef struct FwRecordImpl *FwRecord;

/** Create an empty record; release with FwRecordDestroy(). */
PetscErrorCode FwRecordCreate(FwRecord *record);

/** Whether no array has been added; NULL has none. */
PetscBool FwRecordIsEmpty(FwRecord record);

/** Put `path` in front of the names that are added from now on, such as "/predict/"; "" ends it. */
PetscErrorCode FwRecordSetPrefix(FwRecord record, const char path[]);

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

/** Add warnings about what the record holds, lines joined by newlines; those that it has already are not added again. */
PetscErrorCode FwRecordWarn(FwRecord record, const char lines[]);

/** Its warnings, joined by newlines; "" for none. Borrowed. */
const char *FwRecordWarnings(FwRecord record);

/** Entry `i`, row-major, of an array as a number; NaN when the record has none of that name or it is shorter. */
double FwRecordAt(FwRecord record, const char name[], PetscInt64 i);

/** The same of an array of integers, exactly; 0 when there is none. */
PetscInt64 FwRecordIntegerAt(FwRecord record, const char name[], PetscInt64 i);

/** Mean of the entries that an array has for one of `n_point` points in front (its outputs, say); NaN when there is none. */
double FwRecordPointMean(FwRecord record, const char name[], PetscInt64 n_point, PetscInt64 point);

/** Write all arrays into a group of a store on PETSC_COMM_WORLD, in the order in which they were added; a name that begins
 *  with '/' is a path of its own. Collective; the record is looked at on rank 0 only and may be NULL elsewhere. */
PetscErrorCode FwRecordWrite(FwRecord record, FwStore store, const char group[]);

/** Put records of several points together into one, with axes in front.
 *
 * Where the points' arrays differ in size (numbers of minima, of layers) they are padded with NaN, or with -1 for
 * integers; so are points without a record. Where they differ in their number of axes, those with fewer stand at the
 * first place of the axes they lack. Each array is one that some point has. Warnings come in the order of the points.
 *
 * @param[in]  axes    names and lengths of the axes in front; their product is the number of points, row-major
 * @param[in]  point   [number of points], NULL where a point was not computed
 * @param[out] all     release with FwRecordDestroy()
 */
PetscErrorCode FwRecordStack(const FwShape *axes, const FwRecord point[], FwRecord *all);

/** Where two records differ; `name` is NULL where they do not. */
typedef struct {
  const char *name; /**< borrowed from the records */
  double      value[2];
} FwRecordDifference;

/** Compare two records of the same point.
 *
 * Numbers are the same within `tolerance` times the largest of their array. An array may be longer in one of the records
 * by the padding of FwRecordStack(), or be there in one only where it is all padding.
 *
 * @param[in]  ignored     NULL-terminated: names of arrays that are not compared, whatever group they are in; "*end" for all
 *                         that end so
 * @param[out] difference  the first one
 */
PetscErrorCode FwRecordCompare(FwRecord a, FwRecord b, const char *const ignored[], double tolerance,
                               FwRecordDifference *difference);

/** Say where the arrays come from that are added from now on: a number, 0 at first, which stays with them. */
PetscErrorCode FwRecordSetSource(FwRecord record, PetscInt64 source);

/** Add the arrays of another record. Of an array that both have the longer is kept, for one axis: the shorter must be
 *  its beginning.
 *
 * @param[in] source  names of the sources, such as files
 * @error FW_ERR_INPUT  they differ: names the array and both sources */
PetscErrorCode FwRecordJoin(FwRecord record, FwRecord other, const char *const source[]);

/** A record as bytes, and back: to send it, or for a checkpoint. Release `bytes` with PetscFree().
 * @error FW_ERR_FILE  the bytes are not a record */
PetscErrorCode FwRecordPack(FwRecord record, size_t *n, char **bytes);
PetscErrorCode FwRecordUnpack(size_t n, const char bytes[], FwRecord *record);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwRecordDestroy(FwRecord *record);
