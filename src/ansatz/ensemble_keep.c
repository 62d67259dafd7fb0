/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Checkpoints of an ensemble: one of each batch.
 */

#include "ensemble_impl.h"

#include <finwidth/checkpoint.h>

#include <petsctime.h>
#include <stdio.h>

static void PathOf(const FwEnsembleWork *w, PetscInt batch, char path[PETSC_MAX_PATH_LEN])
{
  (void)snprintf(path, PETSC_MAX_PATH_LEN, "%s.%d", w->plan->checkpoint, (int)batch);
}

/* Times measured; where it stands in between; rows, weights and ends of its runs; the state of its training, which a
   batch that is through no longer has */
static size_t CountSaved(const FwEnsembleWork *w, PetscInt batch, FwTraining training)
{
  const size_t n_run = (size_t)FwEnsembleCountRuns(w, batch);
  const size_t each  = (size_t)w->plan->n_time * (size_t)w->result->rows.n + (size_t)w->result->n_theta +
                      sizeof(FwEnsembleEnd) / sizeof(double);

  return 2 + n_run * each + (training ? FwTrainingPackedSize(training) : 0);
}

/* The parts of a checkpoint that are arrays of the result, written to `packed` or read from it */
static PetscErrorCode CopySaved(const FwEnsembleWork *w, PetscInt batch, PetscBool is_reading, double *packed)
{
  const PetscInt r = FwEnsembleFirstRun(w, batch), n_run = FwEnsembleCountRuns(w, batch);
  double        *part[] = {FwEnsembleRow(w, r, 0), w->result->theta + (size_t)r * (size_t)w->result->n_theta,
                           (double *)&w->result->end[r]};
  const size_t   n[]    = {(size_t)n_run * (size_t)w->plan->n_time * (size_t)w->result->rows.n,
                           (size_t)n_run * (size_t)w->result->n_theta,
                           (size_t)n_run * sizeof(FwEnsembleEnd) / sizeof(double)};

  PetscFunctionBegin;
  for (int p = 0; p < 3; p++) {
    PetscCall(is_reading ? PetscArraycpy(part[p], packed, n[p]) : PetscArraycpy(packed, part[p], n[p]));
    packed += n[p];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SaveBatch(FwEnsembleWork *w, PetscInt batch, FwTraining training)
{
  const size_t n = CountSaved(w, batch, training), n_state = training ? FwTrainingPackedSize(training) : 0;
  char         path[PETSC_MAX_PATH_LEN];
  double      *packed;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &packed));
  packed[0] = (double)w->n_measured[batch];
  packed[1] = (double)n_state;
  PetscCall(CopySaved(w, batch, PETSC_FALSE, packed + 2));
  if (training) PetscCall(FwTrainingPack(training, packed + n - n_state));
  PathOf(w, batch, path);
  PetscCall(FwCheckpointWrite(w->comm, path, w->plan->tag, n * sizeof(double), (const char *)packed));
  PetscCall(PetscFree(packed));
  w->is_saved[batch] = w->n_measured[batch] == w->plan->n_time ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleSave(FwEnsembleWork *w, PetscInt batch, FwTraining training)
{
  PetscFunctionBegin;
  for (PetscInt b = 0; b < w->n_batch; b++)
    if (w->is_mine[b] && !w->is_saved[b] && w->n_measured[b] == w->plan->n_time) PetscCall(SaveBatch(w, b, NULL));
  if (training) PetscCall(SaveBatch(w, batch, training));
  PetscCall(PetscTime(&w->last_save));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank of the batch gets the bytes that its first one has read */
static PetscErrorCode ReadBytes(const FwEnsembleWork *w, PetscInt batch, size_t *n, double **packed)
{
  char        path[PETSC_MAX_PATH_LEN], *bytes;
  PetscMPIInt rank;
  uint64_t    size;

  PetscFunctionBegin;
  PathOf(w, batch, path);
  PetscCall(FwCheckpointRead(w->comm, path, w->plan->tag, n, &bytes));
  PetscCallMPI(MPI_Comm_rank(w->comm, &rank));
  size = rank == 0 && bytes ? *n / sizeof(double) : 0;
  PetscCallMPI(MPI_Bcast(&size, 1, MPI_UINT64_T, 0, w->comm));
  PetscCall(PetscMalloc1(size, packed));
  if (rank == 0) PetscCall(PetscMemcpy(*packed, bytes, size * sizeof(double)));
  PetscCallMPI(MPI_Bcast(*packed, (int)size, MPI_DOUBLE, 0, w->comm));
  *n = (size_t)size;
  if (rank == 0) PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwEnsembleResume(FwEnsembleWork *w, PetscInt batch, FwTraining training)
{
  size_t  n, n_state;
  double *packed;

  PetscFunctionBegin;
  if (!w->plan->resume) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadBytes(w, batch, &n, &packed));
  if (n > 2) {
    n_state = (size_t)packed[1];
    PetscCheck(n == CountSaved(w, batch, NULL) + n_state && (!n_state || n_state == FwTrainingPackedSize(training)),
               w->comm, FW_ERR_FILE, "the checkpoint of batch %" PetscInt_FMT " does not fit this input", batch);
    w->n_measured[batch] = (PetscInt)packed[0];
    PetscCall(CopySaved(w, batch, PETSC_TRUE, packed + 2));
    if (n_state) PetscCall(FwTrainingUnpack(training, packed + n - n_state));
  }
  PetscCall(PetscFree(packed));
  PetscFunctionReturn(PETSC_SUCCESS);
}
