/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Moments by zonal polynomials: power sums p = R m in monomial symmetric functions, zonal polynomials Z = U m, so that
 * E p = R U^-1 diag(multiplier) U m(1).
 *
 * U is unit triangular in the order of the partitions (Muirhead 1982, section 7.2.1); R counts (Macdonald 1995, I.6).
 * Extended precision leaves fifteen digits at order 12.
 */

#include "mixture_impl.h"

#include <finwidth/mixture_moments.h>

#include <gsl/gsl_sf_psi.h>
#include <math.h>
#include <string.h>

/* --- partitions --------------------------------------------------------------------------------------------- */

enum { MOST = FW_MOMENT_ORDER_MAX, PARTITIONS_MAX = 77 };

/* Parts, descending, padded with 0 */
typedef struct {
  int part[MOST];
} Partition;

/* Partitions of k with parts at most `most`, behind the first `n_part` parts of `head`; the count so far is returned */
static int List(int k, int most, int n_part, Partition head, Partition list[], int n)
{
  if (k == 0) {
    list[n] = head;
    return n + 1;
  }
  for (int p = k < most ? k : most; p > 0; p--) {
    head.part[n_part] = p;
    n                 = List(k - p, p, n_part + 1, head, list, n);
  }
  return n;
}

static int PartitionsOf(int k, Partition list[PARTITIONS_MAX])
{
  return List(k, k, 0, (Partition){{0}}, list, 0);
}

static int Find(int n, const Partition list[], Partition wanted)
{
  for (int i = 1; i < MOST; i++) /* insertion sort, descending */
    for (int j = i; j > 0 && wanted.part[j] > wanted.part[j - 1]; j--) {
      const int p = wanted.part[j];

      wanted.part[j]     = wanted.part[j - 1];
      wanted.part[j - 1] = p;
    }
  for (int i = 0; i < n; i++)
    if (!memcmp(&list[i], &wanted, sizeof wanted)) return i;
  return -1;
}

static int Length(const Partition *p)
{
  int n = 0;

  while (n < MOST && p->part[n]) n++;
  return n;
}

static int Multiplicity(const Partition *p, int size)
{
  int n = 0;

  for (int i = 0; i < MOST; i++) n += p->part[i] == size;
  return n;
}

/* sum kappa_i (kappa_i - i): the eigenvalue of the Laplace-Beltrami operator, and the exponent of the limit law */
static int Rho(const Partition *p)
{
  int sum = 0;

  for (int i = 0; i < MOST; i++) sum += p->part[i] * (p->part[i] - i - 1);
  return sum;
}

/* --- the matrices of one order ------------------------------------------------------------------------------ */

typedef struct {
  int         n;
  Partition   list[PARTITIONS_MAX];
  long double zonal[PARTITIONS_MAX][PARTITIONS_MAX]; /* U: row kappa, column of the monomial */
  long double power[PARTITIONS_MAX][PARTITIONS_MAX]; /* R */
} Order;

/* One entry of U from those of monomials with t taken from part j and given to part i */
static long double ZonalEntry(const Order *o, int kappa, int mu)
{
  const Partition *low = &o->list[mu];
  long double      sum = 0.0L;

  for (int i = 0; i < MOST; i++) {
    for (int j = i + 1; j < MOST; j++) {
      for (int t = 1; t <= low->part[j]; t++) {
        Partition higher = *low;

        higher.part[i] += t;
        higher.part[j] -= t;
        sum += (higher.part[i] - higher.part[j]) * o->zonal[kappa][Find(o->n, o->list, higher)];
      }
    }
  }
  return sum == 0.0L ? 0.0L : sum / (Rho(&o->list[kappa]) - Rho(low)); /* not comparable: both vanish */
}

static void MakeZonal(Order *o)
{
  for (int kappa = 0; kappa < o->n; kappa++) {
    for (int mu = 0; mu < o->n; mu++) o->zonal[kappa][mu] = mu == kappa ? 1.0L : 0.0L;
    for (int mu = kappa + 1; mu < o->n; mu++) o->zonal[kappa][mu] = ZonalEntry(o, kappa, mu);
  }
}

/* Multiply a sum of monomials of order `k` by p_r: r goes to one of the parts, or to a new one */
static void MultiplyPower(int k, int r, const long double in[], long double out[])
{
  Partition from[PARTITIONS_MAX], to[PARTITIONS_MAX];
  const int n = PartitionsOf(k, from), n_to = PartitionsOf(k + r, to);

  for (int i = 0; i < n_to; i++) out[i] = 0.0L;
  for (int i = 0; i < n; i++) {
    const int length = Length(&from[i]);

    for (int j = 0; j <= length && j < MOST; j++) {
      Partition grown = from[i];
      int       place;

      if (j > 0 && from[i].part[j] == from[i].part[j - 1]) continue; /* parts of one size are one case */
      grown.part[j] += r;
      place = Find(n_to, to, grown);
      out[place] += in[i] * Multiplicity(&to[place], from[i].part[j] + r);
    }
  }
}

