/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The result file: named arrays in HDF5, written beside their place and renamed when they are complete and verified.
 *
 * A store is open for writing or for reading. While one is written, `PATH.lock` says who writes it; the arrays stay in
 * the memory of rank 0. FwStoreCommit() writes a temporary file in the same folder, syncs it, reads everything back, and
 * only then renames it to PATH: a run that is killed leaves the previous result, or none, never a half-written one. A
 * digest of the whole file stands behind the end that HDF5 knows; see docs/store.md.
 *
 * Arrays are small here (results, not matrices): rank 0 holds and writes them. Every array has a dimension scale of its
 * own group on each axis, `units`, `long_name`, and a fletcher32 checksum; types are int64, double and UTF-8 strings.
 *
 * Notation: `path` of an array is absolute, such as "/predict/test_error"; missing groups are made.
 */

#include <finwidth/base.h>

typedef struct FwStoreImpl *FwStore;

typedef enum { FW_STORE_REAL, FW_STORE_INTEGER, FW_STORE_TEXT } FwStoreType;

enum { FW_STORE_MAX_DIM = 16, FW_STORE_NAME_SIZE = 64 };

/** Shape of an array: `name[d]` is the dimension scale of axis d (made with values 0, 1, 2, ... where it does not exist
 *  in the group yet), `size[d]` its length. `n_dim = 0` is a scalar. */
typedef struct {
  PetscInt    n_dim;
  const char *name[FW_STORE_MAX_DIM];
  PetscInt64  size[FW_STORE_MAX_DIM];
} FwShape;

/** Refuse, before anything is computed, an output that cannot be written or must not be replaced.
 *
 * @collective{comm}
 * @error FW_ERR_EXISTS  `path` exists and `overwrite` is false, or is anything else than a result; another run holds its
 *                       lock
 * @error FW_ERR_FILE    the folder does not exist or cannot be written
 */
PetscErrorCode FwStoreCheckOutput(MPI_Comm comm, const char path[], PetscBool overwrite);

/** Open a store for writing.
 *
 * The lock is taken with O_EXCL and holds host, process and time; the lock of a process that is gone from the same host
 * is taken over.
 *
 * @collective{comm}
 * @param[in]  comm       ranks of all later calls; rank 0 writes
 * @param[in]  path       the result file
 * @param[in]  overwrite  an existing result may be replaced; another file never is
 * @param[out] store      finish with FwStoreCommit() or FwStoreDestroy()
 * @error as FwStoreCheckOutput()
 */
PetscErrorCode FwStoreCreate(MPI_Comm comm, const char path[], PetscBool overwrite, FwStore *store);

/** Write an array of doubles, integers or strings; `data` is looked at on rank 0 only.
 *
 * Scales come first: an array named like its only axis is that axis' dimension scale and gives it its values.
 *
 * @collective{store}
 * @param[in] path       absolute, not yet in the store
 * @param[in] shape      see FwShape
 * @param[in] data       shape->size doubles, PetscInt64, or char pointers, row-major
 * @param[in] units      such as "label^2" or "1"
 * @param[in] long_name  one line for an axis label or a table
 * @error FW_ERR_FILE  the write failed: names path and reason
 */
PetscErrorCode FwStoreReals(FwStore store, const char path[], const FwShape *shape, const double data[],
                            const char units[], const char long_name[]);
PetscErrorCode FwStoreIntegers(FwStore store, const char path[], const FwShape *shape, const PetscInt64 data[],
                               const char units[], const char long_name[]);
PetscErrorCode FwStoreTexts(FwStore store, const char path[], const FwShape *shape, const char *const data[],
                            const char units[], const char long_name[]);

/** Set an attribute of an object ("/" for the file) to a string. Collective. */
PetscErrorCode FwStoreSetText(FwStore store, const char path[], const char name[], const char text[]);

/** Write the root attributes that every result has: schema, program version and commit, command line, resolved input,
 *  seed, data digest, ranks, libraries, status (`complete`, `partial` or `failed`), warnings, citation, times.
 *
 * @collective{store}
 * @param[in] resolved  resolved input, from FwOptionsResolved()
 * @param[in] digest    digest of the data, or "" where there are none
 * @param[in] status    see above
 */
