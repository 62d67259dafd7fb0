/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One Markov chain: moves, tuning, what is kept of its samples.
 */

#include "tuning.h"

#include <finwidth/random.h>
#include <finwidth/sampler.h>

#include <math.h>
#include <string.h>

static const double divergence = 1000.0; /* in H: no trajectory of a step that works loses so much */
/* Mean; a quarter of the period of a mode of width 1, after which neither its place nor its energy remembers where it
   began. Lengths from half to three halves of it leave no stiffer mode in step */
static const double trajectory_time = M_PI_2;

/* A trajectory is at most this many steps: in the first third of burn-in the chain comes down from the prior with steps
   that are still far too small */
enum { LEAPFROG_FIRST = 32, LEAPFROG_MOST = 1024, MOVES_MOST = 1000 };

/* All of a chain that changes and is not an array; eight bytes each, so that they pack as doubles */
typedef struct {
  double   n_done;    /* samples */
  double   n_refresh; /* moves since the start: the counter of the streams */
  FwTuning tuning;
  double   is_frozen, step; /* step in use once frozen */
  double   n_move, acceptance, n_divergent, n_gradient;
} Numbers;

struct FwChainImpl {
  FwTarget      target;
  FwSamplerPlan plan;
  PetscInt      number;
  double        step_scale;
  Numbers       at;
  PetscBool     has_gradient; /* energy and gradient belong to w */
  double        energy, *w, *gradient;
  double       *w_new, *gradient_new, *p; /* a move's own */
  double       *series, *block, *sample_series, *sample_field;
};

PetscInt FwSamplerTuning(const FwSamplerPlan *plan)
{
  return plan->method == FW_SAMPLER_LANGEVIN ? plan->n_burnin - plan->n_burnin / 3 : plan->n_burnin;
}

double FwSamplerGradients(const FwSamplerPlan *plan)
{
  const double step = plan->step > 0.0 ? plan->step : 0.05;

  if (plan->leapfrog > 0) return (double)plan->leapfrog;
  if (plan->method == FW_SAMPLER_HMC) return PetscMin(ceil(trajectory_time / step), LEAPFROG_MOST);
  return PetscMin(ceil(1.0 / (step * step)), MOVES_MOST);
}

/* --- life --------------------------------------------------------------------------------------------------- */

