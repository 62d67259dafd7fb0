/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Experiments of /optimal: measured errors over the curves of theory, and message passing beside state evolution.
 */

#include "array.h"
#include "slice.h"

#include <math.h>

static const char group[] = "/optimal/experiment";

/* --- errors over a scan -------------------------------------------------------------------------------------------------- */

/* One quantity, for each curve of a family in its shade */
static PetscErrorCode AddDots(const FwSlice *slice, const char name[], FwColour colour, const char title[],
                              FwPanel *panel)
{
  const FwFamily family = FwSliceFamily(&slice->family);

  PetscFunctionBegin;
  if (slice->family.n == 1) {
    PetscCall(FwPanelAddSampled(slice, group, name, 0, colour, 0.0, title, panel));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt c = 0; c < family.n; c++)
    PetscCall(FwPanelAddSampled(slice, group, name, family.at[c], FW_SHADE, family.shade[c], "", panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, FW_GRAY, title, 0, NULL, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A line at n = d^2, as many examples as a layer has weights, where that is in sight */
static PetscErrorCode MarkWeights(const FwSlice *slice, FwPanel *panel)
{
  PetscBool has;
  double   *dimension;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/dimension", &has, &dimension));
  if (has && dimension[0] > panel->x_range[0] && dimension[0] < panel->x_range[1])
    PetscCall(FwPanelAdd(panel, FW_MARK_VERTICAL, FW_GRAY, "n = d²", 1, dimension, NULL, NULL));
  PetscCall(PetscFree(dimension));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelAddTrials(const FwSlice *slice, FwPanel *panel)
{
  PetscBool has, has_ridge;
  double   *error, *ridge;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/error", &has, &error));
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/ridge_error", &has_ridge, &ridge));
  if (has_ridge && slice->family.n == 1) PetscCall(AddDots(slice, "ridge_error", FW_ORANGE, "ridge, measured", panel));
  if (has) PetscCall(AddDots(slice, "error", FW_BLUE, has_ridge ? "network, sampled" : "measured", panel));
  if (has) FwPanelScale(PETSC_TRUE, panel);
  if (has_ridge) PetscCall(MarkWeights(slice, panel)); /* it has no y to be scaled to */
  PetscCall(PetscFree(error));
  PetscCall(PetscFree(ridge));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Measured over predicted, with bars */
static PetscErrorCode AddRatios(const FwSlice *slice, PetscInt64 at, double shade, const char title[], FwPanel *panel)
{
  const PetscInt64 n = slice->x.n, first = at * n;
  PetscBool        has;
  double          *error, *bar, *theory;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/error", &has, &error));
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/error_bar", &has, &bar));
  PetscCall(FwSliceGetMean(slice, "/optimal/experiment/error_predicted", &has, &theory));
  for (PetscInt64 i = first; i < first + n; i++) {
    error[i] /= theory[i];
    bar[i] /= theory[i];
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, slice->family.n == 1 ? FW_BLUE : FW_SHADE, title, n, slice->x.value,
                       error + first, bar + first));
  panel->series[panel->n_series - 1].shade = shade;
  PetscCall(PetscFree(error));
  PetscCall(PetscFree(bar));
  PetscCall(PetscFree(theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Trials(const FwSlice *slice, FwFigure *figure)
{
  const double   ones[] = {1.0, 1.0};
  const FwFamily family = FwSliceFamily(&slice->family);
  FwPanel       *panel;
  char           title[FW_LABEL_SIZE] = "all teachers";

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(slice, "Experiment and theory", "error, measured / predicted", figure, &panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "agreement", 2, panel->x_range, ones, NULL));
  for (PetscInt c = 0; c < family.n; c++) {
    if (slice->family.n > 1) FwSliceFormat(&slice->family, family.at[c], title);
    PetscCall(AddRatios(slice, family.at[c], family.shade[c], title, panel));
  }
  if (slice->family.n == 1)
    PetscCall(FwPanelAddSampled(slice, group, "conditional_ratio", 0, FW_ORANGE, 0.0,
                                "ridge, by each teacher's own signal", panel));
  FwPanelScale(PETSC_FALSE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- message passing -------------------------------------------------------------------------------------------------------- */

/* Iterations until both curves stay within a part of their ends, and a few more */
static PetscInt64 ShownSteps(PetscInt64 n, const double measured[], const double theory[])
{
  const double part = 2e-3;
  PetscInt64   last = n - 1;

  while (last > 0 && fabs(measured[last] - measured[n - 1]) < part && fabs(theory[last] - theory[n - 1]) < part) last--;
  return PetscMin(n, last + last / 4 + 6);
}

PetscErrorCode FwFigureFill_Trajectory(FwStore store, FwFigure *figure)
{
  FwArray  measured, bar, theory;
  FwPanel *panel;

  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, "/optimal/experiment/", "overlap_trajectory", &measured));
  PetscCall(FwArrayGet(store, "/optimal/experiment/", "overlap_trajectory_error_bar", &bar));
  PetscCall(FwArrayGet(store, "/optimal/experiment/", "overlap_state_evolution", &theory));
  if (measured.n && bar.n == measured.n && theory.n == measured.n) {
    const PetscInt64 n = ShownSteps(measured.n, measured.value, theory.value);
    double          *iteration;

    PetscCall(PetscMalloc1((size_t)n, &iteration));
    for (PetscInt64 t = 0; t < n; t++) iteration[t] = (double)t;
    PetscCall(FwFigureAddPanel(figure, &panel));
    PetscCall(FwPanelDescribe(panel, "Message passing", "iteration", "overlap with the teacher, S·s/d"));
    PetscCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, "state evolution", n, iteration, theory.value, NULL));
    PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, FW_ORANGE, "measured", n, iteration, measured.value, bar.value));
    panel->is_legend_right = panel->has_x_range = PETSC_TRUE;
    panel->x_range[0]                           = -0.02 * (double)n;
    panel->x_range[1]                           = 1.02 * (double)n - 1.0;
    FwPanelScale(PETSC_TRUE, panel);
    PetscCall(PetscFree(iteration));
  }
  PetscCall(PetscFree(measured.value));
  PetscCall(PetscFree(bar.value));
  PetscCall(PetscFree(theory.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
