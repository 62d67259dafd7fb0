/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Observables of convolutional and locally-connected networks.
 */

#include <finwidth/local_observables.h>
#include <finwidth/progress.h>
#include <finwidth/transpose.h>

#include "observables_impl.h"
#include "symmetric.h"

#include <math.h>

/* --- from Q alone ------------------------------------------------------------------------------------------- */

/* Q between patches, summed over outputs */
static void SumOutputs(const FwPatchFamily *f, const double order[], double patch[])
{
  const PetscInt n = f->n_patch, n_row = n * f->n_output;

  for (PetscInt i = 0; i < n * n; i++) patch[i] = 0.0;
  for (PetscInt d = 0; d < f->n_output; d++)
    for (PetscInt i = 0; i < n; i++)
      for (PetscInt j = 0; j < n; j++)
        patch[i * n + j] += order[(size_t)FwPatchRow(f, d, i) * n_row + FwPatchRow(f, d, j)];
}

static PetscErrorCode FromOrder(FwLocalObservables *o, const FwPatchFamily *family, const double order[])
{
  const PetscInt n = o->n_patch, n_row = o->n_row;
  double         trace = 0.0, square = 0.0, sum = 0.0, *ascending, *vectors, *patch;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n_row, &ascending, (size_t)n_row * n_row, &vectors, n * n, &patch));
  PetscCall(FwSymmetricEigen(n_row, order, ascending, vectors));
  o->distance = 0.0;
  for (PetscInt i = 0; i < n_row; i++) {
    o->eigenvalue[i] = ascending[n_row - 1 - i];
    o->distance += PetscSqr(ascending[i] - 1.0);
  }
  SumOutputs(family, order, patch);
  for (PetscInt i = 0; i < n * n; i++) {
    sum += patch[i];
    square += PetscSqr(patch[i]);
    if (i % (n + 1) == 0) trace += patch[i];
  }
  o->distance          = sqrt(o->distance / n_row);
  o->pool_overlap      = sum / (n * trace);
  o->effective_patches = trace * trace / square;
  PetscCall(PetscFree3(ascending, vectors, patch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- of one kernel ------------------------------------------------------------------------------------------ */

/* Both triangles of a symmetric matrix of which the lower one is there */
typedef struct {
  FwMatrix      matrix, other; /* other: subtracted first; NULL for none */
  const double *y;
  double        square, quadratic; /* |M|_F^2, y^T M y: this rank's share */
} Sums;

static PetscErrorCode AddStrip(const FwStrip *strip, void *context)
{
  Sums           *s        = (Sums *)context;
  const double   *others   = s->other ? FwMatrixStrip(s->other, strip->first, strip->column_local) : NULL;
  const PetscBool is_first = FwMatrixRow(s->matrix, strip->first) == strip->column ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) {
    const double value = strip->value[i] - (others ? others[i] : 0.0), weight = is_first && i == 0 ? 1.0 : 2.0;

    s->square += weight * value * value;
    s->quadratic += weight * value * s->y[FwMatrixRow(s->matrix, strip->first + i)] * s->y[strip->column];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Measure(FwMatrix matrix, FwMatrix other, const double y[], double *norm, double *quadratic)
{
  Sums   s = {.matrix = matrix, .other = other, .y = y};
  double sum[2];

  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(matrix, FW_LOWER, AddStrip, &s));
  sum[0] = s.square;
  sum[1] = s.quadratic;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, FwGridComm(FwMatrixGrid(matrix))));
  *norm      = sqrt(sum[0]);
  *quadratic = sum[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Alignment(FwMatrix matrix, PetscInt n, const double y[], double *norm, double *alignment)
{
  double quadratic = 0.0, label2 = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) label2 += y[i] * y[i];
  PetscCall(Measure(matrix, NULL, y, norm, &quadratic));
  *alignment = quadratic / (*norm * label2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q = 1, and the coefficients of K_R there */
static PetscErrorCode UnitCoefficients(FwLocalAction action, PetscInt n, double **one, double **coefficient)
{
  FwPatchFamily family;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(FwLocalActionKernel(action), &family));
  PetscCall(PetscMalloc1(family.n_feature, coefficient));
  PetscCall(PetscCalloc1((size_t)n * n, one));
  for (PetscInt i = 0; i < n; i++) (*one)[i * n + i] = 1.0;
  PetscCall(FwLocalActionCoefficients(action, *one, *coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of K_R(1) and K_R(Q) */
static PetscErrorCode ReadoutAlignments(FwLocalAction action, PetscInt n_train, const double y[], const double order[],
                                        FwLocalObservables *o)
{
  double  *coefficient, *one, norm;
  FwMatrix kernel;

  PetscFunctionBegin;
  PetscCall(UnitCoefficients(action, o->n_patch, &one, &coefficient));
  for (int after = 0; after < 2; after++) {
    if (after) PetscCall(FwLocalActionCoefficients(action, order, coefficient));
    PetscCall(FwPatchKernelTrain(FwLocalActionKernel(action), coefficient, &kernel));
    PetscCall(Alignment(kernel, n_train, y, &norm, after ? &o->kernel_alignment : &o->alignment_before));
    PetscCall(FwMatrixDestroy(&kernel));
  }
  PetscCall(PetscFree(coefficient));
  PetscCall(PetscFree(one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the hidden layer --------------------------------------------------------------------------------------- */

typedef struct {
  FwMatrix      matrix;
  const double *vector;
  double        factor; /* matrix <- factor * (matrix - vector vector^T) */
} Update;

static PetscErrorCode UpdateStrip(const FwStrip *strip, void *context)
{
  const Update *u = (const Update *)context;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++)
    strip->value[i] =
      u->factor * (strip->value[i] - u->vector[FwMatrixRow(u->matrix, strip->first + i)] * u->vector[strip->column]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* factor (A^-1 - a a^T), in full */
static PetscErrorCode DataMatrix(FwLocalAction action, PetscInt n_train, const double order[], double factor,
                                 FwMatrix *data)
{
  double    *solved;
  FwCholesky cholesky = NULL;
  Update     update   = {.factor = factor};

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n_train, &solved));
  PetscCall(FwLocalActionFactor(action, order, &cholesky, solved));
  PetscCall(FwCholeskyInverse(&cholesky, data));
  update.matrix = *data;
  update.vector = solved;
  PetscCall(FwMatrixVisit(*data, FW_LOWER, UpdateStrip, &update));
  PetscCall(FwMatrixSymmetrise(*data));
  PetscCall(PetscFree(solved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SubtractStrip(const FwStrip *strip, void *context)
{
  const double *others = FwMatrixStrip((FwMatrix)context, strip->first, strip->column_local);

  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) strip->value[i] -= others[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* hidden <- hidden - Z X Z^T; Z is consumed */
static PetscErrorCode SubtractSandwich(FwMatrix data, FwMatrix *z, FwMatrix hidden)
{
  PetscInt n;
  FwMatrix product, transpose, sandwich;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(hidden, &n, NULL, NULL, NULL));
  PetscCall(FwMatrixTranspose(*z, &transpose));
  PetscCall(FwMatrixDestroy(z));
  PetscCall(FwMatrixCreate(FwMatrixGrid(hidden), n, n, &product));
  PetscCall(FwMatrixMultiply(PETSC_FALSE, 1.0, data, transpose, product));
  PetscCall(FwMatrixCreate(FwMatrixGrid(hidden), n, n, &sandwich));
  PetscCall(FwMatrixMultiply(PETSC_TRUE, 1.0, transpose, product, sandwich));
  PetscCall(FwMatrixVisit(hidden, FW_LOWER, SubtractStrip, sandwich));
  PetscCall(FwMatrixDestroy(&transpose));
  PetscCall(FwMatrixDestroy(&product));
  PetscCall(FwMatrixDestroy(&sandwich));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With Q = sum_r (w_r)(w_r)^T the change of patch i is a sum over r of Z X Z^T, Z = sum_k w_rk K_ik; of a locally-connected
   network Z = q_i^1/2 K_ii alone */
static PetscErrorCode HiddenChange(FwLocalAction action, const double order[], const FwLocalObservables *o,
                                   FwMatrix data, FwMatrix hidden)
{
  const PetscInt n = o->n_patch;
  double        *root;
  FwProgress     progress;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n * n, &root));
  PetscCall(FwSymmetricApply(n, order, sqrt, root));
  PetscCall(FwProgressBegin("hidden layer", n, &progress));
  for (PetscInt i = 0; i < n; i++) {
    for (PetscInt r = o->is_diagonal ? i : 0; r < (o->is_diagonal ? i + 1 : n); r++) {
      FwMatrix z;

      PetscCall(FwPatchKernelRow(FwLocalActionKernel(action), i, root + (size_t)r * n, &z));
      PetscCall(SubtractSandwich(data, &z, hidden));
    }
    PetscCall(FwProgressStep(progress, i + 1));
  }
  PetscCall(FwProgressEnd(&progress));
  PetscCall(PetscFree(root));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ScaleStrip(const FwStrip *strip, void *context)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < strip->n; i++) strip->value[i] *= *(const double *)context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* M before is K_R(1) times lambda_1 */
static PetscErrorCode HiddenLayer(FwLocalAction action, PetscInt n_train, const double y[], const double order[],
                                  FwLocalObservables *o)
{
  double   norm, after, quadratic, *coefficient, *one, scale;
  FwMatrix before, hidden, data;

  PetscFunctionBegin;
  PetscCall(UnitCoefficients(action, o->n_patch, &one, &coefficient));
  scale = 1.0 / (coefficient[0] * o->n_patch);
  PetscCall(DataMatrix(action, n_train, order, coefficient[0] / (FwLocalActionWidth(action) * o->n_patch), &data));
  PetscCall(FwPatchKernelTrain(FwLocalActionKernel(action), coefficient, &before));
  PetscCall(FwMatrixVisit(before, FW_LOWER, ScaleStrip, &scale));
  PetscCall(FwPatchKernelTrain(FwLocalActionKernel(action), coefficient, &hidden));
  PetscCall(FwMatrixVisit(hidden, FW_LOWER, ScaleStrip, &scale));
  PetscCall(HiddenChange(action, order, o, data, hidden));
  PetscCall(FwMatrixTrace(before, &o->hidden_trace_before));
  PetscCall(FwMatrixTrace(hidden, &o->hidden_trace_after));
  o->hidden_trace_before /= n_train;
  o->hidden_trace_after /= n_train;
  PetscCall(Alignment(hidden, n_train, y, &after, &o->alignment_after));
  PetscCall(Measure(before, NULL, y, &norm, &quadratic));
  PetscCall(Measure(hidden, before, y, &after, &quadratic));
  o->hidden_distance = after / norm;
  PetscCall(FwMatrixDestroy(&before));
  PetscCall(FwMatrixDestroy(&hidden));
  PetscCall(FwMatrixDestroy(&data));
  PetscCall(PetscFree(coefficient));
  PetscCall(PetscFree(one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static PetscErrorCode FromKernels(FwLocalAction action, PetscInt n_train, const double y[], const double order[],
                                  FwLocalObservables *o)
{
  PetscFunctionBegin;
  PetscCall(ReadoutAlignments(action, n_train, y, order, o));
  if (o->has_hidden) PetscCall(HiddenLayer(action, n_train, y, order, o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What needs kernels, where it could not be computed */
static void ForgetKernels(FwLocalObservables *o)
{
  o->alignment_before = o->kernel_alignment = o->alignment_after = NAN;
  o->hidden_trace_before = o->hidden_trace_after = o->hidden_distance = NAN;
}

PetscErrorCode FwLocalObservablesCreate(FwLocalAction action, const double y[], const double order[],
                                        PetscBool with_kernels, FwLocalObservables *observables)
{
  FwLocalObservables o = {.has_kernels = with_kernels};
  FwPatchFamily      family;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(FwLocalActionKernel(action), &family));
  o.n_patch     = family.n_patch;
  o.n_row       = family.n_patch * family.n_output;
  o.is_diagonal = family.form == FW_PATCH_DIAGONAL ? PETSC_TRUE : PETSC_FALSE;
  o.has_hidden  = with_kernels && family.n_layer == 1 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscMalloc1(o.n_row, &o.eigenvalue));
  PetscCall(FromOrder(&o, &family, order));
  if (with_kernels) PetscCall(FwObservablesForgive(FromKernels(action, family.n_train, y, order, &o), &o.is_known));
  if (with_kernels && !o.is_known) ForgetKernels(&o);
  *observables = o;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalObservablesRecord(const FwLocalObservables *o, FwRecord record)
{
  const struct {
    const char *name, *long_name;
    double      value;
    PetscBool   is_there;
  } row[] = {
    {"order_distance",      "distance |Q - 1|_F / n^1/2 from infinite width",              o->distance,            PETSC_TRUE     },
    {"effective_patches",   "(tr Q)^2 / tr Q^2, patches over which the readout is spread", o->effective_patches,
     PETSC_TRUE                                                                                                                   },
    {"pool_overlap",        "1.Q.1 / (n tr Q): 1/n at infinite width, 1 for pooling",      o->pool_overlap,        !o->is_diagonal},
    {"alignment_before",    "alignment of the kernel with the labels at infinite width",   o->alignment_before,
     o->has_kernels                                                                                                               },
    {"kernel_alignment",    "alignment of the renormalised kernel with the labels",        o->kernel_alignment,    o->has_kernels },
    {"alignment_after",     "alignment of the hidden layer's Gram matrix with the labels", o->alignment_after,
     o->has_hidden                                                                                                                },
    {"hidden_trace_before", "mean squared activation before learning",                     o->hidden_trace_before, o->has_hidden  },
    {"hidden_trace_after",  "mean squared activation after learning",                      o->hidden_trace_after,  o->has_hidden  },
    {"hidden_distance",     "relative change of the hidden layer's Gram matrix",           o->hidden_distance,     o->has_hidden  },
  };
  const FwShape modes = {.n_dim = 1, .name = {"mode"}, .size = {o->n_row}};

  PetscFunctionBegin;
  if (o->has_kernels) PetscCall(FwObservablesRecordState(o->is_known, record));
  PetscCall(FwRecordReals(record, "order_eigenvalue", &modes, o->eigenvalue, "1",
                          "eigenvalues of the order parameter, descending"));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(row); i++)
    if (row[i].is_there) PetscCall(FwRecordReal(record, row[i].name, row[i].value, "1", row[i].long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalObservablesDestroy(FwLocalObservables *observables)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(observables->eigenvalue));
  PetscFunctionReturn(PETSC_SUCCESS);
}
