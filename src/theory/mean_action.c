/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Effective action with the mean of the activation.
 *
 * Symbols: F, G, C: the forms x.A_0^-1 x', x.M A_0^-1 x', x.M M A_0^-1 x' with M = A_0^-1 Q K, so that dF/du = -G and
 * dG/du = G - 2 C.
 */

#include <finwidth/mean_action.h>

#include <float.h>
#include <math.h>

/* Pairs of the columns y and m, and where they stand in a 2 x 2 matrix */
enum { YY, YM, MM, N_PAIR };
static const int place[N_PAIR] = {0, 1, 3};

struct FwMeanActionImpl {
  FwSpectrum     spectrum;
  const FwModel *model;
  double         scale, width, prior;
};

PetscErrorCode FwMeanActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, FwMeanAction *action)
{
  FwMeanAction a;

  PetscFunctionBegin;
  for (PetscInt l = 0; l < model->depth; l++)
    PetscCheck(model->width[l] >= 2.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "theory_mean: mean terms need a network_width of 2 at least, not %.6g", model->width[l]);
  PetscCall(PetscNew(&a));
  *a      = (struct FwMeanActionImpl){.spectrum = spectrum,
                                      .model    = model,
                                      .scale    = scale,
                                      .width    = model->width[0],
                                      .prior    = model->prior[model->depth]};
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMeanActionDestroy(FwMeanAction *action)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwModel *FwMeanActionModel(FwMeanAction action)
{
  return action->model;
}

PetscErrorCode FwMeanActionBounds(FwMeanAction action, FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(action->spectrum, bounds));
  bounds->trace *= action->scale;
  bounds->inverse /= action->scale;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- forms -------------------------------------------------------------------------------------------------- */

/* g and w with their first and second derivatives in u */
typedef struct {
  double g[3], w[3];
  double unseen[N_PAIR];       /* limits of the forms for Q -> infinity */
  double fit_slope, fit_curve; /* y.M A_0^-1 y, y.M M A_0^-1 y */
} Terms;

static PetscErrorCode Resolve(FwMeanAction a, double log_order, PetscBool with_value, FwMeanPoint *p, Terms *terms)
{
  double       fit[4], slope[4], curve[4], square[4], least[4], above[4], F, dF, ddF;
  FwLabelForms forms = {
    .fit = fit, .fit_slope = slope, .fit_curve = curve, .residual2 = square, .fit_least = least, .fit_above = above};

  PetscFunctionBegin;
  PetscCall(FwSpectrumResolveForms(a->spectrum, a->model->temperature, a->scale * exp(log_order), with_value,
                                   &p->resolvent, &forms));
  p->log_order = log_order;
  for (int i = 0; i < N_PAIR; i++) {
    p->fit[i]        = fit[place[i]];
    p->fit_above[i]  = above[place[i]];
    p->square[i]     = square[place[i]];
    terms->unseen[i] = least[place[i]];
  }
  F                = fit[place[YM]];
  dF               = -slope[place[YM]];
  ddF              = -slope[place[YM]] + 2.0 * curve[place[YM]];
  terms->g[0]      = fit[place[MM]] / a->prior;
  terms->g[1]      = -slope[place[MM]] / a->prior;
  terms->g[2]      = (-slope[place[MM]] + 2.0 * curve[place[MM]]) / a->prior;
  terms->w[0]      = F * F / a->prior;
  terms->w[1]      = 2.0 * F * dF / a->prior;
  terms->w[2]      = 2.0 * (dF * dF + F * ddF) / a->prior;
  terms->fit_slope = slope[place[YY]];
  terms->fit_curve = curve[place[YY]];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- derivatives -------------------------------------------------------------------------------------------- */

/* y.A^-1 y less y.y / T - (m.y)^2 / (T m.m) in the modes that are zero, with x = t + g */
static double FitAbove(FwMeanAction a, double t, double x, const Terms *terms, const FwMeanPoint *p)
{
  const double *above = p->fit_above, y = terms->unseen[YM], m = terms->unseen[MM], prior = a->prior;
  const double  at_least = t + m / prior; /* x for Q -> infinity */
  double        fit      = above[YY] - (2.0 * y + above[YM]) * above[YM] / (prior * x);

  if (m > 0.0) fit += y * (y / (prior * x)) * (above[MM] / (prior * at_least)) + y * (y / m) * (t / at_least);
  return fit;
}

static void FillPoint(FwMeanAction a, double log_shift, PetscBool with_value, const Terms *terms, FwMeanPoint *p)
{
  const double *g = terms->g, *w = terms->w, N = a->width, Q = exp(p->log_order), t = exp(log_shift), x = t + g[0];

  p->log_shift = log_shift;
  p->force[0] =
    -N * Q * expm1(log_shift) + p->resolvent.trace - terms->fit_slope + (g[1] - w[1]) / x + w[0] * g[1] / (x * x);
  p->force[1] = N * (1.0 - Q * t) - g[0] / x + w[0] * t / (x * x);
  p->slope[0] = -N * Q * expm1(log_shift) + p->resolvent.trace_slope - terms->fit_slope + 2.0 * terms->fit_curve +
                (g[2] - w[2]) / x + (2.0 * w[1] * g[1] + w[0] * g[2] - g[1] * g[1]) / (x * x) -
                2.0 * w[0] * g[1] * g[1] / (x * x * x);
  p->slope[1] = -N * Q * t + (w[1] - g[1]) * t / (x * x) - 2.0 * w[0] * t * g[1] / (x * x * x);
  p->slope[2] = -N * Q * t + (g[0] + w[0]) * t / (x * x) - 2.0 * w[0] * t * t / (x * x * x);
  p->value    = with_value
                  ? log_shift - Q * expm1(log_shift) + (p->resolvent.log_det + log1p(g[0] / t) + p->fit[YY] - w[0] / x) / N
                  : NAN;
  p->above    = with_value ? log_shift - Q * expm1(log_shift) +
                            (p->resolvent.log_det + log1p(g[0] / t) + FitAbove(a, t, x, terms, p)) / N
                           : NAN;
  p->size     = N * (1.0 + Q) * (1.0 + t) + p->resolvent.trace + terms->fit_slope + 1.0 + fabs(w[1]) / x +
            w[0] * (fabs(g[1]) + t) / (x * x);
}

PetscErrorCode FwMeanActionEvaluate(FwMeanAction a, double log_order, double log_shift, PetscBool with_value,
                                    FwMeanPoint *point)
{
  Terms terms;

  PetscFunctionBegin;
  PetscCall(Resolve(a, log_order, with_value, point, &terms));
  FillPoint(a, log_shift, with_value, &terms, point);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMeanActionData(FwMeanAction a, double log_order, double b, FwMeanData *data)
{
  Terms       terms;
  FwMeanPoint p;
  double      x, g, w;

  PetscFunctionBegin;
  PetscCall(Resolve(a, log_order, PETSC_TRUE, &p, &terms));
  g           = terms.g[0];
  w           = terms.w[0];
  x           = 1.0 + b * g;
  data->value = INFINITY;
  if (!(x > 0.0)) PetscFunctionReturn(PETSC_SUCCESS);
  data->value = p.resolvent.log_det + log(x) + p.fit[YY] - w * b / x;
  data->order_slope =
    p.resolvent.trace - terms.fit_slope + b * (terms.g[1] - terms.w[1]) / x + w * b * b * terms.g[1] / (x * x);
  data->coefficient_slope = g / x - w / (x * x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The error of m^T A_0^-1 y enters w, and with it the forces, which are to be known to 1e-6 of the width */
PetscErrorCode FwMeanActionCheckResolved(FwMeanAction a, double log_order, double b)
{
  const double     T = a->model->temperature;
  FwSpectrumBounds bounds;
  FwMeanPoint      p;
  Terms            terms;
  double           blur, x, felt;

  PetscFunctionBegin;
  PetscCall(Resolve(a, log_order, PETSC_FALSE, &p, &terms));
  if (terms.unseen[MM] == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwSpectrumGetBounds(a->spectrum, &bounds));
  blur = 8.0 * (double)bounds.n * DBL_EPSILON * sqrt(bounds.label2 * terms.unseen[YY] / (T * a->prior));
  x    = 1.0 / b + terms.g[0];
  felt = blur *
         ((2.0 * sqrt(terms.w[0]) + blur) * (fabs(terms.g[1]) + 1.0 / b) / x +
          fabs(terms.w[1]) / PetscMax(sqrt(terms.w[0]), DBL_MIN)) /
         x;
  PetscCheck(
    felt <= 1e-6 * a->width, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
    "theory_mean: temperature %.6g is so small that round-off in the mean of the activation decides (%.3g of the "
    "forces): set a larger temperature",
    T, felt / a->width);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The root of t (dS/dv) / t = -Q + (1 - 1/N)/t + (1/N)/(t + g) + (w/N)/(t + g)^2, which falls with t: halving in log t */
static double LargestShift(double N, double Q, double g, double w)
{
  double low = log((1.0 - 1.0 / N) / Q), high = low, step = 0.5; /* positive at the start: the first two terms cancel */

  for (; high < 700.0; high += step, step *= 2.0) {
    const double t = exp(high), x = t + g;

    if (-Q + (1.0 - 1.0 / N) / t + 1.0 / (N * x) + w / (N * x * x) < 0.0) break;
  }
  for (int i = 0; i < 200 && high - low > 4.0 * DBL_EPSILON * PetscMax(1.0, fabs(low)); i++) {
    const double middle = 0.5 * (low + high), t = exp(middle), x = t + g;

    *(-Q + (1.0 - 1.0 / N) / t + 1.0 / (N * x) + w / (N * x * x) < 0.0 ? &high : &low) = middle;
  }
  return 0.5 * (low + high);
}

PetscErrorCode FwMeanActionEliminate(FwMeanAction a, double log_order, PetscBool with_value, FwMeanPoint *point)
{
  Terms terms;

  PetscFunctionBegin;
  PetscCall(Resolve(a, log_order, with_value, point, &terms));
  FillPoint(a, LargestShift(a->width, exp(log_order), terms.g[0], terms.w[0]), with_value, &terms, point);
  PetscFunctionReturn(PETSC_SUCCESS);
}
