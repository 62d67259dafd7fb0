/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Block-cyclic matrices against plain loops, at a size that no block or grid divides.
 */

#include <finwidth/blas.h>
#include <finwidth/cholesky.h>
#include <finwidth/provenance.h>
#include "../support/collective_assert.h"

#include <stdlib.h>
#include <string.h>

enum { M = 70, N = 141 };

static FwGrid grid;

static double entry(int i, int j)
{
  return sin(1.3 * i + 0.7 * j * j) + 0.1 * cos(2.9 * i * j);
}

/* Column-major, on every rank */
static double *make_copy(int m, int n)
{
  double *copy;

  TestCall(PetscMalloc1((size_t)m * n, &copy));
  for (int j = 0; j < n; j++)
    for (int i = 0; i < m; i++) copy[i + (size_t)j * m] = entry(i, j);
  return copy;
}

static FwMatrix make_matrix(int m, int n)
{
  FwMatrix a;
  double  *copy = make_copy(m, n);

  TestCall(FwMatrixCreateFromCopy(grid, m, n, copy, &a));
  TestCall(PetscFree(copy));
  return a;
}

/* B B^T + 1 of order N: positive definite */
static FwMatrix make_positive(double **copy)
{
  FwMatrix a;

  TestCall(PetscMalloc1((size_t)N * N, copy));
  for (int j = 0; j < N; j++)
    for (int i = 0; i < N; i++) {
      double sum = i == j;

      for (int k = 0; k < M; k++) sum += entry(k, i) * entry(k, j);
      (*copy)[i + (size_t)j * N] = sum;
    }
  TestCall(FwMatrixCreateFromCopy(grid, N, N, *copy, &a));
  return a;
}

static PetscErrorCode count_strip(const FwStrip *strip, void *context)
{
  PetscFunctionBegin;
  *(long *)context += strip->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void visit_meets_every_entry_of_the_triangle_once(void **state)
{
  FwMatrix a     = make_matrix(N, N);
  long     lower = 0, whole = 0;

  (void)state;
  TestCall(FwMatrixVisit(a, FW_LOWER, count_strip, &lower));
  TestCall(FwMatrixVisit(a, FW_WHOLE, count_strip, &whole));
  MPI_Allreduce(MPI_IN_PLACE, &lower, 1, MPI_LONG, MPI_SUM, PETSC_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, &whole, 1, MPI_LONG, MPI_SUM, PETSC_COMM_WORLD);
  assert_close(lower, N * (N + 1) / 2, 0.0);
  assert_close(whole, N * N, 0.0);
  TestCall(FwMatrixDestroy(&a));
}

/* This rank's columns of a copy that every rank holds */
static FwSlabs make_slabs(const double *copy)
{
  PetscMPIInt rank, size;
  PetscInt    block;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  block = (N + size - 1) / size;
  return (FwSlabs){.m = M, .n = N, .block = block, .value = copy + (size_t)PetscMin(rank * block, N) * M};
}

static void slab_becomes_the_same_matrix(void **state)
{
  FwMatrix      a;
  double       *copy  = make_copy(M, N), *back;
  const FwSlabs slabs = make_slabs(copy);

  (void)state;
  TestCall(FwMatrixCreateFromSlab(grid, &slabs, &a));
  TestCall(PetscMalloc1(M * N, &back));
  TestCall(FwMatrixGather(a, back));
  for (int i = 0; i < M * N; i++) assert_close(back[i], copy[i], 0.0);
  TestCall(PetscFree(back));
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&a));
}

/* Both are A^T A / 2, the first its lower triangle */
static void check_products(FwMatrix gram, FwMatrix product)
{
  double *g, *p;

  TestCall(PetscMalloc2(N * N, &g, N * N, &p));
  TestCall(FwMatrixGather(gram, g));
  TestCall(FwMatrixGather(product, p));
  for (int j = 0; j < N; j += 7)
    for (int i = j; i < N; i += 5) {
      double sum = 0.0;

      for (int k = 0; k < M; k++) sum += 0.5 * entry(k, i) * entry(k, j);
      assert_close(g[i + j * N], sum, 1e-13);
      assert_close(p[i + j * N], sum, 1e-13);
    }
  TestCall(PetscFree2(g, p));
}

/* Of matrices, and of slabs, whose 70 rows go 64 and 6 at a time */
static void products_equal_plain_loops(void **state)
{
  FwMatrix      a     = make_matrix(M, N), gram, product;
  double       *copy  = make_copy(M, N);
  const FwSlabs slabs = make_slabs(copy);

  (void)state;
  TestCall(FwMatrixCreate(grid, N, N, &gram));
  TestCall(FwMatrixCreate(grid, N, N, &product));
  TestCall(FwMatrixGram(0.5, a, gram));
  TestCall(FwMatrixMultiply(PETSC_TRUE, 0.5, a, a, product));
  check_products(gram, product);
  TestCall(FwMatrixGramOfSlabs(0.5, &slabs, gram));
  TestCall(FwMatrixProductOfSlabs(0.5, &slabs, &slabs, product));
  check_products(gram, product);
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&a));
  TestCall(FwMatrixDestroy(&gram));
  TestCall(FwMatrixDestroy(&product));
}

