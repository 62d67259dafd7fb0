/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz: similarity over powers of the AGOP, fitted powers, imbalance over time, drift over the
 * step, maps over two axes, the two matrices themselves. Dashed lines are theory; what is measured is a mean over runs.
 */

#include "slice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A file of one point has a slice of one value. Arrays of a point are [seed][time][...] */
typedef struct {
  FwSlice    slice;
  PetscInt64 n_time, n_seed, n_alpha, n_layer;
  double    *time;   /* [point of the slice][n_time], NaN behind the last */
  double    *alpha;  /* [n_alpha] */
  double    *layers; /* [point of the slice] L */
} Found;

/* Which points are curves: along the family, or along x; the other axis stays at one place */
typedef struct {
  PetscBool          along_family;
  PetscInt64         fixed, n;
  const FwSliceAxis *axis;
} Curves;

/* --- reading ------------------------------------------------------------------------------------------------------ */

static PetscErrorCode FindSlice(FwStore store, PetscBool is_scan, FwSlice *slice)
{
  PetscFunctionBegin;
  if (is_scan) {
    PetscCall(FwSliceFind(store, slice));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwSlicePoint(store, "/ansatz/", slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Find(FwStore store, PetscBool is_scan, Found *f)
{
  PetscInt64 n_layers, n_each;
  double    *value;

  PetscFunctionBegin;
  *f = (Found){0};
  PetscCall(FindSlice(store, is_scan, &f->slice));
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
  PetscCall(FwStoreGetReals(store, "/ansatz/alpha", NULL, NULL, &f->n_alpha, &f->alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Clear(Found *f)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(f->time));
  PetscCall(PetscFree(f->alpha));
  PetscCall(PetscFree(f->layers));
  PetscCall(FwSliceClear(&f->slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsAxis(const FwSliceAxis *axis, const char label[])
{
  return axis->n > 1 && !strncmp(axis->label, label, strlen(label)) ? PETSC_TRUE : PETSC_FALSE;
}

/* Curves along the axis of that label, with the other at its last value; where there is none along the family, or along
   x, with the other at its first */
static Curves Choose(const Found *f, const char label[])
{
  const FwSliceAxis *x = &f->slice.x, *family = &f->slice.family;
  Curves             c = {.along_family = family->n > 1 && !IsAxis(x, label) ? PETSC_TRUE : PETSC_FALSE};

  c.axis  = c.along_family ? family : x;
  c.n     = PetscMin(c.axis->n, FW_CURVE_MAX);
  c.fixed = IsAxis(c.axis, label) ? (c.along_family ? x->n : family->n) - 1 : 0;
  return c;
}

/* A title, and where the other axis stands */
static PetscErrorCode Title(const Found *f, const Curves *c, const char title[], FwPanel *panel)
{
  const FwSliceAxis *other = c->along_family ? &f->slice.x : &f->slice.family;
  char               text[FW_LABEL_SIZE];
  size_t             length;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(panel->title, title, FW_LABEL_SIZE));
  if (other->n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  FwSliceFormat(other, c->fixed, text);
  if (IsAxis(other, "depth")) (void)snprintf(text, sizeof text, "%g", other->value[c->fixed] + 1.0);
  length = strlen(panel->title);
  (void)snprintf(panel->title + length, FW_LABEL_SIZE - length, ", %.99s = %.99s", other->label, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Place of curve i in the arrays of the slice; from end to end where there are more points than curves */
static PetscInt64 PlaceOf(const Found *f, const Curves *c, PetscInt64 i)
{
  const PetscInt64 at = c->n > 1 ? i * (c->axis->n - 1) / (c->n - 1) : 0;

  return c->along_family ? at * f->slice.x.n + c->fixed : c->fixed * f->slice.x.n + at;
}

/* L of a curve, also where its point has no result */
static double LayersOf(const Found *f, const Curves *c, PetscInt64 i)
{
  const PetscInt64 at = c->n > 1 ? i * (c->axis->n - 1) / (c->n - 1) : 0;

  return IsAxis(c->axis, "depth") ? c->axis->value[at] + 1.0 : f->layers[PlaceOf(f, c, i)];
}

static PetscInt64 LastTime(const Found *f, PetscInt64 place)
{
  PetscInt64 t = f->n_time - 1;

  while (t > 0 && isnan(f->time[place * f->n_time + t])) t--;
  return t;
}

/* Mean over runs of entry `e` of [seed][time][n_entry] */
static double MeanAt(const Found *f, const double value[], PetscInt64 n_entry, PetscInt64 place, PetscInt64 t,
                     PetscInt64 e)
{
  double sum = 0.0;

  for (PetscInt64 s = 0; s < f->n_seed; s++)
    sum += value[((place * f->n_seed + s) * f->n_time + t) * n_entry + e] / (double)f->n_seed;
  return sum;
}

static double ShadeOf(const Curves *c, PetscInt64 i)
{
  return c->n > 1 ? (c->n < 4 ? 0.28 * (double)c->n : 0.88) * (double)i / (double)(c->n - 1) : 0.0;
}

/* Depth is shown as L, the number of weight matrices */
static void NameCurve(const Found *f, const Curves *c, PetscInt64 i, char text[FW_LABEL_SIZE])
{
  const PetscInt64 at = c->n > 1 ? i * (c->axis->n - 1) / (c->n - 1) : 0;

  text[0] = '\0';
  if (f->slice.n_point == 1) return;
  if (IsAxis(c->axis, "depth"))
    (void)snprintf(text, FW_LABEL_SIZE, "L = %.0f", c->axis->value[at] + 1.0);
  else
    FwSliceFormat(c->axis, at, text);
}

static PetscErrorCode NameFamily(const Curves *c, FwPanel *panel)
{
  PetscFunctionBegin;
  panel->is_legend_right = PETSC_TRUE;
  if (c->axis->n > 1 && !IsAxis(c->axis, "depth"))
    PetscCall(PetscStrncpy(panel->legend_title, c->axis->label, FW_LABEL_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- similarity ------------------------------------------------------------------------------------------------------ */

/* The curve of a point at the end, where the AGOP's power of the theory stands, and a counterexample's closed form */
static PetscErrorCode AddSimilarity(const Found *f, const Curves *c, PetscInt64 i, const double value[],
                                    const double exact[], FwPanel *panel)
{
  const PetscInt64 place = PlaceOf(f, c, i), last = LastTime(f, place);
  const double     theory = 1.0 / LayersOf(f, c, i);
  char             title[FW_LABEL_SIZE];
  double          *mean;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)f->n_alpha, &mean));
  for (PetscInt64 a = 0; a < f->n_alpha; a++) mean[a] = MeanAt(f, value, f->n_alpha, place, last, a);
  NameCurve(f, c, i, title);
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE_DOT, FW_SHADE, title, f->n_alpha, f->alpha, mean, NULL));
  panel->series[panel->n_series - 1].shade = ShadeOf(c, i);
  if (exact)
    PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, i ? "" : "closed form", f->n_alpha, f->alpha,
                         exact + (place * f->n_time + last) * f->n_alpha, NULL));
  if (!exact && isfinite(theory) && (i == 0 || IsAxis(c->axis, "depth"))) {
    PetscCall(FwPanelAdd(panel, FW_MARK_VERTICAL, FW_SHADE, i == c->n - 1 || !IsAxis(c->axis, "depth") ? "1/L" : "", 1,
                         &theory, NULL, NULL));
    panel->series[panel->n_series - 1].shade = ShadeOf(c, i);
  }
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Similarity(const Found *f, FwFigure *figure)
{
  const Curves c = Choose(f, "depth");
  PetscInt64   n_each, n_exact;
  double      *value, *exact, low = 1.0;
  FwPanel     *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "power α", "cosine of W₁ᵀW₁ and AGOP^α"));
  PetscCall(Title(f, &c, "At the end", panel));
  PetscCall(FwSliceGet(&f->slice, "similarity", &n_each, &value));
  PetscCall(FwSliceGet(&f->slice, "exact_similarity", &n_exact, &exact));
  for (PetscInt64 i = 0; i < c.n; i++) PetscCall(AddSimilarity(f, &c, i, value, n_exact ? exact : NULL, panel));
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 k = 0; k < panel->series[s].n && panel->series[s].y; k++)
      if (isfinite(panel->series[s].y[k])) low = fmin(low, panel->series[s].y[k]);
  panel->has_y_range = panel->has_x_range = PETSC_TRUE;
  panel->y_range[0]                       = low - 0.05 * (1.0 - low) - 1e-3;
  panel->y_range[1]                       = 1.0 + 0.03 * (1.0 - low) + 1e-3;
  panel->x_range[0]                       = 0.0;
  panel->x_range[1]                       = 1.03 * f->alpha[f->n_alpha - 1];
  PetscCall(NameFamily(&c, panel));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(exact));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- fitted powers -------------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddFinal(const Found *f, const Curves *c, const char name[], FwMark mark, FwColour colour,
                               const char title[], FwPanel *panel)
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
    const PetscInt64 place = PlaceOf(f, c, i);

    x[i]   = LayersOf(f, c, i);
    y[i]   = n_each ? value[place] : NAN;
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

static PetscErrorCode Fill_Alpha(const Found *f, FwFigure *figure)
{
  Curves             c       = Choose(f, "depth");
  const FwSliceAxis *other   = c.along_family ? &f->slice.x : &f->slice.family;
  const PetscInt64   n_other = PetscMin(other->n, FW_CURVE_MAX);
  FwPanel           *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "Fitted power", "weight matrices L", "α of the largest cosine"));
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
    panel->series[panel->n_series - 1].shade = 0.88 * (double)i / (double)PetscMax(1, n_other - 1);
  }
  FwPanelScale(PETSC_TRUE, panel);
  panel->is_log_y    = PETSC_FALSE;
  panel->y_range[0]  = 0.0;
  panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]  = c.axis->value[0] + 0.8;
  panel->x_range[1]  = c.axis->value[c.axis->n - 1] + 1.2;
  for (PetscInt64 i = 0; i < c.n; i++) {
    char text[32];

    (void)snprintf(text, sizeof text, "%.0f", LayersOf(f, &c, i));
    PetscCall(FwTicksAdd(&panel->x_tick, LayersOf(f, &c, i), text));
  }
  panel->is_legend_right = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layer by layer, at one point */
