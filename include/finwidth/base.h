/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What every public header of the library shares: PETSc's types and error idiom, the exit codes, how a run starts and
 * ends, and how an error found by one rank becomes the error of all.
 *
 * Every function that can fail returns a PetscErrorCode and is called through PetscCall(). The first error of a rank is
 * kept as one line of text, without a stack trace; the program prints it once, from rank 0, and every rank leaves with
 * the same exit code.
 */

#include <petscsys.h>

#if PETSC_VERSION_LT(3, 19, 0) && !defined(PETSC_SUCCESS)
  #define PETSC_SUCCESS 0 /* Debian 12 ships PETSc 3.18, which has no name for it yet */
#endif

/** What the program returns to the shell; the same on every rank. */
typedef enum {
  FW_EXIT_DONE      = 0, /**< a result was computed and kept */
  FW_EXIT_INTERNAL  = 1, /**< a bug in finwidth */
  FW_EXIT_INPUT     = 2, /**< bad input or usage */
  FW_EXIT_FILE      = 3, /**< file or disk */
  FW_EXIT_NUMERICAL = 4, /**< not converged, not positive definite, NaN */
  FW_EXIT_MEMORY    = 5, /**< would not fit in memory */
  FW_EXIT_STOPPED   = 6, /**< stopped early with a checkpoint: run again with -resume */
  FW_EXIT_EXISTS    = 7  /**< the result exists, or another run holds it */
} FwExit;

/** Errors of this library beside PETSc's own codes; FwExitOf() says which exit code each leads to. */
enum {
  FW_ERR_INPUT = PETSC_ERR_MAX_VALUE + 1, /**< the user's input is wrong (exit 2) */
  FW_ERR_FILE,                            /**< a file cannot be read or written (exit 3) */
  FW_ERR_NUMERICAL,                       /**< no trustworthy number (exit 4) */
  FW_ERR_MEMORY,                          /**< the run would not fit (exit 5) */
  FW_ERR_STOPPED,                         /**< asked to stop (exit 6) */
  FW_ERR_EXISTS                           /**< the result exists or is held by another run (exit 7) */
};

/** Start MPI and PETSc, with quiet error handling.
 *
 * The input file, where there is one, is checked first (see input.h), then read into PETSc's options database; the
 * command line wins over it. On bad input the message is kept for FwFinish() and the call returns FW_ERR_INPUT, with
 * MPI running.
 *
 * From then on memory that one rank of several cannot get, and a call of MPI that fails on it, end the run at once, with the
 * message and MPI_Abort(): they may be met on the way to a call that all ranks make, where nobody can agree on anything.
 *
 * @collective{MPI_COMM_WORLD}
 * @param[in] argc, argv  the command line: argv[0] is the program, the rest are options
 * @param[in] input       path of a YAML file, or NULL
 * @error FW_ERR_INPUT  the file cannot be read as options
 * @error FW_ERR_FILE   the file cannot be opened
 */
PetscErrorCode FwStart(int argc, char **argv, const char *input);

/** End the run: print the message of an error, if there is one, from rank 0, and stop MPI and PETSc.
 *
 * Where only one rank has failed while the others still work, the whole job is aborted with that rank's exit code.
 *
 * @collective{MPI_COMM_WORLD}
 * @param[in] code  what the run returned; 0 when all went well
 * @return the exit code for the shell: `return FwFinish(code);` is the last line of main()
 */
int FwFinish(PetscErrorCode code);

/** Have a function called by FwFinish() when the run has failed, to remove what is half-written. Not collective; at most
 *  four. It must not make MPI calls. */
void FwOnFailure(void (*function)(void));

/** The exit code that an error leads to. Not collective. */
FwExit FwExitOf(PetscErrorCode code);

/** Make the outcome of work that one rank did alone the outcome of all ranks.
 *
 * Call it after a section that only `root` has run: the error code and its message travel to the others, and every rank
 * returns the same code, so that none waits in a later collective call for a rank that has gone.
 *
 * @collective{comm}
 * @param[in] comm  the ranks that wait
 * @param[in] root  the rank that did the work
 * @param[in] code  what the work returned; only looked at on `root`
 * @error whatever `root` met
 */
PetscErrorCode FwErrorAgree(MPI_Comm comm, PetscMPIInt root, PetscErrorCode code);

/** Make the first error of any rank (the lowest that has one) the error of all. Collective on `comm`.
 *
 * As FwErrorAgree(), for a section that every rank has run on its own part, without collective calls inside.
 */
PetscErrorCode FwErrorAgreeAny(MPI_Comm comm, PetscErrorCode code);

/** The text of the first error on this rank since the last FwErrorClear(), or "". Borrowed. Not collective. */
const char *FwErrorMessage(void);

/** Forget the kept message: the caller has dealt with the error. Not collective. */
void FwErrorClear(void);

/** Print `finwidth: warning: ...` on stderr from rank 0 and keep the text for the result file, both once for each text.
 *
 * Not collective, but the kept list is that of rank 0: call it on every rank with the same text, or on rank 0 alone.
 */
PetscErrorCode FwWarn(const char format[], ...) PETSC_ATTRIBUTE_FORMAT(1, 2);

/** Whether one of `lines`, joined by newlines, is the n characters of `line`; NULL has none. */
PetscBool FwHasLine(const char *lines, size_t n, const char line[]);

/** From now on hold warnings, on whatever rank: they are printed as they come, but the one who holds them says with FwWarn()
 *  which are kept. So what sub-communicators warn about reaches rank 0. Not collective. */
void FwWarnHold(void);
/** What was held since the last call, joined by newlines, "" for nothing; with `go_on` hold further. Release with PetscFree().
 *  Not collective. */
PetscErrorCode FwWarnTake(PetscBool go_on, char **held);

/** The warnings so far, joined by newlines; "" when there are none. Borrowed until the next warning. Not collective. */
const char *FwWarnings(void);
