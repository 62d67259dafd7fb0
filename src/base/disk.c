/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bytes on the disk, and HDF5 files in memory.
 */

#include <finwidth/disk.h>

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- bytes -------------------------------------------------------------------------------------------------- */

PetscErrorCode FwDiskWrite(int descriptor, const char path[], size_t offset, size_t n, const void *data)
{
  PetscFunctionBegin;
  for (size_t done = 0; done < n;) {
    const ssize_t put = pwrite(descriptor, (const char *)data + done, n - done, (off_t)(offset + done));

    if (put < 0 && errno == EINTR) continue;
    PetscCheck(put > 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write '%s': %s", path,
               put < 0 ? strerror(errno) : "nothing is taken");
    done += (size_t)put;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDiskRead(int descriptor, const char path[], size_t offset, size_t n, void *data)
{
  PetscFunctionBegin;
  for (size_t done = 0; done < n;) {
    const ssize_t got = pread(descriptor, (char *)data + done, n - done, (off_t)(offset + done));

    if (got < 0 && errno == EINTR) continue;
    PetscCheck(got >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': %s", path, strerror(errno));
    PetscCheck(got > 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': it ends too early", path);
    done += (size_t)got;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDiskGrant(int descriptor, const char path[])
{
  const mode_t mask = umask(0);

  PetscFunctionBegin;
  umask(mask);
  PetscCheck(!fchmod(descriptor, 0666 & ~mask), PETSC_COMM_SELF, FW_ERR_FILE, "cannot set the mode of '%s': %s", path,
             strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeOnRoot(const char path[], char beside[])
{
  const int      descriptor = mkostemps(beside, 4, O_CLOEXEC);
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot create '%s', nor a file beside it: %s", path,
             strerror(errno));
  code = FwDiskGrant(descriptor, beside);
  (void)close(descriptor);
  if (code) (void)unlink(beside);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDiskMakeBeside(MPI_Comm comm, const char path[], size_t size, char beside[])
{
  const int   n = snprintf(beside, size, "%s.XXXXXX.tmp", path);
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCheck(n > 0 && (size_t)n < size, comm, FW_ERR_FILE, "'%s' is too long a path", path);
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : MakeOnRoot(path, beside)));
  PetscCallMPI(MPI_Bcast(beside, n, MPI_CHAR, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- HDF5 in memory ----------------------------------------------------------------------------------------- */

static const size_t growth = (size_t)1 << 16; /* bytes by which a file grows */

/* HDF5 hands its memory to these, and the last one leaves it to us when the file is closed */

static void *Grow(void *image, size_t n_byte, H5FD_file_image_op_t operation, void *context)
{
  FwMemoryFile  *memory = context;
  unsigned char *grown  = realloc(image, n_byte);

  (void)operation;
  if (!grown) return NULL;
  if (n_byte > memory->n) memset(grown + memory->n, 0, n_byte - memory->n);
  memory->byte = grown;
  memory->n    = n_byte;
  return grown;
}

static void *Make(size_t n_byte, H5FD_file_image_op_t operation, void *context)
{
  return Grow(NULL, n_byte, operation, context);
}

/* Of a file that is read every copy is the file itself */
static void *Share(size_t n_byte, H5FD_file_image_op_t operation, void *context)
{
  (void)n_byte;
  (void)operation;
  return ((FwMemoryFile *)context)->byte;
}

static void *Copy(void *to, const void *from, size_t n_byte, H5FD_file_image_op_t operation, void *context)
{
  (void)operation;
  (void)context;
  return to == from ? to : memcpy(to, from, n_byte);
}

static herr_t Keep(void *image, H5FD_file_image_op_t operation, void *context)
{
  (void)operation;
  if (image != ((FwMemoryFile *)context)->byte) free(image);
  return 0;
}

static void *ShareContext(void *context)
{
  return context;
}

static herr_t KeepContext(void *context)
{
  (void)context;
  return 0;
}

/* The name stands for nothing: it must differ between open files, and must not exist, or HDF5 would read that file first */
static hid_t Open(FwMemoryFile *memory, hid_t access, hid_t creation, PetscBool is_new)
{
  H5FD_file_image_callbacks_t callbacks = {.image_malloc  = is_new ? Make : Share,
                                           .image_memcpy  = Copy,
                                           .image_realloc = Grow,
                                           .image_free    = Keep,
                                           .udata_copy    = ShareContext,
                                           .udata_free    = KeepContext,
                                           .udata         = memory};
  char                        name[64];

  snprintf(name, sizeof name, "/dev/null/%p", (void *)memory);
  if (H5Pset_fapl_core(access, growth, 0) < 0 || H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0 ||
      H5Pset_file_image_callbacks(access, &callbacks) < 0)
    return H5I_INVALID_HID;
  if (is_new) return H5Fcreate(name, H5F_ACC_TRUNC, creation, access);
  if (H5Pset_file_image(access, memory->byte, memory->n) < 0) return H5I_INVALID_HID;
  return H5Fopen(name, H5F_ACC_RDONLY, access);
}

PetscInt64 FwMemoryFileCreate(FwMemoryFile *memory, PetscInt64 creation, size_t head)
{
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  hid_t       file;

  if (access < 0 || H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) < 0 ||
      (head && (H5Pset_meta_block_size(access, head) < 0 || H5Pset_small_data_block_size(access, 0) < 0)))
    return H5I_INVALID_HID;
  file = Open(memory, access, creation, PETSC_TRUE);
  (void)H5Pclose(access);
  return file;
}

PetscInt64 FwMemoryFileOpen(FwMemoryFile *memory)
{
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  hid_t       file;

  if (access < 0) return H5I_INVALID_HID;
  file = Open(memory, access, H5P_DEFAULT, PETSC_FALSE);
  (void)H5Pclose(access);
  return file;
}