static PetscErrorCode Fill_Layers(const Found *f, FwFigure *figure)
{
  const PetscInt64 L = f->n_layer, last = LastTime(f, 0);
  PetscInt64       n_each;
  double          *value, *x, *y, *theory;
  FwPanel         *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "Fitted power by layer", "layer l", "α of the largest cosine"));
  PetscCall(FwSliceGet(&f->slice, "layer_best_alpha", &n_each, &value));
  PetscCall(PetscMalloc3((size_t)L, &x, (size_t)L, &y, (size_t)L, &theory));
  for (PetscInt64 l = 0; l < L; l++) {
    char text[32];

    x[l]      = (double)l + 1.0;
    y[l]      = MeanAt(f, value, L, 0, last, l);
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

/* --- over time --------------------------------------------------------------------------------------------------------------- */

/* Imbalance of all layers together at each time, mean over runs; the start is left out on a logarithmic axis */
static double ImbalanceAt(const Found *f, const double value[], PetscInt64 n_link, PetscInt64 place, PetscInt64 t)
{
  double square = 0.0;

  for (PetscInt64 l = 0; l < n_link; l++) {
    const double mean = MeanAt(f, value, n_link, place, t, l);

    if (isfinite(mean)) square += mean * mean;
  }
  return sqrt(square);
}

static PetscErrorCode AddImbalance(const Found *f, const Curves *c, PetscInt64 i, const double value[],
                                   PetscInt64 n_link, const double decay[], FwPanel *panel)
{
  const PetscInt64 place = PlaceOf(f, c, i), n = LastTime(f, place) + 1;
  const double    *time = f->time + place * f->n_time;
  char             title[FW_LABEL_SIZE];
  double          *y, *theory;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n, &y, (size_t)n, &theory));
  for (PetscInt64 t = 0; t < n; t++) {
    y[t]      = ImbalanceAt(f, value, n_link, place, t);
    theory[t] = decay ? y[0] * exp(-2.0 * decay[place] * time[t]) : NAN;
  }
  NameCurve(f, c, i, title);
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_SHADE, title, n, time, y, NULL));
  panel->series[panel->n_series - 1].shade = ShadeOf(c, i);
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_SHADE, i ? "" : "exp(−2μt)", n, time, theory, NULL));
  panel->series[panel->n_series - 1].shade = ShadeOf(c, i);
  PetscCall(PetscFree2(y, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The other axis stands where the imbalance is largest at first: of balanced starts there is only rounding to see */
static void ChooseLargest(const Found *f, const double value[], PetscInt64 n_link, Curves *c)
{
  const PetscInt64 n       = c->along_family ? f->slice.x.n : f->slice.family.n;
  double           largest = -1.0;
  PetscInt64       best    = 0;

  for (c->fixed = 0; c->fixed < n; c->fixed++) {
    const double first = ImbalanceAt(f, value, n_link, PlaceOf(f, c, 0), 0);

    if (!(first > largest)) continue;
    largest = first;
    best    = c->fixed;
  }
  c->fixed = best;
}

static PetscErrorCode Fill_Imbalance(const Found *f, FwFigure *figure)
{
  Curves     c = Choose(f, "weight decay");
  PetscInt64 n_each, n_decay;
  double    *value, *decay;
  FwPanel   *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "training time t", "|Δ|"));
  PetscCall(FwSliceGet(&f->slice, "imbalance", &n_each, &value));
  ChooseLargest(f, value, n_each / (f->n_seed * f->n_time), &c);
  PetscCall(Title(f, &c, "Imbalance", panel));
  PetscCall(FwSliceGet(&f->slice, "weight_decay", &n_decay, &decay));
  for (PetscInt64 i = 0; i < c.n; i++)
    PetscCall(AddImbalance(f, &c, i, value, n_each / (f->n_seed * f->n_time), decay, panel));
  FwPanelScale(PETSC_FALSE, panel);
  PetscCall(NameFamily(&c, panel));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(decay));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An axis of few positive values, each named */
