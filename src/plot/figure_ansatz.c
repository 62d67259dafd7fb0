/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz: what a file holds, the curves of a panel, and which figures there are. Dashed lines are
 * theory; what is measured is a mean over runs.
 */

#include "figure_ansatz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- reading ------------------------------------------------------------------------------------------------------ */

static PetscErrorCode Has(const FwTrained *f, const char name[], PetscBool *has)
{
  double *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(&f->slice, name, has, &value));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest entry of all points and times; 0 where there is none */
static PetscErrorCode LargestOf(const FwTrained *f, const char name[], double *largest)
{
  PetscInt64 n_each;
  double    *value;

  PetscFunctionBegin;
  *largest = 0.0;
  PetscCall(FwSliceGet(&f->slice, name, &n_each, &value));
  for (PetscInt64 i = 0; i < n_each * f->slice.x.n * f->slice.family.n; i++)
    if (isfinite(value[i])) *largest = fmax(*largest, value[i]);
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindState(FwTrained *f)
{
  PetscBool has;
  double    imbalance, feature;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(&f->slice, "collapsed", &has, &f->collapsed));
  PetscCall(LargestOf(f, "imbalance", &imbalance));
  PetscCall(LargestOf(f, "feature_norm", &feature));
  f->is_balanced = imbalance < 1e-8 * feature ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(FwTrainedIsImage(f, &f->has_matrices));
  if (!f->has_matrices) PetscCall(Has(f, "feature_matrix", &f->has_matrices));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Find(FwStore store, PetscBool is_scan, FwTrained *f)
{
  PetscInt64 n_layers, n_each;
  double    *value;

  PetscFunctionBegin;
  *f = (FwTrained){0};
  PetscCall(FwSliceOpen(store, "/ansatz/", is_scan, &f->slice));
  PetscCall(FwSliceGet(&f->slice, "training_time", &f->n_time, &f->time));
  PetscCall(FwSliceGet(&f->slice, "layers", &n_layers, &f->layers));
  PetscCall(FwSliceGet(&f->slice, "loss", &n_each, &value));
  PetscCall(PetscFree(value));
  f->n_seed = n_each / PetscMax(1, f->n_time);
  PetscCall(FwSliceGet(&f->slice, "layer_best_alpha", &n_each, &value));
  PetscCall(PetscFree(value));
  f->n_layer = n_each / PetscMax(1, f->n_seed * f->n_time);
  PetscCheck(n_layers == 1 && f->n_layer > 0, PETSC_COMM_WORLD, FW_ERR_FILE,
             "the group /ansatz of this file lacks arrays that figures need");
  PetscCall(FindState(f));
  PetscCall(FwStoreGetReals(store, "/ansatz/alpha", NULL, NULL, &f->n_alpha, &f->alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Clear(FwTrained *f)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(f->time));
  PetscCall(PetscFree(f->alpha));
  PetscCall(PetscFree(f->layers));
  PetscCall(PetscFree(f->collapsed));
  PetscCall(FwSliceClear(&f->slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt64 FwTrainedLastTime(const FwTrained *f, PetscInt64 place)
{
  PetscInt64 t = f->n_time - 1;

  while (t > 0 && isnan(f->time[place * f->n_time + t])) t--;
  return t;
}

double FwTrainedMean(const FwTrained *f, const double value[], PetscInt64 n_entry, PetscInt64 place, PetscInt64 t,
                     PetscInt64 e)
{
  double sum = 0.0;

  for (PetscInt64 s = 0; s < f->n_seed; s++)
    sum += value[((place * f->n_seed + s) * f->n_time + t) * n_entry + e] / (double)f->n_seed;
  return sum;
}

/* --- curves ---------------------------------------------------------------------------------------------------------- */

static PetscBool HaveCollapsed(const FwTrained *f, const FwTrainedCurves *c)
{
  for (PetscInt64 i = 0; i < c->n; i++)
    if (f->collapsed[FwTrainedPlace(f, c, i)] > 0.5) return PETSC_TRUE;
  return PETSC_FALSE;
}

FwTrainedCurves FwTrainedAlong(const FwTrained *f, const char label[])
{
  const FwSliceAxis *x = &f->slice.x, *family = &f->slice.family;
  FwTrainedCurves    c = {.along_family = family->n > 1 && !FwSliceIsAxis(x, label) ? PETSC_TRUE : PETSC_FALSE};

  c.axis  = c.along_family ? family : x;
  c.n     = PetscMin(c.axis->n, FW_CURVE_MAX);
  c.fixed = FwSliceIsAxis(c.axis, label) ? (c.along_family ? x->n : family->n) - 1 : 0;
  while (c.fixed > 0 && HaveCollapsed(f, &c)) c.fixed--;
  return c;
}

/* Where curve i stands on its axis */
static PetscInt64 At(const FwTrainedCurves *c, PetscInt64 i)
{
  return c->n > 1 ? i * (c->axis->n - 1) / (c->n - 1) : 0;
}

PetscInt64 FwTrainedPlace(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i)
{
  return c->along_family ? At(c, i) * f->slice.x.n + c->fixed : c->fixed * f->slice.x.n + At(c, i);
}

double FwTrainedLayers(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i)
{
  return FwSliceIsAxis(c->axis, "depth") ? c->axis->value[At(c, i)] + 1.0 : f->layers[FwTrainedPlace(f, c, i)];
}

double FwTrainedShade(const FwTrainedCurves *c, PetscInt64 i)
{
  return c->n > 1 ? (c->n < 4 ? 0.28 * (double)c->n : 0.88) * (double)i / (double)(c->n - 1) : 0.0;
}

void FwTrainedName(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, char text[FW_LABEL_SIZE])
{
  text[0] = '\0';
  if (f->slice.n_point == 1) return;
  if (FwSliceIsAxis(c->axis, "depth"))
    FwTrainedPoint(c->axis, At(c, i), text);
  else
    FwSliceFormat(c->axis, At(c, i), text);
}

void FwTrainedPoint(const FwSliceAxis *axis, PetscInt64 i, char text[FW_LABEL_SIZE])
{
  char value[FW_LABEL_SIZE];

  FwSliceFormat(axis, i, value);
  if (FwSliceIsAxis(axis, "depth"))
    (void)snprintf(text, FW_LABEL_SIZE, "L = %g", axis->value[i] + 1.0);
  else
    (void)snprintf(text, FW_LABEL_SIZE, "%.99s = %.99s", axis->label, value);
}

PetscErrorCode FwTrainedAdd(const FwTrainedCurves *c, PetscInt64 i, FwMark mark, const char title[], PetscInt64 n,
                            const double x[], const double y[], FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(FwPanelAddShaded(panel, mark, FwTrainedShade(c, i), title, n, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedTitle(const FwTrained *f, const FwTrainedCurves *c, const char title[], FwPanel *panel)
{
  const FwSliceAxis *other = c->along_family ? &f->slice.x : &f->slice.family;
  char               text[FW_LABEL_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(panel->title, title, FW_LABEL_SIZE));
  if (other->n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  FwTrainedPoint(other, c->fixed, text);
  (void)snprintf(panel->title, FW_LABEL_SIZE, "%.50s, %.200s", title, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedLegend(const FwTrainedCurves *c, FwPanel *panel)
{
  PetscFunctionBegin;
  panel->is_legend_right = PETSC_TRUE;
  if (c->axis->n > 1 && !FwSliceIsAxis(c->axis, "depth"))
    PetscCall(PetscStrncpy(panel->legend_title, c->axis->label, FW_LABEL_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 1, 2, 5, 10, .. in the range of a logarithmic axis */
static PetscErrorCode NameLogTicks(const double range[2], FwTicks *ticks)
{
  static const double steps[] = {1.0, 2.0, 5.0};

  PetscFunctionBegin;
  for (int decade = (int)floor(log10(range[0])); decade <= (int)floor(log10(range[1])); decade++)
    for (int k = 0; k < 3; k++) {
      const double at = steps[k] * pow(10.0, decade);
      char         text[32];

      (void)snprintf(text, sizeof text, "%g", at);
      if (at > range[0] && at < range[1]) PetscCall(FwTicksAdd(ticks, at, text));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedLogScale(FwPanel *panel)
{
  double low = INFINITY, high = 0.0;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n && panel->series[s].y; i++) {
      const double y = panel->series[s].y[i];

      if (!(y > 0.0) || !isfinite(y)) continue;
      low  = fmin(low, y);
      high = fmax(high, y);
    }
  if (!(low <= high)) PetscFunctionReturn(PETSC_SUCCESS);
  panel->is_log_y = panel->has_y_range = PETSC_TRUE;
  panel->y_range[0]                    = low / fmax(1.05, pow(high / low, 0.06));
  panel->y_range[1]                    = high * fmax(1.05, pow(high / low, 0.06));
  if (high < 100.0 * low) PetscCall(NameLogTicks(panel->y_range, &panel->y_tick));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedLogAxis(const FwSliceAxis *axis, FwPanel *panel)
{
  const double low = axis->value[0], high = axis->value[axis->n - 1];

  PetscFunctionBegin;
  if (!(low > 0.0) || axis->n > 8) PetscFunctionReturn(PETSC_SUCCESS);
  panel->is_log_x = panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]                    = low * pow(high / low, -0.05);
  panel->x_range[1]                    = high * pow(high / low, 0.05);
  panel->x_tick.n                      = 0;
  for (PetscInt64 i = 0; i < axis->n; i++) {
    char text[FW_LABEL_SIZE];

    FwSliceFormat(axis, i, text);
    PetscCall(FwTicksAdd(&panel->x_tick, axis->value[i], text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which -------------------------------------------------------------------------------------------------------------- */

static PetscBool HasAxis(const FwTrained *f, const char label[])
{
  return FwSliceIsAxis(&f->slice.x, label) || FwSliceIsAxis(&f->slice.family, label) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool HasPowers(const FwTrained *f)
{
  return f->n_alpha > 1 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool HasDepths(const FwTrained *f)
{
  return HasAxis(f, "depth");
}

static PetscBool IsPoint(const FwTrained *f)
{
  return f->slice.n_point == 1 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool HasTimes(const FwTrained *f)
{
  return f->n_time > 1 && (IsPoint(f) || HasAxis(f, "weight decay")) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool HasMatrices(const FwTrained *f)
{
  return f->has_matrices && IsPoint(f) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool HasTwoAxes(const FwTrained *f)
{
  return f->slice.family.n > 1 && f->slice.x.n > 1 ? PETSC_TRUE : PETSC_FALSE;
}

/* An overview has room for six panels: some figures are to be asked for. Of rounding it shows nothing. */
typedef enum { ALWAYS, UNBALANCED, UNBALANCED_POINT, NEVER } Overview;

/* What a file has to have: the axis x, an array with a number in it, and what `suits` asks for; NULL for nothing */
static const struct {
  const char *name;
  Overview    overview;
  const char *x, *array;
  PetscBool (*suits)(const FwTrained *);
  PetscErrorCode (*fill)(const FwTrained *, FwFigure *);
} figures[] = {
  {"similarity", ALWAYS,           NULL,                 NULL,                 HasPowers,   FwTrainedFill_Similarity},
  {"alpha",      ALWAYS,           NULL,                 NULL,                 HasDepths,   FwTrainedFill_Alpha     },
  {"layers",     ALWAYS,           NULL,                 NULL,                 IsPoint,     FwTrainedFill_Layers    },
  {"directions", NEVER,            NULL,                 "feature_projection", NULL,        FwTrainedFill_Directions},
  {"imbalance",  UNBALANCED,       NULL,                 NULL,                 HasTimes,    FwTrainedFill_Imbalance },
  {"bound",      UNBALANCED_POINT, NULL,                 "telescoping_bound",  HasTimes,    FwTrainedFill_Bound     },
  {"drift",      ALWAYS,           "step",               NULL,                 NULL,        FwTrainedFill_Drift     },
  {"collapse",   NEVER,            "weight decay",       "mode_product",       NULL,        FwTrainedFill_Collapse  },
  {"update",     ALWAYS,           "scale of the start", NULL,                 NULL,        FwTrainedFill_Update    },
  {"case",       ALWAYS,           "value of the case",  NULL,                 NULL,        FwTrainedFill_Case      },
  {"map",        ALWAYS,           NULL,                 NULL,                 HasTwoAxes,  FwTrainedFill_Map       },
  {"matrices",   ALWAYS,           NULL,                 NULL,                 HasMatrices, FwTrainedFill_Matrices  },
};

enum { N_FIGURE = PETSC_STATIC_ARRAY_LENGTH(figures) };

static PetscErrorCode IsAvailable(const FwTrained *f, int i, PetscBool *is_available)
{
  PetscBool has = PETSC_TRUE;

  PetscFunctionBegin;
  if (figures[i].array) PetscCall(Has(f, figures[i].array, &has));
  if (figures[i].x && !FwSliceIsAxis(&f->slice.x, figures[i].x)) has = PETSC_FALSE;
  if (figures[i].suits && !figures[i].suits(f)) has = PETSC_FALSE;
  *is_available = has;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsInOverview(const FwTrained *f, Overview when)
{
  if (when == ALWAYS || when == NEVER) return when == ALWAYS ? PETSC_TRUE : PETSC_FALSE;
  return !f->is_balanced && (when == UNBALANCED || IsPoint(f)) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode Fill(const void *found, PetscInt f, FwFigure *figure)
{
  PetscFunctionBegin;
  PetscCall(figures[f].fill(found, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Ansatz(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure)
{
  FwFigureChoice choice[N_FIGURE];
  FwTrained      found;

  PetscFunctionBegin;
  PetscCall(Find(store, is_scan, &found));
  PetscCall(PetscStrncpy(figure->title, found.slice.fixed, FW_LABEL_SIZE));
  for (int f = 0; f < N_FIGURE; f++) {
    choice[f] = (FwFigureChoice){.name = figures[f].name, .is_in_overview = IsInOverview(&found, figures[f].overview)};
    PetscCall(IsAvailable(&found, f, &choice[f].is_available));
  }
  PetscCall(FwFigureFillChosen(name, N_FIGURE, choice, Fill, &found, figure));
  PetscCall(Clear(&found));
  PetscFunctionReturn(PETSC_SUCCESS);
}
