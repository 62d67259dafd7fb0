/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Which bandwidth: time estimated from constants, measured once and written down in docs/scaling.md.
 */

#include "spectrum_impl.h"

#include <float.h>
#include <math.h>

/* Measured at P = 1000 to 4000 by tests/bench/bench_linalg on one and two cores. They are constants, not measurements
   of the moment: the choice, and with it the last digits of a result, must not depend on what else the machine does. */
static const double product_rate = 45e9; /* operations per second of dgemm on one core */

typedef struct {
  PetscInt bandwidth;
  double   flops;      /* of the decomposition, in P^3 */
  double   share;      /* of the rate of dgemm that it reaches */
  double   kernels[2]; /* memory at the peak in local kernels: on one rank, on more */
  double   rotate;     /* operations for a column of P numbers, in P^2, at half the rate of dgemm */
  double   resolvent;  /* [s] per example, at each (T, Q), on every rank */
  double   solve;      /* [s] per example: factorisation and mean weights of a prediction, on every rank */
  double   variance;   /* [s] per example and test example of this rank */
} Constants;

static const Constants constants[] = {
  {.bandwidth = 0,
   .flops     = 10.0 / 3.0,
   .share     = 0.30,
   .kernels   = {3.0, 5.0},
   .rotate    = 2.0,
   .resolvent = 2e-9,
   .solve     = 3e-9,
   .variance  = 0.4e-9},
  {.bandwidth = 1,
   .flops     = 4.0 / 3.0,
   .share     = 0.20,
   .kernels   = {1.0, 1.0},
   .rotate    = 2.0,
   .resolvent = 32e-9,
   .solve     = 15e-9,
   .variance  = 0.6e-9},
  {.bandwidth = 64,
   .flops     = 4.0 / 3.0,
   .share     = 0.60,
   .kernels   = {1.0, 1.0},
   .rotate    = 2.0,
   .resolvent = 2.5e-6,
   .solve     = 0.5e-6,
   .variance  = 11e-9 },
};

enum { N_FORM = sizeof constants / sizeof *constants };

/* Below this temperature, in units of the mean diagonal entry, round-off in modes that should be zero decides */
static double TemperatureFloor(double n)
{
  return PetscMax(1e-10, 1e4 * n * DBL_EPSILON);
}

static void Estimate(const Constants *c, PetscMPIInt n_rank, const FwSpectrumUse *use, FwSpectrumCost *cost)
{
  const double n = use->n, columns = use->n_test + 2.0, n_test_local = ceil(use->n_test / n_rank);
  const double mean = 2.0 * n * n_test_local / (0.1 * product_rate); /* a matrix times a vector, from memory */

  cost->flops         = c->flops * n * n * n + c->rotate * n * n * columns;
  cost->decomposition = (c->flops * n * n * n / c->share + 2.0 * c->rotate * n * n * columns) / (product_rate * n_rank);
  cost->use           = use->n_evaluation * c->resolvent * n + use->n_prediction * (c->solve * n + mean);
  if (use->with_variance) cost->use += use->n_prediction * c->variance * n * n_test_local;
  cost->kernels = c->kernels[n_rank > 1];
}

PetscErrorCode FwSpectrumEstimate(FwGrid grid, const FwSpectrumUse *use, PetscInt bandwidth, FwSpectrumCost *cost)
{
  PetscFunctionBegin;
  for (int i = 0; i < N_FORM; i++)
    if (constants[i].bandwidth == bandwidth) {
      Estimate(&constants[i], grid->size, use, cost);
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  SETERRQ(FwGridComm(grid), PETSC_ERR_ARG_OUTOFRANGE, "there is no spectrum of bandwidth %" PetscInt_FMT ": 64, 1 or 0",
          bandwidth);
}

PetscErrorCode FwSpectrumChoose(FwGrid grid, const FwSpectrumUse *use, PetscInt *bandwidth, FwSpectrumCost *cost)
{
  PetscFunctionBegin;
  *bandwidth = 0;
  Estimate(&constants[0], grid->size, use, cost);
  if (use->temperature_lowest < TemperatureFloor(use->n)) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 1; i < N_FORM; i++) {
    FwSpectrumCost other;

    Estimate(&constants[i], grid->size, use, &other);
    if (other.decomposition + other.use >= cost->decomposition + cost->use) continue;
    *cost      = other;
    *bandwidth = constants[i].bandwidth;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
