/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Keys of `finwidth mixture`: those of a point, and what holds for all points.
 */

#include "mixture.h"

#include <finwidth/activation.h>
#include <finwidth/mixture_moments.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>

PetscErrorCode FwMixtureMakeLinear(void)
{
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("network_activation", &is_set));
  if (!is_set) PetscCall(PetscOptionsSetValue(NULL, "-network_activation", "linear"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With mixture_a and a single width the depth is the one that comes nearest to a: L = a N. That of another point is
   forgotten */
static PetscErrorCode ChooseDepth(const FwMixtureCommon *common)
{
  enum { WIDTH_MAX = 4096 };
  const double depth_most = 1e5; /* of the key */
  PetscInt64   width[WIDTH_MAX];
  PetscInt     n = WIDTH_MAX;
  PetscBool    has_a;
  double       a, depth;
  char         text[32];

  PetscFunctionBegin;
  if (!common->is_depth_free) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsClearValue(NULL, "-network_depth"));
  PetscCall(FwOptionReal("mixture_a", &a, &has_a));
  PetscCall(FwOptionIntegers("network_width", &n, width));
  if (!has_a || !isfinite(a) || n != 1) PetscFunctionReturn(PETSC_SUCCESS);
  depth = fmax(1.0, rint(a * (double)width[0]));
  PetscCheck(depth <= depth_most, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_a %.6g with network_width %" PetscInt64_FMT " are %.0f layers, want at most %.0f", a, width[0],
             depth, depth_most);
  snprintf(text, sizeof text, "%.0f", depth);
  PetscCall(PetscOptionsSetValue(NULL, "-network_depth", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckModel(const FwModel *model)
{
  PetscFunctionBegin;
  PetscCheck(model->type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: mixture is about 'fc' networks");
  for (PetscInt l = 0; l < model->depth; l++)
    PetscCheck(model->activation[l] == FW_ACTIVATION_LINEAR, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_activation: mixture is about linear networks, want linear");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The limit: mixture_a, or what is left of sum 1/N_l beside the layers that stay finite */
static PetscErrorCode ReadLimit(const FwModel *model, PetscInt n_output, FwMixtureLaw *limit)
{
  enum { BOTTLENECK_MAX = 64 };
  PetscInt64 width[BOTTLENECK_MAX];
  PetscInt   n = BOTTLENECK_MAX;
  double     kept[BOTTLENECK_MAX], a = 0.0, given;
  PetscBool  has_a;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers("mixture_bottleneck", &n, width));
  PetscCall(FwOptionReal("mixture_a", &given, &has_a));
  for (PetscInt l = 0; l < model->depth; l++) a += 1.0 / model->width[l];
  for (PetscInt i = 0; i < n; i++) {
    kept[i] = (double)width[i];
    a -= 1.0 / kept[i];
  }
  PetscCheck(has_a || a > -1e-12, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_bottleneck: the layers kept finite have more 1/N than the network has");
  PetscCall(FwMixtureLawLimit(has_a ? given : fmax(a, 0.0), n_output, n, kept, limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixturePointRead(const FwMixtureCommon *common, FwMixturePoint *point)
{
  PetscInt64 n_output = 1, n_sample, n_input, n_test;
  PetscBool  has_output;

  PetscFunctionBegin;
  PetscCall(ChooseDepth(common));
  PetscCall(FwModelFromOptions(&point->model));
  PetscCall(CheckModel(&point->model));
  PetscCall(FwOptionInteger("network_outputs", &n_output, &has_output));
  PetscCall(FwOptionInteger("mixture_samples", &n_sample, NULL));
  PetscCall(FwOptionInteger("mixture_inputs", &n_input, NULL));
  PetscCall(FwOptionInteger("data_test", &n_test, NULL));
  point->n_output    = has_output ? (PetscInt)n_output : 1;
  point->n_sample    = (PetscInt)n_sample;
  point->n_input     = (PetscInt)n_input;
  point->n_test      = (PetscInt)n_test;
  point->n_component = common->has_data ? 0 : point->n_input;
  snprintf(point->tag, sizeof point->tag, "%s", common->request->tag);
  PetscCall(FwMixtureLawFinite(&point->model, point->n_output, &point->finite));
  PetscCall(ReadLimit(&point->model, point->n_output, &point->limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixturePointDestroy(FwMixturePoint *point)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureLawDestroy(&point->finite));
  PetscCall(FwMixtureLawDestroy(&point->limit));
  PetscCall(FwModelDestroy(&point->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReport(FwMixtureRequest *report)
{
  enum { BRUTE, BARTLETT, EXACT, LIMIT, METHODS }; /* in the order of the key's choices */
  PetscInt   method[METHODS], n = METHODS;
  PetscInt64 order;

  PetscFunctionBegin;
  PetscCall(FwOptionChoices("mixture_method", &n, method));
  PetscCall(FwOptionInteger("mixture_moments", &order, NULL));
  PetscCheck(order <= FW_MOMENT_ORDER_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'mixture_moments' is %" PetscInt64_FMT ", want 1 .. %d", order, FW_MOMENT_ORDER_MAX);
  *report = (FwMixtureRequest){.order = (PetscInt)order};
  for (PetscInt i = 0; i < n; i++) {
    if (method[i] == BRUTE) report->is_drawn[FW_DRAWN_BRUTE] = PETSC_TRUE;
    if (method[i] == BARTLETT) report->is_drawn[FW_DRAWN_BARTLETT] = PETSC_TRUE;
    if (method[i] == LIMIT) report->is_drawn[FW_DRAWN_LIMIT] = PETSC_TRUE;
    if (method[i] == EXACT) report->has_exact = PETSC_TRUE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureCheckOutputs(MPI_Comm comm, const FwMixtureCommon *common, const FwMixturePoint *point)
{
  PetscFunctionBegin;
  if (common->has_posterior) PetscCall(FwPosteriorCheckPoint(&point->model, &point->finite, &point->limit));
  PetscCall(FwMixtureCheckMemory(comm, common, point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPoint(FwMixtureCommon *common)
{
  FwMixturePoint point;

  PetscFunctionBegin;
  PetscCall(FwMixturePointRead(common, &point));
  PetscCheck(isfinite(point.limit.a) || common->has_posterior, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_a infinity has no prior to draw from, and is for a posterior alone: set mixture_posterior");
  PetscCall(FwMixtureCheckOutputs(PETSC_COMM_WORLD, common, &point));
  common->lowest_temperature = fmin(common->lowest_temperature, point.model.temperature);
  for (PetscInt l = 0; l <= point.model.depth && common->report.is_drawn[FW_DRAWN_LIMIT]; l++)
    PetscCheck(point.model.bias[l] == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_bias: the limit law has no biases in this version: leave 'limit' out of mixture_method");
  PetscCall(FwMixturePointDestroy(&point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of a prior, points share nothing */
static const char *const no_keys[] = {NULL};

PetscErrorCode FwMixtureSetUp(const FwRequest *request, FwMixtureCommon *common)
{
  PetscBool has_depth, is_scanned;
  PetscInt  n_point;

  PetscFunctionBegin;
  *common = (FwMixtureCommon){.request = request, .shared = no_keys, .lowest_temperature = INFINITY};
  PetscCall(FwOptionBoolean("mixture_posterior", &common->has_posterior, NULL));
  if (common->has_posterior) common->shared = FwPosteriorSharedKeys;
  PetscCall(FwOptionIsSet("data_source", &common->has_data));
  PetscCall(FwOptionIsSet("network_depth", &has_depth));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-scan_network_depth", &is_scanned));
  common->is_depth_free = has_depth || is_scanned ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(ReadReport(&common->report));
  PetscCall(FwScanGetSize(request->scan, NULL, &n_point, NULL));
  for (PetscInt p = 0; p < n_point; p++) {
    PetscCall(FwScanApply(request->scan, p));
    PetscCall(CheckPoint(common));
  }
  PetscCall(FwScanApply(request->scan, -1));
  PetscFunctionReturn(PETSC_SUCCESS);
}
