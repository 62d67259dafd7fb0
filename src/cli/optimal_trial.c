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
#include <string.h>

/* A point's experiment, with what it borrows */
typedef struct {
  FwExperiment     e;
  FwOptimalSampler sampler;
  PetscInt        *width; /* [L] */
  double          *gain;  /* [L] */
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

/* Inputs of another variance are a gain of what reads them */
static PetscErrorCode ReadTeacher(const FwOptimalSetting *setting, Trial *trial)
{
  const PetscInt L    = setting->model.depth;
  const double   gain = sqrt(setting->input_variance);
  PetscInt64     seed;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger("seed", &seed, NULL));
  PetscCall(PetscMalloc2(L, &trial->width, L, &trial->gain));
  for (PetscInt l = 0; l < L; l++) {
    trial->width[l] = (PetscInt)setting->model.width[l];
    trial->gain[l]  = setting->gain[l] * (l == 0 ? gain : 1.0);
  }
  trial->e.teacher = (FwDeepTeacher){.depth        = L,
                                     .d            = setting->dimension,
                                     .width        = trial->width,
                                     .activation   = setting->model.activation,
                                     .gain         = trial->gain,
                                     .readout_gain = sqrt(setting->readout_variance) * (L == 0 ? gain : 1.0),
                                     .seed         = (uint64_t)seed};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTrial(const FwOptimalSetting *setting, const FwReduction *reduction, Trial *trial)
{
  const PetscInt test = 20000, test_sampled = 1000; /* sampled networks are looked at in every sample */
  const double   n = setting->alpha * (double)setting->dimension;
  FwExperiment  *e = &trial->e;

  PetscFunctionBegin;
  PetscCheck(n <= 2147483647.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "optimal_alpha %g times optimal_dimension %" PetscInt_FMT " are too many examples", setting->alpha,
             setting->dimension);
  *trial = (Trial){
    .e = {.kind       = (FwExperimentKind)setting->experiment,
          .channel    = setting->channel,
          .eta        = reduction->eta,
          .gamma      = reduction->gamma,
          .bias       = reduction->bias,
          .n_train    = (PetscInt)lround(n),
          .n_instance = setting->n_instance,
          .sampler    = FwOptimalSample}
  };
  PetscCall(ReadCount("optimal_test", e->kind == FW_EXPERIMENT_HMC ? test_sampled : test, &e->n_test));
  PetscCall(ReadCount("optimal_iterations", 0, &e->n_iteration));
  PetscCall(ReadTeacher(setting, trial));
  if (e->kind == FW_EXPERIMENT_HMC) PetscCall(ReadPlan(e->teacher.seed, &trial->sampler.plan));
  trial->sampler.teacher = &e->teacher;
  trial->sampler.noise   = e->channel.noise;
  e->context             = &trial->sampler;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyTrial(Trial *trial)
{
  PetscFunctionBegin;
  PetscCall(PetscFree2(trial->width, trial->gain));
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

static PetscErrorCode AddCost(const Trial *trial, FwTrialCost *sum)
{
  FwExperimentCost cost;

  PetscFunctionBegin;
  PetscCall(Estimate(PETSC_COMM_WORLD, trial, &cost));
  sum->rank_bytes = PetscMax(sum->rank_bytes, cost.rank_bytes + FW_ESTIMATE_BASE_BYTES);
  sum->flops += cost.flops;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same on every rank */
static PetscErrorCode ReadAndCheck(const FwOptimalSetting *setting, const FwReduction *reduction, Trial *trial)
{
  PetscFunctionBegin;
  PetscCall(ReadTrial(setting, reduction, trial));
  PetscCall(FwExperimentCheck(&trial->e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrialCheck(const FwOptimalSetting *setting, FwTrialCost *cost)
{
  const FwDeepTarget target = FwOptimalTarget(setting);
  FwReduction        reduction;
  Trial              trial;

  PetscFunctionBegin;
  if (setting->experiment == FW_EXPERIMENT_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwReductionCreate(&target, &reduction));
  PetscCall(FwErrorAgreeAny(PETSC_COMM_WORLD, ReadAndCheck(setting, &reduction, &trial)));
  PetscCall(AddCost(&trial, cost));
  PetscCall(CheckMemory(PETSC_COMM_WORLD, &trial)); /* with all ranks: a part of them has less */
  PetscCall(DestroyTrial(&trial));
  PetscCall(FwReductionDestroy(&reduction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

/* NAME beside its error bar, its prediction and the deviation from it, where there is such a number; those of the error go by
   no other name */
static PetscErrorCode PrintRow(FwRecord record, const char label[], const char name[])
{
  static const char *const ending[] = {"", "_error_bar", "_predicted", "_z_score"}, *const error[] = {
                                                                                      "error", "error_bar",
                                                                                      "error_predicted", "z_score"};
  const PetscBool is_error = (PetscBool)(strcmp(name, error[0]) == 0);
  char            path[128], cell[16];

  PetscFunctionBegin;
  snprintf(path, sizeof path, FW_TRIAL_GROUP "/%s", name);
  if (isnan(FwRecordAt(record, path, 0))) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscPrintf(PETSC_COMM_SELF, "  %-20s", label));
  for (int c = 0; c < 4; c++) {
    snprintf(path, sizeof path, FW_TRIAL_GROUP "/%s%s", is_error ? error[c] : name, is_error ? "" : ending[c]);
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

/* Beyond 4 standard errors something is wrong, or d is too small for the limit to hold; of a few teachers the standard error
   itself is not known */
static PetscErrorCode WarnAboutDeviation(const Trial *trial, FwRecord record)
{
  const PetscInt few  = 8;
  const double   most = 4.0, z = FwRecordAt(record, FW_TRIAL_GROUP "/z_score", 0);

  PetscFunctionBegin;
  if (fabs(z) > most && trial->e.n_instance >= few)
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

static PetscErrorCode Report(const FwRequest *request, const Trial *trial, const FwReduction *reduction,
                             const FwExperimentResult *result, FwRecord record, PetscBool *is_converged)
{
  PetscMPIInt    rank;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(FwRecordSetPrefix(record, FW_TRIAL_GROUP "/"));
  code = FwExperimentRecord(&trial->e, reduction, result, record, is_converged);
  PetscCall(FwRecordSetPrefix(record, ""));
  PetscCall(code);
  if (request->is_single && rank == 0) PetscCall(PrintTable(trial, record));
  if (request->is_single) PetscCall(WarnAboutDeviation(trial, record));
  if (request->is_single && !*is_converged) PetscCall(WarnAboutConvergence(trial, record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwTrialRun(MPI_Comm comm, const FwRequest *request, PetscInt point, const FwOptimalSetting *setting,
                          const FwReduction *reduction, FwRecord record, PetscBool *is_converged)
{
  char               path[PETSC_MAX_PATH_LEN];
  Trial              trial;
  FwExperimentResult result;
  PetscErrorCode     code;

  PetscFunctionBegin;
  *is_converged = PETSC_TRUE;
  if (setting->experiment == FW_EXPERIMENT_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadTrial(setting, reduction, &trial));
  PetscCall(CheckMemory(comm, &trial));
  PetscCall(FwRequestPointCheckpoint(request, point, sizeof path, path));
  const FwKeptRun run = {.checkpoint   = path,
                         .tag          = request->tag,
                         .resume       = request->resume,
                         .interval     = FwRequestCheckpointSeconds(),
                         .has_progress = request->is_single};

  trial.sampler.checkpoint = path;
  trial.sampler.tag        = request->tag;
  trial.sampler.resume     = request->resume;
  trial.sampler.interval   = run.interval;
  code                     = FwExperimentDo(comm, &trial.e, &run, &result);
  if (!code) {
    code = Report(request, &trial, reduction, &result, record, is_converged);
    PetscCall(FwExperimentResultDestroy(&result));
  }
  PetscCall(DestroyTrial(&trial));
  PetscFunctionReturn(code);
}
