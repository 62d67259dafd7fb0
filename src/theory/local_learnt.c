/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Learning the order parameter on validation examples.
 *
 * Every rank runs the same Tao on numbers that have been made equal to the last bit.
 *
 * Symbols: a = A^-1 y, r = y_v - f_v, b = A^-1 sum_v k_v r_v.
 */

#include <finwidth/local_learnt.h>
#include <finwidth/stop.h>

#include "local_coordinates.h"

#include <math.h>
#include <petsctao.h>

/* |gradient| over the objective: what is asked for */
static const double tolerance = 1e-4;
/* w m / L(1): with labels free of noise L falls like a constant plus 1/q along the scale q of Q, for ever; this ends it where
   L is a few thousandths above its limit */
static const double rest_weight = 1e-5;

/* Flat valleys, where Q has as many entries as there are examples, take thousands of steps */
enum { STEP_MAX = 5000, EVALUATION_MAX = 10000 };

/* In such valleys fifty directions take three times as many steps as five hundred, elsewhere five twice as many; three numbers
   of each direction are kept for every unknown */
PetscInt FwLocalLearntHistory(double n_unknown)
{
  const double most = 500.0, least = 50.0, numbers = 4e6;

  return (PetscInt)PetscMin(n_unknown, PetscMax(least, PetscMin(most, numbers / PetscMax(n_unknown, 1.0))));
}

/* --- the objective ------------------------------------------------------------------------------------------ */

/* The columns of one evaluation */
typedef struct {
  PetscInt n_label, n_coefficient, n_residual;
  double  *solved, *back;               /* [D P] a and b */
  double  *coefficient, *slope, *other; /* [D^2][n_feature] */
  double  *residual;                    /* [P_v][D] r */
} Columns;

