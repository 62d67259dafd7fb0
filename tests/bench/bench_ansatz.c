/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Speed of training: seconds per step and run (of a flow: per gradient and run), on one rank or on all of them together.
 *
 *     mpirun -n 1 bench_ansatz [-seconds 2] [-task NAME]
 *
 * `runs` runs of one shape are one training; peer_ansatz.py is the same by PyTorch. On several ranks only networks that
 * share their gradient over ranks are timed.
 */

#include <finwidth/blas.h>
#include <finwidth/random.h>
#include <finwidth/training.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double seconds   = 2.0;
static char   only[64] = ""; /* the task whose name begins like this, or all */

typedef struct {
  const char    *name;
  FwLearnerShape shape;
  PetscInt       n_example, n_run;
  FwTrainPlan    plan;
  PetscBool      is_single;
} Task;

#define LINEAR(...)                                                          \
  {                                                                          \
    .n_layer = 3, .width = {__VA_ARGS__}, .activation = FW_ACTIVATION_LINEAR \
  }
#define RELU(...)                                                                                  \
  {                                                                                                \
    .n_layer = 3, .width = {__VA_ARGS__}, .activation = FW_ACTIVATION_RELU, .has_bias = PETSC_TRUE \
  }
#define FLOW                                    \
  {                                             \
    .method = FW_TRAIN_FLOW, .tolerance = 1e-10 \
  }
#define BATCHES(n)                                      \
  {                                                     \
    .method = FW_TRAIN_SGD, .momentum = 0.9, .batch = n \
  }
#define TANH(...)                                                          \
  {                                                                        \
    .n_layer = 3, .width = {__VA_ARGS__}, .activation = FW_ACTIVATION_TANH \
  }

/* clang-format off: version 14 fails on these rows */
static const Task tasks[] = {
  {"linear 16-14-14-5",         LINEAR(16,  14,  14,  5),  200,  64, {.method = FW_TRAIN_GD},   PETSC_FALSE},
  {"linear 20-12-12-6",         LINEAR(20,  12,  12,  6),  300,  64, {.method = FW_TRAIN_GD},   PETSC_FALSE},
  {"linear 20-12-12-6 adam",    LINEAR(20,  12,  12,  6),  300,  64, {.method = FW_TRAIN_ADAM}, PETSC_FALSE},
  {"linear 64-64-64-10",        LINEAR(64,  64,  64,  10), 1000, 8,  {.method = FW_TRAIN_GD},   PETSC_FALSE},
  {"linear 784-256-256-10",     LINEAR(784, 256, 256, 10), 2000, 1,  {.method = FW_TRAIN_GD},   PETSC_FALSE},
  {"linear 20-12-12-6 flow",    LINEAR(20,  12,  12,  6),  300,  64, FLOW,                      PETSC_FALSE},
  {"tanh 20-12-12-6",           TANH(20,    12,  12,  6),  300,  64, {.method = FW_TRAIN_GD},   PETSC_FALSE},
  {"tanh 20-12-12-6 flow",      TANH(20,    12,  12,  6),  300,  64, FLOW,                      PETSC_FALSE},
  {"relu 784-256-256-10 b 128", RELU(784,   256, 256, 10), 2000, 1,  BATCHES(128),              PETSC_FALSE},
  {"relu 784-256-256-10 b 128", RELU(784,   256, 256, 10), 2000, 1,  BATCHES(128),              PETSC_TRUE },
  {"relu 784-512-512-10 b 128", RELU(784,   512, 512, 10), 2000, 1,  BATCHES(128),              PETSC_FALSE},
  {"relu 784-512-512-10 b 512", RELU(784,   512, 512, 10), 2000, 1,  BATCHES(512),              PETSC_FALSE},
  {"relu 784-512-512-10 b 1024", RELU(784,  512, 512, 10), 2000, 1,  BATCHES(1024),             PETSC_FALSE},
};
/* clang-format on */

