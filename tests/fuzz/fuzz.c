/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Coverage-guided fuzzing of everything that reads bytes from outside (libFuzzer; see CMakeLists.txt here).
 *
 * One program per parser, chosen by FUZZ_TARGET: the input is written to a file in memory and read as that kind of file.
 * A checkpoint gets the digest that its bytes ask for, so that what comes after it is reached. A result does not: the
 * digest is what keeps damage from HDF5, which crashes over it.
 * Any outcome is right but a crash, a sanitizer's report, a hang, or an error that is not the input's or the file's.
 */

#include <finwidth/checkpoint.h>
#include <finwidth/dataset.h>
#include <finwidth/input.h>
#include <finwidth/record.h>
#include <finwidth/store.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define TEXT_OF(word) #word
#define NAME_OF(word) TEXT_OF(word)

static const char target[] = NAME_OF(FUZZ_TARGET);
static int        memory_file;
static char       path[64];

static void SetOptions(const char *const option[])
{
  for (; *option; option += 2) (void)PetscOptionsSetValue(NULL, option[0], option[1]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  static char       name[]  = "fuzz";
  char             *words[] = {name, NULL};
  const char *const sizes[] = {"-data_train", "4", "-data_test", "2", NULL};
  const char *const idx[]   = {"-data_source", "mnist",        "-data_path", "/", "-data_images",
                               path + 1,       "-data_labels", path + 1,     NULL};
  const char *const other[] = {"-data_source", !strcmp(target, "cifar") ? "cifar10" : target, "-data_path", path, NULL};

  (void)argc;
  (void)argv;
  memory_file = memfd_create("fuzz", 0);
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), memory_file);
  if (memory_file < 0 || FwStart(1, words, NULL)) abort();
  SetOptions(sizes);
  SetOptions(!strcmp(target, "idx") ? idx : other);
  return 0;
}

static PetscErrorCode ReadDataset(void)
{
  FwDataset      data;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(PETSC_COMM_SELF, &data));
  code = FwDatasetSetFromOptions(data);
  if (!code) code = FwDatasetSetUp(data);
  (void)FwDatasetDestroy(&data);
  PetscFunctionReturn(code);
}

static PetscErrorCode ReadStore(void)
{
  char          *report;
  PetscErrorCode code = FwStoreVerify(PETSC_COMM_SELF, path, &report);

  if (!code) (void)PetscFree(report);
  return code;
}

static PetscErrorCode ReadCheckpoint(void)
{
  size_t         n;
  char          *bytes;
  PetscErrorCode code = FwCheckpointRead(PETSC_COMM_SELF, path, "fuzz", &n, &bytes);

  if (!code) (void)PetscFree(bytes);
  return code;
}

static PetscErrorCode ReadRecord(size_t n, const uint8_t bytes[])
{
  FwRecord       record = NULL;
  PetscErrorCode code   = FwRecordUnpack(n, (const char *)bytes, &record);

  (void)FwRecordDestroy(&record);
  return code;
}

static PetscErrorCode ReadYaml(void)
{
  char message[2048];
  int  exit_code = FwInputCheck(path, message, sizeof message);

  return exit_code ? FW_ERR_INPUT : PETSC_SUCCESS;
}

static void Write(const void *bytes, size_t n, size_t at)
{
  if (pwrite(memory_file, bytes, n, (off_t)at) != (ssize_t)n) abort();
}

/* The last word of the header of 96 bytes: a digest of the body, seeded with that of the header without it */
static void SignCheckpoint(const uint8_t *bytes, size_t n)
{
  enum { HEADER = 96, WORD = 8 };
  uint8_t  header[HEADER] = {0};
  uint64_t digest;

  if (n < HEADER) return;
  memcpy(header, bytes, HEADER - WORD);
  digest = XXH3_64bits_withSeed(bytes + HEADER, n - HEADER, XXH3_64bits(header, HEADER));
  Write(&digest, WORD, HEADER - WORD);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
  PetscErrorCode code;

  if (ftruncate(memory_file, 0)) abort();
  Write(bytes, n, 0);
  if (!strcmp(target, "checkpoint")) SignCheckpoint(bytes, n);
  if (!strcmp(target, "record"))
    code = ReadRecord(n, bytes);
  else if (!strcmp(target, "store"))
    code = ReadStore();
  else if (!strcmp(target, "checkpoint"))
    code = ReadCheckpoint();
  else if (!strcmp(target, "yaml"))
    code = ReadYaml();
  else
    code = ReadDataset();
  FwErrorClear();
  if (code && FwExitOf(code) == FW_EXIT_INTERNAL) abort();
  return 0;
}
