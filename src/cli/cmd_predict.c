/** @file
 * `finwidth predict`: the predicted errors of a finite network, as a table, a result file and a picture.
 */

#include "command.h"

#include <finwidth/activation.h>
#include <finwidth/estimate.h>
#include <finwidth/option.h>
#include <finwidth/prediction.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the run was asked for */
typedef struct {
  FwModel       model;
  FwTheoryModel theory;
  PetscBool     with_average, with_means, overwrite, resume, is_dry;
  char          output[PETSC_MAX_PATH_LEN];
} Request;

PetscErrorCode FwCommandOutput(const char *input, const char command[], size_t size, char path[])
{
  const char *base, *end;
  PetscBool   is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionText("output", size, path, &is_set));
  if (is_set) PetscFunctionReturn(PETSC_SUCCESS);
  base = input ? strrchr(input, '/') : NULL;
  base = base ? base + 1 : input ? input : command;
  end  = strrchr(base, '.');
  snprintf(path, size, "%.*s.h5", end && end > base ? (int)(end - base) : (int)strlen(base), base);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the request -------------------------------------------------------------------------------------------- */

/* The theory's other models and forms are refused by name, not silently replaced */
static PetscErrorCode CheckTheory(Request *request)
{
  PetscInt  model, composition, mean;
  PetscBool is_odd, all_odd = PETSC_TRUE;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("theory_model", &model, NULL));
  PetscCheck(model < 2, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_model: 'ntk' is not in this version, want renormalised or infinite");
  request->theory = model ? FW_THEORY_INFINITE : FW_THEORY_RENORMALISED;
  PetscCall(FwOptionChoice("theory_composition", &composition, NULL));
  PetscCheck(composition == 0 || request->model.depth == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_composition: only 'product' is in this version");
  PetscCall(FwOptionChoice("theory_mean", &mean, NULL));
  PetscCheck(mean != 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_mean: 'on' is not in this version, want off (the plain second-moment kernel) or auto");
  for (PetscInt l = 0; l < request->model.depth; l++) {
    FwActivation activation;

    PetscCall(FwActivationGet((FwActivationType)request->model.activation[l], &activation));
    PetscCall(FwActivationIsOdd(activation, &is_odd));
    all_odd = (all_odd && is_odd) ? PETSC_TRUE : PETSC_FALSE;
  }
  if (mean == 0 && !all_odd && request->theory == FW_THEORY_RENORMALISED)
    PetscCall(
      FwWarn("theory_mean: auto takes the plain second-moment kernel (off) for an activation that is not odd: "
             "good for balanced labels"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadRequest(const char *input, Request *request)
{
  PetscFunctionBegin;
  PetscCall(FwCommandOutput(input, "predict", sizeof request->output, request->output));
  PetscCall(FwOptionBoolean("overwrite", &request->overwrite, NULL));
  PetscCall(FwOptionBoolean("resume", &request->resume, NULL));
  PetscCall(FwOptionBoolean("dry_run", &request->is_dry, NULL));
  PetscCall(FwOptionBoolean("theory_average", &request->with_average, NULL));
  PetscCall(FwOptionBoolean("save_predictions", &request->with_means, NULL));
  PetscCall(FwModelFromOptions(&request->model));
  PetscCheck(request->model.type == FW_NETWORK_FC, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "network_type: only 'fc' is in this version");
  PetscCall(CheckTheory(request));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadData(FwDataset *data)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetCreate(PETSC_COMM_WORLD, data));
  PetscCall(FwDatasetSetFromOptions(*data));
  PetscCall(FwDatasetSetUp(*data));
  PetscCall(FwDatasetGetSizes(*data, &sizes));
  PetscCheck(sizes.n_output == 1, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the data have %" PetscInt_FMT
             " outputs, this version predicts one: choose two classes "
             "(data_classes) with data_encoding sign",
             sizes.n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the table ---------------------------------------------------------------------------------------------- */

static PetscErrorCode PrintHeader(const FwModel *model, FwDataset data)
{
  FwDataSizes sizes;
  const char *summary;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCall(FwDatasetGetSummary(data, &summary));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "data    %s\n        P = %" PetscInt_FMT ", %" PetscInt_FMT
                        " test examples, N_0 = %" PetscInt_FMT "\n",
                        summary, sizes.n_train, sizes.n_test, sizes.n_input));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "network fc, "));
  for (PetscInt l = 0; l < PetscMin(model->depth, 8); l++)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s %.0f", l ? " - " : "", FwActivationNames[model->activation[l]],
                          model->width[l]));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s, T = %g\n\n", model->depth > 8 ? " - ..." : "", model->temperature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A number in 12 columns, or a dash where there is none */
static const char *Cell(double value, char cell[16])
{
  if (isnan(value))
    snprintf(cell, 16, "%12s", "-");
  else
    snprintf(cell, 16, "%12.6g", value);
  return cell;
}

static PetscErrorCode PrintRow(const FwPrediction *p, const char name[], double finite, double averaged,
                               double infinite)
{
  char a[16], b[16], c[16];

  PetscFunctionBegin;
  if (p->theory == FW_THEORY_INFINITE)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s\n", name, Cell(infinite, c)));
  else if (p->average.is_available)
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s %s %s\n", name, Cell(finite, a), Cell(averaged, b), Cell(infinite, c)));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %s %s\n", name, Cell(finite, a), Cell(infinite, c)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintTable(const FwPrediction *p)
{
  const FwErrors *f = &p->finite, *a = &p->averaged, *i = &p->infinite;

  PetscFunctionBegin;
  if (p->theory == FW_THEORY_INFINITE)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %12s\n", "", "infinite"));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  %-18s %12s%s%s %12s\n", "", "saddle point",
                          p->average.is_available ? " " : "", p->average.is_available ? "exact average" : "",
                          "infinite"));
  PetscCall(PrintRow(p, "train error", f->train_error, a->train_error, i->train_error));
  PetscCall(PrintRow(p, "test error", f->test_error, a->test_error, i->test_error));
  PetscCall(PrintRow(p, "  bias", f->test_bias, a->test_bias, i->test_bias));
  PetscCall(PrintRow(p, "  variance", f->test_variance, a->test_variance, i->test_variance));
  if (!isnan(i->accuracy)) PetscCall(PrintRow(p, "test accuracy", f->accuracy, a->accuracy, i->accuracy));
  PetscCall(PrintRow(p, "order parameter", p->saddle.n_minimum ? exp(p->saddle.minimum[0].log_order) : NAN,
                     p->average.mean_order, 1.0));
  PetscCall(PrintRow(p, "log evidence", p->log_evidence, p->average.log_evidence, p->infinite_log_evidence));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOrders(const FwPrediction *p)
{
  PetscFunctionBegin;
  for (PetscInt m = 0; m < p->saddle.n_minimum; m++) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s%s  Q =", m ? "" : "\n", m ? "  metastable  " : "  saddle point"));
    for (PetscInt l = 0; l < p->depth; l++)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, " %.8g", p->order[m * p->depth + l]));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, ",  S = %.10g  (%" PetscInt_FMT " Newton steps, residual %.1e)\n",
                          p->saddle.minimum[m].value, p->saddle.minimum[m].n_iteration, p->saddle.minimum[m].residual));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WarnAboutSaddle(const FwPrediction *p)
{
  PetscFunctionBegin;
  if (p->saddle.n_minimum > 1)
    PetscCall(FwWarn("the action has %" PetscInt_FMT " minima; the result is the lowest, S = %.6g; the next is "
                     "metastable, S = %.6g",
                     p->saddle.n_minimum, p->saddle.minimum[0].value, p->saddle.minimum[1].value));
  if (p->theory == FW_THEORY_RENORMALISED && !p->saddle.is_complete)
    PetscCall(
      FwWarn("two stationary points of the action lie closer than 1e-7 in log Q (a spinodal): one of them may "
             "be missing"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the file ----------------------------------------------------------------------------------------------- */

static PetscErrorCode Save(const Request *request, FwDataset data, const FwPrediction *p)
{
  FwStore       store;
  FwRecord      record;
  const double *targets;
  const char   *digest;
  char         *resolved;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetTargets(data, FW_TEST, &targets));
  PetscCall(FwDatasetGetDigest(data, &digest));
  PetscCall(FwOptionsResolved(FW_FOR_PREDICT, &resolved));
  PetscCall(FwRecordCreate(&record));
  PetscCall(FwPredictionRecord(p, targets, request->with_means, record));
  PetscCall(FwStoreCreate(PETSC_COMM_WORLD, request->output, request->overwrite || request->resume, &store));
  PetscCall(FwRecordWrite(record, store, "/predict"));
  PetscCall(FwStoreProvenance(store, resolved, digest,
                              p->theory == FW_THEORY_INFINITE || p->saddle.is_converged ? "complete" : "failed"));
  PetscCall(FwStoreCommit(&store));
  PetscCall(FwRecordDestroy(&record));
  PetscCall(PetscFree(resolved));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s\n", request->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -resume: a complete result is left as it is; there is nothing half-done to continue in a run of one point */
static PetscErrorCode IsAlreadyDone(const Request *request, PetscBool *is_done)
{
  PetscBool exists;
  FwStore   store;
  char     *status;

  PetscFunctionBegin;
  *is_done = PETSC_FALSE;
  PetscCall(PetscTestFile(request->output, '\0', &exists));
  if (!request->resume || !exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreOpen(PETSC_COMM_WORLD, request->output, &store));
  PetscCall(FwStoreGetText(store, "/", "status", &status));
  PetscCall(PetscStrcmp(status, "complete", is_done));
  PetscCall(PetscFree(status));
  PetscCall(FwStoreDestroy(&store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetWork(const Request *request, FwDataset data, FwWork *work)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  *work = (FwWork){
    .n_train = sizes.n_train, .n_test = sizes.n_test, .n_input = sizes.n_input, .depth = (double)request->model.depth};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintDryRun(const FwEstimate *estimate)
{
  char *resolved;

  PetscFunctionBegin;
  PetscCall(FwOptionsResolved(FW_FOR_PREDICT, &resolved));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s\n", resolved));
  PetscCall(PetscFree(resolved));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "estimate  %.2f GiB on each rank, %.3g flops, about %.1f s\n",
                        estimate->peak_bytes / 1073741824.0,
                        estimate->assembly_flops + estimate->decomposition_flops + estimate->prediction_flops,
                        estimate->seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintAndSave(const Request *request, FwDataset data, const FwPrediction *prediction)
{
  PetscFunctionBegin;
  PetscCall(PrintTable(prediction));
  PetscCall(PrintOrders(prediction));
  PetscCall(WarnAboutSaddle(prediction));
  PetscCall(Save(request, data, prediction));
  PetscCall(FwCommandFigure(request->output));
  PetscCheck(
    request->theory == FW_THEORY_INFINITE || prediction->saddle.is_converged, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
    "the saddle-point solver did not converge: '%s' keeps what was computed, with status 'failed'", request->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Predict(const Request *request)
{
  FwDataset    data;
  FwGrid       grid;
  FwWork       work;
  FwEstimate   estimate;
  FwPrediction prediction;

  PetscFunctionBegin;
  PetscCall(LoadData(&data));
  PetscCall(FwGridCreate(PETSC_COMM_WORLD, &grid));
  PetscCall(GetWork(request, data, &work));
  PetscCall(FwEstimatePredict(grid, &work, &estimate));
  if (request->is_dry) PetscCall(PrintDryRun(&estimate));
  PetscCall(FwEstimateCheck(grid, &work, &estimate));
  if (!request->is_dry) {
    PetscCall(PrintHeader(&request->model, data));
    PetscCall(FwPredictionCreate(grid, &request->model, data, request->theory, request->with_average, &prediction));
    PetscCall(PrintAndSave(request, data, &prediction));
    PetscCall(FwPredictionDestroy(&prediction));
  }
  PetscCall(FwGridDestroy(&grid));
  PetscCall(FwDatasetDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCommandRun_Predict(const char *input)
{
  Request   request;
  PetscBool is_done;

  PetscFunctionBegin;
  PetscCall(ReadRequest(input, &request));
  PetscCall(IsAlreadyDone(&request, &is_done));
  if (is_done) {
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "result  %s is complete: nothing to do\n", request.output));
  } else {
    PetscCall(
      FwStoreCheckOutput(PETSC_COMM_WORLD, request.output, request.overwrite || request.resume || request.is_dry));
    PetscCall(Predict(&request));
  }
  PetscCall(FwModelDestroy(&request.model));
  PetscFunctionReturn(PETSC_SUCCESS);
}
