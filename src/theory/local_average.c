/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Hamiltonian Monte Carlo on the Gram matrix of the readout.
 *
 * Coordinates x: column by column of L the entries that Q may have, log L_jj and then L_ij, i > j, of as many columns as
 * have a positive number of degrees of freedom nu_j: N less the columns before j that couple to it (one Bartlett factor for
 * a convolutional network, one for each patch of a locally-connected one). With E = log det A + y^T A^-1 y, whose slope in Q
 * is G,
 *
 *     U = sum_{i>j} L_ij^2 / 2 + sum_j [L_jj^2 / 2 - nu_j log L_jj] + E / 2,   dE/2 = tr (G L dL^T) / N.
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
  PetscInt      n, n_x; /* rows of Q, coordinates */
  double        width;
  uint64_t      seed, number, move;
  double       *x, *slope, *trial, *trial_slope, *momentum, *mass, *noise; /* [n_x] */
  double       *freedom;              /* [n] of each column; not positive where it is not there */
  double       *l, *order, *gradient; /* [n, n], L column by column */
  double        value, trial_value, step;
  FwLocalPoint  point;
} Walk;

/* --- coordinates -------------------------------------------------------------------------------------------- */

/* Whether L has an entry */
static PetscBool Has(const Walk *w, PetscInt i, PetscInt j)
{
  return i >= j && w->freedom[j] > 0.0 && FwLocalActionCouples(w->action, i, j) ? PETSC_TRUE : PETSC_FALSE;
}

static void ToFactor(const Walk *w, const double x[], double l[])
{
  PetscInt k = 0;

  for (PetscInt j = 0; j < w->n; j++)
    for (PetscInt i = 0; i < w->n; i++) l[i + j * w->n] = !Has(w, i, j) ? 0.0 : i == j ? exp(x[k++]) : x[k++];
}

static void ToOrder(const Walk *w, const double x[], double order[])
{
  const PetscInt n = w->n;

  for (PetscInt i = 0; i < n * n; i++) order[i] = 0.0;
  ToFactor(w, x, w->l);
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++) {
      for (PetscInt k = 0; k <= j; k++) order[i * n + j] += w->l[i + k * n] * w->l[j + k * n] / w->width;
      order[j * n + i] = order[i * n + j];
    }
}

/* Cholesky factor of N Q, cut to the columns there are */
static void FromOrder(const Walk *w, const double order[], double x[])
{
  const PetscInt n = w->n;
  PetscInt       k = 0;

  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < n; i++) {
      double sum = w->width * order[i * n + j];

      w->l[i + j * n] = 0.0;
      if (!Has(w, i, j)) continue;
      for (PetscInt m = 0; m < j; m++) sum -= w->l[i + m * n] * w->l[j + m * n];
      w->l[i + j * n] = i == j ? sqrt(sum) : sum / w->l[j + j * n];
      x[k++]          = i == j ? log(w->l[j + j * n]) : w->l[i + j * n];
    }
}

static void SetMasses(Walk *w)
{
  PetscInt k = 0;

  for (PetscInt j = 0; j < w->n; j++)
    for (PetscInt i = j; i < w->n; i++)
      if (Has(w, i, j)) w->mass[k++] = i == j ? 2.0 * w->freedom[j] : 1.0;
}

/* --- potential ---------------------------------------------------------------------------------------------- */

/* Of the law before learning, with the whole slope */
static double Potential(const Walk *w, const double x[], double slope[])
{
  const PetscInt n     = w->n;
  double         value = 0.0;
  PetscInt       k     = 0;

  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = j; i < n; i++) {
      const double l     = w->l[i + j * n];
      double       force = l;

      if (!Has(w, i, j)) continue;
      for (PetscInt m = j; m < n; m++) force += w->gradient[i * n + m] * w->l[m + j * n] / w->width;
      value += 0.5 * l * l - (i == j ? w->freedom[j] * x[k] : 0.0);
      slope[k++] = i == j ? l * force - w->freedom[j] : force;
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
  *value = 0.5 * (w->point.log_det + w->point.fit) + Potential(w, x, slope);
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
static void CountFreedom(Walk *w)
{
  for (PetscInt j = 0; j < w->n; j++) {
    w->freedom[j] = w->width;
    for (PetscInt m = 0; m < j; m++) w->freedom[j] -= FwLocalActionCouples(w->action, j, m) ? 1.0 : 0.0;
  }
  for (PetscInt j = 0; j < w->n; j++)
    for (PetscInt i = j; i < w->n; i++) w->n_x += Has(w, i, j) ? 1 : 0;
}

static PetscErrorCode CreateWalk(FwLocalAction action, uint64_t seed, PetscInt number, Walk *w)
{
  PetscInt n_unknown;

  PetscFunctionBegin;
  *w        = (Walk){.action = action, .width = FwLocalActionWidth(action), .seed = seed, .step = longest_step};
  w->number = (uint64_t)number;
  PetscCall(FwLocalActionGetSize(action, &w->n, &n_unknown));
  PetscCall(PetscMalloc4(w->n, &w->freedom, w->n * w->n, &w->l, w->n * w->n, &w->order, w->n * w->n, &w->gradient));
  CountFreedom(w);
  PetscCall(PetscMalloc7(w->n_x, &w->x, w->n_x, &w->slope, w->n_x, &w->trial, w->n_x, &w->trial_slope, w->n_x,
                         &w->momentum, w->n_x, &w->mass, w->n_x, &w->noise));
  PetscCall(FwLocalPointCreate(action, &w->point));
  SetMasses(w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWalk(Walk *w)
{
  PetscFunctionBegin;
  PetscCall(PetscFree7(w->x, w->slope, w->trial, w->trial_slope, w->momentum, w->mass, w->noise));
  PetscCall(PetscFree4(w->freedom, w->l, w->order, w->gradient));
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
