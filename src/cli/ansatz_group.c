/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A group of points of `finwidth ansatz`: one shape, the same examples and method; their runs are one ensemble.
 */

#include "ansatz_impl.h"
#include "predict.h"

#include <finwidth/estimate.h>
#include <finwidth/vector.h>

const char *const FwAnsatzSharedKeys[] = {"ansatz_decay", "ansatz_bias_decay", "ansatz_step",
                                          "ansatz_init",  "ansatz_init_scale", NULL};

/* --- examples --------------------------------------------------------------------------------------------------------- */

static PetscErrorCode LoadExamples(FwAnsatzGroupData *g)
{
  PetscFunctionBegin;
  PetscCall(FwPredictLoadData(g->comm, &g->data));
  PetscCall(FwDatasetGetSizes(g->data, &g->sizes));
  PetscCall(FwExamplesCreate(g->data, PETSC_COMM_SELF, &g->examples));
  g->plan.n_example = g->sizes.n_train;
  g->plan.x         = g->examples.train.x;
  g->plan.y         = g->examples.y_train;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeExamples(FwAnsatzGroupData *g)
{
  const FwCase *c = &g->point[0].counterexample;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(c->n_example * c->shape.width[0], &g->x));
  PetscCall(PetscMalloc1(c->n_example * c->shape.width[c->shape.n_layer], &g->y));
  PetscCall(FwCaseExamples(c, g->x, g->y));
  g->plan.n_example = c->n_example;
  g->plan.x         = g->x;
  g->plan.y         = g->y;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- runs --------------------------------------------------------------------------------------------------------------- */

/* The ends of the network are the data's */
static void FitShape(const FwAnsatzGroupData *g, FwLearnerShape *shape)
{
  if (!g->data) return;
  shape->width[0]              = g->sizes.n_input;
  shape->width[shape->n_layer] = g->sizes.n_output;
}

static PetscErrorCode MakeStart(const FwAnsatzGroupData *g, const FwAnsatzPoint *point, PetscInt seed, double theta[])
{
  FwInitial initial = point->initial;

  PetscFunctionBegin;
  initial.singular = point->singular;
  initial.seed     = point->seed + (uint64_t)seed;
  if (point->has_case)
    PetscCall(FwCaseStart(&point->counterexample, theta));
  else if (point->weights[0])
    PetscCall(FwInitialRead(g->comm, point->weights, &point->shape, theta));
  else
    PetscCall(FwInitialDraw(&initial, &point->shape, theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRuns(FwAnsatzGroupData *g)
{
  const PetscInt n_seed = g->ansatz->n_seed, n_theta = FwLearnerShapeSize(&g->plan.shape);

  PetscFunctionBegin;
  g->plan.n_run = g->n_point * n_seed;
  PetscCall(PetscMalloc1(g->plan.n_run, &g->run));
  PetscCall(PetscMalloc1((size_t)g->plan.n_run * (size_t)n_theta, &g->start));
  for (PetscInt r = 0; r < g->plan.n_run; r++) {
    const FwAnsatzPoint *point = &g->point[r / n_seed];
    double              *theta = g->start + (size_t)r * (size_t)n_theta;

    PetscCall(MakeStart(g, point, r % n_seed, theta));
    g->run[r] = (FwEnsembleRun){point->decay, point->step, point->seed + (uint64_t)(r % n_seed), theta};
  }
  g->plan.run = g->run;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An sgd without ansatz_batch takes 100 examples, or all there are */
static PetscErrorCode MakePlan(FwAnsatzGroupData *g)
{
  const FwAnsatzPoint *point = &g->point[0];

  PetscFunctionBegin;
  g->plan.shape     = point->shape;
  g->plan.loss      = point->loss;
  g->plan.plan      = point->plan;
  g->plan.is_single = point->is_single;
  if (point->plan.method == FW_TRAIN_SGD && !point->has_batch) g->plan.plan.batch = PetscMin(100, g->plan.n_example);
  g->plan.n_alpha = g->ansatz->n_alpha;
  g->plan.alpha   = g->ansatz->alpha;
  g->plan.n_time  = point->n_time;
  PetscCall(PetscMalloc1(PetscMax(2, point->n_time), &g->time));
  g->time[0] = 0.0;
  if (point->n_time > 1)
    FwEnsembleTimes(point->end, FwTrainMethodIsFlow(point->plan.method) ? PETSC_FALSE : PETSC_TRUE, &g->plan.n_time,
                    g->time);
  g->plan.time = g->time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMemory(const FwAnsatzGroupData *g, PetscInt n_seed)
{
  FwEnsemblePlan plan = g->plan;
  double         bytes, needed;

  PetscFunctionBegin;
  plan.n_run = g->n_point * n_seed;
  needed     = FW_ESTIMATE_BASE_BYTES + FwEnsembleBytes(&plan);
  PetscCall(FwEstimateMemory(g->comm, &bytes));
  PetscCheck(needed <= bytes, g->comm, FW_ERR_MEMORY,
             "%" PetscInt_FMT
             " runs of a network need %.3g GiB on each rank, of %.3g GiB: fewer ansatz_seeds, "
             "ansatz_measurements, data_train or a narrower network",
             plan.n_run, needed / 1073741824.0, bytes / 1073741824.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPoints(FwAnsatzGroupData *g, FwScan scan, const PetscInt point[])
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1(g->n_point, &g->point));
  for (PetscInt i = 0; i < g->n_point; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    PetscCall(FwAnsatzPointRead(g->comm, &g->point[i]));
  }
  PetscCall(FwScanApply(scan, point[0]));
  PetscCall(g->point[0].has_case ? MakeExamples(g) : LoadExamples(g));
  for (PetscInt i = 0; i < g->n_point; i++) {
    FwInitial initial = g->point[i].initial;

    FitShape(g, &g->point[i].shape);
    initial.singular = g->point[i].singular;
    if (!g->point[i].has_case && !g->point[i].weights[0]) PetscCall(FwInitialCheck(&initial, &g->point[i].shape));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyGroup(FwAnsatzGroupData *g)
{
  PetscFunctionBegin;
  if (g->data) PetscCall(FwExamplesDestroy(&g->examples));
  PetscCall(FwDatasetDestroy(&g->data));
  PetscCall(PetscFree(g->x));
  PetscCall(PetscFree(g->y));
  PetscCall(PetscFree(g->point));
  PetscCall(PetscFree(g->run));
  PetscCall(PetscFree(g->start));
  PetscCall(PetscFree(g->time));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the group ------------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode PrintHeader(const FwAnsatzGroupData *g)
{
  const char *summary = g->data ? "" : FwCaseNames[g->point[0].counterexample.kind];

  PetscFunctionBegin;
  if (g->data) PetscCall(FwDatasetGetSummary(g->data, &summary));
  PetscCall(FwPrintAnsatzHeader(&g->point[0], summary, g->plan.n_example, g->ansatz->n_seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainGroup(FwAnsatzGroupData *g, PetscInt first, FwRecord record[])
{
  const FwRequest *request   = g->ansatz->request;
  const PetscBool  is_single = request->is_single;
  char             path[PETSC_MAX_PATH_LEN];
  PetscMPIInt      rank;
  FwEnsembleResult result;
  PetscErrorCode   code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(FwRequestPointCheckpoint(request, first, sizeof path, path));
  g->plan.checkpoint   = path;
  g->plan.tag          = request->tag;
  g->plan.resume       = request->resume;
  g->plan.interval     = FwRequestCheckpointSeconds();
  g->plan.has_progress = is_single;
  if (is_single) PetscCall(PrintHeader(g));
  PetscCall(FwEnsembleTrain(g->comm, &g->plan, &result));
  PetscCallMPI(MPI_Comm_rank(g->comm, &rank));
  if (rank == 0) code = FwAnsatzRecord(g, &result, record);
  PetscCall(FwErrorAgree(g->comm, 0, code));
  if (is_single) PetscCall(FwPrintAnsatz(record[0], g->ansatz->n_seed));
  PetscCall(FwEnsembleDestroy(&result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* n_seed: for which there must be room */
static PetscErrorCode PrepareGroup(FwAnsatzGroupData *g, FwScan scan, const PetscInt point[], PetscInt n_seed)
{
  PetscFunctionBegin;
  PetscCall(ReadPoints(g, scan, point));
  PetscCall(MakePlan(g));
  PetscCall(CheckMemory(g, n_seed));
  PetscCall(MakeRuns(g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The slowest rank's word */
static PetscErrorCode Try(const FwAnsatzGroupData *g, double budget, FwAnsatzNeed *need)
{
  PetscFunctionBegin;
  need->gradient_flops = FwEnsembleGradientCost(&g->plan);
  PetscCall(FwErrorAgreeAny(PETSC_COMM_WORLD, FwEnsembleTrial(&g->plan, budget, &need->seconds)));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &need->seconds, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwAnsatzEstimate(const FwAnsatz *ansatz, PetscInt n, const PetscInt point[], double budget,
                                FwAnsatzNeed *need)
{
  FwAnsatz          few = *ansatz; /* seeds are alike: this machine need not have room for all */
  FwAnsatzGroupData g   = {.comm = PETSC_COMM_WORLD, .ansatz = &few, .n_point = n};
  PetscErrorCode    code;

  PetscFunctionBegin;
  few.n_seed = PetscMin(few.n_seed, FW_LANES);
  code       = PrepareGroup(&g, ansatz->request->scan, point, ansatz->n_seed);
  if (!code) code = Try(&g, budget, need);
  if (!code) {
    g.plan.n_run     = n * ansatz->n_seed;
    need->rank_bytes = FW_ESTIMATE_BASE_BYTES + FwEnsembleBytes(&g.plan);
    need->seconds *= (double)ansatz->n_seed / few.n_seed;
  }
  PetscCall(DestroyGroup(&g));
  PetscFunctionReturn(code);
}

PetscErrorCode FwAnsatzGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                             void *context)
{
  FwAnsatzGroupData g = {.comm = comm, .ansatz = context, .n_point = n};
  PetscErrorCode    code;

  PetscFunctionBegin;
  code = PrepareGroup(&g, scan, point, g.ansatz->n_seed);
  if (!code) code = TrainGroup(&g, point[0], record);
  PetscCall(DestroyGroup(&g));
  PetscFunctionReturn(code);
}
