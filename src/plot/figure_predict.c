/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /predict: where the minima of the action lie, what is predicted, and how wrong it is.
 */

#include "array.h"
#include "panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char home[] = "/predict/";

/* Mean over outputs; NaN where the file does not have it */
static PetscErrorCode GetMean(FwStore store, const char name[], double *mean)
{
  FwArray array;

  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, home, name, &array));
  *mean = array.n ? 0.0 : NAN;
  for (PetscInt64 i = 0; i < array.n; i++) *mean += array.value[i] / (double)array.n;
  PetscCall(PetscFree(array.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- action ------------------------------------------------------------------------------------------------- */

typedef struct {
  FwArray log_q, curve, total, metastable;
  double  lowest; /* the action is shown from here */
} Action;

static PetscErrorCode GetAction(FwStore store, Action *action)
{
  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, home, "log_q", &action->log_q));
  PetscCall(FwArrayGet(store, home, "action_curve", &action->curve));
  PetscCall(FwArrayGet(store, home, "total_order_parameter", &action->total));
  PetscCall(FwArrayGet(store, home, "metastable_order_parameter", &action->metastable));
  PetscCheck(action->log_q.n > 1 && action->log_q.n == action->curve.n && action->total.n == 1, PETSC_COMM_WORLD,
             FW_ERR_INPUT, "figure 'action': the file does not hold one curve of the action");
  action->lowest = INFINITY;
  for (PetscInt64 i = 0; i < action->curve.n; i++) action->lowest = fmin(action->lowest, action->curve.value[i]);
  for (PetscInt64 i = 0; i < action->curve.n; i++) action->curve.value[i] -= action->lowest;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Height of the curve at x, NaN outside */
static double OnCurve(const Action *action, double x)
{
  const double *at = action->log_q.value, *curve = action->curve.value;

  for (PetscInt64 i = 0; i + 1 < action->log_q.n; i++)
    if (x >= at[i] && x <= at[i + 1])
      return curve[i] + (curve[i + 1] - curve[i]) * (x - at[i]) / fmax(at[i + 1] - at[i], 1e-300);
  return NAN;
}

/* The product of the order parameters of all layers of row `row`, on the axis of the curve */
static double RowLogQ(const FwArray *metastable, PetscInt64 row, PetscInt64 n_layer)
{
  double log_q = 0.0;

  for (PetscInt64 l = 0; l < n_layer; l++) log_q += log(metastable->value[row * n_layer + l]);
  return log_q;
}

static PetscErrorCode AddMinima(FwPanel *panel, const Action *action, double inner[2])
{
  const FwArray *metastable = &action->metastable;
  const double   best = log(action->total.value[0]), best_height = OnCurve(action, best);
  /* a scan of one point has axes of length one in front */
  const PetscInt64 n_layer = metastable->n_dim ? metastable->size[metastable->n_dim - 1] : 0;
  const PetscInt64 n_row   = n_layer ? metastable->n / n_layer : 0;

  PetscFunctionBegin;
  inner[0] = fmin(0.0, best);
  inner[1] = fmax(0.0, best);
  for (PetscInt64 row = 0, has_entry = 0; row < n_row; row++) {
    const double x = RowLogQ(metastable, row, n_layer), y = OnCurve(action, x);

    /* the lowest minimum may be listed too */
    if (!isfinite(y) || fabs(x - best) < 1e-6 || panel->n_series > FW_SERIES_MAX - 3) continue;
    PetscCall(FwPanelAdd(panel, FW_MARK_OPEN, FW_ORANGE, has_entry++ ? "" : "metastable", 1, &x, &y, NULL));
    inner[0] = fmin(inner[0], x);
    inner[1] = fmax(inner[1], x);
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_ORANGE, "lowest minimum", 1, &best, &best_height, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From where the curve comes into sight to where it leaves, and always the infinite width */
static void SetVisibleRange(FwPanel *panel, const Action *action, double top)
{
  double low = 0.0, high = 0.0;

  for (PetscInt64 i = 0; i < action->curve.n; i++) {
    if (!(action->curve.value[i] <= top)) continue;
    low  = fmin(low, action->log_q.value[i]);
    high = fmax(high, action->log_q.value[i]);
  }
  panel->has_x_range = (low < high) ? PETSC_TRUE : PETSC_FALSE;
  panel->x_range[0]  = low - 0.08 * (high - low);
  panel->x_range[1]  = high + 0.08 * (high - low);
}

/* The curve grows without bounds to both sides: show all of it between the infinite width and the minima, barriers
   included, and as much height outside */
static void SetActionRange(FwPanel *panel, const Action *action, const double inner[2])
{
  double top = 0.0, lowest_end = fmin(action->curve.value[0], action->curve.value[action->curve.n - 1]);

  for (PetscInt64 i = 0; i < action->curve.n; i++)
    if (action->log_q.value[i] >= inner[0] && action->log_q.value[i] <= inner[1])
      top = fmax(top, action->curve.value[i]);
  top = 1.15 * fmax(top, 0.6 * lowest_end);
  if (!(top > 0.0) || !isfinite(top)) return;
  panel->has_y_range = PETSC_TRUE;
  panel->y_range[0]  = -0.06 * top;
  panel->y_range[1]  = top;
  SetVisibleRange(panel, action, top);
}

static PetscErrorCode Fill_Action(FwStore store, FwPanel *panel)
{
  const double zero = 0.0;
  double       inner[2];
  Action       action;

  PetscFunctionBegin;
  PetscCall(GetAction(store, &action));
  PetscCall(
    FwPanelDescribe(panel, "Effective action", "log q, with q the product of the order parameters", "S − S(lowest)"));
  panel->is_legend_outside = PETSC_TRUE;
  PetscCall(FwPanelAdd(panel, FW_MARK_VERTICAL, FW_GRAY, "infinite width", 1, &zero, NULL, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, "", action.curve.n, action.log_q.value, action.curve.value, NULL));
  PetscCall(AddMinima(panel, &action, inner));
  SetActionRange(panel, &action, inner);
  PetscCall(PetscFree(action.log_q.value));
  PetscCall(PetscFree(action.curve.value));
  PetscCall(PetscFree(action.total.value));
  PetscCall(PetscFree(action.metastable.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

enum { TRAIN, BIAS, VARIANCE, TEST, N_ERROR };

static PetscErrorCode GetErrors(FwStore store, const char prefix[], const char suffix[], double error[N_ERROR])
{
  static const char *const names[N_ERROR] = {"train_error", "test_bias", "test_variance", "test_error"};
  char                     name[128];

  PetscFunctionBegin;
  for (int e = 0; e < N_ERROR; e++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "%s%s%s", prefix, names[e], suffix));
    PetscCall(GetMean(store, name, &error[e]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddErrors(FwPanel *panel, const double error[N_ERROR], double offset, double width,
                                FwColour colour, const char title[])
{
  double x[N_ERROR], y[N_ERROR];
  int    n = 0;

  PetscFunctionBegin;
  for (int e = 0; e < N_ERROR; e++) {
    if (!isfinite(error[e])) continue; /* no test examples, or no average */
    x[n]   = e + offset;
    y[n++] = error[e];
  }
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPanelAdd(panel, FW_MARK_BOX, colour, title, n, x, y, NULL));
  panel->series[panel->n_series - 1].box_width = width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What was sampled, with its error bars, over the boxes */
static PetscErrorCode AddSampledErrors(FwStore store, FwPanel *panel)
{
  double error[N_ERROR], bar[N_ERROR], x[N_ERROR], y[N_ERROR], dy[N_ERROR];
  int    n = 0;

  PetscFunctionBegin;
  PetscCall(GetErrors(store, "/sample/", "", error));
  PetscCall(GetErrors(store, "/sample/", "_error_bar", bar));
  for (int e = 0; e < N_ERROR; e++) {
    if (!isfinite(error[e])) continue;
    x[n]    = e;
    y[n]    = error[e];
    dy[n++] = bar[e];
  }
  if (n) PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, FW_BLACK, "sampled", n, x, y, dy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasTest(const FwPanel *panel)
{
  for (PetscInt s = 0; s < panel->n_series; s++)
    if (panel->series[s].n == N_ERROR) return PETSC_TRUE;
  return PETSC_FALSE;
}

static PetscErrorCode Fill_Errors(FwStore store, FwPanel *panel)
{
  static const char *const ticks[N_ERROR] = {"train error", "test bias", "test variance", "test error"};
  static const char *const prefix[]       = {"", "average_", "infinite_"};
  static const FwColour    colour[]       = {FW_BLUE, FW_GREEN, FW_ORANGE};
  char                     average[64];
  const char *const        title[] = {"finite width", average, "infinite width"};
  double                   error[3][N_ERROR];
  int                      n_group = 0, group = 0, n_tick;

  PetscFunctionBegin;
  PetscCall(FwAverageName(store, sizeof average, average));
  PetscCall(FwPanelDescribe(panel, "Errors", "", "mean squared error per example"));
  for (int g = 0; g < 3; g++) {
    PetscCall(GetErrors(store, prefix[g], "", error[g]));
    n_group += isfinite(error[g][TRAIN]) || isfinite(error[g][TEST]);
  }
  for (int g = 0; g < 3; g++) {
    if (!isfinite(error[g][TRAIN]) && !isfinite(error[g][TEST])) continue;
    PetscCall(
      AddErrors(panel, error[g], (group++ - 0.5 * (n_group - 1)) * 0.8 / n_group, 0.72 / n_group, colour[g], title[g]));
  }
  PetscCall(AddSampledErrors(store, panel));
  PetscCheck(panel->n_series, PETSC_COMM_WORLD, FW_ERR_INPUT, "figure 'errors': the file holds no finite error");
  n_tick = HasTest(panel) ? N_ERROR : 1;
  for (int t = 0; t < n_tick; t++) PetscCall(FwTicksAdd(&panel->x_tick, t, ticks[t]));
  panel->is_legend_outside = panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]                             = -0.6;
  panel->x_range[1]                             = n_tick - 0.4;
  FwPanelFitBoxes(panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what was learnt ---------------------------------------------------------------------------------------- */

static PetscErrorCode Fill_Learnt(FwStore store, FwPanel *panel)
{
  static const char *const prefix[] = {"", "learnt_", "infinite_"};
  static const char *const title[]  = {"saddle point", "learnt", "infinite width"};
  static const FwColour    colour[] = {FW_BLUE, FW_GREEN, FW_ORANGE};

  PetscFunctionBegin;
  PetscCall(FwPanelDescribe(panel, "Q learnt on validation examples", "", "mean squared error of the mean"));
  for (int g = 0; g < 3; g++) {
    double error[N_ERROR] = {NAN, NAN, NAN, NAN};
    char   name[64];

    PetscCall(PetscSNPrintf(name, sizeof name, "%svalidation_bias", prefix[g]));
    PetscCall(GetMean(store, name, &error[0]));
    PetscCall(PetscSNPrintf(name, sizeof name, "%stest_bias", prefix[g]));
    PetscCall(GetMean(store, name, &error[1]));
    PetscCall(AddErrors(panel, error, 0.27 * (g - 1), 0.24, colour[g], title[g]));
  }
  PetscCall(FwTicksAdd(&panel->x_tick, 0, "validation"));
  PetscCall(FwTicksAdd(&panel->x_tick, 1, "test"));
  panel->is_legend_outside = panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]                             = -0.6;
  panel->x_range[1]                             = 1.6;
  FwPanelFitBoxes(panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which -------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  const char *needs[3], *instead; /* of /predict, or a path; not where the file has `instead` */
  PetscErrorCode (*fill)(FwStore, FwPanel *);
} figures[] = {
  {"action",          {"log_q", "action_curve", NULL},                          NULL,          Fill_Action              },
  {"order-parameter", {"order_parameter", "other_patch", NULL},                 NULL,          FwFigureFill_OrderMatrix },
  {"order-parameter", {"order_parameter", "other_path", NULL},                  NULL,          FwFigureFill_OrderMatrix },
  {"order-sampled",   {"other_patch", "/sample/order_parameter_z_score", NULL}, NULL,          FwFigureFill_OrderSampled},
  {"order-sampled",   {"other_path", "/sample/order_parameter_z_score", NULL},  NULL,          FwFigureFill_OrderSampled},
  {"patches",         {"order_parameter", "patch_rows", "order_distance"},      NULL,          FwFigureFill_OrderGrid   },
  {"prediction",      {"test_mean", "test_std", "test_target"},                 NULL,          FwFigureFill_Prediction  },
  {"errors",          {"train_error", "infinite_train_error", NULL},            NULL,          Fill_Errors              },
  {"errors",          {"/sample/train_error", NULL, NULL},                      "train_error", Fill_Errors              },
  {"learnt",          {"learnt_order_parameter", "other_patch", NULL},          NULL,          FwFigureFill_LearntMatrix},
  {"learnt",          {"learnt_validation_bias", NULL, NULL},                   NULL,          Fill_Learnt              },
  {"order",           {"order_parameter", "test_covariance", NULL},             "patch_rows",  FwFigureFill_Order       },
  {"outputs",         {"test_error", "test_covariance", NULL},                  NULL,          FwFigureFill_Outputs     },
};

enum { N_FIGURE = PETSC_STATIC_ARRAY_LENGTH(figures) };

static PetscErrorCode FindAvailable(FwStore store, PetscBool available[N_FIGURE], size_t size, char names[])
{
  size_t length = 0;

  PetscFunctionBegin;
  names[0] = '\0';
  for (int f = 0; f < N_FIGURE; f++) {
    char      path[128];
    PetscBool has = PETSC_FALSE;

    if (figures[f].instead) {
      PetscCall(PetscSNPrintf(path, sizeof path, "/predict/%s", figures[f].instead));
      PetscCall(FwStoreHas(store, path, &has));
    }
    available[f] = has ? PETSC_FALSE : PETSC_TRUE;
    for (int a = 0; a < 3 && figures[f].needs[a] && available[f]; a++) {
      PetscCall(PetscSNPrintf(path, sizeof path, "%s%s", figures[f].needs[a][0] == '/' ? "" : "/predict/",
                              figures[f].needs[a]));
      PetscCall(FwStoreHas(store, path, &available[f]));
    }
    if (available[f]) length += (size_t)snprintf(names + length, size - length, ", %s", figures[f].name);
  }
  PetscCheck(length, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "no figure can be drawn of this file: it lacks the arrays of 'predict' and 'sample'");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Predict(FwStore store, const char name[], FwFigure *figure)
{
  PetscBool       available[N_FIGURE];
  const PetscBool is_overview = (!name || !strcmp(name, "overview")) ? PETSC_TRUE : PETSC_FALSE;
  char            names[128];

  PetscFunctionBegin;
  PetscCall(FindAvailable(store, available, sizeof names, names));
  for (int f = 0; f < N_FIGURE; f++) {
    FwPanel *panel;

    if (!available[f] || (!is_overview && strcmp(name, figures[f].name))) continue;
    PetscCall(FwFigureAddPanel(figure, &panel));
    PetscCall(figures[f].fill(store, panel));
  }
  if (figure->n_panel > 4) figure->n_column = 3;
  PetscCall(FwFigureCheckFilled(figure, name, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}
