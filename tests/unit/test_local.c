/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Kernels between patches, the action of convolutional and locally-connected networks, and its minima: against plain
 * loops, against differences of S, against the reference file, and under the exact invariances.
 *
 * ranks: 1 2 3 4
 */

#include <finwidth/activation.h>
#include <finwidth/local_learnt.h>
#include <finwidth/local_observables.h>
#include <finwidth/local_saddle.h>
#include "../support/image_dataset.h"

enum { P_TEST = 10, PATCH_MAX = 9 };

typedef struct {
  const char      *name;
  FwNetworkType    type;
  FwActivationType activation;
  PetscBool        is_centred;
  int              image[3]; /* channels, height, width */
  PetscInt         mask[2], stride[2];
  int              n_train;
  double           width, temperature, prior0, prior1;
  int              n_patch;
  double           action_at_one, action_at_test, slope_first, slope_corner, action, order_first, order_corner;
} Case;

/* Rows of tests/reference/convolutional.json; slopes at the test point, Q = 1 + 11^T / 10 (its diagonal for lcn) */
static const Case cases[] = {
  {"cnn_erf_1d",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 1, 12},
   {4, 4},
   {4, 4},
   12, 10,
   0.1,  1.0,
   1.0, 3,
   4.789610658340344,  4.849256365900667,
   -0.1701858632346351,
   -0.018346318778440146,
   4.645983542453418,                                             1.1795404651713235,
   0.13367075505186343                                                                                    },
  {"cnn_erf_2d_4x4",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 4, 4},
   {2, 2},
   {2, 2},
   15, 20,
   0.01, 1.0,
   1.0, 4,
   7.389582740659383,  7.237012048809276,
   -0.5270746081666463,
   0.2790772186186335,                        6.510264329898895,
   1.438968733496346,                                                                 -0.175460335427414  },
  {"cnn_erf_1d_stride1",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 1, 8},
   {4, 4},
   {1, 1},
   16, 8,
   0.05, 1.0,
   1.0, 5,
   9.121659831729978,  9.184978246538822,
   -0.25836595534041185,
   0.11537185147196913,                       8.84360607626067,
   1.3475560466814163,                                                                -0.08874293045296269},
  {"cnn_id_2d",
   FW_NETWORK_CNN, FW_ACTIVATION_LINEAR,
   PETSC_FALSE, {1, 4, 4},
   {2, 2},
   {2, 2},
   20, 5,
   0.1,  1.0,
   1.0, 4,
   11.844289821618295, 11.914587391200673,
   0.46542827039678875,  0.06134320959488812,
   11.480776807765505,                                            0.6851915612869168,
   -0.034962577486586266                                                                                  },
  {"cnn_relu_central",
   FW_NETWORK_CNN, FW_ACTIVATION_RELU,
   PETSC_FALSE, {1, 4, 4},
   {2, 2},
   {2, 2},
   15, 10,
   0.1,  1.0,
   1.0, 4,
   6.972008900112961,  6.950417129577524,
   -0.09423314972104302,
   0.2694608272994729,                        6.3330315083228585,
   1.1307427887079642,                                                                -0.1992233798855025 },
  {"lcn_erf_2d",
   FW_NETWORK_LCN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 4, 4},
   {2, 2},
   {2, 2},
   15, 20,
   0.01, 1.0,
   1.0, 4,
   7.389582740659385,  7.139384406293988,
   -0.5195921000228999,
   0.0,                                       6.678487234994021,
   1.499470596613756,                                                                 0.0                 },
  {"lcn_id_2d",
   FW_NETWORK_LCN, FW_ACTIVATION_LINEAR,
   PETSC_FALSE, {1, 4, 4},
   {2, 2},
   {2, 2},
   20, 5,
   0.1,  1.0,
   1.0, 4,
   11.844289821618299, 11.863651327051151,
   0.4846556587776685,   0.0,
   11.615868380576986,                                            0.7037959729711536,
   0.0                                                                                                    },
  {"fc_limit_erf",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 4, 4},
   {4, 4},
   {4, 4},
   15, 20,
   0.01, 1.0,
   1.0, 1,
   4.208433883372065,  3.952298333983183,
   -2.3077710484262246,
   -2.3077710484262246,
   2.9814184479409063,                                            2.30594500312064,
   2.30594500312064                                                                                       },
  {"cnn_erf_rect",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 4, 6},
   {2, 3},
   {2, 3},
   15, 10,
   0.1,  1.0,
   1.0, 4,
   6.329240651280289,  6.1348824792726795,
   -0.05369975228529669,
   -0.014116040596252544,
   5.996263821184026,                                             1.1443619064828838,
   0.11896860907458949                                                                                    },
  {"cnn_erf_8x8_n9",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {1, 8, 8},
   {4, 4},
   {2, 2},
   40, 15,
   0.1,  1.0,
   1.0, 9,
   11.648771180774254, 11.913792216606435,
   0.017287217058307783, 0.10922494427148938,
   11.415099582227466,                                            1.0175975228853822,
   -0.050546772208744276                                                                                  },
  {"cnn_relu_noncentral",
   FW_NETWORK_CNN, FW_ACTIVATION_RELU,
   PETSC_TRUE,  {1, 4, 4},
   {2, 2},
   {2, 2},
   15, 10,
   0.1,  1.0,
   1.0, 4,
   6.972008900112962,  6.9266303443314765,
   -0.1043036705380331,
   0.26326205339843506,                       6.314059781267137,
   1.144297096008341,                                                                 -0.18825871276920164},
  {"cnn_erf_2ch_priors",
   FW_NETWORK_CNN, FW_ACTIVATION_ERF,
   PETSC_FALSE, {2, 4, 4},
   {2, 2},
   {2, 2},
   15, 10,
   0.1,  1.5,
   0.7, 4,
   5.77215824307613,   5.7530146656735655,
   -0.15011891765181878,
   0.05495351722808168,                       5.658759473427429,
   1.2453279961707604,                                                                0.02944200843823086 },
};

enum { N_CASE = sizeof cases / sizeof *cases };

static FwGrid grid;

/* --- a network on images ------------------------------------------------------------------------------------ */