/* Time of this rank's own processor: other programs on the machine do not count */
static double Clock(void)
{
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static PetscErrorCode CountGradients(FwTraining training, PetscInt n_run, double *n)
{
  PetscFunctionBegin;
  *n = 0.0;
  for (PetscInt r = 0; r < n_run; r++) {
    FwTrainState state;

    PetscCall(FwTrainingGetState(training, r, &state));
    *n += state.n_gradient;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Best time of a gradient and what follows it, over advances of about a twentieth of the seconds */
static PetscErrorCode TimeSteps(FwTraining training, PetscInt n_run, double *best)
{
  const double end  = 1e9; /* far away */
  double       used = 0.0, n_step = 1.0, before, after;
  PetscBool    is_there;

  PetscFunctionBegin;
  *best = INFINITY;
  PetscCall(CountGradients(training, n_run, &before));
  while (used < seconds) {
    const double begin = Clock();
    double       took;

    PetscCall(FwTrainingAdvanceSome(training, end, n_step, &is_there));
    took = Clock() - begin;
    PetscCall(CountGradients(training, n_run, &after));
    *best  = PetscMin(*best, took / (after - before));
    before = after;
    used += took;
    if (took < 0.05 * seconds) n_step *= 2.0;
    PetscCallMPI(MPI_Bcast(&used, 1, MPI_DOUBLE, 0, PETSC_COMM_WORLD)); /* all ranks go on together */
    PetscCallMPI(MPI_Bcast(&n_step, 1, MPI_DOUBLE, 0, PETSC_COMM_WORLD));
  }
  PetscCall(FwTrainingCheck(training));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Draw(uint64_t stream, double scale, PetscInt n, double value[])
{
  FwStreamNormal(FwStreamCreate(1, FW_RANDOM_TEACHER_INPUT, stream, 0, 0), 0, (size_t)n, value);
  for (PetscInt i = 0; i < n; i++) value[i] *= scale;
}

static PetscErrorCode Run(const Task *task)
{
  const PetscInt d = task->shape.width[0], c = task->shape.width[3], n = FwLearnerShapeSize(&task->shape);
  double        *x, *y, *theta, step;
  FwLearner      learner;
  FwTrainRun    *run;
  FwTraining     training;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(task->n_example * d, &x, task->n_example * c, &y, task->n_run * n, &theta, task->n_run, &run));
  Draw(0, 1.0, task->n_example * d, x);
  Draw(1, 1.0, task->n_example * c, y);
  Draw(2, 0.5 / sqrt((double)d), task->n_run * n, theta);
  PetscCall(FwLearnerCreate(PETSC_COMM_WORLD, &task->shape, FW_LOSS_MSE, task->n_example, x, y, &learner));
  PetscCall(FwLearnerSetSingle(learner, task->is_single));
  for (PetscInt r = 0; r < task->n_run; r++)
    run[r] = (FwTrainRun){
      .learner = learner, .decay = {1e-3, 1e-3},
           .step = 1e-4, .theta = theta + (size_t)r * n
    };
  PetscCall(FwTrainingCreate(&task->plan, task->n_run, run, &training));
  PetscCall(TimeSteps(training, task->n_run, &step));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%-28s %5" PetscInt_FMT "  %-12s %.3e\n", task->name, task->n_run,
                        task->is_single ? "finwidth f32" : "finwidth", step));
  PetscCall(FwTrainingDestroy(&training));
  PetscCall(FwLearnerDestroy(&learner));
  PetscCall(PetscFree4(x, y, theta, run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunAll(void)
{
  PetscMPIInt n_rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &n_rank));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-seconds", &seconds, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-task", only, sizeof only, NULL));
  PetscCall(
    PetscPrintf(PETSC_COMM_WORLD, "task                          runs  by           seconds per step and run\n"));
  for (size_t t = 0; t < sizeof tasks / sizeof *tasks; t++)
    if ((n_rank == 1 || tasks[t].plan.batch) && !strncmp(tasks[t].name, only, strlen(only))) PetscCall(Run(&tasks[t]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code;

  FwBlasTune(argv);
  code = FwStart(argc, argv, NULL);
  if (!code) code = RunAll();
  return FwFinish(code);
}
