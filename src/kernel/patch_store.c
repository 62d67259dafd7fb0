/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Features that are kept.
 *
 * A local column of a matrix is cut into pieces; all features of a piece stand together, [n_feature][rows], in the store
 * or, where that is full, in a workspace. The pieces come in the same order at every visit, so a piece is known by where
 * it would begin in a store of all.
 */

#include "patch_impl.h"

#include <finwidth/progress.h>
#include <stdlib.h>

/* Entries of the family: of D x D that belong to two examples one */
typedef struct {
  PetscInt n_output;
  size_t   n;
} Count;

static PetscErrorCode CountEntries(const FwStrip *strip, void *context)
{
  Count *count = (Count *)context;

  PetscFunctionBegin;
  if (strip->column_local % count->n_output == 0) count->n += (size_t)(strip->n / count->n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchStoreCreate(FwPatchKernel k, FwMatrix matrix, FwTriangle triangle, const FwPatchSide *columns,
                                  double bytes, FwPatchStore *store)
{
  Count entries = {.n_output = k->n_output};

  PetscFunctionBegin;
  PetscCall(FwMatrixVisit(matrix, triangle, CountEntries, &entries));
  *store          = (FwPatchStore){.kernel = k, .columns = columns, .triangle = triangle};
  store->total    = entries.n * (size_t)k->n_feature;
  store->capacity = PetscMin(store->total, (size_t)(PetscMax(bytes, 0.0) / sizeof(double)));
  store->room     = malloc(PetscMax(store->capacity, 1) * sizeof(double)); /* pages come as they are filled */
  if (!store->room) store->capacity = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwPatchStoreDestroy(FwPatchStore *store)
{
  free(store->room);
  *store = (FwPatchStore){.room = NULL};
}

/* --- visiting the pieces ------------------------------------------------------------------------------------ */

typedef struct {
  FwPatchStore         *store;
  FwMatrix              matrix;
  FwPatchPieceFunction *function;
  void                 *context;
  size_t                offset; /* of the next piece in a store of all */
  FwProgress            progress;
} Visit;

/* Features of a piece, from the store where they are there, into it where there is room */
static PetscErrorCode GetFeatures(FwPatchStore *s, const FwPatchPiece *piece, size_t offset, double **feature)
{
  FwPatchKernel k   = s->kernel;
  const size_t  end = offset + (size_t)piece->n * (size_t)k->n_feature;

  PetscFunctionBegin;
  *feature = end <= s->capacity ? s->room + offset : k->feature;
  if (end <= s->filled) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwPatchPieceFeatures(k, s->columns, piece, *feature));
  if (end <= s->capacity) s->filled = end;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The row of a strip that is the column's own example, or -1 */
static PetscInt OwnRow(const Visit *v, const FwStrip *strip)
{
  if (v->store->triangle == FW_WHOLE) return -1;
  return FwMatrixRow(v->matrix, strip->first) == strip->column ? 0 : -1;
}

static PetscErrorCode VisitStrip(const FwStrip *strip, void *context)
{
  Visit         *v = (Visit *)context;
  FwPatchKernel  k = v->store->kernel;
  const PetscInt D = k->n_output, n = strip->n / D, diagonal = OwnRow(v, strip);

  PetscFunctionBegin;
  if (strip->column_local % D) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt begin = 0; begin < n; begin += k->n_piece) {
    const FwPatchPiece piece = {.matrix   = v->matrix,
                                .column   = strip->column_local / D,
                                .first    = strip->first / D + begin,
                                .n        = PetscMin(k->n_piece, n - begin),
                                .diagonal = begin ? -1 : diagonal};
    double            *feature;

    PetscCall(GetFeatures(v->store, &piece, v->offset, &feature));
    PetscCall(v->function(k, &piece, feature, v->context));
    v->offset += (size_t)piece.n * (size_t)k->n_feature;
  }
  PetscCall(FwProgressStep(v->progress, (PetscInt64)v->offset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPatchStoreVisit(FwPatchStore *store, FwMatrix matrix, const char what[],
                                 FwPatchPieceFunction *function, void *context)
{
  Visit          visit = {.store = store, .matrix = matrix, .function = function, .context = context};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwProgressBegin(what, (PetscInt64)store->total, &visit.progress));
  code = FwMatrixVisit(matrix, store->triangle, VisitStrip, &visit);
  PetscCall(FwProgressEnd(&visit.progress));
  PetscCall(FwErrorAgreeAny(FwGridComm(store->kernel->grid), code));
  PetscFunctionReturn(PETSC_SUCCESS);
}
