/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Every minimum of an action of one variable.
 */

#include "newton.h"

#include <finwidth/saddle.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Two stationary points closer than this in log Q are not told apart */
static const double finest = 1e-7;

enum { MINIMUM_MAX = 64, RETRY_MAX = 6, HALVINGS = 6 };

/* --- where the minima are ----------------------------------------------------------------------------------- */

typedef struct {
  FwAction  action;
  double    left[MINIMUM_MAX], right[MINIMUM_MAX]; /* one rising zero of F each */
  PetscInt  n, n_evaluation;
  PetscBool is_complete;
} Search;

static PetscErrorCode KeepPiece(Search *search, const FwActionPoint *left, const FwActionPoint *right)
{
  PetscFunctionBegin;
  if (left->force > 0.0 || right->force <= 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(search->n < MINIMUM_MAX, PETSC_COMM_WORLD, FW_ERR_NUMERICAL, "the action has more than %d minima",
             MINIMUM_MAX);
  search->left[search->n]    = left->log_order;
  search->right[search->n++] = right->log_order;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Halve until the bounds decide; the depth is that of a bisection to `finest`, far below any stack's limit */
static PetscErrorCode SearchPiece(Search *search, const FwActionPoint *left, const FwActionPoint *right)
{
  FwActionPoint middle;
  double        force[2], slope[2];

  PetscFunctionBegin;
  FwActionEnclose(left, right, force, slope);
  if (force[0] > 0.0 || force[1] < 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  if (slope[0] > 0.0 || slope[1] < 0.0) {
    PetscCall(KeepPiece(search, left, right));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (right->log_order - left->log_order < finest) {
    search->is_complete = PETSC_FALSE;
    PetscCall(KeepPiece(search, left, right));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FwActionEvaluate(search->action, 0.5 * (left->log_order + right->log_order), PETSC_FALSE, &middle));
  search->n_evaluation++;
  PetscCall(SearchPiece(search, left, &middle));
  PetscCall(SearchPiece(search, &middle, right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SearchBracket(Search *search)
{
  FwActionPoint left, right;
  double        low, high;

  PetscFunctionBegin;
  PetscCall(FwActionBracket(search->action, &low, &high));
  PetscCall(FwActionEvaluate(search->action, low, PETSC_FALSE, &left));
  PetscCall(FwActionEvaluate(search->action, high, PETSC_FALSE, &right));
  search->n_evaluation = 2;
  search->is_complete  = PETSC_TRUE;
  PetscCall(SearchPiece(search, &left, &right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- SNES inside one piece ---------------------------------------------------------------------------------- */

static PetscErrorCode FormForce(SNES snes, Vec u, Vec force, void *context)
{
  const PetscScalar *x;
  FwActionPoint      point;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(VecGetArrayRead(u, &x));
  PetscCall(FwActionEvaluate((FwAction)context, x[0], PETSC_FALSE, &point));
  PetscCall(VecRestoreArrayRead(u, &x));
  PetscCall(VecSet(force, point.force));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormSlope(SNES snes, Vec u, Mat slope, Mat preconditioner, void *context)
{
  const PetscScalar *x;
  FwActionPoint      point;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(VecGetArrayRead(u, &x));
  PetscCall(FwActionEvaluate((FwAction)context, x[0], PETSC_FALSE, &point));
  PetscCall(VecRestoreArrayRead(u, &x));
  PetscCall(MatSetValue(preconditioner, 0, 0, point.slope, INSERT_VALUES));
  PetscCall(MatAssemblyBegin(slope, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(slope, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F is a difference of sums of P terms: it cannot be known better than their round-off. A readout bias is subtracted from
   what the labels would cost without it, which may be much more than what is left. */
static PetscErrorCode RoundOff(FwAction action, double u, double *tolerance)
{
  const FwModel   *model = FwActionModel(action);
  FwActionPoint    point;
  FwSpectrumBounds bounds;
  double           largest;

  PetscFunctionBegin;
  PetscCall(FwActionEvaluate(action, u, PETSC_FALSE, &point));
  PetscCall(FwActionBounds(action, &bounds));
  largest = 1.0 + fabs(point.shift) + point.resolvent.trace + point.resolvent.fit_slope;
  if (model->bias[model->depth] > 0.0)
    largest += PetscMin(bounds.inverse * exp(-u), bounds.label2 / PetscMax(model->temperature, DBL_MIN));
  *tolerance = DBL_EPSILON * (100.0 + (double)bounds.n) * largest;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Newton(SNES snes, FwAction action, double *u, FwMinimum *minimum)
{
  Vec                x;
  const PetscScalar *solution;
  double             tolerance = 0.0;

  PetscFunctionBegin;
  PetscCall(RoundOff(action, *u, &tolerance));
  PetscCall(SNESSetTolerances(snes, tolerance, 0.0, 1e-15, 50, PETSC_DEFAULT));
  PetscCall(SNESSetFromOptions(snes));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, 1, &x));
  PetscCall(VecSet(x, *u));
  PetscCall(SNESSolve(snes, NULL, x));
  PetscCall(VecGetArrayRead(x, &solution));
  *u = solution[0];
  PetscCall(VecRestoreArrayRead(x, &solution));
  PetscCall(VecDestroy(&x));
  PetscCall(SNESGetConvergedReason(snes, &minimum->reason));
  PetscCall(SNESGetIterationNumber(snes, &minimum->n_iteration));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Halve(FwAction action, double *left, double *right)
{
  PetscFunctionBegin;
  for (int i = 0; i < HALVINGS; i++) {
    FwActionPoint point;

    PetscCall(FwActionEvaluate(action, 0.5 * (*left + *right), PETSC_FALSE, &point));
    *(point.force > 0.0 ? right : left) = point.log_order;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Newton from the middle of the piece; where it leaves the piece, a smaller piece and again */
static PetscErrorCode Refine(FwAction action, double left, double right, FwMinimum *minimum)
{
  SNES          snes;
  FwActionPoint point;
  double        u = 0.5 * (left + right);

  PetscFunctionBegin;
  PetscCall(FwNewtonCreate(1, FormForce, FormSlope, action, &snes));
  PetscCall(Newton(snes, action, &u, minimum));
  for (int retry = 0; retry < RETRY_MAX && (minimum->reason < 0 || u < left || u > right); retry++) {
    PetscCall(Halve(action, &left, &right));
    u = 0.5 * (left + right);
    PetscCall(Newton(snes, action, &u, minimum));
  }
  PetscCall(SNESDestroy(&snes));
  if (minimum->reason > 0 && (u < left || u > right)) minimum->reason = SNES_DIVERGED_LOCAL_MIN;
  PetscCall(FwActionEvaluate(action, u, PETSC_TRUE, &point));
  minimum->log_order = u;
  minimum->value     = point.value;
  minimum->above     = point.above;
  minimum->residual  = fabs(point.force);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- all of it ---------------------------------------------------------------------------------------------- */

static int CompareValue(const void *a, const void *b)
{
  const double x = ((const FwMinimum *)a)->above, y = ((const FwMinimum *)b)->above;

  return (x > y) - (x < y);
}

PetscErrorCode FwSaddleFind(FwAction action, FwSaddle *saddle)
{
  Search search = {.action = action};

  PetscFunctionBegin;
  *saddle = (FwSaddle){.is_converged = PETSC_TRUE};
  PetscCall(SearchBracket(&search));
  PetscCheck(search.n > 0, PETSC_COMM_WORLD, FW_ERR_NUMERICAL, "no minimum of the action was found in its bracket");
  saddle->n_minimum    = search.n;
  saddle->n_evaluation = search.n_evaluation;
  saddle->is_complete  = search.is_complete;
  PetscCall(PetscCalloc1(search.n, &saddle->minimum));
  for (PetscInt i = 0; i < search.n; i++) {
    PetscCall(Refine(action, search.left[i], search.right[i], &saddle->minimum[i]));
    if (saddle->minimum[i].reason < 0) saddle->is_converged = PETSC_FALSE;
  }
  qsort(saddle->minimum, (size_t)search.n, sizeof *saddle->minimum, CompareValue);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSaddleDestroy(FwSaddle *saddle)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(saddle->minimum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
