/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The tests: every sampler against the exact laws of the widths, of the limit and of infinite width, samplers against
 * each other, and laws that must be told apart.
 *
 * Whether n samples tell two laws apart is known beforehand from their Kolmogorov distance d, which is exact here: with
 * sqrt(n) d > 4 a test at p = 1e-4 (its statistic exceeds 2.2) sees it for certain, with sqrt(n) d < 0.3 it cannot.
 */

#include <finwidth/goodness.h>
#include <finwidth/mixture_density.h>
#include <finwidth/mixture_moments.h>
#include <finwidth/mixture_report.h>
#include <finwidth/moments.h>
#include <finwidth/stop.h>

#include <gsl/gsl_sf_psi.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *const FwMixtureDrawnNames[FW_DRAWN_COUNT] = {"brute", "bartlett", "limit"};

static const double threshold = 1e-4;

/* --- what there is to test ----------------------------------------------------------------------------------------- */

typedef enum { LOG_Q, LOG_DET, RADIUS, OUTPUT, OUTPUT_DET, QUANTITY_COUNT } Quantity;
typedef enum { WIDTHS, LIMIT, INFINITE, NORMAL, LAW_COUNT } Law;
typedef enum { KS, CVM, MEAN, VARIANCE, REFLECTION, TWO_KS, TWO_CVM } Statistic;

static const char *const quantity_names[]  = {"log_q", "log_det", "radius", "output", "output_det"};
static const char *const law_names[]       = {"widths", "limit", "infinite", "normal"};
static const char *const statistic_names[] = {"ks", "cvm", "mean", "variance", "reflection", "ks", "cvm"};

typedef struct {
  Statistic      statistic;
  FwMixtureDrawn drawn;
  Quantity       quantity;
  Law            law;
  PetscBool      is_smallest; /* of two samplers: which eigenvalue */
} Id;

enum { ID_MAX = 128 };

/* Every law is of use for some quantities: the infinite network has a law of outputs only, a normal law with mean and
   variance of the exact one is the negative control of log Q */
static PetscBool Makes(const FwMixtureRequest *r, FwMixtureDrawn drawn, Quantity q, Law law)
{
  const PetscBool is_output = q == OUTPUT || q == OUTPUT_DET ? PETSC_TRUE : PETSC_FALSE;

  if (law == WIDTHS) return r->has_exact && drawn != FW_DRAWN_LIMIT ? PETSC_TRUE : PETSC_FALSE;
  if (law == LIMIT) return PETSC_TRUE;
  if (law == INFINITE) return is_output;
  return q == LOG_Q && drawn != FW_DRAWN_LIMIT ? PETSC_TRUE : PETSC_FALSE;
}

static PetscInt ListOf(const FwMixtureRequest *r, FwMixtureDrawn s, Id id[])
{
  PetscInt n = 0;

  for (Quantity q = LOG_Q; q < QUANTITY_COUNT; q++)
    for (Law law = WIDTHS; law < LAW_COUNT; law++)
      for (Statistic t = KS; t <= CVM && Makes(r, s, q, law); t++) id[n++] = (Id){t, s, q, law, PETSC_FALSE};
  for (Quantity q = LOG_Q; q <= LOG_DET; q++)
    for (Statistic t = MEAN; t <= VARIANCE; t++)
      id[n++] = (Id){t, s, q, s == FW_DRAWN_LIMIT ? LIMIT : WIDTHS, PETSC_FALSE};
  id[n++] = (Id){REFLECTION, s, LOG_DET, LIMIT, PETSC_FALSE};
  return n;
}

static PetscInt List(const FwMixtureRequest *r, Id id[ID_MAX])
{
  PetscInt n = 0;

  for (FwMixtureDrawn s = FW_DRAWN_BRUTE; s < FW_DRAWN_COUNT; s++)
    if (r->is_drawn[s]) n += ListOf(r, s, id + n);
  if (r->is_drawn[FW_DRAWN_BRUTE] && r->is_drawn[FW_DRAWN_BARTLETT])
    for (int small = 0; small < 2; small++)
      for (Statistic t = TWO_KS; t <= TWO_CVM; t++)
        id[n++] = (Id){t, FW_DRAWN_BRUTE, LOG_Q, WIDTHS, small ? PETSC_TRUE : PETSC_FALSE};
  return n;
}

static void NameOf(const Id *id, char name[FW_TEST_NAME_SIZE])
{
  if (id->statistic >= TWO_KS)
    snprintf(name, FW_TEST_NAME_SIZE, "%s brute bartlett %s_eigenvalue", statistic_names[id->statistic],
             id->is_smallest ? "smallest" : "largest");
  else
    snprintf(name, FW_TEST_NAME_SIZE, "%s %s %s %s", statistic_names[id->statistic], FwMixtureDrawnNames[id->drawn],
             quantity_names[id->quantity], law_names[id->law]);
}

