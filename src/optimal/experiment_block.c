/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One block of instances: teachers answer, a learner learns, its error is measured on fresh inputs.
 */

#include "experiment_impl.h"
#include "optimal_impl.h"

#include <finwidth/dense.h>
#include <finwidth/gamp.h>
#include <finwidth/ridge.h>

#include <math.h>

enum { SCALARS = 3 }; /* sums over rows for each teacher: error, residual, residual^2 */

typedef struct {
  MPI_Comm            comm;
  const FwExperiment *e;
  FwInstances         at;
  PetscInt            K, d, width, n_local, n_local_test;
  FwDesign            train, test;
  double             *z, *y; /* [K, n_local] answers and labels at the training inputs */
  double *z_test, *y_test;   /* [K, n_local_test] fresh inputs; labels without what is added to them as noise */
  double *w, *out;           /* [K, width] what was learnt; X^T residual */
  double *scalar;            /* [SCALARS K] */
  double *number;            /* [K, FW_INSTANCE_COUNT] */
} Block;

static double *Number(const Block *b, PetscInt k)
{
  return b->number + k * FW_INSTANCE_COUNT;
}

/* --- data ------------------------------------------------------------------------------------------------------- */

/* Noise that is added to a label is not drawn on fresh ones: its variance is known */
static PetscBool IsNoiseAdded(const FwChannel *channel)
{
  return FwChannelIsDiscrete(channel) || channel->kind == FW_CHANNEL_ABS ? PETSC_FALSE : PETSC_TRUE;
}

/* eta, but never zero: where no part is linear the penalty of the weights leaves nothing of them, and the intercept, with its
   column in the same units, is learnt all the same */
static double Signal(const FwExperiment *e)
{
  const double least = 1e-6;

  return fmax(e->eta, least * sqrt(e->gamma + e->bias));
}

void FwExperimentDesigns(const FwExperiment *e, FwInstances at, FwDesignPlan *train, FwDesignPlan *test)
{
  const uint64_t seed = e->teacher.seed, block = (uint64_t)at.block;
  /* an intercept b = constant beta / sqrt(d), beta with the penalty of the weights: prior variance `bias` */
  const double constant = sqrt(e->bias * (double)e->teacher.d) / Signal(e);

  *train        = (FwDesignPlan){.stream   = FwStreamCreate(seed, FW_RANDOM_OPTIMAL_INPUT, block, 0, 0),
                                 .n        = e->n_train,
                                 .d        = e->teacher.d,
                                 .constant = constant,
                                 .n_column = at.n,
                                 .n_scalar = SCALARS * at.n,
                                 .is_kept  = PETSC_TRUE};
  *test         = *train;
  test->stream  = FwStreamCreate(seed, FW_RANDOM_OPTIMAL_INPUT, block, 1, 0);
  test->n       = e->n_test;
  test->is_kept = PETSC_FALSE;
}

