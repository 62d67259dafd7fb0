/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What is predicted for test examples beside what is true: classes, one or several outputs.
 */

#include "array.h"
#include "panel.h"

#include <finwidth/dense.h>

#include <math.h>
#include <stdio.h>

static const char home[] = "/predict/", title[] = "Prediction on test examples";

/* Arrays [n_example][n_output] */
typedef struct {
  FwArray    mean, deviation, target;
  PetscInt64 n_example, n_output;
  double     low, high; /* of the targets */
  PetscBool  is_two_valued, is_one_hot;
} Predictions;

/* Class labels take two values, whatever the encoding; of several outputs one is high where they tell the class */
static void JudgeTargets(Predictions *p)
{
  p->low  = INFINITY;
  p->high = -INFINITY;
  FwArrayFindRange(&p->target, &p->low, &p->high);
  p->is_two_valued = (p->low < p->high) ? PETSC_TRUE : PETSC_FALSE;
  p->is_one_hot    = (p->is_two_valued && p->n_output > 1) ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt64 t = 0; t < p->n_example; t++) {
    const double *of     = p->target.value + t * p->n_output;
    PetscInt64    n_high = 0;

    for (PetscInt64 d = 0; d < p->n_output; d++) {
      n_high += of[d] == p->high;
      if (of[d] != p->low && of[d] != p->high) p->is_two_valued = PETSC_FALSE;
    }
    if (n_high != 1) p->is_one_hot = PETSC_FALSE;
  }
  if (!p->is_two_valued) p->is_one_hot = PETSC_FALSE;
}

