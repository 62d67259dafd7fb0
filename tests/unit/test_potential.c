/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The potential of a network's posterior against a network written out in loops, and against differences.
 */

#include <finwidth/activation.h>
#include <finwidth/potential.h>
#include "../support/dataset_fixture.h"

enum { P = 13, P_TEST = 5, INPUTS = 48, FEATURE_MAX = 80, OUTPUT_MAX = 3, DEPTH_MAX = 3, PATCH_MAX = 15 };

typedef struct {
  const char   *name;
  FwNetworkType type;
  PetscInt      depth;
  double        width[DEPTH_MAX];
  PetscInt      activation[DEPTH_MAX];
  double        bias[DEPTH_MAX + 1];
  PetscInt      n_output, mask[2], stride[2];
  PetscInt      upper_mask[DEPTH_MAX - 1], upper_stride[DEPTH_MAX - 1];
} Case;

/* Narrow ones have fewer features than examples, wide ones more: the two forms of the collapsed potential. Patches overlap
   and leave pixels out. */
static const Case cases[] = {
  {"narrow",                 FW_NETWORK_FC,   1, {7},     {FW_ACTIVATION_ERF},                     {0},        1, {0},    {0},    {0}, {0}},
  {"wide",                   FW_NETWORK_FC,   1, {30},    {FW_ACTIVATION_TANH},                    {0},        2, {0},    {0},    {0}, {0}},
  {"biased",                 FW_NETWORK_FC,   1, {6},     {FW_ACTIVATION_GELU},                    {0.3, 0.5}, 2, {0},    {0},    {0}, {0}},
  {"biased wide",            FW_NETWORK_FC,   1, {20},    {FW_ACTIVATION_ERF},                     {0.3, 0.5}, 1, {0},    {0},    {0}, {0}},
  {"deep",
   FW_NETWORK_FC,                             3,
   {9, 5, 8},
   {FW_ACTIVATION_ERF, FW_ACTIVATION_SOFTPLUS, FW_ACTIVATION_SIN},
   {0.2, 0.0, 0.4, 0.1},
   3,                                                                                                             {0},
   {0},
   {0},
   {0}                                                                                                                                    },
  {"deep wide",              FW_NETWORK_FC,   2, {9, 25}, {FW_ACTIVATION_TANH, FW_ACTIVATION_ERF}, {0},        1, {0},    {0},    {0}, {0}},
  {"one patch",              FW_NETWORK_CNN,  1, {7},     {FW_ACTIVATION_ERF},                     {0},        2, {4, 6}, {1, 1}, {0}, {0}},
  {"cnn",                    FW_NETWORK_CNN,  1, {2},     {FW_ACTIVATION_ERF},                     {0},        1, {2, 3}, {2, 2}, {0}, {0}},
  {"cnn wide",               FW_NETWORK_CNN,  1, {6},     {FW_ACTIVATION_TANH},                    {0},        2, {2, 3}, {1, 3}, {0}, {0}},
  {"lcn",                    FW_NETWORK_LCN,  1, {2},     {FW_ACTIVATION_GELU},                    {0},        2, {2, 3}, {2, 2}, {0}, {0}},
  {"lcn wide",               FW_NETWORK_LCN,  1, {6},     {FW_ACTIVATION_ERF},                     {0},        1, {2, 3}, {1, 3}, {0}, {0}},
  {"pool",                   FW_NETWORK_POOL, 1, {5},     {FW_ACTIVATION_SIN},                     {0},        2, {2, 3}, {1, 2}, {0}, {0}},
  {"pool wide",              FW_NETWORK_POOL, 1, {20},    {FW_ACTIVATION_ERF},                     {0},        1, {3, 3}, {1, 2}, {0}, {0}},
 /* 3 x 5 positions, then 2 x 4 that overlap, then 1 x 2 */
  {"deep cnn",
   FW_NETWORK_CNN,                            3,
   {3, 4, 2},
   {FW_ACTIVATION_ERF, FW_ACTIVATION_TANH, FW_ACTIVATION_SIN},
   {0},
   1,                                                                                                             {2, 2},
   {1, 1},
   {2, 2},
   {1, 2}                                                                                                                                 },
 /* 3 x 3 positions, of which 2 x 2 are seen by one */
  {"deep cnn, one position",
   FW_NETWORK_CNN,                            2,
   {4, 20},
   {FW_ACTIVATION_ERF, FW_ACTIVATION_TANH},
   {0},
   2,                                                                                                             {2, 2},
   {1, 2},
   {2},
   {2}                                                                                                                                    },
  {"deep cnn wide",
   FW_NETWORK_CNN,                            2,
   {4, 9},
   {FW_ACTIVATION_TANH, FW_ACTIVATION_ERF},
   {0},
   2,                                                                                                             {2, 2},
   {1, 2},
   {2},
   {1}                                                                                                                                    },
  {"deep lcn",               FW_NETWORK_LCN,  2, {3, 2},  {FW_ACTIVATION_GELU, FW_ACTIVATION_ERF}, {0},        1, {2, 2}, {1, 2}, {2}, {1}},
  {"deep pool",              FW_NETWORK_POOL, 2, {4, 5},  {FW_ACTIVATION_ERF, FW_ACTIVATION_SIN},  {0},        2, {2, 2}, {1, 2}, {2}, {1}},
};
enum { N_CASE = sizeof cases / sizeof *cases };