static void MakePower(Order *o)
{
  for (int lambda = 0; lambda < o->n; lambda++) {
    long double a[PARTITIONS_MAX] = {1.0L}, b[PARTITIONS_MAX];
    int         k                 = 0;

    for (int i = 0; i < MOST && o->list[lambda].part[i]; i++) {
      MultiplyPower(k, o->list[lambda].part[i], a, b);
      memcpy(a, b, sizeof a);
      k += o->list[lambda].part[i];
    }
    memcpy(o->power[lambda], a, sizeof a);
  }
}

/* Number of terms of a monomial in D variables: D! / (D - length)! / prod multiplicities! */
static long double MonomialAtOne(const Partition *p, PetscInt D)
{
  const int   length = Length(p);
  long double count  = 1.0L;

  for (int i = 0; i < length; i++) count *= (long double)(D - i);
  for (int size = 1; size <= MOST; size++)
    for (int i = Multiplicity(p, size); i > 1; i--) count /= i;
  return count;
}

/* --- multipliers -------------------------------------------------------------------------------------------------- */

static long double FiniteMultiplier(double width, const Partition *p)
{
  long double product = 1.0L;

  for (int i = 0; i < MOST; i++)
    for (int j = 0; j < p->part[i]; j++) product *= 1.0L + (long double)(2 * j - i) / (long double)width;
  return product;
}

static double LogRising(double x, int n)
{
  double sum = 0.0;

  for (int j = 0; j < n; j++) sum += log(x + j);
  return sum;
}

/* Per pair: prod_i Gamma(m - i/2 + s_i) / Gamma(m - i/2) times Gamma(m + i/2 - s_i) / Gamma(m + i/2) */
static double LogPairMultiplier(double m, const Partition *p)
{
  double sum = 0.0;

  for (int i = 0; i < MOST; i++) {
    const double half = 0.5 * (i + 1);

    sum += LogRising(m - half, p->part[i]) - LogRising(m + half - p->part[i], p->part[i]);
  }
  return sum;
}

static long double Multiplier(const FwMixtureLaw *law, PetscInt n_pair, const Partition *p)
{
  long double product = 1.0L;

  for (PetscInt l = 0; l < law->n_width; l++) product *= FiniteMultiplier(law->width[l], p);
  if (n_pair)
    return product * expl((long double)n_pair * LogPairMultiplier(FwInverseTrigamma(law->a / (double)n_pair), p));
  return product * expl((long double)law->a * Rho(p));
}

double FwMixtureMultiplier(const FwMixtureLaw *law, PetscInt n, const PetscInt part[])
{
  Partition p = {{0}};

  for (PetscInt i = 0; i < n; i++) p.part[i] = (int)part[i];
  return (double)Multiplier(law, 0, &p);
}

/* --- moments of Q --------------------------------------------------------------------------------------------------- */

/* Solve y U = R row by row, then sum y diag(multiplier) U m(1) */
static void OrderMoments(const FwMixtureLaw *law, PetscInt n_pair, const Order *o, double moment[])
{
  long double zonal_moment[PARTITIONS_MAX];

  for (int kappa = 0; kappa < o->n; kappa++) {
    long double at_one = 0.0L;

    for (int mu = kappa; mu < o->n; mu++) at_one += o->zonal[kappa][mu] * MonomialAtOne(&o->list[mu], law->n_output);
    zonal_moment[kappa] =
      Length(&o->list[kappa]) > law->n_output ? 0.0L : at_one * Multiplier(law, n_pair, &o->list[kappa]);
  }
  for (int lambda = 0; lambda < o->n; lambda++) {
    long double y[PARTITIONS_MAX], sum = 0.0L;

    for (int kappa = 0; kappa < o->n; kappa++) {
      y[kappa] = o->power[lambda][kappa];
      for (int higher = 0; higher < kappa; higher++) y[kappa] -= y[higher] * o->zonal[higher][kappa];
      sum += y[kappa] * zonal_moment[kappa];
    }
    moment[lambda] = fabsl(sum) <= 1.7e308L ? (double)sum : INFINITY;
  }
}

