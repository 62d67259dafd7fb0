/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * `finwidth selftest`: whether this installation computes, writes, and notices damage. It needs no network, no source tree
 * and no files; what it writes goes into a folder of its own below $TMPDIR, which it removes.
 */

#include "command.h"
#include "predict.h"

#include <finwidth/checkpoint.h>
#include <finwidth/option.h>
#include <finwidth/provenance.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char     folder[PETSC_MAX_PATH_LEN - 64];
  PetscInt n_failed;
} Test;

static PetscErrorCode Report(Test *test, PetscBool is_good, const char what[])
{
  PetscFunctionBegin;
  if (!is_good) test->n_failed++;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-6s %s\n", is_good ? "ok" : "FAILED", what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- MPI ----------------------------------------------------------------------------------------------------- */

static PetscErrorCode TestMpi(Test *test)
{
  PetscMPIInt rank, n_rank, sum;
  char        what[64];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &n_rank));
  PetscCallMPI(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, PETSC_COMM_WORLD));
  PetscCall(PetscSNPrintf(what, sizeof what, "MPI: %d ranks hear each other", n_rank));
  PetscCall(Report(test, sum == n_rank * (n_rank - 1) / 2 ? PETSC_TRUE : PETSC_FALSE, what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a prediction -------------------------------------------------------------------------------------------- */

/* 120 drawn images, one hidden layer of 50: numbers of a build that passed the whole test suite */
static const struct {
  const char *name;
  double      value;
} known[] = {
  {"test_error",            0.668088052049153},
  {"average_test_error",    0.669198144896455},
  {"infinite_test_error",   0.563876265334823},
  {"log_evidence",          -133.050910809804},
  {"log_evidence_average",  -133.802817617232},
  {"total_order_parameter", 1.70673864245212 },
};

static PetscErrorCode Predict(FwRecord *record)
{
  static const char *const nothing[] = {NULL};
  const PetscInt           point     = 0;
  FwRequest                request;
  FwPredict                predict = {.request = &request, .shared = nothing, .is_quiet = PETSC_TRUE};

  PetscFunctionBegin;
  PetscCall(PetscOptionsSetValue(NULL, "-data_train", "120"));
  PetscCall(PetscOptionsSetValue(NULL, "-data_test", "60"));
  PetscCall(PetscOptionsSetValue(NULL, "-network_width", "50"));
  PetscCall(FwRequestCreate(NULL, "predict", FW_FOR_PREDICT, &request));
  PetscCall(FwRecordCreate(record));
  PetscCall(FwPredictGroup(PETSC_COMM_WORLD, request.scan, 1, &point, record, &predict));
  PetscCall(FwRequestDestroy(&request));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestPrediction(Test *test)
{
  FwRecord record;
  char     what[128];
  double   worst = 0.0;

  PetscFunctionBegin;
  PetscCall(Predict(&record));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(known); i++) {
    const double error = fabs(FwRecordAt(record, known[i].name, 0) / known[i].value - 1.0);

    if (!(error <= worst)) worst = error; /* NaN too */
  }
  PetscCall(FwRecordDestroy(&record));
  PetscCall(PetscSNPrintf(what, sizeof what, "predict: six known numbers, to %.1e (want 1e-9)", worst));
  PetscCall(Report(test, worst < 1e-9 ? PETSC_TRUE : PETSC_FALSE, what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- files --------------------------------------------------------------------------------------------------- */

static PetscErrorCode FlipByte(const char path[], off_t place)
{
  const int     file = open(path, O_RDWR | O_CLOEXEC);
  unsigned char byte = 0;
  PetscBool     is_good;

  PetscFunctionBegin;
  is_good = file >= 0 && pread(file, &byte, 1, place) == 1 ? PETSC_TRUE : PETSC_FALSE;
  byte ^= 1;
  is_good = is_good && pwrite(file, &byte, 1, place) == 1 ? PETSC_TRUE : PETSC_FALSE;
  if (file >= 0) close(file);
  PetscCheck(is_good, PETSC_COMM_SELF, FW_ERR_FILE, "cannot change '%s': %s", path, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Flip(const char path[], off_t place)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, rank ? PETSC_SUCCESS : FlipByte(path, place)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteResult(const char path[])
{
  const FwShape shape    = {.n_dim = 1, .name = {"x"}, .size = {3}};
  const double  value[3] = {1.0, 0.5, -2.0};
  FwStore       store;

  PetscFunctionBegin;
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, path, PETSC_FALSE, &store));
  PetscCall(FwStoreReals(store, "/test/value", &shape, value, "1", "numbers"));
  PetscCall(FwStoreProvenance(store, "", "", "complete"));
  PetscCall(FwStoreCommit(&store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestStore(Test *test)
{
  char           path[PETSC_MAX_PATH_LEN], *report = NULL;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/result.h5", test->folder));
  PetscCall(WriteResult(path));
  PetscCall(FwStoreVerify(PETSC_COMM_WORLD, path, &report));
  PetscCall(PetscFree(report));
  PetscCall(Report(test, PETSC_TRUE, "HDF5: a result is written and verified"));
  PetscCall(Flip(path, 4000));
  code = FwStoreVerify(PETSC_COMM_WORLD, path, &report);
  FwErrorClear();
  if (!code) PetscCall(PetscFree(report));
  PetscCall(Report(test, FwExitOf(code) == FW_EXIT_FILE ? PETSC_TRUE : PETSC_FALSE, "HDF5: a flipped bit is found"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestCheckpoint(Test *test)
{
  char        path[PETSC_MAX_PATH_LEN], *bytes;
  size_t      n;
  PetscMPIInt rank;
  PetscBool   is_first;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/run.chk", test->folder));
  PetscCall(FwCheckpointWrite(PETSC_COMM_WORLD, path, "selftest", 6, "first"));
  PetscCall(FwCheckpointWrite(PETSC_COMM_WORLD, path, "selftest", 7, "second"));
  PetscCall(Flip(path, 98));
  PetscCall(FwCheckpointRead(PETSC_COMM_WORLD, path, "selftest", &n, &bytes));
  is_first = !rank && bytes && !strcmp(bytes, "first") ? PETSC_TRUE : PETSC_FALSE;
  PetscCallMPI(MPI_Bcast(&is_first, 1, MPIU_BOOL, 0, PETSC_COMM_WORLD));
  PetscCall(Report(test, is_first,
                   "checkpoint: where the last is damaged, the one before is read (the warning above belongs to it)"));
  PetscCall(PetscFree(bytes));
  PetscCall(FwCheckpointRemove(PETSC_COMM_WORLD, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the folder ---------------------------------------------------------------------------------------------- */

static PetscErrorCode MakeFolder(Test *test)
{
  const char *place = getenv("TMPDIR");
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(
    PetscSNPrintf(test->folder, sizeof test->folder, "%s/finwidth-selftest-XXXXXX", place && *place ? place : "/tmp"));
  if (rank == 0 && !mkdtemp(test->folder)) test->folder[0] = '\0';
  PetscCallMPI(MPI_Bcast(test->folder, sizeof test->folder, MPI_CHAR, 0, PETSC_COMM_WORLD));
  PetscCheck(test->folder[0], PETSC_COMM_WORLD, FW_ERR_FILE, "cannot make a folder in '%s': set TMPDIR",
             place && *place ? place : "/tmp");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RemoveFolder(const Test *test)
{
  char        path[PETSC_MAX_PATH_LEN];
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/result.h5", test->folder));
  if (rank == 0) (void)(unlink(path) || rmdir(test->folder)); /* a folder below /tmp that stays does no harm */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Selftest(const char *file)
{
  Test test = {.n_failed = 0};

  (void)file;
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "finwidth %s, commit %s\n", FwVersion(), FwCommit()));
  PetscCall(TestMpi(&test));
  PetscCall(TestPrediction(&test));
  PetscCall(MakeFolder(&test));
  PetscCall(TestStore(&test));
  PetscCall(TestCheckpoint(&test));
  PetscCall(RemoveFolder(&test));
  PetscCheck(!test.n_failed, PETSC_COMM_WORLD, PETSC_ERR_LIB,
             "%" PetscInt_FMT " checks failed: this installation cannot be trusted", test.n_failed);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "all checks passed\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