static double       prior[DEPTH_MAX + 1] = {1.3, 0.8, 1.6, 0.9};
static const double temperature          = 0.07;

static FwDataset data;
static double    x[P + P_TEST][INPUTS], y[P * OUTPUT_MAX];

/* --- the network in loops ------------------------------------------------------------------------------------- */

static FwModel model_of(const Case *c)
{
  FwModel model = {.type         = c->type,
                   .depth        = c->depth,
                   .width        = (double *)c->width,
                   .activation   = (PetscInt *)c->activation,
                   .prior        = prior,
                   .bias         = (double *)c->bias,
                   .upper_mask   = (PetscInt *)c->upper_mask,
                   .upper_stride = (PetscInt *)c->upper_stride,
                   .temperature  = temperature};

  for (int d = 0; d < 2; d++) {
    model.mask[d]   = c->mask[d];
    model.stride[d] = c->stride[d];
  }
  return model;
}

static double phi_at(PetscInt type, double z)
{
  FwActivation activation;
  double       value;

  TestCall(FwActivationGet((FwActivationType)type, &activation));
  TestCall(FwActivationEvaluate(activation, 1, &z, &value, NULL, NULL));
  return value;
}

/* Scaled features of a fully-connected network; advances theta */
static int plain_dense(const Case *c, const double input[], const double **theta, double feature[])
{
  double h[INPUTS + 1];
  int    n = INPUTS;

  memcpy(h, input, sizeof(double[INPUTS]));
  for (int l = 0; l < c->depth; l++) {
    double next[FEATURE_MAX];

    for (int a = 0; a < (int)c->width[l]; a++) {
      double sum = 0.0;

      for (int i = 0; i < n; i++) sum += *(*theta)++ / sqrt(prior[l]) * h[i] / sqrt(n);
      if (c->bias[l] > 0.0) sum += sqrt(c->bias[l]) * *(*theta)++;
      next[a] = phi_at(c->activation[l], sum);
    }
    n = (int)c->width[l];
    memcpy(h, next, (size_t)n * sizeof *h);
  }
  for (int a = 0; a < n; a++) feature[a] = h[a] / sqrt(prior[c->depth] * n);
  if (c->bias[c->depth] > 0.0) feature[n++] = sqrt(c->bias[c->depth]);
  return n;
}

/* Pre-activation of one channel at a patch of a 2 x 4 x 6 image */
static double plain_filter(const Case *c, const double input[], int row, int col, const double theta[])
{
  double sum = 0.0;

  for (int k = 0; k < 2; k++)
    for (int i = 0; i < c->mask[0]; i++)
      for (int j = 0; j < c->mask[1]; j++)
        sum += *theta++ * input[(k * 4 + row * c->stride[0] + i) * 6 + col * c->stride[1] + j];
  return sum / sqrt(prior[0] * 2.0 * (double)(c->mask[0] * c->mask[1]));
}

/* Values of the channels of a layer, [position][channel], on n_row x n_col positions */
typedef struct {
  int    n_row, n_col;
  double value[PATCH_MAX][FEATURE_MAX];
} Map;

static Map plain_first(const Case *c, const double input[], const double **theta)
{
  const int N = (int)c->width[0], M = (int)(2 * c->mask[0] * c->mask[1]), is_lcn = c->type == FW_NETWORK_LCN;
  Map map = {.n_row = (int)((4 - c->mask[0]) / c->stride[0]) + 1, .n_col = (int)((6 - c->mask[1]) / c->stride[1]) + 1};
  const int n = map.n_row * map.n_col;

  for (int p = 0; p < n; p++)
    for (int a = 0; a < N; a++)
      map.value[p][a] = phi_at(c->activation[0], plain_filter(c, input, p / map.n_col, p % map.n_col,
                                                              *theta + ((is_lcn ? p * N : 0) + a) * M));
  *theta += (is_lcn ? n : 1) * N * M;
  return map;
}