static PetscErrorCode CreateBlock(MPI_Comm comm, const FwExperiment *e, FwInstances at, double number[], Block *b)
{
  FwDesignPlan train, test;
  size_t       n, m;

  PetscFunctionBegin;
  *b = (Block){.comm = comm, .e = e, .at = at, .K = at.n, .d = e->teacher.d, .number = number};
  FwExperimentDesigns(e, at, &train, &test);
  PetscCall(FwDesignCreate(comm, &train, &b->train));
  PetscCall(FwDesignCreate(comm, &test, &b->test));
  b->width        = FwDesignWidth(b->train);
  b->n_local      = FwDesignRows(b->train)->n_local;
  b->n_local_test = FwDesignRows(b->test)->n_local;
  n               = (size_t)b->K * (size_t)b->n_local;
  m               = (size_t)b->K * (size_t)b->n_local_test;
  PetscCall(PetscMalloc4(n, &b->z, n, &b->y, m, &b->z_test, m, &b->y_test));
  PetscCall(PetscMalloc3(b->K * b->width, &b->w, b->K * b->width, &b->out, SCALARS * b->K, &b->scalar));
  for (PetscInt i = 0; i < b->K * FW_INSTANCE_COUNT; i++) number[i] = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyBlock(Block *b)
{
  PetscFunctionBegin;
  PetscCall(PetscFree4(b->z, b->y, b->z_test, b->y_test));
  PetscCall(PetscFree3(b->w, b->out, b->scalar));
  PetscCall(FwDesignDestroy(&b->train));
  PetscCall(FwDesignDestroy(&b->test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwStream LabelStream(const Block *b, PetscInt k, uint64_t part)
{
  return FwStreamCreate(b->e->teacher.seed, FW_RANDOM_OPTIMAL_LABEL, (uint64_t)(b->at.first + k), part, 0);
}

static PetscErrorCode AskTeacher(Block *b, PetscInt k)
{
  const uint64_t instance = (uint64_t)(b->at.first + k);
  double        *z = b->z + (size_t)k * (size_t)b->n_local, *z_test = b->z_test + (size_t)k * (size_t)b->n_local_test;
  FwChannel      fresh = b->e->channel;

  PetscFunctionBegin;
  if (IsNoiseAdded(&fresh)) fresh.noise = 0.0;
  PetscCall(FwDeepTeacherAnswer(b->comm, &b->e->teacher, instance, b->train, z));
  PetscCall(FwDeepTeacherAnswer(b->comm, &b->e->teacher, instance, b->test, z_test));
  PetscCall(FwChannelSample(&b->e->channel, LabelStream(b, k, 0), (uint64_t)FwDesignRows(b->train)->first, b->n_local,
                            z, b->y + (size_t)k * (size_t)b->n_local));
  PetscCall(FwChannelSample(&fresh, LabelStream(b, k, 1), (uint64_t)FwDesignRows(b->test)->first, b->n_local_test,
                            z_test, b->y_test + (size_t)k * (size_t)b->n_local_test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

/* How a linear fit is looked at: z has mean scale X w / sqrt(d) and variance[k] */
typedef struct {
  const Block  *b;
  double        scale;
  const double *variance; /* [K], or NULL for 0 */
} Look;

/* One teacher's rows of a panel: u becomes the residual z - scale u */
static PetscErrorCode LookAtRows(const Look *look, PetscInt k, PetscInt first, PetscInt n, double u[],
                                 double sum[SCALARS])
{
  enum { PANEL_MOST = 512 };
  const Block     *b        = look->b;
  const FwChannel *channel  = &b->e->channel;
  const size_t     at       = (size_t)k * (size_t)b->n_local_test + (size_t)first;
  const PetscBool  is_class = FwChannelIsDiscrete(channel);
  double           guess[PANEL_MOST];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) u[i] *= look->scale;
  PetscCall(FwChannelGuess(channel, n, u, look->variance ? look->variance[k] : 0.0, guess));
  for (PetscInt i = 0; i < n; i++) {
    const double miss = b->y_test[at + i] - guess[i], rest = b->z_test[at + i] - u[i];

    sum[0] += is_class ? (miss != 0.0 ? 1.0 : 0.0) : miss * miss;
    sum[1] += rest;
    sum[2] += rest * rest;
    u[i] = rest;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LookAtPanel(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Look *look = context;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < look->b->K; k++) PetscCall(LookAtRows(look, k, first, n, u + k * n, scalar + SCALARS * k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Signal and rest of a teacher, from the residual r of any linear fit w: with t = E r x,
 *
 *     eta^2 |S|^2 = |w|^2 + 2 sqrt(d) w.t + d |t|^2,      rest = Var r - |t|^2,
 *
 * and |t|^2 without the bias d <r^2> / m of its estimate. The smaller r, the less noise.
 */
static void MeasureTeacher(const Block *b, PetscInt k, double scale)
{
  const double  d = b->d, m = b->e->n_test, *sum = b->scalar + SCALARS * k;
  const double *w     = b->w + (size_t)k * (size_t)b->width,
               *out   = b->out + (size_t)k * (size_t)b->width; /* out = m t / sqrt(d) */
  const double square = (d * FwDot(b->d, out, out) - d * sum[2]) / (m * (m - 1.0));
  double      *number = Number(b, k);

  number[FW_INSTANCE_SIGNAL] = scale * scale * FwDot(b->d, w, w) / d + 2.0 * scale * FwDot(b->d, w, out) / m + square;
  number[FW_INSTANCE_REST]   = sum[2] / m - PetscSqr(sum[1] / m) - square;
}

/* What ridge with the predicted penalty is expected to reach for this teacher's signal and rest: with q the overlap of the
   typical teacher, (D + signal (1 - q)^2) / (1 - q^2 / alpha); at the typical values that is Delta + V */
static double Conditional(const FwExperiment *e, const double number[])
{
  const double alpha = (double)e->n_train / (double)e->teacher.d, noise = e->channel.noise;
  double       q, remainder;

  q = FwGaussianOverlap(alpha, (e->gamma + noise) / (e->eta * e->eta), &remainder);
  return (number[FW_INSTANCE_REST] + noise + number[FW_INSTANCE_SIGNAL] * PetscSqr(remainder)) / (1.0 - q * q / alpha);
}

/* Errors of what has been learnt, to number[`error`] */
static PetscErrorCode MeasureErrors(const Block *b, double scale, const double variance[], FwInstanceNumber error)
{
  const FwChannel *channel = &b->e->channel;
  Look             look    = {.b = b, .scale = scale, .variance = variance};

  PetscFunctionBegin;
  PetscCall(FwDesignPass(b->test, b->w, LookAtPanel, &look, b->scalar, b->out));
  for (PetscInt k = 0; k < b->K; k++) {
    double *number = Number(b, k);

    number[error] = b->scalar[SCALARS * k] / (double)b->e->n_test + (IsNoiseAdded(channel) ? channel->noise : 0.0);
    MeasureTeacher(b, k, scale);
    if (channel->kind == FW_CHANNEL_GAUSSIAN && b->e->eta > 0.0)
      number[FW_INSTANCE_CONDITIONAL] = Conditional(b->e, number);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- ridge -------------------------------------------------------------------------------------------------------- */

/* Given its label, z at a training input is x.w / sqrt(d) plus gamma / (gamma + Delta) of what the label differs from it */
static PetscErrorCode TrainPanel(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Block *b    = context;
  const double all  = b->e->gamma + b->e->channel.noise;
  const double part = all > 0.0 ? b->e->gamma / all : 1.0;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < b->K; k++)
    for (PetscInt i = 0; i < n; i++) {
      const size_t at = (size_t)k * (size_t)b->n_local + (size_t)(first + i);
      const double x  = u[k * n + i];

      scalar[k] += PetscSqr(b->z[at] - x - part * (b->y[at] - x));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LearnByRidge(Block *b)
{
  const FwRidgePlan plan = {.penalty   = (b->e->gamma + b->e->channel.noise) / PetscSqr(Signal(b->e)),
                            .tolerance = 1e-10,
                            .most      = b->e->n_iteration};
  FwRidgeState      state;

  PetscFunctionBegin;
  PetscCall(FwRidgeSolve(b->train, b->y, &plan, b->w, &state));
  PetscCall(FwDesignPass(b->train, b->w, TrainPanel, b, b->scalar, NULL));
  for (PetscInt k = 0; k < b->K; k++) {
    Number(b, k)[FW_INSTANCE_TRAIN]      = b->scalar[k] / (double)b->e->n_train;
    Number(b, k)[FW_INSTANCE_ITERATIONS] = state.n_iteration;
    Number(b, k)[FW_INSTANCE_CONVERGED]  = state.residual <= plan.tolerance;
  }
  PetscCall(MeasureErrors(b, 1.0, NULL, FW_INSTANCE_RIDGE));
  for (PetscInt k = 0; k < b->K; k++) Number(b, k)[FW_INSTANCE_ERROR] = Number(b, k)[FW_INSTANCE_RIDGE];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- message passing ---------------------------------------------------------------------------------------------- */

static PetscErrorCode TakeAnswers(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Block *b = context;

  PetscFunctionBegin;
  (void)scalar;
  for (PetscInt k = 0; k < b->K; k++)
    PetscCall(PetscArraycpy(u + k * n, b->z_test + (size_t)k * (size_t)b->n_local_test + first, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S of each teacher, [K, d]: known without layers, else S = sqrt(d) E[z x] / eta by the fresh inputs */
static PetscErrorCode FindDirections(const Block *b, double direction[])
{
  PetscFunctionBegin;
  if (b->e->teacher.depth == 0) {
    for (PetscInt k = 0; k < b->K; k++)
      PetscCall(
        FwDeepTeacherReadout(&b->e->teacher, (uint64_t)(b->at.first + k), direction + (size_t)k * (size_t)b->d));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwDesignPass(b->test, NULL, TakeAnswers, (void *)b, b->scalar, direction));
  for (size_t i = 0; i < (size_t)b->K * (size_t)b->d; i++)
    direction[i] *= (double)b->d / ((double)b->e->n_test * b->e->eta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwGampPlan GampPlan(const Block *b)
{
  return (FwGampPlan){
    .channel   = b->e->channel,
    .eta       = b->e->eta,
    .gamma     = b->e->gamma,
    .n_free    = 100,
    .start     = FwChannelIsEven(&b->e->channel) ? 0.1 : 0.0,
    .stream    = FwStreamCreate(b->e->teacher.seed, FW_RANDOM_OPTIMAL_START, (uint64_t)b->at.block, 0, 0),
    .tolerance = 1e-9,
    .most      = b->e->n_iteration};
}

/* Of s and -s, which even labels do not tell apart, the one along S: what it leaves of z is then small */
static void ChooseSigns(const Block *b, const double direction[])
{
  for (PetscInt k = 0; k < b->K && FwChannelIsEven(&b->e->channel); k++) {
    double *w = b->w + (size_t)k * (size_t)b->d;

    if (FwDot(b->d, w, direction + (size_t)k * (size_t)b->d) < 0.0)
      for (PetscInt i = 0; i < b->d; i++) w[i] = -w[i];
  }
}

static PetscErrorCode LearnByGamp(Block *b, PetscInt *n_step, double overlap[])
{
  const FwGampPlan plan = GampPlan(b);
  const double     eta2 = plan.eta * plan.eta;
  FwGampState      state;
  double          *direction, variance[FW_BLOCK_MOST];

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)b->K * (size_t)b->d, &direction));
  PetscCall(FindDirections(b, direction));
  PetscCall(FwGampSolve(b->train, b->y, direction, &plan, b->w, &state));
  *n_step = state.n_iteration + 1;
  PetscCall(PetscArraycpy(overlap, state.overlap, (size_t)*n_step * (size_t)b->K));
  for (PetscInt k = 0; k < b->K; k++) {
    double *number = Number(b, k);

    variance[k]                    = plan.gamma + eta2 * state.variance[k];
    number[FW_INSTANCE_OVERLAP]    = overlap[state.n_iteration * b->K + k];
    number[FW_INSTANCE_ITERATIONS] = state.n_iteration;
    number[FW_INSTANCE_CONVERGED]  = state.is_converged[k];
    if (plan.channel.kind == FW_CHANNEL_GAUSSIAN) number[FW_INSTANCE_VARIANCE] = variance[k] + plan.channel.noise;
  }
  ChooseSigns(b, direction);
  PetscCall(MeasureErrors(b, plan.eta, variance, FW_INSTANCE_ERROR));
  PetscCall(FwGampStateDestroy(&state));
  PetscCall(PetscFree(direction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- sampling ------------------------------------------------------------------------------------------------------ */

/* One number per local row becomes the list of all, in order, on every rank */
static PetscErrorCode GatherRows(MPI_Comm comm, const FwRows *rows, const double local[], double all[])
{
  PetscMPIInt  n_rank, n = (PetscMPIInt)rows->n_local;
  PetscMPIInt *count, *place;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  PetscCall(PetscMalloc2(n_rank, &count, n_rank, &place));
  PetscCallMPI(MPI_Allgather(&n, 1, MPI_INT, count, 1, MPI_INT, comm));
  for (PetscMPIInt r = 0, at = 0; r < n_rank; at += count[r++]) place[r] = at;
  PetscCallMPI(MPI_Allgatherv(local, n, MPI_DOUBLE, all, count, place, MPI_DOUBLE, comm));
  PetscCall(PetscFree2(count, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SampleTeacher(const Block *b, PetscInt k)
{
  const FwExperiment *e      = b->e;
  const double        noise  = e->channel.noise;
  double             *number = Number(b, k), *y, *z;
  FwDesignPlan        train, test;
  PetscErrorCode      code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(e->n_train, &y, e->n_test, &z));
  PetscCall(GatherRows(b->comm, FwDesignRows(b->train), b->y + (size_t)k * (size_t)b->n_local, y));
  PetscCall(GatherRows(b->comm, FwDesignRows(b->test), b->z_test + (size_t)k * (size_t)b->n_local_test, z));
  FwExperimentDesigns(e, b->at, &train, &test);
  const FwExperimentData data = {.number  = b->at.first + k,
                                 .n_train = e->n_train,
                                 .n_test  = e->n_test,
                                 .d       = b->d,
                                 .train   = train.stream,
                                 .test    = test.stream,
                                 .y       = y,
                                 .z       = z};

  code = e->sampler(b->comm, &data, e->context, number);
  number[FW_INSTANCE_ERROR] += noise;
  number[FW_INSTANCE_VARIANCE] += noise;
  PetscCall(PetscFree2(y, z));
  PetscFunctionReturn(code);
}

/* --- the block ------------------------------------------------------------------------------------------------------ */

static PetscErrorCode Learn(Block *b, PetscInt *n_step, double overlap[])
{
  PetscFunctionBegin;
  for (PetscInt k = 0; k < b->K; k++) PetscCall(AskTeacher(b, k));
  *n_step = 0;
  if (b->e->kind == FW_EXPERIMENT_GAMP)
    PetscCall(LearnByGamp(b, n_step, overlap));
  else
    PetscCall(LearnByRidge(b));
  for (PetscInt k = 0; k < b->K && b->e->kind == FW_EXPERIMENT_HMC; k++) PetscCall(SampleTeacher(b, k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExperimentBlock(MPI_Comm comm, const FwExperiment *experiment, FwInstances instances, double number[],
                                 PetscInt *n_step, double overlap[])
{
  Block          block;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CreateBlock(comm, experiment, instances, number, &block));
  code = Learn(&block, n_step, overlap);
  PetscCall(DestroyBlock(&block));
  PetscFunctionReturn(code);
}
