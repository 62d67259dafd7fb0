/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Order parameters: Gram matrices of the readout, and of what the weights above a layer make of it, path by path.
 *
 * A row of numbers that belong to the features of the last layer, [n_place, N_L], is carried down by the weights: at layer l it
 * is [n_place, n_tap_L, .., n_tap_{l+1}, N_l], paths with their taps from above. The posterior's second moment of the readout is
 * Z Z^T + 1 - Phi^T B, so that rows of Z, of 1, and of Phi and B of every example are what has to be carried.
 */

#include "potential_impl.h"
#include <finwidth/dense.h>
#include <math.h>

enum { CARRIED_MOST = 32 }; /* rows at a time */

/* A layer, with room for rows that are carried to it */
typedef struct {
  PetscInt      layer, n_path, n_own, width; /* n_own: paths that end in one place of the readout */
  PetscInt      stride;                      /* between carried rows */
  const double *theta;
  double       *room[2][2];    /* of two rows at once */
  double       *overlap, *own; /* [n_path, n_path] of Phi and B, [n_own, n_own] of the unit matrix; or zero */
} Level;

PetscErrorCode FwPotentialGramSizes(FwPotential p, PetscInt *n_layer, PetscInt n_row[])
{
  const PetscInt first = FwTrunkHasPaths(&p->trunk) ? 0 : p->trunk.depth - 1;

  PetscFunctionBegin;
  *n_layer = p->trunk.depth - first;
  for (PetscInt l = first; n_row && l < p->trunk.depth; l++)
    n_row[l - first] = p->n_output * FwTrunkCountPaths(&p->trunk, l);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Most numbers of one row on its way down to layer l */
static PetscInt RowSize(const FwTrunk *trunk, PetscInt l)
{
  PetscInt size = 0;

  for (PetscInt k = l; k < trunk->depth - 1; k++)
    size = PetscMax(size, FwTrunkCountPaths(trunk, k) * trunk->layer[k].n_out);
  return size;
}

double FwPotentialGramRoom(const FwTrunk *trunk, PetscInt n_output)
{
  const double n_path = FwTrunkCountPaths(trunk, 0);

  if (!FwTrunkHasPaths(trunk)) return 0.0;
  return 4.0 * PetscMax(CARRIED_MOST, n_output) * RowSize(trunk, 0) + 2.0 * n_path * n_path;
}

static PetscErrorCode LevelCreate(FwPotential p, const double theta[], PetscInt l, Level *level)
{
  const FwTrunk *trunk = &p->trunk;
  const size_t   size  = (size_t)PetscMax(CARRIED_MOST, p->n_output) * (size_t)RowSize(trunk, l);

  PetscFunctionBegin;
  *level        = (Level){.layer = l, .n_path = FwTrunkCountPaths(trunk, l), .width = trunk->layer[l].n_out};
  level->n_own  = level->n_path / FwTrunkReadoutPlaces(trunk);
  level->stride = l < trunk->depth - 1 ? level->n_path * level->width : p->n_feature;
  level->theta  = theta;
  PetscCall(PetscCalloc2(PetscSqr(level->n_path), &level->overlap, PetscSqr(level->n_own), &level->own));
  PetscCall(PetscMalloc4(size, &level->room[0][0], size, &level->room[0][1], size, &level->room[1][0], size,
                         &level->room[1][1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LevelDestroy(Level *level)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(level->overlap, level->own));
  PetscCall(PetscFree4(level->room[0][0], level->room[0][1], level->room[1][0], level->room[1][1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* n rows of one place of the readout each, carried down; borrowed, the rows themselves for the last layer */
static const double *Carry(FwPotential p, Level *level, PetscInt n, const double row[], PetscInt room)
{
  for (PetscInt k = p->trunk.depth - 1; k > level->layer; k--) {
    const FwLayer *layer = &p->trunk.layer[k];
    double        *to    = level->room[room][k % 2];

    FwGemm("N", "N", layer->n_in, n, layer->n_out, 1.0 / sqrt((double)layer->n_out), level->theta + layer->first,
           layer->n_in, row, layer->n_out, 0.0, to, layer->n_in);
    n *= layer->n_tap;
    row = to;
  }
  return row;
}

/* sum += X Y^T of one row, between n paths */
static void AddProducts(const Level *level, PetscInt n, const double x[], const double y[], double sum[])
{
  FwGemm("T", "N", n, n, level->width, 1.0, x, level->width, y, level->width, 1.0, sum, n);
}

/* sum over channels and examples of Phi_p B_q, between paths; block by block */
static PetscErrorCode PathOverlaps(FwPotential p, Level *level)
{
  const FwRows  *rows  = &p->examples.train;
  const PetscInt n_top = FwTrunkReadoutPlaces(&p->trunk), n = level->n_path, F = p->n_feature;
  FwBlockSum     sum;

  PetscFunctionBegin;
  PetscCall(FwBlockSumCreate(p->comm, rows, n * n, &sum));
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);
    double       *slot  = FwBlockSumSlot(&sum, b, level->overlap);

    PetscCall(PetscArrayzero(slot, n * n));
    PetscCall(FwPotentialSolveBlock(p, block, 1.0));
    for (PetscInt i = 0; i < block.n; i += CARRIED_MOST) {
      const PetscInt m   = PetscMin(CARRIED_MOST, block.n - i);
      const double  *phi = Carry(p, level, m * n_top, p->feature + (size_t)(block.first + i) * (size_t)F, 0);
      const double  *b_i = Carry(p, level, m * n_top, p->pass.work + (size_t)i * (size_t)F, 1);

      for (PetscInt k = 0; k < m; k++)
        AddProducts(level, n, phi + (size_t)k * (size_t)level->stride, b_i + (size_t)k * (size_t)level->stride, slot);
    }
    FwBlockSumAdd(&sum, b, level->overlap);
  }
  PetscCall(FwBlockSumFinish(&sum, level->overlap));
  PetscCall(FwBlockSumDestroy(&sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same of the unit matrix in the place of Phi and B, between the paths of one place of the readout */
static PetscErrorCode OwnOverlaps(FwPotential p, Level *level)
{
  const PetscInt N = p->trunk.layer[p->trunk.depth - 1].n_out, n = level->n_own;
  double        *unit;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)CARRIED_MOST * (size_t)N, &unit));
  for (PetscInt b = 0; b < N; b += CARRIED_MOST) {
    const PetscInt m = PetscMin(CARRIED_MOST, N - b);
    const double  *row;

    PetscCall(PetscArrayzero(unit, m * N));
    for (PetscInt k = 0; k < m; k++) unit[k * N + b + k] = 1.0;
    row = Carry(p, level, m, unit, 0);
    for (PetscInt k = 0; k < m; k++, row += n * level->width) AddProducts(level, n, row, row, level->own);
  }
  PetscCall(PetscFree(unit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where path i stands in a carried row */
static PetscInt PlaceOf(const FwTrunk *trunk, PetscInt l, PetscInt i)
{
  PetscInt n;

  if (l == trunk->depth - 1) return i;
  n = FwTrunkCountPaths(trunk, l + 1);
  return PlaceOf(trunk, l + 1, i % n) * trunk->layer[l + 1].n_tap + i / n;
}

/* N times the covariance of the readout's posterior, carried down, between places s and t of a carried row; none of a readout
   that is sampled */
static double Covariance(const Level *level, PetscInt s, PetscInt t)
{
  const PetscInt n = level->n_path, n_own = level->n_own;
  const double   own = s / n_own == t / n_own ? level->own[s % n_own * n_own + t % n_own] : 0.0;

  return own - 0.5 * (level->overlap[s * n + t] + level->overlap[t * n + s]);
}

/* 1/N of: V^T V over channels, or Z^T Z and, in each output's block, the covariance 1 - Phi^T B of one output */
static PetscErrorCode FillGram(FwPotential p, Level *level, const double readout[], double gram[])
{
  const PetscInt n = level->n_path, r = p->n_output * n;
  const double  *v = Carry(p, level, p->n_output * FwTrunkReadoutPlaces(&p->trunk), readout, 0);
  const double  *row, *column;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < r; i++)
    for (PetscInt j = 0; j < r; j++) {
      const PetscInt s = PlaceOf(&p->trunk, level->layer, i % n), t = PlaceOf(&p->trunk, level->layer, j % n);

      row             = v + (size_t)(i / n) * (size_t)level->stride + s * level->width;
      column          = v + (size_t)(j / n) * (size_t)level->stride + t * level->width;
      gram[i * r + j] = FwDot(level->width, row, column);
      if (i / n == j / n) gram[i * r + j] += Covariance(level, s, t);
      gram[i * r + j] /= (double)level->width;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialGram(FwPotential p, const double theta[], PetscInt l, double gram[])
{
  const PetscBool is_full = (PetscBool)(p->kind == FW_POTENTIAL_FULL);
  Level           level;

  PetscFunctionBegin;
  PetscCall(LevelCreate(p, theta, l, &level));
  if (!is_full) PetscCall(PathOverlaps(p, &level));
  if (!is_full) PetscCall(OwnOverlaps(p, &level));
  PetscCall(FillGram(p, &level, is_full ? theta + p->trunk.n_theta : p->readout, gram));
  PetscCall(LevelDestroy(&level));
  PetscFunctionReturn(PETSC_SUCCESS);
}
