/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Effective action of several outputs.
 *
 * Everything is done in the eigenbasis of Q. Symbols: o_a = scale q_a, the order parameter in units of the decomposed
 * kernel; E a direction in H and D = Phi o E the one in scale Q that belongs to it.
 *
 * Divided differences of exp at close arguments come from hyperbolic sines and Taylor series: no digits are lost where
 * eigenvalues of Q meet.
 */

#include <finwidth/matrix_action.h>
#include "symmetric.h"

#include <float.h>
#include <math.h>

/* Below, a layer's order parameter counts as zero: at T > 0 none gets there; at T = 0 a readout bias leaves round-off */
static const double lowest_log_order = -30.0;

struct FwMatrixActionImpl {
  FwSpectrum     spectrum;
  const FwModel *model;
  double         scale, width;
  PetscInt       n;
};

PetscErrorCode FwMatrixActionCreate(FwSpectrum spectrum, double scale, const FwModel *model, PetscInt n_output,
                                    FwMatrixAction *action)
{
  FwMatrixAction a;

  PetscFunctionBegin;
  for (PetscInt l = 1; l < model->depth; l++)
    PetscCheck(model->width[l] == model->width[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_width: with several outputs all widths have to be equal, not %.6g and %.6g", model->width[0],
               model->width[l]);
  PetscCall(PetscNew(&a));
  *a = (struct FwMatrixActionImpl){
    .spectrum = spectrum, .model = model, .scale = scale, .width = model->width[0], .n = n_output};
  *action = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixActionDestroy(FwMatrixAction *action)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(*action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt FwMatrixActionSize(FwMatrixAction action)
{
  return action->n;
}

PetscErrorCode FwMatrixActionBounds(FwMatrixAction action, FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(action->spectrum, bounds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwModel *FwMatrixActionModel(FwMatrixAction action)
{
  return action->model;
}

PetscErrorCode FwMatrixPointCreate(PetscInt n, FwMatrixPoint *point)
{
  PetscFunctionBegin;
  point->n = n;
  PetscCall(PetscCalloc3(n, &point->log_order, (size_t)n * n, &point->vector, (size_t)n * n, &point->force));
  PetscCall(FwOutputsResolventCreate(n, &point->resolvent));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixPointDestroy(FwMatrixPoint *point)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(point->log_order, point->vector, point->force));
  PetscCall(FwOutputsResolventDestroy(&point->resolvent));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- small symmetric matrices ------------------------------------------------------------------------------- */

/* c <- op(a) b, all row-major */
static void Multiply(PetscInt n, PetscBool transpose, const double a[], const double b[], double c[])
{
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      double sum = 0.0;

      for (PetscInt k = 0; k < n; k++) sum += (transpose ? a[k * n + i] : a[i * n + k]) * b[k * n + j];
      c[i * n + j] = sum;
    }
}

/* Into the basis whose vectors are the rows of v: v a v^T; and out of it: v^T a v. out may be a */
static PetscErrorCode ChangeBasis(PetscInt n, PetscBool is_into, const double v[], const double a[], double out[])
{
  double *left, *turned;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2((size_t)n * n, &left, (size_t)n * n, &turned));
  Multiply(n, is_into ? PETSC_FALSE : PETSC_TRUE, v, a, left);
  for (PetscInt i = 0; i < n; i++) /* (left v^T)^T = v left^T, or (left v)^T = v^T left^T */
    for (PetscInt j = 0; j < n; j++) turned[j * n + i] = left[i * n + j];
  Multiply(n, is_into ? PETSC_FALSE : PETSC_TRUE, v, turned, left);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) out[i * n + j] = 0.5 * (left[i * n + j] + left[j * n + i]);
  PetscCall(PetscFree2(left, turned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void FwMatrixPack(PetscInt n, const double matrix[], double x[])
{
  for (PetscInt i = 0, k = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) x[k++] = (i == j ? 1.0 : M_SQRT2) * matrix[i * n + j];
}

void FwMatrixUnpack(PetscInt n, const double x[], double matrix[])
{
  for (PetscInt i = 0, k = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) matrix[i * n + j] = matrix[j * n + i] = (i == j ? 1.0 : M_SQRT1_2) * x[k++];
}

/* --- divided differences ------------------------------------------------------------------------------------ */

/* sinh(x) / x */
static double Sinhc(double x)
{
  return fabs(x) < 1e-3 ? 1.0 + x * x / 6.0 * (1.0 + x * x / 20.0) : sinh(x) / x;
}

/* (e^{k a} - e^{k b}) / (a - b) */
static double ExpDifference(double k, double a, double b)
{
  return k * exp(0.5 * k * (a + b)) * Sinhc(0.5 * k * (a - b));
}

/* Second divided difference of exp at three points: a series of complete homogeneous polynomials around their mean, or
   from first differences where the outermost are far apart */
static double ExpSecond(double a, double b, double c)
{
  const double low = PetscMin(a, PetscMin(b, c)), high = PetscMax(a, PetscMax(b, c)), middle = a + b + c - low - high;
  const double mean = (a + b + c) / 3.0, x = low - mean, y = middle - mean, z = high - mean;
  double       h[3] = {1.0, 0.0, 0.0}, sum = 0.5, factorial = 2.0;

  if (high - low > 0.5) return (ExpDifference(1.0, middle, high) - ExpDifference(1.0, low, middle)) / (high - low);
  for (int k = 1; k < 14; k++) { /* h_k = e1 h_{k-1} - e2 h_{k-2} + e3 h_{k-3}, e1 = 0 */
    const double next = -(x * y + y * z + z * x) * h[1] + x * y * z * h[2];

    h[2] = h[1];
    h[1] = h[0];
    h[0] = next;
    factorial *= k + 2.0;
    sum += next / factorial;
  }
  return exp(mean) * sum;
}

/* --- evaluation --------------------------------------------------------------------------------------------- */

/* L tr Q^{1/L} - log det Q */
static double Entropy(FwMatrixAction action, const double h[])
{
  const double depth = (double)action->model->depth;
  double       sum   = 0.0;

  for (PetscInt a = 0; a < action->n; a++) sum += depth * exp(h[a] / depth) - h[a];
  return sum;
}

/* Force in the eigenbasis; sqrt(o_a o_b) R_a.K R_b is what the products of the R_a come to in units of the outputs */
static void FillForce(FwMatrixAction action, const FwMatrixPoint *p, double force[])
{
  const FwOutputsResolvent *r     = &p->resolvent;
  const PetscInt            n     = action->n;
  const double              depth = (double)action->model->depth;

  for (PetscInt a = 0; a < n; a++)
    for (PetscInt b = 0; b < n; b++)
      force[a * n + b] = -action->scale * ExpDifference(1.0, p->log_order[a], p->log_order[b]) * r->gram[a * n + b];
  for (PetscInt a = 0; a < n; a++) force[a * n + a] += action->width * expm1(p->log_order[a] / depth) + r->trace[a];
}

PetscErrorCode FwMatrixActionEvaluate(FwMatrixAction action, const double h[], FwOutputsLevel level, FwMatrixPoint *p)
{
  const PetscInt n   = action->n;
  double         sum = 0.0, *order;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n * n; i++)
    PetscCheck(isfinite(h[i]), PETSC_COMM_SELF, FW_ERR_NUMERICAL, "the order parameters of the outputs overflow");
  PetscCall(FwSymmetricEigen(n, h, p->log_order, p->vector));
  PetscCheck(
    action->model->temperature > 0.0 || p->log_order[0] > lowest_log_order * (double)action->model->depth,
    PETSC_COMM_SELF, FW_ERR_NUMERICAL,
    "the order parameter of a combination of outputs runs to zero (its labels are zero, or a readout bias takes "
    "them over): set a larger temperature");
  PetscCall(PetscMalloc1(n, &order));
  for (PetscInt a = 0; a < n; a++) order[a] = action->scale * exp(p->log_order[a]);
  PetscCall(
    FwSpectrumResolveOutputs(action->spectrum, action->model->temperature, order, p->vector, level, &p->resolvent));
  PetscCall(PetscFree(order));
  for (PetscInt a = 0; a < n; a++) sum += p->resolvent.log_det[a] + p->resolvent.fit[a];
  p->value = Entropy(action, p->log_order) + sum / action->width;
  if (level == FW_OUTPUTS_VALUE) PetscFunctionReturn(PETSC_SUCCESS);
  FillForce(action, p, p->force);
  PetscCall(ChangeBasis(n, PETSC_FALSE, p->vector, p->force, p->force));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwMatrixActionRoundOff(FwMatrixAction action, const FwMatrixPoint *p)
{
  double           largest = 1.0;
  FwSpectrumBounds bounds  = {0};

  (void)FwSpectrumGetBounds(action->spectrum, &bounds);
  for (PetscInt a = 0; a < action->n; a++)
    largest = PetscMax(largest, action->width * fabs(expm1(p->log_order[a])) + p->resolvent.trace[a] +
                                  action->scale * exp(p->log_order[a]) * p->resolvent.gram[a * action->n + a]);
  return DBL_EPSILON * (100.0 + (double)bounds.n) * largest * (double)action->n;
}

/* --- second derivative -------------------------------------------------------------------------------------- */

/* Divided difference of tr A^-1 K in o; the Newton matrix may be known less well than the force */
static double TraceDifference(const FwMatrixPoint *p, double scale, PetscInt a, PetscInt b)
{
  const double  ha = p->log_order[a], hb = p->log_order[b], oa = scale * exp(ha), ob = scale * exp(hb);
  const double *trace = p->resolvent.trace, *slope = p->resolvent.trace_slope;

  if (fabs(ha - hb) < 1e-4) return 0.5 * ((slope[a] - trace[a]) / (oa * oa) + (slope[b] - trace[b]) / (ob * ob));
  return (trace[a] / oa - trace[b] / ob) / (oa - ob);
}

/* Divided difference in q of q^{1/L - 1} - 1/q */
static double EntropyDifference(double depth, double ha, double hb)
{
  const double power = depth == 1.0 ? 0.0 : ExpDifference(1.0 / depth - 1.0, ha, hb) / ExpDifference(1.0, ha, hb);

  return power + exp(-ha - hb);
}

/* X + X^T with X_cb = sum_a tensor[b][c][a] D_ab */
static void AddFitCurve(PetscInt n, const double tensor[], const double d[], double out[])
{
  for (PetscInt b = 0; b < n; b++)
    for (PetscInt c = 0; c < n; c++) {
      double sum = 0.0;

      for (PetscInt a = 0; a < n; a++) sum += tensor[(b * n + c) * n + a] * d[a * n + b];
      out[c * n + b] += sum;
      out[b * n + c] += sum;
    }
}

/* The derivative of Phi: sum_a f[a, x, y] (E_xa G_ay + G_xa E_ay), f the second divided difference of scale e^h */
static void AddMapCurve(FwMatrixAction action, const FwMatrixPoint *p, const double e[], const double g[], double out[])
{
  const PetscInt n = action->n;
  const double  *h = p->log_order;

  for (PetscInt x = 0; x < n; x++)
    for (PetscInt y = 0; y <= x; y++) {
      double sum = 0.0;

      for (PetscInt a = 0; a < n; a++)
        sum +=
          action->scale * ExpSecond(h[a], h[x], h[y]) * (e[x * n + a] * g[a * n + y] + g[x * n + a] * e[a * n + y]);
      out[x * n + y] += sum;
      if (x != y) out[y * n + x] += sum;
    }
}

PetscErrorCode FwMatrixActionCurve(FwMatrixAction action, const FwMatrixPoint *p, const double direction[],
                                   double out[])
{
  const PetscInt n    = action->n;
  const size_t   size = (size_t)n * n;
  const double  *h = p->log_order, scale = action->scale, depth = (double)action->model->depth;
  double        *e, *d, *g, *curve;

  PetscFunctionBegin;
  PetscCall(PetscCalloc4(size, &e, size, &d, size, &g, size, &curve));
  PetscCall(ChangeBasis(n, PETSC_TRUE, p->vector, direction, e));
  FillForce(action, p, g);
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt b = 0; b < n; b++) {
      const double phi = scale * ExpDifference(1.0, h[a], h[b]);

      d[a * n + b] = phi * e[a * n + b];
      g[a * n + b] /= phi;
    }
  AddFitCurve(n, p->resolvent.tensor, d, curve);
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt b = 0; b < n; b++) {
      const double phi = scale * ExpDifference(1.0, h[a], h[b]);

      curve[a * n + b] += TraceDifference(p, scale, a, b) * d[a * n + b];
      curve[a * n + b] += action->width * EntropyDifference(depth, h[a], h[b]) / (scale * scale) * d[a * n + b];
      curve[a * n + b] *= phi;
    }
  AddMapCurve(action, p, e, g, curve);
  PetscCall(ChangeBasis(n, PETSC_FALSE, p->vector, curve, out));
  PetscCall(PetscFree4(e, d, g, curve));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- descent ------------------------------------------------------------------------------------------------ */

static double PositiveRoot(double x)
{
  return sqrt(PetscMax(x, 0.0));
}

static double InverseRoot(double x)
{
  return 1.0 / sqrt(PetscMax(x, DBL_MIN));
}

/* X^2 = X + C has the positive solution 1/2 + sqrt(1/4 + C) */
static double SolveQuadratic(double c)
{
  return 0.5 + sqrt(0.25 + PetscMax(c, 0.0));
}

static double LogPositive(double x)
{
  return log(PetscMax(x, DBL_MIN));
}

/* Q B Q = Q + M through X = B^{1/2} Q B^{1/2}: X^2 = X + B^{1/2} M B^{1/2} */
static PetscErrorCode SolveRiccati(PetscInt n, const double b[], const double m[], double q[])
{
  const size_t size = (size_t)n * n;
  double      *root, *work;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(size, &root, size, &work));
  PetscCall(FwSymmetricApply(n, b, PositiveRoot, root));
  PetscCall(FwSymmetricSandwich(n, root, m, work));
  PetscCall(FwSymmetricApply(n, work, SolveQuadratic, work));
  PetscCall(FwSymmetricApply(n, b, InverseRoot, root));
  PetscCall(FwSymmetricSandwich(n, root, work, q));
  PetscCall(PetscFree2(root, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixActionDescend(FwMatrixAction action, const FwMatrixPoint *p, double h[])
{
  const PetscInt            n     = action->n;
  const FwOutputsResolvent *r     = &p->resolvent;
  const double              depth = (double)action->model->depth, width = action->width;
  double                   *b, *m;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2((size_t)n * n, &b, (size_t)n * n, &m));
  for (PetscInt a = 0; a < n; a++) {
    b[a * n + a] = exp((1.0 / depth - 1.0) * p->log_order[a]) + r->trace[a] * exp(-p->log_order[a]) / width;
    for (PetscInt c = 0; c < n; c++)
      m[a * n + c] = action->scale * exp(p->log_order[a] + p->log_order[c]) * r->gram[a * n + c] / width;
  }
  PetscCall(SolveRiccati(n, b, m, h));
  PetscCall(FwSymmetricApply(n, h, LogPositive, h));
  PetscCall(ChangeBasis(n, PETSC_FALSE, p->vector, h, h));
  PetscCall(PetscFree2(b, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- what is known of the minima ---------------------------------------------------------------------------- */

/* log q of the positive root t = q^{1/L} of t^{L+1} - (1 - alpha) t^L - alpha g = 0, which is the only one (Descartes) */
static double ColdRoot(double depth, double alpha, double g)
{
  double low = -700.0, high = log(2.0 + alpha + alpha * g);

  while (high - low > 4.0 * DBL_EPSILON * PetscMax(1.0, fabs(high))) {
    const double t = 0.5 * (low + high);

    if (t <= low || t >= high) break;
    /* divided by t^L */
    *(exp(t) - (1.0 - alpha) - alpha * g * exp(-depth * t) > 0.0 ? &high : &low) = t;
  }
  return 0.5 * depth * (low + high);
}

PetscErrorCode FwMatrixActionCold(FwMatrixAction action, double h[])
{
  const PetscInt   n = action->n;
  FwSpectrumBounds bounds;
  FwMatrixPoint    p;
  double          *zero, *diagonal, alpha;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(action->spectrum, &bounds));
  alpha = (double)bounds.n / action->width;
  PetscCall(FwMatrixPointCreate(n, &p));
  PetscCall(PetscCalloc2((size_t)n * n, &zero, (size_t)n * n, &diagonal));
  PetscCall(FwMatrixActionEvaluate(action, zero, FW_OUTPUTS_SLOPE, &p));
  /* at T = 0 and Q = 1: Y^T K^-1 Y = R^T K R, in units of the model's kernel */
  for (PetscInt i = 0; i < n * n; i++) p.resolvent.gram[i] *= action->scale / (double)bounds.n;
  PetscCall(FwSymmetricEigen(n, p.resolvent.gram, p.log_order, p.force));
  for (PetscInt a = 0; a < n; a++) {
    PetscCheck(alpha < 1.0 || p.log_order[a] > 0.0, PETSC_COMM_WORLD, FW_ERR_NUMERICAL,
               "a combination of outputs has zero labels at T = 0 with more examples than hidden units: Q is singular");
    diagonal[a * n + a] = ColdRoot((double)action->model->depth, alpha, PetscMax(p.log_order[a], 0.0));
  }
  PetscCall(ChangeBasis(n, PETSC_FALSE, p.force, diagonal, h));
  PetscCall(ChangeBasis(n, PETSC_FALSE, p.vector, h, h)); /* the basis of the evaluation: that of the zero matrix */
  PetscCall(PetscFree2(zero, diagonal));
  PetscCall(FwMatrixPointDestroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMatrixActionIsUnique(FwMatrixAction action, PetscBool *is_unique)
{
  const FwModel   *model = action->model;
  FwSpectrumBounds bounds;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(action->spectrum, &bounds));
  *is_unique = PETSC_FALSE;
  if (model->temperature == 0.0 && model->bias[model->depth] == 0.0) *is_unique = PETSC_TRUE;
  if (model->depth == 1 && (double)bounds.rank <= action->width) *is_unique = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Along an eigenvector of a stationary Q: N (q^{1/L} - 1) = R_a.qK R_a - tr A_a^-1 qK, between -min(rank, q tr K / T) and
   |z_a|^2 / (4 T) */
PetscErrorCode FwMatrixActionBracket(FwMatrixAction action, double *low, double *high)
{
  const FwModel   *model = action->model;
  const double     depth = (double)model->depth;
  FwSpectrumBounds bounds;
  double           by_noise, trace;

  PetscFunctionBegin;
  PetscCall(FwSpectrumGetBounds(action->spectrum, &bounds));
  by_noise = model->temperature > 0.0 ? bounds.label2 / (4.0 * model->temperature) : INFINITY;
  if (model->bias[model->depth] == 0.0 || bounds.rank == bounds.n)
    by_noise = PetscMin(by_noise, bounds.inverse / action->scale);
  *high = depth * log1p(PetscMin(by_noise, 1e12) / action->width);
  trace = action->scale * bounds.trace;
  *low  = 0.0;
  while (*low > -600.0) {
    const double least =
      PetscMin((double)bounds.rank, exp(*low) * trace / PetscMax(model->temperature, DBL_MIN)) / action->width;

    if (expm1(*low / depth) + least <= 0.0) break;
    *low = *low * 1.3 - 0.1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
