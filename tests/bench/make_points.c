/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Writes the result files that a job array of a scan would leave, one a point, without computing anything: as many as a
 * test or a measurement of `finwidth gather` wants. usage: make_points -output FOLDER -scan_temperature 1:100:100
 * -scan_network_width ... ; the numbers are made up from the number of the point.
 */

#include <finwidth/option.h>
#include <finwidth/scan.h>

#include <math.h>

enum { N_ARRAY = 40 }; /* as many as predict has */

static PetscErrorCode FillRecord(FwRecord record, PetscInt point)
{
  const FwShape minimum = {.n_dim = 1, .name = {"minimum"}, .size = {1 + point % 3}};
  double        value[3];
  char          name[32];

  PetscFunctionBegin;
  for (int a = 0; a < N_ARRAY; a++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "array_%02d", a));
    for (int i = 0; i < 3; i++) value[i] = sin(1.0 + (double)point + 0.1 * a + i);
    if (a % 8)
      PetscCall(FwRecordReal(record, name, value[0], "1", "a number"));
    else
      PetscCall(FwRecordReals(record, name, &minimum, value, "1", "a number for each minimum"));
  }
  PetscCall(FwRecordInteger(record, "converged", 1, "1", "1: converged"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WritePoint(const char folder[], PetscInt point)
{
  char     path[PETSC_MAX_PATH_LEN], index[32], *resolved;
  FwScan   scan;
  FwShape  axes = {0};
  FwRecord record, all;
  FwStore  store;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(index, sizeof index, "%" PetscInt_FMT, point));
  PetscCall(PetscOptionsSetValue(NULL, "-scan_index", index));
  PetscCall(FwScanCreate(&scan));
  PetscCall(FwScanGetSize(scan, &axes.n_dim, NULL, NULL));
  for (PetscInt d = 0; d < axes.n_dim; d++) {
    const FwScanAxis *axis;

    PetscCall(FwScanGetAxis(scan, d, &axis));
    axes.name[d] = axis->key->name;
    axes.size[d] = axis->n;
  }
  PetscCall(FwRecordCreate(&record));
  PetscCall(FillRecord(record, point));
  PetscCall(FwRecordStack(&axes, &record, &all));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%06" PetscInt_FMT ".h5", folder, point));
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, path, PETSC_TRUE, &store));
  PetscCall(FwScanWriteAxes(scan, store, "/predict"));
  PetscCall(FwRecordWrite(all, store, "/predict"));
  PetscCall(FwOptionsResolved(FW_FOR_PREDICT, &resolved));
  PetscCall(FwStoreSetText(store, "/", "files_digest", ""));
  PetscCall(FwStoreProvenance(store, resolved, "", "partial"));
  PetscCall(FwStoreCommit(&store));
  PetscCall(PetscFree(resolved));
  PetscCall(FwRecordDestroy(&record));
  PetscCall(FwRecordDestroy(&all));
  PetscCall(FwScanDestroy(&scan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAll(void)
{
  char     folder[PETSC_MAX_PATH_LEN] = ".";
  FwScan   scan;
  PetscInt n;

  PetscFunctionBegin;
  PetscCall(FwOptionText("output", sizeof folder, folder, NULL));
  PetscCall(FwScanCreate(&scan));
  PetscCall(FwScanGetSize(scan, NULL, &n, NULL));
  PetscCall(FwScanDestroy(&scan));
  for (PetscInt p = 0; p < n; p++) PetscCall(WritePoint(folder, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = FwStart(argc, argv, NULL);

  if (!code) code = WriteAll();
  return FwFinish(code);
}