PetscErrorCode FwStoreProvenance(FwStore store, const char resolved[], const char digest[], const char status[]);

/** Close, sync, verify and rename into place; release the lock; set the handle to NULL.
 *
 * @collective{store}
 * @error FW_ERR_FILE  something could not be written or did not read back: the temporary file is removed
 */
PetscErrorCode FwStoreCommit(FwStore *store);

/** Drop a store: one open for writing is thrown away with its temporary file and lock. NULL is fine. Collective. */
PetscErrorCode FwStoreDestroy(FwStore *store);

/** Remove the lock of a result where the run that held it is gone from this host. Collective on `comm`. */
PetscErrorCode FwStoreRemoveDeadLock(MPI_Comm comm, const char path[]);

/** Remove the temporary file and the lock of every store that is open for writing on this rank, without any MPI or HDF5
 *  call: for the way out after an error or a signal. */
void FwStoreAbandonAll(void);

/** Open a result for reading, on every rank of `comm` (rank 0 reads, the others get copies).
 *
 * @collective{comm}
 * @error FW_ERR_FILE  not there, or not a result file of finwidth: says which
 */
PetscErrorCode FwStoreOpen(MPI_Comm comm, const char path[], FwStore *store);

/** Whether an object (array or group) exists. Collective. */
PetscErrorCode FwStoreHas(FwStore store, const char path[], PetscBool *has);

/** Read an array of doubles (integers are converted).
 *
 * @collective{store}
 * @param[out] n_dim  may be NULL
 * @param[out] size   room for FW_STORE_MAX_DIM lengths; may be NULL
 * @param[out] n      number of entries
 * @param[out] data   allocated here, release with PetscFree()
 * @error FW_ERR_FILE  missing, not numbers, or its checksum is wrong
 */
PetscErrorCode FwStoreGetReals(FwStore store, const char path[], PetscInt *n_dim, PetscInt64 size[], PetscInt64 *n,
                               double **data);

/** Read an array of integers, exactly; as FwStoreGetReals() otherwise.
 * @error FW_ERR_FILE  missing, not integers, or its checksum is wrong */
PetscErrorCode FwStoreGetIntegers(FwStore store, const char path[], PetscInt *n_dim, PetscInt64 size[], PetscInt64 *n,
                                  PetscInt64 **data);

/** The paths of all arrays, in the order in which they were written.
 *
 * @collective{store}
 * @param[out] path  [n] paths in one piece of memory with their pointers: release with a single PetscFree()
 * @error FW_ERR_FILE  a link leads out of the file
 */
PetscErrorCode FwStoreGetArrays(FwStore store, PetscInt *n, char ***path);

/** Read an array of texts.
 *
 * @collective{store}
 * @param[out] n     number of entries
 * @param[out] text  [n] texts in one piece of memory with their pointers: release with a single PetscFree()
 * @error FW_ERR_FILE  missing, not text, or its checksum is wrong
 */
PetscErrorCode FwStoreGetTexts(FwStore store, const char path[], PetscInt64 *n, char ***text);

/** Whether an array holds reals, integers or text, without reading it. Collective. @error FW_ERR_FILE if it is missing */
PetscErrorCode FwStoreGetType(FwStore store, const char path[], FwStoreType *type);

/** The names of the dimension scales of an array, axis by axis; "" where an axis has none. A scale is its own axis.
 *
 * @collective{store}
 * @param[out] n_dim  number of axes
 * @param[out] axis   room for FW_STORE_MAX_DIM names
 * @error FW_ERR_FILE  missing, or a name is longer than FW_STORE_NAME_SIZE - 1
 */
PetscErrorCode FwStoreGetAxes(FwStore store, const char path[], PetscInt *n_dim,
                              char axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE]);

/** Read a string attribute; release with PetscFree(). Collective. @error FW_ERR_FILE if it is missing */
PetscErrorCode FwStoreGetText(FwStore store, const char path[], const char name[], char **text);

/** Read every array of a file through its checksum and look at schema and status.
 *
 * @collective{comm}
 * @param[out] report  one line for the user, such as "complete, 23 arrays, schema 1"; release with PetscFree()
 * @error FW_ERR_FILE  damaged, foreign or unreadable
 */
PetscErrorCode FwStoreVerify(MPI_Comm comm, const char path[], char **report);