static PetscErrorCode GetPredictions(FwStore store, Predictions *p)
{
  PetscFunctionBegin;
  PetscCall(FwArrayGet(store, home, "test_mean", &p->mean));
  PetscCall(FwArrayGet(store, home, "test_std", &p->deviation));
  PetscCall(FwArrayGet(store, home, "test_target", &p->target));
  PetscCheck(p->mean.n > 0 && p->mean.n == p->target.n && p->mean.n == p->deviation.n, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure 'prediction': the file does not hold one mean, deviation and target for each test example");
  p->n_output  = p->mean.n_dim > 1 ? p->mean.size[p->mean.n_dim - 1] : 1;
  p->n_example = p->mean.n / p->n_output;
  JudgeTargets(p);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- classes ------------------------------------------------------------------------------------------------ */

/* Share of the examples with this label in each bin of the predicted mean */
static PetscErrorCode AddHistogram(FwPanel *panel, const FwArray *mean, const FwArray *target, double label,
                                   FwColour colour)
{
  enum { N_BIN = 32 };
  double low = INFINITY, high = -INFINITY, width, x[N_BIN], y[N_BIN] = {0};
  char   label_title[64];

  PetscFunctionBegin;
  FwArrayFindRange(mean, &low, &high);
  width = fmax((high - low) / N_BIN, 1e-12 * fmax(1.0, fabs(high)));
  for (int b = 0; b < N_BIN; b++) x[b] = low + (b + 0.5) * width;
  for (PetscInt64 i = 0; i < mean->n; i++)
    if (target->value[i] == label && isfinite(mean->value[i]))
      y[PetscMin(N_BIN - 1, (int)((mean->value[i] - low) / width))]++;
  snprintf(label_title, sizeof label_title, "label %g", label);
  PetscCall(FwPanelAdd(panel, FW_MARK_BOX, colour, label_title, N_BIN, x, y, NULL));
  panel->series[panel->n_series - 1].box_width = width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddHistograms(FwPanel *panel, const Predictions *p)
{
  const double boundary = 0.5 * (p->low + p->high);

  PetscFunctionBegin;
  PetscCall(FwPanelDescribe(panel, title, "predicted mean", "examples"));
  PetscCall(AddHistogram(panel, &p->mean, &p->target, p->low, FW_BLUE));
  PetscCall(AddHistogram(panel, &p->mean, &p->target, p->high, FW_ORANGE));
  PetscCall(FwPanelAdd(panel, FW_MARK_VERTICAL, FW_GRAY, "boundary", 1, &boundary, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How many test examples of each class are taken for which */
static PetscErrorCode SetConfusion(FwPanel *panel, const Predictions *p)
{
  double *count;

  PetscFunctionBegin;
  PetscCall(FwPanelDescribe(panel, "Test examples by class", "class with the largest mean", "true class"));
  PetscCall(PetscCalloc1((size_t)(p->n_output * p->n_output), &count));
  for (PetscInt64 t = 0; t < p->n_example; t++)
    count[FwArgMax((PetscInt)p->n_output, p->target.value + t * p->n_output) * p->n_output +
          FwArgMax((PetscInt)p->n_output, p->mean.value + t * p->n_output)]++;
  PetscCall(FwPanelSetGrid(panel, p->n_output, p->n_output, count));
  panel->has_numbers    = (p->n_output <= 12) ? PETSC_TRUE : PETSC_FALSE;
  panel->map.is_centred = PETSC_FALSE;
  panel->map.range[0]   = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- values ------------------------------------------------------------------------------------------------- */

/* Mean and standard deviation of the targets of one output */
static void Moments(const Predictions *p, PetscInt64 output, double *mean, double *deviation)
{
  double sum = 0.0, square = 0.0;

  for (PetscInt64 t = 0; t < p->n_example; t++) sum += p->target.value[t * p->n_output + output];
  *mean = sum / (double)p->n_example;
  for (PetscInt64 t = 0; t < p->n_example; t++) {
    const double r = p->target.value[t * p->n_output + output] - *mean;

    square += r * r;
  }
  *deviation = square > 0.0 ? sqrt(square / (double)p->n_example) : 1.0;
}

/* One of several: in units of its own targets, since outputs may differ in scale */
static PetscErrorCode AddOutput(FwPanel *panel, const Predictions *p, PetscInt64 output)
{
  static const FwColour colours[] = {FW_BLUE, FW_ORANGE, FW_GREEN, FW_BLACK};
  double               *x, *y, *error, mean, deviation;
  char                  name[64];

  PetscFunctionBegin;
  Moments(p, output, &mean, &deviation);
  PetscCall(PetscMalloc3(p->n_example, &x, p->n_example, &y, p->n_example, &error));
  for (PetscInt64 t = 0, at = output; t < p->n_example; t++, at += p->n_output) {
    x[t]     = (p->target.value[at] - mean) / deviation;
    y[t]     = (p->mean.value[at] - mean) / deviation;
    error[t] = p->deviation.value[at] / deviation;
  }
  snprintf(name, sizeof name, "output %d", (int)output);
  PetscCall(FwPanelAdd(panel, FW_MARK_ERROR_BAR, p->n_output > 4 ? FW_SHADE : colours[output], name, p->n_example, x, y,
                       error));
  panel->series[panel->n_series - 1].shade = (double)output / (double)PetscMax(p->n_output - 1, 1);
  PetscCall(PetscFree3(x, y, error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddDiagonal(FwPanel *panel)
{
  double ends[2] = {INFINITY, -INFINITY};

  PetscFunctionBegin;
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n; i++) {
      ends[0] = fmin(ends[0], panel->series[s].x[i]);
      ends[1] = fmax(ends[1], panel->series[s].x[i]);
    }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "perfect prediction", 2, ends, ends, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddValues(FwPanel *panel, const Predictions *p)
{
  const PetscInt64 n_output = PetscMin(p->n_output, FW_SERIES_MAX - 1);

  PetscFunctionBegin;
  if (p->n_output == 1) {
    PetscCall(FwPanelDescribe(panel, title, "target", "predicted mean ± standard deviation"));
    PetscCall(FwPanelAdd(panel, FW_MARK_ERROR_BAR, FW_BLUE, "test example", p->mean.n, p->target.value, p->mean.value,
                         p->deviation.value));
  } else {
    PetscCall(
      FwPanelDescribe(panel, title, "target, in deviations of its output", "predicted mean ± standard deviation"));
    for (PetscInt64 d = 0; d < n_output; d++) PetscCall(AddOutput(panel, p, d));
  }
  PetscCall(AddDiagonal(panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Prediction(FwStore store, FwPanel *panel)
{
  Predictions p;

  PetscFunctionBegin;
  PetscCall(GetPredictions(store, &p));
  panel->is_legend_outside = PETSC_TRUE;
  if (p.is_one_hot)
    PetscCall(SetConfusion(panel, &p));
  else if (p.is_two_valued)
    PetscCall(AddHistograms(panel, &p));
  else
    PetscCall(AddValues(panel, &p));
  PetscCall(PetscFree(p.mean.value));
  PetscCall(PetscFree(p.deviation.value));
  PetscCall(PetscFree(p.target.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
