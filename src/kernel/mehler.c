/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Coefficients f_n(a) = E[f(sqrt(a) z) he_n(z)] by the trapezoid rule, and the sum of the Mehler series.
 *
 * The rule converges faster than any power of its step h once 2 pi / h exceeds the highest frequency of the integrand:
 * that of f(sqrt(a) z), bandwidth * sqrt(a); of he_n, sqrt(n) near the origin; and of the Gaussian. It is run at h and,
 * on the points between, at h / 2; the two have to agree, and their mean, which is the rule at h / 2, is kept.
 *
 * The Hermite functions psi_n = he_n exp(-z^2/4) stay of order one, so that nothing overflows at thousands of terms;
 * the integrand then decays only like exp(-z^2/4), hence the cut at |z| = 13, where that is 4e-19.
 *
 * Nodes z and -z are folded together: with f's even and odd part, each coefficient needs the nodes z >= 0 only, and
 * every second coefficient of an odd or even f is zero and not stored.
 */

#include "activation_impl.h"
#include <math.h>
#include <stdlib.h>

enum {
  LANES       = 8,       /* partial sums of a dot product */
  UNROLL      = 4,       /* terms per sweep of the sum; lengths are padded to it */
  BLOCK       = 256,     /* rows summed together, so that their partial sums stay in the first cache */
  FIRST_TERMS = 64,      /* first guess of the length of a series */
  MAX_TERMS   = 16384,   /* beyond it the activation is closer to its kinked limit than to a series */
  MAX_NODES   = 1 << 20, /* of one half line */
  ORDERS      = 3        /* phi, phi', phi'' */
};

#define CUT_OFF       13.0
#define TAIL          1e-13 /* share of E[f^2] that may be cut off: bounds the error of k / sqrt(k(a) k(c)) */
#define AGREEMENT     1e-12 /* between h and h / 2; the mean of the two is then far better */
#define MAX_REFINE    16.0
#define SPECTRUM_UNIT 9.0 /* frequency beyond which exp(-z^2/2) has less than 1e-16 left */

/* Nodes of one half line. Coarse nodes come first, those between them from n_coarse on; both padded with weight 0. */
typedef struct {
  PetscInt n_coarse, n_node;
  double  *z;               /* [n_node] */
  double  *gaussian;        /* [n_node] 2 h exp(-z^2/4) / (2 pi)^(1/4), half of it at z = 0 */
  double  *psi[2];          /* [n_node] psi_n and psi_{n-1} */
  double  *part[ORDERS][2]; /* [n_node] even and odd part of phi's derivatives, times `gaussian` */
  double   norm[ORDERS];    /* E[f^2] */
  double  *storage;
} Nodes;

/* One kind of coefficients. */
typedef struct {
  PetscInt n_term, n_column; /* n_column: 1 or the number of points */
  double  *coefficient;      /* [n_term, n_column], owned */
} Table;

/* phi against phi; phi' against phi'; phi'' of the row against phi of the column, as long as phi'' needs */
enum { VALUE, SLOPE, CURVATURE, PARTNER, TABLES };

static const struct {
  int row, column, n_order, order[2];
} pass[FW_MAP_COUNT] = {
  [FW_MAP_VALUE]        = {VALUE,     VALUE,   1, {0, 0}},
  [FW_MAP_COVARIANCE]   = {SLOPE,     SLOPE,   1, {1, 1}},
  [FW_MAP_ROW_VARIANCE] = {CURVATURE, PARTNER, 2, {2, 0}},
};

struct FwMehlerImpl {
  FwActivation activation;
  PetscInt     n_point;
  Table        table[TABLES];
};

/* Coefficients of one variance while they are computed: order 0 and 1 of the pass */
typedef struct {
  PetscInt n_term;
  double   coefficient[2][MAX_TERMS + UNROLL];
} Series;

/* Which Hermite orders occur: first and step. phi of an odd activation is odd, phi' even, phi'' odd. */
static PetscInt FirstOrder(FwActivation activation, int derivative)
{
  return activation->is_odd && derivative != 1 ? 1 : 0;
}

static PetscInt OrderStep(FwActivation activation)
{
  return activation->is_odd ? 2 : 1;
}

