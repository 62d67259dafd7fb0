/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Hamiltonian Monte Carlo on the Gram matrix of the readout.
 *
 * Coordinates x: of a convolutional network, column by column of L, log L_jj and then L_ij, i > j (as many columns as the
 * smaller of n and N); of a locally-connected one log Q_ii. With E = log det A + y^T A^-1 y, whose slope in Q is G,
 *
 *     U = sum_{i>j} L_ij^2 / 2 + sum_j [L_jj^2 / 2 - (N - j) log L_jj] + E / 2,   dE/2 = tr (G L dL^T) / N,
 *     U = sum_i (N / 2)(Q_ii - log Q_ii) + E / 2.
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

typedef struct {
  FwLocalAction action;
  PetscInt      n, n_column, n_x;
  PetscBool     is_diagonal;
  double        width;
  uint64_t      seed, number, move;
  double       *x, *slope, *trial, *trial_slope, *momentum, *mass, *noise; /* [n_x] */
  double       *l, *order, *gradient;                                      /* [n, n_column], [n, n], [n, n] */
  double        value, trial_value, step;
  FwLocalPoint  point;
} Walk;

/* --- coordinates -------------------------------------------------------------------------------------------- */

/* L of x, [n, n_column] column by column */
static void ToFactor(const Walk *w, const double x[], double l[])
{
  PetscInt k = 0;

  for (PetscInt j = 0; j < w->n_column; j++)
    for (PetscInt i = 0; i < w->n; i++) l[i + j * w->n] = i < j ? 0.0 : i == j ? exp(x[k++]) : x[k++];
}

static void ToOrder(const Walk *w, const double x[], double order[])
{
  const PetscInt n = w->n;

  for (PetscInt i = 0; i < n * n; i++) order[i] = 0.0;
  if (w->is_diagonal) {
    for (PetscInt i = 0; i < n; i++) order[i * n + i] = exp(x[i]);
    return;
  }
  ToFactor(w, x, w->l);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) {
      for (PetscInt k = 0; k < w->n_column; k++) order[i * n + j] += w->l[i + k * n] * w->l[j + k * n] / w->width;
      order[j * n + i] = order[i * n + j];
    }
}

/* Cholesky factor of N Q, cut to the columns there are */
static void FromOrder(const Walk *w, const double order[], double x[])
{
  const PetscInt n = w->n;
  PetscInt       k = 0;

  for (PetscInt i = 0; i < n && w->is_diagonal; i++) x[i] = log(order[i * n + i]);
  if (w->is_diagonal) return;
  for (PetscInt j = 0; j < w->n_column; j++)
    for (PetscInt i = j; i < n; i++) {
      double sum = w->width * order[i * n + j];

      for (PetscInt m = 0; m < j; m++) sum -= w->l[i + m * n] * w->l[j + m * n];
      w->l[i + j * n] = i == j ? sqrt(sum) : sum / w->l[j + j * n];
      x[k++]          = i == j ? log(w->l[j + j * n]) : w->l[i + j * n];
    }
}

static void SetMasses(Walk *w)
{
  PetscInt k = 0;

  for (PetscInt i = 0; i < w->n && w->is_diagonal; i++) w->mass[i] = 0.5 * w->width;
  for (PetscInt j = 0; j < w->n_column && !w->is_diagonal; j++)
    for (PetscInt i = j; i < w->n; i++) w->mass[k++] = i == j ? 2.0 * (w->width - (double)j) : 1.0;
}

/* --- potential ---------------------------------------------------------------------------------------------- */

static double DiagonalPotential(const Walk *w, const double x[], double slope[])
{
  double value = 0.0;

  for (PetscInt i = 0; i < w->n; i++) {
    const double q = exp(x[i]);

    value += 0.5 * w->width * (q - x[i]);
    slope[i] = 0.5 * w->width * (q - 1.0) + 0.5 * q * w->gradient[i * w->n + i];
  }
  return value;
}

static double FactorPotential(const Walk *w, const double x[], double slope[])
{
  const PetscInt n     = w->n;
  double         value = 0.0;
  PetscInt       k     = 0;

  for (PetscInt j = 0; j < w->n_column; j++)
    for (PetscInt i = j; i < n; i++, k++) {
      const double l = w->l[i + j * n], freedom = w->width - (double)j;
      double       force = l;

      for (PetscInt m = j; m < n; m++) force += w->gradient[i * n + m] * w->l[m + j * n] / w->width;
      value += 0.5 * l * l - (i == j ? freedom * x[k] : 0.0);
      slope[k] = i == j ? l * force - freedom : force;
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
  *value = 0.5 * (w->point.log_det + w->point.fit) +
           (w->is_diagonal ? DiagonalPotential(w, x, slope) : FactorPotential(w, x, slope));
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

static PetscErrorCode CreateWalk(FwLocalAction action, uint64_t seed, PetscInt number, Walk *w)
{
  PetscInt n_unknown;

  PetscFunctionBegin;
  *w        = (Walk){.action = action, .width = FwLocalActionWidth(action), .seed = seed, .step = longest_step};
  w->number = (uint64_t)number;
  PetscCall(FwLocalActionGetSize(action, &w->n, &n_unknown));
  w->is_diagonal = n_unknown == w->n ? PETSC_TRUE : PETSC_FALSE; /* for n = 1 both are the same law */
  w->n_column    = (PetscInt)PetscMin((double)w->n, w->width);
  w->n_x         = w->is_diagonal ? w->n : w->n_column * w->n - w->n_column * (w->n_column - 1) / 2;
  PetscCall(PetscMalloc7(w->n_x, &w->x, w->n_x, &w->slope, w->n_x, &w->trial, w->n_x, &w->trial_slope, w->n_x,
                         &w->momentum, w->n_x, &w->mass, w->n_x, &w->noise));
  PetscCall(PetscMalloc3(w->n * w->n_column, &w->l, w->n * w->n, &w->order, w->n * w->n, &w->gradient));
  PetscCall(FwLocalPointCreate(action, &w->point));
  SetMasses(w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWalk(Walk *w)
{
  PetscFunctionBegin;
  PetscCall(PetscFree7(w->x, w->slope, w->trial, w->trial_slope, w->momentum, w->mass, w->noise));
  PetscCall(PetscFree3(w->l, w->order, w->gradient));
  PetscCall(FwLocalPointDestroy(&w->point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LeaveIfAsked(MPI_Comm comm)
{
  PetscBool stop;

  PetscFunctionBegin;
  PetscCall(FwStopRequested(comm, &stop));
  PetscCheck(!stop, comm, FW_ERR_STOPPED, "stopped early in the average over order parameters");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In burn-in the step follows the acceptance, ever more slowly */
static PetscErrorCode BurnIn(Walk *w, PetscInt n_move)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < n_move; i++) {
    double    acceptance = 0.0;
    PetscBool is_accepted;

    PetscCall(LeaveIfAsked(FwLocalActionComm(w->action)));
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

    PetscCall(LeaveIfAsked(FwLocalActionComm(w->action)));
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
  FromOrder(w, start, w->x);
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
