/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Arrays of a result file, as figures take them: whole, and nothing where the file has none.
 */

#include <finwidth/store.h>

typedef struct {
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n; /* n = 0 where the file does not have it */
  double    *value;                     /* [n] */
} FwArray;

/** Read an array of a group such as "/predict/"; a name that begins with '/' is a path. Release `value` with PetscFree().
 *  Collective on the store. */
PetscErrorCode FwArrayGet(FwStore store, const char group[], const char name[], FwArray *array);

/** Extend [low, high] by the values of an array. */
void FwArrayFindRange(const FwArray *array, double *low, double *high);

/** What the average of /predict is called in a legend: exact, or over draws, which may not suffice. Collective on the store. */
PetscErrorCode FwAverageName(FwStore store, size_t size, char text[]);
