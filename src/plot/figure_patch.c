/** @file
 * Order parameters between patches: the matrix, and its diagonal where the patches lie on the image.
 */

#include "panel.h"

#include <math.h>

static PetscErrorCode Get(FwStore store, const char name[], PetscInt64 size[], PetscInt *n_dim, double **value)
{
  PetscInt64 n;

  PetscFunctionBegin;
  PetscCall(FwStoreGetReals(store, name, n_dim, size, &n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells around 0, 1, .. n - 1 */
static PetscErrorCode MakeEdges(PetscInt64 n, double **edge)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n + 1, edge));
  for (PetscInt64 i = 0; i <= n; i++) (*edge)[i] = (double)i - 0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whole numbers, at most ten of them */
static PetscErrorCode AddTicks(PetscInt64 n, FwTicks *ticks)
{
  const PetscInt64 step = 1 + (n - 1) / 10;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i += step) {
    char text[16];

    PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt64_FMT, i));
    PetscCall(FwTicksAdd(ticks, (double)i, text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A map of whole numbers by whole numbers, the first row on top; `value` becomes the panel's */
static PetscErrorCode SetMap(FwPanel *panel, PetscInt64 n_x, PetscInt64 n_y, double *value, double largest)
{
  FwMap *map = &panel->map;

  PetscFunctionBegin;
  map->n_x   = n_x;
  map->n_y   = n_y;
  map->value = value;
  PetscCall(MakeEdges(n_x, &map->x_edge));
  PetscCall(MakeEdges(n_y, &map->y_edge));
  PetscCall(AddTicks(n_x, &panel->x_tick));
  PetscCall(AddTicks(n_y, &panel->y_tick));
  panel->has_x_range = panel->has_y_range = panel->is_square = PETSC_TRUE;
  panel->x_range[0]                                          = -0.5;
  panel->x_range[1]                                          = (double)n_x - 0.5;
  panel->y_range[0]                                          = (double)n_y - 0.5;
  panel->y_range[1]                                          = -0.5;
  map->is_centred                                            = PETSC_TRUE;
  map->range[0]                                              = -fmax(largest, 1e-12);
  map->range[1]                                              = fmax(largest, 1e-12);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_OrderMatrix(FwStore store, FwPanel *panel)
{
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM], n;
  double    *order, largest = 0.0;

  PetscFunctionBegin;
  PetscCall(Get(store, "/predict/order_parameter", size, &n_dim, &order));
  n = size[0];
  for (PetscInt64 i = 0; i < n; i++) order[i * n + i] -= 1.0;
  for (PetscInt64 i = 0; i < n * n; i++) largest = fmax(largest, fabs(order[i]));
  PetscCall(FwPanelDescribe(panel, "Order parameter Q − 1", "patch", "patch"));
  PetscCall(SetMap(panel, n, n, order, largest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_OrderGrid(FwStore store, FwPanel *panel)
{
  PetscInt   n_dim, n_scalar;
  PetscInt64 size[FW_STORE_MAX_DIM], unused[FW_STORE_MAX_DIM], n;
  double    *order, *rows, *columns, *diagonal, largest = 0.0;

  PetscFunctionBegin;
  PetscCall(Get(store, "/predict/order_parameter", size, &n_dim, &order));
  PetscCall(Get(store, "/predict/patch_rows", unused, &n_scalar, &rows));
  PetscCall(Get(store, "/predict/patch_columns", unused, &n_scalar, &columns));
  n = size[0];
  PetscCall(PetscMalloc1((size_t)n, &diagonal));
  for (PetscInt64 i = 0; i < n; i++) diagonal[i] = order[n_dim == 2 ? i * n + i : i] - 1.0;
  for (PetscInt64 i = 0; i < n; i++) largest = fmax(largest, fabs(diagonal[i]));
  PetscCall(FwPanelDescribe(panel, "Diagonal of Q − 1, on the image", "column of the patch", "row of the patch"));
  PetscCall(SetMap(panel, (PetscInt64)columns[0], (PetscInt64)rows[0], diagonal, largest));
  PetscCall(PetscFree(order));
  PetscCall(PetscFree(rows));
  PetscCall(PetscFree(columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}
