/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Speed of the sampled network: gradients per second, and as a fraction of what dgemm reaches in the same run.
 *
 *     mpirun -n 1 bench_network [-train 500,1000] [-inputs 784] [-width 500,1000] [-seconds 2]
 *
 * One hidden erf layer, one output. Each rank works by itself on all P examples, as chains do, and then (`shared`) all
 * ranks on one network. Flops counted: 4 P min(P, N_0) N for forward and backward, and for the collapsed potential, with
 * m = min(P, N), what its products and factors need: P N m + 2 P N m + m^3 / 3, and 2 m^3 / 3 for the inverse where
 * P < N. dgemm is timed at the shapes of the forward and backward products on the same blocks of rows.
 */

#include <finwidth/activation.h>
#include <finwidth/blas.h>
#include <finwidth/potential.h>

#include <petscblaslapack.h>
#include <stdio.h>
#include <time.h>

enum { LIST = 8 };

static double seconds = 2.0;

/* Time of this rank's own processor: other programs on the machine do not count */
static double Clock(void)
{
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of one call, tried for about `seconds` */
static double BestTime(PetscErrorCode (*run)(void *), void *context)
{
  double best = INFINITY, used = 0.0;

  PetscCallAbort(PETSC_COMM_WORLD, run(context)); /* pages touched */
  while (used < seconds) {
    const double begin = Clock();
    double       time;

    PetscCallAbort(PETSC_COMM_WORLD, run(context));
    time = Clock() - begin;
    best = PetscMin(best, time);
    used += time;
    MPI_Bcast(&used, 1, MPI_DOUBLE, 0, PETSC_COMM_WORLD); /* all ranks stop together */
  }
  return best;
}

/* --- dgemm ---------------------------------------------------------------------------------------------------- */

typedef struct {
  PetscInt m, n, k;
  double  *a, *b, *c;
} Product;

/* H = W X, then the gradient of W: the two products of a block */
static PetscErrorCode RunProduct(void *context)
{
  Product     *p   = context;
  const double one = 1.0, zero = 0.0;

  PetscFunctionBegin;
  BLASgemm_("T", "N", &p->m, &p->n, &p->k, &one, p->a, &p->k, p->b, &p->k, &zero, p->c, &p->m);
  BLASgemm_("N", "T", &p->k, &p->m, &p->n, &one, p->b, &p->k, p->c, &p->m, &zero, p->a, &p->k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gflop/s of the two products on n rows */
static double ProductRate(PetscInt n, PetscInt n_input, PetscInt width)
{
  Product p = {.m = width, .n = n, .k = n_input};
  double  time;

  PetscCallAbort(PETSC_COMM_WORLD, PetscCalloc3(width * n_input, &p.a, n * n_input, &p.b, width * n, &p.c));
  time = BestTime(RunProduct, &p);
  PetscCallAbort(PETSC_COMM_WORLD, PetscFree3(p.a, p.b, p.c));
  return 4e-9 * (double)n * (double)n_input * (double)width / time;
}

/* --- potentials ----------------------------------------------------------------------------------------------- */

typedef struct {
  FwPotential potential;
  double     *theta, *gradient;
} Point;

static PetscErrorCode RunGradient(void *context)
{
  Point *point = context;
  double energy;

  PetscFunctionBegin;
  PetscCall(FwPotentialEvaluate(point->potential, point->theta, &energy, point->gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double GradientTime(MPI_Comm comm, const FwModel *model, FwDataset data, FwPotentialKind kind)
{
  FwExamples examples;
  Point      point;
  PetscInt   n;
  double     time;

  PetscCallAbort(PETSC_COMM_WORLD, FwExamplesCreate(data, comm, &examples));
  PetscCallAbort(PETSC_COMM_WORLD, FwPotentialCreate(comm, model, &examples, kind, &point.potential));
  PetscCallAbort(PETSC_COMM_WORLD, FwPotentialGetSize(point.potential, &n));
  PetscCallAbort(PETSC_COMM_WORLD, PetscMalloc2(n, &point.theta, n, &point.gradient));
  FwStreamNormal(FwStreamCreate(1, FW_RANDOM_TEACHER_WEIGHT, 0, 0, 0), 0, (size_t)n, point.theta);
  time = BestTime(RunGradient, &point);
  PetscCallAbort(PETSC_COMM_WORLD, PetscFree2(point.theta, point.gradient));
  PetscCallAbort(PETSC_COMM_WORLD, FwPotentialDestroy(&point.potential));
  PetscCallAbort(PETSC_COMM_WORLD, FwExamplesDestroy(&examples));
  return time;
}

static double Gigaflops(FwPotentialKind kind, double P, double N0, double N)
{
  const double m = PetscMin(P, N), products = 4.0 * P * PetscMin(P, N0) * N;

  return 1e-9 *
         (kind == FW_POTENTIAL_FULL ? products : products + 3.0 * P * N * m + m * m * m * (P < N ? 1.0 : 1.0 / 3.0));
}

static void Bench(PetscInt n_train, PetscInt n_input, PetscInt n_width)
{
  double        width = (double)n_width, prior[2] = {1.0, 1.0}, bias[2] = {0.0, 0.0}, rate;
  PetscInt      activation = FW_ACTIVATION_ERF;
  const FwModel model      = {.type        = FW_NETWORK_FC,
                              .depth       = 1,
                              .width       = &width,
                              .activation  = &activation,
                              .prior       = prior,
                              .bias        = bias,
                              .temperature = 0.1};
  PetscMPIInt   n_rank;
  FwDataset     data;
  char          line[128];

  MPI_Comm_size(PETSC_COMM_WORLD, &n_rank);
  snprintf(line, sizeof line, "-data_source teacher -teacher_inputs %d -data_train %d -data_test 0", (int)n_input,
           (int)n_train);
  PetscCallAbort(PETSC_COMM_WORLD, PetscOptionsInsertString(NULL, line));
  PetscCallAbort(PETSC_COMM_WORLD, FwDatasetCreate(PETSC_COMM_WORLD, &data));
  PetscCallAbort(PETSC_COMM_WORLD, FwDatasetSetFromOptions(data));
  PetscCallAbort(PETSC_COMM_WORLD, FwDatasetSetUp(data));
  rate = ProductRate(n_train / PetscMax(1, (n_train + 128) / 256), PetscMin(n_train, n_input), n_width);
  for (int shared = 0; shared < 1 + (n_rank > 1); shared++)
    for (int kind = FW_POTENTIAL_FULL; kind >= 0; kind--) {
      const double time =
        GradientTime(shared ? PETSC_COMM_WORLD : PETSC_COMM_SELF, &model, data, (FwPotentialKind)kind);
      const double work =
        Gigaflops((FwPotentialKind)kind, (double)n_train, (double)n_input, width) / (shared ? n_rank : 1);

      PetscCallAbort(
        PETSC_COMM_WORLD,
        PetscPrintf(PETSC_COMM_WORLD, "%6d %6d %6d  %-9s %-7s %9.2f %9.1f %9.1f %9.0f %%\n", (int)n_train, (int)n_input,
                    (int)n_width, kind == FW_POTENTIAL_FULL ? "full" : "collapsed", shared ? "shared" : "alone",
                    1.0 / time, work / time, rate, 100.0 * work / time / rate));
    }
  PetscCallAbort(PETSC_COMM_WORLD, FwDatasetDestroy(&data));
}

int main(int argc, char **argv)
{
  PetscInt  train[LIST] = {500, 1000}, width[LIST] = {500, 1000}, n_train = 2, n_width = 2, input = 784, n = LIST;
  PetscBool is_set;

  FwBlasTune(argv);
  if (FwStart(argc, argv, NULL)) return 1;
  PetscCallAbort(PETSC_COMM_WORLD, PetscOptionsGetIntArray(NULL, NULL, "-train", train, &n, &is_set));
  if (is_set) n_train = n;
  n = LIST;
  PetscCallAbort(PETSC_COMM_WORLD, PetscOptionsGetIntArray(NULL, NULL, "-width", width, &n, &is_set));
  if (is_set) n_width = n;
  PetscCallAbort(PETSC_COMM_WORLD, PetscOptionsGetInt(NULL, NULL, "-inputs", &input, NULL));
  PetscCallAbort(PETSC_COMM_WORLD, PetscOptionsGetReal(NULL, NULL, "-seconds", &seconds, NULL));
  PetscCallAbort(PETSC_COMM_WORLD, PetscPrintf(PETSC_COMM_WORLD, "%6s %6s %6s  %-9s %-7s %9s %9s %9s %9s\n", "P", "N_0",
                                               "N", "potential", "ranks", "grad/s", "Gflop/s", "dgemm", "share"));
  for (PetscInt i = 0; i < PetscMin(n_train, n_width); i++) Bench(train[i], input, width[i]);
  return FwFinish(PETSC_SUCCESS);
}
