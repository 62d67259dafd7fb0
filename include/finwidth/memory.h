/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * How much memory there is.
 */

#include <finwidth/base.h>

/** Memory that one rank may use: the key `memory`, or what the node has or its control groups allow, divided by its ranks,
 *  and no more than the limit on its address space left when this was first called. Collective. */
PetscErrorCode FwEstimateMemory(MPI_Comm comm, double *bytes);

/** What the control groups of a process allow, in bytes, as schedulers and containers set them: the least limit of its group
 *  and of those above it, in version 1 and 2. PETSC_MAX_REAL where there is none, or nothing can be read. Not collective.
 *
 * @param[in] groups  "/proc/self/cgroup"
 * @param[in] mount   where the hierarchies are, "/sys/fs/cgroup"
 */
double FwMemoryGroupLimit(const char groups[], const char mount[]);

/** Program, libraries and MPI's buffers, of each rank. */
#define FW_ESTIMATE_BASE_BYTES 60e6

/** Whether the limit on the address space (ulimit -v) leaves enough for the libraries. With less, OpenBLAS asks the system
 *  for its buffers again and again and never ends. Plain C, usable before MPI runs.
 *
 * @param[out] message  one line, where not
 * @param[in]  size     room in `message`
 * @return 0, or FW_EXIT_MEMORY
 */
int FwMemoryCheckLimit(char message[], size_t size);
