/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Pictures: a figure is data (panels with series of points), drawn by gnuplot without a shell.
 *
 * The picture is drawn on rank 0; the arrays of the file are read collectively.
 */

#include <finwidth/base.h>
#include <finwidth/store.h>

/** Draw a figure of a result file.
 *
 * @collective{store}
 * @param[in] store   open for reading
 * @param[in] name    which figure, or NULL for the overview; of a single point `action`, `prediction`, `errors`, of
 *                    convolutional networks `order-parameter`, `patches`, of a
 *                    scan `errors`, `order-parameter`, `accuracy` and over two axes `map`; of 'optimal' `potential`, `curve`,
 *                    `errors`, `information`, `learnable`, `transitions`, `map`
 * @param[in] output  PNG, SVG or PDF by extension; replaced without asking, written beside and renamed
 * @error FW_ERR_INPUT  unknown figure (names those the file can give), unknown extension, or data the file does not hold
 * @error FW_ERR_FILE   gnuplot is not installed, or failed: with its first line
 */
PetscErrorCode FwFigureDraw(FwStore store, const char name[], const char output[]);
