/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Hamiltonian Monte Carlo on the Gram matrix of the readout.
 *
 * One hidden layer: N Q = L L^T. Coordinates x: column by column of L the entries that Q may have, log L_jj and then L_ij,
 * i > j, of as many columns as have a positive number of degrees of freedom nu_j: N less the columns before j that couple to
 * it (one Bartlett factor for a convolutional network, one for each patch of a locally-connected one). Of several layers
 * each has such an L, one after the other in x, and
 *
 *     Q_l = C_l C_l^T,   C_l = (1 x C_{l+1}) L_l / N_l^1/2,   C_{L+1} = 1.
 *
 * With E = log det A + y^T A^-1 y, whose slope in Q_1 is G,
 *
 *     U = sum_l {sum_{i>j} L_ij^2 / 2 + sum_j [L_jj^2 / 2 - nu_j log L_jj]} + E / 2,   dE/2 = tr (G C_1 dC_1^T).
 *
 * The mass of each coordinate is its curvature before learning, so that one step size suits all.
 */

#include <finwidth/local_average.h>
#include <finwidth/progress.h>
#include <finwidth/random.h>
#include <finwidth/stop.h>

#include <math.h>

enum { N_LEAPFROG = 6 };

/* Acceptance that burn-in steers to. Six steps of the longest are a bit more than a quarter of a period before learning,
   where a move forgets where it began; twice as long it would be back */
static const double acceptance_wanted = 0.85, longest_step = 0.3;

/* One layer; matrices column by column */
typedef struct {
  PetscInt n;       /* rows */
  double   width;   /* N_l */
  double  *freedom; /* [n] of each column; not positive where it is not there */
  double  *factor;  /* [n, n] L */
  double  *root;    /* [n, n] C */
  double  *slope;   /* [n, n] of E / 2 in C */
} Layer;

typedef struct {
  FwLocalAction action;
  PetscInt      n, n_x, n_layer; /* rows of Q, coordinates */
  uint64_t      seed, number, move;
  double       *x, *slope, *trial, *trial_slope, *momentum, *mass, *noise; /* [n_x] */
  Layer        *layer;                                                     /* [n_layer] */
  double       *order, *gradient;                                          /* [n, n] */
  double        value, trial_value, step;
  FwLocalPoint  point;
} Walk;

/* --- coordinates -------------------------------------------------------------------------------------------- */

/* Whether L of a layer has an entry */
static PetscBool Has(const Walk *w, PetscInt l, PetscInt i, PetscInt j)
{
  return i >= j && w->layer[l].freedom[j] > 0.0 && FwLocalActionCouples(w->action, i, j) ? PETSC_TRUE : PETSC_FALSE;
}

/* out = (1 x C) M for M of m rows and C of the layer above, or its transpose; a copy for the last layer */
static void MultiplyAbove(const Walk *w, PetscInt l, PetscBool transpose, const double m[], double out[])
{
  const PetscInt rows = w->layer[l].n, n = l + 1 < w->n_layer ? w->layer[l + 1].n : 1;
  const double  *c = l + 1 < w->n_layer ? w->layer[l + 1].root : NULL;

  for (PetscInt j = 0; j < rows; j++)
    for (PetscInt r = 0; r < rows; r++) {
      const double *block = m + j * rows + r / n * n;
      double        sum   = c ? 0.0 : m[j * rows + r];

      for (PetscInt k = 0; k < n && c; k++) sum += (transpose ? c[k + r % n * n] : c[r % n + k * n]) * block[k];
      out[j * rows + r] = sum;
    }
}

/* L and C of all layers, from the last one down */
static void ToFactors(Walk *w, const double x[])
{
  PetscInt k = 0;

  for (PetscInt l = 0; l < w->n_layer; l++)
    for (PetscInt j = 0; j < w->layer[l].n; j++)
      for (PetscInt i = 0; i < w->layer[l].n; i++)
        w->layer[l].factor[i + j * w->layer[l].n] = !Has(w, l, i, j) ? 0.0 : i == j ? exp(x[k++]) : x[k++];
  for (PetscInt l = w->n_layer - 1; l >= 0; l--) {
    const Layer *y = &w->layer[l];

    MultiplyAbove(w, l, PETSC_FALSE, y->factor, y->root);
    for (PetscInt i = 0; i < y->n * y->n; i++) y->root[i] /= sqrt(y->width);
  }
}

