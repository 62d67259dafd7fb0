/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What other commands ask of `finwidth sample`.
 */

#include <finwidth/sampled.h>

/** What sampling the point that stands in the options database will need.
 *
 * @collective{comm}
 * @error FW_ERR_MEMORY  it would not fit: names what would
 */
PetscErrorCode FwSampleEstimate(MPI_Comm comm, const FwDataSizes *sizes, FwSampledCost *cost);
