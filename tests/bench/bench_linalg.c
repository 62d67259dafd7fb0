/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Speed of the linear algebra, as fractions of what dgemm reaches on the same ranks in the same run.
 *
 *     mpirun -n 2 bench_linalg -sizes 1000,2000,4000 [-inputs 3072] [-tests 1000] [-only 64]
 *
 * Inputs are Gaussian (the built-in teacher's), the kernel is that of one erf layer. Times are wall time between
 * barriers, the best of three up to P = 4000; memory is the growth of the largest resident size during a stage, in local
 * kernels (P^2 / ranks doubles), the kernel itself included. A point stands for what a scan point costs: 100 resolvents
 * and one prediction with variances.
 */

#include <finwidth/activation.h>
#include <finwidth/blas.h>
#include <finwidth/cholesky.h>
#include <finwidth/kernel.h>
#include <finwidth/spectrum.h>

#include <malloc.h>
#include <math.h>
#include <petscblaslapack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESOLVENTS = 100, TIMES = 3 };

static const double temperature = 0.1;

typedef struct {
  FwGrid    grid;
  PetscInt  n, n_test, n_input;
  FwDataset data;
  FwKernel  kernel;
  double    rate; /* of dgemm, all ranks together */
} Bench;

/* --- clocks and memory -------------------------------------------------------------------------------------- */

static double Now(void)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  return MPI_Wtime();
}

/* A line of /proc/self/status in bytes; 0 where there is none */
static double Resident(const char name[])
{
  FILE  *file = fopen("/proc/self/status", "r");
  char   line[256];
  double kibibytes = 0.0;

  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name))) kibibytes = strtod(line + strlen(name), NULL);
  if (file) fclose(file);
  return 1024.0 * kibibytes;
}

/* What has been freed before must not serve this stage unseen: Open MPI has malloc keep it */
static double ResetPeak(void)
{
  FILE *file = fopen("/proc/self/clear_refs", "w");

  (void)malloc_trim(0);
  if (file) {
    fputs("5", file);
    fclose(file);
  }
  return Resident("VmRSS:");
}

/* Largest growth of any rank since `begin`, in local kernels */
static double PeakKernels(const Bench *b, double begin)
{
  PetscMPIInt n_row, n_col;
  double      bytes = Resident("VmHWM:") - begin;

  (void)FwGridGetSize(b->grid, &n_row, &n_col);
  MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
  return bytes / (8.0 * (double)b->n * (double)b->n / (n_row * n_col));
}

static PetscErrorCode Print(const Bench *b, const char stage[], double seconds, double flops, double kernels)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%6d  %-28s %10.4g s", (int)b->n, stage, seconds));
  if (flops > 0.0)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %8.1f GF/s %6.2f", flops / seconds * 1e-9, flops / seconds / b->rate));
  if (kernels > 0.0) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "   %5.2f kernels", kernels));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Product of two 1500 x 1500 matrices on every rank at once: best of three, slowest rank */
