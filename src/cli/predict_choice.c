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

/* |mean| over root mean square of the training labels, the largest of all outputs; 0 where all are zero */
static PetscErrorCode MeanShare(FwDataset data, double *share)
{
  FwDataSizes   sizes;
  const double *y;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  *share = 0.0;
  for (PetscInt d = 0; d < sizes.n_output; d++) {
    double sum = 0.0, square = 0.0;

    for (PetscInt i = 0; i < sizes.n_train; i++) {
      sum += y[i * sizes.n_output + d];
      square += PetscSqr(y[i * sizes.n_output + d]);
    }
    if (square > 0.0) *share = PetscMax(*share, fabs(sum) / sqrt(square * sizes.n_train));
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
  double      share = 0.0;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_mean", &choice, NULL));
  PetscCall(HasMean(&point->model, &has_mean));
  obstacle                = Obstacle(point, n_output, has_mean);
  point->theory.with_mean = choice == MEAN_ON ? PETSC_TRUE : PETSC_FALSE;
  point->mean_words[0]    = '\0';
  if (choice == MEAN_OFF || !has_mean) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MeanShare(data, &share));
  if (choice == MEAN_AUTO && !obstacle && point->model.depth > 1) obstacle = "preliminary for several hidden layers";
  if (choice == MEAN_AUTO && !obstacle && share > large_mean) point->theory.with_mean = PETSC_TRUE;
  if (obstacle)
    snprintf(point->mean_words, sizeof point->mean_words, "off: %s", obstacle);
  else
    snprintf(point->mean_words, sizeof point->mean_words, "%s%s: the mean label is %.2g of their root mean square",
             point->theory.with_mean ? "on" : "off",
             choice == MEAN_AUTO      ? ""
             : point->model.depth > 1 ? " as asked, preliminary for several hidden layers"
                                      : " as asked",
             share);
  PetscCall(NoteObservables(point));
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

PetscErrorCode FwPredictPointAdapt(FwDataset data, FwPredictPoint *point)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwPredictPointCheck(&sizes, point));
  if (point->with_observables) PetscCall(WarnAboutZeroLabels(data, &sizes));
  PetscCall(ChooseMean(data, sizes.n_output, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}
