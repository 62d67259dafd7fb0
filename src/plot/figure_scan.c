/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of a scan: errors, order parameters and accuracy over its axes.
 *
 * Solid lines are finite width, dashed ones infinite width. Over one axis several quantities share a panel, each in a
 * colour; with a second axis each quantity has a panel, and the values of that axis are shades from dark to light.
 */

#include "array.h"
#include "slice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- ranges ------------------------------------------------------------------------------------------------- */

static PetscErrorCode SetXAxis(const FwSliceAxis *x, FwPanel *panel)
{
  const double low = x->value[0], high = x->value[x->n - 1];

  PetscFunctionBegin;
  panel->is_log_x = x->is_log;
  PetscCall(FwSliceTicks(x, &panel->x_tick));
  panel->has_x_range = low < high ? PETSC_TRUE : PETSC_FALSE;
  if (x->is_log) {
    panel->x_range[0] = low * pow(high / low, -0.03);
    panel->x_range[1] = high * pow(high / low, 0.03);
  } else {
    const double margin = x->text ? 0.5 : 0.03 * (high - low);

    panel->x_range[0] = low - margin;
    panel->x_range[1] = high + margin;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FindYRange(const FwPanel *panel, double *low_positive, double *low, double *high)
{
  *low_positive = *low = INFINITY;
  *high                = -INFINITY;
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n; i++) {
      const double y = panel->series[s].y[i], error = panel->series[s].error ? panel->series[s].error[i] : 0.0;

      if (!isfinite(y)) continue;
      *low  = fmin(*low, y - error);
      *high = fmax(*high, y + error);
      if (y > 0.0) *low_positive = fmin(*low_positive, y);
    }
}

/* Decades where the numbers span more than one and a half; below 1e-10 of the largest there is only rounding */
void FwPanelScale(PetscBool from_zero, FwPanel *panel)
{
  double low_positive, low, high, margin;

  FindYRange(panel, &low_positive, &low, &high);
  if (!(low <= high)) return;
  low_positive       = fmax(low_positive, 1e-10 * high);
  panel->has_y_range = PETSC_TRUE;
  panel->is_log_y    = low >= 0.0 && high > 30.0 * low_positive ? PETSC_TRUE : PETSC_FALSE;
  if (panel->is_log_y) {
    margin            = pow(high / low_positive, 0.05);
    panel->y_range[0] = low_positive / margin;
    panel->y_range[1] = high * margin;
    return;
  }
  if (from_zero && low > 0.0 && low < 0.35 * high) low = 0.0;
  margin            = fmax(0.06 * (high - low), 1e-9 * fmax(fabs(high), 1e-300));
  panel->y_range[0] = low == 0.0 ? 0.0 : low - margin;
  panel->y_range[1] = high + margin;
}

/* --- one axis ----------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  FwMark      mark;
  FwColour    colour;
  const char *title;
} Curve;

/* Between texts there is nothing to draw a line through */
static FwMark MarkOn(const FwSliceAxis *x, FwMark mark)
{
  if (!x->text) return mark;
  return mark == FW_MARK_LINE_DOT ? FW_MARK_FILLED : mark == FW_MARK_DASHED ? FW_MARK_OPEN : FW_MARK_CROSS;
}

static PetscBool HasFailedAverage(const FwSlice *slice)
{
  for (PetscInt64 p = 0; p < slice->n_point && slice->average_converged; p++)
    if (slice->average_converged[p] == 0.0) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* The title says of an average what kind it is */
static PetscErrorCode AddCurve(const FwSlice *slice, const Curve *c, const double value[], FwPanel *panel)
{
  const PetscBool is_average = strncmp(c->name, "average_", strlen("average_")) ? PETSC_FALSE : PETSC_TRUE;
  const FwMark    mark       = MarkOn(&slice->x, c->mark);
  char            title[FW_LABEL_SIZE];
  size_t          length;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(title, c->title, sizeof title));
  length = strlen(title);
  if (is_average) PetscCall(FwAverageName(slice->store, sizeof title - length, title + length));
  PetscCall(FwPanelAdd(panel, mark, c->colour, title, slice->x.n, slice->x.value, value, NULL));
  if (is_average && HasFailedAverage(slice))
    PetscCall(FwPanelAdd(panel, mark, c->colour, "gaps: not converged", 0, NULL, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddCurves(const FwSlice *slice, const Curve curves[], FwPanel *panel)
{
  PetscFunctionBegin;
  for (const Curve *c = curves; c->name; c++) {
    PetscBool has;
    double   *value;

    PetscCall(FwSliceGetMean(slice, c->name, &has, &value));
    if (has) PetscCall(AddCurve(slice, c, value, panel));
    PetscCall(PetscFree(value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSlicePanel(const FwSlice *slice, const char title[], const char y_label[], FwFigure *figure,
                            FwPanel **panel)
{
  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, panel));
  PetscCall(FwPanelDescribe(*panel, title, slice->x.label, y_label));
  PetscCall(SetXAxis(&slice->x, *panel));
  (*panel)->is_legend_right = PETSC_TRUE;
  PetscCall(PetscStrncpy((*panel)->legend_title, slice->family.label, FW_LABEL_SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a family ----------------------------------------------------------------------------------------------- */

/* At most eight and from end to end; fewer where that makes the steps equal */
static PetscInt CountCurves(PetscInt64 n)
{
  if (n <= FW_CURVE_MAX) return (PetscInt)n;
  for (PetscInt m = FW_CURVE_MAX; m >= 5; m--)
    if ((n - 1) % (m - 1) == 0) return m;
  return FW_CURVE_MAX;
}

/* The lightest shades would not be seen on white */
FwFamily FwSliceFamily(const FwSliceAxis *axis)
{
  FwFamily     family = {.n = CountCurves(axis->n)};
  const double light  = family.n < 4 ? 0.28 * (double)family.n : 0.88;

  for (PetscInt c = 0; c < family.n; c++) {
    const double place = family.n > 1 ? (double)c / (family.n - 1) : 0.0;

    family.at[c]    = (PetscInt64)llround(place * (double)(axis->n - 1));
    family.shade[c] = light * place;
  }
  return family;
}

PetscErrorCode FwPanelAddShaded(FwPanel *panel, FwMark mark, double shade, const char title[], PetscInt64 n,
                                const double x[], const double y[])
{
  PetscFunctionBegin;
  PetscCall(FwPanelAdd(panel, mark, FW_SHADE, title, n, x, y, NULL));
  panel->series[panel->n_series - 1].shade = shade;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What depends on x alone: where two curves both have a number, it is the same up to rounding. `common` has it. */
static PetscBool AreEqual(const FwFamily *family, PetscInt64 n, const double value[], double common[])
{
  for (PetscInt64 i = 0; i < n; i++) {
    common[i] = NAN;
    for (PetscInt c = 0; c < family->n; c++) {
      const double y = value[family->at[c] * n + i];

      if (!isfinite(y)) continue;
      if (!isfinite(common[i])) common[i] = y;
      if (fabs(y - common[i]) > 1e-6 * fabs(common[i])) return PETSC_FALSE;
    }
  }
  return PETSC_TRUE;
}

static PetscErrorCode AddInfinite(const FwSlice *slice, const FwFamily *family, const char name[], FwPanel *panel)
{
  const FwSliceAxis *x    = &slice->x;
  const FwMark       mark = MarkOn(x, FW_MARK_DASHED);
  PetscBool          has;
  double            *value, *common;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, name, &has, &value));
  PetscCall(PetscMalloc1((size_t)x->n, &common));
  if (has && AreEqual(family, x->n, value, common)) {
    PetscCall(FwPanelAdd(panel, mark, FW_BLACK, "infinite width", x->n, x->value, common, NULL));
  } else if (has) {
    for (PetscInt c = 0; c < family->n; c++)
      PetscCall(FwPanelAddShaded(panel, mark, family->shade[c], "", x->n, x->value, value + family->at[c] * x->n));
    PetscCall(FwPanelAdd(panel, mark, FW_GRAY, "infinite width", 0, NULL, NULL, NULL));
  }
  PetscCall(PetscFree(common));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With samples beside it the theory is a bare line: the dots are theirs, and without it also the legend */
static PetscErrorCode AddFamily(const FwSlice *slice, const FwFamily *family, const char name[], const char sampled[],
                                FwPanel *panel)
{
  const FwSliceAxis *x = &slice->x;
  PetscBool          has, has_samples;
  double            *value;
  char               title[FW_LABEL_SIZE];

  PetscFunctionBegin;
  PetscCall(FwSliceHasSamples(slice, &has_samples));
  PetscCall(FwSliceGetMean(slice, name, &has, &value));
  for (PetscInt c = 0; c < family->n; c++) {
    FwSliceFormat(&slice->family, family->at[c], title);
    if (has)
      PetscCall(FwPanelAddShaded(panel, has_samples ? FW_MARK_LINE : MarkOn(x, FW_MARK_LINE_DOT), family->shade[c],
                                 title, x->n, x->value, value + family->at[c] * x->n));
    if (sampled)
      PetscCall(FwPanelAddSampled(slice, "/sample", sampled, family->at[c], FW_SHADE, family->shade[c],
                                  has ? "" : title, panel));
  }
  if (has_samples && sampled) PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, FW_GRAY, "sampled", 0, NULL, NULL, NULL));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether one of the arrays, the last of which is NULL, has a finite number */
static PetscErrorCode HasAny(const FwSlice *slice, const char *const names[], PetscBool *has)
{
  PetscFunctionBegin;
  *has = PETSC_FALSE;
  for (const char *const *name = names; *name && !*has; name++) {
    double *value;

    PetscCall(FwSliceGetMean(slice, *name, has, &value));
    PetscCall(PetscFree(value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A panel of one quantity over both axes; none where the file has no number of it */
static PetscErrorCode FillFamily(const FwSlice *slice, const char name[], const char title[], const char y_label[],
                                 FwFigure *figure)
{
  const FwFamily family = FwSliceFamily(&slice->family);
  char           infinite[FW_LABEL_SIZE], sampled[FW_LABEL_SIZE];
  FwPanel       *panel;
  PetscBool      has;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(sampled, sizeof sampled, "/sample/%s", name));
  PetscCall(HasAny(slice, (const char *const[]){name, sampled, NULL}, &has));
  if (!has) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSlicePanel(slice, title, y_label, figure, &panel));
  PetscCall(PetscSNPrintf(infinite, sizeof infinite, "infinite_%s", name));
  PetscCall(AddFamily(slice, &family, name, name, panel));
  PetscCall(AddInfinite(slice, &family, infinite, panel));
  FwPanelScale(PETSC_TRUE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- errors and accuracy ------------------------------------------------------------------------------------ */

static PetscErrorCode Fill_Errors(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"test_error",           FW_MARK_LINE_DOT, FW_BLUE,   "test"                 },
    {"average_test_error",   FW_MARK_THIN,     FW_BLACK,  "test, "               },
    {"infinite_test_error",  FW_MARK_DASHED,   FW_BLUE,   "test, infinite width" },
    {"train_error",          FW_MARK_LINE_DOT, FW_ORANGE, "train"                },
    {"infinite_train_error", FW_MARK_DASHED,   FW_ORANGE, "train, infinite width"},
    {NULL,                   FW_MARK_LINE,     FW_BLACK,  NULL                   },
  };
  FwPanel *panel;

  PetscFunctionBegin;
  if (slice->family.n > 1) {
    PetscCall(FillFamily(slice, "test_error", "Test error", "mean squared error per example", figure));
    PetscCall(FillFamily(slice, "train_error", "Train error", "mean squared error per example", figure));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwSlicePanel(slice, "Errors", "mean squared error per example", figure, &panel));
  PetscCall(AddCurves(slice, curves, panel));
  PetscCall(FwPanelAddSampled(slice, "/sample", "test_error", 0, FW_BLUE, 0.0, "test, sampled", panel));
  PetscCall(FwPanelAddSampled(slice, "/sample", "train_error", 0, FW_ORANGE, 0.0, "train, sampled", panel));
  FwPanelScale(PETSC_TRUE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What each network can do, whatever the scale of its readout's prior */
static PetscErrorCode Fill_BestPrior(const FwSlice *slice, FwFigure *figure)
{
  FwSlice best = *slice;

  PetscFunctionBegin;
  best.is_best = PETSC_TRUE;
  PetscCall(FillFamily(&best, "test_error", "Test error at the best λ_L", "mean squared error per example", figure));
  if (figure->n_panel == 1) figure->title[0] = '\0'; /* alone it has no fixed prior to name */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The order parameter that errs least on validation examples: it fits these, and is judged on the test examples */
static PetscErrorCode Fill_Learnt(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"test_bias",              FW_MARK_LINE_DOT, FW_BLUE,   "test, saddle point"  },
    {"infinite_test_bias",     FW_MARK_DASHED,   FW_BLUE,   "test, infinite width"},
    {"learnt_test_bias",       FW_MARK_LINE_DOT, FW_ORANGE, "test, learnt"        },
    {"learnt_validation_bias", FW_MARK_DASHED,   FW_ORANGE, "validation, learnt"  },
    {NULL,                     FW_MARK_LINE,     FW_BLACK,  NULL                  },
  };
  const char *const y_label = "mean squared error of the mean";
  FwPanel          *panel;

  PetscFunctionBegin;
  if (slice->family.n > 1) {
    PetscCall(FillFamily(slice, "learnt_test_bias", "Test bias, learnt Q", y_label, figure));
    PetscCall(FillFamily(slice, "learnt_validation_bias", "Validation bias, learnt Q", y_label, figure));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwSlicePanel(slice, "Bias with Q learnt on validation examples", y_label, figure, &panel));
  PetscCall(AddCurves(slice, curves, panel));
  FwPanelScale(PETSC_TRUE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Accuracy(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"accuracy",          FW_MARK_LINE_DOT, FW_BLUE,  "finite width"  },
    {"average_accuracy",  FW_MARK_THIN,     FW_BLACK, ""              },
    {"infinite_accuracy", FW_MARK_DASHED,   FW_BLUE,  "infinite width"},
    {NULL,                FW_MARK_LINE,     FW_BLACK, NULL            },
  };
  const char *const title = "Accuracy", *const y_label = "share of correct test examples";
  FwPanel *panel;

  PetscFunctionBegin;
  if (slice->family.n > 1) {
    PetscCall(FillFamily(slice, "accuracy", title, y_label, figure));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwSlicePanel(slice, title, y_label, figure, &panel));
  PetscCall(AddCurves(slice, curves, panel));
  PetscCall(FwPanelAddSampled(slice, "/sample", "accuracy", 0, FW_BLUE, 0.0, "sampled", panel));
  FwPanelScale(PETSC_TRUE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- order parameter ---------------------------------------------------------------------------------------- */

/* The other minima of curve `at` as points, where they are not the lowest one; *n_added counts them */
static PetscErrorCode AddMinima(const FwSlice *slice, PetscInt64 at, FwColour colour, double shade, PetscInt64 *n_added,
                                FwPanel *panel)
{
  const PetscInt64 n_x = slice->x.n;
  PetscInt64       n_minimum, n = 0;
  PetscBool        has;
  double          *order, *lowest, *x, *y;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMinima(slice, &n_minimum, &order));
  PetscCall(FwSliceGetMean(slice, "total_order_parameter", &has, &lowest));
  PetscCall(PetscMalloc2((size_t)(n_x * n_minimum), &x, (size_t)(n_x * n_minimum), &y));
  for (PetscInt64 i = 0; i < n_x * n_minimum; i++) {
    const double value = order[at * n_x * n_minimum + i], best = lowest[at * n_x + i / n_minimum];

    if (!isfinite(value) || fabs(value - best) <= 1e-6 * best) continue;
    x[n]   = slice->x.value[i / n_minimum];
    y[n++] = value;
  }
  if (n) PetscCall(FwPanelAdd(panel, FW_MARK_OPEN, colour, "", n, x, y, NULL));
  if (n) panel->series[panel->n_series - 1].shade = shade;
  *n_added += n;
  PetscCall(PetscFree2(x, y));
  PetscCall(PetscFree(lowest));
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At infinite width nothing changes: the order parameter is one */
static PetscErrorCode AddOne(FwPanel *panel)
{
  const double ones[] = {1.0, 1.0};

  PetscFunctionBegin;
  if (panel->has_x_range)
    PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "infinite width", 2, panel->x_range, ones, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What stands beside the mean of the diagonal of Q: of a matrix its diagonal, where an average over all entries says nothing;
   nothing (NULL) beside the product over several layers, of which the sampled one is the readout's alone */
static PetscErrorCode SampledOrder(const FwSlice *slice, const char **name)
{
  PetscBool  is_matrix;
  PetscInt64 n_each;
  double    *value;

  PetscFunctionBegin;
  PetscCall(FwStoreHas(slice->store, "/sample/order_parameter_diagonal", &is_matrix));
  PetscCall(FwSliceGet(slice, "order_parameter", &n_each, &value));
  *name = is_matrix ? "order_parameter_diagonal" : value && n_each > 1 ? NULL : "order_parameter";
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AverageIsNumber(const FwSlice *slice, PetscBool *is_number)
{
  PetscInt64 n_each;
  double    *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(slice, "average_order_parameter", &n_each, &value));
  *is_number = n_each == 1 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddOrderFamily(const FwSlice *slice, FwPanel *panel)
{
  const FwFamily family  = FwSliceFamily(&slice->family);
  PetscInt64     n_added = 0;
  const char    *sampled = NULL;

  PetscFunctionBegin;
  PetscCall(SampledOrder(slice, &sampled));
  PetscCall(AddFamily(slice, &family, "total_order_parameter", sampled, panel));
  for (PetscInt c = 0; c < family.n; c++)
    PetscCall(AddMinima(slice, family.at[c], FW_SHADE, family.shade[c], &n_added, panel));
  if (n_added) PetscCall(FwPanelAdd(panel, FW_MARK_OPEN, FW_GRAY, "metastable", 0, NULL, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddOrderCurves(const FwSlice *slice, FwPanel *panel)
{
  static const Curve curves[] = {
    {"average_order_parameter", FW_MARK_THIN,     FW_BLACK, ""              },
    {"total_order_parameter",   FW_MARK_LINE_DOT, FW_BLUE,  "lowest minimum"},
    {NULL,                      FW_MARK_LINE,     FW_BLACK, NULL            },
  };
  PetscInt64  n_added     = 0;
  PetscBool   has_average = PETSC_FALSE;
  const char *sampled     = NULL;

  PetscFunctionBegin;
  PetscCall(AverageIsNumber(slice, &has_average));
  PetscCall(AddCurves(slice, has_average ? curves : curves + 1, panel));
  PetscCall(SampledOrder(slice, &sampled));
  if (sampled) PetscCall(FwPanelAddSampled(slice, "/sample", sampled, 0, FW_BLUE, 0.0, "sampled", panel));
  PetscCall(AddMinima(slice, 0, FW_ORANGE, 0.0, &n_added, panel));
  if (n_added) PetscCall(FwPanelAdd(panel, FW_MARK_OPEN, FW_ORANGE, "metastable", 0, NULL, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Order(const FwSlice *slice, FwFigure *figure)
{
  static const char *const total[] = {"total_order_parameter", NULL};
  FwPanel                 *panel;
  PetscBool                has_total;

  PetscFunctionBegin;
  PetscCall(HasAny(slice, total, &has_total));
  PetscCall(FwSlicePanel(slice, "Order parameter",
                         has_total ? "total order parameter" : "order parameter of the readout", figure, &panel));
  PetscCall(slice->family.n > 1 ? AddOrderFamily(slice, panel) : AddOrderCurves(slice, panel));
  PetscCall(AddOne(panel));
  FwPanelScale(PETSC_FALSE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which -------------------------------------------------------------------------------------------------- */

/* When a figure is part of the overview */
typedef enum { NEVER, ALWAYS, WITH_SAMPLES, WITHOUT_SAMPLES } Overview;

/* What it needs besides: a second axis, one of the readout's prior, samples */
typedef enum { NO_MORE, FAMILY, PRIOR, SAMPLES } Need;

static const struct {
  const char *name;
  const char *any_of[4]; /* arrays, of which one has to have a finite number */
  Need        also;
  Overview    overview;
  PetscErrorCode (*fill)(const FwSlice *, FwFigure *);
} figures[] = {
  {"errors",          {"test_error", "train_error", "/sample/train_error"}, NO_MORE, ALWAYS,          Fill_Errors           },
  {"best-prior",      {"test_error"},                                       PRIOR,   WITHOUT_SAMPLES, Fill_BestPrior        },
  {"order-parameter", {"total_order_parameter", "/sample/order_parameter"}, NO_MORE, ALWAYS,          Fill_Order            },
  {"agreement",       {"test_error"},                                       SAMPLES, WITH_SAMPLES,    FwFigureFill_Agreement},
  {"map",             {"test_error", "total_order_parameter"},              FAMILY,  WITHOUT_SAMPLES, FwFigureFill_Map      },
  {"learnt",          {"learnt_test_bias"},                                 NO_MORE, ALWAYS,          Fill_Learnt           },
  {"accuracy",        {"accuracy", "/sample/accuracy"},                     NO_MORE, NEVER,           Fill_Accuracy         },
};

enum { N_FIGURE = PETSC_STATIC_ARRAY_LENGTH(figures) };

static PetscErrorCode IsAvailable(const FwSlice *slice, int f, PetscBool *is_available)
{
  static const char *const samples[] = {"/sample/test_error", NULL};

  PetscFunctionBegin;
  *is_available = PETSC_FALSE;
  if (figures[f].also == FAMILY && slice->family.n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  if (figures[f].also == PRIOR && slice->prior.n < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(HasAny(slice, figures[f].any_of, is_available));
  if (*is_available && figures[f].also == SAMPLES) PetscCall(HasAny(slice, samples, is_available));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindAvailable(const FwSlice *slice, PetscBool available[N_FIGURE], size_t size, char names[])
{
  size_t length = 0;

  PetscFunctionBegin;
  names[0] = '\0';
  for (int f = 0; f < N_FIGURE; f++) {
    PetscCall(IsAvailable(slice, f, &available[f]));
    if (available[f]) length += (size_t)snprintf(names + length, size - length, ", %s", figures[f].name);
  }
  PetscCheck(length, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "no figure can be drawn of this file: no point of the scan%s%s has a result", slice->fixed[0] ? " " : "",
             slice->fixed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Maps of two columns are stripes: the overview goes without. They stand in a row of their own. */
static PetscErrorCode FillOverview(const FwSlice *slice, const PetscBool available[N_FIGURE], FwFigure *figure)
{
  PetscBool has_samples;

  PetscFunctionBegin;
  PetscCall(FwSliceHasSamples(slice, &has_samples));
  for (int f = 0; f < N_FIGURE; f++) {
    const Overview when = figures[f].overview;

    if (!available[f] || (when != ALWAYS && when != (has_samples ? WITH_SAMPLES : WITHOUT_SAMPLES))) continue;
    if (figures[f].also == FAMILY) {
      if (PetscMin(slice->x.n, slice->family.n) < 3 || slice->x.text || slice->family.text) continue;
      figure->n_column = figure->n_panel;
    }
    PetscCall(figures[f].fill(slice, figure));
  }
  if (has_samples && figure->n_panel > 3) figure->n_column = 3; /* wide panels: their legends stand beside them */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Scan(FwStore store, const char name[], FwFigure *figure)
{
  FwSlice   slice;
  PetscBool available[N_FIGURE];
  char      names[128];

  PetscFunctionBegin;
  PetscCall(FwSliceFind(store, &slice));
  PetscCall(FindAvailable(&slice, available, sizeof names, names));
  PetscCall(PetscStrncpy(figure->title, slice.fixed, FW_LABEL_SIZE));
  if (!name || !strcmp(name, "overview")) PetscCall(FillOverview(&slice, available, figure));
  for (int f = 0; f < N_FIGURE && name; f++)
    if (available[f] && !strcmp(name, figures[f].name)) PetscCall(figures[f].fill(&slice, figure));
  PetscCall(FwFigureCheckFilled(figure, name, names));
  PetscCall(FwSliceClear(&slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}
