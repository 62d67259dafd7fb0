/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Saddle points of the action with the mean of the activation.
 *
 * With v eliminated N dS/du is F(u) = N (Q - 1) + tr A^-1 B - y.A^-1 B A^-1 y, B the part of A that K and m give. The
 * first trace is at least 0 and at most 1 + min(rank K, Q tr K / T), the last term at most |y|^2 / (4 T), and y.K^+ y
 * where Q >= 1 and m lies in the range of K; so a zero of F has
 *
 *     N (1 - Q) <= 1 + min(rank K, Q tr K / T),   N (Q - 1) <= min(|y|^2 / (4 T), y.K^+ y).
 */

#include "newton.h"

#include <finwidth/mean_action.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { MINIMUM_MAX = 32, POINT_MAX = 400, HALVINGS = 5 };

static const double coarsest = 0.1;

/* --- bracket ------------------------------------------------------------------------------------------------ */

static PetscErrorCode Bracket(FwMeanAction action, double *low, double *high)
{
  const FwModel   *model = FwMeanActionModel(action);
  const double     N = model->width[0], T = model->temperature;
  FwSpectrumBounds b;
  FwMeanPoint      rest = {0};
  double           by_noise;

  PetscFunctionBegin;
  PetscCall(FwMeanActionBounds(action, &b));
  by_noise = T > 0.0 ? b.label2 / (4.0 * T) : INFINITY;
  if (b.rank < b.n) PetscCall(FwMeanActionEvaluate(action, 0.0, 0.0, PETSC_FALSE, &rest));
  if (b.rank == b.n || (model->bias[1] == 0.0 && rest.fit[2] == rest.fit_above[2]))
    by_noise = PetscMin(by_noise, b.inverse);
  PetscCheck(isfinite(by_noise), PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "there is no finite solution at T = %.6g: set a larger temperature", T);
  *high = log1p(by_noise / N) + 1e-6;
  *low  = -1e-6;
  while (*low > -600.0) {
    const double Q = exp(*low), trace = PetscMin((double)b.rank, Q * b.trace / PetscMax(T, DBL_MIN));

    if (N * (Q - 1.0) + 1.0 + trace < 0.0) break;
    if (T == 0.0) { /* the trace is no bound for rank K > N: down to where the labels win */
      FwMeanPoint p;

      PetscCall(FwMeanActionEliminate(action, *low, PETSC_FALSE, &p));
      if (p.force[0] < 0.0 && *low < -2.0) break;
    }
    *low = 1.2 * *low - 0.1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- SNES --------------------------------------------------------------------------------------------------- */

static PetscErrorCode FormForce(SNES snes, Vec x, Vec force, void *context)
{
  const PetscScalar *at;
  PetscScalar       *f;
  FwMeanPoint        point;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(VecGetArrayRead(x, &at));
  PetscCall(FwMeanActionEvaluate((FwMeanAction)context, at[0], at[1], PETSC_FALSE, &point));
  PetscCall(VecRestoreArrayRead(x, &at));
  PetscCall(VecGetArrayWrite(force, &f));
  f[0] = point.force[0];
  f[1] = point.force[1];
  PetscCall(VecRestoreArrayWrite(force, &f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormSlope(SNES snes, Vec x, Mat slope, Mat preconditioner, void *context)
{
  const PetscInt     index[] = {0, 1};
  const PetscScalar *at;
  FwMeanPoint        point;

  PetscFunctionBegin;
  (void)snes;
  PetscCall(VecGetArrayRead(x, &at));
  PetscCall(FwMeanActionEvaluate((FwMeanAction)context, at[0], at[1], PETSC_FALSE, &point));
  PetscCall(VecRestoreArrayRead(x, &at));
  {
    const PetscScalar value[] = {point.slope[0], point.slope[1], point.slope[1], point.slope[2]};

    PetscCall(MatSetValues(preconditioner, 2, index, 2, index, value, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(slope, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(slope, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From (at[0], at[1]), in place */
static PetscErrorCode Newton(FwMeanAction action, double tolerance, double at[2], FwMinimum *minimum)
{
  SNES               snes;
  Vec                x;
  PetscScalar       *start;
  const PetscScalar *solution;

  PetscFunctionBegin;
  PetscCall(FwNewtonCreate(2, FormForce, FormSlope, action, &snes));
  PetscCall(SNESSetTolerances(snes, tolerance, 0.0, 1e-15, 50, PETSC_DEFAULT));
  PetscCall(SNESSetFromOptions(snes));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, 2, &x));
  PetscCall(VecGetArrayWrite(x, &start));
  start[0] = at[0];
  start[1] = at[1];
  PetscCall(VecRestoreArrayWrite(x, &start));
  PetscCall(SNESSolve(snes, NULL, x));
  PetscCall(VecGetArrayRead(x, &solution));
  at[0] = solution[0];
  at[1] = solution[1];
  PetscCall(VecRestoreArrayRead(x, &solution));
  PetscCall(SNESGetConvergedReason(snes, &minimum->reason));
  PetscCall(SNESGetIterationNumber(snes, &minimum->n_iteration));
  PetscCall(VecDestroy(&x));
  PetscCall(SNESDestroy(&snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one saddle point --------------------------------------------------------------------------------------- */

static double RoundOff(FwMeanAction action, const FwMeanPoint *p)
{
  FwSpectrumBounds bounds = {0};

  (void)FwMeanActionBounds(action, &bounds);
  return DBL_EPSILON * (100.0 + (double)bounds.n) * p->size;
}

/* A rising zero of F between left and right: a few halvings, then Newton; where it leaves, more halvings */
static PetscErrorCode Refine(FwMeanAction action, double left, double right, FwMinimum *minimum, double *shift)
{
  FwMeanPoint p;
  double      at[2];

  PetscFunctionBegin;
  *minimum = (FwMinimum){.reason = SNES_DIVERGED_MAX_IT};
  for (int attempt = 0; attempt < 8 && minimum->reason < 0; attempt++) {
    for (int i = 0; i < HALVINGS; i++) {
      PetscCall(FwMeanActionEliminate(action, 0.5 * (left + right), PETSC_FALSE, &p));
      *(p.force[0] > 0.0 ? &right : &left) = p.log_order;
    }
    at[0] = p.log_order;
    at[1] = p.log_shift;
    PetscCall(Newton(action, RoundOff(action, &p), at, minimum));
    if (at[0] < left - 1e-9 || at[0] > right + 1e-9) minimum->reason = SNES_DIVERGED_LOCAL_MIN;
  }
  PetscCall(FwMeanActionEvaluate(action, at[0], at[1], PETSC_TRUE, &p));
  minimum->log_order = at[0];
  minimum->value     = p.value;
  minimum->above     = p.above;
  minimum->residual  = hypot(p.force[0], p.force[1]);
  if (!(minimum->residual <= PetscMax(10.0 * RoundOff(action, &p), 1e-8 * FwMeanActionModel(action)->width[0])))
    minimum->reason = SNES_DIVERGED_LOCAL_MIN; /* Newton may have stopped because its steps got short */
  PetscCall(FwMeanActionCheckResolved(action, at[0], exp(-at[1])));
  *shift = expm1(at[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Sort(FwSaddle *saddle, double shift[])
{
  for (PetscInt m = 1; m < saddle->n_minimum; m++)
    for (PetscInt k = m; k > 0 && saddle->minimum[k].above < saddle->minimum[k - 1].above; k--) {
      const FwMinimum other = saddle->minimum[k];
      const double    s     = shift[k];

      saddle->minimum[k]     = saddle->minimum[k - 1];
      saddle->minimum[k - 1] = other;
      shift[k]               = shift[k - 1];
      shift[k - 1]           = s;
    }
}

PetscErrorCode FwMeanSaddleFind(FwMeanAction action, FwSaddle *saddle, double **shift)
{
  double      low = 0.0, high = 0.0;
  FwMeanPoint before, here;
  PetscInt    n_step;

  PetscFunctionBegin;
  *saddle = (FwSaddle){.is_converged = PETSC_TRUE};
  PetscCall(PetscCalloc1(MINIMUM_MAX, &saddle->minimum));
  PetscCall(PetscCalloc1(MINIMUM_MAX, shift));
  PetscCall(Bracket(action, &low, &high));
  n_step = PetscMax(4, PetscMin(POINT_MAX, (PetscInt)ceil((high - low) / coarsest)));
  PetscCall(FwMeanActionEliminate(action, low, PETSC_FALSE, &before));
  for (PetscInt i = 1; i <= n_step; i++, before = here) {
    PetscCall(FwMeanActionEliminate(action, low + (high - low) * i / n_step, PETSC_FALSE, &here));
    saddle->n_evaluation++;
    if (!(before.force[0] <= 0.0 && here.force[0] > 0.0) || saddle->n_minimum == MINIMUM_MAX) continue; /* or NaN */
    PetscCall(Refine(action, before.log_order, here.log_order, &saddle->minimum[saddle->n_minimum],
                     *shift + saddle->n_minimum));
    if (saddle->minimum[saddle->n_minimum++].reason < 0) saddle->is_converged = PETSC_FALSE;
  }
  PetscCheck(saddle->n_minimum, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "no saddle point of the action with mean terms was found in its bracket");
  Sort(saddle, *shift);
  PetscFunctionReturn(PETSC_SUCCESS);
}
