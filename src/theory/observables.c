/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Observables of a trained network with one hidden layer: the hidden Gram matrix, and the record.
 *
 * Symbols of the paper: A = T + s^2 1 1^T + Q K, a = A^-1 y, u = A^-1 1, G = a a^T - A^-1.
 *
 * With R = T + s^2 1 1^T, Q K = A - R, and every product of K with A^-1 is entry-wise:
 *
 *     Q K a       = y - T a - s^2 (1.a) 1,
 *     Q^2 K A^-1 K = Q K - R + R A^-1 R,   (R A^-1 R)_ij = T^2 A^-1_ij + T s^2 (u_i + u_j) + s^4 (1.u),
 *
 * so that one factor and one inverse give all that is needed of the hidden layer.
 */

#include <finwidth/activation.h>
#include <finwidth/cholesky.h>
#include <finwidth/kernel.h>
#include <finwidth/progress.h>

#include "observables_impl.h"

#include <math.h>

/* --- sums over the hidden Gram matrix ------------------------------------------------------------------------ */

/* Sums over all entries of M before and M after, and of their difference */
enum { TRACE, SQUARE, FORM, TRACE_AFTER, SQUARE_AFTER, FORM_AFTER, SQUARE_CHANGE, N_SUM };

typedef struct {
  const FwObservablesLayer *layer;  /* NULL: M before alone */
  FwMatrix                  kernel; /* K, lower triangle */
  double                    scale;  /* M before = scale * K */
  const double             *y;
  double                   *image; /* [n] Q K a */
  double                    sum[N_SUM];
} GramContext;

/* Add entry (i, j) of the lower triangle, and the one above the diagonal that equals it */
static void AddEntry(GramContext *c, PetscInt i, PetscInt j, double before, double change)
{
  const double times = i == j ? 1.0 : 2.0, after = before + change, form = times * c->y[i] * c->y[j];

  if (i == j) c->sum[TRACE] += before;
  if (i == j) c->sum[TRACE_AFTER] += after;
  c->sum[SQUARE] += times * before * before;
  c->sum[SQUARE_AFTER] += times * after * after;
  c->sum[SQUARE_CHANGE] += times * change * change;
  c->sum[FORM] += form * before;
  c->sum[FORM_AFTER] += form * after;
}

/* (M after - M before) / lambda_1 = (Q K G K) / N_1 at one entry; `kernel` and `inverse` are those of K and A^-1 */
static double Change(const GramContext *c, PetscInt i, PetscInt j, double kernel, double inverse)
{
  const FwObservablesLayer *layer = c->layer;
  const double              t = layer->model->temperature, s2 = layer->model->bias[1], q = layer->order;
  const double              ridge = (i == j ? t : 0.0) + s2;
  const double              twice =
    t * t * inverse + t * s2 * (layer->constant[i] + layer->constant[j]) + s2 * s2 * layer->sum_constant;

  return (c->image[i] * c->image[j] - (q * kernel - ridge + twice)) / (q * layer->model->width[0]);
}

