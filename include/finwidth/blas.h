/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The BLAS that runs: which of its kernels fit this processor.
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
