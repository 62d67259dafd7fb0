/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The curve alpha(q): knots between which it is monotone, so that every fixed point of every alpha lies in a known interval.
 *
 * A first pass in steps of t sees where it rises. Where it is nearly level, or turns, the interval is looked at through its
 * panel, and extrema are pinned down.
 */

#include "optimal_impl.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_min.h>
#include <gsl/gsl_roots.h>
#include <math.h>

static const double panel_width = 0.5; /* poles of log(q / (1 - q)) are pi away, those of psi hardly nearer than 1 */

enum { FINE = 16 }; /* points in a panel that is looked into */

PetscErrorCode FwCurveCompute(FwOptimal optimal, double t, FwCurvePoint *point)
{
  double square;

  PetscFunctionBegin;
  point->overlap   = 1.0 / (1.0 + exp(-t));
  point->remainder = 1.0 / (1.0 + exp(t));
  PetscCall(FwChannelMoments(&optimal->channel, optimal->eta2 * point->overlap,
                             optimal->gamma + optimal->eta2 * point->remainder, &point->psi, &square));
  point->log_alpha = t - log(optimal->eta2) - log(square);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillPanel(const double t[FW_PANEL_POINTS], double value[], void *context)
{
  FwCurvePoint point;

  PetscFunctionBegin;
  for (int i = 0; i < FW_PANEL_POINTS; i++) {
    PetscCall(FwCurveCompute(context, t[i], &point));
    value[2 * i]     = point.log_alpha;
    value[2 * i + 1] = point.psi;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCurveEvaluate(FwOptimal optimal, double t, FwCurvePoint *point)
{
  double value[2];

  PetscFunctionBegin;
  PetscCall(FwPanelsEvaluate(optimal->panels, t, value));
  *point = (FwCurvePoint){
    .overlap = 1.0 / (1.0 + exp(-t)), .remainder = 1.0 / (1.0 + exp(t)), .log_alpha = value[0], .psi = value[1]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- knots ------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode AddKnot(FwOptimal optimal, double t, double log_alpha)
{
  PetscFunctionBegin;
  if (optimal->n_knot == optimal->room) {
    optimal->room = 2 * optimal->room + 64;
    PetscCall(PetscRealloc((size_t)optimal->room * sizeof *optimal->t, &optimal->t));
    PetscCall(PetscRealloc((size_t)optimal->room * sizeof *optimal->log_alpha, &optimal->log_alpha));
  }
  optimal->t[optimal->n_knot]           = t;
  optimal->log_alpha[optimal->n_knot++] = log_alpha;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where fixed points of all wanted alpha lie. An even channel begins on a plateau; noise ends what else can happen at
   1 - q = (gamma + noise) / eta^2; a label alone has no such scale */
typedef struct {
  double first, settled;
} Reach;

static Reach ReachOf(FwOptimal optimal, double log_alpha_zero)
{
  const double floor_of_noise = (optimal->gamma + optimal->noise) / optimal->eta2;
  Reach        reach          = {-16.0, 40.0};

  if (!optimal->is_even) reach.first = fmin(-2.0, log(optimal->least) - log_alpha_zero - 2.0);
  if (FwChannelIsDiscrete(&optimal->channel))
    reach.settled = 6.0;
  else if (floor_of_noise > 0.0)
    reach.settled = fmin(40.0, 4.0 - log(floor_of_noise));
  reach.first = panel_width * floor(reach.first / panel_width);
  return reach;
}

static PetscErrorCode FirstPass(FwOptimal optimal)
{
  const double wanted = log(optimal->most) + 0.1, last = 700.0, little = -12.0;
  FwCurvePoint point;
  Reach        reach;

  PetscFunctionBegin;
  PetscCall(FwCurveCompute(optimal, little, &point));
  PetscCheck(isfinite(point.log_alpha), PETSC_COMM_SELF, FW_ERR_NUMERICAL,
             "what a label says about the weights is not within a double's range (eta^2 = %g)", optimal->eta2);
  optimal->alpha_zero =
    optimal->is_even ? pow((optimal->eta2 + optimal->gamma + optimal->channel.noise) / optimal->eta2, 2) / 2.0 : 0.0;
  reach = ReachOf(optimal, point.log_alpha - little); /* of a channel that is not even: log alpha = t + this */
  for (double t = reach.first; t <= last; t += panel_width) {
    PetscCall(FwCurveCompute(optimal, t, &point));
    PetscCall(AddKnot(optimal, t, point.log_alpha));
    if (t >= reach.settled && (point.log_alpha > wanted || optimal->is_exact)) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rise in interval k, 0 for what is only rounding */
static double Rise(FwOptimal optimal, PetscInt k)
{
  const double rise = optimal->log_alpha[k + 1] - optimal->log_alpha[k];

  return fabs(rise) < 1e-12 ? 0.0 : rise;
}

/* Whether interval k is the most level of the three around it */
static PetscBool IsDip(FwOptimal optimal, PetscInt k)
{
  if (k < 1 || k + 2 >= optimal->n_knot) return PETSC_FALSE;
  return (PetscBool)(fabs(Rise(optimal, k)) <= fmin(fabs(Rise(optimal, k - 1)), fabs(Rise(optimal, k + 1))));
}

/* Between two extrema that are close to each other the slope has dipped through zero, and the curve is nearly level around
   them; a plateau that only goes on rising has no dip */
static PetscBool IsWorthALook(FwOptimal optimal, PetscInt k)
{
  const double rise = Rise(optimal, k), level = 0.15 * panel_width, plateau = 1e-4 * panel_width;

  if (k > 0 && Rise(optimal, k - 1) * rise < 0.0) return PETSC_TRUE;
  if (k + 2 < optimal->n_knot && Rise(optimal, k + 1) * rise < 0.0) return PETSC_TRUE;
  if (fabs(rise) > level || fabs(rise) < plateau) return PETSC_FALSE;
  return (PetscBool)(IsDip(optimal, k - 1) || IsDip(optimal, k) || IsDip(optimal, k + 1));
}

static PetscErrorCode LookInto(FwOptimal optimal)
{
  const PetscInt n = optimal->n_knot;
  double        *t = optimal->t, *log_alpha = optimal->log_alpha;
  FwCurvePoint   point = {0};
  PetscBool     *is_worth;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n, &is_worth));
  for (PetscInt k = 0; k < n; k++) is_worth[k] = k + 1 < n ? IsWorthALook(optimal, k) : PETSC_FALSE;
  optimal->t = optimal->log_alpha = NULL;
  optimal->n_knot = optimal->room = 0;
  for (PetscInt k = 0; k < n; k++) {
    PetscCall(AddKnot(optimal, t[k], log_alpha[k]));
    for (int i = 1; i < FINE && is_worth[k]; i++) {
      const double at = t[k] + panel_width * i / FINE;

      PetscCall(FwCurveEvaluate(optimal, at, &point));
      PetscCall(AddKnot(optimal, at, point.log_alpha));
    }
  }
  PetscCall(PetscFree(is_worth));
  PetscCall(PetscFree(t));
  PetscCall(PetscFree(log_alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- extrema and roots -------------------------------------------------------------------------------------------------- */

/* sign (log alpha - level) at t, for GSL; interpolation on panels that are there does not fail */
typedef struct {
  FwOptimal      optimal;
  double         level, sign;
  PetscErrorCode code;
} Seen;

static double Height(double t, void *context)
{
  Seen        *seen  = context;
  FwCurvePoint point = {0};

  if (!seen->code) seen->code = FwCurveEvaluate(seen->optimal, t, &point);
  return seen->sign * (point.log_alpha - seen->level);
}

/* Knot k turns: put it at the extremum between its neighbours */
static PetscErrorCode Pin(FwOptimal optimal, PetscInt k, double sign)
{
  Seen                 seen     = {.optimal = optimal, .sign = sign};
  gsl_function         function = {Height, &seen};
  gsl_min_fminimizer  *search   = gsl_min_fminimizer_alloc(gsl_min_fminimizer_brent);
  gsl_error_handler_t *handler  = gsl_set_error_handler_off();
  int status = gsl_min_fminimizer_set(search, &function, optimal->t[k], optimal->t[k - 1], optimal->t[k + 1]);

  PetscFunctionBegin;
  for (int i = 0; i < 60 && !status; i++) {
    status = gsl_min_fminimizer_iterate(search);
    if (gsl_min_test_interval(gsl_min_fminimizer_x_lower(search), gsl_min_fminimizer_x_upper(search), 1e-9, 0.0) ==
        GSL_SUCCESS)
      break;
  }
  optimal->t[k]         = gsl_min_fminimizer_x_minimum(search);
  optimal->log_alpha[k] = sign * gsl_min_fminimizer_f_minimum(search);
  gsl_min_fminimizer_free(search);
  (void)gsl_set_error_handler(handler);
  PetscCall(seen.code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PinExtrema(FwOptimal optimal)
{
  PetscFunctionBegin;
  for (PetscInt k = 1; k + 1 < optimal->n_knot; k++)
    if (Rise(optimal, k - 1) * Rise(optimal, k) < 0.0) PetscCall(Pin(optimal, k, Rise(optimal, k) > 0.0 ? 1.0 : -1.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCurveFind(FwOptimal optimal)
{
  PetscFunctionBegin;
  PetscCall(FwPanelsCreate(0.0, panel_width, 2, FillPanel, optimal, &optimal->panels));
  PetscCall(FirstPass(optimal));
  PetscCall(LookInto(optimal));
  PetscCall(PinExtrema(optimal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCurveInvert(FwOptimal optimal, PetscInt k, double log_alpha, double *t)
{
  Seen                 seen     = {.optimal = optimal, .level = log_alpha, .sign = 1.0};
  gsl_function         function = {Height, &seen};
  gsl_root_fsolver    *solver   = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
  gsl_error_handler_t *handler  = gsl_set_error_handler_off();
  const double        *end = optimal->t + k, *height = optimal->log_alpha + k;
  int status = gsl_root_fsolver_set(solver, &function, end[0], nextafter(end[1], end[0])); /* one panel */

  PetscFunctionBegin;
  *t =
    fabs(height[0] - log_alpha) < fabs(height[1] - log_alpha) ? end[0] : end[1]; /* where rounding leaves no interval */
  for (int i = 0; i < 100 && !status; i++) {
    status = gsl_root_fsolver_iterate(solver);
    if (gsl_root_test_interval(gsl_root_fsolver_x_lower(solver), gsl_root_fsolver_x_upper(solver), 0.0, 4e-16) ==
        GSL_SUCCESS)
      break;
  }
  if (!status) *t = gsl_root_fsolver_root(solver);
  gsl_root_fsolver_free(solver);
  (void)gsl_set_error_handler(handler);
  PetscCall(seen.code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
