/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Start and end of a run, and the one-line error idiom.
 */

#include <finwidth/base.h>
#include <finwidth/blas.h>
#include <finwidth/input.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 2048, FAILURE_MAX = 4 };

static struct {
  char      message[MESSAGE_SIZE];     /* first error of this rank, or of the rank whose error was agreed on */
  PetscBool is_shared;                 /* every rank has it */
  PetscBool is_out_of_memory;          /* what follows from that is not said */
  char     *warnings, *printed, *held; /* joined by newlines */
  PetscBool is_holding;
  int       n_on_failure;
  void (*on_failure[FAILURE_MAX])(void);
} state;

/* PETSc 3.18 mixes up its words where it finds no memory: the code is the line of who asked, the message is its function */
static PetscBool IsOutOfMemory(const char *function)
{
  return (!strcmp(function, "PetscMallocAlign") || !strcmp(function, "PetscReallocAlign")) ? PETSC_TRUE : PETSC_FALSE;
}

/* An error raised on a communicator that all ranks share is met by all of them */
static PetscBool IsMetByAll(MPI_Comm comm)
{
  int size = 1, n_rank = 1;

  if (comm == MPI_COMM_NULL) return PETSC_FALSE;
  MPI_Comm_size(comm, &size);
  MPI_Comm_size(MPI_COMM_WORLD, &n_rank);
  return size == n_rank ? PETSC_TRUE : PETSC_FALSE;
}

static void PrintError(PetscErrorCode code, int rank)
{
  fflush(stdout);
  if (FwExitOf(code) == FW_EXIT_INTERNAL)
    fprintf(stderr, "finwidth: error: internal error on rank %d, please report it: %s\n", rank, state.message);
  else
    fprintf(stderr, "finwidth: error: %s\n", state.message[0] ? state.message : "out of memory");
  fflush(stderr);
}

static void KeepMessage(int line, const char *function, const char *file, PetscErrorCode code, const char *message)
{
  if (IsOutOfMemory(function))
    snprintf(state.message, MESSAGE_SIZE, "out of memory in %s(): -dry_run says how much the run needs", message);
  else if (FwExitOf(code) == FW_EXIT_INTERNAL)
    snprintf(state.message, MESSAGE_SIZE, "%s (error %d in %s, %s:%d)", message, (int)code, function, file, line);
  else
    snprintf(state.message, MESSAGE_SIZE, "%s", message);
}

static int wanted_exit;

static void LeaveAtOnce(int signal_number)
{
  (void)signal_number;
  _exit(wanted_exit);
}

/* Threads of MPI's libraries may crash on the way out, which is no reason for another exit code */
static void AbortMpi(FwExit code)
{
  wanted_exit = code;
  (void)signal(SIGSEGV, LeaveAtOnce);
  (void)signal(SIGABRT, LeaveAtOnce);
  MPI_Abort(MPI_COMM_WORLD, code);
}

/* An error that one rank alone has met: the others do not know, and would wait for it for ever */
static void EndAll(PetscErrorCode code, int rank)
{
  for (int i = 0; i < state.n_on_failure; i++) state.on_failure[i]();
  PrintError(code, rank);
  AbortMpi(FwExitOf(code));
}

/* Memory that one rank of several could not get may have been for anything, also on the way to a call that all of them
   make, and so may a call of MPI that has failed: no caller can agree on such an error */
static PetscErrorCode RecordError(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code,
                                  PetscErrorType type, const char *message, void *context)
{
  int rank;

  (void)context;
  if (state.is_out_of_memory) return PETSC_ERR_MEM;
  if (type != PETSC_ERROR_INITIAL) return code;
  if (IsOutOfMemory(function)) code = PETSC_ERR_MEM;
  KeepMessage(line, function, file, code, message ? message : "");
  state.is_shared        = IsMetByAll(comm);
  state.is_out_of_memory = code == PETSC_ERR_MEM ? PETSC_TRUE : PETSC_FALSE;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if ((code == PETSC_ERR_MEM || code == PETSC_ERR_MPI) && !state.is_shared) EndAll(code, rank);
  return code;
}

/* Before PETSc runs there is nobody to record an error but us */
static PetscErrorCode CheckInputFile(const char *input)
{
  int rank, exit_code = 0;

  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) exit_code = FwInputCheck(input, state.message, MESSAGE_SIZE);
  MPI_Bcast(&exit_code, 1, MPI_INT, 0, MPI_COMM_WORLD);
  if (!exit_code) return PETSC_SUCCESS;
  MPI_Bcast(state.message, MESSAGE_SIZE, MPI_CHAR, 0, MPI_COMM_WORLD);
  state.is_shared = PETSC_TRUE;
  return exit_code == FW_EXIT_FILE ? FW_ERR_FILE : FW_ERR_INPUT;
}

