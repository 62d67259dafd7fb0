/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Speed of the theory of patches, as fractions of what memory and dgemm allow on the same ranks in the same run.
 *
 *     mpirun -n 2 bench_local -train 1000 -mask 7 [-side 28] [-width 40] [-store 8e9] [-cpu]
 *
 * Built-in images, an erf network. The floor of one evaluation is two readings of the features at the rate at which the
 * ranks together sum a store of that size, and P^3 operations at the rate of dgemm; of computing the features it is their
 * products at that rate and 2.6 ns for each map. Times are wall time between barriers, the best of three.
 */

#include <finwidth/blas.h>
#include <finwidth/estimate.h>
#include <finwidth/local_saddle.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TIMES = 3 };

static PetscBool is_cpu; /* processor seconds of this rank, for one rank on a busy machine */

static double Now(void)
{
  struct timespec used;

  MPI_Barrier(PETSC_COMM_WORLD);
  if (!is_cpu) return MPI_Wtime();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Bytes per second at which all ranks together read memory: n numbers on each, summed */
static PetscErrorCode MeasureReading(size_t n, double *rate)
{
  double     *number = malloc(n * sizeof *number), best = INFINITY, sum[8] = {0.0};
  PetscMPIInt size;

  PetscFunctionBegin;
  PetscCheck(number, PETSC_COMM_SELF, PETSC_ERR_MEM, "no room for the measurement");
  for (size_t i = 0; i < n; i++) number[i] = 1e-9 * (double)i;
  for (int t = 0; t < TIMES; t++) {
    const double begin = Now();

    for (size_t i = 0; i + 8 <= n; i += 8)
      for (int k = 0; k < 8; k++) sum[k] += number[i + (size_t)k];
    best = fmin(best, Now() - begin);
  }
  if (sum[0] < 0.0) printf("never\n"); /* the sum is used */
  free(number);
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  *rate = (double)(n * sizeof *number) * size / best;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Print(const char name[], double seconds, double floor_seconds)
{
  char line[120];

  PetscFunctionBegin;
  snprintf(line, sizeof line, "%-34s %9.4f s   floor %9.4f s   fraction %.2f", name, seconds, floor_seconds,
           floor_seconds / seconds);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  FwGrid        grid;
  FwPatchKernel kernel;
  FwPatchFamily family;
  FwLocalAction action;
  double        product_rate, read_rate, n_pixel, n_rank;
} Bench;

static PetscErrorCode BenchFeatures(const Bench *b)
{
  const double n = b->family.n_train, entries = 0.5 * n * n, n2 = pow(b->family.n_patch, 2.0);
  const double compute = entries * n2 * (2.0 * b->n_pixel / b->product_rate + 2.6e-9 / b->n_rank);
  const double read    = entries * b->family.n_feature * sizeof(double) / b->read_rate;
  double      *coefficient, begin, best = INFINITY, first = 0.0;
  FwMatrix     matrix;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(b->family.n_feature, &coefficient));
  for (PetscInt d = 0; d < b->family.n_feature; d++) coefficient[d] = 1.0 / (double)(d + 1);
  for (int t = 0; t <= TIMES; t++) {
    begin = Now();
    PetscCall(FwPatchKernelTrain(b->kernel, coefficient, &matrix));
    if (t)
      best = fmin(best, Now() - begin);
    else
      first = Now() - begin;
    PetscCall(FwMatrixDestroy(&matrix));
  }
  PetscCall(Print("features, computed", first, compute));
  PetscCall(Print("a kernel from them", best, b->family.stored >= 1.0 ? read : compute));
  PetscCall(PetscFree(coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BenchSaddle(const Bench *b)
{
  const double n = b->family.n_train, entries = 0.5 * n * n;
  const double n2      = pow(b->family.n_patch, 2.0),
               compute = entries * n2 * (2.0 * b->n_pixel / b->product_rate + 2.6e-9 / b->n_rank);
  const double pass = b->family.stored >= 1.0 ? entries * b->family.n_feature * sizeof(double) / b->read_rate : compute;
  const double floor = 2.0 * pass + pow(n, 3.0) / b->product_rate;
  double      *start, begin, best = INFINITY;
  FwLocalPoint point;
  FwLocalSaddle saddle;
  char          name[64];

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(b->family.n_patch * b->family.n_patch, &start));
  PetscCall(FwLocalStarts(b->action, 1, 1, start));
  PetscCall(FwLocalPointCreate(b->action, &point));
  for (int t = 0; t < TIMES; t++) {
    begin = Now();
    PetscCall(FwLocalActionEvaluate(b->action, start, &point));
    best = fmin(best, Now() - begin);
  }
  PetscCall(Print("an evaluation of the action", best, floor));
  begin = Now();
  PetscCall(FwLocalSaddleFind(b->action, 1, start, &saddle));
  begin = Now() - begin;
  snprintf(name, sizeof name, "the saddle point, %d evaluations", (int)saddle.n_evaluation);
  PetscCall(Print(name, begin, floor * saddle.n_evaluation));
  PetscCall(FwLocalSaddleDestroy(&saddle));
  PetscCall(FwLocalPointDestroy(&point));
  PetscCall(PetscFree(start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(void)
{
  double        width[1] = {40.0}, prior[2] = {1.0, 1.0}, bias[2] = {0.0, 0.0}, store = 8e9;
  PetscInt      activation[1] = {0}, n_train = 200, mask = 7, side = 28;
  FwModel       model = {.type        = FW_NETWORK_CNN,
                         .depth       = 1,
                         .width       = width,
                         .activation  = activation,
                         .prior       = prior,
                         .bias        = bias,
                         .temperature = 0.1};
  FwDataset     data;
  FwPatchImages images;
  Bench         b = {0};
  const double *y;
  char          options[200];
  PetscMPIInt   size;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-train", &n_train, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-mask", &mask, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-side", &side, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-width", &width[0], NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-cpu", &is_cpu, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-store", &store, NULL));
  for (int d = 0; d < 2; d++) model.mask[d] = model.stride[d] = mask;
  snprintf(options, sizeof options, "-data_train %d -data_test 0 -data_size %d", (int)n_train, (int)side);
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(FwDatasetCreate(PETSC_COMM_WORLD, &data));
  PetscCall(FwDatasetSetFromOptions(data));
  PetscCall(FwDatasetSetUp(data));
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &y));
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &b.grid));
  PetscCall(FwPatchImagesCreate(PETSC_COMM_WORLD, &model, data, &images));
  PetscCall(FwPatchKernelCreate(
    b.grid, images, &(FwPatchPlan){.form = FW_PATCH_PAIRS, .n_output = 1, .store_bytes = store}, &b.kernel));
  PetscCall(FwPatchKernelGetFamily(b.kernel, &b.family));
  PetscCall(FwLocalActionCreate(b.kernel, y, &b.action));
  PetscCall(FwLocalActionSetModel(b.action, &model));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  b.n_rank  = size;
  b.n_pixel = FwPatchImagesPatches(images)->n_pixel;
  PetscCall(FwEstimateRate(PETSC_COMM_WORLD, &b.product_rate));
  PetscCall(MeasureReading((size_t)PetscMax(4e6, PetscMin(1e8, b.family.store_bytes / 8.0)), &b.read_rate));
  snprintf(options, sizeof options, "P = %d, %d patches, %d ranks, %.0f %% kept; dgemm %.1f GF/s, memory %.1f GB/s",
           (int)n_train, (int)b.family.n_patch, (int)size, 100.0 * b.family.stored, 1e-9 * b.product_rate,
           1e-9 * b.read_rate);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", options));
  PetscCall(BenchFeatures(&b));
  PetscCall(BenchSaddle(&b));
  PetscCall(FwLocalActionDestroy(&b.action));
  PetscCall(FwPatchKernelDestroy(&b.kernel));
  PetscCall(FwPatchImagesDestroy(&images));
  PetscCall(FwGridDestroy(&b.grid));
  PetscCall(FwDatasetDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code;

  FwBlasTune(argv);
  if (FwStart(argc, argv, NULL)) return 1;
  code = Run();
  return FwFinish(code);
}
