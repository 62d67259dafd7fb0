/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Counterexamples to the Neural Feature Ansatz: data, starts and closed forms.
 */

#include <finwidth/counterexample.h>

#include <math.h>

const char *const FwCaseNames[FW_CASE_COUNT] = {"relu-clusters", "quadratic-axes", "tanh-static", "relu-bias"};

enum { CLUSTER_EXAMPLES = 200, CLUSTER_MAX = 12 }; /* more clusters would not have u_i . u_j < 0 */

static const double overlap = 0.1;

/* --- numbers ------------------------------------------------------------------------------------------------------- */

static PetscErrorCode TakeValues(FwCase *c, PetscInt n, const double value[])
{
  static const double defaults[][2] = {
    {0.9, 0.1 },
    {1.0, 4.0 },
    {4.0, 0.01},
    {0.0, 0.0 }
  };

  PetscFunctionBegin;
  c->n_value = n > 1 ? n : 2;
  for (PetscInt i = 0; i < c->n_value; i++) c->value[i] = n ? value[PetscMin(i, n - 1)] : defaults[c->kind][i];
  if (n == 1 && c->kind == FW_CASE_RELU_CLUSTERS) c->value[1] = 1.0 - value[0];
  if (n == 1 && c->kind == FW_CASE_QUADRATIC_AXES) c->value[0] = 1.0;
  if (n == 1 && c->kind == FW_CASE_TANH_STATIC) c->value[1] = 0.16 / (value[0] * value[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whole numbers of examples: the fractions become those of the data */
static PetscErrorCode RoundFractions(FwCase *c)
{
  double   sum     = 0.0;
  PetscInt n_total = 0;

  PetscFunctionBegin;
  PetscCheck(c->n_value <= CLUSTER_MAX, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_case_values: %" PetscInt_FMT " clusters, want at most %d", c->n_value, CLUSTER_MAX);
  for (PetscInt i = 0; i < c->n_value; i++) sum += c->value[i];
  PetscCheck(fabs(sum - 1.0) < 1e-6, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_case_values: fractions of clusters add up to %g, want 1", sum);
  for (PetscInt i = 0; i < c->n_value; i++) {
    const double n = rint(CLUSTER_EXAMPLES * c->value[i]);

    PetscCheck(n >= 1.0, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "ansatz_case_values: fraction %g of a cluster is less than one of %d examples", c->value[i],
               CLUSTER_EXAMPLES);
    c->value[i] = n;
    n_total += (PetscInt)n;
  }
  for (PetscInt i = 0; i < c->n_value; i++) c->value[i] /= (double)n_total;
  c->n_example = n_total;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckValues(const FwCase *c, PetscInt n)
{
  PetscFunctionBegin;
  PetscCheck(c->start > 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT, "ansatz_init_scale %g of ansatz_case: want > 0", c->start);
  PetscCheck(c->kind != FW_CASE_RELU_BIAS || n == 0, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_case_values: relu-bias has none");
  PetscCheck(c->kind != FW_CASE_TANH_STATIC || n <= 2, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_case_values: tanh-static wants w,kappa");
  for (PetscInt i = 0; i < c->n_value && c->kind != FW_CASE_RELU_BIAS; i++)
    PetscCheck(c->value[i] > 0.0 && isfinite(c->value[i]), PETSC_COMM_WORLD, FW_ERR_INPUT,
               "ansatz_case_values: %g is not positive", c->value[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwCaseCreate(FwCaseKind kind, PetscInt n_value, const double value[], double start, FwCase *c)
{
  static const FwActivationType activations[] = {FW_ACTIVATION_RELU, FW_ACTIVATION_QUADRATIC, FW_ACTIVATION_TANH,
                                                 FW_ACTIVATION_RELU};

  PetscFunctionBegin;
  PetscCheck(n_value <= FW_CASE_VALUES, PETSC_COMM_WORLD, FW_ERR_INPUT, "ansatz_case_values: more than %d",
             FW_CASE_VALUES);
  *c = (FwCase){.kind = kind, .start = start};
  PetscCall(TakeValues(c, n_value, value));
  PetscCall(CheckValues(c, n_value));
  c->is_static = kind >= FW_CASE_TANH_STATIC ? PETSC_TRUE : PETSC_FALSE;
  c->n_example = kind == FW_CASE_QUADRATIC_AXES ? 2 * c->n_value : kind == FW_CASE_TANH_STATIC ? 6 : 8;
  if (kind == FW_CASE_RELU_CLUSTERS) PetscCall(RoundFractions(c));
  c->shape = (FwLearnerShape){
    .n_layer    = 2,
    .width      = {c->n_value, c->n_value, 1},
    .activation = activations[kind],
    .has_bias   = kind == FW_CASE_RELU_BIAS ? PETSC_TRUE : PETSC_FALSE
  };
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- data -------------------------------------------------------------------------------------------------------------- */

/* u_i */
static void Direction(PetscInt k, PetscInt i, double u[])
{
  const double norm = sqrt(1.0 + (double)(k - 1) * overlap * overlap);

  for (PetscInt j = 0; j < k; j++) u[j] = (j == i ? 1.0 : -overlap) / norm;
}

static void FillClusters(const FwCase *c, double x[], double y[])
{
  PetscInt n = 0;

  for (PetscInt i = 0; i < c->n_value; i++)
    for (PetscInt m = 0; m < (PetscInt)lrint(c->value[i] * (double)c->n_example); m++, n++) {
      Direction(c->n_value, i, x + n * c->n_value);
      y[n] = 1.0;
    }
}

static void FillAxes(const FwCase *c, double x[], double y[])
{
  const PetscInt k = c->n_value;

  for (PetscInt n = 0; n < 2 * k; n++) {
    const double at = sqrt((double)k * c->value[n / 2]);

    for (PetscInt j = 0; j < k; j++) x[n * k + j] = j != n / 2 ? 0.0 : n % 2 ? -at : at;
    y[n] = at * at;
  }
}

static void FillTanh(double x[], double y[])
{
  for (PetscInt n = 0; n < 6; n++) {
    x[2 * n]     = n % 2 ? 1.0 : -1.0;
    x[2 * n + 1] = (double)(n / 2 - 1);
    y[n]         = x[2 * n] + x[2 * n + 1];
  }
}

static void FillSign(double x[], double y[])
{
  for (PetscInt n = 0; n < 8; n++) {
    x[2 * n]     = (n % 2 ? 1.0 : -1.0) * (n & 2 ? 1.0 : 1.5);
    x[2 * n + 1] = n & 4 ? 1.0 : -1.0;
    y[n]         = n % 2 ? 1.0 : -1.0;
  }
}

PetscErrorCode FwCaseExamples(const FwCase *c, double x[], double y[])
{
  PetscFunctionBegin;
  if (c->kind == FW_CASE_RELU_CLUSTERS) FillClusters(c, x, y);
  if (c->kind == FW_CASE_QUADRATIC_AXES) FillAxes(c, x, y);
  if (c->kind == FW_CASE_TANH_STATIC) FillTanh(x, y);
  if (c->kind == FW_CASE_RELU_BIAS) FillSign(x, y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- weights ------------------------------------------------------------------------------------------------------------ */

/* Two layers: unit i has weights in[i] times direction i and readout out[i] */
static void Compose(const FwCase *c, const double in[], const double out[], double theta[])
{
  const PetscInt k = c->n_value;
  double         u[FW_CASE_VALUES];
  double        *w = theta + FwLearnerShapeWeight(&c->shape, 1), *a = theta + FwLearnerShapeWeight(&c->shape, 2);

  for (PetscInt i = 0; i < k; i++) {
    for (PetscInt j = 0; j < k; j++) u[j] = j == i ? 1.0 : 0.0;
    if (c->kind == FW_CASE_RELU_CLUSTERS) Direction(k, i, u);
    for (PetscInt j = 0; j < k; j++) w[j * k + i] = in[i] * u[j];
    a[i] = out[i];
  }
}

static void ComposeSign(const FwCase *c, double theta[])
{
  double *w = theta + FwLearnerShapeWeight(&c->shape, 1), *b = theta + FwLearnerShapeBias(&c->shape, 1);
  double *a = theta + FwLearnerShapeWeight(&c->shape, 2);

  w[0] = w[1] = 2.0;
  w[2] = w[3] = 0.0;
  b[0] = a[0] = 1.0;
  b[1] = a[1]                             = -1.0;
  theta[FwLearnerShapeBias(&c->shape, 2)] = -1.0;
}

PetscErrorCode FwCaseStart(const FwCase *c, double theta[])
{
  double in[FW_CASE_VALUES], out[FW_CASE_VALUES];

  PetscFunctionBegin;
  if (c->is_static) {
    PetscCall(FwCaseExact(c, 0.0, theta));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < c->n_value; i++) {
    in[i]  = c->start;
    out[i] = c->kind == FW_CASE_QUADRATIC_AXES ? c->start / sqrt(2.0) : c->start;
  }
  Compose(c, in, out, theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* r_i^2 at a time */
static double ClusterSquare(const FwCase *c, PetscInt i, double time)
{
  return 1.0 / (1.0 + (1.0 / (c->start * c->start) - 1.0) * exp(-2.0 * c->value[i] * time));
}

PetscErrorCode FwCaseExact(const FwCase *c, double time, double theta[])
{
  double in[FW_CASE_VALUES], out[FW_CASE_VALUES];

  PetscFunctionBegin;
  if (c->kind == FW_CASE_RELU_BIAS) {
    ComposeSign(c, theta);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < c->n_value; i++) {
    in[i]  = c->kind == FW_CASE_RELU_CLUSTERS ? sqrt(ClusterSquare(c, i, time)) : pow(2.0, 1.0 / 6.0);
    out[i] = c->kind == FW_CASE_RELU_CLUSTERS ? in[i] : pow(2.0, -1.0 / 3.0);
  }
  if (c->kind == FW_CASE_TANH_STATIC) {
    in[0]  = c->value[0];
    in[1]  = c->value[1];
    out[0] = 1.0;
    out[1] = 1.0 / c->value[1];
  }
  Compose(c, in, out, theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- numbers of the closed forms -------------------------------------------------------------------------------------- */

static double Square(double x)
{
  return x * x;
}

/* Over x_2 = -1, 0, 1 of t = sech^2(kappa x_2): mean, mean square, and variance without a difference */
typedef struct {
  double mean, square, variance;
} Flatness;

static Flatness FlatnessOf(double kappa)
{
  const double t = 1.0 / Square(cosh(kappa));

  return (Flatness){(1.0 + 2.0 * t) / 3.0, (1.0 + 2.0 * t * t) / 3.0, 2.0 / 9.0 * pow(tanh(kappa), 4)};
}

/* cos(diag(w^2, kappa^2), A^alpha) for the two eigenvalues of A = (a, b; b, d) and what W_1^T W_1 is along their vectors */
static double TanhFormula(const FwCase *c, double alpha)
{
  const double   w = c->value[0], kappa = c->value[1], slope = w / Square(cosh(w));
  const Flatness t = FlatnessOf(kappa);
  const double   a = slope * slope, b = slope * t.mean, d = t.square, root = hypot(a - d, 2.0 * b);
  const double   large = 0.5 * (a + d + root), small = a * t.variance / large;
  const double   share = a < d ? b * b / (b * b + Square(large - a)) : 1.0 - b * b / (b * b + Square(large - d));
  const double   along = w * w * share + kappa * kappa * (1.0 - share), across = w * w + kappa * kappa - along;
  const double   product = pow(large, alpha) * along + pow(small, alpha) * across;

  return product / (hypot(w * w, kappa * kappa) * hypot(pow(large, alpha), pow(small, alpha)));
}

double FwCaseFormula(const FwCase *c, double alpha)
{
  double sum = 0.0, square = 0.0;

  if (c->kind == FW_CASE_RELU_BIAS) return NAN;
  if (c->kind == FW_CASE_TANH_STATIC) return TanhFormula(c, alpha);
  for (PetscInt i = 0; i < c->n_value; i++) {
    sum += pow(c->value[i], alpha);
    square += pow(c->value[i], 2.0 * alpha);
  }
  return sum / sqrt((double)c->n_value * square);
}

/* W_1^T W_1 = sum r_i^2 u_i u_i^T, AGOP = sum p_i r_i^4 u_i u_i^T, f = r_i^2 on cluster i */
static FwCaseNumbers ClusterNumbers(const FwCase *c, double time)
{
  const double k = (double)c->n_value;
  const double overlap_of_two =
    (-2.0 * overlap + (k - 2.0) * overlap * overlap) / (1.0 + (k - 1.0) * overlap * overlap);
  FwCaseNumbers numbers = {0.0, 0.0, 0.0};

  for (PetscInt i = 0; i < c->n_value; i++) {
    const double r = ClusterSquare(c, i, time);

    numbers.loss += 0.5 * c->value[i] * Square(1.0 - r);
    for (PetscInt j = 0; j < c->n_value; j++) {
      const double other = ClusterSquare(c, j, time), dot = i == j ? 1.0 : overlap_of_two;

      numbers.feature_norm += r * other * dot * dot;
      numbers.agop_norm += c->value[i] * c->value[j] * Square(r * other * dot);
    }
  }
  numbers.feature_norm = sqrt(numbers.feature_norm);
  numbers.agop_norm    = sqrt(numbers.agop_norm);
  return numbers;
}

static FwCaseNumbers TanhNumbers(const FwCase *c)
{
  const double   w = c->value[0], kappa = c->value[1], slope = w / Square(cosh(w));
  const Flatness t = FlatnessOf(kappa);

  return (FwCaseNumbers){0.5 * Square(2.0 / (exp(2.0 * w) + 1.0)) + Square(1.0 - tanh(kappa) / kappa) / 3.0,
                         hypot(w * w, kappa * kappa),
                         sqrt(pow(slope, 4) + 2.0 * Square(slope * t.mean) + Square(t.square))};
}

FwCaseNumbers FwCaseExactNumbers(const FwCase *c, double time)
{
  double square = 0.0;

  if (c->kind == FW_CASE_RELU_CLUSTERS) return ClusterNumbers(c, time);
  if (c->kind == FW_CASE_TANH_STATIC) return TanhNumbers(c);
  if (c->kind == FW_CASE_RELU_BIAS) return (FwCaseNumbers){0.0, 8.0, 0.0};
  for (PetscInt i = 0; i < c->n_value; i++) square += Square(c->value[i]);
  return (FwCaseNumbers){0.0, cbrt(2.0) * sqrt((double)c->n_value), 4.0 * sqrt(square)};
}
