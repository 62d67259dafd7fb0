/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Checkpoints: some bytes with a name of what they belong to, a version and a checksum, written beside and renamed, the
 * previous one kept. They do not depend on the number of ranks.
 */

#include <finwidth/base.h>

/** How a long run is kept. */
typedef struct {
  const char *checkpoint, *tag; /**< path and what it belongs to; NULL for none */
  PetscBool   resume;           /**< take up a checkpoint that is there */
  double      interval;         /**< seconds between checkpoints */
  PetscBool   has_progress;     /**< show progress; then the ranks are all ranks */
} FwKeptRun;

/** Write a checkpoint; `bytes` is looked at on rank 0 only.
 *
 * @collective{comm}
 * @param[in] path   PATH; the one before becomes PATH.previous
 * @param[in] tag    what the bytes belong to, such as a digest of the input
 * @error FW_ERR_FILE  cannot be written
 */
PetscErrorCode FwCheckpointWrite(MPI_Comm comm, const char path[], const char tag[], size_t n, const char bytes[]);

/** Read a checkpoint, or the one before where it is damaged; a warning says so.
 *
 * @collective{comm}
 * @param[out] n, bytes  on rank 0; `*bytes` is NULL where there is none. Release with PetscFree()
 * @error FW_ERR_INPUT  it belongs to another input: its tag differs
 * @error FW_ERR_FILE   both are damaged
 */
PetscErrorCode FwCheckpointRead(MPI_Comm comm, const char path[], const char tag[], size_t *n, char **bytes);

/** Remove a checkpoint and the one before. Collective. */
PetscErrorCode FwCheckpointRemove(MPI_Comm comm, const char path[]);