static PetscErrorCode SumStrip(const FwStrip *strip, void *user)
{
  GramContext  *c       = (GramContext *)user;
  const double *inverse = c->layer ? FwMatrixStrip(c->layer->inverse, strip->first, strip->column_local) : NULL;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < strip->n; r++) {
    const PetscInt i      = FwMatrixRow(c->kernel, strip->first + r);
    const double   change = inverse ? Change(c, i, strip->column, strip->value[r], inverse[r]) : 0.0;

    AddEntry(c, i, strip->column, c->scale * strip->value[r], c->scale * change);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Alignment(PetscInt n, const double y[], double form, double square)
{
  double label2 = 0.0;

  for (PetscInt i = 0; i < n; i++) label2 += y[i] * y[i];
  return form / (sqrt(square) * label2);
}

static PetscErrorCode SumGram(FwMatrix kernel, GramContext *c)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(kernel, FW_LOWER, SumStrip, c));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, c->sum, N_SUM, MPI_DOUBLE, MPI_SUM, FwGridComm(FwMatrixGrid(kernel))));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode HiddenObservables(const FwObservablesLayer *layer, FwMatrix kernel, FwObservables *o)
{
  const FwModel *model = layer->model;
  GramContext    c     = {.layer = layer, .kernel = kernel, .scale = model->prior[1], .y = layer->y};

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(layer->n, &c.image));
  for (PetscInt i = 0; i < layer->n; i++)
    c.image[i] = layer->y[i] - model->temperature * layer->fit[i] - model->bias[1] * layer->sum_fit;
  PetscCall(SumGram(kernel, &c));
  o->alignment_before    = Alignment(layer->n, layer->y, c.sum[FORM], c.sum[SQUARE]);
  o->alignment_after     = Alignment(layer->n, layer->y, c.sum[FORM_AFTER], c.sum[SQUARE_AFTER]);
  o->hidden_trace_before = c.sum[TRACE] / layer->n;
  o->hidden_trace_after  = c.sum[TRACE_AFTER] / layer->n;
  o->hidden_distance     = sqrt(c.sum[SQUARE_CHANGE] / c.sum[SQUARE]);
  PetscCall(PetscFree(c.image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the resolvent ------------------------------------------------------------------------------------------- */

typedef struct {
  const FwObservablesLayer *layer;
  FwMatrix                  kernel, matrix;
} ResolventContext;

static PetscErrorCode FillResolvent(const FwStrip *strip, void *user)
{
  const ResolventContext *c      = (const ResolventContext *)user;
  const FwModel          *model  = c->layer->model;
  const double           *kernel = FwMatrixStrip(c->kernel, strip->first, strip->column_local);

  PetscFunctionBegin;
  for (PetscInt r = 0; r < strip->n; r++) {
    const PetscBool is_diagonal = FwMatrixRow(c->matrix, strip->first + r) == strip->column ? PETSC_TRUE : PETSC_FALSE;

    strip->value[r] = c->layer->order * kernel[r] + model->bias[1] + (is_diagonal ? model->temperature : 0.0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a = A^-1 y and u = A^-1 1, with their sums */
static PetscErrorCode SolveLabels(FwCholesky factor, FwObservablesLayer *layer)
{
  FwMatrix sides;
  double  *copy;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(2 * layer->n, &copy));
  for (PetscInt i = 0; i < layer->n; i++) {
    copy[i]            = layer->y[i];
    copy[layer->n + i] = 1.0;
  }
  PetscCall(FwMatrixCreateFromCopy(layer->grid, layer->n, 2, copy, &sides));
  PetscCall(FwCholeskySolve(factor, sides));
  PetscCall(FwMatrixGather(sides, copy));
  PetscCall(FwMatrixDestroy(&sides));
  PetscCall(PetscMalloc2(layer->n, &layer->fit, layer->n, &layer->constant));
  for (PetscInt i = 0; i < layer->n; i++) {
    layer->fit[i]      = copy[i];
    layer->constant[i] = copy[layer->n + i];
    layer->sum_fit += layer->fit[i];
    layer->sum_constant += layer->constant[i];
  }
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Resolve(FwMatrix kernel, FwObservablesLayer *layer)
{
  ResolventContext context = {.layer = layer, .kernel = kernel};
  FwCholesky       factor;
  PetscErrorCode   code;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(layer->grid, layer->n, layer->n, &context.matrix));
  PetscCall(FwMatrixVisit(context.matrix, FW_LOWER, FillResolvent, &context));
  code = FwCholeskyCreate(&context.matrix, &factor);
  if (code) PetscCall(FwMatrixDestroy(&context.matrix));
  PetscCall(code);
  PetscCall(SolveLabels(factor, layer));
  PetscCall(FwCholeskyInverse(&factor, &layer->inverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ----------------------------------------------------------------------------------------------- */

static PetscErrorCode OneHiddenLayer(FwObservablesLayer *layer, FwMatrix *kernel, FwObservables *o)
{
  FwDataSizes sizes;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(layer->data, &sizes));
  o->weight_trace_before = sizes.n_input / layer->model->prior[0];
  PetscCall(Resolve(*kernel, layer));
  PetscCall(HiddenObservables(layer, *kernel, o));
  PetscCall(FwMatrixDestroy(kernel));
  if (layer->model->activation[0] != FW_ACTIVATION_SIGN) PetscCall(FwObservablesWeights(layer, o));
  PetscCall(FwMatrixDestroy(&layer->inverse));
  PetscCall(PetscFree2(layer->fit, layer->constant));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PriorAlignment(const FwObservablesLayer *layer, FwMatrix *kernel, FwObservables *o)
{
  GramContext c = {.kernel = *kernel, .scale = 1.0, .y = layer->y};

  PetscFunctionBegin;
  PetscCall(SumGram(*kernel, &c));
  o->alignment_before = Alignment(layer->n, layer->y, c.sum[FORM], c.sum[SQUARE]);
  PetscCall(FwMatrixDestroy(kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AssembleKernel(const FwObservablesLayer *layer, FwMatrix *train)
{
  FwKernel kernel;

  PetscFunctionBegin;
  PetscCall(FwKernelCreate(layer->grid, layer->model, layer->data, &kernel));
  PetscCall(FwKernelTrain(kernel, train));
  PetscCall(FwKernelDestroy(&kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is not known stays NaN */
static FwObservables Unknown(void)
{
  return (FwObservables){.alignment_before    = NAN,
                         .alignment_after     = NAN,
                         .hidden_trace_before = NAN,
                         .hidden_trace_after  = NAN,
                         .hidden_distance     = NAN,
                         .weight_trace_before = NAN,
                         .weight_trace_after  = NAN,
                         .kernel_distance     = NAN};
}

PetscErrorCode FwObservablesForgive(PetscErrorCode code, PetscBool *is_known)
{
  PetscFunctionBegin;
  *is_known = code ? PETSC_FALSE : PETSC_TRUE;
  if (FwExitOf(code) != FW_EXIT_NUMERICAL) PetscFunctionReturn(code);
  PetscCall(FwWarn("no observables: %s", FwErrorMessage()));
  FwErrorClear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of one hidden layer, or of what is known of others; the kernel is destroyed */
static PetscErrorCode Observe(FwObservablesLayer *layer, FwMatrix *kernel, FwObservables *o)
{
  PetscErrorCode code;
  FwProgress     progress;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("observables", 0, &progress));
  code = layer->model->depth == 1 && !isnan(layer->order) ? OneHiddenLayer(layer, kernel, o)
                                                          : PriorAlignment(layer, kernel, o);
  PetscCall(FwProgressEnd(&progress));
  if (code) PetscCall(FwMatrixDestroy(kernel));
  PetscFunctionReturn(code);
}

PetscErrorCode FwObservablesCreate(FwGrid grid, const FwModel *model, FwDataset data, double order, FwObservables *o)
{
  FwObservablesLayer layer = {.grid = grid, .model = model, .data = data, .order = order};
  FwDataSizes        sizes;
  FwMatrix           kernel;
  PetscBool          is_known;

  PetscFunctionBegin;
  PetscCall(FwDatasetGetSizes(data, &sizes));
  PetscCheck(sizes.n_output == 1, FwGridComm(grid), FW_ERR_INPUT,
             "theory_observables needs one output, network_outputs is %" PetscInt_FMT, sizes.n_output);
  *o      = Unknown();
  layer.n = sizes.n_train;
  PetscCall(FwDatasetGetTargets(data, FW_TRAIN, &layer.y));
  PetscCall(AssembleKernel(&layer, &kernel));
  PetscCall(FwObservablesForgive(Observe(&layer, &kernel, o), &is_known));
  if (!is_known) { /* nor is the part that was computed before it failed */
    PetscCall(FwObservablesDestroy(o));
    *o = Unknown();
  }
  o->is_known        = is_known;
  o->kernel_distance = order - 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwObservablesRecordState(PetscBool is_known, FwRecord record)
{
  PetscFunctionBegin;
  PetscCall(FwRecordInteger(record, "observables_converged", is_known ? 1 : 0, "1",
                            "1 if the observables could be computed; else they are NaN"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwObservablesRecord(const FwObservables *o, FwRecord record)
{
  const FwShape weights = {.n_dim = 1, .name = {"weight"}, .size = {o->n_weight}};
  const FwShape modes   = {
      .n_dim = 2, .name = {"weight_mode", "weight"   },
           .size = {o->n_mode,     o->n_weight}
  };
  const struct {
    const char *name, *long_name;
    double      value;
  } row[] = {
    {"alignment_before",    "kernel-target alignment of the hidden layer before learning",          o->alignment_before   },
    {"alignment_after",     "kernel-target alignment of the hidden layer after learning",           o->alignment_after    },
    {"hidden_trace_before", "mean squared hidden activation before learning",                       o->hidden_trace_before},
    {"hidden_trace_after",  "mean squared hidden activation after learning",                        o->hidden_trace_after },
    {"hidden_distance",     "relative change of the hidden Gram matrix by learning",                o->hidden_distance    },
    {"weight_trace_before", "trace of the covariance of the first layer's weights before learning",
     o->weight_trace_before                                                                                               },
    {"weight_trace_after",  "trace of the covariance of the first layer's weights after learning",
     o->weight_trace_after                                                                                                },
    {"kernel_distance",     "distance from the kernel regime, Q - 1",                               o->kernel_distance    },
  };

  PetscFunctionBegin;
  PetscCall(FwObservablesRecordState(o->is_known, record));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++)
    PetscCall(FwRecordReal(record, row[i].name, row[i].value, "1", row[i].long_name));
  if (!o->n_weight) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReals(record, "weight_eigenvalue", &weights, o->weight_eigenvalue, "1",
                          "eigenvalues of the covariance of the first layer's weights after learning"));
  if (!o->n_mode) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwRecordReals(record, "weight_eigenvector", &modes, o->weight_eigenvector, "1",
                          "eigenvectors of the largest, where learning raised them"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwObservablesDestroy(FwObservables *o)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(o->weight_eigenvalue));
  PetscCall(PetscFree(o->weight_eigenvector));
  o->n_weight = o->n_mode = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
