/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Conjugate gradients on (X^T X / d + lambda) w = X^T y / sqrt(d), every teacher with its own step lengths. Vectors of d
 * numbers are on every rank, and so are their scalar products.
 */

#include <finwidth/dense.h>
#include <finwidth/ridge.h>

#include <math.h>

typedef struct {
  FwDesign      design;
  const double *y;
  PetscInt      n_column, width, n_local;
  double        penalty;
  double       *r, *p, *q;       /* [n_column, width] residual, direction, matrix times direction */
  double       *square, *first2; /* [n_column] |r|^2 now and at the start */
  double       *scalar;          /* room for the design's sums, which are not used */
} Solve;

static double *Column(const Solve *s, double v[], PetscInt k)
{
  return v + (size_t)k * (size_t)s->width;
}

static PetscErrorCode TakeLabels(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Solve *s = context;

  PetscFunctionBegin;
  (void)scalar;
  for (PetscInt k = 0; k < s->n_column; k++)
    PetscCall(PetscArraycpy(u + k * n, s->y + (size_t)k * (size_t)s->n_local + first, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeProducts(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  (void)context, (void)first, (void)n, (void)u, (void)scalar;
  return PETSC_SUCCESS;
}

static double Residual(const Solve *s)
{
  double worst = 0.0;

  for (PetscInt k = 0; k < s->n_column; k++)
    if (s->first2[k] > 0.0) worst = fmax(worst, sqrt(s->square[k] / s->first2[k]));
  return worst;
}

/* One step of every column; one that is done has a zero direction, or goes on to be more exact */
static void Step(Solve *s, double w[])
{
  for (PetscInt k = 0; k < s->n_column; k++) {
    double      *p = Column(s, s->p, k), *q = Column(s, s->q, k), *r = Column(s, s->r, k);
    const double curvature = FwDot(s->width, p, q) + s->penalty * FwDot(s->width, p, p), old = s->square[k];
    const double length = curvature > 0.0 ? old / curvature : 0.0;

    FwAxpy(s->width, s->penalty, p, q);
    FwAxpy(s->width, length, p, Column(s, w, k));
    FwAxpy(s->width, -length, q, r);
    s->square[k] = FwDot(s->width, r, r);
    for (PetscInt i = 0; i < s->width; i++) p[i] = r[i] + (old > 0.0 ? s->square[k] / old : 0.0) * p[i];
  }
}

static PetscErrorCode Iterate(Solve *s, const FwRidgePlan *plan, double w[], FwRidgeState *state)
{
  PetscFunctionBegin;
  PetscCall(FwDesignPass(s->design, NULL, TakeLabels, s, s->scalar, s->r));
  PetscCall(PetscArraycpy(s->p, s->r, s->n_column * s->width));
  for (PetscInt k = 0; k < s->n_column; k++)
    s->first2[k] = s->square[k] = FwDot(s->width, Column(s, s->r, k), Column(s, s->r, k));
  for (state->n_iteration = 0; state->n_iteration < plan->most; state->n_iteration++) {
    if (Residual(s) <= plan->tolerance) break;
    PetscCall(FwDesignPass(s->design, s->p, TakeProducts, NULL, s->scalar, s->q));
    Step(s, w);
  }
  state->residual = Residual(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwRidgeSolve(FwDesign design, const double y[], const FwRidgePlan *plan, double w[], FwRidgeState *state)
{
  const FwDesignPlan *shape = FwDesignGetPlan(design);
  Solve               s     = {.design   = design,
                               .y        = y,
                               .n_column = shape->n_column,
                               .width    = FwDesignWidth(design),
                               .n_local  = FwDesignRows(design)->n_local,
                               .penalty  = plan->penalty};
  const size_t        n     = (size_t)s.n_column * (size_t)s.width;

  PetscFunctionBegin;
  *state = (FwRidgeState){0};
  PetscCall(PetscArrayzero(w, n));
  if (isinf(plan->penalty)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(
    PetscMalloc6(n, &s.r, n, &s.p, n, &s.q, s.n_column, &s.square, s.n_column, &s.first2, shape->n_scalar, &s.scalar));
  PetscCall(Iterate(&s, plan, w, state));
  PetscCall(PetscFree6(s.r, s.p, s.q, s.square, s.first2, s.scalar));
  PetscFunctionReturn(PETSC_SUCCESS);
}
