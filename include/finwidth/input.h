/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * A first look at the input file, before PETSc reads it: PETSc merges duplicate keys, keeps the first line of a block
 * and turns null into the word "null", all without a word. Here each of these is an error with its line number.
 */

#include <stddef.h>

/** Check that a file is one YAML mapping of scalars, flow or block lists of scalars, and mappings of these.
 *
 * Plain C, on one rank, usable before MPI and PETSc are started.
 *
 * @param[in]  path     the file
 * @param[out] message  what is wrong, where, and what would be right
 * @param[in]  size     room in `message`
 * @return 0 when the file is good, FW_EXIT_INPUT or FW_EXIT_FILE
 */
int FwInputCheck(const char path[], char message[], size_t size);

/** Where the last file that was checked has a key, "PATH:LINE: "; "" where it has not, and on other ranks.
 * @param[in] key  with the keys around it: "network_width" */
void FwInputPlace(const char key[], size_t size, char place[]);