typedef struct {
  FwModel       model;
  double        width[1], prior[2], bias[2];
  PetscInt      activation[1];
  FwDataset     data;
  FwPatchImages images;
  FwPatchKernel kernel;
  FwLocalAction action;
} Network;

static void open_outputs(const Case *c, int n_output, const double x[], const double y[], double store_bytes,
                         Network *n)
{
  const FwPatchForm form = c->type == FW_NETWORK_LCN ? FW_PATCH_DIAGONAL
                           : n_output > 1            ? FW_PATCH_ORDERED
                                                     : FW_PATCH_PAIRS;
  const FwPatchPlan plan = {
    .form = form, .is_centred = c->is_centred, .n_output = n_output, .store_bytes = store_bytes};
  const double *targets;

  *n = (Network){
    .model      = {.type = c->type,                .depth = 1, .temperature = c->temperature},
    .width      = {c->width},
    .prior      = {c->prior0,                       c->prior1},
    .activation = {(PetscInt)c->activation                     }
  };
  n->model.width      = n->width;
  n->model.prior      = n->prior;
  n->model.bias       = n->bias;
  n->model.activation = n->activation;
  for (int d = 0; d < 2; d++) n->model.mask[d] = c->mask[d];
  for (int d = 0; d < 2; d++) n->model.stride[d] = c->stride[d];
  n->data = dataset_from_outputs(c->n_train, P_TEST, c->image[0], c->image[1], c->image[2], n_output, x, y);
  TestCall(FwPatchImagesCreate(PETSC_COMM_WORLD, &n->model, n->data, &n->images));
  TestCall(FwPatchKernelCreate(grid, n->images, &plan, &n->kernel));
  TestCall(FwDatasetGetTargets(n->data, FW_TRAIN, &targets));
  TestCall(FwLocalActionCreate(n->kernel, targets, &n->action));
  TestCall(FwLocalActionSetModel(n->action, &n->model));
}

static void open_network(const Case *c, const double x[], const double y[], double store_bytes, Network *n)
{
  open_outputs(c, 1, x, y, store_bytes, n);
}

static void close_network(Network *n)
{
  TestCall(FwLocalActionDestroy(&n->action));
  TestCall(FwPatchKernelDestroy(&n->kernel));
  TestCall(FwPatchImagesDestroy(&n->images));
  TestCall(FwDatasetDestroy(&n->data));
}

static void make_images(const Case *c, double **x, double **y)
{
  const int n_input = c->image[0] * c->image[1] * c->image[2], n = c->n_train + P_TEST;

  TestCall(PetscMalloc2(n * n_input, x, n, y));
  fill_images(n, n_input, *x, *y);
}

static void open_case(const Case *c, double store_bytes, Network *n)
{
  double *x, *y;

  make_images(c, &x, &y);
  open_network(c, x, y, store_bytes, n);
  TestCall(PetscFree2(x, y));
}

static const double keep_all = 1e9;

/* --- kernels ------------------------------------------------------------------------------------------------ */

/* sum_ij q_ij K_ij between two images, from the definition */
static double plain_kernel(const Case *c, const FwPatches *p, const double q[], const double x[], const double z[])
{
  double       u[64], v[64], sum = 0.0;
  FwActivation phi;

  TestCall(FwActivationGet(c->activation, &phi));
  for (PetscInt i = 0; i < p->n_patch; i++)
    for (PetscInt j = 0; j < p->n_patch; j++) {
      double   abc[3] = {0.0, 0.0, 0.0}, k, mean[2];
      FwPoints row, column;

      FwPatchesExtract(p, i, x, u);
      FwPatchesExtract(p, j, z, v);
      for (PetscInt m = 0; m < p->n_pixel; m++) {
        abc[0] += u[m] * u[m] / (c->prior0 * p->n_pixel);
        abc[1] += u[m] * v[m] / (c->prior0 * p->n_pixel);
        abc[2] += v[m] * v[m] / (c->prior0 * p->n_pixel);
      }
      TestCall(FwPointsCreate(phi, 1, &abc[0], &row));
      TestCall(FwPointsCreate(phi, 1, &abc[2], &column));
      TestCall(FwActivationMap(phi, FW_MAP_VALUE, row, 0, 1, column, 0, &abc[1], &k));
      TestCall(FwPointsDestroy(&row));
      TestCall(FwPointsDestroy(&column));
      TestCall(FwActivationMean(phi, 1, &abc[0], &mean[0]));
      TestCall(FwActivationMean(phi, 1, &abc[2], &mean[1]));
      sum += q[i * p->n_patch + j] * (k - (c->is_centred ? mean[0] * mean[1] : 0.0));
      if (i == j && c->is_centred) sum += mean[0] * mean[1];
    }
  return sum / (c->prior1 * p->n_patch);
}

static void fill_order(const Case *c, double order[])
{
  const int n = c->n_patch;

  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++)
      order[i * n + j] = i == j                      ? 1.0 + 0.1 * i
                         : c->type == FW_NETWORK_LCN ? 0.0
                                                     : 0.2 * cos(1.0 + (i + j) + 2.0 * i * j);
}

