/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Split R-hat of ranks, effective sample size by autocorrelation.
 */

#include <finwidth/diagnostics.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

enum { SAMPLES_LEAST = 8 }; /* halves of four: less says nothing about a correlation */

/* Halves of all chains: value[half * n] for half = 0 .. m-1; of an odd number of samples the middle one is dropped */
typedef struct {
  PetscInt m, n;
  double  *mean;          /* [m] */
  double  *value;         /* [m, n] with the means taken off */
  double   within, total; /* W and var+ */
} Halves;

static PetscErrorCode Split(PetscInt n_chain, PetscInt n_sample, const double value[], Halves *h)
{
  PetscFunctionBegin;
  *h = (Halves){.m = 2 * n_chain, .n = n_sample / 2};
  PetscCall(PetscMalloc2(h->m, &h->mean, h->m * h->n, &h->value));
  for (PetscInt c = 0; c < h->m; c++) {
    const double *half = value + (c / 2) * n_sample + (c % 2) * (n_sample - h->n);
    double       *mine = h->value + c * h->n;

    h->mean[c] = gsl_stats_mean(half, 1, (size_t)h->n);
    for (PetscInt i = 0; i < h->n; i++) mine[i] = half[i] - h->mean[c];
    h->within += gsl_stats_tss_m(mine, 1, (size_t)h->n, 0.0) / (double)(h->n - 1) / (double)h->m;
  }
  h->total = (double)(h->n - 1) / (double)h->n * h->within + gsl_stats_variance(h->mean, 1, (size_t)h->m);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Join(Halves *h)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(h->mean, h->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- autocorrelation ---------------------------------------------------------------------------------------- */

/* Of all halves together; the covariance at lag t is divided by n, not n - t, as the bound of Geyer's series wants */
static double Autocorrelation(const Halves *h, PetscInt lag)
{
  double sum = 0.0;

  for (PetscInt c = 0; c < h->m; c++) {
    const double *x = h->value + c * h->n;

    for (PetscInt i = 0; i + lag < h->n; i++) sum += x[i] * x[i + lag];
  }
  return 1.0 - (h->within - sum / (double)(h->n - 1) / (double)h->m) / h->total;
}

/* 1 + 2 sum rho_t: pairs of neighbours are positive and decrease for a reversible chain; the first pair that is not
   ends the sum, one that rises is taken as its predecessor */
static double CorrelationTime(const Halves *h)
{
  double time = -1.0, before = INFINITY;

  for (PetscInt t = 0; t + 1 < h->n; t += 2) {
    const double pair = (t ? Autocorrelation(h, t) : 1.0) + Autocorrelation(h, t + 1);

    if (!(pair > 0.0)) break;
    before = PetscMin(before, pair);
    time += 2.0 * before;
  }
  return time;
}

/* An antithetic chain may be worth more than its samples, but a short one cannot show it */
static double EssOf(const Halves *h)
{
  const double n = (double)(h->m * h->n);

  if (!(h->total > 0.0)) return n;
  return n / PetscMax(CorrelationTime(h), 1.0 / log10(n));
}

PetscErrorCode FwChainEss(PetscInt n_chain, PetscInt n_sample, const double value[], double *ess, double *variance)
{
  Halves h;

  PetscFunctionBegin;
  *ess = *variance = NAN;
  if (n_sample < SAMPLES_LEAST) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Split(n_chain, n_sample, value, &h));
  *ess      = EssOf(&h);
  *variance = h.total;
  PetscCall(Join(&h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- R-hat -------------------------------------------------------------------------------------------------- */

static PetscErrorCode SplitRhat(PetscInt n_chain, PetscInt n_sample, const double value[], double *rhat)
{
  Halves h;

  PetscFunctionBegin;
  PetscCall(Split(n_chain, n_sample, value, &h));
  *rhat = h.total > 0.0 ? sqrt(h.total / h.within) : 1.0;
  PetscCall(Join(&h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Normal scores of the ranks of n values (Blom); equal values share their mean rank */
static PetscErrorCode NormalScores(PetscInt n, const double value[], double score[])
{
  size_t *order;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &order));
  gsl_sort_index(order, value, 1, (size_t)n);
  for (PetscInt i = 0, end; i < n; i = end) {
    for (end = i + 1; end < n && value[order[end]] == value[order[i]]; end++) continue;
    for (PetscInt j = i; j < end; j++)
      score[order[j]] = gsl_cdf_ugaussian_Pinv((0.5 * (double)(i + 1 + end) - 0.375) / ((double)n + 0.25));
  }
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Median(PetscInt n, const double value[], double *median)
{
  double *sorted;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &sorted));
  PetscCall(PetscArraycpy(sorted, value, n));
  gsl_sort(sorted, 1, (size_t)n);
  *median = gsl_stats_median_from_sorted_data(sorted, 1, (size_t)n);
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainRhat(PetscInt n_chain, PetscInt n_sample, const double value[], double *rhat)
{
  const PetscInt n = n_chain * n_sample;
  double        *score, *folded, median = 0.0, width;

  PetscFunctionBegin;
  *rhat = NAN;
  if (n_sample < SAMPLES_LEAST) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(n, &score, n, &folded));
  PetscCall(NormalScores(n, value, score));
  PetscCall(SplitRhat(n_chain, n_sample, score, rhat));
  PetscCall(Median(n, value, &median));
  for (PetscInt i = 0; i < n; i++) folded[i] = fabs(value[i] - median);
  PetscCall(NormalScores(n, folded, score));
  PetscCall(SplitRhat(n_chain, n_sample, score, &width));
  *rhat = PetscMax(*rhat, width);
  PetscCall(PetscFree2(score, folded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainSummarise(PetscInt n_chain, PetscInt n_sample, const double value[], FwChainSummary *summary)
{
  double variance = NAN;

  PetscFunctionBegin;
  summary->mean = gsl_stats_mean(value, 1, (size_t)(n_chain * n_sample));
  PetscCall(FwChainEss(n_chain, n_sample, value, &summary->ess, &variance));
  PetscCall(FwChainRhat(n_chain, n_sample, value, &summary->rhat));
  summary->error_bar = sqrt(variance / summary->ess);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainBlocks(PetscInt n_chain, PetscInt n_block, const double value[], double *mean, double *error_bar)
{
  const double n   = (double)n_chain * (double)n_block;
  double       ess = NAN, variance = NAN;

  PetscFunctionBegin;
  PetscCall(FwChainEss(n_chain, n_block, value, &ess, &variance));
  *mean      = gsl_stats_mean(value, 1, (size_t)n);
  *error_bar = sqrt(variance / PetscMin(ess, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
