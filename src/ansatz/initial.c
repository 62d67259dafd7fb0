/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Where training begins.
 *
 * Balanced weights: W_l = Q_l S_l Q_{l-1}^T for l = 1 .. L. The three constructions differ in where the Q and S come from.
 */

#include <finwidth/foreign.h>
#include <finwidth/orthonormal.h>
#include <finwidth/initial.h>
#include <finwidth/dense.h>
#include <finwidth/random.h>
#include <finwidth/singular.h>

#include <math.h>

const char *const FwInitialNames[FW_INITIAL_COUNT] = {"balanced", "balanced-first", "householder", "small",     "torch",
                                                      "lecun",    "xavier",         "kaiming",     "unbalanced"};

double FwInitialDefaultScale(FwInitialScheme scheme)
{
  return scheme == FW_INITIAL_SMALL ? 0.01 : scheme == FW_INITIAL_UNBALANCED ? 3.0 : 1.0;
}

double FwInitialFormula(PetscInt s, PetscInt i, PetscInt j)
{
  const PetscInt64 a = i, b = j, c = s;
  const PetscInt64 h = (a + 1) * (b + 1) * (c + 3) * (a + 2 * b + 5) + 11 * a * a * a + 23 * b * b + 37 * c * c + 5;

  return (double)(h % 101) / 50.0 - 1.0;
}

/* --- whether it can be ------------------------------------------------------------------------------------------ */

static PetscInt NarrowestFrom(const FwLearnerShape *shape, PetscInt first)
{
  PetscInt at = first;

  for (PetscInt l = first; l <= shape->n_layer; l++)
    if (shape->width[l] < shape->width[at]) at = l;
  return at;
}

static PetscInt RankOf(const FwInitial *initial, const FwLearnerShape *shape)
{
  if (initial->scheme == FW_INITIAL_BALANCED_FIRST) return PetscMin(shape->width[0], shape->width[1]);
  if (initial->n_singular) return initial->n_singular;
  return shape->width[NarrowestFrom(shape, 0)];
}

