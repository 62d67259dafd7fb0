/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The BLAS that runs: which of its kernels fit this processor, on how many threads.
 */

/** Start the program anew with the kernels that fit, where OpenBLAS has not recognised the processor.
 *
 * OpenBLAS chooses its kernels when it is loaded, before main(). The release in Debian 12 takes processors that are newer
 * than itself for one of 2004, and is then two to four times slower. Where that has happened, the choice is put into
 * OPENBLAS_CORETYPE and the program executed again; a choice that the user has made is left alone.
 *
 * Call it first in main(), before MPI. Returns when there is nothing to mend, or the program cannot be executed again.
 */
void FwBlasTune(char **argv);

/** One BLAS thread a rank, where ranks share a node.
 *
 * OpenBLAS starts a thread for each core that a process may use: ranks side by side would have many more threads than there are
 * cores. What the user has set (OPENBLAS_NUM_THREADS, GOTO_NUM_THREADS, OMP_NUM_THREADS) is left alone, and so is a rank that
 * has its node to itself.
 *
 * @collective{MPI_COMM_WORLD}, once MPI has started. Returns what MPI returns.
 */
int FwBlasShareNode(void);