static void check_kernels(const Case *c)
{
  const int        n_input = c->image[0] * c->image[1] * c->image[2], n = c->n_train;
  double           order[PATCH_MAX * PATCH_MAX], coefficient[64], *x, *y, *train, *cross, diagonal[P_TEST];
  const FwPatches *p;
  FwMatrix         matrix;
  Network          network;

  make_images(c, &x, &y);
  open_network(c, x, y, keep_all, &network);
  p = FwPatchImagesPatches(network.images);
  assert_close(p->n_patch, c->n_patch, 0);
  TestCall(PetscMalloc2(n * n, &train, n * P_TEST, &cross));
  fill_order(c, order);
  TestCall(FwLocalActionCoefficients(network.action, order, coefficient));
  TestCall(FwPatchKernelTrain(network.kernel, coefficient, &matrix));
  TestCall(FwMatrixGather(matrix, train));
  TestCall(FwMatrixDestroy(&matrix));
  TestCall(FwPatchKernelCross(network.kernel, FW_TEST, 1, coefficient, &matrix));
  TestCall(FwMatrixGather(matrix, cross));
  TestCall(FwMatrixDestroy(&matrix));
  TestCall(FwPatchKernelDiagonal(network.kernel, FW_TEST, 1, coefficient, diagonal));
  for (int a = 0; a < n; a++)
    for (int b = 0; b <= a; b++)
      assert_close(train[a + b * n], plain_kernel(c, p, order, x + a * n_input, x + b * n_input), 1e-13);
  for (int a = 0; a < n; a++)
    for (int t = 0; t < P_TEST; t++)
      assert_close(cross[a + t * n], plain_kernel(c, p, order, x + a * n_input, x + (n + t) * n_input), 1e-13);
  for (int t = 0; t < P_TEST; t++)
    assert_close(diagonal[t], plain_kernel(c, p, order, x + (n + t) * n_input, x + (n + t) * n_input), 1e-13);
  TestCall(PetscFree2(train, cross));
  TestCall(PetscFree2(x, y));
  close_network(&network);
}

static void kernels_of_patches_follow_their_definition(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i++) check_kernels(&cases[i]);
}

static void what_is_kept_and_what_is_computed_again_have_the_same_bits(void **state)
{
  const double bytes[] = {keep_all, 0.0, 9000.0, 20000.0};
  double       order[PATCH_MAX * PATCH_MAX], reference = 0.0;

  (void)state;
  fill_order(&cases[0], order);
  for (int i = 0; i < 4; i++) {
    Network      network;
    FwLocalPoint point;

    open_case(&cases[0], bytes[i], &network);
    TestCall(FwLocalPointCreate(network.action, &point));
    for (int again = 0; again < 2; again++) {
      TestCall(FwLocalActionEvaluate(network.action, order, &point));
      if (i + again == 0) reference = point.value + point.trace[1] + point.quadratic[1];
      assert_close(point.value + point.trace[1] + point.quadratic[1], reference, 0.0);
    }
    TestCall(FwLocalPointDestroy(&point));
    close_network(&network);
  }
}

/* --- action ------------------------------------------------------------------------------------------------- */

/* The slope of the data's part of S along Q_ij, both triangles apart */
static double slope_at(const Case *c, const FwLocalPoint *point, int i, int j)
{
  return (point->trace[i * c->n_patch + j] - point->quadratic[i * c->n_patch + j]) / c->width;
}

/* At Q = 1 + 11^T / 10 the inverse is 1 - 11^T / (10 + n); of lcn Q = 1.1 */
static void the_action_and_its_slopes_are_those_of_the_reference_file(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i++) {
    const Case  *c = &cases[i];
    const int    n = c->n_patch;
    double       order[PATCH_MAX * PATCH_MAX];
    Network      network;
    FwLocalPoint point;

    open_case(c, keep_all, &network);
    TestCall(FwLocalPointCreate(network.action, &point));
    for (int k = 0; k < n * n; k++) order[k] = k % (n + 1) == 0 ? 1.0 : 0.0;
    TestCall(FwLocalActionEvaluate(network.action, order, &point));
    assert_close(point.value, c->action_at_one, 1e-11);
    for (int k = 0; k < n * n; k++) order[k] += c->type == FW_NETWORK_LCN && k % (n + 1) ? 0.0 : 0.1;
    TestCall(FwLocalActionEvaluate(network.action, order, &point));
    assert_close(point.value, c->action_at_test, 1e-11);
    if (c->type == FW_NETWORK_LCN)
      assert_close(1.0 - 1.0 / 1.1 + slope_at(c, &point, 0, 0), c->slope_first, 1e-10);
    else
      assert_close(1.0 / (10.0 + n) + slope_at(c, &point, 0, 0), c->slope_first, 1e-10);
    if (c->type == FW_NETWORK_CNN)
      assert_close(1.0 / (10.0 + n) + slope_at(c, &point, 0, n - 1), c->slope_corner, 1e-10);
    TestCall(FwLocalPointDestroy(&point));
    close_network(&network);
  }
}

static void slopes_are_differences_of_the_action(void **state)
{
  const double step = 1e-4;

  (void)state;
  for (int k = 0; k < N_CASE; k++) {
    const Case  *c = &cases[k];
    const int    n = c->n_patch, i = 0, j = c->type == FW_NETWORK_LCN ? 0 : n - 1;
    double       order[PATCH_MAX * PATCH_MAX], difference = 0.0, slope;
    Network      network;
    FwLocalPoint point;

    open_case(c, keep_all, &network);
    TestCall(FwLocalPointCreate(network.action, &point));
    fill_order(c, order);
    TestCall(FwLocalActionEvaluate(network.action, order, &point));
    slope = (i == j ? 1.0 : 2.0) * slope_at(c, &point, i, j);
    for (int s = -2; s <= 2; s++) {
      const double weight[5] = {1.0 / 12.0, -2.0 / 3.0, 0.0, 2.0 / 3.0, -1.0 / 12.0};

      fill_order(c, order);
      order[i * n + j] += s * step;
      if (i != j) order[j * n + i] += s * step;
      TestCall(FwLocalActionEvaluate(network.action, order, &point));
      difference += weight[s + 2] * (point.log_det + point.fit) / (c->width * step);
    }
    assert_close(difference, slope, 1e-9);
    TestCall(FwLocalPointDestroy(&point));
    close_network(&network);
  }
}

/* --- minima ------------------------------------------------------------------------------------------------- */

static void find(Network *network, PetscInt n_start, FwLocalSaddle *saddle)
{
  double start[8 * PATCH_MAX * PATCH_MAX];

  TestCall(FwLocalStarts(network->action, 1, n_start, start));
  TestCall(FwLocalSaddleFind(network->action, n_start, start, saddle));
}

