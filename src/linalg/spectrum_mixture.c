/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Means and variances at the test examples, averaged over mixtures of values of Q.
 *
 * With c a node of a mixture, of weight v, and the symbols of spectrum_predict.c, a test example has
 *
 *     mean     = sum_c v_c m_c,             m_c = Q_c z.alpha_c + s^2 h.alpha_c,
 *     between  = sum_c v_c (m_c - mean)^2 = |D^T z|^2,        D the columns sqrt(v_c) (Q_c alpha_c - mean of them),
 *     within   = sum_c v_c (Q_c k_** - Q_c^2 z.A_0^-1 z) + sum_c v_c s^2 (1 - Q_c z.a_c)^2 / (1 + s^2 h.a_c).
 *
 * The nodes of an average lie close together, and D has some 36 columns but a rank of 5 or 6. With V orthogonal,
 * |D^T z| = |(D V)^T z|; V are the eigenvectors of D^T D, and columns of D V that are short enough are left out: the loss is
 * at most their squared length times |z|^2, however inaccurate V may be. So each test example is multiplied by a handful
 * of columns for all mixtures together, in blocks of test examples that stay in cache.
 */

#include "spectrum_impl.h"

#include <math.h>
#include <petscblaslapack.h>

/* Share of |D|^2 that may be lost */
static const double negligible = 1e-18;

enum { ROWS_BYTES = 1 << 19 }; /* of a block of test examples: half a second-level cache */

/* Products of every test example with some columns, and of its squares with some modes */
typedef struct {
  PetscInt n_column, n_mode;
  double  *column, *offset; /* [n_column][P], and [n_column] what is added to a product */
  double  *mode;            /* [n_mode][P] */
  double  *product;         /* [n_test_local][n_column] */
  double  *square;          /* [n_mode][n_test_local]; of a form without modes the first sum of `within` */
} Panel;

/* Columns of a mixture in the panel: the mean, n_spread of the between-variance; with a readout bias n_ones whose squares add
   to the within-variance */
typedef struct {
  PetscInt first, n_spread, n_ones;
  double   order; /* sum_c v_c Q_c */
} Parts;

/* --- columns ------------------------------------------------------------------------------------------------ */