/* Layer l on squares of positions of the one below */
static Map plain_upper(const Case *c, int l, const Map *below, const double **theta)
{
  const int N = (int)c->width[l], n_below = (int)c->width[l - 1], side = (int)c->upper_mask[l - 1],
            step    = (int)c->upper_stride[l - 1];
  Map           map = {.n_row = (below->n_row - side) / step + 1, .n_col = (below->n_col - side) / step + 1};
  const double *w   = *theta;

  for (int p = 0; p < map.n_row * map.n_col; p++) {
    if (c->type != FW_NETWORK_LCN) w = *theta;
    for (int b = 0; b < N; b++) {
      double sum = 0.0;

      for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++)
          for (int a = 0; a < n_below; a++)
            sum += *w++ * below->value[(p / map.n_col * step + i) * below->n_col + p % map.n_col * step + j][a];
      map.value[p][b] = phi_at(c->activation[l], sum / sqrt(prior[l] * n_below * side * side));
    }
  }
  *theta = w;
  return map;
}

static int plain_patches(const Case *c, const double input[], const double **theta, double feature[])
{
  const int N = (int)c->width[c->depth - 1], is_pool = c->type == FW_NETWORK_POOL;
  Map       map = plain_first(c, input, theta);

  for (int l = 1; l < c->depth; l++) map = plain_upper(c, l, &map, theta);
  const int n = map.n_row * map.n_col;

  memset(feature, 0, sizeof(double[FEATURE_MAX]));
  for (int p = 0; p < n; p++)
    for (int a = 0; a < N; a++)
      if (is_pool)
        feature[a] += map.value[p][a] / (n * sqrt(prior[c->depth] * N));
      else
        feature[p * N + a] = map.value[p][a] / sqrt(prior[c->depth] * N * n);
  return is_pool ? N : n * N;
}

static int plain_features(const Case *c, const double input[], const double theta[], const double **rest,
                          double feature[])
{
  *rest = theta;
  return c->type == FW_NETWORK_FC ? plain_dense(c, input, rest, feature) : plain_patches(c, input, rest, feature);
}

/* x = A^-1 b and log det A by Gauss' elimination of a positive matrix */
static double eliminate(double a[P][P], double b[P])
{
  double log_det = 0.0;

  for (int k = 0; k < P; k++) {
    log_det += log(a[k][k]);
    for (int i = k + 1; i < P; i++) {
      const double factor = a[i][k] / a[k][k];

      for (int j = k; j < P; j++) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  }
  for (int i = P - 1; i >= 0; i--) {
    for (int j = i + 1; j < P; j++) b[i] -= a[i][j] * b[j];
    b[i] /= a[i][i];
  }
  return log_det;
}

typedef struct {
  int           n_feature;
  double        feature[P + P_TEST][FEATURE_MAX];
  const double *readout;
} Plain;

static Plain plain_network(const Case *c, const double theta[])
{
  Plain plain;

  for (int i = 0; i < P + P_TEST; i++)
    plain.n_feature = plain_features(c, x[i], theta, &plain.readout, plain.feature[i]);
  return plain;
}

static double plain_kernel(const Plain *plain, int i, int j)
{
  double sum = 0.0;

  for (int f = 0; f < plain->n_feature; f++) sum += plain->feature[i][f] * plain->feature[j][f];
  return sum;
}

/* A^-1 b; returns log det A */
static double plain_solve(const Plain *plain, double b[P])
{
  double a[P][P];

  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) a[i][j] = plain_kernel(plain, i, j) + (i == j ? temperature : 0.0);
  return eliminate(a, b);
}

static double plain_output(const Plain *plain, int i, int d)
{
  double f = 0.0;

  for (int k = 0; k < plain->n_feature; k++) f += plain->readout[d * plain->n_feature + k] * plain->feature[i][k];
  return f;
}

