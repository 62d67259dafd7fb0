/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Factors of the sums of learner_sensitivity.c without squares, by QR: their singular values are right to rounding of the
 * largest, where the root of a sum of squares is right to the root of that.
 *
 * Examples come in groups, pieces first and then the blocks of them. What is known of all before is (n, mean, R), with
 * R^T R = 1/N sum (D - mean)^T (D - mean) over examples and outputs; a group of p examples about a mean of its own is taken in
 * by
 *
 *     R <- R of QR of [R; rows of the group / sqrt(N); sqrt(n p / ((n + p) N)) (mean - mean of the group)],
 *
 * and in the end [R; mean] is a factor of 1/N sum D^T D itself.
 */

#include "learner_impl.h"

#include <math.h>

/* PETSc has no prototype of it */
extern void dtpqrt_(const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *l, const PetscBLASInt *nb,
                    double *a, const PetscBLASInt *lda, double *b, const PetscBLASInt *ldb, double *t,
                    const PetscBLASInt *ldt, double *work, PetscBLASInt *info);

/* Of one layer, in the numbers of a block: R, n x n by columns, upper triangle, and the mean, c x n */
typedef struct {
  PetscInt n, c;
  double  *r, *mean;
} Known;

typedef struct {
  FwLearner     learner;
  const double *theta;
  PetscBool     is_wanted[FW_LEARNER_LAYERS];
  PetscInt      lowest, n_number, n_row; /* layer; numbers of a block; rows that are taken in at once, at most */
  PetscInt      first[FW_LEARNER_LAYERS];
  double       *rows[FW_LEARNER_LAYERS]; /* n_row x n_l by columns */
  double       *mean;                    /* widest x c: of a group */
  double       *t, *work;                /* of LAPACK */
} Walk;

enum { PANEL = 32 };

/* --- taking rows in ------------------------------------------------------------------------------------------------ */

static Known KnownOf(const Walk *walk, PetscInt l, double number[])
{
  const PetscInt n = walk->learner->shape.width[l], c = walk->learner->shape.width[walk->learner->shape.n_layer];
  double        *r = number + walk->first[l - 1];

  return (Known){n, c, r, r + (size_t)n * n};
}