/* Append D V to the panel, but for what is negligible: D is [n][P] with offsets; returns the number of columns */
static PetscErrorCode AppendSpread(Panel *panel, PetscBLASInt length, PetscBLASInt n, const double d[],
                                   const double offset[], PetscInt *n_kept)
{
  const PetscScalar  one = 1.0, zero = 0.0;
  const PetscBLASInt size = 34 * n;
  PetscBLASInt       info, kept = 0;
  double            *gram, *value, *work, total = 0.0, left = 0.0;

  PetscFunctionBegin;
  *n_kept = 0;
  PetscCall(PetscMalloc3((size_t)n * n, &gram, n, &value, size, &work));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n, &n, &length, &one, d, &length, d, &length, &zero, gram, &n));
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < n; i++) gram[i + j * n] += offset[i] * offset[j];
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "U", &n, gram, &n, value, work, &size, &info));
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "means at %d values of Q cannot be put together (dsyev: %d)",
             (int)n, (int)info);
  for (PetscInt i = 0; i < n; i++) total += PetscMax(value[i], 0.0);
  for (kept = n; kept > 0 && left + PetscMax(value[n - kept], 0.0) <= negligible * total; kept--)
    left += PetscMax(value[n - kept], 0.0);
  if (kept) {
    const double *v = gram + (size_t)(n - kept) * n;

    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &length, &kept, &n, &one, d, &length, v, &n, &zero,
                                        panel->column + (size_t)panel->n_column * length, &length));
    for (PetscInt j = 0; j < kept; j++) {
      panel->offset[panel->n_column + j] = 0.0;
      for (PetscInt i = 0; i < n; i++) panel->offset[panel->n_column + j] += offset[i] * v[i + j * n];
    }
  }
  panel->n_column += kept;
  *n_kept = kept;
  PetscCall(PetscFree3(gram, value, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* alpha becomes D, after its mean has gone into the panel */
static PetscErrorCode AppendMeans(FwSpectrum s, const FwMixture *m, const FwBiasSums node[], double alpha[],
                                  double offset[], Panel *panel, Parts *parts)
{
  const size_t n         = (size_t)s->n;
  double      *mean      = panel->column + (size_t)panel->n_column * n;
  double       mean_bias = 0.0;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(mean, n));
  for (PetscInt c = 0; c < m->n; c++) {
    for (size_t i = 0; i < n; i++) mean[i] += m->weight[c] * (m->order[c] * alpha[c * n + i]);
    mean_bias += m->weight[c] * s->bias * node[c].alpha_sum;
  }
  panel->offset[panel->n_column++] = mean_bias;
  if (m->n == 1) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt c = 0; c < m->n; c++) {
    const double root = sqrt(m->weight[c]);

    for (size_t i = 0; i < n; i++) alpha[c * n + i] = root * (m->order[c] * alpha[c * n + i] - mean[i]);
    offset[c] = root * (s->bias * node[c].alpha_sum - mean_bias);
  }
  PetscCall(AppendSpread(panel, s->n, m->n, alpha, offset, &parts->n_spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The last sum of `within` */
static PetscErrorCode AppendOnes(FwSpectrum s, const FwMixture *m, const FwBiasSums node[], double ones[],
                                 double offset[], Panel *panel, Parts *parts)
{
  const size_t n = (size_t)s->n;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < m->n; c++) {
    offset[c] = sqrt(m->weight[c] * s->bias * node[c].shrink);
    for (size_t i = 0; i < n; i++) ones[c * n + i] *= -m->order[c] * offset[c];
  }
  PetscCall(AppendSpread(panel, s->n, m->n, ones, offset, &parts->n_ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All columns of one mixture */
static PetscErrorCode AppendMixture(FwSpectrum s, double temperature, const FwMixture *m, PetscBool with_variance,
                                    Panel *panel, Parts *parts)
{
  const size_t   n = (size_t)s->n, all = (size_t)m->n * n, all_ones = s->bias > 0.0 ? all : 0;
  FwNodes        nodes = {.temperature = temperature, .n = m->n, .order = m->order, .weight = m->weight};
  FwBiasSums    *node;
  double        *alpha, *ones, *offset;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(all, &alpha, all_ones, &ones, m->n, &offset, m->n, &node));
  nodes.alpha = alpha;
  nodes.ones  = s->bias > 0.0 ? ones : NULL;
  if (with_variance && s->form->has_modes) nodes.mode = panel->mode + (size_t)panel->n_mode * n;
  if (with_variance && !s->form->has_modes)
    nodes.latent = panel->square + (size_t)panel->n_mode * (size_t)s->n_test_local;
  panel->n_mode++;
  code = s->form->predict(s, &nodes);
  for (PetscInt c = 0; c < m->n && !code; c++) {
    FwSpectrumAddBias(s, alpha + c * n, nodes.ones ? ones + c * n : NULL, &node[c]);
    /* no test example has anything in the modes that are zero, where labels are divided by T: next to that the rest would be
       negligible */
    PetscCall(PetscArrayzero(alpha + c * n, s->n - s->rank));
    if (nodes.ones) PetscCall(PetscArrayzero(ones + c * n, s->n - s->rank));
  }
  *parts = (Parts){.first = panel->n_column};
  for (PetscInt c = 0; c < m->n; c++) parts->order += m->weight[c] * m->order[c];
  if (!code) code = AppendMeans(s, m, node, alpha, offset, panel, parts);
  if (!code && nodes.ones) code = AppendOnes(s, m, node, ones, offset, panel, parts);
  PetscCall(PetscFree4(alpha, ones, offset, node));
  PetscFunctionReturn(code);
}

/* --- products ----------------------------------------------------------------------------------------------- */

static PetscErrorCode MultiplyBlock(FwSpectrum s, Panel *panel, PetscInt first, PetscBLASInt count, double square[])
{
  const PetscScalar  one = 1.0, zero = 0.0;
  const PetscBLASInt n = s->n, n_column = panel->n_column, n_mode = panel->n_mode, leading = s->n_test_local;
  const double      *z = s->test + (size_t)first * s->n;

  PetscFunctionBegin;
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n_column, &count, &n, &one, panel->column, &n, z, &n, &zero,
                                      panel->product + (size_t)first * n_column, &n_column));
  if (!square) PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t i = 0; i < (size_t)count * s->n; i++) square[i] = z[i] * z[i];
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &count, &n_mode, &n, &one, square, &n, panel->mode, &n, &zero,
                                      panel->square + first, &leading));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Multiply(FwSpectrum s, PetscBool with_squares, Panel *panel)
{
  const PetscInt at_once = PetscMax(16, (PetscInt)(ROWS_BYTES / sizeof(double) / (size_t)s->n));
  double        *square  = NULL;

  PetscFunctionBegin;
  if (with_squares) PetscCall(PetscMalloc1((size_t)at_once * s->n, &square));
  for (PetscInt first = 0; first < s->n_test_local; first += at_once)
    PetscCall(MultiplyBlock(s, panel, first, PetscMin(at_once, s->n_test_local - first), square));
  PetscCall(PetscFree(square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double SumSquares(PetscInt n, const double product[], const double offset[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += PetscSqr(product[i] + offset[i]);
  return sum;
}

/* Mean, within and between of this rank's test examples, [n_test_local] each */
static void Collect(FwSpectrum s, const Panel *panel, const Parts *parts, const double latent[], double mean[],
                    double within[], double between[])
{
  const PetscInt at_ones = 1 + parts->n_spread;
  const double  *offset  = panel->offset + parts->first;

  for (PetscInt t = 0; t < s->n_test_local; t++) {
    const double *product = panel->product + (size_t)t * panel->n_column + parts->first;

    mean[t]    = product[0] + offset[0];
    between[t] = SumSquares(parts->n_spread, product + 1, offset + 1);
    within[t]  = latent[t] + (s->form->has_modes ? parts->order * s->outside[t] : 0.0);
    if (s->bias > 0.0) within[t] += SumSquares(parts->n_ones, product + at_ones, offset + at_ones);
  }
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

/* Room for columns as if none could be left out */
static PetscErrorCode CreatePanel(FwSpectrum s, PetscInt n_mixture, const FwMixture mixture[], Panel *panel)
{
  size_t n_column = 0;

  PetscFunctionBegin;
  for (PetscInt m = 0; m < n_mixture; m++) n_column += (size_t)(s->bias > 0.0 ? 2 : 1) * (size_t)(mixture[m].n + 1);
  *panel = (Panel){.n_column = 0};
  PetscCall(PetscMalloc3(n_column * s->n, &panel->column, n_column, &panel->offset, n_column * (size_t)s->n_test_local,
                         &panel->product));
  PetscCall(PetscCalloc2((size_t)n_mixture * s->n, &panel->mode, (size_t)n_mixture * s->n_test_local, &panel->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyPanel(Panel *panel)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(panel->column, panel->offset, panel->product));
  PetscCall(PetscFree2(panel->mode, panel->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillPanel(FwSpectrum s, double temperature, PetscInt n_mixture, const FwMixture mixture[],
                                PetscBool with_variance, Panel *panel, Parts parts[])
{
  PetscFunctionBegin;
  for (PetscInt m = 0; m < n_mixture; m++)
    PetscCall(AppendMixture(s, temperature, &mixture[m], with_variance, panel, &parts[m]));
  PetscCall(Multiply(s, with_variance && s->form->has_modes ? PETSC_TRUE : PETSC_FALSE, panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumPredict(FwSpectrum s, double temperature, PetscInt n_mixture, const FwMixture mixture[],
                                 FwPosterior posterior[])
{
  const PetscBool with_variance = posterior[0].within ? PETSC_TRUE : PETSC_FALSE;
  const size_t    n_test        = (size_t)s->n_test_local;
  Panel           panel;
  Parts          *parts;
  double         *local;
  PetscErrorCode  code;

  PetscFunctionBegin;
  if (!s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(s->n_label == 1, FwGridComm(s->grid), PETSC_ERR_ARG_WRONGSTATE,
             "averages are of one column of labels, not of %" PetscInt_FMT, s->n_label);
  PetscCall(FwSpectrumCheckSolvable(s, temperature));
  PetscCall(CreatePanel(s, n_mixture, mixture, &panel));
  PetscCall(PetscMalloc2(n_mixture, &parts, 3 * n_test, &local));
  code = FwErrorAgreeAny(s->grid->comm, FillPanel(s, temperature, n_mixture, mixture, with_variance, &panel, parts));
  for (PetscInt m = 0; m < n_mixture && !code; m++) {
    Collect(s, &panel, &parts[m], panel.square + m * n_test, local, local + n_test, local + 2 * n_test);
    PetscCall(FwSpectrumShare(s, local, posterior[m].mean));
    if (with_variance) PetscCall(FwSpectrumShare(s, local + n_test, posterior[m].within));
    if (with_variance) PetscCall(FwSpectrumShare(s, local + 2 * n_test, posterior[m].between));
    if (with_variance) code = FwSpectrumCheckVariance(s, parts[m].order, posterior[m].within);
  }
  PetscCall(PetscFree2(parts, local));
  PetscCall(DestroyPanel(&panel));
  PetscFunctionReturn(code); /* the caller may go on with other points */
}
