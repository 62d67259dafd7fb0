/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Draws of Q in batches: coordinate c of factor f is one stream, and the sample its position there.
 */

#include "mixture_impl.h"

#include <gsl/gsl_sf_psi.h>
#include <math.h>

/* --- factors and their coordinates ---------------------------------------------------------------------------- */

/* The pair scheme: n steps of h = a / n, psi'(m) = h; per step one F with F_ii^2 ~ Gamma(m - i/2) and one B with
   B_ii^2 ~ Gamma(m + i/2), i = 1 .. D, off-diagonal entries of both N(0, 1/2) */
static PetscInt PairsOf(const FwMixtureLaw *law)
{
  const double per_unit = PetscMax(32.0, 4.0 * (double)law->n_output);
  const double most     = 1 << 29; /* refused by FwMixtureLawCheck() long before */

  return law->a > 0.0 ? (PetscInt)PetscMin(most, ceil(law->a * per_unit)) : 0;
}

PetscInt FwMixturePairs(const FwMixtureLaw *law)
{
  return law->n_output < 3 ? 0 : PairsOf(law);
}

double FwInverseTrigamma(double h)
{
  double m = 1.0 / h + 0.5;

  for (int i = 0; i < 50; i++) {
    const double step = (gsl_sf_psi_1(m) - h) / gsl_sf_psi_n(2, m);

    m -= step;
    if (fabs(step) < 1e-14 * m) break;
  }
  return m;
}

/* What a factor's entries are made of: square of diagonal i = Gamma(shape + i slope, i = 0 ..) / scale, entries below the
   diagonal normal / sqrt(divisor) */
typedef struct {
  double shape, slope, scale, divisor;
} Shape;

static Shape FiniteShape(double width)
{
  return (Shape){.shape = 0.5 * width, .slope = -0.5, .scale = 0.5 * width, .divisor = width};
}

/* is_divisor: B, otherwise F */
static Shape PairShape(double m, PetscBool is_divisor)
{
  const double slope = is_divisor ? 0.5 : -0.5;

  return (Shape){.shape = m + slope, .slope = slope, .scale = 1.0, .divisor = 2.0};
}

/* All factors in order: those of the widths, then F and B of each pair */
typedef struct {
  PetscInt n_output, n_width, n_pair, n_below;
  double   m;
} Plan;

static Plan MakePlan(const FwMixtureLaw *law, PetscInt n_pair)
{
  return (Plan){.n_output = law->n_output,
                .n_width  = law->n_width,
                .n_pair   = n_pair,
                .n_below  = FwBelow(law->n_output, 0),
                .m        = n_pair ? FwInverseTrigamma(law->a / (double)n_pair) : 0.0};
}

static Shape ShapeOf(const Plan *plan, const FwMixtureLaw *law, PetscInt factor)
{
  if (factor < plan->n_width) return FiniteShape(law->width[factor]);
  return PairShape(plan->m, (factor - plan->n_width) % 2 ? PETSC_TRUE : PETSC_FALSE);
}

/* Factors after which products of diagonals may come near the ends of the range of doubles */
static PetscInt SafeOf(const Shape *shape, PetscInt n_output)
{
  const double least = PetscMin(shape->shape, shape->shape + shape->slope * (double)(n_output - 1));

  return least >= 8.0 ? 64 : 6;
}

/* --- from streams ------------------------------------------------------------------------------------------------ */

static void Scale(PetscInt n, double value[], double scale)
{
  for (PetscInt i = 0; i < n; i++) value[i] *= scale;
}

/* A layer narrower than the outputs has a factor of as many columns as it has units: the others vanish, below the
   diagonal too */
static void EmptyColumns(const Plan *plan, const Shape *shape, FwFactors *out)
{
  for (PetscInt j = 0; j < plan->n_output; j++) {
    if (shape->shape + shape->slope * (double)j > 0.0) continue;
    for (PetscInt b = 0; b < BATCH; b++) out->square[j * BATCH + b] = 0.0;
    for (PetscInt i = j + 1; i < plan->n_output; i++)
      for (PetscInt b = 0; b < BATCH; b++) out->below[FwBelow(i, j) * BATCH + b] = 0.0;
  }
}

static void DrawFactor(const Plan *plan, const Shape *shape, uint64_t seed, PetscInt factor, uint64_t first,
                       FwFactors *out)
{
  const uint64_t f = (uint64_t)factor;

  for (PetscInt i = 0; i < plan->n_output; i++) {
    const FwStream stream = FwStreamCreate(seed, FW_RANDOM_MIXTURE_GAMMA, f, (uint64_t)i, 0);
    const double   k      = shape->shape + shape->slope * (double)i;

    if (k > 0.0) FwStreamGammaBulk(stream, k, 1.0 / shape->scale, first, BATCH, out->square + i * BATCH);
  }
  for (PetscInt p = 0; p < plan->n_below; p++)
    FwStreamNormalBulk(FwStreamCreate(seed, FW_RANDOM_MIXTURE_NORMAL, f, (uint64_t)p, 0), first, BATCH,
                       out->below + p * BATCH);
  Scale(plan->n_below * BATCH, out->below, 1.0 / sqrt(shape->divisor));
  EmptyColumns(plan, shape, out);
}

