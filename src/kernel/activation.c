/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The registry of activations, the checks, and the hand-over to a closed form or to the Mehler series.
 */

#include "activation_impl.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 512 }; /* entries copied aside at a time, so that `out` may be `b` and loops still vectorise */

const char *const FwActivationNames[FW_ACTIVATION_COUNT] = {
  "erf", "relu", "linear", "tanh", "sin", "gelu", "sign", "quadratic", "softplus", "leaky-relu", "hardtanh"};

static const struct FwActivationImpl *const registry[FW_ACTIVATION_COUNT] = {
  [FW_ACTIVATION_ERF] = &FwActivation_Erf,           [FW_ACTIVATION_RELU] = &FwActivation_Relu,
  [FW_ACTIVATION_LINEAR] = &FwActivation_Linear,     [FW_ACTIVATION_TANH] = &FwActivation_Tanh,
  [FW_ACTIVATION_SIN] = &FwActivation_Sin,           [FW_ACTIVATION_GELU] = &FwActivation_Gelu,
  [FW_ACTIVATION_SIGN] = &FwActivation_Sign,         [FW_ACTIVATION_QUADRATIC] = &FwActivation_Quadratic,
  [FW_ACTIVATION_SOFTPLUS] = &FwActivation_Softplus, [FW_ACTIVATION_LEAKY_RELU] = &FwActivation_LeakyRelu,
  [FW_ACTIVATION_HARDTANH] = &FwActivation_Hardtanh,
};

