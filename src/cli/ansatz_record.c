/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What `finwidth ansatz` records of a trained group: times, measures, outcomes, matrices, and the theory beside them.
 */

#include "ansatz_impl.h"
#include "predict.h"

#include <finwidth/dense.h>
#include <finwidth/feature.h>

#include <math.h>

/* More inputs than this, and whole matrices over them are not stored */
enum { MATRIX_INPUTS = 64 };

/* One point of the result */
typedef struct {
  const FwAnsatzGroupData *group;
  const FwAnsatzPoint     *point;
  const FwEnsembleResult  *result;
  PetscInt                 first, n_seed; /* runs */
  const FwAlignmentMode   *mode;          /* [CountModes()] of the data; NULL where they say nothing */
  FwLearner                learner;
  double                   scale; /* of the AGOP, by the targets */
  FwRecord                 record;
} Found;

static const double *RowOf(const Found *f, PetscInt seed, PetscInt time)
{
  const size_t run = (size_t)(f->first + seed);

  return f->result->row + (run * (size_t)f->group->plan.n_time + (size_t)time) * (size_t)f->result->rows.n;
}

static double Measured(const Found *f, PetscInt seed, PetscInt time, FwAlignmentField field)
{
  return RowOf(f, seed, time)[f->result->rows.column[field].first];
}

static const double *WeightsOf(const Found *f, PetscInt seed)
{
  return f->result->theta + (size_t)(f->first + seed) * (size_t)f->result->n_theta;
}

static PetscBool HasDiverged(const Found *f, PetscInt seed)
{
  return f->result->end[f->first + seed].is_diverged > 0.0 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode RecordColumn(const Found *f, const FwAlignmentColumn *column)
{
  const PetscInt n_time = f->group->plan.n_time;
  const FwShape  shape  = {
      column->axis ? 3 : 2, {"run_seed", "time", column->axis},
           {f->n_seed,  n_time, column->n   }
  };
  double *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)f->n_seed * (size_t)n_time * (size_t)column->n, &value));
  for (PetscInt s = 0; s < f->n_seed; s++)
    for (PetscInt t = 0; t < n_time; t++)
      PetscCall(PetscArraycpy(value + ((size_t)s * (size_t)n_time + (size_t)t) * (size_t)column->n,
                              RowOf(f, s, t) + column->first, column->n));
  PetscCall(FwRecordReals(f->record, column->name, &shape, value, "1", column->long_name));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordTimes(const Found *f)
{
  const PetscInt n     = f->group->plan.n_time;
  const FwShape  shape = {1, {"time"}, {n}};
  double        *time;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &time));
  for (PetscInt t = 0; t < n; t++) time[t] = f->group->time[t] * FwAnsatzTimeUnit(f->point);
  PetscCall(FwRecordReals(f->record, "training_time", &shape, time, "1",
                          "t of the flow, or steps times eta (/(1 - beta) with momentum)"));
  PetscCall(PetscFree(time));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The law is of linear networks and methods that follow the flow; of biases, where they decay as the weights do */
static PetscBool HasRate(const FwAnsatzPoint *point)
{
  return (PetscBool)(point->shape.activation == FW_ACTIVATION_LINEAR && point->plan.method < FW_TRAIN_ADAM &&
                     (!point->shape.has_bias || point->decay.bias == point->decay.weight));
}

