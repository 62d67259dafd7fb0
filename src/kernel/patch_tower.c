/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Several hidden layers on patches: their positions, the paths through them, and kernels raised from the first layer.
 */

#include "patch_impl.h"

#include <math.h>

/* --- layers ------------------------------------------------------------------------------------------------- */

/* Numbers of paths from the last layer down, and from them the position of every path in every layer */
static PetscErrorCode FindPaths(FwTower *t)
{
  const PetscInt L      = t->n_layer;
  PetscInt       n      = t->n_position[L - 1]; /* paths from a layer on, to all positions of the last */
  PetscInt64     n_walk = n;

  PetscFunctionBegin;
  t->n_path[L - 1] = t->n_place;
  for (PetscInt l = L - 2; l >= 0; l--) {
    n_walk *= t->n_tap[l + 1];
    PetscCall(PetscIntCast(n_walk, &t->n_walk));
    t->n_path[l] = t->n_tap[l + 1] * t->n_path[l + 1];
  }
  PetscCall(PetscIntCast(n_walk, &t->n_walk));
  for (PetscInt l = L - 1; l >= 0; l--) {
    PetscCall(PetscMalloc1(t->n_walk, &t->position[l]));
    for (PetscInt p = 0; p < t->n_walk; p++)
      t->position[l][p] =
        l == L - 1 ? p % n : t->tap[l + 1][t->position[l + 1][p] * t->n_tap[l + 1] + p / n % t->n_tap[l + 1]];
    if (l < L - 1) n *= t->n_tap[l + 1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTowerCreate(const FwModel *model, const FwPatches *patches, FwTower *tower)
{
  const PetscInt L     = model->depth;
  FwTower        t     = {.n_layer = L};
  PetscInt       n_row = patches->n_row, n_col = patches->n_col;

  PetscFunctionBegin;
  PetscCall(
    PetscCalloc7(L, &t.n_row, L, &t.n_col, L, &t.n_position, L, &t.n_tap, L, &t.tap, L, &t.n_path, L, &t.position));
  t.n_tap[0] = 1;
  for (PetscInt l = 0; l < L; l++) {
    if (l) PetscCall(FwModelGetTaps(model, l, &n_row, &n_col, &t.n_tap[l], &t.tap[l]));
    t.n_row[l]      = n_row;
    t.n_col[l]      = n_col;
    t.n_position[l] = n_row * n_col;
  }
  t.n_place = model->type == FW_NETWORK_POOL ? 1 : t.n_position[L - 1];
  PetscCall(FindPaths(&t));
  *tower = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTowerDestroy(FwTower *t)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < t->n_layer; l++) {
    PetscCall(PetscFree(t->tap[l]));
    PetscCall(PetscFree(t->position[l]));
  }
  PetscCall(PetscFree7(t->n_row, t->n_col, t->n_position, t->n_tap, t->tap, t->n_path, t->position));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwTowerSites(const FwTower *t, FwPatchClosure closure)
{
  return closure == FW_DEEP_PATHS ? t->n_path[0] : t->n_place;
}

PetscInt FwTowerWalks(const FwTower *t, FwPatchClosure closure)
{
  return closure == FW_DEEP_PATHS ? t->n_walk : t->n_position[t->n_layer - 1];
}

PetscBool FwTowerOverlaps(const FwTower *t)
{
  for (PetscInt l = 1; l < t->n_layer; l++)
    for (PetscInt i = 0; i < t->n_position[l] * t->n_tap[l]; i++)
      for (PetscInt j = 0; j < i; j++)
        if (t->tap[l][i] == t->tap[l][j]) return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscErrorCode FwPatchCountSites(const FwModel *model, const FwPatches *patches, FwPatchClosure closure,
                                 PetscInt *n_site, PetscInt *n_walk)
{
  FwTower tower;

  PetscFunctionBegin;
  PetscCall(FwTowerCreate(model, patches, &tower));
  *n_site = FwTowerSites(&tower, closure);
  *n_walk = FwTowerWalks(&tower, closure);
  PetscCall(FwTowerDestroy(&tower));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- kernels ------------------------------------------------------------------------------------------------ */

/* 1 / (n_tap lambda_l), lambda_l that of the weights into layer l */
static double TapWeight(FwPatchImages p, PetscInt l)
{
  return 1.0 / (p->tower.n_tap[l] * p->model->prior[l]);
}

PetscErrorCode FwTowerVariances(FwPatchImages p, PetscInt l, PetscInt n, PetscBool is_row, const double below[],
                                double variance[])
{
  const FwTower *t       = &p->tower;
  const PetscInt n_below = t->n_position[l - 1], n_here = t->n_position[l];
  double        *k;
  PetscInt       count;

  PetscFunctionBegin;
  PetscCall(PetscIntCast((PetscInt64)n * n_below, &count));
  PetscCall(PetscMalloc1(count, &k));
  PetscCall(FwActivationDiagonal(p->activation[l - 1], count, below, k));
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt u = 0; u < n_here; u++) {
      double sum = 0.0;

      for (PetscInt m = 0; m < t->n_tap[l]; m++)
        sum += k[FwPatchPlace(is_row, n, n_below, a, t->tap[l][u * t->n_tap[l] + m])];
      variance[FwPatchPlace(is_row, n, n_here, a, u)] = sum * TapWeight(p, l);
    }
  PetscCall(PetscFree(k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C^l_uv of a run, from all K^{l-1} */
static void Covariance(FwPatchImages p, PetscInt l, PetscInt u, PetscInt v, PetscInt n, const double below[],
                       double out[])
{
  const FwTower *t       = &p->tower;
  const PetscInt n_below = t->n_position[l - 1], n_tap = t->n_tap[l];
  const double   weight = TapWeight(p, l);

  for (PetscInt r = 0; r < n; r++) out[r] = 0.0;
  for (PetscInt m = 0; m < n_tap; m++) {
    const double *from = below + ((size_t)t->tap[l][u * n_tap + m] * n_below + t->tap[l][v * n_tap + m]) * n;

    for (PetscInt r = 0; r < n; r++) out[r] += weight * from[r];
  }
}

/* gain[r] <- value[r] / gain[r], which holds C; where that vanishes the limit, the slope of the map */
static PetscErrorCode Gain(FwActivation activation, FwPoints rows, PetscInt first, PetscInt n, FwPoints columns,
                           PetscInt column, const double value[], double gain[])
{
  PetscFunctionBegin;
  for (PetscInt r = 0; r < n; r++) {
    if (fabs(gain[r]) > 1e-150)
      gain[r] = value[r] / gain[r];
    else
      PetscCall(
        FwActivationMap(activation, FW_MAP_COVARIANCE, rows, first + r, 1, columns, column, &gain[r], &gain[r]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first point of a run in one position of a layer */
static PetscInt PointOf(const FwPatchRun *run, PetscInt position, PetscInt n_position)
{
  return run->is_row ? position * run->side->n + run->first : run->first * n_position + position;
}

/* K^l of two positions from K^{l-1}; with `gain` also K^l / C^l */
static PetscErrorCode RaisePair(FwPatchKernel k, PetscInt l, PetscInt u, PetscInt v, const FwPatchRun *rows,
                                const FwPatchRun *column, const double below[], double value[], double gain[])
{
  const FwPatchImages p = k->images;
  const PetscInt      n = rows->n, n_position = p->tower.n_position[l];
  const PetscInt      first = PointOf(rows, u, n_position), other = PointOf(column, v, n_position);
  const FwPoints      from = rows->side->points[l], to = column->side->points[l];

  PetscFunctionBegin;
  Covariance(p, l, u, v, n, below, value);
  if (gain) PetscCall(PetscArraycpy(gain, value, n));
  PetscCall(FwActivationMap(p->activation[l], FW_MAP_VALUE, from, first, n, to, other, value, value));
  if (gain) PetscCall(Gain(p->activation[l], from, first, n, to, other, value, gain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All pairs of positions. Of an example with itself the exact second moment stands on the diagonal */
static PetscErrorCode RaiseLayer(FwPatchKernel k, PetscInt l, const FwPatchRun *rows, const FwPatchRun *column,
                                 PetscInt diagonal, const double below[], double value[], double gain[])
{
  const PetscInt n = rows->n, n_position = k->images->tower.n_position[l];

  PetscFunctionBegin;
  for (PetscInt u = 0; u < n_position; u++)
    for (PetscInt v = 0; v < n_position; v++) {
      const size_t place = ((size_t)u * n_position + v) * n;

      if (u != v && k->plan.form == FW_PATCH_DIAGONAL) continue;
      PetscCall(RaisePair(k, l, u, v, rows, column, below, value + place, gain ? gain + place : NULL));
      if (u == v && diagonal >= 0)
        value[place + diagonal] = rows->side->diagonal[l][PointOf(rows, u, n_position) + diagonal];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Multiply the kernels between paths by what they have in one layer; `is_first` sets them */
static void MultiplyPaths(const FwPatchKernel k, PetscInt l, PetscInt n, PetscBool is_first, const double value[],
                          double site[])
{
  const FwTower *t      = &k->images->tower;
  const PetscInt n_path = t->n_walk, n_position = t->n_position[l];

  for (PetscInt p = 0; p < n_path; p++)
    for (PetscInt q = 0; q < n_path; q++) {
      const double *from = value + ((size_t)t->position[l][p] * n_position + t->position[l][q]) * n;
      double       *to   = site + ((size_t)p * n_path + q) * n;

      if (p != q && k->plan.form == FW_PATCH_DIAGONAL) continue;
      for (PetscInt r = 0; r < n; r++) to[r] = is_first ? from[r] : to[r] * from[r];
    }
}

/* Mean over the last positions of both paths, in place: no entry is written before those that it is made of are read */
static void Pool(PetscInt n_site, PetscInt n_position, PetscInt n, double site[])
{
  const PetscInt n_walk = n_site * n_position;

  for (PetscInt s = 0; s < n_site; s++)
    for (PetscInt t = 0; t < n_site; t++)
      for (PetscInt r = 0; r < n; r++) {
        double sum = 0.0;

        for (PetscInt u = 0; u < n_position; u++)
          for (PetscInt v = 0; v < n_position; v++)
            sum += site[((size_t)(s * n_position + u) * n_walk + t * n_position + v) * n + r];
        site[((size_t)s * n_site + t) * n + r] = sum / PetscSqr((double)n_position);
      }
}

static PetscErrorCode RaiseAll(FwPatchKernel k, const FwPatchRun *rows, const FwPatchRun *column, PetscInt diagonal,
                               double *const value[], double site[])
{
  const PetscBool is_paths = k->plan.closure == FW_DEEP_PATHS ? PETSC_TRUE : PETSC_FALSE;
  const PetscInt  last     = k->images->tower.n_layer - 1;

  PetscFunctionBegin;
  if (is_paths) MultiplyPaths(k, 0, rows->n, PETSC_TRUE, value[0], site);
  for (PetscInt l = 1; l <= last; l++) {
    double *gain = is_paths ? k->gain : NULL, *out = is_paths || l < last ? value[l] : site;

    PetscCall(RaiseLayer(k, l, rows, column, diagonal, value[l - 1], out, gain));
    if (is_paths) MultiplyPaths(k, l, rows->n, PETSC_FALSE, gain, site);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTowerRaise(FwPatchKernel k, const FwPatchRun *rows, const FwPatchRun *column, PetscInt diagonal,
                            double *const value[], double **site)
{
  const FwTower *t      = &k->images->tower;
  const PetscInt n_last = t->n_position[t->n_layer - 1];

  PetscFunctionBegin;
  *site = t->n_layer > 1 ? k->site : value[0];
  if (t->n_layer > 1) PetscCall(RaiseAll(k, rows, column, diagonal, value, *site));
  if (t->n_place < n_last) Pool(k->n_site, n_last, rows->n, *site);
  PetscFunctionReturn(PETSC_SUCCESS);
}
