/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of several outputs: the matrix of order parameters as an image, the test error of each output.
 */

#include "array.h"
#include "panel.h"

#include <math.h>

enum { N_KIND = 3 };

/* Q - 1 as an image: white is the infinite network */
PetscErrorCode FwFigureFill_Order(FwStore store, FwPanel *panel)
{
  PetscInt64 n;
  FwArray    order;

  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, "/predict/", "order_parameter", &order));
  n = (PetscInt64)lround(sqrt((double)order.n));
  PetscCheck(n > 1 && n * n == order.n, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'order': the file does not hold one matrix of order parameters");
  for (PetscInt64 d = 0; d < n; d++) order.value[d * n + d] -= 1.0;
  PetscCall(FwPanelDescribe(panel, "Order parameter Q − 1", "output", "output"));
  PetscCall(FwPanelSetGrid(panel, n, n, order.value));
  panel->has_numbers = (n <= 6) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddBoxes(const FwArray *error, double offset, double width, FwColour colour, const char title[],
                               FwPanel *panel)
{
  double *x;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)error->n, &x));
  for (PetscInt64 d = 0; d < error->n; d++) x[d] = (double)d + offset;
  PetscCall(FwPanelAdd(panel, FW_MARK_BOX, colour, title, error->n, x, error->value, NULL));
  panel->series[panel->n_series - 1].box_width = width;
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Test error of each output, with and without finite width */
PetscErrorCode FwFigureFill_Outputs(FwStore store, FwPanel *panel)
{
  static const char *const name[N_KIND]   = {"test_error", "average_test_error", "infinite_test_error"};
  static const FwColour    colour[N_KIND] = {FW_BLUE, FW_GREEN, FW_ORANGE};
  char                     average[64];
  const char *const        title[N_KIND] = {"finite width", average, "infinite width"};
  FwArray                  error[N_KIND];
  PetscInt64               n;
  int                      n_kind = 0, kind = 0;

  PetscFunctionBegin;
  PetscCall(FwAverageName(store, sizeof average, average));
  for (int k = 0; k < N_KIND; k++) {
    PetscCall(FwArrayGet(store, "/predict/", name[k], &error[k]));
    n_kind += error[k].n > 0 && isfinite(error[k].value[0]);
  }
  n = error[0].n;
  PetscCheck(n > 1 && n_kind, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'outputs': the file does not hold test errors of several outputs");
  PetscCall(FwPanelDescribe(panel, "Test error of each output", "output", "mean squared error"));
  for (int k = 0; k < N_KIND; k++) {
    if (error[k].n == n && isfinite(error[k].value[0]))
      PetscCall(
        AddBoxes(&error[k], (kind++ - 0.5 * (n_kind - 1)) * 0.8 / n_kind, 0.72 / n_kind, colour[k], title[k], panel));
    PetscCall(PetscFree(error[k].value));
  }
  panel->is_legend_outside = panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]                             = -0.6;
  panel->x_range[1]                             = (double)n - 0.4;
  PetscCall(FwPanelFitBoxes(panel));
  PetscCall(FwTicksAddNumbers(&panel->x_tick, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
