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
static PetscErrorCode FinishImage(FwStore store, size_t *n_byte)
{
  const hid_t    file = store->file;
  unsigned char *image;
  size_t         end;

  PetscFunctionBegin;
  store->file = H5I_INVALID_HID;
  H5Call(store, H5Fflush(file, H5F_SCOPE_GLOBAL));
  H5Call(store, H5Fclose(file));
  end = store->n_image < 48 ? 0 : EndOfFile(store->image);
  PetscCheck(end && end <= store->n_image, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 left %zu of %zu bytes", store->n_image,
             end);
  image = realloc(store->image, end + FW_STORE_TRAILER);
  PetscCheck(image, PETSC_COMM_SELF, PETSC_ERR_MEM, "out of memory for '%s'", store->path);
  FwStoreTrailer(image, end, image + end);
  store->image = image;
  *n_byte      = end + FW_STORE_TRAILER;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteFully(int descriptor, const char path[], const unsigned char image[], size_t n_byte)
{
  PetscFunctionBegin;
  for (size_t done = 0; done < n_byte;) {
    const ssize_t n = write(descriptor, image + done, PetscMin(n_byte - done, (size_t)1 << 30));

    if (n < 0 && errno == EINTR) continue;
    PetscCheck(n > 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", path,
               n < 0 ? strerror(errno) : "nothing is taken");
    done += (size_t)n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* mkostemps() makes files that only the user can read: give this one what open() would have given it */
static PetscErrorCode GrantByUmask(int descriptor, const char path[])
{
  const mode_t mask = umask(0);

  PetscFunctionBegin;
  umask(mask);
  PetscCheck(!fchmod(descriptor, 0666 & ~mask), PETSC_COMM_SELF, FW_ERR_FILE, "cannot set the mode of '%s': %s", path,
             strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteTemporary(int descriptor, const char path[], const unsigned char image[], size_t n_byte)
{
  PetscFunctionBegin;
  PetscCall(WriteFully(descriptor, path, image, n_byte));
  PetscCall(GrantByUmask(descriptor, path));
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

static PetscErrorCode WriteAndVerify(FwStore store, char temporary[], const unsigned char image[], size_t n_byte)
{
  char           report[256];
  const int      descriptor = mkostemps(temporary, 4, O_CLOEXEC);
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': no temporary file beside it: %s",
             store->path, strerror(errno));
  PetscCall(FwStoreSetTemporary(store, temporary));
  code = WriteTemporary(descriptor, store->path, image, n_byte);
  PetscCheck(!close(descriptor) || code, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", store->path,
             strerror(errno));
  PetscCall(code);
  PetscCall(FwStoreVerifyFile(temporary, report, sizeof report));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On an error FwStoreUnlock() removes what is left */
PetscErrorCode FwStoreCommitFile(FwStore store)
{
  char        folder[PATH_MAX], temporary[PATH_MAX];
  const char *slash  = strrchr(store->path, '/');
  size_t      n_byte = 0;

  PetscFunctionBegin;
  PetscCheck(store->is_writing && store->file >= 0, PETSC_COMM_SELF, PETSC_ERR_PLIB, "'%s' is not open for writing",
             store->path);
  FwStoreFolder(store->path, sizeof folder, folder);
  PetscCall(PetscSNPrintf(temporary, sizeof temporary, "%s/.%s.XXXXXX.tmp", folder, slash ? slash + 1 : store->path));
  PetscCall(FinishImage(store, &n_byte));
  PetscCall(WriteAndVerify(store, temporary, store->image, n_byte));
  PetscCheck(!rename(temporary, store->path), PETSC_COMM_SELF, FW_ERR_FILE, "cannot rename '%s' to '%s': %s", temporary,
             store->path, strerror(errno));
  PetscCall(FwStoreSetTemporary(store, NULL));
  PetscCall(SyncFolder(folder, store->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}
