/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Order parameters between patches: the matrix, its diagonal where the patches lie on the image, and what was sampled.
 */

#include "array.h"
#include "panel.h"

#include <math.h>

static PetscErrorCode Get(FwStore store, const char name[], PetscInt64 size[], PetscInt *n_dim, double **value)
{
  PetscInt64 n;

  PetscFunctionBegin;
  PetscCall(FwStoreGetReals(store, name, n_dim, size, &n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_OrderMatrix(FwStore store, FwPanel *panel)
{
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n;
  PetscBool  is_deep;
  double    *order;

  PetscFunctionBegin;
  PetscCall(Get(store, "/predict/order_parameter", size, &n_dim, &order));
  n = n_dim == 4 ? size[0] * size[1] : size[0];
  for (PetscInt64 i = 0; i < n; i++) order[i * n + i] -= 1.0;
  PetscCall(FwStoreHas(store, "/predict/other_path", &is_deep));
  PetscCall(n_dim == 4 ? FwPanelDescribe(panel, "Order parameter Q − 1", "output, and patch within", "output, patch")
                       : FwPanelDescribe(panel, "Order parameter Q − 1", is_deep ? "path through the layers" : "patch",
                                         is_deep ? "path" : "patch"));
  PetscCall(FwPanelSetGrid(panel, n, n, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_LearntMatrix(FwStore store, FwPanel *panel)
{
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n;
  double    *order, mean = 0.0;

  PetscFunctionBegin;
  PetscCall(Get(store, "/predict/learnt_order_parameter", size, &n_dim, &order));
  n = n_dim == 4 ? size[0] * size[1] : size[0];
  for (PetscInt64 i = 0; i < n; i++) mean += order[i * n + i] / (double)n;
  for (PetscInt64 i = 0; i < n * n; i++) order[i] = order[i] / mean - (i % (n + 1) == 0 ? 1.0 : 0.0);
  PetscCall(FwPanelDescribe(panel, "Learnt Q over its mean diagonal, − 1",
                            n_dim == 4 ? "output, and patch within" : "patch", n_dim == 4 ? "output, patch" : "patch"));
  PetscCall(FwPanelSetGrid(panel, n, n, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_OrderGrid(FwStore store, FwPanel *panel)
{
  PetscInt   n_dim, n_scalar;
  PetscInt64 size[FW_STORE_MAX_DIM], unused[FW_STORE_MAX_DIM], n, n_output;
  PetscBool  is_deep;
  double    *order, *rows, *columns, *diagonal;

  PetscFunctionBegin;
  PetscCall(FwStoreHas(store, "/predict/order_on_patches", &is_deep));
  PetscCall(Get(store, is_deep ? "/predict/order_on_patches" : "/predict/order_parameter", size, &n_dim, &order));
  PetscCall(Get(store, "/predict/patch_rows", unused, &n_scalar, &rows));
  PetscCall(Get(store, "/predict/patch_columns", unused, &n_scalar, &columns));
  n        = n_dim == 4 ? size[1] : size[0];
  n_output = n_dim == 4 ? size[0] : 1;
  PetscCall(PetscCalloc1((size_t)n, &diagonal));
  for (PetscInt64 r = 0; r < n * n_output; r++)
    diagonal[r % n] += (order[n_dim == 1 ? r : r * n * n_output + r] - 1.0) / (double)n_output;
  PetscCall(FwPanelDescribe(panel, "Diagonal of Q − 1, on the image", "column of the patch", "row of the patch"));
  PetscCall(FwPanelSetGrid(panel, (PetscInt64)columns[0], (PetscInt64)rows[0], diagonal));
  PetscCall(PetscFree(order));
  PetscCall(PetscFree(rows));
  PetscCall(PetscFree(columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- sampled ------------------------------------------------------------------------------------------------ */

/* Entries i <= j of a symmetric matrix, in place; their number */
static PetscInt64 UpperHalf(FwArray *a)
{
  const PetscInt64 n = llround(sqrt((double)a->n));
  PetscInt64       k = 0;

  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt64 j = i; j < n; j++) a->value[k++] = a->value[i * n + j];
  return k;
}

/* Dots at what one theory says, if the file has it */
static PetscErrorCode AddSampledEntries(FwStore store, const char name[], FwColour colour, const char title[],
                                        FwPanel *panel)
{
  FwArray    predicted, sampled, bar;
  PetscInt64 n;

  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, "/predict/", name, &predicted));
  PetscCall(FwArrayGet(store, "/sample/", "order_parameter", &sampled));
  PetscCall(FwArrayGet(store, "/sample/", "order_parameter_error_bar", &bar));
  if (predicted.n && predicted.n == sampled.n) {
    n = UpperHalf(&predicted);
    (void)UpperHalf(&sampled);
    (void)UpperHalf(&bar);
    PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, colour, title, n, predicted.value, sampled.value, bar.value));
  }
  PetscCall(PetscFree(predicted.value));
  PetscCall(PetscFree(sampled.value));
  PetscCall(PetscFree(bar.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_OrderSampled(FwStore store, FwPanel *panel)
{
  double end[2] = {INFINITY, -INFINITY};
  char   average[64];

  PetscFunctionBegin;
  PetscCall(FwAverageName(store, sizeof average, average));
  PetscCall(FwPanelDescribe(panel, "Entries of the order parameter", "predicted", "sampled"));
  PetscCall(AddSampledEntries(store, "order_parameter", FW_BLUE, "finite width", panel));
  PetscCall(AddSampledEntries(store, "average_order_parameter", FW_GREEN, average, panel));
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n; i++) {
      end[0] = fmin(end[0], fmin(panel->series[s].x[i], panel->series[s].y[i]));
      end[1] = fmax(end[1], fmax(panel->series[s].x[i], panel->series[s].y[i]));
    }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "agreement", 2, end, end, NULL));
  panel->is_legend_outside = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
