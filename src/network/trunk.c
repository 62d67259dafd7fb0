/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Forward and backward through the hidden layers by matrix products over a block of examples.
 *
 * Stored by columns, as BLAS sees it, a row-major [row, column] is its transpose: features Z become Z^T, and
 * H^T = W^T-as-stored^T Z^T, a product "T", "N".
 */

#include "trunk.h"
#include <finwidth/dense.h>
#include <finwidth/potential.h>
#include <math.h>

/* --- layers --------------------------------------------------------------------------------------------------- */

static PetscErrorCode CheckModel(const FwModel *model)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l <= model->depth && model->type != FW_NETWORK_FC; l++)
    PetscCheck(model->bias[l] == 0.0, PETSC_COMM_SELF, FW_ERR_INPUT, "network_bias: cnn, lcn and pool have no biases");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* By piece the places where it stands, from the piece[n] that stands in each place, or where all are summed in one */
static PetscErrorCode SetPlaces(FwLayer *layer, PetscInt n_piece, PetscInt n, const PetscInt piece[])
{
  PetscInt *next;

  PetscFunctionBegin;
  layer->n_piece = n_piece;
  layer->n_each  = layer->n_patch * layer->n_out / n_piece;
  PetscCall(PetscMalloc2(n_piece + 1, &layer->begin, n, &layer->place));
  PetscCall(PetscArrayzero(layer->begin, n_piece + 1));
  for (PetscInt k = 0; k < n; k++) layer->begin[piece[k] + 1]++;
  for (PetscInt i = 0; i < n_piece; i++) layer->begin[i + 1] += layer->begin[i];
  PetscCall(PetscMalloc1(n_piece, &next));
  PetscCall(PetscArraycpy(next, layer->begin, n_piece));
  for (PetscInt k = 0; k < n; k++) layer->place[next[piece[k]]++] = layer->is_summed ? 0 : k;
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As the readout, or a fully-connected layer, sees it: all values as they are, or the sum over positions */
static PetscErrorCode SetReadoutPlaces(FwLayer *layer)
{
  const PetscInt n = layer->is_summed ? layer->n_patch : 1;
  PetscInt      *piece;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &piece));
  for (PetscInt i = 0; i < n; i++) piece[i] = i;
  PetscCall(SetPlaces(layer, n, n, piece));
  PetscCall(PetscFree(piece));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How the features of layer l leave it: to the readout, or to the positions n_row x n_col of the next layer, which are set */
