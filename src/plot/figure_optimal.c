/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /optimal: potential and curve of a point; errors, informations and what is learnable over a scan.
 *
 * Solid lines are the best learner; dashed ones in the panel of errors its error with endless data.
 */

#include "slice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- a point ----------------------------------------------------------------------------------------------------------- */

/* An array of a file of one point; n = 0 and NULL where there is none */
static PetscErrorCode Get(FwStore store, const char name[], PetscInt64 *n, double **value)
{
  char      path[FW_LABEL_SIZE];
  PetscBool has;

  PetscFunctionBegin;
  *n     = 0;
  *value = NULL;
  PetscCall(PetscSNPrintf(path, sizeof path, "/optimal/%s", name));
  PetscCall(FwStoreHas(store, path, &has));
  if (has) PetscCall(FwStoreGetReals(store, path, NULL, NULL, n, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The logarithm of q / (1 - q) shows both ends */
static void ToOdds(PetscInt64 n, double overlap[])
{
  for (PetscInt64 i = 0; i < n; i++) overlap[i] = log10(overlap[i] / (1.0 - overlap[i]));
}

typedef struct {
  PetscInt64 n, n_fixed, n_one;
  double    *odds, *curve, *potential; /* [n] */
  double    *fixed, *entropy, *stable; /* [n_fixed] as log odds; per example; 1 or 0 */
  double    *alpha;                    /* [1] */
} Profile;

static PetscErrorCode ReadProfile(FwStore store, Profile *p)
{
  PetscFunctionBegin;
  PetscCall(Get(store, "profile_overlap", &p->n, &p->odds));
  PetscCall(Get(store, "profile_alpha", &p->n, &p->curve));
  PetscCall(Get(store, "profile_potential", &p->n, &p->potential));
  PetscCall(Get(store, "all_overlaps", &p->n_fixed, &p->fixed));
  PetscCall(Get(store, "all_free_entropies", &p->n_fixed, &p->entropy));
  PetscCall(Get(store, "all_stable", &p->n_fixed, &p->stable));
  PetscCall(Get(store, "alpha", &p->n_one, &p->alpha));
  ToOdds(p->n, p->odds);
  ToOdds(p->n_fixed, p->fixed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreeProfile(Profile *p)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(p->odds));
  PetscCall(PetscFree(p->curve));
  PetscCall(PetscFree(p->potential));
  PetscCall(PetscFree(p->fixed));
  PetscCall(PetscFree(p->entropy));
  PetscCall(PetscFree(p->stable));
  PetscCall(PetscFree(p->alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Maxima filled, minima open; q = 0 and 1 have no place here */
static PetscErrorCode AddFixed(const Profile *p, const double y[], FwPanel *panel)
{
  PetscInt64 n_kind[2] = {0};

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < p->n_fixed; i++) {
    const int kind = p->stable[i] > 0.0;

    if (!isfinite(p->fixed[i])) continue;
    PetscCall(FwPanelAdd(panel, kind ? FW_MARK_FILLED : FW_MARK_OPEN, FW_ORANGE,
                         n_kind[kind]++ ? ""
                         : kind         ? "stable"
                                        : "unstable",
                         1, &p->fixed[i], &y[i], NULL));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StartProfile(const Profile *p, const char title[], const char y_label[], FwFigure *figure,
                                   FwPanel **panel)
{
  PetscFunctionBegin;
  PetscCall(FwFigureAddPanel(figure, panel));
  PetscCall(FwPanelDescribe(*panel, title, "overlap, log₁₀ q/(1 − q)", y_label));
  (*panel)->has_x_range = (*panel)->is_legend_right = PETSC_TRUE; /* inside, a dot of it looks like a point */
  (*panel)->x_range[0]                              = p->odds[0];
  (*panel)->x_range[1]                              = p->odds[p->n - 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Down to where the highest of all falls as deep as it has risen, or by a part that can be seen */
static void ScalePotential(const Profile *p, FwPanel *panel)
{
  double top = -INFINITY, first = p->potential[0], low = first;

  for (PetscInt64 i = 0; i < p->n; i++)
    if (isfinite(p->potential[i])) top = fmax(top, p->potential[i]);
  for (PetscInt64 k = 0; k < p->n_fixed; k++)
    if (isfinite(p->entropy[k])) low = fmin(low, p->alpha[0] * p->entropy[k]);
  const double depth = fmax(top - low, 0.02);

  panel->has_y_range = PETSC_TRUE;
  panel->y_range[0]  = low - 0.6 * depth;
  panel->y_range[1]  = top + 0.15 * depth;
}

static PetscErrorCode Fill_Potential(const Profile *p, FwFigure *figure)
{
  FwPanel *panel;
  double  *height;

  PetscFunctionBegin;
  PetscCall(StartProfile(p, "Replica potential", "f(q), nat per input", figure, &panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, "", p->n, p->odds, p->potential, NULL));
  PetscCall(PetscMalloc1((size_t)p->n_fixed, &height));
  for (PetscInt64 i = 0; i < p->n_fixed; i++) height[i] = p->alpha[0] * p->entropy[i];
  PetscCall(AddFixed(p, height, panel));
  PetscCall(PetscFree(height));
  ScalePotential(p, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Decades, or with several maxima the bend that makes them */
static void ScaleCurve(const Profile *p, FwPanel *panel)
{
  double low = p->alpha[0], high = p->alpha[0];

  panel->has_y_range = PETSC_TRUE;
  panel->is_log_y    = (PetscBool)(p->n_fixed < 3);
  for (PetscInt64 i = 0; i < p->n && p->n_fixed > 2; i++) {
    if (p->odds[i] < p->fixed[1] || p->odds[i] > p->fixed[p->n_fixed - 1]) continue; /* fixed[0] may be at 0 */
    low  = fmin(low, p->curve[i]);
    high = fmax(high, p->curve[i]);
  }
  panel->y_range[0] = panel->is_log_y ? low / 5.0 : low - 3.0 * (high - low);
  panel->y_range[1] = panel->is_log_y ? high * 5.0 : high + 3.0 * (high - low);
}

static PetscErrorCode Fill_Curve(const Profile *p, FwFigure *figure)
{
  const double level[] = {p->alpha[0], p->alpha[0]};
  FwPanel     *panel;
  double      *height;

  PetscFunctionBegin;
  PetscCall(StartProfile(p, "Stationary points", "examples per input, α(q)", figure, &panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE, FW_BLUE, "", p->n, p->odds, p->curve, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "this α", 2, panel->x_range, level, NULL));
  PetscCall(PetscMalloc1((size_t)p->n_fixed, &height));
  for (PetscInt64 i = 0; i < p->n_fixed; i++) height[i] = p->alpha[0];
  PetscCall(AddFixed(p, height, panel));
  PetscCall(PetscFree(height));
  ScaleCurve(p, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillPoint(FwStore store, const char name[], FwFigure *figure)
{
  const PetscBool is_overview = !name || !strcmp(name, "overview") ? PETSC_TRUE : PETSC_FALSE;
  Profile         p           = {0};

  PetscFunctionBegin;
  PetscCall(ReadProfile(store, &p));
  PetscCheck(p.n && p.n_fixed && p.n_one, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "this file has nothing that could be drawn: nothing of this network can be learnt, or theory failed");
  if (is_overview || !strcmp(name, "potential")) PetscCall(Fill_Potential(&p, figure));
  if (is_overview || !strcmp(name, "curve")) PetscCall(Fill_Curve(&p, figure));
  if (is_overview || !strcmp(name, "trajectory")) PetscCall(FwFigureFill_Trajectory(store, figure));
  PetscCall(FreeProfile(&p));
  PetscCheck(figure->n_panel, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "figure '%s': this file can give overview, potential, curve, and of an experiment with gamp trajectory",
             name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan -------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  FwMark      mark;
  FwColour    colour;
  const char *title;    /* of a single curve */
  PetscBool   is_named; /* in the legend of a family */
} Curve;

/* Between texts there is nothing to draw a line through */
static FwMark MarkOn(const FwSliceAxis *x, FwMark mark)
{
  if (!x->text) return mark;
  return mark == FW_MARK_DASHED ? FW_MARK_OPEN : FW_MARK_FILLED;
}

static PetscErrorCode AddOne(const FwSlice *slice, const Curve *curve, const double value[], FwPanel *panel)
{
  const FwSliceAxis *x      = &slice->x;
  const FwFamily     family = FwSliceFamily(&slice->family);
  char               title[FW_LABEL_SIZE];

  PetscFunctionBegin;
  if (slice->family.n == 1) {
    PetscCall(FwPanelAdd(panel, MarkOn(x, curve->mark), curve->colour, curve->title, x->n, x->value, value, NULL));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt c = 0; c < family.n; c++) {
    FwSliceFormat(&slice->family, family.at[c], title);
    PetscCall(FwPanelAddShaded(panel, MarkOn(x, curve->mark), family.shade[c], curve->is_named ? title : "", x->n,
                               x->value, value + family.at[c] * x->n));
  }
  if (!curve->is_named) PetscCall(FwPanelAdd(panel, curve->mark, FW_GRAY, curve->title, 0, NULL, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Infinite information has no place in a picture */
static PetscErrorCode AddCurve(const FwSlice *slice, const Curve *curve, FwPanel *panel)
{
  PetscBool has;
  double   *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, curve->name, &has, &value));
  if (has) PetscCall(AddOne(slice, curve, value, panel));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillCurves(const FwSlice *slice, const char title[], const char y_label[], PetscInt n,
                                 const Curve curve[], PetscBool from_zero, FwFigure *figure)
{
  FwPanel *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(slice, title, y_label, figure, &panel));
  for (PetscInt c = 0; c < n; c++) PetscCall(AddCurve(slice, &curve[c], panel));
  FwPanelScale(from_zero, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether two arrays differ anywhere in the slice */
static PetscErrorCode Differ(const FwSlice *slice, const char name[], const char other[], PetscBool *differ)
{
  PetscBool has;
  double   *a, *b;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, name, &has, &a));
  PetscCall(FwSliceGetMean(slice, other, &has, &b));
  *differ = PETSC_FALSE;
  for (PetscInt64 i = 0; i < slice->family.n * slice->x.n; i++)
    if (fabs(a[i] - b[i]) > 1e-9 * fabs(a[i])) *differ = PETSC_TRUE;
  PetscCall(PetscFree(a));
  PetscCall(PetscFree(b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Errors(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"error",       FW_MARK_LINE,   FW_BLUE,   "best learner",    PETSC_TRUE },
    {"error_floor", FW_MARK_DASHED, FW_BLUE,   "α → ∞",      PETSC_FALSE},
    {"error_amp",   FW_MARK_THIN,   FW_ORANGE, "message passing", PETSC_FALSE},
  };
  PetscBool differ = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(Differ(slice, "error", "error_amp", &differ));
  PetscCall(
    FillCurves(slice, "Error of the best learner", "error of a new label", differ ? 3 : 2, curves, PETSC_TRUE, figure));
  PetscCall(FwPanelAddTrials(slice, &figure->panel[figure->n_panel - 1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Information(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"information_network", FW_MARK_LINE,   FW_BLUE,   "all weights", PETSC_TRUE },
    {"information_linear",  FW_MARK_DASHED, FW_ORANGE, "linear part", PETSC_FALSE},
  };

  PetscFunctionBegin;
  PetscCall(FillCurves(slice, "Mutual information with the data", "nat per example", 2, curves, PETSC_TRUE, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Over the family where it does not depend on x */
static PetscErrorCode Fill_Learnable(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curve  = {"learnable_fraction", FW_MARK_LINE_DOT, FW_BLUE, "", PETSC_TRUE};
  const FwSliceAxis *family = &slice->family;
  FwPanel           *panel;
  PetscBool          has, varies = PETSC_FALSE;
  double            *value, *first;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, curve.name, &has, &value));
  for (PetscInt64 i = 0; i < family->n * slice->x.n; i++)
    if (fabs(value[i] - value[i - i % slice->x.n]) > 1e-12) varies = PETSC_TRUE;
  if (varies) {
    PetscCall(FillCurves(slice, "What can be learnt", "linear part of the variance", 1, &curve, PETSC_TRUE, figure));
  } else {
    const FwSlice over_family = {.x = *family, .family = {.n = 1}};

    PetscCall(PetscMalloc1((size_t)family->n, &first));
    for (PetscInt64 c = 0; c < family->n; c++) first[c] = value[c * slice->x.n];
    PetscCall(FwSlicePanel(&over_family, "What can be learnt", "linear part of the variance", figure, &panel));
    PetscCall(AddOne(&over_family, &curve, first, panel));
    FwPanelScale(PETSC_TRUE, panel);
    PetscCall(PetscFree(first));
  }
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Transitions(const FwSlice *slice, FwFigure *figure)
{
  static const Curve curves[] = {
    {"weak_recovery",         FW_MARK_LINE, FW_GRAY,   "weak recovery",    PETSC_FALSE},
    {"spinodal_low",          FW_MARK_THIN, FW_ORANGE, "spinodals",        PETSC_FALSE},
    {"spinodal_high",         FW_MARK_THIN, FW_ORANGE, "",                 PETSC_FALSE},
    {"information_theoretic", FW_MARK_LINE, FW_BLUE,   "optimal recovery", PETSC_TRUE },
  };
  FwSlice one = *slice;

  PetscFunctionBegin;
  one.family.n = 1; /* of several the first */
  PetscCall(FillCurves(&one, "Transitions", "examples per input, α = n/d", 4, curves, PETSC_FALSE, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether x is alpha */
static PetscErrorCode IsOverAlpha(const FwSlice *slice, PetscBool *is_over)
{
  PetscBool has;
  double   *alpha;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "alpha", &has, &alpha));
  *is_over = has;
  for (PetscInt64 i = 0; i < slice->x.n; i++)
    if (!(fabs(alpha[i] - slice->x.value[i]) <= 1e-12 * slice->x.value[i])) *is_over = PETSC_FALSE;
  PetscCall(PetscFree(alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A transition of each network as a line on the map over alpha; none where there is none */
static PetscErrorCode AddTransition(const FwSlice *slice, const Curve *curve, FwPanel *panel)
{
  const FwSliceAxis *family = &slice->family;
  PetscBool          has;
  PetscInt64         n = 0;
  double            *value, *x, *y;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, curve->name, &has, &value));
  PetscCall(PetscMalloc2((size_t)family->n, &x, (size_t)family->n, &y));
  for (PetscInt64 c = 0; c < family->n && has; c++) {
    const double alpha = value[c * slice->x.n];

    if (!(alpha > panel->x_range[0] && alpha < panel->x_range[1])) continue;
    x[n]   = alpha;
    y[n++] = family->value[c];
  }
  if (n > 1) PetscCall(FwPanelAdd(panel, curve->mark, curve->colour, curve->title, n, x, y, NULL));
  PetscCall(PetscFree2(x, y));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Map(const FwSlice *slice, FwFigure *figure)
{
  static const Curve transitions[] = {
    {"weak_recovery",         FW_MARK_DASHED, FW_BLACK,  "weak recovery",                  PETSC_FALSE},
    {"information_theoretic", FW_MARK_LINE,   FW_BLACK,  "optimal recovery",               PETSC_FALSE},
    {"spinodal_high",         FW_MARK_LINE,   FW_ORANGE, "and reached by message passing", PETSC_FALSE},
  };
  PetscBool has, is_over_alpha = PETSC_FALSE;
  double   *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "error", &has, &value));
  PetscCall(FwFigureAddMap(slice, "Error of the best learner", PETSC_FALSE, value, figure));
  PetscCall(IsOverAlpha(slice, &is_over_alpha));
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(transitions) && is_over_alpha; t++)
    PetscCall(AddTransition(slice, &transitions[t], &figure->panel[figure->n_panel - 1]));
  figure->panel[figure->n_panel - 1].is_legend_outside = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which ----------------------------------------------------------------------------------------------------------------- */

/* What a slice has to show in `needs`: a number; numbers that differ between networks, or over x; a map */
typedef enum { ANY, NETWORKS, OVER_X, BOTH_AXES } Wants;

static const struct {
  const char *name, *needs;
  Wants       wants;
  PetscErrorCode (*fill)(const FwSlice *, FwFigure *);
} figures[] = {
  {"errors",      "error",                     ANY,       Fill_Errors        },
  {"experiment",  "/optimal/experiment/error", ANY,       FwFigureFill_Trials},
  {"information", "information_linear",        ANY,       Fill_Information   },
  {"learnable",   "learnable_fraction",        NETWORKS,  Fill_Learnable     },
  {"transitions", "weak_recovery",             OVER_X,    Fill_Transitions   },
  {"map",         "error",                     BOTH_AXES, Fill_Map           },
};

enum { N_FIGURE = PETSC_STATIC_ARRAY_LENGTH(figures) };

static PetscErrorCode IsAvailable(const FwSlice *slice, int f, PetscBool *is_available)
{
  const PetscInt64 n      = slice->x.n * (figures[f].wants == OVER_X ? 1 : slice->family.n);
  PetscBool        varies = PETSC_FALSE;
  double          *value;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, figures[f].needs, is_available, &value));
  for (PetscInt64 i = 1; i < n && *is_available; i++)
    if (fabs(value[i] - value[0]) > 1e-9 * fabs(value[0])) varies = PETSC_TRUE;
  PetscCall(PetscFree(value));
  if (figures[f].wants == NETWORKS || figures[f].wants == OVER_X) *is_available = (PetscBool)(*is_available && varies);
  if (figures[f].wants == BOTH_AXES)
    *is_available =
      (PetscBool)(*is_available && PetscMin(slice->x.n, slice->family.n) > 2 && !slice->x.text && !slice->family.text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill(const void *slice, PetscInt f, FwFigure *figure)
{
  PetscFunctionBegin;
  PetscCall(figures[f].fill(slice, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillScan(FwStore store, const char name[], FwFigure *figure)
{
  FwFigureChoice choice[N_FIGURE];
  FwSlice        slice;

  PetscFunctionBegin;
  PetscCall(FwSliceFind(store, &slice));
  PetscCall(PetscStrncpy(figure->title, slice.fixed, FW_LABEL_SIZE));
  for (int f = 0; f < N_FIGURE; f++) {
    choice[f] = (FwFigureChoice){.name = figures[f].name, .is_in_overview = PETSC_TRUE};
    PetscCall(IsAvailable(&slice, f, &choice[f].is_available));
  }
  PetscCall(FwFigureFillChosen(name, N_FIGURE, choice, Fill, &slice, figure));
  PetscCall(FwSliceClear(&slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Optimal(FwStore store, const char name[], PetscBool is_scan, FwFigure *figure)
{
  PetscFunctionBegin;
  PetscCall(is_scan ? FillScan(store, name, figure) : FillPoint(store, name, figure));
  PetscFunctionReturn(PETSC_SUCCESS);
}
