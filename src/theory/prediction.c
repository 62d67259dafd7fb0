/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * From a dataset and a network to predicted errors.
 */

#include "predictor_impl.h"

#include <math.h>

enum { CURVE_POINTS = 121 };

/* --- errors of one mixture of Gaussian processes ------------------------------------------------------------ */

static double Accuracy(PetscInt n, const double mean[], const double y[])
{
  PetscInt n_right = 0;

  for (PetscInt i = 0; i < n; i++) n_right += mean[i] * y[i] > 0.0;
  return n ? (double)n_right / (double)n : NAN;
}

/* The arrays hold the labelled test examples first, then those without labels, which have no errors */
PetscErrorCode FwPredictionTestErrors(FwDataset data, const double mean[], const double variance[], FwErrors *errors)
{
  FwDataSizes     sizes;
  const double   *y;
  const PetscInt *classes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &y));
  PetscCall(FwDatasetGetClasses(data, FW_TEST, &classes));
  PetscCall(PetscMalloc2(sizes.n_test + sizes.n_new, &errors->mean, sizes.n_test + sizes.n_new, &errors->deviation));
  errors->test_bias = errors->test_variance = sizes.n_test ? 0.0 : NAN;
  for (PetscInt t = 0; t < sizes.n_test; t++) {
    errors->test_bias += PetscSqr(mean[t] - y[t]) / sizes.n_test;
    errors->test_variance += variance[t] / sizes.n_test;
  }
  for (PetscInt t = 0; t < sizes.n_test + sizes.n_new; t++) {
    errors->mean[t]      = mean[t];
    errors->deviation[t] = sqrt(PetscMax(variance[t], 0.0)); /* round-off at an example that was also trained on */
  }
  errors->test_error = errors->test_bias + errors->test_variance;
  errors->accuracy   = classes ? Accuracy(sizes.n_test, mean, y) : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainErrors(FwSpectrum spectrum, double temperature, const FwMixture *mixture, FwErrors *errors)
{
  FwSpectrumBounds bounds;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(spectrum, &bounds));
  errors->train_bias = errors->train_variance = 0.0;
  for (PetscInt i = 0; i < mixture->n; i++) {
    const double weight = mixture->weight[i];
    FwResolvent  r;

    PetscCall(FwSpectrumResolve(spectrum, temperature, mixture->order[i], PETSC_FALSE, &r));
    errors->train_bias += weight * temperature * temperature * r.residual2 / bounds.n;
    errors->train_variance += weight * temperature * (r.trace + r.trace_bias) / bounds.n;
  }
  errors->train_error = errors->train_bias + errors->train_variance;
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { MIXTURE_MAX = 3 }; /* infinite width, saddle point, exact average */

/* Test examples: one pass for all mixtures */
static PetscErrorCode TestErrors(FwSpectrum spectrum, double temperature, PetscInt n_mixture, const FwMixture mixture[],
                                 FwDataset data, PetscBool with_means, FwErrors *errors[])
{
  FwDataSizes    sizes;
  FwPosterior    posterior[MIXTURE_MAX];
  PetscInt       n;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  n = sizes.n_test + sizes.n_new;
  for (PetscInt m = 0; m < n_mixture; m++)
    PetscCall(PetscMalloc3(n, &posterior[m].mean, n, &posterior[m].within, n, &posterior[m].between));
  code = FwSpectrumPredict(spectrum, temperature, n_mixture, mixture, posterior);
  for (PetscInt m = 0; m < n_mixture; m++) {
    FwPosterior *p = &posterior[m];

    for (PetscInt t = 0; t < n && !code; t++) p->within[t] += p->between[t];
    if (!code) code = FwPredictionTestErrors(data, p->mean, p->within, errors[m]);
    if (!with_means) PetscCall(PetscFree2(errors[m]->mean, errors[m]->deviation));
    PetscCall(PetscFree3(p->mean, p->within, p->between));
  }
  PetscFunctionReturn(code);
}

/* Errors averaged over mixtures; their Q in units of the decomposed kernel is Q times `scale` */
static PetscErrorCode ErrorsAt(FwSpectrum spectrum, double scale, double temperature, PetscInt n_mixture,
                               const FwMixture mixture[], FwDataset data, PetscBool with_means, FwErrors *errors[])
{
  FwMixture      scaled[MIXTURE_MAX];
  double        *order[MIXTURE_MAX];
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  for (PetscInt m = 0; m < n_mixture; m++) {
    PetscCall(PetscMalloc1(mixture[m].n, &order[m]));
    for (PetscInt i = 0; i < mixture[m].n; i++) order[m][i] = scale * mixture[m].order[i];
    scaled[m] = (FwMixture){mixture[m].n, order[m], mixture[m].weight};
    if (!code) code = TrainErrors(spectrum, temperature, &scaled[m], errors[m]);
  }
  if (!code) code = TestErrors(spectrum, temperature, n_mixture, scaled, data, with_means, errors);
  for (PetscInt m = 0; m < n_mixture; m++) PetscCall(PetscFree(order[m]));
  PetscFunctionReturn(code);
}

