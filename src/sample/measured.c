/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * From chains to measured quantities: averages, squares of averages by pairs of chains, error bars.
 */

#include "measured_impl.h"

#include <finwidth/diagnostics.h>

#include <math.h>
#include <string.h>

const double *FwSetBlock(const FwSampledSet *a, PetscInt chain, PetscInt block)
{
  const FwChainsResult *r = &a->s->chains;

  return r->block + (size_t)((a->set * r->n_chain + chain) * r->n_block + block) * r->n_field;
}

static PetscErrorCode CreateSet(FwSampled s, PetscInt set, FwSampledSet *a)
{
  const FwChainsResult *r = &s->chains;

  PetscFunctionBegin;
  *a = (FwSampledSet){.s = s, .set = set, .n_chain = r->n_chain, .n_block = r->n_block, .n_field = r->n_field};
  PetscCall(PetscCalloc3((size_t)r->n_chain * r->n_field, &a->chain_mean, r->n_field, &a->mean, r->n_chain * r->n_block,
                         &a->work));
  for (PetscInt c = 0; c < r->n_chain; c++)
    for (PetscInt b = 0; b < r->n_block; b++) {
      const double *block = FwSetBlock(a, c, b);

      for (PetscInt i = 0; i < r->n_field; i++)
        a->chain_mean[(size_t)c * r->n_field + i] += block[i] / (double)r->n_block;
    }
  for (PetscInt c = 0; c < r->n_chain; c++)
    for (PetscInt i = 0; i < r->n_field; i++)
      a->mean[i] += a->chain_mean[(size_t)c * r->n_field + i] / (double)r->n_chain;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySet(FwSampledSet *a)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(a->chain_mean, a->mean, a->work));
  PetscCall(PetscFree(a->weight_vector));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- averages ----------------------------------------------------------------------------------------------- */

