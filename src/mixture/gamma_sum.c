/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Inversion of the characteristic function along the line of steepest descent through the saddle.
 *
 * Symbols: K the cumulant function, h the tilt (real part of the line), u along the line, phi = exp(K(h+iu) - K(h)).
 * The trapezoid rule of step 2 pi / p adds to the tilted density its copies at distances p, 2 p, ..; p = 45 deviations
 * puts them below e^-45, the exponential tails of small shapes included.
 */

#include "gamma_sum.h"

#include <complex.h>
#include <gsl/gsl_sf_gamma.h>
#include <gsl/gsl_sf_psi.h>
#include <math.h>

#ifndef CMPLX /* glibc 2.36 has it for GCC alone */
  #define CMPLX(x, y) __builtin_complex((double)(x), (double)(y))
#endif

enum { NODE_MAX = 1 << 20 };

static const double period_deviations = 45.0;
static const double negligible        = 1e-18; /* of phi, which is 1 at u = 0 */
static const double large_shape       = 16.0;  /* from here on Stirling's series has round-off accuracy */
static const double smallest_shape = 0.02; /* a tilt leaves this much of the smallest shape: nodes grow like 1/shape */

/* --- the sum ------------------------------------------------------------------------------------------------ */

PetscErrorCode FwGammaSumCreate(PetscInt n_term, FwGammaSum *sum)
{
  PetscFunctionBegin;
  *sum = (FwGammaSum){0};
  PetscCall(PetscMalloc1(n_term, &sum->term));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGammaSumDestroy(FwGammaSum *sum)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(sum->term));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwGammaSumAdd(FwGammaSum *sum, double width, double shift, int sign)
{
  const double half = 0.5 * width;

  sum->drift += sign * log1p(-shift / half);
  for (PetscInt j = 0; j < sum->n_term; j++)
    if (sum->term[j].shape == half - shift && sum->term[j].sign == sign) {
      sum->term[j].count += 1.0;
      return;
    }
  sum->term[sum->n_term++] = (FwGammaTerm){.shape = half - shift, .sign = sign, .count = 1.0};
}

/* --- cumulants ---------------------------------------------------------------------------------------------- */

/* Stirling's series beyond the leading terms of log Gamma(x), |x| >= 16 */
static double complex StirlingRest(double complex x)
{
  const double complex r = 1.0 / x, r2 = r * r;

  return r * (1.0 / 12.0 + r2 * (-1.0 / 360.0 + r2 * (1.0 / 1260.0 + r2 * (-1.0 / 1680.0 + r2 * (1.0 / 1188.0)))));
}

/* (1 + w) log(1 + w) - w */
static double complex Entropy(double complex w)
{
  double complex sum = 0.0, power = w;

  if (cabs(w) > 0.1) return (1.0 + w) * clog(1.0 + w) - w;
  for (int k = 2; k < 18; k++) {
    power *= w;
    sum += (k % 2 ? -1.0 : 1.0) * power / (k * (k - 1.0));
  }
  return sum;
}

/* log Gamma(shape + z) - log Gamma(shape) - z log(shape), modulo 2 pi i */
static double complex LogRatio(double shape, double complex z)
{
  gsl_sf_result modulus, phase;

  if (shape >= large_shape && shape + creal(z) >= large_shape) {
    const double complex w = z / shape;

    return shape * Entropy(w) - 0.5 * clog(1.0 + w) + StirlingRest(shape + z) - StirlingRest(shape);
  }
  gsl_sf_lngamma_complex_e(shape + creal(z), cimag(z), &modulus, &phase);
  return CMPLX(modulus.val - lgamma(shape), phase.val) - z * log(shape);
}

double FwLogGammaRatio(double shape, double t)
{
  return creal(LogRatio(shape, t));
}

static double complex Cumulant(const FwGammaSum *sum, double complex t)
{
  double complex k = sum->drift * t + 0.5 * sum->variance * t * t;

  for (PetscInt j = 0; j < sum->n_term; j++)
    k += sum->term[j].count * LogRatio(sum->term[j].shape, sum->term[j].sign * t);
  return k;
}