PetscErrorCode FwChainCreate(const FwTarget *target, const FwSamplerPlan *plan, PetscInt number, double step_scale,
                             FwChain *chain)
{
  FwChain c;

  PetscFunctionBegin;
  PetscCall(PetscNew(&c));
  c->target     = *target;
  c->plan       = *plan;
  c->number     = number;
  c->step_scale = step_scale;
  FwTuningStart(&c->at.tuning, 0.1);
  PetscCall(PetscMalloc1(target->n, &c->w)); /* alone, as the next three: an accepted move swaps them */
  PetscCall(PetscMalloc1(target->n, &c->w_new));
  PetscCall(PetscCalloc1(target->n, &c->gradient)); /* stays so where U is infinite at the start */
  PetscCall(PetscMalloc1(target->n, &c->gradient_new));
  PetscCall(PetscMalloc1(target->n, &c->p));
  PetscCall(PetscCalloc4((size_t)target->n_series * plan->n_sample, &c->series, (size_t)target->n_field * plan->n_block,
                         &c->block, target->n_series, &c->sample_series, target->n_field, &c->sample_field));
  FwStreamNormal(FwStreamCreate(plan->seed, FW_RANDOM_CHAIN_START, (uint64_t)number, 0, 0), 0, (size_t)target->n, c->w);
  *chain = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainDestroy(FwChain *chain)
{
  FwChain c = *chain;

  PetscFunctionBegin;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(c->w));
  PetscCall(PetscFree(c->w_new));
  PetscCall(PetscFree(c->gradient));
  PetscCall(PetscFree(c->gradient_new));
  PetscCall(PetscFree(c->p));
  PetscCall(PetscFree4(c->series, c->block, c->sample_series, c->sample_field));
  PetscCall(PetscFree(*chain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainGetState(FwChain c, FwChainState *state)
{
  PetscFunctionBegin;
  *state = (FwChainState){.n_done      = (PetscInt)c->at.n_done,
                          .series      = c->series,
                          .block       = c->block,
                          .w           = c->w,
                          .step        = c->at.is_frozen != 0.0 ? c->at.step : FwTuningStep(&c->at.tuning),
                          .n_move      = c->at.n_move,
                          .acceptance  = c->at.acceptance,
                          .n_divergent = c->at.n_divergent,
                          .n_gradient  = c->at.n_gradient};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- moves -------------------------------------------------------------------------------------------------- */

PetscErrorCode FwLeapfrog(const FwTarget *target, double step, PetscInt n_step, double w[], double p[],
                          double gradient[], double *energy)
{
  const PetscInt n = target->n;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; i++) p[i] -= 0.5 * step * gradient[i];
  for (PetscInt s = 1; s <= n_step; s++) {
    const double kick = s < n_step ? step : 0.5 * step;

    for (PetscInt i = 0; i < n; i++) w[i] += step * p[i];
    PetscCall(target->evaluate(target->context, w, energy, gradient));
    for (PetscInt i = 0; i < n; i++) p[i] -= kick * gradient[i];
    if (!isfinite(*energy)) break; /* the rest of the trajectory would be lost anyway */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Kinetic(PetscInt n, const double p[])
{
  double sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += p[i] * p[i];
  return 0.5 * sum;
}

static PetscErrorCode EnsureGradient(FwChain c)
{
  PetscFunctionBegin;
  if (!c->has_gradient) PetscCall(c->target.evaluate(c->target.context, c->w, &c->energy, c->gradient));
  c->has_gradient = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Accept(FwChain c, double energy)
{
  double *w = c->w, *gradient = c->gradient;

  c->w            = c->w_new;
  c->w_new        = w;
  c->gradient     = c->gradient_new;
  c->gradient_new = gradient;
  c->energy       = energy;
}

/* The move of this number; `loss` is the change of H */
static PetscErrorCode Propose(FwChain c, double step, PetscInt n_step, double *energy, double *loss)
{
  const size_t   n = (size_t)c->target.n;
  const FwStream stream =
    FwStreamCreate(c->plan.seed, FW_RANDOM_MOMENTUM, (uint64_t)c->number, (uint64_t)c->at.n_refresh, 0);
  double before;

  PetscFunctionBegin;
  PetscCall(EnsureGradient(c));
  FwStreamNormalBulk(stream, 0, n, c->p);
  before = c->energy + Kinetic(c->target.n, c->p);
  memcpy(c->w_new, c->w, n * sizeof *c->w);
  memcpy(c->gradient_new, c->gradient, n * sizeof *c->w);
  PetscCall(FwLeapfrog(&c->target, step, n_step, c->w_new, c->p, c->gradient_new, energy));
  *loss = *energy + Kinetic(c->target.n, c->p) - before;
  c->at.n_gradient += (double)n_step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* @param[out] probability  of acceptance; 0 for a trajectory that met a number that is none */
static PetscErrorCode Move(FwChain c, double step, PetscInt n_step, PetscBool is_corrected, double *probability)
{
  const PetscBool is_counted = c->at.n_done >= c->plan.n_burnin ? PETSC_TRUE : PETSC_FALSE;
  double          energy = NAN, loss = NAN, u;

  PetscFunctionBegin;
  PetscCall(Propose(c, step, n_step, &energy, &loss));
  *probability = loss <= 0.0 ? 1.0 : loss > 0.0 ? exp(-loss) : 0.0;
  FwStreamUniform(FwStreamCreate(c->plan.seed, FW_RANDOM_ACCEPT, (uint64_t)c->number, (uint64_t)c->at.n_refresh, 0), 0,
                  1, &u);
  c->at.n_refresh += 1.0;
  if (is_counted) {
    c->at.n_move += 1.0;
    c->at.acceptance += *probability;
    if (!(loss < divergence)) c->at.n_divergent += 1.0;
  }
  if (is_corrected ? u < *probability : isfinite(energy)) Accept(c, energy);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- one sample --------------------------------------------------------------------------------------------- */

/* Leapfrog steps of a sample's trajectory, or moves of a sample. The same draw for all chains: they then take the same
   time, and none waits for another */
static PetscInt Length(FwChain c, double step)
{
  const PetscBool is_first = 3.0 * c->at.n_done < (double)c->plan.n_burnin ? PETSC_TRUE : PETSC_FALSE;
  double          u;

  if (c->plan.method != FW_SAMPLER_HMC) {
    if (c->plan.leapfrog > 0) return c->plan.leapfrog;
    return (PetscInt)PetscMin(ceil(1.0 / (step * step)), MOVES_MOST);
  }
  FwStreamUniform(FwStreamCreate(c->plan.seed, FW_RANDOM_TRAJECTORY, (uint64_t)c->at.n_done, 0, 0), 0, 1, &u);
  u = (0.5 + u) * (c->plan.leapfrog > 0 ? (double)c->plan.leapfrog : trajectory_time / step);
  return (PetscInt)PetscMin(ceil(u), is_first ? LEAPFROG_FIRST : LEAPFROG_MOST);
}

static double StepInUse(FwChain c)
{
  return c->at.is_frozen != 0.0 ? c->at.step : FwTuningTrial(&c->at.tuning);
}

static PetscErrorCode MakeMoves(FwChain c)
{
  static const double target[] = {0.75, 0.574, 0.95}; /* acceptance: of hmc, mala, and mala in place of langevin */
  const PetscBool     is_hmc   = c->plan.method == FW_SAMPLER_HMC ? PETSC_TRUE : PETSC_FALSE;
  const PetscInt      length   = Length(c, StepInUse(c));

  PetscFunctionBegin;
  for (PetscInt m = 0; m < (is_hmc ? 1 : length); m++) {
    const PetscBool is_corrected =
      c->plan.method != FW_SAMPLER_LANGEVIN || c->at.is_frozen == 0.0 ? PETSC_TRUE : PETSC_FALSE;
    double probability = 0.0;

    PetscCall(Move(c, StepInUse(c), is_hmc ? length : 1, is_corrected, &probability));
    if (c->at.is_frozen == 0.0) FwTuningLearn(&c->at.tuning, probability, target[c->plan.method]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Keep(FwChain c)
{
  const FwTarget *t      = &c->target;
  const PetscInt  sample = (PetscInt)c->at.n_done - c->plan.n_burnin;
  double         *block  = c->block + (size_t)(sample * c->plan.n_block / c->plan.n_sample) * t->n_field;

  PetscFunctionBegin;
  PetscCall(t->measure(t->context, c->w, c->sample_series, c->sample_field));
  c->sample_series[0] = c->energy;
  for (PetscInt i = 0; i < t->n_series; i++) c->series[(size_t)i * c->plan.n_sample + sample] = c->sample_series[i];
  for (PetscInt i = 0; i < t->n_field; i++) block[i] += c->sample_field[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainAdvance(FwChain c)
{
  PetscFunctionBegin;
  PetscCheck(c->at.n_done < c->plan.n_burnin + c->plan.n_sample, PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "the chain is complete");
  PetscCheck(c->at.is_frozen != 0.0 || c->at.n_done < FwSamplerTuning(&c->plan), PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "the step must be frozen when tuning is over");
  PetscCall(MakeMoves(c));
  if (c->at.n_done >= c->plan.n_burnin) PetscCall(Keep(c));
  c->at.n_done += 1.0;
  /* the steps that brought the chain down from the prior say nothing about those it needs there */
  if (3 * (PetscInt)c->at.n_done / PetscMax(c->plan.n_burnin, 1) == 1 &&
      3 * ((PetscInt)c->at.n_done - 1) / PetscMax(c->plan.n_burnin, 1) == 0)
    FwTuningStart(&c->at.tuning, FwTuningStep(&c->at.tuning));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwChainLogStep(FwChain c)
{
  return log(FwTuningStep(&c->at.tuning));
}

PetscErrorCode FwChainFreezeStep(FwChain c, double log_step)
{
  PetscFunctionBegin;
  c->at.step      = (c->plan.step > 0.0 ? c->plan.step : exp(log_step)) * c->step_scale;
  c->at.is_frozen = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- packing ------------------------------------------------------------------------------------------------ */

enum { N_NUMBERS = sizeof(Numbers) / sizeof(double) };

size_t FwChainPackedSize(const FwTarget *t, const FwSamplerPlan *plan)
{
  return N_NUMBERS + (size_t)t->n + (size_t)t->n_series * plan->n_sample + (size_t)t->n_field * plan->n_block;
}

/* Copy to or from the packed numbers, in one place so that both agree on the order */
static void Exchange(FwChain c, void (*copy)(double *chain, double *packed, size_t n), double *packed)
{
  const size_t n_series = (size_t)c->target.n_series * c->plan.n_sample;

  copy((double *)&c->at, packed, N_NUMBERS);
  copy(c->w, packed += N_NUMBERS, (size_t)c->target.n);
  copy(c->series, packed += c->target.n, n_series);
  copy(c->block, packed + n_series, (size_t)c->target.n_field * c->plan.n_block);
}

static void CopyOut(double *chain, double *packed, size_t n)
{
  if (n) memcpy(packed, chain, n * sizeof *chain);
}

static void CopyIn(double *chain, double *packed, size_t n)
{
  if (n) memcpy(chain, packed, n * sizeof *chain);
}

PetscErrorCode FwChainPack(FwChain c, double packed[])
{
  PetscFunctionBegin;
  Exchange(c, CopyOut, packed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwChainUnpack(FwChain c, const double packed[])
{
  PetscFunctionBegin;
  Exchange(c, CopyIn, (double *)packed);
  c->has_gradient = PETSC_FALSE; /* evaluated anew: the same bits */
  PetscFunctionReturn(PETSC_SUCCESS);
}
