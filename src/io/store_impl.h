/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Private layout of a store, and what its four sources share. Everything here happens on rank 0 alone unless it says
 * otherwise; errors are made collective by the public functions.
 *
 * A store lives in memory (HDF5's core driver without a backing file) until FwStoreCommit() writes it with plain system
 * calls, or since FwStoreOpen() read it with them: see disk.h.
 *
 * The last FW_STORE_TRAILER bytes of a file, behind the end that HDF5 knows, hold a magic word, the length and the
 * XXH3-64 digest of everything before them. They are looked at before HDF5 is: its reader has been known to crash on
 * damaged metadata, and not all metadata carry checksums.
 */

#include <finwidth/disk.h>
#include <finwidth/store.h>

#include <hdf5.h>

enum { FW_STORE_TRAILER = 32, FW_STORE_SCHEMA = 1 };

struct FwStoreImpl {
  MPI_Comm     comm; /* from PetscCommDuplicate() */
  PetscMPIInt  rank;
  PetscBool    is_writing;
  PetscBool    has_lock;
  char        *path;
  hid_t        file; /* on rank 0; H5I_INVALID_HID elsewhere and when closed */
  FwMemoryFile memory;
  int          slot; /* what FwStoreAbandonAll() would remove; -1 for none */
};

/** Call HDF5 on rank 0; a negative result is FW_ERR_FILE with the path and HDF5's innermost reason. */
#define H5Call(store, ...)                                                           \
  PetscCheck((__VA_ARGS__) >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot %s '%s': %s", \
             (store)->is_writing ? "write" : "read", (store)->path, FwStoreReason())

/** Close what is open. @error FW_ERR_FILE */
PetscErrorCode FwStoreCloseFile(FwStore store);

/** Innermost line of HDF5's error stack. Borrowed until the next call. */
const char *FwStoreReason(void);

/** An array in memory: `data` holds n entries of `entry` bytes (double, PetscInt64, or NUL-padded text). */
typedef struct {
  FwStoreType type;
  PetscInt    n_dim;
  PetscInt64  size[FW_STORE_MAX_DIM];
  PetscInt64  n;
  size_t      entry;
  void       *data;
} FwStoreArray;

enum { FW_STORE_DIGEST = 17 }; /* 16 hex digits and the end */

/** XXH64 of the values of an array, in hex. */
void FwStoreDigest(const FwStoreArray *array, char text[FW_STORE_DIGEST]);

/** store.c: no error printing, no plugins; whether an object is there. */
PetscErrorCode FwStoreQuietHdf5(void);
PetscErrorCode FwStoreExists(FwStore store, const char path[], PetscBool *exists);

/** store_read.c */
PetscErrorCode FwStoreOpenFile(FwStore store);
PetscErrorCode FwStoreReadArray(FwStore store, const char path[], FwStoreArray *array); /* data: PetscFree() */
PetscErrorCode FwStoreReadText(FwStore store, const char path[], const char name[], char **text);
PetscErrorCode FwStoreReadType(FwStore store, const char path[], FwStoreType *type);
PetscErrorCode FwStoreReadAxes(FwStore store, const char path[], PetscInt *n_dim,
                               char axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE]);
PetscErrorCode FwStoreListArrays(FwStore store, PetscInt *n, char **names); /* each with its NUL; PetscFree() */
PetscErrorCode FwStoreVerifyFile(const char path[], char report[], size_t size);
PetscErrorCode FwStoreVerifyMemory(const char path[], const FwMemoryFile *memory);
PetscBool      FwStoreIsResult(const char path[]); /* by what stands at its end: one that is cut off is none */

/** store_write.c: an empty file in memory, and one attribute of it. */
PetscErrorCode FwStoreCreateFile(FwStore store);
PetscErrorCode FwStorePutText(FwStore store, const char path[], const char name[], const char text[]);
PetscErrorCode FwStorePutInteger(FwStore store, const char path[], const char name[], PetscInt64 value);

/** store_commit.c: write the image beside the target, verify it, rename it. */
PetscErrorCode FwStoreCommitFile(FwStore store);
void           FwStoreTrailer(const void *image, size_t n_byte, unsigned char trailer[FW_STORE_TRAILER]);

/** store_lock.c */
PetscErrorCode FwStoreCheckPath(const char path[], PetscBool overwrite);
PetscErrorCode FwStoreLock(FwStore store);
/** Have every rank know the lock that rank 0 has taken. Collective on the store's ranks. */
PetscErrorCode FwStoreShareLock(FwStore store);
void           FwStoreUnlock(FwStore store);
/** Have FwStoreAbandonAll() remove this temporary file too; NULL when it is gone. */
PetscErrorCode FwStoreSetTemporary(FwStore store, const char path[]);
/** Folder of a path, "." where it has none. */
void FwStoreFolder(const char path[], size_t size, char folder[]);