void FwFactorDraw(const FwMixtureLaw *law, uint64_t seed, PetscInt factor, uint64_t first, FwFactors *factors)
{
  const Plan  plan  = MakePlan(law, 0);
  const Shape shape = FiniteShape(law->width[factor]);

  DrawFactor(&plan, &shape, seed, factor, first, factors);
}

/* --- from coordinates that are given -------------------------------------------------------------------------- */

/* Those of `n` samples, [sample][coordinate], into a batch; the rest of it is filled with 1 and 0 */
static void TakeFactor(const Plan *plan, const Shape *shape, PetscInt factor, PetscInt n, const double gamma[],
                       const double normal[], FwFactors *out)
{
  const PetscInt n_factor = plan->n_width + 2 * plan->n_pair, n_gamma = n_factor * plan->n_output;
  const PetscInt n_normal = n_factor * plan->n_below;

  for (PetscInt i = 0; i < plan->n_output; i++)
    for (PetscInt b = 0; b < BATCH; b++)
      out->square[i * BATCH + b] = b < n ? gamma[b * n_gamma + factor * plan->n_output + i] / shape->scale : 1.0;
  for (PetscInt p = 0; p < plan->n_below; p++)
    for (PetscInt b = 0; b < BATCH; b++)
      out->below[p * BATCH + b] =
        b < n ? normal[b * n_normal + factor * plan->n_below + p] / sqrt(shape->divisor) : 0.0;
  EmptyColumns(plan, shape, out);
}

/* --- a batch ------------------------------------------------------------------------------------------------------ */

/* Where the coordinates come from */
typedef struct {
  uint64_t      seed, first;
  PetscInt      n;              /* samples wanted of this batch */
  const double *gamma, *normal; /* NULL: from the streams */
} Source;

static void GetFactor(const Plan *plan, const FwMixtureLaw *law, const Source *source, PetscInt factor, FwFactors *out)
{
  const Shape shape = ShapeOf(plan, law, factor);

  if (source->gamma)
    TakeFactor(plan, &shape, factor, source->n, source->gamma, source->normal, out);
  else
    DrawFactor(plan, &shape, source->seed, factor, source->first, out);
}

static void MultiplyAll(const Plan *plan, const FwMixtureLaw *law, const Source *source, FwFactors work[2],
                        FwRoots *roots)
{
  for (PetscInt l = 0; l < plan->n_width; l++) {
    const Shape shape = ShapeOf(plan, law, l);

    GetFactor(plan, law, source, l, &work[0]);
    FwRootsMultiply(roots, &work[0], SafeOf(&shape, plan->n_output));
  }
  for (PetscInt p = 0; p < plan->n_pair; p++) {
    GetFactor(plan, law, source, plan->n_width + 2 * p, &work[0]);
    GetFactor(plan, law, source, plan->n_width + 2 * p + 1, &work[1]);
    FwFactorsDivide(plan->n_output, &work[1], &work[0]);
    FwRootsMultiply(roots, &work[0], 64);
  }
  FwRootsFold(roots);
}

/* Samples skip .. skip + n - 1 of the batch, [sample][entry] */
static void CopyOut(const FwRoots *roots, PetscInt skip, PetscInt n, double x[], double m[])
{
  const PetscInt D = roots->n_output;

  for (PetscInt s = 0; s < n; s++) {
    for (PetscInt i = 0; i < D; i++) {
      x[s * D + i] = roots->x[i * BATCH + skip + s];
      for (PetscInt j = 0; j < D; j++)
        m[(s * D + i) * D + j] = i == j ? 1.0 : j < i ? roots->m[FwBelow(i, j) * BATCH + skip + s] : 0.0;
    }
  }
}

