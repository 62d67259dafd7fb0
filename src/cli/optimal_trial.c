/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Experiments of `finwidth optimal`.
 */

#include "optimal_trial.h"
#include "optimal_sampler.h"
#include "predict_print.h"

#include <finwidth/estimate.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>

/* A point's experiment, with what it borrows */
typedef struct {
  FwExperiment     e;
  FwOptimalSampler sampler;
  PetscInt        *width; /* [L] */
} Trial;

/* --- keys ------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode ReadCount(const char key[], PetscInt absent, PetscInt *value)
{
  PetscInt64 number;
  PetscBool  is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger(key, &number, &is_set));
  *value = is_set ? (PetscInt)number : absent;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many as there are layers, or one for all; all as wide as the inputs where none is given */
static PetscErrorCode ReadWidths(PetscInt depth, PetscInt d, PetscInt width[])
{
  enum { MOST = 4096 };
  PetscInt64 given[MOST];
  PetscInt   n = MOST;
  PetscBool  is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("network_width", &is_set));
  PetscCall(FwOptionIntegers("network_width", &n, given));
  PetscCheck(!is_set || n == 1 || n == depth, PETSC_COMM_SELF, FW_ERR_INPUT,
             "network_width has %" PetscInt_FMT " widths for %" PetscInt_FMT
             " hidden layers: give one, or one for each",
             n, depth);
  for (PetscInt l = 0; l < depth; l++) width[l] = !is_set ? d : (PetscInt)given[n == 1 ? 0 : l];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPlan(uint64_t seed, FwSamplerPlan *plan)
{
  PetscBool is_set;

  PetscFunctionBegin;
  *plan = (FwSamplerPlan){.method = FW_SAMPLER_HMC, .seed = seed};
  PetscCall(ReadCount("sampler_samples", 0, &plan->n_sample));
  PetscCall(ReadCount("sampler_burnin", 0, &plan->n_burnin));
  PetscCall(ReadCount("sampler_leapfrog", 0, &plan->leapfrog));
  PetscCall(FwOptionReal("sampler_step", &plan->step, &is_set));
  if (!is_set) plan->step = 0.0;
  PetscCheck(is_set || plan->n_burnin > 0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "sampler_burnin is 0 and leaves no samples to tune the step: give sampler_step");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadKind(FwExperimentKind *kind)
{
  PetscInt choice;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("optimal_experiment", &choice, NULL));
  *kind = (FwExperimentKind)choice;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrialIsWanted(PetscBool *is_wanted)
{
  FwExperimentKind kind = FW_EXPERIMENT_NONE;

  PetscFunctionBegin;
  PetscCall(ReadKind(&kind));
  *is_wanted = kind == FW_EXPERIMENT_NONE ? PETSC_FALSE : PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTrial(const FwTrialTheory *theory, Trial *trial)
{
  const PetscInt test = 20000, test_sampled = 1000; /* sampled networks are looked at in every sample */
  FwExperiment  *e = &trial->e;
  PetscInt64     seed;
  PetscInt       d = 0;

  PetscFunctionBegin;
  *trial = (Trial){
    .e = {.channel = *theory->channel,
          .eta     = theory->reduction->eta,
          .gamma   = theory->reduction->gamma,
          .bias    = theory->reduction->bias}
  };
  PetscCall(ReadKind(&e->kind));
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(ReadCount("optimal_dimension", 0, &d));
  PetscCall(ReadCount("optimal_instances", 0, &e->n_instance));
  PetscCall(ReadCount("optimal_test", e->kind == FW_EXPERIMENT_HMC ? test_sampled : test, &e->n_test));
  PetscCall(PetscMalloc1(theory->target->depth, &trial->width));
  PetscCall(ReadWidths(theory->target->depth, d, trial->width));
  PetscCheck(theory->alpha * d <= 2147483647.0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "optimal_alpha %g times optimal_dimension %" PetscInt_FMT " are too many examples", theory->alpha, d);
  e->n_train = (PetscInt)lround(theory->alpha * d);
  e->teacher = (FwDeepTeacher){.depth      = theory->target->depth,
                               .d          = d,
                               .width      = trial->width,
                               .activation = theory->target->activation,
                               .gain       = theory->target->gain,
                               .seed       = (uint64_t)seed};
  e->sampler = FwOptimalSample;
  if (e->kind == FW_EXPERIMENT_HMC) PetscCall(ReadPlan((uint64_t)seed, &trial->sampler.plan));
  trial->sampler.teacher = &e->teacher;
  trial->sampler.noise   = e->channel.noise;
  e->context             = &trial->sampler;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyTrial(Trial *trial)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(trial->width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- estimate --------------------------------------------------------------------------------------------------------- */

static PetscErrorCode Estimate(MPI_Comm comm, const Trial *trial, FwExperimentCost *cost)
{
  PetscMPIInt size;
  double      bytes, flops;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  FwExperimentEstimate(&trial->e, (PetscInt)size, cost);
  if (trial->e.kind != FW_EXPERIMENT_HMC) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwOptimalSampleEstimate(&trial->e, &trial->sampler, &bytes, &flops));
  cost->rank_bytes += bytes;
  cost->flops += flops;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMemory(MPI_Comm comm, const Trial *trial)
{
  FwExperimentCost cost;
  double           bytes;

  PetscFunctionBegin;
  PetscCall(Estimate(comm, trial, &cost));
  PetscCall(FwEstimateMemory(comm, &bytes));
  PetscCheck(cost.rank_bytes + FW_ESTIMATE_BASE_BYTES <= bytes, comm, FW_ERR_MEMORY,
             "%" PetscInt_FMT " examples of %" PetscInt_FMT
             " inputs need %.3g GiB on each rank, which may use %.3g GiB: more "
             "ranks, or a smaller optimal_dimension",
             trial->e.n_train, trial->e.teacher.d, (cost.rank_bytes + FW_ESTIMATE_BASE_BYTES) / 1073741824.0,
             bytes / 1073741824.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintEstimate(MPI_Comm comm, const Trial *trial)
{
  FwExperimentCost cost;
  double           rate;

  PetscFunctionBegin;
  PetscCall(Estimate(comm, trial, &cost));
  PetscCall(FwEstimateRate(comm, &rate));
  PetscCall(
    PetscPrintf(comm, "\nexperiment %.2g GiB a rank\n", (cost.rank_bytes + FW_ESTIMATE_BASE_BYTES) / 1073741824.0));
  PetscCall(FwPrintStage("experiment", cost.flops, cost.flops / rate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrialCheck(MPI_Comm comm, const FwRequest *request, const FwTrialTheory *theory)
{
  Trial trial;

  PetscFunctionBegin;
  PetscCall(ReadTrial(theory, &trial));
  PetscCall(FwExperimentCheck(&trial.e));
  if (request->is_dry) PetscCall(PrintEstimate(comm, &trial));
  PetscCall(DestroyTrial(&trial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

/* NAME beside its error bar, its prediction and the deviation from it, where there is such a number */
static PetscErrorCode PrintRow(FwRecord record, const char label[], const char name[])
{
  static const char *const ending[] = {"", "_error_bar", "_predicted", "_z_score"};
  char                     path[128], cell[16];

  PetscFunctionBegin;
  snprintf(path, sizeof path, FW_TRIAL_GROUP "/%s", name);
  if (isnan(FwRecordAt(record, path, 0))) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %-20s", label));
  for (int c = 0; c < 4; c++) {
    snprintf(path, sizeof path, FW_TRIAL_GROUP "/%s%s", name, ending[c]);
    PetscCall(PetscPrintf(PETSC_COMM_SELF, " %s", FwPrintCell(FwRecordAt(record, path, 0), cell)));
  }
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintTable(const Trial *trial, FwRecord record)
{
  static const char *const kind[] = {"none", "ridge", "gamp", "hmc"};
  static const struct {
    const char *label, *name;
  } row[] = {
    {"error",              "error"             },
    {"ridge",              "ridge_error"       },
    {"gain over ridge",    "gain"              },
    {"error / its own",    "conditional_ratio" },
    {"posterior variance", "posterior_variance"},
    {"training error",     "train_error"       },
    {"overlap",            "overlap"           },
    {"signal",             "signal"            },
    {"rest",               "rest"              },
  };
  const FwExperiment *e = &trial->e;

  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_SELF,
                        "\nexperiment %s, %" PetscInt_FMT " teachers, d = %" PetscInt_FMT ", n = %" PetscInt_FMT "\n\n"
                        "%22s     measured    error bar       theory      z-score\n",
                        kind[e->kind], e->n_instance, e->teacher.d, e->n_train, ""));
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) PetscCall(PrintRow(record, row[i].label, row[i].name));
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the run --------------------------------------------------------------------------------------------------------------- */

/* Beyond 4 standard errors of this many teachers something is wrong, or d is too small for the limit to hold */
static PetscErrorCode WarnAboutDeviation(FwRecord record)
{
  const double most = 4.0, z = FwRecordAt(record, FW_TRIAL_GROUP "/error_z_score", 0);

  PetscFunctionBegin;
  if (fabs(z) > most)
    PetscCall(
      FwWarn("the measured error is %.1f standard errors from theory, which holds for large optimal_dimension", z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutConvergence(const Trial *trial, FwRecord record)
{
  const PetscInt64 n = FwRecordIntegerAt(record, FW_TRIAL_GROUP "/instances_converged", 0);

  PetscFunctionBegin;
  PetscCall(FwWarn("%s has not converged for %" PetscInt64_FMT " of %" PetscInt_FMT " teachers%s",
                   trial->e.kind == FW_EXPERIMENT_GAMP    ? "message passing"
                   : trial->e.kind == FW_EXPERIMENT_RIDGE ? "ridge regression"
                                                          : "the sampler",
                   trial->e.n_instance - n, trial->e.n_instance,
                   trial->e.kind == FW_EXPERIMENT_HMC ? ": more sampler_samples, or a longer sampler_burnin" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(const FwRequest *request, const Trial *trial, const FwTrialTheory *theory,
                             const FwExperimentResult *result, FwRecord record, PetscBool *is_converged)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(FwRecordSetPrefix(record, FW_TRIAL_GROUP "/"));
  PetscCall(FwExperimentRecord(&trial->e, theory->reduction, result, record, is_converged));
  PetscCall(FwRecordSetPrefix(record, ""));
  if (request->is_single && rank == 0) PetscCall(PrintTable(trial, record));
  if (request->is_single) PetscCall(WarnAboutDeviation(record));
  if (request->is_single && !*is_converged) PetscCall(WarnAboutConvergence(trial, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrialRun(MPI_Comm comm, const FwRequest *request, PetscInt point, const FwTrialTheory *theory,
                          FwRecord record, PetscBool *is_converged)
{
  char               path[PETSC_MAX_PATH_LEN];
  Trial              trial;
  FwExperimentResult result;

  PetscFunctionBegin;
  PetscCall(ReadTrial(theory, &trial));
  PetscCall(CheckMemory(comm, &trial));
  PetscCall(FwRequestPointCheckpoint(request, point, sizeof path, path));
  const FwExperimentRun run = {.checkpoint   = path,
                               .tag          = request->tag,
                               .resume       = request->resume,
                               .interval     = FwRequestCheckpointSeconds(),
                               .has_progress = request->is_single};

  trial.sampler.checkpoint = path;
  trial.sampler.tag        = request->tag;
  trial.sampler.resume     = request->resume;
  trial.sampler.interval   = run.interval;
  PetscCall(FwExperimentDo(comm, &trial.e, &run, &result));
  PetscCall(Report(request, &trial, theory, &result, record, is_converged));
  PetscCall(FwExperimentResultDestroy(&result));
  PetscCall(DestroyTrial(&trial));
  PetscFunctionReturn(PETSC_SUCCESS);
}