static void ToOrder(Walk *w, const double x[], double order[])
{
  const PetscInt n = w->n;
  const double  *c = w->layer[0].root;

  ToFactors(w, x);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) {
      order[i * n + j] = 0.0;
      for (PetscInt k = 0; k <= j; k++) order[i * n + j] += c[i + k * n] * c[j + k * n];
      order[j * n + i] = order[i * n + j];
    }
}

/* Cholesky factor of Q, column by column */
static void Factor(PetscInt n, const double order[], double factor[])
{
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < n; i++) {
      double sum = order[i * n + j];

      for (PetscInt m = 0; m < j && i >= j; m++) sum -= factor[i + m * n] * factor[j + m * n];
      factor[i + j * n] = i < j ? 0.0 : i == j ? sqrt(sum) : sum / factor[j + j * n];
    }
}

/* m <- (1 x C)^-1 m for lower triangular C of n rows */
static void SolveAbove(PetscInt rows, PetscInt n, const double c[], double m[])
{
  for (PetscInt j = 0; j < rows; j++)
    for (PetscInt r = 0; r < rows; r++) {
      double *block = m + j * rows + r / n * n;

      for (PetscInt k = 0; k < r % n; k++) block[r % n] -= c[r % n + k * n] * block[k];
      block[r % n] /= c[r % n + r % n * n];
    }
}