/* Numbers that round-off or overflow has eaten must not pass for a result */
PetscErrorCode FwErrorsCheck(const FwErrors *e, PetscInt n_test, const char kind[])
{
  PetscFunctionBegin;
  PetscCheck(isfinite(e->train_error) && (!n_test || isfinite(e->test_error)), PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "the errors of the %s network are not finite numbers: inputs, variances or temperature are too large",
             kind);
  PetscCheck(e->train_error >= 0.0 && (!n_test || e->test_variance >= -1e-6 * e->test_bias - 1e-12), PETSC_COMM_WORLD,
             FW_ERR_NUMERICAL, "round-off left a negative variance (%.6g) in the %s network: the kernel is too large",
             PetscMin(e->train_error, e->test_variance), kind);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionCheck(FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwErrorsCheck(&p->infinite, p->n_test, "infinite"));
  if (p->saddle.n_minimum) PetscCall(FwErrorsCheck(&p->finite, p->n_test, "finite"));
  if (FwPredictionHasAverage(p))
    PetscCall(FwPredictionFailAverage(p, FwErrorsCheck(&p->averaged, p->n_test, "averaged")));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionFail(FwPrediction *p, PetscErrorCode code)
{
  PetscFunctionBegin;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  p->failure = code;
  PetscCall(PetscStrncpy(p->reason, FwErrorMessage(), sizeof p->reason));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionFailAverage(FwPrediction *p, PetscErrorCode code)
{
  PetscFunctionBegin;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  PetscCall(PetscStrncpy(p->average_reason, FwErrorMessage(), sizeof p->average_reason));
  FwErrorClear();
  PetscCall(FwErrorsDestroy(&p->averaged));
  PetscCall(FwAverageDestroy(&p->average));
  PetscCall(FwMatrixAverageDestroy(&p->outputs));
  PetscCall(FwMeanAverageDestroy(&p->mean_average));
  p->averaged     = (FwErrors){0};
  p->average      = (FwAverage){0};
  p->outputs      = (FwMatrixAverage){0};
  p->mean_average = (FwMeanAverage){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionErrors(FwSpectrum spectrum, double scale, FwDataset data, FwPrediction *p)
{
  const PetscBool with_means = p->request.with_means || p->n_new ? PETSC_TRUE : PETSC_FALSE;
  const double    one        = 1.0;
  FwMixture       mixture[MIXTURE_MAX];
  FwErrors       *errors[MIXTURE_MAX];
  double          order;
  PetscInt        n = 0;

  PetscFunctionBegin;
  errors[n]    = &p->infinite;
  mixture[n++] = (FwMixture){1, &one, &one};
  if (p->saddle.n_minimum && p->request.composition == FW_COMPOSITION_PRODUCT) {
    order        = exp(p->saddle.minimum[0].log_order);
    errors[n]    = &p->finite;
    mixture[n++] = (FwMixture){1, &order, &one};
  }
  if (p->average.is_available) {
    errors[n]    = &p->averaged;
    mixture[n++] = (FwMixture){p->average.n, p->average.order, p->average.weight};
  }
  PetscCall(ErrorsAt(spectrum, scale, p->temperature, n, mixture, data, with_means, errors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- evidence ----------------------------------------------------------------------------------------------- */

double FwSaddleEvidence(double width, double n_label, double action, double action_at_rest)
{
  return -0.5 * width * (action - action_at_rest) - 0.5 * n_label * log(2.0 * M_PI);
}

/* One hidden layer: Laplace's integral over u around the saddle point, with the exact normalisation of the Gamma law.
   The force is N dS/du, so that N/2 d2S/du2 is half its slope. */
static double LaplaceEvidence(double width, double n_train, const FwActionPoint *point)
{
  const double half = 0.5 * width;

  return half * log(half) - lgamma(half) - half * point->value + 0.5 * log(4.0 * M_PI / point->slope) -
         0.5 * n_train * log(2.0 * M_PI);
}

static PetscErrorCode InfiniteEvidence(FwAction action, double *log_evidence)
{
  FwSpectrumBounds bounds;
  FwResolvent      r;

  PetscFunctionBegin;
  PetscCall(FwActionBounds(action, &bounds));
  PetscCall(FwActionResolve(action, 1.0, PETSC_TRUE, &r));
  *log_evidence = -0.5 * (r.log_det + r.fit) - 0.5 * (double)bounds.n * log(2.0 * M_PI);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetEvidence(FwAction action, FwPrediction *p)
{
  const FwModel *model = FwActionModel(action);
  const double   last  = model->width[model->depth - 1];
  FwActionPoint  point;
  double         rest = 0.0;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < model->depth; l++) rest += model->width[l] / last;
  p->log_evidence = FwSaddleEvidence(last, p->n_train, p->saddle.minimum[0].value, rest);
  PetscCall(FwActionEvaluate(action, p->saddle.minimum[0].log_order, PETSC_TRUE, &point));
  p->log_evidence_laplace = model->depth == 1 ? LaplaceEvidence(model->width[0], p->n_train, &point) : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the action as a curve ---------------------------------------------------------------------------------- */

/* All minima and the infinite width (u = 0), with some of the slopes beside them */
PetscErrorCode FwPredictionSetCurve(PetscErrorCode (*value)(void *, double, double *), void *action, FwPrediction *p)
{
  double low = 0.0, high = 0.0, margin;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < p->saddle.n_minimum; i++) {
    low  = PetscMin(low, p->saddle.minimum[i].log_order);
    high = PetscMax(high, p->saddle.minimum[i].log_order);
  }
  margin     = PetscMax(0.3, 0.35 * (high - low));
  p->n_curve = CURVE_POINTS;
  PetscCall(PetscMalloc2(p->n_curve, &p->curve_log_order, p->n_curve, &p->curve_action));
  for (PetscInt i = 0; i < p->n_curve; i++) {
    p->curve_log_order[i] = low - margin + (high - low + 2.0 * margin) * (double)i / (double)(p->n_curve - 1);
    PetscCall(value(action, p->curve_log_order[i], &p->curve_action[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ValueAt(void *action, double log_order, double *value)
{
  FwActionPoint point;

  PetscFunctionBegin;
  PetscCall(FwActionEvaluate((FwAction)action, log_order, PETSC_TRUE, &point));
  *value = point.value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static PetscErrorCode SolveFinite(FwAction action, FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwSaddleFind(action, &p->saddle));
  PetscCall(PetscMalloc1((size_t)p->saddle.n_minimum * p->depth, &p->order));
  for (PetscInt i = 0; i < p->saddle.n_minimum; i++)
    PetscCall(FwActionLayers(action, p->saddle.minimum[i].log_order, p->order + (size_t)i * p->depth));
  PetscCall(SetEvidence(action, p));
  if (p->request.with_curve) PetscCall(FwPredictionSetCurve(ValueAt, action, p));
  if (p->request.with_average) PetscCall(FwPredictionFailAverage(p, FwAverageCreate(action, &p->saddle, &p->average)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionSolve(FwSpectrum spectrum, double scale, const FwModel *model, FwPrediction *p)
{
  FwAction       action;
  PetscErrorCode code;

  PetscFunctionBegin;
  if (p->request.with_mean) {
    PetscCall(FwPredictionSolveMean(spectrum, scale, model, p));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (p->n_output > 1) {
    PetscCall(FwPredictionSolveOutputs(spectrum, scale, model, p));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwActionCreate(spectrum, scale, model, &action));
  code = InfiniteEvidence(action, &p->infinite_log_evidence);
  if (!code && p->request.theory == FW_THEORY_RENORMALISED) code = SolveFinite(action, p);
  PetscCall(FwActionDestroy(&action));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}

PetscInt FwPredictionOrderSize(const FwPrediction *p)
{
  return p->n_output > 1 ? p->n_output * p->n_output : p->depth;
}

PetscBool FwPredictionHasAverage(const FwPrediction *p)
{
  return p->average.is_available || p->outputs.is_available || p->mean_average.is_available ? PETSC_TRUE : PETSC_FALSE;
}

double FwPredictionTotalOrder(const FwPrediction *p)
{
  double trace = 0.0;

  if (!p->saddle.n_minimum) return NAN;
  if (p->n_output == 1) return exp(p->saddle.minimum[0].log_order);
  for (PetscInt d = 0; d < p->n_output; d++) trace += p->order[d * (p->n_output + 1)];
  return trace / (double)p->n_output;
}

PetscErrorCode FwErrorsDestroy(FwErrors *e)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(e->mean, e->deviation));
  PetscCall(PetscFree3(e->output, e->error, e->covariance));
  PetscCall(PetscFree(e->example_covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionDestroy(FwPrediction *p)
{
  PetscFunctionBegin;
  PetscCall(FwErrorsDestroy(&p->finite));
  PetscCall(FwErrorsDestroy(&p->infinite));
  PetscCall(FwErrorsDestroy(&p->averaged));
  PetscCall(PetscFree2(p->curve_log_order, p->curve_action));
  PetscCall(PetscFree(p->order));
  PetscCall(FwAverageDestroy(&p->average));
  PetscCall(FwMatrixAverageDestroy(&p->outputs));
  PetscCall(FwMeanAverageDestroy(&p->mean_average));
  PetscCall(PetscFree(p->shift));
  PetscCall(FwSaddleDestroy(&p->saddle));
  PetscFunctionReturn(PETSC_SUCCESS);
}
