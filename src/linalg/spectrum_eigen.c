/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bandwidth 0: eigenvalues k_i and eigenvectors U.
 *
 * Symbols: d_i = T + Q k_i, p_i = Q k_i / d_i.
 */

#include "lanes.h"
#include "spectrum_impl.h"

#include <float.h>
#include <math.h>

typedef struct {
  double  *k;                  /* [P] ascending, zero modes exactly zero */
  FwMatrix vectors;            /* U */
  double   temperature, order; /* of the last factorisation */
} Eigen;

/* --- making it ---------------------------------------------------------------------------------------------- */

static PetscErrorCode CleanModes(FwSpectrum s, double k[])
{
  const double largest = PetscMax(k[s->n - 1], 0.0), floor_value = 8.0 * s->n * DBL_EPSILON * largest;

  PetscFunctionBegin;
  /* round-off of the decomposition itself is of the order of the floor: only what is far below it is an error */
  PetscCheck(k[0] >= -100.0 * floor_value - DBL_MIN, FwGridComm(s->grid), FW_ERR_NUMERICAL,
             "the kernel has the negative eigenvalue %.6g beside the largest, %.6g", k[0], largest);
  for (PetscInt i = 0; i < s->n; i++) {
    if (k[i] < floor_value || k[i] <= 0.0)
      k[i] = 0.0;
    else
      s->rank++;
  }
  s->is_singular = s->rank < s->n ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateData(FwSpectrum s)
{
  Eigen *eigen;

  PetscFunctionBegin;
  PetscCall(PetscNew(&eigen));
  s->data = eigen;
  PetscCall(PetscMalloc1(s->n, &eigen->k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reduce(FwSpectrum s, FwMatrix *kernel, const FwSpectrumKeep *keep, double after[2])
{
  Eigen *eigen;

  PetscFunctionBegin;
  (void)keep;
  PetscCall(CreateData(s));
  eigen = s->data;
  PetscCall(FwMatrixEigen(kernel, eigen->k, &eigen->vectors));
  after[0] = after[1] = 0.0;
  for (PetscInt i = 0; i < s->n; i++) {
    after[0] += eigen->k[i];
    after[1] += eigen->k[i] * eigen->k[i];
  }
  PetscCall(CleanModes(s, eigen->k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rotate(FwSpectrum s, FwMatrix *x)
{
  const Eigen *eigen = s->data;
  FwMatrix     rotated;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreateUninitialised(s->grid, s->n, (*x)->n, &rotated));
  PetscCall(FwMatrixMultiply(PETSC_TRUE, 1.0, eigen->vectors, *x, rotated));
  PetscCall(FwMatrixDestroy(x));
  *x = rotated;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Freeze(FwSpectrum s)
{
  PetscFunctionBegin;
  PetscCall(FwMatrixDestroy(&((Eigen *)s->data)->vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(FwSpectrum s)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(((Eigen *)s->data)->k));
  PetscCall(PetscFree(s->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Inverse(FwSpectrum s, double *inverse)
{
  const double *k = ((const Eigen *)s->data)->k;

  PetscFunctionBegin;
  *inverse = 0.0;
  for (PetscInt c = 0; c < s->n_label; c++)
    for (PetscInt i = 0; i < s->n; i++)
      if (k[i] > 0.0) *inverse += PetscSqr(s->w[(size_t)c * s->n + i]) / k[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(FwSpectrum s, PetscInt *n_array, double *array[2], size_t size[2])
{
  PetscFunctionBegin;
  *n_array = 1;
  array[0] = ((const Eigen *)s->data)->k;
  size[0]  = (size_t)s->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one (T, Q) --------------------------------------------------------------------------------------------- */

/* One column of labels (w) and the ones (h): their products with each other */
enum { WW, WH, HH, N_PAIR };

enum {
  TRACE,
  TRACE_SLOPE,
  FIT,
  SLOPE  = FIT + N_PAIR,
  CURVE  = SLOPE + N_PAIR,
  SQUARE = CURVE + N_PAIR,
  N_SUM  = SQUARE + N_PAIR
};

/* Without the readout bias: sums with w alone; [n_block] eights of modes, added to what is there */
FW_VECTOR
static void AddModes(PetscInt n_block, const double k[], const double w[], double temperature, double order,
                     double sum[N_SUM][FW_LANES])
{
  FwLanes trace = {0.0}, trace_slope = {0.0}, fit = {0.0}, slope = {0.0}, curve = {0.0}, square = {0.0};

  for (PetscInt i = 0; i < n_block; i++) {
    FwLanes value, label;

    LOAD_LANES(value, k + (size_t)i * FW_LANES);
    LOAD_LANES(label, w + (size_t)i * FW_LANES);
    value *= order;

    const FwLanes inverse = 1.0 / (temperature + value), p = value * inverse, one_fit = label * label * inverse;

    trace += p;
    trace_slope += p * inverse;
    fit += one_fit;
    slope += p * one_fit;
    curve += p * p * one_fit;
    square += one_fit * inverse;
  }
  for (int l = 0; l < FW_LANES; l++) {
    sum[TRACE][l] += trace[l];
    sum[TRACE_SLOPE][l] += trace_slope[l] * temperature;
    sum[FIT + WW][l] += fit[l];
    sum[SLOPE + WW][l] += slope[l];
    sum[CURVE + WW][l] += curve[l];
    sum[SQUARE + WW][l] += square[l];
  }
}

/* The sums that the readout bias needs beside them */
FW_VECTOR
static void AddModesWithOnes(PetscInt n_block, const double k[], const double w[], const double h[], double temperature,
                             double order, double sum[N_SUM][FW_LANES])
{
  FwLanes fit[2] = {{0.0}}, slope[2] = {{0.0}}, curve[2] = {{0.0}}, square[2] = {{0.0}};

  for (PetscInt i = 0; i < n_block; i++) {
    FwLanes value, label, ones;

    LOAD_LANES(value, k + (size_t)i * FW_LANES);
    LOAD_LANES(label, w + (size_t)i * FW_LANES);
    LOAD_LANES(ones, h + (size_t)i * FW_LANES);
    value *= order;

    const FwLanes inverse = 1.0 / (temperature + value), p = value * inverse;
    const FwLanes wh = label * ones * inverse, hh = ones * ones * inverse;

    fit[0] += wh;
    fit[1] += hh;
    slope[0] += p * wh;
    slope[1] += p * hh;
    curve[0] += p * p * wh;
    curve[1] += p * p * hh;
    square[0] += wh * inverse;
    square[1] += hh * inverse;
  }
  for (int pair = WH; pair <= HH; pair++)
    for (int l = 0; l < FW_LANES; l++) {
      sum[FIT + pair][l] += fit[pair - WH][l];
      sum[SLOPE + pair][l] += slope[pair - WH][l];
      sum[CURVE + pair][l] += curve[pair - WH][l];
      sum[SQUARE + pair][l] += square[pair - WH][l];
    }
}

/* An integer beside each lane */
typedef long long LaneBits __attribute__((vector_size(FW_LANES * sizeof(long long))));

/* Sum of log(T + Q k): products of mantissas, and their exponents as integers. Factors must be normal numbers. A
   mantissa is in [1, 2): 512 of them stay far from overflow, then the product is brought back to [1, 2) itself. */
FW_VECTOR
static void AddLogs(PetscInt n_block, const double k[], double temperature, double order, double product[FW_LANES],
                    long long exponent[FW_LANES])
{
  const LaneBits mask = (LaneBits){0} + 0xfffffffffffffLL, one = (LaneBits){0} + 0x3ff0000000000000LL;
  LaneBits       shift    = {0}, bits;
  FwLanes        mantissa = (FwLanes){0} + 1.0, value;

  for (PetscInt i = 0; i < n_block; i++) {
    LOAD_LANES(value, k + (size_t)i * FW_LANES);
    value = temperature + order * value;
    memcpy(&bits, &value, sizeof bits);
    shift += (bits >> 52) - 1023;
    bits = (bits & mask) | one;
    memcpy(&value, &bits, sizeof bits);
    mantissa *= value;
    if (i % 512 == 511 || i == n_block - 1) {
      memcpy(&bits, &mantissa, sizeof bits);
      shift += (bits >> 52) - 1023;
      bits = (bits & mask) | one;
      memcpy(&mantissa, &bits, sizeof bits);
    }
  }
  for (int l = 0; l < FW_LANES; l++) {
    product[l]  = mantissa[l];
    exponent[l] = shift[l];
  }
}

/* The last, incomplete eight; what stands beyond it is a mode like the last and is not counted */
static void CopyTail(PetscInt n_tail, const double source[], double fill, double tail[FW_LANES])
{
  for (int l = 0; l < FW_LANES; l++) tail[l] = l < n_tail ? source[l] : fill;
}

static double SumLogs(PetscInt n, const double k[], double temperature, double order)
{
  const PetscInt n_block = n / FW_LANES, n_tail = n % FW_LANES;
  double         product[FW_LANES], total = 1.0, sum = 0.0;
  long long      exponent[FW_LANES], whole = 0;

  /* subnormal factors have no mantissa to speak of; k is ascending */
  if (temperature + order * k[0] < 2.0 * DBL_MIN) {
    for (PetscInt i = 0; i < n; i++) sum += log(temperature + order * k[i]);
    return sum;
  }
  AddLogs(n_block, k, temperature, order, product, exponent);
  for (int l = 0; l < FW_LANES; l++) {
    total *= product[l];
    whole += exponent[l];
  }
  for (PetscInt i = n - n_tail; i < n; i++) sum += log(temperature + order * k[i]);
  return log(total) + (double)whole * M_LN2 + sum;
}

/* Of the modes that are not zero */
static void SumModes(FwSpectrum s, double temperature, double order, double total[N_SUM])
{
  const size_t    n_zero = (size_t)(s->n - s->rank);
  const double   *k = ((const Eigen *)s->data)->k + n_zero, *w = s->w + n_zero, *h = s->h + n_zero;
  const PetscInt  n_block = s->rank / FW_LANES, n_tail = s->rank % FW_LANES;
  const size_t    last                 = (size_t)(s->rank - n_tail);
  const PetscBool with_ones            = s->bias > 0.0 ? PETSC_TRUE : PETSC_FALSE;
  double          sum[N_SUM][FW_LANES] = {{0.0}}, end[N_SUM][FW_LANES] = {{0.0}}, tail[3][FW_LANES];

  AddModes(n_block, k, w, temperature, order, sum);
  if (with_ones) AddModesWithOnes(n_block, k, w, h, temperature, order, sum);
  CopyTail(n_tail, k + last, ((const Eigen *)s->data)->k[s->n - 1], tail[0]);
  CopyTail(n_tail, w + last, 0.0, tail[1]);
  CopyTail(n_tail, h + last, 0.0, tail[2]);
  AddModes(1, tail[0], tail[1], temperature, order, end);
  if (with_ones) AddModesWithOnes(1, tail[0], tail[1], tail[2], temperature, order, end);
  for (int i = 0; i < N_SUM; i++) total[i] = SumLanes(sum[i], FW_LANES) + SumLanes(end[i], (int)n_tail);
}

static void CopyPairs(PetscInt n_vector, const double pair[N_PAIR], double form[])
{
  form[0] = pair[WW];
  if (n_vector < 2) return;
  form[1] = form[2] = pair[WH];
  form[3]           = pair[HH];
}

/* form[a][b] = sum over modes that are not zero of p^power x_a x_b / d, or p^power x_a x_b / d^2 */
static void SumForm(FwSpectrum s, const double k[], double temperature, double order, int power, PetscBool squared,
                    double scaled[], double form[])
{
  const PetscInt n_vector = FwSpectrumVectors(s);

  for (PetscInt v = 0; v < n_vector; v++)
    for (PetscInt i = 0; i < s->n; i++) {
      const double value = order * k[i], inverse = 1.0 / (temperature + value);
      double       weight = i < s->n - s->rank ? 0.0 : squared ? inverse * inverse : inverse;

      for (int c = 0; c < power; c++) weight *= value * inverse;
      scaled[(size_t)v * s->n + i] = weight * s->w[(size_t)v * s->n + i];
    }
  FwSumPairs(s->n, n_vector, s->w, scaled, form);
}

/* Several columns of labels */
static PetscErrorCode SumForms(FwSpectrum s, const double k[], double temperature, double order, FwSums *sums)
{
  double *scaled;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)(s->n_label + 1) * s->n, &scaled));
  SumForm(s, k, temperature, order, 0, PETSC_FALSE, scaled, sums->fit);
  SumForm(s, k, temperature, order, 1, PETSC_FALSE, scaled, sums->slope);
  SumForm(s, k, temperature, order, 2, PETSC_FALSE, scaled, sums->curve);
  SumForm(s, k, temperature, order, 0, PETSC_TRUE, scaled, sums->square);
  PetscCall(PetscFree(scaled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sum(FwSpectrum s, double temperature, double order, PetscBool with_log_det, FwSums *sums)
{
  const double  *k        = ((const Eigen *)s->data)->k;
  const PetscInt n_vector = FwSpectrumVectors(s);
  double         total[N_SUM];

  PetscFunctionBegin;
  SumModes(s, temperature, order, total);
  sums->trace       = total[TRACE];
  sums->trace_slope = total[TRACE_SLOPE];
  if (s->n_label > 1) {
    PetscCall(SumForms(s, k, temperature, order, sums));
  } else {
    CopyPairs(n_vector, total + FIT, sums->fit);
    CopyPairs(n_vector, total + SLOPE, sums->slope);
    CopyPairs(n_vector, total + CURVE, sums->curve);
    CopyPairs(n_vector, total + SQUARE, sums->square);
  }
  if (with_log_det) sums->log_det = SumLogs(s->n, k, temperature, order);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- step by step ------------------------------------------------------------------------------------------- */

static PetscErrorCode StepFactor(FwSpectrum s, double temperature, double order, double *log_det)
{
  Eigen *eigen = s->data;

  PetscFunctionBegin;
  eigen->temperature = temperature;
  eigen->order       = order;
  if (log_det) *log_det = SumLogs(s->n, eigen->k, temperature, order);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepTraces(FwSpectrum s, double *trace, double *trace_slope)
{
  const Eigen *eigen = s->data;

  PetscFunctionBegin;
  *trace = *trace_slope = 0.0;
  for (PetscInt i = 0; i < s->n; i++) {
    const double value = eigen->order * eigen->k[i], inverse = 1.0 / (eigen->temperature + value);

    *trace += value * inverse;
    *trace_slope += value * eigen->temperature * inverse * inverse;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepSolve(FwSpectrum s, PetscInt n, double x[])
{
  const Eigen *eigen = s->data;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt i = 0; i < s->n; i++) x[i + (size_t)c * s->n] /= eigen->temperature + eigen->order * eigen->k[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepMultiply(FwSpectrum s, PetscInt n, const double x[], double y[])
{
  const double *k = ((const Eigen *)s->data)->k;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < n; c++)
    for (PetscInt i = 0; i < s->n; i++) y[i + (size_t)c * s->n] = k[i] * x[i + (size_t)c * s->n];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- predictions -------------------------------------------------------------------------------------------- */

FW_VECTOR
static double WeightedSquares(PetscInt n, const double weight[], const double z[])
{
  FwLanes sum  = {0.0};
  double  tail = 0.0, lane[FW_LANES];

  for (PetscInt i = 0; i + FW_LANES <= n; i += FW_LANES) {
    FwLanes a, b;

    LOAD_LANES(a, weight + i);
    LOAD_LANES(b, z + i);
    sum += a * b * b;
  }
  for (PetscInt i = n - n % FW_LANES; i < n; i++) tail += weight[i] * z[i] * z[i];
  memcpy(lane, &sum, sizeof lane);
  return SumLanes(lane, FW_LANES) + tail;
}

/* Modes of K below 8 P eps of the largest are zero: so is what is left of a test example by as little */
static void Split(FwSpectrum s)
{
  const PetscInt first = PetscMin(s->grid->rank * s->test_block, s->n_test);
  const double  *k     = ((const Eigen *)s->data)->k;

  for (PetscInt t = 0; t < s->n_test_local; t++) {
    const double *z = s->test + (size_t)t * (size_t)s->n, all = s->test_kernel[first + t];
    double        inside = 0.0;

    for (PetscInt i = s->n - s->rank; i < s->n; i++) inside += z[i] * (z[i] / k[i]);
    s->outside[t] = fabs(all - inside) > 8.0 * s->n * DBL_EPSILON * all ? all - inside : 0.0;
  }
}

static PetscErrorCode Predict(FwSpectrum s, const FwNodes *nodes)
{
  const double *k = ((const Eigen *)s->data)->k, T = nodes->temperature;
  double       *own, *mode = nodes->mode, order_sum = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1(s->n, &own));
  if (!mode) mode = own;
  for (PetscInt c = 0; c < nodes->n; c++) {
    const double order = nodes->order[c], weight = nodes->weight[c] * order;
    double      *alpha = nodes->alpha + (size_t)c * s->n_label * s->n;

    order_sum += weight;
    for (PetscInt i = 0; i < s->n; i++) {
      const double inverse = 1.0 / (T + order * k[i]);

      for (PetscInt l = 0; l < s->n_label; l++) alpha[(size_t)l * s->n + i] = s->w[(size_t)l * s->n + i] * inverse;
      if (nodes->ones) nodes->ones[(size_t)c * s->n + i] = s->h[i] * inverse;
      if (i >= s->n - s->rank) mode[i] += weight * (T * inverse) / k[i];
    }
  }
  for (PetscInt t = 0; t < s->n_test_local && nodes->latent; t++)
    nodes->latent[t] = order_sum * s->outside[t] + WeightedSquares(s->n, mode, s->test + (size_t)t * s->n);
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSpectrumForm fw_spectrum_eigen = {
  .bandwidth = 0, .name = "eigenvectors", .has_modes = PETSC_TRUE, .split = Split, FW_SPECTRUM_FUNCTIONS};
