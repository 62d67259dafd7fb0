/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory, operations and time of sampling a network.
 */

#include "sampled_impl.h"

#include <finwidth/estimate.h>
#include <finwidth/potential.h>

#include <math.h>

/* Share of the rate of a product that a gradient reaches, with its products of few columns; time of a value of the
   activation with its slope, there and back (docs/scaling.md) */
static const double gradient_share = 0.7, activation_seconds = 1e-8;

typedef struct {
  const FwModel       *model;
  const FwSampledPlan *plan;
  PetscInt             n_rank, n_part, n_all; /* of the run; parts; chains of all sets */
  FwPotentialCost      potential;
  double               bytes; /* of the first rank */
} Estimate;

/* Series and field of a sample: the layout's, counted in doubles */
static double SeriesLength(const FwDataSizes *sizes)
{
  return 4.0 + (sizes->n_test ? 2.0 : 1.0) * sizes->n_output;
}

/* M of the packed M x M covariance of first-layer weights; for patches, of no more than the whole image */
static double WeightInputs(const Estimate *e, const FwDataSizes *sizes)
{
  const PetscInt most =
    e->model->type == FW_NETWORK_FC ? sizes->n_input : PetscMin(sizes->n_input, FW_SAMPLED_MAX_SPECTRUM);

  return (double)FwSampledWeightInputs(most, e->plan->with_hidden);
}

static double FieldLength(const Estimate *e, const FwDataSizes *sizes)
{
  const double P = e->plan->with_hidden ? sizes->n_train : 0.0, M = WeightInputs(e, sizes);

  return 2.0 * ((double)sizes->n_test + sizes->n_new) * sizes->n_output + e->potential.n_gram + 0.5 * P * (P + 1.0) +
         0.5 * M * (M + 1.0);
}

/* Numbers that a measurement leaves behind, and the hidden Gram matrix' own */
static double MeasuredNumbers(const Estimate *e, const FwDataSizes *sizes)
{
  const double P = sizes->n_train, D = sizes->n_output, P_t = (double)sizes->n_test + sizes->n_new;
  const double hidden = e->plan->with_hidden ? P * (P + e->potential.n_feature) : 0.0;

  return (P + P_t) * (D + 1.0) + e->potential.n_gram + e->potential.n_parameter + hidden +
         PetscSqr(WeightInputs(e, sizes));
}

/* The chains of the first rank, with their momenta and proposals; and all of them, packed for a checkpoint or in the
   result, beside the one that is on its way */
static double ChainNumbers(const Estimate *e, const FwDataSizes *sizes)
{
  const FwSamplerPlan *s     = &e->plan->chains.sampler;
  const double         field = FieldLength(e, sizes), n = e->potential.n_parameter;
  const double         kept  = SeriesLength(sizes) * s->n_sample + field * FwSampledBlocks(s->n_sample, field);
  const double         chain = 5.0 * n + kept + field;

  return (ceil((double)e->n_all / e->n_part) + 1.0) * chain + (e->n_all + 1.0) * (n + kept);
}

static PetscErrorCode Fill(Estimate *e, const FwDataSizes *sizes)
{
  const FwPotentialKind kind = e->plan->is_collapsed ? FW_POTENTIAL_COLLAPSED : FW_POTENTIAL_FULL;
  const FwChainCost     cost = FwSampledChainCost(e->model, sizes);

  PetscFunctionBegin;
  e->n_part = FwChainRanksChoose(e->n_rank, e->n_all, &cost);
  PetscCall(FwPotentialEstimate(e->model, sizes, kind, e->n_rank / e->n_part, &e->potential));
  e->bytes = FW_ESTIMATE_BASE_BYTES + e->potential.rank_bytes +
             sizeof(double) * (MeasuredNumbers(e, sizes) + ChainNumbers(e, sizes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Refuse(MPI_Comm comm, const Estimate *e, const FwDataSizes *sizes, double bytes)
{
  Estimate    other   = *e;
  FwDataSizes smaller = *sizes;
  PetscInt    low = 0, high = sizes->n_train;

  PetscFunctionBegin;
  while (high - low > 1) {
    smaller.n_train = low + (high - low) / 2;
    PetscCall(Fill(&other, &smaller));
    *(other.bytes <= bytes ? &low : &high) = smaller.n_train;
  }
  PetscCheck(low > 0, comm, FW_ERR_MEMORY,
             "%" PetscInt_FMT " chains of %.3g parameters need %.2f GiB on the first of %" PetscInt_FMT
             " ranks and %.2f GiB may be used, whatever data_train: smaller sampler_chains, sampler_samples, "
             "network_width or data_test",
             e->n_all, e->potential.n_parameter, e->bytes / 1073741824.0, e->n_rank, bytes / 1073741824.0);
  SETERRQ(comm, FW_ERR_MEMORY,
          "%" PetscInt_FMT " chains on %" PetscInt_FMT " training examples need %.2f GiB on the first of %" PetscInt_FMT
          " ranks and %.2f GiB may be used: data_train up to %" PetscInt_FMT ", or smaller sampler_chains%s",
          e->n_all, sizes->n_train, e->bytes / 1073741824.0, e->n_rank, bytes / 1073741824.0, low,
          e->plan->with_hidden ? ", or no theory_observables" : "");
}

/* On the ranks of a chain; `rate` is that of all ranks */
static double Seconds(const Estimate *e, double rate, double flops, double n_activation)
{
  return flops * e->n_part / (gradient_share * rate) + n_activation * activation_seconds * e->n_part / e->n_rank;
}

/* A sample is measured: another gradient, and the Gram matrices */
static void AddUp(const Estimate *e, double rate, FwSampledCost *cost)
{
  const FwSamplerPlan *s          = &e->plan->chains.sampler;
  const double         n_gradient = FwSamplerGradients(s) * (s->n_burnin + s->n_sample) + s->n_sample;
  const double         flops      = n_gradient * e->potential.gradient_flops + s->n_sample * e->potential.gram_flops;

  cost->flops   = e->n_all * flops;
  cost->seconds = ceil((double)e->n_all / e->n_part) * Seconds(e, rate, flops, n_gradient * e->potential.n_activation);
}

PetscErrorCode FwSampledEstimate(MPI_Comm comm, const FwModel *model, const FwDataSizes *sizes,
                                 const FwSampledPlan *plan, FwSampledCost *cost)
{
  const FwSamplerPlan *s    = &plan->chains.sampler;
  Estimate             e    = {.model = model, .plan = plan, .n_all = FwChainsSets(s->method) * s->n_chain};
  double               rate = 1.0, bytes = 0.0;
  PetscMPIInt          n_rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  e.n_rank = n_rank;
  PetscCall(FwEstimateMemory(comm, &bytes));
  PetscCall(Fill(&e, sizes));
  PetscCheck(e.potential.n_parameter < 2147483647.0, comm, FW_ERR_MEMORY,
             "%.3g parameters are too many to be sampled: network_width or data_train must be smaller",
             e.potential.n_parameter);
  if (e.bytes > bytes) PetscCall(Refuse(comm, &e, sizes, bytes));
  PetscCall(FwEstimateRate(comm, &rate));
  *cost = (FwSampledCost){.n_rank_chain = e.n_rank / e.n_part, .peak_bytes = e.bytes};
  AddUp(&e, rate, cost);
  PetscFunctionReturn(PETSC_SUCCESS);
}
