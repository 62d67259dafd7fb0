/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Quoting.
 */

#include <finwidth/quote.h>

#include <stdlib.h>
#include <string.h>

char *FwQuote(const char text[])
{
  char *quoted = malloc(4 * strlen(text) + 3), *end = quoted;

  if (!quoted) return NULL;
  *end++ = '\'';
  for (const char *c = text; *c; c++) {
    if (*c == '\'') {
      memcpy(end, "'\\''", 4);
      end += 4;
    } else {
      *end++ = *c;
    }
  }
  *end++ = '\'';
  *end   = '\0';
  return quoted;
}