static double Dot(PetscInt n, const double *restrict x, const double *restrict y)
{
  double sum[LANES] = {0.0};

  for (PetscInt i = 0; i < n; i += LANES)
    for (PetscInt lane = 0; lane < LANES; lane++) sum[lane] += x[i + lane] * y[i + lane];
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

static PetscErrorCode NodesAllocate(double h, Nodes *nodes)
{
  const double   n_real  = ceil(CUT_OFF / h) + 1.0;
  const PetscInt n_array = 4 + 2 * ORDERS;

  PetscFunctionBegin;
  nodes->storage = NULL;
  nodes->n_node  = 0;
  if (!(n_real < MAX_NODES)) PetscFunctionReturn(PETSC_SUCCESS); /* the caller says what it is about */
  nodes->n_coarse = ((PetscInt)n_real + LANES - 1) / LANES * LANES;
  nodes->n_node   = 2 * nodes->n_coarse;
  PetscCall(PetscCalloc1((size_t)nodes->n_node * (size_t)n_array, &nodes->storage));
  nodes->z        = nodes->storage;
  nodes->gaussian = nodes->z + nodes->n_node;
  for (int i = 0; i < 2; i++) nodes->psi[i] = nodes->gaussian + (i + 1) * nodes->n_node;
  for (int order = 0; order < ORDERS; order++)
    for (int parity = 0; parity < 2; parity++)
      nodes->part[order][parity] = nodes->psi[1] + (1 + 2 * order + parity) * nodes->n_node;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nodes at step h (coarse) and between them, with phi's derivatives at +-sqrt(a) z; n_node = 0 if there were too many */
static PetscErrorCode NodesCreate(FwActivation activation, double a, double h, Nodes *nodes)
{
  const double root = sqrt(a), constant = 2.0 * h * pow(2.0 * M_PI, -0.25);

  PetscFunctionBegin;
  PetscCall(NodesAllocate(h, nodes));
  for (PetscInt i = 0; i < nodes->n_node; i++) {
    const PetscBool is_coarse = i < nodes->n_coarse ? PETSC_TRUE : PETSC_FALSE;
    const double    z         = h * (is_coarse ? (double)i : (double)(i - nodes->n_coarse) + 0.5);
    double          up[ORDERS], down[ORDERS];

    if (z > CUT_OFF) continue;
    nodes->z[i]        = z;
    nodes->gaussian[i] = (i == 0 ? 0.5 : 1.0) * constant * exp(-0.25 * z * z);
    activation->evaluate(root * z, up);
    activation->evaluate(-root * z, down);
    for (int order = 0; order < ORDERS; order++) {
      nodes->part[order][0][i] = 0.5 * (up[order] + down[order]) * nodes->gaussian[i];
      nodes->part[order][1][i] = 0.5 * (up[order] - down[order]) * nodes->gaussian[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over the coarse nodes and over those between them, each the trapezoid rule's value at step h */
typedef struct {
  double coarse, middle;
} Estimate;

/* E[f g]; both parts carry the weight, and it is needed once */
static Estimate NodesProduct(const Nodes *nodes, int first, int second)
{
  const double constant = pow(2.0 * M_PI, -0.25);
  double       sum[2]   = {0.0, 0.0};

  for (PetscInt i = 0; i < nodes->n_node; i++) {
    const double w    = nodes->gaussian[i];
    const double even = nodes->part[first][0][i] * nodes->part[second][0][i];
    const double odd  = nodes->part[first][1][i] * nodes->part[second][1][i];

    if (w > 0.0) sum[i >= nodes->n_coarse] += (even + odd) / w * constant * exp(-0.25 * nodes->z[i] * nodes->z[i]);
  }
  return (Estimate){sum[0], sum[1]};
}

/* E[f] */
static Estimate NodesMean(const Nodes *nodes, int order)
{
  const double constant = pow(2.0 * M_PI, -0.25);
  double       sum[2]   = {0.0, 0.0};

  for (PetscInt i = 0; i < nodes->n_node; i++)
    sum[i >= nodes->n_coarse] += nodes->part[order][0][i] * constant * exp(-0.25 * nodes->z[i] * nodes->z[i]);
  return (Estimate){sum[0], sum[1]};
}

static PetscErrorCode NodesDestroy(Nodes *nodes)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(nodes->storage));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The second factor of an integrand is he_n, of frequency sqrt(n), or phi again, as in E[phi^2], which always occurs */
static double Step(FwActivation activation, double a, PetscInt n, double refine)
{
  const double own = activation->bandwidth * sqrt(a);

  return 2.0 * M_PI / ((own + fmax(own, sqrt((double)n)) + SPECTRUM_UNIT) * refine);
}

/* <f g> may vanish; Schwarz' bound is the scale of its error */
static double NodesScale(const Nodes *nodes, int first, int second)
{
  const double norm = NodesProduct(nodes, first, first).coarse;

  return sqrt(second < 0 ? norm : norm * NodesProduct(nodes, second, second).coarse);
}

PetscErrorCode FwMehlerAverage(FwActivation activation, double a, int first, int second, double *average)
{
  PetscFunctionBegin;
  for (double refine = 1.0; refine <= MAX_REFINE; refine *= 2.0) {
    Nodes    nodes;
    Estimate rule;
    double   scale;

    PetscCall(NodesCreate(activation, a, Step(activation, a, 0, refine), &nodes));
    if (!nodes.n_node) break;
    rule  = second < 0 ? NodesMean(&nodes, first) : NodesProduct(&nodes, first, second);
    scale = NodesScale(&nodes, first, second);
    PetscCall(NodesDestroy(&nodes));
    *average = 0.5 * (rule.coarse + rule.middle);
    if (fabs(rule.coarse - rule.middle) <= AGREEMENT * scale) PetscFunctionReturn(PETSC_SUCCESS);
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL, "the Gaussian average of %s at variance %.6g does not settle",
          activation->name, a);
}

/* psi_n from psi_{n-1} and psi_{n-2}: the older one is overwritten and the two change places */
static void Advance(Nodes *nodes, PetscInt n)
{
  const double raise = 1.0 / sqrt((double)n), lower = sqrt((double)(n - 1)) * raise;
  const double *restrict z = nodes->z, *restrict psi = nodes->psi[0];
  double *restrict older = nodes->psi[1];
  double *swap           = nodes->psi[1];

  for (PetscInt i = 0; i < nodes->n_node; i++) older[i] = raise * z[i] * psi[i] - lower * older[i];
  nodes->psi[1] = nodes->psi[0];
  nodes->psi[0] = swap;
}

/* psi_0; psi_{-1} is 0 */
static void StartHermite(Nodes *nodes)
{
  const double constant = pow(2.0 * M_PI, -0.25);

  for (PetscInt i = 0; i < nodes->n_node; i++) {
    nodes->psi[0][i] = constant * exp(-0.25 * nodes->z[i] * nodes->z[i]);
    nodes->psi[1][i] = 0.0;
  }
}

/* E[f he_n] at the present n, and whether both steps agree */
static double Coefficient(const Nodes *nodes, int order, PetscInt n, double norm, PetscBool *agrees)
{
  const double  *part = nodes->part[order][n % 2], *psi = nodes->psi[0];
  const PetscInt n_half = nodes->n_coarse;
  const double   coarse = Dot(n_half, part, psi), middle = Dot(n_half, part + n_half, psi + n_half);

  if (fabs(coarse - middle) > AGREEMENT * sqrt(norm)) *agrees = PETSC_FALSE;
  return 0.5 * (coarse + middle);
}

/* How far the tails of all orders of a pass are still above what may be cut off */
static PetscBool IsComplete(int n_order, const double norm[], const double taken[])
{
  for (int k = 0; k < n_order; k++)
    if (norm[k] - taken[k] > TAIL * norm[k]) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The series of a pass with up to `limit` Hermite orders; `agrees`: the step is fine enough, `complete`: so is the
   length */
static void RunSeries(FwActivation activation, Nodes *nodes, FwMap map, PetscInt limit, Series *series,
                      PetscBool *agrees, PetscBool *complete)
{
  const int      n_order = pass[map].n_order;
  const PetscInt first = FirstOrder(activation, pass[map].order[0]), step = OrderStep(activation);
  double         norm[2], taken[2]                                        = {0.0, 0.0};

  *agrees        = PETSC_TRUE;
  series->n_term = 0;
  for (int k = 0; k < n_order; k++) {
    const Estimate rule = NodesProduct(nodes, pass[map].order[k], pass[map].order[k]);

    norm[k] = 0.5 * (rule.coarse + rule.middle);
    if (fabs(rule.coarse - rule.middle) > AGREEMENT * norm[k]) *agrees = PETSC_FALSE;
  }
  *complete = IsComplete(n_order, norm, taken);
  StartHermite(nodes);
  for (PetscInt n = 0; n < limit && *agrees && !*complete; n++) {
    if (n) Advance(nodes, n);
    if (n < first || (n - first) % step) continue;
    for (int k = 0; k < n_order; k++) {
      const double value = Coefficient(nodes, pass[map].order[k], n, norm[k], agrees);

      series->coefficient[k][series->n_term] = value;
      taken[k] += value * value;
    }
    series->n_term++;
    *complete = IsComplete(n_order, norm, taken);
  }
}

/* At variance zero phi(u) = phi(0): only the coefficient of he_0 is there */
static void ZeroSeries(FwActivation activation, FwMap map, Series *series)
{
  double jet[ORDERS];

  activation->evaluate(0.0, jet);
  series->n_term = 1;
  for (int k = 0; k < pass[map].n_order; k++)
    series->coefficient[k][0] = FirstOrder(activation, pass[map].order[0]) ? 0.0 : jet[pass[map].order[k]];
}

/* The series of one variance: longer and finer until it is complete and agrees with itself */
static PetscErrorCode ComputeSeries(FwActivation activation, double a, FwMap map, Series *series)
{
  PetscInt limit  = FIRST_TERMS;
  double   refine = 1.0;

  PetscFunctionBegin;
  if (a < FW_VARIANCE_TINY) {
    ZeroSeries(activation, map, series);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  while (limit <= MAX_TERMS && refine <= MAX_REFINE) {
    const double h = Step(activation, a, limit, refine);
    PetscBool    agrees, complete;
    Nodes        nodes;

    PetscCall(NodesCreate(activation, a, h, &nodes));
    if (!nodes.n_node) break;
    RunSeries(activation, &nodes, map, limit, series, &agrees, &complete);
    PetscCall(NodesDestroy(&nodes));
    if (agrees && complete) PetscFunctionReturn(PETSC_SUCCESS);
    if (agrees)
      limit *= 2;
    else
      refine *= 2.0;
  }
  SETERRQ(PETSC_COMM_SELF, FW_ERR_NUMERICAL,
          "the kernel of %s at a pre-activation variance of %.6g needs more than %d terms: make the prior precisions "
          "larger or the inputs smaller",
          activation->name, a, (int)MAX_TERMS);
}

/* Make room for n_term terms, the new ones zero, and padded to full sweeps */
static PetscErrorCode TableGrow(Table *table, PetscInt n_term)
{
  const PetscInt padded   = (n_term + UNROLL - 1) / UNROLL * UNROLL;
  const size_t   n_column = (size_t)table->n_column, held = (size_t)table->n_term * n_column;

  PetscFunctionBegin;
  if (padded <= table->n_term) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscRealloc((size_t)padded * n_column * sizeof(double), &table->coefficient));
  PetscCall(PetscArrayzero(table->coefficient + held, (size_t)padded * n_column - held));
  table->n_term = padded;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TableSet(Table *table, PetscInt column, PetscInt n_term, const double coefficient[])
{
  for (PetscInt term = 0; term < n_term; term++)
    table->coefficient[(size_t)term * (size_t)table->n_column + (size_t)column] = coefficient[term];
}

/* A point and its variance, to be sorted so that equal variances share the work */
typedef struct {
  double   variance;
  PetscInt point;
} Sorted;

static int CompareVariances(const void *left, const void *right)
{
  const double a = ((const Sorted *)left)->variance, b = ((const Sorted *)right)->variance;

  return (a > b) - (a < b);
}

/* Fill the tables of one map for the first n_column points of `sorted` */
static PetscErrorCode FillTables(FwMehler series, FwMap map, PetscInt n_column, const Sorted sorted[], Series *work)
{
  const int tables[2] = {pass[map].row, pass[map].column}, n_table = pass[map].n_order;

  PetscFunctionBegin;
  for (int k = 0; k < n_table; k++) series->table[tables[k]].n_column = n_column;
  for (PetscInt i = 0; i < n_column; i++) {
    if (!i || sorted[i].variance != sorted[i - 1].variance)
      PetscCall(ComputeSeries(series->activation, sorted[i].variance, map, work));
    for (int k = 0; k < n_table; k++) {
      PetscCall(TableGrow(&series->table[tables[k]], work->n_term));
      TableSet(&series->table[tables[k]], n_column > 1 ? sorted[i].point : 0, work->n_term, work->coefficient[k]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Fill the tables of the maps first .. end - 1; one column stands for all points where their variances are equal */
static PetscErrorCode FillMaps(FwMehler series, int first, int end, const double variance[])
{
  const PetscInt n = series->n_point;
  PetscInt       n_column;
  Series        *work;
  Sorted        *sorted;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscNew(&work));
  PetscCall(PetscMalloc1(n, &sorted));
  for (PetscInt i = 0; i < n; i++) sorted[i] = (Sorted){variance[i], i};
  if (n) qsort(sorted, (size_t)n, sizeof *sorted, CompareVariances);
  n_column = n && sorted[0].variance == sorted[n - 1].variance ? 1 : n;
  for (int map = first; map < end && !code; map++) code = FillTables(series, (FwMap)map, n_column, sorted, work);
  PetscCall(PetscFree(sorted));
  PetscCall(PetscFree(work));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMehlerCreate(FwActivation activation, PetscInt n, const double variance[], FwMehler *series)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscNew(series));
  (*series)->activation = activation;
  (*series)->n_point    = n;
  code                  = FillMaps(*series, FW_MAP_VALUE, FW_MAP_VALUE + 1, variance);
  if (code) PetscCall(FwMehlerDestroy(series));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMehlerAddSlopes(FwMehler series, const double variance[])
{
  PetscFunctionBegin;
  PetscCall(FillMaps(series, FW_MAP_VALUE + 1, FW_MAP_COUNT, variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMehlerDestroy(FwMehler *series)
{
  PetscFunctionBegin;
  if (!*series) PetscFunctionReturn(PETSC_SUCCESS);
  for (int table = 0; table < TABLES; table++) PetscCall(PetscFree((*series)->table[table].coefficient));
  PetscCall(PetscFree(*series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Four steps of Horner's rule for rows with coefficients of their own; `weight` are those of the column */
FW_VECTOR static void SweepRows(PetscInt n, const double *restrict x, const double *row, size_t n_column,
                                const double weight[UNROLL], double *restrict sum)
{
  const double *restrict r0 = row, *restrict r1 = row + n_column, *restrict r2 = row + 2 * n_column;
  const double *restrict r3 = row + 3 * n_column;
  const double w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];

  for (PetscInt i = 0; i < n; i++) {
    double s = sum[i];

    s      = s * x[i] + r3[i] * w3;
    s      = s * x[i] + r2[i] * w2;
    s      = s * x[i] + r1[i] * w1;
    sum[i] = s * x[i] + r0[i] * w0;
  }
}

/* The same for rows that share their coefficients */
FW_VECTOR static void SweepEqualRows(PetscInt n, const double *restrict x, const double row[UNROLL],
                                     const double weight[UNROLL], double *restrict sum)
{
  const double p0 = row[0] * weight[0], p1 = row[1] * weight[1], p2 = row[2] * weight[2], p3 = row[3] * weight[3];

  for (PetscInt i = 0; i < n; i++) {
    double s = sum[i];

    s      = s * x[i] + p3;
    s      = s * x[i] + p2;
    s      = s * x[i] + p1;
    sum[i] = s * x[i] + p0;
  }
}

/* Sum the series of one block in the variable x, from the highest term that both sides have */
static void SumBlock(const Table *row, PetscInt first, PetscInt n, const Table *column, PetscInt point,
                     const double x[], double sum[])
{
  const PetscInt n_term = PetscMin(row->n_term, column->n_term);
  const size_t   stride = (size_t)column->n_column, at = stride > 1 ? (size_t)point : 0;

  for (PetscInt i = 0; i < n; i++) sum[i] = 0.0;
  for (PetscInt term = n_term - UNROLL; term >= 0; term -= UNROLL) {
    const double *own = row->coefficient + (size_t)term * (size_t)row->n_column;
    double        weight[UNROLL];

    for (int k = 0; k < UNROLL; k++) weight[k] = column->coefficient[(size_t)(term + k) * stride + at];
    if (row->n_column > 1)
      SweepRows(n, x, own + first, (size_t)row->n_column, weight, sum);
    else
      SweepEqualRows(n, x, own, weight, sum);
  }
}

PetscErrorCode FwMehlerMap(FwMehler rows, FwMap map, PetscInt first, PetscInt n, FwMehler columns, PetscInt column,
                           const double rho[], double out[])
{
  const PetscBool is_odd   = rows->activation->is_odd;
  const PetscBool is_times = FirstOrder(rows->activation, pass[map].order[0]) ? PETSC_TRUE : PETSC_FALSE;
  const double    half     = map == FW_MAP_ROW_VARIANCE ? 0.5 : 1.0;
  double          x[BLOCK], sum[BLOCK];

  PetscFunctionBegin;
  for (PetscInt begin = 0; begin < n; begin += BLOCK) {
    const PetscInt n_block = PetscMin(BLOCK, n - begin);
    const double  *r       = rho + begin;

    for (PetscInt i = 0; i < n_block; i++) x[i] = is_odd ? r[i] * r[i] : r[i];
    SumBlock(&rows->table[pass[map].row], first + begin, n_block, &columns->table[pass[map].column], column, x, sum);
    for (PetscInt i = 0; i < n_block; i++) out[begin + i] = half * (is_times ? r[i] * sum[i] : sum[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
