/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Finding and reading the slice of a scan that a figure shows.
 *
 * Every point has the array `converged`, also one that failed: its axes are those of the scan.
 */

#include "slice.h"

#include "array.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the points --------------------------------------------------------------------------------------------- */

/* The array that has the axes of the scan and no others; "" where there is none */
static PetscErrorCode FindScalar(FwStore store, char path[FW_LABEL_SIZE])
{
  static const char *const names[] = {"/predict/converged", "/predict/action",    "/sample/converged",
                                      "/mixture/converged", "/optimal/converged", "/ansatz/converged"};
  PetscBool                has     = PETSC_FALSE;

  PetscFunctionBegin;
  path[0] = '\0';
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names) && !has; i++) {
    PetscCall(FwStoreHas(store, names[i], &has));
    if (has) PetscCall(PetscStrncpy(path, names[i], FW_LABEL_SIZE));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFigureIsScan(FwStore store, PetscBool *is_scan)
{
  char       path[FW_LABEL_SIZE];
  PetscInt64 n = 0;
  double    *value;

  PetscFunctionBegin;
  *is_scan = PETSC_FALSE;
  PetscCall(FindScalar(store, path));
  if (!path[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreGetReals(store, path, NULL, NULL, &n, &value));
  PetscCall(PetscFree(value));
  *is_scan = n > 1 ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one axis ----------------------------------------------------------------------------------------------- */

static const struct {
  const char *key, *label;
} labels[] = {
  {"temperature",           "temperature T"               },
  {"data_train",            "training examples P"         },
  {"data_validation",       "validation examples"         },
  {"network_width",         "width N"                     },
  {"network_depth",         "depth L"                     },
  {"network_prior",         "prior λ"                    },
  {"network_prior_readout", "prior of readout λ_L"       },
  {"network_bias",          "variance of biases"          },
  {"ansatz_decay",          "weight decay μ"             },
  {"ansatz_bias_decay",     "decay of the biases"         },
  {"ansatz_step",           "step η"                     },
  {"ansatz_momentum",       "momentum β"                 },
  {"ansatz_optimiser",      "optimiser"                   },
  {"ansatz_init",           "start"                       },
  {"ansatz_init_scale",     "scale of the start"          },
  {"ansatz_case_values",    "value of the case"           },
  {"teacher_noise",         "variance of the noise"       },
  {"teacher_offset",        "offset of the labels"        },
  {"teacher_spectrum",      "exponent of the spectrum"    },
  {"optimal_alpha",         "examples per input, α = n/d"},
  {"optimal_noise",         "noise Δ"                    },
  {"optimal_gain",          "gain"                        },
  {"optimal_beta",          "steepness β"                },
  {"network_activation",    "activation"                  },
};

/* A key without a name of its own is shown with spaces */
static PetscErrorCode LabelAxis(FwStore store, const char path[], const char key[], FwSliceAxis *axis)
{
  char  *units, *letter;
  size_t length;

  PetscFunctionBegin;
  PetscCall(PetscStrncpy(axis->label, key[0] ? key : "point", FW_LABEL_SIZE));
  for (letter = axis->label; *letter; letter++)
    if (*letter == '_') *letter = ' ';
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(labels); i++)
    if (!strcmp(key, labels[i].key)) PetscCall(PetscStrncpy(axis->label, labels[i].label, FW_LABEL_SIZE));
  if (!key[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreGetText(store, path, "units", &units));
  length = strlen(axis->label);
  if (!strcmp(units, "label^2"))
    snprintf(axis->label + length, FW_LABEL_SIZE - length, " (label²)");
  else if (units[0] && strcmp(units, "1"))
    snprintf(axis->label + length, FW_LABEL_SIZE - length, " (%s)", units);
  PetscCall(PetscFree(units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  double     value;
  PetscInt64 position;
} Place;

static int ComparePlaces(const void *left, const void *right)
{
  const Place *a = left, *b = right;

  if (a->value != b->value) return a->value < b->value ? -1 : 1;
  return a->position < b->position ? -1 : 1;
}

static PetscErrorCode SortAxis(FwSliceAxis *axis)
{
  Place *place;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)axis->n, &place));
  for (PetscInt64 i = 0; i < axis->n; i++) place[i] = (Place){axis->value[i], i};
  qsort(place, (size_t)axis->n, sizeof *place, ComparePlaces);
  for (PetscInt64 i = 0; i < axis->n; i++) {
    axis->value[i]    = place[i].value;
    axis->position[i] = place[i].position;
  }
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Logarithmic when the values span more than a factor 10 and their ratios are more alike than their differences */
static PetscBool IsGeometric(const FwSliceAxis *axis)
{
  double ratio[2] = {INFINITY, 0.0}, difference[2] = {INFINITY, 0.0};

  if (axis->text || !(axis->value[0] > 0.0) || !(axis->value[axis->n - 1] > 10.0 * axis->value[0])) return PETSC_FALSE;
  for (PetscInt64 i = 0; i + 1 < axis->n; i++) {
    const double a = axis->value[i], b = axis->value[i + 1];

    if (a == b) continue;
    ratio[0]      = fmin(ratio[0], log(b / a));
    ratio[1]      = fmax(ratio[1], log(b / a));
    difference[0] = fmin(difference[0], b - a);
    difference[1] = fmax(difference[1], b - a);
  }
  return ratio[1] * difference[0] <= difference[1] * ratio[0] ? PETSC_TRUE : PETSC_FALSE;
}

/* Numbers of a scale, or the places of its texts */
static PetscErrorCode ReadScale(FwStore store, const char path[], PetscBool has_scale, PetscInt64 n, FwSliceAxis *axis)
{
  FwStoreType type   = FW_STORE_INTEGER;
  PetscInt64  n_read = n;

  PetscFunctionBegin;
  if (has_scale) PetscCall(FwStoreGetType(store, path, &type));
  if (has_scale && type == FW_STORE_TEXT) PetscCall(FwStoreGetTexts(store, path, &n_read, &axis->text));
  if (has_scale && type != FW_STORE_TEXT) PetscCall(FwStoreGetReals(store, path, NULL, NULL, &n_read, &axis->value));
  PetscCheck(n_read == n, PETSC_COMM_WORLD, FW_ERR_FILE, "axis '%s' has %lld values for %lld points", path,
             (long long)n_read, (long long)n);
  if (axis->value) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)n, &axis->value));
  for (PetscInt64 i = 0; i < n; i++) axis->value[i] = (double)i;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAxis(const FwSlice *slice, const char name[], PetscInt64 n, PetscInt64 stride,
                               FwSliceAxis *axis)
{
  char path[FW_LABEL_SIZE];

  PetscFunctionBegin;
  *axis = (FwSliceAxis){.n = n, .stride = stride};
  PetscCall(PetscSNPrintf(path, sizeof path, "%s%s", slice->group, name));
  PetscCall(ReadScale(slice->store, path, name[0] ? PETSC_TRUE : PETSC_FALSE, n, axis));
  for (PetscInt64 i = 0; i < n; i++)
    PetscCheck(isfinite(axis->value[i]), PETSC_COMM_WORLD, FW_ERR_FILE, "axis '%s' has a value that is not finite",
               path);
  PetscCall(LabelAxis(slice->store, path, name, axis));
  PetscCall(PetscMalloc1((size_t)n, &axis->position));
  PetscCall(SortAxis(axis));
  axis->is_log = IsGeometric(axis);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ClearAxis(FwSliceAxis *axis)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(axis->value));
  PetscCall(PetscFree(axis->position));
  PetscCall(PetscFree(axis->text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwSliceFormat(const FwSliceAxis *axis, PetscInt64 i, char text[FW_LABEL_SIZE])
{
  const double value = axis->value[i];

  if (axis->text)
    snprintf(text, FW_LABEL_SIZE, "%s", axis->text[axis->position[i]]);
  else if (value == rint(value) && fabs(value) < 1e7)
    snprintf(text, FW_LABEL_SIZE, "%.0f", value);
  else
    snprintf(text, FW_LABEL_SIZE, "%.3g", value);
}

/* Depth 1, 2, 3 needs no 1.5: few whole numbers close to each other are named one by one, and texts always */
static PetscBool AreTicksNamed(const FwSliceAxis *axis)
{
  if (axis->text) return PETSC_TRUE;
  if (axis->n > 10 || axis->value[axis->n - 1] - axis->value[0] > 10.0) return PETSC_FALSE;
  for (PetscInt64 i = 0; i < axis->n; i++)
    if (axis->value[i] != rint(axis->value[i])) return PETSC_FALSE;
  return PETSC_TRUE;
}

PetscErrorCode FwSliceTicks(const FwSliceAxis *axis, FwTicks *ticks)
{
  const PetscInt64 step = 1 + (axis->n - 1) / FW_TICK_MAX;
  char             text[FW_LABEL_SIZE];

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < axis->n && AreTicksNamed(axis); i += step) {
    FwSliceFormat(axis, i, text);
    PetscCall(FwTicksAdd(ticks, axis->value[i], text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- choosing ----------------------------------------------------------------------------------------------- */

/* A third axis stays at its middle value */
static PetscErrorCode FixAxis(FwSlice *slice, FwSliceAxis *axis)
{
  const PetscInt64 middle = (axis->n - 1) / 2;
  const size_t     length = strlen(slice->fixed);
  char             text[FW_LABEL_SIZE];

  PetscFunctionBegin;
  FwSliceFormat(axis, middle, text);
  (void)snprintf(slice->fixed + length, FW_LABEL_SIZE - length, "%s%s = %s", length ? ", " : "at ", axis->label, text);
  slice->base += axis->position[middle] * axis->stride;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x has more values; a line through texts says nothing, so that numbers come first as long as all texts fit a legend */
static void OrderAxes(FwSlice *slice)
{
  const FwSliceAxis first = slice->x, second = slice->family;
  PetscBool         is_swapped;

  if (!second.n) {
    slice->family.n = 1;
    return;
  }
  is_swapped = second.n > first.n ? PETSC_TRUE : PETSC_FALSE;
  if (!first.text != !second.text && PetscMin(first.n, second.n) > 1) {
    const FwSliceAxis *text = first.text ? &first : &second;

    if (text->n <= FW_CURVE_MAX) is_swapped = first.text ? PETSC_TRUE : PETSC_FALSE;
  }
  if (!is_swapped) return;
  slice->x      = second;
  slice->family = first;
}

static PetscErrorCode ChooseAxes(FwSlice *slice, PetscInt n_dim, char name[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE],
                                 const PetscInt64 size[])
{
  PetscInt64 stride = slice->n_point;
  PetscInt   n_axis = 0, n_long = 0;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < n_dim; d++) n_long += size[d] > 1;
  for (PetscInt d = 0; d < n_dim; d++) {
    FwSliceAxis axis;

    stride /= size[d];
    if (size[d] == 1) continue;
    PetscCall(ReadAxis(slice, name[d], size[d], stride, &axis));
    if (n_long > 2 && !strcmp(name[d], "network_prior_readout")) {
      PetscCall(FixAxis(slice, &axis));
      slice->prior = axis;
      continue;
    }
    if (n_axis == 0)
      slice->x = axis;
    else if (n_axis == 1)
      slice->family = axis;
    else
      PetscCall(FixAxis(slice, &axis));
    if (n_axis++ > 1) PetscCall(ClearAxis(&axis));
  }
  OrderAxes(slice);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSliceFind(FwStore store, FwSlice *slice)
{
  char       path[FW_LABEL_SIZE], name[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE];
  PetscInt   n_dim                  = 0;
  PetscInt64 size[FW_STORE_MAX_DIM] = {0};
  FwArray    average;
  PetscBool  is_judged;

  PetscFunctionBegin;
  *slice = (FwSlice){.store = store};
  PetscCall(FindScalar(store, path));
  PetscCall(PetscStrncpy(slice->group, path, (size_t)(strrchr(path, '/') - path) + 2));
  PetscCall(FwStoreGetAxes(store, path, &n_dim, name));
  PetscCall(FwStoreGetReals(store, path, NULL, size, &slice->n_point, &slice->converged));
  PetscCall(ChooseAxes(slice, n_dim, name, size));
  /* samples without a theory say themselves which of them are to be trusted */
  is_judged = strcmp(slice->group, "/sample/") && strstr(path, "converged") ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt64 i = 0; i < slice->n_point && !is_judged; i++) slice->converged[i] = 1.0;
  if (!strcmp(slice->group, "/sample/")) PetscCall(PetscStrncpy(slice->group, "/predict/", FW_LABEL_SIZE));
  PetscCall(FwArrayGet(store, slice->group, "average_converged", &average));
  slice->average_converged = average.value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSlicePoint(FwStore store, const char group[], FwSlice *slice)
{
  PetscFunctionBegin;
  *slice = (FwSlice){.store = store, .n_point = 1};
  PetscCall(PetscStrncpy(slice->group, group, FW_LABEL_SIZE));
  PetscCall(PetscMalloc1(1, &slice->converged));
  PetscCall(PetscCalloc1(1, &slice->x.position));
  PetscCall(PetscCalloc1(1, &slice->x.value));
  slice->converged[0] = 1.0;
  slice->x.n = slice->family.n = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSliceOpen(FwStore store, const char group[], PetscBool is_scan, FwSlice *slice)
{
  PetscFunctionBegin;
  PetscCall(is_scan ? FwSliceFind(store, slice) : FwSlicePoint(store, group, slice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwSliceIsAxis(const FwSliceAxis *axis, const char label[])
{
  return axis->n > 1 && !strncmp(axis->label, label, strlen(label)) ? PETSC_TRUE : PETSC_FALSE;
}

PetscErrorCode FwSliceClear(FwSlice *slice)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(slice->converged));
  PetscCall(PetscFree(slice->average_converged));
  PetscCall(ClearAxis(&slice->x));
  PetscCall(ClearAxis(&slice->family));
  PetscCall(ClearAxis(&slice->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- values ------------------------------------------------------------------------------------------------- */

static PetscInt64 PointAt(const FwSlice *slice, PetscInt64 curve, PetscInt64 i)
{
  const FwSliceAxis *x = &slice->x, *family = &slice->family;

  return slice->base + x->position[i] * x->stride + (family->n > 1 ? family->position[curve] * family->stride : 0);
}

static PetscBool Begins(const char name[], const char start[])
{
  return strncmp(name, start, strlen(start)) ? PETSC_FALSE : PETSC_TRUE;
}

/* A point that has not converged still has its numbers at infinite width, and its samples, which are judged by themselves */
static PetscBool IsUsable(const FwSlice *slice, const char name[], PetscInt64 point)
{
  if (Begins(name, "infinite_") || Begins(name, "/sample/")) return PETSC_TRUE;
  if (Begins(name, "average_") && slice->average_converged && slice->average_converged[point] == 0.0)
    return PETSC_FALSE;
  return slice->converged[point] == 1.0 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode CopySlice(const FwSlice *slice, const char name[], PetscInt64 n_each, const double all[],
                                double *value)
{
  PetscFunctionBegin;
  for (PetscInt64 curve = 0; curve < slice->family.n; curve++)
    for (PetscInt64 i = 0; i < slice->x.n; i++) {
      const PetscInt64 point     = PointAt(slice, curve, i);
      const PetscBool  is_usable = IsUsable(slice, name, point);

      for (PetscInt64 e = 0; e < n_each; e++) *value++ = is_usable ? all[point * n_each + e] : NAN;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSliceGet(const FwSlice *slice, const char name[], PetscInt64 *n_each, double **value)
{
  char       path[FW_LABEL_SIZE];
  PetscBool  has;
  PetscInt64 n = 0;
  double    *all;

  PetscFunctionBegin;
  *n_each = 0;
  *value  = NULL;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : slice->group, name));
  PetscCall(FwStoreHas(slice->store, path, &has));
  if (!has) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreGetReals(slice->store, path, NULL, NULL, &n, &all));
  PetscCheck(n % slice->n_point == 0, PETSC_COMM_WORLD, FW_ERR_FILE, "array '%s' has %lld entries for %lld points",
             path, (long long)n, (long long)slice->n_point);
  *n_each = n / slice->n_point;
  PetscCall(PetscMalloc1((size_t)(slice->family.n * slice->x.n * *n_each), value));
  PetscCall(CopySlice(slice, name, *n_each, all, *value));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points with fewer outputs than others are padded with NaN: the mean is over what is there */
static double MeanOf(const double value[], PetscInt64 n)
{
  double     sum     = 0.0;
  PetscInt64 n_there = 0;

  for (PetscInt64 i = 0; i < n; i++) {
    if (!isfinite(value[i])) continue;
    sum += value[i];
    n_there++;
  }
  return n_there ? sum / (double)n_there : NAN;
}

/* The smallest over the values of the readout's prior */
static PetscErrorCode GetBest(const FwSlice *slice, const char name[], PetscBool *has, double **best)
{
  const FwSliceAxis *prior = &slice->prior;
  const PetscInt64   n = slice->family.n * slice->x.n, middle = prior->position[(prior->n - 1) / 2];
  FwSlice            at = *slice;

  PetscFunctionBegin;
  *has       = PETSC_FALSE;
  at.is_best = PETSC_FALSE;
  PetscCall(PetscMalloc1((size_t)n, best));
  for (PetscInt64 i = 0; i < n; i++) (*best)[i] = NAN;
  for (PetscInt64 k = 0; k < prior->n; k++) {
    PetscBool has_here;
    double   *mean;

    at.base = slice->base + (prior->position[k] - middle) * prior->stride;
    PetscCall(FwSliceGetMean(&at, name, &has_here, &mean));
    for (PetscInt64 i = 0; i < n; i++) (*best)[i] = fmin((*best)[i], mean[i]); /* the number where the other is NaN */
    if (has_here) *has = PETSC_TRUE;
    PetscCall(PetscFree(mean));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSliceGetMean(const FwSlice *slice, const char name[], PetscBool *has, double **mean)
{
  const PetscInt64 n = slice->family.n * slice->x.n;
  PetscInt64       n_each;
  double          *value;

  PetscFunctionBegin;
  if (slice->is_best) {
    PetscCall(GetBest(slice, name, has, mean));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *has = PETSC_FALSE;
  PetscCall(FwSliceGet(slice, name, &n_each, &value));
  PetscCall(PetscMalloc1((size_t)n, mean));
  for (PetscInt64 i = 0; i < n; i++) {
    (*mean)[i] = MeanOf(value + i * n_each, n_each);
    if (isfinite((*mean)[i])) *has = PETSC_TRUE;
  }
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Product over layers; behind the last layer of a shallower network there is NaN */
static double ProductOf(const double order[], PetscInt64 n_layer)
{
  double product = n_layer ? order[0] : NAN;

  for (PetscInt64 l = 1; l < n_layer; l++)
    if (isfinite(order[l])) product *= order[l];
  return product;
}

/* tr Q / D of a matrix over outputs */
static double MeanDiagonal(const double matrix[], PetscInt64 n)
{
  double sum = 0.0;

  for (PetscInt64 i = 0; i < n; i++) sum += matrix[i * (n + 1)] / (double)n;
  return sum;
}

PetscErrorCode FwSliceGetMinima(const FwSlice *slice, PetscInt64 *n_minimum, double **order)
{
  const char *const name                   = "metastable_order_parameter";
  const PetscInt64  n                      = slice->family.n * slice->x.n;
  PetscInt          n_dim                  = 0;
  PetscInt64        size[FW_STORE_MAX_DIM] = {0}, n_each, n_all = 0, n_layer, n_entry;
  PetscBool         is_matrix;
  double           *value, *all;

  PetscFunctionBegin;
  *n_minimum = 0;
  *order     = NULL;
  PetscCall(FwSliceGet(slice, name, &n_each, &value));
  if (!n_each) PetscFunctionReturn(PetscFree(value));
  PetscCall(FwStoreGetReals(slice->store, "/predict/metastable_order_parameter", &n_dim, size, &n_all, &all));
  PetscCall(PetscFree(all));
  n_layer = size[n_dim - 1];
  PetscCall(FwStoreHas(slice->store, "/predict/test_covariance", &is_matrix)); /* several outputs */
  n_entry    = is_matrix ? n_layer * n_layer : n_layer;
  *n_minimum = n_each / n_entry;
  PetscCall(PetscMalloc1((size_t)(n * *n_minimum), order));
  for (PetscInt64 i = 0; i < n * *n_minimum; i++)
    (*order)[i] = is_matrix ? MeanDiagonal(value + i * n_entry, n_layer) : ProductOf(value + i * n_entry, n_layer);
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