static void minima_are_those_of_the_reference_file(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i++) {
    const Case   *c = &cases[i];
    Network       network;
    FwLocalSaddle saddle;

    open_case(c, keep_all, &network);
    find(&network, 3, &saddle);
    print_message("%s: %d evaluations of %d starts, stationarity %g, sum rule %g\n", c->name, (int)saddle.n_evaluation,
                  (int)saddle.n_start, saddle.minimum[0].point.stationarity, saddle.minimum[0].point.sum_rule);
    assert_close(saddle.is_converged, 1, 0);
    assert_close(saddle.n_minimum, 1, 0);
    assert_close(saddle.minimum[0].point.value, c->action, 1e-11);
    assert_close(saddle.minimum[0].order[0], c->order_first, 1e-9);
    assert_close(saddle.minimum[0].order[c->n_patch - 1], c->order_corner, 1e-9);
    assert_close(saddle.minimum[0].point.sum_rule, 0.0, 1e-9);
    TestCall(FwLocalSaddleDestroy(&saddle));
    close_network(&network);
  }
}

static void the_plain_step_never_raises_the_action(void **state)
{
  const Case *c = &cases[1];
  const int   n = c->n_patch;

  (void)state;
  for (int s = 1; s <= 4; s++) {
    double       order[5 * PATCH_MAX * PATCH_MAX], next[PATCH_MAX * PATCH_MAX], before = INFINITY;
    Network      network;
    FwLocalPoint point;

    open_case(c, keep_all, &network);
    TestCall(FwLocalPointCreate(network.action, &point));
    TestCall(FwLocalStarts(network.action, 7, 5, order));
    for (int i = 0; i < n * n; i++) order[i] = order[s * n * n + i];
    for (int i = 0; i < 10; i++) {
      TestCall(FwLocalActionEvaluate(network.action, order, &point));
      assert_close(point.value <= before + 1e-12 * fabs(before), 1, 0);
      before = point.value;
      TestCall(FwLocalActionStep(network.action, order, &point, next));
      for (int k = 0; k < n * n; k++) order[k] = next[k];
    }
    TestCall(FwLocalPointDestroy(&point));
    close_network(&network);
  }
}

/* The first order in 1/N is Q = 1 - G(1) / N */
static void wide_networks_follow_the_first_order_in_one_over_width(void **state)
{
  Case          c = cases[1];
  const int     n = c.n_patch;
  double        one[PATCH_MAX * PATCH_MAX];
  Network       network;
  FwLocalPoint  point;
  FwLocalSaddle saddle;

  (void)state;
  c.width = 1e5;
  open_case(&c, keep_all, &network);
  TestCall(FwLocalPointCreate(network.action, &point));
  for (int k = 0; k < n * n; k++) one[k] = k % (n + 1) == 0 ? 1.0 : 0.0;
  TestCall(FwLocalActionEvaluate(network.action, one, &point));
  find(&network, 1, &saddle);
  for (int k = 0; k < n * n; k++)
    assert_close(c.width * (saddle.minimum[0].order[k] - one[k]), point.quadratic[k] - point.trace[k], 2e-2);
  TestCall(FwLocalSaddleDestroy(&saddle));
  TestCall(FwLocalPointDestroy(&point));
  close_network(&network);
}

/* --- invariances -------------------------------------------------------------------------------------------- */

/* Apply a change to every 2 x 2 patch of 4 x 4 images */
typedef void Change(int patch, double pixel[4]);

static void change_patches(int n, double x[], Change *change)
{
  for (int a = 0; a < n; a++)
    for (int i = 0; i < 4; i++) {
      double *corner = x + a * 16 + i / 2 * 8 + i % 2 * 2, pixel[4] = {corner[0], corner[1], corner[4], corner[5]};

      change(i, pixel);
      corner[0] = pixel[0];
      corner[1] = pixel[1];
      corner[4] = pixel[2];
      corner[5] = pixel[3];
    }
}

static void rotate(double angle, double pixel[4])
{
  for (int k = 0; k < 4; k += 2) {
    const double u = pixel[k], v = pixel[k + 1];

    pixel[k]     = cos(angle) * u - sin(angle) * v;
    pixel[k + 1] = sin(angle) * u + cos(angle) * v;
  }
}

static void rotate_alike(int patch, double pixel[4])
{
  (void)patch;
  rotate(0.7, pixel);
}

static void rotate_each(int patch, double pixel[4])
{
  rotate(0.7 * patch, pixel);
}

static void flip_second(int patch, double pixel[4])
{
  for (int k = 0; k < 4; k++) pixel[k] *= patch == 1 ? -1.0 : 1.0;
}

/* Order parameters of a 4 x 4 case with changed patches and labels */
static void solve_changed(const Case *c, Change *change, double label_sign, double order[16])
{
  double       *x, *y;
  Network       network;
  FwLocalSaddle saddle;

  make_images(c, &x, &y);
  if (change) change_patches(c->n_train + P_TEST, x, change);
  for (int a = 0; a < c->n_train + P_TEST; a++) y[a] *= label_sign;
  open_network(c, x, y, keep_all, &network);
  find(&network, 1, &saddle);
  for (int k = 0; k < 16; k++) order[k] = saddle.minimum[0].order[k];
  TestCall(FwLocalSaddleDestroy(&saddle));
  close_network(&network);
  TestCall(PetscFree2(x, y));
}

enum { CNN_4X4 = 1, LCN_4X4 = 5 }; /* rows of the table */

static double largest_change(const double a[16], const double b[16])
{
  double largest = 0.0;

  for (int k = 0; k < 16; k++) largest = fmax(largest, fabs(a[k] - b[k]));
  return largest;
}

static void a_rotation_of_all_patches_alike_changes_nothing(void **state)
{
  double before[16], after[16];

  (void)state;
  solve_changed(&cases[CNN_4X4], NULL, 1.0, before);
  solve_changed(&cases[CNN_4X4], rotate_alike, 1.0, after);
  assert_close(largest_change(before, after), 0.0, 1e-10);
}

static void rotating_each_patch_leaves_lcn_and_changes_cnn(void **state)
{
  double before[16], after[16];

  (void)state;
  solve_changed(&cases[LCN_4X4], NULL, 1.0, before);
  solve_changed(&cases[LCN_4X4], rotate_each, 1.0, after);
  assert_close(largest_change(before, after), 0.0, 1e-10);
  solve_changed(&cases[CNN_4X4], NULL, 1.0, before);
  solve_changed(&cases[CNN_4X4], rotate_each, 1.0, after);
  assert_close(largest_change(before, after) > 1e-2, 1, 0); /* the negative control */
}

