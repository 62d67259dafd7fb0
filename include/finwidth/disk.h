/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Bytes to and from files with every error seen, and HDF5 files that never meet the disk.
 *
 * HDF5 1.10 crashes over a file that it could not write or close, and its parallel driver waits for ever where one rank
 * alone met the error. So HDF5 works in memory here, and what it made is written and read by plain system calls. Nothing
 * here is collective, but FwDiskMakeBeside().
 */

#include <finwidth/base.h>

/** Write n bytes at an offset, in as many calls as it takes.
 * @param[in] path  for the message
 * @error FW_ERR_FILE  with the system's reason */
PetscErrorCode FwDiskWrite(int descriptor, const char path[], size_t offset, size_t n, const void *data);

/** Read n bytes from an offset.
 * @error FW_ERR_FILE  with the system's reason, or the file ends before */
PetscErrorCode FwDiskRead(int descriptor, const char path[], size_t offset, size_t n, void *data);

/** Give a file of mkostemps(), which only the user can read, the rights that open() would have given it.
 * @error FW_ERR_FILE  with the system's reason */
PetscErrorCode FwDiskGrant(int descriptor, const char path[]);

/** Make an empty file for what is to be renamed to `path` when it is whole: PATH.XXXXXX.tmp, which no other run has, so that
 *  several may write the same file.
 *
 * @collective{comm}
 * @param[in]  size    room in `beside`
 * @param[out] beside  the file's path, on every rank
 * @error FW_ERR_FILE  with the system's reason, or the path is too long */
PetscErrorCode FwDiskMakeBeside(MPI_Comm comm, const char path[], size_t size, char beside[]);

/** The bytes of an HDF5 file. They belong to the caller: from malloc(), released with free() after H5Fclose(). */
typedef struct {
  unsigned char *byte;
  size_t         n; /**< of a new file: with the room in which it may grow */
} FwMemoryFile;

/** A new file in memory, of the format of HDF5 1.8: it has checksums on most metadata, and every reader knows it. After
 *  H5Fclose() `memory` holds it. (H5Fget_file_image() would be shorter, but in 1.10 its superblock has a wrong checksum.)
 *
 * @param[in,out] memory    empty; must live, and stay where it is, until the file is closed
 * @param[in]     creation  property list, or H5P_DEFAULT
 * @param[in]     head      metadata come first and fill up to so many bytes; 0 for HDF5's own order
 * @return the file, HDF5's hid_t, or a negative number with HDF5's error stack */
PetscInt64 FwMemoryFileCreate(FwMemoryFile *memory, PetscInt64 creation, size_t head);

/** Open a file in memory for reading. As FwMemoryFileCreate(), but the bytes are there. */
PetscInt64 FwMemoryFileOpen(FwMemoryFile *memory);
