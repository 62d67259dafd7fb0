/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Message passing: the channel is evaluated between the two halves of a pass, panel by panel.
 */

#include <finwidth/dense.h>
#include <finwidth/gamp.h>

#include <math.h>

typedef struct {
  FwDesign          design;
  const double     *y, *direction;
  const FwGampPlan *plan;
  PetscInt          n_column, d, n_local;
  double           *s, *v;                 /* [n_column, d] of the caller, [n_column] */
  double           *g;                     /* [n_column, local rows] */
  double           *out;                   /* [n_column, d] X^T g / sqrt(d) */
  double           *slope;                 /* [n_scalar] sums of g' over all rows, one for each column */
  double           *w, *here, *slope_here; /* room for one panel: means, g and g' */
  double            keep;                  /* damping of this iteration */
  double           *change;                /* [n_column] mean square of the last change of s */
} Gamp;

/* --- one iteration --------------------------------------------------------------------------------------------- */

/* One column of a panel: u = X s / sqrt(d) becomes g */
static PetscErrorCode SeeLabels(const Gamp *a, PetscInt k, PetscInt first, PetscInt n, double u[], double *slope)
{
  const double eta = a->plan->eta, variance = eta * eta * a->v[k];
  double      *g = a->g + (size_t)k * (size_t)a->n_local + first;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) a->w[i] = eta * u[i] - variance * g[i];
  PetscCall(FwChannelOutput(&a->plan->channel, n, a->y + (size_t)k * (size_t)a->n_local + first, a->w,
                            variance + a->plan->gamma, NULL, a->here, a->slope_here));
  for (PetscInt i = 0; i < n; i++) {
    *slope += a->slope_here[i];
    u[i] = g[i] = a->here[i] + a->keep * (g[i] - a->here[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SeePanel(void *context, PetscInt first, PetscInt n, double u[], double scalar[])
{
  const Gamp *a = context;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < a->n_column; k++) PetscCall(SeeLabels(a, k, first, n, u + k * n, scalar + k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The belief about S of teacher k from what its labels said; `precision` is Gamma */
static void Update(Gamp *a, PetscInt k)
{
  const double  eta = a->plan->eta, keep = a->keep;
  const double  precision = PetscMax(0.0, -eta * eta * a->slope[k] / (double)a->d); /* alpha / n = 1 / d */
  const double *out       = a->out + (size_t)k * (size_t)a->d;
  double       *s = a->s + (size_t)k * (size_t)a->d, sum = 0.0;

  for (PetscInt i = 0; i < a->d; i++) {
    const double change = (1.0 - keep) * ((s[i] * precision + eta * out[i]) / (1.0 + precision) - s[i]);

    s[i] += change;
    sum += change * change;
  }
  a->v[k]      = (1.0 - keep) / (1.0 + precision) + keep * a->v[k];
  a->change[k] = sqrt(sum / (double)a->d);
}

static void MeasureOverlaps(const Gamp *a, double overlap[])
{
  for (PetscInt k = 0; k < a->n_column; k++) {
    const size_t at = (size_t)k * (size_t)a->d;

    overlap[k] = FwDot(a->d, a->s + at, a->direction + at) / (double)a->d;
    if (FwChannelIsEven(&a->plan->channel)) overlap[k] = fabs(overlap[k]);
  }
}

/* 0, then 1/2, 3/4, 7/8, each for twice as long as the one before */
static double Damping(const FwGampPlan *plan, PetscInt iteration)
{
  double part = 1.0;

  for (PetscInt n = PetscMax(plan->n_free, 1), end = n; iteration >= end; end = 2 * end + n) part *= 0.5;
  return 1.0 - part;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static PetscErrorCode Start(Gamp *a)
{
  const size_t n = (size_t)a->n_column * (size_t)a->d;

  PetscFunctionBegin;
  FwStreamNormalBulk(a->plan->stream, 0, n, a->s);
  for (size_t i = 0; i < n; i++) a->s[i] *= a->plan->start;
  for (PetscInt k = 0; k < a->n_column; k++) a->v[k] = 1.0 - a->plan->start * a->plan->start;
  PetscCall(PetscArrayzero(a->g, (size_t)a->n_column * (size_t)a->n_local));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool AllConverged(const Gamp *a, FwGampState *state)
{
  PetscBool all = PETSC_TRUE;

  for (PetscInt k = 0; k < a->n_column; k++) {
    state->is_converged[k] = a->change[k] <= a->plan->tolerance ? PETSC_TRUE : PETSC_FALSE;
    if (!state->is_converged[k]) all = PETSC_FALSE;
  }
  return all;
}

static PetscErrorCode Iterate(Gamp *a, FwGampState *state)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  MeasureOverlaps(a, state->overlap);
  while (state->n_iteration < a->plan->most) {
    a->keep = Damping(a->plan, state->n_iteration);
    code    = FwDesignPass(a->design, a->s, SeePanel, a, a->slope, a->out);
    if (code == FW_ERR_NUMERICAL) { /* the trajectory so far is the result */
      PetscCall(
        FwWarn("message passing ends after %" PetscInt_FMT " iterations: %s", state->n_iteration, FwErrorMessage()));
      FwErrorClear();
      PetscCall(PetscArrayzero(state->is_converged, a->n_column));
      break;
    }
    PetscCall(code);
    for (PetscInt k = 0; k < a->n_column; k++) Update(a, k);
    state->n_iteration++;
    MeasureOverlaps(a, state->overlap + (size_t)state->n_iteration * (size_t)a->n_column);
    if (AllConverged(a, state)) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGampSolve(FwDesign design, const double y[], const double direction[], const FwGampPlan *plan,
                           double s[], FwGampState *state)
{
  enum { PANEL_MOST = 512 }; /* more rows than a block has */
  const FwDesignPlan *shape = FwDesignGetPlan(design);
  const PetscInt      K     = shape->n_column;
  Gamp                a     = {.design    = design,
                               .y         = y,
                               .direction = direction,
                               .plan      = plan,
                               .n_column  = K,
                               .d         = shape->d,
                               .n_local   = FwDesignRows(design)->n_local,
                               .s         = s};
  const size_t        n     = (size_t)K * (size_t)a.d;

  PetscFunctionBegin;
  *state = (FwGampState){0};
  PetscCall(PetscCalloc1(K, &state->is_converged));
  PetscCall(PetscMalloc1(K, &state->variance));
  PetscCall(PetscMalloc1((size_t)(plan->most + 1) * (size_t)K, &state->overlap));
  PetscCall(PetscMalloc7((size_t)K * (size_t)a.n_local, &a.g, n, &a.out, shape->n_scalar, &a.slope, PANEL_MOST, &a.w,
                         PANEL_MOST, &a.here, PANEL_MOST, &a.slope_here, K, &a.change));
  a.v = state->variance;
  PetscCall(Start(&a));
  PetscCall(Iterate(&a, state));
  PetscCall(PetscFree7(a.g, a.out, a.slope, a.w, a.here, a.slope_here, a.change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGampStateDestroy(FwGampState *state)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(state->is_converged));
  PetscCall(PetscFree(state->variance));
  PetscCall(PetscFree(state->overlap));
  *state = (FwGampState){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