static void flipping_a_patch_flips_signs_of_its_row(void **state)
{
  double before[16], after[16];

  (void)state;
  solve_changed(&cases[CNN_4X4], NULL, 1.0, before);
  solve_changed(&cases[CNN_4X4], flip_second, 1.0, after);
  for (int k = 0; k < 16; k++) before[k] *= (k / 4 == 1) != (k % 4 == 1) ? -1.0 : 1.0;
  assert_close(largest_change(before, after), 0.0, 1e-10);
}

static void flipping_all_labels_changes_nothing(void **state)
{
  double before[16], after[16];

  (void)state;
  solve_changed(&cases[CNN_4X4], NULL, 1.0, before);
  solve_changed(&cases[CNN_4X4], NULL, -1.0, after);
  assert_close(largest_change(before, after), 0.0, 1e-12);
}

/* --- learning on other examples ----------------------------------------------------------------------------- */

typedef struct {
  Network       network;
  FwPatchCross  cross;
  const double *y; /* [P_TEST][n_output] */
} Lesson;

/* The test examples are learnt from; `store_bytes` for either store */
static void open_lesson(const Case *c, int n_output, double store_bytes, Lesson *l)
{
  const int n_input = c->image[0] * c->image[1] * c->image[2], n = c->n_train + P_TEST;
  double   *x, *one, *y;

  TestCall(PetscMalloc3(n * n_input, &x, n, &one, n * n_output, &y));
  fill_images(n, n_input, x, one);
  for (int a = 0; a < n; a++)
    for (int d = 0; d < n_output; d++) y[a * n_output + d] = d ? x[a * n_input + d] * x[a * n_input + d + 3] : one[a];
  open_outputs(c, n_output, x, y, store_bytes, &l->network);
  TestCall(PetscFree3(x, one, y));
  TestCall(FwPatchCrossCreate(l->network.kernel, FW_TEST, store_bytes, &l->cross));
  TestCall(FwDatasetGetTargets(l->network.data, FW_TEST, &l->y));
}

static void close_lesson(Lesson *l)
{
  TestCall(FwPatchCrossDestroy(&l->cross));
  close_network(&l->network);
}

static double validation_error(Lesson *l, const double order[])
{
  double value, slope[4 * PATCH_MAX * PATCH_MAX];

  TestCall(FwLocalLearntEvaluate(l->network.action, l->cross, l->y, order, &value, slope));
  return value;
}

/* From kernels between training and test examples that are made for predictions */
static void the_validation_error_is_that_of_the_predicted_mean(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i++) {
    const Case *c = &cases[i];
    double      order[PATCH_MAX * PATCH_MAX], coefficient[64], solved[64], mean[P_TEST], expected = 0.0;
    Lesson      l;
    FwCholesky  factor;
    FwMatrix    cross;

    open_lesson(c, 1, keep_all, &l);
    fill_order(c, order);
    TestCall(FwLocalActionFactor(l.network.action, order, &factor, solved));
    TestCall(FwCholeskyDestroy(&factor));
    TestCall(FwLocalActionCoefficients(l.network.action, order, coefficient));
    TestCall(FwPatchKernelCross(l.network.kernel, FW_TEST, 1, coefficient, &cross));
    TestCall(FwMatrixColumnSums(cross, 1, 1, solved, mean));
    TestCall(FwMatrixDestroy(&cross));
    for (int t = 0; t < P_TEST; t++) expected += PetscSqr(l.y[t] - mean[t]) / P_TEST;
    assert_close(validation_error(&l, order), expected, 1e-12 * expected);
    close_lesson(&l);
  }
}

/* Along Q_rs and Q_sr at once; a stencil of five points */
static void check_lesson(const Case *c, int n_output, double store_bytes)
{
  const int n = n_output * c->n_patch, pair[3][2] = {
                                         {0,     0             },
                                         {0,     n - 1         },
                                         {n - 1, c->n_patch - 1}
  };
  const double step = 1e-3, weight[5] = {1.0 / 12.0, -2.0 / 3.0, 0.0, 2.0 / 3.0, -1.0 / 12.0};
  double       order[4 * PATCH_MAX * PATCH_MAX], slope[4 * PATCH_MAX * PATCH_MAX], value;
  Lesson       l;

  open_lesson(c, n_output, store_bytes, &l);
  for (int r = 0; r < n; r++)
    for (int s = 0; s < n; s++)
      order[r * n + s] = !FwLocalActionCouples(l.network.action, r, s) ? 0.0
                         : r == s                                      ? 1.0 + 0.1 * r
                                                                       : 0.2 * cos(1.0 + (r + s) + 2.0 * r * s);
  TestCall(FwLocalLearntEvaluate(l.network.action, l.cross, l.y, order, &value, slope));
  for (int k = 0; k < 3; k++) {
    const int r = pair[k][0], s = pair[k][1];
    double    difference = 0.0;

    if (!FwLocalActionCouples(l.network.action, r, s)) continue;
    for (int m = -2; m <= 2; m++) {
      const double kept[2] = {order[r * n + s], order[s * n + r]};

      order[r * n + s] += m * step;
      if (r != s) order[s * n + r] += m * step;
      difference += weight[m + 2] * validation_error(&l, order) / step;
      order[r * n + s] = kept[0];
      order[s * n + r] = kept[1];
    }
    assert_close((r == s ? 1.0 : 2.0) * slope[r * n + s], difference, 1e-7 * (1.0 + fabs(difference)));
    assert_close(slope[r * n + s], slope[s * n + r], 0.0);
  }
  close_lesson(&l);
}

static void slopes_of_the_validation_error_are_its_differences(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i++) check_lesson(&cases[i], 1, i % 2 ? keep_all : 7000.0);
}

static void slopes_of_several_outputs_are_differences_too(void **state)
{
  (void)state;
  check_lesson(&cases[CNN_4X4], 2, keep_all);
  check_lesson(&cases[LCN_4X4], 2, 0.0);
}

