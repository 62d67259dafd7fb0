/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Requests to stop: signals and wall time.
 */

#include <finwidth/option.h>
#include <finwidth/stop.h>

#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* enough to write a checkpoint and leave before the scheduler kills the job */
static const double margin_seconds = 30.0;

enum { PATIENCE_MILLISECONDS = 1000 };

static volatile sig_atomic_t is_stop_signalled, is_stop_asked, is_checkpoint_asked;
static PetscLogDouble        deadline; /* on PetscTime()'s clock; 0 for none */

/* timeout(1), schedulers and whoever signals a process and its group send the first signal twice within no time: only a later
   one is that of somebody who does not want to wait */
static void OnStopSignal(int signal_number)
{
  static volatile int64_t first; /* milliseconds; only this handler, which nothing interrupts, uses it */
  struct timespec         clock;
  int64_t                 now;

  (void)signal_number;
  (void)clock_gettime(CLOCK_MONOTONIC, &clock);
  now = 1000 * (int64_t)clock.tv_sec + clock.tv_nsec / 1000000;
  if (!is_stop_signalled) first = now;
  is_stop_signalled = 1;
  if (now - first >= PATIENCE_MILLISECONDS) _exit(FW_EXIT_STOPPED);
}

/* mpirun passes USR1 and USR2 on to every rank at once, which it does not do with TERM: schedulers send them ahead of the
   limit, and may send them twice */
static void OnUser1(int signal_number)
{
  (void)signal_number;
  is_checkpoint_asked = 1;
}

static void OnUser2(int signal_number)
{
  (void)signal_number;
  is_stop_asked = 1;
}

static void Install(int signal_number, void (*handler)(int))
{
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGTERM);
  sigaddset(&action.sa_mask, SIGINT);
  (void)sigaction(signal_number, &action, NULL); /* fails for no signal that there is */
}

void FwStopCatch(void)
{
  Install(SIGTERM, OnStopSignal);
  Install(SIGINT, OnStopSignal);
  Install(SIGUSR1, OnUser1);
  Install(SIGUSR2, OnUser2);
}

/* Slurm says when the job will be killed; the others do not */
static void ReadSchedulerLimit(double *seconds, PetscBool *is_set)
{
  const char  *end  = getenv("SLURM_JOB_END_TIME");
  const double left = end ? strtod(end, NULL) - (double)time(NULL) : 0.0;

  if (*is_set || !(left > 1.0)) return;
  *seconds = left;
  *is_set  = PETSC_TRUE;
}

PetscErrorCode FwStopSetUp(void)
{
  double    seconds = 0.0;
  PetscBool is_set;

  PetscFunctionBegin;
  FwStopCatch();
  PetscCall(FwOptionReal("walltime", &seconds, &is_set));
  ReadSchedulerLimit(&seconds, &is_set);
  if (is_set) {
    PetscCall(PetscTime(&deadline));
    deadline += seconds - PetscMin(margin_seconds, 0.1 * seconds);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStopRequested(MPI_Comm comm, PetscBool *stop)
{
  PetscFunctionBegin;
  PetscCall(FwStopRequestedWithin(comm, 0.0, stop));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStopLeave(MPI_Comm comm, const char where[])
{
  PetscBool stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(comm, &stop));
  PetscCheck(!stop, comm, FW_ERR_STOPPED, "stopped early %s: run the same command with -resume", where);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStopRequestedWithin(MPI_Comm comm, double seconds, PetscBool *stop)
{
  PetscLogDouble now;
  int            mine, any;

  PetscFunctionBegin;
  PetscCall(PetscTime(&now));
  mine = is_stop_signalled || is_stop_asked || (deadline > 0.0 && now + seconds > deadline);
  PetscCallMPI(MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, comm));
  *stop = any ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwStopSecondsLeft(void)
{
  PetscLogDouble now = 0.0;

  if (!(deadline > 0.0) || PetscTime(&now)) return INFINITY;
  return PetscMax(0.0, deadline - now);
}

PetscErrorCode FwCheckpointRequested(MPI_Comm comm, PetscBool *wanted)
{
  int mine = is_checkpoint_asked, any;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, comm));
  if (mine) is_checkpoint_asked = 0;
  *wanted = any ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
