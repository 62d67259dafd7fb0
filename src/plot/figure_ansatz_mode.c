/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz about what is learnt: the modes that weight decay leaves, and what training adds to W_1.
 */

#include "figure_ansatz.h"

#include <math.h>

/* --- modes over the decay ------------------------------------------------------------------------------------------------ */

enum { MODE_MAX = 6 };

/* Of one value of the family: [x.n][n_mode] */
typedef struct {
  PetscInt64 n_mode;
  double    *measured, *theory, *critical;
} Modes;

/* Singular values of the product, whose square is the AGOP */
static PetscErrorCode ReadModes(const FwTrained *f, Modes *m)
{
  const PetscInt64 n_point = f->slice.x.n * f->slice.family.n;
  PetscInt64       n_each, n;
  double          *eigenvalue;

  PetscFunctionBegin;
  PetscCall(FwSliceGet(&f->slice, "mode_product", &m->n_mode, &m->theory));
  PetscCall(FwSliceGet(&f->slice, "mode_critical_decay", &n, &m->critical));
  PetscCall(FwSliceGet(&f->slice, "agop_eigenvalue", &n_each, &eigenvalue));
  n = n_each / (f->n_seed * f->n_time);
  PetscCheck(n >= m->n_mode, PETSC_COMM_WORLD, FW_ERR_FILE,
             "the group /ansatz of this file has %lld modes and %lld eigenvalues", (long long)m->n_mode, (long long)n);
  PetscCall(PetscMalloc1((size_t)(n_point * m->n_mode), &m->measured));
  for (PetscInt64 p = 0; p < n_point; p++)
    for (PetscInt64 j = 0; j < m->n_mode; j++)
      m->measured[p * m->n_mode + j] = sqrt(FwTrainedMean(f, eigenvalue, n, p, FwTrainedLastTime(f, p), j));
  PetscCall(PetscFree(eigenvalue));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreeModes(Modes *m)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(m->theory));
  PetscCall(PetscFree(m->critical));
  PetscCall(PetscFree(m->measured));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* It is the same at every decay; points that failed have none */
static double CriticalOf(const FwSliceAxis *x, const Modes *m, PetscInt64 first, PetscInt64 j)
{
  double critical = NAN;

  for (PetscInt64 i = 0; i < x->n && isnan(critical); i++) critical = m->critical[(first + i) * m->n_mode + j];
  return critical;
}