/* No start is as good as the end, which is where it was sent from any; lcn keeps to its diagonal */
static void check_learning(const Case *c)
{
  const int     n = c->n_patch;
  double        start[3 * PATCH_MAX * PATCH_MAX];
  FwLocalLearnt learnt;
  Lesson        l;

  open_lesson(c, 1, keep_all, &l);
  TestCall(FwLocalStarts(l.network.action, 5, 3, start));
  TestCall(FwLocalLearn(l.network.action, l.cross, l.y, 3, start, &learnt));
  print_message("%s: L = %g, slope %g, %d steps, %d evaluations, start %d\n", c->name, learnt.value, learnt.slope,
                (int)learnt.n_step, (int)learnt.n_evaluation, (int)learnt.start);
  for (int s = 0; s < 3; s++) assert_close(validation_error(&l, start + s * n * n) > learnt.value, 1, 0);
  assert_close(validation_error(&l, learnt.order), learnt.value, 1e-9 * learnt.value);
  assert_close(learnt.is_converged, 1, 0);
  if (c->type == FW_NETWORK_LCN) assert_close(learnt.order[1], 0.0, 0.0);
  TestCall(FwLocalLearntDestroy(&learnt));
  close_lesson(&l);
}

static void learning_ends_below_every_start(void **state)
{
  (void)state;
  check_learning(&cases[0]);
  check_learning(&cases[LCN_4X4]);
  check_learning(&cases[7]); /* one patch: the scale alone */
}

static void pooled_patches_are_one(void **state)
{
  const FwPatchPlan plan = {.form = FW_PATCH_PAIRS, .n_output = 1, .store_bytes = keep_all};
  const Case       *c    = &cases[CNN_4X4];
  double            one  = 1.5, all[16], coefficient[16], *pooled, *summed;
  const double     *y;
  Network           n;
  FwModel           pool;
  FwPatchImages     images;
  FwPatchKernel     kernel;
  FwLocalAction     action;
  FwMatrix          matrix;

  (void)state;
  open_case(c, keep_all, &n);
  pool      = n.model;
  pool.type = FW_NETWORK_POOL;
  TestCall(PetscMalloc2(c->n_train * c->n_train, &pooled, c->n_train * c->n_train, &summed));
  TestCall(FwPatchImagesCreate(PETSC_COMM_WORLD, &pool, n.data, &images));
  TestCall(FwPatchKernelCreate(grid, images, &plan, &kernel));
  TestCall(FwDatasetGetTargets(n.data, FW_TRAIN, &y));
  TestCall(FwLocalActionCreate(kernel, y, &action));
  TestCall(FwLocalActionSetModel(action, &n.model));
  TestCall(FwLocalActionCoefficients(action, &one, coefficient));
  TestCall(FwPatchKernelTrain(kernel, coefficient, &matrix));
  TestCall(FwMatrixGather(matrix, pooled));
  TestCall(FwMatrixDestroy(&matrix));
  for (int k = 0; k < 16; k++) all[k] = 1.5 / 4.0; /* Q = q 11^T / n */
  TestCall(FwLocalActionCoefficients(n.action, all, coefficient));
  TestCall(FwPatchKernelTrain(n.kernel, coefficient, &matrix));
  TestCall(FwMatrixGather(matrix, summed));
  TestCall(FwMatrixDestroy(&matrix));
  for (int a = 0; a < c->n_train; a++)
    for (int b = 0; b <= a; b++) assert_close(pooled[a + b * c->n_train], summed[a + b * c->n_train], 1e-14);
  TestCall(PetscFree2(pooled, summed));
  TestCall(FwLocalActionDestroy(&action));
  TestCall(FwPatchKernelDestroy(&kernel));
  TestCall(FwPatchImagesDestroy(&images));
  close_network(&n);
}

/* --- observables -------------------------------------------------------------------------------------------- */