PetscErrorCode FwActivationGet(FwActivationType type, FwActivation *activation)
{
  PetscFunctionBegin;
  PetscCheck(type >= 0 && type < FW_ACTIVATION_COUNT, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "there is no activation number %d", (int)type);
  *activation = registry[type];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationIsOdd(FwActivation activation, PetscBool *is_odd)
{
  PetscFunctionBegin;
  *is_odd = activation->is_odd;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationEvaluate(FwActivation activation, PetscInt n, const double z[], double value[],
                                    double slope[], double curvature[])
{
  double at[BLOCK], phi[BLOCK], phi1[BLOCK], jet[3];

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < n; begin += BLOCK) {
    const PetscInt n_here = PetscMin(BLOCK, n - begin);
    const size_t   size   = (size_t)n_here * sizeof *at;

    memcpy(at, z + begin, size);
    activation->apply(n_here, at, phi, phi1);
    if (value) memcpy(value + begin, phi, size);
    if (slope) memcpy(slope + begin, phi1, size);
    for (PetscInt i = 0; curvature && i < n_here; i++) {
      activation->evaluate(at[i], jet);
      curvature[begin + i] = jet[2];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckVariance(FwActivation activation, double a)
{
  PetscFunctionBegin;
  PetscCheck(a >= 0.0 && a <= FW_VARIANCE_HUGE, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "the kernel of %s met a pre-activation variance of %.6g, which is not between 0 and %.6g",
             activation->name, a, FW_VARIANCE_HUGE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* <f g> for derivatives of phi at one point: in closed form, at variance zero, or by quadrature */
static PetscErrorCode Average(FwActivation activation, double (*closed)(double), int first, int second, double a,
                              double *average)
{
  double jet[3];

  PetscFunctionBegin;
  PetscCall(CheckVariance(activation, a));
  if (closed) {
    *average = closed(a);
  } else if (a < FW_VARIANCE_TINY) {
    activation->evaluate(0.0, jet);
    *average = jet[first] * (second < 0 ? 1.0 : jet[second]);
  } else {
    PetscCall(FwMehlerAverage(activation, a, first, second, average));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationMean(FwActivation activation, PetscInt n, const double a[], double mean[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(CheckVariance(activation, a[i]));
    if (activation->is_odd)
      mean[i] = 0.0;
    else if (i && a[i] == a[i - 1])
      mean[i] = mean[i - 1];
    else
      PetscCall(Average(activation, activation->mean, 0, -1, a[i], &mean[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationDiagonal(FwActivation activation, PetscInt n, const double a[], double k[])
{
  PetscFunctionBegin;
  PetscCall(FwActivationDiagonalMap(activation, FW_MAP_VALUE, n, a, k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationDiagonalMap(FwActivation activation, FwMap map, PetscInt n, const double a[], double k[])
{
  static const int first[] = {0, 1, 2}, second[] = {0, 1, 0};
  double           before = -1.0; /* the last variance: k may be a */

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    const double variance = a[i];

    if (variance == before) {
      k[i] = k[i - 1];
      continue;
    }
    PetscCall(Average(activation, activation->diagonal[map], first[map], second[map], variance, &k[i]));
    if (!activation->diagonal[map] && map == FW_MAP_ROW_VARIANCE) k[i] *= 0.5;
    before = variance;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double InverseRoot(double a)
{
  return a < FW_VARIANCE_TINY ? 0.0 : 1.0 / sqrt(a);
}

/* The columns of numbers about the points that closed forms read */
static PetscErrorCode SetUpColumns(FwPoints points, const double variance[])
{
  double (*scale)(double) = points->activation->scale ? points->activation->scale : InverseRoot;

  PetscFunctionBegin;
  PetscCall(
    PetscMalloc3(points->n_point, &points->variance, points->n_point, &points->root, points->n_point, &points->scale));
  for (PetscInt i = 0; i < points->n_point; i++) {
    points->variance[i] = variance[i];
    points->root[i]     = sqrt(variance[i]);
    points->scale[i]    = scale(variance[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPointsCreate(FwActivation activation, PetscInt n, const double variance[], FwPoints *points)
{
  FwPoints       p;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *points = NULL;
  for (PetscInt i = 0; i < n; i++) PetscCall(CheckVariance(activation, variance[i]));
  PetscCall(PetscNew(&p));
  p->activation = activation;
  p->n_point    = n;
  PetscCall(SetUpColumns(p, variance));
  if (!activation->map[FW_MAP_VALUE]) code = FwMehlerCreate(activation, n, variance, &p->series);
  if (code) PetscCall(FwPointsDestroy(&p));
  PetscCall(code);
  *points = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPointsAddSlopes(FwPoints points)
{
  PetscFunctionBegin;
  if (points->has_slopes) PetscFunctionReturn(PETSC_SUCCESS);
  if (points->series) PetscCall(FwMehlerAddSlopes(points->series, points->variance));
  points->has_slopes = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPointsDestroy(FwPoints *points)
{
  PetscFunctionBegin;
  if (!*points) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMehlerDestroy(&(*points)->series));
  PetscCall(PetscFree3((*points)->variance, (*points)->root, (*points)->scale));
  PetscCall(PetscFree(*points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwPointView View(FwPoints points, PetscInt first)
{
  return (FwPointView){points->variance + first, points->root + first, points->scale + first};
}

FW_VECTOR static void Correlate(PetscInt n, const double *restrict scale, double other, const double *restrict b,
                                double *restrict rho)
{
  for (PetscInt i = 0; i < n; i++) rho[i] = Correlation(b[i], scale[i] * other);
}

/* One block of a column, by the closed form or the series */
static PetscErrorCode MapBlock(FwMap map, FwPoints rows, PetscInt first, PetscInt n, FwPoints columns, PetscInt column,
                               const double b[], double out[])
{
  FwClosedMap *closed = rows->activation->map[map];
  double       aside[BLOCK];

  PetscFunctionBegin;
  if (closed) {
    for (PetscInt i = 0; i < n; i++) aside[i] = b[i];
    closed(n, View(rows, first), View(columns, column), aside, out);
  } else {
    Correlate(n, rows->scale + first, columns->scale[column], b, aside);
    PetscCall(FwMehlerMap(rows->series, map, first, n, columns->series, column, aside, out));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActivationMap(FwActivation activation, FwMap map, FwPoints rows, PetscInt first, PetscInt n,
                               FwPoints columns, PetscInt column, const double b[], double out[])
{
  PetscFunctionBegin;
  PetscCheck(rows->activation == activation && columns->activation == activation, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP,
             "points were prepared for another activation than %s", activation->name);
  PetscCheck(map == FW_MAP_VALUE || (rows->has_slopes && columns->has_slopes), PETSC_COMM_SELF,
             PETSC_ERR_ARG_WRONGSTATE, "points are not prepared for slopes: FwPointsAddSlopes() first");
  PetscCheck(first >= 0 && n >= 0 && first <= rows->n_point - n && column >= 0 && column < columns->n_point,
             PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "a tile reaches beyond its points");
  for (PetscInt begin = 0; begin < n; begin += BLOCK)
    PetscCall(MapBlock(map, rows, first + begin, PetscMin(BLOCK, n - begin), columns, column, b + begin, out + begin));
  PetscFunctionReturn(PETSC_SUCCESS);
}