static PetscErrorCode Moments(const FwMixtureLaw *law, PetscInt n_pair, const FwPartitions *partitions, double moment[])
{
  PetscInt done = 0;
  Order   *order;

  PetscFunctionBegin;
  PetscCall(PetscNew(&order));
  for (PetscInt k = 1; k <= partitions->order; k++) {
    order->n = PartitionsOf((int)k, order->list);
    MakeZonal(order);
    MakePower(order);
    OrderMoments(law, n_pair, order, moment + done);
    done += order->n;
  }
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureMoments(const FwMixtureLaw *law, const FwPartitions *partitions, double moment[])
{
  PetscFunctionBegin;
  PetscCall(Moments(law, 0, partitions, moment));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixtureMomentsDrawn(const FwMixtureLaw *law, const FwPartitions *partitions, double moment[])
{
  PetscFunctionBegin;
  PetscCall(Moments(law, FwMixturePairs(law), partitions, moment));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPartitionsCreate(PetscInt order, FwPartitions *partitions)
{
  Partition list[PARTITIONS_MAX];

  PetscFunctionBegin;
  PetscCheck(order >= 1 && order <= MOST, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "mixture_moments %" PetscInt_FMT " is not within 1 .. %d", order, MOST);
  *partitions = (FwPartitions){.order = order};
  for (PetscInt k = 1; k <= order; k++) partitions->n += PartitionsOf((int)k, list);
  PetscCall(PetscMalloc1(partitions->n * order, &partitions->part));
  for (PetscInt k = 1, at = 0; k <= order; k++) {
    const int n = PartitionsOf((int)k, list);

    for (int i = 0; i < n; i++, at++)
      for (PetscInt j = 0; j < order; j++) partitions->part[at * order + j] = list[i].part[j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPartitionsDestroy(FwPartitions *partitions)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(partitions->part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- logarithms and the inverse ---------------------------------------------------------------------------------- */

void FwMixtureLogCumulants(const FwMixtureLaw *law, PetscInt row, double cumulant[3])
{
  cumulant[0] = -law->a * (double)(row + 1);
  cumulant[1] = 2.0 * law->a;
  cumulant[2] = 0.0;
  for (PetscInt l = 0; l < law->n_width; l++) {
    const double shape = 0.5 * (law->width[l] - (double)row);

    if (shape <= 0.0) {
      cumulant[0] = -INFINITY;
      cumulant[1] = cumulant[2] = NAN;
      return;
    }
    cumulant[0] += gsl_sf_psi(shape) - log(0.5 * law->width[l]);
    cumulant[1] += gsl_sf_psi_1(shape);
    cumulant[2] += gsl_sf_psi_n(2, shape);
  }
}

/* Diagonal i = row + 1 of a pair: log Gamma(m - i/2) - log Gamma(m + i/2) */
void FwMixtureLogCumulantsDrawn(const FwMixtureLaw *law, PetscInt row, double cumulant[3])
{
  const double       n = (double)FwMixturePairs(law), half = 0.5 * (double)(row + 1);
  const FwMixtureLaw widths = {.n_output = law->n_output, .n_width = law->n_width, .width = law->width};
  double             m;

  FwMixtureLogCumulants(n > 0.0 ? &widths : law, row, cumulant);
  if (!(n > 0.0)) return;
  m = FwInverseTrigamma(law->a / n);
  cumulant[0] += n * (gsl_sf_psi(m - half) - gsl_sf_psi(m + half));
  cumulant[1] += n * (gsl_sf_psi_1(m - half) + gsl_sf_psi_1(m + half));
  cumulant[2] += n * (gsl_sf_psi_n(2, m - half) - gsl_sf_psi_n(2, m + half));
}

double FwMixtureInverse(const FwMixtureLaw *law)
{
  const double D       = (double)law->n_output;
  double       product = exp((D + 1.0) * law->a);

  for (PetscInt l = 0; l < law->n_width; l++) {
    if (law->width[l] <= D + 1.0) return INFINITY;
    product *= law->width[l] / (law->width[l] - D - 1.0);
  }
  return product;
}

/* --- outputs ------------------------------------------------------------------------------------------------------ */

/* With m_2 and m_11 the multipliers of order 2: E Q_11^2 = m_2, E Q_12^2 = (m_2 - m_11)/3, E Q_11 Q_22 = (m_2 + 2 m_11)/3 */
FwMixtureOutputMoments FwMixtureOutputs(const FwMixtureLaw *law, double cosine)
{
  const PetscInt two[] = {2}, one_one[] = {1, 1};
  const double   m2 = FwMixtureMultiplier(law, 1, two), m11 = FwMixtureMultiplier(law, 2, one_one);
  const double   D = (double)law->n_output, square = cosine * cosine, variance = 3.0 * m2 - 1.0;
  const double   across = (m2 - m11) / 3.0, together = (m2 + 2.0 * m11) / 3.0;

  return (FwMixtureOutputMoments){.kurtosis          = 3.0 * m2,
                                  .mardia            = D * (D + 2.0) * m2,
                                  .squares_same      = (m2 - 1.0) / variance,
                                  .squares_inputs    = (m2 * (1.0 + 2.0 * square) - 1.0) / variance,
                                  .squares_different = (together + 2.0 * across * square - 1.0) / variance};
}

double FwMixtureOutputMoment(const FwMixtureLaw *law, PetscInt k)
{
  const PetscInt row[]   = {k};
  double         product = FwMixtureMultiplier(law, 1, row);

  for (PetscInt j = 1; j < k; j++) product *= (double)(2 * j + 1);
  return product;
}