/* b <- a^-1 b for n columns, by elimination; a is destroyed */
static void eliminate(int n, double a[], double b[])
{
  for (int k = 0; k < n; k++)
    for (int i = 0; i < n; i++) {
      const double factor = a[i * n + k] / a[k * n + k];

      if (i == k) continue;
      for (int j = 0; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
      for (int j = 0; j < n; j++) b[i * n + j] -= factor * b[k * n + j];
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) b[i * n + j] /= a[i * n + i];
}

enum { P_SMALL = 12, N_SMALL = 3 }; /* the first row of the table */

/* K_ij between training examples and A^-1 - a a^T, from the definitions */
static void plain_matrices(const Case *c, const FwPatches *p, const double order[], const double x[], const double y[],
                           double kernel[N_SMALL][N_SMALL][P_SMALL * P_SMALL], double data[P_SMALL * P_SMALL])
{
  double a[P_SMALL * P_SMALL] = {0}, solved[P_SMALL] = {0};

  for (int i = 0; i < N_SMALL; i++)
    for (int j = 0; j < N_SMALL; j++) {
      double unit[N_SMALL * N_SMALL] = {0};

      unit[i * N_SMALL + j] = c->prior1 * N_SMALL;
      for (int m = 0; m < P_SMALL * P_SMALL; m++) {
        const int row = m / P_SMALL, column = m % P_SMALL;

        kernel[i][j][m] = plain_kernel(c, p, unit, x + row * 12, x + column * 12);
        a[m] += order[i * N_SMALL + j] * kernel[i][j][m] / (c->prior1 * N_SMALL);
        if (i + j == 0) data[m] = row == column ? 1.0 : 0.0;
        if (i + j == 0 && row == column) a[m] += c->temperature;
      }
    }
  eliminate(P_SMALL, a, data);
  for (int m = 0; m < P_SMALL * P_SMALL; m++) solved[m / P_SMALL] += data[m] * y[m % P_SMALL];
  for (int m = 0; m < P_SMALL * P_SMALL; m++) data[m] -= solved[m / P_SMALL] * solved[m % P_SMALL];
}

/* sum over u, v of left_au data_uv right_vb */
static double sandwich(const double left[], const double data[], const double right[], int a, int b)
{
  double sum = 0.0;

  for (int u = 0; u < P_SMALL; u++)
    for (int v = 0; v < P_SMALL; v++) sum += left[a * P_SMALL + u] * data[u * P_SMALL + v] * right[v * P_SMALL + b];
  return sum;
}

static void check_hidden_layer(const Case *c)
{
  static double      kernel[N_SMALL][N_SMALL][P_SMALL * P_SMALL];
  double             data[P_SMALL * P_SMALL], order[N_SMALL * N_SMALL], *x, *y;
  double             norm[3] = {0}, trace[2] = {0}, quadratic = 0.0, label2 = 0.0;
  Network            network;
  FwLocalObservables o;

  make_images(c, &x, &y);
  open_network(c, x, y, keep_all, &network);
  fill_order(c, order);
  plain_matrices(c, FwPatchImagesPatches(network.images), order, x, y, kernel, data);
  for (int m = 0; m < P_SMALL * P_SMALL; m++) {
    const int a = m / P_SMALL, b = m % P_SMALL;
    double    before = 0.0, change = 0.0;

    for (int i = 0; i < N_SMALL; i++) before += kernel[i][i][m] / N_SMALL;
    for (int i = 0; i < N_SMALL; i++)
      for (int k = 0; k < N_SMALL; k++)
        for (int l = 0; l < N_SMALL; l++)
          if (c->type == FW_NETWORK_CNN || (i == k && k == l))
            change -= order[k * N_SMALL + l] * sandwich(kernel[i][k], data, kernel[l][i], a, b) /
                      (c->width * c->prior1 * N_SMALL * N_SMALL);
    norm[0] += before * before;
    norm[1] += change * change;
    norm[2] += (before + change) * (before + change);
    quadratic += (before + change) * y[a] * y[b];
    if (a == b) label2 += y[a] * y[a];
    if (a == b) trace[0] += before / P_SMALL;
    if (a == b) trace[1] += (before + change) / P_SMALL;
  }
  TestCall(FwLocalObservablesCreate(network.action, y, order, PETSC_TRUE, &o));
  assert_close(o.hidden_trace_before, trace[0], 1e-12);
  assert_close(o.hidden_trace_after, trace[1], 1e-11);
  assert_close(o.hidden_distance, sqrt(norm[1] / norm[0]), 1e-11);
  assert_close(o.alignment_after, quadratic / (sqrt(norm[2]) * label2), 1e-11);
  TestCall(FwLocalObservablesDestroy(&o));
  TestCall(PetscFree2(x, y));
  close_network(&network);
}

static void the_hidden_layer_follows_its_definition(void **state)
{
  Case c = cases[0];

  (void)state;
  check_hidden_layer(&c);
  c.type = FW_NETWORK_LCN;
  check_hidden_layer(&c);
}

static void pooling_readouts_overlap_fully_and_free_ones_by_one_over_n(void **state)
{
  const Case        *c = &cases[0];
  double             one[9], pooled[9], *x, *y;
  Network            network;
  FwLocalObservables o;

  (void)state;
  make_images(c, &x, &y);
  open_network(c, x, y, keep_all, &network);
  for (int k = 0; k < 9; k++) one[k] = k % 4 == 0 ? 1.0 : 0.0;
  for (int k = 0; k < 9; k++) pooled[k] = 1.0;
  TestCall(FwLocalObservablesCreate(network.action, y, one, PETSC_FALSE, &o));
  assert_close(o.pool_overlap, 1.0 / 3.0, 1e-14);
  assert_close(o.effective_patches, 3.0, 1e-13);
  assert_close(o.distance, 0.0, 1e-13);
  TestCall(FwLocalObservablesDestroy(&o));
  TestCall(FwLocalObservablesCreate(network.action, y, pooled, PETSC_FALSE, &o));
  assert_close(o.pool_overlap, 1.0, 1e-14);
  assert_close(o.effective_patches, 1.0, 1e-13);
  assert_close(o.eigenvalue[0], 3.0, 1e-13);
  TestCall(FwLocalObservablesDestroy(&o));
  TestCall(PetscFree2(x, y));
  close_network(&network);
}

/* --- several outputs ---------------------------------------------------------------------------------------- */

enum { D = 2, ROW_MAX = D * PATCH_MAX };

/* Second labels of the images of a case, [P + P_TEST][D] with the first */
static void make_outputs(const Case *c, const double x[], const double y[], double out[])
{
  const int n_input = c->image[0] * c->image[1] * c->image[2];

  for (int a = 0; a < c->n_train + P_TEST; a++) {
    out[a * D]     = y[a];
    out[a * D + 1] = sin(x[a * n_input + 1] - 2.0 * x[a * n_input + n_input - 2]);
  }
}

static void open_two(const Case *c, double *first, double *second, Network *two)
{
  double *x, *y, both[D * 64];

  make_images(c, &x, &y);
  make_outputs(c, x, y, both);
  for (int a = 0; a < c->n_train + P_TEST; a++) {
    first[a]  = both[a * D];
    second[a] = both[a * D + 1];
  }
  open_outputs(c, D, x, both, keep_all, two);
  TestCall(PetscFree2(x, y));
}

/* Q of the two outputs apart in the blocks, `corner` of it between them */
static void fill_two(const Case *c, double corner, double order[])
{
  const int n = c->n_patch;
  double    block[PATCH_MAX * PATCH_MAX];

  fill_order(c, block);
  for (int r = 0; r < D * n; r++)
    for (int s = 0; s < D * n; s++)
      order[r * D * n + s] = (r / n == s / n ? 1.0 + 0.3 * (r / n) : corner * (1.0 + 0.4 * (r / n ? r % n : s % n))) *
                             block[r % n * n + s % n];
}

static double action_of(const Case *c, const double y[], double factor)
{
  double       order[PATCH_MAX * PATCH_MAX], *x, *unused, value;
  Network      one;
  FwLocalPoint point;

  make_images(c, &x, &unused);
  open_network(c, x, y, keep_all, &one);
  fill_order(c, order);
  for (int k = 0; k < c->n_patch * c->n_patch; k++) order[k] *= factor;
  TestCall(FwLocalPointCreate(one.action, &point));
  TestCall(FwLocalActionEvaluate(one.action, order, &point));
  value = point.value;
  TestCall(FwLocalPointDestroy(&point));
  TestCall(PetscFree2(x, unused));
  close_network(&one);
  return value;
}

static void outputs_that_do_not_mix_add_their_actions(void **state)
{
  (void)state;
  for (int i = 0; i < N_CASE; i += 3) {
    const Case  *c = &cases[i];
    double       order[ROW_MAX * ROW_MAX], first[64], second[64];
    Network      two;
    FwLocalPoint point;

    open_two(c, first, second, &two);
    fill_two(c, 0.0, order);
    TestCall(FwLocalPointCreate(two.action, &point));
    TestCall(FwLocalActionEvaluate(two.action, order, &point));
    assert_close(point.value, action_of(c, first, 1.0) + action_of(c, second, 1.3), 1e-11);
    fill_two(c, 0.1, order);
    TestCall(FwLocalActionEvaluate(two.action, order, &point));
    assert_close(fabs(point.value - action_of(c, first, 1.0) - action_of(c, second, 1.3)) > 1e-3, 1, 0);
    TestCall(FwLocalPointDestroy(&point));
    close_network(&two);
  }
}

/* Along an entry between two outputs and two patches (of lcn: one), and along one within */
static void slopes_between_outputs_are_differences_of_the_action(void **state)
{
  const double step = 1e-4, weight[5] = {1.0 / 12.0, -2.0 / 3.0, 0.0, 2.0 / 3.0, -1.0 / 12.0};
  const int    rows[] = {1, 5, 10};

  (void)state;
  for (int k = 0; k < 3; k++) {
    const Case  *c = &cases[rows[k]];
    const int    n = c->n_patch, m = D * n, j = n + (c->type == FW_NETWORK_LCN ? 0 : 1);
    double       order[ROW_MAX * ROW_MAX], first[64], second[64], difference = 0.0;
    Network      two;
    FwLocalPoint point;

    open_two(c, first, second, &two);
    TestCall(FwLocalPointCreate(two.action, &point));
    for (int s = -2; s <= 2; s++) {
      fill_two(c, 0.1, order);
      order[j] += s * step;
      order[j * m] += s * step;
      TestCall(FwLocalActionEvaluate(two.action, order, &point));
      difference += weight[s + 2] * (point.log_det + point.fit) / step;
    }
    fill_two(c, 0.1, order);
    TestCall(FwLocalActionEvaluate(two.action, order, &point));
    assert_close(difference, 2.0 * (point.trace[j] - point.quadratic[j]), 1e-8);
    TestCall(FwLocalPointDestroy(&point));
    close_network(&two);
  }
}

/* --- bad input ---------------------------------------------------------------------------------------------- */

static void a_mask_larger_than_the_image_is_refused(void **state)
{
  Network   network;
  FwPatches patches;

  (void)state;
  open_case(&cases[1], keep_all, &network);
  network.model.mask[1] = 5;
  assert_close(FwModelGetPatches(&network.model, 1, 4, 4, &patches), FW_ERR_INPUT, 0);
  assert_close(strstr(FwErrorMessage(), "network_mask") != NULL, 1, 0);
  FwErrorClear();
  close_network(&network);
}

static void pixels_that_remain_are_counted(void **state)
{
  FwModel model = {
    .type = FW_NETWORK_CNN, .mask = {3, 2},
         .stride = {3, 4}
  };
  FwPatches patches;

  (void)state;
  TestCall(FwModelGetPatches(&model, 1, 10, 10, &patches));
  assert_close(patches.n_patch, 9, 0);
  assert_close(FwPatchesDropped(&patches), 100 - 9 * 6, 0);
  model.stride[0] = 2; /* overlapping rows: 3 + 3 * 2 = 9 of them are covered, and 6 columns */
  TestCall(FwModelGetPatches(&model, 1, 10, 10, &patches));
  assert_close(FwPatchesDropped(&patches), 100 - 9 * 6, 0);
}

static int open_all(void **state)
{
  (void)state;
  folder_create();
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  return 0;
}

static int close_all(void **state)
{
  (void)state;
  TestCall(FwGridDestroy(&grid));
  folder_destroy();
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(kernels_of_patches_follow_their_definition),
    cmocka_unit_test(what_is_kept_and_what_is_computed_again_have_the_same_bits),
    cmocka_unit_test(the_action_and_its_slopes_are_those_of_the_reference_file),
    cmocka_unit_test(slopes_are_differences_of_the_action),
    cmocka_unit_test(minima_are_those_of_the_reference_file),
    cmocka_unit_test(the_plain_step_never_raises_the_action),
    cmocka_unit_test(wide_networks_follow_the_first_order_in_one_over_width),
    cmocka_unit_test(a_rotation_of_all_patches_alike_changes_nothing),
    cmocka_unit_test(rotating_each_patch_leaves_lcn_and_changes_cnn),
    cmocka_unit_test(flipping_a_patch_flips_signs_of_its_row),
    cmocka_unit_test(flipping_all_labels_changes_nothing),
    cmocka_unit_test(the_hidden_layer_follows_its_definition),
    cmocka_unit_test(pooling_readouts_overlap_fully_and_free_ones_by_one_over_n),
    cmocka_unit_test(outputs_that_do_not_mix_add_their_actions),
    cmocka_unit_test(slopes_between_outputs_are_differences_of_the_action),
    cmocka_unit_test(a_mask_larger_than_the_image_is_refused),
    cmocka_unit_test(pixels_that_remain_are_counted),
    cmocka_unit_test(the_validation_error_is_that_of_the_predicted_mean),
    cmocka_unit_test(slopes_of_the_validation_error_are_its_differences),
    cmocka_unit_test(slopes_of_several_outputs_are_differences_too),
    cmocka_unit_test(learning_ends_below_every_start),
    cmocka_unit_test(pooled_patches_are_one),
  };
  int failed;

  if (FwStart(argc, argv, NULL)) return 1;
  failed = cmocka_run_group_tests(tests, open_all, close_all);
  return FwFinish(0) || failed;
}