static double plain_energy(const Case *c, FwPotentialKind kind, PetscInt n, const double theta[])
{
  const Plain plain  = plain_network(c, theta);
  double      energy = 0.0;

  for (PetscInt k = 0; k < n; k++) energy += 0.5 * theta[k] * theta[k];
  for (int d = 0; d < c->n_output; d++) {
    double b[P];

    for (int i = 0; i < P; i++) b[i] = y[i * c->n_output + d];
    if (kind == FW_POTENTIAL_COLLAPSED) {
      energy += 0.5 * plain_solve(&plain, b);
      for (int i = 0; i < P; i++) energy += 0.5 * y[i * c->n_output + d] * b[i];
    } else {
      for (int i = 0; i < P; i++) energy += PetscSqr(b[i] - plain_output(&plain, i, d)) / (2.0 * temperature);
    }
  }
  return energy;
}

/* --- fixture -------------------------------------------------------------------------------------------------- */

static FwExamples examples_of(MPI_Comm comm, const Case *c)
{
  FwExamples e;

  TestCall(FwExamplesCreate(data, comm, &e));
  e.sizes.n_output = c->n_output;
  e.sizes.channels = 2;
  e.sizes.height   = 4;
  e.sizes.width    = 6;
  e.y_train        = y;
  return e;
}

typedef struct {
  FwModel     model;
  FwExamples  examples;
  FwPotential potential;
  PetscInt    n;
  double     *theta, *gradient;
  double     *weights; /* theta in the order of the network in loops */
} Fixture;

static Fixture fixture_create(MPI_Comm comm, const Case *c, FwPotentialKind kind)
{
  Fixture f = {.model = model_of(c), .examples = examples_of(comm, c)};

  TestCall(FwPotentialCreate(comm, &f.model, &f.examples, kind, &f.potential));
  TestCall(FwPotentialGetSize(f.potential, &f.n));
  TestCall(PetscMalloc3(f.n, &f.theta, f.n, &f.gradient, f.n, &f.weights));
  FwStreamNormal(FwStreamCreate(7, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)(c - cases), 0, 0), 0, (size_t)f.n, f.theta);
  TestCall(FwPotentialGetWeights(f.potential, f.theta, f.weights));
  return f;
}

static void fixture_destroy(Fixture *f)
{
  TestCall(PetscFree3(f->theta, f->gradient, f->weights));
  TestCall(FwPotentialDestroy(&f->potential));
  TestCall(FwExamplesDestroy(&f->examples));
}

static double energy_at(Fixture *f, double gradient[])
{
  double energy;

  TestCall(FwPotentialEvaluate(f->potential, f->theta, &energy, gradient));
  return energy;
}

/* Worst relative difference between the gradient and four-point differences, along a few random directions */
static double gradient_error(Fixture *f, double h)
{
  const double weight[4] = {1.0 / 12.0, -2.0 / 3.0, 2.0 / 3.0, -1.0 / 12.0};
  double      *direction, worst = 0.0;

  TestCall(PetscMalloc1(f->n, &direction));
  for (uint64_t k = 0; k < 4; k++) {
    double slope = 0.0, difference = 0.0, size = 0.0;

    FwStreamNormal(FwStreamCreate(8, FW_RANDOM_TEACHER_WEIGHT, k, 0, 0), 0, (size_t)f->n, direction);
    for (PetscInt i = 0; i < f->n; i++) {
      slope += direction[i] * f->gradient[i];
      size += PetscSqr(direction[i] * f->gradient[i]);
    }
    for (int s = 0; s < 4; s++) {
      const double step = h * (s < 2 ? s - 2 : s - 1);

      for (PetscInt i = 0; i < f->n; i++) f->theta[i] += step * direction[i];
      difference += weight[s] * energy_at(f, NULL) / h;
      for (PetscInt i = 0; i < f->n; i++) f->theta[i] -= step * direction[i];
    }
    worst = fmax(worst, fabs(slope - difference) / sqrt(size));
  }
  TestCall(PetscFree(direction));
  return worst;
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void energy_equals_that_of_a_network_in_loops(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++)
    for (int kind = 0; kind < 2; kind++) {
      Fixture      f      = fixture_create(PETSC_COMM_SELF, &cases[k], (FwPotentialKind)kind);
      const double energy = energy_at(&f, NULL);

      print_message("%s: %" PetscInt_FMT " parameters, U = %.12g\n", cases[k].name, f.n, energy);
      assert_close(energy, plain_energy(&cases[k], (FwPotentialKind)kind, f.n, f.weights), 1e-12);
      fixture_destroy(&f);
    }
}

static void gradient_is_the_derivative_of_the_energy(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++)
    for (int kind = 0; kind < 2; kind++) {
      Fixture f = fixture_create(PETSC_COMM_SELF, &cases[k], (FwPotentialKind)kind);

      (void)energy_at(&f, f.gradient);
      assert_close(gradient_error(&f, 2e-4), 0.0, 1e-9);
      fixture_destroy(&f);
    }
}

