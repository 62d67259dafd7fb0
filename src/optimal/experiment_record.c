/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What an experiment has found, beside what theory says at its own ratio of examples to inputs.
 */

#include "experiment_impl.h"

#include <finwidth/moments.h>
#include <finwidth/optimal.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  const FwExperiment       *e;
  const FwExperimentResult *a;
  FwOptimalPoint            theory;
  FwRecord                  record;
  PetscBool                 is_converged; /* else there are no z-scores: theory is about learners that got there */
} Report;

/* --- means over instances ------------------------------------------------------------------------------------------- */

/* NAME_ENDING, but error_bar and z_score of `error`, which is what they are about where nothing else is named */
static void Entitle(const char name[], const char ending[], char whole[FW_STORE_NAME_SIZE])
{
  const PetscBool is_plain = (PetscBool)(strcmp(name, "error") == 0 && strcmp(ending, "predicted") != 0);

  snprintf(whole, FW_STORE_NAME_SIZE, "%s%s%s", is_plain ? "" : name, is_plain ? "" : "_", ending);
}

/* NAME and its error bar; with a finite prediction also that, and how many error bars it is away */
static PetscErrorCode Estimated(const Report *r, const char name[], FwEstimated found, double predicted,
                                const char units[], const char long_name[])
{
  char whole[FW_STORE_NAME_SIZE], line[256];

  PetscFunctionBegin;
  if (isnan(found.value)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReal(r->record, name, found.value, units, long_name));
  Entitle(name, "error_bar", whole);
  snprintf(line, sizeof line, "%s: standard error over teachers", long_name);
  PetscCall(FwRecordReal(r->record, whole, found.error_bar, units, line));
  if (isnan(predicted)) PetscFunctionReturn(PETSC_SUCCESS);
  Entitle(name, "predicted", whole);
  snprintf(line, sizeof line, "%s: theory", long_name);
  PetscCall(FwRecordReal(r->record, whole, predicted, units, line));
  Entitle(name, "z_score", whole);
  snprintf(line, sizeof line, "%s: deviation from theory in standard errors", long_name);
  PetscCall(
    FwRecordReal(r->record, whole, r->is_converged ? (found.value - predicted) / found.error_bar : NAN, "1", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MeanOf(const Report *r, const char name[], FwInstanceNumber what, double predicted,
                             const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCall(
    Estimated(r, name, FwMean(r->a->n_instance, FW_INSTANCE_COUNT, r->a->number + what), predicted, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of a / b, or of a - b, instance by instance */
static PetscErrorCode Paired(const Report *r, PetscBool is_ratio, FwInstanceNumber a, FwInstanceNumber b,
                             FwEstimated *found)
{
  double *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(r->a->n_instance, &value));
  for (PetscInt i = 0; i < r->a->n_instance; i++) {
    const double *number = r->a->number + i * FW_INSTANCE_COUNT;

    value[i] = is_ratio ? number[a] / number[b] : number[a] - number[b];
  }
  *found = FwMean(r->a->n_instance, 1, value);
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what each kind has to say ------------------------------------------------------------------------------------------ */

static PetscErrorCode AddErrors(const Report *r, const FwReduction *reduction)
{
  const PetscBool is_gamp = r->e->kind == FW_EXPERIMENT_GAMP ? PETSC_TRUE : PETSC_FALSE;
  const double    error = is_gamp ? r->theory.error_amp : r->theory.error, eta2 = reduction->eta * reduction->eta;
  FwEstimated     ratio;

  PetscFunctionBegin;
  PetscCall(MeanOf(r, "error", FW_INSTANCE_ERROR, error, FwChannelErrorUnits(&r->e->channel), "error on a new label"));
  PetscCall(MeanOf(r, "signal", FW_INSTANCE_SIGNAL, eta2, "label^2", "linear part of the teachers' variance"));
  PetscCall(MeanOf(r, "rest", FW_INSTANCE_REST, reduction->gamma, "label^2", "rest of the teachers' variance"));
  if (r->e->channel.kind != FW_CHANNEL_GAUSSIAN) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Paired(r, PETSC_TRUE, is_gamp ? FW_INSTANCE_ERROR : FW_INSTANCE_RIDGE, FW_INSTANCE_CONDITIONAL, &ratio));
  PetscCall(
    Estimated(r, "conditional_ratio", ratio, 1.0, "1", "error of the linear fit over that expected for its teacher"));
  PetscCall(
    MeanOf(r, "posterior_variance", FW_INSTANCE_VARIANCE, error, "label^2", "variance of a new label as believed"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRidge(const Report *r)
{
  FwEstimated gain;

  PetscFunctionBegin;
  if (r->e->kind == FW_EXPERIMENT_GAMP) PetscFunctionReturn(PETSC_SUCCESS);
  if (r->e->channel.noise > 0.0) /* else it is the label, and no error */
    PetscCall(MeanOf(r, "train_error", FW_INSTANCE_TRAIN, r->theory.mmse_train, "label^2",
                     "error of ridge on z at the training inputs"));
  if (r->e->kind != FW_EXPERIMENT_HMC) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MeanOf(r, "ridge_error", FW_INSTANCE_RIDGE, r->theory.error, "label^2", "error of ridge on the same data"));
  PetscCall(Paired(r, PETSC_FALSE, FW_INSTANCE_RIDGE, FW_INSTANCE_ERROR, &gain));
  PetscCall(Estimated(r, "gain", gain, NAN, "label^2", "error of ridge less that of the network's posterior"));
  PetscCall(MeanOf(r, "rhat", FW_INSTANCE_RHAT, NAN, "1", "R-hat of the two chains"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- trajectories -------------------------------------------------------------------------------------------------------- */

/* As message passing goes while it is not damped */
static PetscErrorCode StateEvolution(const Report *r, double first, double overlap[])
{
  const double alpha = (double)r->e->n_train / (double)r->e->teacher.d, eta2 = r->e->eta * r->e->eta;

  PetscFunctionBegin;
  overlap[0] = first;
  for (PetscInt t = 1; t < r->a->n_step; t++) {
    const double q = overlap[t - 1];
    double       psi, square, known;

    PetscCall(FwChannelMoments(&r->e->channel, eta2 * q, r->e->gamma + eta2 * (1.0 - q), &psi, &square));
    known      = alpha * eta2 * square;
    overlap[t] = known / (1.0 + known);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddTrajectory(const Report *r)
{
  const PetscInt n     = r->a->n_step;
  const FwShape  shape = {1, {"iteration"}, {n}};
  double        *mean, *error_bar, *theory;
  const double   best = r->theory.fixed[r->theory.amp].overlap;

  PetscFunctionBegin;
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MeanOf(r, "overlap", FW_INSTANCE_OVERLAP, best, "1", "overlap of the weights with the best linear fit"));
  PetscCall(PetscMalloc3(n, &mean, n, &error_bar, n, &theory));
  for (PetscInt t = 0; t < n; t++) {
    const FwEstimated q = FwMean(r->a->n_instance, n, r->a->overlap + t);

    mean[t]      = q.value;
    error_bar[t] = q.error_bar;
  }
  PetscCall(StateEvolution(r, mean[0], theory));
  PetscCall(FwRecordReals(r->record, "overlap_trajectory", &shape, mean, "1",
                          "overlap after each iteration, mean over teachers"));
  PetscCall(FwRecordReals(r->record, "overlap_trajectory_error_bar", &shape, error_bar, "1", "its standard error"));
  PetscCall(FwRecordReals(r->record, "overlap_state_evolution", &shape, theory, "1", "the same by state evolution"));
  PetscCall(PetscFree3(mean, error_bar, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- each teacher ---------------------------------------------------------------------------------------------------------- */

static PetscErrorCode AddInstances(const Report *r)
{
  static const struct {
    const char *name, *long_name;
  } column[FW_INSTANCE_COUNT] = {
    [FW_INSTANCE_ERROR]       = {"instance_error",       "error on a new label of each teacher"           },
    [FW_INSTANCE_RIDGE]       = {"instance_ridge",       "error of ridge"                                 },
    [FW_INSTANCE_TRAIN]       = {"instance_train",       "error of ridge on z at the training inputs"     },
    [FW_INSTANCE_SIGNAL]      = {"instance_signal",      "linear part of the teacher's variance"          },
    [FW_INSTANCE_REST]        = {"instance_rest",        "rest of the teacher's variance"                 },
    [FW_INSTANCE_CONDITIONAL] = {"instance_conditional", "error of ridge expected for this teacher"       },
    [FW_INSTANCE_VARIANCE]    = {"instance_variance",    "posterior variance of a new label"              },
    [FW_INSTANCE_OVERLAP]     = {"instance_overlap",     "overlap of the weights with the best linear fit"},
    [FW_INSTANCE_ITERATIONS]  = {"instance_iterations",  "iterations, or gradients of a chain"            },
    [FW_INSTANCE_RHAT]        = {"instance_rhat",        "R-hat of the two chains"                        },
    [FW_INSTANCE_CONVERGED]   = {"instance_converged",   "1 if the learner has converged"                 },
  };
  const PetscInt n     = r->a->n_instance;
  const FwShape  shape = {1, {"instance"}, {n}};
  double        *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &value));
  for (int c = 0; c < FW_INSTANCE_COUNT; c++) {
    for (PetscInt i = 0; i < n; i++) value[i] = r->a->number[i * FW_INSTANCE_COUNT + c];
    if (!isnan(value[0])) PetscCall(FwRecordReals(r->record, column[c].name, &shape, value, "1", column[c].long_name));
  }
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt CountConverged(const FwExperimentResult *a)
{
  PetscInt n = 0;

  for (PetscInt i = 0; i < a->n_instance; i++) n += a->number[i * FW_INSTANCE_COUNT + FW_INSTANCE_CONVERGED] == 1.0;
  return n;
}

static PetscErrorCode SolveTheory(const FwExperiment *e, const FwReduction *reduction, FwOptimalPoint *theory)
{
  const double alpha = (double)e->n_train / (double)e->teacher.d;
  FwOptimal    optimal;

  PetscFunctionBegin;
  PetscCall(FwOptimalCreate(reduction, &e->channel, alpha, alpha, &optimal));
  PetscCall(FwOptimalSolve(optimal, alpha, theory));
  PetscCall(FwOptimalDestroy(&optimal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwExperimentRecord(const FwExperiment *experiment, const FwReduction *reduction,
                                  const FwExperimentResult *result, FwRecord record, PetscBool *is_converged)
{
  const PetscInt n_converged = CountConverged(result);
  Report r = {.e = experiment, .a = result, .record = record, .is_converged = n_converged == result->n_instance};

  PetscFunctionBegin;
  PetscCall(SolveTheory(experiment, reduction, &r.theory));
  PetscCall(FwRecordReal(record, "alpha", (double)experiment->n_train / (double)experiment->teacher.d, "1",
                         "examples for each input, as they are"));
  PetscCall(FwRecordInteger(record, "dimension", experiment->teacher.d, "1", "inputs"));
  PetscCall(FwRecordInteger(record, "converged", r.is_converged, "1", "1 if every learner has converged"));
  PetscCall(AddErrors(&r, reduction));
  PetscCall(AddRidge(&r));
  PetscCall(AddTrajectory(&r));
  PetscCall(AddInstances(&r));
  PetscCall(FwRecordInteger(record, "instances_converged", n_converged, "1", "teachers whose learner has converged"));
  *is_converged = r.is_converged;
  PetscFunctionReturn(PETSC_SUCCESS);
}
