/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What one sample of the hidden layers (or of all weights) says: its predictions, and what it has learnt.
 */

#include "potential_impl.h"
#include <finwidth/dense.h>
#include <math.h>

/* Features without the constant */
static PetscInt PlainFeatures(FwPotential p)
{
  return p->n_feature - p->has_readout_bias;
}

PetscErrorCode FwPotentialMeasureSize(FwPotential p, FwMeasure quantity, PetscInt *n)
{
  const PetscInt P = p->examples.train.n, P_t = p->examples.test.n, D = p->n_output;
  const PetscInt M = p->trunk.patches.n_pixel, L = p->trunk.depth, r = D * FwTrunkReadoutPlaces(&p->trunk);

  PetscFunctionBegin;
  switch (quantity) {
    case FW_MEASURE_TRAIN_MEAN:
      *n = P * D;
      break;
    case FW_MEASURE_TRAIN_VARIANCE:
      *n = P;
      break;
    case FW_MEASURE_TEST_MEAN:
      *n = P_t * D;
      break;
    case FW_MEASURE_TEST_VARIANCE:
      *n = P_t;
      break;
    case FW_MEASURE_READOUT_GRAM:
      *n = r * r;
      break;
    case FW_MEASURE_PATH_GRAM:
      *n = 0;
      for (PetscInt l = 0; l < L - 1 && FwTrunkHasPaths(&p->trunk); l++)
        *n += PetscSqr(D * FwTrunkCountPaths(&p->trunk, l));
      break;
    case FW_MEASURE_HIDDEN_GRAM:
      *n = P * P;
      break;
    case FW_MEASURE_WEIGHT_COVARIANCE:
      *n = M * M;
      break;
    default:
      *n = 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- training examples ---------------------------------------------------------------------------------------- */

/* y - T a */
static PetscErrorCode TrainMean(FwPotential p, double mean[])
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt D = p->n_output, first = rows->first * D, end = first + rows->n_local * D;

  PetscFunctionBegin;
  for (PetscInt i = first; i < end; i++) mean[i] = p->y[i] - p->temperature * p->dual[i];
  PetscCall(FwPotentialGatherRows(p, rows, D, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Diagonal of T - T^2 A^-1 = T B Phi^T */
static PetscErrorCode TrainVariance(FwPotential p, double variance[])
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt F    = p->n_feature;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(variance, rows->n));
  for (PetscInt b = 0; p->kind == FW_POTENTIAL_COLLAPSED && b < rows->n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);

    PetscCall(FwPotentialSolveBlock(p, block, p->temperature));
    for (PetscInt i = 0; i < block.n; i++)
      variance[rows->first + block.first + i] =
        FwDot(F, p->feature + (size_t)(block.first + i) * (size_t)F, p->pass.work + (size_t)i * (size_t)F);
  }
  PetscCall(FwPotentialGatherRows(p, rows, 1, variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- test examples -------------------------------------------------------------------------------------------- */

/* Room for one block of test examples */
typedef struct {
  PetscInt n_row;
  double  *feature; /* [n_row, F] */
  double  *k, *w;   /* [n_row, P] where dual; w else [n_row, F] */
  FwPass   pass;
} TestBlock;

static PetscErrorCode TestBlockCreate(FwPotential p, TestBlock *t)
{
  const FwRows *rows = &p->examples.test;
  const size_t  F = (size_t)p->n_feature, P = (size_t)p->examples.train.n;
  size_t        n;

  PetscFunctionBegin;
  *t = (TestBlock){.n_row = 0};
  for (PetscInt b = 0; b < rows->n_block; b++)
    t->n_row = PetscMax(t->n_row, FwRowsBlock(rows, b + 1) - FwRowsBlock(rows, b));
  n = (size_t)t->n_row;
  PetscCall(FwPassCreate(&p->trunk, t->n_row, t->n_row, &t->pass));
  PetscCall(PetscMalloc3(n * F, &t->feature, p->is_dual ? n * P : 0, &t->k, n * (p->is_dual ? P : F), &t->w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestBlockDestroy(FwPotential p, TestBlock *t)
{
  PetscFunctionBegin;
  PetscCall(FwPassDestroy(&p->trunk, &t->pass));
  PetscCall(PetscFree3(t->feature, t->k, t->w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Variance of f at n features z: |z|^2 - k^T A^-1 k, k = Phi z. Both terms are sums of squares, the first is larger */
static void VarianceDual(FwPotential p, TestBlock *t, PetscInt n, double variance[])
{
  const PetscInt P = p->examples.train.n, F = p->n_feature;

  FwGemm("T", "N", P, n, F, 1.0, p->storage, F, t->feature, F, 0.0, t->k, P);
  FwGemm("N", "N", P, n, P, 1.0, p->factor, P, t->k, P, 0.0, t->w, P);
  for (PetscInt i = 0; i < n; i++) {
    const double *z  = t->feature + (size_t)i * (size_t)F;
    const size_t  at = (size_t)i * (size_t)P;

    variance[i] = fmax(0.0, FwDot(F, z, z) - FwDot(P, t->k + at, t->w + at));
  }
}

/* T z^T (T + Phi^T Phi)^-1 z */
static PetscErrorCode VariancePrimal(FwPotential p, TestBlock *t, PetscInt n, double variance[])
{
  const PetscInt F = p->n_feature;
  PetscBLASInt   info;

  PetscFunctionBegin;
  PetscCall(PetscArraycpy(t->w, t->feature, (size_t)n * (size_t)F));
  LAPACKpotrs_("L", &F, &n, p->factor, &F, t->w, &F, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dpotrs: argument %d", (int)-info);
  for (PetscInt i = 0; i < n; i++)
    variance[i] = p->temperature * FwDot(F, t->feature + (size_t)i * (size_t)F, t->w + (size_t)i * (size_t)F);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* n test examples from local row `first`; mean [n, D] and variance [n] may be NULL */
static PetscErrorCode PredictBlock(FwPotential p, const double theta[], PetscInt first, PetscInt n, TestBlock *t,
                                   double mean[], double variance[])
{
  const double  *v = p->kind == FW_POTENTIAL_FULL ? theta + p->trunk.n_theta : p->readout;
  const PetscInt D = p->n_output, F = p->n_feature;
  const FwInputs inputs = {.z        = p->scaled_test + (size_t)first * (size_t)p->trunk.n_input_scaled,
                           .n_column = p->trunk.n_input_scaled,
                           .rest     = p->trunk.n_rest ? theta + p->n_active : NULL};

  PetscFunctionBegin;
  PetscCall(FwTrunkForward(&p->trunk, theta, 0, n, &inputs, &t->pass, t->feature));
  if (mean) FwGemm("T", "N", D, n, F, 1.0, v, F, t->feature, F, 0.0, mean, D);
  if (!variance) PetscFunctionReturn(PETSC_SUCCESS);
  if (p->kind == FW_POTENTIAL_FULL)
    PetscCall(PetscArrayzero(variance, n));
  else if (p->is_dual)
    VarianceDual(p, t, n, variance);
  else
    PetscCall(VariancePrimal(p, t, n, variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Predict(FwPotential p, const double theta[], double mean[], double variance[])
{
  const FwRows *rows = &p->examples.test;
  TestBlock     t;

  PetscFunctionBegin;
  PetscCall(TestBlockCreate(p, &t));
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const PetscInt row = FwRowsBlock(rows, rows->first_block + b), end = FwRowsBlock(rows, rows->first_block + b + 1);

    PetscCall(PredictBlock(p, theta, row - rows->first, end - row, &t, mean ? mean + row * p->n_output : NULL,
                           variance ? variance + row : NULL));
  }
  PetscCall(TestBlockDestroy(p, &t));
  if (mean) PetscCall(FwPotentialGatherRows(p, rows, p->n_output, mean));
  if (variance) PetscCall(FwPotentialGatherRows(p, rows, 1, variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- hidden layer and first weights --------------------------------------------------------------------------- */

static PetscErrorCode HiddenTrace(FwPotential p, double *trace)
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt F    = p->n_feature;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);
    double       *slot  = FwBlockSumSlot(&p->scalar_sum, b, trace);

    *slot = 0.0;
    for (PetscInt i = 0; i < block.n; i++) {
      const double *z = p->feature + (size_t)(block.first + i) * (size_t)F;

      *slot += FwDot(PlainFeatures(p), z, z);
    }
    FwBlockSumAdd(&p->scalar_sum, b, trace);
  }
  PetscCall(FwBlockSumFinish(&p->scalar_sum, trace));
  *trace *= p->prior_readout / (double)rows->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FillUpper(PetscInt n, double a[])
{
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < j; i++) a[(size_t)j * (size_t)n + i] = a[(size_t)i * (size_t)n + j];
}

/* lambda_L Phi Phi^T, by block columns of all rows: the same products on any number of ranks */
static PetscErrorCode HiddenGram(FwPotential p, double gram[])
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt P = rows->n, F = p->n_feature, n = PlainFeatures(p);
  double        *all;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)P * (size_t)F, &all));
  PetscCall(PetscArraycpy(all + (size_t)rows->first * (size_t)F, p->feature, (size_t)rows->n_local * (size_t)F));
  PetscCall(FwPotentialGatherRows(p, rows, F, all));
  FwSyrk("T", P, n, p->prior_readout, all, F, 0.0, gram, P);
  FillUpper(P, gram);
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialGetWeights(FwPotential p, const double theta[], double weights[])
{
  const FwLayer *layer = &p->trunk.layer[0];
  const PetscInt n = layer->n_in, n_rest = p->trunk.n_rest, n_first = layer->n_set * layer->n_out * n;

  PetscFunctionBegin;
  for (PetscInt a = 0; a < layer->n_set * layer->n_out; a++) {
    double *w = weights + (size_t)a * (size_t)(n + n_rest);

    PetscCall(PetscArraycpy(w, theta + (size_t)a * (size_t)n, n));
    PetscCall(PetscArraycpy(w + n, theta + p->n_active + (size_t)a * (size_t)n_rest, n_rest));
  }
  if (n_rest) PetscCall(FwRotationApply(&p->rotation, PETSC_TRUE, layer->n_out, weights));
  PetscCall(PetscArraycpy(weights + n_first + layer->n_out * n_rest, theta + n_first, p->n_active - n_first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Covariance [M, M] and its trace over the neurons of the first layer; NULL for what is not wanted */
static PetscErrorCode FirstWeights(FwPotential p, const double theta[], double covariance[], double *trace)
{
  const FwLayer *layer = &p->trunk.layer[0];
  const PetscInt M = p->trunk.patches.n_pixel, n = layer->n_in + p->trunk.n_rest,
                 n_neuron = layer->n_set * layer->n_out;
  const double scale      = 1.0 / (p->prior_first * (double)n_neuron);
  double      *w;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(p->n_theta, &w));
  PetscCall(FwPotentialGetWeights(p, theta, w));
  if (covariance) {
    FwSyrk("N", M, n_neuron, scale, w, n, 0.0, covariance, M);
    FillUpper(M, covariance);
  }
  if (trace) *trace = 0.0;
  for (PetscInt a = 0; trace && a < n_neuron; a++)
    *trace += scale * FwDot(M, w + (size_t)a * (size_t)n, w + (size_t)a * (size_t)n);
  PetscCall(PetscFree(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

/* Gram matrices of all layers below the last, where there are paths */
static PetscErrorCode PathGrams(FwPotential p, const double theta[], double gram[])
{
  PetscFunctionBegin;
  if (!FwTrunkHasPaths(&p->trunk)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; l < p->trunk.depth - 1; l++) {
    PetscCall(FwPotentialGram(p, theta, l, gram));
    gram += PetscSqr(p->n_output * FwTrunkCountPaths(&p->trunk, l));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Features, and the readout's posterior or residuals */
static PetscErrorCode Prepare(FwPotential p, const double theta[])
{
  double energy;

  PetscFunctionBegin;
  PetscCall(FwPotentialForward(p, theta));
  if (p->kind == FW_POTENTIAL_FULL)
    PetscCall(FwPotentialResiduals(p, theta + p->trunk.n_theta, &energy));
  else
    PetscCall(FwPotentialCondition(p, &energy));
  PetscCheck(isfinite(energy), PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "sampler: the network's outputs are not finite where they are to be measured");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPotentialMeasure(FwPotential p, const double theta[], double *const value[FW_MEASURE_COUNT])
{
  PetscFunctionBegin;
  PetscCall(Prepare(p, theta));
  if (value[FW_MEASURE_TRAIN_MEAN]) PetscCall(TrainMean(p, value[FW_MEASURE_TRAIN_MEAN]));
  if (value[FW_MEASURE_TRAIN_VARIANCE]) PetscCall(TrainVariance(p, value[FW_MEASURE_TRAIN_VARIANCE]));
  if (value[FW_MEASURE_TEST_MEAN] || value[FW_MEASURE_TEST_VARIANCE])
    PetscCall(Predict(p, theta, value[FW_MEASURE_TEST_MEAN], value[FW_MEASURE_TEST_VARIANCE]));
  if (value[FW_MEASURE_READOUT_GRAM])
    PetscCall(FwPotentialGram(p, theta, p->trunk.depth - 1, value[FW_MEASURE_READOUT_GRAM]));
  if (value[FW_MEASURE_PATH_GRAM]) PetscCall(PathGrams(p, theta, value[FW_MEASURE_PATH_GRAM]));
  if (value[FW_MEASURE_HIDDEN_GRAM]) PetscCall(HiddenGram(p, value[FW_MEASURE_HIDDEN_GRAM]));
  if (value[FW_MEASURE_HIDDEN_TRACE]) PetscCall(HiddenTrace(p, value[FW_MEASURE_HIDDEN_TRACE]));
  if (value[FW_MEASURE_WEIGHT_TRACE] || value[FW_MEASURE_WEIGHT_COVARIANCE])
    PetscCall(FirstWeights(p, theta, value[FW_MEASURE_WEIGHT_COVARIANCE], value[FW_MEASURE_WEIGHT_TRACE]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Under `full` the readout is part of theta; else it is drawn from its prior, into `v` */
static const double *DrawReadout(FwPotential p, const double theta[], FwStream stream, double v[])
{
  if (p->kind == FW_POTENTIAL_FULL) return theta + p->trunk.n_theta;
  FwStreamNormal(stream, (uint64_t)p->examples.train.n * (uint64_t)p->n_output, (size_t)(p->n_output * p->n_feature),
                 v);
  return v;
}

PetscErrorCode FwPotentialDrawTargets(FwPotential p, const double theta[], FwStream stream, double y[])
{
  const FwRows  *rows = &p->examples.train;
  const PetscInt D = p->n_output, F = p->n_feature;
  const double  *v = DrawReadout(p, theta, stream, p->readout);

  PetscFunctionBegin;
  PetscCall(FwPotentialForward(p, theta));
  FwStreamNormal(stream, 0, (size_t)rows->n * (size_t)D, y);
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const FwBlock block = FwPotentialBlock(p, b);

    FwGemm("T", "N", D, block.n, F, 1.0, v, F, p->feature + (size_t)block.first * (size_t)F, F, sqrt(p->temperature),
           y + (size_t)(rows->first + block.first) * (size_t)D, D);
  }
  PetscCall(FwPotentialGatherRows(p, rows, D, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
