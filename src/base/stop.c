/** @file
 * Requests to stop: signals and wall time.
 */

#include <finwidth/option.h>
#include <finwidth/stop.h>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* enough to write a checkpoint and leave before the scheduler kills the job */
static const double margin_seconds = 30.0;

static volatile sig_atomic_t n_stop_signal;
static PetscLogDouble        deadline; /* on PetscTime()'s clock; 0 for none */

static void OnStopSignal(int signal_number)
{
  (void)signal_number;
  if (++n_stop_signal > 1) _exit(FW_EXIT_STOPPED);
}

/* A checkpoint is written at the next good step in any case; the signal must not end the run */
static void OnUser1(int signal_number)
{
  (void)signal_number;
}

static PetscErrorCode Install(int signal_number, void (*handler)(int))
{
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

  PetscFunctionBegin;
  sigemptyset(&action.sa_mask);
  PetscCheck(!sigaction(signal_number, &action, NULL), PETSC_COMM_SELF, PETSC_ERR_SYS, "cannot catch signal %d",
             signal_number);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStopSetUp(void)
{
  double    seconds;
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(Install(SIGTERM, OnStopSignal));
  PetscCall(Install(SIGINT, OnStopSignal));
  PetscCall(Install(SIGUSR1, OnUser1));
  PetscCall(FwOptionReal("walltime", &seconds, &is_set));
  if (is_set) {
    PetscCall(PetscTime(&deadline));
    deadline += seconds - PetscMin(margin_seconds, 0.1 * seconds);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStopRequested(MPI_Comm comm, PetscBool *stop)
{
  PetscLogDouble now;
  int            mine, any;

  PetscFunctionBegin;
  PetscCall(PetscTime(&now));
  mine = n_stop_signal > 0 || (deadline > 0.0 && now > deadline);
  PetscCallMPI(MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, comm));
  *stop = any ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
