/** @file
 * The posterior by sequential Monte Carlo: particles from the prior, whose likelihood is raised to powers beta from 0
 * to 1, each chosen so that half of the effective sample size is left; then they are resampled and moved.
 *
 * Particles live in the coordinates of the Bartlett form: gamma variables G and normal ones Z, which the moves
 *
 *     Z' = sqrt(rho) Z + sqrt(1 - rho) N(0, 1),   G' = G Beta(rho k, (1 - rho) k) + Gamma((1 - rho) k)
 *
 * leave invariant, k the shape: they are accepted by the ratio of the tempered likelihoods alone, at any width and
 * depth. The product of the mean weights is the evidence. Its relative variance is estimated twice, and the larger
 * taken: from how many of the first particles have descendants (Lee and Whiteley, Biometrika 105, 609, 2018), which
 * knows about moves that do not reach far, and as the sum over stages of the variance of the mean weight.
 *
 * Everything that decides is computed from all particles on every rank: the same bits on any number of ranks.
 */

#include "posterior_sample.h"

#include <finwidth/progress.h>
#include <math.h>

enum { STAGES_MAX = 1000, MOVES_MIN = 4, MOVES_MAX = 100, PROGRESS_STEPS = 1000 };

static const double refreshments = 1.5; /* of the coordinates per stage: sum of acceptance times (1 - rho) */
static const double fresh_most = 0.99, fresh_least = 1e-6; /* bounds of 1 - rho */

typedef struct {
  const FwMixtureLaw *law;
  FwLikelihood       *likelihood;
  uint64_t            seed;
  FwParticles         particles, proposed;
  PetscInt            n_gamma, n_normal;
  double             *shape;            /* [n_gamma] */
  double             *coordinate;       /* [n_gamma + n_normal][n_local] of the particles, gamma first */
  double             *proposal;         /* of the proposed ones */
  double             *all, *log_weight; /* [n] log-likelihoods of all particles; room */
  PetscInt           *ancestor;         /* [n] index of each particle's first ancestor */
  double              fresh;            /* 1 - rho */
  PetscInt            n_move, n_stage;
  double              log_mean, variance; /* log of the product of mean weights; sum of their relative variances */
} Temper;

/* --- life --------------------------------------------------------------------------------------------------- */

