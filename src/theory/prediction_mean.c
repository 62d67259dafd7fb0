/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Predictions with the mean of the activation: one output.
 *
 * The part along m is a Gaussian coefficient beta of prior variance b in front of m, 1 / (t lambda_1) with one hidden layer:
 * with A_0 the rest,
 * mu_y and mu_m what A_0 alone predicts from the labels y and m, and r = m_* - mu_m what it leaves of the mean at a test
 * example,
 *
 *     <beta> = kappa m^T A_0^-1 y,   kappa = b / (1 + b m^T A_0^-1 m),
 *     mean = mu_y + r <beta>,        variance = var_0 + kappa r^2.
 *
 * In the average over Q and a = sqrt(lambda_1 / N) sum v_i the coefficient is a / sqrt(lambda_1), of given mean and
 * variance at each Q.
 */

#include "predictor_impl.h"

#include <math.h>

enum { Y, M }; /* columns of labels */

/* Coefficient of m at one Q: mean, variance */
typedef struct {
  double mean, variance;
} Coefficient;

/* Means and variances of all test examples, and what is left for A_0: added with a weight, means around a centre */
typedef struct {
  PetscInt n;
  double  *mean, *variance; /* [n] */
  double   total;           /* weight so far */
} Posterior;

/* --- one value of Q ----------------------------------------------------------------------------------------- */

/* Take a node into the mean and variance of the mixture (West's update) */
static PetscErrorCode AddNode(FwPredictor predictor, double temperature, double order, double weight, Coefficient beta,
                              Posterior *p)
{
  double        *mean, *variance;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(2 * (size_t)p->n, &mean, p->n, &variance));
  code = FwSpectrumPredictEach(predictor->spectrum, temperature, 1, &order, mean, variance);
  p->total += weight;
  for (PetscInt t = 0; t < p->n && !code; t++) {
    const double r = predictor->test_mean[t] - mean[M * p->n + t], here = mean[Y * p->n + t] + r * beta.mean;
    const double away = here - p->mean[t];

    p->mean[t] += weight / p->total * away;
    p->variance[t] += weight * (variance[t] + beta.variance * r * r + (1.0 - weight / p->total) * away * away);
  }
  PetscCall(PetscFree2(mean, variance));
  PetscFunctionReturn(code);
}

/* T A^-1 y is what the mean leaves of the labels, A^-1 y = A_0^-1 (y - beta m); its variance T (1 - T A^-1) */
static void AddTrain(double temperature, double n_train, double weight, Coefficient beta, const FwMeanPoint *p,
                     FwErrors *e)
{
  const double T = temperature, *s = p->square;

  e->train_bias += weight * T * T * (s[0] - 2.0 * beta.mean * s[1] + beta.mean * beta.mean * s[2]) / n_train;
  e->train_variance += weight * T * (p->resolvent.trace + p->resolvent.trace_bias + T * beta.variance * s[2]) / n_train;
}

/* --- errors ------------------------------------------------------------------------------------------------- */

/* Values of Q, in units of the model's kernel, with what they weigh */
typedef struct {
  PetscInt           n;
  const double      *order, *weight; /* [n] */
  const Coefficient *beta;           /* [n] */
} Nodes;

static PetscErrorCode AddNodes(FwPredictor predictor, FwMeanAction action, double scale, const Nodes *nodes,
                               const FwPrediction *p, Posterior *posterior, FwErrors *e)
{
  PetscFunctionBegin;
  e->train_bias = e->train_variance = 0.0;
  for (PetscInt i = 0; i < nodes->n; i++) {
    const double order = nodes->order[i], weight = nodes->weight[i];
    FwMeanPoint  point;

    PetscCall(FwMeanActionEvaluate(action, log(order), 0.0, PETSC_FALSE, &point));
    AddTrain(p->temperature, (double)p->n_train, weight, nodes->beta[i], &point, e);
    PetscCall(AddNode(predictor, p->temperature, scale * order, weight, nodes->beta[i], posterior));
  }
  e->train_error = e->train_bias + e->train_variance;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ErrorsOver(FwPredictor predictor, FwMeanAction action, double scale, const Nodes *nodes,
                                 const FwPrediction *p, FwErrors *e)
{
  Posterior      posterior = {.n = p->n_test + p->n_new};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(posterior.n, &posterior.mean, posterior.n, &posterior.variance));
  code = AddNodes(predictor, action, scale, nodes, p, &posterior, e);
  if (!code) code = FwPredictionTestErrors(predictor->data, posterior.mean, posterior.variance, e);
  if (!p->request.with_means && !p->n_new) PetscCall(PetscFree2(e->mean, e->deviation));
  PetscCall(PetscFree2(posterior.mean, posterior.variance));
  PetscFunctionReturn(code);
}

