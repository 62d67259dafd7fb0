/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Figures of the group /mixture/posterior: the law of q before and after the data, predictions of the network beside
 * those of the infinitely wide one, and over a scan evidence and scale.
 */

#include "array.h"
#include "slice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES_MAX = 40 }; /* bands of more are a blur */

static const char home[] = "/mixture/posterior/";

/* --- the law of q ------------------------------------------------------------------------------------------- */

static PetscErrorCode AddDensity(FwStore store, const char prefix[], const char curve[], FwMark mark, FwColour colour,
                                 const char title[], FwPanel *panel)
{
  char    name[64];
  FwArray x, y;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(name, sizeof name, "%scurve_log_q", prefix));
  PetscCall(FwArrayGet(store, home, name, &x));
  PetscCall(PetscSNPrintf(name, sizeof name, "%scurve_%s", prefix, curve));
  PetscCall(FwArrayGet(store, home, name, &y));
  if (x.n && x.n == y.n) PetscCall(FwPanelAdd(panel, mark, colour, title, x.n, x.value, y.value, NULL));
  PetscCall(PetscFree(x.value));
  PetscCall(PetscFree(y.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Density(FwStore store, FwPanel *panel)
{
  const double zero = 0.0;

  PetscFunctionBegin;
  PetscCall(FwPanelDescribe(panel, "Law of the scale q", "log q", "density"));
  panel->is_legend_outside = PETSC_TRUE;
  PetscCall(FwPanelAdd(panel, FW_MARK_VERTICAL, FW_GRAY, "infinite width", 1, &zero, NULL, NULL));
  PetscCall(AddDensity(store, "limit_", "prior", FW_MARK_DASHED, FW_ORANGE, "limit, prior", panel));
  PetscCall(AddDensity(store, "limit_", "posterior", FW_MARK_LINE, FW_ORANGE, "limit, posterior", panel));
  PetscCall(AddDensity(store, "", "prior", FW_MARK_DASHED, FW_BLUE, "network, prior", panel));
  PetscCall(AddDensity(store, "", "posterior", FW_MARK_LINE, FW_BLUE, "network, posterior", panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

/* Of the first output: mean and its standard deviation for one law */
typedef struct {
  FwArray mean, covariance;
} Law;

static PetscErrorCode GetLaw(FwStore store, const char prefix[], Law *law)
{
  char name[64];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(name, sizeof name, "%spredictive_mean", prefix));
  PetscCall(FwArrayGet(store, home, name, &law->mean));
  PetscCall(PetscSNPrintf(name, sizeof name, "%spredictive_covariance", prefix));
  PetscCall(FwArrayGet(store, home, name, &law->covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ClearLaw(Law *law)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(law->mean.value));
  PetscCall(PetscFree(law->covariance.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  double     mean;
  PetscInt64 example;
} Place;

static int ComparePlaces(const void *a, const void *b)
{
  const Place *left = a, *right = b;

  return left->mean != right->mean ? (left->mean > right->mean) - (left->mean < right->mean)
                                   : (left->example > right->example) - (left->example < right->example);
}

/* Mean, or an edge of the band of +- 2 deviations, in the order of `place` */
static PetscErrorCode AddCurve(const Law *law, PetscInt64 n_output, double deviations, PetscInt64 n,
                               const Place place[], FwMark mark, FwColour colour, const char title[], FwPanel *panel)
{
  double x[EXAMPLES_MAX], y[EXAMPLES_MAX];

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++) {
    const PetscInt64 t = place[i].example;

    x[i] = (double)(i + 1);
    y[i] = law->mean.value[t * n_output] + deviations * sqrt(law->covariance.value[t * n_output * n_output]);
  }
  PetscCall(FwPanelAdd(panel, mark, colour, title, n, x, y, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddBand(const Law *law, PetscInt64 n_output, PetscInt64 n, const Place place[], FwColour colour,
                              const char title[], FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(AddCurve(law, n_output, 0.0, n, place, FW_MARK_LINE, colour, title, panel));
  PetscCall(AddCurve(law, n_output, 2.0, n, place, FW_MARK_DASHED, colour, "", panel));
  PetscCall(AddCurve(law, n_output, -2.0, n, place, FW_MARK_DASHED, colour, "", panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddTargets(const FwArray *target, PetscInt64 n_output, PetscInt64 n, const Place place[],
                                 FwPanel *panel)
{
  double x[EXAMPLES_MAX], y[EXAMPLES_MAX];

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i++) {
    x[i] = (double)(i + 1);
    y[i] = target->value[place[i].example * n_output];
  }
  PetscCall(FwPanelAdd(panel, FW_MARK_FILLED, FW_BLACK, "target", n, x, y, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first test examples, in the order of their predicted means */
static PetscErrorCode Fill_Band(FwStore store, FwPanel *panel)
{
  Law        network, infinite;
  FwArray    target;
  PetscInt64 n_output, n;
  Place      place[EXAMPLES_MAX];

  PetscFunctionBegin;
  PetscCall(GetLaw(store, "", &network));
  PetscCall(GetLaw(store, "infinite_", &infinite));
  PetscCall(FwArrayGet(store, home, "test_target", &target));
  PetscCheck(network.mean.n && network.mean.n == target.n && infinite.mean.n == target.n, PETSC_COMM_WORLD,
             FW_ERR_INPUT, "figure 'band': the file does not hold predictions and targets of test examples");
  n_output = network.covariance.n / network.mean.n;
  n        = PetscMin(target.n / n_output, (PetscInt64)EXAMPLES_MAX);
  for (PetscInt64 i = 0; i < n; i++) place[i] = (Place){network.mean.value[i * n_output], i};
  qsort(place, (size_t)n, sizeof *place, ComparePlaces);
  PetscCall(FwPanelDescribe(panel, "Prediction, mean ± 2 deviations", "test example, by predicted mean",
                            n_output > 1 ? "first output" : "output"));
  panel->is_legend_outside = PETSC_TRUE;
  PetscCall(AddBand(&infinite, n_output, n, place, FW_ORANGE, "infinite width", panel));
  PetscCall(AddBand(&network, n_output, n, place, FW_BLUE, "network", panel));
  PetscCall(AddTargets(&target, n_output, n, place, panel));
  PetscCall(ClearLaw(&network));
  PetscCall(ClearLaw(&infinite));
  PetscCall(PetscFree(target.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a scan ------------------------------------------------------------------------------------------------- */

/* The first entry of an array over the first axis, for the value of the second axis in the middle; nothing where the
   file has no such array */
static PetscErrorCode AddOverAxis(const FwSlice *slice, const char name[], FwMark mark, FwColour colour,
                                  const char title[], FwPanel *panel)
{
  const PetscInt64 start = slice->family.n / 2 * slice->x.n;
  char             path[128];
  PetscInt64       n_each;
  double          *value, *first;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, sizeof path, "/mixture/posterior/%s", name));
  PetscCall(FwSliceGet(slice, path, &n_each, &value));
  if (!n_each) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)slice->x.n, &first));
  for (PetscInt64 i = 0; i < slice->x.n; i++) first[i] = value[(start + i) * n_each];
  PetscCall(FwPanelAdd(panel, mark, colour, title, slice->x.n, slice->x.value, first, NULL));
  PetscCall(PetscFree(first));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StartPanel(const FwSlice *slice, const char title[], const char y_label[], FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(FwPanelDescribe(panel, title, slice->x.label, y_label));
  PetscCall(FwSliceTicks(&slice->x, &panel->x_tick));
  panel->is_log_x          = slice->x.is_log;
  panel->is_legend_outside = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Evidence(const FwSlice *slice, FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(StartPanel(slice, "Evidence", "log p(Y)", panel));
  PetscCall(AddOverAxis(slice, "infinite_log_evidence", FW_MARK_DASHED, FW_GRAY, "infinite width", panel));
  PetscCall(AddOverAxis(slice, "limit_log_evidence", FW_MARK_DASHED, FW_ORANGE, "limit", panel));
  PetscCall(AddOverAxis(slice, "log_evidence", FW_MARK_LINE_DOT, FW_BLUE, "network", panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Scale(const FwSlice *slice, FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(StartPanel(slice, "Posterior mean of Q₁₁", "E Q₁₁", panel));
  PetscCall(AddOverAxis(slice, "limit_mean_q", FW_MARK_DASHED, FW_ORANGE, "limit", panel));
  PetscCall(AddOverAxis(slice, "saddle_q", FW_MARK_CROSS, FW_GREEN, "saddle point", panel));
  PetscCall(AddOverAxis(slice, "mean_q", FW_MARK_LINE_DOT, FW_BLUE, "network", panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fill_Error(const FwSlice *slice, FwPanel *panel)
{
  PetscFunctionBegin;
  PetscCall(StartPanel(slice, "Test error", "bias + variance", panel));
  PetscCall(AddOverAxis(slice, "infinite_test_error", FW_MARK_DASHED, FW_GRAY, "infinite width", panel));
  PetscCall(AddOverAxis(slice, "limit_test_error", FW_MARK_DASHED, FW_ORANGE, "limit", panel));
  PetscCall(AddOverAxis(slice, "saddle_test_error", FW_MARK_CROSS, FW_GREEN, "saddle point", panel));
  PetscCall(AddOverAxis(slice, "test_error", FW_MARK_LINE_DOT, FW_BLUE, "network", panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- which -------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name, *needs;
  PetscErrorCode (*fill)(FwStore, FwPanel *);              /* of one point */
  PetscErrorCode (*fill_scan)(const FwSlice *, FwPanel *); /* of a scan */
} figures[] = {
  {"posterior", "curve_posterior", Fill_Density, NULL         },
  {"band",      "test_target",     Fill_Band,    NULL         },
  {"evidence",  "log_evidence",    NULL,         Fill_Evidence},
  {"scale",     "mean_q",          NULL,         Fill_Scale   },
  {"test",      "test_error",      NULL,         Fill_Error   },
};

static PetscErrorCode IsAvailable(FwStore store, size_t f, PetscBool is_scan, PetscBool *is_available)
{
  char path[128];

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, sizeof path, "/mixture/posterior/%s", figures[f].needs));
  PetscCall(FwStoreHas(store, path, is_available));
  if (is_scan ? !figures[f].fill_scan : !figures[f].fill) *is_available = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureFill_Posterior(FwStore store, const char name[], FwFigure *figure)
{
  const PetscBool is_overview = (!name || !strcmp(name, "overview")) ? PETSC_TRUE : PETSC_FALSE;
  PetscBool       is_scan, is_available;
  FwSlice         slice;

  PetscFunctionBegin;
  PetscCall(FwFigureIsScan(store, &is_scan));
  if (is_scan) PetscCall(FwSliceFind(store, &slice));
  for (size_t f = 0; f < PETSC_STATIC_ARRAY_LENGTH(figures); f++) {
    FwPanel *panel;

    PetscCall(IsAvailable(store, f, is_scan, &is_available));
    if (!is_available || !(is_overview || !strcmp(name, figures[f].name))) continue;
    PetscCall(FwFigureAddPanel(figure, &panel));
    PetscCall(is_scan ? figures[f].fill_scan(&slice, panel) : figures[f].fill(store, panel));
  }
  if (is_scan) PetscCall(PetscStrncpy(figure->title, slice.fixed, FW_LABEL_SIZE));
  if (is_scan) PetscCall(FwSliceClear(&slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}