static PetscErrorCode Create(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                             const FwMixturePosteriorPlan *plan, Temper *t)
{
  const PetscInt n = plan->n_particle;
  size_t         size;

  PetscFunctionBegin;
  *t = (Temper){.law = law, .likelihood = likelihood, .seed = plan->seed, .fresh = fresh_most};
  PetscCall(FwParticlesCreate(comm, law->n_output, n, &t->particles));
  PetscCall(FwParticlesCreate(comm, law->n_output, n, &t->proposed));
  PetscCall(FwMixtureCoordinateCounts(law, &t->n_gamma, &t->n_normal));
  size = (size_t)(t->n_gamma + t->n_normal) * (size_t)t->particles.n_local;
  PetscCall(PetscMalloc3(t->n_gamma, &t->shape, size, &t->coordinate, size, &t->proposal));
  PetscCall(PetscMalloc3(n, &t->all, n, &t->log_weight, n, &t->ancestor));
  PetscCall(FwMixtureCoordinateShapes(law, t->shape));
  for (PetscInt i = 0; i < n; i++) t->ancestor[i] = i;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(Temper *t)
{
  PetscFunctionBegin;
  PetscCall(FwParticlesDestroy(&t->particles));
  PetscCall(FwParticlesDestroy(&t->proposed));
  PetscCall(PetscFree3(t->shape, t->coordinate, t->proposal));
  PetscCall(PetscFree3(t->all, t->log_weight, t->ancestor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- coordinates -------------------------------------------------------------------------------------------- */

static FwStream GammaStream(const Temper *t, PetscInt coordinate, PetscInt part)
{
  return FwStreamCreate(t->seed, FW_RANDOM_TEMPER_GAMMA, (uint64_t)coordinate, (uint64_t)t->n_move, (uint64_t)part);
}

static FwStream NormalStream(const Temper *t, PetscInt coordinate)
{
  return FwStreamCreate(t->seed, FW_RANDOM_TEMPER_NORMAL, (uint64_t)coordinate, (uint64_t)t->n_move, 0);
}

/* Coordinates from the prior */
static PetscErrorCode DrawPrior(Temper *t, double coordinate[])
{
  const uint64_t first = (uint64_t)t->particles.first;
  const size_t   n     = (size_t)t->particles.n_local;

  PetscFunctionBegin;
  for (PetscInt c = 0; c < t->n_gamma; c++)
    FwStreamGammaBulk(GammaStream(t, c, 0), t->shape[c], 1.0, first, n, coordinate + c * n);
  for (PetscInt c = 0; c < t->n_normal; c++)
    FwStreamNormalBulk(NormalStream(t, c), first, n, coordinate + (t->n_gamma + c) * n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propose(Temper *t)
{
  const uint64_t first = (uint64_t)t->particles.first;
  const size_t   n     = (size_t)t->particles.n_local;
  const double   kept = sqrt(1.0 - t->fresh), added = sqrt(t->fresh);
  double        *part[3];

  PetscFunctionBegin;
  PetscCall(PetscMalloc3(n, &part[0], n, &part[1], n, &part[2]));
  for (PetscInt c = 0; c < t->n_gamma; c++) {
    const double *from = t->coordinate + c * n;
    double       *to   = t->proposal + c * n;

    for (int k = 0; k < 3; k++)
      FwStreamGammaBulk(GammaStream(t, c, k), (k ? t->fresh : 1.0 - t->fresh) * t->shape[c], 1.0, first, n, part[k]);
    for (size_t i = 0; i < n; i++) to[i] = from[i] * part[0][i] / (part[0][i] + part[1][i]) + part[2][i];
  }
  for (PetscInt c = t->n_gamma; c < t->n_gamma + t->n_normal; c++) {
    FwStreamNormalBulk(NormalStream(t, c - t->n_gamma), first, n, part[0]);
    for (size_t i = 0; i < n; i++) t->proposal[c * n + i] = kept * t->coordinate[c * n + i] + added * part[0][i];
  }
  PetscCall(PetscFree3(part[0], part[1], part[2]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coordinates first .. first + n - 1 of particles at .. at + count - 1, particle by particle */
static void Transpose(const Temper *t, const double coordinate[], PetscInt first, PetscInt n, PetscInt at,
                      PetscInt count, double by_particle[])
{
  for (PetscInt i = 0; i < count; i++)
    for (PetscInt c = 0; c < n; c++)
      by_particle[i * n + c] = coordinate[(size_t)(first + c) * t->particles.n_local + at + i];
}

/* Eigenvalues and likelihoods from coordinates */
static PetscErrorCode Weigh(Temper *t, const double coordinate[], FwParticles *p)
{
  const PetscInt d = p->n_output;
  double        *gamma, *normal, *x, *m;

  PetscFunctionBegin;
  PetscCall(PetscMalloc4(FW_PARTICLE_BLOCK * (size_t)t->n_gamma, &gamma, FW_PARTICLE_BLOCK * (size_t)t->n_normal,
                         &normal, FW_PARTICLE_BLOCK * d, &x, FW_PARTICLE_BLOCK * d * d, &m));
  for (PetscInt at = 0; at < p->n_local; at += FW_PARTICLE_BLOCK) {
    const PetscInt count = PetscMin(FW_PARTICLE_BLOCK, p->n_local - at);

    Transpose(t, coordinate, 0, t->n_gamma, at, count, gamma);
    Transpose(t, coordinate, t->n_gamma, t->n_normal, at, count, normal);
    PetscCall(FwMixtureAssemble(t->law, count, gamma, normal, x, m));
    PetscCall(FwParticlesWeigh(p, t->likelihood, at, count, x, m));
  }
  PetscCall(PetscFree4(gamma, normal, x, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- moves -------------------------------------------------------------------------------------------------- */

static PetscErrorCode ProposeAndWeigh(Temper *t)
{
  PetscFunctionBegin;
  PetscCall(Propose(t));
  PetscCall(Weigh(t, t->proposal, &t->proposed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AcceptOne(Temper *t, PetscInt i)
{
  const size_t d = (size_t)t->particles.n_output, n = (size_t)t->particles.n_local;
  FwParticles *to = &t->particles, *from = &t->proposed;

  PetscFunctionBegin;
  for (size_t c = 0; c < (size_t)(t->n_gamma + t->n_normal); c++) t->coordinate[c * n + i] = t->proposal[c * n + i];
  to->log_likelihood[i] = from->log_likelihood[i];
  PetscCall(PetscArraycpy(to->log_q + i * d, from->log_q + i * d, d));
  PetscCall(PetscArraycpy(to->rotation + i * d * d, from->rotation + i * d * d, d * d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One move of every particle; the share that was accepted */
static PetscErrorCode Move(Temper *t, double beta, double *acceptance)
{
  const PetscInt n_local = t->particles.n_local;
  PetscInt       count   = 0;
  double        *u;

  PetscFunctionBegin;
  t->n_move++;
  PetscCall(FwErrorAgreeAny(t->particles.comm, ProposeAndWeigh(t)));
  PetscCall(PetscMalloc1(n_local, &u));
  FwStreamUniformBulk(FwStreamCreate(t->seed, FW_RANDOM_TEMPER_ACCEPT, (uint64_t)t->n_move, 0, 0),
                      (uint64_t)t->particles.first, (size_t)n_local, u);
  for (PetscInt i = 0; i < n_local; i++)
    if (log(u[i]) < beta * (t->proposed.log_likelihood[i] - t->particles.log_likelihood[i])) {
      PetscCall(AcceptOne(t, i));
      count++;
    }
  PetscCall(PetscFree(u));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &count, 1, MPIU_INT, MPI_SUM, t->particles.comm));
  *acceptance = (double)count / (double)t->particles.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moves until the coordinates are refreshed; their size follows the acceptance */
static PetscErrorCode MoveAll(Temper *t, double beta)
{
  double refreshed = 0.0, acceptance = 0.0;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < MOVES_MAX && (i < MOVES_MIN || refreshed < refreshments); i++) {
    PetscCall(Move(t, beta, &acceptance));
    refreshed += acceptance * t->fresh;
    if (acceptance < 0.25) t->fresh = PetscMax(fresh_least, 0.6 * t->fresh);
    if (acceptance > 0.45) t->fresh = PetscMin(fresh_most, 1.4 * t->fresh);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- stages ------------------------------------------------------------------------------------------------- */

static double SizeAfter(Temper *t, double step)
{
  for (PetscInt i = 0; i < t->particles.n; i++) t->log_weight[i] = step * t->all[i];
  return FwEffectiveSize(t->particles.n, t->log_weight);
}

/* The largest step of beta that leaves half of the effective sample size; log_weight is of that step */
static double ChooseStep(Temper *t, double left)
{
  double low = 0.0, high = left;

  if (SizeAfter(t, left) >= 0.5 * t->particles.n) return left;
  for (int i = 0; i < 60; i++) {
    const double middle = 0.5 * (low + high);

    if (SizeAfter(t, middle) >= 0.5 * t->particles.n)
      low = middle;
    else
      high = middle;
  }
  (void)SizeAfter(t, low);
  return low;
}

/* Systematic resampling: parents in ascending order */
static PetscErrorCode ChooseParents(Temper *t, PetscInt parent[])
{
  const PetscInt n    = t->particles.n;
  const double   mean = FwLogMeanExp(n, t->log_weight);
  double         u, sum = 0.0;
  PetscInt       at = 0;

  PetscFunctionBegin;
  FwStreamUniform(FwStreamCreate(t->seed, FW_RANDOM_TEMPER_CHOOSE, (uint64_t)t->n_stage, 0, 0), 0, 1, &u);
  t->log_mean += mean;
  t->variance += 1.0 / FwEffectiveSize(n, t->log_weight) - 1.0 / (double)n;
  for (PetscInt i = 0; i < n; i++) {
    sum += exp(t->log_weight[i] - mean);
    while (at < n && at + u < sum) parent[at++] = i;
  }
  while (at < n) parent[at++] = n - 1; /* what round-off left over */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each row of a local array [row][n_local] or [n_local][row] is replaced by that of the parents; collective */
static PetscErrorCode TakeOver(const FwParticles *p, const PetscInt parent[], PetscInt n_row, PetscBool by_particle,
                               double local[])
{
  double *one, *all;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(p->n_local, &one, p->n, &all));
  for (PetscInt r = 0; r < n_row; r++) {
    const size_t start = by_particle ? (size_t)r : (size_t)r * p->n_local, stride = by_particle ? (size_t)n_row : 1;

    for (PetscInt i = 0; i < p->n_local; i++) one[i] = local[start + i * stride];
    PetscCall(FwParticlesGather(p, one, all));
    for (PetscInt i = 0; i < p->n_local; i++) local[start + i * stride] = all[parent[p->first + i]];
  }
  PetscCall(PetscFree2(one, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Resample(Temper *t)
{
  FwParticles *p = &t->particles;
  PetscInt    *parent, *ancestor;

  PetscFunctionBegin;
  PetscCall(PetscMalloc2(p->n, &parent, p->n, &ancestor));
  PetscCall(ChooseParents(t, parent));
  for (PetscInt i = 0; i < p->n; i++) ancestor[i] = t->ancestor[parent[i]];
  PetscCall(PetscArraycpy(t->ancestor, ancestor, p->n));
  PetscCall(TakeOver(p, parent, t->n_gamma + t->n_normal, PETSC_FALSE, t->coordinate));
  PetscCall(TakeOver(p, parent, p->n_output, PETSC_TRUE, p->log_q));
  PetscCall(TakeOver(p, parent, p->n_output * p->n_output, PETSC_TRUE, p->rotation));
  PetscCall(TakeOver(p, parent, 1, PETSC_TRUE, p->log_likelihood));
  PetscCall(PetscFree2(parent, ancestor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(Temper *t, FwProgress progress)
{
  double beta = 0.0;

  PetscFunctionBegin;
  PetscCall(DrawPrior(t, t->coordinate));
  PetscCall(FwErrorAgreeAny(t->particles.comm, Weigh(t, t->coordinate, &t->particles)));
  while (beta < 1.0) {
    PetscCheck(t->n_stage++ < STAGES_MAX, t->particles.comm, FW_ERR_NUMERICAL,
               "sequential Monte Carlo is not there after %d temperatures: beta = %g", STAGES_MAX, beta);
    PetscCall(FwParticlesGather(&t->particles, t->particles.log_likelihood, t->all));
    beta += ChooseStep(t, 1.0 - beta);
    PetscCall(Resample(t));
    PetscCall(MoveAll(t, beta));
    PetscCall(FwProgressStep(progress, (PetscInt64)(PROGRESS_STEPS * beta)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over the first ancestors of the squared share of particles that descend from each */
static PetscErrorCode SquaredShares(const Temper *t, double *sum)
{
  const PetscInt n = t->particles.n;
  PetscInt      *count;

  PetscFunctionBegin;
  *sum = 0.0;
  PetscCall(PetscCalloc1(n, &count));
  for (PetscInt i = 0; i < n; i++) count[t->ancestor[i]]++;
  for (PetscInt i = 0; i < n; i++) *sum += PetscSqr((double)count[i] / (double)n);
  PetscCall(PetscFree(count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwPosteriorSequential(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior,
                                     FwNodeSet *nodes)
{
  const double n = (double)plan->n_particle;
  Temper       t;
  FwProgress   progress;
  double       shares, lineages;

  PetscFunctionBegin;
  PetscCall(Create(comm, law, likelihood, plan, &t));
  PetscCall(FwProgressBegin("sequential Monte Carlo", PROGRESS_STEPS, &progress));
  PetscCall(Run(&t, progress));
  PetscCall(FwProgressEnd(&progress));
  PetscCall(SquaredShares(&t, &shares));
  for (PetscInt i = 0; i < plan->n_particle; i++) t.log_weight[i] = 1.0 / n;
  PetscCall(FwParticlesToNodes(&t.particles, t.log_weight, nodes));
  posterior->method                = "sequential Monte Carlo";
  posterior->log_evidence          = t.log_mean - 0.5 * (double)(law->n_output * likelihood->n_train) * log(2.0 * M_PI);
  lineages                         = 1.0 - exp((double)(t.n_stage + 1) * log(n / (n - 1.0))) * (1.0 - shares);
  posterior->log_evidence_error    = sqrt(PetscMax(t.variance, lineages));
  posterior->effective_sample_size = 1.0 / shares;
  PetscCall(Destroy(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