/* At Q and the coefficient of m m^T / lambda_L */
static PetscErrorCode ErrorsAt(FwPredictor predictor, FwMeanAction action, double scale, double order,
                               double coefficient, const FwPrediction *p, FwErrors *e)
{
  const FwModel *model = FwMeanActionModel(action);
  const double   b = coefficient / model->prior[model->depth], one = 1.0;
  FwMeanPoint    point;
  Coefficient    beta;
  const Nodes    node = {.n = 1, .order = &order, .weight = &one, .beta = &beta};

  PetscFunctionBegin;
  PetscCall(FwMeanActionEvaluate(action, log(order), 0.0, PETSC_FALSE, &point));
  beta.variance = b / (1.0 + b * point.fit[2]);
  beta.mean     = beta.variance * point.fit[1];
  PetscCall(ErrorsOver(predictor, action, scale, &node, p, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AverageErrors(FwPredictor predictor, FwMeanAction action, double scale, FwPrediction *p)
{
  const FwMeanAverage *a     = &p->mean_average;
  const double         prior = FwMeanActionModel(action)->prior[1];
  Coefficient         *beta;
  PetscErrorCode       code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(a->n, &beta));
  for (PetscInt i = 0; i < a->n; i++)
    beta[i] = (Coefficient){.mean = a->first[i] / sqrt(prior), .variance = a->spread[i] / prior};
  const Nodes nodes = {.n = a->n, .order = a->order, .weight = a->weight, .beta = beta};

  code = ErrorsOver(predictor, action, scale, &nodes, p, &p->averaged);
  PetscCall(PetscFree(beta));
  PetscFunctionReturn(code);
}

/* At the saddle point, and averaged over Q */
static PetscErrorCode FiniteErrors(FwPredictor predictor, FwMeanAction action, double scale, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(ErrorsAt(predictor, action, scale, exp(p->saddle.minimum[0].log_order),
                     FwMeanDeepCoefficient(p->depth, p->order, p->shift), p, &p->finite));
  if (p->request.with_average && p->depth == 1)
    PetscCall(FwPredictionFailAverage(p, FwMeanAverageCreate(action, &p->saddle, &p->mean_average)));
  if (p->mean_average.is_available) PetscCall(FwPredictionFailAverage(p, AverageErrors(predictor, action, scale, p)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionMeanErrors(FwPredictor predictor, double scale, const FwModel *model, FwPrediction *p)
{
  FwMeanAction   action;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMeanActionCreate(predictor->spectrum, scale, model, &action));
  code = ErrorsAt(predictor, action, scale, 1.0, 1.0, p, &p->infinite);
  if (!code && p->saddle.n_minimum) code = FiniteErrors(predictor, action, scale, p);
  PetscCall(FwMeanActionDestroy(&action));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}

/* --- solution ----------------------------------------------------------------------------------------------- */

/* S with s eliminated */
static PetscErrorCode ValueAt(void *action, double log_order, double *value)
{
  FwMeanPoint point;

  PetscFunctionBegin;
  PetscCall(FwMeanActionEliminate((FwMeanAction)action, log_order, PETSC_TRUE, &point));
  *value = point.value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveDeep(FwMeanAction action, FwPrediction *p)
{
  const FwModel *model = FwMeanActionModel(action);

  PetscFunctionBegin;
  PetscCall(FwMeanDeepFind(action, &p->saddle, &p->order, &p->shift));
  p->log_evidence = FwSaddleEvidence(model->width[p->depth - 1], (double)p->n_train, p->saddle.minimum[0].value, 0.0);
  p->log_evidence_laplace = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveFinite(FwMeanAction action, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwMeanSaddleFind(action, &p->saddle, &p->shift));
  PetscCall(PetscMalloc1(p->saddle.n_minimum, &p->order));
  for (PetscInt m = 0; m < p->saddle.n_minimum; m++) p->order[m] = exp(p->saddle.minimum[m].log_order);
  p->log_evidence =
    FwSaddleEvidence(FwMeanActionModel(action)->width[0], (double)p->n_train, p->saddle.minimum[0].value, 0.0);
  p->log_evidence_laplace = NAN;
  if (p->request.with_curve) PetscCall(FwPredictionSetCurve(ValueAt, action, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionSolveMean(FwSpectrum spectrum, double scale, const FwModel *model, FwPrediction *p)
{
  FwMeanAction   action;
  FwMeanData     data;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMeanActionCreate(spectrum, scale, model, &action));
  code = FwMeanActionData(action, 0.0, 1.0, &data);
  if (!code) p->infinite_log_evidence = FwSaddleEvidence(1.0, (double)p->n_train, data.value, 0.0);
  if (!code && p->request.theory == FW_THEORY_RENORMALISED)
    code = p->depth > 1 ? SolveDeep(action, p) : SolveFinite(action, p);
  PetscCall(FwMeanActionDestroy(&action));
  PetscFunctionReturn(code);
}
