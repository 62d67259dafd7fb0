/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Measuring a network against the Neural Feature Ansatz.
 */

#include <finwidth/alignment.h>
#include <finwidth/dense.h>
#include <finwidth/feature.h>
#include <finwidth/singular.h>

#include <math.h>

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct {
  const char *name, *axis, *long_name;
} fields[FW_ALIGNMENT_COUNT] = {
  [FW_ALIGNMENT_LOSS]          = {"loss",                   NULL,           "loss"                                              },
  [FW_ALIGNMENT_OBJECTIVE]     = {"objective",              NULL,           "loss with weight decay"                            },
  [FW_ALIGNMENT_GRADIENT_NORM] = {"gradient_norm",          NULL,           "norm of the gradient of the objective"             },
  [FW_ALIGNMENT_WEIGHT_NORM]   = {"weight_norm",            NULL,           "norm of all weights and biases"                    },
  [FW_ALIGNMENT_SIMILARITY]    = {"similarity",             "alpha",        "cosine of W1^T W1 and AGOP^alpha"                  },
  [FW_ALIGNMENT_PEARSON]       = {"pearson",                "alpha",        "the same, mean entries subtracted"                 },
  [FW_ALIGNMENT_CENTRED]       = {"centred_similarity",     "alpha",        "cosine with the AGOP of the Jacobian less its mean"},
  [FW_ALIGNMENT_UPDATE]        = {"update_similarity",      NULL,           "cosine of dW^T dW and dW^T K dW, dW = W1 - W1(0)"  },
  [FW_ALIGNMENT_BEST_ALPHA]    = {"best_alpha",             NULL,           "alpha of the largest cosine"                       },
  [FW_ALIGNMENT_BEST_SIMILARITY]    = {"best_similarity",        NULL,           "largest cosine over alpha"                         },
  [FW_ALIGNMENT_SLOPE_ALPHA]        = {"slope_alpha",            NULL,           "slope of log W1^T W1 over log AGOP"                },
  [FW_ALIGNMENT_RESIDUAL]           = {"residual",               NULL,           "|W1^T W1 - AGOP^(1/L)| / |W1^T W1|"                },
  [FW_ALIGNMENT_LAYER_SIMILARITY]   = {"layer_similarity",       "layer",        "cosine at the alpha of the theory, 1/(L-l+1)"      },
  [FW_ALIGNMENT_LAYER_BEST_ALPHA]   = {"layer_best_alpha",       "layer",        "alpha of the largest cosine"                       },
  [FW_ALIGNMENT_IMBALANCE]          = {"imbalance",              "hidden_layer", "norm of W_{l+1}^T W_{l+1} - W_l W_l^T"             },
  [FW_ALIGNMENT_IMBALANCE_BIAS]     = {"imbalance_bias",         "hidden_layer",
                                  "norm of W_{l+1}^T W_{l+1} - W_l W_l^T - b_l b_l^T"                                           },
  [FW_ALIGNMENT_FEATURE_NORM]       = {"feature_norm",           NULL,           "norm of W1^T W1"                                   },
  [FW_ALIGNMENT_AGOP_NORM]          = {"agop_norm",              NULL,           "norm of the AGOP"                                  },
  [FW_ALIGNMENT_AGOP_EIGENVALUE]    = {"agop_eigenvalue",        "direction",    "eigenvalues of the AGOP"                           },
  [FW_ALIGNMENT_FEATURE_PROJECTION] = {"feature_projection",     "direction",    "W1^T W1 along the eigenvectors of the AGOP"        },
  [FW_ALIGNMENT_TELESCOPING_DIFFERENCE] = {"telescoping_difference", NULL,           "2-norm of AGOP - (W1^T W1)^L"                      },
  [FW_ALIGNMENT_TELESCOPING_BOUND]      = {"telescoping_bound",      NULL,           "its bound by the imbalance"                        },
};

/* No more eigenvalues than the Jacobian has rank */
static PetscInt CountDirections(const FwLearnerShape *shape)
{
  PetscInt n = PetscMin(shape->width[0], shape->width[1]);

  for (PetscInt l = 2; l <= shape->n_layer && shape->activation == FW_ACTIVATION_LINEAR; l++)
    n = PetscMin(n, shape->width[l]);
  return n;
}

