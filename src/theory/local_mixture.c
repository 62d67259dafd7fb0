/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Predictions averaged over draws of the Gram matrix of the readout.
 *
 * Every chain keeps sums over its draws; what is asked for is made of the sums of all chains, and its error bar of those
 * with one chain left out (jackknife). Sums go round by adding zeros to them: no bit depends on who had which chain.
 */

#include "local_prediction_impl.h"

#include <finwidth/diagnostics.h>
#include <finwidth/progress.h>

#include <math.h>

/* Sums over the draws of a chain, in one piece of memory */
typedef struct {
  double *acceptance; /* [1] */
  double *loss;       /* [n_draw] of each draw */
  double *train;      /* [2][D] */
  double *mean;       /* [n_example][D] of m */
  double *second;     /* [n_example][D][D] of m m^T and the covariance */
  double *order;      /* [m, m] */
} Sums;

typedef struct {
  FwLocalPredictor predictor;
  const double    *y; /* [n_test][D] */
  PetscInt         D, n_test, n_example, n2, n_draw;
  size_t           n_sum;
  double          *all; /* [FW_LOCAL_CHAINS][n_sum] */
} Mixture;

static Sums SumsOf(const Mixture *m, PetscInt chain)
{
  Sums s = {.acceptance = m->all + (size_t)chain * m->n_sum};

  s.loss   = s.acceptance + 1;
  s.train  = s.loss + m->n_draw;
  s.mean   = s.train + 2 * m->D;
  s.second = s.mean + (size_t)m->n_example * m->D;
  s.order  = s.second + (size_t)m->n_example * m->D * m->D;
  return s;
}

/* --- one chain ---------------------------------------------------------------------------------------------- */

/* Mean over outputs of the test error of one draw, or of its train error where there are no test examples */
static double Loss(const Mixture *m, const FwLocalProcess *process)
{
  const PetscInt D    = m->D;
  double         loss = 0.0;

  for (PetscInt i = 0; i < 2 * D && !m->n_test; i++) loss += process->train[i] / D;
  for (PetscInt i = 0; i < m->n_test * D; i++)
    loss += (PetscSqr(process->mean[i] - m->y[i]) + process->covariance[i * D + i % D]) / (m->n_test * D);
  return loss;
}

static void AddProcess(const Mixture *m, const FwLocalProcess *process, Sums *sums)
{
  const PetscInt D = m->D;

  for (PetscInt i = 0; i < m->n_example * D; i++) {
    sums->mean[i] += process->mean[i];
    for (PetscInt e = 0; e < D; e++)
      sums->second[i * D + e] += process->mean[i] * process->mean[i - i % D + e] + process->covariance[i * D + e];
  }
  for (PetscInt i = 0; i < 2 * D; i++) sums->train[i] += process->train[i];
  for (PetscInt i = 0; i < m->n2; i++) sums->order[i] += process->order[i];
}

static PetscErrorCode Complain(const FwLocalProcess *process)
{
  PetscFunctionBegin;
  SETERRQ(PETSC_COMM_SELF, process->failure, "%s", process->reason);
}

static PetscErrorCode AddChain(const Mixture *m, FwLocalPredictor alone, const FwModel *model,
                               const FwLocalChain *chain, Sums *sums)
{
  FwLocalProcess *process;
  PetscErrorCode  code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(chain->n, &process));
  for (PetscInt i = 0; i < chain->n; i++)
    process[i] = (FwLocalProcess){.order = chain->order + (size_t)i * m->n2, .model = model};
  PetscCall(FwLocalProcessRun(alone, chain->n, process));
  for (PetscInt i = 0; i < chain->n; i++) {
    if (!code && process[i].failure) code = Complain(&process[i]);
    if (!code) AddProcess(m, &process[i], sums);
    if (!code) sums->loss[i] = Loss(m, &process[i]);
    PetscCall(FwLocalProcessDestroy(&process[i]));
  }
  sums->acceptance[0] = chain->acceptance;
  PetscCall(PetscFree(process));
  PetscFunctionReturn(code);
}

static PetscErrorCode RunChain(const Mixture *m, FwLocalPredictor alone, const FwModel *model, const double start[],
                               PetscInt number)
{
  FwLocalChain   chain;
  Sums           sums = SumsOf(m, number);
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwLocalActionSetModel(alone->action, model));
  code = FwLocalChainCreate(alone->action, m->predictor->plan.seed, number, start, m->n_draw, &chain);
  if (!code) code = AddChain(m, alone, model, &chain, &sums);
  PetscCall(FwLocalChainDestroy(&chain));
  PetscFunctionReturn(code);
}

