/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One decomposed kernel, and the points on it.
 */

#include "predictor_impl.h"

#include <finwidth/kernel_mean.h>
#include <finwidth/kernel_tangent.h>
#include <finwidth/progress.h>

#include <sys/stat.h>
#include <unistd.h>

/* --- files --------------------------------------------------------------------------------------------------- */

/* What is no file must not be taken for none, and then be replaced */
static PetscErrorCode LookFor(const char path[], PetscBool *exists)
{
  struct stat status;

  PetscFunctionBegin;
  *exists = stat(path, &status) ? PETSC_FALSE : PETSC_TRUE;
  PetscCheck(!*exists || S_ISREG(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is not a file", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileExists(MPI_Comm comm, const char path[], PetscBool *exists)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : LookFor(path, exists)));
  PetscCallMPI(MPI_Bcast(exists, 1, MPIU_BOOL, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PartPath(const FwPredictorPlan *plan, size_t size, char path[])
{
  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(path, size, "%s.part", plan->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RemoveFile(MPI_Comm comm, const char path[])
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Barrier(comm)); /* nobody reads it any more */
  if (rank == 0) (void)unlink(path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RemovePart(MPI_Comm comm, const FwPredictorPlan *plan)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBegin;
  PetscCall(PartPath(plan, sizeof path, path));
  PetscCall(RemoveFile(comm, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- making it ---------------------------------------------------------------------------------------------- */

/* Means of the activation, where the kernel is to be without them */
static PetscErrorCode SetMeans(FwPredictor p, const FwModel *model)
{
  FwDataSizes    sizes;
  FwKernel       kernel;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  PetscCall(PetscMalloc2(sizes.n_train, &p->train_mean, sizes.n_test + sizes.n_new, &p->test_mean));
  PetscCall(FwKernelCreate(p->grid, model, p->data, &kernel));
  code = FwKernelMean(kernel, FW_TRAIN, p->train_mean);
  if (!code) code = FwKernelMean(kernel, FW_TEST, p->test_mean);
  if (!code) code = FwKernelMean(kernel, FW_NEW, p->test_mean + sizes.n_test);
  PetscCall(FwKernelDestroy(&kernel));
  PetscFunctionReturn(code);
}

static PetscErrorCode AssembleTrain(FwPredictor p, FwKernel kernel, FwMatrix *train)
{
  PetscFunctionBegin;
  PetscCall(p->is_tangent ? FwKernelTangentTrain(kernel, train) : FwKernelTrain(kernel, train));
  if (p->train_mean) PetscCall(FwKernelCentre(kernel, FW_TRAIN, p->train_mean, p->train_mean, *train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kernel between the training examples and the n examples of a part, which begins at `first` of the test examples, and
   that of the part's examples with themselves; its readout prior is one */
static PetscErrorCode AssemblePart(FwPredictor p, FwKernel kernel, FwPart part, PetscInt first, PetscInt n,
                                   FwMatrix *cross, double diagonal[])
{
  const double *nngp, *mean = p->test_mean ? p->test_mean + first : NULL;

  PetscFunctionBegin;
  if (p->is_tangent) {
    PetscCall(FwKernelTangentCross(kernel, part, cross));
    PetscCall(FwKernelTangentDiagonal(kernel, part, diagonal));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwKernelCross(kernel, part, cross));
  PetscCall(FwKernelDiagonal(kernel, part, &nngp));
  for (PetscInt t = 0; t < n; t++) diagonal[t] = nngp[t] - (mean ? mean[t] * mean[t] : 0.0);
  if (mean) PetscCall(FwKernelCentre(kernel, part, p->train_mean, mean, *cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inputs without labels stand behind the test examples */
static PetscErrorCode SetTest(FwPredictor p, FwKernel kernel)
{
  FwDataSizes    sizes;
  FwMatrix       cross = NULL, further, both;
  double        *diagonal;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  if (sizes.n_test + sizes.n_new == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(sizes.n_test + sizes.n_new, &diagonal));
  code = AssemblePart(p, kernel, FW_TEST, 0, sizes.n_test, &cross, diagonal);
  if (!code && sizes.n_new) {
    code = AssemblePart(p, kernel, FW_NEW, sizes.n_test, sizes.n_new, &further, diagonal + sizes.n_test);
    if (!code) PetscCall(FwMatrixJoin(&cross, &further, &both));
    if (!code) cross = both;
  }
  if (!code) PetscCall(FwSpectrumSetTest(p->spectrum, &cross, diagonal));
  PetscCall(FwMatrixDestroy(&cross));
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(code);
}

/* From where the last run left it, or from the beginning */
static PetscErrorCode ReduceTrain(FwPredictor p, FwKernel kernel, const FwPredictorPlan *plan)
{
  char                 path[PETSC_MAX_PATH_LEN];
  const FwSpectrumKeep keep = {.path = path, .digest = plan->digest, .interval = plan->interval};
  FwMatrix             train;
  FwProgress           progress;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("decomposition", 0, &progress));
  if (plan->file) {
    PetscCall(PartPath(plan, sizeof path, path));
    PetscCall(FwSpectrumResume(p->grid, &keep, &p->spectrum));
  }
  if (!p->spectrum) {
    PetscCall(AssembleTrain(p, kernel, &train));
    PetscCall(FwSpectrumCreateKept(&train, plan->bandwidth, plan->file ? &keep : NULL, &p->spectrum));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Targets come by example, the spectrum takes them by output; the mean of the activation is a column behind them */
static PetscErrorCode SetLabels(FwPredictor p, double bias)
{
  FwDataSizes    sizes;
  const double  *y;
  PetscInt       n_column;
  double        *column;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  n_column = sizes.n_output + (p->train_mean ? 1 : 0);
  PetscCall(PetscMalloc1((size_t)sizes.n_train * n_column, &column));
  for (PetscInt i = 0; i < sizes.n_train; i++)
    for (PetscInt d = 0; d < sizes.n_output; d++)
      column[i + (size_t)d * sizes.n_train] = y[d + (size_t)i * sizes.n_output];
  if (p->train_mean)
    PetscCall(PetscArraycpy(column + (size_t)sizes.n_train * sizes.n_output, p->train_mean, sizes.n_train));
  code = FwSpectrumSetLabels(p->spectrum, n_column, column, bias);
  PetscCall(PetscFree(column));
  PetscFunctionReturn(code);
}

static PetscErrorCode Decompose(FwPredictor p, const FwModel *model, const FwPredictorPlan *plan)
{
  FwKernel       kernel;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwKernelCreate(p->grid, model, p->data, &kernel));
  code = ReduceTrain(p, kernel, plan);
  if (!code) code = SetLabels(p, model->bias[model->depth]);
  if (!code) code = SetTest(p, kernel);
  if (!code) code = FwSpectrumFreeze(p->spectrum);
  PetscCall(FwKernelDestroy(&kernel));
  PetscFunctionReturn(code);
}

PetscErrorCode FwPredictorKeep(FwPredictor p, const FwPredictorPlan *plan)
{
  PetscBool exists;

  PetscFunctionBegin;
  PetscCall(FileExists(FwGridComm(p->grid), plan->file, &exists));
  if (!exists) PetscCall(FwSpectrumSave(p->spectrum, plan->file, plan->digest));
  PetscCall(RemovePart(FwGridComm(p->grid), plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictorForget(MPI_Comm comm, const FwPredictorPlan *plan)
{
  PetscFunctionBegin;
  if (!plan->is_temporary) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(RemoveFile(comm, plan->file));
  PetscCall(RemovePart(comm, plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DecomposeOrLoad(FwPredictor p, const FwModel *model, const FwPredictorPlan *plan)
{
  PetscLogDouble begin, end;
  PetscBool      exists = PETSC_FALSE;
  int            is_worth;

  PetscFunctionBegin;
  PetscCall(PetscTime(&begin));
  if (plan->file) PetscCall(FileExists(FwGridComm(p->grid), plan->file, &exists));
  if (exists) {
    PetscCall(FwSpectrumLoad(p->grid, plan->file, plan->digest, &p->spectrum));
    PetscCall(FwSpectrumScaleLabels(p->spectrum, 1.0, model->bias[model->depth]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Decompose(p, model, plan));
  PetscCall(PetscTime(&end));
  is_worth = plan->file && (!plan->is_temporary || end - begin > plan->interval);
  PetscCallMPI(MPI_Bcast(&is_worth, 1, MPI_INT, 0, FwGridComm(p->grid)));
  if (is_worth) PetscCall(FwPredictorKeep(p, plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The kernel is that of a readout prior of one, so that points and runs with any other can share it */
PetscErrorCode FwPredictorCreate(FwGrid grid, const FwModel *model, FwDataset data, const FwTheory *theory,
                                 const FwPredictorPlan *plan, FwPredictor *predictor)
{
  FwModel        unit = *model;
  FwPredictor    p;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscNew(&p));
  p->grid       = grid;
  p->data       = data;
  p->is_tangent = theory->theory == FW_THEORY_NTK ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscMalloc1(model->depth + 1, &unit.prior));
  PetscCall(PetscArraycpy(unit.prior, model->prior, model->depth + 1));
  unit.prior[model->depth] = 1.0;
  code                     = theory->with_mean ? SetMeans(p, &unit) : PETSC_SUCCESS;
  if (!code) code = DecomposeOrLoad(p, &unit, plan);
  PetscCall(PetscFree(unit.prior));
  if (code) PetscCall(FwPredictorDestroy(&p)); /* the caller may go on with other kernels */
  PetscCall(code);
  *predictor = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictorDestroy(FwPredictor *predictor)
{
  PetscFunctionBegin;
  if (!*predictor) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumDestroy(&(*predictor)->spectrum));
  PetscCall(PetscFree2((*predictor)->train_mean, (*predictor)->test_mean));
  PetscCall(PetscFree(*predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- points ------------------------------------------------------------------------------------------------- */

/* A point without a solution is a result */
static PetscErrorCode SolvePoint(FwPredictor p, const FwModel *model, FwPrediction *prediction)
{
  const double   scale = 1.0 / model->prior[model->depth];
  PetscErrorCode code;

  PetscFunctionBegin;
  code = FwPredictionSolve(p->spectrum, scale, model, prediction);
  PetscCall(FwPredictionFail(prediction, code));
  if (!code) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPredictionDestroy(prediction)); /* what it had before the error */
  prediction->saddle  = (FwSaddle){0};
  prediction->average = (FwAverage){0};
  prediction->n_curve = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Point i is solved by rank i modulo their number; then all have all */
static PetscErrorCode SolvePoints(FwPredictor p, PetscInt n, const FwModel model[], FwPrediction prediction[])
{
  MPI_Comm       comm = FwGridComm(p->grid);
  PetscMPIInt    rank, size;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (PetscInt i = rank; i < n && !code; i += size) code = SolvePoint(p, &model[i], &prediction[i]);
  PetscCall(FwErrorAgreeAny(comm, code));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwPredictionShare(comm, i % size, &prediction[i]));
    PetscCallMPI(MPI_Bcast(prediction[i].reason, (int)sizeof prediction[i].reason, MPI_CHAR, i % size, comm));
    PetscCallMPI(
      MPI_Bcast(prediction[i].average_reason, (int)sizeof prediction[i].average_reason, MPI_CHAR, i % size, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindErrors(FwPredictor p, double scale, const FwModel *model, FwPrediction *prediction)
{
  PetscFunctionBegin;
  if (prediction->request.with_mean)
    PetscCall(FwPredictionMeanErrors(p, scale, model, prediction));
  else if (prediction->n_output > 1)
    PetscCall(FwPredictionOutputsErrors(p, scale, model, prediction));
  else
    PetscCall(FwPredictionErrors(p->spectrum, scale, p->data, prediction));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictorRun(FwPredictor p, PetscInt n, const FwModel model[], const FwTheory theory[],
                              FwPrediction prediction[])
{
  FwDataSizes sizes;
  FwProgress  progress;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  for (PetscInt i = 0; i < n; i++)
    prediction[i] = (FwPrediction){.n_train     = sizes.n_train,
                                   .n_test      = sizes.n_test,
                                   .n_new       = sizes.n_new,
                                   .n_output    = sizes.n_output,
                                   .depth       = model[i].depth,
                                   .request     = theory[i],
                                   .temperature = model[i].temperature};
  PetscCall(FwProgressBegin("saddle points", 0, &progress));
  PetscCall(SolvePoints(p, n, model, prediction));
  PetscCall(FwProgressEnd(&progress));
  PetscCall(FwProgressBegin("predictions", n, &progress));
  for (PetscInt i = 0; i < n; i++) {
    const double scale = 1.0 / model[i].prior[model[i].depth];

    if (!prediction[i].failure && prediction[i].request.theory == FW_THEORY_RENORMALISED &&
        prediction[i].request.composition != FW_COMPOSITION_PRODUCT)
      PetscCall(FwPredictionFail(&prediction[i], FwPredictionNest(p, &model[i], &prediction[i])));
    if (!prediction[i].failure)
      PetscCall(FwPredictionFail(&prediction[i], FindErrors(p, scale, &model[i], &prediction[i])));
    if (!prediction[i].failure) PetscCall(FwPredictionFail(&prediction[i], FwPredictionCheck(&prediction[i])));
    PetscCall(FwProgressStep(progress, i + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}