/* x at Q_1 and at the most likely Q_2 .. Q_L for it; columns that are not there are cut */
static PetscErrorCode FromOrder(Walk *w, const double order[], double x[])
{
  double  *upper;
  PetscInt k = 0;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)w->n * w->n, &upper));
  for (PetscInt l = 0; l < w->n_layer; l++) {
    if (l) PetscCall(FwLocalActionUpper(w->action, order, l, upper));
    Factor(w->layer[l].n, l ? upper : order, w->layer[l].root);
  }
  for (PetscInt l = 0; l < w->n_layer; l++) {
    const Layer *y = &w->layer[l];

    PetscCall(PetscArraycpy(y->factor, y->root, (size_t)y->n * y->n));
    if (l + 1 < w->n_layer) SolveAbove(y->n, y[1].n, y[1].root, y->factor);
    for (PetscInt j = 0; j < y->n; j++)
      for (PetscInt i = j; i < y->n; i++) {
        const double entry = sqrt(y->width) * y->factor[i + j * y->n];

        if (Has(w, l, i, j)) x[k++] = i == j ? log(entry) : entry;
      }
  }
  PetscCall(PetscFree(upper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SetMasses(Walk *w)
{
  PetscInt k = 0;

  for (PetscInt l = 0; l < w->n_layer; l++)
    for (PetscInt j = 0; j < w->layer[l].n; j++)
      for (PetscInt i = j; i < w->layer[l].n; i++)
        if (Has(w, l, i, j)) w->mass[k++] = i == j ? 2.0 * w->layer[l].freedom[j] : 1.0;
}

/* --- potential ---------------------------------------------------------------------------------------------- */

/* Slope of E / 2 in C of all layers, from the first one up: (G C_1), and above it the sum over blocks of slope L^T / N^1/2 */
static void SlopesOfRoots(Walk *w)
{
  for (PetscInt i = 0; i < w->n; i++)
    for (PetscInt j = 0; j < w->n; j++) {
      double sum = 0.0;

      for (PetscInt m = j; m < w->n; m++) sum += w->gradient[i * w->n + m] * w->layer[0].root[m + j * w->n];
      w->layer[0].slope[i + j * w->n] = sum;
    }
  for (PetscInt l = 1; l < w->n_layer; l++) {
    const Layer   *y = &w->layer[l], *below = y - 1;
    const PetscInt n = y->n;

    for (PetscInt i = 0; i < n * n; i++) y->slope[i] = 0.0;
    for (PetscInt j = 0; j < below->n; j++)
      for (PetscInt r = 0; r < below->n; r++)
        for (PetscInt k = 0; k < n; k++)
          y->slope[r % n + k * n] +=
            below->slope[r + j * below->n] * below->factor[r / n * n + k + j * below->n] / sqrt(below->width);
  }
}

/* Of the law before learning, with the whole slope; `room` is [n, n] */
static double Potential(Walk *w, const double x[], double room[], double slope[])
{
  double   value = 0.0;
  PetscInt k     = 0;

  SlopesOfRoots(w);
  for (PetscInt l = 0; l < w->n_layer; l++) {
    const Layer *y = &w->layer[l];

    MultiplyAbove(w, l, PETSC_TRUE, y->slope, room);
    for (PetscInt j = 0; j < y->n; j++)
      for (PetscInt i = j; i < y->n; i++) {
        const double entry = y->factor[i + j * y->n], force = entry + room[i + j * y->n] / sqrt(y->width);

        if (!Has(w, l, i, j)) continue;
        value += 0.5 * entry * entry - (i == j ? y->freedom[j] * x[k] : 0.0);
        slope[k++] = i == j ? entry * force - y->freedom[j] : force;
      }
  }
  return value;
}

/* U and its slope; infinite where A is not positive definite */
static PetscErrorCode Evaluate(Walk *w, const double x[], double *value, double slope[])
{
  PetscFunctionBegin;
  ToOrder(w, x, w->order);
  PetscCall(FwLocalActionEvaluateData(w->action, w->order, &w->point));
  *value = INFINITY;
  if (isinf(w->point.value)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < w->n * w->n; i++) w->gradient[i] = w->point.trace[i] - w->point.quadratic[i];
  *value = 0.5 * (w->point.log_det + w->point.fit) + Potential(w, x, w->order, slope);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- moves -------------------------------------------------------------------------------------------------- */

static double Kinetic(const Walk *w)
{
  double sum = 0.0;

  for (PetscInt k = 0; k < w->n_x; k++) sum += 0.5 * w->momentum[k] * w->momentum[k] / w->mass[k];
  return sum;
}

static void Kick(Walk *w, double step)
{
  for (PetscInt k = 0; k < w->n_x; k++) w->momentum[k] -= step * w->trial_slope[k];
}

/* Leapfrog from x to trial; trial_value is infinite where it fell off */
static PetscErrorCode Travel(Walk *w, double step)
{
  PetscFunctionBegin;
  PetscCall(PetscArraycpy(w->trial, w->x, w->n_x));
  PetscCall(PetscArraycpy(w->trial_slope, w->slope, w->n_x));
  for (int s = 0; s < N_LEAPFROG; s++) {
    Kick(w, 0.5 * step);
    for (PetscInt k = 0; k < w->n_x; k++) w->trial[k] += step * w->momentum[k] / w->mass[k];
    PetscCall(Evaluate(w, w->trial, &w->trial_value, w->trial_slope));
    if (isinf(w->trial_value)) break;
    Kick(w, 0.5 * step);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One move; `*acceptance` is the probability that it was accepted with. The length of a step is drawn within 20 %, so that
   no period is hit for ever */
static PetscErrorCode Move(Walk *w, double *acceptance, PetscBool *is_accepted)
{
  const FwStream normal  = FwStreamCreate(w->seed, FW_RANDOM_LOCAL_CHAIN, w->number, w->move, 0);
  const FwStream uniform = FwStreamCreate(w->seed, FW_RANDOM_LOCAL_CHAIN, w->number, w->move++, 1);
  double         draw[2], before;

  PetscFunctionBegin;
  FwStreamNormal(normal, 0, (size_t)w->n_x, w->noise);
  FwStreamUniform(uniform, 0, 2, draw);
  for (PetscInt k = 0; k < w->n_x; k++) w->momentum[k] = sqrt(w->mass[k]) * w->noise[k];
  before = w->value + Kinetic(w);
  PetscCall(Travel(w, w->step * (0.8 + 0.4 * draw[1])));
  *acceptance  = isinf(w->trial_value) ? 0.0 : PetscMin(1.0, exp(before - w->trial_value - Kinetic(w)));
  *is_accepted = draw[0] < *acceptance ? PETSC_TRUE : PETSC_FALSE;
  if (!*is_accepted) PetscFunctionReturn(PETSC_SUCCESS);
  w->value = w->trial_value;
  PetscCall(PetscArraycpy(w->x, w->trial, w->n_x));
  PetscCall(PetscArraycpy(w->slope, w->trial_slope, w->n_x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- a chain ------------------------------------------------------------------------------------------------ */

/* Degrees of freedom of the columns of L, and the number of its entries */
static void CountFreedom(Walk *w, PetscInt l)
{
  const Layer *y = &w->layer[l];

  for (PetscInt j = 0; j < y->n; j++) {
    y->freedom[j] = y->width;
    for (PetscInt m = 0; m < j; m++) y->freedom[j] -= FwLocalActionCouples(w->action, j, m) ? 1.0 : 0.0;
  }
  for (PetscInt j = 0; j < y->n; j++)
    for (PetscInt i = j; i < y->n; i++) w->n_x += Has(w, l, i, j) ? 1 : 0;
}

static PetscErrorCode CreateLayers(Walk *w)
{
  PetscFunctionBegin;
  PetscCall(FwLocalActionGetLayers(w->action, &w->n_layer));
  PetscCall(PetscCalloc1(w->n_layer, &w->layer));
  for (PetscInt l = 0; l < w->n_layer; l++) {
    Layer *y = &w->layer[l];
    size_t n2;

    FwLocalActionGetLayer(w->action, l, &y->n, &y->width);
    n2 = (size_t)y->n * y->n;
    PetscCall(PetscMalloc4(y->n, &y->freedom, n2, &y->factor, n2, &y->root, n2, &y->slope));
    CountFreedom(w, l);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateWalk(FwLocalAction action, uint64_t seed, PetscInt number, Walk *w)
{
  PetscInt n_unknown;

  PetscFunctionBegin;
  *w = (Walk){.action = action, .seed = seed, .number = (uint64_t)number, .step = longest_step};
  PetscCall(FwLocalActionGetSize(action, &w->n, &n_unknown));
  PetscCall(CreateLayers(w));
  PetscCall(PetscMalloc2(w->n * w->n, &w->order, w->n * w->n, &w->gradient));
  PetscCall(PetscMalloc7(w->n_x, &w->x, w->n_x, &w->slope, w->n_x, &w->trial, w->n_x, &w->trial_slope, w->n_x,
                         &w->momentum, w->n_x, &w->mass, w->n_x, &w->noise));
  PetscCall(FwLocalPointCreate(action, &w->point));
  SetMasses(w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWalk(Walk *w)
{
  PetscFunctionBegin;
  for (PetscInt l = 0; l < w->n_layer; l++)
    PetscCall(PetscFree4(w->layer[l].freedom, w->layer[l].factor, w->layer[l].root, w->layer[l].slope));
  PetscCall(PetscFree(w->layer));
  PetscCall(PetscFree7(w->x, w->slope, w->trial, w->trial_slope, w->momentum, w->mass, w->noise));
  PetscCall(PetscFree2(w->order, w->gradient));
  PetscCall(FwLocalPointDestroy(&w->point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In burn-in the step follows the acceptance, ever more slowly */
static PetscErrorCode BurnIn(Walk *w, PetscInt n_move)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n_move; i++) {
    double    acceptance = 0.0;
    PetscBool is_accepted;

    PetscCall(FwStopLeave(FwLocalActionComm(w->action), "in the average over order parameters"));
    PetscCall(Move(w, &acceptance, &is_accepted));
    w->step = PetscMin(longest_step, w->step * exp((acceptance - acceptance_wanted) / sqrt(1.0 + (double)i)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Draw(Walk *w, FwLocalChain *chain)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < chain->n; i++) {
    double    acceptance  = 0.0;
    PetscBool is_accepted = PETSC_FALSE;

    PetscCall(FwStopLeave(FwLocalActionComm(w->action), "in the average over order parameters"));
    PetscCall(Move(w, &acceptance, &is_accepted));
    chain->acceptance += (is_accepted ? 1.0 : 0.0) / (double)chain->n;
    ToOrder(w, w->x, chain->order + (size_t)i * w->n * w->n);
  }
  chain->step = w->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunWalk(Walk *w, const double start[], FwLocalChain *chain)
{
  PetscFunctionBegin;
  PetscCall(FromOrder(w, start, w->x));
  PetscCall(Evaluate(w, w->x, &w->value, w->slope));
  PetscCheck(isfinite(w->value), FwLocalActionComm(w->action), FW_ERR_NUMERICAL,
             "the covariance of the labels is not positive definite at the start of a chain: set a larger temperature");
  PetscCall(BurnIn(w, chain->n / 2 + 20));
  PetscCall(Draw(w, chain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwLocalChainCreate(FwLocalAction action, uint64_t seed, PetscInt number, const double start[],
                                  PetscInt n_draw, FwLocalChain *chain)
{
  Walk           walk;
  PetscErrorCode code;

  PetscFunctionBegin;
  *chain = (FwLocalChain){.n = n_draw};
  PetscCall(CreateWalk(action, seed, number, &walk));
  PetscCall(PetscMalloc1((size_t)n_draw * walk.n * walk.n, &chain->order));
  code = RunWalk(&walk, start, chain);
  PetscCall(DestroyWalk(&walk));
  PetscFunctionReturn(code);
}

PetscErrorCode FwLocalChainDestroy(FwLocalChain *chain)
{
  PetscFunctionBegin;
  PetscCall(PetscFree(chain->order));
  PetscFunctionReturn(PETSC_SUCCESS);
}
