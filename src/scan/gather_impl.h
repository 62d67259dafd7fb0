/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of gathering.
 */

#include "scan_impl.h"

#include <finwidth/gather.h>

enum { FW_GATHER_TEXT = 512, FW_GATHER_GROUPS = 16 };

/** A point of one of the files. */
typedef struct {
  PetscInt point, file;
  FwRecord record;
} FwGatherPiece;

/** A file that cannot be used. */
typedef struct {
  PetscInt file;
  char     reason[FW_GATHER_TEXT];
} FwGatherSkip;

/** What is the same in every file: read once from the first that has it. Files of one version and input do not differ in
 *  it, and looking it up takes longer than reading the values. */
typedef struct FwGatherKind FwGatherKind;
struct FwGatherKind {
  char         *path, *units, *long_name;
  FwStoreType   type;
  PetscInt      n_dim;
  char          axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE];
  PetscBool     is_point; /**< has the scan's axes in front */
  PetscBool     is_axis;  /**< values of one of these axes, written from the scan itself */
  FwGatherKind *next;
};

struct FwGatherImpl {
  PetscMPIInt    rank, n_rank;
  PetscInt       n_file;
  char         **file;      /* [n_file] sorted */
  uint64_t      *digest;    /* [n_file] of the files that its data come from; 0 where it has none, or is not read */
  char           files[17]; /* the one that all have; "" where points may come from several files, or from none */
  char          *command, *input, *version;
  PetscInt       reference; /* file that input and version were read from */
  FwScan         scan;
  FwGatherKind  *kind;
  FwRecord       common; /* arrays that do not depend on the point */
  PetscInt       n_piece, room_piece;
  FwGatherPiece *piece;
  PetscInt       n_skip, room_skip;
  FwGatherSkip  *skip;
  PetscInt       mismatch; /* first file of another version or input; n_file for none */
  FwRecord      *point;    /* [points of the grid] on rank 0 */
  FwRecord       all;
  PetscInt       n_repeated, n_missing;
  char           missing_text[256];
  char          *group_text[FW_GATHER_GROUPS + 1];
  int            n_group;
};

/** gather_read.c: the command, input and version of a file; its points and common arrays. Each on this rank alone.
 * @error FW_ERR_FILE  the file cannot be used */
PetscErrorCode FwGatherReadHead(const char path[], char **command, char **input, char **version);
PetscErrorCode FwGatherReadFile(FwGather g, PetscInt file);
PetscBool      FwGatherIsScanAxis(FwScan scan, const char name[]);

/** gather_merge.c: pieces, common arrays and skipped files to rank 0; there, one record a point. Collective. */
PetscErrorCode FwGatherCollect(FwGather g);
PetscErrorCode FwGatherMerge(FwGather g, const char *const ignored[]);
