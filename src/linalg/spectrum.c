/** @file
 * One decomposition of a kernel, in the eigenbasis.
 *
 * Symbols: k_i eigenvalues, d_i = T + Q k_i, w = U^T y, h = U^T 1, Z = U^T K_cross. The readout bias enters through
 * Sherman and Morrison: with A_0 = T + Q K, a = A_0^-1 1 and sigma = s^2 / (1 + s^2 1^T a),
 * A^-1 = A_0^-1 - sigma a a^T.
 */

#include <finwidth/spectrum.h>

#include <float.h>
#include <math.h>

struct FwSpectrumImpl {
  FwGrid   grid;
  PetscInt n, rank, n_test;
  double  *k;           /* [P] ascending, zero modes exactly zero */
  double  *w, *h;       /* [P] labels and ones in the eigenbasis */
  double   bias;        /* s^2 */
  double   trace;       /* tr K */
  FwMatrix vectors;     /* U */
  FwMatrix test;        /* Z, P x P_t */
  double  *test_kernel; /* [P_t] */
};

/* --- making it ---------------------------------------------------------------------------------------------- */

static PetscErrorCode CleanModes(FwSpectrum s)
{
  const double largest = PetscMax(s->k[s->n - 1], 0.0), floor_value = 8.0 * s->n * DBL_EPSILON * largest;

  PetscFunctionBegin;
  /* round-off of the decomposition itself is of the order of the floor: only what is far below it is an error */
  PetscCheck(s->k[0] >= -100.0 * floor_value - DBL_MIN, FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel has the negative eigenvalue %g beside the largest, %g", s->k[0], largest);
  for (PetscInt i = 0; i < s->n; i++) {
    s->trace += s->k[i];
    if (s->k[i] < floor_value || s->k[i] <= 0.0)
      s->k[i] = 0.0;
    else
      s->rank++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumCreate(FwMatrix *kernel, FwSpectrum *spectrum)
{
  FwSpectrum s;

  PetscFunctionBegin;
  PetscCall(PetscNew(&s));
  s->grid = FwMatrixGrid(*kernel);
  PetscCall(FwMatrixGetSize(*kernel, &s->n, NULL, NULL, NULL));
  PetscCall(PetscCalloc3(s->n, &s->k, s->n, &s->w, s->n, &s->h));
  PetscCall(FwMatrixEigen(kernel, s->k, &s->vectors));
  PetscCall(CleanModes(s));
  *spectrum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rotation keeps lengths. ScaLAPACK can return vectors that are none without an error: this costs nothing. */
static PetscErrorCode CheckRotation(FwSpectrum s, const double y[])
{
  double before = 0.0, after = 0.0, ones = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < s->n; i++) {
    before += y[i] * y[i];
    after += s->w[i] * s->w[i];
    ones += s->h[i] * s->h[i];
  }
  PetscCheck(fabs(after - before) <= 1e-10 * before && fabs(ones - s->n) <= 1e-10 * s->n, FwGridComm(s->grid),
             PETSC_ERR_LIB, "ScaLAPACK returned eigenvectors that are not orthogonal (%g)", fabs(ones - s->n) / s->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumSetLabels(FwSpectrum s, const double y[], double bias)
{
  double     *both, *projected;
  PetscMPIInt count;

  PetscFunctionBegin;
  s->bias = bias;
  PetscCall(PetscMPIIntCast(2 * s->n, &count));
  PetscCall(PetscMalloc2(count, &both, count, &projected));
  for (PetscInt i = 0; i < s->n; i++) {
    both[i]        = y[i];
    both[s->n + i] = 1.0;
  }
  PetscCall(FwMatrixColumnSums(s->vectors, 1, 2, both, projected));
  /* decisions are taken on these numbers: every rank must have the same bits */
  PetscCallMPI(MPI_Bcast(projected, count, MPI_DOUBLE, 0, FwGridComm(s->grid)));
  PetscCall(PetscArraycpy(s->w, projected, s->n));
  PetscCall(PetscArraycpy(s->h, projected + s->n, s->n));
  PetscCall(PetscFree2(both, projected));
  PetscCall(CheckRotation(s, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumSetTest(FwSpectrum s, FwMatrix *cross, const double diagonal[])
{
  PetscFunctionBegin;
  PetscCall(FwMatrixGetSize(*cross, NULL, &s->n_test, NULL, NULL));
  PetscCall(FwMatrixDestroy(&s->test));
  PetscCall(PetscFree(s->test_kernel));
  PetscCall(FwMatrixCreate(s->grid, s->n, s->n_test, &s->test));
  PetscCall(FwMatrixMultiply(PETSC_TRUE, 1.0, s->vectors, *cross, s->test));
  PetscCall(FwMatrixDestroy(cross));
  PetscCall(PetscMalloc1(s->n_test, &s->test_kernel));
  PetscCall(PetscArraycpy(s->test_kernel, diagonal, s->n_test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumGetBounds(FwSpectrum s, FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  *bounds = (FwSpectrumBounds){.n = s->n, .rank = s->rank, .trace = s->trace};
  for (PetscInt i = 0; i < s->n; i++) {
    bounds->label2 += s->w[i] * s->w[i];
    if (s->k[i] > 0.0) bounds->inverse += s->w[i] * s->w[i] / s->k[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumDestroy(FwSpectrum *spectrum)
{
  FwSpectrum s = *spectrum;

  PetscFunctionBegin;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwMatrixDestroy(&s->vectors));
  PetscCall(FwMatrixDestroy(&s->test));
  PetscCall(PetscFree(s->test_kernel));
  PetscCall(PetscFree3(s->k, s->w, s->h));
  PetscCall(PetscFree(*spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one (T, Q) --------------------------------------------------------------------------------------------- */

/* Sum of logarithms with one logarithm for many factors: the product is kept as mantissa and exponent */
static double SumLogs(PetscInt n, const double k[], double temperature, double order)
{
  double mantissa = 1.0;
  long   exponent = 0;

  for (PetscInt i = 0; i < n; i++) {
    int shift;

    mantissa = frexp(mantissa * (temperature + order * k[i]), &shift);
    exponent += shift;
  }
  return log(mantissa) + (double)exponent * M_LN2;
}

/* Dot products with a = A_0^-1 1 that the rank-one term needs */
typedef struct {
  double ones, label, slope, curve; /* 1.a, y.a, a.QK.a, a.QK A_0^-1 QK.a */
  double label_slope, label_curve;  /* a.QK.alpha_0, a.QK A_0^-1 QK.alpha_0 */
  double square, cross;             /* a.a, a.alpha_0 */
} BiasSums;

static void SumModes(FwSpectrum s, double temperature, double order, FwResolvent *r)
{
  for (PetscInt i = 0; i < s->n; i++) {
    const double qk = order * s->k[i], inverse = 1.0 / (temperature + qk), p = qk * inverse;
    const double fit = s->w[i] * s->w[i] * inverse;

    r->trace += p;
    r->trace_slope += p * temperature * inverse;
    r->fit += fit;
    r->fit_slope += p * fit;
    r->fit_curve += p * p * fit;
    r->residual2 += fit * inverse;
  }
}

static BiasSums SumBias(FwSpectrum s, double temperature, double order)
{
  BiasSums b = {0};

  for (PetscInt i = 0; i < s->n; i++) {
    const double qk = order * s->k[i], inverse = 1.0 / (temperature + qk), p = qk * inverse;
    const double hh = s->h[i] * s->h[i] * inverse, hw = s->h[i] * s->w[i] * inverse;

    b.ones += hh;
    b.label += hw;
    b.slope += p * hh;
    b.curve += p * p * hh;
    b.label_slope += p * hw;
    b.label_curve += p * p * hw;
    b.square += hh * inverse;
    b.cross += hw * inverse;
  }
  return b;
}

/* alpha = alpha_0 - c a with c = sigma y.a; every form below is that of A_0 plus the rank-one terms */
static void AddBias(FwSpectrum s, double temperature, double order, FwResolvent *r)
{
  const BiasSums b     = SumBias(s, temperature, order);
  const double   sigma = s->bias / (1.0 + s->bias * b.ones), c = sigma * b.label;
  const double   slope_dot = b.label_slope - c * b.slope; /* a.QK.alpha */

  r->trace -= sigma * b.slope;
  r->trace_slope += -sigma * b.slope + 2.0 * sigma * b.curve - PetscSqr(sigma * b.slope);
  r->fit -= c * b.label;
  r->fit_slope += -2.0 * c * b.label_slope + c * c * b.slope;
  r->fit_curve += -2.0 * c * b.label_curve + c * c * b.curve - sigma * PetscSqr(slope_dot);
  r->residual2 += -2.0 * c * b.cross + c * c * b.square;
  r->trace_bias = sigma * b.ones;
  r->log_det += log1p(s->bias * b.ones);
}

PetscErrorCode FwSpectrumResolve(FwSpectrum s, double temperature, double order, PetscBool with_log_det,
                                 FwResolvent *resolvent)
{
  PetscFunctionBegin;
  PetscCheck(temperature > 0.0 || s->rank == s->n, FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel has rank %" PetscInt_FMT " of %" PetscInt_FMT
             ": there is no solution at T = 0, set a temperature > 0",
             s->rank, s->n);
  *resolvent = (FwResolvent){0};
  SumModes(s, temperature, order, resolvent);
  if (with_log_det) resolvent->log_det = SumLogs(s->n, s->k, temperature, order);
  if (s->bias > 0.0) AddBias(s, temperature, order, resolvent);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

/* Weights of the modes at one Q: alpha and, for the bias, a = A_0^-1 1 / (1 + s^2 1.A_0^-1 1) = A^-1 1 */
typedef struct {
  double *alpha, *ones; /* [P] each */
  double  alpha_sum;    /* 1.alpha */
  double  ones_sum;     /* 1.A^-1 1 */
} Modes;

static void FillModes(FwSpectrum s, double temperature, double order, Modes *modes)
{
  const BiasSums b     = s->bias > 0.0 ? SumBias(s, temperature, order) : (BiasSums){0};
  const double   sigma = s->bias / (1.0 + s->bias * b.ones), c = sigma * b.label;

  for (PetscInt i = 0; i < s->n; i++) {
    const double inverse = 1.0 / (temperature + order * s->k[i]);

    modes->alpha[i] = (s->w[i] - c * s->h[i]) * inverse;
    modes->ones[i]  = s->h[i] * inverse / (1.0 + s->bias * b.ones);
  }
  modes->alpha_sum = b.label - c * b.ones;
  modes->ones_sum  = b.ones / (1.0 + s->bias * b.ones);
}

/* Mean at each node from Z^T alpha, and the bias' part of the variance from Z^T A^-1 1 */
static void AddNode(FwSpectrum s, double order, double weight, const Modes *modes, const double z_alpha[],
                    const double z_ones[], double mean[], FwPosterior *posterior)
{
  /* k* A^-1 k* = Q^2 z A_0^-1 z [done elsewhere] - Q^2 sigma (z.a)^2 + 2 s^2 Q z.A^-1 1 + s^4 1.A^-1 1, and
     sigma (z.a)^2 = (z.A^-1 1)^2 s^2 (1 + s^2 1.A_0^-1 1) with 1 + s^2 1.A_0^-1 1 = 1 / (1 - s^2 1.A^-1 1) */
  const double bias = s->bias, gain = bias / (1.0 - bias * modes->ones_sum);

  for (PetscInt t = 0; t < s->n_test; t++) {
    mean[t] = order * z_alpha[t] + bias * modes->alpha_sum;
    posterior->mean[t] += weight * mean[t];
    posterior->within[t] += weight * (order * s->test_kernel[t] + bias);
    if (bias > 0.0)
      posterior->within[t] -=
        weight * (2.0 * bias * order * z_ones[t] + bias * bias * modes->ones_sum - gain * PetscSqr(order * z_ones[t]));
  }
}

static PetscErrorCode SubtractExplained(FwSpectrum s, double temperature, PetscInt n, const double order[],
                                        const double weight[], double within[])
{
  double *mode, *explained;

  PetscFunctionBegin;
  PetscCall(PetscCalloc2(s->n, &mode, s->n_test, &explained));
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt i = 0; i < s->n; i++) mode[i] += weight[c] * order[c] * order[c] / (temperature + order[c] * s->k[i]);
  PetscCall(FwMatrixColumnSums(s->test, 2, 1, mode, explained));
  for (PetscInt t = 0; t < s->n_test; t++) within[t] -= explained[t];
  PetscCall(PetscFree2(mode, explained));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between-node variance in a second pass over the kept means: no cancellation of large squares */
static void AddBetween(FwSpectrum s, PetscInt n, const double weight[], const double mean[], FwPosterior *posterior)
{
  for (PetscInt t = 0; t < s->n_test; t++) posterior->between[t] = 0.0;
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt t = 0; t < s->n_test; t++)
      posterior->between[t] += weight[c] * PetscSqr(mean[t + (size_t)c * s->n_test] - posterior->mean[t]);
}

PetscErrorCode FwSpectrumPredict(FwSpectrum s, double temperature, PetscInt n, const double order[],
                                 const double weight[], FwPosterior *posterior)
{
  const PetscInt n_column = s->bias > 0.0 ? 2 * n : n;
  double        *column, *sum, *mean;
  Modes         *modes;

  PetscFunctionBegin;
  if (!s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt t = 0; t < s->n_test; t++) posterior->mean[t] = posterior->within[t] = 0.0;
  PetscCall(PetscMalloc4(2 * (size_t)n * s->n, &column, (size_t)n_column * s->n_test, &sum, (size_t)n * s->n_test,
                         &mean, n, &modes));
  for (PetscInt c = 0; c < n; c++) {
    modes[c] = (Modes){.alpha = column + (size_t)c * s->n, .ones = column + (size_t)(n + c) * s->n};
    FillModes(s, temperature, order[c], &modes[c]);
  }
  PetscCall(FwMatrixColumnSums(s->test, 1, n_column, column, sum));
  for (PetscInt c = 0; c < n; c++)
    AddNode(s, order[c], weight[c], &modes[c], sum + (size_t)c * s->n_test,
            s->bias > 0.0 ? sum + (size_t)(n + c) * s->n_test : NULL, mean + (size_t)c * s->n_test, posterior);
  PetscCall(SubtractExplained(s, temperature, n, order, weight, posterior->within));
  AddBetween(s, n, weight, mean, posterior);
  PetscCall(PetscFree4(column, sum, mean, modes));
  PetscFunctionReturn(PETSC_SUCCESS);
}