/* PETSc reads what stands later over what stands before: the input file goes ahead of the command line */
static PetscErrorCode StartPetsc(int argc, char **argv, const char *input)
{
  char         **words         = malloc(((size_t)argc + 3) * sizeof *words);
  char           file_option[] = "-options_file_yaml";
  int            n             = 0;
  PetscErrorCode code;

  if (!words) return PETSC_ERR_MEM;
  words[n++] = argv[0];
  if (input) {
    words[n++] = file_option;
    words[n++] = (char *)input; /* PETSc copies its arguments */
  }
  for (int i = 1; i < argc; i++) words[n++] = argv[i];
  words[n] = NULL;
  code     = PetscInitialize(&n, &words, NULL, NULL);
  free(words);
  return code;
}

/* PETSc reads its option files on rank 0 alone, and where that fails the others wait for ever */
static PetscErrorCode CheckOptionFiles(int argc, char **argv)
{
  for (int i = 1; i < argc; i++)
    if (!strncmp(argv[i], "-options_file", 13)) {
      snprintf(state.message, MESSAGE_SIZE, "'%s %s': give one input file as 'finwidth COMMAND INPUT.yaml'", argv[i],
               i + 1 < argc ? argv[i + 1] : "");
      state.is_shared = PETSC_TRUE;
      return FW_ERR_INPUT;
    }
  return PETSC_SUCCESS;
}

PetscErrorCode FwStart(int argc, char **argv, const char *input)
{
  int            is_running;
  PetscErrorCode code;

  MPI_Initialized(&is_running);
  /* OpenBLAS' kernels for a processor that it does not know are slow, and its dsymv reads past the end */
  if (!is_running) FwBlasTune(argv);
  if (!is_running && (MPI_Init(&argc, &argv) || FwBlasShareNode())) return PETSC_ERR_MPI;
  if ((code = CheckOptionFiles(argc, argv))) return code;
  if (input && (code = CheckInputFile(input))) return code;
  (void)PetscPushErrorHandler(RecordError, NULL); /* before PETSc starts: it reads files then */
  if ((code = StartPetsc(argc, argv, input))) {
    char first[MESSAGE_SIZE / 2];

    if (code == PETSC_ERR_MEM) return code; /* met by this rank */
    snprintf(first, sizeof first, "%.*s", (int)strcspn(state.message, "\n"), state.message);
    snprintf(state.message, MESSAGE_SIZE, "PETSc did not start, or could not read its options: %s", first);
    state.is_shared = PETSC_TRUE;
    return FW_ERR_INPUT;
  }
  (void)signal(SIGPIPE, SIG_IGN); /* a reader that left (`| head`) is no reason to lose the result; PETSc would abort */
  (void)signal(SIGXFSZ, SIG_IGN); /* nor is a limit on file sizes: the write says so */
  return PETSC_SUCCESS;
}

FwExit FwExitOf(PetscErrorCode code)
{
  switch ((int)code) {
    case 0:
      return FW_EXIT_DONE;
    case FW_ERR_INPUT:
    case PETSC_ERR_USER_INPUT:
      return FW_EXIT_INPUT;
    case FW_ERR_FILE:
    case PETSC_ERR_FILE_OPEN:
    case PETSC_ERR_FILE_READ:
    case PETSC_ERR_FILE_WRITE:
    case PETSC_ERR_FILE_UNEXPECTED:
      return FW_EXIT_FILE;
    case FW_ERR_NUMERICAL:
    case PETSC_ERR_FP:
    case PETSC_ERR_NOT_CONVERGED:
      return FW_EXIT_NUMERICAL;
    case FW_ERR_MEMORY:
    case PETSC_ERR_MEM:
      return FW_EXIT_MEMORY;
    case FW_ERR_STOPPED:
      return FW_EXIT_STOPPED;
    case FW_ERR_EXISTS:
      return FW_EXIT_EXISTS;
    default:
      return FW_EXIT_INTERNAL;
  }
}

void FwOnFailure(void (*function)(void))
{
  for (int i = 0; i < state.n_on_failure; i++)
    if (state.on_failure[i] == function) return;
  if (state.n_on_failure < FAILURE_MAX) state.on_failure[state.n_on_failure++] = function;
}

/* MPI_Finalize has HDF5 close its files, and HDF5 1.10 crashes there where closing one has failed before; and it unloads
   libraries, in which a thread of theirs may still run. The message is out, nothing is half-written: what is left is the
   exit code. */
static void FinaliseMpi(FwExit code)
{
  void (*on_segment)(int);
  void (*on_abort)(int);

  fflush(stdout);
  wanted_exit = code;
  on_segment  = signal(SIGSEGV, LeaveAtOnce);
  on_abort    = signal(SIGABRT, LeaveAtOnce);
  MPI_Finalize();
  signal(SIGSEGV, on_segment);
  signal(SIGABRT, on_abort);
}