/* Chain c is run by rank c modulo their number */
static PetscErrorCode RunChains(Mixture *m, const FwModel *model, const double start[])
{
  MPI_Comm         comm = FwGridComm(m->predictor->grid);
  PetscMPIInt      rank, size, count;
  FwLocalPredictor alone;
  FwProgress       progress;
  PetscErrorCode   code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(FwLocalPredictorAlone(m->predictor, &alone));
  PetscCall(FwProgressBegin("average", FW_LOCAL_CHAINS, &progress));
  for (PetscInt c = rank; c < FW_LOCAL_CHAINS && !code; c += size) {
    code = RunChain(m, alone, model, start, c);
    PetscCall(FwProgressStep(progress, c + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  code = FwErrorAgreeAny(comm, code);
  PetscCall(FwLocalPredictorDestroy(&alone));
  PetscCall(code);
  PetscCall(PetscMPIIntCast((PetscInt)m->n_sum, &count));
  for (int c = 0; c < FW_LOCAL_CHAINS; c++)
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, m->all + c * m->n_sum, count, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- from sums to averages ---------------------------------------------------------------------------------- */

/* Averages over all chains but one (none left out: -1), as a process: covariance of f within and between draws */
static PetscErrorCode Average(const Mixture *m, PetscInt left_out, double order[], FwLocalProcess *process)
{
  const PetscInt D = m->D, n_mean = m->n_example * D;
  const double   weight = 1.0 / ((FW_LOCAL_CHAINS - (left_out < 0 ? 0 : 1)) * (double)m->n_draw);

  PetscFunctionBegin;
  PetscCall(PetscCalloc3(2 * D, &process->train, n_mean, &process->mean, n_mean * D, &process->covariance));
  PetscCall(PetscArrayzero(order, m->n2));
  for (PetscInt c = 0; c < FW_LOCAL_CHAINS; c++) {
    const Sums s = SumsOf(m, c);

    if (c == left_out) continue;
    for (PetscInt k = 0; k < 2 * D; k++) process->train[k] += weight * s.train[k];
    for (PetscInt i = 0; i < m->n2; i++) order[i] += weight * s.order[i];
    for (PetscInt i = 0; i < n_mean; i++) process->mean[i] += weight * s.mean[i];
    for (PetscInt i = 0; i < n_mean * D; i++) process->covariance[i] += weight * s.second[i];
  }
  for (PetscInt i = 0; i < n_mean; i++)
    for (PetscInt e = 0; e < D; e++) process->covariance[i * D + e] -= process->mean[i] * process->mean[i - i % D + e];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What has an error bar: errors of each output, then two numbers, and Q behind them */
static PetscInt CountStatistics(const Mixture *m)
{
  return FW_ERROR_COUNT * m->D + 2;
}

static PetscErrorCode Statistics(const Mixture *m, PetscInt left_out, const FwPrediction *common, double value[])
{
  const PetscInt n       = FW_ERROR_COUNT * m->D;
  FwLocalProcess process = {0};
  FwErrors       e       = {0};

  PetscFunctionBegin;
  PetscCall(Average(m, left_out, value + CountStatistics(m), &process));
  PetscCall(FwLocalProcessErrors(m->predictor, &process, common, &e));
  const double single[FW_ERROR_COUNT] = {e.train_error, e.train_bias, e.train_variance,
                                         e.test_error,  e.test_bias,  e.test_variance};

  PetscCall(PetscArraycpy(value, e.output ? e.output : single, n));
  value[n]     = e.test_error;
  value[n + 1] = e.accuracy;
  PetscCall(FwErrorsDestroy(&e));
  PetscCall(FwLocalProcessDestroy(&process));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Jackknife: the standard deviation of an average is that of those with one chain left out, times the root of K - 1. NaN
   where there is no value */
static PetscErrorCode ErrorBars(const Mixture *m, const FwPrediction *common, double bar[])
{
  const double k = FW_LOCAL_CHAINS;
  const size_t n = (size_t)CountStatistics(m) + (size_t)m->n2;
  double      *value, *sum, *square;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &value));
  PetscCall(PetscCalloc2(n, &sum, n, &square));
  for (PetscInt c = 0; c < FW_LOCAL_CHAINS; c++) {
    PetscCall(Statistics(m, c, common, value));
    for (size_t i = 0; i < n; i++) sum[i] += value[i] / k;
    for (size_t i = 0; i < n; i++) square[i] += value[i] * value[i] / k;
  }
  for (size_t i = 0; i < n; i++) {
    const double scatter = square[i] - sum[i] * sum[i];

    bar[i] = scatter < 0.0 ? 0.0 : sqrt((k - 1.0) * scatter);
  }
  PetscCall(PetscFree(value));
  PetscCall(PetscFree2(sum, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetErrorBars(const Mixture *m, FwLocalPrediction *q)
{
  const PetscInt  n = FW_ERROR_COUNT * m->D;
  FwLocalAverage *a = &q->average;
  double         *bar;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(CountStatistics(m) + m->n2, &bar));
  PetscCall(ErrorBars(m, &q->common, bar));
  PetscCall(PetscArraycpy(a->error_bar, bar, n));
  PetscCall(PetscArraycpy(a->order_bar, bar + CountStatistics(m), m->n2));
  a->test_error_bar = bar[n];
  a->accuracy_bar   = bar[n + 1];
  PetscCall(PetscFree(bar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How far the chains agree, by the loss of single draws */
static PetscErrorCode Diagnose(const Mixture *m, FwLocalAverage *a)
{
  double        *loss;
  FwChainSummary summary;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(FW_LOCAL_CHAINS * m->n_draw, &loss));
  for (PetscInt c = 0; c < FW_LOCAL_CHAINS; c++) {
    PetscCall(PetscArraycpy(loss + c * m->n_draw, SumsOf(m, c).loss, m->n_draw));
    a->acceptance += SumsOf(m, c).acceptance[0] / FW_LOCAL_CHAINS;
  }
  PetscCall(FwChainSummarise(FW_LOCAL_CHAINS, m->n_draw, loss, &summary));
  a->rhat         = summary.rhat;
  a->effective    = summary.ess;
  a->is_converged = summary.rhat <= FW_AVERAGE_RHAT_MOST && summary.ess >= FW_AVERAGE_EFFECTIVE_LEAST;
  PetscCall(PetscFree(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetAverage(const Mixture *m, FwLocalPrediction *q)
{
  FwLocalAverage *a       = &q->average;
  FwLocalProcess  process = {0};

  PetscFunctionBegin;
  *a = (FwLocalAverage){.is_available = PETSC_TRUE, .n_chain = FW_LOCAL_CHAINS, .n_draw = m->n_draw};
  PetscCall(PetscMalloc3(m->n2, &a->order, m->n2, &a->order_bar, FW_ERROR_COUNT * m->D, &a->error_bar));
  PetscCall(Average(m, -1, a->order, &process));
  PetscCall(FwLocalProcessErrors(m->predictor, &process, &q->common, &q->common.averaged));
  PetscCall(FwLocalProcessDestroy(&process));
  PetscCall(SetErrorBars(m, q));
  PetscCall(Diagnose(m, a));
  q->common.average              = (FwAverage){.is_available = PETSC_TRUE, .log_evidence = NAN};
  q->common.outputs.log_evidence = NAN;
  for (PetscInt i = 0; i < q->saddle.n_row; i++)
    q->common.average.mean_order += a->order[i * (q->saddle.n_row + 1)] / q->saddle.n_row;
  PetscCall(FwErrorsCheck(&q->common.averaged, q->common.n_test, "averaged"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalMixture(FwLocalPredictor p, const FwModel *model, FwLocalPrediction *q)
{
  Mixture        m = {.predictor = p,
                      .D         = p->sizes.n_output,
                      .n_test    = p->sizes.n_test,
                      .n_example = p->sizes.n_test + p->sizes.n_new,
                      .n2        = p->n_row * p->n_row,
                      .n_draw    = p->plan.n_draw};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(p->data, FW_TEST, &m.y));
  m.n_sum = (size_t)(1 + m.n_draw + 2 * m.D) + (size_t)m.n_example * (size_t)(m.D + m.D * m.D) + (size_t)m.n2;
  PetscCall(PetscCalloc1(FW_LOCAL_CHAINS * m.n_sum, &m.all));
  code = RunChains(&m, model, q->saddle.minimum[0].order);
  if (!code) code = SetAverage(&m, q);
  PetscCall(PetscFree(m.all));
  PetscFunctionReturn(code);
}