static void gradient_is_right_for_every_activation(void **state)
{
  (void)state;
  for (int type = 0; type < FW_ACTIVATION_COUNT; type++)
    for (int kind = 0; kind < 2; kind++) {
      Case    c = cases[2];
      Fixture f;

      if (type == FW_ACTIVATION_SIGN) continue; /* its slope is zero wherever it has one */
      c.activation[0] = type;
      f               = fixture_create(PETSC_COMM_SELF, &c, (FwPotentialKind)kind);
      FwStreamNormal(FwStreamCreate(7, FW_RANDOM_TEACHER_WEIGHT, (uint64_t)type, 0, 0), 0, (size_t)f.n, f.theta);
      (void)energy_at(&f, f.gradient);
      assert_close(gradient_error(&f, 1e-6), 0.0, 1e-7); /* steps that rarely meet a kink */
      fixture_destroy(&f);
    }
}

static void a_wrong_gradient_is_caught(void **state)
{
  Fixture f = fixture_create(PETSC_COMM_SELF, &cases[0], FW_POTENTIAL_COLLAPSED);

  (void)state;
  (void)energy_at(&f, f.gradient);
  f.gradient[f.n / 2] *= 1.001;
  assert_close(gradient_error(&f, 2e-4) > 1e-7, 1, 0.0);
  fixture_destroy(&f);
}

static double *measured[FW_MEASURE_COUNT];

static void measure(Fixture *f)
{
  for (int q = 0; q < FW_MEASURE_COUNT; q++) {
    PetscInt n;

    TestCall(FwPotentialMeasureSize(f->potential, (FwMeasure)q, &n));
    TestCall(PetscMalloc1(n, &measured[q]));
  }
  TestCall(FwPotentialMeasure(f->potential, f->theta, measured));
}

static void forget(void)
{
  for (int q = 0; q < FW_MEASURE_COUNT; q++) TestCall(PetscFree(measured[q]));
}

/* Mean and variance of f at example i, given the hidden layers */
static void plain_prediction(const Plain *plain, const Case *c, int i, int d, double *mean, double *variance)
{
  double k[P], b[P];

  for (int j = 0; j < P; j++) b[j] = k[j] = plain_kernel(plain, i, j);
  (void)plain_solve(plain, b);
  *mean     = 0.0;
  *variance = plain_kernel(plain, i, i);
  for (int j = 0; j < P; j++) {
    *mean += b[j] * y[j * c->n_output + d];
    *variance -= b[j] * k[j];
  }
}

static void predictions_equal_a_gaussian_process_on_the_features(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++) {
    const Case *c     = &cases[k];
    Fixture     f     = fixture_create(PETSC_COMM_SELF, c, FW_POTENTIAL_COLLAPSED);
    const Plain plain = plain_network(c, f.weights);

    measure(&f);
    for (int i = 0; i < P + P_TEST; i++)
      for (int d = 0; d < c->n_output; d++) {
        const int is_test = i >= P, row = is_test ? i - P : i;
        double    mean, variance;

        plain_prediction(&plain, c, i, d, &mean, &variance);
        assert_close(measured[is_test ? FW_MEASURE_TEST_MEAN : FW_MEASURE_TRAIN_MEAN][row * c->n_output + d], mean,
                     1e-11);
        assert_close(measured[is_test ? FW_MEASURE_TEST_VARIANCE : FW_MEASURE_TRAIN_VARIANCE][row], variance, 1e-11);
      }
    forget();
    fixture_destroy(&f);
  }
}

static void outputs_of_all_weights_are_those_in_loops(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++) {
    const Case *c     = &cases[k];
    Fixture     f     = fixture_create(PETSC_COMM_SELF, c, FW_POTENTIAL_FULL);
    const Plain plain = plain_network(c, f.weights);

    measure(&f);
    for (int d = 0; d < c->n_output; d++) {
      for (int i = 0; i < P; i++)
        assert_close(measured[FW_MEASURE_TRAIN_MEAN][i * c->n_output + d], plain_output(&plain, i, d), 1e-12);
      for (int i = 0; i < P_TEST; i++)
        assert_close(measured[FW_MEASURE_TEST_MEAN][i * c->n_output + d], plain_output(&plain, P + i, d), 1e-12);
    }
    assert_close(measured[FW_MEASURE_TEST_VARIANCE][0], 0.0, 0.0);
    forget();
    fixture_destroy(&f);
  }
}

