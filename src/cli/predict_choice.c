/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the data decide about a predicted point: which theory fits its outputs and labels.
 */

#include "predict.h"

#include <finwidth/activation.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Above this share of the labels' root mean square their mean calls for the mean terms: below, both forms agree to O(1/N) */
static const double large_mean = 0.1;

static PetscErrorCode HasMean(const FwModel *model, PetscBool *has_mean)
{
  PetscBool is_odd = PETSC_TRUE;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < model->depth && is_odd; l++) {
    FwActivation activation;

    PetscCall(FwActivationGet((FwActivationType)model->activation[l], &activation));
    PetscCall(FwActivationIsOdd(activation, &is_odd));
  }
  *has_mean = is_odd ? PETSC_FALSE : PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the training labels of the output whose mean is largest beside their root mean square */
typedef struct {
  PetscInt output;
  double   share, mean, deviation; /* share: |mean| over root mean square; 0 where all labels are zero */
} LabelMean;

static PetscErrorCode FindLabelMean(FwDataset data, LabelMean *largest)
{
  FwDataSizes   sizes;
  const double *y;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  *largest = (LabelMean){0};
  for (PetscInt d = 0; d < sizes.n_output; d++) {
    double sum = 0.0, square = 0.0, mean, share;

    for (PetscInt i = 0; i < sizes.n_train; i++) {
      sum += y[i * sizes.n_output + d];
      square += PetscSqr(y[i * sizes.n_output + d]);
    }
    mean  = sum / sizes.n_train;
    share = square > 0.0 ? fabs(sum) / sqrt(square * sizes.n_train) : 0.0;
    if (share > largest->share)
      *largest = (LabelMean){d, share, mean, sqrt(PetscMax(0.0, square / sizes.n_train - mean * mean))};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { MEAN_AUTO, MEAN_ON, MEAN_OFF }; /* choices of theory_mean */

static PetscBool HasNarrowLayer(const FwModel *model)
{
  for (PetscInt l = 0; l < model->depth; l++)
    if (model->width[l] < 2.0) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Why a point cannot have mean terms; NULL where it can */
static const char *Obstacle(const FwPredictPoint *point, PetscInt n_output, PetscBool has_mean)
{
  if (!has_mean) return "the activation has no mean";
  if (FwPredictIsLocal(&point->model)) return point->model.depth > 1 ? "they are for one hidden layer" : NULL;
  if (point->model.type != FW_NETWORK_FC) return "network_type 'pool' has none in this version";
  if (point->theory.composition != FW_COMPOSITION_PRODUCT) return "they are for theory_composition 'product'";
  if (n_output > 1) return "they are for one output";
  if (point->theory.theory != FW_THEORY_RENORMALISED) return "they are for theory_model 'renormalised'";
  return HasNarrowLayer(&point->model) ? "they need a network_width of 2 at least" : NULL;
}

/* Mean terms leave little of the observables: say so with the choice */
static PetscErrorCode NoteObservables(FwPredictPoint *point)
{
  const size_t at = strlen(point->mean_words);

  PetscFunctionBegin;
  if (point->with_observables && point->theory.with_mean && !FwPredictIsLocal(&point->model))
    snprintf(point->mean_words + at, sizeof point->mean_words - at,
             "; of theory_observables there is alignment_before alone");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The only obstacle that depends on a key within which points share a kernel */
PetscErrorCode FwPredictIsTooNarrow(const FwPredictPoint *point, PetscBool *is_narrow)
{
  PetscFunctionBegin;
  *is_narrow = PETSC_FALSE;
  PetscCall(HasMean(&point->model, is_narrow));
  if (FwPredictIsLocal(&point->model) || !HasNarrowLayer(&point->model)) *is_narrow = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMean(PetscInt n_output, const FwPredictPoint *point)
{
  PetscInt    choice;
  PetscBool   has_mean = PETSC_FALSE, is_average_set;
  const char *obstacle;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_mean", &choice, NULL));
  if (choice != MEAN_ON) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(HasMean(&point->model, &has_mean));
  obstacle = Obstacle(point, n_output, has_mean);
  PetscCheck(!obstacle, PETSC_COMM_WORLD, FW_ERR_INPUT, "theory_mean: no mean terms here: %s", obstacle);
  PetscCall(FwOptionIsSet("theory_average", &is_average_set));
  PetscCheck(!is_average_set || !point->theory.with_average || point->model.depth == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_average: with the mean terms of several hidden layers there is none, leave it out or set false");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ChooseMean(FwDataset data, PetscInt n_output, FwPredictPoint *point)
{
  PetscInt    choice;
  PetscBool   has_mean = PETSC_FALSE;
  const char *obstacle;
  LabelMean   label;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_mean", &choice, NULL));
  PetscCall(HasMean(&point->model, &has_mean));
  obstacle                = Obstacle(point, n_output, has_mean);
  point->theory.with_mean = choice == MEAN_ON ? PETSC_TRUE : PETSC_FALSE;
  point->mean_words[0]    = '\0';
  if (choice == MEAN_OFF || !has_mean) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FindLabelMean(data, &label));
  if (choice == MEAN_AUTO && !obstacle && point->model.depth > 1) obstacle = "preliminary for several hidden layers";
  if (choice == MEAN_AUTO && !obstacle && label.share > large_mean) point->theory.with_mean = PETSC_TRUE;
  if (obstacle)
    snprintf(point->mean_words, sizeof point->mean_words, "off: %s", obstacle);
  else
    snprintf(point->mean_words, sizeof point->mean_words, "%s%s: the mean label is %.2g of their root mean square",
             point->theory.with_mean ? "on" : "off",
             choice == MEAN_AUTO      ? ""
             : point->model.depth > 1 ? " as asked, preliminary for several hidden layers"
                                      : " as asked",
             label.share);
  PetscCall(NoteObservables(point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- labels with a mean that no network can fit -------------------------------------------------------------- */

/* |mean of the training inputs|^2 over their mean square, less what P inputs of mean zero have. Collective */
static PetscErrorCode InputMeanShare(MPI_Comm comm, FwDataset data, double *share)
{
  FwSlab  slab;
  double *sum, mean2 = 0.0;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSlab(data, FW_TRAIN, &slab));
  PetscCall(PetscCalloc1(slab.n_input + 1, &sum)); /* behind it the squares */
  for (PetscInt i = 0; i < slab.n_local; i++)
    for (PetscInt j = 0; j < slab.n_input; j++) {
      const double x = slab.x[(size_t)i * slab.n_input + j];

      sum[j] += x;
      sum[slab.n_input] += x * x;
    }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, slab.n_input + 1, MPI_DOUBLE, MPI_SUM, comm));
  for (PetscInt j = 0; j < slab.n_input; j++) mean2 += PetscSqr(sum[j] / slab.n);
  *share = (mean2 / (sum[slab.n_input] / slab.n) - 1.0 / slab.n) / (1.0 - 1.0 / slab.n);
  PetscCall(PetscFree(sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* f(-x) = -f(x) for every choice of the weights */
static PetscErrorCode IsOdd(const FwModel *model, PetscBool *is_odd)
{
  PetscBool has_mean = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(HasMean(model, &has_mean));
  *is_odd = has_mean ? PETSC_FALSE : PETSC_TRUE;
  for (PetscInt l = 0; l <= model->depth; l++)
    if (model->bias[l] > 0.0) *is_odd = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Advise(const FwModel *model, const LabelMean *label, size_t size, char text[])
{
  int n;

  PetscFunctionBegin;
  n = snprintf(text, size, "subtract it from the targets");
  if (model->type != FW_NETWORK_FC || model->depth > 8) PetscFunctionReturn(PETSC_SUCCESS);
  n += snprintf(text + n, size - (size_t)n, ", or give the readout a bias of such a variance: network_bias ");
  for (PetscInt l = 0; l < model->depth; l++) n += snprintf(text + n, size - (size_t)n, "0,");
  (void)snprintf(text + n, size - (size_t)n, "%.2g", label->mean * label->mean);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inputs with a mean of their own can carry that of the labels: then there is nothing to say */
PetscErrorCode FwPredictWarnAboutMean(MPI_Comm comm, FwDataset data, PetscInt number, const FwModel *model)
{
  const double large = 0.4, centred = 0.05, chance = 3.0; /* labels of mean zero have a share of 1 / sqrt(P) */
  double       inputs = 1.0;
  PetscBool    is_odd = PETSC_FALSE, is_part;
  FwDataSizes  sizes;
  LabelMean    label;
  char         advice[160], which[40] = "";

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("scan_index", &is_part));
  if (number && !is_part) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(IsOdd(model, &is_odd));
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FindLabelMean(data, &label));
  if (!is_odd || label.share < PetscMax(large, chance / sqrt((double)sizes.n_train)))
    PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(InputMeanShare(comm, data, &inputs));
  if (!(inputs < centred)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Advise(model, &label, sizeof advice, advice));
  if (sizes.n_output > 1) snprintf(which, sizeof which, " of output %" PetscInt_FMT, label.output);
  PetscCall(
    FwWarn("the training labels%s have mean %.3g and deviation %.3g, and a network that is odd cannot have a mean "
           "on inputs around zero: %s",
           which, label.mean, label.deviation, advice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOutputs(PetscInt n_output, FwPredictPoint *point)
{
  PetscBool has_average;

  PetscFunctionBegin;
  PetscCheck(point->theory.composition == FW_COMPOSITION_PRODUCT, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_composition: several outputs (here %" PetscInt_FMT ") need 'product'", n_output);
  /* hundreds of draws: only where it was asked for */
  PetscCall(FwOptionIsSet("theory_average", &has_average));
  if (!has_average) point->theory.with_average = PETSC_FALSE;
  if (!FwPredictIsLocal(&point->model)) point->theory.with_curve = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwPredictHasInnerBias(const FwPredictPoint *point)
{
  if (point->theory.theory != FW_THEORY_RENORMALISED || point->theory.composition != FW_COMPOSITION_PRODUCT)
    return PETSC_FALSE;
  for (PetscInt l = 1; l < point->model.depth; l++)
    if (point->model.bias[l] > 0.0) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* NULL where the theory has observables */
static const char *WithoutObservables(const FwPredictPoint *point, PetscInt n_output)
{
  if (n_output > 1) return "the theory has those of one output";
  if (point->model.type == FW_NETWORK_POOL) return "pool has none in this version";
  if (point->theory.theory == FW_THEORY_NTK) return "theory_model 'ntk' has none, they are those of a Bayesian network";
  return NULL;
}

PetscErrorCode FwPredictLeaveObservables(FwDataset data, FwPredictPoint *point)
{
  FwDataSizes sizes;
  const char *reason;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  reason = WithoutObservables(point, sizes.n_output);
  if (!point->with_observables || !reason) PetscFunctionReturn(PETSC_SUCCESS);
  point->with_observables = PETSC_FALSE;
  PetscCall(FwWarn("theory_observables: sampled without a prediction, %s", reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictPointCheck(const FwDataSizes *sizes, FwPredictPoint *point)
{
  const char *reason = WithoutObservables(point, sizes->n_output);
  FwPatches   patches;

  PetscFunctionBegin;
  if (point->model.type != FW_NETWORK_FC)
    PetscCall(FwModelGetPatches(&point->model, sizes->channels, sizes->height, sizes->width, &patches));
  PetscCheck(!point->with_observables || !reason, PETSC_COMM_WORLD, FW_ERR_INPUT, "theory_observables: %s", reason);
  if (sizes->n_output > 1) PetscCall(CheckOutputs(sizes->n_output, point));
  PetscCall(CheckMean(sizes->n_output, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutZeroLabels(FwDataset data, const FwDataSizes *sizes)
{
  const double *y;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  for (PetscInt i = 0; i < sizes->n_train * sizes->n_output; i++)
    if (y[i] != 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(
    FwWarn("theory_observables: the training labels are all zero, and nothing aligns with them: alignments are NaN"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [n, L, L] are images to their owner, and L channels to us */
static PetscErrorCode WarnAboutSquares(const FwDataSizes *sizes, const FwModel *model)
{
  const PetscInt least = 8;

  PetscFunctionBegin;
  if (model->type == FW_NETWORK_FC || sizes->height > 1 || sizes->channels != sizes->width || sizes->width < least)
    PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwWarn("the inputs are read as %" PetscInt_FMT " channels of %" PetscInt_FMT " places each; images of one "
                   "channel are [n, 1, %" PetscInt_FMT ", %" PetscInt_FMT "] in the file",
                   sizes->channels, sizes->width, sizes->width, sizes->width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictPointAdapt(FwDataset data, FwPredictPoint *point)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwPredictPointCheck(&sizes, point));
  PetscCall(WarnAboutSquares(&sizes, &point->model));
  if (point->with_observables) PetscCall(WarnAboutZeroLabels(data, &sizes));
  PetscCall(ChooseMean(data, sizes.n_output, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}
