/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The family of kernels between patches: its store, assembly and pull-back.
 *
 * A local column of a matrix is cut into pieces; all features of a piece stand together, [n_feature][rows], in the store
 * or, where that is full, in a workspace. The pieces come in the same order at every call, so a piece is known by where
 * it would begin in a store of all.
 */

#include "patch_impl.h"

#include <finwidth/progress.h>
#include <petscblaslapack.h>
#include <stdlib.h>

enum { PIECE_FEW = 256, PIECE_MANY = 128, MANY_PATCHES = 16 }; /* rows: products long enough, workspace in cache */

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode SideOf(FwPatchKernel k, FwMatrix matrix, FwPart part, PetscBool is_row, FwPatchSide *side)
{
  PetscInt       m, n, *example;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(matrix, NULL, NULL, &m, &n));
  if (is_row) n = m;
  PetscCall(PetscMalloc1(n, &example));
  for (PetscInt i = 0; i < n; i++) example[i] = is_row ? FwMatrixRow(matrix, i) : FwMatrixColumn(matrix, i);
  code = FwPatchSideCreate(k->images, part, n, example, is_row, k->is_centred, side);
  PetscCall(PetscFree(example));
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code)); /* a variance may be bad on one rank only */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CountEntries(const FwStrip *strip, void *context)
{
  PetscFunctionBegin;
  *(size_t *)context += (size_t)strip->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sides of the P x P matrix, and the size of a store; the matrix itself is only asked for its distribution */
static PetscErrorCode SetUpTrain(FwPatchKernel k, double store_bytes)
{
  const PetscInt n = k->images->n[FW_TRAIN];
  FwMatrix       matrix;
  size_t         entries = 0;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(k->grid, n, n, &matrix));
  PetscCall(FwMatrixVisit(matrix, FW_LOWER, CountEntries, &entries));
  PetscCall(SideOf(k, matrix, FW_TRAIN, PETSC_TRUE, &k->rows));
  PetscCall(SideOf(k, matrix, FW_TRAIN, PETSC_FALSE, &k->columns));
  PetscCall(FwMatrixDestroy(&matrix));
  k->total    = entries * (size_t)k->n_feature;
  k->capacity = PetscMin(k->total, (size_t)(PetscMax(store_bytes, 0.0) / sizeof(double)));
  k->store    = malloc(PetscMax(k->capacity, 1) * sizeof(double)); /* the system gives pages as they are filled */
  if (!k->store) k->capacity = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelCreate(FwGrid grid, FwPatchImages images, FwPatchForm form, PetscBool is_centred,
                                   double store_bytes, FwPatchKernel *kernel)
{
  const PetscInt n = images->patches.n_patch;
  FwPatchKernel  k;

  PetscFunctionBegin;
  PetscCall(PetscNew(&k));
  k->grid       = grid;
  k->images     = images;
  k->form       = form;
  k->is_centred = is_centred;
  k->n_feature  = (form == FW_PATCH_DIAGONAL ? n : n * (n + 1) / 2) + (is_centred ? 1 : 0);
  k->n_piece    = n > MANY_PATCHES ? PIECE_MANY : PIECE_FEW;
  PetscCall(PetscMalloc2((size_t)n * n * k->n_piece, &k->covariance, (size_t)k->n_feature * k->n_piece, &k->feature));
  PetscCall(SetUpTrain(k, store_bytes));
  *kernel = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

FwGrid FwPatchKernelGrid(FwPatchKernel kernel)
{
  return kernel->grid;
}

PetscErrorCode FwPatchKernelGetFamily(FwPatchKernel k, FwPatchFamily *family)
{
  PetscFunctionBegin;
  *family = (FwPatchFamily){.form        = k->form,
                            .is_centred  = k->is_centred,
                            .n_patch     = k->images->patches.n_patch,
                            .n_train     = k->images->n[FW_TRAIN],
                            .n_feature   = k->n_feature,
                            .store_bytes = (double)(k->capacity * sizeof(double)),
                            .stored      = k->total ? (double)k->capacity / (double)k->total : 1.0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelDestroy(FwPatchKernel *kernel)
{
  PetscFunctionBegin;
  if (!*kernel) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPatchSideDestroy(&(*kernel)->rows));
  PetscCall(FwPatchSideDestroy(&(*kernel)->columns));
  PetscCall(PetscFree2((*kernel)->covariance, (*kernel)->feature));
  free((*kernel)->store);
  PetscCall(PetscFree(*kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- visiting the pieces of the training kernel ------------------------------------------------------------- */

typedef PetscErrorCode PieceFunction(FwPatchKernel kernel, const FwPatchPiece *piece, const double feature[],
                                     void *context);

typedef struct {
  FwPatchKernel  kernel;
  FwMatrix       matrix;
  PieceFunction *function;
  void          *context;
  size_t         offset; /* of the next piece in a store of all */
  FwProgress     progress;
} Visit;

/* Features of a piece, from the store where they are there, into it where there is room */
static PetscErrorCode GetFeatures(FwPatchKernel k, const FwPatchPiece *piece, size_t offset, double **feature)
{
  const size_t end = offset + (size_t)piece->n * (size_t)k->n_feature;

  PetscFunctionBegin;
  *feature = end <= k->capacity ? k->store + offset : k->feature;
  if (end <= k->filled) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPatchPieceFeatures(k, &k->columns, piece, *feature));
  if (end <= k->capacity) k->filled = end;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitStrip(const FwStrip *strip, void *context)
{
  Visit         *v        = (Visit *)context;
  FwPatchKernel  k        = v->kernel;
  const PetscInt diagonal = FwMatrixRow(v->matrix, strip->first) == strip->column ? 0 : -1;

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += k->n_piece) {
    const FwPatchPiece piece = {.matrix   = v->matrix,
                                .column   = strip->column_local,
                                .first    = strip->first + begin,
                                .n        = PetscMin(k->n_piece, strip->n - begin),
                                .diagonal = begin ? -1 : diagonal};
    double            *feature;

    PetscCall(GetFeatures(k, &piece, v->offset, &feature));
    PetscCall(v->function(k, &piece, feature, v->context));
    v->offset += (size_t)piece.n * (size_t)k->n_feature;
  }
  PetscCall(FwProgressStep(v->progress, (PetscInt64)v->offset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitTrain(FwPatchKernel k, FwMatrix matrix, PieceFunction *function, void *context)
{
  Visit          visit = {.kernel = k, .matrix = matrix, .function = function, .context = context};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin("patch kernels", (PetscInt64)k->total, &visit.progress));
  code = FwMatrixVisit(matrix, FW_LOWER, VisitStrip, &visit);
  PetscCall(FwProgressEnd(&visit.progress));
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- assembly ----------------------------------------------------------------------------------------------- */

/* out[s][n] = sum_d coefficient[s][d] feature[d][n] */
static PetscErrorCode Assemble(PetscInt n_row, PetscInt n_feature, const double feature[], PetscInt n_set,
                               const double coefficient[], double out[])
{
  const PetscScalar  one = 1.0, zero = 0.0;
  const PetscBLASInt m = n_row, n = n_set, length = n_feature, step = 1;

  PetscFunctionBegin;
  if (n_set == 1)
    PetscCallBLAS("BLASgemv", BLASgemv_("N", &m, &length, &one, feature, &m, coefficient, &step, &zero, out, &step));
  else
    PetscCallBLAS("BLASgemm",
                  BLASgemm_("N", "N", &m, &n, &length, &one, feature, &m, coefficient, &length, &zero, out, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AssemblePiece(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], void *context)
{
  const double *coefficient = (const double *)context;

  PetscFunctionBegin;
  PetscCall(Assemble(piece->n, k->n_feature, feature, 1, coefficient,
                     FwMatrixStrip(piece->matrix, piece->first, piece->column)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelTrain(FwPatchKernel k, const double coefficient[], FwMatrix *train)
{
  const PetscInt n = k->images->n[FW_TRAIN];

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(k->grid, n, n, train));
  PetscCall(VisitTrain(k, *train, AssemblePiece, (void *)coefficient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one patch of the rows ---------------------------------------------------------------------------------- */

typedef struct {
  FwPatchKernel kernel;
  FwMatrix      matrix;
  PetscInt      patch;
  const double *weight;
} Row;

/* Place of a column's own example among some rows, or -1 */
static PetscInt OwnRow(FwMatrix matrix, PetscInt column, PetscInt first, PetscInt n)
{
  for (PetscInt r = 0; r < n; r++)
    if (FwMatrixRow(matrix, first + r) == column) return r;
  return -1;
}

static PetscErrorCode RowStrip(const FwStrip *strip, void *context)
{
  const Row *w = (const Row *)context;

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += w->kernel->n_piece) {
    FwPatchPiece piece = {.matrix = w->matrix,
                          .column = strip->column_local,
                          .first  = strip->first + begin,
                          .n      = PetscMin(w->kernel->n_piece, strip->n - begin)};

    piece.diagonal = OwnRow(w->matrix, strip->column, piece.first, piece.n);
    PetscCall(FwPatchPieceRow(w->kernel, &piece, w->patch, w->weight, strip->value + begin));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelRow(FwPatchKernel k, PetscInt i, const double weight[], FwMatrix *row)
{
  const PetscInt n = k->images->n[FW_TRAIN];
  Row            w = {.kernel = k, .patch = i, .weight = weight};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(k->grid, n, n, row));
  w.matrix = *row;
  code     = FwMatrixVisit(*row, FW_WHOLE, RowStrip, &w);
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- pull-back ---------------------------------------------------------------------------------------------- */

typedef struct {
  const double *vector;
  double       *weight; /* [2][n_piece]: of the matrix and of the vector, both triangles */
  double       *slope;  /* [2][n_feature] */
} PullBack;

static PetscErrorCode PullBackPiece(FwPatchKernel k, const FwPatchPiece *piece, const double feature[], void *context)
{
  const PetscScalar  one = 1.0;
  const PetscBLASInt m = k->n_feature, n = piece->n, two = 2, leading = k->n_piece;
  PullBack          *p      = (PullBack *)context;
  const double      *matrix = FwMatrixStrip(piece->matrix, piece->first, piece->column);
  const double       other  = p->vector[FwMatrixColumn(piece->matrix, piece->column)];
  double            *square = p->weight + k->n_piece;

  PetscFunctionBegin;
  for (PetscInt r = 0; r < piece->n; r++) {
    p->weight[r] = 2.0 * matrix[r];
    square[r]    = 2.0 * p->vector[FwMatrixRow(piece->matrix, piece->first + r)] * other;
  }
  if (piece->diagonal >= 0) p->weight[piece->diagonal] *= 0.5;
  if (piece->diagonal >= 0) square[piece->diagonal] *= 0.5;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &m, &two, &n, &one, feature, &n, p->weight, &leading, &one, p->slope, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelPullBack(FwPatchKernel k, FwMatrix weight, const double vector[], double matrix_slope[],
                                     double vector_slope[])
{
  PullBack    p = {.vector = vector};
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(2 * k->n_feature, &count));
  PetscCall(PetscMalloc2(2 * (size_t)k->n_piece, &p.weight, count, &p.slope));
  PetscCall(PetscArrayzero(p.slope, count));
  PetscCall(VisitTrain(k, weight, PullBackPiece, &p));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, p.slope, count, MPI_DOUBLE, MPI_SUM, FwGridComm(k->grid)));
  PetscCall(PetscArraycpy(matrix_slope, p.slope, k->n_feature));
  PetscCall(PetscArraycpy(vector_slope, p.slope + k->n_feature, k->n_feature));
  PetscCall(PetscFree2(p.weight, p.slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- other examples ----------------------------------------------------------------------------------------- */

typedef struct {
  FwPatchKernel kernel;
  FwPatchSide   columns;
  PetscInt      n_set;
  const double *coefficient;
  FwMatrix     *cross;
  double       *value; /* [n_set][n_piece] */
  FwProgress    progress;
} Cross;

static PetscErrorCode CrossStrip(const FwStrip *strip, void *context)
{
  Cross        *c = (Cross *)context;
  FwPatchKernel k = c->kernel;

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < strip->n; begin += k->n_piece) {
    const FwPatchPiece piece = {.matrix   = c->cross[0],
                                .column   = strip->column_local,
                                .first    = strip->first + begin,
                                .n        = PetscMin(k->n_piece, strip->n - begin),
                                .diagonal = -1};

    PetscCall(FwPatchPieceFeatures(k, &c->columns, &piece, k->feature));
    PetscCall(Assemble(piece.n, k->n_feature, k->feature, c->n_set, c->coefficient, c->value));
    for (PetscInt s = 0; s < c->n_set; s++)
      PetscCall(
        PetscArraycpy(FwMatrixStrip(c->cross[s], piece.first, piece.column), c->value + (size_t)s * piece.n, piece.n));
  }
  PetscCall(FwProgressStep(c->progress, strip->column_local + 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelCross(FwPatchKernel k, FwPart columns, PetscInt n_set, const double coefficient[],
                                  FwMatrix cross[])
{
  Cross          c = {.kernel = k, .n_set = n_set, .coefficient = coefficient, .cross = cross};
  PetscInt       n_local;
  PetscErrorCode code;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < n_set; s++)
    PetscCall(FwMatrixCreate(k->grid, k->images->n[FW_TRAIN], k->images->n[columns], &cross[s]));
  PetscCall(FwMatrixGetSize(cross[0], NULL, NULL, NULL, &n_local));
  PetscCall(SideOf(k, cross[0], columns, PETSC_FALSE, &c.columns));
  PetscCall(PetscMalloc1((size_t)n_set * k->n_piece, &c.value));
  PetscCall(FwProgressBegin("kernels of test examples", n_local, &c.progress));
  code = FwMatrixVisit(cross[0], FW_WHOLE, CrossStrip, &c);
  PetscCall(FwProgressEnd(&c.progress));
  PetscCall(FwErrorAgreeAny(FwGridComm(k->grid), code));
  PetscCall(PetscFree(c.value));
  PetscCall(FwPatchSideDestroy(&c.columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* k between all pairs of patches of one example: value[i][j] */
static PetscErrorCode MapExample(FwPatchKernel k, const FwPatchSide *side, PetscInt example, double value[])
{
  const FwPatches   *patches = &k->images->patches;
  const PetscScalar  scale = 1.0 / (k->images->model->prior[0] * patches->n_pixel), zero = 0.0;
  const PetscBLASInt n = patches->n_patch, length = patches->n_pixel;
  const double      *pixel = side->pixel + (size_t)example * n * length;
  const PetscInt     first = example * n;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm",
                BLASgemm_("T", "N", &n, &n, &length, &scale, pixel, &length, pixel, &length, &zero, value, &n));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(FwActivationMap(k->images->activation, FW_MAP_VALUE, side->points, first, n, side->points, first + i,
                              value + (size_t)i * n, value + (size_t)i * n));
    value[i * n + i] = side->diagonal[first + i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DiagonalOf(FwPatchKernel k, const FwPatchSide *side, PetscInt n_set, const double coefficient[],
                                 double diagonal[])
{
  const PetscInt n = k->images->patches.n_patch;
  double        *value, *feature, *set;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n * n, &value, k->n_feature, &feature, n_set, &set));
  for (PetscInt a = 0; a < side->n; a++) {
    const double *mean = k->is_centred ? side->mean + (size_t)a * n : NULL;

    PetscCall(MapExample(k, side, a, value));
    FwPatchCombine(k->form, n, 1, value, mean, 1, mean, feature);
    PetscCall(Assemble(1, k->n_feature, feature, n_set, coefficient, set));
    for (PetscInt s = 0; s < n_set; s++) diagonal[(size_t)s * side->n + a] = set[s];
  }
  PetscCall(PetscFree3(value, feature, set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchKernelDiagonal(FwPatchKernel k, FwPart part, PetscInt n_set, const double coefficient[],
                                     double diagonal[])
{
  const PetscInt n = k->images->n[part];
  FwPatchSide    side;
  PetscInt      *example;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &example));
  for (PetscInt a = 0; a < n; a++) example[a] = a;
  PetscCall(FwPatchSideCreate(k->images, part, n, example, PETSC_FALSE, k->is_centred, &side));
  PetscCall(DiagonalOf(k, &side, n_set, coefficient, diagonal));
  PetscCall(FwPatchSideDestroy(&side));
  PetscCall(PetscFree(example));
  PetscFunctionReturn(PETSC_SUCCESS);
}
