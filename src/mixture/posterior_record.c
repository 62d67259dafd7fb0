/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A posterior as the data sets of /mixture/posterior.
 */

#include <finwidth/mixture_posterior.h>

#include <string.h>

static const char label2[] = "label^2";
static const char error_text[] =
  "posterior deviation over the root of the effective samples; 0 where it is not sampled";

static PetscErrorCode RecordQ(const FwMixturePosterior *p, FwRecord record)
{
  const FwShape matrix = {
    .n_dim = 2, .name = {"output",    "output_2" },
         .size = {p->n_output, p->n_output}
  };
  const FwShape vector = {.n_dim = 1, .name = {"eigenvalue"}, .size = {p->n_output}};
  const FwShape curve  = {.n_dim = 1, .name = {"curve_point"}, .size = {p->n_curve}};

  PetscFunctionBegin;
  if (p->n_output == 1) {
    PetscCall(FwRecordReal(record, "mean_q", p->mean_q[0], "1", "posterior mean of q"));
    PetscCall(FwRecordReal(record, "mean_log_q", p->mean_log_q[0], "1", "posterior mean of log q"));
  } else {
    PetscCall(FwRecordReals(record, "mean_q", &matrix, p->mean_q, "1", "posterior mean of Q"));
    PetscCall(FwRecordReals(record, "mean_q_error_bar", &matrix, p->mean_q_error, "1", error_text));
    PetscCall(FwRecordReals(record, "mean_log_q", &vector, p->mean_log_q, "1",
                            "posterior means of the logarithms of the eigenvalues of Q, descending"));
  }
  if (!p->n_curve) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReals(record, "curve_log_q", &curve, p->curve_log_q, "1", "log q"));
  PetscCall(FwRecordReals(record, "curve_prior", &curve, p->curve_prior, "1", "prior density of log q"));
  PetscCall(FwRecordReals(record, "curve_posterior", &curve, p->curve_posterior, "1", "posterior density of log q"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordPredictions(const FwMixturePosterior *p, FwRecord record)
{
  const FwShape mean = {
    .n_dim = 2, .name = {"example", "output"   },
         .size = {p->n_test, p->n_output}
  };
  const FwShape covariance = {
    .n_dim = 3, .name = {"example", "output",    "output_2" },
         .size = {p->n_test, p->n_output, p->n_output}
  };

  PetscFunctionBegin;
  if (!p->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReals(record, "predictive_mean", &mean, p->mean, "label", "posterior mean of the outputs"));
  if (p->n_output > 1)
    PetscCall(FwRecordReals(record, "predictive_mean_error_bar", &mean, p->mean_error, "label", error_text));
  PetscCall(FwRecordReals(record, "predictive_covariance", &covariance, p->covariance, label2,
                          "posterior covariance of the latent outputs"));
  PetscCall(FwRecordReals(record, "predictive_variance_within", &covariance, p->within, label2,
                          "part of the covariance that is left where Q is known"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Records hold numbers: the method by its place in this list */
static PetscErrorCode RecordMethod(const FwMixturePosterior *p, FwRecord record)
{
  static const char *const names[] = {"Gaussian process", "quadrature", "importance sampling",
                                      "sequential Monte Carlo"};
  PetscInt64               method  = 0;

  PetscFunctionBegin;
  while (strcmp(names[method], p->method)) method++;
  PetscCall(FwRecordInteger(record, "method", method, "1",
                            "0 Gaussian process, 1 quadrature, 2 importance sampling, 3 sequential Monte Carlo"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixturePosteriorRecord(const FwMixturePosterior *p, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordReal(record, "log_evidence", p->log_evidence, "1", "log p(Y)"));
  PetscCall(FwRecordReal(record, "log_evidence_error_bar", p->log_evidence_error, "1",
                         "standard error of log_evidence; 0 where it is not sampled"));
  PetscCall(FwRecordReal(record, "effective_sample_size", p->effective_sample_size, "1",
                         "effective sample size; NaN where the posterior is not sampled"));
  PetscCall(FwRecordInteger(record, "stages", p->n_stage, "1", "temperatures of the sequential Monte Carlo"));
  PetscCall(FwRecordInteger(record, "stages_unmixed", p->n_unmixed, "1",
                            "those whose moves have not refreshed the particles: errors are larger than stated"));
  PetscCall(RecordMethod(p, record));
  PetscCall(RecordQ(p, record));
  PetscCall(RecordPredictions(p, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
