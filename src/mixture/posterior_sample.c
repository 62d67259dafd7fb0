/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Particles, and the posterior by importance sampling from the prior.
 */

#include "posterior_sample.h"

#include <finwidth/progress.h>
#include <finwidth/stop.h>

#include <math.h>

static const double no_weight = 1e-18;

/* --- particles ---------------------------------------------------------------------------------------------- */

PetscErrorCode FwParticlesCreate(MPI_Comm comm, PetscInt n_output, PetscInt n, FwParticles *p)
{
  const PetscInt n_block = (n + FW_PARTICLE_BLOCK - 1) / FW_PARTICLE_BLOCK;
  PetscMPIInt    rank, size;
  PetscInt       share;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  share      = (n_block + size - 1) / size * FW_PARTICLE_BLOCK;
  *p         = (FwParticles){.comm = comm, .n_output = n_output, .n = n, .first = PetscMin(rank * share, n)};
  p->n_local = PetscMin((rank + 1) * share, n) - p->first;
  PetscCall(PetscMalloc3((size_t)p->n_local * n_output, &p->log_q, (size_t)p->n_local * n_output * n_output,
                         &p->rotation, p->n_local, &p->log_likelihood));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwParticlesDestroy(FwParticles *p)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(p->log_q, p->rotation, p->log_likelihood));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwParticlesWeigh(FwParticles *p, FwLikelihood *likelihood, PetscInt at, PetscInt count, const double x[],
                                const double m[])
{
  const PetscInt d     = p->n_output;
  double        *log_q = p->log_q + (size_t)at * d, *rotation = p->rotation + (size_t)at * d * d;

  PetscFunctionBegin;
  PetscCall(FwMixtureEigen(d, count, x, m, log_q, rotation));
  for (PetscInt i = 0; i < count; i++)
    PetscCall(FwLikelihoodEvaluate(likelihood, log_q + (size_t)i * d, rotation + (size_t)i * d * d,
                                   &p->log_likelihood[at + i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwParticlesGather(const FwParticles *p, const double local[], double all[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(all, p->n));
  PetscCall(PetscArraycpy(all + p->first, local, p->n_local));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, all, p->n, MPI_DOUBLE, MPI_SUM, p->comm)); /* one owner each: exact */
  PetscFunctionReturn(PETSC_SUCCESS);
}

double FwLogMeanExp(PetscInt n, const double x[])
{
  double largest = -INFINITY, sum = 0.0;

  for (PetscInt i = 0; i < n; i++) largest = PetscMax(largest, x[i]);
  if (largest == -INFINITY) return largest;
  for (PetscInt i = 0; i < n; i++) sum += exp(x[i] - largest);
  return largest + log(sum / n);
}

double FwEffectiveSize(PetscInt n, const double log_weight[])
{
  double largest = -INFINITY, sum = 0.0, square = 0.0;

  for (PetscInt i = 0; i < n; i++) largest = PetscMax(largest, log_weight[i]);
  for (PetscInt i = 0; i < n && largest > -INFINITY; i++) {
    const double weight = exp(log_weight[i] - largest);

    sum += weight;
    square += weight * weight;
  }
  return sum > 0.0 ? sum * sum / square : 0.0;
}

/* Places among the nodes of the particles that count; -1 for the others */
static PetscInt NumberNodes(PetscInt n, const double weight[], PetscInt place[])
{
  PetscInt kept    = 0;
  double   largest = 0.0;

  for (PetscInt i = 0; i < n; i++) largest = PetscMax(largest, weight[i]);
  for (PetscInt i = 0; i < n; i++) place[i] = weight[i] > no_weight * largest ? kept++ : -1;
  return kept;
}

PetscErrorCode FwParticlesToNodes(const FwParticles *p, const double weight[], FwNodeSet *nodes)
{
  const PetscInt d = p->n_output;
  PetscInt      *place, kept;
  PetscMPIInt    n_value, n_rotation;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(p->n, &place));
  kept = NumberNodes(p->n, weight, place);
  PetscCheck((double)kept * (double)(d * d) < 2147483647.0, p->comm, FW_ERR_MEMORY,
             "the posterior rests on %" PetscInt_FMT " draws of %" PetscInt_FMT
             " outputs, more than one message holds: set fewer mixture_samples",
             kept, d);
  n_value    = (PetscMPIInt)(kept * d);
  n_rotation = (PetscMPIInt)(kept * d * d);
  PetscCall(FwNodeSetCreate(d, kept, kept, nodes));
  PetscCall(PetscArrayzero(nodes->log_q, n_value));
  PetscCall(PetscArrayzero(nodes->rotation, n_rotation));
  for (PetscInt i = 0; i < p->n; i++)
    if (place[i] >= 0) {
      nodes->weight[place[i]]    = weight[i];
      nodes->first[place[i] + 1] = place[i] + 1;
    }
  for (PetscInt i = 0; i < p->n_local; i++) {
    const size_t to = (size_t)PetscMax(place[p->first + i], 0);

    if (place[p->first + i] < 0) continue;
    PetscCall(PetscArraycpy(nodes->log_q + to * d, p->log_q + (size_t)i * d, d));
    PetscCall(PetscArraycpy(nodes->rotation + to * d * d, p->rotation + (size_t)i * d * d, d * d));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, nodes->log_q, n_value, MPI_DOUBLE, MPI_SUM, p->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, nodes->rotation, n_rotation, MPI_DOUBLE, MPI_SUM, p->comm));
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- importance sampling ------------------------------------------------------------------------------------ */

static PetscErrorCode DrawBlock(const FwMixtureLaw *law, FwLikelihood *likelihood, uint64_t seed, PetscInt at,
                                FwParticles *p)
{
  const PetscInt d = p->n_output, count = PetscClipInterval(p->n_local - at, 0, FW_PARTICLE_BLOCK);
  double        *x, *m;

  PetscFunctionBegin;
  if (!count) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(FW_PARTICLE_BLOCK * d, &x, FW_PARTICLE_BLOCK * d * d, &m));
  PetscCall(FwMixtureDraw(law, FW_MIXTURE_BARTLETT, seed, (uint64_t)(p->first + at), count, x, m));
  PetscCall(FwParticlesWeigh(p, likelihood, at, count, x, m));
  PetscCall(PetscFree2(x, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Block by block on all ranks together: a stop is heard in between, and the draws are made again by -resume */
static PetscErrorCode DrawAll(const FwMixtureLaw *law, FwLikelihood *likelihood, const FwMixturePosteriorPlan *plan,
                              FwProgress progress, FwParticles *p)
{
  PetscInt most = p->n_local;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPIU_INT, MPI_MAX, p->comm));
  for (PetscInt at = 0; at < most; at += FW_PARTICLE_BLOCK) {
    PetscCall(FwErrorAgreeAny(p->comm, DrawBlock(law, likelihood, plan->seed, at, p)));
    PetscCall(FwProgressStep(progress, PetscMin(at + FW_PARTICLE_BLOCK, p->n_local)));
    if (plan->checkpoint) PetscCall(FwStopLeave(p->comm, "in the importance sampling of a posterior"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorImportance(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior,
                                     FwNodeSet *nodes)
{
  const PetscInt n = plan->n_sample;
  FwParticles    p;
  FwProgress     progress;
  double        *weight, mean, ess;

  PetscFunctionBegin;
  PetscCall(FwParticlesCreate(comm, law->n_output, n, &p));
  PetscCall(FwProgressBegin("importance sampling", p.n_local, &progress));
  PetscCall(DrawAll(law, likelihood, plan, progress, &p));
  PetscCall(FwProgressEnd(&progress));
  PetscCall(PetscMalloc1(n, &weight));
  PetscCall(FwParticlesGather(&p, p.log_likelihood, weight));
  mean = FwLogMeanExp(n, weight);
  ess  = FwEffectiveSize(n, weight);
  PetscCheck(mean > -INFINITY, comm, FW_ERR_NUMERICAL,
             "no draw of Q from the prior has a likelihood above zero: set a temperature > 0");
  for (PetscInt i = 0; i < n; i++) weight[i] = exp(weight[i] - mean) / n;
  PetscCall(FwParticlesToNodes(&p, weight, nodes));
  posterior->method                = "importance sampling";
  posterior->log_evidence          = mean - 0.5 * (double)(law->n_output * likelihood->n_train) * log(2.0 * M_PI);
  posterior->log_evidence_error    = sqrt(PetscMax(0.0, 1.0 / ess - 1.0 / n));
  posterior->effective_sample_size = ess;
  PetscCall(PetscFree(weight));
  PetscCall(FwParticlesDestroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}
