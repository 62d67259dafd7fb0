/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the tests of data sets share: a folder for small files, a data set from a line of options, and the check that
 * bad input is refused on every rank with a message that names the thing.
 */

#include <finwidth/dataset.h>
#include "collective_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64]; /* of this test, removed at its end */

/** Make the folder; all ranks learn its name. Collective. */
static inline void folder_create(void)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  snprintf(folder, sizeof folder, "/tmp/finwidth-test-XXXXXX");
  if (rank == 0 && !mkdtemp(folder)) MPI_Abort(PETSC_COMM_WORLD, 1);
  MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD);
}

static inline void folder_destroy(void)
{
  PetscMPIInt rank;
  char        command[128];

  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (rank == 0 && system(command)) print_error("'%s' is left behind\n", folder);
}

/** folder/name; good until the next call. */
static inline const char *file_path(const char name[])
{
  static char path[160];

  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/** Write a file from rank 0. Collective. */
static inline void write_bytes(const char name[], size_t n, const void *bytes)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    FILE *file = fopen(file_path(name), "wb");

    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file)) MPI_Abort(PETSC_COMM_WORLD, 1);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static inline void write_text(const char name[], const char text[])
{
  write_bytes(name, strlen(text), text);
}

/** Options of a data set; `%s` in the line stands for the folder. */
static inline void set_options(const char options[])
{
  char        line[1024] = "";
  const char *place      = strstr(options, "%s");

  if (place)
    snprintf(line, sizeof line, "%.*s%s%s", (int)(place - options), options, folder, place + 2);
  else
    snprintf(line, sizeof line, "%s", options);
  TestCall(PetscOptionsClear(NULL));
  TestCall(PetscOptionsInsertString(NULL, line));
}

static inline PetscErrorCode try_on(MPI_Comm comm, const char options[], FwDataset *data)
{
  PetscErrorCode code;

  set_options(options);
  TestCall(FwDatasetCreate(comm, data));
  code = FwDatasetSetFromOptions(*data);
  return code ? code : FwDatasetSetUp(*data);
}

static inline FwDataset open_on(MPI_Comm comm, const char options[])
{
  FwDataset data;

  if (try_on(comm, options, &data)) {
    print_error("%s: %s\n", options, FwErrorMessage());
    MPI_Abort(PETSC_COMM_WORLD, 1);
  }
  return data;
}

static inline FwDataset open_data(const char options[])
{
  return open_on(PETSC_COMM_WORLD, options);
}

#define assert_refused(options, code, words) assert_refused_at(options, (int)(code), words, __FILE__, __LINE__)

static inline void assert_refused_at(const char options[], int code, const char words[], const char *file, int line)
{
  FwDataset data;
  const int got    = (int)try_on(PETSC_COMM_WORLD, options, &data);
  const int is_bad = got != code || !strstr(FwErrorMessage(), words);
  int       any_bad;

  if (is_bad) print_error("%s\n  gives %d '%s', expected %d and '%s'\n", options, got, FwErrorMessage(), code, words);
  FwErrorClear();
  TestCall(FwDatasetDestroy(&data));
  MPI_Allreduce(&is_bad, &any_bad, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  if (any_bad) _fail(file, line);
}

/** Input j of example i, from its owner. Collective. */
static inline double input_at(FwDataset data, FwPart part, PetscInt i, PetscInt j)
{
  FwSlab slab;
  double mine = 0.0, value;

  TestCall(FwDatasetGetSlab(data, part, &slab));
  if (i >= slab.first && i < slab.first + slab.n_local) mine = slab.x[(i - slab.first) * slab.n_input + j];
  MPI_Allreduce(&mine, &value, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  return value;
}

static inline double target_at(FwDataset data, FwPart part, PetscInt i)
{
  const double *y;

  TestCall(FwDatasetGetTargets(data, part, &y));
  return y[i];
}

/** The same data set on one rank has the same digest: nothing depends on the number of ranks. Collective. */
static inline void assert_digest_without_ranks(const char options[])
{
  FwDataset   spread = open_data(options), alone = open_on(PETSC_COMM_SELF, options);
  const char *digest[2];

  TestCall(FwDatasetGetDigest(spread, &digest[0]));
  TestCall(FwDatasetGetDigest(alone, &digest[1]));
  assert_close(strcmp(digest[0], digest[1]), 0, 0);
  assert_close((double)strlen(digest[0]), 16, 0);
  TestCall(FwDatasetDestroy(&spread));
  TestCall(FwDatasetDestroy(&alone));
}

/** Folder of the real data, or the test is skipped and says so. */
#define need_real_data(data_folder)                       \
  const char *data_folder = getenv("FINWIDTH_TEST_DATA"); \
  if (!data_folder || !*data_folder) skip()
