/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The posterior of a network as the target of chains.
 */

#include "sampled_impl.h"

#include <finwidth/examples.h>
#include <finwidth/potential.h>

#include <math.h>
#include <string.h>

/* --- the target --------------------------------------------------------------------------------------------- */

typedef struct {
  FwPotential     potential;
  FwSampledLayout at;
  const double   *y_train, *y_test;
  double         *value[FW_MEASURE_COUNT]; /* room for what is measured; NULL for what is not */
} Network;

static PetscErrorCode Evaluate(void *context, const double w[], double *energy, double gradient[])
{
  PetscFunctionBegin;
  PetscCall(FwPotentialEvaluate(((Network *)context)->potential, w, energy, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of (m - y)^2 + v over n examples, of output d of D */
static double MeanError(PetscInt n, PetscInt d, PetscInt n_output, const double mean[], const double variance[],
                        const double y[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += PetscSqr(mean[i * n_output + d] - y[i * n_output + d]) + variance[i];
  return sum / (double)n;
}

static void FillSeries(const Network *net, double series[])
{
  const FwSampledLayout *at    = &net->at;
  const double          *gram  = net->value[at->n_layer > 1 ? FW_MEASURE_PATH_GRAM : FW_MEASURE_READOUT_GRAM];
  double                 order = 0.0;

  for (PetscInt d = 0; d < at->n_output; d++) {
    series[at->series_train + d] = MeanError(at->n_train, d, at->n_output, net->value[FW_MEASURE_TRAIN_MEAN],
                                             net->value[FW_MEASURE_TRAIN_VARIANCE], net->y_train);
    if (at->n_test)
      series[at->series_test + d] = MeanError(at->n_test, d, at->n_output, net->value[FW_MEASURE_TEST_MEAN],
                                              net->value[FW_MEASURE_TEST_VARIANCE], net->y_test);
  }
  for (PetscInt r = 0; r < at->n_order[0]; r++) order += gram[r * at->n_order[0] + r];
  series[at->series_order]  = order / (double)at->n_order[0];
  series[at->series_hidden] = net->value[FW_MEASURE_HIDDEN_TRACE][0];
  series[at->series_weight] = net->value[FW_MEASURE_WEIGHT_TRACE][0];
}

static void FillField(const Network *net, double field[])
{
  const FwSampledLayout *at       = &net->at;
  const double          *mean     = net->value[FW_MEASURE_TEST_MEAN];
  const double          *variance = net->value[FW_MEASURE_TEST_VARIANCE];
  const PetscInt         n        = (at->n_test + at->n_new) * at->n_output;
  const PetscInt         n_path   = FwSampledOrderPlace(at, at->n_layer - 1);

  for (PetscInt i = 0; i < n; i++) {
    field[at->field_mean + i]   = mean[i];
    field[at->field_second + i] = mean[i] * mean[i] + variance[i / at->n_output];
  }
  for (PetscInt i = 0; i < n_path; i++) field[at->field_order + i] = net->value[FW_MEASURE_PATH_GRAM][i];
  memcpy(field + at->field_order + n_path, net->value[FW_MEASURE_READOUT_GRAM],
         (size_t)PetscSqr(at->n_order[at->n_layer - 1]) * sizeof *field);
  for (PetscInt i = 0; i < at->n_hidden; i++)
    memcpy(field + at->field_hidden + FwPackedPlace(i, 0),
           net->value[FW_MEASURE_HIDDEN_GRAM] + (size_t)i * at->n_hidden, (size_t)(i + 1) * sizeof *field);
  for (PetscInt i = 0; i < at->n_weight; i++)
    memcpy(field + at->field_weight + FwPackedPlace(i, 0),
           net->value[FW_MEASURE_WEIGHT_COVARIANCE] + (size_t)i * at->n_weight, (size_t)(i + 1) * sizeof *field);
}

static PetscErrorCode Measure(void *context, const double w[], double series[], double field[])
{
  Network *net = (Network *)context;

  PetscFunctionBegin;
  PetscCall(FwPotentialMeasure(net->potential, w, net->value));
  FillSeries(net, series);
  FillField(net, field);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- layout ------------------------------------------------------------------------------------------------- */

PetscInt FwSampledWeightInputs(PetscInt n_input, PetscBool with_observables)
{
  return with_observables && n_input <= FW_SAMPLED_MAX_SPECTRUM ? n_input : 0;
}

PetscInt FwSampledOrderPlace(const FwSampledLayout *at, PetscInt layer)
{
  PetscInt place = 0;

  for (PetscInt l = 0; l < layer; l++) place += PetscSqr(at->n_order[l]);
  return place;
}

static PetscErrorCode LayOut(FwPotential potential, const FwDataSizes *sizes, PetscBool with_hidden,
                             FwSampledLayout *at)
{
  PetscInt n_weight, n_value;

  PetscFunctionBegin;
  PetscCall(FwPotentialMeasureSize(potential, FW_MEASURE_WEIGHT_COVARIANCE, &n_weight));
  *at = (FwSampledLayout){.n_train  = sizes->n_train,
                          .n_test   = sizes->n_test,
                          .n_new    = sizes->n_new,
                          .n_output = sizes->n_output,
                          .n_hidden = with_hidden ? sizes->n_train : 0};
  PetscCall(FwPotentialGramSizes(potential, &at->n_layer, NULL));
  PetscCall(PetscMalloc1(at->n_layer, &at->n_order));
  PetscCall(FwPotentialGramSizes(potential, &at->n_layer, at->n_order));
  n_value           = (sizes->n_test + sizes->n_new) * sizes->n_output;
  at->series_train  = 1;
  at->series_test   = 1 + sizes->n_output;
  at->series_order  = at->series_test + (sizes->n_test ? sizes->n_output : 0);
  at->series_hidden = at->series_order + 1;
  at->series_weight = at->series_order + 2;
  at->n_series      = at->series_order + 3;
  at->field_second  = n_value;
  at->field_order   = 2 * n_value;
  at->field_hidden  = at->field_order + FwSampledOrderPlace(at, at->n_layer);
  at->n_weight      = FwSampledWeightInputs((PetscInt)lround(sqrt((double)n_weight)), with_hidden);
  at->n_mode        = PetscMin(at->n_weight, FW_SAMPLED_WEIGHT_MODES);
  at->field_weight  = at->field_hidden + (PetscInt)FwPackedPlace(at->n_hidden, 0);
  at->n_field       = at->field_weight + (PetscInt)FwPackedPlace(at->n_weight, 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwSampledBlocks(PetscInt n_sample, double n_field)
{
  const double bytes = 67108864.0, most = 32.0;

  return (PetscInt)PetscMax(8.0, PetscMin(PetscMin(most, (double)n_sample), bytes / (8.0 * n_field)));
}

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateNetwork(const FwChainRanks *ranks, const FwExamples *examples, FwDataset data,
                                    const FwModel *model, const FwSampledPlan *plan, Network *net)
{
  PetscFunctionBegin;
  *net = (Network){.y_train = examples->y_train};
  PetscCall(FwPotentialCreate(ranks->comm, model, examples,
                              plan->is_collapsed ? FW_POTENTIAL_COLLAPSED : FW_POTENTIAL_FULL, &net->potential));
  PetscCall(LayOut(net->potential, &examples->sizes, plan->with_hidden, &net->at));
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &net->y_test));
  for (int q = 0; q < FW_MEASURE_COUNT; q++) {
    PetscInt n;

    if ((q == FW_MEASURE_WEIGHT_COVARIANCE && !net->at.n_weight) || (q == FW_MEASURE_HIDDEN_GRAM && !plan->with_hidden))
      continue;
    PetscCall(FwPotentialMeasureSize(net->potential, (FwMeasure)q, &n));
    PetscCall(PetscMalloc1(n, &net->value[q]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyNetwork(Network *net)
{
  PetscFunctionBegin;
  for (int q = 0; q < FW_MEASURE_COUNT; q++) PetscCall(PetscFree(net->value[q]));
  PetscCall(PetscFree(net->at.n_order));
  PetscCall(FwPotentialDestroy(&net->potential));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The weights where the chains ended, [n_row, n], from the coordinates in which they are sampled */
static PetscErrorCode TurnWeights(FwPotential potential, PetscInt n_row, PetscInt n, double w[])
{
  double *theta;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &theta));
  for (PetscInt i = 0; i < n_row; i++) {
    PetscCall(PetscArraycpy(theta, w + (size_t)i * n, n));
    PetscCall(FwPotentialGetWeights(potential, theta, w + (size_t)i * n));
  }
  PetscCall(PetscFree(theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSampled(const Network *net, FwDataset data, const FwSampledPlan *plan, PetscInt n_parameter,
                                    const FwChainsResult *chains, FwSampled *sampled)
{
  const size_t n_train = (size_t)net->at.n_train * net->at.n_output, n_test = (size_t)net->at.n_test * net->at.n_output;
  const PetscInt *classes;
  FwSampled       s;

  PetscFunctionBegin;
  PetscCall(PetscNew(&s));
  s->at = net->at;
  PetscCall(PetscMalloc1(s->at.n_layer, &s->at.n_order));
  PetscCall(PetscArraycpy(s->at.n_order, net->at.n_order, s->at.n_layer));
  s->plan        = *plan;
  s->chains      = *chains;
  s->n_parameter = n_parameter;
  if (plan->with_weights)
    PetscCall(TurnWeights(net->potential, chains->n_set * chains->n_chain, n_parameter, s->chains.w));
  PetscCall(FwDatasetGetClasses(data, FW_TEST, &classes));
  s->has_classes = classes ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscMalloc2(n_train, &s->y_train, n_test, &s->y_test));
  PetscCall(PetscArraycpy(s->y_train, net->y_train, n_train));
  PetscCall(PetscArraycpy(s->y_test, net->y_test, n_test));
  PetscCall(FwSampledMeasure(s));
  *sampled = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampledDestroy(FwSampled *sampled)
{
  FwSampled s = *sampled;

  PetscFunctionBegin;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < s->n_measured; i++) {
    FwMeasured *m = &s->measured[i];

    PetscCall(PetscFree5(m->value, m->error_bar, m->ess, m->rhat, m->step_bias));
  }
  PetscCall(PetscFree(s->measured));
  PetscCall(PetscFree(s->at.n_order));
  PetscCall(PetscFree2(s->y_train, s->y_test));
  PetscCall(FwChainsResultDestroy(&s->chains));
  PetscCall(PetscFree(*sampled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run ------------------------------------------------------------------------------------------------ */

/* By the size of the first layers: enough to divide the ranks */
FwChainCost FwSampledChainCost(const FwModel *model, const FwDataSizes *sizes)
{
  double n = (double)PetscMin(sizes->n_input, sizes->n_train) * model->width[0]; /* as rotated: potential.h */

  for (PetscInt l = 1; l < model->depth; l++) n += model->width[l - 1] * model->width[l];
  return (FwChainCost){.flops       = 4.0 * (double)sizes->n_train * n,
                       .n_parameter = (PetscInt)PetscMin(n, 2e9),
                       .n_rank_most = (sizes->n_train + 255) / 256};
}

static PetscErrorCode RunChains(MPI_Comm comm, const FwChainRanks *ranks, FwDataset data, const FwModel *model,
                                const FwSampledPlan *plan, FwSampled *sampled)
{
  FwExamples     examples;
  Network        net;
  FwTarget       target;
  FwChainsPlan   chains = plan->chains;
  FwChainsResult result;
  PetscMPIInt    rank;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwExamplesCreate(data, ranks->comm, &examples));
  PetscCall(CreateNetwork(ranks, &examples, data, model, plan, &net));
  target = (FwTarget){
    .context = &net, .evaluate = Evaluate, .n_series = net.at.n_series, .n_field = net.at.n_field, .measure = Measure};
  PetscCall(FwPotentialGetSize(net.potential, &target.n));
  chains.sampler.n_block = FwSampledBlocks(chains.sampler.n_sample, target.n_field);
  PetscCall(FwChainsRun(comm, ranks, &target, &chains, &result));
  code = rank == 0 ? CreateSampled(&net, data, plan, target.n, &result, sampled) : PETSC_SUCCESS;
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscCall(DestroyNetwork(&net));
  PetscCall(FwExamplesDestroy(&examples));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampledRun(MPI_Comm comm, FwDataset data, const FwModel *model, const FwSampledPlan *plan,
                            FwSampled *sampled)
{
  const FwSamplerPlan *s = &plan->chains.sampler;
  FwDataSizes          sizes;
  FwChainCost          cost;
  FwChainRanks         ranks;

  PetscFunctionBegin;
  *sampled = NULL;
  PetscCheck(s->n_chain >= 2 && s->n_sample >= 8, comm, FW_ERR_INPUT,
             "%" PetscInt_FMT " chains of %" PetscInt_FMT " samples have no error bar, want at least 2 of 8",
             s->n_chain, s->n_sample);
  PetscCall(FwDatasetGetSizes(data, &sizes));
  cost = FwSampledChainCost(model, &sizes);
  PetscCall(FwChainRanksCreate(comm, FwChainsSets(s->method) * s->n_chain, &cost, &ranks));
  PetscCall(RunChains(comm, &ranks, data, model, plan, sampled));
  PetscCall(FwChainRanksDestroy(&ranks));
  PetscFunctionReturn(PETSC_SUCCESS);
}
