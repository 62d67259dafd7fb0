/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Curves for figures: density of log Q_11 and survival of one output, from exact laws and from the samples.
 */

#include "report_impl.h"

#include <finwidth/mixture_density.h>
#include <finwidth/mixture_moments.h>

#include <math.h>
#include <stdlib.h>

enum { POINTS = 81 };

static PetscErrorCode RecordCurve(FwRecord record, const char name[], const char axis[], const double value[],
                                  const char long_name[])
{
  const FwShape shape = {1, {axis}, {POINTS}};

  PetscFunctionBegin;
  PetscCall(FwRecordReals(record, name, &shape, value, "1", long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- density of log Q_11 --------------------------------------------------------------------------------------------- */

static PetscErrorCode DensityOf(const FwMixtureLaw *law, const double x[], double density[])
{
  FwMixtureDensity object;

  PetscFunctionBegin;
  for (int i = 0; i < POINTS; i++) density[i] = NAN;
  if (law->n_width == 0 && law->a == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMixtureDensityCreate(law, FW_MIXTURE_LOG_Q, &object));
  for (int i = 0; i < POINTS; i++) {
    PetscCall(FwMixtureDensityEvaluate(object, x[i], &density[i], NULL));
    density[i] = exp(density[i]);
  }
  PetscCall(FwMixtureDensityDestroy(&object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Share of the samples within half a step of each point, over the step */
static void Histogram(const FwMixtureData *data, FwMixtureDrawn drawn, const double x[], double density[])
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;
  const double   step = x[1] - x[0];

  for (int i = 0; i < POINTS; i++) density[i] = 0.0;
  for (PetscInt i = 0; i < data->n_sample; i++) {
    const double at = floor((data->row[drawn][i * length + D + FW_COLUMN_LOG_Q] - x[0]) / step + 0.5);

    if (at >= 0.0 && at < POINTS) density[(int)at] += 1.0 / ((double)data->n_sample * step);
  }
}

static PetscErrorCode RecordDensity(const FwMixtureData *data, FwRecord record)
{
  const double reach = 4.5; /* deviations */
  double       cumulant[3], x[POINTS], y[POINTS];
  char         name[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  FwMixtureLogCumulants(&data->finite, 0, cumulant);
  for (int i = 0; i < POINTS; i++) x[i] = cumulant[0] + sqrt(cumulant[1]) * reach * (2.0 * i / (POINTS - 1) - 1.0);
  PetscCall(RecordCurve(record, "density_log_q", "density_point", x, "log Q_11"));
  PetscCall(DensityOf(&data->finite, x, y));
  PetscCall(RecordCurve(record, "density_exact", "density_point", y, "its density at the widths"));
  PetscCall(DensityOf(&data->limit, x, y));
  PetscCall(RecordCurve(record, "density_limit", "density_point", y, "its density in the limit"));
  for (FwMixtureDrawn s = FW_DRAWN_BRUTE; s < FW_DRAWN_COUNT; s++) {
    if (!data->row[s]) continue;
    Histogram(data, s, x, y);
    FwReportName(data, s, "density_sampled", name);
    PetscCall(RecordCurve(record, name, "density_point", y, "share of the samples per unit of log Q_11"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- survival of one output ----------------------------------------------------------------------------------------------- */

static PetscErrorCode SurvivalOf(const FwMixtureLaw *law, const double s[], double above[])
{
  FwMixtureDensity object;

  PetscFunctionBegin;
  PetscCall(FwMixtureDensityCreate(law, FW_MIXTURE_LOG_OUTPUT2, &object));
  for (int i = 0; i < POINTS; i++) PetscCall(FwMixtureDensityCumulative(object, 2.0 * log(s[i]), NULL, &above[i]));
  PetscCall(FwMixtureDensityDestroy(&object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* log S^2 of the samples, sorted */
static PetscErrorCode SortedOutputs(const FwMixtureData *data, FwMixtureDrawn drawn, double **value)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(data->n_sample, value));
  for (PetscInt i = 0; i < data->n_sample; i++) (*value)[i] = data->row[drawn][i * length + D + FW_COLUMN_LOG_OUTPUT2];
  PetscCall(PetscSortReal(data->n_sample, *value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CountAbove(PetscInt n, const double sorted[], const double s[], double above[])
{
  PetscInt below = 0;

  for (int i = 0; i < POINTS; i++) { /* s ascends */
    while (below < n && sorted[below] <= 2.0 * log(s[i])) below++;
    above[i] = (double)(n - below) / (double)n;
  }
}

static PetscErrorCode RecordSurvival(const FwMixtureData *data, FwRecord record)
{
  const FwMixtureLaw infinite = {.n_output = data->finite.n_output};
  double             s[POINTS], y[POINTS], *sorted, farthest = 1.0;
  char               name[FW_STORE_NAME_SIZE];

  PetscFunctionBegin;
  if (data->inputs->bias) PetscFunctionReturn(PETSC_SUCCESS); /* the exact laws are those without */
  for (FwMixtureDrawn d = FW_DRAWN_BRUTE; d < FW_DRAWN_COUNT; d++) {
    if (!data->row[d]) continue;
    PetscCall(SortedOutputs(data, d, &sorted));
    farthest = fmax(farthest, exp(0.5 * sorted[data->n_sample - 1]));
    PetscCall(PetscFree(sorted));
  }
  for (int i = 0; i < POINTS; i++) s[i] = 0.05 * pow(farthest / 0.05, (double)i / (POINTS - 1));
  PetscCall(RecordCurve(record, "survival_output", "survival_point", s, "|S_11| / sqrt(K_11)"));
  PetscCall(SurvivalOf(&data->finite, s, y));
  PetscCall(RecordCurve(record, "survival_exact", "survival_point", y, "probability of a larger one at the widths"));
  PetscCall(SurvivalOf(&data->limit, s, y));
  PetscCall(RecordCurve(record, "survival_limit", "survival_point", y, "probability of a larger one in the limit"));
  PetscCall(SurvivalOf(&infinite, s, y));
  PetscCall(
    RecordCurve(record, "survival_infinite", "survival_point", y, "probability of a larger one at infinite width"));
  for (FwMixtureDrawn d = FW_DRAWN_BRUTE; d < FW_DRAWN_COUNT; d++) {
    if (!data->row[d]) continue;
    PetscCall(SortedOutputs(data, d, &sorted));
    CountAbove(data->n_sample, sorted, s, y);
    PetscCall(PetscFree(sorted));
    FwReportName(data, d, "survival_sampled", name);
    PetscCall(RecordCurve(record, name, "survival_point", y, "share of larger ones among the samples"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReportCurves(const FwMixtureData *data, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(RecordDensity(data, record));
  PetscCall(RecordSurvival(data, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}
