/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Forward and backward through the hidden layers by matrix products over a block of examples.
 *
 * Stored by columns, as BLAS sees it, a row-major [row, column] is its transpose: features Z become Z^T, and
 * H^T = W^T-as-stored^T Z^T, a product "T", "N".
 */

#include "trunk.h"
#include <finwidth/dense.h>
#include <math.h>

/* --- layers --------------------------------------------------------------------------------------------------- */

static PetscErrorCode CheckModel(const FwModel *model)
{
  PetscFunctionBegin;
  if (model->type == FW_NETWORK_FC) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(model->depth == 1, PETSC_COMM_SELF, FW_ERR_INPUT,
             "network_depth: cnn, lcn and pool have one hidden layer, not %" PetscInt_FMT, model->depth);
  PetscCheck(model->bias[0] == 0.0 && model->bias[1] == 0.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "network_bias: cnn, lcn and pool have no biases");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpLayer(const FwModel *model, FwTrunk *trunk, PetscInt l)
{
  FwLayer       *layer   = &trunk->layer[l];
  const PetscInt n_patch = l ? 1 : trunk->patches.n_patch;
  const PetscInt n_place = trunk->is_pooled ? 1 : n_patch; /* of features */

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[l], &layer->activation));
  layer->n_in      = l ? trunk->layer[l - 1].n_feature : trunk->n_input_scaled / n_patch - trunk->n_rest;
  layer->n_out     = (PetscInt)model->width[l];
  layer->n_patch   = n_patch;
  layer->n_set     = model->type == FW_NETWORK_LCN ? n_patch : 1;
  layer->first     = trunk->n_theta;
  layer->gain      = 1.0 / sqrt(model->prior[l + 1] * model->width[l] * (double)n_patch);
  layer->bias      = sqrt(model->bias[l + 1]);
  layer->n_feature = layer->n_out * n_place + (layer->bias > 0.0);
  if (trunk->is_pooled) layer->gain /= sqrt((double)n_patch);
  trunk->n_theta += layer->n_set * layer->n_out * layer->n_in;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrunkCreate(const FwModel *model, const FwDataSizes *sizes, FwTrunk *trunk)
{
  PetscFunctionBegin;
  PetscCall(CheckModel(model));
  *trunk = (FwTrunk){
    .n_input = sizes->n_input, .depth = model->depth, .is_pooled = (PetscBool)(model->type == FW_NETWORK_POOL)};
  PetscCall(FwModelGetPatches(model, sizes->channels, sizes->height, sizes->width, &trunk->patches));
  trunk->input_gain     = 1.0 / sqrt(model->prior[0] * (double)trunk->patches.n_pixel);
  trunk->input_bias     = sqrt(model->bias[0]);
  trunk->n_input_scaled = trunk->patches.n_patch * (trunk->patches.n_pixel + (trunk->input_bias > 0.0));
  if (model->type == FW_NETWORK_FC) trunk->n_rest = PetscMax(0, trunk->n_input_scaled - sizes->n_train);
  PetscCall(PetscCalloc1(model->depth, &trunk->layer));
  for (PetscInt l = 0; l < model->depth; l++) PetscCall(SetUpLayer(model, trunk, l));
  trunk->n_feature = trunk->layer[model->depth - 1].n_feature;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrunkDestroy(FwTrunk *trunk)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(trunk->layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- inputs --------------------------------------------------------------------------------------------------- */

/* Pixels of the patch that starts at (row, col) of an image, scaled */
static double *CutPatch(const FwPatches *p, double gain, PetscInt row, PetscInt col, const double x[], double *out)
{
  for (PetscInt c = 0; c < p->channels; c++)
    for (PetscInt i = 0; i < p->mask[0]; i++)
      for (PetscInt j = 0; j < p->mask[1]; j++) *out++ = gain * x[(c * p->height + row + i) * p->width + col + j];
  return out;
}

void FwTrunkScaleInputs(const FwTrunk *trunk, PetscInt n, const double x[], double scaled[])
{
  const FwPatches *p   = &trunk->patches;
  double          *out = scaled;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt row = 0; row < p->n_row; row++)
      for (PetscInt col = 0; col < p->n_col; col++) {
        out = CutPatch(p, trunk->input_gain, row * p->stride[0], col * p->stride[1],
                       x + (size_t)i * (size_t)trunk->n_input, out);
        if (trunk->input_bias > 0.0) *out++ = trunk->input_bias;
      }
}

/* --- workspace ------------------------------------------------------------------------------------------------ */

static size_t LayerSize(const FwLayer *layer)
{
  return (size_t)layer->n_patch * (size_t)layer->n_out;
}

PetscErrorCode FwPassCreate(const FwTrunk *trunk, PetscInt n_row, PetscInt n_block_row, FwPass *pass)
{
  size_t widest = 0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(trunk->depth, &pass->feature, trunk->depth, &pass->slope));
  for (PetscInt l = 0; l < trunk->depth; l++) {
    const FwLayer *layer = &trunk->layer[l];

    PetscCall(PetscMalloc1((size_t)n_row * LayerSize(layer), &pass->slope[l]));
    if (l < trunk->depth - 1) PetscCall(PetscMalloc1((size_t)n_row * (size_t)layer->n_feature, &pass->feature[l]));
    widest = PetscMax(widest, PetscMax(LayerSize(layer), (size_t)layer->n_feature));
  }
  PetscCall(PetscMalloc1((size_t)n_block_row * widest, &pass->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPassDestroy(const FwTrunk *trunk, FwPass *pass)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; pass->slope && l < trunk->depth; l++) {
    PetscCall(PetscFree(pass->slope[l]));
    PetscCall(PetscFree(pass->feature[l]));
  }
  PetscCall(PetscFree2(pass->feature, pass->slope));
  PetscCall(PetscFree(pass->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- forward -------------------------------------------------------------------------------------------------- */

/* Pre-activations h [n, n_patch, n_out] from inputs z [n, n_column]: shared weights see patches as more rows */
static void Multiply(const FwLayer *layer, const double w[], PetscInt n, const double z[], PetscInt n_column,
                     double h[])
{
  const PetscInt n_in = layer->n_in, n_out = layer->n_out, per_set = layer->n_patch / layer->n_set;

  for (PetscInt set = 0; set < layer->n_set; set++)
    FwGemm("T", "N", n_out, n * per_set, n_in, 1.0, w + set * n_out * n_in, n_in, z + set * n_in, n_column / per_set,
           0.0, h + set * n_out, layer->n_set * n_out);
}

/* What the columns beyond those of the first layer add to its pre-activations */
static void MultiplyRest(const FwTrunk *trunk, PetscInt n, const FwInputs *inputs, const double z[], double h[])
{
  const FwLayer *layer = &trunk->layer[0];

  FwGemm("T", "N", layer->n_out, n, trunk->n_rest, 1.0, inputs->rest, trunk->n_rest, z + layer->n_in, inputs->n_column,
         1.0, h, layer->n_out);
}

/* Values [n, n_patch * n_out] become features: scaled, averaged over patches where pooled, with the constant */
static void CollectFeatures(const FwLayer *layer, PetscInt n, const double value[], double feature[])
{
  const PetscInt n_value = layer->n_patch * layer->n_out, n_place = layer->n_feature - (layer->bias > 0.0);

  for (PetscInt i = 0; i < n; i++, value += n_value, feature += layer->n_feature) {
    for (PetscInt a = 0; a < n_place; a++) feature[a] = layer->gain * value[a];
    for (PetscInt begin = n_place; begin < n_value; begin += n_place)
      for (PetscInt a = 0; a < n_place; a++) feature[a] += layer->gain * value[begin + a];
    if (layer->bias > 0.0) feature[n_place] = layer->bias;
  }
}

PetscErrorCode FwTrunkForward(const FwTrunk *trunk, const double theta[], PetscInt first, PetscInt n,
                              const FwInputs *inputs, FwPass *pass, double feature[])
{
  const double *z        = inputs->z + (size_t)first * (size_t)inputs->n_column;
  PetscInt      n_column = inputs->n_column;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < trunk->depth; l++) {
    const FwLayer *layer = &trunk->layer[l];
    double        *slope = pass->slope[l] + (size_t)first * LayerSize(layer);
    double        *out = (l < trunk->depth - 1 ? pass->feature[l] : feature) + (size_t)first * (size_t)layer->n_feature;

    Multiply(layer, theta + layer->first, n, z, n_column, slope);
    if (l == 0 && inputs->rest) MultiplyRest(trunk, n, inputs, z, slope);
    PetscCall(FwActivationEvaluate(layer->activation, n * (PetscInt)LayerSize(layer), slope, pass->work, slope, NULL));
    CollectFeatures(layer, n, pass->work, out);
    z        = out;
    n_column = layer->n_feature;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- backward ------------------------------------------------------------------------------------------------- */

/* The gradient in h from that in the features, in place of phi' */
static void MultiplySlopes(const FwLayer *layer, PetscInt n, const double back[], double slope[])
{
  const PetscInt n_value = layer->n_patch * layer->n_out, n_place = layer->n_feature - (layer->bias > 0.0);

  for (PetscInt i = 0; i < n; i++, slope += n_value, back += layer->n_feature)
    for (PetscInt begin = 0; begin < n_value; begin += n_place)
      for (PetscInt a = 0; a < n_place; a++) slope[begin + a] *= layer->gain * back[a];
}

/* Gradient in the weights, from that in h and from the inputs z */
static void WeightGradient(const FwLayer *layer, PetscInt n, const double z[], PetscInt n_column, const double delta[],
                           double gradient[])
{
  const PetscInt n_in = layer->n_in, n_out = layer->n_out, per_set = layer->n_patch / layer->n_set;

  for (PetscInt set = 0; set < layer->n_set; set++)
    FwGemm("N", "T", n_in, n_out, n * per_set, 1.0, z + set * n_in, n_column / per_set, delta + set * n_out,
           layer->n_set * n_out, 0.0, gradient + set * n_out * n_in, n_in);
}

void FwTrunkBackward(const FwTrunk *trunk, const double theta[], PetscInt first, PetscInt n, const FwInputs *inputs,
                     FwPass *pass, double gradient[])
{
  for (PetscInt l = trunk->depth - 1; l >= 0; l--) {
    const FwLayer *layer    = &trunk->layer[l];
    const PetscInt n_column = l ? layer->n_in : inputs->n_column;
    const double  *z        = (l ? pass->feature[l - 1] : inputs->z) + (size_t)first * (size_t)n_column;
    double        *delta    = pass->slope[l] + (size_t)first * LayerSize(layer);

    MultiplySlopes(layer, n, pass->work, delta);
    WeightGradient(layer, n, z, n_column, delta, gradient + layer->first);
    if (l) /* gradient in the features below, of which the constant's is not used */
      FwGemm("N", "N", layer->n_in, n, layer->n_out, 1.0, theta + layer->first, layer->n_in, delta, layer->n_out, 0.0,
             pass->work, layer->n_in);
  }
}