static PetscErrorCode MakeLogarithmic(const FwSliceAxis *axis, FwPanel *panel)
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

/* Largest imbalance on the way, over the step: O(eta) for descents, constant for Adam */
static PetscErrorCode Fill_Drift(const Found *f, FwFigure *figure)
{
  const PetscInt64 n_x = f->slice.x.n;
  PetscInt64       n_each;
  double          *value, *y;
  FwPanel         *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(&f->slice, "Drift from balance", "largest |Δ| on the way", figure, &panel));
  PetscCall(FwSliceGet(&f->slice, "imbalance", &n_each, &value));
  PetscCall(PetscMalloc1((size_t)n_x, &y));
  for (PetscInt64 curve = 0; curve < PetscMin(f->slice.family.n, FW_CURVE_MAX); curve++) {
    const Curves along                = {.along_family = PETSC_TRUE, .n = f->slice.family.n, .axis = &f->slice.family};
    char         title[FW_LABEL_SIZE] = "";

    for (PetscInt64 i = 0; i < n_x; i++) {
      const PetscInt64 place = curve * n_x + i;

      y[i] = 0.0;
      for (PetscInt64 t = 0; t <= LastTime(f, place); t++)
        y[i] = fmax(y[i], ImbalanceAt(f, value, n_each / (f->n_seed * f->n_time), place, t));
    }
    if (f->slice.family.n > 1) FwSliceFormat(&f->slice.family, curve, title);
    PetscCall(FwPanelAdd(panel, FW_MARK_LINE_DOT, FW_SHADE, title, n_x, f->slice.x.value, y, NULL));
    panel->series[panel->n_series - 1].shade = ShadeOf(&along, curve);
  }
  FwPanelScale(PETSC_FALSE, panel);
  PetscCall(MakeLogarithmic(&f->slice.x, panel));
  PetscCall(PetscFree(y));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- over two axes --------------------------------------------------------------------------------------------------------- */

