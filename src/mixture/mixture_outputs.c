/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Outputs by the mixture, or by the weights themselves.
 */

#include "mixture_impl.h"

#include <finwidth/mixture_outputs.h>

#include <math.h>

/* --- inputs --------------------------------------------------------------------------------------------------- */

/* Lower triangular root of x x^T / (N_0 lambda*); a pivot that rounding could have made is refused */
static PetscErrorCode Root(const FwMixtureInputs *in)
{
  const PetscInt P = in->n_input, N = in->n_component;
  const double   least = 1e-12;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < P; i++) {
    for (PetscInt j = 0; j <= i; j++) {
      double sum = 0.0, size = 0.0;

      for (PetscInt c = 0; c < N; c++) sum += in->x[i * N + c] * in->x[j * N + c];
      size = sum = sum / ((double)N * in->prior);
      for (PetscInt k = 0; k < j; k++) sum -= in->root[i * P + k] * in->root[j * P + k];
      if (i > j) in->root[i * P + j] = sum / in->root[j * P + j];
      PetscCheck(i > j || sum > least * size, PETSC_COMM_WORLD, FW_ERR_INPUT,
                 "the kernel of the inputs is singular at input %" PetscInt_FMT ": it depends on those before", i);
      if (i == j) in->root[i * P + i] = sqrt(sum);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureInputsCreate(PetscInt n_input, PetscInt n_component, const double x[], double prior,
                                     PetscInt n_width, const double bias[], FwMixtureInputs *inputs)
{
  PetscBool has_bias = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCheck(n_input <= PETSC_MAX_INT / PetscMax(n_input, n_component), PETSC_COMM_WORLD, FW_ERR_MEMORY,
             "%" PetscInt_FMT " inputs are more than a kernel on one rank is made of", n_input);
  *inputs = (FwMixtureInputs){.n_input = n_input, .n_component = n_component, .prior = prior};
  PetscCall(PetscMalloc1(n_input * n_component, &inputs->x));
  PetscCall(PetscCalloc1(n_input * n_input, &inputs->root));
  PetscCall(PetscArraycpy(inputs->x, x, n_input * n_component));
  PetscCall(Root(inputs));
  for (PetscInt l = 0; l <= n_width && bias; l++)
    if (bias[l] > 0.0) has_bias = PETSC_TRUE;
  if (has_bias) {
    PetscCall(PetscMalloc1(n_width + 1, &inputs->bias));
    PetscCall(PetscArraycpy(inputs->bias, bias, n_width + 1));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureInputsOrthogonal(PetscInt n_input, double prior, PetscInt n_width, const double bias[],
                                         FwMixtureInputs *inputs)
{
  double *x;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)n_input * (size_t)n_input, &x));
  for (PetscInt i = 0; i < n_input; i++) x[(size_t)i * (size_t)n_input + (size_t)i] = sqrt((double)n_input);
  PetscCall(FwMixtureInputsCreate(n_input, n_input, x, prior, n_width, bias, inputs));
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureInputsDestroy(FwMixtureInputs *inputs)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(inputs->x));
  PetscCall(PetscFree(inputs->root));
  PetscCall(PetscFree(inputs->bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- pieces --------------------------------------------------------------------------------------------------- */

/* Logarithm of the unit of outputs */
static double LogUnit(PetscInt D, const FwMixtureInputs *in, const double x[])
{
  double largest = x[0];

  for (PetscInt i = 1; i < D; i++) largest = PetscMax(largest, x[i]);
  return in->bias || isinf(largest) ? 0.0 : largest;
}

/* out += scale A v, A = M diag(e^x); `scale` by its logarithm */
static void AddRoot(PetscInt D, const double x[], const double m[], double log_scale, const double v[], double out[])
{
  for (PetscInt j = 0; j < D; j++) {
    const double part = exp(x[j] + log_scale) * v[j];

    for (PetscInt i = j; i < D; i++) out[i] += m[i * D + j] * part;
  }
}

/* Normal factors of a batch, as [D, P] or [D] of the stream's `place`, [BATCH, D * P] */
static PetscErrorCode DrawNormals(uint64_t seed, PetscInt place, uint64_t first, PetscInt D, PetscInt P, double z[])
{
  double column[BATCH];

  PetscFunctionBegin;
  for (PetscInt e = 0; e < D * P; e++) {
    FwStreamNormalBulk(
      FwStreamCreate(seed, FW_RANDOM_MIXTURE_OUTPUT, (uint64_t)place, (uint64_t)(e / P), (uint64_t)(e % P)), first,
      BATCH, column);
    for (PetscInt b = 0; b < BATCH; b++) z[b * D * P + e] = column[b];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S += A Z R^T, in its unit */
static void AddMixture(PetscInt D, const FwMixtureInputs *in, const double x[], const double m[], const double z[],
                       double s[])
{
  const PetscInt P    = in->n_input;
  const double   unit = LogUnit(D, in, x);

  for (PetscInt j = 0; j < D; j++) {
    const double scale = exp(x[j] - unit);

    for (PetscInt p = 0; p < P; p++) {
      double sum = 0.0;

      for (PetscInt k = 0; k <= p; k++) sum += z[j * P + k] * in->root[p * P + k];
      for (PetscInt i = j; i < D; i++) s[i * P + p] += m[i * D + j] * scale * sum;
    }
  }
}

/* The same at every input */
static void AddBias(PetscInt D, PetscInt P, const double bias[], double s[])
{
  for (PetscInt i = 0; i < D; i++)
    for (PetscInt p = 0; p < P; p++) s[i * P + p] += bias[i];
}

/* --- triangular factors ----------------------------------------------------------------------------------------- */

static PetscErrorCode WithoutBias(const FwMixtureLaw *law, const FwMixtureInputs *in, uint64_t seed, uint64_t first,
                                  PetscInt n, double x[], double m[], double s[])
{
  const PetscInt D = law->n_output, P = in->n_input;
  double        *z;

  PetscFunctionBegin;
  PetscCall(FwMixtureDraw(law, FW_MIXTURE_BARTLETT, seed, first, n, x, m));
  PetscCall(PetscMalloc1(BATCH * D * P, &z));
  for (PetscInt k = 0; k < n; k++) {
    const uint64_t at = first + (uint64_t)k;

    if (k == 0 || at % BATCH == 0) PetscCall(DrawNormals(seed, 0, at - at % BATCH, D, P, z));
    AddMixture(D, in, x + k * D, m + k * D * D, z + (PetscInt)(at % BATCH) * D * P, s + k * D * P);
  }
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row-major factor of one sample of a batch */
static void OneFactor(PetscInt D, const FwFactors *factors, PetscInt b, double f[])
{
  for (PetscInt i = 0; i < D; i++)
    for (PetscInt j = 0; j < D; j++)
      f[i * D + j] = i == j                                          ? sqrt(factors->square[i * BATCH + b])
                     : j < i && factors->square[j * BATCH + b] > 0.0 ? factors->below[FwBelow(i, j) * BATCH + b]
                                                                     : 0.0;
}

typedef struct {
  double   *z, *f, *bias; /* [BATCH, D P], [D, D], [D] */
  FwFactors factors;
} BiasWork;

/* From the output side, so that each product is that of the layers behind a bias; samples skip .. skip + n - 1 */
static PetscErrorCode BiasBatch(const FwMixtureLaw *law, const FwMixtureInputs *in, uint64_t seed, uint64_t first,
                                PetscInt skip, PetscInt n, BiasWork *work, double x[], double m[], double s[])
{
  const PetscInt D = law->n_output, P = in->n_input, L = law->n_width;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < n; k++)
    for (PetscInt i = 0; i < D; i++) {
      x[k * D + i] = 0.0;
      for (PetscInt j = 0; j < D; j++) m[(k * D + i) * D + j] = i == j ? 1.0 : 0.0;
    }
  for (PetscInt l = L; l >= 0; l--) {
    PetscCall(DrawNormals(seed, l + 1, first, D, 1, work->z));
    for (PetscInt k = 0; k < n; k++) {
      PetscCall(PetscArrayzero(work->bias, D));
      AddRoot(D, x + k * D, m + k * D * D, 0.5 * log(in->bias[l]), work->z + (skip + k) * D, work->bias);
      AddBias(D, P, work->bias, s + k * D * P);
    }
    if (l > 0) FwFactorDraw(law, seed, l - 1, first, &work->factors);
    for (PetscInt k = 0; k < n && l > 0; k++) {
      OneFactor(D, &work->factors, skip + k, work->f);
      FwRootAppend(D, x + k * D, m + k * D * D, work->f);
    }
  }
  PetscCall(DrawNormals(seed, 0, first, D, P, work->z));
  for (PetscInt k = 0; k < n; k++)
    AddMixture(D, in, x + k * D, m + k * D * D, work->z + (skip + k) * D * P, s + k * D * P);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WithBias(const FwMixtureLaw *law, const FwMixtureInputs *in, uint64_t seed, uint64_t first,
                               PetscInt n, double x[], double m[], double s[])
{
  const PetscInt D = law->n_output, P = in->n_input;
  BiasWork       work;

  PetscFunctionBegin;
  PetscCheck(
    law->a == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
    "network_bias: the limit law of outputs has no biases in this version, want mixture_method brute or bartlett");
  PetscCall(PetscMalloc3(BATCH * D * P, &work.z, D * D, &work.f, D, &work.bias));
  PetscCall(FwFactorsCreate(D, &work.factors));
  for (PetscInt done = 0; done < n;) {
    const uint64_t at   = first + (uint64_t)done;
    const PetscInt skip = (PetscInt)(at % BATCH), many = PetscMin(n - done, BATCH - skip);

    PetscCall(
      BiasBatch(law, in, seed, at - at % BATCH, skip, many, &work, x + done * D, m + done * D * D, s + done * D * P));
    done += many;
  }
  PetscCall(FwFactorsDestroy(&work.factors));
  PetscCall(PetscFree3(work.z, work.f, work.bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- every weight ------------------------------------------------------------------------------------------------- */

/* Bias behind W_layer: a vector of the layer's n units, through the rest of the network A V^T */
static PetscErrorCode BruteBias(const FwBrute *brute, const FwMixtureInputs *in, PetscInt layer, double s[])
{
  const PetscInt D = brute->law->n_output;
  double        *unit, *along;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(brute->n, &unit));
  PetscCall(PetscCalloc1(2 * D, &along));
  FwStreamNormalBulk(FwStreamCreate(brute->seed, FW_RANDOM_MIXTURE_WEIGHT, brute->sample, (uint64_t)layer, 1), 0,
                     (size_t)brute->n, unit);
  for (PetscInt r = 0; r < brute->rank; r++)
    for (PetscInt i = 0; i < brute->n; i++) along[r] += brute->basis[r * brute->n + i] * unit[i];
  AddRoot(D, brute->x, brute->m, 0.5 * log(in->bias[layer]), along, along + D);
  AddBias(D, in->n_input, along + D, s);
  PetscCall(PetscFree(unit));
  PetscCall(PetscFree(along));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S = A (V^T W_0) X / sqrt(N_0 lambda*), in its unit */
static PetscErrorCode BruteInputs(const FwBrute *brute, const FwMixtureInputs *in, double s[])
{
  const PetscInt D = brute->law->n_output, P = in->n_input, N = in->n_component;
  const double   log_scale = -0.5 * log((double)N * in->prior) - LogUnit(D, in, brute->x);
  double        *row, *hidden;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(N * brute->rank, &row));
  PetscCall(PetscCalloc1(2 * D, &hidden));
  PetscCall(FwBruteFirstLayer(brute, N, row));
  for (PetscInt p = 0; p < P; p++) {
    PetscCall(PetscArrayzero(hidden, 2 * D));
    for (PetscInt r = 0; r < brute->rank; r++)
      for (PetscInt c = 0; c < N; c++) hidden[r] += row[r * N + c] * in->x[p * N + c];
    AddRoot(D, brute->x, brute->m, log_scale, hidden, hidden + D);
    for (PetscInt i = 0; i < D; i++) s[i * P + p] += hidden[D + i];
  }
  PetscCall(PetscFree(row));
  PetscCall(PetscFree(hidden));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BruteOutputs(const FwMixtureLaw *law, const FwMixtureInputs *in, uint64_t seed, uint64_t first,
                                   PetscInt n, double x[], double m[], double s[])
{
  const PetscInt D = law->n_output, P = in->n_input;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < n; k++) {
    FwBrute brute;

    PetscCall(FwBruteCreate(law, seed, first + (uint64_t)k, x + k * D, m + k * D * D, &brute));
    for (;;) {
      if (in->bias) PetscCall(BruteBias(&brute, in, brute.layer, s + k * D * P));
      if (brute.layer == 0) break;
      PetscCall(FwBruteStep(&brute));
    }
    PetscCall(BruteInputs(&brute, in, s + k * D * P));
    PetscCall(FwBruteDestroy(&brute));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDrawOutputs(const FwMixtureLaw *law, FwMixtureSampler sampler, const FwMixtureInputs *inputs,
                                    uint64_t seed, uint64_t first, PetscInt n, double x[], double m[], double s[],
                                    double log_unit[])
{
  const PetscInt D = law->n_output;

  PetscFunctionBegin;
  PetscCall(FwMixtureLawCheck(law, sampler));
  PetscCall(PetscArrayzero(s, n * D * inputs->n_input));
  if (sampler == FW_MIXTURE_BRUTE)
    PetscCall(BruteOutputs(law, inputs, seed, first, n, x, m, s));
  else
    PetscCall((inputs->bias ? WithBias : WithoutBias)(law, inputs, seed, first, n, x, m, s));
  for (PetscInt k = 0; k < n; k++) log_unit[k] = LogUnit(D, inputs, x + k * D);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- exact moments -------------------------------------------------------------------------------------------------- */

/* c_l between two inputs: c_0 = K_pq + s_0^2, c_l = s_l^2 */
static double Part(const FwMixtureInputs *in, PetscInt layer, PetscInt p, PetscInt q)
{
  double c = in->bias ? in->bias[layer] : 0.0;

  for (PetscInt k = 0; k <= PetscMin(p, q) && layer == 0; k++)
    c += in->root[(size_t)p * in->n_input + k] * in->root[(size_t)q * in->n_input + k];
  return c;
}

/* E S_p S_q */
static double Second(const FwMixtureLaw *law, const FwMixtureInputs *in, PetscInt p, PetscInt q)
{
  double sum = Part(in, 0, p, q);

  for (PetscInt l = 1; l <= law->n_width && in->bias; l++) sum += in->bias[l];
  return sum;
}

/* sum_ll' c_l(pp) c_l'(qq) T_m + 2 c_l(pq) c_l'(pq) X_m, m = max(l, l'), where T = E Q_ii Q_jj and X = E Q_ij^2 of the layers
   behind m: (m_2 + 2 m_11)/3 and (m_2 - m_11)/3 for two outputs, m_2 for one. The limit factor stands between the inputs and
   the first bias that there is */
double FwMixtureOutputProduct(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscBool is_same_output,
                              PetscInt p, PetscInt q)
{
  double m2 = 1.0, m11 = 1.0, sum = 0.0;
  double pp = Second(law, inputs, p, p), qq = Second(law, inputs, q, q), pq = Second(law, inputs, p, q);

  for (PetscInt l = law->n_width; l >= 0; l--) {
    const double c_pp = Part(inputs, l, p, p), c_qq = Part(inputs, l, q, q), c_pq = Part(inputs, l, p, q);

    pp -= c_pp, qq -= c_qq, pq -= c_pq; /* what comes before layer l */
    if (l == 0) m2 *= exp(2.0 * law->a), m11 *= exp(-law->a);
    const double together = is_same_output ? m2 : (m2 + 2.0 * m11) / 3.0,
                 across   = is_same_output ? m2 : (m2 - m11) / 3.0;

    sum += (c_pp * c_qq + c_pp * qq + pp * c_qq) * together + 2.0 * c_pq * (c_pq + 2.0 * pq) * across;
    if (l > 0) m2 *= 1.0 + 2.0 / law->width[l - 1], m11 *= 1.0 - 1.0 / law->width[l - 1];
  }
  return sum;
}

double FwMixtureOutputCorrelation(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscBool is_same_output,
                                  PetscInt p, PetscInt q)
{
  const double pp = Second(law, inputs, p, p), qq = Second(law, inputs, q, q);
  const double one   = FwMixtureOutputProduct(law, inputs, PETSC_TRUE, p, p) - pp * pp;
  const double other = FwMixtureOutputProduct(law, inputs, PETSC_TRUE, q, q) - qq * qq;

  return (FwMixtureOutputProduct(law, inputs, is_same_output, p, q) - pp * qq) / sqrt(one * other);
}

void FwMixtureOutputExact(const FwMixtureLaw *law, const FwMixtureInputs *inputs, PetscInt p, double moment[2])
{
  moment[0] = Second(law, inputs, p, p);
  moment[1] = FwMixtureOutputProduct(law, inputs, PETSC_TRUE, p, p);
}
