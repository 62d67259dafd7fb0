/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sampling the network of one teacher.
 */

#include "optimal_sampler.h"

#include <finwidth/chains.h>
#include <finwidth/checkpoint.h>
#include <finwidth/diagnostics.h>
#include <finwidth/potential.h>

#include <math.h>
#include <stdio.h>

enum { CHAINS = 2, SERIES = 2 };

/* --- the network and its data ------------------------------------------------------------------------------------- */

/* phi(g u) of weights of unit variance is phi of weights of variance g^2 */
static PetscErrorCode CreateModel(const FwOptimalSampler *s, FwModel *model)
{
  const FwDeepTeacher *t = s->teacher;

  PetscFunctionBegin;
  *model = (FwModel){.type = FW_NETWORK_FC, .depth = t->depth, .temperature = s->noise};
  PetscCall(PetscMalloc1(t->depth, &model->width));
  PetscCall(PetscMalloc1(t->depth, &model->activation));
  PetscCall(PetscMalloc1(t->depth + 1, &model->prior));
  PetscCall(PetscCalloc1(t->depth + 1, &model->bias));
  for (PetscInt l = 0; l < t->depth; l++) {
    model->width[l]      = (double)t->width[l];
    model->activation[l] = t->activation[l];
    model->prior[l]      = 1.0 / (t->gain[l] * t->gain[l]);
  }
  model->prior[t->depth] = 1.0 / (t->readout_gain * t->readout_gain);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwDataSizes SizesOf(PetscInt n_train, PetscInt n_test, PetscInt d)
{
  return (FwDataSizes){
    .n_train = n_train, .n_test = n_test, .n_input = d, .n_output = 1, .channels = 1, .height = 1, .width = d};
}

static PetscErrorCode DrawRows(MPI_Comm comm, PetscInt n, PetscInt d, FwStream stream, FwRows *rows)
{
  PetscFunctionBegin;
  PetscCall(FwRowsDivide(comm, n, rows));
  PetscCall(PetscMalloc1((size_t)rows->n_local * (size_t)d, &rows->x));
  FwStreamNormalBulk(stream, (uint64_t)rows->first * (uint64_t)d, (size_t)rows->n_local * (size_t)d, rows->x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawExamples(MPI_Comm comm, const FwExperimentData *data, FwExamples *examples)
{
  PetscFunctionBegin;
  *examples = (FwExamples){.sizes = SizesOf(data->n_train, data->n_test, data->d), .y_train = data->y};
  PetscCall(DrawRows(comm, data->n_train, data->d, data->train, &examples->train));
  PetscCall(DrawRows(comm, data->n_test, data->d, data->test, &examples->test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the target ------------------------------------------------------------------------------------------------------ */

typedef struct {
  FwPotential   potential;
  const double *z;
  PetscInt      n_test;
  double       *variance; /* [n_test] */
} Network;

static PetscErrorCode Evaluate(void *context, const double w[], double *energy, double gradient[])
{
  PetscFunctionBegin;
  PetscCall(FwPotentialEvaluate(((Network *)context)->potential, w, energy, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Series: U, set by the chain, and the squared error. Field: means at the fresh inputs, then second moments */
static PetscErrorCode Measure(void *context, const double w[], double series[], double field[])
{
  const Network *net                     = context;
  double        *value[FW_MEASURE_COUNT] = {NULL}, sum = 0.0;

  PetscFunctionBegin;
  value[FW_MEASURE_TEST_MEAN]     = field;
  value[FW_MEASURE_TEST_VARIANCE] = net->variance;
  PetscCall(FwPotentialMeasure(net->potential, w, value));
  for (PetscInt i = 0; i < net->n_test; i++) {
    sum += PetscSqr(field[i] - net->z[i]);
    field[net->n_test + i] = PetscSqr(field[i]) + net->variance[i];
  }
  series[1] = sum / (double)net->n_test;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what the chains say ------------------------------------------------------------------------------------------------ */

/* Rank 0 */
static PetscErrorCode Summarise(const Network *net, const FwChainsResult *a, double number[])
{
  const PetscInt n     = net->n_test;
  const double  *first = a->block, *second = a->block + (size_t)a->n_field; /* one block of each chain */
  double         error = 0.0, variance = 0.0, rhat, worst = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    error += (net->z[i] - first[i]) * (net->z[i] - second[i]);
    variance += 0.5 * (first[n + i] + second[n + i]) - first[i] * second[i];
  }
  for (PetscInt s = 0; s < SERIES; s++) {
    PetscCall(FwChainRhat(CHAINS, a->n_sample, a->series + (size_t)s * CHAINS * a->n_sample, &rhat));
    worst = PetscMax(worst, rhat);
  }
  number[FW_INSTANCE_ERROR]      = error / (double)n;
  number[FW_INSTANCE_VARIANCE]   = variance / (double)n;
  number[FW_INSTANCE_RHAT]       = worst;
  number[FW_INSTANCE_ITERATIONS] = a->n_gradient / CHAINS;
  number[FW_INSTANCE_CONVERGED]  = worst <= FW_OPTIMAL_RHAT_MOST;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunChains(MPI_Comm comm, const FwChainRanks *ranks, const FwOptimalSampler *s, PetscInt instance,
                                Network *net, double number[])
{
  char     path[PETSC_MAX_PATH_LEN];
  FwTarget target = {
    .context = net, .evaluate = Evaluate, .n_series = SERIES, .n_field = 2 * net->n_test, .measure = Measure};
  FwChainsPlan plan = {
    .sampler = s->plan, .tag = s->tag, .resume = s->resume, .interval = s->interval, .is_end_kept = PETSC_TRUE};
  FwChainsResult result;
  PetscMPIInt    rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s.%" PetscInt_FMT, s->checkpoint, instance));
  plan.checkpoint      = path;
  plan.sampler.n_chain = CHAINS;
  plan.sampler.n_block = 1;
  plan.sampler.seed += (uint64_t)instance << 32; /* a seed of its own: seeds of runs are small */
  PetscCall(FwPotentialGetSize(net->potential, &target.n));
  PetscCall(FwChainsRun(comm, ranks, &target, &plan, &result));
  if (rank == 0) code = Summarise(net, &result, number);
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscCallMPI(MPI_Bcast(number, FW_INSTANCE_COUNT, MPI_DOUBLE, 0, comm));
  PetscCall(FwChainsResultDestroy(&result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunNetwork(MPI_Comm comm, const FwChainRanks *ranks, const FwOptimalSampler *s,
                                 const FwModel *model, const FwExperimentData *data, double number[])
{
  Network        net = {.z = data->z, .n_test = data->n_test};
  FwExamples     examples;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(DrawExamples(ranks->comm, data, &examples));
  PetscCall(FwPotentialCreate(ranks->comm, model, &examples, FW_POTENTIAL_COLLAPSED, &net.potential));
  PetscCall(PetscMalloc1(data->n_test, &net.variance));
  code = RunChains(comm, ranks, s, data->number, &net, number);
  PetscCall(PetscFree(net.variance));
  PetscCall(FwPotentialDestroy(&net.potential));
  PetscCall(FwExamplesDestroy(&examples));
  PetscFunctionReturn(code);
}

/* --- estimate -------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode Estimate(const FwModel *model, PetscInt n_train, PetscInt n_test, PetscInt d,
                               FwPotentialCost *cost)
{
  const FwDataSizes sizes = SizesOf(n_train, n_test, d);

  PetscFunctionBegin;
  PetscCall(FwPotentialEstimate(model, &sizes, FW_POTENTIAL_COLLAPSED, 1, cost));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalSampleEstimate(const FwExperiment *e, const FwOptimalSampler *s, double *rank_bytes,
                                       double *flops)
{
  const double    n = (double)s->plan.n_burnin + s->plan.n_sample;
  FwModel         model;
  FwPotentialCost cost;

  PetscFunctionBegin;
  PetscCall(CreateModel(s, &model));
  PetscCall(Estimate(&model, e->n_train, e->n_test, e->teacher.d, &cost));
  PetscCall(FwModelDestroy(&model));
  *rank_bytes = cost.rank_bytes + 8.0 * (4.0 * e->n_test + 8.0 * cost.n_parameter);
  *flops      = CHAINS * n * e->n_instance *
           (FwSamplerGradients(&s->plan) * cost.gradient_flops +
            e->n_test * (FwDeepTeacherFlops(s->teacher) + PetscSqr(PetscMin(cost.n_feature, (double)e->n_train))));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwOptimalSample(MPI_Comm comm, const FwExperimentData *data, void *context,
                               double number[FW_INSTANCE_COUNT])
{
  const FwOptimalSampler *s = context;
  FwModel                 model;
  FwPotentialCost         cost;
  FwChainCost             chain;
  FwChainRanks            ranks;
  PetscErrorCode          code;

  PetscFunctionBegin;
  PetscCall(CreateModel(s, &model));
  PetscCall(Estimate(&model, data->n_train, data->n_test, data->d, &cost));
  chain = (FwChainCost){.flops       = cost.gradient_flops,
                        .n_parameter = (PetscInt)PetscMin(cost.n_parameter, 2e9),
                        .n_rank_most = (data->n_train + 255) / 256};
  PetscCall(FwChainRanksCreate(comm, CHAINS, &chain, &ranks));
  code = RunNetwork(comm, &ranks, s, &model, data, number);
  PetscCall(FwChainRanksDestroy(&ranks));
  PetscCall(FwModelDestroy(&model));
  PetscFunctionReturn(code);
}
