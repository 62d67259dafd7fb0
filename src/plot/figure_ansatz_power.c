/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz that compare powers of the AGOP: over alpha, over depth, over layers, counterexamples.
 */

#include "figure_ansatz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- similarity ------------------------------------------------------------------------------------------------------ */

/* The curve of a point at the end, where the AGOP's power of the theory stands, and a counterexample's closed form */
static PetscErrorCode AddSimilarity(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, const double value[],
                                    const double exact[], FwPanel *panel)
{
  const PetscInt64 place = FwTrainedPlace(f, c, i), last = FwTrainedLastTime(f, place);
  const double     theory = 1.0 / FwTrainedLayers(f, c, i);
  char             title[FW_LABEL_SIZE];
  double          *mean;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)f->n_alpha, &mean));
  for (PetscInt64 a = 0; a < f->n_alpha; a++) mean[a] = FwTrainedMean(f, value, f->n_alpha, place, last, a);
  FwTrainedName(f, c, i, title);
  PetscCall(FwTrainedAdd(c, i, FW_MARK_LINE_DOT, title, f->n_alpha, f->alpha, mean, panel));
  if (exact)
    PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "", f->n_alpha, f->alpha,
                         exact + (place * f->n_time + last) * f->n_alpha, NULL));
  if (!exact && isfinite(theory) && (i == 0 || FwSliceIsAxis(c->axis, "depth")))
    PetscCall(FwTrainedAdd(c, i, FW_MARK_VERTICAL, "", 1, &theory, NULL, panel));
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedFill_Similarity(const FwTrained *f, FwFigure *figure)
{
  const FwTrainedCurves c = FwTrainedAlong(f, "depth");
  PetscInt64            n_each, n_exact;
  double               *value, *exact, low = 1.0;
  FwPanel              *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "power α", "cosine of W₁ᵀW₁ and AGOP^α"));
  PetscCall(FwTrainedTitle(f, &c, "At the end", panel));
  PetscCall(FwSliceGet(&f->slice, "similarity", &n_each, &value));
  PetscCall(FwSliceGet(&f->slice, "exact_similarity", &n_exact, &exact));
  for (PetscInt64 i = 0; i < c.n; i++) PetscCall(AddSimilarity(f, &c, i, value, n_exact ? exact : NULL, panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, n_exact ? "closed form" : "1/L", 0, NULL, NULL, NULL));
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 k = 0; k < panel->series[s].n && panel->series[s].y; k++)
      if (isfinite(panel->series[s].y[k])) low = fmin(low, panel->series[s].y[k]);
  panel->has_y_range = panel->has_x_range = PETSC_TRUE;
  panel->y_range[0]                       = low - 0.05 * (1.0 - low) - 1e-3;
  panel->y_range[1]                       = 1.0 + 0.03 * (1.0 - low) + 1e-3;
  panel->x_range[0]                       = 0.0;
  panel->x_range[1]                       = 1.03 * f->alpha[f->n_alpha - 1];
  PetscCall(FwTrainedLegend(&c, panel));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(exact));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- fitted powers -------------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddFinal(const FwTrained *f, const FwTrainedCurves *c, const char name[], FwMark mark,
                               FwColour colour, const char title[], FwPanel *panel)
{
  char       deviation_name[FW_LABEL_SIZE];
  PetscInt64 n_each, n_deviation;
  double    *value, *deviation, *x, *y, *bar;

  PetscFunctionBegin;
  (void)snprintf(deviation_name, sizeof deviation_name, "%s_deviation", name);
  PetscCall(FwSliceGet(&f->slice, name, &n_each, &value));
  PetscCall(FwSliceGet(&f->slice, deviation_name, &n_deviation, &deviation));
  PetscCall(PetscMalloc3((size_t)c->n, &x, (size_t)c->n, &y, (size_t)c->n, &bar));
  for (PetscInt64 i = 0; i < c->n; i++) {
    const PetscInt64 place = FwTrainedPlace(f, c, i);

    x[i]   = FwTrainedLayers(f, c, i);
    y[i]   = n_each && !(f->collapsed[place] > 0.5) ? value[place] : NAN;
    bar[i] = n_deviation && isfinite(deviation[place]) ? deviation[place] : 0.0;
  }
  PetscCall(FwPanelAdd(panel, mark, colour, title, c->n, x, y, mark == FW_MARK_SAMPLED ? bar : NULL));
  PetscCall(PetscFree3(x, y, bar));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddInverse(double first, double last, FwPanel *panel)
{
  enum { POINTS = 100 };
  double x[POINTS], y[POINTS];

  PetscFunctionBegin;
  for (int i = 0; i < POINTS; i++) {
    x[i] = first + (last - first) * i / (POINTS - 1);
    y[i] = 1.0 / x[i];
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "1/L", POINTS, x, y, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedFill_Alpha(const FwTrained *f, FwFigure *figure)
{
  FwTrainedCurves    c       = FwTrainedAlong(f, "depth");
  const FwSliceAxis *other   = c.along_family ? &f->slice.x : &f->slice.family;
  const PetscInt64   n_other = PetscMin(other->n, FW_CURVE_MAX);
  FwPanel           *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(
    FwPanelDescribe(panel, "Fitted power", "weight matrices L", other->n > 1 ? "α of the largest cosine" : "α"));
  if (other->n > 1) PetscCall(PetscStrncpy(panel->legend_title, other->label, FW_LABEL_SIZE));
  PetscCall(AddInverse(c.axis->value[0] + 1.0, c.axis->value[c.axis->n - 1] + 1.0, panel));
  if (other->n < 2) {
    PetscCall(AddFinal(f, &c, "final_best_alpha", FW_MARK_SAMPLED, FW_BLUE, "of the largest cosine", panel));
    PetscCall(AddFinal(f, &c, "final_slope_alpha", FW_MARK_OPEN, FW_ORANGE, "slope of the logarithms", panel));
  }
  for (PetscInt64 i = 0; i < n_other && other->n > 1; i++) {
    char title[FW_LABEL_SIZE];

    c.fixed = n_other > 1 ? i * (other->n - 1) / (n_other - 1) : 0;
    FwSliceFormat(other, c.fixed, title);
    PetscCall(AddFinal(f, &c, "final_best_alpha", FW_MARK_LINE_DOT, FW_SHADE, title, panel));
    PetscCall(AddFinal(f, &c, "final_best_alpha", FW_MARK_SAMPLED, FW_SHADE, "", panel)); /* over runs */
    for (PetscInt s = 1; s <= 2; s++)
      panel->series[panel->n_series - s].shade = 0.88 * (double)i / (double)PetscMax(1, n_other - 1);
  }
  FwPanelScale(PETSC_TRUE, panel);
  panel->is_log_y    = PETSC_FALSE;
  panel->y_range[0]  = 0.0;
  panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]  = c.axis->value[0] + 0.8;
  panel->x_range[1]  = c.axis->value[c.axis->n - 1] + 1.2;
  for (PetscInt64 i = 0; i < c.n; i++) {
    char text[32];

    (void)snprintf(text, sizeof text, "%.0f", FwTrainedLayers(f, &c, i));
    PetscCall(FwTicksAdd(&panel->x_tick, FwTrainedLayers(f, &c, i), text));
  }
  panel->is_legend_right = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layer by layer, at one point; a bound is no number and leaves a gap */
PetscErrorCode FwTrainedFill_Layers(const FwTrained *f, FwFigure *figure)
{
  const PetscInt64 L = f->n_layer;
  PetscInt64       n_each;
  double          *value, *x, *y, *theory;
  FwPanel         *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "Fitted power by layer", "layer l", "α of the largest cosine"));
  PetscCall(FwSliceGet(&f->slice, "final_layer_best_alpha", &n_each, &value));
  PetscCall(PetscMalloc3((size_t)L, &x, (size_t)L, &y, (size_t)L, &theory));
  for (PetscInt64 l = 0; l < L; l++) {
    char text[32];

    x[l]      = (double)l + 1.0;
    y[l]      = n_each == L ? value[l] : NAN;
    theory[l] = 1.0 / (double)(L - l);
    (void)snprintf(text, sizeof text, "%d", (int)l + 1);
    PetscCall(FwTicksAdd(&panel->x_tick, x[l], text));
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "1/(L − l + 1)", L, x, theory, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_BLUE, "measured", L, x, y, NULL));
  panel->has_x_range = panel->has_y_range = panel->is_legend_right = PETSC_TRUE;
  panel->x_range[0]                                                = 0.7;
  panel->x_range[1]                                                = (double)L + 0.3;
  panel->y_range[1]                                                = 1.05;
  PetscCall(PetscFree3(x, y, theory));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- along eigenvectors ------------------------------------------------------------------------------------------------- */

/* Directions of a curve at the end, down to where its slope is fitted, and what the ansatz says of them */
static PetscErrorCode AddDirections(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, PetscInt64 n_each,
                                    const double eigenvalue[], const double projection[], FwPanel *panel)
{
  const PetscInt64 place = FwTrainedPlace(f, c, i), last = FwTrainedLastTime(f, place);
  PetscInt64       n = 0;
  char             title[FW_LABEL_SIZE];
  double          *x, *y, *theory;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3((size_t)n_each, &x, (size_t)n_each, &y, (size_t)n_each, &theory));
  for (PetscInt64 j = 0; j < n_each; j++) {
    x[n] = FwTrainedMean(f, eigenvalue, n_each, place, last, j);
    y[n] = FwTrainedMean(f, projection, n_each, place, last, j);
    if (!(x[n] > 1e-10 * x[0] && y[n] > 0.0)) break;
    theory[n] = pow(x[n], 1.0 / FwTrainedLayers(f, c, i));
    n++;
  }
  FwTrainedName(f, c, i, title);
  if (n > 0) PetscCall(FwTrainedAdd(c, i, FW_MARK_FILLED, title, n, x, y, panel));
  if (n > 0) PetscCall(FwTrainedAdd(c, i, FW_MARK_DASHED, "", n, x, theory, panel));
  PetscCall(PetscFree3(x, y, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Both on the logarithmic axes on which their slope is the power */
PetscErrorCode FwTrainedFill_Directions(const FwTrained *f, FwFigure *figure)
{
  const FwTrainedCurves c = FwTrainedAlong(f, "depth");
  PetscInt64            n_each;
  double               *eigenvalue, *projection;
  FwPanel              *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "eigenvalue λ of the AGOP", "vᵀW₁ᵀW₁v"));
  PetscCall(FwTrainedTitle(f, &c, "Along the eigenvectors", panel));
  PetscCall(FwSliceGet(&f->slice, "agop_eigenvalue", &n_each, &eigenvalue));
  PetscCall(FwSliceGet(&f->slice, "feature_projection", &n_each, &projection));
  for (PetscInt64 i = 0; i < c.n; i++)
    PetscCall(AddDirections(f, &c, i, n_each / (f->n_seed * f->n_time), eigenvalue, projection, panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "λ^(1/L)", 0, NULL, NULL, NULL));
  panel->is_log_x = PETSC_TRUE;
  PetscCall(FwTrainedLogScale(panel));
  PetscCall(FwTrainedLegend(&c, panel));
  PetscCall(PetscFree(eigenvalue));
  PetscCall(PetscFree(projection));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- counterexamples ------------------------------------------------------------------------------------------------------------ */

/* Cosine over the number that makes the case, beside its closed form, at the alpha nearest to 1/2 */
PetscErrorCode FwTrainedFill_Case(const FwTrained *f, FwFigure *figure)
{
  const PetscInt64 n_x = f->slice.x.n;
  PetscInt64       n_each, n_exact, a = 0;
  double          *value, *exact, *y[2];
  char             label[FW_LABEL_SIZE];
  FwPanel         *panel;

  PetscFunctionBegin;
  for (PetscInt64 k = 1; k < f->n_alpha; k++)
    if (fabs(f->alpha[k] - 0.5) < fabs(f->alpha[a] - 0.5)) a = k;
  (void)snprintf(label, sizeof label, "cosine at α = %.3g", f->alpha[a]);
  PetscCall(FwSlicePanel(&f->slice, "Counterexample", label, figure, &panel));
  PetscCall(FwSliceGet(&f->slice, "similarity", &n_each, &value));
  PetscCall(FwSliceGet(&f->slice, "exact_similarity", &n_exact, &exact));
  PetscCall(PetscMalloc2((size_t)n_x, &y[0], (size_t)n_x, &y[1]));
  for (PetscInt64 i = 0; i < n_x; i++) {
    y[0][i] = FwTrainedMean(f, value, f->n_alpha, i, FwTrainedLastTime(f, i), a);
    y[1][i] = n_exact ? exact[(i * f->n_time + FwTrainedLastTime(f, i)) * f->n_alpha + a] : NAN;
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "closed form", n_x, f->slice.x.value, y[1], NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_BLUE, "measured", n_x, f->slice.x.value, y[0], NULL));
  FwPanelScale(PETSC_FALSE, panel);
  panel->legend_title[0] = '\0';
  PetscCall(PetscFree2(y[0], y[1]));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(exact));
  PetscFunctionReturn(PETSC_SUCCESS);
}
