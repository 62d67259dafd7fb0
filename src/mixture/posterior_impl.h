/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * What the ways to a posterior share: the likelihood given Q, and the weighted nodes that each of them ends in.
 */

#include <finwidth/mixture_posterior.h>
#include <finwidth/panels.h>

/* The likelihood given Q, as functions of log q_d that are computed where they are asked for */
typedef struct {
  FwSpectrum spectrum;           /* borrowed */
  double     scale, temperature; /* the network's kernel is scale K */
  PetscInt   n_output, n_train;
  double     least;  /* what no Q fits of the labels, fit_least of FwResolvent: left out of all that follows */
  FwPanels   panels; /* in log(scale q): log det A, then the forms y_c^T A^-1 y_d, d <= c, row by row */
  double    *form;   /* [6][D][D] room for one resolvent */
} FwLikelihood;

PetscErrorCode FwLikelihoodCreate(FwSpectrum spectrum, double scale, double temperature, PetscInt n_output,
                                  FwLikelihood *likelihood);
PetscErrorCode FwLikelihoodDestroy(FwLikelihood *likelihood);

/* Where the functions of q are taken: log(scale q), or FW_LOG_Q_LEAST where it is below, which is q = 0 for doubles */
double FwLikelihoodPlace(const FwLikelihood *likelihood, double log_q);

/* log det A and the forms [D(D+1)/2] at log q */
PetscErrorCode FwLikelihoodForms(FwLikelihood *likelihood, double log_q, double *log_det, double fit[]);

/* log p(Y | Q) without the factor of 2 pi and `least`; rotation [D, D] row-major, column d belongs to log_q[d] */
PetscErrorCode FwLikelihoodEvaluate(FwLikelihood *likelihood, const double log_q[], const double rotation[],
                                    double *log_value);

enum { FW_LOG_Q_LEAST = -300, FW_POSTERIOR_OUTPUTS = 32 };

/* Values of Q with weights: groups share eigenvalues, the nodes of a group differ in their eigenvectors */
typedef struct {
  PetscInt  n_output, n_group, n_node;
  double   *log_q;    /* [n_group][D] */
  PetscInt *first;    /* [n_group + 1] */
  double   *weight;   /* [n_node], sum 1 */
  double   *rotation; /* [n_node][D][D] row-major */
} FwNodeSet;

PetscErrorCode FwNodeSetCreate(PetscInt n_output, PetscInt n_group, PetscInt n_node, FwNodeSet *nodes);
PetscErrorCode FwNodeSetDestroy(FwNodeSet *nodes);

/* What a way to the posterior fills, beside the nodes: evidence (with its factor of 2 pi, without `least`), method, curve */
PetscErrorCode FwPosteriorOneOutput(const FwMixtureLaw *law, FwLikelihood *likelihood, FwMixturePosterior *posterior,
                                    FwNodeSet *nodes);
/* The others are collective on `comm` */
PetscErrorCode FwPosteriorTwoOutputs(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     FwMixturePosterior *posterior, FwNodeSet *nodes);
PetscErrorCode FwPosteriorImportance(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior,
                                     FwNodeSet *nodes);
PetscErrorCode FwPosteriorSequential(MPI_Comm comm, const FwMixtureLaw *law, FwLikelihood *likelihood,
                                     const FwMixturePosteriorPlan *plan, FwMixturePosterior *posterior,
                                     FwNodeSet *nodes);

/* Means and covariances of the predictions, and what sampling leaves open of test errors. Collective on the spectrum's grid */
PetscErrorCode FwPosteriorPredict(MPI_Comm comm, const FwLikelihood *likelihood, const FwNodeSet *nodes,
                                  const double target[], FwMixturePosterior *posterior);
