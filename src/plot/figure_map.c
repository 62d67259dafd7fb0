/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Heat maps over two axes of a scan: the test error, what finite width changes of it, and the order parameter.
 */

#include "slice.h"

#include <math.h>

/* Where a cell ends: half-way to the next value, on a logarithmic axis in the logarithm */
static PetscErrorCode MakeEdges(const FwSliceAxis *axis, double **edge)
{
  const PetscInt64 n = axis->n;
  double          *e;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n + 1, &e));
  for (PetscInt64 i = 1; i < n; i++) {
    const double a = axis->value[i - 1], b = axis->value[i];

    e[i] = axis->is_log ? sqrt(a) * sqrt(b) : 0.5 * a + 0.5 * b;
  }
  e[0]  = axis->is_log ? axis->value[0] / e[1] * axis->value[0] : 2.0 * axis->value[0] - e[1];
  e[n]  = axis->is_log ? axis->value[n - 1] / e[n - 1] * axis->value[n - 1] : 2.0 * axis->value[n - 1] - e[n - 1];
  *edge = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Range of the finite values, and how many there are */
static PetscInt64 FindRange(const double value[], PetscInt64 n, double range[2])
{
  PetscInt64 n_finite = 0;

  range[0] = INFINITY;
  range[1] = -INFINITY;
  for (PetscInt64 i = 0; i < n; i++) {
    if (!isfinite(value[i])) continue;
    range[0] = fmin(range[0], value[i]);
    range[1] = fmax(range[1], value[i]);
    n_finite++;
  }
  return n_finite;
}

/* Zero is the middle of a diverging palette; a range without extent gets one */
static void SetColours(FwMap *map, PetscBool is_centred)
{
  double *range = map->range;

  (void)FindRange(map->value, map->n_x * map->n_y, range);
  map->is_centred = is_centred;
  map->is_log     = !is_centred && range[0] > 0.0 && range[1] > 20.0 * range[0] ? PETSC_TRUE : PETSC_FALSE;
  if (is_centred) {
    range[1] = fmax(fabs(range[0]), fabs(range[1]));
    range[0] = -range[1];
  }
  if (!(range[1] - range[0] > 1e-6 * fabs(range[1]))) {
    const double extent = fmax(1e-3 * fabs(range[1]), 1e-12);

    range[0] -= extent;
    range[1] += extent;
  }
}

static PetscErrorCode SetAxes(const FwSlice *slice, FwPanel *panel)
{
  FwMap *map = &panel->map;

  PetscFunctionBegin;
  map->n_x = slice->x.n;
  map->n_y = slice->family.n;
  PetscCall(MakeEdges(&slice->x, &map->x_edge));
  PetscCall(MakeEdges(&slice->family, &map->y_edge));
  panel->is_log_x    = slice->x.is_log;
  panel->is_log_y    = slice->family.is_log;
  panel->has_x_range = panel->has_y_range = PETSC_TRUE;
  panel->x_range[0]                       = map->x_edge[0];
  panel->x_range[1]                       = map->x_edge[map->n_x];
  panel->y_range[0]                       = map->y_edge[0];
  panel->y_range[1]                       = map->y_edge[map->n_y];
  PetscCall(FwSliceTicks(&slice->x, &panel->x_tick));
  PetscCall(FwSliceTicks(&slice->family, &panel->y_tick));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureAddMap(const FwSlice *slice, const char title[], PetscBool is_centred, double *value,
                              FwFigure *figure)
{
  FwPanel *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, title, slice->x.label, slice->family.label));
  panel->map.value = value;
  PetscCall(SetAxes(slice, panel));
  SetColours(&panel->map, is_centred);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A map of `name`, or of its difference to `reference` (not NULL); none where there is no number */
static PetscErrorCode AddMapOf(const FwSlice *slice, const char name[], const char reference[], const char title[],
                               FwFigure *figure)
{
  const PetscInt64 n = slice->x.n * slice->family.n;
  PetscInt64       n_finite;
  PetscBool        has, has_reference = PETSC_TRUE;
  double          *value, *subtract   = NULL, range[2];
  char             full_title[FW_LABEL_SIZE];

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, name, &has, &value));
  if (reference) {
    PetscCall(FwSliceGetMean(slice, reference, &has_reference, &subtract));
    for (PetscInt64 i = 0; i < n; i++) value[i] -= subtract[i];
  }
  PetscCall(PetscFree(subtract));
  n_finite = FindRange(value, n, range);
  PetscCall(PetscSNPrintf(full_title, sizeof full_title, "%s%s", title, n_finite < n ? " (gray: no result)" : ""));
  if (has && has_reference && n_finite)
    PetscCall(FwFigureAddMap(slice, full_title, reference ? PETSC_TRUE : PETSC_FALSE, value, figure));
  else
    PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Map(const FwSlice *slice, FwFigure *figure)
{
  PetscFunctionBegin;
  PetscCall(AddMapOf(slice, "test_error", NULL, "Test error", figure));
  PetscCall(AddMapOf(slice, "test_error", "infinite_test_error", "Test error, finite − infinite width", figure));
  PetscCall(AddMapOf(slice, "total_order_parameter", NULL, "Total order parameter", figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}
