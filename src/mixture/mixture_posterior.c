/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The posterior of a deep linear network: checks, choice of the method, what all methods have in common.
 */

#include "posterior_impl.h"

#include <math.h>

static const double enough_samples = 1000.0; /* of importance sampling, effectively */

/* --- checks ------------------------------------------------------------------------------------------------- */

PetscErrorCode FwMixturePosteriorCheck(const FwMixtureLaw *law, double temperature)
{
  PetscFunctionBegin;
  PetscCheck(temperature >= 0.0, PETSC_COMM_WORLD, FW_ERR_INPUT, "temperature %.6g is negative", temperature);
  PetscCheck(law->n_output <= FW_POSTERIOR_OUTPUTS, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "the posterior is for up to %d outputs, network_outputs is %" PetscInt_FMT, FW_POSTERIOR_OUTPUTS,
             law->n_output);
  PetscCheck(
    !isinf(law->a) || (law->n_output == 1 && law->n_width == 0 && temperature == 0.0), PETSC_COMM_WORLD, FW_ERR_INPUT,
    "mixture_a = infinity has a posterior only for one output at temperature 0 with no layer kept finite: set a "
    "finite mixture_a");
  for (PetscInt l = 0; l < law->n_width; l++)
    PetscCheck(temperature > 0.0 || law->width[l] >= law->n_output, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "network_width %.6g is below the %" PetscInt_FMT
               " outputs: such a network fits no data exactly, set a temperature > 0",
               law->width[l], law->n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckData(MPI_Comm comm, const FwMixtureLaw *law, double temperature,
                                const FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  PetscCheck(bounds->n_label == law->n_output, comm, FW_ERR_INPUT,
             "the data have %" PetscInt_FMT " outputs, network_outputs is %" PetscInt_FMT, bounds->n_label,
             law->n_output);
  PetscCheck(!isinf(law->a) || bounds->n > 1, comm, FW_ERR_INPUT,
             "mixture_a = infinity has a posterior for two training examples or more: the mean of q is infinite");
  for (PetscInt l = 0; l < law->n_width && law->n_output == 2; l++)
    PetscCheck(
      temperature > 0.0 || bounds->n > 1 || law->width[l] >= 4.0, comm, FW_ERR_INPUT,
      "network_width %.6g: two outputs with one training example at temperature 0 are for widths >= 4: Q is nearly "
      "singular below; set a temperature > 0",
      law->width[l]);
  PetscCheck(temperature > 0.0 || bounds->label2 > 0.0, comm, FW_ERR_NUMERICAL,
             "all labels are zero: at temperature 0 the posterior of Q has no density, set a temperature > 0");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(MPI_Comm comm, const FwMixtureLaw *law, FwSpectrum spectrum, double temperature,
                            const FwMixturePosteriorPlan *plan, FwSpectrumBounds *bounds)
{
  PetscFunctionBegin;
  PetscCall(FwMixturePosteriorCheck(law, temperature));
  PetscCall(FwSpectrumGetBounds(spectrum, bounds));
  PetscCall(CheckData(comm, law, temperature, bounds));
  PetscCheck(plan->n_sample >= 1000 && plan->n_particle >= 100, comm, FW_ERR_INPUT,
             "%" PetscInt_FMT " samples and %" PetscInt_FMT " particles are too few for a posterior: 1000 and 100",
             plan->n_sample, plan->n_particle);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- methods ------------------------------------------------------------------------------------------------ */

/* Q = 1 */
static PetscErrorCode UnitNode(const FwMixtureLaw *law, FwLikelihood *likelihood, FwMixturePosterior *posterior,
                               FwNodeSet *nodes)
{
  const PetscInt n = law->n_output;

  PetscFunctionBegin;
  PetscCall(FwNodeSetCreate(n, 1, 1, nodes));
  nodes->first[1]  = 1;
  nodes->weight[0] = 1.0;
  for (PetscInt c = 0; c < n; c++) {
    nodes->log_q[c] = 0.0;
    for (PetscInt d = 0; d < n; d++) nodes->rotation[c * n + d] = c == d;
  }
  PetscCall(FwLikelihoodEvaluate(likelihood, nodes->log_q, nodes->rotation, &posterior->log_evidence));
  posterior->log_evidence -= 0.5 * (double)(n * likelihood->n_train) * log(2.0 * M_PI);
  posterior->method = "Gaussian process";
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasDensity(const FwMixtureLaw *law)
{
  for (PetscInt l = 0; l < law->n_width; l++)
    if (law->width[l] < law->n_output) return PETSC_FALSE;
  return PETSC_TRUE;
}

static PetscErrorCode Sample(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                             const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior, FwNodeSet *nodes)
{
  PetscFunctionBegin;
  if (plan->method != FW_POSTERIOR_SEQUENTIAL) {
    PetscCall(FwPosteriorImportance(comm, law, likelihood, plan, posterior, nodes));
    if (plan->method == FW_POSTERIOR_IMPORTANCE || posterior->effective_sample_size >= enough_samples)
      PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(FwNodeSetDestroy(nodes));
    PetscCheck(HasDensity(law), comm, FW_ERR_NUMERICAL,
               "the effective sample size of the posterior is %.0f, below %.6g, and a width is below the %" PetscInt_FMT
               " outputs, where there is no other method: set more samples or a higher temperature",
               posterior->effective_sample_size, enough_samples, law->n_output);
  }
  PetscCall(FwPosteriorSequential(comm, law, likelihood, plan, posterior, nodes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindNodes(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior, FwNodeSet *nodes)
{
  const PetscBool is_auto = plan->method == FW_POSTERIOR_AUTO ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBegin;
  posterior->effective_sample_size = NAN;
  if (!law->n_width && law->a == 0.0)
    PetscCall(UnitNode(law, likelihood, posterior, nodes));
  else if (law->n_output == 1 && is_auto)
    PetscCall(FwPosteriorOneOutput(law, likelihood, posterior, nodes));
  else if (law->n_output == 2 && is_auto && HasDensity(law))
    PetscCall(FwPosteriorTwoOutputs(comm, law, likelihood, posterior, nodes));
  else
    PetscCall(Sample(comm, law, likelihood, plan, posterior, nodes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- Q ------------------------------------------------------------------------------------------------------ */

/* square[c, b] is the mean of Q_cb^2 */
static void AverageQ(const FwNodeSet *nodes, double mean_q[], double square[], double mean_log_q[])
{
  const PetscInt n = nodes->n_output;

  for (PetscInt group = 0; group < nodes->n_group; group++) {
    const double *log_q = nodes->log_q + (size_t)group * n;

    for (PetscInt i = nodes->first[group]; i < nodes->first[group + 1]; i++) {
      const double *rotation = nodes->rotation + (size_t)i * n * n, weight = nodes->weight[i];

      for (PetscInt d = 0; d < n; d++) mean_log_q[d] += weight * log_q[d];
      for (PetscInt c = 0; c < n; c++)
        for (PetscInt b = 0; b < n; b++) {
          double q = 0.0;

          for (PetscInt d = 0; d < n; d++) q += exp(log_q[d]) * rotation[c * n + d] * rotation[b * n + d];
          mean_q[c * n + b] += weight * q;
          square[c * n + b] += weight * q * q;
        }
    }
  }
}

/* Of means over what the nodes differ in */
static void FindErrors(FwMixturePosterior *p)
{
  const PetscInt n    = p->n_output;
  const double   size = p->effective_sample_size; /* NaN: not sampled */

  for (PetscInt k = 0; k < n * n; k++)
    p->mean_q_error[k] =
      isnan(size) ? 0.0 : sqrt(PetscMax(0.0, p->mean_q_error[k] - p->mean_q[k] * p->mean_q[k]) / size);
  for (PetscInt t = 0; t < p->n_test; t++)
    for (PetscInt c = 0; c < n; c++) {
      const size_t at = ((size_t)t * n + c) * n + c;

      p->mean_error[(size_t)t * n + c] =
        isnan(size) ? 0.0 : sqrt(PetscMax(0.0, p->covariance[at] - p->within[at]) / size);
    }
}

static PetscErrorCode Allocate(const FwSpectrumBounds *bounds, FwMixturePosterior *posterior)
{
  const size_t n = (size_t)bounds->n_label, n_test = (size_t)bounds->n_test;

  PetscFunctionBegin;
  *posterior = (FwMixturePosterior){.n_output = bounds->n_label, .n_test = bounds->n_test};
  PetscCall(PetscCalloc3(n * n, &posterior->mean_q, n * n, &posterior->mean_q_error, n, &posterior->mean_log_q));
  PetscCall(PetscCalloc4(n_test * n, &posterior->mean, n_test * n, &posterior->mean_error, n_test * n * n,
                         &posterior->covariance, n_test * n * n, &posterior->within));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixturePosteriorCreate(const FwMixtureLaw *law, FwSpectrum spectrum, double scale, double temperature,
                                        const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior)
{
  const MPI_Comm   comm = FwGridComm(FwSpectrumGrid(spectrum));
  FwSpectrumBounds bounds;
  FwLikelihood     likelihood;
  FwNodeSet        nodes;

  PetscFunctionBegin;
  PetscCall(Check(comm, law, spectrum, temperature, plan, &bounds));
  PetscCall(Allocate(&bounds, posterior));
  PetscCall(FwLikelihoodCreate(spectrum, scale, temperature, law->n_output, &likelihood));
  PetscCall(FindNodes(comm, law, &likelihood, plan, posterior, &nodes));
  posterior->log_evidence -= 0.5 * likelihood.least;
  AverageQ(&nodes, posterior->mean_q, posterior->mean_q_error, posterior->mean_log_q);
  PetscCall(FwPosteriorPredict(comm, &likelihood, &nodes, plan->target, posterior));
  FindErrors(posterior);
  PetscCall(FwNodeSetDestroy(&nodes));
  PetscCall(FwLikelihoodDestroy(&likelihood));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwMixturePosteriorDestroy(FwMixturePosterior *posterior)
{
  PetscFunctionBegin;
  PetscCall(PetscFree3(posterior->mean_q, posterior->mean_q_error, posterior->mean_log_q));
  PetscCall(PetscFree4(posterior->mean, posterior->mean_error, posterior->covariance, posterior->within));
  PetscCall(PetscFree3(posterior->curve_log_q, posterior->curve_prior, posterior->curve_posterior));
  PetscFunctionReturn(PETSC_SUCCESS);
}
