/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz about balance: the imbalance and the bound it gives over time, drift over the step.
 */

#include "figure_ansatz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- over time --------------------------------------------------------------------------------------------------------------- */

/* Imbalance of all layers together at each time, mean over runs; the start is left out on a logarithmic axis */
static double ImbalanceAt(const FwTrained *f, const double value[], PetscInt64 n_link, PetscInt64 place, PetscInt64 t)
{
  double square = 0.0;

  for (PetscInt64 l = 0; l < n_link; l++) {
    const double mean = FwTrainedMean(f, value, n_link, place, t, l);

    if (isfinite(mean)) square += mean * mean;
  }
  return sqrt(square);
}

static PetscInt64 CountLinks(const FwTrained *f, PetscInt64 n_each)
{
  return n_each / (f->n_seed * f->n_time);
}

/* What is measured of curve i over time, and the theory beside it where `theory` is not NULL */
static PetscErrorCode AddPair(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, PetscInt64 n,
                              const double y[], const double theory[], FwPanel *panel)
{
  const double *time = f->time + FwTrainedPlace(f, c, i) * f->n_time;
  char          title[FW_LABEL_SIZE];

  PetscFunctionBegin;
  FwTrainedName(f, c, i, title);
  PetscCall(FwTrainedAdd(c, i, FW_MARK_FILLED, title, n, time, y, panel));
  if (theory) PetscCall(FwTrainedAdd(c, i, FW_MARK_DASHED, "", n, time, theory, panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The law is drawn where it holds and there is something to decay */
static PetscErrorCode AddImbalance(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, const double value[],
                                   PetscInt64 n_link, const double decay[], const double rate[], FwPanel *panel)
{
  const PetscInt64 place = FwTrainedPlace(f, c, i), n = FwTrainedLastTime(f, place) + 1;
  double          *y, *theory;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n, &y, (size_t)n, &theory));
  for (PetscInt64 t = 0; t < n; t++) {
    y[t]      = ImbalanceAt(f, value, n_link, place, t);
    theory[t] = y[0] * exp(-2.0 * decay[place] * f->time[place * f->n_time + t]);
  }
  PetscCall(AddPair(f, c, i, n, y, isfinite(rate[place]) ? theory : NULL, panel));
  PetscCall(PetscFree2(y, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The other axis stands where the imbalance is largest at first: of balanced starts there is only rounding to see */
static void ChooseLargest(const FwTrained *f, const double value[], PetscInt64 n_link, FwTrainedCurves *c)
{
  const PetscInt64 n       = c->along_family ? f->slice.x.n : f->slice.family.n;
  double           largest = -1.0;
  PetscInt64       best    = 0;

  for (c->fixed = 0; c->fixed < n; c->fixed++) {
    const double first = ImbalanceAt(f, value, n_link, FwTrainedPlace(f, c, 0), 0);

    if (!(first > largest)) continue;
    largest = first;
    best    = c->fixed;
  }
  c->fixed = best;
}

/* What hardly changes is shown from zero: ticks that differ in the eighth digit say nothing */
static void ScaleFromZero(FwPanel *panel)
{
  FwPanelScale(PETSC_FALSE, panel);
  if (panel->is_log_y || !panel->has_y_range || panel->y_range[0] < 0.5 * panel->y_range[1]) return;
  panel->y_range[0] = 0.0;
  panel->y_range[1] *= 1.2;
}

/* From 0 to the last of all times, with few ticks: gnuplot's own run into each other where the numbers are long */
static void ScaleTime(const FwTrained *f, const FwTrainedCurves *c, FwPanel *panel)
{
  double end = 0.0, decade;

  for (PetscInt64 i = 0; i < c->n; i++) {
    const PetscInt64 place = FwTrainedPlace(f, c, i);
    const double     time  = f->time[place * f->n_time + FwTrainedLastTime(f, place)];

    if (isfinite(time)) end = fmax(end, time);
  }
  if (!(end > 0.0)) return;
  decade             = pow(10.0, floor(log10(end)));
  panel->x_step      = decade * (end > 4.0 * decade ? 2.0 : end > 2.0 * decade ? 1.0 : 0.5);
  panel->has_x_range = PETSC_TRUE;
  panel->x_range[0]  = 0.0;
  panel->x_range[1]  = 1.02 * end;
}

/* Of networks with biases, what they leave of it */
static PetscErrorCode HasBiases(const FwTrained *f, PetscBool *has_biases)
{
  PetscInt64 n_each, n;
  double    *all, *without;

  PetscFunctionBegin;
  *has_biases = PETSC_FALSE;
  PetscCall(FwSliceGet(&f->slice, "imbalance", &n_each, &all));
  PetscCall(FwSliceGet(&f->slice, "imbalance_bias", &n, &without));
  for (PetscInt64 i = 0; i < n_each * f->slice.x.n * f->slice.family.n && n == n_each; i++)
    if (isfinite(all[i]) && all[i] != without[i]) *has_biases = PETSC_TRUE;
  PetscCall(PetscFree(all));
  PetscCall(PetscFree(without));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedFill_Imbalance(const FwTrained *f, FwFigure *figure)
{
  FwTrainedCurves c = FwTrainedAlong(f, "weight decay");
  PetscInt64      n_each, n_link;
  PetscBool       has, has_rate, has_biases;
  double         *value, *decay, *rate;
  FwPanel        *panel;

  PetscFunctionBegin;
  PetscCall(HasBiases(f, &has_biases));
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "training time t", has_biases ? "|Δ − bbᵀ|" : "|Δ|"));
  PetscCall(FwSliceGet(&f->slice, has_biases ? "imbalance_bias" : "imbalance", &n_each, &value));
  PetscCall(FwSliceGetMean(&f->slice, "weight_decay", &has, &decay));
  PetscCall(FwSliceGetMean(&f->slice, "imbalance_rate", &has_rate, &rate));
  n_link = CountLinks(f, n_each);
  ChooseLargest(f, value, n_link, &c);
  PetscCall(FwTrainedTitle(f, &c, "Imbalance", panel));
  for (PetscInt64 i = 0; i < c.n; i++) PetscCall(AddImbalance(f, &c, i, value, n_link, decay, rate, panel));
  if (has_rate) PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "exp(−2μt)", 0, NULL, NULL, NULL));
  ScaleFromZero(panel);
  ScaleTime(f, &c, panel);
  PetscCall(FwTrainedLegend(&c, panel));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(decay));
  PetscCall(PetscFree(rate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddBound(const FwTrained *f, const FwTrainedCurves *c, PetscInt64 i, const double difference[],
                               const double bound[], FwPanel *panel)
{
  const PetscInt64 place = FwTrainedPlace(f, c, i), n = FwTrainedLastTime(f, place) + 1;
  double          *y, *above;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n, &y, (size_t)n, &above));
  for (PetscInt64 t = 0; t < n; t++) {
    y[t]     = FwTrainedMean(f, difference, 1, place, t, 0);
    above[t] = FwTrainedMean(f, bound, 1, place, t, 0);
  }
  PetscCall(AddPair(f, c, i, n, y, above, panel));
  PetscCall(PetscFree2(y, above));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How far the ansatz can be off by the imbalance there is, at the places of the figure of the imbalance */
PetscErrorCode FwTrainedFill_Bound(const FwTrained *f, FwFigure *figure)
{
  FwTrainedCurves c = FwTrainedAlong(f, "weight decay");
  PetscInt64      n_each, n;
  double         *imbalance, *difference, *bound;
  FwPanel        *panel;

  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, &panel));
  PetscCall(FwPanelDescribe(panel, "", "training time t", "|AGOP − (W₁ᵀW₁)^L|₂"));
  PetscCall(FwSliceGet(&f->slice, "imbalance", &n_each, &imbalance));
  PetscCall(FwSliceGet(&f->slice, "telescoping_difference", &n, &difference));
  PetscCall(FwSliceGet(&f->slice, "telescoping_bound", &n, &bound));
  ChooseLargest(f, imbalance, CountLinks(f, n_each), &c);
  PetscCall(FwTrainedTitle(f, &c, "Bound by the imbalance", panel));
  for (PetscInt64 i = 0; i < c.n; i++) PetscCall(AddBound(f, &c, i, difference, bound, panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "bound", 0, NULL, NULL, NULL));
  FwPanelScale(PETSC_FALSE, panel);
  ScaleTime(f, &c, panel);
  PetscCall(FwTrainedLegend(&c, panel));
  PetscCall(PetscFree(imbalance));
  PetscCall(PetscFree(difference));
  PetscCall(PetscFree(bound));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest imbalance on the way of curve `at` over the step */
static void FindDrift(const FwTrained *f, const double value[], PetscInt64 n_link, PetscInt64 at, double y[])
{
  for (PetscInt64 i = 0; i < f->slice.x.n; i++) {
    const PetscInt64 place = at * f->slice.x.n + i;

    y[i] = 0.0;
    for (PetscInt64 t = 0; t <= FwTrainedLastTime(f, place); t++)
      y[i] = fmax(y[i], ImbalanceAt(f, value, n_link, place, t));
  }
}

/* A line of slope one through the first point of the lowest curve */
static PetscErrorCode AddLinear(const FwSliceAxis *x, double first, FwPanel *panel)
{
  double *y;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)x->n, &y));
  for (PetscInt64 i = 0; i < x->n; i++) y[i] = first * x->value[i] / x->value[0];
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "proportional to η", x->n, x->value, y, NULL));
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* O(eta) for descents, constant for Adam */
PetscErrorCode FwTrainedFill_Drift(const FwTrained *f, FwFigure *figure)
{
  const FwSliceAxis *x      = &f->slice.x;
  const FwFamily     family = FwSliceFamily(&f->slice.family);
  PetscInt64         n_each;
  double            *value, *y, lowest = INFINITY;
  FwPanel           *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(&f->slice, "Drift from balance", "largest |Δ| on the way", figure, &panel));
  PetscCall(FwSliceGet(&f->slice, "imbalance", &n_each, &value));
  PetscCall(PetscMalloc1((size_t)x->n, &y));
  for (PetscInt curve = 0; curve < family.n; curve++) {
    char title[FW_LABEL_SIZE] = "";

    FindDrift(f, value, CountLinks(f, n_each), family.at[curve], y);
    if (y[0] > 0.0) lowest = fmin(lowest, y[0]);
    if (f->slice.family.n > 1) FwSliceFormat(&f->slice.family, family.at[curve], title);
    PetscCall(FwPanelAddShaded(panel, FW_MARK_LINE_DOT, family.shade[curve], title, x->n, x->value, y));
  }
  if (isfinite(lowest)) PetscCall(AddLinear(x, lowest, panel));
  PetscCall(FwTrainedLogScale(panel));
  PetscCall(FwTrainedLogAxis(x, panel));
  PetscCall(PetscFree(y));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
