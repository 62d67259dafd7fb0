/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * The law that a row of tests/reference/mixture.json is about: `widths` as a list or as {N, L}, or `a`.
 */

#include <finwidth/mixture_law.h>

#include "collective_assert.h"
#include "reference.h"

/** The law of a list of widths. */
static inline FwMixtureLaw make_law(PetscInt n_output, PetscInt n_width, const double width[], double a)
{
  FwMixtureLaw law;

  TestCall(FwMixtureLawLimit(a, n_output, n_width, width, &law));
  return law;
}

/** The law of `depth` equal widths. */
static inline FwMixtureLaw make_deep_law(PetscInt n_output, double width, int depth)
{
  double list[1024];

  for (int l = 0; l < depth; l++) list[l] = width;
  return make_law(n_output, depth, list, 0.0);
}

static inline FwMixtureLaw reference_law(Reference row, PetscInt n_output)
{
  const Reference widths = reference_get(row, "widths");
  double          width[64];

  if (!widths.node) return make_law(n_output, 0, NULL, reference_value(row, "a"));
  for (int l = 0; l < reference_size(widths); l++) width[l] = reference_number(reference_at(widths, l));
  if (reference_size(widths)) return make_law(n_output, reference_size(widths), width, 0.0);
  return make_deep_law(n_output, reference_value(widths, "N"), (int)reference_value(widths, "L"));
}