PetscErrorCode FwInitialCheck(const FwInitial *initial, const FwLearnerShape *shape)
{
  const PetscInt at = NarrowestFrom(shape, 0), rank = RankOf(initial, shape);

  PetscFunctionBegin;
  if (initial->scheme > FW_INITIAL_HOUSEHOLDER) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(initial->scheme != FW_INITIAL_HOUSEHOLDER || initial->n_singular, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_init householder: needs the singular values of the product, ansatz_init_singular");
  PetscCheck(initial->scheme != FW_INITIAL_BALANCED_FIRST || rank <= shape->width[at], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_init balanced-first: W_1 (%" PetscInt_FMT " x %" PetscInt_FMT ") has rank %" PetscInt_FMT
             ", but layer %" PetscInt_FMT " has only width %" PetscInt_FMT
             ": no balanced start exists; want widths of at least %" PetscInt_FMT ", or ansatz_init balanced",
             shape->width[1], shape->width[0], rank, at, shape->width[at], rank);
  PetscCheck(rank <= shape->width[at], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "ansatz_init %s: a product of rank %" PetscInt_FMT " does not pass layer %" PetscInt_FMT
             " of width %" PetscInt_FMT ": no balanced start exists; want at most %" PetscInt_FMT
             " ansatz_init_singular",
             FwInitialNames[initial->scheme], rank, at, shape->width[at], shape->width[at]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- drawn entries --------------------------------------------------------------------------------------------- */

/* Entry (i, j) of a matrix of layer l */
static FwStream Entry(const FwInitial *initial, FwPurpose purpose, PetscInt l, PetscInt i, PetscInt j)
{
  return FwStreamCreate(initial->seed, purpose, (uint64_t)l, (uint64_t)i, (uint64_t)j);
}

static void DrawGaussian(const FwInitial *initial, FwPurpose purpose, PetscInt l, PetscInt n, PetscInt m,
                         double deviation, double w[])
{
  for (PetscInt j = 0; j < m; j++)
    for (PetscInt i = 0; i < n; i++) {
      FwStreamNormal(Entry(initial, purpose, l, i, j), 0, 1, &w[j * n + i]);
      w[j * n + i] *= deviation;
    }
}

static void DrawUniform(const FwInitial *initial, FwPurpose purpose, PetscInt l, PetscInt n, PetscInt m, double limit,
                        double w[])
{
  for (PetscInt j = 0; j < m; j++)
    for (PetscInt i = 0; i < n; i++) {
      FwStreamUniform(Entry(initial, purpose, l, i, j), 0, 1, &w[j * n + i]);
      w[j * n + i] = limit * (2.0 * w[j * n + i] - 1.0);
    }
}

static double Deviation(const FwInitial *initial, const FwLearnerShape *shape, PetscInt l)
{
  const double in = shape->width[l - 1], out = shape->width[l];

  switch (initial->scheme) {
    case FW_INITIAL_SMALL:
      return initial->scale;
    case FW_INITIAL_XAVIER:
      return initial->scale * sqrt(2.0 / (in + out));
    case FW_INITIAL_KAIMING:
      return initial->scale * sqrt(2.0 / in);
    case FW_INITIAL_UNBALANCED:
      return (l == 1 ? initial->scale : l == shape->n_layer ? 1.0 / initial->scale : 1.0) / sqrt(in);
    default:
      return initial->scale / sqrt(in);
  }
}

static void DrawLayer(const FwInitial *initial, const FwLearnerShape *shape, PetscInt l, double theta[])
{
  const PetscInt n = shape->width[l], m = shape->width[l - 1];
  double        *w = theta + FwLearnerShapeWeight(shape, l), *b = theta + FwLearnerShapeBias(shape, l);

  if (initial->scheme == FW_INITIAL_TORCH) {
    DrawUniform(initial, FW_RANDOM_ANSATZ_WEIGHT, l, n, m, initial->scale / sqrt(m), w);
    if (shape->has_bias) DrawUniform(initial, FW_RANDOM_ANSATZ_BIAS, l, n, 1, initial->scale / sqrt(m), b);
    return;
  }
  DrawGaussian(initial, FW_RANDOM_ANSATZ_WEIGHT, l, n, m, Deviation(initial, shape, l), w);
}

/* --- balanced ---------------------------------------------------------------------------------------------------- */

/* What W_l = Q_l S_l Q_{l-1}^T is made of; q[l] is n_l x rank */
typedef struct {
  PetscInt rank;
  double  *value; /* [rank] singular values of every W_l */
  double  *q[FW_LEARNER_LAYERS + 1];
} Balanced;

/* G = U diag(s) V^T, cut to rank r: u is n x r, v is m x r */
static PetscErrorCode DecomposeDrawn(PetscInt n, PetscInt m, double g[], PetscInt r, double s[], double u[], double v[])
{
  const PetscInt k = PetscMin(n, m);
  double        *all_u, *all_vt, *all_s;

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n * k, &all_u, k * m, &all_vt, k, &all_s));
  PetscCall(FwSingularDecompose(n, m, g, all_s, all_u, all_vt));
  PetscCall(PetscArraycpy(s, all_s, r));
  PetscCall(PetscArraycpy(u, all_u, n * r));
  for (PetscInt j = 0; j < r; j++)
    for (PetscInt i = 0; i < m; i++) v[j * m + i] = all_vt[i * k + j];
  PetscCall(PetscFree3(all_u, all_vt, all_s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawBasis(const FwInitial *initial, PetscInt l, PetscInt n, PetscInt r, double q[])
{
  PetscFunctionBegin;
  DrawGaussian(initial, FW_RANDOM_ANSATZ_BASIS, l, n, r, 1.0, q);
  PetscCall(FwOrthonormalise(n, r, q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first columns of I - 2 w w^T / w^T w */
static void Reflect(PetscInt l, PetscInt n, PetscInt r, double q[])
{
  double square = 0.0;

  for (PetscInt i = 0; i < n; i++) square += pow(1.25 + FwInitialFormula(20 + l, i, 0), 2);
  for (PetscInt j = 0; j < r; j++)
    for (PetscInt i = 0; i < n; i++)
      q[j * n + i] = (i == j ? 1.0 : 0.0) -
                     2.0 * (1.25 + FwInitialFormula(20 + l, i, 0)) * (1.25 + FwInitialFormula(20 + l, j, 0)) / square;
}

/* The ends of the chain come from a drawn matrix from layer 0 to layer `top`: the product, or W_1 */
static PetscErrorCode DrawEnds(const FwInitial *initial, const FwLearnerShape *shape, PetscInt top, Balanced *b)
{
  const PetscInt n = shape->width[top], m = shape->width[0];
  double        *g;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(n * m, &g));
  DrawGaussian(initial, FW_RANDOM_ANSATZ_WEIGHT, top, n, m, initial->scale / sqrt(m), g);
  PetscCall(DecomposeDrawn(n, m, g, b->rank, b->value, b->q[top], b->q[0]));
  PetscCall(PetscFree(g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillBalanced(const FwInitial *initial, const FwLearnerShape *shape, Balanced *b)
{
  const PetscInt L = shape->n_layer, top = initial->scheme == FW_INITIAL_BALANCED_FIRST ? 1 : L;

  PetscFunctionBegin;
  if (initial->scheme == FW_INITIAL_HOUSEHOLDER) {
    for (PetscInt l = 0; l <= L; l++) Reflect(l, shape->width[l], b->rank, b->q[l]);
  } else {
    PetscCall(DrawEnds(initial, shape, top, b));
    for (PetscInt l = 1; l <= L; l++)
      if (l != top) PetscCall(DrawBasis(initial, l, shape->width[l], b->rank, b->q[l]));
  }
  for (PetscInt j = 0; j < b->rank && initial->n_singular && top == L; j++)
    b->value[j] = initial->scale * initial->singular[j];
  for (PetscInt j = 0; j < b->rank && top == L; j++) b->value[j] = pow(b->value[j], 1.0 / (double)L);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(const FwLearnerShape *shape, const Balanced *b, double theta[])
{
  double *scaled;

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= shape->n_layer; l++) {
    const PetscInt n = shape->width[l], m = shape->width[l - 1];

    PetscCall(PetscMalloc1(n * b->rank, &scaled));
    for (PetscInt j = 0; j < b->rank; j++)
      for (PetscInt i = 0; i < n; i++) scaled[j * n + i] = b->value[j] * b->q[l][j * n + i];
    FwGemm("N", "T", n, m, b->rank, 1.0, scaled, n, b->q[l - 1], m, 0.0, theta + FwLearnerShapeWeight(shape, l), n);
    PetscCall(PetscFree(scaled));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawBalanced(const FwInitial *initial, const FwLearnerShape *shape, double theta[])
{
  Balanced b = {.rank = RankOf(initial, shape)};

  PetscFunctionBegin;
  PetscCall(FwInitialCheck(initial, shape));
  PetscCall(PetscMalloc1(b.rank, &b.value));
  for (PetscInt l = 0; l <= shape->n_layer; l++) PetscCall(PetscMalloc1(shape->width[l] * b.rank, &b.q[l]));
  PetscCall(FillBalanced(initial, shape, &b));
  PetscCall(Assemble(shape, &b, theta));
  for (PetscInt l = 0; l <= shape->n_layer; l++) PetscCall(PetscFree(b.q[l]));
  PetscCall(PetscFree(b.value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwInitialDraw(const FwInitial *initial, const FwLearnerShape *shape, double theta[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(theta, FwLearnerShapeSize(shape)));
  if (initial->scheme <= FW_INITIAL_HOUSEHOLDER) {
    PetscCall(DrawBalanced(initial, shape, theta));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt l = 1; l <= shape->n_layer; l++) DrawLayer(initial, shape, l, theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- from a file --------------------------------------------------------------------------------------------------- */

/* W1 of the root, or of the result of an earlier run */
static PetscErrorCode FindName(const char path[], char letter, PetscInt l, char name[], size_t size, PetscBool *has)
{
  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(name, size, "%c%" PetscInt_FMT, letter, l));
  PetscCall(FwForeignHas(path, name, has));
  if (*has) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(name, size, "ansatz/%c%" PetscInt_FMT, letter, l));
  PetscCall(FwForeignHas(path, name, has));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* n x m by rows in the file, after axes of length 1; by columns in `to` */
static PetscErrorCode ReadSet(const char path[], const char name[], PetscInt n, PetscInt m, double to[])
{
  PetscInt64 size[FW_FOREIGN_MAX_DIM], n_entry = 1;
  PetscInt   n_dim, tail                       = m > 1 ? 2 : 1;
  FwForeign  set;
  double    *row;

  PetscFunctionBegin;
  PetscCall(FwForeignOpen(path, name, &set));
  PetscCall(FwForeignGetSizes(set, &n_dim, size));
  for (PetscInt i = 0; i < n_dim; i++) n_entry *= size[i];
  if (m == 1 && n_dim > 1 && size[n_dim - 1] == 1) tail = 2;
  PetscCheck(n_entry == (PetscInt64)n * m && n_dim >= tail && size[n_dim - tail] == n, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' is not %" PetscInt_FMT " x %" PetscInt_FMT ", as the network's widths want it", path, name, n,
             m);
  PetscCall(PetscMalloc1(n * m, &row));
  PetscCall(FwForeignRead(set, 0, size[0], row));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < m; j++) to[j * n + i] = row[i * m + j];
  for (PetscInt i = 0; i < n * m; i++)
    PetscCheck(isfinite(row[i]), PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' has an entry that is not finite", path,
               name);
  PetscCall(PetscFree(row));
  PetscCall(FwForeignClose(&set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadLayer(const char path[], const FwLearnerShape *shape, PetscInt l, double theta[])
{
  char      name[64];
  PetscBool has;

  PetscFunctionBegin;
  PetscCall(FindName(path, 'W', l, name, sizeof name, &has));
  PetscCheck(has, PETSC_COMM_SELF, FW_ERR_INPUT,
             "ansatz_weights '%s' has no W%" PetscInt_FMT ", want W1 to W%" PetscInt_FMT, path, l, shape->n_layer);
  PetscCall(ReadSet(path, name, shape->width[l], shape->width[l - 1], theta + FwLearnerShapeWeight(shape, l)));
  PetscCall(FindName(path, 'b', l, name, sizeof name, &has));
  if (has && shape->has_bias) PetscCall(ReadSet(path, name, shape->width[l], 1, theta + FwLearnerShapeBias(shape, l)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAll(const char path[], const FwLearnerShape *shape, double theta[])
{
  char      name[64];
  PetscBool has;

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= shape->n_layer; l++) PetscCall(ReadLayer(path, shape, l, theta));
  PetscCall(FindName(path, 'W', shape->n_layer + 1, name, sizeof name, &has));
  PetscCheck(!has, PETSC_COMM_SELF, FW_ERR_INPUT,
             "ansatz_weights '%s' has a W%" PetscInt_FMT ", more layers than the network's %" PetscInt_FMT, path,
             shape->n_layer + 1, shape->n_layer);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In any layer: those of the others are zero */
static PetscErrorCode HasBiases(const char path[], PetscInt n_layer, PetscBool *has_bias)
{
  char name[64];

  PetscFunctionBegin;
  for (PetscInt l = 1; l <= n_layer && !*has_bias; l++) PetscCall(FindName(path, 'b', l, name, sizeof name, has_bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwInitialHasBiases(MPI_Comm comm, const char path[], PetscInt n_layer, PetscBool *has_bias)
{
  PetscMPIInt    rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  *has_bias = PETSC_FALSE;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) code = HasBiases(path, n_layer, has_bias);
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscCallMPI(MPI_Bcast(has_bias, 1, MPIU_BOOL, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwInitialRead(MPI_Comm comm, const char path[], const FwLearnerShape *shape, double theta[])
{
  const PetscInt n = FwLearnerShapeSize(shape);
  PetscMPIInt    rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(theta, n));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) code = ReadAll(path, shape, theta);
  PetscCall(FwErrorAgree(comm, 0, code));
  PetscCallMPI(MPI_Bcast(theta, (int)n, MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
