/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The potential of a network's posterior: its making, its value and its gradient.
 */

#include "potential_impl.h"
#include <finwidth/dense.h>
#include <math.h>

/* --- making --------------------------------------------------------------------------------------------------- */

static PetscErrorCode SetUpSizes(FwPotential p, const FwModel *model)
{
  const PetscInt P = p->examples.train.n, D = p->examples.sizes.n_output;

  PetscFunctionBegin;
  p->n_output         = D;
  p->n_feature        = p->trunk.n_feature;
  p->has_readout_bias = (PetscBool)(model->bias[model->depth] > 0.0);
  p->n_active         = p->trunk.n_theta + (p->kind == FW_POTENTIAL_FULL ? D * p->n_feature : 0);
  p->n_theta          = p->n_active + p->trunk.layer[0].n_out * p->trunk.n_rest;
  p->is_dual          = (PetscBool)(p->kind == FW_POTENTIAL_COLLAPSED && P < p->n_feature);
  p->temperature      = model->temperature;
  p->width            = model->width[model->depth - 1];
  p->prior_first      = model->prior[0];
  p->prior_readout    = model->prior[model->depth];
  for (PetscInt b = 0; b < p->examples.train.n_block; b++)
    p->n_block_row =
      PetscMax(p->n_block_row, FwRowsBlock(&p->examples.train, b + 1) - FwRowsBlock(&p->examples.train, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Allocate(FwPotential p)
{
  const FwRows *rows = &p->examples.train;
  const size_t  P = (size_t)rows->n, D = (size_t)p->n_output, F = (size_t)p->n_feature;
  const size_t  n_stored = p->is_dual ? P : (size_t)rows->n_local;
  const size_t  n_factor = p->kind == FW_POTENTIAL_FULL ? 0 : p->is_dual ? P * P : F * (F + D);

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(p->n_rank, &p->count, p->n_rank, &p->offset));
  PetscCall(PetscMalloc2((size_t)rows->n_local * (size_t)(p->trunk.n_input_scaled - p->trunk.n_rest), &p->scaled,
                         (size_t)p->examples.test.n_local * (size_t)p->trunk.n_input_scaled, &p->scaled_test));
  PetscCall(PetscMalloc6(P * D, &p->y, n_stored * F, &p->storage, P * D, &p->dual, D * F, &p->readout,
                         p->is_dual ? D * P : 0, &p->column, n_factor, &p->factor));
  p->feature = p->storage + (p->is_dual ? (size_t)rows->first * F : 0);
  PetscCall(FwPassCreate(&p->trunk, rows->n_local, p->n_block_row, &p->pass));
  PetscCall(FwBlockSumCreate(p->comm, rows, p->n_active, &p->gradient_sum));
  PetscCall(FwBlockSumCreate(p->comm, rows, 1, &p->scalar_sum));
  if (p->kind == FW_POTENTIAL_COLLAPSED && !p->is_dual)
    PetscCall(FwBlockSumCreate(p->comm, rows, (PetscInt)n_factor, &p->moment_sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coordinates in which training examples have P inputs, from all examples on every rank */
static PetscErrorCode RotateInputs(FwPotential p)
{
  const FwRows  *rows = &p->examples.train, *test = &p->examples.test;
  const PetscInt n = p->trunk.n_input_scaled, P = rows->n;
  double        *all;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)P * (size_t)n, &all));
  FwTrunkScaleInputs(&p->trunk, rows->n_local, rows->x, all + (size_t)rows->first * (size_t)n);
  PetscCall(FwPotentialGatherRows(p, rows, n, all));
  PetscCall(FwRotationCreate(n, P, all, &p->rotation));
  PetscCall(PetscFree(all));
  for (PetscInt i = 0; i < rows->n_local; i++)
    FwRotationVector(&p->rotation, rows->first + i, p->scaled + (size_t)i * (size_t)P);
  for (PetscInt b = 0; b < test->n_local_block; b++) { /* block by block: the same bits on any number of ranks */
    const PetscInt first = FwRowsBlock(test, test->first_block + b), end = FwRowsBlock(test, test->first_block + b + 1);

    PetscCall(FwRotationApply(&p->rotation, PETSC_FALSE, end - first,
                              p->scaled_test + (size_t)(first - test->first) * (size_t)n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(FwPotential p, const FwModel *model)
{
  PetscFunctionBegin;
  PetscCall(FwTrunkCreate(model, &p->examples.sizes, &p->trunk));
  PetscCall(SetUpSizes(p, model));
  PetscCall(Allocate(p));
  FwTrunkScaleInputs(&p->trunk, p->examples.test.n_local, p->examples.test.x, p->scaled_test);
  if (p->trunk.n_rest)
    PetscCall(RotateInputs(p));
  else
    FwTrunkScaleInputs(&p->trunk, p->examples.train.n_local, p->examples.train.x, p->scaled);
  PetscCall(FwPotentialSetTargets(p, p->examples.y_train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialCreate(MPI_Comm comm, const FwModel *model, const FwExamples *examples, FwPotentialKind kind,
                                 FwPotential *potential)
{
  FwPotential    p;
  PetscErrorCode code;

  PetscFunctionBegin;
  *potential = NULL;
  PetscCheck(model->temperature > 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "temperature: a posterior is sampled at T > 0, not at %.6g", model->temperature);
  PetscCall(PetscNew(&p));
  p->kind     = kind;
  p->examples = *examples;
  PetscCallMPI(MPI_Comm_dup(comm, &p->comm));
  PetscCallMPI(MPI_Comm_size(p->comm, &p->n_rank));
  code = SetUp(p, model);
  if (code) PetscCall(FwPotentialDestroy(&p));
  PetscCall(code);
  *potential = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialDestroy(FwPotential *potential)
{
  FwPotential p = *potential;

  PetscFunctionBegin;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwBlockSumDestroy(&p->gradient_sum));
  PetscCall(FwBlockSumDestroy(&p->moment_sum));
  PetscCall(FwBlockSumDestroy(&p->scalar_sum));
  PetscCall(FwPassDestroy(&p->trunk, &p->pass));
  PetscCall(PetscFree6(p->y, p->storage, p->dual, p->readout, p->column, p->factor));
  PetscCall(PetscFree2(p->scaled, p->scaled_test));
  PetscCall(FwRotationDestroy(&p->rotation));
  PetscCall(PetscFree2(p->count, p->offset));
  PetscCall(FwTrunkDestroy(&p->trunk));
  PetscCallMPI(MPI_Comm_free(&p->comm));
  PetscCall(PetscFree(*potential));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialGetSize(FwPotential potential, PetscInt *n)
{
  PetscFunctionBegin;
  *n = potential->n_theta;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialSetTargets(FwPotential p, const double y[])
{
  PetscFunctionBegin;
  PetscCall(PetscArraycpy(p->y, y, (size_t)p->examples.train.n * (size_t)p->n_output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- value and gradient --------------------------------------------------------------------------------------- */

FwInputs FwPotentialInputs(FwPotential p)
{
  return (FwInputs){.z = p->scaled, .n_column = p->trunk.n_input_scaled - p->trunk.n_rest};
}

PetscErrorCode FwPotentialForward(FwPotential p, const double theta[])
{
  const FwInputs inputs = FwPotentialInputs(p);

  PetscFunctionBegin;
  for (PetscInt b = 0; b < p->examples.train.n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);

    PetscCall(FwTrunkForward(&p->trunk, theta, block.first, block.n, &inputs, &p->pass, p->feature));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the data add to |theta|^2 / 2 */
static PetscErrorCode DataEnergy(FwPotential p, const double theta[], double *energy)
{
  PetscFunctionBegin;
  if (p->kind == FW_POTENTIAL_COLLAPSED) {
    PetscCall(FwPotentialCondition(p, energy));
  } else {
    PetscCall(FwPotentialResiduals(p, theta + p->trunk.n_theta, energy));
    *energy *= 0.5 / p->temperature;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gradient of one block: in its features at the beginning of the work, then in theta */
static PetscErrorCode BlockGradient(FwPotential p, const double theta[], FwBlock block, double gradient[])
{
  const PetscInt  D = p->n_output, F = p->n_feature;
  const PetscBool is_full = (PetscBool)(p->kind == FW_POTENTIAL_FULL);
  const double   *v       = is_full ? theta + p->trunk.n_theta : p->readout;
  const FwInputs  inputs  = FwPotentialInputs(p);
  const double   *a       = p->dual + (size_t)(p->examples.train.first + block.first) * (size_t)D;

  PetscFunctionBegin;
  if (is_full)
    FwGemm("N", "T", F, D, block.n, -1.0, p->feature + (size_t)block.first * (size_t)F, F, a, D, 0.0,
           gradient + p->trunk.n_theta, F);
  else
    PetscCall(FwPotentialSolveBlock(p, block, (double)D));
  FwGemm("N", "N", F, block.n, D, -1.0, v, F, a, D, is_full ? 0.0 : 1.0, p->pass.work, F);
  FwTrunkBackward(&p->trunk, theta, block.first, block.n, &inputs, &p->pass, gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Gradient(FwPotential p, const double theta[], double gradient[])
{
  PetscFunctionBegin;
  for (PetscInt b = 0; b < p->examples.train.n_local_block; b++) {
    PetscCall(BlockGradient(p, theta, FwPotentialBlock(p, b), FwBlockSumSlot(&p->gradient_sum, b, gradient)));
    FwBlockSumAdd(&p->gradient_sum, b, gradient);
  }
  PetscCall(FwBlockSumFinish(&p->gradient_sum, gradient));
  FwAxpy(p->n_active, 1.0, theta, gradient);
  PetscCall(PetscArraycpy(gradient + p->n_active, theta + p->n_active, p->n_theta - p->n_active));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialEvaluate(FwPotential p, const double theta[], double *energy, double gradient[])
{
  PetscFunctionBegin;
  PetscCall(FwPotentialForward(p, theta));
  PetscCall(DataEnergy(p, theta, energy));
  *energy += 0.5 * FwDot(p->n_theta, theta, theta);
  if (!isfinite(*energy))
    *energy = INFINITY;
  else if (gradient)
    PetscCall(Gradient(p, theta, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}
