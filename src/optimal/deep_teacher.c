/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Answers of deep random networks, layer after layer, with the weights drawn in passing.
 */

#include <finwidth/deep_teacher.h>
#include <finwidth/dense.h>
#include <finwidth/stop.h>

#include <math.h>

enum { TILE = 256 }; /* neurons whose weights are drawn at once */

/* A chunk of rows on its way through the layers */
typedef struct {
  const FwDeepTeacher *teacher;
  uint64_t             instance;
  const FwRows        *rows;
  PetscInt             b, n_block, n_row; /* of this chunk */
  double              *weight;            /* [TILE, largest d_l] */
  double              *value[2];          /* [rows of a chunk, largest d_l] */
} Chunk;

static PetscInt WidestLayer(const FwDeepTeacher *t)
{
  PetscInt most = t->d;

  for (PetscInt l = 0; l < t->depth; l++) most = PetscMax(most, t->width[l]);
  return most;
}

/* Entry j d_{l-1} + i of layer l; the readout is layer L + 1 */
static FwStream WeightStream(const FwDeepTeacher *t, uint64_t instance, PetscInt layer)
{
  return FwStreamCreate(t->seed, FW_RANDOM_OPTIMAL_WEIGHT, instance, (uint64_t)layer, 0);
}

PetscErrorCode FwDeepTeacherReadout(const FwDeepTeacher *t, uint64_t instance, double a[])
{
  const PetscInt n = t->depth ? t->width[t->depth - 1] : t->d;

  PetscFunctionBegin;
  FwStreamNormalBulk(WeightStream(t, instance, t->depth + 1), 0, (size_t)n, a);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwDeepTeacherFlops(const FwDeepTeacher *t)
{
  double flops = 0.0, n_in = t->d;

  for (PetscInt l = 0; l < t->depth; n_in = t->width[l++]) flops += 2.0 * n_in * t->width[l];
  return flops + 2.0 * n_in;
}

static PetscInt RowsBefore(const Chunk *c, PetscInt i)
{
  const PetscInt b = c->rows->first_block + c->b;

  return FwRowsBlock(c->rows, b + i) - FwRowsBlock(c->rows, b);
}

/* h = g W x / sqrt(n_in) for all rows of the chunk, block by block; x has rows of `stride` numbers */
static void Preactivations(const Chunk *c, PetscInt l, PetscInt n_in, PetscInt stride, const double x[], double h[])
{
  const PetscInt n_out = c->teacher->width[l];
  const double   scale = c->teacher->gain[l] / sqrt((double)n_in);
  const FwStream from  = WeightStream(c->teacher, c->instance, l + 1);

  for (PetscInt j = 0; j < n_out; j += TILE) {
    const PetscInt n = PetscMin(TILE, n_out - j);

    FwStreamNormalBulk(from, (uint64_t)j * (uint64_t)n_in, (size_t)n * (size_t)n_in, c->weight);
    for (PetscInt i = 0; i < c->n_block; i++) {
      const PetscInt first = RowsBefore(c, i), m = RowsBefore(c, i + 1) - first;

      FwGemm("T", "N", n, m, n_in, scale, c->weight, n_in, x + (size_t)first * (size_t)stride, stride, 0.0,
             h + (size_t)first * (size_t)n_out + j, n_out);
    }
  }
}

/* Answers to the rows of a chunk */
static PetscErrorCode AnswerChunk(const Chunk *c, PetscInt stride, const double x[], double z[])
{
  const FwDeepTeacher *t    = c->teacher;
  PetscInt             n_in = t->d;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < t->depth; l++) {
    double      *h = c->value[l % 2];
    FwActivation activation;

    PetscCall(FwActivationGet((FwActivationType)t->activation[l], &activation));
    Preactivations(c, l, n_in, stride, x, h);
    for (PetscInt i = 0; i < c->n_row; i++) /* row by row: the count of a chunk may not fit an integer */
      PetscCall(FwActivationEvaluate(activation, t->width[l], h + (size_t)i * (size_t)t->width[l],
                                     h + (size_t)i * (size_t)t->width[l], NULL, NULL));
    x    = h;
    n_in = stride = t->width[l];
  }
  PetscCall(FwDeepTeacherReadout(t, c->instance, c->weight));
  for (PetscInt i = 0; i < c->n_row; i++)
    z[i] = t->readout_gain * FwDot(n_in, c->weight, x + (size_t)i * (size_t)stride) / sqrt((double)n_in);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AnswerLocal(Chunk *c, FwDesign design, double z[])
{
  const double *x;

  PetscFunctionBegin;
  if (c->b >= c->rows->n_local_block) PetscFunctionReturn(PETSC_SUCCESS);
  c->n_block = PetscMin(FW_DESIGN_CHUNK, c->rows->n_local_block - c->b);
  c->n_row   = RowsBefore(c, c->n_block);
  PetscCall(FwDesignGetBlocks(design, c->b, c->n_block, &x));
  PetscCall(
    AnswerChunk(c, FwDesignWidth(design), x, z + FwRowsBlock(c->rows, c->rows->first_block + c->b) - c->rows->first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All ranks take as many steps as the one with the most blocks */
static PetscErrorCode AnswerAll(MPI_Comm comm, Chunk *c, FwDesign design, double z[])
{
  PetscMPIInt n_rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &n_rank));
  for (c->b = 0; c->b < (c->rows->n_block + n_rank - 1) / n_rank; c->b += FW_DESIGN_CHUNK) {
    PetscCall(FwErrorAgreeAny(comm, AnswerLocal(c, design, z)));
    PetscCall(FwStopLeave(comm, "in the labels of a teacher"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDeepTeacherAnswer(MPI_Comm comm, const FwDeepTeacher *teacher, uint64_t instance, FwDesign design,
                                   double z[])
{
  const FwRows  *rows  = FwDesignRows(design);
  Chunk          chunk = {.teacher = teacher, .instance = instance, .rows = rows};
  const size_t   n     = (size_t)WidestLayer(teacher);
  PetscInt       most  = 0;
  PetscErrorCode code;

  PetscFunctionBegin;
  for (; chunk.b < rows->n_local_block; chunk.b += FW_DESIGN_CHUNK)
    most = PetscMax(most, RowsBefore(&chunk, PetscMin(FW_DESIGN_CHUNK, rows->n_local_block - chunk.b)));
  PetscCall(PetscMalloc3(TILE * n, &chunk.weight, teacher->depth > 0 ? most * n : 0, &chunk.value[0],
                         teacher->depth > 1 ? most * n : 0, &chunk.value[1]));
  code = AnswerAll(comm, &chunk, design, z);
  PetscCall(PetscFree3(chunk.weight, chunk.value[0], chunk.value[1]));
  PetscFunctionReturn(code);
}