static PetscErrorCode SetUpFeatures(const FwModel *model, FwTrunk *trunk, PetscInt l, PetscInt *n_row, PetscInt *n_col)
{
  FwLayer *layer  = &trunk->layer[l];
  PetscInt n_seen = layer->n_patch, n_tap = 1, *tap = NULL;

  PetscFunctionBegin;
  layer->is_summed = l == model->depth - 1 ? trunk->is_pooled : PETSC_FALSE;
  layer->n_feature = layer->n_out * (layer->is_summed ? 1 : layer->n_patch);
  if (l < model->depth - 1 && model->type != FW_NETWORK_FC) {
    PetscCall(FwModelGetTaps(model, l + 1, n_row, n_col, &n_tap, &tap));
    n_seen           = n_tap;
    layer->n_feature = *n_row * *n_col * n_tap * layer->n_out;
    PetscCall(SetPlaces(layer, layer->n_patch, *n_row * *n_col * n_tap, tap));
    PetscCall(PetscFree(tap));
  } else {
    PetscCall(SetReadoutPlaces(layer));
  }
  if (l < model->depth - 1) layer[1].n_tap = n_tap;
  layer->gain = 1.0 / sqrt(model->prior[l + 1] * model->width[l] * (double)n_seen);
  if (layer->is_summed) layer->gain /= sqrt((double)n_seen);
  layer->bias = sqrt(model->bias[l + 1]);
  layer->n_feature += layer->bias > 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpLayer(const FwModel *model, FwTrunk *trunk, PetscInt l, PetscInt *n_row, PetscInt *n_col)
{
  FwLayer *layer = &trunk->layer[l];

  PetscFunctionBegin;
  PetscCall(FwActivationGet((FwActivationType)model->activation[l], &layer->activation));
  layer->n_out   = (PetscInt)model->width[l];
  layer->n_patch = *n_row * *n_col;
  layer->n_in =
    l ? trunk->layer[l - 1].n_feature / layer->n_patch : trunk->n_input_scaled / layer->n_patch - trunk->n_rest;
  layer->n_set = model->type == FW_NETWORK_LCN ? layer->n_patch : 1;
  layer->first = trunk->n_theta;
  trunk->n_theta += layer->n_set * layer->n_out * layer->n_in;
  PetscCall(SetUpFeatures(model, trunk, l, n_row, n_col));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrunkCreate(const FwModel *model, const FwDataSizes *sizes, FwTrunk *trunk)
{
  PetscInt n_row, n_col;

  PetscFunctionBegin;
  PetscCall(CheckModel(model));
  *trunk = (FwTrunk){.n_input       = sizes->n_input,
                     .depth         = model->depth,
                     .is_pooled     = (PetscBool)(model->type == FW_NETWORK_POOL),
                     .is_of_patches = (PetscBool)(model->type != FW_NETWORK_FC)};
  PetscCall(FwModelGetPatches(model, sizes->channels, sizes->height, sizes->width, &trunk->patches));
  trunk->input_gain     = 1.0 / sqrt(model->prior[0] * (double)trunk->patches.n_pixel);
  trunk->input_bias     = sqrt(model->bias[0]);
  trunk->n_input_scaled = trunk->patches.n_patch * (trunk->patches.n_pixel + (trunk->input_bias > 0.0));
  if (model->type == FW_NETWORK_FC) trunk->n_rest = PetscMax(0, trunk->n_input_scaled - sizes->n_train);
  PetscCall(PetscCalloc1(model->depth, &trunk->layer));
  trunk->layer[0].n_tap = 1;
  n_row                 = trunk->patches.n_row;
  n_col                 = trunk->patches.n_col;
  for (PetscInt l = 0; l < model->depth; l++) PetscCall(SetUpLayer(model, trunk, l, &n_row, &n_col));
  trunk->n_feature = trunk->layer[model->depth - 1].n_feature;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrunkDestroy(FwTrunk *trunk)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; trunk->layer && l < trunk->depth; l++)
    PetscCall(PetscFree2(trunk->layer[l].begin, trunk->layer[l].place));
  PetscCall(PetscFree(trunk->layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- paths ---------------------------------------------------------------------------------------------------- */

PetscInt FwTrunkReadoutPlaces(const FwTrunk *trunk)
{
  return trunk->is_pooled ? 1 : trunk->layer[trunk->depth - 1].n_patch;
}

static double Paths(const FwTrunk *trunk, PetscInt l)
{
  double n = FwTrunkReadoutPlaces(trunk);

  for (PetscInt k = l + 1; k < trunk->depth; k++) n *= trunk->layer[k].n_tap;
  return n;
}

PetscInt FwTrunkCountPaths(const FwTrunk *trunk, PetscInt l)
{
  return (PetscInt)Paths(trunk, l);
}

PetscBool FwTrunkHasPaths(const FwTrunk *trunk)
{
  for (PetscInt l = 0; l < trunk->depth; l++)
    if (trunk->layer[l].n_set > 1) return PETSC_FALSE;
  return trunk->depth > 1 && trunk->is_of_patches && Paths(trunk, 0) <= FW_POTENTIAL_PATHS_MOST ? PETSC_TRUE
                                                                                                : PETSC_FALSE;
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

/* What one piece of an example leaves in one place */
static void Place(PetscInt n, double gain, PetscBool is_added, const double value[], double feature[])
{
  if (is_added)
    for (PetscInt a = 0; a < n; a++) feature[a] += gain * value[a];
  else
    for (PetscInt a = 0; a < n; a++) feature[a] = gain * value[a];
}

/* Values [n, n_patch, n_out] become features: scaled, each in its places, with the constant */
static void CollectFeatures(const FwLayer *layer, PetscInt n, const double value[], double feature[])
{
  for (PetscInt i = 0; i < n; i++, feature += layer->n_feature) {
    for (PetscInt j = 0; j < layer->n_piece; j++, value += layer->n_each)
      for (PetscInt k = layer->begin[j]; k < layer->begin[j + 1]; k++)
        Place(layer->n_each, layer->gain, layer->is_summed && j ? PETSC_TRUE : PETSC_FALSE, value,
              feature + layer->place[k] * layer->n_each);
    if (layer->bias > 0.0) feature[layer->n_feature - 1] = layer->bias;
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

/* The gradient in h from that in the features, in place of phi'; what stands in several places is added up in the first */
static void MultiplySlopes(const FwLayer *layer, PetscInt n, double back[], double slope[])
{
  const PetscInt n_each = layer->n_each;

  for (PetscInt i = 0; i < n; i++, back += layer->n_feature)
    for (PetscInt j = 0; j < layer->n_piece; j++, slope += n_each) {
      const PetscInt *place = layer->place + layer->begin[j], n_place = layer->begin[j + 1] - layer->begin[j];
      double         *sum  = back + (n_place ? place[0] * n_each : 0);
      const double    gain = n_place ? layer->gain : 0.0; /* a position that nothing above sees */

      for (PetscInt k = 1; k < n_place; k++) Place(n_each, 1.0, PETSC_TRUE, back + place[k] * n_each, sum);
      for (PetscInt a = 0; a < n_each; a++) slope[a] *= gain * sum[a];
    }
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

/* Gradient in the features z below, from that in h; the constant's is not used */
static void FeatureGradient(const FwLayer *layer, const double w[], PetscInt n, const double delta[], PetscInt n_column,
                            double back[])
{
  const PetscInt n_in = layer->n_in, n_out = layer->n_out, per_set = layer->n_patch / layer->n_set;

  for (PetscInt set = 0; set < layer->n_set; set++)
    FwGemm("N", "N", n_in, n * per_set, n_out, 1.0, w + set * n_out * n_in, n_in, delta + set * n_out,
           layer->n_set * n_out, 0.0, back + set * n_in, n_column / per_set);
}

void FwTrunkBackward(const FwTrunk *trunk, const double theta[], PetscInt first, PetscInt n, const FwInputs *inputs,
                     FwPass *pass, double gradient[])
{
  for (PetscInt l = trunk->depth - 1; l >= 0; l--) {
    const FwLayer *layer    = &trunk->layer[l];
    const PetscInt n_column = l ? layer[-1].n_feature : inputs->n_column;
    const double  *z        = (l ? pass->feature[l - 1] : inputs->z) + (size_t)first * (size_t)n_column;
    double        *delta    = pass->slope[l] + (size_t)first * LayerSize(layer);

    MultiplySlopes(layer, n, pass->work, delta);
    WeightGradient(layer, n, z, n_column, delta, gradient + layer->first);
    if (l) FeatureGradient(layer, theta + layer->first, n, delta, n_column, pass->work);
  }
}