PetscErrorCode FwAlignmentLayout(const FwLearnerShape *shape, PetscInt n_alpha, const double alpha[],
                                 FwAlignmentRows *rows)
{
  PetscFunctionBegin;
  *rows = (FwAlignmentRows){.shape = *shape, .n_alpha = n_alpha, .alpha = alpha};
  for (PetscInt f = 0; f < FW_ALIGNMENT_COUNT; f++) {
    const char *axis = fields[f].axis;
    PetscInt    n    = 1;

    if (axis) {
      n = axis[0] == 'a'   ? n_alpha
          : axis[0] == 'l' ? shape->n_layer
          : axis[0] == 'h' ? shape->n_layer - 1
                           : CountDirections(shape);
    }
    rows->column[f] = (FwAlignmentColumn){fields[f].name, axis, fields[f].long_name, rows->n, n};
    rows->n += n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- features of a layer ----------------------------------------------------------------------------------------- */

/* Factors T of K = T^T T, and of the centred K of the first layer; empty for linear networks */
typedef struct {
  double  *t[FW_LEARNER_LAYERS], *centred[FW_LEARNER_LAYERS]; /* n_row x n_l */
  PetscInt n_row[FW_LEARNER_LAYERS], n_centred;
} Sensitivity;

/* One network, taken apart */
typedef struct {
  const FwAlignmentRows *rows;
  const FwLearnerShape  *shape;
  FwLearner              learner;
  const double          *theta;
  const Sensitivity     *sensitivity;
  double                *row;
} Measured;

static const double *Weight(const Measured *m, PetscInt l)
{
  return m->theta + FwLearnerShapeWeight(m->shape, l);
}

static double *At(const Measured *m, FwAlignmentField field)
{
  return m->row + m->rows->column[field].first;
}

/* Linear networks: T = W_L .. W_{l+1} itself, c x n_l, without any square */
static PetscErrorCode LinearFactor(const FwLearnerShape *shape, const double theta[], PetscInt l, PetscInt *n_row,
                                   double **t)
{
  const PetscInt c = shape->width[shape->n_layer];
  double        *next;

  PetscFunctionBegin;
  *n_row = c;
  PetscCall(PetscCalloc1(c * c, t));
  for (PetscInt i = 0; i < c; i++) (*t)[i * (c + 1)] = 1.0;
  for (PetscInt k = shape->n_layer; k > l; k--) {
    const PetscInt n = shape->width[k], below = shape->width[k - 1];

    PetscCall(PetscMalloc1(c * below, &next));
    FwGemm("N", "N", c, below, n, 1.0, *t, c, theta + FwLearnerShapeWeight(shape, k), n, 0.0, next, c);
    PetscCall(PetscFree(*t));
    *t = next;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* gram - mean^T mean; whether little of it cancels. What cancels to rounding is zero */
static void Centre(PetscInt n, PetscInt c, const double mean[], double gram[], PetscBool *is_good)
{
  *is_good = PETSC_TRUE;
  for (PetscInt j = 0; j < n; j++) {
    const double before = gram[j * (n + 1)];

    for (PetscInt i = 0; i < n; i++) gram[j * n + i] -= FwDot(c, mean + i * c, mean + j * c);
    if (gram[j * (n + 1)] < 0.01 * before) *is_good = PETSC_FALSE;
    if (gram[j * (n + 1)] < 1e-13 * before) gram[j * (n + 1)] = 0.0;
  }
}

/* The roots of K, where these have the digits; is_good says of which layers, and last of the centred one */
static PetscErrorCode RootFactors(const FwLearnerShape *shape, PetscInt n_layer, double *const gram[],
                                  const double mean[], Sensitivity *s, PetscBool is_good[])
{
  const PetscInt n = shape->width[1], c = shape->width[shape->n_layer];
  PetscBool      is_whole;

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= n_layer; l++)
    PetscCall(FwFeatureFactor(shape->width[l], gram[l - 1], &s->n_row[l - 1], s->t[l - 1], &is_good[l - 1]));
  Centre(n, c, mean, gram[0], &is_whole);
  PetscCall(FwFeatureFactor(n, gram[0], &s->n_centred, s->centred[0], &is_good[n_layer]));
  if (!is_whole) is_good[n_layer] = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Those without the digits are found from the examples again */
static PetscErrorCode ReplaceFactors(FwLearner learner, const FwLearnerShape *shape, const double theta[],
                                     PetscInt n_layer, const PetscBool is_good[], Sensitivity *s)
{
  double   *factor[FW_LEARNER_LAYERS] = {NULL}, *centred[FW_LEARNER_LAYERS] = {NULL};
  PetscBool any = PETSC_FALSE;

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= PetscMin(n_layer, shape->n_layer - 1); l++) {
    if (is_good[l - 1]) continue;
    any             = PETSC_TRUE;
    factor[l - 1]   = s->t[l - 1];
    s->n_row[l - 1] = shape->width[l];
  }
  if (!is_good[n_layer] && shape->n_layer > 1) {
    any          = PETSC_TRUE;
    centred[0]   = s->centred[0];
    s->n_centred = shape->width[1];
  }
  if (any) PetscCall(FwLearnerSensitivityFactors(learner, theta, factor, centred));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetSensitivity(FwLearner learner, const FwLearnerShape *shape, const double theta[],
                                     PetscInt n_layer, Sensitivity *s)
{
  double   *gram[FW_LEARNER_LAYERS] = {NULL}, *mean[FW_LEARNER_LAYERS] = {NULL};
  PetscBool is_good[FW_LEARNER_LAYERS + 1];

  PetscFunctionBegin;
  *s = (Sensitivity){0};
  if (shape->activation == FW_ACTIVATION_LINEAR) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 1; l <= n_layer; l++) PetscCall(PetscMalloc1(shape->width[l] * shape->width[l], &s->t[l - 1]));
  for (PetscInt l = 1; l <= n_layer; l++) PetscCall(PetscMalloc1(shape->width[l] * shape->width[l], &gram[l - 1]));
  PetscCall(PetscMalloc1(shape->width[1] * shape->width[shape->n_layer], &mean[0]));
  PetscCall(PetscMalloc1(shape->width[1] * shape->width[1], &s->centred[0]));
  PetscCall(FwLearnerSensitivity(learner, theta, gram, mean));
  PetscCall(RootFactors(shape, n_layer, gram, mean[0], s, is_good));
  PetscCall(ReplaceFactors(learner, shape, theta, n_layer, is_good, s));
  for (PetscInt l = 0; l < n_layer; l++) PetscCall(PetscFree(gram[l]));
  PetscCall(PetscFree(mean[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreeSensitivity(Sensitivity *s)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < FW_LEARNER_LAYERS; l++) PetscCall(PetscFree(s->t[l]));
  PetscCall(PetscFree(s->centred[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The factor of layer l */
static PetscErrorCode Factor(const FwLearnerShape *shape, const double theta[], const Sensitivity *s, PetscInt l,
                             PetscInt *n_row, double **t)
{
  PetscFunctionBegin;
  if (!s->t[l - 1]) {
    PetscCall(LinearFactor(shape, theta, l, n_row, t));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *n_row = s->n_row[l - 1];
  PetscCall(PetscMalloc1(*n_row * shape->width[l], t));
  PetscCall(PetscArraycpy(*t, s->t[l - 1], *n_row * shape->width[l]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A product of L matrices has the rounding of each, and so has a factor from the examples */
static double Rounding(const FwLearnerShape *shape)
{
  PetscInt widest = 0;

  for (PetscInt k = 0; k <= shape->n_layer; k++) widest = PetscMax(widest, shape->width[k]);
  return (double)(shape->n_layer * widest) * PETSC_MACHINE_EPSILON;
}

static PetscErrorCode CreateFeature(const FwLearnerShape *shape, const double theta[], const Sensitivity *s, PetscInt l,
                                    FwFeature *feature)
{
  PetscInt n_row;
  double  *t;

  PetscFunctionBegin;
  PetscCall(Factor(shape, theta, s, l, &n_row, &t));
  PetscCall(FwFeatureCreate(shape->width[l], shape->width[l - 1], theta + FwLearnerShapeWeight(shape, l), n_row, t,
                            Rounding(shape), feature));
  PetscCall(PetscFree(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the first layer ------------------------------------------------------------------------------------------------ */

static PetscErrorCode MeasureFirst(const Measured *m, FwFeature feature)
{
  PetscInt      n;
  const double *lambda, *projection;

  PetscFunctionBegin;
  for (PetscInt a = 0; a < m->rows->n_alpha; a++) {
    At(m, FW_ALIGNMENT_SIMILARITY)[a] = FwFeatureSimilarity(feature, m->rows->alpha[a]);
    At(m, FW_ALIGNMENT_PEARSON)[a]    = FwFeaturePearson(feature, m->rows->alpha[a]);
  }
  PetscCall(FwFeatureBestAlpha(feature, At(m, FW_ALIGNMENT_BEST_ALPHA), At(m, FW_ALIGNMENT_BEST_SIMILARITY)));
  *At(m, FW_ALIGNMENT_SLOPE_ALPHA) = FwFeatureSlopeAlpha(feature);
  PetscCall(FwFeatureResidual(feature, 1.0 / (double)m->shape->n_layer, At(m, FW_ALIGNMENT_RESIDUAL)));
  FwFeatureNorms(feature, At(m, FW_ALIGNMENT_FEATURE_NORM), At(m, FW_ALIGNMENT_AGOP_NORM));
  FwFeatureDirections(feature, &n, &lambda, &projection);
  for (PetscInt j = 0; j < m->rows->column[FW_ALIGNMENT_AGOP_EIGENVALUE].n; j++) {
    At(m, FW_ALIGNMENT_AGOP_EIGENVALUE)[j]    = j < n ? lambda[j] : 0.0;
    At(m, FW_ALIGNMENT_FEATURE_PROJECTION)[j] = j < n ? projection[j] : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MeasureCentred(const Measured *m)
{
  const Sensitivity *s       = m->sensitivity;
  FwFeature          feature = NULL;

  PetscFunctionBegin;
  if (s->centred[0])
    PetscCall(FwFeatureCreate(m->shape->width[1], m->shape->width[0], Weight(m, 1), s->n_centred, s->centred[0],
                              Rounding(m->shape), &feature));
  for (PetscInt a = 0; a < m->rows->n_alpha; a++)
    At(m, FW_ALIGNMENT_CENTRED)[a] = feature ? FwFeatureSimilarity(feature, m->rows->alpha[a]) : NAN;
  PetscCall(FwFeatureDestroy(&feature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What training has added to W_1, compared through the same K */
static PetscErrorCode MeasureUpdate(const Measured *m, const double start[])
{
  const PetscInt n = m->shape->width[1], d = m->shape->width[0], first = FwLearnerShapeWeight(m->shape, 1);
  PetscInt       n_row;
  double        *t, *update;
  FwFeature      feature;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n * d, &update));
  for (PetscInt i = 0; i < n * d; i++) update[i] = m->theta[first + i] - start[first + i];
  PetscCall(Factor(m->shape, m->theta, m->sensitivity, 1, &n_row, &t));
  PetscCall(FwFeatureCreate(n, d, update, n_row, t, Rounding(m->shape), &feature));
  *At(m, FW_ALIGNMENT_UPDATE) = FwFeatureSimilarity(feature, 1.0);
  PetscCall(FwFeatureDestroy(&feature));
  PetscCall(PetscFree(t));
  PetscCall(PetscFree(update));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MeasureLayers(const Measured *m)
{
  const PetscInt L = m->shape->n_layer;
  double         similarity;

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= L; l++) {
    FwFeature feature;

    PetscCall(CreateFeature(m->shape, m->theta, m->sensitivity, l, &feature));
    At(m, FW_ALIGNMENT_LAYER_SIMILARITY)[l - 1] = FwFeatureSimilarity(feature, 1.0 / (double)(L - l + 1));
    PetscCall(FwFeatureBestAlpha(feature, &At(m, FW_ALIGNMENT_LAYER_BEST_ALPHA)[l - 1], &similarity));
    if (l == 1) PetscCall(MeasureFirst(m, feature));
    PetscCall(FwFeatureDestroy(&feature));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- balance ---------------------------------------------------------------------------------------------------------- */

/* Delta_l, n_l x n_l */
static void Imbalance(const Measured *m, PetscInt l, double delta[])
{
  const PetscInt n = m->shape->width[l], above = m->shape->width[l + 1], below = m->shape->width[l - 1];

  FwGemm("T", "N", n, n, above, 1.0, Weight(m, l + 1), above, Weight(m, l + 1), above, 0.0, delta, n);
  FwGemm("N", "T", n, n, below, -1.0, Weight(m, l), n, Weight(m, l), n, 1.0, delta, n);
}

/* |W_l|_2, from the smaller Gram matrix */
static PetscErrorCode LargestSingular(const Measured *m, PetscInt l, double *value)
{
  const PetscInt n = m->shape->width[l], d = m->shape->width[l - 1], k = PetscMin(n, d);
  const double  *w = Weight(m, l);
  double        *gram;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(k * k, &gram));
  if (n <= d)
    FwGemm("N", "T", n, n, d, 1.0, w, n, w, n, 0.0, gram, k);
  else
    FwGemm("T", "N", d, d, n, 1.0, w, n, w, n, 0.0, gram, k);
  PetscCall(FwFeatureSpectralNorm(k, gram, value));
  *value = sqrt(*value);
  PetscCall(PetscFree(gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Norms of Delta_l and of Delta_l - b_l b_l^T, and sum (L - l) |Delta_l|_2 */
static PetscErrorCode MeasureImbalance(const Measured *m, double *weighted)
{
  PetscFunctionBegin;
  *weighted = 0.0;
  for (PetscInt l = 1; l < m->shape->n_layer; l++) {
    const PetscInt n = m->shape->width[l];
    const double  *b = m->theta + FwLearnerShapeBias(m->shape, l);
    double        *delta, norm;

    PetscCall(PetscMalloc1(n * n, &delta));
    Imbalance(m, l, delta);
    At(m, FW_ALIGNMENT_IMBALANCE)[l - 1] = sqrt(FwDot(n * n, delta, delta));
    PetscCall(FwFeatureSpectralNorm(n, delta, &norm));
    *weighted += (double)(m->shape->n_layer - l) * norm;
    for (PetscInt j = 0; j < n && m->shape->has_bias; j++) FwAxpy(n, -b[j], b, delta + j * n);
    At(m, FW_ALIGNMENT_IMBALANCE_BIAS)[l - 1] = sqrt(FwDot(n * n, delta, delta));
    PetscCall(PetscFree(delta));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (W_1 W_1^T)^(L-1) */
static PetscErrorCode GramPower(const Measured *m, double **power)
{
  const PetscInt n = m->shape->width[1], d = m->shape->width[0];
  double        *gram, *next;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n * n, &gram, n * n, &next));
  PetscCall(PetscCalloc1(n * n, power));
  for (PetscInt i = 0; i < n; i++) (*power)[i * (n + 1)] = 1.0;
  FwGemm("N", "T", n, n, d, 1.0, Weight(m, 1), n, Weight(m, 1), n, 0.0, gram, n);
  for (PetscInt k = 1; k < m->shape->n_layer; k++) {
    FwGemm("N", "N", n, n, n, 1.0, gram, n, *power, n, 0.0, next, n);
    PetscCall(PetscArraycpy(*power, next, n * n));
  }
  PetscCall(PetscFree2(gram, next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |AGOP - M^L|_2 <= max |W_l|_2^(2(L-1)) sum (L - l) |Delta_l|_2 */
static PetscErrorCode MeasureTelescoping(const Measured *m, double weighted)
{
  const PetscInt L = m->shape->n_layer, d = m->shape->width[0];
  PetscInt       n_row;
  double        *product, *power, largest = 0.0;

  PetscFunctionBegin;
  *At(m, FW_ALIGNMENT_TELESCOPING_DIFFERENCE) = *At(m, FW_ALIGNMENT_TELESCOPING_BOUND) = NAN;
  if (m->shape->activation != FW_ACTIVATION_LINEAR) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(LinearFactor(m->shape, m->theta, 0, &n_row, &product));
  PetscCall(GramPower(m, &power));
  PetscCall(FwFeatureDifference(d, n_row, product, NULL, m->shape->width[1], Weight(m, 1), power,
                                At(m, FW_ALIGNMENT_TELESCOPING_DIFFERENCE)));
  for (PetscInt l = 1; l <= L; l++) {
    double value;

    PetscCall(LargestSingular(m, l, &value));
    largest = fmax(largest, value);
  }
  *At(m, FW_ALIGNMENT_TELESCOPING_BOUND) = pow(largest, 2.0 * (double)(L - 1)) * weighted;
  PetscCall(PetscFree(product));
  PetscCall(PetscFree(power));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all of it ---------------------------------------------------------------------------------------------------------- */

static PetscErrorCode MeasureObjective(const Measured *m, FwDecay decay)
{
  const PetscInt n = FwLearnerShapeSize(m->shape);
  double        *gradient;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &gradient));
  PetscCall(FwLearnerLoss(m->learner, m->theta, At(m, FW_ALIGNMENT_LOSS)));
  *At(m, FW_ALIGNMENT_OBJECTIVE) = *At(m, FW_ALIGNMENT_LOSS) + FwLearnerPenalty(m->learner, decay, m->theta);
  PetscCall(FwLearnerGradient(m->learner, decay, m->theta, NULL, gradient));
  *At(m, FW_ALIGNMENT_GRADIENT_NORM) = sqrt(FwDot(n, gradient, gradient));
  *At(m, FW_ALIGNMENT_WEIGHT_NORM)   = sqrt(FwDot(n, m->theta, m->theta));
  PetscCall(PetscFree(gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAlignmentMeasure(const FwAlignmentRows *rows, FwLearner learner, FwDecay decay, const double start[],
                                  const double theta[], double row[])
{
  Sensitivity    sensitivity;
  const Measured m = {rows, &rows->shape, learner, theta, &sensitivity, row};
  double         weighted;

  PetscFunctionBegin;
  PetscCall(GetSensitivity(learner, m.shape, theta, m.shape->n_layer, &sensitivity));
  PetscCall(MeasureObjective(&m, decay));
  PetscCall(MeasureLayers(&m));
  PetscCall(MeasureUpdate(&m, start));
  PetscCall(MeasureImbalance(&m, &weighted));
  PetscCall(MeasureTelescoping(&m, weighted));
  PetscCall(MeasureCentred(&m));
  PetscCall(FreeSensitivity(&sensitivity));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAlignmentMatrices(FwLearner learner, const double theta[], PetscBool only_diagonals, double m[],
                                   double a[])
{
  const FwLearnerShape *shape;
  FwFeature             feature;
  Sensitivity           sensitivity;
  double                alpha;

  PetscFunctionBegin;
  PetscCall(FwLearnerGetShape(learner, &shape));
  alpha = 1.0 / (double)shape->n_layer;
  PetscCall(GetSensitivity(learner, shape, theta, 1, &sensitivity));
  PetscCall(CreateFeature(shape, theta, &sensitivity, 1, &feature));
  PetscCall(only_diagonals ? FwFeatureDiagonals(feature, alpha, m, a) : FwFeatureMatrices(feature, alpha, m, a));
  PetscCall(FwFeatureDestroy(&feature));
  PetscCall(FreeSensitivity(&sensitivity));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- rates and collapse --------------------------------------------------------------------------------------------------- */

/* Below this there is rounding, or a floor */
static double LeastOf(PetscInt n, const double imbalance[])
{
  const double floor = 10.0 * imbalance[n - 1];

  return fmax(1e-6 * imbalance[0], floor < imbalance[0] ? floor : 0.0);
}

double FwAlignmentRate(PetscInt n, const double time[], const double imbalance[], double scale)
{
  double mean[2] = {0.0}, covariance = 0.0, variance = 0.0, least;
  int    count = 0;

  if (n < 2 || !(imbalance[0] > 1e-10 * scale)) return NAN;
  least = LeastOf(n, imbalance);
  for (PetscInt i = 0; i < n; i++) {
    if (!(imbalance[i] > least)) continue;
    mean[0] += time[i];
    mean[1] += log(imbalance[i]);
    count++;
  }
  for (PetscInt i = 0; i < n; i++) {
    if (!(imbalance[i] > least)) continue;
    covariance += (time[i] - mean[0] / count) * (log(imbalance[i]) - mean[1] / count);
    variance += pow(time[i] - mean[0] / count, 2);
  }
  return variance > 0.0 ? -covariance / variance : NAN;
}

PetscErrorCode FwAlignmentTargetScale(FwLearner learner, double *scale)
{
  const FwLearnerShape *shape;
  const double         *x, *y;
  PetscInt              n;
  double                square[2] = {0.0, 0.0};

  PetscFunctionBegin;
  PetscCall(FwLearnerGetShape(learner, &shape));
  PetscCall(FwLearnerGetExamples(learner, &n, &x, &y));
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt d = shape->width[0], c = shape->width[shape->n_layer];

    square[0] += FwDot(d, x + (size_t)i * d, x + (size_t)i * d);
    square[1] += FwDot(c, y + (size_t)i * c, y + (size_t)i * c);
  }
  *scale = square[0] > 0.0 ? square[1] / square[0] : 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwAlignmentHasCollapsed(double scale, PetscInt n, size_t stride, const double agop_norm[])
{
  const double last    = agop_norm[(size_t)(n - 1) * stride];
  double       largest = 0.0;

  for (PetscInt t = 0; t < n; t++) largest = fmax(largest, agop_norm[(size_t)t * stride]);
  return (PetscBool)(last < 1e-6 * scale && last < 0.5 * largest);
}

/* w^L at which (sigma - s w^L) w^(L-2) is largest, L >= 3 */
static double ProductAtMost(PetscInt L, const FwAlignmentMode *mode)
{
  return mode->strength * (double)(L - 2) / (2.0 * mode->variance * (double)(L - 1));
}

double FwAlignmentCriticalDecay(PetscInt L, const FwAlignmentMode *mode)
{
  const double l = (double)L;

  if (L == 1) return INFINITY;
  if (!(mode->strength > 0.0 && mode->variance > 0.0)) return 0.0;
  if (L == 2) return mode->strength;
  return mode->strength * pow(ProductAtMost(L, mode), (l - 2.0) / l) * l / (2.0 * (l - 1.0));
}

/* Newton from above, where s w^(2L-2) - sigma w^(L-2) + mu is positive, rising and convex: it comes down to the root */
double FwAlignmentModeProduct(PetscInt L, const FwAlignmentMode *mode, double decay)
{
  const double l = (double)L, s = mode->variance, sigma = mode->strength;
  double       w, next;

  if (!(sigma > 0.0)) return 0.0;
  if (L == 1) return sigma / (s + decay);
  if (!(decay < FwAlignmentCriticalDecay(L, mode))) return 0.0;
  next = pow(sigma / s, 1.0 / l);
  do {
    w    = next;
    next = w - (s * pow(w, l) - sigma + decay * pow(w, 2.0 - l)) /
                 (s * (2.0 * l - 2.0) * pow(w, l - 1.0) - sigma * (l - 2.0) / w);
  } while (next < w * (1.0 - 4.0 * PETSC_MACHINE_EPSILON));
  return pow(next, l);
}

PetscErrorCode FwAlignmentModes(FwLearner learner, PetscInt n, FwAlignmentMode mode[])
{
  const FwLearnerShape *shape;
  const double         *x, *y;
  PetscInt              n_example, d, c, r;
  double               *cross, *sigma, *vt, *image;

  PetscFunctionBegin;
  PetscCall(FwLearnerGetShape(learner, &shape));
  PetscCall(FwLearnerGetExamples(learner, &n_example, &x, &y));
  d = shape->width[0];
  c = shape->width[shape->n_layer];
  r = PetscMin(d, c);
  PetscCall(PetscMalloc4(c * d, &cross, r, &sigma, r * d, &vt, n_example, &image));
  FwGemm("N", "T", c, d, n_example, 1.0 / (double)n_example, y, c, x, d, 0.0, cross, c);
  PetscCall(FwSingularDecompose(c, d, cross, sigma, NULL, vt));
  for (PetscInt j = 0; j < n; j++) {
    FwGemm("N", "N", 1, n_example, d, 1.0, vt + j, r, x, d, 0.0, image, 1);
    mode[j] = (FwAlignmentMode){sigma[j], FwDot(n_example, image, image) / (double)n_example};
  }
  PetscCall(PetscFree4(cross, sigma, vt, image));
  PetscFunctionReturn(PETSC_SUCCESS);
}
