/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The public face of a store: rank 0 works, its errors become everyone's, and what was read is handed to all.
 */

#include "store_impl.h"

#include <finwidth/option.h>
#include <finwidth/provenance.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

/* --- HDF5 --------------------------------------------------------------------------------------------------- */

static herr_t KeepReason(unsigned n, const H5E_error2_t *error, void *context)
{
  char *text = context;

  if (n == 0 && error->desc) (void)PetscStrncpy(text, error->desc, 256);
  return 0;
}

const char *FwStoreReason(void)
{
  static char text[256];

  (void)PetscStrncpy(text, "HDF5 gives no reason", sizeof text);
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, KeepReason, text);
  return text;
}

/* Filter plugins are shared libraries found through the environment: a data file must not be able to load one */
PetscErrorCode FwStoreQuietHdf5(void)
{
  PetscFunctionBegin;
  PetscCheck(H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0 && H5PLset_loading_state(0) >= 0, PETSC_COMM_SELF,
             PETSC_ERR_LIB, "HDF5 does not start");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H5Lexists() wants every parent to exist */
PetscErrorCode FwStoreExists(FwStore store, const char path[], PetscBool *exists)
{
  char       *prefix, *slash;
  htri_t      found = 1;
  const char *end   = path + strlen(path);

  PetscFunctionBegin;
  PetscCall(PetscStrallocpy(path, &prefix));
  slash = prefix;
  while (found > 0 && slash < prefix + (end - path) && slash[1]) {
    slash = strchr(slash + 1, '/');
    if (slash) *slash = '\0';
    found = H5Lexists(store->file, prefix, H5P_DEFAULT);
    if (!slash) break;
    *slash = '/';
  }
  PetscCall(PetscFree(prefix));
  H5Call(store, found);
  *exists = found > 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwStoreDigest(const FwStoreArray *array, char text[FW_STORE_DIGEST])
{
  const XXH64_hash_t hash = XXH64(array->n ? array->data : "", (size_t)array->n * array->entry, 0);

  (void)PetscSNPrintf(text, FW_STORE_DIGEST, "%016llx", (unsigned long long)hash);
}

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode Allocate(MPI_Comm comm, const char path[], PetscBool is_writing, FwStore *store)
{
  FwStore s;

  PetscFunctionBegin;
  PetscCall(PetscNew(&s));
  PetscCall(PetscCommDuplicate(comm, &s->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(s->comm, &s->rank));
  PetscCall(PetscStrallocpy(path, &s->path));
  s->is_writing = is_writing;
  s->file       = H5I_INVALID_HID;
  s->slot       = -1;
  *store        = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreCheckOutput(MPI_Comm comm, const char path[], PetscBool overwrite)
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscMPIInt    rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) code = FwStoreCheckPath(path, overwrite);
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The lock comes before the look at the target: a run that ends between the two would be overwritten */
static PetscErrorCode CreateOnRoot(FwStore store, PetscBool overwrite)
{
  PetscFunctionBegin;
  PetscCall(FwStoreQuietHdf5());
  PetscCall(FwStoreCheckPath(store->path, overwrite));
  PetscCall(FwStoreLock(store));
  if (!overwrite) {
    PetscBool exists;

    PetscCall(PetscTestFile(store->path, '\0', &exists));
    PetscCheck(!exists, PETSC_COMM_SELF, FW_ERR_EXISTS,
               "'%s' has just been written by another run: give -overwrite to replace it", store->path);
  }
  PetscCall(FwStoreCreateFile(store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pass on an error met while a handle is being made: nobody will see the handle */
static PetscErrorCode AgreeOrDestroy(FwStore *store, PetscErrorCode code)
{
  MPI_Comm comm = (*store)->comm;

  PetscFunctionBegin;
  code = FwErrorAgree(comm, 0, code);
  if (code) (void)FwStoreDestroy(store);
  PetscFunctionReturn(code);
}

PetscErrorCode FwStoreCreate(MPI_Comm comm, const char path[], PetscBool overwrite, FwStore *store)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(Allocate(comm, path, PETSC_TRUE, store));
  FwOnFailure(FwStoreAbandonAll);
  if ((*store)->rank == 0) code = CreateOnRoot(*store, overwrite);
  PetscCall(AgreeOrDestroy(store, code));
  PetscCall(FwStoreShareLock(*store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreOpen(MPI_Comm comm, const char path[], FwStore *store)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(Allocate(comm, path, PETSC_FALSE, store));
  if ((*store)->rank == 0) code = FwStoreOpenFile(*store);
  PetscCall(AgreeOrDestroy(store, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreDestroy(FwStore *store)
{
  FwStore        s = *store;
  PetscErrorCode code;

  PetscFunctionBegin;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  *store = NULL;
  code   = FwStoreCloseFile(s);
  FwStoreUnlock(s);
  free(s->memory.byte);
  PetscCall(PetscFree(s->path));
  PetscCall(PetscCommDestroy(&s->comm));
  PetscCall(PetscFree(s));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreCommit(FwStore *store)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if ((*store)->rank == 0) code = FwStoreCommitFile(*store);
  code = FwErrorAgree((*store)->comm, 0, code);
  PetscCall(FwStoreDestroy(store));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- attributes --------------------------------------------------------------------------------------------- */

PetscErrorCode FwStoreSetText(FwStore store, const char path[], const char name[], const char text[])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = FwStorePutText(store, path, name, text);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutProvenance(FwStore store, const char resolved[], const char digest[], const char status[],
                                    PetscInt64 seed, PetscMPIInt n_rank)
{
  const time_t now = time(NULL);
  struct tm    utc;
  char         created[32] = "";

  PetscFunctionBegin;
  if (gmtime_r(&now, &utc)) strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
  PetscCall(FwStorePutText(store, "/", "program_version", FwVersion()));
  PetscCall(FwStorePutText(store, "/", "commit", FwCommit()));
  PetscCall(FwStorePutText(store, "/", "command_line", FwCommandLine()));
  PetscCall(FwStorePutText(store, "/", "input", resolved));
  PetscCall(FwStorePutInteger(store, "/", "seed", seed));
  PetscCall(FwStorePutText(store, "/", "data_digest", digest));
  PetscCall(FwStorePutInteger(store, "/", "ranks", n_rank));
  PetscCall(FwStorePutText(store, "/", "libraries", FwLibraries()));
  PetscCall(FwStorePutText(store, "/", "status", status));
  PetscCall(FwStorePutText(store, "/", "warnings", FwWarnings()));
  PetscCall(FwStorePutText(store, "/", "citation", FwCitation()));
  PetscCall(FwStorePutText(store, "/", "created", created));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreProvenance(FwStore store, const char resolved[], const char digest[], const char status[])
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt64     seed;
  PetscMPIInt    n_rank;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCallMPI(MPI_Comm_size(store->comm, &n_rank));
  if (store->rank == 0) code = PutProvenance(store, resolved, digest, status, seed, n_rank);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reading ------------------------------------------------------------------------------------------------ */

/* MPI counts are ints: long arrays go in pieces */
static PetscErrorCode Broadcast(MPI_Comm comm, void *data, size_t n_byte)
{
  const size_t piece = (size_t)1 << 30;

  PetscFunctionBegin;
  for (size_t done = 0; done < n_byte; done += piece)
    PetscCallMPI(MPI_Bcast((char *)data + done, (PetscMPIInt)PetscMin(piece, n_byte - done), MPI_BYTE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for `n_byte` on the ranks that have not read the data themselves */
static PetscErrorCode MakeRoom(FwStore store, size_t n_byte, void *data)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank) code = PetscMalloc(n_byte, (void **)data);
  PetscCall(FwErrorAgreeAny(store->comm, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreHas(FwStore store, const char path[], PetscBool *has)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *has = PETSC_FALSE;
  if (store->rank == 0) code = FwStoreExists(store, path, has);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscCallMPI(MPI_Bcast(has, 1, MPIU_BOOL, 0, store->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNumbers(FwStore store, const char path[], FwStoreArray *array)
{
  double *value;

  PetscFunctionBegin;
  PetscCall(FwStoreReadArray(store, path, array));
  PetscCheck(array->type != FW_STORE_TEXT, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': array '%s' holds text, want numbers",
             store->path, path);
  if (array->type == FW_STORE_INTEGER) { /* both have 8 bytes: converted in place, entry by entry */
    const PetscInt64 *integer = array->data;

    value = array->data;
    for (PetscInt64 i = 0; i < array->n; i++) {
      const double converted = (double)integer[i];

      memcpy(&value[i], &converted, sizeof converted);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hand what rank 0 has read to the others; both types have eight bytes */
static PetscErrorCode ShareNumbers(FwStore store, FwStoreArray *array, PetscInt *n_dim, PetscInt64 size[])
{
  void *value = array->data;

  PetscFunctionBegin;
  array->data = NULL;
  PetscCall(Broadcast(store->comm, array, sizeof *array));
  PetscCall(MakeRoom(store, (size_t)array->n * 8, &value));
  PetscCall(Broadcast(store->comm, value, (size_t)array->n * 8));
  if (n_dim) *n_dim = array->n_dim;
  for (PetscInt d = 0; size && d < array->n_dim; d++) size[d] = array->size[d];
  array->data = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetReals(FwStore store, const char path[], PetscInt *n_dim, PetscInt64 size[], PetscInt64 *n,
                               double **data)
{
  FwStoreArray   array = {0};
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = ReadNumbers(store, path, &array);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscCall(ShareNumbers(store, &array, n_dim, size));
  *n    = array.n;
  *data = array.data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadIntegers(FwStore store, const char path[], FwStoreArray *array)
{
  PetscFunctionBegin;
  PetscCall(FwStoreReadArray(store, path, array));
  PetscCheck(array->type == FW_STORE_INTEGER, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': array '%s' does not hold integers",
             store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetIntegers(FwStore store, const char path[], PetscInt *n_dim, PetscInt64 size[], PetscInt64 *n,
                                  PetscInt64 **data)
{
  FwStoreArray   array = {0};
  PetscErrorCode code  = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = ReadIntegers(store, path, &array);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscCall(ShareNumbers(store, &array, n_dim, size));
  *n    = array.n;
  *data = array.data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTexts(FwStore store, const char path[], FwStoreArray *array)
{
  PetscFunctionBegin;
  PetscCall(FwStoreReadArray(store, path, array));
  PetscCheck(array->type == FW_STORE_TEXT, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': array '%s' holds numbers, want text",
             store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From NUL-padded entries to pointers and the texts that they point to */
static PetscErrorCode UnpackTexts(const FwStoreArray *array, const char entries[], char ***text)
{
  const size_t n = (size_t)array->n, stride = array->entry + 1;
  char        *copy;

  PetscFunctionBegin;
  PetscCall(PetscMalloc(PetscMax(1, n * (sizeof(char *) + stride)), text));
  copy = (char *)(*text + n);
  for (size_t i = 0; i < n; i++) {
    (*text)[i] = copy + i * stride;
    memcpy((*text)[i], entries + i * array->entry, array->entry);
    (*text)[i][array->entry] = '\0';
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetTexts(FwStore store, const char path[], PetscInt64 *n, char ***text)
{
  FwStoreArray   array   = {0};
  PetscErrorCode code    = PETSC_SUCCESS;
  char          *entries = NULL;

  PetscFunctionBegin;
  if (store->rank == 0) code = ReadTexts(store, path, &array);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  entries    = array.data;
  array.data = NULL;
  PetscCall(Broadcast(store->comm, &array, sizeof array));
  PetscCall(MakeRoom(store, (size_t)array.n * array.entry, &entries));
  PetscCall(Broadcast(store->comm, entries, (size_t)array.n * array.entry));
  code = UnpackTexts(&array, entries, text);
  PetscCall(FwErrorAgreeAny(store->comm, code));
  PetscCall(PetscFree(entries));
  *n = array.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pointers to texts that follow each other */
static PetscErrorCode PointToTexts(PetscInt n, size_t n_byte, const char names[], char ***text)
{
  char *copy;

  PetscFunctionBegin;
  PetscCall(PetscMalloc((size_t)n * sizeof(char *) + n_byte + 1, text));
  copy = (char *)(*text + n);
  memcpy(copy, names, n_byte);
  for (PetscInt i = 0; i < n; i++, copy += strlen(copy) + 1) (*text)[i] = copy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetArrays(FwStore store, PetscInt *n, char ***path)
{
  PetscErrorCode code   = PETSC_SUCCESS;
  char          *names  = NULL;
  PetscInt64     n_byte = 0;

  PetscFunctionBegin;
  *n = 0;
  if (store->rank == 0) code = FwStoreListArrays(store, n, &names);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  if (store->rank == 0 && names)
    for (PetscInt i = 0; i < *n; i++) n_byte += (PetscInt64)strlen(names + n_byte) + 1;
  PetscCall(Broadcast(store->comm, n, sizeof *n));
  PetscCall(Broadcast(store->comm, &n_byte, sizeof n_byte));
  PetscCall(MakeRoom(store, (size_t)n_byte, &names));
  PetscCall(Broadcast(store->comm, names, (size_t)n_byte));
  PetscCall(PointToTexts(*n, (size_t)n_byte, names, path));
  PetscCall(PetscFree(names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetType(FwStore store, const char path[], FwStoreType *type)
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *type = FW_STORE_REAL;
  if (store->rank == 0) code = FwStoreReadType(store, path, type);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscCall(Broadcast(store->comm, type, sizeof *type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetAxes(FwStore store, const char path[], PetscInt *n_dim,
                              char axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *n_dim = 0;
  if (store->rank == 0) code = FwStoreReadAxes(store, path, n_dim, axis);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscCall(Broadcast(store->comm, n_dim, sizeof *n_dim));
  PetscCall(Broadcast(store->comm, axis, (size_t)*n_dim * FW_STORE_NAME_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreGetText(FwStore store, const char path[], const char name[], char **text)
{
  PetscErrorCode code   = PETSC_SUCCESS;
  PetscInt64     n_byte = 0;
  char          *copy   = NULL;

  PetscFunctionBegin;
  if (store->rank == 0) code = FwStoreReadText(store, path, name, &copy);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  if (store->rank == 0) n_byte = (PetscInt64)strlen(copy) + 1;
  PetscCallMPI(MPI_Bcast(&n_byte, 1, MPIU_INT64, 0, store->comm));
  PetscCall(MakeRoom(store, (size_t)n_byte, &copy));
  PetscCall(Broadcast(store->comm, copy, (size_t)n_byte));
  *text = copy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreVerify(MPI_Comm comm, const char path[], char **report)
{
  char           text[256] = "";
  PetscErrorCode code      = PETSC_SUCCESS;
  PetscMPIInt    rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) code = FwStoreVerifyFile(path, text, sizeof text);
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscCallMPI(MPI_Bcast(text, sizeof text, MPI_CHAR, 0, comm));
  PetscCall(PetscStrallocpy(text, report));
  PetscFunctionReturn(PETSC_SUCCESS);
}
