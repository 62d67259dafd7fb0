/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Texts in shell scripts.
 */

#include <finwidth/base.h>

/** A text as one word of a POSIX shell: in single quotes, where nothing but a single quote has a meaning.
 *
 * Not collective; needs no PETSc.
 * @return release with free(); NULL when there is no memory
 */
char *FwQuote(const char text[]);
