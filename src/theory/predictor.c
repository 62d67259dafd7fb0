/** @file
 * One decomposed kernel, and the points on it.
 */

#include "predictor_impl.h"

#include <finwidth/kernel_tangent.h>
#include <finwidth/progress.h>

#include <unistd.h>

/* --- files --------------------------------------------------------------------------------------------------- */

static PetscErrorCode FileExists(MPI_Comm comm, const char path[], PetscBool *exists)
{
  PetscFunctionBegin;
  PetscCall(PetscTestFile(path, '\0', exists));
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

static PetscErrorCode AssembleTrain(FwKernel kernel, PetscBool is_tangent, FwMatrix *train)
{
  PetscFunctionBegin;
  PetscCall(is_tangent ? FwKernelTangentTrain(kernel, train) : FwKernelTrain(kernel, train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kernel between the training examples and a part, and that of the part's examples with themselves */
static PetscErrorCode AssemblePart(FwKernel kernel, PetscBool is_tangent, FwPart part, PetscInt n, FwMatrix *cross,
                                   double diagonal[])
{
  const double *nngp;

  PetscFunctionBegin;
  if (is_tangent) {
    PetscCall(FwKernelTangentCross(kernel, part, cross));
    PetscCall(FwKernelTangentDiagonal(kernel, part, diagonal));
  } else {
    PetscCall(FwKernelCross(kernel, part, cross));
    PetscCall(FwKernelDiagonal(kernel, part, &nngp));
    PetscCall(PetscArraycpy(diagonal, nngp, n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inputs without labels stand behind the test examples */
static PetscErrorCode SetTest(FwPredictor p, FwKernel kernel, PetscBool is_tangent)
{
  FwDataSizes sizes;
  FwMatrix    cross = NULL, further, both;
  double     *diagonal;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  if (sizes.n_test + sizes.n_new == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(sizes.n_test + sizes.n_new, &diagonal));
  PetscCall(AssemblePart(kernel, is_tangent, FW_TEST, sizes.n_test, &cross, diagonal));
  if (sizes.n_new) {
    PetscCall(AssemblePart(kernel, is_tangent, FW_NEW, sizes.n_new, &further, diagonal + sizes.n_test));
    PetscCall(FwMatrixJoin(&cross, &further, &both));
    cross = both;
  }
  PetscCall(FwSpectrumSetTest(p->spectrum, &cross, diagonal));
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From where the last run left it, or from the beginning */
static PetscErrorCode ReduceTrain(FwPredictor p, FwKernel kernel, PetscBool is_tangent, const FwPredictorPlan *plan)
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
    PetscCall(AssembleTrain(kernel, is_tangent, &train));
    PetscCall(FwSpectrumCreateKept(&train, plan->bandwidth, plan->file ? &keep : NULL, &p->spectrum));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Targets come by example, the spectrum takes them by output */
static PetscErrorCode SetLabels(FwPredictor p, double bias)
{
  FwDataSizes   sizes;
  const double *y;
  double       *column;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(p->data, &sizes));
  PetscCall(FwDatasetGetTargets(p->data, FW_TRAIN, &y));
  PetscCall(PetscMalloc1((size_t)sizes.n_train * sizes.n_output, &column));
  for (PetscInt i = 0; i < sizes.n_train; i++)
    for (PetscInt d = 0; d < sizes.n_output; d++)
      column[i + (size_t)d * sizes.n_train] = y[d + (size_t)i * sizes.n_output];
  PetscCall(FwSpectrumSetLabels(p->spectrum, sizes.n_output, column, bias));
  PetscCall(PetscFree(column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Decompose(FwPredictor p, const FwModel *model, PetscBool is_tangent, const FwPredictorPlan *plan)
{
  FwKernel kernel;

  PetscFunctionBegin;
  PetscCall(FwKernelCreate(p->grid, model, p->data, &kernel));
  PetscCall(ReduceTrain(p, kernel, is_tangent, plan));
  PetscCall(SetLabels(p, model->bias[model->depth]));
  PetscCall(SetTest(p, kernel, is_tangent));
  PetscCall(FwSpectrumFreeze(p->spectrum));
  PetscCall(FwKernelDestroy(&kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
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

static PetscErrorCode DecomposeOrLoad(FwPredictor p, const FwModel *model, PetscBool is_tangent,
                                      const FwPredictorPlan *plan)
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
  PetscCall(Decompose(p, model, is_tangent, plan));
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
  FwModel     unit = *model;
  FwPredictor p;

  PetscFunctionBegin;
  PetscCall(PetscNew(&p));
  p->grid = grid;
  p->data = data;
  PetscCall(PetscMalloc1(model->depth + 1, &unit.prior));
  PetscCall(PetscArraycpy(unit.prior, model->prior, model->depth + 1));
  unit.prior[model->depth] = 1.0;
  PetscCall(DecomposeOrLoad(p, &unit, theory->theory == FW_THEORY_NTK ? PETSC_TRUE : PETSC_FALSE, plan));
  PetscCall(PetscFree(unit.prior));
  *predictor = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictorDestroy(FwPredictor *predictor)
{
  PetscFunctionBegin;
  if (!*predictor) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumDestroy(&(*predictor)->spectrum));
  PetscCall(PetscFree(*predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- points ------------------------------------------------------------------------------------------------- */

/* A point without a solution is a result of a scan: its message becomes a warning */
static PetscErrorCode SolvePoint(FwPredictor p, const FwModel *model, FwPrediction *prediction)
{
  const double   scale = 1.0 / model->prior[model->depth];
  PetscErrorCode code;

  PetscFunctionBegin;
  code = FwPredictionSolve(p->spectrum, scale, model, prediction);
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscCall(code);
  if (!code) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPredictionDestroy(prediction)); /* what it had before the error */
  prediction->saddle  = (FwSaddle){0};
  prediction->average = (FwAverage){0};
  prediction->n_curve = 0;
  prediction->failure = code;
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
  for (PetscInt i = 0; i < n; i++) PetscCall(FwPredictionShare(comm, i % size, &prediction[i]));
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
  /* of a single point the message is still there, on the rank that met it */
  if (n == 1 && prediction[0].failure) PetscCall(FwErrorAgree(FwGridComm(p->grid), 0, prediction[0].failure));
  PetscCall(FwProgressBegin("predictions", n, &progress));
  for (PetscInt i = 0; i < n; i++) {
    const double scale = 1.0 / model[i].prior[model[i].depth];

    if (!prediction[i].failure && prediction[i].request.theory == FW_THEORY_RENORMALISED &&
        prediction[i].request.composition != FW_COMPOSITION_PRODUCT)
      PetscCall(FwPredictionNest(p, &model[i], &prediction[i]));
    if (!prediction[i].failure) {
      if (prediction[i].n_output > 1)
        PetscCall(FwPredictionOutputsErrors(p, scale, &model[i], &prediction[i]));
      else
        PetscCall(FwPredictionErrors(p->spectrum, scale, p->data, &prediction[i]));
      prediction[i].failure = FwPredictionCheck(&prediction[i]);
      if (n == 1) PetscCall(prediction[i].failure);
    }
    PetscCall(FwProgressStep(progress, i + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}
