/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * One entry per subcommand: its name, what runs, and what `finwidth help` prints.
 *
 * Adding a command: write cmd_NAME.c (one that computes stands on the frame in request.h), declare its function here,
 * add it to the table in main.c, and give it a page in docs/ and tests in tests/cli.
 */

#include <finwidth/base.h>

/** Run a command; `file` is the input file (or the result, for commands that read one), NULL where there is none. */
typedef PetscErrorCode FwCommandFunction(const char *file);

/** Run a command on several files, `n` of them, at least one. */
typedef PetscErrorCode FwCommandFilesFunction(PetscInt n, const char *const file[]);

/** Run a command that passes its options on: `word[1 .. n_word)` are they. */
typedef PetscErrorCode FwCommandWordsFunction(const char *file, int n_word, char **word);

typedef struct {
  const char             *name;
  FwCommandFunction      *run;
  FwCommandFilesFunction *run_files; /**< in place of `run` */
  FwCommandWordsFunction *run_words; /**< in place of `run` */
  const char             *summary;
  const char             *usage; /**< what follows the name */
  const char             *example;
  unsigned                keys;         /**< FW_FOR_... bit; 0 for a command that works on a result file */
  PetscBool               wants_result; /**< the file is a result and must be given */
} FwCommand;

FwCommandFilesFunction FwCommandRun_Gather;
FwCommandWordsFunction FwCommandRun_Jobscript;
FwCommandFunction FwCommandRun_Predict, FwCommandRun_Sample, FwCommandRun_Mixture, FwCommandRun_Optimal,
  FwCommandRun_Ansatz, FwCommandRun_Plot, FwCommandRun_Selftest, FwCommandRun_Verify;

/** Draw a figure of a result beside it, as PATH without ".h5" + ".png": the one of the key `figure`, else its overview; with
 *  `none`, and without that key where the result is a part of a scan (`scan_index`), nothing. A missing gnuplot, or no such
 *  figure, is a warning. Collective. */
PetscErrorCode FwCommandFigure(const char result[]);

/** Refuse a key `figure` that names none of the figures of a command, before anything is computed. Not collective.
 * @error FW_ERR_INPUT  names those that there are */
PetscErrorCode FwCommandFigureCheck(const char command[]);
