/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /mixture: the mixing law at finite widths, its limit, and what was sampled.
 *
 * Lines are exact, dots sampled; dashed lines belong to the limit, gray ones to infinite width.
 */

#include "slice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- curves of a point ---------------------------------------------------------------------------------------------- */

/* One array of a point of the slice against another; entries that are not finite, or not positive where a logarithm is
   shown, are left out */
typedef struct {
  const char *name;
  FwMark      mark;
  FwColour    colour;
  const char *title;
} Curve;

static PetscErrorCode AddCurve(const FwSlice *slice, const char x_name[], const Curve *curve, PetscInt64 i,
                               PetscBool is_log, const char title[], double shade, FwPanel *panel)
{
  PetscInt64 n_x, n_y, n = 0;
  double    *x, *y;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(slice, x_name, &n_x, &x));
  PetscCall(FwSliceGet(slice, curve->name, &n_y, &y));
  for (PetscInt64 k = 0; k < n_y && n_x == n_y; k++) {
    const double at = x[i * n_x + k], value = y[i * n_x + k];

    if (!isfinite(at) || !isfinite(value) || (is_log && value <= 0.0)) continue;
    x[n]   = at;
    y[n++] = value;
  }
  if (n) {
    PetscCall(FwPanelAdd(panel, curve->mark, curve->colour, title, n, x, y, NULL));
    panel->series[panel->n_series - 1].shade = shade;
  }
  PetscCall(PetscFree(x));
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Density(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"density_exact",   FW_MARK_LINE,   FW_BLUE,   "exact"  },
    {"density_limit",   FW_MARK_DASHED, FW_ORANGE, "limit"  },
    {"density_sampled", FW_MARK_CROSS,  FW_BLACK,  "sampled"},
  };
  const PetscInt64 n = PetscMin(slice->x.n, FW_CURVE_MAX);
  FwPanel         *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "Mixing law", "log Q₁₁", "density"));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(curves) && n == 1; c++)
    PetscCall(AddCurve(slice, "density_log_q", &curves[c], 0, PETSC_FALSE, curves[c].title, 0.0, panel));
  for (PetscInt64 i = 0; i < n && n > 1; i++) { /* several points: shades from dark to light */
    const Curve exact = {"density_exact", FW_MARK_LINE, FW_SHADE, NULL};
    char        title[FW_LABEL_SIZE];

    FwSliceFormat(&slice->x, i, title);
    PetscCall(
      AddCurve(slice, "density_log_q", &exact, i, PETSC_FALSE, title, 0.88 * (double)i / (double)(n - 1), panel));
  }
  if (n > 1) PetscCall(AddCurve(slice, "density_log_q", &curves[1], n - 1, PETSC_FALSE, "limit of the last", 0.0, panel));
  if (n > 1) PetscCall(PetscStrncpy(panel->legend_title, slice->x.label, FW_LABEL_SIZE));
  panel->is_legend_right = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double LeastOf(const FwPanel *panel, const char title[])
{
  double least = INFINITY;

  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n && !strcmp(panel->series[s].title, title); i++)
      least = fmin(least, panel->series[s].y[i]);
  return least;
}

/* Down to where the samples end */
static PetscErrorCode Fill_Survival(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"survival_infinite", FW_MARK_LINE,   FW_GRAY,   "infinite width"},
    {"survival_limit",    FW_MARK_DASHED, FW_ORANGE, "limit"         },
    {"survival_exact",    FW_MARK_LINE,   FW_BLUE,   "exact"         },
    {"survival_sampled",  FW_MARK_CROSS,  FW_BLACK,  "sampled"       },
  };
  const PetscInt64 middle = slice->x.n / 2;
  FwPanel         *panel;
  double           least;
  char             value[FW_LABEL_SIZE], title[FW_LABEL_SIZE] = "One output";

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  FwSliceFormat(&slice->x, middle, value);
  if (slice->x.n > 1) (void)snprintf(title, sizeof title, "One output, %.100s = %.100s", slice->x.label, value);
  PetscCall(FwPanelDescribe(panel, title, "s", "P(|S₁₁| > s √K₁₁)"));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(curves); c++)
    PetscCall(AddCurve(slice, "survival_output", &curves[c], middle, PETSC_TRUE, curves[c].title, 0.0, panel));
  least           = LeastOf(panel, "sampled");
  panel->is_log_y = panel->is_log_x = panel->has_y_range = panel->is_legend_right = PETSC_TRUE;
  panel->y_range[0] = 0.3 * (isfinite(least) ? least : 1e-6);
  panel->y_range[1] = 1.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- eigenvalues -------------------------------------------------------------------------------------------------------- */

