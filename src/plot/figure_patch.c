/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Order parameters between patches: the matrix, and its diagonal where the patches lie on the image.
 */

#include "panel.h"

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
