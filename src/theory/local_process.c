/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Posteriors of Gaussian processes whose kernels belong to one family, several at a time.
 */

#include "local_prediction_impl.h"

#include <math.h>

/* Kernels of one part's examples, and where its numbers stand in the arrays of a process */
typedef struct {
  FwPart    part;
  PetscInt  n, first;
  FwMatrix *cross;    /* [n_set] */
  double   *diagonal; /* [n_set][n] */
} Part;

static PetscErrorCode AssemblePart(FwLocalPredictor p, PetscInt n_set, const double coefficient[], Part *part)
{
  PetscFunctionBegin;
  PetscCall(PetscCalloc1(n_set, &part->cross));
  PetscCall(PetscMalloc1((size_t)n_set * part->n, &part->diagonal));
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

/* mean = k.a, variance = k(x, x) - |L^-1 k|^2 */
static PetscErrorCode PredictPart(FwLocalPredictor p, FwCholesky factor, const double solved[], const Part *part,
                                  PetscInt s, FwLocalProcess *process)
{
  double *explained, *ones;

  PetscFunctionBegin;
  if (!part->n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(part->n, &explained, p->sizes.n_train, &ones));
  for (PetscInt i = 0; i < p->sizes.n_train; i++) ones[i] = 1.0;
  PetscCall(FwMatrixColumnSums(part->cross[s], 1, 1, solved, process->mean + part->first));
  PetscCall(FwCholeskyHalfSolve(factor, part->cross[s]));
  PetscCall(FwMatrixColumnSums(part->cross[s], 2, 1, ones, explained));
  for (PetscInt t = 0; t < part->n; t++)
    process->variance[part->first + t] = part->diagonal[(size_t)s * part->n + t] - explained[t];
  PetscCall(FwMatrixDestroy(&part->cross[s]));
  PetscCall(PetscFree2(explained, ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainErrors(FwLocalPredictor p, FwCholesky *factor, const double solved[],
                                  FwLocalProcess *process)
{
  const double  temperature = process->model->temperature, n = (double)p->sizes.n_train;
  const double *y;
  double        fit = 0.0, residual2 = 0.0, log_det, trace;
  FwMatrix      inverse;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  for (PetscInt i = 0; i < p->sizes.n_train; i++) fit += y[i] * solved[i];
  for (PetscInt i = 0; i < p->sizes.n_train; i++) residual2 += PetscSqr(solved[i]);
  PetscCall(FwCholeskyLogDet(*factor, &log_det));
  PetscCall(FwCholeskyInverse(factor, &inverse));
  PetscCall(FwMatrixTrace(inverse, &trace));
  PetscCall(FwMatrixDestroy(&inverse));
  process->train_bias     = PetscSqr(temperature) * residual2 / n;
  process->train_variance = PetscMax(0.0, temperature - PetscSqr(temperature) * trace / n); /* round-off at tiny T */
  process->log_likelihood = -0.5 * (log_det + fit + n * log(2.0 * M_PI));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSet(FwLocalPredictor p, PetscInt s, const Part part[2], FwLocalProcess *process)
{
  double        *solved;
  FwCholesky     factor = NULL;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(p->sizes.n_train, &solved));
  PetscCall(FwLocalActionSetModel(p->action, process->model));
  code = FwLocalActionFactor(p->action, process->order, &factor, solved);
  for (int k = 0; k < 2 && !code; k++) PetscCall(PredictPart(p, factor, solved, &part[k], s, process));
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
  const PetscInt n_test = p->sizes.n_test, n_new = p->sizes.n_new;
  Part           part[2] = {
              {.part = FW_TEST, .n = n_test    },
              { .part = FW_NEW,     .n = n_new, .first = n_test}
  };
  FwPatchFamily family;
  double       *coefficient;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(p->kernel, &family));
  PetscCall(PetscMalloc1((size_t)n_set * family.n_feature, &coefficient));
  for (PetscInt s = 0; s < n_set; s++) {
    PetscCall(PetscMalloc2(n_test + n_new, &process[s].mean, n_test + n_new, &process[s].variance));
    PetscCall(FwLocalActionSetModel(p->action, process[s].model));
    PetscCall(FwLocalActionCoefficients(p->action, process[s].order, coefficient + (size_t)s * family.n_feature));
  }
  for (int k = 0; k < 2; k++) PetscCall(AssemblePart(p, n_set, coefficient, &part[k]));
  for (PetscInt s = 0; s < n_set; s++) PetscCall(Fail(&process[s], RunSet(p, s, part, &process[s])));
  for (int k = 0; k < 2; k++) PetscCall(DestroyPart(n_set, &part[k]));
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
  PetscCall(PetscFree2(process->mean, process->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
