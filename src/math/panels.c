/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Piecewise Chebyshev interpolation in barycentric form, points of the first kind, panels made when visited.
 */

#include <finwidth/panels.h>

#include <math.h>

enum { PANELS_MAX = 1 << 15 };

struct FwPanelsImpl {
  double           origin, width;
  PetscInt         n_value;
  FwPanelFunction *function;
  void            *context;
  PetscInt         first, n; /* panels from `first` on have a place */
  double         **panel;    /* [n] values of a panel, or NULL */
};

PetscErrorCode FwPanelsCreate(double origin, double width, PetscInt n_value, FwPanelFunction *function, void *context,
                              FwPanels *panels)
{
  PetscFunctionBegin;
  PetscCall(PetscNew(panels));
  **panels = (struct FwPanelsImpl){
    .origin = origin, .width = width, .n_value = n_value, .function = function, .context = context};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelsDestroy(FwPanels *panels)
{
  PetscFunctionBegin;
  if (!*panels) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < (*panels)->n; i++) PetscCall(PetscFree((*panels)->panel[i]));
  PetscCall(PetscFree((*panels)->panel));
  PetscCall(PetscFree(*panels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwPanelsFind(double origin, double width, double x)
{
  return (PetscInt)floor((x - origin) / width);
}

/* The points -cos(angle) of a panel, and the factors (-1)^i sin(angle) of the barycentric weights */
typedef struct {
  double point[FW_PANEL_POINTS], factor[FW_PANEL_POINTS];
} Rule;

static const Rule *GetRule(void)
{
  static Rule rule;

  if (rule.point[0] == 0.0)
    for (int i = 0; i < FW_PANEL_POINTS; i++) {
      const double angle = (i + 0.5) * M_PI / FW_PANEL_POINTS;

      rule.point[i]  = -cos(angle);
      rule.factor[i] = (i % 2 ? -1.0 : 1.0) * sin(angle);
    }
  return &rule;
}

void FwPanelsPoints(double origin, double width, PetscInt panel, double point[FW_PANEL_POINTS])
{
  const Rule *rule = GetRule();

  for (int i = 0; i < FW_PANEL_POINTS; i++) point[i] = origin + width * (panel + 0.5 + 0.5 * rule->point[i]);
}

void FwPanelsWeights(double origin, double width, double x, double weight[FW_PANEL_POINTS])
{
  const Rule  *rule = GetRule();
  const double t    = 2.0 * ((x - origin) / width - FwPanelsFind(origin, width, x)) - 1.0; /* in [-1, 1) */
  double       sum  = 0.0;

  for (int i = 0; i < FW_PANEL_POINTS; i++) {
    const double distance = t - rule->point[i];

    if (fabs(distance) < 1e-15) {
      for (int k = 0; k < FW_PANEL_POINTS; k++) weight[k] = k == i;
      return;
    }
    weight[i] = rule->factor[i] / distance;
    sum += weight[i];
  }
  for (int i = 0; i < FW_PANEL_POINTS; i++) weight[i] /= sum;
}

/* Room for one more panel; places grow by doubling around those that are there */
static PetscErrorCode MakeRoom(FwPanels p, PetscInt index)
{
  PetscInt first, end;
  double **panel;

  PetscFunctionBegin;
  if (p->n && index >= p->first && index < p->first + p->n) PetscFunctionReturn(PETSC_SUCCESS);
  first = p->n ? PetscMin(p->first, index) : index;
  end   = p->n ? PetscMax(p->first + p->n, index + 1) : index + 1;
  if (p->n < PANELS_MAX / 8) { /* room to grow */
    if (p->n && index < p->first) first = PetscMin(first, p->first - p->n);
    if (p->n && index >= p->first + p->n) end = PetscMax(end, p->first + 2 * p->n);
  }
  PetscCheck(end - first < PANELS_MAX, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "no interpolation from panels reaches %.6g", p->origin + p->width * (double)index);
  PetscCall(PetscCalloc1(end - first, &panel));
  for (PetscInt i = 0; i < p->n; i++) panel[p->first - first + i] = p->panel[i];
  PetscCall(PetscFree(p->panel));
  p->panel = panel;
  p->first = first;
  p->n     = end - first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelsEvaluate(FwPanels p, double x, double value[])
{
  PetscInt index;
  double   weight[FW_PANEL_POINTS], **panel;

  PetscFunctionBegin;
  PetscCheck(fabs(x - p->origin) < PANELS_MAX * p->width, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "no interpolation from panels reaches %.6g", x);
  index = FwPanelsFind(p->origin, p->width, x);
  PetscCall(MakeRoom(p, index));
  panel = &p->panel[index - p->first];
  if (!*panel) {
    double point[FW_PANEL_POINTS];

    PetscCall(PetscMalloc1(FW_PANEL_POINTS * p->n_value, panel));
    FwPanelsPoints(p->origin, p->width, index, point);
    PetscCall(p->function(point, *panel, p->context));
  }
  FwPanelsWeights(p->origin, p->width, x, weight);
  for (PetscInt k = 0; k < p->n_value; k++) value[k] = 0.0;
  for (int i = 0; i < FW_PANEL_POINTS; i++)
    for (PetscInt k = 0; k < p->n_value; k++) value[k] += weight[i] * (*panel)[i * p->n_value + k];
  PetscFunctionReturn(PETSC_SUCCESS);
}