static PetscErrorCode OfSeries(const FwSampledSet *a, PetscInt series, FwSetNumber *number)
{
  const FwChainsResult *r = &a->s->chains;
  FwChainSummary        summary;

  PetscFunctionBegin;
  PetscCall(FwChainSummarise(r->n_chain, r->n_sample,
                             r->series + (size_t)(a->set * r->n_series + series) * r->n_chain * r->n_sample, &summary));
  *number = (FwSetNumber){summary.mean, summary.error_bar, summary.ess, summary.rhat};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of what stands in `work`, block by block */
PetscErrorCode FwSetOfBlocks(const FwSampledSet *a, FwSetNumber *number)
{
  PetscFunctionBegin;
  *number = (FwSetNumber){NAN, NAN, NAN, NAN};
  PetscCall(FwChainBlocks(a->n_chain, a->n_block, a->work, &number->value, &number->error_bar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OfField(const FwSampledSet *a, PetscInt field, FwSetNumber *number)
{
  PetscFunctionBegin;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++) a->work[c * a->n_block + b] = FwSetBlock(a, c, b)[field];
  PetscCall(FwSetOfBlocks(a, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- squares of averages ------------------------------------------------------------------------------------ */

/* Sum over n entries of x_c z_c', averaged over pairs of different chains: unbiased for the product of the true means.
   Offsets are taken off the means; `spread` is the variance of the second-order term */
typedef struct {
  PetscInt      n, stride, first; /* entries first, first + stride, .. of the field */
  const double *offset;           /* [n * stride], entry i at i * stride; NULL for none */
  const double *weight;           /* [n]; NULL for ones */
} Square;

static double EntryWeight(const Square *q, PetscInt i)
{
  return q->weight ? q->weight[i] : 1.0;
}

static double Offset(const Square *q, PetscInt i)
{
  return q->offset ? q->offset[i * q->stride] : 0.0;
}

/* The product of two chains' means, about the offset or, for the spread, about the common mean */
static double Product(const FwSampledSet *a, const Square *q, PetscInt c, PetscInt e, PetscBool about_mean)
{
  const double *one = a->chain_mean + (size_t)c * a->n_field, *other = a->chain_mean + (size_t)e * a->n_field;
  double        sum = 0.0;

  for (PetscInt i = 0; i < q->n; i++) {
    const PetscInt at     = q->first + i * q->stride;
    const double   centre = about_mean ? a->mean[at] : Offset(q, i);

    sum += EntryWeight(q, i) * (one[at] - centre) * (other[at] - centre);
  }
  return sum;
}

static void PairAverage(const FwSampledSet *a, const Square *q, double *value, double *spread)
{
  const double n_pair = 0.5 * (double)a->n_chain * (double)(a->n_chain - 1);

  *value = *spread = 0.0;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt e = 0; e < c; e++) {
      *value += Product(a, q, c, e, PETSC_FALSE) / n_pair;
      *spread += PetscSqr(Product(a, q, c, e, PETSC_TRUE)) / n_pair / n_pair;
    }
}

/* What the square is to first order, of one block: 2 (mean - offset) . (block - mean) */
static double Linear(const FwSampledSet *a, const Square *q, PetscInt c, PetscInt b)
{
  const double *block = FwSetBlock(a, c, b);
  double        sum   = 0.0;

  for (PetscInt i = 0; i < q->n; i++) {
    const PetscInt at = q->first + i * q->stride;

    sum += 2.0 * EntryWeight(q, i) * (a->mean[at] - Offset(q, i)) * (block[at] - a->mean[at]);
  }
  return sum;
}

/* --- the quantities ----------------------------------------------------------------------------------------- */

static Square BiasSquare(const FwSampledSet *a, PetscInt d)
{
  const FwSampledLayout *at = &a->s->at;

  return (Square){.n = at->n_test, .stride = at->n_output, .first = at->field_mean + d, .offset = a->s->y_test + d};
}

static PetscErrorCode Bias(const FwSampledSet *a, PetscInt d, FwSetNumber *number)
{
  const Square q = BiasSquare(a, d);
  const double n = (double)q.n;
  double       value, spread;

  PetscFunctionBegin;
  PairAverage(a, &q, &value, &spread);
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++) a->work[c * a->n_block + b] = Linear(a, &q, c, b) / n;
  PetscCall(FwSetOfBlocks(a, number));
  number->value     = value / n;
  number->error_bar = hypot(number->error_bar, sqrt(spread) / n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Test error of one block, from the field */
static double BlockError(const FwSampledSet *a, PetscInt d, PetscInt c, PetscInt b)
{
  const FwSampledLayout *at    = &a->s->at;
  const double          *block = FwSetBlock(a, c, b);
  double                 sum   = 0.0;

  for (PetscInt i = 0; i < at->n_test; i++) {
    const PetscInt k = i * at->n_output + d;
    const double   y = a->s->y_test[k];

    sum += block[at->field_second + k] - 2.0 * y * block[at->field_mean + k] + y * y;
  }
  return sum / (double)at->n_test;
}

/* The difference of two correlated numbers: its error bar is that of their difference block by block */
static PetscErrorCode Variance(const FwSampledSet *a, PetscInt d, FwSetNumber *number)
{
  const Square q     = BiasSquare(a, d);
  const double n     = (double)q.n;
  FwSetNumber  error = {NAN, NAN, NAN, NAN};
  double       bias, spread;

  PetscFunctionBegin;
  PairAverage(a, &q, &bias, &spread);
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++)
      a->work[c * a->n_block + b] = BlockError(a, d, c, b) - Linear(a, &q, c, b) / n;
  PetscCall(FwSetOfBlocks(a, number));
  PetscCall(OfSeries(a, a->s->at.series_test + d, &error));
  number->value     = error.value - bias / n;
  number->error_bar = hypot(number->error_bar, sqrt(spread) / n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Alignment(const FwSampledSet *a, PetscInt unused, FwSetNumber *number)
{
  const FwSampledLayout *at = &a->s->at;
  const PetscInt         n  = (PetscInt)FwPackedPlace(at->n_hidden, 0);
  double                *weight, square, spread, form, y2 = 0.0;

  PetscFunctionBegin;
  (void)unused;
  PetscCall(PetscMalloc1(n, &weight));
  for (PetscInt i = 0; i < at->n_hidden; i++) {
    y2 += PetscSqr(a->s->y_train[i]);
    for (PetscInt j = 0; j <= i; j++) weight[FwPackedPlace(i, j)] = i == j ? 1.0 : 2.0;
  }
  const Square q = {.n = n, .stride = 1, .first = at->field_hidden, .weight = weight};

  PairAverage(a, &q, &square, &spread);
  form = FwPackedForm(at->n_hidden, a->mean + at->field_hidden, a->s->y_train);
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++)
      a->work[c * a->n_block + b] =
        FwPackedForm(at->n_hidden, FwSetBlock(a, c, b) + at->field_hidden, a->s->y_train) / form -
        0.5 * Linear(a, &q, c, b) / square;
  PetscCall(FwSetOfBlocks(a, number));
  number->value     = form / (sqrt(square) * y2);
  number->error_bar = number->value * hypot(number->error_bar, 0.5 * sqrt(spread) / square);
  PetscCall(PetscFree(weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- accuracy ----------------------------------------------------------------------------------------------- */

/* By how much the right output leads at an example: one output, the sign; several, the largest of the others */
static double Lead(const FwSampledSet *a, const double mean[], PetscInt i)
{
  const PetscInt D     = a->s->at.n_output;
  const double  *y     = a->s->y_test + i * D;
  PetscInt       right = 0, other = -1;

  mean += i * D;
  if (D == 1) return mean[0] * (y[0] > 0.0 ? 1.0 : -1.0);
  for (PetscInt d = 1; d < D; d++)
    if (y[d] > y[right]) right = d;
  for (PetscInt d = 0; d < D; d++)
    if (d != right && (other < 0 || mean[d] > mean[other])) other = d;
  return mean[right] - mean[other];
}

/* An example changes sides with the probability that its lead, known within its error bar, has the other sign */
static PetscErrorCode Accuracy(const FwSampledSet *a, PetscInt unused, FwSetNumber *number)
{
  const FwSampledLayout *at      = &a->s->at;
  double                 n_right = 0.0, variance = 0.0;

  PetscFunctionBegin;
  (void)unused;
  for (PetscInt i = 0; i < at->n_test; i++) {
    const double lead    = Lead(a, a->mean + at->field_mean, i);
    FwSetNumber  of_lead = {NAN, NAN, NAN, NAN};
    double       p;

    for (PetscInt c = 0; c < a->n_chain; c++)
      for (PetscInt b = 0; b < a->n_block; b++)
        a->work[c * a->n_block + b] = Lead(a, FwSetBlock(a, c, b) + at->field_mean, i);
    PetscCall(FwSetOfBlocks(a, &of_lead));
    p = of_lead.error_bar > 0.0 ? 0.5 * erfc(fabs(lead) / (M_SQRT2 * of_lead.error_bar)) : 0.0;
    variance += p * (1.0 - p);
    n_right += lead > 0.0;
  }
  *number = (FwSetNumber){n_right / (double)at->n_test, sqrt(variance) / (double)at->n_test, NAN, NAN};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all sets ----------------------------------------------------------------------------------------------- */

/* FwSetNumber `i` of a quantity of a set */
typedef PetscErrorCode Quantity(const FwSampledSet *a, PetscInt i, FwSetNumber *number);

static PetscErrorCode TrainError(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, a->s->at.series_train + i, number);
}

static PetscErrorCode TestError(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, a->s->at.series_test + i, number);
}

/* Number i of all layers. A single order parameter has a series of its own; of a matrix only the trace has */
static PetscErrorCode Order(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return i == 0 && a->s->at.n_order[0] == 1 ? OfSeries(a, a->s->at.series_order, number)
                                            : OfField(a, a->s->at.field_order + i, number);
}

/* Between places i of the readout: those of the first layer of paths with the same taps. Places are the last index of a path */
static PetscErrorCode PositionOrder(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  const FwSampledLayout *at = &a->s->at;
  const PetscInt         r = at->n_order[0], n_row = at->n_order[at->n_layer - 1], n_tap = r / n_row;
  const PetscInt         n = n_row / at->n_output, row = i / n_row, column = i % n_row; /* n places per output */

  PetscFunctionBegin;
  for (PetscInt c = 0; c < a->n_chain; c++)
    for (PetscInt b = 0; b < a->n_block; b++) {
      const double *order = FwSetBlock(a, c, b) + at->field_order;
      double       *sum   = &a->work[c * a->n_block + b];

      *sum = 0.0;
      for (PetscInt t = 0; t < n_tap; t++) {
        const PetscInt p = (row / n * n_tap + t) * n + row % n, q = (column / n * n_tap + t) * n + column % n;

        *sum += order[p * r + q] / (double)n_tap;
      }
    }
  PetscCall(FwSetOfBlocks(a, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MeanOrder(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, a->s->at.series_order + i, number);
}

static PetscErrorCode HiddenTrace(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, a->s->at.series_hidden + i, number);
}

static PetscErrorCode WeightTrace(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, a->s->at.series_weight + i, number);
}

static PetscErrorCode Energy(const FwSampledSet *a, PetscInt i, FwSetNumber *number)
{
  return OfSeries(a, i, number);
}

/* Two Langevin steps h and h/2: 2 x(h/2) - x(h) */
static void Extrapolate(const FwSetNumber at[2], FwMeasured *m, PetscInt i)
{
  m->value[i]     = 2.0 * at[1].value - at[0].value;
  m->error_bar[i] = hypot(2.0 * at[1].error_bar, at[0].error_bar);
  m->ess[i]       = PetscMin(at[0].ess, at[1].ess);
  m->rhat[i]      = PetscMax(at[0].rhat, at[1].rhat);
  m->step_bias[i] = at[0].value - m->value[i];
}

/* One number is a scalar, but of modes; others have one entry per output */
static FwShape ShapeOf(PetscInt n, Quantity *quantity)
{
  if (quantity == FwSetWeightEigenvalue) return (FwShape){.n_dim = 1, .name = {"weight_mode"}, .size = {n}};
  if (quantity == FwSetWeightVariance) return (FwShape){.n_dim = 1, .name = {"predicted_mode"}, .size = {n}};
  return n == 1 ? (FwShape){.n_dim = 0} : (FwShape){.n_dim = 1, .name = {"output"}, .size = {n}};
}

/* A square of numbers whose axes are named by `suffix` */
static PetscErrorCode SetSquare(FwMeasured *m, const char suffix[])
{
  const PetscInt r = (PetscInt)lround(sqrt((double)m->n));

  PetscFunctionBegin;
  if (m->n == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(m->axis[0], sizeof m->axis[0], "order_row%s", suffix));
  PetscCall(PetscSNPrintf(m->axis[1], sizeof m->axis[1], "order_column%s", suffix));
  m->shape = (FwShape){
    .n_dim = 2, .name = {m->axis[0], m->axis[1]},
         .size = {r,          r         }
  };
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A quantity of the n numbers from `first` on, by its name */
static PetscErrorCode AddRange(FwSampled s, const FwSampledSet set[], Quantity *quantity, PetscInt first, PetscInt n,
                               const char name[], const char units[], const char long_name[])
{
  FwMeasured *m = &s->measured[s->n_measured];

  PetscFunctionBegin;
  PetscCheck(s->n_measured < FW_MEASURED_MOST + s->at.n_layer, PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "more quantities than room");
  *m = (FwMeasured){.units = units, .long_name = long_name, .n = n};
  PetscCall(PetscStrncpy(m->name, name, sizeof m->name));
  m->shape = ShapeOf(n, quantity);
  PetscCall(PetscMalloc5(n, &m->value, n, &m->error_bar, n, &m->ess, n, &m->rhat, n, &m->step_bias));
  s->n_measured++;
  for (PetscInt i = 0; i < n; i++) {
    FwSetNumber at[2] = {
      {NAN, NAN, NAN, NAN},
      {NAN, NAN, NAN, NAN}
    };

    for (PetscInt k = 0; k < s->chains.n_set; k++) PetscCall(quantity(&set[k], first + i, &at[k]));
    m->value[i]     = at[0].value;
    m->error_bar[i] = at[0].error_bar;
    m->ess[i]       = at[0].ess;
    m->rhat[i]      = at[0].rhat;
    m->step_bias[i] = NAN;
    if (s->chains.n_set == 2) Extrapolate(at, m, i);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Add(FwSampled s, const FwSampledSet set[], Quantity *quantity, PetscInt n, const char name[],
                          const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(AddRange(s, set, quantity, 0, n, name, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of each layer that has some: order_parameter, order_parameter_2, .. */
static PetscErrorCode AddOrders(FwSampled s, const FwSampledSet set[])
{
  const FwSampledLayout *at      = &s->at;
  const PetscInt         n_layer = at->n_layer;
  char                   name[40];

  PetscFunctionBegin;
  for (PetscInt l = 0; l < n_layer; l++) {
    char suffix[16] = "";

    if (l) PetscCall(PetscSNPrintf(suffix, sizeof suffix, "_%" PetscInt_FMT, l + 1));
    PetscCall(PetscSNPrintf(name, sizeof name, "order_parameter%s", suffix));
    PetscCall(AddRange(s, set, Order, FwSampledOrderPlace(at, l), PetscSqr(at->n_order[l]), name, "1",
                       l < n_layer - 1 ? "Gram matrix between paths from this layer on, sampled"
                                       : "Gram matrix of the readout, sampled"));
    PetscCall(SetSquare(&s->measured[s->n_measured - 1], suffix));
  }
  if (n_layer > 1) {
    PetscCall(Add(s, set, PositionOrder, PetscSqr(at->n_order[n_layer - 1]), "position_order_parameter", "1",
                  "order parameter averaged over taps, between positions of the last layer, sampled"));
    PetscCall(SetSquare(&s->measured[s->n_measured - 1], "_of_positions"));
  }
  if (at->n_order[0] > 1)
    PetscCall(
      Add(s, set, MeanOrder, 1, "order_parameter_diagonal", "1", "mean of the diagonal order parameters, sampled"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddTest(FwSampled s, const FwSampledSet set[])
{
  const PetscInt D = s->at.n_output;

  PetscFunctionBegin;
  PetscCall(Add(s, set, TestError, D, "test_error", "label^2", "test error (bias + variance), sampled"));
  PetscCall(Add(s, set, Bias, D, "test_bias", "label^2", "test error of the mean predictor (bias), sampled"));
  PetscCall(Add(s, set, Variance, D, "test_variance", "label^2", "posterior variance at test examples, sampled"));
  if (s->has_classes)
    PetscCall(Add(s, set, Accuracy, 1, "accuracy", "1", "share of test examples with the right class, sampled"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddAll(FwSampled s, const FwSampledSet set[])
{
  PetscFunctionBegin;
  PetscCall(Add(s, set, TrainError, s->at.n_output, "train_error", "label^2", "train error, sampled"));
  if (s->at.n_test) PetscCall(AddTest(s, set));
  PetscCall(AddOrders(s, set));
  PetscCall(Add(s, set, HiddenTrace, 1, "hidden_trace_after", "1", "mean squared activation, sampled"));
  PetscCall(Add(s, set, WeightTrace, 1, "weight_trace_after", "1", "tr E[w w^T] of the first layer, sampled"));
  if (s->at.n_mode)
    PetscCall(Add(s, set, FwSetWeightEigenvalue, s->at.n_mode, "weight_eigenvalue", "1",
                  "E[w w^T] of the first layer along its own largest eigenvectors, sampled"));
  if (s->at.n_hidden && s->at.n_output == 1)
    PetscCall(Add(s, set, Alignment, 1, "alignment_after", "1", "kernel-target alignment, sampled"));
  PetscCall(Add(s, set, Energy, 1, "energy", "1", "U, minus log of the posterior density, sampled"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampledMeasure(FwSampled s)
{
  FwSampledSet set[2];

  PetscFunctionBegin;
  for (PetscInt k = 0; k < s->chains.n_set; k++) {
    PetscCall(CreateSet(s, k, &set[k]));
    if (s->at.n_mode) PetscCall(FwSetWeightVectors(&set[k]));
  }
  PetscCall(PetscCalloc1(FW_MEASURED_MOST + s->at.n_layer, &s->measured));
  PetscCall(AddAll(s, set));
  for (PetscInt k = 0; k < s->chains.n_set; k++) PetscCall(DestroySet(&set[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSampledAddWeightVariance(FwSampled s, PetscInt n_direction, PetscInt n_weight,
                                          const double direction[])
{
  FwSampledSet set[2];

  PetscFunctionBegin;
  if (!n_direction || n_weight != s->at.n_weight) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt k = 0; k < s->chains.n_set; k++) {
    PetscCall(CreateSet(s, k, &set[k]));
    set[k].direction = direction;
  }
  PetscCall(Add(s, set, FwSetWeightVariance, n_direction, "weight_variance", "1",
                "E[w w^T] of the first layer along the predicted eigenvectors, sampled"));
  for (PetscInt k = 0; k < s->chains.n_set; k++) PetscCall(DestroySet(&set[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