/* For the others, who have met the same error: where they have not, after all, they are somewhere in a call that this rank
   will never make */
static void WaitForOthers(PetscErrorCode code, int rank)
{
  const double seconds = 20.0, begin = MPI_Wtime();
  MPI_Request  request;
  int          are_here = 0;

  if (!MPI_Ibarrier(MPI_COMM_WORLD, &request))
    while (!MPI_Test(&request, &are_here, MPI_STATUS_IGNORE) && !are_here && MPI_Wtime() - begin < seconds)
      (void)usleep(1000);
  if (are_here) return;
  if (rank) PrintError(code, rank);
  AbortMpi(FwExitOf(code));
}

int FwFinish(PetscErrorCode code)
{
  PetscBool is_started = PETSC_FALSE;
  int       rank, n_rank;

  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &n_rank);
  if (code && !state.is_shared && n_rank > 1) EndAll(code, rank);
  for (int i = 0; code && i < state.n_on_failure; i++) state.on_failure[i]();
  if (code && rank == 0) PrintError(code, rank);
  if (code) { /* objects of the failed computation are still alive: PetscFinalize would complain about each */
    WaitForOthers(code, rank);
    FinaliseMpi(FwExitOf(code));
    _exit(FwExitOf(code)); /* HDF5 and PETSc must not look at half-closed objects on the way out */
  }
  PetscInitialized(&is_started);
  free(state.warnings);
  free(state.printed);
  free(state.held);
  state.warnings = state.printed = state.held = NULL;
  if (is_started && PetscFinalize()) return FW_EXIT_INTERNAL;
  FinaliseMpi(FW_EXIT_DONE);
  return FW_EXIT_DONE;
}

PetscErrorCode FwErrorAgree(MPI_Comm comm, PetscMPIInt root, PetscErrorCode code)
{
  PetscMPIInt rank;
  int         shared_code = (int)code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Bcast(&shared_code, 1, MPI_INT, root, comm));
  if (shared_code) {
    PetscCallMPI(MPI_Bcast(state.message, MESSAGE_SIZE, MPI_CHAR, root, comm));
    state.is_shared = PETSC_TRUE;
  }
  PetscFunctionReturn((PetscErrorCode)shared_code); /* recorded already: no handler is called again */
}

PetscErrorCode FwErrorAgreeAny(MPI_Comm comm, PetscErrorCode code)
{
  PetscMPIInt rank, size, first;
  int         mine;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  mine = code ? rank : size;
  PetscCallMPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm));
  if (first == size) PetscFunctionReturn(PETSC_SUCCESS);
  PetscFunctionReturn(FwErrorAgree(comm, first, code));
}

const char *FwErrorMessage(void)
{
  return state.message;
}

void FwErrorClear(void)
{
  state.message[0] = '\0';
  state.is_shared = state.is_out_of_memory = PETSC_FALSE;
}

PetscBool FwHasLine(const char *lines, size_t n, const char line[])
{
  for (const char *at = lines; at && *at; at += strcspn(at, "\n"), at += *at ? 1 : 0)
    if (strcspn(at, "\n") == n && !memcmp(at, line, n)) return PETSC_TRUE;
  return PETSC_FALSE;
}

static PetscErrorCode AddLine(char **list, const char line[])
{
  const size_t old = *list ? strlen(*list) : 0;
  char        *all = realloc(*list, old + strlen(line) + 2);

  PetscFunctionBegin;
  PetscCheck(all, PETSC_COMM_SELF, PETSC_ERR_MEM, "out of memory for a warning");
  snprintf(all + old, strlen(line) + 2, "%s%s", old ? "\n" : "", line);
  *list = all;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwWarn(const char format[], ...)
{
  char        text[MESSAGE_SIZE];
  char      **kept = state.is_holding ? &state.held : &state.warnings;
  PetscMPIInt rank;
  va_list     arguments;

  PetscFunctionBegin;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char *c = text; (c = strchr(c, '\n')); c++) *c = ' '; /* one line in the list */
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if ((rank == 0 || state.is_holding) && !FwHasLine(*kept, strlen(text), text)) PetscCall(AddLine(kept, text));
  if (rank || FwHasLine(state.printed, strlen(text), text)) PetscFunctionReturn(PETSC_SUCCESS);
  fflush(stdout);
  fprintf(stderr, "finwidth: warning: %s\n", text);
  PetscCall(AddLine(&state.printed, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwWarnHold(void)
{
  state.is_holding = PETSC_TRUE;
}

PetscErrorCode FwWarnTake(PetscBool go_on, char **held)
{
  PetscFunctionBegin;
  PetscCall(PetscStrallocpy(state.held ? state.held : "", held));
  free(state.held);
  state.held       = NULL;
  state.is_holding = go_on;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *FwWarnings(void)
{
  return state.warnings ? state.warnings : "";
}