static void column_sums_equal_plain_loops(void **state)
{
  FwMatrix a = make_matrix(M, N);
  double   weight[2 * M], out[2 * N];

  (void)state;
  for (int i = 0; i < 2 * M; i++) weight[i] = cos(0.3 * i);
  for (int power = 1; power <= 2; power++) {
    TestCall(FwMatrixColumnSums(a, power, 2, weight, out));
    for (int c = 0; c < 2; c++)
      for (int j = 0; j < N; j += 11) {
        double sum = 0.0;

        for (int i = 0; i < M; i++) sum += weight[i + c * M] * pow(entry(i, j), power);
        assert_close(out[j + c * N], sum, 1e-12);
      }
  }
  TestCall(FwMatrixDestroy(&a));
}

static void check_eigenvectors(void)
{
  double  *copy, value[N], *u;
  FwMatrix a = make_positive(&copy), vectors;

  TestCall(FwMatrixEigen(&a, value, &vectors));
  assert_close(a == NULL, 1, 0.0);
  TestCall(PetscMalloc1(N * N, &u));
  TestCall(FwMatrixGather(vectors, u));
  for (int j = 0; j < N; j += 9)
    for (int i = 0; i < N; i += 13) {
      double sum = 0.0;

      for (int k = 0; k < N; k++) sum += u[i + k * N] * value[k] * u[j + k * N];
      assert_close(sum, copy[i + j * N], 1e-11);
    }
  TestCall(PetscFree(u));
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&vectors));
}

/* By each library that this was built with; one rank has LAPACK only */
static void eigenvectors_rebuild_the_matrix(void **state)
{
  FwMatrix a = make_matrix(N, N), vectors;
  double   value[N];
  int      size;

  (void)state;
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  setenv("FINWIDTH_EIGENSOLVER", "scalapack", 1);
  check_eigenvectors();
  setenv("FINWIDTH_EIGENSOLVER", "elpa", 1);
  if (size == 1 || !strstr(FwLibraries(), "elpa: none")) check_eigenvectors();
  setenv("FINWIDTH_EIGENSOLVER", "lapack", 1);
  if (size > 1) assert_close(FwMatrixEigen(&a, value, &vectors), FW_ERR_INPUT, 0.0);
  FwErrorClear();
  unsetenv("FINWIDTH_EIGENSOLVER");
  check_eigenvectors();
  TestCall(FwMatrixDestroy(&a));
}

static void cholesky_agrees_with_eigenvalues_and_solves(void **state)
{
  double    *copy, value[N], log_det, expected = 0.0, *x;
  FwMatrix   a = make_positive(&copy), b = make_matrix(N, 3), vectors, factored;
  FwCholesky factor;

  (void)state;
  TestCall(FwMatrixCreateFromCopy(grid, N, N, copy, &factored));
  TestCall(FwMatrixEigen(&a, value, &vectors));
  for (int i = 0; i < N; i++) expected += log(value[i]);
  TestCall(FwCholeskyCreate(&factored, &factor));
  TestCall(FwCholeskyLogDet(factor, &log_det));
  assert_close(log_det, expected, 1e-12);
  TestCall(FwCholeskySolve(factor, b));
  TestCall(PetscMalloc1(3 * N, &x));
  TestCall(FwMatrixGather(b, x));
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < N; i += 17) {
      double sum = 0.0;

      for (int k = 0; k < N; k++) sum += copy[i + k * N] * x[k + c * N];
      assert_close(sum, entry(i, c), 1e-11);
    }
  TestCall(PetscFree(x));
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&b));
  TestCall(FwMatrixDestroy(&vectors));
  TestCall(FwCholeskyDestroy(&factor));
}

/* |L^-1 b|^2 = b^T A^-1 b */
static void half_solve_gives_quadratic_forms(void **state)
{
  double    *copy, ones[N], full[1], half[1], *both;
  FwMatrix   a = make_positive(&copy), b = make_matrix(N, 1), c = make_matrix(N, 1);
  FwCholesky factor;

  (void)state;
  TestCall(FwCholeskyCreate(&a, &factor));
  TestCall(FwCholeskyHalfSolve(factor, b));
  TestCall(FwCholeskySolve(factor, c));
  for (int i = 0; i < N; i++) ones[i] = 1.0;
  TestCall(FwMatrixColumnSums(b, 2, 1, ones, half));
  TestCall(PetscMalloc1(N, &both));
  for (int i = 0; i < N; i++) both[i] = entry(i, 0);
  TestCall(FwMatrixColumnSums(c, 1, 1, both, full));
  assert_close(half[0], full[0], 1e-12);
  TestCall(PetscFree(both));
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&b));
  TestCall(FwMatrixDestroy(&c));
  TestCall(FwCholeskyDestroy(&factor));
}