/* K'(t) and K''(t) */
static void Slopes(const FwGammaSum *sum, double t, double *first, double *second)
{
  *first  = sum->drift + sum->variance * t;
  *second = sum->variance;
  for (PetscInt j = 0; j < sum->n_term; j++) {
    const FwGammaTerm *term = &sum->term[j];
    const double       x    = term->shape + term->sign * t;

    *first += term->sign * term->count * (gsl_sf_psi(x) - log(term->shape));
    *second += term->count * gsl_sf_psi_1(x);
  }
}

void FwGammaSumMoments(const FwGammaSum *sum, double *mean, double *variance)
{
  Slopes(sum, 0.0, mean, variance);
}

/* --- the tilt ----------------------------------------------------------------------------------------------- */

/* Where K is finite, less a margin */
static void Domain(const FwGammaSum *sum, double *low, double *high)
{
  *low  = -1e12;
  *high = 1e12;
  for (PetscInt j = 0; j < sum->n_term; j++) {
    const double reach = sum->term[j].shape - PetscMin(smallest_shape, 0.1 * sum->term[j].shape);

    if (sum->term[j].sign > 0) *low = PetscMax(*low, -reach);
    if (sum->term[j].sign < 0) *high = PetscMin(*high, reach);
  }
}

double FwGammaSumReach(const FwGammaSum *sum)
{
  double mean, variance, first, second;

  for (PetscInt j = 0; j < sum->n_term; j++)
    if (sum->term[j].sign < 0) return INFINITY;
  FwGammaSumMoments(sum, &mean, &variance);
  Slopes(sum, 1e5 + 200.0 / sqrt(variance), &first, &second);
  return first;
}

/* log of Chernoff's bound at the point x = K'(t) of the density tilted by `from` */
static double LogChernoff(const FwGammaSum *sum, double from, double t)
{
  double first, second;

  Slopes(sum, t, &first, &second);
  return creal(Cumulant(sum, t)) - creal(Cumulant(sum, from)) - (t - from) * first;
}

/* The bound falls as the tilt goes away from `from`; beyond the end of the domain it falls along a line */
double FwGammaSumEnd(const FwGammaSum *sum, double from, PetscBool upper, double log_least)
{
  double low, high, last, inner = 0.0, outer, first, second; /* inner and outer: how far from `from` */

  Slopes(sum, from, &first, &second);
  Domain(sum, &low, &high);
  last  = (upper ? high : low) - from;
  outer = copysign(PetscMin(fabs(last), 1.0 / sqrt(second)), last);
  while (outer != last && LogChernoff(sum, from, from + outer) > log_least)
    outer = copysign(PetscMin(fabs(last), 2.0 * fabs(outer)), last);
  if (LogChernoff(sum, from, from + outer) > log_least)
    return (creal(Cumulant(sum, from + outer)) - creal(Cumulant(sum, from)) - log_least) / outer;
  for (int i = 0; i < 20; i++) {
    const double middle = 0.5 * (inner + outer);

    *(LogChernoff(sum, from, from + middle) > log_least ? &inner : &outer) = middle;
  }
  Slopes(sum, from + outer, &first, &second);
  return first;
}

/* h with K'(h) = x, or the end of the domain; K' rises. Newton steps that leave the bracket are halved. A few digits are
   enough: any tilt gives the same density */
static double FindTilt(const FwGammaSum *sum, double x)
{
  double low, high, t = 0.0;

  Domain(sum, &low, &high);
  for (int i = 0; i < 200; i++) {
    double first, second, next;

    Slopes(sum, t, &first, &second);
    if (fabs(first - x) < 1e-6 * sqrt(second)) break;
    if (first > x)
      high = t;
    else
      low = t;
    next = t + (x - first) / second;
    if (!(next > low && next < high)) next = 0.5 * (t + (next <= low ? low : high));
    if (next == t) break;
    t = next;
  }
  return t;
}

/* --- the line ----------------------------------------------------------------------------------------------- */

/* phi along the line, at u = k step */
typedef struct {
  double          tilt, log_scale, step; /* log_scale = K(h) */
  PetscInt        n;
  double complex *phi; /* [n], phi[0] = 1 */
} Line;

