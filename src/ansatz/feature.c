/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The feature matrix of a layer and its average gradient outer product, through one singular value decomposition.
 *
 *   F = T W = U diag(s) V^T,  A = F^T F,  lambda = s^2,  p_j = |W v_j|^2:
 *   cos(alpha) = sum lambda^alpha p / (|W W^T| sqrt(sum lambda^(2 alpha)))
 */

#include <finwidth/feature.h>
#include <finwidth/dense.h>
#include <finwidth/singular.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_roots.h>
#include <math.h>

struct FwFeatureImpl {
  PetscInt      n, d, r;       /* r directions are kept */
  const double *w;             /* [n x d] borrowed */
  double       *v;             /* [d x r] */
  double       *lambda, *log;  /* [r] */
  double       *p;             /* [r] |W v_j|^2 */
  double       *sum_v;         /* [r] sum of the entries of v_j */
  double        norm_m, sum_m; /* |M|, sum of its entries */
};

/* --- decomposition -------------------------------------------------------------------------------------------- */

static PetscErrorCode CheckFinite(PetscInt n, const double x[], const char what[])
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++)
    PetscCheck(isfinite(x[i]), PETSC_COMM_SELF, FW_ERR_NUMERICAL, "%s have an entry that is not finite", what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keep the directions above rounding: none where all of T W has cancelled to that */
static PetscErrorCode KeepDirections(FwFeature a, double rounding, double size, PetscInt k, const double s[],
                                     const double vt[])
{
  PetscFunctionBegin;
  while (a->r < k && s[0] > rounding * size && s[a->r] > rounding * s[0]) a->r++;
  PetscCall(PetscMalloc5(a->d * a->r, &a->v, a->r, &a->lambda, a->r, &a->log, a->r, &a->p, a->r, &a->sum_v));
  for (PetscInt j = 0; j < a->r; j++) {
    a->lambda[j] = s[j] * s[j];
    a->log[j]    = 2.0 * log(s[j]);
    a->sum_v[j]  = 0.0;
    for (PetscInt i = 0; i < a->d; i++) {
      a->v[j * a->d + i] = vt[i * k + j];
      a->sum_v[j] += vt[i * k + j];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What of M the comparisons need: |W v_j|^2, |M|_F = |W W^T|_F, the sum of its entries |W 1|^2 */
static PetscErrorCode Project(FwFeature a)
{
  const PetscInt n = a->n;
  double        *image, *gram;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n * a->r, &image, n * n, &gram));
  FwGemm("N", "N", n, a->r, a->d, 1.0, a->w, n, a->v, a->d, 0.0, image, n);
  for (PetscInt j = 0; j < a->r; j++) a->p[j] = FwDot(n, image + j * n, image + j * n);
  FwGemm("N", "T", n, n, a->d, 1.0, a->w, n, a->w, n, 0.0, gram, n);
  a->norm_m = sqrt(FwDot(n * n, gram, gram));
  for (PetscInt i = 0; i < n; i++) {
    double sum = 0.0;

    for (PetscInt j = 0; j < a->d; j++) sum += a->w[j * n + i];
    a->sum_m += sum * sum;
  }
  PetscCall(PetscFree2(image, gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureCreate(PetscInt n, PetscInt d, const double w[], PetscInt m, const double t[], double rounding,
                               FwFeature *feature)
{
  const PetscInt k = PetscMin(m, d);
  double        *f, *s, *vt, size;
  FwFeature      a;

  PetscFunctionBegin;
  PetscCall(CheckFinite(n * d, w, "weights"));
  PetscCall(CheckFinite(m * n, t, "gradients"));
  PetscCall(PetscNew(&a));
  a->n = n;
  a->d = d;
  a->w = w;
  PetscCall(PetscMalloc3(m * d, &f, k, &s, k * d, &vt));
  FwGemm("N", "N", m, d, n, 1.0, t, m, w, n, 0.0, f, m);
  PetscCall(FwSingularDecompose(m, d, f, s, NULL, vt));
  size = sqrt(FwDot(m * n, t, t) * FwDot(n * d, w, w));
  PetscCall(KeepDirections(a, rounding, size, k, s, vt));
  PetscCall(PetscFree3(f, s, vt));
  PetscCall(Project(a));
  *feature = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureDestroy(FwFeature *feature)
{
  PetscFunctionBegin;
  if (!*feature) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree5((*feature)->v, (*feature)->lambda, (*feature)->log, (*feature)->p, (*feature)->sum_v));
  PetscCall(PetscFree(*feature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- comparisons ------------------------------------------------------------------------------------------------ */

/* Powers relative to the largest eigenvalue: cosines do not change, and nothing overflows */
static double Power(const struct FwFeatureImpl *a, PetscInt j, double alpha)
{
  return exp(alpha * (a->log[j] - a->log[0]));
}

double FwFeatureSimilarity(FwFeature a, double alpha)
{
  double product = 0.0, square = 0.0;

  if (a->r == 0 || a->norm_m == 0.0) return NAN;
  for (PetscInt j = 0; j < a->r; j++) {
    const double power = Power(a, j, alpha);

    product += power * a->p[j];
    square += power * power;
  }
  return product / (a->norm_m * sqrt(square));
}

double FwFeaturePearson(FwFeature a, double alpha)
{
  const double n_entry = (double)a->d * (double)a->d;
  double       product = 0.0, square = 0.0, sum = 0.0, variance[2];

  if (a->r == 0) return NAN;
  for (PetscInt j = 0; j < a->r; j++) {
    const double power = Power(a, j, alpha);

    product += power * a->p[j];
    square += power * power;
    sum += power * a->sum_v[j] * a->sum_v[j];
  }
  variance[0] = a->norm_m * a->norm_m - a->sum_m * a->sum_m / n_entry;
  variance[1] = square - sum * sum / n_entry;
  if (!(variance[0] > 0.0 && variance[1] > 0.0)) return NAN;
  return (product - a->sum_m * sum / n_entry) / sqrt(variance[0] * variance[1]);
}

/* d/dalpha log cos(alpha) */
static double LogSlope(double alpha, void *context)
{
  const struct FwFeatureImpl *a          = context;
  double                      product[2] = {0.0}, square[2] = {0.0};

  for (PetscInt j = 0; j < a->r; j++) {
    const double power = Power(a, j, alpha), log = a->log[j] - a->log[0];

    product[0] += power * a->p[j];
    product[1] += power * a->p[j] * log;
    square[0] += power * power;
    square[1] += power * power * log;
  }
  return product[1] / product[0] - square[1] / square[0];
}

/* The slope is positive at `low` and negative at `high` */
static PetscErrorCode FindRoot(FwFeature a, double low, double high, double *root)
{
  enum { STEPS = 200 };
  gsl_function      f      = {.function = LogSlope, .params = a};
  gsl_root_fsolver *solver = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
  int               status = GSL_CONTINUE;

  PetscFunctionBegin;
  PetscCheck(solver, PETSC_COMM_SELF, FW_ERR_MEMORY, "no memory for a root");
  (void)gsl_root_fsolver_set(solver, &f, low, high);
  for (int i = 0; i < STEPS && status == GSL_CONTINUE; i++) {
    (void)gsl_root_fsolver_iterate(solver);
    status = gsl_root_test_interval(gsl_root_fsolver_x_lower(solver), gsl_root_fsolver_x_upper(solver), 1e-14, 1e-14);
  }
  *root = gsl_root_fsolver_root(solver);
  gsl_root_fsolver_free(solver);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureBestAlpha(FwFeature a, double *alpha, double *similarity)
{
  enum { N_GRID = 300 };
  const double low = FW_FEATURE_ALPHA_LEAST, step = (FW_FEATURE_ALPHA_MOST - low) / (N_GRID - 1);
  double       best = -INFINITY, left, right;
  PetscInt     at   = 0;

  PetscFunctionBegin;
  *alpha      = NAN;
  *similarity = FwFeatureSimilarity(a, 1.0);
  if (a->r < 2 || a->norm_m == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < N_GRID; i++) {
    const double value = FwFeatureSimilarity(a, low + step * i);

    if (value > best) {
      best = value;
      at   = i;
    }
  }
  *alpha = at < N_GRID - 1 ? low + step * at : FW_FEATURE_ALPHA_MOST;
  left   = low + step * PetscMax(at - 1, 0);
  right  = low + step * PetscMin(at + 1, N_GRID - 1);
  if (LogSlope(left, a) > 0.0 && LogSlope(right, a) < 0.0) PetscCall(FindRoot(a, left, right, alpha));
  *similarity = FwFeatureSimilarity(a, *alpha);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwFeatureSlopeAlpha(FwFeature a)
{
  double mean[2] = {0.0}, covariance = 0.0, variance = 0.0;
  int    n = 0;

  while (n < a->r && a->lambda[n] > 1e-10 * a->lambda[0] && a->p[n] > 0.0) n++;
  if (n < 2) return NAN;
  for (int j = 0; j < n; j++) {
    mean[0] += a->log[j] / n;
    mean[1] += log(a->p[j]) / n;
  }
  for (int j = 0; j < n; j++) {
    covariance += (a->log[j] - mean[0]) * (log(a->p[j]) - mean[1]);
    variance += (a->log[j] - mean[0]) * (a->log[j] - mean[0]);
  }
  return variance > 0.0 ? covariance / variance : NAN;
}

void FwFeatureNorms(FwFeature a, double *norm_m, double *norm_a)
{
  *norm_m = a->norm_m;
  *norm_a = sqrt(FwDot(a->r, a->lambda, a->lambda));
}

void FwFeatureDirections(FwFeature a, PetscInt *n, const double **lambda, const double **projection)
{
  *n          = a->r;
  *lambda     = a->lambda;
  *projection = a->p;
}

/* --- differences of matrices of low rank ---------------------------------------------------------------------- */

/* Z = [X^T, Y^T] is d x k; only its triangle R matters, since X^T P X - Y^T Q Y = Z diag(P, -Q) Z^T */
static PetscErrorCode Triangle(PetscInt d, PetscInt k, double z[])
{
  PetscInt info, n_work = -1;
  double   best, *tau, *work;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(PetscMin(d, k), &tau));
  LAPACKgeqrf_(&d, &k, z, &d, tau, &best, &n_work, &info);
  n_work = (PetscInt)best;
  PetscCall(PetscMalloc1(n_work, &work));
  LAPACKgeqrf_(&d, &k, z, &d, tau, work, &n_work, &info);
  PetscCall(PetscFree(work));
  PetscCall(PetscFree(tau));
  for (PetscInt j = 0; j < k; j++)
    for (PetscInt i = j + 1; i < d; i++) z[j * d + i] = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* c += sign R P R^T for the rows of R (leading dimension d) that are not zero: n of them, k columns */
static PetscErrorCode AddSandwich(PetscInt n, PetscInt k, PetscInt d, const double r[], const double p[], double sign,
                                  double c[])
{
  double *product;

  PetscFunctionBegin;
  if (!p) {
    FwGemm("N", "T", n, n, k, sign, r, d, r, d, 1.0, c, n);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(n * k, &product));
  FwGemm("N", "N", n, k, k, 1.0, r, d, p, k, 0.0, product, n);
  FwGemm("N", "T", n, n, k, sign, product, n, r, d, 1.0, c, n);
  PetscCall(PetscFree(product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* X^T P X - Y^T Q Y in an orthonormal basis of the rows of both: n x n, release with PetscFree() */
static PetscErrorCode Subtract(PetscInt d, PetscInt a, const double x[], const double p[], PetscInt b, const double y[],
                               const double q[], PetscInt *n, double **difference)
{
  const PetscInt k = a + b;
  double        *z;

  PetscFunctionBegin;
  *n = PetscMin(d, k);
  PetscCall(PetscMalloc1(d * k, &z));
  PetscCall(PetscCalloc1(*n * *n, difference));
  for (PetscInt i = 0; i < d; i++) {
    for (PetscInt j = 0; j < a; j++) z[j * d + i] = x[i * a + j];
    for (PetscInt j = 0; j < b; j++) z[(a + j) * d + i] = y[i * b + j];
  }
  PetscCall(Triangle(d, k, z));
  PetscCall(AddSandwich(*n, a, d, z, p, 1.0, *difference));
  PetscCall(AddSandwich(*n, b, d, z + a * d, q, -1.0, *difference));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues, ascending, and vectors in place of a symmetric matrix; the vectors are left out where `job` is "N" */
static PetscErrorCode Symmetric(const char job[], PetscInt n, double c[], double value[])
{
  PetscInt info, n_work = -1;
  double   best, *work;

  PetscFunctionBegin;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  LAPACKsyev_(job, "L", &n, c, &n, value, &best, &n_work, &info);
  n_work = (PetscInt)best;
  PetscCall(PetscMalloc1(n_work, &work));
  LAPACKsyev_(job, "L", &n, c, &n, value, work, &n_work, &info);
  PetscCall(PetscFree(work));
  PetscCheck(!info, PETSC_COMM_SELF, FW_ERR_NUMERICAL, "eigenvalues did not converge (dsyev: %" PetscInt_FMT ")", info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureSpectralNorm(PetscInt n, const double c[], double *norm)
{
  double *copy, *value;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(n * n, &copy, n, &value));
  PetscCall(PetscArraycpy(copy, c, n * n));
  PetscCall(Symmetric("N", n, copy, value));
  *norm = n > 0 ? fmax(fabs(value[0]), fabs(value[n - 1])) : 0.0;
  PetscCall(PetscFree2(copy, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureDifference(PetscInt d, PetscInt a, const double x[], const double p[], PetscInt b,
                                   const double y[], const double q[], double *norm)
{
  PetscInt n;
  double  *difference;

  PetscFunctionBegin;
  PetscCall(Subtract(d, a, x, p, b, y, q, &n, &difference));
  PetscCall(FwFeatureSpectralNorm(n, difference, norm));
  PetscCall(PetscFree(difference));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows lambda_j^(alpha / 2) v_j^T, so that A^alpha = Y^T Y */
static PetscErrorCode PowerRows(FwFeature a, double alpha, double **y)
{
  PetscFunctionBegin;
  PetscCall(PetscMalloc1(a->r * a->d, y));
  for (PetscInt j = 0; j < a->r; j++)
    for (PetscInt i = 0; i < a->d; i++) (*y)[i * a->r + j] = exp(0.5 * alpha * a->log[j]) * a->v[j * a->d + i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureResidual(FwFeature a, double alpha, double *residual)
{
  PetscInt n;
  double  *y, *difference;

  PetscFunctionBegin;
  PetscCall(PowerRows(a, alpha, &y));
  PetscCall(Subtract(a->d, a->n, a->w, NULL, a->r, y, NULL, &n, &difference));
  *residual = sqrt(FwDot(n * n, difference, difference)) / a->norm_m;
  PetscCall(PetscFree(difference));
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the matrices ------------------------------------------------------------------------------------------------ */

PetscErrorCode FwFeatureMatrices(FwFeature a, double alpha, double m[], double power[])
{
  double *y;

  PetscFunctionBegin;
  PetscCall(PowerRows(a, alpha, &y));
  FwGemm("T", "N", a->d, a->d, a->n, 1.0, a->w, a->n, a->w, a->n, 0.0, m, a->d);
  PetscCall(PetscArrayzero(power, a->d * a->d));
  FwGemm("T", "N", a->d, a->d, a->r, 1.0, y, a->r, y, a->r, 0.0, power, a->d);
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwFeatureDiagonals(FwFeature a, double alpha, double m[], double power[])
{
  double *y;

  PetscFunctionBegin;
  PetscCall(PowerRows(a, alpha, &y));
  for (PetscInt i = 0; i < a->d; i++) {
    m[i]     = FwDot(a->n, a->w + i * a->n, a->w + i * a->n);
    power[i] = FwDot(a->r, y + i * a->r, y + i * a->r);
  }
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a factor of K ------------------------------------------------------------------------------------------------ */

/* The unit diagonal keeps the digits of units with small slopes; units without any slope have a zero row */
PetscErrorCode FwFeatureFactor(PetscInt n, const double k[], PetscInt *m, double t[], PetscBool *is_good)
{
  double  *scaled, *value, *scale;
  PetscInt n_flat = 0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n * n, &scaled, n, &value, n, &scale));
  for (PetscInt i = 0; i < n; i++) {
    scale[i] = k[i * n + i] > 0.0 ? sqrt(k[i * n + i]) : 0.0;
    n_flat += scale[i] > 0.0 ? 0 : 1;
  }
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < n; i++) {
      const double both = scale[i] * scale[j];

      scaled[j * n + i] = both > 0.0 ? k[j * n + i] / both : 0.0;
    }
  PetscCall(Symmetric("V", n, scaled, value));
  *m = 0;
  while (*m < n && value[n - 1 - *m] > (double)n * PETSC_MACHINE_EPSILON * value[n - 1]) (*m)++;
  *is_good = (PetscBool)(n_flat == n || (*m == n - n_flat && value[n_flat] > 1e-6 * value[n - 1]));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < *m; j++) t[i * *m + j] = sqrt(value[n - 1 - j]) * scaled[(n - 1 - j) * n + i] * scale[i];
  PetscCall(PetscFree3(scaled, value, scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}
