/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of several outputs: the matrix of order parameters as an image, the test error of each output.
 */

#include "panel.h"

#include <math.h>

enum { N_KIND = 3 };

static PetscErrorCode GetArray(FwStore store, const char name[], PetscInt64 *n, double **value)
{
  PetscInt   n_dim;
  PetscInt64 size[FW_STORE_MAX_DIM];
  char       path[128];
  PetscBool  has;

  PetscFunctionBegin;
  *n     = 0;
  *value = NULL;
  PetscCall(PetscSNPrintf(path, sizeof path, "/predict/%s", name));
  PetscCall(FwStoreHas(store, path, &has));
  if (has) PetscCall(FwStoreGetReals(store, path, &n_dim, size, n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q - 1 as an image: white is the infinite network */
PetscErrorCode FwFigureFill_Order(FwStore store, FwPanel *panel)
{
  PetscInt64 n, size;
  double    *order;

  PetscFunctionBegin;
  PetscCall(GetArray(store, "order_parameter", &size, &order));
  n = (PetscInt64)lround(sqrt((double)size));
  PetscCheck(n > 1 && n * n == size, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'order': the file does not hold one matrix of order parameters");
  for (PetscInt64 d = 0; d < n; d++) order[d * n + d] -= 1.0;
  PetscCall(FwPanelDescribe(panel, "Order parameter Q − 1", "output", "output"));
  PetscCall(FwPanelSetGrid(panel, n, n, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Test error of each output, with and without finite width */
PetscErrorCode FwFigureFill_Outputs(FwStore store, FwPanel *panel)
{
  static const char *const name[N_KIND]   = {"test_error", "average_test_error", "infinite_test_error"};
  static const char *const title[N_KIND]  = {"finite width", "exact average", "infinite width"};
  static const FwColour    colour[N_KIND] = {FW_BLUE, FW_GREEN, FW_ORANGE};
  double                  *error[N_KIND], *x, top = 0.0;
  PetscInt64               size[N_KIND], n;
  int                      n_kind = 0, kind = 0;

  PetscFunctionBegin;
  for (int k = 0; k < N_KIND; k++) {
    PetscCall(GetArray(store, name[k], &size[k], &error[k]));
    n_kind += size[k] > 0 && isfinite(error[k][0]);
  }
  n = size[0];
  PetscCheck(n > 1 && n_kind, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'outputs': the file does not hold test errors of several outputs");
  PetscCall(FwPanelDescribe(panel, "Test error of each output", "output", "mean squared error"));
  PetscCall(PetscMalloc1((size_t)n, &x));
  for (int k = 0; k < N_KIND; k++) {
    if (size[k] == n && isfinite(error[k][0])) {
      for (PetscInt64 d = 0; d < n; d++) {
        x[d] = (double)d + (kind - 0.5 * (n_kind - 1)) * 0.8 / n_kind;
        top  = fmax(top, error[k][d]);
      }
      PetscCall(FwPanelAdd(panel, FW_MARK_BOX, colour[k], title[k], n, x, error[k], NULL));
      panel->series[panel->n_series - 1].box_width = 0.72 / n_kind;
      kind++;
    }
    PetscCall(PetscFree(error[k]));
  }
  PetscCall(PetscFree(x));
  panel->is_legend_outside = panel->has_x_range = panel->has_y_range = PETSC_TRUE;
  panel->x_range[0]                                                  = -0.6;
  panel->x_range[1]                                                  = (double)n - 0.4;
  panel->y_range[0]                                                  = 0.0;
  panel->y_range[1]                                                  = 1.1 * top;
  PetscCall(FwTicksAddNumbers(&panel->x_tick, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
