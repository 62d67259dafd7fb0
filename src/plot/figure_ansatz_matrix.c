/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /ansatz in colours: maps over two axes, and the two matrices.
 */

#include "figure_ansatz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- over two axes --------------------------------------------------------------------------------------------------------- */

/* Names side by side have room for nine numbers */
static void NamePlace(const FwSliceAxis *axis, PetscInt64 i, char text[FW_LABEL_SIZE])
{
  if (!axis->text && i % (1 + (axis->n - 1) / 9))
    text[0] = '\0';
  else if (FwSliceIsAxis(axis, "depth"))
    (void)snprintf(text, FW_LABEL_SIZE, "%g", axis->value[i] + 1.0);
  else
    FwSliceFormat(axis, i, text);
}

/* Cells of one size, whatever the values: a decay of 0 has no logarithm */
static PetscErrorCode NamePlaces(const FwSliceAxis *axis, FwSliceAxis *places)
{
  char *room;

  PetscFunctionBegin;
  *places = *axis;
  if (FwSliceIsAxis(axis, "depth")) PetscCall(PetscStrncpy(places->label, "weight matrices L", FW_LABEL_SIZE));
  PetscCall(PetscMalloc1((size_t)axis->n, &places->value));
  PetscCall(PetscMalloc2((size_t)axis->n, &places->text, (size_t)axis->n * FW_LABEL_SIZE, &room));
  for (PetscInt64 i = 0; i < axis->n; i++) {
    places->value[i]                = (double)i;
    places->text[axis->position[i]] = room + i * FW_LABEL_SIZE;
    NamePlace(axis, i, places->text[axis->position[i]]);
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

PetscErrorCode FwTrainedFill_Map(const FwTrained *f, FwFigure *figure)
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
    for (PetscInt64 i = 0; i < f->slice.x.n * f->slice.family.n; i++)
      if (f->collapsed[i] > 0.5) value[i] = NAN;
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
static PetscErrorCode AddPixels(const FwTrained *f, const char name[], const char title[], const double sizes[3],
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
  PetscCall(FwPanelDescribe(panel, full, "column", "row"));
  PetscCall(FwPanelSetGrid(panel, (PetscInt64)sizes[2], (PetscInt64)sizes[1], pixel));
  panel->map.is_centred = PETSC_FALSE;
  panel->map.range[0]   = 0.0;
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddMatrix(const FwTrained *f, const char name[], const char title[], FwFigure *figure)
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

static PetscErrorCode GetImage(const FwTrained *f, double sizes[3], PetscBool *is_image)
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

/* The theory has them equal: colours are the same in both */
static void ShareRange(FwMap *a, FwMap *b)
{
  const double low = fmin(a->range[0], b->range[0]), high = fmax(a->range[1], b->range[1]);

  a->range[0] = b->range[0] = low;
  a->range[1] = b->range[1] = high;
}

PetscErrorCode FwTrainedFill_Matrices(const FwTrained *f, FwFigure *figure)
{
  double    sizes[3];
  PetscBool is_image;

  PetscFunctionBegin;
  PetscCall(GetImage(f, sizes, &is_image));
  for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(pictures); p++)
    PetscCall(is_image ? AddPixels(f, pictures[p][1], pictures[p][2], sizes, figure)
                       : AddMatrix(f, pictures[p][0], pictures[p][2], figure));
  ShareRange(&figure->panel[figure->n_panel - 2].map, &figure->panel[figure->n_panel - 1].map);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrainedIsImage(const FwTrained *f, PetscBool *is_image)
{
  double sizes[3];

  PetscFunctionBegin;
  PetscCall(GetImage(f, sizes, is_image));
  PetscFunctionReturn(PETSC_SUCCESS);
}