PetscErrorCode FwMixtureTestNames(const FwMixtureRequest *request, PetscInt *n, char (**name)[FW_TEST_NAME_SIZE])
{
  Id id[ID_MAX];

  PetscFunctionBegin;
  *n = List(request, id);
  PetscCall(PetscMalloc1(*n * FW_TEST_NAME_SIZE, (char **)name));
  for (PetscInt t = 0; t < *n; t++) NameOf(&id[t], (*name)[t]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- exact laws ------------------------------------------------------------------------------------------------------ */

/* A distribution function; a quantity whose law is not known has none */
typedef struct {
  FwMixtureDensity density;
  FwMixtureRadial  radial;
  PetscBool        is_normal;
  double           shift, mean, variance;
} Reference;

static PetscBool Exists(const Reference *r)
{
  return r->density || r->radial || r->is_normal ? PETSC_TRUE : PETSC_FALSE;
}

/* A law without explicit factors and limit factor: Q = 1 */
static PetscBool IsOne(const FwMixtureLaw *law)
{
  return law->n_width == 0 && law->a == 0.0 ? PETSC_TRUE : PETSC_FALSE;
}

static double Narrowest(const FwMixtureLaw *law)
{
  double width = INFINITY;

  for (PetscInt l = 0; l < law->n_width; l++) width = fmin(width, law->width[l]);
  return width;
}

/* S K^-1 S^T is one more Wishart factor, of width P and without the 1/P */
static PetscErrorCode OutputDeterminant(const FwMixtureLaw *law, PetscInt n_input, Reference *r)
{
  FwMixtureLaw with;
  double      *width;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(law->n_width + 1, &width));
  PetscCall(PetscArraycpy(width, law->width, law->n_width));
  width[law->n_width] = (double)n_input;
  PetscCall(FwMixtureLawLimit(law->a, law->n_output, law->n_width + 1, width, &with));
  PetscCall(FwMixtureDensityCreate(&with, FW_MIXTURE_LOG_DET, &r->density));
  r->shift = (double)law->n_output * log((double)n_input);
  PetscCall(FwMixtureLawDestroy(&with));
  PetscCall(PetscFree(width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenNormal(const FwMixtureLaw *law, Reference *r)
{
  double cumulant[3];

  PetscFunctionBegin;
  FwMixtureLogCumulants(law, 0, cumulant);
  *r = (Reference){.is_normal = PETSC_TRUE, .mean = cumulant[0], .variance = cumulant[1]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static FwMixtureLaw LawOf(const FwMixtureData *data, Law which)
{
  if (which == LIMIT) return data->limit;
  return which == INFINITE ? (FwMixtureLaw){.n_output = data->finite.n_output} : data->finite;
}

/* Whether a quantity has a density under a law: not with biases, not where Q is certain or singular */
static PetscBool HasLaw(const FwMixtureData *data, Law which, Quantity q)
{
  const FwMixtureLaw law = LawOf(data, which);
  const PetscInt     D = law.n_output, P = data->inputs->n_input;
  const double       spread = FwMixtureLawA(&law) * (double)(D - 1); /* beyond it rows of S are parallel to rounding */

  if (q == OUTPUT) return data->inputs->bias ? PETSC_FALSE : PETSC_TRUE;
  if (q == OUTPUT_DET && (data->inputs->bias || P < D || spread > 10.0)) return PETSC_FALSE;
  if (q == OUTPUT_DET) return Narrowest(&law) < (double)D ? PETSC_FALSE : PETSC_TRUE;
  if (IsOne(&law)) return PETSC_FALSE;
  if (q == LOG_Q) return PETSC_TRUE;
  return Narrowest(&law) < (double)D || D == 1 || (q == RADIUS && D != 2) ? PETSC_FALSE : PETSC_TRUE;
}

/* Empty where there is none */
static PetscErrorCode Open(const FwMixtureData *data, Quantity q, Law which, Reference *r)
{
  static const FwMixtureVariable variable[] = {FW_MIXTURE_LOG_Q, FW_MIXTURE_LOG_DET, FW_MIXTURE_LOG_DET,
                                               FW_MIXTURE_LOG_OUTPUT2};
  const FwMixtureLaw             law        = LawOf(data, which);

  PetscFunctionBegin;
  *r = (Reference){.shift = 0.0};
  if (!HasLaw(data, which, q)) PetscFunctionReturn(PETSC_SUCCESS);
  if (which == NORMAL)
    PetscCall(OpenNormal(&law, r));
  else if (q == RADIUS)
    PetscCall(FwMixtureRadialCreate(&law, &r->radial));
  else if (q == OUTPUT_DET)
    PetscCall(OutputDeterminant(&law, data->inputs->n_input, r));
  else
    PetscCall(FwMixtureDensityCreate(&law, variable[q], &r->density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(Reference *r)
{
  PetscFunctionBegin;
  PetscCall(FwMixtureDensityDestroy(&r->density));
  PetscCall(FwMixtureRadialDestroy(&r->radial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In place: numbers to their distribution function */
static PetscErrorCode Cumulate(const Reference *r, PetscInt n, double value[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) {
    double above;

    if (r->is_normal) {
      value[i] = 0.5 * erfc(-(value[i] - r->mean) / sqrt(2.0 * r->variance));
    } else if (r->radial) {
      PetscCall(FwMixtureRadialSurvival(r->radial, value[i], &above));
      value[i] = 1.0 - above;
    } else {
      PetscCall(FwMixtureDensityCumulative(r->density, value[i] - r->shift, &value[i], NULL));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between two laws of one quantity. The shift is common to both; a normal law of the right mean and variance is off by
   the third cumulant, k_3 / 6 max |f''| = k_3 / (6 sigma^3 sqrt(2 pi)) */
static PetscErrorCode Distance(const FwMixtureData *data, Quantity q, Law one, Law two, double *distance)
{
  Reference a, b;

  PetscFunctionBegin;
  *distance = one == two ? 0.0 : NAN;
  if (one == two) PetscFunctionReturn(PETSC_SUCCESS);
  if (two == NORMAL) {
    double cumulant[3];

    FwMixtureLogCumulants(&data->finite, 0, cumulant);
    *distance = fabs(cumulant[2]) / (6.0 * pow(cumulant[1], 1.5) * sqrt(2.0 * M_PI));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Open(data, q, one, &a));
  PetscCall(Open(data, q, two, &b));
  if (a.radial && b.radial) PetscCall(FwMixtureRadialDistance(a.radial, b.radial, distance));
  if (a.density && b.density) PetscCall(FwMixtureDensityDistance(a.density, b.density, distance));
  PetscCall(Close(&a));
  PetscCall(Close(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A distance known to within `error`. `seen`: root of n times the distance from which on the test cannot miss it */
static FwExpectation Expect(double n, double distance, double error, double seen)
{
  const double hidden = 0.3;

  if (sqrt(n) * fabs(distance - error) > seen) return FW_EXPECT_REJECTED;
  return sqrt(n) * (distance + error) < hidden ? FW_EXPECT_AGREES : FW_EXPECT_OPEN;
}

/* Rows of the diagonal 0 .. n_row - 1 together */
static void Cumulants(const FwMixtureLaw *law, PetscBool is_drawn, PetscInt n_row, double sum[3])
{
  sum[0] = sum[1] = sum[2] = 0.0;
  for (PetscInt i = 0; i < n_row; i++) {
    double cumulant[3];

    (is_drawn ? FwMixtureLogCumulantsDrawn : FwMixtureLogCumulants)(law, i, cumulant);
    for (int k = 0; k < 3; k++) sum[k] += cumulant[k];
  }
}

/* Variance of what an output's logarithm has beside that of Q: a square of a normal number, or a determinant of P inputs */
static double OutputVariance(const FwMixtureData *data, Quantity q)
{
  double sum = 0.0;

  if (q == OUTPUT) return 0.5 * M_PI * M_PI;
  for (PetscInt i = 0; i < data->finite.n_output && q == OUTPUT_DET; i++)
    sum += gsl_sf_psi_1(0.5 * (double)(data->inputs->n_input - i));
  return sum;
}

/* Of what is drawn for the limit from the limit: that of normal laws whose means and variances differ by little */
static double DistanceOfScheme(const FwMixtureData *data, Quantity q)
{
  const PetscInt n_row = q == LOG_Q || q == OUTPUT ? 1 : data->limit.n_output;
  double         exact[3], drawn[3], variance;

  if (!FwMixturePairs(&data->limit)) return 0.0;
  Cumulants(&data->limit, PETSC_FALSE, n_row, exact);
  Cumulants(&data->limit, PETSC_TRUE, n_row, drawn);
  variance = exact[1] + OutputVariance(data, q);
  return erf(fabs(drawn[0] - exact[0]) / sqrt(8.0 * variance)) +
         fabs(drawn[1] - exact[1]) / variance / sqrt(8.0 * M_PI * M_E);
}

/* --- numbers of the rows ------------------------------------------------------------------------------------------------ */

static double ValueOf(const double row[], PetscInt D, Quantity q)
{
  static const FwMixtureColumn column[] = {FW_COLUMN_LOG_Q, FW_COLUMN_LOG_DET, FW_COLUMN_LOG_Q, FW_COLUMN_LOG_OUTPUT2,
                                           FW_COLUMN_LOG_OUTPUT_DET};

  return q == RADIUS ? 0.5 * (row[0] - row[1]) : row[D + column[q]];
}

/* [n_sample], in order of the samples */
static PetscErrorCode Take(const FwMixtureData *data, FwMixtureDrawn drawn, Quantity q, double **value)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(data->n_sample, value));
  for (PetscInt i = 0; i < data->n_sample; i++) (*value)[i] = ValueOf(data->row[drawn] + i * length, D, q);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the kinds of tests ------------------------------------------------------------------------------------------------------ */

static void Keep(FwGoodness goodness, FwMixtureTest *test)
{
  test->statistic = goodness.statistic;
  test->p_value   = goodness.p_value;
}

/* What the numbers of the rows tell of a law, from their distance to it: test[0] and test[1] */
static PetscErrorCode ExpectOfLaw(const FwMixtureData *data, const Id *id, FwMixtureTest test[2])
{
  const Law    of       = id->drawn == FW_DRAWN_LIMIT ? LIMIT : WIDTHS;
  const double n        = (double)data->n_sample;
  const double scheme   = of == LIMIT ? DistanceOfScheme(data, id->quantity) : 0.0;
  double       distance = NAN;

  PetscFunctionBegin;
  PetscCall(Distance(data, id->quantity, of, id->law, &distance));
  test[0].distance = test[1].distance = PetscMax(distance, scheme); /* NaN stays */
  test[0].expected                    = Expect(n, distance, scheme, 4.0);
  test[1].expected                    = Expect(n, distance, scheme, 8.0); /* a mean, not the largest, difference */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kolmogorov-Smirnov and Cramer-von Mises against one law: test[0] and test[1] */
static PetscErrorCode AgainstLaw(const FwMixtureData *data, const Id *id, FwMixtureTest test[2])
{
  Reference law;
  double   *value;

  PetscFunctionBegin;
  if (!HasLaw(data, id->drawn == FW_DRAWN_LIMIT ? LIMIT : WIDTHS, id->quantity)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Open(data, id->quantity, id->law, &law));
  if (Exists(&law)) {
    PetscCall(Take(data, id->drawn, id->quantity, &value));
    PetscCall(PetscSortReal(data->n_sample, value));
    PetscCall(Cumulate(&law, data->n_sample, value));
    Keep(FwKolmogorov(data->n_sample, value), &test[0]);
    Keep(FwCramer(data->n_sample, value), &test[1]);
    PetscCall(ExpectOfLaw(data, id, test));
    PetscCall(PetscFree(value));
  }
  PetscCall(Close(&law));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean and variance, whose error bars exist for logarithms at every a, against those of what is drawn: z and its
   two-sided probability */
static PetscErrorCode AgainstCumulant(const FwMixtureData *data, const Id *id, FwMixtureTest *test)
{
  const PetscInt D     = data->finite.n_output;
  const PetscInt n_row = id->quantity == LOG_Q ? 1 : D;
  double         exact[3], *value;
  FwEstimated    estimate;

  PetscFunctionBegin;
  Cumulants(id->law == LIMIT ? &data->limit : &data->finite, PETSC_TRUE, n_row, exact);
  if (!isfinite(exact[0]) || !(exact[1] > 0.0) || (id->quantity == LOG_DET && D == 1))
    PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Take(data, id->drawn, id->quantity, &value));
  estimate        = (id->statistic == MEAN ? FwMean : FwVariance)(data->n_sample, 1, value);
  test->statistic = (estimate.value - exact[id->statistic == MEAN ? 0 : 1]) / estimate.error_bar;
  test->p_value   = erfc(fabs(test->statistic) * M_SQRT1_2);
  test->distance  = 0.0;
  test->expected  = FW_EXPECT_AGREES;
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kolmogorov's distance between log det Q of the widths and its mirror image at `centre`, sup |F(c+x) + F(c-x) - 1|: the
   mean is shifted, and one tail is the longer one */
static PetscErrorCode DistanceOfMirror(const FwMixtureLaw *law, double centre, double *distance)
{
  enum { STEPS = 64 }; /* of a tenth of a deviation */
  FwMixtureDensity density;
  double           mean, variance;

  PetscFunctionBegin;
  *distance = 0.0;
  PetscCall(FwMixtureDensityCreate(law, FW_MIXTURE_LOG_DET, &density));
  PetscCall(FwMixtureDensityMoments(density, &mean, &variance));
  for (int i = 0; i < STEPS; i++) {
    const double x = 0.1 * i * sqrt(variance);
    double       below, above;

    PetscCall(FwMixtureDensityCumulative(density, centre - x, &below, NULL));
    PetscCall(FwMixtureDensityCumulative(density, centre + x, NULL, &above));
    *distance = fmax(*distance, fabs(below - above));
  }
  PetscCall(FwMixtureDensityDestroy(&density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In the limit e^((D+1) a) log-mirrors Q onto its inverse: log det Q against -log det Q - D (D+1) a, first half of the
   samples against the second. What is drawn for the limit in steps has its mean shifted by d, and the mirror image by -d */
static PetscErrorCode Reflection(const FwMixtureData *data, const Id *id, FwMixtureTest *test)
{
  const PetscInt      D = data->finite.n_output, half = data->n_sample / 2;
  const FwMixtureLaw *law   = id->drawn == FW_DRAWN_LIMIT ? &data->limit : &data->finite;
  const double        shift = (double)(D * (D + 1)) * data->limit.a;
  double             *value, sum[3];

  PetscFunctionBegin;
  if (data->limit.n_width || data->limit.a == 0.0 || Narrowest(law) < (double)D) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Take(data, id->drawn, LOG_DET, &value));
  for (PetscInt i = half; i < 2 * half; i++) value[i] = -value[i] - shift;
  PetscCall(PetscSortReal(half, value));
  PetscCall(PetscSortReal(half, value + half));
  Keep(FwKolmogorovTwo(half, value, half, value + half), test);
  Cumulants(law, PETSC_TRUE, D, sum);
  test->distance = erf(fabs(sum[0] + 0.5 * shift) / sqrt(2.0 * sum[1])); /* of two normal laws 2 d apart */
  if (law == &data->finite) PetscCall(DistanceOfMirror(law, -0.5 * shift, &test->distance));
  test->expected = Expect(0.5 * (double)half, test->distance, 0.0, 4.0);
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The two samplers of the widths: largest or smallest eigenvalue that is not zero */
static PetscErrorCode TwoSamplers(const FwMixtureData *data, const Id *id, FwMixtureTest *test)
{
  const PetscInt D = data->finite.n_output, length = D + FW_COLUMN_COUNT, n = data->n_sample;
  const PetscInt at = id->is_smallest ? (PetscInt)fmin((double)D, Narrowest(&data->finite)) - 1 : 0;
  double        *x, *y;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n, &x, n, &y));
  for (PetscInt i = 0; i < n; i++) {
    x[i] = data->row[FW_DRAWN_BRUTE][i * length + at];
    y[i] = data->row[FW_DRAWN_BARTLETT][i * length + at];
  }
  PetscCall(PetscSortReal(n, x));
  PetscCall(PetscSortReal(n, y));
  Keep((id->statistic == TWO_KS ? FwKolmogorovTwo : FwCramerTwo)(n, x, n, y), test);
  test->distance = 0.0;
  test->expected = FW_EXPECT_AGREES;
  PetscCall(PetscFree2(x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureTests(const FwMixtureData *data, FwMixtureTest test[])
{
  Id             id[ID_MAX];
  const PetscInt n = List(&data->request, id);

  PetscFunctionBegin;
  for (PetscInt t = 0; t < n; t++) {
    test[t] = (FwMixtureTest){.statistic = NAN, .p_value = NAN, .distance = NAN, .expected = FW_EXPECT_OPEN};
    NameOf(&id[t], test[t].name);
  }
  for (PetscInt t = 0; t < n; t++) {
    PetscCall(FwStopLeave(PETSC_COMM_SELF, "among the tests of the samples"));
    if (id[t].statistic == KS) PetscCall(AgainstLaw(data, &id[t], &test[t]));
    if (id[t].statistic == MEAN || id[t].statistic == VARIANCE) PetscCall(AgainstCumulant(data, &id[t], &test[t]));
    if (id[t].statistic == REFLECTION) PetscCall(Reflection(data, &id[t], &test[t]));
    if (id[t].statistic >= TWO_KS) PetscCall(TwoSamplers(data, &id[t], &test[t]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwMixtureTestIsAsExpected(const FwMixtureTest *test)
{
  if (isnan(test->p_value) || test->expected == FW_EXPECT_OPEN) return PETSC_TRUE;
  return (test->p_value > threshold) == (test->expected == FW_EXPECT_AGREES) ? PETSC_TRUE : PETSC_FALSE;
}