/* Cells of one size, whatever the values: a decay of 0 has no logarithm */
static PetscErrorCode NamePlaces(const FwSliceAxis *axis, FwSliceAxis *places)
{
  char *room;

  PetscFunctionBegin;
  *places = *axis;
  if (IsAxis(axis, "depth")) PetscCall(PetscStrncpy(places->label, "hidden layers, L − 1", FW_LABEL_SIZE));
  PetscCall(PetscMalloc1((size_t)axis->n, &places->value));
  PetscCall(PetscMalloc2((size_t)axis->n, &places->text, (size_t)axis->n * FW_LABEL_SIZE, &room));
  for (PetscInt64 i = 0; i < axis->n; i++) {
    places->value[i]                = (double)i;
    places->text[axis->position[i]] = room + i * FW_LABEL_SIZE;
    FwSliceFormat(axis, i, places->text[axis->position[i]]);
  }
  places->is_log = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreePlaces(FwSliceAxis *places)
{
  char *room = places->text[places->position[0]];

  PetscFunctionBegin;
  PetscCall(PetscFree(places->value));
  PetscCall(PetscFree2(places->text, room));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Long names at the axis leave no room for its label, which the title takes over */
static PetscErrorCode AddMap(const FwSlice *named, const char title[], double *value, FwFigure *figure)
{
  FwPanel *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddMap(named, title, PETSC_FALSE, value, figure));
  panel = &figure->panel[figure->n_panel - 1];
  for (PetscInt64 i = 0; i < named->x.n * named->family.n; i++)
    if (isnan(value[i])) (void)snprintf(panel->title, FW_LABEL_SIZE, "%s (gray: none, or collapsed)", title);
  for (PetscInt t = 0; t < panel->y_tick.n; t++)
    if (strlen(panel->y_tick.text[t]) > 5) panel->y_label[0] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where nothing is left there is nothing to compare */
static PetscErrorCode LeaveOutCollapsed(const Found *f, double value[])
{
  PetscBool has;
  double   *collapsed;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(&f->slice, "collapsed", &has, &collapsed));
  for (PetscInt64 i = 0; i < f->slice.x.n * f->slice.family.n && has; i++)
    if (collapsed[i] > 0.5) value[i] = NAN;
  PetscCall(PetscFree(collapsed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Map(const Found *f, FwFigure *figure)
{
  static const char *const maps[][2] = {
    {"final_similarity", "Cosine at α = 1/L at the end"},
    {"final_best_alpha", "α of the largest cosine"     },
  };

  FwSlice named = f->slice;

  PetscFunctionBegin;
  PetscCall(NamePlaces(&f->slice.x, &named.x));
  PetscCall(NamePlaces(&f->slice.family, &named.family));
  for (size_t m = 0; m < PETSC_STATIC_ARRAY_LENGTH(maps); m++) {
    PetscBool has;
    double   *value;

    PetscCall(FwSliceGetMean(&f->slice, maps[m][0], &has, &value));
    PetscCall(LeaveOutCollapsed(f, value));
    if (has)
      PetscCall(AddMap(&named, maps[m][1], value, figure));
    else
      PetscCall(PetscFree(value));
  }
  PetscCall(FreePlaces(&named.x));
  PetscCall(FreePlaces(&named.family));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the matrices ------------------------------------------------------------------------------------------------------------ */

static const char *const pictures[][3] = {
  {"feature_matrix", "feature_diagonal",    "W₁ᵀW₁"},
  {"agop_power",     "agop_power_diagonal", "AGOP^(1/L)" },
};

/* Of an image the diagonal stands on its pixels, channels added */
static PetscErrorCode AddPixels(const Found *f, const char name[], const char title[], const double sizes[3],
                                FwFigure *figure)
{
  const PetscInt64 n_channel = (PetscInt64)sizes[0], n_pixel = (PetscInt64)sizes[1] * (PetscInt64)sizes[2];
  PetscInt64       n_each;
  double          *value, *pixel;
  char             full[FW_LABEL_SIZE];
  FwPanel         *panel;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(&f->slice, name, &n_each, &value));
  PetscCall(PetscCalloc1((size_t)n_pixel, &pixel));
  for (PetscInt64 c = 0; c < n_channel; c++)
    for (PetscInt64 i = 0; i < n_pixel && n_each >= n_channel * n_pixel; i++) pixel[i] += value[c * n_pixel + i];
  PetscCall(FwFigureAddPanel(figure, &panel));
  (void)snprintf(full, sizeof full, "Diagonal of %s", title);
  PetscCall(FwPanelDescribe(panel, full, "", ""));
  PetscCall(FwPanelSetGrid(panel, (PetscInt64)sizes[2], (PetscInt64)sizes[1], pixel));
  panel->map.is_centred = PETSC_FALSE;
  panel->map.range[0]   = 0.0;
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddMatrix(const Found *f, const char name[], const char title[], FwFigure *figure)
{
  PetscInt64 n_each, d;
  double    *value;
  FwPanel   *panel;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(&f->slice, name, &n_each, &value));
  d = (PetscInt64)llround(sqrt((double)n_each));
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, title, "input", "input"));
  PetscCall(FwPanelSetGrid(panel, d, d, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetImage(const Found *f, double sizes[3], PetscBool *is_image)
{
  static const char *const names[] = {"image_channels", "image_height", "image_width"};

  PetscFunctionBegin;
  for (int i = 0; i < 3; i++) {
    double *value;

    PetscCall(FwSliceGetMean(&f->slice, names[i], is_image, &value));
    sizes[i] = value[0];
    PetscCall(PetscFree(value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Matrices(const Found *f, FwFigure *figure)
{
  double    sizes[3];
  PetscBool is_image;

  PetscFunctionBegin;
  PetscCall(GetImage(f, sizes, &is_image));
  for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(pictures); p++)
    PetscCall(is_image ? AddPixels(f, pictures[p][1], pictures[p][2], sizes, figure)
                       : AddMatrix(f, pictures[p][0], pictures[p][2], figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- counterexamples ------------------------------------------------------------------------------------------------------------ */

/* Cosine over the number that makes the case, beside its closed form, at the alpha nearest to 1/2 */
static PetscErrorCode Fill_Case(const Found *f, FwFigure *figure)
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
    y[0][i] = MeanAt(f, value, f->n_alpha, i, LastTime(f, i), a);
    y[1][i] = n_exact ? exact[(i * f->n_time + LastTime(f, i)) * f->n_alpha + a] : NAN;
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "closed form", n_x, f->slice.x.value, y[1], NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_BLUE, "trained", n_x, f->slice.x.value, y[0], NULL));
  FwPanelScale(PETSC_FALSE, panel);
  panel->legend_title[0] = '\0';
  PetscCall(PetscFree2(y[0], y[1]));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(exact));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which ------------------------------------------------------------------------------------------------------------------------ */

static PetscBool HasAxis(const Found *f, const char label[])
{
  return IsAxis(&f->slice.x, label) || IsAxis(&f->slice.family, label) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode HasMatrices(const Found *f, PetscBool *has)
{
  double  sizes[3];
  double *value;

  PetscFunctionBegin;
  PetscCall(GetImage(f, sizes, has));
  if (*has || f->slice.n_point > 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSliceGetMean(&f->slice, "feature_matrix", has, &value));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which figures a file can give, in their order */
enum { SIMILARITY, ALPHA, LAYERS, IMBALANCE, DRIFT, CASE, MAP, MATRICES, N_FIGURE };

static PetscErrorCode FindAvailable(const Found *f, PetscBool is_available[N_FIGURE])
{
  const PetscBool is_point = f->slice.n_point == 1 ? PETSC_TRUE : PETSC_FALSE, has_times = f->n_time > 1;

  PetscFunctionBegin;
  is_available[SIMILARITY] = f->n_alpha > 1 ? PETSC_TRUE : PETSC_FALSE;
  is_available[ALPHA]      = HasAxis(f, "depth");
  is_available[LAYERS]     = is_point;
  is_available[IMBALANCE]  = has_times && (is_point || HasAxis(f, "weight decay")) ? PETSC_TRUE : PETSC_FALSE;
  is_available[DRIFT]      = IsAxis(&f->slice.x, "step");
  is_available[CASE]       = IsAxis(&f->slice.x, "value of the case");
  is_available[MAP]        = f->slice.family.n > 1 && f->slice.x.n > 1 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(HasMatrices(f, &is_available[MATRICES]));
  if (!is_point) is_available[MATRICES] = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Ansatz(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure)
{
  static const struct {
    const char *name;
    PetscErrorCode (*fill)(const Found *, FwFigure *);
  } figures[N_FIGURE] = {
    {"similarity", Fill_Similarity},
    {"alpha",      Fill_Alpha     },
    {"layers",     Fill_Layers    },
    {"imbalance",  Fill_Imbalance },
    {"drift",      Fill_Drift     },
    {"case",       Fill_Case      },
    {"map",        Fill_Map       },
    {"matrices",   Fill_Matrices  },
  };
  const PetscBool is_overview = !name || !strcmp(name, "overview") ? PETSC_TRUE : PETSC_FALSE;
  char            names[128]  = "";
  PetscBool       is_available[N_FIGURE];
  Found           found;

  PetscFunctionBegin;
  PetscCall(Find(store, is_scan, &found));
  PetscCall(FindAvailable(&found, is_available));
  for (int i = 0; i < N_FIGURE; i++) {
    if (!is_available[i]) continue;
    (void)snprintf(names + strlen(names), sizeof names - strlen(names), ", %s", figures[i].name);
    if (is_overview || !strcmp(name, figures[i].name)) PetscCall(figures[i].fill(&found, figure));
  }
  PetscCall(Clear(&found));
  if (figure->n_panel > 3) figure->n_column = (figure->n_panel + 1) / 2;
  PetscCheck(figure->n_panel, PETSC_COMM_WORLD, FW_ERR_INPUT, "figure '%s': this file can give overview%s",
             name ? name : "overview", names);
  PetscFunctionReturn(PETSC_SUCCESS);
}