/* The line ends where the mode does */
static PetscErrorCode AddMode(const FwSliceAxis *x, const Modes *m, PetscInt64 first, PetscInt64 j, FwPanel *panel)
{
  const PetscInt64 n     = PetscMin(m->n_mode, MODE_MAX);
  const double     shade = n > 1 ? 0.88 * (double)j / (double)(n - 1) : 0.0, critical = CriticalOf(x, m, first, j);
  char             title[FW_LABEL_SIZE];
  double          *y, *theory;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)x->n, &y, (size_t)x->n, &theory));
  for (PetscInt64 i = 0; i < x->n; i++) {
    const PetscInt64 at = (first + i) * m->n_mode + j;

    y[i]      = m->measured[at];
    theory[i] = m->theory[at] > 0.0 ? m->theory[at] : NAN;
  }
  PetscCall(PetscSNPrintf(title, sizeof title, "mode %d", (int)j + 1));
  PetscCall(FwPanelAddShaded(panel, FW_MARK_FILLED, shade, title, x->n, x->value, y));
  PetscCall(FwPanelAddShaded(panel, FW_MARK_LINE, shade, "", x->n, x->value, theory));
  if (critical > panel->x_range[0] && critical < panel->x_range[1])
    PetscCall(FwPanelAddShaded(panel, FW_MARK_VERTICAL, shade, "", 1, &critical, NULL));
  PetscCall(PetscFree2(y, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddModes(const FwTrained *f, const Modes *m, PetscInt64 at, FwFigure *figure)
{
  const FwSliceAxis *family = &f->slice.family;
  FwPanel           *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(&f->slice, "Modes at the end", "singular value of W_L…W₁", figure, &panel));
  if (family->n > 1) FwTrainedPoint(family, at, panel->title);
  panel->legend_title[0] = '\0';
  for (PetscInt64 j = 0; j < PetscMin(m->n_mode, MODE_MAX); j++)
    PetscCall(AddMode(&f->slice.x, m, at * f->slice.x.n, j, panel));
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE, FW_GRAY, "theory", 0, NULL, NULL, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "critical μ", 0, NULL, NULL, NULL));
  panel->has_y_range = PETSC_TRUE;
  for (PetscInt s = 0; s < panel->n_series; s++)
    for (PetscInt64 i = 0; i < panel->series[s].n && panel->series[s].y; i++)
      if (isfinite(panel->series[s].y[i])) panel->y_range[1] = fmax(panel->y_range[1], 1.08 * panel->series[s].y[i]);
  panel->y_range[0] = -0.03 * panel->y_range[1]; /* dots at zero are seen whole */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedFill_Collapse(const FwTrained *f, FwFigure *figure)
{
  Modes modes;

  PetscFunctionBegin;
  PetscCall(ReadModes(f, &modes));
  for (PetscInt64 at = 0; at < f->slice.family.n && figure->n_panel < FW_PANEL_MAX; at++)
    PetscCall(AddModes(f, &modes, at, figure));
  PetscCall(FreeModes(&modes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what training adds ----------------------------------------------------------------------------------------------------- */

static PetscInt64 FindOne(const FwTrained *f)
{
  PetscInt64 a = 0;

  for (PetscInt64 k = 1; k < f->n_alpha; k++)
    if (fabs(f->alpha[k] - 1.0) < fabs(f->alpha[a] - 1.0)) a = k;
  return a;
}

/* Of W_1 and of its change, which are compared with the AGOP as it is; W_1 at the alpha nearest to one */
PetscErrorCode FwTrainedFill_Update(const FwTrained *f, FwFigure *figure)
{
  const FwSliceAxis *x      = &f->slice.x;
  const FwFamily     family = FwSliceFamily(&f->slice.family);
  const PetscInt64   a      = FindOne(f);
  PetscInt64         n_each, n_update;
  double            *value, *update, *y;
  char               title[FW_LABEL_SIZE] = "";
  FwPanel           *panel;

  PetscFunctionBegin;
  PetscCall(FwSlicePanel(&f->slice, "What training adds", "cosine with the AGOP", figure, &panel));
  PetscCall(FwSliceGet(&f->slice, "similarity", &n_each, &value));
  PetscCall(FwSliceGet(&f->slice, "update_similarity", &n_update, &update));
  PetscCall(PetscMalloc1((size_t)x->n, &y));
  for (PetscInt c = 0; c < family.n; c++) {
    const PetscInt64 first = family.at[c] * x->n;

    if (f->slice.family.n > 1) FwSliceFormat(&f->slice.family, family.at[c], title);
    for (PetscInt64 i = 0; i < x->n; i++)
      y[i] = FwTrainedMean(f, update, 1, first + i, FwTrainedLastTime(f, first + i), 0);
    PetscCall(FwPanelAddShaded(panel, FW_MARK_LINE_DOT, family.shade[c], title, x->n, x->value, y));
    for (PetscInt64 i = 0; i < x->n; i++)
      y[i] = FwTrainedMean(f, value, f->n_alpha, first + i, FwTrainedLastTime(f, first + i), a);
    PetscCall(FwPanelAddShaded(panel, FW_MARK_DASHED, family.shade[c], "", x->n, x->value, y));
    PetscCall(FwPanelAddShaded(panel, FW_MARK_OPEN, family.shade[c], "", x->n, x->value, y));
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_LINE_DOT, FW_GRAY, "of W₁ − W₁(0)", 0, NULL, NULL, NULL));
  PetscCall(FwPanelAdd(panel, FW_MARK_DASHED, FW_GRAY, "of W₁", 0, NULL, NULL, NULL));
  FwPanelScale(PETSC_TRUE, panel);
  PetscCall(FwTrainedLogAxis(x, panel));
  PetscCall(PetscFree(y));
  PetscCall(PetscFree(value));
  PetscCall(PetscFree(update));
  PetscFunctionReturn(PETSC_SUCCESS);
}
