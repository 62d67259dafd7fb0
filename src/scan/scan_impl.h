#pragma once

/** @file
 * Private layout of a scan.
 */

#include <finwidth/scan.h>

enum { FW_SCAN_AXES_MAX = 8, FW_SCAN_TEXT = 64 };

struct FwScanImpl {
  PetscInt   n_axis, n_point;
  FwScanAxis axis[FW_SCAN_AXES_MAX];
  char      *before[FW_SCAN_AXES_MAX]; /* what the user gave for the key itself; NULL for nothing */
  PetscBool *is_chosen;                /* [n_point] by scan_index */
};