PetscErrorCode FwMixtureLawCheck(const FwMixtureLaw *law, FwMixtureSampler sampler)
{
  PetscFunctionBegin;
  PetscCheck(isfinite(law->a), PETSC_COMM_WORLD, FW_ERR_INPUT, "mixture_a infinity has no law of Q to draw from");
  PetscCheck(sampler != FW_MIXTURE_BRUTE || law->a == 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_method brute draws a network's weights, and the limit law has none");
  PetscCheck((double)FwMixturePairs(law) * (double)(law->n_output * (law->n_output + 1)) < 2147483647.0,
             PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_a %g is too large for %" PetscInt_FMT " outputs, which are drawn in %" PetscInt_FMT " steps",
             law->a, law->n_output, FwMixturePairs(law));
  for (PetscInt l = 0; l < law->n_width; l++) {
    const PetscBool is_whole = law->width[l] == floor(law->width[l]) ? PETSC_TRUE : PETSC_FALSE;

    PetscCheck(is_whole || sampler != FW_MIXTURE_BRUTE, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "width %.6g: mixture_method brute wants whole numbers", law->width[l]);
    PetscCheck(is_whole || law->width[l] > (double)law->n_output - 1.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "width %.6g: a fractional width must exceed the number of outputs less 1", law->width[l]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawBartlett(const FwMixtureLaw *law, uint64_t seed, uint64_t first, PetscInt n, double x[],
                                   double m[])
{
  const Plan plan = MakePlan(law, FwMixturePairs(law));
  FwRoots    roots;
  FwFactors  work[2];

  PetscFunctionBegin;
  PetscCall(FwRootsCreate(law->n_output, &roots));
  for (int w = 0; w < 2; w++) PetscCall(FwFactorsCreate(law->n_output, &work[w]));
  for (PetscInt done = 0; done < n;) {
    const uint64_t at     = first + (uint64_t)done;
    const Source   source = {.seed = seed, .first = at - at % BATCH, .n = BATCH};
    const PetscInt skip = (PetscInt)(at % BATCH), many = PetscMin(n - done, BATCH - skip);

    FwRootsReset(&roots);
    if (law->a > 0.0 && !plan.n_pair) FwLimitDraw(law, seed, source.first, &roots);
    MultiplyAll(&plan, law, &source, work, &roots);
    CopyOut(&roots, skip, many, x + done * law->n_output, m + done * law->n_output * law->n_output);
    done += many;
  }
  for (int w = 0; w < 2; w++) PetscCall(FwFactorsDestroy(&work[w]));
  PetscCall(FwRootsDestroy(&roots));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawBrute(const FwMixtureLaw *law, uint64_t seed, uint64_t first, PetscInt n, double x[],
                                double m[])
{
  const PetscInt D = law->n_output;

  PetscFunctionBegin;
  for (PetscInt s = 0; s < n; s++) PetscCall(FwBruteDraw(law, seed, first + (uint64_t)s, x + s * D, m + s * D * D));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureDraw(const FwMixtureLaw *law, FwMixtureSampler sampler, uint64_t seed, uint64_t first,
                             PetscInt n, double x[], double m[])
{
  PetscFunctionBegin;
  PetscCall(FwMixtureLawCheck(law, sampler));
  PetscCall((sampler == FW_MIXTURE_BRUTE ? DrawBrute : DrawBartlett)(law, seed, first, n, x, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- coordinates ---------------------------------------------------------------------------------------------------- */

PetscErrorCode FwMixtureCoordinateCounts(const FwMixtureLaw *law, PetscInt *n_gamma, PetscInt *n_normal)
{
  const PetscInt n_factor = law->n_width + 2 * PairsOf(law);

  PetscFunctionBegin;
  PetscCall(FwMixtureLawCheck(law, FW_MIXTURE_BARTLETT));
  for (PetscInt l = 0; l < law->n_width; l++)
    PetscCheck(law->width[l] > (double)law->n_output - 1.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "width %.6g is below the number of outputs %" PetscInt_FMT ": the mixing matrix has no density",
               law->width[l], law->n_output);
  *n_gamma  = n_factor * law->n_output;
  *n_normal = n_factor * FwBelow(law->n_output, 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureCoordinateShapes(const FwMixtureLaw *law, double shape[])
{
  const Plan plan = MakePlan(law, PairsOf(law));

  PetscFunctionBegin;
  for (PetscInt f = 0; f < plan.n_width + 2 * plan.n_pair; f++) {
    const Shape of = ShapeOf(&plan, law, f);

    for (PetscInt i = 0; i < plan.n_output; i++) shape[f * plan.n_output + i] = of.shape + of.slope * (double)i;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureAssemble(const FwMixtureLaw *law, PetscInt n, const double gamma[], const double normal[],
                                 double x[], double m[])
{
  const Plan     plan = MakePlan(law, PairsOf(law));
  const PetscInt D    = law->n_output;
  PetscInt       n_gamma, n_normal;
  FwRoots        roots;
  FwFactors      work[2];

  PetscFunctionBegin;
  PetscCall(FwMixtureCoordinateCounts(law, &n_gamma, &n_normal));
  PetscCall(FwRootsCreate(D, &roots));
  for (int w = 0; w < 2; w++) PetscCall(FwFactorsCreate(D, &work[w]));
  for (PetscInt done = 0; done < n; done += BATCH) {
    const Source source = {
      .n = PetscMin(BATCH, n - done), .gamma = gamma + done * n_gamma, .normal = normal + done * n_normal};

    FwRootsReset(&roots);
    MultiplyAll(&plan, law, &source, work, &roots);
    CopyOut(&roots, 0, source.n, x + done * D, m + done * D * D);
  }
  for (int w = 0; w < 2; w++) PetscCall(FwFactorsDestroy(&work[w]));
  PetscCall(FwRootsDestroy(&roots));
  PetscFunctionReturn(PETSC_SUCCESS);
}
