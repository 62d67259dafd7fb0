/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Passes over drawn inputs, and the deep teachers that answer to them: against plain loops, and the same bits on any number
 * of ranks.
 * ranks: 1 2 3 4
 */

#include <finwidth/deep_teacher.h>
#include "../support/collective_assert.h"

#include <string.h>

enum { N = 700, D = 37, K = 3 }; /* three blocks; nothing divides anything */

static FwDesignPlan plan_of(PetscInt n_column, double constant, PetscBool is_kept)
{
  return (FwDesignPlan){.stream   = FwStreamCreate(5, FW_RANDOM_OPTIMAL_INPUT, 1, 0, 0),
                        .n        = N,
                        .d        = D,
                        .constant = constant,
                        .n_column = n_column,
                        .n_scalar = n_column,
                        .is_kept  = is_kept};
}

/* g = u^2 + column, the sums of u */
static PetscErrorCode square(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const PetscInt n_column = *(const PetscInt *)context;

  (void)first;
  for (PetscInt k = 0; k < n_column; k++)
    for (PetscInt i = 0; i < n; i++) {
      scalar[k] += u[k * n + i];
      u[k * n + i] = u[k * n + i] * u[k * n + i] + (double)k;
    }
  return PETSC_SUCCESS;
}

/* The same by plain loops over all rows */
static void square_plainly(const FwDesignPlan *plan, const double w[], double scalar[], double out[])
{
  const PetscInt width = plan->d + (plan->constant != 0.0);
  double         row[D + 1];

  memset(scalar, 0, (size_t)plan->n_column * sizeof *scalar);
  memset(out, 0, (size_t)(plan->n_column * width) * sizeof *out);
  for (PetscInt i = 0; i < plan->n; i++) {
    FwStreamNormalBulk(plan->stream, (uint64_t)(i * plan->d), (size_t)plan->d, row);
    row[plan->d] = plan->constant;
    for (PetscInt k = 0; k < plan->n_column; k++) {
      double u = 0.0;

      for (PetscInt j = 0; j < width; j++) u += row[j] * w[k * width + j] / sqrt((double)plan->d);
      scalar[k] += u;
      for (PetscInt j = 0; j < width; j++) out[k * width + j] += row[j] * (u * u + (double)k) / sqrt((double)plan->d);
    }
  }
}

static void check_pass(PetscInt n_column, double constant, PetscBool is_kept)
{
  const FwDesignPlan plan = plan_of(n_column, constant, is_kept);
  FwDesign           design;
  double             w[K * (D + 1)], out[K * (D + 1)], plain[K * (D + 1)], scalar[K], plain_scalar[K];
  PetscInt           width;

  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  width = FwDesignWidth(design);
  FwStreamNormal(FwStreamCreate(6, FW_RANDOM_OPTIMAL_START, 0, 0, 0), 0, (size_t)(n_column * width), w);
  TestCall(FwDesignPass(design, w, square, &n_column, scalar, out));
  square_plainly(&plan, w, plain_scalar, plain);
  for (PetscInt k = 0; k < n_column; k++) assert_close(scalar[k], plain_scalar[k], 1e-12 * N);
  for (PetscInt i = 0; i < n_column * width; i++) assert_close(out[i], plain[i], 1e-12 * N);
  TestCall(FwDesignPass(design, w, square, &n_column, scalar, NULL));
  for (PetscInt k = 0; k < n_column; k++) assert_close(scalar[k], plain_scalar[k], 1e-12 * N);
  TestCall(FwDesignDestroy(&design));
}

static void a_pass_is_what_plain_loops_give(void **state)
{
  (void)state;
  check_pass(1, 0.0, PETSC_TRUE);
  check_pass(K, 0.0, PETSC_TRUE);
  check_pass(K, 0.7, PETSC_TRUE);
  check_pass(K, 0.7, PETSC_FALSE);
}

/* On a communicator of its own, one rank does it all: the others' bits must be its */
static void a_pass_has_the_same_bits_on_any_number_of_ranks(void **state)
{
  (void)state;
  for (PetscInt n_column = 1; n_column <= K; n_column += K - 1) {
    const FwDesignPlan plan = plan_of(n_column, 0.0, PETSC_TRUE);
    double             w[K * D], out[2][K * D], scalar[2][K];

    FwStreamNormal(FwStreamCreate(6, FW_RANDOM_OPTIMAL_START, 0, 0, 0), 0, (size_t)(n_column * D), w);
    for (int alone = 0; alone < 2; alone++) {
      FwDesign design;

      TestCall(FwDesignCreate(alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD, &plan, &design));
      TestCall(FwDesignPass(design, w, square, &n_column, scalar[alone], out[alone]));
      TestCall(FwDesignDestroy(&design));
    }
    for (PetscInt i = 0; i < n_column * D; i++) assert_close(out[0][i], out[1][i], 0.0);
    for (PetscInt k = 0; k < n_column; k++) assert_close(scalar[0][k], scalar[1][k], 0.0);
  }
}

/* --- teachers -------------------------------------------------------------------------------------------------- */