/* E[v v^T] between readout weights (d, s) and (e, t): the posterior's, or of the readout itself */
static double plain_moment(const Plain *plain, const Case *c, FwPotentialKind kind, int d, int s, int e, int t)
{
  double left[P], right[P], mean_left = 0.0, mean_right = 0.0, moment = d == e && s == t;

  if (kind == FW_POTENTIAL_FULL)
    return plain->readout[d * plain->n_feature + s] * plain->readout[e * plain->n_feature + t];
  for (int i = 0; i < P; i++) left[i] = plain->feature[i][s];
  for (int i = 0; i < P; i++) right[i] = plain->feature[i][t];
  (void)plain_solve(plain, left);
  (void)plain_solve(plain, right);
  for (int i = 0; i < P; i++) {
    mean_left += left[i] * y[i * c->n_output + d];
    mean_right += right[i] * y[i * c->n_output + e];
    if (d == e) moment -= left[i] * plain->feature[i][t];
  }
  return moment + mean_left * mean_right;
}

static void readout_gram_is_the_conditional_second_moment(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++)
    for (int kind = 0; kind < 2; kind++) {
      const Case *c     = &cases[k];
      Fixture     f     = fixture_create(PETSC_COMM_SELF, c, (FwPotentialKind)kind);
      const Plain plain = plain_network(c, f.weights);
      const int   N = (int)c->width[c->depth - 1], n_patch = plain.n_feature / N, r = (int)c->n_output * n_patch;

      measure(&f);
      for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++) {
          double sum = 0.0;

          for (int a = 0; a < N; a++)
            sum += plain_moment(&plain, c, (FwPotentialKind)kind, i / n_patch, i % n_patch * N + a, j / n_patch,
                                j % n_patch * N + a);
          assert_close(measured[FW_MEASURE_READOUT_GRAM][i * r + j], sum / N, 1e-11);
        }
      forget();
      fixture_destroy(&f);
    }
}

/* What readout weight `at` adds to g of channel a and path p of layer l, by its definition. The weights of layer l + 1 begin at
   theta + first[l + 1] */
static double plain_path(const Case *c, const double theta[], const int first[], int l, int n_top, int p, int a, int at)
{
  const int N   = (int)c->width[l];
  double    sum = 0.0;

  if (l == c->depth - 1) return at == p * N + a;
  const int n_above = (int)c->width[l + 1], n_tap = (int)PetscSqr(c->upper_mask[l]);
  int       n_path = n_top;

  for (int k = l + 2; k < c->depth; k++) n_path *= (int)PetscSqr(c->upper_mask[k - 1]);
  for (int b = 0; b < n_above; b++)
    sum += plain_path(c, theta, first, l + 1, n_top, p % n_path, b, at) *
           theta[first[l + 1] + (b * n_tap + p / n_path) * N + a] / sqrt(n_above);
  return sum;
}

/* E[v v^T] between all readout weights of two outputs, [n, n] */
static void plain_moments(const Plain *plain, const Case *c, FwPotentialKind kind, int d, int e, double *moment)
{
  const int n = plain->n_feature;

  for (int s = 0; s < n; s++)
    for (int t = 0; t < n; t++) moment[s * n + t] = plain_moment(plain, c, kind, d, s, e, t);
}

/* Entry (p, q) of Q_l between two outputs of that moment */
static double plain_path_gram(const Case *c, const double theta[], const int first[], int l, int n_top, int n,
                              const double moment[], int p, int q)
{
  double left[FEATURE_MAX], right[FEATURE_MAX], sum = 0.0;

  for (int a = 0; a < (int)c->width[l]; a++) {
    for (int s = 0; s < n; s++) {
      left[s]  = plain_path(c, theta, first, l, n_top, p, a, s);
      right[s] = plain_path(c, theta, first, l, n_top, q, a, s);
    }
    for (int s = 0; s < n; s++)
      for (int t = 0; t < n; t++) sum += left[s] * moment[s * n + t] * right[t] / c->width[l];
  }
  return sum;
}

