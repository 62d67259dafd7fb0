/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A grid of points over the keys, and its division over the ranks.
 *
 * `scan: {temperature: 0.001:1:20:log, network: {width: [50, 100]}}` is the grid of 20 x 2 points; its axes come in the
 * order of the key table and its points are numbered row-major. A point is a setting of the scanned keys in the options
 * database; what is computed there is the caller's, and its result is a record.
 *
 * Points that differ only in `shared` keys form a group, which one communicator computes in one call, so that it can
 * share what they have in common (one decomposition of one kernel). Groups are divided over sub-communicators, in rounds,
 * or as a farm, in which rank 0 hands out the next group to whoever is idle. Finished points go into a checkpoint, which
 * does not depend on the number of ranks.
 *
 * `scan_index` chooses points. The scan then has the smallest grid that holds them: a single point has axes of length 1.
 *
 * Without scanned keys there is one group of one point.
 */

#include <finwidth/option.h>
#include <finwidth/record.h>

typedef struct FwScanImpl *FwScan;

/** One scanned key. */
typedef struct {
  const FwKey *key;
  PetscInt     n;
  char       **text;  /**< [n] the values as they are given to the key */
  double      *value; /**< [n] as numbers: choices and texts by their place in the list */
} FwScanAxis;

/** Compute a group of points.
 *
 * @param[in]     comm     the ranks that work on this group; the call is collective on them
 * @param[in]     scan     call FwScanApply() before reading the keys of a point
 * @param[in]     n        number of points
 * @param[in]     point    [n] their numbers, ascending
 * @param[in,out] record   [n] empty records to fill, on rank 0 of `comm` at least
 * @param[in]     context  of the caller
 * @error FW_ERR_STOPPED   points whose record is not empty are finished and will be kept
 * @error FW_ERR_NUMERICAL in a point should be put into its record rather than returned: what is returned ends the scan
 */
typedef PetscErrorCode FwScanFunction(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                                      void *context);

/** How a scan is to run. */
typedef struct {
  const char *const *shared;     /**< NULL-terminated: keys within which points form a group */
  const char        *checkpoint; /**< path of the checkpoint */
  const char        *tag;        /**< digest of the input that the checkpoint belongs to */
  PetscBool          resume;     /**< take up a checkpoint that is there */
  double             interval;   /**< seconds between checkpoints */
  PetscBool          is_farm;    /**< rank 0 computes nothing and hands out groups; with one rank this is not heeded */
  PetscInt           n_rank;     /**< ranks that work on one group; 0 or 1: as few as keep all busy */
} FwScanPlan;

/** Read the `scan_*` keys and `scan_index`.
 *
 * Not collective, the same on every rank. Release with FwScanDestroy().
 * @error FW_ERR_INPUT  a value that the key does not allow, a range that is none, an index outside the grid
 */
PetscErrorCode FwScanCreate(FwScan *scan);

/** Numbers of axes, of points of the grid, and of points to compute. */
PetscErrorCode FwScanGetSize(FwScan scan, PetscInt *n_axis, PetscInt *n_point, PetscInt *n_chosen);

/** Points of the grid that the keys describe, of which `scan_index` may have taken a part. */
PetscErrorCode FwScanGetWhole(FwScan scan, PetscInt *n_whole);

/** Groups of the chosen points.
 * @param[in]  shared     as in FwScanPlan
 * @param[in]  is_wanted  [n_point] of these points only; NULL for all
 * @param[out] n_group    they are numbered without gaps
 * @param[out] group      [n_point] group of each point, -1 for a point that is not chosen or wanted
 */
PetscErrorCode FwScanGetGroups(FwScan scan, const char *const shared[], const PetscBool is_wanted[], PetscInt *n_group,
                               PetscInt group[]);

/** Size of a group of the grid, of which `scan_index` and earlier runs may have left less. */
PetscErrorCode FwScanGetGroupSize(FwScan scan, const char *const shared[], PetscInt *n);

/** An axis. Borrowed. */
PetscErrorCode FwScanGetAxis(FwScan scan, PetscInt axis, const FwScanAxis **values);

/** Position of a point on an axis. */
PetscInt FwScanPosition(FwScan scan, PetscInt point, PetscInt axis);

/** Points as `scan_index` takes them, "0-9,12,20-40:5". Where `size` does not hold all, `fits` is false, and the text ends after
 *  one of its words. */
PetscErrorCode FwScanPrintIndex(PetscInt n, const PetscInt point[], size_t size, char text[], PetscBool *fits);

/** Set the scanned keys to a point's values, or with point -1 back to what the user gave. */
PetscErrorCode FwScanApply(FwScan scan, PetscInt point);

/** Compute all chosen points.
 *
 * @collective{PETSC_COMM_WORLD}
 * @param[out] all  on rank 0 the records of the grid put together, axes first; NULL elsewhere
 * @error FW_ERR_STOPPED  asked to stop: a checkpoint was written
 * @error whatever `function` returns, after a checkpoint of what is done
 */
PetscErrorCode FwScanRun(FwScan scan, const FwScanPlan *plan, FwScanFunction *function, void *context, FwRecord *all);

/** Keep the finished points of a group that is still being computed, for when the run is killed.
 *
 * Call it between the points of a group; it writes a file beside the checkpoint when one is due, and does nothing outside
 * FwScanRun() or when the group is finished. A resumed run computes the rest of the group alone: its numbers must not
 * depend on those before.
 * @collective{comm}
 * @param[in] comm   of the group, as are point and record (FwScanFunction)
 * @param[in] n      how many of the points are finished, the first ones
 * @error FW_ERR_FILE  cannot be written
 */
PetscErrorCode FwScanKeep(FwScan scan, MPI_Comm comm, PetscInt n, const PetscInt point[], FwRecord record[]);

/** Before a group is computed that cannot be left at any time: leave where the wall time ends before it would be finished.
 *
 * How long the run's earlier groups took, beside what was expected of them, corrects what is expected. The first group is always
 * begun, or a run with too little time would never come to anything. Does nothing outside FwScanRun().
 * @collective{comm}
 * @param[in] seconds  expected of the group
 * @error FW_ERR_STOPPED  asked to stop, or not enough time is left
 */
PetscErrorCode FwScanExpect(FwScan scan, MPI_Comm comm, double seconds);

/** Write the axes as dimension scales into a group of a store. Collective. */
PetscErrorCode FwScanWriteAxes(FwScan scan, FwStore store, const char group[]);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwScanDestroy(FwScan *scan);
