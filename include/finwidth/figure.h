#pragma once

/** @file
 * Pictures: a figure is data (panels with series of points), drawn by gnuplot without a shell.
 *
 * Everything here happens on rank 0; the calls are collective only in that every rank may make them.
 */

#include <finwidth/base.h>
#include <finwidth/store.h>

/** Draw a figure of a result file.
 *
 * @collective{store}
 * @param[in] store   open for reading
 * @param[in] name    which figure, or NULL for the overview; see FwFigureNames()
 * @param[in] output  PNG, SVG or PDF by extension; replaced without asking, written beside and renamed
 * @error FW_ERR_INPUT  unknown figure (names those the file can give), unknown extension, or data the file does not hold
 * @error FW_ERR_FILE   gnuplot is not installed, or failed: with its first line
 */
PetscErrorCode FwFigureDraw(FwStore store, const char name[], const char output[]);
