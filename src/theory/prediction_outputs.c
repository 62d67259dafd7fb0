/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * From a matrix of order parameters to the errors of several outputs.
 *
 * In the eigenbasis of Q the outputs are independent: with rows v_a, order parameters q_a, labels Y v_a,
 *
 *     m = sum_a v_a m_a,   covariance = sum_a v_a v_a^T var_a,
 *
 * m_a, var_a the mean and variance of one output at q_a. Where all q_a are equal (the infinite network) one of them does.
 */

#include "predictor_impl.h"
#include "symmetric.h"

#include <finwidth/dense.h>
#include <finwidth/matrix_saddle.h>
#include <finwidth/option.h>
#include <finwidth/progress.h>

#include <math.h>

/* What is kept of a posterior at the n test examples and inputs without labels */
typedef struct {
  PetscInt n, n_output;
  double  *mean;       /* [n][D] */
  double  *covariance; /* [n][D][D] */
} Posterior;

static PetscErrorCode CreatePosterior(PetscInt n, PetscInt n_output, Posterior *p)
{
  const size_t size = (size_t)n * n_output;

  PetscFunctionBegin;
  p->n        = n;
  p->n_output = n_output;
  PetscCall(PetscCalloc2(size, &p->mean, size * n_output, &p->covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyPosterior(Posterior *p)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(p->mean, p->covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one matrix Q ------------------------------------------------------------------------------------------- */

/* Q in its eigenbasis, in units of the decomposed kernel */
typedef struct {
  PetscInt  n;
  double   *order, *vector; /* [D], [D][D] */
  PetscBool is_multiple;    /* of the identity */
} Basis;

static PetscErrorCode CreateBasis(PetscInt n, double scale, const double log_order[], Basis *b)
{
  PetscFunctionBegin;
  b->n = n;
  PetscCall(PetscMalloc2(n, &b->order, (size_t)n * n, &b->vector));
  PetscCall(FwSymmetricEigen(n, log_order, b->order, b->vector));
  b->is_multiple = b->order[0] == b->order[n - 1] ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt a = 0; a < n; a++) b->order[a] = scale * exp(b->order[a]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyBasis(Basis *b)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(b->order, b->vector));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Add v_a (v_a . m) and v_a v_a^T var_a; `mean` is [D][n], that of each output's labels at q_a */
static void AddDirection(const double v[], const double mean[], const double variance[], Posterior *p)
{
  const PetscInt D = p->n_output;

  for (PetscInt t = 0; t < p->n; t++) {
    double along = 0.0;

    for (PetscInt d = 0; d < D; d++) along += v[d] * mean[t + (size_t)d * p->n];
    for (PetscInt d = 0; d < D; d++) {
      p->mean[t * D + d] += v[d] * along;
      for (PetscInt e = 0; e < D; e++) p->covariance[((size_t)t * D + d) * D + e] += v[d] * v[e] * variance[t];
    }
  }
}

static PetscErrorCode PredictAt(FwSpectrum spectrum, double temperature, const Basis *b, Posterior *p)
{
  const PetscInt D = b->n;
  double        *mean, *variance;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(p->mean, (size_t)p->n * D));
  PetscCall(PetscArrayzero(p->covariance, (size_t)p->n * D * D));
  PetscCall(PetscMalloc2((size_t)D * p->n, &mean, p->n, &variance));
  for (PetscInt a = 0; a < D && !code; a++) {
    if (!a || !b->is_multiple) code = FwSpectrumPredictEach(spectrum, temperature, 1, b->order + a, mean, variance);
    if (!code) AddDirection(b->vector + (size_t)a * D, mean, variance, p);
  }
  PetscCall(PetscFree2(mean, variance));
  PetscFunctionReturn(code);
}

/* Bias and variance of the training error of each output, into `train`: [2][D] */
static PetscErrorCode TrainAt(FwSpectrum spectrum, double temperature, const Basis *b, double train[])
{
  const PetscInt     D = b->n;
  FwOutputsResolvent r;
  FwSpectrumBounds   bounds;
  PetscErrorCode     code;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(spectrum, &bounds));
  PetscCall(FwOutputsResolventCreate(D, &r));
  code = FwSpectrumResolveOutputs(spectrum, temperature, b->order, b->vector, FW_OUTPUTS_SLOPE, &r);
  for (PetscInt d = 0; d < D && !code; d++) {
    train[d] = train[D + d] = 0.0;
    for (PetscInt a = 0; a < D; a++) {
      const double v = b->vector[a * D + d];

      train[D + d] += v * v * temperature * (r.trace[a] + r.trace_bias[a]) / bounds.n;
      for (PetscInt c = 0; c < D; c++)
        train[d] += v * b->vector[c * D + d] * temperature * temperature * r.residual[a * D + c] / bounds.n;
    }
  }
  PetscCall(FwOutputsResolventDestroy(&r));
  PetscFunctionReturn(code);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

static double Accuracy(PetscInt n, PetscInt n_output, const double mean[], const PetscInt classes[])
{
  PetscInt n_right = 0;

  for (PetscInt t = 0; t < n; t++) n_right += FwArgMax(n_output, mean + (size_t)t * n_output) == classes[t];
  return n ? (double)n_right / (double)n : NAN;
}

static double MeanOver(PetscInt n, const double x[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] / n;
  return sum;
}

static void FillTestErrors(PetscInt n_test, PetscInt D, const double y[], const double mean[],
                           const double covariance[], FwErrors *e)
{
  for (PetscInt d = 0; d < D; d++) {
    double bias = n_test ? 0.0 : NAN;

    for (PetscInt t = 0; t < n_test; t++) bias += PetscSqr(mean[t * D + d] - y[t * D + d]) / n_test;
    e->output[FW_TEST_BIAS * D + d] = bias;
    for (PetscInt c = 0; c < D; c++) {
      e->covariance[d * D + c] = n_test ? 0.0 : NAN;
      for (PetscInt t = 0; t < n_test; t++)
        e->covariance[d * D + c] += covariance[((size_t)t * D + d) * D + c] / n_test;
    }
    e->output[FW_TEST_VARIANCE * D + d] = e->covariance[d * D + d];
    e->output[FW_TEST_ERROR * D + d]    = bias + e->covariance[d * D + d];
  }
}

/* Sums and means over outputs, from the parts */
static void FillMeans(PetscInt D, FwErrors *e)
{
  double *row[FW_ERROR_COUNT];

  for (int i = 0; i < FW_ERROR_COUNT; i++) row[i] = e->output + i * D;
  for (PetscInt d = 0; d < D; d++) row[FW_TRAIN_ERROR][d] = row[FW_TRAIN_BIAS][d] + row[FW_TRAIN_VARIANCE][d];
  e->train_error    = MeanOver(D, row[FW_TRAIN_ERROR]);
  e->train_bias     = MeanOver(D, row[FW_TRAIN_BIAS]);
  e->train_variance = MeanOver(D, row[FW_TRAIN_VARIANCE]);
  e->test_error     = MeanOver(D, row[FW_TEST_ERROR]);
  e->test_bias      = MeanOver(D, row[FW_TEST_BIAS]);
  e->test_variance  = MeanOver(D, row[FW_TEST_VARIANCE]);
}

static PetscErrorCode KeepExamples(const FwPrediction *p, const double mean[], const double covariance[], FwErrors *e)
{
  const PetscInt D    = p->n_output;
  const size_t   size = (size_t)(p->n_test + p->n_new) * D;

  PetscFunctionBegin;
  if (!p->request.with_means && !p->n_new) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(size, &e->mean, size, &e->deviation));
  for (size_t i = 0; i < size; i++) {
    e->mean[i]      = mean[i];
    e->deviation[i] = sqrt(PetscMax(covariance[i * D + i % D], 0.0));
  }
  if (!p->request.with_means) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)p->n_test * D * D, &e->example_covariance));
  PetscCall(PetscArraycpy(e->example_covariance, covariance, (size_t)p->n_test * D * D));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionFillOutputs(FwDataset data, const FwPrediction *p, const double train[], const double mean[],
                                       const double covariance[], FwErrors *e)
{
  const PetscInt  D = p->n_output;
  const double   *y;
  const PetscInt *classes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &y));
  PetscCall(FwDatasetGetClasses(data, FW_TEST, &classes));
  PetscCall(PetscCalloc3(FW_ERROR_COUNT * D, &e->output, FW_ERROR_COUNT * D, &e->error, (size_t)D * D, &e->covariance));
  PetscCall(PetscArraycpy(e->output + FW_TRAIN_BIAS * D, train, 2 * D));
  FillTestErrors(p->n_test, D, y, mean, covariance, e);
  FillMeans(D, e);
  e->accuracy = classes ? Accuracy(p->n_test, D, mean, classes) : NAN;
  PetscCall(KeepExamples(p, mean, covariance, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Errors at H = log Q */
static PetscErrorCode ErrorsAt(FwSpectrum spectrum, double scale, FwDataset data, const FwPrediction *p,
                               const double log_order[], FwErrors *e)
{
  const PetscInt D = p->n_output;
  Basis          basis;
  Posterior      posterior;
  double        *train;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CreateBasis(D, scale, log_order, &basis));
  PetscCall(CreatePosterior(p->n_test + p->n_new, D, &posterior));
  PetscCall(PetscMalloc1(2 * D, &train));
  code = TrainAt(spectrum, p->temperature, &basis, train);
  if (!code) code = PredictAt(spectrum, p->temperature, &basis, &posterior);
  if (!code) code = FwPredictionFillOutputs(data, p, train, posterior.mean, posterior.covariance, e);
  PetscCall(PetscFree(train));
  PetscCall(DestroyPosterior(&posterior));
  PetscCall(DestroyBasis(&basis));
  PetscFunctionReturn(code);
}

/* --- average over Q ----------------------------------------------------------------------------------------- */

/* The average as draws come in (Welford), and what each contributes to the errors to first order around the saddle */
typedef struct {
  const FwPrediction *p;
  const double       *y;         /* [n_test][D] */
  Posterior           saddle;    /* linearised there */
  Posterior           sum;       /* mean, and covariance within and between draws */
  double              total;     /* weight so far */
  double             *train;     /* [2][D] */
  double             *influence; /* [FW_ERROR_COUNT][D][n_draw] */
} Average;

static void AddDraw(double weight, const Posterior *draw, Average *a)
{
  const PetscInt D = draw->n_output;

  if (weight <= 0.0) return;
  a->total += weight;
  for (PetscInt t = 0; t < draw->n; t++) {
    const double *m = draw->mean + (size_t)t * D, *within = draw->covariance + (size_t)t * D * D;
    double       *mean = a->sum.mean + (size_t)t * D, *covariance = a->sum.covariance + (size_t)t * D * D;

    for (PetscInt d = 0; d < D; d++)
      for (PetscInt e = 0; e < D; e++)
        covariance[d * D + e] +=
          weight * within[d * D + e] + weight * (1.0 - weight / a->total) * (m[d] - mean[d]) * (m[e] - mean[e]);
    for (PetscInt d = 0; d < D; d++) mean[d] += weight / a->total * (m[d] - mean[d]);
  }
}

/* Bias (m - y)^2 has the slope 2 (m - y) in m; variance is what lies within the draw, and its distance from the centre */
static void AddInfluence(PetscInt r, const Posterior *draw, const double train[], Average *a)
{
  const PetscInt D = draw->n_output, n_test = a->p->n_test, n_draw = a->p->outputs.n;
  double        *row[FW_ERROR_COUNT];

  for (int i = 0; i < FW_ERROR_COUNT; i++) row[i] = a->influence + (size_t)i * D * n_draw + r;
  for (PetscInt d = 0; d < D; d++) {
    double bias = 0.0, variance = 0.0;

    for (PetscInt t = 0; t < n_test; t++) {
      const double centre = a->saddle.mean[t * D + d], away = draw->mean[t * D + d] - centre;

      bias += 2.0 * (centre - a->y[t * D + d]) * away / n_test;
      variance += (draw->covariance[((size_t)t * D + d) * D + d] + away * away) / n_test;
    }
    row[FW_TRAIN_BIAS][d * n_draw]     = train[d];
    row[FW_TRAIN_VARIANCE][d * n_draw] = train[D + d];
    row[FW_TRAIN_ERROR][d * n_draw]    = train[d] + train[D + d];
    row[FW_TEST_BIAS][d * n_draw]      = bias;
    row[FW_TEST_VARIANCE][d * n_draw]  = variance;
    row[FW_TEST_ERROR][d * n_draw]     = bias + variance;
  }
}

static PetscErrorCode CreateAverage(FwDataset data, const FwPrediction *p, Average *a)
{
  const PetscInt D = p->n_output, n = p->n_test + p->n_new;

  PetscFunctionBegin;
  *a = (Average){.p = p};
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &a->y));
  PetscCall(CreatePosterior(n, D, &a->saddle));
  PetscCall(CreatePosterior(n, D, &a->sum));
  PetscCall(PetscCalloc2(2 * D, &a->train, (size_t)FW_ERROR_COUNT * D * p->outputs.n, &a->influence));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyAverage(Average *a)
{
  PetscFunctionBegin;
  PetscCall(DestroyPosterior(&a->saddle));
  PetscCall(DestroyPosterior(&a->sum));
  PetscCall(PetscFree2(a->train, a->influence));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* draw, train [2][D]: room */
static PetscErrorCode RunDraw(FwSpectrum spectrum, double scale, PetscInt r, Posterior *draw, double train[],
                              Average *a)
{
  const FwPrediction *p = a->p;
  const PetscInt      D = p->n_output;
  Basis               basis;
  PetscErrorCode      code;

  PetscFunctionBegin;
  PetscCall(CreateBasis(D, scale, p->outputs.log_order + (size_t)r * D * D, &basis));
  code = TrainAt(spectrum, p->temperature, &basis, train);
  if (!code) code = PredictAt(spectrum, p->temperature, &basis, draw);
  PetscCall(DestroyBasis(&basis));
  PetscCall(code);
  AddDraw(p->outputs.weight[r], draw, a);
  AddInfluence(r, draw, train, a);
  for (PetscInt i = 0; i < 2 * D; i++) a->train[i] += p->outputs.weight[r] * train[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunDraws(FwSpectrum spectrum, double scale, Average *a)
{
  const FwPrediction *p = a->p;
  FwProgress          progress;
  Posterior           draw;
  double             *train;
  PetscErrorCode      code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(CreatePosterior(a->sum.n, p->n_output, &draw));
  PetscCall(PetscMalloc1(2 * p->n_output, &train));
  PetscCall(FwProgressBegin("average over order parameters", p->outputs.n, &progress));
  for (PetscInt r = 0; r < p->outputs.n && !code; r++) {
    code = RunDraw(spectrum, scale, r, &draw, train, a);
    PetscCall(FwProgressStep(progress, r + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(PetscFree(train));
  PetscCall(DestroyPosterior(&draw));
  PetscFunctionReturn(code);
}

static PetscErrorCode AverageErrors(FwSpectrum spectrum, double scale, FwDataset data, const double log_order[],
                                    FwPrediction *p)
{
  const PetscInt n_draw = p->outputs.n;
  Average        a;
  Basis          basis;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CreateAverage(data, p, &a));
  PetscCall(CreateBasis(p->n_output, scale, log_order, &basis));
  code = PredictAt(spectrum, p->temperature, &basis, &a.saddle);
  PetscCall(DestroyBasis(&basis));
  if (!code) code = RunDraws(spectrum, scale, &a);
  if (!code) code = FwPredictionFillOutputs(data, p, a.train, a.sum.mean, a.sum.covariance, &p->averaged);
  for (PetscInt i = 0; i < FW_ERROR_COUNT * p->n_output && !code; i++)
    p->averaged.error[i] = FwWeightedError(n_draw, p->outputs.weight, a.influence + (size_t)i * n_draw);
  PetscCall(DestroyAverage(&a));
  PetscFunctionReturn(code);
}

static PetscErrorCode TakeAverage(FwPredictor predictor, double scale, const FwModel *model, const double log_order[],
                                  FwPrediction *p)
{
  FwMatrixAction action;
  PetscInt64     seed;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(FwMatrixActionCreate(predictor->spectrum, scale, model, p->n_output, &action));
  code = FwMatrixAverageCreate(FwGridComm(predictor->grid), action, p->order, FW_MATRIX_AVERAGE_DRAWS, (uint64_t)seed,
                               &p->outputs);
  PetscCall(FwMatrixActionDestroy(&action));
  PetscCall(code);
  if (p->outputs.is_available) PetscCall(AverageErrors(predictor->spectrum, scale, predictor->data, log_order, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static PetscErrorCode InfiniteEvidence(FwMatrixAction action, FwPrediction *p)
{
  const size_t   size = (size_t)p->n_output * p->n_output;
  FwMatrixPoint  point;
  double        *zero;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixPointCreate(p->n_output, &point));
  PetscCall(PetscCalloc1(size, &zero));
  code                     = FwMatrixActionEvaluate(action, zero, FW_OUTPUTS_VALUE, &point);
  p->infinite_log_evidence = -0.5 * (double)p->n_train * p->n_output * log(2.0 * M_PI);
  for (PetscInt a = 0; a < p->n_output && !code; a++)
    p->infinite_log_evidence -= 0.5 * (point.resolvent.log_det[a] + point.resolvent.fit[a]);
  PetscCall(PetscFree(zero));
  PetscCall(FwMatrixPointDestroy(&point));
  PetscFunctionReturn(code);
}

static PetscErrorCode SolveFinite(FwMatrixAction action, double width, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixSaddleFind(action, &p->saddle, &p->order));
  p->log_evidence         = FwSaddleEvidence(width, (double)p->n_train * p->n_output, p->saddle.minimum[0].value,
                                             (double)p->depth * p->n_output);
  p->log_evidence_laplace = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionSolveOutputs(FwSpectrum spectrum, double scale, const FwModel *model, FwPrediction *p)
{
  FwMatrixAction action;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixActionCreate(spectrum, scale, model, p->n_output, &action));
  code = InfiniteEvidence(action, p);
  if (!code && p->request.theory == FW_THEORY_RENORMALISED) code = SolveFinite(action, model->width[0], p);
  PetscCall(FwMatrixActionDestroy(&action));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}

/* At the saddle point, and averaged over Q; log_order [D][D]: room */
static PetscErrorCode FiniteErrors(FwPredictor predictor, double scale, const FwModel *model, double log_order[],
                                   FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwSymmetricApply(p->n_output, p->order, log, log_order));
  PetscCall(ErrorsAt(predictor->spectrum, scale, predictor->data, p, log_order, &p->finite));
  if (p->request.with_average && p->saddle.is_converged)
    PetscCall(FwPredictionFailAverage(p, TakeAverage(predictor, scale, model, log_order, p)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionOutputsErrors(FwPredictor predictor, double scale, const FwModel *model, FwPrediction *p)
{
  const size_t   size = (size_t)p->n_output * p->n_output;
  double        *log_order;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(size, &log_order));
  code = ErrorsAt(predictor->spectrum, scale, predictor->data, p, log_order, &p->infinite);
  if (!code && p->saddle.n_minimum) code = FiniteErrors(predictor, scale, model, log_order, p);
  PetscCall(PetscFree(log_order));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}
