/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Posteriors of Gaussian processes whose kernels belong to one family, several at a time.
 */

#include "local_prediction_impl.h"

#include <math.h>

enum { N_PART = 3 }; /* test, without labels, validation */

/* Kernels of one part's examples, and where its numbers stand in the arrays of a process */
typedef struct {
  FwPart    part;
  PetscInt  n, first;
  FwMatrix *cross;    /* [n_set] */
  double   *diagonal; /* [n_set][n][D^2] */
} Part;

static PetscErrorCode AssemblePart(FwLocalPredictor p, PetscInt n_set, const double coefficient[], Part *part)
{
  PetscFunctionBegin;
  PetscCall(PetscCalloc1(n_set, &part->cross));
  PetscCall(PetscMalloc1((size_t)n_set * part->n * p->sizes.n_output * p->sizes.n_output, &part->diagonal));
  if (!part->n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPatchKernelCross(p->kernel, part->part, n_set, coefficient, part->cross));
  PetscCall(FwPatchKernelDiagonal(p->kernel, part->part, n_set, coefficient, part->diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyPart(PetscInt n_set, Part *part)
{
  PetscFunctionBegin;
  for (PetscInt s = 0; s < n_set; s++) PetscCall(FwMatrixDestroy(&part->cross[s]));
  PetscCall(PetscFree(part->cross));
  PetscCall(PetscFree(part->diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* mean = k.a, covariance = k(x, x) - (L^-1 k)^T (L^-1 k) */
static PetscErrorCode PredictPart(FwLocalPredictor p, FwCholesky factor, const double solved[], const Part *part,
                                  PetscInt s, FwLocalProcess *process)
{
  const PetscInt D = p->sizes.n_output, n_pair = D * D;
  double        *explained, *out               = process->covariance + (size_t)part->first * n_pair;

  PetscFunctionBegin;
  if (!part->n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)part->n * n_pair, &explained));
  PetscCall(FwMatrixColumnSums(part->cross[s], 1, 1, solved, process->mean + (size_t)part->first * D));
  PetscCall(FwCholeskyHalfSolve(factor, part->cross[s]));
  PetscCall(FwMatrixGroupGram(part->cross[s], D, explained));
  for (PetscInt t = 0; t < part->n * n_pair; t++)
    out[t] = part->diagonal[(size_t)s * part->n * n_pair + t] - explained[t];
  PetscCall(FwMatrixDestroy(&part->cross[s]));
  PetscCall(PetscFree(explained));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainErrors(FwLocalPredictor p, FwCholesky *factor, const double solved[],
                                  FwLocalProcess *process)
{
  const PetscInt D = p->sizes.n_output, n_label = p->sizes.n_train * D;
  const double   temperature = process->model->temperature, n = (double)p->sizes.n_train;
  const double  *y;
  double         fit = 0.0, log_det, *trace;
  FwMatrix       inverse;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(D, &trace));
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  PetscCall(FwCholeskyLogDet(*factor, &log_det));
  PetscCall(FwCholeskyInverse(factor, &inverse));
  PetscCall(FwMatrixTraces(inverse, D, trace));
  PetscCall(FwMatrixDestroy(&inverse));
  PetscCall(PetscArrayzero(process->train, D));
  for (PetscInt i = 0; i < n_label; i++) {
    fit += y[i] * solved[i];
    process->train[i % D] += PetscSqr(temperature * solved[i]) / n;
  }
  for (PetscInt d = 0; d < D; d++) /* round-off at tiny T */
    process->train[D + d] = PetscMax(0.0, temperature - PetscSqr(temperature) * trace[d] / n);
  process->log_likelihood = -0.5 * (log_det + fit + n_label * log(2.0 * M_PI));
  PetscCall(PetscFree(trace));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSet(FwLocalPredictor p, PetscInt s, const Part part[N_PART], FwLocalProcess *process)
{
  double        *solved;
  FwCholesky     factor = NULL;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)p->sizes.n_train * p->sizes.n_output, &solved));
  PetscCall(FwLocalActionSetModel(p->action, process->model));
  code = FwLocalActionFactor(p->action, process->order, &factor, solved);
  for (int k = 0; k < N_PART && !code; k++) PetscCall(PredictPart(p, factor, solved, &part[k], s, process));
  if (!code) PetscCall(TrainErrors(p, &factor, solved, process));
  PetscCall(PetscFree(solved));
  PetscFunctionReturn(code);
}

/* One without a posterior does not take the others with it */
static PetscErrorCode Fail(FwLocalProcess *process, PetscErrorCode code)
{
  PetscFunctionBegin;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  process->failure = code;
  PetscCall(PetscStrncpy(process->reason, FwErrorMessage(), sizeof process->reason));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSets(FwLocalPredictor p, PetscInt n_set, FwLocalProcess process[])
{
  const PetscInt n_test = p->sizes.n_test, n_new = p->sizes.n_new, D = p->sizes.n_output;
  const size_t   n_example    = (size_t)n_test + (size_t)n_new + (size_t)p->sizes.n_validation;
  Part           part[N_PART] = {
              {.part = FW_TEST,             .n = n_test            },
              { .part = FW_NEW,                 .n = n_new,         .first = n_test},
              { .part = FW_VALIDATION, .n = p->sizes.n_validation, .first = n_test + n_new}
  };
  FwPatchFamily family;
  double       *coefficient;
  size_t        n_coefficient;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(p->kernel, &family));
  n_coefficient = (size_t)D * D * family.n_feature;
  PetscCall(PetscMalloc1(n_set * n_coefficient, &coefficient));
  for (PetscInt s = 0; s < n_set; s++) {
    PetscCall(PetscMalloc3(2 * D, &process[s].train, n_example * D, &process[s].mean, n_example * D * D,
                           &process[s].covariance));
    PetscCall(FwLocalActionSetModel(p->action, process[s].model));
    PetscCall(FwLocalActionCoefficients(p->action, process[s].order, coefficient + s * n_coefficient));
  }
  for (int k = 0; k < N_PART; k++) PetscCall(AssemblePart(p, n_set, coefficient, &part[k]));
  for (PetscInt s = 0; s < n_set; s++) PetscCall(Fail(&process[s], RunSet(p, s, part, &process[s])));
  for (int k = 0; k < N_PART; k++) PetscCall(DestroyPart(n_set, &part[k]));
  PetscCall(PetscFree(coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalProcessRun(FwLocalPredictor p, PetscInt n, FwLocalProcess process[])
{
  PetscFunctionBegin;
  for (PetscInt first = 0; first < n; first += p->plan.n_set)
    PetscCall(RunSets(p, PetscMin(p->plan.n_set, n - first), process + first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalProcessDestroy(FwLocalProcess *process)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(process->train, process->mean, process->covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