static PetscErrorCode CreateLine(const FwGammaSum *sum, double tilt, double shortest_period, Line *line)
{
  PetscInt room = 256;
  double   first, second;

  PetscFunctionBegin;
  Slopes(sum, tilt, &first, &second);
  *line = (Line){.tilt      = tilt,
                 .log_scale = creal(Cumulant(sum, tilt)),
                 .step      = 2.0 * M_PI / PetscMax(shortest_period, period_deviations * sqrt(second))};
  PetscCall(PetscMalloc1(room, &line->phi));
  while (!line->n || cabs(line->phi[line->n - 1]) > negligible) {
    PetscCheck(line->n < NODE_MAX, PETSC_COMM_SELF, FW_ERR_NUMERICAL,
               "the density of the mixing law needs more than %d points of its transform", NODE_MAX);
    if (line->n == room) PetscCall(PetscRealloc(sizeof *line->phi * (room *= 2), &line->phi));
    line->phi[line->n] = cexp(Cumulant(sum, CMPLX(tilt, line->n * line->step)) - line->log_scale);
    line->n++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points that one line serves: within some two deviations, as tilted for their middle. Far right, where laws fall like
   exp(-e^x), that is much less than the distance of neighbours. */
static PetscInt CountServed(const FwGammaSum *sum, PetscInt n, const double x[], double *tilt)
{
  double first, second;

  for (;; n = (n + 1) / 2) {
    *tilt = FindTilt(sum, 0.5 * (x[0] + x[n - 1]));
    Slopes(sum, *tilt, &first, &second);
    if (n == 1 || x[n - 1] - x[0] < 2.0 * sqrt(second)) return n;
  }
}

/* Where the tilt is at its end and round-off is all that is left, e^-1000 or so, Chernoff's bound */
static double LogIntegral(const Line *line, double x, double total)
{
  const double bound = line->log_scale - line->tilt * x;

  return total > 0.0 ? bound + log(total * line->step / (2.0 * M_PI)) : bound;
}

static PetscErrorCode DensityOnLine(const Line *line, double x, double value[2])
{
  double total = 1.0, slope = 0.0;

  PetscFunctionBegin;
  for (PetscInt k = 1; k < line->n; k++) {
    const double         u    = k * line->step;
    const double complex term = line->phi[k] * cexp(CMPLX(0.0, -u * x));

    total += 2.0 * creal(term);
    slope += 2.0 * u * cimag(term);
  }
  value[0] = LogIntegral(line, x, total);
  value[1] = total > 0.0 ? slope / total - line->tilt : -line->tilt;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwGammaSumDensity(const FwGammaSum *sum, PetscInt n, const double x[], double value[])
{
  PetscInt served;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i += served) {
    double tilt;
    Line   line;

    served = CountServed(sum, n - i, x + i, &tilt);
    PetscCall(CreateLine(sum, tilt, 0.0, &line));
    for (PetscInt k = i; k < i + served; k++) PetscCall(DensityOnLine(&line, x[k], value + 2 * k));
    PetscCall(PetscFree(line.phi));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TailOnLine(const Line *line, double x, double *value)
{
  double total = 1.0 / fabs(line->tilt);

  PetscFunctionBegin;
  for (PetscInt k = 1; k < line->n; k++) {
    const double u = k * line->step;

    total += 2.0 * copysign(1.0, line->tilt) * creal(line->phi[k] * cexp(CMPLX(0.0, -u * x)) / CMPLX(line->tilt, u));
  }
  *value = LogIntegral(line, x, total);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On a line right of zero the integral is P(X > x), left of it -P(X <= x); copies of the pole at zero, at the distance
   |h|, fall like e^(-p |h|) */
PetscErrorCode FwGammaSumTail(const FwGammaSum *sum, PetscBool upper, PetscInt n, const double x[], double value[])
{
  double   mean, variance, low, high, least;
  PetscInt served;

  PetscFunctionBegin;
  FwGammaSumMoments(sum, &mean, &variance);
  Domain(sum, &low, &high);
  least = PetscMin(0.5 / sqrt(variance), 0.5 * (upper ? high : -low));
  for (PetscInt i = 0; i < n; i += served) {
    double tilt;
    Line   line;

    served = CountServed(sum, n - i, x + i, &tilt);
    tilt   = upper ? PetscMax(tilt, least) : PetscMin(tilt, -least);
    PetscCall(CreateLine(sum, tilt, period_deviations / fabs(tilt), &line));
    for (PetscInt k = i; k < i + served; k++) PetscCall(TailOnLine(&line, x[k], value + k));
    PetscCall(PetscFree(line.phi));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
