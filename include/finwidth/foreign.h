/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Arrays of numbers in HDF5 files that others have made, read with the serial driver in blocks of rows.
 *
 * The file may come from anybody: nothing in it may lead to another file (external storage, links, virtual data sets), no
 * plug-in is loaded for it, and a declared size is compared with the bytes stored before it is believed. Not collective:
 * one rank reads.
 */

#include <finwidth/base.h>

typedef struct FwForeignImpl *FwForeign;

enum { FW_FOREIGN_MAX_DIM = 4 };

/** Size of a plain file in bytes.
 * @error FW_ERR_FILE  it is missing, a folder or a device */
PetscErrorCode FwFileSize(const char path[], PetscInt64 *n_byte);

/** Open a data set of integers or reals with 1 to 4 dimensions.
 *
 * @param[in]  name  such as "x" or "group/x"
 * @param[out] set   release with FwForeignClose()
 * @error FW_ERR_INPUT  no HDF5 file, no such data set, none of numbers, more dimensions, a link, numbers stored elsewhere,
 *                      more declared than stored
 * @error FW_ERR_FILE   missing, cut off or damaged
 */
PetscErrorCode FwForeignOpen(const char path[], const char name[], FwForeign *set);

/** Whether the file has a link of that name at the end of a chain of groups.
 * @error as FwForeignOpen(), of the file */
PetscErrorCode FwForeignHas(const char path[], const char name[], PetscBool *has);

/** Number of dimensions and lengths; those of a short list are 1. */
PetscErrorCode FwForeignGetSizes(FwForeign set, PetscInt *n_dim, PetscInt64 size[FW_FOREIGN_MAX_DIM]);

/** Rows first .. first + n - 1 as doubles, row-major.
 * @error FW_ERR_FILE  damaged, or compressed in an unknown way */
PetscErrorCode FwForeignRead(FwForeign set, PetscInt64 first, PetscInt64 n, double value[]);

/** Release and set the handle to NULL; NULL is fine. */
PetscErrorCode FwForeignClose(FwForeign *set);
