/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Panels for expectations over a normal number.
 */

#include "normal_rule.h"

#include <math.h>
#include <string.h>

enum { BREAKS_MAX = 4096, HALF = 10 };

static const double end = 13.0;

/* Gauss-Legendre of 20 points on [-1, 1]: the positive half, exact to degree 39 */
static const double node[HALF]  = {0.0765265211334973337546404093988, 0.227785851141645078080496195369,
                                   0.373706088715419560672548177025,  0.510867001950827098004364050955,
                                   0.636053680726515025452836696226,  0.746331906460150792614305070356,
                                   0.839116971822218823394529061702,  0.912234428251325905867752441203,
                                   0.963971927277913791267666131197,  0.993128599185094924786122388471};
static const double share[HALF] = {0.152753387130725850698084331955,  0.149172986472603746787828737002,
                                   0.142096109318382051329298325067,  0.131688638449176626898494499748,
                                   0.118194531961518417312377377711,  0.101930119817240435036750135480,
                                   0.0832767415767047487247581432220, 0.0626720483341090635695065351870,
                                   0.0406014298003869413310399522749, 0.0176140071391521183118619623519};

/* Ends of panels, in any order at first */
typedef struct {
  PetscInt n;
  double   at[BREAKS_MAX];
} Breaks;

static void Add(Breaks *breaks, double at)
{
  if (fabs(at) < end && breaks->n < BREAKS_MAX - 2) breaks->at[breaks->n++] = at;
}

/* Ends at the centre and at distances that double: a panel is never longer than its distance from the feature */
static void AddFeature(Breaks *breaks, FwFeature feature, double widest)
{
  Add(breaks, feature.centre);
  if (!(feature.scale > 0.0)) return;
  for (double distance = fmax(feature.scale, 1e-300); distance < widest; distance *= 2.0) {
    Add(breaks, feature.centre - distance);
    Add(breaks, feature.centre + distance);
  }
}

static PetscErrorCode MakeRoom(PetscInt n, FwNormalRule *rule)
{
  PetscFunctionBegin;
  if (rule->n + n <= rule->room) PetscFunctionReturn(PETSC_SUCCESS);
  rule->room = 2 * rule->room + n + 1024;
  PetscCall(PetscRealloc((size_t)rule->room * sizeof *rule->x, &rule->x));
  PetscCall(PetscRealloc((size_t)rule->room * sizeof *rule->weight, &rule->weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddPanel(double from, double to, FwNormalRule *rule)
{
  const double middle = 0.5 * (from + to), half = 0.5 * (to - from);

  PetscFunctionBegin;
  PetscCall(MakeRoom(2 * HALF, rule));
  for (int i = 0; i < 2 * HALF; i++) {
    const int    k = i < HALF ? HALF - 1 - i : i - HALF;
    const double x = middle + (i < HALF ? -half : half) * node[k];

    rule->x[rule->n]        = x;
    rule->weight[rule->n++] = half * share[k] * FW_NORMAL_DENSITY * exp(-0.5 * x * x);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNormalRuleMake(PetscInt n_feature, const FwFeature feature[], double widest, FwNormalRule *rule)
{
  Breaks breaks = {0};

  PetscFunctionBegin;
  for (PetscInt f = 0; f < n_feature; f++) AddFeature(&breaks, feature[f], widest);
  const PetscInt n = (PetscInt)ceil(2.0 * end / widest);

  for (PetscInt k = 1; k < n; k++) Add(&breaks, -end + 2.0 * end * (double)k / (double)n);
  breaks.at[breaks.n++] = end;
  PetscCall(PetscSortReal(breaks.n, breaks.at));
  rule->n = 0;
  for (PetscInt k = 0; k < breaks.n; k++) {
    const double from = k ? breaks.at[k - 1] : -end;

    if (breaks.at[k] > from) PetscCall(AddPanel(from, breaks.at[k], rule));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The trapezoidal rule errs by exp(-2 pi distance / step), and by exp(-2 pi^2 / step^2) for the weight itself */
PetscErrorCode FwNormalRuleSteps(double distance, FwNormalRule *rule)
{
  const double   step = fmin(0.6, 2.0 * M_PI * distance / 38.0);
  const PetscInt half = (PetscInt)ceil(FW_NORMAL_REACH / step);

  PetscFunctionBegin;
  rule->n = 0;
  PetscCall(MakeRoom(2 * half + 1, rule));
  for (PetscInt i = -half; i <= half; i++) {
    const double x = step * (double)i;

    rule->x[rule->n]        = x;
    rule->weight[rule->n++] = step * FW_NORMAL_DENSITY * exp(-0.5 * x * x);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNormalRuleAround(double centre, double distance, FwNormalRule *rule)
{
  const FwFeature feature = {centre, distance};
  const double    near = 0.1, widest = 0.5;

  PetscFunctionBegin;
  if (distance < near)
    PetscCall(FwNormalRuleMake(1, &feature, widest, rule));
  else if (!rule->n)
    PetscCall(FwNormalRuleSteps(distance, rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwNormalRuleDestroy(FwNormalRule *rule)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(rule->x));
  PetscCall(PetscFree(rule->weight));
  memset(rule, 0, sizeof *rule);
  PetscFunctionReturn(PETSC_SUCCESS);
}
