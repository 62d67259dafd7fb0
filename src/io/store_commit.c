/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * From memory to the disk: temporary file, sync, read back, rename, sync of the folder.
 */

#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* End of the file as its superblock (version 2) gives it; the memory behind it is spare */
static size_t EndOfFile(const unsigned char image[])
{
  enum { OFFSET = 28 };
  uint64_t end = 0;

  for (int i = 7; i >= 0; i--) end = end << 8 | image[OFFSET + i];
  return (size_t)end;
}

/* Close the file in memory and put the trailer behind it */
static PetscErrorCode FinishImage(FwStore store)
{
  const hid_t    file = store->file;
  unsigned char *image;
  size_t         end;

  PetscFunctionBegin;
  store->file = H5I_INVALID_HID;
  H5Call(store, H5Fflush(file, H5F_SCOPE_GLOBAL));
  H5Call(store, H5Fclose(file));
  end = store->memory.n < 48 ? 0 : EndOfFile(store->memory.byte);
  PetscCheck(end && end <= store->memory.n, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 left %zu of %zu bytes",
             store->memory.n, end);
  image = realloc(store->memory.byte, end + FW_STORE_TRAILER);
  PetscCheck(image, PETSC_COMM_SELF, PETSC_ERR_MEM, "out of memory for '%s'", store->path);
  FwStoreTrailer(image, end, image + end);
  store->memory = (FwMemoryFile){image, end + FW_STORE_TRAILER};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteTemporary(int descriptor, const char path[], const unsigned char image[], size_t n_byte)
{
  PetscFunctionBegin;
  PetscCall(FwDiskWrite(descriptor, path, 0, n_byte, image));
  PetscCall(FwDiskGrant(descriptor, path));
  PetscCheck(!fsync(descriptor), PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s' to disk: %s", path, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The name in the folder must be on disk too; some file systems cannot sync a folder, and say EINVAL */
static PetscErrorCode SyncFolder(const char folder[], const char path[])
{
  const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int       failed, reason;

  PetscFunctionBegin;
  failed = descriptor < 0 || fsync(descriptor);
  reason = errno;
  if (descriptor >= 0) close(descriptor);
  PetscCheck(!failed || reason == EINVAL || reason == EACCES, PETSC_COMM_SELF, FW_ERR_FILE,
             "cannot write folder '%s' of '%s' to disk: %s", folder, path, strerror(reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the disk gives back is what was written, byte by byte */
static PetscErrorCode ReadBack(int descriptor, const char path[], const FwMemoryFile *image)
{
  enum { PIECE = 1 << 20 };
  char     *buffer;
  PetscBool is_same = PETSC_TRUE;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(PIECE, &buffer));
  for (size_t done = 0; done < image->n && is_same; done += PIECE) {
    const size_t n = PetscMin((size_t)PIECE, image->n - done);

    PetscCall(FwDiskRead(descriptor, path, done, n, buffer));
    PetscCall(PetscMemcmp(buffer, image->byte + done, n, &is_same));
  }
  PetscCall(PetscFree(buffer));
  PetscCheck(is_same, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' does not read back as it was written: a failing disk?", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAndVerify(FwStore store, char temporary[])
{
  const FwMemoryFile *image      = &store->memory;
  const int           descriptor = mkostemps(temporary, 4, O_CLOEXEC);
  PetscErrorCode      code;

  PetscFunctionBegin;
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': no temporary file beside it: %s",
             store->path, strerror(errno));
  PetscCall(FwStoreSetTemporary(store, temporary));
  code = WriteTemporary(descriptor, store->path, image->byte, image->n);
  if (!code) code = ReadBack(descriptor, temporary, image);
  PetscCheck(!close(descriptor) || code, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", store->path,
             strerror(errno));
  PetscCall(code);
  PetscCall(FwStoreVerifyMemory(store->path, image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On an error FwStoreUnlock() removes what is left */
PetscErrorCode FwStoreCommitFile(FwStore store)
{
  char        folder[PATH_MAX], temporary[PATH_MAX];
  const char *slash = strrchr(store->path, '/');

  PetscFunctionBegin;
  PetscCheck(store->is_writing && store->file >= 0, PETSC_COMM_SELF, PETSC_ERR_PLIB, "'%s' is not open for writing",
             store->path);
  FwStoreFolder(store->path, sizeof folder, folder);
  PetscCall(PetscSNPrintf(temporary, sizeof temporary, "%s/.%s.XXXXXX.tmp", folder, slash ? slash + 1 : store->path));
  PetscCall(FinishImage(store));
  PetscCall(WriteAndVerify(store, temporary));
  PetscCheck(!rename(temporary, store->path), PETSC_COMM_SELF, FW_ERR_FILE, "cannot rename '%s' to '%s': %s", temporary,
             store->path, strerror(errno));
  PetscCall(FwStoreSetTemporary(store, NULL));
  PetscCall(SyncFolder(folder, store->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}
