/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Checkpoints on disk: a header of fixed size, the bytes, and a digest of both.
 */

#include <finwidth/checkpoint.h>
#include <finwidth/disk.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct {
  char     magic[16];
  char     tag[64];
  uint64_t n;
  uint64_t digest; /* of the header with this field zero, and the bytes */
} Header;

static const char magic[16] = "finwidth-chk-01";

static uint64_t DigestOf(Header header, const char bytes[])
{
  header.digest = 0;
  return XXH3_64bits_withSeed(bytes, (size_t)header.n, XXH3_64bits(&header, sizeof header));
}

static PetscErrorCode WriteBoth(int file, const char path[], const Header *header, const char bytes[])
{
  PetscFunctionBegin;
  PetscCall(FwDiskWrite(file, path, 0, sizeof *header, header));
  PetscCall(FwDiskWrite(file, path, sizeof *header, (size_t)header->n, bytes));
  PetscCheck(!fsync(file), PETSC_COMM_SELF, FW_ERR_FILE, "cannot write checkpoint '%s': %s", path, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteOnRoot(const char path[], const char tag[], size_t n, const char bytes[])
{
  Header         header = {.n = n};
  char           beside[PETSC_MAX_PATH_LEN], previous[PETSC_MAX_PATH_LEN];
  int            file;
  PetscErrorCode code;

  PetscFunctionBegin;
  memcpy(header.magic, magic, sizeof header.magic);
  PetscCall(PetscStrncpy(header.tag, tag, sizeof header.tag));
  header.digest = DigestOf(header, bytes);
  PetscCall(PetscSNPrintf(beside, sizeof beside, "%s.tmp", path));
  PetscCall(PetscSNPrintf(previous, sizeof previous, "%s.previous", path));
  file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  PetscCheck(file >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot write checkpoint '%s': %s", beside, strerror(errno));
  code = WriteBoth(file, beside, &header, bytes);
  if (close(file) && !code)
    code = PetscError(PETSC_COMM_SELF, __LINE__, PETSC_FUNCTION_NAME, __FILE__, FW_ERR_FILE, PETSC_ERROR_INITIAL,
                      "cannot write checkpoint '%s': %s", beside, strerror(errno));
  if (code) (void)unlink(beside);
  PetscCall(code);
  PetscCheck(!rename(path, previous) || errno == ENOENT, PETSC_COMM_SELF, FW_ERR_FILE, "cannot rename '%s': %s", path,
             strerror(errno));
  PetscCheck(!rename(beside, path), PETSC_COMM_SELF, FW_ERR_FILE, "cannot rename '%s': %s", beside, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef enum { READ, MISSING, DAMAGED } Outcome;

static PetscBool ReadHeader(FILE *file, Header *header)
{
  struct stat status;

  return !fstat(fileno(file), &status) && fread(header, sizeof *header, 1, file) == 1 &&
             !memcmp(header->magic, magic, sizeof magic) && header->tag[sizeof header->tag - 1] == '\0' &&
             header->n == (uint64_t)status.st_size - sizeof *header
           ? PETSC_TRUE
           : PETSC_FALSE;
}

static PetscErrorCode ReadBody(FILE *file, const Header *header, char **bytes, Outcome *outcome)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)header->n + 1, bytes));
  if (fread(*bytes, 1, (size_t)header->n, file) == header->n && DigestOf(*header, *bytes) == header->digest)
    *outcome = READ;
  else
    PetscCall(PetscFree(*bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What may not be read is not taken for damaged: it would be removed */
static PetscErrorCode ReadFile(const char path[], Header *header, char **bytes, Outcome *outcome)
{
  FILE          *file = fopen(path, "rb");
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *bytes   = NULL;
  *outcome = file ? DAMAGED : MISSING;
  PetscCheck(file || errno == ENOENT, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read checkpoint '%s': %s", path,
             strerror(errno));
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  if (ReadHeader(file, header)) code = ReadBody(file, header, bytes, outcome);
  (void)fclose(file);
  PetscFunctionReturn(code);
}

static PetscErrorCode ReadOnRoot(const char path[], const char tag[], size_t *n, char **bytes)
{
  Header  header = {.n = 0};
  char    previous[PETSC_MAX_PATH_LEN];
  Outcome outcome, before;

  PetscFunctionBegin;
  *n = 0;
  PetscCall(PetscSNPrintf(previous, sizeof previous, "%s.previous", path));
  PetscCall(ReadFile(path, &header, bytes, &outcome));
  if (outcome != READ) {
    PetscCall(ReadFile(previous, &header, bytes, &before));
    PetscCheck(outcome == MISSING || before == READ, PETSC_COMM_SELF, FW_ERR_FILE,
               "checkpoint '%s' is damaged, and there is no good one before it: remove it to start anew", path);
    if (outcome == DAMAGED) PetscCall(FwWarn("checkpoint '%s' is damaged: going on from the one before", path));
    if (before != READ) PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(!strcmp(header.tag, tag), PETSC_COMM_SELF, FW_ERR_INPUT,
             "checkpoint '%s' belongs to a run with another input, other data or another build of the program: go on "
             "with those, or remove the file",
             path);
  *n = (size_t)header.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCheckpointWrite(MPI_Comm comm, const char path[], const char tag[], size_t n, const char bytes[])
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : WriteOnRoot(path, tag, n, bytes)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCheckpointRead(MPI_Comm comm, const char path[], const char tag[], size_t *n, char **bytes)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  *n     = 0;
  *bytes = NULL;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : ReadOnRoot(path, tag, n, bytes)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCheckpointRemove(MPI_Comm comm, const char path[])
{
  PetscMPIInt rank;
  char        previous[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(PetscSNPrintf(previous, sizeof previous, "%s.previous", path));
  if (rank == 0) {
    (void)unlink(path); /* most runs have none */
    (void)unlink(previous);
  }
  PetscCallMPI(MPI_Barrier(comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