/* |Delta - b b^T| of all layers together over time */
static PetscErrorCode RateOf(const Found *f, PetscInt seed, double *rate)
{
  const FwAlignmentColumn *column = &f->result->rows.column[FW_ALIGNMENT_IMBALANCE_BIAS];
  const PetscInt           n      = f->group->plan.n_time;
  const double             norm   = Measured(f, seed, 0, FW_ALIGNMENT_WEIGHT_NORM);
  double                  *time, *total;

  PetscFunctionBegin;
  *rate = NAN;
  if (!HasRate(f->point)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(n, &time, n, &total));
  for (PetscInt t = 0; t < n; t++) {
    const double *imbalance = RowOf(f, seed, t) + column->first;

    time[t]  = f->group->time[t] * FwAnsatzTimeUnit(f->point);
    total[t] = sqrt(FwDot(column->n, imbalance, imbalance));
  }
  *rate = FwAlignmentRate(n, time, total, norm * norm);
  PetscCall(PetscFree2(time, total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasCollapsed(const Found *f, PetscInt seed)
{
  const FwAlignmentRows *rows = &f->result->rows;

  return FwAlignmentHasCollapsed(f->scale, f->group->plan.n_time, (size_t)rows->n,
                                 RowOf(f, seed, 0) + rows->column[FW_ALIGNMENT_AGOP_NORM].first);
}

enum { DIVERGED, GIVEN_UP, SOLVED, COLLAPSED, UNDETERMINED, FEATURELESS, BOUND, OUTCOMES };

static void JudgeRun(const Found *f, PetscInt seed, PetscInt64 outcome[OUTCOMES])
{
  const FwEnsembleEnd *end        = &f->result->end[f->first + seed];
  const PetscInt       last       = f->group->plan.n_time - 1;
  const double         best_alpha = Measured(f, seed, last, FW_ALIGNMENT_BEST_ALPHA);

  outcome[DIVERGED]     = HasDiverged(f, seed);
  outcome[GIVEN_UP]     = end->is_given_up > 0.0;
  outcome[FEATURELESS]  = Measured(f, seed, last, FW_ALIGNMENT_AGOP_NORM) == 0.0;
  outcome[SOLVED]       = f->point->plan.method < FW_TRAIN_LMVM || end->is_converged > 0.0;
  outcome[COLLAPSED]    = HasCollapsed(f, seed);
  outcome[UNDETERMINED] = isnan(best_alpha) && !outcome[DIVERGED] && !outcome[GIVEN_UP] && !outcome[FEATURELESS];
  outcome[BOUND]        = FwFeatureIsBound(best_alpha);
}

static PetscErrorCode RecordOutcomes(const Found *f)
{
  static const char *const names[OUTCOMES][2] = {
    {"diverged",         "1: training diverged, at stopped_at"                                 },
    {"given_up",         "1: a flow took more than ansatz_gradients, and ended at stopped_at"  },
    {"solved",           "0: a solver for critical points was stopped before its end"          },
    {"collapsed",        "1: less than a millionth is left of the AGOP that the targets demand"},
    {"undetermined",     "1: the AGOP has one direction, all alpha are alike"                  },
    {"featureless",      "1: the AGOP is zero, there is no cosine"                             },
    {"best_alpha_bound", "1: best_alpha at the end is an end of its interval"                  },
  };
  const FwShape shape        = {1, {"run_seed"}, {f->n_seed}};
  PetscBool     is_converged = PETSC_TRUE;
  PetscInt64   *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(f->n_seed, &value));
  for (int o = 0; o < OUTCOMES; o++) {
    for (PetscInt s = 0; s < f->n_seed; s++) {
      PetscInt64 outcome[OUTCOMES];

      JudgeRun(f, s, outcome);
      value[s] = outcome[o];
      if (outcome[DIVERGED] || outcome[GIVEN_UP] || !outcome[SOLVED]) is_converged = PETSC_FALSE;
    }
    PetscCall(FwRecordIntegers(f->record, names[o][0], &shape, value, "1", names[o][1]));
  }
  PetscCall(PetscFree(value));
  PetscCall(FwRecordInteger(f->record, "converged", is_converged, "1", "1: every number can be trusted"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordEnds(const Found *f)
{
  const FwShape shape = {1, {"run_seed"}, {f->n_seed}};
  double       *rate, *stopped, *n_gradient;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(f->n_seed, &rate, f->n_seed, &stopped, f->n_seed, &n_gradient));
  for (PetscInt s = 0; s < f->n_seed; s++) {
    PetscCall(RateOf(f, s, &rate[s]));
    stopped[s]    = f->result->end[f->first + s].time;
    n_gradient[s] = f->result->end[f->first + s].n_gradient;
  }
  PetscCall(FwRecordReals(f->record, "imbalance_rate", &shape, rate, "1",
                          "fitted rate at which the imbalance of a linear network decays, 2 mu in the theory"));
  PetscCall(FwRecordReals(f->record, "stopped_at", &shape, stopped, "1", "time or step at which the run ended"));
  PetscCall(FwRecordReals(f->record, "gradients", &shape, n_gradient, "1", "gradients evaluated"));
  PetscCall(PetscFree3(rate, stopped, n_gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the end in single numbers ------------------------------------------------------------------------------------------------ */

/* Mean and standard deviation over the runs that have the number */
static PetscInt MeanOver(PetscInt n, const double value[], double *mean, double *deviation)
{
  PetscInt count = 0;
  double   sum = 0.0, square = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    if (isnan(value[i])) continue;
    sum += value[i];
    count++;
  }
  *mean = count ? sum / (double)count : NAN;
  for (PetscInt i = 0; i < n; i++)
    if (!isnan(value[i])) square += (value[i] - *mean) * (value[i] - *mean);
  *deviation = count > 1 ? sqrt(square / (double)(count - 1)) : NAN;
  return count;
}

static PetscErrorCode RecordFinal(const Found *f, const char name[], const double value[], const char long_name[])
{
  char     full[64];
  double   mean, deviation;
  PetscInt n;

  PetscFunctionBegin;
  n = MeanOver(f->n_seed, value, &mean, &deviation);
  (void)snprintf(full, sizeof full, "final_%s", name);
  PetscCall(FwRecordReal(f->record, full, mean, "1", long_name));
  (void)snprintf(full, sizeof full, "final_%s_deviation", name);
  PetscCall(FwRecordReal(f->record, full, deviation, "1", "standard deviation of it over runs"));
  (void)snprintf(full, sizeof full, "final_%s_runs", name);
  PetscCall(FwRecordInteger(f->record, full, n, "1", "runs that have the number, over which it is the mean"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordFinals(const Found *f)
{
  static const struct {
    const char      *name;
    FwAlignmentField field; /* its first entry */
    const char      *long_name;
  } finals[] = {
    {"loss",            FW_ALIGNMENT_LOSS,             "loss at the end, mean over runs"                                },
    {"similarity",      FW_ALIGNMENT_LAYER_SIMILARITY, "cosine at alpha = 1/L at the end, mean over runs"               },
    {"best_similarity", FW_ALIGNMENT_BEST_SIMILARITY,  "largest cosine at the end, mean over runs"                      },
    {"best_alpha",      FW_ALIGNMENT_BEST_ALPHA,       "its alpha, mean over runs in which it is no end of its interval"},
    {"slope_alpha",     FW_ALIGNMENT_SLOPE_ALPHA,      "alpha of the slope at the end, mean over runs"                  },
    {"residual",        FW_ALIGNMENT_RESIDUAL,         "residual at alpha = 1/L at the end, mean over runs"             },
    {"update",          FW_ALIGNMENT_UPDATE,           "update_similarity at the end, mean over runs"                   },
    {"imbalance",       FW_ALIGNMENT_IMBALANCE,        "imbalance of the first hidden layer at the end, mean over runs" },
  };
  double *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(f->n_seed, &value));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(finals); i++) {
    for (PetscInt s = 0; s < f->n_seed; s++) {
      value[s] = Measured(f, s, f->group->plan.n_time - 1, finals[i].field);
      if (finals[i].field == FW_ALIGNMENT_BEST_ALPHA && FwFeatureIsBound(value[s])) value[s] = NAN;
    }
    PetscCall(RecordFinal(f, finals[i].name, value, finals[i].long_name));
  }
  for (PetscInt s = 0; s < f->n_seed; s++) PetscCall(RateOf(f, s, &value[s]));
  PetscCall(RecordFinal(f, "imbalance_rate", value, "fitted rate of the imbalance, mean over runs"));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of each layer the same as of the first */
static PetscErrorCode RecordFinalLayers(const Found *f)
{
  const FwAlignmentColumn *column = &f->result->rows.column[FW_ALIGNMENT_LAYER_BEST_ALPHA];
  const FwShape            shape  = {1, {"layer"}, {column->n}};
  double                  *value, *mean, deviation;
  PetscInt64              *n_run;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(f->n_seed, &value, column->n, &mean, column->n, &n_run));
  for (PetscInt l = 0; l < column->n; l++) {
    for (PetscInt s = 0; s < f->n_seed; s++) {
      value[s] = RowOf(f, s, f->group->plan.n_time - 1)[column->first + l];
      if (FwFeatureIsBound(value[s])) value[s] = NAN;
    }
    n_run[l] = MeanOver(f->n_seed, value, &mean[l], &deviation);
  }
  PetscCall(FwRecordReals(f->record, "final_layer_best_alpha", &shape, mean, "1",
                          "layer_best_alpha at the end, mean over runs in which it is no end of its interval"));
  PetscCall(FwRecordIntegers(f->record, "final_layer_best_alpha_runs", &shape, n_run, "1", "runs behind the mean"));
  PetscCall(PetscFree3(value, mean, n_run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- matrices and weights ---------------------------------------------------------------------------------------------------- */

static PetscErrorCode RecordMatrices(const Found *f)
{
  const PetscInt d     = f->point->shape.width[0];
  const FwShape  shape = {
     2, {"input", "other_input"},
      {d,       d            }
  };
  double *m, *a;

  PetscFunctionBegin;
  if (d > MATRIX_INPUTS || HasDiverged(f, 0)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(d * d, &m, d * d, &a));
  PetscCall(FwAlignmentMatrices(f->learner, WeightsOf(f, 0), PETSC_FALSE, m, a));
  PetscCall(FwRecordReals(f->record, "feature_matrix", &shape, m, "1", "W1^T W1 at the end, first run"));
  PetscCall(FwRecordReals(f->record, "agop_power", &shape, a, "1", "AGOP^(1/L) at the end, first run"));
  PetscCall(PetscFree2(m, a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordDiagonals(const Found *f)
{
  const PetscInt d     = f->point->shape.width[0];
  const FwShape  shape = {
     2, {"run_seed", "input"},
      {f->n_seed,  d      }
  };
  double *m, *a;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(f->n_seed * d, &m, f->n_seed * d, &a));
  for (PetscInt i = 0; i < f->n_seed * d; i++) m[i] = a[i] = NAN;
  for (PetscInt s = 0; s < f->n_seed; s++)
    if (!HasDiverged(f, s))
      PetscCall(FwAlignmentMatrices(f->learner, WeightsOf(f, s), PETSC_TRUE, m + s * d, a + s * d));
  PetscCall(FwRecordReals(f->record, "feature_diagonal", &shape, m, "1", "diagonal of W1^T W1 at the end"));
  PetscCall(FwRecordReals(f->record, "agop_power_diagonal", &shape, a, "1", "diagonal of AGOP^(1/L) at the end"));
  PetscCall(PetscFree2(m, a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordImage(const Found *f)
{
  const FwDataSizes *sizes = &f->group->sizes;

  PetscFunctionBegin;
  if (!f->group->data || sizes->height < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordInteger(f->record, "image_channels", sizes->channels, "1", "channels of an input"));
  PetscCall(FwRecordInteger(f->record, "image_height", sizes->height, "1", "rows of an input"));
  PetscCall(FwRecordInteger(f->record, "image_width", sizes->width, "1", "columns of an input"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W_l by rows, b_l */
static PetscErrorCode RecordLayer(const Found *f, PetscInt l)
{
  const FwLearnerShape *shape = &f->point->shape;
  const PetscInt        n = shape->width[l], m = shape->width[l - 1];
  char                  w_name[16], b_name[16], above[16], below[16];
  const FwShape         w_shape =
                  {
                    3, {"run_seed", above, below},
                     {f->n_seed,  n,     m    }
  },
                b_shape = {2, {"run_seed", above}, {f->n_seed, n}};
  double *w, *b;

  PetscFunctionBegin;
  (void)snprintf(w_name, sizeof w_name, "W%d", (int)l);
  (void)snprintf(b_name, sizeof b_name, "b%d", (int)l);
  (void)snprintf(above, sizeof above, "unit_%d", (int)l);
  (void)snprintf(below, sizeof below, l > 1 ? "unit_%d" : "input", (int)l - 1);
  PetscCall(PetscMalloc2((size_t)f->n_seed * (size_t)n * (size_t)m, &w, (size_t)f->n_seed * (size_t)n, &b));
  for (PetscInt s = 0; s < f->n_seed; s++) {
    const double *from = WeightsOf(f, s) + FwLearnerShapeWeight(shape, l);

    for (PetscInt i = 0; i < n; i++)
      for (PetscInt j = 0; j < m; j++) w[((size_t)s * (size_t)n + (size_t)i) * (size_t)m + (size_t)j] = from[j * n + i];
    if (shape->has_bias) PetscCall(PetscArraycpy(b + s * n, WeightsOf(f, s) + FwLearnerShapeBias(shape, l), n));
  }
  PetscCall(FwRecordReals(f->record, w_name, &w_shape, w, "1", "weights at the end"));
  if (shape->has_bias) PetscCall(FwRecordReals(f->record, b_name, &b_shape, b, "1", "biases at the end"));
  PetscCall(PetscFree2(w, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- theory beside it ---------------------------------------------------------------------------------------------------------- */

static PetscInt CountModes(const FwEnsembleResult *result)
{
  return result->rows.column[FW_ALIGNMENT_AGOP_EIGENVALUE].n;
}

/* The strongest mode that is left decides when all are gone */
static PetscErrorCode RecordModes(const Found *f)
{
  const PetscInt L = f->point->shape.n_layer, n = CountModes(f->result);
  const FwShape  shape = {1, {"mode"}, {n}};
  double        *decay, *product, critical = 0.0;

  PetscFunctionBegin;
  if (!f->mode) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(n, &decay, n, &product));
  for (PetscInt j = 0; j < n; j++) {
    decay[j]   = FwAlignmentCriticalDecay(L, &f->mode[j]);
    product[j] = FwAlignmentModeProduct(L, &f->mode[j], f->point->decay.weight);
    critical   = fmax(critical, decay[j]);
  }
  PetscCall(FwRecordReal(f->record, "critical_decay", critical, "1",
                         "ansatz_decay beyond which the network collapses (exact for L = 2 and for white inputs)"));
  PetscCall(
    FwRecordReals(f->record, "mode_critical_decay", &shape, decay, "1", "ansatz_decay beyond which a mode is lost"));
  PetscCall(FwRecordReals(f->record, "mode_product", &shape, product, "1",
                          "singular value of W_L .. W_1 that a mode has at the end, from white inputs"));
  PetscCall(PetscFree2(decay, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Closed forms are those of gradient flow without decay, or of weights that are not trained */
static PetscBool HasExact(const FwAnsatzPoint *point)
{
  return (PetscBool)(point->counterexample.is_static ||
                     (FwTrainMethodIsFlow(point->plan.method) && point->decay.weight == 0.0));
}

/* The cosine at a time: by hand where nothing is trained, else measured on the weights of the closed form */
static PetscErrorCode ExactSimilarity(const Found *f, double time, double similarity[])
{
  const FwCase          *c    = &f->point->counterexample;
  const FwAlignmentRows *rows = &f->result->rows;
  double                *row, *theta;

  PetscFunctionBegin;
  for (PetscInt a = 0; a < rows->n_alpha; a++)
    similarity[a] = HasExact(f->point) ? FwCaseFormula(c, rows->alpha[a]) : NAN;
  if (c->is_static || !HasExact(f->point)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(rows->n, &row));
  PetscCall(PetscCalloc1(f->result->n_theta, &theta));
  PetscCall(FwCaseExact(c, time, theta));
  PetscCall(FwAlignmentMeasure(rows, f->learner, f->point->decay, f->group->run[f->first].start, theta, row));
  PetscCall(PetscArraycpy(similarity, row + rows->column[FW_ALIGNMENT_SIMILARITY].first, rows->n_alpha));
  PetscCall(PetscFree(row));
  PetscCall(PetscFree(theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordExactSimilarity(const Found *f)
{
  const FwCase  *c      = &f->point->counterexample;
  const PetscInt n_time = f->group->plan.n_time, n_alpha = f->result->rows.n_alpha;
  const FwShape  shape =
                  {
                    2, {"time", "alpha"},
                     {n_time, n_alpha}
  },
                formula_shape = {1, {"alpha"}, {n_alpha}};
  double *exact, *formula;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n_time * n_alpha, &exact, n_alpha, &formula));
  for (PetscInt t = 0; t < n_time; t++)
    PetscCall(ExactSimilarity(f, f->group->time[t] * FwAnsatzTimeUnit(f->point), exact + t * n_alpha));
  for (PetscInt a = 0; a < n_alpha; a++)
    formula[a] = HasExact(f->point) ? FwCaseFormula(c, f->result->rows.alpha[a]) : NAN;
  PetscCall(FwRecordReals(f->record, "exact_similarity", &shape, exact, "1",
                          c->kind == FW_CASE_QUADRATIC_AXES ? "similarity of the closed form at the end of time"
                                                            : "similarity of the closed form"));
  PetscCall(FwRecordReals(
    f->record, "formula_similarity", &formula_shape, formula, "1",
    c->is_static ? "similarity of the closed form" : "sum p^alpha / sqrt(k sum p^(2 alpha)) of the end of time"));
  PetscCall(PetscFree2(exact, formula));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordExactNumbers(const Found *f)
{
  const PetscInt n     = f->group->plan.n_time;
  const FwShape  shape = {1, {"time"}, {n}};
  double        *loss, *feature, *agop;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &loss, n, &feature, n, &agop));
  for (PetscInt t = 0; t < n; t++) {
    FwCaseNumbers exact = {NAN, NAN, NAN};

    if (HasExact(f->point))
      exact = FwCaseExactNumbers(&f->point->counterexample, f->group->time[t] * FwAnsatzTimeUnit(f->point));
    loss[t]    = exact.loss;
    feature[t] = exact.feature_norm;
    agop[t]    = exact.agop_norm;
  }
  PetscCall(FwRecordReals(f->record, "exact_loss", &shape, loss, "1", "loss by hand (quadratic-axes: at the end)"));
  PetscCall(FwRecordReals(f->record, "exact_feature_norm", &shape, feature, "1", "norm of W1^T W1 by hand, likewise"));
  PetscCall(FwRecordReals(f->record, "exact_agop_norm", &shape, agop, "1", "norm of the AGOP by hand, likewise"));
  PetscCall(PetscFree3(loss, feature, agop));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Closed forms beside what was measured; NaN where there are none */
static PetscErrorCode RecordExact(const Found *f)
{
  PetscFunctionBegin;
  if (!f->point->has_case) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(RecordExactSimilarity(f));
  PetscCall(RecordExactNumbers(f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordPoint(const Found *f)
{
  PetscFunctionBegin;
  PetscCall(RecordTimes(f));
  for (int c = 0; c < FW_ALIGNMENT_COUNT; c++) PetscCall(RecordColumn(f, &f->result->rows.column[c]));
  PetscCall(RecordEnds(f));
  PetscCall(RecordOutcomes(f));
  PetscCall(RecordFinals(f));
  PetscCall(RecordFinalLayers(f));
  PetscCall(RecordModes(f));
  PetscCall(RecordExact(f));
  PetscCall(RecordDiagonals(f));
  PetscCall(RecordMatrices(f));
  PetscCall(RecordImage(f));
  for (PetscInt l = 1; l <= f->point->shape.n_layer && f->group->ansatz->with_weights; l++)
    PetscCall(RecordLayer(f, l));
  PetscCall(FwRecordReal(f->record, "weight_decay", f->point->decay.weight, "1", "weight decay mu"));
  PetscCall(FwRecordInteger(f->record, "layers", f->point->shape.n_layer, "1", "weight matrices L"));
  if (f->group->data) PetscCall(FwPredictRecordDigest(f->group->data, f->record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAnsatzRecord(const FwAnsatzGroupData *g, const FwEnsembleResult *result, FwRecord record[])
{
  const FwEnsemblePlan *plan = &g->plan;
  const PetscBool       has =
    plan->shape.activation == FW_ACTIVATION_LINEAR && plan->loss == FW_LOSS_MSE ? PETSC_TRUE : PETSC_FALSE;
  const PetscInt   n_seed = g->ansatz->n_seed;
  FwAlignmentMode *mode;
  FwLearner        learner;
  double           scale;

  PetscFunctionBegin;
  PetscCall(FwLearnerCreate(PETSC_COMM_SELF, &plan->shape, plan->loss, plan->n_example, plan->x, plan->y, &learner));
  PetscCall(FwAlignmentTargetScale(learner, &scale));
  PetscCall(PetscMalloc1(CountModes(result), &mode));
  if (has) PetscCall(FwAlignmentModes(learner, CountModes(result), mode));
  for (PetscInt i = 0; i < g->n_point; i++) {
    const Found found = {.group   = g,
                         .point   = &g->point[i],
                         .result  = result,
                         .first   = i * n_seed,
                         .n_seed  = n_seed,
                         .mode    = has ? mode : NULL,
                         .learner = learner,
                         .scale   = scale,
                         .record  = record[i]};

    PetscCall(RecordPoint(&found));
  }
  PetscCall(PetscFree(mode));
  PetscCall(FwLearnerDestroy(&learner));
  PetscFunctionReturn(PETSC_SUCCESS);
}