/* Some entries of the Gram matrices of one case */
static void check_paths(const Case *c, FwPotentialKind kind)
{
  Fixture       f     = fixture_create(PETSC_COMM_SELF, c, kind);
  const Plain   plain = plain_network(c, f.weights);
  const int     n = plain.n_feature, L = (int)c->depth, n_top = n / (int)c->width[L - 1];
  PetscInt      n_layer, n_row[DEPTH_MAX];
  int           first[DEPTH_MAX] = {0};
  const double *gram;
  static double moment[FEATURE_MAX * FEATURE_MAX];

  first[1] = (int)(c->width[0] * 2.0 * (double)(c->mask[0] * c->mask[1]));
  for (int l = 2; l < L; l++)
    first[l] = first[l - 1] + (int)(c->width[l - 1] * c->width[l - 2] * (double)PetscSqr(c->upper_mask[l - 2]));
  TestCall(FwPotentialGramSizes(f.potential, &n_layer, n_row));
  assert_int_equal(n_layer, L);
  measure(&f);
  gram = measured[FW_MEASURE_PATH_GRAM];
  for (int l = 0; l < L - 1; gram += PetscSqr(n_row[l]), l++)
    for (int k = 0; k < 24; k++) {
      const int r = (int)n_row[l], n_path = r / (int)c->n_output, i = 7 * k % r, j = (11 * k + k / 5) % r;

      plain_moments(&plain, c, kind, i / n_path, j / n_path, moment);
      assert_close(gram[i * r + j], plain_path_gram(c, f.weights, first, l, n_top, n, moment, i % n_path, j % n_path),
                   1e-11);
    }
  forget();
  fixture_destroy(&f);
}

static void path_gram_is_the_second_moment_of_what_multiplies_a_layer(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++)
    if (cases[k].depth > 1 && (cases[k].type == FW_NETWORK_CNN || cases[k].type == FW_NETWORK_POOL))
      for (int kind = 0; kind < 2; kind++) check_paths(&cases[k], (FwPotentialKind)kind);
}

static void hidden_gram_and_weight_covariance_are_plain_averages(void **state)
{
  (void)state;
  for (int k = 0; k < N_CASE; k++) {
    const Case *c     = &cases[k];
    Fixture     f     = fixture_create(PETSC_COMM_SELF, c, FW_POTENTIAL_COLLAPSED);
    const Plain plain = plain_network(c, f.weights);
    double      trace = 0.0;

    measure(&f);
    for (int i = 0; i < P; i++)
      for (int j = 0; j < P; j++) {
        const double gram = prior[c->depth] * (plain_kernel(&plain, i, j) - c->bias[c->depth]);

        assert_close(measured[FW_MEASURE_HIDDEN_GRAM][i * P + j], gram, 1e-12);
        if (i == j) trace += gram / P;
      }
    assert_close(measured[FW_MEASURE_HIDDEN_TRACE][0], trace, 1e-12);
    fixture_destroy(&f);
    forget();
  }
}

static void weight_covariance_is_that_of_the_rows_without_bias(void **state)
{
  const Case *c     = &cases[2];
  Fixture     f     = fixture_create(PETSC_COMM_SELF, c, FW_POTENTIAL_FULL);
  double      trace = 0.0;

  (void)state;
  measure(&f);
  for (int i = 0; i < INPUTS; i++)
    for (int j = 0; j < INPUTS; j++) {
      double sum = 0.0;

      for (int a = 0; a < 6; a++)
        sum += f.weights[a * (INPUTS + 1) + i] * f.weights[a * (INPUTS + 1) + j] / (6.0 * prior[0]);
      assert_close(measured[FW_MEASURE_WEIGHT_COVARIANCE][i * INPUTS + j], sum, 1e-13);
      if (i == j) trace += sum;
    }
  assert_close(measured[FW_MEASURE_WEIGHT_TRACE][0], trace, 1e-13);
  forget();
  fixture_destroy(&f);
}

/* The same network as a fully-connected one, whose inputs are rotated, and of filters that see the whole image, and then the
   only position, whose are not */
static void assert_filters_of_the_whole_image_agree(const Case *dense)
{
  Case patch = *dense;

  patch.type    = FW_NETWORK_CNN;
  patch.mask[0] = 4, patch.mask[1] = 6, patch.stride[0] = patch.stride[1] = 1;
  patch.upper_mask[0] = patch.upper_stride[0] = 1;
  for (int kind = 0; kind < 2; kind++) {
    Fixture f = fixture_create(PETSC_COMM_SELF, dense, (FwPotentialKind)kind);
    Fixture g = fixture_create(PETSC_COMM_SELF, &patch, (FwPotentialKind)kind);

    assert_int_equal(f.n, g.n);
    TestCall(PetscArraycpy(g.theta, f.weights, f.n));
    assert_close(energy_at(&f, f.gradient), energy_at(&g, g.gradient), 1e-13);
    TestCall(FwPotentialGetWeights(f.potential, f.gradient, f.weights)); /* a gradient turns as weights do */
    for (PetscInt i = 0; i < f.n; i++) assert_close(f.weights[i], g.gradient[i], 1e-11);
    fixture_destroy(&f);
    fixture_destroy(&g);
  }
}

