/** @file
 * Figures of several outputs: the matrix of order parameters as an image, the test error of each output.
 */

#include "panel.h"

#include <math.h>
#include <stdio.h>

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

/* Names of the outputs, thinned out where they would not fit */
static PetscErrorCode AddTicks(FwTicks *ticks, PetscInt64 n, PetscBool is_downward)
{
  const PetscInt64 step = (n + FW_TICK_MAX - 1) / FW_TICK_MAX;

  PetscFunctionBegin;
  for (PetscInt64 d = 0; d < n; d += step) {
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)d);
    PetscCall(FwTicksAdd(ticks, (double)(is_downward ? n - 1 - d : d), text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddEdges(PetscInt64 n, double **edge)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n + 1, edge));
  for (PetscInt64 i = 0; i <= n; i++) (*edge)[i] = (double)i - 0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q - 1 as an image, its first row on top: white is the infinite network */
PetscErrorCode FwFigureFill_Order(FwStore store, FwPanel *panel)
{
  FwMap     *map = &panel->map;
  PetscInt64 n, size;
  double    *order, largest = 0.0;

  PetscFunctionBegin;
  PetscCall(GetArray(store, "order_parameter", &size, &order));
  n = (PetscInt64)lround(sqrt((double)size));
  PetscCheck(n > 1 && n * n == size, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'order': the file does not hold one matrix of order parameters");
  PetscCall(FwPanelDescribe(panel, "Order parameter Q − 1", "output", "output"));
  PetscCall(PetscMalloc1((size_t)size, &map->value));
  map->n_x = map->n_y = n;
  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt64 j = 0; j < n; j++) {
      const double entry = order[i * n + j] - (i == j ? 1.0 : 0.0);

      map->value[(n - 1 - i) * n + j] = entry;
      largest                         = fmax(largest, fabs(entry));
    }
  map->is_centred = PETSC_TRUE;
  map->range[1]   = fmax(largest, 1e-12);
  map->range[0]   = -map->range[1];
  PetscCall(AddEdges(n, &map->x_edge));
  PetscCall(AddEdges(n, &map->y_edge));
  panel->has_x_range = panel->has_y_range = PETSC_TRUE;
  panel->x_range[0] = panel->y_range[0] = -0.5;
  panel->x_range[1] = panel->y_range[1] = (double)n - 0.5;
  PetscCall(AddTicks(&panel->x_tick, n, PETSC_FALSE));
  PetscCall(AddTicks(&panel->y_tick, n, PETSC_TRUE));
  PetscCall(PetscFree(order));
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
  PetscCall(AddTicks(&panel->x_tick, n, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
