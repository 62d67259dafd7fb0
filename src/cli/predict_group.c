/** @file
 * Computing a group of points that share a kernel.
 */

#include "predict.h"

#include "predict_print.h"

#include <finwidth/activation.h>
#include <finwidth/observables.h>
#include <finwidth/option.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

PetscErrorCode FwPredictLoadData(MPI_Comm comm, FwDataset *data)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(comm, data));
  PetscCall(FwDatasetSetFromOptions(*data));
  PetscCall(FwDatasetSetUp(*data));
  PetscCall(FwDatasetGetSizes(*data, &sizes));
  PetscCheck(sizes.n_output == 1, comm, FW_ERR_INPUT,
             "the data have %" PetscInt_FMT
             " outputs, this version predicts one: choose two classes "
             "(data_classes) with data_encoding sign",
             sizes.n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutSaddle(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->saddle.n_minimum > 1)
    PetscCall(FwWarn("the action has %" PetscInt_FMT " minima; the result is the lowest, S = %.6g; the next is "
                     "metastable, S = %.6g",
                     p->saddle.n_minimum, p->saddle.minimum[0].value, p->saddle.minimum[1].value));
  if (p->saddle.n_minimum && !p->saddle.is_complete && p->request.composition == FW_COMPOSITION_PRODUCT)
    PetscCall(
      FwWarn("two stationary points of the action lie closer than 1e-7 in log Q (a spinodal): one of them may "
             "be missing"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordDigest(FwDataset data, FwRecord record)
{
  const char *digest;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetDigest(data, &digest));
  PetscCall(FwRecordInteger(record, "data_digest", (PetscInt64)strtoull(digest, NULL, 16), "1",
                            "digest of the data used, as a signed integer"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RecordObservables(FwGrid grid, FwDataset data, const FwModel *model,
                                        const FwPrediction *prediction, FwRecord record)
{
  const double  order = prediction->saddle.n_minimum ? exp(prediction->saddle.minimum[0].log_order) : 1.0;
  FwObservables observables;
  PetscBool     is_wanted;

  PetscFunctionBegin;
  PetscCall(FwOptionBoolean("theory_observables", &is_wanted, NULL));
  if (!is_wanted || prediction->failure) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwObservablesCreate(grid, model, data, order, &observables));
  PetscCall(FwObservablesRecord(&observables, record));
  PetscCall(FwObservablesDestroy(&observables));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file of the decomposition is named by the data and by the keys that the kernel depends on */
static PetscErrorCode DescribeKernel(FwDataset data, const FwModel *model, const FwTheory *theory, size_t size,
                                     char text[])
{
  FwDataSizes sizes;
  const char *digest;
  int         n;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetDigest(data, &digest));
  n = snprintf(text, size, "kernel-1 data %s new %" PetscInt_FMT " %s", digest, sizes.n_new,
               theory->theory == FW_THEORY_NTK ? "ntk" : "nngp");
  for (PetscInt l = 0; l < model->depth && n < (int)size; l++)
    n += snprintf(text + n, size - (size_t)n, " | %.17g %.17g %s", model->prior[l], model->bias[l],
                  FwActivationNames[model->activation[l]]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreatePredictor(FwGrid grid, FwDataset data, const FwModel *model, const FwTheory *theory,
                                      PetscInt bandwidth, FwPredictor *predictor)
{
  enum { DIGEST_SIZE = 4096 };
  char            path[PETSC_MAX_PATH_LEN], digest[DIGEST_SIZE];
  PetscBool       has_file;
  FwPredictorPlan plan = {.bandwidth = bandwidth, .digest = digest};

  PetscFunctionBegin;
  PetscCall(FwOptionText("theory_decomposition", sizeof path, path, &has_file));
  if (has_file) plan.file = path;
  PetscCall(DescribeKernel(data, model, theory, sizeof digest, digest));
  PetscCall(FwPredictorCreate(grid, model, data, theory, &plan, predictor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PredictPoints(FwGrid grid, FwDataset data, PetscInt bandwidth, PetscInt n,
                                    const FwPredictPoint point[], FwRecord record[])
{
  FwPredictor   predictor;
  FwPrediction *prediction;
  FwModel      *model;
  FwTheory     *theory;
  const double *targets;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &prediction, n, &model, n, &theory));
  for (PetscInt i = 0; i < n; i++) {
    model[i]  = point[i].model;
    theory[i] = point[i].theory;
  }
  PetscCall(CreatePredictor(grid, data, &model[0], &theory[0], bandwidth, &predictor));
  PetscCall(FwPredictorRun(predictor, n, model, theory, prediction));
  PetscCall(FwPredictorDestroy(&predictor));
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &targets));
  for (PetscInt i = 0; i < n; i++) {
    if (point[i].theory.with_curve) PetscCall(FwPrintPrediction(&prediction[i]));
    if (point[i].theory.with_curve) PetscCall(WarnAboutSaddle(&prediction[i]));
    PetscCall(FwPredictionRecord(&prediction[i], targets, record[i]));
    PetscCall(FwRecordInteger(record[i], "bandwidth", bandwidth, "1", "bandwidth of the decomposed kernel"));
    PetscCall(RecordObservables(grid, data, &model[i], &prediction[i], record[i]));
    PetscCall(RecordDigest(data, record[i]));
    PetscCall(FwPredictionDestroy(&prediction[i]));
  }
  PetscCall(PetscFree3(prediction, model, theory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPredictGroup(MPI_Comm comm, FwScan scan, PetscInt n, const PetscInt point[], FwRecord record[],
                              void *context)
{
  const FwPredict *predict    = (const FwPredict *)context;
  const PetscBool  with_table = predict->request->is_single && !predict->is_quiet ? PETSC_TRUE : PETSC_FALSE;
  FwPredictPoint  *here;
  FwDataset        data;
  FwGrid           grid;
  FwEstimate       estimate;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &here));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwScanApply(scan, point[i]));
    PetscCall(FwPredictPointRead(&here[i]));
    here[i].theory.with_curve = with_table;
  }
  PetscCall(FwGridCreate(comm, &grid));
  PetscCall(FwPredictEstimateExamples(grid));
  PetscCall(FwPredictLoadData(comm, &data));
  PetscCall(FwPredictEstimate(grid, data, n, here, &estimate));
  if (with_table || (point[0] == 0 && !predict->is_quiet)) {
    PetscCall(FwPrintHeader(&here[0].model, data));
    PetscCall(FwPredictPrintPlan(&estimate));
  }
  PetscCall(PredictPoints(grid, data, estimate.bandwidth, n, here, record));
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwDatasetDestroy(&data));
  for (PetscInt i = 0; i < n; i++) PetscCall(FwPredictPointDestroy(&here[i]));
  PetscCall(PetscFree(here));
  PetscFunctionReturn(PETSC_SUCCESS);
}
