/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A prediction as the data sets of /predict.
 */

#include "predictor_impl.h"
#include "symmetric.h"

#include <math.h>

static const char label2[] = "label^2";

/* The rows stand in the order of FwErrors.output */
static const struct {
  const char *name, *words;
} row[FW_ERROR_COUNT] = {
  {"train_error",    "train error"                            },
  {"train_bias",     "bias part of the train error"           },
  {"train_variance", "variance part of the train error"       },
  {"test_error",     "test error (bias + variance)"           },
  {"test_bias",      "test error of the mean predictor (bias)"},
  {"test_variance",  "posterior variance at test examples"    },
};

PetscErrorCode FwErrorsRecord(const FwErrors *e, PetscInt n_output, const char prefix[], const char words[],
                              PetscBool with_accuracy, FwRecord record)
{
  const double  value[] = {e->train_error, e->train_bias, e->train_variance,
                           e->test_error,  e->test_bias,  e->test_variance};
  const FwShape outputs = {.n_dim = 1, .name = {"output"}, .size = {n_output}};
  char          name[64], long_name[128];

  PetscFunctionBegin;
  for (size_t i = 0; i < FW_ERROR_COUNT; i++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "%s%s", prefix, row[i].name));
    PetscCall(PetscSNPrintf(long_name, sizeof long_name, "%s, %s", row[i].words, words));
    if (e->output)
      PetscCall(FwRecordReals(record, name, &outputs, e->output + i * n_output, label2, long_name));
    else
      PetscCall(FwRecordReal(record, name, value[i], label2, long_name));
  }
  if (!with_accuracy) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(name, sizeof name, "%saccuracy", prefix));
  PetscCall(PetscSNPrintf(long_name, sizeof long_name, "share of test examples in the right class, %s", words));
  PetscCall(FwRecordReal(record, name, e->accuracy, "1", long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [L] or [D][D] */
static FwShape OrderShape(const FwPrediction *p)
{
  const FwShape layers  = {.n_dim = 1, .name = {"layer"}, .size = {p->depth}};
  const FwShape outputs = {
    .n_dim = 2, .name = {"output",    "output"   },
         .size = {p->n_output, p->n_output}
  };

  return p->n_output > 1 ? outputs : layers;
}

/* Other minima than the lowest; one row of NaN where there is none */
static PetscErrorCode RecordMetastable(const FwPrediction *p, FwRecord record)
{
  const PetscInt n_other = p->saddle.n_minimum - 1, n_row = PetscMax(n_other, 1), n_order = FwPredictionOrderSize(p);
  const FwShape  actions = {.n_dim = 1, .name = {"minimum"}, .size = {n_row}}, one = OrderShape(p);
  FwShape        orders = {.n_dim = one.n_dim + 1, .name = {"minimum"}, .size = {n_row}};
  double        *order, *action;

  PetscFunctionBegin;
  for (PetscInt d = 0; d < one.n_dim; d++) {
    orders.name[d + 1] = one.name[d];
    orders.size[d + 1] = one.size[d];
  }
  PetscCall(PetscMalloc2((size_t)n_row * n_order, &order, n_row, &action));
  for (PetscInt i = 0; i < n_row; i++) {
    action[i] = i < n_other ? p->saddle.minimum[i + 1].value : NAN;
    for (PetscInt l = 0; l < n_order; l++) order[i * n_order + l] = i < n_other ? p->order[(i + 1) * n_order + l] : NAN;
  }
  PetscCall(FwRecordReals(record, "metastable_order_parameter", &orders, order, "1",
                          "order parameters of the metastable minima"));
  PetscCall(FwRecordReals(record, "metastable_action", &actions, action, "1", "action at the metastable minima"));
  PetscCall(PetscFree2(order, action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of L layers each has the share Q^{1/L} of the matrix between outputs: the Gram matrix of the readout is it */
static PetscErrorCode RecordReadout(const FwPrediction *p, FwRecord record)
{
  const PetscInt n     = p->n_output * p->n_output;
  const FwShape  shape = OrderShape(p);
  double        *share;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &share));
  PetscCall(FwSymmetricApply(p->n_output, p->order, log, share));
  for (PetscInt i = 0; i < n; i++) share[i] /= (double)p->depth;
  PetscCall(FwSymmetricApply(p->n_output, share, exp, share));
  PetscCall(FwRecordReals(record, "readout_order_parameter", &shape, share, "1",
                          "share of each layer in the order parameter: the readout's Gram matrix between outputs"));
  PetscCall(PetscFree(share));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One hidden layer has a number */
static PetscErrorCode RecordShift(const FwPrediction *p, FwRecord record)
{
  const FwShape shape = {.n_dim = p->depth > 1 ? 1 : 0, .name = {"layer"}, .size = {p->depth}};

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, "mean_order_parameter", &shape, p->shift, "1",
                          "order parameter s of the activation's mean, which is divided by 1 + s"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordSaddle(const FwPrediction *p, FwRecord record)
{
  const FwMinimum *lowest = &p->saddle.minimum[0];
  const FwShape    order  = OrderShape(p);
  const FwShape    curve  = {.n_dim = 1, .name = {"log_q"}, .size = {p->n_curve}};

  PetscFunctionBegin;
  PetscCall(
    FwRecordReals(record, "order_parameter", &order, p->order, "1",
                  p->n_output > 1 ? "order parameter, a matrix over outputs" : "order parameter of each hidden layer"));
  PetscCall(FwRecordReal(record, "total_order_parameter", FwPredictionTotalOrder(p), "1",
                         p->n_output > 1 ? "trace of the order parameter over the number of outputs"
                                         : "product of the order parameters over layers"));
  if (p->n_output > 1 && p->depth > 1) PetscCall(RecordReadout(p, record));
  if (p->shift) PetscCall(RecordShift(p, record));
  PetscCall(FwRecordReal(record, "action", lowest->value, "1", "effective action at the saddle point"));
  PetscCall(RecordMetastable(p, record));
  PetscCall(FwRecordInteger(record, "metastable_count", p->saddle.n_minimum - 1, "1", "number of metastable minima"));
  PetscCall(FwRecordInteger(record, "converged", p->saddle.is_converged ? 1 : 0, "1", "1 if the solver converged"));
  PetscCall(FwRecordInteger(record, "complete", p->saddle.is_complete ? 1 : 0, "1",
                            "1 if the search proved that there are no other minima"));
  PetscCall(FwRecordInteger(record, "iterations", lowest->n_iteration, "1", "Newton iterations at the saddle point"));
  PetscCall(FwRecordInteger(record, "evaluations", p->saddle.n_evaluation, "1", "evaluations in the search"));
  PetscCall(FwRecordReal(record, "residual", lowest->residual, "1", "|N dS/d log Q| at the saddle point"));
  if (p->n_curve) {
    PetscCall(FwRecordReals(record, "log_q", &curve, p->curve_log_order, "1", "log of the total order parameter"));
    PetscCall(FwRecordReals(record, "action_curve", &curve, p->curve_action, "1", "effective action"));
  }
  PetscCall(FwRecordReal(record, "log_evidence", p->log_evidence, "1", "log evidence at the saddle point"));
  if (p->depth == 1 && p->n_output == 1 && !p->shift)
    PetscCall(FwRecordReal(record, "log_evidence_laplace", p->log_evidence_laplace, "1",
                           "log evidence with Laplace's integral around the saddle point"));
  PetscCall(FwRecordReal(record, "free_energy", -p->temperature * p->log_evidence, label2,
                         "free energy -T log evidence at the saddle point"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The infinite network has order parameters one, and nothing to solve */
static PetscErrorCode RecordInfinite(const FwPrediction *p, FwRecord record)
{
  const FwShape  order = OrderShape(p);
  const PetscInt n     = FwPredictionOrderSize(p);
  double        *ones;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &ones));
  for (PetscInt i = 0; i < n; i++) ones[i] = p->n_output > 1 && i % (p->n_output + 1) ? 0.0 : 1.0;
  PetscCall(FwRecordReals(record, "order_parameter", &order, ones, "1", "order parameter at infinite width"));
  PetscCall(FwRecordInteger(record, "converged", 1, "1", "1 if the solver converged"));
  PetscCall(FwRecordInteger(record, "iterations", 0, "1", "Newton iterations"));
  PetscCall(FwRecordReal(record, "residual", 0.0, "1", "residual of the saddle-point equation"));
  PetscCall(FwRecordReal(record, "log_evidence", p->infinite_log_evidence, "1", "log evidence at infinite width"));
  PetscCall(FwRecordReal(record, "free_energy", -p->temperature * p->infinite_log_evidence, label2,
                         "free energy -T log evidence at infinite width"));
  PetscCall(PetscFree(ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordMeans(const FwPrediction *p, const FwErrors *e, const double targets[], FwRecord record)
{
  const FwShape shape = {
    .n_dim = 2, .name = {"example", "output"   },
         .size = {p->n_test, p->n_output}
  };

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, "test_mean", &shape, e->mean, "label", "predicted mean of each test example"));
  PetscCall(FwRecordReals(record, "test_std", &shape, e->deviation, "label",
                          "predicted standard deviation of each test example"));
  PetscCall(FwRecordReals(record, "test_target", &shape, targets, "label", "true label of each test example"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordNew(const FwPrediction *p, const FwErrors *e, FwRecord record)
{
  const FwShape shape = {
    .n_dim = 2, .name = {"new_example", "output"   },
         .size = {p->n_new,      p->n_output}
  };

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, "new_mean", &shape, e->mean + (size_t)p->n_test * p->n_output, "label",
                          "predicted mean of each input of data_predict"));
  PetscCall(FwRecordReals(record, "new_std", &shape, e->deviation + (size_t)p->n_test * p->n_output, "label",
                          "predicted standard deviation of each input of data_predict"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between outputs: covariances of the mean over test examples, and of each where asked for */
static PetscErrorCode RecordCovariance(const FwPrediction *p, const FwErrors *e, FwRecord record)
{
  const FwShape mean    = OrderShape(p);
  const FwShape example = {
    .n_dim = 3, .name = {"example", "output",    "output"   },
         .size = {p->n_test, p->n_output, p->n_output}
  };

  PetscFunctionBegin;
  if (p->n_test)
    PetscCall(FwRecordReals(record, "test_covariance", &mean, e->covariance, label2,
                            "predicted covariance between outputs, mean over test examples"));
  if (p->n_test && e->example_covariance)
    PetscCall(FwRecordReals(record, "test_example_covariance", &example, e->example_covariance, label2,
                            "predicted covariance between outputs of each test example"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAverageQualityRecord(PetscInt n_output, const double error[], double accuracy_error, double effective,
                                      PetscBool is_converged, FwRecord record)
{
  const FwShape shape = {.n_dim = n_output > 1 ? 1 : 0, .name = {"output"}, .size = {n_output}};
  char          name[64], long_name[128];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < FW_ERROR_COUNT; i++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "average_%s_error_bar", row[i].name));
    PetscCall(PetscSNPrintf(long_name, sizeof long_name, "statistical error of average_%s", row[i].name));
    PetscCall(FwRecordReals(record, name, &shape, error + i * n_output, label2, long_name));
  }
  if (!isnan(accuracy_error))
    PetscCall(
      FwRecordReal(record, "average_accuracy_error_bar", accuracy_error, "1", "statistical error of average_accuracy"));
  PetscCall(
    FwRecordReal(record, "average_effective_draws", effective, "1", "effective number of draws behind the average"));
  PetscCall(
    FwRecordInteger(record, "average_converged", is_converged ? 1 : 0, "1", "1 if the draws of the average suffice"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordOutputsAverage(const FwPrediction *p, FwRecord record)
{
  const FwShape          order = OrderShape(p);
  const FwMatrixAverage *a     = &p->outputs;

  PetscFunctionBegin;
  PetscCall(FwAverageQualityRecord(p->n_output, p->averaged.error, NAN, a->effective,
                                   a->effective >= FW_AVERAGE_WEIGHTED_LEAST, record));
  PetscCall(FwRecordReals(record, "average_order_parameter", &order, a->mean_order, "1",
                          "posterior mean of the order parameter"));
  PetscCall(FwRecordReals(record, "average_order_parameter_error_bar", &order, a->mean_order_error, "1",
                          "statistical error of average_order_parameter"));
  PetscCall(FwRecordReal(record, "log_evidence_average", a->log_evidence, "1",
                         "log evidence averaged over the order parameter"));
  PetscCall(FwRecordReal(record, "log_evidence_average_error_bar", a->log_evidence_error, "1",
                         "statistical error of log_evidence_average"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAverageFailureRecord(const FwPrediction *p, FwRecord record)
{
  PetscFunctionBegin;
  if (p->average_reason[0])
    PetscCall(FwRecordInteger(record, "average_converged", 0, "1", "0: there is no average to be trusted"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionRecordErrors(const FwPrediction *p, PetscBool is_averaged, const double targets[],
                                        FwRecord record)
{
  const PetscBool is_finite     = p->request.theory == FW_THEORY_RENORMALISED ? PETSC_TRUE : PETSC_FALSE;
  const FwErrors *result        = is_finite ? &p->finite : &p->infinite;
  const PetscBool with_accuracy = isnan(p->infinite.accuracy) ? PETSC_FALSE : PETSC_TRUE;

  PetscFunctionBegin;
  PetscCall(
    FwErrorsRecord(result, p->n_output, "", is_finite ? "finite width" : "infinite width", with_accuracy, record));
  PetscCall(FwErrorsRecord(&p->infinite, p->n_output, "infinite_", "infinite width", with_accuracy, record));
  PetscCall(
    FwRecordReal(record, "infinite_log_evidence", p->infinite_log_evidence, "1", "log evidence at infinite width"));
  if (is_averaged)
    PetscCall(
      FwErrorsRecord(&p->averaged, p->n_output, "average_", "average over the order parameter", with_accuracy, record));
  if (p->n_output > 1) PetscCall(RecordCovariance(p, result, record));
  if (result->mean && p->request.with_means && p->n_test) PetscCall(RecordMeans(p, result, targets, record));
  if (result->mean && p->n_new) PetscCall(RecordNew(p, result, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictionRecord(const FwPrediction *p, const double targets[], FwRecord record)
{
  PetscFunctionBegin;
  if (p->failure) {
    PetscCall(FwRecordInteger(record, "converged", 0, "1", "1 if the solver converged"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwRecordInteger(record, "mean_terms", p->request.with_mean ? 1 : 0, "1",
                            "1 with the mean terms of an activation that is not odd"));
  PetscCall(FwPredictionRecordErrors(p, FwPredictionHasAverage(p), targets, record));
  PetscCall(p->request.theory == FW_THEORY_RENORMALISED ? RecordSaddle(p, record) : RecordInfinite(p, record));
  if (p->average.is_available) {
    PetscCall(FwRecordReal(record, "average_order_parameter", p->average.mean_order, "1",
                           "posterior mean of the total order parameter"));
    PetscCall(FwRecordReal(record, "log_evidence_average", p->average.log_evidence, "1",
                           "log evidence averaged over the order parameter"));
  }
  if (p->mean_average.is_available) {
    PetscCall(FwRecordReal(record, "average_order_parameter", p->mean_average.mean_order, "1",
                           "posterior mean of the order parameter"));
    PetscCall(FwRecordReal(record, "log_evidence_average", p->mean_average.log_evidence, "1",
                           "log evidence averaged over the order parameters"));
  }
  if (p->outputs.is_available) PetscCall(RecordOutputsAverage(p, record));
  PetscCall(FwAverageFailureRecord(p, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
