/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What a potential will need: its arrays and products, counted in doubles before anything is allocated.
 */

#include "potential_impl.h"

#include <math.h>

typedef struct {
  double train, test;                                   /* P, P_t */
  double block, local_block, local_train, local_test;   /* blocks of training examples; of those the part of one rank */
  double block_row, n_rank, n_output, n_active, factor; /* rows of a block; numbers of the factored matrix */
  PetscBool is_dual;
} Counts;

static double Parameters(const FwModel *model, const FwTrunk *trunk, FwPotentialKind kind, double n_output)
{
  double n = kind == FW_POTENTIAL_FULL ? n_output * trunk->n_feature : 0.0;

  for (PetscInt l = 0; l < model->depth; l++)
    n += (double)trunk->layer[l].n_set * trunk->layer[l].n_out * trunk->layer[l].n_in;
  return n;
}

static Counts Count(const FwModel *model, const FwDataSizes *sizes, const FwTrunk *trunk, FwPotentialKind kind,
                    PetscInt n_rank)
{
  const double rows = 256.0, F = trunk->n_feature;
  Counts       c = {.train = sizes->n_train, .test = (double)sizes->n_test + sizes->n_new, .n_rank = n_rank};

  c.block       = PetscMax(1.0, round(c.train / rows));
  c.block_row   = ceil(c.train / c.block);
  c.local_block = ceil(c.block / n_rank);
  c.local_train = PetscMin(c.train, c.local_block * c.block_row);
  c.local_test  = PetscMin(c.test, rows * ceil(c.test / rows / n_rank) + rows);
  c.n_output    = sizes->n_output;
  c.n_active    = Parameters(model, trunk, kind, c.n_output);
  c.is_dual     = kind == FW_POTENTIAL_COLLAPSED && c.train < F ? PETSC_TRUE : PETSC_FALSE;
  c.factor      = kind == FW_POTENTIAL_FULL ? 0.0 : c.is_dual ? c.train * c.train : F * (F + c.n_output);
  return c;
}

/* What sums over blocks of n numbers hold */
static double BlockSum(const Counts *c, double n)
{
  if (c->n_rank < 2.0) return c->block > 1.0 ? n : 0.0;
  return 2.0 * c->local_block * n + c->block * n / c->n_rank;
}

/* Slopes and features of a row in all layers; the work of one block's rows is of the widest */
static double Pass(const FwTrunk *trunk, double n_row, double n_block_row)
{
  double row = 0.0, widest = 0.0;

  for (PetscInt l = 0; l < trunk->depth; l++) {
    const double size = (double)trunk->layer[l].n_patch * trunk->layer[l].n_out, n = trunk->layer[l].n_feature;

    row += size + (l < trunk->depth - 1 ? n : 0.0);
    widest = PetscMax(widest, PetscMax(size, n));
  }
  return n_row * row + n_block_row * widest;
}

/* Examples as they come and as they are scaled; the rotation, and all examples from which it is made */
static double Inputs(const FwTrunk *trunk, const Counts *c)
{
  const double n_scaled = trunk->n_input_scaled, n_rest = trunk->n_rest;
  const double rotation = n_rest > 0.0 ? 2.0 * c->train * n_scaled : 0.0;

  return (c->local_train + c->local_test) * (trunk->n_input + n_scaled) - c->local_train * n_rest + rotation;
}

static double Numbers(const FwTrunk *trunk, const Counts *c)
{
  const double F = trunk->n_feature, D = c->n_output, test_row = 2.0 * 256.0;
  const double stored   = (c->is_dual ? c->train : c->local_train) * F;
  const double vectors  = 2.0 * c->train * D + D * F + (c->is_dual ? D * c->train : 0.0);
  const double sums     = BlockSum(c, c->n_active) + (c->is_dual ? 0.0 : BlockSum(c, c->factor));
  const double measured = Pass(trunk, test_row, test_row) + test_row * (F + 2.0 * PetscMax(F, c->train)) +
                          FwPotentialGramRoom(trunk, (PetscInt)D);

  return Inputs(trunk, c) + stored + vectors + c->factor + sums + Pass(trunk, c->local_train, c->block_row) + measured;
}

/* Forward and backward; no gradient in the inputs. Phi Phi^T or Phi^T Phi, its factor, and B */
static double GradientFlops(const FwTrunk *trunk, const Counts *c)
{
  const double F = trunk->n_feature, m = PetscMin(c->train, F);
  double       flops = c->factor > 0.0 ? 3.0 * c->train * F * m + m * m * m : 4.0 * c->train * F * c->n_output;

  for (PetscInt l = 0; l < trunk->depth; l++) {
    const FwLayer *layer = &trunk->layer[l];

    flops += (l ? 6.0 : 4.0) * c->train * layer->n_patch * layer->n_out * layer->n_in;
  }
  return flops;
}

static double CountActivations(const FwTrunk *trunk, const Counts *c)
{
  double n = 0.0;

  for (PetscInt l = 0; l < trunk->depth; l++) n += (double)trunk->layer[l].n_patch * trunk->layer[l].n_out;
  return c->train * n;
}

/* Numbers of all Gram matrices */
static double Gram(const FwTrunk *trunk, double n_output)
{
  double n = 0.0;

  for (PetscInt l = FwTrunkHasPaths(trunk) ? 0 : trunk->depth - 1; l < trunk->depth; l++)
    n += PetscSqr(n_output * FwTrunkCountPaths(trunk, l));
  return n;
}

/* paths.c: rows of Phi, B and of the unit matrix carried down to every layer, and their products between paths */
static double GramFlops(const FwTrunk *trunk, const Counts *c)
{
  const double N = trunk->layer[trunk->depth - 1].n_out, n_top = FwTrunkReadoutPlaces(trunk);
  const double n_row = c->factor > 0.0 ? 2.0 * c->train * n_top + N : 0.0, n_carried = n_row + c->n_output * n_top;
  double       flops = 0.0;

  for (PetscInt l = FwTrunkHasPaths(trunk) ? 0 : trunk->depth - 1; l < trunk->depth; l++) {
    const double n = FwTrunkCountPaths(trunk, l), own = n / n_top;
    const double pairs = PetscSqr(c->n_output * n) + (c->factor > 0.0 ? c->train * n * n + N * own * own : 0.0);

    flops += 2.0 * trunk->layer[l].n_out * pairs;
    for (PetscInt k = l + 1; k < trunk->depth; k++)
      flops += 2.0 * n_carried * FwTrunkCountPaths(trunk, k) / n_top * trunk->layer[k].n_in * trunk->layer[k].n_out;
  }
  return flops;
}

PetscErrorCode FwPotentialEstimate(const FwModel *model, const FwDataSizes *sizes, FwPotentialKind kind,
                                   PetscInt n_rank, FwPotentialCost *cost)
{
  FwTrunk trunk;
  Counts  c;

  PetscFunctionBegin;
  PetscCall(FwTrunkCreate(model, sizes, &trunk));
  c     = Count(model, sizes, &trunk, kind, n_rank);
  *cost = (FwPotentialCost){.n_parameter    = c.n_active + (double)trunk.layer[0].n_out * trunk.n_rest,
                            .n_gram         = Gram(&trunk, c.n_output),
                            .n_feature      = trunk.n_feature,
                            .rank_bytes     = 8.0 * Numbers(&trunk, &c),
                            .gradient_flops = GradientFlops(&trunk, &c),
                            .gram_flops     = GramFlops(&trunk, &c),
                            .n_activation   = CountActivations(&trunk, &c)};
  PetscCall(FwTrunkDestroy(&trunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}