/* R of [R; rows], whose leading dimension is n_row of the walk */
static PetscErrorCode Triangulate(Walk *walk, PetscInt n_row, PetscInt n, double r[], double rows[])
{
  const PetscBLASInt none = 0, panel = PetscMin(PANEL, n);
  PetscBLASInt       info;

  PetscFunctionBegin;
  dtpqrt_(&n_row, &n, &none, &panel, r, &n, rows, &walk->n_row, walk->t, &panel, walk->work, &info);
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "QR of the Jacobian failed (dtpqrt: %" PetscInt_FMT ")", info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A group of p examples about its mean, in n_row rows of layer l, after n examples */
static PetscErrorCode TakeIn(Walk *walk, PetscInt l, const Known *known, PetscInt n, PetscInt p, const double mean[],
                             PetscInt n_row)
{
  const double part = (double)p / (double)(n + p), scale = sqrt(n * part / walk->learner->n_example);
  double      *rows = walk->rows[l - 1];

  PetscFunctionBegin;
  for (PetscInt a = 0; a < known->n; a++)
    for (PetscInt k = 0; k < known->c; k++) {
      const double difference = mean[k + a * known->c] - known->mean[k + a * known->c];

      rows[n_row + k + (size_t)a * walk->n_row] = scale * difference;
      known->mean[k + a * known->c] += part * difference;
    }
  PetscCall(Triangulate(walk, n_row + known->c, known->n, known->r, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- examples -------------------------------------------------------------------------------------------------------- */

/* Output k of n examples to the rows of layer l, and their mean */
static void PutOutput(Walk *walk, PetscInt l, PetscInt k, PetscInt n, const double delta[])
{
  const PetscInt width = walk->learner->shape.width[l];
  double        *rows  = walk->rows[l - 1] + k * n;

  for (PetscInt a = 0; a < width; a++)
    for (PetscInt i = 0; i < n; i++) rows[i + (size_t)a * walk->n_row] = delta[a + (size_t)i * width];
}

/* Rows of n examples and each output: their means are taken off, and they are scaled */
static void CentreRows(Walk *walk, PetscInt l, PetscInt n)
{
  const PetscInt width = walk->learner->shape.width[l], c = walk->learner->shape.width[walk->learner->shape.n_layer];
  const double   scale = 1.0 / sqrt((double)walk->learner->n_example);

  for (PetscInt a = 0; a < width; a++)
    for (PetscInt k = 0; k < c; k++) {
      double *row = walk->rows[l - 1] + (size_t)a * walk->n_row + k * n, sum = 0.0;

      for (PetscInt i = 0; i < n; i++) sum += row[i];
      walk->mean[k + a * c] = sum / n;
      for (PetscInt i = 0; i < n; i++) row[i] = scale * (row[i] - sum / n);
    }
}

static PetscErrorCode TakePiece(Walk *walk, PetscInt first, PetscInt n, PetscInt n_before, double number[])
{
  FwLearner      learner = walk->learner;
  const PetscInt L = learner->shape.n_layer, c = learner->shape.width[L];

  PetscFunctionBegin;
  PetscCall(FwLearnerPassForward(learner, walk->theta, n, learner->x + (size_t)first * learner->shape.width[0]));
  for (PetscInt k = 0; k < c; k++) {
    double *delta = learner->pass.delta, *below = learner->pass.below;

    FwLearnerStartBack(learner, walk->theta, k, n, delta);
    for (PetscInt l = L - 1; l >= walk->lowest; l--) {
      double *swap = delta;

      if (walk->is_wanted[l - 1]) PutOutput(walk, l, k, n, delta);
      if (l == walk->lowest) break;
      FwLearnerBack(learner, walk->theta, l, n, delta, below);
      delta = below;
      below = swap;
    }
  }
  for (PetscInt l = 1; l < L; l++) {
    const Known known = KnownOf(walk, l, number);

    if (!walk->is_wanted[l - 1]) continue;
    CentreRows(walk, l, n);
    PetscCall(TakeIn(walk, l, &known, n_before, n, walk->mean, c * n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank has all blocks in the end, its own from its examples */
static PetscErrorCode TakeBlocks(Walk *walk, const FwRows *rows, double number[])
{
  const PetscInt n_most = walk->learner->pass.n_most;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < rows->n_local_block; b++) {
    const PetscInt begin = FwRowsBlock(rows, rows->first_block + b), end = FwRowsBlock(rows, rows->first_block + b + 1);

    for (PetscInt first = begin; first < end; first += n_most)
      PetscCall(TakePiece(walk, first, PetscMin(n_most, end - first), first - begin,
                          number + (size_t)(rows->first_block + b) * walk->n_number));
  }
  PetscCall(FwLearnerShareBlocks(walk->learner, rows, walk->n_number, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- blocks ---------------------------------------------------------------------------------------------------------- */

/* Triangles below each other: those of blocks, or of a layer and its means */
static void PutRows(Walk *walk, PetscInt l, PetscInt n_row, PetscInt ld, const double from[])
{
  for (PetscInt a = 0; a < walk->learner->shape.width[l]; a++)
    (void)PetscArraycpy(walk->rows[l - 1] + (size_t)a * walk->n_row, from + (size_t)a * ld, n_row);
}

/* All blocks are taken into the first, in order */
static PetscErrorCode JoinBlocks(Walk *walk, const FwRows *rows, double number[])
{
  PetscFunctionBegin;
  for (PetscInt l = 1; l < walk->learner->shape.n_layer; l++) {
    const Known all = KnownOf(walk, l, number);

    for (PetscInt b = 1; walk->is_wanted[l - 1] && b < rows->n_block; b++) {
      const Known    known = KnownOf(walk, l, number + (size_t)b * walk->n_number);
      const PetscInt begin = FwRowsBlock(rows, b), end = FwRowsBlock(rows, b + 1);

      PutRows(walk, l, known.n, known.n, known.r);
      PetscCall(TakeIn(walk, l, &all, begin, end - begin, known.mean, known.n));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all of it -------------------------------------------------------------------------------------------------------- */

static PetscErrorCode WalkCreate(FwLearner learner, const double theta[], double *const factor[],
                                 double *const centred[], Walk *walk)
{
  const PetscInt L = learner->shape.n_layer, c = learner->shape.width[L];
  PetscInt       widest = 0;

  PetscFunctionBegin;
  *walk = (Walk){.learner = learner, .theta = theta, .lowest = L};
  for (PetscInt l = L - 1; l >= 1; l--) {
    const PetscInt   n     = learner->shape.width[l];
    const PetscInt64 until = walk->n_number + (PetscInt64)n * (n + c);

    walk->is_wanted[l - 1] = (PetscBool)(factor[l - 1] || centred[l - 1]);
    if (!walk->is_wanted[l - 1]) continue;
    PetscCheck(until <= PETSC_MAX_INT, learner->comm, FW_ERR_MEMORY,
               "network_width %" PetscInt_FMT ": a factor of the layers' sensitivities has %" PetscInt64_FMT
               " numbers, want at most %" PetscInt_FMT,
               n, until, PETSC_MAX_INT);
    walk->lowest       = l;
    walk->first[l - 1] = walk->n_number;
    walk->n_number     = (PetscInt)until;
    widest             = PetscMax(widest, n);
  }
  walk->n_row = PetscMax(c * learner->pass.n_most, widest) + c;
  for (PetscInt l = 1; l < L; l++)
    if (walk->is_wanted[l - 1])
      PetscCall(PetscMalloc1((size_t)walk->n_row * learner->shape.width[l], &walk->rows[l - 1]));
  PetscCall(PetscMalloc3(widest * c, &walk->mean, PANEL * widest, &walk->t, PANEL * widest, &walk->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WalkDestroy(Walk *walk)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < FW_LEARNER_LAYERS; l++) PetscCall(PetscFree(walk->rows[l]));
  PetscCall(PetscFree3(walk->mean, walk->t, walk->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* R of the centred one, then of [R; mean] */
static PetscErrorCode Give(Walk *walk, PetscInt l, const Known *known, double factor[], double centred[])
{
  PetscFunctionBegin;
  if (centred) PetscCall(PetscArraycpy(centred, known->r, known->n * known->n));
  if (!factor) PetscFunctionReturn(PETSC_SUCCESS);
  PutRows(walk, l, known->c, known->c, known->mean);
  PetscCall(Triangulate(walk, known->c, known->n, known->r, walk->rows[l - 1]));
  PetscCall(PetscArraycpy(factor, known->r, known->n * known->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLearnerSensitivityFactors(FwLearner learner, const double theta[], double *const factor[],
                                           double *const centred[])
{
  Walk    walk;
  FwRows  rows;
  double *number;

  PetscFunctionBegin;
  PetscCheck(!FwLearnerIsLinear(learner), learner->comm, FW_ERR_INPUT,
             "linear networks have W_L .. W_{l+1} itself for a factor");
  PetscCall(WalkCreate(learner, theta, factor, centred, &walk));
  PetscCall(FwLearnerDivideRows(learner, learner->n_example, &rows));
  PetscCall(PetscCalloc1((size_t)rows.n_block * walk.n_number, &number));
  PetscCall(TakeBlocks(&walk, &rows, number));
  PetscCall(JoinBlocks(&walk, &rows, number));
  for (PetscInt l = 1; l < learner->shape.n_layer; l++) {
    const Known known = KnownOf(&walk, l, number);

    if (walk.is_wanted[l - 1]) PetscCall(Give(&walk, l, &known, factor[l - 1], centred[l - 1]));
  }
  PetscCall(PetscFree(number));
  PetscCall(WalkDestroy(&walk));
  PetscFunctionReturn(PETSC_SUCCESS);
}
