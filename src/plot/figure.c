/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of a result file, and the life of their data.
 */

#include "panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

PetscErrorCode FwPanelAdd(FwPanel *panel, FwMark mark, FwColour colour, const char title[], PetscInt64 n,
                          const double x[], const double y[], const double error[])
{
  const double *from[] = {x, y, error};
  double      **to[3];
  FwSeries     *series;

  PetscFunctionBegin;
  PetscCheck(panel->n_series < FW_SERIES_MAX, PETSC_COMM_SELF, PETSC_ERR_PLIB, "more than %d series", FW_SERIES_MAX);
  series  = &panel->series[panel->n_series++];
  *series = (FwSeries){.mark = mark, .colour = colour, .n = n};
  PetscCall(PetscStrncpy(series->title, title, FW_LABEL_SIZE));
  to[0] = &series->x;
  to[1] = &series->y;
  to[2] = &series->error;
  for (int i = 0; i < 3; i++) {
    if (!from[i]) continue;
    PetscCall(PetscMalloc1((size_t)n, to[i]));
    PetscCall(PetscArraycpy(*to[i], from[i], (size_t)n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelDescribe(FwPanel *panel, const char title[], const char x_label[], const char y_label[])
{
  PetscFunctionBegin;
  PetscCall(PetscStrncpy(panel->title, title, FW_LABEL_SIZE));
  PetscCall(PetscStrncpy(panel->x_label, x_label, FW_LABEL_SIZE));
  PetscCall(PetscStrncpy(panel->y_label, y_label, FW_LABEL_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTicksAdd(FwTicks *ticks, double at, const char text[])
{
  PetscFunctionBegin;
  if (ticks->n == FW_TICK_MAX) PetscFunctionReturn(PETSC_SUCCESS);
  ticks->at[ticks->n] = at;
  PetscCall(PetscStrncpy(ticks->text[ticks->n++], text, FW_LABEL_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureAddPanel(FwFigure *figure, FwPanel **panel)
{
  PetscFunctionBegin;
  PetscCheck(figure->n_panel < FW_PANEL_MAX, PETSC_COMM_SELF, PETSC_ERR_PLIB, "more than %d panels", FW_PANEL_MAX);
  *panel = &figure->panel[figure->n_panel++];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ClearPanel(FwPanel *panel)
{
  PetscFunctionBegin;
  for (PetscInt s = 0; s < panel->n_series; s++) {
    PetscCall(PetscFree(panel->series[s].x));
    PetscCall(PetscFree(panel->series[s].y));
    PetscCall(PetscFree(panel->series[s].error));
  }
  PetscCall(PetscFree(panel->map.x_edge));
  PetscCall(PetscFree(panel->map.y_edge));
  PetscCall(PetscFree(panel->map.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTicksAddNumbers(FwTicks *ticks, PetscInt64 n)
{
  const PetscInt64 step = 1 + (n - 1) / 10;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i += step) {
    char text[32];

    PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt64_FMT, i));
    PetscCall(FwTicksAdd(ticks, (double)i, text));
  }
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

PetscErrorCode FwPanelSetGrid(FwPanel *panel, PetscInt64 n_x, PetscInt64 n_y, double *value)
{
  const PetscInt64 slimmest = 4; /* a row of square cells would be lower than the numbers of its colours */
  FwMap           *map      = &panel->map;
  double           largest  = 1e-12;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n_x * n_y; i++) largest = fmax(largest, fabs(value[i]));
  *map = (FwMap){
    .n_x = n_x, .n_y = n_y, .value = value, .is_centred = PETSC_TRUE, .range = {-largest, largest}
  };
  PetscCall(MakeEdges(n_x, &map->x_edge));
  PetscCall(MakeEdges(n_y, &map->y_edge));
  PetscCall(FwTicksAddNumbers(&panel->x_tick, n_x));
  PetscCall(FwTicksAddNumbers(&panel->y_tick, n_y));
  panel->is_square   = PetscMax(n_x, n_y) <= slimmest * PetscMin(n_x, n_y) ? PETSC_TRUE : PETSC_FALSE;
  panel->has_x_range = panel->has_y_range = PETSC_TRUE;
  panel->x_range[0]                       = -0.5;
  panel->x_range[1]                       = (double)n_x - 0.5;
  panel->y_range[0]                       = (double)n_y - 0.5;
  panel->y_range[1]                       = -0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelFitBoxes(FwPanel *panel)
{
  double low = INFINITY, high = 0.0;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n; i++) {
      if (panel->series[s].y[i] > 0.0) low = fmin(low, panel->series[s].y[i]);
      high = fmax(high, panel->series[s].y[i]);
    }
  panel->has_numbers = panel->has_y_range = (high > 0.0) ? PETSC_TRUE : PETSC_FALSE;
  panel->is_log_y                         = (high > 30.0 * low) ? PETSC_TRUE : PETSC_FALSE;
  panel->y_range[0]                       = panel->is_log_y ? pow(10.0, floor(log10(0.7 * low))) : 0.0;
  panel->y_range[1] = panel->is_log_y ? high * pow(high / panel->y_range[0], 0.22) : 1.25 * high; /* room for numbers */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureClear(FwFigure *figure)
{
  PetscFunctionBegin;
  for (PetscInt p = 0; p < figure->n_panel; p++) PetscCall(ClearPanel(&figure->panel[p]));
  PetscCall(PetscMemzero(figure, sizeof *figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureCheckFilled(const FwFigure *figure, const char name[], const char names[])
{
  PetscFunctionBegin;
  PetscCheck(figure->n_panel || names[0], PETSC_COMM_WORLD, FW_ERR_INPUT, "this file has nothing that could be drawn");
  PetscCheck(figure->n_panel, PETSC_COMM_WORLD, FW_ERR_INPUT, "figure '%s': this file can give overview%s",
             name ? name : "overview", names);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFillChosen(const char name[], PetscInt n, const FwFigureChoice choice[], FwFigureFill *fill,
                                  const void *found, FwFigure *figure)
{
  const PetscBool is_overview = !name || !strcmp(name, "overview") ? PETSC_TRUE : PETSC_FALSE;
  char            names[256]  = "";

  PetscFunctionBegin;
  for (PetscInt f = 0; f < n; f++) {
    const size_t length = strlen(names);

    if (!choice[f].is_available) continue;
    (void)snprintf(names + length, sizeof names - length, ", %s", choice[f].name);
    if (is_overview ? choice[f].is_in_overview : !strcmp(name, choice[f].name)) PetscCall(fill(found, f, figure));
  }
  if (figure->n_panel > 3) figure->n_column = (figure->n_panel + 1) / 2;
  PetscCall(FwFigureCheckFilled(figure, name, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureDraw(FwStore store, const char name[], const char output[])
{
  FwFigure      *figure;
  PetscBool      has_predict, has_sample, has_mixture, has_posterior, has_optimal, has_ansatz, is_scan;
  PetscMPIInt    rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(FwFigureCheckExtension(output));
  PetscCall(FwStoreHas(store, "/predict", &has_predict));
  PetscCall(FwStoreHas(store, "/sample", &has_sample));
  PetscCall(FwStoreHas(store, "/mixture", &has_mixture));
  PetscCall(FwStoreHas(store, "/mixture/posterior", &has_posterior));
  PetscCall(FwStoreHas(store, "/optimal", &has_optimal));
  PetscCall(FwStoreHas(store, "/ansatz", &has_ansatz));
  if (has_sample) has_predict = PETSC_TRUE; /* with theory beside it, or without */
  PetscCheck(has_predict || has_mixture || has_optimal || has_ansatz, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "this file has no results that figures exist for: those of 'predict', 'sample', 'mixture', 'optimal' and "
             "'ansatz'");
  PetscCall(PetscNew(&figure));
  PetscCall(FwFigureIsScan(store, &is_scan));
  if (has_predict)
    PetscCall(is_scan ? FwFigureFill_Scan(store, name, figure) : FwFigureFill_Predict(store, name, figure));
  else if (has_posterior)
    PetscCall(FwFigureFill_Posterior(store, name, figure));
  if (has_ansatz) PetscCall(FwFigureFill_Ansatz(store, name, is_scan, figure));
  if (has_optimal) PetscCall(FwFigureFill_Optimal(store, name, is_scan, figure));
  if (has_mixture && !has_predict && !figure->n_panel) PetscCall(FwFigureFill_Mixture(store, name, is_scan, figure));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) code = FwFigureRender(figure, output);
  PetscCall(FwErrorAgree(PETSC_COMM_WORLD, 0, code));
  PetscCall(FwFigureClear(figure));
  PetscCall(PetscFree(figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}