static const PetscInt widths[] = {300, 41}, activations[] = {FW_ACTIVATION_ERF, FW_ACTIVATION_RELU};
static const double   gains[] = {1.5, 0.5};

static FwDeepTeacher teacher_of(PetscInt depth)
{
  return (FwDeepTeacher){
    .depth = depth, .d = D, .width = widths, .activation = activations, .gain = gains, .readout_gain = 1.3, .seed = 9};
}

static void draw_layer(PetscInt instance, PetscInt layer, PetscInt n, double w[])
{
  FwStreamNormalBulk(FwStreamCreate(9, FW_RANDOM_OPTIMAL_WEIGHT, (uint64_t)instance, (uint64_t)layer, 0), 0, (size_t)n,
                     w);
}

/* One input through two layers, weight by weight */
static double answer_plainly(PetscInt instance, const double x[])
{
  static double first[300 * D], second[41 * 300], readout[41];
  double        h[300], z = 0.0;

  draw_layer(instance, 1, 300 * D, first);
  draw_layer(instance, 2, 41 * 300, second);
  draw_layer(instance, 3, 41, readout);
  for (int j = 0; j < 300; j++) {
    double u = 0.0;

    for (int i = 0; i < D; i++) u += first[j * D + i] * x[i];
    h[j] = erf(1.5 * u / sqrt(D));
  }
  for (int j = 0; j < 41; j++) {
    double u = 0.0;

    for (int i = 0; i < 300; i++) u += second[j * 300 + i] * h[i];
    z += readout[j] * fmax(0.0, 0.5 * u / sqrt(300.0));
  }
  return 1.3 * z / sqrt(41.0);
}

static void a_deep_teacher_answers_as_weight_by_weight(void **state)
{
  const FwDesignPlan  plan    = plan_of(1, 0.0, PETSC_FALSE);
  const FwDeepTeacher teacher = teacher_of(2);
  FwDesign            design;
  double              z[N], x[D];
  const FwRows       *rows;

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  TestCall(FwDeepTeacherAnswer(PETSC_COMM_WORLD, &teacher, 2, design, z));
  rows = FwDesignRows(design);
  for (PetscInt i = 0; i < 10; i++) { /* as many assertions on every rank */
    const PetscInt local = rows->n_local ? i * (rows->n_local - 1) / 9 : 0;

    FwStreamNormalBulk(plan.stream, (uint64_t)((rows->first + local) * D), D, x);
    assert_close(rows->n_local ? z[local] : 0.0, rows->n_local ? answer_plainly(2, x) : 0.0, 1e-12);
  }
  TestCall(FwDesignDestroy(&design));
}

static void a_teacher_without_layers_is_its_readout(void **state)
{
  const FwDesignPlan  plan    = plan_of(1, 0.0, PETSC_TRUE);
  const FwDeepTeacher teacher = teacher_of(0);
  FwDesign            design;
  double              z[N], x[D], a[D], sum = 0.0;
  const FwRows       *rows;

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &design));
  TestCall(FwDeepTeacherAnswer(PETSC_COMM_WORLD, &teacher, 7, design, z));
  TestCall(FwDeepTeacherReadout(&teacher, 7, a));
  rows = FwDesignRows(design);
  FwStreamNormalBulk(plan.stream, (uint64_t)(rows->first * D), D, x);
  for (PetscInt j = 0; j < D; j++) sum += 1.3 * a[j] * x[j] / sqrt(D);
  assert_close(rows->n_local ? z[0] : 0.0, rows->n_local ? sum : 0.0, 1e-13);
  TestCall(FwDesignDestroy(&design));
}

static void a_teacher_gives_the_same_bits_on_any_number_of_ranks(void **state)
{
  const FwDesignPlan  plan    = plan_of(1, 0.0, PETSC_TRUE);
  const FwDeepTeacher teacher = teacher_of(2);
  FwDesign            together, alone;
  const FwRows       *rows;
  double              z[N], all[N];
  int                 n_different = 0;

  (void)state;
  TestCall(FwDesignCreate(PETSC_COMM_WORLD, &plan, &together));
  TestCall(FwDesignCreate(PETSC_COMM_SELF, &plan, &alone));
  TestCall(FwDeepTeacherAnswer(PETSC_COMM_WORLD, &teacher, 1, together, z));
  TestCall(FwDeepTeacherAnswer(PETSC_COMM_SELF, &teacher, 1, alone, all));
  rows = FwDesignRows(together);
  for (PetscInt i = 0; i < rows->n_local; i++) n_different += z[i] != all[rows->first + i];
  assert_close(n_different, 0, 0.0);
  TestCall(FwDesignDestroy(&together));
  TestCall(FwDesignDestroy(&alone));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pass_is_what_plain_loops_give),
    cmocka_unit_test(a_pass_has_the_same_bits_on_any_number_of_ranks),
    cmocka_unit_test(a_deep_teacher_answers_as_weight_by_weight),
    cmocka_unit_test(a_teacher_without_layers_is_its_readout),
    cmocka_unit_test(a_teacher_gives_the_same_bits_on_any_number_of_ranks),
  };
  int failed;

  if (FwStart(argc, argv, NULL)) return 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  return FwFinish(PETSC_SUCCESS) || failed;
}