static PetscErrorCode MeasureProduct(Bench *b)
{
  const PetscBLASInt n   = 1500;
  const PetscScalar  one = 1.0, zero = 0.0;
  PetscScalar       *a, *c;
  PetscMPIInt        size;
  double             best = INFINITY;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscMalloc2(n * n, &a, n * n, &c));
  for (PetscInt i = 0; i < n * n; i++) a[i] = sin(i);
  for (int i = 0; i < TIMES; i++) {
    const double begin = Now();
    double       end;

    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n, &n, &n, &one, a, &n, a, &n, &zero, c, &n));
    end  = Now();
    best = PetscMin(best, end - begin);
  }
  PetscCall(PetscFree2(a, c));
  b->rate = 2.0 * pow(n, 3.0) / best * size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- stages ------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddTemperature(const FwStrip *strip, void *context)
{
  PetscFunctionBegin;
  if (FwMatrixRow((FwMatrix)context, strip->first) == strip->column) strip->value[0] += temperature;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BenchAssembly(const Bench *b)
{
  const double begin_bytes = ResetPeak();
  double       begin, end, best = INFINITY;
  FwMatrix     k;

  PetscFunctionBegin;
  for (int i = 0; i < TIMES; i++) {
    begin = Now();
    PetscCall(FwKernelTrain(b->kernel, &k));
    end  = Now();
    best = PetscMin(best, end - begin);
    PetscCall(FwMatrixDestroy(&k));
  }
  PetscCall(
    Print(b, "assembly, erf", best, (double)b->n * (double)b->n * (double)b->n_input, PeakKernels(b, begin_bytes)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BenchCholesky(const Bench *b)
{
  const double n3       = pow((double)b->n, 3.0);
  double       factored = INFINITY, inverted = INFINITY;

  PetscFunctionBegin;
  for (int i = 0; i < (b->n > 4000 ? 1 : TIMES); i++) {
    FwMatrix   k;
    FwCholesky factor;
    double     begin, middle, end;

    PetscCall(FwKernelTrain(b->kernel, &k));
    PetscCall(FwMatrixVisit(k, FW_LOWER, AddTemperature, k));
    begin = Now();
    PetscCall(FwCholeskyCreate(&k, &factor));
    middle = Now();
    PetscCall(FwCholeskyInverse(&factor, &k));
    end = Now();
    PetscCall(FwMatrixDestroy(&k));
    factored = PetscMin(factored, middle - begin);
    inverted = PetscMin(inverted, end - middle);
  }
  PetscCall(Print(b, "Cholesky", factored, n3 / 3.0, 0.0));
  PetscCall(Print(b, "inverse from it", inverted, 2.0 * n3 / 3.0, 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetBoth(const Bench *b, FwSpectrum spectrum)
{
  const double *y, *diagonal;
  FwMatrix      cross;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(b->data, FW_TRAIN, &y));
  PetscCall(FwKernelDiagonal(b->kernel, FW_TEST, &diagonal));
  PetscCall(FwKernelCross(b->kernel, FW_TEST, &cross));
  PetscCall(FwSpectrumSetLabels(spectrum, 1, y, 0.0));
  PetscCall(FwSpectrumSetTest(spectrum, &cross, diagonal));
  PetscCall(FwSpectrumFreeze(spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BenchPoint(const Bench *b, FwSpectrum spectrum, double *resolvent, double *prediction)
{
  const PetscInt n_times = b->n > 4000 ? 5 : 20;
  const double   order = 1.3, weight = 1.0;
  FwPosterior    posterior;
  FwResolvent    r;
  double         begin;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(b->n_test, &posterior.mean, b->n_test, &posterior.within, b->n_test, &posterior.between));
  begin = Now();
  for (PetscInt i = 0; i < n_times; i++)
    PetscCall(FwSpectrumResolve(spectrum, temperature, 1.0 + 0.1 * i, PETSC_TRUE, &r));
  *resolvent = (Now() - begin) / n_times;
  begin      = Now();
  for (PetscInt i = 0; i < TIMES; i++)
    PetscCall(FwSpectrumPredict(spectrum, temperature, 1, &(FwMixture){1, &order, &weight}, &posterior));
  *prediction = (Now() - begin) / TIMES;
  PetscCall(PetscFree3(posterior.mean, posterior.within, posterior.between));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  double made, set, resolvent, prediction, kernels; /* seconds, and memory */
} Times;

static PetscErrorCode RunSpectrum(const Bench *b, PetscInt bandwidth, Times *t)
{
  const double begin_bytes = ResetPeak();
  FwMatrix     k;
  FwSpectrum   spectrum;
  double       begin, made, set;

  PetscFunctionBegin;
  PetscCall(FwKernelTrain(b->kernel, &k));
  begin = Now();
  PetscCall(FwSpectrumCreate(&k, bandwidth, &spectrum));
  made       = Now();
  t->kernels = PeakKernels(b, begin_bytes);
  PetscCall(SetBoth(b, spectrum));
  set     = Now();
  t->made = made - begin;
  t->set  = set - made;
  PetscCall(BenchPoint(b, spectrum, &t->resolvent, &t->prediction));
  PetscCall(FwSpectrumDestroy(&spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BenchSpectrum(const Bench *b, PetscInt bandwidth)
{
  const double flops = (bandwidth ? 4.0 : 10.0) / 3.0 * pow((double)b->n, 3.0);
  Times        best = {INFINITY, INFINITY, INFINITY, INFINITY, 0.0}, t = {0};
  double       point;
  char         stage[64];

  PetscFunctionBegin;
  for (int i = 0; i < (b->n > 4000 ? 1 : TIMES); i++) {
    PetscCall(RunSpectrum(b, bandwidth, &t));
    best = (Times){PetscMin(best.made, t.made), PetscMin(best.set, t.set), PetscMin(best.resolvent, t.resolvent),
                   PetscMin(best.prediction, t.prediction), PetscMax(best.kernels, t.kernels)};
  }
  (void)snprintf(stage, sizeof stage, "spectrum, bandwidth %d", (int)bandwidth);
  PetscCall(Print(b, stage, best.made, flops, best.kernels));
  PetscCall(Print(b, "  labels and test examples", best.set,
                  2.0 * (double)b->n * (double)b->n_test * (double)(b->n + b->n_input), 0.0));
  PetscCall(Print(b, "  resolvent", best.resolvent, 0.0, 0.0));
  PetscCall(Print(b, "  prediction", best.prediction, 0.0, 0.0));
  point = RESOLVENTS * best.resolvent + best.prediction;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%6d  %-28s %10.4g s   %.3f %% of the decomposition\n", (int)b->n, "  point",
                        point, 100.0 * point / (best.made + best.set)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a size ------------------------------------------------------------------------------------------------- */

static PetscErrorCode SetKey(const char key[], PetscInt value)
{
  char text[32];

  PetscFunctionBegin;
  (void)snprintf(text, sizeof text, "%d", (int)value);
  PetscCall(PetscOptionsSetValue(NULL, key, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeData(Bench *b)
{
  PetscFunctionBegin;
  PetscCall(PetscOptionsSetValue(NULL, "-data_source", "teacher"));
  PetscCall(SetKey("-data_train", b->n));
  PetscCall(SetKey("-data_test", b->n_test));
  PetscCall(SetKey("-teacher_inputs", b->n_input));
  PetscCall(FwDatasetCreate(PETSC_COMM_WORLD, &b->data));
  PetscCall(FwDatasetSetFromOptions(b->data));
  PetscCall(FwDatasetSetUp(b->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSize(Bench *b, PetscInt only)
{
  const PetscInt bandwidths[] = {64, 1, 0};
  double         width = 100.0, prior[2] = {1.0, 1.0}, bias[2] = {0.0, 0.0};
  PetscInt       activation = FW_ACTIVATION_ERF;
  const FwModel  model      = {.type        = FW_NETWORK_FC,
                               .depth       = 1,
                               .width       = &width,
                               .activation  = &activation,
                               .prior       = prior,
                               .bias        = bias,
                               .temperature = temperature};

  PetscFunctionBegin;
  PetscCall(MakeData(b));
  PetscCall(FwKernelCreate(b->grid, &model, b->data, &b->kernel));
  PetscCall(MeasureProduct(b));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%6d  %-28s %23.1f GF/s\n", (int)b->n, "dgemm on all ranks", b->rate * 1e-9));
  PetscCall(BenchAssembly(b));
  PetscCall(BenchCholesky(b));
  for (int i = 0; i < 3; i++)
    if (only < 0 || only == bandwidths[i]) PetscCall(BenchSpectrum(b, bandwidths[i]));
  PetscCall(FwKernelDestroy(&b->kernel));
  PetscCall(FwDatasetDestroy(&b->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(void)
{
  Bench    b        = {.n_input = 3072, .n_test = 1000};
  PetscInt size[16] = {1000, 2000}, n_size = 16, only = -1;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-inputs", &b.n_input, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-tests", &b.n_test, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-only", &only, NULL));
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-sizes", size, &n_size, NULL));
  if (!n_size) n_size = 2;
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &b.grid));
  for (PetscInt i = 0; i < n_size; i++) {
    b.n = size[i];
    PetscCall(RunSize(&b, only));
  }
  PetscCall(FwGridDestroy(&b.grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code;

  FwBlasTune(argv);
  code = FwStart(argc, argv, NULL);
  if (!code) code = Run();
  return FwFinish(code);
}
