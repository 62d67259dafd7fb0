/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The data sets of /mixture of one point.
 */

#include "report_impl.h"

#include <finwidth/mixture_density.h>
#include <finwidth/mixture_moments.h>
#include <finwidth/moments.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- what holds for the laws ------------------------------------------------------------------------------------------ */

static PetscErrorCode RecordPlain(FwRecord record, const char name[], double value, const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(FwRecordReal(record, name, value, "1", long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double LargestInverse(const FwMixtureLaw *law)
{
  double largest = 0.0;

  for (PetscInt l = 0; l < law->n_width; l++) largest = fmax(largest, 1.0 / law->width[l]);
  return largest;
}

static PetscErrorCode RecordLaws(const FwMixtureData *data, FwRecord record)
{
  const double D = (double)data->finite.n_output, inverse = LargestInverse(&data->finite);

  PetscFunctionBegin;
  PetscCall(RecordPlain(record, "a", FwMixtureLawA(&data->finite), "sum of 1/N_l over the hidden layers"));
  PetscCall(RecordPlain(record, "a_limit", FwMixtureLawA(&data->limit), "the same of the limit law"));
  PetscCall(RecordPlain(record, "inverse_width", inverse, "largest 1/N_l"));
  PetscCall(
    RecordPlain(record, "log_det_shift", pow(D, 2.5) * sqrt(FwMixtureLawA(&data->finite)) * inverse / 8.0,
                "shift of log det Q from its limit, in deviations, about D^2.5 sqrt(a) / (8 N): trust the limit "
                "where it is small"));
  PetscCall(RecordPlain(record, "inverse_exact", FwMixtureInverse(&data->finite), "c in E Q^-1 = c 1"));
  PetscCall(RecordPlain(record, "inverse_limit", FwMixtureInverse(&data->limit), "c in E Q^-1 = c 1, limit"));
  PetscCall(FwRecordInteger(record, "limit_pairs", FwMixturePairs(&data->limit), "1",
                            "steps of the pair scheme that draws the limit; 0: exact draws"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- moments ------------------------------------------------------------------------------------------------------------ */

void FwReportName(const FwMixtureData *data, FwMixtureDrawn drawn, const char name[], char full[FW_STORE_NAME_SIZE])
{
  PetscBool is_first = PETSC_TRUE;

  for (int s = 0; s < (int)drawn; s++)
    if (data->row[s]) is_first = PETSC_FALSE;
  snprintf(full, FW_STORE_NAME_SIZE, is_first ? "%s" : "%s_%s", name, FwMixtureDrawnNames[drawn]);
}

/* prod_i tr Q^part_i of one sample */
static double PowerSums(PetscInt D, PetscInt order, const PetscInt part[], const double log_q[])
{
  double product = 1.0;

  for (PetscInt i = 0; i < order && part[i]; i++) {
    double trace = 0.0;

    for (PetscInt j = 0; j < D; j++) trace += exp((double)part[i] * log_q[j]);
    product *= trace;
  }
  return product;
}

/* Where every part of `part` stands twice; parts descend */
static PetscInt FindDoubled(const FwPartitions *twice, PetscInt order, const PetscInt part[])
{
  if (order > twice->order / 2 && part[twice->order / 2]) return -1; /* more parts than have room twice */
  for (PetscInt k = 0; k < twice->n; k++) {
    PetscBool is_it = PETSC_TRUE;

    for (PetscInt i = 0; i < twice->order && is_it; i++)
      if (twice->part[k * twice->order + i] != (i / 2 < order ? part[i / 2] : 0)) is_it = PETSC_FALSE;
    if (is_it) return k;
  }
  return -1;
}

/* Standard errors from exact moments of twice the order: the tails are so heavy that the spread among the samples is far
   too small. Orders beyond FW_MOMENT_ORDER_MAX / 2 have none: NaN. Partitions of both lists begin alike */
static PetscErrorCode ExactErrors(const FwMixtureData *data, FwMixtureDrawn drawn, const FwPartitions *p,
                                  double error_bar[])
{
  const FwMixtureLaw *law = drawn == FW_DRAWN_LIMIT ? &data->limit : &data->finite;
  FwPartitions        twice;
  double             *moment;

  PetscFunctionBegin;
  PetscCall(FwPartitionsCreate(PetscMin(2 * p->order, FW_MOMENT_ORDER_MAX), &twice));
  PetscCall(PetscMalloc1(twice.n, &moment));
  PetscCall(FwMixtureMomentsDrawn(law, &twice, moment));
  for (PetscInt k = 0; k < p->n; k++) {
    const PetscInt square = FindDoubled(&twice, p->order, p->part + k * p->order);

    error_bar[k] = NAN;
    if (square < 0) continue;
    error_bar[k] = sqrt(PetscMax(0.0, moment[square] - moment[k] * moment[k]) / (double)data->n_sample);
  }
  PetscCall(PetscFree(moment));
  PetscCall(FwPartitionsDestroy(&twice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SampleMoments(const FwMixtureData *data, FwMixtureDrawn drawn, const FwPartitions *p,
                                    double mean[], double error_bar[])
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;
  double        *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(data->n_sample, &value));
  for (PetscInt k = 0; k < p->n; k++) {
    for (PetscInt i = 0; i < data->n_sample; i++)
      value[i] = PowerSums(D, p->order, p->part + k * p->order, data->row[drawn] + i * length);
    mean[k] = FwMean(data->n_sample, 1, value).value;
  }
  PetscCall(PetscFree(value));
  PetscCall(ExactErrors(data, drawn, p, error_bar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordPartitions(const FwPartitions *p, FwRecord record)
{
  const FwShape order_shape =
                  {
                    1, {"moment"},
                     {p->n    }
  },
                part_shape = {2, {"moment", "part"}, {p->n, p->order}};
  PetscInt64 *order, *part;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(p->n, &order, p->n * p->order, &part));
  for (PetscInt k = 0; k < p->n * p->order; k++) {
    part[k] = p->part[k];
    order[k / p->order] += p->part[k];
  }
  PetscCall(FwRecordIntegers(record, "moment_order", &order_shape, order, "1", "order k of the moment"));
  PetscCall(FwRecordIntegers(record, "moment_partition", &part_shape, part, "1",
                             "the moment E prod tr Q^k over the parts k of this partition"));
  PetscCall(PetscFree2(order, part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordMoments(const FwMixtureData *data, FwRecord record)
{
  FwPartitions p;
  double      *value, *error_bar;
  char         name[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(FwPartitionsCreate(data->request.order, &p));
  PetscCall(PetscMalloc2(p.n, &value, p.n, &error_bar));
  const FwShape shape = {1, {"moment"}, {p.n}};

  PetscCall(RecordPartitions(&p, record));
  PetscCall(FwMixtureMoments(&data->finite, &p, value));
  PetscCall(FwRecordReals(record, "moment_exact_finite", &shape, value, "1", "exact moment at the widths"));
  PetscCall(FwMixtureMoments(&data->limit, &p, value));
  PetscCall(FwRecordReals(record, "moment_exact_limit", &shape, value, "1", "exact moment of the limit law"));
  if (FwMixturePairs(&data->limit)) {
    PetscCall(FwMixtureMomentsDrawn(&data->limit, &p, value));
    PetscCall(FwRecordReals(record, "moment_exact_pairs", &shape, value, "1", "exact moment of the pair scheme"));
  }
  for (FwMixtureDrawn s = FW_DRAWN_BRUTE; s < FW_DRAWN_COUNT; s++) {
    if (!data->row[s]) continue;
    PetscCall(SampleMoments(data, s, &p, value, error_bar));
    FwReportName(data, s, "moment_sampled", name);
    PetscCall(FwRecordReals(record, name, &shape, value, "1", "mean over the samples"));
    FwReportName(data, s, "moment_error_bar", name);
    PetscCall(
      FwRecordReals(record, name, &shape, error_bar, "1", "exact standard error of that mean; NaN for orders above 6"));
  }
  PetscCall(PetscFree2(value, error_bar));
  PetscCall(FwPartitionsDestroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- logarithms ------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode RecordEstimate(const FwMixtureData *data, FwMixtureDrawn drawn, const char name[],
                                     FwEstimated estimate, const char long_name[], FwRecord record)
{
  char head[FW_STORE_NAME_SIZE], full[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  FwReportName(data, drawn, name, full);
  PetscCall(RecordPlain(record, full, estimate.value, long_name));
  snprintf(head, sizeof head, "%s_error_bar", name);
  FwReportName(data, drawn, head, full);
  PetscCall(RecordPlain(record, full, estimate.error_bar, "standard error"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordExactLogs(const FwMixtureData *data, FwRecord record)
{
  const FwMixtureLaw *law[]  = {&data->finite, &data->limit};
  const char *const ending[] = {"exact_finite", "exact_limit"}, *const of[] = {"at the widths", "of the limit law"};
  const PetscInt D     = data->finite.n_output;
  const FwShape  shape = {1, {"eigen"}, {D}};
  char           name[FW_STORE_NAME_SIZE], text[96];
  double        *row;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(D, &row));
  for (int k = 0; k < 2; k++) {
    double first[3] = {0}, sum[3] = {0};

    for (PetscInt i = 0; i < D; i++) {
      double cumulant[3];

      FwMixtureLogCumulants(law[k], i, cumulant);
      row[i] = cumulant[0];
      for (int c = 0; c < 3; c++) sum[c] += cumulant[c];
      for (int c = 0; c < 3 && i == 0; c++) first[c] = cumulant[c];
    }
    const double value[] = {first[0], first[1], sum[0], sum[1]};
    const char  *what[]  = {"log_q_mean", "log_q_variance", "log_det_mean", "log_det_variance"};

    for (int v = 0; v < 4; v++) {
      snprintf(name, sizeof name, "%s_%s", what[v], ending[k]);
      snprintf(text, sizeof text, "exact, %s", of[k]);
      PetscCall(RecordPlain(record, name, value[v], text));
    }
    snprintf(name, sizeof name, "eigen_log_lyapunov_%s", ending[k]);
    snprintf(text, sizeof text, "Lyapunov exponents times a, %s: exact mean of the i-th squared diagonal's logarithm",
             of[k]);
    PetscCall(FwRecordReals(record, name, &shape, row, "1", text));
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordEigenvalues(const FwMixtureData *data, FwMixtureDrawn drawn, FwRecord record)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;
  const FwShape  shape = {1, {"eigen"}, {D}};
  double        *mean, *error_bar;
  char           name[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(D, &mean, D, &error_bar));
  for (PetscInt i = 0; i < D; i++) {
    const FwEstimated estimate = FwMean(data->n_sample, length, data->row[drawn] + i);

    mean[i]      = estimate.value;
    error_bar[i] = estimate.error_bar;
  }
  FwReportName(data, drawn, "eigen_log_mean", name);
  PetscCall(FwRecordReals(record, name, &shape, mean, "1", "mean logarithm of the eigenvalues of Q, descending"));
  FwReportName(data, drawn, "eigen_log_mean_error_bar", name);
  PetscCall(FwRecordReals(record, name, &shape, error_bar, "1", "standard error"));
  PetscCall(PetscFree2(mean, error_bar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordLogs(const FwMixtureData *data, FwMixtureDrawn s, FwRecord record)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT, n = data->n_sample;
  const double  *log_q = data->row[s] + D + FW_COLUMN_LOG_Q, *log_det = data->row[s] + D + FW_COLUMN_LOG_DET;

  PetscFunctionBegin;
  PetscCall(RecordEstimate(data, s, "log_q_mean", FwMean(n, length, log_q), "mean of log Q_11", record));
  PetscCall(RecordEstimate(data, s, "log_q_variance", FwVariance(n, length, log_q), "variance of log Q_11", record));
  PetscCall(RecordEstimate(data, s, "log_det_mean", FwMean(n, length, log_det), "mean of log det Q", record));
  PetscCall(
    RecordEstimate(data, s, "log_det_variance", FwVariance(n, length, log_det), "variance of log det Q", record));
  PetscCall(RecordEigenvalues(data, s, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- outputs ---------------------------------------------------------------------------------------------------------------- */

/* Correlation of the squares of two columns, over samples first .. first + n - 1 */
static double SquareCorrelation(const FwMixtureData *data, FwMixtureDrawn drawn, PetscInt one, PetscInt two,
                                PetscInt first, PetscInt n)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;
  double         mean[2] = {0}, square[3] = {0};

  for (PetscInt i = first; i < first + n; i++) {
    const double *s = data->row[drawn] + i * length + D + FW_COLUMN_OUTPUT;
    const double  a = s[one] * s[one], b = s[two] * s[two];

    mean[0] += a / (double)n, mean[1] += b / (double)n;
    square[0] += a * a / (double)n, square[1] += b * b / (double)n, square[2] += a * b / (double)n;
  }
  return (square[2] - mean[0] * mean[1]) / sqrt((square[0] - mean[0] * mean[0]) * (square[1] - mean[1] * mean[1]));
}

/* Over 32 parts of the samples: a mean that has an error bar */
static FwEstimated EstimateCorrelation(const FwMixtureData *data, FwMixtureDrawn drawn, PetscInt one, PetscInt two)
{
  enum { PARTS = 32 };
  const PetscInt n = data->n_sample / PARTS;
  double         part[PARTS];

  if (n < 2) return (FwEstimated){NAN, NAN};
  for (PetscInt k = 0; k < PARTS; k++) part[k] = SquareCorrelation(data, drawn, one, two, k * n, n);
  return FwMean(PARTS, 1, part);
}

/* 3 E Q_11^2: converges far earlier than the mean of S^4. The error bar is exact, from E Q_11^4: the spread among the samples
   is far too small; where it is large, the samples do not know the mean, and nothing is kept */
static PetscErrorCode EstimateKurtosis(const FwMixtureData *data, FwMixtureDrawn drawn, FwEstimated *kurtosis)
{
  const FwMixtureLaw *law = drawn == FW_DRAWN_LIMIT ? &data->limit : &data->finite;
  const PetscInt      D = data->finite.n_output, length = D + FW_COLUMN_COUNT, two[] = {2}, four[] = {4};
  const double        m2 = FwMixtureMultiplier(law, 1, two), m4 = FwMixtureMultiplier(law, 1, four),
               most      = 0.3; /* of the mean */
  const double error_bar = 3.0 * sqrt(fmax(0.0, m4 - m2 * m2) / (double)data->n_sample);
  double      *value;

  PetscFunctionBegin;
  *kurtosis = (FwEstimated){NAN, NAN};
  if (!(error_bar < most * 3.0 * m2)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(data->n_sample, &value));
  for (PetscInt i = 0; i < data->n_sample; i++)
    value[i] = 3.0 * exp(2.0 * data->row[drawn][i * length + D + FW_COLUMN_LOG_Q]);
  *kurtosis = (FwEstimated){FwMean(data->n_sample, 1, value).value, error_bar};
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the squares of S_11 and of the output `other` at input `input`; the limit has none with biases */
static double ExactCorrelation(const FwMixtureData *data, const FwMixtureLaw *law, PetscInt other, PetscInt input)
{
  const PetscBool is_limit = law == &data->limit ? PETSC_TRUE : PETSC_FALSE;

  if (other >= law->n_output || input >= data->inputs->n_input || (is_limit && data->inputs->bias)) return NAN;
  return FwMixtureOutputCorrelation(law, data->inputs, other ? PETSC_FALSE : PETSC_TRUE, 0, input);
}

static PetscErrorCode RecordExactOutputs(const FwMixtureData *data, FwRecord record)
{
  const FwMixtureLaw *law[]    = {&data->finite, &data->limit};
  const char *const   ending[] = {"exact_finite", "exact_limit"};
  double              moment[2];
  char                name[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  FwMixtureOutputExact(&data->finite, data->inputs, 0, moment);
  PetscCall(RecordPlain(record, "output_second_moment_exact", moment[0],
                        "E S^2 of one output at the first input, with biases"));
  PetscCall(RecordPlain(record, "output_fourth_moment_exact", moment[1],
                        "E S^4 of one output at the first input, with biases"));
  for (int k = 0; k < 2; k++) {
    const FwMixtureOutputMoments o       = FwMixtureOutputs(law[k], 0.0);
    const double                 value[] = {o.kurtosis, o.mardia, ExactCorrelation(data, law[k], 1, 0),
                                            ExactCorrelation(data, law[k], 0, 1), ExactCorrelation(data, law[k], 1, 1)};
    const char *const            what[]  = {"output_kurtosis", "output_mardia", "output_correlation_same",
                                            "output_correlation_inputs", "output_correlation_different"};
    const char *const            text[]  = {"E S^4 / (E S^2)^2 without biases",
                                            "E (S^T S)^2 over the outputs at one input of unit kernel",
                                            "correlation of the squares of two outputs at one input, with biases",
                                            "of one output at two inputs", "of two outputs at two inputs"};

    for (int v = 0; v < 5; v++) {
      snprintf(name, sizeof name, "%s_%s", what[v], ending[k]);
      PetscCall(RecordPlain(record, name, value[v], text[v]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Fourth moments of outputs have a relative error of sqrt((11.7 e^(8a) - 1) / n): where it is large, the samples do not know
   correlations, and nothing is kept */
static FwEstimated Correlation(const FwMixtureData *data, FwMixtureDrawn drawn, PetscInt one, PetscInt two)
{
  const double a = FwMixtureLawA(drawn == FW_DRAWN_LIMIT ? &data->limit : &data->finite), most = 0.3;

  if (sqrt((11.7 * exp(8.0 * a) - 1.0) / (double)data->n_sample) < most)
    return EstimateCorrelation(data, drawn, one, two);
  return (FwEstimated){NAN, NAN};
}

static PetscErrorCode RecordSampledOutputs(const FwMixtureData *data, FwMixtureDrawn s, FwRecord record)
{
  const PetscBool is_many = data->finite.n_output > 1 ? PETSC_TRUE : PETSC_FALSE,
                  has_two = data->inputs->n_input > 1 ? PETSC_TRUE : PETSC_FALSE;
  FwEstimated kurtosis;

  PetscFunctionBegin;
  PetscCall(EstimateKurtosis(data, s, &kurtosis));
  PetscCall(RecordEstimate(data, s, "output_kurtosis", kurtosis, "3 times the mean of Q_11^2", record));
  if (is_many)
    PetscCall(RecordEstimate(data, s, "output_correlation_same", Correlation(data, s, 0, 2),
                             "correlation of S_11^2 and S_21^2", record));
  if (has_two)
    PetscCall(RecordEstimate(data, s, "output_correlation_inputs", Correlation(data, s, 0, 1),
                             "correlation of S_11^2 and S_12^2", record));
  if (is_many && has_two)
    PetscCall(RecordEstimate(data, s, "output_correlation_different", Correlation(data, s, 0, 3),
                             "correlation of S_11^2 and S_22^2", record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- distance from the limit --------------------------------------------------------------------------------------------------- */

static PetscErrorCode ExactDistance(const FwMixtureData *data, FwMixtureVariable variable, double *distance)
{
  FwMixtureDensity one, two;

  PetscFunctionBegin;
  PetscCall(FwMixtureDensityCreate(&data->finite, variable, &one));
  PetscCall(FwMixtureDensityCreate(&data->limit, variable, &two));
  PetscCall(FwMixtureDensityDistance(one, two, distance));
  PetscCall(FwMixtureDensityDestroy(&one));
  PetscCall(FwMixtureDensityDestroy(&two));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RadialDistance(const FwMixtureData *data, double *distance)
{
  FwMixtureRadial one, two;

  PetscFunctionBegin;
  PetscCall(FwMixtureRadialCreate(&data->finite, &one));
  PetscCall(FwMixtureRadialCreate(&data->limit, &two));
  PetscCall(FwMixtureRadialDistance(one, two, distance));
  PetscCall(FwMixtureRadialDestroy(&one));
  PetscCall(FwMixtureRadialDestroy(&two));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordDistances(const FwMixtureData *data, FwRecord record)
{
  const PetscInt D     = data->finite.n_output;
  double         log_q = NAN, log_det = NAN, radius = NAN, predicted, narrowest = INFINITY;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < data->finite.n_width; l++) narrowest = fmin(narrowest, data->finite.width[l]);
  if (data->request.has_exact && FwMixtureLawA(&data->limit) > 0.0) {
    PetscCall(ExactDistance(data, FW_MIXTURE_LOG_Q, &log_q));
    if (narrowest >= (double)D) PetscCall(ExactDistance(data, FW_MIXTURE_LOG_DET, &log_det));
    if (D == 2 && narrowest >= 2.0) PetscCall(RadialDistance(data, &radius));
  }
  PetscCall(RecordPlain(record, "distance_log_q", log_q, "exact Kolmogorov distance of log Q_11 from the limit"));
  PetscCall(FwMixtureDistanceFirstOrder(&data->finite, &data->limit, FW_MIXTURE_LOG_Q, &predicted));
  PetscCall(RecordPlain(record, "distance_log_q_predicted", predicted, "the same to first order in 1/N"));
  PetscCall(RecordPlain(record, "distance_log_det", log_det, "exact Kolmogorov distance of log det Q from the limit"));
  PetscCall(FwMixtureDistanceFirstOrder(&data->finite, &data->limit, FW_MIXTURE_LOG_DET, &predicted));
  PetscCall(RecordPlain(record, "distance_log_det_predicted", predicted, "the same to first order in 1/N"));
  if (D == 2)
    PetscCall(
      RecordPlain(record, "distance_radius", radius, "exact Kolmogorov distance of log(q_1/q_2)/2 from the limit"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- tests ------------------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode RecordTests(const FwMixtureData *data, FwRecord record)
{
  char(*name)[FW_TEST_NAME_SIZE];
  PetscInt       n, n_wrong = 0, n_run = 0;
  FwMixtureTest *test;
  double        *value[3];
  PetscInt64    *expected;

  PetscFunctionBegin;
  PetscCall(FwMixtureTestNames(&data->request, &n, &name));
  PetscCall(PetscFree(name));
  PetscCall(PetscMalloc5(n, &test, n, &value[0], n, &value[1], n, &value[2], n, &expected));
  PetscCall(FwMixtureTests(data, test));
  for (PetscInt t = 0; t < n; t++) {
    value[0][t] = test[t].statistic;
    value[1][t] = test[t].p_value;
    value[2][t] = test[t].distance;
    expected[t] = test[t].expected;
    n_run += !isnan(test[t].p_value) && test[t].expected != FW_EXPECT_OPEN;
    n_wrong += !FwMixtureTestIsAsExpected(&test[t]);
  }
  const FwShape shape = {1, {"test_name"}, {n}};

  PetscCall(FwRecordReals(record, "test_statistic", &shape, value[0], "1", "statistic; z for means and variances"));
  PetscCall(
    FwRecordReals(record, "test_p_value", &shape, value[1], "1", "probability of a larger one where the laws agree"));
  PetscCall(FwRecordReals(record, "test_distance", &shape, value[2], "1", "Kolmogorov distance of the two laws"));
  PetscCall(
    FwRecordIntegers(record, "test_expected", &shape, expected, "1", "1: agree, 0: must be rejected, -1: either"));
  PetscCall(FwRecordInteger(record, "test_count", n_run, "1", "tests with an expectation"));
  PetscCall(FwRecordInteger(record, "test_unexpected", n_wrong, "1", "tests that came out against it"));
  PetscCall(PetscFree5(test, value[0], value[1], value[2], expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureRecord(const FwMixtureData *data, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(RecordLaws(data, record));
  PetscCall(RecordMoments(data, record));
  PetscCall(RecordExactLogs(data, record));
  PetscCall(RecordExactOutputs(data, record));
  PetscCall(RecordDistances(data, record));
  for (FwMixtureDrawn s = FW_DRAWN_BRUTE; s < FW_DRAWN_COUNT; s++) {
    if (!data->row[s]) continue;
    PetscCall(RecordLogs(data, s, record));
    PetscCall(RecordSampledOutputs(data, s, record));
  }
  PetscCall(RecordTests(data, record));
  PetscCall(FwReportCurves(data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
