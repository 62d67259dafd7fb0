/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sampled values over predicted curves, and how far the two agree.
 */

#include "slice.h"

#include <math.h>
#include <string.h>

PetscErrorCode FwSliceHasSamples(const FwSlice *slice, PetscBool *has)
{
  PetscFunctionBegin;
  PetscCall(FwStoreHas(slice->store, "/sample/train_error", has));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A quantity of a group with its error bars and whether its chains converged, [family.n][x.n]; NULL where there is none */
static PetscErrorCode GetSampled(const FwSlice *slice, const char group[], const char name[], double **value,
                                 double **error, double **converged)
{
  char      path[FW_LABEL_SIZE];
  PetscBool has, has_error;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", group, name));
  PetscCall(FwSliceGetMean(slice, path, &has, value));
  if (strcmp(name, "error") == 0) /* the bar of what has no other name */
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/error_bar", group));
  else
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s_error_bar", group, name));
  PetscCall(FwSliceGetMean(slice, path, &has_error, error));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/converged", group));
  PetscCall(FwSliceGetMean(slice, path, &has_error, converged));
  if (has) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(*value));
  PetscCall(PetscFree(*error));
  PetscCall(PetscFree(*converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasEntry(const FwPanel *panel, const char title[])
{
  for (PetscInt s = 0; s < panel->n_series; s++)
    if (!strcmp(panel->series[s].title, title)) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Dots with bars, and crosses over those that are not to be trusted */
static PetscErrorCode AddDots(const FwSliceAxis *x, const double value[], const double error[],
                              const double converged[], FwColour colour, double shade, const char title[],
                              FwPanel *panel)
{
  const char *const cross = "not converged";
  double           *cross_x, *cross_y;
  PetscInt64        n = 0;

  PetscFunctionBegin;
  PetscCall(FwPanelAdd(panel, FW_MARK_SAMPLED, colour, title, x->n, x->value, value, error));
  panel->series[panel->n_series - 1].shade = shade;
  PetscCall(PetscMalloc2((size_t)x->n, &cross_x, (size_t)x->n, &cross_y));
  for (PetscInt64 i = 0; i < x->n; i++)
    if (isfinite(value[i]) && converged[i] != 1.0) {
      cross_x[n]   = x->value[i];
      cross_y[n++] = value[i];
    }
  if (n)
    PetscCall(
      FwPanelAdd(panel, FW_MARK_CROSS, FW_BLACK, HasEntry(panel, cross) ? "" : cross, n, cross_x, cross_y, NULL));
  PetscCall(PetscFree2(cross_x, cross_y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPanelAddSampled(const FwSlice *slice, const char group[], const char name[], PetscInt64 curve,
                                 FwColour colour, double shade, const char title[], FwPanel *panel)
{
  const PetscInt64 first = curve * slice->x.n;
  double          *value, *error, *converged;

  PetscFunctionBegin;
  PetscCall(GetSampled(slice, group, name, &value, &error, &converged));
  if (value)
    PetscCall(AddDots(&slice->x, value + first, error + first, converged + first, colour, shade, title, panel));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(error));
  PetscCall(PetscFree(converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- agreement ---------------------------------------------------------------------------------------------- */

/* Predicted over sampled test error, with the error bar of the sampled one, [family.n][x.n] */
typedef struct {
  double *ratio, *error, *converged;
} Agreement;

static PetscErrorCode GetAgreement(const FwSlice *slice, Agreement *a)
{
  const PetscInt64 n = slice->family.n * slice->x.n;
  PetscBool        has;
  double          *predicted, *sampled;

  PetscFunctionBegin;
  PetscCall(FwSliceGetMean(slice, "test_error", &has, &predicted));
  PetscCall(GetSampled(slice, "/sample", "test_error", &sampled, &a->error, &a->converged));
  for (PetscInt64 i = 0; i < n; i++) {
    predicted[i] /= sampled[i];
    a->error[i] *= predicted[i] / sampled[i];
  }
  a->ratio = predicted;
  PetscCall(PetscFree(sampled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One line per value of the family; of more than fit, the first */
static PetscErrorCode AddRatios(const FwSlice *slice, const Agreement *a, FwFigure *figure)
{
  const PetscInt64 n_curve = PetscMin(slice->family.n, FW_CURVE_MAX);
  const double     ones[]  = {1.0, 1.0};
  FwPanel         *panel;
  char             title[FW_LABEL_SIZE] = "";

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(slice, "Where the theory holds", "test error, predicted / sampled", figure, &panel));
  for (PetscInt64 c = 0; c < n_curve; c++) {
    const double shade  = 0.28 * (double)PetscMin(n_curve, 3) * (n_curve > 1 ? (double)c / (double)(n_curve - 1) : 0.0);
    const PetscInt64 at = c * slice->x.n;

    if (slice->family.n > 1) FwSliceFormat(&slice->family, c, title);
    PetscCall(AddDots(&slice->x, a->ratio + at, a->error + at, a->converged + at, FW_SHADE, shade, title, panel));
    PetscCall(FwPanelAdd(panel, FW_MARK_THIN, FW_SHADE, "", slice->x.n, slice->x.value, a->ratio + at, NULL));
    panel->series[panel->n_series - 1].shade = shade;
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_BLACK, "agreement", 2, panel->x_range, ones, NULL));
  FwPanelScale(PETSC_FALSE, panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Agreement(const FwSlice *slice, FwFigure *figure)
{
  const PetscInt64 n = slice->family.n * slice->x.n;
  Agreement        a;
  double          *percent;

  PetscFunctionBegin;
  PetscCall(GetAgreement(slice, &a));
  PetscCall(AddRatios(slice, &a, figure));
  if (PetscMin(slice->x.n, slice->family.n) >= 3) {
    PetscCall(PetscMalloc1((size_t)n, &percent));
    for (PetscInt64 i = 0; i < n; i++) percent[i] = 100.0 * (a.ratio[i] - 1.0);
    PetscCall(FwFigureAddMap(slice, "Test error, predicted − sampled, % of sampled", PETSC_TRUE, percent, figure));
  }
  PetscCall(PetscFree(a.ratio));
  PetscCall(PetscFree(a.error));
  PetscCall(PetscFree(a.converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}
