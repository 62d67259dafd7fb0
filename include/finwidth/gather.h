/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Many result files of one scan into one: each file holds some points of the grid (scan_index), the whole has all.
 *
 * Files are read in parallel, each by one rank. The outcome depends on what the files hold, not on the order of their
 * names nor on the number of ranks.
 */

#include <finwidth/scan.h>

typedef struct FwGatherImpl *FwGather;

/** What was found. The same on every rank. */
typedef struct {
  PetscInt n_file, n_skipped;  /**< damaged, foreign, or without points */
  PetscInt n_point, n_missing; /**< of the grid */
  PetscInt n_repeated;         /**< points found more than once, and the same each time */
} FwGatherSummary;

/** Read all files.
 *
 * What the files warn about is warned of again, in the order of their points.
 * The options database takes up the input that the files have in common, so that the keys and the scan can be read.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[in]  n, path   files, and folders, which stand for the files *.h5 in them; looked at on rank 0
 * @param[in]  output    the file that will be written: it is not read, whether or not it is among `path`; may be NULL
 * @param[in]  ignored   NULL-terminated: arrays that say how a point was computed, not what came out: not compared
 * @param[out] gather    release with FwGatherDestroy()
 * @error FW_ERR_FILE   a file of the list does not exist, or none can be used
 * @error FW_ERR_INPUT  two files come from different versions of the program or from different inputs or data, or hold
 *                      different numbers for the same point: names both
 */
PetscErrorCode FwGatherCreate(PetscInt n, const char *const path[], const char output[], const char *const ignored[],
                              FwGather *gather);

PetscErrorCode FwGatherGetSummary(FwGather gather, FwGatherSummary *summary);

/** What is missing, in words, for rank 0 to say; "" on other ranks, and where nothing is. Borrowed.
 * @param[out] points  as `scan_index` takes them; the first ones and "..." where they are many
 * @param[out] file    the first of the skipped files, and why
 */
PetscErrorCode FwGatherGetGaps(FwGather gather, const char **points, const char **file);

/** The command whose results these are, its resolved input without `scan_index`, and the grid. Borrowed. */
PetscErrorCode FwGatherGetScan(FwGather gather, const char **command, const char **input, FwScan *scan);

/** Digest of the files that the data of all come from (attribute `files_digest`); "" where there are none or several.
 *  Borrowed. */
PetscErrorCode FwGatherGetFiles(FwGather gather, const char **digest);

/** Paths of the groups that have the scan's axes, NULL-terminated, the command's first. Borrowed. */
PetscErrorCode FwGatherGetGroups(FwGather gather, const char *const **group);

/** The points put together, axes first, with missing ones padded (FwRecordStack()). Borrowed; NULL but on rank 0. */
PetscErrorCode FwGatherGetRecord(FwGather gather, FwRecord *all);

/** Write what is not a point: arrays that all files have in common, and in the group /gather the numbers of the missing
 *  points, and the skipped files with the reasons. Collective. */
PetscErrorCode FwGatherDescribe(FwGather gather, FwStore store);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwGatherDestroy(FwGather *gather);