static void filters_of_the_whole_image_are_a_fully_connected_network(void **state)
{
  (void)state;
  assert_filters_of_the_whole_image_agree(&cases[0]);
  assert_filters_of_the_whole_image_agree(&cases[5]);
}

static void overflow_makes_the_energy_infinite(void **state)
{
  const double huge[] = {1e200, NAN};

  (void)state;
  for (int kind = 0; kind < 2; kind++)
    for (int h = 0; h < 2; h++) {
      Case    c = cases[h];
      Fixture f;

      c.activation[0] = FW_ACTIVATION_QUADRATIC;
      f               = fixture_create(PETSC_COMM_SELF, &c, (FwPotentialKind)kind);
      f.theta[3]      = huge[h];
      assert_close(isinf(energy_at(&f, f.gradient)), 1, 0.0);
      fixture_destroy(&f);
    }
}

static void assert_network_refused(const Case *c, double t, const char words[])
{
  FwModel        model    = model_of(c);
  FwExamples     examples = examples_of(PETSC_COMM_SELF, c);
  FwPotential    potential;
  PetscErrorCode code;

  model.temperature = t;
  code              = FwPotentialCreate(PETSC_COMM_SELF, &model, &examples, FW_POTENTIAL_FULL, &potential);
  if (!strstr(FwErrorMessage(), words)) print_error("'%s' does not say '%s'\n", FwErrorMessage(), words);
  assert_close(code == FW_ERR_INPUT && strstr(FwErrorMessage(), words), 1, 0.0);
  FwErrorClear();
  TestCall(FwExamplesDestroy(&examples));
}

static void networks_without_a_posterior_are_refused(void **state)
{
  Case biased = cases[7], large = cases[7], upper = cases[13];

  (void)state;
  biased.bias[0]      = 1.0;
  large.mask[0]       = 5;
  upper.upper_mask[1] = 3;
  assert_network_refused(&cases[0], 0.0, "temperature");
  assert_network_refused(&biased, 1.0, "network_bias");
  assert_network_refused(&large, 1.0, "network_mask");
  assert_network_refused(&upper, 1.0, "network_upper_mask");
}

static int set_up(void **state)
{
  FwExamples e;

  (void)state;
  data = open_data("-data_source teacher -teacher_inputs 48 -data_train 13 -data_test 5");
  TestCall(FwExamplesCreate(data, PETSC_COMM_SELF, &e));
  memcpy(x, e.train.x, sizeof(double[P][INPUTS]));
  memcpy(x + P, e.test.x, sizeof(double[P_TEST][INPUTS]));
  TestCall(FwExamplesDestroy(&e));
  FwStreamNormal(FwStreamCreate(5, FW_RANDOM_TEACHER_NOISE, 0, 0, 0), 0, P * OUTPUT_MAX, y);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  TestCall(FwDatasetDestroy(&data));
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(energy_equals_that_of_a_network_in_loops),
    cmocka_unit_test(gradient_is_the_derivative_of_the_energy),
    cmocka_unit_test(gradient_is_right_for_every_activation),
    cmocka_unit_test(a_wrong_gradient_is_caught),
    cmocka_unit_test(predictions_equal_a_gaussian_process_on_the_features),
    cmocka_unit_test(outputs_of_all_weights_are_those_in_loops),
    cmocka_unit_test(readout_gram_is_the_conditional_second_moment),
    cmocka_unit_test(path_gram_is_the_second_moment_of_what_multiplies_a_layer),
    cmocka_unit_test(filters_of_the_whole_image_are_a_fully_connected_network),
    cmocka_unit_test(hidden_gram_and_weight_covariance_are_plain_averages),
    cmocka_unit_test(weight_covariance_is_that_of_the_rows_without_bias),
    cmocka_unit_test(overflow_makes_the_energy_infinite),
    cmocka_unit_test(networks_without_a_posterior_are_refused),
  };
  int failed;

  TestCall(FwStart(argc, argv, NULL));
  failed = cmocka_run_group_tests(tests, set_up, tear_down);
  return FwFinish(PETSC_SUCCESS) || failed;
}
