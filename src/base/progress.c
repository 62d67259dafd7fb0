/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Log stages and the progress line.
 */

#include <finwidth/progress.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double quiet_seconds = 2.0;

struct FwProgressImpl {
  char           name[64], note[64];
  PetscInt64     n_step, n_skipped;
  PetscLogDouble begin, last; /* s */
  PetscBool      is_shown;    /* on this rank: only where rank 0 has a reader */
  PetscBool      is_terminal;
};

/* PETSc cannot look a stage up before it exists without an error, so we register each name once */
static PetscErrorCode StageOf(const char name[], PetscLogStage *stage)
{
  enum { MAX_STAGE = 32 };
  static struct {
    char          name[64];
    PetscLogStage stage;
  } known[MAX_STAGE];
  static int n_known;

  PetscFunctionBegin;
  for (int i = 0; i < n_known; i++) {
    *stage = known[i].stage;
    if (!strcmp(known[i].name, name)) PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(n_known < MAX_STAGE, PETSC_COMM_SELF, PETSC_ERR_PLIB, "more than %d log stages", MAX_STAGE);
  PetscCall(PetscLogStageRegister(name, stage));
  PetscCall(PetscStrncpy(known[n_known].name, name, sizeof known[0].name));
  known[n_known++].stage = *stage;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwProgressBegin(const char name[], PetscInt64 n_step, FwProgress *progress)
{
  FwProgress    p;
  PetscLogStage stage;
  PetscMPIInt   rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscNew(&p));
  PetscCall(PetscStrncpy(p->name, name, sizeof p->name));
  p->n_step      = n_step;
  p->is_shown    = rank == 0 ? PETSC_TRUE : PETSC_FALSE;
  p->is_terminal = isatty(STDERR_FILENO) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscTime(&p->begin));
  p->last = p->begin;
  PetscCall(StageOf(name, &stage));
  PetscCall(PetscLogStagePush(stage));
  *progress = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwProgressInterval(double elapsed, PetscBool is_terminal)
{
  return is_terminal ? 1.0 : PetscMin(PetscMax(1.0, 0.1 * elapsed), 600.0);
}

static void PrintLine(FwProgress p, PetscInt64 n_done, double elapsed)
{
  const char *end = p->is_terminal ? "\r" : "\n";

  if (n_done > p->n_skipped && p->n_step > 0)
    fprintf(stderr, "finwidth: %-20s %3.0f %%  %.0f s, about %.0f s left   %s%s", p->name,
            100.0 * (double)n_done / (double)p->n_step, elapsed,
            elapsed * (double)(p->n_step - n_done) / (double)(n_done - p->n_skipped), p->note, end);
  else
    fprintf(stderr, "finwidth: %-20s %.0f s   %s", p->name, elapsed, end);
  fflush(stderr);
}

PetscErrorCode FwProgressStep(FwProgress p, PetscInt64 n_done)
{
  PetscLogDouble now;

  PetscFunctionBegin;
  if (!p->is_shown) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscTime(&now));
  if (now - p->begin < quiet_seconds || now - p->last < FwProgressInterval(now - p->begin, p->is_terminal))
    PetscFunctionReturn(PETSC_SUCCESS);
  p->last = now;
  PrintLine(p, n_done, now - p->begin);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwProgressSkip(FwProgress p, PetscInt64 n_skipped)
{
  PetscFunctionBegin;
  p->n_skipped = n_skipped;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwProgressNote(FwProgress p, const char note[])
{
  PetscFunctionBegin;
  PetscCall(PetscStrncpy(p->note, note, sizeof p->note));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwProgressEnd(FwProgress *progress)
{
  FwProgress     p = *progress;
  PetscLogDouble now;

  PetscFunctionBegin;
  PetscCall(PetscLogStagePop());
  PetscCall(PetscTime(&now));
  if (p->is_shown && now - p->begin > quiet_seconds)
    fprintf(stderr, "finwidth: %-20s done in %.1f s                    \n", p->name, now - p->begin);
  PetscCall(PetscFree(*progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}
