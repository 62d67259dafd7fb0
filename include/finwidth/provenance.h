/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Where a result comes from: program, libraries, command line.
 */

#include <finwidth/base.h>

/** Version of the program, such as "0.1.0". Borrowed. */
const char *FwVersion(void);
/** Commit that was built, with "+" when the tree had changes, or "unknown". Borrowed. */
const char *FwCommit(void);
/** Compiler, MPI, PETSc, ScaLAPACK, ELPA (or none), HDF5 and BLAS, one `name: version` line each. Borrowed. Not collective. */
const char *FwLibraries(void);
/** Keep the command line for the result file. Not collective. */
PetscErrorCode FwCommandLineSet(int argc, char **argv);
/** The kept command line, words quoted where a shell needs it. Borrowed. */
const char *FwCommandLine(void);
/** The paper and the program to cite, one line each. Borrowed. */
const char *FwCitation(void);
