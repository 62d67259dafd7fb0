/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Pages made from the table of commands and the table of keys. Printed on stdout from rank 0; collective.
 */

#include "command.h"

/** A manual page (man 1): of one command, or with NULL of the program. */
PetscErrorCode FwHelpManual(size_t n, const FwCommand commands[], const FwCommand *command);

/** Completion for bash: source it, or put it where bash-completion looks. */
PetscErrorCode FwHelpCompletion(size_t n, const FwCommand commands[]);
