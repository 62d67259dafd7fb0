/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Effective action, product composition.
 *
 * Symbols: u = log Q, q_l = Q_l, c = N_l (q_l - 1), r_l = N_min / N_l, t = log of the smallest layer's q.
 */

#include <finwidth/action.h>

#include <float.h>
#include <math.h>

struct FwActionImpl {
  FwSpectrum     spectrum;
  const FwModel *model;
  double         smallest; /* N_min */
  double         last;     /* N = N_L */
  double         scale;    /* of the kernel */
};

PetscErrorCode FwActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, FwAction *action)
{
  FwAction a;

  PetscFunctionBegin;
  PetscCall(PetscNew(&a));
  a->spectrum = spectrum;
  a->model    = model;
  a->scale    = scale;
  a->last     = model->width[model->depth - 1];
  a->smallest = a->last;
  for (PetscInt l = 0; l < model->depth; l++) a->smallest = PetscMin(a->smallest, model->width[l]);
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwModel *FwActionModel(FwAction action)
{
  return action->model;
}

/* A factor of the kernel is a factor of Q: nothing else changes, derivatives in log Q included */
PetscErrorCode FwActionResolve(FwAction a, double order, PetscBool with_log_det, FwResolvent *resolvent)
{
  PetscFunctionBegin;
  PetscCall(FwSpectrumResolve(a->spectrum, a->model->temperature, order * a->scale, with_log_det, resolvent));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActionBounds(FwAction a, FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(a->spectrum, bounds));
  bounds->trace *= a->scale;
  bounds->inverse /= a->scale;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActionDestroy(FwAction *action)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- from the product to the layers ------------------------------------------------------------------------- */

/* log Q_l of a layer from the smallest layer's t: Q_l = (1 - r) + r e^t has no cancellation where c -> -N_min */
static double LayerLog(double ratio, double t)
{
  return ratio == 1.0 ? t : log1p(ratio * expm1(t));
}

/* Solve sum_l log Q_l(t) = u. The sum is increasing and convex in t, and t = u (u > 0) or u / L (u < 0) lies right of
   the solution, from where Newton's steps go left and never past it. */
static double SolveSmallest(FwAction a, double u)
{
  const FwModel *model = a->model;
  double         t     = u > 0.0 ? u : u / (double)model->depth;

  for (int step = 0; step < 100; step++) {
    double sum = -u, slope = 0.0, change;

    for (PetscInt l = 0; l < model->depth; l++) {
      const double ratio = a->smallest / model->width[l], log_q = LayerLog(ratio, t);

      sum += log_q;
      slope += ratio * exp(t - log_q);
    }
    change = sum / slope;
    t -= change;
    if (fabs(change) <= 4.0 * DBL_EPSILON * (fabs(t) + DBL_EPSILON)) break;
  }
  return t;
}

PetscErrorCode FwActionLayers(FwAction a, double log_order, double order[])
{
  const double t = SolveSmallest(a, log_order);

  PetscFunctionBegin;
  for (PetscInt l = 0; l < a->model->depth; l++) order[l] = exp(LayerLog(a->smallest / a->model->width[l], t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- evaluation --------------------------------------------------------------------------------------------- */

/* c, dc/du = 1 / sum_l 1 / (N_l Q_l), and the part of N S that does not see the data */
static double Entropy(FwAction a, double u, double *shift, double *shift_slope)
{
  const double t       = SolveSmallest(a, u);
  double       inverse = 0.0, entropy = 0.0;

  for (PetscInt l = 0; l < a->model->depth; l++) {
    const double width = a->model->width[l], log_q = LayerLog(a->smallest / width, t), q = exp(log_q);

    inverse += 1.0 / (width * q);
    entropy += width * (q - log_q);
  }
  *shift       = a->smallest * expm1(t);
  *shift_slope = 1.0 / inverse;
  return entropy;
}

PetscErrorCode FwActionEvaluate(FwAction a, double log_order, PetscBool with_value, FwActionPoint *point)
{
  FwResolvent *r = &point->resolvent;
  double       entropy;

  PetscFunctionBegin;
  point->log_order = log_order;
  PetscCall(FwActionResolve(a, exp(log_order), with_value, r));
  entropy      = Entropy(a, log_order, &point->shift, &point->shift_slope);
  point->force = point->shift + r->trace - r->fit_slope;
  point->slope = point->shift_slope + r->trace_slope - r->fit_slope + 2.0 * r->fit_curve;
  point->value = with_value ? (entropy + r->log_det + r->fit) / a->last : NAN;
  point->above = with_value ? (entropy + r->log_det + r->fit_above) / a->last : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr M and c rise with Q; fit_slope and trace_slope are Q, and fit_curve Q^2, times a function that falls with Q; dc/du
   rises. */
void FwActionEnclose(const FwActionPoint *left, const FwActionPoint *right, double force[2], double slope[2])
{
  const FwResolvent *a = &left->resolvent, *b = &right->resolvent;
  const double       grow = exp(right->log_order - left->log_order);

  force[0] = left->shift + a->trace - a->fit_slope * grow;
  force[1] = right->shift + b->trace - b->fit_slope / grow;
  slope[0] = left->shift_slope + b->trace_slope / grow - a->fit_slope * grow + 2.0 * b->fit_curve / (grow * grow);
  slope[1] = right->shift_slope + a->trace_slope * grow - b->fit_slope / grow + 2.0 * a->fit_curve * grow * grow;
}

/* --- bracket ------------------------------------------------------------------------------------------------ */

static double ProductLog(FwAction a, double shift)
{
  double u = 0.0;

  for (PetscInt l = 0; l < a->model->depth; l++) u += log1p(shift / a->model->width[l]);
  return u;
}

/* A stationary point has c = y^T M A^-1 y - tr M. From above, with z the labels in a basis where M is diagonal with
   entries p: sum z^2 p (1 - p) / T <= |y|^2 / (4 T), and <= y^T K^+ y / Q, of use where c > 0 and so Q > 1. */
static double HighestShift(FwAction a, const FwSpectrumBounds *b)
{
  const double temperature = a->model->temperature;
  const double by_noise    = temperature > 0.0 ? b->label2 / (4.0 * temperature) : INFINITY;
  /* y^T K^+ y bounds only what lies in the range of K; a readout bias mixes modes unless K has full rank */
  const PetscBool is_plain = a->model->bias[a->model->depth] > 0.0 ? PETSC_FALSE : PETSC_TRUE;

  return is_plain || b->rank == b->n ? PetscMin(by_noise, b->inverse) : by_noise;
}

/* From below: c >= -tr M >= -min(rank, Q tr K / T). Positive where u is too high to be the bound; rises with u */
static double AboveTraceBound(FwAction a, const FwSpectrumBounds *b, double u)
{
  const double temperature = a->model->temperature;
  double       trace       = (double)b->rank, shift, slope;

  if (temperature > 0.0) trace = PetscMin(trace, exp(u) * b->trace / temperature);
  (void)Entropy(a, u, &shift, &slope);
  return shift + trace;
}

static double LowestByTrace(FwAction a, const FwSpectrumBounds *b)
{
  const double floor_log = -700.0; /* exp() of less is not a normal number */
  double       low = -1.0, high = 0.0;

  while (low > floor_log && AboveTraceBound(a, b, low) > 0.0) {
    high = low;
    low *= 2.0;
  }
  while (high - low > 1e-3) {
    const double middle = 0.5 * (low + high);

    *(AboveTraceBound(a, b, middle) > 0.0 ? &high : &low) = middle;
  }
  return PetscMax(low, floor_log);
}

/* T = 0: y^T M A^-1 y >= r / Q, where r is what is left of y^T K^-1 y when the readout bias may take any value for free.
   Q y^T A^-1 y falls to r as Q -> 0; half of it, far down, is below r. */
static PetscErrorCode FreeBiasFit(FwAction a, const FwSpectrumBounds *b, double *r)
{
  double order = 1e-3 * b->n / PetscMax(b->trace, DBL_MIN);

  PetscFunctionBegin;
  *r = b->inverse;
  if (a->model->bias[a->model->depth] == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int step = 0; step < 12; step++, order *= 1e-3) {
    FwResolvent resolvent = {0};

    PetscCall(FwActionResolve(a, order, PETSC_FALSE, &resolvent));
    if (order * resolvent.fit > 0.99 * *r && step) break;
    *r = order * resolvent.fit;
  }
  *r *= 0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwActionBracket(FwAction a, double *low, double *high)
{
  FwSpectrumBounds b;
  double           highest;

  PetscFunctionBegin;
  PetscCall(FwActionBounds(a, &b));
  highest = HighestShift(a, &b);
  PetscCheck(isfinite(highest), PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
             "there is no finite solution at T = %.6g: set a larger temperature", a->model->temperature);
  *high = ProductLog(a, highest) + 1e-6;
  if (a->model->temperature > 0.0 || (double)b.rank < a->smallest) {
    *low = LowestByTrace(a, &b);
  } else {
    double fit = 0.0;

    /* T = 0 and P >= N: c + P >= y^T M A^-1 y >= r / Q */
    PetscCall(FreeBiasFit(a, &b, &fit));
    PetscCheck(fit > 0.0, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
               "all labels are zero at T = 0 with more examples than hidden units: Q = 0");
    *low = log(fit / (highest + (double)b.n));
  }
  *low = PetscMin(*low, *high - 2e-6) - 1e-6;
  PetscFunctionReturn(PETSC_SUCCESS);
}