static void inverse_times_matrix_is_one(void **state)
{
  double    *copy, *x;
  FwMatrix   a = make_positive(&copy), inverse;
  FwCholesky factor;

  (void)state;
  TestCall(FwCholeskyCreate(&a, &factor));
  TestCall(FwCholeskyInverse(&factor, &inverse));
  assert_close(factor == NULL, 1, 0.0);
  TestCall(PetscMalloc1(N * N, &x));
  TestCall(FwMatrixGather(inverse, x));
  for (int j = 0; j < N; j += 19)
    for (int i = 0; i < N; i += 11) {
      double sum = 0.0;

      for (int k = 0; k < N; k++) sum += copy[i + k * N] * (k >= j ? x[k + j * N] : x[j + k * N]);
      assert_close(sum, i == j, 1e-10);
    }
  TestCall(PetscFree(x));
  TestCall(PetscFree(copy));
  TestCall(FwMatrixDestroy(&inverse));
}

static void indefinite_matrix_and_nan_are_refused(void **state)
{
  const double indefinite[4] = {1.0, 2.0, 2.0, 1.0}, broken[4] = {1.0, NAN, NAN, 1.0};
  double       value[2];
  FwMatrix     a, vectors = NULL;
  FwCholesky   factor;

  (void)state;
  TestCall(FwMatrixCreateFromCopy(grid, 2, 2, indefinite, &a));
  assert_close(FwCholeskyCreate(&a, &factor), FW_ERR_NUMERICAL, 0.0);
  TestCall(FwMatrixDestroy(&a));
  TestCall(FwMatrixCreateFromCopy(grid, 2, 2, broken, &a));
  assert_close(FwMatrixEigen(&a, value, &vectors), FW_ERR_NUMERICAL, 0.0);
  TestCall(FwMatrixDestroy(&a));
}

extern void openblas_set_num_threads(int) __attribute__((weak));
extern int  openblas_get_num_threads(void) __attribute__((weak));

/* Threads that are left of two where OMP_NUM_THREADS is `chosen`, or nothing says how many */
static int threads_of_two(const char *chosen)
{
  static const char *const variable[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"};
  char                    *before[3];
  int                      n;

  for (int i = 0; i < 3; i++) {
    before[i] = getenv(variable[i]) ? strdup(getenv(variable[i])) : NULL;
    unsetenv(variable[i]);
  }
  if (chosen) setenv(variable[0], chosen, 1);
  openblas_set_num_threads(2);
  TestCall(FwBlasShareNode());
  n = openblas_get_num_threads();
  unsetenv(variable[0]);
  for (int i = 0; i < 3; i++) {
    if (before[i]) setenv(variable[i], before[i], 1);
    free(before[i]);
  }
  openblas_set_num_threads(1);
  return n;
}

static void ranks_side_by_side_have_one_blas_thread_each(void **state)
{
  PetscMPIInt n_rank;

  (void)state;
  if (!openblas_get_num_threads || !openblas_set_num_threads) skip();
  openblas_set_num_threads(2);
  if (openblas_get_num_threads() != 2) skip(); /* one without threads */
  MPI_Comm_size(PETSC_COMM_WORLD, &n_rank);
  assert_int_equal(threads_of_two(NULL), n_rank > 1 ? 1 : 2);
  assert_int_equal(threads_of_two("2"), 2);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(visit_meets_every_entry_of_the_triangle_once),
    cmocka_unit_test(slab_becomes_the_same_matrix),
    cmocka_unit_test(products_equal_plain_loops),
    cmocka_unit_test(column_sums_equal_plain_loops),
    cmocka_unit_test(eigenvectors_rebuild_the_matrix),
    cmocka_unit_test(cholesky_agrees_with_eigenvalues_and_solves),
    cmocka_unit_test(half_solve_gives_quadratic_forms),
    cmocka_unit_test(inverse_times_matrix_is_one),
    cmocka_unit_test(indefinite_matrix_and_nan_are_refused),
    cmocka_unit_test(ranks_side_by_side_have_one_blas_thread_each),
  };
  int n_failed;

  if (FwStart(argc, argv, NULL)) return 1;
  TestCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  n_failed = cmocka_run_group_tests_name("linalg", tests, NULL, NULL);
  TestCall(FwGridDestroy(&grid));
  return FwFinish(0) || n_failed;
}
