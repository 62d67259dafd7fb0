/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Saddle point of the action with the mean of the activation in several hidden layers.
 *
 * Unknowns log Q_l and log t_l, t_l = 1 + s_l. With R_l = prod_{r > l} Q_r, Q = prod Q_l, the data's part E(Q, b) and
 * b = 1 - sum_l (1 - 1/t_l) R_l,
 *
 *     N dS/d log Q_l = -N_l Q_l (t_l - 1) + Q dE/dQ + dE/db sum_{k < l} (1/t_k - 1) R_k,
 *     N dS/d log t_l = N_l (1 - Q_l t_l) - dE/db R_l / t_l.
 *
 * Infinite width is Q_l = t_l = 1. Newton's method follows the solution from there: all widths are first multiplied by a
 * large number, which goes down to 1.
 */

#include "newton.h"

#include <finwidth/mean_action.h>

#include <float.h>
#include <math.h>

/* The largest factor is 2^HALVINGS */
enum { HALVINGS = 16, LAYER_MAX = 64 };

typedef struct {
  FwMeanAction action;
  PetscInt     n_layer;
  double       factor; /* of all widths */
} Path;

static double Width(const Path *p, PetscInt l)
{
  return p->factor * FwMeanActionModel(p->action)->width[l];
}

/* What the order parameters make of the data's part: log Q, R and b */
static void Compose(PetscInt L, const double x[], double *log_order, double R[], double *b)
{
  *log_order = 0.0;
  *b         = 1.0;
  for (PetscInt l = L - 1; l >= 0; l--) {
    R[l] = exp(*log_order);
    *log_order += x[l];
    *b -= -expm1(-x[L + l]) * R[l];
  }
}

static PetscErrorCode Forces(const Path *p, const double x[], double force[], FwMeanData *data)
{
  const PetscInt L = p->n_layer;
  double         R[LAYER_MAX], log_order, b, below = 0.0;

  PetscFunctionBegin;
  Compose(L, x, &log_order, R, &b);
  PetscCall(FwMeanActionData(p->action, log_order, b, data));
  for (PetscInt l = 0; l < L; l++) {
    const double Q = exp(x[l]), t = exp(x[L + l]);

    force[l]     = -Width(p, l) * Q * (t - 1.0) + data->order_slope + data->coefficient_slope * below;
    force[L + l] = Width(p, l) * (1.0 - Q * t) - data->coefficient_slope * R[l] / t;
    below += (1.0 / t - 1.0) * R[l];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormForce(SNES snes, Vec x, Vec force, void *context)
{
  const PetscScalar *at;
  PetscScalar       *f;
  FwMeanData         data = {0};

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(x, &at));
  PetscCall(VecGetArrayWrite(force, &f));
  PetscCall(Forces((const Path *)context, at, f, &data));
  PetscCall(VecRestoreArrayWrite(force, &f));
  PetscCall(VecRestoreArrayRead(x, &at));
  if (!isfinite(data.value)) PetscCall(SNESSetFunctionDomainError(snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forces are differences of numbers as large as the widths and the labels' fit */
static double RoundOff(double widest, PetscInt n_example)
{
  return 1000.0 * DBL_EPSILON * (widest + (double)n_example);
}

static PetscErrorCode Follow(Path *p, Vec x, FwMinimum *minimum)
{
  FwSpectrumBounds bounds;
  SNES             snes;
  PetscInt         n_iteration;
  double           most = 0.0;

  PetscFunctionBegin;
  PetscCall(FwMeanActionBounds(p->action, &bounds));
  PetscCall(FwNewtonCreate(2 * p->n_layer, FormForce, NULL, p, &snes));
  PetscCall(SNESSetFromOptions(snes));
  for (int k = HALVINGS; k >= 0; k--) {
    p->factor = ldexp(1.0, k);
    for (PetscInt l = 0; l < p->n_layer; l++) most = PetscMax(most, Width(p, l));
    PetscCall(SNESSetTolerances(snes, RoundOff(most, bounds.n), 0.0, 1e-14, 50, PETSC_DEFAULT));
    PetscCall(SNESSolve(snes, NULL, x));
    PetscCall(SNESGetIterationNumber(snes, &n_iteration));
    PetscCall(SNESGetConvergedReason(snes, &minimum->reason));
    minimum->n_iteration += n_iteration;
    most = 0.0;
  }
  PetscCall(SNESDestroy(&snes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S and what is left of the force at the end */
static PetscErrorCode SetMinimum(const Path *p, const double x[], FwMinimum *minimum)
{
  const FwModel   *model = FwMeanActionModel(p->action);
  const PetscInt   L     = p->n_layer;
  double           force[2 * LAYER_MAX], R[LAYER_MAX], log_order, b, sum = 0.0, most = 0.0;
  FwMeanData       data;
  FwSpectrumBounds bounds;

  PetscFunctionBegin;
  PetscCall(FwMeanActionBounds(p->action, &bounds));
  PetscCall(Forces(p, x, force, &data));
  sum = data.value;
  for (PetscInt l = 0; l < L; l++) {
    sum += model->width[l] * (x[L + l] - exp(x[l]) * expm1(x[L + l]));
    minimum->log_order += x[l];
    minimum->residual = hypot(minimum->residual, hypot(force[l], force[L + l]));
  }
  minimum->value = sum / model->width[L - 1];
  for (PetscInt l = 0; l < L; l++) most = PetscMax(most, model->width[l]);
  if (!(minimum->residual <= PetscMax(1e-8 * most, 10.0 * RoundOff(most, bounds.n))))
    minimum->reason = SNES_DIVERGED_LOCAL_MIN;
  Compose(L, x, &log_order, R, &b);
  if (minimum->reason > 0) PetscCall(FwMeanActionCheckResolved(p->action, log_order, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMeanDeepFind(FwMeanAction action, FwSaddle *saddle, double **order, double **shift)
{
  const PetscInt     L = FwMeanActionModel(action)->depth;
  Path               p = {.action = action, .n_layer = L, .factor = 1.0};
  const PetscScalar *at;
  Vec                x;

  PetscFunctionBegin;
  PetscCheck(L <= LAYER_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "theory_mean: mean terms are for %d hidden layers at most, not %" PetscInt_FMT, LAYER_MAX, L);
  *saddle = (FwSaddle){.n_minimum = 1};
  PetscCall(PetscCalloc1(1, &saddle->minimum));
  PetscCall(PetscMalloc1(L, order));
  PetscCall(PetscMalloc1(L, shift));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, 2 * L, &x));
  PetscCall(VecZeroEntries(x));
  PetscCall(Follow(&p, x, &saddle->minimum[0]));
  PetscCall(VecGetArrayRead(x, &at));
  PetscCall(SetMinimum(&p, at, &saddle->minimum[0]));
  for (PetscInt l = 0; l < L; l++) {
    (*order)[l] = exp(at[l]);
    (*shift)[l] = expm1(at[L + l]);
  }
  PetscCall(VecRestoreArrayRead(x, &at));
  PetscCall(VecDestroy(&x));
  saddle->is_converged = saddle->minimum[0].reason > 0 && isfinite(saddle->minimum[0].value) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwMeanDeepCoefficient(PetscInt L, const double order[], const double shift[])
{
  double b = 1.0, R = 1.0;

  for (PetscInt l = L - 1; l >= 0; R *= order[l--]) b -= shift[l] / (1.0 + shift[l]) * R;
  return b;
}