/* Entry `e` of each point over the first axis */
static PetscErrorCode AddEntry(const FwSlice *slice, const char name[], const char error_name[], PetscInt64 e,
                               const Curve *curve, const double at[], FwPanel *panel)
{
  const PetscInt64 n_x = slice->x.n;
  PetscInt64       n, n_error;
  double          *value, *error, *y, *bar;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(slice, name, &n, &value));
  PetscCall(FwSliceGet(slice, error_name ? error_name : name, &n_error, &error));
  if (e < n) {
    PetscCall(PetscMalloc2((size_t)n_x, &y, (size_t)n_x, &bar));
    for (PetscInt64 i = 0; i < n_x; i++) {
      y[i]   = value[i * n + e];
      bar[i] = e < n_error ? error[i * n_error + e] : 0.0;
    }
    PetscCall(
      FwPanelAdd(panel, curve->mark, curve->colour, e == 0 ? curve->title : "", n_x, at, y, error_name ? bar : NULL));
    PetscCall(PetscFree2(y, bar));
  }
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CountEigenvalues(const FwSlice *slice, PetscInt64 *n)
{
  double *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(slice, "eigen_log_mean", n, &value));
  *n = PetscMin(*n, 7); /* series of a panel */
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Eigenvalues(const FwSlice *slice, FwFigure *figure)
{
  static const Curve lyapunov = {NULL, FW_MARK_LINE, FW_BLUE, "Lyapunov"},
                     limit    = {NULL, FW_MARK_DASHED, FW_ORANGE, "limit"};
  static const Curve sampled  = {NULL, FW_MARK_SAMPLED, FW_BLACK, "sampled"};
  PetscInt64         n;
  FwPanel           *panel;
  double            *a;
  PetscBool          has;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "Eigenvalues", "a = Σ 1/N", "mean log q"));
  PetscCall(CountEigenvalues(slice, &n));
  PetscCall(FwSliceGetMean(slice, "a", &has, &a));
  for (PetscInt64 e = 0; e < n; e++) {
    PetscCall(AddEntry(slice, "eigen_log_lyapunov_exact_finite", NULL, e, &lyapunov, a, panel));
    PetscCall(AddEntry(slice, "eigen_log_mean_limit", NULL, e, &limit, a, panel));
    PetscCall(AddEntry(slice, "eigen_log_mean", "eigen_log_mean_error_bar", e, &sampled, a, panel));
  }
  FwPanelScale(PETSC_FALSE, panel);
  panel->is_legend_right = PETSC_TRUE;
  PetscCall(PetscFree(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- outputs ------------------------------------------------------------------------------------------------------------ */

/* Nothing of a quantity that the file does not have, such as that of two outputs where there is one */
static PetscErrorCode AddQuantity(const FwSlice *slice, const char name[], FwColour colour, const char title[],
                                  const double at[], FwPanel *panel)
{
  const Curve exact = {NULL, FW_MARK_LINE, colour, title}, limit = {NULL, FW_MARK_DASHED, colour, ""},
              sampled = {NULL, FW_MARK_SAMPLED, colour, ""};
  char      of_exact[FW_LABEL_SIZE], of_limit[FW_LABEL_SIZE], of_bar[FW_LABEL_SIZE];
  PetscBool has;
  double   *value;

  PetscFunctionBegin;
  snprintf(of_exact, sizeof of_exact, "%s_exact_finite", name);
  PetscCall(FwSliceGetMean(slice, of_exact, &has, &value));
  PetscCall(PetscFree(value));
  if (!has) PetscFunctionReturn(PETSC_SUCCESS);
  snprintf(of_limit, sizeof of_limit, "%s_exact_limit", name);
  snprintf(of_bar, sizeof of_bar, "%s_error_bar", name);
  PetscCall(AddEntry(slice, of_exact, NULL, 0, &exact, at, panel));
  PetscCall(AddEntry(slice, of_limit, NULL, 0, &limit, at, panel));
  PetscCall(AddEntry(slice, name, of_bar, 0, &sampled, at, panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In the legend alone */
static PetscErrorCode NameMarks(FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "limit", 0, NULL, NULL, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, FW_BLACK, "sampled", 0, NULL, NULL, NULL));
  panel->is_legend_right = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Outputs(const FwSlice *slice, FwFigure *figure)
{
  FwPanel  *correlation, *kurtosis;
  double   *a;
  PetscBool has;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &correlation));
  PetscCall(FwPanelDescribe(correlation, "Correlation of squared outputs", "a = Σ 1/N", "correlation"));
  PetscCall(FwSliceGetMean(slice, "a", &has, &a));
  PetscCall(AddQuantity(slice, "output_correlation_same", FW_BLUE, "two outputs", a, correlation));
  PetscCall(AddQuantity(slice, "output_correlation_inputs", FW_ORANGE, "two inputs", a, correlation));
  PetscCall(AddQuantity(slice, "output_correlation_different", FW_GREEN, "both differ", a, correlation));
  PetscCall(NameMarks(correlation));
  correlation->has_y_range = PETSC_TRUE;
  correlation->y_range[0]  = 0.0;
  correlation->y_range[1]  = 0.45;
  PetscCall(FwFigureAddPanel(figure, &kurtosis));
  PetscCall(FwPanelDescribe(kurtosis, "Kurtosis of an output", "a = Σ 1/N", "E S⁴ / (E S²)²"));
  PetscCall(AddQuantity(slice, "output_kurtosis", FW_BLUE, "exact", a, kurtosis));
  PetscCall(NameMarks(kurtosis));
  FwPanelScale(PETSC_FALSE, kurtosis);
  PetscCall(PetscFree(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- distance ----------------------------------------------------------------------------------------------------------- */

static PetscErrorCode Fill_Distance(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"distance_log_q_predicted",   FW_MARK_DASHED, FW_BLUE,   "first order in 1/N"},
    {"distance_log_q",             FW_MARK_FILLED, FW_BLUE,   "log Q₁₁"       },
    {"distance_log_det_predicted", FW_MARK_DASHED, FW_ORANGE, ""                  },
    {"distance_log_det",           FW_MARK_FILLED, FW_ORANGE, "log det Q"         },
    {"distance_radius",            FW_MARK_OPEN,   FW_GREEN,  "log(q₁/q₂)/2"  },
  };
  FwPanel *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(slice, "Distance from the limit", "Kolmogorov distance", figure, &panel));
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(curves); c++)
    PetscCall(AddEntry(slice, curves[c].name, NULL, 0, &curves[c], slice->x.value, panel));
  panel->is_log_x = PETSC_TRUE;
  FwPanelScale(PETSC_FALSE, panel);
  panel->is_log_y = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which ---------------------------------------------------------------------------------------------------------------- */

/* `spread`: an array that differs from point to point where the figure says something */
static const struct {
  const char *name, *needs, *spread;
  PetscErrorCode (*fill)(const FwSlice *, FwFigure *);
} figures[] = {
  {"density",     "density_exact",   NULL,            Fill_Density    },
  {"survival",    "survival_exact",  NULL,            Fill_Survival   },
  {"distance",    "distance_log_q",  "inverse_width", Fill_Distance   },
  {"eigenvalues", "eigen_log_mean",  "a",             Fill_Eigenvalues},
  {"outputs",     "output_kurtosis", "a",             Fill_Outputs    },
};

enum { N_FIGURE = PETSC_STATIC_ARRAY_LENGTH(figures) };

static PetscErrorCode IsAvailable(const FwSlice *slice, int f, PetscBool *is_available)
{
  PetscBool has;
  double   *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, figures[f].needs, is_available, &value));
  PetscCall(PetscFree(value));
  if (!*is_available || !figures[f].spread) PetscFunctionReturn(PETSC_SUCCESS);
  *is_available = PETSC_FALSE;
  PetscCall(FwSliceGetMean(slice, figures[f].spread, &has, &value));
  for (PetscInt64 i = 1; i < slice->x.n && has; i++)
    if (fabs(value[i] - value[0]) > 0.1 * fabs(value[0])) *is_available = PETSC_TRUE;
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill(const void *slice, PetscInt f, FwFigure *figure)
{
  PetscFunctionBegin;
  PetscCall(figures[f].fill(slice, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Mixture(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure)
{
  FwFigureChoice choice[N_FIGURE];
  FwSlice        slice;

  PetscFunctionBegin;
  PetscCall(FwSliceOpen(store, "/mixture/", is_scan, &slice));
  for (int f = 0; f < N_FIGURE; f++) {
    choice[f] = (FwFigureChoice){.name = figures[f].name, .is_in_overview = PETSC_TRUE};
    PetscCall(IsAvailable(&slice, f, &choice[f].is_available));
  }
  PetscCall(FwFigureFillChosen(name, N_FIGURE, choice, Fill, &slice, figure));
  PetscCall(FwSliceClear(&slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}
