/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a scan.
 */

#include <finwidth/scan.h>

enum { FW_SCAN_AXES_MAX = 8, FW_SCAN_TEXT = 64 };

typedef struct FwScanWork FwScanWork;

struct FwScanImpl {
  PetscInt    n_axis, n_point;
  FwScanAxis  axis[FW_SCAN_AXES_MAX];
  char       *before[FW_SCAN_AXES_MAX]; /* what the user gave for the key itself; NULL for nothing */
  PetscBool  *is_chosen;                /* [n_point] by scan_index */
  PetscInt    n_whole;                  /* points of the grid before scan_index took a part of it */
  FwScanWork *work;                     /* while it runs */
};

/** A scan that runs. */
struct FwScanWork {
  FwScan            scan;
  const FwScanPlan *plan;
  FwScanFunction   *function;
  void             *context;
  MPI_Comm          comm; /**< this rank's sub-communicator */
  PetscMPIInt       rank, comm_rank;
  PetscInt          n_comm, comm_index;
  PetscBool         is_idle;         /**< in no group's sub-communicator */
  PetscInt          n_group_whole;   /**< groups of the scan, whatever is done */
  PetscInt          n_group, *group; /**< [n_point] group of each point still to compute, -1 for none */
  FwRecord         *record;          /**< [n_point] on rank 0 */
  PetscBool        *has_part; /**< [n_point] on rank 0: what was kept of the group that begins there is on disk */
  PetscLogDouble    last_checkpoint, last_kept; /**< of all, and of this rank's group */
  PetscBool         is_owed;                    /**< a checkpoint was asked for while the group was computed */
  double            expected;       /**< seconds of the group that is computed; 0 where nothing is expected of it */
  double            all_expected, all_took; /**< seconds of this rank's finished groups of which something was expected */
  PetscInt          n_timed;        /**< those groups */
  PetscBool         is_farm;        /**< rank 0 hands out groups and computes none */
};

/** scan_run.c: compute a group on this rank's sub-communicator; put what it has warned about into a record, NULL to drop
 *  it; of a group that was left, keep the finished points; keep what is done before an error is passed on; the error that
 *  says so of a stop. The last two are collective. */
PetscErrorCode FwScanRunGroup(FwScanWork *w, PetscInt group, PetscInt *n, PetscInt point[], FwRecord record[]);
PetscErrorCode FwScanTakeWarnings(PetscBool go_on, FwRecord record);
PetscErrorCode FwScanKeepFinished(PetscBool is_stopped, PetscInt *n, PetscInt point[], FwRecord record[]);
PetscErrorCode FwScanKeepBeforeLeaving(FwScanWork *w);
PetscErrorCode FwScanStopped(const FwScanWork *w);

/** scan_run.c: warn of what the points warn about, in their order: on rank 0, where it is printed unless it was raised there;
 *  NULL on the others. */
PetscErrorCode FwScanWarn(FwRecord all);

/** scan_farm.c: all groups, handed out by rank 0 as sub-communicators ask for them. */
PetscErrorCode FwScanRunFarm(FwScanWork *w);

/** scan_points.c: records from a rank to rank 0; all records of rank 0 into the checkpoint, and out of it, with what was
 *  kept of unfinished groups. Collective on `comm`, which may be rank 0 alone; reading is collective on all. */
PetscErrorCode FwScanSendRecord(PetscInt point, FwRecord record);
PetscErrorCode FwScanReceiveRecord(FwScanWork *w, PetscMPIInt from);
PetscErrorCode FwScanWriteCheckpoint(FwScanWork *w, MPI_Comm comm);
PetscErrorCode FwScanReadCheckpoint(FwScanWork *w, PetscBool is_done[]);
/** The records that are there, each behind its point and length; `point` is NULL where they are numbered as they come. */
PetscErrorCode FwScanPack(PetscInt n_point, const PetscInt point[], FwRecord record[], size_t *n, char **bytes);
PetscErrorCode FwScanUnpack(FwScanWork *w, size_t n, const char bytes[]);

/** scan_keep.c, on rank 0: take up what was kept of unfinished groups, or remove it where the run begins anew; remove what
 *  the checkpoint holds by now. */
PetscErrorCode FwScanReadParts(FwScanWork *w);
PetscErrorCode FwScanRemoveParts(FwScanWork *w);

/** scan_part.c: points of a grid that scan_index names, and the smallest grid that holds them: the positions of these
 *  points on each axis. A file of a few points of a large scan has the axes of that grid. */
typedef struct {
  PetscInt n_axis;
  PetscInt n_point, *point;                                   /**< [n_point] numbers in the whole grid, ascending */
  PetscInt n_kept[FW_SCAN_AXES_MAX], *kept[FW_SCAN_AXES_MAX]; /**< [n_kept] positions on each axis, ascending */
} FwScanPart;

/** @error FW_ERR_INPUT  `index` is not a list of points and ranges of the grid */
PetscErrorCode FwScanPartCreate(FwScan scan, const char index[], FwScanPart *part);
PetscErrorCode FwScanPartDestroy(FwScanPart *part);
/** Number in the part's own grid of the point with that number in the whole one. */
PetscErrorCode FwScanPartPlace(FwScan scan, const FwScanPart *part, PetscInt point, PetscInt *place);
/** Make the part's grid the grid of the scan. */
PetscErrorCode FwScanKeepPart(FwScan scan, const FwScanPart *part);