static PetscErrorCode CreateColumns(FwLocalAction action, FwPatchCross cross, Columns *c)
{
  FwPatchFamily f;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelGetFamily(FwLocalActionKernel(action), &f));
  *c = (Columns){.n_label       = f.n_output * f.n_train,
                 .n_coefficient = f.n_output * f.n_output * f.n_feature,
                 .n_residual    = f.n_output * FwPatchCrossCount(cross)};
  PetscCall(PetscMalloc6(c->n_label, &c->solved, c->n_label, &c->back, c->n_coefficient, &c->coefficient,
                         c->n_coefficient, &c->slope, c->n_coefficient, &c->other, c->n_residual, &c->residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyColumns(Columns *c)
{
  PetscFunctionBegin;
  PetscCall(PetscFree6(c->solved, c->back, c->coefficient, c->slope, c->other, c->residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* b = A^-1 k r */
static PetscErrorCode SolveBack(FwLocalAction action, FwPatchCross cross, FwCholesky factor, FwMatrix matrix,
                                Columns *c)
{
  FwPatchKernel kernel = FwLocalActionKernel(action);
  FwMatrix      residual, back;

  PetscFunctionBegin;
  PetscCall(FwPatchKernelColumn(kernel, FwPatchCrossPart(cross), c->residual, &residual));
  PetscCall(FwPatchKernelColumn(kernel, FW_TRAIN, c->solved, &back));
  PetscCall(FwMatrixMultiply(PETSC_FALSE, 1.0, matrix, residual, back));
  PetscCall(FwCholeskySolve(factor, back));
  PetscCall(FwMatrixGather(back, c->back));
  PetscCall(FwMatrixDestroy(&back));
  PetscCall(FwMatrixDestroy(&residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* r, and L from it; sums of several ranks may differ in the last bit from one to another */
static PetscErrorCode Residual(FwLocalAction action, FwMatrix matrix, const double y[], Columns *c, double *value)
{
  PetscMPIInt count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(c->n_residual, &count));
  PetscCall(FwMatrixColumnSums(matrix, 1, 1, c->solved, c->residual));
  PetscCallMPI(MPI_Bcast(c->residual, count, MPI_DOUBLE, 0, FwLocalActionComm(action)));
  *value = 0.0;
  for (PetscInt i = 0; i < c->n_residual; i++) {
    c->residual[i] = y[i] - c->residual[i];
    *value += PetscSqr(c->residual[i]) / c->n_residual;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The slope along Q from a, b and r */
static PetscErrorCode Slope(FwLocalAction action, FwPatchCross cross, FwMatrix matrix, Columns *c, double slope[])
{
  FwPatchKernel kernel = FwLocalActionKernel(action);
  PetscMPIInt   count;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast(c->n_coefficient, &count));
  PetscCall(FwPatchCrossPullBack(cross, matrix, c->solved, c->residual, c->slope));
  PetscCall(FwPatchKernelPullBackProduct(kernel, c->back, c->solved, c->other));
  for (PetscInt i = 0; i < c->n_coefficient; i++) c->slope[i] = -2.0 * (c->slope[i] - c->other[i]) / c->n_residual;
  PetscCallMPI(MPI_Bcast(c->slope, count, MPI_DOUBLE, 0, FwLocalActionComm(action)));
  PetscCall(FwLocalActionSlope(action, c->slope, slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EvaluateFactored(FwLocalAction action, FwPatchCross cross, const double y[], const double order[],
                                       FwCholesky *factor, Columns *c, double *value, double slope[])
{
  FwMatrix matrix;

  PetscFunctionBegin;
  PetscCall(FwLocalActionCoefficients(action, order, c->coefficient));
  PetscCall(FwPatchCrossAssemble(cross, c->coefficient, &matrix));
  PetscCall(Residual(action, matrix, y, c, value));
  PetscCall(SolveBack(action, cross, *factor, matrix, c));
  PetscCall(FwCholeskyDestroy(factor));
  PetscCall(Slope(action, cross, matrix, c, slope));
  PetscCall(FwMatrixDestroy(&matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalLearntEvaluate(FwLocalAction action, FwPatchCross cross, const double y[], const double order[],
                                     double *value, double slope[])
{
  FwCholesky     factor = NULL;
  Columns        c;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(CreateColumns(action, cross, &c));
  *value = INFINITY;
  code   = FwLocalActionFactor(action, order, &factor, c.solved);
  if (code == FW_ERR_NUMERICAL) {
    FwErrorClear();
    code = PETSC_SUCCESS;
  } else if (!code) {
    code = EvaluateFactored(action, cross, y, order, &factor, &c, value, slope);
    if (!isfinite(*value)) *value = INFINITY;
  }
  PetscCall(DestroyColumns(&c));
  PetscFunctionReturn(code);
}

/* --- with the law of Q without data ------------------------------------------------------------------------- */

typedef struct {
  FwLocalAction action;
  FwPatchCross  cross;
  const double *y;
  PetscInt      n, n_unknown, n_evaluation;
  double       *order, *slope; /* [n, n] Q and dL/dQ */
  double        weight;        /* w */
  double        ceiling;       /* in the place of infinity */
  double        lowest;        /* end so far */
} Search;

/* w [tr Q - log det Q - m] and its gradient: log det Q is the trace of the coordinates */
static void AddRest(const Search *s, const double x[], double *objective, double gradient[])
{
  PetscInt k = 0;

  for (PetscInt i = 0; i < s->n; i++)
    for (PetscInt j = i; j < s->n; j++) {
      if (!FwLocalActionCouples(s->action, i, j)) continue;
      if (i == j) *objective += s->weight * (s->order[i * s->n + i] - x[k] - 1.0);
      gradient[k++] += s->weight * (i == j ? s->order[i * s->n + i] - 1.0 : M_SQRT2 * s->order[i * s->n + j]);
    }
}

static PetscErrorCode CheckForStop(Search *s)
{
  PetscBool stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(FwLocalActionComm(s->action), &stop));
  PetscCheck(!stop, FwLocalActionComm(s->action), FW_ERR_STOPPED, "stopped while the order parameter was learnt");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Evaluate(Tao tao, Vec v, PetscReal *objective, Vec gradient, void *context)
{
  Search       *s = (Search *)context;
  const double *x;
  double       *g;

  PetscFunctionBegin;
  (void)tao;
  PetscCall(CheckForStop(s));
  PetscCall(VecGetArrayRead(v, &x));
  PetscCall(VecGetArray(gradient, &g));
  PetscCall(FwLocalFromCoordinates(s->action, x, s->order));
  PetscCall(FwLocalLearntEvaluate(s->action, s->cross, s->y, s->order, objective, s->slope));
  s->n_evaluation++;
  if (isfinite(*objective)) {
    PetscCall(FwLocalGradient(s->action, x, s->slope, g));
    AddRest(s, x, objective, g);
  } else { /* the line search steps back from a number, not from infinity */
    *objective = s->ceiling;
    PetscCall(PetscArrayzero(g, s->n_unknown));
  }
  PetscCall(VecRestoreArray(gradient, &g));
  PetscCall(VecRestoreArrayRead(v, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the search --------------------------------------------------------------------------------------------- */

static PetscErrorCode CreateSearch(FwLocalAction action, FwPatchCross cross, const double y[], Search *s)
{
  size_t n2;

  PetscFunctionBegin;
  *s = (Search){.action = action, .cross = cross, .y = y, .lowest = INFINITY};
  PetscCall(FwLocalActionGetSize(action, &s->n, &s->n_unknown));
  n2 = (size_t)s->n * s->n;
  PetscCall(PetscMalloc2(n2, &s->order, n2, &s->slope));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateTao(Search *s, Vec v, Tao *tao)
{
  Mat matrix;

  PetscFunctionBegin;
  PetscCall(TaoCreate(PETSC_COMM_SELF, tao));
  PetscCall(TaoSetType(*tao, TAOBQNLS));
  PetscCall(TaoSetObjectiveAndGradient(*tao, NULL, Evaluate, s));
  PetscCall(TaoSetTolerances(*tao, 0.0, tolerance, 0.0));
  PetscCall(TaoSetMaximumIterations(*tao, STEP_MAX));
  PetscCall(TaoSetMaximumFunctionEvaluations(*tao, EVALUATION_MAX));
  PetscCall(TaoSetSolution(*tao, v));
  PetscCall(TaoGetLMVMMatrix(*tao, &matrix));
  PetscCall(MatLMVMSetHistorySize(matrix, FwLocalLearntHistory((double)s->n_unknown)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The end of one search, if it is lower than what is there */
static PetscErrorCode Keep(Search *s, Tao tao, Vec v, PetscInt start, FwLocalLearnt *learnt)
{
  PetscReal     value, norm;
  PetscInt      n_step;
  const double *x;

  PetscFunctionBegin;
  PetscCall(TaoGetSolutionStatus(tao, &n_step, &value, &norm, NULL, NULL, NULL));
  if (value >= s->lowest) PetscFunctionReturn(PETSC_SUCCESS);
  s->lowest = value;
  PetscCall(VecGetArrayRead(v, &x));
  PetscCall(FwLocalFromCoordinates(s->action, x, learnt->order));
  PetscCall(VecRestoreArrayRead(v, &x));
  PetscCall(FwLocalLearntEvaluate(s->action, s->cross, s->y, learnt->order, &learnt->value, s->slope));
  learnt->slope        = value > 0.0 ? norm / value : 0.0; /* labels that are all zero */
  learnt->start        = start;
  learnt->n_step       = n_step;
  learnt->is_converged = norm <= tolerance * value ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Minimise(Search *s, PetscInt number, const double start[], FwLocalLearnt *learnt)
{
  double         first;
  PetscScalar   *at;
  PetscErrorCode code;
  Vec            v;
  Tao            tao;

  PetscFunctionBegin;
  PetscCall(FwLocalLearntEvaluate(s->action, s->cross, s->y, start, &first, s->slope));
  PetscCheck(isfinite(first), FwLocalActionComm(s->action), FW_ERR_NUMERICAL,
             "the covariance of the labels is not positive definite: set a larger temperature");
  if (!number) s->weight = rest_weight * first / s->n;
  s->ceiling = 1e3 * first + 1e-300;
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, s->n_unknown, &v));
  PetscCall(VecGetArray(v, &at));
  PetscCall(FwLocalToCoordinates(s->action, start, at));
  PetscCall(VecRestoreArray(v, &at));
  PetscCall(CreateTao(s, v, &tao));
  code = TaoSolve(tao);
  if (!code) PetscCall(Keep(s, tao, v, number, learnt));
  PetscCall(TaoDestroy(&tao));
  PetscCall(VecDestroy(&v));
  PetscFunctionReturn(code);
}

PetscErrorCode FwLocalLearn(FwLocalAction action, FwPatchCross cross, const double y[], PetscInt n_start,
                            const double start[], FwLocalLearnt *learnt)
{
  PetscErrorCode code = PETSC_SUCCESS;
  Search         s;

  PetscFunctionBegin;
  PetscCall(CreateSearch(action, cross, y, &s));
  *learnt = (FwLocalLearnt){.n_row = s.n, .value = INFINITY};
  PetscCall(PetscMalloc1((size_t)s.n * s.n, &learnt->order));
  for (PetscInt i = 0; i < n_start && !code; i++) code = Minimise(&s, i, start + (size_t)i * s.n * s.n, learnt);
  learnt->n_evaluation = s.n_evaluation;
  PetscCall(PetscFree2(s.order, s.slope));
  PetscFunctionReturn(code);
}

PetscErrorCode FwLocalLearntDestroy(FwLocalLearnt *learnt)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(learnt->order));
  PetscFunctionReturn(PETSC_SUCCESS);
}
